/* SPDX-License-Identifier: MIT
 *
 * diag.c: collects what the user is told about the program and prints it with
 * the source line and carets under the place. Lines are shown as they are, except
 * that control characters and broken UTF-8 become `?`, and that of a very long line
 * only the part around the place is shown. Messages and paths may hold what a
 * checkpoint says: there such characters are written as \x1b.
 */
#include "base.h"

#include <string.h>

static void collect(Compiler *c, DiagKind kind, const Loc *loc, const char *format, va_list arguments)
{
	Diag diag = {.kind = kind, .text = arena_vprintf(c->arena, format, arguments)};
	if (loc && loc->file < c->sources.count) {
		diag.has_loc = true;
		diag.loc = *loc;
	}
	vec_push(c->arena, &c->diags, diag);
	c->error_count += kind == DIAG_ERROR;
}

#define COLLECT(kind, loc)                                                                                             \
	do {                                                                                                               \
		va_list arguments;                                                                                             \
		va_start(arguments, format);                                                                                   \
		collect(c, kind, loc, format, arguments);                                                                      \
		va_end(arguments);                                                                                             \
	} while (0)

void diag_error(Compiler *c, Loc loc, const char *format, ...)
{
	COLLECT(DIAG_ERROR, &loc);
}

void diag_warning(Compiler *c, Loc loc, const char *format, ...)
{
	COLLECT(DIAG_WARNING, &loc);
}

void diag_remark(Compiler *c, const char *topic, Loc loc, const char *format, ...)
{
	COLLECT(DIAG_REMARK, &loc);
	c->diags.at[c->diags.count - 1].topic = topic;
}

void diag_note(Compiler *c, Loc loc, const char *format, ...)
{
	COLLECT(DIAG_NOTE, &loc);
}

void diag_help(Compiler *c, const char *format, ...)
{
	COLLECT(DIAG_HELP, NULL);
}

void diag_fatal(Compiler *c, const char *format, ...)
{
	COLLECT(DIAG_ERROR, NULL);
}

void diag_nearest(Compiler *c, Name word, const NameVec *candidates)
{
	Name nearest = name_nearest(word, candidates);
	if (nearest)
		diag_help(c, "did you mean %s?", nearest);
}

size_t diag_errors(const Compiler *c)
{
	return c->error_count;
}

/* ---- printing ---- */

static const struct {
	const char *text, *color;
} kinds[] = {
	[DIAG_ERROR] = {"error", "\033[1;31m"},
	[DIAG_WARNING] = {"warning", "\033[1;35m"},
	[DIAG_REMARK] = {"remark", "\033[1;34m"},
	[DIAG_NOTE] = {"note", "\033[1;36m"},
	[DIAG_HELP] = {"help", "\033[1;32m"},
};

enum { WIDEST_LINE = 200, SHOWN_BEFORE = 80 }; /* in bytes */

/* The line of `loc`: offsets of the part to show. */
static void line_window(const Source *source, Loc loc, uint32_t line, size_t *begin, size_t *end)
{
	*begin = source->lines[line - 1];
	*end = line < source->line_count ? source->lines[line] - 1 : source->length;
	if (*end > *begin && source->text[*end - 1] == '\r')
		--*end;
	if (*end - *begin <= WIDEST_LINE)
		return;
	if (loc.begin > *begin + SHOWN_BEFORE)
		*begin = loc.begin - SHOWN_BEFORE;
	if (*end > *begin + WIDEST_LINE)
		*end = *begin + WIDEST_LINE;
	while (*begin < loc.begin && ((unsigned char)source->text[*begin] & 0xc0) == 0x80)
		++*begin;
}

static void print_line(const Compiler *c, FILE *to, const Source *source, Loc loc, uint32_t line)
{
	size_t begin, end;
	line_window(source, loc, line, &begin, &end);
	Text shown = {.arena = c->arena}, carets = {.arena = c->arena};
	for (size_t i = begin, step; i < end; i += step) {
		step = character_length(source->text + i, end - i);
		text_append(&shown, step ? source->text + i : "?", step ? step : 1);
		step = step ? step : 1;
		if (i < loc.begin)
			text_append(&carets, source->text[i] == '\t' ? "\t" : " ", 1);
		else if (i == loc.begin || i < loc.end)
			text_append(&carets, "^", 1);
	}
	if (loc.begin >= end)
		text_append(&carets, "^", 1);
	const char *on = c->options.color ? kinds[DIAG_ERROR].color : "", *off = c->options.color ? "\033[0m" : "";
	fprintf(to, "%5u | %s\n      | %s%s%s\n", line, shown.at ? shown.at : "", on, carets.at ? carets.at : "", off);
}

static void print_diag(const Compiler *c, const Diag *diag, FILE *to)
{
	const char *on = c->options.color ? kinds[diag->kind].color : "", *off = c->options.color ? "\033[0m" : "";
	Text said = {.arena = c->arena}, path = {.arena = c->arena};
	text_shown(&said, diag->text, strlen(diag->text));
	if (!diag->has_loc) {
		const char *who = diag->kind == DIAG_HELP || diag->kind == DIAG_NOTE ? "" : "cmpc: ";
		fprintf(to, "%s%s%s:%s %s\n", who, on, kinds[diag->kind].text, off, said.at);
		return;
	}
	uint32_t line, column;
	source_place(c, diag->loc, &line, &column);
	const Source *source = source_of(c, diag->loc.file);
	text_shown(&path, source->path, strlen(source->path));
	fprintf(to, "%s:%u:%u: %s%s:%s %s\n", path.at, line, column, on, kinds[diag->kind].text, off, said.at);
	print_line(c, to, source, diag->loc, line);
}

static bool is_wanted(const Compiler *c, const Diag *remark)
{
	const char *topic = c->options.remarks;
	return topic && (!*topic || strcmp(topic, remark->topic) == 0);
}

void diag_flush(Compiler *c, FILE *to)
{
	bool is_hidden = false; /* notes and helps go with the message before them */
	for (size_t i = 0; i < c->diags.count; i++) {
		const Diag *diag = &c->diags.at[i];
		if (diag->kind != DIAG_NOTE && diag->kind != DIAG_HELP)
			is_hidden = diag->kind == DIAG_REMARK && !is_wanted(c, diag);
		if (!is_hidden)
			print_diag(c, diag, to);
	}
	c->diags.count = 0;
}
