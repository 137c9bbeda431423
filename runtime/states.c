/* SPDX-License-Identifier: MIT
 *
 * states.c: what the parts of a network hand on, for all samples: in memory, or, where
 * the limit has no room for it, in a file alone. On entry a net with its samples. A
 * run with a journal keeps them in the file in any case, so that it can go on behind
 * the last part that is whole; without one the file has no name.
 *
 * Note [The file of states]
 * A part may read the state that it leaves. So each has two places in the file: a call
 * reads one and writes the other, and when all samples went through, and the call's
 * jobs are in the journal, a mark says which places count from then on, and what the
 * sums of their bytes are. Marks lie in two slots in turn: the older one holds until
 * the newer one is whole. A mark has the journal's key, so it is of this very program,
 * model and data; its sums are compared whenever it is read, after a reboot too.
 */
#include "forward.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { PAGE = 4096, SLOTS = 2, NOWHERE = -1 };

struct StateFile {
	int fd;
	const char *path;  /* borrows */
	int64_t *place;    /* of each state, its first; the second one lies behind it */
	int64_t *current;  /* 0, 1 or NOWHERE: which of the two counts */
	uint64_t *sums;    /* of it */
	uint64_t *written; /* of the other one, by the call in hand */
	uint64_t *mark;    /* key, key, net, call, then current and sum of each state, check */
	int64_t next_slot;
	int64_t bytes; /* of all */
};

/* ---- where a sample's state lies among those of all samples ---- */

int64_t forward_state_bytes(const Forward *forward, int64_t state, int64_t sample)
{
	const CmprtState *of = &forward->net->states[state];
	return of->is_ragged ? of->bytes / forward->net->longest * samples_length(&forward->samples, sample) : of->bytes;
}

/* Each at a multiple of 64. */
static int64_t state_offset(const Forward *forward, int64_t state, int64_t sample)
{
	const CmprtState *of = &forward->net->states[state];
	if (!of->is_ragged)
		return align_up(of->bytes, 64) * sample;
	return align_up(of->bytes / forward->net->longest * forward->samples.first[sample], 64) + 64 * sample;
}

/* What the data gives is made anew for each sample. */
static bool is_kept(const Forward *forward, int64_t state)
{
	const CmprtState *of = &forward->net->states[state];
	return of->given < 0 && !of->is_passing;
}

static int64_t all_bytes(const Forward *forward, int64_t state)
{
	return is_kept(forward, state) ? state_offset(forward, state, forward->samples.count) : 0;
}

int64_t states_bytes(const Forward *forward)
{
	int64_t bytes = 0;
	for (int64_t i = 0; i < forward->net->state_count; i++)
		bytes += all_bytes(forward, i);
	return bytes;
}

static int64_t mark_words(const Forward *forward)
{
	return 5 + 2 * forward->net->state_count;
}

static int64_t slot_bytes(const Forward *forward)
{
	return align_up(mark_words(forward) * (int64_t)sizeof(uint64_t), PAGE);
}

int64_t states_file_bytes(const Forward *forward)
{
	int64_t bytes = SLOTS * slot_bytes(forward);
	for (int64_t i = 0; i < forward->net->state_count; i++)
		bytes += 2 * align_up(all_bytes(forward, i), PAGE);
	return bytes;
}

/* ---- opening ---- */

