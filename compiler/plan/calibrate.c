/* SPDX-License-Identifier: MIT
 *
 * calibrate.c: the network in between the passes. For every part with a weight whose
 * input(w) a pass asks for: a call that leaves the rows that meet such weights, the
 * kernels that fold these into statistics, shared where rows and equations are the
 * same, the jobs that read them, and a call with their new weights for later parts.
 * On entry the tensors' kernels are built.
 */
#include "net.h"

#include <string.h>

/* A tensor and what it is in the net. */
typedef struct Asker {
	PlanTensor *tensor;
	NetWeight *weight;
	NetMember *member; /* of it */
	size_t instance;
} Asker;

typedef struct Calibration {
	Plan *plan;
	Net *net;
	VEC(Asker) askers;
	int64_t first_value;            /* number of the first Value that is ours */
	VEC(int64_t) bytes;             /* of our Values: parts use them in turn */
	size_t taken;                   /* of them, by the part in hand */
	const ScheduleOptions *options; /* NULL: kernels stay flat */
} Calibration;

/* ---- where the weights are read ---- */

/* Does a line other than its own read it? */
static bool lines_read(const Node *body, uint32_t first, uint32_t end, const NetWeight *weight)
{
	for (uint32_t i = first; i < end; i++)
		if (body->kids[i] != weight->line && body->kids[i]->kind != N_LAYER &&
			node_mentions(body->kids[i], node_array(weight->line->kids[0])->name))
			return true;
	return false;
}

static bool instance_reads(const Net *net, const NetInstance *instance, const NetWeight *weight)
{
	if (!instance->layer)
		return weight->layer < 0 && lines_read(net->node->kids[0], instance->first, instance->end, weight);
	const Node *body = instance->layer->kids[1];
	bool is_own = false;
	for (uint32_t i = 0; i < body->kid_count; i++)
		is_own |= body->kids[i] == weight->line;
	return (weight->layer < 0 || (is_own && weight->layer == instance->number)) &&
		   lines_read(body, 0, body->kid_count, weight);
}

static bool find_asker(Calibration *work, PlanTensor *tensor)
{
	Plan *plan = work->plan;
	Asker asker = {.tensor = tensor};
	size_t count = 0;
	for (size_t i = 0; i < work->net->weights.count && !asker.weight; i++)
		for (size_t m = 0; m < work->net->weights.at[i].members.count && !asker.weight; m++)
			if (member_is_of(&work->net->weights.at[i].members.at[m], tensor->file)) {
				asker.weight = &work->net->weights.at[i];
				asker.member = &asker.weight->members.at[m];
			}
	for (size_t i = 0; i < work->net->instances.count && asker.weight; i++)
		if (instance_reads(work->net, &work->net->instances.at[i], asker.weight)) {
			asker.instance = i;
			count++;
		}
	if (count == 1) {
		asker.weight->is_transposed = tensor->is_transposed;
		vec_push(plan->c->arena, &work->askers, asker);
		return true;
	}
	diag_error(plan->c, tensor->links.at[0].statement->loc,
		count ? "several parts of net %s read \"%s\": which rows are its input is not clear"
			  : "net %s does not read \"%s\": nothing is known of its input",
		work->net->node->name, tensor->file->name);
	return false;
}

/* What comes after a part reads a stack all new or all as it was. */
static bool check_stacks(const Calibration *work)
{
	for (size_t i = 0; i < work->askers.count; i++) {
		const NetWeight *weight = work->askers.at[i].weight;
		size_t count = 0;
		for (size_t k = 0; k < work->askers.count; k++)
			count += work->askers.at[k].weight == weight;
		if (count == weight->members.count)
			continue;
		const PlanTensor *tensor = work->askers.at[i].tensor;
		diag_error(work->plan->c, tensor->links.at[0].statement->loc,
			"\"%s\" is one of %zu tensors that net %s reads as one, and input(..) is asked of %zu of them",
			tensor->file->name, weight->members.count, work->net->node->name, count);
		diag_help(work->plan->c, "select all of them, or none");
		return false;
	}
	return true;
}

