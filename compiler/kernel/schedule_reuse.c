/* SPDX-License-Identifier: MIT
 *
 * schedule_reuse.c: a temporary lies where what it is made of lay. Where a map makes
 * each of its elements of the very same element of another buffer, and that one is
 * read by nothing afterwards, the two are one buffer; a map that only copies goes.
 * Of the inputs it is those of a kernel that may change them: one that is called once
 * for all rows, with memory of its own.
 *
 * On entry loops are made and buffers scoped; what lies inside a loop is not looked at.
 */
#include "schedule.h"

enum { MOST_LOOPS = 16 };

typedef struct Reuse {
	Kernel *k;
	KStep *top; /* at the top of the kernel, holds the map */
	KStep *map;
	KIndex *loops[MOST_LOOPS]; /* around the map, all of the schedule's making */
	uint32_t loop_count;
	KBuffer *from, *to;
} Reuse;

static bool same_shape(const KBuffer *a, const KBuffer *b)
{
	if (a->rank != b->rank || !store_equal(a->store, b->store))
		return false;
	for (uint32_t d = 0; d < a->rank; d++)
		if (!expr_same(a->extent[d], b->extent[d]))
			return false;
	return true;
}

/* By how much the subscript moves with the index; -1: not as a multiple of it. */
static int64_t stride_of(Kernel *k, KExpr *sub, const KIndex *index)
{
	int64_t stride;
	KExpr *rest;
	return !kexpr_uses(sub, index) ? 0 : kexpr_affine(k, sub, index, &stride, &rest) ? stride : -1;
}

/* Do the subscripts count the buffer through, each axis once, with indices of the map's loops and of the step alone? */
static bool counts_through(const Reuse *r, const KStep *step, const KBuffer *buffer, KExpr *const *subs)
{
	for (uint32_t d = 0; d < buffer->rank; d++) {
		int64_t extent;
		Radix radix;
		if (!kexpr_is_const(buffer->extent[d], &extent) ||
			!radix_of(r->k, step, r->loops, r->loop_count, subs[d], extent, &radix) || radix.opaque)
			return false;
	}
	return true;
}

/* Every element once: no turn of a loop or of the domain comes back to it. */
static bool writes_once(const Reuse *r)
{
	uint32_t all = r->loop_count + r->map->domain_count;
	for (uint32_t i = 0; i < all; i++) {
		const KIndex *index = i < r->loop_count ? r->loops[i] : r->map->domain[i - r->loop_count];
		uint32_t uses = 0;
		for (uint32_t d = 0; d < r->to->rank; d++)
			uses += kexpr_uses(r->map->dst_subs[d], index);
		if (uses != 1)
			return false;
	}
	return counts_through(r, r->map, r->to, r->map->dst_subs);
}

/* A write beside the map, in the same turn of its loops: does it stay with the elements of that turn? */
static bool keeps_to_turn(const Reuse *r, const Access *write)
{
	if (!write->subs || !counts_through(r, write->step, r->to, write->subs))
		return false;
	for (uint32_t i = 0; i < r->loop_count; i++)
		for (uint32_t d = 0; d < r->to->rank; d++)
			if (stride_of(r->k, r->map->dst_subs[d], r->loops[i]) != stride_of(r->k, write->subs[d], r->loops[i]))
				return false;
	return true;
}

/* Nothing but the map touches `from` from there on, and nothing `to` before it. */
static bool is_handed_on(const Reuse *r)
{
	AccessVec all = {0};
	KStep *const *tops = r->k->steps.at;
	bool is_behind = false;
	size_t i = 0;
	for (; tops[i] != r->top; i++)
		access_collect(r->k, tops[i], &all);
	if (accesses_use(&all, r->to))
		return false;
	all.count = 0;
	access_collect(r->k, r->top, &all);
	for (size_t a = 0; a < all.count; a++) {
		const Access *access = &all.at[a];
		if (access->step == r->map)
			is_behind = true;
		else if (access->buffer == r->from ||
				 (access->buffer == r->to && (!is_behind || (access->is_write && !keeps_to_turn(r, access)))))
			return false;
	}
	all.count = 0;
	while (++i < r->k->steps.count)
		access_collect(r->k, tops[i], &all);
	return !accesses_use(&all, r->from);
}

/* Is each element of `to` made of the same element of `from`, and of none else of it? */
static bool is_elementwise(const Reuse *r)
{
	AccessVec own = {0};
	bool is_read = false;
	access_collect(r->k, r->map, &own);
	for (size_t i = 0; i < own.count; i++) {
		is_read |= own.at[i].buffer == r->from;
		for (uint32_t d = 0; own.at[i].buffer == r->from && d < r->from->rank; d++)
			if (!expr_same(own.at[i].subs[d], r->map->dst_subs[d]))
				return false;
	}
	return is_read;
}

