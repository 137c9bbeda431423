/* SPDX-License-Identifier: MIT
 *
 * llvm_test.c: scheduled kernels built by hand, compiled, run in memory, and compared
 * bit for bit with the interpreter, in scalar, vector and lane loops, at sizes around
 * the widths of vectors, on random and on awkward data.
 */
#include "llvm.h"
#include "check.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- short words for building ---- */

static KExpr *i32(Kernel *k, int64_t value)
{
	return kexpr_int(k, T_I32, value);
}

static KIndex *range_to(Kernel *k, const char *name, KExpr *hi)
{
	return kindex_new(k, name_of(k->c, name), i32(k, 0), hi, 1);
}

static KIndex *range(Kernel *k, const char *name, int64_t hi)
{
	return range_to(k, name, i32(k, hi));
}

static KExpr *at(Kernel *k, KIndex *index)
{
	return kexpr_index(k, index);
}

static KExpr *add(Kernel *k, KExpr *a, KExpr *b)
{
	return kexpr_binary(k, OP_ADD, a, b);
}

static KExpr *mul(Kernel *k, KExpr *a, KExpr *b)
{
	return kexpr_binary(k, OP_MUL, a, b);
}

static Store store(Kernel *k, const char *name)
{
	return store_find(name_of(k->c, name));
}

static void push(KStepVec *to, KStep *step, Kernel *k)
{
	vec_push(k->c->arena, to, step);
}

/* ---- cases: a kernel with its data ---- */

enum { PORTS = 4 };

typedef struct Case {
	Kernel *k;
	int64_t params[4]; /* rows, .. */
	void *in[PORTS];
	size_t out_bytes[PORTS];
	uint64_t work_bytes;
} Case;

typedef struct Suite {
	Compiler *c;
	VEC(Case) cases;
} Suite;

static Suite suite_new(void)
{
	return (Suite){.c = compiler_new()};
}

static Kernel *kernel_named(Suite *s, const char *what)
{
	return kernel_new(s->c, name_of(s->c, arena_printf(s->c->arena, "%s_%zu", what, s->cases.count)));
}

static uint64_t random_state = 7;

static uint32_t next_random(void)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(random_state >> 32);
}

static const float awkward[] = {0.0f, -0.0f, 1.0f, -1.0f, 0.5f, -0.5f, 1.5f, 2.5f, 0.49999997f, -0.49999997f,
	8388607.5f, 8388608.0f, 16777216.0f, 2147483648.0f, -2147483648.0f, 2147483520.0f, 4294967296.0f, 9.3e18f, -9.3e18f,
	1e-40f, -1e-45f, 3.4e38f, -3.4e38f, INFINITY, -INFINITY, NAN, -NAN, 65504.0f, 65520.0f, 65519.0f, 448.0f, 464.0f,
	57344.0f, 61440.0f, 6.0f, 5.0f, 127.5f, -128.5f, 255.5f, 6.1e-5f, 5.9e-8f, 2.9e-8f, 0.0625f};
enum { AWKWARD = sizeof awkward / sizeof *awkward };

/* kind 0: awkward values and random bits; 1: plain numbers with ties; 2: without NaN, normal-like */
static float *floats(Suite *s, size_t count, int kind)
{
	float *x = arena_array(s->c->arena, float, count + 1);
	for (size_t i = 0; i < count; i++) {
		uint32_t r = next_random(), bits = next_random();
		if (kind == 0 && r % 3 == 0)
			memcpy(&x[i], &bits, sizeof bits);
		else if (kind == 0 && r % 3 == 1)
			x[i] = awkward[bits % AWKWARD];
		else if (kind == 2)
			x[i] = ((float)(bits & 0xffff) + (float)(bits >> 16) - 65536.0f) * 1e-6f;
		else
			x[i] = (float)((int)(bits % 33) - 16) * 0.25f;
		if (kind == 1 && r % 11 == 0)
			x[i] = r & 4096 ? -0.0f : NAN;
	}
	return x;
}

static void *bytes(Suite *s, size_t count)
{
	uint8_t *x = arena_alloc(s->c->arena, count + 1);
	for (size_t i = 0; i < count; i++)
		x[i] = (uint8_t)(next_random() >> 8);
	return x;
}

