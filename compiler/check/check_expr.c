/* SPDX-License-Identifier: MIT
 *
 * check_expr.c: expressions. What each part gives is known as far as its axes go:
 * a scalar, an array that still takes subscripts, several results by name. Types
 * of numbers are not followed: they convert.
 */
#include "check.h"

#include <string.h>

enum { MAX_FN_DEPTH = 16 };

Shape shape_scalar(void)
{
	return (Shape){.kind = SHAPE_SCALAR};
}

Shape shape_array(int rank)
{
	return rank == 0 ? shape_scalar() : (Shape){.kind = SHAPE_ARRAY, .rank = rank};
}

static Shape shape_unknown(void)
{
	return (Shape){.kind = SHAPE_UNKNOWN};
}

/* ---- names ---- */

static bool is_constant_word(Name name)
{
	return is_word(name, "true") || is_word(name, "false") || is_word(name, "none") || is_word(name, "inf");
}

static Shape shape_of_symbol(const Symbol *symbol)
{
	if (symbol->kind != SYMBOL_ARRAY)
		return shape_scalar();
	if (symbol->fn || symbol->results)
		return (Shape){SHAPE_RESULTS, symbol->rank, symbol->fn, symbol->results};
	return shape_array(symbol->rank);
}

/* A format that is handed on without arguments takes its defaults. */
static void check_dtype_name(Checker *ck, const Node *node, const Decl *dtype)
{
	Node **given = arena_array(ck->c->arena, Node *, decl_params(dtype)->kid_count + 1);
	arguments_place(ck->p, dtype, node, given);
}

static bool is_stored_name(Checker *ck, const Node *node, const Symbol *symbol)
{
	if (ck->stored != STORED_DECODES || symbol->kind != SYMBOL_ARRAY || symbol->is_field)
		return true;
	diag_error(ck->c, node->loc, "a reader of dtype %s does not have \"%s\"", ck->decl->name, symbol->name);
	if (symbol->is_subject)
		diag_help(ck->c, "`value`, `layout` and `planes` may read the fields, which have a storage type");
	else
		diag_help(ck->c, "give it a storage type, or compute it from the fields");
	return false;
}

static Shape check_name(Checker *ck, const Node *node)
{
	const Symbol *symbol = symbol_find(ck, node->name);
	if (symbol)
		return is_stored_name(ck, node, symbol) ? shape_of_symbol(symbol) : shape_unknown();
	const Decl *let = program_find(ck->p, DECL_LET, node->name);
	if (let)
		return let->node->kids[0]->kind == N_LIST ? shape_array(1) : shape_scalar();
	if (is_constant_word(node->name) || (ck->has_facts && fact_is_known(node->name)) ||
		(ck->has_original && is_word(node->name, "original")))
		return shape_scalar();
	const Decl *dtype = program_find(ck->p, DECL_DTYPE, node->name);
	if (dtype) {
		check_dtype_name(ck, node, dtype);
		return shape_scalar();
	}
	report_unknown_name(ck, node);
	return shape_unknown();
}

/* ---- fields ---- */

static bool is_config(const Checker *ck, const Node *node)
{
	while (node->kind == N_FIELD)
		node = node->kids[0];
	return ck->has_facts && node->kind == N_NAME && is_word(node->name, "config") && !symbol_find(ck, node->name);
}

/* What has fields of its own besides results: D.block, pairs.source */
static Shape check_value_field(Checker *ck, const Node *node)
{
	const Node *base = node->kids[0];
	const Symbol *symbol = base->kind == N_NAME ? symbol_find(ck, base->name) : NULL;
	bool is_data = symbol && (!symbol->type || is_word(symbol->type, "dataset"));
	bool is_dtype =
		symbol ? symbol->type && is_word(symbol->type, "dtype")
			   : base->kind == N_CALL || (base->kind == N_NAME && program_find(ck->p, DECL_DTYPE, base->name) != NULL);
	if ((symbol && symbol->kind == SYMBOL_VALUE && is_data) || (is_dtype && is_word(node->name, "block")))
		return shape_scalar();
	if (is_dtype)
		diag_error(ck->c, node->loc, "a dtype has no \"%s\", only its block's length: %s.block", node->name,
			base->kind == N_NAME ? base->name : "d");
	else
		diag_error(ck->c, node->loc, "there is no field \"%s\" here", node->name);
	return shape_unknown();
}

static const Node *result_name(const Node *result)
{
	return node_array(result);
}

static const Node *result_find(const Decl *fn, Name name)
{
	const Node *results = fn->node->kids[1];
	for (uint32_t i = 0; results && i < results->kid_count; i++)
		if (result_name(results->kids[i])->name == name)
			return results->kids[i];
	return NULL;
}

