/* SPDX-License-Identifier: MIT
 *
 * emit.c: kernels to LLVM functions, loops, conditions, rows handed to threads.
 *
 * On entry a kernel is scheduled and verified. A kernel that is one loop over rows
 * becomes a function of [begin, end). Any other runs its steps in order on one
 * thread and hands each loop over rows, outlined as NAME.rowsN, to cmprt_parallel;
 * the frame that those get holds, behind the kernel's buffers, the values of the
 * sequential indices around them and the temporaries of those loops.
 */
#include "emit.h"

#include <stdlib.h>
#include <string.h>

/* ---- runtime calls ---- */

typedef struct RuntimeRow {
	const char *result, *name, *arguments;
} RuntimeRow;

static const RuntimeRow runtime_rows[] = {
#define RUNTIME(result, name, arguments) {#result, #name, #arguments},
#include "runtime.def"
#undef RUNTIME
};

static LLVMTypeRef runtime_type(Emitter *e, const char *text)
{
	while (*text == '(' || *text == ' ')
		text++;
	if (strncmp(text, "unit", 4) == 0)
		return LLVMVoidTypeInContext(e->m->context);
	if (strncmp(text, "ptr", 3) == 0)
		return LLVMPointerTypeInContext(e->m->context, 0);
	return type_of(e, strncmp(text, "f64", 3) == 0 ? T_F64 : T_I64);
}

LLVMValueRef emit_runtime_call(Emitter *e, const char *name, LLVMValueRef *args)
{
	const RuntimeRow *row = runtime_rows;
	while (strcmp(row->name, name) != 0)
		row++;
	LLVMTypeRef types[16];
	unsigned count = 0;
	for (const char *at = row->arguments; at; at = strchr(at + 1, ','))
		types[count++] = runtime_type(e, *at == ',' ? at + 1 : at);
	LLVMTypeRef type = LLVMFunctionType(runtime_type(e, row->result), types, count, false);
	LLVMValueRef function = LLVMGetNamedFunction(e->m->llvm, name);
	if (!function)
		function = LLVMAddFunction(e->m->llvm, name, type);
	return LLVMBuildCall2(e->builder, type, function, args, count, "");
}

/* ---- loops ---- */

LoopFrame loop_begin(Emitter *e, LLVMValueRef from, LLVMValueRef to, int64_t by, const char *name)
{
	(void)by;
	LLVMContextRef context = e->m->context;
	LLVMTypeRef i64 = type_of(e, T_I64);
	LLVMBasicBlockRef before = LLVMGetInsertBlock(e->builder);
	LoopFrame loop;
	loop.header = LLVMAppendBasicBlockInContext(context, e->function, name);
	loop.body = LLVMAppendBasicBlockInContext(context, e->function, "body");
	loop.exit = LLVMAppendBasicBlockInContext(context, e->function, "exit");
	LLVMBuildBr(e->builder, loop.header);
	LLVMPositionBuilderAtEnd(e->builder, loop.header);
	loop.counter = LLVMBuildPhi(e->builder, i64, name);
	LLVMAddIncoming(loop.counter, &from, &before, 1);
	LLVMValueRef goes_on = LLVMBuildICmp(e->builder, LLVMIntSLT, loop.counter, to, "");
	LLVMBuildCondBr(e->builder, goes_on, loop.body, loop.exit);
	LLVMPositionBuilderAtEnd(e->builder, loop.body);
	memo_forget(e);
	return loop;
}

void loop_end(Emitter *e, LoopFrame *loop, int64_t by)
{
	LLVMValueRef next = LLVMBuildNSWAdd(e->builder, loop->counter, const_int(type_of(e, T_I64), by), "");
	LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->builder);
	LLVMAddIncoming(loop->counter, &next, &latch, 1);
	LLVMBuildBr(e->builder, loop->header);
	LLVMPositionBuilderAtEnd(e->builder, loop->exit);
	memo_forget(e);
}

