/* SPDX-License-Identifier: MIT
 *
 * elab_dtype.c: number formats. The encoding equations of a dtype are elaborated
 * over every block of a matrix at once; then `value` gives the matrix a reader
 * sees, and `layout` writes the bytes. Nothing is done for a dtype by name: all
 * is read off its declaration.
 */
#include "elaborate.h"

#include <string.h>

bool axis_is_bounded(const Node *axis)
{
	return axis->kind == N_BINARY;
}

Name axis_name(const Node *axis)
{
	return axis_is_bounded(axis) ? axis->kids[0]->name : axis->name;
}

int64_t dtype_block(const Elab *el, const DtypeRef *dtype)
{
	int64_t block = dtype_block_elements(el->p, dtype);
	return block ? block : el->cols;
}

const Node *dtype_layout(const DtypeRef *dtype, const char *container)
{
	const Node *body = dtype->decl->node->kids[2];
	for (uint32_t i = 0; i < body->kid_count; i++)
		if (body->kids[i]->kind == N_LAYOUT && !strcmp(body->kids[i]->name, container))
			return body->kids[i];
	return NULL;
}

const Node *dtype_planes(const DtypeRef *dtype)
{
	const Node *body = dtype->decl->node->kids[2];
	for (uint32_t i = 0; i < body->kid_count; i++)
		if (body->kids[i]->kind == N_PLANES)
			return body->kids[i];
	return NULL;
}

/* Is this `value[..] = e`, which decodes? */
static bool is_value(const Elab *el, const Node *statement)
{
	if (statement->kind != N_DEFINE)
		return false;
	const Node *left = statement->kids[0];
	const Node *name = left->kind == N_INDEX ? left->kids[0] : left;
	return name->kind == N_NAME && name->name == name_of(el->c, "value");
}

/* ---- the header: axes, and where an element of a block lies in the matrix ---- */

typedef struct Header {
	KIndex *formal[K_MAX_RANK];
	KExpr *extent[K_MAX_RANK];
	uint32_t rank;
	KExpr *row, *col; /* over formals and ambient indices */
	KIndex *ambient[2];
	uint32_t ambient_count;
	KIndex *row_index, *group;
} Header;

static KExpr *scaled(Elab *el, KExpr *e, int64_t by)
{
	return kexpr_binary(el->k, OP_MUL, e, kexpr_int(el->k, T_I32, by));
}

static bool header_extents(Elab *el, const Node *node, const View *x, int64_t block, Header *h)
{
	uint32_t unbounded = 0;
	for (uint32_t i = 1; i < node->kid_count; i++)
		unbounded += !axis_is_bounded(node->kids[i]);
	int64_t cols;
	if (unbounded > 2 || !kexpr_is_const(x->extent[1], &cols)) {
		elab_error(el, node->loc, "a dtype is declared `of x[k < 32]`, `of x[o, g, k < 32]` or `of x[o, k]`");
		return false;
	}
	KExpr *groups = kexpr_int(el->k, T_I32, block ? cols / block : 1);
	/* the unbounded axes from the right: block number (or the row's elements), then row */
	KExpr *known[2] = {block ? groups : x->extent[1], x->extent[0]};
	for (uint32_t i = 1, left = unbounded; i < node->kid_count; i++) {
		const Node *axis = node->kids[i];
		KExpr *extent = axis_is_bounded(axis) ? elab_int(el, axis->kids[1]) : known[--left];
		h->extent[h->rank] = extent;
		h->formal[h->rank++] = elab_index(el, axis_name(axis), extent);
		env_add_axis(el, axis_name(axis), extent, axis->loc);
	}
	if (unbounded < 2)
		h->ambient[h->ambient_count++] = h->row_index = elab_index(el, name_of(el->c, "o"), x->extent[0]);
	if (unbounded < 1)
		h->ambient[h->ambient_count++] = h->group = elab_index(el, name_of(el->c, "g"), groups);
	return !el->failed;
}

static void header_place(Elab *el, const Node *node, int64_t block, Header *h)
{
	uint32_t unbounded = 2 - h->ambient_count, at = 0;
	h->row = kexpr_index(el->k, unbounded == 2 ? h->formal[at++] : h->row_index);
	h->col = kexpr_int(el->k, T_I32, 0);
	int64_t stride = block ? block : 1;
	if (unbounded >= 1)
		h->col = scaled(el, kexpr_index(el->k, h->formal[at++]), stride);
	else
		h->col = scaled(el, kexpr_index(el->k, h->group), stride);
	for (; at < h->rank; at++) {
		int64_t extent = 1;
		kexpr_is_const(h->extent[at], &extent);
		stride /= axis_is_bounded(node->kids[at + 1]) ? extent : 1;
		h->col = kexpr_binary(el->k, OP_ADD, h->col, scaled(el, kexpr_index(el->k, h->formal[at]), stride));
	}
}

