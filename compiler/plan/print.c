/* SPDX-License-Identifier: MIT
 *
 * print.c: the dry run as text. What it prints is legal .cmp: one statement for
 * each group of tensors that get the same passes, joined by `then` in the order
 * they run; planning it again changes nothing. Figures stand in comments. No
 * times: those belong to the machine (the executable's own --dry-run has them).
 */
#include "plan.h"

#include <string.h>

static void print_bytes(Text *to, int64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	int unit = 0;
	while (value >= 1024 && unit < 4) {
		value /= 1024;
		unit++;
	}
	text_printf(to, unit ? "%.2f %s" : "%.0f %s", value, units[unit]);
}

static int64_t output_bytes(const Plan *plan, const PlanTensor *tensor)
{
	int64_t bytes = 0;
	for (size_t i = 0; i < tensor->output_count; i++)
		bytes += plan->program->outputs[tensor->first_output + i].bytes;
	return bytes;
}

/* ---- groups of tensors with the same chain ---- */

static bool same_chain(const PlanTensor *a, const PlanTensor *b)
{
	if (a->links.count != b->links.count)
		return false;
	for (size_t i = 0; i < a->links.count; i++)
		if (strcmp(a->links.at[i].label, b->links.at[i].label))
			return false;
	return true;
}

static bool is_first_of_group(const Plan *plan, size_t number)
{
	for (size_t i = 0; i < number; i++)
		if (same_chain(&plan->tensors.at[i], &plan->tensors.at[number]))
			return false;
	return true;
}

typedef struct Group {
	size_t tensors, kernels;
	int64_t elements, before, after;
} Group;

static Group group_of(const Plan *plan, const PlanTensor *like)
{
	Group group = {0};
	VEC(size_t) seen = {0};
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		if (!same_chain(tensor, like))
			continue;
		group.tensors++;
		group.elements += tensor->stack * tensor->rows * tensor->cols;
		group.before += tensor->file->bytes;
		group.after += output_bytes(plan, tensor);
		bool is_new = tensor->kernel != SIZE_MAX;
		for (size_t j = 0; j < seen.count; j++)
			is_new &= seen.at[j] != tensor->kernel;
		if (is_new)
			vec_push(plan->c->arena, &seen, tensor->kernel);
	}
	group.kernels = seen.count;
	return group;
}

static void print_names(const Plan *plan, const PlanTensor *like, Text *to)
{
	size_t count = 0, column = 0;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		if (!same_chain(tensor, like))
			continue;
		size_t length = strlen(tensor->file->name) + 4;
		bool is_full = count && column + length > 110;
		text_printf(to, "%s%s\"%s\"", count ? "," : "", is_full ? "\n     " : count ? " " : "", tensor->file->name);
		column = is_full ? length : column + length;
		count++;
	}
}

static void print_group(const Plan *plan, const PlanTensor *like, Text *to)
{
	Group group = group_of(plan, like);
	text_printf(to, "\n  # %zu tensor%s, %lld weights, ", group.tensors, group.tensors == 1 ? "" : "s",
		(long long)group.elements);
	print_bytes(to, group.before);
	text_printf(to, " -> ");
	print_bytes(to, group.after);
	if (!like->links.count) {
		text_printf(to, ": copied byte for byte\n");
		return;
	}
	text_printf(to, ", %.3f bits a weight; %zu kernel%s, one sweep", 8.0 * (double)group.after / (double)group.elements,
		group.kernels, group.kernels == 1 ? "" : "s");
	text_printf(to, plan->kernels.at[like->kernel].is_whole ? " over whole tensors\n" : "\n");
	for (size_t i = 0; i < like->links.count; i++) {
		text_printf(to, "%s%s on ", i ? "\n    then " : "  ", like->links.at[i].label);
		print_names(plan, like, to);
	}
	text_printf(to, "\n");
}

/* ---- the whole ---- */

static void print_head(const Plan *plan, Text *to)
{
	text_printf(to, "model %s from \"%s\"\n\n", plan->model->name, plan->model_path);
	text_printf(to, "# %s, %lld file%s, %zu tensors", plan->checkpoint->format->name,
		(long long)plan->checkpoint->file_count, plan->checkpoint->file_count == 1 ? "" : "s", plan->tensors.count);
	if (plan->layers)
		text_printf(to, ", %lld layers", (long long)plan->layers);
	text_printf(to, "\npipeline %s of %s for %s {", plan->pipeline->name, plan->model->name, plan->target->name);
}

static void print_tail(const Plan *plan, Text *to)
{
	int64_t before = 0, moved = 0;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		before += plan->tensors.at[i].file->bytes;
		moved += output_bytes(plan, &plan->tensors.at[i]);
	}
	text_printf(to, "\n");
	for (size_t i = 0; i < plan->requires.count; i++) {
		text_printf(to, "  require ");
		source_print(plan->c, plan->requires.at[i].node, to);
		text_printf(to, "\n");
	}
	text_printf(to, "  save \"%s\"\n", plan->output_path);
	if (plan->report && plan->report->text)
		text_printf(to, "  report \"%s\"\n", plan->report->text);
	text_printf(to, "}\n\n# weights are read once, %lld bytes, and written once, %lld bytes\n", (long long)before,
		(long long)moved);
	text_printf(to, "# output: %lld bytes (", (long long)plan->program->output_bytes);
	print_bytes(to, plan->program->output_bytes);
	text_printf(to, ") in %lld file%s, %.1f%% of the input; to the byte\n", (long long)plan->layout->file_count,
		plan->layout->file_count == 1 ? "" : "s",
		before ? 100.0 * (double)plan->program->output_bytes / (double)before : 0.0);
}

void plan_print(const Plan *plan, Text *to)
{
	print_head(plan, to);
	for (size_t i = 0; i < plan->tensors.count; i++)
		if (is_first_of_group(plan, i))
			print_group(plan, &plan->tensors.at[i], to);
	print_tail(plan, to);
}
