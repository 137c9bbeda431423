/* SPDX-License-Identifier: MIT
 *
 * emit_select.c: the passes over a row that runtime/select.c searches with, as
 * functions of the module, made for its CPU (CmprtPasses). Two see the values: what
 * leads from memory to a value is part of these, so a row is selected from as it
 * lies in a buffer, without a copy. The others see levels, bytes. The search itself,
 * which takes little of the time, is C.
 */
#include "emit.h"

enum { BLOCK = CMPRT_SELECT_BLOCK, GUESSES = CMPRT_SELECT_GUESSES, KEY_BYTES = 4, WORD_BYTES = 8 };

/* An emitter in a new function of the module; its arguments are pointers and i64, a p or an i of types each. */
static Emitter function_begin(Emitter *e, const char *name, const char *types, bool has_result)
{
	Emitter inner = *e;
	LLVMTypeRef ptr = LLVMPointerTypeInContext(e->m->context, 0), i64 = type_of(e, T_I64), arguments[8];
	unsigned count = 0;
	for (; types[count]; count++)
		arguments[count] = types[count] == 'p' ? ptr : i64;
	LLVMTypeRef result = has_result ? i64 : LLVMVoidTypeInContext(e->m->context);
	inner.function = LLVMAddFunction(e->m->llvm, name, LLVMFunctionType(result, arguments, count, false));
	LLVMSetLinkage(inner.function, LLVMInternalLinkage);
	inner.builder = LLVMCreateBuilderInContext(e->m->context);
	inner.entry = LLVMAppendBasicBlockInContext(e->m->context, inner.function, "entry");
	LLVMPositionBuilderAtEnd(inner.builder, inner.entry);
	inner.memo = (KExprMap){.arena = e->k->c->arena};
	inner.mode = MODE_VECTOR;
	inner.width = BLOCK;
	return inner;
}

static LLVMValueRef function_end(Emitter *e, LLVMValueRef result)
{
	if (result)
		LLVMBuildRet(e->builder, result);
	else
		LLVMBuildRetVoid(e->builder);
	LLVMDisposeBuilder(e->builder);
	return e->function;
}

static LLVMValueRef argument(Emitter *e, unsigned number)
{
	return LLVMGetParam(e->function, number);
}

static LLVMValueRef element_pointer(Emitter *e, LLVMValueRef base, LLVMValueRef number, int64_t bytes)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	return offset_pointer(e, base, LLVMBuildMul(e->builder, number, const_int(i64, bytes), ""));
}

static LLVMTypeRef block_of(Emitter *e, LLVMTypeRef element)
{
	(void)e;
	return LLVMVectorType(element, BLOCK);
}

static LLVMTypeRef byte_type(Emitter *e)
{
	return LLVMInt8TypeInContext(e->m->context);
}

/* An argument, an i64, in each element of a block of a narrower type. */
static LLVMValueRef argument_block(Emitter *e, unsigned number, LLVMTypeRef element)
{
	return splat(e, LLVMBuildTrunc(e->builder, argument(e, number), element, ""));
}

/* ---- values ---- */

/* The key of the element that `raw` is in memory, or of a vector of them. */
static LLVMValueRef key_of(Emitter *e, KStep *step, const RowValues *values, LLVMValueRef raw)
{
	if (!values->load)
		return emit_sorting_image(e, step, raw);
	KExpr *load = values->load;
	memo_forget(e);
	memo_set(e, load, decode_place(e, load->buffer, place_of(e, load->buffer), load->store, raw));
	return emit_sorting_image(e, step, emit_expr(e, step->value));
}

/* How many times a condition held at each place of a block: a byte, enough for CMPRT_SELECT_BLOCKS. */
static LLVMValueRef tally_new(Emitter *e)
{
	LLVMTypeRef type = block_of(e, byte_type(e));
	LLVMValueRef tally = LLVMBuildAlloca(e->builder, type, "tally");
	LLVMBuildStore(e->builder, LLVMConstNull(type), tally);
	return tally;
}

