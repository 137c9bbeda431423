/* SPDX-License-Identifier: MIT
 *
 * check.c: holds the user's declarations to the rules that need no checkpoint.
 * Each declaration is walked once, in the order of the text, and all that is wrong
 * is reported. stdlib is taken to be right: a test checks it as a program.
 */
#include "check.h"

#include <string.h>

enum { MAX_FN_DEPTH = 32 };

/* ---- fns ---- */

/* Does fn call `target`, through others too? *via is the first of those. */
static bool calls(const Program *p, const Node *node, const Decl *target, const Decl **via, uint32_t depth)
{
	const Decl *fn = NULL;
	if (node->kind == N_CALL && node->kids[0]->kind == N_NAME)
		fn = program_find(p, DECL_FN, node->kids[0]->name);
	if (fn == target && fn)
		return true;
	const Decl *inner;
	if (fn && !fn->is_stdlib && depth > 0 && calls(p, fn->node->kids[2], target, &inner, depth - 1)) {
		*via = fn;
		return true;
	}
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && calls(p, node->kids[i], target, via, depth))
			return true;
	return false;
}

static void check_recursion(Checker *ck, const Decl *decl)
{
	const Decl *via = NULL;
	if (!calls(ck->p, decl->node->kids[2], decl, &via, MAX_FN_DEPTH))
		return;
	if (via)
		diag_error(ck->c, decl->node->loc, "fn %s calls itself through fn %s", decl->name, via->name);
	else
		diag_error(ck->c, decl->node->loc, "fn %s calls itself", decl->name);
	diag_help(ck->c, "functions are inlined; what repeats is a `for`");
}

static void check_results(Checker *ck, const Decl *decl)
{
	const Node *results = decl->node->kids[1];
	if (!results || !results->kid_count) {
		diag_error(ck->c, decl->node->loc, "fn %s has no result", decl->name);
		diag_help(ck->c, "name what it gives: fn %s(..) -> y { y = .. }", decl->name);
		return;
	}
	for (uint32_t i = 0; i < results->kid_count; i++) {
		const Node *name = node_array(results->kids[i]);
		for (uint32_t k = 0; k < i; k++)
			if (node_array(results->kids[k])->name == name->name)
				diag_error(ck->c, name->loc, "result \"%s\" is named twice", name->name);
		if (!symbol_find(ck, name->name))
			diag_error(ck->c, name->loc, "fn %s does not define its result \"%s\"", decl->name, name->name);
	}
}

static void check_fn(Checker *ck, const Decl *decl)
{
	const Node *body = decl->node->kids[2];
	check_params(ck, decl);
	check_recursion(ck, decl);
	if (body->kind != N_BODY) {
		ck->has_facts = true; /* in an argument it may speak of the tensor in hand */
		check_scalar(ck, body);
		return;
	}
	frame_push(ck);
	check_equations(ck, body);
	check_results(ck, decl);
	frame_pop(ck);
}

/* ---- passes ---- */

static void add_member(Checker *ck, const Node *member)
{
	const Node *name = node_array(member);
	const Symbol *other = symbol_find(ck, name->name);
	if (other) {
		diag_error(
			ck->c, member->loc, "\"%s\" is %s already", name->name, other->is_subject ? "a subject" : "a parameter");
		diag_note(ck->c, other->loc, "it is declared here");
	}
	Symbol *symbol = symbol_add(ck, SYMBOL_ARRAY, name->name, member->loc);
	symbol->is_subject = true;
	symbol->rank = (int)subscript_count(member);
	if (member->kind == N_INDEX && member->kids[0]->kind == N_INDEX)
		symbol->family = (int)subscript_count(member->kids[0]);
	NameVec own = {0};
	for (const Node *part = member; part->kind == N_INDEX; part = part->kids[0]) {
		for (uint32_t i = 1; i < part->kid_count; i++) {
			const Node *axis = part->kids[i];
			if (axis->kind == N_STAR) {
				symbol->rank = -1;
				continue;
			}
			if (axis->kind != N_NAME) {
				diag_error(ck->c, axis->loc, "the axes of a subject are names, or * for any");
				continue;
			}
			for (size_t k = 0; k < own.count; k++)
				if (own.at[k] == axis->name)
					diag_error(ck->c, axis->loc, "axis \"%s\" stands twice in the subject", axis->name);
			vec_push(ck->c->arena, &own, axis->name);
			if (!axis_is_known(ck, axis->name))
				axis_add(ck, axis->name, false);
		}
	}
}

