/* SPDX-License-Identifier: MIT
 *
 * stream.c: tasks whose rows may be cut anywhere. Every thread takes the next
 * panel, reads its rows, runs the kernel over them and writes what came out, in
 * place, while they are in its cache. Threads wait for nobody: several segments,
 * of several tensors, may be open at once, and the thread that finishes a
 * segment's last panel reports it to the journal.
 */
#include "run.h"

#include <errno.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A segment with panels in the hands of threads. There are never more of these than threads: whoever takes a panel
 * holds no other, so at most threads - 1 segments wait for others besides the one that panels are taken from. */
typedef struct Slot {
	int64_t segment; /* -1: free */
	int64_t left;    /* panels not finished */
	uint64_t sum;
	double *errors; /* (rows of the segment, 2) */
} Slot;

typedef struct Stream {
	Run *run;
	int64_t end_task;
	int64_t task, segment, row; /* the next panel; segment -1: the task is not begun */
	Slot *open;                 /* the slot of `segment` */
	Slot *slots;                /* (threads) */
	omp_lock_t lock;
	bool has_failed;
	bool needs_values;               /* of what is done too: that is run, and not written again */
	int64_t failed_task, failed_row; /* the first failure in the order of the work is the one told */
	CmprtError *error;
} Stream;

typedef struct Panel {
	const Task *task;
	int64_t number; /* of the task */
	int64_t begin, count;
	Slot *slot;
} Panel;

/* What a thread works with; its memory is its slice of the arena. */
typedef struct Worker {
	Run *run;
	char *memory;
	const Task *task; /* that `buffers` are laid out for */
	void **buffers;   /* inputs, outputs, work */
	int64_t *params;
	void *scratch;
} Worker;

bool panel_read(Run *run, const Task *task, int64_t port, void *to, int64_t begin, int64_t count, CmprtError *error)
{
	const CmprtPort *from = &task->job->ports_in[port];
	const CkTensor *tensor = run->inputs[from->tensor];
	int64_t row = task_row_bytes(task, from), offset = from->offset + begin * row;
	if (!input_read(run, from->tensor, to, count * row, offset, error))
		return false;
	if (!task->job->kernel || run->options->nonfinite == CMPRT_NONFINITE_KEEP)
		return true;
	if (run->options->nonfinite == CMPRT_NONFINITE_ZERO) {
		nonfinite_zero(tensor->dtype, to, count * row);
		return true;
	}
	int64_t element = nonfinite_find(tensor->dtype, to, count * row);
	if (element == FINITE)
		return true;
#pragma omp atomic write
	run->has_nonfinite = true;
	return error_nonfinite(error, tensor->name, offset / tensor->block_bytes + element, tensor);
}

bool panel_write(Run *run, const Task *task, int64_t port, const void *from, int64_t begin, int64_t count,
	uint64_t *sum, CmprtError *error)
{
	if (run->is_trial)
		return true;
	const CmprtPort *to = &task->job->ports_out[port];
	int64_t row = task_row_bytes(task, to);
	*sum += panel_sum(from, count * row, port, begin);
	return output_write(run, to, from, count * row, begin * row, error);
}

/* ---- taking and finishing panels, under the lock ---- */

static Slot *open_slot(Stream *stream, const Task *task, int64_t segment)
{
	Slot *slot = stream->slots;
	while (slot->segment >= 0)
		slot++;
	int64_t rows = task_segment_end(task, segment) - task_segment_begin(task, segment);
	slot->segment = segment;
	slot->left = (rows + task->panel_rows - 1) / task->panel_rows;
	slot->sum = 0;
	return slot;
}

