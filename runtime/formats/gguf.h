/* SPDX-License-Identifier: MIT
 *
 * gguf.h: between gguf.c (the row), gguf_read.c, gguf_write.c and gguf_types.c.
 * The file: magic, version, counts, key-values, tensor infos, padding, data; all
 * little-endian.
 */
#ifndef CMPRT_GGUF_H
#define CMPRT_GGUF_H

#include "parts.h"

enum {
	GGUF_DEFAULT_ALIGNMENT = 32,
	GGUF_MIN_ALIGNMENT = 8,
	GGUF_MAX_ALIGNMENT = 1 << 20, /* ours: what is laid out before the data is kept in memory */
	GGUF_MAX_NAME = 63,           /* bytes; readers have room for 64 with the terminator */
	GGUF_MAX_RANK = 4,
	GGUF_VERSION = 3,
};

/* A key-value as it lies in the file: length and bytes of the key, type, value. */
typedef struct GgufPair {
	const char *key;
	const char *raw;
	int64_t raw_bytes;
} GgufPair;

typedef struct GgufState {
	int64_t pair_count; /* of the first file */
	GgufPair *pairs;
} GgufState;

/* ---- gguf_types.c ---- */

/* A tensor type: ids in the file, blocks of so many elements in so many bytes. */
typedef struct GgufType {
	const char *name; /* NULL: retired, or never given out */
	int64_t block, bytes;
	int64_t file_type; /* general.file_type of files that are mostly of it; -1: none is given out */
} GgufType;

const GgufType *gguf_type(int64_t code); /* NULL: no such type */
int64_t gguf_last_type(void);
int64_t gguf_type_find(const char *name); /* -1: no such type */
/* Bytes of a tensor; false: `reason` says why not. */
bool gguf_tensor_bytes(const GgufType *type, const int64_t *shape, int64_t rank, int64_t *bytes, const char **reason);

/* Types of metadata values. */
enum { GGUF_UINT32 = 4, GGUF_FLOAT32 = 6, GGUF_BOOL = 7, GGUF_STRING = 8, GGUF_ARRAY = 9, GGUF_VALUE_TYPES = 13 };

typedef struct GgufValueType {
	const char *name;
	int bytes; /* 0: of no fixed size */
	char kind; /* 'u', 'i', 'f', 'b', or 's', 'a' */
} GgufValueType;

extern const GgufValueType gguf_value_types[GGUF_VALUE_TYPES];
/* The number in an unsigned, signed or bool value. */
uint64_t gguf_number(const void *at, int bytes);

/* ---- gguf_read.c, gguf_write.c ---- */

/* An array in the metadata: `at` is its first element. */
typedef struct GgufArray {
	int64_t count;
	const char *at;
} GgufArray;

/* Elements of that type, "string" or "i32"; false: there is no such array. */
bool gguf_array(const Checkpoint *checkpoint, const char *key, const char *type, GgufArray *array);
const char *gguf_next_text(GgufArray *array, int64_t *length); /* of strings; not ended by a NUL */

bool gguf_read_files(Checkpoint *checkpoint, CmprtError *error);
CkLayout *gguf_lay_out(const CmprtProgram *program, const Checkpoint *source, bool into_folder, CmprtError *error);

extern const Format format_gguf;

#endif
