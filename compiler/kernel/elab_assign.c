/* SPDX-License-Identifier: MIT
 *
 * elab_assign.c: `=` makes an array over the ambient indices and its own; `:=`
 * makes the next version of one, in place inside `for` and for a region.
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

/* ---- left sides ---- */

typedef struct Left {
	Name name;
	Loc loc;
	KIndex *index[K_MAX_RANK]; /* new indices, in order */
	uint32_t index_count;
	KExpr *subs[K_MAX_RANK]; /* one per subscript as written */
	KExpr *extent[K_MAX_RANK];
	Name names[K_MAX_RANK];
	uint32_t sub_count;
	bool is_whole; /* every subscript is a whole axis */
	Env *target;   /* where a new name belongs */
} Left;

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
static bool left_bind(Elab *el, const Node *node, const Node *right, const View *view, Left *left)
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

static void left_release(Elab *el, uint32_t domain_count)
{
	el->domain_count = domain_count;
	env_pop(el);
}

/* ---- = ---- */

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

/* A buffer over the ambient indices and the left side's axes, seen through the latter. */
static View new_array(Elab *el, const Left *left, Store store, KExpr **dst_subs)
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

/* from's own axes behind those of the left side */
static Left with_own_axes(Elab *el, const Left *left, const View *from, KExpr **own)
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

static View copy_array(Elab *el, const Left *left, const View *from)
{
	uint32_t outer = el->domain_count;
	KExpr *own[K_MAX_RANK], *dst[24];
	Left all = with_own_axes(el, left, from, own);
	View view = el->failed ? (View){0} : new_array(el, &all, from->buffer->store, dst);
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
	entity->stored = new_array(el, left, store, dst);
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
	View view = new_array(el, left, store, dst);
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

/* ---- := ---- */

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
			made->view = new_array(el, &left, old.buffer->store, dst);
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
	Left all = with_own_axes(el, left, from, own);
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

static bool gives_coded(const Node *call)
{
	return call->kind == N_CALL && call->kids[0]->kind == N_NAME &&
		   (!strcmp(call->kids[0]->name, "encode") || !strcmp(call->kids[0]->name, "blocks"));
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
	if (gives_coded(node->kids[2]) && node->kids[0]->kind == N_NAME)
		return update_coded(el, node, entity);
	return update_array(el, node, entity);
}
