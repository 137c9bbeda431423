/* SPDX-License-Identifier: MIT
 *
 * resolve.c: selections by rank over more than fits in memory. Which key is the last
 * that is selected is found by counting: one sweep over the keys counts their upper 16
 * bits, a second the lower 16 of those that share the upper ones in question. Where
 * that key is selected in part, a third counts it per segment, and the segment in
 * which the selection ends is gone through once more.
 *
 * Counts are sums of integers, so no order of the work shows in the result. Keys exist
 * in the threads' panels only; a job that wants all its rows holds its own.
 */
#include "run.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { DIGIT_BITS = 16, DIGITS = 1 << DIGIT_BITS };

typedef enum SweepKind { SWEEP_UPPER, SWEEP_LOWER, SWEEP_EQUAL } SweepKind;

typedef struct Sweep {
	Run *run;
	SweepKind kind;
	uint32_t wanted; /* LOWER: the upper digit; EQUAL: the whole key */
	Task *tasks;     /* of the select */
	int64_t task_count, segment_count;
	int64_t *digits;   /* (threads, DIGITS), at the front of the arena */
	int64_t *segments; /* EQUAL: keys found in each */
	void **buffers;    /* (threads, buffer_count) */
	int64_t *params;   /* (threads, param_count) */
	int64_t buffer_count, param_count;
	int64_t failed; /* the first segment that failed; INT64_MAX: none */
	CmprtError *error;
} Sweep;

int64_t resolve_thread_bytes(void)
{
	return DIGITS * (int64_t)sizeof(int64_t);
}

/* Sorts like the floats, -0 as +0, NaN last: compiler/kernel/elab_family.c makes the same image, with its first bit the
 * other way round. */
static uint32_t image_of(float key)
{
	uint32_t bits;
	key = key == 0 ? 0 : key;
	memcpy(&bits, &key, sizeof bits);
	return key != key ? UINT32_MAX : bits >> 31 ? ~bits : bits | UINT32_C(1) << 31;
}

/* ---- one panel ---- */

static void count_keys(Sweep *sweep, int64_t *digits, int64_t segment, const float *keys, int64_t count)
{
	int64_t found = 0;
	switch (sweep->kind) {
	case SWEEP_UPPER:
		for (int64_t i = 0; i < count; i++)
			digits[image_of(keys[i]) >> DIGIT_BITS]++;
		break;
	case SWEEP_LOWER:
		for (int64_t i = 0; i < count; i++) {
			uint32_t image = image_of(keys[i]);
			digits[image & (DIGITS - 1)] += image >> DIGIT_BITS == sweep->wanted;
		}
		break;
	case SWEEP_EQUAL:
		for (int64_t i = 0; i < count; i++)
			found += image_of(keys[i]) == sweep->wanted;
#pragma omp atomic
		sweep->segments[segment] += found;
		break;
	}
}

/* The keys of rows [begin, begin + count) in the calling thread's slice of the arena; NULL: *error is set. */
static const float *panel_keys(Sweep *sweep, const Task *task, int64_t begin, int64_t count, CmprtError *error)
{
	const CmprtJob *job = task->job;
	Run *run = sweep->run;
	int64_t thread = omp_get_thread_num();
	void **buffers = sweep->buffers + thread * sweep->buffer_count;
	int64_t *params = sweep->params + thread * sweep->param_count;
	char *memory = (char *)(sweep->digits + run->schedule.threads * DIGITS) + thread * run->schedule.thread_bytes;
	void *scratch = panel_buffers(task, memory, buffers);
	for (int64_t i = 0; i < job->port_in_count; i++)
		if (!panel_read(run, task, i, buffers[i], begin, count, error))
			return NULL;
	task_params(run, task, params);
	task_panel_params(run, task, begin, count, params);
	CmprtFrame frame = {buffers, params, scratch, NULL};
	job->kernel(&frame, 0, count);
	return buffers[job->port_in_count];
}

static void finish_panel(Sweep *sweep, const Task *task, int64_t bytes)
{
#pragma omp critical(cmprt_resolve)
	{
		progress_add(sweep->run, task, bytes);
		sweep->run->bytes_read += bytes;
	}
}

/* ---- one sweep ---- */

static const Task *task_of(const Sweep *sweep, int64_t segment)
{
	const Task *task = sweep->tasks;
	while (segment >= task->segment_first + task->segment_count)
		task++;
	return task;
}

