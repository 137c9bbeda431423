/* SPDX-License-Identifier: MIT
 *
 * runtime_test.c: functions that kernels call, without kernels: LAPACK's against references in f64, selection against
 * sorting.
 */
#include "suite.h"

#include <inttypes.h>

static double largest_difference(const float *a, const double *b, size_t count)
{
	double most = 0;
	for (size_t i = 0; i < count; i++)
		most = fmax(most, isnan(a[i]) ? (double)INFINITY : fabs((double)a[i] - b[i]));
	return most;
}

static void check_linalg(Compiler *c, KLinalg op, bool upper, size_t m, size_t n)
{
	size_t rank = m < n ? m : n, sizes[3] = {m * rank, op == LINALG_QR ? rank * n : rank, n * rank};
	if (linalg_is_definite(op))
		sizes[0] = n * n;
	float *a = arena_array(c->arena, float, m *n), *got[3];
	double *exact = arena_array(c->arena, double, m *n), *expected[3];
	for (size_t i = 0; i < m * n; i++)
		a[i] = (float)(next_random() % 2001) * 0.001f - 1;
	for (size_t i = 0; sizes[0] == n * n && i < n; i++) { /* symmetric, positive definite */
		for (size_t j = 0; j < i; j++)
			a[i * n + j] = a[j * n + i];
		a[i * n + i] = (float)n;
	}
	for (size_t i = 0; i < m * n; i++)
		exact[i] = (double)a[i];
	for (int i = 0; i < 3; i++) {
		got[i] = arena_array(c->arena, float, sizes[i]);
		expected[i] = arena_array(c->arena, double, sizes[i]);
	}
	linalg_reference(c->arena, op, upper, m, n, exact, expected);
	CmprtFrame whole = {.sampler = NULL};
	if (op == LINALG_CHOLESKY)
		cmprt_cholesky(&whole, a, got[0], (int64_t)n, upper, 0);
	else if (op == LINALG_INVERSE)
		cmprt_inverse(&whole, a, got[0], (int64_t)n, 0);
	else if (op == LINALG_INVERSE_FACTOR)
		cmprt_inverse_factor(&whole, a, got[0], (int64_t)n, upper, 0);
	else if (op == LINALG_SVD)
		cmprt_svd(&whole, a, got[0], got[1], got[2], (int64_t)m, (int64_t)n, 0);
	else
		cmprt_qr(&whole, a, got[0], got[1], (int64_t)m, (int64_t)n, 0);
	for (uint32_t i = 0; i < linalg_outs(op); i++) {
		double most = largest_difference(got[i], expected[i], sizes[i]);
		CHECK(most < 2e-3, "linalg %d, %zu x %zu, result %u is off by %g", (int)op, m, n, i, most);
	}
}

static void test_linalg(const char *cpu)
{
	(void)cpu;
	Compiler *c = compiler_new();
	for (int upper = 0; upper < 2; upper++)
		for (size_t n = 1; n < 20; n += 6)
			check_linalg(c, LINALG_CHOLESKY, upper, n, n);
	check_linalg(c, LINALG_CHOLESKY, true, 700, 700);
	check_linalg(c, LINALG_INVERSE, false, 7, 7);
	check_linalg(c, LINALG_INVERSE, false, 600, 600);
	for (int upper = 0; upper < 2; upper++)
		for (size_t n = 9; n < 1300; n += 1200)
			check_linalg(c, LINALG_INVERSE_FACTOR, upper, n, n);
	check_linalg(c, LINALG_SVD, false, 9, 5);
	check_linalg(c, LINALG_SVD, false, 5, 9);
	check_linalg(c, LINALG_QR, false, 9, 5);
	check_linalg(c, LINALG_QR, false, 5, 9);
	compiler_free(c);
}

/* x'x and xx' of a matrix, both halves, for sizes around those of tiles. */
static void check_square(Compiler *c, size_t n, size_t depth, bool is_turned)
{
	float *x = arena_array(c->arena, float, n *depth), *got = arena_array(c->arena, float, n *n);
	double most = 0;
	for (size_t i = 0; i < n * depth; i++)
		x[i] = (float)(next_random() % 2001) * 0.001f - 1;
	size_t row = is_turned ? 1 : depth, column = is_turned ? n : 1;
	cmprt_syrk_f32(
		&(CmprtFrame){.sampler = NULL}, got, (int64_t)n, x, (int64_t)row, (int64_t)column, (int64_t)n, (int64_t)depth);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			double sum = 0;
			for (size_t k = 0; k < depth; k++)
				sum += (double)x[i * row + k * column] * (double)x[j * row + k * column];
			most = fmax(most, fabs(sum - (double)got[i * n + j]));
		}
	CHECK(most < 1e-4, "square of %zu x %zu is off by %g", n, depth, most);
}

