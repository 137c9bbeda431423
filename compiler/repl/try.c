/* SPDX-License-Identifier: MIT
 *
 * try.c: a statement is compiled as a pipeline of its own, as `run` would, and its
 * jobs are run in this process on the tensors of the model, panel by panel. What a
 * panel becomes is forgotten; its error and its size are what is printed.
 */
#include "repl.h"

#include "model.h"
#include "run.h"

#include <fcntl.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_BUFFERS = 128, PANEL_BYTES = 8 << 20 };

typedef struct Trial {
	Compiler *c;
	const Plan *plan;
	const CmprtProgram *program; /* with the code */
	int **files;                 /* per source, per file: descriptors, -1: not open */
} Trial;

/* What a call of a job's kernel works on: `rows` of its rows, or all. */
typedef struct Panel {
	void *buffers[MOST_BUFFERS];
	int64_t count;
	void *scratch;
	int64_t scratch_bytes; /* of a thread */
	int64_t rows;
} Panel;

/* What came of one tensor, or of all. */
typedef struct Result {
	int64_t before, after, elements;
	double error[2];
} Result;

/* ---- memory ---- */

static void panel_free(Panel *panel)
{
	for (int64_t i = 0; i < panel->count; i++)
		free(panel->buffers[i]);
	free(panel->scratch);
}

static bool panel_add(Panel *panel, int64_t bytes)
{
	if (panel->count == MOST_BUFFERS)
		return false;
	void *buffer = aligned_alloc(64, (size_t)align_up(bytes + 64, 64));
	panel->buffers[panel->count] = buffer;
	panel->count += buffer != NULL;
	return buffer != NULL;
}

static int64_t row_bytes(const CmprtJob *job)
{
	int64_t bytes = 1;
	for (int64_t i = 0; i < job->port_in_count; i++)
		bytes += job->ports_in[i].row_bytes;
	for (int64_t i = 0; i < job->port_out_count; i++)
		bytes += job->ports_out[i].row_bytes;
	return bytes;
}

/* Inputs, outputs, work buffers, as the kernel takes them. */
static bool panel_make(const CmprtJob *job, Panel *panel)
{
	int64_t rows = PANEL_BYTES / row_bytes(job);
	rows = rows < 1 ? 1 : rows;
	panel->rows = job->whole || rows > job->rows ? job->rows : rows;
	bool is_good = true;
	for (int64_t i = 0; i < job->port_in_count && is_good; i++)
		is_good = panel_add(panel, (job->whole ? job->ports_in[i].rows : panel->rows) * job->ports_in[i].row_bytes);
	for (int64_t i = 0; i < job->port_out_count && is_good; i++)
		is_good = panel_add(panel, (job->whole ? job->ports_out[i].rows : panel->rows) * job->ports_out[i].row_bytes);
	for (int64_t i = 0; i < job->work_count && is_good; i++)
		is_good = panel_add(panel, job->work_bytes[i]);
	panel->scratch_bytes = align_up(job->scratch_bytes, 64);
	panel->scratch = aligned_alloc(64, (size_t)((panel->scratch_bytes + 64) * omp_get_max_threads()));
	return is_good && panel->scratch;
}

/* ---- running ---- */

/* The program's tables number the model and its tensors first, then what is read beside it. */
static const Checkpoint *source_at(const Plan *plan, int64_t number)
{
	return number ? plan->sources.at[number - 1].checkpoint : plan->checkpoint;
}

static const CkTensor *input_at(const Plan *plan, int64_t number)
{
	int64_t tensors = (int64_t)plan->tensors.count;
	return number < tensors ? plan->tensors.at[number].file : plan->reads.at[number - tensors].file;
}

