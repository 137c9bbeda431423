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

const Block *elab_block(const Elab *el, Name axis, const Node *outer, const Node *inner)
{
	const Block *only = NULL;
	int count = 0;
	for (const Env *env = el->env; env; env = env->outer) {
		for (size_t i = 0; i < env->blocks.count; i++) {
			const Block *block = &env->blocks.at[i];
			if (block->axis != axis)
				continue;
			if (outer->name == block->outer && (inner->name == block->inner || inner->kind == N_SLICE))
				return block;
			only = block;
			count++;
		}
	}
	return count == 1 ? only : NULL;
}

/* a..b keeps b - a elements of the axis; *length NULL: it is a plain subscript */
static KExpr *subscript(Elab *el, const Node *sub, KExpr **length)
{
	int64_t count;
	*length = NULL;
	if (sub->kind == N_IN || (sub->kind == N_BINARY && !strcmp(sub->op, "<")))
		sub = sub->kids[0]; /* an index that the left side binds here */
	if (sub->kind != N_RANGE)
		return elab_int(el, sub);
	KExpr *lo = elab_int(el, sub->kids[0]), *hi = elab_int(el, sub->kids[1]);
	if (el->failed)
		return lo;
	if (kexpr_difference(hi, lo, &count))
		*length = kexpr_int(el->k, T_I32, count);
	else if (!hi->uses && !hi->loads && !lo->uses && !lo->loads)
		*length = kexpr_binary(el->k, OP_SUB, hi, lo);
	if (!*length || (kexpr_is_const(*length, &count) && count < 1) || sub->kid_count > 2)
		elab_error(el, sub->loc, "a slice has a length that is known before it is read, such as a..a + n, and no step");
	return lo;
}

static bool report_rank(Elab *el, const Node *index, uint32_t given, uint32_t rank)
{
	elab_error(el, index->loc, "%u subscript%s where the array has %u ax%s", given, given == 1 ? "" : "s", rank,
		rank == 1 ? "is" : "es");
	return false;
}

static const KExpr *without_cast(const KExpr *e)
{
	return e->op == OP_CAST ? e->args[0] : e;
}

/* Is it one for all values of the indices? false: it may be none, or that is not known. */
static bool is_inside(const KExpr *sub, const KExpr *extent)
{
	int64_t count, lo, hi;
	if (expr_range(sub, &lo, &hi) && kexpr_is_const(extent, &count))
		return lo >= 0 && hi < count;
	const KExpr *e = without_cast(sub);
	return e->op == OP_INDEX && kexpr_is_const(e->index->lo, &lo) && lo >= 0 &&
		   kexpr_equal(without_cast(e->index->hi), without_cast(extent));
}

/* A subscript that depends on data is kept inside its axis; where an `if` chooses, one that leaves it: both of what it
 * chooses from are computed. In a network, whose samples have a length of their own, so is what may leave it. */
static KExpr *in_range(Elab *el, KExpr *sub, const KExpr *length, KExpr *extent)
{
	int64_t count, lo, hi;
	bool is_const = kexpr_is_const(extent, &count), is_kept = sub->loads && is_const;
	if (el->net)
		is_kept =
			!is_inside(sub, extent) && (sub->loads || el->in_choice || !expr_linear_range(sub, &lo, &hi) || !is_const);
	else if (el->in_choice && is_const && expr_linear_range(sub, &lo, &hi))
		is_kept = lo < 0 || hi >= count;
	if (!is_kept || (length && !sub->loads))
		return sub;
	KExpr *low = kexpr_binary(el->k, OP_MAX, sub, kexpr_int(el->k, sub->type, 0));
	KExpr *last = kexpr_binary(el->k, OP_SUB, kexpr_cast(el->k, sub->type, extent), kexpr_int(el->k, sub->type, 1));
	return kexpr_binary(el->k, OP_MIN, low, last);
}