static int64_t keys_per_row(const Task *task)
{
	return task->job->ports_out[0].row_bytes / (int64_t)sizeof(float);
}

/* Segments are begun in order, so all before the first failure are gone through. */
static void sweep_segment(Sweep *sweep, const Task *task, int64_t segment)
{
	int64_t *digits = sweep->digits + omp_get_thread_num() * DIGITS, failed;
	int64_t begin = task_segment_begin(task, segment), end = task_segment_end(task, segment);
#pragma omp atomic read
	failed = sweep->failed;
	while (begin < end && segment < failed) {
		CmprtError error;
		int64_t count = end - begin < task->panel_rows ? end - begin : task->panel_rows;
		const float *keys = panel_keys(sweep, task, begin, count, &error);
		if (!keys) {
#pragma omp critical(cmprt_resolve)
			if (segment < sweep->failed) {
				sweep->failed = segment;
				*sweep->error = error;
			}
			return;
		}
		count_keys(sweep, digits, segment, keys, count * keys_per_row(task));
		finish_panel(sweep, task, count * task->row_in);
		begin += count;
	}
}

static bool sweep_whole(Sweep *sweep, const Task *task)
{
	Run *run = sweep->run;
	const CmprtPort *port = &task->job->ports_out[0];
	char *memory = (char *)(sweep->digits + run->schedule.threads * DIGITS);
	if (!whole_compute(run, task, memory, sweep->buffers, sweep->params, sweep->error))
		return false;
	const float *keys = sweep->buffers[task->job->port_in_count];
	int64_t count = port->rows * keys_per_row(task), part = count / run->schedule.threads + 1;
#pragma omp parallel for num_threads((int)run->schedule.threads)
	for (int64_t begin = 0; begin < count; begin += part)
		count_keys(sweep, sweep->digits + omp_get_thread_num() * DIGITS, task->segment_first, keys + begin,
			count - begin < part ? count - begin : part);
	finish_panel(sweep, task, task->bytes);
	return true;
}

/* Goes through all keys of the select. Afterwards digits[0..DIGITS) or segments hold the counts. */
static bool sweep_keys(Sweep *sweep, SweepKind kind, uint32_t wanted)
{
	int64_t threads = sweep->run->schedule.threads;
	sweep->kind = kind;
	sweep->wanted = wanted;
	memset(sweep->digits, 0, (size_t)(threads * resolve_thread_bytes()));
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)threads)
	for (int64_t segment = 0; segment < sweep->segment_count; segment++) {
		const Task *task = task_of(sweep, segment);
		if (task->is_streamed)
			sweep_segment(sweep, task, segment);
	}
	if (sweep->failed != INT64_MAX)
		return false;
	for (int64_t i = 0; i < sweep->task_count; i++)
		if (!sweep->tasks[i].is_streamed && !sweep_whole(sweep, &sweep->tasks[i]))
			return false;
	for (int64_t thread = 1; thread < threads; thread++)
		for (int64_t digit = 0; digit < DIGITS; digit++)
			sweep->digits[digit] += sweep->digits[thread * DIGITS + digit];
	return true;
}

/* ---- the selection ---- */

/* The digit that holds the element of this rank; *rank becomes its rank among those. */
static uint32_t find_digit(const int64_t *digits, int64_t *rank)
{
	uint32_t digit = 0;
	while (*rank >= digits[digit])
		*rank -= digits[digit++];
	return digit;
}

/* The index of the rank-th of the wanted keys. */
static int64_t find_equal(uint32_t wanted, const float *keys, int64_t rank)
{
	int64_t i = 0;
	while (image_of(keys[i]) != wanted || rank-- > 0)
		i++;
	return i;
}

