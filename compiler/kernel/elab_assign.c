/* SPDX-License-Identifier: MIT
 *
 * elab_assign.c: `=` makes an array over the ambient indices and its own; a struct
 * or an array that a call gave is only seen through the left side's indices.
 */
#include "elaborate.h"

#include <string.h>

KBuffer *elab_temp(Elab *el, Name name, Store store, KIndex *const *indices, uint32_t count)
{
	KExpr *extent[24];
	for (uint32_t i = 0; i < count; i++)
		extent[i] = el->bound[indices[i]->id];
	if (count > K_MAX_RANK) {
		elab_error(el, (Loc){0}, "\"%s\" would need more than %d axes", name, K_MAX_RANK);
		count = K_MAX_RANK;
	}
	return kbuffer_new(el->k, BUFFER_TEMP, name, store, count, extent);
}

void elab_add_step(Elab *el, KStep *step, Loc loc)
{
	step->loc = loc;
	step->origin = el->origin;
	vec_push(el->c->arena, el->out, step);
}

/* Is `name` given a next value anywhere in these statements? */
static bool is_updated(const Node *body, Name name)
{
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *node = body->kids[i];
		if (node->kind == N_UPDATE) {
			const Node *left = node->kids[0]->kind == N_INDEX ? node->kids[0]->kids[0] : node->kids[0];
			if (left->kind == N_NAME && left->name == name)
				return true;
		} else if ((node->kind == N_FOR || node->kind == N_WHEN) && is_updated(node->kids[1], name)) {
			return true;
		}
	}
	return false;
}

static bool is_updated_in_scope(const Elab *el, Name name)
{
	for (const Env *env = el->env; env; env = env->outer)
		if (env->body)
			return is_updated(env->body, name);
	return false;
}

static Entity *abstract_entity(Elab *el, const Entity *entity, const Left *left)
{
	Entity *out = arena_new_of(el->c->arena, Entity);
	*out = *entity;
	if (entity->kind == ENTITY_VIEW) {
		for (uint32_t i = left->index_count; i-- > 0;) {
			out->view = view_abstract(el, &out->view, left->index[i]);
			if (out->stored.buffer)
				out->stored = view_abstract(el, &out->stored, left->index[i]);
		}
	} else if (entity->kind == ENTITY_STRUCT) {
		out->members = arena_new_of(el->c->arena, Env);
		for (size_t i = 0; i < entity->members->names.count; i++) {
			const Binding *member = &entity->members->names.at[i];
			Entity *inner = abstract_entity(el, member->entity, left);
			*env_define(el, out->members, member->name, inner->kind, inner->loc) = *inner;
		}
	}
	return out;
}

static View copy_array(Elab *el, const Left *left, const View *from)
{
	uint32_t outer = el->domain_count;
	KExpr *own[K_MAX_RANK], *dst[24];
	Left all = left_with_axes(el, left, from, own);
	View view = el->failed ? (View){0} : left_array(el, &all, from->buffer->store, dst);
	if (!el->failed)
		elab_add_step(
			el, kstep_map(el->k, view.buffer, dst, el->domain, el->domain_count, view_load(el, from, own)), left->loc);
	el->domain_count = outer;
	return view;
}

/* Arrays in which the left side's subscripts are a place: what another turn of a loop makes stands beside it. */
static Entity *copy_entity(Elab *el, const Entity *entity, const Left *left)
{
	Entity *out = arena_new_of(el->c->arena, Entity);
	*out = *entity;
	if (entity->kind == ENTITY_VIEW) {
		out->view = copy_array(el, left, &entity->view);
		if (entity->stored.buffer)
			out->stored = copy_array(el, left, &entity->stored);
	} else if (entity->kind == ENTITY_STRUCT) {
		out->members = arena_new_of(el->c->arena, Env);
		for (size_t i = 0; i < entity->members->names.count && !el->failed; i++) {
			const Binding *member = &entity->members->names.at[i];
			Entity *inner = copy_entity(el, member->entity, left);
			*env_define(el, out->members, member->name, inner->kind, inner->loc) = *inner;
		}
	}
	return out;
}

static bool define_entity(Elab *el, const Left *left, const Entity *entity)
{
	bool is_abstract = left->sub_count == left->index_count; /* true for all of the left side's places at once */
	Entity *inner = is_abstract ? abstract_entity(el, entity, left) : copy_entity(el, entity, left);
	*env_define(el, left->target, left->name, inner->kind, left->loc) = *inner;
	return true;
}

