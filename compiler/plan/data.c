/* SPDX-License-Identifier: MIT
 *
 * data.c: what passes that ask for input(w) need before their kernels are built: the
 * data set that they name, opened to count its samples, and the model's net fitted to
 * the checkpoint; and which other tensors the net must see as they will be written. On
 * entry every tensor has its links.
 */
#include "net.h"
#include "samples.h"

#include <string.h>

static Value property(Program *p, const Decl *data, const char *name)
{
	const Node *prop = node_prop(data->node, name_of(p->c, name));
	return prop ? value_eval(p, NULL, prop->kids[0]) : (Value){0};
}

static int64_t property_number(Program *p, const Decl *data, const char *name, int64_t otherwise)
{
	Value value = property(p, data, name);
	return value.kind == VALUE_INT ? value.integer : otherwise;
}

static CmprtData data_table(Program *p, const Decl *data)
{
	Value tokenizer = property(p, data, "tokenizer"), per = property(p, data, "per");
	Value labels = property(p, data, "labels");
	Value between = property(p, data, "between");
	return (CmprtData){.name = data->name,
		.path = path_beside(p->c, data->node->loc, data->node->text),
		.text = data->node->op ? text_kind_find(data->node->op) : -1,
		.between = between.kind == VALUE_STRING ? between.text : "\n",
		.window = property_number(p, data, "window", 0),
		.samples = property_number(p, data, "samples", 0),
		.seed = property_number(p, data, "seed", -1),
		.per_line = per.kind == VALUE_WORD && !strcmp(per.text, "line"),
		.tokenizer = tokenizer.kind == VALUE_STRING ? path_beside(p->c, data->node->loc, tokenizer.text) : "",
		.labels = labels.kind == VALUE_STRING ? path_beside(p->c, data->node->loc, labels.text) : ""};
}

/* The same data may be opened for passes and for metrics. */
static bool is_warned(const Compiler *c, Loc loc)
{
	for (size_t i = 0; i < c->diags.count; i++) {
		const Diag *diag = &c->diags.at[i];
		if (diag->kind == DIAG_WARNING && diag->has_loc && diag->loc.file == loc.file && diag->loc.begin == loc.begin)
			return true;
	}
	return false;
}

/* Samples that are fewer than was asked for, or longer than the model was made for. */
static void warn_samples(
	Program *p, const Decl *decl, const Scope *facts, const CmprtData *data, const Samples *samples)
{
	const Node *window = node_prop(decl->node, name_of(p->c, "window"));
	const Node *asked = node_prop(decl->node, name_of(p->c, "samples"));
	int64_t context = config_context(p->c, facts);
	Loc loc = window ? window->loc : decl->node->loc;
	if (!samples->extents[0] && context && samples->longest > context && !is_warned(p->c, loc))
		diag_warning(p->c, loc,
			"samples of data %s have up to %lld tokens, but the model was made to read %lld at once: what it does with "
			"those beyond says little",
			decl->name, (long long)samples->longest, (long long)context);
	if (asked && samples->count < data->samples && !is_warned(p->c, asked->loc))
		diag_warning(p->c, asked->loc, "data %s has only %lld of the %lld samples that are asked for", decl->name,
			(long long)samples->count, (long long)data->samples);
}

bool data_open(Program *p, const Decl *decl, const Checkpoint *model, const Scope *facts, CmprtData *data,
	DataExtent *extent)
{
	CmprtError error;
	Samples samples;
	*data = data_table(p, decl);
	if (!samples_open(data, model, &samples, &error)) {
		diag_error(p->c, decl->node->loc, "%s", error.text);
		return false;
	}
	*extent = (DataExtent){samples.count, samples.longest, samples.token_count};
	data->channels = samples.extents[0];
	data->height = samples.extents[1];
	data->width = samples.extents[2];
	warn_samples(p, decl, facts, data, &samples);
	samples_close(&samples);
	if (extent->longest <= INT32_MAX / 2)
		return true;
	diag_error(p->c, decl->node->loc, "a sample of %lld tokens is too long for any net", (long long)extent->longest);
	diag_help(p->c, "cut the samples: data %s from \"%s\" { window 2048 }", decl->name, decl->node->text);
	return false;
}

