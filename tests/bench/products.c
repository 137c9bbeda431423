/* SPDX-License-Identifier: MIT
 *
 * products.c: make bench-products: the matrix products of a network's forward pass and
 * of a Hessian's sum as the runtime does them, beside OpenBLAS's own sgemm of the same
 * extents, in turn, on one thread and on two. A square counts as n * n * t operations,
 * half of what sgemm takes for it. A ratio is of the fastest samples of either; of
 * processor time it holds on a machine that does other things too, of time it does not.
 *
 *     products [NAME]
 */
#include "bench.h"
#include "cmprt.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { THREADS = 2, SAMPLES = 7 };

void sgemm_(const char *ta, const char *tb, const int *m, const int *n, const int *k, const float *alpha,
	const float *a, const int *lda, const float *b, const int *ldb, const float *beta, float *c, const int *ldc);
void openblas_set_num_threads(int threads);

/* c[rows, columns] = x[rows, depth] * w[columns, depth]'; of a square w is x', and lies as x[depth, columns]. */
typedef struct Shape {
	const char *name;
	int rows, columns, depth;
	bool is_square;
} Shape;

static const Shape shapes[] = {
	{"projection", 512, 2048, 2048, false},
	{"projection", 2048, 2048, 2048, false},
	{"gate", 512, 5632, 2048, false},
	{"down", 512, 2048, 5632, false},
	{"Hessian", 2048, 2048, 512, true},
	{"Hessian", 2048, 2048, 2048, true},
	{"Hessian", 4096, 4096, 2048, true},
};

typedef struct Matrices {
	float *x, *w, *c;
} Matrices;

typedef struct Seconds {
	double wall, processor;
} Seconds;

static void run_sgemm(const Shape *shape, const Matrices *in)
{
	const float one = 1, zero = 0;
	const char *turned = shape->is_square ? "N" : "T", *plain = shape->is_square ? "T" : "N";
	const int *ldw = shape->is_square ? &shape->columns : &shape->depth,
			  *ldx = shape->is_square ? &shape->rows : &shape->depth;
	sgemm_(turned, plain, &shape->columns, &shape->rows, &shape->depth, &one, shape->is_square ? in->x : in->w, ldw,
		in->x, ldx, &zero, in->c, &shape->columns);
}

static void run_own(const Shape *shape, const Matrices *in)
{
	CmprtFrame frame = {.sampler = NULL};
	if (shape->is_square)
		cmprt_syrk_f32(&frame, in->c, shape->columns, in->x, 1, shape->rows, shape->rows, shape->depth);
	else
		cmprt_gemm_f32(&frame, in->c, shape->columns, in->x, shape->depth, 1, in->w, 1, shape->depth, shape->rows,
			shape->columns, shape->depth, 0);
}

static double seconds_of(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void take_sample(
	void (*run)(const Shape *, const Matrices *), const Shape *shape, const Matrices *in, Seconds *least)
{
	double wall = seconds_of(CLOCK_MONOTONIC), processor = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
	run(shape, in);
	wall = seconds_of(CLOCK_MONOTONIC) - wall;
	processor = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - processor;
	least->wall = least->wall > 0 && least->wall < wall ? least->wall : wall;
	least->processor = least->processor > 0 && least->processor < processor ? least->processor : processor;
}

static void measure(const Shape *shape, const Matrices *in)
{
	double operations = 2e-9 * shape->rows * shape->columns * shape->depth, own = operations;
	if (shape->is_square)
		own /= 2;
	printf("%-11s %5d %5d %5d", shape->name, shape->rows, shape->columns, shape->depth);
	for (int threads = 1; threads <= THREADS; threads++) {
		Seconds theirs = {0}, ours = {0};
		omp_set_num_threads(threads);
		openblas_set_num_threads(threads);
		for (int i = 0; i < SAMPLES; i++) {
			take_sample(run_sgemm, shape, in, &theirs);
			take_sample(run_own, shape, in, &ours);
		}
		printf("   %7.1f %7.1f %5.2f %9.2f", operations / theirs.wall, own / ours.wall,
			own / ours.wall / (operations / theirs.wall), own / ours.processor / (operations / theirs.processor));
	}
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const int64_t most = (int64_t)4096 * 5632;
	Matrices in = {bench_allocate(most * 4), bench_allocate(most * 4), bench_allocate(most * 4)};
	bench_fill(in.x, most / 1024, 1024, 1);
	bench_fill(in.w, most / 1024, 1024, 2);
	printf("%-29s", "GFLOP/s: sgemm, ours, ratios");
	for (int threads = 1; threads <= THREADS; threads++)
		printf("   %d thread%s: %5s %5s %9s", threads, threads > 1 ? "s" : " ", "ours", "ratio", "of CPU");
	printf("\n");
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		if (argc < 2 || !strcmp(argv[1], shapes[i].name))
			measure(&shapes[i], &in);
	bench_free(in.x);
	bench_free(in.w);
	bench_free(in.c);
	return 0;
}
