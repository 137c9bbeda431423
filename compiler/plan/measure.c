/* SPDX-License-Identifier: MIT
 *
 * measure.c: what metrics on data are made of: the net of a checkpoint fitted to it for
 * each data set, built to leave a number for each token or image, and, for a comparison
 * with another checkpoint, its logits; all of that as a program that the runtime runs.
 * From headers alone: the checkpoint may be one that is not written yet.
 */
#include "net.h"

/* What is measured: what a token costs, whether an image is named correctly. */
static Name result_of(const Measure *measure, const CmprtData *data)
{
	return measure->array ? measure->array : name_of(measure->c, data->channels ? "correct" : "loss");
}

static const NetArray *state_named(const Net *net, Name name)
{
	for (size_t i = 0; i < net->states.count; i++)
		if (net->states.at[i].name == name)
			return &net->states.at[i];
	return NULL;
}

/* Perplexity is made of one number for each token, accuracy of one for each image. */
static bool check_result(const Measure *measure, const Net *net, const CmprtData *data)
{
	bool is_of_images = data->channels > 0;
	const NetArray *result = state_named(net, result_of(measure, data));
	bool is_good = is_of_images ? result->rank == 0 : result->rank == 1 && result->is_ragged[0];
	if (is_good && result->store.kind == STORE_F32)
		return true;
	diag_error(measure->c, net->node->loc, "\"%s\" of net %s is not one f32 for each %s", result->name, net->node->name,
		is_of_images ? "image" : "token");
	diag_help(measure->c, is_of_images ? "write: correct = is_largest(logits, label)"
									   : "write: loss[t] = .. along the axis of the tokens");
	return false;
}

/* How alike two nets are is a matter of what they expect: a row of numbers for each token, or one for each image. */
static bool check_logits(const Measure *measure, const Net *net, const CmprtData *data, Name name)
{
	bool is_of_images = data->channels > 0;
	const NetArray *logits = state_named(net, name);
	bool is_good = is_of_images ? logits->rank == 1 && !logits->is_ragged[0]
								: logits->rank == 2 && logits->is_ragged[0] && !logits->is_ragged[1];
	if (is_good && logits->store.kind == STORE_F32)
		return true;
	diag_error(measure->c, net->node->loc, "\"%s\" of net %s are not f32, a row for each %s", name, net->node->name,
		is_of_images ? "image" : "token");
	return false;
}

bool measure_add(Measure *measure, const Decl *data, Logits logits)
{
	CmprtData table;
	DataExtent extent;
	NameVec results = {0};
	Name name = name_of(measure->c, "logits");
	if (!data_open(measure->p, data, measure->reader, measure->facts, &table, &extent))
		return false;
	const Decl *decl = net_of_model(measure->p, measure->model, measure->checkpoint, measure->facts);
	Net *net =
		decl ? net_fit(measure->p, decl, measure->checkpoint, measure->path, measure->facts, &table, extent.longest)
			 : NULL;
	if (!net)
		return false;
	net->suffix = arena_printf(measure->c->arena, "%s_%s", measure->suffix, data->name);
	vec_push(measure->c->arena, &results, result_of(measure, &table));
	bool has_logits = logits == LOGITS_NEEDED || (logits == LOGITS_IF_MADE && net_makes(net, name));
	if (has_logits)
		vec_push(measure->c->arena, &results, name);
	vec_push(measure->c->arena, &measure->data, table);
	vec_push(measure->c->arena, &measure->tokens, extent.tokens);
	vec_push(measure->c->arena, &measure->nets, net);
	vec_push(measure->c->arena, &measure->logits, has_logits ? name : NULL);
	if (!net_build(net, &results, measure->options)) {
		if (table.channels)
			diag_note(measure->c, data->node->loc, "the images have %lld channels of %lld x %lld",
				(long long)table.channels, (long long)table.height, (long long)table.width);
		return false;
	}
	return (measure->array || check_result(measure, net, &table)) &&
		   (!has_logits || check_logits(measure, net, &table, name));
}

void measure_kernels(const Measure *measure, KernelVec *to)
{
	for (size_t i = 0; i < measure->nets.count; i++)
		net_kernels(measure->nets.at[i], to);
}

static CmprtInput *make_inputs(const Measure *measure)
{
	const Checkpoint *checkpoint = measure->checkpoint;
	CmprtInput *inputs = arena_array(measure->c->arena, CmprtInput, checkpoint->tensor_count + 1);
	for (int64_t i = 0; i < checkpoint->tensor_count; i++) {
		const CkTensor *file = &checkpoint->tensors[i];
		inputs[i] = (CmprtInput){
			.name = file->name, .dtype = file->dtype, .rank = file->rank, .shape = file->shape, .bytes = file->bytes};
	}
	return inputs;
}

CmprtProgram measure_program(const Measure *measure, NameVec *kernel_names)
{
	CmprtSource *source = arena_new_of(measure->c->arena, CmprtSource);
	CmprtNet *nets = arena_array(measure->c->arena, CmprtNet, measure->nets.count + 1);
	for (size_t i = 0; i < measure->nets.count; i++) {
		const CmprtData *data = &measure->data.at[i];
		nets[i] = net_tables(measure->nets.at[i], data, result_of(measure, data), measure->logits.at[i]);
		net_kernel_names(measure->nets.at[i], kernel_names);
	}
	*source = (CmprtSource){.path = measure->path, .format = measure->checkpoint->format->name};
	return (CmprtProgram){.cmpc_version = PACKAGE_VERSION,
		.pipeline = "eval",
		.source_count = 1,
		.sources = source,
		.input_count = measure->checkpoint->tensor_count,
		.inputs = make_inputs(measure),
		.net_count = (int64_t)measure->nets.count,
		.nets = nets};
}
