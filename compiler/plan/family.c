/* SPDX-License-Identifier: MIT
 *
 * family.c: what passes on a whole selection have to know of all of it. For each
 * selection by rank that their equations make, the kernels of the members' keys; and
 * for each member its place in the order of the family. Selections are decided in the
 * order of the text: a later one may look at what an earlier one left.
 */
#include "plan.h"

#include <string.h>

bool tensor_is_member(const PlanTensor *tensor, const Statement *statement, size_t *link)
{
	for (*link = 0; *link < tensor->links.count; ++*link)
		if (tensor->links.at[*link].statement == statement)
			return true;
	return false;
}

/* All members run the same equations: with the same arguments. */
static bool check_arguments(Plan *plan, const Statement *statement)
{
	const PlanTensor *first = NULL;
	size_t link, first_link = 0;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		if (!tensor_is_member(tensor, statement, &link))
			continue;
		if (first && strcmp(tensor->links.at[link].label, first->links.at[first_link].label)) {
			diag_error(plan->c, statement->loc, "%s works on its whole selection at once: its arguments cannot differ",
				statement->pass->name);
			diag_note(plan->c, statement->loc, "%s for \"%s\", %s for \"%s\"", first->links.at[first_link].label,
				first->file->name, tensor->links.at[link].label, tensor->file->name);
			return false;
		}
		if (!first) {
			first = tensor;
			first_link = link;
		}
	}
	return true;
}

/* Number, from 0 on, of the within-th selection of this link among all of the tensor's chain; false: there is none. */
static bool find_select(const Plan *plan, const PlanTensor *tensor, size_t link, size_t within, size_t *number)
{
	const FamilySelectVec *selects = &plan->kernels.at[tensor->kernel].built.selects;
	for (*number = 0; *number < selects->count; ++*number)
		if (selects->at[*number].link == link && within-- == 0)
			return true;
	return false;
}

static bool add_member(Plan *plan, PlanSelect *select, size_t number, size_t keys_of, int64_t first)
{
	PlanTensor *tensor = &plan->tensors.at[number];
	const FamilySelect *own = &plan->kernels.at[tensor->kernel].built.selects.at[keys_of - 1];
	PlanKeys keys = {.tensor = number, .shares = keys_of - 1};
	if (select->keys.count && select->limit != own->limit) {
		diag_error(plan->c, own->loc, "how many of a family are selected must be the same for all members");
		diag_note(plan->c, select->statement->loc, "%lld for \"%s\", %lld for \"%s\"", (long long)select->limit,
			plan->tensors.at[select->keys.at[0].tensor].file->name, (long long)own->limit, tensor->file->name);
		return false;
	}
	select->limit = own->limit;
	if (!kernel_for_keys(plan, tensor, keys_of, &keys.kernel))
		return false;
	vec_push(plan->c->arena, &select->keys, keys);
	PlanShare share = {.select = plan->selects.count, .first = first};
	vec_push(plan->c->arena, &tensor->shares, share);
	return true;
}

/* The within-th selection that the statement's equations make; none: nothing is added. */
static bool add_select(Plan *plan, const Statement *statement, size_t within)
{
	PlanSelect select = {.statement = statement};
	int64_t first = 0;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		size_t link, number;
		if (!tensor_is_member(tensor, statement, &link) || !find_select(plan, tensor, link, within, &number))
			continue;
		if (!add_member(plan, &select, i, number + 1, first))
			return false;
		first += tensor->stack * tensor->rows * tensor->cols;
	}
	if (select.keys.count && select.keys.count < statement->matched) {
		diag_error(plan->c, statement->loc, "%s selects over its family for some members only", statement->pass->name);
		return false;
	}
	if (select.keys.count)
		vec_push(plan->c->arena, &plan->selects, select);
	return true;
}

bool plan_families(Plan *plan)
{
	for (size_t i = 0; i < plan->statements.count; i++) {
		const Statement *statement = plan->statements.at[i];
		if (!statement->facts.is_family)
			continue;
		if (!check_arguments(plan, statement))
			return false;
		size_t before;
		size_t within = 0;
		do {
			before = plan->selects.count;
			if (!add_select(plan, statement, within++))
				return false;
		} while (plan->selects.count > before);
	}
	return true;
}
