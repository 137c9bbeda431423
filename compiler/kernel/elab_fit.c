/* SPDX-License-Identifier: MIT
 *
 * elab_fit.c: the halves of a separable dtype. `fit` elaborates the equations that
 * are coarser than an element over one block; what they define is the fit, a
 * struct nobody looks into. `round` and `value` elaborate the equations of one
 * element at a place of the block.
 */
#include "elaborate.h"
#include "facts.h"

#include <string.h>

/* ---- arguments ---- */

const DtypeRef *elab_dtype_argument(Elab *el, const Node *call)
{
	Term term = elab_expr(el, call->kids[1]);
	if (!el->failed && (term.expr || term.value.kind != VALUE_DTYPE))
		elab_error(el, call->kids[1]->loc, "%s needs a dtype first", call->kids[0]->name);
	return el->failed ? NULL : term.value.dtype;
}

const Entity *elab_fit_argument(Elab *el, const Node *call, const DtypeRef *dtype)
{
	const Entity *fit = el->failed ? NULL : elab_entity(el, call->kids[2]);
	bool is_fit = fit && fit->kind == ENTITY_STRUCT && fit->coded && !strcmp(fit->coded->dtype->label, dtype->label);
	if (!is_fit)
		elab_error(el, call->kids[2]->loc, "%s needs a fit of %s here", call->kids[0]->name, dtype->label);
	return is_fit ? fit : NULL;
}

/* ---- fit ---- */

static bool reads_subject(Elab *el, const DtypeRef *dtype, const Node *e, NameVec *seen)
{
	const Node *definition = e->kind == N_NAME ? dtype_definition(dtype, e->name) : NULL;
	if (e->kind == N_NAME && e->name == dtype->decl->node->kids[1]->kids[0]->name)
		return true;
	for (size_t i = 0; definition && i < seen->count; i++)
		if (seen->at[i] == e->name)
			definition = NULL;
	if (definition) {
		vec_push(el->c->arena, seen, e->name);
		return reads_subject(el, dtype, definition->kids[2], seen);
	}
	for (uint32_t i = 0; i < e->kid_count; i++)
		if (e->kids[i] && reads_subject(el, dtype, e->kids[i], seen))
			return true;
	return false;
}

static bool has_axis(const Node *left, Name axis)
{
	for (uint32_t i = 1; left->kind == N_INDEX && i < left->kid_count; i++)
		if (left->kids[i]->kind == N_NAME && left->kids[i]->name == axis)
			return true;
	return false;
}

/* One block must be enough to fit it: what reads x has the axes of rows and blocks that the header names. */
static void check_levels(Elab *el, const DtypeRef *dtype, Loc loc)
{
	const Node *node = dtype->decl->node, *header = node->kids[1];
	bool has_blocks = dtype_block_elements(el->p, dtype) != 0;
	uint32_t last = header->kid_count - (has_blocks ? 0 : 1); /* of whole rows, the last axis is the element's */
	for (uint32_t s = 0; s < node->kids[2]->kid_count && !el->failed; s++) {
		const Node *statement = node->kids[2]->kids[s];
		NameVec seen = {0};
		if (statement->kind != N_DEFINE || !reads_subject(el, dtype, statement->kids[2], &seen))
			continue;
		for (uint32_t i = 1; i < last && !el->failed; i++) {
			if (axis_is_bounded(header->kids[i]) || has_axis(statement->kids[0], axis_name(header->kids[i])))
				continue;
			elab_error(el, loc, "%s cannot be fitted block by block", dtype->label);
			diag_note(el->c, statement->loc, "this is one value for many blocks");
		}
	}
}

static void check_separable(Elab *el, const DtypeRef *dtype, Loc loc)
{
	DtypeFacts facts = dtype_facts(el->p, dtype->decl);
	if (facts.is_separable) {
		check_levels(el, dtype, loc);
		return;
	}
	elab_error(el, loc, "%s is not separable: it cannot round one element after the other", dtype->label);
	diag_note(el->c, facts.entangled->loc, "this equation reads more of x than its own element");
}

