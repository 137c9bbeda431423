/* SPDX-License-Identifier: MIT
 *
 * bitmap_invert.c: the steps that read fields back from where a bitmap says their
 * bits lie.
 *
 * A field is read in pieces: runs of bits that are consecutive in the field and in
 * one element (unit) of a source. Where unit and shift of all pieces are linear in
 * digits of the subscripts (for 2 nibbles a byte: k = 16*p + q, unit q, shift 4*p)
 * the step loops over the digits and computes both; a field may be cut into parts
 * that are each of that kind. What is left is read through tables.
 */
#include "kernel.h"

#include <assert.h>
#include <string.h>

enum { PIECES = 64, DIGITS = 16, PARTS = 8 };

typedef struct Piece {
	uint32_t source;
	uint32_t first, bits; /* of the field's element */
} Piece;

typedef struct Digit {
	uint32_t axis;
	int64_t stride, count;               /* of the axis' subscript */
	int64_t unit[PIECES], shift[PIECES]; /* added by each step of the digit */
} Digit;

/* Part of a field: elements lo .. lo + extent - 1 of each own axis, and how they are read. */
typedef struct Region {
	int64_t lo[K_MAX_RANK], extent[K_MAX_RANK];
	Piece pieces[PIECES];
	uint32_t piece_count;
	Digit digits[DIGITS]; /* innermost first */
	uint32_t digit_count;
	bool is_whole; /* one piece that is a typed, aligned element in bytes: unit counts bytes, shift is 0 */
} Region;

typedef struct Inverter {
	Kernel *k;
	const BitField *field;
	const BitSource *sources;
	const BitTarget *target;
	KIndex *const *around;
	uint32_t around_count;
	uint32_t rank; /* own axes */
	int64_t extent[K_MAX_RANK];
	KStepVec *to;
} Inverter;

/* ---- places ---- */

static const BitPlace *place_of(const Inverter *v, size_t element, uint32_t bit)
{
	return &v->field->places[element * v->field->buffer->store.bits + bit];
}

static uint32_t unit_bits(const Inverter *v, uint32_t source)
{
	return 8 * store_bytes(v->sources[source].buffer->store);
}

static int64_t unit_of(const Inverter *v, const Piece *piece, size_t element)
{
	const BitPlace *place = place_of(v, element, piece->first);
	return place->bit / unit_bits(v, piece->source);
}

static int64_t shift_of(const Inverter *v, const Piece *piece, size_t element)
{
	const BitPlace *place = place_of(v, element, piece->first);
	return place->bit % unit_bits(v, piece->source);
}

static size_t element_at(const Inverter *v, const int64_t *subs)
{
	size_t element = 0;
	for (uint32_t i = 0; i < v->rank; i++)
		element = element * (size_t)v->extent[i] + (size_t)subs[i];
	return element;
}

static bool next_in(const Region *r, uint32_t rank, int64_t *subs)
{
	for (uint32_t i = rank; i-- > 0;) {
		if (++subs[i] < r->lo[i] + r->extent[i])
			return true;
		subs[i] = r->lo[i];
	}
	return false;
}

/* ---- pieces ---- */

static bool is_bytes(const KBuffer *buffer)
{
	return buffer->store.kind == STORE_UINT && buffer->store.bits == 8;
}

/* Cuts the element wherever one of the region is cut. False if elements lie in different sources. */
static bool find_pieces(const Inverter *v, Region *r)
{
	Store store = v->field->buffer->store;
	bool is_cut[64] = {true};
	int64_t subs[K_MAX_RANK];
	memcpy(subs, r->lo, sizeof subs);
	const BitPlace *first = place_of(v, element_at(v, subs), 0);
	r->is_whole = is_bytes(v->sources[first->output].buffer) && store.bits == 8 * store_bytes(store);
	do {
		size_t element = element_at(v, subs);
		r->is_whole &= place_of(v, element, 0)->bit % 8 == 0;
		for (uint32_t i = 0; i < store.bits; i++) {
			const BitPlace *place = place_of(v, element, i), *before = i ? place - 1 : place;
			if (place->output != first[i].output)
				return false;
			bool is_run = i > 0 && place->output == before->output && place->bit == before->bit + 1;
			r->is_whole &= is_run || i == 0;
			is_cut[i] |= !is_run || place->bit % unit_bits(v, place->output) == 0;
		}
	} while (next_in(r, v->rank, subs));
	r->piece_count = 0;
	for (uint32_t i = 0; i < store.bits; i++) {
		if (is_cut[i] && !(r->is_whole && i > 0))
			r->pieces[r->piece_count++] = (Piece){first[i].output, i, 0};
		r->pieces[r->piece_count - 1].bits++;
	}
	return true;
}

