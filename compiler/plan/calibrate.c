/* SPDX-License-Identifier: MIT
 *
 * calibrate.c: the network in between the passes. For every part with a weight whose
 * input(w) a pass asks for: a call that leaves the rows that meet such weights, the
 * kernels that fold these into statistics, shared where rows and equations are the
 * same, the jobs that read them, and a call with their new weights for later parts;
 * before that call the jobs of its other tensors that passes change.
 * On entry the tensors' kernels are built.
 */
#include "net.h"

#include <string.h>

/* A tensor whose new weights the net reads, or whose input is asked for. */
typedef struct Changed {
	PlanTensor *tensor;
	NetReader reader;
	size_t part;    /* in which its jobs are run */
	bool asks;      /* for its input in that part */
	bool is_folded; /* changes with an input in that part */
} Changed;

/* A Value that is of use while a part is run, or several. In the order of the parts. */
typedef struct Wish {
	size_t part;
	bool is_of_several;
	int64_t bytes, number;
} Wish;

typedef struct Calibration {
	Plan *plan;
	Net *net;
	VEC(Changed) changed;
	VEC(Wish) wishes;               /* number i + 1 stands for the Value until number_values */
	const ScheduleOptions *options; /* NULL: kernels stay flat */
} Calibration;

/* ---- where the weights are read ---- */

static void find_changed(Calibration *work)
{
	for (size_t i = 0; i < work->plan->tensors.count; i++) {
		PlanTensor *tensor = &work->plan->tensors.at[i];
		Changed changed = {.tensor = tensor, .asks = tensor_asks_input(tensor), .is_folded = tensor_is_folded(tensor)};
		if (!changed.asks && !changed.is_folded && !tensor->is_seen)
			continue;
		NetReader *reader = &changed.reader;
		*reader = net_reader(work->net, tensor->file);
		changed.part = !changed.asks ? reader->first : reader->products ? reader->product : reader->last;
		reader->weight->is_transposed = tensor->is_transposed;
		vec_push(work->plan->c->arena, &work->changed, changed);
	}
}

/* What comes after a part reads a stack all new or all as it was. */
static bool check_stacks(const Calibration *work)
{
	for (size_t i = 0; i < work->changed.count; i++) {
		const NetWeight *weight = work->changed.at[i].reader.weight;
		size_t count = 0;
		for (size_t k = 0; k < work->changed.count; k++)
			count += work->changed.at[k].reader.weight == weight;
		if (count == weight->members.count)
			continue;
		const PlanTensor *tensor = work->changed.at[i].tensor;
		diag_error(work->plan->c, tensor->links.at[0].statement->loc,
			"\"%s\" is one of %zu tensors that net %s reads as one, and passes change %zu of them", tensor->file->name,
			weight->members.count, work->net->node->name, count);
		diag_help(work->plan->c, "select all of them, or none");
		return false;
	}
	return true;
}

/* ---- Values ---- */

static int64_t wish_value(Calibration *work, size_t part, bool is_of_several, int64_t bytes)
{
	vec_push(work->plan->c->arena, &work->wishes, ((Wish){part, is_of_several, bytes, 0}));
	return (int64_t)work->wishes.count;
}

static int64_t matrix_bytes(const PlanTensor *tensor)
{
	return tensor->stack * tensor->rows * tensor->cols * (int64_t)sizeof(float);
}

/* From here on the weight is what jobs make of it. */
static void make_new(Calibration *work, Changed *changed)
{
	const NetReader *reader = &changed->reader;
	if (work->plan->is_one_shot)
		return;
	changed->tensor->values = reader->member->value =
		wish_value(work, changed->part, reader->last > changed->part, matrix_bytes(changed->tensor));
	reader->weight->made_in = changed->part;
}

static int64_t statistic_bytes(const Statistic *statistic)
{
	int64_t bytes = store_bytes(statistic->store);
	for (uint32_t i = 0; i < statistic->rank; i++)
		bytes *= statistic->shape[i];
	return bytes;
}