/* ---- making one buffer of two ---- */

typedef struct Renaming {
	const Reuse *r;
	KExprMap done;
} Renaming;

static KExpr *rename_loads(void *context, KExpr *e)
{
	Renaming *n = context;
	if (!e->loads)
		return e;
	KExpr *known = *kexprmap_at(&n->done, e), *made, *args[3] = {0}, *subs[K_MAX_RANK];
	if (known)
		return known;
	if (e->op == OP_LOAD) {
		for (uint32_t i = 0; i < e->buffer->rank; i++)
			subs[i] = rename_loads(n, e->subs[i]);
		made = kexpr_load_as(n->r->k, e->buffer == n->r->to ? n->r->from : e->buffer, subs, e->store);
	} else {
		for (uint32_t i = 0; i < kop_arity(e->op); i++)
			args[i] = rename_loads(n, e->args[i]);
		made = kexpr_rebuild(n->r->k, e, args);
	}
	*kexprmap_at(&n->done, e) = made;
	return made;
}

static void rename_buffer(KBuffer **buffer, const Reuse *r)
{
	if (*buffer == r->to)
		*buffer = r->from;
}

static void rename_steps(Renaming *n, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		step_rewrite(step, rename_loads, n);
		rename_buffer(&step->dst, n->r);
		rename_buffer(&step->ins[0], n->r);
		for (int o = 0; o < 3; o++)
			rename_buffer(&step->outs[o], n->r);
		rename_steps(n, &step->body);
	}
}

static void drop_buffer(Kernel *k, const KBuffer *buffer)
{
	KBufferVec *all = &k->buffers;
	for (size_t i = buffer->id; i + 1 < all->count; i++) {
		all->at[i] = all->at[i + 1];
		all->at[i]->id = (uint32_t)i;
	}
	all->count--;
}

/* The step, and loops that hold nothing else. */
static void drop_step(KStepVec *steps, const KStep *gone)
{
	size_t kept = 0;
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		bool had_body = step->body.count > 0;
		drop_step(&step->body, gone);
		if (step != gone && (step->body.count > 0 || !had_body))
			steps->at[kept++] = step;
	}
	steps->count = kept;
}

static void make_one(const Reuse *r)
{
	Kernel *k = r->k;
	Renaming n = {r, {.arena = k->c->arena}};
	bool is_copy = r->map->value->op == OP_LOAD;
	if (r->from->kind == BUFFER_INPUT)
		k->changes_inputs = true;
	else
		r->from->name = r->to->name; /* what it is from here on */
	rename_steps(&n, &k->steps);
	drop_buffer(k, r->to);
	if (is_copy)
		drop_step(&k->steps, r->map);
}

/* ---- finding them ---- */

static bool find_source(Reuse *r, bool owns_inputs)
{
	AccessVec own = {0};
	r->to = r->map->dst;
	if (r->map->kind != STEP_MAP || r->to->kind != BUFFER_TEMP || r->to->scope || r->to->rank == 0 || !writes_once(r))
		return false;
	access_collect(r->k, r->map, &own);
	for (size_t i = 0; i < own.count; i++) {
		r->from = own.at[i].buffer;
		bool is_free = r->from->kind == BUFFER_TEMP ? !r->from->scope : r->from->kind == BUFFER_INPUT && owns_inputs;
		if (is_free && r->from != r->to && same_shape(r->from, r->to) && is_elementwise(r) && is_handed_on(r))
			return true;
	}
	return false;
}

static bool reuse_in(Reuse *r, const KStepVec *steps, bool owns_inputs)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = r->map = steps->at[i];
		if (step->kind == STEP_MAP && find_source(r, owns_inputs)) {
			make_one(r);
			return true;
		}
		if (step->kind != STEP_LOOP || step->origin || r->loop_count == MOST_LOOPS)
			continue;
		r->loops[r->loop_count++] = step->index;
		bool is_done = reuse_in(r, &step->body, owns_inputs);
		r->loop_count--;
		if (is_done)
			return true;
	}
	return false;
}

void schedule_reuse(Kernel *k, bool owns_inputs)
{
	for (size_t i = 0; i < k->steps.count;) {
		KStep *top = k->steps.at[i];
		Reuse r = {.k = k, .top = top};
		KStepVec only = {.at = &top, .count = 1};
		/* what was found there may have been all of the step */
		if (!reuse_in(&r, &only, owns_inputs))
			i++;
	}
}
