/* SPDX-License-Identifier: MIT
 *
 * elab_factors.c: `keep` and `factors`. `keep r where c` leaves of every array that
 * has an axis r the elements for which c holds, in order. Where c reads indices and
 * parameters only, the extents are known before anything is read; where it reads data,
 * arrays stay whole, and what is left of r is cut when they are written. `w :=
 * factors(a, b)` is a pass's last word on w: two matrices take its place.
 */
#include "elaborate.h"

#include <string.h>

/* ---- keep ---- */

typedef struct Kept {
	Name axis;
	int64_t extent, count;
	int32_t *at;    /* the places that stay */
	KBuffer *table; /* the same, for kernels; NULL: they are the first ones */
} Kept;

/* The extent of the first array's axis of this name. */
static KExpr *axis_extent(const Entity *entity, Name axis)
{
	KExpr *found = NULL;
	for (uint32_t i = 0; entity->kind == ENTITY_VIEW && i < entity->view.rank && !found; i++)
		if (entity->view.formal[i]->name == axis)
			found = entity->view.extent[i];
	for (size_t i = 0; entity->kind == ENTITY_STRUCT && i < entity->members->names.count && !found; i++)
		found = axis_extent(entity->members->names.at[i].entity, axis);
	return found;
}

static bool find_extent(Elab *el, const Node *axis, int64_t *extent)
{
	KExpr *found = NULL;
	for (size_t i = 0; i < el->env->names.count && !found; i++)
		found = axis_extent(el->env->names.at[i].entity, axis->name);
	if (env_axis(el, axis->name))
		elab_error(el, axis->loc, "\"%s\" is an axis of the tensor itself, whose shape is settled", axis->name);
	else if (!found)
		elab_error(el, axis->loc, "no array above has an axis \"%s\"", axis->name);
	else if (!kexpr_is_const(found, extent))
		elab_need_rows(el, axis->loc);
	return !el->failed;
}

/* is_data: the condition depends on data. */
static bool is_kept(Elab *el, const Node *node, int64_t at, bool *is_data)
{
	KStepVec nowhere = {0}, *out = el->out;
	Env *env = env_push(el);
	env_define(el, env, node->kids[0]->name, ENTITY_VALUE, node->kids[0]->loc)->value =
		value_int(node->kids[0]->loc, at);
	el->out = &nowhere; /* a condition that may be used leaves no steps */
	Term term = elab_expr(el, node->kids[1]);
	el->out = out;
	env_pop(el);
	*is_data = !el->failed && term.expr;
	if (!el->failed && !term.expr && term.value.kind != VALUE_BOOL)
		elab_error(el, node->kids[1]->loc, "keep needs a condition");
	return !el->failed && !term.expr && term.value.is_true;
}

/* The condition for each place of the axis, as an array. */
static bool keep_places(Elab *el, const Node *node, int64_t extent)
{
	Name axis = node->kids[0]->name;
	if (el->places.axis || el->in_loop || el->guard || el->ambient_count) {
		elab_error(el, node->loc, "what is kept by a condition on the weights is one axis of one tensor, said once");
		return false;
	}
	Env *env = env_push(el);
	KIndex *index = elab_index(el, axis, kexpr_int(el->k, T_I32, extent));
	env_define(el, env, axis, ENTITY_INDEX, node->loc)->index = index;
	el->domain[el->domain_count++] = index;
	KExpr *condition = term_expr(el, elab_expr(el, node->kids[1]));
	el->domain_count--;
	env_pop(el);
	if (!el->failed && condition->type != T_BOOL)
		elab_error(el, node->kids[1]->loc, "keep needs a condition");
	if (el->failed)
		return false;
	KExpr *at = kexpr_index(el->k, index);
	KBuffer *mask = elab_temp(el, name_of(el->c, "kept"), store_of_type(T_BOOL), &index, 1);
	elab_add_step(el, kstep_map(el->k, mask, &at, &index, 1, condition), node->loc);
	el->places = (Places){axis, extent, mask};
	return true;
}

static void make_table(Elab *el, Kept *kept)
{
	KExpr *extent = kexpr_int(el->k, T_I32, kept->count);
	if (kept->at[kept->count - 1] == kept->count - 1)
		return;
	kept->table = kbuffer_new(el->k, BUFFER_TABLE, kept->axis, store_of_type(T_I32), 1, &extent);
	kept->table->data = kept->at;
}

static void shorten_view(Elab *el, const Kept *kept, View *view)
{
	int64_t extent;
	for (uint32_t i = 0; view->buffer && i < view->rank; i++) {
		if (view->formal[i]->name != kept->axis || !kexpr_is_const(view->extent[i], &extent) || extent != kept->extent)
			continue;
		KIndex *index = elab_index(el, kept->axis, kexpr_int(el->k, T_I32, kept->count));
		KExpr *place = kexpr_index(el->k, index);
		if (kept->table)
			place = kexpr_load(el->k, kept->table, &place);
		for (uint32_t d = 0; d < view->buffer->rank; d++)
			view->subs[d] = kexpr_substitute(el->k, view->subs[d], view->formal[i], place);
		view->formal[i] = index;
		view->extent[i] = index->hi;
	}
}

