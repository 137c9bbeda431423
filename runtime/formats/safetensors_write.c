/* SPDX-License-Identifier: MIT
 *
 * safetensors_write.c: lays out a safetensors output: one file, or a folder
 * sharded as the program's outputs say.
 *
 * The tensors of a file stand in the order of the outputs without gaps; the header
 * is padded with spaces so that the data begin at a multiple of 8. Everything is a
 * function of the program and the source: no times, no paths, no hash order.
 */
#include "safetensors.h"

#include <string.h>

enum { HEAD_ALIGNMENT = 8 };

static const CmprtMeta *find_meta(const CmprtProgram *program, const char *key)
{
	for (int64_t i = 0; i < program->meta_count; i++)
		if (strcmp(program->meta[i].key, key) == 0)
			return &program->meta[i];
	return NULL;
}

static void write_member(Bytes *head, int64_t number, const char *key, const char *value)
{
	bytes_text(head, number ? "," : "");
	bytes_json(head, key);
	bytes_text(head, ":");
	bytes_json(head, value);
}

static const CmprtOutput *find_output(const CmprtProgram *program, const char *name)
{
	for (int64_t i = 0; i < program->output_count; i++)
		if (strcmp(program->outputs[i].name, name) == 0)
			return &program->outputs[i];
	return NULL;
}

/* A file of low-rank pairs P:up [m, r] and P:down [r, n] says r of each as P:rank, by which readers make room for them.
 * Where that was so, it is so of what is written; else the value as it is. */
static const char *rank_value(Pool *pool, const CmprtProgram *program, const Checkpoint *source, const CkMeta *meta)
{
	static const char suffix[] = ":rank";
	size_t length = strlen(meta->key), tail = strlen(suffix);
	if (length <= tail || strcmp(meta->key + length - tail, suffix) != 0)
		return meta->value;
	const char *name = pool_printf(pool, "%.*s:down", (int)(length - tail), meta->key);
	const CkTensor *before = checkpoint_find(source, name);
	const CmprtOutput *after = find_output(program, name);
	if (!before || !after || before->rank < 1 || after->rank < 1 ||
		strcmp(pool_printf(pool, "%lld", (long long)before->shape[0]), meta->value) != 0)
		return meta->value;
	return pool_printf(pool, "%lld", (long long)after->shape[0]);
}

/* The source's members in their order, replaced where the program has the key; then the program's others. */
static int64_t write_metadata(Bytes *head, const CmprtProgram *program, const Checkpoint *source)
{
	int64_t count = 0, carried = source ? source->meta_count : 0;
	if (carried + program->meta_count == 0)
		return 0;
	bytes_text(head, "\"__metadata__\":{");
	for (int64_t i = 0; i < carried; i++) {
		const CmprtMeta *ours = find_meta(program, source->meta[i].key);
		const char *value = ours ? ours->value : rank_value(head->pool, program, source, &source->meta[i]);
		write_member(head, count++, source->meta[i].key, value);
	}
	for (int64_t i = 0; i < program->meta_count; i++) {
		bool is_written = find_meta(program, program->meta[i].key) != &program->meta[i];
		for (int64_t k = 0; k < carried && !is_written; k++)
			is_written = strcmp(source->meta[k].key, program->meta[i].key) == 0;
		if (!is_written)
			write_member(head, count++, program->meta[i].key, program->meta[i].value);
	}
	bytes_text(head, "}");
	return 1;
}

static bool check_output(const CmprtProgram *program, const CmprtOutput *output, CmprtError *error)
{
	int64_t bytes;
	const char *reason, *dtype = output->container_dtype ? output->container_dtype : "?";
	if (safetensors_bits(dtype) == 0)
		return error_set(
			error, program->output_path, "tensor \"%.200s\": safetensors cannot hold dtype %.60s", output->name, dtype);
	if (!safetensors_bytes(dtype, output->shape, output->rank, &bytes, &reason))
		return error_set(error, program->output_path, "tensor \"%.200s\": %s %s %s", output->name, dtype,
			shape_text(output->shape, output->rank).text, reason);
	if (bytes != output->bytes)
		return error_set(error, program->output_path, "tensor \"%.200s\": has %lld bytes, but %s %s needs %lld",
			output->name, (long long)output->bytes, dtype, shape_text(output->shape, output->rank).text,
			(long long)bytes);
	return true;
}

static void write_entry(Bytes *head, bool is_first, const CmprtOutput *output, int64_t begin)
{
	bytes_text(head, is_first ? "" : ",");
	bytes_json(head, output->name);
	bytes_printf(head, ":{\"dtype\":\"%s\",\"shape\":[", output->container_dtype);
	for (int64_t axis = 0; axis < output->rank; axis++)
		bytes_printf(head, axis ? ",%lld" : "%lld", (long long)output->shape[axis]);
	bytes_printf(head, "],\"data_offsets\":[%lld,%lld]}", (long long)begin, (long long)(begin + output->bytes));
}

