/* SPDX-License-Identifier: MIT
 *
 * model.h: a checkpoint as commands look at it: opened with its roles known, its
 * tensors printed, its values read back as f32 whatever they are stored as.
 */
#ifndef CMPC_MODEL_H
#define CMPC_MODEL_H

#include "driver.h"
#include "plan.h"
#include "stored.h"

/* ---- model.c ---- */

typedef struct Model {
	Compiler *c;
	Program *library; /* the standard library: roles, dtypes */
	Checkpoint *checkpoint;
	Plan *facts;        /* its tensors with roles, layers, rows and columns; nothing is planned */
	int64_t file_bytes; /* of all files */
	int64_t parameters; /* elements of all tensors */
	StoredFile stored;  /* how its tensors are read */
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