/* The largest of the part's wishes, from number `from` on, that have no number yet; NULL: all have. */
static Wish *largest_wish(Calibration *work, size_t part, size_t from)
{
	Wish *largest = NULL;
	for (size_t i = from; i < work->wishes.count && work->wishes.at[i].part <= part; i++) {
		Wish *wish = &work->wishes.at[i];
		if (!wish->number && !wish->is_of_several && (!largest || wish->bytes > largest->bytes))
			largest = wish;
	}
	return largest;
}

/* Parts use the Values in turn, the largest of one where the largest of another was. */
static void number_wishes(Calibration *work)
{
	Plan *plan = work->plan;
	ValueVec others = {0};
	plan_values_before(plan, &others);
	int64_t first = (int64_t)others.count + 1;
	for (size_t part = 0, from = 0; part <= plan->last_part; part++) {
		size_t taken = 0;
		while (from < work->wishes.count && work->wishes.at[from].part < part)
			from++;
		for (Wish *wish; (wish = largest_wish(work, part, from)) != NULL; taken++) {
			if (taken == plan->input_values.count)
				vec_push(plan->c->arena, &plan->input_values, 0);
			int64_t *bytes = &plan->input_values.at[taken];
			*bytes = wish->bytes > *bytes ? wish->bytes : *bytes;
			wish->number = first + (int64_t)taken;
		}
	}
	for (size_t i = 0; i < work->wishes.count; i++)
		if (work->wishes.at[i].is_of_several) {
			vec_push(plan->c->arena, &plan->input_values, work->wishes.at[i].bytes);
			work->wishes.at[i].number = first + (int64_t)plan->input_values.count - 1;
		}
}

static void number_value(const Calibration *work, int64_t *value)
{
	*value = *value ? work->wishes.at[*value - 1].number : 0;
}

