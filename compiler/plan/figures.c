/* SPDX-License-Identifier: MIT
 *
 * figures.c: what is measured on data when the run ends: the model's net fitted to the
 * model, and to the result. That is not there yet, but its headers are known to the byte:
 * they are written as files whose tensors are holes, opened as any checkpoint is, and
 * removed. On exit the plan's kernels have those of both nets, and the program their
 * tables.
 */
#include "net.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the result's headers ---- */

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	(void)info, (void)kind, (void)where;
	return remove(path);
}

/* The head and a hole behind it. */
static bool write_holes(const char *path, const void *head, int64_t head_bytes, int64_t bytes)
{
	FILE *to = fopen(path, "wbxe");
	bool is_written = to && fwrite(head, 1, (size_t)head_bytes, to) == (size_t)head_bytes && fflush(to) == 0 &&
					  ftruncate(fileno(to), bytes) == 0;
	return (!to || fclose(to) == 0) && is_written;
}

/* Side files are those of the model, or made. */
static bool write_sides(const Plan *plan, const char *folder)
{
	for (int64_t i = 0; i < plan->layout->side_count; i++) {
		const CkSide *side = &plan->layout->sides[i];
		const char *path = arena_printf(plan->c->arena, "%s/%s", folder, side->name);
		char *from = side->copy_from ? realpath(side->copy_from, NULL) : NULL;
		bool is_there = side->copy_from ? from && symlink(from, path) == 0
										: write_holes(path, side->text, side->bytes, side->bytes);
		free(from);
		if (!is_there)
			return false;
	}
	return true;
}

static bool write_headers(const Plan *plan, const char *folder, const char *path)
{
	for (int64_t i = 0; i < plan->layout->file_count; i++) {
		const CkOutFile *file = &plan->layout->files[i];
		const char *name = plan->into_folder ? arena_printf(plan->c->arena, "%s/%s", folder, file->name) : path;
		if (!write_holes(name, file->head, file->head_bytes, file->bytes))
			return false;
	}
	return write_sides(plan, folder);
}

/* As the runtime will find the result; false: reported. */
static bool open_result(Plan *plan)
{
	CmprtError error = {.text = ""};
	const char *parent = getenv("TMPDIR");
	char *folder = arena_printf(plan->c->arena, "%s/cmpc-plan-XXXXXX", parent && *parent ? parent : "/tmp");
	if (!mkdtemp(folder)) {
		diag_fatal(plan->c, "cannot make the folder %s: %s", folder, strerror(errno));
		return false;
	}
	const char *path =
		plan->into_folder ? folder : arena_printf(plan->c->arena, "%s/result%s", folder, plan->output_format->suffix);
	if (write_headers(plan, folder, path))
		plan->written = checkpoint_open(path, &error);
	else
		diag_fatal(plan->c, "cannot write headers into %s: %s", folder, strerror(errno));
	if (*error.text)
		diag_error(plan->c, plan->pipeline->node->loc, "the result cannot be measured: %s", error.text);
	nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return plan->written != NULL;
}

/* ---- nets ---- */

static bool wants_logits(const Plan *plan, const Decl *data)
{
	for (size_t i = 0; i < plan->figures.count; i++)
		if (plan->figures.at[i].data == data && !strcmp(metric_name(plan->figures.at[i].metric), "kl"))
			return true;
	return false;
}

/* Data sets of figures, in their order, each once. */
static DeclVec data_of_figures(const Plan *plan)
{
	DeclVec data = {0};
	for (size_t i = 0; i < plan->figures.count; i++) {
		Decl *own = plan->figures.at[i].data;
		bool is_known = own == NULL;
		for (size_t k = 0; k < data.count; k++)
			is_known |= data.at[k] == own;
		if (!is_known)
			vec_push(plan->c->arena, &data, own);
	}
	return data;
}

/* What the result says of itself: in another container it has other names, and rows in another order. A single file of
 * tensors alone says nothing, and is as the model has it. NULL: reported. */
static const Scope *facts_of_result(const Plan *plan)
{
	Scope *facts = scope_new(plan->c, NULL);
	if (!config_bind(plan->c, plan->written, plan->output_path, facts))
		return NULL;
	return facts->names.count ? facts : plan->model_facts;
}

