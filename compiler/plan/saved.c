/* SPDX-License-Identifier: MIT
 *
 * saved.c: pipelines whose passes save arrays: the result consists of these, under the
 * names that the passes give them, and has nothing of the model. And the metadata that
 * `save "x.gguf" { .. }` says of any result. plan_saved runs when every tensor has its
 * links; on exit what no pass takes is left out.
 */
#include "plan.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

/* ---- which statements ---- */

static bool check_statement(Plan *plan, const Statement *statement)
{
	const PassFacts *facts = &statement->facts;
	const char *name = statement->pass->name;
	if (facts->saves && !facts->has_effect && !facts->is_family && !facts->is_sharing)
		return true;
	diag_error(plan->c, statement->loc,
		facts->saves ? "pass %s saves arrays: it is on one matrix, and leaves it as it is"
					 : "pass %s saves no arrays, but others here do, and of the model nothing is written",
		name);
	diag_help(plan->c, "write two pipelines: one saves arrays, the other the model");
	return false;
}

bool plan_saved(Plan *plan)
{
	bool ok = true;
	if (!plan->saves_arrays)
		return true;
	for (size_t i = 0; i < plan->statements.count; i++)
		ok &= check_statement(plan, plan->statements.at[i]);
	for (size_t i = 0; i < plan->tensors.count; i++)
		plan->tensors.at[i].place.is_left_out |= !plan->tensors.at[i].links.count;
	if (!plan->into_folder)
		return ok;
	diag_error(plan->c, plan->save ? plan->save->loc : plan->pipeline->node->loc,
		"\"%s\": arrays that passes save are written into one file, .gguf or .safetensors", plan->output_path);
	return false;
}

/* ---- outputs ---- */

/* The arguments, then the facts of the tensor, whose name is the one that it has in the result's container. */
static const Scope *names_of(Plan *plan, const PlanTensor *tensor, const PlanLink *link)
{
	Scope *facts = scope_new(plan->c, tensor->facts), *names = scope_new(plan->c, facts);
	if (tensor->place.name)
		scope_bind(plan->c, facts, name_of(plan->c, "name"), value_string(link->statement->loc, tensor->place.name));
	for (size_t i = 0; i < link->arguments->names.count; i++)
		scope_bind(plan->c, names, link->arguments->names.at[i].name, link->arguments->names.at[i].value);
	return names;
}

CmprtOutput saved_output(Plan *plan, const PlanTensor *tensor, const Saved *saved)
{
	const KBuffer *buffer = saved->buffer;
	int64_t shape[K_MAX_RANK + 1], rank = 0, count = 1;
	if (tensor->place.members || tensor->is_stack)
		shape[rank++] = tensor->place.members ? tensor->place.members : tensor->stack;
	for (uint32_t i = 0; i < buffer->rank; i++) {
		kexpr_is_const(buffer->extent[i], &shape[rank]);
		count *= shape[rank++];
	}
	return (CmprtOutput){
		.name = value_fill(plan->p, names_of(plan, tensor, &tensor->links.at[saved->link]), saved->title),
		.container_dtype = container_dtype(plan, buffer->store),
		.container_code = container_code(plan, buffer->store),
		.rank = rank,
		.shape = plan_ints(plan, shape, rank),
		.bytes = tensor->stack * count * store_bytes(buffer->store)};
}

/* ---- metadata ---- */

/* What passes read: d.samples, d.longest, d.tokens, d.file. */
static const Scope *data_facts(Plan *plan, Loc loc)
{
	Scope *scope = scope_new(plan->c, plan->model_facts);
	if (!plan->data)
		return scope;
	const char *name = plan->data_decl->name;
	const struct {
		const char *fact;
		int64_t value;
	} facts[] = {{"samples", plan->data_extent.samples}, {"longest", plan->data_extent.longest},
		{"tokens", plan->data_extent.tokens}};
	for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
		scope_bind(plan->c, scope, name_of(plan->c, arena_printf(plan->c->arena, "%s.%s", name, facts[i].fact)),
			value_int(loc, facts[i].value));
	scope_bind(plan->c, scope, name_of(plan->c, arena_printf(plan->c->arena, "%s.file", name)),
		value_string(plan->data_decl->node->loc, plan->data_decl->node->text));
	return scope;
}

