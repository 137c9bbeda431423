/* SPDX-License-Identifier: MIT
 *
 * schedule_split.c: w[o, i] written over whole rows and read as w[o, g*32 + k]
 * cannot share a loop over g until the writer has one. So the writer's i becomes
 * g*32 + k, last readers first, and where all accesses of a buffer's axis are cut
 * at the same strides the axis itself is cut: w[o, g, k].
 */
#include "schedule.h"

#include <string.h>

static bool whole_extent(const KIndex *index, int64_t *extent)
{
	int64_t lo;
	return index->step == 1 && kexpr_is_const(index->lo, &lo) && lo == 0 && kexpr_is_const(index->hi, extent);
}

static void insert_digit(Radix *r, const KIndex *index, int64_t stride, int64_t extent)
{
	uint32_t at = r->count++;
	for (; at > 0 && r->stride[at - 1] < stride; at--) {
		r->stride[at] = r->stride[at - 1];
		r->extent[at] = r->extent[at - 1];
		r->index[at] = r->index[at - 1];
	}
	r->stride[at] = stride;
	r->extent[at] = extent;
	r->index[at] = index;
}

static bool collect_digits(Kernel *k, KExpr *sub, KIndex *const *indices, uint32_t count, Radix *r, KExpr **rest)
{
	*rest = sub;
	for (uint32_t i = 0; i < count; i++) {
		int64_t stride, extent;
		if (!kexpr_uses(*rest, indices[i]))
			continue;
		if (!kexpr_affine(k, *rest, indices[i], &stride, rest) || stride < 1 || !whole_extent(indices[i], &extent) ||
			r->count == MAX_DIGITS)
			return false;
		insert_digit(r, indices[i], stride, extent);
	}
	return true;
}

/* The indices that digits are sought of. */
typedef struct Known {
	KIndex *const *lists[3];
	uint32_t counts[3];
} Known;

static bool is_known(const Known *known, const KIndex *index)
{
	for (int n = 0; n < 3; n++)
		for (uint32_t i = 0; i < known->counts[n]; i++)
			if (known->lists[n][i] == index)
				return true;
	return false;
}

/* It reads a buffer, or the index of a loop of the program. */
static bool is_foreign(const Known *known, const KExpr *e)
{
	if (e->loads || (e->op == OP_INDEX && !is_known(known, e->index)))
		return true;
	for (uint32_t i = 0; i < kop_arity(e->op); i++)
		if (is_foreign(known, e->args[i]))
			return true;
	return false;
}

/* 0 <= e < limit, as a clamp says, min(max(x, 0), c), or the bounds of an index */
static bool is_below(const KExpr *e, int64_t limit)
{
	int64_t low, high;
	if (e->op == OP_INDEX)
		return kexpr_is_const(e->index->lo, &low) && low >= 0 && kexpr_is_const(e->index->hi, &high) && high <= limit;
	return e->op == OP_MIN && e->args[0]->op == OP_MAX && kexpr_is_const(e->args[0]->args[1], &low) && low == 0 &&
		   kexpr_is_const(e->args[1], &high) && high < limit;
}

/* sub without its foreign terms; those go to *foreign, NULL if there are none. */
static KExpr *apart_from_foreign(Kernel *k, const Known *known, KExpr *sub, KExpr **foreign)
{
	if (!is_foreign(known, sub))
		return sub;
	if (sub->op != OP_ADD) {
		*foreign = *foreign ? kexpr_binary(k, OP_ADD, *foreign, sub) : sub;
		return kexpr_int(k, sub->type, 0);
	}
	KExpr *left = apart_from_foreign(k, known, sub->args[0], foreign);
	return kexpr_binary(k, OP_ADD, left, apart_from_foreign(k, known, sub->args[1], foreign));
}

bool radix_of(
	Kernel *k, const KStep *step, KIndex *const *loops, uint32_t loop_count, KExpr *sub, int64_t extent, Radix *r)
{
	Known known = {{loops, step->domain, step->over}, {loop_count, step->domain_count, step->over_count}};
	KExpr *foreign = NULL, *rest = apart_from_foreign(k, &known, sub, &foreign);
	int64_t zero;
	*r = (Radix){0};
	for (int n = 0; n < 3; n++)
		if (!collect_digits(k, rest, known.lists[n], known.counts[n], r, &rest))
			return false;
	if (!kexpr_is_const(rest, &zero) || zero != 0)
		return false;
	if (foreign) {
		int64_t least = r->count ? r->stride[r->count - 1] : extent;
		if (r->count == MAX_DIGITS || !is_below(foreign, least))
			return false;
		insert_digit(r, NULL, 1, least);
		r->opaque = foreign;
	} else if (!r->count) {
		return false;
	}
	int64_t covered = 1;
	for (uint32_t d = r->count; d-- > 0;) {
		if (r->stride[d] != covered)
			return false;
		covered *= r->extent[d];
	}
	return covered == extent;
}

