/* SPDX-License-Identifier: MIT
 *
 * print.c: the dry run as text. What it prints is legal .cmp: one statement for
 * each group of tensors that get the same passes, joined by `then` in the order
 * they run; planning it again changes nothing. A pass on a whole selection is a
 * statement of its own, between those of what its members go through before and
 * after. Declarations of the program's own that they rest on stand above. Figures
 * stand in comments. No times: those belong to the machine (time.c, and the
 * executable's own --dry-run).
 */
#include "net.h"

#include "forward.h"

#include <string.h>

static void print_bytes(Text *to, int64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	int unit = 0;
	while (value >= 1024 && unit < 4) {
		value /= 1024;
		unit++;
	}
	text_printf(to, unit ? "%.2f %s" : "%.0f %s", value, units[unit]);
}

static int64_t output_bytes(const Plan *plan, const PlanTensor *tensor)
{
	int64_t bytes = 0;
	for (size_t i = 0; i < tensor->output_count; i++)
		bytes += plan->program->outputs[tensor->first_output + i].bytes;
	return bytes;
}

/* ---- groups of tensors with the same chain ---- */

static bool same_chain(const PlanTensor *a, const PlanTensor *b)
{
	if (a->links.count != b->links.count || a->family != b->family)
		return false;
	for (size_t i = 0; i < a->links.count; i++)
		if (strcmp(a->links.at[i].label, b->links.at[i].label))
			return false;
	return true;
}

static bool is_first_of_group(const Plan *plan, size_t number)
{
	for (size_t i = 0; i < number; i++)
		if (same_chain(&plan->tensors.at[i], &plan->tensors.at[number]))
			return false;
	return true;
}

typedef struct Group {
	size_t tensors, kernels;
	int64_t elements, before, after;
} Group;

static Group group_of(const Plan *plan, const PlanTensor *like)
{
	Group group = {0};
	VEC(size_t) seen = {0};
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		if (!same_chain(tensor, like))
			continue;
		group.tensors++;
		group.elements += tensor->stack * tensor->rows * tensor->cols;
		group.before += tensor->file->bytes;
		group.after += output_bytes(plan, tensor);
		bool is_new = tensor->kernel != SIZE_MAX;
		for (size_t j = 0; j < seen.count; j++)
			is_new &= seen.at[j] != tensor->kernel;
		if (is_new)
			vec_push(plan->c->arena, &seen, tensor->kernel);
	}
	group.kernels = seen.count;
	return group;
}

/* Is it one statement for all that it selects? */
static bool is_together(const Statement *statement)
{
	return statement->facts.is_family || statement->facts.is_sharing;
}

/* The links of a tensor between those on whole selections, before that of `until`, or after the last one. False: it is
 * no member of that. */
typedef struct Stretch {
	size_t begin, end;
} Stretch;

static bool find_stretch(const PlanTensor *tensor, const Statement *until, Stretch *stretch)
{
	stretch->end = tensor->links.count;
	if (until && !tensor_is_member(tensor, until, &stretch->end))
		return false;
	stretch->begin = stretch->end;
	while (stretch->begin > 0 && !is_together(tensor->links.at[stretch->begin - 1].statement))
		stretch->begin--;
	return true;
}

static bool is_in_group(const PlanTensor *tensor, const PlanTensor *like, const Statement *until)
{
	Stretch a, b;
	if (!until)
		return same_chain(tensor, like);
	if (!find_stretch(tensor, until, &a) || !find_stretch(like, until, &b) || a.end - a.begin != b.end - b.begin)
		return false;
	for (size_t i = 0; i < a.end - a.begin; i++)
		if (strcmp(tensor->links.at[a.begin + i].label, like->links.at[b.begin + i].label))
			return false;
	return true;
}

static bool is_member_like(const PlanTensor *tensor, const PlanTensor *like, const Statement *until)
{
	size_t link;
	return like ? is_in_group(tensor, like, until) : tensor_is_member(tensor, until, &link);
}

