/* SPDX-License-Identifier: MIT
 *
 * safetensors.c: the row of the format, and reading: a file, or a folder with
 * model.safetensors.index.json, with model.safetensors, or with any number of
 * *.safetensors.
 *
 * On exit of open every number of every header has been checked: regions tile the
 * data, sizes follow from dtype and shape, no name stands twice, index and files
 * agree. The tensors of a file are in the order of their data.
 */
#include "safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *name;
	int bits;
} dtypes[] = {
	{"BOOL", 8},
	{"U8", 8},
	{"I8", 8},
	{"U16", 16},
	{"I16", 16},
	{"U32", 32},
	{"I32", 32},
	{"U64", 64},
	{"I64", 64},
	{"F16", 16},
	{"BF16", 16},
	{"F32", 32},
	{"F64", 64},
	{"C64", 64},
	{"F8_E5M2", 8},
	{"F8_E4M3", 8},
	{"F8_E8M0", 8},
	{"F8_E4M3FNUZ", 8},
	{"F8_E5M2FNUZ", 8},
	{"F4", 4},
	{"F6_E2M3", 6},
	{"F6_E3M2", 6},
};

enum { DTYPE_COUNT = sizeof dtypes / sizeof *dtypes, LENGTH_BYTES = 8 };

int safetensors_bits(const char *dtype)
{
	for (int i = 0; i < DTYPE_COUNT; i++)
		if (strcmp(dtypes[i].name, dtype) == 0)
			return dtypes[i].bits;
	return 0;
}

bool safetensors_bytes(const char *dtype, const int64_t *shape, int64_t rank, int64_t *bytes, const char **reason)
{
	int64_t bits = safetensors_bits(dtype);
	bool is_empty = false, is_huge = false;
	for (int64_t axis = 0; axis < rank; axis++) {
		is_empty |= shape[axis] == 0;
		is_huge |= shape[axis] != 0 && __builtin_mul_overflow(bits, shape[axis], &bits);
	}
	*reason = is_huge ? "has more than 2^63 bits" : bits % 8 ? "is not a whole number of bytes" : NULL;
	*bytes = is_empty ? 0 : bits / 8;
	return is_empty ? !is_huge : !*reason;
}

/* ---- one file ---- */

/* Reading of one file's header into a checkpoint. */
typedef struct Reader {
	Checkpoint *checkpoint;
	int64_t file;
	const char *path;
	int64_t header_bytes; /* N */
	int64_t data_bytes;
	CkTensor *tensors; /* of this file; those of all files are joined at the end */
	int64_t count;
	CmprtError *error;
} Reader;

#define tensor_error(r, name, format, ...)                                                                             \
	error_set((r)->error, (r)->path, "tensor \"%.200s\": " format, (name), __VA_ARGS__)

static bool read_shape(Reader *r, const char *name, const json_t *shape, CkTensor *tensor)
{
	if (!json_is_array(shape))
		return tensor_error(r, name, "%s", "has no \"shape\", expected an array of integers");
	if (json_array_size(shape) > CMPRT_MAX_RANK)
		return tensor_error(r, name, "rank %zu is above the limit of %d", json_array_size(shape), CMPRT_MAX_RANK);
	tensor->rank = (int64_t)json_array_size(shape);
	for (int64_t axis = 0; axis < tensor->rank; axis++) {
		const json_t *extent = json_array_get(shape, (size_t)axis);
		if (!json_is_integer(extent) || json_integer_value(extent) < 0)
			return tensor_error(
				r, name, "shape[%lld] is not an integer from 0 to 9223372036854775807", (long long)axis);
		tensor->shape[axis] = json_integer_value(extent);
	}
	return true;
}