static Shape check_field(Checker *ck, const Node *node)
{
	if (is_config(ck, node))
		return shape_scalar();
	Shape base = check_expr(ck, node->kids[0]);
	if (base.kind == SHAPE_UNKNOWN)
		return base;
	if (base.kind == SHAPE_SCALAR)
		return check_value_field(ck, node);
	if (base.kind != SHAPE_RESULTS || !base.fn) {
		if (base.rank >= 0)
			diag_error(ck->c, node->loc, "there is no field \"%s\" here: this is an array", node->name);
		return shape_unknown();
	}
	const Node *result = result_find(base.fn, node->name);
	if (!result) {
		NameVec known = {0};
		const Node *results = base.fn->node->kids[1];
		for (uint32_t i = 0; results && i < results->kid_count; i++)
			vec_push(ck->c->arena, &known, result_name(results->kids[i])->name);
		diag_error(ck->c, node->loc, "fn %s has no result \"%s\"", base.fn->name, node->name);
		diag_nearest(ck->c, node->name, &known);
		return shape_unknown();
	}
	int rank = fn_result_rank(base.fn, result);
	return rank < 0 || base.rank < 0 ? shape_unknown() : shape_array(base.rank + rank);
}

/* ---- subscripts ---- */

static bool is_kept(const Node *subscript)
{
	return subscript->kind == N_SLICE || subscript->kind == N_STAR || subscript->kind == N_RANGE;
}

static void check_subscript(Checker *ck, const Node *subscript)
{
	if (subscript->kind == N_SLICE || subscript->kind == N_STAR)
		return;
	if (subscript->kind == N_IN || subscript->kind == N_BY ||
		(subscript->kind == N_BINARY && is_word(subscript->op, "<"))) {
		diag_error(ck->c, subscript->loc, "an index is bounded where it is bound: on a left side or in a reduction");
		return;
	}
	for (uint32_t i = 0; subscript->kind == N_RANGE && i < subscript->kid_count; i++)
		check_scalar(ck, subscript->kids[i]);
	if (subscript->kind != N_RANGE)
		check_scalar(ck, subscript);
}

static void check_each_subscript(Checker *ck, const Node *index)
{
	for (; index->kind == N_INDEX; index = index->kids[0])
		for (uint32_t i = 1; i < index->kid_count; i++)
			check_subscript(ck, index->kids[i]);
}

static const char *plural(int count)
{
	return count == 1 ? "" : "s";
}

static Shape check_index(Checker *ck, const Node *node)
{
	const Node *base = node_array(node);
	Shape shape = check_expr(ck, base);
	check_each_subscript(ck, node);
	int given = (int)subscript_count(node), kept = 0;
	for (const Node *n = node; n->kind == N_INDEX; n = n->kids[0])
		for (uint32_t i = 1; i < n->kid_count; i++)
			kept += is_kept(n->kids[i]);
	if (shape.kind == SHAPE_UNKNOWN || (shape.kind != SHAPE_SCALAR && shape.rank < 0))
		return shape_unknown();
	if (shape.kind == SHAPE_SCALAR) {
		diag_error(ck->c, node->loc, "only arrays have subscripts");
		return shape_unknown();
	}
	const Symbol *symbol = base->kind == N_NAME ? symbol_find(ck, base->name) : NULL;
	int family = symbol ? symbol->family : 0;
	if (given > shape.rank + block_count(ck)) {
		diag_error(ck->c, node->loc, "%d subscript%s where the array has %d ax%s", given, plural(given), shape.rank,
			shape.rank == 1 ? "is" : "es");
		if (symbol)
			diag_note(ck->c, symbol->loc, "it is declared here");
		return shape_unknown();
	}
	if (family && given < shape.rank)
		return shape_unknown(); /* a member, or what members share */
	int left = given > shape.rank ? kept : shape.rank - given + kept;
	if (shape.kind == SHAPE_RESULTS)
		return (Shape){SHAPE_RESULTS, left, shape.fn, shape.results};
	return shape_array(left);
}

/* ---- operators ---- */

/* A parameter or fact whose values are words. */
static const Symbol *word_symbol(const Checker *ck, const Node *node, bool *is_fact)
{
	*is_fact = node->kind == N_NAME && !symbol_find(ck, node->name) && ck->has_facts && is_word(node->name, "role");
	const Symbol *symbol = node->kind == N_NAME ? symbol_find(ck, node->name) : NULL;
	bool has_words = symbol && symbol->is_parameter && symbol->kind == SYMBOL_VALUE &&
					 (!symbol->type || is_word(symbol->type, "word") || is_word(symbol->type, "dataset"));
	return has_words ? symbol : NULL;
}

static bool is_word_beside(const Checker *ck, const Node *node, const Node *other)
{
	bool is_fact;
	const Symbol *symbol = word_symbol(ck, other, &is_fact);
	return (symbol || is_fact) && node->kind == N_NAME && !symbol_find(ck, node->name);
}

