/* SPDX-License-Identifier: MIT
 *
 * emit_reduce.c: accumulators of reductions, in scalars, lanes and vectors.
 *
 * The order of real sums and products is defined (kernel.h): strictly one after the
 * other, or 64 partial sums added pairwise at the end. Maxima, integer sums, counts
 * and positions do not depend on the order: in vector mode those have an accumulator
 * per element of the vector, folded when the vectors end.
 */
#include "emit.h"

#include <math.h>

enum { LONG_SUM = 256, PARTIALS = 64, NOWHERE = INT32_MAX };

static bool is_real(KType type)
{
	return type == T_F32 || type == T_F64;
}

static bool is_position(const KStep *step)
{
	return step->reduce == REDUCE_ARGMAX || step->reduce == REDUCE_ARGMIN;
}

KType reduce_type(const KStep *step)
{
	switch (step->reduce) {
	case REDUCE_ANY:
	case REDUCE_ALL:
		return T_BOOL;
	case REDUCE_COUNT:
	case REDUCE_ARGMAX:
	case REDUCE_ARGMIN:
		return T_I32;
	default:
		return step->value->type;
	}
}

bool reduce_is_long(KStep *step, uint32_t axis)
{
	int64_t count;
	if (step->reduce != REDUCE_SUM || step->in_order || !is_real(step->value->type))
		return false;
	if (axis == step->over_count) {
		if (step->over_count != 1)
			return false;
		axis = 0;
	}
	return !const_trip_count(step->over[axis], &count) || count > LONG_SUM;
}

LLVMValueRef sum_is_long(Emitter *e, LLVMValueRef trips)
{
	return LLVMBuildICmp(e->builder, LLVMIntSGT, trips, const_int(type_of(e, T_I64), LONG_SUM), "is_long");
}

/* ---- accumulators ---- */

static LLVMValueRef identity(const KStep *step, LLVMTypeRef type)
{
	KType value = step->value->type;
	int64_t least = value == T_I64 ? INT64_MIN : INT32_MIN, most = value == T_I64 ? INT64_MAX : INT32_MAX;
	switch (step->reduce) {
	case REDUCE_MAX:
	case REDUCE_ARGMAX:
		return is_real(value) ? const_real(type, (double)-INFINITY) : const_int(type, least);
	case REDUCE_MIN:
	case REDUCE_ARGMIN:
		return is_real(value) ? const_real(type, (double)INFINITY) : const_int(type, most);
	case REDUCE_PROD:
		return is_real(value) ? const_real(type, 1) : const_int(type, 1);
	case REDUCE_ALL:
		return const_int(type, 1);
	case REDUCE_SUM:
		return is_real(value) ? const_real(type, 0) : const_int(type, 0);
	default:
		return const_int(type, 0);
	}
}

static LLVMTypeRef shaped(LLVMTypeRef element, uint32_t width)
{
	return width ? LLVMVectorType(element, width) : element;
}

static LLVMValueRef new_cell(Emitter *e, LLVMTypeRef type, LLVMValueRef value, const char *name)
{
	LLVMValueRef at = alloca_at_entry(e, type, name);
	LLVMBuildStore(e->builder, value, at);
	return at;
}

static LLVMValueRef load_cell(Emitter *e, LLVMTypeRef type, LLVMValueRef at)
{
	return LLVMBuildLoad2(e->builder, type, at, "");
}

/* Partial sums are read and written in other vectors than they were made in. */
static uint32_t partial_align(const Reducer *r)
{
	return LLVMGetTypeKind(r->element) == LLVMFloatTypeKind ? 4 : 8;
}

static LLVMValueRef load_partials(Emitter *e, Reducer *r, LLVMTypeRef type, LLVMValueRef at)
{
	return load_at(e, type, at, partial_align(r), NULL);
}

static void store_partials(Emitter *e, Reducer *r, LLVMValueRef value, LLVMValueRef at)
{
	store_at(e, value, at, partial_align(r), NULL);
}

/* The place of partial sum number `slot`. */
static LLVMValueRef partial_at(Emitter *e, Reducer *r, LLVMValueRef slot)
{
	LLVMTypeRef cell = shaped(r->element, e->mode == MODE_LANES ? e->width : 0);
	return LLVMBuildInBoundsGEP2(e->builder, cell, r->cells, &slot, 1, "");
}