/* The place of the rank-th of the wanted keys, whose counts stand in sweep->segments. */
static bool find_place(Sweep *sweep, int64_t rank, int64_t *place)
{
	int64_t segment = 0;
	while (rank >= sweep->segments[segment])
		rank -= sweep->segments[segment++];
	const Task *task = task_of(sweep, segment);
	*place = 0;
	for (const Task *before = sweep->tasks; before < task; before++)
		*place += before->job->rows * keys_per_row(before);
	if (!task->is_streamed) { /* computed last of all, or again */
		char *memory = (char *)(sweep->digits + sweep->run->schedule.threads * DIGITS);
		if (!whole_compute(sweep->run, task, memory, sweep->buffers, sweep->params, sweep->error))
			return false;
		*place += find_equal(sweep->wanted, sweep->buffers[task->job->port_in_count], rank);
		return true;
	}
	int64_t begin = task_segment_begin(task, segment), end = task_segment_end(task, segment);
	for (int64_t count; begin < end; begin += count) {
		count = end - begin < task->panel_rows ? end - begin : task->panel_rows;
		int64_t keys_here = count * keys_per_row(task), found = 0;
		const float *keys = panel_keys(sweep, task, begin, count, sweep->error);
		if (!keys)
			return false;
		for (int64_t i = 0; i < keys_here; i++)
			found += image_of(keys[i]) == sweep->wanted;
		if (rank < found) {
			*place += begin * keys_per_row(task) + find_equal(sweep->wanted, keys, rank);
			return true;
		}
		rank -= found;
	}
	return error_bad_table(sweep->error, task->job->label, "the input changed while it was read");
}

static bool find_selection(Sweep *sweep, int64_t limit, Resolved *to)
{
	int64_t rank = limit - 1;
	if (!sweep_keys(sweep, SWEEP_UPPER, 0))
		return false;
	uint32_t upper = find_digit(sweep->digits, &rank);
	if (!sweep_keys(sweep, SWEEP_LOWER, upper))
		return false;
	uint32_t lower = find_digit(sweep->digits, &rank), key = upper << DIGIT_BITS | lower;
	*to = (Resolved){.is_known = 1, .image = (int32_t)(key ^ UINT32_C(1) << 31), .cut = INT64_MAX};
	if (rank + 1 == sweep->digits[lower])
		return true;
	for (int64_t i = 0; i < sweep->task_count; i++)
		sweep->run->progress.total += sweep->tasks[i].bytes;
	if (!sweep_keys(sweep, SWEEP_EQUAL, key) || !find_place(sweep, rank, &to->cut))
		return false;
	to->cut++;
	return true;
}

static bool make_sweep(Run *run, int64_t select, Sweep *sweep, CmprtError *error)
{
	int64_t first = run->key_task_first[select], threads = run->schedule.threads;
	*sweep = (Sweep){.run = run,
		.tasks = run->key_tasks + first,
		.task_count = run->key_task_first[select + 1] - first,
		.digits = (int64_t *)(void *)run->arena,
		.failed = INT64_MAX,
		.error = error};
	for (int64_t i = 0; i < sweep->task_count; i++) {
		const CmprtJob *job = sweep->tasks[i].job;
		int64_t buffers = job->port_in_count + job->port_out_count + job->work_count;
		sweep->buffer_count = buffers > sweep->buffer_count ? buffers : sweep->buffer_count;
		sweep->param_count = job->param_count + 1 > sweep->param_count ? job->param_count + 1 : sweep->param_count;
		sweep->segment_count += sweep->tasks[i].segment_count;
	}
	sweep->buffers = calloc((size_t)(threads * sweep->buffer_count) + 1, sizeof *sweep->buffers);
	sweep->params = calloc((size_t)(threads * sweep->param_count) + 1, sizeof *sweep->params);
	sweep->segments = calloc((size_t)sweep->segment_count + 1, sizeof *sweep->segments);
	return (sweep->buffers && sweep->params && sweep->segments) || error_out_of_memory(error);
}

static bool resolve(Run *run, int64_t select, CmprtError *error)
{
	int64_t limit = run->program->selects[select].limit, elements = 0;
	Resolved *to = &run->resolved[select];
	Sweep sweep;
	bool is_found = make_sweep(run, select, &sweep, error);
	for (int64_t i = 0; i < sweep.task_count; i++)
		elements += sweep.tasks[i].job->rows * keys_per_row(&sweep.tasks[i]);
	if (is_found && limit <= 0)
		*to = (Resolved){.is_known = 1, .image = INT32_MIN, .cut = 0}; /* no float has this image */
	else if (is_found && limit >= elements)
		*to = (Resolved){.is_known = 1, .image = INT32_MAX, .cut = INT64_MAX};
	else if (is_found)
		is_found = find_selection(&sweep, limit, to);
	free(sweep.buffers);
	free(sweep.params);
	free(sweep.segments);
	return is_found && journal_resolve(run, select, error);
}

bool resolve_selects(Run *run, CmprtError *error)
{
	for (int64_t i = 0; i < run->program->select_count; i++)
		if (!run->resolved[i].is_known && !resolve(run, i, error))
			return false;
	return true;
}
