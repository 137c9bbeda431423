/* SPDX-License-Identifier: MIT
 *
 * elab_sharing.c: passes `on all w[s][o, i] sharing input`, on matrices that read one
 * array of a net. What stands above `fold e[i] into x` is decided once, by a kernel
 * that has all members one below the other as one matrix; it leaves e. Every matrix
 * that reads x is then multiplied by e along its columns, and goes on with what stands
 * below; what makes x is divided by it. Each of these is a link of that tensor's own
 * chain, which is given e.
 */
#include "elaborate.h"

#include "facts.h"

#include <string.h>

/* ---- the body in two ---- */

static bool names_operator(const Node *node)
{
	return node->kind == N_CALL && node->kids[0]->kind == N_INDEX && node->kids[0]->kids[0]->kind == N_NAME;
}

static bool has_kid(const Node *node, Name name)
{
	for (uint32_t i = 1; i < node->kid_count; i++)
		if (node->kids[i]->kind == N_NAME && node->kids[i]->name == name)
			return true;
	return false;
}

/* x[s] */
static bool is_of_member(const Node *node, Name index)
{
	return node->kind == N_INDEX && node->kid_count == 2 && node->kids[1]->kind == N_NAME &&
		   node->kids[1]->name == index;
}

/* The first place where one of the names is the row of an array x[s][row, ..]; NULL: nowhere. */
static const Node *find_row(const Node *node, Name index, const Node *names)
{
	if (node->kind == N_INDEX && is_of_member(node->kids[0], index) && node->kid_count > 1 &&
		node->kids[1]->kind == N_NAME && has_kid(names, node->kids[1]->name))
		return node;
	for (uint32_t i = 0; i < node->kid_count; i++) {
		const Node *found = node->kids[i] ? find_row(node->kids[i], index, names) : NULL;
		if (found)
			return found;
	}
	return NULL;
}

/* Is a member handed on whole? */
static bool has_member_argument(const Node *call, Name index)
{
	for (uint32_t i = 1; i < call->kid_count; i++) {
		const Node *argument = call->kids[i]->kind == N_ARG ? call->kids[i]->kids[0] : call->kids[i];
		if (argument && is_of_member(argument, index))
			return true;
	}
	return false;
}

/* Members stand one below the other: nothing may look at the rows of one alone. */
static void check_above(Compiler *c, const Node *node, Name index)
{
	if (names_operator(node) && !has_kid(node->kids[0], index)) {
		const Node *row = find_row(node, index, node->kids[0]);
		if (row)
			diag_error(c, row->loc, "above `fold` the rows of all members are taken together: %s[%s, ..]",
				node->kids[0]->kids[0]->name, index);
	} else if (node->kind == N_CALL && node->kids[0]->kind == N_NAME && has_member_argument(node, index) &&
			   strcmp(node->kids[0]->name, "encode") != 0) {
		diag_error(c, node->loc, "above `fold` a member is handed whole to encode(..) only");
	}
	if (node->kind == N_DEFINE && is_of_member(node->kids[0], index))
		diag_error(
			c, node->kids[0]->loc, "above `fold` an array has rows for each of its members: x[%s][o, ..]", index);
	if (node->kind == N_NOTE || node->kind == N_ENTRY || node->kind == N_KEEP)
		diag_error(c, node->loc, "`%s` does not stand above `fold`", node_kind_text(node->kind));
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i])
			check_above(c, node->kids[i], index);
}

/* x[s][o, i] -> x[o, i], sum[s, o](..) -> sum[o](..): all members are one matrix. */
static Node *without_index(Compiler *c, const Node *node, Name index)
{
	Node *out = arena_new_of(c->arena, Node);
	*out = *node;
	out->kids = arena_array(c->arena, Node *, node->kid_count + 1);
	out->kid_count = 0;
	for (uint32_t i = 0; i < node->kid_count; i++) {
		Node *kid = node->kids[i];
		bool is_index = node->kind == N_INDEX && i > 0 && kid->kind == N_NAME && kid->name == index;
		if (!is_index)
			out->kids[out->kid_count++] = kid ? without_index(c, kid, index) : NULL;
	}
	return out->kind == N_INDEX && out->kid_count == 1 && node->kid_count > 1 ? out->kids[0] : out;
}

