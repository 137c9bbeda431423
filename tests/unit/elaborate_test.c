/* SPDX-License-Identifier: MIT
 *
 * elaborate_test.c: passes that work on whole matrices, from their .cmp text to
 * numbers: factorizations against what they are, the halves of a dtype against the
 * whole of it, a matrix that becomes two.
 */
#include "chain.h"

/* ---- linear algebra ---- */

static const char linalg[] = "pass svd on w[o, i] {\n"
							 "  (u, s, v) = svd(w)\n"
							 "  w[o, i]  := sum[r](u[o, r] * s[r] * v[i, r])\n"
							 "}\n"
							 "pass svd.cut(rank: int) on w[o, i] {\n"
							 "  (u, s, v) = svd(w)\n"
							 "  w[o, i]  := sum[r < rank](u[o, r] * s[r] * v[i, r])\n"
							 "}\n"
							 "pass qr on w[o, i] {\n"
							 "  (q, r)   = qr(transpose(w))\n"
							 "  w[o, i] := sum[p](q[i, p] * r[p, o])\n"
							 "}\n"
							 "fn factor(a[i, j]) -> u { u = cholesky(inverse(a), upper) }\n"
							 "pass identity on w[o, i] {\n"
							 "  a[i, j]  = sum[o](w[o, i] * w[o, j]) + (if i == j then 1 else 0)\n"
							 "  u        = factor(a)\n"
							 "  w[o, i] := sum[p, j](u[p, o] * u[p, j] * a[j, i])\n"
							 "}\n"
							 "pass lower on w[o, i] {\n"
							 "  a[i, j]  = sum[o](w[o, i] * w[o, j]) + (if i == j then 1 else 0)\n"
							 "  l        = cholesky(a)\n"
							 "  w[o, i] := sum[p](l[o, p] * l[i, p]) - a[o, i]\n"
							 "}\n"
							 "pass batch on w[o, i] {\n"
							 "  block i = g*4 + k\n"
							 "  (u[g], s[g], v[g]) = svd(w[:, g*4 .. g*4 + 4])\n"
							 "  w[o, g, k] := sum[r](u[g, o, r] * s[g, r] * v[g][k, r])\n"
							 "}\n";

static void test_linalg(void)
{
	static const struct {
		const char *pass;
		int64_t rows, cols;
		double scale; /* the result is scale * w + unit * 1 */
		double unit;
	} cases[] = {
		{"svd", 7, 12, 1, 0},
		{"svd", 12, 7, 1, 0},
		{"qr", 7, 12, 1, 0},
		{"qr", 12, 7, 1, 0},
		{"identity", 9, 9, 0, 1},
		{"lower", 9, 9, 0, 0},
		{"batch", 7, 12, 1, 0},
	};
	for (size_t t = 0; t < sizeof cases / sizeof *cases; t++) {
		size_t m = (size_t)cases[t].rows, n = (size_t)cases[t].cols;
		float *w = random_matrix(m * n, (uint32_t)t + 1), *expected = random_matrix(m * n, 1);
		for (size_t i = 0; i < m * n; i++)
			expected[i] = (float)(cases[t].scale * (double)w[i] + (i / n == i % n ? cases[t].unit : 0));
		Run r = run_open(linalg);
		double off = distance(values(&r, cases[t].pass, w, (int64_t)m, (int64_t)n), expected, m * n);
		CHECK(off < 2e-5, "%s: off by %g", cases[t].pass, off);
		run_close(&r);
		free(w);
		free(expected);
	}
}

static void test_rank(void)
{
	float *w = random_matrix(64, 5);
	Run r = run_open(linalg);
	argument(&r, "rank", value_int((Loc){0}, 3));
	const float *cut = values(&r, "svd.cut", w, 8, 8);
	double ws[64], u[64], s[8], v[64], *outs[3] = {u, s, v}, left = 0, rest = 0;
	for (int i = 0; i < 64; i++)
		ws[i] = (double)w[i];
	Arena *scratch = arena_new();
	linalg_reference(scratch, LINALG_SVD, false, 8, 8, ws, outs);
	arena_free(scratch);
	for (int i = 0; i < 64 && cut; i++)
		left += (double)(w[i] - cut[i]) * (double)(w[i] - cut[i]);
	for (int i = 3; i < 8; i++)
		rest += s[i] * s[i];
	CHECK(fabs(left - rest) < 1e-5 * rest, "what is cut off is %g, not %g", left, rest);
	run_close(&r);
	free(w);
}

