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

void progress_net(Run *run, int64_t done, int64_t total)
{
	Progress *progress = &run->progress;
	progress->net_done = progress->net_first = done;
	progress->net_total = total;
	progress->net_started = clock_seconds();
}

/* While a net is run its parts and samples, which take about as long as each other, say more than bytes. */
static double seconds_left(const Progress *progress, double now, double rate)
{
	int64_t made = progress->net_done - progress->net_first;
	if (progress->net_total)
		return made > 0
				   ? (now - progress->net_started) / (double)made * (double)(progress->net_total - progress->net_done)
				   : 0;
	return rate > 0 ? (double)(progress->total - progress->done) / rate : 0;
}

static void draw(const Progress *progress, const char *label, double rate, double left)
{
	int64_t done = progress->net_total ? progress->net_done : progress->done;
	int64_t total = progress->net_total ? progress->net_total : progress->total;
	double percent = total ? 100.0 * (double)done / (double)total : 100;
	int length = (int)strlen(label);
	const char *shown = length > 40 ? label + length - 40 : label; /* the end of a name tells more */
	fprintf(stderr, "\r%5.1f%%  %-40s  %6.0f MB/s  %02d:%02d left\033[K", percent, shown, rate / 1e6, (int)left / 60,
		(int)left % 60);
	fflush(stderr);
}

/* what: "tensor" or "part" */
static void show(Run *run, const char *what, const char *label)
{
	Progress *progress = &run->progress;
	double now = clock_seconds();
	if (!progress->is_shown || now - progress->last < REDRAW_SECONDS)
		return;
	progress->last = now;
	double rate = (double)(progress->done - progress->skipped) / (now - progress->started);
	double left = seconds_left(progress, now, rate);
	if (progress->is_json)
		json_line(json_pack("{s:s, s:o, s:I, s:I, s:f, s:f}", "event", "progress", what, json_text(label), "bytes_done",
			(json_int_t)progress->done, "bytes_total", (json_int_t)progress->total, "bytes_per_second", rate,
			"seconds_left", left));
	else
		draw(progress, label, rate, left);
}

void progress_add(Run *run, const Task *task, int64_t bytes)
{
	run->progress.done += bytes;
	show(run, "tensor", task->job->label);
}

void progress_sample(Run *run, const char *part, int64_t sample, int64_t samples)
{
	char label[128];
	run->progress.net_done++;
	snprintf(label, sizeof label, "%s, sample %" PRId64 " of %" PRId64, part, sample + 1, samples);
	show(run, "part", label);
}

void progress_end(Run *run)
{
	if (run->progress.is_shown && !run->progress.is_json) {
		fputs("\r\033[K", stderr);
		fflush(stderr);
	}
}
