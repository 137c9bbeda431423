/* SPDX-License-Identifier: MIT
 *
 * values.c: the values of stored tensors as f32. Plain numbers are converted one by
 * one; of a coded tensor the compiler makes the kernel that reads its dtype, once
 * for each form and size, and runs it in this process.
 */
#include "model.h"

#include "llvm.h"

#include <fcntl.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A kernel that reads `rows` x `cols` elements, or any number of blocks. */
typedef struct Decoder {
	const Node *form; /* NULL: plain numbers, PLAIN_COLS in a block */
	const DtypeRef *coded;
	Store input;
	int64_t rows, cols; /* planes, rows of bytes; 0 of a layout */
	int64_t block_bytes;
	Kernel *kernel;
	Jit *jit;
	CmprtKernel *run;
} Decoder;

struct Values {
	Model *model;
	int *files; /* descriptors, -1: not open */
	VEC(Decoder *) decoders;
	char *bytes; /* of the panel in hand */
	int64_t room;
};

enum { PANEL_ROWS = 16, PLAIN_COLS = 256, FEW = 1 << 16 };

Values *values_open(Model *model)
{
	Values *values = arena_new_of(model->c->arena, Values);
	values->model = model;
	values->files = arena_array(model->c->arena, int, model->checkpoint->file_count + 1);
	for (int64_t i = 0; i < model->checkpoint->file_count; i++)
		values->files[i] = -1;
	return values;
}

void values_close(Values *values)
{
	for (int64_t i = 0; i < values->model->checkpoint->file_count; i++)
		if (values->files[i] >= 0)
			close(values->files[i]);
	for (size_t i = 0; i < values->decoders.count; i++)
		if (values->decoders.at[i]->jit)
			jit_free(values->decoders.at[i]->jit);
	free(values->bytes);
}

/* ---- reading ---- */

static char *make_room(Values *values, int64_t bytes)
{
	if (bytes > values->room) {
		free(values->bytes);
		values->bytes = malloc((size_t)bytes);
		values->room = values->bytes ? bytes : 0;
		if (!values->bytes)
			diag_fatal(values->model->c, "out of memory: %lld bytes", (long long)bytes);
	}
	return values->bytes;
}

