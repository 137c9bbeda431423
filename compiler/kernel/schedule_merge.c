/* SPDX-License-Identifier: MIT
 *
 * schedule_merge.c: two axes of a map that every subscript takes as one.
 *
 * Where a reader works on blocks, schedule_split.c gives what makes its input the
 * axes of block and element. A map that still runs over all of the row then has two
 * axes where one would do, and the inner one may be shorter than a vector.
 */
#include "schedule.h"

typedef struct Pair {
	Kernel *k;
	const KIndex *outer, *inner;
	int64_t extent; /* of inner */
} Pair;

static bool has_either(const Pair *pair, const KExpr *e)
{
	return kexpr_uses(e, pair->outer) || kexpr_uses(e, pair->inner);
}

/* The subscript uses neither, or both as outer * extent + inner, times a constant. */
static bool takes_as_one(const Pair *pair, KExpr *sub)
{
	int64_t of_outer, of_inner;
	KExpr *rest;
	if (!has_either(pair, sub))
		return true;
	return kexpr_affine(pair->k, sub, pair->outer, &of_outer, &rest) &&
		   kexpr_affine(pair->k, rest, pair->inner, &of_inner, &rest) && of_outer == of_inner * pair->extent;
}

static bool all_take_as_one(const Pair *pair, const KExpr *e)
{
	if (!has_either(pair, e))
		return true;
	if (e->op == OP_INDEX)
		return false;
	for (uint32_t i = 0; e->op == OP_LOAD && i < e->buffer->rank; i++)
		if (!takes_as_one(pair, e->subs[i]))
			return false;
	for (int i = 0; i < 3 && e->args[i]; i++)
		if (!all_take_as_one(pair, e->args[i]))
			return false;
	return true;
}

static bool counts_up(const KIndex *index, int64_t *extent)
{
	int64_t lo;
	return index->step == 1 && kexpr_is_const(index->lo, &lo) && lo == 0 && kexpr_is_const(index->hi, extent);
}

/* The axes at - 1 and at become one, if they can; then the inner one's subscripts hold with a longer axis. */
static void merge(Kernel *k, KStep *step, uint32_t at)
{
	KIndex *outer = step->domain[at - 1], *inner = step->domain[at];
	int64_t turns;
	Pair pair = {.k = k, .outer = outer, .inner = inner};
	if (!counts_up(outer, &turns) || !counts_up(inner, &pair.extent) || !all_take_as_one(&pair, step->value))
		return;
	for (uint32_t i = 0; i < step->dst->rank; i++)
		if (!takes_as_one(&pair, step->dst_subs[i]))
			return;
	KIndex *whole = kindex_new(k, outer->name, kexpr_int(k, T_I32, 0), kexpr_int(k, T_I32, turns * pair.extent), 1);
	step_substitute(k, step, inner, kexpr_index(k, whole));
	step_substitute(k, step, outer, kexpr_int(k, T_I32, 0));
	step->domain[at - 1] = whole;
	step->domain_count--;
	for (uint32_t i = at; i < step->domain_count; i++)
		step->domain[i] = step->domain[i + 1];
}

void schedule_merge(Kernel *k, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		for (uint32_t at = step->kind == STEP_MAP ? step->domain_count : 0; at-- > 1;)
			merge(k, step, at);
		if (step->mode != LOOP_LANES)
			schedule_merge(k, &step->body);
	}
}
