/* SPDX-License-Identifier: MIT
 *
 * storage_test.c: storage types over all their bit patterns, and rounding into
 * them against integer code that shares nothing with storage.c.
 */
#include "kernel.h"
#include "check.h"

#include <math.h>
#include <string.h>

static float float_of(uint32_t bits)
{
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

static uint32_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 32);
}

static Store store(Compiler *c, const char *name)
{
	return store_find(name_of(c, name));
}

/* ---- every code decodes to a value that encodes to it ---- */

static void test_round_trips(Compiler *c)
{
	static const char *const names[] = {"f16", "bf16", "f8_e4m3", "f8_e5m2", "e8m0", "e2m1", "ue4m3", "u1", "u2", "u3",
		"u6", "u8", "i2", "i4", "i6", "i8", "u12", "u16", "i16", "bool"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		Store s = store(c, names[i]);
		CHECK(s.kind != STORE_NONE, "%s", names[i]);
		unsigned bad = 0;
		uint64_t codes = UINT64_C(1) << (s.kind == STORE_UE4M3 ? 7 : s.bits);
		for (uint64_t code = 0; code < codes; code++) {
			double value = store_decode(s, code);
			uint64_t again = store_encode(s, value);
			bad += isnan(value) ? !isnan(store_decode(s, again)) && s.kind != STORE_UE4M3 : again != code;
			bad += !isnan(value) && store_round(s, value) != value;
			KValue unpacked = store_unpack(s, code);
			bad += !isnan(value) && store_pack(s, store_type(s), unpacked) != code;
			uint8_t memory[8] = {0};
			store_save(s, memory, store_type(s), unpacked);
			KValue loaded = store_load(s, memory);
			bad += store_type(s) == T_F32 ? !isnan(value) && loaded.real != value : loaded.integer != unpacked.integer;
		}
		CHECK(bad == 0, "%s: %u codes", names[i], bad);
	}
}

/* ---- independent rounding of f32 bits ---- */

static uint32_t f16_of(uint32_t bits)
{
	uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
	if (magnitude > 0x7f800000)
		return 0x7e00;
	if (magnitude >= 0x477ff000)
		return sign | 0x7c00;
	uint32_t exponent = magnitude >> 23, mantissa = (magnitude & 0x7fffff) | 0x800000, shift = 13;
	if (exponent < 113)
		shift += 113 - exponent;
	if (shift > 31)
		return sign;
	uint32_t kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
	kept += rest > half || (rest == half && (kept & 1));
	return sign | (exponent < 113 ? kept : ((exponent - 113) << 10) + kept);
}

