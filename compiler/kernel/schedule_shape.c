/* SPDX-License-Identifier: MIT
 *
 * schedule_shape.c: after nesting. A buffer touched only inside a loop, always at
 * that loop's turn, loses the axis and lives in the loop. The outermost loops go
 * to threads (rows). An inner loop whose turns search or add up in order runs
 * several turns side by side (lane = block); elsewhere the innermost index of a
 * step does (lane = element).
 */
#include "schedule.h"

#include <string.h>

enum { LEAST_LANES = 4, FEW_LANES = 8, LONG_SUM = 256, SHORT_FOLD = 64, SHORT_SCAN = 16, MOST_LOOPS = 16 };

/* ---- buffers ---- */

static bool holds(const KStep *loop, const KStep *step)
{
	if (loop == step)
		return true;
	for (size_t i = 0; i < loop->body.count; i++)
		if (holds(loop->body.at[i], step))
			return true;
	return false;
}

static bool is_only_inside(const KStep *loop, const KBuffer *buffer, const AccessVec *all)
{
	for (size_t i = 0; i < all->count; i++)
		if (all->at[i].buffer == buffer && !holds(loop, all->at[i].step))
			return false;
	return true;
}

/* The axis that every access subscripts with just this index; rank if there is none. */
static uint32_t axis_at(const KBuffer *buffer, const KIndex *index, const AccessVec *all)
{
	for (uint32_t d = 0; d < buffer->rank; d++) {
		bool is_plain = true;
		for (size_t i = 0; i < all->count && is_plain; i++) {
			const KIndex *at;
			if (all->at[i].buffer == buffer)
				is_plain = all->at[i].subs && expr_is_index(all->at[i].subs[d], &at) && at == index;
		}
		if (is_plain)
			return d;
	}
	return buffer->rank;
}

static void remove_item(KExpr **items, uint32_t at, uint32_t count)
{
	memmove(items + at, items + at + 1, sizeof *items * (count - at - 1));
}

typedef struct Dropper {
	Kernel *k;
	const KBuffer *buffer;
	uint32_t axis;
} Dropper;

static KExpr *drop_in_loads(void *context, KExpr *e)
{
	Dropper *drop = context;
	KExpr *args[3] = {0}, *subs[K_MAX_RANK];
	uint32_t rank = e->op == OP_LOAD ? e->buffer->rank : 0;
	bool is_dropped = e->op == OP_LOAD && e->buffer == drop->buffer, is_same = !is_dropped;
	if (!e->loads)
		return e;
	for (int i = 0; i < 3 && e->args[i]; i++) {
		args[i] = drop_in_loads(drop, e->args[i]);
		is_same &= args[i] == e->args[i];
	}
	for (uint32_t i = 0; i < rank; i++) {
		subs[i] = drop_in_loads(drop, e->subs[i]);
		is_same &= subs[i] == e->subs[i];
	}
	if (is_same)
		return e;
	KExpr *copy = arena_new_of(drop->k->c->arena, KExpr);
	*copy = *e;
	memcpy(copy->args, args, sizeof args);
	if (e->op == OP_LOAD) {
		copy->subs = arena_array(drop->k->c->arena, KExpr *, rank + 1);
		memcpy(copy->subs, subs, sizeof *subs * rank);
		if (is_dropped)
			remove_item(copy->subs, drop->axis, rank);
	}
	return copy;
}

static void drop_in_steps(Dropper *drop, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		KExpr **fields[] = {&step->value, &step->key, &step->limit, &step->minuend};
		for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
			if (*fields[f])
				*fields[f] = drop_in_loads(drop, *fields[f]);
		if (step->dst == drop->buffer) {
			KExpr **subs = arena_array(drop->k->c->arena, KExpr *, drop->buffer->rank + 1);
			memcpy(subs, step->dst_subs, sizeof *subs * drop->buffer->rank);
			remove_item(subs, drop->axis, drop->buffer->rank);
			step->dst_subs = subs;
		}
		drop_in_steps(drop, &step->body);
	}
}

