/* SPDX-License-Identifier: MIT
 *
 * schedule_flatten.c: more turns for lane loops. A loop over blocks that holds a
 * loop in lanes over their parts is cut before and after it, and the two become one
 * loop in lanes over the parts of all blocks: eight parts of one block do not fill
 * a wide vector, nor hide the time that one operation waits for another.
 *
 * On entry buffers are scoped and lanes chosen. What the parts of a cut loop hand to
 * each other gets the loop's axis back and lives in the loop around it.
 */
#include "schedule.h"

#include <string.h>

enum { MOST_BYTES = 1 << 20 };

typedef struct Flattener {
	Kernel *k;
	const ScheduleOptions *options;
	KStep *loop;     /* the one that is cut */
	KStep *around;   /* the loop that holds it */
	int64_t turns;   /* of loop */
	KBuffer *buffer; /* being expanded */
	KExprMap done;
} Flattener;

static bool counts_from_zero(const KIndex *index, int64_t *turns)
{
	int64_t lo;
	return index->step == 1 && kexpr_is_const(index->lo, &lo) && lo == 0 && kexpr_is_const(index->hi, turns) &&
		   *turns > 0;
}

static bool is_lanes(const KStep *step)
{
	int64_t turns;
	return step->kind == STEP_LOOP && step->mode == LOOP_LANES && counts_from_zero(step->index, &turns);
}

/* ---- buffers between the parts ---- */

static KExpr *with_axis(void *context, KExpr *e)
{
	Flattener *f = context;
	if (!e->loads)
		return e;
	KExpr *known = *kexprmap_at(&f->done, e), *args[3] = {0}, *subs[K_MAX_RANK];
	if (known)
		return known;
	KExpr *made;
	if (e->op == OP_LOAD) {
		bool is_it = e->buffer == f->buffer;
		uint32_t own = e->buffer->rank - is_it; /* it has its new axis already */
		if (is_it)
			subs[0] = kexpr_index(f->k, f->loop->index);
		for (uint32_t i = 0; i < own; i++)
			subs[i + is_it] = with_axis(f, e->subs[i]);
		made = kexpr_load_as(f->k, e->buffer, subs, e->store);
	} else {
		for (uint32_t i = 0; i < kop_arity(e->op); i++)
			args[i] = with_axis(f, e->args[i]);
		made = kexpr_rebuild(f->k, e, args);
	}
	*kexprmap_at(&f->done, e) = made;
	return made;
}

static void add_axis(Flattener *f, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		KExpr **fields[] = {&step->value, &step->key, &step->limit, &step->minuend};
		for (size_t n = 0; n < sizeof fields / sizeof *fields; n++)
			if (*fields[n])
				*fields[n] = with_axis(f, *fields[n]);
		if (step->dst == f->buffer) {
			KExpr **subs = arena_array(f->k->c->arena, KExpr *, f->buffer->rank);
			subs[0] = kexpr_index(f->k, f->loop->index);
			memcpy(subs + 1, step->dst_subs, sizeof *subs * (f->buffer->rank - 1));
			step->dst_subs = subs;
		}
		add_axis(f, &step->body);
	}
}

static void expand(Flattener *f, KBuffer *buffer)
{
	memmove(buffer->extent + 1, buffer->extent, sizeof *buffer->extent * buffer->rank);
	buffer->extent[0] = kexpr_int(f->k, T_I32, f->turns);
	buffer->rank++;
	buffer->scope = f->around;
	f->buffer = buffer;
	f->done = (KExprMap){.arena = f->k->c->arena};
	add_axis(f, &f->loop->body);
}

/* Bytes that a buffer of the loop has when it is there for all turns; more than can be if that is not known. */
static int64_t expanded_bytes(const Flattener *f, const KBuffer *buffer)
{
	int64_t bytes = f->turns * store_bytes(buffer->store), extent;
	if (buffer->rank == K_MAX_RANK)
		return INT64_MAX;
	for (uint32_t i = 0; i < buffer->rank; i++) {
		if (!kexpr_is_const(buffer->extent[i], &extent) || extent > MOST_BYTES || bytes > MOST_BYTES)
			return INT64_MAX;
		bytes *= extent;
	}
	return bytes;
}

static bool may_expand(const Flattener *f)
{
	for (size_t i = 0; i < f->k->buffers.count; i++) {
		const KBuffer *buffer = f->k->buffers.at[i];
		if (buffer->scope == f->loop && expanded_bytes(f, buffer) > MOST_BYTES)
			return false;
	}
	return true;
}

static void expand_all(Flattener *f)
{
	size_t count = f->k->buffers.count;
	for (size_t i = 0; i < count; i++)
		if (f->k->buffers.at[i]->scope == f->loop)
			expand(f, f->k->buffers.at[i]);
}

/* ---- the cut ---- */

