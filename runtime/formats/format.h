/* SPDX-License-Identifier: MIT
 *
 * format.h: checkpoint file formats. One file, one `const Format` row each; the
 * compiler opens headers through the same rows that executables read data with.
 *
 * A checkpoint is a set of named tensors in one or several files, with metadata.
 * Opening reads headers only and checks every length and offset in them before
 * use. Tensor bytes are read by pread (never mapped). Writing is in two halves:
 * `lay_out` says what bytes every output file has besides tensor data, and where
 * each tensor goes; the run loop creates the files and writes tensors in place.
 *
 * Names and keys of a checkpoint are valid UTF-8 without NUL but may hold
 * control characters, values of metadata any bytes: error texts have them escaped,
 * other printers must see to it.
 */
#ifndef CMPRT_FORMAT_H
#define CMPRT_FORMAT_H

#include "cmprt.h"

enum { CMPRT_MAX_RANK = 8 };

/* What went wrong, in one line: "model.gguf: tensor \"a\": offset 96 is not a multiple of the alignment 32". */
typedef struct CmprtError {
	char text[1024];
} CmprtError;

typedef struct CkTensor {
	const char *name;
	const char *dtype; /* the container's own name for it: "F16", "BF16", "I8"; GGUF: "Q4_K"; a GGUF type without a name is an error */
	int64_t code;      /* GGUF type id; -1 elsewhere */
	int64_t rank, shape[CMPRT_MAX_RANK]; /* slowest axis first */
	int64_t block, block_bytes; /* GGUF block types; 1 and the element's size elsewhere (block 8 / block_bytes n for sub-byte safetensors types) */
	int64_t file;      /* index into files */
	int64_t offset;    /* in the file, absolute */
	int64_t bytes;
} CkTensor;

typedef struct CkMeta {
	const char *key;
	const char *type;  /* "string", "u32", "f32", "bool", ..., "array" */
	const char *value; /* as text; arrays as "[512 x string]" */
} CkMeta;

typedef struct Format Format;
typedef struct Pool Pool;

typedef struct Checkpoint {
	const Format *format;
	const char *path;        /* as given: a file, or a folder */
	int64_t is_folder;
	int64_t file_count;
	const char **files;      /* paths that can be opened */
	int64_t *file_bytes;
	int64_t tensor_count;
	CkTensor *tensors;       /* in file order, then in the order of the data */
	int64_t meta_count;
	CkMeta *meta;            /* GGUF: all key-values. safetensors: __metadata__ of the first file */
	const char *config;      /* text of config.json beside it, NULL: none */
	const CkTensor **by_name; /* the same tensors, sorted by name: no name stands twice */
	void *state;             /* the format's own: raw metadata bytes to carry over */
	Pool *pool;       /* everything above lies in it */
} Checkpoint;

/* One output file as laid out. `head` and `pieces` are everything that is not tensor data. */
typedef struct CkOutFile {
	const char *name;        /* within the folder; "" for a single file */
	int64_t bytes;           /* whole size */
	const char *head;        /* its first bytes (header, metadata) */
	int64_t head_bytes;
} CkOutFile;

/* A file of a folder that holds no tensors. */
typedef struct CkSide {
	const char *name, *copy_from, *text; /* copy_from NULL: `text` is the content, made (index, config.json) */
	int64_t bytes;
} CkSide;

typedef struct CkLayout {
	int64_t file_count;
	CkOutFile *files;
	int64_t *tensor_file;    /* per output tensor */
	int64_t *tensor_offset;  /* absolute in that file; gaps between tensors are zero bytes */
	int64_t total_bytes;     /* of all files that hold tensors, side files not counted */
	int64_t side_count;
	CkSide *sides;           /* sorted by name; none for a single file */
	Pool *pool;       /* everything above lies in it */
} CkLayout;

struct Format {
	const char *name;             /* "safetensors", "gguf" */
	const char *suffix;           /* ".safetensors" */
	const char *help;             /* one line */
	bool is_folder_format;        /* an output path without a suffix is a folder of this format */
	bool holds_planes;            /* fields of a dtype are tensors of their own, or rows of bytes: any dtype has a form */
	const char *architecture;     /* key of its metadata that names the model's; NULL: config.json does */
	CkMeta coded;                 /* what its metadata must say where blocks of dtypes are in it; key NULL: nothing */
	/* could this path be ours? by its first bytes (a folder: by what lies in it) */
	bool (*accepts)(const char *path, const void *first, size_t bytes);
	Checkpoint *(*open)(const char *path, CmprtError *error);
	/* source NULL or of another format: metadata is what program->meta says. Uses only program's output tables. */
	CkLayout *(*lay_out)(const CmprtProgram *program, const Checkpoint *source, bool into_folder, CmprtError *error);
	/* can this container hold a tensor of that dtype name / code at all? */
	bool (*holds)(const char *dtype, int64_t code);
};

/* ---- formats.c: over the table of rows (table.inc, made by the build from the list of files) ---- */

const Format *format_find(const char *name);                       /* NULL if there is none */
const Format *format_of_output(const char *path);                  /* by suffix; a path without one is a folder; NULL: a suffix nobody has */
int format_count(void);
const Format *format_at(int number);
Checkpoint *checkpoint_open(const char *path, CmprtError *error);  /* NULL: error says why */
void checkpoint_close(Checkpoint *checkpoint);
#define CK_VERSION_KEY "cmpc.version" /* in the metadata of all that is written here */
const CkTensor *checkpoint_find(const Checkpoint *checkpoint, const char *name);
const char *checkpoint_meta(const Checkpoint *checkpoint, const char *key); /* NULL: it has none */
/* pread of the whole range or an error; fd from open() of files[tensor->file] */
bool file_read(int fd, const char *path, void *to, int64_t bytes, int64_t offset, CmprtError *error);
void layout_free(CkLayout *layout);

#endif
