/* SPDX-License-Identifier: MIT
 *
 * bench.c: see bench.h. Samples are made of slices, runs of consecutive rows that
 * take about SLICE_SECONDS: long enough that handing rows to threads does not
 * count, short enough that slow works need not go through all their rows for one
 * sample. Each work goes on where its last sample stopped, so in the end the
 * whole memory has been used, not a part that happens to be cached.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <omp.h>

#define SLICE_SECONDS 0.02

enum { PIECES = 8 }; /* per thread and slice: evens out threads that are held up */

typedef struct Cursor {
	int64_t row, slice; /* next row; rows per slice */
} Cursor;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int bench_cpus(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof set, &set))
		return 1;
	return CPU_COUNT(&set);
}

/* The CPU for a thread: the number-th of `allowed`, starting over after the last. */
static int pick_cpu(const cpu_set_t *allowed, int number)
{
	number %= CPU_COUNT(allowed);
	for (int cpu = 0;; cpu++)
		if (CPU_ISSET(cpu, allowed) && number-- == 0)
			return cpu;
}

static void pin_threads(int threads, const cpu_set_t *allowed)
{
#pragma omp parallel num_threads(threads)
	{
		cpu_set_t one;
		CPU_ZERO(&one);
		CPU_SET(pick_cpu(allowed, omp_get_thread_num()), &one);
		sched_setaffinity(0, sizeof one, &one);
	}
}

static void unpin_threads(int threads, const cpu_set_t *allowed)
{
#pragma omp parallel num_threads(threads)
	sched_setaffinity(0, sizeof *allowed, allowed);
}

static void run_rows(const BenchWork *work, int threads, int64_t begin, int64_t end)
{
	int64_t rows = end - begin;
	int64_t pieces = threads == 1 ? 1 : (int64_t)threads * PIECES;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
	for (int64_t piece = 0; piece < pieces; piece++) {
		int64_t from = begin + rows * piece / pieces, to = begin + rows * (piece + 1) / pieces;
		if (from < to)
			work->run(work->state, from, to);
	}
}

void bench_run(const BenchWork *work, int threads)
{
	run_rows(work, threads, 0, work->rows);
}

/* The next slice of a work; returns its rows. */
static int64_t run_slice(const BenchWork *work, int threads, Cursor *at)
{
	int64_t end = at->row + at->slice < work->rows ? at->row + at->slice : work->rows;
	int64_t rows = end - at->row;
	run_rows(work, threads, at->row, end);
	at->row = end == work->rows ? 0 : end;
	return rows;
}

/* Doubles the slice until it takes long enough or is the whole work. */
static void warm_up(const BenchWork *work, int threads, Cursor *at)
{
	*at = (Cursor){.row = 0, .slice = 1};
	for (;;) {
		double start = now();
		int64_t rows = run_slice(work, threads, at);
		if (at->slice >= work->rows)
			break;
		if (rows == at->slice && now() - start >= SLICE_SECONDS)
			break;
		at->slice = at->slice * 2 < work->rows ? at->slice * 2 : work->rows;
	}
}