/* A matrix that becomes two: what the kernel writes, and that their product is what the pass says. */
static void test_factors(void)
{
	static const char gaps[] = "pass gaps on w[o, i] {\n"
							   "  a[o, r] = w[o, r]\n"
							   "  b[r < 8, i] = if r == i then 1 else 0\n"
							   "  keep r where r % 2 == 1\n"
							   "  w := factors(a, b)\n"
							   "}\n";
	float *w = random_matrix(12 * 8, 9), left[12 * 3], right[3 * 8];
	double error[24];
	Run r = run_open(gaps), odd = run_open(gaps), all = run_open(gaps);
	argument(&r, "rank", value_int((Loc){0}, 3));
	argument(&r, "energy", value_real((Loc){0}, 0.9));
	r.chain.wants_error = true;
	CHECK(build(&r, "lowrank.svd", 12, 8) && r.built.factors.count == 2 && r.built.kernel->outputs.count == 3);
	const Plane *plane = r.built.factors.at;
	CHECK(!strcmp(plane[0].name, "left") && plane[0].shape[0] == 12 && plane[0].shape[1] == 3);
	CHECK(!strcmp(plane[1].name, "right") && plane[1].shape[0] == 3 && plane[1].shape[1] == 8);
	void *inputs[1] = {w}, *outputs[3] = {left, right, error};
	CHECK(kernel_interpret(r.built.kernel, inputs, outputs, &(int64_t){12}));
	double told = 0, seen = 0;
	for (int o = 0; o < 12; o++) {
		for (int i = 0; i < 8; i++) {
			double product = 0;
			for (int k = 0; k < 3; k++)
				product += (double)left[o * 3 + k] * (double)right[k * 8 + i];
			seen += ((double)w[o * 8 + i] - product) * ((double)w[o * 8 + i] - product);
		}
		told += error[2 * o];
	}
	CHECK(fabs(told - seen) < 1e-5 * seen && seen > 0, "error %g, product %g", told, seen);
	const float *kept = values(&odd, "gaps", w, 12, 8);
	for (int k = 0; k < 12 * 8 && kept; k++)
		CHECK(kept[k] == (k % 2 ? w[k] : 0));
	argument(&all, "rank", (Value){.kind = VALUE_NONE, .dimension = ""});
	argument(&all, "energy", value_real((Loc){0}, 0.9));
	CHECK(build(&all, "lowrank.svd", 12, 8) && all.built.factors.count == 2); /* how many stay depends on w */
	CHECK(all.built.places.axis && all.built.places.extent == 8);
	CHECK(all.built.factors.at[0].kept == 1 && all.built.factors.at[1].kept == 0);
	run_close(&r);
	run_close(&odd);
	run_close(&all);
	free(w);
}

static void test_any_rows(void)
{
	Run r = run_open(linalg);
	CHECK(build(&r, "svd", 0, 8) && r.built.needs_all_rows);
	CHECK(build(&r, "svd", 8, 8) && !r.built.needs_all_rows);
	run_close(&r);
}

/* ---- the halves of a dtype ---- */

static const char halves[] =
	"pass halves(dtype: dtype) on w[o, i] {\n"
	"  n = dtype.block\n"
	"  F[o, g < extent(i) // n] = fit(dtype, w[o, g*n .. g*n + n])\n"
	"  c[o, i] = round(dtype, F[o, i // n], i % n, w[o, i])\n"
	"  w := blocks(dtype, F, c)\n"
	"}\n"
	"pass columns(dtype: dtype) on w[o, i] {\n" /* the same column by column, every grid fitted when it is reached */
	"  n = dtype.block\n"
	"  F[o, g < extent(i) // n] = fit(dtype, w[o, extent(i) - n .. extent(i)])\n"
	"  for b in 0..extent(i) step 48 {\n"
	"    e = min(b + 48, extent(i))\n"
	"    for j in b..e {\n"
	"      when j % n == 0 { F[o, g in j//n .. j//n + 1] := fit(dtype, w[o, j .. j + n]) }\n"
	"      c[o, j] = round(dtype, F[o, j // n], j % n, w[o, j])\n"
	"      v[o]    = value(dtype, F[o, j // n], j % n, c[o, j])\n"
	"      d[o, j] = v[o] - w[o, j]\n"
	"    }\n"
	"    w[o, k in b..e] := w[o, k] + d[o, k]\n"
	"  }\n"
	"  w := blocks(dtype, F, c)\n"
	"}\n"
	"pass decoded(dtype: dtype) on w[o, i] {\n"
	"  y = decode(encode(dtype, w))\n"
	"  w[o, i] := if decode(encode(dtype, 1 * w[o, i])) == y[o, i] then y[o, i] else inf\n"
	"}\n";

