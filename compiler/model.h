/* SPDX-License-Identifier: MIT
 *
 * model.h: a checkpoint as commands look at it: opened with its roles known, its
 * tensors printed, its values read back as f32 whatever they are stored as.
 */
#ifndef CMPC_MODEL_H
#define CMPC_MODEL_H

#include "driver.h"
#include "plan.h"

/* A dtype as a checkpoint's metadata declare it. */
typedef struct DeclaredDtype {
	const char *label; /* with its arguments */
	Program *program;
	const DtypeRef *dtype;
} DeclaredDtype;

/* ---- model.c ---- */

typedef struct Model {
	Compiler *c;
	Program *library; /* the standard library: roles, dtypes */
	Checkpoint *checkpoint;
	Plan *facts;                 /* its tensors with roles, layers, rows and columns; nothing is planned */
	int64_t file_bytes;          /* of all files */
	int64_t parameters;          /* elements of all tensors */
	VEC(DeclaredDtype) declared; /* those met so far */
} Model;

Model *model_open(Compiler *c, const char *path); /* NULL: reported */
void model_close(Model *model);
int64_t tensor_elements(const CkTensor *tensor);

/* Tensors that differ in numbers of their names only: the same in every layer, or for every expert. */
typedef struct TensorGroup {
	const PlanTensor *first;
	const char *pattern; /* the name, `*` for each number; the name itself if count is 1 */
	size_t count;
} TensorGroup;
typedef VEC(TensorGroup) TensorGroupVec;

/* In the order of their first tensors; is_split: each tensor is a group of its own. */
void model_groups(const Model *model, bool is_split, TensorGroupVec *to);

void print_shape(const CkTensor *tensor, Text *to);   /* [32, 64] */
void print_roles(const PlanTensor *tensor, Text *to); /* linear attn_q */
void print_count(int64_t count, Text *to);            /* 1,523,200 */
void print_bytes(int64_t bytes, Text *to);            /* 2.91 MiB */

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

bool stored_tensors(Model *model, StoredTensorVec *to); /* in the order of the file; false: reported */
int64_t stored_elements(const StoredTensor *tensor);

/* ---- stored_rows.c: rows of bytes ---- */

const char *stored_rows_dtype(const Model *model, const CkTensor *tensor); /* with its arguments; NULL: it is none */
bool stored_rows(Model *model, StoredTensor *tensor);                      /* a tensor of its own; false: reported */

/* ---- values.c: their values as f32 ---- */

typedef struct Values Values;

Values *values_open(Model *model); /* what is needed for any tensor of the model; kernels are made once for each form */
void values_close(Values *values);
/* Elements that belong together: reading begins at a multiple of it. 0: the tensor cannot be read, which is reported.
 */
int64_t values_unit(Values *values, const StoredTensor *tensor);
bool values_read(Values *values, const StoredTensor *tensor, int64_t first, int64_t count, float *to);
bool values_bytes(Values *values, const StoredTensor *tensor, void *to); /* of its first part, as they are */

#endif
