/* SPDX-License-Identifier: MIT
 *
 * elaborate.c: whole kernels. A chain of passes on one matrix is elaborated pass
 * after pass over f32; what the last one coded is laid out for the container, or
 * the matrix is rounded to the type it is stored in. The result is a flat kernel.
 */
#include "elaborate.h"

#include <string.h>

Elab *elab_new(Program *p, Kernel *k, const Scope *scope)
{
	Elab *el = arena_new_of(p->c->arena, Elab);
	*el = (Elab){.p = p, .c = p->c, .k = k, .scope = scope, .out = &k->steps};
	env_push(el);
	return el;
}

static KBuffer *matrix(Elab *el, KBufferKind kind, const char *name, Store store, KExpr *rows, KExpr *cols)
{
	KExpr *extent[2] = {rows, cols};
	return kbuffer_new(el->k, kind, name_of(el->c, name), store, 2, extent);
}

/* to[r, c] = value(from[r, c]) for all of two matrices of one shape */
static void copy_matrix(Elab *el, KBuffer *to, const View *from, Name origin)
{
	KIndex *index[2] = {
		elab_index(el, name_of(el->c, "o"), to->extent[0]), elab_index(el, name_of(el->c, "i"), to->extent[1])};
	KExpr *own[2] = {kexpr_index(el->k, index[0]), kexpr_index(el->k, index[1])};
	KExpr *value = view_load(el, from, own);
	KStep *step = kstep_map(el->k, to, own, index, 2, value);
	step->origin = origin;
	vec_push(el->c->arena, el->out, step);
}

static View transpose(View view)
{
	View out = view;
	for (int i = 0; i < 2; i++) {
		out.formal[i] = view.formal[1 - i];
		out.extent[i] = view.extent[1 - i];
	}
	return out;
}

/* Of one row of dtype in a container with a packed form. -1: reported. */
static int64_t row_bytes_of(Program *p, const DtypeRef *dtype, const Node *layout, int64_t cols)
{
	int64_t block = dtype_block_elements(p, dtype);
	Elab *el = elab_new(p, kernel_new(p->c, name_of(p->c, "measure")), NULL);
	el->input = store_of_type(T_F32);
	KBuffer *x = matrix(el, BUFFER_INPUT, "x", store_of_type(T_F32), kexpr_int(el->k, T_I32, 1),
		kexpr_int(el->k, T_I32, block ? block : cols));
	View view = view_whole(el, x);
	Coded *coded = coded_encode(el, dtype, NULL, &view, layout->loc);
	int64_t bytes = coded ? coded_layout(el, coded, layout, NULL) : 0;
	return bytes ? bytes * (block ? cols / block : 1) : -1;
}

/* The matrix as the file stores it. False: reported. */
static bool open_stored(Elab *el, const Chain *chain, const View *w, View *stored)
{
	KExpr *rows = w->extent[0], *cols = w->extent[1];
	if (chain->coded) {
		int64_t bytes = row_bytes_of(el->p, chain->coded, chain->layout, chain->cols);
		KBuffer *in = matrix(el, BUFFER_INPUT, "in", (Store){STORE_UINT, 8}, rows, kexpr_int(el->k, T_I32, bytes));
		return bytes > 0 && decode_blocks(el, chain->coded, chain->layout, in, w, stored);
	}
	if (chain->is_transposed)
		*stored = transpose(view_whole(el, matrix(el, BUFFER_INPUT, "in", chain->input, cols, rows)));
	else
		*stored = view_whole(el, matrix(el, BUFFER_INPUT, "in", chain->input, rows, cols));
	return true;
}

static bool read_input(Elab *el, const Chain *chain, KExpr *rows, KExpr *cols, View *w)
{
	View stored;
	*w = view_whole(el, matrix(el, BUFFER_TEMP, "w", store_of_type(T_F32), rows, cols));
	if (chain->member_count) {
		sharing_read(el, chain, w->buffer);
		return true;
	}
	if (!open_stored(el, chain, w, &stored))
		return false;
	copy_matrix(el, w->buffer, &stored, name_of(el->c, "read"));
	return true;
}