static bool check_rows(Elab *el, const DtypeRef *dtype, const View *x, int64_t block, Loc loc)
{
	int64_t cols;
	if (block && kexpr_is_const(x->extent[1], &cols) && cols % block) {
		elab_error(el, loc, "rows of %lld elements cannot be cut into blocks of %lld for %s", (long long)cols,
			(long long)block, dtype->label);
		return false;
	}
	return true;
}

/* ---- encoding ---- */

/* The fields as a reader sees them hide the values they were rounded from. */
static Env *stored_names(Elab *el, Env *fields)
{
	Env *env = arena_new_of(el->c->arena, Env);
	env->outer = fields;
	for (size_t i = 0; i < fields->names.count; i++) {
		const Entity *field = fields->names.at[i].entity;
		if (field->kind != ENTITY_VIEW || !field->stored.buffer)
			continue;
		Entity *made = env_define(el, env, fields->names.at[i].name, ENTITY_VIEW, field->loc);
		made->view = field->stored;
	}
	return env;
}

bool dtype_is_element(const Elab *el, const DtypeRef *dtype, const Node *statement)
{
	const Node *header = dtype->decl->node->kids[1];
	if (statement->kind != N_DEFINE || is_value(el, statement))
		return false;
	for (uint32_t i = 1; i < header->kid_count; i++)
		if (!node_mentions(statement->kids[0], axis_name(header->kids[i])))
			return false;
	return true;
}

/* The fields that each element has. */
const Node *dtype_next_field(const Elab *el, const DtypeRef *dtype, uint32_t *at)
{
	const Node *body = dtype->decl->node->kids[2];
	while (*at < body->kid_count) {
		const Node *node = body->kids[(*at)++];
		if (dtype_is_element(el, dtype, node) && node->kids[1] && node->kids[0]->kind == N_INDEX)
			return node;
	}
	return NULL;
}

const Node *dtype_definition(const DtypeRef *dtype, Name name)
{
	const Node *body = dtype->decl->node->kids[2];
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *left = body->kids[i]->kind == N_DEFINE ? body->kids[i]->kids[0] : NULL;
		if (left && (left->kind == N_INDEX ? left->kids[0] : left)->name == name)
			return body->kids[i];
	}
	return NULL;
}

/* coarse_only: element by element what the coarser values read, and no more */
static void elaborate_fields(Elab *el, const DtypeRef *dtype, bool coarse_only)
{
	const Node *body = dtype->decl->node->kids[2];
	Env *env = el->env;
	env->body = body;
	env->out = el->out;
	env->state = arena_array(el->c->arena, uint8_t, body->kid_count + 1);
	for (uint32_t i = 0; i < body->kid_count; i++) {
		NodeKind kind = body->kids[i]->kind;
		if (kind == N_LAYOUT || kind == N_PLANES || is_value(el, body->kids[i]))
			env->state[i] = 2;
	}
	for (uint32_t i = 0; i < body->kid_count && !el->failed; i++) {
		if (env->state[i] || (coarse_only && dtype_is_element(el, dtype, body->kids[i])))
			continue;
		env->state[i] = 1;
		elab_statement(el, body->kids[i]);
		env->state[i] = 2;
	}
	env->body = NULL;
}

Inside elab_enter(Elab *el, Env *env, KIndex *const *ambient, uint32_t count, Name origin)
{
	Inside saved = {el->env, el->domain_count, el->ambient_count, el->origin, el->in_loop, el->guard};
	el->env = env;
	for (uint32_t i = 0; i < count; i++)
		el->domain[el->domain_count++] = ambient[i];
	el->ambient_count = el->domain_count;
	el->origin = origin;
	el->in_loop = false;
	el->guard = NULL;
	return saved;
}

void elab_leave(Elab *el, Inside saved)
{
	el->env = saved.env;
	el->domain_count = saved.domain_count;
	el->ambient_count = saved.ambient_count;
	el->origin = saved.origin;
	el->in_loop = saved.in_loop;
	el->guard = saved.guard;
}