/* like NULL: of all members */
static void print_names(const Plan *plan, const PlanTensor *like, const Statement *until, Text *to)
{
	size_t count = 0, column = 0;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		if (!is_member_like(tensor, like, until))
			continue;
		size_t length = strlen(tensor->file->name) + 4;
		bool is_full = count && column + length > 110;
		text_printf(to, "%s%s\"%s\"", count ? "," : "", is_full ? "\n     " : count ? " " : "", tensor->file->name);
		column = is_full ? length : column + length;
		count++;
	}
}

/* What comes of a statement that has not selected the tensors: nothing that can be written. */
static void print_beside(
	const Plan *plan, const PlanTensor *like, const Statement *until, const PlanLink *link, Text *to)
{
	text_printf(to, "  # %s:\n", link->label);
	for (size_t i = 0; i < plan->tensors.count; i++)
		if (is_in_group(&plan->tensors.at[i], like, until))
			text_printf(to, "  #   \"%s\"\n", plan->tensors.at[i].file->name);
}

static void print_stretch(const Plan *plan, const PlanTensor *like, const Statement *until, Text *to)
{
	Stretch stretch;
	if (!find_stretch(like, until, &stretch) || stretch.begin == stretch.end)
		return;
	size_t first = stretch.begin;
	for (; first < stretch.end && like->links.at[first].part > FOLD_MEMBER; first++)
		print_beside(plan, like, until, &like->links.at[first], to);
	for (size_t i = first; i < stretch.end; i++) {
		text_printf(to, "%s%s on ", i > first ? "\n    then " : until ? "\n  " : "  ", like->links.at[i].label);
		print_names(plan, like, until, to);
	}
	if (first < stretch.end)
		text_printf(to, "\n");
}

/* A pass on a whole selection, after what comes before it on its members. */
static void print_family(const Plan *plan, const Statement *family, Text *to)
{
	const PlanTensor *member = NULL;
	size_t link = 0, selects = 0;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		if (!tensor_is_member(tensor, family, &link))
			continue;
		member = tensor;
		bool is_first = true;
		for (size_t j = 0; j < i && is_first; j++)
			is_first = !is_in_group(&plan->tensors.at[j], tensor, family);
		if (is_first)
			print_stretch(plan, tensor, family, to);
	}
	text_printf(to, "\n  # %lld tensors together, %lld weights", (long long)family->family.members,
		(long long)family->family.elements);
	for (size_t i = 0; i < plan->selects.count; i++)
		if (plan->selects.at[i].statement == family)
			text_printf(
				to, "%s %lld of them selected by rank", selects++ ? "," : ";", (long long)plan->selects.at[i].limit);
	size_t folds = 0;
	for (size_t i = 0; i < plan->folds.count; i++)
		folds += plan->folds.at[i].statement == family;
	if (folds)
		text_printf(to, "; %zu arrays of the net are their inputs", folds);
	if (selects)
		text_printf(to, ": %zu reads (%zu where equal weights are cut)", 2 * selects + 1, 3 * selects + 1);
	tensor_is_member(member, family, &link);
	text_printf(to, "\n  %s on ", member->links.at[link].label);
	print_names(plan, NULL, family, to);
	text_printf(to, "\n");
}

static void print_tuples(const Plan *plan, const PlanFamily *family, Text *to)
{
	const Node *patterns = family->statement->selection;
	int64_t before = 0, after = 0;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		bool is_member = plan->tensors.at[i].family == (size_t)(family - plan->families.at);
		before += is_member ? plan->tensors.at[i].file->bytes : 0;
		after += is_member ? output_bytes(plan, &plan->tensors.at[i]) : 0;
	}
	text_printf(to, "\n  # %zu tuples of %u tensors together, ", family->tuples.count, patterns->kid_count);
	print_bytes(to, before);
	text_printf(to, " -> %s", family->split.keeps.count ? "at most " : "");
	print_bytes(to, after);
	text_printf(to, ": measured, decided on together, written\n  %s on (", family->label);
	for (uint32_t i = 0; i < patterns->kid_count; i++)
		text_printf(to, "%s\"%s\"", i ? ", " : "", patterns->kids[i]->text);
	text_printf(to, ")\n");
}

