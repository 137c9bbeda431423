/* SPDX-License-Identifier: MIT
 *
 * elab_entity.c: what names, fields and slices in equations stand for, short of a
 * number: arrays as views, structs, calls that give one of these. Nothing is
 * copied; a number is read from an entity by elab_load.
 */
#include "elaborate.h"

#include <string.h>

/* ---- arrays and structs ---- */

/* let nf4 = [...]: constant data */
static Entity *list_entity(Elab *el, const Node *node, const Value *list)
{
	bool is_int = true;
	for (size_t i = 0; i < list->count; i++) {
		if (!value_is_number(&list->items[i])) {
			elab_error(el, node->loc, "\"%s\" is a list that holds more than numbers", node->name);
			return NULL;
		}
		is_int &= list->items[i].kind == VALUE_INT;
	}
	KExpr *extent = kexpr_int(el->k, T_I32, (int64_t)list->count);
	Store store = store_of_type(is_int ? T_I32 : T_F32);
	KBuffer *buffer = kbuffer_new(el->k, BUFFER_TABLE, node->name, store, 1, &extent);
	int32_t *ints = arena_array(el->c->arena, int32_t, list->count);
	float *reals = (float *)ints;
	for (size_t i = 0; i < list->count; i++) {
		if (is_int)
			ints[i] = (int32_t)list->items[i].integer;
		else
			reals[i] = (float)list->items[i].real;
	}
	buffer->data = ints;
	Env *global = el->env;
	while (global->outer)
		global = global->outer;
	Entity *entity = env_define(el, global, node->name, ENTITY_VIEW, node->loc);
	entity->view = view_whole(el, buffer);
	return entity;
}

static Entity *name_entity(Elab *el, const Node *node)
{
	Entity *entity = env_find(el, node->name);
	if (entity && entity->kind == ENTITY_VALUE && entity->value.kind == VALUE_LIST)
		return list_entity(el, node, &entity->value);
	if (entity || el->failed)
		return entity;
	if (!program_find(el->p, DECL_LET, node->name))
		return NULL;
	Value value = value_eval(el->p, el->scope, node);
	el->failed |= value.kind == VALUE_ERROR;
	return value.kind == VALUE_LIST ? list_entity(el, node, &value) : NULL;
}

/* w[o, g, k] of a w[o, i] with `block i = g*m + k` */
static const Block *block_of(const Elab *el, Name axis, const Node *outer, const Node *inner)
{
	const Block *only = NULL;
	int count = 0;
	for (const Env *env = el->env; env; env = env->outer) {
		for (size_t i = 0; i < env->blocks.count; i++) {
			const Block *block = &env->blocks.at[i];
			if (block->axis != axis)
				continue;
			if (outer->name == block->outer && inner->name == block->inner)
				return block;
			only = block;
			count++;
		}
	}
	return count == 1 ? only : NULL;
}

bool elab_subscripts(Elab *el, const Node *index, const View *view, KExpr **out, uint32_t first)
{
	uint32_t given = index->kid_count - first, extra = given > view->rank ? given - view->rank : 0;
	uint32_t at = first;
	for (uint32_t d = 0; d < view->rank; d++) {
		if (at >= index->kid_count) {
			elab_error(
				el, index->loc, "%u subscript%s where the array has %u axes", given, given == 1 ? "" : "s", view->rank);
			return false;
		}
		const Node *sub = index->kids[at++];
		const Block *block =
			extra ? block_of(el, view->formal[d]->name, sub, index->kids[at < index->kid_count ? at : at - 1]) : NULL;
		if (sub->kind == N_SLICE || sub->kind == N_STAR) {
			out[d] = NULL;
		} else if (block && at < index->kid_count) {
			KExpr *scaled = kexpr_binary(el->k, OP_MUL, elab_int(el, sub), block->size);
			out[d] = kexpr_binary(el->k, OP_ADD, scaled, elab_int(el, index->kids[at++]));
			extra--;
		} else {
			out[d] = elab_int(el, sub);
		}
		if (el->failed)
			return false;
	}
	if (at != index->kid_count) {
		elab_error(el, index->loc, "%u subscript%s where the array has %u ax%s", given, given == 1 ? "" : "s",
			view->rank, view->rank == 1 ? "is" : "es");
		return false;
	}
	return true;
}

