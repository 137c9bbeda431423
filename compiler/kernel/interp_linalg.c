/* SPDX-License-Identifier: MIT
 *
 * interp_linalg.c: the textbook factorizations, in double, for the interpreter.
 *
 * Cholesky row by row, the inverse through it, Householder QR, one-sided Jacobi
 * for the singular values (Golub and Van Loan, Matrix Computations, 4.2, 5.2,
 * 8.6). Signs are fixed as KLinalg says, so results are unique up to rounding.
 * Matrices are row-major.
 */
#include "kernel.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* A = L L', L lower; NaN everywhere if A is not positive definite. */
static void cholesky_lower(size_t n, const double *a, double *l)
{
	memset(l, 0, n * n * sizeof *l);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j <= i; j++) {
			double sum = a[i * n + j];
			for (size_t p = 0; p < j; p++)
				sum -= l[i * n + p] * l[j * n + p];
			if (i == j && !(sum > 0)) {
				for (size_t p = 0; p < n * n; p++)
					l[p] = (double)NAN;
				return;
			}
			l[i * n + j] = i == j ? sqrt(sum) : sum / l[j * n + j];
		}
}

static void transpose(size_t m, size_t n, const double *a, double *t)
{
	for (size_t i = 0; i < m; i++)
		for (size_t j = 0; j < n; j++)
			t[j * m + i] = a[i * n + j];
}

/* A^-1 = (L^-1)' L^-1. */
static void invert(Arena *scratch, size_t n, const double *a, double *inverse)
{
	double *l = arena_array(scratch, double, n *n), *r = arena_array(scratch, double, n *n);
	cholesky_lower(n, a, l);
	for (size_t j = 0; j < n; j++)
		for (size_t i = j; i < n; i++) {
			double sum = i == j;
			for (size_t p = j; p < i; p++)
				sum -= l[i * n + p] * r[p * n + j];
			r[i * n + j] = sum / l[i * n + i];
		}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			double sum = 0;
			for (size_t p = i > j ? i : j; p < n; p++)
				sum += r[p * n + i] * r[p * n + j];
			inverse[i * n + j] = sum;
		}
}

/* Applies I - 2 v v' / (v'v), v of length m - from, to columns first.. of a (m x n). */
static void reflect(size_t m, size_t n, double *a, const double *v, size_t from, size_t first)
{
	double square = 0;
	for (size_t i = from; i < m; i++)
		square += v[i] * v[i];
	if (square == 0)
		return;
	for (size_t j = first; j < n; j++) {
		double dot = 0;
		for (size_t i = from; i < m; i++)
			dot += v[i] * a[i * n + j];
		for (size_t i = from; i < m; i++)
			a[i * n + j] -= 2 * dot / square * v[i];
	}
}

static void factor_qr(Arena *scratch, size_t m, size_t n, const double *a, double *q, double *r)
{
	size_t rank = m < n ? m : n;
	double *work = arena_array(scratch, double, m *n), *v = arena_array(scratch, double, rank *m);
	memcpy(work, a, m * n * sizeof *work);
	for (size_t j = 0; j < rank; j++) {
		double *reflector = v + j * m, norm = 0;
		for (size_t i = j; i < m; i++)
			norm = hypot(norm, reflector[i] = work[i * n + j]);
		reflector[j] += work[j * n + j] < 0 ? -norm : norm;
		reflect(m, n, work, reflector, j, j);
	}
	memset(q, 0, m * rank * sizeof *q);
	for (size_t j = 0; j < rank; j++)
		q[j * rank + j] = 1;
	for (size_t j = rank; j-- > 0;)
		reflect(m, rank, q, v + j * m, j, 0);
	for (size_t i = 0; i < rank; i++) {
		double sign = work[i * n + i] < 0 ? -1 : 1;
		for (size_t j = 0; j < n; j++)
			r[i * n + j] = j < i ? 0 : sign * work[i * n + j];
		for (size_t j = 0; j < m; j++)
			q[j * rank + i] *= sign;
	}
}

/* ---- singular values ---- */

/* Rotates columns of w (m x n) until they are orthogonal, and v (n x n) along. */
static void orthogonalize(size_t m, size_t n, double *w, double *v)
{
	enum { SWEEPS = 60 };
	bool is_rotated = true;
	for (int sweep = 0; sweep < SWEEPS && is_rotated; sweep++) {
		is_rotated = false;
		for (size_t p = 0; p + 1 < n; p++)
			for (size_t q = p + 1; q < n; q++) {
				double alpha = 0, beta = 0, gamma = 0;
				for (size_t i = 0; i < m; i++) {
					alpha += w[i * n + p] * w[i * n + p];
					beta += w[i * n + q] * w[i * n + q];
					gamma += w[i * n + p] * w[i * n + q];
				}
				if (!(fabs(gamma) > DBL_EPSILON * sqrt(alpha * beta)))
					continue;
				is_rotated = true;
				double zeta = (beta - alpha) / (2 * gamma);
				double t = (zeta < 0 ? -1 : 1) / (fabs(zeta) + hypot(1, zeta));
				double c = 1 / hypot(1, t), s = c * t;
				for (size_t i = 0; i < m + n; i++) {
					double *row = i < m ? w + i * n : v + (i - m) * n;
					double x = row[p], y = row[q];
					row[p] = c * x - s * y;
					row[q] = s * x + c * y;
				}
			}
	}
}

