/* SPDX-License-Identifier: MIT
 *
 * bitmap.c: where each bit of each field of a packed block lies.
 *
 * Runs the packing steps on symbols: a bit of a value is 0, 1, one certain bit of
 * a field, or unknown. Operations that move bits move them, constants are computed
 * by scalar.c, all else gives unknown bits, which is an error only where they end
 * in the output.
 */
#include "kernel.h"

#include <assert.h>
#include <string.h>

typedef uint64_t Bit;
enum { BIT_ZERO, BIT_ONE, BIT_UNKNOWN, BIT_UNWRITTEN, BIT_FIELD }; /* from BIT_FIELD on: a bit of a field */

/* A value. Of a real only its image in a storage type is known. */
typedef struct Bits {
	KType type;
	Store image; /* integers and bools: that of the type */
	Bit at[64];
} Bits;

/* Memory of a buffer that takes part. */
typedef struct Traced {
	Bit *bits; /* NULL: does not take part, every load is unknown */
	bool is_field, is_output;
	int64_t extent[K_MAX_RANK];
	size_t bit_count;
} Traced;

typedef struct Tracer {
	Kernel *k;
	Arena *arena; /* of the trace */
	const int64_t *params;
	int64_t *index;  /* by id */
	Traced *buffers; /* by id */
	const KStep *step;
	bool is_step_reported; /* one message a step and kind is enough */
	bool is_good;
} Tracer;

/* ---- values ---- */

static Bits unknown(KType type)
{
	Bits v = {.type = type, .image = store_of_type(type)};
	for (int i = 0; i < 64; i++)
		v.at[i] = BIT_UNKNOWN;
	return v;
}

static Bits constant(KType type, KValue value)
{
	Bits v = {.type = type, .image = store_of_type(type)};
	uint64_t bits = store_pack(v.image, type, value);
	for (int i = 0; i < v.image.bits; i++)
		v.at[i] = bits >> i & 1;
	return v;
}

static bool is_constant(const Bits *v, KValue *value)
{
	uint64_t bits = 0;
	for (int i = 0; i < v->image.bits; i++) {
		if (v->at[i] > BIT_ONE)
			return false;
		bits |= v->at[i] << i;
	}
	*value = store_unpack(v->image, bits);
	return true;
}

/* The value a reader makes of storage bits. */
static Bits unpack(Store store, const Bit *bits)
{
	Bits v = {.type = store_type(store)};
	bool is_integer = store.kind == STORE_UINT || store.kind == STORE_INT;
	v.image = is_integer ? store_of_type(v.type) : store;
	for (int i = 0; i < v.image.bits; i++)
		v.at[i] = i < store.bits ? bits[i] : store.kind == STORE_INT ? bits[store.bits - 1] : BIT_ZERO;
	return v;
}

/* x != 0 */
static Bit truth(const Bits *v)
{
	Bit found = BIT_ZERO;
	for (int i = 0; i < v->image.bits; i++) {
		if (v->at[i] == BIT_ONE)
			return BIT_ONE;
		if (v->at[i] != BIT_ZERO)
			found = found == BIT_ZERO ? v->at[i] : BIT_UNKNOWN;
	}
	return found;
}

/* Storage bits of a value, store.bits of them. */
static void pack(Store store, const Bits *v, Bit *bits)
{
	KValue value;
	bool is_real = v->type == T_F32 || v->type == T_F64;
	if (is_constant(v, &value)) {
		uint64_t packed = store_pack(store, v->type, value);
		for (int i = 0; i < store.bits; i++)
			bits[i] = packed >> i & 1;
		return;
	}
	bool is_integer = store.kind == STORE_UINT || store.kind == STORE_INT;
	bool is_kept = is_real && store_keeps_bits(v->image, store);
	for (int i = 0; i < store.bits; i++) {
		Bit high = v->type == T_BOOL ? BIT_ZERO : v->at[v->image.bits - 1];
		if (is_real ? is_kept : is_integer)
			bits[i] = i < v->image.bits ? v->at[i] : is_real ? BIT_ZERO : high;
		else
			bits[i] = !is_real && store.kind == STORE_BOOL ? truth(v) : BIT_UNKNOWN;
	}
}

/* ---- operations ---- */

static Bit bit_and(Bit a, Bit b)
{
	if (a == BIT_ZERO || b == BIT_ZERO)
		return BIT_ZERO;
	return a == BIT_ONE ? b : b == BIT_ONE || a == b ? a : BIT_UNKNOWN;
}

