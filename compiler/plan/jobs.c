/* SPDX-License-Identifier: MIT
 *
 * jobs.c: the work of the run, one job after the other: for each tensor, in order,
 * a copy of its bytes, or its kernel with the places of the rows that it reads and
 * writes; before them, for each selection over a family, the kernels that make its
 * keys. On entry every tensor has its kernel and its outputs.
 */
#include "plan.h"

#include <string.h>

const int64_t *plan_ints(Plan *plan, const int64_t *from, int64_t count)
{
	int64_t *to = arena_array(plan->c->arena, int64_t, count + 1);
	if (count)
		memcpy(to, from, sizeof *to * (size_t)count);
	return to;
}

static const CmprtPort *copy_ports(Plan *plan, const CmprtPort *from, int64_t count)
{
	CmprtPort *to = arena_array(plan->c->arena, CmprtPort, count + 1);
	if (count)
		memcpy(to, from, sizeof *to * (size_t)count);
	return to;
}

void job_add(Plan *plan, JobVec *to, CmprtJob job, const char *kernel_name)
{
	vec_push(plan->c->arena, to, job);
	vec_push(plan->c->arena, &plan->kernel_names, kernel_name);
}

/* Where in its output a part of the tensor goes: `bytes` are all that the tensor itself has there. */
void port_place(const PlanTensor *tensor, int64_t bytes, CmprtPort *port)
{
	const PlanPlace *place = &tensor->place;
	if (place->members)
		port->offset += place->member * bytes;
	if (!place->turn_slow)
		return;
	port->turn_unit = bytes / (tensor->file->rank > 1 ? tensor->rows : tensor->cols);
	port->turn_slow = place->turn_slow;
	port->turn_fast = place->turn_fast;
}

static void copy_job(Plan *plan, JobVec *to, size_t number)
{
	const PlanTensor *tensor = &plan->tensors.at[number];
	CmprtPort in = {.tensor = (int64_t)number, .row_bytes = tensor->file->bytes, .rows = 1};
	CmprtPort out = {.tensor = (int64_t)tensor->first_output, .row_bytes = tensor->file->bytes, .rows = 1};
	port_place(tensor, tensor->file->bytes, &out);
	job_add(plan, to,
		(CmprtJob){.label = tensor->file->name,
			.passes = "",
			.rows = 1,
			.port_in_count = 1,
			.ports_in = copy_ports(plan, &in, 1),
			.port_out_count = 1,
			.ports_out = copy_ports(plan, &out, 1),
			.error_port = -1},
		NULL);
}

static const char *passes_text(Plan *plan, const PlanTensor *tensor)
{
	Text text = {.arena = plan->c->arena};
	for (size_t i = 0; i < tensor->links.count; i++)
		text_printf(&text, "%s%s", i ? ", " : "", tensor->links.at[i].label);
	return text.at ? text.at : "";
}

static int64_t buffer_bytes(const KBuffer *buffer, int64_t rows)
{
	int64_t bytes = store_bytes(buffer->store), extent;
	for (uint32_t i = 0; i < buffer->rank; i++)
		bytes *= kexpr_is_const(buffer->extent[i], &extent) ? extent : rows;
	return bytes;
}

/* Of the Value that gets what a reader sees: all of a matrix at once, or any of its rows. */
static CmprtPort value_port(const PlanTensor *tensor, const PlanKernel *kernel, int64_t slice)
{
	int64_t row = tensor->cols * (int64_t)sizeof(float), matrix = tensor->rows * row;
	CmprtPort port = {.tensor = -1, .value = tensor->values, .row_bytes = matrix, .rows = 1, .offset = slice * matrix};
	if (!kernel->is_whole) {
		port.row_bytes = row;
		port.rows = tensor->stack * tensor->rows;
	}
	return port;
}

static int64_t output_ports(
	const Plan *plan, const PlanTensor *tensor, const PlanKernel *kernel, int64_t slice, CmprtPort *out)
{
	const KBufferVec *outputs = &kernel->built.kernel->outputs;
	bool has_notes = kernel->built.notes.count > 0, has_shift = kernel->built.shift != NULL;
	size_t results = outputs->count - has_notes;
	int64_t count = 0, plane = 0;
	for (size_t i = 0; i < results; i++) {
		const KBuffer *buffer = outputs->at[i];
		int64_t row_bytes = buffer_bytes(buffer, 1), rows = tensor->rows, known;
		if (kexpr_is_const(buffer->extent[0], &known)) {
			rows = known;
			row_bytes = buffer_bytes(buffer, 1) / known;
		}
		bool is_error = plan->wants_error && i + 1 == results;
		if (has_shift && i + 1 + plan->wants_error == results) {
			out[count++] = (CmprtPort){.tensor = -1, .value = tensor->shift, .row_bytes = rows * row_bytes, .rows = 1};
			continue;
		}
		if (tensor->values && i + 1 + has_shift + plan->wants_error == results) {
			out[count++] = value_port(tensor, kernel, slice);
			continue;
		}
		bool is_saved = kernel->built.saved.count > 0;
		bool is_one_of = is_saved || (kernel->built.factors.count && !is_error);
		int64_t number = (int64_t)tensor->first_output;
		if (kernel->built.planes.count && !is_error) {
			while (!kernel->built.planes.at[plane].buffer)
				plane++;
			number += plane++;
		}
		number += is_one_of ? (int64_t)i : 0;
		int64_t all = kernel->is_whole ? rows : rows * tensor->stack;
		out[count] = (CmprtPort){
			.tensor = is_error ? -1 : number, .row_bytes = row_bytes, .rows = all, .offset = slice * rows * row_bytes};
		if (is_saved)
			out[count].offset += tensor->place.members ? tensor->place.member * rows * row_bytes : 0;
		else if (!is_error)
			port_place(tensor, tensor->stack * rows * row_bytes, &out[count]);
		count++;
	}
	if (has_notes)
		out[count++] =
			(CmprtPort){.tensor = -1, .row_bytes = sizeof(double), .rows = (int64_t)kernel->built.notes.count};
	return count;
}

