/* SPDX-License-Identifier: MIT
 *
 * kernels.c: one kernel per chain, input type and row length, shared by all
 * tensors that need the same. A chain that works row by row takes any number of
 * rows; one that looks across rows is built for the rows it will get, and run whole.
 */
#include "plan.h"

#include <string.h>

/* Which of the tensor's kernels is meant. */
typedef struct Wanted {
	const PlanTensor *tensor;
	size_t keys_of;  /* Chain.keys_of */
	bool is_unfused; /* Chain.is_unfused */
	bool is_places;  /* Chain.places_only */
} Wanted;

/* The links of the tensor's chain that a kernel has: those up to the keys it is for, or all. */
static size_t link_count(const Plan *plan, const Wanted *wanted)
{
	const PlanTensor *tensor = wanted->tensor;
	return wanted->keys_of ? plan->kernels.at[tensor->kernel].built.selects.at[wanted->keys_of - 1].link + 1
						   : tensor->links.count;
}

static bool leaves_values(const Plan *plan, const Wanted *wanted)
{
	return !wanted->keys_of && !wanted->is_places && tensor_leaves_values(plan, wanted->tensor);
}

static const char *key_of(Plan *plan, const Wanted *wanted, bool is_whole)
{
	Text key = {.arena = plan->c->arena};
	const PlanTensor *tensor = wanted->tensor;
	text_printf(&key, "%s %lld", tensor->file->dtype, (long long)tensor->cols);
	if (is_whole)
		text_printf(&key, " x %lld", (long long)tensor->rows);
	if (tensor->is_transposed)
		text_printf(&key, " transposed");
	for (size_t i = 0; i < link_count(plan, wanted); i++) {
		const PlanLink *link = &tensor->links.at[i];
		text_printf(&key, "; %s", link->label);
		if (link->statement->facts.is_family) /* its equations know how large the selection is */
			text_printf(&key, " on %lld, %lld", (long long)link->statement->family.members,
				(long long)link->statement->family.elements);
	}
	for (size_t i = 0; i < tensor->reads.count; i++) {
		const CkTensor *read = plan->reads.at[tensor->reads.at[i]].file;
		text_printf(&key, "; reads %s", read->dtype);
		for (int64_t d = 0; d < read->rank; d++)
			text_printf(&key, " %lld", (long long)read->shape[d]);
	}
	if (tensor->sample_rows)
		text_printf(&key, "; rows %lld", (long long)tensor->sample_rows);
	if (wanted->keys_of)
		text_printf(&key, "; keys %zu", wanted->keys_of);
	if (wanted->is_unfused)
		text_printf(&key, "; not fused");
	if (wanted->is_places)
		text_printf(&key, "; places");
	if (leaves_values(plan, wanted))
		text_printf(&key, "; values");
	return key.at;
}

/* ---- facts that equations ask for ---- */

/* Answers as a tensor's facts do, and keeps what was asked. */
typedef struct Asked {
	Compiler *c;
	const Scope *facts;
	NameVec *names;
} Asked;

static bool ask(void *context, Name name, Value *out)
{
	Asked *asked = context;
	size_t i = 0;
	while (i < asked->names->count && asked->names->at[i] != name)
		i++;
	if (i == asked->names->count)
		vec_push(asked->c->arena, asked->names, name);
	return scope_find(asked->facts, name, out);
}

static const Scope *asking_scope(Plan *plan, const Scope *facts, NameVec *names)
{
	Asked *asked = arena_new_of(plan->c->arena, Asked);
	Scope *scope = scope_new(plan->c, NULL);
	*asked = (Asked){plan->c, facts, names};
	scope->ask = ask;
	scope->context = asked;
	return scope;
}

/* Does the tensor answer all that was asked when the kernel was built as that one's tensor did? */
static bool same_facts(Plan *plan, const PlanKernel *kernel, const PlanTensor *tensor)
{
	for (size_t i = 0; i < kernel->asked->count; i++) {
		Value a = {.kind = VALUE_ERROR}, b = a;
		Text text[2] = {{.arena = plan->c->arena}, {.arena = plan->c->arena}};
		scope_find(kernel->facts, kernel->asked->at[i], &a);
		scope_find(tensor->facts, kernel->asked->at[i], &b);
		value_print(&a, &text[0]);
		value_print(&b, &text[1]);
		if (a.kind != b.kind || text[0].count != text[1].count || memcmp(text[0].at, text[1].at, text[0].count) != 0)
			return false;
	}
	return true;
}