static Measure *make_measure(
	Plan *plan, const Checkpoint *checkpoint, const Scope *facts, const char *path, const char *suffix)
{
	ScheduleOptions *options = arena_new_of(plan->c->arena, ScheduleOptions);
	Measure *made = arena_new_of(plan->c->arena, Measure);
	*options = (ScheduleOptions){.lanes = plan->options->lanes ? plan->options->lanes : 8};
	*made = (Measure){.p = plan->p,
		.c = plan->c,
		.model = plan->model,
		.checkpoint = checkpoint,
		.reader = plan->checkpoint,
		.path = path,
		.facts = facts,
		.suffix = suffix,
		.options = plan->options->checks_only ? NULL : options};
	return made;
}

static bool add_nets(Plan *plan, Measure *measure, const DeclVec *data)
{
	for (size_t i = 0; i < data->count; i++)
		if (!measure_add(measure, data->at[i], wants_logits(plan, data->at[i]) ? LOGITS_NEEDED : LOGITS_NONE))
			return false;
	return true;
}

/* Perplexity is of tokens, accuracy of images. */
static bool check_kinds(const Plan *plan, const DeclVec *data)
{
	for (size_t i = 0; i < plan->figures.count; i++) {
		const PlanFigure *figure = &plan->figures.at[i];
		const char *metric = metric_name(figure->metric);
		size_t number = 0;
		while (number < data->count && data->at[number] != figure->data)
			number++;
		bool is_of_images = figure->data && plan->original->data.at[number].channels > 0;
		if (!figure->data || strcmp(metric, is_of_images ? "perplexity" : "accuracy") != 0)
			continue;
		diag_error(plan->c, figure->node->loc, "data %s are %s, which have no %s", figure->data->name,
			is_of_images ? "images" : "tokens", metric);
		diag_help(plan->c, "write: %s(%s)", is_of_images ? "accuracy" : "perplexity", figure->data->name);
		return false;
	}
	return true;
}

static bool check_extents(Plan *plan, const Decl *data)
{
	if (!plan_has_bounds(plan))
		return true;
	diag_error(plan->c, plan->pipeline->node->loc,
		"nothing of this pipeline can be measured on data %s: extents of its result are decided by the run",
		data->name);
	diag_help(plan->c, "`cmpc eval` of the file measures the result once it is there");
	return false;
}

/* ---- tables ---- */

static bool add_kernels(Plan *plan, const Measure *measure)
{
	KernelVec kernels = {0};
	measure_kernels(measure, &kernels);
	for (size_t i = 0; i < kernels.count; i++) {
		PlanKernel made = {
			.key = kernels.at[i]->name, .built = {.kernel = kernels.at[i]}, .is_whole = true, .users = 1};
		vec_push(plan->c->arena, &plan->kernels, made);
	}
	return true;
}

static void add_tables(Plan *plan, const DeclVec *data)
{
	CmprtProgram *measured = arena_array(plan->c->arena, CmprtProgram, 2);
	NameVec kernel_names = {0};
	measured[0] = measure_program(plan->original, &kernel_names);
	measured[1] = measure_program(plan->result, &kernel_names);
	for (size_t i = 0; i < kernel_names.count; i++)
		vec_push(plan->c->arena, &plan->kernel_names, kernel_names.at[i]);
	plan->program->measured = measured;
	plan->program->measured_count = data->count ? 2 : 0;
}

static void add_figures(Plan *plan, const DeclVec *data)
{
	CmprtFigure *figures = arena_array(plan->c->arena, CmprtFigure, plan->figures.count + 1);
	for (size_t i = 0; i < plan->figures.count; i++) {
		const PlanFigure *from = &plan->figures.at[i];
		figures[i] = (CmprtFigure){from->text, from->metric, -1};
		for (size_t k = 0; k < data->count; k++)
			if (data->at[k] == from->data)
				figures[i].net = (int64_t)k;
	}
	plan->program->figures = figures;
	plan->program->figure_count = (int64_t)plan->figures.count;
}

bool plan_figures(Plan *plan)
{
	DeclVec data = data_of_figures(plan);
	add_figures(plan, &data);
	if (!data.count)
		return true;
	plan->original = make_measure(plan, plan->checkpoint, plan->model_facts, plan->model_path, "_original");
	if (!check_extents(plan, data.at[0]) || !add_nets(plan, plan->original, &data) || !check_kinds(plan, &data))
		return false;
	if (plan->options->checks_only)
		return true;
	if (!open_result(plan))
		return false;
	const Scope *facts = facts_of_result(plan);
	if (!facts)
		return false;
	plan->result = make_measure(plan, plan->written, facts, plan->output_path, "_result");
	if (!add_nets(plan, plan->result, &data))
		return false;
	add_tables(plan, &data);
	return add_kernels(plan, plan->original) && add_kernels(plan, plan->result);
}