/* ---- tensors as arguments ---- */

static ChainInput *find_input(ChainKernel *out, const Value *tensor)
{
	for (size_t i = 0; i < out->inputs.count; i++)
		if (!strcmp(out->inputs.at[i].file, tensor->text) && !strcmp(out->inputs.at[i].tensor, tensor->tensor))
			return &out->inputs.at[i];
	return NULL;
}

static ChainInput *open_input(Elab *el, const Chain *chain, const Value *tensor, ChainKernel *out)
{
	int64_t rank = 0, shape[K_MAX_RANK];
	ChainInput input = {.file = tensor->text, .tensor = tensor->tensor}, *known = find_input(out, tensor);
	KExpr *extent[K_MAX_RANK];
	if (known)
		return known;
	if (!chain->tensor_shape) {
		elab_error(el, tensor->loc, "no other file can be read here");
		return NULL;
	}
	if (!chain->tensor_shape(chain->context, tensor, &rank, shape, &input.store)) {
		el->failed = true;
		return NULL;
	}
	if (rank > K_MAX_RANK || store_type(input.store) < T_I32) {
		elab_error(
			el, tensor->loc, "\"%s\" has to be an array of numbers with at most %d axes", tensor->tensor, K_MAX_RANK);
		return NULL;
	}
	input.rank = (uint32_t)rank;
	for (uint32_t i = 0; i < input.rank; i++) {
		input.shape[i] = shape[i];
		extent[i] = kexpr_int(el->k, T_I32, shape[i]);
	}
	input.buffer = kbuffer_new(el->k, BUFFER_INPUT, name_of(el->c, tensor->tensor), input.store, input.rank, extent);
	vec_push(el->c->arena, &out->inputs, input);
	return &out->inputs.at[out->inputs.count - 1];
}

static void bind_axis(Elab *el, const Node *axis, KExpr *extent, const Value *tensor)
{
	const Axis *known = env_axis(el, axis->name);
	int64_t here = 0, there = 0;
	if (!known) {
		env_add_axis(el, axis->name, extent, axis->loc);
		return;
	}
	kexpr_is_const(extent, &here);
	kexpr_is_const(known->extent, &there);
	if (here == there)
		return;
	elab_error(el, tensor->loc, "\"%s\" has %lld elements along %s", tensor->tensor, (long long)here, axis->name);
	diag_note(el->c, known->loc, "which has %lld here", (long long)there);
}

/* The array without the axes of one element that it has in front of so many. NULL: it has others there, or too few. */
static View *without_leading(Elab *el, const ChainInput *input, uint32_t rank, Loc loc)
{
	KExpr *fixed[K_MAX_RANK] = {NULL};
	View *view = arena_new_of(el->c->arena, View), whole = view_floats(el, input->buffer, loc);
	for (uint32_t i = 0; i + rank < input->rank; i++) {
		if (input->shape[i] != 1)
			return NULL;
		fixed[i] = kexpr_int(el->k, T_I32, 0);
	}
	*view = view_slice(el, &whole, fixed, NULL);
	return input->rank < rank ? NULL : view;
}