static bool is_nested_by_schedule(const KStep *step)
{
	/* the loops of the program carry values from turn to turn; ours never do */
	return step->kind == STEP_LOOP && step->origin == NULL;
}

/* What one turn of a loop does to its part of a buffer. */
typedef struct Coverage {
	Kernel *k;
	const KStep *loop;
	const KBuffer *buffer;
	KIndex *loops[MOST_LOOPS]; /* of the schedule, between the loop and the step in hand */
	uint32_t loop_count;
	bool is_carried; /* something is read that the turn did not write before */
	bool is_written;
} Coverage;

/* Does this write define all of the turn's part? */
static bool writes_all(const Coverage *c, const Access *write)
{
	for (uint32_t d = 0; d < c->buffer->rank; d++) {
		const KIndex *index;
		KExpr *extent = c->buffer->extent[d];
		int64_t known;
		Radix r;
		if (!write->subs)
			return false;
		if (kexpr_is_const(extent, &known) && known == 1)
			continue;
		if (expr_is_index(write->subs[d], &index) && (index == c->loop->index || index_is_whole(index, extent)))
			continue;
		if (!kexpr_is_const(extent, &known) ||
			!radix_of(c->k, write->step, c->loops, c->loop_count, write->subs[d], known, &r) || r.opaque)
			return false;
	}
	return true;
}

/* Goes through the steps; gives whether all of the turn's part is written after them if it was before or not. */
static bool cover(Coverage *c, const KStepVec *steps, bool is_covered)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		if (is_nested_by_schedule(step) && c->loop_count < MOST_LOOPS) {
			c->loops[c->loop_count++] = step->index;
			is_covered = cover(c, &step->body, is_covered);
			c->loop_count--;
			continue;
		}
		if (step->kind == STEP_LOOP || step->kind == STEP_IF) { /* which may have no turn */
			cover(c, &step->body, is_covered);
			continue;
		}
		AccessVec own = {0};
		access_collect(c->k, step, &own);
		for (size_t a = 0; a < own.count; a++) {
			if (own.at[a].buffer != c->buffer)
				continue;
			c->is_carried |= !own.at[a].is_write && !is_covered;
			c->is_written |= own.at[a].is_write;
			is_covered |= own.at[a].is_write && writes_all(c, &own.at[a]);
		}
	}
	return is_covered;
}

static bool is_carried(Kernel *k, const KStep *loop, const KBuffer *buffer)
{
	Coverage c = {.k = k, .loop = loop, .buffer = buffer};
	cover(&c, &loop->body, false);
	return c.is_carried;
}

/* Gives buffers the innermost of the nested loops (not of a `for` of the program) that holds all they do. Under a
 * `for` of the program a buffer may hold what an earlier turn of that left: such a one keeps its place. */
static void scope_buffers(Kernel *k, KStep *loop, bool is_repeated)
{
	AccessVec all = {0}, own = {0};
	access_collect_all(k, &k->steps, &all);
	access_collect(k, loop, &own);
	for (size_t b = 0; b < k->buffers.count; b++) {
		KBuffer *buffer = k->buffers.at[b];
		if (buffer->kind != BUFFER_TEMP || !accesses_use(&own, buffer) || !is_only_inside(loop, buffer, &all))
			continue;
		uint32_t axis = axis_at(buffer, loop->index, &own);
		if (axis == buffer->rank || (is_repeated && is_carried(k, loop, buffer)))
			continue;
		Dropper drop = {k, buffer, axis};
		drop_in_steps(&drop, &loop->body);
		remove_item(buffer->extent, axis, buffer->rank);
		buffer->rank--;
		buffer->scope = loop;
		all.count = own.count = 0;
		access_collect_all(k, &k->steps, &all);
		access_collect(k, loop, &own);
	}
}

