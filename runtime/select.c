/* SPDX-License-Identifier: MIT
 *
 * select.c: which elements of a row are the smallest, exactly.
 *
 * The threshold is searched by counting: a pass over the row counts, for four
 * guesses at once, what is not above them. A sample gives the first guesses, then
 * the counts interpolate, and the last steps go from one element of the row to the
 * next. Floats are guessed at through an integer image that sorts like them, so the
 * search ends whatever the values are. The passes are plain loops, made to be
 * vectorized, for several CPUs where the compiler can choose among them at run time.
 */
#include "cmprt.h"

#include <math.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_CPU
#endif

enum { SAMPLE = 32, GUESSES = 4, NEAR = 1, BLOCK = 1024, DIRECT = 64 };

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

/* ---- passes over the row ---- */

/* counts[j]: how many are <= limits[j]; a NaN is not. Blocks keep the counters within 32 bits. */
FOR_EACH_CPU static void count_up_to(const float *values, int64_t count, const float *limits, int64_t *counts)
{
	const float a = limits[0], b = limits[1], c = limits[2], d = limits[3];
	for (int j = 0; j < GUESSES; j++)
		counts[j] = 0;
	for (int64_t from = 0; from < count; from += BLOCK) {
		const float *block = values + from;
		int size = count - from < BLOCK ? (int)(count - from) : BLOCK;
		int32_t in_a = 0, in_b = 0, in_c = 0, in_d = 0;
		for (int i = 0; i < size; i++) {
			in_a += block[i] <= a;
			in_b += block[i] <= b;
			in_c += block[i] <= c;
			in_d += block[i] <= d;
		}
		counts[0] += in_a;
		counts[1] += in_b;
		counts[2] += in_c;
		counts[3] += in_d;
	}
}

/* The least image above a: the nearest one, counted upwards from a and around. (Integers, since a compiler may not
 * reorder float minima.) */
FOR_EACH_CPU static int32_t next_above(const float *values, int64_t count, int32_t a)
{
	uint32_t least = UINT32_MAX, from = (uint32_t)a + 1;
	for (int64_t i = 0; i < count; i++) {
		int32_t bits;
		memcpy(&bits, &values[i], sizeof bits);
		uint32_t away = (uint32_t)(bits ^ (int32_t)((uint32_t)(bits >> 31) >> 1)) - from;
		least = away < least ? away : least;
	}
	return (int32_t)(from + least);
}

static int64_t count_below(const float *values, int64_t count, float t)
{
	int64_t below = 0;
	for (int64_t i = 0; i < count; i++)
		below += values[i] < t;
	return below;
}

FOR_EACH_CPU static void mark_up_to(const float *values, int64_t count, float a, uint8_t *mask)
{
	for (int64_t i = 0; i < count; i++)
		mask[i] = values[i] <= a;
}

