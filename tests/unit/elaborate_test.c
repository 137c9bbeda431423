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
	void *out;
	int64_t t; /* rows of the tensor that a parameter is given */
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

static bool tensor_shape(void *context, const Value *tensor, int64_t *rank, int64_t *shape, Store *store)
{
	const Run *r = context;
	CHECK(!strcmp(tensor->text, "rows.safetensors") && !strcmp(tensor->tensor, "x"));
	*rank = 2;
	shape[0] = r->t;
	shape[1] = r->chain.cols;
	*store = store_of_type(T_F32);
	return true;
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
	r->chain.tensor_shape = tensor_shape;
	r->chain.context = r;
	if (!r->chain.container)
		r->chain.container = "gguf";
	return link.pass && chain_build(r->p, &r->chain, &r->built);
}

/* What the pass leaves of w: its packed bytes, or f32 values (chain.values_only); flat and scheduled alike. x: the
 * kernel's further input, or NULL. NULL: reported. */
static const void *result(Run *r, const char *pass, float *w, float *x, int64_t rows, int64_t cols, size_t *size)
{
	uint8_t *out[2] = {0};
	bool ok = true;
	for (int is_scheduled = 0; is_scheduled < 2 && ok; is_scheduled++) {
		ok = build(r, pass, rows, cols);
		*size = (size_t)(rows * (r->chain.values_only ? 4 * cols : r->built.row_bytes));
		if (ok && is_scheduled) {
			kernel_schedule(r->built.kernel, &(ScheduleOptions){8});
			ok = kernel_verify(r->built.kernel);
		}
		void *inputs[2] = {w, x}, *outputs[1] = {out[is_scheduled] = calloc(*size, 1)};
		ok = ok && kernel_interpret(r->built.kernel, inputs, outputs, &(int64_t){rows});
	}
	if (!ok)
		diag_flush(r->c, stdout);
	CHECK(ok, "%s", pass);
	CHECK(!ok || !memcmp(out[0], out[1], *size), "%s: flat and scheduled differ", pass);
	free(r->out);
	r->out = out[0];
	free(out[1]);
	return ok ? r->out : NULL;
}

static const float *values(Run *r, const char *pass, float *w, int64_t rows, int64_t cols)
{
	size_t size;
	r->chain.values_only = true;
	return result(r, pass, w, NULL, rows, cols, &size);
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

static void argument_dtype(Run *r, const char *dtype)
{
	argument(r, "dtype", value_dtype(r->p, (Loc){0}, program_find(r->p, DECL_DTYPE, name_of(r->c, dtype))));
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

/* ---- GPTQ ---- */

typedef struct Gptq {
	size_t o, i, t, lazy;
	float *w, *x;
	double *h, *u; /* [i, i] */
} Gptq;

static void gptq_open(Gptq *g, size_t o, size_t i, size_t t, size_t lazy)
{
	*g = (Gptq){.o = o, .i = i, .t = t, .lazy = lazy, .w = random_matrix(o * i, 3), .x = random_matrix(t * i, 4)};
	g->h = calloc(i * i, sizeof *g->h);
	g->u = calloc(i * i, sizeof *g->u);
	for (size_t r = 0; r < t; r++) {
		for (size_t a = 1; a < i; a++) /* neighbours have something in common; one input is never other than 0 */
			g->x[r * i + a] = a == 5 ? 0 : g->x[r * i + a] + 0.7f * g->x[r * i + a - 1];
	}
	for (size_t a = 0; a < i; a++)
		for (size_t b = 0; b < i; b++) {
			double sum = 0;
			for (size_t r = 0; r < t; r++)
				sum += (double)g->x[r * i + a] * (double)g->x[r * i + b];
			g->h[a * i + b] = 2 * sum / (double)t;
		}
}

static void gptq_close(Gptq *g)
{
	free(g->w);
	free(g->x);
	free(g->h);
	free(g->u);
}

/* U upper with U'U = (H + damping)^-1: the inverse by Gauss and Jordan, then its factor row by row. */
static void gptq_factor(Gptq *g)
{
	size_t n = g->i;
	double *a = calloc(n * 2 * n, sizeof *a), mean = 0;
	for (size_t i = 0; i < n; i++)
		mean += g->h[i * n + i] / (double)n;
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < n; j++)
			a[i * 2 * n + j] = g->h[i * n + j];
		a[i * 2 * n + i] += 0.01 * mean + (g->h[i * n + i] == 0);
		a[i * 2 * n + n + i] = 1;
	}
	for (size_t p = 0; p < n; p++)
		for (size_t i = 0; i < n; i++) {
			double by = i == p ? 1 - 1 / a[p * 2 * n + p] : a[i * 2 * n + p] / a[p * 2 * n + p];
			for (size_t j = 0; j < 2 * n; j++)
				a[i * 2 * n + j] -= by * a[p * 2 * n + j];
		}
	for (size_t i = 0; i < n; i++)
		for (size_t j = i; j < n; j++) {
			double sum = a[i * 2 * n + n + j];
			for (size_t p = 0; p < i; p++)
				sum -= g->u[p * n + i] * g->u[p * n + j];
			g->u[i * n + j] = i == j ? sqrt(sum) : sum / g->u[i * n + i];
		}
	free(a);
}