static void scope_all(Kernel *k, const KStepVec *steps, bool is_repeated)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		if (is_nested_by_schedule(step))
			scope_buffers(k, step, is_repeated);
		scope_all(k, &step->body, is_repeated || (step->kind == STEP_LOOP && !is_nested_by_schedule(step)));
	}
}

/* ---- how loops run ---- */

static bool is_short_sum(const KStep *step)
{
	int64_t total = 1, n;
	if (step->kind != STEP_REDUCE || step->reduce != REDUCE_SUM || step->value->type < T_F32)
		return false;
	for (uint32_t i = 0; i < step->over_count; i++)
		total *= kexpr_is_const(step->over[i]->hi, &n) ? n : LONG_SUM + 1;
	return step->in_order || total <= LONG_SUM;
}

/* A few elements folded to a position or to an integer, or ranked: in vectors most of the work would be moving them
 * about. */
static bool is_short_fold(const KStep *step)
{
	int64_t n, total = 1;
	if (step->kind != STEP_REDUCE && step->kind != STEP_SCAN)
		return false;
	for (uint32_t i = 0; i < step->over_count; i++)
		total *= kexpr_is_const(step->over[i]->hi, &n) ? n : SHORT_FOLD + 1;
	if (step->kind == STEP_SCAN)
		return total <= SHORT_SCAN;
	bool is_position = step->reduce == REDUCE_ARGMAX || step->reduce == REDUCE_ARGMIN;
	bool is_integer_sum = step->reduce == REDUCE_SUM && step->value->type < T_F32;
	return (is_position || is_integer_sum) && total <= SHORT_FOLD;
}

/* Work that one element after the other must do, or that ends in single ones: better with one block per lane. */
static bool is_serial(const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		const KStep *step = steps->at[i];
		if ((step->kind == STEP_LOOP && !is_nested_by_schedule(step)) || is_short_sum(step) || is_short_fold(step))
			return true;
		if (step->kind == STEP_LOOP && is_serial(&step->body))
			return true;
	}
	return false;
}

static bool has_lanes_inside(const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		if (steps->at[i]->kind == STEP_LOOP &&
			(steps->at[i]->mode == LOOP_LANES || has_lanes_inside(&steps->at[i]->body)))
			return true;
	return false;
}

static bool has_rows_of_scratch(const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		if (steps->at[i]->kind == STEP_LINALG || has_rows_of_scratch(&steps->at[i]->body))
			return true;
	return false;
}

static bool holds_program_loop(const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		if (steps->at[i]->kind == STEP_LOOP &&
			(!is_nested_by_schedule(steps->at[i]) || holds_program_loop(&steps->at[i]->body)))
			return true;
	return false;
}

uint32_t schedule_lanes_for(const KStep *loop, int64_t turns, const ScheduleOptions *options)
{
	/* A search waits for itself at every turn: a second vector works meanwhile. */
	uint32_t widest = holds_program_loop(&loop->body) ? 2 * options->lanes : options->lanes, lanes = widest;
	while (lanes > turns)
		lanes /= 2;
	return lanes >= LEAST_LANES && (lanes >= options->lanes || lanes >= FEW_LANES) ? lanes : 0;
}

/* In a loop of the program, does a step write along rows of memory that turns of the loops around share? No lane gets a
 * copy of its part of those, and would be a row away from the next at every element: vectors along the row do better.
 */
static bool writes_shared_rows(const KStepVec *steps, bool is_in_program)
{
	for (size_t i = 0; i < steps->count; i++) {
		const KStep *step = steps->at[i];
		bool is_along_row = is_in_program && step->kind == STEP_MAP && step->domain_count > 0 && !step->dst->scope &&
							kexpr_uses(step->dst_subs[step->dst->rank - 1], step->domain[step->domain_count - 1]);
		bool is_of_program = step->kind == STEP_LOOP && !is_nested_by_schedule(step);
		if (is_along_row || writes_shared_rows(&step->body, is_in_program || is_of_program))
			return true;
	}
	return false;
}