static bool read_offsets(Reader *r, const char *name, const json_t *offsets, CkTensor *tensor)
{
	const json_t *first = json_array_get(offsets, 0), *second = json_array_get(offsets, 1);
	if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(second))
		return tensor_error(r, name, "%s", "has no \"data_offsets\", expected an array of two integers");
	long long begin = json_integer_value(first), end = json_integer_value(second);
	if (begin < 0 || end < begin)
		return tensor_error(r, name, "data_offsets [%lld, %lld], expected 0 <= begin <= end", begin, end);
	if (end > r->data_bytes)
		return tensor_error(r, name, "data_offsets [%lld, %lld] reach past the end of the data (%lld bytes)", begin,
			end, (long long)r->data_bytes);
	if (end - begin != tensor->bytes)
		return tensor_error(r, name, "data_offsets [%lld, %lld] hold %lld bytes, but %s %s needs %lld", begin, end,
			end - begin, tensor->dtype, shape_text(tensor->shape, tensor->rank).text, (long long)tensor->bytes);
	tensor->offset = LENGTH_BYTES + r->header_bytes + begin;
	return true;
}

static bool read_tensor(Reader *r, const char *name, const json_t *entry)
{
	CkTensor *tensor = &r->tensors[r->count++];
	if (!json_is_object(entry))
		return tensor_error(r, name, "%s", "is not a JSON object");
	const char *dtype = json_string_value(json_object_get(entry, "dtype")), *reason;
	if (!dtype)
		return tensor_error(r, name, "%s", "has no \"dtype\", expected a string");
	for (int i = 0; i < DTYPE_COUNT; i++)
		if (strcmp(dtypes[i].name, dtype) == 0)
			tensor->dtype = dtypes[i].name;
	if (!tensor->dtype)
		return tensor_error(r, name, "dtype \"%.60s\" is none of safetensors'", dtype);
	if (!read_shape(r, name, json_object_get(entry, "shape"), tensor))
		return false;
	if (!safetensors_bytes(dtype, tensor->shape, tensor->rank, &tensor->bytes, &reason))
		return tensor_error(r, name, "%s %s %s", dtype, shape_text(tensor->shape, tensor->rank).text, reason);
	int bits = safetensors_bits(dtype);
	tensor->name = pool_copy(r->checkpoint->pool, name, strlen(name));
	tensor->code = -1;
	tensor->block = bits % 8 ? 8 : 1;
	tensor->block_bytes = bits % 8 ? bits : bits / 8;
	tensor->file = r->file;
	return read_offsets(r, name, json_object_get(entry, "data_offsets"), tensor);
}

static bool read_metadata(Reader *r, json_t *metadata)
{
	if (!json_is_object(metadata))
		return error_set(r->error, r->path, "__metadata__ is not a JSON object");
	Checkpoint *checkpoint = r->checkpoint;
	CkMeta *meta = pool_array(checkpoint->pool, CkMeta, json_object_size(metadata));
	int64_t count = 0;
	const char *key;
	json_t *value;
	json_object_foreach(metadata, key, value)
	{
		if (!json_is_string(value))
			return error_set(r->error, r->path, "__metadata__: \"%.200s\" is not a string", key);
		meta[count].key = pool_copy(checkpoint->pool, key, strlen(key));
		meta[count].type = "string";
		meta[count++].value = pool_copy(checkpoint->pool, json_string_value(value), json_string_length(value));
	}
	if (r->file == 0) {
		checkpoint->meta = meta;
		checkpoint->meta_count = count;
	}
	return true;
}

/* By place in the data; an empty tensor before the one that begins where it is. */
static int compare_places(const void *a, const void *b)
{
	const CkTensor *first = a, *second = b;
	if (first->offset != second->offset)
		return first->offset < second->offset ? -1 : 1;
	if (first->bytes != second->bytes)
		return first->bytes < second->bytes ? -1 : 1;
	return strcmp(first->name, second->name);
}

static bool check_tiling(Reader *r)
{
	long long data = LENGTH_BYTES + r->header_bytes, end = 0;
	if (r->count)
		qsort(r->tensors, (size_t)r->count, sizeof *r->tensors, compare_places);
	for (int64_t i = 0; i < r->count; i++) {
		const CkTensor *tensor = &r->tensors[i];
		long long begin = tensor->offset - data;
		if (begin > end)
			return tensor_error(r, tensor->name,
				"begins at byte %lld of the data, but bytes %lld to %lld belong to no tensor", begin, end, begin);
		if (begin < end)
			return tensor_error(r, tensor->name,
				"begins at byte %lld of the data, inside tensor \"%.200s\" that ends at %lld", begin,
				r->tensors[i - 1].name, end);
		end = begin + tensor->bytes;
	}
	if (end != r->data_bytes)
		return error_set(r->error, r->path, "has %lld bytes of data, but its tensors end at byte %lld",
			(long long)r->data_bytes, end);
	return true;
}

