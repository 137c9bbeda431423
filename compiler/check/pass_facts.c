/* SPDX-License-Identifier: MIT
 *
 * pass_facts.c: what a pass does to its subject, from the shape of its equations.
 * A pass is read as it stands: nothing is evaluated, so a branch that arguments
 * rule out counts like any other.
 */
#include "facts.h"

#include <string.h>

enum { MAX_FN_DEPTH = 16 };

typedef struct Reader {
	Program *p;
	PassFacts *facts;
	VEC(Name) rows;   /* arrays whose first own axis is the subject's row axis */
	const Node *last; /* the last `:=` on the whole of the subject */
	bool has_update;
	bool is_all_masks;
} Reader;

static bool is_word(Name name, const char *text)
{
	return name && !strcmp(name, text);
}

static bool is_one_of(Name name, const char *const *words)
{
	for (; name && *words; words++)
		if (!strcmp(name, *words))
			return true;
	return false;
}

static bool is_array(const Node *node, Name name)
{
	node = node_array(node);
	return node->kind == N_NAME && node->name == name;
}

static Name callee(const Node *node)
{
	return node->kind == N_CALL && node->kids[0]->kind == N_NAME ? node->kids[0]->name : NULL;
}

static bool is_same(const Node *a, const Node *b)
{
	if (a->kind != b->kind || a->name != b->name || a->op != b->op || a->number != b->number ||
		a->kid_count != b->kid_count)
		return false;
	for (uint32_t i = 0; i < a->kid_count; i++)
		if (!a->kids[i] != !b->kids[i] || (a->kids[i] && !is_same(a->kids[i], b->kids[i])))
			return false;
	return true;
}

/* ---- the subject ---- */

static void read_subject(Reader *r, const Node *subject)
{
	PassFacts *facts = r->facts;
	Arena *arena = r->p->c->arena;
	facts->is_family = subject->flag;
	facts->is_axis = is_word(subject->op, "axis");
	facts->is_sharing = is_word(subject->op, "input");
	const Node *member = subject->kids[0];
	if (member->kind == N_TUPLE)
		member = member->kids[0];
	facts->subject = node_array(member)->name;
	if (member->kind != N_INDEX)
		return;
	for (uint32_t i = 1; i < member->kid_count; i++) {
		const Node *axis = member->kids[i];
		facts->is_any_rank |= axis->kind == N_STAR;
		if (axis->kind == N_NAME)
			vec_push(arena, &facts->axes, axis->name);
	}
	const Node *family = member->kids[0];
	for (uint32_t i = 1; family->kind == N_INDEX && i < family->kid_count; i++)
		if (family->kids[i]->kind == N_NAME)
			vec_push(arena, &facts->family, family->kids[i]->name);
}

/* ---- what its values are ---- */

static bool is_zero(const Node *node)
{
	return node->kind == N_NUMBER && node->number == 0;
}

/* `if c then 0 else w[o, i]` where the left side is w[o, i], or the other way round */
static bool is_mask(const Node *left, const Node *right)
{
	if (right->kind != N_IF)
		return false;
	const Node *a = right->kids[1], *b = right->kids[2];
	return (is_zero(a) && is_same(b, left)) || (is_zero(b) && is_same(a, left));
}

static void read_update(Reader *r, const Node *node)
{
	if (!is_array(node->kids[0], r->facts->subject))
		return;
	r->last = node;
	r->is_all_masks &= is_mask(node->kids[0], node->kids[2]);
	r->has_update = true;
}

static bool updates(const Node *node, Name name)
{
	if (node->kind == N_UPDATE)
		return is_array(node->kids[0], name);
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && updates(node->kids[i], name))
			return true;
	return false;
}

/* Is the subject read on a right side below node? */
static bool reads(const Node *node, Name name)
{
	if (node->kind == N_UPDATE || node->kind == N_DEFINE)
		return node_mentions(node->kids[2], name);
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && reads(node->kids[i], name))
			return true;
	return false;
}

/* ---- what it reads ---- */

static const char *const queries[] = {"node", "grad", "loss", "batches", NULL};
static const char *const factorizations[] = {"svd", "qr", "cholesky", "inverse", NULL};
static const char *const own_axis[] = {"rank", "prefix", "sort", NULL};

static bool is_row_array(const Reader *r, const Node *node)
{
	node = node_array(node);
	for (size_t i = 0; node->kind == N_NAME && i < r->rows.count; i++)
		if (r->rows.at[i] == node->name)
			return true;
	return false;
}

/* Is `index` the row subscript of an array of rows below node? */
static bool runs_over_rows(const Reader *r, const Node *node, Name index)
{
	if (node->kind == N_INDEX && is_row_array(r, node) && node_mentions(node->kids[1], index))
		return true;
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && runs_over_rows(r, node->kids[i], index))
			return true;
	return false;
}

static void read_reduction(Reader *r, const Node *call)
{
	const Node *axes = call->kids[0];
	Name row = r->facts->axes.count ? r->facts->axes.at[0] : NULL;
	bool is_scan = is_one_of(axes->kids[0]->name, own_axis);
	for (uint32_t i = 1; i < axes->kid_count; i++) {
		const Node *axis = axes->kids[i];
		if (axis->kind == N_BY || axis->kind == N_IN || axis->kind == N_BINARY)
			axis = axis->kids[0];
		if (axis->kind != N_NAME)
			continue;
		bool is_over = axis->name == row;
		for (uint32_t k = 1; k < call->kid_count && !is_over && !is_scan; k++)
			is_over = runs_over_rows(r, call->kids[k], axis->name);
		r->facts->uses_whole_tensor |= is_over;
	}
}

