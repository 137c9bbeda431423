/* SPDX-License-Identifier: MIT
 *
 * memory.c: how many threads work on how many rows at a time, so that the process
 * never has more resident than the limit. Decided from the tables and from what is
 * resident once headers are read; all panels then lie in one arena of known size.
 *
 *   peak = base + slack + heap + max over tasks of what the task needs in the arena
 *   streamed task: threads * (panels in and out + scratch + work buffers + errors of an open segment or counts of keys)
 *   whole task:    all its tensors + work buffers + threads * (scratch + what BLAS takes + counts of keys)
 *   part of a net: its weights, one sample, partial statistics, threads * (scratch + what BLAS takes)
 *   base:          with a net, what its parts hand on too, unless the limit has room for that in a file alone
 *   heap:          max over tasks of what the kernel takes from malloc; not in turn with the arena: its pages stay
 */
#include "run.h"

#include <stdio.h>
#include <string.h>

/* Panel in and out together: mostly in the level 2 cache of the CPUs that matter. What is written at once decides how
 * large the pages of the system's cache are: half of this costs q8_0 8 % more of the whole time. */
#define PANEL_BYTES ((int64_t)1 << 20)
/* Below this a panel is dominated by its system calls; a limit that cannot give it is refused. */
#define LEAST_PANEL_BYTES ((int64_t)64 << 10)
/* Code pages touched later, buffers of stdio; measured: under 1 MiB. */
#define SLACK_BYTES ((int64_t)2 << 20)
/* A thread's stack, its libgomp and malloc state; measured: under 100 KiB. */
#define THREAD_SLACK_BYTES ((int64_t)256 << 10)

int64_t memory_resident(bool is_peak)
{
	const char *key = is_peak ? "VmHWM:" : "VmRSS:";
	FILE *status = fopen("/proc/self/status", "re");
	long long kilobytes = 0;
	char line[256];
	while (status && fgets(line, sizeof line, status))
		if (strncmp(line, key, strlen(key)) == 0)
			sscanf(line + strlen(key), "%lld", &kilobytes);
	if (status)
		fclose(status);
	return kilobytes * 1024;
}

/* What is resident before the work differs from run to run by what of the code the system has mapped: 3 MiB of the 235
 * that an evaluation with the compiler in its process has, less than 1 MiB of an executable's. */
int64_t memory_named(int64_t smallest, int64_t base)
{
	return align_up(smallest + base / 32, 1 << 20) + (1 << 20);
}

/* Of a thread that works on `rows` rows of the task at a time. */
static int64_t thread_bytes(const Task *task, int64_t rows)
{
	const CmprtJob *job = task->job;
	int64_t bytes = 0;
	for (int64_t i = 0; i < job->port_in_count; i++)
		bytes += align_up(rows * task_row_bytes(task, &job->ports_in[i]), 64);
	for (int64_t i = 0; i < job->port_out_count && job->kernel; i++)
		if (task_is_panel(task, i))
			bytes += align_up(rows * task_row_bytes(task, &job->ports_out[i]), 64);
	for (int64_t i = 0; i < job->work_count; i++)
		bytes += align_up(job->work_bytes[i], 64);
	return bytes + align_up(job->scratch_bytes, 64);
}

int64_t memory_whole(const Task *task, int64_t threads)
{
	const CmprtJob *job = task->job;
	int64_t bytes = threads * (align_up(job->scratch_bytes, 64) + BLAS_THREAD_BYTES);
	bytes += task->has_keys ? threads * resolve_thread_bytes() : 0;
	for (int64_t i = 0; i < job->port_in_count; i++)
		bytes += align_up(job->ports_in[i].rows * job->ports_in[i].row_bytes, 64);
	for (int64_t i = 0; i < job->port_out_count; i++)
		bytes += align_up(
			task_is_panel(task, i) ? job->ports_out[i].rows * job->ports_out[i].row_bytes : job->rows * 16, 64);
	for (int64_t i = 0; i < job->work_count; i++)
		bytes += align_up(job->work_bytes[i], 64);
	return bytes;
}

static int64_t clamp(int64_t value, int64_t least, int64_t most)
{
	value = value < least ? least : value;
	return value < most ? value : most;
}

/* Rows that `bytes` hold, at least one, at most a segment. */
static int64_t rows_in(const Task *task, int64_t bytes)
{
	int64_t row = task->row_in + (task->job->kernel ? task->row_out + task->row_values : 0);
	return clamp(row ? bytes / row : task->segment_rows, 1, task->segment_rows);
}

static int64_t task_count(const Run *run)
{
	return run->program->early_count + run->program->job_count + run->key_task_first[run->program->select_count];
}

/* Of the sweep and of all that comes before it. */
static Task *task_at(const Run *run, int64_t number)
{
	int64_t jobs = run->program->job_count, early = run->program->early_count;
	if (number < early)
		return &run->early_tasks[number];
	number -= early;
	return number < jobs ? &run->tasks[number] : &run->key_tasks[number - jobs];
}

