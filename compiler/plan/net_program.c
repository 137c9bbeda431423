/* SPDX-License-Identifier: MIT
 *
 * net_program.c: the parts of a fitted net as kernels, and the calls of them. A part
 * leaves those arrays that later parts name; layers whose weights have the same types
 * and shapes share a kernel.
 */
#include "net.h"

#include "samples.h"

#include <string.h>

/* ---- what is handed on ---- */

/* Do the lines of an instance that comes after `from` name it? */
static bool is_wanted(const Net *net, size_t from, Name name)
{
	for (size_t i = from + 1; i < net->instances.count; i++) {
		const NetInstance *instance = &net->instances.at[i];
		if (instance->layer && node_mentions(instance->layer->kids[1], name))
			return true;
		for (uint32_t k = instance->first; !instance->layer && k < instance->end; k++)
			if (node_mentions(net->node->kids[0]->kids[k], name))
				return true;
	}
	return false;
}

static void add_name(Net *net, NameVec *names, Name name)
{
	for (size_t i = 0; i < names->count; i++)
		if (names->at[i] == name)
			return;
	vec_push(net->c->arena, names, name);
}

/* Names that the lines give a value: of layers only those of the net itself. */
static void collect_left(Net *net, const Node *node, NodeKind kind, NameVec *to)
{
	if (node->kind == kind) {
		const Node *left = node->kids[0];
		for (uint32_t i = 0; left->kind == N_TUPLE && i < left->kid_count; i++)
			add_name(net, to, node_array(left->kids[i])->name);
		if (left->kind != N_TUPLE)
			add_name(net, to, node_array(left)->name);
	}
	for (uint32_t i = 0; (node->kind == N_BODY || node->kind == N_WHEN || node->kind == N_FOR) && i < node->kid_count;
		 i++)
		if (node->kids[i])
			collect_left(net, node->kids[i], kind, to);
}

static bool is_given(const Node *body, Name name)
{
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *line = body->kids[i];
		if (node_is_given(line) && node_array(line->kids[0])->name == name)
			return true;
	}
	return false;
}

static bool is_state(const Net *net, Name name)
{
	for (size_t i = 0; i < net->states.count; i++)
		if (net->states.at[i].name == name)
			return true;
	return false;
}

static bool is_named(const NameVec *names, Name name)
{
	for (size_t i = 0; names && i < names->count; i++)
		if (names->at[i] == name)
			return true;
	return false;
}

/* What the instance may leave, wanted or not. */
static NameVec names_made(Net *net, size_t number)
{
	const NetInstance *instance = &net->instances.at[number];
	NameVec all = {0}, out = {0};
	if (instance->layer)
		collect_left(net, instance->layer->kids[1], N_UPDATE, &all);
	for (uint32_t i = instance->first; !instance->layer && i < instance->end; i++) {
		collect_left(net, net->node->kids[0]->kids[i], N_DEFINE, &all);
		collect_left(net, net->node->kids[0]->kids[i], N_UPDATE, &all);
	}
	for (size_t i = 0; i < all.count; i++) {
		Name name = all.at[i];
		bool is_own = instance->layer ? is_state(net, name)
									  : !is_given(net->node->kids[0], name) && !net_is_derived(net->node, name);
		if (is_own)
			vec_push(net->c->arena, &out, name);
	}
	return out;
}

static NameVec names_left(Net *net, size_t number, const NameVec *results)
{
	NameVec all = names_made(net, number), out = {0};
	for (size_t i = 0; i < all.count; i++)
		if (is_named(results, all.at[i]) || is_wanted(net, number, all.at[i]))
			vec_push(net->c->arena, &out, all.at[i]);
	return out;
}

bool net_makes(Net *net, Name name)
{
	for (size_t i = 0; i < net->instances.count; i++) {
		NameVec all = names_made(net, i);
		if (is_named(&all, name))
			return true;
	}
	return false;
}

/* ---- kernels ---- */

/* Does the part read what jobs have made of the weight? is_behind: those of its own too */
static bool reads_new(const NetWeight *weight, size_t instance, bool is_behind)
{
	return net_weight_is_new(weight) && (is_behind || instance > weight->made_in);
}

/* The layer's own, else that of the whole net. */
static const NetWeight *weight_read(const Net *net, const Node *line, size_t instance)
{
	const NetWeight *weight = net_weight(net, line, net->instances.at[instance].number);
	return weight ? weight : net_weight(net, line, -1);
}