/* File `shard` of the layout; -1: the only one, that takes all tensors. */
static bool lay_out_file(
	CkLayout *layout, const CmprtProgram *program, const Checkpoint *source, int64_t shard, CmprtError *error)
{
	int64_t file = shard < 0 ? 0 : shard, data = 0;
	Bytes head = {layout->pool, NULL, 0, 0};
	bytes_zeros(&head, 8);
	bytes_text(&head, "{");
	bool is_first = write_metadata(&head, program, source) == 0;
	for (int64_t i = 0; i < program->output_count; i++) {
		const CmprtOutput *output = &program->outputs[i];
		if (shard >= 0 && output->shard != shard)
			continue;
		write_entry(&head, is_first, output, data);
		is_first = false;
		layout->tensor_file[i] = file;
		layout->tensor_offset[i] = data;
		if (__builtin_add_overflow(data, output->bytes, &data) || data > INT64_MAX / 2)
			return error_set(error, program->output_path, "tensor \"%.200s\": ends behind byte 2^62", output->name);
	}
	bytes_text(&head, "}");
	while (head.count % HEAD_ALIGNMENT)
		bytes_text(&head, " ");
	if (head.count - 8 > SAFETENSORS_MAX_HEADER)
		return error_set(error, program->output_path, "the header would have %zu bytes, the limit is %d",
			head.count - 8, SAFETENSORS_MAX_HEADER);
	for (int i = 0; i < 8; i++)
		head.at[i] = (char)((uint64_t)(head.count - 8) >> (8 * i));
	for (int64_t i = 0; i < program->output_count; i++)
		if (shard < 0 || program->outputs[i].shard == shard)
			layout->tensor_offset[i] += (int64_t)head.count;
	CkOutFile *out = &layout->files[file];
	out->head = head.at;
	out->head_bytes = (int64_t)head.count;
	out->bytes = out->head_bytes + data;
	layout->total_bytes += out->bytes;
	return true;
}

/* As the input's files are called, if there are as many of them; else as everybody calls them. */
static const char **name_shards(Pool *pool, const Checkpoint *source, int64_t count)
{
	const char **names = pool_array(pool, const char *, count);
	bool is_same = source && source->is_folder && source->file_count == count;
	for (int64_t i = 0; i < count; i++)
		names[i] = is_same ? pool_copy(pool, path_last(source->files[i]), strlen(path_last(source->files[i])))
				   : count == 1
					   ? "model.safetensors"
					   : pool_printf(pool, "model-%05lld-of-%05lld.safetensors", (long long)i + 1, (long long)count);
	return names;
}

/* How many files; -1: error. */
static int64_t count_shards(const CmprtProgram *program, CmprtError *error)
{
	int64_t count = 1;
	for (int64_t i = 0; i < program->output_count; i++) {
		const CmprtOutput *output = &program->outputs[i];
		if (!check_output(program, output, error))
			return -1;
		if (output->shard < 0 || output->shard > 99998) {
			error_set(error, program->output_path, "tensor \"%.200s\": shard %lld, expected 0 to 99998", output->name,
				(long long)output->shard);
			return -1;
		}
		count = output->shard >= count ? output->shard + 1 : count;
	}
	return count;
}

static bool fill_layout(
	CkLayout *layout, const CmprtProgram *program, const Checkpoint *source, bool into_folder, CmprtError *error)
{
	/* metadata of another format is not ours to carry; its folder and config.json are nobody's format */
	const Checkpoint *same = source && source->format == &format_safetensors ? source : NULL;
	for (int64_t i = 0; i < layout->file_count; i++)
		if (!lay_out_file(layout, program, same, into_folder ? i : -1, error))
			return false;
	if (!into_folder) {
		layout->files[0].name = "";
		return true;
	}
	const char **names = name_shards(layout->pool, same, layout->file_count);
	for (int64_t i = 0; i < layout->file_count; i++)
		layout->files[i].name = names[i];
	bool has_index = layout->file_count > 1 || (same && ((const SafetensorsState *)same->state)->has_index);
	return folder_sides(layout, program, source, has_index ? index_write(layout->pool, program, names) : NULL, error);
}

CkLayout *safetensors_lay_out(
	const CmprtProgram *program, const Checkpoint *source, bool into_folder, CmprtError *error)
{
	int64_t shards = layout_check_outputs(program, error) ? count_shards(program, error) : -1;
	if (shards < 0)
		return NULL;
	CkLayout *layout = layout_new(program, into_folder ? shards : 1);
	if (fill_layout(layout, program, source, into_folder, error))
		return layout;
	layout_free(layout);
	return NULL;
}
