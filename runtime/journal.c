/* SPDX-License-Identifier: MIT
 *
 * journal.c: which segments are done. A journal is a head, what is known of each
 * selection, and records of fixed size, each with its own checksum, appended after
 * the bytes they speak of were written; what follows a damaged record is ignored.
 *
 * Note [What a journal proves]
 * A killed process leaves its written pages in the system's cache, so while the
 * machine has not been rebooted a record is proof enough. After a reboot (another
 * boot id) pages may be lost in any order: each done segment is read back then
 * and its checksum compared. Nothing has to be synced while the run works.
 *
 * The head names the partial result by its inode: what lies under the partial name
 * after an exchange of folders is the old output, and must never be resumed.
 */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { BUFFERED = 64, BOOT_BYTES = 40 };
#define FLUSH_SECONDS 0.02

typedef struct Head {
	char magic[16];
	uint64_t key[2];        /* of everything that the output's bytes depend on */
	char boot[BOOT_BYTES];  /* boot id; empty: unknown */
	uint64_t device, inode; /* of the partial result */
	uint64_t check;
} Head;

/* What was resolved depends on the key alone: it holds after a reboot too. */
typedef struct Resolution {
	Resolved resolved;
	uint64_t check; /* all zero, as in a hole of the file, is never right */
} Resolution;

struct Journal {
	int fd;
	bool resumes, is_same_boot;
	Head head;
	off_t end;
	int buffered;
	JournalRecord records[BUFFERED];
	double flushed;      /* when */
	int64_t *panel_rows; /* per segment done earlier, what its record said */
	uint64_t *sums;
};

static const char magic[16] = "cmpc journal 2\n";

uint64_t panel_sum(const void *bytes, int64_t count, int64_t port, int64_t begin)
{
	return XXH3_64bits_withSeed(bytes, (size_t)count, (uint64_t)begin * 16 + (uint64_t)port);
}

/* ---- the key ---- */

static void add_int(XXH3_state_t *state, int64_t value)
{
	XXH3_128bits_update(state, &value, sizeof value);
}

static void add_text(XXH3_state_t *state, const char *text)
{
	add_int(state, text ? (int64_t)strlen(text) : -1);
	if (text)
		XXH3_128bits_update(state, text, strlen(text));
}

static void add_ports(XXH3_state_t *state, const CmprtPort *ports, int64_t count)
{
	add_int(state, count);
	XXH3_128bits_update(state, ports, (size_t)count * sizeof *ports);
}

static void add_jobs(XXH3_state_t *state, const CmprtJob *jobs, int64_t count)
{
	for (const CmprtJob *job = jobs; job < jobs + count; job++) {
		add_text(state, job->label);
		add_text(state, job->passes);
		add_text(state, job->dtype);
		add_int(state, job->kernel != NULL);
		add_int(state, job->rows);
		add_int(state, job->whole);
		add_int(state, job->error_port);
		add_ports(state, job->ports_in, job->port_in_count);
		add_ports(state, job->ports_out, job->port_out_count);
		for (int64_t k = 0; k < job->param_count; k++)
			add_int(state, job->params[k]);
		for (int64_t k = 0; k < job->share_count; k++)
			XXH3_128bits_update(state, &job->shares[k], sizeof job->shares[k]);
	}
}

static void add_program(XXH3_state_t *state, const CmprtProgram *program)
{
	add_text(state, program->cmpc_version);
	add_text(state, program->source_hash);
	add_text(state, program->code_hash);
	add_text(state, program->pipeline);
	add_jobs(state, program->early, program->early_count);
	add_jobs(state, program->jobs, program->job_count);
	for (int64_t i = 0; i < program->select_count; i++) {
		add_int(state, program->selects[i].limit);
		add_jobs(state, program->selects[i].jobs, program->selects[i].job_count);
	}
}

static bool add_source(XXH3_state_t *state, const OpenCheckpoint *source, CmprtError *error)
{
	for (int64_t i = 0; i < source->checkpoint->file_count; i++) {
		struct stat info;
		if (fstat(source->fds[i], &info) < 0)
			return error_system(error, "examine", source->checkpoint->files[i], errno);
		add_int(state, info.st_size);
		add_int(state, (int64_t)info.st_dev);
		add_int(state, (int64_t)info.st_ino);
		add_int(state, info.st_mtim.tv_sec);
		add_int(state, info.st_mtim.tv_nsec);
	}
	return true;
}

