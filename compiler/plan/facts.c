/* SPDX-License-Identifier: MIT
 *
 * facts.c: what is known of each tensor before anything is read: shape as rows and
 * columns, roles and layer by its name, and the names that arguments may use:
 * name role layer layers rows cols tied config.x.
 */
#include "net.h"

#include <ctype.h>
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

/* Stored [i, o] */
static void turn_shape(PlanTensor *tensor)
{
	tensor->is_transposed = true;
	tensor->rows = tensor->file->shape[1];
	tensor->cols = tensor->file->shape[0];
}

/* Stored [o, ..]: all but the first axis are columns. */
static void take_kernel_shape(PlanTensor *tensor)
{
	tensor->is_kernel = true;
	tensor->cols *= tensor->rows / tensor->file->shape[0];
	tensor->rows = tensor->file->shape[0];
}

/* [e, o, i] */
static void take_stack_shape(PlanTensor *tensor)
{
	tensor->is_stack = true;
	tensor->stack = tensor->file->shape[0];
	tensor->rows = tensor->file->shape[1];
}

static void take_shape(PlanTensor *tensor, const Node *axes)
{
	const CkTensor *file = tensor->file;
	tensor->stack = tensor->rows = tensor->cols = 1;
	if (file->rank > 0)
		tensor->cols = file->shape[file->rank - 1];
	for (int64_t d = 0; d + 1 < file->rank; d++)
		tensor->rows *= file->shape[d];
	if (axes && axes->kid_count == 3 && file->rank == 3)
		take_stack_shape(tensor);
	if (axes_are(axes, "i", "o") && file->rank == 2)
		turn_shape(tensor);
}

static void take_names(Plan *plan, PlanTensor *tensor, const Node *roles)
{
	for (uint32_t i = 0; roles && i < roles->kid_count; i++)
		vec_push(plan->c->arena, &tensor->roles, roles->kids[i]->name);
}

/* What the first row that fits says; rows of programs come before those of the net, and these before stdlib's. */
static bool take_role(Plan *plan, PlanTensor *tensor, bool is_stdlib, const Node **axes)
{
	for (size_t d = 0; d < plan->p->decls.count; d++) {
		const Decl *decl = plan->p->decls.at[d];
		for (uint32_t r = 0; decl->kind == DECL_ROLES && decl->is_stdlib == is_stdlib && r < decl->node->kid_count;
			 r++) {
			const Node *row = decl->node->kids[r];
			int64_t layer = -1;
			if (!row_fits(row, tensor->file->name, &layer))
				continue;
			tensor->layer = layer;
			*axes = row->kids[1];
			take_names(plan, tensor, row->kids[0]);
			return true;
		}
	}
	return false;
}

static bool take_role_of_net(Plan *plan, PlanTensor *tensor)
{
	for (size_t i = 0; i < plan->net_roles.count; i++) {
		const NetRole *row = &plan->net_roles.at[i];
		int64_t layer = -1;
		if (!pattern_is_match(row->pattern, tensor->file->name, &layer))
			continue;
		tensor->layer = layer;
		take_names(plan, tensor, row->roles);
		take_shape(tensor, NULL);
		if (row->is_transposed && tensor->file->rank == 2)
			turn_shape(tensor);
		if (row->is_kernel && tensor->file->rank > 2 && tensor->file->shape[0] > 0)
			take_kernel_shape(tensor);
		if (row->is_stack && tensor->file->rank == 3)
			take_stack_shape(tensor);
		return true;
	}
	return false;
}

static void take_roles(Plan *plan, PlanTensor *tensor)
{
	const Node *axes = NULL;
	tensor->layer = -1;
	if (!take_role(plan, tensor, false, &axes) && take_role_of_net(plan, tensor))
		return;
	if (!tensor->roles.count)
		take_role(plan, tensor, true, &axes);
	take_shape(tensor, axes);
}

Store tensor_store(Compiler *c, const CkTensor *tensor)
{
	char lower[32];
	size_t i = 0;
	for (; tensor->dtype[i] && i + 1 < sizeof lower; i++)
		lower[i] = (char)tolower((unsigned char)tensor->dtype[i]);
	lower[i] = 0;
	return store_find(name_of(c, lower));
}

/* ---- names for arguments ---- */

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

/* The net that the model names, else that of its architecture, if there is one. */
static bool find_net(Plan *plan)
{
	const char *architecture = config_architecture(plan->checkpoint, plan->model_facts, plan->c);
	const Decl *net = architecture ? net_of_architecture(plan->p, architecture) : NULL;
	if (plan->model && plan->model->node->op)
		net = net_of_model(plan->p, plan->model, plan->checkpoint, plan->model_facts);
	if (net)
		net_roles(plan->c, net, &plan->net_roles);
	return net || !plan->model || !plan->model->node->op;
}

bool plan_facts(Plan *plan)
{
	Name head = name_of(plan->c, "head");
	bool is_tied = true;
	plan->model_facts = scope_new(plan->c, NULL);
	if (!config_bind(plan->c, plan->checkpoint, plan->model_path, plan->model_facts) || !find_net(plan))
		return false;
	for (int64_t i = 0; i < plan->checkpoint->tensor_count; i++) {
		PlanTensor tensor = {
			.file = &plan->checkpoint->tensors[i], .kernel = SIZE_MAX, .family = SIZE_MAX, .places = SIZE_MAX};
		take_roles(plan, &tensor);
		if (tensor.layer >= plan->layers)
			plan->layers = tensor.layer + 1;
		is_tied &= !has_role(&tensor, head);
		vec_push(plan->c->arena, &plan->tensors, tensor);
	}
	for (size_t i = 0; i < plan->model_facts->names.count; i++)
		plan->has_quantization_config |=
			!strncmp(plan->model_facts->names.at[i].name, "config.quantization_config.", 27);
	bind(plan, plan->model_facts, "layers", value_int((Loc){0}, plan->layers));
	bind(plan, plan->model_facts, "tied", value_bool((Loc){0}, is_tied));
	for (size_t i = 0; i < plan->tensors.count; i++)
		bind_tensor(plan, &plan->tensors.at[i]);
	return true;
}