static void *call(Suite *s, Case *c, CmprtKernel *kernel, int64_t begin, int64_t end, void **out)
{
	Arena *arena = s->c->arena;
	size_t in = c->k->inputs.count, outs = c->k->outputs.count;
	void **buffers = arena_array(arena, void *, in + outs + 4);
	for (size_t i = 0; i < in; i++)
		buffers[i] = c->in[i];
	for (size_t i = 0; i < outs; i++)
		buffers[in + i] = out[i];
	for (size_t i = 0; i < 4; i++)
		buffers[in + outs + i] = arena_alloc(arena, c->work_bytes);
	char *scratch = arena_alloc(arena, c->k->scratch_bytes * 4 + 64);
	scratch += 64 - (uintptr_t)scratch % 64;
	CmprtFrame frame = {buffers, c->params, scratch};
	kernel(&frame, begin, end);
	return NULL;
}

static void compare(Suite *s, Case *c, Jit *jit)
{
	CmprtKernel *kernel = (CmprtKernel *)jit_symbol(jit, c->k->name);
	CHECK(kernel != NULL, "%s", c->k->name);
	if (!kernel)
		return;
	void *expected[PORTS], *got[PORTS];
	for (size_t i = 0; i < c->k->outputs.count; i++) {
		expected[i] = arena_alloc(s->c->arena, c->out_bytes[i] + 64);
		got[i] = arena_alloc(s->c->arena, c->out_bytes[i] + 64);
	}
	CHECK(kernel_interpret(c->k, c->in, expected, c->params), "%s", c->k->name);
	KStep *first = c->k->steps.at[0];
	bool has_rows = c->k->steps.count == 1 && first->kind == STEP_LOOP && first->mode == LOOP_ROWS;
	int64_t middle = has_rows ? c->params[0] / 2 : 0;
	if (has_rows)
		call(s, c, kernel, 0, middle, got);
	call(s, c, kernel, middle, c->params[0], got);
	for (size_t i = 0; i < c->k->outputs.count; i++) {
		size_t bad = 0;
		while (bad < c->out_bytes[i] + 64 && ((char *)expected[i])[bad] == ((char *)got[i])[bad])
			bad++;
		CHECK(bad == c->out_bytes[i] + 64, "%s output %zu differs at byte %zu of %zu: %08x, not %08x", c->k->name, i,
			bad, c->out_bytes[i], *(uint32_t *)((char *)got[i] + bad / 4 * 4),
			*(uint32_t *)((char *)expected[i] + bad / 4 * 4));
	}
}

static void suite_run(Suite *s, const char *what, const char *cpu)
{
	ModuleTarget target = {.cpu = cpu};
	Module *m = module_new(s->c, &target);
	bool is_good = m != NULL;
	for (size_t i = 0; is_good && i < s->cases.count; i++) {
		is_good = kernel_verify(s->cases.at[i].k) && module_add_kernel(m, s->cases.at[i].k);
		CHECK(is_good, "%s", s->cases.at[i].k->name);
	}
	const char *shown = getenv("LLVM_TEST_PRINT");
	if (shown && strcmp(shown, what) == 0) {
		Text text = {.arena = s->c->arena};
		for (size_t i = 0; i < s->cases.count; i++)
			kernel_print(s->cases.at[i].k, &text);
		module_print(m, &text);
		fwrite(text.at, 1, text.count, stderr);
	}
	ObjectBytes object;
	is_good = is_good && module_optimize(m);
	is_good = is_good && module_object(m, &object);
	diag_flush(s->c, stdout);
	CHECK(is_good, "%s on %s", what, cpu);
	if (is_good) {
		Jit *jit = jit_new(s->c, &object);
		for (size_t i = 0; jit && i < s->cases.count; i++)
			compare(s, &s->cases.at[i], jit);
		if (jit)
			jit_free(jit);
	}
	diag_flush(s->c, stdout);
	if (m)
		module_free(m);
}

/* ---- elementwise: one value of three inputs, in every mode ---- */

typedef enum Way { SCALAR, VECTOR, LANES, LANE_BLOCKS, WAYS } Way;
enum { BLOCK = 20, LANE_COUNT = 8 };

typedef KExpr *Build(Kernel *k, KExpr **in, int number);

