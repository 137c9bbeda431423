/* SPDX-License-Identifier: MIT
 *
 * session_text.c: a session as the text of a program, and that text compiled by
 * the driver's stages. Each compilation has a Compiler of its own that ends with it.
 */
#include "repl.h"

#include "model.h"

#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

/* A file is imported, so that what it names lies beside it. */
static void print_declarations(const Session *s, const State *state, Text *to)
{
	if (s->file) {
		text_printf(to, "import ");
		string_print(s->file, to);
		text_printf(to, "\n");
	}
	for (size_t i = 0; i < state->entries.count; i++)
		if (!state->entries.at[i].is_statement)
			text_printf(to, "%s\n", state->entries.at[i].text);
}

static void print_indented(const char *lines, Text *to)
{
	while (*lines) {
		size_t length = strcspn(lines, "\n");
		text_printf(to, "%s%.*s\n", length ? "  " : "", (int)length, lines);
		lines += length + (lines[length] == '\n');
	}
}

static void print_pipeline(
	const char *name, const char *model, const char *target, const char *statements, const char *output, Text *to)
{
	text_printf(to, "%spipeline %s of %s%s%s {\n", to->count ? "\n" : "", name, model, target ? " for " : "",
		target ? target : "");
	print_indented(statements, to);
	if (output)
		text_printf(to, "  save \"%s\"\n", output);
	text_printf(to, "}\n");
}

/* The statements entered, and whether one of them saves. */
static bool print_statements(const State *state, Text *to)
{
	bool saves = false;
	for (size_t i = 0; i < state->entries.count; i++) {
		const Entry *entry = &state->entries.at[i];
		saves |= entry->kind == N_SAVE;
		if (entry->is_statement)
			text_printf(to, "%s\n", entry->text);
	}
	return saves;
}

void state_text(const Session *s, const State *state, Text *to)
{
	Text statements = {.arena = to->arena};
	print_declarations(s, state, to);
	bool saves = print_statements(state, &statements);
	if (statements.count)
		print_pipeline("repl", state->model, state->target, statements.at, saves ? NULL : state->output, to);
}

const char *state_pipeline(const State *state)
{
	for (size_t i = 0; i < state->entries.count; i++)
		if (state->entries.at[i].is_statement)
			return "repl";
	return state->pipeline;
}

/* ---- compiling ---- */

static Work *work_begin(const Session *s)
{
	Compiler *c = compiler_new();
	c->options = s->c->options;
	Work *work = arena_new_of(c->arena, Work);
	work->request = *s->request;
	work->request.c = c;
	return work;
}

static void work_compile(Work *work, const Text *text, const char *pipeline, const Goal *goal)
{
	work->request.pipeline = pipeline;
	work->request.emit = goal->emit;
	work->k = compilation_begin(&work->request, "<repl>", text->count ? text->at : "");
	work->k.runs_here = goal->runs_here;
	work->is_good = compile(&work->k, goal->until);
}

bool work_end(Work *work)
{
	Compiler *c = work->request.c;
	bool is_good = work->is_good && !diag_errors(c);
	fflush(stdout); /* messages come after what they follow */
	diag_flush(c, stderr);
	compilation_end(&work->k);
	compiler_free(c);
	return is_good;
}

static void work_drop(Work *work)
{
	Compiler *c = work->request.c;
	compilation_end(&work->k);
	compiler_free(c);
}

Work *state_compile(const Session *s, const State *state, bool is_bare, const Goal *goal)
{
	Work *work = work_begin(s);
	Text text = {.arena = work->request.c->arena};
	if (is_bare)
		print_declarations(s, state, &text);
	else
		state_text(s, state, &text);
	work_compile(work, &text, is_bare ? NULL : state_pipeline(state), goal);
	return work;
}

Work *statements_compile(const Session *s, const State *state, const char *name, const char *target,
	const char *statements, bool saves, const Goal *goal, const char **output)
{
	Work *first = NULL;
	for (int i = 0; i < format_count(); i++) {
		const Format *format = format_at(i);
		Work *work = work_begin(s);
		Compiler *c = work->request.c;
		Text text = {.arena = c->arena};
		const char *place = arena_printf(c->arena, "%s%s", name, format->is_folder_format ? "" : format->suffix);
		print_declarations(s, state, &text);
		print_pipeline(name, state->model, target, statements, saves ? NULL : place, &text);
		work_compile(work, &text, arena_printf(c->arena, "%s", name), goal);
		if (work->is_good && output)
			*output = arena_printf(s->c->arena, "%s", place);
		if (work->is_good && first)
			work_drop(first);
		if (work->is_good || saves)
			return work;
		if (first)
			work_drop(work); /* no container will do: what the first lacks is as good as any */
		else
			first = work;
	}
	return first;
}