/* ---- digits ---- */

/* Moving `by` along the axis adds the same to unit and shift of each piece, wherever it starts: at multiples of
 * stride * count, all outer subscripts, inner ones at their start. */
static bool is_linear(const Inverter *v, const Region *r, Digit *digit)
{
	uint32_t axis = digit->axis;
	int64_t subs[K_MAX_RANK];
	Region outer = *r;
	outer.extent[axis] /= digit->stride * digit->count; /* its subscript counts whole groups */
	for (uint32_t i = axis + 1; i < v->rank; i++)
		outer.extent[i] = 1;
	bool is_first = true;
	memcpy(subs, r->lo, sizeof subs);
	do {
		int64_t at[K_MAX_RANK];
		memcpy(at, subs, sizeof at);
		at[axis] = r->lo[axis] + (subs[axis] - r->lo[axis]) * digit->stride * digit->count;
		size_t base = element_at(v, at);
		for (int64_t d = 1; d < digit->count; d++) {
			at[axis] += digit->stride;
			size_t element = element_at(v, at);
			for (uint32_t p = 0; p < r->piece_count; p++) {
				int64_t unit = unit_of(v, &r->pieces[p], element) - unit_of(v, &r->pieces[p], base);
				int64_t shift = shift_of(v, &r->pieces[p], element) - shift_of(v, &r->pieces[p], base);
				if (is_first && d == 1) {
					digit->unit[p] = unit;
					digit->shift[p] = shift;
				}
				if (unit != d * digit->unit[p] || shift != d * digit->shift[p])
					return false;
			}
		}
		is_first = false;
	} while (next_in(&outer, v->rank, subs));
	return true;
}

/* Writes the subscripts in mixed radix, as few digits as can be, so that places are linear in the digits. */
static bool find_digits(const Inverter *v, Region *r)
{
	r->digit_count = 0;
	for (uint32_t axis = v->rank; axis-- > 0;) {
		int64_t stride = 1;
		while (stride < r->extent[axis]) {
			int64_t left = r->extent[axis] / stride, count = left;
			Digit *digit = &r->digits[r->digit_count];
			for (; count > 1; count--) {
				*digit = (Digit){.axis = axis, .stride = stride, .count = count};
				if (left % count == 0 && is_linear(v, r, digit))
					break;
			}
			if (count == 1 || r->digit_count + 1 == DIGITS)
				return false;
			r->digit_count++;
			stride *= count;
		}
	}
	return true;
}

static bool find_form(const Inverter *v, Region *r)
{
	return find_pieces(v, r) && find_digits(v, r);
}

/* ---- expressions ---- */

static KExpr *integer(Kernel *k, KType type, int64_t value)
{
	return kexpr_int(k, type, value);
}

/* An element of a source, `unit` elements (of bytes: bytes) after the block's first, read as `store`. */
static KExpr *load_source(Inverter *v, uint32_t source, KExpr *unit, Store store)
{
	const BitSource *from = &v->sources[source];
	KExpr *subs[K_MAX_RANK];
	uint32_t last = from->buffer->rank - 1;
	for (uint32_t i = 0; i <= last; i++)
		subs[i] = from->subs[i];
	subs[last] = kexpr_binary(v->k, OP_ADD, subs[last], kexpr_cast(v->k, subs[last]->type, unit));
	return kexpr_load_as(v->k, from->buffer, subs, store);
}

/* The bits of an element of a source as an integer. */
static KExpr *load_unit(Inverter *v, uint32_t source, KExpr *unit)
{
	Store store = v->sources[source].buffer->store;
	KExpr *load = load_source(v, source, unit, store);
	bool is_plain = store.kind == STORE_UINT && store.bits == 8 * store_bytes(store) && store.bits != 32;
	return is_plain ? load : kexpr_store(v->k, OP_BITS, store, load);
}

/* (unit >> shift & mask) << first, in the type of the field's bits */
static KExpr *piece_value(Inverter *v, const Piece *piece, KExpr *unit, KExpr *shift, KType type)
{
	Kernel *k = v->k;
	KExpr *value = load_unit(v, piece->source, unit);
	int64_t constant;
	bool is_top = kexpr_is_const(shift, &constant) && constant + piece->bits == unit_bits(v, piece->source);
	value = kexpr_binary(k, OP_SHR, value, kexpr_cast(k, value->type, shift));
	if (!is_top && piece->bits < 64) {
		int64_t mask = (int64_t)((UINT64_C(1) << piece->bits) - 1);
		value = kexpr_binary(k, OP_BIT_AND, value, integer(k, value->type, mask));
	}
	return kexpr_binary(k, OP_SHL, kexpr_cast(k, type, value), integer(k, type, piece->first));
}