static KBuffer *matrix(Kernel *k, KBufferKind kind, const char *name, const char *type, int64_t columns)
{
	KExpr *extents[] = {kexpr_param(k, 0), i32(k, columns ? columns : 1)}; /* an extent is never 0 */
	return kbuffer_new(k, kind, name_of(k->c, name), store(k, type), 2, extents);
}

/* rows { [lanes {] out[r, j] = build(in0[r, j], in1[r, j], in2[r, j]) } */
static void elementwise(Suite *s, Way way, int64_t size, const char *const *types, const char *out_type,
	void *const *data, Build *build, int number)
{
	Kernel *k = kernel_named(s, "map");
	KIndex *r = range_to(k, "r", kexpr_cast(k, T_I32, kexpr_param(k, 0)));
	int64_t columns = way == LANE_BLOCKS ? size * BLOCK : size;
	KIndex *g = range(k, "g", size), *j = range(k, "j", way == LANE_BLOCKS ? BLOCK : size);
	KExpr *column = way == LANES ? at(k, g) : at(k, j), *in[3];
	if (way == LANE_BLOCKS)
		column = add(k, mul(k, at(k, g), i32(k, BLOCK)), at(k, j));
	Case c = {.k = k, .params = {3}};
	for (int i = 0; i < 3; i++) {
		KBuffer *from = matrix(k, BUFFER_INPUT, "in", types[i], columns);
		in[i] = kexpr_load(k, from, (KExpr *[]){at(k, r), column});
		c.in[i] = data[i];
	}
	KBuffer *to = matrix(k, BUFFER_OUTPUT, "out", out_type, columns);
	c.out_bytes[0] = 3 * (size_t)(columns ? columns : 1) * store_bytes(to->store);
	KStep *step = kstep_map(k, to, (KExpr *[]){at(k, r), column}, &j, way == LANES ? 0 : 1, build(k, in, number));
	step->is_vector = way == VECTOR;
	KStep *rows = kstep_loop(k, r, LOOP_ROWS, 0), *lanes = kstep_loop(k, g, LOOP_LANES, LANE_COUNT);
	push(&k->steps, rows, k);
	push(&rows->body, way >= LANES ? lanes : step, k);
	if (way >= LANES)
		push(&lanes->body, step, k);
	k->is_scheduled = true;
	vec_push(s->c->arena, &s->cases, c);
}

static KExpr *apply_op(Kernel *k, KExpr **in, int number)
{
	KOp op = (KOp)number;
	if (op == OP_SELECT)
		return kexpr_select(k, kexpr_binary(k, OP_LT, in[0], in[1]), in[1], in[2]);
	return kop_arity(op) == 1 ? kexpr_unary(k, op, in[0]) : kexpr_binary(k, op, in[0], in[1]);
}

static bool is_plain(KOp op, KType type)
{
	return op > OP_LOAD && op != OP_CAST && op != OP_STORE_AS && op != OP_BITS && op != OP_FROM_BITS &&
		   (op == OP_SELECT || kop_takes(op, type));
}

static const char *type_name(KType type)
{
	static const char *const names[] = {
		[T_BOOL] = "bool", [T_I32] = "i32", [T_I64] = "i64", [T_F32] = "f32", [T_F64] = "f64"};
	return names[type];
}

static void *values_of(Suite *s, KType type, size_t count)
{
	if (type == T_F32)
		return floats(s, count, 0);
	if (type == T_BOOL) {
		uint8_t *x = bytes(s, count);
		for (size_t i = 0; i < count; i++)
			x[i] &= 1;
		return x;
	}
	if (type == T_F64) {
		double *x = arena_array(s->c->arena, double, count);
		float *from = floats(s, count, 0);
		for (size_t i = 0; i < count; i++)
			x[i] = (double)from[i] * (next_random() % 2 ? 1.0 : 1.0000000001);
		return x;
	}
	int64_t *x = bytes(s, count * 8);
	int32_t *narrow = (int32_t *)x;
	for (size_t i = 0; i < count; i++) {
		uint32_t r = next_random() % 4;
		int64_t small = (int64_t)(next_random() % 80) - 40, edge = r == 1 ? INT32_MIN : INT64_MIN;
		if (type == T_I32)
			narrow[i] = r == 0 ? narrow[i] : r == 1 ? INT32_MIN : (int32_t)small;
		else
			x[i] = r == 0 ? x[i] : r == 1 ? edge : small;
	}
	return x;
}

