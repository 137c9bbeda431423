/* SPDX-License-Identifier: MIT
 *
 * elab_encode.c: encode and decode of a whole matrix, or of a value for each row
 * and column of a left side; a dtype's arguments may be computed from data, and
 * arrays over the matrix's columns or rows go to those of its parameters that they name.
 */
#include "elaborate.h"

#include <string.h>

/* D(a: e), with arguments that may be names of the body; those computed from data are `none` in the dtype's label. */
static const DtypeRef *call_dtype(Elab *el, const Node *call, Decl *decl, Env *computed)
{
	const Node *params = decl_params(decl);
	Arena *arena = el->c->arena;
	Node **given = arena_array(arena, Node *, params->kid_count + 1);
	if (!arguments_place(el->p, decl, call, given)) {
		el->failed = true;
		return NULL;
	}
	DtypeRef *ref = arena_new_of(arena, DtypeRef);
	Scope *before = scope_new(el->c, NULL);
	Text label = {.arena = arena};
	*ref = (DtypeRef){.decl = decl, .arguments = arena_array(arena, Value, params->kid_count + 1)};
	text_printf(&label, "%s(", decl->name);
	for (uint32_t i = 0; i < params->kid_count && !el->failed; i++) {
		const Node *param = params->kids[i];
		Term term = given[i] ? elab_expr(el, given[i]) : term_value(value_eval(el->p, before, param->kids[2]));
		text_printf(&label, "%s%s: ", i ? ", " : "", param->name);
		if (term.expr) {
			KExpr *e =
				param->kids[1] ? kexpr_cast(el->k, store_type(elab_store(el, param->kids[1])), term.expr) : term.expr;
			env_define(el, computed, param->name, ENTITY_EXPR, call->loc)->expr = elab_share(el, param->name, e);
			term = term_value((Value){.kind = VALUE_NONE, .loc = call->loc, .dimension = ""});
			text_printf(&label, "..");
		} else {
			el->failed |= term.value.kind == VALUE_ERROR || !parameter_check(el->p, decl, param, &term.value);
			value_print(&term.value, &label);
		}
		ref->arguments[i] = term.value;
		scope_bind(el->c, before, param->name, term.value);
	}
	text_printf(&label, ")");
	ref->label = label.at;
	return ref;
}

/* The dtype of encode(D, ..), whose arguments may be computed from data: *computed has those, NULL: there are none. */
static const DtypeRef *dtype_of_data(Elab *el, const Node *call, const Env **computed)
{
	const Node *e = call->kids[1];
	Name name = e->kind == N_CALL ? node_path(el->c, e->kids[0]) : NULL;
	Decl *decl = name && !program_find(el->p, DECL_FN, name) ? program_find(el->p, DECL_DTYPE, name) : NULL;
	*computed = NULL;
	if (!decl)
		return elab_dtype_argument(el, call);
	Env *made = arena_new_of(el->c->arena, Env);
	const DtypeRef *dtype = call_dtype(el, e, decl, made);
	if (made->names.count)
		*computed = made;
	return el->failed ? NULL : dtype;
}

/* encode(D, w, name: array): in *computed the arrays that D has a parameter for; the others say nothing to it. */
static bool add_arrays(Elab *el, const Node *call, const DtypeRef *dtype, const Env **computed)
{
	const Node *params = decl_params(dtype->decl);
	Env *made = arena_new_of(el->c->arena, Env);
	for (size_t i = 0; *computed && i < (*computed)->names.count; i++)
		vec_push(el->c->arena, &made->names, (*computed)->names.at[i]);
	for (uint32_t i = 3; i < call->kid_count; i++) {
		const Node *argument = call->kids[i];
		bool is_taken = false;
		for (uint32_t k = 0; k < params->kid_count; k++)
			is_taken |= params->kids[k]->name == argument->name;
		const Entity *array = is_taken ? elab_array(el, argument->kids[0], 1, "what encode hands on") : NULL;
		if (el->failed)
			return false;
		if (array)
			*env_define(el, made, argument->name, ENTITY_VIEW, argument->loc) = *array;
	}
	if (made->names.count)
		*computed = made;
	return true;
}

