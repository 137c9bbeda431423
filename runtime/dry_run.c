/* SPDX-License-Identifier: MIT
 *
 * dry_run.c: what a run will take, without running it. Each distinct kernel is
 * timed on 1 MiB of made-up rows per thread (dry_run_whole.c: those that want a
 * whole tensor), all threads at once, and so is the disk (dry_run_disk.c), because
 * that is how a run uses both. A thread reads, computes and writes in turn, so the three times
 * add up. Ends well within two seconds: every measurement has a share of time
 * after which it stops.
 */
#include "run.h"

#include <inttypes.h>
#include <jansson.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SAMPLE_BYTES ((int64_t)1 << 20)
#define KERNELS_SECONDS 0.4

/* ---- the kernels ---- */

typedef struct FloatBits {
	const char *dtype;
	int bytes, fraction, one; /* one: the exponent of 1.0 */
} FloatBits;

static const FloatBits floats[] = {{"F64", 8, 52, 1023}, {"F32", 4, 23, 127}, {"BF16", 2, 7, 127}, {"F16", 2, 10, 15}};

static uint64_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 32 | *state << 32;
}

/* Uniform between -1/32 and 1/32: every exponent below is half as frequent as the one above it. */
static uint64_t random_float(const FloatBits *format, uint64_t *state)
{
	enum { LARGEST = -6, SPREAD = 8 };
	uint64_t bits = random_next(state), fraction = random_next(state) & ((UINT64_C(1) << format->fraction) - 1);
	int below = __builtin_ctzll(bits | UINT64_C(1) << SPREAD);
	uint64_t exponent = (uint64_t)(format->one + LARGEST - below);
	return (bits >> 63) << (8 * format->bytes - 1) | exponent << format->fraction | fraction;
}

