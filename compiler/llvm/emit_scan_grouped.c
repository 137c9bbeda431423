/* SPDX-License-Identifier: MIT
 *
 * emit_scan_grouped.c: ranks within groups of a few neighbours (N of M), in vectors.
 *
 * A vector holds whole groups, and the elements of a group meet by rotation within
 * it. f32 values are compared as integers that sort like them; a tie is decided by
 * position, which is a constant of each lane: a <= b is a < b + 1.
 */
#include "emit.h"

enum { GROUP_MOST = 16, WIDTH_MOST = 64 };

typedef struct Grouped {
	KStep *step; /* the step in terms of one index that runs through all groups */
	KIndex *index;
	uint32_t size; /* of a group */
	KIndex **outer;
	uint32_t outer_count;
} Grouped;

/* From here on index ids grow; the table of values follows. */
static KIndex *new_index(Emitter *e, const char *name, KExpr *hi)
{
	KIndex *index = kindex_new(e->k, name, kexpr_int(e->k, T_I32, 0), hi, 1);
	LLVMValueRef *values = arena_array(e->k->c->arena, LLVMValueRef, e->k->index_count);
	for (uint32_t i = 0; i + 1 < e->k->index_count; i++)
		values[i] = e->index_values[i];
	e->index_values = values;
	return index;
}

static bool starts_at_zero(const KIndex *index)
{
	int64_t lo;
	return kexpr_is_const(index->lo, &lo) && lo == 0 && index->step == 1;
}

bool scan_is_grouped(Emitter *e, KStep *step)
{
	int64_t size, turns;
	if (step->kind != STEP_SCAN || (step->scan != SCAN_RANK && step->scan != SCAN_SMALLEST) || e->mode != MODE_SCALAR ||
		step->over_count != 1 || step->domain_count == 0 || (step->value->type != T_F32 && step->value->type != T_I32))
		return false;
	KIndex *over = step->over[0], *group = step->domain[step->domain_count - 1];
	if (!const_trip_count(over, &size) || size < 2 || size > GROUP_MOST || (size & (size - 1)) != 0 ||
		!starts_at_zero(over) || !starts_at_zero(group) || !const_trip_count(group, &turns))
		return false;
	Linear *to = linear_subscript(e, step->dst, step->dst_subs, -1);
	return linear_take(to, group) == size && linear_take(to, over) == 1;
}

static KExpr *flattened(Emitter *e, KStep *step, KExpr *x, KExpr *group, KExpr *member)
{
	if (!x)
		return NULL;
	x = kexpr_substitute(e->k, x, step->domain[step->domain_count - 1], group);
	return kexpr_substitute(e->k, x, step->over[0], member);
}

static Grouped flatten(Emitter *e, KStep *step)
{
	int64_t size, turns;
	KIndex *group = step->domain[step->domain_count - 1];
	const_trip_count(step->over[0], &size);
	const_trip_count(group, &turns);
	Grouped g = {.size = (uint32_t)size, .outer = step->domain, .outer_count = step->domain_count - 1};
	g.index = new_index(e, "member", kexpr_int(e->k, T_I32, size * turns));
	KExpr *at = kexpr_index(e->k, g.index), *by = kexpr_int(e->k, T_I32, size);
	KExpr *quotient = kexpr_binary(e->k, OP_IDIV, at, by), *rest = kexpr_binary(e->k, OP_IMOD, at, by);
	g.step = arena_new_of(e->k->c->arena, KStep);
	*g.step = *step;
	g.step->value = flattened(e, step, step->value, quotient, rest);
	g.step->limit = flattened(e, step, step->limit, quotient, rest);
	g.step->dst_subs = arena_array(e->k->c->arena, KExpr *, step->dst->rank);
	for (uint32_t i = 0; i < step->dst->rank; i++)
		g.step->dst_subs[i] = flattened(e, step, step->dst_subs[i], quotient, rest);
	return g;
}