static bool define_field(Elab *el, const Left *left, const Node *type, Entity *entity)
{
	Store store = elab_store(el, type);
	KExpr *dst[24], *own[K_MAX_RANK];
	if (store.kind == STORE_NONE)
		return false;
	entity->stored = left_array(el, left, store, dst);
	if (el->failed)
		return false;
	memcpy(own, left->subs, sizeof own);
	KExpr *value = view_load(el, &entity->view, own);
	elab_add_step(el, kstep_map(el->k, entity->stored.buffer, dst, el->domain, el->domain_count, value), left->loc);
	return true;
}

/* Can a name stand for e without an array? Bounds and conditions made from loop indices must. */
static bool is_plain_number(const Elab *el, const Left *left, const Node *node, const KExpr *e)
{
	return !left->sub_count && !node->kids[1] && e->type < T_F32 && elab_is_uniform(el, e) &&
		   !is_updated_in_scope(el, left->name);
}

static void define_array(Elab *el, const Left *left, const Node *type, Store store, KExpr *value, Loc loc)
{
	KExpr *dst[24];
	View view = left_array(el, left, store, dst);
	if (el->failed)
		return;
	elab_add_step(el, kstep_map(el->k, view.buffer, dst, el->domain, el->domain_count, value), loc);
	Entity *made = env_define(el, left->target, left->name, ENTITY_VIEW, left->loc);
	made->view = view;
	if (type)
		define_field(el, left, type, made);
}

/* A number, one for each of the left side's indices. `from`: what it is the value of, or NULL */
static void define_number(Elab *el, const Left *left, const Node *node, const Entity *from)
{
	Term term = from ? elab_load(el, node->kids[2], from, false) : elab_expr(el, node->kids[2]);
	if (el->failed)
		return;
	bool is_value = !term.expr && !left->sub_count && !node->kids[1];
	if (is_value && !is_updated_in_scope(el, left->name)) {
		env_define(el, left->target, left->name, ENTITY_VALUE, left->loc)->value = term.value;
		return;
	}
	if (term.expr && !from && is_plain_number(el, left, node, term.expr)) {
		env_define(el, left->target, left->name, ENTITY_EXPR, left->loc)->expr = term.expr;
		return;
	}
	KExpr *value = term.expr ? term.expr : term_as(el, term, term.value.kind == VALUE_BOOL ? T_BOOL : T_F32);
	bool is_array = from && from->kind == ENTITY_VIEW;
	Store store = is_array ? from->view.buffer->store : store_of_type(value->type);
	if (!el->failed)
		define_array(el, left, node->kids[1], store, value, node->loc);
}

static bool define_one(Elab *el, const Node *node)
{
	uint32_t outer = el->domain_count;
	const Node *right = node->kids[2];
	Left left;
	bool ok = left_bind(el, node->kids[0], right, NULL, &left);
	bool is_call = ok && right->kind == N_CALL && !elab_is_reduction(el, right);
	Entity *entity = is_call ? elab_entity(el, right) : NULL;
	if (entity)
		entity = entity_single(entity);
	bool is_number = !entity || entity->kind == ENTITY_EXPR || (entity->kind == ENTITY_VIEW && entity->view.rank == 0);
	if (!el->failed && is_number)
		define_number(el, &left, node, entity);
	else if (!el->failed && node->kids[1])
		elab_error(el, node->kids[1]->loc, "only a number can have a storage type, not an array");
	else if (!el->failed)
		define_entity(el, &left, entity);
	left_release(el, outer);
	return !el->failed;
}

/* (a, b) = f(..) */
static bool define_tuple(Elab *el, const Node *node)
{
	const Node *tuple = node->kids[0];
	Left left;
	uint32_t outer = el->domain_count;
	bool ok = left_bind(el, tuple->kids[0], node->kids[2], NULL, &left);
	Entity *entity = ok ? elab_entity(el, node->kids[2]) : NULL;
	if (ok && (!entity || entity->kind != ENTITY_STRUCT || entity->members->names.count < tuple->kid_count))
		elab_error(el, node->loc, "the right side does not give %u results", tuple->kid_count);
	for (uint32_t i = 0; i < tuple->kid_count && !el->failed; i++) {
		const Node *name = tuple->kids[i]->kind == N_INDEX ? tuple->kids[i]->kids[0] : tuple->kids[i];
		left.name = name->name;
		left.loc = name->loc;
		define_entity(el, &left, entity->members->names.at[i].entity);
	}
	left_release(el, outer);
	return !el->failed;
}

bool elab_define(Elab *el, const Node *node)
{
	return node->kids[0]->kind == N_TUPLE ? define_tuple(el, node) : define_one(el, node);
}