Coded *coded_open(Elab *el, const DtypeRef *dtype, const View *x, Loc loc)
{
	const Node *node = dtype->decl->node, *header_node = node->kids[1];
	int64_t block = dtype_block_elements(el->p, dtype);
	if (!check_rows(el, dtype, x, block, loc))
		return NULL;
	Coded *coded = arena_new_of(el->c->arena, Coded);
	*coded = (Coded){.dtype = dtype, .rows = x->extent[0], .cols = x->extent[1], .block = block};
	Env *env = coded->fields = arena_new_of(el->c->arena, Env);
	const Scope *arguments = dtype_scope(el->p, dtype);
	for (size_t i = 0; i < arguments->names.count; i++)
		env_define(el, env, arguments->names.at[i].name, ENTITY_VALUE, loc)->value = arguments->names.at[i].value;
	Env *outer = el->env;
	el->env = env;
	Header header = {0};
	bool ok = header_extents(el, header_node, x, block, &header);
	el->env = outer;
	if (!ok)
		return NULL;
	header_place(el, header_node, block, &header);
	coded->row = header.row_index;
	coded->group = header.group;
	coded->ambient = arena_array(el->c->arena, KIndex *, 2);
	coded->ambient_count = header.ambient_count;
	memcpy(coded->ambient, header.ambient, sizeof header.ambient);
	View *place = &coded->place;
	place->buffer = x->buffer;
	place->rank = header.rank;
	memcpy(place->formal, header.formal, sizeof header.formal);
	memcpy(place->extent, header.extent, sizeof header.extent);
	place->subs[0] = header.row;
	place->subs[1] = header.col;
	return coded;
}

/* ---- arguments that are computed ---- */

static const Node *param_named(const DtypeRef *dtype, Name name)
{
	const Node *params = decl_params(dtype->decl);
	for (uint32_t i = 0; i < params->kid_count; i++)
		if (params->kids[i]->name == name)
			return params->kids[i];
	return NULL;
}

/* Is the parameter's array one over columns? It has an axis of the block's elements then. */
static bool is_of_columns(const DtypeRef *dtype, const Node *param)
{
	const Node *header = dtype->decl->node->kids[1];
	for (uint32_t i = 0; param->kids[0] && i < param->kids[0]->kid_count; i++)
		if (param->kids[0]->kids[i]->name == axis_name(header->kids[header->kid_count - 1]))
			return true;
	return false;
}

/* An array over the matrix's columns or rows, seen at the places of a block that the parameter's axes name. */
static bool place_array(Elab *el, const Coded *coded, const Node *param, const Entity *array, View *out)
{
	const View *place = &coded->place;
	bool is_columns = is_of_columns(coded->dtype, param);
	KExpr *at = place->subs[is_columns ? 1 : 0];
	*out = (View){.buffer = array->view.buffer};
	if (!kexpr_equal(array->view.extent[0], is_columns ? coded->cols : coded->rows)) {
		elab_error(el, array->loc, "\"%s\" of %s needs a value for each %s", param->name, coded->dtype->label,
			is_columns ? "column" : "row");
		return false;
	}
	for (uint32_t i = 0; i < place->rank; i++) {
		bool is_named = false;
		for (uint32_t k = 0; param->kids[0] && k < param->kids[0]->kid_count; k++)
			is_named |= param->kids[0]->kids[k]->name == place->formal[i]->name;
		if (!is_named && kexpr_uses(at, place->formal[i])) {
			elab_error(el, param->loc, "\"%s\" needs the axis %s of dtype %s", param->name, place->formal[i]->name,
				coded->dtype->decl->name);
			return false;
		}
		if (!is_named)
			continue;
		out->formal[out->rank] = place->formal[i];
		out->extent[out->rank++] = place->extent[i];
	}
	view_subs(el, &array->view, &at, out->subs);
	return true;
}

static bool bind_computed(Elab *el, const Coded *coded, const Env *computed, Loc loc)
{
	for (size_t i = 0; computed && i < computed->names.count; i++) {
		const Binding *argument = &computed->names.at[i];
		Entity *bound = env_define(el, coded->fields, argument->name, ENTITY_EXPR, loc);
		*bound = *argument->entity;
		if (bound->kind == ENTITY_VIEW &&
			!place_array(el, coded, param_named(coded->dtype, argument->name), argument->entity, &bound->view))
			return false;
	}
	return true;
}

static Coded *encode_levels(
	Elab *el, const DtypeRef *dtype, const Env *computed, const View *x, Loc loc, bool coarse_only)
{
	const Node *node = dtype->decl->node;
	Coded *coded = coded_open(el, dtype, x, loc);
	if (!coded)
		return NULL;
	coded->computed = computed;
	if (!bind_computed(el, coded, computed, loc))
		return NULL;
	Entity *subject = env_define(el, coded->fields, node->kids[1]->kids[0]->name, ENTITY_VIEW, loc);
	subject->view = coded->place;
	view_subs(el, x, coded->place.subs, subject->view.subs);
	Inside saved = elab_enter(el, coded->fields, coded->ambient, coded->ambient_count, dtype->decl->name);
	elaborate_fields(el, dtype, coarse_only);
	elab_leave(el, saved);
	coded->stored = stored_names(el, coded->fields);
	return el->failed ? NULL : coded;
}