/* What the kernel has to know of selections: params after the number of rows, two for each. */
static void add_shares(Plan *plan, const PlanTensor *tensor, size_t count, int64_t first, CmprtJob *job)
{
	CmprtShare *shares = arena_array(plan->c->arena, CmprtShare, count + 1);
	for (size_t i = 0; i < count; i++)
		shares[i] = (CmprtShare){.select = (int64_t)tensor->shares.at[i].select,
			.first = tensor->shares.at[i].first + first,
			.row_elements = tensor->cols,
			.param = 1 + 2 * (int64_t)i};
	int64_t *params = arena_array(plan->c->arena, int64_t, 1 + 2 * count);
	memset(params, 0, sizeof *params * (1 + 2 * count));
	params[0] = job->rows;
	job->param_count = 1 + 2 * (int64_t)count;
	job->params = params;
	job->share_count = (int64_t)count;
	job->shares = shares;
}

static void work_buffers(Plan *plan, const Kernel *k, int64_t rows, CmprtJob *job)
{
	VEC(int64_t) work = {0};
	for (size_t i = 0; i < k->buffers.count; i++)
		if (k->buffers.at[i]->kind == BUFFER_TEMP && !k->buffers.at[i]->scope)
			vec_push(plan->c->arena, &work, buffer_bytes(k->buffers.at[i], rows));
	job->work_count = (int64_t)work.count;
	job->work_bytes = plan_ints(plan, work.at, (int64_t)work.count);
}

void job_from_kernel(Plan *plan, const Kernel *kernel, CmprtJob *job)
{
	work_buffers(plan, kernel, job->rows, job);
}

/* In reports the matrices of a stack have their number. */
static const char *job_label(const Plan *plan, const PlanTensor *tensor, const PlanKernel *kernel, int64_t slice)
{
	const char *name = tensor->file->name;
	return kernel->is_whole && tensor->is_stack ? arena_printf(plan->c->arena, "%s[%lld]", name, (long long)slice)
												: name;
}

/* A job of matrix `slice` of the tensor's stack, or of all of it where any rows will do; outputs are the caller's. */
static CmprtJob make_job(Plan *plan, size_t number, const PlanKernel *kernel, size_t shares, int64_t slice)
{
	const PlanTensor *tensor = &plan->tensors.at[number];
	const Kernel *k = kernel->built.kernel;
	int64_t rows = kernel->is_whole ? tensor->rows : tensor->rows * tensor->stack;
	int64_t row_bytes = tensor->file->bytes / (tensor->stack * tensor->rows);
	CmprtPort *in =
		arena_array(plan->c->arena, CmprtPort, 1 + kernel->built.inputs.count + kernel->built.statistics.count);
	in[0] = (CmprtPort){
		.tensor = (int64_t)number, .row_bytes = row_bytes, .rows = rows, .offset = slice * rows * row_bytes};
	for (size_t i = 0; i < kernel->built.inputs.count; i++)
		in[1 + i] = (CmprtPort){.tensor = (int64_t)(plan->tensors.count + tensor->reads.at[i]),
			.row_bytes = plan->reads.at[tensor->reads.at[i]].file->bytes,
			.rows = 1};
	for (size_t i = 0; i < kernel->built.statistics.count; i++)
		in[1 + kernel->built.inputs.count + i] = (CmprtPort){.tensor = -1,
			.value = tensor->statistics.at[(size_t)slice * kernel->built.statistics.count + i],
			.row_bytes = buffer_bytes(kernel->built.statistics.at[i].buffer, 1),
			.rows = 1};
	CmprtJob job = {.label = job_label(plan, tensor, kernel, slice),
		.passes = passes_text(plan, tensor),
		.rows = rows,
		.whole = kernel->is_whole,
		.port_in_count = 1 + (int64_t)(kernel->built.inputs.count + kernel->built.statistics.count),
		.ports_in = in,
		.error_port = -1};
	work_buffers(plan, k, tensor->rows, &job);
	add_shares(plan, tensor, shares, slice * rows * tensor->cols, &job);
	return job;
}