/* A file without a name, which is gone when it is closed. */
static int open_nameless(const char *folder)
{
	char path[4096];
	int fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	snprintf(path, sizeof path, "%s/cmpc-states-XXXXXX", folder);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static const char *temporary_folder(void)
{
	const char *folder = getenv("TMPDIR");
	return folder && *folder ? folder : "/tmp";
}

static bool open_file(Forward *forward, CmprtError *error)
{
	int64_t count = forward->net->state_count, at = SLOTS * slot_bytes(forward);
	bool is_resumed = forward->run->journal != NULL;
	const char *path = is_resumed ? forward->run->destination.states : temporary_folder();
	StateFile *file = forward->file = calloc(1, sizeof *file);
	if (!file)
		return error_out_of_memory(error);
	*file = (StateFile){.path = path};
	file->fd = is_resumed ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666) : open_nameless(path);
	if (file->fd < 0)
		return error_system(error, "create", path, errno);
	file->place = calloc((size_t)count + 1, sizeof *file->place);
	file->current = calloc((size_t)count + 1, sizeof *file->current);
	file->sums = calloc((size_t)count + 1, sizeof *file->sums);
	file->written = calloc((size_t)count + 1, sizeof *file->written);
	file->mark = calloc((size_t)mark_words(forward), sizeof *file->mark);
	if (!file->place || !file->current || !file->sums || !file->written || !file->mark)
		return error_out_of_memory(error);
	for (int64_t i = 0; i < count; i++) {
		file->place[i] = at;
		file->current[i] = NOWHERE;
		at += 2 * align_up(all_bytes(forward, i), PAGE);
	}
	file->bytes = at;
	return true;
}

bool states_open(Forward *forward, CmprtError *error)
{
	int64_t count = forward->net->state_count;
	if ((forward->run->journal || forward->is_spilled) && !open_file(forward, error))
		return false;
	forward->states = calloc((size_t)count + 1, sizeof *forward->states);
	if (!forward->states)
		return error_out_of_memory(error);
	for (int64_t i = 0; i < count && !forward->is_spilled; i++) {
		forward->states[i] = aligned_alloc(64, (size_t)align_up(all_bytes(forward, i), 64) + 64);
		if (!forward->states[i])
			return error_out_of_memory(error);
	}
	return true;
}

void states_close(Forward *forward)
{
	for (int64_t i = 0; forward->states && i < forward->net->state_count; i++)
		free(forward->states[i]);
	free(forward->states);
	forward->states = NULL;
	StateFile *file = forward->file;
	if (!file)
		return;
	if (file->fd >= 0)
		close(file->fd);
	free(file->place);
	free(file->current);
	free(file->sums);
	free(file->written);
	free(file->mark);
	free(file);
	forward->file = NULL;
}

/* ---- samples in and out ---- */

/* Of states in memory. */
static char *place_of(const Forward *forward, int64_t state, int64_t sample)
{
	return forward->states[state] + state_offset(forward, state, sample);
}

static int64_t file_offset(const Forward *forward, int64_t state, int64_t which, int64_t sample)
{
	return forward->file->place[state] + which * align_up(all_bytes(forward, state), PAGE) +
		   state_offset(forward, state, sample);
}

static bool read_current(const Forward *forward, int64_t state, int64_t sample, void *to, CmprtError *error)
{
	const StateFile *file = forward->file;
	return file_read(file->fd, file->path, to, forward_state_bytes(forward, state, sample),
		file_offset(forward, state, file->current[state], sample), error);
}

bool state_load(const Forward *forward, int64_t state, int64_t sample, void **buffer, CmprtError *error)
{
	if (forward->is_spilled)
		return read_current(forward, state, sample, *buffer, error);
	*buffer = place_of(forward, state, sample);
	return true;
}

static uint64_t sample_sum(const void *bytes, int64_t count, int64_t sample)
{
	return XXH3_64bits_withSeed(bytes, (size_t)count, (uint64_t)sample);
}

bool state_store(Forward *forward, int64_t state, int64_t sample, const void *from, CmprtError *error)
{
	StateFile *file = forward->file;
	int64_t bytes = forward_state_bytes(forward, state, sample);
	if (!forward->is_spilled)
		memcpy(place_of(forward, state, sample), from, (size_t)bytes);
	if (!file)
		return true;
	file->written[state] = (sample ? file->written[state] : 0) + sample_sum(from, bytes, sample);
	return file_write(
		file->fd, file->path, from, bytes, file_offset(forward, state, file->current[state] == 0, sample), error);
}

void states_turn(Forward *forward, const CmprtCall *call)
{
	StateFile *file = forward->file;
	for (int64_t i = 0; file && i < call->left_count; i++) {
		int64_t state = call->left[i];
		if (!is_kept(forward, state))
			continue;
		file->current[state] = file->current[state] == 0;
		file->sums[state] = file->written[state];
	}
}

