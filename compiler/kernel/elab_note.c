/* SPDX-License-Identifier: MIT
 *
 * elab_note.c: `report "damping", e where c` in the body of a pass: one number for
 * the matrix, which the run tells where c holds. It is computed where it stands and
 * leaves the kernel with the others, as its last output; NaN is not told.
 */
#include "elaborate.h"

#include "cmprt.h"

#include <math.h>

/* to[number] = value */
static void add_map(Elab *el, KBuffer *to, int64_t number, KExpr *value, Loc loc)
{
	KExpr *at = kexpr_int(el->k, T_I32, number);
	elab_add_step(el, kstep_map(el->k, to, &at, NULL, 0, value), loc);
}

static KBuffer *new_array(Elab *el, KBufferKind kind, int64_t count)
{
	KExpr *extent = kexpr_int(el->k, T_I32, count);
	return kbuffer_new(el->k, kind, name_of(el->c, "note"), store_of_type(T_F64), 1, &extent);
}

bool elab_note(Elab *el, const Node *node)
{
	if (!el->chain || el->family) {
		elab_error(el, node->loc, "`report` does not stand in a pass on a family");
		return false;
	}
	if (el->is_any_rows) { /* said once, of all rows */
		elab_need_rows(el, node->loc);
		return false;
	}
	if (el->notes.count == CMPRT_NOTES) {
		elab_error(el, node->loc, "the passes on one tensor have more than %d `report` lines", CMPRT_NOTES);
		return false;
	}
	Term told = elab_expr(el, node->kids[0]), condition = {0};
	if (node->kids[1] && !el->failed)
		condition = elab_expr(el, node->kids[1]);
	if (el->failed)
		return false;
	KExpr *value = term_as(el, told, T_F64), *holds = node->kids[1] ? term_expr(el, condition) : NULL;
	if (holds && holds->type != T_BOOL) {
		elab_error(el, node->kids[1]->loc, "what stands behind `where` must be a condition");
		return false;
	}
	if (holds)
		value = kexpr_select(el->k, holds, value, kexpr_real(el->k, T_F64, (double)NAN));
	Note note = {node->text, new_array(el, BUFFER_TEMP, 1)};
	add_map(el, note.buffer, 0, value, node->loc);
	vec_push(el->c->arena, &el->notes, note);
	return !el->failed;
}

void notes_write(Elab *el)
{
	KExpr *first = kexpr_int(el->k, T_I32, 0);
	KBuffer *to = el->notes.count ? new_array(el, BUFFER_OUTPUT, (int64_t)el->notes.count) : NULL;
	for (size_t i = 0; i < el->notes.count; i++)
		add_map(el, to, (int64_t)i, kexpr_load(el->k, el->notes.at[i].buffer, &first), (Loc){0});
}