static bool read_entries(Reader *r, json_t *root)
{
	const char *name;
	json_t *entry;
	r->tensors = pool_array(r->checkpoint->pool, CkTensor, json_object_size(root));
	json_object_foreach(root, name, entry) if (strcmp(name, "__metadata__") == 0
												   ? !read_metadata(r, entry)
												   : !read_tensor(r, name, entry)) return false;
	return check_tiling(r);
}

/* The header's JSON at fd; NULL: error. */
static json_t *read_json(Reader *r, int fd, int64_t size)
{
	unsigned char first[LENGTH_BYTES];
	if (size < LENGTH_BYTES) {
		error_set(r->error, r->path, "has %lld bytes, expected at least the 8 of the header's length", (long long)size);
		return NULL;
	}
	if (!file_read(fd, r->path, first, LENGTH_BYTES, 0, r->error))
		return NULL;
	unsigned long long length = 0;
	for (int i = LENGTH_BYTES - 1; i >= 0; i--)
		length = length << 8 | first[i];
	if (length > SAFETENSORS_MAX_HEADER) {
		error_set(r->error, r->path, "header length %llu is above the limit of %d", length, SAFETENSORS_MAX_HEADER);
		return NULL;
	}
	if ((int64_t)length > size - LENGTH_BYTES) {
		error_set(r->error, r->path, "header length %llu reaches past the end of the file (%lld bytes)", length,
			(long long)size);
		return NULL;
	}
	r->header_bytes = (int64_t)length;
	r->data_bytes = size - LENGTH_BYTES - r->header_bytes;
	Pool *pool = pool_new();
	char *text = pool_alloc(pool, length + 1);
	json_t *root = NULL;
	json_error_t reason;
	if (!file_read(fd, r->path, text, r->header_bytes, LENGTH_BYTES, r->error)) {
		/* said already */
	} else if (text[0] != '{') {
		error_set(r->error, r->path, "the header at byte 8 does not begin with '{'");
	} else {
		root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &reason);
		if (!root)
			error_set(r->error, r->path, "the header is not good JSON at byte %d: %s", LENGTH_BYTES + reason.position,
				reason.text);
	}
	pool_free(pool);
	return root;
}

static bool read_file(Reader *r)
{
	int64_t size;
	int fd = file_open(r->path, &size, r->error);
	if (fd < 0)
		return false;
	r->checkpoint->file_bytes[r->file] = size;
	json_t *root = read_json(r, fd, size);
	close(fd);
	bool is_good = root && read_entries(r, root);
	json_decref(root);
	return is_good;
}

/* ---- all files ---- */

static bool read_files(Checkpoint *checkpoint, CmprtError *error)
{
	Pool *pool = checkpoint->pool;
	Reader *readers = pool_array(pool, Reader, checkpoint->file_count);
	checkpoint->file_bytes = pool_array(pool, int64_t, checkpoint->file_count);
	for (int64_t i = 0; i < checkpoint->file_count; i++) {
		readers[i] = (Reader){.checkpoint = checkpoint, .file = i, .path = checkpoint->files[i], .error = error};
		if (!read_file(&readers[i]))
			return false;
		checkpoint->tensor_count += readers[i].count;
	}
	if (checkpoint->file_count == 1) {
		checkpoint->tensors = readers[0].tensors;
	} else {
		CkTensor *to = checkpoint->tensors = pool_array(pool, CkTensor, checkpoint->tensor_count);
		for (int64_t i = 0; i < checkpoint->file_count; to += readers[i++].count)
			if (readers[i].count)
				memcpy(to, readers[i].tensors, sizeof *to * (size_t)readers[i].count);
	}
	return checkpoint_sort_names(checkpoint, error);
}

