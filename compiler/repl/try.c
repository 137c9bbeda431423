/* SPDX-License-Identifier: MIT
 *
 * try.c: a statement is compiled as a pipeline of its own, as `run` would, and run
 * by the runtime in this process on all tensors of the model that it takes, with
 * its statistics and its resolve point. What comes out is dropped; its error and
 * its size are what is printed.
 */
#include "repl.h"

#include "model.h"
#include "run.h"

#include <string.h>

/* What came of one tensor, or of all. */
typedef struct Result {
	int64_t before, after, elements;
	double error[2];
	bool has_error;
} Result;

typedef struct Trial {
	Compiler *c;
	const Plan *plan;
	const CmprtProgram *program; /* with the code */
	TrialJob *jobs;              /* per job */
	int64_t *output_bytes;       /* per output */
} Trial;

/* ---- results ---- */

/* The tensor of the model that a job is about: one has one job, or one for each matrix of a stack. */
static int64_t job_tensor(const CmprtJob *job)
{
	for (int64_t i = 0; i < job->port_in_count; i++)
		if (!job->ports_in[i].value)
			return job->ports_in[i].tensor;
	return -1;
}

static Result tensor_result(const Trial *t, int64_t number)
{
	const PlanTensor *tensor = &t->plan->tensors.at[number];
	Result result = {.before = tensor->file->bytes, .elements = tensor_elements(tensor->file)};
	for (size_t i = 0; i < tensor->output_count; i++)
		result.after += t->output_bytes[tensor->first_output + i];
	for (int64_t i = 0; i < t->program->job_count; i++)
		if (t->jobs[i].has_error && job_tensor(&t->program->jobs[i]) == number) {
			result.error[0] += t->jobs[i].error[0];
			result.error[1] += t->jobs[i].error[1];
			result.has_error = true;
		}
	return result;
}

static void add_result(Result *sum, const Result *one)
{
	sum->before += one->before;
	sum->after += one->after;
	sum->elements += one->elements;
	sum->error[0] += one->error[0];
	sum->error[1] += one->error[1];
	sum->has_error |= one->has_error;
}

/* ---- printing ---- */

static void print_result(const char *name, size_t widest, const Result *result, Text *to)
{
	Text before = {.arena = to->arena}, after = {.arena = to->arena};
	print_bytes(result->before, &before);
	print_bytes(result->after, &after);
	text_printf(to, "%-*s  %14s %12s %12s %12.3f\n", (int)widest, name,
		result->has_error ? arena_printf(to->arena, "%.6f", error_ratio(result->error)) : "-", before.at, after.at,
		result->elements ? 8.0 * (double)result->after / (double)result->elements : 0.0);
}

static bool is_taken(const PlanTensor *tensor)
{
	bool is_taken = tensor->family != SIZE_MAX;
	for (size_t i = 0; i < tensor->links.count; i++)
		is_taken |= !tensor->links.at[i].statement->is_default;
	return is_taken;
}

static size_t widest_name(const Plan *plan)
{
	size_t widest = strlen("tensor");
	for (size_t i = 0; i < plan->tensors.count; i++) {
		size_t length = strlen(plan->tensors.at[i].file->name);
		if (is_taken(&plan->tensors.at[i]) && length > widest)
			widest = length;
	}
	return widest;
}

static bool print_results(const Trial *t)
{
	Text text = {.arena = t->c->arena};
	Result all = {0};
	size_t count = 0, widest = widest_name(t->plan);
	text_printf(&text, "%-*s  %14s %12s %12s %12s\n", (int)widest, "tensor", "relative error", "before", "after",
		"bits/weight");
	for (size_t i = 0; i < t->plan->tensors.count; i++) {
		if (!is_taken(&t->plan->tensors.at[i]))
			continue;
		Result result = tensor_result(t, (int64_t)i);
		print_result(t->plan->tensors.at[i].file->name, widest, &result, &text);
		add_result(&all, &result);
		count++;
	}
	if (count > 1)
		print_result(arena_printf(t->c->arena, "%zu tensors", count), widest, &all, &text);
	return text_write(t->c, NULL, &text);
}

/* ---- the command ---- */

static bool run_trial(Work *work)
{
	Compiler *c = work->request.c;
	Jit *jit = jit_new(c, &work->k.object);
	const CmprtProgram *program = jit ? jit_symbol(jit, "cmprt_program") : NULL;
	bool is_good = program != NULL;
	if (is_good) {
		CmprtError error;
		CmprtOptions options = {.nonfinite = CMPRT_NONFINITE_ERROR};
		Trial trial = {c, work->k.plan, program, arena_array(c->arena, TrialJob, program->job_count + 1),
			arena_array(c->arena, int64_t, program->output_count + 1)};
		is_good = trial_run(program, &options, trial.jobs, trial.output_bytes, &error);
		if (!is_good)
			diag_fatal(c, "%s", error.text);
		is_good = is_good && print_results(&trial);
	}
	if (jit)
		jit_free(jit);
	return is_good;
}

bool session_try(Session *s, const char *statement)
{
	if (!*statement)
		return session_error(s, "try needs a statement, such as: try quantize.rtn(dtype: q8_0) on linear");
	if (!s->state->model)
		return session_error(s, "no model is open; open one with: model PATH");
	Goal goal = {.until = "obj", .runs_here = true};
	const char *statements = arena_printf(s->c->arena, "%s\nreport error\n", statement);
	Work *work = statements_compile(s, s->state, "try", NULL, statements, false, &goal, NULL);
	if (work->is_good)
		work->is_good = run_trial(work);
	return work_end(work);
}
