/* SPDX-License-Identifier: MIT
 *
 * dry_run.c: what a run will take, without running it. Each distinct kernel is
 * timed on 1 MiB of synthetic rows per thread and the disk on 64 MiB, all threads
 * at once, because that is how a run uses both. A thread reads, computes and
 * writes in turn, so the three times add up. Ends well within two seconds: every
 * measurement has a share of time after which it stops.
 */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SAMPLE_BYTES ((int64_t)1 << 20)
enum { DISK_PIECES = 64 };
#define DISK_BYTES (DISK_PIECES * SAMPLE_BYTES)
#define DISK_SECONDS 0.35
#define KERNELS_SECONDS 0.6

/* ---- the disk ---- */

/* Pieces are spread over all files: what part of them the system has cached shows in the rate. */
static double measure_read(const Run *run, char *buffers, int64_t threads)
{
	int64_t total = 0;
	double started = clock_seconds();
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)threads) reduction(+ : total)
	for (int64_t i = 0; i < DISK_PIECES; i++) {
		int64_t at = run->sources[0].bytes / DISK_PIECES * i, file = 0;
		while (file + 1 < run->model->file_count && at >= run->model->file_bytes[file])
			at -= run->model->file_bytes[file++];
		if (clock_seconds() - started > DISK_SECONDS)
			continue;
		ssize_t count =
			pread(run->sources[0].fds[file], buffers + omp_get_thread_num() * SAMPLE_BYTES, SAMPLE_BYTES, at);
		total += count > 0 ? count : 0;
	}
	return (double)total / (clock_seconds() - started);
}

static int compare_seconds(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;
	return (left > right) - (left < right);
}

/* Into a file without a name in the output's folder. Both rates 0: no such file can be made there. The median piece
 * counts: a short sample that met one pause of the system would promise too little. */
static void measure_write(const Run *run, const char *buffers, int64_t threads, DryRun *result)
{
	int fd = open(run->destination.parent, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 || fallocate(fd, 0, 0, DISK_BYTES) < 0) {
		if (fd >= 0)
			close(fd);
		return;
	}
	double started = clock_seconds(), seconds[DISK_PIECES];
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)threads)
	for (int64_t i = 0; i < DISK_PIECES; i++) {
		double begun = clock_seconds();
		ssize_t count = SAMPLE_BYTES;
		if (begun - started < DISK_SECONDS)
			count = pwrite(fd, buffers + omp_get_thread_num() * SAMPLE_BYTES, SAMPLE_BYTES, i * SAMPLE_BYTES);
		bool is_written = count == SAMPLE_BYTES && begun - started < DISK_SECONDS;
		seconds[i] = is_written ? clock_seconds() - begun : INFINITY;
	}
	qsort(seconds, DISK_PIECES, sizeof *seconds, compare_seconds);
	int written = 0;
	while (written < DISK_PIECES && isfinite(seconds[written]))
		written++;
	result->write_rate = written ? (double)(threads * SAMPLE_BYTES) / seconds[written / 2] : 0;
	double synced = clock_seconds();
	if (!run->options->no_sync && fdatasync(fd) == 0)
		result->sync_rate = (double)(written * SAMPLE_BYTES) / (clock_seconds() - synced);
	close(fd);
}

/* ---- the kernels ---- */

/* Finite in every float format, small, of both signs, and of any use as integers. */
static void fill(char *bytes, int64_t count, const char *dtype)
{
	uint64_t state = 0x9e3779b97f4a7c15u;
	for (int64_t i = 0; i < count; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		bytes[i] = (char)(state >> 56);
	}
	nonfinite_zero(dtype, bytes, count);
}

/* Rows of the sample: about 1 MiB of input and output, as a thread's panel would be if it were that large. */
static int64_t sample_rows(const Task *task)
{
	int64_t row = task->row_in + task->row_out;
	int64_t rows = row ? SAMPLE_BYTES / row : 1;
	rows = rows < task->rows ? rows : task->rows;
	return rows > 0 ? rows : 1;
}

static int64_t sample_bytes(const Task *task, int64_t rows)
{
	const CmprtJob *job = task->job;
	int64_t bytes = align_up(job->scratch_bytes, 64) + align_up(rows * 16, 64);
	for (int64_t i = 0; i < job->port_in_count; i++)
		bytes += align_up(rows * job->ports_in[i].row_bytes, 64);
	for (int64_t i = 0; i < job->port_out_count; i++)
		bytes += task_is_panel(task, i) ? align_up(rows * job->ports_out[i].row_bytes, 64) : 0;
	for (int64_t i = 0; i < job->work_count; i++)
		bytes += align_up(job->work_bytes[i], 64);
	return bytes;
}

