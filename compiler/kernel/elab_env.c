/* SPDX-License-Identifier: MIT
 *
 * elab_env.c: names and views of the elaborator. Entities live in the kernel's
 * arena; an Env is one body. Finding a name whose `=` line stands further down in
 * an open body elaborates that line first: `=` lines may stand in any order.
 */
#include "elaborate.h"

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

void elab_need_rows(Elab *el, Loc loc)
{
	if (el->is_any_rows)
		el->failed = el->needs_rows = true;
	else
		elab_error(el, loc, "the extents of a matrix must be known here");
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
		KIndex *domain[24];
		uint32_t count = el->domain_count;
		memcpy(domain, el->domain, sizeof domain);
		bool in_branch = el->in_branch;
		el->in_branch &= el->out == env->out;
		el->env = env;
		el->out = env->out;
		el->domain_count = el->ambient_count;
		env->state[i] = 1;
		(env->elaborate ? env->elaborate : elab_statement)(el, env->body->kids[i]);
		env->state[i] = 2;
		el->env = saved;
		el->out = out;
		el->in_branch = in_branch;
		memcpy(el->domain, domain, sizeof domain);
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
	if (index->id >= el->bound_count) {
		uint32_t count = 2 * index->id + 64;
		KExpr **grown = arena_array(el->c->arena, KExpr *, count);
		if (el->bound_count)
			memcpy(grown, el->bound, sizeof *grown * el->bound_count);
		el->bound = grown;
		el->bound_count = count;
	}
	el->bound[index->id] = extent;
	return index;
}

KIndex *elab_index(Elab *el, Name name, KExpr *extent)
{
	return elab_index_range(el, name, kexpr_int(el->k, T_I32, 0), extent, extent);
}

static bool range_of(const KExpr *e, int64_t *lo, int64_t *hi);

