/* SPDX-License-Identifier: MIT
 *
 * elab_net.c: a part of a net to a flat kernel. Weights, arrays of the data, and
 * lines that data, config and vectors of weights alone decide are elaborated when a
 * line of the part first names them, so that a part reads only what it needs.
 */
#include "elab_net.h"

#include <string.h>

/* What a part is elaborated with. */
struct NetWork {
	const NetPart *part;
	NetKernel *out;
};

/* ---- lines and what they name ---- */

static bool names(const Node *left, Name name)
{
	for (uint32_t i = 0; left->kind == N_TUPLE && i < left->kid_count; i++)
		if (node_array(left->kids[i])->name == name)
			return true;
	return left->kind != N_TUPLE && node_array(left)->name == name;
}

static const Node *defining_line(const Node *body, Name name)
{
	for (uint32_t i = 0; i < body->kid_count; i++)
		if (body->kids[i]->kind == N_DEFINE && names(body->kids[i]->kids[0], name))
			return body->kids[i];
	return NULL;
}

static bool is_updated(const Node *node, Name name)
{
	if (node->kind == N_UPDATE && names(node->kids[0], name))
		return true;
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && is_updated(node->kids[i], name))
			return true;
	return false;
}

/* Does the expression name nothing but what data, config and vectors of weights decide? Names that no line defines are
 * indices, axes, functions. The lines are in an order, so this ends. */
static bool is_free(const Node *net, const Node *node)
{
	if (node->kind == N_NAME)
		return !defining_line(net->kids[0], node->name) || net_is_derived(net, node->name);
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && !is_free(net, node->kids[i]))
			return false;
	return true;
}

bool net_is_derived(const Node *net, Name name)
{
	const Node *line = defining_line(net->kids[0], name);
	if (!line || is_updated(net->kids[0], name))
		return false;
	bool is_matrix = line->kids[0]->kind == N_INDEX && line->kids[0]->kid_count > 2;
	if (line->kids[2]->kind == N_WEIGHT)
		return !is_matrix; /* a vector may be read again by every part */
	return line->kids[2]->kind == N_GIVEN || is_free(net, line->kids[2]);
}

/* ---- arrays from outside ---- */

static KExpr *extent_of(Elab *el, const NetArray *array, uint32_t axis)
{
	return array->is_ragged[axis] ? kexpr_param(el->k, 0) : kexpr_int(el->k, T_I32, array->shape[axis]);
}

/* Makes it an input of the kernel, defined in env under its name. */
static void define_input(Elab *el, Env *env, NetArray array, Loc loc)
{
	KExpr *extent[K_MAX_RANK];
	for (uint32_t i = 0; i < array.rank; i++)
		extent[i] = extent_of(el, &array, i);
	array.buffer = kbuffer_new(el->k, BUFFER_INPUT, array.name, array.store, array.rank, extent);
	vec_push(el->c->arena, &el->net->out->inputs, array);
	View view = view_floats(el, array.buffer, loc);
	for (uint32_t i = 0; i < array.rank; i++)
		view.formal[i]->name = array.axes[i];
	env_define(el, env, array.name, ENTITY_VIEW, loc)->view = view;
}

/* A line of weights or data; of a weight that the checkpoint lacks, what its `else` says. */
static bool define_given(Elab *el, const Node *line)
{
	const Node *left = line->kids[0], *right = line->kids[2];
	NetArray array = {
		.source = right->kind == N_WEIGHT ? NET_WEIGHT : NET_GIVEN, .name = node_array(left)->name, .line = line};
	if (el->net->part->find(el->net->part->context, line, &array)) {
		for (uint32_t i = 0; i < array.rank; i++)
			array.axes[i] = left->kids[i + 1]->name;
		define_input(el, el->env, array, line->loc);
		return true;
	}
	if (!right->kids[2]) {
		el->net->part->report_missing(el->net->part->context);
		el->failed = true;
		return false;
	}
	Node *otherwise = node_new(el->c, N_DEFINE, line->loc);
	node_add(el->c, otherwise, line->kids[0]);
	node_add(el->c, otherwise, NULL);
	node_add(el->c, otherwise, right->kids[2]);
	return elab_define(el, otherwise);
}

bool net_knows_weight(Elab *el, Name name, bool *is_there)
{
	const NetPart *part = el->net ? el->net->part : NULL;
	const Node *line = part && part->layer ? defining_line(part->layer->kids[1], name) : NULL;
	if (part && !line)
		line = defining_line(part->net->kids[0], name);
	NetArray array = {.source = NET_WEIGHT};
	if (!line || line->kids[2]->kind != N_WEIGHT)
		return false;
	*is_there = part->find(part->context, line, &array);
	return true;
}

static bool elaborate_line(Elab *el, const Node *line)
{
	return node_is_given(line) ? define_given(el, line) : elab_define(el, line);
}

