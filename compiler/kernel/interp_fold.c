/* SPDX-License-Identifier: MIT
 *
 * interp_fold.c: reductions and scans over a column of values that has been
 * evaluated whole. Orders of sums and of ties are those of kernel.h, to the letter.
 */
#include "interp.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

static bool is_real(KType type)
{
	return type == T_F32 || type == T_F64;
}

static KValue apply(KOp op, KType type, KValue a, KValue b)
{
	KValue args[] = {a, b};
	return scalar_apply(op, type, type, (Store){0}, args);
}

static KValue zero(KType type)
{
	return is_real(type) ? (KValue){.real = 0} : (KValue){.integer = 0};
}

/* ---- sums ---- */

enum { SUM_PARTIALS = 64, SUM_SHORT = 256 };

static KValue sum_in_order(KType type, const KValue *values, int64_t count)
{
	KValue sum = zero(type);
	for (int64_t i = 0; i < count; i++)
		sum = apply(OP_ADD, type, sum, values[i]);
	return sum;
}

static KValue sum_axis(KType type, const KValue *values, int64_t count)
{
	if (count <= SUM_SHORT)
		return sum_in_order(type, values, count);
	KValue partial[SUM_PARTIALS];
	for (int j = 0; j < SUM_PARTIALS; j++)
		partial[j] = zero(type);
	for (int64_t i = 0; i < count; i++)
		partial[i % SUM_PARTIALS] = apply(OP_ADD, type, partial[i % SUM_PARTIALS], values[i]);
	for (int half = SUM_PARTIALS / 2; half > 0; half /= 2)
		for (int j = 0; j < half; j++)
			partial[j] = apply(OP_ADD, type, partial[j], partial[j + half]);
	return partial[0];
}

/* Overwrites values: the sum of slice i goes to place i, which no later slice reads. */
static KValue sum_axes(KType type, KValue *values, const int64_t *extents, uint32_t axes)
{
	if (axes == 1)
		return sum_axis(type, values, extents[0]);
	int64_t inner = 1;
	for (uint32_t i = 1; i < axes; i++)
		inner *= extents[i];
	for (int64_t i = 0; i < extents[0]; i++)
		values[i] = sum_axes(type, values + i * inner, extents + 1, axes - 1);
	return sum_axis(type, values, extents[0]);
}

/* ---- orders ---- */

static int compare_positions(const Ranked *a, const Ranked *b)
{
	return (a->position > b->position) - (a->position < b->position);
}

static int compare_reals(const void *left, const void *right)
{
	const Ranked *a = left, *b = right;
	bool a_nan = isnan(a->value.real), b_nan = isnan(b->value.real);
	if (a_nan != b_nan)
		return a_nan ? 1 : -1;
	if (a_nan || a->value.real == b->value.real)
		return compare_positions(a, b);
	return a->value.real < b->value.real ? -1 : 1;
}

static int compare_integers(const void *left, const void *right)
{
	const Ranked *a = left, *b = right;
	if (a->value.integer == b->value.integer)
		return compare_positions(a, b);
	return a->value.integer < b->value.integer ? -1 : 1;
}

/* Ascending; NaN last; equal ones by position. Valid until the next call. */
static const Ranked *rank_all(Interp *in, KType type, const KValue *values, size_t count)
{
	in->ranked.count = 0;
	for (size_t i = 0; i < count; i++)
		vec_push(in->arena, &in->ranked, ((Ranked){values[i], (int64_t)i}));
	Ranked *ranked = in->ranked.at;
	if (count > 0)
		qsort(ranked, count, sizeof *ranked, is_real(type) ? compare_reals : compare_integers);
	return ranked;
}

/* ---- reductions ---- */

/* The least value of a type: where a maximum starts; and the greatest. */
static KValue bound(KType type, bool is_least)
{
	if (is_real(type))
		return (KValue){.real = is_least ? -(double)INFINITY : (double)INFINITY};
	if (type == T_I32)
		return (KValue){.integer = is_least ? INT32_MIN : INT32_MAX};
	return (KValue){.integer = is_least ? INT64_MIN : INT64_MAX};
}

