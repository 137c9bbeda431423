/* SPDX-License-Identifier: MIT
 *
 * elab_update.c: `:=` makes the next version of an array, in place inside `for`
 * and for a region; of a fit, every array in it; of the subject, its stored form.
 */
#include "elaborate.h"

#include <string.h>

static bool same_subs(const KExpr *const *a, const KExpr *const *b, uint32_t rank)
{
	for (uint32_t i = 0; i < rank; i++) {
		int64_t x, y;
		bool is_same = a[i] == b[i] || (a[i]->op == OP_INDEX && b[i]->op == OP_INDEX && a[i]->index == b[i]->index) ||
					   (kexpr_is_const(a[i], &x) && kexpr_is_const(b[i], &y) && x == y);
		if (!is_same)
			return false;
	}
	return true;
}

/* Does e read buffer elsewhere than at subs? */
static bool reads_elsewhere(const KExpr *e, const KBuffer *buffer, KExpr *const *subs)
{
	if (e->op == OP_LOAD) {
		if (e->buffer == buffer && !same_subs((const KExpr *const *)e->subs, (const KExpr *const *)subs, buffer->rank))
			return true;
		for (uint32_t i = 0; i < e->buffer->rank; i++)
			if (reads_elsewhere(e->subs[i], buffer, subs))
				return true;
	}
	for (int i = 0; i < 3 && e->args[i]; i++)
		if (reads_elsewhere(e->args[i], buffer, subs))
			return true;
	return false;
}

/* All reads of a line precede its writes: through a temporary if they meet. */
static void store_in_place(Elab *el, KBuffer *buffer, KExpr **subs, KExpr *value, Loc loc)
{
	if (reads_elsewhere(value, buffer, subs)) {
		KBuffer *next = elab_temp(el, buffer->name, buffer->store, el->domain, el->domain_count);
		KExpr *at[24];
		for (uint32_t i = 0; i < el->domain_count; i++)
			at[i] = kexpr_index(el->k, el->domain[i]);
		elab_add_step(el, kstep_map(el->k, next, at, el->domain, el->domain_count, value), loc);
		value = kexpr_load(el->k, next, at);
	}
	elab_add_step(el, kstep_map(el->k, buffer, subs, el->domain, el->domain_count, value), loc);
}

static bool update_array(Elab *el, const Node *node, Entity *entity)
{
	uint32_t outer = el->domain_count;
	Left left;
	KExpr *own[K_MAX_RANK], *subs[K_MAX_RANK];
	View old = entity->view;
	bool ok = left_bind(el, node->kids[0], node->kids[2], &old, &left);
	if (ok && left.sub_count < old.rank) {
		elab_error(el, node->kids[0]->loc, "\"%s\" has %u axes", left.name, old.rank);
		ok = false;
	}
	ok = ok && (!old.rank || elab_subscripts(el, node->kids[0], &old, own, NULL));
	Term term = ok ? elab_expr(el, node->kids[2]) : (Term){0};
	if (!el->failed) {
		KType type = store_type(old.buffer->store);
		KExpr *value = term_as(el, term, type);
		view_subs(el, &old, own, subs);
		if (el->guard)
			value = kexpr_select(el->k, el->guard, value, kexpr_load(el->k, old.buffer, subs));
		if (el->in_loop || !left.is_whole || el->guard || left.sub_count != old.rank) {
			if (old.buffer->kind == BUFFER_TEMP)
				store_in_place(el, old.buffer, subs, value, node->loc);
			else
				elab_error(el, node->loc, "\"%s\" cannot be changed in part", left.name);
			entity->coded = NULL;
		} else {
			Entity *made = arena_new_of(el->c->arena, Entity);
			KExpr *dst[24];
			*made = *entity;
			made->coded = NULL;
			made->view = left_array(el, &left, old.buffer->store, dst);
			for (uint32_t i = 0; i < old.rank; i++) /* the axes keep their names */
				made->view.formal[i]->name = old.formal[i]->name;
			if (!el->failed)
				elab_add_step(
					el, kstep_map(el->k, made->view.buffer, dst, el->domain, el->domain_count, value), node->loc);
			*entity = *made;
		}
	}
	left_release(el, outer);
	return !el->failed;
}

/* F[o, g in a..b] := fit(..): every array in it, in that region */
static void update_members(Elab *el, const Left *left, const Entity *to, const Entity *from);

