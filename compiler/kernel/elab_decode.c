/* SPDX-License-Identifier: MIT
 *
 * elab_decode.c: kernels that read a stored tensor back. The dtype's encoding is
 * elaborated in a kernel of its own, only to follow where each bit of each field
 * goes; the kernel that is made begins with the inverse of that and ends with
 * `value`. So whatever can be written can be read, and no format is known here.
 */
#include "elaborate.h"

/* The kernel that packs and the one that reads back. */
typedef struct Reader {
	Elab *pack, *read;
	Coded *coded, *opened;
	KBufferVec outputs, fields; /* of pack */
	KBufferVec inputs, made;    /* of read, the same in number */
} Reader;

static KBuffer *matrix(Elab *el, KBufferKind kind, const char *name, Store store, KExpr *rows, int64_t cols)
{
	KExpr *extent[2] = {rows, kexpr_int(el->k, T_I32, cols)};
	return kbuffer_new(el->k, kind, name_of(el->c, name), store, 2, extent);
}

/* rows 0: any number, PARAM 0 */
static KExpr *row_count(const Elab *el, int64_t rows)
{
	return rows ? kexpr_int(el->k, T_I32, rows) : kexpr_param(el->k, 0);
}

static Elab *open_kernel(Program *p, const char *name, Store input)
{
	Kernel *k = kernel_new(p->c, name_of(p->c, name));
	k->param_count = 1;
	Elab *el = elab_new(p, k, NULL);
	el->input = input;
	return el;
}

/* Arguments that an item of the planes holds are fields of the tensor: a buffer in both kernels. */
static void open_arguments(Reader *r, const DtypeRef *dtype, const Node *planes, Env *packed, Env *read)
{
	const Node *params = decl_params(dtype->decl);
	for (uint32_t i = 0; i < params->kid_count; i++) {
		const Node *param = params->kids[i];
		bool is_held = false;
		for (uint32_t k = 0; k < planes->kid_count && !is_held; k++)
			is_held = planes->kids[k]->kind == N_DEFINE && node_mentions(planes->kids[k]->kids[2], param->name);
		if (!is_held)
			continue;
		Elab *sides[2] = {r->pack, r->read};
		Env *names[2] = {packed, read};
		KBufferVec *buffers[2] = {&r->fields, &r->made};
		for (int side = 0; side < 2; side++) {
			Kernel *k = sides[side]->k;
			Store store = param->kids[1] ? elab_store(sides[side], param->kids[1]) : store_of_type(T_F32);
			KExpr *one = kexpr_int(k, T_I32, 1), *first = kexpr_int(k, T_I32, 0);
			KBuffer *buffer = kbuffer_new(k, BUFFER_TEMP, param->name, store, 1, &one);
			env_define(sides[side], names[side], param->name, ENTITY_EXPR, param->loc)->expr =
				kexpr_load(k, buffer, &first);
			vec_push(sides[side]->c->arena, buffers[side], buffer);
		}
	}
}

/* planes NULL: the form holds no arguments */
static bool open_reader(
	Reader *r, Program *p, const DtypeRef *dtype, const Node *planes, Store input, int64_t rows, int64_t cols, Loc loc)
{
	Store f32 = store_of_type(T_F32);
	*r = (Reader){.pack = open_kernel(p, "pack", input), .read = open_kernel(p, "decode", input)};
	View x = view_whole(r->pack, matrix(r->pack, BUFFER_INPUT, "x", f32, row_count(r->pack, rows), cols));
	View y = view_whole(r->read, matrix(r->read, BUFFER_OUTPUT, "out", f32, row_count(r->read, rows), cols));
	Env *packed = arena_new_of(p->c->arena, Env), *read = arena_new_of(p->c->arena, Env);
	if (planes)
		open_arguments(r, dtype, planes, packed, read);
	r->coded = coded_encode(r->pack, dtype, packed->names.count ? packed : NULL, &x, loc);
	r->opened = r->coded ? coded_open(r->read, dtype, &y, loc) : NULL;
	for (size_t i = 0; r->opened && i < read->names.count; i++)
		*env_define(r->read, r->opened->fields, read->names.at[i].name, ENTITY_EXPR, loc) = *read->names.at[i].entity;
	return r->coded && r->opened;
}

/* The same buffer in the kernel that reads. */
static KBuffer *input_buffer(Elab *el, const KBuffer *from)
{
	KExpr *extent[K_MAX_RANK];
	int64_t known;
	for (uint32_t i = 0; i < from->rank; i++)
		extent[i] = kexpr_is_const(from->extent[i], &known) ? kexpr_int(el->k, T_I32, known) : kexpr_param(el->k, 0);
	return kbuffer_new(el->k, BUFFER_INPUT, from->name, from->store, from->rank, extent);
}