/* ---- marks ---- */

bool states_mark(Forward *forward, int64_t net, int64_t call, CmprtError *error)
{
	StateFile *file = forward->file;
	int64_t words = mark_words(forward);
	uint64_t *word = file ? file->mark : NULL;
	if (!file)
		return true;
	memcpy(word, journal_key(forward->run->journal), 2 * sizeof *word);
	word[2] = (uint64_t)net;
	word[3] = (uint64_t)call;
	for (int64_t i = 0; i < forward->net->state_count; i++) {
		word[4 + 2 * i] = (uint64_t)file->current[i];
		word[5 + 2 * i] = file->sums[i];
	}
	word[words - 1] = XXH3_64bits(word, (size_t)(words - 1) * sizeof *word);
	int64_t slot = file->next_slot++ % SLOTS;
	return file_write(file->fd, file->path, word, words * (int64_t)sizeof *word, slot * slot_bytes(forward), error);
}

/* The call that the slot's mark stands behind, into file->current and file->sums what it says; NOWHERE: no such mark.
 */
static int64_t read_mark(Forward *forward, int64_t net, int64_t slot)
{
	StateFile *file = forward->file;
	int64_t words = mark_words(forward);
	size_t bytes = (size_t)words * sizeof *file->mark;
	uint64_t *word = file->mark;
	if (pread(file->fd, word, bytes, (off_t)(slot * slot_bytes(forward))) != (ssize_t)bytes ||
		word[words - 1] != XXH3_64bits(word, bytes - sizeof *word) ||
		memcmp(word, journal_key(forward->run->journal), 2 * sizeof *word) != 0 || word[2] != (uint64_t)net ||
		word[3] >= (uint64_t)forward->net->call_count)
		return NOWHERE;
	for (int64_t i = 0; i < forward->net->state_count; i++) {
		file->current[i] = (int64_t)word[4 + 2 * i];
		file->sums[i] = word[5 + 2 * i];
		if (file->current[i] < NOWHERE || file->current[i] > 1)
			return NOWHERE;
	}
	return (int64_t)word[3];
}

/* Are the bytes those of the mark in hand? They are in memory then, unless they are spilled. */
static bool load_states(Forward *forward, CmprtError *error)
{
	const StateFile *file = forward->file;
	for (int64_t i = 0; i < forward->net->state_count; i++) {
		uint64_t sum = 0;
		for (int64_t k = 0; k < forward->samples.count && file->current[i] != NOWHERE && is_kept(forward, i); k++) {
			void *to = forward->is_spilled ? forward->arena : place_of(forward, i, k);
			if (!read_current(forward, i, k, to, error))
				return false;
			sum += sample_sum(to, forward_state_bytes(forward, i, k), k);
		}
		if (sum != file->sums[i])
			return false;
	}
	return true;
}

int64_t states_resume(Forward *forward, int64_t net, CmprtError *error)
{
	StateFile *file = forward->file;
	CmprtError damaged;
	if (!file)
		return 0;
	int64_t call[SLOTS] = {NOWHERE, NOWHERE};
	for (int64_t slot = 0; slot < SLOTS && journal_resumes(forward->run->journal); slot++)
		call[slot] = read_mark(forward, net, slot);
	for (int64_t tried = 0, slot = call[1] > call[0]; tried < SLOTS; tried++, slot = 1 - slot) {
		/* a mark is no better than the journal, which may have lost what jobs wrote */
		if (call[slot] == NOWHERE || !calibration_is_done(forward->run, forward->net, call[slot] + 1))
			continue;
		read_mark(forward, net, slot);
		if (!load_states(forward, &damaged))
			continue;
		file->next_slot = 1 - slot;
		return call[slot] + 1;
	}
	for (int64_t i = 0; i < forward->net->state_count; i++) {
		file->current[i] = NOWHERE;
		file->sums[i] = 0;
	}
	/* what is there is of no use, and may be another program's */
	return ftruncate(file->fd, 0) == 0 ? 0 : (error_system(error, "write", file->path, errno), NOWHERE);
}
