/* SPDX-License-Identifier: MIT
 *
 * elab_phases.c: passes on all members of a family of tuples, `on all (a[s][r, n],
 * b[s][m, r])`. A member is any number of tensors; what the pass defines for each
 * differs in extent from member to member. So its body becomes three kernels:
 *   measure  one member: the arrays x[s][k] that lines over members read
 *   decide   all members, their arrays one after the other as one axis: what these
 *            lines define, and for each `keep` which places stay
 *   write    one member again, with what was decided
 * family_split says which line belongs where; the others build the kernels.
 */
#include "elaborate.h"

#include <string.h>

/* ---- names ---- */

static bool has_name(const NameVec *names, Name name)
{
	for (size_t i = 0; i < names->count; i++)
		if (names->at[i] == name)
			return true;
	return false;
}

static void add_name(Compiler *c, NameVec *names, Name name)
{
	if (!has_name(names, name))
		vec_push(c->arena, names, name);
}

/* The innermost x[s] of x[s][k]; a name stays a name. */
static const Node *innermost(const Node *node)
{
	while (node->kind == N_INDEX && node->kids[0]->kind == N_INDEX)
		node = node->kids[0];
	return node;
}

static Name array_name(const Node *node)
{
	node = innermost(node);
	return node->kind == N_INDEX ? node->kids[0]->name : node->name;
}

/* x[s] or x[s][k] on a left side or in a subject */
static bool is_of_member(const Node *node, Name index)
{
	const Node *inner = innermost(node);
	return inner->kind == N_INDEX && inner->kid_count == 2 && inner->kids[1]->kind == N_NAME &&
		   inner->kids[1]->name == index;
}

/* The family's index in x[t], x an array of members; NULL: it is none. */
static Name member_index(const FamilySplit *split, const Node *node)
{
	bool is_member = node->kind == N_INDEX && node->kid_count == 2 && node->kids[0]->kind == N_NAME &&
					 node->kids[1]->kind == N_NAME && has_name(&split->members, node->kids[0]->name);
	return is_member ? node->kids[1]->name : NULL;
}

static bool is_indexed_by(const FamilySplit *split, const Node *node, Name index)
{
	if (!node)
		return false;
	if (member_index(split, node) == index)
		return true;
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (is_indexed_by(split, node->kids[i], index))
			return true;
	return false;
}

static bool is_operator(const Node *node)
{
	return node->kind == N_CALL && node->kids[0]->kind == N_INDEX && node->kids[0]->kids[0]->kind == N_NAME;
}

/* Number of the operator's axis that runs over members; 0: none does. */
static uint32_t member_axis(const FamilySplit *split, const Node *call)
{
	const Node *head = call->kids[0];
	for (uint32_t a = 1; a < head->kid_count; a++) {
		const Node *axis = head->kids[a]->kind == N_BY ? head->kids[a]->kids[0] : head->kids[a];
		for (uint32_t i = 1; i < call->kid_count && axis->kind == N_NAME; i++)
			if (is_indexed_by(split, call->kids[i], axis->name))
				return a;
	}
	return 0;
}

static bool has_member_operator(const FamilySplit *split, const Node *node)
{
	if (!node)
		return false;
	if (is_operator(node) && member_axis(split, node))
		return true;
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (has_member_operator(split, node->kids[i]))
			return true;
	return false;
}

static bool mentions_any(const Node *node, const NameVec *names)
{
	for (size_t i = 0; i < names->count; i++)
		if (node_mentions(node, names->at[i]))
			return true;
	return false;
}

/* ---- which line is whose ---- */

static void collect_members(Compiler *c, FamilySplit *split, const Node *node)
{
	const Node *left = node->kind == N_DEFINE ? node->kids[0] : NULL;
	for (uint32_t i = 0; left && left->kind == N_TUPLE && i < left->kid_count; i++)
		if (is_of_member(left->kids[i], split->index))
			add_name(c, &split->members, array_name(left->kids[i]));
	if (left && left->kind != N_TUPLE && is_of_member(left, split->index))
		add_name(c, &split->members, array_name(left));
}

/* Lines that hold an operator over members, lines without the family's index that read what those define, and what
 * such lines read of members though it depends on them. */