typedef struct Grid {
	float scale, inverse;
} Grid;

static Grid fit_q8_0(const float *x, size_t n)
{
	float top = 0;
	for (size_t k = 0; k < n; k++)
		top = fabsf(x[k]) > top ? fabsf(x[k]) : top;
	float d = top / 127;
	return (Grid){(float)store_round((Store){STORE_F16, 16}, (double)d), d == 0 ? 0 : 1 / d};
}

static float round_q8_0(Grid grid, float x)
{
	return roundf(x * grid.inverse) * grid.scale;
}

static Grid fit_ternary(const float *x, size_t n)
{
	float sum = 0;
	for (size_t k = 0; k < n; k++)
		sum += fabsf(x[k]);
	return (Grid){(float)store_round((Store){STORE_F16, 16}, (double)(sum / 64)), 0};
}

static float round_ternary(Grid grid, float x)
{
	float q = grid.scale == 0 ? 0 : nearbyintf(x / grid.scale);
	return (q < -1 ? -1 : q > 1 ? 1 : q) * grid.scale;
}

/* The published loop, one row after the other, all in one block. */
static float *gptq_reference(Gptq *g, size_t n, Grid (*fit)(const float *, size_t), float (*rounds)(Grid, float))
{
	float *out = calloc(g->o * g->i, sizeof *out), *row = calloc(g->i, sizeof *row);
	for (size_t o = 0; o < g->o; o++) {
		Grid grid = {0};
		for (size_t j = 0; j < g->i; j++)
			row[j] = g->h[j * g->i + j] == 0 ? 0 : g->w[o * g->i + j];
		for (size_t j = 0; j < g->i; j++) {
			if (j % n == 0)
				grid = fit(row + j, n);
			out[o * g->i + j] = rounds(grid, row[j]);
			double error = (double)(row[j] - out[o * g->i + j]) / g->u[j * g->i + j];
			for (size_t k = j + 1; k < g->i; k++)
				row[k] = (float)((double)row[k] - error * g->u[j * g->i + k]);
		}
	}
	free(row);
	return out;
}

/* What the output of the matrix is off by, over all rows of x: tr((w - q) H (w - q)') */
static double output_error(const Gptq *g, const float *q)
{
	double sum = 0;
	for (size_t o = 0; o < g->o; o++)
		for (size_t a = 0; a < g->i; a++) {
			double inner = 0;
			for (size_t b = 0; b < g->i; b++)
				inner += g->h[a * g->i + b] * (double)(g->w[o * g->i + b] - q[o * g->i + b]);
			sum += inner * (double)(g->w[o * g->i + a] - q[o * g->i + a]);
		}
	return sum;
}

static Run gptq_run(const Gptq *g, const char *dtype)
{
	Run r = {.c = compiler_new(), .t = (int64_t)g->t};
	const char *root = getenv("TOP_SRCDIR") ? getenv("TOP_SRCDIR") : ".";
	r.p = program_new(r.c, stdlib_folder());
	r.arguments = scope_new(r.c, NULL);
	CHECK(program_load(r.p, arena_printf(r.c->arena, "%s/examples/gptq_from_h/gptq_from_h.cmp", root)));
	CHECK(program_load_stdlib(r.p));
	argument_dtype(&r, dtype);
	argument(&r, "x", (Value){.kind = VALUE_TENSOR, .text = "rows.safetensors", .tensor = "x", .dimension = ""});
	argument(&r, "damp", value_real((Loc){0}, 0.01));
	argument(&r, "lazy", value_int((Loc){0}, (int64_t)g->lazy));
	return r;
}