/* A field's buffer in the kernel that reads: there may be more rows and blocks than in the one that packs. */
static KBuffer *field_buffer(const Reader *r, const KBuffer *from)
{
	Elab *el = r->read;
	KExpr *extent[K_MAX_RANK];
	int64_t known = 1;
	for (uint32_t i = 0; i < from->rank; i++)
		extent[i] = kexpr_is_const(from->extent[i], &known) ? kexpr_int(el->k, T_I32, known) : r->opened->rows;
	if (r->opened->group) {
		extent[0] = r->opened->rows;
		kexpr_is_const(r->opened->cols, &known);
		extent[1] = kexpr_int(el->k, T_I32, known / r->opened->block);
	}
	return kbuffer_new(el->k, BUFFER_TEMP, from->name, from->store, from->rank, extent);
}

/* Every stored field gets a buffer in the kernel that reads, and its name there. */
static bool open_fields(Reader *r)
{
	Elab *el = r->read;
	Arena *arena = el->c->arena;
	Coded *to = r->opened;
	to->stored = arena_new_of(arena, Env);
	to->stored->outer = to->fields;
	for (size_t i = 0; i < r->coded->stored->names.count; i++) {
		const Binding *field = &r->coded->stored->names.at[i];
		KBuffer *from = field->entity->view.buffer, *made = field_buffer(r, from);
		View *view = &env_define(el, to->stored, field->name, ENTITY_VIEW, field->entity->loc)->view;
		if (from->rank != to->ambient_count + field->entity->view.rank) {
			elab_error(el, field->entity->loc, "internal: field %s has axes of its own order", field->name);
			return false;
		}
		*view = (View){.buffer = made, .rank = field->entity->view.rank};
		for (uint32_t d = 0; d < to->ambient_count; d++)
			view->subs[d] = kexpr_index(el->k, to->ambient[d]);
		for (uint32_t d = 0; d < view->rank; d++) {
			view->extent[d] = made->extent[to->ambient_count + d];
			view->formal[d] = elab_index(el, field->entity->view.formal[d]->name, view->extent[d]);
			view->subs[to->ambient_count + d] = kexpr_index(el->k, view->formal[d]);
		}
		vec_push(arena, &r->fields, from);
		vec_push(arena, &r->made, made);
	}
	return true;
}

/* Steps that fill the fields from the inputs: for each of `around`, row and block of so many bytes, or all at once if
 * there is none. */
static bool invert(Reader *r, KIndex *const *around, uint32_t around_count, int64_t block_bytes)
{
	Elab *el = r->read;
	Arena *arena = el->c->arena;
	Bitmap map;
	int64_t params[1] = {1};
	if (!bitmap_trace(r->pack->k, &r->pack->k->steps, r->outputs.at, (uint32_t)r->outputs.count, r->fields.at,
			(uint32_t)r->fields.count, params, &map))
		return false;
	KExpr **lead = arena_array(arena, KExpr *, around_count + 1), **first = arena_array(arena, KExpr *, 2);
	for (uint32_t i = 0; i < around_count; i++)
		lead[i] = kexpr_index(el->k, around[i]);
	first[0] = around_count ? lead[0] : kexpr_int(el->k, T_I32, 0);
	first[1] = kexpr_int(el->k, T_I32, 0);
	if (around_count > 1)
		first[1] = kexpr_binary(el->k, OP_MUL, lead[1], kexpr_int(el->k, T_I32, block_bytes));
	BitSource *sources = arena_array(arena, BitSource, r->inputs.count + 1);
	BitTarget *targets = arena_array(arena, BitTarget, r->made.count + 1);
	for (size_t i = 0; i < r->inputs.count; i++)
		sources[i] = (BitSource){r->inputs.at[i], first};
	for (size_t i = 0; i < r->made.count; i++)
		targets[i] = (BitTarget){r->made.at[i], lead, around_count};
	return bitmap_invert(el->k, &map, sources, targets, around, around_count, el->out);
}

static Kernel *finish(Reader *r, Loc loc)
{
	Elab *el = r->read;
	View value = coded_value(el, r->opened, loc);
	if (el->failed)
		return NULL;
	KBuffer *out = el->k->outputs.at[0];
	KIndex *index[2];
	KExpr *own[2];
	for (int d = 0; d < 2; d++) {
		index[d] = elab_index(el, name_of(el->c, d ? "i" : "o"), out->extent[d]);
		own[d] = kexpr_index(el->k, index[d]);
	}
	vec_push(el->c->arena, el->out, kstep_map(el->k, out, own, index, 2, view_load(el, &value, own)));
	return kernel_verify(el->k) ? el->k : NULL;
}