static void find_lines(Compiler *c, const Node *body, FamilySplit *split, bool *is_line)
{
	for (bool is_changed = true; is_changed;) {
		is_changed = false;
		for (uint32_t i = 0; i < body->kid_count; i++) {
			const Node *node = body->kids[i];
			if (is_line[i] || node->kind != N_DEFINE || node->kids[0]->kind == N_TUPLE)
				continue;
			bool is_shared = !is_of_member(node->kids[0], split->index), is_read = false;
			for (uint32_t j = 0; j < body->kid_count; j++)
				is_read |= (is_line[j] || body->kids[j]->kind == N_KEEP) &&
						   node_mentions(body->kids[j], array_name(node->kids[0]));
			is_line[i] = has_member_operator(split, node->kids[2]) ||
						 ((is_shared || is_read) && mentions_any(node->kids[2], &split->decided));
			if (is_line[i])
				add_name(c, &split->decided, array_name(node->kids[0]));
			is_changed |= is_line[i];
		}
	}
}

/* The names of member arrays in a line. */
static void collect_measured(Compiler *c, FamilySplit *split, const Node *node)
{
	if (!node)
		return;
	if (member_index(split, node) && !has_name(&split->decided, node->kids[0]->name))
		add_name(c, &split->measured, node->kids[0]->name);
	for (uint32_t i = 0; i < node->kid_count; i++)
		collect_measured(c, split, node->kids[i]);
}

/* ---- lines as they are for all members at once ---- */

static Node *name_node(Compiler *c, Name name, Loc loc)
{
	Node *node = node_new(c, N_NAME, loc);
	node->name = name;
	return node;
}

/* "s_k" of s, k: the axis of all elements of all members */
static Name flat_name(Compiler *c, Name index, const Node *axes, uint32_t first)
{
	const char *text = index;
	for (uint32_t i = first; i < axes->kid_count; i++) {
		const Node *axis = axes->kids[i]->kind == N_BY ? axes->kids[i]->kids[0] : axes->kids[i];
		if (axis->kind != N_NAME) {
			diag_error(c, axis->loc, "over members an array is read at indices only: x[s][k]");
			return NULL;
		}
		text = arena_printf(c->arena, "%s_%s", text, axis->name);
	}
	return name_of(c, text);
}

static Node *flatten(Compiler *c, const FamilySplit *split, const Node *node);

static Node *flatten_kids(Compiler *c, const FamilySplit *split, const Node *node)
{
	Node *out = node_new(c, node->kind, node->loc);
	*out = *node;
	out->kids = arena_array(c->arena, Node *, node->kid_count + 1);
	for (uint32_t i = 0; i < node->kid_count; i++)
		out->kids[i] = node->kids[i] ? flatten(c, split, node->kids[i]) : NULL;
	return out;
}

static Node *flatten_operator(Compiler *c, const FamilySplit *split, const Node *call, uint32_t member)
{
	const Node *head = call->kids[0], *last = head->kids[head->kid_count - 1];
	Node *out = flatten_kids(c, split, call);
	const Node *first = head->kids[member]->kind == N_BY ? head->kids[member]->kids[0] : head->kids[member];
	Name name = flat_name(c, first->name, head, 2);
	Node *axes = node_new(c, N_INDEX, head->loc);
	if (member != 1)
		diag_error(c, head->loc, "the members come first: %s[%s, ..]", head->kids[0]->name, first->name);
	if (!name || member != 1)
		return NULL;
	node_add(c, axes, head->kids[0]);
	if (last->kind == N_BY) {
		Node *by = node_new(c, N_BY, last->loc);
		node_add(c, by, name_node(c, name, last->loc));
		node_add(c, by, flatten(c, split, last->kids[1]));
		node_add(c, axes, by);
	} else {
		node_add(c, axes, name_node(c, name, head->loc));
	}
	out->kids[0] = axes;
	return out;
}

/* x[s][k] -> x[s_k], op[s, k](e) -> op[s_k](e). NULL: reported. */
static Node *flatten(Compiler *c, const FamilySplit *split, const Node *node)
{
	Name index = node->kind == N_INDEX ? member_index(split, node->kids[0]) : NULL;
	if (index) {
		Name name = flat_name(c, index, node, 1);
		Node *out = node_new(c, N_INDEX, node->loc);
		if (!name)
			return NULL;
		node_add(c, out, node->kids[0]->kids[0]);
		node_add(c, out, name_node(c, name, node->loc));
		return out;
	}
	if (!is_operator(node))
		return flatten_kids(c, split, node);
	uint32_t member = member_axis(split, node);
	if (member)
		return flatten_operator(c, split, node, member);
	diag_error(c, node->loc, "beside operators over members, the operands are those of single elements");
	return NULL;
}