static void test_squares(const char *cpu)
{
	(void)cpu;
	Compiler *c = compiler_new();
	for (int turned = 0; turned < 2; turned++) {
		check_square(c, 1, 5, turned);
		check_square(c, 200, 33, turned);
		check_square(c, 1061, 7, turned);
	}
	compiler_free(c);
}

/* Passes over a row of f32, as generated code makes them for its CPU. */
static void plain_keys(const void *values, const int64_t *places, int64_t count, int32_t *keys)
{
	for (int64_t i = 0; i < count; i++) {
		float value = ((const float *)values)[places[i]] + 0.0f;
		memcpy(&keys[i], &value, sizeof value);
		keys[i] = value != value ? 0x7f800001 : keys[i] < 0 ? keys[i] ^ INT32_MAX : keys[i];
	}
}

static int64_t plain_levels(
	const void *values, int64_t first, int64_t blocks, int64_t base, int64_t shift, int8_t *levels)
{
	int64_t below = 0;
	for (int64_t i = 0; i < blocks * 64; i++) {
		int64_t place = first * 64 + i;
		int32_t key;
		plain_keys(values, &place, 1, &key);
		int64_t level = (key >> shift) - base;
		levels[i] = (int8_t)(level < INT8_MIN ? INT8_MIN : level > INT8_MAX ? INT8_MAX : level);
		below += level < 0;
	}
	return below;
}

static void plain_count(const int8_t *levels, int64_t blocks, const int8_t *guesses, int64_t *counts)
{
	for (int64_t i = 0; i < blocks * 64; i++)
		for (int j = 0; j < 4; j++)
			counts[j] += levels[i] <= guesses[j];
}

static void plain_mark(int8_t *levels, int64_t blocks, int64_t from, int64_t to, uint64_t *words)
{
	memset(words, 0, (size_t)blocks * sizeof *words);
	for (int64_t i = 0; i < blocks * 64; i++) {
		words[i / 64] |= (uint64_t)(levels[i] >= from && levels[i] <= to) << i % 64;
		levels[i] = levels[i] < from;
	}
}

/* Selection against sorting, whatever the row before told it. */
static void test_selection(const char *cpu)
{
	enum { MOST = 20000 };
	(void)cpu;
	Compiler *c = compiler_new();
	float *x = arena_array(c->arena, float, MOST);
	int32_t *order = arena_array(c->arena, int32_t, MOST);
	uint8_t *mask = arena_array(c->arena, uint8_t, MOST);
	int64_t hint[CMPRT_SELECT_HINT / 8] = {0};
	CmprtPasses passes = {plain_levels, plain_count, plain_mark, plain_keys};
	for (int round = 0; round < 3000; round++) {
		int64_t most = round % 30 == 0  ? MOST
					   : round % 3 == 0 ? 200
										: 5000,
				count = 1 + next_random() % most, limit = next_random() % (count + 2);
		uint32_t kind = next_random() % 8;
		for (int64_t i = 0; i < count; i++) {
			uint32_t bits = next_random();
			if (kind == 0)
				memcpy(&x[i], &bits, sizeof bits);
			else if (kind == 1)
				x[i] = (float)(bits % 7) - 3;
			else if (kind == 2)
				x[i] = bits % 50 ? 1.0f : (float)bits;
			else if (kind == 3)
				x[i] = bits % 3 ? (bits & 64 ? 0.0f : -0.0f) : (bits & 32 ? 1e-42f : -INFINITY);
			else if (kind == 4)
				x[i] = bits % 2 ? 0x1.000002p3f : 8.0f; /* neighbours */
			else if (kind == 5)
				x[i] = (float)(int)(bits % 1000 + bits / 1000 % 1000) - (float)(round % 50) * 10;
			else
				x[i] = ldexpf((float)(bits >> 8), (int)(kind - 6) * (int)(bits % 40)) * (bits & 1 ? 1 : -1);
		}
		cmprt_order_f32(x, count, order);
		cmprt_smallest_f32(x, count, limit, mask, hint, &passes);
		int64_t wrong = 0;
		for (int64_t i = 0; i < count; i++)
			wrong += mask[order[i]] != (i < limit);
		CHECK(wrong == 0, "%" PRId64 " of %" PRId64 ", limit %" PRId64 ", kind %u", wrong, count, limit, kind);
	}
	compiler_free(c);
}

static const TestRow tests[] = {
	{"linalg", test_linalg, false},
	{"squares", test_squares, false},
	{"selection", test_selection, false},
};

int main(int argc, char **argv)
{
	tests_run(tests, sizeof tests / sizeof *tests, argc > 1 ? argv[1] : NULL);
	return finish("runtime_test");
}
