/* SPDX-License-Identifier: MIT
 *
 * schedule.h: shared by the schedule_*.c files, which turn a flat kernel into a
 * scheduled one in five moves, each a file:
 *   schedule_clean.c  steps that nothing reads go; a map read once goes into its reader
 *   schedule_contract.c  of which: products of matrices count from zero, are taken off in place
 *   schedule_split.c  a row index becomes block and element where a reader works on blocks
 *   schedule_nest.c   indices that steps have in common become loops around them
 *   schedule_shape.c  buffers lose the axes of loops they live in; loops and steps choose lanes
 *   schedule_window.c  of which: rows go side by side through loops of the program
 *   schedule_strip.c  of which: buffers of which turns of a loop have a strip each are one strip wide
 *   schedule_flatten.c  of which: lane loops inside of loops over blocks run over the parts of all blocks
 *   schedule_merge.c    of which: two axes of a map that need not be apart become one
 *   schedule_phase.c    of which: blocks wait for single values many at a time
 *   schedule_reuse.c  what is made of a buffer element by element, and is the last to read it, lies in its place
 */
#ifndef CMPC_SCHEDULE_H
#define CMPC_SCHEDULE_H

#include "kernel.h"

/* One touch of a buffer by a step. */
typedef struct Access {
	KBuffer *buffer;
	KExpr **subs;
	KStep *step; /* the leaf that does it */
	bool is_write;
} Access;
typedef VEC(Access) AccessVec;

/* All accesses of a step and, for loops and branches, of their bodies. */
void access_collect(Kernel *k, KStep *step, AccessVec *to);
void access_collect_all(Kernel *k, const KStepVec *steps, AccessVec *to);
bool accesses_use(const AccessVec *accesses, const KBuffer *buffer);

/* Every expression of one step (not of its body) replaced by map(context, e). */
void step_rewrite(KStep *step, KExpr *(*map)(void *context, KExpr *e), void *context);
/* As step_rewrite, for the step and its body: index -> by */
void step_substitute(Kernel *k, KStep *step, const KIndex *index, KExpr *by);
bool index_is_whole(const KIndex *index, const KExpr *extent); /* 0, 1, .. extent-1 */
bool expr_is_index(const KExpr *e, const KIndex **index);
bool expr_same(const KExpr *a, const KExpr *b);

/* sub = sum of stride * index, strides falling: a number in mixed radix that counts an axis through once. */
enum { MAX_DIGITS = 8 };
typedef struct Radix {
	uint32_t count;
	int64_t stride[MAX_DIGITS], extent[MAX_DIGITS];
	const KIndex *index[MAX_DIGITS]; /* NULL: the last digit is `opaque`, of data or a loop of the program, and stays in
										its range */
	KExpr *opaque;
} Radix;
/* Reads sub, of an axis of `extent`, over the step's indices and those of the loops around it. */
bool radix_of(
	Kernel *k, const KStep *step, KIndex *const *loops, uint32_t loop_count, KExpr *sub, int64_t extent, Radix *r);

void schedule_clean(Kernel *k, bool inline_maps);
void schedule_contract(Kernel *k);
void schedule_split(Kernel *k);
void schedule_nest(Kernel *k);
void schedule_shape(Kernel *k, const ScheduleOptions *options);
/* Of loops that the schedule made, with `around` around them (NULL: nothing): which run in lanes, and what these copy.
 */
void schedule_lanes(Kernel *k, const KStepVec *steps, const KStep *around, const ScheduleOptions *options);
uint32_t schedule_lanes_for(const KStep *loop, int64_t turns, const ScheduleOptions *options); /* 0: too few turns */
/* Loops over rows, of these steps, in which a loop of the program goes along the row. */
void schedule_window(Kernel *k, KStepVec *steps, const ScheduleOptions *options);
void schedule_strip(Kernel *k);
void schedule_flatten(Kernel *k, const ScheduleOptions *options);
void schedule_merge(Kernel *k, const KStepVec *steps);
void schedule_phase(Kernel *k);
void schedule_reuse(Kernel *k, bool owns_inputs);

#endif
