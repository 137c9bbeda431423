/* SPDX-License-Identifier: MIT
 *
 * emit_lanes.c: LOOP_LANES, `width` turns side by side, one a vector lane.
 *
 * A turn works on a block of its own, so neighbouring lanes read addresses that are
 * a block apart. What the body reads of such a buffer is fetched once a group, in
 * vectors along the block, and transposed into rows of lanes (a Stage); emit_sink.c
 * does the same for what is written. In the last group lanes may be missing: those
 * compute on the last turn's data and write nothing.
 */
#include "emit.h"

static LLVMTypeRef staged_type(Emitter *e, Store store)
{
	KType type = store_type(store);
	return type == T_BOOL ? LLVMInt8TypeInContext(e->m->context) : type_of(e, type);
}

static uint32_t staged_bytes(Store store)
{
	KType type = store_type(store);
	return type == T_BOOL ? 1 : type == T_I32 || type == T_F32 ? 4 : 8;
}

/* ---- stages: finding ---- */

bool steps_write(const KStepVec *steps, const KBuffer *buffer)
{
	for (size_t i = 0; i < steps->count; i++) {
		const KStep *step = steps->at[i];
		if (step->dst == buffer || steps_write(&step->body, buffer))
			return true;
	}
	return false;
}

static bool is_scope_inside(const KStep *loop, const KStep *scope)
{
	if (loop == scope)
		return true;
	for (size_t i = 0; i < loop->body.count; i++)
		if (is_scope_inside(loop->body.at[i], scope))
			return true;
	return false;
}

static Linear *byte_offset(Emitter *e, KExpr *load, int64_t *bytes)
{
	bool is_view = !store_equal(load->store, load->buffer->store);
	Place *place = place_of(e, load->buffer);
	int64_t scale = place_element_bytes(e, load->buffer, place);
	*bytes = is_view ? store_bytes(load->store) : scale;
	return linear_scaled(e, linear_subscript(e, load->buffer, load->subs, -1), scale);
}

/* Moves the terms of indices inside the lane loop from offset to inner; false if they cannot be told apart. */
static bool split_inner(Emitter *e, Linear *offset, Linear *inner, int64_t bytes)
{
	for (size_t i = 0; i < offset->terms.count;) {
		Term term = offset->terms.at[i];
		if (term.index) {
			if (e->index_values[term.index->id]) {
				i++;
				continue;
			}
			int64_t least, most;
			if (term.factor % bytes != 0 || !facts_index_range((KIndex *)term.index, &least, &most))
				return false;
			Linear *moved = linear_constant(e, 0);
			vec_push(e->k->c->arena, &moved->terms, term);
			linear_add(e, inner, moved, 1);
			offset->terms.at[i] = offset->terms.at[--offset->terms.count];
			continue;
		}
		KExpr *opaque = term.opaque;
		if ((opaque && opaque->loads) || (term.divided && linear_has_varying_opaque(e, term.divided)))
			return false;
		i++;
	}
	return true;
}

/* All its indices are in scope already, so it can be emitted before the body. */
static bool is_available(Emitter *e, const Linear *l)
{
	for (uint32_t id = 0; id < e->k->index_count; id++) {
		if (e->index_values[id])
			continue;
		for (size_t i = 0; i < l->terms.count; i++) {
			const Term *term = &l->terms.at[i];
			if (term->divided && !is_available(e, term->divided))
				return false;
			if (term->index && term->index->id == id)
				return false;
			if (term->opaque && term->opaque->uses >> id % 64 & 1)
				return false;
		}
	}
	return true;
}

static Stage *stage_matching(Emitter *e, const Stage *wanted)
{
	for (size_t i = 0; i < e->stages.count; i++) {
		Stage *stage = e->stages.at[i];
		if (stage->buffer == wanted->buffer && store_equal(stage->store, wanted->store) &&
			stage->factor == wanted->factor && linear_equal(stage->uniform, wanted->uniform) &&
			(stage->least - wanted->least) % stage->bytes == 0)
			return stage;
	}
	return NULL;
}

