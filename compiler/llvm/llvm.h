/* SPDX-License-Identifier: MIT
 *
 * llvm.h: scheduled kernels and constant tables to machine code.
 *
 * A Module collects kernels and at most one program, is optimized once, and is
 * turned into an object in memory: `build` links those bytes, `run` and `try` give
 * the same bytes to a Jit. No type of LLVM's is seen outside of this folder.
 */
#ifndef CMPC_LLVM_H
#define CMPC_LLVM_H

#include "kernel.h"
#include "cmprt.h"

/* ---- object.c: targets ---- */

typedef struct ModuleTarget {
	const char *triple;   /* NULL: one whose CPU this is, this machine's before others */
	const char *cpu;      /* an LLVM CPU name; "native" is the CPU that compiles; NULL: generic for the triple */
	const char *features; /* "+fma,-avx512f"; NULL: none beside the CPU's */
} ModuleTarget;

typedef struct TargetFacts {
	const char *triple; /* normalized */
	uint32_t lanes;     /* f32 lanes of its vectors: 4, 8, 16 */
	bool is_host;       /* objects for it run in this process */
} TargetFacts;

/* An unknown triple or cpu is reported (the nearest known is not guessed) and false is returned. */
bool target_facts(Compiler *c, const ModuleTarget *target, TargetFacts *facts);

/* ---- module.c: filling a module ---- */

typedef struct Module Module;

Module *module_new(Compiler *c, const ModuleTarget *target); /* NULL: reported */
void module_free(Module *m);
/* A function k->name for a scheduled kernel; sets k->scratch_bytes. */
bool module_add_kernel(Module *m, Kernel *k);
/* What runs this module's kernels, in rows [begin, end), is a CmprtKernel called k->name. */
bool module_verify(Module *m); /* an internal error is reported */
void module_print(Module *m, Text *to);

/* ---- tables.c ---- */

/* The program as constants, called cmprt_program, and, with_main, a main that runs it. A job's kernel field
 * is not read: kernel_names[job] says which function of this module it is, NULL for a copy; they are
 * in the order in which the tables hold jobs. */
const char *module_hash(Module *m); /* XXH3-128 of its text so far, in hex: of the kernels, before the program is added */
bool module_add_program(Module *m, const CmprtProgram *program, const char *const *kernel_names, bool with_main);

/* ---- optimize.c, object.c ---- */

bool module_optimize(Module *m);
typedef struct ObjectBytes {
	const char *at; /* in the compilation's arena */
	size_t count;
} ObjectBytes;
bool module_object(Module *m, ObjectBytes *object);
bool module_assembly(Module *m, Text *to);

/* ---- jit.c ---- */

typedef struct Jit Jit;

Jit *jit_new(Compiler *c, const ObjectBytes *object); /* NULL: reported */
void *jit_symbol(Jit *jit, const char *name);         /* NULL: there is none */
void jit_free(Jit *jit);

#endif
