/* SPDX-License-Identifier: MIT
 *
 * progress.c: one line on stderr, redrawn at most ten times a second, or one JSON
 * object per line on stdout. Nothing where stderr is no terminal.
 */
#include "run.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1

double clock_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

bool transfers_count(Transfers *to)
{
	FILE *counts = fopen("/proc/self/io", "re");
	bool is_known = counts && fscanf(counts, "rchar: %" SCNd64 " wchar: %" SCNd64, &to->read, &to->written) == 2;
	if (counts)
		fclose(counts);
	return is_known;
}

void progress_start(Run *run)
{
	Progress *progress = &run->progress;
	progress->is_json = run->options->json && !run->options->quiet;
	progress->is_shown = progress->is_json || (!run->options->quiet && isatty(STDERR_FILENO));
	progress->started = progress->last = clock_seconds();
	for (int64_t i = 0; i < run->program->job_count; i++) {
		const Task *task = &run->tasks[i];
		progress->total += task->bytes;
		for (int64_t s = task->segment_first; s < task->segment_first + task->segment_count; s++) {
			int64_t rows = task_segment_end(task, s) - task_segment_begin(task, s);
			if (run->done[s])
				progress->skipped += task->is_streamed ? rows * (task->row_in + task->row_out) : task->bytes;
		}
	}
	for (int64_t i = 0; i < run->program->select_count; i++)
		for (int64_t t = run->key_task_first[i]; t < run->key_task_first[i + 1] && !run->resolved[i].is_known; t++)
			progress->total += RESOLVE_SWEEPS * run->key_tasks[t].bytes;
	progress->done = progress->skipped;
}

static void draw(const Progress *progress, const char *label, double rate, double left)
{
	double percent = progress->total ? 100.0 * (double)progress->done / (double)progress->total : 100;
	int length = (int)strlen(label);
	const char *shown = length > 40 ? label + length - 40 : label; /* the end of a name tells more */
	fprintf(stderr, "\r%5.1f%%  %-40s  %6.0f MB/s  %02d:%02d left\033[K", percent, shown, rate / 1e6, (int)left / 60,
		(int)left % 60);
	fflush(stderr);
}

void progress_add(Run *run, const Task *task, int64_t bytes)
{
	Progress *progress = &run->progress;
	progress->done += bytes;
	if (!progress->is_shown)
		return;
	double now = clock_seconds();
	if (now - progress->last < REDRAW_SECONDS)
		return;
	progress->last = now;
	double rate = (double)(progress->done - progress->skipped) / (now - progress->started);
	double left = rate > 0 ? (double)(progress->total - progress->done) / rate : 0;
	if (progress->is_json)
		json_line(json_pack("{s:s, s:o, s:I, s:I, s:f, s:f}", "event", "progress", "tensor",
			json_text(task->job->label), "bytes_done", (json_int_t)progress->done, "bytes_total",
			(json_int_t)progress->total, "bytes_per_second", rate, "seconds_left", left));
	else
		draw(progress, task->job->label, rate, left);
}

void progress_end(Run *run)
{
	if (run->progress.is_shown && !run->progress.is_json) {
		fputs("\r\033[K", stderr);
		fflush(stderr);
	}
}