/* Seen from outside the block: it is the only one, of the only row. */
static void close_view(Elab *el, const Coded *coded, View *view)
{
	for (uint32_t d = 0; view->buffer && d < view->buffer->rank; d++)
		for (uint32_t i = 0; i < coded->ambient_count; i++)
			view->subs[d] = kexpr_substitute(el->k, view->subs[d], coded->ambient[i], kexpr_int(el->k, T_I32, 0));
}

static void close_entity(Elab *el, const Coded *coded, Entity *entity)
{
	close_view(el, coded, &entity->view);
	close_view(el, coded, &entity->stored);
	for (size_t i = 0; entity->kind == ENTITY_STRUCT && i < entity->members->names.count; i++)
		close_entity(el, coded, entity->members->names.at[i].entity);
}

static bool is_coarse_name(const Elab *el, const DtypeRef *dtype, Name name)
{
	const Node *definition = dtype_definition(dtype, name);
	return name != dtype->decl->node->kids[1]->kids[0]->name &&
		   !(definition && dtype_is_element(el, dtype, definition));
}

Entity *elab_fit(Elab *el, const Node *call)
{
	const DtypeRef *dtype = elab_dtype_argument(el, call);
	const Entity *x = dtype ? elab_array(el, call->kids[2], 1, "what fit takes") : NULL;
	int64_t length, block = x ? dtype_block(el, dtype) : 0;
	if (!x)
		return NULL;
	if (!kexpr_is_const(x->view.extent[0], &length) || length != block) {
		elab_error(
			el, call->kids[2]->loc, "a fit of %s takes a block of %lld elements", dtype->label, (long long)block);
		return NULL;
	}
	check_separable(el, dtype, call->loc);
	View row = x->view;
	row.rank = 2;
	row.formal[1] = x->view.formal[0];
	row.extent[1] = x->view.extent[0];
	row.extent[0] = kexpr_int(el->k, T_I32, 1);
	row.formal[0] = elab_index(el, row.formal[1]->name, row.extent[0]);
	Coded *coded = el->failed ? NULL : coded_fit(el, dtype, &row, call->loc);
	if (!coded)
		return NULL;
	Entity *fit = arena_new_of(el->c->arena, Entity);
	*fit = (Entity){.kind = ENTITY_STRUCT, .loc = call->loc, .coded = coded};
	fit->members = arena_new_of(el->c->arena, Env);
	for (size_t i = 0; i < coded->fields->names.count; i++) {
		const Binding *field = &coded->fields->names.at[i];
		if (!is_coarse_name(el, dtype, field->name))
			continue;
		Entity *member = env_define(el, fit->members, field->name, field->entity->kind, field->entity->loc);
		*member = *field->entity;
		close_entity(el, coded, member);
	}
	return fit;
}

/* ---- one element ---- */

/* The header's indices at place p of the block: p in mixed radix; rows and blocks are the first and only ones. */
static void place_digits(Elab *el, const Coded *fit, KExpr *p, KExpr **digits)
{
	const Node *header = fit->dtype->decl->node->kids[1];
	uint32_t first = 1;
	int64_t stride = 1, extent;
	while (first + 1 < header->kid_count && !axis_is_bounded(header->kids[first]))
		first++;
	for (uint32_t i = header->kid_count; i-- > 1;) {
		KExpr *digit = kexpr_int(el->k, T_I32, 0);
		if (i >= first && kexpr_is_const(fit->place.extent[i - 1], &extent)) {
			digit = kexpr_binary(el->k, OP_IDIV, p, kexpr_int(el->k, T_I32, stride));
			if (i > first)
				digit = kexpr_binary(el->k, OP_IMOD, digit, kexpr_int(el->k, T_I32, extent));
			stride *= extent;
		}
		digits[i - 1] = digit;
	}
}

