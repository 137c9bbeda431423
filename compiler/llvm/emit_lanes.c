/* SPDX-License-Identifier: MIT
 *
 * emit_lanes.c: LOOP_LANES, `width` turns side by side, one a vector lane.
 *
 * A turn works on a block of its own, so neighbouring lanes read addresses that are
 * a block apart. What the body reads of such a buffer is fetched once a group, in
 * vectors along the block, and transposed into rows of lanes (a Stage); what a step
 * writes to such a buffer is collected in rows of lanes and transposed back (a Sink).
 * In the last group lanes may be missing: those compute on the last turn's data and
 * write nothing.
 */
#include "emit.h"

enum { STAGE_MOST = 4096, TILES_UNROLLED = 2, DENSE_MOST = 8, WIDTH_MOST = 64 };

/* ---- transposes ---- */

typedef LLVMValueRef Rows[WIDTH_MOST];

static LLVMValueRef shuffle(Emitter *e, LLVMValueRef a, LLVMValueRef b, const uint32_t *mask, uint32_t count)
{
	LLVMTypeRef i32 = type_of(e, T_I32);
	LLVMValueRef items[WIDTH_MOST];
	for (uint32_t i = 0; i < count; i++)
		items[i] = const_int(i32, mask[i]);
	return LLVMBuildShuffleVector(e->builder, a, b, LLVMConstVector(items, count), "");
}

/* Any size: log2(n) perfect shuffles. */
static void transpose_by_interleaving(Emitter *e, Rows rows, uint32_t n)
{
	for (uint32_t round = 1; round < n; round *= 2) {
		Rows next;
		for (uint32_t i = 0; i < n / 2; i++) {
			for (uint32_t half = 0; half < 2; half++) {
				uint32_t mask[WIDTH_MOST];
				for (uint32_t j = 0; j < n; j++)
					mask[j] = half * (n / 2) + j / 2 + j % 2 * n;
				next[2 * i + half] = shuffle(e, rows[i], rows[i + n / 2], mask, n);
			}
		}
		for (uint32_t i = 0; i < n; i++)
			rows[i] = next[i];
	}
}

/* Within each quarter of four elements: [a0 b0 a1 b1] or [a2 b2 a3 b3] of single elements (wide false), [a0 a1 b0 b1]
 * or [a2 a3 b2 b3] of pairs. */
static LLVMValueRef unpack(Emitter *e, LLVMValueRef a, LLVMValueRef b, uint32_t n, bool high, bool wide)
{
	static const uint32_t singles[] = {0, 0, 1, 1}, pairs[] = {0, 1, 0, 1};
	uint32_t mask[WIDTH_MOST];
	for (uint32_t j = 0; j < n; j++) {
		uint32_t k = j % 4, from_b = wide ? k / 2 : k % 2;
		mask[j] = j - k + (high ? 2 : 0) + (wide ? pairs[k] : singles[k]) + from_b * n;
	}
	return shuffle(e, a, b, mask, n);
}

/* 32-bit elements: 4 x 4 inside of 128 bits, then whole 128-bit quarters change places. */
static void transpose_by_quarters(Emitter *e, Rows rows, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += 4) {
		LLVMValueRef ab_low = unpack(e, rows[i], rows[i + 1], n, false, false);
		LLVMValueRef ab_high = unpack(e, rows[i], rows[i + 1], n, true, false);
		LLVMValueRef cd_low = unpack(e, rows[i + 2], rows[i + 3], n, false, false);
		LLVMValueRef cd_high = unpack(e, rows[i + 2], rows[i + 3], n, true, false);
		rows[i] = unpack(e, ab_low, cd_low, n, false, true);
		rows[i + 1] = unpack(e, ab_low, cd_low, n, true, true);
		rows[i + 2] = unpack(e, ab_high, cd_high, n, false, true);
		rows[i + 3] = unpack(e, ab_high, cd_high, n, true, true);
	}
	for (uint32_t distance = 4; distance < n; distance *= 2) {
		for (uint32_t i = 0; i < n; i++) {
			if (i & distance)
				continue;
			LLVMValueRef a = rows[i], b = rows[i + distance];
			uint32_t low[WIDTH_MOST], high[WIDTH_MOST];
			for (uint32_t j = 0; j < n; j++) {
				low[j] = j & distance ? j - distance + n : j;
				high[j] = j & distance ? j + n : j + distance;
			}
			rows[i] = shuffle(e, a, b, low, n);
			rows[i + distance] = shuffle(e, a, b, high, n);
		}
	}
}

static void transpose(Emitter *e, Rows rows, uint32_t n)
{
	LLVMTypeRef element = LLVMGetElementType(LLVMTypeOf(rows[0]));
	LLVMTypeKind kind = LLVMGetTypeKind(element);
	bool is_single = kind == LLVMFloatTypeKind || (kind == LLVMIntegerTypeKind && LLVMGetIntTypeWidth(element) == 32);
	if (is_single && n % 4 == 0)
		transpose_by_quarters(e, rows, n);
	else
		transpose_by_interleaving(e, rows, n);
}

static LLVMValueRef resize(Emitter *e, LLVMValueRef v, uint32_t from, uint32_t to)
{
	if (from == to)
		return v;
	uint32_t mask[WIDTH_MOST];
	for (uint32_t j = 0; j < to; j++)
		mask[j] = j < from ? j : 0;
	return shuffle(e, v, LLVMGetPoison(LLVMTypeOf(v)), mask, to);
}

/* ---- addresses of lanes ---- */

static LLVMValueRef add_bytes(Emitter *e, LLVMValueRef pointer, LLVMValueRef count, int64_t bytes)
{
	LLVMValueRef offset = LLVMBuildMul(e->builder, count, const_int(type_of(e, T_I64), bytes), "");
	return offset_pointer(e, pointer, offset);
}

