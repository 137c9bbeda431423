/* SPDX-License-Identifier: MIT
 *
 * order.c: the ascending order of a row, ties by position, NaN last; and memory for
 * rows whose length is known only when a kernel runs.
 *
 * A stable radix sort of (key, position) pairs: keys are integer images that sort
 * like the values. Digits that all keys share cost nothing.
 */
#include "cmprt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGIT_BITS = 8, DIGITS = 1 << DIGIT_BITS, PASSES = 64 / DIGIT_BITS, FEW = 32 };

typedef struct Pair {
	uint64_t key;
	int64_t position;
} Pair;

void *cmprt_allocate(int64_t bytes)
{
	void *memory = malloc(bytes > 0 ? (size_t)bytes : 1);
	if (!memory) {
		fprintf(stderr, "error: no memory for %lld bytes of work\n", (long long)bytes);
		_Exit(1);
	}
	return memory;
}

void cmprt_release(void *memory)
{
	free(memory);
}

static void sort_few(Pair *pairs, int64_t count)
{
	for (int64_t i = 1; i < count; i++) {
		Pair p = pairs[i];
		int64_t j = i;
		for (; j > 0 && pairs[j - 1].key > p.key; j--)
			pairs[j] = pairs[j - 1];
		pairs[j] = p;
	}
}

static void count_digits(const Pair *pairs, int64_t count, int64_t counts[PASSES][DIGITS])
{
	memset(counts, 0, sizeof(int64_t[PASSES][DIGITS]));
	for (int64_t i = 0; i < count; i++)
		for (int pass = 0; pass < PASSES; pass++)
			counts[pass][pairs[i].key >> (pass * DIGIT_BITS) & (DIGITS - 1)]++;
}

/* Sorts pairs, using `spare` of the same size; gives the one of the two that holds the result. */
static Pair *sort_pairs(Pair *pairs, Pair *spare, int64_t count)
{
	if (count <= FEW) {
		sort_few(pairs, count);
		return pairs;
	}
	int64_t counts[PASSES][DIGITS];
	count_digits(pairs, count, counts);
	for (int pass = 0; pass < PASSES; pass++) {
		int shift = pass * DIGIT_BITS;
		if (counts[pass][pairs[0].key >> shift & (DIGITS - 1)] == count)
			continue;
		int64_t start = 0;
		for (int digit = 0; digit < DIGITS; digit++) {
			int64_t here = counts[pass][digit];
			counts[pass][digit] = start;
			start += here;
		}
		for (int64_t i = 0; i < count; i++)
			spare[counts[pass][pairs[i].key >> shift & (DIGITS - 1)]++] = pairs[i];
		Pair *swap = pairs;
		pairs = spare;
		spare = swap;
	}
	return pairs;
}

static void order_pairs(Pair *memory, int64_t count, void *to)
{
	int32_t *order = to;
	const Pair *sorted = sort_pairs(memory, memory + count, count);
	for (int64_t i = 0; i < count; i++)
		order[i] = (int32_t)sorted[i].position;
	cmprt_release(memory);
}

int64_t cmprt_order_bytes(int64_t count)
{
	return 2 * count * (int64_t)sizeof(Pair);
}

static Pair *pairs_new(int64_t count)
{
	return cmprt_allocate(cmprt_order_bytes(count));
}

void cmprt_order_f32(void *from, int64_t count, void *to)
{
	const float *values = from;
	Pair *pairs = pairs_new(count);
	for (int64_t i = 0; i < count; i++) {
		float v = values[i] + 0.0f; /* -0 equals +0 */
		uint32_t bits;
		memcpy(&bits, &v, sizeof bits);
		bits = v != v ? UINT32_MAX : bits >> 31 ? ~bits : bits | UINT32_C(1) << 31;
		pairs[i] = (Pair){bits, i};
	}
	order_pairs(pairs, count, to);
}

void cmprt_order_f64(void *from, int64_t count, void *to)
{
	const double *values = from;
	Pair *pairs = pairs_new(count);
	for (int64_t i = 0; i < count; i++) {
		double v = values[i] + 0.0;
		uint64_t bits;
		memcpy(&bits, &v, sizeof bits);
		bits = v != v ? UINT64_MAX : bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
		pairs[i] = (Pair){bits, i};
	}
	order_pairs(pairs, count, to);
}

void cmprt_order_i64(void *from, int64_t count, void *to)
{
	const int64_t *values = from;
	Pair *pairs = pairs_new(count);
	for (int64_t i = 0; i < count; i++)
		pairs[i] = (Pair){(uint64_t)values[i] ^ UINT64_C(1) << 63, i};
	order_pairs(pairs, count, to);
}
