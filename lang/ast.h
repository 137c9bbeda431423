/* SPDX-License-Identifier: MIT
 *
 * ast.h: the syntax tree. One struct for every node: its kinds, with what each
 * kid means, are the rows of ast.def, and ast_verify holds trees to them.
 */
#ifndef CMPC_AST_H
#define CMPC_AST_H

#include "base.h"

typedef enum NodeKind {
#define NODE(kind, text, least, most) N_##kind,
#include "ast.def"
#undef NODE
	N_COUNT
} NodeKind;

typedef struct Node Node;
struct Node {
	NodeKind kind;
	Loc loc;          /* the whole construct; for a declaration its head only */
	Name name;        /* see ast.def */
	Name op;          /* operator as written: "+", "<=", "and", "not", "//" */
	Name unit;        /* "%", "GiB", "GB/s", ... */
	const char *text; /* strings, paths, patterns */
	const char *doc;  /* the ## lines before a declaration, without their ##, or NULL */
	double number;
	bool flag;
	uint32_t kid_count;
	Node **kids;
};

/* ---- lex.l, parse.y ---- */

/* Nesting is bounded by the parser (256 levels), so every later walk may recurse.
 * Returns NULL, with the errors reported, if the text is not a file of declarations. */
Node *parse_file(Compiler *c, uint32_t file);
/* REPL: one or more declarations or pipeline statements. *is_incomplete: the text ends inside a construct (nothing is reported then). */
Node *parse_entry(Compiler *c, uint32_t file, bool *is_incomplete);
/* --emit=tokens: a line each, `3:9 NAME prune` */
void tokens_print(Compiler *c, uint32_t file, Text *to);
/* Units known to the lexer and what one of them is in base units (bytes, bytes/s, USD/hour, 1). False: not a unit. */
bool unit_scale(Name unit, double *scale, const char **dimension);
const char *unit_respelt(Name word); /* MB for mb, NULL: no unit is spelt like it in other letters */
/* Bits of a storage type: u4, i8, f16, ..; 0: it is none. */
uint32_t storage_bits(Name name);
void storage_names(Compiler *c, NameVec *to); /* of those that are not spelled by their width */

/* ---- ast.c ---- */

Node *node_new(Compiler *c, NodeKind kind, Loc loc);
void node_add(Compiler *c, Node *node, Node *kid);
const char *node_kind_text(NodeKind kind);
const Node *node_array(const Node *node);        /* x of x[s][o, i] */
bool node_mentions(const Node *node, Name name); /* node may be NULL */
bool node_is_given(const Node *line);            /* x[..] = weight .. or data .. */
/* `prune.nm` as NAME or FIELD chain -> interned "prune.nm"; NULL if it is not such a chain */
Name node_path(Compiler *c, const Node *node);
bool ast_verify(Compiler *c, const Node *file); /* holds the tree to ast.def; reports internal errors */

/* ---- ast_print.c, source_print.c, format.c ---- */

void string_print(const char *text, Text *to); /* "a \"b\"", as in a program */
void number_print(const Node *node, Text *to); /* with its unit */
void ast_print(const Node *node, Text *to);           /* --emit=ast: one node a line, indented */
void source_print(Compiler *c, const Node *node, Text *to); /* legal .cmp again, comments lost: for plans and messages */
/* cmpc fmt: the file's own text re-indented and re-spaced, comments kept, meaning unchanged; false if it does not parse */
bool source_format(Compiler *c, uint32_t file, Text *to);

#endif