Entity *elab_coded(Elab *el, Coded *coded, Loc loc)
{
	if (!coded)
		return NULL;
	Entity *entity = arena_new_of(el->c->arena, Entity);
	*entity = (Entity){.kind = ENTITY_VIEW, .loc = loc, .coded = coded};
	entity->view = coded_value(el, coded, loc);
	return el->failed ? NULL : entity;
}

static bool is_whole_axis(const Elab *el, const KIndex *index)
{
	int64_t lo;
	return kexpr_is_const(index->lo, &lo) && lo == 0 && kexpr_equal(index->hi, el->bound[index->id]);
}

/* encode(D, w[o, i] * c[i]): a matrix over the last two indices of the left side, read back at them. */
static Entity *encode_expression(Elab *el, const DtypeRef *dtype, const Env *computed, const Node *call)
{
	KExpr *x = term_as(el, elab_expr(el, call->kids[2]), T_F32), *subs[24], *at[2];
	uint32_t count = el->domain_count;
	if (el->failed)
		return NULL;
	if (count < 2 || !is_whole_axis(el, el->domain[count - 1]) || !is_whole_axis(el, el->domain[count - 2])) {
		elab_error(el, call->loc, "encode needs a matrix, or a value for each row and column of the left side");
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++)
		subs[i] = kexpr_index(el->k, el->domain[i]);
	KBuffer *buffer = elab_temp(el, name_of(el->c, "x"), store_of_type(T_F32), el->domain, count);
	elab_add_step(el, kstep_map(el->k, buffer, subs, el->domain, count, x), call->loc);
	View view = view_whole(el, buffer);
	memcpy(at, subs + count - 2, sizeof at);
	for (uint32_t i = 0; i + 2 < count; i++)
		view.subs[i] = subs[i];
	memmove(view.formal, view.formal + count - 2, 2 * sizeof *view.formal);
	memmove(view.extent, view.extent + count - 2, 2 * sizeof *view.extent);
	view.rank = 2;
	KIndex *matrix[2] = {el->domain[count - 2], el->domain[count - 1]};
	el->domain_count = count - 2;
	Entity *entity = elab_coded(el, coded_encode(el, dtype, computed, &view, call->loc), call->loc);
	memcpy(el->domain + count - 2, matrix, sizeof matrix);
	el->domain_count = count;
	if (entity)
		entity->view = view_slice(el, &entity->view, at, NULL);
	return entity;
}

Entity *elab_encode(Elab *el, const Node *call)
{
	const Env *computed;
	const DtypeRef *dtype = dtype_of_data(el, call, &computed);
	const Entity *x = dtype && add_arrays(el, call, dtype, &computed) ? elab_entity(el, call->kids[2]) : NULL;
	if (el->failed)
		return NULL;
	if (!x || (x->kind == ENTITY_VIEW && x->view.rank == 0))
		return encode_expression(el, dtype, computed, call);
	if (x->kind != ENTITY_VIEW || x->view.rank != 2) {
		elab_error(el, call->loc, "encode needs a dtype and a matrix: encode(q8_0, w)");
		return NULL;
	}
	return elab_coded(el, coded_encode(el, dtype, computed, &x->view, call->loc), call->loc);
}

Entity *elab_decode(Elab *el, const Node *call)
{
	const Entity *coded = elab_entity(el, call->kids[1]);
	if (el->failed)
		return NULL;
	if (!coded || coded->kind != ENTITY_VIEW || !coded->coded) {
		elab_error(el, call->loc, "decode reads what encode or blocks made: decode(encode(q8_0, w))");
		return NULL;
	}
	Entity *values = arena_new_of(el->c->arena, Entity);
	*values = *coded;
	values->coded = NULL;
	return values;
}