static void begin_partials(Emitter *e, Reducer *r, uint32_t lanes)
{
	LLVMTypeRef i64 = type_of(e, T_I64), cell = shaped(r->element, lanes);
	r->cells = alloca_at_entry(e, LLVMArrayType2(cell, PARTIALS), "partials");
	LoopFrame loop = loop_begin(e, const_int(i64, 0), const_int(i64, PARTIALS), 1, "clear");
	store_partials(e, r, const_real(cell, 0), partial_at(e, r, loop.counter));
	loop_end(e, &loop, 1);
}

Reducer *reducer_begin(Emitter *e, KStep *step, uint32_t axis, uint32_t width)
{
	Reducer *r = arena_new_of(e->k->c->arena, Reducer);
	*r = (Reducer){.step = step, .type = reduce_type(step), .is_long = reduce_is_long(step, axis), .width = width};
	bool is_ordered_kind = (step->reduce == REDUCE_SUM || step->reduce == REDUCE_PROD) && is_real(r->type);
	r->in_order = is_ordered_kind && !r->is_long;
	r->element = type_of(e, is_position(step) ? step->value->type : r->type);
	uint32_t lanes = e->mode == MODE_LANES ? e->width : 0;
	if (r->is_long) {
		KIndex *index = step->over[axis == step->over_count ? 0 : axis];
		LLVMValueRef trips = emit_trip_count(e, index), all = const_int(LLVMTypeOf(trips), PARTIALS - 1);
		r->mask = LLVMBuildSelect(e->builder, sum_is_long(e, trips), all, const_int(LLVMTypeOf(trips), 0), "mask");
		begin_partials(e, r, lanes);
	}
	LLVMTypeRef total = shaped(r->element, lanes);
	r->total = new_cell(e, total, identity(step, total), "total");
	if (is_position(step)) {
		LLVMTypeRef positions = shaped(type_of(e, T_I32), lanes);
		r->position = new_cell(e, positions, const_int(positions, NOWHERE), "found");
	}
	if (width == 0 || r->in_order)
		return r;
	uint32_t parts = r->is_long ? PARTIALS / width : 1;
	LLVMTypeRef vector = LLVMVectorType(r->element, width);
	r->vectors = arena_array(e->k->c->arena, LLVMValueRef, parts);
	for (uint32_t i = 0; i < parts; i++)
		r->vectors[i] = new_cell(e, vector, identity(step, vector), "vector");
	if (is_position(step)) {
		LLVMTypeRef positions = LLVMVectorType(type_of(e, T_I32), width);
		r->vector_position = new_cell(e, positions, const_int(positions, NOWHERE), "found");
	}
	return r;
}

/* ---- one more element ---- */

static LLVMValueRef better(Emitter *e, const KStep *step, LLVMValueRef a, LLVMValueRef b)
{
	bool is_max = step->reduce == REDUCE_MAX || step->reduce == REDUCE_ARGMAX;
	if (is_real(step->value->type))
		return LLVMBuildFCmp(e->builder, is_max ? LLVMRealOGT : LLVMRealOLT, a, b, "");
	return LLVMBuildICmp(e->builder, is_max ? LLVMIntSGT : LLVMIntSLT, a, b, "");
}

static LLVMValueRef combine(Emitter *e, Reducer *r, LLVMValueRef total, LLVMValueRef v)
{
	LLVMBuilderRef b = e->builder;
	bool real = is_real(r->type);
	switch (r->step->reduce) {
	case REDUCE_SUM:
		return real ? LLVMBuildFAdd(b, total, v, "") : LLVMBuildAdd(b, total, v, "");
	case REDUCE_PROD:
		return real ? LLVMBuildFMul(b, total, v, "") : LLVMBuildMul(b, total, v, "");
	case REDUCE_MAX:
	case REDUCE_MIN: /* v > total ? v : total skips a v that is no number, and is one instruction */
		return LLVMBuildSelect(b, better(e, r->step, v, total), v, total, "");
	case REDUCE_ANY:
		return LLVMBuildOr(b, total, v, "");
	case REDUCE_ALL:
		return LLVMBuildAnd(b, total, v, "");
	case REDUCE_COUNT:
		return LLVMBuildAdd(
			b, total, LLVMTypeOf(v) == LLVMTypeOf(total) ? v : LLVMBuildZExt(b, v, LLVMTypeOf(total), ""), "");
	default:
		return total;
	}
}

/* The order-free fold of the elements of a vector, log2 steps. */
static LLVMValueRef upper_half(Emitter *e, LLVMValueRef v, unsigned count, unsigned half)
{
	LLVMTypeRef i32 = type_of(e, T_I32);
	LLVMValueRef mask[PARTIALS];
	for (unsigned i = 0; i < half; i++)
		mask[i] = const_int(i32, i + half < count ? i + half : i);
	return LLVMBuildShuffleVector(e->builder, v, LLVMGetPoison(LLVMTypeOf(v)), LLVMConstVector(mask, half), "");
}