static void add_notes(Plan *plan, const NoteVec *notes, CmprtJob *job)
{
	CmprtNote *to = arena_array(plan->c->arena, CmprtNote, notes->count + 1);
	for (size_t i = 0; i < notes->count; i++)
		to[i].text = notes->at[i].text;
	job->note_count = (int64_t)notes->count;
	job->notes = to;
}

static void kernel_jobs(Plan *plan, JobVec *to, size_t number, size_t kernel_number)
{
	const PlanTensor *tensor = &plan->tensors.at[number];
	const PlanKernel *kernel = &plan->kernels.at[kernel_number];
	int64_t slices = kernel->is_whole ? tensor->stack : 1;
	for (int64_t s = 0; s < slices; s++) {
		CmprtJob job = make_job(plan, number, kernel, tensor->shares.count, s);
		CmprtPort out[64];
		job.port_out_count = output_ports(plan, tensor, kernel, s, out);
		job.ports_out = copy_ports(plan, out, job.port_out_count);
		add_notes(plan, &kernel->built.notes, &job);
		job.error_port = plan->wants_error ? job.port_out_count - 1 - (job.note_count > 0) : -1;
		job.dtype = kernel->built.dtype ? kernel->built.dtype->label : tensor->coded ? "F32" : tensor->file->dtype;
		job_add(plan, to, job, kernel->built.kernel->name);
	}
}

/* The jobs that make a selection's keys. */
static CmprtSelect make_select(Plan *plan, const PlanSelect *select)
{
	const PlanTensor *first = &plan->tensors.at[select->keys.at[0].tensor];
	CmprtSelect out = {.limit = select->limit};
	JobVec jobs = {0};
	size_t link;
	if (tensor_is_member(first, select->statement, &link))
		out.label = first->links.at[link].label;
	for (size_t i = 0; i < select->keys.count; i++) {
		const PlanKeys *keys = &select->keys.at[i];
		const PlanTensor *tensor = &plan->tensors.at[keys->tensor];
		const PlanKernel *kernel = &plan->kernels.at[keys->kernel];
		for (int64_t s = 0; s < (kernel->is_whole ? tensor->stack : 1); s++) {
			CmprtJob job = make_job(plan, keys->tensor, kernel, keys->shares, s);
			CmprtPort port = {.tensor = -1, .row_bytes = tensor->cols * (int64_t)sizeof(float), .rows = job.rows};
			job.port_out_count = 1;
			job.ports_out = copy_ports(plan, &port, 1);
			job_add(plan, &jobs, job, kernel->built.kernel->name);
		}
	}
	out.job_count = (int64_t)jobs.count;
	out.jobs = jobs.at;
	return out;
}

static JobVec make_jobs(Plan *plan, bool is_unfused)
{
	JobVec jobs = {0};
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		if (tensor->place.is_left_out)
			continue;
		if (tensor->family != SIZE_MAX)
			tuple_jobs(plan, &jobs, i);
		else if (tensor->kernel == SIZE_MAX)
			copy_job(plan, &jobs, i);
		else
			kernel_jobs(plan, &jobs, i, is_unfused ? tensor->unfused : tensor->kernel);
	}
	fold_jobs(plan, &jobs);
	return jobs;
}

/* What finds the extents of a tensor's factors. */
static void places_jobs(Plan *plan, JobVec *to)
{
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		if (tensor->places == SIZE_MAX)
			continue;
		const PlanKernel *kernel = &plan->kernels.at[tensor->places];
		CmprtPort port = {
			.tensor = -1, .value = tensor->places_value, .row_bytes = kernel->built.places.extent, .rows = 1};
		CmprtJob job = make_job(plan, i, kernel, 0, 0);
		job.port_out_count = 1;
		job.ports_out = copy_ports(plan, &port, 1);
		job_add(plan, to, job, kernel->built.kernel->name);
	}
}

void plan_jobs(Plan *plan, CmprtProgram *program)
{
	JobVec early = {0};
	early_jobs(plan, &early);
	places_jobs(plan, &early);
	plan_values(plan, program);
	program->early = early.at;
	program->early_count = (int64_t)early.count;
	JobVec jobs = make_jobs(plan, false);
	CmprtSelect *selects = arena_array(plan->c->arena, CmprtSelect, plan->selects.count + 1);
	for (size_t i = 0; i < plan->selects.count; i++)
		selects[i] = make_select(plan, &plan->selects.at[i]);
	program->jobs = jobs.at;
	program->job_count = (int64_t)jobs.count;
	program->selects = selects;
	program->select_count = (int64_t)plan->selects.count;
	calibration_tables(plan, program);
}

void plan_unfused_jobs(Plan *plan)
{
	JobVec jobs = make_jobs(plan, true);
	plan->program->unfused = jobs.at;
	plan->program->unfused_count = (int64_t)jobs.count;
}
