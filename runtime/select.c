/* SPDX-License-Identifier: MIT
 *
 * select.c: which elements of a row are the smallest, exactly.
 *
 * The threshold is searched by counting: a pass over the row counts, for four
 * guesses at once, what is not above them. The row before this one, or a sample,
 * gives the first guesses, then the counts interpolate, and the last few candidates
 * are picked out. No result depends on the guesses. Floats are guessed at through an integer image
 * that sorts like them, so the search ends whatever the values are. The passes are plain loops, made to be vectorized,
 * for several CPUs where the compiler can choose among them at run time.
 */
#include "cmprt.h"
#include "cpus.h"

#include <math.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

enum { SAMPLE = 32, GUESSES = 4, FEW = 16, STRIDE = 32, BLOCK = 1024, DIRECT = 64 };

/* What selecting in one row tells of the next one: the threshold, and how far apart elements lie there. */
typedef struct SelectHint {
	float threshold, spacing; /* spacing 0: nothing is known */
} SelectHint;

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

FOR_EACH_CPU static int64_t count_up_to_one(const float *values, int64_t count, float limit)
{
	int64_t sum = 0;
	for (int64_t from = 0; from < count; from += BLOCK) {
		const float *block = values + from;
		int size = count - from < BLOCK ? (int)(count - from) : BLOCK;
		int32_t in = 0;
		for (int i = 0; i < size; i++)
			in += block[i] <= limit;
		sum += in;
	}
	return sum;
}

static inline bool has_any(const float *values, float below, float above)
{
	int32_t found = 0;
	for (int i = 0; i < STRIDE; i++)
		found |= (values[i] > below) & (values[i] <= above);
	return found != 0;
}

/* The elements in (below, above], sorted; they are FEW at most. */
FOR_EACH_CPU static int collect(const float *values, int64_t count, float below, float above, float *few)
{
	int size = 0;
	for (int64_t from = 0; from < count; from += STRIDE) {
		int here = count - from < STRIDE ? (int)(count - from) : STRIDE;
		if (here == STRIDE && !has_any(values + from, below, above))
			continue;
		for (int i = 0; i < here; i++) {
			float v = values[from + i];
			if (!(v > below && v <= above))
				continue;
			int j = size++;
			for (; j > 0 && few[j - 1] > v; j--)
				few[j] = few[j - 1];
			few[j] = v;
		}
	}
	return size;
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

/* Takes what the count of a guess says. */
static void narrow(Bracket *b, int64_t limit, float guess, int64_t count)
{
	int32_t at = image_of(guess);
	if (count < limit && at > b->below) {
		b->below = at;
		b->count_below = count;
	} else if (count >= limit && at < b->above) {
		b->above = at;
		b->count_above = count;
	}
}

static void try_guesses(const float *values, int64_t count, int64_t limit, const float *guesses, Bracket *b)
{
	int64_t counts[GUESSES];
	count_up_to(values, count, guesses, counts);
	for (int j = 0; j < GUESSES; j++)
		narrow(b, limit, guesses[j], counts[j]);
}

static bool guess_by_hint(const SelectHint *hint, int64_t count, int64_t limit, float *guesses)
{
	static const float away[GUESSES] = {-2, -0.5f, 0.5f, 2};
	if (!(hint->spacing > 0) || !(hint->spacing < INFINITY))
		return false;
	double part = (double)limit / (double)count, stray = sqrt(2 * part * (1 - part) * (double)count);
	for (int j = 0; j < GUESSES; j++)
		guesses[j] = hint->threshold + hint->spacing * (float)stray * away[j];
	return true;
}

/* The elements of a sample whose ranks are nearest to where the limit should be, and farther on both sides. */
static bool guess_by_sample(const float *values, int64_t count, int64_t limit, float *guesses)
{
	static const float away[GUESSES] = {-5, -1.5f, 1.5f, 5};
	float sample[SAMPLE];
	int size = 0;
	int64_t apart = count / SAMPLE;
	for (int i = 0; i < SAMPLE; i++) {
		float v = values[apart * i + i % apart]; /* not always the same place of a block */
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

/* The least t with count(<= t) >= limit. The bracket says with above and count_above what was found. */
static void find_threshold(const float *values, int64_t count, int64_t limit, Bracket *b, SelectHint *hint)
{
	for (int turn = 0; (int64_t)b->above - b->below > 1; turn++) {
		if (b->count_above - b->count_below <= FEW && b->below >= image_of(-INFINITY)) {
			float few[FEW];
			int size = collect(values, count, value_of(b->below), value_of(b->above), few);
			int64_t at = limit - b->count_below - 1;
			while (at + 1 < size && few[at + 1] == few[at])
				at++;
			b->above = image_of(few[at]);
			b->count_above = b->count_below + at + 1;
			break;
		}
		float guesses[GUESSES], between = value_of(b->above) - value_of(b->below);
		if (between < INFINITY)
			hint->spacing = between / (float)(b->count_above - b->count_below);
		guess_between(b, limit, turn, guesses);
		try_guesses(values, count, limit, guesses, b);
	}
	hint->threshold = value_of(b->above);
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

void cmprt_smallest_f32(void *from, int64_t count, int64_t limit, void *to, void *memory)
{
	const float *values = from;
	uint8_t *mask = to;
	SelectHint *hint = memory;
	if (limit <= 0 || limit >= count) {
		memset(mask, limit > 0, (size_t)(count > 0 ? count : 0));
		return;
	}
	if (count <= DIRECT) {
		smallest_directly(values, count, limit, mask);
		return;
	}
	float guesses[GUESSES];
	Bracket b = {image_of(-INFINITY) - 1, image_of(INFINITY), 0, count + 1};
	if (guess_by_hint(hint, count, limit, guesses) || guess_by_sample(values, count, limit, guesses))
		try_guesses(values, count, limit, guesses, &b);
	if (b.count_above > count) { /* it is not known yet that there are that many numbers */
		b.count_above = count_up_to_one(values, count, INFINITY);
		if (b.count_above < limit) {
			mark_numbers_and_first_nans(values, count, limit - b.count_above, mask);
			return;
		}
	}
	find_threshold(values, count, limit, &b, hint);
	float t = value_of(b.above);
	if (b.count_above == limit)
		mark_up_to(values, count, t, mask);
	else
		mark_with_ties(values, count, t, limit - count_below(values, count, t), mask);
}
