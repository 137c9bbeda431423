/* SPDX-License-Identifier: MIT
 *
 * reads.c: tensors of other checkpoints, where an argument of a pass is
 * `tensor("file", "name")`. On entry every tensor has its links; on exit their files'
 * headers are open, each once, and every link's tensors are found: numbers, and as many
 * axes as the parameter has, or none where that may stand for what a file does not
 * have. Whether the extents fit is for the equations to say.
 */
#include "plan.h"

#include <string.h>

static bool open_source(Plan *plan, const Value *value, size_t *number)
{
	CmprtError error;
	for (*number = 0; *number < plan->sources.count; ++*number)
		if (!strcmp(plan->sources.at[*number].path, value->text))
			return plan->sources.at[*number].checkpoint != NULL;
	PlanSource source = {.path = value->text, .checkpoint = checkpoint_open(value->text, &error)};
	if (!source.checkpoint)
		diag_error(plan->c, value->loc, "%s", error.text);
	vec_push(plan->c->arena, &plan->sources, source);
	return source.checkpoint != NULL;
}

static bool report_missing(Plan *plan, const Checkpoint *checkpoint, const Value *value, const PlanTensor *tensor)
{
	NameVec known = {0};
	diag_error(
		plan->c, value->loc, "%s has no tensor \"%s\", for \"%s\"", value->text, value->tensor, tensor->file->name);
	for (int64_t i = 0; i < checkpoint->tensor_count; i++)
		vec_push(plan->c->arena, &known, name_of(plan->c, checkpoint->tensors[i].name));
	diag_nearest(plan->c, name_of(plan->c, value->tensor), &known);
	return false;
}

/* As many axes as the parameter has, but for those of one element in front. */
static bool rank_fits(const CkTensor *file, const Node *axes)
{
	int64_t more = axes ? file->rank - axes->kid_count : 0;
	if (!axes || more < 0)
		return !axes && file->rank <= K_MAX_RANK;
	for (int64_t i = 0; i < more; i++)
		if (file->shape[i] != 1)
			return false;
	return file->rank <= K_MAX_RANK;
}

/* Can equations take it in the place of this parameter? */
static bool check_read(Plan *plan, const Value *value, const Node *param, const CkTensor *file)
{
	const Node *axes = param->kids[0];
	Store store = tensor_store(plan->c, file);
	if (store.kind == STORE_NONE || store_type(store) < T_I32) {
		diag_error(plan->c, value->loc, "%s: \"%s\" is stored as %s: equations read f32, f16, bf16, f64 or integers",
			value->text, file->name, file->dtype);
		return false;
	}
	if (!rank_fits(file, axes)) {
		diag_error(plan->c, value->loc, "%s: \"%s\" is of rank %lld", value->text, file->name, (long long)file->rank);
		diag_note(plan->c, param->loc, axes ? "this parameter is of rank %u" : "ranks up to %u can be read",
			axes ? axes->kid_count : K_MAX_RANK);
		return false;
	}
	for (int64_t i = 0; i < file->rank; i++)
		if (file->shape[i] < 1 || file->shape[i] > INT32_MAX) {
			diag_error(plan->c, value->loc, "%s: axis %lld of \"%s\" has %lld elements: it must have 1 to %d",
				value->text, (long long)i, file->name, (long long)file->shape[i], INT32_MAX);
			return false;
		}
	return true;
}

static void add_read(Plan *plan, PlanTensor *tensor, size_t source, const CkTensor *file)
{
	PlanRead read = {source, file};
	size_t i = 0;
	while (i < plan->reads.count && plan->reads.at[i].file != file)
		i++;
	if (i == plan->reads.count)
		vec_push(plan->c->arena, &plan->reads, read);
	for (size_t k = 0; k < tensor->reads.count; k++)
		if (tensor->reads.at[k] == i)
			return;
	vec_push(plan->c->arena, &tensor->reads, i);
}

static bool find_read(Plan *plan, PlanTensor *tensor, const PlanLink *link, const ScopeEntry *argument)
{
	const Node *params = decl_params(link->statement->pass);
	const Value *value = &argument->value;
	size_t source;
	if (!open_source(plan, value, &source))
		return false;
	const Checkpoint *checkpoint = plan->sources.at[source].checkpoint;
	const CkTensor *file = checkpoint_find(checkpoint, value->tensor);
	if (!file)
		return report_missing(plan, checkpoint, value, tensor);
	for (uint32_t i = 0; i < params->kid_count; i++)
		if (params->kids[i]->name == argument->name && !check_read(plan, value, params->kids[i], file))
			return false;
	add_read(plan, tensor, source, file);
	return true;
}