static void choose_lanes(const KStepVec *steps, const ScheduleOptions *options)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		choose_lanes(&step->body, options);
		if (!is_nested_by_schedule(step) || step->mode == LOOP_ROWS || has_lanes_inside(&step->body) ||
			has_rows_of_scratch(&step->body) || !is_serial(&step->body) || writes_shared_rows(&step->body, false))
			continue;
		int64_t turns;
		if (!kexpr_is_const(step->index->hi, &turns))
			continue;
		step->lanes = schedule_lanes_for(step, turns, options);
		if (step->lanes)
			step->mode = LOOP_LANES;
	}
}

/* ---- private copies for lanes ---- */

typedef struct Renamer {
	Kernel *k;
	const KBuffer *from;
	KBuffer *to;
	uint32_t axis;
} Renamer;

static KExpr **private_subs(const Renamer *r, KExpr *const *subs)
{
	KExpr **out = arena_array(r->k->c->arena, KExpr *, r->from->rank);
	memcpy(out, subs, sizeof *out * r->from->rank);
	remove_item(out, r->axis, r->from->rank);
	return out;
}

static KExpr *rename_loads(void *context, KExpr *e)
{
	Renamer *r = context;
	if (!e->loads)
		return e;
	KExpr *copy = arena_new_of(r->k->c->arena, KExpr);
	*copy = *e;
	for (int i = 0; i < 3 && e->args[i]; i++)
		copy->args[i] = rename_loads(r, e->args[i]);
	if (e->op == OP_LOAD && e->buffer == r->from) {
		copy->buffer = r->to;
		copy->subs = private_subs(r, e->subs);
	} else if (e->op == OP_LOAD) {
		copy->subs = arena_array(r->k->c->arena, KExpr *, e->buffer->rank);
		for (uint32_t i = 0; i < e->buffer->rank; i++)
			copy->subs[i] = rename_loads(r, e->subs[i]);
	}
	return copy;
}

static void rename_in_steps(Renamer *r, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		step_rewrite(step, rename_loads, r);
		if (step->dst == r->from) {
			step->dst_subs = private_subs(r, step->dst_subs);
			step->dst = r->to;
		}
		rename_in_steps(r, &step->body);
	}
}

/* shared[lane, ..] = own[..], or the other way round */
static KStep *copy_step(Kernel *k, KBuffer *shared, KBuffer *own, uint32_t axis, KIndex *lane, bool is_out)
{
	KIndex *domain[K_MAX_RANK];
	KExpr *inner[K_MAX_RANK], *outer[K_MAX_RANK];
	for (uint32_t i = 0; i < own->rank; i++) {
		domain[i] = kindex_new(k, own->name, kexpr_int(k, T_I32, 0), own->extent[i], 1);
		inner[i] = kexpr_index(k, domain[i]);
		outer[i < axis ? i : i + 1] = inner[i];
	}
	outer[axis] = kexpr_index(k, lane);
	KExpr *value = is_out ? kexpr_load(k, own, inner) : kexpr_load(k, shared, outer);
	return is_out ? kstep_map(k, shared, outer, domain, own->rank, value)
				  : kstep_map(k, own, inner, domain, own->rank, value);
}

/* Some axis is subscripted with the index of a loop around: a copy would hold what other turns of that loop use. */
static bool is_part_of_around(const AccessVec *touching, const KStep *const *around, size_t around_count)
{
	for (size_t i = 0; i < touching->count; i++)
		for (uint32_t d = 0; d < touching->at[i].buffer->rank; d++)
			for (size_t n = 0; n < around_count; n++)
				if (kexpr_uses(touching->at[i].subs[d], around[n]->index))
					return true;
	return false;
}

/* A buffer of which each turn of the loop writes and reads its own part has that part beside it in the lane while the
 * loop runs: lanes then read and write side by side, and meet the shared rows once. What is only read needs none of
 * this: the code for lanes fetches it in rows by itself. */