/* All below t, and the first `ties` of those that equal it. */
static void mark_with_ties(const float *values, int64_t count, float t, int64_t ties, uint8_t *mask)
{
	for (int64_t i = 0; i < count; i++) {
		bool is_tie = values[i] == t;
		mask[i] = values[i] < t || (is_tie && ties > 0);
		ties -= is_tie;
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

/* ---- the threshold ---- */

/* count(<= below) < limit <= count(<= above), as integer images and as counts */
typedef struct Bracket {
	int32_t below, above;
	int64_t count_below, count_above;
} Bracket;

/* Takes what the counts of some guesses say. */
static void narrow(Bracket *b, int64_t limit, const float *guesses, const int64_t *counts)
{
	for (int j = 0; j < GUESSES; j++) {
		int32_t at = image_of(guesses[j]);
		if (counts[j] < limit && at > b->below) {
			b->below = at;
			b->count_below = counts[j];
		} else if (counts[j] >= limit && at < b->above) {
			b->above = at;
			b->count_above = counts[j];
		}
	}
}

/* The elements of a sample whose ranks are nearest to where the limit should be, and farther on both sides. */
static bool guess_by_sample(const float *values, int64_t count, int64_t limit, float *guesses)
{
	static const float away[GUESSES] = {-5, -1.5f, 1.5f, 5};
	float sample[SAMPLE];
	int size = 0;
	for (int i = 0; i < SAMPLE; i++) {
		float v = values[count / SAMPLE * i + i];
		if (v == v)
			sample[size++] = v;
	}
	if (size < SAMPLE / 2)
		return false;
	for (int i = 1; i < size; i++) {
		float v = sample[i];
		int j = i;
		for (; j > 0 && sample[j - 1] > v; j--)
			sample[j] = sample[j - 1];
		sample[j] = v;
	}
	for (int j = 0; j < GUESSES; j++) {
		int rank = (int)((float)limit / (float)count * (float)size + away[j]);
		guesses[j] = sample[rank < 0 ? 0 : rank < size ? rank : size - 1];
	}
	return true;
}

/* Four values inside of the bracket: near to where the counts put the limit if the elements between lie evenly, as
 * far from it as they then stray; every third time fractions of the images. */
static void guess_between(const Bracket *b, int64_t limit, int turn, float *guesses)
{
	static const float away[GUESSES] = {-2, -0.5f, 0.5f, 2};
	float low = value_of(b->below), high = value_of(b->above);
	double between = (double)(b->count_above - b->count_below);
	double part = ((double)(limit - b->count_below) - 0.5) / between, stray = sqrt(part * (1 - part) / between);
	for (int j = 0; j < GUESSES; j++) {
		int64_t at = b->below + ((int64_t)b->above - b->below) * (j + 1) / (GUESSES + 1);
		double value = (double)low + (part + stray * (double)away[j]) * ((double)high - (double)low);
		if (turn % 3 != 2 && value > (double)low && value < (double)high)
			at = image_of((float)value);
		at = at <= b->below ? (int64_t)b->below + 1 : at;
		at = at >= b->above ? (int64_t)b->above - 1 : at;
		guesses[j] = value_of((int32_t)at);
	}
}

/* The least t with count(<= t) >= limit, and that count; `numbers` of the values are no NaN. */
static float threshold(const float *values, int64_t count, int64_t limit, Bracket *b, int64_t *up_to)
{
	int64_t counts[GUESSES];
	for (int turn = 0; (int64_t)b->above - b->below > 1; turn++) {
		float guesses[GUESSES];
		bool is_near = limit - b->count_below <= NEAR && b->below >= image_of(-INFINITY);
		if (is_near) {
			float next = value_of(next_above(values, count, b->below));
			for (int j = 0; j < GUESSES; j++)
				guesses[j] = next;
		} else {
			guess_between(b, limit, turn, guesses);
		}
		count_up_to(values, count, guesses, counts);
		narrow(b, limit, guesses, counts);
		if (is_near && counts[0] >= limit)
			break;
	}
	*up_to = b->count_above;
	return value_of(b->above);
}

/* ---- all of it ---- */

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
	float guesses[GUESSES] = {INFINITY, INFINITY, INFINITY, INFINITY};
	int64_t counts[GUESSES];
	bool is_guessed = guess_by_sample(values, count, limit, guesses);
	float last = guesses[GUESSES - 1];
	guesses[GUESSES - 1] = INFINITY; /* counts the numbers */
	count_up_to(values, count, guesses, counts);
	int64_t numbers = counts[GUESSES - 1], up_to;
	if (limit >= numbers) {
		mark_numbers_and_first_nans(values, count, limit - numbers, mask);
		return;
	}
	Bracket b = {image_of(-INFINITY) - 1, image_of(INFINITY), 0, numbers};
	narrow(&b, limit, guesses, counts);
	if (is_guessed && b.above == image_of(INFINITY) && last < INFINITY) {
		for (int j = 0; j < GUESSES; j++)
			guesses[j] = last;
		count_up_to(values, count, guesses, counts);
		narrow(&b, limit, guesses, counts);
	}
	float t = threshold(values, count, limit, &b, &up_to);
	if (up_to == limit) {
		mark_up_to(values, count, t, mask);
		return;
	}
	mark_with_ties(values, count, t, limit - count_below(values, count, t), mask);
}
