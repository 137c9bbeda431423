/* SPDX-License-Identifier: MIT
 *
 * stored_kernel.c: the kernel that reads a coded tensor back as f32, from the
 * equations of its dtype. Its inputs are the tensor's parts, in their order.
 */
#include "stored.h"

Kernel *stored_kernel(Compiler *c, const StoredTensor *tensor, int64_t rows, int64_t cols, int64_t *block_bytes)
{
	PlaneVec planes = {0};
	if (tensor->form->kind == N_LAYOUT)
		return decode_layout(tensor->program, tensor->coded, tensor->form, block_bytes);
	if (tensor->form->kind == N_PLANES)
		return decode_planes(tensor->program, tensor->coded, tensor->form, tensor->input, rows, cols, &planes);
	const CkTensor *file = tensor->parts[0];
	int64_t bytes = 0, found = file->shape[file->rank - 1];
	Kernel *kernel = decode_rows(tensor->program, tensor->coded, tensor->input, rows, cols, &bytes);
	if (!kernel || bytes == found)
		return kernel;
	diag_fatal(c, "\"%s\": its rows have %lld bytes, but %lld elements of %s take %lld", tensor->name, (long long)found,
		(long long)cols, tensor->dtype, (long long)bytes);
	return NULL;
}