Coded *coded_encode(Elab *el, const DtypeRef *dtype, const Env *computed, const View *x, Loc loc)
{
	return encode_levels(el, dtype, computed, x, loc, false);
}

Coded *coded_fit(Elab *el, const DtypeRef *dtype, const View *x, Loc loc)
{
	return encode_levels(el, dtype, NULL, x, loc, true);
}

void coded_close(Elab *el, Coded *coded)
{
	coded->stored = stored_names(el, coded->fields);
}

/* ---- decoding ---- */

const Node *dtype_value(Elab *el, const DtypeRef *dtype)
{
	const Node *node = dtype->decl->node, *header = node->kids[1], *found = NULL;
	for (uint32_t i = 0; i < node->kids[2]->kid_count && !found; i++)
		if (is_value(el, node->kids[2]->kids[i]))
			found = node->kids[2]->kids[i];
	if (!found)
		elab_error(el, node->loc, "dtype %s does not say what value[..] its fields stand for", node->name);
	else if (found->kids[0]->kind != N_INDEX || found->kids[0]->kid_count != header->kid_count)
		elab_error(el, found->kids[0]->loc, "value needs the axes of the dtype's header");
	return el->failed ? NULL : found;
}

/* [.., rows, cols]: for each of the indices in hand a matrix */
static View value_matrix(Elab *el, const Coded *coded)
{
	KExpr *extent[24];
	Name name = name_of(el->c, "value");
	View view = {.rank = 2, .extent = {coded->rows, coded->cols}};
	uint32_t lead = el->domain_count;
	if (lead + 2 > K_MAX_RANK) {
		elab_error(el, (Loc){0}, "\"value\" would need more than %d axes", K_MAX_RANK);
		return view;
	}
	for (uint32_t i = 0; i < lead; i++) {
		extent[i] = el->bound[el->domain[i]->id];
		view.subs[i] = kexpr_index(el->k, el->domain[i]);
	}
	for (uint32_t i = 0; i < 2; i++) {
		extent[lead + i] = view.extent[i];
		view.formal[i] = elab_index(el, name, view.extent[i]);
		view.subs[lead + i] = kexpr_index(el->k, view.formal[i]);
	}
	view.buffer = kbuffer_new(el->k, BUFFER_TEMP, name, store_of_type(T_F32), lead + 2, extent);
	return view;
}

View coded_value(Elab *el, Coded *coded, Loc loc)
{
	const Node *node = dtype_value(el, coded->dtype);
	View out = node ? value_matrix(el, coded) : (View){0};
	if (el->failed)
		return out;
	const Node *left = node->kids[0];
	KExpr *place[2] = {coded->place.subs[0], coded->place.subs[1]}, *subs[K_MAX_RANK];
	Inside saved = elab_enter(el, coded->stored, coded->ambient, coded->ambient_count, coded->dtype->decl->name);
	env_push(el);
	for (uint32_t i = 0; i < coded->place.rank; i++) {
		KIndex *index = elab_index(el, left->kids[i + 1]->name, coded->place.extent[i]);
		env_define(el, el->env, index->name, ENTITY_INDEX, left->loc)->index = index;
		el->domain[el->domain_count++] = index;
		for (uint32_t d = 0; d < 2; d++)
			place[d] = kexpr_substitute(el->k, place[d], coded->place.formal[i], kexpr_index(el->k, index));
	}
	KExpr *value = term_as(el, elab_expr(el, node->kids[2]), T_F32);
	if (!el->failed) {
		view_subs(el, &out, place, subs);
		elab_add_step(el, kstep_map(el->k, out.buffer, subs, el->domain, el->domain_count, value), loc);
	}
	elab_leave(el, saved);
	return out;
}

/* ---- layout ---- */

typedef struct Packer {
	Elab *el;
	const Coded *coded;
	KBuffer *to; /* NULL: only measure */
	int64_t block_bytes, at;
} Packer;

