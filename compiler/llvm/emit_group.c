/* SPDX-License-Identifier: MIT
 *
 * emit_group.c: neighbouring steps that range over the same indices, in one loop nest.
 *
 * A step's nest is its domain, or for a reduction to a single value what it folds.
 * Steps share a nest if every element that one of them reads of an earlier one's
 * result was made in the same turn. The innermost axis runs in vectors if the steps
 * say so: one vector as long as the axis if that is short and constant, else chunks
 * and a scalar rest. A long sum takes 64 elements a turn, its partial sums in vectors.
 */
#include "emit.h"

enum { SHORT_AXIS = 64, LONG_SUM_PARTS = 64, UNROLL_MOST = 4, PASSED_MOST = 24 };

/* ---- which steps share a nest ---- */

static bool folds_to_one(const KStep *step)
{
	return step->kind == STEP_REDUCE && step->domain_count == 0 && step->reduce != REDUCE_QUANTILE;
}

static KIndex **nest_of(const KStep *step, uint32_t *depth)
{
	*depth = folds_to_one(step) ? step->over_count : step->domain_count;
	return folds_to_one(step) ? step->over : step->domain;
}

static bool is_real(KType type)
{
	return type == T_F32 || type == T_F64;
}

/* A SUM over several axes of possibly many terms nests its own loops. */
static bool folds_by_axes(const KStep *step)
{
	if (step->kind != STEP_REDUCE || step->reduce != REDUCE_SUM || step->over_count < 2 || step->in_order ||
		!is_real(step->value->type))
		return false;
	int64_t total = 1, count;
	for (uint32_t i = 0; i < step->over_count; i++) {
		if (!const_trip_count(step->over[i], &count))
			return true;
		total *= count;
	}
	return total > 256;
}

static bool runs_in_vectors(const Emitter *e, const KStep *step)
{
	uint32_t depth;
	nest_of(step, &depth);
	return e->mode == MODE_SCALAR && step->is_vector && depth > 0 && (step->kind == STEP_MAP || folds_to_one(step));
}

static bool same_bounds(const KIndex *a, const KIndex *b)
{
	return a->step == b->step && kexpr_equal(a->lo, b->lo) && kexpr_equal(a->hi, b->hi);
}

typedef struct Conflict {
	Emitter *e;
	KStep *writer, *reader;
	bool found;
} Conflict;

/* b's expression in terms of a's indices */
static KExpr *renamed(Emitter *e, KExpr *x, const KStep *a, const KStep *b)
{
	uint32_t depth;
	KIndex **to = nest_of(a, &depth), **from = nest_of(b, &depth);
	for (uint32_t i = 0; i < depth; i++)
		if (from[i] != to[i])
			x = kexpr_substitute(e->k, x, from[i], kexpr_index(e->k, to[i]));
	return x;
}

static void check_load(void *context, KExpr *load)
{
	Conflict *c = context;
	if (load->buffer != c->writer->dst)
		return;
	bool is_same =
		!folds_to_one(c->writer) && c->writer->kind != STEP_SCAN && store_equal(load->store, c->writer->store);
	for (uint32_t i = 0; is_same && i < load->buffer->rank; i++) {
		int64_t difference;
		KExpr *sub = renamed(c->e, load->subs[i], c->writer, c->reader);
		is_same = kexpr_difference(sub, c->writer->dst_subs[i], &difference) && difference == 0;
	}
	c->found |= !is_same;
}

static bool conflicts(Emitter *e, KStep *earlier, KStep *later)
{
	if (earlier->dst == later->dst)
		return true;
	Conflict forward = {e, earlier, later, false}, backward = {e, later, earlier, false};
	step_each_load(e->k, later, check_load, &forward);
	step_each_load(e->k, earlier, check_load, &backward);
	return forward.found || backward.found;
}

static bool may_join(Emitter *e, KStep *first, KStep *step)
{
	if ((step->kind != STEP_MAP && step->kind != STEP_REDUCE) || folds_by_axes(step) || step->is_contraction ||
		runs_in_vectors(e, step) != runs_in_vectors(e, first))
		return false;
	uint32_t depth, own;
	KIndex **nest = nest_of(first, &depth), **mine = nest_of(step, &own);
	if (own != depth || depth == 0)
		return false;
	for (uint32_t i = 0; i < depth; i++)
		if (!same_bounds(nest[i], mine[i]))
			return false;
	return true;
}

/* Whether b, which comes later, may as well come earlier than a. */
static void find_read(void *context, KExpr *load)
{
	Conflict *c = context;
	c->found |= load->buffer == c->writer->dst;
}

