/* SPDX-License-Identifier: MIT
 *
 * stored.c: which tensors a checkpoint has, as a reader of the model counts them.
 * A block type is the dtype of the library whose layout has its code. Tensors that
 * are the planes of one dtype are one tensor: config.json, or the metadata of a
 * single file, name forms and schemes, the dtype with the same form and scheme names
 * the planes. No format is known here.
 */
#include "stored.h"

#include "plan.h"

#include <jansson.h>
#include <string.h>

int64_t stored_elements(const StoredTensor *tensor)
{
	int64_t count = 1;
	for (int64_t axis = 0; axis < tensor->rank; axis++)
		count *= tensor->shape[axis];
	return count;
}

int64_t stored_row_length(const StoredTensor *tensor)
{
	int64_t length = 1;
	for (int64_t i = 1; i <= tensor->row_axes; i++)
		length *= tensor->shape[tensor->rank - i];
	return length;
}

/* ---- planes: which dtypes the file says it uses ---- */

/* What a dtype may call `input`. */
static const char *const input_types[] = {"f32", "f16", "bf16"};
enum { FORM_ROWS = 64, INPUT_TYPES = sizeof input_types / sizeof *input_types };

/* A dtype of the file, built for a few elements to see the shapes of its planes. */
typedef struct Form {
	const DtypeRef *dtype;
	const Node *planes;
	PlaneVec shapes[INPUT_TYPES]; /* for FORM_ROWS x cols elements; empty: not built */
	int64_t cols;
	const json_t *targets;
} Form;
typedef VEC(Form) FormVec;

static bool scheme_fits(Program *p, const Node *planes, const json_t *weights)
{
	for (uint32_t i = 0; i < planes->kid_count; i++) {
		const Node *scheme = planes->kids[i];
		if (scheme->kind != N_PROP || !scheme->flag)
			continue;
		for (uint32_t k = 0; k < scheme->kid_count; k++) {
			const json_t *given = json_object_get(weights, scheme->kids[k]->name);
			Value wanted = value_eval(p, NULL, scheme->kids[k]->kids[0]);
			bool fits = wanted.kind == VALUE_INT ? json_is_integer(given) && json_integer_value(given) == wanted.integer
						: wanted.kind == VALUE_BOOL ? json_is_boolean(given) && json_is_true(given) == wanted.is_true
						: wanted.kind == VALUE_STRING
							? json_is_string(given) && strcmp(json_string_value(given), wanted.text) == 0
							: false;
			if (!fits)
				return false;
		}
		return true;
	}
	return false;
}

static void add_forms(StoredFile *source, const json_t *group, const char *format, FormVec *to)
{
	Program *p = source->library;
	const json_t *own = json_object_get(group, "format"), *weights = json_object_get(group, "weights");
	format = json_is_string(own) ? json_string_value(own) : format;
	program_read_stdlib(p);
	for (size_t i = 0; i < p->decls.count && format; i++) {
		Decl *decl = p->decls.at[i];
		if (decl->kind != DECL_DTYPE)
			continue;
		const DtypeRef *dtype = value_dtype(p, decl->node->loc, decl).dtype;
		const Node *planes = dtype_planes(dtype);
		if (!planes || strcmp(planes->text, format) != 0 || !scheme_fits(p, planes, weights))
			continue;
		Form form = {.dtype = dtype, .planes = planes, .targets = json_object_get(group, "targets")};
		vec_push(source->c->arena, to, form);
	}
}

static json_t *find_forms(StoredFile *source, FormVec *to)
{
	json_error_t error;
	const char *text = source->checkpoint->config,
			   *own = checkpoint_meta(source->checkpoint, "cmpc.quantization_config");
	json_t *root = text || own ? json_loads(own ? own : text, JSON_REJECT_DUPLICATES, &error) : NULL;
	const json_t *config = own ? root : json_object_get(root, "quantization_config");
	const char *key;
	json_t *group;
	json_object_foreach(json_object_get(config, "config_groups"), key, group)
		add_forms(source, group, json_string_value(json_object_get(config, "format")), to);
	return root;
}

/* ---- planes: the tensors of one module ---- */

static const CkTensor *find_plane(const StoredFile *source, const char *module, const char *plane)
{
	return checkpoint_find(source->checkpoint, arena_printf(source->c->arena, "%s.%s", module, plane));
}

/* Every plane of the form is there under this module's name. */
static bool has_planes(const StoredFile *source, const Form *form, const char *module)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < form->planes->kid_count; i++) {
		const Node *item = form->planes->kids[i];
		if (item->kind != N_DEFINE)
			continue;
		const Node *left = item->kids[0];
		if (!find_plane(source, module, left->kind == N_INDEX ? left->kids[0]->name : left->name))
			return false;
		count++;
	}
	return count > 1; /* one tensor alone is plain */
}

static bool is_target(const StoredFile *source, const Form *form, const char *module)
{
	size_t i;
	json_t *target;
	bool is_list = false;
	json_array_foreach(form->targets, i, target)
	{
		const char *text = json_is_string(target) ? json_string_value(target) : "";
		if (strcmp(text, module) == 0)
			return true;
		is_list |= has_planes(source, form, text);
	}
	return !is_list; /* classes of modules, not modules: the planes decide */
}

static bool same_type(Compiler *c, Store store, const CkTensor *tensor)
{
	Text scratch = {.arena = c->arena};
	return strcasecmp(store_name(store, &scratch), tensor->dtype) == 0;
}