static bool read_rows(Trial *t, const CmprtPort *port, int64_t begin, int64_t count, void *to)
{
	int64_t source = t->program->inputs[port->tensor].source;
	const Checkpoint *checkpoint = source_at(t->plan, source);
	const CkTensor *tensor = input_at(t->plan, port->tensor);
	const char *path = checkpoint->files[tensor->file];
	int *fd = &t->files[source][tensor->file];
	int64_t offset = tensor->offset + port->offset + begin * port->row_bytes, bytes = count * port->row_bytes;
	CmprtError error;
	if (*fd < 0 && (*fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) {
		diag_fatal(t->c, "%s: could not open", path);
		return false;
	}
	if (!file_read(*fd, path, to, bytes, offset, &error)) {
		diag_fatal(t->c, "%s", error.text);
		return false;
	}
	if (nonfinite_find(tensor->dtype, to, bytes * tensor->block / tensor->block_bytes) == FINITE)
		return true;
	diag_fatal(t->c, "\"%s\" holds elements that are NaN or infinite", tensor->name);
	return false;
}

static bool run_panel(Trial *t, const CmprtJob *job, Panel *panel, int64_t begin, int64_t rows, double error[2])
{
	int64_t *params = arena_array(t->c->arena, int64_t, job->param_count + 1);
	for (int64_t i = 0; i < job->port_in_count; i++)
		if (!read_rows(t, &job->ports_in[i], begin, job->whole ? job->ports_in[i].rows : rows, panel->buffers[i]))
			return false;
	memcpy(params, job->params, sizeof *params * (size_t)job->param_count);
	params[0] = rows;
	CmprtFrame frame = {panel->buffers, params, panel->scratch};
	if (job->whole)
		job->kernel(&frame, 0, rows);
	else
		cmprt_parallel(&frame, (void *)job->kernel, 0, rows, panel->scratch_bytes);
	const double *errors = panel->buffers[job->port_in_count + job->error_port];
	for (int64_t row = 0; row < rows; row++) {
		error[0] += errors[2 * row];
		error[1] += errors[2 * row + 1];
	}
	return true;
}

static bool run_job(Trial *t, const CmprtJob *job, double error[2])
{
	Panel panel = {0};
	bool is_good = panel_make(job, &panel);
	if (!is_good)
		diag_fatal(t->c, "out of memory");
	for (int64_t begin = 0; is_good && begin < job->rows; begin += panel.rows) {
		int64_t left = job->rows - begin;
		is_good = run_panel(t, job, &panel, begin, left < panel.rows ? left : panel.rows, error);
	}
	panel_free(&panel);
	return is_good;
}

/* ---- printing ---- */

static void print_result(const char *name, size_t widest, const Result *result, Text *to)
{
	Text before = {.arena = to->arena}, after = {.arena = to->arena};
	print_bytes(result->before, &before);
	print_bytes(result->after, &after);
	text_printf(to, "%-*s  %14.6f %12s %12s %12.3f\n", (int)widest, name, error_ratio(result->error), before.at,
		after.at, result->elements ? 8.0 * (double)result->after / (double)result->elements : 0.0);
}

static void add_result(Result *sum, const Result *one)
{
	sum->before += one->before;
	sum->after += one->after;
	sum->elements += one->elements;
	sum->error[0] += one->error[0];
	sum->error[1] += one->error[1];
}

/* All jobs of a tensor: one, or one for each matrix of a stack. */
static bool try_tensor(Trial *t, int64_t number, Result *result)
{
	const PlanTensor *tensor = &t->plan->tensors.at[number];
	*result = (Result){.before = tensor->file->bytes, .elements = tensor_elements(tensor->file)};
	for (size_t i = 0; i < tensor->output_count; i++)
		result->after += t->program->outputs[tensor->first_output + i].bytes;
	for (int64_t i = 0; i < t->program->job_count; i++) {
		const CmprtJob *job = &t->program->jobs[i];
		if (job->ports_in[0].tensor == number && !run_job(t, job, result->error))
			return false;
	}
	return true;
}

static size_t widest_name(const Plan *plan)
{
	size_t widest = strlen("tensor");
	for (size_t i = 0; i < plan->tensors.count; i++) {
		size_t length = strlen(plan->tensors.at[i].file->name);
		if (plan->tensors.at[i].links.count && length > widest)
			widest = length;
	}
	return widest;
}

static bool try_all(Trial *t)
{
	Text text = {.arena = t->c->arena};
	Result all = {0};
	size_t count = 0, widest = widest_name(t->plan);
	text_printf(&text, "%-*s  %14s %12s %12s %12s\n", (int)widest, "tensor", "relative error", "before", "after",
		"bits/weight");
	for (size_t i = 0; i < t->plan->tensors.count; i++) {
		Result result;
		if (!t->plan->tensors.at[i].links.count)
			continue;
		if (!try_tensor(t, (int64_t)i, &result))
			return false;
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
	if (!jit)
		return false;
	Trial trial = {.c = c, .plan = work->k.plan, .program = jit_symbol(jit, "cmprt_program")};
	if (trial.program && trial.program->select_count) {
		diag_fatal(c, "%s looks at its whole selection first: try cannot do that yet, run can",
			trial.program->selects[0].label);
		jit_free(jit);
		return false;
	}
	int64_t sources = 1 + (int64_t)trial.plan->sources.count;
	trial.files = arena_array(c->arena, int *, sources);
	for (int64_t s = 0; s < sources; s++) {
		int64_t count = source_at(trial.plan, s)->file_count;
		trial.files[s] = arena_array(c->arena, int, count + 1);
		for (int64_t i = 0; i < count; i++)
			trial.files[s][i] = -1;
	}
	bool is_good = trial.program && try_all(&trial);
	for (int64_t s = 0; s < sources; s++)
		for (int64_t i = 0; i < source_at(trial.plan, s)->file_count; i++)
			if (trial.files[s][i] >= 0)
				close(trial.files[s][i]);
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
