/* SPDX-License-Identifier: MIT
 *
 * emit_store.c: conversions between values and their storage bits, on scalars and
 * vectors alike, bit for bit those of compiler/kernel/storage.c.
 *
 * Small floats are integer code: f16 too where the target has no instruction for it,
 * since the libraries that compilers fall back on differ. "raw" is what lies in
 * memory: an integer of whole bytes, or the f32 or f64 itself.
 */
#include "emit.h"

#include <math.h>

/* Codes as storage.c has them. */
typedef struct FloatCode {
	uint32_t exponent_bits, mantissa_bits;
	uint32_t max, overflow, nan, first_nan;
	bool has_infinity, has_sign;
} FloatCode;

static const FloatCode float_codes[] = {
	[STORE_F16] = {5, 10, 0x7bff, 0x7c00, 0x7e00, 0x7c01, true, true},
	[STORE_BF16] = {8, 7, 0x7f7f, 0x7f80, 0x7fc0, 0x7f81, true, true},
	[STORE_E4M3] = {4, 3, 0x7e, 0x7e, 0x7f, 0x7f, false, true},
	[STORE_E5M2] = {5, 2, 0x7b, 0x7c, 0x7e, 0x7d, true, true},
	[STORE_E2M1] = {2, 1, 0x7, 0x7, 0, 0x8, false, true},
	[STORE_UE4M3] = {4, 3, 0x7e, 0x7e, 0, 0x7f, false, false},
};

static bool is_real(KType type)
{
	return type == T_F32 || type == T_F64;
}

static bool is_integer_store(Store store)
{
	return store.kind == STORE_UINT || store.kind == STORE_INT || store.kind == STORE_BOOL;
}

static bool is_small_float(Store store)
{
	return !is_integer_store(store) && store.kind != STORE_F32 && store.kind != STORE_F64;
}

LLVMTypeRef store_memory_type(Emitter *e, Store store)
{
	if (store.kind == STORE_F32)
		return type_of(e, T_F32);
	if (store.kind == STORE_F64)
		return type_of(e, T_F64);
	return LLVMIntTypeInContext(e->m->context, store_bytes(store) * 8);
}

static uint64_t low_mask(uint32_t bits)
{
	return bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

static LLVMValueRef int_of(LLVMValueRef shape, uint64_t value)
{
	return const_int(LLVMTypeOf(shape), (int64_t)value);
}

static LLVMValueRef build_and(Emitter *e, LLVMValueRef v, uint64_t mask)
{
	return LLVMBuildAnd(e->builder, v, int_of(v, mask), "");
}

static LLVMValueRef shift_left(Emitter *e, LLVMValueRef v, uint32_t by)
{
	return by ? LLVMBuildShl(e->builder, v, int_of(v, by), "") : v;
}

static LLVMValueRef shift_right(Emitter *e, LLVMValueRef v, uint32_t by)
{
	return by ? LLVMBuildLShr(e->builder, v, int_of(v, by), "") : v;
}

static LLVMValueRef is_nan(Emitter *e, LLVMValueRef v)
{
	return LLVMBuildFCmp(e->builder, LLVMRealUNO, v, v, "is_nan");
}

static LLVMValueRef to_integer_type(Emitter *e, LLVMValueRef v, LLVMTypeRef element, bool is_signed)
{
	LLVMTypeRef type = type_like(element, v);
	return LLVMBuildIntCast2(e->builder, v, type, is_signed, "");
}

/* ---- real to integer ---- */

/* A NaN becomes one of the limits it is held to, or stays if it is held to none. */
static LLVMValueRef clamp_to_integers(Emitter *e, LLVMValueRef v, Range range, double lo, double hi)
{
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef type = LLVMTypeOf(v);
	if (range.lo <= lo - 1 || (range.may_be_nan && lo == 0)) {
		LLVMValueRef limit = const_real(type, lo);
		v = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOGT, v, limit, ""), v, limit, "");
	}
	if (range.hi >= hi + 1) {
		LLVMValueRef limit = const_real(type, hi);
		v = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOLT, v, limit, ""), v, limit, "");
	}
	return v;
}

