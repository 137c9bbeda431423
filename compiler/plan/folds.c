/* SPDX-License-Identifier: MIT
 *
 * folds.c: statements on matrices that share an input. Those of a selection that read
 * one array of the net are a family: one kernel decides what is folded into the array,
 * and all that changes with it gets a link in its own chain: matrices that read it,
 * selected or not, and the gain, bias or rows that make it. A bias that a pass on its
 * matrix folds into gets a link too. On entry the net is fitted and every tensor has
 * the links of its statements.
 */
#include "net.h"

#include <string.h>

bool tensor_is_folded(const PlanTensor *tensor)
{
	for (size_t i = 0; i < tensor->links.count; i++)
		if (tensor->links.at[i].part != FOLD_NONE)
			return true;
	return false;
}

/* The pass's `fold` alone. */
static const Node *shift_body(const Plan *plan, const PlanLink *link)
{
	const Node *body = link->statement->pass->node->kids[2];
	Node *out = node_new(plan->c, N_BODY, body->loc);
	for (uint32_t i = 0; i < body->kid_count; i++)
		if (body->kids[i]->kind == N_FOLD)
			node_add(plan->c, out, body->kids[i]);
	return out;
}

const Node *fold_body(const Plan *plan, const PlanLink *link)
{
	if (link->part == FOLD_NONE)
		return NULL;
	if (link->part == FOLD_SHIFT)
		return shift_body(plan, link);
	return plan->folds.at[link->fold].split->bodies[link->part == FOLD_MEMBER ? SHARING_MEMBER : SHARING_OTHER];
}

/* ---- links ---- */

static bool has_link(const PlanTensor *tensor, size_t fold)
{
	for (size_t i = 0; i < tensor->links.count; i++)
		if (tensor->links.at[i].part != FOLD_NONE && tensor->links.at[i].part != FOLD_SHIFT &&
			tensor->links.at[i].fold == fold)
			return true;
	return false;
}

/* The statement as it is for a tensor that it changes without having selected it. */
static const Statement *beside(Plan *plan, const Statement *statement)
{
	Statement *made = arena_new_of(plan->c->arena, Statement);
	*made = *statement;
	made->is_grid = false;
	made->facts = (PassFacts){.kind = PASS_MOVE, .subject = statement->facts.subject, .axes = statement->facts.axes};
	return made;
}

static const char *beside_label(Plan *plan, const PlanFold *fold, FoldPart part)
{
	const char *what = part == FOLD_READER ? "times" : part == FOLD_ROWS ? "rows divided by" : "divided by";
	return arena_printf(plan->c->arena, "%s what %s folds", what, fold->label);
}

/* In front of the tensor's other links: it is what these work on. False: reported, it cannot be changed. */
static bool add_link(Plan *plan, PlanTensor *tensor, const PlanLink *link)
{
	Store store = tensor_store(plan->c, tensor->file);
	if (store.kind == STORE_NONE || store_type(store) < T_F32) {
		diag_error(plan->c, link->statement->loc,
			"%s changes \"%s\", which is stored as %s: it takes f32, f16, bf16 or f64", link->statement->pass->name,
			tensor->file->name, tensor->file->dtype);
		return false;
	}
	vec_push(plan->c->arena, &tensor->links, *link);
	for (size_t i = tensor->links.count - 1; i > 0; i--)
		tensor->links.at[i] = tensor->links.at[i - 1];
	tensor->links.at[0] = *link;
	tensor->store = store;
	return true;
}

/* One part of the net reads the tensor. */
static bool check_reader(Plan *plan, const Statement *statement, const PlanTensor *tensor)
{
	if (net_reader(plan->net, tensor->file).count == 1)
		return true;
	diag_error(plan->c, statement->loc, "%s changes \"%s\", which several parts of net %s read", statement->pass->name,
		tensor->file->name, plan->net->node->name);
	return false;
}