/* An array with the header's axes of which only the element in hand exists. */
static View element_view(Elab *el, Name name, Store store, KExpr *value, uint32_t rank)
{
	View view = {.rank = rank};
	KExpr *one = kexpr_int(el->k, T_I32, 1), *subs[24];
	for (uint32_t i = 0; i < rank; i++) {
		view.extent[i] = one;
		view.formal[i] = elab_index(el, name, one);
	}
	if (value->op == OP_LOAD && store_equal(value->store, store) && store_equal(value->buffer->store, store)) {
		view.buffer = value->buffer;
		memcpy(view.subs, value->subs, sizeof *view.subs * value->buffer->rank);
		return view;
	}
	for (uint32_t i = 0; i < el->domain_count; i++)
		view.subs[i] = subs[i] = kexpr_index(el->k, el->domain[i]);
	view.buffer = elab_temp(el, name, store, el->domain, el->domain_count);
	if (!el->failed)
		elab_add_step(el, kstep_map(el->k, view.buffer, subs, el->domain, el->domain_count, value), (Loc){0});
	return view;
}

static uint32_t header_rank(const DtypeRef *dtype)
{
	return dtype->decl->node->kids[1]->kid_count - 1;
}

/* q[b, k]: u4 = e, of the element in hand; b and k are known. */
static bool define_element(Elab *el, const Node *node)
{
	const Node *left = node->kids[0];
	if (left->kind != N_INDEX || left->kids[0]->kind != N_NAME) {
		elab_error(el, left->loc, "a value of each element needs an equation of its own");
		return false;
	}
	Name name = left->kids[0]->name;
	Term term = elab_expr(el, node->kids[2]);
	Store type = !el->failed && node->kids[1] ? elab_store(el, node->kids[1]) : (Store){0};
	if (el->failed)
		return false;
	KExpr *value = term.expr ? term.expr : term_as(el, term, term.value.kind == VALUE_BOOL ? T_BOOL : T_F32);
	Entity *made = env_define(el, el->env, name, ENTITY_VIEW, node->loc);
	uint32_t rank = left->kid_count - 1;
	made->view = element_view(el, name, store_of_type(value->type), value, rank);
	if (type.kind == STORE_NONE || el->failed)
		return !el->failed;
	KExpr *subs[K_MAX_RANK];
	for (uint32_t i = 0; i < rank; i++)
		subs[i] = kexpr_int(el->k, T_I32, 0);
	made->stored = element_view(el, name, type, view_load(el, &made->view, subs), rank);
	return !el->failed;
}

/* The names that an element's equations see: what the fit found, and the header's indices at place p. */
static Env *element_names(Elab *el, const Entity *fit, KExpr *p, bool is_stored)
{
	const DtypeRef *dtype = fit->coded->dtype;
	const Node *header = dtype->decl->node->kids[1];
	const Node *value = is_stored ? dtype_value(el, dtype) : NULL;
	Env *env = arena_new_of(el->c->arena, Env);
	KExpr *digits[K_MAX_RANK];
	if (el->failed)
		return NULL;
	for (size_t i = 0; i < fit->members->names.count; i++) {
		const Binding *member = &fit->members->names.at[i];
		Entity *made = env_define(el, env, member->name, member->entity->kind, member->entity->loc);
		*made = *member->entity;
		if (is_stored && made->stored.buffer)
			made->view = made->stored;
	}
	place_digits(el, fit->coded, kexpr_cast(el->k, T_I32, p), digits);
	for (uint32_t i = 1; i < header->kid_count; i++) {
		Name name = value ? value->kids[0]->kids[i]->name : axis_name(header->kids[i]);
		env_define(el, env, name, ENTITY_EXPR, header->loc)->expr = digits[i - 1];
	}
	return env;
}

