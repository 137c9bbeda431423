/* SPDX-License-Identifier: MIT
 *
 * kernel_test.c: kernels built by hand, verified, run by the interpreter and
 * compared with C that says the same in its own words; folding; the verifier's
 * refusals; the printer. `kernel_test [ROOT]`: the golden bytes are looked for
 * beside ROOT (else beside the current folder) and skipped if they are not there.
 */
#include "build.h"
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_LARGEST = 300 };
static const int sizes[] = {0, 1, 7, 8, 9, 255, 256, 257, 300};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* ---- short words for building ---- */

static KExpr *f32(Kernel *k, double value)
{
	return kexpr_real(k, T_F32, value);
}

static KIndex *range(Kernel *k, const char *name, int64_t lo, int64_t hi)
{
	return kindex_new(k, name_of(k->c, name), i32(k, lo), i32(k, hi), 1);
}

static KBuffer *buffer(
	Kernel *k, KBufferKind kind, const char *name, const char *type, uint32_t rank, int64_t a, int64_t b)
{
	KExpr *extents[] = {i32(k, a), i32(k, b)};
	return kbuffer_new(k, kind, name_of(k->c, name), store(k, type), rank, extents);
}

static KExpr *load1(Kernel *k, KBuffer *from, KExpr *sub)
{
	return kexpr_load(k, from, &sub);
}

static KExpr *load2(Kernel *k, KBuffer *from, KExpr *a, KExpr *b)
{
	return kexpr_load(k, from, (KExpr *[]){a, b});
}

static Kernel *kernel(Compiler *c, const char *name)
{
	return kernel_new(c, name_of(c, name));
}

static void run(Kernel *k, void *const *inputs, void *const *outputs, int64_t rows)
{
	bool is_good = kernel_verify(k);
	CHECK(is_good, "%s", k->name);
	if (is_good)
		CHECK(kernel_interpret(k, inputs, outputs, &rows), "%s", k->name);
	diag_flush(k->c, stdout);
}

/* Ties, zeros of both signs, and a NaN now and then. */
static void fill(float *x, int count, bool with_nan)
{
	for (int i = 0; i < count; i++) {
		uint32_t r = next_random();
		x[i] = (float)((int)(r % 2001) - 1000) * (r & 0x10000 ? 0.25f : 0.001f);
		if (r >> 28 == 3)
			x[i] = r & 1 ? 0.0f : -0.0f;
		if (with_nan && r >> 27 == 9)
			x[i] = NAN;
	}
}