/* The lane loop over the parts of all blocks: f counts them, block f // parts, part f % parts. */
static void widen(Flattener *f, KStep *lanes)
{
	int64_t parts = 1;
	counts_from_zero(lanes->index, &parts);
	Kernel *k = f->k;
	KIndex *all = kindex_new(k, lanes->index->name, kexpr_int(k, T_I32, 0), kexpr_int(k, T_I32, f->turns * parts), 1);
	KExpr *at = kexpr_index(k, all), *by = kexpr_int(k, T_I32, parts);
	for (size_t i = 0; i < lanes->body.count; i++) {
		step_substitute(k, lanes->body.at[i], lanes->index, kexpr_binary(k, OP_IMOD, at, by));
		step_substitute(k, lanes->body.at[i], f->loop->index, kexpr_binary(k, OP_IDIV, at, by));
	}
	lanes->index = all;
	lanes->lanes = schedule_lanes_for(lanes, f->turns * parts, f->options);
}

/* The steps [from, to) of the loop as a loop of their own; it may now run in lanes itself. */
static void add_part(Flattener *f, size_t from, size_t to, KStepVec *out)
{
	Kernel *k = f->k;
	KIndex *index = kindex_new(k, f->loop->index->name, f->loop->index->lo, f->loop->index->hi, 1);
	KStep *part = kstep_loop(k, index, LOOP_SEQUENTIAL, 0);
	part->loc = f->loop->loc;
	for (size_t i = from; i < to; i++) {
		step_substitute(k, f->loop->body.at[i], f->loop->index, kexpr_index(k, index));
		vec_push(k->c->arena, &part->body, f->loop->body.at[i]);
	}
	KStepVec one = {0};
	vec_push(k->c->arena, &one, part);
	schedule_lanes(k, &one, f->around, f->options);
	vec_push(k->c->arena, out, part);
}

static void cut(Flattener *f, KStepVec *out)
{
	Arena *arena = f->k->c->arena;
	KStepVec *body = &f->loop->body;
	size_t from = 0;
	expand_all(f);
	for (size_t i = 0; i < body->count; i++) {
		if (!is_lanes(body->at[i]))
			continue;
		if (i > from)
			add_part(f, from, i, out);
		widen(f, body->at[i]);
		vec_push(arena, out, body->at[i]);
		from = i + 1;
	}
	if (body->count > from)
		add_part(f, from, body->count, out);
}

static bool holds_lanes(const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		if (is_lanes(steps->at[i]))
			return true;
	return false;
}

/* ---- lanes around a loop ---- */

/* A loop in lanes that holds one loop of ours and nothing else runs over the turns of both. */
static void merge_inner(Kernel *k, KStep *lanes, const ScheduleOptions *options)
{
	int64_t outer, inner;
	KStep *loop = lanes->body.count == 1 ? lanes->body.at[0] : NULL;
	if (!loop || loop->kind != STEP_LOOP || loop->origin || loop->mode != LOOP_SEQUENTIAL ||
		!counts_from_zero(lanes->index, &outer) || !counts_from_zero(loop->index, &inner))
		return;
	KIndex *all = kindex_new(k, lanes->index->name, kexpr_int(k, T_I32, 0), kexpr_int(k, T_I32, outer * inner), 1);
	KExpr *at = kexpr_index(k, all), *by = kexpr_int(k, T_I32, inner);
	for (size_t i = 0; i < loop->body.count; i++) {
		step_substitute(k, loop->body.at[i], loop->index, kexpr_binary(k, OP_IMOD, at, by));
		step_substitute(k, loop->body.at[i], lanes->index, kexpr_binary(k, OP_IDIV, at, by));
	}
	for (size_t i = 0; i < k->buffers.count; i++)
		if (k->buffers.at[i]->scope == loop)
			k->buffers.at[i]->scope = lanes;
	lanes->index = all;
	lanes->body = loop->body;
	lanes->lanes = schedule_lanes_for(lanes, outer * inner, options);
}

static void flatten_in(Kernel *k, KStepVec *steps, KStep *around, const ScheduleOptions *options)
{
	KStepVec out = {0};
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		Flattener f = {.k = k, .options = options, .loop = step, .around = around};
		if (step->kind == STEP_LOOP && step->mode != LOOP_LANES)
			flatten_in(k, &step->body, step, options);
		bool is_ours = step->kind == STEP_LOOP && step->origin == NULL && step->mode == LOOP_SEQUENTIAL;
		if (is_ours && around && holds_lanes(&step->body) && counts_from_zero(step->index, &f.turns) && f.turns > 1 &&
			may_expand(&f))
			cut(&f, &out);
		else
			vec_push(k->c->arena, &out, step);
	}
	for (size_t i = 0; i < out.count; i++)
		if (is_lanes(out.at[i]))
			merge_inner(k, out.at[i], options);
	*steps = out;
}

void schedule_flatten(Kernel *k, const ScheduleOptions *options)
{
	flatten_in(k, &k->steps, NULL, options);
}