static void test_operations(const char *cpu)
{
	Suite s = suite_new();
	for (KType type = T_BOOL; type <= T_F64; type++) {
		const char *types[] = {type_name(type), type_name(type), type_name(type)};
		void *data[3];
		for (int i = 0; i < 3; i++)
			data[i] = values_of(&s, type, 3 * 600);
		for (KOp op = 0; op < OP_COUNT; op++) {
			if (!is_plain(op, type))
				continue;
			bool gives_bool = op == OP_SELECT ? false : kop_gives(op, type, (Store){0}) == T_BOOL;
			const char *out = gives_bool ? "bool" : type_name(type);
			Way way = (Way)(op % 2 ? VECTOR : LANES);
			elementwise(&s, SCALAR, 200, types, out, data, apply_op, (int)op);
			elementwise(&s, way, 200, types, out, data, apply_op, (int)op);
		}
	}
	suite_run(&s, "operations", cpu);
	compiler_free(s.c);
}

static KExpr *affine(Kernel *k, KExpr **in, int number)
{
	KExpr *y = kexpr_binary(k, OP_SUB, mul(k, in[0], in[1]), in[2]);
	return number ? kexpr_unary(k, OP_ABS, y) : y;
}

static void test_sizes(const char *cpu)
{
	static const int64_t sizes[] = {0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 257};
	Suite s = suite_new();
	static const char *const types[] = {"f32", "f16", "i8"};
	static const char *const f32s[] = {"f32", "f32", "f32"};
	void *data[] = {floats(&s, 3 * 257 * BLOCK, 0), floats(&s, 3 * 257 * BLOCK, 0), floats(&s, 3 * 257 * BLOCK, 0)};
	(void)types;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (Way way = SCALAR; way < WAYS; way++)
			elementwise(&s, way, sizes[i], f32s, "f32", data, affine, i % 2);
	suite_run(&s, "sizes", cpu);
	compiler_free(s.c);
}

/* ---- storage ---- */

static const char *const stores[] = {"bool", "u1", "u4", "u8", "u12", "u16", "u31", "u32", "u33", "u64", "i2", "i4",
	"i8", "i12", "i16", "i24", "i32", "i40", "i64", "f16", "bf16", "f32", "f64", "f8_e4m3", "f8_e5m2", "e8m0", "e2m1",
	"ue4m3"};
enum { STORES = sizeof stores / sizeof *stores };

static KExpr *first_input(Kernel *k, KExpr **in, int number)
{
	(void)k;
	(void)number;
	return in[0];
}

static KExpr *round_as(Kernel *k, KExpr **in, int number)
{
	return kexpr_store(k, OP_STORE_AS, store(k, stores[number]), in[0]);
}

static KExpr *bits_as(Kernel *k, KExpr **in, int number)
{
	return kexpr_store(k, OP_BITS, store(k, stores[number]), in[0]);
}

static KExpr *value_from_bits(Kernel *k, KExpr **in, int number)
{
	return kexpr_store(k, OP_FROM_BITS, store(k, stores[number]), in[0]);
}

