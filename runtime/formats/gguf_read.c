/* SPDX-License-Identifier: MIT
 *
 * gguf_read.c: the header of a GGUF file, and of each file of a split set.
 *
 * The header's length is not known before it has been walked, so it is read
 * through a window that grows; no count is believed beyond the bytes that are left
 * in the file. On exit key-values are kept as they lie in the file, and every
 * tensor has been checked: type, whole blocks, offset equal to the sum of the
 * padded sizes before it, data inside the file.
 */
#include "gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_WINDOW = 1 << 16, PAIR_MIN_BYTES = 8 + 1 + 4 + 1, INFO_MIN_BYTES = 8 + 4 + 4 + 8 };

/* A file being read; `at` walks the window, which holds its first bytes. */
typedef struct Cursor {
	Checkpoint *checkpoint;
	int64_t file;
	const char *path;
	int fd;
	int64_t size; /* of the file */
	char *window; /* malloc */
	int64_t filled, at;
	int64_t pair_count, tensor_count;
	int64_t split_count, split_number, split_tensors; /* of the keys split.*; -1: not there */
	int64_t alignment;
	CmprtError *error;
	char where[256]; /* "key \"x\"", "tensor \"x\"": what an error is about */
} Cursor;

#define cursor_error(c, format, ...)                                                                                   \
	error_set((c)->error, (c)->path, "byte %lld: %s: " format, (long long)(c)->at, (c)->where, __VA_ARGS__)

/* Where we are, for errors. The name is shortened, and escaped when an error is made of it. */
static void set_where(Cursor *c, const char *kind, const char *name)
{
	snprintf(c->where, sizeof c->where, "%s \"%.200s\"", kind, name);
}

static void set_where_number(Cursor *c, const char *kind, int64_t number)
{
	snprintf(c->where, sizeof c->where, "%s %lld", kind, (long long)number);
}

/* The next `count` bytes are in the window. `what` is expected there. */
static bool need(Cursor *c, int64_t count, const char *what)
{
	if (count <= c->filled - c->at)
		return true;
	if (count > c->size - c->at)
		return cursor_error(
			c, "the file ends at byte %lld, expected %lld bytes of %s", (long long)c->size, (long long)count, what);
	if (c->at + count > GGUF_MAX_HEADER)
		return cursor_error(c, "the header is longer than the limit of %d bytes", GGUF_MAX_HEADER);
	int64_t wanted = c->filled ? 2 * c->filled : FIRST_WINDOW;
	wanted = wanted < c->at + count ? c->at + count : wanted;
	wanted = wanted > c->size ? c->size : wanted;
	char *window = realloc(c->window, (size_t)wanted);
	if (!window)
		return cursor_error(c, "no memory for a header of %lld bytes", (long long)wanted);
	c->window = window;
	if (!file_read(c->fd, c->path, window + c->filled, wanted - c->filled, c->filled, c->error))
		return false;
	c->filled = wanted;
	return true;
}

static bool read_number(Cursor *c, int bytes, uint64_t *number, const char *what)
{
	if (!need(c, bytes, what))
		return false;
	*number = gguf_number(c->window + c->at, bytes);
	c->at += bytes;
	return true;
}

/* Length and bytes of a string; at: of its first byte, valid until the window grows. */
static bool read_string(Cursor *c, const char *what, const char **at, int64_t *length)
{
	uint64_t count;
	if (!read_number(c, 8, &count, what))
		return false;
	if (count > (uint64_t)(c->size - c->at)) {
		c->at -= 8;
		return cursor_error(c, "%s has length %llu, but the file has %lld bytes after it", what,
			(unsigned long long)count, (long long)(c->size - c->at - 8));
	}
	if (!need(c, (int64_t)count, what))
		return false;
	*at = c->window + c->at;
	*length = (int64_t)count;
	c->at += *length;
	return true;
}

/* A name or a key as C text. */
static const char *read_name(Cursor *c, const char *what, int64_t limit)
{
	const char *at;
	int64_t length, begin = c->at;
	if (!read_string(c, what, &at, &length))
		return NULL;
	const char *problem = memchr(at, 0, (size_t)length)       ? "holds a NUL byte"
						  : !text_is_utf8(at, (size_t)length) ? "is not UTF-8"
															  : NULL;
	const char *name = pool_copy(c->checkpoint->pool, at, (size_t)length);
	if (!problem && length <= limit)
		return name;
	c->at = begin;
	if (problem)
		cursor_error(c, "its %s %s", what, problem);
	else
		cursor_error(c, "its %s has %lld bytes, the limit is %lld", what, (long long)length, (long long)limit);
	return NULL;
}