/* keep k where c -> keep.k[s_k] = c */
static Node *keep_line(Compiler *c, FamilySplit *split, const Node *node)
{
	FamilyKeep kept = {.axis = node->kids[0]->name, .loc = node->loc};
	kept.name = name_of(c, arena_printf(c->arena, "keep_%s", kept.axis));
	Node *left = node_new(c, N_INDEX, node->loc), *line = node_new(c, N_DEFINE, node->loc);
	Name flat = name_of(c, arena_printf(c->arena, "%s_%s", split->index, kept.axis));
	node_add(c, left, name_node(c, kept.name, node->loc));
	node_add(c, left, name_node(c, flat, node->loc));
	node_add(c, line, left);
	node_add(c, line, NULL);
	node_add(c, line, flatten(c, split, node->kids[1]));
	vec_push(c->arena, &split->keeps, kept);
	return line;
}

/* What a subject's axis is called after the last line that gives it a new value. */
static Name axis_after(const Node *body, const Node *subject, uint32_t axis)
{
	Name name = subject->kids[axis + 1]->name;
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *left = body->kids[i]->kind == N_UPDATE ? body->kids[i]->kids[0] : NULL;
		if (left && array_name(left) == array_name(subject) && left->kid_count == subject->kid_count &&
			left->kids[axis + 1]->kind == N_NAME)
			name = left->kids[axis + 1]->name;
	}
	return name;
}

static bool read_subjects(Compiler *c, const Decl *pass, FamilySplit *split)
{
	const Node *tuple = pass->node->kids[1]->kids[0];
	for (uint32_t i = 0; i < tuple->kid_count; i++) {
		const Node *subject = tuple->kids[i], *inner = innermost(subject);
		bool is_good = subject->kind == N_INDEX && inner != subject && inner->kid_count == 2 &&
					   inner->kids[1]->kind == N_NAME && (!split->index || inner->kids[1]->name == split->index);
		if (!is_good) {
			diag_error(c, subject->loc, "members of a tuple are written (a[s][r, n], b[s][m, r]), with one index");
			return false;
		}
		split->index = inner->kids[1]->name;
		add_name(c, &split->members, inner->kids[0]->name);
		FamilySubject made = {.name = inner->kids[0]->name, .rank = subject->kid_count - 1, .node = subject};
		for (uint32_t d = 0; d < made.rank && d < K_MAX_RANK; d++) {
			made.axis[d] = subject->kids[d + 1]->name;
			made.axis_after[d] = axis_after(pass->node->kids[2], subject, d);
		}
		vec_push(c->arena, &split->subjects, made);
	}
	return true;
}

/* Does the statement give the array a next value? */
static bool updates(const Node *node, Name name)
{
	if (node->kind == N_UPDATE)
		return array_name(node->kids[0]) == name;
	for (uint32_t i = 0; (node->kind == N_FOR || node->kind == N_WHEN) && i < node->kids[1]->kid_count; i++)
		if (updates(node->kids[1]->kids[i], name))
			return true;
	return false;
}

static bool has_keep(const Node *node)
{
	for (uint32_t i = 0; (node->kind == N_FOR || node->kind == N_WHEN) && i < node->kids[1]->kid_count; i++)
		if (node->kids[1]->kids[i]->kind == N_KEEP || has_keep(node->kids[1]->kids[i]))
			return true;
	return false;
}

/* x[s] for this x, anywhere below node */
static bool reads_array(const FamilySplit *split, const Node *node, Name name)
{
	if (!node)
		return false;
	if (member_index(split, node) && node->kids[0]->name == name)
		return true;
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (reads_array(split, node->kids[i], name))
			return true;
	return false;
}