static void check_pass(Checker *ck, const Decl *decl)
{
	const Node *subject = decl->node->kids[1];
	check_params(ck, decl);
	for (uint32_t i = 0; i < subject->kid_count; i++) {
		const Node *member = subject->kids[i];
		if (member->kind == N_TUPLE)
			for (uint32_t k = 0; k < member->kid_count; k++)
				add_member(ck, member->kids[k]);
		else
			add_member(ck, member->kind == N_OTHERS ? member->kids[0] : member);
	}
	ck->has_reports = true;
	check_body(ck, decl->node->kids[2]);
}

/* ---- the rest ---- */

static void check_let(Checker *ck, Decl *decl)
{
	size_t errors = diag_errors(ck->c);
	ck->is_constant = true;
	check_scalar(ck, decl->node->kids[0]);
	ck->is_constant = false;
	if (diag_errors(ck->c) == errors)
		value_eval(ck->p, NULL, decl->node->kids[0]);
}

static const struct {
	const char *name, *suffix;
} texts[] = {
#define TEXT(kind, suffix) {#kind, suffix},
#include "texts.def"
#undef TEXT
};
enum { TEXTS = sizeof texts / sizeof *texts };

/* What a file of data is said to be, or has the name of: "" if it is no text, or of a kind that is not known. */
static const char *text_kind(const Node *data)
{
	size_t length = strlen(data->text);
	for (size_t i = 0; i < TEXTS; i++) {
		size_t tail = strlen(texts[i].suffix);
		bool is_named = length > tail && !strcmp(data->text + length - tail, texts[i].suffix);
		if (data->op ? is_word(data->op, texts[i].name) : is_named)
			return texts[i].name;
	}
	return "";
}

static void check_text_kind(Checker *ck, const Decl *decl)
{
	const Node *node = decl->node, *between = node_prop(node, name_of(ck->c, "between"));
	const Node *per = node_prop(node, name_of(ck->c, "per"));
	const char *kind = text_kind(node);
	bool is_pairs = !strcmp(kind, "pairs");
	NameVec known = {0};
	for (size_t i = 0; i < TEXTS; i++)
		vec_push(ck->c->arena, &known, name_of(ck->c, texts[i].name));
	if (node->op && !*kind) {
		diag_error(ck->c, node->loc, "data are read from text(\"..\") or pairs(\"..\"), not %s(..)", node->op);
		diag_nearest(ck->c, node->op, &known);
	} else if (between && !is_pairs) {
		diag_error(
			ck->c, between->loc, "only pairs of texts have something between them: .tsv files, and pairs(\"..\")");
	} else if (per && is_pairs) {
		diag_error(ck->c, per->loc, "\"per\" is said of text: of pairs, each is a sample");
	}
}

static void check_file(Checker *ck, const Decl *decl)
{
	const char *what = arena_printf(ck->c->arena, "%s %s", decl_kind_text(decl->kind), decl->name);
	if (decl->kind != DECL_TARGET && !*decl->node->text)
		diag_error(ck->c, decl->node->loc, "%s needs the path of a file or folder", what);
	if (decl->kind == DECL_DATA)
		check_text_kind(ck, decl);
	check_properties(ck, decl->node, what);
}

static void check_decl(Checker *ck, Decl *decl)
{
	switch (decl->kind) {
	case DECL_LET:
		check_let(ck, decl);
		return;
	case DECL_FN:
		check_fn(ck, decl);
		return;
	case DECL_PASS:
		check_pass(ck, decl);
		return;
	case DECL_DTYPE:
		check_dtype(ck, decl);
		return;
	case DECL_RECIPE:
		check_recipe(ck, decl);
		return;
	case DECL_ROLES:
		check_roles(ck, decl);
		return;
	case DECL_TARGET:
	case DECL_MODEL:
	case DECL_DATA:
		check_file(ck, decl);
		return;
	case DECL_NET:
		check_net(ck, decl);
		return;
	case DECL_EXPORT:
		check_export(ck, decl);
		return;
	case DECL_PIPELINE:
		check_pipeline(ck, decl);
		return;
	case DECL_COUNT:
		return;
	}
}

bool program_check(Program *p)
{
	size_t errors = diag_errors(p->c);
	for (size_t i = 0; i < p->decls.count; i++) {
		if (p->decls.at[i]->is_stdlib)
			continue;
		Checker checker = {.p = p, .c = p->c, .decl = p->decls.at[i]};
		frame_push(&checker);
		check_decl(&checker, p->decls.at[i]);
	}
	return diag_errors(p->c) == errors;
}