/* Where a singular value is 0 the column of u is any unit vector orthogonal to the ones before it. */
static void complete_column(size_t m, size_t rank, double *u, size_t column)
{
	for (size_t unit = 0; unit < m; unit++) {
		for (size_t i = 0; i < m; i++)
			u[i * rank + column] = i == unit;
		for (int twice = 0; twice < 2; twice++)
			for (size_t j = 0; j < column; j++) {
				double dot = 0;
				for (size_t i = 0; i < m; i++)
					dot += u[i * rank + j] * u[i * rank + column];
				for (size_t i = 0; i < m; i++)
					u[i * rank + column] -= dot * u[i * rank + j];
			}
		double norm = 0;
		for (size_t i = 0; i < m; i++)
			norm = hypot(norm, u[i * rank + column]);
		if (norm < 0.5 / sqrt((double)m))
			continue; /* nearly within the span of the others; some unit vector is not */
		for (size_t i = 0; i < m; i++)
			u[i * rank + column] /= norm;
		return;
	}
}

/* m >= n. */
static void svd_tall(Arena *scratch, size_t m, size_t n, const double *a, double *u, double *s, double *v)
{
	double *w = arena_array(scratch, double, m *n), *turn = arena_array(scratch, double, n *n);
	double *norms = arena_array(scratch, double, n);
	bool *is_taken = arena_array(scratch, bool, n);
	memcpy(w, a, m * n * sizeof *w);
	for (size_t i = 0; i < n; i++)
		turn[i * n + i] = 1;
	orthogonalize(m, n, w, turn);
	for (size_t j = 0; j < n; j++)
		for (size_t i = 0; i < m; i++)
			norms[j] = hypot(norms[j], w[i * n + j]);
	for (size_t j = 0; j < n; j++) { /* descending */
		size_t best = n;
		for (size_t p = 0; p < n; p++)
			if (!is_taken[p] && (best == n || norms[p] > norms[best]))
				best = p;
		is_taken[best] = true;
		s[j] = norms[best];
		for (size_t i = 0; i < n; i++)
			v[i * n + j] = turn[i * n + best];
		bool is_zero = !(s[j] > DBL_EPSILON * (double)m * s[0]);
		for (size_t i = 0; i < m && !is_zero; i++)
			u[i * n + j] = w[i * n + best] / s[j];
		if (is_zero)
			complete_column(m, n, u, j);
	}
}

static void fix_signs(size_t m, size_t n, size_t rank, double *u, double *v)
{
	for (size_t j = 0; j < rank; j++) {
		size_t best = 0;
		for (size_t i = 1; i < m; i++)
			if (fabs(u[i * rank + j]) > fabs(u[best * rank + j]))
				best = i;
		if (u[best * rank + j] >= 0)
			continue;
		for (size_t i = 0; i < m; i++)
			u[i * rank + j] = -u[i * rank + j];
		for (size_t i = 0; i < n; i++)
			v[i * rank + j] = -v[i * rank + j];
	}
}

static void factor_svd(Arena *scratch, size_t m, size_t n, const double *a, double *u, double *s, double *v)
{
	if (m >= n) {
		svd_tall(scratch, m, n, a, u, s, v);
	} else {
		double *turned = arena_array(scratch, double, m *n);
		transpose(m, n, a, turned);
		svd_tall(scratch, n, m, turned, v, s, u);
	}
	fix_signs(m, n, m < n ? m : n, u, v);
}

static void factor(Arena *scratch, size_t n, const double *a, bool upper, double *out)
{
	double *lower = arena_array(scratch, double, n *n);
	cholesky_lower(n, a, lower);
	if (upper)
		transpose(n, n, lower, out);
	else
		memcpy(out, lower, n * n * sizeof *lower);
}

void linalg_reference(Arena *scratch, KLinalg op, bool upper, size_t m, size_t n, const double *in, double *const *outs)
{
	switch (op) {
	case LINALG_CHOLESKY:
		factor(scratch, n, in, upper, outs[0]);
		break;
	case LINALG_INVERSE_FACTOR: {
		double *inverse = arena_array(scratch, double, n *n);
		invert(scratch, n, in, inverse);
		factor(scratch, n, inverse, upper, outs[0]);
		break;
	}
	case LINALG_INVERSE:
		invert(scratch, n, in, outs[0]);
		break;
	case LINALG_SVD:
		factor_svd(scratch, m, n, in, outs[0], outs[1], outs[2]);
		break;
	case LINALG_QR:
		factor_qr(scratch, m, n, in, outs[0], outs[1]);
		break;
	}
}
