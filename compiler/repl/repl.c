/* SPDX-License-Identifier: MIT
 *
 * repl.c: the loop: lines make entries; an entry is a command, one row of a table,
 * or a declaration or statement. A command is on one line, but for the statement
 * that `try` is given.
 */
#include "repl.h"

#include "model.h"

#include <string.h>

typedef struct ReplCommand {
	const char *name, *operands, *help;
	bool (*run)(Session *s, const char *operands); /* false: reported */
} ReplCommand;

static bool run_help(Session *s, const char *operands);

/* ---- commands ---- */

static bool show_stage(Session *s, const char *stage)
{
	Work *work = state_compile(s, s->state, false, &(Goal){.until = stage, .emit = stage});
	return work_end(work);
}

static bool needs_pipeline(Session *s)
{
	return state_pipeline(s->state) ||
		   session_error(
			   s, "there is no pipeline yet; enter a statement, such as: quantize.rtn(dtype: q8_0) on linear");
}

static bool run_plan(Session *s, const char *operands)
{
	(void)operands;
	return needs_pipeline(s) && show_stage(s, "plan");
}

static bool run_emit(Session *s, const char *operands)
{
	/* of a text; the others make files of a program that build makes too */
	static const char *const stages[] = {"tokens", "ast", "program", "plan", "kernels", "llvm", "asm"};
	enum { COUNT = sizeof stages / sizeof *stages, WITH_PIPELINE = 3 };
	NameVec known = {0};
	for (int i = 0; i < COUNT; i++) {
		vec_push(s->c->arena, &known, name_of(s->c, stages[i]));
		if (strcmp(operands, stages[i]) == 0)
			return (i < WITH_PIPELINE || needs_pipeline(s)) && show_stage(s, stages[i]);
	}
	diag_fatal(
		s->c, "emit prints tokens, ast, program, plan, kernels, llvm or asm%s%s", *operands ? ", not " : "", operands);
	diag_nearest(s->c, name_of(s->c, operands), &known);
	diag_flush(s->c, stderr);
	return false;
}

static bool run_try(Session *s, const char *operands)
{
	return session_try(s, operands);
}

static bool run_eval(Session *s, const char *operands)
{
	return session_eval(s, *operands ? operands : NULL, NULL);
}

static bool run_run(Session *s, const char *operands)
{
	(void)operands;
	return session_error(
		s, "a session writes nothing; put what \"list\" prints into a file, and `cmpc run FILE` runs it");
}

static bool run_doc(Session *s, const char *operands)
{
	Work *work = state_compile(s, s->state, true, &(Goal){.until = "program"});
	Text text = {.arena = work->request.c->arena};
	work->is_good = work->is_good && program_read_stdlib(work->k.program) &&
					doc_print(&work->request, work->k.program, *operands ? operands : NULL, &text) &&
					text_write(work->request.c, NULL, &text);
	return work_end(work);
}

static bool run_list(Session *s, const char *operands)
{
	(void)operands;
	Text text = {.arena = s->c->arena};
	state_text(s, s->state, &text);
	return text_write(s->c, NULL, &text);
}

static bool run_undo(Session *s, const char *operands)
{
	(void)operands;
	return session_undo(s);
}

static bool run_quit(Session *s, const char *operands)
{
	(void)operands;
	s->is_over = true;
	return true;
}

/* model PATH, with or without quotes */
static bool run_model(Session *s, const char *operands)
{
	size_t length = strlen(operands);
	bool is_quoted = length > 1 && operands[0] == '"' && operands[length - 1] == '"';
	Text text = {.arena = s->c->arena};
	text_printf(&text, "model input from ");
	if (is_quoted)
		text_append(&text, operands, length);
	else
		string_print(operands, &text);
	Entry entry;
	return entry_read(s, text.at, &entry) == ENTRY_WHOLE && session_enter(s, entry);
}

