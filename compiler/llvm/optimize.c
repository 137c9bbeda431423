/* SPDX-License-Identifier: MIT
 *
 * optimize.c: the LLVM pass pipeline. On entry and on exit the module is verified.
 */
#include "emit.h"

#include <llvm-c/Error.h>
#include <llvm-c/Transforms/PassBuilder.h>

bool module_optimize(Module *m)
{
	if (!module_verify(m))
		return false;
	LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
	LLVMErrorRef error = LLVMRunPasses(m->llvm, "default<O3>", m->machine, options);
	LLVMDisposePassBuilderOptions(options);
	if (error) {
		char *message = LLVMGetErrorMessage(error);
		diag_fatal(m->c, "internal: LLVM's passes: %s", message);
		LLVMDisposeErrorMessage(message);
		return false;
	}
	return module_verify(m);
}