/* Passes that look at the input see it as it was: that is not what the tensor reads then. */
static bool check_target(Plan *plan, const PlanFold *fold, const PlanTensor *tensor, FoldPart part)
{
	if (part == FOLD_READER && tensor_asks_input(tensor)) {
		diag_error(plan->c, tensor->links.at[0].statement->loc, "this asks for the input of \"%s\", which %s changes",
			tensor->file->name, fold->statement->pass->name);
		diag_note(plan->c, fold->statement->loc, "it is folded into here");
		return false;
	}
	return true;
}

static PlanTensor *find_tensor(Plan *plan, const CkTensor *file)
{
	size_t i = 0;
	while (plan->tensors.at[i].file != file)
		i++;
	return &plan->tensors.at[i];
}

static const NetWeight *weight_named(const Net *net, Name name, int64_t layer)
{
	const NetWeight *found = NULL;
	for (size_t i = 0; i < net->weights.count; i++) {
		const NetWeight *weight = &net->weights.at[i];
		if (node_array(weight->line->kids[0])->name == name &&
			(weight->layer == layer || (!found && weight->layer < 0)))
			found = weight;
	}
	return found;
}

static bool add_target(Plan *plan, size_t number, const NetFoldTarget *target, int64_t layer)
{
	const PlanFold *fold = &plan->folds.at[number];
	const NetWeight *weight = weight_named(plan->net, target->name, layer);
	PlanTensor *tensor = find_tensor(plan, weight->file->parts[0]);
	if (has_link(tensor, number))
		return true;
	if (!check_reader(plan, fold->statement, tensor) || !check_target(plan, fold, tensor, target->part))
		return false;
	PlanLink link = {.statement = beside(plan, fold->statement),
		.arguments = fold->arguments,
		.label = beside_label(plan, fold, target->part),
		.part = target->part,
		.fold = number};
	return add_link(plan, tensor, &link);
}

/* ---- families ---- */

static void report_blame(Plan *plan, const Statement *statement, const PlanTensor *tensor, const NetFold *traced)
{
	diag_error(plan->c, statement->loc, "%s: the input of \"%s\" cannot be divided along its columns",
		statement->pass->name, tensor->file->name);
	diag_note(plan->c, traced->loc, "%s", traced->blame);
	diag_help(plan->c, "leave it out: `except \"%s\"`", tensor->file->name);
}

/* The fold of the instance's weights that meet these rows. */
static size_t find_fold(Plan *plan, size_t first, const size_t *asked, size_t count, size_t rows)
{
	for (size_t i = first; i < plan->folds.count && i - first < count; i++)
		if (asked[i - first] == rows)
			return i;
	return plan->folds.count;
}

static bool add_member(Plan *plan, size_t number, PlanTensor *tensor, PlanLink *link, const SharingSplit *split)
{
	if (link != tensor->links.at) {
		diag_error(plan->c, link->statement->loc, "%s comes after another pass on \"%s\", which it does not see",
			link->statement->pass->name, tensor->file->name);
		diag_note(plan->c, tensor->links.at[0].statement->loc, "this comes before");
		return false;
	}
	if (number == plan->folds.count) {
		PlanFold made = {.statement = link->statement,
			.arguments = link->arguments,
			.label = link->label,
			.split = split,
			.cols = tensor->cols,
			.kernel = SIZE_MAX};
		vec_push(plan->c->arena, &plan->folds, made);
	} else if (strcmp(plan->folds.at[number].label, link->label) != 0) {
		diag_error(plan->c, link->statement->loc, "%s decides for all that share an input: its arguments cannot differ",
			link->statement->pass->name);
		return false;
	}
	link->part = FOLD_MEMBER;
	link->fold = number;
	vec_push(plan->c->arena, &plan->folds.at[number].members, (size_t)(tensor - plan->tensors.at));
	return true;
}

/* A tensor of the statement, its link, and its place in the net. */
typedef struct Sharer {
	size_t tensor, link, ask;
	NetReader reader;
} Sharer;
typedef VEC(Sharer) SharerVec;