static void test_gptq(void)
{
	static const struct {
		const char *dtype;
		size_t i, block, lazy;
		Grid (*fit)(const float *, size_t);
		float (*rounds)(Grid, float);
	} cases[] = {
		{"q8_0", 64, 32, 16, fit_q8_0, round_q8_0},
		{"q8_0", 64, 32, 128, fit_q8_0, round_q8_0},
		{"ternary", 128, 64, 32, fit_ternary, round_ternary},
	};
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		Gptq g;
		size_t size, others = 0;
		gptq_open(&g, 24, cases[c].i, 96, cases[c].lazy);
		gptq_factor(&g);
		Run r = gptq_run(&g, cases[c].dtype);
		CHECK(build(&r, "gptq_from_h", 0, (int64_t)g.i) && r.built.needs_all_rows);
		r.chain.values_only = true;
		const float *got = result(&r, "gptq_from_h", g.w, g.x, (int64_t)g.o, (int64_t)g.i, &size);
		CHECK(r.built.inputs.count == 1 && r.built.inputs.at[0].shape[0] == 96);
		float *expected = gptq_reference(&g, cases[c].block, cases[c].fit, cases[c].rounds);
		for (size_t o = 0; got && o < g.o; o++)
			others += distance(got + o * g.i, expected + o * g.i, g.i) > 1e-3;
		/* a sum in another order may move a weight over a tie; what comes after it in the row differs then */
		CHECK(others <= 2, "%s: %zu of %zu rows differ", cases[c].dtype, others, g.o);
		Run plain = gptq_run(&g, cases[c].dtype);
		const float *nearest = values(&plain, "quantize.rtn", g.w, (int64_t)g.o, (int64_t)g.i);
		double error = got ? output_error(&g, got) : 0, before = nearest ? output_error(&g, nearest) : 0;
		CHECK(error < 0.6 * before, "%s: output error %g, rounded to nearest %g", cases[c].dtype, error, before);
		free(expected);
		run_close(&plain);
		run_close(&r);
		gptq_close(&g);
	}
}

/* A block of q4_K, read as its format says: f16 d and dmin, eight 6-bit scales and minima, 256 codes. */
static void decode_q4_k(const uint8_t *block, float *out)
{
	Store f16 = {STORE_F16, 16};
	float d = (float)store_decode(f16, block[0] | (uint64_t)block[1] << 8);
	float dmin = (float)store_decode(f16, block[2] | (uint64_t)block[3] << 8);
	const uint8_t *s = block + 4, *q = block + 16;
	for (int b = 0; b < 8; b++) {
		int scale = b < 4 ? s[b] & 63 : (s[b + 4] & 15) | (s[b - 4] >> 6) << 4;
		int least = b < 4 ? s[b + 4] & 63 : s[b + 4] >> 4 | (s[b] >> 6) << 4;
		for (int k = 0; k < 32; k++) {
			int code = q[b / 2 * 32 + k] >> (b % 2 ? 4 : 0) & 15;
			out[b * 32 + k] = d * (float)scale * (float)code - dmin * (float)least;
		}
	}
}

/* The grid of a superblock is fitted while the weights before it are rounded; all of its weights are on it. */
static void test_gptq_superblocks(void)
{
	Gptq g;
	size_t size, value_size;
	gptq_open(&g, 6, 512, 24, 128);
	Run r = gptq_run(&g, "q4_K"), seen = gptq_run(&g, "q4_K"), plain = gptq_run(&g, "q4_K");
	const uint8_t *bytes = result(&r, "gptq_from_h", g.w, g.x, 6, 512, &size);
	seen.chain.values_only = true;
	const float *read = result(&seen, "gptq_from_h", g.w, g.x, 6, 512, &value_size);
	const float *nearest = values(&plain, "quantize.rtn", g.w, 6, 512);
	float decoded[6 * 512] = {0};
	CHECK(size == 6 * 2 * 144);
	for (size_t b = 0; bytes && b < size / 144; b++)
		decode_q4_k(bytes + b * 144, decoded + b * 256);
	CHECK(read && !memcmp(read, decoded, sizeof decoded), "the values are not those of the packed blocks");
	double error = output_error(&g, decoded), before = nearest ? output_error(&g, nearest) : 0;
	CHECK(error < 0.8 * before, "q4_K: output error %g, rounded to nearest %g", error, before);
	run_close(&r);
	run_close(&seen);
	run_close(&plain);
	gptq_close(&g);
}

int main(void)
{
	test_gptq();
	test_gptq_superblocks();
	test_halves();
	test_linalg();
	test_rank();
	test_any_rows();
	return finish("elaborate_test");
}
