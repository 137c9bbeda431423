/* SPDX-License-Identifier: MIT
 *
 * command_inspect.c: `cmpc inspect CHECKPOINT`: files, dtypes, tensors with their
 * roles, metadata. Reads headers only.
 */
#include "model.h"

#include "run.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

typedef struct DtypeSum {
	const char *dtype;
	int64_t tensors, parameters, bytes;
} DtypeSum;
typedef VEC(DtypeSum) DtypeSumVec;

/* The container's type, or what the metadata say that its bytes are. */
static const char *dtype_shown(const Model *model, const CkTensor *tensor)
{
	const char *coded = stored_rows_dtype(&model->stored, tensor);
	Text text = {.arena = model->c->arena};
	if (!coded)
		return tensor->dtype;
	text_shown(&text, coded, strlen(coded));
	return text.at;
}

/* Of what the file's tensors stand for: planes of one tensor, and rows of bytes, count as what they are read as. */
static void sum_dtypes(const Model *model, const StoredTensorVec *tensors, DtypeSumVec *to)
{
	for (size_t i = 0; i < tensors->count; i++) {
		const StoredTensor *tensor = &tensors->at[i];
		Text dtype = {.arena = model->c->arena};
		size_t at = 0;
		text_shown(&dtype, tensor->dtype, strlen(tensor->dtype));
		while (at < to->count && strcmp(to->at[at].dtype, dtype.at) != 0)
			at++;
		if (at == to->count) {
			DtypeSum fresh = {.dtype = dtype.at};
			vec_push(model->c->arena, to, fresh);
		}
		to->at[at].tensors++;
		to->at[at].parameters += stored_elements(tensor);
		to->at[at].bytes += tensor->bytes;
	}
}

static int64_t sum_parameters(const DtypeSumVec *sums)
{
	int64_t parameters = 0;
	for (size_t i = 0; i < sums->count; i++)
		parameters += sums->at[i].parameters;
	return parameters;
}

/* ---- text ---- */

/* Appends spaces until the line that began at `begin` is `width` wide. Characters are counted, not bytes. */
static void pad(Text *to, size_t begin, size_t width)
{
	size_t used = 0;
	for (size_t i = begin; i < to->count; i++)
		used += ((unsigned char)to->at[i] & 0xc0) != 0x80;
	text_printf(to, "%*s", used < width ? (int)(width - used) : 0, "");
}

static void print_head(const Model *model, const DtypeSumVec *sums, Text *to)
{
	const Checkpoint *checkpoint = model->checkpoint;
	int64_t tensors = 0;
	for (size_t i = 0; i < sums->count; i++)
		tensors += sums->at[i].tensors;
	text_shown(to, checkpoint->path, strlen(checkpoint->path));
	text_printf(to, ": %s, %" PRId64 " file%s, ", checkpoint->format->name, checkpoint->file_count,
		checkpoint->file_count == 1 ? "" : "s");
	print_bytes(model->file_bytes, to);
	text_append(to, "\n", 1);
	print_count(sum_parameters(sums), to);
	text_printf(to, " parameters in %" PRId64 " tensors", tensors);
	if (tensors != checkpoint->tensor_count)
		text_printf(to, " (%" PRId64 " in the file)", checkpoint->tensor_count);
	if (model->facts->layers)
		text_printf(to, ", %" PRId64 " layers", model->facts->layers);
	text_append(to, "\n", 1);
}

static void print_dtypes(const DtypeSumVec *sums, Text *to)
{
	int64_t all = 0;
	for (size_t i = 0; i < sums->count; i++)
		all += sums->at[i].bytes;
	text_printf(to, "\n%-10s %8s %18s %12s\n", "dtype", "tensors", "parameters", "bytes");
	for (size_t i = 0; i < sums->count; i++) {
		Text count = {.arena = to->arena}, bytes = {.arena = to->arena};
		print_count(sums->at[i].parameters, &count);
		print_bytes(sums->at[i].bytes, &bytes);
		text_printf(to, "%-10s %8" PRId64 " %18s %12s %5.1f%%\n", sums->at[i].dtype, sums->at[i].tensors, count.at,
			bytes.at, all ? 100.0 * (double)sums->at[i].bytes / (double)all : 0.0);
	}
}

