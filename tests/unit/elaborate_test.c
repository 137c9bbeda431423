/* SPDX-License-Identifier: MIT
 *
 * elaborate_test.c: passes that work on whole matrices, from their .cmp text to
 * numbers. Every kernel is interpreted twice, flat and scheduled, which must give
 * the same bytes; what they must be is computed here in plain C, or follows from
 * what a factorization is.
 */
#include "check.h"
#include "elaborate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Run {
	Compiler *c;
	Program *p;
	Scope *arguments;
	Chain chain;
	ChainKernel built;
	float *out; /* [rows, cols] */
} Run;

static const char *stdlib_folder(void)
{
	static char path[4096];
	const char *root = getenv("TOP_SRCDIR") ? getenv("TOP_SRCDIR") : getenv("srcdir");
	snprintf(path, sizeof path, "%s/stdlib", root ? root : ".");
	return path;
}

static float random_real(uint32_t *state)
{
	float sum = 0;
	for (int i = 0; i < 4; i++) {
		*state = *state * 1664525u + 1013904223u;
		sum += (float)(*state >> 8) / (1 << 24) - 0.5f;
	}
	return sum;
}

static float *random_matrix(size_t count, uint32_t seed)
{
	float *x = malloc(count * sizeof *x);
	for (size_t i = 0; i < count; i++)
		x[i] = random_real(&seed);
	return x;
}

static Run run_open(const char *source)
{
	Run r = {.c = compiler_new()};
	r.p = program_new(r.c, stdlib_folder());
	r.arguments = scope_new(r.c, NULL);
	uint32_t file = source_add(r.c, "test.cmp", source, strlen(source));
	Node *tree = parse_file(r.c, file);
	CHECK(tree && program_load_tree(r.p, file, tree) && program_load_stdlib(r.p));
	return r;
}

static void run_close(Run *r)
{
	free(r->out);
	compiler_free(r->c);
}

static void argument(Run *r, const char *name, Value value)
{
	scope_bind(r->c, r->arguments, name_of(r->c, name), value);
}

static bool build(Run *r, const char *pass, int64_t rows, int64_t cols)
{
	static ChainLink link;
	link = (ChainLink){program_find(r->p, DECL_PASS, name_of(r->c, pass)), r->arguments, {0}};
	r->chain.name = name_of(r->c, "kernel");
	r->chain.input = store_of_type(T_F32);
	r->chain.rows = rows;
	r->chain.cols = cols;
	r->chain.links = &link;
	r->chain.link_count = 1;
	if (!r->chain.container)
		r->chain.container = "gguf";
	return link.pass && chain_build(r->p, &r->chain, &r->built);
}

/* The values that the pass makes of w, flat and scheduled alike; NULL: reported. */
static const float *values(Run *r, const char *pass, float *w, int64_t rows, int64_t cols)
{
	size_t count = (size_t)(rows * cols);
	float *out[2] = {0};
	bool ok = true;
	r->chain.values_only = true;
	for (int is_scheduled = 0; is_scheduled < 2 && ok; is_scheduled++) {
		void *inputs[1] = {w}, *outputs[1];
		int64_t params[1] = {rows};
		ok = build(r, pass, rows, cols);
		if (ok && is_scheduled) {
			kernel_schedule(r->built.kernel, &(ScheduleOptions){8});
			ok = kernel_verify(r->built.kernel);
		}
		outputs[0] = out[is_scheduled] = calloc(count, sizeof(float));
		ok = ok && kernel_interpret(r->built.kernel, inputs, outputs, params);
	}
	if (!ok)
		diag_flush(r->c, stdout);
	CHECK(ok, "%s", pass);
	CHECK(!ok || !memcmp(out[0], out[1], count * sizeof(float)), "%s: flat and scheduled differ", pass);
	free(r->out);
	r->out = out[0];
	free(out[1]);
	return ok ? r->out : NULL;
}

static double distance(const float *a, const float *b, size_t count)
{
	double most = 0;
	for (size_t i = 0; a && i < count; i++) {
		double d = fabs((double)a[i] - (double)b[i]);
		most = d > most || isnan(d) ? d : most;
	}
	return a ? most : (double)INFINITY;
}

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

/* The bytes that the pass leaves, in the dtype's form for gguf or, without one, as values; flat and scheduled alike. */
static uint8_t *stored_bytes(
	const char *pass, const char *dtype, const char *container, float *w, int64_t rows, int64_t cols, size_t *size)
{
	uint8_t *out[2] = {0};
	bool ok = true;
	for (int is_scheduled = 0; is_scheduled < 2 && ok; is_scheduled++) {
		Run r = run_open(halves);
		Decl *decl = program_find(r.p, DECL_DTYPE, name_of(r.c, dtype));
		argument(&r, "dtype", value_dtype(r.p, (Loc){0}, decl));
		r.chain.container = container;
		r.chain.values_only = !container;
		ok = build(&r, pass, rows, cols);
		*size = (size_t)(rows * (container ? r.built.row_bytes : 4 * cols));
		if (ok && is_scheduled) {
			kernel_schedule(r.built.kernel, &(ScheduleOptions){8});
			ok = kernel_verify(r.built.kernel);
		}
		void *inputs[1] = {w}, *outputs[1] = {out[is_scheduled] = calloc(*size, 1)};
		ok = ok && kernel_interpret(r.built.kernel, inputs, outputs, &(int64_t){rows});
		if (!ok)
			diag_flush(r.c, stdout);
		run_close(&r);
	}
	CHECK(ok, "%s %s", pass, dtype);
	CHECK(!ok || !memcmp(out[0], out[1], *size), "%s %s: flat and scheduled differ", pass, dtype);
	free(out[1]);
	return out[0];
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

int main(void)
{
	test_halves();
	test_linalg();
	test_rank();
	test_any_rows();
	return finish("elaborate_test");
}