static bool is_input_of(const Node *node, Name x, Name subject)
{
	if (node->kind != N_DEFINE || node->kids[0]->kind != N_NAME || node->kids[0]->name != x)
		return false;
	const Node *call = node->kids[2];
	return call->kind == N_CALL && call->kid_count == 2 && call->kids[0]->kind == N_NAME &&
		   !strcmp(call->kids[0]->name, "input") && call->kids[1]->kind == N_NAME && call->kids[1]->name == subject;
}

bool sharing_split(Compiler *c, const Decl *pass, SharingSplit *split)
{
	const Node *body = pass->node->kids[2], *subject = pass->node->kids[1], *member = subject->kids[0], *fold = NULL;
	size_t errors = diag_errors(c);
	bool is_matrix = subject->kid_count == 1 && member->kind == N_INDEX && member->kid_count == 3 &&
					 member->kids[0]->kind == N_INDEX && member->kids[0]->kid_count == 2 &&
					 member->kids[0]->kids[1]->kind == N_NAME;
	if (!is_matrix) {
		diag_error(c, subject->loc, "pass %s: its subject must be written w[s][o, i]", pass->name);
		return false;
	}
	Name index = member->kids[0]->kids[1]->name;
	for (int i = 0; i < SHARING_BODIES; i++)
		split->bodies[i] = node_new(c, body->kind, body->loc);
	bool has_input = false;
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *node = body->kids[i];
		if (node->kind == N_FOLD && fold)
			diag_error(c, node->loc, "pass %s folds twice", pass->name);
		if (node->kind == N_FOLD && node->kids[1]->kind == N_FIELD)
			diag_error(c, node->loc, "what goes into w.bias is said by a pass `on w[o, i]`");
		if (node->kind == N_FOLD)
			fold = node;
		if (!fold && node->kind != N_REQUIRE)
			check_above(c, node, index);
		if (!fold || node->kind == N_FOLD)
			node_add(c, split->bodies[SHARING_DECIDE], without_index(c, node, index));
		if (fold)
			node_add(c, split->bodies[SHARING_MEMBER], (Node *)family_member(c, node, index));
		if (node->kind == N_FOLD)
			node_add(c, split->bodies[SHARING_OTHER], (Node *)node);
	}
	for (uint32_t i = 0; i < body->kid_count && fold; i++)
		has_input |= is_input_of(body->kids[i], fold->kids[1]->name, node_array(member)->name);
	if (!fold)
		diag_error(c, pass->node->loc,
			"pass %s: what members that share an input have in common is said by `fold e[i] into x`", pass->name);
	else if (!has_input)
		diag_error(c, fold->loc, "what is folded into is the input of all members: %s = input(%s)", fold->kids[1]->name,
			node_array(member)->name);
	return diag_errors(c) == errors;
}

/* ---- members as one matrix ---- */

void sharing_read(Elab *el, const Chain *chain, KBuffer *to)
{
	int64_t first = 0;
	for (size_t m = 0; m < chain->member_count; m++) {
		const ChainMember *member = &chain->members[m];
		KExpr *extent[2] = {kexpr_int(el->k, T_I32, member->rows), to->extent[1]}, *turned[2] = {extent[1], extent[0]};
		KBuffer *in = kbuffer_new(
			el->k, BUFFER_INPUT, name_of(el->c, "in"), member->store, 2, member->is_transposed ? turned : extent);
		KExpr *lo = kexpr_int(el->k, T_I32, first), *hi = kexpr_int(el->k, T_I32, first + member->rows);
		KIndex *index[2] = {elab_index_range(el, name_of(el->c, "o"), lo, hi, to->extent[0]),
			elab_index(el, name_of(el->c, "i"), extent[1])};
		KExpr *own[2] = {kexpr_index(el->k, index[0]), kexpr_index(el->k, index[1])};
		KExpr *row = kexpr_binary(el->k, OP_SUB, own[0], lo);
		KExpr *from[2] = {member->is_transposed ? own[1] : row, member->is_transposed ? row : own[1]};
		KExpr *value = kexpr_load(el->k, in, from);
		KStep *step = kstep_map(el->k, to, own, index, 2, kexpr_cast(el->k, T_F32, value));
		step->origin = name_of(el->c, "read");
		vec_push(el->c->arena, el->out, step);
		first += member->rows;
	}
}