static bool add_inputs(XXH3_state_t *state, const Run *run, CmprtError *error)
{
	for (int64_t i = 0; i < run->program->source_count; i++)
		if (!add_source(state, &run->sources[i], error))
			return false;
	for (int64_t i = 0; i < run->program->input_count; i++) {
		const CkTensor *tensor = run->inputs[i];
		add_text(state, tensor->name);
		add_text(state, tensor->dtype);
		add_int(state, run->program->inputs[i].source);
		add_int(state, tensor->file);
		add_int(state, tensor->offset);
		add_int(state, tensor->bytes);
	}
	return true;
}

static void add_layout(XXH3_state_t *state, const CkLayout *layout, int64_t tensors)
{
	for (int64_t i = 0; i < layout->file_count; i++) {
		add_text(state, layout->files[i].name);
		add_int(state, layout->files[i].bytes);
		XXH3_128bits_update(state, layout->files[i].head, (size_t)layout->files[i].head_bytes);
	}
	for (int64_t i = 0; i < tensors; i++) {
		add_int(state, layout->tensor_file[i]);
		add_int(state, layout->tensor_offset[i]);
	}
}

static bool make_key(const Run *run, uint64_t key[2], CmprtError *error)
{
	XXH3_state_t *state = XXH3_createState();
	if (!state)
		return error_out_of_memory(error);
	XXH3_128bits_reset(state);
	add_int(state, run->options->nonfinite);
	add_program(state, run->program);
	add_layout(state, run->layout, run->program->output_count);
	add_int(state, (int64_t)calibration_sum(run));
	bool is_known = add_inputs(state, run, error);
	XXH128_hash_t hash = XXH3_128bits_digest(state);
	XXH3_freeState(state);
	key[0] = hash.low64;
	key[1] = hash.high64;
	return is_known;
}

/* ---- the head ---- */

static void read_boot(char to[BOOT_BYTES])
{
	memset(to, 0, BOOT_BYTES);
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t count = read(fd, to, BOOT_BYTES - 1);
	if (count <= 0)
		memset(to, 0, BOOT_BYTES);
	close(fd);
}

static bool make_head(const Run *run, Head *head, CmprtError *error)
{
	memset(head, 0, sizeof *head);
	memcpy(head->magic, magic, sizeof magic);
	if (!make_key(run, head->key, error))
		return false;
	read_boot(head->boot);
	struct stat info;
	if (stat(run->destination.partial, &info) == 0) {
		head->device = (uint64_t)info.st_dev;
		head->inode = (uint64_t)info.st_ino;
	}
	head->check = XXH3_64bits(head, offsetof(Head, check));
	return true;
}

/* ---- opening ---- */

static uint64_t record_check(const JournalRecord *record)
{
	return XXH3_64bits(record, offsetof(JournalRecord, check));
}

/* The lock must be on the file that has the name: the run that held it may have removed it meanwhile. */
static int open_locked(const char *path, CmprtError *error, const char *output)
{
	for (;;) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
		if (fd < 0) {
			error_system(error, "create", path, errno);
			return -1;
		}
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			error_busy(error, output);
			close(fd);
			return -1;
		}
		struct stat by_fd, by_name;
		if (fstat(fd, &by_fd) == 0 && stat(path, &by_name) == 0 && by_fd.st_ino == by_name.st_ino)
			return fd;
		close(fd);
	}
}

static void read_records(Run *run, Journal *journal)
{
	JournalRecord record;
	while (pread(journal->fd, &record, sizeof record, journal->end) == (ssize_t)sizeof record) {
		if (record.check != record_check(&record) || record.segment < 0 || record.segment >= run->segment_count ||
			record.panel_rows <= 0)
			break;
		run->done[record.segment] = true;
		memcpy(run->segment_errors[record.segment], record.error, sizeof record.error);
		memcpy(run->segment_notes[record.segment], record.notes, sizeof record.notes);
		journal->panel_rows[record.segment] = record.panel_rows;
		journal->sums[record.segment] = record.sum;
		journal->end += (off_t)sizeof record;
	}
}

