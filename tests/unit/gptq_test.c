/* SPDX-License-Identifier: MIT
 *
 * gptq_test.c: the pass of examples/gptq_from_h against the published loop in plain
 * C, row by row, with an inverse of another kind.
 */
#include "chain.h"

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
		size_t o, i, block, lazy;
		Grid (*fit)(const float *, size_t);
		float (*rounds)(Grid, float);
	} cases[] = {
		{"q8_0", 24, 64, 32, 16, fit_q8_0, round_q8_0},
		{"q8_0", 24, 64, 32, 128, fit_q8_0, round_q8_0},
		{"q8_0", 1, 64, 32, 16, fit_q8_0, round_q8_0}, /* rows that no number of lanes divides */
		{"q8_0", 37, 64, 32, 16, fit_q8_0, round_q8_0},
		{"ternary", 24, 128, 64, 32, fit_ternary, round_ternary},
	};
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		Gptq g;
		size_t size, others = 0;
		gptq_open(&g, cases[c].o, cases[c].i, 96, cases[c].lazy);
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
	return finish("gptq_test");
}