/* NetPart.find */
static bool find_array(void *context, const Node *line, NetArray *array)
{
	const Net *net = context;
	if (array->source == NET_GIVEN) {
		array->store = (Store){STORE_INT, 32};
		array->rank = (uint32_t)given_rank(given_find(line->kids[2]->text));
		array->is_ragged[0] = array->rank == 1;
		for (uint32_t i = 0; i < array->rank; i++)
			array->shape[i] = array->rank == 1 ? net->longest : net->image[i];
		return true;
	}
	const NetWeight *weight = weight_read(net, line, net->instance);
	if (!weight || !weight->file)
		return false;
	bool is_f32 = weight->file->form || reads_new(weight, net->instance, net->is_behind);
	array->store = is_f32 ? store_of_type(T_F32) : weight->file->store;
	array->rank = (uint32_t)weight->file->rank + weight->is_stack;
	array->shape[0] = (int64_t)weight->members.count;
	memcpy(array->shape + weight->is_stack, weight->file->shape, sizeof *array->shape * (size_t)weight->file->rank);
	return true;
}

/* NetPart.report_missing */
static void report_missing(void *context)
{
	net_report_missing(context);
}

/* Kernels differ by the lines, by the types and shapes of the layer's weights, and by what they leave. */
static const char *key_of(const Net *net, const NetInstance *instance, const NameVec *leaves, const NetAskVec *asks)
{
	Text key = {.arena = net->c->arena};
	text_printf(&key, "%u", instance->layer ? instance->layer->loc.begin : instance->first);
	for (size_t i = 0; i < net->weights.count; i++) {
		const NetWeight *weight = &net->weights.at[i];
		bool is_new = reads_new(weight, (size_t)(instance - net->instances.at), net->is_behind);
		if (weight->layer != instance->number && !(is_new && weight->layer < 0))
			continue;
		const StoredTensor *file = weight->file;
		text_printf(&key, "; %zu %s", weight->members.count,
			!file                  ? "none"
			: is_new || file->form ? "made"
								   : file->dtype);
		for (int64_t d = 0; file && d < file->rank; d++)
			text_printf(&key, " %lld", (long long)file->shape[d]);
	}
	for (size_t i = 0; i < leaves->count; i++)
		text_printf(&key, "; leaves %s", leaves->at[i]);
	for (size_t i = 0; asks && i < asks->count; i++)
		text_printf(
			&key, "; rows for %s %u of %lld", asks->at[i].name, asks->at[i].columns, (long long)asks->at[i].member);
	return key.at;
}

bool net_is_of_rows(const NetKernel *built, size_t output)
{
	for (size_t i = 0; i < built->rows.count; i++)
		if (built->rows.at[i].output == output)
			return true;
	return false;
}

static void remember_states(Net *net, const NetKernel *built)
{
	for (size_t i = 0; i < built->outputs.count; i++)
		if (!net_is_of_rows(built, i) && !is_state(net, built->outputs.at[i].name))
			vec_push(net->c->arena, &net->states, built->outputs.at[i]);
}

static bool build_part(Net *net, size_t number, const NameVec *leaves, const NetAskVec *asks, bool wants_folds,
	const ScheduleOptions *options, NetBuilt *made)
{
	const NetInstance *instance = &net->instances.at[number];
	NetPart part = {.name = net->node->name,
		.net = net->node,
		.layer = instance->layer,
		.first = instance->first,
		.end = instance->end,
		.facts = instance->facts,
		.axes = instance->axes,
		.states = net->states,
		.leaves = *leaves,
		.asks = asks ? *asks : (NetAskVec){0},
		.wants_folds = wants_folds,
		.find = find_array,
		.report_missing = report_missing,
		.context = net};
	net->instance = number;
	if (!net_part_build(net->p, &part, &made->built))
		return false;
	if (options)
		kernel_schedule(made->built.kernel, options);
	return true;
}

/* Lines that read the number of their layer may come to the same in several of them. */
static void add_text(Net *net, NetBuilt *made)
{
	Text key = {.arena = net->c->arena};
	text_printf(&key, "%s\n", made->key);
	kernel_print(made->built.kernel, &key);
	made->key = key.at;
}

static size_t find_kernel(const Net *net, const char *key)
{
	size_t i = 0;
	while (i < net->kernels.count && strcmp(net->kernels.at[i].key, key))
		i++;
	return i;
}