static void consider_load(void *context, KExpr *load)
{
	Emitter *e = context;
	KBuffer *buffer = load->buffer;
	if (buffer->kind == BUFFER_TABLE || (buffer->scope && is_scope_inside(e->lane_loop, buffer->scope)) ||
		steps_write(&e->lane_loop->body, buffer))
		return;
	Stage s = {.buffer = buffer, .store = load->store};
	s.uniform = byte_offset(e, load, &s.bytes);
	s.factor = linear_take(s.uniform, e->vector_index);
	if (s.factor == 0 || s.factor == s.bytes || linear_has_varying_opaque(e, s.uniform) ||
		linear_uses(e, s.uniform, e->vector_index))
		return;
	Linear *inner = linear_constant(e, s.uniform->constant);
	s.uniform->constant = 0;
	if (!split_inner(e, s.uniform, inner, s.bytes) || !is_available(e, s.uniform) ||
		!linear_range(e, inner, &s.least, &s.most))
		return;
	Stage *known = stage_matching(e, &s);
	if (known) {
		known->least = s.least < known->least ? s.least : known->least;
		known->most = s.most > known->most ? s.most : known->most;
		return;
	}
	Stage *stage = arena_new_of(e->k->c->arena, Stage);
	*stage = s;
	vec_push(e->k->c->arena, &e->stages, stage);
}

/* What is read under a condition may not be there to be read ahead. */
static void consider_steps(Emitter *e, KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		if (step->kind == STEP_IF)
			continue;
		step_each_load(e->k, step, consider_load, e);
		consider_steps(e, &step->body);
	}
}

static LLVMValueRef load_row(Emitter *e, Stage *stage, KExpr *load, LLVMValueRef at)
{
	Place *place = place_of(e, load->buffer);
	bool is_view = !store_equal(load->store, load->buffer->store);
	LLVMTypeRef element = !stage->is_encoded ? staged_type(e, load->store)
						  : is_view          ? store_memory_type(e, load->store)
											 : place_element_type(e, load->buffer, place);
	LLVMTypeRef row = LLVMVectorType(element, e->width);
	uint32_t bytes = stage->is_encoded ? (uint32_t)stage->bytes * e->width : staged_bytes(load->store) * e->width;
	LLVMValueRef v = load_at(e, row, lane_add_bytes(e, stage->memory, at, bytes), bytes & -bytes, NULL);
	if (stage->is_encoded)
		return decode_place(e, load->buffer, place, load->store, v);
	return store_type(load->store) == T_BOOL ? LLVMBuildICmp(e->builder, LLVMIntNE, v, const_int(row, 0), "") : v;
}

LLVMValueRef stage_find(Emitter *e, KExpr *load)
{
	if (e->mode != MODE_LANES || e->stages.count == 0)
		return NULL;
	int64_t bytes;
	Linear *offset = byte_offset(e, load, &bytes);
	int64_t factor = linear_take(offset, e->vector_index);
	if (linear_has_varying_opaque(e, offset) || linear_uses(e, offset, e->vector_index))
		return NULL;
	for (size_t i = 0; i < e->stages.count; i++) {
		Stage *stage = e->stages.at[i];
		if (!stage->memory || stage->buffer != load->buffer || !store_equal(stage->store, load->store) ||
			stage->factor != factor)
			continue;
		Linear *d = linear_scaled(e, offset, 1);
		linear_add(e, d, stage->uniform, -1);
		int64_t least, most;
		if (!linear_range(e, d, &least, &most) || least < stage->least || most > stage->most)
			continue;
		d->constant -= stage->least;
		LLVMValueRef at = linear_emit(e, d);
		at = LLVMBuildExactSDiv(e->builder, at, const_int(LLVMTypeOf(at), bytes), "");
		return load_row(e, stage, load, at);
	}
	return NULL;
}

/* ---- stages: filling ---- */