static void tally_add(Emitter *e, LLVMValueRef tally, LLVMValueRef condition)
{
	LLVMTypeRef type = block_of(e, byte_type(e));
	LLVMValueRef before = LLVMBuildLoad2(e->builder, type, tally, "");
	LLVMBuildStore(
		e->builder, LLVMBuildAdd(e->builder, before, LLVMBuildZExt(e->builder, condition, type, ""), ""), tally);
}

static LLVMValueRef tally_total(Emitter *e, LLVMValueRef tally)
{
	LLVMTypeRef wide = block_of(e, LLVMInt16TypeInContext(e->m->context));
	LLVMValueRef bytes = LLVMBuildLoad2(e->builder, block_of(e, byte_type(e)), tally, "");
	LLVMValueRef sum = emit_intrinsic1(e, "llvm.vector.reduce.add", LLVMBuildZExt(e->builder, bytes, wide, ""));
	return LLVMBuildZExt(e->builder, sum, type_of(e, T_I64), "");
}

static LLVMValueRef emit_levels(Emitter *outer, KStep *step, const RowValues *values)
{
	Emitter inner = function_begin(outer, "select.levels", "piiiip", true), *e = &inner;
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef i64 = type_of(e, T_I64), i32 = type_of(e, T_I32), key_block = block_of(e, i32);
	LLVMValueRef base = argument_block(e, 3, i32), shift = argument_block(e, 4, i32), below = tally_new(e);
	LoopFrame loop = loop_begin(e, const_int(i64, 0), argument(e, 2), 1, "block");
	LLVMValueRef block = LLVMBuildAdd(b, argument(e, 1), loop.counter, "");
	LLVMValueRef from = element_pointer(e, argument(e, 0), block, (int64_t)values->bytes * BLOCK);
	LLVMValueRef raw = load_at(e, block_of(e, values->element), from, values->bytes, NULL);
	LLVMValueRef level = LLVMBuildAShr(b, key_of(e, step, values, raw), shift, "");
	LLVMValueRef lowest[] = {LLVMBuildSub(b, level, base, ""), const_int(key_block, INT8_MIN)};
	LLVMValueRef highest[] = {emit_intrinsic(e, "llvm.smax", &key_block, 1, lowest, 2), const_int(key_block, INT8_MAX)};
	level = emit_intrinsic(e, "llvm.smin", &key_block, 1, highest, 2);
	level = LLVMBuildTrunc(b, level, block_of(e, byte_type(e)), "level");
	store_at(e, level, element_pointer(e, argument(e, 5), loop.counter, BLOCK), 1, NULL);
	tally_add(e, below, LLVMBuildICmp(b, LLVMIntSLT, level, LLVMConstNull(LLVMTypeOf(level)), ""));
	loop_end(e, &loop, 1);
	return function_end(e, tally_total(e, below));
}

static LLVMValueRef emit_keys(Emitter *outer, KStep *step, const RowValues *values)
{
	Emitter inner = function_begin(outer, "select.keys", "ppip", false), *e = &inner;
	LLVMTypeRef i64 = type_of(e, T_I64);
	e->mode = MODE_SCALAR;
	LoopFrame loop = loop_begin(e, const_int(i64, 0), argument(e, 2), 1, "element");
	LLVMValueRef place =
		load_at(e, i64, element_pointer(e, argument(e, 1), loop.counter, WORD_BYTES), WORD_BYTES, NULL);
	LLVMValueRef from = element_pointer(e, argument(e, 0), place, values->bytes);
	LLVMValueRef key = key_of(e, step, values, load_at(e, values->element, from, values->bytes, NULL));
	store_at(e, key, element_pointer(e, argument(e, 3), loop.counter, KEY_BYTES), KEY_BYTES, NULL);
	loop_end(e, &loop, 1);
	return function_end(e, NULL);
}

/* ---- levels ---- */