static void print_tensors(const Model *model, bool is_split, Text *to)
{
	TensorGroupVec groups = {0};
	size_t widest = 6;
	model_groups(model, is_split, &groups);
	for (size_t i = 0; i < groups.count; i++) {
		size_t length = strlen(groups.at[i].pattern);
		widest = length > widest && length <= 60 ? length : widest;
	}
	text_printf(to, "\n%-*s  %5s %-18s %-8s %s\n", (int)widest, "tensor", "", "shape", "dtype", "roles");
	for (size_t i = 0; i < groups.count; i++) {
		const TensorGroup *group = &groups.at[i];
		size_t begin = to->count;
		text_shown(to, group->pattern, strlen(group->pattern));
		pad(to, begin, widest);
		if (group->count > 1)
			text_printf(to, "  %5zu ", group->count);
		else
			text_printf(to, "  %5s ", "");
		begin = to->count;
		print_shape(group->first->file, to);
		pad(to, begin, 18);
		text_printf(to, " %-8s ", dtype_shown(model, group->first->file));
		print_roles(group->first, to);
		while (to->at[to->count - 1] == ' ')
			to->at[--to->count] = '\0';
		text_append(to, "\n", 1);
	}
}

static void print_metadata(const Checkpoint *checkpoint, bool is_full, Text *to)
{
	if (!checkpoint->meta_count)
		return;
	if (!is_full) {
		text_printf(to, "\nmetadata: %" PRId64 " key%s; --all shows all\n", checkpoint->meta_count,
			checkpoint->meta_count == 1 ? "" : "s");
		return;
	}
	text_printf(to, "\nmetadata\n");
	for (int64_t i = 0; i < checkpoint->meta_count; i++) {
		const CkMeta *meta = &checkpoint->meta[i];
		text_append(to, "  ", 2);
		text_shown(to, meta->key, strlen(meta->key));
		text_printf(to, " (%s) ", meta->type);
		text_shown(to, meta->value, strlen(meta->value));
		text_append(to, "\n", 1);
	}
}

/* ---- JSON ---- */

static json_t *tensor_json(const Model *model, const PlanTensor *tensor)
{
	const CkTensor *file = tensor->file;
	json_t *shape = json_array(), *roles = json_array();
	for (int64_t axis = 0; axis < file->rank; axis++)
		json_array_append_new(shape, json_integer(file->shape[axis]));
	for (size_t i = 0; i < tensor->roles.count; i++)
		json_array_append_new(roles, json_string(tensor->roles.at[i]));
	json_t *object = json_pack("{s:s, s:s, s:o, s:I, s:s, s:I, s:o}", "name", file->name, "dtype",
		dtype_shown(model, file), "shape", shape, "bytes", (json_int_t)file->bytes, "file",
		model->checkpoint->files[file->file], "offset", (json_int_t)file->offset, "roles", roles);
	if (tensor->layer >= 0)
		json_object_set_new(object, "layer", json_integer(tensor->layer));
	return object;
}

static void print_json(const Model *model, const DtypeSumVec *sums)
{
	const Checkpoint *checkpoint = model->checkpoint;
	json_t *dtypes = json_array(), *tensors = json_array(), *files = json_array(), *meta = json_object();
	for (int64_t i = 0; i < checkpoint->file_count; i++)
		json_array_append_new(files, json_text(checkpoint->files[i]));
	for (size_t i = 0; i < sums->count; i++)
		json_array_append_new(dtypes,
			json_pack("{s:s, s:I, s:I, s:I}", "dtype", sums->at[i].dtype, "tensors", (json_int_t)sums->at[i].tensors,
				"parameters", (json_int_t)sums->at[i].parameters, "bytes", (json_int_t)sums->at[i].bytes));
	for (size_t i = 0; i < model->facts->tensors.count; i++)
		json_array_append_new(tensors, tensor_json(model, &model->facts->tensors.at[i]));
	for (int64_t i = 0; i < checkpoint->meta_count; i++)
		json_object_set_new(meta, checkpoint->meta[i].key, json_text(checkpoint->meta[i].value));
	json_line(json_pack("{s:o, s:s, s:o, s:I, s:I, s:I, s:o, s:o, s:o}", "path", json_text(checkpoint->path), "format",
		checkpoint->format->name, "files", files, "bytes", (json_int_t)model->file_bytes, "parameters",
		(json_int_t)sum_parameters(sums), "layers", (json_int_t)model->facts->layers, "dtypes", dtypes, "metadata",
		meta, "tensors", tensors));
}

int command_inspect(Request *request)
{
	Model *model = model_open(request->c, request->operands[0]);
	if (!model)
		return STATUS_ERROR;
	StoredTensorVec tensors = {0};
	DtypeSumVec sums = {0};
	bool is_written = stored_tensors(&model->stored, &tensors);
	sum_dtypes(model, &tensors, &sums);
	if (is_written && request->json) {
		print_json(model, &sums);
	} else if (is_written) {
		Text text = {.arena = request->c->arena};
		print_head(model, &sums, &text);
		print_dtypes(&sums, &text);
		print_tensors(model, request->all, &text);
		print_metadata(model->checkpoint, request->all, &text);
		is_written = text_write(request->c, NULL, &text);
	}
	model_close(model);
	return is_written ? STATUS_DONE : STATUS_ERROR;
}
