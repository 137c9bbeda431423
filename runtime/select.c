/* SPDX-License-Identifier: MIT
 *
 * select.c: which elements of a row are the smallest, exactly.
 *
 * Elements are compared as keys, integers that sort like them. A pass over the row
 * makes a level of each key, a byte: how many steps of 2^shift it lies above a base,
 * cut off at both ends. Counting levels, four limits at a time, then finds the level
 * where the last element taken lies, and the few elements of that level are ordered
 * by their keys. The row before this one tells base and shift; where it tells wrong,
 * the levels are the keys' upper bits first and are refined from there. No result
 * depends on the guesses. Passes over the row are generated code (CmprtPasses).
 */
#include "cmprt.h"

#include <math.h>
#include <string.h>

enum {
	BLOCK = CMPRT_SELECT_BLOCK,
	CHUNK = CMPRT_SELECT_BLOCKS, /* blocks */
	GUESSES = CMPRT_SELECT_GUESSES,
	FEW = BLOCK, /* elements that are compared pair by pair */
	ENOUGH = 12, /* so few of them that counting once more would not be quicker */
	LOWEST = INT8_MIN,
	HIGHEST = INT8_MAX,
	WHOLE_SHIFT = 24, /* the levels of all keys */
	REFINED_BITS = 7, /* a level becomes 128 levels: the ends are for what lies outside */
};

/* A row in blocks. The levels of the last one, if it is not whole, lie in rest. */
typedef struct Row {
	const CmprtPasses *passes;
	const void *values;
	int64_t count, blocks; /* whole ones */
	int8_t *levels;        /* later 0 and 1 */
	int8_t rest[BLOCK];
} Row;

/* What selecting in rows tells of the next one. */
typedef struct Hint {
	int32_t key;   /* about where the last element taken lies */
	int32_t shift; /* 0: nothing is known */
	float density; /* elements a level near there */
} Hint;
_Static_assert(sizeof(Hint) <= CMPRT_SELECT_HINT, "a hint fits what the kernel keeps");

/* Levels that hold the last element taken: count(<= low) < limit <= count(<= high). */
typedef struct Class {
	int low, high;
	int64_t count_low, count_high;
} Class;

/* ---- passes over the row ---- */

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Sets levels; how many are below 0. */
static int64_t row_level(Row *row, int32_t base, int shift)
{
	int64_t below = 0, places[BLOCK], whole = row->blocks * BLOCK, rest = row->count - whole;
	for (int64_t block = 0; block < row->blocks; block += CHUNK) {
		int64_t size = least(CHUNK, row->blocks - block);
		below += row->passes->levels(row->values, block, size, base, shift, row->levels + block * BLOCK);
	}
	if (rest == 0)
		return below;
	int32_t keys[BLOCK];
	for (int64_t i = 0; i < rest; i++)
		places[i] = whole + i;
	row->passes->keys(row->values, places, rest, keys);
	memset(row->rest, HIGHEST, sizeof row->rest);
	for (int64_t i = 0; i < rest; i++) {
		int64_t level = (int64_t)(keys[i] >> shift) - base;
		row->rest[i] = (int8_t)(level < LOWEST ? LOWEST : least(level, HIGHEST));
		below += level < 0;
	}
	return below;
}

/* counts[j]: how many levels are <= guesses[j], which are below HIGHEST */
static void row_count(const Row *row, const int8_t *guesses, int64_t *counts)
{
	memset(counts, 0, GUESSES * sizeof *counts);
	for (int64_t block = 0; block < row->blocks; block += CHUNK)
		row->passes->count(row->levels + block * BLOCK, least(CHUNK, row->blocks - block), guesses, counts);
	if (row->blocks * BLOCK < row->count)
		row->passes->count(row->rest, 1, guesses, counts);
}

/* ---- the class of the last element taken ---- */

static void narrow(Class *c, int64_t limit, int guess, int64_t count)
{
	if (count < limit && guess > c->low) {
		c->low = guess;
		c->count_low = count;
	} else if (count >= limit && guess < c->high) {
		c->high = guess;
		c->count_high = count;
	}
}

