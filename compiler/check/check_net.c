/* SPDX-License-Identifier: MIT
 *
 * check_net.c: nets: equations over arrays that a checkpoint holds, `weight`, and
 * arrays that a data set gives, `data`. The names that subscript such an array are
 * axes of the body around it: their extents come from the checkpoint. What needs the
 * checkpoint, whether the tensors are there and have these shapes, is for the plan.
 */
#include "check.h"

#include <string.h>

/* Axes are known in the whole body, as the names of its `=` lines are. */
static void add_axes(Checker *ck, const Node *body)
{
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *node = body->kids[i];
		for (uint32_t a = 0; node->kind == N_AXES && a < node->kid_count; a++) {
			const Node *name = node->kids[a]->kids[0];
			if (axis_is_known(ck, name->name))
				diag_error(ck->c, name->loc, "axis \"%s\" is declared twice", name->name);
			axis_add(ck, name->name, false);
		}
	}
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *left = body->kids[i]->kids ? body->kids[i]->kids[0] : NULL;
		if (!node_is_given(body->kids[i]))
			continue;
		for (uint32_t s = 1; left->kind == N_INDEX && s < left->kid_count; s++)
			if (left->kids[s]->kind == N_NAME && !axis_is_known(ck, left->kids[s]->name))
				axis_add(ck, left->kids[s]->name, false);
	}
}

static bool is_layer_word(const Checker *ck, const char *word, size_t length)
{
	for (const Frame *frame = ck->frame; frame; frame = frame->outer)
		for (size_t i = 0; i < frame->symbols.count; i++)
			if (frame->symbols.at[i].kind == SYMBOL_VALUE && strlen(frame->symbols.at[i].name) == length &&
				!strncmp(frame->symbols.at[i].name, word, length))
				return true;
	return false;
}

/* {l} in a name stands for the number of the layer, {e} for a place along an axis: one tensor for each. */
static void check_pattern(Checker *ck, const Node *pattern)
{
	for (const char *at = strchr(pattern->text, '{'); at; at = strchr(at + 1, '{')) {
		size_t length = strcspn(at + 1, "}");
		if (!at[1 + length] ||
			!(is_layer_word(ck, at + 1, length) || axis_is_known(ck, name_intern(ck->c, at + 1, length)))) {
			diag_error(ck->c, pattern->loc, "{%.*s} is no layer around this weight, and no axis", (int)length, at + 1);
			diag_help(ck->c, "in `layer l < n { }`, {l} stands for the number of the layer");
			return;
		}
	}
}

static bool has_weight(const Node *body, Name name)
{
	bool found = false;
	for (uint32_t i = 0; i < body->kid_count && !found; i++) {
		const Node *line = body->kids[i];
		found =
			(line->kind == N_DEFINE && line->kids[2]->kind == N_WEIGHT && node_array(line->kids[0])->name == name) ||
			(line->kind == N_LAYER && has_weight(line->kids[1], name));
	}
	return found;
}

bool is_weight(const Checker *ck, Name name)
{
	return ck->decl->kind == DECL_NET && has_weight(ck->decl->node->kids[0], name);
}

void check_given_array(Checker *ck, const Node *right)
{
	if (ck->decl->kind != DECL_NET) {
		diag_error(ck->c, right->loc, "`%s` stands in a net", right->kind == N_WEIGHT ? "weight" : "data");
		return;
	}
	for (uint32_t i = 0; right->kind == N_WEIGHT && i < right->kids[0]->kid_count; i++)
		check_pattern(ck, right->kids[0]->kids[i]);
	if (right->kind == N_WEIGHT && right->kids[2])
		check_scalar(ck, right->kids[2]);
}

void check_net_statement(Checker *ck, const Node *node)
{
	if (ck->decl->kind != DECL_NET) {
		diag_error(ck->c, node->loc, "`%s` stands in a net", node_kind_text(node->kind));
		return;
	}
	for (uint32_t i = 0; node->kind == N_AXES && i < node->kid_count; i++)
		check_scalar(ck, node->kids[i]->kids[2]);
	if (node->kind == N_AXES)
		return;
	if (ck->in_layer)
		diag_error(ck->c, node->loc, "a layer does not stand in another");
	for (uint32_t i = 0; node->kids[0]->kind == N_RANGE && i < 2; i++)
		check_scalar(ck, node->kids[0]->kids[i]);
	if (node->kids[0]->kind != N_RANGE)
		check_scalar(ck, node->kids[0]);
	frame_push(ck);
	symbol_add(ck, SYMBOL_VALUE, node->name, node->loc);
	add_axes(ck, node->kids[1]);
	ck->in_layer = true;
	check_body(ck, node->kids[1]);
	ck->in_layer = false;
	frame_pop(ck);
}

void check_net(Checker *ck, const Decl *decl)
{
	ck->has_facts = true;
	add_axes(ck, decl->node->kids[0]);
	check_body(ck, decl->node->kids[0]);
}

static void add_roles(Compiler *c, const Node *body, NameVec *to)
{
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *line = body->kids[i];
		if (line->kind == N_LAYER)
			add_roles(c, line->kids[1], to);
		const Node *roles = line->kind == N_DEFINE && line->kids[2]->kind == N_WEIGHT ? line->kids[2]->kids[1] : NULL;
		for (uint32_t r = 0; roles && r < roles->kid_count; r++)
			vec_push(c->arena, to, roles->kids[r]->name);
	}
}

void net_role_names(const Program *p, NameVec *to)
{
	for (size_t i = 0; i < p->decls.count; i++) {
		const Decl *net = p->decls.at[i]->kind == DECL_NET ? program_find(p, DECL_NET, p->decls.at[i]->name) : NULL;
		if (net)
			add_roles(p->c, net->node->kids[0], to);
	}
}
