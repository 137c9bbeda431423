/* SPDX-License-Identifier: MIT
 *
 * cpu.c: which architecture a CPU's name belongs to. LLVM knows, but its C interface
 * says so only by a warning on stderr when a machine is made for a name that it
 * does not know; so the warning is caught and kept from the user.
 */
#include "emit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Makes a machine with stderr in memory; whether LLVM had something to say. */
static bool is_silent(LLVMTargetRef llvm, const char *triple, const char *cpu)
{
	int own = dup(STDERR_FILENO), caught = memfd_create("stderr", MFD_CLOEXEC);
	if (own < 0 || caught < 0 || dup2(caught, STDERR_FILENO) < 0) {
		close(own);
		close(caught);
		return true;
	}
	LLVMTargetMachineRef machine =
		LLVMCreateTargetMachine(llvm, triple, cpu, "", LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelDefault);
	LLVMDisposeTargetMachine(machine);
	dup2(own, STDERR_FILENO);
	bool is_empty = lseek(caught, 0, SEEK_END) == 0;
	close(own);
	close(caught);
	return is_empty;
}

bool cpu_is_known(const char *triple, const char *cpu)
{
	LLVMTargetRef llvm;
	char *message = NULL;
	if (!LLVMGetTargetFromTriple(triple, &llvm, &message))
		return is_silent(llvm, triple, cpu);
	LLVMDisposeMessage(message);
	return false;
}

const char *cpu_triple(const char *host, const char *cpu)
{
	static const char *const others[] = {"x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"};
	if (cpu_is_known(host, cpu))
		return host;
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (cpu_is_known(others[i], cpu))
			return others[i];
	return NULL;
}
