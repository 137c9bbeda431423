/* SPDX-License-Identifier: MIT
 *
 * model.c: opens a checkpoint for a command that looks at it: headers only, with
 * the roles that the library's rows give its tensors.
 */
#include "model.h"

#include "run.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int64_t tensor_elements(const CkTensor *tensor)
{
	int64_t count = 1;
	for (int64_t axis = 0; axis < tensor->rank; axis++)
		count *= tensor->shape[axis];
	return count;
}

Model *model_open(Compiler *c, const char *path)
{
	CmprtError error;
	Model *model = arena_new_of(c->arena, Model);
	model->c = c;
	model->library = program_new(c, path_stdlib(c));
	if (!program_load_stdlib(model->library))
		return NULL;
	model->checkpoint = checkpoint_open(path, &error);
	if (!model->checkpoint) {
		diag_fatal(c, "%s", error.text);
		return NULL;
	}
	model->facts = arena_new_of(c->arena, Plan);
	*model->facts = (Plan){.p = model->library, .c = c, .checkpoint = model->checkpoint, .model_path = path};
	if (!plan_facts(model->facts)) {
		model_close(model);
		return NULL;
	}
	model->stored = (StoredFile){.c = c, .library = model->library, .checkpoint = model->checkpoint};
	for (int64_t i = 0; i < model->checkpoint->file_count; i++)
		model->file_bytes += model->checkpoint->file_bytes[i];
	for (int64_t i = 0; i < model->checkpoint->tensor_count; i++)
		model->parameters += tensor_elements(&model->checkpoint->tensors[i]);
	return model;
}

void model_close(Model *model)
{
	checkpoint_close(model->checkpoint);
}

/* ---- groups ---- */

/* `*` for every part of the name, between dots, that is a number. */
static const char *name_pattern(Compiler *c, const char *name)
{
	Text text = {.arena = c->arena};
	text_append(&text, "", 0);
	for (const char *at = name; *at;) {
		size_t length = strcspn(at, "."), digits = 0;
		while (digits < length && isdigit((unsigned char)at[digits]))
			digits++;
		if (length && digits == length)
			text_append(&text, "*", 1);
		else
			text_append(&text, at, length);
		at += length;
		text_append(&text, at, *at == '.');
		at += *at == '.';
	}
	return text.at;
}

static int compare_alike(const void *a, const void *b)
{
	const TensorGroup *x = a, *y = b;
	const CkTensor *s = x->first->file, *t = y->first->file;
	int order = strcmp(x->pattern, y->pattern);
	order = order ? order : strcmp(s->dtype, t->dtype);
	order = order ? order : (s->rank > t->rank) - (s->rank < t->rank);
	for (int64_t axis = 0; !order && axis < s->rank; axis++)
		order = (s->shape[axis] > t->shape[axis]) - (s->shape[axis] < t->shape[axis]);
	return order;
}

static int compare_firsts(const void *a, const void *b)
{
	const TensorGroup *x = a, *y = b;
	return (x->first > y->first) - (x->first < y->first);
}

static int compare_groups(const void *a, const void *b)
{
	int order = compare_alike(a, b);
	return order ? order : compare_firsts(a, b);
}

void model_groups(const Model *model, bool is_split, TensorGroupVec *to)
{
	Compiler *c = model->c;
	for (size_t i = 0; i < model->facts->tensors.count; i++) {
		const PlanTensor *tensor = &model->facts->tensors.at[i];
		TensorGroup group = {tensor, is_split ? tensor->file->name : name_pattern(c, tensor->file->name), 1};
		vec_push(c->arena, to, group);
	}
	if (is_split || to->count == 0)
		return;
	qsort(to->at, to->count, sizeof *to->at, compare_groups);
	size_t count = 0;
	for (size_t i = 0; i < to->count; i++) {
		if (count && compare_alike(&to->at[count - 1], &to->at[i]) == 0)
			to->at[count - 1].count++;
		else
			to->at[count++] = to->at[i];
	}
	to->count = count;
	for (size_t i = 0; i < count; i++)
		if (to->at[i].count == 1)
			to->at[i].pattern = to->at[i].first->file->name;
	qsort(to->at, count, sizeof *to->at, compare_firsts);
}

/* ---- printing ---- */

void print_shape(const CkTensor *tensor, Text *to)
{
	text_append(to, "[", 1);
	for (int64_t axis = 0; axis < tensor->rank; axis++)
		text_printf(to, "%s%" PRId64, axis ? ", " : "", tensor->shape[axis]);
	text_append(to, "]", 1);
}

void print_roles(const PlanTensor *tensor, Text *to)
{
	for (size_t i = 0; i < tensor->roles.count; i++)
		text_printf(to, "%s%s", i ? " " : "", tensor->roles.at[i]);
}

void print_count(int64_t count, Text *to)
{
	char digits[32];
	int length = snprintf(digits, sizeof digits, "%" PRId64, count);
	for (int i = 0; i < length; i++)
		text_printf(to, i && (length - i) % 3 == 0 ? ",%c" : "%c", digits[i]);
}

void print_bytes(int64_t bytes, Text *to)
{
	char text[32];
	format_bytes(text, bytes);
	text_printf(to, "%s", text);
}