static LLVMValueRef emit_count(Emitter *outer, const char *name)
{
	Emitter inner = function_begin(outer, name, "pipp", false), *e = &inner;
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef i64 = type_of(e, T_I64), byte = byte_type(e);
	LLVMValueRef guesses[GUESSES], tallies[GUESSES];
	for (uint32_t j = 0; j < GUESSES; j++) {
		LLVMValueRef from = offset_pointer(e, argument(e, 2), const_int(i64, j));
		guesses[j] = splat(e, LLVMBuildLoad2(b, byte, from, "guess"));
		tallies[j] = tally_new(e);
	}
	LoopFrame loop = loop_begin(e, const_int(i64, 0), argument(e, 1), 1, "block");
	LLVMValueRef from = element_pointer(e, argument(e, 0), loop.counter, BLOCK);
	LLVMValueRef levels = load_at(e, block_of(e, byte), from, 1, NULL);
	for (uint32_t j = 0; j < GUESSES; j++)
		tally_add(e, tallies[j], LLVMBuildICmp(b, LLVMIntSLE, levels, guesses[j], ""));
	loop_end(e, &loop, 1);
	for (uint32_t j = 0; j < GUESSES; j++) {
		LLVMValueRef at = offset_pointer(e, argument(e, 3), const_int(i64, (int64_t)j * WORD_BYTES));
		LLVMValueRef count = load_at(e, i64, at, WORD_BYTES, NULL);
		store_at(e, LLVMBuildAdd(b, count, tally_total(e, tallies[j]), ""), at, WORD_BYTES, NULL);
	}
	return function_end(e, NULL);
}

static LLVMValueRef emit_mark(Emitter *outer, const char *name)
{
	Emitter inner = function_begin(outer, name, "piiip", false), *e = &inner;
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef i64 = type_of(e, T_I64), byte = byte_type(e), block = block_of(e, byte);
	LLVMValueRef least = argument_block(e, 2, byte), most = argument_block(e, 3, byte);
	LoopFrame loop = loop_begin(e, const_int(i64, 0), argument(e, 1), 1, "block");
	LLVMValueRef at = element_pointer(e, argument(e, 0), loop.counter, BLOCK);
	LLVMValueRef levels = load_at(e, block, at, 1, NULL), is_below = LLVMBuildICmp(b, LLVMIntSLT, levels, least, "");
	LLVMValueRef is_member =
		LLVMBuildAnd(b, LLVMBuildNot(b, is_below, ""), LLVMBuildICmp(b, LLVMIntSLE, levels, most, ""), "");
	LLVMValueRef to = element_pointer(e, argument(e, 4), loop.counter, WORD_BYTES);
	store_at(e, LLVMBuildBitCast(b, is_member, i64, "members"), to, WORD_BYTES, NULL);
	store_at(e, LLVMBuildZExt(b, is_below, block, ""), at, 1, NULL);
	loop_end(e, &loop, 1);
	return function_end(e, NULL);
}

static LLVMValueRef function_once(Emitter *e, const char *name, LLVMValueRef (*emit)(Emitter *, const char *))
{
	LLVMValueRef function = LLVMGetNamedFunction(e->m->llvm, name);
	return function ? function : emit(e, name);
}

void emit_smallest(
	Emitter *e, KStep *step, const RowValues *values, LLVMValueRef count, LLVMValueRef limit, LLVMValueRef mask)
{
	LLVMValueRef functions[] = {emit_levels(e, step, values), function_once(e, "select.count", emit_count),
		function_once(e, "select.mark", emit_mark), emit_keys(e, step, values)};
	LLVMValueRef table = LLVMConstStructInContext(e->m->context, functions, 4, false);
	LLVMValueRef passes = LLVMAddGlobal(e->m->llvm, LLVMTypeOf(table), "select.passes");
	LLVMSetInitializer(passes, table);
	LLVMSetGlobalConstant(passes, true);
	LLVMSetLinkage(passes, LLVMPrivateLinkage);
	LLVMValueRef hint = zeroed_at_entry(e, LLVMArrayType2(byte_type(e), CMPRT_SELECT_HINT), "hint");
	LLVMSetAlignment(hint, WORD_BYTES);
	LLVMValueRef args[] = {values->memory, count, limit, mask, hint, passes};
	emit_runtime_call(e, "cmprt_smallest_f32", args);
}