Kernel *decode_layout(Program *p, const DtypeRef *dtype, const Node *layout, int64_t *block_bytes)
{
	Reader r;
	int64_t block = dtype_block_elements(p, dtype);
	Store u8 = {STORE_UINT, 8};
	if (!block || !open_reader(&r, p, dtype, NULL, store_of_type(T_F32), 0, block, layout->loc) || !open_fields(&r))
		return NULL;
	*block_bytes = coded_layout(r.pack, r.coded, layout, NULL);
	if (!*block_bytes)
		return NULL;
	KBuffer *to = matrix(r.pack, BUFFER_OUTPUT, "blocks", u8, row_count(r.pack, 0), *block_bytes);
	if (!coded_layout(r.pack, r.coded, layout, to))
		return NULL;
	vec_push(p->c->arena, &r.outputs, to);
	vec_push(p->c->arena, &r.inputs, input_buffer(r.read, to));
	return invert(&r, r.opened->ambient, r.opened->ambient_count, *block_bytes) ? finish(&r, layout->loc) : NULL;
}

const DtypeRef *dtype_of_code(Program *p, const char *container, int64_t code, const Node **layout)
{
	for (size_t i = 0; i < p->decls.count; i++) {
		Decl *decl = p->decls.at[i];
		if (decl->kind != DECL_DTYPE)
			continue;
		const DtypeRef *dtype = value_dtype(p, decl->node->loc, decl).dtype;
		*layout = dtype_layout(dtype, container);
		if (*layout && (int64_t)(*layout)->number == code)
			return dtype;
	}
	*layout = NULL;
	return NULL;
}

bool decode_blocks(Elab *el, const DtypeRef *dtype, const Node *layout, KBuffer *in, const View *w, View *value)
{
	int64_t block = dtype_block_elements(el->p, dtype);
	Reader r = {.pack = open_kernel(el->p, "pack", el->input), .read = el};
	View x = view_whole(r.pack, matrix(r.pack, BUFFER_INPUT, "x", store_of_type(T_F32), row_count(r.pack, 0), block));
	r.coded = coded_encode(r.pack, dtype, NULL, &x, layout->loc);
	r.opened = r.coded ? coded_open(el, dtype, w, layout->loc) : NULL;
	if (!r.opened || !open_fields(&r))
		return false;
	int64_t bytes = coded_layout(r.pack, r.coded, layout, NULL);
	if (!bytes)
		return false;
	KBuffer *to = matrix(r.pack, BUFFER_OUTPUT, "blocks", (Store){STORE_UINT, 8}, row_count(r.pack, 0), bytes);
	if (!coded_layout(r.pack, r.coded, layout, to))
		return false;
	vec_push(el->c->arena, &r.outputs, to);
	vec_push(el->c->arena, &r.inputs, in);
	if (!invert(&r, r.opened->ambient, r.opened->ambient_count, bytes))
		return false;
	*value = coded_value(el, r.opened, layout->loc);
	return !el->failed;
}

Kernel *decode_planes(
	Program *p, const DtypeRef *dtype, const Node *planes, Store input, int64_t rows, int64_t cols, PlaneVec *to)
{
	Reader r;
	if (!open_reader(&r, p, dtype, planes, input, rows, cols, planes->loc) || !open_fields(&r) ||
		!coded_planes(r.pack, r.coded, planes, to))
		return NULL;
	for (size_t i = 0; i < to->count; i++) {
		if (!to->at[i].buffer)
			continue;
		vec_push(p->c->arena, &r.outputs, to->at[i].buffer);
		vec_push(p->c->arena, &r.inputs, input_buffer(r.read, to->at[i].buffer));
	}
	return invert(&r, NULL, 0, 0) ? finish(&r, planes->loc) : NULL;
}

Kernel *decode_rows(Program *p, const DtypeRef *dtype, Store input, int64_t rows, int64_t cols, int64_t *row_bytes)
{
	Reader r;
	Loc loc = dtype->decl->node->loc;
	Store u8 = {STORE_UINT, 8};
	if (!open_reader(&r, p, dtype, NULL, input, rows, cols, loc) || !open_fields(&r))
		return NULL;
	*row_bytes = coded_rows(r.pack, r.coded, NULL);
	if (!*row_bytes)
		return NULL;
	KBuffer *to = matrix(r.pack, BUFFER_OUTPUT, "rows", u8, row_count(r.pack, rows), *row_bytes);
	if (!coded_rows(r.pack, r.coded, to))
		return NULL;
	vec_push(p->c->arena, &r.outputs, to);
	vec_push(p->c->arena, &r.inputs, input_buffer(r.read, to));
	return invert(&r, NULL, 0, 0) ? finish(&r, loc) : NULL;
}