/* All members are decided on once: nothing that this reads has two values, nothing that it makes has a next one. */
static void check_updates(Compiler *c, const Node *body, const FamilySplit *split)
{
	for (uint32_t i = 0; i < body->kid_count; i++)
		for (size_t d = 0; d < split->decided.count; d++)
			if (updates(body->kids[i], split->decided.at[d]))
				diag_error(c, body->kids[i]->loc, "\"%s\" is decided over all members and cannot be given a next value",
					split->decided.at[d]);
	for (size_t m = 0; m < split->measured.count; m++) {
		bool is_read = false, is_changed = false;
		for (uint32_t i = 0; i < body->kid_count; i++) {
			bool reads = split->is_shared[i] && reads_array(split, body->kids[i], split->measured.at[m]);
			if (reads && is_changed)
				diag_error(c, body->kids[i]->loc, "over all members \"%s\" is read with another value above",
					split->measured.at[m]);
			is_read |= reads;
			is_changed |= is_read && updates(body->kids[i], split->measured.at[m]);
		}
	}
}

/* A statement of the body becomes a line for all members, or one of what each member does. */
static void place_statement(Compiler *c, FamilySplit *split, const Node *node, bool is_shared, Node *own, Node *lines)
{
	if (is_shared)
		collect_measured(c, split, node);
	if (node->kind == N_KEEP && !is_indexed_by(split, node->kids[1], split->index))
		diag_error(c, node->kids[1]->loc, "what stays of \"%s\" is said by elements of the members: x[%s][%s]",
			node->kids[0]->name, split->index, node->kids[0]->name);
	else if (node->kind == N_KEEP)
		node_add(c, lines, keep_line(c, split, node));
	else if (is_shared)
		node_add(c, lines, flatten(c, split, node));
	else if (has_member_operator(split, node))
		diag_error(c, node->loc, "operators over members stand in `=` lines of the body itself");
	else if (has_keep(node))
		diag_error(c, node->loc, "the keep of a family of tuples stands in the body itself");
	else
		node_add(c, own, (Node *)node);
}

bool family_split(Compiler *c, const Decl *pass, FamilySplit *split)
{
	const Node *body = pass->node->kids[2];
	size_t errors = diag_errors(c);
	*split = (FamilySplit){.pass = pass};
	if (!read_subjects(c, pass, split))
		return false;
	for (uint32_t i = 0; i < body->kid_count; i++)
		collect_members(c, split, body->kids[i]);
	split->is_shared = arena_array(c->arena, bool, body->kid_count + 1);
	memset(split->is_shared, 0, body->kid_count + 1);
	find_lines(c, body, split, split->is_shared);
	Node *own = node_new(c, body->kind, body->loc), *lines = node_new(c, body->kind, body->loc);
	for (uint32_t i = 0; i < body->kid_count; i++) {
		split->is_shared[i] |= body->kids[i]->kind == N_KEEP;
		place_statement(c, split, body->kids[i], split->is_shared[i], own, lines);
	}
	check_updates(c, body, split);
	for (size_t i = 0; i < split->decided.count; i++)
		if (node_mentions(own, split->decided.at[i]))
			add_name(c, &split->shared, split->decided.at[i]);
	for (size_t i = 0; i < split->shared.count; i++)
		if (has_name(&split->members, split->shared.at[i]))
			diag_error(c, pass->node->loc, "pass %s: \"%s\" is made over all members; one member cannot read it",
				pass->name, split->shared.at[i]);
	split->lines = lines;
	split->body = family_member(c, own, split->index);
	return diag_errors(c) == errors;
}

/* ---- kernels ---- */

static Elab *open_kernel(Program *p, const FamilySplit *split, Name name, const Scope *arguments)
{
	Elab *el = elab_new(p, kernel_new(p->c, name), NULL);
	el->k->param_count = 1;
	env_push(el);
	el->origin = split->pass->name;
	for (size_t i = 0; i < arguments->names.count; i++)
		env_define(el, el->env, arguments->names.at[i].name, ENTITY_VALUE, split->pass->node->loc)->value =
			arguments->names.at[i].value;
	return el;
}

/* to[..] = from[..]; both have constant extents. */
static void copy_array(Elab *el, KBuffer *to, const View *from, const char *origin)
{
	KIndex *index[K_MAX_RANK];
	KExpr *own[K_MAX_RANK];
	for (uint32_t d = 0; d < from->rank; d++) {
		index[d] = elab_index(el, from->formal[d]->name, from->extent[d]);
		own[d] = kexpr_index(el->k, index[d]);
	}
	KStep *step = kstep_map(el->k, to, own, index, from->rank, view_load(el, from, own));
	step->origin = name_of(el->c, origin);
	vec_push(el->c->arena, el->out, step);
}

