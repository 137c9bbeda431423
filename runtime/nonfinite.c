/* SPDX-License-Identifier: MIT
 *
 * nonfinite.c: NaN and infinities in panels that were just read, while they are in
 * cache. An element of an IEEE-like format is not finite when all bits of its
 * exponent are set; the 8-bit ones that have no infinity have one NaN, all bits
 * set. So the test is integer and needs no knowledge of the value.
 */
#include "cpus.h"
#include "run.h"

#include <math.h>
#include <string.h>

typedef struct FloatKind {
	const char *dtype; /* as containers name it */
	int bytes;
	uint64_t mask; /* an element with all of these bits is not finite */
} FloatKind;

static const FloatKind float_kinds[] = {
	{"F8_E4M3", 1, 0x7f},
	{"F8_E5M2", 1, 0x7c},
	{"F8_E8M0", 1, 0xff},
	{"F16", 2, 0x7c00},
	{"BF16", 2, 0x7f80},
	{"F32", 4, 0x7f800000},
	{"F64", 8, 0x7ff0000000000000},
};

static const FloatKind *find_kind(const char *dtype)
{
	for (size_t i = 0; i < sizeof float_kinds / sizeof *float_kinds; i++)
		if (strcmp(float_kinds[i].dtype, dtype) == 0)
			return &float_kinds[i];
	return NULL;
}

/* Elements [0, count) of width `type` in `bytes`: is there one? Integer max over a block vectorizes on every CPU. */
#define DEFINE_ANY(type)                                                                                               \
	FOR_EACH_CPU static bool any_##type(const type *elements, int64_t count, type mask)                                \
	{                                                                                                                  \
		type found = 0;                                                                                                \
		_Pragma("omp simd reduction(| : found)") for (int64_t i = 0; i < count; i++) found |=                          \
			(type) - ((elements[i] & mask) == mask);                                                                   \
		return found != 0;                                                                                             \
	}
DEFINE_ANY(uint8_t)
DEFINE_ANY(uint16_t)
DEFINE_ANY(uint32_t)
DEFINE_ANY(uint64_t)

static bool is_bad(const FloatKind *kind, const unsigned char *element)
{
	uint64_t bits = 0;
	memcpy(&bits, element, (size_t)kind->bytes); /* little-endian, as checkpoints are */
	return (bits & kind->mask) == kind->mask;
}

static bool any_bad(const FloatKind *kind, const void *bytes, int64_t elements)
{
	switch (kind->bytes) {
	case 1:
		return any_uint8_t(bytes, elements, (uint8_t)kind->mask);
	case 2:
		return any_uint16_t(bytes, elements, (uint16_t)kind->mask);
	case 4:
		return any_uint32_t(bytes, elements, (uint32_t)kind->mask);
	default:
		return any_uint64_t(bytes, elements, kind->mask);
	}
}

int64_t nonfinite_find(const char *dtype, const void *from, int64_t bytes)
{
	const FloatKind *kind = find_kind(dtype);
	if (!kind || !any_bad(kind, from, bytes / kind->bytes))
		return FINITE;
	int64_t element = 0;
	while (!is_bad(kind, (const unsigned char *)from + element * kind->bytes))
		element++;
	return element;
}

/* Without their sign, elements of one type are in the order of their bits. */
double nonfinite_largest(const char *dtype, const void *from, int64_t bytes)
{
	const FloatKind *kind = find_kind(dtype);
	uint64_t most = 0;
	if (!kind ||
		!(kind->mask & (kind->mask + 1))) /* of one without infinities the mask does not say where exponents are */
		return -1;
	int fraction_bits = __builtin_ctzll(kind->mask), exponent_bits = __builtin_popcountll(kind->mask);
	uint64_t magnitude = (UINT64_C(1) << (fraction_bits + exponent_bits)) - 1;
	for (int64_t i = 0; i < bytes / kind->bytes; i++) {
		uint64_t bits = 0;
		memcpy(&bits, (const unsigned char *)from + i * kind->bytes, (size_t)kind->bytes);
		most = (bits & magnitude) > most ? bits & magnitude : most;
	}
	uint64_t fraction = most & ((UINT64_C(1) << fraction_bits) - 1);
	int exponent = (int)(most >> fraction_bits), bias = (1 << (exponent_bits - 1)) - 1;
	double whole = exponent ? ldexp(1, fraction_bits) : 0; /* the bit in front that is not stored */
	return ldexp(whole + (double)fraction, (exponent ? exponent : 1) - bias - fraction_bits);
}

void nonfinite_zero(const char *dtype, void *at, int64_t bytes)
{
	const FloatKind *kind = find_kind(dtype);
	if (!kind || !any_bad(kind, at, bytes / kind->bytes))
		return;
	for (int64_t element = 0; element < bytes / kind->bytes; element++)
		if (is_bad(kind, (unsigned char *)at + element * kind->bytes))
			memset((unsigned char *)at + element * kind->bytes, 0, (size_t)kind->bytes);
}
