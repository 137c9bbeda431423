/* SPDX-License-Identifier: MIT
 *
 * construct.c: the nodes of the grammar's actions, see construct.h.
 */
#include "construct.h"

Node *make_node(Parser *parser, NodeKind kind, Loc loc, int count, ...)
{
	Node *node = node_new(parser->c, kind, loc);
	va_list kids;
	va_start(kids, count);
	for (int i = 0; i < count; i++)
		node_add(parser->c, node, va_arg(kids, Node *));
	va_end(kids);
	return node;
}

Node *with_name(Node *node, Name name)
{
	node->name = name;
	return node;
}

Node *make_word(Parser *parser, const Token *word)
{
	return with_name(make_node(parser, N_NAME, word->loc, 0), word->name);
}

Node *make_text(Parser *parser, NodeKind kind, const Token *token)
{
	Node *node = make_node(parser, kind, token->loc, 0);
	node->text = token->text;
	return node;
}

Node *make_number(Parser *parser, const Token *token)
{
	Node *node = make_node(parser, N_NUMBER, token->loc, 0);
	node->number = token->number;
	node->unit = token->unit;
	node->flag = token->is_integer;
	return node;
}

Node *make_unary(Parser *parser, Loc loc, const char *op, Node *e)
{
	Node *node = make_node(parser, N_UNARY, loc, 1, e);
	node->op = name_of(parser->c, op);
	return node;
}

Node *make_binary(Parser *parser, Loc loc, const char *op, Node *a, Node *b)
{
	Node *node = make_node(parser, N_BINARY, loc, 2, a, b);
	node->op = name_of(parser->c, op);
	return node;
}

Node *list_grow(Parser *parser, Node *list, Node *item)
{
	if (item) {
		node_add(parser->c, list, item);
		list->loc = loc_join(list->loc, item->loc);
	}
	return list;
}

Node *node_take(Parser *parser, Node *node, const Node *list)
{
	for (uint32_t i = 0; list && i < list->kid_count; i++)
		node_add(parser->c, node, list->kids[i]);
	return node;
}

Node *with_flag(Node *node)
{
	node->flag = true;
	return node;
}

Node *with_text(Node *node, const char *text)
{
	node->text = text;
	return node;
}

Node *with_doc(Node *node, const Token *keyword)
{
	node->doc = keyword->doc;
	return node;
}

Node *with_op(Parser *parser, Node *node, const char *op)
{
	node->op = name_of(parser->c, op);
	return node;
}

Node *extend_name(Parser *parser, Node *path, const Token *field)
{
	path->name = name_of(parser->c, arena_printf(parser->c->arena, "%s.%s", path->name, field->name));
	path->loc = loc_join(path->loc, field->loc);
	return path;
}

Node *list_unite(Parser *parser, Loc loc, Node *first, Node *next)
{
	if (first->kind == N_LIST)
		return list_grow(parser, first, next);
	return make_node(parser, N_LIST, loc, 2, first, next);
}

Node *make_report(Parser *parser, Loc loc, const Node *values)
{
	Node *node = make_node(parser, N_REPORT, loc, 0);
	bool has_path = values->kids[0]->kind == N_STRING;
	node->text = has_path ? values->kids[0]->text : NULL;
	for (uint32_t i = has_path; i < values->kid_count; i++)
		node_add(parser->c, node, values->kids[i]);
	return node;
}

Node *make_sharing(Parser *parser, Node *subject, const Token *what)
{
	if (what->name != name_of(parser->c, "input")) {
		diag_error(parser->c, what->loc, "unexpected name \"%s\": members share their \"input\"", what->name);
		parser->error_count++;
	}
	subject->op = what->name;
	return subject;
}
