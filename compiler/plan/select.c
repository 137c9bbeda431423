/* SPDX-License-Identifier: MIT
 *
 * select.c: statements x tensors. Recipes are opened into their statements, every
 * selection is tried on every tensor, arguments are bound once per tensor taken.
 * `rest` is decided after all others. A selection that takes nothing is an error
 * that shows the nearest names; inside a recipe only if the whole recipe takes nothing.
 */
#include "plan.h"

#include <regex.h>
#include <string.h>

/* ---- one selection, one tensor ---- */

static bool has_role(const PlanTensor *tensor, Name role)
{
	for (size_t i = 0; i < tensor->roles.count; i++)
		if (tensor->roles.at[i] == role)
			return true;
	return false;
}

static bool regex_fits(Plan *plan, const Node *node, const char *name)
{
	regex_t regex;
	char text[256];
	const char *whole = arena_printf(plan->c->arena, "^(%s)$", node->text);
	int status = regcomp(&regex, whole, REG_EXTENDED | REG_NOSUB);
	if (status) {
		regerror(status, &regex, text, sizeof text);
		diag_error(plan->c, node->loc, "regular expression: %s", text);
		return false;
	}
	bool fits = regexec(&regex, name, 0, NULL, 0) == 0;
	regfree(&regex);
	return fits;
}

static bool layer_fits(Plan *plan, const Scope *scope, const Node *node, const PlanTensor *tensor)
{
	Value value = value_eval(plan->p, scope, node->kids[0]);
	if (value.kind == VALUE_RANGE)
		return tensor->layer >= value.integer && tensor->layer < value.hi &&
			   (value.step < 2 || (tensor->layer - value.integer) % value.step == 0);
	return value.kind == VALUE_INT && tensor->layer == value.integer;
}

bool selection_is_match(Plan *plan, const Scope *scope, const Node *node, const PlanTensor *tensor, bool *is_rest)
{
	int64_t layer;
	switch (node->kind) {
	case N_STRING:
		return pattern_is_match(node->text, tensor->file->name, &layer);
	case N_REGEX:
		return regex_fits(plan, node, tensor->file->name);
	case N_LAYERS:
		return layer_fits(plan, scope, node, tensor);
	case N_EXCEPT:
		return selection_is_match(plan, scope, node->kids[0], tensor, is_rest) &&
			   !selection_is_match(plan, scope, node->kids[1], tensor, is_rest);
	case N_BINARY:
		return selection_is_match(plan, scope, node->kids[0], tensor, is_rest) &&
			   selection_is_match(plan, scope, node->kids[1], tensor, is_rest);
	case N_LIST:
	case N_TUPLE:
		for (uint32_t i = 0; i < node->kid_count; i++)
			if (selection_is_match(plan, scope, node->kids[i], tensor, is_rest))
				return true;
		return false;
	case N_IF: {
		Value value = value_eval(plan->p, scope, node->kids[0]);
		return value.kind == VALUE_BOOL &&
			   selection_is_match(plan, scope, node->kids[value.is_true ? 1 : 2], tensor, is_rest);
	}
	case N_NAME:
		if (!strcmp(node->name, "all"))
			return true;
		if (!strcmp(node->name, "rest")) {
			*is_rest = true;
			return tensor->file->rank >= 2;
		}
		return has_role(tensor, node->name);
	default:
		diag_error(
			plan->c, node->loc, "this selects nothing: expected a role, a \"glob\", re\"..\", layer a..b, all or rest");
		return false;
	}
}

/* ---- the statements ---- */

static bool open_body(Plan *plan, const Node *body, const Scope *scope, const Decl *recipe, const Node *outer);

static bool open_recipe(Plan *plan, const Decl *recipe, const Node *node, const Scope *scope, const Node *outer)
{
	Scope *bound = scope_new(plan->c, NULL);
	const Node *call = node->kids[0];
	const Node *selection = node->kids[1] ? node->kids[1] : outer;
	if (!value_bind(plan->p, scope ? scope : plan->model_facts, recipe, call->kind == N_CALL ? call : NULL, bound))
		return false;
	return open_body(plan, recipe->node->kids[1], bound, recipe, selection);
}

/* Both selections at once: a recipe used `on x` works inside x. */
static const Node *narrow(Plan *plan, const Node *inner, const Node *outer)
{
	if (!outer || !inner)
		return inner ? inner : outer;
	Node *both = node_new(plan->c, N_BINARY, inner->loc);
	both->op = name_of(plan->c, "and");
	node_add(plan->c, both, (Node *)inner);
	node_add(plan->c, both, (Node *)outer);
	return both;
}

