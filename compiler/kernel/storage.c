/* SPDX-License-Identifier: MIT
 *
 * storage.c: how a number lies in memory, for every storage type of the language.
 *
 * Conversions are bit-exact and take one rounding: small floats are rounded from
 * the double (which holds any f32), to nearest even; nothing goes through libm's
 * or the hardware's half types. kernel.h, Store, is the rule book.
 */
#include "kernel.h"
#include "ast.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- names ---- */

typedef struct StoreRow {
	const char *name;
	Store store;
	KType type; /* what a load gives */
} StoreRow;

/* u1..u64 and i2..i64 are spelled by their width and are not listed. */
static const StoreRow store_rows[] = {
#define STORAGE(name, kind, bits, type) {#name, {STORE_##kind, bits}, T_##type},
#include "storage.def"
#undef STORAGE
};
enum { STORE_ROWS = sizeof store_rows / sizeof *store_rows };

static const StoreRow *store_row(StoreKind kind)
{
	for (int i = 0; i < STORE_ROWS; i++)
		if (store_rows[i].store.kind == kind)
			return &store_rows[i];
	return NULL;
}

Store store_find(Name name)
{
	for (int i = 0; i < STORE_ROWS; i++)
		if (strcmp(store_rows[i].name, name) == 0)
			return store_rows[i].store;
	uint32_t bits = storage_bits(name);
	if (!bits)
		return (Store){STORE_NONE, 0};
	return (Store){name[0] == 'u' ? STORE_UINT : STORE_INT, (uint8_t)bits};
}

const char *store_name(Store store, Text *scratch)
{
	const StoreRow *row = store_row(store.kind);
	if (row)
		return row->name;
	if (store.kind == STORE_NONE)
		return "none";
	size_t start = scratch->count;
	text_printf(scratch, "%c%u", store.kind == STORE_UINT ? 'u' : 'i', (unsigned)store.bits);
	return scratch->at + start;
}

uint32_t store_bytes(Store store)
{
	return store.bits <= 8 ? 1 : store.bits <= 16 ? 2 : store.bits <= 32 ? 4 : 8;
}

KType store_type(Store store)
{
	const StoreRow *row = store_row(store.kind);
	if (row)
		return row->type;
	return store.bits <= (store.kind == STORE_INT ? 32 : 31) ? T_I32 : T_I64;
}

Store store_of_type(KType type)
{
	static const Store stores[] = {
		[T_BOOL] = {STORE_BOOL, 1},
		[T_I32] = {STORE_INT, 32},
		[T_I64] = {STORE_INT, 64},
		[T_F32] = {STORE_F32, 32},
		[T_F64] = {STORE_F64, 64},
	};
	return stores[type];
}

bool store_equal(Store a, Store b)
{
	return a.kind == b.kind && a.bits == b.bits;
}

/* ---- floats of fewer bits than f32: sign, exponent with the usual bias, mantissa ---- */

typedef struct SmallFloat {
	int exponent_bits, mantissa_bits;
	uint32_t max;       /* the greatest finite code */
	uint32_t overflow;  /* the code beyond it: infinity, or max where the format saturates */
	uint32_t nan;       /* what a NaN is stored as */
	uint32_t first_nan; /* codes (without sign) from here on read as NaN */
	uint32_t infinity;  /* the code that reads as infinity; 0: none */
	bool has_sign;
} SmallFloat;

static const SmallFloat small_floats[] = {
	[STORE_F16] = {5, 10, 0x7bff, 0x7c00, 0x7e00, 0x7c01, 0x7c00, true},
	[STORE_BF16] = {8, 7, 0x7f7f, 0x7f80, 0x7fc0, 0x7f81, 0x7f80, true},
	[STORE_E4M3] = {4, 3, 0x7e, 0x7e, 0x7f, 0x7f, 0, true},
	[STORE_E5M2] = {5, 2, 0x7b, 0x7c, 0x7e, 0x7d, 0x7c, true},
	[STORE_E2M1] = {2, 1, 0x7, 0x7, 0, 0x8, 0, true},
	[STORE_UE4M3] = {4, 3, 0x7e, 0x7e, 0, 0x7f, 0, false},
};