static bool add_instance(
	Plan *plan, size_t instance, const NetKernel *traced, const SharerVec *sharers, const SharingSplit *split)
{
	size_t first = plan->folds.count, *asked = arena_array(plan->c->arena, size_t, sharers->count + 1);
	for (size_t i = 0; i < sharers->count; i++) {
		const Sharer *sharer = &sharers->at[i];
		PlanTensor *tensor = &plan->tensors.at[sharer->tensor];
		if (sharer->reader.first != instance)
			continue;
		const NetFold *fold = &traced->folds.at[sharer->ask];
		if (fold->blame) {
			report_blame(plan, tensor->links.at[sharer->link].statement, tensor, fold);
			return false;
		}
		size_t rows = traced->asked.at[sharer->ask];
		size_t number = find_fold(plan, first, asked, plan->folds.count - first, rows);
		if (number == plan->folds.count)
			asked[number - first] = rows;
		if (!add_member(plan, number, tensor, &tensor->links.at[sharer->link], split))
			return false;
	}
	for (size_t i = 0; i < sharers->count; i++) {
		const Sharer *sharer = &sharers->at[i];
		if (sharer->reader.first != instance)
			continue;
		const NetFold *fold = &traced->folds.at[sharer->ask];
		size_t number = find_fold(plan, first, asked, plan->folds.count - first, traced->asked.at[sharer->ask]);
		for (size_t k = 0; k < fold->targets.count; k++)
			if (!add_target(plan, number, &fold->targets.at[k], plan->net->instances.at[instance].number))
				return false;
	}
	return true;
}

static bool find_sharers(Plan *plan, const Statement *statement, NetAskVec *asks, SharerVec *to)
{
	for (size_t i = 0; i < plan->tensors.count; i++) {
		PlanTensor *tensor = &plan->tensors.at[i];
		Sharer sharer = {.tensor = i};
		if (!tensor_is_member(tensor, statement, &sharer.link))
			continue;
		sharer.reader = net_reader(plan->net, tensor->file);
		const NetWeight *weight = sharer.reader.weight;
		if (sharer.reader.count != 1 || weight->is_stack || tensor->file->rank != 2 || tensor->coded) {
			diag_error(plan->c, statement->loc,
				"\"%s\" is no matrix of plain numbers that one part of net %s reads, by itself: %s is on such",
				tensor->file->name, plan->net->node->name, statement->pass->name);
			diag_help(plan->c, "leave it out: `except \"%s\"`", tensor->file->name);
			return false;
		}
		NetAskVec *own = &asks[sharer.reader.first];
		sharer.ask = own->count;
		vec_push(plan->c->arena, own, ((NetAsk){node_array(weight->line->kids[0])->name, !tensor->is_transposed, -1}));
		vec_push(plan->c->arena, to, sharer);
	}
	return true;
}

/* ---- biases ---- */

static bool add_shift(Plan *plan, const Sharer *sharer, const NetBias *bias, int64_t layer)
{
	const PlanTensor *matrix = &plan->tensors.at[sharer->tensor];
	const PlanLink *from = &matrix->links.at[sharer->link];
	const Statement *statement = from->statement;
	if (!bias->name) {
		diag_error(plan->c, statement->loc, "%s: \"%s\" has no bias that this could go into", statement->pass->name,
			matrix->file->name);
		diag_note(plan->c, bias->loc, "net %s adds no vector of weights to this product, which nothing else reads",
			plan->net->node->name);
		diag_help(plan->c, "leave it out: `except \"%s\"`", matrix->file->name);
		return false;
	}
	PlanTensor *tensor = find_tensor(plan, weight_named(plan->net, bias->name, layer)->file->parts[0]);
	if (tensor_is_folded(tensor) || tensor_is_folded(matrix)) {
		diag_error(plan->c, statement->loc,
			"%s goes into \"%s\", and another pass folds into what \"%s\" reads or makes", statement->pass->name,
			tensor->file->name, matrix->file->name);
		return false;
	}
	PlanLink link = {.statement = beside(plan, statement),
		.arguments = from->arguments,
		.label = arena_printf(plan->c->arena, "plus what %s folds", from->label),
		.part = FOLD_SHIFT,
		.fold = sharer->tensor};
	return check_reader(plan, statement, tensor) && add_link(plan, tensor, &link);
}