static Bit bit_or(Bit a, Bit b)
{
	if (a == BIT_ONE || b == BIT_ONE)
		return BIT_ONE;
	return a == BIT_ZERO ? b : b == BIT_ZERO || a == b ? a : BIT_UNKNOWN;
}

/* A sum moves bits as long as no position has two that may be set; from there on a carry may come. */
static Bits sum(const Bits *a, const Bits *b, bool is_difference)
{
	Bits v = {.type = a->type, .image = a->image};
	bool may_carry = false;
	for (int i = 0; i < v.image.bits; i++) {
		may_carry |= b->at[i] != BIT_ZERO && (is_difference || a->at[i] != BIT_ZERO);
		v.at[i] = may_carry ? BIT_UNKNOWN : a->at[i] == BIT_ZERO ? b->at[i] : a->at[i];
	}
	return v;
}

/* Bit i comes from i + by; what comes from outside is `fill` above and 0 below. */
static Bits shifted(const Bits *a, int64_t by, Bit fill)
{
	Bits v = {.type = a->type, .image = a->image};
	for (int64_t i = 0; i < v.image.bits; i++)
		v.at[i] = i + by < 0 ? BIT_ZERO : i + by < v.image.bits ? a->at[i + by] : fill;
	return v;
}

static Bits by_constant(KOp op, const Bits *a, int64_t b)
{
	bool is_power = b > 0 && (b & (b - 1)) == 0;
	int64_t width = a->image.bits;
	int log = is_power ? __builtin_ctzll((uint64_t)b) : 0;
	Bits none = {.type = a->type, .image = a->image};
	switch (op) {
	case OP_SHL:
		return b < 0 || b >= width ? none : shifted(a, -b, BIT_ZERO);
	case OP_SHR:
		return b < 0 || b >= width ? none : shifted(a, b, BIT_ZERO);
	case OP_MUL:
		return is_power ? shifted(a, -log, BIT_ZERO) : unknown(a->type);
	case OP_IDIV: /* floor division by 2^n keeps the sign */
		return is_power ? shifted(a, log, a->at[width - 1]) : unknown(a->type);
	case OP_IMOD:
		for (int i = 0; i < log; i++)
			none.at[i] = a->at[i];
		return is_power ? none : unknown(a->type);
	default:
		return unknown(a->type);
	}
}

static Bits binary(KOp op, KType type, const Bits *a, const Bits *b)
{
	KValue value;
	Bits v = {.type = a->type, .image = a->image};
	switch (op) {
	case OP_ADD:
	case OP_SUB:
		return sum(a, b, op == OP_SUB);
	case OP_BIT_AND:
	case OP_AND:
		for (int i = 0; i < v.image.bits; i++)
			v.at[i] = bit_and(a->at[i], b->at[i]);
		return v;
	case OP_BIT_OR:
	case OP_OR:
		for (int i = 0; i < v.image.bits; i++)
			v.at[i] = bit_or(a->at[i], b->at[i]);
		return v;
	case OP_BIT_XOR:
		for (int i = 0; i < v.image.bits; i++)
			v.at[i] = a->at[i] == BIT_ZERO ? b->at[i] : b->at[i] == BIT_ZERO ? a->at[i] : BIT_UNKNOWN;
		return v;
	case OP_NE:
		v = unknown(T_BOOL);
		if (is_constant(b, &value) && value.integer == 0)
			v.at[0] = truth(a);
		return v;
	default:
		return is_constant(b, &value) && type == a->type ? by_constant(op, a, value.integer) : unknown(type);
	}
}

static Bits select_bits(const Bits *condition, const Bits *a, const Bits *b)
{
	Bit c = condition->at[0];
	Bits v = {.type = a->type, .image = a->image};
	if (c == BIT_ONE || c == BIT_ZERO)
		return c == BIT_ONE ? *a : *b;
	for (int i = 0; i < v.image.bits; i++) /* if c then 1 else 0 is c */
		v.at[i] = a->at[i] == b->at[i] ? a->at[i] : a->at[i] == BIT_ONE && b->at[i] == BIT_ZERO ? c : BIT_UNKNOWN;
	return store_equal(a->image, b->image) ? v : unknown(a->type);
}

static Bits cast(KType type, const Bits *a)
{
	bool from_real = a->type == T_F32 || a->type == T_F64, to_real = type == T_F32 || type == T_F64;
	if (from_real || to_real)
		return unknown(type);
	Bits v = {.type = type, .image = store_of_type(type)};
	pack(v.image, a, v.at);
	return v;
}