static bool may_swap(Emitter *e, KStep *a, KStep *b)
{
	Conflict c = {e, a, b, a->dst == b->dst};
	step_each_load(e->k, b, find_read, &c);
	c.writer = b;
	step_each_load(e->k, a, find_read, &c);
	return !c.found;
}

static bool joins(Emitter *e, KStep **group, size_t count, KStep **passed, size_t passed_count, KStep *step)
{
	if (!may_join(e, group[0], step))
		return false;
	for (size_t i = 0; i < count; i++)
		if (conflicts(e, group[i], step))
			return false;
	for (size_t i = 0; i < passed_count; i++)
		if (!may_swap(e, passed[i], step))
			return false;
	return true;
}

size_t group_gather(Emitter *e, KStep **steps, size_t count)
{
	if (!may_join(e, steps[0], steps[0]))
		return 1;
	size_t taken = 1;
	for (size_t i = 1; i < count && i < taken + PASSED_MOST; i++) {
		KStep *step = steps[i];
		if (!joins(e, steps, taken, steps + taken, i - taken, step))
			continue;
		for (size_t j = i; j > taken; j--)
			steps[j] = steps[j - 1];
		steps[taken++] = step;
	}
	return taken;
}

/* ---- the nest ---- */

typedef struct Member {
	KStep *step;
	Sink sink;
	Reducer *reducer; /* NULL: it stores an element a turn */
	KIndex **nest;
	bool folds;    /* its nest is what it folds */
	uint32_t axis; /* of the fold, if it goes axis by axis, else over_count */
} Member;

typedef struct Group {
	Member *members;
	size_t count;
	uint32_t depth;
	bool is_vector;
	uint32_t width; /* of its vectors */
	uint32_t parts; /* vectors a turn */
} Group;

static Range result_range(Emitter *e, KStep *step)
{
	return step->kind == STEP_MAP ? facts_range(e->facts, step->value) : facts_reduction(e->facts, step);
}

static bool is_integer_store(Store store)
{
	return store.kind == STORE_UINT || store.kind == STORE_INT || store.kind == STORE_BOOL;
}

static void emit_member(Emitter *e, Member *m, LLVMValueRef position, uint32_t part)
{
	KStep *step = m->step;
	memo_forget(e);
	if (m->reducer) {
		bool is_last = m->axis + 1 >= step->over_count;
		bool any_zero = step->reduce != REDUCE_SUM && step->reduce != REDUCE_PROD;
		LLVMValueRef v = !is_last   ? emit_reduce_nest(e, step, m->axis + 1)
						 : any_zero ? emit_any_zero(e, step->value)
									: emit_expr(e, step->value);
		reducer_add(e, m->reducer, v, position, part);
	} else if (step->kind == STEP_SCAN) {
		emit_scan(e, step);
	} else if (step->kind == STEP_REDUCE) {
		LLVMValueRef v = emit_reduction(e, step);
		memo_forget(e);
		if (step->minuend)
			v = LLVMBuildFSub(e->builder, emit_expr(e, step->minuend), v, "");
		sink_put(e, &m->sink, v, reduce_type(step), result_range(e, step));
	} else {
		LLVMValueRef v = !is_integer_store(step->store)   ? emit_expr(e, step->value)
						 : step->store.kind == STORE_BOOL ? emit_any_zero(e, step->value)
														  : emit_truncated(e, step->value);
		sink_put(e, &m->sink, v, step->value->type, result_range(e, step));
	}
}

static void emit_members(Emitter *e, Group *g, LLVMValueRef position, uint32_t part)
{
	for (size_t i = 0; i < g->count; i++)
		emit_member(e, &g->members[i], position, part);
}

static void bind_all(Emitter *e, Group *g, uint32_t level, LLVMValueRef counter)
{
	for (size_t i = 0; i < g->count; i++)
		bind_index(e, g->members[i].nest[level], counter);
}

static void unbind_all(Emitter *e, Group *g, uint32_t level)
{
	for (size_t i = 0; i < g->count; i++)
		e->index_values[g->members[i].nest[level]->id] = NULL;
}

/* position counts elements of the nest row-major */
static LLVMValueRef advance(Emitter *e, LLVMValueRef position, LLVMValueRef trips, LLVMValueRef counter)
{
	return LLVMBuildAdd(e->builder, LLVMBuildMul(e->builder, position, trips, ""), counter, "");
}

/* ---- the vector axis ---- */

static LLVMValueRef counting(Emitter *e, LLVMTypeRef i32, int64_t step)
{
	LLVMValueRef items[SHORT_AXIS];
	for (uint32_t i = 0; i < e->width; i++)
		items[i] = const_int(i32, i * step);
	return LLVMConstVector(items, e->width);
}

