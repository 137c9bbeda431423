/* SPDX-License-Identifier: MIT
 *
 * check_order.c: `=` lines of a body may stand in any order as long as none needs
 * itself, be it through others.
 */
#include "check.h"

typedef struct Order {
	Checker *ck;
	const Node *body;
	enum { LINE_NEW, LINE_OPEN, LINE_DONE } * state; /* of each line */
	NameVec bound;                                   /* indices of the expression in hand: no references */
} Order;

static bool defines(const Node *line, Name name)
{
	const Node *left = line->kids[0];
	for (uint32_t i = 0; left->kind == N_TUPLE && i < left->kid_count; i++)
		if (node_array(left->kids[i])->name == name)
			return true;
	return left->kind != N_TUPLE && node_array(left)->name == name;
}

static void visit(Order *order, uint32_t line);

static void follow_name(Order *order, const Node *name, uint32_t from)
{
	for (size_t i = 0; i < order->bound.count; i++)
		if (order->bound.at[i] == name->name)
			return;
	for (uint32_t i = 0; i < order->body->kid_count; i++) {
		const Node *line = order->body->kids[i];
		if (line->kind != N_DEFINE || !defines(line, name->name))
			continue;
		if (order->state[i] == LINE_OPEN) {
			diag_error(order->ck->c, line->kids[0]->loc, "\"%s\" is defined by itself", name->name);
			if (i != from)
				diag_note(order->ck->c, name->loc, "what it needs needs it here");
		} else if (order->state[i] == LINE_NEW) {
			visit(order, i);
		}
		return;
	}
}

/* k of `k`, `k < 4`, `k in a..b`, `k by e` */
static void bind(Order *order, const Node *subscript)
{
	if (subscript->kind == N_BINARY || subscript->kind == N_IN || subscript->kind == N_BY)
		subscript = subscript->kids[0];
	if (subscript->kind == N_NAME)
		vec_push(order->ck->c->arena, &order->bound, subscript->name);
}

static void follow(Order *order, const Node *node, uint32_t from)
{
	if (node->kind == N_NAME) {
		follow_name(order, node, from);
		return;
	}
	size_t bound = order->bound.count;
	bool is_call = node->kind == N_CALL;
	const Node *axes = is_call && node->kids[0]->kind == N_INDEX ? node->kids[0] : NULL;
	for (uint32_t i = 1; axes && i < axes->kid_count; i++)
		bind(order, axes->kids[i]);
	for (uint32_t i = 1; axes && i < axes->kid_count; i++)
		follow(order, axes->kids[i], from);
	for (uint32_t i = is_call ? 1 : 0; i < node->kid_count; i++)
		if (node->kids[i])
			follow(order, node->kids[i], from);
	order->bound.count = bound;
}

static void visit(Order *order, uint32_t at)
{
	const Node *line = order->body->kids[at];
	NameVec bound = order->bound;
	order->bound = (NameVec){0};
	order->state[at] = LINE_OPEN;
	for (const Node *left = line->kids[0]; left->kind == N_INDEX; left = left->kids[0])
		for (uint32_t i = 1; i < left->kid_count; i++)
			bind(order, left->kids[i]);
	const Node *right = line->kids[2]->kind == N_WEIGHT ? line->kids[2]->kids[2] : line->kids[2];
	if (right)
		follow(order, right, at);
	order->state[at] = LINE_DONE;
	order->bound = bound;
}

void check_order(Checker *ck, const Node *body)
{
	Order order = {.ck = ck, .body = body};
	order.state = arena_alloc(ck->c->arena, body->kid_count * sizeof *order.state);
	for (uint32_t i = 0; i < body->kid_count; i++)
		if (body->kids[i]->kind == N_DEFINE && order.state[i] == LINE_NEW)
			visit(&order, i);
}
