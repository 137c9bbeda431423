/* SPDX-License-Identifier: MIT
 *
 * dtype_facts.c: what a number format is made of, from the shape of its equations:
 * its fields, its block, and whether it is separable, so that passes may fit a
 * grid first and round one element after the other.
 */
#include "facts.h"

#include <string.h>

typedef struct Reader {
	Program *p;
	const Node *header, *body;
	NameVec visiting; /* per-element arrays whose definitions are being followed */
	NameVec bound;    /* indices of the reductions around the expression in hand */
} Reader;

static Name axis_name(const Node *axis)
{
	const Node *name = axis->kind == N_BINARY ? axis->kids[0] : axis;
	return name->kind == N_NAME ? name->name : NULL;
}

static const Node *definition_of(const Reader *r, Name name)
{
	for (uint32_t i = 0; i < r->body->kid_count; i++)
		if (r->body->kids[i]->kind == N_DEFINE && node_array(r->body->kids[i]->kids[0])->name == name)
			return r->body->kids[i];
	return NULL;
}

/* ---- separable ---- */

/* Is every axis of the header used? Else the value belongs to a coarser level. */
static bool is_per_element(const Reader *r, const Node *node)
{
	for (uint32_t i = 1; i < r->header->kid_count; i++)
		if (!node_mentions(node, axis_name(r->header->kids[i])))
			return false;
	return true;
}

/* x[b, k] with the header's own axes in order */
static bool is_own_element(const Reader *r, const Node *index)
{
	if (index->kid_count != r->header->kid_count)
		return false;
	for (uint32_t i = 1; i < index->kid_count; i++)
		if (index->kids[i]->kind != N_NAME || index->kids[i]->name != axis_name(r->header->kids[i]))
			return false;
	return true;
}

static bool is_alone(Reader *r, const Node *e);

/* A reference to an array by its own element; a per-element one is as good as its definition. */
static bool is_reference_alone(Reader *r, const Node *node)
{
	const Node *array = node_array(node);
	bool is_subject = array->name == r->header->kids[0]->name;
	const Node *definition = is_subject ? NULL : definition_of(r, array->name);
	if (is_subject)
		return node->kind == N_INDEX && is_own_element(r, node);
	if (!definition || !is_per_element(r, definition->kids[0]))
		return true;
	if (node->kind != N_INDEX || !is_own_element(r, node))
		return false;
	for (size_t i = 0; i < r->visiting.count; i++)
		if (r->visiting.at[i] == array->name)
			return true;
	vec_push(r->p->c->arena, &r->visiting, array->name);
	return is_alone(r, definition->kids[2]);
}

/* A value that no axis of the element itself, nor a reduction around it, runs over. */
static bool is_coarser(const Reader *r, const Node *e)
{
	for (size_t i = 0; i < r->bound.count; i++)
		if (node_mentions(e, r->bound.at[i]))
			return false;
	return !is_per_element(r, e);
}

/* rank[k](x[k]) of one element reads all of them */
static bool keeps_axis(Name scan)
{
	return scan && (!strcmp(scan, "rank") || !strcmp(scan, "prefix") || !strcmp(scan, "sort"));
}

/* The subject, or an array with a value per element: a coarser value of it needs an equation of its own. */
static bool reads_elements(const Reader *r, const Node *e)
{
	if (e->kind == N_NAME) {
		const Node *definition = definition_of(r, e->name);
		return e->name == r->header->kids[0]->name || (definition && is_per_element(r, definition->kids[0]));
	}
	for (uint32_t i = 0; i < e->kid_count; i++)
		if (e->kids[i] && reads_elements(r, e->kids[i]))
			return true;
	return false;
}

/* f[b].l where the function gives l[k]: one value per element, made from all of them */
static bool is_array_of_fit(const Reader *r, const Node *field)
{
	const Node *array = node_array(field->kids[0]);
	const Node *definition = array->kind == N_NAME ? definition_of(r, array->name) : NULL;
	const Node *call = definition ? definition->kids[2] : NULL;
	Name name = call && call->kind == N_CALL ? node_path(r->p->c, call->kids[0]) : NULL;
	const Decl *fn = name ? program_find(r->p, DECL_FN, name) : NULL;
	const Node *results = fn ? fn->node->kids[1] : NULL;
	for (uint32_t i = 0; results && i < results->kid_count; i++)
		if (results->kids[i]->kind == N_INDEX && node_array(results->kids[i])->name == field->name)
			return true;
	return false;
}

