/* SPDX-License-Identifier: MIT
 *
 * check_dtype.c: number formats. The equations that encode are a body like any
 * other; `value`, `layout` and `planes` see the stored fields only, since that is
 * all that a reader has.
 */
#include "check.h"

#include <string.h>

static Name axis_name(const Node *axis)
{
	return axis->kind == N_BINARY ? axis->kids[0]->name : axis->name;
}

static bool is_bounded(const Node *axis)
{
	return axis->kind == N_BINARY;
}

static bool is_value(const Node *node)
{
	return node->kind == N_DEFINE && is_word(node_array(node->kids[0])->name, "value");
}

/* ---- header ---- */

static void check_bound(Checker *ck, const Node *axis)
{
	const Node *bound = axis->kids[1];
	size_t errors = diag_errors(ck->c);
	ck->is_constant = true;
	check_scalar(ck, bound);
	ck->is_constant = false;
	if (diag_errors(ck->c) != errors || !expr_is_constant(ck, bound))
		return;
	Value value = value_eval(ck->p, NULL, bound);
	if (value.kind != VALUE_ERROR && (value.kind != VALUE_INT || value.integer < 1))
		diag_error(ck->c, bound->loc, "the length of a block must be a positive whole number");
}

static bool is_named_before(const Node *header, uint32_t at)
{
	for (uint32_t i = 1; i < at; i++)
		if (axis_name(header->kids[i]) == axis_name(header->kids[at]))
			return true;
	return false;
}

static void check_header(Checker *ck, const Node *header)
{
	uint32_t unbounded = 0;
	bool is_wrong = false;
	for (uint32_t i = 1; i < header->kid_count; i++) {
		const Node *axis = header->kids[i];
		bool has_name =
			axis->kind == N_NAME || (is_bounded(axis) && is_word(axis->op, "<") && axis->kids[0]->kind == N_NAME);
		bool is_late = has_name && !is_bounded(axis) && i > 1 && is_bounded(header->kids[i - 1]);
		is_wrong |= !has_name || is_late;
		if (!has_name)
			continue;
		unbounded += !is_bounded(axis);
		if (is_named_before(header, i))
			diag_error(ck->c, axis->loc, "axis \"%s\" stands twice in the header", axis_name(axis));
		axis_add(ck, axis_name(axis), false);
		if (is_bounded(axis))
			check_bound(ck, axis);
	}
	if (is_wrong || unbounded > 2)
		diag_error(ck->c, header->loc, "a dtype is declared `of x[k < 32]`, `of x[o, g, k < 32]` or `of x[o, k]`");
}

/* ---- value ---- */

static void check_value(Checker *ck, const Node *header, const Node *node)
{
	const Node *left = node->kids[0];
	frame_push(ck);
	bool is_wrong = left->kind != N_INDEX || left->kid_count != header->kid_count;
	for (uint32_t i = 1; left->kind == N_INDEX && i < left->kid_count; i++) {
		is_wrong |= left->kids[i]->kind != N_NAME;
		if (left->kids[i]->kind == N_NAME)
			symbol_add(ck, SYMBOL_INDEX, left->kids[i]->name, left->kids[i]->loc);
	}
	if (is_wrong)
		diag_error(ck->c, left->loc, "value needs the axes of the dtype's header");
	check_scalar(ck, node->kids[2]);
	frame_pop(ck);
}

/* ---- layout and planes ---- */

static bool is_field_of(Checker *ck, const Node *item, const Symbol **field)
{
	*field = symbol_find(ck, item->name);
	return *field && (*field)->is_field;
}

static const Node *storage_of(const Decl *dtype, Name field)
{
	const Node *body = dtype->node->kids[2];
	for (uint32_t i = 0; i < body->kid_count; i++)
		if (body->kids[i]->kind == N_DEFINE && node_array(body->kids[i]->kids[0])->name == field)
			return body->kids[i]->kids[1];
	return NULL;
}

