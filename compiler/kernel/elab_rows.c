/* SPDX-License-Identifier: MIT
 *
 * elab_rows.c: the form of a coded matrix where a container has none for its dtype:
 * a row of bytes for each row. Fields that a row has once come first, then block
 * after block; a field begins at a byte, its elements follow in index order, the
 * low bits first. So the declaration alone says where every bit is.
 */
#include "elaborate.h"

typedef struct Rows {
	Elab *el;
	const Coded *coded;
	KBuffer *to;               /* NULL: only measure */
	Name row_axis, group_axis; /* where the header names them */
	KIndex *row, *group;
	int64_t groups, row_part, block_part; /* bytes */
} Rows;

typedef struct RowField {
	const View *view;
	Store store;
	Loc loc;
	bool is_block; /* each block has it; else the row */
	int64_t count; /* elements for each of these */
	int64_t at;    /* its first byte among these */
} RowField;

static KExpr *whole(const Rows *r, int64_t value)
{
	return kexpr_int(r->el->k, T_I32, value);
}

static void name_axes(Rows *r)
{
	const Node *header = r->coded->dtype->decl->node->kids[1];
	Name unbounded[2] = {NULL, NULL};
	uint32_t count = 0;
	for (uint32_t i = 1; i < header->kid_count; i++)
		if (header->kids[i]->kind == N_NAME)
			unbounded[count++] = header->kids[i]->name;
	r->row_axis = count == 2 ? unbounded[0] : NULL;
	r->group_axis = r->coded->block && count ? unbounded[count - 1] : NULL;
}

static bool is_outer_axis(const Rows *r, Name axis)
{
	return axis == r->row_axis || axis == r->group_axis;
}

static int64_t field_bytes(const RowField *field)
{
	return (field->count * field->store.bits + 7) / 8;
}

static RowField field_of(Rows *r, const Node *node, const Entity *entity)
{
	const View *view = &entity->view;
	RowField field = {view, view->buffer->store, node->loc, r->coded->group != NULL, 1, 0};
	for (uint32_t d = 0; d < view->rank; d++) {
		int64_t extent = 1;
		field.is_block |= r->group_axis && view->formal[d]->name == r->group_axis;
		if (is_outer_axis(r, view->formal[d]->name))
			continue;
		if (!kexpr_is_const(view->extent[d], &extent))
			elab_error(r->el, node->loc, "a row of bytes needs constant extents");
		field.count *= extent;
	}
	return field;
}

/* Element `flat` of the field in the row and block in hand. */
static KExpr *element(Rows *r, const RowField *field, KExpr *flat)
{
	Kernel *k = r->el->k;
	KExpr *own[K_MAX_RANK];
	int64_t stride = 1, extent;
	for (uint32_t d = field->view->rank; d-- > 0;) {
		Name axis = field->view->formal[d]->name;
		if (is_outer_axis(r, axis)) {
			own[d] = kexpr_index(k, axis == r->row_axis ? r->row : r->group);
			continue;
		}
		own[d] = stride == 1 ? flat : kexpr_binary(k, OP_IDIV, flat, whole(r, stride));
		if (kexpr_is_const(field->view->extent[d], &extent) && stride * extent < field->count)
			own[d] = kexpr_binary(k, OP_IMOD, own[d], whole(r, extent));
		stride *= extent;
	}
	return view_load(r->el, field->view, own);
}

/* `width` bits of an element from bit `from` on; 0 past the last one. */
static KExpr *bits_of(Rows *r, const RowField *field, KExpr *flat, KExpr *from, int64_t width)
{
	Kernel *k = r->el->k;
	int64_t last;
	bool is_inside = expr_most(flat, &last) && last < field->count;
	KExpr *at = is_inside ? flat : kexpr_binary(k, OP_MIN, flat, whole(r, field->count - 1));
	KExpr *value = element(r, field, at);
	value = value->type == T_BOOL ? kexpr_cast(k, T_I32, value) : kexpr_store(k, OP_BITS, field->store, value);
	if (from)
		value = kexpr_binary(k, OP_SHR, value, kexpr_cast(k, value->type, from));
	value =
		kexpr_cast(k, T_I32, kexpr_binary(k, OP_BIT_AND, value, kexpr_int(k, value->type, ((int64_t)1 << width) - 1)));
	if (is_inside)
		return value;
	return kexpr_select(k, kexpr_binary(k, OP_LT, flat, whole(r, field->count)), value, whole(r, 0));
}