static LLVMValueRef lower_half(Emitter *e, LLVMValueRef v, unsigned half)
{
	return upper_half(e, v, 0, half);
}

static void add_ordered(Emitter *e, Reducer *r, LLVMValueRef v)
{
	LLVMTypeRef type = LLVMTypeOf(v);
	LLVMValueRef total = load_cell(e, r->element, r->total);
	const char *name = r->step->reduce == REDUCE_SUM ? "llvm.vector.reduce.fadd" : "llvm.vector.reduce.fmul";
	LLVMValueRef args[] = {total, v};
	LLVMBuildStore(e->builder, emit_intrinsic(e, name, &type, 1, args, 2), r->total);
}

/* Any number there can be is better than what the accumulator starts with, so the first one is taken by itself. */
static bool beats_identity(Emitter *e, KStep *step)
{
	Range r = facts_range(e->facts, step->value);
	bool is_max = step->reduce == REDUCE_ARGMAX;
	if (is_real(step->value->type))
		return is_max ? r.lo > (double)-INFINITY : r.hi < (double)INFINITY;
	int64_t least = step->value->type == T_I64 ? INT64_MIN : INT32_MIN;
	int64_t most = step->value->type == T_I64 ? INT64_MAX : INT32_MAX;
	return is_max ? r.least > least : r.most < most;
}

static void add_position(Emitter *e, Reducer *r, LLVMValueRef v, LLVMValueRef position, bool in_vector)
{
	LLVMBuilderRef b = e->builder;
	LLVMValueRef at = in_vector ? r->vector_position : r->position, best = in_vector ? r->vectors[0] : r->total;
	LLVMTypeRef type = LLVMTypeOf(v), positions = type_like(type_of(e, T_I32), v);
	LLVMValueRef here = LLVMBuildTrunc(b, position, type_of(e, T_I32), "");
	if (is_vector_value(v))
		here = splat(e, here);
	if (in_vector) {
		LLVMValueRef lanes[PARTIALS];
		for (uint32_t i = 0; i < e->width; i++)
			lanes[i] = const_int(type_of(e, T_I32), i);
		here = LLVMBuildAdd(b, here, LLVMConstVector(lanes, e->width), "");
	}
	LLVMValueRef held = load_cell(e, type, best), found = load_cell(e, positions, at);
	LLVMValueRef takes = better(e, r->step, v, held);
	if (!beats_identity(e, r->step)) {
		LLVMValueRef is_first = LLVMBuildICmp(b, LLVMIntEQ, found, const_int(positions, NOWHERE), "");
		if (is_real(r->step->value->type) && facts_range(e->facts, r->step->value).may_be_nan)
			is_first = LLVMBuildAnd(b, is_first, LLVMBuildFCmp(b, LLVMRealORD, v, v, ""), "");
		takes = LLVMBuildOr(b, takes, is_first, "");
	}
	LLVMBuildStore(b, LLVMBuildSelect(b, takes, v, held, ""), best);
	LLVMBuildStore(b, LLVMBuildSelect(b, takes, here, found, ""), at);
}

static void add_partial(Emitter *e, Reducer *r, LLVMValueRef v, LLVMValueRef position, uint32_t part)
{
	LLVMValueRef at;
	if (e->mode == MODE_VECTOR)
		at = r->vectors[part];
	else
		at = partial_at(e, r, LLVMBuildAnd(e->builder, position, r->mask, ""));
	LLVMValueRef sum = LLVMBuildFAdd(e->builder, load_partials(e, r, LLVMTypeOf(v), at), v, "");
	store_partials(e, r, sum, at);
}

void reducer_add(Emitter *e, Reducer *r, LLVMValueRef v, LLVMValueRef position, uint32_t part)
{
	bool in_vector = e->mode == MODE_VECTOR;
	if (e->mode != MODE_SCALAR)
		v = splat(e, v);
	if (r->is_long) {
		add_partial(e, r, v, position, part);
	} else if (in_vector && r->in_order) {
		add_ordered(e, r, v);
	} else if (is_position(r->step)) {
		add_position(e, r, v, position, in_vector);
	} else {
		LLVMValueRef at = in_vector ? r->vectors[0] : r->total;
		LLVMTypeRef type = e->mode == MODE_SCALAR ? r->element : LLVMVectorType(r->element, e->width);
		LLVMBuildStore(e->builder, combine(e, r, load_cell(e, type, at), v), at);
	}
}

