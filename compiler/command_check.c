/* SPDX-License-Identifier: MIT
 *
 * command_check.c: `cmpc check FILE` reports what is wrong with a program. What
 * needs no checkpoint is always checked; each pipeline is planned too where its
 * model lies on this machine.
 */
#include "stages.h"

#include <string.h>
#include <unistd.h>

/* The model of a pipeline is there. A name that is unknown is left to the plan to report. */
static bool has_model(const Compilation *k, const Decl *pipeline)
{
	const Decl *model = program_find(k->program, DECL_MODEL, pipeline->node->kids[0]->name);
	return !model || access(path_beside(k->c, model->node->loc, model->node->text), R_OK) == 0;
}

static bool check_pipeline(Compilation *k, const Decl *pipeline)
{
	PlanOptions options = plan_options(k);
	options.pipeline = pipeline->name;
	options.checks_only = options.checks_place = true;
	double begin = time_now();
	Plan *plan = plan_new(k->program, &options);
	time_report(k->c, "plan", begin);
	if (plan)
		plan_free(plan);
	return plan != NULL;
}

/* The pipeline that -p asks for is there. */
static bool has_pipeline(const Compilation *k)
{
	NameVec known = {0};
	Name name = k->request->pipeline ? name_of(k->c, k->request->pipeline) : NULL;
	if (!name || program_find(k->program, DECL_PIPELINE, name))
		return true;
	program_names(k->program, DECL_PIPELINE, &known);
	diag_fatal(k->c, "there is no pipeline \"%s\"", name);
	diag_nearest(k->c, name, &known);
	return false;
}

int command_check(Request *request)
{
	Compilation k = compilation_begin(request, request->operands[0], NULL);
	bool is_good = compile(&k, "program") && (request->emit || has_pipeline(&k));
	for (size_t i = 0; is_good && !request->emit && i < k.program->main_count; i++) {
		const Decl *decl = k.program->decls.at[i];
		bool is_wanted = decl->kind == DECL_PIPELINE;
		if (is_wanted && request->pipeline)
			is_wanted = decl->name == name_of(k.c, request->pipeline);
		if (is_wanted && has_model(&k, decl))
			is_good &= check_pipeline(&k, decl);
	}
	compilation_end(&k);
	return is_good ? STATUS_DONE : STATUS_ERROR;
}