/* ---- key-values ---- */

static bool read_array(Cursor *c, CkMeta *meta)
{
	uint64_t type, count;
	if (!read_number(c, 4, &type, "an array's type") || !read_number(c, 8, &count, "an array's length"))
		return false;
	c->at -= 12; /* where errors are */
	if (type == GGUF_ARRAY)
		return cursor_error(c, "%s", "an array of arrays, which GGUF does not have");
	if (type >= GGUF_VALUE_TYPES)
		return cursor_error(
			c, "value type %llu is unknown, expected 0 to %d", (unsigned long long)type, GGUF_VALUE_TYPES - 1);
	const GgufValueType *element = &gguf_value_types[type];
	uint64_t bytes = element->bytes ? (uint64_t)element->bytes : 8; /* of an element, at least */
	if (count > (uint64_t)(c->size - c->at - 12) / bytes)
		return cursor_error(c, "an array of %llu x %s, but the file has %lld bytes after its length",
			(unsigned long long)count, element->name, (long long)(c->size - c->at - 12));
	c->at += 12;
	meta->value = pool_printf(c->checkpoint->pool, "[%llu x %s]", (unsigned long long)count, element->name);
	if (element->bytes) {
		if (!need(c, (int64_t)(count * bytes), "an array"))
			return false;
		c->at += (int64_t)(count * bytes);
		return true;
	}
	const char *at;
	int64_t length;
	for (uint64_t i = 0; i < count; i++)
		if (!read_string(c, "a string", &at, &length))
			return false;
	return true;
}

static const char *show_scalar(Pool *pool, const GgufValueType *type, const char *at)
{
	uint64_t number = gguf_number(at, type->bytes);
	int unused = 64 - 8 * type->bytes;
	float narrow;
	double wide;
	switch (type->kind) {
	case 'b':
		return number ? "true" : "false";
	case 'u':
		return pool_printf(pool, "%llu", (unsigned long long)number);
	case 'i':
		return pool_printf(pool, "%lld", (long long)((int64_t)(number << unused) >> unused));
	default:
		memcpy(&narrow, &number, sizeof narrow);
		memcpy(&wide, &number, sizeof wide);
		wide = type->bytes == 4 ? (double)narrow : wide;
		/* 9 and 17 digits read back as the same number */
		return isnan(wide) ? "nan" : pool_printf(pool, type->bytes == 4 ? "%.9g" : "%.17g", wide);
	}
}

static bool read_value(Cursor *c, CkMeta *meta, uint64_t type)
{
	const GgufValueType *known = &gguf_value_types[type];
	meta->type = known->name;
	if (type == GGUF_ARRAY)
		return read_array(c, meta);
	const char *at;
	int64_t length;
	if (type == GGUF_STRING) {
		if (!read_string(c, "a string", &at, &length))
			return false;
		meta->value = pool_copy(c->checkpoint->pool, at, (size_t)length);
		return true;
	}
	if (!need(c, known->bytes, "a value"))
		return false;
	meta->value = show_scalar(c->checkpoint->pool, known, c->window + c->at);
	c->at += known->bytes;
	return true;
}

/* The keys that say how to read the rest. The value lies at `begin`, c->at is behind it. */
static bool use_pair(Cursor *c, const CkMeta *meta, uint64_t type, int64_t begin)
{
	bool is_integer = type < GGUF_VALUE_TYPES && strchr("ui", gguf_value_types[type].kind);
	int64_t *to = strcmp(meta->key, "split.no") == 0              ? &c->split_number
				  : strcmp(meta->key, "split.count") == 0         ? &c->split_count
				  : strcmp(meta->key, "split.tensors.count") == 0 ? &c->split_tensors
				  : strcmp(meta->key, "general.alignment") == 0   ? &c->alignment
																  : NULL;
	if (!to)
		return true;
	int64_t end = c->at;
	c->at = begin;
	if (to == &c->alignment ? type != GGUF_UINT32 : !is_integer)
		return cursor_error(c, "is a %s, expected %s", meta->type, to == &c->alignment ? "a u32" : "an integer");
	*to = (int64_t)gguf_number(c->window + begin, gguf_value_types[type].bytes);
	if (to == &c->alignment && (*to < GGUF_MIN_ALIGNMENT || *to > GGUF_MAX_ALIGNMENT || (*to & (*to - 1))))
		return cursor_error(
			c, "%lld, expected a power of two from %d to %d", (long long)*to, GGUF_MIN_ALIGNMENT, GGUF_MAX_ALIGNMENT);
	if (*to < 0)
		return cursor_error(c, "%s is out of range", meta->value);
	c->at = end;
	return true;
}

