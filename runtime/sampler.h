/* SPDX-License-Identifier: MIT
 *
 * sampler.h: a kernel that wants a whole tensor, run in part to learn how long all
 * of it takes. Its frame carries a Sampler; what the kernel hands to the runtime, a
 * loop over rows or a matrix, is then done for a few rows, or for a smaller matrix
 * of known numbers, and the time that the rest would have taken is added up. What
 * the kernel computes is worthless, and finite.
 */
#ifndef CMPRT_SAMPLER_H
#define CMPRT_SAMPLER_H

#include "cmprt.h"

/* A loop over rows, however often the kernel comes to it. */
typedef struct SampledRows {
	CmprtKernel *body;
	int64_t visits;
	double row_seconds; /* of one thread */
	double overhead;    /* seconds of a visit that no thread spends on rows */
} SampledRows;

enum SampledRoutine {
	SAMPLED_GEMM = 1,
	SAMPLED_SYRK,
	SAMPLED_CHOLESKY,
	SAMPLED_INVERSE,
	SAMPLED_INVERSE_FACTOR,
	SAMPLED_SVD,
	SAMPLED_QR
};

typedef struct SampledCall {
	int64_t routine, is_double, m, n;
	int64_t depth;       /* of a product; of a Cholesky factor, also of an inverse: 1 if it is the upper one */
	double least, spent; /* seconds: of the fastest; of all */
} SampledCall;

enum { SAMPLED_LOOPS = 32, SAMPLED_CALLS = 32 };

/* In memory that parent and child share: what one kernel's calls took serves the next kernel. */
typedef struct Sampler {
	double started; /* the kernel in hand; 0: not yet */
	double saved;   /* seconds that it would have taken beyond those that it did */
	double seconds; /* of all of it; 0: it has not ended */
	int64_t loop_count;
	SampledRows loops[SAMPLED_LOOPS];
	int64_t call_count;
	SampledCall calls[SAMPLED_CALLS];
} Sampler;

void sample_begin(Sampler *sampler);
void sample_end(Sampler *sampler);
/* Of rows [begin, end) a few; false: they are few, do them all. */
bool sample_rows(CmprtFrame *frame, CmprtKernel *body, int64_t begin, int64_t end, int64_t stride);

/* ---- sampler_blas.c: the calls of blas.c; false: it is small, do it ---- */

bool sample_gemm(CmprtFrame *frame, void *c, int64_t c_row, void *a, int64_t a_row, int64_t a_column, void *b,
	int64_t b_row, int64_t b_column, int64_t m, int64_t n, int64_t depth, int64_t is_taken_off);
bool sample_syrk(
	CmprtFrame *frame, void *c, int64_t c_row, void *a, int64_t a_row, int64_t a_column, int64_t n, int64_t depth);
void sample_cholesky(Sampler *sampler, void *out, int64_t n, int64_t upper, int64_t is_double);
void sample_inverse(Sampler *sampler, void *out, int64_t n, int64_t is_double);
void sample_inverse_factor(Sampler *sampler, void *out, int64_t n, int64_t upper, int64_t is_double);
void sample_svd(Sampler *sampler, void *u, void *s, void *v, int64_t m, int64_t n, int64_t is_double);
void sample_qr(Sampler *sampler, void *q, void *r, int64_t m, int64_t n, int64_t is_double);

#endif