/* An environment whose lines are elaborated when they are named. */
static void open_lines(Elab *el, Node *lines)
{
	Env *env = env_push(el);
	env->body = lines;
	env->state = arena_array(el->c->arena, uint8_t, lines->kid_count + 1);
	env->out = el->out;
	env->elaborate = elaborate_line;
}

static bool define_state(Elab *el, Env *env, Name name, Loc loc)
{
	const NetPart *part = el->net->part;
	for (size_t i = 0; i < part->states.count; i++)
		if (part->states.at[i].name == name) {
			define_input(el, env, part->states.at[i], loc);
			return true;
		}
	return false;
}

/* ---- a part ---- */

/* The lines that are computed where they are read. */
static Node *shared_lines(Elab *el, const Node *net)
{
	Node *lines = node_new(el->c, N_BODY, net->loc);
	for (uint32_t i = 0; i < net->kids[0]->kid_count; i++) {
		Node *line = net->kids[0]->kids[i];
		if (line->kind == N_DEFINE &&
			(node_is_given(line) ||
				(line->kids[0]->kind != N_TUPLE && net_is_derived(net, node_array(line->kids[0])->name))))
			node_add(el->c, lines, line);
	}
	return lines;
}

/* Lines [first, end) of a body, the weights apart from the others. */
static void split_lines(
	Elab *el, const Node *body, uint32_t first, uint32_t end, const Node *shared, Node *weights, Node *others)
{
	for (uint32_t i = first; i < end; i++) {
		Node *line = body->kids[i];
		bool is_shared = false;
		for (uint32_t s = 0; s < shared->kid_count; s++)
			is_shared |= shared->kids[s] == line;
		if (node_is_given(line) && !is_shared)
			node_add(el->c, weights, line);
		else if (!is_shared && line->kind != N_AXES && line->kind != N_LAYER)
			node_add(el->c, others, line);
	}
}

/* Is the line a statement, does it give what the part must leave, or read a weight whose rows are asked for? */
static bool is_wanted(const NetPart *part, const Node *line)
{
	bool is_wanted = line->kind != N_DEFINE;
	for (size_t i = 0; i < part->leaves.count; i++)
		is_wanted |= line->kind == N_DEFINE && names(line->kids[0], part->leaves.at[i]);
	for (size_t i = 0; i < part->asks.count; i++)
		is_wanted |= node_mentions(line, part->asks.at[i].name);
	return is_wanted;
}

/* Does `by` name what the line gives? */
static bool is_named(const Node *line, const Node *by)
{
	const Node *left = line->kids[0];
	for (uint32_t i = 0; left->kind == N_TUPLE && i < left->kid_count; i++)
		if (node_mentions(by, node_array(left->kids[i])->name))
			return true;
	return left->kind != N_TUPLE && node_mentions(by, node_array(left)->name);
}

/* The lines without those that nothing is made of: the checkpoint need not have their weights. */
static Node *needed_lines(Elab *el, Node *lines, const Node *weights)
{
	const NetPart *part = el->net->part;
	Node *needed = node_new(el->c, N_BODY, lines->loc);
	bool *is_needed = arena_array(el->c->arena, bool, lines->kid_count + 1), has_grown = true;
	for (uint32_t i = 0; i < lines->kid_count; i++)
		is_needed[i] = is_wanted(part, lines->kids[i]) || is_named(lines->kids[i], weights);
	while (has_grown) {
		has_grown = false;
		for (uint32_t i = 0; i < lines->kid_count; i++)
			for (uint32_t k = 0; k < lines->kid_count && !is_needed[i]; k++)
				if (is_needed[k] && i != k && is_named(lines->kids[i], lines->kids[k]))
					is_needed[i] = has_grown = true;
	}
	for (uint32_t i = 0; i < lines->kid_count; i++)
		if (is_needed[i])
			node_add(el->c, needed, lines->kids[i]);
	return needed;
}

static NetArray array_of(const View *view, Name name)
{
	NetArray array = {.source = NET_STATE, .name = name, .store = view->buffer->store, .rank = view->rank};
	for (uint32_t i = 0; i < view->rank; i++) {
		array.axes[i] = view->formal[i]->name;
		array.is_ragged[i] = !kexpr_is_const(view->extent[i], &array.shape[i]);
	}
	return array;
}

/* The array under its name as an output of the kernel. */
static void leave(Elab *el, Name name, int64_t longest)
{
	Entity *entity = env_find(el, name);
	KIndex *index[K_MAX_RANK];
	KExpr *own[K_MAX_RANK];
	if (el->failed)
		return;
	if (!entity || entity->kind != ENTITY_VIEW) {
		elab_error(
			el, entity ? entity->loc : el->net->part->net->loc, "\"%s\" is no array that a net can hand on", name);
		return;
	}
	View from = entity->view;
	NetArray array = array_of(&from, name);
	for (uint32_t i = 0; i < from.rank; i++) {
		array.shape[i] = array.is_ragged[i] ? longest : array.shape[i];
		index[i] = elab_index(el, from.formal[i]->name, from.extent[i]);
		own[i] = kexpr_index(el->k, index[i]);
	}
	array.buffer = kbuffer_new(el->k, BUFFER_OUTPUT, name, array.store, array.rank, from.extent);
	elab_add_step(el, kstep_map(el->k, array.buffer, own, index, from.rank, view_load(el, &from, own)), entity->loc);
	vec_push(el->c->arena, &el->net->out->outputs, array);
}