static void check_layout_field(Checker *ck, const Node *item)
{
	const Symbol *field;
	if (!is_field_of(ck, item, &field)) {
		NameVec known = {0};
		DtypeFacts facts = dtype_facts(ck->p, ck->decl);
		for (size_t i = 0; i < facts.fields.count; i++)
			vec_push(ck->c->arena, &known, facts.fields.at[i].name);
		diag_error(ck->c, item->loc, "layout: \"%s\" is no field of dtype %s", item->name, ck->decl->name);
		diag_nearest(ck->c, item->name, &known);
		return;
	}
	const Node *type = storage_of(ck->decl, item->name);
	uint32_t bits = type ? storage_bits(type->name) : 0;
	if (bits % 8 || (bits & (bits - 1)))
		diag_error(ck->c, item->loc, "layout: \"%s\" has %u bits: say with byte[..] = where they go", item->name, bits);
}

static void check_layout_bytes(Checker *ck, const Node *item)
{
	const Node *left = item->kids[0], *type = item->kids[1];
	if (type && storage_bits(type->name) % 8)
		diag_error(ck->c, type->loc, "a layout writes whole bytes");
	else
		check_storage(ck, type);
	frame_push(ck);
	for (uint32_t i = 1; left->kind == N_INDEX && i < left->kid_count; i++) {
		const Node *axis = left->kids[i];
		bool has_name = is_bounded(axis) && axis->kids[0]->kind == N_NAME;
		if (!has_name)
			diag_error(ck->c, axis->loc, "a layout needs the extent of each index: byte[j < 16]");
		else
			check_scalar(ck, axis->kids[1]);
		if (has_name || axis->kind == N_NAME)
			symbol_add(ck, SYMBOL_INDEX, axis_name(axis), axis->loc);
	}
	check_scalar(ck, item->kids[2]);
	frame_pop(ck);
}

static void check_layout(Checker *ck, const Node *header, const Node *layout)
{
	bool is_short = true; /* rows and blocks have no names */
	for (uint32_t i = 1; i < header->kid_count; i++)
		is_short &= is_bounded(header->kids[i]);
	if (!is_short)
		diag_error(ck->c, layout->loc, "a layout needs a dtype of blocks: `of x[k < 32]`");
	for (uint32_t i = 0; i < layout->kid_count; i++) {
		if (layout->kids[i]->kind == N_NAME)
			check_layout_field(ck, layout->kids[i]);
		else
			check_layout_bytes(ck, layout->kids[i]);
	}
}

static bool is_of_header(const Node *header, Name name)
{
	for (uint32_t i = 1; i < header->kid_count; i++)
		if (axis_name(header->kids[i]) == name)
			return true;
	return false;
}

static void check_plane(Checker *ck, const Node *header, const Node *item)
{
	const Node *left = item->kids[0], *e = item->kids[2];
	check_storage(ck, item->kids[1]);
	frame_push(ck);
	for (uint32_t i = 1; left->kind == N_INDEX && i < left->kid_count; i++) {
		const Node *axis = left->kids[i];
		bool has_bound = is_bounded(axis) && axis->kids[0]->kind == N_NAME;
		bool is_known = axis->kind == N_NAME && is_of_header(header, axis->name);
		if (has_bound)
			check_scalar(ck, axis->kids[1]);
		if (!has_bound && !is_known)
			diag_error(ck->c, axis->loc, "planes: an axis is one of the dtype's header, or bounded: w < 16");
		if (has_bound || axis->kind == N_NAME)
			symbol_add(ck, SYMBOL_INDEX, axis_name(axis), axis->loc);
	}
	const Symbol *field;
	const Node *name = node_array(e);
	if (!item->kids[1] && !(name->kind == N_NAME && is_field_of(ck, name, &field)))
		diag_error(ck->c, item->loc, "planes: say how this is stored: name[..]: i32 = ..");
	check_scalar(ck, e);
	frame_pop(ck);
}

