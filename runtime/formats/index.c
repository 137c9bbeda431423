/* SPDX-License-Identifier: MIT
 *
 * index.c: model.safetensors.index.json, which says for each tensor of a sharded
 * checkpoint in which file it is.
 *
 * Files of an index lie in its own folder: a name with a slash or `..` is refused,
 * so that an index cannot make us read elsewhere. Map and files must agree both
 * ways. `total_size` is not held against the files: published checkpoints have
 * wrong ones and every reader takes them; ours is right when written.
 */
#include "parts.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const IndexEntry *)a)->tensor, ((const IndexEntry *)b)->tensor);
}

static bool check_name(const char *path, const char *tensor, const char *file, CmprtError *error)
{
	if (strchr(file, '/') || strchr(file, '\\') || strcmp(file, "..") == 0 || strcmp(file, ".") == 0)
		return error_set(error, path, "tensor \"%.200s\": \"%.200s\" is not a file of this folder", tensor, file);
	if (!name_ends_in(file, ".safetensors"))
		return error_set(error, path, "tensor \"%.200s\": \"%.200s\" is not a .safetensors file", tensor, file);
	return true;
}

static bool read_map(Pool *pool, Index *index, const json_t *map, CmprtError *error)
{
	if (!json_is_object(map))
		return error_set(error, index->path, "has no \"weight_map\", expected a JSON object");
	index->entries = pool_array(pool, IndexEntry, json_object_size(map));
	const char *tensor, *last = "";
	json_t *value;
	json_object_foreach((json_t *)map, tensor, value)
	{
		const char *file = json_string_value(value);
		if (!file)
			return error_set(error, index->path, "tensor \"%.200s\": its file is not a string", tensor);
		if (strcmp(file, last) != 0) { /* most names stand beside others of the same file */
			if (!check_name(index->path, tensor, file, error))
				return false;
			last = pool_copy(pool, file, strlen(file));
			names_add(pool, &index->files, last);
		}
		index->entries[index->count++] = (IndexEntry){pool_copy(pool, tensor, strlen(tensor)), last};
	}
	if (index->count == 0)
		return error_set(error, index->path, "\"weight_map\" is empty");
	names_sort(&index->files);
	qsort(index->entries, (size_t)index->count, sizeof *index->entries, compare_entries);
	return true;
}

bool index_read(Pool *pool, const char *path, Index *index, CmprtError *error)
{
	int64_t bytes;
	char *text = file_text(pool, path, JSON_MAX_FILE, &bytes, error);
	if (!text)
		return false;
	index->path = path;
	json_error_t reason;
	json_t *root = json_loadb(text, (size_t)bytes, JSON_REJECT_DUPLICATES, &reason);
	if (!root)
		return error_set(error, path, "is not good JSON at byte %d: %s", reason.position, reason.text);
	bool is_good = json_is_object(root) ? read_map(pool, index, json_object_get(root, "weight_map"), error)
										: error_set(error, path, "is not a JSON object");
	json_decref(root);
	return is_good;
}

bool index_check(const Index *index, const Checkpoint *checkpoint, CmprtError *error)
{
	int64_t next = 0; /* both lists are sorted by name */
	for (int64_t i = 0; i < checkpoint->tensor_count || next < index->count; i++, next++) {
		const CkTensor *tensor = i < checkpoint->tensor_count ? checkpoint->by_name[i] : NULL;
		const IndexEntry *entry = next < index->count ? &index->entries[next] : NULL;
		int order = !tensor ? 1 : !entry ? -1 : strcmp(tensor->name, entry->tensor);
		if (order < 0)
			return error_set(error, index->path, "tensor \"%.200s\": is in %.200s but not in \"weight_map\"",
				tensor->name, path_last(checkpoint->files[tensor->file]));
		if (order > 0)
			return error_set(error, index->path, "tensor \"%.200s\": is not in %.200s, where \"weight_map\" has it",
				entry->tensor, entry->file);
		if (strcmp(path_last(checkpoint->files[tensor->file]), entry->file) != 0)
			return error_set(error, index->path, "tensor \"%.200s\": is in %.200s, but \"weight_map\" has it in %.200s",
				tensor->name, path_last(checkpoint->files[tensor->file]), entry->file);
	}
	return true;
}

const char *index_write(Pool *pool, const CmprtProgram *program, const char *const *shard_names)
{
	IndexEntry *entries = pool_array(pool, IndexEntry, program->output_count);
	int64_t total = 0;
	for (int64_t i = 0; i < program->output_count; i++) {
		const CmprtOutput *output = &program->outputs[i];
		entries[i] = (IndexEntry){output->name, shard_names[output->shard]};
		total += output->bytes;
	}
	if (program->output_count)
		qsort(entries, (size_t)program->output_count, sizeof *entries, compare_entries);
	Bytes text = {pool, NULL, 0, 0};
	bytes_printf(&text, "{\n  \"metadata\": {\n    \"total_size\": %lld\n  },\n  \"weight_map\": {", (long long)total);
	for (int64_t i = 0; i < program->output_count; i++) {
		bytes_text(&text, i ? ",\n    " : "\n    ");
		bytes_json(&text, entries[i].tensor);
		bytes_text(&text, ": ");
		bytes_json(&text, entries[i].file);
	}
	bytes_text(&text, "\n  }\n}\n");
	return text.at;
}