static Bits apply(const KExpr *e, const Bits *args)
{
	KValue values[3];
	uint32_t arity = kop_arity(e->op), constants = 0;
	for (uint32_t i = 0; i < arity; i++)
		constants += is_constant(&args[i], &values[i]);
	if (constants == arity)
		return constant(e->type, scalar_apply(e->op, e->type, args[arity - 1].type, e->store, values));
	bool is_real = args[0].type == T_F32 || args[0].type == T_F64;
	Bits v = {.type = e->type, .image = store_of_type(e->type)};
	switch (e->op) {
	case OP_SELECT:
		return select_bits(&args[0], &args[1], &args[2]);
	case OP_CAST:
		return cast(e->type, &args[0]);
	case OP_STORE_AS:
		pack(e->store, &args[0], v.at);
		return unpack(e->store, v.at);
	case OP_BITS:
		pack(e->store, &args[0], v.at);
		return v;
	case OP_FROM_BITS:
		return unpack(e->store, args[0].at);
	default:
		return is_real || arity == 1 ? unknown(e->type) : binary(e->op, e->type, &args[0], &args[1]);
	}
}

/* ---- memory ---- */

static Bits evaluate(Tracer *t, const KExpr *e);

static int64_t evaluate_integer(Tracer *t, const KExpr *e)
{
	Bits v = evaluate(t, e);
	KValue value;
	return is_constant(&v, &value) ? value.integer : -1;
}

/* The place in the bits of a buffer; false if it is outside or not known. */
static bool place_of(Tracer *t, const KBuffer *buffer, Store store, KExpr *const *subs, size_t *place)
{
	const Traced *traced = &t->buffers[buffer->id];
	int64_t offset = 0;
	for (uint32_t i = 0; i < buffer->rank; i++) {
		int64_t sub = evaluate_integer(t, subs[i]);
		if (sub < 0 || sub >= traced->extent[i])
			return false;
		offset = offset * traced->extent[i] + sub;
	}
	*place = (size_t)offset * store_bytes(buffer->store) * 8;
	return *place + 8 * store_bytes(store) <= traced->bit_count;
}

static Bits evaluate(Tracer *t, const KExpr *e)
{
	Bits args[3];
	size_t place;
	switch (e->op) {
	case OP_CONST:
		if (e->type == T_F32 || e->type == T_F64)
			return constant(e->type, (KValue){.real = e->real});
		return constant(e->type, (KValue){.integer = e->integer});
	case OP_INDEX:
		return constant(T_I32, (KValue){.integer = t->index[e->index->id]});
	case OP_PARAM:
		return constant(T_I64, (KValue){.integer = t->params[e->integer]});
	case OP_LOAD:
		if (!t->buffers[e->buffer->id].bits || !place_of(t, e->buffer, e->store, e->subs, &place))
			return unknown(e->type);
		return unpack(e->store, t->buffers[e->buffer->id].bits + place);
	default:
		for (uint32_t i = 0; i < kop_arity(e->op); i++)
			args[i] = evaluate(t, e->args[i]);
		return apply(e, args);
	}
}

static void report(Tracer *t, const char *what, size_t bit)
{
	t->is_good = false;
	if (t->is_step_reported)
		return;
	t->is_step_reported = true;
	diag_error(
		t->k->c, t->step->loc, "this layout cannot be read back: bit %zu of byte %zu %s", bit % 8, bit / 8, what);
	diag_help(t->k->c, "a layout may shift, mask and or the bits of stored fields, each of them to one place");
}

static void write_element(Tracer *t, const Bits *value)
{
	const KStep *step = t->step;
	Traced *to = &t->buffers[step->dst->id];
	Store store = step->store;
	Bit bits[64];
	size_t place;
	if (!place_of(t, step->dst, store, step->dst_subs, &place)) {
		report(t, "is outside of the block", 0);
		return;
	}
	pack(store, value, bits);
	for (uint32_t i = 0; i < 8 * store_bytes(store); i++) {
		Bit spare = store.kind == STORE_INT ? bits[store.bits - 1] : BIT_ZERO;
		Bit bit = i < store.bits ? bits[i] : spare;
		if (to->is_output && to->bits[place + i] != BIT_UNWRITTEN)
			report(t, "is written twice", place + i);
		else if (to->is_output && (bit == BIT_UNKNOWN || bit == BIT_UNWRITTEN))
			report(t, "is not one bit of a field", place + i);
		to->bits[place + i] = bit;
	}
}

/* ---- steps ---- */

