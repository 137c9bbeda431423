/* SPDX-License-Identifier: MIT
 *
 * ast_print.c: a tree as text, every node of it (--emit=ast). No locations are shown,
 * so equal programs print equally wherever they stand.
 */
#include "ast.h"

#include <string.h>

/* ---- literals ---- */

void string_print(const char *text, Text *to)
{
	text_append(to, "\"", 1);
	for (; *text; text++) {
		static const char specials[] = "\"\\\n\t", escapes[] = "\"\\nt";
		const char *special = strchr(specials, *text);
		if (special)
			text_printf(to, "\\%c", escapes[special - specials]);
		else
			text_append(to, text, 1);
	}
	text_append(to, "\"", 1);
}

void number_print(const Node *node, Text *to)
{
	size_t begin = to->count;
	text_number(to, node->number);
	bool looks_whole = !strpbrk(to->at + begin, ".e");
	if (looks_whole && !node->flag)
		text_append(to, ".0", 2);
	if (node->unit)
		text_printf(to, "%s%s", node->unit[0] == '%' ? "" : " ", node->unit);
}

/* ---- nodes ---- */

static void print_node(const Node *node, int depth, Text *to)
{
	text_printf(to, "%*s", 2 * depth, "");
	if (!node) {
		text_append(to, "-\n", 2);
		return;
	}
	text_printf(to, "%s", node_kind_text(node->kind));
	if (node->name)
		text_printf(to, " %s", node->name);
	if (node->op)
		text_printf(to, " %s", node->op);
	if (node->kind == N_NUMBER) {
		text_append(to, " ", 1);
		number_print(node, to);
	} else if (node->kind == N_LAYOUT) {
		text_append(to, " ", 1);
		text_number(to, node->number);
	}
	if (node->text) {
		text_append(to, " ", 1);
		string_print(node->text, to);
	}
	if (node->flag && node->kind != N_NUMBER)
		text_printf(to, " %s", node->kind == N_SUBJECT ? "all" : node->kind == N_ROLE ? "regex" : "{}");
	if (node->doc) {
		text_append(to, " ## ", 4);
		string_print(node->doc, to);
	}
	text_append(to, "\n", 1);
	for (uint32_t i = 0; i < node->kid_count; i++)
		print_node(node->kids[i], depth + 1, to);
}

void ast_print(const Node *node, Text *to)
{
	print_node(node, 0, to);
}
