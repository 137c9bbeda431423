/* SPDX-License-Identifier: MIT
 *
 * select_nothing.c: why a selection takes no tensor, and what is near it: a pattern
 * whose words are none of any name, a role that no tensor here has, layers that are
 * not there, or parts that have no tensor in common. Reports only.
 */
#include "plan.h"

#include <ctype.h>
#include <string.h>

/* ---- patterns ---- */

static bool is_word_character(char at)
{
	return isalnum((unsigned char)at) || at == '_';
}

/* The end of the word that begins at or after *from, which it moves there. */
static const char *next_word(const char **from)
{
	while (**from && !is_word_character(**from))
		++*from;
	const char *end = *from;
	while (is_word_character(*end))
		end++;
	return end;
}

static void name_words(const Plan *plan, NameVec *to)
{
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const char *at = plan->tensors.at[i].file->name;
		for (const char *end = next_word(&at); *at; at = end, end = next_word(&at))
			vec_push(plan->c->arena, to, name_intern(plan->c, at, (size_t)(end - at)));
	}
}

static bool is_among(Name name, const NameVec *names)
{
	for (size_t i = 0; i < names->count; i++)
		if (names->at[i] == name)
			return true;
	return false;
}

/* The pattern, each of its words that no tensor's name has replaced by the nearest that one has. */
static const char *respell(Plan *plan, const char *pattern)
{
	NameVec known = {0};
	Text text = {.arena = plan->c->arena};
	const char *done = pattern, *at = pattern;
	name_words(plan, &known);
	text_printf(&text, "%s", "");
	for (const char *end = next_word(&at); *at; at = end, end = next_word(&at)) {
		Name word = name_intern(plan->c, at, (size_t)(end - at));
		Name nearest = is_among(word, &known) ? NULL : name_nearest(word, &known);
		text_append(&text, done, (size_t)(at - done));
		text_printf(&text, "%s", nearest ? nearest : word);
		done = end;
	}
	text_printf(&text, "%s", done);
	return text.at;
}

static bool takes_any(Plan *plan, const Statement *statement, const Node *node)
{
	bool is_rest = false;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		if (selection_is_match(plan, statement_facts(plan, statement, tensor), node, tensor, &is_rest))
			return true;
	}
	return false;
}

/* A pattern has to fit a whole name, and to be spelt as that is. */
static void help_pattern(Plan *plan, const Statement *statement, const Node *pattern)
{
	const char *any = pattern->kind == N_REGEX ? ".*" : "*", *respelt = respell(plan, pattern->text);
	const char *tries[] = {respelt, arena_printf(plan->c->arena, "%s%s%s", any, pattern->text, any),
		arena_printf(plan->c->arena, "%s%s%s", any, respelt, any)};
	for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
		Node *other = node_new(plan->c, pattern->kind, pattern->loc);
		other->text = tries[i];
		if (!takes_any(plan, statement, other))
			continue;
		const char *before = pattern->kind == N_REGEX ? "re" : "";
		if (i)
			diag_help(plan->c, "a pattern has to fit the whole name; did you mean %s\"%s\"?", before, tries[i]);
		else
			diag_help(plan->c, "did you mean %s\"%s\"?", before, tries[i]);
		return;
	}
}

/* ---- what takes nothing ---- */

/* The first part that takes nothing by itself, as it would be said of any tensor; NULL: each takes some. */
static const Node *find_empty(Plan *plan, const Statement *statement, const Node *node)
{
	if (node->kind == N_NAME || node->kind == N_STRING || node->kind == N_REGEX || node->kind == N_LAYERS)
		return takes_any(plan, statement, node) ? NULL : node;
	uint32_t first = node->kind == N_IF, end = node->kind == N_EXCEPT ? 1 : node->kid_count;
	for (uint32_t i = end; i-- > first;) { /* what narrows a recipe is the user's, and stands behind the recipe's own */
		const Node *found = find_empty(plan, statement, node->kids[i]);
		if (found)
			return found;
	}
	return NULL;
}

static void help_role(Plan *plan, Name role)
{
	NameVec here = {0};
	Text list = {.arena = plan->c->arena};
	for (size_t i = 0; i < plan->tensors.count; i++)
		for (size_t k = 0; k < plan->tensors.at[i].roles.count; k++)
			if (!is_among(plan->tensors.at[i].roles.at[k], &here))
				vec_push(plan->c->arena, &here, plan->tensors.at[i].roles.at[k]);
	for (size_t i = 0; i < here.count; i++)
		text_printf(&list, "%s%s", i ? ", " : "", here.at[i]);
	if (here.count)
		diag_help(plan->c, "no tensor has the role %s; roles that there are: %s", role, list.at);
	else
		diag_help(plan->c, "no tensor has a role: no `roles` declaration knows these names");
}

static void help_parts(Plan *plan, const Statement *statement)
{
	if (takes_any(plan, statement, statement->selection)) /* what others took, rest is without */
		diag_help(plan->c, "rest: other statements give every matrix a dtype that it could take");
	else
		diag_help(plan->c, "each of its parts takes some by itself, but none has all that is asked for");
}

void report_nothing_selected(Plan *plan, const Statement *statement)
{
	const Node *empty = find_empty(plan, statement, statement->selection);
	Loc loc = empty && statement->recipe ? empty->loc : statement->selection->loc;
	diag_error(plan->c, loc, "this selection takes no tensor of %s", plan->model_path);
	if (!empty)
		help_parts(plan, statement);
	else if (empty->kind == N_NAME)
		help_role(plan, empty->name);
	else if (empty->kind == N_LAYERS && plan->layers)
		diag_help(plan->c, "there are layers 0 to %lld", (long long)plan->layers - 1);
	else if (empty->kind == N_LAYERS)
		diag_help(plan->c, "no tensor is of a layer: no `roles` declaration knows these names");
	else
		help_pattern(plan, statement, empty);
	if (plan->tensors.count)
		diag_help(
			plan->c, "cmpc inspect %s shows its %zu tensors and their roles", plan->model_path, plan->tensors.count);
}