LLVMValueRef emit_real_to_int(
	Emitter *e, LLVMValueRef value, Range range, bool is_signed, uint32_t bits, LLVMTypeRef element)
{
	double lo = is_signed ? -ldexp(1, (int)bits - 1) : 0, hi = ldexp(1, (int)bits - is_signed) - 1;
	LLVMTypeRef scalar = LLVMTypeOf(value);
	if (is_vector_value(value))
		scalar = LLVMGetElementType(scalar);
	uint32_t exact = LLVMGetTypeKind(scalar) == LLVMFloatTypeKind ? 24 : 52;
	bool fits = !range.may_be_nan && range.lo > lo - 1 && range.hi < hi + 1 && bits <= 52;
	if (!fits && bits > exact) {
		LLVMTypeRef types[] = {type_like(LLVMIntTypeInContext(e->m->context, bits), value), LLVMTypeOf(value)};
		const char *name = is_signed ? "llvm.fptosi.sat" : "llvm.fptoui.sat";
		LLVMValueRef v = emit_intrinsic(e, name, types, 2, &value, 1);
		return to_integer_type(e, v, element, is_signed);
	}
	LLVMValueRef nan = !fits && range.may_be_nan && is_signed ? is_nan(e, value) : NULL;
	if (!fits)
		value = clamp_to_integers(e, value, range, lo, hi);
	LLVMTypeRef wide = type_of(e, bits <= 31 || (bits == 32 && is_signed) ? T_I32 : T_I64);
	LLVMValueRef v = LLVMBuildFPToSI(e->builder, value, type_like(wide, value), "");
	if (nan) /* what a NaN was converted to, if to anything, does not count */
		v = LLVMBuildSelect(e->builder, nan, const_int(LLVMTypeOf(v), 0), v, "");
	return to_integer_type(e, v, element, true);
}

/* ---- small floats ---- */

/* f64 to f32, rounding to odd: a second rounding to a shorter format then is as good as one. */
static LLVMValueRef round_to_odd(Emitter *e, LLVMValueRef v)
{
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef f32 = type_like(type_of(e, T_F32), v), i32 = type_like(type_of(e, T_I32), v);
	LLVMValueRef near = LLVMBuildFPTrunc(b, v, f32, "");
	LLVMValueRef back = LLVMBuildFPExt(b, near, LLVMTypeOf(v), "");
	LLVMValueRef bits = LLVMBuildBitCast(b, near, i32, "");
	LLVMValueRef is_beyond =
		LLVMBuildFCmp(b, LLVMRealOGT, emit_intrinsic1(e, "llvm.fabs", back), emit_intrinsic1(e, "llvm.fabs", v), "");
	LLVMValueRef is_inexact = LLVMBuildFCmp(b, LLVMRealONE, back, v, "");
	LLVMValueRef down = LLVMBuildSub(b, bits, LLVMBuildZExt(b, is_beyond, i32, ""), "");
	LLVMValueRef odd = LLVMBuildOr(b, down, LLVMBuildZExt(b, is_inexact, i32, ""), "");
	return LLVMBuildBitCast(b, odd, f32, "");
}

/* The magnitude of a f32 (as bits) to a code, rounded to nearest even: normal results by integer rounding, results
 * below the least normal by adding the float whose last place is theirs. */
static LLVMValueRef encode_magnitude(Emitter *e, const FloatCode *f, LLVMValueRef bits)
{
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef i32 = LLVMTypeOf(bits), f32 = type_like(type_of(e, T_F32), bits);
	uint32_t bias = (1u << (f->exponent_bits - 1)) - 1, shift = 23 - f->mantissa_bits;
	LLVMValueRef last = build_and(e, shift_right(e, bits, shift), 1);
	uint32_t offset = ((1u << (shift - 1)) - 1) - ((127 - bias) << 23);
	LLVMValueRef normal = LLVMBuildAdd(b, LLVMBuildAdd(b, bits, const_int(i32, (int32_t)offset), ""), last, "");
	normal = shift_right(e, normal, shift);
	uint32_t magic = (127 + 1 - bias - f->mantissa_bits + 23) << 23;
	LLVMValueRef unit = LLVMBuildBitCast(b, const_int(i32, magic), f32, "");
	LLVMValueRef sum = LLVMBuildFAdd(b, LLVMBuildBitCast(b, bits, f32, ""), unit, "");
	LLVMValueRef low = LLVMBuildSub(b, LLVMBuildBitCast(b, sum, i32, ""), const_int(i32, magic), "");
	LLVMValueRef is_low = LLVMBuildICmp(b, LLVMIntULT, bits, const_int(i32, (128 - bias) << 23), "");
	LLVMValueRef code = LLVMBuildSelect(b, is_low, low, normal, "");
	LLVMValueRef is_over = LLVMBuildICmp(b, LLVMIntUGT, code, const_int(i32, f->max), "");
	return LLVMBuildSelect(b, is_over, const_int(i32, f->overflow), code, "");
}

