/* SPDX-License-Identifier: MIT
 *
 * stages.h: what one compilation holds, stage after stage; for the commands that
 * compile. The table of stages is in driver.c.
 */
#ifndef CMPC_STAGES_H
#define CMPC_STAGES_H

#include "driver.h"
#include "llvm.h"
#include "plan.h"

typedef struct Compilation {
	Compiler *c;
	const Request *request;
	const char *path;
	const char *text;  /* NULL: the program is the file `path` */
	bool runs_here;    /* for this process: for its CPU whatever the target says, without a main, -o is the result */
	bool is_trial;     /* the result is for this process alone */
	bool checks_place; /* the result of a run here is not to lie in what it reads */
	uint32_t file;     /* tokens */
	Node *tree;        /* ast */
	Program *program;  /* program */
	ModuleTarget machine;
	TargetFacts facts;
	PlanOptions plan_options;
	Plan *plan;         /* plan; kernels are in it */
	Module *module;     /* llvm, asm */
	ObjectBytes object; /* obj */
} Compilation;

typedef struct Stage {
	const char *name;
	bool (*run)(Compilation *k);             /* false: reported; NULL: nothing is left to do */
	bool (*verify)(Compilation *k);          /* internal errors; NULL: nothing can be wrong */
	void (*print)(Compilation *k, Text *to); /* NULL: its result is a file already */
	const char *help;
} Stage;

Compilation compilation_begin(const Request *request, const char *path, const char *text);
void compilation_end(Compilation *k);
/* Runs the stages up to and with `until`; where the request's --emit names one, that is printed and is the last.
 * False: errors were reported. */
bool compile(Compilation *k, const char *until);
bool output_is_free(const Compilation *k, const char *path); /* no file that was read lies there; false: reported */
/* command_build.c: the object becomes the executable that -o names */
bool build_executable(Compilation *k);
/* command_run.c: compiles and runs a program in this process; the exit status */
int program_run(const Request *request, const char *path, const char *text);
PlanOptions plan_options(const Compilation *k); /* after the stage "program" */

#endif