LanesBranch lanes_branch_begin(Emitter *e, const char *name)
{
	LLVMContextRef context = e->m->context;
	Arena *arena = e->k->c->arena;
	LanesBranch branch = {
		.full = LLVMAppendBasicBlockInContext(context, e->function, arena_printf(arena, "%s.full", name)),
		.part = LLVMAppendBasicBlockInContext(context, e->function, arena_printf(arena, "%s.part", name)),
		.join = LLVMAppendBasicBlockInContext(context, e->function, arena_printf(arena, "%s.join", name))};
	LLVMBuildCondBr(e->builder, e->lanes_full, branch.full, branch.part);
	LLVMPositionBuilderAtEnd(e->builder, branch.full);
	return branch;
}

void lanes_branch_part(Emitter *e, const LanesBranch *branch)
{
	LLVMBuildBr(e->builder, branch->join);
	LLVMPositionBuilderAtEnd(e->builder, branch->part);
}

void lanes_branch_end(Emitter *e, const LanesBranch *branch)
{
	LLVMBuildBr(e->builder, branch->join);
	LLVMPositionBuilderAtEnd(e->builder, branch->join);
}

bool const_trip_count(KIndex *index, int64_t *count)
{
	int64_t lo, hi;
	if (!kexpr_is_const(index->lo, &lo) || !kexpr_is_const(index->hi, &hi))
		return false;
	*count = hi > lo ? (hi - lo + index->step - 1) / index->step : 0;
	return true;
}

LLVMValueRef emit_trip_count(Emitter *e, KIndex *index)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	int64_t count;
	if (const_trip_count(index, &count))
		return const_int(i64, count);
	LLVMValueRef length = LLVMBuildSub(e->builder, emit_index64(e, index->hi), emit_index64(e, index->lo), "");
	if (index->step != 1) {
		length = LLVMBuildAdd(e->builder, length, const_int(i64, index->step - 1), "");
		length = LLVMBuildSDiv(e->builder, length, const_int(i64, index->step), "");
	}
	LLVMValueRef none = const_int(i64, 0);
	LLVMValueRef is_some = LLVMBuildICmp(e->builder, LLVMIntSGT, length, none, "");
	return LLVMBuildSelect(e->builder, is_some, length, none, "trips");
}

void bind_index(Emitter *e, KIndex *index, LLVMValueRef counter)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	if (index->step != 1)
		counter = LLVMBuildMul(e->builder, counter, const_int(i64, index->step), "");
	int64_t lo;
	if (!kexpr_is_const(index->lo, &lo) || lo != 0)
		counter = LLVMBuildAdd(e->builder, counter, emit_index64(e, index->lo), index->name ? index->name : "");
	e->index_values[index->id] = counter;
}

/* ---- steps ---- */

static void emit_sequential(Emitter *e, KStep *step)
{
	LoopFrame loop = loop_begin(e, const_int(type_of(e, T_I64), 0), emit_trip_count(e, step->index), 1, "loop");
	emit_prefetch(e, step, loop.counter, emit_trip_count(e, step->index));
	bind_index(e, step->index, loop.counter);
	emit_steps(e, &step->body);
	loop_end(e, &loop, 1);
	e->index_values[step->index->id] = NULL;
}

static void emit_condition(Emitter *e, KStep *step)
{
	LLVMContextRef context = e->m->context;
	LLVMBasicBlockRef then = LLVMAppendBasicBlockInContext(context, e->function, "then");
	LLVMBasicBlockRef join = LLVMAppendBasicBlockInContext(context, e->function, "join");
	LLVMBuildCondBr(e->builder, emit_expr(e, step->value), then, join);
	LLVMPositionBuilderAtEnd(e->builder, then);
	memo_forget(e);
	emit_steps(e, &step->body);
	LLVMBuildBr(e->builder, join);
	LLVMPositionBuilderAtEnd(e->builder, join);
	memo_forget(e);
}

static void emit_rows(Emitter *e, KStep *step);

