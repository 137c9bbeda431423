/* SPDX-License-Identifier: MIT
 *
 * gguf_write.c: lays out a GGUF output, always one file.
 *
 * The source's key-values are carried over byte for byte, in their order, except
 * those that the program replaces, those of a split set, which ends here, and, where
 * dtypes change, general.file_type: it is that of the type that most weights have. The
 * tensor infos stand in the order of the outputs; each tensor is padded, the last
 * one too.
 */
#include "gguf.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the head is made of. */
typedef struct Writer {
	const CmprtProgram *program;
	Pool *pool;
	int64_t pair_count;
	GgufPair *pairs;
	int64_t alignment;
	CmprtError *error;
} Writer;

static void append_number(Bytes *bytes, uint64_t number, int count)
{
	for (int i = 0; i < count; i++)
		bytes_append(bytes, &(char){(char)(number >> (8 * i))}, 1);
}

static void append_string(Bytes *bytes, const char *text)
{
	size_t length = strlen(text);
	append_number(bytes, length, 8);
	bytes_append(bytes, text, length);
}

/* ---- key-values ---- */

/* The bits of a number written as text. */
static bool parse_number(const GgufValueType *type, const char *text, uint64_t *bits)
{
	char *end = (char *)text;
	int width = 8 * type->bytes;
	double wide;
	float narrow;
	errno = 0;
	*bits = 0;
	switch (type->kind) {
	case 'b':
		*bits = strcmp(text, "true") == 0;
		return *bits || strcmp(text, "false") == 0;
	case 'u':
		*bits = strtoull(text, &end, 10);
		if (strchr(text, '-') || (width < 64 && *bits >> width))
			return false;
		break;
	case 'i':
		*bits = (uint64_t)strtoll(text, &end, 10);
		if (width < 64 && (int64_t)(*bits << (64 - width)) >> (64 - width) != (int64_t)*bits)
			return false;
		break;
	case 'f':
		wide = strtod(text, &end);
		narrow = (float)wide;
		memcpy(bits, width == 32 ? (void *)&narrow : (void *)&wide, (size_t)type->bytes);
		break;
	default:
		return false;
	}
	return end != text && !*end && (errno == 0 || type->kind == 'f');
}

static int find_type(const char *name, size_t length)
{
	int type = 0;
	while (type < GGUF_VALUE_TYPES &&
		   (strncmp(gguf_value_types[type].name, name, length) || gguf_value_types[type].name[length]))
		type++;
	return type;
}

/* Elements of a JSON array, of a type that is a number of 4 bytes or a string. */
static bool append_array(Bytes *raw, int type, const char *text)
{
	json_t *array = json_loads(text, 0, NULL), *item;
	size_t i;
	append_number(raw, (uint64_t)type, 4);
	append_number(raw, json_array_size(array), 8);
	json_array_foreach(array, i, item)
	{
		float real = (float)json_number_value(item);
		uint32_t bits = (uint32_t)json_integer_value(item);
		if (type == GGUF_FLOAT32)
			memcpy(&bits, &real, sizeof bits);
		if (type == GGUF_STRING)
			append_number(raw, json_string_length(item), 8);
		if (type == GGUF_STRING)
			bytes_append(raw, json_string_value(item), json_string_length(item));
		else
			append_number(raw, bits, 4);
	}
	bool is_array = json_is_array(array);
	json_decref(array);
	return is_array;
}

static bool encode_meta(Writer *w, const CmprtMeta *meta, GgufPair *pair)
{
	Bytes raw = {w->pool, NULL, 0, 0};
	uint64_t bits;
	bool is_array = *meta->type == '[';
	int type = find_type(meta->type + is_array, strlen(meta->type) - 2 * (size_t)is_array);
	const char *path = w->program->output_path;
	if (type == GGUF_VALUE_TYPES || type == GGUF_ARRAY)
		return error_set(w->error, path, "key \"%.200s\": cannot be a %.60s", meta->key, meta->type);
	if (!*meta->key)
		return error_set(w->error, path, "a key of the metadata is empty");
	append_string(&raw, meta->key);
	append_number(&raw, is_array ? GGUF_ARRAY : (uint64_t)type, 4);
	if (is_array && !append_array(&raw, type, meta->value))
		return error_set(w->error, path, "key \"%.200s\": its value is no array", meta->key);
	if (is_array)
		;
	else if (type == GGUF_STRING)
		append_string(&raw, meta->value);
	else if (parse_number(&gguf_value_types[type], meta->value, &bits))
		append_number(&raw, bits, gguf_value_types[type].bytes);
	else
		return error_set(w->error, path, "key \"%.200s\": \"%.200s\" is not a %s", meta->key, meta->value, meta->type);
	*pair = (GgufPair){meta->key, raw.at, (int64_t)raw.count};
	return true;
}

