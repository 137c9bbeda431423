/* SPDX-License-Identifier: MIT
 *
 * elab_save.c: `save "{name}.sums", e` in the body of a pass: an array, or one number,
 * that leaves the kernel in the place of the matrix. It is computed where it stands, in
 * the type that it has; names are for the plan to fill in, as tensors share kernels.
 */
#include "elaborate.h"

enum { MAX_SAVED = 32 };

/* Arrays are copied as they are seen, whatever stands behind them. False: reported. */
static bool save_array(Elab *el, const View *view, Saved *saved)
{
	KIndex *index[K_MAX_RANK];
	KExpr *own[K_MAX_RANK];
	for (uint32_t i = 0; i < view->rank; i++) {
		int64_t extent;
		if (!kexpr_is_const(view->extent[i], &extent)) {
			elab_error(el, saved->loc, "what is saved has as many elements as the run finds: not supported");
			return false;
		}
		index[i] = elab_index(el, view->formal[i]->name, view->extent[i]);
		own[i] = kexpr_index(el->k, index[i]);
	}
	KExpr *value = view_load(el, view, own);
	if (value->type == T_BOOL)
		value = kexpr_cast(el->k, T_I32, value);
	Store store = store_of_type(value->type);
	saved->buffer = kbuffer_new(el->k, BUFFER_OUTPUT, name_of(el->c, "saved"), store, view->rank, view->extent);
	elab_add_step(el, kstep_map(el->k, saved->buffer, own, index, view->rank, value), saved->loc);
	return true;
}

static bool save_number(Elab *el, const Node *node, Saved *saved)
{
	Term term = elab_expr(el, node);
	if (el->failed)
		return false;
	KExpr *value = term_expr(el, term), *one = kexpr_int(el->k, T_I32, 1), *at = kexpr_int(el->k, T_I32, 0);
	if (value->type == T_BOOL)
		value = kexpr_cast(el->k, T_I32, value);
	saved->buffer = kbuffer_new(el->k, BUFFER_OUTPUT, name_of(el->c, "saved"), store_of_type(value->type), 1, &one);
	elab_add_step(el, kstep_map(el->k, saved->buffer, &at, NULL, 0, value), saved->loc);
	return true;
}

bool elab_save(Elab *el, const Node *node)
{
	Saved saved = {.title = node->text, .link = el->link, .loc = node->loc};
	if (!el->chain || el->family || el->in_loop || el->in_branch || el->guard) {
		elab_error(el, node->loc,
			"`save` stands in the body of a pass on one matrix, outside of loops, and not below a "
			"`when` that reads data");
		return false;
	}
	if (el->is_any_rows) { /* one array for all rows */
		elab_need_rows(el, node->loc);
		return false;
	}
	if (el->saved.count == MAX_SAVED) {
		elab_error(el, node->loc, "the passes on one tensor have more than %d `save` lines", MAX_SAVED);
		return false;
	}
	if (el->chain->values_only)
		return true; /* nothing but the matrix is asked for */
	Entity *entity = elab_entity(el, node->kids[0]);
	if (el->failed)
		return false;
	entity = entity ? entity_single(entity) : NULL;
	bool is_array = entity && entity->kind == ENTITY_VIEW && entity->view.rank > 0;
	if (is_array ? !save_array(el, &entity->view, &saved) : !save_number(el, node->kids[0], &saved))
		return false;
	vec_push(el->c->arena, &el->saved, saved);
	return !el->failed;
}