/* Code of a f32 as i32. */
static LLVMValueRef encode_small(Emitter *e, Store store, LLVMValueRef v, bool may_be_nan)
{
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef i32 = type_like(type_of(e, T_I32), v);
	LLVMValueRef bits = LLVMBuildBitCast(b, v, i32, ""), code;
	LLVMValueRef magnitude = build_and(e, bits, 0x7fffffff);
	uint32_t nan = 255;
	if (store.kind == STORE_E8M0) {
		LLVMValueRef exponent = shift_right(e, magnitude, 23);
		LLVMValueRef is_infinite = LLVMBuildICmp(b, LLVMIntEQ, exponent, const_int(i32, 255), "");
		code = LLVMBuildSelect(b, is_infinite, const_int(i32, 254), exponent, "");
	} else {
		const FloatCode *f = &float_codes[store.kind];
		nan = f->nan;
		code = encode_magnitude(e, f, magnitude);
		LLVMValueRef is_negative = LLVMBuildICmp(b, LLVMIntSLT, bits, const_int(i32, 0), "");
		LLVMValueRef sign = shift_left(e, shift_right(e, bits, 31), f->exponent_bits + f->mantissa_bits);
		code =
			f->has_sign ? LLVMBuildOr(b, code, sign, "") : LLVMBuildSelect(b, is_negative, const_int(i32, 0), code, "");
	}
	return may_be_nan ? LLVMBuildSelect(b, is_nan(e, v), const_int(i32, nan), code, "") : code;
}

/* The value of a code in an i32; bits above the code's are ignored. */
static LLVMValueRef decode_small(Emitter *e, Store store, LLVMValueRef bits)
{
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef i32 = LLVMTypeOf(bits), f32 = type_like(type_of(e, T_F32), bits);
	LLVMValueRef nan = LLVMBuildBitCast(b, const_int(i32, 0x7fc00000), f32, "");
	if (store.kind == STORE_E8M0) {
		LLVMValueRef code = build_and(e, bits, 255);
		LLVMValueRef is_least = LLVMBuildICmp(b, LLVMIntEQ, code, const_int(i32, 0), "");
		LLVMValueRef power = LLVMBuildSelect(b, is_least, const_int(i32, 0x00400000), shift_left(e, code, 23), "");
		LLVMValueRef is_none = LLVMBuildICmp(b, LLVMIntEQ, code, const_int(i32, 255), "");
		return LLVMBuildSelect(b, is_none, nan, LLVMBuildBitCast(b, power, f32, ""), "");
	}
	if (store.kind == STORE_BF16)
		return LLVMBuildBitCast(b, shift_left(e, bits, 16), f32, "");
	const FloatCode *f = &float_codes[store.kind];
	uint32_t width = f->exponent_bits + f->mantissa_bits, bias = (1u << (f->exponent_bits - 1)) - 1;
	LLVMValueRef code = build_and(e, bits, low_mask(width));
	LLVMValueRef scaled = LLVMBuildBitCast(b, shift_left(e, code, 23 - f->mantissa_bits), f32, "");
	LLVMValueRef v = LLVMBuildFMul(b, scaled, const_real(f32, ldexp(1, 127 - (int)bias)), "");
	if (f->has_infinity) {
		LLVMValueRef is_infinite = LLVMBuildICmp(b, LLVMIntEQ, code, const_int(i32, f->overflow), "");
		v = LLVMBuildSelect(b, is_infinite, const_real(f32, (double)INFINITY), v, "");
	}
	if (f->first_nan <= low_mask(width)) {
		LLVMValueRef is_none = LLVMBuildICmp(b, LLVMIntUGE, code, const_int(i32, f->first_nan), "");
		v = LLVMBuildSelect(b, is_none, nan, v, "");
	}
	if (!f->has_sign)
		return v;
	LLVMValueRef sign = shift_left(e, shift_right(e, build_and(e, bits, UINT64_C(1) << width), width), 31);
	return LLVMBuildBitCast(b, LLVMBuildOr(b, LLVMBuildBitCast(b, v, i32, ""), sign, ""), f32, "");
}

/* ---- f16 by instruction ---- */