static GgufPair *find_pair(Writer *w, const char *key)
{
	for (int64_t i = 0; i < w->pair_count; i++)
		if (strcmp(w->pairs[i].key, key) == 0)
			return &w->pairs[i];
	return NULL;
}

static bool codes_tensors(const CmprtProgram *program)
{
	for (int64_t i = 0; i < program->job_count; i++)
		if (program->jobs[i].dtype)
			return true;
	return false;
}

/* Of the type that most weights of the outputs have; -1: it has none. */
static int64_t main_file_type(const CmprtProgram *program)
{
	int64_t most = 0, found = -1;
	for (int64_t code = 0; code <= gguf_last_type(); code++) {
		const GgufType *type = gguf_type(code);
		int64_t weights = 0;
		for (int64_t i = 0; type && i < program->output_count; i++)
			if (program->outputs[i].container_code == code)
				weights += program->outputs[i].bytes / type->bytes * type->block;
		if (weights > most) {
			most = weights;
			found = type->file_type;
		}
	}
	return found;
}

/* What the source says of its own type holds no longer; what the program says, does. */
static bool replace_file_type(Writer *w)
{
	static const char key[] = "general.file_type";
	char value[24];
	CmprtMeta meta = {key, "u32", value};
	for (int64_t i = 0; i < w->program->meta_count; i++)
		if (strcmp(w->program->meta[i].key, key) == 0)
			return true;
	int64_t file_type = main_file_type(w->program);
	GgufPair *pair = find_pair(w, key);
	if (file_type < 0) {
		if (pair)
			memmove(pair, pair + 1, (size_t)(w->pairs + --w->pair_count - pair) * sizeof *pair);
		return true;
	}
	snprintf(value, sizeof value, "%lld", (long long)file_type);
	w->pair_count += !pair;
	return encode_meta(w, &meta, pair ? pair : &w->pairs[w->pair_count - 1]);
}

static bool collect_pairs(Writer *w, const GgufState *source)
{
	int64_t carried = source ? source->pair_count : 0;
	w->pairs = pool_array(w->pool, GgufPair, carried + w->program->meta_count + 1);
	for (int64_t i = 0; i < carried; i++)
		if (strncmp(source->pairs[i].key, "split.", 6) != 0)
			w->pairs[w->pair_count++] = source->pairs[i];
	for (int64_t i = 0; i < w->program->meta_count; i++) {
		GgufPair *pair = find_pair(w, w->program->meta[i].key);
		if (!encode_meta(w, &w->program->meta[i], pair ? pair : &w->pairs[w->pair_count]))
			return false;
		w->pair_count += !pair;
	}
	if (!w->program->saves_arrays && codes_tensors(w->program) && !replace_file_type(w))
		return false;
	GgufPair *alignment = find_pair(w, "general.alignment");
	w->alignment =
		alignment ? (int64_t)gguf_number(alignment->raw + alignment->raw_bytes - 4, 4) : GGUF_DEFAULT_ALIGNMENT;
	if (w->alignment < GGUF_MIN_ALIGNMENT || w->alignment > GGUF_MAX_ALIGNMENT || (w->alignment & (w->alignment - 1)))
		return error_set(w->error, w->program->output_path, "key \"general.alignment\": %lld, expected a power of two",
			(long long)w->alignment);
	return true;
}

/* ---- tensors ---- */

