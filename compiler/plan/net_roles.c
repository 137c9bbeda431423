/* SPDX-License-Identifier: MIT
 *
 * net_roles.c: what a net says of single tensors by their names: the roles of the
 * weight, its layer, and which way round it lies: the axis that its products sum is
 * the input's, and so are all but the first axis of a convolution's kernel, if they
 * sum these. Needs no fitting, so it serves where only part of a network is there.
 */
#include "net.h"

#include <string.h>

const Decl *net_of_architecture(Program *p, const char *architecture)
{
	const Decl *named = program_find(p, DECL_NET, name_of(p->c, architecture));
	for (size_t i = 0; !named && i < p->decls.count; i++) {
		const Decl *decl = p->decls.at[i];
		const Decl *net = decl->kind == DECL_NET ? program_find(p, DECL_NET, decl->name) : NULL;
		const Node *types = net ? net->node->kids[1] : NULL;
		for (uint32_t t = 0; types && t < types->kid_count; t++)
			if (!strcmp(types->kids[t]->text, architecture))
				return net;
	}
	return named;
}

/* ---- which way round ---- */

static bool binds(const Node *axes, const Node *sub)
{
	for (uint32_t i = 1; i < axes->kid_count; i++) {
		const Node *axis = axes->kids[i];
		if (axis->kind == N_BINARY || axis->kind == N_IN)
			axis = axis->kids[0];
		if (axis->kind == N_NAME && node_mentions(sub, axis->name))
			return true;
	}
	return false;
}

static const Node *reading_of(const Node *node, Name name)
{
	if (node->kind == N_INDEX && node->kids[0]->kind == N_NAME && node->kids[0]->name == name)
		return node;
	const Node *found = NULL;
	for (uint32_t i = 0; i < node->kid_count && !found; i++)
		found = node->kids[i] ? reading_of(node->kids[i], name) : NULL;
	return found;
}

/* Is there a sum of a product with the array over these of its axes from `first` on, counted from 1? Bit 0 of `over` is
 * the first. */
static bool is_summed(const Node *node, Name name, uint32_t first, uint32_t over)
{
	const Node *axes = node->kind == N_CALL && node->kids[0]->kind == N_INDEX ? node->kids[0] : NULL;
	const Node *reading = axes && node->kid_count > 1 ? reading_of(node->kids[1], name) : NULL;
	bool is_so = reading && reading->kid_count > first + 1;
	for (uint32_t i = first; is_so && i < reading->kid_count; i++)
		is_so = binds(axes, reading->kids[i]) == (over >> (i - first) & 1);
	for (uint32_t i = 0; i < node->kid_count && !is_so; i++)
		is_so = node->kids[i] && is_summed(node->kids[i], name, first, over);
	return is_so;
}

/* ---- rows ---- */

/* The pattern as those of `roles` are written; *is_numbered: it has a number that is not the layer's. */
static const char *role_pattern(Compiler *c, const char *pattern, Name layer, bool *is_numbered)
{
	Text text = {.arena = c->arena};
	*is_numbered = false;
	for (const char *open; (open = strchr(pattern, '{')) && strchr(open, '}'); pattern = strchr(open, '}') + 1) {
		bool is_layer = layer && name_intern(c, open + 1, strcspn(open + 1, "}")) == layer;
		text_printf(&text, "%.*s%s", (int)(open - pattern), pattern, is_layer ? "{layer}" : "*");
		*is_numbered |= !is_layer;
	}
	text_printf(&text, "%s", pattern);
	return text.at;
}

/* Of axes, which are summed. */
enum { LAST_BUT_ONE = 1, LAST_OF_THREE = 1 << 2, ALL_BUT_FIRST = ~1 };

static void add_rows(Compiler *c, const Node *body, Name layer, NetRoleVec *to)
{
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *line = body->kids[i];
		if (line->kind == N_LAYER)
			add_rows(c, line->kids[1], line->name, to);
		if (line->kind != N_DEFINE || line->kids[2]->kind != N_WEIGHT)
			continue;
		const Node *left = line->kids[0], *patterns = line->kids[2]->kids[0];
		uint32_t rank = left->kind == N_INDEX ? left->kid_count - 1 : 0;
		bool is_turned = rank > 1 && is_summed(body, left->kids[0]->name, rank - 1, LAST_BUT_ONE);
		bool is_kernel = rank > 2 && is_summed(body, left->kids[0]->name, 1, ALL_BUT_FIRST);
		bool is_stack = rank == 3 && is_summed(body, left->kids[0]->name, 1, LAST_OF_THREE);
		for (uint32_t k = 0; k < patterns->kid_count; k++) {
			bool is_numbered;
			NetRole row = {.roles = line->kids[2]->kids[1]};
			row.pattern = role_pattern(c, patterns->kids[k]->text, layer, &is_numbered);
			row.is_transposed = is_turned && rank == (is_numbered ? 3 : 2);
			row.is_kernel = is_kernel && !is_numbered;
			row.is_stack = is_stack && !is_numbered;
			vec_push(c->arena, to, row);
		}
	}
}

void net_roles(Compiler *c, const Decl *net, NetRoleVec *to)
{
	add_rows(c, net->node->kids[0], NULL, to);
}
