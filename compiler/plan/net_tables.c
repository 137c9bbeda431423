/* SPDX-License-Identifier: MIT
 *
 * net_tables.c: the calls of a net, whose kernels are built, as the tables that the
 * runtime runs (program.def): states, what each call reads and leaves, work buffers,
 * statistics, and how many tokens the net knows.
 */
#include "net.h"

#include "samples.h"

#include <string.h>

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

/* ---- states, operands, calls ---- */

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

static CmprtOperand make_operand(const Net *net, const NetCall *call, size_t input, StateVec *states)
{
	const NetArray *array = &net->kernels.at[call->kernel].built.inputs.at[input];
	const NetWeight *weight = net_call_weight(net, call, input);
	if (!weight)
		return (CmprtOperand){.state = state_number(net, states, array, false)};
	int64_t count = (int64_t)weight->members.count;
	CmprtPiece *pieces = arena_array(net->c->arena, CmprtPiece, count);
	for (int64_t i = 0; i < count; i++) {
		const StoredTensor *read = net_member_read(call, weight, &weight->members.at[i]);
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
		operands[i] = make_operand(net, call, i, states);
	for (size_t i = 0; i < built->outputs.count; i++)
		left[i] = state_number(net, states, &built->outputs.at[i], net_is_of_rows(built, i));
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
			const StoredTensor *read = net_member_read(call, weight, &weight->members.at[m]);
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
