/* SPDX-License-Identifier: MIT
 *
 * scalar.c: what each scalar operation means, on one value. Constant folding and
 * the interpreter are both this code, and the LLVM lowering is tested against it.
 *
 * Every operation is total. f32 arithmetic rounds to f32 after each operation;
 * integers wrap. Compile without excess precision and without contraction.
 */
#include "kernel.h"

#include <assert.h>
#include <float.h>
#include <math.h>

_Static_assert(FLT_EVAL_METHOD == 0, "float expressions must be evaluated as float");

uint32_t kop_arity(KOp op)
{
	static const uint8_t arities[] = {
#define OP(name, text, arity, typing) arity,
#include "ops.def"
#undef OP
	};
	return arities[op];
}

const char *kop_text(KOp op)
{
	static const char *const texts[] = {
#define OP(name, text, arity, typing) text,
#include "ops.def"
#undef OP
	};
	return texts[op];
}

static KValue of_integer(KType type, uint64_t value)
{
	return (KValue){.integer = type == T_I32 ? (int64_t)(int32_t)(uint32_t)value : (int64_t)value};
}

static KValue of_bool(bool value)
{
	return (KValue){.integer = value};
}

static KValue of_real(double value)
{
	return (KValue){.real = value};
}

static KValue float_binary(KOp op, float a, float b)
{
	switch (op) {
	case OP_ADD:
		return of_real((double)(a + b));
	case OP_SUB:
		return of_real((double)(a - b));
	case OP_MUL:
		return of_real((double)(a * b));
	case OP_DIV:
		return of_real((double)(a / b));
	default:
		assert(!"arithmetic of f32");
		return of_real(0);
	}
}

static KValue double_binary(KOp op, double a, double b)
{
	switch (op) {
	case OP_ADD:
		return of_real(a + b);
	case OP_SUB:
		return of_real(a - b);
	case OP_MUL:
		return of_real(a * b);
	case OP_DIV:
		return of_real(a / b);
	case OP_MIN: /* + 0.0 turns -0 into +0 and changes nothing else */
		return of_real((isnan(a) ? b : isnan(b) || a < b ? a : b) + 0.0);
	case OP_MAX:
		return of_real((isnan(a) ? b : isnan(b) || a > b ? a : b) + 0.0);
	case OP_EQ:
		return of_bool(a == b);
	case OP_NE:
		return of_bool(a != b);
	case OP_LT:
		return of_bool(a < b);
	case OP_LE:
		return of_bool(a <= b);
	default:
		assert(!"an operation of two reals");
		return of_real(0);
	}
}

static int64_t floor_divide(int64_t a, int64_t b)
{
	if (b == 0)
		return 0;
	if (b == -1)
		return (int64_t)(0 - (uint64_t)a);
	return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static KValue integer_binary(KOp op, KType type, int64_t a, int64_t b)
{
	uint64_t x = (uint64_t)a, y = (uint64_t)b;
	int64_t width = type == T_I32 ? 32 : 64;
	bool in_range = b >= 0 && b < width;
	switch (op) {
	case OP_ADD:
		return of_integer(type, x + y);
	case OP_SUB:
		return of_integer(type, x - y);
	case OP_MUL:
		return of_integer(type, x * y);
	case OP_IDIV:
		return of_integer(type, (uint64_t)floor_divide(a, b));
	case OP_IMOD:
		return of_integer(type, b == 0 ? 0 : x - (uint64_t)floor_divide(a, b) * y);
	case OP_MIN:
		return of_integer(type, a < b ? x : y);
	case OP_MAX:
		return of_integer(type, a > b ? x : y);
	case OP_BIT_AND:
	case OP_AND:
		return of_integer(type, x & y);
	case OP_BIT_OR:
	case OP_OR:
		return of_integer(type, x | y);
	case OP_BIT_XOR:
		return of_integer(type, x ^ y);
	case OP_SHL:
		return of_integer(type, in_range ? x << b : 0);
	case OP_SHR:
		return of_integer(type, in_range ? (type == T_I32 ? (uint64_t)((uint32_t)x >> b) : x >> b) : 0);
	case OP_EQ:
		return of_bool(a == b);
	case OP_NE:
		return of_bool(a != b);
	case OP_LT:
		return of_bool(a < b);
	case OP_LE:
		return of_bool(a <= b);
	default:
		assert(!"an operation of two integers");
		return of_integer(type, 0);
	}
}

/* Of f32 too: none of these but the square root rounds, and the root of an f32 rounds the same from double. */
static KValue real_unary(KOp op, KType type, double a)
{
	switch (op) {
	case OP_NEG:
		return of_real(-a);
	case OP_ABS:
		return of_real(fabs(a));
	case OP_SQRT:
		return of_real(type == T_F32 ? (double)sqrtf((float)a) : sqrt(a));
	case OP_FLOOR:
		return of_real(floor(a));
	case OP_CEIL:
		return of_real(ceil(a));
	case OP_TRUNC:
		return of_real(trunc(a));
	case OP_ROUND:
		return of_real(round(a));
	case OP_ROUND_EVEN:
		return of_real(rint(a));
	case OP_IS_NAN:
		return of_bool(isnan(a));
	default:
		assert(!"an operation of one real");
		return of_real(0);
	}
}

static KValue integer_unary(KOp op, KType type, int64_t a)
{
	switch (op) {
	case OP_NEG:
		return of_integer(type, 0 - (uint64_t)a);
	case OP_ABS:
		return of_integer(type, a < 0 ? 0 - (uint64_t)a : (uint64_t)a);
	case OP_BIT_NOT:
		return of_integer(type, ~(uint64_t)a);
	case OP_NOT:
		return of_bool(!a);
	default:
		assert(!"an operation of one integer");
		return of_integer(type, 0);
	}
}

/* CAST */
static KValue convert(KType to, KType from, KValue value)
{
	bool is_real = from == T_F32 || from == T_F64;
	switch (to) {
	case T_BOOL:
		return of_bool(is_real ? value.real != 0 : value.integer != 0);
	case T_I32:
	case T_I64: {
		Store store = store_of_type(to);
		return store_unpack(store, store_pack(store, from, value));
	}
	case T_F32:
		return of_real(is_real ? (double)(float)value.real : (double)(float)value.integer);
	case T_F64:
		return of_real(is_real ? value.real : (double)value.integer);
	}
	return value;
}

KValue scalar_apply(KOp op, KType type, KType from, Store store, const KValue *args)
{
	switch (op) {
	case OP_SELECT:
		return args[0].integer ? args[1] : args[2];
	case OP_CAST:
		return convert(type, from, args[0]);
	case OP_STORE_AS:
		return store_unpack(store, store_pack(store, from, args[0]));
	case OP_BITS:
		return of_integer(type, store_pack(store, from, args[0]));
	case OP_FROM_BITS:
		return store_unpack(store, (uint64_t)args[0].integer);
	default:
		break;
	}
	bool is_real = from == T_F32 || from == T_F64;
	if (kop_arity(op) == 1)
		return is_real ? real_unary(op, from, args[0].real) : integer_unary(op, from, args[0].integer);
	if (!is_real)
		return integer_binary(op, from, args[0].integer, args[1].integer);
	if (from == T_F32 && (op == OP_ADD || op == OP_SUB || op == OP_MUL || op == OP_DIV))
		return float_binary(op, (float)args[0].real, (float)args[1].real);
	return double_binary(op, args[0].real, args[1].real);
}
