/* SPDX-License-Identifier: MIT
 *
 * quantization_config.c: what config.json must say so that compressed-tensors
 * readers load a safetensors output: one group per dtype, its `weights` object as
 * the dtype's scheme has it, its modules by name; modules left alone under `ignore`.
 *
 * Source: compressed-tensors, quantization_config of config.json.
 */
#include "plan.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *scheme_value(Plan *plan, const Scope *parameters, const Node *prop)
{
	const Node *node = prop->kids[0];
	Value value = value_eval(plan->p, parameters, node);
	switch (value.kind) {
	case VALUE_INT:
		return json_integer(value.integer);
	case VALUE_REAL:
		return json_real(value.real);
	case VALUE_BOOL:
		return json_boolean(value.is_true);
	case VALUE_STRING:
		return json_string(value.text);
	case VALUE_NONE:
		return json_null();
	default:
		if (value.kind != VALUE_ERROR)
			diag_error(plan->c, node->loc, "\"%s\" of a scheme is a number, a string, true, false or none", prop->name);
		return json_null();
	}
}

static const Node *scheme_of(const Node *planes)
{
	for (uint32_t i = 0; i < planes->kid_count; i++)
		if (planes->kids[i]->kind == N_PROP && planes->kids[i]->flag)
			return planes->kids[i];
	return NULL;
}

static const char *module_name(Plan *plan, const char *tensor)
{
	const char *dot = strrchr(tensor, '.');
	return dot ? arena_printf(plan->c->arena, "%.*s", (int)(dot - tensor), tensor) : tensor;
}

static json_t *weights_object(Plan *plan, const DtypeRef *dtype, const Node *scheme)
{
	const Scope *parameters = dtype_scope(plan->p, dtype);
	json_t *weights = json_object();
	for (uint32_t i = 0; i < scheme->kid_count; i++)
		json_object_set_new(weights, scheme->kids[i]->name, scheme_value(plan, parameters, scheme->kids[i]));
	static const char *const nulls[] = {"actorder", "block_structure"};
	json_object_set_new(weights, "dynamic", json_false());
	json_object_set_new(weights, "observer", json_string("minmax"));
	json_object_set_new(weights, "observer_kwargs", json_object());
	for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
		if (!json_object_get(weights, nulls[i]))
			json_object_set_new(weights, nulls[i], json_null());
	return weights;
}

/* One group per dtype; its targets are the modules by name. */
static json_t *config_groups(Plan *plan, const char **format, bool *is_mixed)
{
	json_t *groups = json_object();
	*format = NULL;
	*is_mixed = false;
	for (size_t d = 0; d < plan->kernels.count; d++) {
		const DtypeRef *dtype = plan->kernels.at[d].built.dtype;
		const Node *planes = dtype ? dtype_planes(dtype) : NULL, *scheme = planes ? scheme_of(planes) : NULL;
		bool is_first = true;
		for (size_t e = 0; e < d && dtype; e++)
			is_first &=
				!plan->kernels.at[e].built.dtype || strcmp(plan->kernels.at[e].built.dtype->label, dtype->label);
		if (!scheme || !is_first)
			continue;
		json_t *targets = json_array(), *group = json_object();
		for (size_t i = 0; i < plan->tensors.count; i++) {
			const PlanTensor *tensor = &plan->tensors.at[i];
			const DtypeRef *own = tensor->kernel == SIZE_MAX ? NULL : plan->kernels.at[tensor->kernel].built.dtype;
			if (own && !strcmp(own->label, dtype->label))
				json_array_append_new(targets, json_string(module_name(plan, tensor->file->name)));
		}
		json_object_set_new(group, "targets", targets);
		json_object_set_new(group, "weights", weights_object(plan, dtype, scheme));
		json_object_set_new(group, "input_activations", json_null());
		json_object_set_new(group, "output_activations", json_null());
		json_object_set_new(group, "format", json_string(planes->text));
		*is_mixed |= *format && strcmp(*format, planes->text);
		*format = planes->text;
		json_object_set_new(groups, arena_printf(plan->c->arena, "group_%zu", json_object_size(groups)), group);
	}
	return groups;
}

const char *plan_quantization_config(Plan *plan)
{
	const char *format;
	bool is_mixed;
	if (!plan->output_format->holds_planes)
		return NULL;
	json_t *groups = config_groups(plan, &format, &is_mixed), *ignore = json_array(), *root = json_object();
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		bool is_module = tensor->file->rank == 2 && strstr(tensor->file->name, ".weight");
		if (tensor->kernel == SIZE_MAX && is_module)
			json_array_append_new(ignore, json_string(module_name(plan, tensor->file->name)));
	}
	const char *text = NULL;
	if (json_object_size(groups)) {
		json_object_set_new(root, "quant_method", json_string("compressed-tensors"));
		json_object_set_new(root, "format", json_string(is_mixed ? "mixed-precision" : format));
		json_object_set_new(root, "quantization_status", json_string("compressed"));
		json_object_set_new(root, "global_compression_ratio", json_null());
		json_object_set_new(root, "kv_cache_scheme", json_null());
		json_object_set(root, "ignore", ignore);
		json_object_set(root, "config_groups", groups);
		char *dump = json_dumps(root, JSON_INDENT(2));
		text = arena_printf(plan->c->arena, "%s", dump);
		free(dump);
	}
	json_decref(root);
	json_decref(ignore);
	json_decref(groups);
	return text;
}
