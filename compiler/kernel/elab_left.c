/* SPDX-License-Identifier: MIT
 *
 * elab_left.c: left sides: the indices that one binds, the place of each of its
 * subscripts, and where the name belongs: what has a loop's index on its left
 * outlives the loop.
 */
#include "elaborate.h"

#include <string.h>

static Entity *bound_index(const Elab *el, Name name, Env **where)
{
	for (Env *env = el->env; env; env = env->outer)
		for (size_t i = env->names.count; i-- > 0;)
			if (env->names.at[i].name == name) {
				*where = env;
				return env->names.at[i].entity->kind == ENTITY_INDEX ? env->names.at[i].entity : NULL;
			}
	return NULL;
}

static void left_new_index(Elab *el, Left *left, Name name, KExpr *lo, KExpr *hi, KExpr *extent, Loc loc)
{
	KIndex *index = elab_index_range(el, name, lo, hi, extent);
	env_define(el, el->env, name, ENTITY_INDEX, loc)->index = index;
	left->index[left->index_count++] = index;
	left->subs[left->sub_count] = kexpr_index(el->k, index);
	left->extent[left->sub_count] = extent;
	left->names[left->sub_count++] = name;
}

/* k in a..a + 1: one place, no index */
static void left_single(Elab *el, Left *left, Name name, KExpr *at, KExpr *extent, Loc loc)
{
	env_define(el, el->env, name, ENTITY_EXPR, loc)->expr = at;
	left->subs[left->sub_count] = at;
	left->extent[left->sub_count] = extent;
	left->names[left->sub_count++] = name;
}

/* The extent that axis `position` of an existing array has, for index names nothing else bounds. */
static KExpr *extent_of_view(const View *view, uint32_t position, uint32_t given)
{
	return view && given == view->rank ? view->extent[position] : NULL;
}

/* The name belongs to env if that is around where it belonged so far. */
static void outlive(Left *left, Env *env)
{
	for (Env *outer = left->target; outer; outer = outer->outer)
		if (outer == env)
			left->target = env;
}

/* j in b..b + 128 under b: each j comes once in all turns of b together, so what has j outlives b's loop as well. */
static void outlive_bounds(Left *left, const KIndex *index, Env *env)
{
	for (; env; env = env->outer)
		for (size_t i = 0; i < env->names.count; i++) {
			const Entity *entity = env->names.at[i].entity;
			if (entity->kind != ENTITY_INDEX ||
				!(kexpr_uses(index->lo, entity->index) || kexpr_uses(index->hi, entity->index)))
				continue;
			outlive(left, env->outer);
			outlive_bounds(left, entity->index, env->outer);
		}
}

static void left_subscript(Elab *el, Left *left, const Node *sub, const Node *right, const View *view, uint32_t given)
{
	KExpr *zero = kexpr_int(el->k, T_I32, 0), *own = extent_of_view(view, left->sub_count, given);
	Env *where;
	int64_t count;
	if (sub->kind == N_BINARY && !strcmp(sub->op, "<") && sub->kids[0]->kind == N_NAME) {
		KExpr *hi = elab_int(el, sub->kids[1]);
		left_new_index(el, left, sub->kids[0]->name, zero, hi, hi, sub->loc);
		return;
	}
	if (sub->kind == N_IN && sub->kids[1]->kind == N_RANGE) {
		KExpr *lo = elab_int(el, sub->kids[1]->kids[0]), *hi = elab_int(el, sub->kids[1]->kids[1]);
		left->is_whole = false;
		if (!el->failed && kexpr_difference(hi, lo, &count) && count == 1)
			left_single(el, left, sub->kids[0]->name, lo, own ? own : elab_extent(el, hi, sub->loc), sub->loc);
		else if (!el->failed)
			left_new_index(el, left, sub->kids[0]->name, lo, hi, own ? own : elab_extent(el, hi, sub->loc), sub->loc);
		return;
	}
	if (sub->kind == N_NAME) {
		Entity *loop = bound_index(el, sub->name, &where);
		if (!loop) {
			const Axis *axis = env_axis(el, sub->name);
			KExpr *extent = axis ? axis->extent : own;
			if (!extent)
				extent = elab_infer_extent(el, right, sub->name);
			if (!extent && !el->failed)
				elab_error(el, sub->loc, "nothing bounds index \"%s\": write %s < n", sub->name, sub->name);
			if (!el->failed)
				left_new_index(el, left, sub->name, zero, extent, extent, sub->loc);
			return;
		}
		/* a slice per turn of a loop: the array outlives the loop */
		left->subs[left->sub_count] = kexpr_index(el->k, loop->index);
		left->extent[left->sub_count] = el->bound[loop->index->id];
		left->names[left->sub_count++] = sub->name;
		left->is_whole = false;
		outlive(left, where->outer);
		outlive_bounds(left, loop->index, where->outer);
		return;
	}
	left->is_whole = false;
	left->extent[left->sub_count] = own;
	left->names[left->sub_count] = NULL;
	left->subs[left->sub_count++] = elab_int(el, sub);
}

