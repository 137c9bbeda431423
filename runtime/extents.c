/* SPDX-License-Identifier: MIT
 *
 * extents.c: the resolve point. Where the extents of output tensors depend on the
 * data, early jobs decide which places stay, before any output is laid out: from
 * here on every shape and size is final, and the run says what they are. What they
 * hand on is kept in memory until the end. Jobs then make tensors of the bound's
 * shape, and what does not stay is cut out before they are written.
 */
#include "run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t extents_bytes(const Run *run)
{
	int64_t bytes = 0;
	for (int64_t i = 0; i < run->program->value_count; i++)
		bytes += align_up(run->program->values[i].bytes, 64);
	return bytes;
}

bool extents_open(Run *run, CmprtError *error)
{
	const CmprtProgram *program = run->program;
	run->bounds = program->outputs;
	run->values = calloc((size_t)program->value_count + 1, sizeof *run->values);
	bool is_done = run->values != NULL;
	for (int64_t i = 0; i < program->value_count && is_done; i++) {
		run->values[i] = calloc((size_t)program->values[i].bytes + 1, 1);
		is_done = run->values[i] != NULL;
	}
	for (int64_t i = 0; i < program->output_count && is_done; i++) {
		const CmprtOutput *output = &program->outputs[i];
		if (output->keep_value <= 0)
			continue;
		if (output->keep_value > program->value_count || output->keep_axis < 0 || output->keep_axis >= output->rank ||
			output->keep_first < 0 ||
			output->keep_first > program->values[output->keep_value - 1].bytes - output->shape[output->keep_axis])
			return error_bad_table(error, output->name, "an extent that nothing decides");
	}
	return is_done || error_out_of_memory(error);
}

void extents_close(Run *run)
{
	for (int64_t i = 0; run->values && i < run->program->value_count; i++)
		free(run->values[i]);
	free(run->values);
	free(run->resolved_outputs);
	free(run->resolved_shapes);
}

static const char *places(const Run *run, const CmprtOutput *output)
{
	return run->values[output->keep_value - 1] + output->keep_first;
}

static bool run_early(Run *run, const Task *task, CmprtError *error)
{
	const CmprtJob *job = task->job;
	void **buffers = calloc((size_t)(job->port_in_count + job->port_out_count + job->work_count + 1), sizeof *buffers);
	int64_t *params = calloc((size_t)job->param_count + 1, sizeof *params);
	bool is_done = buffers && params;
	if (!is_done)
		error_out_of_memory(error);
	is_done = is_done && whole_compute(run, task, run->arena, buffers, params, error);
	for (int64_t i = 0; i < job->port_out_count && is_done; i++) {
		const CmprtPort *port = &job->ports_out[i];
		memcpy(run->values[port->value - 1] + port->offset, buffers[job->port_in_count + i], (size_t)port->row_bytes);
	}
	for (int64_t i = 0; i < job->port_in_count && is_done; i++)
		run->bytes_read += job->ports_in[i].value ? 0 : job->ports_in[i].rows * job->ports_in[i].row_bytes;
	free(buffers);
	free(params);
	return is_done;
}

static void shorten(const Run *run, CmprtOutput *output, int64_t *shape)
{
	int64_t all = output->shape[output->keep_axis], kept = 0;
	for (int64_t i = 0; i < all; i++)
		kept += places(run, output)[i] != 0;
	memcpy(shape, output->shape, sizeof *shape * (size_t)output->rank);
	shape[output->keep_axis] = kept;
	output->bytes = all ? output->bytes / all * kept : 0;
	output->shape = shape;
}

bool extents_resolve(Run *run, CmprtProgram *program, CmprtError *error)
{
	int64_t axes = 0;
	for (int64_t i = 0; i < program->early_count; i++)
		if (!run_early(run, &run->early_tasks[i], error))
			return false;
	for (int64_t i = 0; i < program->output_count; i++)
		axes += program->outputs[i].rank;
	run->resolved_outputs = malloc(sizeof *run->resolved_outputs * (size_t)(program->output_count + 1));
	int64_t *shape = run->resolved_shapes = malloc(sizeof *shape * (size_t)(axes + 1));
	if (!run->resolved_outputs || !shape)
		return error_out_of_memory(error);
	for (int64_t i = 0; i < program->output_count; i++) {
		CmprtOutput *output = &run->resolved_outputs[i];
		*output = program->outputs[i];
		if (output->keep_value > 0)
			shorten(run, output, shape);
		shape += output->rank;
	}
	program->outputs = run->resolved_outputs;
	return true;
}

int64_t extents_cut(const Run *run, int64_t tensor, char *bytes)
{
	const CmprtOutput *bound = &run->bounds[tensor];
	int64_t outer = 1, inner = bound->bytes, to = 0;
	if (bound->keep_value <= 0)
		return bound->bytes;
	for (int64_t d = 0; d <= bound->keep_axis; d++)
		inner = bound->shape[d] ? inner / bound->shape[d] : 0;
	for (int64_t d = 0; d < bound->keep_axis; d++)
		outer *= bound->shape[d];
	int64_t all = bound->shape[bound->keep_axis];
	for (int64_t o = 0; o < outer; o++)
		for (int64_t k = 0; k < all; k++) {
			if (!places(run, bound)[k])
				continue;
			memmove(bytes + to, bytes + (o * all + k) * inner, (size_t)inner);
			to += inner;
		}
	return to;
}
