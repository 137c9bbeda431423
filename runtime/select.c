/* SPDX-License-Identifier: MIT
 *
 * select.c: which elements of a row are the smallest, exactly.
 *
 * Four guesses of where the limit lies part the row into five classes. The rows
 * before this one, or a sample, give the first guesses, later ones interpolate
 * between the counts. Once few elements are left between two guesses, those are
 * collected and searched alone. No result depends on the guesses. Floats are guessed
 * at through an integer image that sorts like them, so the search ends whatever the
 * values are. The two passes over the row are generated code (CmprtCompare and
 * CmprtSpread), which sees 64 elements as a word of bits.
 */
#include "cmprt.h"

#include <math.h>
#include <string.h>

enum { SAMPLE = 32, GUESSES = 4, BLOCK = 64, FEW = 2 * BLOCK, FEWEST = 8, DIRECT = 64 };

/* A row in blocks. The last one, if it is not whole, is a copy with NaN behind. */
typedef struct Row {
	const float *values;
	int64_t count, blocks; /* whole ones */
	uint8_t *mask;         /* words of bits, later bytes */
	float rest[BLOCK];
	uint8_t rest_mask[BLOCK];
	CmprtCompare *compare;
	CmprtSpread *spread;
} Row;

/* What selecting in rows tells of the next one: about where the threshold is, and how far apart elements lie there. */
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

static Row row_of(const float *values, int64_t count, uint8_t *mask, CmprtCompare *compare, CmprtSpread *spread)
{
	Row row = {.values = values, .count = count, .blocks = count / BLOCK, .mask = mask};
	int64_t whole = row.blocks * BLOCK;
	for (int64_t i = 0; i < BLOCK; i++)
		row.rest[i] = whole + i < count ? values[whole + i] : NAN;
	row.compare = compare;
	row.spread = spread;
	return row;
}

static uint64_t row_bits(const Row *row, int64_t block, int word)
{
	uint64_t bits;
	memcpy(&bits, (block < row->blocks ? row->mask + block * BLOCK : row->rest_mask) + word * (int)sizeof bits,
		sizeof bits);
	return bits;
}

static void row_mark(Row *row, int64_t place, int word, bool is_marked)
{
	uint8_t *block = place / BLOCK < row->blocks ? row->mask + place / BLOCK * BLOCK : row->rest_mask;
	uint64_t bits = row_bits(row, place / BLOCK, word) | (uint64_t)is_marked << place % BLOCK;
	memcpy(block + word * (int)sizeof bits, &bits, sizeof bits);
}

static int lowest_bit(uint64_t bits)
{
	return __builtin_ctzll(bits | (uint64_t)1 << 63);
}

/* counts[j]: how many are <= guesses[j]; a NaN is not */
static void row_compare(Row *row, const float *guesses, int64_t *counts)
{
	int64_t rest[GUESSES];
	row->compare(row->values, row->blocks, guesses, row->mask, counts);
	if (row->blocks * BLOCK == row->count)
		return;
	row->compare(row->rest, 1, guesses, row->rest_mask, rest);
	for (int j = 0; j < GUESSES; j++)
		counts[j] += rest[j];
}

static void row_spread(Row *row, int word)
{
	int64_t whole = row->blocks * BLOCK;
	row->spread(row->mask, row->blocks, word);
	if (whole == row->count)
		return;
	row->spread(row->rest_mask, 1, word);
	memcpy(row->mask + whole, row->rest_mask, (size_t)(row->count - whole));
}

/* The places of the elements in (guesses[word - 1], guesses[word]], in order; they are FEW at most, and there is room
 * for two more. Most blocks have one or two or none: no branch depends on how many. */
static int row_collect(const Row *row, int word, int64_t *places)
{
	int size = 0;
	for (int64_t from = 0, block = 0; from < row->count; from += BLOCK, block++) {
		uint64_t bits = row_bits(row, block, word) & ~row_bits(row, block, word - 1), more = bits & (bits - 1);
		places[size] = from + lowest_bit(bits);
		size += bits != 0;
		places[size] = from + lowest_bit(more);
		size += more != 0;
		for (more &= more - 1; more; more &= more - 1)
			places[size++] = from + lowest_bit(more);
	}
	return size;
}

static int64_t count_numbers(const float *values, int64_t count)
{
	int64_t sum = 0;
	for (int64_t i = 0; i < count; i++)
		sum += values[i] == values[i];
	return sum;
}

static int64_t count_below(const float *values, int64_t count, float t)
{
	int64_t below = 0;
	for (int64_t i = 0; i < count; i++)
		below += values[i] < t;
	return below;
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

/* count(<= below) < limit <= count(<= above), as integer images and as counts; above infinity, NaNs may be counted in
 */
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

static bool guess_by_hint(const SelectHint *hint, int64_t count, int64_t limit, float *guesses)
{
	static const float away[GUESSES] = {-2, -0.5f, 0.5f, 2};
	if (!(hint->spacing > 0) || !(hint->spacing < INFINITY))
		return false;
	double part = (double)limit / (double)count, stray = sqrt(part * (1 - part) * (double)count);
	for (int j = 0; j < GUESSES; j++)
		guesses[j] = hint->threshold + hint->spacing * (float)stray * away[j];
	return guesses[0] > -INFINITY && guesses[GUESSES - 1] < INFINITY; /* NaN is not */
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
		if (turn % 3 != 2 && isfinite(low) && isfinite(high))
			at = image_of((float)value);
		at = at <= b->below ? (int64_t)b->below + 1 : at;
		at = at >= b->above ? (int64_t)b->above - 1 : at;
		guesses[j] = value_of((int32_t)at);
	}
}