static void bind_subject(Elab *el, const FamilySubject *subject, const FamilyArray *tensor)
{
	KExpr *extent[K_MAX_RANK];
	for (uint32_t d = 0; d < tensor->rank; d++)
		extent[d] = kexpr_int(el->k, T_I32, tensor->shape[d]);
	KBuffer *in = kbuffer_new(el->k, BUFFER_INPUT, subject->name, tensor->store, tensor->rank, extent);
	KBuffer *x = kbuffer_new(el->k, BUFFER_TEMP, subject->name, store_of_type(T_F32), tensor->rank, extent);
	View from = view_whole(el, in);
	copy_array(el, x, &from, "read");
	View view = view_whole(el, x);
	for (uint32_t d = 0; d < tensor->rank; d++) {
		const Axis *known = env_axis(el, subject->axis[d]);
		int64_t here = tensor->shape[d], there = here;
		view.formal[d]->name = subject->axis[d];
		if (!known)
			env_add_axis(el, subject->axis[d], extent[d], subject->node->loc);
		else if (kexpr_is_const(known->extent, &there) && here != there)
			elab_error(el, subject->node->loc, "\"%s\" of %s has %lld elements along %s, which has %lld", tensor->label,
				el->origin, (long long)here, subject->axis[d], (long long)there);
	}
	env_define(el, el->env, subject->name, ENTITY_VIEW, subject->node->loc)->view = view;
}

static Elab *open_member(
	Program *p, const FamilySplit *split, Name name, const Scope *arguments, const FamilyArray *tensors)
{
	Elab *el = open_kernel(p, split, name, arguments);
	for (size_t i = 0; i < split->subjects.count && !el->failed; i++)
		bind_subject(el, &split->subjects.at[i], &tensors[i]);
	return el;
}

/* An output that holds the array of that name; false: reported. */
static bool write_named(Elab *el, Name name, Loc loc, FamilyArray *array)
{
	const Entity *entity = env_find(el, name);
	if (el->failed)
		return false;
	if (!entity || entity->kind != ENTITY_VIEW) {
		elab_error(el, loc, "\"%s\" has to be an array of numbers", name);
		return false;
	}
	const View *view = &entity->view;
	*array = (FamilyArray){.label = name, .rank = view->rank};
	array->store = store_of_type(store_type(view->buffer->store));
	for (uint32_t d = 0; d < view->rank; d++)
		if (!kexpr_is_const(view->extent[d], &array->shape[d]))
			elab_need_rows(el, loc);
	KBuffer *out = kbuffer_new(el->k, BUFFER_OUTPUT, name, array->store, view->rank, view->extent);
	copy_array(el, out, view, "write");
	return !el->failed;
}

static bool is_defined(const Elab *el, Name name)
{
	for (size_t i = 0; i < el->env->names.count; i++)
		if (el->env->names.at[i].name == name)
			return true;
	return false;
}

/* Writes what a line over members reads, as it is where the line stands. `blocked`: the first statement above it that
 * waits for what is decided, or NULL. */
static void write_measured(
	Elab *el, const FamilySplit *split, uint32_t line, const Node *blocked, FamilyArrayVec *measured)
{
	const Node *body = split->pass->node->kids[2], *node = body->kids[line];
	while (!el->failed && measured->count < split->measured.count) {
		Name name = split->measured.at[measured->count];
		FamilyArray array;
		if (!reads_array(split, node, name))
			return;
		bool is_late = blocked && !is_defined(el, name);
		for (uint32_t i = 0; i < line && blocked; i++)
			is_late |= body->kids[i]->loc.begin >= blocked->loc.begin && updates(body->kids[i], name);
		if (is_late) {
			elab_error(
				el, node->loc, "this reads \"%s\", which waits for what all members decide: they decide once", name);
			diag_note(el->c, blocked->loc, "from here on that is known");
		} else if (write_named(el, name, node->loc, &array)) {
			vec_push(el->c->arena, measured, array);
		}
	}
}

