/* SPDX-License-Identifier: MIT
 *
 * order.c: in which order the passes of a tensor run. Legality first: a pass that
 * puts a tensor on a dtype's grid comes last, and there is one of them. Among the
 * others the weaker perturbation comes before the stronger (estimated intensity),
 * the order of the text where they are equal. `a then b` overrides, with a remark
 * where it disagrees. What else happens to a tensor that is in a family keeps the
 * order of the text: a pass on a whole selection comes at one place for all of it.
 *
 * Source: the Progressive Intensity Hypothesis (ICLR 2026, arXiv 2603.18426).
 */
#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE_ROWS = 64, SAMPLE_COLS = 1024 };

/* ---- intensity: |w' - w| / |w| of a pass alone on one Gaussian matrix ---- */

/* Box-Muller over SplitMix64: the same matrix on every machine up to libm's last bit. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static float *sample_matrix(Compiler *c)
{
	uint64_t state = 7;
	float *w = arena_array(c->arena, float, SAMPLE_ROWS *SAMPLE_COLS);
	for (int i = 0; i < SAMPLE_ROWS * SAMPLE_COLS; i++) {
		double u = (double)(next_random(&state) >> 11) * 0x1p-53 + 0x1p-54;
		double v = (double)(next_random(&state) >> 11) * 0x1p-53;
		w[i] = (float)(0.02 * sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
	}
	return w;
}

static double measure(Plan *plan, const PlanLink *link)
{
	Compiler *c = plan->c;
	Family alone = {.members = 1, .elements = SAMPLE_ROWS * SAMPLE_COLS, .is_alone = true};
	ChainLink chain_link = {.pass = link->statement->pass,
		.arguments = link->arguments,
		.loc = link->statement->loc,
		.family = link->statement->facts.is_family ? &alone : NULL};
	Chain chain = {.name = name_of(c, "intensity"),
		.input = store_of_type(T_F32),
		.rows = SAMPLE_ROWS,
		.cols = SAMPLE_COLS,
		.links = &chain_link,
		.link_count = 1,
		.facts = plan->model_facts,
		.values_only = true};
	ChainKernel built;
	if (!chain_build(plan->p, &chain, &built))
		return -1;
	float *in = sample_matrix(c), *out = arena_array(c->arena, float, SAMPLE_ROWS *SAMPLE_COLS);
	void *inputs[1] = {in}, *outputs[1] = {out};
	int64_t params[1] = {SAMPLE_ROWS};
	if (!kernel_interpret(built.kernel, inputs, outputs, params))
		return -1;
	double change = 0, whole = 0;
	for (int i = 0; i < SAMPLE_ROWS * SAMPLE_COLS; i++) {
		change += ((double)out[i] - in[i]) * ((double)out[i] - in[i]);
		whole += (double)in[i] * in[i];
	}
	return sqrt(change / whole);
}

/* The same pass with the same arguments is measured once. */
static double intensity_of(Plan *plan, const PlanTensor *until, const PlanLink *link)
{
	for (const PlanTensor *t = plan->tensors.at; t <= until; t++)
		for (size_t i = 0; i < t->links.count; i++)
			if (&t->links.at[i] != link && t->links.at[i].intensity != 0 && !strcmp(t->links.at[i].label, link->label))
				return t->links.at[i].intensity;
	return measure(plan, link);
}

/* ---- order ---- */

static bool must_follow(const PlanLink *a, const PlanLink *b)
{
	for (const Statement *s = a->statement->after; s; s = s->after)
		if (s == b->statement)
			return true;
	return false;
}

/* Why the passes of a tensor stay in the order of the text; NULL: they need not. */
static const char *text_order_reason(const PlanTensor *tensor)
{
	if (tensor->reads.count)
		return "one of its passes reads another file";
	if (tensor_asks_input(tensor))
		return "one of its passes looks at what the network feeds it";
	for (size_t i = 0; i < tensor->links.count; i++)
		if (tensor->links.at[i].statement->facts.is_family)
			return "one of its passes is on a whole selection";
	return NULL;
}

/* Does a come before b? Where neither law nor `then` says so, keeps_text leaves them as the text has them. */
static bool is_before(const PlanLink *a, const PlanLink *b, bool keeps_text)
{
	if (must_follow(b, a) || must_follow(a, b))
		return must_follow(b, a);
	if (a->statement->facts.folds_bias != b->statement->facts.folds_bias)
		return b->statement->facts.folds_bias;
	if (a->statement->is_grid != b->statement->is_grid)
		return b->statement->is_grid;
	if (!keeps_text && a->intensity != b->intensity)
		return a->intensity < b->intensity;
	return a->statement->number < b->statement->number;
}