/* A subscript that does not depend on data must be inside its axis. */
static void check_range(Elab *el, KExpr *sub, const KExpr *length, const KExpr *extent, Loc loc)
{
	int64_t count, lo, hi, more = 1;
	if (el->failed || el->may_pass_end || el->in_branch || !kexpr_is_const(extent, &count) ||
		(length && !kexpr_is_const(length, &more)) || !expr_linear_range(sub, &lo, &hi))
		return;
	hi += more - 1;
	if (lo < 0)
		elab_error(el, loc, "the subscript begins at %lld, the axis at 0", (long long)lo);
	else if (hi >= count)
		elab_error(el, loc, "the subscript runs to %lld, the axis to %lld", (long long)hi, (long long)count - 1);
}

/* w[o, g, k] of a blocked axis; k may be a part of the block, or all of it. */
static KExpr *block_subscript(Elab *el, const Block *block, const Node *outer, const Node *inner, KExpr **length)
{
	if (outer->kind == N_SLICE || outer->kind == N_RANGE)
		elab_error(el, outer->loc, "of a block only the inner axis can be handed on: [%s, :]", block->outer);
	KExpr *scaled = el->failed ? NULL : kexpr_binary(el->k, OP_MUL, elab_int(el, outer), block->size);
	*length = inner->kind == N_SLICE ? block->size : NULL;
	if (*length || el->failed)
		return scaled;
	return kexpr_binary(el->k, OP_ADD, scaled, subscript(el, inner, length));
}

bool elab_subscripts(Elab *el, const Node *index, const View *view, KExpr **out, KExpr **length)
{
	uint32_t given = index->kid_count - 1, extra = given > view->rank ? given - view->rank : 0;
	uint32_t at = 1;
	for (uint32_t d = 0; d < view->rank; d++) {
		KExpr *count = NULL;
		if (at >= index->kid_count)
			return report_rank(el, index, given, view->rank);
		const Node *sub = index->kids[at++];
		const Block *block =
			extra ? elab_block(el, view->formal[d]->name, sub, index->kids[at < index->kid_count ? at : at - 1]) : NULL;
		if (block && at < index->kid_count) {
			out[d] = block_subscript(el, block, sub, index->kids[at++], &count);
			check_range(el, out[d], count, view->extent[d], index->loc);
			extra--;
		} else if (sub->kind == N_SLICE || sub->kind == N_STAR) {
			out[d] = NULL;
		} else {
			out[d] = subscript(el, sub, &count);
			if (!el->failed)
				out[d] = in_range(el, out[d], count, view->extent[d]);
			check_range(el, out[d], count, view->extent[d], sub->loc);
		}
		if (length)
			length[d] = count;
		else if (count)
			elab_error(el, sub->loc, "a slice cannot stand here");
		if (el->failed)
			return false;
	}
	return at == index->kid_count || report_rank(el, index, given, view->rank);
}

/* Every array in the entity with its first axes fixed as the subscripts say. */
static Entity *slice_entity(Elab *el, const Node *index, const Entity *base, bool is_member)
{
	Entity *out = arena_new_of(el->c->arena, Entity);
	KExpr *subs[K_MAX_RANK], *length[K_MAX_RANK];
	uint32_t given = index->kid_count - 1;
	*out = *base;
	switch (base->kind) {
	case ENTITY_STRUCT:
		out->members = arena_new_of(el->c->arena, Env);
		for (size_t i = 0; i < base->members->names.count && !el->failed; i++) {
			const Binding *member = &base->members->names.at[i];
			const Entity *from = member->entity;
			Entity *sliced = slice_entity(el, index, from, true);
			if (sliced)
				*env_define(el, out->members, member->name, from->kind, index->loc) = *sliced;
		}
		return el->failed ? NULL : out;
	case ENTITY_VIEW: {
		View head = base->view;
		if (is_member && given <= head.rank)
			head.rank = given; /* the result's own axes stay */
		if (!elab_subscripts(el, index, &head, subs, length))
			return NULL;
		for (uint32_t d = head.rank; d < base->view.rank; d++)
			subs[d] = length[d] = NULL;
		out->view = view_slice(el, &base->view, subs, length);
		if (base->stored.buffer)
			out->stored = view_slice(el, &base->stored, subs, length);
		return out;
	}
	default:
		return out; /* the same for all */
	}
}