/* Of a tensor that need not be there, what stands for it; false: reported. */
static bool settle(Plan *plan, const PlanTensor *tensor, Value *value)
{
	while (value->kind == VALUE_TENSOR && value->otherwise) {
		size_t number;
		if (!open_source(plan, value, &number))
			return false;
		PlanSource *source = &plan->sources.at[number];
		if (!source->asks)
			source->asks = tensor;
		source->loc = value->loc;
		bool is_there = checkpoint_find(source->checkpoint, value->tensor) != NULL;
		source->has_answered |= is_there;
		if (is_there)
			value->otherwise = NULL;
		else
			*value = *value->otherwise;
	}
	return true;
}

static bool settle_arguments(Plan *plan, const PlanTensor *tensor, PlanLink *link)
{
	Scope *settled = scope_new(plan->c, link->arguments->outer);
	bool is_changed = false;
	for (size_t i = 0; i < link->arguments->names.count; i++) {
		ScopeEntry entry = link->arguments->names.at[i];
		is_changed |= entry.value.kind == VALUE_TENSOR && entry.value.otherwise;
		if (!settle(plan, tensor, &entry.value))
			return false;
		scope_bind(plan->c, settled, entry.name, entry.value);
	}
	if (is_changed) {
		link->arguments = settled;
		link->label = statement_label(plan, link->statement, settled);
	}
	return true;
}

/* A file of which nothing is read at all is the wrong one, or speaks of another model. */
static bool check_sources(Plan *plan)
{
	bool ok = true;
	for (size_t i = 0; i < plan->sources.count; i++) {
		const PlanSource *source = &plan->sources.at[i];
		if (!source->asks || source->has_answered)
			continue;
		diag_error(plan->c, source->loc, "%s has nothing for any of the tensors that ask it, \"%s\" the first",
			source->path, source->asks->file->name);
		diag_help(plan->c, "cmpc inspect %s shows what it has", source->path);
		ok = false;
	}
	return ok;
}

static bool find_reads(Plan *plan, PlanTensor *tensor, PlanLink *link)
{
	if (!settle_arguments(plan, tensor, link))
		return false;
	for (size_t i = 0; i < link->arguments->names.count; i++) {
		const ScopeEntry *argument = &link->arguments->names.at[i];
		if (argument->value.kind == VALUE_TENSOR && !find_read(plan, tensor, link, argument))
			return false;
	}
	return true;
}

/* One error is enough of each, and of each recipe: other tensors are likely to lack the same. */
static bool is_alike(const Statement *a, const Statement *b)
{
	return a == b || (a->recipe && a->recipe == b->recipe);
}

/* In the order in which the kernel will ask for them. */
bool plan_reads(Plan *plan)
{
	VEC(const Statement *) failed = {0};
	for (size_t i = 0; i < plan->tensors.count; i++)
		for (size_t k = 0; k < plan->tensors.at[i].links.count; k++) {
			PlanLink *link = &plan->tensors.at[i].links.at[k];
			size_t f = 0;
			while (f < failed.count && !is_alike(failed.at[f], link->statement))
				f++;
			if (f == failed.count && !find_reads(plan, &plan->tensors.at[i], link))
				vec_push(plan->c->arena, &failed, link->statement);
		}
	return failed.count == 0 && check_sources(plan);
}

bool read_shape(void *context, const Value *value, int64_t *rank, int64_t *shape, Store *store)
{
	const Plan *plan = context;
	for (size_t i = 0; i < plan->reads.count; i++) {
		const CkTensor *file = plan->reads.at[i].file;
		if (strcmp(plan->sources.at[plan->reads.at[i].source].path, value->text) || strcmp(file->name, value->tensor))
			continue;
		*rank = file->rank;
		memcpy(shape, file->shape, sizeof *shape * (size_t)file->rank);
		*store = tensor_store(plan->c, file);
		return true;
	}
	diag_error(plan->c, value->loc, "internal: \"%s\" of %s was not found before", value->tensor, value->text);
	return false;
}

void plan_close_reads(Plan *plan)
{
	for (size_t i = 0; i < plan->sources.count; i++)
		checkpoint_close(plan->sources.at[i].checkpoint);
}