/* ---- Values ---- */

static int64_t take_value(Calibration *work, int64_t bytes)
{
	if (work->taken == work->bytes.count)
		vec_push(work->plan->c->arena, &work->bytes, 0);
	int64_t *known = &work->bytes.at[work->taken++];
	*known = bytes > *known ? bytes : *known;
	return work->first_value + (int64_t)work->taken - 1;
}

static int64_t statistic_bytes(const Statistic *statistic)
{
	int64_t bytes = store_bytes(statistic->store);
	for (uint32_t i = 0; i < statistic->rank; i++)
		bytes *= statistic->shape[i];
	return bytes;
}

/* ---- kernels of statistics ---- */

/* The one of the plan's kernels that does the same; NULL: none. */
static const Kernel *find_same(const Plan *plan, const char *key)
{
	for (size_t i = 0; i < plan->kernels.count; i++)
		if (!strcmp(plan->kernels.at[i].key, key))
			return plan->kernels.at[i].built.kernel;
	return NULL;
}

static bool add_kernel(Plan *plan, Kernel *kernel, const char *key)
{
	PlanKernel made = {.key = key, .built = {.kernel = kernel}, .is_whole = true, .users = 1};
	vec_push(plan->c->arena, &plan->kernels, made);
	return kernel_verify(kernel);
}

/* The kernel is known by its text: tensors with other passes may ask for the same. */
static const Kernel *statistic_kernel(Calibration *work, const PlanTensor *tensor, size_t number)
{
	Plan *plan = work->plan;
	ChainKernel made;
	Text text = {.arena = plan->c->arena};
	if (!statistic_build(plan, tensor, number, name_of(plan->c, "statistic"), &made))
		return NULL;
	made.kernel->is_whole = true;
	if (work->options)
		kernel_schedule(made.kernel, work->options);
	kernel_print(made.kernel, &text);
	const Kernel *known = find_same(plan, text.at);
	if (known)
		return known;
	made.kernel->name = name_of(plan->c, arena_printf(plan->c->arena, "statistic_%zu", plan->kernels.count));
	if (!net_fix_extents(made.kernel, tensor->links.at[0].statement->loc, work->net->longest))
		return NULL;
	return add_kernel(plan, made.kernel, text.at) ? made.kernel : NULL;
}

/* The Value of a statistic of these rows. */
static int64_t find_statistic(Calibration *work, NetCall *call, size_t rows, const Kernel *kernel, const Statistic *own)
{
	for (size_t i = 0; i < call->statistics.count; i++)
		if (call->statistics.at[i].rows == rows && call->statistics.at[i].kernel == kernel)
			return call->statistics.at[i].value;
	NetStatistic made = {rows, kernel, *own, take_value(work, statistic_bytes(own))};
	vec_push(work->plan->c->arena, &call->statistics, made);
	return made.value;
}

static bool add_statistics(Calibration *work, NetCall *call, PlanTensor *tensor, size_t rows)
{
	const ChainKernel *built = &work->plan->kernels.at[tensor->kernel].built;
	for (size_t i = 0; i < built->statistics.count; i++) {
		const Kernel *kernel = statistic_kernel(work, tensor, i + 1);
		if (!kernel)
			return false;
		vec_push(work->plan->c->arena, &tensor->statistics,
			find_statistic(work, call, rows, kernel, &built->statistics.at[i]));
	}
	return true;
}

/* ---- parts ---- */

static bool take_kernels(Calibration *work, size_t first)
{
	KernelVec kernels = {0};
	net_kernels(work->net, &kernels);
	for (size_t i = first; i < kernels.count; i++)
		if (!add_kernel(work->plan, kernels.at[i], kernels.at[i]->name))
			return false;
	return true;
}

