/* SPDX-License-Identifier: MIT
 *
 * emit_memory.c: where buffers lie, and single loads and stores.
 *
 * Inputs, outputs and work buffers come from frame->buffers; tables are constants of
 * the module; a temporary lives on the stack, or in the thread's scratch if it is
 * large, and inside a lane loop it has one element a lane, side by side. Buffers of
 * the frame never overlap, which alias scopes tell LLVM.
 */
#include "emit.h"

#include <string.h>

enum { STACK_LIMIT = 64 << 10, VALUE_LIMIT = 4 << 10, SCRATCH_ALIGN = 64, WINDOW_FACTOR = 4 };

/* ---- the entry block ---- */

static LLVMBasicBlockRef enter_entry(Emitter *e)
{
	LLVMBasicBlockRef here = LLVMGetInsertBlock(e->builder);
	LLVMPositionBuilderBefore(e->builder, LLVMGetBasicBlockTerminator(e->entry));
	return here;
}

static void leave_entry(Emitter *e, LLVMBasicBlockRef here)
{
	LLVMPositionBuilderAtEnd(e->builder, here);
}

LLVMValueRef alloca_at_entry(Emitter *e, LLVMTypeRef type, const char *name)
{
	LLVMBasicBlockRef here = enter_entry(e);
	LLVMValueRef at = LLVMBuildAlloca(e->builder, type, name);
	leave_entry(e, here);
	return at;
}

LLVMValueRef zeroed_at_entry(Emitter *e, LLVMTypeRef type, const char *name)
{
	LLVMBasicBlockRef here = enter_entry(e);
	LLVMValueRef at = LLVMBuildAlloca(e->builder, type, name);
	LLVMBuildStore(e->builder, LLVMConstNull(type), at);
	leave_entry(e, here);
	return at;
}

LLVMValueRef offset_pointer(Emitter *e, LLVMValueRef base, LLVMValueRef bytes)
{
	LLVMTypeRef i8 = LLVMInt8TypeInContext(e->m->context);
	return LLVMBuildInBoundsGEP2(e->builder, i8, base, &bytes, 1, "");
}

static LLVMValueRef frame_field(Emitter *e, size_t offset, const char *name)
{
	LLVMTypeRef pointer = LLVMPointerTypeInContext(e->m->context, 0);
	LLVMValueRef at = offset_pointer(e, e->frame, const_int(type_of(e, T_I64), (int64_t)offset));
	return LLVMBuildLoad2(e->builder, pointer, at, name);
}