static const ReplCommand commands[] = {
	{"model", "PATH", "open a checkpoint; it is called `input`", run_model},
	{"plan", "", "what would happen to which tensor, sizes, memory", run_plan},
	{"try", "PASS on SELECTION", "compile a statement and run it: error and size of each tensor; writes nothing",
		run_try},
	{"eval", "[PIPELINE]", "metrics on data: of the model and of what the pipeline makes of it; writes nothing",
		run_eval},
	{"run", "", "how to run what was entered: a session writes nothing", run_run},
	{"emit", "STAGE", "print a stage: tokens, ast, program, plan, kernels, llvm, asm", run_emit},
	{"doc", "[NAME]", "what a pass, dtype, recipe or target is; without NAME, all there are", run_doc},
	{"list", "", "what was entered, as a program", run_list},
	{"undo", "", "forget the last entry", run_undo},
	{"help", "", "print this", run_help},
	{"quit", "", "end the session, as the end of the input does", run_quit},
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static bool run_help(Session *s, const char *operands)
{
	(void)s;
	(void)operands;
	printf("Enter declarations and statements as in a .cmp file, or a command:\n");
	for (int i = 0; i < COMMAND_COUNT; i++) {
		char line[64];
		snprintf(line, sizeof line, "%s %s", commands[i].name, commands[i].operands);
		printf("  %-22s %s\n", line, commands[i].help);
	}
	printf("  %-22s %s\n", "METRIC(DATA)", "the same of one data set: perplexity, accuracy or kl");
	printf("\nStatements make a pipeline of the last model for the last target, if one was declared. An\n"
		   "entry with errors changes nothing; a declaration replaces an older one of its name.\n");
	return true;
}

void command_words(Session *s, NameVec *to)
{
	for (int i = 0; i < COMMAND_COUNT; i++)
		vec_push(s->c->arena, to, name_of(s->c, commands[i].name));
	metric_words(s, to);
}

/* ---- entries ---- */

/* The command that the entry begins with. `model x from ..` is a declaration. */
static const ReplCommand *find_command(const char *text, const char **operands)
{
	size_t length = strcspn(text, " \t");
	*operands = text + length + strspn(text + length, " \t");
	for (int i = 0; i < COMMAND_COUNT; i++) {
		if (strlen(commands[i].name) != length || strncmp(text, commands[i].name, length) != 0)
			continue;
		bool is_word = (*operands)[0] == '"' || !(*operands)[strcspn(*operands, " \t\n")];
		if (commands[i].run == run_model && (!**operands || !is_word))
			return NULL;
		return &commands[i];
	}
	return NULL;
}

/* What was entered so far, without blanks around it. */
static const char *trimmed(Session *s, const Text *text)
{
	const char *at = text->at + strspn(text->at, " \t\r\n");
	size_t length = strlen(at);
	while (length && strchr(" \t\r\n", at[length - 1]))
		length--;
	return arena_copy(s->c->arena, at, length);
}

/* A lone word that is no pass may have been meant as a command. */
static void hint_command(Session *s, const char *text)
{
	NameVec known = {0};
	if (text[strcspn(text, " \t\n.(")])
		return;
	command_words(s, &known);
	Name nearest = name_nearest(name_of(s->c, text), &known);
	if (nearest)
		diag_help(s->c, "there is a command \"%s\"", nearest);
	diag_flush(s->c, stderr);
}

/* Takes what was entered so far. False: it needs more lines; at the end of the input there are none. */
static bool take(Session *s, const Text *text, bool is_end)
{
	const char *entered = trimmed(s, text), *operands;
	const ReplCommand *command = find_command(entered, &operands);
	Entry entry;
	bool is_try = command && command->run == run_try && *operands;
	Measurement wanted;
	if (entry_measures(s, entered, &wanted)) {
		s->has_failed |= !session_eval(s, NULL, &wanted);
		return true;
	}
	if (command && !command->operands[0] && *operands) {
		s->has_failed |= !session_error(s, "%s takes nothing behind it", command->name);
		return true;
	}
	if (command && !is_try) {
		s->has_failed |= !command->run(s, operands);
		return true;
	}
	switch (entry_read(s, is_try ? operands : entered, &entry)) {
	case ENTRY_EMPTY:
		return true;
	case ENTRY_MORE:
		if (is_end)
			s->has_failed |= !session_error(s, "the input ends inside an entry");
		return is_end;
	case ENTRY_WRONG:
		s->has_failed = true;
		return true;
	case ENTRY_WHOLE:
		if (is_try ? run_try(s, operands) : session_enter(s, entry))
			return true;
		hint_command(s, entered);
		s->has_failed = true;
		return true;
	}
	return true;
}

void session_run(Session *s)
{
	Text text = {.arena = s->c->arena};
	while (!s->is_over) {
		const char *line = input_line(s->input, text.count > 0);
		if (input_is_cancelled(s->input)) {
			text.count = 0;
			continue;
		}
		if (line)
			text_printf(&text, "%s\n", line);
		else if (!text.count)
			break;
		if (take(s, &text, !line))
			text.count = 0;
		fflush(stdout);
		if (!line && !input_is_terminal(s->input))
			break;
	}
}
