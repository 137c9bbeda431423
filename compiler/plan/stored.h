/* SPDX-License-Identifier: MIT
 *
 * stored.h: tensors as the model has them, whatever the file made of them: plain
 * numbers, blocks of a dtype, planes of one, rows of its bytes. From headers alone.
 */
#ifndef CMPC_STORED_H
#define CMPC_STORED_H

#include "chain_build.h"
#include "format.h"
#include "program.h"

/* A dtype as a checkpoint's metadata declare it. */
typedef struct DeclaredDtype {
	const char *label; /* with its arguments */
	Program *program;
	const DtypeRef *dtype;
} DeclaredDtype;

/* A checkpoint whose tensors are looked at. */
typedef struct StoredFile {
	Compiler *c;
	Program *library; /* whose dtypes may have made them */
	const Checkpoint *checkpoint;
	VEC(DeclaredDtype) declared; /* those met so far */
} StoredFile;

/* ---- stored.c: tensors as the model has them, whatever the file made of them ---- */

enum { MOST_PLANES = 8 };

typedef struct StoredTensor {
	const char *name;
	const char *dtype; /* the file's name for it, or that of the dtype whose planes it is in */
	int64_t rank, shape[CMPRT_MAX_RANK];
	int64_t row_axes;                   /* its last ones, that make a row: 1, but of a kernel all but the first */
	int64_t bytes;                      /* of all its parts */
	const CkTensor *parts[MOST_PLANES]; /* one; or the planes that hold fields, in the dtype's order */
	bool is_single[MOST_PLANES];        /* the part holds arguments of the dtype, no rows */
	uint32_t part_count;
	Store store;           /* plain numbers; STORE_NONE: see `coded` */
	const DtypeRef *coded; /* NULL: no dtype is known that reads it */
	Program *program;      /* in which `coded` is declared */
	const Node *form;      /* LAYOUT or PLANES of `coded`; the DTYPE itself: rows of bytes */
	Store input;           /* PLANES, DTYPE: what the dtype calls `input` */
} StoredTensor;
typedef VEC(StoredTensor) StoredTensorVec;

bool stored_tensors(StoredFile *source, StoredTensorVec *to); /* in the order of the file; false: reported */
int64_t stored_elements(const StoredTensor *tensor);
int64_t stored_row_length(const StoredTensor *tensor);

/* ---- stored_rows.c: rows of bytes ---- */

const char *stored_rows_dtype(
	const StoredFile *source, const CkTensor *tensor);      /* with its arguments; NULL: it is none */
bool stored_rows(StoredFile *source, StoredTensor *tensor); /* a tensor of its own; false: reported */

/* ---- stored_kernel.c ---- */

/* Of a coded tensor, PARAM 0 rows or blocks -> f32: any number of blocks, their bytes to *block_bytes; else rows x
 * cols. NULL: reported. */
Kernel *stored_kernel(Compiler *c, const StoredTensor *tensor, int64_t rows, int64_t cols, int64_t *block_bytes);

#endif