/* What `threads` need at least; fills the largest of the two kinds of demand. */
static int64_t least_arena(const Run *run, int64_t threads)
{
	int64_t streamed = 0, whole = 0;
	for (int64_t i = 0; i < task_count(run); i++) {
		const Task *task = task_at(run, i);
		int64_t bytes =
			task->is_streamed ? thread_bytes(task, rows_in(task, LEAST_PANEL_BYTES)) : memory_whole(task, threads);
		int64_t *largest = task->is_streamed ? &streamed : &whole;
		*largest = bytes > *largest ? bytes : *largest;
	}
	streamed = threads * (streamed + run->schedule.thread_extra);
	whole = whole > run->schedule.net.arena ? whole : run->schedule.net.arena;
	return streamed > whole ? streamed : whole;
}

/* One thread runs what is no loop over rows while the others wait. */
static int64_t heap_bytes(const Run *run, int64_t threads)
{
	int64_t most = run->schedule.net.heap;
	for (int64_t i = 0; i < task_count(run); i++) {
		const CmprtJob *job = task_at(run, i)->job;
		int64_t bytes = threads * job->thread_heap_bytes;
		bytes = bytes > job->call_heap_bytes ? bytes : job->call_heap_bytes;
		most = bytes > most ? bytes : most;
	}
	return most;
}

/* All but the arena. */
static int64_t fixed_bytes(const Run *run, int64_t threads)
{
	return run->schedule.base + SLACK_BYTES + threads * THREAD_SLACK_BYTES + heap_bytes(run, threads) +
		   run->schedule.net.states;
}

/* What is resident at least. */
static int64_t least_bytes(Run *run, int64_t threads, bool is_spilled)
{
	run->schedule.net = calibration_bytes(run, threads, is_spilled);
	return fixed_bytes(run, threads) + least_arena(run, threads);
}

/* Gives every streamed task the rows that a thread's share of `bytes` allows. Sets thread_bytes and arena_bytes. */
static void fit_panels(Run *run, int64_t bytes)
{
	Schedule *schedule = &run->schedule;
	int64_t share = bytes / schedule->threads - schedule->thread_extra, whole = schedule->net.arena;
	schedule->thread_bytes = 0;
	for (int64_t i = 0; i < task_count(run); i++) {
		Task *task = task_at(run, i);
		if (!task->is_streamed) {
			task->panel_rows = PANEL_BYTES;
			int64_t needed = memory_whole(task, schedule->threads);
			whole = needed > whole ? needed : whole;
			continue;
		}
		task->panel_rows = rows_in(task, PANEL_BYTES);
		int64_t ports = (task->job->port_in_count + task->job->port_out_count) * 64; /* lost to alignment */
		int64_t rest = share - (thread_bytes(task, 0) + ports);
		if (thread_bytes(task, task->panel_rows) > share)
			task->panel_rows = clamp(rows_in(task, rest), rows_in(task, LEAST_PANEL_BYTES), task->panel_rows);
		int64_t needed = thread_bytes(task, task->panel_rows);
		schedule->thread_bytes = needed > schedule->thread_bytes ? needed : schedule->thread_bytes;
	}
	int64_t streamed = schedule->threads * (schedule->thread_bytes + schedule->thread_extra);
	schedule->arena_bytes = streamed > whole ? streamed : whole;
}

bool memory_schedule(Run *run, CmprtError *error)
{
	Schedule *schedule = &run->schedule;
	const CmprtOptions *options = run->options;
	int64_t cores = threads_available();
	int64_t wanted = run->program->cores > 0 && run->program->cores < cores ? run->program->cores : cores;
	schedule->threads = options->threads > 0 ? options->threads : wanted;
	schedule->limit = options->memory > 0 ? options->memory : run->program->memory;
	schedule->base = memory_resident(false) + extents_bytes(run);
	for (int64_t i = 0; i < run->program->job_count; i++)
		if (run->tasks[i].is_streamed && run->tasks[i].has_error && run->tasks[i].segment_rows > schedule->slot_errors)
			schedule->slot_errors = run->tasks[i].segment_rows;
	schedule->thread_extra = align_up(schedule->slot_errors * 16, 64);
	if (run->program->select_count && schedule->thread_extra < resolve_thread_bytes())
		schedule->thread_extra = resolve_thread_bytes();

	int64_t limit = schedule->limit > 0 ? schedule->limit : INT64_MAX;
	bool is_spilled = false;
	int64_t smallest = least_bytes(run, schedule->threads, is_spilled);
	while (smallest > limit && (schedule->threads > 1 || !is_spilled)) {
		schedule->threads -= is_spilled;
		is_spilled = true;
		smallest = least_bytes(run, schedule->threads, is_spilled);
	}
	int64_t header_peak = memory_resident(true);
	if (smallest < header_peak)
		smallest = header_peak;
	if (smallest > limit)
		return error_memory_too_small(error, schedule->limit, memory_named(smallest, schedule->base), schedule->base);
	fit_panels(run, limit - fixed_bytes(run, schedule->threads));
	schedule->peak = fixed_bytes(run, schedule->threads) + schedule->arena_bytes;
	return true;
}
