/* SPDX-License-Identifier: MIT
 *
 * evaluation.h: what `cmpc eval` measures a checkpoint with.
 */
#ifndef CMPC_EVALUATION_H
#define CMPC_EVALUATION_H

#include "net.h"
#include "stages.h"

typedef struct Evaluation {
	Compilation k;
	Compiler *c;
	const char *instead;      /* of the model: another checkpoint; NULL */
	const Checkpoint *reader; /* whose tokenizer reads text; NULL: its own */
	bool is_compared;         /* with another checkpoint */
	/* evaluation_open */
	const Decl *model;
	Checkpoint *checkpoint;
	const char *path; /* of the checkpoint */
	Scope *facts;
	ScheduleOptions schedule;
	Measure measure;
	/* evaluation_load */
	Jit *jit;
} Evaluation;

/* Of the request's file, or of its text. */
Evaluation evaluation_begin(const Request *request, const char *instead);
bool evaluation_open(Evaluation *e);                /* after the stage "program": kernels are made; false: reported */
const CmprtProgram *evaluation_load(Evaluation *e); /* as code in this process; NULL: reported */
void evaluation_print_kernels(const Evaluation *e, Text *to);
void evaluation_end(Evaluation *e);

/* ---- compare.c ---- */

/* After the stage "program". */
bool has_pipelines(const Compilation *k); /* does the file declare any? */
/* A table: the model, and what each pipeline makes of it; the exit status. */
int compare_pipelines(const Compilation *k);

#endif