static KExpr *element_value(Inverter *v, const Region *r, KExpr *const *units, KExpr *const *shifts)
{
	Kernel *k = v->k;
	Store store = v->field->buffer->store;
	if (r->is_whole)
		return load_source(v, r->pieces[0].source, units[0], store);
	KType type = store.bits <= 32 ? T_I32 : T_I64;
	KExpr *value = NULL;
	for (uint32_t p = 0; p < r->piece_count; p++) {
		KExpr *piece = piece_value(v, &r->pieces[p], units[p], shifts[p], type);
		value = value ? kexpr_binary(k, OP_BIT_OR, value, piece) : piece;
	}
	bool is_plain = store.kind == STORE_UINT && store_type(store) == type;
	return is_plain ? value : kexpr_store(k, OP_FROM_BITS, store, value);
}

/* dst[lead.., own..] = value over around and the region's digits */
static void push_map(Inverter *v, KExpr *const *own, KIndex *const *digits, uint32_t digit_count, KExpr *value, Loc loc)
{
	KExpr *subs[K_MAX_RANK];
	KIndex *domain[K_MAX_RANK + DIGITS];
	uint32_t rank = 0, count = 0;
	for (uint32_t i = 0; i < v->target->lead_count; i++)
		subs[rank++] = v->target->lead_subs[i];
	for (uint32_t i = 0; i < v->rank; i++)
		subs[rank++] = own[i];
	for (uint32_t i = 0; i < v->around_count; i++)
		domain[count++] = v->around[i];
	for (uint32_t i = 0; i < digit_count; i++)
		domain[count++] = digits[i];
	KStep *step = kstep_map(v->k, v->target->buffer, subs, domain, count, value);
	step->loc = loc;
	vec_push(v->k->c->arena, v->to, step);
}

static KIndex *index_of(Kernel *k, uint32_t number, int64_t count)
{
	char name[2] = {(char)('p' + number % 11), 0};
	return kindex_new(k, name_of(k->c, name), integer(k, T_I32, 0), integer(k, T_I32, count), 1);
}

static KExpr *add_scaled(Kernel *k, KExpr *sum, KExpr *index, int64_t by)
{
	return kexpr_binary(k, OP_ADD, sum, kexpr_binary(k, OP_MUL, index, integer(k, T_I32, by)));
}

/* ---- by digits ---- */

static void emit_digits(Inverter *v, const Region *r, Loc loc)
{
	Kernel *k = v->k;
	KExpr *own[K_MAX_RANK], *units[PIECES], *shifts[PIECES];
	KIndex *indices[DIGITS];
	size_t base = element_at(v, r->lo);
	for (uint32_t i = 0; i < v->rank; i++)
		own[i] = integer(k, T_I32, r->lo[i]);
	for (uint32_t p = 0; p < r->piece_count; p++) {
		const BitPlace *place = place_of(v, base, r->pieces[p].first);
		units[p] = integer(k, T_I32, r->is_whole ? place->bit / 8 : unit_of(v, &r->pieces[p], base));
		shifts[p] = integer(k, T_I32, r->is_whole ? 0 : shift_of(v, &r->pieces[p], base));
	}
	for (uint32_t i = 0; i < r->digit_count; i++) {
		const Digit *digit = &r->digits[r->digit_count - 1 - i]; /* outermost first */
		indices[i] = index_of(k, i, digit->count);
		KExpr *index = kexpr_index(k, indices[i]);
		own[digit->axis] = add_scaled(k, own[digit->axis], index, digit->stride);
		for (uint32_t p = 0; p < r->piece_count; p++) {
			units[p] = add_scaled(k, units[p], index, digit->unit[p]);
			shifts[p] = add_scaled(k, shifts[p], index, digit->shift[p]);
		}
	}
	push_map(v, own, indices, r->digit_count, element_value(v, r, units, shifts), loc);
}

/* ---- by tables ---- */