/* The first parameter that is a data set, and its argument; NULL: there is none. */
static const Node *data_parameter(const PlanLink *link, Value *value)
{
	const Node *params = decl_params(link->statement->pass);
	for (uint32_t i = 0; i < params->kid_count; i++) {
		const Node *type = params->kids[i]->kids[1];
		if (type && !strcmp(type->name, "dataset") && scope_find(link->arguments, params->kids[i]->name, value))
			return params->kids[i];
	}
	return NULL;
}

/* A pass that may do without data asks for nothing if it gets none. */
static bool link_asks_input(const PlanLink *link)
{
	Value value;
	if (link->part > FOLD_MEMBER)
		return false;
	const Node *param = link->statement->facts.asks_input ? data_parameter(link, &value) : NULL;
	bool may_be_none = param && param->kids[2] && value.kind == VALUE_NONE;
	return link->statement->facts.asks_input && !may_be_none;
}

bool tensor_asks_input(const PlanTensor *tensor)
{
	for (size_t i = 0; i < tensor->links.count; i++)
		if (link_asks_input(&tensor->links.at[i]))
			return true;
	return false;
}

/* The data set that a link's arguments name; NULL: reported. */
static const Decl *data_of_link(Plan *plan, const PlanLink *link)
{
	Value value;
	const Node *param = data_parameter(link, &value);
	if (param) {
		const Decl *data =
			value.kind == VALUE_WORD ? program_find(plan->p, DECL_DATA, name_of(plan->c, value.text)) : NULL;
		if (!data)
			diag_error(plan->c, link->statement->loc, "pass %s needs data: %s: NAME of a `data` declaration",
				link->statement->pass->name, param->name);
		return data;
	}
	diag_error(plan->c, link->statement->pass->node->loc,
		"pass %s asks for input(..) of no data: give it a parameter `data: dataset`", link->statement->pass->name);
	return NULL;
}

static bool find_data(Plan *plan, const PlanTensor *tensor, const Decl **data, const Statement **first)
{
	for (size_t i = 0; i < tensor->links.count; i++) {
		const Statement *statement = tensor->links.at[i].statement;
		if (!link_asks_input(&tensor->links.at[i]))
			continue;
		const Decl *own = data_of_link(plan, &tensor->links.at[i]);
		if (!own)
			return false;
		if (*data && own != *data) {
			diag_error(plan->c, statement->loc, "a pipeline reads one data set: this asks for \"%s\"", own->name);
			diag_note(plan->c, (*first)->loc, "this for \"%s\"", (*data)->name);
			return false;
		}
		*data = own;
		*first = statement;
	}
	if (tensor->file->rank == 2 || tensor->is_kernel || tensor->is_stack)
		return true;
	diag_error(plan->c, tensor->links.at[0].statement->loc, "\"%s\" is no matrix: input(..) of it is not supported yet",
		tensor->file->name);
	return false;
}

/* The part in which the input of the tensor is asked for; -1: reported. */
static int64_t part_asked(Plan *plan, const PlanTensor *tensor)
{
	NetReader reader = net_reader(plan->net, tensor->file);
	if (reader.count && reader.products < 2)
		return (int64_t)(reader.products ? reader.product : reader.last);
	diag_error(plan->c, tensor->links.at[0].statement->loc,
		reader.count ? "several parts of net %s read \"%s\": which rows are its input is not clear"
					 : "net %s does not read \"%s\": nothing is known of its input",
		plan->net->node->name, tensor->file->name);
	return -1;
}

void net_add_asks(Compiler *c, const NetReader *reader, const PlanTensor *tensor, NetAskVec *asks)
{
	const NetWeight *weight = reader->weight;
	int64_t member = weight->is_stack ? reader->member - weight->members.at : -1;
	for (int64_t i = 0; i < tensor->stack; i++)
		vec_push(c->arena, asks,
			((NetAsk){node_array(weight->line->kids[0])->name, !tensor->is_transposed, tensor->is_stack ? i : member}));
}

