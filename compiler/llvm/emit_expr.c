/* SPDX-License-Identifier: MIT
 *
 * emit_expr.c: scalar expressions to LLVM values, scalars or vectors (emit.h, Mode).
 *
 * Bit for bit what scalar.c computes: no fast-math flag that could change a result,
 * no contraction. What is saved comes from facts: a NaN that cannot be, a range that
 * fits, the sign of a zero that nobody looks at ("any zero").
 */
#include "emit.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- types and constants ---- */

LLVMTypeRef type_of(Emitter *e, KType type)
{
	LLVMContextRef context = e->m->context;
	switch (type) {
	case T_BOOL:
		return LLVMInt1TypeInContext(context);
	case T_I32:
		return LLVMInt32TypeInContext(context);
	case T_I64:
		return LLVMInt64TypeInContext(context);
	case T_F32:
		return LLVMFloatTypeInContext(context);
	case T_F64:
		return LLVMDoubleTypeInContext(context);
	}
	return NULL;
}

bool is_vector_value(LLVMValueRef v)
{
	return LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind;
}

LLVMTypeRef type_like(LLVMTypeRef element, LLVMValueRef shape)
{
	return is_vector_value(shape) ? LLVMVectorType(element, LLVMGetVectorSize(LLVMTypeOf(shape))) : element;
}

static LLVMValueRef const_splat(LLVMValueRef scalar, unsigned count)
{
	LLVMValueRef items[1024];
	assert(count <= 1024);
	for (unsigned i = 0; i < count; i++)
		items[i] = scalar;
	return LLVMConstVector(items, count);
}

LLVMValueRef const_like(Emitter *e, LLVMValueRef shape, LLVMValueRef scalar)
{
	(void)e;
	return is_vector_value(shape) ? const_splat(scalar, LLVMGetVectorSize(LLVMTypeOf(shape))) : scalar;
}

LLVMValueRef const_int(LLVMTypeRef type, int64_t value)
{
	if (LLVMGetTypeKind(type) == LLVMVectorTypeKind)
		return const_splat(const_int(LLVMGetElementType(type), value), LLVMGetVectorSize(type));
	return LLVMConstInt(type, (unsigned long long)value, true);
}

LLVMValueRef const_real(LLVMTypeRef type, double value)
{
	if (LLVMGetTypeKind(type) == LLVMVectorTypeKind)
		return const_splat(const_real(LLVMGetElementType(type), value), LLVMGetVectorSize(type));
	return LLVMConstReal(type, value);
}

LLVMValueRef splat(Emitter *e, LLVMValueRef v)
{
	if (is_vector_value(v))
		return v;
	if (LLVMIsConstant(v))
		return const_splat(v, e->width);
	LLVMTypeRef i32 = LLVMInt32TypeInContext(e->m->context);
	LLVMValueRef none = LLVMGetPoison(LLVMVectorType(LLVMTypeOf(v), e->width));
	LLVMValueRef one = LLVMBuildInsertElement(e->builder, none, v, const_int(i32, 0), "");
	return LLVMBuildShuffleVector(e->builder, one, none, const_int(LLVMVectorType(i32, e->width), 0), "splat");
}

/* If one of them is a vector, so are all. */
static void same_shape(Emitter *e, LLVMValueRef *values, uint32_t count)
{
	bool any = false;
	for (uint32_t i = 0; i < count; i++)
		any |= is_vector_value(values[i]);
	for (uint32_t i = 0; any && i < count; i++)
		values[i] = splat(e, values[i]);
}

LLVMValueRef emit_intrinsic(
	Emitter *e, const char *name, LLVMTypeRef *overloads, uint32_t overload_count, LLVMValueRef *args, uint32_t count)
{
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	LLVMValueRef function = LLVMGetIntrinsicDeclaration(e->m->llvm, id, overloads, overload_count);
	return LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(function), function, args, count, "");
}

LLVMValueRef emit_intrinsic1(Emitter *e, const char *name, LLVMValueRef a)
{
	LLVMTypeRef type = LLVMTypeOf(a);
	return emit_intrinsic(e, name, &type, 1, &a, 1);
}

/* ---- memo ---- */

typedef struct Memo {
	uint32_t epoch;
	LLVMValueRef exact, any_zero; /* a value whose zeros have the right sign serves both */
} Memo;