static void fill_tile(Emitter *e, Stage *stage, Rows pointers, LLVMValueRef at, uint32_t count)
{
	uint32_t n = e->width, row_bytes = staged_bytes(stage->store) * n;
	bool is_view = !store_equal(stage->store, stage->buffer->store);
	bool is_value = place_of(e, stage->buffer)->is_value;
	LLVMTypeRef memory = is_value ? staged_type(e, stage->store) : store_memory_type(e, stage->store);
	Rows rows;
	for (uint32_t i = 0; i < n; i++) {
		LLVMValueRef from = lane_add_bytes(e, pointers[i], at, stage->bytes);
		LLVMValueRef raw =
			load_at(e, LLVMVectorType(memory, count), from, is_view ? 1 : (uint32_t)stage->bytes, stage->buffer);
		LLVMValueRef v = is_value ? raw : emit_decode(e, stage->store, raw);
		if (!is_value && store_type(stage->store) == T_BOOL)
			v = LLVMBuildZExt(e->builder, v, type_like(staged_type(e, stage->store), v), "");
		rows[i] = emit_resize(e, v, count, n);
	}
	emit_transpose(e, rows, n);
	LLVMValueRef to = lane_add_bytes(e, stage->memory, at, row_bytes);
	for (uint32_t i = 0; i < count; i++) {
		LLVMValueRef row = offset_pointer(e, to, const_int(type_of(e, T_I64), (int64_t)i * row_bytes));
		store_at(e, rows[i], row, row_bytes & -row_bytes, NULL);
	}
}

/* Short blocks that touch: the lanes' blocks are one run of memory, element k of them every count-th of it. */
static void fill_dense(Emitter *e, Stage *stage, LLVMValueRef base, uint32_t count)
{
	uint32_t n = e->width, row_bytes = staged_bytes(stage->store) * n;
	Place *place = place_of(e, stage->buffer);
	bool is_view = !store_equal(stage->store, stage->buffer->store);
	LLVMTypeRef memory = place->is_value ? staged_type(e, stage->store) : store_memory_type(e, stage->store);
	LLVMTypeRef all = LLVMVectorType(memory, n * count);
	LLVMValueRef raw = load_at(e, all, base, is_view ? 1 : (uint32_t)stage->bytes, stage->buffer);
	LLVMValueRef v = place->is_value ? raw : emit_decode(e, stage->store, raw);
	if (!place->is_value && store_type(stage->store) == T_BOOL)
		v = LLVMBuildZExt(e->builder, v, type_like(staged_type(e, stage->store), v), "");
	for (uint32_t k = 0; k < count; k++) {
		uint32_t mask[LANES_MOST];
		for (uint32_t lane = 0; lane < n; lane++)
			mask[lane] = lane * count + k;
		LLVMValueRef row = emit_shuffle(e, v, LLVMGetPoison(LLVMTypeOf(v)), mask, n);
		LLVMValueRef to = offset_pointer(e, stage->memory, const_int(type_of(e, T_I64), (int64_t)k * row_bytes));
		store_at(e, row, to, row_bytes & -row_bytes, NULL);
	}
}

static void fill_stage(Emitter *e, Stage *stage)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	int64_t count = (stage->most - stage->least) / stage->bytes + 1, n = e->width;
	LLVMValueRef memory = memory_of_function(e, (uint64_t)(count * n * staged_bytes(stage->store)), "stage");
	Linear *first = linear_scaled(e, stage->uniform, 1);
	first->constant += stage->least;
	Linear *turn = linear_constant(e, 0);
	vec_push(e->k->c->arena, &turn->terms, ((Term){.index = &e->vector_base, .factor = e->base_factor}));
	linear_add(e, first, turn, stage->factor);
	Rows pointers;
	LLVMValueRef base = offset_pointer(e, place_of(e, stage->buffer)->base, linear_emit(e, first));
	stage->memory = memory;
	int64_t apart = stage->factor * e->vector_index->step;
	if (count <= DENSE_MOST && apart == count * stage->bytes && LLVMIsConstant(e->lanes_full)) {
		fill_dense(e, stage, base, (uint32_t)count);
		return;
	}
	lane_pointers(e, base, apart, pointers);
	int64_t tiles = count / n;
	if (tiles > TILES_UNROLLED) {
		LoopFrame loop = loop_begin(e, const_int(i64, 0), const_int(i64, tiles * n), n, "stage");
		fill_tile(e, stage, pointers, loop.counter, (uint32_t)n);
		loop_end(e, &loop, n);
	} else {
		for (int64_t tile = 0; tile < tiles; tile++)
			fill_tile(e, stage, pointers, const_int(i64, tile * n), (uint32_t)n);
	}
	if (count % n)
		fill_tile(e, stage, pointers, const_int(i64, tiles * n), (uint32_t)(count % n));
}