/* Every conversion into and out of a storage type, from every type of value. */
static void test_storage(const char *cpu)
{
	Suite s = suite_new();
	enum { SIZE = 512 };
	for (int n = 0; n < STORES; n++) {
		Kernel *names = kernel_named(&s, "names");
		Store as = store(names, stores[n]);
		const char *out = type_name(store_type(as)), *bits = as.bits <= 32 ? "i32" : "i64";
		for (KType type = T_BOOL; type <= T_F64; type++) {
			void *data[3] = {values_of(&s, type, 3 * SIZE), bytes(&s, 3 * SIZE * 8), bytes(&s, 3 * SIZE * 8)};
			const char *types[] = {type_name(type), "u8", "u8"};
			Way way = type % 2 ? VECTOR : LANES;
			elementwise(&s, way, SIZE, types, out, data, round_as, n);
			elementwise(&s, way, SIZE, types, bits, data, bits_as, n);
			elementwise(&s, SCALAR, SIZE, types, stores[n], data, first_input, n);
			elementwise(&s, VECTOR, SIZE, types, stores[n], data, first_input, n);
			elementwise(&s, LANE_BLOCKS, 13, types, stores[n], data, first_input, n);
		}
		void *codes[3] = {bytes(&s, 3 * SIZE * 8), bytes(&s, 3 * SIZE * 8), bytes(&s, 3 * SIZE * 8)};
		const char *bit_types[] = {bits, "u8", "u8"}, *own_types[] = {stores[n], "u8", "u8"};
		elementwise(&s, VECTOR, SIZE, bit_types, out, codes, value_from_bits, n);
		elementwise(&s, VECTOR, SIZE, own_types, out, codes, first_input, n);
		elementwise(&s, LANE_BLOCKS, 13, own_types, out, codes, first_input, n);
	}
	suite_run(&s, "storage", cpu);
	compiler_free(s.c);
}

/* All codes of 16 bits, and f32 values around every one of them, for the small floats. */
static void test_all_codes(const char *cpu)
{
	static const char *const small[] = {"f16", "bf16", "f8_e4m3", "f8_e5m2", "e8m0", "e2m1", "ue4m3"};
	enum { CODES = 65536, ROWS = 3 };
	Suite s = suite_new();
	Kernel *names = kernel_named(&s, "names");
	int32_t *codes = arena_array(s.c->arena, int32_t, CODES);
	for (int i = 0; i < CODES; i++)
		codes[i] = i;
	for (size_t n = 0; n < sizeof small / sizeof *small; n++) {
		Store as = store(names, small[n]);
		float *near = arena_array(s.c->arena, float, CODES);
		for (int i = 0; i < CODES; i++) {
			float a = (float)store_decode(as, (uint64_t)i), b = (float)store_decode(as, (uint64_t)i + 1);
			uint32_t r = next_random() % 4;
			float middle = (a + b) / 2;
			near[i] = r == 0   ? a
					  : r == 1 ? middle
					  : r == 2 ? nextafterf(middle, INFINITY)
							   : nextafterf(middle, -INFINITY);
		}
		int number = 0;
		while (strcmp(stores[number], small[n]) != 0)
			number++;
		void *decoded[] = {codes, codes, codes}, *encoded[] = {near, near, near};
		const char *code_types[] = {"i32", "u8", "u8"}, *float_types[] = {"f32", "u8", "u8"};
		enum { COLUMNS = CODES / ROWS };
		elementwise(&s, VECTOR, COLUMNS, code_types, "f32", decoded, value_from_bits, number);
		elementwise(&s, VECTOR, COLUMNS, float_types, "i32", encoded, bits_as, number);
	}
	suite_run(&s, "codes", cpu);
	compiler_free(s.c);
}

static KExpr *cast_to(Kernel *k, KExpr **in, int number)
{
	return kexpr_cast(k, (KType)number, in[0]);
}

/* Conversions whose range is known take shorter code. */
static KExpr *clamped(Kernel *k, KExpr **in, int number)
{
	KExpr *lo = kexpr_real(k, T_F32, number ? -8 : 0), *hi = kexpr_real(k, T_F32, number ? 7 : 255);
	KExpr *x = kexpr_unary(k, number ? OP_ROUND : OP_ROUND_EVEN, mul(k, in[0], kexpr_real(k, T_F32, 3.7)));
	x = number ? kexpr_binary(k, OP_MIN, kexpr_binary(k, OP_MAX, x, lo), hi)
			   : kexpr_binary(k, OP_MAX, lo, kexpr_binary(k, OP_MIN, hi, x));
	return kexpr_cast(k, T_I32, x);
}

static void test_casts(const char *cpu)
{
	Suite s = suite_new();
	for (KType from = T_BOOL; from <= T_F64; from++) {
		const char *types[] = {type_name(from), "u8", "u8"};
		void *data[3] = {values_of(&s, from, 1800), bytes(&s, 1800), bytes(&s, 1800)};
		for (KType to = T_BOOL; to <= T_F64; to++)
			for (Way way = SCALAR; way <= VECTOR; way++)
				elementwise(&s, way, 600, types, type_name(to), data, cast_to, (int)to);
	}
	const char *types[] = {"f32", "u8", "u8"}, *outs[] = {"i32", "u8", "i4", "i32"};
	void *data[3] = {floats(&s, 1800, 0), bytes(&s, 1800), bytes(&s, 1800)};
	for (int n = 0; n < 4; n++)
		for (Way way = SCALAR; way <= LANES; way++)
			elementwise(&s, way, 600, types, outs[n], data, clamped, n % 2);
	suite_run(&s, "casts", cpu);
	compiler_free(s.c);
}