/* Where the limit should be, counted from the nearer end of the class, and how far elements stray from there. */
static bool expect(const Class *c, int64_t limit, double density, double *middle, double *apart)
{
	double above_low = (double)(limit - c->count_low), below_high = (double)(c->count_high - limit);
	bool is_low = c->low >= LOWEST && (c->high == HIGHEST || above_low < below_high);
	*middle = is_low ? c->low + above_low / density : c->high - below_high / density;
	*apart = (1 + sqrt(is_low ? above_low : below_high)) / density;
	return *middle > c->low && *middle < c->high; /* NaN is not */
}

/* Ascending and inside of the class: around where the limit is expected, else evenly. */
static void guess(const Class *c, int64_t limit, float density, int8_t *guesses)
{
	double middle, apart;
	bool is_expected = density > 0 && expect(c, limit, density, &middle, &apart);
	for (int j = 0, last = c->low; j < GUESSES; j++) {
		double part = (double)(j + 1) / (GUESSES + 1);
		double at = is_expected ? middle + apart * (j - (GUESSES - 1) / 2.0) : c->low + (c->high - c->low) * part;
		at = at > last + 1 ? at : last + 1;
		last = at < c->high - 1 ? (int)at : c->high - 1;
		guesses[j] = (int8_t)last;
	}
}

/* below: how many levels are below 0. *density: elements a level, 0 if that is unknown; later as it was found. */
static Class find_class(const Row *row, int64_t limit, int64_t below, float *density)
{
	Class c = {LOWEST - 1, HIGHEST, 0, row->count};
	float known = *density;
	narrow(&c, limit, -1, below);
	for (int turn = 0; c.high - c.low > 1 && c.count_high - c.count_low > ENOUGH; turn++) {
		int8_t guesses[GUESSES];
		int64_t counts[GUESSES];
		guess(&c, limit, turn < 2 ? known : 0, guesses);
		row_count(row, guesses, counts);
		for (int j = 0; j < GUESSES; j++)
			narrow(&c, limit, guesses[j], counts[j]);
		int apart = guesses[GUESSES - 1] - guesses[0];
		*density = apart > 0 ? (float)(counts[GUESSES - 1] - counts[0]) / (float)apart : *density;
	}
	return c;
}

/* ---- marking ---- */

/* The elements of the class, as far as they are known. */
typedef struct Members {
	int64_t places[FEW];
	int count;
	bool are_few;
	int64_t wanted;   /* how many are still to be marked */
	bool has_later;   /* some have the higher one of two keys, marked LATER */
	int32_t last_key; /* of the last one marked */
} Members;

enum { LATER = 2 };

/* Of a few elements the `wanted` that come first, ties by position. */
static void mark_few(const Row *row, Members *m)
{
	int32_t keys[FEW];
	row->passes->keys(row->values, m->places, m->count, keys);
	for (int i = 0; i < m->count; i++) {
		int before = 0;
		for (int j = 0; j < i; j++)
			before += keys[j] <= keys[i];
		for (int j = i + 1; j < m->count; j++)
			before += keys[j] < keys[i];
		row->levels[m->places[i]] = before < m->wanted;
		m->last_key = before + 1 == m->wanted ? keys[i] : m->last_key;
	}
}

/* A block's elements of a class with two keys, an even one and the next. */
static void mark_even(const Row *row, Members *m)
{
	int32_t keys[FEW];
	row->passes->keys(row->values, m->places, m->count, keys);
	for (int i = 0; i < m->count; i++) {
		bool is_later = keys[i] & 1, is_taken = !is_later && m->wanted > 0;
		row->levels[m->places[i]] = is_later ? LATER : is_taken;
		m->wanted -= is_taken;
		m->has_later |= is_later;
		m->last_key = keys[i];
	}
	m->count = 0;
}

static void mark_later(const Row *row, Members *m)
{
	for (int64_t i = 0; i < row->count; i++) {
		bool is_later = row->levels[i] == LATER, is_taken = is_later && m->wanted > 0;
		row->levels[i] = is_later ? is_taken : row->levels[i];
		m->wanted -= is_taken;
	}
}