static size_t find_kernel(Plan *plan, const PlanTensor *tensor, const char *key)
{
	size_t i = 0;
	while (i < plan->kernels.count &&
		   (strcmp(plan->kernels.at[i].key, key) || !same_facts(plan, &plan->kernels.at[i], tensor)))
		i++;
	return i;
}

static bool build(Plan *plan, PlanKernel *kernel)
{
	ScheduleOptions options = {
		.lanes = plan->options->lanes ? plan->options->lanes : 8, .owns_inputs = kernel->is_whole};
	if (!chain_build(plan->p, &kernel->chain, &kernel->built))
		return false;
	if (!kernel->chain.rows && kernel->built.needs_all_rows)
		return true;
	if (plan->options->checks_only)
		return true; /* verified as it was built */
	kernel_schedule(kernel->built.kernel, &options);
	return kernel_verify(kernel->built.kernel);
}

static void make_chain(Plan *plan, const Wanted *wanted, PlanKernel *kernel, bool is_whole)
{
	const PlanTensor *tensor = wanted->tensor;
	size_t count = link_count(plan, wanted);
	ChainLink *links = arena_array(plan->c->arena, ChainLink, count);
	for (size_t i = 0; i < count; i++) {
		const PlanLink *link = &tensor->links.at[i];
		const Family *family = link->statement->facts.is_family ? &link->statement->family : NULL;
		links[i] = (ChainLink){
			link->statement->pass, link->arguments, link->statement->loc, family, fold_body(plan, link), link->part};
	}
	const char *name = arena_printf(plan->c->arena, "kernel_%zu", plan->kernels.count);
	kernel->facts = tensor->facts;
	kernel->asked = arena_new_of(plan->c->arena, NameVec);
	kernel->chain = (Chain){.name = name_of(plan->c, name),
		.input = tensor->store,
		.coded = tensor->coded,
		.layout = tensor->layout,
		.rows = is_whole ? tensor->rows : 0,
		.cols = tensor->cols,
		.links = links,
		.link_count = count,
		.facts = asking_scope(plan, tensor->facts, kernel->asked),
		.container = plan->output_format->name,
		.holds_planes = plan->output_format->holds_planes,
		.tensor_shape = read_shape,
		.context = plan,
		.keys_of = wanted->keys_of,
		.is_transposed = tensor->is_transposed,
		.is_turned = tensor->place.is_turned,
		.is_unfused = wanted->is_unfused,
		.places_only = wanted->is_places,
		.wants_values = leaves_values(plan, wanted),
		.wants_error = plan->wants_error};
	if (tensor_asks_input(tensor) || tensor_is_folded(tensor)) {
		kernel->chain.input_rows = plan->input_rows * (tensor->sample_rows ? tensor->sample_rows : 1);
		kernel->chain.sample_rows = tensor->sample_rows;
	}
	kernel->is_whole = is_whole;
}

bool statistic_build(Plan *plan, const PlanTensor *tensor, size_t number, Name name, ChainKernel *out)
{
	Chain chain = plan->kernels.at[tensor->kernel].chain;
	chain.name = name;
	chain.statistic = number;
	return chain_build(plan->p, &chain, out);
}

static bool is_unbuilt(const Plan *plan, Name key)
{
	for (size_t i = 0; i < plan->unbuilt.count; i++)
		if (plan->unbuilt.at[i] == key)
			return true;
	return false;
}

static bool runs_by_rows(const Plan *plan, const ChainKernel *built)
{
	return plan->options->checks_only ? !built->needs_all_rows : kernel_is_streamed(built->kernel);
}

/* False: reported. */
static bool find_or_build(Plan *plan, const Wanted *wanted, size_t *number)
{
	const PlanTensor *tensor = wanted->tensor;
	for (int is_whole = tensor->is_transposed || wanted->is_unfused; is_whole < 2; is_whole++) {
		const char *key = key_of(plan, wanted, is_whole);
		*number = find_kernel(plan, tensor, key);
		if (*number < plan->kernels.count)
			break;
		PlanKernel kernel = {.key = key};
		if (is_unbuilt(plan, name_of(plan->c, key)))
			return false;
		make_chain(plan, wanted, &kernel, is_whole);
		if (!build(plan, &kernel)) {
			vec_push(plan->c->arena, &plan->unbuilt, name_of(plan->c, key));
			if (diag_errors(plan->c) && tensor->links.count)
				diag_note(plan->c, tensor->links.at[0].statement->loc, "while building it for \"%s\" [%lld, %lld]",
					tensor->file->name, (long long)tensor->rows, (long long)tensor->cols);
			return false;
		}
		if (!is_whole && !runs_by_rows(plan, &kernel.built))
			continue;
		vec_push(plan->c->arena, &plan->kernels, kernel);
		break;
	}
	plan->kernels.at[*number].users++;
	return true;
}