/* The threshold was found. Near to where it was expected both count, so that chance in one row fades. */
static void learn(SelectHint *hint, float threshold, float spacing)
{
	float off = threshold - hint->threshold, near = spacing * FEW;
	hint->threshold = off < near && off > -near ? hint->threshold + off / 4 : threshold;
	hint->spacing = spacing;
}

/* ---- the few that are left ---- */

/* The least of values in (below, above] with `wanted` of these not above it; they are FEWEST at most. */
static float pick_directly(const float *few, int size, int64_t wanted, float below, float above)
{
	float fewest[FEWEST + 1], least = above;
	int count = 0;
	for (int i = 0; i < size; i++) {
		fewest[count] = few[i];
		count += (few[i] > below) & (few[i] <= above);
	}
	for (int i = 0; i < count; i++) {
		int64_t up_to = 0;
		for (int j = 0; j < count; j++)
			up_to += fewest[j] <= fewest[i];
		least = ((up_to >= wanted) & (fewest[i] < least)) ? fewest[i] : least;
	}
	return least;
}

/* The element of rank `wanted`, from 1, of few values, which lie in (below, above]; NaN behind them fills a block. */
static float pick(const Row *row, const float *few, int size, int64_t wanted, float below, float above)
{
	Bracket b = {image_of(below), image_of(above), 0, size};
	for (int turn = 0; b.count_above - b.count_below > FEWEST; turn++) {
		float guesses[GUESSES];
		int64_t counts[GUESSES];
		uint8_t mask[FEW];
		if ((int64_t)b.above - b.below <= 1)
			return value_of(b.above); /* it is all of them */
		guess_between(&b, wanted, turn, guesses);
		row->compare(few, (size + BLOCK - 1) / BLOCK, guesses, mask, counts);
		for (int j = 0; j < GUESSES; j++)
			narrow(&b, wanted, guesses[j], counts[j]);
	}
	return pick_directly(few, size, wanted - b.count_below, value_of(b.below), value_of(b.above));
}

/* Marks what is <= guesses[word - 1] and the `wanted` smallest of what is above and <= guesses[word]; returns the
 * largest of these. */
static float mark_few(Row *row, int word, int64_t wanted, const float *guesses)
{
	int64_t places[FEW + 2], below = 0;
	float few[FEW];
	int size = row_collect(row, word, places);
	for (int i = 0; i < size; i++)
		few[i] = row->values[places[i]];
	for (int i = size; i % BLOCK; i++)
		few[i] = NAN;
	float t = pick(row, few, size, wanted, guesses[word - 1], guesses[word]);
	for (int i = 0; i < size; i++)
		below += few[i] < t;
	for (int i = 0; i < size; i++) {
		bool is_tie = few[i] == t;
		row_mark(row, places[i], word - 1, (few[i] < t) | (is_tie & (below < wanted)));
		below += is_tie;
	}
	row_spread(row, word - 1);
	return t;
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

/* The class that has the limit, if it lies between two guesses and has few elements; else 0. */
static int few_at_limit(const int64_t *counts, int64_t limit)
{
	for (int j = 1; j < GUESSES; j++)
		if (counts[j - 1] < limit && limit <= counts[j])
			return counts[j] - counts[j - 1] <= FEW ? j : 0;
	return 0;
}

/* The next guesses: what rows before tell, else what a sample tells while nothing else is known of one side. */
static void guess(const float *values, int64_t count, int64_t limit, const Bracket *b, const SelectHint *hint, int turn,
	float *guesses)
{
	bool is_open = b->below < image_of(-INFINITY) || b->above == image_of(INFINITY);
	if (turn == 0 && guess_by_hint(hint, count, limit, guesses))
		return;
	if (turn > 1 || !is_open || !guess_by_sample(values, count, limit, guesses))
		guess_between(b, limit, turn, guesses);
}

/* Guesses until few elements are left. If all that are left have one value, false: it is b->above. */
static bool mark_by_guesses(Row *row, int64_t limit, Bracket *b, SelectHint *hint)
{
	const float *values = row->values;
	for (int turn = 0; (int64_t)b->above - b->below > 1; turn++) {
		float guesses[GUESSES];
		int64_t counts[GUESSES], count = row->count;
		guess(values, count, limit, b, hint, turn, guesses);
		row_compare(row, guesses, counts);
		int j = few_at_limit(counts, limit);
		if (j) {
			float t = mark_few(row, j, limit - counts[j - 1], guesses);
			learn(hint, t, (guesses[j] - guesses[j - 1]) / (float)(counts[j] - counts[j - 1]));
			return true;
		}
		for (j = 0; j < GUESSES; j++)
			narrow(b, limit, guesses[j], counts[j]);
		if (turn > 0 || b->above < image_of(INFINITY))
			continue;
		b->count_above = count_numbers(values, count);
		if (b->count_above < limit) {
			mark_numbers_and_first_nans(values, count, limit - b->count_above, row->mask);
			return true;
		}
	}
	return false;
}

void cmprt_smallest_f32(void *from, int64_t count, int64_t limit, void *to, void *memory, void *compare, void *spread)
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
	Row row = row_of(values, count, mask, (CmprtCompare *)compare, (CmprtSpread *)spread);
	Bracket b = {image_of(-INFINITY) - 1, image_of(INFINITY), 0, count};
	if (mark_by_guesses(&row, limit, &b, memory))
		return;
	float t = value_of(b.above);
	mark_with_ties(values, count, t, limit - count_below(values, count, t), mask);
}