/* ---- the end ---- */

static void leave_partials(Emitter *e, Reducer *r)
{
	LLVMTypeRef vector = LLVMVectorType(r->element, r->width);
	for (uint32_t i = 0; i < PARTIALS / r->width; i++) {
		LLVMValueRef to = partial_at(e, r, const_int(type_of(e, T_I64), (int64_t)i * r->width));
		LLVMValueRef own = load_partials(e, r, vector, r->vectors[i]), before = load_partials(e, r, vector, to);
		store_partials(e, r, LLVMBuildFAdd(e->builder, before, own, ""), to);
	}
}

static void leave_position(Emitter *e, Reducer *r)
{
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef i32 = type_of(e, T_I32);
	LLVMValueRef v = load_cell(e, LLVMVectorType(r->element, r->width), r->vectors[0]);
	LLVMValueRef at = load_cell(e, LLVMVectorType(i32, r->width), r->vector_position);
	bool real = is_real(r->step->value->type);
	for (unsigned count = r->width;; count = (count + 1) / 2) {
		unsigned half = (count + 1) / 2;
		LLVMValueRef other, other_at;
		if (count > 1) {
			other = upper_half(e, v, count, half);
			other_at = upper_half(e, at, count, half);
			v = lower_half(e, v, half);
			at = lower_half(e, at, half);
		} else { /* at last with what scalars found */
			other = LLVMBuildExtractElement(b, v, const_int(i32, 0), "");
			other_at = LLVMBuildExtractElement(b, at, const_int(i32, 0), "");
			v = load_cell(e, r->element, r->total);
			at = load_cell(e, i32, r->position);
		}
		LLVMValueRef same =
			real ? LLVMBuildFCmp(b, LLVMRealOEQ, other, v, "") : LLVMBuildICmp(b, LLVMIntEQ, other, v, "");
		LLVMValueRef earlier = LLVMBuildAnd(b, same, LLVMBuildICmp(b, LLVMIntSLT, other_at, at, ""), "");
		LLVMValueRef takes = LLVMBuildOr(b, better(e, r->step, other, v), earlier, "");
		v = LLVMBuildSelect(b, takes, other, v, "");
		at = LLVMBuildSelect(b, takes, other_at, at, "");
		if (count == 1)
			break;
	}
	LLVMBuildStore(b, v, r->total);
	LLVMBuildStore(b, at, r->position);
}

static void leave_vector(Emitter *e, Reducer *r)
{
	LLVMValueRef v = load_cell(e, LLVMVectorType(r->element, r->width), r->vectors[0]);
	for (unsigned count = r->width; count > 1; count = (count + 1) / 2) {
		unsigned half = (count + 1) / 2;
		LLVMValueRef low = lower_half(e, v, half), high = upper_half(e, v, count, half);
		if (count % 2 == 0) {
			v = combine(e, r, low, high);
			continue;
		}
		/* The middle element has no partner: it stays as it is. */
		LLVMValueRef both = combine(e, r, low, high), last = const_int(type_of(e, T_I32), half - 1);
		LLVMValueRef middle = LLVMBuildExtractElement(e->builder, low, last, "");
		v = LLVMBuildInsertElement(e->builder, both, middle, last, "");
	}
	v = LLVMBuildExtractElement(e->builder, v, const_int(type_of(e, T_I32), 0), "");
	LLVMBuildStore(e->builder, combine(e, r, load_cell(e, r->element, r->total), v), r->total);
}

void reducer_leave_vectors(Emitter *e, Reducer *r)
{
	if (!r->vectors)
		return;
	if (r->is_long)
		leave_partials(e, r);
	else if (is_position(r->step))
		leave_position(e, r);
	else
		leave_vector(e, r);
	LLVMTypeRef vector = LLVMVectorType(r->element, r->width);
	for (uint32_t i = 0; i < (r->is_long ? PARTIALS / r->width : 1); i++)
		LLVMBuildStore(e->builder, identity(r->step, vector), r->vectors[i]);
	if (r->vector_position) {
		LLVMTypeRef positions = LLVMVectorType(type_of(e, T_I32), r->width);
		LLVMBuildStore(e->builder, const_int(positions, NOWHERE), r->vector_position);
	}
}