/* x[t, i]: tensor */
static void bind_tensor(Elab *el, const Chain *chain, const ChainLink *link, const ScopeEntry *entry, ChainKernel *out)
{
	const Node *params = decl_params(link->pass), *axes = NULL;
	const Value *tensor = &entry->value;
	if (el->is_any_rows) {
		elab_need_rows(el, link->loc);
		return;
	}
	ChainInput *input = open_input(el, chain, tensor, out);
	if (!input)
		return;
	for (uint32_t i = 0; i < params->kid_count; i++)
		if (params->kids[i]->name == entry->name)
			axes = params->kids[i]->kids[0];
	View *view = without_leading(el, input, axes ? axes->kid_count : input->rank, link->loc);
	if (!view) {
		elab_error(el, tensor->loc, "\"%s\" has %u axes, \"%s\" of pass %s has %u", tensor->tensor, input->rank,
			entry->name, link->pass->name, axes->kid_count);
		return;
	}
	for (uint32_t i = 0; axes && i < view->rank; i++) {
		view->formal[i]->name = axes->kids[i]->name;
		bind_axis(el, axes->kids[i], view->extent[i], tensor);
	}
	env_define(el, el->env, entry->name, ENTITY_VIEW, link->loc)->view = *view;
}

static void bind_arguments(Elab *el, const Chain *chain, const ChainLink *link, ChainKernel *out)
{
	for (size_t i = 0; i < link->arguments->names.count && !el->failed; i++) {
		const ScopeEntry *entry = &link->arguments->names.at[i];
		if (entry->value.kind == VALUE_TENSOR)
			bind_tensor(el, chain, link, entry, out);
		else
			env_define(el, el->env, entry->name, ENTITY_VALUE, link->loc)->value = entry->value;
	}
}

/* ---- passes ---- */

/* Makes a pass `on all w[n][o, i]` one on its member w[o, i]; gives its body. */
static const Node *open_family(Elab *el, const ChainLink *link, const Node *member)
{
	const Node *body = link->body ? link->body : link->pass->node->kids[2];
	const Node *outer = member->kind == N_INDEX ? member->kids[0] : NULL;
	el->family = link->family;
	if (!el->family)
		return body;
	el->family_axes = (NameVec){0};
	if (outer->kind != N_INDEX || outer->kid_count != 2 || outer->kids[1]->kind != N_NAME) {
		elab_error(el, member->loc, "pass %s: its subject must be written w[n][o, i]", link->pass->name);
		return body;
	}
	Name index = outer->kids[1]->name;
	vec_push(el->c->arena, &el->family_axes, index);
	env_add_axis(el, index, kexpr_int(el->k, T_I32, el->family->members), member->loc);
	for (uint32_t i = 1; i < member->kid_count; i++)
		vec_push(el->c->arena, &el->family_axes, member->kids[i]->name);
	return family_member(el->c, body, index);
}

/* Binds the subject w[o, i] (or p[*]) and runs the pass's body over it. */
static bool run_pass(Elab *el, const Chain *chain, const ChainLink *link, Entity *subject, ChainKernel *out)
{
	const Node *member = link->pass->node->kids[1]->kids[0];
	Env *outer = el->env;
	Env *env = env_push(el);
	env->outer = NULL; /* a pass sees its own names only */
	const Node *body = open_family(el, link, member);
	Name name = node_array(member)->name;
	bool is_any_rank = member->kind == N_INDEX && member->kid_count == 2 && member->kids[1]->kind == N_STAR;
	if (subject->factors) {
		elab_error(el, link->loc, "the matrix is two factors by now: %s has to come before that", link->pass->name);
		diag_note(el->c, subject->factors->loc, "this is the last word on it");
	} else if (member->kind != N_INDEX || (member->kid_count != 3 && !is_any_rank)) {
		elab_error(el, member->loc, "pass %s: its subject must be written w[o, i] or p[*]", link->pass->name);
	} else if (!is_any_rank) {
		for (uint32_t i = 0; i < 2; i++) {
			subject->view.formal[i]->name = member->kids[i + 1]->name;
			env_add_axis(el, member->kids[i + 1]->name, subject->view.extent[i], member->loc);
		}
	}
	el->origin = link->pass->name;
	el->subject = name;
	bind_arguments(el, chain, link, out);
	Entity *bound = env_define(el, env, name, ENTITY_VIEW, link->loc);
	*bound = *subject;
	bool ok = !el->failed && elab_body(el, body);
	*subject = *bound;
	el->env = outer;
	return ok;
}