/* The call in front of the part's jobs. is_handed_on: later parts are to read what the original weights make. */
static bool ask_part(Calibration *work, size_t instance, bool is_handed_on)
{
	Net *net = work->net;
	Arena *arena = work->plan->c->arena;
	NetAskVec asks = {0};
	for (size_t i = 0; i < work->askers.count; i++)
		if (work->askers.at[i].instance == instance) {
			const NetWeight *weight = work->askers.at[i].weight;
			int64_t member = weight->is_stack ? work->askers.at[i].member - weight->members.at : -1;
			vec_push(arena, &asks, ((NetAsk){node_array(weight->line->kids[0])->name, !weight->is_transposed, member}));
		}
	if (!net_ask(net, instance, &asks, is_handed_on, work->options))
		return false;
	NetCall *call = &net->calls.at[net->calls.count - 1];
	const NetKernel *built = &net->kernels.at[call->kernel].built;
	work->taken = 0;
	for (size_t i = 0, ask = 0; i < work->askers.count; i++) {
		Asker *asker = &work->askers.at[i];
		if (asker->instance != instance)
			continue;
		if (!add_statistics(work, call, asker->tensor, built->asked.at[ask++]))
			return false;
		if (!work->plan->is_one_shot)
			asker->tensor->values = asker->member->value =
				take_value(work, asker->tensor->rows * asker->tensor->cols * (int64_t)sizeof(float));
		vec_push(arena, &call->jobs, asker->tensor - work->plan->tensors.at);
	}
	return true;
}

bool plan_calibration(Plan *plan)
{
	const ScheduleOptions options = {plan->options->lanes ? plan->options->lanes : 8};
	Calibration work = {
		.plan = plan, .net = plan->net, .first_value = 1, .options = plan->options->checks_only ? NULL : &options};
	ValueVec others = {0};
	size_t last = 0;
	if (!plan->net)
		return true;
	plan_values_before(plan, &others);
	work.first_value += (int64_t)others.count;
	for (size_t i = 0; i < plan->tensors.count; i++)
		if (tensor_asks_input(&plan->tensors.at[i]) && !find_asker(&work, &plan->tensors.at[i]))
			return false;
	if (!check_stacks(&work))
		return false;
	for (size_t i = 0; i < work.askers.count; i++)
		last = work.askers.at[i].instance > last ? work.askers.at[i].instance : last;
	for (size_t i = 0; i <= last; i++) {
		bool is_asked = false;
		for (size_t a = 0; a < work.askers.count; a++)
			is_asked |= work.askers.at[a].instance == i;
		bool is_once = is_asked && plan->is_one_shot;
		if (is_asked && !ask_part(&work, i, is_once && i < last))
			return false;
		if (i < last && !is_once && !net_hand_on(plan->net, i, NULL, work.options))
			return false;
	}
	for (size_t i = 0; i < work.bytes.count; i++)
		vec_push(plan->c->arena, &plan->input_values, work.bytes.at[i]);
	return take_kernels(&work, 0);
}

void calibration_values(const Plan *plan, ValueVec *to)
{
	for (size_t i = 0; i < plan->input_values.count; i++)
		vec_push(plan->c->arena, to, ((CmprtValue){"of the net", plan->input_values.at[i]}));
}

/* Calls name tensors: their jobs are found by what they read. */
void calibration_tables(Plan *plan, CmprtProgram *program)
{
	if (!plan->net)
		return;
	CmprtNet *net = arena_new_of(plan->c->arena, CmprtNet);
	NameVec kernel_names = {0};
	for (size_t i = 0; i < plan->net->calls.count; i++) {
		NetCall *call = &plan->net->calls.at[i];
		for (size_t k = 0; k < call->jobs.count; k++)
			for (int64_t j = 0; j < program->job_count; j++)
				if (program->jobs[j].port_in_count && program->jobs[j].ports_in[0].tensor == call->jobs.at[k]) {
					call->jobs.at[k] = j;
					break;
				}
	}
	*net = net_tables(plan->net, plan->data, NULL);
	net->tokens = plan->input_rows;
	net_kernel_names(plan->net, &kernel_names);
	for (size_t i = 0; i < kernel_names.count; i++)
		vec_push(plan->c->arena, &plan->kernel_names, kernel_names.at[i]);
	program->nets = net;
	program->net_count = 1;
}
