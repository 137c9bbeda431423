/* SPDX-License-Identifier: MIT
 *
 * fuzz_formats.h: what the fuzz targets of checkpoint formats share: bytes become
 * a file, the file is opened, and what opens is walked, laid out again and closed.
 * Build with -fsanitize=fuzzer,address,undefined and runtime/formats.
 */
#ifndef FUZZ_FORMATS_H
#define FUZZ_FORMATS_H

#include "format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Replaces what the file holds. */
static inline void fill_file(int fd, const uint8_t *data, size_t size)
{
	if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
}

/* What open promises to everybody behind it. */
static inline void check_tensors(const Checkpoint *checkpoint)
{
	for (int64_t i = 0; i < checkpoint->tensor_count; i++) {
		const CkTensor *tensor = &checkpoint->tensors[i];
		if (tensor->bytes < 0 || tensor->offset < 0 || tensor->rank < 0 || tensor->rank > CMPRT_MAX_RANK)
			abort();
		if (tensor->file >= checkpoint->file_count ||
			tensor->bytes > checkpoint->file_bytes[tensor->file] - tensor->offset)
			abort();
		if (checkpoint_find(checkpoint, tensor->name) != tensor)
			abort();
	}
}

/* Laid out as it is: whatever opened can be written in its own format. */
static inline void check_layout(const Checkpoint *checkpoint, bool into_folder)
{
	CmprtError error;
	CmprtOutput *outputs = calloc((size_t)checkpoint->tensor_count + 1, sizeof *outputs);
	for (int64_t i = 0; i < checkpoint->tensor_count; i++) {
		const CkTensor *tensor = &checkpoint->tensors[i];
		outputs[i] = (CmprtOutput){
			tensor->name, tensor->dtype, tensor->code, tensor->rank, tensor->shape, tensor->bytes, tensor->file};
	}
	const CmprtMeta meta = {"cmpc.version", "string", "1"};
	CmprtProgram program = {.output_path = "out",
		.output_count = checkpoint->tensor_count,
		.outputs = outputs,
		.meta_count = 1,
		.meta = &meta};
	CkLayout *layout = checkpoint->format->lay_out(&program, checkpoint, into_folder, &error);
	if (!layout) {
		fprintf(stderr, "%s\n", error.text);
		abort();
	}
	layout_free(layout);
	free(outputs);
}

/* NULL: refused, in one line. */
static inline Checkpoint *open_or_refuse(const char *format, const char *path)
{
	CmprtError error = {""};
	Checkpoint *checkpoint = format_find(format)->open(path, &error);
	if (!checkpoint && (!*error.text || strchr(error.text, '\n')))
		abort();
	if (checkpoint)
		check_tensors(checkpoint);
	return checkpoint;
}

static inline void open_and_check(const char *format, const char *path, bool into_folder)
{
	Checkpoint *checkpoint = open_or_refuse(format, path);
	if (checkpoint)
		check_layout(checkpoint, into_folder);
	checkpoint_close(checkpoint);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