static void number_values(Calibration *work)
{
	number_wishes(work);
	for (size_t i = 0; i < work->changed.count; i++) {
		PlanTensor *tensor = work->changed.at[i].tensor;
		number_value(work, &tensor->values);
		number_value(work, &tensor->shift);
		number_value(work, &work->changed.at[i].reader.member->value);
		for (size_t k = 0; k < tensor->statistics.count; k++)
			number_value(work, &tensor->statistics.at[k]);
	}
	for (size_t i = 0; i < work->plan->folds.count; i++) {
		PlanFold *fold = &work->plan->folds.at[i];
		number_value(work, &fold->value);
		for (size_t k = 0; k < fold->statistics.count; k++)
			number_value(work, &fold->statistics.at[k]);
	}
	for (size_t i = 0; i < work->net->calls.count; i++)
		for (size_t k = 0; k < work->net->calls.at[i].statistics.count; k++)
			number_value(work, &work->net->calls.at[i].statistics.at[k].value);
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
static const Kernel *statistic_kernel(Calibration *work, const PlanTensor *tensor, const PlanFold *fold, size_t number)
{
	Plan *plan = work->plan;
	ChainKernel made;
	Text text = {.arena = plan->c->arena};
	Name name = name_of(plan->c, "statistic");
	if (fold ? !fold_statistic_build(plan, fold, number, name, &made)
			 : !statistic_build(plan, tensor, number, name, &made))
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
	NetStatistic made = {rows, kernel, *own, wish_value(work, call->instance, false, statistic_bytes(own))};
	vec_push(work->plan->c->arena, &call->statistics, made);
	return made.value;
}

static bool add_statistics(Calibration *work, NetCall *call, PlanTensor *tensor, size_t rows)
{
	const ChainKernel *built = &work->plan->kernels.at[tensor->kernel].built;
	for (size_t i = 0; i < built->statistics.count; i++) {
		const Statistic *statistic = &built->statistics.at[i];
		int64_t value;
		if (statistic->is_given) {
			const PlanLink *link = &tensor->links.at[statistic->link];
			value = link->part == FOLD_SHIFT ? work->plan->tensors.at[link->fold].shift
											 : work->plan->folds.at[link->fold].value;
		} else {
			const Kernel *kernel = statistic_kernel(work, tensor, NULL, i + 1);
			if (!kernel)
				return false;
			value = find_statistic(work, call, rows, kernel, statistic);
		}
		vec_push(work->plan->c->arena, &tensor->statistics, value);
	}
	return true;
}

/* The statistics of a family's kernel, which all its members' rows give, and a Value for what it decides. */
static bool add_fold(Calibration *work, NetCall *call, PlanFold *fold, const PlanTensor *first, size_t rows)
{
	const ChainKernel *built = &work->plan->kernels.at[fold->kernel].built;
	for (size_t i = 0; i < built->statistics.count; i++) {
		const Kernel *kernel = statistic_kernel(work, first, fold, i + 1);
		if (!kernel)
			return false;
		vec_push(work->plan->c->arena, &fold->statistics,
			find_statistic(work, call, rows, kernel, &built->statistics.at[i]));
	}
	fold->value = wish_value(work, call->instance, false, fold->cols * (int64_t)sizeof(float));
	vec_push(work->plan->c->arena, &call->decides, (int64_t)(fold - work->plan->folds.at));
	return true;
}

/* Families first: what they decide, their members and others are given. */
static bool add_folds(Calibration *work, NetCall *call, const NetKernel *built)
{
	Plan *plan = work->plan;
	for (size_t i = 0, ask = 0; i < work->changed.count; i++) {
		const Changed *changed = &work->changed.at[i];
		if (changed->part != call->instance || !changed->asks)
			continue;
		size_t rows = built->asked.at[ask];
		ask += (size_t)changed->tensor->stack;
		const PlanLink *link = &changed->tensor->links.at[0];
		for (size_t k = 0; k < changed->tensor->links.count && link->part != FOLD_MEMBER; k++)
			link = &changed->tensor->links.at[k];
		if (link->part != FOLD_MEMBER)
			continue;
		PlanFold *fold = &plan->folds.at[link->fold];
		if (fold->members.at[0] == (size_t)(changed->tensor - plan->tensors.at) &&
			!add_fold(work, call, fold, changed->tensor, rows))
			return false;
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

/* Statistics were built for so many rows. */
static bool check_rows(const Calibration *work, const PlanTensor *tensor, const NetKernel *built, size_t rows)
{
	const NetArray *array = &built->outputs.at[built->rows.at[rows].output];
	if (array->is_ragged[0] == !tensor->sample_rows)
		return true;
	diag_error(work->plan->c, tensor->links.at[0].statement->loc,
		"\"%s\" meets %lld rows of each sample, however long it is: input(..) of it is not supported yet",
		tensor->file->name, (long long)array->shape[0]);
	return false;
}

/* Jobs behind the call: of tensors that ask for their input, or of others, which what these leave may be folded into.
 */
static bool add_jobs(Calibration *work, NetCall *call, const NetKernel *built, bool asks)
{
	for (size_t i = 0, ask = 0; i < work->changed.count; i++) {
		Changed *changed = &work->changed.at[i];
		PlanTensor *tensor = changed->tensor;
		if (changed->part != call->instance || changed->asks != asks || (!asks && !changed->is_folded))
			continue;
		for (int64_t k = 0; k < tensor->stack; k++)
			if (!add_statistics(work, call, tensor, asks ? built->asked.at[ask++] : 0))
				return false;
		const KBuffer *shift = work->plan->kernels.at[tensor->kernel].built.shift;
		if (shift)
			tensor->shift = wish_value(work, call->instance, false, tensor->rows * (int64_t)sizeof(float));
		vec_push(work->plan->c->arena, &call->asked, tensor - work->plan->tensors.at);
	}
	return true;
}

/* The call in front of the part's jobs. is_handed_on: later parts are to read what the original weights make. */
static bool ask_part(Calibration *work, size_t part, bool is_handed_on)
{
	Net *net = work->net;
	NetAskVec asks = {0};
	for (size_t i = 0; i < work->changed.count; i++)
		if (work->changed.at[i].asks && work->changed.at[i].part == part)
			net_add_asks(work->plan->c, &work->changed.at[i].reader, work->changed.at[i].tensor, &asks);
	if (!asks.count)
		return true;
	if (!net_ask(net, part, &asks, is_handed_on, work->options))
		return false;
	NetCall *call = &net->calls.at[net->calls.count - 1];
	const NetKernel *built = &net->kernels.at[call->kernel].built;
	for (size_t i = 0, ask = 0; i < work->changed.count; i++) {
		const Changed *changed = &work->changed.at[i];
		if (!changed->asks || changed->part != part)
			continue;
		if (!check_rows(work, changed->tensor, built, built->asked.at[ask]))
			return false;
		ask += (size_t)changed->tensor->stack;
	}
	if (!add_folds(work, call, built))
		return false;
	return add_jobs(work, call, built, true) && add_jobs(work, call, built, false);
}

/* Jobs whose results the call reads, beside those that asked for their input just before it. */
static void add_made(Calibration *work, NetCall *call)
{
	const NetArrayVec *inputs = &work->net->kernels.at[call->kernel].built.inputs;
	for (size_t i = 0; i < inputs->count; i++) {
		const NetWeight *weight = net_call_weight(work->net, call, i);
		for (size_t k = 0; weight && k < work->changed.count; k++) {
			const Changed *changed = &work->changed.at[k];
			bool is_own = changed->part == call->instance;
			if (changed->reader.weight == weight && changed->tensor->values &&
				(is_own ? call->is_behind && !changed->asks && !changed->is_folded : changed->part < call->instance))
				vec_push(work->plan->c->arena, &call->made, changed->tensor - work->plan->tensors.at);
		}
	}
}

static bool calibrate_part(Calibration *work, size_t part)
{
	bool is_last = part == work->plan->last_part;
	size_t first = work->net->calls.count;
	if (!ask_part(work, part, work->plan->is_one_shot && !is_last))
		return false;
	bool is_handed_on = work->plan->is_one_shot && work->net->calls.count > first;
	for (size_t i = 0; i < work->changed.count; i++)
		if (work->changed.at[i].part == part)
			make_new(work, &work->changed.at[i]);
	if (!is_last && !is_handed_on && !net_hand_on(work->net, part, NULL, work->options))
		return false;
	for (size_t i = first; i < work->net->calls.count; i++)
		add_made(work, &work->net->calls.at[i]);
	return true;
}

bool plan_calibration(Plan *plan)
{
	const ScheduleOptions options = {.lanes = plan->options->lanes ? plan->options->lanes : 8};
	Calibration work = {.plan = plan, .net = plan->net, .options = plan->options->checks_only ? NULL : &options};
	if (!plan->net)
		return true;
	find_changed(&work);
	if (!check_stacks(&work))
		return false;
	for (size_t i = 0; i <= plan->last_part; i++)
		if (!calibrate_part(&work, i))
			return false;
	number_values(&work);
	return take_kernels(&work, 0);
}

void calibration_values(const Plan *plan, ValueVec *to)
{
	for (size_t i = 0; i < plan->input_values.count; i++)
		vec_push(plan->c->arena, to, ((CmprtValue){"of the net", plan->input_values.at[i]}));
}

void calibration_tables(Plan *plan, CmprtProgram *program)
{
	if (!plan->net)
		return;
	CmprtNet *net = arena_new_of(plan->c->arena, CmprtNet);
	NameVec kernel_names = {0};
	for (size_t i = 0; i < plan->net->calls.count; i++)
		for (size_t k = 0; k < plan->net->calls.at[i].decides.count; k++)
			plan->net->calls.at[i].decides.at[k] += program->job_count - (int64_t)plan->folds.count;
	*net = net_tables(plan->net, plan->data, NULL, NULL);
	net->tokens = plan->input_rows;
	net_kernel_names(plan->net, &kernel_names);
	for (size_t i = 0; i < kernel_names.count; i++)
		vec_push(plan->c->arena, &plan->kernel_names, kernel_names.at[i]);
	program->nets = net;
	program->net_count = 1;
}
