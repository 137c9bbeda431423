/* SPDX-License-Identifier: MIT
 *
 * repl.h: `cmpc repl`, the stages of a compilation one entry at a time.
 *
 * What was entered is kept as text, and every command compiles that text from its
 * beginning, in a Compiler of its own: an entry with errors leaves nothing behind,
 * and what a session prints is what a file with its entries would give. State is
 * never changed, only followed by another one, so `undo` takes the one before.
 */
#ifndef CMPC_REPL_H
#define CMPC_REPL_H

#include "stages.h"

/* ---- session.c: what was entered ---- */

typedef struct Entry {
	const char *text;
	bool is_statement; /* of the pipeline that the session makes; else declarations */
	NodeKind kind;     /* of its only node; N_FILE: of several */
	const char *name;  /* of that node, or NULL */
} Entry;

typedef struct State {
	const struct State *before; /* NULL: nothing was entered */
	VEC(Entry) entries;
	const char *model;    /* the last that was declared, NULL: none */
	const char *pipeline; /* likewise */
	const char *target;   /* likewise; what the session's pipeline is for */
	const char *output;   /* where the session's pipeline saves unless an entry says; its container holds the result */
} State;

typedef struct Session {
	const Request *request;
	Compiler *c;      /* holds what lasts as long as the session */
	const char *file; /* that was given, NULL: none */
	const State *state;
	struct Input *input;
	bool has_failed, is_over;
} Session;

typedef enum EntryStatus {
	ENTRY_EMPTY, /* comments */
	ENTRY_MORE,  /* it ends inside a construct, or documents what is to come */
	ENTRY_WRONG, /* reported */
	ENTRY_WHOLE,
} EntryStatus;

/* Parses text without entering it; `to` is filled if it is WHOLE. */
EntryStatus entry_read(Session *s, const char *text, Entry *to);
bool session_open(Session *s);               /* reads the file that was given; false: reported */
bool session_enter(Session *s, Entry entry); /* prints what came of it; false: reported, nothing changed */
bool session_undo(Session *s);
void session_words(Session *s, NameVec *to); /* what may be completed to */
bool session_error(Session *s, const char *format, ...) __attribute__((format(printf, 2, 3))); /* reports; false */

/* ---- session_text.c: the program that was entered, compiled ---- */

/* One compilation, with all that it needs in one arena. */
typedef struct Work {
	Request request;
	Compilation k;
	bool is_good; /* false: its errors are reported by work_end */
} Work;

typedef struct Goal {
	const char *until, *emit; /* stages; emit may be NULL */
	bool runs_here;
} Goal;

void state_text(const Session *s, const State *state, Text *to); /* the program */
/* The name of the pipeline that `plan` and `emit` speak of, NULL: there is none. */
const char *state_pipeline(const State *state);
/* Compiles the program, or, is_bare, its declarations only. */
Work *state_compile(const Session *s, const State *state, bool is_bare, const Goal *goal);
/* Compiles a pipeline `name` of these statements for a target, or, NULL, this machine; where they save nothing, into
 * the first container that can hold the result, to which *output is set (NULL: nobody asks). */
Work *statements_compile(const Session *s, const State *state, const char *name, const char *target,
	const char *statements, bool saves, const Goal *goal, const char **output);
bool work_end(Work *work); /* reports, frees; whether it was good */

/* ---- try.c ---- */

/* Runs a statement on the tensors of the model and prints what it does to each; writes nothing. */
bool session_try(Session *s, const char *statement);

/* ---- eval.c ---- */

/* `METRIC(DATA)` */
typedef struct Measurement {
	const char *metric, *data;
} Measurement;

bool entry_measures(Session *s, const char *text, Measurement *to); /* is it that? */
/* Prints metrics of the model, and beside it of what a pipeline makes of it; writes nothing. pipeline NULL: that of the
 * session, if it has one; only NULL: on all data sets that no pass reads. */
bool session_eval(Session *s, const char *pipeline, const Measurement *only);
void metric_words(Session *s, NameVec *to);

/* ---- input.c: lines, from a terminal with history and completion, else as they come ---- */

typedef struct Input Input;

Input *input_open(Session *s); /* NULL: reported */
/* Without its line end, valid until the next call; NULL: the input ends. */
const char *input_line(Input *input, bool is_continued);
bool input_is_cancelled(const Input *input); /* ^C: what was entered so far is dropped, the line too */
bool input_is_terminal(const Input *input);
void input_close(Input *input);

/* ---- repl.c ---- */

void session_run(Session *s); /* until the input ends or `quit` */
void command_words(Session *s, NameVec *to);

#endif
