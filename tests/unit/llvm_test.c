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
	CmprtFrame frame = {buffers, c->params, scratch, NULL};
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
			elementwise(&s, n % 2 ? SCALAR : VECTOR, SIZE, types, stores[n], data, first_input, n);
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

static KExpr *rounded(Kernel *k, KExpr **in, int number)
{
	return kexpr_unary(k, number ? OP_ROUND : OP_TRUNC, in[0]);
}

static KExpr *rounded_to_integer(Kernel *k, KExpr **in, int number)
{
	return kexpr_cast(k, T_I64, rounded(k, in, number));
}

/* Rounding and cutting off at once. */
static void test_rounded(Suite *s)
{
	const char *outs[] = {"i8", "u8", "i32", "bool"};
	for (KType from = T_F32; from <= T_F64; from++) {
		const char *types[] = {type_name(from), "u8", "u8"};
		void *data[3] = {values_of(s, from, 1800), bytes(s, 1800), bytes(s, 1800)};
		for (int n = 0; n < 8; n++)
			for (Way way = SCALAR; way <= LANES; way++)
				elementwise(s, way, 600, types, outs[n / 2], data, rounded, n % 2);
		for (Way way = SCALAR; way <= LANES; way++)
			elementwise(s, way, 600, types, "i64", data, rounded_to_integer, 1);
	}
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
	test_rounded(&s);
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
	static const int64_t sizes[] = {0, 1, 3, 8, 33, 64, 65, 256, 257};
	for (int kind = 0; kind < 3; kind++) {
		Suite s = suite_new();
		for (int n = 0; n < FOLDS; n++)
			for (size_t i = (size_t)kind; i < sizeof sizes / sizeof *sizes; i += 3)
				for (Way way = SCALAR; way <= LANES; way++) {
					fold_case(&s, &folds[n], way, sizes[i], 1, kind, false, false);
					if ((n + (int)i) % 4 == 0)
						fold_case(&s, &folds[n], way, sizes[i], 1, kind, false, true);
					if ((n + (int)i) % 4 == 1)
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

/* ---- steps together ---- */

static KBuffer *temp(Kernel *k, const char *name, const char *type, uint32_t rank, KExpr *const *extents, KStep *scope)
{
	KBuffer *buffer = kbuffer_new(k, BUFFER_TEMP, name_of(k->c, name), store(k, type), rank, extents);
	buffer->scope = scope;
	return buffer;
}

/* A block format in bytes: a f16 scale, 32 codes of 8 bits, and sums of pairs; in lanes or in vectors. */
static void block_case(Suite *s, bool in_lanes, int64_t blocks)
{
	enum { ROWS = 3, SIZE = 32, BYTES = 2 + SIZE + SIZE / 2 };
	Kernel *k = kernel_named(s, "block");
	KBuffer *in = matrix(k, BUFFER_INPUT, "x", "f32", blocks * SIZE);
	KBuffer *out = matrix(k, BUFFER_OUTPUT, "y", "u8", blocks * BYTES);
	KIndex *r = range_to(k, "r", kexpr_cast(k, T_I32, kexpr_param(k, 0))), *g = range(k, "g", blocks);
	KStep *rows = kstep_loop(k, r, LOOP_ROWS, 0);
	KStep *loop = kstep_loop(k, g, in_lanes ? LOOP_LANES : LOOP_SEQUENTIAL, in_lanes ? LANE_COUNT : 0);
	KBuffer *top = temp(k, "top", "f32", 0, NULL, loop), *d = temp(k, "d", "f16", 0, NULL, loop);
	KBuffer *q = temp(k, "q", "i8", 2, (KExpr *[]){i32(k, blocks), i32(k, SIZE)}, rows);
	KIndex *j = range(k, "j", SIZE), *i = range(k, "i", SIZE), *n = range(k, "n", SIZE), *p = range(k, "p", SIZE / 2);
	KExpr *x = kexpr_load(k, in, (KExpr *[]){at(k, r), add(k, mul(k, at(k, g), i32(k, SIZE)), at(k, j))});
	KStep *most = kstep_reduce(k, REDUCE_MAX, top, NULL, NULL, 0, &j, 1, kexpr_unary(k, OP_ABS, x));
	KExpr *scale = kexpr_binary(k, OP_DIV, kexpr_load(k, top, NULL), kexpr_real(k, T_F32, 127));
	KStep *set_d = kstep_map(k, d, NULL, NULL, 0, scale);
	KExpr *y = kexpr_load(k, in, (KExpr *[]){at(k, r), add(k, mul(k, at(k, g), i32(k, SIZE)), at(k, i))});
	KExpr *code = kexpr_unary(k, OP_ROUND, kexpr_binary(k, OP_DIV, y, kexpr_load(k, d, NULL)));
	KStep *set_q = kstep_map(k, q, (KExpr *[]){at(k, g), at(k, i)}, &i, 1, code);
	KExpr *first = mul(k, at(k, g), i32(k, BYTES)), *stored = kexpr_load(k, q, (KExpr *[]){at(k, g), at(k, n)});
	KStep *put_d = kstep_map(k, out, (KExpr *[]){at(k, r), first}, NULL, 0, kexpr_load(k, d, NULL));
	put_d->store = store(k, "f16");
	KStep *put_q = kstep_map(k, out, (KExpr *[]){at(k, r), add(k, first, add(k, at(k, n), i32(k, 2)))}, &n, 1, stored);
	put_q->store = store(k, "i8");
	KExpr *twice = mul(k, at(k, p), i32(k, 2)), *even = kexpr_load(k, q, (KExpr *[]){at(k, g), twice});
	KExpr *odd = kexpr_load(k, q, (KExpr *[]){at(k, g), add(k, twice, i32(k, 1))});
	KExpr *place = add(k, first, add(k, at(k, p), i32(k, 2 + SIZE)));
	KStep *put_pairs = kstep_map(k, out, (KExpr *[]){at(k, r), place}, &p, 1, add(k, even, odd));
	KStep *all[] = {most, set_d, set_q, put_d, put_q, put_pairs};
	push(&k->steps, rows, k);
	push(&rows->body, loop, k);
	for (size_t n_step = 0; n_step < sizeof all / sizeof *all; n_step++) {
		all[n_step]->is_vector = !in_lanes && (all[n_step]->domain_count || all[n_step]->over_count);
		push(&loop->body, all[n_step], k);
	}
	k->is_scheduled = true;
	Case c = {.k = k, .params = {ROWS}, .in = {floats(s, (size_t)(ROWS * blocks * SIZE), 2)}};
	c.out_bytes[0] = (size_t)(ROWS * blocks * BYTES);
	vec_push(s->c->arena, &s->cases, c);
}

/* Lanes write a shared buffer that the same loop reads back, once as it was and once changed. */
static void shared_case(Suite *s, int64_t turns)
{
	enum { ROWS = 2, SIZE = 4 };
	Kernel *k = kernel_named(s, "shared");
	KBuffer *in = matrix(k, BUFFER_INPUT, "x", "f32", turns * SIZE);
	KBuffer *out = matrix(k, BUFFER_OUTPUT, "y", "f32", turns);
	KIndex *r = range_to(k, "r", kexpr_cast(k, T_I32, kexpr_param(k, 0))), *g = range(k, "g", turns);
	KStep *rows = kstep_loop(k, r, LOOP_ROWS, 0), *lanes = kstep_loop(k, g, LOOP_LANES, LANE_COUNT);
	KBuffer *w = temp(k, "w", "f16", 1, (KExpr *[]){i32(k, turns * SIZE)}, rows);
	KBuffer *is_small = temp(k, "small", "bool", 1, (KExpr *[]){i32(k, SIZE)}, lanes);
	KIndex *index[4];
	KExpr *column[4];
	for (int n = 0; n < 4; n++) {
		index[n] = range(k, "k", SIZE);
		column[n] = add(k, mul(k, at(k, g), i32(k, SIZE)), at(k, index[n]));
	}
	KStep *copy = kstep_map(k, w, &column[0], &index[0], 1, kexpr_load(k, in, (KExpr *[]){at(k, r), column[0]}));
	KExpr *own = kexpr_unary(k, OP_ABS, kexpr_load(k, w, &column[1])), *sub = at(k, index[1]);
	KStep *rank = kstep_scan(k, SCAN_SMALLEST, is_small, &sub, NULL, 0, &index[1], 1, own);
	rank->limit = i32(k, 2);
	KExpr *cut = kexpr_select(k, kexpr_load(k, is_small, (KExpr *[]){at(k, index[2])}), kexpr_real(k, T_F32, 0),
		kexpr_load(k, w, &column[2]));
	KStep *change = kstep_map(k, w, &column[2], &index[2], 1, cut);
	KExpr *result = at(k, g);
	KStep *sum = kstep_reduce(
		k, REDUCE_SUM, out, (KExpr *[]){at(k, r), result}, NULL, 0, &index[3], 1, kexpr_load(k, w, &column[3]));
	KStep *all[] = {copy, rank, change, sum};
	push(&k->steps, rows, k);
	push(&rows->body, lanes, k);
	for (int n = 0; n < 4; n++)
		push(&lanes->body, all[n], k);
	k->is_scheduled = true;
	Case c = {.k = k, .params = {ROWS}, .in = {floats(s, (size_t)(ROWS * turns * SIZE), 1)}};
	c.out_bytes[0] = (size_t)(ROWS * turns) * 4;
	vec_push(s->c->arena, &s->cases, c);
}

/* N of M over groups that lie side by side, and where they do not. */
static void group_case(Suite *s, int64_t groups, int64_t size, bool is_rank, const char *type)
{
	enum { ROWS = 2 };
	Kernel *k = kernel_named(s, "group");
	KBuffer *in = matrix(k, BUFFER_INPUT, "x", type, groups * size);
	KBuffer *out = matrix(k, BUFFER_OUTPUT, "y", is_rank ? "u8" : "bool", groups * size);
	KIndex *r = range_to(k, "r", kexpr_cast(k, T_I32, kexpr_param(k, 0))), *g = range(k, "g", groups),
		   *j = range(k, "j", size);
	KExpr *subs[] = {at(k, r), add(k, mul(k, at(k, g), i32(k, size)), at(k, j))};
	KStep *step = kstep_scan(k, is_rank ? SCAN_RANK : SCAN_SMALLEST, out, subs, &g, 1, &j, 1, kexpr_load(k, in, subs));
	if (!is_rank)
		step->limit = i32(k, size / 2);
	step->is_vector = true;
	KStep *rows = kstep_loop(k, r, LOOP_ROWS, 0);
	push(&k->steps, rows, k);
	push(&rows->body, step, k);
	k->is_scheduled = true;
	Case c = {.k = k, .params = {ROWS}, .in = {fold_data(s, type, (size_t)(ROWS * groups * size), 1)}};
	c.out_bytes[0] = (size_t)(ROWS * groups * size);
	vec_push(s->c->arena, &s->cases, c);
}

static void test_together(const char *cpu)
{
	Suite s = suite_new();
	for (int64_t blocks = 1; blocks < 20; blocks += 3)
		for (int in_lanes = 0; in_lanes < 2; in_lanes++)
			block_case(&s, in_lanes, blocks);
	for (int64_t turns = 1; turns < 40; turns += 5)
		shared_case(&s, turns);
	shared_case(&s, 32);
	for (int64_t size = 2; size <= 16; size *= 2)
		for (int n = 0; n < 4; n++)
			group_case(&s, 37, size, n % 2, n / 2 ? "i32" : "f32");
	suite_run(&s, "together", cpu);
	compiler_free(s.c);
}

/* ---- kernels of several steps ---- */

/* for t { rows of w := w * scale[t] + t, a temporary of the turn in between }; then a product with small integers,
 * whose sums are exact in any order. */
static void test_whole(const char *cpu)
{
	enum { ROWS = 70, SIZE = 33, TURNS = 3 };
	Suite s = suite_new();
	Kernel *k = kernel_named(&s, "whole");
	KBuffer *in = matrix(k, BUFFER_INPUT, "x", "f32", SIZE), *out = matrix(k, BUFFER_OUTPUT, "y", "f32", ROWS);
	KExpr *extents[] = {i32(k, ROWS), i32(k, SIZE)};
	KBuffer *w = temp(k, "w", "f32", 2, extents, NULL);
	KIndex *t = range(k, "t", TURNS), *r[3], *j[3];
	for (int i = 0; i < 3; i++) {
		r[i] = range(k, "r", ROWS);
		j[i] = range(k, "j", SIZE);
	}
	KStep *turns = kstep_loop(k, t, LOOP_SEQUENTIAL, 0);
	KBuffer *scale = temp(k, "scale", "f32", 1, &extents[1], turns);
	KStep *first = kstep_loop(k, r[0], LOOP_ROWS, 0), *second = kstep_loop(k, r[1], LOOP_ROWS, 0);
	KExpr *subs0[] = {at(k, r[0]), at(k, j[0])}, *subs1[] = {at(k, r[1]), at(k, j[1])}, *sub2 = at(k, j[2]);
	push(&first->body, kstep_map(k, w, subs0, &j[0], 1, kexpr_load(k, in, subs0)), k);
	KExpr *factor = add(k, mul(k, at(k, t), i32(k, 2)), at(k, j[2]));
	push(&turns->body,
		kstep_map(k, scale, &sub2, &j[2], 1, kexpr_cast(k, T_F32, kexpr_binary(k, OP_IMOD, factor, i32(k, 3)))), k);
	KExpr *value = mul(k, kexpr_load(k, w, subs1), kexpr_load(k, scale, &subs1[1]));
	push(&second->body, kstep_map(k, w, subs1, &j[1], 1, add(k, value, kexpr_cast(k, T_F32, at(k, t)))), k);
	push(&turns->body, second, k);
	KIndex *o = range(k, "o", ROWS), *i = range(k, "i", ROWS), *d = range(k, "d", SIZE);
	KExpr *a = kexpr_load(k, w, (KExpr *[]){at(k, o), at(k, d)}),
		  *b = kexpr_load(k, w, (KExpr *[]){at(k, i), at(k, d)});
	KStep *product =
		kstep_reduce(k, REDUCE_SUM, out, (KExpr *[]){at(k, o), at(k, i)}, (KIndex *[]){o, i}, 2, &d, 1, mul(k, a, b));
	product->is_contraction = true;
	push(&k->steps, first, k);
	push(&k->steps, turns, k);
	push(&k->steps, product, k);
	k->is_scheduled = true;
	Case c = {.k = k, .params = {ROWS}, .work_bytes = ROWS * SIZE * 4};
	float *x = arena_array(s.c->arena, float, ROWS *SIZE);
	for (int n = 0; n < ROWS * SIZE; n++)
		x[n] = (float)(next_random() % 9) - 4;
	c.in[0] = x;
	c.out_bytes[0] = ROWS * ROWS * 4;
	vec_push(s.c->arena, &s.cases, c);
	suite_run(&s, "whole", cpu);
	compiler_free(s.c);
}

/* ---- the runtime's own functions ---- */

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
	if (op == LINALG_CHOLESKY || op == LINALG_INVERSE)
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
	check_linalg(c, LINALG_SVD, false, 9, 5);
	check_linalg(c, LINALG_SVD, false, 5, 9);
	check_linalg(c, LINALG_QR, false, 9, 5);
	check_linalg(c, LINALG_QR, false, 5, 9);
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

/* ---- tables ---- */

static void test_tables(const char *cpu)
{
	static const int64_t shape[] = {4, 5};
	static const CmprtInput inputs[] = {{.name = "a", .dtype = "F32", .rank = 2, .shape = shape, .bytes = 80}};
	static const CmprtPort ports[] = {{.tensor = 0, .row_bytes = 20, .rows = 4, .offset = 7}};
	CmprtJob jobs[] = {{.label = "a", .passes = "", .rows = 4}, {.label = "b",
																	.passes = "p",
																	.rows = 4,
																	.port_in_count = 1,
																	.ports_in = ports,
																	.port_out_count = 1,
																	.ports_out = ports}};
	CmprtProgram program = {.cmpc_version = "1",
		.pipeline = "p\n\"",
		.input_count = 1,
		.inputs = inputs,
		.job_count = 2,
		.jobs = jobs,
		.memory = -3};
	Suite s = suite_new();
	const char *types[] = {"f32", "u8", "u8"};
	void *data[3] = {floats(&s, 60, 2), bytes(&s, 60), bytes(&s, 60)};
	elementwise(&s, VECTOR, 20, types, "f32", data, first_input, 0);
	const char *names[] = {NULL, s.cases.at[0].k->name};
	ModuleTarget target = {.cpu = cpu};
	Module *m = module_new(s.c, &target);
	ObjectBytes object;
	bool is_good = m && module_add_kernel(m, s.cases.at[0].k) && module_add_program(m, &program, names, false) &&
				   module_optimize(m) && module_object(m, &object);
	CHECK(is_good, "tables");
	Jit *jit = is_good ? jit_new(s.c, &object) : NULL;
	const CmprtProgram *made = jit ? jit_symbol(jit, "cmprt_program") : NULL;
	CHECK(made && strcmp(made->pipeline, program.pipeline) == 0 && made->memory == -3 && !made->report_path, "program");
	CHECK(made && made->inputs[0].shape[1] == 5 && made->inputs[0].bytes == 80 && !made->outputs, "inputs");
	CHECK(made && !made->jobs[0].kernel && made->jobs[1].ports_in[0].offset == 7, "jobs");
	CHECK(made && (void *)made->jobs[1].kernel == jit_symbol(jit, names[1]), "kernel");
	if (jit)
		jit_free(jit);
	diag_flush(s.c, stdout);
	module_free(m);
	compiler_free(s.c);
}

/* ---- other targets ---- */

static void test_targets(const char *cpu)
{
	static const ModuleTarget targets[] = {{.triple = "aarch64-linux-gnu", .cpu = "cortex-a76"}, {.cpu = "x86-64-v4"},
		{.triple = "x86_64-linux-gnu", .cpu = "x86-64"}};
	static const uint32_t lanes[] = {4, 16, 4};
	(void)cpu;
	for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
		Suite s = suite_new();
		block_case(&s, true, 9);
		block_case(&s, false, 9);
		Module *m = module_new(s.c, &targets[i]);
		ObjectBytes object = {0};
		Text first = {.arena = s.c->arena};
		bool is_good = m && module_add_kernel(m, s.cases.at[0].k) && module_add_kernel(m, s.cases.at[1].k);
		CHECK(is_good && module_optimize(m) && module_assembly(m, &first) && module_object(m, &object) &&
				  object.count > 0,
			"%s", targets[i].cpu);
		TargetFacts facts = {0};
		CHECK(target_facts(s.c, &targets[i], &facts) && facts.lanes == lanes[i] && facts.is_host == (i > 0), "%s",
			facts.triple);
		CHECK(!strstr(first.at, "/tmp") && !strstr(first.at, "/home"), "a path in the assembly");
		diag_flush(s.c, stdout);
		if (m)
			module_free(m);
		compiler_free(s.c);
	}
}

typedef void Test(const char *cpu);
typedef struct TestRow {
	const char *name;
	Test *run;
	bool on_all; /* CPUs that this one can run */
} TestRow;

static const TestRow tests[] = {
	{"operations", test_operations, false},
	{"sizes", test_sizes, true},
	{"storage", test_storage, false},
	{"codes", test_all_codes, true},
	{"casts", test_casts, true},
	{"folds", test_folds, false},
	{"long", test_long_rows, false},
	{"together", test_together, true},
	{"whole", test_whole, false},
	{"linalg", test_linalg, false},
	{"selection", test_selection, false},
	{"tables", test_tables, false},
	{"targets", test_targets, false},
};

/* llvm_test [NAME]: the tests whose name has that in it */
int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
		if (argc > 1 && !strstr(tests[i].name, argv[1]))
			continue;
		tests[i].run("native");
		if (tests[i].on_all)
			tests[i].run("x86-64-v2");
	}
	return finish("llvm_test");
}
