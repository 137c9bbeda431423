/* SPDX-License-Identifier: MIT
 *
 * driver.h: a command line that was understood (Request), the commands it may
 * name, and the stages of a compilation. main.c has the table of commands and
 * options, driver.c the table of stages, command_*.c one command each.
 */
#ifndef CMPC_DRIVER_H
#define CMPC_DRIVER_H

#include "base.h"

typedef struct Command Command;
typedef struct Program Program;

typedef struct Request {
	Compiler *c;
	const Command *command;
	const char **operands; /* files and names, in order */
	int operand_count;
	char **rest; /* run, quantize: what the program that runs is told, NULL behind the last */
	int rest_count;
	const char *output;   /* -o */
	const char *pipeline; /* -p */
	const char *target;   /* --target */
	const char *emit;     /* --emit */
	const char *array;    /* --array */
	const char *imatrix;  /* --imatrix */
	const char *reads;    /* -d: the text that imatrix has the model read */
	const char *text;     /* the program itself, where operands[0] is no file: a session's */
	const char *model;    /* eval: of this one; NULL: of the pipeline's, or the only one */
	const char *data;     /* eval: on this data set alone; NULL: on those that no pass reads */
	const char *metric;   /* eval: that these data must have; NULL: what they have */
	bool all;             /* --all */
	bool json;            /* --json */
	bool check;           /* --check */
	bool in_place;        /* -i */
	bool shared;          /* --shared */
	bool no_fuse;         /* --no-fuse */
	bool requantize;      /* --requantize */
} Request;

struct Command {
	const char *name;
	const char *operands; /* as help shows them */
	int least, most;      /* how many there may be */
	bool passes_on;       /* options that are not ours go to the program that runs */
	int (*run)(Request *request);
	const char *help;    /* one line */
	const char *detail;  /* more lines, for `cmpc COMMAND --help` */
	const char *example; /* what follows "cmpc NAME " */
};

enum { STATUS_DONE, STATUS_ERROR, STATUS_USAGE };

/* ---- command_*.c: what `cmpc NAME` does; the exit status ---- */

int command_build(Request *request);
int command_check(Request *request);
int command_decode(Request *request);
int command_diff(Request *request);
int command_doc(Request *request);
int command_eval(Request *request);
int command_fmt(Request *request);
int command_imatrix(Request *request);
int command_init(Request *request);
int command_inspect(Request *request);
int command_plan(Request *request);
int command_quantize(Request *request);
int command_repl(Request *request);
int command_run(Request *request);

/* ---- driver.c; what a compilation holds is in stages.h ---- */

void stage_names(Compiler *c, NameVec *to); /* in the order they run */
/* --time: seconds on a clock, and the line that says how long a stage took since then. */
double time_now(void);
void time_report(const Compiler *c, const char *stage, double begin);
/* The text goes to the file, or to stdout if path is NULL; false: reported. */
bool text_write(Compiler *c, const char *path, const Text *text);

/* ---- command_doc.c ---- */

/* The first sentence of ## lines, cut between words where it is longer than `room`. */
void doc_sentence(const char *doc, size_t room, Text *to);
/* What `name` is, or, NULL, all there are; false: reported. The library has been read. */
bool doc_print(Request *request, const Program *p, const char *name, Text *to);

/* ---- paths.c: what cmpc needs of its installation; text in the arena, never NULL ---- */

const char *path_stdlib(Compiler *c);   /* the folder that holds passes/, dtypes/, ... */
const char *path_runtimes(Compiler *c); /* the folder that holds TRIPLE/libcmprt.a */

#endif
