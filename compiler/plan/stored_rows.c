/* SPDX-License-Identifier: MIT
 *
 * stored_rows.c: rows of bytes, the form of a dtype that the container has none for
 * (stdlib/dtypes/README.md). The checkpoint's metadata say which tensors are that,
 * what their rows were, and declare their dtypes: the library may know other ones by
 * these names, or none. All of it comes from a file and is checked as a program is.
 */
#include "stored.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *find_meta(const StoredFile *source, const char *key, const char *name)
{
	return checkpoint_meta(source->checkpoint, arena_printf(source->c->arena, "cmpc.%s.%s", key, name));
}

const char *stored_rows_dtype(const StoredFile *source, const CkTensor *tensor)
{
	return strcmp(tensor->dtype, "U8") == 0 ? find_meta(source, "tensor", tensor->name) : NULL;
}

/* "bf16[4096]": what a row was before; a kernel's has several axes, "bf16[96, 4]". They take the place of the file's
 * last axis. */
static bool read_row(const StoredFile *source, const char *text, StoredTensor *tensor)
{
	int64_t elements = 1, first = tensor->rank - 1;
	size_t length = text ? strcspn(text, "[") : 0;
	const char *at = text + length;
	if (!length || !*at)
		return false;
	tensor->input = store_find(name_intern(source->c, text, length));
	for (tensor->row_axes = 0; tensor->row_axes == 0 || *at == ','; tensor->row_axes++) {
		char *end = NULL;
		int64_t extent = strtoll(at + 1, &end, 10);
		if (first + tensor->row_axes == CMPRT_MAX_RANK || extent < 1 || extent > INT32_MAX / elements)
			return false;
		tensor->shape[first + tensor->row_axes] = extent;
		elements *= extent;
		at = end;
	}
	tensor->rank = first + tensor->row_axes;
	return tensor->input.kind != STORE_NONE && strcmp(at, "]") == 0;
}

/* Nothing of a file's text is followed anywhere. */
static bool has_only_methods(const Node *tree)
{
	for (uint32_t i = 0; i < tree->kid_count; i++)
		if (tree->kids[i]->kind != N_FN && tree->kids[i]->kind != N_LET && tree->kids[i]->kind != N_DTYPE)
			return false;
	return true;
}

/* The declarations and `label`, a dtype with its arguments, as a program of its own. */
static bool load_declared(const StoredFile *source, const char *label, const char *text, DeclaredDtype *to)
{
	Compiler *c = source->c;
	Program *p = program_new(c, source->library->stdlib);
	const char *path = arena_printf(c->arena, "%s: cmpc.dtype, %s", source->checkpoint->path, label);
	const char *whole = arena_printf(c->arena, "%s\nlet stored = %s\n", text, label);
	uint32_t file = source_add(c, path, whole, strlen(whole));
	Node *tree = parse_file(c, file);
	if (tree && !has_only_methods(tree)) {
		diag_fatal(c, "%s: holds more than dtypes, functions and values", path);
		return false;
	}
	if (!tree || !program_load_tree(p, file, tree) || !program_index_stdlib(p) || !program_check(p))
		return false;
	const Decl *let = program_find(p, DECL_LET, name_of(c, "stored"));
	Value value = let ? value_eval(p, NULL, let->node->kids[0]) : (Value){.kind = VALUE_ERROR};
	if (value.kind != VALUE_DTYPE) {
		if (value.kind != VALUE_ERROR)
			diag_fatal(c, "%s: is no dtype", path);
		return false;
	}
	*to = (DeclaredDtype){.label = label, .program = p, .dtype = value.dtype};
	return true;
}

/* NULL: reported. */
static const DeclaredDtype *find_declared(StoredFile *source, const char *label)
{
	for (size_t i = 0; i < source->declared.count; i++)
		if (strcmp(source->declared.at[i].label, label) == 0)
			return &source->declared.at[i];
	const char *name = arena_copy(source->c->arena, label, strcspn(label, "( \n"));
	const char *text = find_meta(source, "dtype", name);
	DeclaredDtype declared;
	if (!text) {
		diag_fatal(source->c, "%s: tensors are stored as %s, which the file's metadata do not declare",
			source->checkpoint->path, label);
		return NULL;
	}
	if (!load_declared(source, label, text, &declared))
		return NULL;
	vec_push(source->c->arena, &source->declared, declared);
	return &source->declared.at[source->declared.count - 1];
}

/* false: reported. Where nothing is said of it, the tensor is left as it is. */
bool stored_rows(StoredFile *source, StoredTensor *tensor)
{
	const CkTensor *file = tensor->parts[0];
	const char *label = stored_rows_dtype(source, file), *row = find_meta(source, "row", file->name);
	if (!label || !row || file->rank == 0)
		return true;
	if (!read_row(source, row, tensor)) {
		diag_fatal(source->c, "%s: cmpc.row.%s is \"%s\", expected the type and length of a row, such as bf16[4096]",
			source->checkpoint->path, file->name, row);
		return false;
	}
	const DeclaredDtype *declared = find_declared(source, label);
	if (!declared)
		return false;
	tensor->store = (Store){0};
	tensor->dtype = label;
	tensor->program = declared->program;
	tensor->coded = declared->dtype;
	tensor->form = declared->dtype->decl->node;
	return true;
}