/* ---- reductions and scans ---- */

typedef struct Fold {
	bool is_scan;
	int op;
	const char *type, *out;
} Fold;

static const Fold folds[] = {
	{false, REDUCE_SUM, "f32", "f32"},
	{false, REDUCE_SUM, "f64", "f64"},
	{false, REDUCE_SUM, "i32", "i32"},
	{false, REDUCE_PROD, "f32", "f32"},
	{false, REDUCE_PROD, "i32", "i32"},
	{false, REDUCE_MAX, "f32", "f32"},
	{false, REDUCE_MIN, "f32", "f32"},
	{false, REDUCE_MAX, "i32", "i32"},
	{false, REDUCE_MIN, "f64", "f64"},
	{false, REDUCE_ANY, "bool", "bool"},
	{false, REDUCE_ALL, "bool", "bool"},
	{false, REDUCE_COUNT, "bool", "i32"},
	{false, REDUCE_ARGMAX, "f32", "i32"},
	{false, REDUCE_ARGMIN, "f32", "i32"},
	{false, REDUCE_ARGMAX, "i32", "i32"},
	{false, REDUCE_QUANTILE, "f32", "f32"},
	{false, REDUCE_QUANTILE, "i32", "i32"},
	{true, SCAN_RANK, "f32", "i32"},
	{true, SCAN_RANK, "i32", "i32"},
	{true, SCAN_SMALLEST, "f32", "bool"},
	{true, SCAN_SMALLEST, "f64", "bool"},
	{true, SCAN_SORT, "f32", "f32"},
	{true, SCAN_PREFIX, "f32", "f32"},
	{true, SCAN_PREFIX, "i32", "i32"},
};
enum { FOLDS = sizeof folds / sizeof *folds };

static void *fold_data(Suite *s, const char *type, size_t count, int kind)
{
	if (strcmp(type, "f32") == 0)
		return floats(s, count, kind);
	if (strcmp(type, "f64") == 0) {
		float *x = floats(s, count, kind);
		double *y = arena_array(s->c->arena, double, count + 1);
		for (size_t i = 0; i < count; i++)
			y[i] = (double)x[i];
		return y;
	}
	return values_of(s, strcmp(type, "bool") == 0 ? T_BOOL : T_I32, count + 1);
}