/* ---- fold ---- */

KBuffer *fold_array(Elab *el, const Node *node, const View *subject, uint32_t axis, KBufferKind kind)
{
	Name name = name_of(el->c, "fold"), row = subject->formal[axis]->name;
	Node *define = node_new(el->c, N_DEFINE, node->loc), *left = node_new(el->c, N_INDEX, node->loc);
	Node *kids[2] = {node_new(el->c, N_NAME, node->loc), node_new(el->c, N_NAME, node->loc)};
	kids[0]->name = name;
	kids[1]->name = row;
	node_add(el->c, left, kids[0]);
	node_add(el->c, left, kids[1]);
	node_add(el->c, define, left);
	node_add(el->c, define, NULL);
	node_add(el->c, define, node->kids[0]);
	if (!elab_define(el, define))
		return NULL;
	const View *view = &env_find(el, name)->view;
	KBuffer *to = kbuffer_new(el->k, kind, name, store_of_type(T_F32), 1, &subject->extent[axis]);
	KIndex *index = elab_index(el, row, subject->extent[axis]);
	KExpr *at = kexpr_index(el->k, index);
	elab_add_step(
		el, kstep_map(el->k, to, &at, &index, 1, kexpr_cast(el->k, T_F32, view_load(el, view, &at))), node->loc);
	return el->failed ? NULL : to;
}

/* subject times, divided by or plus an array that is given, along its columns or rows */
static bool apply(Elab *el, const Node *node, FoldPart part, Entity *entity)
{
	if (el->is_any_rows) {
		elab_need_rows(el, node->loc);
		return false;
	}
	View old = entity->view;
	uint32_t axis = part == FOLD_ROWS ? 0 : 1;
	KOp op = part == FOLD_SHIFT ? OP_ADD : part == FOLD_ROWS || part == FOLD_COLUMNS ? OP_DIV : OP_MUL;
	KBuffer *given =
		kbuffer_new(el->k, BUFFER_TEMP, name_of(el->c, "fold"), store_of_type(T_F32), 1, &old.extent[axis]);
	KBuffer *to = kbuffer_new(el->k, BUFFER_TEMP, el->subject, store_of_type(T_F32), 2, old.extent);
	KIndex *index[2];
	KExpr *own[2];
	for (int i = 0; i < 2; i++) {
		index[i] = elab_index(el, old.formal[i]->name, old.extent[i]);
		own[i] = kexpr_index(el->k, index[i]);
	}
	KExpr *value = kexpr_binary(el->k, op, view_load(el, &old, own), kexpr_load(el->k, given, &own[axis]));
	elab_add_step(el, kstep_map(el->k, to, own, index, 2, value), node->loc);
	entity->view = view_whole(el, to);
	for (int i = 0; i < 2; i++)
		entity->view.formal[i]->name = old.formal[i]->name;
	Statistic statistic = {.buffer = given, .is_given = true, .link = el->link, .store = given->store, .rank = 1};
	kexpr_is_const(old.extent[axis], &statistic.shape[0]);
	vec_push(el->c->arena, &el->givens, statistic);
	return true;
}

bool elab_fold(Elab *el, const Node *node)
{
	FoldPart part = el->chain ? el->chain->links[el->link].part : FOLD_NONE;
	if (part == FOLD_NONE && node->kids[1]->kind == N_FIELD)
		return elab_shift(el, node);
	Entity *entity = part != FOLD_NONE && !el->in_loop ? env_find(el, el->subject) : NULL;
	if (!entity || entity->kind != ENTITY_VIEW) {
		elab_error(el, node->loc, "`fold` stands in the body of a pass `on all w[s][o, i] sharing input`");
		return false;
	}
	if (part == FOLD_DECIDE) /* the factors leave the kernel */
		return fold_array(el, node, &entity->view, 1, BUFFER_OUTPUT) != NULL;
	return apply(el, node, part, entity);
}

void givens_open(Elab *el, ChainKernel *out)
{
	for (size_t i = 0; i < el->givens.count; i++) {
		el->givens.at[i].buffer->kind = BUFFER_INPUT;
		vec_push(el->c->arena, &el->k->inputs, el->givens.at[i].buffer);
		vec_push(el->c->arena, &out->statistics, el->givens.at[i]);
	}
}