/* A table over the field's own axes. */
static KExpr *look_up(Inverter *v, const char *name, const int64_t *values, KExpr *const *own)
{
	Kernel *k = v->k;
	KExpr *extents[K_MAX_RANK];
	size_t count = v->field->count;
	Store store = {STORE_INT, 32};
	int32_t *data = arena_array(k->c->arena, int32_t, count);
	bool is_constant = true;
	for (size_t i = 0; i < count; i++) {
		data[i] = (int32_t)values[i];
		is_constant &= values[i] == values[0];
	}
	if (is_constant)
		return integer(k, T_I32, values[0]);
	for (uint32_t i = 0; i < v->rank; i++)
		extents[i] = integer(k, T_I32, v->extent[i]);
	KBuffer *table = kbuffer_new(k, BUFFER_TABLE, name_of(k->c, name), store, v->rank, extents);
	table->data = data;
	return kexpr_load(k, table, own);
}

static void emit_tables(Inverter *v, const Region *r, Loc loc)
{
	Kernel *k = v->k;
	KExpr *own[K_MAX_RANK], *units[PIECES], *shifts[PIECES];
	KIndex *indices[K_MAX_RANK];
	for (uint32_t i = 0; i < v->rank; i++) {
		indices[i] = index_of(k, i, v->extent[i]);
		own[i] = kexpr_index(k, indices[i]);
	}
	int64_t *values = arena_array(k->c->arena, int64_t, v->field->count);
	for (uint32_t p = 0; p < r->piece_count; p++) {
		for (size_t e = 0; e < v->field->count; e++)
			values[e] = r->is_whole ? place_of(v, e, 0)->bit / 8 : unit_of(v, &r->pieces[p], e);
		units[p] = look_up(v, "unit", values, own);
		for (size_t e = 0; e < v->field->count; e++)
			values[e] = r->is_whole ? 0 : shift_of(v, &r->pieces[p], e);
		shifts[p] = look_up(v, "shift", values, own);
	}
	push_map(v, own, indices, v->rank, element_value(v, r, units, shifts), loc);
}

/* ---- fields ---- */

/* Cuts one axis into equal parts that each have a form. */
static bool emit_parts(Inverter *v, const Region *whole, Region *parts, Loc loc)
{
	for (uint32_t axis = 0; axis < v->rank; axis++)
		for (int64_t count = 2; count <= PARTS; count++) {
			int64_t length = whole->extent[axis] / count, good = 0;
			if (whole->extent[axis] % count != 0)
				continue;
			for (; good < count; good++) {
				parts[good] = *whole;
				parts[good].extent[axis] = length;
				parts[good].lo[axis] = good * length;
				if (!find_form(v, &parts[good]))
					break;
			}
			for (int64_t i = 0; good == count && i < count; i++)
				emit_digits(v, &parts[i], loc);
			if (good == count)
				return true;
		}
	return false;
}

static bool invert_field(Inverter *v, Loc loc)
{
	const KBuffer *buffer = v->field->buffer;
	v->rank = v->target->buffer->rank - v->target->lead_count;
	assert(v->rank <= buffer->rank);
	Arena *scratch = arena_new(); /* regions are large */
	Region *whole = arena_new_of(scratch, Region), *parts = arena_array(scratch, Region, PARTS);
	size_t count = 1;
	for (uint32_t i = 0; i < v->rank; i++) {
		bool is_const = kexpr_is_const(buffer->extent[buffer->rank - v->rank + i], &v->extent[i]);
		assert(is_const);
		(void)is_const;
		whole->extent[i] = v->extent[i];
		count *= (size_t)v->extent[i];
	}
	assert(count == v->field->count);
	bool is_done = true;
	if (find_form(v, whole)) {
		emit_digits(v, whole, loc);
	} else if (!emit_parts(v, whole, parts, loc)) {
		is_done = find_pieces(v, whole);
		if (is_done)
			emit_tables(v, whole, loc);
		else
			diag_error(v->k->c, loc,
				"this layout cannot be read back: the elements of %s are spread over several tensors",
				buffer->name ? buffer->name : "a field");
	}
	arena_free(scratch);
	return is_done;
}

bool bitmap_invert(Kernel *k, const Bitmap *map, const BitSource *sources, const BitTarget *targets,
	KIndex *const *around, uint32_t around_count, KStepVec *to)
{
	bool is_done = true;
	for (uint32_t i = 0; i < map->field_count; i++) {
		Inverter v = {.k = k,
			.field = &map->fields[i],
			.sources = sources,
			.target = &targets[i],
			.around = around,
			.around_count = around_count,
			.to = to};
		is_done &= invert_field(&v, map->loc);
	}
	return is_done;
}
