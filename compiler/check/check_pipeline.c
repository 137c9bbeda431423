/* SPDX-License-Identifier: MIT
 *
 * check_pipeline.c: pipelines, recipes and rows of roles: what statements name,
 * what they are told, and which tensors they speak of. Whether a selection takes
 * any tensor is for the planner to say.
 */
#include "check.h"

#include <regex.h>
#include <string.h>

/* ---- names of declarations ---- */

static void check_reference(Checker *ck, const Node *name, DeclKind kind)
{
	if (!name || program_find(ck->p, kind, name->name))
		return;
	NameVec known = {0};
	program_names(ck->p, kind, &known);
	diag_error(ck->c, name->loc, "unknown %s \"%s\"", decl_kind_text(kind), name->name);
	if (!known.count)
		diag_help(ck->c, "declare it: %s %s from \"..\"", decl_kind_text(kind), name->name);
	diag_nearest(ck->c, name->name, &known);
}

/* ---- selections ---- */

static bool is_role(const Program *p, Name name)
{
	for (size_t d = 0; d < p->decls.count; d++) {
		const Node *node = p->decls.at[d]->node;
		for (uint32_t r = 0; p->decls.at[d]->kind == DECL_ROLES && r < node->kid_count; r++)
			for (uint32_t i = 0; i < node->kids[r]->kids[0]->kid_count; i++)
				if (node->kids[r]->kids[0]->kids[i]->name == name)
					return true;
	}
	NameVec of_nets = {0};
	net_role_names(p, &of_nets);
	for (size_t i = 0; i < of_nets.count; i++)
		if (of_nets.at[i] == name)
			return true;
	return false;
}

static void role_names(Checker *ck, NameVec *to)
{
	for (size_t d = 0; d < ck->p->decls.count; d++) {
		const Node *node = ck->p->decls.at[d]->node;
		for (uint32_t r = 0; ck->p->decls.at[d]->kind == DECL_ROLES && r < node->kid_count; r++)
			for (uint32_t i = 0; i < node->kids[r]->kids[0]->kid_count; i++)
				vec_push(ck->c->arena, to, node->kids[r]->kids[0]->kids[i]->name);
	}
	net_role_names(ck->p, to);
	vec_push(ck->c->arena, to, name_of(ck->c, "all"));
	vec_push(ck->c->arena, to, name_of(ck->c, "rest"));
}

static void check_role_name(Checker *ck, const Node *name)
{
	if (is_word(name->name, "all") || is_word(name->name, "rest") || is_role(ck->p, name->name))
		return;
	NameVec known = {0};
	role_names(ck, &known);
	diag_error(ck->c, name->loc, "unknown role \"%s\"", name->name);
	diag_nearest(ck->c, name->name, &known);
}

static void check_regex(Checker *ck, const Node *node)
{
	regex_t regex;
	char text[256];
	int status = regcomp(&regex, node->text, REG_EXTENDED | REG_NOSUB);
	if (status) {
		regerror(status, &regex, text, sizeof text);
		diag_error(ck->c, node->loc, "regular expression: %s", text);
		return;
	}
	regfree(&regex);
}

static void check_pattern(Checker *ck, const Node *node)
{
	if (!*node->text)
		diag_error(ck->c, node->loc, "an empty pattern fits no name");
}

static void check_constant(Checker *ck, const Node *node)
{
	ck->is_constant = true;
	check_scalar(ck, node);
	ck->is_constant = false;
}

static void check_layers(Checker *ck, const Node *node)
{
	const Node *layers = node->kids[0];
	size_t errors = diag_errors(ck->c);
	check_constant(ck, layers);
	if (diag_errors(ck->c) != errors || !expr_is_constant(ck, layers))
		return;
	Value value = value_eval(ck->p, NULL, layers);
	if (value.kind == VALUE_ERROR)
		return;
	if (value.kind != VALUE_RANGE && value.kind != VALUE_INT)
		diag_error(ck->c, layers->loc, "layers are whole numbers: layer 3 or layer 3..10");
	else if (value.integer < 0)
		diag_error(ck->c, layers->loc, "layers are counted from 0");
	else if (value.kind == VALUE_RANGE && value.step < 1)
		diag_error(ck->c, layers->loc, "a step must be a positive constant");
	else if (value.kind == VALUE_RANGE && value.hi <= value.integer)
		diag_error(ck->c, layers->loc, "layer %lld..%lld is empty: a range ends before its second number",
			(long long)value.integer, (long long)value.hi);
}

