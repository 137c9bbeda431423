/* SPDX-License-Identifier: MIT
 *
 * cpu.c: which CPUs and features LLVM knows. Its C interface tells it only on stderr: by a warning
 * when a machine is made for a name that it does not know, by a list when the name is
 * "help". So stderr is caught while a machine is made, and kept from the user.
 */
#include "emit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Makes a machine with stderr in memory: a file that holds what LLVM had to say, -1 if it cannot be had. */
static int machine_messages(LLVMTargetRef llvm, const char *triple, const char *cpu, const char *features)
{
	int own = dup(STDERR_FILENO), caught = memfd_create("stderr", MFD_CLOEXEC);
	if (own < 0 || caught < 0 || dup2(caught, STDERR_FILENO) < 0) {
		close(own);
		close(caught);
		return -1;
	}
	LLVMTargetMachineRef machine = LLVMCreateTargetMachine(
		llvm, triple, cpu, features, LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelDefault);
	LLVMDisposeTargetMachine(machine);
	dup2(own, STDERR_FILENO);
	close(own);
	return caught;
}

static bool find_target(const char *triple, LLVMTargetRef *llvm)
{
	char *message = NULL;
	if (!LLVMGetTargetFromTriple(triple, llvm, &message))
		return true;
	LLVMDisposeMessage(message);
	return false;
}

static bool is_silent(const char *triple, const char *cpu, const char *features)
{
	LLVMTargetRef llvm;
	if (!find_target(triple, &llvm))
		return false;
	int messages = machine_messages(llvm, triple, cpu, features);
	if (messages < 0)
		return true;
	bool is_empty = lseek(messages, 0, SEEK_END) == 0;
	close(messages);
	return is_empty;
}

bool cpu_is_known(const char *triple, const char *cpu)
{
	return strcmp(cpu, "help") != 0 && is_silent(triple, cpu, "");
}

const char *unknown_feature(Compiler *c, const char *triple, const char *cpu, const char *features)
{
	for (const char *at = features; *at;) {
		size_t length = strcspn(at, ",");
		const char *feature = arena_copy(c->arena, at, length);
		if ((*feature != '+' && *feature != '-') || strcmp(feature + 1, "help") == 0 ||
			!is_silent(triple, cpu, feature))
			return feature;
		at += length + (at[length] == ',');
	}
	return NULL;
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

/* The names in LLVM's list: "  cortex-a76   - Select the cortex-a76 processor.". */
static void read_names(Compiler *c, char *list, NameVec *names)
{
	for (char *line; (line = strsep(&list, "\n"));) {
		char *name = line + strspn(line, " "), *end = name + strcspn(name, " ");
		if (!strstr(end, " - Select the "))
			continue;
		*end = '\0';
		vec_push(c->arena, names, name_of(c, name));
	}
}

Name cpu_nearest(Compiler *c, const char *triple, const char *cpu)
{
	LLVMTargetRef llvm;
	int messages = find_target(triple, &llvm) ? machine_messages(llvm, triple, "help", "") : -1;
	if (messages < 0)
		return NULL;
	off_t length = lseek(messages, 0, SEEK_END);
	char *list = arena_alloc(c->arena, (size_t)length + 1);
	ssize_t count = pread(messages, list, (size_t)length, 0);
	close(messages);
	list[count > 0 ? count : 0] = '\0';
	NameVec names = {0};
	read_names(c, list, &names);
	return name_nearest(name_of(c, cpu), &names);
}