/* ---- cutting an index of a step ---- */

static uint32_t find_index(KIndex *const *indices, uint32_t count, const KIndex *index)
{
	uint32_t i = 0;
	while (i < count && indices[i] != index)
		i++;
	return i;
}

/* The step's domain index becomes inner extents' digits: outermost first. */
static void cut_index(Kernel *k, KStep *step, KIndex *index, const int64_t *extents, uint32_t count)
{
	uint32_t at = find_index(step->domain, step->domain_count, index);
	KIndex **domain = arena_array(k->c->arena, KIndex *, step->domain_count + count);
	memcpy(domain, step->domain, sizeof *domain * at);
	for (uint32_t i = 0; i < count; i++)
		domain[at + i] = kindex_new(k, index->name, kexpr_int(k, T_I32, 0), kexpr_int(k, T_I32, extents[i]), 1);
	KExpr *whole = kexpr_int(k, T_I32, 0);
	int64_t stride = 1;
	for (uint32_t i = count; i-- > 0;) {
		KExpr *digit = kexpr_binary(k, OP_MUL, kexpr_index(k, domain[at + i]), kexpr_int(k, T_I32, stride));
		whole = kexpr_binary(k, OP_ADD, digit, whole);
		stride *= extents[i];
	}
	memcpy(domain + at + count, step->domain + at + 1, sizeof *domain * (step->domain_count - at - 1));
	step->domain = domain;
	step->domain_count += count - 1;
	step_substitute(k, step, index, whole);
}

/* Cuts the digit of `own` that a stride of `wanted` falls into, where it divides; true if it did. */
static bool refine(Kernel *k, KStep *step, const Radix *own, const Radix *wanted)
{
	for (uint32_t d = 0; d < own->count; d++) {
		int64_t low = own->stride[d], high = low * own->extent[d], inner[MAX_DIGITS], extents[MAX_DIGITS];
		uint32_t at = find_index(step->domain, step->domain_count, own->index[d]), cuts = 0;
		if (at == step->domain_count)
			continue; /* folded or scanned over: its order is the step's own */
		int64_t last = high;
		for (uint32_t w = 0; w < wanted->count && cuts + 1 < MAX_DIGITS; w++) {
			int64_t stride = wanted->stride[w];
			if (stride <= low || stride >= high || last % stride || stride % low)
				continue;
			inner[cuts++] = stride;
			last = stride;
		}
		if (!cuts)
			continue;
		int64_t above = high;
		for (uint32_t c = 0; c < cuts; c++) {
			extents[c] = above / inner[c];
			above = inner[c];
		}
		extents[cuts] = above / low;
		cut_index(k, step, step->domain[at], extents, cuts + 1);
		return true;
	}
	return false;
}

/* Could the reader share a loop over its outermost digit at all? Not if it folds or scans over it. */
static bool is_led(const KStep *step, const Radix *r)
{
	return find_index(step->domain, step->domain_count, r->index[0]) < step->domain_count;
}

/* Cuts what this step writes as its readers want it. */
static bool cut_for_readers(Kernel *k, KStep *step, const AccessVec *all)
{
	if (!step->dst || step->dst->kind != BUFFER_TEMP || step->is_contraction)
		return false;
	for (uint32_t d = 0; d < step->dst->rank; d++) {
		int64_t extent;
		Radix own, wanted;
		if (!kexpr_is_const(step->dst->extent[d], &extent) ||
			!radix_of(k, step, NULL, 0, step->dst_subs[d], extent, &own))
			continue;
		for (size_t i = 0; i < all->count; i++) {
			const Access *read = &all->at[i];
			if (read->buffer != step->dst || read->is_write || !read->subs)
				continue;
			if (radix_of(k, read->step, NULL, 0, read->subs[d], extent, &wanted) && wanted.count > 1 &&
				is_led(read->step, &wanted) && refine(k, step, &own, &wanted))
				return true;
		}
	}
	return false;
}

static bool cut_last_first(Kernel *k, const KStepVec *steps, const AccessVec *all)
{
	for (size_t i = steps->count; i-- > 0;) {
		if (cut_last_first(k, &steps->at[i]->body, all) || cut_for_readers(k, steps->at[i], all))
			return true;
	}
	return false;
}

/* ---- cutting an axis of a buffer ---- */

/* The strides that every access of axis d has; false if an access is no number in mixed radix. */
static bool common_strides(Kernel *k, const KBuffer *buffer, uint32_t d, const AccessVec *all, Radix *common)
{
	int64_t extent;
	bool is_first = true;
	if (!kexpr_is_const(buffer->extent[d], &extent))
		return false;
	for (size_t i = 0; i < all->count; i++) {
		Radix r;
		if (all->at[i].buffer != buffer)
			continue;
		if (!all->at[i].subs || !radix_of(k, all->at[i].step, NULL, 0, all->at[i].subs[d], extent, &r))
			return false;
		if (is_first) {
			*common = r;
			is_first = false;
			continue;
		}
		uint32_t kept = 0;
		for (uint32_t c = 0; c < common->count; c++)
			for (uint32_t j = 0; j < r.count; j++)
				if (r.stride[j] == common->stride[c])
					common->stride[kept++] = common->stride[c];
		common->count = kept;
	}
	return !is_first && common->count > 1;
}

