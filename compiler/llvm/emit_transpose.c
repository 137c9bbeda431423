/* SPDX-License-Identifier: MIT
 *
 * emit_transpose.c: n vectors of n elements, turned from one a lane into one an
 * element and back, by shuffles alone; and where the lanes' elements lie. For
 * emit_lanes.c and emit_sink.c.
 */
#include "emit.h"

LLVMValueRef emit_shuffle(Emitter *e, LLVMValueRef a, LLVMValueRef b, const uint32_t *mask, uint32_t count)
{
	LLVMTypeRef i32 = type_of(e, T_I32);
	LLVMValueRef items[LANES_MOST];
	for (uint32_t i = 0; i < count; i++)
		items[i] = const_int(i32, mask[i]);
	return LLVMBuildShuffleVector(e->builder, a, b, LLVMConstVector(items, count), "");
}

/* Any size: log2(n) perfect shuffles. */
static void transpose_by_interleaving(Emitter *e, Rows rows, uint32_t n)
{
	for (uint32_t round = 1; round < n; round *= 2) {
		Rows next;
		for (uint32_t i = 0; i < n / 2; i++) {
			for (uint32_t half = 0; half < 2; half++) {
				uint32_t mask[LANES_MOST];
				for (uint32_t j = 0; j < n; j++)
					mask[j] = half * (n / 2) + j / 2 + j % 2 * n;
				next[2 * i + half] = emit_shuffle(e, rows[i], rows[i + n / 2], mask, n);
			}
		}
		for (uint32_t i = 0; i < n; i++)
			rows[i] = next[i];
	}
}

/* Within each quarter of four elements: [a0 b0 a1 b1] or [a2 b2 a3 b3] of single elements (wide false), [a0 a1 b0 b1]
 * or [a2 a3 b2 b3] of pairs. */
static LLVMValueRef unpack(Emitter *e, LLVMValueRef a, LLVMValueRef b, uint32_t n, bool high, bool wide)
{
	static const uint32_t singles[] = {0, 0, 1, 1}, pairs[] = {0, 1, 0, 1};
	uint32_t mask[LANES_MOST];
	for (uint32_t j = 0; j < n; j++) {
		uint32_t k = j % 4, from_b = wide ? k / 2 : k % 2;
		mask[j] = j - k + (high ? 2 : 0) + (wide ? pairs[k] : singles[k]) + from_b * n;
	}
	return emit_shuffle(e, a, b, mask, n);
}

/* 32-bit elements: 4 x 4 inside of 128 bits, then whole 128-bit quarters change places. */
static void transpose_by_quarters(Emitter *e, Rows rows, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += 4) {
		LLVMValueRef ab_low = unpack(e, rows[i], rows[i + 1], n, false, false);
		LLVMValueRef ab_high = unpack(e, rows[i], rows[i + 1], n, true, false);
		LLVMValueRef cd_low = unpack(e, rows[i + 2], rows[i + 3], n, false, false);
		LLVMValueRef cd_high = unpack(e, rows[i + 2], rows[i + 3], n, true, false);
		rows[i] = unpack(e, ab_low, cd_low, n, false, true);
		rows[i + 1] = unpack(e, ab_low, cd_low, n, true, true);
		rows[i + 2] = unpack(e, ab_high, cd_high, n, false, true);
		rows[i + 3] = unpack(e, ab_high, cd_high, n, true, true);
	}
	for (uint32_t distance = 4; distance < n; distance *= 2) {
		for (uint32_t i = 0; i < n; i++) {
			if (i & distance)
				continue;
			LLVMValueRef a = rows[i], b = rows[i + distance];
			uint32_t low[LANES_MOST], high[LANES_MOST];
			for (uint32_t j = 0; j < n; j++) {
				low[j] = j & distance ? j - distance + n : j;
				high[j] = j & distance ? j + n : j + distance;
			}
			rows[i] = emit_shuffle(e, a, b, low, n);
			rows[i + distance] = emit_shuffle(e, a, b, high, n);
		}
	}
}

void emit_transpose(Emitter *e, Rows rows, uint32_t n)
{
	LLVMTypeRef element = LLVMGetElementType(LLVMTypeOf(rows[0]));
	LLVMTypeKind kind = LLVMGetTypeKind(element);
	bool is_single = kind == LLVMFloatTypeKind || (kind == LLVMIntegerTypeKind && LLVMGetIntTypeWidth(element) == 32);
	if (is_single && n % 4 == 0)
		transpose_by_quarters(e, rows, n);
	else
		transpose_by_interleaving(e, rows, n);
}

LLVMValueRef emit_resize(Emitter *e, LLVMValueRef v, uint32_t from, uint32_t to)
{
	if (from == to)
		return v;
	uint32_t mask[LANES_MOST];
	for (uint32_t j = 0; j < to; j++)
		mask[j] = j < from ? j : 0;
	return emit_shuffle(e, v, LLVMGetPoison(LLVMTypeOf(v)), mask, to);
}

/* ---- addresses of lanes ---- */

LLVMValueRef lane_add_bytes(Emitter *e, LLVMValueRef pointer, LLVMValueRef count, int64_t bytes)
{
	LLVMValueRef offset = LLVMBuildMul(e->builder, count, const_int(type_of(e, T_I64), bytes), "");
	return offset_pointer(e, pointer, offset);
}

void lane_pointers(Emitter *e, LLVMValueRef first, int64_t bytes, Rows pointers)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	bool is_full = LLVMIsConstant(e->lanes_full);
	LLVMValueRef last = NULL;
	if (!is_full)
		last = LLVMBuildZExt(
			e->builder, LLVMBuildSub(e->builder, e->lane_count, const_int(type_of(e, T_I32), 1), ""), i64, "");
	for (uint32_t i = 0; i < e->width; i++) {
		LLVMValueRef lane = const_int(i64, i);
		if (!is_full) {
			LLVMValueRef is_live = LLVMBuildICmp(e->builder, LLVMIntULT, lane, last, "");
			lane = LLVMBuildSelect(e->builder, is_live, lane, last, "");
		}
		pointers[i] = lane_add_bytes(e, first, lane, bytes);
	}
}
