/* SPDX-License-Identifier: MIT
 *
 * fuzz_cmp.c: any bytes as a .cmp file: parsed or refused with an error. What is
 * parsed holds to ast.def, and printed and formatted it parses to the same tree.
 */
#include "ast.h"

#include <stdlib.h>
#include <string.h>

static void hold(bool condition)
{
	if (!condition)
		abort();
}

static const char *dump(Compiler *c, const Node *tree)
{
	Text text = {.arena = c->arena};
	ast_print(tree, &text);
	return text.at;
}

static void check_again(Compiler *c, const Node *tree, const Text *text)
{
	const Node *again = parse_file(c, source_add(c, "again.cmp", text->at, text->count));
	hold(again && strcmp(dump(c, tree), dump(c, again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Compiler *c = compiler_new();
	uint32_t file = source_add(c, "fuzz.cmp", (const char *)data, size);
	Node *tree = parse_file(c, file);
	hold(!tree == (diag_errors(c) > 0));
	if (tree) {
		hold(ast_verify(c, tree));
		Text printed = {.arena = c->arena}, formatted = {.arena = c->arena};
		source_print(c, tree, &printed);
		check_again(c, tree, &printed);
		hold(source_format(c, file, &formatted));
		check_again(c, tree, &formatted);
	}
	static FILE *nowhere;
	if (!nowhere)
		nowhere = fopen("/dev/null", "w");
	diag_flush(c, nowhere);
	bool is_incomplete;
	parse_entry(c, file, &is_incomplete);
	diag_flush(c, nowhere);
	compiler_free(c);
	return 0;
}
