/* SPDX-License-Identifier: MIT
 *
 * source_expression.c: expressions and selections as legal .cmp, with no more
 * parentheses than it takes to read the same tree again.
 */
#include "source_print.h"

#include <string.h>

/* ---- expressions ---- */

static int binary_level(Name op)
{
	static const struct {
		const char *op;
		int level;
	} operators[] = {
		{"or", IS_OR},
		{"and", IS_AND},
		{"|", IS_BITS},
		{"&", IS_BITS_AND},
		{"<<", IS_SHIFT},
		{">>", IS_SHIFT},
		{"+", IS_SUM},
		{"-", IS_SUM},
		{"*", IS_PRODUCT},
		{"/", IS_PRODUCT},
		{"//", IS_PRODUCT},
		{"%", IS_PRODUCT},
		{"^", IS_POWER},
	};
	for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
		if (strcmp(op, operators[i].op) == 0)
			return operators[i].level;
	return IS_COMPARISON;
}

static int level_of(const Node *node)
{
	switch (node->kind) {
	case N_IF:
		return IS_IF;
	case N_BINARY:
		return binary_level(node->op);
	case N_UNARY:
		return strcmp(node->op, "not") == 0 ? IS_NOT : IS_UNARY;
	default:
		return IS_POSTFIX;
	}
}

void list_print(const Node *node, uint32_t from, const char *open, const char *close, Text *to)
{
	text_printf(to, "%s", open);
	for (uint32_t i = from; i < node->kid_count; i++) {
		text_printf(to, "%s", i > from ? ", " : "");
		expression_print(node->kids[i], IS_IF, to);
	}
	text_printf(to, "%s", close);
}

static void print_binary(const Node *node, Text *to)
{
	int level = binary_level(node->op);
	int left = level == IS_COMPARISON || level == IS_POWER ? level + 1 : level; /* the others are left associative */
	int right = level == IS_POWER ? IS_UNARY : level + 1;
	expression_print(node->kids[0], left, to);
	text_printf(to, " %s ", node->op);
	expression_print(node->kids[1], right, to);
}

static void print_choice(const Node *node, void (*print)(const Node *branch, int level, Text *to), Text *to)
{
	text_append(to, "if ", 3);
	expression_print(node->kids[0], IS_IF, to);
	text_append(to, " then ", 6);
	print(node->kids[1], IS_IF, to);
	text_append(to, " else ", 6);
	print(node->kids[2], IS_IF, to);
}

void bare_print(const Node *node, Text *to)
{
	switch (node->kind) {
	case N_NUMBER:
		number_print(node, to);
		break;
	case N_RATIO:
		text_printf(to, "%s", node->text);
		break;
	case N_STRING:
		string_print(node->text, to);
		break;
	case N_REGEX:
		text_printf(to, "re\"%s\"", node->text);
		break;
	case N_NAME:
		text_printf(to, "%s", node->name);
		break;
	case N_FIELD:
		expression_print(node->kids[0], IS_POSTFIX, to);
		text_printf(to, ".%s", node->name);
		break;
	case N_INDEX:
	case N_CALL:
		expression_print(node->kids[0], IS_POSTFIX, to);
		list_print(node, 1, node->kind == N_CALL ? "(" : "[", node->kind == N_CALL ? ")" : "]", to);
		break;
	case N_ARG:
		text_printf(to, "%s: ", node->name);
		expression_print(node->kids[0], IS_IF, to);
		break;
	case N_UNARY:
		text_printf(to, "%s%s", node->op, node->op[0] == 'n' ? " " : "");
		expression_print(node->kids[0], level_of(node), to);
		break;
	case N_BINARY:
		print_binary(node, to);
		break;
	case N_IF:
		print_choice(node, expression_print, to);
		break;
	case N_TUPLE:
		list_print(node, 0, "(", ")", to);
		break;
	case N_LIST:
		list_print(node, 0, "[", "]", to);
		break;
	case N_SLICE:
	case N_STAR:
		text_append(to, node->kind == N_SLICE ? ":" : "*", 1);
		break;
	case N_IN:
	case N_BY:
		expression_print(node->kids[0], IS_IF, to);
		text_printf(to, " %s ", node->kind == N_IN ? "in" : "by");
		expression_print(node->kids[1], IS_IF, to);
		break;
	case N_RANGE:
		expression_print(node->kids[0], IS_IF, to);
		text_append(to, "..", 2);
		expression_print(node->kids[1], IS_IF, to);
		if (node->kid_count == 3) {
			text_append(to, " step ", 6);
			expression_print(node->kids[2], IS_IF, to);
		}
		break;
	case N_DEFINE: /* an axis of a role: i = c*h*w */
		expression_print(node->kids[0], IS_IF, to);
		text_append(to, " = ", 3);
		expression_print(node->kids[2], IS_IF, to);
		break;
	default:
		break;
	}
}

void expression_print(const Node *node, int level, Text *to)
{
	bool is_loose = level_of(node) < level;
	text_append(to, "(", is_loose);
	bare_print(node, to);
	text_append(to, ")", is_loose);
}

/* ---- selections ---- */

static int selection_level(const Node *node)
{
	switch (node->kind) {
	case N_IF:
		return SELECT_IF;
	case N_EXCEPT:
		return SELECT_EXCEPT;
	case N_LIST:
		return SELECT_LIST;
	case N_BINARY:
		return SELECT_AND;
	default:
		return SELECT_ONE;
	}
}

static void print_range_bounds(const Node *node, Text *to)
{
	expression_print(node->kids[0], IS_BITS, to);
	for (uint32_t i = 1; i < node->kid_count; i++) {
		text_printf(to, "%s", i == 1 ? ".." : " step ");
		expression_print(node->kids[i], IS_BITS, to);
	}
}

void selection_print(const Node *node, int level, Text *to)
{
	bool is_loose = selection_level(node) < level;
	text_append(to, "(", is_loose);
	switch (node->kind) {
	case N_IF:
		print_choice(node, selection_print, to);
		break;
	case N_EXCEPT:
		selection_print(node->kids[0], SELECT_EXCEPT, to);
		text_append(to, " except ", 8);
		selection_print(node->kids[1], SELECT_LIST, to);
		break;
	case N_LIST:
		for (uint32_t i = 0; i < node->kid_count; i++) {
			text_printf(to, "%s", i ? ", " : "");
			selection_print(node->kids[i], SELECT_AND, to);
		}
		break;
	case N_BINARY:
		selection_print(node->kids[0], SELECT_AND, to);
		text_append(to, " and ", 5);
		selection_print(node->kids[1], SELECT_ONE, to);
		break;
	case N_LAYERS:
		text_append(to, "layer ", 6);
		if (node->kids[0]->kind == N_RANGE)
			print_range_bounds(node->kids[0], to);
		else
			expression_print(node->kids[0], IS_BITS, to);
		break;
	default:
		bare_print(node, to);
		break;
	}
	text_append(to, ")", is_loose);
}