static bool read_config(Checkpoint *checkpoint, CmprtError *error)
{
	const char *folder = checkpoint->is_folder ? checkpoint->path : path_folder(checkpoint->pool, checkpoint->path);
	const char *path = path_in_folder(checkpoint->pool, folder, "config.json");
	int64_t bytes;
	if (file_is_there(path))
		checkpoint->config = file_text(checkpoint->pool, path, JSON_MAX_FILE, &bytes, error);
	return checkpoint->config || !file_is_there(path);
}

/* Which files hold the tensors: those of the index, else model.safetensors, else all there are. */
static bool find_files(Checkpoint *checkpoint, Index *index, CmprtError *error)
{
	SafetensorsState *state = checkpoint->state;
	Pool *pool = checkpoint->pool;
	NameList all = {0}, files = {0};
	if (!folder_list(pool, checkpoint->path, &all, error))
		return false;
	bool has_model = false;
	for (int64_t i = 0; i < all.count; i++) {
		state->has_index |= strcmp(all.at[i], INDEX_NAME) == 0;
		has_model |= strcmp(all.at[i], "model.safetensors") == 0;
		if (name_ends_in(all.at[i], ".safetensors"))
			names_add(pool, &files, all.at[i]);
	}
	if (state->has_index) {
		if (!index_read(pool, path_in_folder(pool, checkpoint->path, INDEX_NAME), index, error))
			return false;
		files = index->files;
	} else if (has_model) {
		files.count = 0;
		names_add(pool, &files, "model.safetensors");
	}
	if (files.count == 0)
		return error_set(error, checkpoint->path, "the folder holds no .safetensors file");
	checkpoint->file_count = files.count;
	checkpoint->files = pool_array(pool, const char *, files.count);
	for (int64_t i = 0; i < files.count; i++)
		checkpoint->files[i] = path_in_folder(pool, checkpoint->path, files.at[i]);
	return true;
}

static bool open_files(Checkpoint *checkpoint, CmprtError *error)
{
	SafetensorsState *state = checkpoint->state;
	Index index = {0};
	if (!checkpoint->is_folder) {
		checkpoint->file_count = 1;
		checkpoint->files = pool_array(checkpoint->pool, const char *, 1);
		checkpoint->files[0] = checkpoint->path;
	} else if (!find_files(checkpoint, &index, error)) {
		return false;
	}
	if (!read_files(checkpoint, error))
		return false;
	if (state->has_index && !index_check(&index, checkpoint, error))
		return false;
	return read_config(checkpoint, error);
}

/* ---- the row ---- */

static Checkpoint *open_safetensors(const char *path, CmprtError *error)
{
	Checkpoint *checkpoint = checkpoint_new(&format_safetensors, path);
	checkpoint->state = pool_array(checkpoint->pool, SafetensorsState, 1);
	checkpoint->is_folder = path_is_folder(path);
	if (open_files(checkpoint, error))
		return checkpoint;
	checkpoint_close(checkpoint);
	return NULL;
}

/* A folder, a length whose high half is zero and a brace, or a name that promises it. */
static bool accepts_safetensors(const char *path, const void *first, size_t bytes)
{
	static const char high[4];
	return path_is_folder(path) || name_ends_in(path, ".safetensors") ||
		   (bytes > LENGTH_BYTES && memcmp((const char *)first + 4, high, 4) == 0 && ((const char *)first)[8] == '{');
}

static bool holds_safetensors(const char *dtype, int64_t code)
{
	(void)code;
	return dtype && safetensors_bits(dtype) > 0;
}

const Format format_safetensors = {
	.name = "safetensors",
	.suffix = ".safetensors",
	.help = "a .safetensors file, or a folder of them as Hugging Face lays it out",
	.is_folder_format = true,
	.holds_planes = true,
	.accepts = accepts_safetensors,
	.open = open_safetensors,
	.lay_out = safetensors_lay_out,
	.holds = holds_safetensors,
};
