/* SPDX-License-Identifier: MIT
 *
 * sampler_blas.c: matrices, factored or multiplied in part (sampler.h): smaller ones of
 * the same shape, scaled up by the multiplications that both take. What goes in is
 * made up here, because what other samples left may not be factored at all; what
 * comes out is a matrix with ones on its diagonal.
 */
#include "run.h"
#include "sampler.h"

#include <math.h>
#include <omp.h>
#include <string.h>

/* A call of the size is timed again until that much is spent: the first one of all meets memory that nobody has used.
 */
#define CALL_SECONDS 0.004

/* The longest side of a square one that is not made smaller: from there on rates change little. */
enum { GEMM_TILE = 512, GEMM_DEPTH = 1024, CHOLESKY_SIDE = 1536, SVD_SIDE = 448, QR_SIDE = 640 };

static double multiplications(int64_t m, int64_t n)
{
	return (double)m * (double)n * (double)(m < n ? m : n);
}

/* Both sides by the same factor, so that it is no more work than a square of `side`. */
static void make_smaller(int64_t *m, int64_t *n, int64_t side)
{
	double factor = cbrt(multiplications(side, side) / multiplications(*m, *n));
	if (factor >= 1)
		return;
	*m = (int64_t)ceil((double)*m * factor);
	*n = (int64_t)ceil((double)*n * factor);
}

/* NULL: there is no place for another one. */
static SampledCall *find_call(Sampler *sampler, SampledCall key)
{
	for (int64_t i = 0; i < sampler->call_count; i++) {
		const SampledCall *call = &sampler->calls[i];
		if (call->routine == key.routine && call->is_double == key.is_double && call->m == key.m && call->n == key.n &&
			call->depth == key.depth)
			return &sampler->calls[i];
	}
	if (sampler->call_count == SAMPLED_CALLS)
		return NULL;
	sampler->calls[sampler->call_count] = key;
	return &sampler->calls[sampler->call_count++];
}

static void take_time(SampledCall *call, double started)
{
	double seconds = clock_seconds() - started;
	if (call->spent == 0 || seconds < call->least)
		call->least = seconds;
	call->spent += seconds;
}

static void put_one(void *to, int64_t i, int64_t is_double)
{
	if (is_double)
		((double *)to)[i] = 1;
	else
		((float *)to)[i] = 1;
}

static void put_unit(void *to, int64_t m, int64_t n, int64_t is_double)
{
	memset(to, 0, (size_t)(m * n * (is_double ? 8 : 4)));
	for (int64_t i = 0; i < m && i < n; i++)
		put_one(to, i * n + i, is_double);
}

/* Numbers in [-1, 1), the same on both sides of the diagonal; there, where they are to be positive definite, much more.
 */
static void make_up(void *to, int64_t m, int64_t n, int64_t is_double, bool is_definite)
{
	for (int64_t i = 0; i < m; i++)
		for (int64_t j = 0; j < n; j++) {
			uint64_t low = (uint64_t)(i < j ? i : j), high = (uint64_t)(i < j ? j : i);
			uint64_t mixed = (low * 0x9e3779b97f4a7c15u + high) * 6364136223846793005u;
			double value = (double)(mixed >> 40) / (double)(1 << 23) - 1;
			if (i == j && is_definite)
				value += (double)(2 * n);
			if (is_double)
				((double *)to)[i * n + j] = value;
			else
				((float *)to)[i * n + j] = (float)value;
		}
}

/* Until enough is known of it. */
static void time_factors(SampledCall *call)
{
	enum { OUTS = 3 };
	int64_t m = call->m, n = call->n, is_double = call->is_double;
	int64_t longer = m > n ? m : n, bytes = longer * longer * (is_double ? 8 : 4);
	char *in = cmprt_allocate(bytes), *out = cmprt_allocate(OUTS * bytes);
	make_up(in, m, n, is_double, call->routine != SAMPLED_SVD && call->routine != SAMPLED_QR);
	CmprtFrame whole = {.sampler = NULL};
	while (call->spent < CALL_SECONDS) {
		double started = clock_seconds();
		if (call->routine == SAMPLED_CHOLESKY)
			cmprt_cholesky(&whole, in, out, n, call->depth, is_double);
		else if (call->routine == SAMPLED_INVERSE)
			cmprt_inverse(&whole, in, out, n, is_double);
		else if (call->routine == SAMPLED_INVERSE_FACTOR)
			cmprt_inverse_factor(&whole, in, out, n, call->depth, is_double);
		else if (call->routine == SAMPLED_SVD)
			cmprt_svd(&whole, in, out, out + bytes, out + 2 * bytes, m, n, is_double);
		else
			cmprt_qr(&whole, in, out, out + bytes, m, n, is_double);
		take_time(call, started);
	}
	cmprt_release(in);
	cmprt_release(out);
}

