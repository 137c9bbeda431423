/* SPDX-License-Identifier: MIT
 *
 * command_decode.c: `cmpc decode CHECKPOINT -o OUT` writes what a reader of the
 * checkpoint sees as plain numbers: f32, and whole numbers as they are. The file
 * takes its name when it is whole.
 */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 22 }; /* elements in hand */

typedef struct Decoding {
	Compiler *c;
	Model *model;
	Values *values;
	StoredTensorVec tensors;
	CkLayout *layout;
	const char *path, *partial;
	int fd;
} Decoding;

static bool failed(Decoding *d, const char *doing)
{
	diag_fatal(d->c, "cannot %s \"%s\": %s", doing, d->path, strerror(errno));
	return false;
}

/* Whole numbers and truth values have no other form. */
static bool is_kept(const StoredTensor *tensor)
{
	return tensor->store.kind != STORE_NONE && store_type(tensor->store) < T_F32;
}

static CmprtProgram make_program(Decoding *d)
{
	CmprtOutput *outputs = arena_array(d->c->arena, CmprtOutput, d->tensors.count + 1);
	for (size_t i = 0; i < d->tensors.count; i++) {
		const StoredTensor *tensor = &d->tensors.at[i];
		outputs[i] =
			(CmprtOutput){.name = tensor->name, .container_code = -1, .rank = tensor->rank, .shape = tensor->shape};
		outputs[i].container_dtype = is_kept(tensor) ? tensor->dtype : "F32";
		outputs[i].bytes = is_kept(tensor) ? tensor->bytes : 4 * stored_elements(tensor);
	}
	return (CmprtProgram){.cmpc_version = PACKAGE_VERSION,
		.pipeline = "decode",
		.output_path = d->path,
		.output_format = format_of_output(d->path)->name,
		.output_count = (int64_t)d->tensors.count,
		.outputs = outputs};
}

static bool write_at(Decoding *d, const void *from, int64_t bytes, int64_t offset)
{
	for (int64_t done = 0; done < bytes;) {
		ssize_t written = pwrite(d->fd, (const char *)from + done, (size_t)(bytes - done), offset + done);
		if (written < 0 && errno != EINTR)
			return failed(d, "write");
		done += written > 0 ? written : 0;
	}
	return true;
}

static bool write_kept(Decoding *d, const StoredTensor *tensor, int64_t offset)
{
	char *bytes = malloc((size_t)tensor->bytes + 1);
	bool is_good = bytes && values_bytes(d->values, tensor, bytes) && write_at(d, bytes, tensor->bytes, offset);
	free(bytes);
	return is_good;
}

static bool write_tensor(Decoding *d, const StoredTensor *tensor, int64_t offset)
{
	if (is_kept(tensor))
		return write_kept(d, tensor, offset);
	int64_t unit = values_unit(d->values, tensor), all = stored_elements(tensor);
	if (!unit)
		return false;
	int64_t step = unit > CHUNK ? unit : CHUNK / unit * unit;
	step = step < all ? step : all;
	float *panel = malloc(sizeof *panel * (size_t)(step + 1));
	bool is_good = panel != NULL;
	for (int64_t at = 0; at < all && is_good; at += step) {
		int64_t count = all - at < step ? all - at : step;
		is_good = values_read(d->values, tensor, at, count, panel) && write_at(d, panel, 4 * count, offset + 4 * at);
	}
	free(panel);
	return is_good;
}

/* A name to write under; the checkpoint itself is never written to. */
static bool open_output(Decoding *d)
{
	struct stat out, in;
	for (int64_t i = 0; i < d->model->checkpoint->file_count; i++)
		if (stat(d->path, &out) == 0 && stat(d->model->checkpoint->files[i], &in) == 0 && out.st_dev == in.st_dev &&
			out.st_ino == in.st_ino) {
			diag_fatal(d->c, "\"%s\" is the checkpoint that is decoded", d->path);
			return false;
		}
	d->partial = arena_printf(d->c->arena, "%s.partial", d->path);
	d->fd = open(d->partial, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	return d->fd >= 0 || failed(d, "write");
}

static bool write_output(Decoding *d)
{
	CmprtError error;
	CmprtProgram program = make_program(d);
	d->layout = format_of_output(d->path)->lay_out(&program, NULL, false, &error);
	if (!d->layout) {
		diag_fatal(d->c, "%s", error.text);
		return false;
	}
	const CkOutFile *file = &d->layout->files[0];
	if (ftruncate(d->fd, file->bytes) != 0)
		return failed(d, "write");
	bool is_good = write_at(d, file->head, file->head_bytes, 0);
	for (size_t i = 0; i < d->tensors.count && is_good; i++)
		is_good = write_tensor(d, &d->tensors.at[i], d->layout->tensor_offset[i]);
	return is_good && (rename(d->partial, d->path) == 0 || failed(d, "write"));
}

int command_decode(Request *request)
{
	const Format *format = request->output ? format_of_output(request->output) : NULL;
	size_t length = request->output ? strlen(request->output) : 0, tail = format ? strlen(format->suffix) : 0;
	if (!format || !format->is_folder_format || length <= tail ||
		strcmp(request->output + length - tail, format->suffix)) {
		if (request->output)
			fprintf(
				stderr, "cmpc: decode writes safetensors only: \"%s\" does not end in .safetensors\n", request->output);
		else
			fprintf(stderr, "cmpc: decode needs -o OUT.safetensors: where the plain numbers go\n");
		return STATUS_USAGE;
	}
	Decoding d = {.c = request->c, .path = request->output, .fd = -1};
	d.model = model_open(d.c, request->operands[0]);
	if (!d.model)
		return STATUS_ERROR;
	d.values = values_open(d.model);
	bool is_good = stored_tensors(&d.model->stored, &d.tensors) && open_output(&d) && write_output(&d);
	if (d.fd >= 0)
		close(d.fd);
	if (!is_good && d.partial)
		unlink(d.partial);
	if (d.layout)
		layout_free(d.layout);
	values_close(d.values);
	model_close(d.model);
	return is_good ? STATUS_DONE : STATUS_ERROR;
}