static void add_members(const Row *row, Members *m, const uint64_t *words, int64_t begin, int64_t end)
{
	for (int64_t block = begin; block < end; block++) {
		for (uint64_t bits = words[block - begin]; bits; bits &= bits - 1)
			m->places[m->count++] = block * BLOCK + __builtin_ctzll(bits);
		if (!m->are_few && m->count > 0)
			mark_even(row, m);
	}
}

/* Marks what is below the class and, of the class, as many as the limit leaves; the key of the last one. */
static int32_t row_mark(Row *row, const Class *c, int64_t limit)
{
	uint64_t words[CHUNK];
	int64_t whole = row->blocks * BLOCK, rest = row->count - whole;
	Members m; /* places are not initialized: they are many */
	m.count = 0;
	m.are_few = c->count_high - c->count_low <= FEW;
	m.has_later = false;
	m.wanted = limit - c->count_low;
	m.last_key = 0;
	for (int64_t block = 0; block < row->blocks; block += CHUNK) {
		int64_t size = least(CHUNK, row->blocks - block);
		row->passes->mark(row->levels + block * BLOCK, size, c->low + 1, c->high, words);
		add_members(row, &m, words, block, block + size);
	}
	if (rest > 0) {
		row->passes->mark(row->rest, 1, c->low + 1, c->high, words);
		memcpy(row->levels + whole, row->rest, (size_t)rest);
		words[0] &= ((uint64_t)1 << rest) - 1;
		add_members(row, &m, words, row->blocks, row->blocks + 1);
	}
	if (m.are_few)
		mark_few(row, &m);
	else if (m.has_later)
		mark_later(row, &m);
	return m.last_key;
}

/* ---- all of it ---- */

/* The next row's levels: around where this one ended, near to where others did so that chance fades; so many elements
 * a level that the levels reach as far as rows stray. */
static void learn(Hint *hint, int32_t key, int shift, float density, int64_t count)
{
	int64_t off = (int64_t)key - hint->key, near = (int64_t)HIGHEST << shift;
	bool is_near = hint->shift == shift && off < near && off > -near;
	float few = sqrtf((float)count) / 64;
	hint->key = is_near ? hint->key + (int32_t)(off / 4) : key;
	hint->density = is_near ? hint->density + (density - hint->density) / 8 : density;
	for (; hint->density > 4 * few && shift > 1; shift--)
		hint->density /= 2;
	for (; hint->density < few && shift < WHOLE_SHIFT - 1; shift++)
		hint->density = hint->density > 0 ? hint->density * 2 : few;
	hint->shift = shift;
}

/* Levels of ever shorter steps until few elements, or one or two keys, are left. */
static void mark_smallest(Row *row, int64_t limit, Hint *hint)
{
	int shift = hint->shift > 0 ? hint->shift : WHOLE_SHIFT;
	int32_t base = hint->shift > 0 ? hint->key >> shift : 0;
	float density = hint->density;
	for (;;) {
		Class c = find_class(row, limit, row_level(row, base, shift), &density);
		bool is_end = c.high == LOWEST || c.high == HIGHEST;
		bool is_outside = is_end && shift < WHOLE_SHIFT;
		if (c.count_high - c.count_low <= FEW || (shift == 1 && !is_outside)) {
			learn(hint, row_mark(row, &c, limit), shift, density, row->count);
			return;
		}
		int by = shift - 1 < REFINED_BITS ? shift - 1 : REFINED_BITS;
		base = is_outside ? 0 : (base + c.high) * (1 << by) + (1 << by) / 2;
		shift = is_outside ? WHOLE_SHIFT : shift - by;
		density = 0;
	}
}

void cmprt_smallest_f32(void *from, int64_t count, int64_t limit, void *to, void *hint, void *passes)
{
	if (limit <= 0 || limit >= count) {
		memset(to, limit > 0, (size_t)(count > 0 ? count : 0));
		return;
	}
	Row row = {.passes = passes, .values = from, .count = count, .blocks = count / BLOCK, .levels = to};
	if (count > FEW) {
		mark_smallest(&row, limit, hint);
		return;
	}
	Members all = {.count = (int)count, .wanted = limit};
	for (int i = 0; i < all.count; i++)
		all.places[i] = i;
	mark_few(&row, &all);
}
