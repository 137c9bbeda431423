/* SPDX-License-Identifier: MIT
 *
 * tables.c: a CmprtProgram as LLVM constants. The fields come from program.def, the
 * list that the C structs come from, so the two cannot disagree: every field is 8
 * bytes, and a struct is a packed run of them.
 */
#include "emit.h"

#include <assert.h>
#include <string.h>

typedef struct Tables {
	Module *m;
	const char *const *kernel_names; /* of jobs and calls, in the order of the program's tables */
	int64_t jobs;                    /* emitted so far */
} Tables;

enum { FIELDS_MOST = 40 };

/* The fields of one struct while they are collected. */
typedef struct Fields {
	LLVMValueRef at[FIELDS_MOST];
	unsigned count;
} Fields;

static void field(Fields *fields, LLVMValueRef value)
{
	assert(fields->count < FIELDS_MOST);
	fields->at[fields->count++] = value;
}

static LLVMTypeRef pointer_type(Tables *t)
{
	return LLVMPointerTypeInContext(t->m->context, 0);
}

static LLVMValueRef integer(Tables *t, int64_t value)
{
	return LLVMConstInt(LLVMInt64TypeInContext(t->m->context), (unsigned long long)value, true);
}

static LLVMValueRef real(Tables *t, double value)
{
	return LLVMConstReal(LLVMDoubleTypeInContext(t->m->context), value);
}

static LLVMValueRef constant(Tables *t, LLVMValueRef value, const char *name)
{
	LLVMValueRef global = LLVMAddGlobal(t->m->llvm, LLVMTypeOf(value), name);
	LLVMSetInitializer(global, value);
	LLVMSetGlobalConstant(global, true);
	LLVMSetLinkage(global, LLVMPrivateLinkage);
	LLVMSetUnnamedAddress(global, LLVMGlobalUnnamedAddr);
	return global;
}

static LLVMValueRef string(Tables *t, const char *text)
{
	if (!text)
		return LLVMConstNull(pointer_type(t));
	return constant(t, LLVMConstStringInContext2(t->m->context, text, strlen(text), false), "text");
}

static LLVMValueRef array(Tables *t, LLVMTypeRef type, LLVMValueRef *items, int64_t count)
{
	if (count == 0)
		return LLVMConstNull(pointer_type(t));
	return constant(t, LLVMConstArray2(type, items, (uint64_t)count), "table");
}

static LLVMValueRef *item_array(Tables *t, int64_t count)
{
	return arena_array(t->m->c->arena, LLVMValueRef, count);
}

static LLVMValueRef integers(Tables *t, const int64_t *values, int64_t count)
{
	LLVMValueRef *items = item_array(t, count);
	for (int64_t i = 0; i < count; i++)
		items[i] = integer(t, values[i]);
	return array(t, LLVMInt64TypeInContext(t->m->context), items, count);
}

/* Jobs, calls, decodes and statistics are the only structs with a kernel, one each, and come in the order of the names.
 */
static LLVMValueRef kernel(Tables *t)
{
	const char *name = t->kernel_names[t->jobs++];
	return name ? LLVMGetNamedFunction(t->m->llvm, name) : LLVMConstNull(pointer_type(t));
}

static LLVMValueRef finish(Tables *t, Fields *fields)
{
	return LLVMConstStructInContext(t->m->context, fields->at, fields->count, false);
}

#define STRUCT(name)                                                                                                   \
	static LLVMValueRef struct_##name(Tables *t, const Cmprt##name *from)                                              \
	{                                                                                                                  \
		Fields fields = {.count = 0};
#define INT(name) field(&fields, integer(t, from->name));
#define REAL(name) field(&fields, real(t, from->name));
#define STRING(name) field(&fields, string(t, from->name));
#define KERNEL(name) field(&fields, kernel(t));
#define INTS(name, count) field(&fields, integers(t, from->name, from->count));
#define STRUCTS(type, name, count)                                                                                     \
	LLVMValueRef *items_##name = item_array(t, from->count);                                                           \
	for (int64_t i = 0; i < from->count; i++)                                                                          \
		items_##name[i] = struct_##type(t, &from->name[i]);                                                            \
	field(&fields, array(t, from->count ? LLVMTypeOf(items_##name[0]) : NULL, items_##name, from->count));
#define END                                                                                                            \
	return finish(t, &fields);                                                                                         \
	}
#include "program.def"

static void add_main(Tables *t, LLVMValueRef program)
{
	LLVMContextRef context = t->m->context;
	LLVMTypeRef i32 = LLVMInt32TypeInContext(context), types[] = {i32, pointer_type(t)};
	LLVMTypeRef run_types[] = {pointer_type(t), i32, pointer_type(t), LLVMInt64TypeInContext(context)};
	LLVMTypeRef run_type = LLVMFunctionType(i32, run_types, 4, false);
	LLVMValueRef run = LLVMAddFunction(t->m->llvm, "cmprt_start", run_type);
	LLVMValueRef function = LLVMAddFunction(t->m->llvm, "main", LLVMFunctionType(i32, types, 2, false));
	LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
	LLVMPositionBuilderAtEnd(builder, LLVMAppendBasicBlockInContext(context, function, "entry"));
	LLVMValueRef args[] = {program, LLVMGetParam(function, 0), LLVMGetParam(function, 1), integer(t, cmprt_tables())};
	LLVMBuildRet(builder, LLVMBuildCall2(builder, run_type, run, args, 4, "status"));
	LLVMDisposeBuilder(builder);
}

static int64_t call_kernels(const CmprtCall *call)
{
	int64_t count = 1 + call->statistic_count;
	for (int64_t i = 0; i < call->operand_count; i++)
		for (int64_t p = 0; p < call->operands[i].piece_count; p++)
			count += call->operands[i].pieces[p].decode_count;
	return count;
}

static int64_t program_kernels(const CmprtProgram *program)
{
	int64_t count = program->early_count + program->job_count + program->unfused_count;
	for (int64_t i = 0; i < program->select_count; i++)
		count += program->selects[i].job_count;
	for (int64_t i = 0; i < program->net_count; i++)
		for (int64_t k = 0; k < program->nets[i].call_count; k++)
			count += call_kernels(&program->nets[i].calls[k]);
	for (int64_t i = 0; i < program->measured_count; i++)
		count += program_kernels(&program->measured[i]);
	return count;
}

bool module_add_program(Module *m, const CmprtProgram *program, const char *const *kernel_names, bool with_main)
{
	Tables t = {.m = m, .kernel_names = kernel_names};
	int64_t jobs = program_kernels(program);
	for (int64_t i = 0; i < jobs; i++) {
		if (kernel_names[i] && !LLVMGetNamedFunction(m->llvm, kernel_names[i])) {
			diag_fatal(m->c, "internal: the program runs kernel %s, which was not made", kernel_names[i]);
			return false;
		}
	}
	LLVMValueRef value = struct_Program(&t, program);
	LLVMValueRef global = LLVMAddGlobal(m->llvm, LLVMTypeOf(value), "cmprt_program");
	LLVMSetInitializer(global, value);
	LLVMSetGlobalConstant(global, true);
	if (with_main)
		add_main(&t, global);
	return true;
}
