/* SPDX-License-Identifier: MIT
 *
 * net_program.c: the parts of a fitted net as kernels, and the calls that the runtime
 * makes. A part leaves those arrays that later parts name; layers whose weights have
 * the same types and shapes share a kernel.
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
	const NetWeight *weight = net_weight(net, line, net->instances.at[net->instance].number);
	if (!weight)
		weight = net_weight(net, line, -1);
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

static bool is_of_rows(const NetKernel *built, size_t output)
{
	for (size_t i = 0; i < built->rows.count; i++)
		if (built->rows.at[i].output == output)
			return true;
	return false;
}

static void remember_states(Net *net, const NetKernel *built)
{
	for (size_t i = 0; i < built->outputs.count; i++)
		if (!is_of_rows(built, i) && !is_state(net, built->outputs.at[i].name))
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

static const NetWeight *weight_of(const Net *net, const NetCall *call, const NetArray *array)
{
	const NetWeight *weight = net_weight(net, array->line, net->instances.at[call->instance].number);
	return weight ? weight : net_weight(net, array->line, -1);
}

const NetWeight *net_call_weight(const Net *net, const NetCall *call, size_t input)
{
	const NetArray *array = &net->kernels.at[call->kernel].built.inputs.at[input];
	return array->source == NET_WEIGHT ? weight_of(net, call, array) : NULL;
}

/* NULL: the call reads what a job made of it. */
static const StoredTensor *member_read(const NetCall *call, const NetWeight *weight, const NetMember *member)
{
	return reads_new(weight, call->instance, call->is_behind) ? NULL : member->file;
}

