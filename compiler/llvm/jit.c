/* SPDX-License-Identifier: MIT
 *
 * jit.c: an object in memory, loaded into this process. It calls the runtime that
 * is linked into the compiler; the rows of runtime.def say where that lies.
 */
#include "llvm.h"

#include <llvm-c/Core.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>

#include <string.h>

struct Jit {
	Compiler *c;
	LLVMOrcLLJITRef llvm;
};

typedef void AnyFunction(void);

typedef struct Symbol {
	const char *name;
	AnyFunction *at;
} Symbol;

static const Symbol symbols[] = {
#define RUNTIME(result, name, arguments) {#name, (AnyFunction *)name},
#include "runtime.def"
#undef RUNTIME
};
enum { SYMBOLS = sizeof symbols / sizeof *symbols };

static bool failed(Compiler *c, LLVMErrorRef error)
{
	if (!error)
		return false;
	char *message = LLVMGetErrorMessage(error);
	diag_fatal(c, "internal: cannot load the code that was made: %s", message);
	LLVMDisposeErrorMessage(message);
	return true;
}

static LLVMErrorRef define_runtime(LLVMOrcLLJITRef jit)
{
	LLVMOrcCSymbolMapPair pairs[SYMBOLS];
	for (int i = 0; i < SYMBOLS; i++) {
		pairs[i].Name = LLVMOrcLLJITMangleAndIntern(jit, symbols[i].name);
		pairs[i].Sym.Address = (LLVMOrcExecutorAddress)(uintptr_t)symbols[i].at;
		pairs[i].Sym.Flags = (LLVMJITSymbolFlags){LLVMJITSymbolGenericFlagsExported, 0};
	}
	return LLVMOrcJITDylibDefine(LLVMOrcLLJITGetMainJITDylib(jit), LLVMOrcAbsoluteSymbols(pairs, SYMBOLS));
}

/* memcpy, memset and the libm that code generation may call */
static LLVMErrorRef define_process(LLVMOrcLLJITRef jit)
{
	LLVMOrcDefinitionGeneratorRef generator;
	LLVMErrorRef error =
		LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&generator, LLVMOrcLLJITGetGlobalPrefix(jit), NULL, NULL);
	if (!error)
		LLVMOrcJITDylibAddGenerator(LLVMOrcLLJITGetMainJITDylib(jit), generator);
	return error;
}

Jit *jit_new(Compiler *c, const ObjectBytes *object)
{
	LLVMInitializeNativeTarget();
	LLVMInitializeNativeAsmPrinter();
	Jit *jit = arena_new_of(c->arena, Jit);
	jit->c = c;
	if (failed(c, LLVMOrcCreateLLJIT(&jit->llvm, LLVMOrcCreateLLJITBuilder())))
		return NULL;
	LLVMMemoryBufferRef copy = LLVMCreateMemoryBufferWithMemoryRangeCopy(object->at, object->count, "kernels");
	LLVMOrcJITDylibRef dylib = LLVMOrcLLJITGetMainJITDylib(jit->llvm);
	if (failed(c, define_runtime(jit->llvm)) || failed(c, define_process(jit->llvm)) ||
		failed(c, LLVMOrcLLJITAddObjectFile(jit->llvm, dylib, copy))) {
		jit_free(jit);
		return NULL;
	}
	return jit;
}

void *jit_symbol(Jit *jit, const char *name)
{
	LLVMOrcExecutorAddress address = 0;
	LLVMErrorRef error = LLVMOrcLLJITLookup(jit->llvm, &address, name);
	return failed(jit->c, error) ? NULL : (void *)(uintptr_t)address;
}

void jit_free(Jit *jit)
{
	LLVMConsumeError(LLVMOrcDisposeLLJIT(jit->llvm));
}