const char *order_reason(const Plan *plan, const PlanTensor *tensor, size_t late)
{
	const PlanLink *first = &tensor->links.at[late - 1], *second = &tensor->links.at[late];
	Arena *arena = plan->c->arena;
	if (must_follow(second, first)) {
		if (first->intensity <= second->intensity || second->statement->is_grid)
			return "as `then` says";
		return arena_printf(arena, "as `then` says; the weaker (%.3f) would come before the stronger (%.3f)",
			second->intensity, first->intensity);
	}
	if (second->statement->facts.folds_bias && !first->statement->facts.folds_bias)
		return "what goes into the bias is what all others leave";
	if (second->statement->is_grid && !first->statement->is_grid)
		return "what follows would move weights off the grid";
	if (text_order_reason(tensor))
		return arena_printf(arena, "in the order of the text, as %s", text_order_reason(tensor));
	return arena_printf(arena, "the weaker perturbation (%.3f) before the stronger (%.3f), estimated", first->intensity,
		second->intensity);
}

static void remark_order(Plan *plan, const PlanTensor *tensor, size_t late)
{
	const Statement *first = tensor->links.at[late - 1].statement, *second = tensor->links.at[late].statement;
	diag_remark(plan->c, "order", first->loc, "%s: %s before %s: %s", tensor->file->name, first->pass->name,
		second->pass->name, order_reason(plan, tensor, late));
}

/* A tensor that two statements give a dtype; others that the same two do. */
typedef struct TwoGrids {
	const Statement *first, *second;
	const PlanTensor *tensor;
	size_t others;
} TwoGrids;
typedef VEC(TwoGrids) TwoGridsVec;

static bool check_grids(Plan *plan, const PlanTensor *tensor, TwoGridsVec *found)
{
	const Statement *grid = NULL;
	for (size_t i = 0; i < tensor->links.count; i++) {
		const Statement *s = tensor->links.at[i].statement;
		if (!s->is_grid)
			continue;
		for (size_t k = 0; grid && k < found->count; k++)
			if (found->at[k].first == grid && found->at[k].second == s) {
				found->at[k].others++;
				return false;
			}
		if (grid) {
			vec_push(plan->c->arena, found, ((TwoGrids){grid, s, tensor, 0}));
			return false;
		}
		grid = s;
	}
	return true;
}

static void report_grids(Plan *plan, const TwoGrids *two)
{
	const char *name = two->tensor->file->name;
	const char *others = two->others ? arena_printf(plan->c->arena, " (and %zu more)", two->others) : "";
	diag_error(plan->c, two->second->loc, "\"%s\"%s is given a dtype twice", name, others);
	diag_note(plan->c, two->first->loc, "it is given one here already");
	diag_help(plan->c, "exclude it from one of them: `on .. except \"%s\"`, or say `rest`", name);
}

static bool check_then(Plan *plan, const PlanTensor *tensor)
{
	for (size_t i = 1; i < tensor->links.count; i++) {
		const PlanLink *early = &tensor->links.at[i - 1], *late = &tensor->links.at[i];
		if (!early->statement->is_grid || late->statement->is_grid || late->statement->facts.folds_bias)
			continue;
		diag_error(plan->c, late->statement->loc, "%s cannot follow %s: it would move weights off the grid",
			late->statement->pass->name, early->statement->pass->name);
		diag_note(plan->c, early->statement->loc, "this leaves \"%s\" on a dtype's grid", tensor->file->name);
		return false;
	}
	return true;
}

static bool order_tensor(Plan *plan, PlanTensor *tensor)
{
	size_t n = tensor->links.count, movable = 0;
	bool keeps_text = text_order_reason(tensor) != NULL;
	for (size_t i = 0; i < n; i++)
		movable += !tensor->links.at[i].statement->is_grid;
	for (size_t i = 0; i < n && movable > 1; i++) {
		if (tensor->links.at[i].statement->is_grid || tensor->reads.count ||
			tensor->links.at[i].statement->facts.is_sharing || tensor->links.at[i].statement->facts.folds_bias)
			continue; /* what is read says nothing of a random matrix */
		tensor->links.at[i].intensity = intensity_of(plan, tensor, &tensor->links.at[i]);
		if (tensor->links.at[i].intensity < 0)
			return false;
	}
	for (size_t i = 1; i < n; i++) /* insertion: short lists, stable */
		for (size_t j = i; j > 0 && is_before(&tensor->links.at[j], &tensor->links.at[j - 1], keeps_text); j--) {
			PlanLink swap = tensor->links.at[j];
			tensor->links.at[j] = tensor->links.at[j - 1];
			tensor->links.at[j - 1] = swap;
		}
	for (size_t i = 1; i < n && plan->c->options.remarks; i++)
		remark_order(plan, tensor, i);
	return check_then(plan, tensor);
}

bool plan_order(Plan *plan)
{
	size_t errors = diag_errors(plan->c);
	TwoGridsVec found = {0};
	for (size_t i = 0; i < plan->tensors.count; i++)
		if (check_grids(plan, &plan->tensors.at[i], &found))
			order_tensor(plan, &plan->tensors.at[i]);
	for (size_t i = 0; i < found.count; i++)
		report_grids(plan, &found.at[i]);
	return diag_errors(plan->c) == errors;
}