static uint64_t small_encode(const SmallFloat *f, double value)
{
	if (isnan(value))
		return f->nan;
	uint64_t sign = f->has_sign && signbit(value) ? UINT64_C(1) << (f->exponent_bits + f->mantissa_bits) : 0;
	if (!f->has_sign && value < 0)
		return 0;
	if (isinf(value))
		return sign | f->overflow;
	if (value == 0)
		return sign;
	int bias = (1 << (f->exponent_bits - 1)) - 1, exponent;
	frexp(value, &exponent);
	exponent--; /* |value| = 1.xxx * 2^exponent */
	if (exponent < 1 - bias)
		exponent = 1 - bias; /* a subnormal has the least exponent and no hidden bit */
	/* The scaling is exact; a hidden bit, and a carry out of the mantissa, count into the exponent by themselves. */
	double units = rint(ldexp(fabs(value), f->mantissa_bits - exponent));
	double code = units + ldexp(exponent + bias - 1, f->mantissa_bits);
	return sign | (code > f->max ? f->overflow : (uint64_t)code);
}

static double small_decode(const SmallFloat *f, uint64_t bits)
{
	int magnitude_bits = f->exponent_bits + f->mantissa_bits;
	uint32_t magnitude = (uint32_t)(bits & ((UINT64_C(1) << magnitude_bits) - 1));
	double sign = f->has_sign && (bits >> magnitude_bits & 1) ? -1 : 1;
	if (magnitude >= f->first_nan)
		return (double)NAN;
	if (f->infinity && magnitude == f->infinity)
		return sign * (double)INFINITY;
	int bias = (1 << (f->exponent_bits - 1)) - 1;
	int exponent = (int)(magnitude >> f->mantissa_bits);
	uint32_t mantissa = magnitude & ((1u << f->mantissa_bits) - 1);
	if (exponent == 0)
		exponent = 1;
	else
		mantissa |= 1u << f->mantissa_bits;
	return sign * ldexp(mantissa, exponent - bias - f->mantissa_bits);
}

/* e8m0: the exponent of |x| with the bias of f32 and nothing else. */
static uint64_t exponent_encode(double value)
{
	if (isnan(value))
		return 255;
	if (value == 0)
		return 0;
	if (isinf(value))
		return 254;
	int exponent;
	frexp(value, &exponent);
	int code = exponent - 1 + 127;
	return (uint64_t)(code < 0 ? 0 : code > 254 ? 254 : code);
}

/* ---- integers ---- */

