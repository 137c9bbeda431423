/* SPDX-License-Identifier: MIT
 *
 * parts.h: what the files of this folder and of ../text share: memory of
 * an opened checkpoint or a layout, growable bytes, the one way to report an
 * error, folders and their side files.
 *
 * Whatever reports an error returns false (or NULL) and has filled `error`.
 */
#ifndef CMPRT_FORMAT_PARTS_H
#define CMPRT_FORMAT_PARTS_H

#include "format.h"

#include <stdarg.h>

/* Headers (safetensors, GGUF metadata, an index, config.json) are kept whole in memory, so they have a limit. */
enum { SAFETENSORS_MAX_HEADER = 100000000, GGUF_MAX_HEADER = 1 << 28, JSON_MAX_FILE = 100000000 };

/* ---- pool.c: memory that is freed at once; running out of it ends the process ---- */

Pool *pool_new(void);
void pool_free(Pool *pool);
void *pool_alloc(Pool *pool, size_t bytes);                   /* zeroed, 16-byte aligned */
char *pool_copy(Pool *pool, const void *bytes, size_t count); /* adds a NUL */
char *pool_printf(Pool *pool, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define pool_array(pool, type, count) ((type *)pool_alloc((pool), sizeof(type) * (size_t)(count)))

void *memory_resize(void *at, size_t bytes); /* in no pool: free(at) */

/* Bytes that grow, in a pool; begin with {pool}. `at` ends in a NUL that is not counted, once anything was appended. */
typedef struct Bytes {
	Pool *pool;
	char *at;
	size_t count, capacity;
} Bytes;

void bytes_append(Bytes *bytes, const void *from, size_t count);
void bytes_zeros(Bytes *bytes, size_t count);
void bytes_text(Bytes *bytes, const char *text);
void bytes_printf(Bytes *bytes, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bytes_json(Bytes *bytes, const char *text); /* as a JSON string, quotes included */

/* ---- error.c ---- */

/* "PATH: ..." in one line, control characters and what is not UTF-8 escaped; returns false. */
bool error_set(CmprtError *error, const char *path, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool text_is_utf8(const char *text, size_t count);

/* A shape as messages show it: "[4, 8]"; lives as long as the expression it is in. */
typedef struct ShapeText {
	char text[256];
} ShapeText;
ShapeText shape_text(const int64_t *shape, int64_t rank);

/* ---- file.c ---- */

int file_open(const char *path, int64_t *bytes, CmprtError *error); /* a regular file, read only; -1 */
/* whole content with a NUL behind it, NULL: error */
char *file_text(Pool *pool, const char *path, int64_t limit, int64_t *bytes, CmprtError *error);
bool file_is_there(const char *path);
bool path_is_folder(const char *path);

/* ---- formats.c ---- */

Checkpoint *checkpoint_new(const Format *format, const char *path);
/* Fills by_name; an error if two tensors have one name. */
bool checkpoint_sort_names(Checkpoint *checkpoint, CmprtError *error);
CkLayout *layout_new(const CmprtProgram *program, int64_t files);
/* Output names are unique and UTF-8, ranks are within the limit, shapes hold no negative extent. */
bool layout_check_outputs(const CmprtProgram *program, CmprtError *error);

/* ---- folder.c: a folder as Hugging Face lays it out ---- */

#define INDEX_NAME "model.safetensors.index.json"

typedef struct NameList {
	const char **at;
	int64_t count, capacity;
} NameList;

void names_add(Pool *pool, NameList *names, const char *name);
void names_sort(NameList *names);                                                     /* and drops what stands twice */
bool folder_list(Pool *pool, const char *folder, NameList *names, CmprtError *error); /* regular files only, sorted */
bool name_ends_in(const char *name, const char *suffix);
const char *path_in_folder(Pool *pool, const char *folder, const char *name);
const char *path_folder(Pool *pool, const char *path); /* of a file: "." if the path names none */
const char *path_last(const char *path);
/* Sides of a folder output: files of the source folder, config.json edited, the index if `index` is not NULL. */
bool folder_sides(
	CkLayout *layout, const CmprtProgram *program, const Checkpoint *source, const char *index, CmprtError *error);

/* ---- index.c: model.safetensors.index.json ---- */

typedef struct IndexEntry {
	const char *tensor, *file;
} IndexEntry;
typedef struct Index {
	const char *path;
	int64_t count;
	IndexEntry *entries;
	NameList files; /* sorted */
} Index;

bool index_read(Pool *pool, const char *path, Index *index, CmprtError *error);
/* The map and the files agree, both ways. */
bool index_check(const Index *index, const Checkpoint *checkpoint, CmprtError *error);
const char *index_write(Pool *pool, const CmprtProgram *program, const char *const *shard_names);

/* ---- config.c: config.json ---- */

/* The text with `quantization_config` added or replaced, all else byte for byte as it was; text NULL: a new file. */
const char *config_edit(Pool *pool, const char *path, const char *text, const char *quantization, CmprtError *error);

#endif
