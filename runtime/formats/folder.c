/* SPDX-License-Identifier: MIT
 *
 * folder.c: a folder as Hugging Face lays it out: what lies in it, and what goes
 * with the tensors into an output folder so that it loads with no further step.
 *
 * Carried over are the regular files of the folder itself (sub-folders are not
 * entered): not weights in any format, not their indexes, not dotfiles.
 */
#include "parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool name_ends_in(const char *name, const char *suffix)
{
	size_t length = strlen(name), tail = strlen(suffix);
	return length >= tail && strcmp(name + length - tail, suffix) == 0;
}

const char *path_last(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

const char *path_folder(Pool *pool, const char *path)
{
	const char *name = path_last(path);
	return name == path ? "." : pool_copy(pool, path, name - path > 1 ? (size_t)(name - path) - 1 : 1);
}

const char *path_in_folder(Pool *pool, const char *folder, const char *name)
{
	return pool_printf(pool, name_ends_in(folder, "/") ? "%s%s" : "%s/%s", folder, name);
}

/* ---- lists of names ---- */

void names_add(Pool *pool, NameList *names, const char *name)
{
	if (names->count == names->capacity) {
		names->capacity = names->capacity * 2 + 16;
		const char **at = pool_array(pool, const char *, names->capacity);
		if (names->count)
			memcpy(at, names->at, sizeof *at * (size_t)names->count);
		names->at = at;
	}
	names->at[names->count++] = name;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void names_sort(NameList *names)
{
	if (names->count == 0)
		return;
	qsort(names->at, (size_t)names->count, sizeof *names->at, compare_names);
	int64_t kept = 1;
	for (int64_t i = 1; i < names->count; i++)
		if (strcmp(names->at[i], names->at[kept - 1]) != 0)
			names->at[kept++] = names->at[i];
	names->count = kept;
}

bool folder_list(Pool *pool, const char *folder, NameList *names, CmprtError *error)
{
	DIR *stream = opendir(folder);
	if (!stream)
		return error_set(error, folder, "could not open the folder: %s", strerror(errno));
	for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
		struct stat status;
		const char *name = pool_copy(pool, entry->d_name, strlen(entry->d_name));
		if (stat(path_in_folder(pool, folder, name), &status) == 0 && S_ISREG(status.st_mode))
			names_add(pool, names, name);
	}
	closedir(stream);
	names_sort(names);
	return true;
}

/* ---- sides of an output ---- */

static bool is_carried(const char *name)
{
	static const char *const left_behind[] = {
		".safetensors",
		".bin",
		".gguf",
		".pt",
		".pth",
		".h5",
		".msgpack",
		".onnx",
		".index.json",
	};
	for (size_t i = 0; i < sizeof left_behind / sizeof *left_behind; i++)
		if (name_ends_in(name, left_behind[i]))
			return false;
	return name[0] != '.' && strcmp(name, "config.json") != 0; /* made from checkpoint->config */
}

static void add_text(CkLayout *layout, const char *name, const char *text)
{
	layout->sides[layout->side_count++] = (CkSide){.name = name, .text = text, .bytes = (int64_t)strlen(text)};
}

static bool add_copy(CkLayout *layout, const char *folder, const char *name, CmprtError *error)
{
	CkSide *side = &layout->sides[layout->side_count++];
	side->name = name;
	side->copy_from = path_in_folder(layout->pool, folder, name);
	struct stat status;
	if (stat(side->copy_from, &status) < 0)
		return error_set(error, side->copy_from, "could not read its size: %s", strerror(errno));
	side->bytes = status.st_size;
	return true;
}

static int compare_sides(const void *a, const void *b)
{
	return strcmp(((const CkSide *)a)->name, ((const CkSide *)b)->name);
}

bool folder_sides(
	CkLayout *layout, const CmprtProgram *program, const Checkpoint *source, const char *index, CmprtError *error)
{
	Pool *pool = layout->pool;
	NameList names = {0};
	if (source && source->is_folder && !folder_list(pool, source->path, &names, error))
		return false;
	layout->sides = pool_array(pool, CkSide, names.count + 2);
	for (int64_t i = 0; i < names.count; i++)
		if (is_carried(names.at[i]) && !add_copy(layout, source->path, names.at[i], error))
			return false;
	const char *config = source ? source->config : NULL;
	if (program->quantization_config) {
		config = config_edit(
			pool, source ? source->path : program->output_path, config, program->quantization_config, error);
		if (!config)
			return false;
	}
	if (config)
		add_text(layout, "config.json", config);
	if (index)
		add_text(layout, INDEX_NAME, index);
	if (layout->side_count)
		qsort(layout->sides, (size_t)layout->side_count, sizeof *layout->sides, compare_sides);
	return true;
}