static void update_member(Elab *el, const Left *left, const View *to, const View *from)
{
	uint32_t outer = el->domain_count;
	KExpr *own[K_MAX_RANK], *subs[K_MAX_RANK];
	Left all = left_with_axes(el, left, from, own);
	if (!el->failed && (all.sub_count != to->rank || to->buffer->kind != BUFFER_TEMP))
		elab_error(el, left->loc, "\"%s\" cannot be changed to this", left->name);
	if (!el->failed) {
		view_subs(el, to, all.subs, subs);
		KExpr *value = view_load(el, from, own);
		if (el->guard)
			value = kexpr_select(el->k, el->guard, value, kexpr_load(el->k, to->buffer, subs));
		elab_add_step(el, kstep_map(el->k, to->buffer, subs, el->domain, el->domain_count, value), left->loc);
	}
	el->domain_count = outer;
}

static void update_members(Elab *el, const Left *left, const Entity *to, const Entity *from)
{
	if (to->kind == ENTITY_VIEW && from->kind == ENTITY_VIEW) {
		update_member(el, left, &to->view, &from->view);
		if (to->stored.buffer)
			update_member(el, left, &to->stored, &from->stored);
	}
	for (size_t i = 0; to->kind == ENTITY_STRUCT && i < to->members->names.count && !el->failed; i++)
		update_members(el, left, to->members->names.at[i].entity, from->members->names.at[i].entity);
}

/* Of the first array in it, the axes that it is indexed by. */
static bool first_view(const Entity *entity, View *out)
{
	if (entity->kind == ENTITY_VIEW)
		*out = entity->view;
	for (size_t i = 0; entity->kind == ENTITY_STRUCT && i < entity->members->names.count; i++)
		if (first_view(entity->members->names.at[i].entity, out))
			return true;
	return entity->kind == ENTITY_VIEW;
}

static bool update_struct(Elab *el, const Node *node, const Entity *entity)
{
	uint32_t outer = el->domain_count;
	Left left;
	View head = {0};
	bool has_arrays = first_view(entity, &head);
	head.rank = node->kids[0]->kind == N_INDEX ? node->kids[0]->kid_count - 1 : 0;
	bool ok = left_bind(el, node->kids[0], node->kids[2], has_arrays ? &head : NULL, &left);
	const Entity *next = ok && node->kids[2]->kind == N_CALL ? elab_entity(el, node->kids[2]) : NULL;
	bool is_fit = next && next->kind == ENTITY_STRUCT && next->coded && entity->coded &&
				  !strcmp(next->coded->dtype->label, entity->coded->dtype->label);
	if (is_fit)
		update_members(el, &left, entity, next);
	else
		elab_error(el, node->loc, "\"%s\" can only become another fit of the same dtype", left.name);
	left_release(el, outer);
	return !el->failed;
}

/* w := encode(D, w), w := blocks(D, F, c) */
static bool update_coded(Elab *el, const Node *node, Entity *entity)
{
	const Entity *next = elab_entity(el, node->kids[2]);
	if (!next || el->failed)
		return false;
	View old = entity->view;
	if (next->kind != ENTITY_VIEW || next->view.rank != 2 || old.rank != 2) {
		elab_error(el, node->loc, "the stored form of a matrix is a matrix");
		return false;
	}
	entity->view = next->view;
	entity->coded = next->coded;
	for (uint32_t i = 0; i < 2; i++)
		entity->view.formal[i]->name = old.formal[i]->name;
	return true;
}

static bool is_call_of(const Node *node, const char *name)
{
	return node->kind == N_CALL && node->kids[0]->kind == N_NAME && !strcmp(node->kids[0]->name, name);
}

bool elab_update(Elab *el, const Node *node)
{
	const Node *name = node->kids[0]->kind == N_INDEX ? node->kids[0]->kids[0] : node->kids[0];
	Entity *entity = name->kind == N_NAME ? env_find(el, name->name) : NULL;
	if (el->failed)
		return false;
	if (entity && entity->kind == ENTITY_STRUCT)
		return update_struct(el, node, entity);
	if (!entity || entity->kind != ENTITY_VIEW) {
		elab_error(el, node->loc, ":= needs an array that is defined before it");
		return false;
	}
	if (entity->factors) {
		elab_error(el, node->loc, "\"%s\" has become two factors, which were the last word on it", name->name);
		return false;
	}
	const Node *right = node->kids[2];
	bool is_whole = node->kids[0]->kind == N_NAME;
	if (is_whole && is_call_of(right, "factors"))
		return elab_factors(el, node, entity);
	if (is_whole && (is_call_of(right, "encode") || is_call_of(right, "blocks")))
		return update_coded(el, node, entity);
	return update_array(el, node, entity);
}
