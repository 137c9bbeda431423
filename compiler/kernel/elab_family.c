/* SPDX-License-Identifier: MIT
 *
 * elab_family.c: passes on a whole selection at once, `on all w[n][o, i]`, from the
 * place of one member. What stays inside a member is elaborated as for a pass on one
 * tensor. What runs over members is decided before the sweep: a count is known from
 * the headers; a selection by rank is resolved by the runtime (resolve.c), which
 * gives each kernel the last key that is selected and how many elements with that
 * very key still are.
 */
#include "elaborate.h"

#include <math.h>
#include <string.h>

/* ---- the body of one member ---- */

static bool is_reduction_head(const Node *call, uint32_t kid)
{
	return call->kind == N_CALL && kid == 0 && call->kids[0]->kind == N_INDEX && call->kids[0]->kids[0]->kind == N_NAME;
}

const Node *family_member(Compiler *c, const Node *body, Name index)
{
	Node *out = arena_new_of(c->arena, Node);
	*out = *body;
	out->kids = arena_array(c->arena, Node *, body->kid_count + 1);
	out->kid_count = 0;
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *kid = body->kids[i];
		bool is_member = body->kind == N_INDEX && i > 0 && kid->kind == N_NAME && kid->name == index;
		if (!is_member)
			out->kids[out->kid_count++] =
				!kid || is_reduction_head(body, i) ? body->kids[i] : (Node *)family_member(c, kid, index);
	}
	return out->kind == N_INDEX && out->kid_count == 1 && body->kid_count > 1 ? out->kids[0] : out;
}

/* ---- what runs over members ---- */

bool elab_is_over_family(const Elab *el, const Node *axes)
{
	bool is_in_pass = el->family && env_axis(el, el->family_axes.at[0]); /* a fn has names of its own */
	for (uint32_t i = 1; is_in_pass && i < axes->kid_count; i++)
		if (axes->kids[i]->kind == N_NAME && axes->kids[i]->name == el->family_axes.at[0])
			return true;
	return false;
}

bool elab_family_axes(Elab *el, const Node *axes)
{
	if (!elab_is_over_family(el, axes))
		return true;
	bool is_all = axes->kid_count == el->family_axes.count + 1;
	for (uint32_t i = 1; i < axes->kid_count && is_all; i++)
		is_all = axes->kids[i]->kind == N_NAME && axes->kids[i]->name == el->family_axes.at[i - 1];
	Text text = {.arena = el->c->arena};
	for (size_t i = 0; i < el->family_axes.count; i++)
		text_printf(&text, "%s%s", i ? ", " : "", el->family_axes.at[i]);
	if (!is_all)
		elab_error(el, axes->loc, "over the members of a family only all their elements are taken together: %s[%s](..)",
			axes->kids[0]->name, text.at);
	return is_all;
}

Term elab_family_count(Elab *el, const Node *call, const KExpr *value)
{
	Name name = call->kids[0]->kids[0]->name;
	int64_t each = 0;
	bool is_known = kexpr_is_const(value, &each) && value->type < T_F32;
	if (!is_known || (strcmp(name, "count") && strcmp(name, "sum")))
		elab_error(el, call->loc,
			"%s over the members of a family is not supported yet: only count and sum of a constant", name);
	return term_int(call->loc, each * el->family->elements);
}

/* How many are selected: known before anything is read. */
static int64_t limit_of(Elab *el, const Node *node)
{
	Term term = elab_expr(el, node);
	double most = (double)el->family->elements, limit = -1;
	if (el->failed)
		return 0;
	if (!term.expr && value_is_number(&term.value))
		limit = term.value.kind == VALUE_INT ? (double)term.value.integer : ceil(term.value.real);
	else if (term.expr && term.expr->op == OP_CONST)
		limit = term.expr->type < T_F32 ? (double)term.expr->integer : ceil(term.expr->real);
	else
		elab_error(el, node->loc, "how many of a family are selected must be known before anything is read");
	return limit > most ? el->family->elements : limit > 0 ? (int64_t)limit : 0;
}

