/* SPDX-License-Identifier: MIT
 *
 * check_arguments.c: what a pass, recipe, dtype or fn is given, against its
 * parameters: places, types, words that its body knows, axes of arrays. Values that
 * can be evaluated already are held to the parameters' types.
 */
#include "check.h"

/* Words that a body compares a parameter with. */
static void collect_words(const Node *node, Name param, NameVec *to, Arena *arena)
{
	bool is_comparison = node->kind == N_BINARY && (is_word(node->op, "==") || is_word(node->op, "!="));
	for (int i = 0; is_comparison && i < 2; i++)
		if (node->kids[i]->kind == N_NAME && node->kids[i]->name == param && node->kids[1 - i]->kind == N_NAME)
			vec_push(arena, to, node->kids[1 - i]->name);
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i])
			collect_words(node->kids[i], param, to, arena);
}

static void check_word(Checker *ck, const Decl *decl, const Node *param, const Node *given)
{
	NameVec words = {0};
	if (given->kind != N_NAME || symbol_find(ck, given->name))
		return;
	collect_words(decl->node, param->name, &words, ck->c->arena);
	for (size_t i = 0; i < words.count; i++)
		if (words.at[i] == given->name)
			return;
	if (!words.count)
		return;
	Text list = {.arena = ck->c->arena};
	for (size_t i = 0; i < words.count; i++) {
		bool is_new = true;
		for (size_t j = 0; j < i; j++)
			is_new &= words.at[j] != words.at[i];
		if (is_new)
			text_printf(&list, "%s%s", i ? " or " : "", words.at[i]);
	}
	diag_error(ck->c, given->loc, "\"%s\" of %s %s is %s, not %s", param->name, decl_kind_text(decl->kind), decl->name,
		list.at, given->name);
	diag_nearest(ck->c, given->name, &words);
}

static void check_array_argument(Checker *ck, const Node *param, const Node *given)
{
	uint32_t rank = param->kids[0]->kid_count;
	Shape shape = check_expr(ck, given);
	bool is_wrong = shape.kind == SHAPE_SCALAR || shape.kind == SHAPE_RESULTS ||
					(shape.kind == SHAPE_ARRAY && shape.rank >= 0 && shape.rank != (int)rank);
	if (!is_wrong)
		return;
	diag_error(ck->c, given->loc, "\"%s\" needs an array of %u ax%s", param->name, rank, rank == 1 ? "is" : "es");
	diag_note(ck->c, param->loc, "it is declared here");
}

static bool has_call(const Node *node)
{
	bool has = node->kind == N_CALL;
	for (uint32_t i = 0; i < node->kid_count && !has; i++)
		has = node->kids[i] && has_call(node->kids[i]);
	return has;
}

static void check_argument(Checker *ck, const Decl *decl, const Node *param, const Node *given)
{
	size_t errors = diag_errors(ck->c);
	Name type = param->kids[1] ? param->kids[1]->name : NULL;
	if (param->kids[0] && !(type && is_word(type, "tensor"))) { /* a tensor's rank is in its file */
		check_array_argument(ck, param, given);
		return;
	}
	check_typed(ck, given, type);
	if (diag_errors(ck->c) != errors || !type)
		return;
	if (is_word(type, "word"))
		check_word(ck, decl, param, given);
	if (given->kind == N_IF || diag_errors(ck->c) != errors || !expr_is_constant(ck, given))
		return;
	if (!ck->is_constant && has_call(given)) /* a part of a kernel */
		return;
	Value value = value_eval(ck->p, NULL, given);
	if (value.kind != VALUE_ERROR)
		parameter_check(ck->p, decl, param, &value);
}

void check_arguments(Checker *ck, const Decl *decl, const Node *call)
{
	const Node *params = decl_params(decl);
	Node **given = arena_array(ck->c->arena, Node *, params->kid_count + 1);
	arguments_place(ck->p, decl, call, given);
	for (uint32_t i = 0; i < params->kid_count; i++) /* what did find its place is judged all the same */
		if (given[i])
			check_argument(ck, decl, params->kids[i], given[i]);
}