static void check_selection(Checker *ck, const Node *node)
{
	switch (node->kind) {
	case N_NAME:
		check_role_name(ck, node);
		return;
	case N_STRING:
		check_pattern(ck, node);
		return;
	case N_REGEX:
		check_regex(ck, node);
		return;
	case N_LAYERS:
		check_layers(ck, node);
		return;
	case N_IF:
		check_constant(ck, node->kids[0]);
		check_selection(ck, node->kids[1]);
		check_selection(ck, node->kids[2]);
		return;
	default:
		for (uint32_t i = 0; i < node->kid_count; i++)
			check_selection(ck, node->kids[i]);
	}
}

/* ---- statements that apply something ---- */

static void report_unknown_pass(Checker *ck, const Node *call, Name name)
{
	NameVec known = {0};
	program_names(ck->p, DECL_PASS, &known);
	program_names(ck->p, DECL_RECIPE, &known);
	diag_error(ck->c, call->loc, "unknown pass or recipe \"%s\"", name);
	if (program_find(ck->p, DECL_DTYPE, name))
		diag_help(ck->c, "%s is a dtype: quantize.rtn(dtype: %s) rounds to it", name, name);
	else
		diag_nearest(ck->c, name, &known);
}

static void check_apply(Checker *ck, const Node *node)
{
	const Node *call = node->kids[0], *applied = call->kind == N_CALL ? call->kids[0] : call;
	Name name = node_path(ck->c, applied);
	const Decl *pass = program_find(ck->p, DECL_PASS, name), *recipe = program_find(ck->p, DECL_RECIPE, name);
	if (!name)
		diag_error(ck->c, applied->loc, "expected the name of a pass or a recipe");
	else if (!pass && !recipe)
		report_unknown_pass(ck, applied, name);
	else {
		ck->is_constant = true;
		check_arguments(ck, pass ? pass : recipe, call);
		ck->is_constant = false;
	}
	if (node->kids[1])
		check_selection(ck, node->kids[1]);
	if (pass && !node->kids[1] && ck->decl->kind == DECL_PIPELINE) {
		diag_error(ck->c, node->loc, "pass %s needs to know on which tensors", name);
		diag_help(ck->c, "write: %s(..) on linear", name);
	}
}

void check_applied(Checker *ck, const Node *node)
{
	if (node->kind == N_APPLY) {
		check_apply(ck, node);
		return;
	}
	check_applied(ck, node->kids[0]);
	check_applied(ck, node->kids[1]);
	for (int i = 0; i < 2; i++) { /* a recipe is a set of statements: it has no place in an order */
		const Node *apply = node->kids[i]->kind == N_THEN ? NULL : node->kids[i];
		const Node *call = apply ? apply->kids[0] : NULL;
		Name name = call ? node_path(ck->c, call->kind == N_CALL ? call->kids[0] : call) : NULL;
		if (!name || program_find(ck->p, DECL_PASS, name) || !program_find(ck->p, DECL_RECIPE, name))
			continue;
		diag_error(ck->c, apply->loc, "`then` orders passes, and %s is a recipe", name);
		diag_help(ck->c, "the planner orders what a recipe holds; write its passes out to order them yourself");
	}
}

/* ---- require, report ---- */

typedef enum MetricTime { HEADERS, RUN, DATA } MetricTime;

static const struct {
	const char *name, *unit;
	bool takes_data;
} metrics[] = {
#define METRIC(name, unit, when) {#name, unit, when == DATA},
#include "metrics.def"
#undef METRIC
};
enum { METRICS = sizeof metrics / sizeof *metrics };