/* The part of sub made of digits with strides in [low, high), divided by low. */
static KExpr *part_of(Kernel *k, const Radix *r, int64_t low, int64_t high)
{
	KExpr *part = kexpr_int(k, T_I32, 0);
	for (uint32_t d = 0; d < r->count; d++) {
		if (r->stride[d] < low || r->stride[d] >= high)
			continue;
		KExpr *digit = r->index[d] ? kexpr_index(k, (KIndex *)r->index[d]) : r->opaque;
		digit = kexpr_binary(k, OP_MUL, digit, kexpr_int(k, T_I32, r->stride[d] / low));
		part = kexpr_binary(k, OP_ADD, part, digit);
	}
	return part;
}

typedef struct Cutter {
	Kernel *k;
	KBuffer *buffer;
	uint32_t axis;
	int64_t extent;
	const Radix *common;
	const KStep *step;
} Cutter;

static KExpr **cut_subs(Cutter *cut, KExpr **subs)
{
	Radix r;
	uint32_t rank = cut->buffer->rank, n = cut->common->count;
	KExpr **out = arena_array(cut->k->c->arena, KExpr *, rank + n);
	radix_of(cut->k, cut->step, NULL, 0, subs[cut->axis], cut->extent, &r);
	memcpy(out, subs, sizeof *out * cut->axis);
	for (uint32_t c = 0; c < n; c++)
		out[cut->axis + c] =
			part_of(cut->k, &r, cut->common->stride[c], c ? cut->common->stride[c - 1] : cut->extent + 1);
	memcpy(out + cut->axis + n, subs + cut->axis + 1, sizeof *out * (rank - cut->axis - 1));
	return out;
}

static KExpr *cut_loads(void *context, KExpr *e)
{
	Cutter *cut = context;
	if (!e->loads)
		return e;
	KExpr *copy = arena_new_of(cut->k->c->arena, KExpr);
	*copy = *e;
	for (int i = 0; i < 3 && e->args[i]; i++)
		copy->args[i] = cut_loads(cut, e->args[i]);
	if (e->op == OP_LOAD && e->buffer == cut->buffer) {
		copy->subs = cut_subs(cut, e->subs);
	} else if (e->op == OP_LOAD) {
		copy->subs = arena_array(cut->k->c->arena, KExpr *, e->buffer->rank);
		for (uint32_t i = 0; i < e->buffer->rank; i++)
			copy->subs[i] = cut_loads(cut, e->subs[i]);
	}
	return copy;
}

static void cut_steps(Cutter *cut, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		cut->step = step;
		KExpr **fields[] = {&step->value, &step->key, &step->limit, &step->minuend};
		for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
			if (*fields[f])
				*fields[f] = cut_loads(cut, *fields[f]);
		if (step->dst == cut->buffer)
			step->dst_subs = cut_subs(cut, step->dst_subs);
		cut_steps(cut, &step->body);
	}
}

static bool cut_axis(Kernel *k, KBuffer *buffer, uint32_t d, const AccessVec *all)
{
	Radix common = {0};
	int64_t extent;
	if (!common_strides(k, buffer, d, all, &common) || buffer->rank + common.count - 1 > K_MAX_RANK)
		return false;
	kexpr_is_const(buffer->extent[d], &extent);
	Cutter cut = {k, buffer, d, extent, &common, NULL};
	cut_steps(&cut, &k->steps);
	memmove(buffer->extent + d + common.count, buffer->extent + d + 1, sizeof *buffer->extent * (buffer->rank - d - 1));
	for (uint32_t c = 0; c < common.count; c++)
		buffer->extent[d + c] = kexpr_int(k, T_I32, (c ? common.stride[c - 1] : extent) / common.stride[c]);
	buffer->rank += common.count - 1;
	return true;
}

void schedule_split(Kernel *k)
{
	for (bool changed = true; changed;) {
		AccessVec all = {0};
		access_collect_all(k, &k->steps, &all);
		changed = cut_last_first(k, &k->steps, &all);
	}
	AccessVec all = {0};
	access_collect_all(k, &k->steps, &all);
	for (size_t b = 0; b < k->buffers.count; b++) {
		KBuffer *buffer = k->buffers.at[b];
		for (uint32_t d = 0; buffer->kind == BUFFER_TEMP && d < buffer->rank; d++) {
			if (!cut_axis(k, buffer, d, &all))
				continue;
			all.count = 0;
			access_collect_all(k, &k->steps, &all);
			d = UINT32_MAX; /* from the first axis again: digits may be numbers themselves */
		}
	}
}