static bool read_pair(Cursor *c, CkMeta *meta, GgufPair *pair)
{
	uint64_t type;
	int64_t begin = c->at;
	meta->key = pair->key = read_name(c, "key", INT32_MAX);
	if (!pair->key)
		return false;
	if (!*pair->key) {
		c->at = begin;
		return cursor_error(c, "%s", "is empty");
	}
	set_where(c, "key", pair->key);
	if (!read_number(c, 4, &type, "a value's type"))
		return false;
	if (type >= GGUF_VALUE_TYPES) {
		c->at -= 4;
		return cursor_error(
			c, "value type %llu is unknown, expected 0 to %d", (unsigned long long)type, GGUF_VALUE_TYPES - 1);
	}
	int64_t value = c->at;
	if (!read_value(c, meta, type) || !use_pair(c, meta, type, value))
		return false;
	pair->raw_bytes = c->at - begin;
	return true;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(((const GgufPair *)a)->key, ((const GgufPair *)b)->key);
}

static bool check_keys(Cursor *c, const GgufPair *pairs)
{
	if (c->pair_count == 0)
		return true;
	GgufPair *sorted = pool_array(c->checkpoint->pool, GgufPair, c->pair_count);
	memcpy(sorted, pairs, sizeof *pairs * (size_t)c->pair_count);
	qsort(sorted, (size_t)c->pair_count, sizeof *sorted, compare_keys);
	for (int64_t i = 1; i < c->pair_count; i++)
		if (strcmp(sorted[i - 1].key, sorted[i].key) == 0)
			return error_set(c->error, c->path, "key \"%.200s\": stands twice in the file", sorted[i].key);
	return true;
}

static bool read_pairs(Cursor *c)
{
	Checkpoint *checkpoint = c->checkpoint;
	CkMeta *meta = pool_array(checkpoint->pool, CkMeta, c->pair_count);
	GgufPair *pairs = pool_array(checkpoint->pool, GgufPair, c->pair_count);
	int64_t begin = c->at;
	for (int64_t i = 0; i < c->pair_count; i++) {
		set_where_number(c, "key", i);
		if (!read_pair(c, &meta[i], &pairs[i]))
			return false;
	}
	if (!check_keys(c, pairs))
		return false;
	if (c->file > 0)
		return true;
	/* the window may have moved while it grew: take the bytes now */
	const char *raw = pool_copy(checkpoint->pool, c->window + begin, (size_t)(c->at - begin));
	for (int64_t i = 0; i < c->pair_count; raw += pairs[i++].raw_bytes)
		pairs[i].raw = raw;
	GgufState *state = checkpoint->state;
	*state = (GgufState){c->pair_count, pairs};
	checkpoint->meta = meta;
	checkpoint->meta_count = c->pair_count;
	return true;
}

/* ---- tensors ---- */

static bool read_dims(Cursor *c, CkTensor *tensor)
{
	uint64_t rank, extent;
	if (!read_number(c, 4, &rank, "a number of dimensions"))
		return false;
	if (rank > GGUF_MAX_RANK) {
		c->at -= 4;
		return cursor_error(c, "has %llu dimensions, the limit is %d", (unsigned long long)rank, GGUF_MAX_RANK);
	}
	tensor->rank = (int64_t)rank;
	for (int64_t i = 0; i < tensor->rank; i++) {
		if (!read_number(c, 8, &extent, "a dimension"))
			return false;
		if (extent == 0 || extent > INT64_MAX) {
			c->at -= 8;
			return cursor_error(c, "dimension %lld is %llu, expected 1 to 9223372036854775807", (long long)i,
				(unsigned long long)extent);
		}
		tensor->shape[tensor->rank - 1 - i] = (int64_t)extent; /* the file has the contiguous axis first */
	}
	return true;
}

