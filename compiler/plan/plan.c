/* SPDX-License-Identifier: MIT
 *
 * plan.c: opens what a pipeline names (model, target, output) and runs the
 * planner's steps. Reads headers only.
 */
#include "plan.h"
#include "run.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

static void help_pipelines(Compiler *c, const NameVec *known)
{
	Text text = {.arena = c->arena};
	for (size_t i = 0; i < known->count; i++)
		text_printf(&text, "%s-p %s", i ? ", " : "", known->at[i]);
	if (known->count)
		diag_help(c, "there are: %s", text.at);
}

static const Decl *find_pipeline(Plan *plan)
{
	Program *p = plan->p;
	const Decl *found = NULL;
	NameVec known = {0};
	program_names(p, DECL_PIPELINE, &known);
	if (plan->options->pipeline) {
		found = program_find(p, DECL_PIPELINE, plan->options->pipeline);
		if (!found) {
			diag_fatal(p->c, "there is no pipeline \"%s\"", plan->options->pipeline);
			diag_nearest(p->c, plan->options->pipeline, &known);
			help_pipelines(p->c, &known);
		}
		return found;
	}
	if (known.count == 0)
		diag_fatal(p->c, "the file declares no pipeline");
	else if (known.count > 1) {
		diag_fatal(p->c, "the file declares %zu pipelines: choose one with -p", known.count);
		help_pipelines(p->c, &known);
	} else
		found = program_find(p, DECL_PIPELINE, known.at[0]);
	return found;
}

static const Decl *find_named(Plan *plan, DeclKind kind, const Node *name)
{
	const Decl *decl = program_find(plan->p, kind, name->name);
	if (decl)
		return decl;
	NameVec known = {0};
	program_names(plan->p, kind, &known);
	diag_error(plan->c, name->loc, "unknown %s \"%s\"", decl_kind_text(kind), name->name);
	diag_nearest(plan->c, name->name, &known);
	return NULL;
}

static bool open_model(Plan *plan)
{
	const Node *name = plan->pipeline->node->kids[0];
	plan->model = find_named(plan, DECL_MODEL, name);
	if (!plan->model)
		return false;
	CmprtError error;
	plan->model_path = path_beside(plan->c, plan->model->node->loc, plan->model->node->text);
	plan->checkpoint = checkpoint_open(plan->model_path, &error);
	if (!plan->checkpoint)
		diag_error(plan->c, plan->model->node->loc, "%s", error.text);
	return plan->checkpoint != NULL;
}

static double target_number(Plan *plan, const char *name)
{
	const Node *prop = node_prop(plan->target->node, name_of(plan->c, name));
	if (!prop || !prop->kid_count)
		return 0;
	Value value = value_eval(plan->p, NULL, prop->kids[0]);
	return value_is_number(&value) ? value.real : 0;
}

static bool find_target(Plan *plan)
{
	Node by_option = {.kind = N_NAME, .name = plan->options->target, .loc = plan->pipeline->node->loc};
	const Node *name = plan->options->target ? &by_option : plan->pipeline->node->kids[1];
	Node native = {.kind = N_NAME, .name = name_of(plan->c, "native"), .loc = plan->pipeline->node->loc};
	plan->target = find_named(plan, DECL_TARGET, name ? name : &native);
	if (!plan->target)
		return false;
	plan->memory = (int64_t)target_number(plan, "memory");
	plan->cores = (int64_t)target_number(plan, "cores");
	return true;
}

/* The save and report statements, for the output's path and format. */
static bool find_output(Plan *plan)
{
	const Node *body = plan->pipeline->node->kids[3];
	for (uint32_t i = 0; i < body->kid_count; i++) {
		if (body->kids[i]->kind == N_SAVE && plan->save) {
			diag_error(plan->c, body->kids[i]->loc, "a pipeline saves once");
			diag_note(plan->c, plan->save->loc, "it saves here already");
			return false;
		}
		if (body->kids[i]->kind == N_SAVE)
			plan->save = body->kids[i];
		if (body->kids[i]->kind == N_REPORT)
			plan->report = body->kids[i];
	}
	plan->output_path = plan->options->output ? plan->options->output : plan->save ? plan->save->text : NULL;
	if (!plan->output_path) {
		diag_error(plan->c, plan->pipeline->node->loc, "pipeline %s saves nothing", plan->pipeline->name);
		diag_help(plan->c, "write: save \"out.gguf\"");
		return false;
	}
	plan->output_format = format_of_output(plan->output_path);
	if (!plan->output_format) {
		diag_error(plan->c, plan->save ? plan->save->loc : plan->pipeline->node->loc,
			"\"%s\": no file format has this suffix", plan->output_path);
		for (int i = 0; i < format_count(); i++)
			diag_help(plan->c, "%s: %s", format_at(i)->suffix, format_at(i)->help);
		return false;
	}
	const char *suffix = plan->output_format->suffix;
	size_t length = strlen(plan->output_path), tail = strlen(suffix);
	plan->into_folder = length < tail || strcmp(plan->output_path + length - tail, suffix) != 0;
	plan->saves_arrays = statement_saves(plan->p, body) != NULL;
	plan->wants_error = plan->report && plan->report->text && !plan->saves_arrays;
	return true;
}

/* What a run would refuse in the end. */
static bool check_place(const Plan *plan)
{
	Destination destination = {0};
	CmprtError error;
	bool is_apart = destination_name(&destination, plan->output_path, plan->output_format, &error) &&
					destination_is_apart(&destination, plan->checkpoint, &error);
	for (size_t i = 0; i < plan->sources.count && is_apart; i++)
		is_apart = destination_is_apart(&destination, plan->sources.at[i].checkpoint, &error);
	if (!is_apart)
		diag_error(plan->c, plan->save ? plan->save->loc : plan->pipeline->node->loc, "%s", error.text);
	destination_free(&destination);
	return is_apart;
}

Plan *plan_new(Program *p, const PlanOptions *options)
{
	Plan *plan = arena_new_of(p->c->arena, Plan);
	plan->p = p;
	plan->c = p->c;
	plan->options = options;
	plan->pipeline = find_pipeline(plan);
	if (plan->pipeline && find_target(plan) && find_output(plan) && open_model(plan) && plan_facts(plan) &&
		plan_export(plan) && plan_select(plan) && plan_saved(plan) && plan_tuples(plan) && plan_requires(plan) &&
		plan_reads(plan) && plan_inputs(plan) && plan_order(plan) && plan_data(plan) && plan_folds(plan) &&
		plan_legal(plan) && plan_kernels(plan) && plan_families(plan) && plan_calibration(plan) && plan_outputs(plan) &&
		(!options->checks_place || check_place(plan)) && plan_figures(plan) && plan_requires_hold(plan))
		return plan;
	plan_free(plan);
	return NULL;
}

void plan_free(Plan *plan)
{
	if (plan->written)
		checkpoint_close(plan->written);
	if (plan->layout)
		layout_free(plan->layout);
	if (plan->checkpoint)
		checkpoint_close(plan->checkpoint);
	plan_close_reads(plan);
}
