/* SPDX-License-Identifier: MIT
 *
 * emit_sink.c: what the steps of a lane loop write to memory outside. Neighbouring
 * lanes write a block apart; a Sink collects a step's elements in rows of lanes and
 * writes them transposed, in vectors along the blocks. Later steps read the rows
 * instead of the memory, and write to the same rows: they stand for the memory of
 * the lanes' blocks until something else writes there.
 */
#include "emit.h"

/* Bytes from the start of dst, which is written in elements of the sink. */
static Linear *sink_offset(Emitter *e, const Sink *sink, int64_t lane)
{
	Linear *offset = linear_subscript(e, sink->step->dst, sink->step->dst_subs, lane);
	return linear_scaled(e, offset, store_equal(sink->step->store, sink->step->dst->store) ? sink->bytes : 1);
}

/* The rows that a sink of one run collects, as a stage. */
static Stage *stage_of_sink(Emitter *e, const Sink *sink)
{
	Stage *stage = arena_new_of(e->k->c->arena, Stage);
	*stage =
		(Stage){.buffer = sink->step->dst, .store = sink->step->store, .bytes = sink->bytes, .memory = sink->memory};
	stage->is_encoded = true;
	stage->uniform = sink_offset(e, sink, -1);
	stage->factor = linear_take(stage->uniform, e->vector_index);
	for (uint32_t i = 0; i < sink->step->domain_count; i++) {
		int64_t least, most, factor = linear_take(stage->uniform, sink->step->domain[i]);
		facts_index_range(sink->step->domain[i], &least, &most);
		stage->least += factor * least;
		stage->most += factor * most;
	}
	return stage;
}

/* Rows that an earlier sink of the same elements left: writing there is like writing to dst. */
static bool sink_reuse(Emitter *e, Sink *sink)
{
	Stage *own = sink->outer > 0 ? NULL : stage_of_sink(e, sink);
	for (size_t i = 0; own && i < e->stages.count; i++) {
		Stage *stage = e->stages.at[i];
		if (!stage->is_encoded || stage->buffer != own->buffer || !store_equal(stage->store, own->store) ||
			stage->factor != own->factor || !linear_equal(stage->uniform, own->uniform) || stage->least != own->least ||
			stage->most != own->most)
			continue;
		sink->memory = stage->memory;
		sink->is_kept = true;
		return true;
	}
	return false;
}

Sink sink_begin(Emitter *e, KStep *step)
{
	Sink sink = {.step = step};
	KBuffer *buffer = step->dst;
	if (e->mode != MODE_LANES || step->domain_count == 0 || step->kind == STEP_SCAN)
		return sink;
	Place *place = place_of(e, buffer);
	if (place->is_private || place->is_private_bytes)
		return sink;
	bool is_view = !store_equal(step->store, buffer->store);
	sink.element = is_view ? store_memory_type(e, step->store) : place_element_type(e, buffer, place);
	sink.bytes = is_view ? store_bytes(step->store) : place_element_bytes(e, buffer, place);
	sink.align = is_view ? 1 : (uint32_t)sink.bytes;
	Linear *offset = sink_offset(e, &sink, -1);
	sink.factor = linear_take(offset, e->vector_index) * e->vector_index->step;
	if (sink.factor == 0 || linear_has_varying_opaque(e, offset) || linear_uses(e, offset, e->vector_index))
		return sink;
	int64_t total = 1, least, most;
	sink.run = 1;
	sink.outer = step->domain_count;
	for (uint32_t i = step->domain_count; i-- > 0;) {
		KIndex *index = step->domain[i];
		if (!facts_index_range(index, &least, &most))
			return sink;
		int64_t extent = (most - least) / index->step + 1;
		if (sink.outer == i + 1 && linear_take(offset, index) * index->step == sink.bytes * sink.run) {
			sink.run *= extent;
			sink.outer = i;
		}
		total *= extent;
	}
	for (uint32_t i = sink.outer; i < step->domain_count; i++)
		if (linear_uses(e, offset, step->domain[i]))
			return sink;
	if (sink.run < 2 || total > STAGE_MOST)
		return sink;
	if (!sink_reuse(e, &sink))
		sink.memory = memory_of_function(e, (uint64_t)(total * sink.bytes * e->width), "sink");
	return sink;
}