static void emit_loop(Emitter *e, KStep *step)
{
	bool may_widen = e->mode == MODE_SCALAR && step->lanes > 1;
	if (step->mode == LOOP_LANES && may_widen)
		emit_lane_loop(e, step);
	else if (step->mode == LOOP_ROWS && e->is_top)
		emit_rows(e, step);
	else
		emit_sequential(e, step);
}

static bool is_leaf(const KStep *step)
{
	return step->kind == STEP_MAP || step->kind == STEP_REDUCE || step->kind == STEP_SCAN;
}

/* Leaf steps without others between them. */
static void emit_leaves(Emitter *e, KStep *const *steps, size_t count)
{
	KStep **left = arena_array(e->k->c->arena, KStep *, count);
	memcpy(left, steps, count * sizeof *left);
	while (count > 0) {
		size_t taken = 1;
		memo_forget(e);
		bool is_product =
			left[0]->kind == STEP_REDUCE && left[0]->is_contraction && e->is_whole && e->mode == MODE_SCALAR;
		if (!is_product || !emit_contraction(e, left[0])) {
			taken = group_gather(e, left, count);
			emit_group(e, left, taken);
		}
		left += taken;
		count -= taken;
	}
}

void emit_steps(Emitter *e, KStepVec *steps)
{
	for (size_t i = 0, run; i < steps->count; i += run) {
		KStep *step = steps->at[i];
		for (run = 0; i + run < steps->count && is_leaf(steps->at[i + run]); run++)
			;
		memo_forget(e);
		if (run > 0) {
			emit_leaves(e, steps->at + i, run);
			continue;
		}
		run = 1;
		e->depth++;
		if (step->kind == STEP_LOOP)
			emit_loop(e, step);
		else if (step->kind == STEP_IF)
			emit_condition(e, step);
		else
			emit_linalg(e, step);
		e->depth--;
	}
}

/* ---- functions ---- */

static LLVMTypeRef kernel_type(Emitter *e)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	LLVMTypeRef types[] = {LLVMPointerTypeInContext(e->m->context, 0), i64, i64};
	return LLVMFunctionType(LLVMVoidTypeInContext(e->m->context), types, 3, false);
}

static void set_attribute(Emitter *e, unsigned at, const char *name)
{
	unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
	LLVMAddAttributeAtIndex(e->function, at, LLVMCreateEnumAttribute(e->m->context, kind, 0));
}

static void load_params(Emitter *e)
{
	LLVMTypeRef i64 = type_of(e, T_I64), pointer = LLVMPointerTypeInContext(e->m->context, 0);
	LLVMValueRef at = offset_pointer(e, e->frame, const_int(i64, offsetof(CmprtFrame, params)));
	LLVMValueRef params = LLVMBuildLoad2(e->builder, pointer, at, "params");
	for (uint32_t i = 0; i < e->k->param_count; i++)
		e->params[i] = LLVMBuildLoad2(e->builder, i64, offset_pointer(e, params, const_int(i64, i * 8)), "param");
}

/* An emitter of a new function; its builder stands in the first block behind the entry. */
static Emitter *emitter_new(Module *m, Kernel *k, KernelFacts *facts, const char *name)
{
	Arena *arena = k->c->arena;
	Emitter *e = arena_new_of(arena, Emitter);
	*e = (Emitter){.m = m, .k = k, .facts = facts, .memo = {.arena = arena}, .memo_epoch = 1};
	e->builder = LLVMCreateBuilderInContext(m->context);
	e->places = arena_array(arena, Place, k->buffers.count);
	e->index_values = arena_array(arena, LLVMValueRef, k->index_count);
	e->params = arena_array(arena, LLVMValueRef, k->param_count);
	e->function = LLVMAddFunction(m->llvm, name, kernel_type(e));
	set_attribute(e, (unsigned)LLVMAttributeFunctionIndex, "nounwind");
	e->frame = LLVMGetParam(e->function, 0);
	LLVMSetValueName2(e->frame, "frame", 5);
	e->entry = LLVMAppendBasicBlockInContext(m->context, e->function, "entry");
	LLVMPositionBuilderAtEnd(e->builder, e->entry);
	load_params(e);
	LLVMBasicBlockRef first = LLVMAppendBasicBlockInContext(m->context, e->function, "begin");
	LLVMBuildBr(e->builder, first);
	LLVMPositionBuilderAtEnd(e->builder, first);
	return e;
}