static uint64_t mask_of(unsigned bits)
{
	return bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

/* Truncates and saturates; NaN gives 0. */
static uint64_t integer_encode(Store store, double value)
{
	if (isnan(value))
		return 0;
	if (store.kind == STORE_UINT) {
		if (value <= 0)
			return 0;
		return value >= ldexp(1, store.bits) ? mask_of(store.bits) : (uint64_t)value;
	}
	double limit = ldexp(1, store.bits - 1);
	if (value >= limit)
		return mask_of(store.bits - 1u);
	if (value < -limit)
		return UINT64_C(1) << (store.bits - 1);
	return (uint64_t)(int64_t)value & mask_of(store.bits);
}

static int64_t integer_decode(Store store, uint64_t bits)
{
	bits &= mask_of(store.bits);
	if (store.kind == STORE_INT && bits >> (store.bits - 1) & 1)
		bits |= ~mask_of(store.bits);
	return (int64_t)bits;
}

/* ---- all kinds ---- */

uint64_t store_encode(Store store, double value)
{
	switch (store.kind) {
	case STORE_NONE:
		break;
	case STORE_BOOL:
		return value != 0;
	case STORE_UINT:
	case STORE_INT:
		return integer_encode(store, value);
	case STORE_F32: {
		float narrow = (float)value;
		uint32_t bits;
		memcpy(&bits, &narrow, sizeof bits);
		return isnan(value) ? 0x7fc00000u : bits;
	}
	case STORE_F64: {
		uint64_t bits;
		memcpy(&bits, &value, sizeof bits);
		return isnan(value) ? UINT64_C(0x7ff8000000000000) : bits;
	}
	case STORE_E8M0:
		return exponent_encode(value);
	case STORE_F16:
	case STORE_BF16:
	case STORE_E4M3:
	case STORE_E5M2:
	case STORE_E2M1:
	case STORE_UE4M3:
		return small_encode(&small_floats[store.kind], value);
	}
	assert(!"a storage type");
	return 0;
}

double store_decode(Store store, uint64_t bits)
{
	switch (store.kind) {
	case STORE_NONE:
		break;
	case STORE_BOOL:
		return (bits & 1) != 0;
	case STORE_UINT:
		return (double)(bits & mask_of(store.bits));
	case STORE_INT:
		return (double)integer_decode(store, bits);
	case STORE_F32: {
		uint32_t low = (uint32_t)bits;
		float value;
		memcpy(&value, &low, sizeof value);
		return (double)value;
	}
	case STORE_F64: {
		double value;
		memcpy(&value, &bits, sizeof value);
		return value;
	}
	case STORE_E8M0:
		return (bits & 255) == 255 ? (double)NAN : ldexp(1, (int)(bits & 255) - 127);
	case STORE_F16:
	case STORE_BF16:
	case STORE_E4M3:
	case STORE_E5M2:
	case STORE_E2M1:
	case STORE_UE4M3:
		return small_decode(&small_floats[store.kind], bits);
	}
	assert(!"a storage type");
	return 0;
}

double store_round(Store store, double value)
{
	return store_decode(store, store_encode(store, value));
}

bool store_keeps_bits(Store from, Store to)
{
	if (store_equal(from, to))
		return true;
	if (from.bits > 16 || to.bits < from.bits || store_type(from) != T_F32 || store_type(to) != T_F32)
		return false;
	for (uint64_t code = 0; code < (uint64_t)1 << from.bits; code++) {
		double value = store_decode(from, code);
		if (store_encode(from, value) == code && store_encode(to, value) != code)
			return false;
	}
	return true;
}

uint64_t store_pack(Store store, KType type, KValue value)
{
	if (type == T_F32 || type == T_F64)
		return store_encode(store, value.real);
	switch (store.kind) {
	case STORE_BOOL:
		return value.integer != 0;
	case STORE_UINT:
	case STORE_INT:
		return (uint64_t)value.integer & mask_of(store.bits);
	case STORE_F32: /* one rounding, also from i64 */
		return store_encode(store, (double)(float)value.integer);
	default:
		return store_encode(store, (double)value.integer);
	}
}

KValue store_unpack(Store store, uint64_t bits)
{
	if (store.kind == STORE_UINT || store.kind == STORE_INT)
		return (KValue){.integer = integer_decode(store, bits)};
	if (store.kind == STORE_BOOL)
		return (KValue){.integer = (int64_t)(bits & 1)};
	return (KValue){.real = store_decode(store, bits)};
}

KValue store_load(Store store, const void *at)
{
	uint64_t bits = 0;
	memcpy(&bits, at, store_bytes(store)); /* little-endian hosts only, as the formats are */
	if (store.kind == STORE_BOOL)
		return (KValue){.integer = (bits & 255) != 0};
	return store_unpack(store, bits);
}

void store_save(Store store, void *at, KType type, KValue value)
{
	uint64_t bits = store_pack(store, type, value);
	if (store.kind == STORE_INT)
		bits = (uint64_t)integer_decode(store, bits);
	memcpy(at, &bits, store_bytes(store));
}
