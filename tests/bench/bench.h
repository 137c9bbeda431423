/* SPDX-License-Identifier: MIT
 *
 * bench.h: timing things side by side on a machine that does other things too.
 *
 * A work is rows that can be run in any order, in any slices. bench_measure runs
 * several works in turn, again and again, so that what disturbs one disturbs all;
 * their rates are medians. Ratios of rates from one call may be compared, rates
 * from different calls only roughly.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Runs rows [begin, end). Called from several threads at once, each with rows of its own. */
typedef void BenchRun(void *state, int64_t begin, int64_t end);

typedef struct BenchWork {
	const char *name;
	BenchRun *run;
	void *state;      /* borrowed */
	int64_t rows;     /* in all; the work starts over after the last one */
	double row_bytes; /* what a row counts for in the rate: f32 input, say */
} BenchWork;

typedef struct BenchRate {
	double median, low, high; /* bytes per second */
} BenchRate;

enum { BENCH_SAMPLES = 9, BENCH_MAX_WORKS = 16 };
#define BENCH_SAMPLE_SECONDS 0.2

/* Every work once to warm up, then BENCH_SAMPLES rounds of one sample each, at least BENCH_SAMPLE_SECONDS
 * long, on `threads` threads pinned to the first CPUs the process may use. rates: one per work. */
void bench_measure(const BenchWork *works, int count, int threads, BenchRate *rates);

/* All rows of a work, once. */
void bench_run(const BenchWork *work, int threads);

/* Works on memory that is there: reading it, and copying it (row_bytes counts what is read). bytes: a multiple
 * of BENCH_MEMORY_ROW. */
enum { BENCH_MEMORY_ROW = 1 << 16 };
typedef struct BenchMemory {
	const void *from;
	void *to;
} BenchMemory;
BenchWork bench_read(BenchMemory *memory, int64_t bytes);
BenchWork bench_copy(BenchMemory *memory, int64_t bytes);

/* Zeroed, 2 MiB aligned, in huge pages where the system gives them; exits if there is no memory. */
void *bench_allocate(int64_t bytes);
void bench_free(void *memory);

/* rows x cols values, normal, standard deviation 0.02; the same for the same seed. */
void bench_fill(float *values, int64_t rows, int64_t cols, uint64_t seed);

/* CPUs the process may use. */
int bench_cpus(void);

/* name, then for each number of threads the rate in MB/s with its range; ends no line. */
void bench_print(const char *name, const BenchRate *rates, int count);
/* a over b, "-" if b is 0; ends no line. */
void bench_print_ratio(const BenchRate *a, const BenchRate *b);

#endif