/* For each lane, how many of its group come before it. */
static LLVMValueRef count_before(Emitter *e, KStep *step, LLVMValueRef image, uint32_t size)
{
	LLVMTypeRef i32 = type_of(e, T_I32), type = LLVMTypeOf(image);
	LLVMValueRef count = const_int(type, 0), mask[WIDTH_MOST], is_first[WIDTH_MOST];
	bool may_overflow = step->value->type == T_I32;
	for (uint32_t by = 1; by < size; by++) {
		for (uint32_t i = 0; i < e->width; i++) {
			uint32_t own = i % size, other = (own + by) % size;
			mask[i] = const_int(i32, i - own + other);
			is_first[i] = const_int(may_overflow ? LLVMInt1TypeInContext(e->m->context) : i32, other < own);
		}
		LLVMValueRef others =
			LLVMBuildShuffleVector(e->builder, image, LLVMGetPoison(type), LLVMConstVector(mask, e->width), "");
		LLVMValueRef ties = LLVMConstVector(is_first, e->width), before;
		if (may_overflow) {
			LLVMValueRef same = LLVMBuildICmp(e->builder, LLVMIntEQ, others, image, "");
			before = LLVMBuildICmp(e->builder, LLVMIntSLT, others, image, "");
			before = LLVMBuildOr(e->builder, before, LLVMBuildAnd(e->builder, same, ties, ""), "");
		} else {
			before = LLVMBuildICmp(e->builder, LLVMIntSLT, others, LLVMBuildAdd(e->builder, image, ties, ""), "");
		}
		count = LLVMBuildSub(e->builder, count, LLVMBuildSExt(e->builder, before, type, ""), "");
	}
	return count;
}

/* The `number`-th vector of `width` elements, counted from the first of all. */
static void emit_vector(Emitter *e, Grouped *g, uint32_t width, LLVMValueRef number)
{
	KStep *step = g->step;
	LLVMTypeRef i32 = type_of(e, T_I32);
	LLVMValueRef lanes[WIDTH_MOST];
	for (uint32_t i = 0; i < width; i++)
		lanes[i] = const_int(i32, i);
	e->mode = MODE_VECTOR;
	e->width = e->base_factor = width;
	e->base_value = number;
	e->vector_index = g->index;
	LLVMValueRef first = LLVMBuildMul(e->builder, number, const_int(type_of(e, T_I64), width), "");
	LLVMValueRef start = splat(e, LLVMBuildTrunc(e->builder, first, i32, ""));
	e->index_values[g->index->id] = LLVMBuildAdd(e->builder, start, LLVMConstVector(lanes, width), "");
	memo_forget(e);
	LLVMValueRef image = emit_sorting_image(e, step, splat(e, emit_expr(e, step->value)));
	LLVMValueRef v = count_before(e, step, image, g->size);
	Range range = {.least = 0, .most = g->size};
	if (step->scan == SCAN_SMALLEST) {
		LLVMValueRef limit = splat(e, emit_expr(e, step->limit));
		if (step->limit->type == T_I64)
			v = LLVMBuildSExt(e->builder, v, LLVMTypeOf(limit), "");
		v = LLVMBuildICmp(e->builder, LLVMIntSLT, v, limit, "");
	}
	emit_store_step(e, step, v, step->scan == SCAN_RANK ? T_I32 : T_BOOL, range);
	e->index_values[g->index->id] = NULL;
	e->vector_index = NULL;
	e->mode = MODE_SCALAR;
	e->width = 0;
	memo_forget(e);
}

static void emit_groups(Emitter *e, Grouped *g)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	int64_t total;
	const_trip_count(g->index, &total);
	uint32_t width = e->m->facts.lanes * 4 <= WIDTH_MOST ? e->m->facts.lanes * 4 : WIDTH_MOST;
	LoopFrame loop = loop_begin(e, const_int(i64, 0), const_int(i64, total / width), 1, "groups");
	emit_vector(e, g, width, loop.counter);
	loop_end(e, &loop, 1);
	int64_t done = total / width * width / g->size;
	loop = loop_begin(e, const_int(i64, done), const_int(i64, total / g->size), 1, "rest");
	emit_vector(e, g, g->size, loop.counter);
	loop_end(e, &loop, 1);
}

static void emit_outer(Emitter *e, Grouped *g, uint32_t axis)
{
	if (axis == g->outer_count) {
		emit_groups(e, g);
		return;
	}
	LoopFrame loop = loop_begin(e, const_int(type_of(e, T_I64), 0), emit_trip_count(e, g->outer[axis]), 1, "outer");
	bind_index(e, g->outer[axis], loop.counter);
	emit_outer(e, g, axis + 1);
	loop_end(e, &loop, 1);
	e->index_values[g->outer[axis]->id] = NULL;
}

void emit_scan_grouped(Emitter *e, KStep *step)
{
	Grouped g = flatten(e, step);
	emit_outer(e, &g, 0);
}