static LLVMValueRef encode_half(Emitter *e, LLVMValueRef v, bool may_be_nan)
{
	LLVMTypeRef half = type_like(LLVMHalfTypeInContext(e->m->context), v);
	LLVMTypeRef i16 = type_like(LLVMInt16TypeInContext(e->m->context), v);
	LLVMValueRef bits = LLVMBuildBitCast(e->builder, LLVMBuildFPTrunc(e->builder, v, half, ""), i16, "");
	return may_be_nan ? LLVMBuildSelect(e->builder, is_nan(e, v), const_int(i16, 0x7e00), bits, "") : bits;
}

static LLVMValueRef decode_half(Emitter *e, LLVMValueRef raw)
{
	LLVMTypeRef half = type_like(LLVMHalfTypeInContext(e->m->context), raw);
	LLVMTypeRef i16 = type_like(LLVMInt16TypeInContext(e->m->context), raw);
	raw = LLVMBuildIntCast2(e->builder, raw, i16, false, "");
	return LLVMBuildFPExt(
		e->builder, LLVMBuildBitCast(e->builder, raw, half, ""), type_like(type_of(e, T_F32), raw), "");
}

/* ---- all kinds ---- */

/* An integer operand of a float store as a real that loses nothing more than storage.c's own path does. */
static LLVMValueRef real_of_integer(Emitter *e, Store store, KType *type, LLVMValueRef v, Range *range)
{
	bool was_bool = *type == T_BOOL;
	bool is_short = range->least >= -(1 << 24) && range->most <= 1 << 24;
	*type = store.kind == STORE_F32 || (store.kind != STORE_F64 && is_short) ? T_F32 : T_F64;
	LLVMTypeRef to = type_like(type_of(e, *type), v);
	range->lo = (double)range->least;
	range->hi = (double)range->most;
	range->may_be_nan = false;
	return was_bool ? LLVMBuildUIToFP(e->builder, v, to, "") : LLVMBuildSIToFP(e->builder, v, to, "");
}

static LLVMValueRef encode_integer(Emitter *e, Store store, KType type, LLVMValueRef v, Range range)
{
	LLVMTypeRef element = store_memory_type(e, store);
	if (store.kind == STORE_BOOL) {
		LLVMValueRef is_set = is_real(type)
								  ? LLVMBuildFCmp(e->builder, LLVMRealUNE, v, const_real(LLVMTypeOf(v), 0), "")
							  : type == T_BOOL ? v
											   : LLVMBuildICmp(e->builder, LLVMIntNE, v, int_of(v, 0), "");
		return LLVMBuildZExt(e->builder, is_set, type_like(element, v), "");
	}
	bool is_signed = store.kind == STORE_INT;
	if (is_real(type))
		return emit_real_to_int(e, v, range, is_signed, store.bits, element);
	int64_t most = (int64_t)low_mask(is_signed ? store.bits - 1u : store.bits > 63 ? 63 : store.bits);
	int64_t least = is_signed ? -most - 1 : 0;
	v = to_integer_type(e, v, element, type != T_BOOL);
	if ((range.least >= least && range.most <= most) || store.bits == store_bytes(store) * 8)
		return v;
	if (!is_signed)
		return build_and(e, v, low_mask(store.bits));
	LLVMValueRef spare = int_of(v, store_bytes(store) * 8 - store.bits);
	return LLVMBuildAShr(e->builder, LLVMBuildShl(e->builder, v, spare, ""), spare, "");
}

static LLVMValueRef canonical(Emitter *e, LLVMValueRef v, bool may_be_nan)
{
	if (!may_be_nan)
		return v;
	LLVMTypeRef type = LLVMTypeOf(v), scalar = is_vector_value(v) ? LLVMGetElementType(type) : type;
	bool is_single = LLVMGetTypeKind(scalar) == LLVMFloatTypeKind;
	LLVMTypeRef bits = type_of(e, is_single ? T_I32 : T_I64);
	LLVMValueRef one = const_int(bits, is_single ? 0x7fc00000 : INT64_C(0x7ff8000000000000));
	LLVMValueRef nan = const_like(e, v, LLVMConstBitCast(one, scalar));
	return LLVMBuildSelect(e->builder, is_nan(e, v), nan, v, "");
}