/* `number` counts vectors */
static void bind_vector(Emitter *e, KIndex *index, LLVMValueRef number)
{
	LLVMTypeRef i32 = type_of(e, T_I32), i64 = type_of(e, T_I64);
	int64_t lo;
	e->vector_index = NULL;
	e->base_factor = e->width;
	e->base_value = number;
	LLVMValueRef first = LLVMBuildMul(e->builder, number, const_int(i64, e->width * index->step), "");
	if (!kexpr_is_const(index->lo, &lo) || lo != 0 || index->step != 1) {
		first = LLVMBuildAdd(e->builder, first, emit_index64(e, index->lo), "");
		e->base_factor = 1;
		e->base_value = first;
	}
	LLVMValueRef start = splat(e, LLVMBuildTrunc(e->builder, first, i32, ""));
	e->index_values[index->id] = LLVMBuildAdd(e->builder, start, counting(e, i32, index->step), "");
	e->vector_index = index;
}

static void emit_vector(Emitter *e, Group *g, uint32_t level, LLVMValueRef number, LLVMValueRef start, uint32_t part)
{
	e->mode = MODE_VECTOR;
	e->width = g->width;
	LLVMValueRef by = const_int(type_of(e, T_I64), g->width);
	LLVMValueRef position = LLVMBuildAdd(e->builder, start, LLVMBuildMul(e->builder, number, by, ""), "");
	for (size_t i = 0; i < g->count; i++) {
		memo_forget(e);
		bind_vector(e, g->members[i].nest[level], number);
		emit_member(e, &g->members[i], position, part);
		e->index_values[g->members[i].nest[level]->id] = NULL;
	}
	e->mode = MODE_SCALAR;
	e->vector_index = NULL;
	e->width = 0;
	memo_forget(e);
}

static void leave_vectors(Emitter *e, Group *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->members[i].reducer)
			reducer_leave_vectors(e, g->members[i].reducer);
}

/* start: the position of the axis's first element */
static void emit_vector_axis(Emitter *e, Group *g, uint32_t level, LLVMValueRef start)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	KIndex *index = g->members[0].nest[level];
	int64_t count, per_turn = (int64_t)g->width * g->parts;
	bool is_const = const_trip_count(index, &count);
	if (is_const && count == g->width) {
		emit_vector(e, g, level, const_int(i64, 0), start, 0);
		return;
	}
	LLVMValueRef trips = emit_trip_count(e, index);
	LLVMValueRef turns = LLVMBuildUDiv(e->builder, trips, const_int(i64, per_turn), "turns");
	for (size_t i = 0; !is_const && i < g->count; i++) /* a sum that turns out to be short goes in order */
		if (g->members[i].reducer && g->members[i].reducer->is_long)
			turns = LLVMBuildSelect(e->builder, sum_is_long(e, trips), turns, const_int(i64, 0), "");
	LoopFrame loop = loop_begin(e, const_int(i64, 0), turns, 1, "vectors");
	for (uint32_t part = 0; part < g->parts; part++) {
		LLVMValueRef number = LLVMBuildMul(e->builder, loop.counter, const_int(i64, g->parts), "");
		number = LLVMBuildAdd(e->builder, number, const_int(i64, part), "");
		emit_vector(e, g, level, number, start, part);
	}
	loop_end(e, &loop, 1);
	if (is_const && count % per_turn == 0)
		return;
	leave_vectors(e, g);
	LLVMValueRef done = LLVMBuildMul(e->builder, turns, const_int(i64, per_turn), "");
	loop = loop_begin(e, done, trips, 1, "rest");
	bind_all(e, g, level, loop.counter);
	emit_members(e, g, LLVMBuildAdd(e->builder, start, loop.counter, ""), 0);
	loop_end(e, &loop, 1);
	unbind_all(e, g, level);
}

static void emit_nest(Emitter *e, Group *g, uint32_t level, LLVMValueRef position)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	if (level == g->depth) {
		emit_members(e, g, position, 0);
		return;
	}
	KIndex *index = g->members[0].nest[level];
	LLVMValueRef trips = emit_trip_count(e, index);
	if (g->is_vector && level + 1 == g->depth) {
		emit_vector_axis(e, g, level, LLVMBuildMul(e->builder, position, trips, ""));
		return;
	}
	int64_t count;
	if (const_trip_count(index, &count) && count <= UNROLL_MOST && level + 1 == g->depth) {
		for (int64_t i = 0; i < count; i++) {
			memo_forget(e);
			bind_all(e, g, level, const_int(i64, i));
			emit_nest(e, g, level + 1, advance(e, position, trips, const_int(i64, i)));
		}
	} else {
		LoopFrame loop = loop_begin(e, const_int(i64, 0), trips, 1, index->name ? index->name : "axis");
		bind_all(e, g, level, loop.counter);
		emit_nest(e, g, level + 1, advance(e, position, trips, loop.counter));
		loop_end(e, &loop, 1);
	}
	unbind_all(e, g, level);
	memo_forget(e);
}