/* Runs the smaller one, unless enough is known of it, and counts the larger one. */
static void sample_factors(
	Sampler *sampler, enum SampledRoutine routine, int64_t m, int64_t n, int64_t upper, int64_t is_double, int64_t side)
{
	double begun = clock_seconds(), all = multiplications(m, n);
	if (m == 0 || n == 0)
		return;
	make_smaller(&m, &n, side);
	SampledCall key = {.routine = routine, .is_double = is_double, .m = m, .n = n, .depth = upper};
	SampledCall spare = key, *call = find_call(sampler, key);
	call = call ? call : &spare;
	if (call->spent < CALL_SECONDS)
		time_factors(call);
	sampler->saved += call->least * all / multiplications(m, n) - (clock_seconds() - begun);
}

void sample_cholesky(Sampler *sampler, void *out, int64_t n, int64_t upper, int64_t is_double)
{
	sample_factors(sampler, SAMPLED_CHOLESKY, n, n, upper, is_double, CHOLESKY_SIDE);
	put_unit(out, n, n, is_double);
}

void sample_inverse(Sampler *sampler, void *out, int64_t n, int64_t is_double)
{
	sample_factors(sampler, SAMPLED_INVERSE, n, n, 0, is_double, CHOLESKY_SIDE);
	put_unit(out, n, n, is_double);
}

void sample_inverse_factor(Sampler *sampler, void *out, int64_t n, int64_t upper, int64_t is_double)
{
	sample_factors(sampler, SAMPLED_INVERSE_FACTOR, n, n, upper, is_double, CHOLESKY_SIDE);
	put_unit(out, n, n, is_double);
}

void sample_svd(Sampler *sampler, void *u, void *s, void *v, int64_t m, int64_t n, int64_t is_double)
{
	int64_t rank = m < n ? m : n;
	sample_factors(sampler, SAMPLED_SVD, m, n, 0, is_double, SVD_SIDE);
	put_unit(u, m, rank, is_double);
	put_unit(v, n, rank, is_double);
	for (int64_t i = 0; i < rank; i++)
		put_one(s, i, is_double);
}

void sample_qr(Sampler *sampler, void *q, void *r, int64_t m, int64_t n, int64_t is_double)
{
	int64_t rank = m < n ? m : n;
	sample_factors(sampler, SAMPLED_QR, m, n, 0, is_double, QR_SIDE);
	put_unit(q, m, rank, is_double);
	put_unit(r, rank, n, is_double);
}

static int64_t at_most(int64_t value, int64_t most)
{
	return value < most ? value : most;
}

/* A tile for each thread, along the longer side. */
bool sample_gemm(CmprtFrame *frame, void *c, int64_t c_row, void *a, int64_t a_row, int64_t a_column, void *b,
	int64_t b_row, int64_t b_column, int64_t m, int64_t n, int64_t depth, int64_t is_taken_off)
{
	Sampler *sampler = frame->sampler;
	int64_t side = omp_get_max_threads() * GEMM_TILE;
	SampledCall key = {.routine = SAMPLED_GEMM,
		.m = at_most(m, m < n ? GEMM_TILE : side),
		.n = at_most(n, m < n ? side : GEMM_TILE),
		.depth = at_most(depth, GEMM_DEPTH)};
	double begun = clock_seconds(), part = (double)key.m * (double)key.n * (double)key.depth;
	SampledCall *call = part > 0 && part < (double)m * (double)n * (double)depth ? find_call(sampler, key) : NULL;
	if (!call)
		return false;
	CmprtFrame whole = {.sampler = NULL};
	while (call->spent < CALL_SECONDS) {
		double started = clock_seconds();
		cmprt_gemm_f32(&whole, c, c_row, a, a_row, a_column, b, b_row, b_column, key.m, key.n, key.depth, is_taken_off);
		take_time(call, started);
	}
	double times = (double)m * (double)n * (double)depth / part;
	sampler->saved += call->least * times - (clock_seconds() - begun);
	return true;
}

bool sample_syrk(
	CmprtFrame *frame, void *c, int64_t c_row, void *a, int64_t a_row, int64_t a_column, int64_t n, int64_t depth)
{
	Sampler *sampler = frame->sampler;
	int64_t side = at_most(n, 2 * GEMM_TILE);
	SampledCall key = {.routine = SAMPLED_SYRK, .m = side, .n = side, .depth = at_most(depth, GEMM_DEPTH)};
	double begun = clock_seconds(), part = (double)side * (double)side * (double)key.depth;
	SampledCall *call = part > 0 && part < (double)n * (double)n * (double)depth ? find_call(sampler, key) : NULL;
	if (!call)
		return false;
	CmprtFrame whole = {.sampler = NULL};
	while (call->spent < CALL_SECONDS) {
		double started = clock_seconds();
		cmprt_syrk_f32(&whole, c, c_row, a, a_row, a_column, key.n, key.depth);
		take_time(call, started);
	}
	sampler->saved += call->least * ((double)n * (double)n * (double)depth / part) - (clock_seconds() - begun);
	return true;
}
