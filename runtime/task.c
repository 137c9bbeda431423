/* SPDX-License-Identifier: MIT
 *
 * task.c: jobs as the run loop sees them. Checks that the program's tables agree
 * with themselves, then cuts the rows of each job into segments. Segments follow
 * from the tables alone: journals stay valid when threads or memory change.
 */
#include "run.h"

#include <stdlib.h>

/* What is lost at most when a run is killed, in bytes read and written. */
#define SEGMENT_BYTES ((int64_t)4 << 20)
/* Bounds the errors kept per row while a segment is open. */
#define SEGMENT_ROWS ((int64_t)16 << 10)

int64_t align_up(int64_t bytes, int64_t to)
{
	return (bytes + to - 1) / to * to;
}

static bool has_rows(const CmprtJob *job)
{
	return job->kernel && !job->whole;
}

int64_t task_row_bytes(const Task *task, const CmprtPort *port)
{
	return has_rows(task->job) ? port->row_bytes : 1;
}

int64_t task_port_rows(const Task *task, const CmprtPort *port)
{
	return has_rows(task->job) ? port->rows : port->rows * port->row_bytes;
}

int64_t task_bytes_out(const Run *run, const Task *task, int64_t port_out)
{
	const CmprtPort *port = &task->job->ports_out[port_out];
	const CmprtOutput *output = &run->program->outputs[port->tensor];
	return output->keep_value > 0 ? output->bytes : task_port_rows(task, port) * task_row_bytes(task, port);
}

bool task_is_tensor(const Task *task, int64_t port_out)
{
	return !task->has_keys && port_out != task->job->error_port && port_out != task->note_port &&
		   task->job->ports_out[port_out].value <= 0;
}

int64_t task_segment_begin(const Task *task, int64_t segment)
{
	return (segment - task->segment_first) * task->segment_rows;
}

int64_t task_segment_end(const Task *task, int64_t segment)
{
	int64_t end = task_segment_begin(task, segment) + task->segment_rows;
	return end < task->rows ? end : task->rows;
}

bool task_is_panel(const Task *task, int64_t port_out)
{
	return port_out != task->job->error_port;
}

void task_params(const Run *run, const Task *task, int64_t *params)
{
	const CmprtJob *job = task->job;
	params[0] = job->rows;
	for (int64_t i = 0; i < job->param_count; i++)
		params[i] = job->params[i];
	for (int64_t i = 0; i < job->share_count; i++)
		params[job->shares[i].param] = run->resolved[job->shares[i].select].image;
}

void task_panel_params(const Run *run, const Task *task, int64_t begin, int64_t count, int64_t *params)
{
	params[0] = count;
	for (int64_t i = 0; i < task->job->share_count; i++) {
		const CmprtShare *share = &task->job->shares[i];
		params[share->param + 1] = run->resolved[share->select].cut - (share->first + begin * share->row_elements);
	}
}

/* Where the bytes of a port lie beside tensors. */
static bool check_value(const CmprtProgram *program, const CmprtJob *job, const CmprtPort *port, CmprtError *error)
{
	int64_t bytes = port->value <= program->value_count ? program->values[port->value - 1].bytes : 0;
	if (port->offset < 0 || port->row_bytes < 0 || port->rows != (job->whole ? 1 : job->rows) ||
		(port->row_bytes > 0 && port->rows > (bytes - port->offset) / port->row_bytes))
		return error_bad_table(error, job->label, "a port beyond its array");
	return true;
}

static bool check_port(const CmprtJob *job, const CmprtPort *port, int64_t tensors, int64_t bytes, CmprtError *error)
{
	if (port->tensor < 0 || port->tensor >= tensors)
		return error_bad_table(error, job->label, "a port without a tensor");
	if (port->row_bytes < 0 || port->rows < 0 || port->offset < 0 ||
		(port->row_bytes > 0 && port->rows > (bytes - port->offset) / port->row_bytes))
		return error_bad_table(error, job->label, "a port beyond its tensor");
	int64_t group;
	if (port->turn_unit &&
		(port->turn_unit < 0 || port->turn_slow < 1 || port->turn_fast < 1 ||
			__builtin_mul_overflow(port->turn_slow, port->turn_fast, &group) ||
			__builtin_mul_overflow(group, port->turn_unit, &group) || port->rows * port->row_bytes % group))
		return error_bad_table(error, job->label, "a port whose rows cannot be turned so");
	if (job->kernel && !job->whole && port->rows != job->rows)
		return error_bad_table(error, job->label, "a port that has not the job's rows");
	return true;
}