/* Byte j of a field whose elements are no whole bytes. */
static KExpr *byte_of(Rows *r, const RowField *field, KExpr *j)
{
	Kernel *k = r->el->k;
	int64_t bits = field->store.bits, width = 8 % bits == 0 ? bits : 1;
	KExpr *byte = NULL;
	for (int64_t t = 0; t < 8; t += width) {
		KExpr *bit = kexpr_binary(k, OP_ADD, kexpr_binary(k, OP_MUL, j, whole(r, 8)), whole(r, t));
		KExpr *flat = kexpr_binary(k, OP_IDIV, bit, whole(r, bits));
		if (width == bits) /* the same, said plainly */
			flat = kexpr_binary(k, OP_ADD, kexpr_binary(k, OP_MUL, j, whole(r, 8 / bits)), whole(r, t / bits));
		KExpr *from = width == bits ? NULL : kexpr_binary(k, OP_IMOD, bit, whole(r, bits));
		KExpr *part = kexpr_binary(k, OP_SHL, bits_of(r, field, flat, from, width), whole(r, t));
		byte = byte ? kexpr_binary(k, OP_BIT_OR, byte, part) : part;
	}
	return byte;
}

static void write_field(Rows *r, const RowField *field)
{
	Elab *el = r->el;
	Kernel *k = el->k;
	Store store = field->store;
	bool is_whole = store.bits % 8 == 0 && !(store.bits & (store.bits - 1));
	int64_t size = is_whole ? store.bits / 8 : 1;
	KIndex *domain[3],
		*own = elab_index(el, name_of(el->c, "j"), whole(r, is_whole ? field->count : field_bytes(field)));
	uint32_t count = 0;
	domain[count++] = r->row;
	if (field->is_block)
		domain[count++] = r->group;
	domain[count++] = own;
	KExpr *j = kexpr_index(k, own), *at = kexpr_binary(k, OP_MUL, j, whole(r, size));
	int64_t base = field->at + (field->is_block ? r->row_part : 0);
	at = kexpr_binary(k, OP_ADD, at, whole(r, base));
	if (field->is_block)
		at = kexpr_binary(k, OP_ADD, at, kexpr_binary(k, OP_MUL, kexpr_index(k, r->group), whole(r, r->block_part)));
	KExpr *subs[2] = {kexpr_index(k, r->row), at};
	KStep *step = kstep_map(k, r->to, subs, domain, count, is_whole ? element(r, field, j) : byte_of(r, field, j));
	if (is_whole)
		step->store = store;
	elab_add_step(el, step, field->loc);
}

static const Entity *stored_field(const Coded *coded, Name name)
{
	for (size_t i = 0; i < coded->stored->names.count; i++)
		if (coded->stored->names.at[i].name == name)
			return coded->stored->names.at[i].entity;
	return NULL;
}

/* All fields in the order of the declaration, each with its place. */
static RowField *place_fields(Rows *r, uint32_t *count)
{
	const Node *body = r->coded->dtype->decl->node->kids[2];
	RowField *fields = arena_array(r->el->c->arena, RowField, body->kid_count + 1);
	*count = 0;
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *node = body->kids[i];
		if (node->kind != N_DEFINE || !node->kids[1])
			continue;
		const Node *left = node->kids[0];
		const Entity *entity = stored_field(r->coded, left->kind == N_INDEX ? left->kids[0]->name : left->name);
		if (!entity)
			continue;
		RowField field = field_of(r, node, entity);
		int64_t *part = field.is_block ? &r->block_part : &r->row_part;
		field.at = *part;
		*part += field_bytes(&field);
		fields[(*count)++] = field;
	}
	return fields;
}

int64_t coded_rows(Elab *el, Coded *coded, KBuffer *to)
{
	int64_t cols = 0;
	uint32_t count;
	kexpr_is_const(coded->cols, &cols);
	Rows r = {.el = el, .coded = coded, .to = to, .groups = coded->block ? cols / coded->block : 0};
	name_axes(&r);
	RowField *fields = place_fields(&r, &count);
	int64_t bytes = r.row_part + r.groups * r.block_part;
	if (!to || el->failed)
		return el->failed ? 0 : bytes;
	el->origin = coded->dtype->decl->name;
	r.row = coded->row ? coded->row : elab_index(el, name_of(el->c, "o"), coded->rows);
	r.group = coded->group ? coded->group : elab_index(el, name_of(el->c, "g"), whole(&r, r.groups));
	for (uint32_t i = 0; i < count && !el->failed; i++)
		write_field(&r, &fields[i]);
	return el->failed ? 0 : bytes;
}
