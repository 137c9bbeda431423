/* SPDX-License-Identifier: MIT
 *
 * facts.c: what is known of each tensor before anything is read: shape as rows and
 * columns, roles and layer by its name, and the names that arguments may use:
 * name role layer layers rows cols tied config.x.
 */
#include "plan.h"

#include <ctype.h>
#include <jansson.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

/* ---- patterns ---- */

static const char *match_number(const char *name, int64_t *value)
{
	const char *s = name;
	int64_t n = 0;
	while (isdigit((unsigned char)*s) && s - name < 9)
		n = 10 * n + (*s++ - '0');
	*value = n;
	return s > name && !isdigit((unsigned char)*s) ? s : NULL;
}

bool pattern_is_match(const char *pattern, const char *name, int64_t *layer)
{
	static const char number[] = "{layer}";
	const char *star = NULL, *resume = NULL;
	while (*name || *pattern) {
		int64_t value;
		const char *after;
		if (*pattern == '*') {
			star = ++pattern;
			resume = name;
		} else if (!strncmp(pattern, number, sizeof number - 1) && (after = match_number(name, &value))) {
			*layer = value;
			name = after;
			pattern += sizeof number - 1;
		} else if (*pattern && *name && (*pattern == *name || *pattern == '?')) {
			pattern++;
			name++;
		} else if (star && *resume) {
			pattern = star;
			name = ++resume;
		} else {
			return false;
		}
	}
	return true;
}

static bool row_fits(const Node *row, const char *name, int64_t *layer)
{
	regex_t regex;
	if (!row->flag)
		return pattern_is_match(row->text, name, layer);
	char *full = malloc(strlen(row->text) + 5);
	if (!full)
		return false;
	sprintf(full, "^(%s)$", row->text);
	bool fits = regcomp(&regex, full, REG_EXTENDED | REG_NOSUB) == 0;
	if (fits) {
		fits = regexec(&regex, name, 0, NULL, 0) == 0;
		regfree(&regex);
	}
	free(full);
	return fits;
}

/* ---- roles and shape ---- */

static bool axes_are(const Node *axes, const char *first, const char *second)
{
	return axes && axes->kid_count == 2 && axes->kids[0]->kind == N_NAME && axes->kids[1]->kind == N_NAME &&
		   !strcmp(axes->kids[0]->name, first) && !strcmp(axes->kids[1]->name, second);
}

static void take_shape(PlanTensor *tensor, const Node *axes)
{
	const CkTensor *file = tensor->file;
	tensor->stack = tensor->rows = tensor->cols = 1;
	if (file->rank > 0)
		tensor->cols = file->shape[file->rank - 1];
	for (int64_t d = 0; d + 1 < file->rank; d++)
		tensor->rows *= file->shape[d];
	if (axes && axes->kid_count == 3 && file->rank == 3) {
		tensor->stack = file->shape[0];
		tensor->rows = file->shape[1];
	}
	if (axes_are(axes, "i", "o") && file->rank == 2) {
		tensor->is_transposed = true;
		tensor->rows = file->shape[1];
		tensor->cols = file->shape[0];
	}
}

static void take_roles(Plan *plan, PlanTensor *tensor)
{
	const Node *axes = NULL;
	tensor->layer = -1;
	for (size_t d = 0; d < plan->p->decls.count && !tensor->roles.count; d++) {
		const Decl *decl = plan->p->decls.at[d];
		for (uint32_t r = 0; decl->kind == DECL_ROLES && r < decl->node->kid_count; r++) {
			const Node *row = decl->node->kids[r];
			int64_t layer = -1;
			if (!row_fits(row, tensor->file->name, &layer))
				continue;
			tensor->layer = layer;
			axes = row->kids[1];
			for (uint32_t i = 0; i < row->kids[0]->kid_count; i++)
				vec_push(plan->c->arena, &tensor->roles, row->kids[0]->kids[i]->name);
			break;
		}
	}
	take_shape(tensor, axes);
}

void role_names(const Plan *plan, NameVec *to)
{
	for (size_t d = 0; d < plan->p->decls.count; d++) {
		const Decl *decl = plan->p->decls.at[d];
		for (uint32_t r = 0; decl->kind == DECL_ROLES && r < decl->node->kid_count; r++)
			for (uint32_t i = 0; i < decl->node->kids[r]->kids[0]->kid_count; i++)
				vec_push(plan->c->arena, to, decl->node->kids[r]->kids[0]->kids[i]->name);
	}
}

void tensor_names(const Plan *plan, NameVec *to)
{
	for (size_t i = 0; i < plan->tensors.count; i++)
		vec_push(plan->c->arena, to, name_of(plan->c, plan->tensors.at[i].file->name));
}

Store tensor_store(const Plan *plan, const CkTensor *tensor)
{
	char lower[32];
	size_t i = 0;
	for (; tensor->dtype[i] && i + 1 < sizeof lower; i++)
		lower[i] = (char)tolower((unsigned char)tensor->dtype[i]);
	lower[i] = 0;
	return store_find(name_of(plan->c, lower));
}

/* ---- names for arguments ---- */

