/* SPDX-License-Identifier: MIT
 *
 * command_quantize.c: `cmpc quantize CHECKPOINT NAME -o OUT` makes the program that
 * says so, in memory, and runs it. NAME is a recipe, or a dtype, which the recipe
 * `uniform` of the library then gives to every matrix. Errors are always measured.
 */
#include "model.h"
#include "stages.h"

#include <string.h>

/* NAME(dtype: D, imatrix: "FILE") with those that there are */
static const char *statement_text(Compiler *c, const char *recipe, const char *dtype, const char *imatrix)
{
	Text text = {.arena = c->arena};
	text_printf(&text, "%s(", recipe);
	if (dtype)
		text_printf(&text, "dtype: %s%s", dtype, imatrix ? ", " : "");
	if (imatrix) {
		text_printf(&text, "imatrix: ");
		string_print(imatrix, &text);
	}
	text_printf(&text, ")");
	return dtype || imatrix ? text.at : recipe;
}

/* quantize.gptq for "gptq": what a pass asks for beside a dtype, a program says. */
static void help_pass(Compiler *own, Program *library, const char *word)
{
	NameVec passes = {0};
	program_names(library, DECL_PASS, &passes);
	for (size_t i = 0; i < passes.count; i++) {
		const char *last = strrchr(passes.at[i], '.');
		if (strcmp(passes.at[i], word) && (!last || strcmp(last + 1, word)))
			continue;
		diag_help(own,
			"%s is a pass: `cmpc doc %s` shows what it is given; `cmpc init` begins a program that may say it",
			passes.at[i], passes.at[i]);
		return;
	}
}

/* The statement that `word` stands for, in c's arena; NULL, after saying what is near it, if it stands for nothing. */
static const char *find_statement(Compiler *c, const char *word, const char *imatrix)
{
	Compiler *own = compiler_new(); /* what is only looked into is no source of the program */
	Program *library = program_new(own, path_stdlib(own));
	const char *statement = NULL;
	Name name = name_of(own, word);
	if (!program_load_stdlib(library)) {
		statement = NULL;
	} else if (program_find(library, DECL_RECIPE, name)) {
		statement = statement_text(c, arena_printf(c->arena, "%s", name), NULL, imatrix);
	} else if (program_find(library, DECL_DTYPE, name)) {
		statement = statement_text(c, "uniform", name, imatrix);
	} else {
		NameVec known = {0};
		program_names(library, DECL_RECIPE, &known);
		program_names(library, DECL_DTYPE, &known);
		diag_fatal(own, "no recipe and no dtype is called \"%s\"", word);
		diag_nearest(own, name, &known);
		help_pass(own, library, word);
	}
	diag_flush(own, stderr);
	compiler_free(own);
	return statement;
}

int command_quantize(Request *request)
{
	if (!request->output) {
		fprintf(stderr, "cmpc: quantize needs -o OUT: where the result goes\n");
		return STATUS_USAGE;
	}
	const char *statement = find_statement(request->c, request->operands[1], request->imatrix);
	if (!statement)
		return STATUS_ERROR;
	Text text = {.arena = request->c->arena};
	text_printf(&text, "model input from ");
	string_print(request->operands[0], &text);
	if (request->requantize)
		text_printf(&text, " { requantize true }");
	text_printf(&text, "\npipeline quantize of input {\n  %s\n  report error\n}\n", statement);
	return program_run(request, "<quantize>", text.at);
}