static const char placed[] =
	"pass last(dtype: dtype) on w[o, i] {\n" /* each is the last to read the one before, element by element */
	"  a[o, i] = 2 * w[o, i]\n"
	"  s = max[o, i](a[o, i])\n"
	"  b[o, i] = a[o, i] + s\n"
	"  t[i] = max[o](b[o, i])\n"
	"  w[o, i] := b[o, i] - t[i]\n"
	"}\n"
	"pass kept(dtype: dtype) on w[o, i] {\n" /* a is read again */
	"  a[o, i] = 2 * w[o, i]\n"
	"  s = max[o, i](a[o, i])\n"
	"  b[o, i] = a[o, i] + s\n"
	"  t[i] = max[o](b[o, i])\n"
	"  w[o, i] := b[o, i] - t[i] + a[extent(o) - 1 - o, i]\n"
	"}\n"
	"pass turned(dtype: dtype) on w[o, i] {\n" /* b is made of other elements of a */
	"  a[o, i] = 2 * w[o, i]\n"
	"  s = max[o, i](a[o, i])\n"
	"  b[o, i] = a[extent(o) - 1 - o, i] + s\n"
	"  t[i] = max[o](b[o, i])\n"
	"  w[o, i] := b[o, i] - t[i]\n"
	"}\n";

/* Matrices between a scheduled kernel's inputs and outputs. */
static size_t count_matrices(const Kernel *k)
{
	size_t count = 0;
	for (size_t i = 0; i < k->buffers.count; i++)
		count += k->buffers.at[i]->kind == BUFFER_TEMP && !k->buffers.at[i]->scope && k->buffers.at[i]->rank == 2;
	return count;
}

/* What is read last, element by element, gives its place to what is made of it. */
static void test_places(void)
{
	static const struct {
		const char *pass;
		size_t matrices;
	} cases[] = {{"last", 0}, {"kept", 1}, {"turned", 1}};
	float *w = random_matrix(7 * 40, 5);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		Run r = run_open(placed);
		argument_dtype(&r, "q8_0");
		values(&r, cases[i].pass, w, 7, 40);
		CHECK(count_matrices(r.built.kernel) == cases[i].matrices, "%s: %zu matrices, not %zu", cases[i].pass,
			count_matrices(r.built.kernel), cases[i].matrices);
		run_close(&r);
	}
	free(w);
}

/* The bytes that the pass leaves, in the dtype's form for gguf or, without one, as values. */
static uint8_t *stored_bytes(
	const char *pass, const char *dtype, const char *container, float *w, int64_t rows, int64_t cols, size_t *size)
{
	Run r = run_open(halves);
	argument_dtype(&r, dtype);
	r.chain.container = container;
	r.chain.values_only = !container;
	const void *out = result(&r, pass, w, NULL, rows, cols, size);
	CHECK(out, "%s", dtype);
	uint8_t *copy = calloc(*size, 1);
	if (out)
		memcpy(copy, out, *size);
	run_close(&r);
	return copy;
}

static void test_halves(void)
{
	static const char *const passes[] = {"halves", "columns", "decoded"};
	static const struct {
		const char *dtype, *container;
	} cases[] = {
		{"q8_0", "gguf"},
		{"q4_0", "gguf"},
		{"q4_1", "gguf"},
		{"q5_0", "gguf"},
		{"q5_1", "gguf"},
		{"q2_K", "gguf"},
		{"q4_K", "gguf"},
		{"q5_K", "gguf"},
		{"q6_K", "gguf"},
		{"iq4_nl", "gguf"},
		{"mxfp4", "gguf"},
		{"nvfp4", "gguf"},
		{"int8", NULL},
		{"f8_e4m3", NULL},
		{"int4_g128", NULL},
		{"nf4", NULL},
		{"bf16", NULL},
	};
	int64_t rows = 3, cols = 512;
	float *w = random_matrix((size_t)(rows * cols), 11);
	memset(w + 64, 0, 256 * sizeof *w); /* blocks of zeros */
	for (size_t t = 0; t < sizeof cases / sizeof *cases; t++) {
		size_t size, expected_size;
		uint8_t *expected =
			stored_bytes("quantize.rtn", cases[t].dtype, cases[t].container, w, rows, cols, &expected_size);
		for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
			const char *container = i < 2 ? cases[t].container : NULL;
			if (i == 2) {
				free(expected);
				expected = stored_bytes("quantize.rtn", cases[t].dtype, NULL, w, rows, cols, &expected_size);
			}
			uint8_t *got = stored_bytes(passes[i], cases[t].dtype, container, w, rows, cols, &size);
			bool same = size == expected_size && !memcmp(got, expected, size);
			CHECK(same, "%s %s is not what quantize.rtn gives", passes[i], cases[t].dtype);
			free(got);
		}
		free(expected);
	}
	free(w);
}

/* q3_K's codes come from its fit, all together. */
static void test_inseparable(void)
{
	Run r = run_open(halves);
	argument_dtype(&r, "q3_K");
	CHECK(!build(&r, "halves", 2, 256) && diag_errors(r.c) == 1);
	run_close(&r);
}

int main(void)
{
	test_halves();
	test_places();
	test_linalg();
	test_rank();
	test_any_rows();
	test_factors();
	test_inseparable();
	return finish("elaborate_test");
}