/* The row of a metric; -1: reported. */
static int check_metric(Checker *ck, const Node *node)
{
	const Node *word = node->kind == N_CALL ? node->kids[0] : node;
	NameVec known = {0};
	for (int i = 0; i < METRICS; i++) {
		vec_push(ck->c->arena, &known, name_of(ck->c, metrics[i].name));
		if (word->kind != N_NAME || !is_word(word->name, metrics[i].name))
			continue;
		uint32_t arguments = node->kind == N_CALL ? node->kid_count - 1 : 0;
		if (arguments != metrics[i].takes_data)
			diag_error(ck->c, node->loc,
				metrics[i].takes_data ? "%s is measured on data: %s(data)" : "%s takes no arguments", metrics[i].name,
				metrics[i].name);
		else if (arguments)
			check_typed(ck, node->kids[1], name_of(ck->c, "dataset"));
		return i;
	}
	if (word->kind == N_NAME) {
		diag_error(ck->c, word->loc, "unknown metric \"%s\"", word->name);
		diag_nearest(ck->c, word->name, &known);
	} else {
		diag_error(ck->c, node->loc, "expected a metric, for example size");
	}
	return -1;
}

/* What the layout of the input is, in the unit of the metric, stands for `original`. */
static Scope *original_scope(Checker *ck, Loc loc, bool wants_bytes)
{
	Scope *scope = scope_new(ck->c, NULL);
	Value original = value_real(loc, 1);
	original.dimension = wants_bytes ? "byte" : "";
	scope_bind(ck->c, scope, name_of(ck->c, "original"), original);
	return scope;
}

static bool mentions_original(const Node *node)
{
	if (node->kind == N_NAME && is_word(node->name, "original"))
		return true;
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && mentions_original(node->kids[i]))
			return true;
	return false;
}

static void check_bound(Checker *ck, const Node *bound, int metric)
{
	size_t errors = diag_errors(ck->c);
	bool wants_bytes = !strcmp(metrics[metric].unit, "bytes");
	ck->has_original = ck->has_facts = true;
	check_constant(ck, bound);
	bool is_known = diag_errors(ck->c) == errors && expr_is_constant(ck, bound);
	ck->has_original = ck->has_facts = false;
	bool is_of_change = !strcmp(metrics[metric].name, "kl"); /* from the original */
	if (!wants_bytes && (!metrics[metric].takes_data || is_of_change) && mentions_original(bound)) {
		diag_error(
			ck->c, bound->loc, "`original` has no meaning here: the input itself has no %s", metrics[metric].name);
		diag_help(ck->c, "for size it is the bytes of the input's tensors");
		return;
	}
	if (!is_known)
		return;
	Value value = value_eval(ck->p, original_scope(ck, bound->loc, wants_bytes), bound);
	if (value.kind == VALUE_ERROR)
		return;
	if (value_is_number(&value) && !strcmp(value.dimension, wants_bytes ? "byte" : ""))
		return;
	diag_error(ck->c, bound->loc, "%s is compared with %s", metrics[metric].name,
		wants_bytes ? "a size such as 400 MB" : "a plain number");
}

static void check_require(Checker *ck, const Node *node)
{
	const Node *e = node->kids[0];
	if (e->kind != N_BINARY || (e->op[0] != '<' && e->op[0] != '>') || e->op[1] == e->op[0]) {
		diag_error(ck->c, e->loc, "require needs a metric and a bound, for example: require size <= 4 GiB");
		return;
	}
	int metric = check_metric(ck, e->kids[0]);
	if (metric >= 0)
		check_bound(ck, e->kids[1], metric);
}

/* ---- bodies ---- */

static void check_let(Checker *ck, const Node *node)
{
	bool had_facts = ck->has_facts;
	ck->has_facts = true;
	check_constant(ck, node->kids[0]);
	ck->has_facts = had_facts;
	const Symbol *other = symbol_find(ck, node->name);
	if (other) {
		diag_error(ck->c, node->loc, "\"%s\" is defined already", node->name);
		diag_note(ck->c, other->loc, "it is defined here");
		return;
	}
	symbol_add(ck, SYMBOL_VALUE, node->name, node->loc);
}