bool kernel_for_keys(Plan *plan, const PlanTensor *tensor, size_t keys_of, size_t *number)
{
	return find_or_build(plan, &(Wanted){.tensor = tensor, .keys_of = keys_of}, number);
}

/* ---- extents that depend on data: what a kernel makes is cut by what another one finds first ---- */

typedef enum Uncut { UNCUT_STACK, UNCUT_SELECTION, CUT } Uncut;

/* Why tensors that a statement begins with cannot be cut. */
typedef struct Refusal {
	const Statement *statement;
	Uncut reason;
	const PlanTensor *first;
	size_t count;
} Refusal;
typedef VEC(Refusal) RefusalVec;

static void refuse(Plan *plan, RefusalVec *refusals, const PlanTensor *tensor, Uncut reason)
{
	const Statement *statement = tensor->links.at[0].statement;
	for (size_t i = 0; i < refusals->count; i++)
		if (refusals->at[i].statement == statement && refusals->at[i].reason == reason) {
			refusals->at[i].count++;
			return;
		}
	Refusal refusal = {statement, reason, tensor, 1};
	vec_push(plan->c->arena, refusals, refusal);
}

static void report_refusal(Plan *plan, const Refusal *refusal)
{
	const char *name = refusal->first->file->name, *others = "";
	if (refusal->count > 1)
		others = arena_printf(plan->c->arena, " (and of %zu more)", refusal->count - 1);
	if (refusal->reason == UNCUT_STACK)
		diag_error(plan->c, refusal->statement->loc,
			"what is left of \"%s\"%s would differ from matrix to matrix: it is a stack of %lld", name, others,
			(long long)refusal->first->stack);
	else
		diag_error(plan->c, refusal->statement->loc,
			"what is left of \"%s\"%s would depend on a selection over several tensors: not supported yet", name,
			others);
}

static Uncut uncut_by(const PlanKernel *kernel, const PlanTensor *tensor)
{
	return tensor->stack > 1 ? UNCUT_STACK : kernel->built.selects.count ? UNCUT_SELECTION : CUT;
}

static bool kernel_for(Plan *plan, PlanTensor *tensor, RefusalVec *refusals)
{
	Wanted wanted = {.tensor = tensor, .is_unfused = plan->options->no_fuse && tensor->links.count > 1};
	Wanted places = {.tensor = tensor, .is_places = true};
	tensor->places = SIZE_MAX;
	if (!find_or_build(plan, &wanted, &tensor->kernel))
		return false;
	const PlanKernel *kernel = &plan->kernels.at[tensor->kernel];
	if (!kernel->built.places.axis)
		return true;
	Uncut reason = uncut_by(kernel, tensor);
	if (reason == CUT)
		return find_or_build(plan, &places, &tensor->places);
	refuse(plan, refusals, tensor, reason);
	return false;
}

bool plan_kernels(Plan *plan)
{
	RefusalVec refusals = {0};
	bool ok = true;
	for (size_t i = 0; i < plan->tensors.count; i++)
		if (tensor_has_kernel(&plan->tensors.at[i]))
			ok &= kernel_for(plan, &plan->tensors.at[i], &refusals);
	for (size_t i = 0; i < refusals.count; i++)
		report_refusal(plan, &refusals.at[i]);
	return ok && folds_build(plan);
}

bool plan_unfused(Plan *plan)
{
	size_t before = plan->kernels.count;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		PlanTensor *tensor = &plan->tensors.at[i];
		Wanted wanted = {.tensor = tensor, .is_unfused = true};
		tensor->unfused = tensor->kernel;
		if (!plan->options->no_fuse && tensor->links.count > 1 && !find_or_build(plan, &wanted, &tensor->unfused))
			return false;
	}
	if (plan->kernels.count > before)
		plan_unfused_jobs(plan);
	return true;
}
