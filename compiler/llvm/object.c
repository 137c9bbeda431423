/* SPDX-License-Identifier: MIT
 *
 * object.c: targets, and a module to object code or assembly in memory.
 *
 * Code is position independent, so the same bytes are linked into executables and
 * loaded by the JIT. FMA is used by no expression: contraction stays off.
 */
#include "emit.h"

#include <llvm-c/Target.h>

#include <string.h>

bool target_open(
	Compiler *c, const ModuleTarget *target, LLVMTargetMachineRef *machine, TargetFacts *facts, bool *has_f16);

/* Copies text that LLVM allocated. */
static const char *taken(Compiler *c, char *text)
{
	const char *copy = arena_copy(c->arena, text, strlen(text));
	LLVMDisposeMessage(text);
	return copy;
}

static bool has_feature(const char *features, const char *feature)
{
	size_t length = strlen(feature);
	for (const char *at = features; (at = strstr(at, feature)); at += length)
		if ((at[length] == ',' || at[length] == 0) && (at == features || at[-1] == ','))
			return true;
	return false;
}

typedef struct CpuClass {
	const char *architecture, *cpu; /* cpu: a prefix */
	uint32_t lanes;
	bool has_f16;
} CpuClass;

/* What the C API does not tell of a CPU: its vectors and whether it converts f16. The first row that fits counts. */
static const CpuClass cpu_classes[] = {
	{"x86_64", "x86-64-v4", 16, true},
	{"x86_64", "x86-64-v3", 8, true},
	{"x86_64", "x86-64", 4, false},
	{"x86_64", "nehalem", 4, false},
	{"x86_64", "westmere", 4, false},
	{"x86_64", "sandybridge", 4, false},
	{"x86_64", "ivybridge", 4, true},
	{"x86_64", "skylake-avx512", 16, true},
	{"x86_64", "cascadelake", 16, true},
	{"x86_64", "icelake", 16, true},
	{"x86_64", "sapphirerapids", 16, true},
	{"x86_64", "emeraldrapids", 16, true},
	{"x86_64", "graniterapids", 16, true},
	{"x86_64", "znver4", 16, true},
	{"x86_64", "znver5", 16, true},
	{"x86_64", "generic", 4, false},
	{"x86_64", "", 8, true},
	{"aarch64", "", 4, true},
	{"arm64", "", 4, true},
	{"", "", 4, false},
};

static const CpuClass *cpu_class(const char *triple, const char *cpu)
{
	const CpuClass *row = cpu_classes;
	while (strncmp(triple, row->architecture, strlen(row->architecture)) != 0 ||
		   strncmp(cpu, row->cpu, strlen(row->cpu)) != 0)
		row++;
	return row;
}

static void initialize_targets(void)
{
	LLVMInitializeAllTargetInfos();
	LLVMInitializeAllTargets();
	LLVMInitializeAllTargetMCs();
	LLVMInitializeAllAsmPrinters();
}

/* "x86_64-pc-linux-gnu" and "x86_64-unknown-linux-gnu" run each other's code. */
static bool same_machine(const char *a, const char *b)
{
	size_t length = strcspn(a, "-");
	const char *os_a = strstr(a, "linux"), *os_b = strstr(b, "linux");
	return strncmp(a, b, length + 1) == 0 && (!os_a == !os_b);
}

static void report_cpu(Compiler *c, const char *cpu, const char *triple, const char *host)
{
	const char *other = cpu_triple(host, cpu);
	if (other && strcmp(other, triple) != 0) {
		diag_fatal(c, "cpu \"%s\" does not fit the triple \"%s\"", cpu, triple);
		diag_help(c, "its triple is \"%s\"", other);
		return;
	}
	Name nearest = cpu_nearest(c, triple, cpu);
	diag_fatal(c, "no cpu of %s is called \"%s\"", triple, cpu);
	if (nearest)
		diag_help(c, "did you mean \"%s\"?", nearest);
	else
		diag_help(c, "the names are LLVM's: llc -mtriple=%s -mcpu=help lists them; \"native\" is the CPU that compiles",
			triple);
}

