/* SPDX-License-Identifier: MIT
 *
 * module.c: one LLVM module from its making to its text.
 */
#include "emit.h"

#include <llvm-c/Analysis.h>

#include <string.h>
#include <xxhash.h>

bool target_open(Compiler *c, const ModuleTarget *target, LLVMTargetMachineRef *machine, TargetFacts *facts,
	bool *has_f16); /* object.c */

Module *module_new(Compiler *c, const ModuleTarget *target)
{
	LLVMTargetMachineRef machine;
	TargetFacts facts;
	bool has_f16;
	if (!target_open(c, target, &machine, &facts, &has_f16))
		return NULL;
	Module *m = arena_new_of(c->arena, Module);
	*m = (Module){.c = c, .machine = machine, .facts = facts, .has_f16 = has_f16};
	m->rounds_away = strncmp(facts.triple, "x86_64", 6) != 0;
	m->context = LLVMContextCreate();
	m->llvm = LLVMModuleCreateWithNameInContext("cmpc", m->context);
	LLVMSetTarget(m->llvm, facts.triple);
	LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
	LLVMSetModuleDataLayout(m->llvm, layout);
	LLVMDisposeTargetData(layout);
	return m;
}

void module_free(Module *m)
{
	LLVMDisposeModule(m->llvm);
	LLVMContextDispose(m->context);
	LLVMDisposeTargetMachine(m->machine);
}

bool module_verify(Module *m)
{
	char *message = NULL;
	bool is_broken = LLVMVerifyModule(m->llvm, LLVMReturnStatusAction, &message);
	if (is_broken)
		diag_fatal(m->c, "internal: LLVM refuses the module: %s", message);
	LLVMDisposeMessage(message);
	return !is_broken;
}

const char *module_hash(Module *m)
{
	char *text = LLVMPrintModuleToString(m->llvm);
	XXH128_hash_t hash = XXH3_128bits(text, strlen(text));
	LLVMDisposeMessage(text);
	return arena_printf(m->c->arena, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

void module_print(Module *m, Text *to)
{
	char *text = LLVMPrintModuleToString(m->llvm);
	text_append(to, text, strlen(text));
	LLVMDisposeMessage(text);
}