LLVMValueRef emit_encode(Emitter *e, Store store, KType type, LLVMValueRef v, Range range)
{
	if (is_integer_store(store))
		return encode_integer(e, store, type, v, range);
	if (!is_real(type))
		v = real_of_integer(e, store, &type, v, &range);
	if (store.kind == STORE_F32 || store.kind == STORE_F64) {
		LLVMTypeRef to = type_like(store_memory_type(e, store), v);
		if (store.kind == STORE_F32 && type == T_F64)
			v = LLVMBuildFPTrunc(e->builder, v, to, "");
		if (store.kind == STORE_F64 && type == T_F32)
			v = LLVMBuildFPExt(e->builder, v, to, "");
		return canonical(e, v, range.may_be_nan);
	}
	if (type == T_F64)
		v = round_to_odd(e, v);
	if (store.kind == STORE_F16 && e->m->has_f16)
		return encode_half(e, v, range.may_be_nan);
	return to_integer_type(e, encode_small(e, store, v, range.may_be_nan), store_memory_type(e, store), false);
}

LLVMValueRef emit_decode(Emitter *e, Store store, LLVMValueRef raw)
{
	if (store.kind == STORE_F32 || store.kind == STORE_F64)
		return raw;
	if (store.kind == STORE_BOOL)
		return LLVMBuildICmp(e->builder, LLVMIntNE, raw, int_of(raw, 0), "");
	if (store.kind == STORE_F16 && e->m->has_f16)
		return decode_half(e, raw);
	if (is_small_float(store))
		return decode_small(e, store, to_integer_type(e, raw, type_of(e, T_I32), false));
	bool is_signed = store.kind == STORE_INT;
	LLVMValueRef v = to_integer_type(e, raw, type_of(e, store_type(store)), is_signed);
	uint32_t width = store_type(store) == T_I32 ? 32 : 64;
	if (store.bits == store_bytes(store) * 8)
		return v;
	if (!is_signed)
		return build_and(e, v, low_mask(store.bits));
	LLVMValueRef spare = int_of(v, width - store.bits);
	return LLVMBuildAShr(e->builder, LLVMBuildShl(e->builder, v, spare, ""), spare, "");
}

LLVMValueRef emit_store_as(Emitter *e, Store store, KType type, LLVMValueRef v, Range range)
{
	KType to = store_type(store);
	if (store.kind == STORE_F32 || store.kind == STORE_F64) {
		if (!is_real(type))
			return real_of_integer(e, store, &type, v, &range);
		LLVMTypeRef as = type_like(type_of(e, to), v);
		return type == to    ? v
			   : to == T_F32 ? LLVMBuildFPTrunc(e->builder, v, as, "")
							 : LLVMBuildFPExt(e->builder, v, as, "");
	}
	if (is_integer_store(store) && store.kind != STORE_BOOL && is_real(type))
		return emit_real_to_int(e, v, range, store.kind == STORE_INT, store.bits, type_of(e, to));
	return emit_decode(e, store, emit_encode(e, store, type, v, range));
}

LLVMValueRef emit_bits(Emitter *e, Store store, KType type, LLVMValueRef v, Range range, KType to)
{
	LLVMValueRef raw = emit_encode(e, store, type, v, range);
	if (store.kind == STORE_F32 || store.kind == STORE_F64)
		raw =
			LLVMBuildBitCast(e->builder, raw, type_like(type_of(e, store.kind == STORE_F32 ? T_I32 : T_I64), raw), "");
	raw = to_integer_type(e, raw, type_of(e, to), false);
	return store.kind == STORE_INT && store.bits < (to == T_I32 ? 32 : 64) ? build_and(e, raw, low_mask(store.bits))
																		   : raw;
}

LLVMValueRef emit_from_bits(Emitter *e, Store store, KType from, LLVMValueRef bits)
{
	(void)from;
	if (store.kind == STORE_BOOL)
		return LLVMBuildICmp(e->builder, LLVMIntNE, build_and(e, bits, 1), int_of(bits, 0), "");
	if (store.kind == STORE_F32 || store.kind == STORE_F64) {
		KType integer = store.kind == STORE_F32 ? T_I32 : T_I64;
		bits = to_integer_type(e, bits, type_of(e, integer), false);
		return LLVMBuildBitCast(e->builder, bits, type_like(type_of(e, store_type(store)), bits), "");
	}
	LLVMTypeRef raw = LLVMIntTypeInContext(e->m->context, store_bytes(store) * 8);
	return emit_decode(e, store, to_integer_type(e, bits, raw, false));
}