void sink_put(Emitter *e, Sink *sink, LLVMValueRef value, KType type, Range range)
{
	KStep *step = sink->step;
	if (!sink->memory) {
		emit_store_step(e, step, value, type, range);
		return;
	}
	LLVMTypeRef i64 = type_of(e, T_I64);
	LLVMValueRef position = const_int(i64, 0);
	for (uint32_t i = 0; i < step->domain_count; i++) {
		KIndex *index = step->domain[i];
		LLVMValueRef turn = LLVMBuildSub(e->builder, e->index_values[index->id], emit_index64(e, index->lo), "");
		if (index->step != 1)
			turn = LLVMBuildExactSDiv(e->builder, turn, const_int(i64, index->step), "");
		position = LLVMBuildMul(e->builder, position, emit_trip_count(e, index), "");
		position = LLVMBuildAdd(e->builder, position, turn, "");
	}
	uint32_t row = (uint32_t)sink->bytes * e->width;
	LLVMValueRef raw = splat(e, encode_place(e, step, place_of(e, step->dst), value, type, range));
	store_at(e, raw, lane_add_bytes(e, sink->memory, position, row), row & -row, NULL);
}

/* One tile of a run: `count` rows of lanes become a piece of every lane's run. */
static void drain_tile(Emitter *e, Sink *sink, LLVMValueRef memory, Rows pointers, LLVMValueRef at, uint32_t count)
{
	uint32_t n = e->width, row_bytes = (uint32_t)sink->bytes * n;
	LLVMTypeRef row = LLVMVectorType(sink->element, n);
	LLVMValueRef from = lane_add_bytes(e, memory, at, row_bytes);
	Rows rows;
	for (uint32_t i = 0; i < n; i++) {
		LLVMValueRef pointer = offset_pointer(e, from, const_int(type_of(e, T_I64), (int64_t)i * row_bytes));
		rows[i] = i < count ? load_at(e, row, pointer, row_bytes & -row_bytes, NULL) : LLVMGetPoison(row);
	}
	emit_transpose(e, rows, n);
	for (uint32_t i = 0; i < n; i++)
		store_at(e, emit_resize(e, rows[i], n, count), lane_add_bytes(e, pointers[i], at, sink->bytes), sink->align,
			sink->step->dst);
}

/* The other way round: the rows of short blocks that touch, as one run of memory. */
static void drain_dense(Emitter *e, Sink *sink, LLVMValueRef memory, LLVMValueRef first)
{
	uint32_t n = e->width, count = (uint32_t)sink->run;
	LLVMValueRef rows = load_at(e, LLVMVectorType(sink->element, n * count), memory, (uint32_t)sink->bytes, NULL);
	LLVMValueRef *mask = arena_array(e->k->c->arena, LLVMValueRef, n * count);
	for (uint32_t i = 0; i < n * count; i++)
		mask[i] = const_int(type_of(e, T_I32), i % count * n + i / count);
	LLVMValueRef order = LLVMConstVector(mask, n * count);
	LLVMValueRef run = LLVMBuildShuffleVector(e->builder, rows, LLVMGetPoison(LLVMTypeOf(rows)), order, "");
	store_at(e, run, first, sink->align, sink->step->dst);
}

static void drain_full(Emitter *e, Sink *sink, LLVMValueRef memory, LLVMValueRef first)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	int64_t n = e->width, tiles = sink->run / n;
	if (sink->run <= DENSE_MOST && sink->factor == sink->run * sink->bytes) {
		drain_dense(e, sink, memory, first);
		return;
	}
	Rows pointers;
	for (uint32_t i = 0; i < n; i++)
		pointers[i] = offset_pointer(e, first, const_int(i64, sink->factor * i));
	if (tiles > TILES_UNROLLED) {
		LoopFrame loop = loop_begin(e, const_int(i64, 0), const_int(i64, tiles * n), n, "drain");
		drain_tile(e, sink, memory, pointers, loop.counter, (uint32_t)n);
		loop_end(e, &loop, n);
	} else {
		for (int64_t tile = 0; tile < tiles; tile++)
			drain_tile(e, sink, memory, pointers, const_int(i64, tile * n), (uint32_t)n);
	}
	if (sink->run % n)
		drain_tile(e, sink, memory, pointers, const_int(i64, tiles * n), (uint32_t)(sink->run % n));
}