void memo_forget(Emitter *e)
{
	e->memo_epoch++;
}

static Memo *memo_of(Emitter *e, KExpr *x)
{
	Memo *memo = *kexprmap_at(&e->memo, x);
	if (!memo) {
		memo = arena_new_of(e->k->c->arena, Memo);
		*kexprmap_at(&e->memo, x) = memo;
	}
	if (memo->epoch != e->memo_epoch)
		*memo = (Memo){.epoch = e->memo_epoch};
	return memo;
}

void memo_set(Emitter *e, KExpr *x, LLVMValueRef value)
{
	memo_of(e, x)->exact = value;
}

/* ---- reals ---- */

static LLVMValueRef select_if(Emitter *e, LLVMRealPredicate predicate, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSelect(e->builder, LLVMBuildFCmp(e->builder, predicate, a, b, ""), a, b, "");
}

/* x86's minps(a, b) is a < b ? a : b, so b if either is NaN: the operand that cannot be NaN goes second. */
static LLVMValueRef min_max(Emitter *e, bool is_max, LLVMValueRef a, LLVMValueRef b, Range ra, Range rb)
{
	LLVMValueRef values[] = {a, b};
	same_shape(e, values, 2);
	if (rb.may_be_nan && !ra.may_be_nan) {
		LLVMValueRef swap = values[0];
		values[0] = values[1];
		values[1] = swap;
	}
	LLVMValueRef best = select_if(e, is_max ? LLVMRealOGT : LLVMRealOLT, values[0], values[1]);
	if (ra.may_be_nan && rb.may_be_nan) {
		LLVMValueRef is_nan = LLVMBuildFCmp(e->builder, LLVMRealUNO, values[1], values[1], "");
		best = LLVMBuildSelect(e->builder, is_nan, values[0], best, "");
	}
	return best;
}

LLVMValueRef emit_plus_zero(Emitter *e, LLVMValueRef v)
{
	return LLVMBuildFAdd(e->builder, v, const_real(LLVMTypeOf(v), 0), "");
}

static LLVMValueRef emit_real(Emitter *e, KExpr *x, LLVMValueRef *v, bool any_zero)
{
	LLVMBuilderRef b = e->builder;
	switch (x->op) {
	case OP_ADD:
		return LLVMBuildFAdd(b, v[0], v[1], "");
	case OP_SUB:
		return LLVMBuildFSub(b, v[0], v[1], "");
	case OP_MUL:
		return LLVMBuildFMul(b, v[0], v[1], "");
	case OP_DIV:
		return LLVMBuildFDiv(b, v[0], v[1], "");
	case OP_NEG:
		return LLVMBuildFNeg(b, v[0], "");
	case OP_ABS:
		return emit_intrinsic1(e, "llvm.fabs", v[0]);
	case OP_MIN:
	case OP_MAX: {
		Range ra = facts_range(e->facts, x->args[0]), rb = facts_range(e->facts, x->args[1]);
		LLVMValueRef best = min_max(e, x->op == OP_MAX, v[0], v[1], ra, rb);
		Range r = facts_range(e->facts, x);
		return any_zero || r.lo > 0 || r.hi < 0 ? best : emit_plus_zero(e, best);
	}
	case OP_SQRT:
		return emit_intrinsic1(e, "llvm.sqrt", v[0]);
	case OP_FLOOR:
		return emit_intrinsic1(e, "llvm.floor", v[0]);
	case OP_CEIL:
		return emit_intrinsic1(e, "llvm.ceil", v[0]);
	case OP_TRUNC:
		return emit_intrinsic1(e, "llvm.trunc", v[0]);
	case OP_ROUND:
		return emit_intrinsic1(e, "llvm.round", v[0]);
	case OP_ROUND_EVEN:
		return emit_intrinsic1(e, "llvm.roundeven", v[0]);
	case OP_IS_NAN:
		return LLVMBuildFCmp(b, LLVMRealUNO, v[0], v[0], "");
	case OP_EQ:
		return LLVMBuildFCmp(b, LLVMRealOEQ, v[0], v[1], "");
	case OP_NE:
		return LLVMBuildFCmp(b, LLVMRealUNE, v[0], v[1], "");
	case OP_LT:
		return LLVMBuildFCmp(b, LLVMRealOLT, v[0], v[1], "");
	case OP_LE:
		return LLVMBuildFCmp(b, LLVMRealOLE, v[0], v[1], "");
	default:
		assert(!"an operation of reals");
		return NULL;
	}
}