/* select: number of the first Select that the job may not know the outcome of */
static bool check_shares(const CmprtJob *job, int64_t select, CmprtError *error)
{
	for (int64_t i = 0; i < job->share_count; i++)
		if (job->shares[i].select < 0 || job->shares[i].select >= select || job->shares[i].param < 1 ||
			job->shares[i].param + 1 >= job->param_count)
			return error_bad_table(error, job->label, "a share in no selection");
	return true;
}

static bool check_inputs(const CmprtProgram *program, const CmprtJob *job, CmprtError *error)
{
	for (int64_t i = 0; i < job->port_in_count; i++) {
		const CmprtPort *port = &job->ports_in[i];
		if (port->value > 0 && !check_value(program, job, port, error))
			return false;
		if (port->value > 0)
			continue;
		int64_t bytes =
			port->tensor >= 0 && port->tensor < program->input_count ? program->inputs[port->tensor].bytes : 0;
		if (!check_port(job, port, program->input_count, bytes, error))
			return false;
	}
	return true;
}

static bool check_notes(const CmprtJob *job)
{
	const CmprtPort *port = job->ports_out + job->port_out_count - 1;
	return job->note_count == 0 ||
		   (job->whole && job->port_out_count > 0 && job->error_port + 1 < job->port_out_count &&
			   job->note_count <= CMPRT_NOTES && port->rows == job->note_count && port->row_bytes == sizeof(double));
}

static bool check_job(const CmprtProgram *program, const CmprtJob *job, CmprtError *error)
{
	if (!check_inputs(program, job, error) || !check_shares(job, program->select_count, error))
		return false;
	for (int64_t i = 0; i < job->port_out_count; i++) {
		const CmprtPort *port = &job->ports_out[i];
		if (i == job->error_port || (job->note_count && i + 1 == job->port_out_count))
			continue;
		if (port->value > 0 && !check_value(program, job, port, error))
			return false;
		if (port->value > 0)
			continue;
		int64_t bytes =
			port->tensor >= 0 && port->tensor < program->output_count ? program->outputs[port->tensor].bytes : 0;
		if (!check_port(job, port, program->output_count, bytes, error))
			return false;
	}
	if (job->error_port >= job->port_out_count || job->rows < 0 || !check_notes(job))
		return error_bad_table(error, job->label, "counts out of range");
	if (!job->kernel &&
		(job->port_in_count != 1 || job->port_out_count != 1 || job->error_port >= 0 ||
			job->ports_in[0].rows * job->ports_in[0].row_bytes != job->ports_out[0].rows * job->ports_out[0].row_bytes))
		return error_bad_table(error, job->label, "a copy between different sizes");
	return true;
}

static bool check_key_job(const CmprtProgram *program, const CmprtJob *job, int64_t select, CmprtError *error)
{
	if (!check_inputs(program, job, error) || !check_shares(job, select, error))
		return false;
	const CmprtPort *keys = job->ports_out;
	if (!job->kernel || job->port_out_count != 1 || job->error_port >= 0 || job->rows < 0 || keys->rows != job->rows ||
		keys->row_bytes < 0 || keys->row_bytes % (int64_t)sizeof(float))
		return error_bad_table(error, job->label, "keys of no rows");
	return true;
}

static void cut_segments(Task *task)
{
	if (!task->is_streamed) {
		task->segment_rows = task->rows;
		task->segment_count = 1;
		return;
	}
	int64_t row = task->row_in + task->row_out;
	int64_t rows = row ? SEGMENT_BYTES / row : SEGMENT_ROWS;
	if (task->job->kernel && rows > SEGMENT_ROWS)
		rows = SEGMENT_ROWS;
	task->segment_rows = rows > 0 ? rows : 1;
	task->segment_count = (task->rows + task->segment_rows - 1) / task->segment_rows;
}