/* ---- groups ---- */

static void choose_width(Emitter *e, Group *g)
{
	int64_t count;
	KIndex *index = g->members[0].nest[g->depth - 1];
	bool is_long = false;
	for (size_t i = 0; i < g->count; i++) {
		is_long |= g->members[i].folds && reduce_is_long(g->members[i].step, g->members[i].axis);
	}
	if (const_trip_count(index, &count) && count >= 2 && count <= SHORT_AXIS && !is_long) {
		g->width = (uint32_t)count;
		g->parts = 1;
		return;
	}
	g->width = e->m->facts.lanes * 4 <= SHORT_AXIS ? e->m->facts.lanes * 4 : SHORT_AXIS;
	g->parts = is_long ? LONG_SUM_PARTS / g->width : 1;
}

LLVMValueRef emit_reduce_nest(Emitter *e, KStep *step, uint32_t axis)
{
	bool by_axes = folds_by_axes(step);
	Member member = {.step = step, .nest = step->over + axis, .folds = true};
	member.axis = by_axes ? axis : step->over_count;
	Group g = {.members = &member, .count = 1, .depth = by_axes ? 1 : step->over_count};
	bool is_innermost = axis + g.depth == step->over_count;
	g.is_vector = e->mode == MODE_SCALAR && step->is_vector && is_innermost && g.depth > 0;
	if (g.is_vector)
		choose_width(e, &g);
	member.reducer = reducer_begin(e, step, member.axis, g.width);
	emit_nest(e, &g, 0, const_int(type_of(e, T_I64), 0));
	return reducer_end(e, member.reducer);
}

static bool reads(Emitter *e, KStep *reader, KStep *writer)
{
	Conflict c = {e, writer, reader, false};
	step_each_load(e->k, reader, find_read, &c);
	return c.found;
}

/* A step of the group that reads what another one's sink holds back reads it there, or there is no sink. */
static void begin_sink(Emitter *e, Group *g, size_t at)
{
	Member *m = &g->members[at];
	bool is_read_before = false, is_read_after = false, is_second = false;
	for (size_t i = 0; i < g->count; i++) {
		*(i <= at ? &is_read_before : &is_read_after) |= reads(e, g->members[i].step, m->step);
		is_second |= i < at && g->members[i].sink.memory && g->members[i].step->dst == m->step->dst;
	}
	m->sink = sink_begin(e, m->step);
	if (m->sink.is_kept)
		return;
	if (m->sink.memory && is_read_after && (is_read_before || is_second || !sink_keep(e, &m->sink)))
		m->sink.memory = NULL;
	if (m->sink.memory)
		return;
	sink_forget(e, m->step->dst);
	for (size_t i = 0; i < at; i++) /* what is written directly must not be written over later */
		if (g->members[i].step->dst == m->step->dst)
			g->members[i].sink.memory = NULL;
}

void emit_group(Emitter *e, KStep **steps, size_t count)
{
	if (count == 1 && scan_is_grouped(e, steps[0])) {
		emit_scan_grouped(e, steps[0]);
		return;
	}
	if (count == 1 && folds_by_axes(steps[0]) && steps[0]->domain_count == 0) {
		LLVMValueRef v = emit_reduction(e, steps[0]);
		memo_forget(e);
		emit_store_step(e, steps[0], v, reduce_type(steps[0]), result_range(e, steps[0]));
		sink_forget(e, steps[0]->dst);
		return;
	}
	Group g = {.members = arena_array(e->k->c->arena, Member, count), .count = count};
	for (size_t i = 0; i < count; i++) {
		Member *m = &g.members[i];
		*m = (Member){.step = steps[i],
			.sink = {.step = steps[i]},
			.axis = steps[i]->over_count,
			.folds = folds_to_one(steps[i])};
		m->nest = nest_of(steps[i], &g.depth);
	}
	g.is_vector = runs_in_vectors(e, steps[0]);
	if (g.is_vector)
		choose_width(e, &g);
	for (size_t i = 0; i < count; i++) {
		Member *m = &g.members[i];
		if (m->folds)
			m->reducer = reducer_begin(e, steps[i], m->axis, g.width);
		else
			begin_sink(e, &g, i);
	}
	emit_nest(e, &g, 0, const_int(type_of(e, T_I64), 0));
	for (size_t i = 0; i < count; i++) {
		Member *m = &g.members[i];
		memo_forget(e);
		if (m->reducer)
			emit_store_step(e, steps[i], reducer_end(e, m->reducer), reduce_type(steps[i]), result_range(e, steps[i]));
		sink_end(e, &m->sink);
	}
}