static double take_sample(const BenchWork *work, int threads, Cursor *at)
{
	double start = now(), seconds;
	int64_t rows = 0;
	do {
		rows += run_slice(work, threads, at);
		seconds = now() - start;
	} while (seconds < BENCH_SAMPLE_SECONDS);
	return (double)rows * work->row_bytes / seconds;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

void bench_measure(const BenchWork *works, int count, int threads, BenchRate *rates)
{
	double samples[BENCH_MAX_WORKS][BENCH_SAMPLES];
	Cursor cursors[BENCH_MAX_WORKS];
	cpu_set_t allowed;
	if (count > BENCH_MAX_WORKS) {
		fprintf(stderr, "bench: %d works, at most %d\n", count, BENCH_MAX_WORKS);
		exit(1);
	}
	bool is_pinned = sched_getaffinity(0, sizeof allowed, &allowed) == 0;
	if (is_pinned)
		pin_threads(threads, &allowed);
	for (int i = 0; i < count; i++)
		warm_up(&works[i], threads, &cursors[i]);
	for (int round = 0; round < BENCH_SAMPLES; round++)
		for (int i = 0; i < count; i++)
			samples[i][round] = take_sample(&works[i], threads, &cursors[i]);
	if (is_pinned)
		unpin_threads(threads, &allowed);
	for (int i = 0; i < count; i++) {
		qsort(samples[i], BENCH_SAMPLES, sizeof(double), compare_doubles);
		rates[i].low = samples[i][0];
		rates[i].median = samples[i][BENCH_SAMPLES / 2];
		rates[i].high = samples[i][BENCH_SAMPLES - 1];
	}
}

/* ---- memory ---- */

static void run_read(void *state, int64_t begin, int64_t end)
{
	const BenchMemory *memory = state;
	const uint64_t *word = (const uint64_t *)memory->from + begin * (BENCH_MEMORY_ROW / 8);
	int64_t words = (end - begin) * (BENCH_MEMORY_ROW / 8);
	uint64_t sums[32] = {0};
	for (int64_t i = 0; i < words; i += 32)
		for (int j = 0; j < 32; j++)
			sums[j] ^= word[i + j];
	uint64_t sum = 0;
	for (int j = 0; j < 32; j++)
		sum ^= sums[j];
	/* the sum must look used, or the loop is removed */
	__asm__ volatile("" : : "r"(sum));
}

static void run_copy(void *state, int64_t begin, int64_t end)
{
	const BenchMemory *memory = state;
	int64_t offset = begin * BENCH_MEMORY_ROW;
	memcpy((char *)memory->to + offset, (const char *)memory->from + offset, (size_t)(end - begin) * BENCH_MEMORY_ROW);
}

BenchWork bench_read(BenchMemory *memory, int64_t bytes)
{
	return (BenchWork){"memory read", run_read, memory, bytes / BENCH_MEMORY_ROW, BENCH_MEMORY_ROW};
}

BenchWork bench_copy(BenchMemory *memory, int64_t bytes)
{
	return (BenchWork){"memory copy", run_copy, memory, bytes / BENCH_MEMORY_ROW, BENCH_MEMORY_ROW};
}

static const int64_t huge_page = 2 << 20;

void *bench_allocate(int64_t bytes)
{
	size_t whole = (size_t)((bytes + huge_page - 1) / huge_page * huge_page);
	void *memory = aligned_alloc((size_t)huge_page, whole);
	if (!memory) {
		fprintf(stderr, "bench: no memory for %lld bytes\n", (long long)bytes);
		exit(1);
	}
	madvise(memory, whole, MADV_HUGEPAGE); /* advice: without huge pages it is the same, a little slower */
	memset(memory, 0, whole);
	return memory;
}

void bench_free(void *memory)
{
	free(memory);
}

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static float next_uniform(uint64_t *state)
{
	return ((float)(next_random(state) >> 40) + 0.5f) * 0x1p-24f; /* inside (0, 1) */
}

void bench_fill(float *values, int64_t rows, int64_t cols, uint64_t seed)
{
#pragma omp parallel for
	for (int64_t row = 0; row < rows; row++) {
		uint64_t state = seed * 0x2545f4914f6cdd1du + (uint64_t)row * 0x9e6c63d0876a9a47u;
		float *to = values + row * cols;
		for (int64_t i = 0; i < cols; i += 2) { /* Box-Muller gives two at a time */
			float radius = 0.02f * sqrtf(-2 * logf(next_uniform(&state)));
			float angle = 6.28318531f * next_uniform(&state);
			to[i] = radius * cosf(angle);
			if (i + 1 < cols)
				to[i + 1] = radius * sinf(angle);
		}
	}
}

/* ---- printing ---- */

void bench_print(const char *name, const BenchRate *rates, int count)
{
	printf("%-14s", name);
	for (int i = 0; i < count; i++)
		printf("  %9.1f (%.1f-%.1f)", rates[i].median / 1e6, rates[i].low / 1e6, rates[i].high / 1e6);
}

void bench_print_ratio(const BenchRate *a, const BenchRate *b)
{
	if (b->median > 0)
		printf("  %7.2fx", a->median / b->median);
	else
		printf("  %8s", "-");
}