/* Binds the left side's indices in a new Env (popped by the caller). */
bool left_bind(Elab *el, const Node *node, const Node *right, const View *view, Left *left)
{
	const Node *name = node->kind == N_INDEX ? node->kids[0] : node;
	*left = (Left){.name = name->name, .loc = node->loc, .is_whole = true, .target = el->env};
	env_push(el);
	if (name->kind != N_NAME) {
		elab_error(el, node->loc, "expected a name on the left side");
		return false;
	}
	if (node->kind == N_INDEX && node->kid_count - 1 > K_MAX_RANK) {
		elab_error(el, node->loc, "an array has at most %d axes", K_MAX_RANK);
		return false;
	}
	for (uint32_t i = 1; node->kind == N_INDEX && i < node->kid_count && !el->failed; i++)
		left_subscript(el, left, node->kids[i], right, view, node->kid_count - 1);
	for (uint32_t i = 0; i < left->index_count; i++)
		el->domain[el->domain_count++] = left->index[i];
	return !el->failed;
}

void left_release(Elab *el, uint32_t domain_count)
{
	el->domain_count = domain_count;
	env_pop(el);
}

/* A buffer over the ambient indices and the left side's axes, seen through the latter. */
View left_array(Elab *el, const Left *left, Store store, KExpr **dst_subs)
{
	KExpr *extent[24];
	uint32_t n = el->ambient_count, rank = n + left->sub_count;
	if (rank > K_MAX_RANK) {
		elab_error(el, left->loc, "\"%s\" would need more than %d axes", left->name, K_MAX_RANK);
		return (View){0};
	}
	for (uint32_t i = 0; i < n; i++) {
		extent[i] = el->bound[el->domain[i]->id];
		dst_subs[i] = kexpr_index(el->k, el->domain[i]);
	}
	memcpy(extent + n, left->extent, sizeof *extent * left->sub_count);
	memcpy(dst_subs + n, left->subs, sizeof *extent * left->sub_count);
	KBuffer *buffer = kbuffer_new(el->k, BUFFER_TEMP, left->name, store, rank, extent);
	View view = {.buffer = buffer, .rank = left->sub_count};
	memcpy(view.subs, dst_subs, sizeof *extent * n);
	for (uint32_t i = 0; i < left->sub_count; i++) {
		view.extent[i] = left->extent[i];
		view.formal[i] = elab_index(el, left->names[i] ? left->names[i] : left->name, left->extent[i]);
		view.subs[n + i] = kexpr_index(el->k, view.formal[i]);
	}
	return view;
}

/* from's own axes behind those of the left side */
Left left_with_axes(Elab *el, const Left *left, const View *from, KExpr **own)
{
	Left all = *left;
	if (left->sub_count + from->rank > K_MAX_RANK) {
		elab_error(el, left->loc, "\"%s\" would need more than %d axes", left->name, K_MAX_RANK);
		return all;
	}
	for (uint32_t i = 0; i < from->rank; i++) {
		KIndex *index = elab_index(el, from->formal[i]->name, from->extent[i]);
		el->domain[el->domain_count++] = index;
		all.extent[all.sub_count] = from->extent[i];
		all.names[all.sub_count] = index->name;
		all.subs[all.sub_count++] = own[i] = kexpr_index(el->k, index);
	}
	return all;
}