/* One array of `store` elements at the packer's place: value over the indices from `first` in el->domain. */
static void pack_array(Packer *pk, uint32_t first, KExpr *value, Store store, Loc loc)
{
	Elab *el = pk->el;
	int64_t size = store_bytes(store), count = 1;
	KExpr *offset = kexpr_int(el->k, T_I32, pk->at);
	for (uint32_t i = el->domain_count; i-- > first;) {
		int64_t extent = 1;
		if (!kexpr_is_const(el->bound[el->domain[i]->id], &extent))
			elab_error(el, loc, "a layout needs constant extents");
		offset = kexpr_binary(el->k, OP_ADD, offset, scaled(el, kexpr_index(el->k, el->domain[i]), size * count));
		count *= extent;
	}
	pk->at += size * count;
	if (!pk->to || el->failed)
		return;
	KExpr *base = scaled(el, kexpr_index(el->k, pk->coded->group), pk->block_bytes);
	KExpr *subs[2] = {kexpr_index(el->k, pk->coded->row), kexpr_binary(el->k, OP_ADD, base, offset)};
	KStep *step = kstep_map(el->k, pk->to, subs, el->domain, el->domain_count, value);
	step->store = store;
	step->loc = loc;
	step->origin = el->origin;
	vec_push(el->c->arena, el->out, step);
}

static void pack_field(Packer *pk, const Node *node)
{
	Elab *el = pk->el;
	Entity *field = env_find(el, node->name);
	if (!field || field->kind != ENTITY_VIEW) {
		elab_error(el, node->loc, "layout: \"%s\" is no field of dtype %s", node->name, pk->coded->dtype->decl->name);
		return;
	}
	Store store = field->view.buffer->store;
	if (store.bits % 8 || store.bits & (store.bits - 1)) {
		elab_error(
			el, node->loc, "layout: \"%s\" has %d bits: say with byte[..] = where they go", node->name, store.bits);
		return;
	}
	uint32_t outer = el->domain_count;
	KExpr *own[K_MAX_RANK];
	for (uint32_t i = 0; i < field->view.rank; i++) {
		KIndex *index = elab_index(el, field->view.formal[i]->name, field->view.extent[i]);
		el->domain[el->domain_count++] = index;
		own[i] = kexpr_index(el->k, index);
	}
	pack_array(pk, outer, view_load(el, &field->view, own), store, node->loc);
	el->domain_count = outer;
}

static void pack_bytes(Packer *pk, const Node *node)
{
	Elab *el = pk->el;
	const Node *left = node->kids[0];
	uint32_t outer = el->domain_count;
	Store store = node->kids[1] ? store_find(node->kids[1]->name) : (Store){STORE_UINT, 8};
	if (store.kind == STORE_NONE || store.bits % 8) {
		elab_error(el, node->loc, "a layout writes whole bytes");
		return;
	}
	env_push(el);
	for (uint32_t i = 1; left->kind == N_INDEX && i < left->kid_count && !el->failed; i++) {
		const Node *axis = left->kids[i];
		if (!axis_is_bounded(axis)) {
			elab_error(el, axis->loc, "a layout needs the extent of each index: byte[j < 16]");
			break;
		}
		KIndex *index = elab_index(el, axis->kids[0]->name, elab_int(el, axis->kids[1]));
		env_define(el, el->env, index->name, ENTITY_INDEX, axis->loc)->index = index;
		el->domain[el->domain_count++] = index;
	}
	KExpr *value = el->failed ? NULL : term_expr(el, elab_expr(el, node->kids[2]));
	if (!el->failed)
		pack_array(pk, outer, value, store, node->loc);
	env_pop(el);
	el->domain_count = outer;
}

static int64_t pack(Elab *el, Coded *coded, const Node *layout, KBuffer *to, int64_t block_bytes)
{
	Packer pk = {.el = el, .coded = coded, .to = to, .block_bytes = block_bytes};
	Inside saved = elab_enter(el, coded->stored, coded->ambient, coded->ambient_count, coded->dtype->decl->name);
	KStepVec nowhere = {0}, *out = el->out;
	if (!to)
		el->out = &nowhere;
	env_push(el);
	for (uint32_t i = 0; i < layout->kid_count && !el->failed; i++) {
		const Node *item = layout->kids[i];
		if (item->kind == N_NAME)
			pack_field(&pk, item);
		else
			pack_bytes(&pk, item);
	}
	el->out = out;
	elab_leave(el, saved);
	return el->failed ? 0 : pk.at;
}

int64_t coded_layout(Elab *el, Coded *coded, const Node *layout, KBuffer *to)
{
	if (!coded->group) {
		elab_error(el, layout->loc, "a layout needs a dtype of blocks: `of x[k < 32]`");
		return 0;
	}
	int64_t bytes = pack(el, coded, layout, NULL, 0);
	return bytes && to ? pack(el, coded, layout, to, bytes) : bytes;
}