static bool add_shifts(Plan *plan, size_t instance, const NetKernel *traced, const SharerVec *sharers)
{
	for (size_t i = 0; i < sharers->count; i++) {
		const Sharer *sharer = &sharers->at[i];
		if (sharer->reader.first == instance &&
			!add_shift(plan, sharer, &traced->biases.at[sharer->ask], plan->net->instances.at[instance].number))
			return false;
	}
	return true;
}

/* split NULL: it folds into biases */
static bool add_folds(Plan *plan, const Statement *statement, const SharingSplit *split)
{
	size_t count = plan->net->instances.count;
	NetAskVec *asks = arena_array(plan->c->arena, NetAskVec, count);
	NetKernel *traced = arena_array(plan->c->arena, NetKernel, count);
	SharerVec sharers = {0};
	memset(asks, 0, sizeof *asks * count);
	if (!find_sharers(plan, statement, asks, &sharers) || !net_trace(plan->net, asks, traced))
		return false;
	for (size_t i = 0; i < count; i++)
		if (asks[i].count &&
			!(split ? add_instance(plan, i, &traced[i], &sharers, split) : add_shifts(plan, i, &traced[i], &sharers)))
			return false;
	return true;
}

static bool add_statement(Plan *plan, const Statement *statement)
{
	SharingSplit *split = statement->facts.is_sharing ? arena_new_of(plan->c->arena, SharingSplit) : NULL;
	if (split && !sharing_split(plan->c, statement->pass, split))
		return false;
	if (!plan->net) {
		diag_error(plan->c, statement->loc, "%s needs data that the network reads", statement->pass->name);
		return false;
	}
	return add_folds(plan, statement, split);
}

bool plan_folds(Plan *plan)
{
	for (size_t i = 0; i < plan->statements.count; i++)
		if (plan->statements.at[i]->facts.is_sharing && !add_statement(plan, plan->statements.at[i]))
			return false;
	for (size_t i = 0; i < plan->statements.count; i++) /* where nothing else is folded */
		if (plan->statements.at[i]->facts.folds_bias && !add_statement(plan, plan->statements.at[i]))
			return false;
	return true;
}

/* ---- the kernels that decide ---- */

static Chain fold_chain(Plan *plan, const PlanFold *fold, Name name)
{
	ChainMember *members = arena_array(plan->c->arena, ChainMember, fold->members.count);
	ChainLink *link = arena_new_of(plan->c->arena, ChainLink);
	int64_t rows = 0;
	for (size_t i = 0; i < fold->members.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[fold->members.at[i]];
		members[i] = (ChainMember){tensor->store, tensor->rows, tensor->is_transposed};
		rows += tensor->rows;
	}
	*link = (ChainLink){fold->statement->pass, fold->arguments, fold->statement->loc, NULL,
		fold->split->bodies[SHARING_DECIDE], FOLD_DECIDE};
	const PlanTensor *first = &plan->tensors.at[fold->members.at[0]];
	return (Chain){.name = name,
		.input = first->store,
		.rows = rows,
		.cols = fold->cols,
		.links = link,
		.link_count = 1,
		.facts = first->facts,
		.container = plan->output_format->name,
		.holds_planes = plan->output_format->holds_planes,
		.tensor_shape = read_shape,
		.context = plan,
		.input_rows = plan->input_rows * (first->sample_rows ? first->sample_rows : 1),
		.sample_rows = first->sample_rows,
		.members = members,
		.member_count = fold->members.count};
}

