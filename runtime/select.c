/* SPDX-License-Identifier: MIT
 *
 * select.c: which elements of a row are the smallest, exactly.
 *
 * The threshold is searched by counting: a pass over the row counts what is not
 * above a guess, eight elements at a time. A sorted sample gives the first bracket,
 * the counts interpolate within it, and when few elements are left in between they
 * are collected and sorted. Floats are guessed at through an integer image that
 * sorts like them, so the search ends whatever the values are.
 */
#include "cmprt.h"

#include <stdlib.h>
#include <string.h>

enum { SAMPLE = 128, SAMPLE_SLACK = 12, COLLECT = 64, BLOCK = 8, DIRECT = 64 };

typedef float Floats __attribute__((vector_size(BLOCK * 4), aligned(4)));
typedef int32_t Masks __attribute__((vector_size(BLOCK * 4)));

/* ---- the integer image ---- */

static int32_t image_of(float value)
{
	int32_t bits;
	memcpy(&bits, &value, sizeof bits);
	return bits ^ (int32_t)((uint32_t)(bits >> 31) >> 1);
}

static float value_of(int32_t image)
{
	int32_t bits = image ^ (int32_t)((uint32_t)(image >> 31) >> 1);
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

/* ---- counting ---- */

static int64_t sum_of(Masks masks)
{
	int64_t sum = 0;
	for (int i = 0; i < BLOCK; i++)
		sum -= masks[i];
	return sum;
}

/* How many are <= a and how many <= b; a NaN is neither. */
static void count_two(const float *values, int64_t count, float a, float b, int64_t *up_to_a, int64_t *up_to_b)
{
	int64_t i = 0;
	*up_to_a = *up_to_b = 0;
	while (i + BLOCK <= count) {
		Masks in_a = {0}, in_b = {0};
		/* 32-bit counters are emptied in time */
		int64_t stop = count - i > (1 << 30) ? i + (1 << 30) : count;
		for (; i + BLOCK <= stop; i += BLOCK) {
			Floats v = *(const Floats *)(values + i);
			in_a += v <= a;
			in_b += v <= b;
		}
		*up_to_a += sum_of(in_a);
		*up_to_b += sum_of(in_b);
	}
	for (; i < count; i++) {
		*up_to_a += values[i] <= a;
		*up_to_b += values[i] <= b;
	}
}

static int64_t count_up_to(const float *values, int64_t count, float a)
{
	int64_t i = 0, sum = 0;
	while (i + 2 * BLOCK <= count) {
		Masks in = {0}, more = {0};
		int64_t stop = count - i > (1 << 30) ? i + (1 << 30) : count;
		for (; i + 2 * BLOCK <= stop; i += 2 * BLOCK) {
			in += *(const Floats *)(values + i) <= a;
			more += *(const Floats *)(values + i + BLOCK) <= a;
		}
		sum += sum_of(in) + sum_of(more);
	}
	for (; i < count; i++)
		sum += values[i] <= a;
	return sum;
}

/* ---- the threshold ---- */

/* count(<= below) < limit <= count(<= above), as integer images and as counts */
typedef struct Bracket {
	int32_t below, above;
	int64_t count_below, count_above;
} Bracket;

static void sort_few(float *values, int count)
{
	for (int i = 1; i < count; i++) {
		float v = values[i];
		int j = i;
		for (; j > 0 && values[j - 1] > v; j--)
			values[j] = values[j - 1];
		values[j] = v;
	}
}

static int compare_floats(const void *left, const void *right)
{
	float a = *(const float *)left, b = *(const float *)right;
	return (a > b) - (a < b);
}

/* Narrows the bracket to where a sample says that the threshold is, if the counts agree. */
static void bracket_by_sample(const float *values, int64_t count, int64_t limit, Bracket *bracket)
{
	float sample[SAMPLE];
	int size = 0;
	for (int i = 0; i < SAMPLE; i++) {
		float v = values[count / SAMPLE * i];
		if (v == v)
			sample[size++] = v;
	}
	if (size < 2 * SAMPLE_SLACK)
		return;
	qsort(sample, (size_t)size, sizeof *sample, compare_floats);
	int at = (int)((double)limit / (double)count * size);
	int low = at - SAMPLE_SLACK < 0 ? 0 : at - SAMPLE_SLACK, high = at + SAMPLE_SLACK;
	if (high >= size)
		high = size - 1;
	int64_t count_low, count_high;
	count_two(values, count, sample[low], sample[high], &count_low, &count_high);
	if (count_low < limit) {
		bracket->below = image_of(sample[low]);
		bracket->count_below = count_low;
	} else {
		bracket->above = image_of(sample[low]);
		bracket->count_above = count_low;
		return;
	}
	if (count_high >= limit) {
		bracket->above = image_of(sample[high]);
		bracket->count_above = count_high;
	} else {
		bracket->below = image_of(sample[high]);
		bracket->count_below = count_high;
	}
}

/* A guess between the two: by interpolation of values, every third time the middle of the images. */
static int32_t guess(const Bracket *b, int64_t limit, int turn)
{
	int64_t middle = ((int64_t)b->below + b->above) / 2;
	if (turn % 3 != 2) {
		float low = value_of(b->below), high = value_of(b->above);
		double part = ((double)(limit - b->count_below) - 0.5) / (double)(b->count_above - b->count_below);
		double at = (double)low + part * ((double)high - (double)low);
		if (at > (double)low && at < (double)high)
			middle = image_of((float)at);
	}
	if (middle <= b->below)
		middle = (int64_t)b->below + 1;
	if (middle >= b->above)
		middle = (int64_t)b->above - 1;
	return (int32_t)middle;
}

/* The least t with count(<= t) >= limit, where all but a few candidates are outside the bracket. */
static float pick(const float *values, int64_t count, int64_t limit, const Bracket *bracket)
{
	float few[COLLECT], below = value_of(bracket->below), above = value_of(bracket->above);
	int size = 0;
	int64_t i = 0;
	for (; i + BLOCK <= count; i += BLOCK) {
		Floats v = *(const Floats *)(values + i);
		Masks in = (v > below) & (v <= above);
		if (sum_of(in) == 0)
			continue;
		for (int j = 0; j < BLOCK; j++)
			if (in[j])
				few[size++] = values[i + j];
	}
	for (; i < count; i++)
		if (values[i] > below && values[i] <= above)
			few[size++] = values[i];
	sort_few(few, size);
	return few[limit - bracket->count_below - 1];
}

static float threshold(const float *values, int64_t count, int64_t limit, int64_t numbers)
{
	const float infinity = __builtin_inff();
	Bracket b = {image_of(-infinity) - 1, image_of(infinity), 0, numbers};
	if (count >= 4 * SAMPLE)
		bracket_by_sample(values, count, limit, &b);
	for (int turn = 0; (int64_t)b.above - b.below > 1; turn++) {
		if (b.count_above - b.count_below <= COLLECT && b.below >= image_of(-infinity))
			return pick(values, count, limit, &b);
		int32_t middle = guess(&b, limit, turn);
		int64_t up_to = count_up_to(values, count, value_of(middle));
		if (up_to < limit) {
			b.below = middle;
			b.count_below = up_to;
		} else {
			b.above = middle;
			b.count_above = up_to;
		}
	}
	return value_of(b.above);
}

/* ---- the mask ---- */

static void mark_below(const float *values, int64_t count, float least_out, uint8_t *mask)
{
	for (int64_t i = 0; i < count; i++)
		mask[i] = values[i] < least_out;
}

/* The first `ties` of those that equal t. */
static void mark_ties(const float *values, int64_t count, float t, int64_t ties, uint8_t *mask)
{
	for (int64_t i = 0; ties > 0 && i < count; i++) {
		if (values[i] != t)
			continue;
		mask[i] = 1;
		ties--;
	}
}

static void mark_numbers_and_first_nans(const float *values, int64_t count, int64_t nans, uint8_t *mask)
{
	for (int64_t i = 0; i < count; i++) {
		bool is_nan = values[i] != values[i];
		mask[i] = !is_nan || nans > 0;
		nans -= is_nan;
	}
}

/* Few elements: compare all pairs. */
static void smallest_directly(const float *values, int64_t count, int64_t limit, uint8_t *mask)
{
	for (int64_t i = 0; i < count; i++) {
		int64_t before = 0;
		bool is_nan = values[i] != values[i];
		for (int64_t j = 0; j < count; j++) {
			bool other_nan = values[j] != values[j];
			bool is_same = values[j] == values[i] || (is_nan && other_nan);
			before += values[j] < values[i] || (is_nan && !other_nan) || (is_same && j < i);
		}
		mask[i] = before < limit;
	}
}

void cmprt_smallest_f32(void *from, int64_t count, int64_t limit, void *to)
{
	const float *values = from;
	uint8_t *mask = to;
	if (limit <= 0 || limit >= count) {
		memset(mask, limit > 0, (size_t)(count > 0 ? count : 0));
		return;
	}
	if (count <= DIRECT) {
		smallest_directly(values, count, limit, mask);
		return;
	}
	int64_t numbers = count_up_to(values, count, __builtin_inff());
	if (limit >= numbers) {
		mark_numbers_and_first_nans(values, count, limit - numbers, mask);
		return;
	}
	float t = threshold(values, count, limit, numbers);
	mark_below(values, count, t, mask);
	int64_t less = 0;
	for (int64_t i = 0; i < count; i++)
		less += mask[i];
	mark_ties(values, count, t, limit - less, mask);
}
