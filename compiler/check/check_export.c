/* SPDX-License-Identifier: MIT
 *
 * check_export.c: exports: what a container's readers call the tensors of an
 * architecture, and the metadata that they ask for. {x} in a name is a whole number.
 * What needs the checkpoint is for the plan.
 */
#include "check.h"

#include <string.h>

static const Node *name_of_row(const Node *node)
{
	return node->kind == N_INDEX ? node->kids[0] : node;
}

/* h < n, or h */
static const Node *axis_of(const Node *subscript)
{
	return subscript->kind == N_BINARY && is_word(subscript->op, "<") ? subscript->kids[0] : subscript;
}

static void check_braces(Checker *ck, const Node *name)
{
	for (const char *at = strchr(name->text, '{'); at; at = strchr(at + 1, '{')) {
		size_t length = strcspn(at + 1, "{}");
		if (at[1 + length] == '}' && length)
			continue;
		diag_error(ck->c, name->loc, "a { in a name begins {layer} or the like: a whole number");
		return;
	}
	if (!*name->text)
		diag_error(ck->c, name->loc, "a name is empty");
}

static bool has_number(const char *name, const char *number, size_t length)
{
	for (const char *at = strchr(name, '{'); at; at = strchr(at + 1, '{'))
		if (!strncmp(at + 1, number, length) && at[1 + length] == '}')
			return true;
	return false;
}

/* What the left name numbers, the right one does too, and at most one number more, that of the members of a stack. */
static void check_numbers(Checker *ck, const Node *left, const Node *right)
{
	int more = 0;
	for (const char *at = strchr(left->text, '{'); at; at = strchr(at + 1, '{')) {
		size_t length = strcspn(at + 1, "}");
		if (!has_number(right->text, at + 1, length))
			diag_error(ck->c, left->loc, "{%.*s} does not stand in the weight's name", (int)length, at + 1);
	}
	for (const char *at = strchr(right->text, '{'); at; at = strchr(at + 1, '{'))
		more += !has_number(left->text, at + 1, strcspn(at + 1, "}"));
	if (more > 1)
		diag_error(ck->c, right->loc, "tensors that become one differ in one number, these in %d", more);
}

/* "a"[.., fast, slow] = weight "b"[.., slow, fast] */
static void check_turn(Checker *ck, const Node *left, const Node *right)
{
	uint32_t count = left->kind == N_INDEX ? left->kid_count : 0, free = 0;
	if (left->kind != right->kind || (count && right->kid_count != count)) {
		diag_error(ck->c, right->loc, "both names have the same axes of rows, or none");
		return;
	}
	for (uint32_t i = 1; i < count; i++) {
		uint32_t from = i + 2 < count ? i : count - 1 - (i + 1 == count);
		const Node *axis = axis_of(right->kids[i]), *to = left->kids[from];
		if (axis->kind != N_NAME || to->kind != N_NAME || to->name != axis->name) {
			diag_error(ck->c, left->loc, "the last two axes of rows change places, and nothing else does");
			diag_help(ck->c, "write: \"..\"[h, r, s] = weight \"..\"[h, s < 2, r]");
			return;
		}
		free += axis == right->kids[i];
		if (axis != right->kids[i])
			check_scalar(ck, right->kids[i]->kids[1]);
	}
	if (count && (free != 1 || count < 3))
		diag_error(ck->c, right->loc, "all axes of rows but one have a bound, and there are two at least");
}

/* A number, or a text. */
static void check_datum(Checker *ck, const Node *node)
{
	if (node->kind == N_IF) {
		check_scalar(ck, node->kids[0]);
		check_datum(ck, node->kids[1]);
		check_datum(ck, node->kids[2]);
	} else if (node->kind != N_STRING) {
		check_scalar(ck, node);
	}
}

/* Metadata, or an array of numbers. */
static void check_value(Checker *ck, const Node *row)
{
	const Node *left = row->kids[0], *axis = left->kind == N_INDEX ? left->kids[1] : NULL;
	frame_push(ck);
	if (axis && (left->kid_count != 2 || axis_of(axis) == axis || axis_of(axis)->kind != N_NAME)) {
		diag_error(ck->c, left->loc, "an array has one axis, with a bound: \"x\"[r < 32]: f32 = ..");
	} else if (axis) {
		check_scalar(ck, axis->kids[1]);
		symbol_add(ck, SYMBOL_VALUE, axis_of(axis)->name, axis->loc);
		if (!row->kids[1] || !is_word(row->kids[1]->name, "f32"))
			diag_error(ck->c, left->loc, "an array is of f32");
	}
	check_datum(ck, row->kids[2]);
	frame_pop(ck);
}

void check_export(Checker *ck, const Decl *decl)
{
	const Node *body = decl->node->kids[0];
	ck->has_facts = true;
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *row = body->kids[i];
		if (row->kind == N_APPLY || row->kind == N_THEN)
			check_applied(ck, row);
		if (row->kind == N_OMIT && !is_word(row->name, "none"))
			diag_error(ck->c, row->loc, "unexpected name \"%s\": what is left out is none = weight \"..\"", row->name);
		if (row->kind != N_DEFINE)
			continue;
		check_braces(ck, name_of_row(row->kids[0]));
		if (row->kids[2]->kind != N_WEIGHT) {
			check_value(ck, row);
			continue;
		}
		const Node *weights = row->kids[2]->kids[0];
		if (row->kids[1])
			diag_error(ck->c, row->kids[1]->loc, "a weight has the type that the pipeline gives it");
		check_turn(ck, row->kids[0], weights->kids[0]);
		for (uint32_t k = 0; k < weights->kid_count; k++) {
			check_braces(ck, name_of_row(weights->kids[k]));
			check_numbers(ck, name_of_row(row->kids[0]), name_of_row(weights->kids[k]));
		}
	}
}