/* ---- the loop ---- */

static LLVMValueRef lane_turns(Emitter *e, LLVMValueRef group)
{
	LLVMTypeRef i32 = type_of(e, T_I32);
	LLVMValueRef lanes[LANES_MOST];
	for (uint32_t i = 0; i < e->width; i++)
		lanes[i] = const_int(i32, i);
	LLVMValueRef lane = LLVMConstVector(lanes, e->width);
	if (!LLVMIsConstant(e->lanes_full)) {
		LLVMValueRef last = splat(e, LLVMBuildSub(e->builder, e->lane_count, const_int(i32, 1), ""));
		LLVMValueRef is_live = LLVMBuildICmp(e->builder, LLVMIntULT, lane, last, "");
		lane = LLVMBuildSelect(e->builder, is_live, lane, last, "");
	}
	return LLVMBuildAdd(e->builder, splat(e, LLVMBuildTrunc(e->builder, group, i32, "")), lane, "turn");
}

static void bind_lanes(Emitter *e, KIndex *index, LLVMValueRef turns, LLVMValueRef group)
{
	LLVMTypeRef i32 = type_of(e, T_I32), i64 = type_of(e, T_I64);
	LLVMValueRef width = const_int(i64, e->width), counter = LLVMBuildMul(e->builder, group, width, "turn");
	LLVMValueRef left = LLVMBuildSub(e->builder, turns, counter, "");
	bool is_always_full = LLVMIsAConstantInt(turns) && LLVMConstIntGetSExtValue(turns) % e->width == 0;
	e->lanes_full = is_always_full ? const_int(LLVMInt1TypeInContext(e->m->context), 1)
								   : LLVMBuildICmp(e->builder, LLVMIntSGE, left, width, "is_full");
	LLVMValueRef count = LLVMBuildSelect(e->builder, e->lanes_full, width, left, "");
	e->lane_count = LLVMBuildTrunc(e->builder, count, i32, "lanes");
	int64_t lo;
	LLVMValueRef low = emit_index64(e, index->lo), turn = lane_turns(e, counter);
	if (kexpr_is_const(index->lo, &lo) && lo == 0 && index->step == 1) {
		e->base_factor = e->width;
		e->base_value = group;
	} else {
		e->base_factor = 1;
		LLVMValueRef by = LLVMBuildMul(e->builder, counter, const_int(i64, index->step), "");
		e->base_value = LLVMBuildAdd(e->builder, low, by, "base");
		turn = LLVMBuildMul(e->builder, turn, const_int(LLVMTypeOf(turn), index->step), "");
		turn = LLVMBuildAdd(e->builder, turn, splat(e, LLVMBuildTrunc(e->builder, low, i32, "")), "");
	}
	e->index_values[index->id] = turn;
}

void emit_lane_loop(Emitter *e, KStep *step)
{
	KIndex *index = step->index;
	LLVMTypeRef i64 = type_of(e, T_I64);
	e->width = step->lanes;
	e->lane_loop = step;
	e->vector_index = NULL;
	LLVMValueRef turns = emit_trip_count(e, index);
	LLVMValueRef groups = LLVMBuildAdd(e->builder, turns, const_int(i64, step->lanes - 1), "");
	groups = LLVMBuildUDiv(e->builder, groups, const_int(i64, step->lanes), "groups");
	LoopFrame loop = loop_begin(e, const_int(i64, 0), groups, 1, "lanes");
	emit_prefetch(e, step, loop.counter, groups);
	bind_lanes(e, index, turns, loop.counter);
	e->mode = MODE_LANES;
	e->vector_index = index;
	e->stages = (StageVec){0};
	consider_steps(e, &step->body);
	for (size_t i = 0; i < e->stages.count; i++)
		if ((e->stages.at[i]->most - e->stages.at[i]->least) / e->stages.at[i]->bytes < STAGE_MOST)
			fill_stage(e, e->stages.at[i]);
	e->lane_depth = e->depth;
	emit_steps(e, &step->body);
	loop_end(e, &loop, 1);
	e->stages = (StageVec){0};
	e->index_values[index->id] = NULL;
	e->vector_index = NULL;
	e->lane_loop = NULL;
	e->mode = MODE_SCALAR;
	memo_forget(e);
}