/* Lays one thread's buffers into memory and fills the inputs; returns the scratch. All of it is touched: the first use
 * of a page costs more than the kernel. */
static char *lay_sample(const Run *run, const Task *task, int64_t rows, char *memory, void **buffer)
{
	const CmprtJob *job = task->job;
	memset(memory, 0, (size_t)sample_bytes(task, rows));
	for (int64_t i = 0; i < job->port_in_count; i++) {
		*buffer++ = memory;
		fill(memory, rows * job->ports_in[i].row_bytes, run->inputs[job->ports_in[i].tensor]->dtype);
		memory += align_up(rows * job->ports_in[i].row_bytes, 64);
	}
	for (int64_t i = 0; i < job->port_out_count; i++) {
		*buffer++ = memory;
		memory += align_up(rows * (task_is_panel(task, i) ? job->ports_out[i].row_bytes : 16), 64);
	}
	for (int64_t i = 0; i < job->work_count; i++) {
		*buffer++ = memory;
		memory += align_up(job->work_bytes[i], 64);
	}
	return memory;
}

/* Seconds per row on one of `threads` threads that all run the kernel. The first piece warms up and is small. */
static double time_kernel(const Run *run, const Task *task, int64_t threads, double budget)
{
	const CmprtJob *job = task->job;
	int64_t rows = sample_rows(task), bytes = sample_bytes(task, rows);
	int64_t ports = job->port_in_count + job->port_out_count + job->work_count;
	char *memory = mmap(NULL, (size_t)(threads * bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void **buffers = calloc((size_t)(threads * (ports + 1)), sizeof *buffers);
	int64_t *params = calloc((size_t)job->param_count + 1, sizeof *params);
	double slowest = 0;
	if (memory != MAP_FAILED && buffers && params) {
		task_params(run, task, params);
		task_panel_params(run, task, 0, rows, params);
#pragma omp parallel num_threads((int)threads) reduction(max : slowest)
		{
			int64_t thread = omp_get_thread_num(), done = 0, piece = rows / 64 > 0 ? rows / 64 : 1;
			CmprtFrame frame = {.buffers = buffers + thread * (ports + 1), .params = params};
			frame.scratch = lay_sample(run, task, rows, memory + thread * bytes, frame.buffers);
			job->kernel(&frame, 0, piece);
#pragma omp barrier
			double started = clock_seconds(), spent = 0;
			while (spent < budget && done < rows) {
				int64_t end = done + piece < rows ? done + piece : rows;
				job->kernel(&frame, done, end);
				done = end;
				spent = clock_seconds() - started;
			}
			slowest = done ? spent / (double)done : 0;
		}
	}
	if (memory != MAP_FAILED)
		munmap(memory, (size_t)(threads * bytes));
	free(buffers);
	free(params);
	return slowest;
}

/* Tasks with one kernel share its rate: a kernel is made for one row length. */
static double kernel_seconds(const Run *run, const Task *tasks, int64_t count, int64_t threads, int64_t *untimed)
{
	int64_t distinct = 0;
	double total = 0, *rates = calloc((size_t)count + 1, sizeof *rates);
	int64_t *firsts = calloc((size_t)count + 1, sizeof *firsts), *which = calloc((size_t)count + 1, sizeof *which);
	for (int64_t i = 0; i < count && rates && firsts && which; i++) {
		const Task *task = &tasks[i];
		if (!task->job->kernel || !task->is_streamed) {
			*untimed += task->job->kernel != NULL;
			continue;
		}
		int64_t k = 0;
		while (k < distinct && tasks[firsts[k]].job->kernel != task->job->kernel)
			k++;
		if (k == distinct)
			firsts[distinct++] = i;
		/* the longest of its tasks gives the sample */
		firsts[k] = tasks[firsts[k]].rows < task->rows ? i : firsts[k];
		which[i] = k + 1;
	}
	for (int64_t k = 0; k < distinct; k++)
		rates[k] = time_kernel(run, &tasks[firsts[k]], threads, KERNELS_SECONDS / (double)distinct);
	for (int64_t i = 0; which && i < count; i++)
		total += which[i] ? rates[which[i] - 1] * (double)tasks[i].rows / (double)threads : 0;
	free(rates);
	free(firsts);
	free(which);
	return total;
}

/* ---- the whole ---- */

void dry_run_measure(Run *run, DryRun *result)
{
	int64_t threads = run->schedule.threads;
	*result = (DryRun){.seconds = 0};
	for (int64_t i = 0; i < run->program->job_count; i++) {
		int64_t before, after;
		task_bytes(run, &run->tasks[i], &before, &after);
		result->bytes_read += run->tasks[i].bytes - after;
		result->bytes_written += after;
	}
	result->kernel_seconds = kernel_seconds(run, run->tasks, run->program->job_count, threads, &result->untimed);
	int64_t keys = run->key_task_first[run->program->select_count];
	for (int64_t i = 0; i < keys; i++)
		result->bytes_read += RESOLVE_SWEEPS * run->key_tasks[i].bytes;
	result->kernel_seconds += RESOLVE_SWEEPS * kernel_seconds(run, run->key_tasks, keys, threads, &result->untimed);
	char *buffers = calloc((size_t)threads, SAMPLE_BYTES);
	if (buffers) {
		memset(buffers, 1, (size_t)(threads * SAMPLE_BYTES));
		result->read_rate = measure_read(run, buffers, threads);
		measure_write(run, buffers, threads, result);
	}
	free(buffers);
	result->seconds = result->kernel_seconds;
	result->seconds += result->read_rate > 0 ? (double)result->bytes_read / result->read_rate : 0;
	result->seconds += result->write_rate > 0 ? (double)result->bytes_written / result->write_rate : 0;
	result->seconds += result->sync_rate > 0 ? (double)result->bytes_written / result->sync_rate : 0;
}

static void show_json(const Run *run, const DryRun *result)
{
	json_line(json_pack("{s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:I}", "event",
		"plan", "pipeline", json_text(run->program->pipeline), "model", json_text(run->model->path), "output",
		json_text(run->destination.path), "plan", json_text(run->program->plan_text ? run->program->plan_text : ""),
		"threads", (json_int_t)run->schedule.threads, "memory", (json_int_t)run->schedule.peak, "bytes_read",
		(json_int_t)result->bytes_read, "bytes_written", (json_int_t)result->bytes_written, "output_bytes",
		(json_int_t)run->layout->total_bytes, "seconds", result->seconds, "kernel_seconds", result->kernel_seconds,
		"read_rate", result->read_rate, "write_rate", result->write_rate, "sync_rate", result->sync_rate,
		"untimed_kernels", (json_int_t)result->untimed));
}

static void show_text(const Run *run, const DryRun *result)
{
	char read[32], written[32], size[32], peak[32], limit[32];
	format_bytes(read, result->bytes_read);
	format_bytes(written, result->bytes_written);
	format_bytes(size, run->layout->total_bytes);
	format_bytes(peak, run->schedule.peak);
	format_bytes(limit, run->schedule.limit);
	if (run->program->plan_text)
		fputs(run->program->plan_text, stdout);
	printf("\non this machine, %s -> %s:\n", run->model->path, run->destination.path);
	printf("  size     %s (%" PRId64 " bytes)\n", size, run->layout->total_bytes);
	printf("  reads    %s, %.0f MB/s\n", read, result->read_rate / 1e6);
	printf("  writes   %s, %.0f MB/s", written, result->write_rate / 1e6);
	if (result->sync_rate > 0)
		printf(", then to the disk at %.0f MB/s", result->sync_rate / 1e6);
	printf("\n  memory   at most %s%s%s\n", peak, run->schedule.limit ? " of " : "", run->schedule.limit ? limit : "");
	printf("  threads  %" PRId64 "\n", run->schedule.threads);
	printf("  time     %s%.2f s, of which kernels %.2f s\n", result->untimed ? "at least " : "about ", result->seconds,
		result->kernel_seconds);
	if (result->untimed)
		printf("  not timed: %" PRId64 " kernels that work on whole tensors\n", result->untimed);
}

void dry_run(Run *run)
{
	DryRun result;
	dry_run_measure(run, &result);
	if (run->options->json)
		show_json(run, &result);
	else if (!run->options->quiet)
		show_text(run, &result);
}
