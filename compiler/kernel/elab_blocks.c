/* SPDX-License-Identifier: MIT
 *
 * elab_blocks.c: `blocks` puts a fit for every block and a code for every element
 * together to what encode would have made: the fields of a coded matrix.
 */
#include "elaborate.h"

#include <string.h>

typedef struct Joiner {
	Elab *el;
	Coded *coded;
	const Node *definition; /* of the value in hand */
} Joiner;

/* F.d[o, g, own..] as a field of the matrix: own axes of rows and blocks take the place of o and g. */
static View field_view(const Joiner *j, const View *from)
{
	Elab *el = j->el;
	const Node *header = j->coded->dtype->decl->node->kids[1], *left = j->definition ? j->definition->kids[0] : NULL;
	KExpr *zero = kexpr_int(el->k, T_I32, 0), *fixed[K_MAX_RANK] = {0};
	KExpr *extent[2] = {j->coded->rows, from->extent[1]};
	View out = *from;
	fixed[0] = j->coded->row ? kexpr_index(el->k, j->coded->row) : zero;
	fixed[1] = j->coded->group ? kexpr_index(el->k, j->coded->group) : zero;
	uint32_t unbounded = 0, level = j->coded->row ? 1 : 0;
	for (uint32_t h = 1; h < header->kid_count; h++) {
		if (axis_is_bounded(header->kids[h]))
			continue;
		uint32_t which = level + unbounded++; /* 0: the row, 1: the block in it */
		for (uint32_t i = 2; left && i < from->rank && which < 2; i++) {
			const Node *axis = left->kind == N_INDEX && i - 1 < left->kid_count ? left->kids[i - 1] : NULL;
			if (!axis || axis->kind != N_NAME || axis->name != axis_name(header->kids[h]))
				continue;
			KIndex *formal = elab_index(el, axis->name, extent[which]);
			fixed[which] = kexpr_index(el->k, formal);
			for (uint32_t d = 0; d < out.buffer->rank; d++)
				out.subs[d] = kexpr_substitute(el->k, out.subs[d], from->formal[i], zero);
			out.formal[i] = formal;
			out.extent[i] = extent[which];
		}
	}
	return view_slice(el, &out, fixed, NULL);
}

static Entity *field_entity(Joiner *j, const Entity *from)
{
	Entity *out = arena_new_of(j->el->c->arena, Entity);
	*out = *from;
	if (from->kind == ENTITY_VIEW) {
		out->view = field_view(j, &from->view);
		if (from->stored.buffer)
			out->stored = field_view(j, &from->stored);
	} else if (from->kind == ENTITY_STRUCT) {
		out->members = arena_new_of(j->el->c->arena, Env);
		for (size_t i = 0; i < from->members->names.count; i++) {
			const Binding *member = &from->members->names.at[i];
			*env_define(j->el, out->members, member->name, member->entity->kind, member->entity->loc) =
				*field_entity(j, member->entity);
		}
	}
	return out;
}

/* Codes c[o, i] in the store of their field. */
static View code_matrix(Elab *el, const View *codes, Store store, Name name, Loc loc)
{
	if (store_equal(codes->buffer->store, store))
		return *codes;
	KIndex *index[2];
	KExpr *own[2];
	for (uint32_t i = 0; i < 2; i++) {
		index[i] = elab_index(el, codes->formal[i]->name, codes->extent[i]);
		own[i] = kexpr_index(el->k, index[i]);
	}
	KBuffer *buffer = kbuffer_new(el->k, BUFFER_TEMP, name, store, 2, codes->extent);
	elab_add_step(el, kstep_map(el->k, buffer, own, index, 2, view_load(el, codes, own)), loc);
	return view_whole(el, buffer);
}

static const View *code_view(Elab *el, const Entity *codes, Name field, Loc loc)
{
	for (size_t i = 0; codes->kind == ENTITY_STRUCT && i < codes->members->names.count; i++)
		if (codes->members->names.at[i].name == field)
			return code_view(el, codes->members->names.at[i].entity, field, loc);
	if (codes->kind == ENTITY_VIEW && codes->view.rank == 2)
		return &codes->view;
	elab_error(el, loc, "blocks needs the codes of all elements of a matrix: c[o, i]");
	return NULL;
}

static void join_codes(Joiner *j, const Entity *codes, Loc loc)
{
	Elab *el = j->el;
	uint32_t at = 0;
	for (const Node *field; !el->failed && (field = dtype_next_field(el, j->coded->dtype, &at));) {
		Name name = field->kids[0]->kids[0]->name;
		Store store = elab_store(el, field->kids[1]);
		const View *codes_of = el->failed ? NULL : code_view(el, codes, name, loc);
		if (!codes_of)
			return;
		View matrix = code_matrix(el, codes_of, store, name, loc), view = j->coded->place;
		view.buffer = matrix.buffer;
		view_subs(el, &matrix, j->coded->place.subs, view.subs);
		Entity *made = env_define(el, j->coded->fields, name, ENTITY_VIEW, field->loc);
		made->view = made->stored = view;
	}
}

/* Is there a fit for every block of the matrix? */
static bool covers(const Elab *el, const Entity *fit, const View *matrix, const DtypeRef *dtype)
{
	int64_t cols;
	if (fit->kind == ENTITY_VIEW)
		return fit->view.rank >= 2 && kexpr_equal(fit->view.extent[0], matrix->extent[0]) &&
			   kexpr_is_const(matrix->extent[1], &cols) &&
			   kexpr_equal(fit->view.extent[1], kexpr_int(el->k, T_I32, cols / dtype_block(el, dtype)));
	for (size_t i = 0; fit->kind == ENTITY_STRUCT && i < fit->members->names.count; i++)
		if (!covers(el, fit->members->names.at[i].entity, matrix, dtype))
			return false;
	return true;
}

Entity *elab_blocks(Elab *el, const Node *call)
{
	const DtypeRef *dtype = elab_dtype_argument(el, call);
	const Entity *fit = dtype ? elab_fit_argument(el, call, dtype) : NULL;
	const Entity *codes = fit ? elab_entity(el, call->kids[3]) : NULL;
	uint32_t at = 0;
	const Node *field = codes ? dtype_next_field(el, dtype, &at) : NULL;
	const View *first = field ? code_view(el, codes, field->kids[0]->kids[0]->name, call->kids[3]->loc) : NULL;
	if (!first) {
		elab_error(el, call->loc, "blocks needs a dtype, its fits and the codes that round gave");
		return NULL;
	}
	if (!covers(el, fit, first, dtype)) {
		elab_error(el, call->kids[2]->loc, "blocks needs a fit for every block: F[o, g < extent(i) // %s.block]",
			dtype->decl->name);
		return NULL;
	}
	Joiner j = {.el = el, .coded = coded_open(el, dtype, first, call->loc)};
	for (size_t i = 0; j.coded && i < fit->members->names.count; i++) {
		const Binding *member = &fit->members->names.at[i];
		j.definition = dtype_definition(dtype, member->name);
		*env_define(el, j.coded->fields, member->name, member->entity->kind, member->entity->loc) =
			*field_entity(&j, member->entity);
	}
	if (!j.coded)
		return NULL;
	join_codes(&j, codes, call->loc);
	coded_close(el, j.coded);
	return el->failed ? NULL : elab_coded(el, j.coded, call->loc);
}