/* `end`: the sum of the padded sizes before it; moved behind this one. */
static bool read_info(Cursor *c, CkTensor *tensor, int64_t *end)
{
	uint64_t code, offset;
	tensor->name = read_name(c, "name", GGUF_MAX_NAME);
	if (!tensor->name)
		return false;
	set_where(c, "tensor", tensor->name);
	if (!read_dims(c, tensor) || !read_number(c, 4, &code, "a type"))
		return false;
	const GgufType *type = gguf_type((int64_t)code);
	const char *reason;
	if (!type) {
		c->at -= 4;
		return cursor_error(
			c, "type %llu is %s", (unsigned long long)code, (int64_t)code <= gguf_last_type() ? "retired" : "unknown");
	}
	if (!gguf_tensor_bytes(type, tensor->shape, tensor->rank, &tensor->bytes, &reason)) {
		c->at -= 4;
		return cursor_error(c, "cannot be %s %s: %s (a block has %lld elements in %lld bytes)", type->name,
			shape_text(tensor->shape, tensor->rank).text, reason, (long long)type->block, (long long)type->bytes);
	}
	if (!read_number(c, 8, &offset, "an offset"))
		return false;
	if (offset != (uint64_t)*end || tensor->bytes > c->size - *end) {
		c->at -= 8;
		return offset != (uint64_t)*end
				   ? cursor_error(c, "offset %llu, expected %lld, where the tensor before it ends",
						 (unsigned long long)offset, (long long)*end)
				   : cursor_error(c, "%lld bytes of data at offset %lld do not fit in the file (%lld bytes)",
						 (long long)tensor->bytes, (long long)*end, (long long)c->size);
	}
	tensor->dtype = type->name;
	tensor->code = (int64_t)code;
	tensor->block = type->block;
	tensor->block_bytes = type->bytes;
	tensor->file = c->file;
	tensor->offset = *end; /* in the data: where they begin is known behind the last info */
	*end += (tensor->bytes + c->alignment - 1) / c->alignment * c->alignment;
	return true;
}

static bool read_infos(Cursor *c, CkTensor *tensors)
{
	int64_t end = 0;
	for (int64_t i = 0; i < c->tensor_count; i++) {
		set_where_number(c, "tensor", i);
		if (!read_info(c, &tensors[i], &end))
			return false;
	}
	int64_t data = (c->at + c->alignment - 1) / c->alignment * c->alignment;
	for (int64_t i = 0; i < c->tensor_count; i++) {
		CkTensor *tensor = &tensors[i];
		tensor->offset += data;
		/* the padding of the last one may be missing */
		if (tensor->bytes > c->size - tensor->offset)
			return error_set(c->error, c->path, "tensor \"%.200s\": its data end at byte %lld, the file at %lld",
				tensor->name, (long long)(tensor->offset + tensor->bytes), (long long)c->size);
	}
	return true;
}

/* ---- files ---- */

static bool read_count(Cursor *c, const char *what, int64_t min_bytes, int64_t *count)
{
	uint64_t number;
	if (!read_number(c, 8, &number, what))
		return false;
	int64_t room = c->size < GGUF_MAX_HEADER ? c->size : GGUF_MAX_HEADER;
	if (number > (uint64_t)(room / min_bytes)) {
		c->at -= 8;
		return cursor_error(
			c, "%s %llu, more than a header of %lld bytes can hold", what, (unsigned long long)number, (long long)room);
	}
	*count = (int64_t)number;
	return true;
}

static bool read_start(Cursor *c)
{
	uint64_t version;
	if (!need(c, 4, "magic"))
		return false;
	if (memcmp(c->window, "GGUF", 4) != 0)
		return error_set(c->error, c->path, "byte 0: is no GGUF file, expected the magic \"GGUF\"");
	c->at = 4;
	if (!read_number(c, 4, &version, "version"))
		return false;
	c->at = 4;
	if ((version & 0xffff) == 0 && version)
		return cursor_error(
			c, "a big-endian file (version %u), expected little-endian", __builtin_bswap32((uint32_t)version));
	if (version != 2 && version != GGUF_VERSION)
		return cursor_error(c, "version %llu, expected 2 or 3", (unsigned long long)version);
	c->at = 8;
	return read_count(c, "tensor count", INFO_MIN_BYTES, &c->tensor_count) &&
		   read_count(c, "key-value count", PAIR_MIN_BYTES, &c->pair_count);
}

