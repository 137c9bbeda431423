/* SPDX-License-Identifier: MIT
 *
 * whole.c: tasks whose kernel wants all rows at once. Tensors are read and written
 * in panels by all threads; the kernel is called once, on the calling thread, and
 * spreads its rows itself (cmprt_parallel).
 */
#include "run.h"

#include <stdlib.h>
#include <string.h>

/* Reads or writes one port in panels. Sums add up to the same in any order. */
static bool move_port(
	Run *run, const Task *task, int64_t number, bool is_output, char *memory, uint64_t *sum, CmprtError *error)
{
	const CmprtPort *port = is_output ? &task->job->ports_out[number] : &task->job->ports_in[number];
	int64_t bytes = task_port_rows(task, port), failed = INT64_MAX;
	if (port->value > 0) {
		memcpy(memory, run->values[port->value - 1] + port->offset, (size_t)bytes);
		return true;
	}
	if (is_output)
		bytes = task_bytes_out(run, task, number);
	uint64_t total = 0;
#pragma omp parallel for schedule(dynamic, 1) reduction(+ : total) num_threads((int)run->schedule.threads)
	for (int64_t begin = 0; begin < bytes; begin += task->panel_rows) {
		int64_t count = bytes - begin < task->panel_rows ? bytes - begin : task->panel_rows;
		CmprtError own;
		bool is_done = is_output ? panel_write(run, task, number, memory + begin, begin, count, &total, &own)
								 : panel_read(run, task, number, memory + begin, begin, count, &own);
		if (!is_done) {
#pragma omp critical(cmprt_whole_error)
			if (begin < failed) {
				failed = begin;
				*error = own;
			}
		}
	}
	*sum += total;
	return failed == INT64_MAX;
}

/* Inputs, outputs (the errors per row among them), work buffers, one after the other; returns what is left: scratch. */
void *whole_buffers(const Task *task, char *memory, void **buffer)
{
	const CmprtJob *job = task->job;
	for (int64_t i = 0; i < job->port_in_count; i++, buffer++) {
		*buffer = memory;
		memory += align_up(job->ports_in[i].rows * job->ports_in[i].row_bytes, 64);
	}
	for (int64_t i = 0; i < job->port_out_count; i++, buffer++) {
		*buffer = memory;
		memory += align_up(
			task_is_panel(task, i) ? job->ports_out[i].rows * job->ports_out[i].row_bytes : job->rows * 16, 64);
	}
	for (int64_t i = 0; i < job->work_count; i++, buffer++) {
		*buffer = memory;
		memory += align_up(job->work_bytes[i], 64);
	}
	return memory;
}

bool whole_compute(Run *run, const Task *task, char *memory, void **buffers, int64_t *params, CmprtError *error)
{
	const CmprtJob *job = task->job;
	char *scratch = whole_buffers(task, memory, buffers);
	uint64_t no_sum = 0;
	for (int64_t i = 0; i < job->port_in_count; i++)
		if (!move_port(run, task, i, false, buffers[i], &no_sum, error))
			return false;
	task_params(run, task, params);
	task_panel_params(run, task, 0, job->rows, params);
	CmprtFrame frame = {buffers, params, scratch, NULL};
	job->kernel(&frame, 0, job->rows);
	return true;
}

static bool run_whole(
	Run *run, const Task *task, void **buffers, int64_t *params, JournalRecord *record, CmprtError *error)
{
	const CmprtJob *job = task->job;
	if (!whole_compute(run, task, run->arena, buffers, params, error))
		return false;
	for (int64_t i = 0; i < job->port_out_count; i++) {
		const CmprtPort *port = &job->ports_out[i];
		if (port->value > 0)
			memcpy(
				run->values[port->value - 1] + port->offset, buffers[job->port_in_count + i], (size_t)port->row_bytes);
		if (!task_is_tensor(task, i) || run->done[task->segment_first])
			continue;
		extents_cut(run, job->ports_out[i].tensor, buffers[job->port_in_count + i]);
		if (!move_port(run, task, i, true, buffers[job->port_in_count + i], &record->sum, error))
			return false;
	}
	if (task->note_port >= 0)
		memcpy(record->notes, buffers[job->port_in_count + task->note_port],
			(size_t)job->note_count * sizeof *record->notes);
	const double *errors = task->has_error ? buffers[job->port_in_count + job->error_port] : NULL;
	for (int64_t row = 0; row < job->rows && errors; row++) {
		record->error[0] += errors[2 * row];
		record->error[1] += errors[2 * row + 1];
	}
	return true;
}

bool whole_task(Run *run, int64_t number, bool needs_values, CmprtError *error)
{
	const Task *task = &run->tasks[number];
	const CmprtJob *job = task->job;
	bool is_written = run->done[task->segment_first];
	if (is_written && !needs_values)
		return true;
	JournalRecord record = {.segment = task->segment_first, .panel_rows = task->panel_rows};
	void **buffers = calloc((size_t)(job->port_in_count + job->port_out_count + job->work_count + 1), sizeof *buffers);
	int64_t *params = calloc((size_t)job->param_count + 1, sizeof *params);
	bool is_done = buffers && params;
	if (!is_done)
		error_out_of_memory(error);
	is_done = is_done && run_whole(run, task, buffers, params, &record, error) &&
			  (is_written || journal_add(run, record, error));
	free(buffers);
	free(params);
	if (is_done && !is_written) {
		for (int64_t i = 0; i < job->port_in_count; i++)
			run->bytes_read += job->ports_in[i].value ? 0 : job->ports_in[i].rows * job->ports_in[i].row_bytes;
		for (int64_t i = 0; i < job->port_out_count; i++)
			run->bytes_written += task_is_tensor(task, i) ? task_bytes_out(run, task, i) : 0;
		progress_add(run, task, task->bytes);
	}
	return is_done;
}