/* on all w[n][o, i]: a family of matrices, its members in no further order */
static bool is_plain_family(const Decl *pass)
{
	const Node *subject = pass->node->kids[1], *member = subject->kids[0];
	return !subject->op && subject->kid_count == 1 && member->kind == N_INDEX && member->kid_count == 3 &&
		   member->kids[0]->kind == N_INDEX && member->kids[0]->kid_count == 2;
}

static Statement *open_apply(Plan *plan, const Node *node, const Scope *scope, const Decl *recipe, const Node *outer)
{
	const Node *call = node->kids[0];
	Name name = node_path(plan->c, call->kind == N_CALL ? call->kids[0] : call);
	const Decl *pass = name ? program_find(plan->p, DECL_PASS, name) : NULL;
	const Decl *inner = name ? program_find(plan->p, DECL_RECIPE, name) : NULL;
	if (!pass && inner) {
		open_recipe(plan, inner, node, scope, outer);
		return NULL;
	}
	if (!pass) {
		NameVec known = {0};
		program_names(plan->p, DECL_PASS, &known);
		program_names(plan->p, DECL_RECIPE, &known);
		diag_error(plan->c, call->loc, "unknown pass or recipe \"%s\"", name ? name : "");
		if (name)
			diag_nearest(plan->c, name, &known);
		return NULL;
	}
	Statement *statement = arena_new_of(plan->c->arena, Statement);
	*statement = (Statement){.pass = pass,
		.call = call,
		.selection = narrow(plan, node->kids[1], outer),
		.scope = scope,
		.recipe = recipe,
		.loc = node->loc,
		.number = plan->statements.count,
		.facts = pass_facts(plan->p, pass)};
	statement->is_grid = statement->facts.kind == PASS_GRID;
	const PassFacts *facts = &statement->facts;
	if (facts->is_sharing)
		statement->facts.is_family = false; /* each of its tensors has a chain of its own (folds.c) */
	if (facts->asks_network || (facts->asks_input && (facts->is_family || facts->is_axis))) {
		diag_error(plan->c, node->loc, "pass %s asks more of a network than the input of one matrix: not supported yet",
			pass->name);
		return NULL;
	}
	if (statement->facts.is_family && !is_plain_family(pass) && !statement_has_tuples(statement)) {
		diag_error(plan->c, node->loc,
			"pass %s works on a whole selection at once, and not as `on all w[n][o, i]` or `on all (a[s][r, n], "
			"b[s][m, r])`: not supported yet",
			pass->name);
		return NULL;
	}
	if (!statement->selection) {
		diag_error(plan->c, node->loc, "pass %s needs to know on which tensors", pass->name);
		diag_help(plan->c, "write: %s(..) on linear", pass->name);
		return NULL;
	}
	vec_push(plan->c->arena, &plan->statements, statement);
	return statement;
}

static Statement *open_then(Plan *plan, const Node *node, const Scope *scope, const Decl *recipe, const Node *outer)
{
	if (node->kind == N_APPLY)
		return open_apply(plan, node, scope, recipe, outer);
	Statement *first = open_then(plan, node->kids[0], scope, recipe, outer);
	Statement *second = open_then(plan, node->kids[1], scope, recipe, outer);
	if (second)
		second->after = first;
	return second;
}

static bool open_body(Plan *plan, const Node *body, const Scope *scope, const Decl *recipe, const Node *outer)
{
	size_t errors = diag_errors(plan->c);
	Scope *names = scope_new(plan->c, plan->model_facts); /* the recipe's parameters, then what `let` lines above say */
	for (size_t i = 0; scope && i < scope->names.count; i++)
		scope_bind(plan->c, names, scope->names.at[i].name, scope->names.at[i].value);
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *node = body->kids[i];
		if (node->kind == N_LET)
			scope_bind(plan->c, names, node->name, value_eval(plan->p, names, node->kids[0]));
		else if (node->kind == N_APPLY || node->kind == N_THEN)
			open_then(plan, node, names, recipe, outer);
	}
	return diag_errors(plan->c) == errors;
}

/* ---- binding ---- */

/* What the tensor reads of other files is said as it would be for any tensor: "{name}.input". */
static void print_argument(Value value, Text *to)
{
	if (value.kind == VALUE_TENSOR)
		value.tensor = value.pattern;
	if (value.kind == VALUE_STRING)
		text_printf(to, "\"%s\"", value.text);
	else
		value_print(&value, to);
}

/* `none` that nobody gave, or that is the default: said or not, it is the same. Arguments are bound in the order of the
 * parameters. */
static bool is_left_out(const Node *param, const Node *given, const Value *value)
{
	const Node *otherwise = param->kids[2];
	bool is_default = otherwise && otherwise->kind == N_NAME && !strcmp(otherwise->name, "none");
	return value->kind == VALUE_NONE && (!given || is_default);
}