static off_t resolution_at(int64_t select)
{
	return (off_t)(sizeof(Head) + (size_t)select * sizeof(Resolution));
}

static void read_resolutions(Run *run, const Journal *journal)
{
	Resolution found;
	for (int64_t i = 0; i < run->program->select_count; i++)
		if (pread(journal->fd, &found, sizeof found, resolution_at(i)) == (ssize_t)sizeof found &&
			found.check == XXH3_64bits(&found, offsetof(Resolution, check)))
			run->resolved[i] = found.resolved;
}

bool journal_open(Run *run, CmprtError *error)
{
	Journal *journal = calloc(1, sizeof *journal);
	if (!journal)
		return error_out_of_memory(error);
	run->journal = journal;
	journal->fd = open_locked(run->destination.journal, error, run->destination.path);
	if (journal->fd < 0 || !make_head(run, &journal->head, error))
		return false;
	journal->panel_rows = calloc((size_t)run->segment_count + 1, sizeof *journal->panel_rows);
	journal->sums = calloc((size_t)run->segment_count + 1, sizeof *journal->sums);
	if (!journal->panel_rows || !journal->sums)
		return error_out_of_memory(error);
	Head found;
	journal->end = resolution_at(run->program->select_count);
	if (pread(journal->fd, &found, sizeof found, 0) != (ssize_t)sizeof found ||
		found.check != XXH3_64bits(&found, offsetof(Head, check)) || journal->head.inode == 0)
		return true;
	journal->is_same_boot = found.boot[0] && memcmp(found.boot, journal->head.boot, BOOT_BYTES) == 0;
	journal->resumes =
		memcmp(found.magic, magic, sizeof magic) == 0 && memcmp(found.key, journal->head.key, sizeof found.key) == 0 &&
		found.inode == journal->head.inode && (found.device == journal->head.device || !journal->is_same_boot);
	if (journal->resumes) {
		read_resolutions(run, journal);
		read_records(run, journal);
	}
	return true;
}

bool journal_resumes(const Journal *journal)
{
	return journal->resumes;
}

const uint64_t *journal_key(const Journal *journal)
{
	return journal->head.key;
}

void journal_forget(Run *run)
{
	run->journal->resumes = false;
	memset(run->resolved, 0, (size_t)run->program->select_count * sizeof *run->resolved);
	memset(run->done, 0, (size_t)run->segment_count * sizeof *run->done);
	memset(run->segment_errors, 0, (size_t)run->segment_count * sizeof *run->segment_errors);
	memset(run->segment_notes, 0, (size_t)run->segment_count * sizeof *run->segment_notes);
}

/* ---- after a reboot ---- */

static bool sum_segment(
	Run *run, const Task *task, int64_t segment, int64_t panel_rows, uint64_t *sum, CmprtError *error)
{
	enum { CHUNK = 64 << 10 };
	char chunk[CHUNK];
	XXH3_state_t *state = XXH3_createState();
	if (!state)
		return error_out_of_memory(error);
	bool is_read = true;
	for (int64_t p = 0; p < task->job->port_out_count && is_read; p++) {
		const CmprtPort *port = &task->job->ports_out[p];
		if (!task_is_tensor(task, p))
			continue;
		int64_t row = task_row_bytes(task, port);
		int64_t begin = task->is_streamed ? task_segment_begin(task, segment) : 0;
		int64_t end = task->is_streamed ? task_segment_end(task, segment) : task_bytes_out(run, task, p);
		for (; begin < end && is_read; begin += panel_rows) {
			int64_t at = begin * row, last = (end - begin < panel_rows ? end : begin + panel_rows) * row;
			XXH3_64bits_reset_withSeed(state, (uint64_t)begin * 16 + (uint64_t)p);
			for (; at < last && is_read; at += CHUNK) {
				int64_t count = last - at < CHUNK ? last - at : CHUNK;
				is_read = output_read(run, port, chunk, count, at, error);
				XXH3_64bits_update(state, chunk, (size_t)count);
			}
			*sum += XXH3_64bits_digest(state);
		}
	}
	XXH3_freeState(state);
	return is_read;
}

