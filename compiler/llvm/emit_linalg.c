/* SPDX-License-Identifier: MIT
 *
 * emit_linalg.c: whole matrices to the runtime: factorizations, and contractions
 * that are matrix products with strides.
 */
#include "emit.h"

static LLVMValueRef extent(Emitter *e, KBuffer *buffer, uint32_t axis)
{
	return emit_index64(e, buffer->extent[axis]);
}

void emit_linalg(Emitter *e, KStep *step)
{
	KBuffer *in = step->ins[0];
	LLVMTypeRef i64 = type_of(e, T_I64);
	LLVMValueRef is_double = const_int(i64, in->store.kind == STORE_F64), from = place_of(e, in)->base;
	LLVMValueRef m = extent(e, in, 0), n = extent(e, in, 1), to[3] = {0};
	for (uint32_t i = 0; i < linalg_outs(step->linalg); i++)
		to[i] = place_of(e, step->outs[i])->base;
	switch (step->linalg) {
	case LINALG_CHOLESKY:
		emit_runtime_call(
			e, "cmprt_cholesky", (LLVMValueRef[]){from, to[0], n, const_int(i64, step->upper), is_double});
		break;
	case LINALG_INVERSE:
		emit_runtime_call(e, "cmprt_inverse", (LLVMValueRef[]){from, to[0], n, is_double});
		break;
	case LINALG_SVD:
		emit_runtime_call(e, "cmprt_svd", (LLVMValueRef[]){from, to[0], to[1], to[2], m, n, is_double});
		break;
	case LINALG_QR:
		emit_runtime_call(e, "cmprt_qr", (LLVMValueRef[]){from, to[0], to[1], m, n, is_double});
		break;
	}
	memo_forget(e);
}

/* ---- contractions ---- */

/* One f32 matrix of a product: base and the strides, in elements, along two indices. */
typedef struct Operand {
	KBuffer *buffer;
	Linear *base;
	int64_t along_free, along_other;
} Operand;

static bool operand_of(Emitter *e, KBuffer *buffer, KExpr *const *subs, KIndex *free, KIndex *other, Operand *o)
{
	Place *place = place_of(e, buffer);
	if (buffer->store.kind != STORE_F32 || place->is_private)
		return false;
	o->buffer = buffer;
	o->base = linear_subscript(e, buffer, subs, -1);
	o->along_free = linear_take(o->base, free);
	o->along_other = linear_take(o->base, other);
	return o->along_free != 0 && o->along_other != 0 && !linear_uses(e, o->base, free) &&
		   !linear_uses(e, o->base, other);
}

static KIndex *free_index(const KStep *step, const KExpr *a, const KExpr *b)
{
	for (uint32_t i = 0; i < step->domain_count; i++)
		if (kexpr_uses(a, step->domain[i]) && !kexpr_uses(b, step->domain[i]))
			return step->domain[i];
	return NULL;
}

static LLVMValueRef operand_pointer(Emitter *e, Operand *o)
{
	LLVMValueRef at = linear_emit(e, linear_scaled(e, o->base, 4));
	return offset_pointer(e, place_of(e, o->buffer)->base, at);
}

static bool starts_at_zero(const KIndex *index)
{
	int64_t lo;
	return kexpr_is_const(index->lo, &lo) && lo == 0 && index->step == 1;
}

bool emit_contraction(Emitter *e, KStep *step)
{
	KExpr *product = step->value;
	if (product->op != OP_MUL || product->type != T_F32 || step->over_count != 1 || step->domain_count != 2 ||
		product->args[0]->op != OP_LOAD || product->args[1]->op != OP_LOAD ||
		!store_equal(step->store, step->dst->store))
		return false;
	KExpr *a = product->args[0], *b = product->args[1];
	KIndex *row = free_index(step, a, b), *column = free_index(step, b, a), *depth = step->over[0];
	if (!row || !column || !starts_at_zero(row) || !starts_at_zero(column) || !starts_at_zero(depth))
		return false;
	if (row != step->domain[0]) { /* c's rows are contiguous along its last index */
		KExpr *swap = a;
		a = b;
		b = swap;
		KIndex *other = row;
		row = column;
		column = other;
	}
	Operand to, left, right;
	if (!operand_of(e, step->dst, step->dst_subs, row, column, &to) || to.along_other != 1 ||
		!operand_of(e, a->buffer, a->subs, row, depth, &left) ||
		!operand_of(e, b->buffer, b->subs, column, depth, &right))
		return false;
	LLVMTypeRef i64 = type_of(e, T_I64);
	LLVMValueRef args[] = {operand_pointer(e, &to), const_int(i64, to.along_free), operand_pointer(e, &left),
		const_int(i64, left.along_free), const_int(i64, left.along_other), operand_pointer(e, &right),
		const_int(i64, right.along_other), const_int(i64, right.along_free), emit_trip_count(e, row),
		emit_trip_count(e, column), emit_trip_count(e, depth)};
	emit_runtime_call(e, "cmprt_gemm_f32", args);
	memo_forget(e);
	return true;
}
