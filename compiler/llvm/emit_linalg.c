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
			e, "cmprt_cholesky", (LLVMValueRef[]){e->frame, from, to[0], n, const_int(i64, step->upper), is_double});
		break;
	case LINALG_INVERSE_FACTOR:
		emit_runtime_call(e, "cmprt_inverse_factor",
			(LLVMValueRef[]){e->frame, from, to[0], n, const_int(i64, step->upper), is_double});
		break;
	case LINALG_INVERSE:
		emit_runtime_call(e, "cmprt_inverse", (LLVMValueRef[]){e->frame, from, to[0], n, is_double});
		break;
	case LINALG_SVD:
		emit_runtime_call(e, "cmprt_svd", (LLVMValueRef[]){e->frame, from, to[0], to[1], to[2], m, n, is_double});
		break;
	case LINALG_QR:
		emit_runtime_call(e, "cmprt_qr", (LLVMValueRef[]){e->frame, from, to[0], to[1], m, n, is_double});
		break;
	}
	memo_forget(e);
}

/* ---- contractions ---- */

/* What a sum of products is as a matrix product: c[row, column] = sum over depth of a[row, depth] * b[depth, column],
 * once for every value of the other indices of its domain. */
typedef struct Product {
	KStep *step;
	KExpr *a, *b;
	KIndex *row, *column;
} Product;

/* One f32 matrix of it: base, and the strides, in elements, along its two directions. */
typedef struct Operand {
	KBuffer *buffer;
	Linear *base;
	int64_t along_free, along_other;
} Operand;

/* The step between two turns of the indices together, the last the fastest; 0: there is none that holds for all. */
static int64_t take_together(Emitter *e, Linear *base, KIndex *const *indices, uint32_t count)
{
	int64_t stride = 0, turns = 1;
	for (uint32_t i = count; i-- > 0;) {
		int64_t own = linear_take(base, indices[i]);
		if (linear_uses(e, base, indices[i]))
			return 0;
		if (i + 1 == count)
			stride = own;
		else if (own != stride * turns)
			return 0;
		int64_t extent;
		if (i > 0 && !const_trip_count(indices[i], &extent))
			return 0;
		turns *= i > 0 ? extent : 1;
	}
	return stride;
}

static bool operand_of(Emitter *e, KBuffer *buffer, KExpr *const *subs, KIndex *free, KIndex *const *others,
	uint32_t other_count, Operand *o)
{
	Place *place = place_of(e, buffer);
	if (buffer->store.kind != STORE_F32 || place->is_private)
		return false;
	o->buffer = buffer;
	o->base = linear_subscript(e, buffer, subs, -1);
	o->along_free = linear_take(o->base, free);
	o->along_other = take_together(e, o->base, others, other_count);
	return o->along_free != 0 && o->along_other != 0 && !linear_uses(e, o->base, free);
}