/* Forgets segments whose bytes did not survive. */
static bool verify_segments(Run *run, CmprtError *error)
{
	Journal *journal = run->journal;
	for (int64_t i = 0; i < run->program->job_count; i++) {
		const Task *task = &run->tasks[i];
		for (int64_t s = task->segment_first; s < task->segment_first + task->segment_count; s++) {
			uint64_t sum = 0;
			if (!run->done[s])
				continue;
			if (!sum_segment(run, task, s, journal->panel_rows[s], &sum, error))
				return false;
			run->done[s] = sum == journal->sums[s];
		}
	}
	return true;
}

/* ---- writing ---- */

static bool write_at(Run *run, const void *from, size_t bytes, off_t offset, CmprtError *error)
{
	ssize_t count = pwrite(run->journal->fd, from, bytes, offset);
	if (count != (ssize_t)bytes)
		return error_system(error, "write", run->destination.journal, count < 0 ? errno : ENOSPC);
	return true;
}

bool journal_resolve(Run *run, int64_t select, CmprtError *error)
{
	if (!run->journal)
		return true;
	Resolution resolution = {.resolved = run->resolved[select]};
	resolution.check = XXH3_64bits(&resolution, offsetof(Resolution, check));
	return write_at(run, &resolution, sizeof resolution, resolution_at(select), error);
}

bool journal_flush(Run *run, CmprtError *error)
{
	Journal *journal = run->journal;
	if (!journal)
		return true;
	size_t bytes = (size_t)journal->buffered * sizeof *journal->records;
	journal->buffered = 0;
	journal->flushed = clock_seconds();
	if (bytes && !write_at(run, journal->records, bytes, journal->end, error))
		return false;
	journal->end += (off_t)bytes;
	return true;
}

bool journal_add(Run *run, JournalRecord record, CmprtError *error)
{
	Journal *journal = run->journal;
	run->done[record.segment] = true;
	memcpy(run->segment_errors[record.segment], record.error, sizeof record.error);
	memcpy(run->segment_notes[record.segment], record.notes, sizeof record.notes);
	if (!journal)
		return true;
	record.check = record_check(&record);
	journal->records[journal->buffered++] = record;
	if (journal->buffered == BUFFERED || clock_seconds() - journal->flushed >= FLUSH_SECONDS)
		return journal_flush(run, error);
	return true;
}

/* After a reboot the journal is written anew: it vouches for this boot from now on, and must not for what was lost. */
static bool rewrite(Run *run, CmprtError *error)
{
	Journal *journal = run->journal;
	if (!verify_segments(run, error))
		return false;
	for (int64_t s = 0; s < run->segment_count; s++) {
		JournalRecord record = {.segment = s, .panel_rows = journal->panel_rows[s], .sum = journal->sums[s]};
		memcpy(record.error, run->segment_errors[s], sizeof record.error);
		memcpy(record.notes, run->segment_notes[s], sizeof record.notes);
		if (run->done[s] && !journal_add(run, record, error))
			return false;
	}
	return true;
}

bool journal_start(Run *run, CmprtError *error)
{
	Journal *journal = run->journal;
	if (!make_head(run, &journal->head, error))
		return false;
	bool keeps_records = journal->resumes && journal->is_same_boot;
	if (!keeps_records)
		journal->end = resolution_at(run->program->select_count);
	if (ftruncate(journal->fd, keeps_records ? journal->end : 0) < 0)
		return error_system(error, "write", run->destination.journal, errno);
	journal->flushed = clock_seconds();
	if (!write_at(run, &journal->head, sizeof journal->head, 0, error))
		return false;
	for (int64_t i = 0; i < run->program->select_count; i++)
		if (run->resolved[i].is_known && !journal_resolve(run, i, error))
			return false;
	return !journal->resumes || journal->is_same_boot || (rewrite(run, error) && journal_flush(run, error));
}

void journal_close(Run *run)
{
	if (!run->journal)
		return;
	if (run->journal->fd >= 0)
		close(run->journal->fd);
	free(run->journal->panel_rows);
	free(run->journal->sums);
	free(run->journal);
	run->journal = NULL;
}
