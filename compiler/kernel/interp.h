/* SPDX-License-Identifier: MIT
 *
 * interp.h: what the files of the interpreter share; nobody else includes it.
 *
 * Before anything runs, the expressions of each step become one straight list of
 * instructions over numbered slots, every shared node once, sorted by the loop of
 * the step that they depend on: an instruction runs when its loop takes a turn.
 */
#ifndef CMPC_KERNEL_INTERP_H
#define CMPC_KERNEL_INTERP_H

#include "kernel.h"

typedef struct BufferState {
	const KBuffer *buffer;
	uint8_t *at;
	int64_t extent[K_MAX_RANK];
	size_t bytes;
} BufferState;

typedef struct Instruction {
	KOp op;
	KType type, from; /* of the result, of the (last) operand */
	Store store;
	uint32_t to, args[3];      /* slots */
	const BufferState *buffer; /* LOAD */
	const uint32_t *subs;      /* LOAD: slots */
	int64_t number;            /* INDEX: its id; PARAM: its number */
} Instruction;

typedef struct Interp Interp;

enum { STEP_LEVELS = 2 * K_MAX_RANK + 1 };

typedef struct Code {
	Instruction *at;
	uint32_t level_start[STEP_LEVELS + 1]; /* level 0 runs at entry, level i + 1 whenever loop i takes a turn */
	KValue *slots;                         /* constants are in place from the start */
} Code;

/* A step made ready. Fields that a kind does not have are zero. */
typedef struct ReadyStep {
	const KStep *step;
	Code code;
	const KIndex *loops[STEP_LEVELS]; /* domain, then over */
	uint32_t domain_count, loop_count;
	uint32_t lo[STEP_LEVELS], hi[STEP_LEVELS];    /* slots of the bounds; of the index of a LOOP: lo[0], hi[0] */
	uint32_t value, key, limit, minuend, subs[K_MAX_RANK]; /* slots */
	const BufferState *dst;
	struct ReadyStep *body;
	size_t body_count;
	VEC(BufferState *) scoped; /* LOOP: what lives for one turn */
} ReadyStep;

typedef struct Ranked {
	KValue value;
	int64_t position;
} Ranked;

struct Interp {
	Kernel *k;
	Arena *arena; /* of this run */
	BufferState *buffers;
	int64_t *index; /* current values by id */
	const int64_t *params;
	const KStep *step;        /* running, for messages */
	VEC(KValue) column, keys; /* the elements that a reduce or scan folds */
	VEC(KValue) results;      /* of a scan, in the order of its elements */
	size_t written;           /* how many results of a scan were handed out */
	VEC(Ranked) ranked;
};

/* ---- interp_code.c ---- */

/* Compiles every expression of a step; its body is the caller's. */
void code_compile_step(Interp *in, ReadyStep *ready);
/* An expression of constants and params alone. */
int64_t code_evaluate(Interp *in, const KExpr *e);
/* False after reporting a subscript that is out of its buffer. */
bool code_run(Interp *in, const Code *code, uint32_t level);
/* The address of an element, or NULL after reporting that it is outside. */
uint8_t *buffer_place(
	Interp *in, const BufferState *buffer, Store store, const KValue *slots, const uint32_t *subs, const char *verb);

/* ---- interp_fold.c ---- */

/* Folds in->column, which has these extents row-major; may overwrite it. */
KValue fold_reduce(Interp *in, const KStep *step, const int64_t *extents, KValue limit);
/* One result for each element of in->column, in order, into in->results. */
void fold_scan(Interp *in, const KStep *step, KValue limit);
KType fold_type(const KStep *step); /* of the result */

#endif