/* How many rows of an image meet each tensor: the net's parts, as they will be, know. */
static bool find_sample_rows(Plan *plan)
{
	size_t count = plan->net->instances.count;
	NetAskVec *asks = arena_array(plan->c->arena, NetAskVec, count);
	NetKernel *traced = arena_array(plan->c->arena, NetKernel, count);
	memset(asks, 0, sizeof *asks * count);
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		NetReader reader = net_reader(plan->net, tensor->file);
		if (tensor_asks_input(tensor))
			net_add_asks(plan->c, &reader, tensor, &asks[part_asked(plan, tensor)]);
	}
	if (!net_trace(plan->net, asks, traced))
		return false;
	size_t *ask = arena_array(plan->c->arena, size_t, count);
	memset(ask, 0, sizeof *ask * count);
	for (size_t i = 0; i < plan->tensors.count; i++) {
		PlanTensor *tensor = &plan->tensors.at[i];
		if (!tensor_asks_input(tensor))
			continue;
		size_t part = (size_t)part_asked(plan, tensor);
		const NetKernel *built = &traced[part];
		tensor->sample_rows = built->outputs.at[built->rows.at[built->asked.at[ask[part]]].output].shape[0];
		ask[part] += (size_t)tensor->stack;
		if (tensor->sample_rows <= INT32_MAX / plan->input_rows)
			continue;
		diag_error(plan->c, tensor->links.at[0].statement->loc,
			"\"%s\" meets %lld rows of each of %lld images: too many", tensor->file->name,
			(long long)tensor->sample_rows, (long long)plan->input_rows);
		diag_help(plan->c, "take fewer: data %s from \"..\" { samples 1000 }", plan->data->name);
		return false;
	}
	return true;
}

static bool find_last_part(Plan *plan)
{
	for (size_t i = 0; i < plan->tensors.count; i++) {
		int64_t part = tensor_asks_input(&plan->tensors.at[i]) ? part_asked(plan, &plan->tensors.at[i]) : 0;
		if (part < 0)
			return false;
		plan->last_part = (size_t)part > plan->last_part ? (size_t)part : plan->last_part;
	}
	return true;
}

/* Parts that come after a tensor see what becomes of it, whether or not it asked for its input. */
static bool find_seen(Plan *plan)
{
	for (size_t i = 0; i < plan->tensors.count && !plan->is_one_shot; i++) {
		PlanTensor *tensor = &plan->tensors.at[i];
		bool is_in_tuple = tensor->family != SIZE_MAX;
		if (tensor_asks_input(tensor) || (!tensor->links.count && !is_in_tuple))
			continue;
		NetReader reader = net_reader(plan->net, tensor->file);
		tensor->is_seen = reader.count && reader.first < plan->last_part;
		if (!tensor->is_seen || !is_in_tuple)
			continue;
		const Statement *statement = plan->families.at[tensor->family].statement;
		diag_error(plan->c, statement->loc,
			"net %s cannot read what becomes of \"%s\" in a tuple, while other passes "
			"ask for the input of what comes after it",
			plan->net->node->name, tensor->file->name);
		diag_help(
			plan->c, "let it read the original throughout: data %s from \"..\" { one_shot true }", plan->data->name);
		return false;
	}
	return true;
}

bool tensor_leaves_values(const Plan *plan, const PlanTensor *tensor)
{
	return !plan->is_one_shot && (tensor->is_seen || tensor_asks_input(tensor) || tensor_is_folded(tensor));
}

bool plan_data(Plan *plan)
{
	const Decl *data = NULL;
	const Statement *first = NULL;
	for (size_t i = 0; i < plan->tensors.count; i++)
		if (tensor_asks_input(&plan->tensors.at[i]) && !find_data(plan, &plan->tensors.at[i], &data, &first))
			return false;
	if (!data)
		return true;
	plan->data_decl = data;
	plan->data = arena_new_of(plan->c->arena, CmprtData);
	if (!data_open(plan->p, data, plan->checkpoint, plan->model_facts, plan->data, &plan->data_extent))
		return false;
	plan->input_rows = plan->data_extent.tokens;
	const Decl *net = net_of_model(plan->p, plan->model, plan->checkpoint, plan->model_facts);
	plan->net = net ? net_fit(plan->p, net, plan->checkpoint, plan->model_path, plan->model_facts, plan->data,
						  plan->data_extent.longest)
					: NULL;
	Value one_shot = property(plan->p, data, "one_shot");
	plan->is_one_shot = plan->saves_arrays || (one_shot.kind == VALUE_BOOL && one_shot.is_true);
	return plan->net && find_last_part(plan) && find_seen(plan) && (!plan->data->channels || find_sample_rows(plan));
}
