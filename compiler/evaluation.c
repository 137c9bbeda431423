/* SPDX-License-Identifier: MIT
 *
 * evaluation.c: the network of a checkpoint over data sets: a net is fitted for each,
 * compiled in memory and run. The checkpoint is the file's model, or another in its
 * place, what a pipeline made of it.
 */
#include "evaluation.h"

#include <string.h>

/* The model that the pipeline asked for is of, or the only one of the file. */
static const Decl *find_model(Evaluation *e)
{
	Program *p = e->k.program;
	const char *pipeline = e->k.request->pipeline;
	const Decl *of = pipeline ? program_find(p, DECL_PIPELINE, name_of(e->c, pipeline)) : NULL;
	NameVec models = {0};
	program_names(p, DECL_MODEL, &models);
	if (of)
		return program_find(p, DECL_MODEL, of->node->kids[0]->name);
	if (!pipeline && e->k.request->model)
		return program_find(p, DECL_MODEL, name_of(e->c, e->k.request->model));
	if (pipeline)
		diag_fatal(e->c, "there is no pipeline \"%s\"", pipeline);
	else if (models.count == 1)
		return program_find(p, DECL_MODEL, models.at[0]);
	else if (models.count)
		diag_fatal(e->c, "the file declares %zu models: choose the pipeline of one with -p", models.count);
	else
		diag_fatal(e->c, "the file declares no model");
	return NULL;
}

static bool open_model(Evaluation *e)
{
	CmprtError error;
	e->model = find_model(e);
	if (!e->model)
		return false;
	e->path = e->instead ? e->instead : path_beside(e->c, e->model->node->loc, e->model->node->text);
	e->checkpoint = checkpoint_open(e->path, &error);
	if (!e->checkpoint) {
		diag_error(e->c, e->model->node->loc, "%s", error.text);
		return false;
	}
	e->facts = scope_new(e->c, NULL);
	return config_bind(e->c, e->checkpoint, e->path, e->facts);
}

/* Apart from what it requires and reports. */
static bool passes_mention(const Node *body, Name data)
{
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *statement = body->kids[i];
		if (statement->kind != N_REQUIRE && statement->kind != N_REPORT && node_mentions(statement, data))
			return true;
	}
	return false;
}

/* What passes have read is no test of what they made. */
static bool is_read_by_passes(const Program *p, Name data)
{
	for (size_t i = 0; i < p->main_count; i++)
		if (p->decls.at[i]->kind == DECL_PIPELINE && passes_mention(p->decls.at[i]->node->kids[3], data))
			return true;
	return false;
}

/* The data set that was asked for, or those that no pass reads; where there are none, all. */
static DeclVec choose_data(const Evaluation *e)
{
	Program *p = e->k.program;
	DeclVec all = {0}, apart = {0};
	if (e->k.request->data) {
		vec_push(e->c->arena, &all, program_find(p, DECL_DATA, name_of(e->c, e->k.request->data)));
		return all;
	}
	for (size_t i = 0; i < p->main_count; i++) {
		Decl *decl = p->decls.at[i];
		if (decl->kind != DECL_DATA)
			continue;
		vec_push(e->c->arena, &all, decl);
		if (!is_read_by_passes(p, decl->name))
			vec_push(e->c->arena, &apart, decl);
	}
	return apart.count ? apart : all;
}

/* Perplexity is of tokens, accuracy of images, kl of two nets that say what they expect. */
static bool check_metric(const Evaluation *e)
{
	const char *metric = e->k.request->metric;
	bool is_of_images = metric && e->measure.data.at[0].channels > 0;
	if (metric && !strcmp(metric, is_of_images ? "perplexity" : "accuracy"))
		diag_fatal(e->c, "data %s are %s, which have no %s; ask for %s(%s)", e->measure.data.at[0].name,
			is_of_images ? "images" : "tokens", metric, is_of_images ? "accuracy" : "perplexity",
			e->measure.data.at[0].name);
	else if (metric && !strcmp(metric, "kl") && !e->measure.logits.at[0])
		diag_fatal(e->c, "net %s has no \"logits\", of which kl(%s) is made", e->measure.nets.at[0]->node->name,
			e->measure.data.at[0].name);
	else
		return true;
	return false;
}

static bool fit_nets(Evaluation *e)
{
	DeclVec data = choose_data(e);
	e->measure = (Measure){.p = e->k.program,
		.c = e->c,
		.model = e->model,
		.checkpoint = e->checkpoint,
		.reader = e->reader ? e->reader : e->checkpoint,
		.path = e->path,
		.facts = e->facts,
		.suffix = "",
		.options = &e->schedule,
		.array = e->k.request->array ? name_of(e->c, e->k.request->array) : NULL};
	e->schedule = (ScheduleOptions){.lanes = e->k.facts.lanes};
	for (size_t i = 0; i < data.count; i++)
		if (!measure_add(&e->measure, data.at[i], e->is_compared ? LOGITS_IF_MADE : LOGITS_NONE))
			return false;
	if (!data.count)
		diag_fatal(e->c, "the file declares no data to evaluate on");
	else if (e->k.request->array && data.count > 1)
		diag_fatal(e->c, "the file declares %zu data sets: the array of one can be written", data.count);
	else
		return check_metric(e);
	return false;
}

/* ---- the program ---- */

void evaluation_print_kernels(const Evaluation *e, Text *to)
{
	KernelVec kernels = {0};
	measure_kernels(&e->measure, &kernels);
	for (size_t i = 0; i < kernels.count; i++) {
		text_append(to, "\n", i > 0);
		kernel_print(kernels.at[i], to);
	}
}

static bool make_object(Evaluation *e)
{
	NameVec names = {0};
	KernelVec kernels = {0};
	measure_kernels(&e->measure, &kernels);
	e->k.module = module_new(e->c, &e->k.machine);
	if (!e->k.module)
		return false;
	for (size_t i = 0; i < kernels.count; i++)
		if (!module_add_kernel(e->k.module, kernels.at[i]))
			return false;
	CmprtProgram program = measure_program(&e->measure, &names);
	return module_add_program(e->k.module, &program, names.at, false) && module_verify(e->k.module) &&
		   module_optimize(e->k.module) && module_object(e->k.module, &e->k.object);
}

bool evaluation_open(Evaluation *e)
{
	return target_facts(e->c, &e->k.machine, &e->k.facts) && open_model(e) && fit_nets(e);
}

const CmprtProgram *evaluation_load(Evaluation *e)
{
	if (!make_object(e))
		return NULL;
	diag_flush(e->c, stderr);
	e->jit = jit_new(e->c, &e->k.object);
	return e->jit ? jit_symbol(e->jit, "cmprt_program") : NULL;
}

Evaluation evaluation_begin(const Request *request, const char *instead)
{
	Evaluation e = {
		.k = compilation_begin(request, request->operands[0], request->text), .c = request->c, .instead = instead};
	e.k.runs_here = true;
	e.k.machine = (ModuleTarget){.cpu = "native"};
	return e;
}

void evaluation_end(Evaluation *e)
{
	if (e->jit)
		jit_free(e->jit);
	compilation_end(&e->k);
	if (e->checkpoint)
		checkpoint_close(e->checkpoint);
}
