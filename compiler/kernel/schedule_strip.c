/* SPDX-License-Identifier: MIT
 *
 * schedule_strip.c: buffers of which each turn of a loop of the program has a strip of
 * its own, as the errors of the columns in hand, are as wide as a strip. What a turn
 * touches lies in [b, b + width), b being the loop's index and width at most its step,
 * so turns share nothing, and nothing outlives one.
 *
 * On entry buffers are scoped, windows are made; on exit such a buffer, where it is of
 * the whole kernel and touched in that loop only, has one axis of the strip's width.
 */
#include "schedule.h"

#include <string.h>

typedef struct Strip {
	Kernel *k;
	KStep *loop;
	KBuffer *buffer;
	uint32_t axis;
	int64_t width;
	KExprMap done;
} Strip;

static bool measure_axis(Strip *s, const AccessVec *touches, KExpr *base)
{
	int64_t extent, least, most;
	s->width = 0;
	if (!kexpr_is_const(s->buffer->extent[s->axis], &extent))
		return false;
	for (size_t i = 0; i < touches->count; i++) {
		const Access *touch = &touches->at[i];
		if (touch->buffer != s->buffer)
			continue;
		if (!touch->subs || !kexpr_bound(touch->subs[s->axis], base, false, &least) || least < 0 ||
			!kexpr_bound(touch->subs[s->axis], base, true, &most) || most >= s->loop->index->step)
			return false;
		s->width = most + 1 > s->width ? most + 1 : s->width;
	}
	return s->width > 0 && s->width < extent;
}

static KExpr **subs_in(const Strip *s, KExpr *const *subs)
{
	Kernel *k = s->k;
	int64_t factor;
	KExpr *rest, *sub = subs[s->axis], **made = arena_array(k->c->arena, KExpr *, s->buffer->rank);
	memcpy(made, subs, sizeof *made * s->buffer->rank);
	if (kexpr_affine(k, sub, s->loop->index, &factor, &rest) && factor == 1)
		made[s->axis] = kexpr_cast(k, sub->type, rest);
	else
		made[s->axis] = kexpr_binary(k, OP_SUB, sub, kexpr_cast(k, sub->type, kexpr_index(k, s->loop->index)));
	return made;
}

static KExpr *move_loads(void *context, KExpr *e)
{
	Strip *s = context;
	if (!e->loads)
		return e;
	KExpr *known = *kexprmap_at(&s->done, e), *made, *args[3] = {0}, *subs[K_MAX_RANK];
	if (known)
		return known;
	if (e->op == OP_LOAD) {
		for (uint32_t i = 0; i < e->buffer->rank; i++)
			subs[i] = move_loads(s, e->subs[i]);
		made = kexpr_load_as(s->k, e->buffer, e->buffer == s->buffer ? subs_in(s, subs) : subs, e->store);
	} else {
		for (uint32_t i = 0; i < kop_arity(e->op); i++)
			args[i] = move_loads(s, e->args[i]);
		made = kexpr_rebuild(s->k, e, args);
	}
	*kexprmap_at(&s->done, e) = made;
	return made;
}

static void move_touches(Strip *s, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		step_rewrite(step, move_loads, s);
		if (step->dst == s->buffer)
			step->dst_subs = subs_in(s, step->dst_subs);
		move_touches(s, &step->body);
	}
}

static size_t count_touches(const AccessVec *touches, const KBuffer *buffer)
{
	size_t count = 0;
	for (size_t i = 0; i < touches->count; i++)
		count += touches->at[i].buffer == buffer;
	return count;
}

static void strip_buffers(Kernel *k, KStep *loop)
{
	AccessVec all = {0}, own = {0};
	access_collect_all(k, &k->steps, &all);
	access_collect(k, loop, &own);
	for (size_t b = 0; b < k->buffers.count; b++) {
		KBuffer *buffer = k->buffers.at[b];
		size_t touches = count_touches(&own, buffer);
		if (buffer->kind != BUFFER_TEMP || buffer->scope || !touches || touches < count_touches(&all, buffer))
			continue;
		Strip s = {.k = k, .loop = loop, .buffer = buffer, .done = {.arena = k->c->arena}};
		while (s.axis < buffer->rank && !measure_axis(&s, &own, kexpr_index(k, loop->index)))
			s.axis++;
		if (s.axis == buffer->rank)
			continue;
		buffer->extent[s.axis] = kexpr_int(k, T_I32, s.width);
		move_touches(&s, &loop->body);
		all.count = own.count = 0;
		access_collect_all(k, &k->steps, &all);
		access_collect(k, loop, &own);
	}
}

void schedule_strip(Kernel *k)
{
	for (size_t i = 0; i < k->steps.count; i++)
		if (k->steps.at[i]->kind == STEP_LOOP && k->steps.at[i]->origin)
			strip_buffers(k, k->steps.at[i]);
}