/* Where the order is not that of the text: why. */
static void print_moves(const Plan *plan, const PlanTensor *like, Text *to)
{
	for (size_t i = 1; i < like->links.count; i++) {
		const Statement *first = like->links.at[i - 1].statement, *second = like->links.at[i].statement;
		if (first->number > second->number)
			text_printf(to, "  # moved: %s before %s: %s\n", first->pass->name, second->pass->name,
				order_reason(plan, like, i));
	}
}

static void print_group(const Plan *plan, const PlanTensor *like, Text *to)
{
	Group group = group_of(plan, like);
	text_printf(to, "\n  # %zu tensor%s, %lld weights, ", group.tensors, group.tensors == 1 ? "" : "s",
		(long long)group.elements);
	print_bytes(to, group.before);
	text_printf(to, " -> %s", like->places == SIZE_MAX ? "" : "at most ");
	print_bytes(to, group.after);
	if (!like->links.count) {
		text_printf(to, plan->saves_arrays ? ": left out\n" : ": copied byte for byte\n");
		return;
	}
	const PlanKernel *kernel = &plan->kernels.at[like->kernel];
	if (!plan->saves_arrays)
		text_printf(to, ", %.3f bits a weight", 8.0 * (double)group.after / (double)group.elements);
	text_printf(to, "; %zu kernel%s, %s sweep%s", group.kernels, group.kernels == 1 ? "" : "s",
		kernel->chain.is_unfused ? "for each pass a" : "one", kernel->is_whole ? " over whole tensors" : "");
	for (size_t i = 0; i < like->links.count; i++)
		if (is_together(like->links.at[i].statement))
			text_printf(to, ", %s in it", like->links.at[i].label);
	text_printf(to, "\n");
	print_moves(plan, like, to);
	print_stretch(plan, like, NULL, to);
}

/* ---- the whole ---- */

static void print_data(const Plan *plan, const CmprtData *data, bool is_one_shot, Text *to)
{
	Text properties = {.arena = plan->c->arena};
	if (data->window)
		text_printf(&properties, " window %lld", (long long)data->window);
	if (data->samples)
		text_printf(&properties, " samples %lld", (long long)data->samples);
	if (data->seed >= 0)
		text_printf(&properties, " seed %lld", (long long)data->seed);
	if (data->per_line)
		text_printf(&properties, " per line");
	if (data_text_kind(data) == TEXT_pairs) {
		text_printf(&properties, " between ");
		string_print(data->between, &properties);
	}
	if (*data->tokenizer)
		text_printf(&properties, " tokenizer \"%s\"", data->tokenizer);
	if (*data->labels)
		text_printf(&properties, " labels \"%s\"", data->labels);
	if (is_one_shot)
		text_printf(&properties, " one_shot true");
	text_printf(to, data->text >= 0 ? "data %s from %s(\"%s\")" : "data %s from %s\"%s\"", data->name,
		data->text >= 0 ? text_kind_name((int)data->text) : "", data->path);
	if (properties.count)
		text_printf(to, " {%s }", properties.at);
	text_printf(to, "\n\n");
}

/* What passes ask for, then what is measured on, each once. */
static void print_all_data(const Plan *plan, Text *to)
{
	const char *first = plan->net ? plan->data->name : "";
	if (plan->net)
		print_data(plan, plan->data, plan->is_one_shot, to);
	for (size_t i = 0; plan->original && i < plan->original->data.count; i++)
		if (strcmp(plan->original->data.at[i].name, first) != 0)
			print_data(plan, &plan->original->data.at[i], false, to);
}

static void print_head(const Plan *plan, Text *to)
{
	DeclVec own = {0};
	plan_uses(plan, &own);
	for (size_t i = 0; i < own.count; i++) {
		source_print(plan->c, own.at[i]->node, to);
		text_printf(to, "\n\n");
	}
	text_printf(to, "model %s from \"%s\"", plan->model->name, plan->model_path);
	if (plan->model->node->op)
		text_printf(to, " as %s", plan->model->node->op);
	text_printf(to, "\n\n");
	print_all_data(plan, to);
	text_printf(to, "# %s, %lld file%s, %zu tensors", plan->checkpoint->format->name,
		(long long)plan->checkpoint->file_count, plan->checkpoint->file_count == 1 ? "" : "s", plan->tensors.count);
	if (plan->layers)
		text_printf(to, ", %lld layers", (long long)plan->layers);
	text_printf(to, "\npipeline %s of %s", plan->pipeline->name, plan->model->name);
	const Node *target = plan->pipeline->node->kids[1], *host = plan->pipeline->node->kids[2];
	if (target || plan->options->target) /* one that nobody names asks for nothing */
		text_printf(to, " for %s", plan->target->name);
	if (host)
		text_printf(to, " host %s", host->name);
	text_printf(to, " {");
}

