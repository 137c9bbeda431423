/* SPDX-License-Identifier: MIT
 *
 * emit_select.c: the two loops over a row that runtime/select.c searches with, as
 * functions of the module, made for its CPU: comparing blocks of 64 floats with four
 * guesses into words of bits, and spreading such words to bytes. The search itself,
 * which takes little of the time, is C.
 */
#include "emit.h"

enum { BLOCK = 64, GUESSES = 4, WORD_BYTES = 8 };

/* An emitter in a new function of the module: pointers and counts are its arguments, nothing is its result. */
static Emitter function_begin(Emitter *e, const char *name, LLVMTypeRef *types, uint32_t count)
{
	Emitter inner = *e;
	LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->m->context), types, count, false);
	inner.function = LLVMAddFunction(e->m->llvm, name, type);
	LLVMSetLinkage(inner.function, LLVMInternalLinkage);
	inner.builder = LLVMCreateBuilderInContext(e->m->context);
	inner.entry = LLVMAppendBasicBlockInContext(e->m->context, inner.function, "entry");
	LLVMPositionBuilderAtEnd(inner.builder, inner.entry);
	inner.width = BLOCK;
	return inner;
}

static void function_end(Emitter *e)
{
	LLVMBuildRetVoid(e->builder);
	LLVMDisposeBuilder(e->builder);
}

static LLVMValueRef word_pointer(Emitter *e, LLVMValueRef mask, LLVMValueRef block, LLVMValueRef word)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	LLVMValueRef at = LLVMBuildMul(e->builder, word, const_int(i64, WORD_BYTES), "");
	at = LLVMBuildAdd(e->builder, at, LLVMBuildMul(e->builder, block, const_int(i64, BLOCK), ""), "");
	return offset_pointer(e, mask, at);
}

/* CmprtCompare */
static LLVMValueRef emit_compare(Emitter *outer, const char *name)
{
	LLVMTypeRef ptr = LLVMPointerTypeInContext(outer->m->context, 0), i64 = type_of(outer, T_I64);
	LLVMTypeRef f32 = type_of(outer, T_F32), block = LLVMVectorType(f32, BLOCK), types[] = {ptr, i64, ptr, ptr, ptr};
	Emitter inner = function_begin(outer, name, types, 5), *e = &inner;
	LLVMBuilderRef b = e->builder;
	LLVMValueRef values = LLVMGetParam(e->function, 0), blocks = LLVMGetParam(e->function, 1);
	LLVMValueRef limits = LLVMGetParam(e->function, 2), mask = LLVMGetParam(e->function, 3);
	LLVMValueRef counts = LLVMGetParam(e->function, 4), guesses[GUESSES], totals[GUESSES];
	for (uint32_t j = 0; j < GUESSES; j++) {
		LLVMValueRef from = offset_pointer(e, limits, const_int(i64, 4 * j));
		guesses[j] = splat(e, LLVMBuildLoad2(b, f32, from, "guess"));
		totals[j] = LLVMBuildAlloca(b, i64, "total");
		LLVMBuildStore(b, const_int(i64, 0), totals[j]);
	}
	LoopFrame loop = loop_begin(e, const_int(i64, 0), blocks, 1, "block");
	LLVMValueRef at = LLVMBuildMul(b, loop.counter, const_int(i64, BLOCK * 4), "");
	LLVMValueRef v = LLVMBuildLoad2(b, block, offset_pointer(e, values, at), "values");
	LLVMSetAlignment(v, 4);
	for (uint32_t j = 0; j < GUESSES; j++) {
		LLVMValueRef bits = LLVMBuildBitCast(b, LLVMBuildFCmp(b, LLVMRealOLE, v, guesses[j], ""), i64, "bits");
		LLVMValueRef to = word_pointer(e, mask, loop.counter, const_int(i64, j));
		LLVMSetAlignment(LLVMBuildStore(b, bits, to), 1);
		LLVMValueRef total = LLVMBuildLoad2(b, i64, totals[j], "");
		LLVMBuildStore(b, LLVMBuildAdd(b, total, emit_intrinsic1(e, "llvm.ctpop", bits), ""), totals[j]);
	}
	loop_end(e, &loop, 1);
	for (uint32_t j = 0; j < GUESSES; j++)
		LLVMBuildStore(b, LLVMBuildLoad2(b, i64, totals[j], ""), offset_pointer(e, counts, const_int(i64, 8 * j)));
	function_end(e);
	return e->function;
}

/* CmprtSpread */
static LLVMValueRef emit_spread(Emitter *outer, const char *name)
{
	LLVMTypeRef ptr = LLVMPointerTypeInContext(outer->m->context, 0), i64 = type_of(outer, T_I64);
	LLVMTypeRef bool_type = LLVMInt1TypeInContext(outer->m->context), byte = LLVMInt8TypeInContext(outer->m->context);
	LLVMTypeRef types[] = {ptr, i64, i64};
	Emitter inner = function_begin(outer, name, types, 3), *e = &inner;
	LLVMBuilderRef b = e->builder;
	LLVMValueRef mask = LLVMGetParam(e->function, 0);
	LoopFrame loop = loop_begin(e, const_int(i64, 0), LLVMGetParam(e->function, 1), 1, "block");
	LLVMValueRef from = word_pointer(e, mask, loop.counter, LLVMGetParam(e->function, 2));
	LLVMValueRef bits = LLVMBuildLoad2(b, i64, from, "bits");
	LLVMSetAlignment(bits, 1);
	bits = LLVMBuildBitCast(b, bits, LLVMVectorType(bool_type, BLOCK), "");
	LLVMValueRef to = word_pointer(e, mask, loop.counter, const_int(i64, 0));
	LLVMSetAlignment(LLVMBuildStore(b, LLVMBuildZExt(b, bits, LLVMVectorType(byte, BLOCK), ""), to), 1);
	loop_end(e, &loop, 1);
	function_end(e);
	return e->function;
}

static LLVMValueRef function_once(Emitter *e, const char *name, LLVMValueRef (*emit)(Emitter *, const char *))
{
	LLVMValueRef function = LLVMGetNamedFunction(e->m->llvm, name);
	return function ? function : emit(e, name);
}

void emit_smallest(Emitter *e, LLVMValueRef values, LLVMValueRef count, LLVMValueRef limit, LLVMValueRef mask)
{
	LLVMValueRef args[] = {values, count, limit, mask, zeroed_at_entry(e, type_of(e, T_I64), "hint"),
		function_once(e, "select.compare", emit_compare), function_once(e, "select.spread", emit_spread)};
	emit_runtime_call(e, "cmprt_smallest_f32", args);
}