static bool is_written(const KStepVec *steps, size_t first, const KBuffer *buffer)
{
	for (size_t i = first; i < steps->count; i++)
		if (steps->at[i]->dst == buffer || is_written(&steps->at[i]->body, 0, buffer))
			return true;
	return false;
}

/* The matrix as the first steps read it, for the error: a copy, where a pass changes it in place. */
static View keep_original(Elab *el, const View *w, size_t read_count)
{
	KStepVec *steps = &el->k->steps;
	if (!is_written(steps, read_count, w->buffer))
		return *w;
	KBuffer *copy = matrix(el, BUFFER_TEMP, "original", w->buffer->store, w->extent[0], w->extent[1]);
	copy_matrix(el, copy, w, steps->at[0]->origin);
	KStep *step = steps->at[steps->count - 1];
	memmove(steps->at + read_count + 1, steps->at + read_count, sizeof *steps->at * (steps->count - 1 - read_count));
	steps->at[read_count] = step;
	return view_whole(el, copy);
}

/* out[o] = {sum_i (x - y)^2, sum_i x^2} in f64 */
static void add_error(Elab *el, const View *x, const View *y, KExpr *rows)
{
	KBuffer *out = matrix(el, BUFFER_OUTPUT, "error", store_of_type(T_F64), rows, kexpr_int(el->k, T_I32, 2));
	for (int which = 0; which < 2; which++) {
		KIndex *o = elab_index(el, name_of(el->c, "o"), x->extent[0]);
		KIndex *i = elab_index(el, name_of(el->c, "i"), x->extent[1]);
		KExpr *own[2] = {kexpr_index(el->k, o), kexpr_index(el->k, i)};
		KExpr *e = view_load(el, x, own);
		if (which == 0)
			e = kexpr_binary(el->k, OP_SUB, e, view_load(el, y, own));
		e = kexpr_cast(el->k, T_F64, e);
		KExpr *to[2] = {own[0], kexpr_int(el->k, T_I32, which)};
		KStep *step = kstep_reduce(el->k, REDUCE_SUM, out, to, &o, 1, &i, 1, kexpr_binary(el->k, OP_MUL, e, e));
		step->origin = name_of(el->c, "error");
		vec_push(el->c->arena, el->out, step);
	}
}

/* Packed forms hold fields, not arguments that were computed: a reader must need none of these. */
static bool is_losing(Elab *el, const Chain *chain, const Coded *coded)
{
	const Node *value = dtype_value(el, coded->dtype);
	for (size_t i = 0; value && coded->computed && i < coded->computed->names.count; i++) {
		Name name = coded->computed->names.at[i].name;
		if (!node_mentions(value->kids[2], name))
			continue;
		elab_error(el, chain->links[chain->link_count - 1].loc, "%s has no place for \"%s\" of %s, which is computed",
			chain->container, name, coded->dtype->decl->name);
		return true;
	}
	return el->failed;
}

static bool write_coded(Elab *el, const Chain *chain, Coded *coded, KExpr *rows, ChainKernel *out)
{
	if (chain->holds_planes) {
		const Node *planes = dtype_planes(coded->dtype);
		if (planes)
			return coded_planes(el, coded, planes, &out->planes);
		if (is_losing(el, chain, coded))
			return false;
		out->row_bytes = coded_rows(el, coded, NULL);
		KExpr *bytes = kexpr_int(el->k, T_I32, out->row_bytes);
		return out->row_bytes &&
			   coded_rows(el, coded, matrix(el, BUFFER_OUTPUT, "out", (Store){STORE_UINT, 8}, rows, bytes));
	}
	const Node *layout = dtype_layout(coded->dtype, chain->container);
	if (layout && is_losing(el, chain, coded))
		return false;
	if (!layout) {
		elab_error(el, chain->links[chain->link_count - 1].loc, "%s cannot hold dtype %s", chain->container,
			coded->dtype->label);
		return false;
	}
	int64_t cols = chain->cols, block = dtype_block_elements(el->p, coded->dtype);
	int64_t bytes = coded_layout(el, coded, layout, NULL);
	if (!bytes)
		return false;
	out->row_bytes = cols / block * bytes;
	KBuffer *to =
		matrix(el, BUFFER_OUTPUT, "out", (Store){STORE_UINT, 8}, rows, kexpr_int(el->k, T_I32, out->row_bytes));
	return coded_layout(el, coded, layout, to) != 0;
}