static int64_t port_bytes(const CmprtPort *ports, int64_t count)
{
	int64_t bytes = 0;
	for (int64_t i = 0; i < count; i++)
		bytes += ports[i].rows * ports[i].row_bytes;
	return bytes;
}

/* What jobs read of other files, and what one of them holds at a time where it holds whole tensors. */
static void print_reads(const Plan *plan, Text *to)
{
	int64_t most = 0;
	for (size_t s = 0; s < plan->sources.count; s++) {
		int64_t bytes = 0;
		for (int64_t i = 0; i < plan->program->job_count; i++) {
			const CmprtJob *job = &plan->program->jobs[i];
			for (int64_t k = 0; k < job->port_in_count; k++)
				if (plan->program->inputs[job->ports_in[k].tensor].source == (int64_t)s + 1)
					bytes += port_bytes(&job->ports_in[k], 1);
		}
		text_printf(
			to, "# beside the weights, %lld bytes are read of \"%s\"\n", (long long)bytes, plan->sources.at[s].path);
	}
	for (int64_t i = 0; i < plan->program->job_count; i++) {
		const CmprtJob *job = &plan->program->jobs[i];
		int64_t bytes = port_bytes(job->ports_in, job->port_in_count) + port_bytes(job->ports_out, job->port_out_count);
		for (int64_t k = 0; k < job->work_count; k++)
			bytes += job->work_bytes[k];
		most = job->whole && bytes > most ? bytes : most;
	}
	if (most) {
		text_printf(to, "# whole tensors, with what is made of them, take up to ");
		print_bytes(to, most);
		text_printf(to, " of memory\n");
	}
}

/* Bytes of weights. */
static int64_t net_reads(const CmprtProgram *program, const CmprtNet *net)
{
	int64_t bytes = 0;
	for (int64_t i = 0; i < net->call_count; i++)
		for (int64_t k = 0; k < net->calls[i].operand_count; k++)
			bytes += forward_operand_reads(program, &net->calls[i].operands[k]);
	return bytes;
}

/* Two for each weight and token; products among tokens are not counted. */
static double net_operations(const Net *net, double tokens)
{
	double weights = 0;
	for (size_t i = 0; i < net->weights.count; i++)
		for (size_t m = 0; m < net->weights.at[i].members.count; m++)
			weights += net->weights.at[i].file && net->weights.at[i].file->rank > 1
						   ? (double)stored_elements(net->weights.at[i].members.at[m].file)
						   : 0;
	return 2 * weights * tokens;
}

/* Behind the last weight: what it takes to know the figures. */
static void print_figures(const Plan *plan, Text *to)
{
	for (size_t i = 0; plan->original && i < plan->original->nets.count; i++) {
		const CmprtData *data = &plan->original->data.at[i];
		double tokens = (double)plan->original->tokens.at[i];
		text_printf(to,
			"# at the end, net %s reads %.0f %s of %s, as the model and as the result: ~%.2g GFLOP, for which ",
			plan->original->nets.at[i]->node->name, tokens, data->channels ? "images" : "tokens", data->name,
			2e-9 * net_operations(plan->original->nets.at[i], tokens));
		int64_t bytes = 0;
		for (int64_t k = 0; k < plan->program->measured_count; k++)
			bytes += net_reads(&plan->program->measured[k], &plan->program->measured[k].nets[i]);
		text_printf(to, "%lld bytes of weights are read\n", (long long)bytes);
	}
}