static void build_task(Task *task, const CmprtJob *job, bool has_keys)
{
	task->job = job;
	task->has_keys = has_keys;
	task->is_streamed = !job->kernel || !job->whole;
	task->has_error = job->kernel && job->error_port >= 0;
	task->note_port = job->note_count ? job->port_out_count - 1 : -1;
	task->rows = job->kernel ? job->rows : task_port_rows(task, &job->ports_in[0]);
	for (int64_t i = 0; i < job->port_in_count; i++) {
		task->row_in += task_row_bytes(task, &job->ports_in[i]);
		task->bytes += job->ports_in[i].value ? 0 : job->ports_in[i].rows * job->ports_in[i].row_bytes;
	}
	for (int64_t i = 0; i < job->port_out_count; i++) {
		int64_t *row = job->ports_out[i].value > 0 ? &task->row_values : &task->row_out;
		if (task_is_panel(task, i))
			*row += task_row_bytes(task, &job->ports_out[i]);
		if (task_is_tensor(task, i))
			task->bytes += job->ports_out[i].rows * job->ports_out[i].row_bytes;
	}
	cut_segments(task);
}

static bool build_key_tasks(Run *run, CmprtError *error)
{
	const CmprtProgram *program = run->program;
	int64_t count = 0;
	run->key_task_first = calloc((size_t)program->select_count + 1, sizeof *run->key_task_first);
	run->resolved = calloc((size_t)program->select_count + 1, sizeof *run->resolved);
	if (!run->key_task_first || !run->resolved)
		return error_out_of_memory(error);
	for (int64_t i = 0; i < program->select_count; i++)
		run->key_task_first[i + 1] = count += program->selects[i].job_count;
	run->key_tasks = calloc((size_t)count + 1, sizeof *run->key_tasks);
	if (!run->key_tasks)
		return error_out_of_memory(error);
	for (int64_t i = 0; i < program->select_count; i++)
		for (int64_t j = 0, segments = 0; j < program->selects[i].job_count; j++) {
			Task *task = &run->key_tasks[run->key_task_first[i] + j];
			if (!check_key_job(program, &program->selects[i].jobs[j], i, error))
				return false;
			build_task(task, &program->selects[i].jobs[j], true);
			task->segment_first = segments;
			segments += task->segment_count;
		}
	return true;
}

static bool build_early_tasks(Run *run, CmprtError *error)
{
	const CmprtProgram *program = run->program;
	run->early_tasks = calloc((size_t)program->early_count + 1, sizeof *run->early_tasks);
	if (!run->early_tasks)
		return error_out_of_memory(error);
	for (int64_t i = 0; i < program->early_count; i++) {
		const CmprtJob *job = &program->early[i];
		if (!job->kernel || !job->whole || job->error_port >= 0 || job->share_count)
			return error_bad_table(error, job->label, "an early job of another kind");
		if (!check_inputs(program, job, error))
			return false;
		for (int64_t k = 0; k < job->port_out_count; k++)
			if (job->ports_out[k].value < 1 || !check_value(program, job, &job->ports_out[k], error))
				return error_bad_table(error, job->label, "an early job that writes tensors");
		build_task(&run->early_tasks[i], job, false);
	}
	return true;
}

bool tasks_build(Run *run, CmprtError *error)
{
	const CmprtProgram *program = run->program;
	if (!build_early_tasks(run, error))
		return false;
	run->tasks = calloc((size_t)program->job_count + 1, sizeof *run->tasks);
	if (!run->tasks)
		return error_out_of_memory(error);
	for (int64_t i = 0; i < program->job_count; i++) {
		if (!check_job(program, &program->jobs[i], error))
			return false;
		build_task(&run->tasks[i], &program->jobs[i], false);
		run->tasks[i].segment_first = run->segment_count;
		run->segment_count += run->tasks[i].segment_count;
	}
	run->done = calloc((size_t)run->segment_count + 1, sizeof *run->done);
	run->segment_errors = calloc((size_t)run->segment_count + 1, sizeof *run->segment_errors);
	run->segment_notes = calloc((size_t)run->segment_count + 1, sizeof *run->segment_notes);
	if (!run->done || !run->segment_errors || !run->segment_notes)
		return error_out_of_memory(error);
	return build_key_tasks(run, error);
}