/* Moves to the next segment that is not done; false when there is none. */
static bool next_segment(Stream *stream)
{
	Run *run = stream->run;
	for (; stream->task < stream->end_task; stream->task++, stream->segment = -1) {
		const Task *task = &run->tasks[stream->task];
		int64_t end = task->segment_first + task->segment_count;
		stream->segment = stream->segment < 0 ? task->segment_first : stream->segment + 1;
		while (stream->segment < end && run->done[stream->segment] && !stream->needs_values)
			stream->segment++;
		if (stream->segment < end) {
			stream->row = task_segment_begin(task, stream->segment);
			stream->open = open_slot(stream, task, stream->segment);
			return true;
		}
	}
	return false;
}

static bool take_panel(Stream *stream, Panel *panel)
{
	if (stream->has_failed || (!stream->open && !next_segment(stream)))
		return false;
	const Task *task = &stream->run->tasks[stream->task];
	int64_t end = task_segment_end(task, stream->segment);
	panel->task = task;
	panel->number = stream->task;
	panel->begin = stream->row;
	panel->count = end - stream->row < task->panel_rows ? end - stream->row : task->panel_rows;
	panel->slot = stream->open;
	stream->row += panel->count;
	if (stream->row == end)
		stream->open = NULL;
	return true;
}

static bool close_segment(Stream *stream, const Task *task, Slot *slot, CmprtError *error)
{
	JournalRecord record = {.segment = slot->segment, .panel_rows = task->panel_rows, .sum = slot->sum};
	int64_t rows = task_segment_end(task, slot->segment) - task_segment_begin(task, slot->segment);
	for (int64_t row = 0; row < rows && task->has_error; row++) {
		record.error[0] += slot->errors[2 * row];
		record.error[1] += slot->errors[2 * row + 1];
	}
	slot->segment = -1;
	return stream->run->done[record.segment] || journal_add(stream->run, record, error);
}

static bool finish_panel(Stream *stream, const Panel *panel, uint64_t sum, CmprtError *error)
{
	panel->slot->sum += sum;
	if (!stream->run->done[panel->slot->segment]) {
		progress_add(stream->run, panel->task, panel->count * (panel->task->row_in + panel->task->row_out));
		stream->run->bytes_read += panel->count * panel->task->row_in;
		stream->run->bytes_written += panel->count * panel->task->row_out;
	}
	return --panel->slot->left > 0 || close_segment(stream, panel->task, panel->slot, error);
}

static void fail_panel(Stream *stream, const Panel *panel, const CmprtError *error)
{
	if (stream->has_failed && (stream->failed_task < panel->number ||
								  (stream->failed_task == panel->number && stream->failed_row <= panel->begin)))
		return;
	stream->has_failed = true;
	stream->failed_task = panel->number;
	stream->failed_row = panel->begin;
	*stream->error = *error;
}

/* ---- a thread's work ---- */

void *panel_buffers(const Task *task, char *memory, void **buffer)
{
	const CmprtJob *job = task->job;
	char *at = memory;
	for (int64_t i = 0; i < job->port_in_count; i++, buffer++) {
		*buffer = at;
		at += align_up(task->panel_rows * task_row_bytes(task, &job->ports_in[i]), 64);
	}
	for (int64_t i = 0; i < job->port_out_count; i++, buffer++) {
		*buffer = job->kernel ? at : memory; /* a copy reads and writes from the same one */
		if (job->kernel && task_is_panel(task, i))
			at += align_up(task->panel_rows * task_row_bytes(task, &job->ports_out[i]), 64);
	}
	for (int64_t i = 0; i < job->work_count; i++, buffer++) {
		*buffer = at;
		at += align_up(job->work_bytes[i], 64);
	}
	return at;
}

static void begin_task(Worker *worker, const Task *task)
{
	worker->task = task;
	worker->scratch = panel_buffers(task, worker->memory, worker->buffers);
	task_params(worker->run, task, worker->params);
}

