/* SPDX-License-Identifier: MIT
 *
 * imatrix.c: llama.cpp's first form of an importance matrix, imatrix.dat; its later
 * one is a GGUF file. A number of entries, each a tensor's name, how often it was
 * met, and a sum for every column; then, from some versions on, what it was made of.
 * Little-endian, without a magic, so the suffix decides. An entry is seen as the two
 * tensors that the later form has: NAME.in_sum2 and NAME.counts. Read only.
 */
#include "parts.h"

#include <string.h>
#include <unistd.h>

enum { MAX_NAME = 1 << 16 };

extern const Format format_imatrix;

typedef struct Reader {
	Checkpoint *checkpoint;
	const char *path;
	int fd;
	int64_t size, at;
	CmprtError *error;
} Reader;

static bool read_number(Reader *r, int32_t *number, const char *what)
{
	unsigned char raw[4];
	if (r->size - r->at < (int64_t)sizeof raw)
		return error_set(r->error, r->path, "ends at byte %lld, where %s should be: is it an importance matrix?",
			(long long)r->size, what);
	if (!file_read(r->fd, r->path, raw, sizeof raw, r->at, r->error))
		return false;
	*number = (int32_t)((uint32_t)raw[0] | (uint32_t)raw[1] << 8 | (uint32_t)raw[2] << 16 | (uint32_t)raw[3] << 24);
	r->at += sizeof raw;
	return true;
}

static bool read_name(Reader *r, int32_t entry, const char **name)
{
	int32_t length;
	if (!read_number(r, &length, "the length of a name"))
		return false;
	if (length < 1 || length > MAX_NAME || length > r->size - r->at)
		return error_set(r->error, r->path,
			"byte %lld: entry %d has a name of %d bytes, and %lld follow: is it an importance matrix?",
			(long long)r->at - 4, entry, length, (long long)(r->size - r->at));
	char *text = pool_alloc(r->checkpoint->pool, (size_t)length + 1);
	if (!file_read(r->fd, r->path, text, length, r->at, r->error))
		return false;
	if (memchr(text, 0, (size_t)length) || !text_is_utf8(text, (size_t)length))
		return error_set(
			r->error, r->path, "byte %lld: the name of entry %d is no UTF-8 text", (long long)r->at, entry);
	r->at += length;
	*name = text;
	return true;
}

static CkTensor *add_tensor(Reader *r, const char *name, const char *what, const char *dtype, int64_t count)
{
	CkTensor *tensor = &r->checkpoint->tensors[r->checkpoint->tensor_count++];
	*tensor = (CkTensor){.name = pool_printf(r->checkpoint->pool, "%s.%s", name, what),
		.dtype = dtype,
		.code = -1,
		.rank = 1,
		.shape = {count},
		.block = 1,
		.block_bytes = 4,
		.offset = r->at,
		.bytes = 4 * count};
	return tensor;
}

static bool read_entry(Reader *r, int32_t entry)
{
	const char *name = "";
	int32_t calls, count;
	if (!read_name(r, entry, &name))
		return false;
	add_tensor(r, name, "counts", "I32", 1);
	if (!read_number(r, &calls, "how often an entry was met") || !read_number(r, &count, "an entry's length"))
		return false;
	if (count < 1 || count > (r->size - r->at) / 4)
		return error_set(r->error, r->path, "byte %lld: \"%.200s\" has %d values, and %lld bytes follow",
			(long long)r->at - 4, name, count, (long long)(r->size - r->at));
	r->at += add_tensor(r, name, "in_sum2", "F32", count)->bytes;
	return true;
}

static bool read_entries(Reader *r)
{
	int32_t count;
	if (!read_number(r, &count, "the number of entries"))
		return false;
	if (count < 1 || count > r->size / 16)
		return error_set(r->error, r->path, "says that it has %d entries in %lld bytes: is it an importance matrix?",
			count, (long long)r->size);
	r->checkpoint->tensors = pool_array(r->checkpoint->pool, CkTensor, 2 * (int64_t)count);
	for (int32_t i = 0; i < count; i++)
		if (!read_entry(r, i))
			return false;
	return true;
}

static Checkpoint *open_imatrix(const char *path, CmprtError *error)
{
	Checkpoint *checkpoint = checkpoint_new(&format_imatrix, path);
	Reader reader = {.checkpoint = checkpoint, .path = checkpoint->path, .error = error};
	checkpoint->file_count = 1;
	checkpoint->files = pool_array(checkpoint->pool, const char *, 1);
	checkpoint->files[0] = checkpoint->path;
	checkpoint->file_bytes = pool_array(checkpoint->pool, int64_t, 1);
	reader.fd = file_open(path, &reader.size, error);
	checkpoint->file_bytes[0] = reader.size;
	bool is_good = reader.fd >= 0 && read_entries(&reader);
	if (reader.fd >= 0)
		close(reader.fd);
	if (is_good && checkpoint_sort_names(checkpoint, error))
		return checkpoint;
	checkpoint_close(checkpoint);
	return NULL;
}

static bool accepts_imatrix(const char *path, const void *first, size_t bytes)
{
	(void)first;
	(void)bytes;
	return name_ends_in(path, ".dat") && !path_is_folder(path);
}

static CkLayout *refuse_layout(
	const CmprtProgram *program, const Checkpoint *source, bool into_folder, CmprtError *error)
{
	(void)source;
	(void)into_folder;
	error_set(error, program->output_path, "an importance matrix holds no model, expected .gguf or .safetensors");
	return NULL;
}

static bool holds_nothing(const char *dtype, int64_t code)
{
	(void)dtype;
	(void)code;
	return false;
}

const Format format_imatrix = {
	.name = "imatrix",
	.suffix = ".dat",
	.help = "llama.cpp's imatrix.dat, read only; its later importance matrices are GGUF files",
	.accepts = accepts_imatrix,
	.open = open_imatrix,
	.lay_out = refuse_layout,
	.holds = holds_nothing,
};