static void emitter_finish(Emitter *e)
{
	LLVMBuildRetVoid(e->builder);
	LLVMDisposeBuilder(e->builder);
}

static void emit_row_range(Emitter *e, KStep *rows)
{
	LoopFrame loop = loop_begin(e, LLVMGetParam(e->function, 1), LLVMGetParam(e->function, 2), 1, "row");
	bind_index(e, rows->index, loop.counter);
	e->rows = rows;
	emit_steps(e, &rows->body);
	e->rows = NULL;
	loop_end(e, &loop, 1);
}

/* ---- outlined rows ---- */

static uint32_t frame_count(const Kernel *k)
{
	uint32_t count = (uint32_t)(k->inputs.count + k->outputs.count);
	for (size_t i = 0; i < k->buffers.count; i++)
		count += k->buffers.at[i]->kind == BUFFER_TEMP && !k->buffers.at[i]->scope;
	return count;
}

static bool holds(const KStep *step, const KStep *inner)
{
	for (size_t i = 0; i < step->body.count; i++)
		if (step->body.at[i] == inner || holds(step->body.at[i], inner))
			return true;
	return false;
}

/* Temporaries of the loops around this one: their memory is the outer function's. */
static bool is_around(const KBuffer *buffer, const KStep *rows)
{
	return buffer->kind == BUFFER_TEMP && buffer->scope && holds(buffer->scope, rows);
}

static LLVMValueRef pointer_at(Emitter *e, LLVMValueRef array, uint64_t position)
{
	return offset_pointer(e, array, const_int(type_of(e, T_I64), (int64_t)position * 8));
}

/* The array that the rows' frame has for buffers: the kernel's, the indices, temporaries of the loops around. */
static LLVMValueRef emit_context(Emitter *e, KStep *rows)
{
	LLVMTypeRef i64 = type_of(e, T_I64), pointer = LLVMPointerTypeInContext(e->m->context, 0);
	uint64_t base = frame_count(e->k), position = base + e->k->index_count;
	LLVMValueRef array = memory_of_function(e, (position + e->k->buffers.count) * 8, "context");
	LLVMValueRef own = LLVMBuildLoad2(e->builder, pointer, pointer_at(e, e->frame, 0), "buffers");
	LLVMBuildMemCpy(e->builder, array, 8, own, 8, const_int(i64, (int64_t)base * 8));
	for (uint32_t id = 0; id < e->k->index_count; id++)
		if (e->index_values[id])
			LLVMBuildStore(e->builder, e->index_values[id], pointer_at(e, array, base + id));
	for (size_t i = 0; i < e->k->buffers.count; i++)
		if (is_around(e->k->buffers.at[i], rows))
			LLVMBuildStore(e->builder, place_of(e, e->k->buffers.at[i])->base, pointer_at(e, array, position + i));
	return array;
}

static void load_context(Emitter *e, const Emitter *outer, KStep *rows)
{
	LLVMTypeRef i64 = type_of(e, T_I64), pointer = LLVMPointerTypeInContext(e->m->context, 0);
	uint64_t base = frame_count(e->k), position = base + e->k->index_count;
	LLVMValueRef array = LLVMBuildLoad2(e->builder, pointer, pointer_at(e, e->frame, 0), "context");
	for (uint32_t id = 0; id < e->k->index_count; id++)
		if (outer->index_values[id])
			e->index_values[id] = LLVMBuildLoad2(e->builder, i64, pointer_at(e, array, base + id), "");
	for (size_t i = 0; i < e->k->buffers.count; i++) {
		if (!is_around(e->k->buffers.at[i], rows))
			continue;
		e->places[i] = outer->places[i];
		e->places[i].base = LLVMBuildLoad2(e->builder, pointer, pointer_at(e, array, position + i), "");
	}
}

