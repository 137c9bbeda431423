/* SPDX-License-Identifier: MIT
 *
 * ast.c: making nodes, and holding a tree to the rules of ast.def.
 */
#include "ast.h"

#include <string.h>

static const struct {
	const char *text;
	int least, most; /* kids; most = -1: any number */
} kinds[N_COUNT] = {
#define NODE(kind, text, least, most) [N_##kind] = {text, least, most},
#include "ast.def"
#undef NODE
};

Node *node_new(Compiler *c, NodeKind kind, Loc loc)
{
	Node *node = arena_new_of(c->arena, Node);
	node->kind = kind;
	node->loc = loc;
	return node;
}

void node_add(Compiler *c, Node *node, Node *kid)
{
	uint32_t count = node->kid_count;
	if ((count & (count - 1)) == 0) { /* 0 or a power of two: the array is full */
		Node **wider = arena_array(c->arena, Node *, count ? count * 2 : 1);
		if (count)
			memcpy(wider, node->kids, count * sizeof *wider);
		node->kids = wider;
	}
	node->kids[node->kid_count++] = kid;
}

const char *node_kind_text(NodeKind kind)
{
	return kinds[kind].text;
}

const Node *node_array(const Node *node)
{
	while (node->kind == N_INDEX)
		node = node->kids[0];
	return node;
}

bool node_mentions(const Node *node, Name name)
{
	if (!node)
		return false;
	if (node->kind == N_NAME && node->name == name)
		return true;
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node_mentions(node->kids[i], name))
			return true;
	return false;
}

bool node_is_given(const Node *line)
{
	return line->kind == N_DEFINE && (line->kids[2]->kind == N_WEIGHT || line->kids[2]->kind == N_GIVEN);
}

Name node_path(Compiler *c, const Node *node)
{
	if (node->kind == N_NAME)
		return node->name;
	Name outer = node->kind == N_FIELD ? node_path(c, node->kids[0]) : NULL;
	return outer ? name_of(c, arena_printf(c->arena, "%s.%s", outer, node->name)) : NULL;
}

/* ---- the verifier ---- */

static bool may_be_missing(NodeKind kind, uint32_t kid)
{
	switch (kind) {
	case N_PARAM:
		return true;
	case N_PIPELINE:
		return kid == 1 || kid == 2;
	case N_FN:
	case N_ROLE:
	case N_DEFINE:
	case N_UPDATE:
	case N_APPLY:
	case N_NOTE:
		return kid == 1;
	case N_NET:
	case N_EXPORT:
		return kid == 1;
	case N_WEIGHT:
		return kid > 0;
	default:
		return false;
	}
}

/* The one kind that kid must have, or N_COUNT where several are right. */
static NodeKind required_kind(NodeKind kind, uint32_t kid)
{
	switch (kind) {
	case N_FN:
		return kid == 0 ? N_PARAMS : kid == 1 ? N_LIST : N_COUNT;
	case N_PASS:
		return kid == 0 ? N_PARAMS : kid == 1 ? N_SUBJECT : N_BODY;
	case N_DTYPE:
		return kid == 0 ? N_PARAMS : kid == 1 ? N_INDEX : N_BODY;
	case N_RECIPE:
		return kid == 0 ? N_PARAMS : N_BODY;
	case N_PIPELINE:
		return kid == 3 ? N_BODY : N_NAME;
	case N_ROLES:
		return N_ROLE;
	case N_PARAMS:
		return N_PARAM;
	case N_ROLE:
		return N_LIST;
	case N_TARGET:
	case N_MODEL:
	case N_DATA:
	case N_SAVE:
		return N_PROP;
	case N_NET:
	case N_EXPORT:
		return kid == 0 ? N_BODY : N_LIST;
	case N_OMIT:
		return N_STRING;
	case N_AXES:
		return N_DEFINE;
	case N_WEIGHT:
		return kid < 2 ? N_LIST : N_COUNT;
	case N_FOR:
	case N_WHEN:
	case N_LAYER:
		return kid == 1 ? N_BODY : N_COUNT;
	case N_BLOCK:
	case N_KEEP:
	case N_IN:
		return kid == 0 ? N_NAME : N_COUNT;
	default:
		return N_COUNT;
	}
}

static bool needs_name(NodeKind kind)
{
	switch (kind) {
	case N_LET:
	case N_FN:
	case N_PASS:
	case N_DTYPE:
	case N_TARGET:
	case N_MODEL:
	case N_DATA:
	case N_NET:
	case N_EXPORT:
	case N_LAYER:
	case N_OMIT:
	case N_ROLES:
	case N_RECIPE:
	case N_PIPELINE:
	case N_PROP:
	case N_PARAM:
	case N_FOR:
	case N_LAYOUT:
	case N_NAME:
	case N_FIELD:
	case N_ARG:
		return true;
	default:
		return false;
	}
}

static bool verify(Compiler *c, const Node *node)
{
	const char *wrong = NULL;
	if ((int)node->kid_count < kinds[node->kind].least)
		wrong = "has too few kids";
	else if (kinds[node->kind].most >= 0 && (int)node->kid_count > kinds[node->kind].most)
		wrong = "has too many kids";
	else if (needs_name(node->kind) && !node->name)
		wrong = "has no name";
	else if ((node->kind == N_UNARY || node->kind == N_BINARY) && !node->op)
		wrong = "has no operator";
	bool is_right = true;
	for (uint32_t i = 0; !wrong && i < node->kid_count; i++) {
		const Node *kid = node->kids[i];
		NodeKind required = required_kind(node->kind, i);
		if (!kid && !may_be_missing(node->kind, i))
			wrong = "lacks a kid";
		else if (kid && required != N_COUNT && kid->kind != required)
			wrong = arena_printf(c->arena, "holds a \"%s\" as kid %u", node_kind_text(kid->kind), i);
		else if (kid)
			is_right = verify(c, kid) && is_right;
	}
	if (wrong)
		diag_error(c, node->loc, "internal error: the node \"%s\" %s", node_kind_text(node->kind), wrong);
	return is_right && !wrong;
}

bool ast_verify(Compiler *c, const Node *file)
{
	return verify(c, file);
}