static Entity *slice_entity(Elab *el, const Node *index, const Entity *base)
{
	Entity *out = arena_new_of(el->c->arena, Entity);
	*out = *base;
	KExpr *subs[K_MAX_RANK];
	if (base->kind == ENTITY_STRUCT) {
		Env *members = arena_new_of(el->c->arena, Env);
		for (size_t i = 0; i < base->members->names.count; i++) {
			const Binding *member = &base->members->names.at[i];
			uint32_t given = index->kid_count - 1, rank = member->entity->view.rank;
			if (member->entity->kind != ENTITY_VIEW || given > rank) {
				elab_error(el, index->loc, "too many subscripts");
				return NULL;
			}
			View head = member->entity->view;
			head.rank = given;
			if (!elab_subscripts(el, index, &head, subs, 1))
				return NULL;
			for (uint32_t d = given; d < rank; d++)
				subs[d] = NULL;
			Entity *sliced = env_define(el, members, member->name, ENTITY_VIEW, index->loc);
			sliced->view = view_slice(el, &member->entity->view, subs);
		}
		out->members = members;
		return out;
	}
	if (!elab_subscripts(el, index, &base->view, subs, 1))
		return NULL;
	out->view = view_slice(el, &base->view, subs);
	if (base->stored.buffer)
		out->stored = view_slice(el, &base->stored, subs);
	return out;
}

static Entity *call_entity(Elab *el, const Node *node)
{
	Name name = node_path(el->c, node->kids[0]);
	const Decl *fn = name ? program_find(el->p, DECL_FN, name) : NULL;
	return fn && fn->node->kids[2]->kind == N_BODY ? elab_call(el, node, fn) : NULL;
}

Entity *elab_entity(Elab *el, const Node *node)
{
	Entity *base;
	switch (node->kind) {
	case N_NAME:
		return name_entity(el, node);
	case N_INDEX:
		base = elab_entity(el, node->kids[0]);
		if (!base || el->failed || (base->kind != ENTITY_VIEW && base->kind != ENTITY_STRUCT))
			return NULL;
		return slice_entity(el, node, base);
	case N_FIELD:
		base = elab_entity(el, node->kids[0]);
		if (!base || el->failed || base->kind != ENTITY_STRUCT)
			return NULL;
		for (size_t i = 0; i < base->members->names.count; i++)
			if (base->members->names.at[i].name == node->name)
				return base->members->names.at[i].entity;
		elab_error(el, node->loc, "there is no result \"%s\"", node->name);
		return NULL;
	case N_CALL:
		return call_entity(el, node);
	default:
		return NULL;
	}
}

Term elab_load(Elab *el, const Node *node, const Entity *entity, bool is_stored)
{
	switch (entity->kind) {
	case ENTITY_VALUE:
		return term_value(entity->value);
	case ENTITY_INDEX:
		return term_of(kexpr_index(el->k, entity->index));
	case ENTITY_EXPR:
		return term_of(entity->expr);
	case ENTITY_STRUCT:
		if (entity->members->names.count == 1)
			return elab_load(el, node, entity->members->names.at[0].entity, is_stored);
		elab_error(el, node->loc, "this has several results: write .name after it");
		return term_int(node->loc, 0);
	case ENTITY_VIEW:
		break;
	}
	const View *view = is_stored ? &entity->stored : &entity->view;
	if (!view->buffer) {
		elab_error(el, node->loc, "stored() needs a field with a storage type");
		return term_int(node->loc, 0);
	}
	if (view->rank) {
		elab_error(el, node->loc, "%u more subscript%s needed here", view->rank, view->rank == 1 ? " is" : "s are");
		return term_int(node->loc, 0);
	}
	return term_of(view_load(el, view, NULL));
}
