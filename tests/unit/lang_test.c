/* SPDX-License-Identifier: MIT
 *
 * lang_test.c: what no golden file shows: printing and formatting keep the tree of
 * every .cmp file of stdlib, examples and tests; the REPL's incomplete entries;
 * nesting limits; names and numbers of compiler/base.
 */
#include "ast.h"
#include "check.h"

#include <fts.h>
#include <stdlib.h>
#include <string.h>

static const char *dump(Compiler *c, const Node *tree)
{
	Text text = {.arena = c->arena};
	ast_print(tree, &text);
	return text.at;
}

static void check_same(Compiler *c, const char *path, const Node *tree, const Text *text)
{
	const Node *again = parse_file(c, source_add(c, path, text->at, text->count));
	CHECK(again != NULL, "%s", path);
	CHECK(!again || strcmp(dump(c, tree), dump(c, again)) == 0, "%s", path);
	diag_flush(c, stdout);
}

/* Returns whether the file parses at all: those of tests/errors do not. */
static bool check_file(const char *path)
{
	Compiler *c = compiler_new();
	uint32_t file;
	Node *tree = source_open(c, path, LOC_NONE, &file) ? parse_file(c, file) : NULL;
	if (tree) {
		CHECK(ast_verify(c, tree), "%s", path);
		Text printed = {.arena = c->arena}, formatted = {.arena = c->arena}, again = {.arena = c->arena};
		source_print(c, tree, &printed);
		check_same(c, path, tree, &printed);
		CHECK(source_format(c, file, &formatted), "%s", path);
		check_same(c, path, tree, &formatted);
		CHECK(source_format(c, source_add(c, path, formatted.at, formatted.count), &again), "%s", path);
		CHECK(strcmp(formatted.at, again.at) == 0, "%s: formatting twice differs", path);
	}
	compiler_free(c);
	return tree != NULL;
}

static void check_tree(const char *top)
{
	char *folders[4];
	static const char *const names[] = {"stdlib", "examples", "tests"};
	for (size_t i = 0; i < 3; i++) {
		folders[i] = malloc(strlen(top) + 16);
		sprintf(folders[i], "%s/%s", top, names[i]);
	}
	folders[3] = NULL;
	unsigned parsed = 0;
	FTS *walk = fts_open(folders, FTS_LOGICAL | FTS_NOCHDIR, NULL);
	for (FTSENT *entry; (entry = fts_read(walk));) {
		size_t length = strlen(entry->fts_name);
		if (entry->fts_info == FTS_F && length > 4 && strcmp(entry->fts_name + length - 4, ".cmp") == 0)
			parsed += check_file(entry->fts_path);
	}
	fts_close(walk);
	CHECK(parsed >= 50, "only %u files parse", parsed);
	for (size_t i = 0; i < 3; i++)
		free(folders[i]);
}

static void check_entry(const char *text, bool is_whole, bool is_partial)
{
	Compiler *c = compiler_new();
	bool is_incomplete;
	Node *entry = parse_entry(c, source_add(c, "<repl>", text, strlen(text)), &is_incomplete);
	CHECK((entry != NULL) == is_whole, "%s", text);
	CHECK(is_incomplete == is_partial, "%s", text);
	CHECK((diag_errors(c) > 0) == (!is_whole && !is_partial), "%s", text);
	compiler_free(c);
}

static void check_entries(void)
{
	check_entry("", true, false);
	check_entry("let a = 3  fn f(x) = x * a", true, false);
	check_entry("prune.nm(n: 2) on linear then q4_K_M  save \"x.gguf\"", true, false);
	check_entry("prune.nm(n: 2", false, true);
	check_entry("pass p on w[o] {\n  x = 3\n", false, true);
	check_entry("q4_K_M then", false, true);
	check_entry("fn f(x) = ) +", false, false);
	check_entry("pass p on w[o] { x = = 3", false, false);
}

/* `count` times `open`, then `middle`, then `count` times `close`: parses or not, but always returns. */
static bool parses_nested(const char *open, const char *middle, const char *close, int count)
{
	Compiler *c = compiler_new();
	Text text = {.arena = c->arena};
	text_printf(&text, "let a = ");
	for (int i = 0; i < count; i++)
		text_printf(&text, "%s", open);
	text_printf(&text, "%s", middle);
	for (int i = 0; i < count; i++)
		text_printf(&text, "%s", close);
	Node *tree = parse_file(c, source_add(c, "deep.cmp", text.at, text.count));
	CHECK((tree != NULL) == (diag_errors(c) == 0));
	compiler_free(c);
	return tree != NULL;
}

static void check_nesting(void)
{
	static const char *const chains[][3] = {
		{"(", "1", ")"},
		{"f(", "1", ")"},
		{"x[", "1", "]"},
		{"[", "1", "]"},
		{"- ", "1", ""},
		{"not ", "1", ""},
		{"2 ^ ", "1", ""},
		{"1 + ", "1", ""},
		{"if a then 1 else ", "1", ""},
	};
	for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
		CHECK(parses_nested(chains[i][0], chains[i][1], chains[i][2], 100), "%s", chains[i][0]);
		CHECK(!parses_nested(chains[i][0], chains[i][1], chains[i][2], 300), "%s", chains[i][0]);
		CHECK(!parses_nested(chains[i][0], chains[i][1], chains[i][2], 30000), "%s", chains[i][0]);
	}
}

static void check_base(void)
{
	Compiler *c = compiler_new();
	NameVec known = {0};
	vec_push(c->arena, &known, name_of(c, "prune.magnitude"));
	vec_push(c->arena, &known, name_of(c, "quantize.rtn"));
	vec_push(c->arena, &known, name_of(c, "cast"));
	CHECK(name_nearest(name_of(c, "prune.magntiude"), &known) == known.at[0]);
	CHECK(name_nearest(name_of(c, "csat"), &known) == known.at[2]);
	CHECK(name_nearest(name_of(c, "nothing"), &known) == NULL);
	for (int i = 0; i < 3000; i++) {
		Name name = name_of(c, arena_printf(c->arena, "n%d", i));
		CHECK(name == name_of(c, arena_printf(c->arena, "n%d", i)));
	}
	static const double numbers[] = {0.1, 1.0 / 3, 1e-4, 5e-324, 1.7976931348623157e308, 123456789012345678.0, -2.5};
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		Text text = {.arena = c->arena};
		text_number(&text, numbers[i]);
		CHECK(strtod(text.at, NULL) == numbers[i], "%s", text.at);
	}
	static const char bytes[] = "a = 1\n\tb\xc3\xa4 = 2\n";
	uint32_t file = source_add(c, "x.cmp", bytes, sizeof bytes - 1), line, column;
	source_place(c, (Loc){file, 11, 12}, &line, &column);
	CHECK(line == 2 && column == 5, "%u:%u", line, column);
	compiler_free(c);
}

int main(void)
{
	const char *top = getenv("TOP_SRCDIR");
	check_base();
	check_entries();
	check_nesting();
	check_tree(top ? top : ".");
	return finish("lang");
}