/* The storage type that the dtype may call `input` for its planes to be stored as these are; INPUT_TYPES: none. The
 * form is built small to see that. */
static size_t find_input(StoredFile *source, Form *form, const char *module)
{
	int64_t block = dtype_block_elements(source->library, form->dtype);
	form->cols = block ? block : FORM_ROWS;
	for (size_t i = 0; i < INPUT_TYPES; i++) {
		PlaneVec *shapes = &form->shapes[i];
		Store input = store_find(name_of(source->c, input_types[i]));
		if (!shapes->count &&
			!decode_planes(source->library, form->dtype, form->planes, input, FORM_ROWS, form->cols, shapes))
			return INPUT_TYPES;
		bool fits = true;
		for (size_t s = 0; s < shapes->count && fits; s++)
			fits = same_type(source->c, shapes->at[s].store, find_plane(source, module, shapes->at[s].name));
		if (fits)
			return i;
	}
	return INPUT_TYPES;
}

static bool same_shape(const Plane *plane, const CkTensor *file)
{
	bool is_same = plane->rank == file->rank;
	for (uint32_t d = 0; d < plane->rank && is_same; d++)
		is_same = plane->shape[d] == file->shape[d];
	return is_same;
}

/* Rows and columns follow from the first plane that holds fields; every other must agree. */
static bool take_planes(StoredFile *source, const Form *form, size_t input, const char *module, StoredTensor *to)
{
	const PlaneVec *shapes = &form->shapes[input];
	int64_t rows = 0, cols = 0;
	for (size_t i = 0; i < shapes->count; i++) {
		const Plane *plane = &shapes->at[i];
		const CkTensor *file = find_plane(source, module, plane->name);
		to->bytes += file->bytes;
		if (!plane->buffer)
			continue;
		if (to->part_count == MOST_PLANES)
			return false;
		to->is_single[to->part_count] = plane->is_single;
		to->parts[to->part_count++] = file;
		if (plane->is_single) {
			if (!same_shape(plane, file))
				return false;
			continue;
		}
		if (file->rank != 2 || plane->shape[0] <= 0 || plane->shape[1] <= 0)
			return false;
		if (!rows) {
			rows = file->shape[0] * FORM_ROWS / plane->shape[0];
			cols = file->shape[1] * form->cols / plane->shape[1];
		}
		int64_t tall = (rows * plane->shape[0] + FORM_ROWS - 1) / FORM_ROWS;
		bool is_wide = plane->shape[1] * cols == file->shape[1] * form->cols;
		if (tall != file->shape[0] || (!is_wide && plane->shape[1] != file->shape[1]))
			return false;
	}
	to->rank = 2;
	to->row_axes = 1;
	to->shape[0] = rows;
	to->shape[1] = cols;
	to->dtype = form->dtype->label;
	to->coded = form->dtype;
	to->program = source->library;
	to->form = form->planes;
	to->input = store_find(name_of(source->c, input_types[input]));
	return rows > 0 && cols > 0;
}

/* The module whose planes `tensor` is among, taken as one tensor. */
static bool is_plane(StoredFile *source, FormVec *forms, const CkTensor *tensor, StoredTensor *to)
{
	const char *dot = strrchr(tensor->name, '.');
	const char *module = dot ? arena_copy(source->c->arena, tensor->name, (size_t)(dot - tensor->name)) : NULL;
	for (size_t i = 0; module && i < forms->count; i++) {
		Form *form = &forms->at[i];
		if (!is_target(source, form, module) || !has_planes(source, form, module))
			continue;
		size_t input = find_input(source, form, module);
		if (input == INPUT_TYPES)
			continue;
		*to = (StoredTensor){.name = arena_printf(source->c->arena, "%s.weight", module)};
		if (take_planes(source, form, input, module, to))
			return true;
	}
	return false;
}

/* ---- tensors of their own ---- */

static void take_plain(StoredFile *source, const CkTensor *tensor, StoredTensor *to)
{
	*to = (StoredTensor){
		.name = tensor->name, .dtype = tensor->dtype, .rank = tensor->rank, .row_axes = 1, .bytes = tensor->bytes};
	memcpy(to->shape, tensor->shape, sizeof to->shape);
	to->parts[to->part_count++] = tensor;
	to->store = tensor_store(source->c, tensor);
	if (to->store.kind != STORE_NONE)
		return;
	if (program_read_stdlib(source->library))
		to->coded = dtype_of_code(source->library, source->checkpoint->format->name, tensor->code, &to->form);
	to->program = to->coded ? source->library : NULL;
}

bool stored_tensors(StoredFile *source, StoredTensorVec *to)
{
	FormVec forms = {0};
	NameVec taken = {0};
	json_t *root = find_forms(source, &forms);
	for (int64_t i = 0; i < source->checkpoint->tensor_count; i++) {
		const CkTensor *tensor = &source->checkpoint->tensors[i];
		StoredTensor stored;
		if (!forms.count || !is_plane(source, &forms, tensor, &stored)) {
			take_plain(source, tensor, &stored);
			if (!stored_rows(source, &stored))
				break;
		} else {
			Name name = name_of(source->c, stored.name); /* planes of one module may lie apart */
			bool is_known = false;
			for (size_t t = taken.count; t-- > 0 && !is_known;)
				is_known = taken.at[t] == name;
			if (is_known)
				continue;
			vec_push(source->c->arena, &taken, name);
		}
		vec_push(source->c->arena, to, stored);
	}
	json_decref(root);
	return !diag_errors(source->c);
}
