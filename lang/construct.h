/* SPDX-License-Identifier: MIT
 *
 * construct.h: what the actions of parse.y are made of: a constructor for each shape
 * of node, and words that add one thing to a node and give it back, so that they
 * nest. Nodes live in the compiler's arena. Nothing here fails; what is wrong with a
 * construct that the grammar let through is reported where it is made.
 */
#ifndef CMPC_CONSTRUCT_H
#define CMPC_CONSTRUCT_H

#include "syntax.h"

Node *make_node(Parser *parser, NodeKind kind, Loc loc, int count, ...); /* with `count` kids */
/* The same with the name of the token `named`. */
#define make_named(parser, kind, loc, named, ...) with_name(make_node(parser, kind, loc, __VA_ARGS__), (named)->name)
Node *make_word(Parser *parser, const Token *word);
Node *make_text(Parser *parser, NodeKind kind, const Token *token);
Node *make_number(Parser *parser, const Token *token);
Node *make_unary(Parser *parser, Loc loc, const char *op, Node *e);
Node *make_binary(Parser *parser, Loc loc, const char *op, Node *a, Node *b);
Node *make_report(Parser *parser, Loc loc, const Node *values); /* report "x.html", e: a string in front is the path */
Node *make_sharing(Parser *parser, Node *subject, const Token *what); /* what the members of a family share */

Node *with_name(Node *node, Name name);
Node *with_text(Node *node, const char *text);
Node *with_flag(Node *node);
Node *with_doc(Node *node, const Token *keyword);
Node *with_op(Parser *parser, Node *node, const char *op);
Node *extend_name(Parser *parser, Node *path, const Token *field); /* `a.b` as one name, for declarations */

Node *list_grow(Parser *parser, Node *list, Node *item); /* in place; NULL is what an erroneous item left */
Node *list_unite(
	Parser *parser, Loc loc, Node *first, Node *next); /* a, b: one item stands for itself, several for a LIST */
Node *node_take(
	Parser *parser, Node *node, const Node *list); /* the items of a list, or of none, to the end of `node` */

#endif