/* The keys split.* agree with the name of the file and with the first file. */
static bool check_split(Cursor *c)
{
	int64_t files = c->checkpoint->file_count, said = c->split_count < 0 ? 1 : c->split_count;
	if (said == 0 && files == 1)
		return true; /* what a merged file may still say */
	if (files == 1 && said > 1)
		return error_set(c->error, c->path,
			"is one of %lld files of a split set, expected a name that ends in -00001-of-%05lld.gguf", (long long)said,
			(long long)said);
	if (said != files)
		return error_set(c->error, c->path, "key \"split.count\": %lld, but by its name the set has %lld files",
			(long long)said, (long long)files);
	if (files > 1 && c->split_number != c->file)
		return error_set(c->error, c->path, "key \"split.no\": %lld, expected %lld by the name of the file",
			(long long)c->split_number, (long long)c->file);
	return true;
}

/* Reads one file; its tensors go to `tensors`. */
static bool read_header(Cursor *c, CkTensor **tensors)
{
	snprintf(c->where, sizeof c->where, "header");
	if (!read_start(c) || !read_pairs(c) || !check_split(c))
		return false;
	*tensors = pool_array(c->checkpoint->pool, CkTensor, c->tensor_count);
	return read_infos(c, *tensors);
}

static bool read_file(Cursor *c, CkTensor **tensors)
{
	c->fd = file_open(c->path, &c->size, c->error);
	if (c->fd < 0)
		return false;
	bool is_good = read_header(c, tensors);
	c->checkpoint->file_bytes[c->file] = c->size;
	free(c->window);
	close(c->fd);
	return is_good;
}

bool gguf_read_files(Checkpoint *checkpoint, CmprtError *error)
{
	Pool *pool = checkpoint->pool;
	int64_t count = checkpoint->file_count, tensors_said = -1;
	checkpoint->file_bytes = pool_array(pool, int64_t, count);
	for (int64_t i = 0; i < count; i++) {
		CkTensor *tensors = NULL;
		Cursor c = {.checkpoint = checkpoint,
			.file = i,
			.path = checkpoint->files[i],
			.split_count = -1,
			.split_number = -1,
			.split_tensors = -1,
			.alignment = GGUF_DEFAULT_ALIGNMENT,
			.error = error};
		if (!read_file(&c, &tensors))
			return false;
		CkTensor *all = pool_array(pool, CkTensor, checkpoint->tensor_count + c.tensor_count);
		if (checkpoint->tensor_count)
			memcpy(all, checkpoint->tensors, sizeof *all * (size_t)checkpoint->tensor_count);
		if (c.tensor_count)
			memcpy(all + checkpoint->tensor_count, tensors, sizeof *all * (size_t)c.tensor_count);
		checkpoint->tensors = all;
		checkpoint->tensor_count += c.tensor_count;
		tensors_said = i == 0 ? c.split_tensors : tensors_said;
	}
	if (count > 1 && tensors_said >= 0 && tensors_said != checkpoint->tensor_count)
		return error_set(error, checkpoint->files[0],
			"key \"split.tensors.count\": %lld, but the files hold %lld tensors", (long long)tensors_said,
			(long long)checkpoint->tensor_count);
	return true;
}

/* ---- arrays ---- */

/* Pairs were walked when the file was opened, so lengths need no checks here. */
bool gguf_array(const Checkpoint *checkpoint, const char *key, const char *type, GgufArray *array)
{
	const GgufState *state = checkpoint->state;
	for (int64_t i = 0; i < state->pair_count; i++) {
		const GgufPair *pair = &state->pairs[i];
		if (strcmp(pair->key, key) != 0)
			continue;
		const char *at = pair->raw + 8 + gguf_number(pair->raw, 8);
		if (gguf_number(at, 4) != GGUF_ARRAY || strcmp(gguf_value_types[gguf_number(at + 4, 4)].name, type) != 0)
			return false;
		*array = (GgufArray){(int64_t)gguf_number(at + 8, 8), at + 16};
		return true;
	}
	return false;
}

const char *gguf_next_text(GgufArray *array, int64_t *length)
{
	const char *text = array->at + 8;
	*length = (int64_t)gguf_number(array->at, 8);
	array->at = text + *length;
	return text;
}
