/* SPDX-License-Identifier: MIT
 *
 * require.c: `require metric <= bound` as rows of the program's tables. The bound
 * is a compile-time value in the metric's unit; `original` is the input's size. What
 * the size of the output decides is held to its bound before there is a program, the
 * rest by the run.
 */
#include "plan.h"

#include <string.h>

static const struct {
	const char *name, *unit;
	enum { HEADERS, RUN } when;
} metrics[] = {
#define METRIC(name, unit, when) {#name, unit, when},
#include "metrics.def"
#undef METRIC
};

static int metric_of(const Node *node)
{
	for (size_t i = 0; node->kind == N_NAME && i < sizeof metrics / sizeof *metrics; i++)
		if (!strcmp(node->name, metrics[i].name))
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

static bool add_require(Plan *plan, const Node *node)
{
	const Node *e = node->kids[0];
	bool is_bound = e->kind == N_BINARY && e->kid_count == 2 && (e->op[0] == '<' || e->op[0] == '>');
	int metric = is_bound ? metric_of(e->kids[0]) : -1;
	if (metric < 0)
		return report_metric_names(plan, e);
	Scope *scope = scope_new(plan->c, plan->model_facts);
	int64_t original = 0;
	for (size_t i = 0; i < plan->tensors.count; i++)
		original += plan->tensors.at[i].file->bytes;
	Value size = value_real(e->loc, (double)original);
	size.dimension = "byte";
	if (!strcmp(metrics[metric].unit, "bytes"))
		scope_bind(plan->c, scope, name_of(plan->c, "original"), size);
	Value bound = value_eval(plan->p, scope, e->kids[1]);
	bool wants_bytes = !strcmp(metrics[metric].unit, "bytes");
	if (bound.kind == VALUE_ERROR)
		return false;
	if (!value_is_number(&bound) || wants_bytes != !strcmp(bound.dimension, "byte")) {
		diag_error(plan->c, e->kids[1]->loc, "%s is compared with %s", metrics[metric].name,
			wants_bytes ? "a size such as 400 MB" : "a plain number");
		return false;
	}
	PlanRequire require = {e, metric, e->op[0] == '<', bound.real};
	bool wants_error = !wants_bytes && strcmp(metrics[metric].name, "ratio") != 0;
	vec_push(plan->c->arena, &plan->requires, require);
	plan->wants_error |= wants_error;
	if (!wants_error || !plan->families.count)
		return true;
	diag_error(
		plan->c, e->loc, "the %s of this pipeline is not known: tuples of tensors have none", metrics[metric].name);
	diag_note(plan->c, plan->families.at[0].statement->loc, "they may be of another shape after this");
	return false;
}

bool plan_requires(Plan *plan)
{
	const Node *body = plan->pipeline->node->kids[3];
	bool ok = true;
	for (uint32_t i = 0; i < body->kid_count; i++)
		if (body->kids[i]->kind == N_REQUIRE)
			ok &= add_require(plan, body->kids[i]);
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
	if (metrics[require->metric].when == RUN)
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
		if (metrics[require->metric].when == RUN || (!is_exact && require->is_upper))
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
