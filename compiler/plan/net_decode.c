/* SPDX-License-Identifier: MIT
 *
 * net_decode.c: weights that are stored as codes. In front of a call such a tensor is
 * made f32 by the `value` equations of its dtype; tensors of one form and size share
 * a kernel. On entry the calls' kernels are built.
 */
#include "net.h"

#include <string.h>

/* Of a layout the kernel does any number of blocks, of planes and rows of bytes as many rows as the tensor has. */
static bool is_alike(const StoredTensor *a, const StoredTensor *b)
{
	if (a->form != b->form || a->coded->decl != b->coded->decl || strcmp(a->coded->label, b->coded->label) != 0)
		return false;
	if (a->form->kind == N_LAYOUT)
		return true;
	bool is_same = store_equal(a->input, b->input) && a->rank == b->rank;
	for (int64_t d = 0; d < a->rank && is_same; d++)
		is_same = a->shape[d] == b->shape[d];
	return is_same;
}

static Kernel *make_kernel(Net *net, const StoredTensor *tensor, const ScheduleOptions *options)
{
	int64_t cols = stored_row_length(tensor), block_bytes;
	Kernel *kernel = stored_kernel(net->c, tensor, stored_elements(tensor) / cols, cols, &block_bytes);
	if (!kernel)
		return NULL;
	kernel->name = name_of(
		net->c, arena_printf(net->c->arena, "%s%s_decode_%zu", net->node->name, net->suffix, net->decoders.count));
	if (options)
		kernel_schedule(kernel, options);
	return kernel_verify(kernel) ? kernel : NULL;
}

bool net_add_decoder(Net *net, const StoredTensor *tensor, const ScheduleOptions *options)
{
	if (!tensor->form || net_decoder(net, tensor))
		return true;
	NetDecoder made = {tensor, make_kernel(net, tensor, options)};
	if (!made.kernel)
		return false;
	vec_push(net->c->arena, &net->decoders, made);
	return true;
}

Kernel *net_decoder(const Net *net, const StoredTensor *tensor)
{
	for (size_t i = 0; i < net->decoders.count && tensor->form; i++)
		if (is_alike(net->decoders.at[i].first, tensor))
			return net->decoders.at[i].kernel;
	return NULL;
}

CmprtDecode net_decode_table(const Net *net, const StoredTensor *tensor)
{
	const Kernel *kernel = net_decoder(net, tensor);
	bool has_blocks = tensor->form->kind == N_LAYOUT;
	int64_t rows = stored_elements(tensor) / (has_blocks ? tensor->parts[0]->block : stored_row_length(tensor));
	int64_t *parts = arena_array(net->c->arena, int64_t, tensor->part_count + 1);
	KHeap heap = kernel_heap(kernel, rows);
	for (uint32_t i = 0; i < tensor->part_count; i++)
		parts[i] = net->first_input + (tensor->parts[i] - net->checkpoint->tensors);
	CmprtDecode decode = {.scratch_bytes = (int64_t)kernel->scratch_bytes,
		.call_heap_bytes = heap.call,
		.thread_heap_bytes = heap.thread,
		.rows = rows,
		.is_streamed = kernel_is_streamed(kernel),
		.part_count = tensor->part_count,
		.parts = parts};
	decode.work_bytes = net_work_bytes(net, kernel, rows, &decode.work_count);
	return decode;
}
