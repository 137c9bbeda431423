/* SPDX-License-Identifier: MIT
 *
 * dry_run_disk.c: how fast the model is read and the result written, measured on
 * 64 MiB each with all threads at once. What is written goes to memory first: the
 * system writes it to the disk behind the run once there is much of it, makes the
 * run wait when there is too much, and all of it before a sync has returned. A result
 * that is replaced is taken to be in memory still, and as large as the new one.
 */
#include "run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES ((int64_t)1 << 20)
enum { PIECES = 64 };
#define DISK_SECONDS 0.3

/* ---- rates ---- */

/* Pieces are spread over all files: what part of them the system has cached shows in the rate. */
static double measure_read(const Run *run, char *buffers, int64_t threads)
{
	int64_t total = 0;
	double started = clock_seconds();
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)threads) reduction(+ : total)
	for (int64_t i = 0; i < PIECES; i++) {
		int64_t at = run->sources[0].bytes / PIECES * i, file = 0;
		while (file + 1 < run->model->file_count && at >= run->model->file_bytes[file])
			at -= run->model->file_bytes[file++];
		if (clock_seconds() - started > DISK_SECONDS)
			continue;
		ssize_t count = pread(run->sources[0].fds[file], buffers + omp_get_thread_num() * PIECE_BYTES, PIECE_BYTES, at);
		total += count > 0 ? count : 0;
	}
	return (double)total / (clock_seconds() - started);
}

/* Of what measure_write wrote, in pieces: while the system moves what others wrote, each may take long. */
static double measure_sync(int fd)
{
	enum { SYNC_BYTES = 16 << 20 };
	const unsigned move = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
	double started = clock_seconds(), spent = 0;
	int64_t synced = 0;
	while (synced < PIECES * PIECE_BYTES && spent < DISK_SECONDS) {
		if (sync_file_range(fd, synced, SYNC_BYTES, move) != 0)
			return 0;
		synced += SYNC_BYTES;
		spent = clock_seconds() - started;
	}
	return (double)synced / spent;
}

/* Into a file without a name in the output's folder. All rates 0: no such file can be made there. The median piece
 * counts: a short sample that met one pause of the system would promise too little. */
static void measure_write(const Run *run, const char *buffers, int64_t threads, DryRun *result)
{
	int fd = open(run->destination.parent, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 || fallocate(fd, 0, 0, PIECES * PIECE_BYTES) < 0) {
		if (fd >= 0)
			close(fd);
		return;
	}
	double started = clock_seconds(), seconds[PIECES];
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)threads)
	for (int64_t i = 0; i < PIECES; i++) {
		double begun = clock_seconds();
		ssize_t count = PIECE_BYTES;
		if (begun - started < DISK_SECONDS)
			count = pwrite(fd, buffers + omp_get_thread_num() * PIECE_BYTES, PIECE_BYTES, i * PIECE_BYTES);
		bool is_written = count == PIECE_BYTES && begun - started < DISK_SECONDS;
		seconds[i] = is_written ? clock_seconds() - begun : INFINITY;
	}
	double median = dry_run_median(seconds, PIECES);
	result->write_rate = isfinite(median) ? (double)(threads * PIECE_BYTES) / median : 0;
	result->sync_rate = measure_sync(fd);
	started = clock_seconds();
	close(fd);
	if (access(run->destination.path, F_OK) == 0)
		result->drop_rate = (double)(PIECES * PIECE_BYTES) / (clock_seconds() - started);
}

/* ---- what the system holds back ---- */

/* Bytes written that are not on the disk: beyond `begin` the system starts to move them there, beyond `wait` it lets
 * those that write wait. */
typedef struct Unwritten {
	double begin, wait;
} Unwritten;

/* Of a line "KEY: NUMBER ..." of a file; `missing` without one. */
static double read_number(const char *path, const char *key, double missing)
{
	FILE *file = fopen(path, "re");
	char line[256];
	double value = missing;
	size_t length = strlen(key);
	while (file && fgets(line, sizeof line, file))
		if (strncmp(line, key, length) == 0) {
			value = strtod(line + length, NULL);
			break;
		}
	if (file)
		fclose(file);
	return value;
}

static double limit_bytes(const char *path_bytes, const char *path_percent, double percent, double available)
{
	double bytes = read_number(path_bytes, "", 0);
	return bytes > 0 ? bytes : available * read_number(path_percent, "", percent) / 100;
}

static Unwritten read_limits(void)
{
	static const char info[] = "/proc/meminfo";
	double kilobyte = 1024, available = read_number(info, "MemAvailable:", 0) * kilobyte;
	double present = (read_number(info, "Dirty:", 0) + read_number(info, "Writeback:", 0)) * kilobyte;
	double low =
		limit_bytes("/proc/sys/vm/dirty_background_bytes", "/proc/sys/vm/dirty_background_ratio", 10, available);
	double high = limit_bytes("/proc/sys/vm/dirty_bytes", "/proc/sys/vm/dirty_ratio", 20, available);
	return (Unwritten){fmax(low - present, 0), fmax((low + high) / 2 - present, 0)};
}

/* ---- the whole ---- */

void dry_run_disk(const Run *run, DryRun *result)
{
	int64_t threads = run->schedule.threads;
	char *buffers = calloc((size_t)threads, PIECE_BYTES);
	if (!buffers)
		return;
	memset(buffers, 1, (size_t)(threads * PIECE_BYTES));
	result->read_rate = measure_read(run, buffers, threads);
	measure_write(run, buffers, threads, result);
	free(buffers);
}

double dry_run_wait(const DryRun *result, double seconds, bool is_synced)
{
	Unwritten limits = read_limits();
	double bytes = (double)result->bytes_written;
	if (result->sync_rate <= 0 || bytes <= 0)
		return 0;
	/* the disk is at work from `begun` on and has to move all, or all but what may stay in memory */
	double begun = bytes > limits.begin ? seconds * limits.begin / bytes : seconds;
	double moved = is_synced ? bytes : fmax(bytes - limits.wait, 0);
	double dropped = result->drop_rate > 0 ? bytes / result->drop_rate : 0;
	return dropped + (moved > 0 ? fmax(begun + moved / result->sync_rate - seconds, 0) : 0);
}