/* An array of rows handed whole to a fn with a body may be reduced there. */
static bool hands_on_rows(const Reader *r, const Node *argument)
{
	if (argument->kind == N_ARG)
		argument = argument->kids[0];
	if (argument->kind == N_NAME)
		return is_row_array(r, argument);
	return argument->kind == N_INDEX && is_row_array(r, argument) && argument->kids[1]->kind == N_SLICE;
}

static void read_expression(Reader *r, const Node *node, uint32_t depth);

static void read_call(Reader *r, const Node *call, uint32_t depth)
{
	if (call->kids[0]->kind == N_INDEX && call->kids[0]->kids[0]->kind == N_NAME)
		read_reduction(r, call);
	Name name = callee(call);
	r->facts->asks_input |= is_word(name, "input");
	r->facts->asks_network |= is_one_of(name, queries);
	r->facts->needs_activations |= r->facts->asks_input || r->facts->asks_network;
	r->facts->uses_whole_tensor |= is_one_of(name, factorizations);
	const Decl *fn = name ? program_find(r->p, DECL_FN, name) : NULL;
	if (!fn)
		return;
	for (uint32_t i = 1; i < call->kid_count; i++)
		r->facts->uses_whole_tensor |= hands_on_rows(r, call->kids[i]);
	if (depth < MAX_FN_DEPTH) {
		Reader inner = {.p = r->p, .facts = r->facts};
		read_expression(&inner, fn->node->kids[2], depth + 1);
	}
}

static void read_expression(Reader *r, const Node *node, uint32_t depth)
{
	if (node->kind == N_CALL)
		read_call(r, node, depth);
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i])
			read_expression(r, node->kids[i], depth);
}

/* ---- statements ---- */

static void read_define(Reader *r, const Node *node)
{
	const Node *left = node->kids[0];
	Name row = r->facts->axes.count ? r->facts->axes.at[0] : NULL;
	if (left->kind == N_INDEX && row && node_mentions(left->kids[1], row))
		vec_push(r->p->c->arena, &r->rows, node_array(left)->name);
}

static void read_body(Reader *r, const Node *body)
{
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *node = body->kids[i];
		if (node->kind == N_DEFINE)
			read_define(r, node);
		if (node->kind == N_UPDATE)
			read_update(r, node);
		r->facts->shortens |= node->kind == N_KEEP;
		r->facts->saves |= node->kind == N_ENTRY;
		r->facts->has_effect |= node->kind == N_FOLD || node->kind == N_KEEP;
		r->facts->folds_bias |= node->kind == N_FOLD && node->kids[1]->kind == N_FIELD;
		if (node->kind == N_FOR)
			r->facts->is_feedback |=
				updates(node->kids[1], r->facts->subject) && reads(node->kids[1], r->facts->subject);
		if (node->kind == N_FOR || node->kind == N_WHEN)
			read_body(r, node->kids[1]);
	}
}

PassFacts pass_facts(Program *p, const Decl *pass)
{
	PassFacts facts = {.kind = PASS_MOVE};
	Reader reader = {.p = p, .facts = &facts, .is_all_masks = true};
	const Node *params = decl_params(pass), *body = pass->node->kids[2];
	read_subject(&reader, pass->node->kids[1]);
	vec_push(p->c->arena, &reader.rows, facts.subject);
	for (uint32_t i = 0; i < params->kid_count; i++)
		facts.needs_activations |= params->kids[i]->kids[1] && is_word(params->kids[i]->kids[1]->name, "dataset");
	read_body(&reader, body);
	read_expression(&reader, body, 0);
	facts.has_effect |= reader.has_update;
	facts.is_mask = reader.has_update && reader.is_all_masks;
	const Node *value = reader.last ? reader.last->kids[2] : NULL;
	Name last = value ? callee(value) : NULL;
	if (is_word(last, "encode") || is_word(last, "blocks"))
		facts.grid = value;
	if (is_word(last, "factors"))
		facts.factors = value;
	if (facts.grid)
		facts.kind = PASS_GRID;
	else if (facts.is_feedback)
		facts.kind = PASS_FEEDBACK;
	else if (facts.is_mask)
		facts.kind = PASS_MASK;
	return facts;
}

/* ---- statements that apply passes ---- */

static bool has_entry(const Node *body)
{
	for (uint32_t i = 0; i < body->kid_count; i++)
		if (body->kids[i]->kind == N_ENTRY || (body->kids[i]->kind == N_WHEN && has_entry(body->kids[i]->kids[1])))
			return true;
	return false;
}

static bool saves(const Program *p, const Node *node)
{
	if (node->kind == N_THEN)
		return saves(p, node->kids[0]) || saves(p, node->kids[1]);
	if (node->kind != N_APPLY)
		return false;
	const Node *call = node->kids[0];
	Name name = node_path(p->c, call->kind == N_CALL ? call->kids[0] : call);
	const Decl *pass = name ? program_find(p, DECL_PASS, name) : NULL;
	const Decl *recipe = name && !pass ? program_find(p, DECL_RECIPE, name) : NULL;
	return pass ? has_entry(pass->node->kids[2]) : recipe && statement_saves(p, recipe->node->kids[1]);
}

const Node *statement_saves(const Program *p, const Node *body)
{
	for (uint32_t i = 0; i < body->kid_count; i++)
		if (saves(p, body->kids[i]))
			return body->kids[i];
	return NULL;
}