/* ---- integers ---- */

/* Floor division; 0 for a divisor 0; the least integer // -1 wraps. */
static LLVMValueRef emit_floor_divide(Emitter *e, KExpr *x, LLVMValueRef a, LLVMValueRef divisor)
{
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef type = LLVMTypeOf(a);
	Range ra = facts_range(e->facts, x->args[0]), rb = facts_range(e->facts, x->args[1]);
	if (ra.least >= 0 && rb.least > 0)
		return LLVMBuildUDiv(b, a, divisor, "");
	LLVMValueRef zero = const_int(type, 0), safe = divisor, is_zero = NULL, is_minus = NULL;
	if (rb.least <= 0 && rb.most >= -1) {
		is_zero = LLVMBuildICmp(b, LLVMIntEQ, divisor, zero, "");
		is_minus = LLVMBuildICmp(b, LLVMIntEQ, divisor, const_int(type, -1), "");
		safe = LLVMBuildSelect(b, LLVMBuildOr(b, is_zero, is_minus, ""), const_int(type, 1), divisor, "");
	}
	LLVMValueRef quotient = LLVMBuildSDiv(b, a, safe, "");
	LLVMValueRef rest = LLVMBuildSRem(b, a, safe, "");
	LLVMValueRef has_rest = LLVMBuildICmp(b, LLVMIntNE, rest, zero, "");
	LLVMValueRef differ = LLVMBuildICmp(b, LLVMIntSLT, LLVMBuildXor(b, a, safe, ""), zero, "");
	quotient = LLVMBuildAdd(b, quotient, LLVMBuildSExt(b, LLVMBuildAnd(b, has_rest, differ, ""), type, ""), "");
	if (!is_zero)
		return quotient;
	quotient = LLVMBuildSelect(b, is_minus, LLVMBuildNeg(b, a, ""), quotient, "");
	return LLVMBuildSelect(b, is_zero, zero, quotient, "");
}

static LLVMValueRef emit_modulo(Emitter *e, KExpr *x, LLVMValueRef a, LLVMValueRef divisor)
{
	LLVMBuilderRef b = e->builder;
	LLVMValueRef quotient = emit_floor_divide(e, x, a, divisor);
	LLVMValueRef rest = LLVMBuildSub(b, a, LLVMBuildMul(b, quotient, divisor, ""), "");
	Range r = facts_range(e->facts, x->args[1]);
	if (r.least > 0 || r.most < 0)
		return rest;
	LLVMValueRef zero = const_int(LLVMTypeOf(a), 0);
	return LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntEQ, divisor, zero, ""), zero, rest, "");
}

static LLVMValueRef emit_shift(Emitter *e, KExpr *x, LLVMValueRef a, LLVMValueRef by)
{
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef type = LLVMTypeOf(a);
	int64_t width = x->type == T_I32 ? 32 : 64;
	LLVMValueRef shifted = x->op == OP_SHL ? LLVMBuildShl(b, a, by, "") : LLVMBuildLShr(b, a, by, "");
	Range r = facts_range(e->facts, x->args[1]);
	if (r.least >= 0 && r.most < width)
		return shifted;
	LLVMValueRef is_short = LLVMBuildICmp(b, LLVMIntULT, by, const_int(type, width), "");
	return LLVMBuildSelect(b, is_short, shifted, const_int(type, 0), "");
}

static LLVMValueRef integer_pick(Emitter *e, LLVMIntPredicate predicate, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSelect(e->builder, LLVMBuildICmp(e->builder, predicate, a, b, ""), a, b, "");
}