static KValue best_position(KType type, bool is_max, const KValue *values, size_t count)
{
	size_t best = count; /* none yet */
	for (size_t i = 0; i < count; i++) {
		if (is_real(type) && isnan(values[i].real))
			continue;
		if (best == count ||
			(is_max ? apply(OP_LT, type, values[best], values[i]) : apply(OP_LT, type, values[i], values[best]))
				.integer)
			best = i;
	}
	return (KValue){.integer = best == count ? 0 : (int64_t)best};
}

static KValue quantile(Interp *in, const KStep *step, KValue limit)
{
	KType type = step->value->type;
	size_t count = in->column.count;
	if (count == 0)
		return zero(type);
	double place = step->limit->type == T_F32 ? (double)((float)limit.real * (float)count) : limit.real * (double)count;
	place = ceil(place) - 1;
	/* a NaN limit fails the first comparison */
	size_t at = !(place > 0) ? 0 : place > (double)(count - 1) ? count - 1 : (size_t)place;
	return rank_all(in, type, in->column.at, count)[at].value;
}

KValue fold_reduce(Interp *in, const KStep *step, const int64_t *extents, KValue limit)
{
	KType type = step->value->type;
	KValue *values = in->column.at;
	size_t count = in->column.count;
	switch (step->reduce) {
	case REDUCE_SUM:
		if (count <= SUM_SHORT || step->in_order)
			return sum_in_order(type, values, (int64_t)count);
		return sum_axes(type, values, extents, step->over_count);
	case REDUCE_PROD: {
		KValue product = is_real(type) ? (KValue){.real = 1} : (KValue){.integer = 1};
		for (size_t i = 0; i < count; i++)
			product = apply(OP_MUL, type, product, values[i]);
		return product;
	}
	case REDUCE_MAX:
	case REDUCE_MIN: {
		bool is_max = step->reduce == REDUCE_MAX;
		KValue best = bound(type, is_max);
		for (size_t i = 0; i < count; i++)
			best = apply(is_max ? OP_MAX : OP_MIN, type, best, values[i]);
		return best;
	}
	case REDUCE_ANY:
	case REDUCE_ALL:
	case REDUCE_COUNT: {
		int64_t holds = 0;
		for (size_t i = 0; i < count; i++)
			holds += values[i].integer;
		bool answer = step->reduce == REDUCE_ANY ? holds > 0 : (size_t)holds == count;
		return (KValue){.integer = step->reduce == REDUCE_COUNT ? holds : answer};
	}
	case REDUCE_ARGMAX:
	case REDUCE_ARGMIN:
		return best_position(type, step->reduce == REDUCE_ARGMAX, values, count);
	case REDUCE_QUANTILE:
		return quantile(in, step, limit);
	}
	assert(!"a reduction");
	return zero(type);
}

/* ---- scans ---- */

void fold_scan(Interp *in, const KStep *step, KValue limit)
{
	KType type = step->value->type;
	size_t count = in->column.count;
	const KValue *values = in->column.at;
	in->results.count = 0;
	for (size_t i = 0; i < count; i++)
		vec_push(in->arena, &in->results, zero(type));
	KValue *results = in->results.at;
	if (step->scan == SCAN_PREFIX) {
		const Ranked *ranked = step->key ? rank_all(in, step->key->type, in->keys.at, count) : NULL;
		KValue sum = zero(type);
		for (size_t i = 0; i < count; i++) {
			size_t at = ranked ? (size_t)ranked[i].position : i;
			sum = apply(OP_ADD, type, sum, values[at]);
			results[at] = sum;
		}
		return;
	}
	const Ranked *ranked = rank_all(in, type, values, count);
	for (size_t i = 0; i < count; i++) {
		size_t at = (size_t)ranked[i].position;
		if (step->scan == SCAN_SORT)
			results[i] = ranked[i].value;
		else if (step->scan == SCAN_RANK)
			results[at].integer = (int64_t)i;
		else
			results[at].integer = (int64_t)i < limit.integer;
	}
}

KType fold_type(const KStep *step)
{
	if (step->kind == STEP_SCAN)
		return step->scan == SCAN_RANK ? T_I32 : step->scan == SCAN_SMALLEST ? T_BOOL : step->value->type;
	if (step->kind == STEP_REDUCE) {
		if (step->reduce == REDUCE_COUNT || step->reduce == REDUCE_ARGMAX || step->reduce == REDUCE_ARGMIN)
			return T_I32;
	}
	return step->value->type;
}
