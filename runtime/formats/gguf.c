/* SPDX-License-Identifier: MIT
 *
 * gguf.c: the row of the format, and which files make a checkpoint: one, or the
 * files of a split set, NAME-00001-of-0000N.gguf, whichever of them is named.
 */
#include "gguf.h"

#include <stdio.h>
#include <string.h>

enum { SPLIT_TAIL = sizeof "-00001-of-00001.gguf" - 1, MAX_SPLITS = 99999 };

/* A number of five digits; -1: something else. */
static int read_five(const char *at)
{
	int number = 0;
	for (int i = 0; i < 5; i++) {
		if (at[i] < '0' || at[i] > '9')
			return -1;
		number = number * 10 + at[i] - '0';
	}
	return number;
}

/* How many files the set has that this name belongs to; 0: none. */
static int split_count(const char *path)
{
	size_t length = strlen(path);
	if (length < SPLIT_TAIL)
		return 0;
	const char *tail = path + length - SPLIT_TAIL;
	int number = tail[0] == '-' ? read_five(tail + 1) : -1;
	int count = memcmp(tail + 6, "-of-", 4) == 0 ? read_five(tail + 10) : -1;
	return number >= 1 && number <= count && strcmp(tail + 15, ".gguf") == 0 ? count : 0;
}

static bool find_files(Checkpoint *checkpoint, CmprtError *error)
{
	Pool *pool = checkpoint->pool;
	const char *path = checkpoint->path;
	int count = split_count(path), stem = (int)strlen(path) - SPLIT_TAIL;
	checkpoint->file_count = count ? count : 1;
	checkpoint->files = pool_array(pool, const char *, checkpoint->file_count);
	checkpoint->files[0] = path;
	for (int i = 0; i < count; i++) {
		checkpoint->files[i] = pool_printf(pool, "%.*s-%05d-of-%05d.gguf", stem, path, i + 1, count);
		if (!file_is_there(checkpoint->files[i]))
			return error_set(
				error, path, "its set has %d files, but %.200s is not there", count, path_last(checkpoint->files[i]));
	}
	return true;
}

static Checkpoint *open_gguf(const char *path, CmprtError *error)
{
	Checkpoint *checkpoint = checkpoint_new(&format_gguf, path);
	checkpoint->state = pool_array(checkpoint->pool, GgufState, 1);
	if (find_files(checkpoint, error) && gguf_read_files(checkpoint, error) && checkpoint_sort_names(checkpoint, error))
		return checkpoint;
	checkpoint_close(checkpoint);
	return NULL;
}

static bool accepts_gguf(const char *path, const void *first, size_t bytes)
{
	return (bytes >= 4 && memcmp(first, "GGUF", 4) == 0) || (name_ends_in(path, ".gguf") && !path_is_folder(path));
}

static bool holds_gguf(const char *dtype, int64_t code)
{
	return code >= 0 ? gguf_type(code) != NULL : dtype && gguf_type_find(dtype) >= 0;
}

const Format format_gguf = {
	.name = "gguf",
	.suffix = ".gguf",
	.help =
		"a GGUF file, or a split set by the name of any of its files; made of a Hugging Face folder it has the names, "
		"the metadata and the tokenizer that llama.cpp asks for, if an export is for the architecture",
	.architecture = "general.architecture",
	.coded = {"general.quantization_version", "u32", "2"},
	.accepts = accepts_gguf,
	.open = open_gguf,
	.lay_out = gguf_lay_out,
	.holds = holds_gguf,
};
