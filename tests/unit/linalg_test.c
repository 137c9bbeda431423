/* SPDX-License-Identifier: MIT
 *
 * linalg_test.c: factorizations as the interpreter makes them, by what defines them: products, orthogonality,
 * triangles, order and signs.
 */
#include "build.h"
#include "check.h"

#include <math.h>

static double matrix_error(int m, int n, const double *a, const double *b)
{
	double worst = 0;
	for (int i = 0; i < m * n; i++)
		worst = fmax(worst, isnan(b[i]) ? INFINITY : fabs(a[i] - b[i]));
	return worst;
}

/* c (m x n) = a (m x p) b, where ta, tb read a or b transposed */
static void multiply(int m, int n, int p, const double *a, bool ta, const double *b, bool tb, double *c)
{
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++) {
			double sum = 0;
			for (int l = 0; l < p; l++)
				sum += (ta ? a[l * m + i] : a[i * p + l]) * (tb ? b[j * p + l] : b[l * n + j]);
			c[i * n + j] = sum;
		}
}

static bool is_orthonormal(int m, int r, const double *q)
{
	double gram[400], unit[400] = {0};
	multiply(r, r, m, q, true, q, false, gram);
	for (int i = 0; i < r; i++)
		unit[i * r + i] = 1;
	return matrix_error(r, r, unit, gram) < 1e-12;
}

/* Without columns it is a vector. */
static KBuffer *matrix(Kernel *k, KBufferKind kind, const char *name, int64_t rows, int64_t columns)
{
	KExpr *extents[] = {i32(k, rows), i32(k, columns)};
	return kbuffer_new(k, kind, name_of(k->c, name), store(k, "f64"), columns ? 2 : 1, extents);
}

static void run_linalg(Compiler *c, KLinalg op, bool upper, int m, int n, double *a, double **outs)
{
	Kernel *k = kernel_new(c, name_of(c, "linalg"));
	int r = m < n ? m : n;
	KBuffer *in = matrix(k, BUFFER_INPUT, "a", m, n), *results[3] = {0};
	for (uint32_t i = 0; i < linalg_outs(op); i++) {
		bool is_values = op == LINALG_SVD && i == 1, is_last = i == linalg_outs(op) - 1 && i > 0;
		int rows = op == LINALG_QR && i == 1 ? r : is_last || is_values ? (is_values ? r : n) : m;
		int columns = op == LINALG_QR && i == 1 ? n : r;
		results[i] = matrix(k, BUFFER_OUTPUT, "out", rows, is_values ? 0 : columns);
	}
	push(k, &k->steps, kstep_linalg(k, op, upper, in, results));
	CHECK(kernel_verify(k) && kernel_interpret(k, (void *[]){a}, (void *const *)outs, (int64_t[]){0}), "%s", k->name);
	diag_flush(c, stdout);
}

static void test_factors(Compiler *c, int m, int n, int rank)
{
	double a[400], left[400], right[400], u[400], s[20], v[400], product[400];
	int r = m < n ? m : n;
	for (int i = 0; i < 400; i++) {
		left[i] = (int)(next_random() % 2001) / 1000.0 - 1;
		right[i] = (int)(next_random() % 2001) / 1000.0 - 1;
	}
	multiply(m, n, rank, left, false, right, false, a);
	run_linalg(c, LINALG_QR, false, m, n, a, (double *[]){u, v});
	multiply(m, n, r, u, false, v, false, product);
	CHECK(matrix_error(m, n, a, product) < 1e-12 && is_orthonormal(m, r, u), "qr %d x %d", m, n);
	for (int i = 0; i < r; i++)
		CHECK(v[i * n + i] >= 0 && (i == 0 || v[i * n] == 0), "qr %d x %d", m, n);
	run_linalg(c, LINALG_SVD, false, m, n, a, (double *[]){u, s, v});
	CHECK(is_orthonormal(m, r, u) && is_orthonormal(n, r, v), "svd %d x %d", m, n);
	for (int j = 0; j < r; j++) {
		double largest = 0;
		for (int i = 0; i < m; i++)
			if (fabs(u[i * r + j]) > fabs(largest) + 1e-9)
				largest = u[i * r + j];
		CHECK(largest > 0 && s[j] >= 0 && (j == 0 || s[j] <= s[j - 1]), "svd %d x %d", m, n);
		CHECK(j < rank || s[j] < 1e-12, "svd %d x %d: %g", m, n, s[j]);
		for (int i = 0; i < m; i++)
			u[i * r + j] *= s[j];
	}
	multiply(m, n, r, u, false, v, true, product);
	CHECK(matrix_error(m, n, a, product) < 1e-12, "svd %d x %d", m, n);
}

static void test_cholesky(Compiler *c, int n)
{
	double a[400], factor[400], product[400], unit[400] = {0}, x[400];
	for (int i = 0; i < n * n; i++)
		x[i] = (int)(next_random() % 2001) / 1000.0 - 1;
	multiply(n, n, n, x, true, x, false, a);
	for (int i = 0; i < n; i++) {
		a[i * n + i] += 0.5;
		unit[i * n + i] = 1;
	}
	run_linalg(c, LINALG_CHOLESKY, true, n, n, a, (double *[]){factor});
	multiply(n, n, n, factor, true, factor, false, product);
	CHECK(matrix_error(n, n, a, product) < 1e-12 && (n == 1 || factor[n] == 0), "upper %d", n);
	run_linalg(c, LINALG_CHOLESKY, false, n, n, a, (double *[]){factor});
	multiply(n, n, n, factor, false, factor, true, product);
	CHECK(matrix_error(n, n, a, product) < 1e-12 && (n == 1 || factor[1] == 0), "lower %d", n);
	run_linalg(c, LINALG_INVERSE, false, n, n, a, (double *[]){factor});
	multiply(n, n, n, factor, false, a, false, product);
	CHECK(matrix_error(n, n, unit, product) < 1e-10, "inverse %d", n);
	run_linalg(c, LINALG_INVERSE_FACTOR, true, n, n, a, (double *[]){factor});
	multiply(n, n, n, factor, true, factor, false, product);
	multiply(n, n, n, product, false, a, false, x);
	CHECK(matrix_error(n, n, unit, x) < 1e-10 && (n == 1 || factor[n] == 0), "factor of the inverse %d", n);
	a[0] = -1;
	run_linalg(c, LINALG_CHOLESKY, true, n, n, a, (double *[]){factor});
	CHECK(isnan(factor[0]), "not positive definite");
}

int main(void)
{
	Compiler *c = compiler_new();
	static const int shapes[][3] = {{1, 1, 1}, {5, 3, 3}, {3, 5, 3}, {8, 8, 8}, {12, 7, 4}, {7, 12, 2}, {20, 20, 19}};
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		test_factors(c, shapes[i][0], shapes[i][1], shapes[i][2]);
	test_cholesky(c, 1);
	test_cholesky(c, 9);
	compiler_free(c);
	return finish("linalg_test");
}