static bool read_bytes(Values *values, const CkTensor *part, void *to, int64_t offset, int64_t bytes)
{
	const Checkpoint *checkpoint = values->model->checkpoint;
	const char *path = checkpoint->files[part->file];
	int *fd = &values->files[part->file];
	CmprtError error;
	if (*fd < 0 && (*fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) {
		diag_fatal(values->model->c, "%s: could not open", path);
		return false;
	}
	if (file_read(*fd, path, to, bytes, part->offset + offset, &error))
		return true;
	diag_fatal(values->model->c, "%s", error.text);
	return false;
}

/* ---- kernels ---- */

static int64_t buffer_bytes(const KBuffer *buffer, int64_t rows)
{
	int64_t bytes = store_bytes(buffer->store), extent;
	for (uint32_t i = 0; i < buffer->rank; i++)
		bytes *= kexpr_is_const(buffer->extent[i], &extent) ? extent : rows;
	return bytes;
}

static bool load_kernel(Compiler *c, Decoder *decoder)
{
	ModuleTarget here = {.cpu = "native"};
	TargetFacts facts;
	ObjectBytes object;
	if (!target_facts(c, &here, &facts))
		return false;
	kernel_schedule(decoder->kernel, &(ScheduleOptions){.lanes = facts.lanes});
	Module *module = kernel_verify(decoder->kernel) ? module_new(c, &here) : NULL;
	bool is_good = module && module_add_kernel(module, decoder->kernel) && module_verify(module) &&
				   module_optimize(module) && module_object(module, &object);
	if (module)
		module_free(module);
	decoder->jit = is_good ? jit_new(c, &object) : NULL;
	decoder->run = decoder->jit ? (CmprtKernel *)jit_symbol(decoder->jit, decoder->kernel->name) : NULL;
	return decoder->run != NULL;
}

/* out[o, i] = the number in[o, i] as f32 */
static Kernel *plain_kernel(Compiler *c, Store store)
{
	Kernel *k = kernel_new(c, name_of(c, "plain"));
	k->param_count = 1;
	KExpr *extent[2] = {kexpr_param(k, 0), kexpr_int(k, T_I32, PLAIN_COLS)}, *at[2];
	KIndex *index[2];
	for (int d = 0; d < 2; d++) {
		index[d] = kindex_new(k, name_of(c, d ? "i" : "o"), kexpr_int(k, T_I32, 0), extent[d], 1);
		at[d] = kexpr_index(k, index[d]);
	}
	KBuffer *in = kbuffer_new(k, BUFFER_INPUT, name_of(c, "in"), store, 2, extent);
	KBuffer *out = kbuffer_new(k, BUFFER_OUTPUT, name_of(c, "out"), store_of_type(T_F32), 2, extent);
	KExpr *value = kexpr_cast(k, T_F32, kexpr_load(k, in, at));
	vec_push(c->arena, &k->steps, kstep_map(k, out, at, index, 2, value));
	return k;
}

static Kernel *make_kernel(Values *values, const StoredTensor *tensor, Decoder *decoder)
{
	if (!tensor->form)
		return plain_kernel(values->model->c, tensor->store);
	return stored_kernel(values->model->c, tensor, decoder->rows, decoder->cols, &decoder->block_bytes);
}

static int64_t row_count(const StoredTensor *tensor)
{
	return stored_elements(tensor) / stored_row_length(tensor);
}

/* With a layout each tensor finds its dtype by its own code. */
static bool same_dtype(const DtypeRef *a, const DtypeRef *b)
{
	return a == b || (a && b && a->decl == b->decl && strcmp(a->label, b->label) == 0);
}

static Decoder *find_decoder(Values *values, const StoredTensor *tensor, int64_t rows)
{
	Compiler *c = values->model->c;
	Decoder wanted = {.form = tensor->form,
		.coded = tensor->coded,
		.input = tensor->form ? tensor->input : tensor->store,
		.rows = rows};
	wanted.cols = tensor->form && tensor->form->kind != N_LAYOUT ? stored_row_length(tensor) : 0;
	for (size_t i = 0; i < values->decoders.count; i++) {
		Decoder *known = values->decoders.at[i];
		if (known->form == wanted.form && same_dtype(known->coded, wanted.coded) && known->rows == rows &&
			known->cols == wanted.cols && store_equal(known->input, wanted.input))
			return known->run ? known : NULL;
	}
	Decoder *decoder = arena_new_of(c->arena, Decoder);
	*decoder = wanted;
	vec_push(c->arena, &values->decoders, decoder);
	decoder->kernel = make_kernel(values, tensor, decoder);
	return decoder->kernel && load_kernel(c, decoder) ? decoder : NULL;
}

/* Inputs, output and work of a call on `rows` rows; the inputs' bytes lie one behind the other in values->bytes. */
static bool run_decoder(Values *values, const Decoder *decoder, int64_t rows, float *to)
{
	const Kernel *k = decoder->kernel;
	void *buffers[64], *held[64];
	size_t count = 0, held_count = 0;
	char *at = values->bytes;
	for (size_t i = 0; i < k->inputs.count; i++) {
		buffers[count++] = at;
		at += buffer_bytes(k->inputs.at[i], rows);
	}
	buffers[count++] = to;
	bool is_good = true;
	for (size_t i = 0; i < k->buffers.count; i++) {
		const KBuffer *buffer = k->buffers.at[i];
		if (buffer->kind != BUFFER_TEMP || buffer->scope)
			continue;
		void *work = count < 64 ? malloc((size_t)buffer_bytes(buffer, rows) + 64) : NULL;
		is_good &= work != NULL;
		if (work)
			buffers[count++] = held[held_count++] = work;
	}
	size_t scratch_bytes = ((size_t)k->scratch_bytes + 63) / 64 * 64;
	void *scratch = aligned_alloc(64, (scratch_bytes + 64) * (size_t)omp_get_max_threads());
	CmprtFrame frame = {.buffers = buffers, .params = &rows, .scratch = scratch};
	if (!scratch || !is_good)
		diag_fatal(values->model->c, "out of memory");
	else if (kernel_is_streamed(k))
		cmprt_parallel(&frame, decoder->run, 0, rows, (int64_t)scratch_bytes);
	else
		decoder->run(&frame, 0, rows);
	is_good &= scratch != NULL;
	free(scratch);
	for (size_t i = 0; i < held_count; i++)
		free(held[i]);
	return is_good;
}

/* Many at once by a kernel, few and the rest one by one. */
static bool read_plain(Values *values, const StoredTensor *tensor, int64_t first, int64_t count, float *to)
{
	int64_t size = store_bytes(tensor->store), done = 0;
	char *bytes = make_room(values, count * size);
	if (!bytes || !read_bytes(values, tensor->parts[0], bytes, first * size, count * size))
		return false;
	if (count >= FEW) {
		const Decoder *decoder = find_decoder(values, tensor, 0);
		if (!decoder || !run_decoder(values, decoder, count / PLAIN_COLS, to))
			return false;
		done = count / PLAIN_COLS * PLAIN_COLS;
	}
	bool is_real = store_type(tensor->store) >= T_F32;
	for (int64_t i = done; i < count; i++) {
		KValue value = store_load(tensor->store, bytes + i * size);
		to[i] = is_real ? (float)value.real : (float)value.integer;
	}
	return true;
}

static bool read_blocks(Values *values, const StoredTensor *tensor, int64_t first, int64_t count, float *to)
{
	const Decoder *decoder = find_decoder(values, tensor, 0);
	int64_t block = tensor->parts[0]->block, blocks = count / block;
	if (!decoder)
		return false;
	char *bytes = make_room(values, blocks * decoder->block_bytes);
	return bytes &&
		   read_bytes(
			   values, tensor->parts[0], bytes, first / block * decoder->block_bytes, blocks * decoder->block_bytes) &&
		   run_decoder(values, decoder, blocks, to);
}

/* Rows that are decoded in one go: some, where planes can be cut between them, else all. */
static int64_t panel_rows(Values *values, const StoredTensor *tensor)
{
	int64_t rows = row_count(tensor);
	if (rows <= PANEL_ROWS)
		return rows;
	const Decoder *decoder = find_decoder(values, tensor, PANEL_ROWS);
	for (uint32_t i = 0; decoder && i < tensor->part_count; i++) {
		int64_t tall = 0;
		if (tensor->form->kind != N_PLANES || tensor->is_single[i])
			continue;
		kexpr_is_const(decoder->kernel->inputs.at[i]->extent[0], &tall);
		if (tensor->parts[i]->shape[0] != (rows * tall + PANEL_ROWS - 1) / PANEL_ROWS)
			return rows;
	}
	return decoder ? PANEL_ROWS : 0;
}

static bool read_panel(Values *values, const StoredTensor *tensor, int64_t panel, int64_t step, float *to)
{
	int64_t rows = row_count(tensor) - panel * step;
	const Decoder *decoder = find_decoder(values, tensor, rows < step ? rows : step);
	const Decoder *full = find_decoder(values, tensor, step);
	int64_t all = 0, at = 0;
	if (!decoder || !full)
		return false;
	for (uint32_t i = 0; i < tensor->part_count; i++)
		all += buffer_bytes(decoder->kernel->inputs.at[i], 1);
	if (!make_room(values, all))
		return false;
	for (uint32_t i = 0; i < tensor->part_count; i++) {
		int64_t bytes = buffer_bytes(decoder->kernel->inputs.at[i], 1);
		int64_t offset = tensor->is_single[i] ? 0 : panel * buffer_bytes(full->kernel->inputs.at[i], 1);
		if (!read_bytes(values, tensor->parts[i], values->bytes + at, offset, bytes))
			return false;
		at += bytes;
	}
	return run_decoder(values, decoder, rows < step ? rows : step, to);
}

static bool read_panels(Values *values, const StoredTensor *tensor, int64_t first, int64_t count, float *to)
{
	int64_t step = panel_rows(values, tensor), cols = stored_row_length(tensor);
	for (int64_t done = 0; done < count && step; done += step * cols)
		if (!read_panel(values, tensor, (first + done) / (step * cols), step, to + done))
			return false;
	return step != 0;
}

bool values_bytes(Values *values, const StoredTensor *tensor, void *to)
{
	return read_bytes(values, tensor->parts[0], to, 0, tensor->parts[0]->bytes);
}

int64_t values_unit(Values *values, const StoredTensor *tensor)
{
	if (tensor->store.kind != STORE_NONE || stored_elements(tensor) == 0)
		return 1;
	if (!tensor->coded) {
		diag_fatal(values->model->c, "\"%s\" is stored as %s, for which the library has no dtype", tensor->name,
			tensor->dtype);
		return 0;
	}
	return tensor->form->kind == N_LAYOUT ? tensor->parts[0]->block
										  : panel_rows(values, tensor) * stored_row_length(tensor);
}

bool values_read(Values *values, const StoredTensor *tensor, int64_t first, int64_t count, float *to)
{
	if (count == 0)
		return true;
	if (tensor->store.kind != STORE_NONE)
		return read_plain(values, tensor, first, count, to);
	return tensor->form->kind == N_LAYOUT ? read_blocks(values, tensor, first, count, to)
										  : read_panels(values, tensor, first, count, to);
}
