/* SPDX-License-Identifier: MIT
 *
 * command_doc.c: `cmpc doc NAME` prints the head of every declaration of that name
 * and the ## lines before it; without NAME, all there are, by kind, each with the
 * first sentence of its ## lines.
 */
#include "driver.h"

#include "program.h"

#include <stdlib.h>
#include <string.h>

/* In the order of the list: what a pipeline is written with comes first. */
static const struct {
	DeclKind kind;
	const char *title;
} sections[] = {
	{DECL_PIPELINE, "pipelines"},
	{DECL_MODEL, "models"},
	{DECL_PASS, "passes"},
	{DECL_RECIPE, "recipes"},
	{DECL_DTYPE, "dtypes"},
	{DECL_TARGET, "targets"},
	{DECL_FN, "functions"},
	{DECL_ROLES, "roles"},
	{DECL_DATA, "data"},
	{DECL_NET, "nets"},
	{DECL_EXPORT, "exports"},
	{DECL_LET, "constants"},
};
enum { SECTION_COUNT = sizeof sections / sizeof *sections, WIDEST = 110 };

void doc_sentence(const char *doc, size_t room, Text *to)
{
	size_t begin = to->count;
	for (const char *at = doc; at && *at && !(*at == '.' && (at[1] == ' ' || at[1] == '\n' || !at[1])); at++)
		text_append(to, *at == '\n' ? " " : at, 1);
	if (to->count - begin <= room)
		return;
	size_t cut = begin + room - 3;
	while (cut > begin && to->at[cut] != ' ')
		cut--;
	to->count = cut;
	text_append(to, " ..", 3);
}

static void list_section(const Program *p, DeclKind kind, const char *title, Text *to)
{
	size_t widest = 0, count = 0;
	for (size_t i = 0; i < p->decls.count; i++) {
		const Decl *decl = p->decls.at[i];
		size_t length = decl->kind == kind ? strlen(decl->name) : 0;
		widest = length > widest ? length : widest;
		count += decl->kind == kind;
	}
	if (!count)
		return;
	text_printf(to, "%s%s\n", to->count ? "\n" : "", title);
	for (size_t i = 0; i < p->decls.count; i++) {
		const Decl *decl = p->decls.at[i];
		if (decl->kind != kind)
			continue;
		if (decl->node->doc) {
			text_printf(to, "  %-*s  ", (int)widest, decl->name);
			doc_sentence(decl->node->doc, widest < WIDEST / 2 ? WIDEST - widest : WIDEST / 2, to);
		} else {
			text_printf(to, "  %s", decl->name);
		}
		text_append(to, "\n", 1);
	}
}

/* The head as written; it may span lines. */
static void print_head(Compiler *c, const Decl *decl, Text *to)
{
	Loc loc = decl->node->loc;
	const char *text = source_of(c, loc.file)->text;
	text_printf(to, "%.*s\n", (int)(loc.end - loc.begin), text + loc.begin);
}

static void print_doc(const char *doc, Text *to)
{
	while (doc) {
		size_t length = strcspn(doc, "\n");
		text_printf(to, "%s%.*s\n", length ? "  " : "", (int)length, doc);
		doc = doc[length] ? doc + length + 1 : NULL;
	}
}

static void print_place(Compiler *c, const Decl *decl, Text *to)
{
	uint32_t line, column;
	source_place(c, decl->node->loc, &line, &column);
	text_printf(to, "  %s:%u\n", source_of(c, decl->node->loc.file)->path, line);
}

static void describe(Request *request, const Decl *decl, Text *to)
{
	text_append(to, "\n", to->count > 0);
	if (request->all) {
		source_print(request->c, decl->node, to);
		text_append(to, "\n", 1);
	} else {
		print_head(request->c, decl, to);
		print_doc(decl->node->doc, to);
	}
	print_place(request->c, decl, to);
}

/* `prune`: prune.nm, prune.magnitude, .. */
static bool list_family(const Program *p, const char *word, Text *to)
{
	size_t length = strlen(word);
	for (int i = 0; i < SECTION_COUNT; i++) {
		for (size_t k = 0; k < p->decls.count; k++) {
			const Decl *decl = p->decls.at[k];
			if (decl->kind != sections[i].kind || strncmp(decl->name, word, length) || decl->name[length] != '.')
				continue;
			text_printf(to, "%s %-20s  ", decl_kind_text(decl->kind), decl->name);
			doc_sentence(decl->node->doc ? decl->node->doc : "", WIDEST - 30, to);
			text_append(to, "\n", 1);
		}
	}
	return to->count > 0;
}

static bool describe_name(Request *request, const Program *p, const char *word, Text *to)
{
	Compiler *c = request->c;
	Name name = name_of(c, word);
	NameVec known = {0};
	for (int i = 0; i < SECTION_COUNT; i++) {
		const Decl *decl = program_find(p, sections[i].kind, name);
		if (decl)
			describe(request, decl, to);
		program_names(p, sections[i].kind, &known);
	}
	if (to->count || list_family(p, word, to))
		return true;
	diag_fatal(c, "nothing is called \"%s\"", word);
	diag_nearest(c, name, &known);
	return false;
}

bool doc_print(Request *request, const Program *p, const char *name, Text *to)
{
	if (name)
		return describe_name(request, p, name, to);
	for (int i = 0; i < SECTION_COUNT; i++)
		list_section(p, sections[i].kind, sections[i].title, to);
	return true;
}

int command_doc(Request *request)
{
	Compiler *c = request->c;
	Text text = {.arena = c->arena};
	Program *p = program_new(c, path_stdlib(c));
	if (request->operand_count == 2 && !program_load(p, request->operands[1]))
		return STATUS_ERROR;
	if (!program_load_stdlib(p))
		return STATUS_ERROR;
	if (!doc_print(request, p, request->operand_count ? request->operands[0] : NULL, &text))
		return STATUS_ERROR;
	return text_write(c, NULL, &text) ? STATUS_DONE : STATUS_ERROR;
}