static int64_t longest_sample(const NetPart *part)
{
	for (size_t i = 0; i < part->axes.count; i++)
		if (part->axes.at[i].is_ragged)
			return part->axes.at[i].extent;
	return 1;
}

bool net_part_build(Program *p, const NetPart *part, NetKernel *out)
{
	Elab *el = elab_new(p, kernel_new(p->c, part->name), part->facts);
	struct NetWork work = {part, out};
	*out = (NetKernel){.kernel = el->k};
	el->k->param_count = 1;
	el->k->is_whole = true;
	el->net = &work;
	el->origin = part->net->name;
	for (size_t i = 0; i < part->axes.count; i++) {
		const NetAxis *axis = &part->axes.at[i];
		env_add_axis(
			el, axis->name, axis->is_ragged ? kexpr_param(el->k, 0) : kexpr_int(el->k, T_I32, axis->extent), axis->loc);
	}
	const Node *body = part->layer ? part->layer->kids[1] : part->net->kids[0];
	Node *shared = shared_lines(el, part->net), *weights = node_new(p->c, N_BODY, body->loc),
		 *others = node_new(p->c, N_BODY, body->loc);
	split_lines(
		el, body, part->layer ? 0 : part->first, part->layer ? body->kid_count : part->end, shared, weights, others);
	others = needed_lines(el, others, weights);
	open_lines(el, shared);
	open_lines(el, weights);
	Env *env = env_push(el);
	for (size_t i = 0; i < part->states.count; i++) {
		bool is_left = false;
		for (size_t k = 0; k < part->leaves.count; k++)
			is_left |= part->leaves.at[k] == part->states.at[i].name;
		if (is_left || node_mentions(others, part->states.at[i].name))
			define_state(el, env, part->states.at[i].name, part->net->loc);
	}
	elab_body(el, others);
	for (size_t i = 0; i < part->leaves.count && !el->failed; i++)
		leave(el, part->leaves.at[i], longest_sample(part));
	for (size_t i = 0; i < part->asks.count && part->wants_folds && !el->failed; i++) {
		vec_push(p->c->arena, &out->folds, net_fold(el, &part->asks.at[i], out));
		if (!el->failed)
			vec_push(p->c->arena, &out->biases, net_bias(el, &part->asks.at[i], out));
	}
	for (size_t i = 0; i < part->asks.count && !el->failed; i++) {
		size_t number;
		if (net_rows(el, &part->asks.at[i], longest_sample(part), out, &number))
			vec_push(p->c->arena, &out->asked, number);
	}
	return !el->failed && kernel_verify(el->k);
}

/* ---- memory ---- */

/* Strides in memory are numbers of 31 bits, and nothing has more bytes than an address can tell. */
static bool fits_memory(const Kernel *k, const KBuffer *buffer, Loc loc, int64_t longest)
{
	enum { ADDRESS_BITS = 46 };
	int64_t bytes = store_bytes(buffer->store), extent = 1;
	for (uint32_t d = 0; d < buffer->rank; d++)
		if (!kexpr_is_const(buffer->extent[d], &extent) || __builtin_mul_overflow(bytes, extent, &bytes) ||
			bytes >> ADDRESS_BITS) {
			diag_error(k->c, loc, "\"%s\" has no room in memory for a sample of %lld tokens",
				buffer->name ? buffer->name : k->name, (long long)longest);
			diag_help(k->c, "cut the samples: data d from \"..\" { window 2048 }");
			return false;
		}
	return true;
}

bool net_fix_extents(Kernel *k, Loc loc, int64_t longest)
{
	for (size_t i = 0; i < k->buffers.count; i++) {
		KBuffer *buffer = k->buffers.at[i];
		int64_t known;
		for (uint32_t d = 0; d < buffer->rank; d++) {
			KExpr *extent = buffer->extent[d];
			if (kexpr_is_const(extent, &known))
				continue;
			while (extent->op == OP_CAST)
				extent = extent->args[0];
			if (extent->op != OP_PARAM || extent->integer != 0) {
				diag_error(k->c, loc, "\"%s\" has an axis whose length is computed from that of the sample",
					buffer->name ? buffer->name : k->name);
				diag_help(k->c, "give it the sample's own axis, or an axis of a known length");
				return false;
			}
			buffer->extent[d] = kexpr_int(k, T_I32, longest);
		}
		if (!fits_memory(k, buffer, loc, longest))
			return false;
	}
	return true;
}