static bool same_bits(float a, float b)
{
	return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* ---- reductions over one axis ---- */

static float sum_of(const float *x, int n, bool in_order)
{
	float partial[64] = {0}, sum = 0;
	if (n <= 256 || in_order) {
		for (int i = 0; i < n; i++)
			sum += x[i];
		return sum;
	}
	for (int i = 0; i < n; i++)
		partial[i & 63] += x[i];
	for (int half = 32; half; half >>= 1)
		for (int i = 0; i < half; i++)
			partial[i] += partial[i + half];
	return partial[0];
}

static bool goes_before(const float *x, int a, int b)
{
	if (isnan(x[a]) || isnan(x[b]))
		return isnan(x[a]) == isnan(x[b]) ? a < b : isnan(x[b]);
	return x[a] < x[b] || (x[a] == x[b] && a < b);
}

static int rank_of(const float *x, int n, int at_place)
{
	int rank = 0;
	for (int i = 0; i < n; i++)
		rank += i != at_place && goes_before(x, i, at_place);
	return rank;
}

static float expected_reduce(KReduce op, const float *x, int n)
{
	float best = op == REDUCE_MIN || op == REDUCE_ARGMIN ? INFINITY : -INFINITY, product = 1;
	int place = -1, count = 0;
	for (int i = 0; i < n; i++) {
		product *= x[i];
		count += x[i] > 0;
		bool is_max = op == REDUCE_MAX || op == REDUCE_ARGMAX;
		if (!isnan(x[i]) && (place < 0 || (is_max ? x[i] > best : x[i] < best))) {
			best = x[i];
			place = i;
		}
	}
	switch (op) {
	case REDUCE_SUM:
		return sum_of(x, n, false);
	case REDUCE_PROD:
		return product;
	case REDUCE_MAX:
	case REDUCE_MIN:
		return best == 0 ? 0.0f : best;
	case REDUCE_ANY:
		return count > 0;
	case REDUCE_ALL:
		return count == n;
	case REDUCE_COUNT:
		return (float)count;
	case REDUCE_ARGMAX:
	case REDUCE_ARGMIN:
		return place < 0 ? 0 : (float)place;
	case REDUCE_QUANTILE: {
		int rank = (int)ceilf(0.3f * (float)n) - 1;
		rank = rank < 0 ? 0 : rank > n - 1 ? n - 1 : rank;
		for (int i = 0; i < n; i++)
			if (rank_of(x, n, i) == rank)
				return x[i];
		return 0;
	}
	}
	return 0;
}

static void test_reduce(Compiler *c, KReduce op, int n, bool with_nan)
{
	float x[3][SIZE_LARGEST], result[3];
	fill(x[0], 3 * SIZE_LARGEST, with_nan);
	Kernel *k = kernel(c, "reduce");
	KBuffer *in = buffer(k, BUFFER_INPUT, "x", "f32", 2, 3, SIZE_LARGEST);
	KBuffer *out = buffer(k, BUFFER_OUTPUT, "y", "f32", 1, 3, 0);
	KIndex *o = range(k, "o", 0, 3), *i = range(k, "i", 0, n);
	KExpr *sub = at(k, o), *value = load2(k, in, sub, at(k, i));
	if (op == REDUCE_ANY || op == REDUCE_ALL || op == REDUCE_COUNT)
		value = kexpr_binary(k, OP_LT, f32(k, 0), value);
	KStep *step = kstep_reduce(k, op, out, &sub, &o, 1, &i, 1, value);
	if (op == REDUCE_QUANTILE)
		step->limit = f32(k, 0.3f);
	push(k, &k->steps, step);
	run(k, (void *[]){x}, (void *[]){result}, 0);
	for (int row = 0; row < 3; row++) {
		float expected = expected_reduce(op, x[row], n);
		CHECK(same_bits(result[row], expected), "reduce %d of %d: %a, not %a", op, n, (double)result[row],
			(double)expected);
	}
}

static void test_reduces(Compiler *c)
{
	for (int s = 0; s < SIZES; s++)
		for (int op = REDUCE_SUM; op <= REDUCE_QUANTILE; op++)
			for (int with_nan = 0; with_nan < 2; with_nan++)
				test_reduce(c, (KReduce)op, sizes[s], with_nan);
}

/* sum over (p, q): 20 x 30 goes axis by axis, 4 x 30 and in_order go row-major; 3 x 300 has partials inside */
static void test_sum_of_axes(Compiler *c, int m, int n, bool in_order)
{
	enum { MOST = 900 };
	float x[MOST], result, expected, parts[SIZE_LARGEST];
	fill(x, m * n, false);
	Kernel *k = kernel(c, "sums");
	KBuffer *in = buffer(k, BUFFER_INPUT, "x", "f32", 2, m, n), *out = buffer(k, BUFFER_OUTPUT, "y", "f32", 0, 0, 0);
	KIndex *over[] = {range(k, "p", 0, m), range(k, "q", 0, n)};
	KStep *step =
		kstep_reduce(k, REDUCE_SUM, out, NULL, NULL, 0, over, 2, load2(k, in, at(k, over[0]), at(k, over[1])));
	step->in_order = in_order;
	push(k, &k->steps, step);
	run(k, (void *[]){x}, (void *[]){&result}, 0);
	for (int p = 0; p < m; p++)
		parts[p] = sum_of(x + p * n, n, false);
	expected = m * n <= 256 || in_order ? sum_of(x, m * n, true) : sum_of(parts, m, false);
	CHECK(same_bits(result, expected), "%d x %d: %a, not %a", m, n, (double)result, (double)expected);
}

/* Integers wrap, and know no -inf. */
static void test_integer_reduces(Compiler *c)
{
	int32_t x[] = {INT32_MAX, 5, -7, 5}, result[6];
	Kernel *k = kernel(c, "integers");
	KBuffer *in = buffer(k, BUFFER_INPUT, "x", "i32", 1, 4, 0), *out = buffer(k, BUFFER_OUTPUT, "y", "i32", 1, 6, 0);
	static const struct {
		KReduce op;
		int n;
	} rows[] = {
		{REDUCE_SUM, 2}, {REDUCE_MAX, 0}, {REDUCE_MIN, 4}, {REDUCE_ARGMIN, 4}, {REDUCE_PROD, 2}, {REDUCE_QUANTILE, 4}};
	for (int row = 0; row < 6; row++) {
		KIndex *i = range(k, "i", 0, rows[row].n);
		KExpr *sub = i32(k, row);
		KStep *step = kstep_reduce(k, rows[row].op, out, &sub, NULL, 0, &i, 1, load1(k, in, at(k, i)));
		if (rows[row].op == REDUCE_QUANTILE)
			step->limit = kexpr_real(k, T_F64, 0.5);
		push(k, &k->steps, step);
	}
	run(k, (void *[]){x}, (void *[]){result}, 0);
	CHECK(result[0] == INT32_MIN + 4 && result[1] == INT32_MIN && result[2] == -7, "%d %d %d", result[0], result[1],
		result[2]);
	CHECK(result[3] == 2 && result[4] == INT32_MAX - 4 && result[5] == 5, "%d %d %d", result[3], result[4], result[5]);
}

/* ---- scans ---- */

typedef struct Scans {
	int32_t rank[2][SIZE_LARGEST];
	uint8_t smallest[2][SIZE_LARGEST];
	float prefix[2][SIZE_LARGEST], by_key[2][SIZE_LARGEST], sorted[2][SIZE_LARGEST];
} Scans;

static void check_scans(const Scans *got, const float *x, const float *key, int row, int n)
{
	float sum = 0, by_key[SIZE_LARGEST] = {0};
	for (int rank = 0; rank < n; rank++)
		for (int i = 0; i < n; i++)
			if (rank_of(key, n, i) == rank)
				by_key[i] = sum += x[i];
	sum = 0;
	unsigned bad = 0;
	for (int i = 0; i < n; i++) {
		int rank = rank_of(x, n, i);
		sum += x[i];
		bad += got->rank[row][i] != rank;
		bad += got->smallest[row][i] != (rank < 5);
		bad += !same_bits(got->sorted[row][rank], x[i]);
		bad += !same_bits(got->prefix[row][i], sum) || !same_bits(got->by_key[row][i], by_key[i]);
	}
	CHECK(bad == 0, "scans of %d: %u wrong", n, bad);
}

static void test_scans(Compiler *c, int n, bool with_nan)
{
	static Scans got;
	static float x[2][SIZE_LARGEST], key[2][SIZE_LARGEST];
	fill(x[0], 2 * SIZE_LARGEST, with_nan);
	fill(key[0], 2 * SIZE_LARGEST, with_nan);
	Kernel *k = kernel(c, "scans");
	KBuffer *in = buffer(k, BUFFER_INPUT, "x", "f32", 2, 2, SIZE_LARGEST);
	KBuffer *keys = buffer(k, BUFFER_INPUT, "key", "f32", 2, 2, SIZE_LARGEST);
	static const struct {
		const char *name, *type;
		KScan op;
		bool has_key;
	} rows[] = {{"rank", "i32", SCAN_RANK, false}, {"smallest", "bool", SCAN_SMALLEST, false},
		{"prefix", "f32", SCAN_PREFIX, false}, {"by_key", "f32", SCAN_PREFIX, true},
		{"sorted", "f32", SCAN_SORT, false}};
	for (int row = 0; row < 5; row++) {
		KBuffer *out = buffer(k, BUFFER_OUTPUT, rows[row].name, rows[row].type, 2, 2, SIZE_LARGEST);
		KIndex *o = range(k, "o", 0, 2), *i = range(k, "i", 0, n);
		KExpr *subs[] = {at(k, o), at(k, i)};
		KStep *step = kstep_scan(k, rows[row].op, out, subs, &o, 1, &i, 1, kexpr_load(k, in, subs));
		if (rows[row].op == SCAN_SMALLEST)
			step->limit = i32(k, 5);
		if (rows[row].has_key)
			step->key = kexpr_load(k, keys, subs);
		push(k, &k->steps, step);
	}
	run(k, (void *[]){x, key}, (void *[]){got.rank, got.smallest, got.prefix, got.by_key, got.sorted}, 0);
	for (int row = 0; row < 2; row++)
		check_scans(&got, x[row], key[row], row, n);
}

/* ---- an encoder: 32 floats to an f16 scale and 32 bytes ---- */

typedef struct Encoder {
	Kernel *k;
	KBuffer *in, *out, *top, *scale;
	KIndex *o, *g;
} Encoder;

/* The three equations for fixed o, g: domain holds these two in the flat kernel and nothing in the scheduled one. */
static void encoder_steps(Encoder *e, KStepVec *to, bool is_flat)
{
	Kernel *k = e->k;
	KIndex *i = range(k, "k", 0, 32), *j = range(k, "k", 0, 32), *domain[] = {e->o, e->g, j};
	KExpr *both[] = {at(k, e->o), at(k, e->g)}, *block = mul(k, both[1], i32(k, 32)),
		  *byte = mul(k, both[1], i32(k, 34));
	uint32_t outer = is_flat ? 2 : 0;
	KExpr *magnitude = kexpr_unary(k, OP_ABS, load2(k, e->in, both[0], add(k, block, at(k, i))));
	push(k, to, kstep_reduce(k, REDUCE_MAX, e->top, both, domain, outer, &i, 1, magnitude));
	KExpr *scale = kexpr_binary(k, OP_DIV, kexpr_load(k, e->top, both), f32(k, 127));
	push(k, to, kstep_map(k, e->scale, both, domain, outer, scale));
	KExpr *d = kexpr_load(k, e->scale, both);
	KStep *head = kstep_map(k, e->out, (KExpr *[]){both[0], byte}, domain, outer, d);
	head->store = store(k, "f16");
	push(k, to, head);
	KExpr *is_zero = kexpr_binary(k, OP_EQ, d, f32(k, 0));
	KExpr *inverse = kexpr_select(k, is_zero, f32(k, 0), kexpr_binary(k, OP_DIV, f32(k, 1), d));
	KExpr *q = kexpr_unary(k, OP_ROUND, mul(k, load2(k, e->in, both[0], add(k, block, at(k, j))), inverse));
	KExpr *place[] = {both[0], add(k, add(k, byte, i32(k, 2)), at(k, j))};
	KStep *codes = kstep_map(k, e->out, place, is_flat ? domain : &j, is_flat ? 3 : 1, q);
	codes->store = store(k, "i8");
	codes->is_vector = !is_flat;
	push(k, to, codes);
}

static Kernel *build_encoder(Compiler *c, bool is_flat)
{
	Encoder e = {.k = kernel(c, is_flat ? "encode" : "encode_loops")};
	Kernel *k = e.k;
	KExpr *rows = kexpr_param(k, 0);
	e.in = kbuffer_new(k, BUFFER_INPUT, name_of(c, "w"), store(k, "f32"), 2, (KExpr *[]){rows, i32(k, 512)});
	e.out = kbuffer_new(k, BUFFER_OUTPUT, name_of(c, "bytes"), store(k, "u8"), 2, (KExpr *[]){rows, i32(k, 544)});
	KExpr *both[] = {rows, i32(k, 16)};
	e.top = kbuffer_new(k, BUFFER_TEMP, name_of(c, "top"), store(k, "f32"), 2, both);
	e.scale = kbuffer_new(k, BUFFER_TEMP, name_of(c, "d"), store(k, "f32"), 2, both);
	e.o = kindex_new(k, name_of(c, "o"), i32(k, 0), rows, 1);
	e.g = range(k, "g", 0, 16);
	if (is_flat) {
		encoder_steps(&e, &k->steps, true);
		return k;
	}
	k->is_scheduled = true;
	KStep *outer = kstep_loop(k, e.o, LOOP_ROWS, 0), *inner = kstep_loop(k, e.g, LOOP_LANES, 8);
	push(k, &k->steps, outer);
	push(k, &outer->body, inner);
	encoder_steps(&e, &inner->body, false);
	e.top->scope = e.scale->scope = outer;
	return k;
}

static void *read_golden(const char *root, const char *name, size_t bytes)
{
	char path[1024];
	snprintf(path, sizeof path, "%s/../shared/golden/ggml/%s", root, name);
	FILE *file = fopen(path, "rb");
	if (!file)
		return NULL;
	void *data = malloc(bytes);
	size_t got = fread(data, 1, bytes, file);
	fclose(file);
	CHECK(got == bytes, "%s is short", path);
	return data;
}

static void test_encoder(Compiler *c, const char *root)
{
	enum { ROWS = 32 };
	static uint8_t flat[ROWS][544], loops[ROWS][544];
	float *input = read_golden(root, "input.f32", ROWS * 512 * sizeof(float));
	uint8_t *expected = read_golden(root, "q8_0.bin", sizeof flat);
	bool has_golden = input && expected;
	if (!input) {
		input = malloc(ROWS * 512 * sizeof(float));
		fill(input, ROWS * 512, false);
	}
	run(build_encoder(c, true), (void *[]){input}, (void *[]){flat}, ROWS);
	run(build_encoder(c, false), (void *[]){input}, (void *[]){loops}, ROWS);
	CHECK(memcmp(flat, loops, sizeof flat) == 0, "flat and scheduled differ");
	CHECK(!has_golden || memcmp(flat, expected, sizeof flat) == 0, "the bytes are not q8_0.bin's");
	if (!has_golden)
		printf("kernel_test: no golden bytes beside %s\n", root);
	free(input);
	free(expected);
}

/* ---- carried loops, branches, triangular bounds ---- */

/* f[t] = f[t-1] + f[t-2]; every third then doubled; lower[i] = sum[j < i + 1](f[j]) */
static void test_loops(Compiler *c)
{
	int32_t f[10], lower[10], expected = 0;
	Kernel *k = kernel(c, "loops");
	KBuffer *out = buffer(k, BUFFER_OUTPUT, "f", "i32", 1, 10, 0),
			*sums = buffer(k, BUFFER_OUTPUT, "s", "i32", 1, 10, 0);
	KIndex *start = range(k, "i", 0, 2), *t = range(k, "t", 2, 10);
	KExpr *place = at(k, start), *turn = at(k, t);
	push(k, &k->steps, kstep_map(k, out, &place, &start, 1, i32(k, 1)));
	KStep *loop = kstep_loop(k, t, LOOP_SEQUENTIAL, 0);
	push(k, &k->steps, loop);
	KExpr *next = add(k, load1(k, out, add(k, turn, i32(k, -1))), load1(k, out, add(k, turn, i32(k, -2))));
	push(k, &loop->body, kstep_map(k, out, &turn, NULL, 0, next));
	KExpr *third = kexpr_binary(k, OP_IMOD, turn, i32(k, 3));
	KStep *branch = kstep_if(k, kexpr_binary(k, OP_EQ, third, i32(k, 0)));
	push(k, &loop->body, branch);
	push(k, &branch->body, kstep_map(k, out, &turn, NULL, 0, mul(k, load1(k, out, turn), i32(k, 2))));
	KIndex *i = range(k, "i", 0, 10);
	KExpr *row = at(k, i);
	KIndex *j = kindex_new(k, name_of(c, "j"), i32(k, 0), add(k, row, i32(k, 1)), 1);
	push(k, &k->steps, kstep_reduce(k, REDUCE_SUM, sums, &row, &i, 1, &j, 1, load1(k, out, at(k, j))));
	run(k, NULL, (void *[]){f, lower}, 0);
	static const int32_t fib[] = {1, 1, 2, 6, 8, 14, 44, 58, 102, 320};
	for (int n = 0; n < 10; n++) {
		expected += fib[n];
		CHECK(f[n] == fib[n] && lower[n] == expected, "%d: %d, %d", n, f[n], lower[n]);
	}
}

/* What lives in a loop holds garbage when a turn begins, and so does what was never written. */
static void test_garbage(Compiler *c)
{
	float result[3];
	Kernel *k = kernel(c, "garbage");
	k->is_scheduled = true;
	KBuffer *out = buffer(k, BUFFER_OUTPUT, "y", "f32", 1, 3, 0), *temp = buffer(k, BUFFER_TEMP, "t", "f32", 0, 0, 0);
	KIndex *t = range(k, "t", 0, 3);
	KStep *loop = kstep_loop(k, t, LOOP_SEQUENTIAL, 0);
	temp->scope = loop;
	push(k, &k->steps, loop);
	KExpr *turn = at(k, t);
	push(k, &loop->body, kstep_map(k, out, &turn, NULL, 0, kexpr_load(k, temp, NULL)));
	push(k, &loop->body, kstep_map(k, temp, NULL, NULL, 0, f32(k, 1)));
	run(k, NULL, (void *[]){result}, 0);
	CHECK(isnan(result[0]) && isnan(result[1]) && isnan(result[2]), "%g", (double)result[1]);
}

/* ---- bytes read and written as other types ---- */

static void test_typed_bytes(Compiler *c)
{
	static const char *const types[] = {"f16", "i16", "u32", "f64", "u64", "i8", "bf16", "e8m0"};
	uint8_t in_bytes[64], out_bytes[64];
	for (size_t n = 0; n < sizeof types / sizeof *types; n++) {
		for (int i = 0; i < 64; i++) /* no NaN: those are stored as the one quiet NaN */
			in_bytes[i] = (uint8_t)(next_random() % 120), out_bytes[i] = 0;
		Kernel *k = kernel(c, types[n]);
		KBuffer *in = buffer(k, BUFFER_INPUT, "x", "u8", 1, 64, 0),
				*out = buffer(k, BUFFER_OUTPUT, "y", "u8", 1, 64, 0);
		Store s = store(k, types[n]);
		int width = (int)store_bytes(s), count = 61 / width;
		KIndex *i = range(k, "i", 0, count);
		KExpr *offset = add(k, mul(k, at(k, i), i32(k, width)), i32(k, 3));
		KStep *step = kstep_map(k, out, &offset, &i, 1, kexpr_load_as(k, in, &offset, s));
		step->store = s;
		push(k, &k->steps, step);
		run(k, (void *[]){in_bytes}, (void *[]){out_bytes}, 0);
		CHECK(memcmp(in_bytes + 3, out_bytes + 3, (size_t)(count * width)) == 0, "%s", types[n]);
	}
}

int main(int argc, char **argv)
{
	const char *root = argc > 1 ? argv[1] : getenv("srcdir") ? getenv("srcdir") : ".";
	Compiler *c = compiler_new();
	test_reduces(c);
	test_sum_of_axes(c, 20, 30, false);
	test_sum_of_axes(c, 20, 30, true);
	test_sum_of_axes(c, 4, 30, false);
	test_sum_of_axes(c, 3, 300, false);
	test_sum_of_axes(c, 300, 3, false);
	test_integer_reduces(c);
	for (int s = 0; s < SIZES; s++) {
		test_scans(c, sizes[s], false);
		test_scans(c, sizes[s], true);
	}
	test_encoder(c, root);
	test_loops(c);
	test_garbage(c);
	test_typed_bytes(c);
	compiler_free(c);
	return finish("kernel_test");
}