Kernel *family_measure(Program *p, const FamilySplit *split, Name name, const Scope *arguments,
	const FamilyArray *tensors, FamilyArrayVec *measured)
{
	Elab *el = open_member(p, split, name, arguments, tensors);
	const Node *body = split->pass->node->kids[2], *blocked = NULL;
	Env *env = el->env;
	env->body = split->body;
	env->out = el->out;
	env->state = arena_array(p->c->arena, uint8_t, split->body->kid_count + 1);
	memset(env->state, 0, split->body->kid_count + 1);
	for (uint32_t i = 0, own = 0; i < body->kid_count && !el->failed; i++) {
		if (split->is_shared[i]) {
			write_measured(el, split, i, blocked, measured);
			continue;
		}
		if (!blocked && mentions_any(body->kids[i], &split->decided))
			blocked = body->kids[i];
		if (!blocked && !env->state[own]) {
			env->state[own] = 1;
			elab_statement(el, split->body->kids[own]);
			env->state[own] = 2;
		}
		own++;
	}
	return el->failed || !kernel_verify(el->k) ? NULL : el->k;
}

Kernel *family_decide(Program *p, const FamilySplit *split, Name name, const Scope *arguments,
	const FamilyArrayVec *measured, FamilyArrayVec *decided)
{
	Elab *el = open_kernel(p, split, name, arguments);
	Loc loc = split->pass->node->loc;
	for (size_t i = 0; i < measured->count; i++) {
		const FamilyArray *array = &measured->at[i];
		KExpr *extent = kexpr_int(el->k, T_I32, array->shape[0]);
		KBuffer *in = kbuffer_new(el->k, BUFFER_INPUT, array->label, array->store, 1, &extent);
		env_define(el, el->env, array->label, ENTITY_VIEW, loc)->view = view_whole(el, in);
	}
	elab_body(el, split->lines);
	for (size_t i = 0; i < split->shared.count + split->keeps.count && !el->failed; i++) {
		FamilyArray array;
		bool is_keep = i >= split->shared.count;
		Name which = is_keep ? split->keeps.at[i - split->shared.count].name : split->shared.at[i];
		if (!write_named(el, which, loc, &array))
			break;
		if (is_keep && array.store.kind != STORE_BOOL)
			elab_error(el, split->keeps.at[i - split->shared.count].loc, "keep needs a condition");
		vec_push(p->c->arena, decided, array);
	}
	return el->failed || !kernel_verify(el->k) ? NULL : el->k;
}

Kernel *family_write(Program *p, const FamilySplit *split, Name name, const Scope *arguments,
	const FamilyArray *tensors, const FamilyArrayVec *decided)
{
	Elab *el = open_member(p, split, name, arguments, tensors);
	Loc loc = split->pass->node->loc;
	for (size_t i = 0; i < split->shared.count; i++) {
		const FamilyArray *array = &decided->at[i];
		KExpr *extent[K_MAX_RANK];
		for (uint32_t d = 0; d < array->rank; d++)
			extent[d] = kexpr_int(el->k, T_I32, array->shape[d]);
		KBuffer *in = kbuffer_new(el->k, BUFFER_INPUT, array->label, array->store, array->rank, extent);
		env_define(el, el->env, array->label, ENTITY_VIEW, loc)->view = view_whole(el, in);
	}
	if (el->failed || !elab_body(el, split->body))
		return NULL;
	for (size_t i = 0; i < split->subjects.count; i++) {
		const Entity *entity = env_find(el, split->subjects.at[i].name);
		if (entity->coded || entity->factors) {
			elab_error(el, loc, "a tensor of a tuple stays in its own type: %s leaves \"%s\" in another form",
				split->pass->name, split->subjects.at[i].name);
			return NULL;
		}
		KExpr *extent[K_MAX_RANK];
		for (uint32_t d = 0; d < tensors[i].rank; d++)
			extent[d] = kexpr_int(el->k, T_I32, tensors[i].shape[d]);
		KBuffer *out =
			kbuffer_new(el->k, BUFFER_OUTPUT, split->subjects.at[i].name, tensors[i].store, tensors[i].rank, extent);
		copy_array(el, out, &entity->view, "write");
	}
	return kernel_verify(el->k) ? el->k : NULL;
}