static Entity *rounded_fields(Elab *el, const DtypeRef *dtype, Loc loc)
{
	Entity *out = arena_new_of(el->c->arena, Entity);
	*out = (Entity){.kind = ENTITY_STRUCT, .loc = loc, .members = arena_new_of(el->c->arena, Env)};
	uint32_t at = 0;
	for (const Node *field; !el->failed && (field = dtype_next_field(el, dtype, &at));) {
		Name name = field->kids[0]->kids[0]->name;
		const Entity *made = env_find(el, name);
		if (!made || el->failed)
			return NULL;
		Entity *member = env_define(el, out->members, name, ENTITY_VIEW, field->loc);
		member->view = made->stored;
		member->view.rank = 0; /* its subscripts say nothing */
	}
	if (!el->failed && !out->members->names.count)
		elab_error(el, loc, "%s stores nothing for each element", dtype->label);
	return el->failed ? NULL : entity_single(out);
}

Entity *elab_round(Elab *el, const Node *call)
{
	const DtypeRef *dtype = elab_dtype_argument(el, call);
	const Entity *fit = dtype ? elab_fit_argument(el, call, dtype) : NULL;
	KExpr *p = fit ? elab_int(el, call->kids[3]) : NULL;
	KExpr *x = fit ? term_as(el, elab_expr(el, call->kids[4]), T_F32) : NULL;
	Env *env = el->failed ? NULL : element_names(el, fit, p, false);
	if (!env)
		return NULL;
	const Node *node = dtype->decl->node, *body = node->kids[2];
	Inside saved = elab_enter(el, env, NULL, 0, node->name);
	Name subject = node->kids[1]->kids[0]->name;
	View view = element_view(el, subject, store_of_type(T_F32), x, header_rank(dtype));
	env_define(el, env, subject, ENTITY_VIEW, call->loc)->view = view;
	env->body = body;
	env->out = el->out;
	env->elaborate = define_element;
	env->state = arena_array(el->c->arena, uint8_t, body->kid_count + 1);
	for (uint32_t i = 0; i < body->kid_count; i++)
		env->state[i] = dtype_is_element(el, dtype, body->kids[i]) ? 0 : 2;
	Entity *out = rounded_fields(el, dtype, call->loc);
	elab_leave(el, saved);
	return out;
}

/* The code of each of an element's fields: a number where there is one field, what round gave where there are more. */
static void name_codes(Elab *el, Env *env, const DtypeRef *dtype, const Node *argument)
{
	uint32_t at = 0, rank = header_rank(dtype);
	Entity *codes = elab_entity(el, argument);
	for (const Node *field; !el->failed && (field = dtype_next_field(el, dtype, &at));) {
		Name name = field->kids[0]->kids[0]->name;
		Entity *code = codes;
		for (size_t i = 0; codes && codes->kind == ENTITY_STRUCT && i < codes->members->names.count; i++)
			if (codes->members->names.at[i].name == name)
				code = codes->members->names.at[i].entity;
		Term term = code ? elab_load(el, argument, code, false) : elab_expr(el, argument);
		KExpr *value = el->failed ? NULL : term_expr(el, term);
		if (value)
			env_define(el, env, name, ENTITY_VIEW, field->loc)->view =
				element_view(el, name, value->op == OP_LOAD ? value->store : store_of_type(value->type), value, rank);
	}
}

Entity *elab_value(Elab *el, const Node *call)
{
	const DtypeRef *dtype = elab_dtype_argument(el, call);
	const Entity *fit = dtype ? elab_fit_argument(el, call, dtype) : NULL;
	KExpr *p = fit ? elab_int(el, call->kids[3]) : NULL;
	Env *env = el->failed ? NULL : element_names(el, fit, p, true);
	if (!env)
		return NULL;
	name_codes(el, env, dtype, call->kids[4]);
	if (el->failed)
		return NULL;
	Inside saved = elab_enter(el, env, NULL, 0, dtype->decl->name);
	KExpr *value = term_as(el, elab_expr(el, dtype_value(el, dtype)->kids[2]), T_F32);
	elab_leave(el, saved);
	Entity *out = arena_new_of(el->c->arena, Entity);
	*out = (Entity){.kind = ENTITY_EXPR, .loc = call->loc, .expr = value};
	return el->failed ? NULL : out;
}