static LLVMValueRef emit_integer(Emitter *e, KExpr *x, LLVMValueRef *v)
{
	LLVMBuilderRef b = e->builder;
	bool is_bool = x->args[0]->type == T_BOOL;
	switch (x->op) {
	case OP_ADD:
		return LLVMBuildAdd(b, v[0], v[1], "");
	case OP_SUB:
		return LLVMBuildSub(b, v[0], v[1], "");
	case OP_MUL:
		return LLVMBuildMul(b, v[0], v[1], "");
	case OP_IDIV:
		return emit_floor_divide(e, x, v[0], v[1]);
	case OP_IMOD:
		return emit_modulo(e, x, v[0], v[1]);
	case OP_NEG:
		return LLVMBuildNeg(b, v[0], "");
	case OP_ABS:
		return integer_pick(e, LLVMIntSGT, v[0], LLVMBuildNeg(b, v[0], ""));
	case OP_MIN:
		return integer_pick(e, LLVMIntSLT, v[0], v[1]);
	case OP_MAX:
		return integer_pick(e, LLVMIntSGT, v[0], v[1]);
	case OP_EQ:
		return LLVMBuildICmp(b, LLVMIntEQ, v[0], v[1], "");
	case OP_NE:
		return LLVMBuildICmp(b, LLVMIntNE, v[0], v[1], "");
	case OP_LT:
		return LLVMBuildICmp(b, is_bool ? LLVMIntULT : LLVMIntSLT, v[0], v[1], "");
	case OP_LE:
		return LLVMBuildICmp(b, is_bool ? LLVMIntULE : LLVMIntSLE, v[0], v[1], "");
	case OP_AND:
	case OP_BIT_AND:
		return LLVMBuildAnd(b, v[0], v[1], "");
	case OP_OR:
	case OP_BIT_OR:
		return LLVMBuildOr(b, v[0], v[1], "");
	case OP_BIT_XOR:
		return LLVMBuildXor(b, v[0], v[1], "");
	case OP_NOT:
	case OP_BIT_NOT:
		return LLVMBuildNot(b, v[0], "");
	case OP_SHL:
	case OP_SHR:
		return emit_shift(e, x, v[0], v[1]);
	default:
		assert(!"an operation of integers");
		return NULL;
	}
}

/* ---- conversions ---- */

static LLVMValueRef emit_cast(Emitter *e, KExpr *x, LLVMValueRef v)
{
	LLVMBuilderRef b = e->builder;
	KType from = x->args[0]->type, to = x->type;
	LLVMTypeRef type = type_like(type_of(e, to), v);
	bool was_real = from == T_F32 || from == T_F64, is_real = to == T_F32 || to == T_F64;
	if (to == T_BOOL)
		return was_real ? LLVMBuildFCmp(b, LLVMRealUNE, v, const_real(LLVMTypeOf(v), 0), "")
						: LLVMBuildICmp(b, LLVMIntNE, v, const_int(LLVMTypeOf(v), 0), "");
	if (was_real && is_real)
		return to == T_F32 ? LLVMBuildFPTrunc(b, v, type, "") : LLVMBuildFPExt(b, v, type, "");
	if (was_real)
		return emit_real_to_int(e, v, facts_range(e->facts, x->args[0]), true, to == T_I32 ? 32 : 64, type_of(e, to));
	if (from == T_BOOL)
		return is_real ? LLVMBuildUIToFP(b, v, type, "") : LLVMBuildZExt(b, v, type, "");
	if (is_real)
		return LLVMBuildSIToFP(b, v, type, "");
	return to == T_I32 ? LLVMBuildTrunc(b, v, type, "") : LLVMBuildSExt(b, v, type, "");
}

/* ---- all of them ---- */

static LLVMValueRef emit_leaf(Emitter *e, KExpr *x)
{
	switch (x->op) {
	case OP_CONST:
		return x->type == T_F32 || x->type == T_F64 ? const_real(type_of(e, x->type), x->real)
													: const_int(type_of(e, x->type), x->integer);
	case OP_INDEX: {
		LLVMValueRef v = e->index_values[x->index->id];
		assert(v);
		return is_vector_value(v) ? v : LLVMBuildTrunc(e->builder, v, type_of(e, T_I32), "");
	}
	case OP_PARAM:
		return e->params[x->integer];
	case OP_LOAD:
		return emit_load(e, x);
	default:
		return NULL;
	}
}

/* Which operands' zeros may have any sign, given that the result's may. */
static bool operand_any_zero(KExpr *x, uint32_t argument, bool any_zero)
{
	switch (x->op) {
	case OP_ABS:
	case OP_MIN:
	case OP_MAX:
	case OP_EQ:
	case OP_NE:
	case OP_LT:
	case OP_LE:
	case OP_IS_NAN:
		return true;
	case OP_CAST:
		return any_zero || (x->type != T_F32 && x->type != T_F64);
	case OP_STORE_AS:
	case OP_BITS:
		return x->store.kind == STORE_UINT || x->store.kind == STORE_INT || x->store.kind == STORE_BOOL;
	case OP_DIV:
		return any_zero && argument == 0;
	case OP_ADD:
	case OP_SUB:
	case OP_MUL:
	case OP_NEG:
	case OP_SQRT:
	case OP_FLOOR:
	case OP_CEIL:
	case OP_TRUNC:
	case OP_ROUND:
	case OP_ROUND_EVEN:
		return any_zero;
	case OP_SELECT:
		return any_zero && argument > 0;
	default:
		return false;
	}
}