/* Two matrices in the type of the one they replace; turned where the file holds it turned. */
static void write_factors(Elab *el, const Chain *chain, const Factors *factors, ChainKernel *out)
{
	for (uint32_t i = 0; i < 2; i++) {
		bool is_transposed = chain->is_transposed && !chain->is_turned;
		View from = is_transposed ? transpose(factors->views[i]) : factors->views[i];
		Plane plane = {.name = factors->names[i], .store = chain->input, .rank = 2, .kept = -1};
		for (uint32_t d = 0; d < 2; d++) {
			if (!kexpr_is_const(from.extent[d], &plane.shape[d]))
				elab_need_rows(el, factors->loc);
			if (el->places.axis && from.formal[d]->name == el->places.axis)
				plane.kept = d;
		}
		plane.buffer = matrix(el, BUFFER_OUTPUT, plane.name, plane.store, from.extent[0], from.extent[1]);
		copy_matrix(el, plane.buffer, &from, name_of(el->c, "write"));
		vec_push(el->c->arena, &out->factors, plane);
	}
}

/* The matrix as the last pass left it, in the form that the container wants. False: reported, or it needs all rows. */
static bool write_result(Elab *el, const Chain *chain, Entity *subject, KExpr *rows, KExpr *cols, ChainKernel *out)
{
	bool is_transposed = chain->is_transposed && !chain->is_turned;
	out->dtype = subject->coded ? subject->coded->dtype : NULL;
	out->places = el->places;
	if (el->places.axis && !subject->factors) {
		elab_error(el, chain->links[chain->link_count - 1].loc,
			"what is left of \"%s\" depends on the weights: only factors can be cut to that", el->places.axis);
		return false;
	}
	if (chain->places_only) {
		KExpr *extent = kexpr_int(el->k, T_I32, el->places.extent);
		KBuffer *to = kbuffer_new(el->k, BUFFER_OUTPUT, el->places.axis, el->places.mask->store, 1, &extent);
		KIndex *index = elab_index(el, el->places.axis, extent);
		KExpr *at = kexpr_index(el->k, index);
		KStep *step = kstep_map(el->k, to, &at, &index, 1, kexpr_load(el->k, el->places.mask, &at));
		step->origin = name_of(el->c, "write");
		vec_push(el->c->arena, el->out, step);
		return true;
	}
	if (el->saved.count && !chain->values_only) {
		out->saved = el->saved;
		return true;
	}
	if (subject->factors && (chain->values_only || chain->wants_values || chain->wants_error))
		subject->view = factors_product(el, subject->factors);
	if (chain->values_only) {
		KBuffer *to = matrix(el, BUFFER_OUTPUT, "out", store_of_type(T_F32), rows, cols);
		copy_matrix(el, to, &subject->view, name_of(el->c, "write"));
	} else if (subject->coded) {
		out->needs_all_rows = !write_coded(el, chain, subject->coded, rows, out) && el->needs_rows;
		return !el->failed;
	} else if (subject->factors) {
		write_factors(el, chain, subject->factors, out);
	} else {
		KBuffer *to =
			matrix(el, BUFFER_OUTPUT, "out", chain->input, is_transposed ? cols : rows, is_transposed ? rows : cols);
		View from = is_transposed ? transpose(subject->view) : subject->view;
		out->row_bytes = (is_transposed ? chain->rows : chain->cols) * store_bytes(chain->input);
		copy_matrix(el, to, &from, name_of(el->c, "write"));
	}
	return true;
}

