/* SPDX-License-Identifier: MIT
 *
 * elab_body.c: statements that hold others. `for` becomes a loop step, `when` a
 * branch, unless its condition has a value for each row or block: those may run
 * side by side, so every `:=` under it becomes a select.
 */
#include "elaborate.h"

#include <string.h>

/* ---- for, when, block ---- */

static bool loop(Elab *el, const Node *node)
{
	const Node *range = node->kids[0];
	if (range->kind != N_RANGE) {
		elab_error(el, range->loc, "for needs a range such as 0..n");
		return false;
	}
	KExpr *lo = elab_int(el, range->kids[0]), *hi = elab_int(el, range->kids[1]);
	int64_t step = 1;
	if (range->kid_count == 3 && (!kexpr_is_const(elab_int(el, range->kids[2]), &step) || step < 1))
		elab_error(el, range->kids[2]->loc, "a step must be a positive constant");
	if (el->failed)
		return false;
	Env *env = env_push(el);
	KIndex *index = elab_index_range(el, node->name, lo, hi, elab_extent(el, hi, range->loc));
	index->step = step;
	env_define(el, env, node->name, ENTITY_INDEX, node->loc)->index = index;
	KStep *made = kstep_loop(el->k, index, LOOP_SEQUENTIAL, 0);
	KStepVec *out = el->out;
	bool in_loop = el->in_loop;
	el->out = &made->body;
	el->in_loop = true;
	elab_body(el, node->kids[1]);
	el->in_loop = in_loop;
	el->out = out;
	env_pop(el);
	elab_add_step(el, made, node->loc);
	return !el->failed;
}

static bool when_data(Elab *el, const Node *node, KExpr *condition)
{
	KExpr *saved = el->guard, *subs[24];
	if (saved)
		condition = kexpr_binary(el->k, OP_AND, saved, condition);
	KBuffer *buffer = elab_temp(el, name_of(el->c, "when"), store_of_type(T_BOOL), el->domain, el->domain_count);
	for (uint32_t i = 0; i < el->domain_count; i++)
		subs[i] = kexpr_index(el->k, el->domain[i]);
	elab_add_step(el, kstep_map(el->k, buffer, subs, el->domain, el->domain_count, condition), node->loc);
	el->guard = kexpr_load(el->k, buffer, subs);
	env_push(el);
	elab_body(el, node->kids[1]);
	env_pop(el);
	el->guard = saved;
	return !el->failed;
}

static bool when(Elab *el, const Node *node)
{
	Term term = elab_expr(el, node->kids[0]);
	if (el->failed)
		return false;
	KExpr *condition = term_expr(el, term);
	if (condition->type != T_BOOL) {
		elab_error(el, node->kids[0]->loc, "when needs a condition");
		return false;
	}
	int64_t is_true;
	if (kexpr_is_const(condition, &is_true)) /* decided now: its names belong to the body around it */
		return !is_true || elab_body(el, node->kids[1]);
	bool is_one = !el->domain_count && !el->guard && !el->is_any_rows;
	if (!elab_is_uniform(el, condition) && !is_one)
		return when_data(el, node, condition);
	KStep *branch = kstep_loop(el->k, NULL, LOOP_SEQUENTIAL, 0);
	branch->kind = STEP_IF;
	branch->value = condition;
	KStepVec *out = el->out;
	bool in_loop = el->in_loop, in_branch = el->in_branch;
	el->out = &branch->body;
	el->in_loop = el->in_branch = true;
	env_push(el);
	elab_body(el, node->kids[1]);
	env_pop(el);
	el->in_loop = in_loop;
	el->in_branch = in_branch;
	el->out = out;
	elab_add_step(el, branch, node->loc);
	return !el->failed;
}

/* block i = g*m + k */
static bool block(Elab *el, const Node *node)
{
	const Node *e = node->kids[1], *product = e->kid_count ? e->kids[0] : NULL;
	const Axis *axis = node->kids[0]->kind == N_NAME ? env_axis(el, node->kids[0]->name) : NULL;
	bool is_block = e->kind == N_BINARY && !strcmp(e->op, "+") && product->kind == N_BINARY &&
					!strcmp(product->op, "*") && product->kids[0]->kind == N_NAME && e->kids[1]->kind == N_NAME;
	if (!is_block || !axis) {
		elab_error(el, node->loc, "a block is written `block i = g*m + k`, i an axis in scope");
		return false;
	}
	KExpr *size = elab_int(el, product->kids[1]);
	int64_t m, extent;
	if (el->failed)
		return false;
	if (!kexpr_is_const(size, &m) || !kexpr_is_const(axis->extent, &extent) || m < 1) {
		elab_error(el, product->kids[1]->loc, "the length of a block must be a positive constant");
		return false;
	}
	if (extent % m) {
		elab_error(el, node->loc, "axis \"%s\" has %lld elements, which blocks of %lld do not divide", axis->name,
			(long long)extent, (long long)m);
		return false;
	}
	Block made = {axis->name, product->kids[0]->name, e->kids[1]->name, size};
	Loc loc = node->loc;
	vec_push(el->c->arena, &el->env->blocks, made);
	env_add_axis(el, made.outer, kexpr_int(el->k, T_I32, extent / m), loc);
	env_add_axis(el, made.inner, size, loc);
	return true;
}

bool elab_statement(Elab *el, const Node *node)
{
	switch (node->kind) {
	case N_DEFINE:
		return elab_define(el, node);
	case N_UPDATE:
		return elab_update(el, node);
	case N_FOR:
		return loop(el, node);
	case N_WHEN:
		return when(el, node);
	case N_BLOCK:
		return block(el, node);
	case N_KEEP:
		return elab_keep(el, node);
	case N_FOLD:
		return elab_fold(el, node);
	case N_NOTE:
		return elab_note(el, node);
	case N_ENTRY:
		return elab_save(el, node);
	case N_REQUIRE:
		return true; /* held when the arguments were bound */
	default:
		elab_error(el, node->loc, "`%s` has no meaning here", node_kind_text(node->kind));
		return false;
	}
}

bool elab_body(Elab *el, const Node *body)
{
	Env *env = el->env;
	const Node *outer_body = env->body;
	uint8_t *outer_state = env->state;
	env->out = el->out;
	env->body = body;
	env->state = arena_array(el->c->arena, uint8_t, body->kid_count + 1);
	for (uint32_t i = 0; i < body->kid_count && !el->failed; i++) {
		if (env->state[i])
			continue;
		env->state[i] = 1;
		elab_statement(el, body->kids[i]);
		env->state[i] = 2;
	}
	if (outer_body) {
		env->body = outer_body;
		env->state = outer_state;
	}
	return !el->failed;
}
