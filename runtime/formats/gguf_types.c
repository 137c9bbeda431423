/* SPDX-License-Identifier: MIT
 *
 * gguf_types.c: the numbers GGUF gives to tensor types and to types of metadata
 * values, with their sizes, and to files that are mostly of one type (the medium one
 * of several mixtures). A type for which no dtype is declared anywhere can still be
 * sized and copied.
 */
#include "gguf.h"

#include <string.h>

/* by id */
static const GgufType types[] = {
	[0] = {"F32", 1, 4, 0},
	[1] = {"F16", 1, 2, 1},
	[2] = {"Q4_0", 32, 18, 2},
	[3] = {"Q4_1", 32, 20, 3},
	[6] = {"Q5_0", 32, 22, 8},
	[7] = {"Q5_1", 32, 24, 9},
	[8] = {"Q8_0", 32, 34, 7},
	[9] = {"Q8_1", 32, 36, -1},
	[10] = {"Q2_K", 256, 84, 10},
	[11] = {"Q3_K", 256, 110, 12},
	[12] = {"Q4_K", 256, 144, 15},
	[13] = {"Q5_K", 256, 176, 17},
	[14] = {"Q6_K", 256, 210, 18},
	[15] = {"Q8_K", 256, 292, -1},
	[16] = {"IQ2_XXS", 256, 66, 19},
	[17] = {"IQ2_XS", 256, 74, 20},
	[18] = {"IQ3_XXS", 256, 98, 23},
	[19] = {"IQ1_S", 256, 50, 24},
	[20] = {"IQ4_NL", 32, 18, 25},
	[21] = {"IQ3_S", 256, 110, 26},
	[22] = {"IQ2_S", 256, 82, 28},
	[23] = {"IQ4_XS", 256, 136, 30},
	[24] = {"I8", 1, 1, -1},
	[25] = {"I16", 1, 2, -1},
	[26] = {"I32", 1, 4, -1},
	[27] = {"I64", 1, 8, -1},
	[28] = {"F64", 1, 8, -1},
	[29] = {"IQ1_M", 256, 56, 31},
	[30] = {"BF16", 1, 2, 32},
	[34] = {"TQ1_0", 256, 54, 36},
	[35] = {"TQ2_0", 256, 66, 37},
	[39] = {"MXFP4", 32, 17, -1},
	[40] = {"NVFP4", 64, 36, -1},
	[41] = {"Q1_0", 128, 18, -1},
	[42] = {"Q2_0", 64, 18, -1},
};

enum { TYPE_COUNT = sizeof types / sizeof *types };

const GgufValueType gguf_value_types[GGUF_VALUE_TYPES] = {
	{"u8", 1, 'u'},
	{"i8", 1, 'i'},
	{"u16", 2, 'u'},
	{"i16", 2, 'i'},
	{"u32", 4, 'u'},
	{"i32", 4, 'i'},
	{"f32", 4, 'f'},
	{"bool", 1, 'b'},
	{"string", 0, 's'},
	{"array", 0, 'a'},
	{"u64", 8, 'u'},
	{"i64", 8, 'i'},
	{"f64", 8, 'f'},
};

const GgufType *gguf_type(int64_t code)
{
	return code >= 0 && code < TYPE_COUNT && types[code].name ? &types[code] : NULL;
}

int64_t gguf_last_type(void)
{
	return TYPE_COUNT - 1;
}

int64_t gguf_type_find(const char *name)
{
	for (int64_t code = 0; code < TYPE_COUNT; code++)
		if (types[code].name && strcmp(types[code].name, name) == 0)
			return code;
	return -1;
}

bool gguf_tensor_bytes(const GgufType *type, const int64_t *shape, int64_t rank, int64_t *bytes, const char **reason)
{
	int64_t row = rank ? shape[rank - 1] : 1;
	*reason = NULL;
	if (row % type->block)
		*reason = "its rows are not whole blocks";
	*bytes = type->bytes;
	if (__builtin_mul_overflow(*bytes, row / type->block, bytes))
		*reason = "it has more than 2^63 bytes";
	for (int64_t axis = 0; axis < rank; axis++) {
		if (shape[axis] <= 0)
			*reason = "a dimension is 0 or above 2^63";
		else if (axis < rank - 1 && __builtin_mul_overflow(*bytes, shape[axis], bytes))
			*reason = "it has more than 2^63 bytes";
		if (*reason)
			return false;
	}
	return !*reason;
}

uint64_t gguf_number(const void *at, int bytes)
{
	uint64_t number = 0;
	for (int i = bytes - 1; i >= 0; i--)
		number = number << 8 | ((const unsigned char *)at)[i];
	return number;
}