/* 0+32, 1+33, ..; then 16, 8, 4, 2, 1 */
static LLVMValueRef fold_partials(Emitter *e, Reducer *r)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	if (e->mode != MODE_LANES) {
		LLVMValueRef v = load_partials(e, r, LLVMVectorType(r->element, PARTIALS), r->cells);
		for (unsigned count = PARTIALS; count > 1; count /= 2)
			v = LLVMBuildFAdd(e->builder, lower_half(e, v, count / 2), upper_half(e, v, count, count / 2), "");
		return LLVMBuildExtractElement(e->builder, v, const_int(type_of(e, T_I32), 0), "");
	}
	LLVMTypeRef cell = LLVMVectorType(r->element, e->width);
	for (int64_t half = PARTIALS / 2; half > 0; half /= 2) {
		LoopFrame loop = loop_begin(e, const_int(i64, 0), const_int(i64, half), 1, "fold");
		LLVMValueRef low = partial_at(e, r, loop.counter);
		LLVMValueRef high = partial_at(e, r, LLVMBuildAdd(e->builder, loop.counter, const_int(i64, half), ""));
		LLVMValueRef sum = load_partials(e, r, cell, low);
		sum = LLVMBuildFAdd(e->builder, sum, load_partials(e, r, cell, high), "");
		store_partials(e, r, sum, low);
		loop_end(e, &loop, 1);
	}
	return load_partials(e, r, cell, r->cells);
}

LLVMValueRef reducer_end(Emitter *e, Reducer *r)
{
	reducer_leave_vectors(e, r);
	if (r->is_long)
		return fold_partials(e, r);
	uint32_t lanes = e->mode == MODE_LANES ? e->width : 0;
	if (is_position(r->step)) {
		LLVMTypeRef positions = shaped(type_of(e, T_I32), lanes);
		LLVMValueRef at = load_cell(e, positions, r->position);
		LLVMValueRef is_none = LLVMBuildICmp(e->builder, LLVMIntEQ, at, const_int(positions, NOWHERE), "");
		return LLVMBuildSelect(e->builder, is_none, const_int(positions, 0), at, "");
	}
	LLVMValueRef v = load_cell(e, shaped(r->element, lanes), r->total);
	bool is_extreme = r->step->reduce == REDUCE_MAX || r->step->reduce == REDUCE_MIN;
	bool has_minus_zero = is_extreme && is_real(r->type) && r->step->value->op != OP_ABS;
	return has_minus_zero ? emit_plus_zero(e, v) : v;
}

/* A sum over several axes that may turn out to be short or long has both codes. */
static LLVMValueRef emit_sum_of_unknown_length(Emitter *e, KStep *step, LLVMValueRef total)
{
	LLVMContextRef context = e->m->context;
	KStep *flat = arena_new_of(e->k->c->arena, KStep);
	*flat = *step;
	flat->in_order = true;
	LLVMTypeRef type = shaped(type_of(e, step->value->type), e->mode == MODE_LANES ? e->width : 0);
	LLVMValueRef result = alloca_at_entry(e, type, "sum");
	LLVMBasicBlockRef longer = LLVMAppendBasicBlockInContext(context, e->function, "sum.long");
	LLVMBasicBlockRef shorter = LLVMAppendBasicBlockInContext(context, e->function, "sum.short");
	LLVMBasicBlockRef join = LLVMAppendBasicBlockInContext(context, e->function, "sum.end");
	LLVMBuildCondBr(e->builder, sum_is_long(e, total), longer, shorter);
	KStep *ways[] = {step, flat};
	LLVMBasicBlockRef blocks[] = {longer, shorter};
	for (int i = 0; i < 2; i++) {
		LLVMPositionBuilderAtEnd(e->builder, blocks[i]);
		memo_forget(e);
		LLVMBuildStore(e->builder, emit_reduce_nest(e, ways[i], 0), result);
		LLVMBuildBr(e->builder, join);
	}
	LLVMPositionBuilderAtEnd(e->builder, join);
	memo_forget(e);
	return load_cell(e, type, result);
}

LLVMValueRef emit_reduction(Emitter *e, KStep *step)
{
	if (step->reduce == REDUCE_QUANTILE)
		return emit_quantile(e, step);
	if (step->reduce == REDUCE_SUM && !step->in_order && is_real(step->value->type) && step->over_count > 1) {
		LLVMValueRef total = const_int(type_of(e, T_I64), 1);
		for (uint32_t i = 0; i < step->over_count; i++)
			total = LLVMBuildMul(e->builder, total, emit_trip_count(e, step->over[i]), "");
		if (!LLVMIsConstant(total))
			return emit_sum_of_unknown_length(e, step, total);
	}
	return emit_reduce_nest(e, step, 0);
}