/* The last index of the domain that a has and b lacks: the one that is likely to be contiguous. */
static KIndex *free_index(const KStep *step, const KExpr *a, const KExpr *b)
{
	for (uint32_t i = step->domain_count; i-- > 0;)
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

static uint32_t place_in_domain(const KStep *step, const KIndex *index)
{
	uint32_t at = 0;
	while (step->domain[at] != index)
		at++;
	return at;
}

/* One call is for all rows, columns and depths: how many there are, and which batches, depends on none of them. */
static bool is_rectangular(const KStep *step, const Product *p)
{
	for (uint32_t i = 0; i < step->domain_count + step->over_count; i++) {
		const KExpr *end = i < step->domain_count ? step->domain[i]->hi : step->over[i - step->domain_count]->hi;
		if (kexpr_uses(end, p->row) || kexpr_uses(end, p->column))
			return false;
		for (uint32_t d = 0; d < step->over_count; d++)
			if (kexpr_uses(end, step->over[d]))
				return false;
	}
	return true;
}

static bool find_product(KStep *step, Product *p)
{
	KExpr *value = step->value;
	if (value->op != OP_MUL || value->type != T_F32 || value->args[0]->op != OP_LOAD || value->args[1]->op != OP_LOAD ||
		!store_equal(step->store, step->dst->store))
		return false;
	*p = (Product){.step = step, .a = value->args[0], .b = value->args[1]};
	p->row = free_index(step, p->a, p->b);
	p->column = free_index(step, p->b, p->a);
	if (!p->row || !p->column || !starts_at_zero(p->row) || !starts_at_zero(p->column))
		return false;
	for (uint32_t i = 0; i < step->over_count; i++)
		if (!starts_at_zero(step->over[i]))
			return false;
	if (!is_rectangular(step, p))
		return false;
	if (place_in_domain(step, p->row) >
		place_in_domain(step, p->column)) { /* c's rows are contiguous along its last index */
		Product turned = {step, p->b, p->a, p->column, p->row};
		*p = turned;
	}
	return true;
}

static LLVMValueRef emit_depth(Emitter *e, const KStep *step)
{
	LLVMValueRef depth = emit_trip_count(e, step->over[0]);
	for (uint32_t i = 1; i < step->over_count; i++)
		depth = LLVMBuildMul(e->builder, depth, emit_trip_count(e, step->over[i]), "depth");
	return depth;
}

/* Is it one matrix times its own transpose? */
static bool is_square_of_one(const Product *p, const Operand *left, const Operand *right)
{
	return left->buffer == right->buffer && left->along_free == right->along_free &&
		   left->along_other == right->along_other && linear_equal(left->base, right->base) &&
		   kexpr_equal(p->row->hi, p->column->hi);
}

/* Loops over the domain's indices from number `at` on that are neither rows nor columns; inside, the call. */
static void emit_product(Emitter *e, const Product *p, uint32_t at, Operand *to, Operand *left, Operand *right)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	const KStep *step = p->step;
	while (at < step->domain_count && (step->domain[at] == p->row || step->domain[at] == p->column))
		at++;
	if (at < step->domain_count) {
		KIndex *index = step->domain[at];
		LoopFrame loop = loop_begin(e, const_int(i64, 0), emit_trip_count(e, index), 1, "batch");
		bind_index(e, index, loop.counter);
		emit_product(e, p, at + 1, to, left, right);
		loop_end(e, &loop, 1);
		e->index_values[index->id] = NULL;
		return;
	}
	if (!step->minuend && is_square_of_one(p, left, right)) {
		LLVMValueRef own[] = {e->frame, operand_pointer(e, to), const_int(i64, to->along_free),
			operand_pointer(e, left), const_int(i64, left->along_free), const_int(i64, left->along_other),
			emit_trip_count(e, p->row), emit_depth(e, step)};
		emit_runtime_call(e, "cmprt_syrk_f32", own);
		return;
	}
	LLVMValueRef args[] = {e->frame, operand_pointer(e, to), const_int(i64, to->along_free), operand_pointer(e, left),
		const_int(i64, left->along_free), const_int(i64, left->along_other), operand_pointer(e, right),
		const_int(i64, right->along_other), const_int(i64, right->along_free), emit_trip_count(e, p->row),
		emit_trip_count(e, p->column), emit_depth(e, step), const_int(i64, step->minuend != NULL)};
	emit_runtime_call(e, "cmprt_gemm_f32", args);
}

/* What it is taken off from, if anything, is what lies where it goes. */
static bool is_in_place(const KStep *step)
{
	const KExpr *from = step->minuend;
	if (!from)
		return true;
	bool is_same = from->op == OP_LOAD && from->buffer == step->dst && store_equal(from->store, step->store);
	for (uint32_t i = 0; is_same && i < step->dst->rank; i++) {
		int64_t difference;
		is_same = kexpr_difference(from->subs[i], step->dst_subs[i], &difference) && difference == 0;
	}
	return is_same;
}

bool emit_contraction(Emitter *e, KStep *step)
{
	Product p;
	Operand to, left, right;
	if (!is_in_place(step) || !find_product(step, &p) ||
		!operand_of(e, step->dst, step->dst_subs, p.row, &p.column, 1, &to) || to.along_other != 1 ||
		!operand_of(e, p.a->buffer, p.a->subs, p.row, step->over, step->over_count, &left) ||
		!operand_of(e, p.b->buffer, p.b->subs, p.column, step->over, step->over_count, &right))
		return false;
	emit_product(e, &p, 0, &to, &left, &right);
	memo_forget(e);
	return true;
}