static bool range_of_operands(const KExpr *e, int64_t lo[2], int64_t hi[2])
{
	return range_of(e->args[0], &lo[0], &hi[0]) && range_of(e->args[1], &lo[1], &hi[1]);
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* lo <= e <= hi for all values of the indices; false: not known. Magnitudes stay below 2^31. */
static bool range_of(const KExpr *e, int64_t *lo, int64_t *hi)
{
	int64_t l[2], h[2], last;
	switch (e->op) {
	case OP_CONST:
		*lo = *hi = e->integer;
		break;
	case OP_INDEX:
		if (!range_of(e->index->lo, lo, &last) || !range_of(e->index->hi, &last, hi))
			return false;
		--*hi;
		break;
	case OP_CAST:
		return e->args[0]->type < T_F32 && range_of(e->args[0], lo, hi);
	case OP_ADD:
	case OP_SUB:
	case OP_MIN:
	case OP_MAX:
		if (!range_of_operands(e, l, h))
			return false;
		*lo = e->op == OP_ADD   ? l[0] + l[1]
			  : e->op == OP_SUB ? l[0] - h[1]
			  : e->op == OP_MIN ? least(l[0], l[1])
								: most(l[0], l[1]);
		*hi = e->op == OP_ADD   ? h[0] + h[1]
			  : e->op == OP_SUB ? h[0] - l[1]
			  : e->op == OP_MIN ? least(h[0], h[1])
								: most(h[0], h[1]);
		break;
	case OP_MUL:
		if (!range_of_operands(e, l, h))
			return false;
		*lo = least(least(l[0] * l[1], l[0] * h[1]), least(h[0] * l[1], h[0] * h[1]));
		*hi = most(most(l[0] * l[1], l[0] * h[1]), most(h[0] * l[1], h[0] * h[1]));
		break;
	case OP_IDIV:
	case OP_IMOD:
		if (!range_of_operands(e, l, h) || l[0] < 0 || l[1] != h[1] || l[1] < 1)
			return false;
		*lo = e->op == OP_IDIV ? l[0] / l[1] : 0;
		*hi = e->op == OP_IDIV ? h[0] / l[1] : least(h[0], l[1] - 1);
		break;
	default:
		return false;
	}
	return *lo > INT32_MIN && *hi < INT32_MAX;
}

bool expr_range(const KExpr *e, int64_t *lo, int64_t *hi)
{
	return e->type < T_F32 && range_of(e, lo, hi);
}

bool expr_most(const KExpr *e, int64_t *hi)
{
	int64_t lo;
	return expr_range(e, &lo, hi);
}

/* Each index stands in a linear expression, or in a part of one, once, so its bounds are reached; `seen` holds those
 * that were met. */
static bool linear_range(const KExpr *e, const KIndex **seen, uint32_t *count, int64_t *lo, int64_t *hi)
{
	int64_t l[2], h[2], factor;
	switch (e->op) {
	case OP_CONST:
		*lo = *hi = e->integer;
		return e->type < T_F32;
	case OP_INDEX:
		for (uint32_t i = 0; i < *count; i++)
			if (seen[i] == e->index)
				return false;
		if (*count == K_MAX_RANK || !kexpr_is_const(e->index->lo, lo) || !kexpr_is_const(e->index->hi, hi) ||
			*hi <= *lo)
			return false;
		seen[(*count)++] = e->index;
		*hi = *lo + (*hi - 1 - *lo) / e->index->step * e->index->step;
		return true;
	case OP_CAST:
		return e->args[0]->type < T_F32 && linear_range(e->args[0], seen, count, lo, hi);
	case OP_ADD:
	case OP_SUB:
		if (!linear_range(e->args[0], seen, count, &l[0], &h[0]) ||
			!linear_range(e->args[1], seen, count, &l[1], &h[1]))
			return false;
		*lo = e->op == OP_ADD ? l[0] + l[1] : l[0] - h[1];
		*hi = e->op == OP_ADD ? h[0] + h[1] : h[0] - l[1];
		return true;
	case OP_MUL:
		if (!linear_range(e->args[0], seen, count, &l[0], &h[0]) || !kexpr_is_const(e->args[1], &factor))
			return false;
		*lo = (factor < 0 ? h[0] : l[0]) * factor;
		*hi = (factor < 0 ? l[0] : h[0]) * factor;
		return true;
	case OP_IDIV:
		if (!linear_range(e->args[0], seen, count, &l[0], &h[0]) || l[0] < 0 || !kexpr_is_const(e->args[1], &factor) ||
			factor < 1)
			return false;
		*lo = l[0] / factor;
		*hi = h[0] / factor;
		return true;
	default:
		return false;
	}
}

bool expr_linear_range(const KExpr *e, int64_t *lo, int64_t *hi)
{
	const KIndex *seen[K_MAX_RANK];
	uint32_t count = 0;
	return linear_range(e, seen, &count, lo, hi);
}

KExpr *elab_extent(Elab *el, KExpr *hi, Loc loc)
{
	int64_t largest;
	if (!hi->uses && !hi->loads)
		return hi;
	if (expr_most(hi, &largest))
		return kexpr_int(el->k, T_I32, largest < 1 ? 1 : largest);
	elab_error(el, loc, "nothing says how large this can become");
	return kexpr_int(el->k, T_I32, 1);
}

bool elab_is_uniform(const Elab *el, const KExpr *e)
{
	if (e->op == OP_LOAD)
		return false;
	for (uint32_t i = 0; i < el->domain_count; i++)
		if (e->op == OP_INDEX && e->index == el->domain[i])
			return false;
	for (int i = 0; i < 3 && e->args[i]; i++)
		if (!elab_is_uniform(el, e->args[i]))
			return false;
	return true;
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

View view_floats(Elab *el, KBuffer *buffer, Loc loc)
{
	View whole = view_whole(el, buffer);
	KIndex *index[K_MAX_RANK];
	KExpr *own[K_MAX_RANK];
	KType type = store_type(buffer->store);
	if (type < T_F32 || buffer->store.kind == STORE_F32)
		return whole;
	for (uint32_t i = 0; i < buffer->rank; i++) {
		index[i] = elab_index(el, buffer->name, buffer->extent[i]);
		own[i] = kexpr_index(el->k, index[i]);
	}
	KBuffer *to = elab_temp(el, buffer->name, store_of_type(T_F32), index, buffer->rank);
	elab_add_step(el, kstep_map(el->k, to, own, index, buffer->rank, view_load(el, &whole, own)), loc);
	return view_whole(el, to);
}

KExpr *view_load(Elab *el, const View *view, KExpr *const *subs)
{
	KExpr *at[K_MAX_RANK];
	view_subs(el, view, subs, at);
	return kexpr_load(el->k, view->buffer, at);
}

View view_slice(Elab *el, const View *view, KExpr *const *fixed, KExpr *const *length)
{
	View out = {.buffer = view->buffer};
	memcpy(out.subs, view->subs, sizeof out.subs);
	for (uint32_t i = 0; i < view->rank; i++) {
		if (!fixed[i]) {
			out.formal[out.rank] = view->formal[i];
			out.extent[out.rank++] = view->extent[i];
			continue;
		}
		KExpr *at = fixed[i];
		if (length && length[i]) {
			KIndex *formal = elab_index(el, view->formal[i]->name, length[i]);
			out.formal[out.rank] = formal;
			out.extent[out.rank++] = length[i];
			at = kexpr_binary(el->k, OP_ADD, kexpr_cast(el->k, T_I32, at), kexpr_index(el->k, formal));
		}
		for (uint32_t d = 0; d < view->buffer->rank; d++)
			out.subs[d] = kexpr_substitute(el->k, out.subs[d], view->formal[i], at);
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