/* ---- calls that give arrays ---- */

static const struct {
	const char *name;
	uint32_t least, most; /* arguments */
	Entity *(*run)(Elab *el, const Node *call);
} array_functions[] = {
	{"svd", 1, 1, elab_factorization},
	{"qr", 1, 1, elab_factorization},
	{"inverse", 1, 1, elab_factorization},
	{"cholesky", 1, 2, elab_factorization},
	{"transpose", 1, 1, elab_transpose},
	{"input", 1, 1, elab_input},
	{"original", 1, 1, elab_original},
	{"encode", 2, UINT32_MAX, elab_encode},
	{"decode", 1, 1, elab_decode},
	{"fit", 2, 2, elab_fit},
	{"round", 4, 4, elab_round},
	{"value", 4, 4, elab_value},
	{"blocks", 3, 3, elab_blocks},
};

static Entity *call_entity(Elab *el, const Node *node)
{
	Name name = node_path(el->c, node->kids[0]);
	const Decl *fn = name ? program_find(el->p, DECL_FN, name) : NULL;
	if (fn)
		return fn->node->kids[2]->kind == N_BODY ? elab_call(el, node, fn) : NULL;
	uint32_t given = node->kid_count - 1;
	for (size_t i = 0; name && i < sizeof array_functions / sizeof *array_functions; i++)
		if (!strcmp(name, array_functions[i].name) && given >= array_functions[i].least &&
			given <= array_functions[i].most)
			return array_functions[i].run(el, node);
	return NULL;
}

Entity *entity_single(Entity *entity)
{
	while (entity->kind == ENTITY_STRUCT && !entity->coded && entity->members->names.count == 1)
		entity = entity->members->names.at[0].entity;
	return entity;
}

Entity *elab_array(Elab *el, const Node *node, uint32_t rank, const char *what)
{
	Entity *entity = elab_entity(el, node);
	if (el->failed)
		return NULL;
	entity = entity ? entity_single(entity) : NULL;
	if (entity && entity->kind == ENTITY_VIEW && entity->view.rank == rank)
		return entity;
	if (entity && entity->kind == ENTITY_VIEW)
		elab_error(el, node->loc, "%s has %u axes, this has %u", what, rank, entity->view.rank);
	else
		elab_error(el, node->loc, "%s must be an array of %u ax%s", what, rank, rank == 1 ? "is" : "es");
	return NULL;
}

/* is_family: a[s] of a[s][r, n], which may leave axes to the subscripts behind it */
static Entity *indexed_entity(Elab *el, const Node *node, bool is_family)
{
	Entity *base = elab_indexed(el, node);
	if (!base || el->failed || (base->kind != ENTITY_VIEW && base->kind != ENTITY_STRUCT))
		return NULL;
	return slice_entity(el, node, base, is_family);
}

Entity *elab_indexed(Elab *el, const Node *index)
{
	const Node *array = index->kids[0];
	return array->kind == N_INDEX ? indexed_entity(el, array, true) : elab_entity(el, array);
}

Entity *elab_entity(Elab *el, const Node *node)
{
	Entity *base;
	switch (node->kind) {
	case N_NAME:
		return name_entity(el, node);
	case N_INDEX:
		return indexed_entity(el, node, false);
	case N_FIELD:
		base = elab_entity(el, node->kids[0]);
		if (!base || el->failed || base->kind != ENTITY_STRUCT)
			return NULL;
		if (base->coded) {
			elab_error(el, node->loc, "what a fit found is not seen from outside: use round, value or blocks");
			return NULL;
		}
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
