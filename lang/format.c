/* SPDX-License-Identifier: MIT
 *
 * format.c: cmpc fmt. Indents each line of a program by its place in the tree and
 * leaves what stands within a line as the author aligned it.
 *
 * A line that begins something (a declaration, a statement, a property) is indented
 * by two spaces for each { around it. A line that goes on with what was begun
 * above it keeps its place relative to that, at least two spaces further in.
 * Blanks at line ends and second blank lines go. Only blanks between lines change,
 * so the tokens, and which of them touch, stay as they are. Formatting twice
 * changes nothing more.
 */
#include "syntax.h"
#include "parse.h"

#include <string.h>

enum { INDENT = 2, TAB = 4 };

typedef struct Formatter {
	Compiler *c;
	const Source *source;
	Tokens tokens;
	bool *is_begin; /* by byte offset: something of the tree begins here */
	size_t next;    /* the first token not before the line at hand */
	long shift;     /* how far the last beginning moved */
	long base;      /* its new indentation */
	Text *to;
} Formatter;

/* Marks where the items of files, bodies and braces begin. */
static void mark_beginnings(Formatter *f, const Node *node)
{
	for (uint32_t i = 0; i < node->kid_count; i++) {
		const Node *kid = node->kids[i];
		if (!kid)
			continue;
		switch (node->kind) {
		case N_PROP:
			f->is_begin[kid->loc.begin] |= node->flag;
			break;
		case N_FILE:
		case N_BODY:
		case N_TARGET:
		case N_MODEL:
		case N_DATA:
		case N_ROLES:
		case N_SAVE:
		case N_LAYOUT:
		case N_PLANES:
			f->is_begin[kid->loc.begin] = true;
			break;
		default:
			break;
		}
		mark_beginnings(f, kid);
	}
}

/* Width of the blanks a line begins with; *begin moves behind them. */
static long measure_indent(const char *text, size_t *begin, size_t end)
{
	long width = 0;
	for (; *begin < end && strchr(" \t\r\f", text[*begin]); ++*begin)
		width = text[*begin] == '\t' ? (width / TAB + 1) * TAB : width + (text[*begin] == ' ');
	return width;
}

/* What the line's first character is indented to; `begin` is its offset. */
static long find_indent(Formatter *f, size_t begin, long old)
{
	const Token *tokens = f->tokens.list.at, *token = &tokens[f->next];
	bool is_comment = f->source->text[begin] == '#';
	long level = (long)token->braces * INDENT;
	uint32_t outer = token->outer;
	bool is_inside = outer != NO_TOKEN && tokens[outer].kind != '{';
	if (token->kind == '}' && !is_comment) {
		f->shift = level - INDENT - old;
		return f->base = level - INDENT;
	}
	bool is_begin = is_comment ? !is_inside : f->is_begin[begin] || token->kind == '{' || token->kind == T_END;
	if (is_comment && !is_inside && !f->is_begin[token->loc.begin] && token->kind != '}' && token->kind != T_END)
		is_begin = false; /* a comment amid a statement goes with it */
	if (is_begin) {
		f->shift = level - old;
		return f->base = level;
	}
	return old + f->shift > f->base + INDENT ? old + f->shift : f->base + INDENT;
}

static void format_line(Formatter *f, size_t begin, size_t end, bool *was_blank)
{
	const char *text = f->source->text;
	long old = measure_indent(text, &begin, end);
	while (end > begin && strchr(" \t\r\f", text[end - 1]))
		end--;
	if (begin == end) {
		text_append(f->to, "\n", !*was_blank);
		*was_blank = true;
		return;
	}
	while (f->next + 1 < f->tokens.list.count && f->tokens.list.at[f->next].loc.begin < begin)
		f->next++;
	text_printf(f->to, "%*s%.*s\n", (int)find_indent(f, begin, old), "", (int)(end - begin), text + begin);
	*was_blank = false;
}

bool source_format(Compiler *c, uint32_t file, Text *to)
{
	const Node *tree = parse_file(c, file);
	if (!tree)
		return false;
	Formatter f = {.c = c, .source = source_of(c, file), .to = to};
	f.tokens.arena = c->arena;
	tokens_read(c, file, &f.tokens);
	f.is_begin = arena_array(c->arena, bool, f.source->length + 1);
	mark_beginnings(&f, tree);
	text_append(to, "", 0);
	bool was_blank = true; /* none at the top */
	for (size_t i = 0; i < f.source->line_count; i++) {
		size_t end = i + 1 < f.source->line_count ? f.source->lines[i + 1] - 1 : f.source->length;
		format_line(&f, f.source->lines[i], end, &was_blank);
	}
	while (to->count > 1 && to->at[to->count - 1] == '\n' && to->at[to->count - 2] == '\n')
		to->at[--to->count] = '\0'; /* none at the end */
	return true;
}