bool fold_statistic_build(Plan *plan, const PlanFold *fold, size_t number, Name name, ChainKernel *out)
{
	Chain chain = fold_chain(plan, fold, name);
	chain.statistic = number;
	return chain_build(plan->p, &chain, out);
}

/* Families of the same types and shapes share a kernel. */
static const char *key_of(Plan *plan, const PlanFold *fold)
{
	Text key = {.arena = plan->c->arena};
	text_printf(&key, "decide %s; %lld", fold->label, (long long)fold->cols);
	for (size_t i = 0; i < fold->members.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[fold->members.at[i]];
		text_printf(
			&key, "; %s %lld%s", tensor->file->dtype, (long long)tensor->rows, tensor->is_transposed ? "'" : "");
	}
	return key.at;
}

static bool build_fold(Plan *plan, PlanFold *fold)
{
	ScheduleOptions options = {.lanes = plan->options->lanes ? plan->options->lanes : 8};
	PlanKernel made = {.key = key_of(plan, fold), .is_whole = true, .users = 1};
	for (fold->kernel = 0; fold->kernel < plan->kernels.count; fold->kernel++)
		if (!strcmp(plan->kernels.at[fold->kernel].key, made.key))
			return true;
	Chain chain =
		fold_chain(plan, fold, name_of(plan->c, arena_printf(plan->c->arena, "kernel_%zu", plan->kernels.count)));
	if (!chain_build(plan->p, &chain, &made.built)) {
		diag_note(plan->c, fold->statement->loc, "while building it for \"%s\" and %zu more",
			plan->tensors.at[fold->members.at[0]].file->name, fold->members.count - 1);
		return false;
	}
	if (!plan->options->checks_only)
		kernel_schedule(made.built.kernel, &options);
	vec_push(plan->c->arena, &plan->kernels, made);
	return kernel_verify(made.built.kernel);
}

bool folds_build(Plan *plan)
{
	for (size_t i = 0; i < plan->folds.count; i++)
		if (!build_fold(plan, &plan->folds.at[i]))
			return false;
	return true;
}

/* ---- jobs ---- */

void fold_jobs(Plan *plan, JobVec *to)
{
	for (size_t i = 0; i < plan->folds.count; i++) {
		const PlanFold *fold = &plan->folds.at[i];
		const ChainKernel *built = &plan->kernels.at[fold->kernel].built;
		size_t count = fold->members.count;
		CmprtPort *in = arena_array(plan->c->arena, CmprtPort, count + built->statistics.count);
		CmprtPort *out = arena_new_of(plan->c->arena, CmprtPort);
		for (size_t m = 0; m < count; m++)
			in[m] = (CmprtPort){.tensor = (int64_t)fold->members.at[m],
				.row_bytes = plan->tensors.at[fold->members.at[m]].file->bytes,
				.rows = 1};
		for (size_t s = 0; s < built->statistics.count; s++) {
			const Statistic *statistic = &built->statistics.at[s];
			int64_t bytes = store_bytes(statistic->store);
			for (uint32_t d = 0; d < statistic->rank; d++)
				bytes *= statistic->shape[d];
			in[count + s] = (CmprtPort){.tensor = -1, .value = fold->statistics.at[s], .row_bytes = bytes, .rows = 1};
		}
		*out = (CmprtPort){
			.tensor = -1, .value = fold->value, .row_bytes = fold->cols * (int64_t)sizeof(float), .rows = 1};
		CmprtJob job = {.label = plan->tensors.at[fold->members.at[0]].file->name,
			.passes = fold->label,
			.rows = 1,
			.whole = 1,
			.port_in_count = (int64_t)(count + built->statistics.count),
			.ports_in = in,
			.port_out_count = 1,
			.ports_out = out,
			.error_port = -1,
			.param_count = 1,
			.params = plan_ints(plan, &(int64_t){1}, 1)};
		job_from_kernel(plan, built->kernel, &job);
		job_add(plan, to, job, built->kernel->name);
	}
}