/* A header that names no rows, no blocks: extent(o) and extent(g) are theirs. */
static void check_planes(Checker *ck, const Node *header, const Node *planes)
{
	uint32_t unbounded = 0;
	for (uint32_t i = 1; i < header->kid_count; i++)
		unbounded += !is_bounded(header->kids[i]);
	frame_push(ck);
	if (unbounded < 2)
		axis_add(ck, name_of(ck->c, "o"), false);
	if (unbounded < 1)
		axis_add(ck, name_of(ck->c, "g"), false);
	for (uint32_t k = 0; k < planes->kid_count; k++)
		if (planes->kids[k]->kind == N_DEFINE)
			check_plane(ck, header, planes->kids[k]);
	frame_pop(ck);
}

/* ---- the declaration ---- */

static void check_fields(Checker *ck, const Node *body)
{
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *node = body->kids[i];
		if (node->kind != N_DEFINE || !node->kids[1])
			continue;
		const Node *left = node->kids[0];
		for (uint32_t k = 1; left->kind == N_INDEX && k < left->kid_count; k++) {
			const Node *axis = left->kids[k];
			Name name = axis->kind == N_BINARY ? axis_name(axis) : axis->kind == N_NAME ? axis->name : NULL;
			if (name && !axis_is_known(ck, name))
				diag_error(ck->c, axis->loc, "field \"%s\" has axis \"%s\", which the header of dtype %s does not name",
					node_array(left)->name, name, ck->decl->name);
		}
	}
}

/* The lines that encode, as a body of their own. */
static Node *encoding_of(Checker *ck, const Node *body)
{
	Node *encoding = node_new(ck->c, N_BODY, body->loc);
	for (uint32_t i = 0; i < body->kid_count; i++) {
		NodeKind kind = body->kids[i]->kind;
		if (kind != N_LAYOUT && kind != N_PLANES && !is_value(body->kids[i]))
			node_add(ck->c, encoding, body->kids[i]);
	}
	return encoding;
}

static void check_forms(Checker *ck, const Node *header, const Node *body)
{
	const Node *value = NULL;
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *node = body->kids[i];
		for (uint32_t k = 0; node->kind == N_LAYOUT && k < i; k++) {
			if (body->kids[k]->kind != N_LAYOUT || body->kids[k]->name != node->name)
				continue;
			diag_error(ck->c, node->loc, "there are two layouts for %s", node->name);
			diag_note(ck->c, body->kids[k]->loc, "the other is here");
		}
		if (node->kind == N_LAYOUT)
			check_layout(ck, header, node);
		if (node->kind == N_PLANES)
			check_planes(ck, header, node);
		if (!is_value(node))
			continue;
		if (value) {
			diag_error(ck->c, node->loc, "dtype %s says twice what value[..] is", ck->decl->name);
			diag_note(ck->c, value->loc, "it does here already");
		}
		value = node;
		check_value(ck, header, node);
	}
	if (value)
		return;
	diag_error(ck->c, ck->decl->node->loc, "dtype %s does not say what value[..] its fields stand for", ck->decl->name);
	diag_help(ck->c, "write: value[..] = what a reader makes of the fields");
}

void check_dtype(Checker *ck, const Decl *decl)
{
	const Node *header = decl->node->kids[1], *body = decl->node->kids[2];
	check_params(ck, decl);
	check_header(ck, header);
	Symbol *subject = symbol_add(ck, SYMBOL_ARRAY, header->kids[0]->name, header->loc);
	subject->is_subject = true;
	subject->rank = (int)header->kid_count - 1;
	ck->stored = STORED_ENCODES;
	check_fields(ck, body);
	const Node *encoding = encoding_of(ck, body);
	frame_push(ck);
	check_equations(ck, encoding);
	ck->stored = STORED_DECODES;
	check_forms(ck, header, body);
	frame_pop(ck);
	ck->stored = STORED_MEANINGLESS;
}
