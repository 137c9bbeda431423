/* SPDX-License-Identifier: MIT
 *
 * formats.c: over the table of formats, which the build makes from the list of
 * files (table.inc): which row opens a path, which row an output's suffix names.
 * Also what every row needs: a checkpoint's names sorted, a layout's skeleton.
 */
#include "parts.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT(name) extern const Format format_##name;
#include "table.inc"
#undef FORMAT

static const Format *const formats[] = {
#define FORMAT(name) &format_##name,
#include "table.inc"
#undef FORMAT
};

enum { FORMAT_COUNT = sizeof formats / sizeof *formats };

int format_count(void)
{
	return FORMAT_COUNT;
}

const Format *format_at(int number)
{
	return formats[number];
}

const Format *format_find(const char *name)
{
	for (int i = 0; i < FORMAT_COUNT; i++)
		if (strcmp(formats[i]->name, name) == 0)
			return formats[i];
	return NULL;
}

/* Does the last part of the path end in something like ".onnx"? "llama-3.1" and "v0.2-chat" are names of folders. */
static bool has_suffix(const char *path)
{
	const char *name = path_last(path), *dot = strrchr(name, '.');
	if (!dot || dot == name || !isalpha((unsigned char)dot[1]))
		return false;
	for (const char *c = dot + 1; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_')
			return false;
	return true;
}

const Format *format_of_output(const char *path)
{
	for (int i = 0; i < FORMAT_COUNT; i++)
		if (name_ends_in(path, formats[i]->suffix))
			return formats[i];
	for (int i = 0; i < FORMAT_COUNT; i++)
		if (formats[i]->is_folder_format && !has_suffix(path))
			return formats[i];
	return NULL;
}

/* The first bytes of a file; none of a folder. False: neither can be read. */
static bool read_first(const char *path, void *first, int64_t room, int64_t *bytes, CmprtError *error)
{
	struct stat status;
	*bytes = 0;
	if (stat(path, &status) < 0)
		return error_set(error, path, "could not open: %s", strerror(errno));
	if (S_ISDIR(status.st_mode))
		return true;
	int64_t size;
	int fd = file_open(path, &size, error);
	if (fd < 0)
		return false;
	*bytes = size < room ? size : room;
	bool is_read = file_read(fd, path, first, *bytes, 0, error);
	close(fd);
	return is_read;
}

Checkpoint *checkpoint_open(const char *path, CmprtError *error)
{
	char first[16];
	int64_t bytes;
	if (!read_first(path, first, sizeof first, &bytes, error))
		return NULL;
	for (int i = 0; i < FORMAT_COUNT; i++)
		if (formats[i]->accepts(path, first, (size_t)bytes))
			return formats[i]->open(path, error);
	char known[256] = "";
	for (int i = 0; i < FORMAT_COUNT; i++) {
		strncat(known, i ? " or " : "", sizeof known - strlen(known) - 1);
		strncat(known, formats[i]->name, sizeof known - strlen(known) - 1);
	}
	error_set(error, path, "is no checkpoint by its first bytes or its suffix, expected %s", known);
	return NULL;
}

void checkpoint_close(Checkpoint *checkpoint)
{
	if (checkpoint)
		pool_free(checkpoint->pool); /* the struct lies in it too */
}

Checkpoint *checkpoint_new(const Format *format, const char *path)
{
	Pool *pool = pool_new();
	Checkpoint *checkpoint = pool_array(pool, Checkpoint, 1);
	checkpoint->format = format;
	checkpoint->path = pool_copy(pool, path, strlen(path));
	checkpoint->pool = pool;
	return checkpoint;
}

static int compare_tensors(const void *a, const void *b)
{
	return strcmp((*(const CkTensor *const *)a)->name, (*(const CkTensor *const *)b)->name);
}

bool checkpoint_sort_names(Checkpoint *checkpoint, CmprtError *error)
{
	const CkTensor **sorted = pool_array(checkpoint->pool, const CkTensor *, checkpoint->tensor_count);
	for (int64_t i = 0; i < checkpoint->tensor_count; i++)
		sorted[i] = &checkpoint->tensors[i];
	if (checkpoint->tensor_count)
		qsort(sorted, (size_t)checkpoint->tensor_count, sizeof *sorted, compare_tensors);
	for (int64_t i = 1; i < checkpoint->tensor_count; i++) {
		const CkTensor *a = sorted[i - 1], *b = sorted[i];
		if (strcmp(a->name, b->name) != 0)
			continue;
		const char *first = checkpoint->files[a->file < b->file ? a->file : b->file];
		const char *second = checkpoint->files[a->file < b->file ? b->file : a->file];
		return first == second ? error_set(error, second, "tensor \"%.200s\": stands twice in the file", a->name)
							   : error_set(error, second, "tensor \"%.200s\": is in %s too", a->name, path_last(first));
	}
	checkpoint->by_name = sorted;
	return true;
}

const CkTensor *checkpoint_find(const Checkpoint *checkpoint, const char *name)
{
	int64_t low = 0, high = checkpoint->tensor_count;
	while (low < high) {
		int64_t middle = low + (high - low) / 2;
		int order = strcmp(name, checkpoint->by_name[middle]->name);
		if (order == 0)
			return checkpoint->by_name[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const char *checkpoint_meta(const Checkpoint *checkpoint, const char *key)
{
	for (int64_t i = 0; i < checkpoint->meta_count; i++)
		if (strcmp(checkpoint->meta[i].key, key) == 0)
			return checkpoint->meta[i].value;
	return NULL;
}

/* ---- layouts ---- */

CkLayout *layout_new(const CmprtProgram *program, int64_t files)
{
	Pool *pool = pool_new();
	CkLayout *layout = pool_array(pool, CkLayout, 1);
	layout->pool = pool;
	layout->file_count = files;
	layout->files = pool_array(pool, CkOutFile, files);
	layout->tensor_file = pool_array(pool, int64_t, program->output_count);
	layout->tensor_offset = pool_array(pool, int64_t, program->output_count);
	return layout;
}

void layout_free(CkLayout *layout)
{
	if (layout)
		pool_free(layout->pool); /* the struct lies in it too */
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool layout_check_outputs(const CmprtProgram *program, CmprtError *error)
{
	Pool *pool = pool_new();
	const char **names = pool_array(pool, const char *, program->output_count);
	bool is_good = true;
	for (int64_t i = 0; i < program->output_count && is_good; i++) {
		const CmprtOutput *output = &program->outputs[i];
		names[i] = output->name;
		if (!text_is_utf8(output->name, strlen(output->name)))
			is_good = error_set(error, program->output_path, "tensor \"%.200s\": its name is not UTF-8", output->name);
		else if (output->rank < 0 || output->rank > CMPRT_MAX_RANK)
			is_good = error_set(error, program->output_path, "tensor \"%.200s\": rank %lld is above the limit of %d",
				output->name, (long long)output->rank, CMPRT_MAX_RANK);
		for (int64_t axis = 0; axis < output->rank && is_good; axis++)
			if (output->shape[axis] < 0)
				is_good = error_set(error, program->output_path, "tensor \"%.200s\": axis %lld has %lld elements",
					output->name, (long long)axis, (long long)output->shape[axis]);
	}
	if (is_good && program->output_count)
		qsort(names, (size_t)program->output_count, sizeof *names, compare_names);
	for (int64_t i = 1; i < program->output_count && is_good; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			is_good = error_set(error, program->output_path, "tensor \"%.200s\": would be written twice", names[i]);
	pool_free(pool);
	return is_good;
}
