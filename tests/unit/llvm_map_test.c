/* SPDX-License-Identifier: MIT
 *
 * llvm_map_test.c: one value of three inputs: operations, storage, conversions; in scalar, vector and lane loops, at
 * sizes around the widths of vectors.
 */
#include "suite.h"

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
	static const char *const f32s[] = {"f32", "f32", "f32"};
	void *data[] = {floats(&s, 3 * 257 * BLOCK, 0), floats(&s, 3 * 257 * BLOCK, 0), floats(&s, 3 * 257 * BLOCK, 0)};
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

static const TestRow tests[] = {
	{"operations", test_operations, false},
	{"sizes", test_sizes, true},
	{"storage", test_storage, false},
	{"codes", test_all_codes, true},
	{"casts", test_casts, true},
};

int main(int argc, char **argv)
{
	tests_run(tests, sizeof tests / sizeof *tests, argc > 1 ? argv[1] : NULL);
	return finish("llvm_map_test");
}