static LLVMValueRef emit_operation(Emitter *e, KExpr *x, bool any_zero);

static LLVMValueRef emit_any(Emitter *e, KExpr *x, bool any_zero)
{
	Memo *memo = memo_of(e, x);
	LLVMValueRef known = memo->exact ? memo->exact : any_zero ? memo->any_zero : NULL;
	if (known)
		return known;
	LLVMValueRef v = emit_leaf(e, x);
	if (v)
		any_zero = false;
	else
		v = emit_operation(e, x, any_zero);
	*(any_zero ? &memo->any_zero : &memo->exact) = v;
	return v;
}

/* It makes an integer of a real, towards zero. */
static bool is_truncation(const KExpr *x)
{
	KType from = x->args[0]->type;
	if (from != T_F32 && from != T_F64)
		return false;
	if (x->op == OP_CAST)
		return x->type == T_I32 || x->type == T_I64;
	return (x->op == OP_STORE_AS || x->op == OP_BITS) && (x->store.kind == STORE_UINT || x->store.kind == STORE_INT);
}

LLVMValueRef emit_truncated(Emitter *e, KExpr *x)
{
	if (x->op == OP_TRUNC)
		return emit_any_zero(e, x->args[0]);
	if (x->op != OP_ROUND || e->m->rounds_away)
		return emit_any_zero(e, x);
	/* Not 1/2: the number just below it would be rounded up. */
	LLVMValueRef v = emit_any_zero(e, x->args[0]);
	LLVMTypeRef type = LLVMTypeOf(v);
	LLVMValueRef args[] = {const_real(type, x->type == T_F32 ? 0x1.fffffep-2 : 0x1.fffffffffffffp-2), v};
	return LLVMBuildFAdd(e->builder, v, emit_intrinsic(e, "llvm.copysign", &type, 1, args, 2), "");
}

static LLVMValueRef emit_operation(Emitter *e, KExpr *x, bool any_zero)
{
	LLVMValueRef v[3] = {0};
	uint32_t arity = kop_arity(x->op);
	for (uint32_t i = 0; i < arity; i++)
		v[i] = is_truncation(x) ? emit_truncated(e, x->args[i])
								: emit_any(e, x->args[i], operand_any_zero(x, i, any_zero));
	KType from = x->args[0]->type;
	switch (x->op) {
	case OP_SELECT:
		if (is_vector_value(v[0]) || is_vector_value(v[1]) || is_vector_value(v[2])) {
			v[1] = splat(e, v[1]);
			v[2] = splat(e, v[2]);
		}
		return LLVMBuildSelect(e->builder, v[0], v[1], v[2], "");
	case OP_CAST:
		return emit_cast(e, x, v[0]);
	case OP_STORE_AS:
		return emit_store_as(e, x->store, from, v[0], facts_range(e->facts, x->args[0]));
	case OP_BITS:
		return emit_bits(e, x->store, from, v[0], facts_range(e->facts, x->args[0]), x->type);
	case OP_FROM_BITS:
		return emit_from_bits(e, x->store, from, v[0]);
	default:
		same_shape(e, v, arity);
		return from == T_F32 || from == T_F64 ? emit_real(e, x, v, any_zero) : emit_integer(e, x, v);
	}
}

LLVMValueRef emit_expr(Emitter *e, KExpr *x)
{
	return emit_any(e, x, false);
}

LLVMValueRef emit_any_zero(Emitter *e, KExpr *x)
{
	return emit_any(e, x, true);
}

LLVMValueRef emit_index64(Emitter *e, KExpr *x)
{
	LLVMValueRef v = emit_expr(e, x);
	LLVMTypeRef i64 = type_of(e, T_I64);
	return LLVMTypeOf(v) == i64 ? v : LLVMBuildSExt(e->builder, v, i64, "");
}