static bool is_alone(Reader *r, const Node *e)
{
	size_t bound = r->bound.count;
	bool is_call = e->kind == N_CALL, is_reduction = is_call && e->kids[0]->kind == N_INDEX;
	if (is_call && is_coarser(r, e))
		return !reads_elements(r, e);
	if (node_array(e)->kind == N_FIELD && is_array_of_fit(r, node_array(e)))
		return false;
	if (is_reduction && keeps_axis(e->kids[0]->kids[0]->name))
		return false;
	if ((e->kind == N_NAME || e->kind == N_INDEX) && node_array(e)->kind == N_NAME && !is_reference_alone(r, e))
		return false;
	for (uint32_t i = 1; is_reduction && i < e->kids[0]->kid_count; i++)
		if (axis_name(e->kids[0]->kids[i]))
			vec_push(r->p->c->arena, &r->bound, axis_name(e->kids[0]->kids[i]));
	bool ok = true;
	for (uint32_t i = e->kind == N_INDEX || is_call ? 1 : 0; i < e->kid_count && ok; i++)
		ok = !e->kids[i] || is_alone(r, e->kids[i]);
	r->bound.count = bound;
	return ok;
}

static const Node *find_entangled(Reader *r)
{
	for (uint32_t i = 0; i < r->body->kid_count; i++) {
		const Node *node = r->body->kids[i];
		bool is_field = node->kind == N_DEFINE && node->kids[1];
		if (is_field && is_per_element(r, node->kids[0]) && !is_alone(r, node->kids[2]))
			return node;
	}
	return NULL;
}

/* ---- blocks and levels ---- */

static int64_t block_of(Program *p, const Decl *dtype)
{
	const Node *header = dtype->node->kids[1], *params = decl_params(dtype);
	Scope *scope = scope_new(p->c, NULL);
	int64_t block = 0;
	for (uint32_t i = 0; i < params->kid_count; i++)
		if (params->kids[i]->kids[2])
			scope_bind(p->c, scope, params->kids[i]->name, value_eval(p, scope, params->kids[i]->kids[2]));
	for (uint32_t i = 1; i < header->kid_count; i++) {
		if (header->kids[i]->kind != N_BINARY)
			continue;
		Value bound = value_eval(p, scope, header->kids[i]->kids[1]);
		block = (block ? block : 1) * (bound.kind == VALUE_INT ? bound.integer : 1);
	}
	return block;
}

/* Does a reduction below node run over `row`? */
static bool reduces_over(const Node *node, Name row)
{
	const Node *axes = node->kind == N_CALL && node->kids[0]->kind == N_INDEX ? node->kids[0] : NULL;
	for (uint32_t i = 1; axes && i < axes->kid_count; i++)
		if (axes->kids[i]->kind == N_NAME && axes->kids[i]->name == row)
			return true;
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && reduces_over(node->kids[i], row))
			return true;
	return false;
}

static bool is_over_rows(const Reader *r)
{
	uint32_t unbounded = 0;
	for (uint32_t i = 1; i < r->header->kid_count; i++)
		unbounded += r->header->kids[i]->kind != N_BINARY;
	if (unbounded < 2)
		return false;
	for (uint32_t i = 0; i < r->body->kid_count; i++) {
		const Node *node = r->body->kids[i];
		if (node->kind == N_DEFINE && reduces_over(node->kids[2], axis_name(r->header->kids[1])))
			return true;
	}
	return false;
}

DtypeFacts dtype_facts(Program *p, const Decl *dtype)
{
	Reader reader = {.p = p, .header = dtype->node->kids[1], .body = dtype->node->kids[2]};
	DtypeFacts facts = {.block = block_of(p, dtype)};
	facts.entangled = find_entangled(&reader);
	facts.is_separable = !facts.entangled;
	facts.is_per_tensor = is_over_rows(&reader);
	for (uint32_t i = 0; i < reader.body->kid_count; i++) {
		const Node *node = reader.body->kids[i];
		if (node->kind == N_LAYOUT)
			vec_push(p->c->arena, &facts.containers, node->name);
		if (node->kind == N_PLANES)
			vec_push(p->c->arena, &facts.containers, name_of(p->c, node->text));
		if (node->kind != N_DEFINE || !node->kids[1])
			continue;
		uint32_t rank = node->kids[0]->kind == N_INDEX ? node->kids[0]->kid_count - 1 : 0;
		DtypeField field = {node_array(node->kids[0])->name, node->kids[1]->name, rank, node};
		vec_push(p->c->arena, &facts.fields, field);
	}
	return facts;
}