static uint32_t bf16_of(uint32_t bits)
{
	if ((bits & 0x7fffffff) > 0x7f800000)
		return 0x7fc0;
	return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static void test_halves(Compiler *c)
{
	Store f16 = store(c, "f16"), bf16 = store(c, "bf16");
	uint64_t state = 1;
	unsigned bad = 0, bad_bf16 = 0;
	for (uint32_t i = 0; i < 1 << 18; i++) {
		/* every exponent; half of them at and around ties of both */
		uint32_t bits = next_random(&state);
		if (i & 1)
			bits = (bits & ~0x1fffu) + (i & 2 ? 0x1000 : 0xfff) + (i >> 2 & 3);
		if (i & 8)
			bits = (bits & 0xffff0000) + 0x7fff + (i >> 2 & 1);
		bad += store_encode(f16, (double)float_of(bits)) != f16_of(bits);
		bad_bf16 += store_encode(bf16, (double)float_of(bits)) != bf16_of(bits);
	}
	CHECK(bad == 0, "%u of f16", bad);
	CHECK(bad_bf16 == 0, "%u of bf16", bad_bf16);
}

/* Small floats against a search of all codes for the nearest, the even code on a tie. */
static void test_nearest(Compiler *c)
{
	static const char *const names[] = {"f8_e4m3", "e2m1", "f8_e5m2"};
	uint64_t state = 2;
	for (size_t n = 0; n < 3; n++) {
		Store s = store(c, names[n]);
		unsigned codes = 1u << (s.bits - 1), bad = 0;
		for (int i = 0; i < 20000; i++) {
			double value =
				ldexp((double)(next_random(&state) >> (i & 15)) / 4294967296.0, (int)(next_random(&state) % 24) - 14);
			if (i % 3 == 0) { /* a tie */
				unsigned code = next_random(&state) % (codes - 1);
				value = (store_decode(s, code) + store_decode(s, code + 1)) / 2;
			}
			if (!isfinite(value))
				continue;
			unsigned best = 0;
			for (unsigned code = 1; code < codes; code++) {
				double there = store_decode(s, code),
					   distance = fabs(there - value) - fabs(store_decode(s, best) - value);
				if (isfinite(there) && (distance < 0 || (distance == 0 && code % 2 == 0)))
					best = code;
			}
			if (s.kind == STORE_E5M2 && value >= 61440)
				best = 0x7c;
			bad += store_encode(s, value) != best;
			bad += store_encode(s, -value) != (best | codes);
		}
		CHECK(bad == 0, "%s: %u", names[n], bad);
	}
}

static void test_special_values(Compiler *c)
{
	static const struct {
		const char *store;
		double value;
		uint64_t bits;
	} rows[] = {
		{"f16", 65519, 0x7bff},
		{"f16", 65520, 0x7c00},
		{"f16", -INFINITY, 0xfc00},
		{"f16", NAN, 0x7e00},
		{"f16", 0x1p-25, 0},
		{"f16", 0x1.8p-25, 1},
		{"bf16", NAN, 0x7fc0},
		{"bf16", INFINITY, 0x7f80},
		{"f8_e4m3", 1000, 0x7e},
		{"f8_e4m3", -INFINITY, 0xfe},
		{"f8_e4m3", NAN, 0x7f},
		{"f8_e4m3", 448, 0x7e},
		{"f8_e5m2", 57344, 0x7b},
		{"f8_e5m2", 61440, 0x7c},
		{"f8_e5m2", NAN, 0x7e},
		{"f8_e5m2", 61439, 0x7b},
		{"e8m0", 0, 0},
		{"e8m0", 1, 127},
		{"e8m0", 1.99, 127},
		{"e8m0", -4, 129},
		{"e8m0", 0x1p-127, 0},
		{"e8m0", 0x1p127, 254},
		{"e8m0", INFINITY, 254},
		{"e8m0", NAN, 255},
		{"e2m1", 100, 7},
		{"e2m1", 2.5, 4},
		{"e2m1", 0.25, 0},
		{"e2m1", 0.75, 2},
		{"e2m1", -5, 14},
		{"e2m1", -0.0, 8},
		{"e2m1", NAN, 0},
		{"ue4m3", -1, 0},
		{"ue4m3", NAN, 0},
		{"ue4m3", 1e9, 0x7e},
		{"ue4m3", 1, 0x38},
		{"u4", 15.99, 15},
		{"u4", 16, 15},
		{"u4", -1, 0},
		{"i4", -8.99, 8},
		{"i4", -9, 8},
		{"i4", 7.5, 7},
		{"i8", NAN, 0},
		{"i8", 1e30, 127},
		{"u64", 1e30, UINT64_MAX},
		{"i64", -1e30, UINT64_C(1) << 63},
		{"u64", 0x1p63, UINT64_C(1) << 63},
		{"f32", NAN, 0x7fc00000},
		{"f64", -NAN, UINT64_C(0x7ff8000000000000)},
		{"bool", NAN, 1},
		{"bool", -0.0, 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint64_t bits = store_encode(store(c, rows[i].store), rows[i].value);
		CHECK(bits == rows[i].bits, "%s of %g is %llx", rows[i].store, rows[i].value, (unsigned long long)bits);
	}
	CHECK(isnan(store_decode(store(c, "e8m0"), 255)), "e8m0");
	CHECK(store_decode(store(c, "e8m0"), 0) == 0x1p-127, "e8m0");
	CHECK(store_decode(store(c, "e2m1"), 0xf) == -6, "e2m1");
}

static void test_integers(Compiler *c)
{
	KValue big = {.integer = INT64_C(0x123456789abcdef1)};
	CHECK(store_pack(store(c, "u64"), T_I64, big) == UINT64_C(0x123456789abcdef1), "u64");
	CHECK(store_pack(store(c, "i4"), T_I64, big) == 1, "i4");
	CHECK(store_unpack(store(c, "u64"), UINT64_MAX).integer == -1, "u64");
	CHECK(store_unpack(store(c, "i4"), 0xf8).integer == -8, "i4");
	/* one rounding from i64 to f32: through double this would be a tie and come out even */
	KValue tie = {.integer = INT64_C(0x4000004000000001)};
	CHECK(store_pack(store(c, "f32"), T_I64, tie) == 0x5e800001, "f32 of an i64");
	CHECK(store_type(store(c, "u31")) == T_I32 && store_type(store(c, "u32")) == T_I64, "types");
	CHECK(store_type(store(c, "i32")) == T_I32 && store_type(store(c, "i33")) == T_I64, "types");
	CHECK(store_bytes(store(c, "u9")) == 2 && store_bytes(store(c, "i33")) == 8 && store_bytes(store(c, "u1")) == 1,
		"bytes");
	uint8_t memory[2];
	store_save(store(c, "i4"), memory, T_I32, (KValue){.integer = -3});
	CHECK(memory[0] == 0xfd, "spare bits repeat the sign");
}

static void test_names(Compiler *c)
{
	static const char *const bad[] = {"u0", "u65", "i1", "i65", "u", "f128", "u08", "i4x", "x4", "", "u1234"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(store(c, bad[i]).kind == STORE_NONE, "%s", bad[i]);
	static const char *const good[] = {
		"bool", "u1", "u64", "i2", "i64", "f16", "bf16", "f32", "f64", "f8_e4m3", "f8_e5m2", "e8m0", "e2m1", "ue4m3"};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		Text scratch = {.arena = c->arena};
		CHECK(strcmp(store_name(store(c, good[i]), &scratch), good[i]) == 0, "%s", good[i]);
	}
}

int main(void)
{
	Compiler *c = compiler_new();
	test_names(c);
	test_round_trips(c);
	test_halves(c);
	test_nearest(c);
	test_special_values(c);
	test_integers(c);
	compiler_free(c);
	return finish("storage_test");
}