/* The triple of a target: what it says, else one that knows its CPU. NULL: reported. */
static const char *target_triple(Compiler *c, const ModuleTarget *target, const char *cpu, const char *host)
{
	bool is_native = strcmp(cpu, "native") == 0;
	if (!target->triple) {
		const char *triple = is_native ? host : cpu_triple(host, cpu);
		if (!triple)
			report_cpu(c, cpu, host, host);
		return triple;
	}
	const char *triple = taken(c, LLVMNormalizeTargetTriple(target->triple));
	LLVMTargetRef llvm;
	char *message = NULL;
	if (LLVMGetTargetFromTriple(triple, &llvm, &message)) {
		diag_fatal(c, "no code can be made for the triple \"%s\"", target->triple);
		diag_help(c, "one is \"x86_64-linux-gnu\", another \"aarch64-linux-gnu\"");
		LLVMDisposeMessage(message);
		return NULL;
	}
	if (is_native ? same_machine(triple, host) : cpu_is_known(triple, cpu))
		return triple;
	if (is_native)
		diag_fatal(c, "cpu \"native\" is of this machine, whose triple is \"%s\", not \"%s\"", host, target->triple);
	else
		report_cpu(c, cpu, triple, host);
	return NULL;
}

bool target_open(
	Compiler *c, const ModuleTarget *target, LLVMTargetMachineRef *machine, TargetFacts *facts, bool *has_f16)
{
	initialize_targets();
	const char *host = taken(c, LLVMGetDefaultTargetTriple());
	const char *cpu = target->cpu ? target->cpu : "generic", *features = target->features ? target->features : "";
	const char *detected = NULL;
	facts->triple = target_triple(c, target, cpu, host);
	if (!facts->triple)
		return false;
	facts->is_host = same_machine(facts->triple, host);
	bool is_native = strcmp(cpu, "native") == 0;
	const char *unknown = unknown_feature(c, facts->triple, is_native ? "" : cpu, features);
	if (unknown) {
		diag_fatal(c, "there is no feature \"%s\" of %s", unknown, facts->triple);
		diag_help(c, "features are written \"+one,-another\"; llc -mtriple=%s -mattr=help lists them", facts->triple);
		return false;
	}
	if (is_native) {
		cpu = taken(c, LLVMGetHostCPUName());
		detected = taken(c, LLVMGetHostCPUFeatures());
		features = *features ? arena_printf(c->arena, "%s,%s", detected, features) : detected;
	}
	LLVMTargetRef llvm;
	char *message = NULL;
	if (LLVMGetTargetFromTriple(facts->triple, &llvm, &message)) {
		diag_fatal(c, "internal: no code can be made for %s: %s", facts->triple, message);
		LLVMDisposeMessage(message);
		return false;
	}
	*machine = LLVMCreateTargetMachine(
		llvm, facts->triple, cpu, features, LLVMCodeGenLevelAggressive, LLVMRelocPIC, LLVMCodeModelDefault);
	const CpuClass *class = cpu_class(facts->triple, cpu);
	facts->lanes = class->lanes;
	*has_f16 = class->has_f16;
	if (detected && strncmp(facts->triple, "x86_64", 6) == 0) {
		facts->lanes = has_feature(features, "+avx512f") ? 16 : has_feature(features, "+avx2") ? 8 : 4;
		*has_f16 = has_feature(features, "+f16c");
	}
	return true;
}

bool target_facts(Compiler *c, const ModuleTarget *target, TargetFacts *facts)
{
	LLVMTargetMachineRef machine;
	bool has_f16;
	if (!target_open(c, target, &machine, facts, &has_f16))
		return false;
	LLVMDisposeTargetMachine(machine);
	return true;
}

static bool emit_file(Module *m, LLVMCodeGenFileType type, LLVMMemoryBufferRef *buffer)
{
	char *message = NULL;
	if (!LLVMTargetMachineEmitToMemoryBuffer(m->machine, m->llvm, type, &message, buffer))
		return true;
	diag_fatal(m->c, "internal: LLVM makes no code: %s", message);
	LLVMDisposeMessage(message);
	return false;
}

bool module_object(Module *m, ObjectBytes *object)
{
	LLVMMemoryBufferRef buffer;
	if (!emit_file(m, LLVMObjectFile, &buffer))
		return false;
	object->count = LLVMGetBufferSize(buffer);
	object->at = arena_copy(m->c->arena, LLVMGetBufferStart(buffer), object->count);
	LLVMDisposeMemoryBuffer(buffer);
	return true;
}

/* Code generation changes a module, so the text is of a copy. */
bool module_assembly(Module *m, Text *to)
{
	LLVMModuleRef own = m->llvm;
	LLVMMemoryBufferRef buffer;
	m->llvm = LLVMCloneModule(own);
	bool is_made = emit_file(m, LLVMAssemblyFile, &buffer);
	LLVMDisposeModule(m->llvm);
	m->llvm = own;
	if (!is_made)
		return false;
	text_append(to, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
	LLVMDisposeMemoryBuffer(buffer);
	return true;
}