static void trace_over(Tracer *t, uint32_t axis, Bits *total)
{
	const KStep *step = t->step;
	if (axis == step->over_count) {
		Bits value = evaluate(t, step->value);
		*total = sum(total, &value, false);
		return;
	}
	const KIndex *index = step->over[axis];
	int64_t hi = evaluate_integer(t, index->hi);
	for (int64_t i = evaluate_integer(t, index->lo); i < hi; i += index->step) {
		t->index[index->id] = i;
		trace_over(t, axis + 1, total);
	}
}

static void trace_domain(Tracer *t, uint32_t axis)
{
	const KStep *step = t->step;
	if (axis < step->domain_count) {
		const KIndex *index = step->domain[axis];
		int64_t hi = evaluate_integer(t, index->hi);
		for (int64_t i = evaluate_integer(t, index->lo); i < hi; i += index->step) {
			t->index[index->id] = i;
			trace_domain(t, axis + 1);
		}
		return;
	}
	Bits value = {.type = step->value->type, .image = store_of_type(step->value->type)};
	if (step->kind == STEP_MAP)
		value = evaluate(t, step->value);
	else
		trace_over(t, 0, &value);
	write_element(t, &value);
}

static bool is_traceable(const KStep *step)
{
	bool is_integer = step->value && (step->value->type == T_I32 || step->value->type == T_I64);
	return step->kind == STEP_MAP || (step->kind == STEP_REDUCE && step->reduce == REDUCE_SUM && is_integer);
}

/* Marks what an expression reads as taking part. */
static void mark_loads(Tracer *t, KExprMap *seen, bool *is_needed, const KExpr *e)
{
	if (!e->loads || *kexprmap_at(seen, e))
		return;
	*kexprmap_at(seen, e) = (void *)e;
	if (e->op == OP_LOAD)
		is_needed[e->buffer->id] = true;
	uint32_t count = e->op == OP_LOAD ? e->buffer->rank : kop_arity(e->op);
	for (uint32_t i = 0; i < count; i++)
		mark_loads(t, seen, is_needed, e->op == OP_LOAD ? e->subs[i] : e->args[i]);
}

static void make_memory(Tracer *t, uint32_t id, Bit *next_field_bit)
{
	const KBuffer *buffer = t->k->buffers.at[id];
	Traced *traced = &t->buffers[id];
	uint32_t width = 8 * store_bytes(buffer->store);
	size_t count = 1;
	for (uint32_t i = 0; i < buffer->rank; i++) {
		traced->extent[i] = evaluate_integer(t, buffer->extent[i]);
		assert(traced->extent[i] >= 0);
		count *= (size_t)traced->extent[i];
	}
	traced->bit_count = count * width;
	traced->bits = arena_array(t->arena, Bit, traced->bit_count);
	for (size_t i = 0; i < traced->bit_count; i++) {
		Bit *bit = &traced->bits[i];
		if (buffer->kind == BUFFER_TABLE)
			*bit = ((const uint8_t *)buffer->data)[i / 8] >> i % 8 & 1;
		else if (!traced->is_field)
			*bit = BIT_UNWRITTEN;
		else if (i % width < buffer->store.bits)
			*bit = (*next_field_bit)++;
	}
}

static void run_steps(Tracer *t, const KStepVec *steps)
{
	size_t count = t->k->buffers.count;
	bool *is_needed = arena_array(t->arena, bool, count), *runs = arena_array(t->arena, bool, steps->count);
	Bit next_field_bit = BIT_FIELD;
	for (size_t i = 0; i < count; i++)
		is_needed[i] = t->buffers[i].is_output;
	for (size_t i = steps->count; i-- > 0;) {
		const KStep *step = steps->at[i];
		runs[i] = is_traceable(step) && is_needed[step->dst->id] && !t->buffers[step->dst->id].is_field;
		if (runs[i])
			mark_loads(t, &(KExprMap){.arena = t->arena}, is_needed, step->value);
	}
	for (size_t i = 0; i < count; i++)
		if ((is_needed[i] && t->k->buffers.at[i]->kind != BUFFER_INPUT) || t->buffers[i].is_field)
			make_memory(t, (uint32_t)i, &next_field_bit);
	for (size_t i = 0; i < steps->count; i++)
		if (runs[i]) {
			t->step = steps->at[i];
			t->is_step_reported = false;
			trace_domain(t, 0);
		}
}

/* ---- the result ---- */