static bool add_decoders(Net *net, const NetCall *call, const ScheduleOptions *options)
{
	const NetArrayVec *inputs = &net->kernels.at[call->kernel].built.inputs;
	for (size_t i = 0; i < inputs->count; i++) {
		const NetWeight *weight = net_call_weight(net, call, i);
		for (size_t m = 0; weight && m < weight->members.count; m++) {
			const StoredTensor *read = member_read(call, weight, &weight->members.at[m]);
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

/* ---- how many tokens the net knows ---- */

/* A subscript that is a token is kept inside its axis: min(max(tokens[t], 0), last). */
static bool is_token(const KExpr *e, const KBuffer *tokens, int64_t *last)
{
	return e->op == OP_MIN && e->args[0]->op == OP_MAX && e->args[0]->args[0]->op == OP_LOAD &&
		   e->args[0]->args[0]->buffer == tokens && kexpr_is_const(e->args[1], last);
}

static void limit_tokens(const KExpr *e, const KBuffer *tokens, int64_t *most)
{
	int64_t last;
	if (!e || !e->loads)
		return;
	for (uint32_t i = 0; e->op == OP_LOAD && i < e->buffer->rank; i++) {
		if (is_token(e->subs[i], tokens, &last) && (!*most || last + 1 < *most))
			*most = last + 1;
		limit_tokens(e->subs[i], tokens, most);
	}
	for (int i = 0; i < 3 && e->args[i]; i++)
		limit_tokens(e->args[i], tokens, most);
}

static void limit_in_steps(const KStepVec *steps, const KBuffer *tokens, int64_t *most)
{
	for (size_t i = 0; i < steps->count; i++) {
		limit_tokens(steps->at[i]->value, tokens, most);
		limit_in_steps(&steps->at[i]->body, tokens, most);
	}
}

/* The shortest axis that tokens are places of; 0: there is none. */
static int64_t vocabulary_of(const Net *net)
{
	int64_t most = 0;
	for (size_t i = 0; i < net->kernels.count; i++) {
		const NetKernel *built = &net->kernels.at[i].built;
		for (size_t k = 0; k < built->inputs.count; k++)
			if (built->inputs.at[k].source == NET_GIVEN)
				limit_in_steps(&built->kernel->steps, built->inputs.at[k].buffer, &most);
	}
	return most;
}

/* ---- tables ---- */

static int64_t buffer_bytes(const KBuffer *buffer, int64_t rows)
{
	int64_t bytes = store_bytes(buffer->store), extent;
	for (uint32_t i = 0; i < buffer->rank; i++)
		bytes *= kexpr_is_const(buffer->extent[i], &extent) ? extent : rows;
	return bytes;
}

static CmprtState state_of(const Net *net, const NetArray *array, bool is_passing)
{
	int64_t *shape = arena_array(net->c->arena, int64_t, array->rank + 1);
	memcpy(shape, array->shape, sizeof *shape * array->rank);
	bool is_real = store_type(array->store) >= T_F32;
	CmprtState state = {.name = array->name,
		.dtype = arena_printf(net->c->arena, "<%c%u", is_real ? 'f' : 'i', store_bytes(array->store)),
		.rank = array->rank,
		.shape = shape,
		.bytes = store_bytes(array->store),
		.given = -1};
	for (uint32_t i = 0; i < array->rank; i++)
		state.bytes *= array->shape[i];
	state.is_passing = is_passing;
	state.is_ragged = array->rank > 0 && array->is_ragged[0];
	for (uint32_t i = 1; i < array->rank; i++)
		state.is_padded |= array->is_ragged[i];
	if (array->source == NET_GIVEN)
		state.given = given_find(array->line->kids[2]->text);
	return state;
}

typedef VEC(CmprtState) StateVec;

/* Rows that meet weights are of one call: another that calls them the same may have other shapes. */
static int64_t state_number(const Net *net, StateVec *states, const NetArray *array, bool is_passing)
{
	CmprtState state = state_of(net, array, is_passing);
	for (size_t i = 0; i < states->count && !is_passing; i++)
		if (!strcmp(states->at[i].name, array->name) && states->at[i].given == state.given)
			return (int64_t)i;
	vec_push(net->c->arena, states, state);
	return (int64_t)states->count - 1;
}

const int64_t *net_work_bytes(const Net *net, const Kernel *kernel, int64_t rows, int64_t *count)
{
	VEC(int64_t) work = {0};
	for (size_t i = 0; i < kernel->buffers.count; i++)
		if (kernel->buffers.at[i]->kind == BUFFER_TEMP && !kernel->buffers.at[i]->scope)
			vec_push(net->c->arena, &work, buffer_bytes(kernel->buffers.at[i], rows));
	*count = (int64_t)work.count;
	return work.at;
}

static CmprtStatistic make_statistic(const Net *net, const NetKernel *built, const NetStatistic *from)
{
	const KReduce fold = from->statistic.fold;
	KHeap heap = kernel_heap(from->kernel, net->longest);
	CmprtStatistic out = {.call_heap_bytes = heap.call,
		.thread_heap_bytes = heap.thread,
		.scratch_bytes = (int64_t)from->kernel->scratch_bytes,
		.left = (int64_t)built->rows.at[from->rows].output,
		.value = from->value,
		.elements = 1,
		.is_real = store_type(from->statistic.store) >= T_F32,
		.fold = fold == REDUCE_MAX   ? CMPRT_FOLD_MAX
				: fold == REDUCE_MIN ? CMPRT_FOLD_MIN
									 : CMPRT_FOLD_SUM};
	for (uint32_t i = 0; i < from->statistic.rank; i++)
		out.elements *= from->statistic.shape[i];
	out.work_bytes = net_work_bytes(net, from->kernel, 1, &out.work_count);
	return out;
}

static CmprtOperand make_operand(const Net *net, const NetCall *call, const NetArray *array, StateVec *states)
{
	if (array->source != NET_WEIGHT)
		return (CmprtOperand){.state = state_number(net, states, array, false)};
	const NetWeight *weight = weight_of(net, call, array);
	int64_t count = (int64_t)weight->members.count;
	CmprtPiece *pieces = arena_array(net->c->arena, CmprtPiece, count);
	for (int64_t i = 0; i < count; i++) {
		const StoredTensor *read = member_read(call, weight, &weight->members.at[i]);
		pieces[i] = (CmprtPiece){.tensor = -1, .bytes = buffer_bytes(array->buffer, 1) / count};
		if (!read) {
			pieces[i].value = weight->members.at[i].value;
		} else if (read->form) {
			CmprtDecode *decode = arena_new_of(net->c->arena, CmprtDecode);
			*decode = net_decode_table(net, read);
			pieces[i].decode_count = 1;
			pieces[i].decodes = decode;
		} else {
			pieces[i].tensor = net->first_input + (read->parts[0] - net->checkpoint->tensors);
		}
	}
	return (CmprtOperand){.state = -1, .piece_count = count, .pieces = pieces};
}

static CmprtCall make_call(const Net *net, const NetCall *call, StateVec *states)
{
	const NetInstance *instance = &net->instances.at[call->instance];
	const NetKernel *built = &net->kernels.at[call->kernel].built;
	CmprtOperand *operands = arena_array(net->c->arena, CmprtOperand, built->inputs.count + 1);
	CmprtStatistic *statistics = arena_array(net->c->arena, CmprtStatistic, call->statistics.count + 1);
	int64_t *left = arena_array(net->c->arena, int64_t, built->outputs.count + 1);
	for (size_t i = 0; i < built->inputs.count; i++)
		operands[i] = make_operand(net, call, &built->inputs.at[i], states);
	for (size_t i = 0; i < built->outputs.count; i++)
		left[i] = state_number(net, states, &built->outputs.at[i], is_of_rows(built, i));
	for (size_t i = 0; i < call->statistics.count; i++)
		statistics[i] = make_statistic(net, built, &call->statistics.at[i]);
	const char *label =
		instance->layer ? arena_printf(net->c->arena, "layer %lld", (long long)instance->number) : net->node->name;
	KHeap heap = kernel_heap(built->kernel, net->longest);
	CmprtCall out = {.label = label,
		.call_heap_bytes = heap.call,
		.thread_heap_bytes = heap.thread,
		.scratch_bytes = (int64_t)built->kernel->scratch_bytes,
		.operand_count = (int64_t)built->inputs.count,
		.operands = operands,
		.left_count = (int64_t)built->outputs.count,
		.left = left,
		.statistic_count = (int64_t)call->statistics.count,
		.statistics = statistics,
		.made_count = (int64_t)call->made.count,
		.made = call->made.at,
		.decide_count = (int64_t)call->decides.count,
		.decides = call->decides.at,
		.asked_count = (int64_t)call->asked.count,
		.asked = call->asked.at};
	out.work_bytes = net_work_bytes(net, built->kernel, 1, &out.work_count);
	return out;
}

void net_kernels(const Net *net, KernelVec *to)
{
	for (size_t i = 0; i < net->kernels.count; i++)
		vec_push(net->c->arena, to, net->kernels.at[i].built.kernel);
	for (size_t i = 0; i < net->decoders.count; i++)
		vec_push(net->c->arena, to, net->decoders.at[i].kernel);
}

/* In the order of the tables. */
static void names_of_call(const Net *net, const NetCall *call, NameVec *to)
{
	const NetArrayVec *inputs = &net->kernels.at[call->kernel].built.inputs;
	vec_push(net->c->arena, to, net->kernels.at[call->kernel].built.kernel->name);
	for (size_t i = 0; i < inputs->count; i++) {
		const NetWeight *weight = net_call_weight(net, call, i);
		for (size_t m = 0; weight && m < weight->members.count; m++) {
			const StoredTensor *read = member_read(call, weight, &weight->members.at[m]);
			if (read && net_decoder(net, read))
				vec_push(net->c->arena, to, net_decoder(net, read)->name);
		}
	}
	for (size_t i = 0; i < call->statistics.count; i++)
		vec_push(net->c->arena, to, call->statistics.at[i].kernel->name);
}

void net_kernel_names(const Net *net, NameVec *to)
{
	for (size_t i = 0; i < net->calls.count; i++)
		names_of_call(net, &net->calls.at[i], to);
}

/* Of the state, counted from 1 on; 0: there is none. */
static int64_t find_made(const StateVec *states, Name name)
{
	for (size_t i = 0; i < states->count; i++)
		if (name && !strcmp(states->at[i].name, name) && states->at[i].given < 0)
			return (int64_t)i + 1;
	return 0;
}

static bool leaves(const CmprtCall *call, int64_t state)
{
	for (int64_t i = 0; i < call->left_count; i++)
		if (call->left[i] == state)
			return true;
	return false;
}

CmprtNet net_tables(const Net *net, const CmprtData *data, Name result, Name logits)
{
	StateVec states = {0};
	CmprtCall *calls = arena_array(net->c->arena, CmprtCall, net->calls.count + 1);
	CmprtNet out = {.name = net->node->name, .data_count = 1, .data = data, .longest = net->longest};
	for (size_t i = 0; i < net->calls.count; i++)
		calls[i] = make_call(net, &net->calls.at[i], &states);
	out.vocabulary = vocabulary_of(net);
	out.call_count = (int64_t)net->calls.count;
	out.calls = calls;
	out.state_count = (int64_t)states.count;
	out.states = states.at;
	out.result = find_made(&states, result) - 1;
	out.logits = find_made(&states, logits);
	if (out.logits && out.call_count && leaves(&calls[out.call_count - 1], out.logits - 1))
		states.at[out.logits - 1].is_passing = true;
	return out;
}