static bool check_output(Writer *w, const CmprtOutput *output)
{
	const char *path = w->program->output_path, *name = output->name, *reason;
	const GgufType *type = gguf_type(output->container_code);
	int64_t bytes;
	if (!type)
		return error_set(w->error, path, "tensor \"%.200s\": GGUF cannot hold dtype %.60s", name,
			output->container_dtype ? output->container_dtype : "?");
	if (strlen(name) > GGUF_MAX_NAME)
		return error_set(w->error, path, "tensor \"%.200s\": its name has %zu bytes, the limit of GGUF is %d", name,
			strlen(name), GGUF_MAX_NAME);
	if (output->rank > GGUF_MAX_RANK)
		return error_set(w->error, path, "tensor \"%.200s\": has %lld dimensions, the limit of GGUF is %d", name,
			(long long)output->rank, GGUF_MAX_RANK);
	if (!gguf_tensor_bytes(type, output->shape, output->rank, &bytes, &reason))
		return error_set(w->error, path, "tensor \"%.200s\": cannot be %s %s: %s (a block has %lld elements)", name,
			type->name, shape_text(output->shape, output->rank).text, reason, (long long)type->block);
	if (bytes != output->bytes)
		return error_set(w->error, path, "tensor \"%.200s\": has %lld bytes, but %s %s needs %lld", name,
			(long long)output->bytes, type->name, shape_text(output->shape, output->rank).text, (long long)bytes);
	return true;
}

/* Appends the info; `end`: of the padded tensors before it, moved behind this one. */
static bool append_info(Writer *w, Bytes *head, const CmprtOutput *output, int64_t *end)
{
	if (!check_output(w, output))
		return false;
	append_string(head, output->name);
	append_number(head, (uint64_t)output->rank, 4);
	for (int64_t axis = output->rank - 1; axis >= 0; axis--) /* the file has the contiguous axis first */
		append_number(head, (uint64_t)output->shape[axis], 8);
	append_number(head, (uint64_t)output->container_code, 4);
	append_number(head, (uint64_t)*end, 8);
	if (__builtin_add_overflow(*end, output->bytes, end) || *end > INT64_MAX / 2)
		return error_set(w->error, w->program->output_path, "tensor \"%.200s\": ends behind byte 2^62", output->name);
	*end = (*end + w->alignment - 1) / w->alignment * w->alignment;
	return true;
}

static bool fill_layout(Writer *w, CkLayout *layout)
{
	const CmprtProgram *program = w->program;
	Bytes head = {w->pool, NULL, 0, 0};
	bytes_text(&head, "GGUF");
	append_number(&head, GGUF_VERSION, 4);
	append_number(&head, (uint64_t)program->output_count, 8);
	append_number(&head, (uint64_t)w->pair_count, 8);
	for (int64_t i = 0; i < w->pair_count; i++)
		bytes_append(&head, w->pairs[i].raw, (size_t)w->pairs[i].raw_bytes);
	int64_t end = 0;
	for (int64_t i = 0; i < program->output_count; i++) {
		layout->tensor_offset[i] = end;
		if (!append_info(w, &head, &program->outputs[i], &end))
			return false;
	}
	bytes_zeros(&head, (size_t)(-(int64_t)head.count & (w->alignment - 1)));
	for (int64_t i = 0; i < program->output_count; i++)
		layout->tensor_offset[i] += (int64_t)head.count;
	layout->files[0] =
		(CkOutFile){.name = "", .bytes = (int64_t)head.count + end, .head = head.at, .head_bytes = (int64_t)head.count};
	layout->total_bytes = layout->files[0].bytes;
	return true;
}

CkLayout *gguf_lay_out(const CmprtProgram *program, const Checkpoint *source, bool into_folder, CmprtError *error)
{
	if (into_folder) {
		error_set(error, program->output_path, "a GGUF output is one file, expected a path that ends in .gguf");
		return NULL;
	}
	if (!layout_check_outputs(program, error))
		return NULL;
	CkLayout *layout = layout_new(program, 1);
	Writer writer = {.program = program, .pool = layout->pool, .error = error};
	if (collect_pairs(&writer, source && source->format == &format_gguf ? source->state : NULL) &&
		fill_layout(&writer, layout))
		return layout;
	layout_free(layout);
	return NULL;
}
