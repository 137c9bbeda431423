/* SPDX-License-Identifier: MIT
 *
 * source_print.h: how expressions and selections are written, for those who write
 * statements around them (source_print.c). An expression that holds together more
 * loosely than its place demands gets parentheses.
 */
#ifndef CMPC_SOURCE_PRINT_H
#define CMPC_SOURCE_PRINT_H

#include "ast.h"

/* How tightly an expression holds together. */
enum {
	IS_IF,
	IS_OR,
	IS_AND,
	IS_NOT,
	IS_COMPARISON,
	IS_BITS,
	IS_BITS_AND,
	IS_SHIFT,
	IS_SUM,
	IS_PRODUCT,
	IS_UNARY,
	IS_POWER,
	IS_POSTFIX
};

/* And a selection; `if` is the loosest of both. */
enum { SELECT_IF, SELECT_EXCEPT, SELECT_LIST, SELECT_AND, SELECT_ONE };

void expression_print(const Node *node, int level, Text *to);
void bare_print(const Node *node, Text *to); /* never in parentheses */
/* The node's kids from `from` on, with commas between them. */
void list_print(const Node *node, uint32_t from, const char *open, const char *close, Text *to);
void selection_print(const Node *node, int level, Text *to);

#endif