/* Its own scratch comes first; what it is, is known at its end only. */
static LLVMValueRef emit_rows_frame(Emitter *e, LLVMValueRef buffers)
{
	LLVMTypeRef i64 = type_of(e, T_I64), pointer = LLVMPointerTypeInContext(e->m->context, 0);
	LLVMValueRef frame = memory_of_function(e, sizeof(CmprtFrame), "rows.frame");
	LLVMValueRef params = LLVMBuildLoad2(e->builder, pointer, pointer_at(e, e->frame, 1), "");
	LLVMValueRef scratch = LLVMBuildLoad2(e->builder, pointer, pointer_at(e, e->frame, 2), "");
	scratch = offset_pointer(e, scratch, LLVMBuildLoad2(e->builder, i64, e->own_scratch, ""));
	LLVMBuildStore(e->builder, buffers, pointer_at(e, frame, 0));
	LLVMBuildStore(e->builder, params, pointer_at(e, frame, 1));
	LLVMBuildStore(e->builder, scratch, pointer_at(e, frame, 2));
	LLVMBuildStore(
		e->builder, LLVMBuildLoad2(e->builder, pointer, pointer_at(e, e->frame, 3), ""), pointer_at(e, frame, 3));
	return frame;
}

static void emit_rows(Emitter *e, KStep *step)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	LLVMValueRef frame = emit_rows_frame(e, emit_context(e, step));
	const char *name = arena_printf(e->k->c->arena, "%s.rows%u", e->k->name, e->rows_count++);
	Emitter *inner = emitter_new(e->m, e->k, e->facts, name);
	LLVMSetLinkage(inner->function, LLVMInternalLinkage);
	inner->is_whole = true;
	load_context(inner, e, step);
	emit_row_range(inner, step);
	emitter_finish(inner);
	if (inner->scratch_bytes > e->rows_scratch)
		e->rows_scratch = inner->scratch_bytes;
	LLVMValueRef args[] = {frame, inner->function, const_int(i64, 0), emit_trip_count(e, step->index),
		const_int(i64, (int64_t)inner->scratch_bytes)};
	emit_runtime_call(e, "cmprt_parallel", args);
	memo_forget(e);
}

/* ---- kernels ---- */

static uint64_t emit_steps_kernel(Module *m, Kernel *k, KernelFacts *facts)
{
	Emitter *e = emitter_new(m, k, facts, k->name);
	LLVMTypeRef i64 = type_of(e, T_I64);
	e->is_top = e->is_whole = true;
	e->own_scratch = LLVMAddGlobal(m->llvm, i64, "own_scratch");
	LLVMSetLinkage(e->own_scratch, LLVMPrivateLinkage);
	LLVMSetGlobalConstant(e->own_scratch, true);
	emit_steps(e, &k->steps);
	LLVMSetInitializer(e->own_scratch, const_int(i64, (int64_t)e->scratch_bytes));
	emitter_finish(e);
	return e->scratch_bytes + e->rows_scratch;
}

bool module_add_kernel(Module *m, Kernel *k)
{
	if (LLVMGetNamedFunction(m->llvm, k->name)) {
		diag_fatal(m->c, "internal: there are two kernels %s", k->name);
		return false;
	}
	KernelFacts *facts = facts_new(k);
	if (kernel_is_streamed(k)) {
		Emitter *e = emitter_new(m, k, facts, k->name);
		emit_row_range(e, k->steps.at[0]);
		emitter_finish(e);
		k->scratch_bytes = e->scratch_bytes;
	} else {
		k->scratch_bytes = emit_steps_kernel(m, k, facts);
	}
	return true;
}
