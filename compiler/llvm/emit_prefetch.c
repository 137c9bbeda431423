/* SPDX-License-Identifier: MIT
 *
 * emit_prefetch.c: the next row on its way while this one is computed.
 *
 * Where the first step of a row's turn reads the whole row and others work on what is
 * in the cache then, memory would wait for the computation and the other way round.
 * So the last loop with some work in it asks for the next row, a piece in each of its
 * turns; of a loop over tiles, the last loop in it does. Asking for what lies behind
 * the last row does nothing.
 */
#include "emit.h"

enum { LINE = 64, LINES_MOST = 32, ROW_LEAST = 2048 };

typedef struct Search {
	KBuffer *buffer;
	KStep *rows;
	bool is_found;
} Search;

static void find_row_read(void *context, KExpr *load)
{
	Search *s = context;
	s->is_found |= load->buffer == s->buffer && load->subs[0]->op == OP_INDEX && load->subs[0]->index == s->rows->index;
}

/* A step or what is in it reads the row in hand. */
static bool reads_row(Emitter *e, KStep *step, KBuffer *buffer)
{
	Search s = {buffer, e->rows, false};
	step_each_load(e->k, step, find_row_read, &s);
	for (size_t i = 0; i < step->body.count && !s.is_found; i++)
		s.is_found = reads_row(e, step->body.at[i], buffer);
	return s.is_found;
}

static bool has_work(const KStep *step)
{
	return step->kind == STEP_LOOP && step->body.count > 1;
}

/* The last loop with some work in the row's turn, and something before it reads the buffer. */
static bool is_last_of_several(Emitter *e, KStep *loop, KBuffer *buffer)
{
	bool is_read = false, is_last = false;
	for (size_t i = 0; i < e->rows->body.count; i++) {
		KStep *step = e->rows->body.at[i];
		if (step == loop)
			is_last = is_read;
		else if (has_work(step))
			is_last = false;
		is_read |= reads_row(e, step, buffer);
	}
	return is_last;
}

static bool const_row_bytes(const KBuffer *buffer, int64_t *bytes)
{
	*bytes = store_bytes(buffer->store);
	for (uint32_t i = 1; i < buffer->rank; i++) {
		int64_t extent;
		if (!kexpr_is_const(buffer->extent[i], &extent))
			return false;
		*bytes *= extent;
	}
	return buffer->rank > 1;
}

static void prefetch_piece(Emitter *e, KBuffer *buffer, int64_t row_bytes, LLVMValueRef turn, int64_t lines)
{
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef i64 = type_of(e, T_I64), i32 = type_of(e, T_I32), i8 = LLVMInt8TypeInContext(e->m->context);
	LLVMValueRef base = place_of(e, buffer)->base, row = e->index_values[e->rows->index->id];
	LLVMTypeRef pointer = LLVMTypeOf(base);
	LLVMValueRef next = LLVMBuildMul(b, LLVMBuildAdd(b, row, const_int(i64, 1), ""), const_int(i64, row_bytes), "");
	next = LLVMBuildAdd(b, next, LLVMBuildMul(b, turn, const_int(i64, lines * LINE), ""), "next");
	for (int64_t i = 0; i < lines; i++) {
		LLVMValueRef at = LLVMBuildAdd(b, next, const_int(i64, i * LINE), "");
		at = LLVMBuildGEP2(b, i8, base, &at, 1, "");
		/* to be read, into the second level: the first holds this row */
		LLVMValueRef args[] = {at, const_int(i32, 0), const_int(i32, 2), const_int(i32, 1)};
		emit_intrinsic(e, "llvm.prefetch", &pointer, 1, args, 4);
	}
}

/* The last loop with some work among the steps, NULL: there is none. */
static KStep *last_loop(const KStepVec *steps)
{
	KStep *last = NULL;
	for (size_t i = 0; i < steps->count; i++)
		if (has_work(steps->at[i]))
			last = steps->at[i];
	return last;
}

/* The last work in it is that of a loop inside, of which it repeats the turns. */
static bool is_over_tiles(const KStep *loop)
{
	int64_t lo, count;
	return loop->mode == LOOP_SEQUENTIAL && loop->index->step == 1 && kexpr_is_const(loop->index->lo, &lo) && lo == 0 &&
		   const_trip_count(loop->index, &count) && last_loop(&loop->body);
}

void emit_prefetch(Emitter *e, KStep *loop, LLVMValueRef turn, LLVMValueRef turns)
{
	KStep *outer = e->rows ? last_loop(&e->rows->body) : NULL;
	bool is_tiled = outer && is_over_tiles(outer);
	if (!outer || loop != (is_tiled ? last_loop(&outer->body) : outer) || !LLVMIsAConstantInt(turns))
		return;
	int64_t bytes, count = LLVMConstIntGetSExtValue(turns), tiles;
	if (is_tiled) {
		LLVMValueRef per_tile = const_int(type_of(e, T_I64), count);
		LLVMValueRef before = LLVMBuildMul(e->builder, e->index_values[outer->index->id], per_tile, "");
		turn = LLVMBuildAdd(e->builder, before, turn, "");
		const_trip_count(outer->index, &tiles);
		count *= tiles;
	}
	for (size_t i = 0; i < e->k->inputs.count && count > 0; i++) {
		KBuffer *buffer = e->k->inputs.at[i];
		if (!const_row_bytes(buffer, &bytes) || bytes < ROW_LEAST || !is_last_of_several(e, outer, buffer))
			continue;
		int64_t lines = (bytes + count * LINE - 1) / (count * LINE);
		if (lines <= LINES_MOST)
			prefetch_piece(e, buffer, bytes, turn, lines);
	}
}
