/* SPDX-License-Identifier: MIT
 *
 * elab_planes.c: dtypes whose fields become tensors of their own (`planes`). An
 * item's axes are its own; all but the row are one axis in the file. What an item
 * reads past the end of a field's axis is 0. An item that reads no field is the
 * same for every tensor of a shape and is evaluated at compile time.
 */
#include "elaborate.h"

#include <stdlib.h>
#include <string.h>

Store elab_store(Elab *el, const Node *type)
{
	if (!strcmp(type->name, "input"))
		return el->input;
	Store store = store_find(type->name);
	if (store.kind == STORE_NONE)
		elab_error(el, type->loc, "\"%s\" is no storage type", type->name);
	return store;
}

static bool reads_any(const Env *names, const Node *e)
{
	for (size_t i = 0; e->kind == N_NAME && names && i < names->names.count; i++)
		if (names->names.at[i].name == e->name)
			return true;
	for (uint32_t i = 0; i < e->kid_count; i++)
		if (e->kids[i] && reads_any(names, e->kids[i]))
			return true;
	return false;
}

/* Loads that may leave their buffer give 0 there. */
static KExpr *guard_loads(Elab *el, KExpr *e)
{
	Kernel *k = el->k;
	if (!e->loads)
		return e;
	if (e->op != OP_LOAD) {
		KExpr *copy = arena_new_of(el->c->arena, KExpr);
		*copy = *e;
		for (int i = 0; i < 3 && e->args[i]; i++)
			copy->args[i] = guard_loads(el, e->args[i]);
		return copy;
	}
	KExpr *inside = NULL, *subs[K_MAX_RANK];
	for (uint32_t d = 0; d < e->buffer->rank; d++) {
		int64_t extent, last_read;
		subs[d] = e->subs[d];
		bool is_inside =
			kexpr_is_const(e->buffer->extent[d], &extent) && expr_most(subs[d], &last_read) && last_read < extent;
		if (!kexpr_is_const(e->buffer->extent[d], &extent) && subs[d]->op != OP_INDEX)
			el->failed = el->needs_rows = true; /* one element reads several rows: a panel may not have them all */
		if (!kexpr_is_const(e->buffer->extent[d], &extent) || is_inside || subs[d]->op == OP_INDEX)
			continue;
		KExpr *end = kexpr_cast(k, subs[d]->type, kexpr_int(k, T_I64, extent));
		KExpr *last = kexpr_cast(k, subs[d]->type, kexpr_int(k, T_I64, extent - 1));
		KExpr *here = kexpr_binary(k, OP_LT, subs[d], end);
		subs[d] = kexpr_binary(k, OP_MIN, subs[d], last);
		inside = inside ? kexpr_binary(k, OP_AND, inside, here) : here;
	}
	if (!inside)
		return e;
	KExpr *zero = e->type >= T_F32 ? kexpr_real(k, e->type, 0) : kexpr_int(k, e->type, 0);
	return kexpr_select(k, inside, kexpr_load_as(k, e->buffer, subs, e->store), zero);
}

/* ---- one item ---- */

typedef struct Item {
	const Node *node;
	KExpr *extent[K_MAX_RANK]; /* of the axes in front of and in the item */
	KIndex *index[K_MAX_RANK];
	uint32_t count;
} Item;

static void item_index(Elab *el, Item *item, KIndex *index, KExpr *extent, Loc loc)
{
	env_define(el, el->env, index->name, ENTITY_INDEX, loc)->index = index;
	el->domain[el->domain_count++] = index;
	item->extent[item->count] = extent;
	item->index[item->count++] = index;
}

static void item_axis(Elab *el, Item *item, Name name, KExpr *extent, Loc loc)
{
	item_index(el, item, elab_index(el, name, extent), extent, loc);
}

static void item_axes(Elab *el, Item *item)
{
	const Node *left = item->node->kids[0];
	for (uint32_t i = 1; left->kind == N_INDEX && i < left->kid_count && !el->failed; i++) {
		const Node *axis = left->kids[i];
		if (axis->kind == N_BINARY && axis->kids[0]->kind == N_NAME) {
			item_axis(el, item, axis->kids[0]->name, elab_int(el, axis->kids[1]), axis->loc);
			continue;
		}
		const Axis *known = axis->kind == N_NAME ? env_axis(el, axis->name) : NULL;
		if (!known) {
			elab_error(el, axis->loc, "planes: an axis is one of the dtype's header, or bounded: w < 16");
			return;
		}
		item_axis(el, item, axis->name, known->extent, axis->loc);
	}
}