/* As containers call it; NULL: it has none. */
static const char *type_of(const Value *value)
{
	switch (value->kind) {
	case VALUE_STRING:
		return "string";
	case VALUE_BOOL:
		return "bool";
	case VALUE_REAL:
		return *value->dimension ? NULL : "f32";
	case VALUE_INT:
		return value->integer < 0            ? value->integer < INT32_MIN ? "i64" : "i32"
			   : value->integer > UINT32_MAX ? "u64"
											 : "u32";
	default:
		return NULL;
	}
}

/* One type for all of a list: strings, or numbers of four bytes. NULL: they have none. */
static const char *type_of_list(Plan *plan, const Value *list)
{
	const char *type = list->count ? type_of(&list->items[0]) : NULL;
	for (size_t i = 1; type && i < list->count; i++) {
		const char *own = type_of(&list->items[i]);
		if (!own || strcmp(own, type) != 0)
			return NULL;
	}
	bool is_right =
		type && (!strcmp(type, "string") || !strcmp(type, "u32") || !strcmp(type, "i32") || !strcmp(type, "f32"));
	return is_right ? arena_printf(plan->c->arena, "[%s]", type) : NULL;
}

static const char *json_of_list(Plan *plan, const Value *list)
{
	json_t *array = json_array();
	for (size_t i = 0; i < list->count; i++) {
		const Value *item = &list->items[i];
		json_array_append_new(array, item->kind == VALUE_STRING ? json_string(item->text)
									 : item->kind == VALUE_INT  ? json_integer(item->integer)
																: json_real(item->real));
	}
	char *text = json_dumps(array, JSON_COMPACT);
	const char *copy = text ? arena_printf(plan->c->arena, "%s", text) : NULL;
	free(text);
	json_decref(array);
	return copy;
}

static bool add_property(Plan *plan, const Scope *facts, const char *key, const Node *prop, MetaVec *to)
{
	Value value = value_eval(plan->p, facts, prop->kids[0]);
	bool is_list = value.kind == VALUE_LIST;
	if (value.kind == VALUE_ERROR || value.kind == VALUE_NONE)
		return value.kind == VALUE_NONE;
	Text text = {.arena = plan->c->arena};
	CmprtMeta meta = {.key = key, .type = is_list ? type_of_list(plan, &value) : type_of(&value)};
	value_print(&value, &text);
	meta.value = is_list && meta.type ? json_of_list(plan, &value) : text.at ? text.at : "";
	if (!meta.type || !meta.value) {
		diag_error(plan->c, prop->kids[0]->loc,
			"\"%s\" of a result is a string, a number, true, false, or a list of one of "
			"the first two, not %s",
			key, text.at ? text.at : "nothing");
		return false;
	}
	vec_push(plan->c->arena, to, meta);
	return true;
}

/* general { type "x" } is "general.type". */
static bool add_properties(Plan *plan, const Scope *facts, const char *prefix, const Node *node, MetaVec *to)
{
	bool ok = true;
	for (uint32_t i = 0; i < node->kid_count; i++) {
		const Node *prop = node->kids[i];
		const char *key = *prefix ? arena_printf(plan->c->arena, "%s.%s", prefix, prop->name) : prop->name;
		ok &= prop->flag ? add_properties(plan, facts, key, prop, to) : add_property(plan, facts, key, prop, to);
	}
	return ok;
}

bool saved_metadata(Plan *plan, MetaVec *to)
{
	return !plan->save || add_properties(plan, data_facts(plan, plan->save->loc), "", plan->save, to);
}