/* What a reader of the result sees, f32, the axes as the file has them. */
static void add_values(Elab *el, const Chain *chain, const Entity *subject)
{
	View from = chain->is_transposed ? transpose(subject->view) : subject->view;
	KBuffer *to = matrix(el, BUFFER_OUTPUT, "values", store_of_type(T_F32), from.extent[0], from.extent[1]);
	copy_matrix(el, to, &from, name_of(el->c, "write"));
	KStep *step = el->out->at[el->out->count - 1];
	if (!subject->coded)
		step->value = kexpr_store(el->k, OP_STORE_AS, chain->input, step->value);
}

/* Where a pass asks for it, the matrix stays as it was read, beside what becomes of it. */
static void open_original(Elab *el, const Chain *chain, const View *w)
{
	Name asked = name_of(el->c, "original");
	bool is_asked = false;
	for (size_t i = 0; i < chain->link_count; i++)
		is_asked |= node_mentions(chain->links[i].pass->node->kids[2], asked);
	if (!is_asked || chain->member_count)
		return;
	View *original = arena_new_of(el->c->arena, View);
	*original = view_whole(el, matrix(el, BUFFER_TEMP, "original", w->buffer->store, w->extent[0], w->extent[1]));
	copy_matrix(el, original->buffer, w, name_of(el->c, "read"));
	el->original = original;
}

/* The steps from number `first` on are the link's. */
static void set_sweep(Kernel *k, const Chain *chain, size_t first, size_t link)
{
	for (size_t i = first; i < k->steps.count && chain->is_unfused; i++)
		k->steps.at[i]->sweep = (uint32_t)link;
}

bool chain_build(Program *p, const Chain *chain, ChainKernel *out)
{
	Kernel *k = kernel_new(p->c, chain->name);
	Elab *el = elab_new(p, k, chain->facts);
	k->param_count = 1;
	el->input = chain->input;
	el->keys_of = chain->keys_of;
	el->chain = chain;
	KExpr *rows = chain->rows ? kexpr_int(k, T_I32, chain->rows) : kexpr_param(k, 0);
	KExpr *cols = kexpr_int(k, T_I32, chain->cols);
	el->is_any_rows = !chain->rows;
	el->cols = chain->cols;
	Entity subject = {.kind = ENTITY_VIEW};
	*out = (ChainKernel){.kernel = k};
	if (!read_input(el, chain, rows, cols, &subject.view))
		return false;
	View original = subject.view;
	size_t first = 0, read_count = k->steps.count;
	open_original(el, chain, &original);
	for (; el->link < chain->link_count; el->link++) {
		bool is_run = run_pass(el, chain, &chain->links[el->link], &subject, out);
		set_sweep(k, chain, first, el->link);
		first = k->steps.count;
		if (is_run)
			continue;
		out->needs_all_rows = el->needs_rows;
		return el->needs_rows || (el->has_keys && kernel_verify(k));
	}
	out->selects = el->selects;
	if (chain->member_count)
		return !el->failed && input_cut(el, out) && kernel_verify(k);
	if (!write_result(el, chain, &subject, rows, cols, out))
		return el->needs_rows;
	if (chain->wants_values && !chain->places_only)
		add_values(el, chain, &subject);
	if (!chain->values_only && !chain->places_only)
		shift_open(el, out);
	if (chain->wants_error && !chain->places_only) {
		original = keep_original(el, &original, read_count);
		add_error(el, &original, &subject.view, rows);
	}
	if (!chain->values_only && !chain->places_only) {
		notes_write(el);
		out->notes = el->notes;
	}
	set_sweep(k, chain, first, chain->link_count - 1);
	return !el->failed && input_cut(el, out) && kernel_verify(k);
}