/* rows { [lanes g {] out[r, g(, j)] = fold[j < size](in[r, g, j]) }; axes 2: j is (a, b); key: by another input */
static void fold_case(
	Suite *s, const Fold *f, Way way, int64_t size, uint32_t axes, int kind, bool by_key, bool is_dynamic)
{
	enum { ROWS = 2, GROUPS = 11 };
	Kernel *k = kernel_named(s, f->is_scan ? "scan" : "reduce");
	int64_t a_size = axes == 2 ? 5 : 1, total = a_size * (size ? size : 1);
	KExpr *inner = is_dynamic ? kexpr_cast(k, T_I32, kexpr_param(k, 1)) : i32(k, size);
	KIndex *r = range_to(k, "r", kexpr_cast(k, T_I32, kexpr_param(k, 0)));
	KIndex *g = range(k, "g", GROUPS), *a = range(k, "a", a_size), *j = range_to(k, "j", inner);
	KExpr *extents[] = {kexpr_param(k, 0), i32(k, GROUPS), i32(k, a_size), i32(k, size ? size : 1)};
	KExpr *subs[] = {at(k, r), at(k, g), axes == 2 ? at(k, a) : i32(k, 0), at(k, j)};
	KBuffer *in = kbuffer_new(k, BUFFER_INPUT, name_of(k->c, "x"), store(k, f->type), 4, extents);
	KBuffer *keys = by_key ? kbuffer_new(k, BUFFER_INPUT, name_of(k->c, "keys"), store(k, "f32"), 4, extents) : NULL;
	KBuffer *out = kbuffer_new(k, BUFFER_OUTPUT, name_of(k->c, "y"), store(k, f->out), f->is_scan ? 4 : 2, extents);
	KIndex *over[] = {a, j}, **axis = axes == 2 ? over : over + 1;
	KIndex *domain[] = {g};
	uint32_t domain_count = way >= LANES ? 0 : 1;
	KExpr *value = kexpr_load(k, in, subs);
	KStep *step = f->is_scan ? kstep_scan(k, (KScan)f->op, out, subs, domain, domain_count, axis, axes, value)
							 : kstep_reduce(k, (KReduce)f->op, out, subs, domain, domain_count, axis, axes, value);
	step->is_vector = way == VECTOR;
	if (f->is_scan && f->op == SCAN_SMALLEST)
		step->limit = i32(k, total / 2);
	if (!f->is_scan && f->op == REDUCE_QUANTILE)
		step->limit = kexpr_real(k, T_F32, 0.3);
	if (by_key)
		step->key = kexpr_load(k, keys, subs);
	KStep *rows = kstep_loop(k, r, LOOP_ROWS, 0), *lanes = kstep_loop(k, g, LOOP_LANES, LANE_COUNT);
	push(&k->steps, rows, k);
	push(&rows->body, way >= LANES ? lanes : step, k);
	if (way >= LANES)
		push(&lanes->body, step, k);
	k->is_scheduled = true;
	size_t count = (size_t)(ROWS * GROUPS * total), outs = f->is_scan ? count : ROWS * GROUPS;
	Case c = {.k = k, .params = {ROWS, size}, .in = {fold_data(s, f->type, count, kind), NULL}};
	if (by_key)
		c.in[1] = floats(s, count, 1);
	c.out_bytes[0] = outs * store_bytes(out->store);
	vec_push(s->c->arena, &s->cases, c);
}

static void test_folds(const char *cpu)
{
	static const int64_t sizes[] = {0, 1, 3, 8, 16, 33, 64, 65, 200, 256, 257, 600};
	for (int kind = 0; kind < 3; kind++) {
		Suite s = suite_new();
		for (int n = 0; n < FOLDS; n++)
			for (size_t i = (size_t)kind; i < sizeof sizes / sizeof *sizes; i += 3)
				for (Way way = SCALAR; way <= LANES; way++) {
					fold_case(&s, &folds[n], way, sizes[i], 1, kind, false, false);
					if ((n + (int)i) % 3 == 0)
						fold_case(&s, &folds[n], way, sizes[i], 1, kind, false, true);
					if ((n + (int)i) % 3 == 1)
						fold_case(&s, &folds[n], way, sizes[i], 2, kind, false, (int)way % 2);
					if (folds[n].is_scan && folds[n].op == SCAN_PREFIX)
						fold_case(&s, &folds[n], way, sizes[i], 1, 2, true, false);
				}
		suite_run(&s, "folds", cpu);
		compiler_free(s.c);
	}
}

/* A long row: selection and partial sums at work. */
static void test_long_rows(const char *cpu)
{
	Suite s = suite_new();
	for (int n = 0; n < FOLDS; n++)
		for (int kind = 0; kind < 3; kind++)
			fold_case(&s, &folds[n], VECTOR, 3001, 1, kind, false, kind == 1);
	suite_run(&s, "long rows", cpu);
	compiler_free(s.c);
}

int main(int argc, char **argv)
{
	static const char *const cpus[] = {"native", "x86-64-v2", "x86-64-v3"};
	const char *only = argc > 1 ? argv[1] : "";
	typedef void Test(const char *cpu);
	static const struct {
		const char *name;
		Test *run;
	} tests[] = {{"operations", test_operations}, {"sizes", test_sizes}, {"storage", test_storage},
		{"codes", test_all_codes}, {"casts", test_casts}, {"folds", test_folds}, {"long", test_long_rows}};
	for (size_t cpu = 0; cpu < (argc > 2 ? 3 : 1); cpu++)
		for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
			if (strstr(tests[i].name, only))
				tests[i].run(cpus[cpu]);
	return finish("llvm_test");
}