static void check_once(Checker *ck, const Node *body, uint32_t at, const char *message)
{
	for (uint32_t i = 0; i < at; i++) {
		if (body->kids[i]->kind != body->kids[at]->kind)
			continue;
		diag_error(ck->c, body->kids[at]->loc, "%s", message);
		diag_note(ck->c, body->kids[i]->loc, "it does here already");
		return;
	}
}

static void check_statement(Checker *ck, const Node *body, uint32_t at)
{
	const Node *node = body->kids[at];
	bool is_recipe = ck->decl->kind == DECL_RECIPE;
	switch (node->kind) {
	case N_APPLY:
	case N_THEN:
		ck->has_facts = true;
		check_applied(ck, node);
		ck->has_facts = false;
		return;
	case N_LET:
		check_let(ck, node);
		return;
	case N_IMPORT:
		diag_error(ck->c, node->loc, "import stands outside of pipelines and recipes");
		return;
	default:
		break;
	}
	if (is_recipe) {
		diag_error(
			ck->c, node->loc, "`%s` stands in a pipeline: a recipe holds passes only", node_kind_text(node->kind));
		return;
	}
	if (node->kind == N_REQUIRE)
		check_require(ck, node);
	if (node->kind == N_SAVE) {
		check_once(ck, body, at, "a pipeline saves once");
		check_metadata(ck, node);
	}
	if (node->kind == N_REPORT) {
		check_once(ck, body, at, "a pipeline reports once");
		for (uint32_t i = 0; i < node->kid_count; i++)
			check_metric(ck, node->kids[i]);
	}
}

void check_pipeline(Checker *ck, const Decl *decl)
{
	const Node *node = decl->node, *body = node->kids[3];
	check_reference(ck, node->kids[0], DECL_MODEL);
	check_reference(ck, node->kids[1], DECL_TARGET);
	check_reference(ck, node->kids[2], DECL_TARGET);
	for (uint32_t i = 0; i < body->kid_count; i++)
		check_statement(ck, body, i);
}

/* ---- recipes ---- */

static bool applies(const Program *p, Compiler *c, const Node *node, const Decl *recipe, uint32_t depth)
{
	if (node->kind == N_APPLY) {
		const Node *call = node->kids[0];
		Name name = node_path(c, call->kind == N_CALL ? call->kids[0] : call);
		const Decl *inner = program_find(p, DECL_PASS, name) ? NULL : program_find(p, DECL_RECIPE, name);
		return inner && (inner == recipe || (depth > 0 && applies(p, c, inner->node->kids[1], recipe, depth - 1)));
	}
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && applies(p, c, node->kids[i], recipe, depth))
			return true;
	return false;
}

void check_recipe(Checker *ck, const Decl *decl)
{
	enum { MAX_DEPTH = 8 };
	const Node *body = decl->node->kids[1];
	check_params(ck, decl);
	if (applies(ck->p, ck->c, body, decl, MAX_DEPTH))
		diag_error(ck->c, decl->node->loc, "recipe %s applies itself", decl->name);
	for (uint32_t i = 0; i < body->kid_count; i++)
		check_statement(ck, body, i);
}

/* ---- roles ---- */

static void check_role_axes(Checker *ck, const Node *axes)
{
	for (uint32_t i = 0; axes && i < axes->kid_count; i++) {
		for (uint32_t k = 0; k < i; k++) {
			const Node *a = axes->kids[i], *b = axes->kids[k];
			if (a->kind == N_NAME && b->kind == N_NAME && a->name == b->name)
				diag_error(ck->c, a->loc, "axis \"%s\" stands twice in a row of roles", a->name);
		}
	}
}

void check_roles(Checker *ck, const Decl *decl)
{
	for (uint32_t r = 0; r < decl->node->kid_count; r++) {
		const Node *row = decl->node->kids[r];
		for (uint32_t i = 0; i < row->kids[0]->kid_count; i++) {
			const Node *role = row->kids[0]->kids[i];
			if (is_word(role->name, "all") || is_word(role->name, "rest"))
				diag_error(ck->c, role->loc, "\"%s\" is no name for a role: it selects tensors already", role->name);
		}
		if (row->flag)
			check_regex(ck, row);
		else
			check_pattern(ck, row);
		check_role_axes(ck, row->kids[1]);
	}
}