/* An i32 that sorts like the f32 does: -0 as +0, NaN last. runtime/resolve.c has the same. */
static KExpr *image_of(Elab *el, KExpr *key)
{
	Kernel *k = el->k;
	KExpr *zero = kexpr_real(k, T_F32, 0), *all = kexpr_int(k, T_I32, INT32_MAX);
	KExpr *is_nan = kexpr_unary(k, OP_IS_NAN, key);
	KExpr *plain = kexpr_select(k, kexpr_binary(k, OP_EQ, key, zero), zero, key);
	KExpr *bits = kexpr_store(k, OP_BITS, store_of_type(T_F32), plain);
	KExpr *is_negative = kexpr_binary(k, OP_LT, bits, kexpr_int(k, T_I32, 0));
	KExpr *image = kexpr_select(k, is_negative, kexpr_binary(k, OP_BIT_XOR, bits, all), bits);
	return kexpr_select(k, is_nan, all, image);
}

/* image < t, or image == t and fewer than `until` elements of the panel stand before it in the order of ties */
static KExpr *mask_of(Elab *el, KExpr *key, KIndex *const *own, uint32_t param)
{
	Kernel *k = el->k;
	KExpr *image = image_of(el, key), *threshold = kexpr_cast(k, T_I32, kexpr_param(k, param));
	KExpr *cols = kexpr_cast(k, T_I64, el->bound[own[1]->id]);
	KExpr *row = kexpr_cast(k, T_I64, kexpr_index(k, own[0]));
	KExpr *until = kexpr_binary(k, OP_SUB, kexpr_param(k, param + 1), kexpr_binary(k, OP_MUL, row, cols));
	until = kexpr_binary(k, OP_MIN, kexpr_binary(k, OP_MAX, until, kexpr_int(k, T_I64, 0)), cols);
	KExpr *is_first = kexpr_binary(k, OP_LT, kexpr_index(k, own[1]), kexpr_cast(k, T_I32, until));
	KExpr *is_tie = kexpr_binary(k, OP_AND, kexpr_binary(k, OP_EQ, image, threshold), is_first);
	return kexpr_binary(k, OP_OR, kexpr_binary(k, OP_LT, image, threshold), is_tie);
}

/* The indices of the member's own axes, where the equation in hand is for each of its elements and nothing else. */
static bool own_indices(Elab *el, const Node *axes, KIndex **own)
{
	bool is_element = el->domain_count == 2 && !el->in_loop && !el->guard;
	for (uint32_t i = 0; i < 2 && is_element; i++) {
		Entity *entity = env_find(el, axes->kids[i + 2]->name);
		int64_t lo = -1;
		is_element = entity && entity->kind == ENTITY_INDEX && kexpr_is_const(entity->index->lo, &lo) && lo == 0 &&
					 entity->index->hi == el->bound[entity->index->id];
		own[i] = is_element ? entity->index : NULL;
	}
	if (!is_element)
		elab_error(el, axes->loc, "a selection over a family is made for whole members: w[n][o, i] := ..");
	return is_element;
}

static void write_keys(Elab *el, KExpr *key, KIndex *const *own)
{
	KExpr *extent[2], *subs[2];
	for (int i = 0; i < 2; i++) {
		extent[i] = el->bound[own[i]->id];
		subs[i] = kexpr_index(el->k, own[i]);
	}
	KBuffer *to = kbuffer_new(el->k, BUFFER_OUTPUT, name_of(el->c, "key"), store_of_type(T_F32), 2, extent);
	KStep *step = kstep_map(el->k, to, subs, own, 2, key);
	step->origin = el->origin;
	vec_push(el->c->arena, el->out, step);
	el->has_keys = el->failed = true;
}

Term elab_family_selection(Elab *el, const Node *call, const Node *limit)
{
	Term none = term_int(call->loc, 0);
	FamilySelect select = {.link = el->link, .limit = limit_of(el, limit), .loc = call->loc};
	KIndex *own[2];
	if (el->failed || !own_indices(el, call->kids[0], own))
		return none;
	KExpr *key = term_expr(el, elab_expr(el, call->kids[1]));
	if (el->failed)
		return none;
	if (key->type != T_F32) {
		elab_error(el, call->loc, "a rank over a family orders f32 values: write f32(..)");
		return none;
	}
	vec_push(el->c->arena, &el->selects, select);
	uint32_t param = el->k->param_count;
	el->k->param_count += 2;
	if (el->selects.count != el->keys_of)
		return term_of(mask_of(el, key, own, param));
	write_keys(el, key, own);
	return none;
}
