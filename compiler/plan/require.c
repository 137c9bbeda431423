/* SPDX-License-Identifier: MIT
 *
 * require.c: `require metric <= bound` and `report metric` as rows of the program's
 * tables. The bound is a compile-time value in the metric's unit; `original` is the
 * input's size, or, of what is measured on data, what the run will find. What the size
 * of the output decides is held to its bound before there is a program, the rest by the
 * run.
 */
#include "plan.h"

#include <string.h>

static const struct {
	const char *name, *unit;
	enum { HEADERS, RUN, DATA } when;
} metrics[] = {
#define METRIC(name, unit, when) {#name, unit, when},
#include "metrics.def"
#undef METRIC
};

/* "size", "perplexity(tales)"; -1: it is none */
static int metric_of(const Node *node)
{
	const Node *word = node->kind == N_CALL ? node->kids[0] : node;
	for (size_t i = 0; word->kind == N_NAME && i < sizeof metrics / sizeof *metrics; i++)
		if (!strcmp(word->name, metrics[i].name))
			return (int)i;
	return -1;
}

static bool report_metric_names(Plan *plan, const Node *node)
{
	NameVec known = {0};
	const Node *word = node->kind == N_BINARY ? node->kids[0] : node;
	for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
		vec_push(plan->c->arena, &known, name_of(plan->c, metrics[i].name));
	diag_error(plan->c, node->loc, "require needs a metric and a bound, for example: require size <= 4 GiB");
	if (word->kind == N_NAME)
		diag_nearest(plan->c, word->name, &known);
	return false;
}

const char *metric_name(int64_t metric)
{
	return metrics[metric].name;
}

/* ---- figures ---- */

/* Does the pipeline write a model? */
static bool has_result(Plan *plan, const Node *node, int metric)
{
	if (!plan->saves_arrays)
		return true;
	diag_error(plan->c, node->loc,
		"this pipeline has no %s: its passes save arrays, and nothing of the model is written", metrics[metric].name);
	return false;
}

/* Its number; -1: reported. Each metric of each data set is one. */
static int64_t add_figure(Plan *plan, const Node *node)
{
	int metric = metric_of(node);
	Text text = {.arena = plan->c->arena};
	if (metric < 0) {
		report_metric_names(plan, node);
		return -1;
	}
	if (metrics[metric].when != HEADERS && !has_result(plan, node, metric))
		return -1;
	PlanFigure figure = {.node = node, .metric = metric};
	if (metrics[metric].when == DATA) {
		Value value = value_eval(plan->p, NULL, node->kids[1]);
		figure.data = value.kind == VALUE_WORD ? program_find(plan->p, DECL_DATA, name_of(plan->c, value.text)) : NULL;
		if (!figure.data && value.kind != VALUE_ERROR)
			diag_error(plan->c, node->kids[1]->loc, "%s is measured on data that a `data` declaration names",
				metrics[metric].name);
		if (!figure.data)
			return -1;
	}
	for (size_t i = 0; i < plan->figures.count; i++)
		if (plan->figures.at[i].metric == metric && plan->figures.at[i].data == figure.data)
			return (int64_t)i;
	source_print(plan->c, node, &text);
	figure.text = text.at;
	vec_push(plan->c->arena, &plan->figures, figure);
	return (int64_t)plan->figures.count - 1;
}

/* Errors are summed while kernels write: only if they are asked for. */
static bool want_error(Plan *plan, const Node *node, int metric)
{
	if (!has_result(plan, node, metric))
		return false;
	plan->wants_error = true;
	if (!plan->families.count)
		return true;
	diag_error(
		plan->c, node->loc, "the %s of this pipeline is not known: tuples of tensors have none", metrics[metric].name);
	diag_note(plan->c, plan->families.at[0].statement->loc, "they may be of another shape after this");
	return false;
}

/* ---- bounds ---- */

/* The bound with this number in the place of `original`. */
static Value bound_with(Plan *plan, const Node *node, double original, const char *dimension)
{
	Scope *scope = scope_new(plan->c, plan->model_facts);
	Value value = value_real(node->loc, original);
	value.dimension = dimension;
	scope_bind(plan->c, scope, name_of(plan->c, "original"), value);
	return value_eval(plan->p, scope, node);
}

/* What the original's value is, the run finds: the bound must be so many times that, and so much more. */
static bool find_factor(Plan *plan, const Node *node, PlanRequire *require)
{
	Value at[3];
	for (int i = 0; i < 3; i++) {
		at[i] = bound_with(plan, node, i, "");
		if (at[i].kind == VALUE_ERROR)
			return false;
		if (!value_is_number(&at[i]) || *at[i].dimension) {
			diag_error(plan->c, node->loc, "%s is compared with a plain number", metrics[require->metric].name);
			return false;
		}
	}
	require->bound = at[0].real;
	require->factor = at[1].real - at[0].real;
	double off = at[2].real - at[1].real - require->factor;
	if (off <= 1e-9 && off >= -1e-9 && require->factor == require->factor)
		return true;
	diag_error(
		plan->c, node->loc, "a bound may be a number of times `original`, and more or less than that by another");
	return false;
}