/* first + lane * bytes for each lane; lanes that are not live stay with the last live one. */
static void lane_pointers(Emitter *e, LLVMValueRef first, int64_t bytes, Rows pointers)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	bool is_full = LLVMIsConstant(e->lanes_full);
	LLVMValueRef last = NULL;
	if (!is_full)
		last = LLVMBuildZExt(
			e->builder, LLVMBuildSub(e->builder, e->lane_count, const_int(type_of(e, T_I32), 1), ""), i64, "");
	for (uint32_t i = 0; i < e->width; i++) {
		LLVMValueRef lane = const_int(i64, i);
		if (!is_full) {
			LLVMValueRef is_live = LLVMBuildICmp(e->builder, LLVMIntULT, lane, last, "");
			lane = LLVMBuildSelect(e->builder, is_live, lane, last, "");
		}
		pointers[i] = add_bytes(e, first, lane, bytes);
	}
}

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

static bool is_written(const KStepVec *steps, const KBuffer *buffer)
{
	for (size_t i = 0; i < steps->count; i++) {
		const KStep *step = steps->at[i];
		if (step->dst == buffer || is_written(&step->body, buffer))
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
		is_written(&e->lane_loop->body, buffer))
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
	LLVMValueRef v = load_at(e, row, add_bytes(e, stage->memory, at, bytes), bytes & -bytes, NULL);
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
		LLVMValueRef from = add_bytes(e, pointers[i], at, stage->bytes);
		LLVMValueRef raw =
			load_at(e, LLVMVectorType(memory, count), from, is_view ? 1 : (uint32_t)stage->bytes, stage->buffer);
		LLVMValueRef v = is_value ? raw : emit_decode(e, stage->store, raw);
		if (!is_value && store_type(stage->store) == T_BOOL)
			v = LLVMBuildZExt(e->builder, v, type_like(staged_type(e, stage->store), v), "");
		rows[i] = resize(e, v, count, n);
	}
	transpose(e, rows, n);
	LLVMValueRef to = add_bytes(e, stage->memory, at, row_bytes);
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
		uint32_t mask[WIDTH_MOST];
		for (uint32_t lane = 0; lane < n; lane++)
			mask[lane] = lane * count + k;
		LLVMValueRef row = shuffle(e, v, LLVMGetPoison(LLVMTypeOf(v)), mask, n);
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

/* ---- sinks ---- */

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
	store_at(e, raw, add_bytes(e, sink->memory, position, row), row & -row, NULL);
}

/* One tile of a run: `count` rows of lanes become a piece of every lane's run. */
static void drain_tile(Emitter *e, Sink *sink, LLVMValueRef memory, Rows pointers, LLVMValueRef at, uint32_t count)
{
	uint32_t n = e->width, row_bytes = (uint32_t)sink->bytes * n;
	LLVMTypeRef row = LLVMVectorType(sink->element, n);
	LLVMValueRef from = add_bytes(e, memory, at, row_bytes);
	Rows rows;
	for (uint32_t i = 0; i < n; i++) {
		LLVMValueRef pointer = offset_pointer(e, from, const_int(type_of(e, T_I64), (int64_t)i * row_bytes));
		rows[i] = i < count ? load_at(e, row, pointer, row_bytes & -row_bytes, NULL) : LLVMGetPoison(row);
	}
	transpose(e, rows, n);
	for (uint32_t i = 0; i < n; i++)
		store_at(
			e, resize(e, rows[i], n, count), add_bytes(e, pointers[i], at, sink->bytes), sink->align, sink->step->dst);
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
	LLVMValueRef from = add_bytes(e, memory, loop.counter, sink->bytes * e->width);
	LLVMValueRef v =
		load_at(e, sink->element, add_bytes(e, from, lane.counter, sink->bytes), (uint32_t)sink->bytes, NULL);
	LLVMValueRef to = add_bytes(e, add_bytes(e, first, lane.counter, sink->factor), loop.counter, sink->bytes);
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
	LLVMContextRef context = e->m->context;
	LLVMBasicBlockRef full = LLVMAppendBasicBlockInContext(context, e->function, "drain.full");
	LLVMBasicBlockRef part = LLVMAppendBasicBlockInContext(context, e->function, "drain.part");
	LLVMBasicBlockRef join = LLVMAppendBasicBlockInContext(context, e->function, "drain.join");
	LLVMBuildCondBr(e->builder, e->lanes_full, full, part);
	LLVMPositionBuilderAtEnd(e->builder, full);
	drain_full(e, sink, memory, first);
	LLVMBuildBr(e->builder, join);
	LLVMPositionBuilderAtEnd(e->builder, part);
	drain_part(e, sink, memory, first);
	LLVMBuildBr(e->builder, join);
	LLVMPositionBuilderAtEnd(e->builder, join);
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
	LLVMValueRef from = add_bytes(e, sink->memory, run, sink->run * sink->bytes * e->width);
	drain_run(e, sink, from, to);
	for (uint32_t i = sink->outer; i < step->domain_count; i++)
		e->index_values[step->domain[i]->id] = NULL;
	memo_forget(e);
}

static bool is_written_inside(const KStepVec *steps, const KBuffer *buffer)
{
	for (size_t i = 0; i < steps->count; i++)
		if (is_written(&steps->at[i]->body, buffer))
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

/* ---- the loop ---- */

static LLVMValueRef lane_turns(Emitter *e, LLVMValueRef group)
{
	LLVMTypeRef i32 = type_of(e, T_I32);
	LLVMValueRef lanes[WIDTH_MOST];
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