static void shorten_entity(Elab *el, const Kept *kept, Entity *entity)
{
	if (entity->kind == ENTITY_VIEW) {
		shorten_view(el, kept, &entity->view);
		shorten_view(el, kept, &entity->stored);
	}
	for (size_t i = 0; entity->kind == ENTITY_STRUCT && i < entity->members->names.count; i++)
		shorten_entity(el, kept, entity->members->names.at[i].entity);
}

bool elab_keep(Elab *el, const Node *node)
{
	Kept kept = {.axis = node->kids[0]->name};
	if (!find_extent(el, node->kids[0], &kept.extent))
		return false;
	kept.at = arena_array(el->c->arena, int32_t, kept.extent + 1);
	bool is_data = false;
	for (int64_t i = 0; i < kept.extent && !el->failed && !is_data; i++)
		if (is_kept(el, node, i, &is_data))
			kept.at[kept.count++] = (int32_t)i;
	if (is_data)
		return keep_places(el, node, kept.extent);
	if (!el->failed && !kept.count)
		elab_error(el, node->loc, "nothing of \"%s\" stays", kept.axis);
	if (el->failed)
		return false;
	make_table(el, &kept);
	for (size_t i = 0; i < el->env->names.count; i++)
		shorten_entity(el, &kept, el->env->names.at[i].entity);
	return true;
}

/* ---- factors ---- */

static bool check_shapes(Elab *el, const Factors *factors, const View *w, Loc loc)
{
	const View *left = &factors->views[0], *right = &factors->views[1];
	if (w->rank == 2 && kexpr_equal(left->extent[0], w->extent[0]) && kexpr_equal(right->extent[1], w->extent[1]) &&
		kexpr_equal(left->extent[1], right->extent[0]))
		return true;
	elab_error(el, loc, "the product of \"%s\" and \"%s\" does not have the shape of what it stands for",
		factors->names[0], factors->names[1]);
	return false;
}

bool elab_factors(Elab *el, const Node *node, Entity *entity)
{
	const Node *call = node->kids[2];
	Factors *factors = arena_new_of(el->c->arena, Factors);
	for (uint32_t i = 0; i < 2 && !el->failed; i++) {
		const Node *name = i + 1 < call->kid_count ? call->kids[i + 1] : call;
		if (name->kind != N_NAME || call->kid_count != 3) {
			elab_error(el, name->loc, "factors takes the names of two matrices: factors(left, right)");
			return false;
		}
		const Entity *factor = elab_array(el, name, 2, "a factor");
		if (!factor)
			return false;
		factors->names[i] = name->name;
		factors->views[i] = factor->view;
	}
	if (!check_shapes(el, factors, &entity->view, call->loc))
		return false;
	factors->loc = call->loc;
	entity->factors = factors;
	entity->coded = NULL;
	return true;
}

View factors_product(Elab *el, const Factors *factors)
{
	const View *left = &factors->views[0], *right = &factors->views[1];
	KExpr *extent[2] = {left->extent[0], right->extent[1]};
	KIndex *o = elab_index(el, left->formal[0]->name, extent[0]),
		   *i = elab_index(el, right->formal[1]->name, extent[1]);
	KIndex *r = elab_index(el, left->formal[1]->name, left->extent[1]), *domain[2] = {o, i};
	KExpr *at_left[2] = {kexpr_index(el->k, o), kexpr_index(el->k, r)};
	KExpr *at_right[2] = {kexpr_index(el->k, r), kexpr_index(el->k, i)};
	KExpr *to[2] = {at_left[0], at_right[1]};
	KExpr *a = kexpr_cast(el->k, T_F32, view_load(el, left, at_left));
	KExpr *b = kexpr_cast(el->k, T_F32, view_load(el, right, at_right));
	KBuffer *buffer = kbuffer_new(el->k, BUFFER_TEMP, name_of(el->c, "product"), store_of_type(T_F32), 2, extent);
	if (el->places.axis && left->formal[1]->name == el->places.axis)
		a = kexpr_select(el->k, kexpr_load(el->k, el->places.mask, &at_right[0]), a, kexpr_real(el->k, T_F32, 0));
	KStep *step = kstep_reduce(el->k, REDUCE_SUM, buffer, to, domain, 2, &r, 1, kexpr_binary(el->k, OP_MUL, a, b));
	step->is_contraction = true;
	elab_add_step(el, step, factors->loc);
	return view_whole(el, buffer);
}