static void drain_part(Emitter *e, Sink *sink, LLVMValueRef memory, LLVMValueRef first)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	LLVMValueRef count = LLVMBuildZExt(e->builder, e->lane_count, i64, "");
	LoopFrame lane = loop_begin(e, const_int(i64, 0), count, 1, "lane");
	LoopFrame loop = loop_begin(e, const_int(i64, 0), const_int(i64, sink->run), 1, "drain");
	LLVMValueRef from = lane_add_bytes(e, memory, loop.counter, sink->bytes * e->width);
	LLVMValueRef v =
		load_at(e, sink->element, lane_add_bytes(e, from, lane.counter, sink->bytes), (uint32_t)sink->bytes, NULL);
	LLVMValueRef to =
		lane_add_bytes(e, lane_add_bytes(e, first, lane.counter, sink->factor), loop.counter, sink->bytes);
	store_at(e, v, to, sink->align, sink->step->dst);
	loop_end(e, &loop, 1);
	loop_end(e, &lane, 1);
}

static void drain_run(Emitter *e, Sink *sink, LLVMValueRef memory, LLVMValueRef first)
{
	if (LLVMIsConstant(e->lanes_full)) {
		drain_full(e, sink, memory, first);
		return;
	}
	LanesBranch branch = lanes_branch_begin(e, "drain");
	drain_full(e, sink, memory, first);
	lanes_branch_part(e, &branch);
	drain_part(e, sink, memory, first);
	lanes_branch_end(e, &branch);
}

/* Runs of one sink follow each other in its memory as the outer indices count. */
static void drain_from(Emitter *e, Sink *sink, uint32_t axis, LLVMValueRef run)
{
	KStep *step = sink->step;
	LLVMTypeRef i64 = type_of(e, T_I64);
	if (axis < sink->outer) {
		KIndex *index = step->domain[axis];
		LLVMValueRef extent = emit_trip_count(e, index);
		LoopFrame loop = loop_begin(e, const_int(i64, 0), extent, 1, "run");
		bind_index(e, index, loop.counter);
		drain_from(
			e, sink, axis + 1, LLVMBuildAdd(e->builder, LLVMBuildMul(e->builder, run, extent, ""), loop.counter, ""));
		loop_end(e, &loop, 1);
		e->index_values[index->id] = NULL;
		return;
	}
	for (uint32_t i = sink->outer; i < step->domain_count; i++)
		bind_index(e, step->domain[i], const_int(i64, 0));
	memo_forget(e);
	LLVMValueRef first = linear_emit(e, sink_offset(e, sink, 0));
	LLVMValueRef to = offset_pointer(e, place_of(e, step->dst)->base, first);
	LLVMValueRef from = lane_add_bytes(e, sink->memory, run, sink->run * sink->bytes * e->width);
	drain_run(e, sink, from, to);
	for (uint32_t i = sink->outer; i < step->domain_count; i++)
		e->index_values[step->domain[i]->id] = NULL;
	memo_forget(e);
}

static bool is_written_inside(const KStepVec *steps, const KBuffer *buffer)
{
	for (size_t i = 0; i < steps->count; i++)
		if (steps_write(&steps->at[i]->body, buffer))
			return true;
	return false;
}

void sink_forget(Emitter *e, const KBuffer *buffer)
{
	size_t kept = 0;
	for (size_t i = 0; i < e->stages.count; i++)
		if (!e->stages.at[i]->is_encoded || e->stages.at[i]->buffer != buffer)
			e->stages.at[kept++] = e->stages.at[i];
	e->stages.count = kept;
}

bool sink_keep(Emitter *e, Sink *sink)
{
	KBuffer *buffer = sink->step->dst;
	if (e->depth > e->lane_depth || sink->outer > 0 || is_written_inside(&e->lane_loop->body, buffer))
		return false;
	sink_forget(e, buffer);
	sink->is_kept = true;
	vec_push(e->k->c->arena, &e->stages, stage_of_sink(e, sink));
	return true;
}

void sink_end(Emitter *e, Sink *sink)
{
	if (!sink->memory) {
		sink_forget(e, sink->step->dst);
		return;
	}
	drain_from(e, sink, 0, const_int(type_of(e, T_I64), 0));
	if (!sink->is_kept && !sink_keep(e, sink))
		sink_forget(e, sink->step->dst);
}
