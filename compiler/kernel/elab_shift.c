/* SPDX-License-Identifier: MIT
 *
 * elab_shift.c: what a pass on a matrix does to the bias beside it. original(w) is the
 * matrix as the checkpoint has it; `fold e[o] into w.bias` is added to what the net
 * adds to the products with w. The matrix's kernel leaves e as an output of its own,
 * which the bias is given when its turn comes. The matrix stays what it is.
 */
#include "elaborate.h"

Entity *elab_original(Elab *el, const Node *call)
{
	const Node *subject = call->kids[1];
	if (!el->original || subject->kind != N_NAME || subject->name != el->subject) {
		elab_error(el, subject->loc, "original(..) takes the subject of a pass on one matrix");
		return NULL;
	}
	Entity *entity = arena_new_of(el->c->arena, Entity);
	*entity = (Entity){.kind = ENTITY_VIEW, .loc = call->loc, .view = view_whole(el, el->original->buffer)};
	return entity;
}

bool elab_shift(Elab *el, const Node *node)
{
	const Node *of = node->kids[1]->kids[0];
	Entity *entity = env_find(el, el->subject);
	if (!el->chain || el->family || el->in_loop || el->in_branch || el->guard || of->name != el->subject) {
		elab_error(el, node->loc,
			"`fold` into a bias stands in the body of a pass on one matrix, outside of loops, and takes that matrix");
		return false;
	}
	if (el->is_any_rows) { /* the bias is one for all rows */
		elab_need_rows(el, node->loc);
		return false;
	}
	if (el->shift) {
		elab_error(el, node->loc, "a second `fold` goes into the bias of this matrix");
		return false;
	}
	el->shift = fold_array(el, node, &entity->view, 0, BUFFER_TEMP);
	return el->shift != NULL;
}

void shift_open(Elab *el, ChainKernel *out)
{
	out->shift = el->shift;
	if (!el->shift)
		return;
	el->shift->kind = BUFFER_OUTPUT;
	vec_push(el->c->arena, &el->k->outputs, el->shift);
}