static bool run_panel(Worker *worker, const Panel *panel, uint64_t *sum, CmprtError *error)
{
	const Task *task = panel->task;
	const CmprtJob *job = task->job;
	if (worker->task != task)
		begin_task(worker, task);
	for (int64_t i = 0; i < job->port_in_count; i++)
		if (!panel_read(worker->run, task, i, worker->buffers[i], panel->begin, panel->count, error))
			return false;
	if (job->kernel) {
		if (task->has_error) {
			int64_t first = panel->begin - task_segment_begin(task, panel->slot->segment);
			worker->buffers[job->port_in_count + job->error_port] = panel->slot->errors + 2 * first;
		}
		task_panel_params(worker->run, task, panel->begin, panel->count, worker->params);
		CmprtFrame frame = {worker->buffers, worker->params, worker->scratch, NULL};
		job->kernel(&frame, 0, panel->count);
	}
	for (int64_t i = 0; i < job->port_out_count; i++) {
		const CmprtPort *port = &job->ports_out[i];
		const void *from = worker->buffers[job->port_in_count + i];
		if (port->value > 0)
			memcpy(worker->run->values[port->value - 1] + port->offset + panel->begin * port->row_bytes, from,
				(size_t)(panel->count * port->row_bytes));
		if (task_is_tensor(task, i) && !worker->run->done[panel->slot->segment] &&
			!panel_write(worker->run, task, i, from, panel->begin, panel->count, sum, error))
			return false;
	}
	return true;
}

static void work(Stream *stream, Worker *worker)
{
	Panel panel;
	CmprtError error;
	omp_set_lock(&stream->lock);
	while (take_panel(stream, &panel)) {
		omp_unset_lock(&stream->lock);
		uint64_t sum = 0;
		bool is_done = run_panel(worker, &panel, &sum, &error);
		omp_set_lock(&stream->lock);
		if (!is_done || !finish_panel(stream, &panel, sum, &error))
			fail_panel(stream, &panel, &error);
	}
	omp_unset_lock(&stream->lock);
}

/* Buffers and params that the widest job has. */
static void widest(const Run *run, int64_t *buffers, int64_t *params)
{
	*buffers = *params = 1;
	for (int64_t i = 0; i < run->program->job_count; i++) {
		const CmprtJob *job = &run->program->jobs[i];
		int64_t count = job->port_in_count + job->port_out_count + job->work_count;
		*buffers = count > *buffers ? count : *buffers;
		*params = job->param_count > *params ? job->param_count : *params;
	}
}

bool stream_tasks(Run *run, int64_t first, int64_t end, bool needs_values, CmprtError *error)
{
	const Schedule *schedule = &run->schedule;
	int64_t threads = schedule->threads, buffer_count, param_count;
	widest(run, &buffer_count, &param_count);
	Slot *slots = calloc((size_t)threads, sizeof *slots);
	Worker *workers = calloc((size_t)threads, sizeof *workers);
	void **buffers = calloc((size_t)(threads * buffer_count), sizeof *buffers);
	int64_t *params = calloc((size_t)(threads * param_count), sizeof *params);
	bool is_ready = slots && workers && buffers && params;
	char *errors = run->arena + threads * schedule->thread_bytes;
	for (int64_t i = 0; i < threads && is_ready; i++) {
		slots[i] = (Slot){.segment = -1, .errors = (double *)(void *)(errors + i * schedule->thread_extra)};
		workers[i] = (Worker){.run = run,
			.memory = run->arena + i * schedule->thread_bytes,
			.buffers = buffers + i * buffer_count,
			.params = params + i * param_count};
	}
	Stream stream = {.run = run,
		.task = first,
		.end_task = end,
		.segment = -1,
		.slots = slots,
		.needs_values = needs_values,
		.error = error};
	if (is_ready) {
		omp_init_lock(&stream.lock);
#pragma omp parallel num_threads((int)threads)
		work(&stream, &workers[omp_get_thread_num()]);
		omp_destroy_lock(&stream.lock);
	} else {
		stream.has_failed = !error_out_of_memory(error);
	}
	free(slots);
	free(workers);
	free(buffers);
	free(params);
	return !stream.has_failed;
}