/* Floats like weights; of other types any bytes that are finite. */
void dry_run_fill(char *bytes, int64_t count, const char *dtype)
{
	enum { PATTERN = 1 << 16 };
	uint64_t state = 0x9e3779b97f4a7c15u;
	const FloatBits any = {.bytes = 8}, *format = &any;
	for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
		if (strcmp(floats[i].dtype, dtype) == 0)
			format = &floats[i];
	int64_t made = count < PATTERN ? count : PATTERN;
	for (int64_t i = 0; i < made; i += format->bytes) {
		uint64_t bits = format == &any ? random_next(&state) : random_float(format, &state);
		memcpy(bytes + i, &bits, (size_t)(made - i < format->bytes ? made - i : format->bytes));
	}
	nonfinite_zero(dtype, bytes, made);
	for (int64_t i = made; i < count; i += PATTERN)
		memcpy(bytes + i, bytes, (size_t)(count - i < PATTERN ? count - i : PATTERN));
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
		dry_run_fill(memory, rows * job->ports_in[i].row_bytes, run->inputs[job->ports_in[i].tensor]->dtype);
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

static int compare_seconds(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;
	return (left > right) - (left < right);
}

double dry_run_median(double *values, int64_t count)
{
	qsort(values, (size_t)count, sizeof *values, compare_seconds);
	return values[count / 2];
}

/* Seconds per row of one thread: the median of passes over its sample, because threads may share a core at first. The
 * first piece warms up and is small. */
static double time_passes(const Task *task, CmprtFrame *frame, int64_t rows, double budget)
{
	enum { PASSES = 15 };
	int64_t piece = rows / 64 > 0 ? rows / 64 : 1, count = 0;
	double seconds[PASSES], started = clock_seconds(), spent = 0;
	task->job->kernel(frame, 0, piece);
	while (count < PASSES && spent < budget) {
		double begun = clock_seconds();
		int64_t done = 0;
		while (done < rows && spent < budget) {
			int64_t end = done + piece < rows ? done + piece : rows;
			task->job->kernel(frame, done, end);
			done = end;
			spent = clock_seconds() - started;
		}
		if (done == rows || count == 0)
			seconds[count++] = (clock_seconds() - begun) / (double)done;
	}
	return dry_run_median(seconds, count);
}

/* Seconds per row while all threads run the kernel. */
static double time_kernel(const Run *run, const Task *task, int64_t threads, double budget)
{
	const CmprtJob *job = task->job;
	int64_t rows = sample_rows(task), bytes = sample_bytes(task, rows);
	int64_t ports = job->port_in_count + job->port_out_count + job->work_count;
	char *memory = mmap(NULL, (size_t)(threads * bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void **buffers = calloc((size_t)(threads * (ports + 1)), sizeof *buffers);
	int64_t *params = calloc((size_t)job->param_count + 1, sizeof *params);
	double rows_per_second = 0;
	if (memory != MAP_FAILED && buffers && params) {
		task_params(run, task, params);
		task_panel_params(run, task, 0, rows, params);
#pragma omp parallel num_threads((int)threads) reduction(+ : rows_per_second)
		{
			int64_t thread = omp_get_thread_num();
			CmprtFrame frame = {.buffers = buffers + thread * (ports + 1), .params = params};
			frame.scratch = lay_sample(run, task, rows, memory + thread * bytes, frame.buffers);
#pragma omp barrier
			rows_per_second = 1 / time_passes(task, &frame, rows, budget);
		}
	}
	if (memory != MAP_FAILED)
		munmap(memory, (size_t)(threads * bytes));
	free(buffers);
	free(params);
	return rows_per_second > 0 ? 1 / rows_per_second : 0;
}

/* Tasks with one kernel share its rate: a kernel is made for one row length. */
static double kernel_seconds(const Run *run, const Task *tasks, int64_t count, int64_t threads)
{
	int64_t distinct = 0;
	double total = 0, *rates = calloc((size_t)count + 1, sizeof *rates);
	int64_t *firsts = calloc((size_t)count + 1, sizeof *firsts), *which = calloc((size_t)count + 1, sizeof *which);
	for (int64_t i = 0; i < count && rates && firsts && which; i++) {
		const Task *task = &tasks[i];
		if (!task->job->kernel || !task->is_streamed)
			continue;
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
		total += which[i] ? rates[which[i] - 1] * (double)tasks[i].rows : 0;
	free(rates);
	free(firsts);
	free(which);
	return total;
}

/* ---- the whole ---- */

static void measure_run(Run *run, DryRun *result)
{
	int64_t threads = run->schedule.threads;
	*result = (DryRun){.seconds = 0};
	dry_run_whole(run, result); /* comes first: it has to fork */
	for (int64_t i = 0; i < run->program->early_count; i++)
		for (int64_t k = 0; k < run->early_tasks[i].job->port_in_count; k++) {
			const CmprtPort *port = &run->early_tasks[i].job->ports_in[k];
			result->bytes_read += port->value ? 0 : port->rows * port->row_bytes;
		}
	for (int64_t i = 0; i < run->program->job_count; i++) {
		int64_t before, after;
		task_bytes(run, &run->tasks[i], &before, &after);
		result->bytes_read += run->tasks[i].bytes - after;
		result->bytes_written += after;
	}
	result->bytes_read += calibration_reads(run);
	result->kernel_seconds += kernel_seconds(run, run->tasks, run->program->job_count, threads);
	int64_t keys = run->key_task_first[run->program->select_count];
	for (int64_t i = 0; i < keys; i++)
		result->bytes_read += RESOLVE_SWEEPS * run->key_tasks[i].bytes;
	result->kernel_seconds += RESOLVE_SWEEPS * kernel_seconds(run, run->key_tasks, keys, threads);
	dry_run_disk(run, result);
	result->seconds = result->kernel_seconds;
	result->seconds += result->read_rate > 0 ? (double)result->bytes_read / result->read_rate : 0;
	result->seconds += result->write_rate > 0 ? (double)result->bytes_written / result->write_rate : 0;
	result->seconds += dry_run_wait(result, result->seconds, !run->options->no_sync);
}

static void show_json(const Run *run, const DryRun *result)
{
	json_line(json_pack("{s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I}",
		"event", "plan", "pipeline", json_text(run->program->pipeline), "model", json_text(run->model->path), "output",
		json_text(run->destination.path), "plan", json_text(run->program->plan_text ? run->program->plan_text : ""),
		"threads", (json_int_t)run->schedule.threads, "memory", (json_int_t)run->schedule.peak, "bytes_read",
		(json_int_t)result->bytes_read, "bytes_written", (json_int_t)result->bytes_written, "output_bytes",
		(json_int_t)run->layout->total_bytes, "seconds", result->seconds, "kernel_seconds", result->kernel_seconds,
		"read_rate", result->read_rate, "write_rate", result->write_rate, "sync_rate", result->sync_rate, "disk",
		(json_int_t)run->schedule.net.disk, "untimed_kernels", (json_int_t)result->untimed, "net_tokens",
		(json_int_t)calibration_tokens(run)));
}

static void show_text(const Run *run, const DryRun *result)
{
	char read[32], written[32], size[32], peak[32], limit[32], disk[32];
	format_bytes(read, result->bytes_read);
	format_bytes(written, result->bytes_written);
	format_bytes(size, run->layout->total_bytes);
	format_bytes(peak, run->schedule.peak);
	format_bytes(limit, run->schedule.limit);
	format_bytes(disk, run->schedule.net.disk);
	if (run->program->plan_text)
		printf("%s\n", run->program->plan_text);
	printf("on this machine, %s -> %s:\n", run->model->path, run->destination.path);
	printf("  size     %s (%" PRId64 " bytes)\n", size, run->layout->total_bytes);
	printf("  reads    %s, %.0f MB/s\n", read, result->read_rate / 1e6);
	printf("  writes   %s, %.0f MB/s", written, result->write_rate / 1e6);
	if (result->sync_rate > 0)
		printf(", then to the disk at %.0f MB/s", result->sync_rate / 1e6);
	printf("\n  memory   at most %s%s%s\n", peak, run->schedule.limit ? " of " : "", run->schedule.limit ? limit : "");
	if (run->schedule.net.disk)
		printf("  disk     %s while it runs, beside the result\n", disk);
	printf("  threads  %" PRId64 "\n", run->schedule.threads);
	printf("  time     about %.2f s, of which kernels %.2f s\n", result->seconds, result->kernel_seconds);
	if (result->untimed)
		printf("           %" PRId64 " kernels take too long to be timed: counted instead\n", result->untimed);
}

void dry_run(Run *run)
{
	DryRun result;
	measure_run(run, &result);
	if (run->options->json)
		show_json(run, &result);
	else if (!run->options->quiet)
		show_text(run, &result);
}
