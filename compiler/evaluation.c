/* SPDX-License-Identifier: MIT
 *
 * evaluation.c: the network of a checkpoint over data sets: a net is fitted for each,
 * compiled in memory and run. The checkpoint is the file's model, or another in its
 * place, what a pipeline made of it.
 */
#include "evaluation.h"

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

/* What is measured: what a token costs, whether an image is named correctly. */
static Name result_of(const Evaluation *e, const CmprtData *data)
{
	return name_of(e->c, e->array ? e->array : data->channels ? "correct" : "loss");
}

/* The data set is read to know how long its samples are. */
static bool add_data(Evaluation *e, const Decl *data)
{
	CmprtData table;
	int64_t longest, tokens;
	if (!data_open(e->k.program, data, e->checkpoint, &table, &longest, &tokens))
		return false;
	const Decl *decl = net_of_model(e->k.program, e->model, e->checkpoint, e->facts);
	Net *net = decl ? net_fit(e->k.program, decl, e->checkpoint, e->path, e->facts, &table, longest) : NULL;
	vec_push(e->c->arena, &e->data, table);
	vec_push(e->c->arena, &e->nets, net);
	if (net)
		net->suffix = arena_printf(e->c->arena, "_%s", data->name);
	return net && net_build(net, result_of(e, &table), &(ScheduleOptions){e->k.facts.lanes});
}

/* Perplexity is made of one number for each token, accuracy of one for each image. */
static bool check_result(Evaluation *e, const Net *net, const CmprtData *data)
{
	bool is_of_images = data->channels > 0;
	for (size_t i = 0; i < net->states.count; i++) {
		const NetArray *result = &net->states.at[i];
		bool is_good = is_of_images ? result->rank == 0 : result->rank == 1 && result->is_ragged[0];
		if (result->name != result_of(e, data) || (is_good && result->store.kind == STORE_F32))
			continue;
		diag_error(e->c, net->node->loc, "\"%s\" of net %s is not one f32 for each %s", result->name, net->node->name,
			is_of_images ? "image" : "token");
		diag_help(e->c, is_of_images ? "write: correct = is_largest(logits, label)"
									 : "write: loss[t] = .. along the axis of the tokens");
		return false;
	}
	return true;
}

static bool check_results(Evaluation *e)
{
	bool is_good = true;
	for (size_t i = 0; i < e->nets.count && is_good; i++)
		is_good = check_result(e, e->nets.at[i], &e->data.at[i]);
	return is_good;
}

/* What passes have read is no test of what they made. */
static bool is_read_by_passes(const Program *p, Name data)
{
	for (size_t i = 0; i < p->main_count; i++)
		if (p->decls.at[i]->kind == DECL_PIPELINE && node_mentions(p->decls.at[i]->node->kids[3], data))
			return true;
	return false;
}

/* Data sets that no pass reads; where there are none, all. */
static DeclVec choose_data(const Evaluation *e)
{
	const Program *p = e->k.program;
	DeclVec all = {0}, apart = {0};
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

static bool fit_nets(Evaluation *e)
{
	DeclVec data = choose_data(e);
	bool ok = true;
	for (size_t i = 0; i < data.count && ok; i++)
		ok = add_data(e, data.at[i]);
	if (!ok)
		return false;
	if (!e->data.count)
		diag_fatal(e->c, "the file declares no data to evaluate on");
	else if (e->k.request->array && e->data.count > 1)
		diag_fatal(e->c, "the file declares %zu data sets: the array of one can be written", e->data.count);
	else
		return e->k.request->array || check_results(e);
	return false;
}

/* ---- the program ---- */

static CmprtInput *make_inputs(const Evaluation *e)
{
	CmprtInput *inputs = arena_array(e->c->arena, CmprtInput, e->checkpoint->tensor_count + 1);
	for (int64_t i = 0; i < e->checkpoint->tensor_count; i++) {
		const CkTensor *file = &e->checkpoint->tensors[i];
		inputs[i] = (CmprtInput){
			.name = file->name, .dtype = file->dtype, .rank = file->rank, .shape = file->shape, .bytes = file->bytes};
	}
	return inputs;
}

static CmprtProgram make_program(Evaluation *e, NameVec *kernel_names)
{
	CmprtSource *source = arena_new_of(e->c->arena, CmprtSource);
	CmprtNet *nets = arena_array(e->c->arena, CmprtNet, e->nets.count + 1);
	for (size_t i = 0; i < e->nets.count; i++) {
		nets[i] = net_tables(e->nets.at[i], &e->data.at[i], result_of(e, &e->data.at[i]));
		net_kernel_names(e->nets.at[i], kernel_names);
	}
	*source = (CmprtSource){.path = e->path, .format = e->checkpoint->format->name};
	return (CmprtProgram){.cmpc_version = PACKAGE_VERSION,
		.pipeline = "eval",
		.source_count = 1,
		.sources = source,
		.input_count = e->checkpoint->tensor_count,
		.inputs = make_inputs(e),
		.net_count = (int64_t)e->nets.count,
		.nets = nets};
}

static KernelVec all_kernels(const Evaluation *e)
{
	KernelVec kernels = {0};
	for (size_t i = 0; i < e->nets.count; i++)
		net_kernels(e->nets.at[i], &kernels);
	return kernels;
}

void evaluation_print_kernels(const Evaluation *e, Text *to)
{
	KernelVec kernels = all_kernels(e);
	for (size_t i = 0; i < kernels.count; i++) {
		text_append(to, "\n", i > 0);
		kernel_print(kernels.at[i], to);
	}
}

static bool make_object(Evaluation *e)
{
	NameVec names = {0};
	KernelVec kernels = all_kernels(e);
	e->k.module = module_new(e->c, &e->k.machine);
	if (!e->k.module)
		return false;
	for (size_t i = 0; i < kernels.count; i++)
		if (!module_add_kernel(e->k.module, kernels.at[i]))
			return false;
	CmprtProgram program = make_program(e, &names);
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
	Evaluation e = {.k = compilation_begin(request, request->operands[0], NULL), .c = request->c, .instead = instead};
	e.k.runs_here = true;
	e.k.machine = (ModuleTarget){.cpu = "native"};
	e.array = request->array;
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