const NetWeight *net_call_weight(const Net *net, const NetCall *call, size_t input)
{
	const NetArray *array = &net->kernels.at[call->kernel].built.inputs.at[input];
	return array->source == NET_WEIGHT ? weight_read(net, array->line, call->instance) : NULL;
}

const StoredTensor *net_member_read(const NetCall *call, const NetWeight *weight, const NetMember *member)
{
	return reads_new(weight, call->instance, call->is_behind) ? NULL : member->file;
}

static bool add_decoders(Net *net, const NetCall *call, const ScheduleOptions *options)
{
	const NetArrayVec *inputs = &net->kernels.at[call->kernel].built.inputs;
	for (size_t i = 0; i < inputs->count; i++) {
		const NetWeight *weight = net_call_weight(net, call, i);
		for (size_t m = 0; weight && m < weight->members.count; m++) {
			const StoredTensor *read = net_member_read(call, weight, &weight->members.at[m]);
			if (read && !net_add_decoder(net, read, options))
				return false;
		}
	}
	return true;
}

/* A call of the instance; the kernel is made unless a part like it has one. */
static bool add_call(
	Net *net, size_t number, const NameVec *leaves, const NetAskVec *asks, const ScheduleOptions *options)
{
	const NetInstance *instance = &net->instances.at[number];
	NetBuilt made = {.key = key_of(net, instance, leaves, asks)};
	bool reads_number = instance->layer && node_mentions(instance->layer->kids[1], instance->layer->name);
	if (reads_number) {
		if (!build_part(net, number, leaves, asks, false, options, &made))
			return false;
		add_text(net, &made);
	}
	NetCall call = {.instance = number, .kernel = find_kernel(net, made.key), .is_behind = net->is_behind};
	if (call.kernel == net->kernels.count) {
		if (!reads_number && !build_part(net, number, leaves, asks, false, options, &made))
			return false;
		Kernel *kernel = made.built.kernel;
		kernel->name =
			name_of(net->c, arena_printf(net->c->arena, "%s%s_%zu", net->node->name, net->suffix, call.kernel));
		if (!net_fix_extents(kernel, net->node->loc, net->longest) || !kernel_verify(kernel))
			return false;
		vec_push(net->c->arena, &net->kernels, made);
		remember_states(net, &made.built);
	}
	vec_push(net->c->arena, &net->calls, call);
	return add_decoders(net, &call, options);
}

bool net_hand_on(Net *net, size_t instance, const NameVec *results, const ScheduleOptions *options)
{
	NameVec leaves = names_left(net, instance, results);
	net->is_behind = true;
	/* without: nothing after it needs what it computes */
	return !leaves.count || add_call(net, instance, &leaves, NULL, options);
}

bool net_ask(Net *net, size_t instance, const NetAskVec *asks, bool hands_on, const ScheduleOptions *options)
{
	NameVec leaves = {0};
	if (hands_on)
		leaves = names_left(net, instance, NULL);
	net->is_behind = false;
	return add_call(net, instance, &leaves, asks, options);
}

bool net_trace(Net *net, const NetAskVec *asks, NetKernel *traced)
{
	bool ok = true;
	net->is_behind = false;
	for (size_t i = 0; i < net->instances.count && ok; i++) {
		NetBuilt made = {0};
		NameVec leaves = names_left(net, i, NULL);
		ok = build_part(net, i, &leaves, &asks[i], true, NULL, &made);
		if (ok)
			remember_states(net, &made.built);
		traced[i] = made.built;
	}
	net->states.count = 0;
	return ok;
}

static bool check_made(const Net *net, Name result)
{
	if (is_state(net, result))
		return true;
	if (net_is_derived(net->node, result))
		diag_error(net->c, net->node->loc, "\"%s\" of net %s is computed where it is read: there is no array of it",
			result, net->node->name);
	else
		diag_error(net->c, net->node->loc, "net %s has no array \"%s\"", net->node->name, result);
	return false;
}

bool net_build(Net *net, const NameVec *results, const ScheduleOptions *options)
{
	bool is_good = true;
	for (size_t i = 0; i < net->instances.count; i++)
		if (!net_hand_on(net, i, results, options))
			return false;
	for (size_t i = 0; i < results->count && is_good; i++)
		is_good = check_made(net, results->at[i]);
	return is_good;
}
