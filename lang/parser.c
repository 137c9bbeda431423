/* SPDX-License-Identifier: MIT
 *
 * parser.c: from a source file, or a line of the REPL, to its tree. NULL is given
 * where anything was wrong: it has been reported then, in the order of the text.
 */
#include "syntax.h"
#include "parse.h"

/* Holds the tree to NESTING_LIMIT, without recursion: later stages may recurse. */
static void check_depth(Parser *parser, Node *root)
{
	typedef struct Level {
		Node *node;
		uint32_t next;
	} Level;
	Level levels[NESTING_LIMIT];
	size_t depth = 0;
	levels[depth++] = (Level){root, 0};
	while (depth > 0) {
		Level *top = &levels[depth - 1];
		if (top->next == top->node->kid_count) {
			depth--;
			continue;
		}
		Node *kid = top->node->kids[top->next++];
		if (kid && depth == NESTING_LIMIT) {
			parser_too_deep(parser, kid->loc);
			return;
		}
		if (kid)
			levels[depth++] = (Level){kid, 0};
	}
}

static Node *parse_tokens(Parser *parser)
{
	size_t before = diag_errors(parser->c), first = parser->c->diags.count;
	tokens_read(parser->c, parser->file, &parser->tokens);
	if (parser->tokens.is_too_deep)
		return NULL;
	int status = lang_parse(parser);
	errors_sort(parser->c, first);
	if (status == 0 && parser->error_count == 0 && parser->result)
		check_depth(parser, parser->result);
	return status == 0 && diag_errors(parser->c) == before ? parser->result : NULL;
}

/* The tree keeps nothing of the token list, which is larger than it. */
static Node *parse(Parser *parser)
{
	parser->tokens.arena = parser->c->scratch;
	Node *tree = parse_tokens(parser);
	arena_clear(parser->c->scratch);
	return tree;
}

static Parser parser_of(Compiler *c, uint32_t file, int start)
{
	return (Parser){.c = c, .file = file, .start = start, .resumed = NO_TOKEN, .loose = NO_TOKEN};
}

Node *parse_file(Compiler *c, uint32_t file)
{
	Parser parser = parser_of(c, file, T_FILE_START);
	return parse(&parser);
}

Node *parse_entry(Compiler *c, uint32_t file, bool *is_incomplete)
{
	size_t diags = c->diags.count, errors = c->error_count;
	Parser parser = parser_of(c, file, T_ENTRY_START);
	Node *entry = parse(&parser);
	*is_incomplete = parser.is_incomplete && c->error_count == errors + 1;
	if (*is_incomplete) { /* more lines may make it right */
		c->diags.count = diags;
		c->error_count = errors;
	}
	return entry;
}