static void privatize(Kernel *k, KStep *loop, const KStep *const *around, size_t around_count)
{
	size_t count = k->buffers.count;
	AccessVec own = {0};
	access_collect_all(k, &loop->body, &own);
	for (size_t b = 0; b < count; b++) {
		KBuffer *buffer = k->buffers.at[b];
		AccessVec touching = {0};
		if (buffer->kind != BUFFER_TEMP || buffer->scope == loop)
			continue;
		for (size_t i = 0; i < own.count; i++)
			if (own.at[i].buffer == buffer)
				vec_push(k->c->arena, &touching, own.at[i]);
		uint32_t axis = axis_at(buffer, loop->index, &touching);
		if (touching.count < 2 || axis == buffer->rank || is_part_of_around(&touching, around, around_count))
			continue;
		Coverage turn = {.k = k, .loop = loop, .buffer = buffer};
		bool is_covered = cover(&turn, &loop->body, false);
		if (!turn.is_written)
			continue;
		KExpr *extent[K_MAX_RANK];
		memcpy(extent, buffer->extent, sizeof extent);
		remove_item(extent, axis, buffer->rank);
		KBuffer *lane = kbuffer_new(k, BUFFER_TEMP, buffer->name, buffer->store, buffer->rank - 1, extent);
		lane->scope = loop;
		Renamer rename = {k, buffer, lane, axis};
		rename_in_steps(&rename, &loop->body);
		if (turn.is_carried || !is_covered) {
			vec_push(k->c->arena, &loop->body, NULL);
			memmove(loop->body.at + 1, loop->body.at, sizeof *loop->body.at * (loop->body.count - 1));
			loop->body.at[0] = copy_step(k, buffer, lane, axis, loop->index, false);
		}
		vec_push(k->c->arena, &loop->body, copy_step(k, buffer, lane, axis, loop->index, true));
		own.count = 0;
		access_collect_all(k, &loop->body, &own);
	}
}

static void privatize_lanes(Kernel *k, const KStepVec *steps, const KStep **around, size_t around_count)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		if (step->kind == STEP_LOOP && step->mode == LOOP_LANES) {
			privatize(k, step, around, around_count);
			continue;
		}
		bool is_loop = step->kind == STEP_LOOP && around_count < MOST_LOOPS;
		if (is_loop)
			around[around_count] = step;
		privatize_lanes(k, &step->body, around, around_count + is_loop);
	}
}

/* The outermost of our loops are handed to threads; those of the program around them stay in order. */
static void choose_rows(const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		if (is_nested_by_schedule(step))
			step->mode = LOOP_ROWS;
		else
			choose_rows(&step->body);
	}
}

static void choose_vectors(const KStepVec *steps, bool in_lanes)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		bool is_lanes = in_lanes || (step->kind == STEP_LOOP && step->mode == LOOP_LANES);
		choose_vectors(&step->body, is_lanes);
		if (step->kind == STEP_MAP)
			step->is_vector = !is_lanes && step->domain_count > 0;
		else if (step->kind == STEP_REDUCE)
			step->is_vector = !is_lanes && !is_short_sum(step);
		else if (step->kind == STEP_SCAN)
			step->is_vector = !is_lanes;
	}
}

void schedule_lanes(Kernel *k, const KStepVec *steps, const KStep *around, const ScheduleOptions *options)
{
	const KStep *loops[MOST_LOOPS] = {around};
	choose_lanes(steps, options);
	privatize_lanes(k, steps, loops, around != NULL);
}

void schedule_shape(Kernel *k, const ScheduleOptions *options)
{
	scope_all(k, &k->steps, false);
	choose_rows(&k->steps);
	schedule_window(k, &k->steps, options);
	schedule_strip(k);
	schedule_lanes(k, &k->steps, NULL, options);
	schedule_flatten(k, options);
	schedule_merge(k, &k->steps);
	schedule_phase(k);
	choose_vectors(&k->steps, false);
}
