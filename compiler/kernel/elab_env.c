/* SPDX-License-Identifier: MIT
 *
 * elab_env.c: names and views of the elaborator. Entities live in the kernel's
 * arena; an Env is one body. Finding a name whose `=` line stands further down in
 * an open body elaborates that line first: `=` lines may stand in any order.
 */
#include "elaborate.h"

#include <assert.h>
#include <string.h>

void elab_error(Elab *el, Loc loc, const char *format, ...)
{
	char text[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (!el->failed)
		diag_error(el->c, loc, "%s", text);
	el->failed = true;
}

/* ---- environments ---- */

Env *env_push(Elab *el)
{
	Env *env = arena_new_of(el->c->arena, Env);
	env->outer = el->env;
	el->env = env;
	return env;
}

void env_pop(Elab *el)
{
	el->env = el->env->outer;
}

static Entity *env_local(const Env *env, Name name)
{
	for (size_t i = env->names.count; i-- > 0;)
		if (env->names.at[i].name == name)
			return env->names.at[i].entity;
	return NULL;
}

Entity *env_define(Elab *el, Env *env, Name name, EntityKind kind, Loc loc)
{
	Entity *entity = arena_new_of(el->c->arena, Entity);
	entity->kind = kind;
	entity->loc = loc;
	Binding binding = {name, entity};
	vec_push(el->c->arena, &env->names, binding);
	return entity;
}

/* Does this statement define `name` by `=`? */
static bool defines(const Node *statement, Name name)
{
	if (statement->kind != N_DEFINE)
		return false;
	const Node *left = statement->kids[0];
	if (left->kind == N_INDEX)
		left = left->kids[0];
	if (left->kind == N_NAME)
		return left->name == name;
	for (uint32_t i = 0; left->kind == N_TUPLE && i < left->kid_count; i++) {
		const Node *member = left->kids[i]->kind == N_INDEX ? left->kids[i]->kids[0] : left->kids[i];
		if (member->name == name)
			return true;
	}
	return false;
}

/* Elaborates the pending `=` line of env that defines name, in env. */
static Entity *elaborate_pending(Elab *el, Env *env, Name name)
{
	for (uint32_t i = 0; env->body && i < env->body->kid_count; i++) {
		if (!defines(env->body->kids[i], name) || env->state[i] == 2)
			continue;
		if (env->state[i] == 1) {
			elab_error(el, env->body->kids[i]->loc, "\"%s\" is defined by itself", name);
			return NULL;
		}
		Env *saved = el->env;
		KStepVec *out = el->out;
		uint32_t count = el->domain_count;
		el->env = env;
		el->out = env->out;
		el->domain_count = el->ambient_count;
		env->state[i] = 1;
		elab_statement(el, env->body->kids[i]);
		env->state[i] = 2;
		el->env = saved;
		el->out = out;
		el->domain_count = count;
		return env_local(env, name);
	}
	return NULL;
}

Entity *env_find(Elab *el, Name name)
{
	for (Env *env = el->env; env; env = env->outer) {
		Entity *entity = env_local(env, name);
		if (!entity)
			entity = elaborate_pending(el, env, name);
		if (entity || el->failed)
			return entity;
	}
	return NULL;
}

const Axis *env_axis(const Elab *el, Name name)
{
	for (const Env *env = el->env; env; env = env->outer)
		for (size_t i = env->axes.count; i-- > 0;)
			if (env->axes.at[i].name == name)
				return &env->axes.at[i];
	return NULL;
}

void env_add_axis(Elab *el, Name name, KExpr *extent, Loc loc)
{
	Axis axis = {name, extent, loc};
	vec_push(el->c->arena, &el->env->axes, axis);
}

/* ---- indices ---- */

KIndex *elab_index_range(Elab *el, Name name, KExpr *lo, KExpr *hi, KExpr *extent)
{
	KIndex *index = kindex_new(el->k, name, lo, hi, 1);
	assert(index->id < sizeof el->bound / sizeof *el->bound);
	el->bound[index->id] = extent;
	return index;
}

KIndex *elab_index(Elab *el, Name name, KExpr *extent)
{
	return elab_index_range(el, name, kexpr_int(el->k, T_I32, 0), extent, extent);
}

/* ---- views ---- */

View view_whole(Elab *el, KBuffer *buffer)
{
	View view = {.buffer = buffer, .rank = buffer->rank};
	for (uint32_t i = 0; i < buffer->rank; i++) {
		view.extent[i] = buffer->extent[i];
		view.formal[i] = elab_index(el, buffer->name, buffer->extent[i]);
		view.subs[i] = kexpr_index(el->k, view.formal[i]);
	}
	return view;
}

void view_subs(Elab *el, const View *view, KExpr *const *subs, KExpr **out)
{
	for (uint32_t d = 0; d < view->buffer->rank; d++) {
		out[d] = view->subs[d];
		for (uint32_t i = 0; i < view->rank; i++)
			out[d] = kexpr_substitute(el->k, out[d], view->formal[i], subs[i]);
	}
}

KExpr *view_load(Elab *el, const View *view, KExpr *const *subs)
{
	KExpr *at[K_MAX_RANK];
	view_subs(el, view, subs, at);
	return kexpr_load(el->k, view->buffer, at);
}

View view_slice(Elab *el, const View *view, KExpr *const *fixed)
{
	View out = {.buffer = view->buffer};
	memcpy(out.subs, view->subs, sizeof out.subs);
	for (uint32_t i = 0; i < view->rank; i++) {
		if (!fixed[i]) {
			out.formal[out.rank] = view->formal[i];
			out.extent[out.rank++] = view->extent[i];
			continue;
		}
		for (uint32_t d = 0; d < view->buffer->rank; d++)
			out.subs[d] = kexpr_substitute(el->k, out.subs[d], view->formal[i], fixed[i]);
	}
	return out;
}

View view_abstract(Elab *el, const View *view, KIndex *index)
{
	View out = *view;
	KIndex *formal = elab_index(el, index->name, el->bound[index->id]);
	memmove(out.formal + 1, out.formal, sizeof *out.formal * view->rank);
	memmove(out.extent + 1, out.extent, sizeof *out.extent * view->rank);
	out.formal[0] = formal;
	out.extent[0] = el->bound[index->id];
	out.rank++;
	for (uint32_t d = 0; d < view->buffer->rank; d++)
		out.subs[d] = kexpr_substitute(el->k, out.subs[d], index, kexpr_index(el->k, formal));
	return out;
}