/* "sc[3]" for an element by its row-major number; axes of extent 1 in front are the block itself. */
static const char *element_name(Tracer *t, const KBuffer *buffer, uint32_t element)
{
	const Traced *traced = &t->buffers[buffer->id];
	uint32_t first = 0;
	while (first < buffer->rank && traced->extent[first] == 1)
		first++;
	Text text = {.arena = t->k->c->arena};
	text_printf(&text, "%s", buffer->name ? buffer->name : "a field");
	for (uint32_t i = first; i < buffer->rank; i++) {
		uint32_t inner = 1;
		for (uint32_t j = i + 1; j < buffer->rank; j++)
			inner *= (uint32_t)traced->extent[j];
		text_printf(&text, "%s%u", i == first ? "[" : ", ", element / inner % (uint32_t)traced->extent[i]);
	}
	if (first < buffer->rank)
		text_printf(&text, "]");
	return text.at;
}

/* One message a field. */
static bool fill_field(Tracer *t, BitField *field, const BitPlace *places, const uint8_t *times, Loc loc)
{
	uint32_t bits = field->buffer->store.bits;
	for (uint32_t i = 0; i < field->count * bits; i++) {
		/* the copies of a sign in the spare bits of an integer are no second place */
		bool is_sign = field->buffer->store.kind == STORE_INT && i % bits == bits - 1;
		if (times[i] == 1 || (times[i] > 1 && is_sign)) {
			field->places[i] = places[i];
			continue;
		}
		diag_error(t->k->c, loc, "this layout cannot be read back: bit %u of %s is stored %s", i % bits,
			element_name(t, field->buffer, i / bits), times[i] ? "twice" : "nowhere");
		return false;
	}
	return true;
}

static bool collect(Tracer *t, KBuffer *const *outputs, uint32_t output_count, Bitmap *map)
{
	size_t total = 0, at = 0;
	bool is_good = t->is_good;
	for (uint32_t f = 0; f < map->field_count; f++)
		total += (size_t)map->fields[f].count * map->fields[f].buffer->store.bits;
	BitPlace *places = arena_array(t->arena, BitPlace, total);
	uint8_t *times = arena_array(t->arena, uint8_t, total);
	for (uint32_t o = 0; o < output_count; o++) {
		const Traced *traced = &t->buffers[outputs[o]->id];
		for (size_t i = 0; i < traced->bit_count; i++) {
			if (traced->bits[i] == BIT_UNWRITTEN && is_good) {
				diag_error(t->k->c, map->loc, "this layout leaves byte %zu of the block unwritten", i / 8);
				is_good = false;
			}
			if (traced->bits[i] < BIT_FIELD)
				continue;
			size_t bit = traced->bits[i] - BIT_FIELD;
			if (times[bit] == 0)
				places[bit] = (BitPlace){o, (uint32_t)i};
			times[bit] += times[bit] < 2;
		}
	}
	for (uint32_t id = 0; id < t->k->buffers.count; id++) /* the order in which field bits were numbered */
		for (uint32_t f = 0; f < map->field_count; f++) {
			BitField *field = &map->fields[f];
			if (field->buffer->id != id)
				continue;
			if (t->is_good)
				is_good &= fill_field(t, field, places + at, times + at, map->loc);
			at += (size_t)field->count * field->buffer->store.bits;
		}
	return is_good;
}

bool bitmap_trace(Kernel *k, const KStepVec *steps, KBuffer *const *outputs, uint32_t output_count,
	KBuffer *const *fields, uint32_t field_count, const int64_t *params, Bitmap *map)
{
	Tracer t = {.k = k, .arena = arena_new(), .params = params, .is_good = true};
	t.index = arena_array(t.arena, int64_t, k->index_count);
	t.buffers = arena_array(t.arena, Traced, k->buffers.count);
	for (uint32_t i = 0; i < output_count; i++)
		t.buffers[outputs[i]->id].is_output = true;
	for (uint32_t i = 0; i < field_count; i++)
		t.buffers[fields[i]->id].is_field = true;
	*map = (Bitmap){.field_count = field_count, .fields = arena_array(k->c->arena, BitField, field_count)};
	run_steps(&t, steps);
	map->loc = t.step ? t.step->loc : (Loc){0};
	for (uint32_t i = 0; i < field_count; i++) {
		const KBuffer *buffer = fields[i];
		uint32_t count = (uint32_t)(t.buffers[buffer->id].bit_count / 8 / store_bytes(buffer->store));
		BitPlace *places = arena_array(k->c->arena, BitPlace, count * buffer->store.bits);
		map->fields[i] = (BitField){.buffer = fields[i], .count = count, .places = places};
	}
	bool is_good = collect(&t, outputs, output_count, map);
	arena_free(t.arena);
	return is_good;
}