static void check_binary(Checker *ck, const Node *node)
{
	const Node *a = node->kids[0], *b = node->kids[1];
	bool is_comparison = is_word(node->op, "==") || is_word(node->op, "!=");
	for (int i = 0; i < 2; i++) {
		const Node *side = i ? b : a, *other = i ? a : b;
		if (is_comparison && (is_word_beside(ck, side, other) || side->kind == N_STRING))
			continue;
		check_scalar(ck, side);
	}
}

void check_scalar(Checker *ck, const Node *node)
{
	Shape shape = check_expr(ck, node);
	if (shape.kind == SHAPE_ARRAY && shape.rank > 0)
		diag_error(ck->c, node->loc, "%d more subscript%s needed here", shape.rank, shape.rank == 1 ? " is" : "s are");
	if (shape.kind == SHAPE_RESULTS && shape.fn)
		diag_error(ck->c, node->loc, "fn %s has several results: write .%s after it", shape.fn->name,
			result_name(shape.fn->node->kids[1]->kids[0])->name);
}

void check_typed(Checker *ck, const Node *node, Name type)
{
	if (node->kind == N_ARG)
		node = node->kids[0];
	if (node->kind == N_IF) {
		check_scalar(ck, node->kids[0]);
		check_typed(ck, node->kids[1], type);
		check_typed(ck, node->kids[2], type);
		return;
	}
	bool is_symbol = node->kind == N_NAME && symbol_find(ck, node->name);
	if (is_word(type, "word") && node->kind == N_NAME && !is_symbol)
		return;
	if (is_word(type, "dataset") && node->kind == N_NAME && !is_symbol && !is_word(node->name, "none")) {
		if (program_find(ck->p, DECL_DATA, node->name))
			return;
		NameVec known = {0};
		program_names(ck->p, DECL_DATA, &known);
		diag_error(ck->c, node->loc, "unknown data \"%s\"", node->name);
		diag_nearest(ck->c, node->name, &known);
		return;
	}
	if (node->kind == N_STRING || node->kind == N_REGEX || node->kind == N_RATIO)
		return;
	check_scalar(ck, node);
}

Shape check_expr(Checker *ck, const Node *node)
{
	switch (node->kind) {
	case N_NUMBER:
		return shape_scalar();
	case N_STRING:
	case N_REGEX:
	case N_RATIO:
		if (ck->is_constant)
			return shape_scalar();
		diag_error(ck->c, node->loc, "this is no number");
		return shape_unknown();
	case N_NAME:
		return check_name(ck, node);
	case N_FIELD:
		return check_field(ck, node);
	case N_INDEX:
		return check_index(ck, node);
	case N_CALL:
		return check_call(ck, node);
	case N_UNARY:
		check_scalar(ck, node->kids[0]);
		return shape_scalar();
	case N_BINARY:
		check_binary(ck, node);
		return shape_scalar();
	case N_IF:
		for (int i = 0; i < 3; i++)
			check_scalar(ck, node->kids[i]);
		return shape_scalar();
	case N_LIST:
		for (uint32_t i = 0; i < node->kid_count; i++)
			check_scalar(ck, node->kids[i]);
		if (ck->is_constant)
			return shape_scalar();
		diag_error(ck->c, node->loc, "a list has no place in an equation: give it a name, let x = [..]");
		return shape_unknown();
	case N_RANGE:
		for (uint32_t i = 0; i < node->kid_count; i++)
			check_scalar(ck, node->kids[i]);
		return shape_scalar();
	default:
		diag_error(ck->c, node->loc, "`%s` has no place in an expression", node_kind_text(node->kind));
		return shape_unknown();
	}
}

/* ---- what can be evaluated now ---- */

typedef struct Locals {
	const Node *params;
	const struct Locals *outer;
} Locals;

static bool is_local(const Locals *locals, Name name)
{
	for (uint32_t i = 0; locals && i < locals->params->kid_count; i++)
		if (locals->params->kids[i]->name == name)
			return true;
	return false;
}

static bool depends(const Checker *ck, const Node *node, const Locals *locals, int depth)
{
	if (depth > MAX_FN_DEPTH)
		return true;
	if (node->kind == N_NAME && !is_local(locals, node->name)) {
		bool is_free = locals || !symbol_find(ck, node->name);
		if (!is_free || (!ck->has_original && is_word(node->name, "original")) ||
			(fact_is_known(node->name) && !program_find(ck->p, DECL_LET, node->name)))
			return true;
	}
	if (node->kind == N_CALL && node->kids[0]->kind == N_NAME) {
		const Decl *fn = program_find(ck->p, DECL_FN, node->kids[0]->name);
		Locals inner = {fn ? decl_params(fn) : NULL, locals};
		if (fn && fn->node->kids[2]->kind != N_BODY && depends(ck, fn->node->kids[2], &inner, depth + 1))
			return true;
	}
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && depends(ck, node->kids[i], locals, depth))
			return true;
	return false;
}

bool expr_is_constant(Checker *ck, const Node *node)
{
	return !depends(ck, node, NULL, 0);
}