/* The storage type of an item without one is that of the field it is. */
static Store item_store(Elab *el, const Item *item)
{
	const Node *e = item->node->kids[2];
	if (item->node->kids[1])
		return elab_store(el, item->node->kids[1]);
	const Node *name = e->kind == N_INDEX ? e->kids[0] : e;
	Entity *field = name->kind == N_NAME ? env_find(el, name->name) : NULL;
	if (field && field->kind == ENTITY_VIEW)
		return field->view.buffer->store;
	elab_error(el, item->node->loc, "planes: say how this is stored: name[..]: i32 = ..");
	return (Store){0};
}

static const char *item_name(const Node *node)
{
	const Node *left = node->kids[0];
	return left->kind == N_INDEX ? left->kids[0]->name : left->name;
}

/* Axes behind the row's are one axis of the file, row-major. */
static KExpr *item_column(Elab *el, const Item *item, uint32_t first, int64_t *cols)
{
	KExpr *column = kexpr_int(el->k, T_I32, 0);
	*cols = 1;
	for (uint32_t i = item->count; i-- > first;) {
		int64_t extent = 1;
		if (!kexpr_is_const(item->extent[i], &extent))
			elab_error(el, item->node->loc, "planes: only the first axis may depend on the number of rows");
		KExpr *digit = kexpr_binary(el->k, OP_MUL, kexpr_index(el->k, item->index[i]), kexpr_int(el->k, T_I32, *cols));
		column = kexpr_binary(el->k, OP_ADD, column, digit);
		*cols *= extent;
	}
	return column;
}

static bool write_item(Elab *el, Item *item, Plane *plane)
{
	int64_t cols, rows = -1;
	plane->store = item_store(el, item);
	KExpr *value = el->failed ? NULL : term_expr(el, elab_expr(el, item->node->kids[2]));
	if (el->failed)
		return false;
	if (plane->store.bits % 8) {
		elab_error(el, item->node->loc, "planes: a file holds whole bytes, not %d bits", plane->store.bits);
		return false;
	}
	KExpr *column = item_column(el, item, 1, &cols);
	kexpr_is_const(item->extent[0], &rows);
	plane->rank = 2;
	plane->shape[0] = rows;
	plane->shape[1] = cols;
	KExpr *extent[2] = {item->extent[0], kexpr_int(el->k, T_I32, cols)};
	plane->buffer = kbuffer_new(el->k, BUFFER_OUTPUT, name_of(el->c, plane->name), plane->store, 2, extent);
	KExpr *subs[2] = {kexpr_index(el->k, item->index[0]), column};
	KStep *step = kstep_map(el->k, plane->buffer, subs, item->index, item->count, value);
	step->loc = item->node->loc;
	step->origin = el->origin;
	vec_push(el->c->arena, el->out, step);
	return !el->failed;
}

/* An item of computed arguments only: one for each tensor, with the axes that it has. */
static void write_computed(Elab *el, Item *item, Plane *plane)
{
	if (!item->count)
		item_axis(el, item, name_of(el->c, plane->name), kexpr_int(el->k, T_I32, 1), item->node->loc);
	if (!el->failed && write_item(el, item, plane)) {
		plane->rank = item->count;
		plane->is_single = true;
		for (uint32_t i = 0; i < item->count; i++)
			if (!kexpr_is_const(item->extent[i], &plane->shape[i]))
				elab_error(el, item->node->loc, "planes: an item that reads no field needs constant extents");
	}
}

static void constant_shape(Elab *el, const Item *item, Plane *plane)
{
	plane->store = item_store(el, item);
	plane->rank = item->count;
	for (uint32_t i = 0; i < item->count; i++)
		if (!kexpr_is_const(item->extent[i], &plane->shape[i]))
			elab_error(el, item->node->loc, "planes: an item that reads no field needs constant extents");
}

/* The rows and blocks that a short header implies are the item's first axes, under the indices that the fields were
 * elaborated under. */
static bool plane_of(Elab *el, Coded *coded, const Node *node, Plane *plane)
{
	Item item = {.node = node};
	bool reads = reads_any(coded->stored, node->kids[2]);
	*plane = (Plane){.name = item_name(node), .node = node};
	env_push(el);
	if (reads && coded->row)
		item_index(el, &item, coded->row, coded->rows, node->loc);
	if (reads && coded->group)
		item_index(el, &item, coded->group, el->bound[coded->group->id], node->loc);
	item_axes(el, &item);
	bool ok = !el->failed;
	el->may_pass_end = true;
	if (ok && reads && !item.count)
		elab_error(el, node->loc, "planes: an item that reads fields needs the rows' axis first");
	else if (ok && reads)
		write_item(el, &item, plane);
	else if (ok && reads_any(coded->computed, node->kids[2]))
		write_computed(el, &item, plane);
	else if (ok)
		constant_shape(el, &item, plane);
	el->may_pass_end = false;
	env_pop(el);
	el->domain_count = el->ambient_count;
	return !el->failed;
}