static Value value_of_json(Compiler *c, const json_t *json)
{
	Loc nowhere = {0};
	switch (json_typeof(json)) {
	case JSON_INTEGER:
		return value_int(nowhere, json_integer_value(json));
	case JSON_REAL:
		return value_real(nowhere, json_real_value(json));
	case JSON_TRUE:
	case JSON_FALSE:
		return value_bool(nowhere, json_is_true(json));
	case JSON_STRING:
		return value_string(nowhere, arena_printf(c->arena, "%s", json_string_value(json)));
	default:
		return (Value){.kind = VALUE_NONE, .dimension = ""};
	}
}

static bool bind_config_json(Plan *plan, Scope *scope)
{
	json_error_t error;
	if (!plan->checkpoint->config)
		return true;
	json_t *root = json_loads(plan->checkpoint->config, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(root)) {
		diag_fatal(plan->c, "%s: config.json: %s", plan->model_path, root ? "is no object" : error.text);
		json_decref(root);
		return false;
	}
	const char *key;
	json_t *item;
	plan->has_quantization_config = json_is_object(json_object_get(root, "quantization_config"));
	json_object_foreach(root, key, item)
	{
		if (!json_is_object(item) && !json_is_array(item))
			scope_bind(plan->c, scope, name_of(plan->c, arena_printf(plan->c->arena, "config.%s", key)),
				value_of_json(plan->c, item));
	}
	json_decref(root);
	return true;
}

/* GGUF: `llama.block_count` under general.architecture = llama is config.block_count */
static void bind_metadata(Plan *plan, Scope *scope)
{
	const char *architecture = NULL;
	for (int64_t i = 0; i < plan->checkpoint->meta_count; i++)
		if (!strcmp(plan->checkpoint->meta[i].key, "general.architecture"))
			architecture = plan->checkpoint->meta[i].value;
	size_t length = architecture ? strlen(architecture) : 0;
	for (int64_t i = 0; architecture && i < plan->checkpoint->meta_count; i++) {
		const CkMeta *meta = &plan->checkpoint->meta[i];
		if (strncmp(meta->key, architecture, length) || meta->key[length] != '.' || !strcmp(meta->type, "array"))
			continue;
		Name name = name_of(plan->c, arena_printf(plan->c->arena, "config%s", meta->key + length));
		char *end;
		double number = strtod(meta->value, &end);
		Value value = value_string((Loc){0}, meta->value);
		if (!strcmp(meta->type, "bool"))
			value = value_bool((Loc){0}, !strcmp(meta->value, "true"));
		else if (strcmp(meta->type, "string") && *end == 0)
			value = meta->type[0] == 'f' ? value_real((Loc){0}, number) : value_int((Loc){0}, (int64_t)number);
		scope_bind(plan->c, scope, name, value);
	}
}

static void bind(Plan *plan, Scope *scope, const char *name, Value value)
{
	scope_bind(plan->c, scope, name_of(plan->c, name), value);
}

static bool has_role(const PlanTensor *tensor, Name role)
{
	for (size_t i = 0; i < tensor->roles.count; i++)
		if (tensor->roles.at[i] == role)
			return true;
	return false;
}

static void bind_tensor(Plan *plan, PlanTensor *tensor)
{
	Loc nowhere = {0};
	/* one scope holds both: functions see only the outermost */
	tensor->facts = scope_new(plan->c, NULL);
	for (size_t i = 0; i < plan->model_facts->names.count; i++)
		scope_bind(plan->c, tensor->facts, plan->model_facts->names.at[i].name, plan->model_facts->names.at[i].value);
	Value role = {.kind = VALUE_NONE, .dimension = ""};
	if (tensor->roles.count)
		role = value_word(nowhere, tensor->roles.at[tensor->roles.count - 1]);
	bind(plan, tensor->facts, "name", value_string(nowhere, tensor->file->name));
	bind(plan, tensor->facts, "role", role);
	bind(plan, tensor->facts, "layer", value_int(nowhere, tensor->layer));
	bind(plan, tensor->facts, "rows", value_int(nowhere, tensor->rows));
	bind(plan, tensor->facts, "cols", value_int(nowhere, tensor->cols));
}

bool plan_facts(Plan *plan)
{
	Name head = name_of(plan->c, "head");
	bool is_tied = true;
	for (int64_t i = 0; i < plan->checkpoint->tensor_count; i++) {
		PlanTensor tensor = {
			.file = &plan->checkpoint->tensors[i], .kernel = SIZE_MAX, .family = SIZE_MAX, .places = SIZE_MAX};
		take_roles(plan, &tensor);
		if (tensor.layer >= plan->layers)
			plan->layers = tensor.layer + 1;
		is_tied &= !has_role(&tensor, head);
		vec_push(plan->c->arena, &plan->tensors, tensor);
	}
	plan->model_facts = scope_new(plan->c, NULL);
	if (!bind_config_json(plan, plan->model_facts))
		return false;
	bind_metadata(plan, plan->model_facts);
	bind(plan, plan->model_facts, "layers", value_int((Loc){0}, plan->layers));
	bind(plan, plan->model_facts, "tied", value_bool((Loc){0}, is_tied));
	for (size_t i = 0; i < plan->tensors.count; i++)
		bind_tensor(plan, &plan->tensors.at[i]);
	return true;
}