static bool find_bound(Plan *plan, const Node *node, PlanRequire *require)
{
	bool wants_bytes = !strcmp(metrics[require->metric].unit, "bytes");
	int64_t original = 0;
	for (size_t i = 0; i < plan->tensors.count; i++)
		original += plan->tensors.at[i].file->bytes;
	Value bound = wants_bytes ? bound_with(plan, node, (double)original, "byte")
							  : value_eval(plan->p, scope_new(plan->c, plan->model_facts), node);
	if (bound.kind == VALUE_ERROR)
		return false;
	require->bound = bound.real;
	if (value_is_number(&bound) && wants_bytes == !strcmp(bound.dimension, "byte"))
		return true;
	diag_error(plan->c, node->loc, "%s is compared with %s", metrics[require->metric].name,
		wants_bytes ? "a size such as 400 MB" : "a plain number");
	return false;
}

static bool add_require(Plan *plan, const Node *node)
{
	const Node *e = node->kids[0];
	bool is_bound = e->kind == N_BINARY && e->kid_count == 2 && (e->op[0] == '<' || e->op[0] == '>');
	int metric = is_bound ? metric_of(e->kids[0]) : -1;
	if (metric < 0)
		return report_metric_names(plan, e);
	PlanRequire require = {.node = e, .metric = metric, .is_upper = e->op[0] == '<', .figure = -1};
	bool is_of_data = metrics[metric].when == DATA;
	if (!(is_of_data ? find_factor(plan, e->kids[1], &require) : find_bound(plan, e->kids[1], &require)))
		return false;
	if (is_of_data)
		require.figure = add_figure(plan, e->kids[0]);
	if (is_of_data && require.figure < 0)
		return false;
	vec_push(plan->c->arena, &plan->requires, require);
	return metrics[metric].when != RUN || want_error(plan, e, metric);
}

/* What it tells beside the file. */
static bool add_report(Plan *plan, const Node *node)
{
	bool ok = true;
	for (uint32_t i = 0; i < node->kid_count; i++) {
		int64_t figure = add_figure(plan, node->kids[i]);
		int64_t metric = figure < 0 ? -1 : plan->figures.at[figure].metric;
		ok &= figure >= 0 && (metrics[metric].when != RUN || want_error(plan, node, (int)metric));
	}
	return ok;
}

bool plan_requires(Plan *plan)
{
	const Node *body = plan->pipeline->node->kids[3];
	bool ok = true;
	for (uint32_t i = 0; i < body->kid_count; i++)
		if (body->kids[i]->kind == N_REQUIRE)
			ok &= add_require(plan, body->kids[i]);
		else if (body->kids[i]->kind == N_REPORT)
			ok &= add_report(plan, body->kids[i]);
	return ok;
}

/* ---- what is known before the run ---- */

bool plan_has_bounds(const Plan *plan)
{
	for (size_t i = 0; i < plan->families.count; i++)
		if (plan->families.at[i].split.keeps.count)
			return true;
	for (size_t i = 0; i < plan->tensors.count; i++)
		if (plan->tensors.at[i].places != SIZE_MAX)
			return true;
	return false;
}

/* The metric as the runtime counts it, of the largest output that there can be. */
static double metric_value(const Plan *plan, const PlanRequire *require)
{
	double bytes = (double)plan->program->output_bytes, before = 0;
	if (!strcmp(metrics[require->metric].unit, "bytes"))
		return bytes;
	for (int64_t i = 0; i < plan->checkpoint->file_count; i++)
		before += (double)plan->checkpoint->file_bytes[i];
	return before > 0 ? bytes / before : 1;
}

static bool is_met(const PlanRequire *require, double value)
{
	return require->is_upper ? value <= require->bound : value >= require->bound;
}

const char *require_comment(const Plan *plan, const PlanRequire *require)
{
	bool is_exact = !plan_has_bounds(plan);
	if (metrics[require->metric].when != HEADERS)
		return "";
	double value = metric_value(plan, require);
	if (!is_exact && !(require->is_upper && is_met(require, value)))
		return "";
	const char *unit = metrics[require->metric].unit;
	return arena_printf(
		plan->c->arena, "  # holds: %s%.10g%s%s", is_exact ? "" : "at most ", value, *unit ? " " : "", unit);
}

bool plan_requires_hold(Plan *plan)
{
	bool ok = true, is_exact = !plan_has_bounds(plan);
	if (plan->export && plan->options->checks_only)
		return true; /* the tokenizer was not read, which is a part of the size */
	for (size_t i = 0; i < plan->requires.count; i++) {
		const PlanRequire *require = &plan->requires.at[i];
		if (metrics[require->metric].when != HEADERS || (!is_exact && require->is_upper))
			continue;
		const char *name = metrics[require->metric].name, *unit = metrics[require->metric].unit;
		const char *gap = *unit ? " " : "";
		double value = metric_value(plan, require), off = require->bound - value;
		if (is_met(require, value))
			continue;
		off = off < 0 ? -off : off;
		diag_error(plan->c, require->node->loc, "this cannot hold: %s will be %s%.10g%s%s, %s%s%s too %s", name,
			is_exact ? "" : "at most ", value, gap, unit, arena_printf(plan->c->arena, *unit ? "%.0f" : "%.6g", off),
			gap, unit, require->is_upper ? "much" : "little");
		ok = false;
	}
	return ok;
}
