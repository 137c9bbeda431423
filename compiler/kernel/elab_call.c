/* SPDX-License-Identifier: MIT
 *
 * elab_call.c: calls of functions, which are inlined: scalar arguments as terms,
 * array arguments as views; a body's steps come before the step in hand.
 */
#include "elaborate.h"

#include <string.h>

enum { MAX_CALL_DEPTH = 64, LARGE_ARGUMENT = 6 };

static uint32_t expr_size(const KExpr *e, uint32_t limit)
{
	uint32_t size = 1;
	for (int i = 0; i < 3 && e->args[i] && size < limit; i++)
		size += expr_size(e->args[i], limit - size);
	return size;
}

/* A long argument that may be read several times becomes an array over the indices in hand. */
KExpr *elab_share(Elab *el, Name name, KExpr *e)
{
	if (expr_size(e, LARGE_ARGUMENT) < LARGE_ARGUMENT)
		return e;
	KBuffer *buffer = elab_temp(el, name, store_of_type(e->type), el->domain, el->domain_count);
	KExpr *subs[K_MAX_RANK];
	for (uint32_t i = 0; i < el->domain_count; i++)
		subs[i] = kexpr_index(el->k, el->domain[i]);
	vec_push(el->c->arena, el->out, kstep_map(el->k, buffer, subs, el->domain, el->domain_count, e));
	return kexpr_load(el->k, buffer, subs);
}

static bool bind_number(Elab *el, Env *env, const Node *param, Term term, Loc loc)
{
	if (el->failed)
		return false;
	Store type = param->kids[1] ? store_find(param->kids[1]->name) : (Store){0};
	if (term.expr && type.kind != STORE_NONE)
		term.expr = kexpr_cast(el->k, store_type(type), term.expr);
	if (term.expr)
		env_define(el, env, param->name, ENTITY_EXPR, loc)->expr = elab_share(el, param->name, term.expr);
	else
		env_define(el, env, param->name, ENTITY_VALUE, loc)->value = term.value;
	return true;
}

/* A default may read the parameters before it. */
static bool bind_default(Elab *el, Env *env, const Node *param)
{
	Env *saved = el->env;
	el->env = env;
	Term term = elab_expr(el, param->kids[2]);
	el->env = saved;
	return bind_number(el, env, param, term, param->loc);
}

static bool bind_parameter(Elab *el, Env *env, const Node *param, const Node *given)
{
	if (!given)
		return bind_default(el, env, param);
	const Node *axes = param->kids[0];
	Entity *entity = axes ? elab_entity(el, given) : NULL;
	if (entity && entity->kind == ENTITY_VALUE && entity->value.kind == VALUE_NONE) {
		*env_define(el, env, param->name, ENTITY_VALUE, given->loc) = *entity;
		return true;
	}
	if (entity && !el->failed) {
		entity = entity_single(entity);
		uint32_t rank = axes->kid_count;
		if (entity->kind != ENTITY_VIEW || entity->view.rank != rank) {
			elab_error(el, given->loc, "\"%s\" needs an array of %u axes", param->name, rank);
			return false;
		}
		Entity *bound = env_define(el, env, param->name, ENTITY_VIEW, given->loc);
		*bound = *entity;
		for (uint32_t i = 0; i < rank; i++) {
			Axis axis = {axes->kids[i]->name, entity->view.extent[i], given->loc};
			if (axes->kids[i]->kind == N_NAME)
				vec_push(el->c->arena, &env->axes, axis);
		}
		return true;
	}
	if (axes && !el->failed) {
		elab_error(el, given->loc, "\"%s\" needs an array", param->name);
		return false;
	}
	return bind_number(el, env, param, elab_expr(el, given), given->loc);
}

/* The parameters of fn bound to the call's arguments; NULL: reported. */
static Env *bind_call(Elab *el, const Node *call, const Decl *fn)
{
	const Node *params = decl_params(fn);
	Node **given = arena_array(el->c->arena, Node *, params->kid_count + 1);
	if (el->depth >= MAX_CALL_DEPTH) {
		elab_error(el, call->loc, "fn %s calls itself", fn->name);
		return NULL;
	}
	if (!arguments_place(el->p, fn, call, given)) {
		el->failed = true;
		return NULL;
	}
	Env *env = arena_new_of(el->c->arena, Env);
	for (uint32_t i = 0; i < params->kid_count; i++)
		if (!bind_parameter(el, env, params->kids[i], given[i]))
			return NULL;
	return env;
}

static Term run_expression(Elab *el, const Decl *fn, Env *env)
{
	Env *saved = el->env;
	el->env = env;
	el->depth++;
	Term term = elab_expr(el, fn->node->kids[2]);
	el->depth--;
	el->env = saved;
	return term;
}

Term elab_call_expression(Elab *el, const Node *call, const Decl *fn)
{
	Env *env = bind_call(el, call, fn);
	return env ? run_expression(el, fn, env) : term_int(call->loc, 0);
}

static Entity *run_body(Elab *el, const Node *call, const Decl *fn, Env *env)
{
	Env *saved = el->env;
	uint32_t ambient = el->ambient_count;
	bool in_loop = el->in_loop;
	KExpr *guard = el->guard;
	el->env = env;
	el->ambient_count = el->domain_count;
	el->in_loop = false;
	el->guard = NULL;
	el->depth++;
	elab_body(el, fn->node->kids[2]);
	Entity *result = arena_new_of(el->c->arena, Entity);
	*result = (Entity){.kind = ENTITY_STRUCT, .loc = call->loc, .members = arena_new_of(el->c->arena, Env)};
	const Node *names = fn->node->kids[1];
	for (uint32_t i = 0; names && i < names->kid_count && !el->failed; i++) {
		const Node *name = names->kids[i]->kind == N_INDEX ? names->kids[i]->kids[0] : names->kids[i];
		Entity *member = env_find(el, name->name);
		if (!member) {
			elab_error(el, name->loc, "fn %s does not define its result \"%s\"", fn->name, name->name);
			break;
		}
		*env_define(el, result->members, name->name, member->kind, member->loc) = *member;
	}
	el->depth--;
	el->guard = guard;
	el->in_loop = in_loop;
	el->ambient_count = ambient;
	el->domain_count = el->domain_count > ambient ? el->domain_count : ambient;
	el->env = saved;
	return el->failed ? NULL : result;
}

Entity *elab_call(Elab *el, const Node *call, const Decl *fn)
{
	Env *env = bind_call(el, call, fn);
	return env ? run_body(el, call, fn, env) : NULL;
}

Term elab_call_terms(Elab *el, const Node *at, const Decl *fn, const Term *terms)
{
	const Node *params = decl_params(fn);
	Env *env = arena_new_of(el->c->arena, Env);
	for (uint32_t i = 0; i < params->kid_count; i++)
		if (!bind_number(el, env, params->kids[i], terms[i], at->loc))
			return term_int(at->loc, 0);
	if (fn->node->kids[2]->kind != N_BODY)
		return run_expression(el, fn, env);
	Entity *result = run_body(el, at, fn, env);
	return result ? elab_load(el, at, result, false) : term_int(at->loc, 0);
}