/* Weights of parts that a pass asks are read twice, once as they were and once as they are after it. */
static void print_calibration(const Plan *plan, Text *to)
{
	const CmprtNet *net = plan->program->nets;
	int64_t statistics = 0, bytes = net_reads(plan->program, net);
	for (int64_t i = 0; i < net->call_count; i++)
		statistics += net->calls[i].statistic_count;
	text_printf(to,
		"# in between, net %s reads %lld %s of %s: %lld calls of its parts leave %lld statistics, "
		"for which %lld bytes of weights are read\n",
		net->name, (long long)plan->input_rows, plan->data->channels ? "images" : "tokens", plan->data->name,
		(long long)net->call_count, (long long)statistics, (long long)bytes);
}

static void print_save(const Plan *plan, Text *to)
{
	Node save = {.kind = N_SAVE};
	if (plan->save)
		save = *plan->save;
	save.text = plan->output_path;
	text_printf(to, "  ");
	source_print(plan->c, &save, to);
	text_printf(to, "\n");
}

static void print_tail(const Plan *plan, Text *to)
{
	int64_t before = 0, moved = 0, read = 0, counted = 0, measured = 0;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		before += plan->tensors.at[i].file->bytes;
		read += plan->tensors.at[i].place.is_left_out ? 0 : plan->tensors.at[i].file->bytes;
		moved += output_bytes(plan, &plan->tensors.at[i]);
	}
	text_printf(to, "\n");
	for (size_t i = 0; i < plan->requires.count; i++) {
		text_printf(to, "  require ");
		source_print(plan->c, plan->requires.at[i].node, to);
		text_printf(to, "%s\n", require_comment(plan, &plan->requires.at[i]));
	}
	print_save(plan, to);
	if (plan->report) {
		text_printf(to, "  ");
		source_print(plan->c, plan->report, to);
		text_printf(to, "\n");
	}
	for (size_t i = 0; i < plan->selects.count; i++)
		for (size_t j = 0; j < plan->selects.at[i].keys.count; j++)
			counted += plan->tensors.at[plan->selects.at[i].keys.at[j].tensor].file->bytes;
	text_printf(to, "}\n\n");
	if (counted)
		text_printf(to, "# first, weights are read for what is selected: %lld bytes, or %lld\n", 2 * (long long)counted,
			3 * (long long)counted);
	for (int64_t i = 0; i < plan->program->early_count; i++)
		for (int64_t k = 0; k < plan->program->early[i].port_in_count; k++)
			measured +=
				plan->program->early[i].ports_in[k].value ? 0 : port_bytes(&plan->program->early[i].ports_in[k], 1);
	if (measured)
		text_printf(to, "# first, extents are decided: %lld bytes are read\n", (long long)measured);
	if (plan->net)
		print_calibration(plan, to);
	text_printf(
		to, "# weights are read once, %lld bytes, and written once, %lld bytes\n", (long long)read, (long long)moved);
	print_reads(plan, to);
	print_figures(plan, to);
	text_printf(to, "# output: %s%lld bytes (", plan_has_bounds(plan) ? "at most " : "",
		(long long)plan->program->output_bytes);
	print_bytes(to, plan->program->output_bytes);
	text_printf(to, ") in %lld file%s, %.1f%% of the input; %s\n", (long long)plan->layout->file_count,
		plan->layout->file_count == 1 ? "" : "s",
		before ? 100.0 * (double)plan->program->output_bytes / (double)before : 0.0,
		plan_has_bounds(plan) ? "the run says the size to the byte before it writes" : "to the byte");
}

void plan_print(const Plan *plan, Text *to)
{
	print_head(plan, to);
	for (size_t i = 0; i < plan->statements.count; i++)
		if (is_together(plan->statements.at[i]) && !statement_has_tuples(plan->statements.at[i]))
			print_family(plan, plan->statements.at[i], to);
	for (size_t i = 0; i < plan->families.count; i++)
		print_tuples(plan, &plan->families.at[i], to);
	for (size_t i = 0; i < plan->tensors.count; i++)
		if (is_first_of_group(plan, i) && plan->tensors.at[i].family == SIZE_MAX)
			print_group(plan, &plan->tensors.at[i], to);
	print_tail(plan, to);
}