const char *statement_label(Plan *plan, const Statement *statement, const Scope *arguments)
{
	Text text = {.arena = plan->c->arena};
	text_printf(&text, "%s(", statement->pass->name);
	const Node *params = decl_params(statement->pass);
	Node **given = arena_array(plan->c->arena, Node *, params->kid_count + 1);
	const char *between = "";
	arguments_place(plan->p, statement->pass, statement->call->kind == N_CALL ? statement->call : NULL, given);
	for (size_t i = 0; i < arguments->names.count; i++) {
		if (is_left_out(params->kids[i], given[i], &arguments->names.at[i].value))
			continue;
		text_printf(&text, "%s%s: ", between, arguments->names.at[i].name);
		print_argument(arguments->names.at[i].value, &text);
		between = ", ";
	}
	text_printf(&text, ")");
	return text.at;
}

const Scope *statement_facts(Plan *plan, const Statement *statement, const PlanTensor *tensor)
{
	if (!statement->scope)
		return tensor->facts;
	Scope *scope = scope_new(plan->c, tensor->facts);
	for (size_t i = 0; i < statement->scope->names.count; i++)
		scope_bind(plan->c, scope, statement->scope->names.at[i].name, statement->scope->names.at[i].value);
	return scope;
}

static bool take(Plan *plan, Statement *statement, PlanTensor *tensor)
{
	Scope *arguments = scope_new(plan->c, NULL);
	const Node *call = statement->call->kind == N_CALL ? statement->call : NULL;
	if (!value_bind(plan->p, statement_facts(plan, statement, tensor), statement->pass, call, arguments))
		return false;
	PlanLink link = {.statement = statement, .arguments = arguments};
	link.label = statement_label(plan, statement, arguments);
	vec_push(plan->c->arena, &tensor->links, link);
	statement->matched++;
	statement->family.members++;
	statement->family.elements += tensor->stack * tensor->rows * tensor->cols;
	return true;
}

static bool has_grid(const PlanTensor *tensor)
{
	for (size_t i = 0; i < tensor->links.count; i++)
		if (tensor->links.at[i].statement->is_grid)
			return true;
	return false;
}

/* Does a selection speak of `rest` anywhere? */
static bool says_rest(const Node *node)
{
	if (node->kind == N_NAME && !strcmp(node->name, "rest"))
		return true;
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && says_rest(node->kids[i]))
			return true;
	return false;
}

/* Selections are tried in turn: those that look at what others took come later. */
static int turn_of(const Statement *statement)
{
	return statement->is_default ? 2 : says_rest(statement->selection) ? 1 : 0;
}

static bool select_for(Plan *plan, Statement *statement, int turn)
{
	if (turn_of(statement) != turn || statement_has_tuples(statement))
		return true;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		PlanTensor *tensor = &plan->tensors.at[i];
		bool is_rest = statement->is_default;
		const Scope *scope = statement_facts(plan, statement, tensor);
		if (tensor->place.is_left_out || !selection_is_match(plan, scope, statement->selection, tensor, &is_rest) ||
			(is_rest && has_grid(tensor)))
			continue;
		if (!take(plan, statement, tensor))
			return false;
	}
	return true;
}

/* ---- selections that take nothing ---- */

static bool check_matched(Plan *plan)
{
	bool ok = true;
	for (size_t i = 0; i < plan->statements.count; i++) {
		const Statement *statement = plan->statements.at[i];
		size_t of_recipe = 0;
		for (size_t j = 0; statement->recipe && j < plan->statements.count; j++)
			if (plan->statements.at[j]->recipe == statement->recipe)
				of_recipe += plan->statements.at[j]->matched;
		if (statement->matched || of_recipe || statement->is_default || statement_has_tuples(statement))
			continue;
		bool is_first = !i || plan->statements.at[i - 1]->recipe != statement->recipe || !statement->recipe;
		if (is_first)
			report_nothing_selected(plan, statement);
		ok = false;
	}
	return ok;
}

bool plan_select(Plan *plan)
{
	const Node *body = plan->pipeline->node->kids[3];
	if (!open_body(plan, body, NULL, NULL, NULL))
		return false;
	size_t own = plan->statements.count;
	if (plan->export && !plan->saves_arrays && !open_body(plan, plan->export->node->kids[0], NULL, NULL, NULL))
		return false;
	for (size_t i = own; i < plan->statements.count; i++)
		plan->statements.at[i]->is_default = true;
	size_t errors = diag_errors(plan->c);
	for (int turn = 0; turn < 3; turn++)
		for (size_t i = 0; i < plan->statements.count && diag_errors(plan->c) == errors; i++)
			select_for(plan, plan->statements.at[i], turn);
	return diag_errors(plan->c) == errors && check_matched(plan);
}