bool coded_planes(Elab *el, Coded *coded, const Node *planes, PlaneVec *to)
{
	Env *outer = el->env;
	uint32_t domain_count = el->domain_count, ambient_count = el->ambient_count;
	el->env = arena_new_of(el->c->arena, Env);
	el->env->outer = coded->stored;
	el->domain_count = el->ambient_count = 0;
	el->origin = coded->dtype->decl->name;
	if (coded->row)
		env_add_axis(el, coded->row->name, coded->rows, planes->loc);
	if (coded->group)
		env_add_axis(el, coded->group->name, el->bound[coded->group->id], planes->loc);
	for (uint32_t i = 0; i < planes->kid_count && !el->failed; i++) {
		if (planes->kids[i]->kind != N_DEFINE)
			continue;
		Plane plane;
		size_t first = el->out->count;
		if (plane_of(el, coded, planes->kids[i], &plane)) {
			for (size_t s = first; s < el->out->count; s++)
				el->out->at[s]->value = guard_loads(el, el->out->at[s]->value);
			vec_push(el->c->arena, to, plane);
		}
	}
	el->env = outer;
	el->domain_count = domain_count;
	el->ambient_count = ambient_count;
	return !el->failed;
}

/* ---- items that read no field ---- */

void *plane_constant(Program *p, const DtypeRef *dtype, const Plane *plane, int64_t rows, int64_t cols, size_t *bytes)
{
	Kernel *k = kernel_new(p->c, name_of(p->c, "plane"));
	Elab *el = elab_new(p, k, NULL);
	el->input = store_of_type(T_F32);
	const Scope *arguments = dtype_scope(p, dtype);
	for (size_t i = 0; i < arguments->names.count; i++)
		env_define(el, el->env, arguments->names.at[i].name, ENTITY_VALUE, plane->node->loc)->value =
			arguments->names.at[i].value;
	const Node *header = dtype->decl->node->kids[1];
	int64_t block = dtype_block_elements(p, dtype);
	KExpr *known[2] = {kexpr_int(k, T_I32, rows), kexpr_int(k, T_I32, block ? cols / block : cols)};
	const char *implied[2] = {"o", "g"};
	for (int i = 0; i < 2; i++)
		env_add_axis(el, name_of(p->c, implied[i]), known[i], plane->node->loc);
	uint32_t at = 2; /* of known: the unbounded axes from the right are the blocks (or the row's elements), the rows */
	for (uint32_t i = 1; i < header->kid_count; i++)
		at -= header->kids[i]->kind != N_BINARY;
	for (uint32_t i = 1; i < header->kid_count; i++) {
		bool is_bound = header->kids[i]->kind == N_BINARY;
		Name name = is_bound ? header->kids[i]->kids[0]->name : header->kids[i]->name;
		KExpr *extent = is_bound ? elab_int(el, header->kids[i]->kids[1]) : known[at++];
		env_add_axis(el, name, extent, header->kids[i]->loc);
	}
	Item item = {.node = plane->node};
	KExpr *extent[K_MAX_RANK], *subs[K_MAX_RANK];
	int64_t count = 1;
	item_axes(el, &item);
	for (uint32_t i = 0; i < item.count && !el->failed; i++) {
		extent[i] = item.extent[i];
		subs[i] = kexpr_index(k, item.index[i]);
		count *= plane->shape[i];
	}
	KExpr *value = el->failed ? NULL : term_expr(el, elab_expr(el, plane->node->kids[2]));
	if (el->failed)
		return NULL;
	KBuffer *out = kbuffer_new(k, BUFFER_OUTPUT, name_of(p->c, plane->name), plane->store, item.count, extent);
	vec_push(p->c->arena, &k->steps, kstep_map(k, out, subs, item.index, item.count, value));
	*bytes = (size_t)count * store_bytes(plane->store);
	void *memory = arena_alloc(p->c->arena, *bytes + 1), *outputs[1] = {memory};
	int64_t parameters[1] = {0};
	return kernel_interpret(k, NULL, outputs, parameters) ? memory : NULL;
}