LLVMValueRef memory_of_function(Emitter *e, uint64_t bytes, const char *name)
{
	LLVMTypeRef i8 = LLVMInt8TypeInContext(e->m->context);
	if (bytes <= STACK_LIMIT) {
		LLVMValueRef at = alloca_at_entry(e, LLVMArrayType2(i8, bytes ? bytes : 1), name);
		LLVMSetAlignment(at, SCRATCH_ALIGN);
		return at;
	}
	LLVMBasicBlockRef here = enter_entry(e);
	LLVMValueRef scratch = frame_field(e, offsetof(CmprtFrame, scratch), "scratch");
	LLVMValueRef at = offset_pointer(e, scratch, const_int(type_of(e, T_I64), (int64_t)e->scratch_bytes));
	leave_entry(e, here);
	e->scratch_bytes += (bytes + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN;
	return at;
}

/* ---- places ---- */

/* Its number in frame->buffers, -1 if it is not there. */
static int64_t frame_position(Kernel *k, const KBuffer *buffer)
{
	int64_t position = 0;
	for (size_t i = 0; i < k->inputs.count; i++, position++)
		if (k->inputs.at[i] == buffer)
			return position;
	for (size_t i = 0; i < k->outputs.count; i++, position++)
		if (k->outputs.at[i] == buffer)
			return position;
	for (size_t i = 0; i < k->buffers.count; i++) {
		if (k->buffers.at[i]->kind != BUFFER_TEMP || k->buffers.at[i]->scope)
			continue;
		if (k->buffers.at[i] == buffer)
			return position;
		position++;
	}
	return -1;
}

static bool holds_step(const KStep *step, const KStep *inner)
{
	if (step == inner)
		return true;
	for (size_t i = 0; i < step->body.count; i++)
		if (holds_step(step->body.at[i], inner))
			return true;
	return false;
}

/* How many elements; 0 if that is not known before it runs. */
static uint64_t element_count(const KBuffer *buffer)
{
	uint64_t count = 1;
	for (uint32_t i = 0; i < buffer->rank; i++) {
		int64_t extent;
		if (!kexpr_is_const(buffer->extent[i], &extent))
			return 0;
		count *= extent > 0 ? (uint64_t)extent : 1;
	}
	return count;
}

uint32_t place_element_bytes(Emitter *e, KBuffer *buffer, Place *place)
{
	(void)e;
	if (!place->is_value)
		return store_bytes(buffer->store);
	KType type = store_type(buffer->store);
	return type == T_BOOL ? 1 : type == T_I32 || type == T_F32 ? 4 : 8;
}

LLVMTypeRef place_element_type(Emitter *e, KBuffer *buffer, Place *place)
{
	if (!place->is_value)
		return store_memory_type(e, buffer->store);
	KType type = store_type(buffer->store);
	return type == T_BOOL ? LLVMInt8TypeInContext(e->m->context) : type_of(e, type);
}

static LLVMValueRef emit_table(Emitter *e, KBuffer *buffer)
{
	uint64_t count = element_count(buffer) * store_bytes(buffer->store);
	LLVMValueRef data = LLVMConstStringInContext2(e->m->context, buffer->data, count, true);
	LLVMValueRef table = LLVMAddGlobal(e->m->llvm, LLVMTypeOf(data), buffer->name ? buffer->name : "table");
	LLVMSetInitializer(table, data);
	LLVMSetGlobalConstant(table, true);
	LLVMSetLinkage(table, LLVMPrivateLinkage);
	LLVMSetUnnamedAddress(table, LLVMGlobalUnnamedAddr);
	LLVMSetAlignment(table, SCRATCH_ALIGN);
	return table;
}

static LLVMValueRef sized_by_params(Emitter *e, KBuffer *buffer)
{
	LLVMBasicBlockRef here = enter_entry(e);
	LLVMValueRef bytes = const_int(type_of(e, T_I64), store_bytes(buffer->store));
	for (uint32_t i = 0; i < buffer->rank; i++)
		bytes = LLVMBuildMul(e->builder, bytes, emit_index64(e, buffer->extent[i]), "");
	LLVMTypeRef i8 = LLVMInt8TypeInContext(e->m->context);
	LLVMValueRef at = LLVMBuildArrayAlloca(e->builder, i8, bytes, buffer->name ? buffer->name : "");
	LLVMSetAlignment(at, SCRATCH_ALIGN);
	leave_entry(e, here);
	memo_forget(e);
	return at;
}

static void place_temporary(Emitter *e, KBuffer *buffer, Place *place)
{
	uint64_t count = element_count(buffer), copies = 1;
	bool has_views = e->facts->has_views[buffer->id];
	const char *name = buffer->name ? buffer->name : "";
	if (count == 0) {
		place->base = sized_by_params(e, buffer);
		return;
	}
	bool is_inside = e->lane_loop && holds_step(e->lane_loop, buffer->scope);
	place->is_private = is_inside && !has_views;
	place->is_private_bytes = is_inside && has_views;
	copies = is_inside ? e->width : 1;
	place->is_value = !has_views && (is_inside || count * sizeof(int64_t) <= VALUE_LIMIT);
	place->bytes = (int64_t)(count * store_bytes(buffer->store));
	place->base = memory_of_function(e, count * copies * place_element_bytes(e, buffer, place), name);
}

Place *place_of(Emitter *e, KBuffer *buffer)
{
	Place *place = &e->places[buffer->id];
	if (place->base)
		return place;
	int64_t position = frame_position(e->k, buffer);
	if (buffer->kind == BUFFER_TABLE) {
		place->base = emit_table(e, buffer);
	} else if (position < 0) {
		place_temporary(e, buffer, place);
	} else {
		LLVMTypeRef pointer = LLVMPointerTypeInContext(e->m->context, 0);
		LLVMBasicBlockRef here = enter_entry(e);
		LLVMValueRef buffers = frame_field(e, offsetof(CmprtFrame, buffers), "buffers");
		LLVMValueRef at = offset_pointer(e, buffers, const_int(type_of(e, T_I64), position * 8));
		place->base = LLVMBuildLoad2(e->builder, pointer, at, buffer->name ? buffer->name : "");
		leave_entry(e, here);
	}
	return place;
}

/* ---- alias scopes ---- */

static LLVMMetadataRef md_text(Emitter *e, const char *text)
{
	return LLVMMDStringInContext2(e->m->context, text, strlen(text));
}

static LLVMMetadataRef alias_scope(Emitter *e, const KBuffer *buffer)
{
	LLVMMetadataRef name = md_text(e, e->k->name);
	LLVMMetadataRef domain = LLVMMDNodeInContext2(e->m->context, &name, 1);
	const char *text = arena_printf(e->k->c->arena, "%s.%u", buffer->name ? buffer->name : "", buffer->id);
	LLVMMetadataRef parts[] = {md_text(e, text), domain};
	return LLVMMDNodeInContext2(e->m->context, parts, 2);
}

static void set_metadata(Emitter *e, LLVMValueRef access, const char *kind, LLVMMetadataRef *scopes, size_t count)
{
	unsigned id = LLVMGetMDKindIDInContext(e->m->context, kind, (unsigned)strlen(kind));
	LLVMMetadataRef list = LLVMMDNodeInContext2(e->m->context, scopes, count);
	LLVMSetMetadata(access, id, LLVMMetadataAsValue(e->m->context, list));
}

static void set_alias(Emitter *e, LLVMValueRef access, KBuffer *buffer)
{
	if (!buffer || frame_position(e->k, buffer) < 0)
		return;
	KBufferVec *all = &e->k->buffers;
	LLVMMetadataRef own = alias_scope(e, buffer);
	LLVMMetadataRef *others = arena_array(e->k->c->arena, LLVMMetadataRef, all->count);
	size_t count = 0;
	for (size_t i = 0; i < all->count; i++)
		if (all->at[i] != buffer && frame_position(e->k, all->at[i]) >= 0)
			others[count++] = alias_scope(e, all->at[i]);
	set_metadata(e, access, "alias.scope", &own, 1);
	if (count > 0)
		set_metadata(e, access, "noalias", others, count);
}

LLVMValueRef load_at(Emitter *e, LLVMTypeRef type, LLVMValueRef pointer, uint32_t align, KBuffer *buffer)
{
	LLVMValueRef v = LLVMBuildLoad2(e->builder, type, pointer, "");
	LLVMSetAlignment(v, align);
	set_alias(e, v, buffer);
	return v;
}

void store_at(Emitter *e, LLVMValueRef value, LLVMValueRef pointer, uint32_t align, KBuffer *buffer)
{
	LLVMValueRef v = LLVMBuildStore(e->builder, value, pointer);
	LLVMSetAlignment(v, align);
	set_alias(e, v, buffer);
}

/* ---- addresses ---- */

/* Where the elements of a vector access lie. */
typedef struct Access {
	Linear *offset; /* bytes, the vector index as a term */
	Linear *first;  /* of lane 0, the vector index replaced by its base */
	bool is_varying;
	int64_t *offsets; /* bytes of each lane from the first; NULL: not constant */
	int64_t bytes;    /* of an element */
	uint32_t align;
} Access;

static int64_t *lane_offsets(Emitter *e, KBuffer *buffer, KExpr *const *subs, int64_t scale, const Linear *first)
{
	int64_t *offsets = arena_array(e->k->c->arena, int64_t, e->width);
	for (uint32_t lane = 0; lane < e->width; lane++) {
		Linear *l = linear_subscript(e, buffer, subs, lane);
		linear_add(e, l, first, -1);
		if (l->terms.count > 0)
			return NULL;
		offsets[lane] = l->constant * scale;
	}
	return offsets;
}

static Access access_of(Emitter *e, KBuffer *buffer, Place *place, KExpr *const *subs, Store store)
{
	int64_t scale = place_element_bytes(e, buffer, place);
	bool is_view = !store_equal(store, buffer->store);
	Access a = {.bytes = is_view ? store_bytes(store) : scale};
	a.align = is_view ? 1 : (uint32_t)scale;
	Linear *offset = linear_subscript(e, buffer, subs, -1);
	a.offset = linear_scaled(e, offset, scale);
	bool has_opaque = linear_has_varying_opaque(e, offset);
	a.is_varying = e->vector_index && (has_opaque || linear_uses(e, offset, e->vector_index));
	if (!a.is_varying || has_opaque)
		return a;
	Linear *first = linear_subscript(e, buffer, subs, 0);
	a.offsets = lane_offsets(e, buffer, subs, scale, first);
	a.first = linear_scaled(e, first, scale);
	return a;
}

static bool is_contiguous(Emitter *e, const Access *a)
{
	if (!a->offsets)
		return false;
	for (uint32_t i = 0; i < e->width; i++)
		if (a->offsets[i] != (int64_t)i * a->bytes)
			return false;
	return true;
}

/* All lanes meet one element, though its subscripts name the vector index: k // 32 of 16 lanes. */
static bool is_one_element(Emitter *e, const Access *a)
{
	if (!a->offsets)
		return false;
	for (uint32_t i = 0; i < e->width; i++)
		if (a->offsets[i] != 0)
			return false;
	return true;
}

static LLVMValueRef const_vector(Emitter *e, const int64_t *items, uint32_t count, KType type)
{
	LLVMValueRef *values = arena_array(e->k->c->arena, LLVMValueRef, count);
	for (uint32_t i = 0; i < count; i++)
		values[i] = const_int(type_of(e, type), items[i]);
	return LLVMConstVector(values, count);
}

/* i64 offsets of lanes 0, 1, 2, .. of a copy each */
static LLVMValueRef lane_multiples(Emitter *e, int64_t bytes)
{
	int64_t items[64];
	for (uint32_t i = 0; i < e->width; i++)
		items[i] = i * bytes;
	return const_vector(e, items, e->width, T_I64);
}

static LLVMValueRef gather(Emitter *e, LLVMTypeRef element, LLVMValueRef base, LLVMValueRef offsets, uint32_t align)
{
	LLVMContextRef context = e->m->context;
	LLVMValueRef pointers = offset_pointer(e, base, offsets);
	LLVMTypeRef result = LLVMVectorType(element, e->width);
	LLVMTypeRef overloads[] = {result, LLVMTypeOf(pointers)};
	LLVMValueRef args[] = {pointers, const_int(type_of(e, T_I32), align),
		const_int(LLVMVectorType(LLVMInt1TypeInContext(context), e->width), 1), LLVMGetPoison(result)};
	return emit_intrinsic(e, "llvm.masked.gather", overloads, 2, args, 4);
}

/* ---- loads ---- */

LLVMValueRef decode_place(Emitter *e, KBuffer *buffer, Place *place, Store store, LLVMValueRef raw)
{
	if (!place->is_value)
		return emit_decode(e, store, raw);
	if (store_type(buffer->store) == T_BOOL)
		return LLVMBuildICmp(e->builder, LLVMIntNE, raw, const_int(LLVMTypeOf(raw), 0), "");
	return raw;
}

/* Rows of lanes lie at multiples of their size, from a well aligned base. */
static uint32_t row_align(Emitter *e, int64_t bytes)
{
	uint32_t row = (uint32_t)bytes * e->width;
	return row < SCRATCH_ALIGN ? row & -row : SCRATCH_ALIGN;
}

static LLVMValueRef load_private(Emitter *e, KExpr *load, Place *place)
{
	LLVMTypeRef element = place_element_type(e, load->buffer, place);
	int64_t bytes = place_element_bytes(e, load->buffer, place);
	LLVMValueRef index = linear_emit(e, linear_subscript(e, load->buffer, load->subs, -1));
	LLVMValueRef offset = LLVMBuildMul(e->builder, index, const_int(LLVMTypeOf(index), bytes * e->width), "");
	if (!is_vector_value(offset)) {
		LLVMTypeRef row = LLVMVectorType(element, e->width);
		return load_at(e, row, offset_pointer(e, place->base, offset), row_align(e, bytes), NULL);
	}
	offset = LLVMBuildAdd(e->builder, offset, lane_multiples(e, bytes), "");
	return gather(e, element, place->base, offset, (uint32_t)bytes);
}

/* A few neighbours in another order: one contiguous load and a shuffle. Both ends of the window are elements of the
 * access, so it lies in the buffer. */
static LLVMValueRef load_window(Emitter *e, Access *a, LLVMTypeRef element, LLVMValueRef base, KBuffer *buffer)
{
	int64_t least = a->offsets[0], most = a->offsets[0];
	for (uint32_t i = 1; i < e->width; i++) {
		least = a->offsets[i] < least ? a->offsets[i] : least;
		most = a->offsets[i] > most ? a->offsets[i] : most;
	}
	int64_t count = (most - least) / a->bytes + 1;
	if (count > (int64_t)e->width * WINDOW_FACTOR)
		return NULL;
	int64_t *mask = arena_array(e->k->c->arena, int64_t, e->width);
	for (uint32_t i = 0; i < e->width; i++) {
		if ((a->offsets[i] - least) % a->bytes != 0)
			return NULL;
		mask[i] = (a->offsets[i] - least) / a->bytes;
	}
	Linear *from = linear_scaled(e, a->first, 1);
	from->constant += least;
	LLVMTypeRef window = LLVMVectorType(element, (unsigned)count);
	LLVMValueRef all = load_at(e, window, offset_pointer(e, base, linear_emit(e, from)), a->align, buffer);
	return LLVMBuildShuffleVector(e->builder, all, LLVMGetPoison(window), const_vector(e, mask, e->width, T_I32), "");
}

static LLVMValueRef load_contiguous(Emitter *e, Access *a, LLVMTypeRef element, LLVMValueRef base, KBuffer *buffer)
{
	LLVMValueRef at = offset_pointer(e, base, linear_emit(e, a->first));
	return load_at(e, LLVMVectorType(element, e->width), at, a->align, buffer);
}

/* Lanes that are not live read what the last live one reads. */
static LLVMValueRef load_lanes(Emitter *e, Access *a, LLVMTypeRef element, LLVMValueRef base, KBuffer *buffer)
{
	if (!is_contiguous(e, a))
		return gather(e, element, base, linear_emit(e, a->offset), a->align);
	if (LLVMIsConstant(e->lanes_full))
		return load_contiguous(e, a, element, base, buffer);
	LLVMValueRef offsets = linear_emit(e, a->offset), first = linear_emit(e, a->first);
	LLVMTypeRef row = LLVMVectorType(element, e->width);
	LanesBranch branch = lanes_branch_begin(e, "lanes");
	LLVMValueRef values[2];
	values[0] = load_at(e, row, offset_pointer(e, base, first), a->align, buffer);
	lanes_branch_part(e, &branch);
	values[1] = gather(e, element, base, offsets, a->align);
	lanes_branch_end(e, &branch);
	LLVMValueRef phi = LLVMBuildPhi(e->builder, row, "");
	LLVMBasicBlockRef blocks[] = {branch.full, branch.part};
	LLVMAddIncoming(phi, values, blocks, 2);
	return phi;
}

static LLVMValueRef load_raw(Emitter *e, KExpr *load, Place *place)
{
	KBuffer *buffer = load->buffer;
	bool is_view = !store_equal(load->store, buffer->store);
	LLVMTypeRef element = is_view ? store_memory_type(e, load->store) : place_element_type(e, buffer, place);
	Access a = access_of(e, buffer, place, load->subs, load->store);
	if (place->is_private_bytes) {
		LLVMValueRef offset =
			LLVMBuildAdd(e->builder, splat(e, linear_emit(e, a.offset)), lane_multiples(e, place->bytes), "");
		return gather(e, element, place->base, offset, a.align);
	}
	if (!a.is_varying)
		return load_at(e, element, offset_pointer(e, place->base, linear_emit(e, a.offset)), a.align, buffer);
	if (is_one_element(e, &a))
		return load_at(e, element, offset_pointer(e, place->base, linear_emit(e, a.first)), a.align, buffer);
	if (e->mode == MODE_LANES)
		return load_lanes(e, &a, element, place->base, buffer);
	if (is_contiguous(e, &a))
		return load_contiguous(e, &a, element, place->base, buffer);
	LLVMValueRef v = a.offsets ? load_window(e, &a, element, place->base, buffer) : NULL;
	return v ? v : gather(e, element, place->base, linear_emit(e, a.offset), a.align);
}

LLVMValueRef emit_load(Emitter *e, KExpr *load)
{
	Place *place = place_of(e, load->buffer);
	if (place->is_private)
		return decode_place(e, load->buffer, place, load->store, load_private(e, load, place));
	LLVMValueRef staged = stage_find(e, load);
	return staged ? staged : decode_place(e, load->buffer, place, load->store, load_raw(e, load, place));
}

/* ---- stores ---- */

static void scatter_unrolled(
	Emitter *e, LLVMValueRef value, LLVMValueRef base, LLVMValueRef offsets, Access *a, KBuffer *buffer)
{
	for (uint32_t i = 0; i < e->width; i++) {
		LLVMValueRef lane = const_int(type_of(e, T_I32), i);
		LLVMValueRef at = offset_pointer(e, base, LLVMBuildExtractElement(e->builder, offsets, lane, ""));
		store_at(e, LLVMBuildExtractElement(e->builder, value, lane, ""), at, a->align, buffer);
	}
}

static void scatter_full(
	Emitter *e, LLVMValueRef value, LLVMValueRef base, LLVMValueRef offsets, Access *a, KBuffer *buffer)
{
	if (is_contiguous(e, a))
		store_at(e, value, offset_pointer(e, base, linear_emit(e, a->first)), a->align, buffer);
	else
		scatter_unrolled(e, value, base, offsets, a, buffer);
}

/* Only live lanes write. */
static void scatter(Emitter *e, LLVMValueRef value, LLVMValueRef base, LLVMValueRef offsets, Access *a, KBuffer *buffer)
{
	if (e->mode != MODE_LANES || LLVMIsConstant(e->lanes_full)) {
		scatter_full(e, value, base, offsets, a, buffer);
		return;
	}
	LanesBranch branch = lanes_branch_begin(e, "scatter");
	scatter_full(e, value, base, offsets, a, buffer);
	lanes_branch_part(e, &branch);
	LLVMTypeRef i64 = type_of(e, T_I64);
	LLVMValueRef count = LLVMBuildZExt(e->builder, e->lane_count, i64, "");
	LoopFrame loop = loop_begin(e, const_int(i64, 0), count, 1, "lane");
	LLVMValueRef at = offset_pointer(e, base, LLVMBuildExtractElement(e->builder, offsets, loop.counter, ""));
	store_at(e, LLVMBuildExtractElement(e->builder, value, loop.counter, ""), at, a->align, buffer);
	loop_end(e, &loop, 1);
	lanes_branch_end(e, &branch);
}

static void store_private(Emitter *e, KStep *step, Place *place, LLVMValueRef value)
{
	int64_t bytes = place_element_bytes(e, step->dst, place);
	LLVMValueRef index = linear_emit(e, linear_subscript(e, step->dst, step->dst_subs, -1));
	LLVMValueRef offset = LLVMBuildMul(e->builder, index, const_int(LLVMTypeOf(index), bytes * e->width), "");
	if (!is_vector_value(offset)) {
		store_at(e, splat(e, value), offset_pointer(e, place->base, offset), row_align(e, bytes), NULL);
		return;
	}
	Access a = {.bytes = bytes, .align = (uint32_t)bytes};
	offset = LLVMBuildAdd(e->builder, offset, lane_multiples(e, bytes), "");
	scatter_unrolled(e, splat(e, value), place->base, offset, &a, NULL);
}

LLVMValueRef encode_place(Emitter *e, KStep *step, Place *place, LLVMValueRef value, KType type, Range range)
{
	if (!place->is_value) {
		/* Which NaN it is shows in outputs only. */
		bool is_shown = step->dst->kind == BUFFER_OUTPUT || e->facts->has_views[step->dst->id];
		if (!is_shown && (step->store.kind == STORE_F32 || step->store.kind == STORE_F64))
			range.may_be_nan = false;
		return emit_encode(e, step->store, type, value, range);
	}
	value = emit_store_as(e, step->store, type, value, range);
	if (store_type(step->store) == T_BOOL)
		value = LLVMBuildZExt(e->builder, value, type_like(LLVMInt8TypeInContext(e->m->context), value), "");
	return value;
}

static LLVMValueRef last_lane(Emitter *e)
{
	LLVMTypeRef i32 = type_of(e, T_I32);
	return e->mode == MODE_LANES ? LLVMBuildSub(e->builder, e->lane_count, const_int(i32, 1), "")
								 : const_int(i32, e->width - 1);
}

void emit_store_step(Emitter *e, KStep *step, LLVMValueRef value, KType type, Range range)
{
	KBuffer *buffer = step->dst;
	Place *place = place_of(e, buffer);
	LLVMValueRef raw = encode_place(e, step, place, value, type, range);
	if (place->is_private) {
		store_private(e, step, place, raw);
		return;
	}
	Access a = access_of(e, buffer, place, step->dst_subs, step->store);
	if (place->is_private_bytes) {
		LLVMValueRef offset =
			LLVMBuildAdd(e->builder, splat(e, linear_emit(e, a.offset)), lane_multiples(e, place->bytes), "");
		scatter_unrolled(e, splat(e, raw), place->base, offset, &a, NULL);
	} else if (!a.is_varying) {
		if (is_vector_value(raw)) /* all write one place: the last turn's value stays */
			raw = LLVMBuildExtractElement(e->builder, raw, last_lane(e), "");
		store_at(e, raw, offset_pointer(e, place->base, linear_emit(e, a.offset)), a.align, buffer);
	} else {
		scatter(e, splat(e, raw), place->base, linear_emit(e, a.offset), &a, buffer);
	}
}
