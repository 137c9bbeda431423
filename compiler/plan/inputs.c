/* SPDX-License-Identifier: MIT
 *
 * inputs.c: how passes read the tensors that they are on. Floats are read as they
 * are. Blocks of a dtype of the library are decoded as they are read, if the model
 * says `requantize: true`: what is quantized twice is worse than what is quantized
 * once, so nobody does it unawares. On exit every tensor that a statement takes can
 * be read, or what cannot is reported, the first of each kind by name.
 */
#include "plan.h"

#include <string.h>

static const char key_of_rows[] = "cmpc.tensor.";

/* Does the checkpoint say that its tensors are parts of others, which none of them shows by itself? */
const char *plan_is_in_parts(const Plan *plan)
{
	if (plan->has_quantization_config)
		return "its config.json has a quantization_config";
	if (checkpoint_meta(plan->checkpoint, "cmpc.quantization_config"))
		return "its metadata have a quantization_config";
	for (int64_t i = 0; i < plan->checkpoint->meta_count; i++)
		if (!strncmp(plan->checkpoint->meta[i].key, key_of_rows, sizeof key_of_rows - 1))
			return "its metadata declare dtypes of its own";
	return NULL;
}

static bool check_parts(Plan *plan)
{
	const char *why = plan_is_in_parts(plan);
	if (!why)
		return true;
	diag_error(plan->c, plan->model->node->loc, "model %s is quantized already: %s", plan->model->name, why);
	diag_help(plan->c,
		"start from the original checkpoint, or make plain tensors of this one: cmpc decode %s -o f32.safetensors",
		plan->model->node->text);
	return false;
}

static bool may_requantize(const Plan *plan)
{
	const Node *prop = node_prop(plan->model->node, name_of(plan->c, "requantize"));
	Value value = {0};
	if (prop && prop->kid_count)
		value = value_eval(plan->p, NULL, prop->kids[0]);
	return value.kind == VALUE_BOOL && value.is_true;
}

typedef enum Kind { READABLE, NO_NUMBERS, NOT_ALLOWED, NOT_BY_ROWS, NO_DTYPE, KINDS } Kind;

/* first: of `count` tensors */
static void report(Plan *plan, Kind kind, const PlanTensor *first, size_t count)
{
	const CkTensor *file = first->file;
	const Statement *statement = first->links.count ? first->links.at[0].statement : NULL;
	const char *others = count > 1 ? arena_printf(plan->c->arena, " (and %zu more)", count - 1) : "";
	if (!statement) {
		diag_error(plan->c, plan->save ? plan->save->loc : plan->pipeline->node->loc,
			"\"%s\"%s is stored as %s along the axis o, and is to be written along i: not supported", file->name,
			others, file->dtype);
	} else if (kind == NO_NUMBERS) {
		diag_error(plan->c, statement->loc, "\"%s\"%s is stored as %s: %s works on f32, f16, bf16 or f64", file->name,
			others, file->dtype, statement->pass->name);
		diag_help(plan->c, "leave it out: `except \"%s\"`", file->name);
	} else if (kind == NOT_ALLOWED) {
		diag_error(plan->c, statement->loc, "\"%s\"%s is quantized already, as %s", file->name, others, file->dtype);
		diag_help(plan->c,
			"start from the original checkpoint; or decode it as it is read, and lose more: "
			"`model %s from .. { requantize true }`, or cmpc quantize --requantize",
			plan->model->name);
	} else if (kind == NOT_BY_ROWS) {
		diag_error(plan->c, statement->loc, "\"%s\"%s is stored as %s along the axis o: only rows can be decoded",
			file->name, others, file->dtype);
		diag_help(plan->c, "make plain tensors of the checkpoint first, with cmpc decode");
	} else {
		diag_error(plan->c, statement->loc, "\"%s\"%s is stored as %s, of which the library has no dtype", file->name,
			others, file->dtype);
		diag_help(plan->c, "start from the original checkpoint");
	}
}

static Kind find_input(Plan *plan, PlanTensor *tensor, bool is_allowed)
{
	tensor->store = tensor_store(plan->c, tensor->file);
	if (tensor->store.kind != STORE_NONE)
		return store_type(tensor->store) >= T_F32 ? READABLE : NO_NUMBERS;
	if (tensor->file->block <= 1)
		return NO_NUMBERS;
	if (!is_allowed)
		return NOT_ALLOWED;
	if (tensor->is_transposed)
		return NOT_BY_ROWS;
	tensor->store = store_of_type(T_F32);
	if (program_read_stdlib(plan->p))
		tensor->coded = dtype_of_code(plan->p, plan->checkpoint->format->name, tensor->file->code, &tensor->layout);
	return tensor->coded ? READABLE : NO_DTYPE;
}

bool tensor_has_kernel(const PlanTensor *tensor)
{
	return tensor->links.count || (tensor->place.is_turned && tensor->family == SIZE_MAX);
}

bool plan_inputs(Plan *plan)
{
	bool is_allowed = may_requantize(plan), ok = true;
	const PlanTensor *first[KINDS] = {NULL};
	size_t count[KINDS] = {0}, taken = 0;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		PlanTensor *tensor = &plan->tensors.at[i];
		if (!tensor_has_kernel(tensor))
			continue;
		if (!taken++ && !check_parts(plan))
			return false;
		Kind kind = find_input(plan, tensor, is_allowed);
		if (!count[kind]++)
			first[kind] = tensor;
	}
	for (int kind = READABLE + 1; kind < KINDS; kind++) {
		if (count[kind])
			report(plan, kind, first[kind], count[kind]);
		ok &= !count[kind];
	}
	return ok;
}
