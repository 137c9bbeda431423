/* SPDX-License-Identifier: MIT
 *
 * tuples.c: statements on families of tuples, `on all (a[s][r, n], b[s][m, r])` on
 * ("*.down", "*.up"): what the star stands for is what the tensors of a member have
 * in common. Three kinds of jobs: early ones measure each member and decide over all
 * of them; then each member is written with what was decided. Extents that `keep`
 * shortens are bounds until the early jobs have run.
 */
#include "plan.h"

#include <string.h>

/* ---- members ---- */

bool statement_has_tuples(const Statement *statement)
{
	return statement->facts.is_family && statement->pass->node->kids[1]->kids[0]->kind == N_TUPLE;
}

/* What the one `*` of pattern stands for in name; NULL: it does not match. */
static const char *star_of(Plan *plan, const char *pattern, const char *name)
{
	const char *star = strchr(pattern, '*');
	size_t head = (size_t)(star - pattern), tail = strlen(star + 1), length = strlen(name);
	if (length < head + tail || strncmp(name, pattern, head) || strcmp(name + length - tail, star + 1) != 0)
		return NULL;
	return arena_printf(plan->c->arena, "%.*s", (int)(length - head - tail), name + head);
}

static size_t find_tensor(const Plan *plan, const char *pattern, const char *star)
{
	const char *at = strchr(pattern, '*');
	size_t head = (size_t)(at - pattern), middle = strlen(star);
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const char *name = plan->tensors.at[i].file->name;
		if (!strncmp(name, pattern, head) && !strncmp(name + head, star, middle) &&
			!strcmp(name + head + middle, at + 1))
			return i;
	}
	return SIZE_MAX;
}

static bool check_patterns(Plan *plan, const PlanFamily *family)
{
	const Node *selection = family->statement->selection;
	uint32_t wanted = (uint32_t)family->split.subjects.count;
	bool is_good = selection->kind == N_LIST && selection->kid_count == wanted;
	for (uint32_t i = 0; is_good && i < wanted; i++) {
		const char *text = selection->kids[i]->kind == N_STRING ? selection->kids[i]->text : "";
		const char *star = strchr(text, '*');
		is_good = star && !strchr(star + 1, '*');
	}
	if (is_good)
		return true;
	diag_error(plan->c, selection->loc, "pass %s works on tuples of %u tensors: it needs %u patterns, each with one *",
		family->statement->pass->name, wanted, wanted);
	diag_help(plan->c, "the part that * stands for is what the tensors of a tuple share: on (\"*.lora_A.weight\", ..)");
	return false;
}

static bool check_member(Plan *plan, const PlanFamily *family, size_t subject, size_t number)
{
	const PlanTensor *tensor = &plan->tensors.at[number];
	const FamilySubject *wanted = &family->split.subjects.at[subject];
	Store store = tensor_store(plan->c, tensor->file);
	Loc loc = family->statement->selection->kids[subject]->loc;
	if (tensor->file->rank != wanted->rank)
		diag_error(plan->c, loc, "\"%s\" has %lld axes, \"%s\" of pass %s has %u", tensor->file->name,
			(long long)tensor->file->rank, wanted->name, family->statement->pass->name, wanted->rank);
	else if (store.kind == STORE_NONE || store_type(store) < T_F32)
		diag_error(plan->c, loc, "\"%s\" is stored as %s: %s works on f32, f16, bf16 or f64", tensor->file->name,
			tensor->file->dtype, family->statement->pass->name);
	else if (tensor->links.count || tensor->family != SIZE_MAX)
		diag_error(plan->c, loc, "\"%s\" is taken by another statement too, which %s does not allow yet",
			tensor->file->name, family->statement->pass->name);
	else
		return true;
	return false;
}

static bool add_member(Plan *plan, PlanFamily *family, size_t first, const char *star)
{
	const Node *patterns = family->statement->selection;
	PlanTuple tuple = {0};
	for (uint32_t i = 0; i < patterns->kid_count; i++) {
		size_t number = i ? find_tensor(plan, patterns->kids[i]->text, star) : first;
		if (number == SIZE_MAX) {
			diag_error(plan->c, patterns->kids[i]->loc,
				"\"%s\" has no partner: no tensor is \"%s\" with \"%s\" for the *", plan->tensors.at[first].file->name,
				patterns->kids[i]->text, star);
			return false;
		}
		if (!check_member(plan, family, i, number))
			return false;
		vec_push(plan->c->arena, &tuple.tensors, number);
		plan->tensors.at[number].family = plan->families.count;
	}
	vec_push(plan->c->arena, &family->tuples, tuple);
	return true;
}

static bool find_members(Plan *plan, PlanFamily *family)
{
	const Node *patterns = family->statement->selection;
	for (uint32_t p = 0; p < patterns->kid_count; p++)
		for (size_t i = 0; i < plan->tensors.count; i++) {
			const char *name = plan->tensors.at[i].file->name, *star = star_of(plan, patterns->kids[p]->text, name);
			if (star && !p && !add_member(plan, family, i, star))
				return false;
			if (star && p && plan->tensors.at[i].family != plan->families.count) {
				diag_error(plan->c, patterns->kids[0]->loc,
					"\"%s\" has no partner: no tensor is \"%s\" with \"%s\" for the *", name, patterns->kids[0]->text,
					star);
				return false;
			}
		}
	return true;
}

/* ---- kernels ---- */

static FamilyArray *tensor_arrays(const Plan *plan, const PlanTuple *tuple)
{
	FamilyArray *arrays = arena_array(plan->c->arena, FamilyArray, tuple->tensors.count);
	for (size_t i = 0; i < tuple->tensors.count; i++) {
		const CkTensor *file = plan->tensors.at[tuple->tensors.at[i]].file;
		arrays[i] =
			(FamilyArray){.label = file->name, .store = tensor_store(plan->c, file), .rank = (uint32_t)file->rank};
		memcpy(arrays[i].shape, file->shape, sizeof *file->shape * (size_t)file->rank);
	}
	return arrays;
}

static const char *key_of(Plan *plan, const PlanFamily *family, const PlanTuple *tuple, const char *phase)
{
	Text key = {.arena = plan->c->arena};
	text_printf(&key, "%s of %s", phase, family->label);
	for (size_t i = 0; i < tuple->tensors.count; i++) {
		const CkTensor *file = plan->tensors.at[tuple->tensors.at[i]].file;
		text_printf(&key, "; %s", file->dtype);
		for (int64_t d = 0; d < file->rank; d++)
			text_printf(&key, " %lld", (long long)file->shape[d]);
	}
	return key.at;
}

static size_t find_kernel(const Plan *plan, const char *key)
{
	size_t i = 0;
	while (i < plan->kernels.count && strcmp(plan->kernels.at[i].key, key) != 0)
		i++;
	return i;
}

static Name next_name(Plan *plan)
{
	return name_of(plan->c, arena_printf(plan->c->arena, "kernel_%zu", plan->kernels.count));
}

static bool add_kernel(Plan *plan, const char *key, Kernel *kernel)
{
	ScheduleOptions options = {.lanes = plan->options->lanes ? plan->options->lanes : 8};
	PlanKernel made = {.key = key, .built = {.kernel = kernel}, .is_whole = true, .users = 1};
	if (!kernel)
		return false;
	if (!plan->options->checks_only)
		kernel_schedule(kernel, &options);
	vec_push(plan->c->arena, &plan->kernels, made);
	return kernel_verify(kernel);
}

/* What a member's kernel measures: known by its outputs, where another member has the same kernel. */
static bool measure_member(Plan *plan, PlanFamily *family, PlanTuple *tuple)
{
	const char *key = key_of(plan, family, tuple, "measure");
	tuple->measure = find_kernel(plan, key);
	for (size_t i = 0; i < family->tuples.count && tuple->measure < plan->kernels.count; i++)
		if (family->tuples.at[i].measure == tuple->measure && family->tuples.at[i].measured.count) {
			tuple->measured = family->tuples.at[i].measured;
			return true;
		}
	return add_kernel(plan, key,
		family_measure(
			plan->p, &family->split, next_name(plan), family->arguments, tensor_arrays(plan, tuple), &tuple->measured));
}

static int64_t array_elements(const FamilyArray *array)
{
	int64_t count = 1;
	for (uint32_t d = 0; d < array->rank; d++)
		count *= array->shape[d];
	return count;
}

/* The arrays that lines over members read: their elements of all members as one axis. Those with as many axes stand
 * side by side there. */
static bool join_members(Plan *plan, PlanFamily *family)
{
	for (size_t a = 0; a < family->split.measured.count; a++) {
		FamilyArray all = family->tuples.at[0].measured.at[a];
		all.shape[0] = 0;
		for (size_t i = 0; i < family->tuples.count; i++) {
			const FamilyArrayVec *own = &family->tuples.at[i].measured;
			all.shape[0] += array_elements(&own->at[a]);
			for (size_t b = 0; b < a; b++)
				if (own->at[a].rank == own->at[b].rank && array_elements(&own->at[a]) != array_elements(&own->at[b])) {
					diag_error(plan->c, family->statement->pass->node->loc,
						"pass %s: \"%s\" and \"%s\" have different extents, and are read over all members",
						family->statement->pass->name, own->at[a].label, own->at[b].label);
					return false;
				}
		}
		all.rank = 1;
		vec_push(plan->c->arena, &family->measured, all);
	}
	return true;
}

static bool build_member(Plan *plan, PlanFamily *family, PlanTuple *tuple)
{
	const char *key = key_of(plan, family, tuple, "write");
	tuple->write = find_kernel(plan, key);
	if (tuple->write < plan->kernels.count)
		return true;
	return add_kernel(plan, key,
		family_write(
			plan->p, &family->split, next_name(plan), family->arguments, tensor_arrays(plan, tuple), &family->decided));
}

/* Has each member as many places along the axis as the arrays that its condition reads have elements? Those are the
 * measured ones of one axis, which are of one extent (join_members). */
static bool is_as_long(const Plan *plan, const PlanFamily *family, size_t subject, uint32_t axis)
{
	for (size_t i = 0; i < family->tuples.count; i++) {
		const PlanTuple *tuple = &family->tuples.at[i];
		int64_t extent = plan->tensors.at[tuple->tensors.at[subject]].file->shape[axis];
		for (size_t a = 0; a < tuple->measured.count; a++)
			if (tuple->measured.at[a].rank == 1 && tuple->measured.at[a].shape[0] != extent)
				return false;
	}
	return true;
}

/* Does each `keep` speak of as many places as the tensors have along its axis? */
static bool check_keeps(Plan *plan, const PlanFamily *family)
{
	for (size_t k = 0; k < family->split.keeps.count; k++) {
		const FamilyKeep *keep = &family->split.keeps.at[k];
		bool is_found = false, is_good = true;
		for (size_t s = 0; s < family->split.subjects.count; s++)
			for (uint32_t d = 0; d < family->split.subjects.at[s].rank; d++) {
				if (family->split.subjects.at[s].axis_after[d] != keep->axis)
					continue;
				is_found = true;
				is_good = is_good && is_as_long(plan, family, s, d);
			}
		if (is_found && is_good)
			continue;
		if (!is_found)
			diag_error(plan->c, keep->loc, "no tensor of the tuple has an axis \"%s\" at the end", keep->axis);
		else
			diag_error(
				plan->c, keep->loc, "along \"%s\" the tensors have other extents than the condition", keep->axis);
		return false;
	}
	return true;
}

static bool build_family(Plan *plan, PlanFamily *family)
{
	size_t errors = diag_errors(plan->c);
	for (size_t i = 0; i < family->tuples.count; i++)
		if (!measure_member(plan, family, &family->tuples.at[i])) {
			if (diag_errors(plan->c) > errors)
				diag_note(plan->c, family->statement->loc, "while building it for \"%s\"",
					plan->tensors.at[family->tuples.at[i].tensors.at[0]].file->name);
			return false;
		}
	if (!join_members(plan, family))
		return false;
	family->decide = plan->kernels.count;
	const char *key = arena_printf(plan->c->arena, "decide %s %zu", family->label, plan->families.count);
	if (!add_kernel(plan, key,
			family_decide(
				plan->p, &family->split, next_name(plan), family->arguments, &family->measured, &family->decided)))
		return false;
	for (size_t i = 0; i < family->tuples.count; i++)
		if (!build_member(plan, family, &family->tuples.at[i]))
			return false;
	return check_keeps(plan, family);
}

bool plan_tuples(Plan *plan)
{
	for (size_t i = 0; i < plan->statements.count; i++) {
		Statement *statement = plan->statements.at[i];
		PlanFamily family = {.statement = statement};
		Scope *arguments = scope_new(plan->c, NULL);
		if (!statement_has_tuples(statement))
			continue;
		const Node *call = statement->call->kind == N_CALL ? statement->call : NULL;
		const Scope *scope = statement->scope ? statement->scope : plan->model_facts;
		if (!family_split(plan->c, statement->pass, &family.split) || !check_patterns(plan, &family) ||
			!value_bind(plan->p, scope, statement->pass, call, arguments) || !find_members(plan, &family))
			return false;
		if (!family.tuples.count) {
			report_nothing_selected(plan, statement);
			return false;
		}
		statement->matched = family.tuples.count;
		family.arguments = arguments;
		family.label = statement_label(plan, statement, arguments);
		if (!build_family(plan, &family))
			return false;
		vec_push(plan->c->arena, &plan->families, family);
	}
	return true;
}

/* ---- outputs ---- */

/* Number of the family's Value for its which-th array, from 1 on. */
static int64_t value_number(const Plan *plan, const PlanFamily *family, size_t which)
{
	int64_t number = 1;
	for (const PlanFamily *before = plan->families.at; before < family; before++)
		number += (int64_t)(before->measured.count + before->decided.count);
	return number + (int64_t)which;
}

/* Of a member, along an axis that `keep` shortens. */
static int64_t kept_extent(const Plan *plan, const PlanFamily *family, const PlanTuple *tuple, Name axis)
{
	for (size_t s = 0; s < tuple->tensors.count; s++)
		for (uint32_t d = 0; d < family->split.subjects.at[s].rank; d++)
			if (family->split.subjects.at[s].axis_after[d] == axis)
				return plan->tensors.at[tuple->tensors.at[s]].file->shape[d];
	return 0;
}

void tuple_output(const Plan *plan, size_t tensor, CmprtOutput *output)
{
	const PlanFamily *family = &plan->families.at[plan->tensors.at[tensor].family];
	for (size_t k = 0; k < family->split.keeps.count; k++) {
		int64_t first = 0;
		for (size_t i = 0; i < family->tuples.count; i++) {
			const PlanTuple *tuple = &family->tuples.at[i];
			for (size_t s = 0; s < tuple->tensors.count; s++)
				for (uint32_t d = 0; d < family->split.subjects.at[s].rank && tuple->tensors.at[s] == tensor; d++) {
					if (family->split.subjects.at[s].axis_after[d] != family->split.keeps.at[k].axis)
						continue;
					output->keep_value =
						value_number(plan, family, family->measured.count + family->split.shared.count + k);
					output->keep_axis = d;
					output->keep_first = first;
				}
			first += kept_extent(plan, family, tuple, family->split.keeps.at[k].axis);
		}
	}
}

void number_places(Plan *plan)
{
	int64_t number = value_number(plan, plan->families.at + plan->families.count, 0);
	for (size_t i = 0; i < plan->tensors.count; i++)
		if (plan->tensors.at[i].places != SIZE_MAX)
			plan->tensors.at[i].places_value = number++;
}

void plan_values_before(const Plan *plan, ValueVec *to)
{
	for (size_t f = 0; f < plan->families.count; f++) {
		const PlanFamily *family = &plan->families.at[f];
		for (size_t a = 0; a < family->measured.count + family->decided.count; a++) {
			const FamilyArray *array =
				a < family->measured.count ? &family->measured.at[a] : &family->decided.at[a - family->measured.count];
			CmprtValue value = {array->label, array_elements(array) * store_bytes(array->store)};
			vec_push(plan->c->arena, to, value);
		}
	}
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		if (tensor->places == SIZE_MAX)
			continue;
		CmprtValue value = {tensor->file->name, plan->kernels.at[tensor->places].built.places.extent};
		vec_push(plan->c->arena, to, value);
	}
}

void plan_values(Plan *plan, CmprtProgram *program)
{
	ValueVec values = {0};
	plan_values_before(plan, &values);
	calibration_values(plan, &values);
	program->values = values.at;
	program->value_count = (int64_t)values.count;
}

/* ---- jobs ---- */

static CmprtPort value_port(int64_t number, int64_t first, const FamilyArray *array)
{
	int64_t bytes = store_bytes(array->store);
	return (CmprtPort){
		.tensor = -1, .value = number, .row_bytes = array_elements(array) * bytes, .rows = 1, .offset = first * bytes};
}

static CmprtPort tensor_port(const Plan *plan, size_t tensor, bool is_output)
{
	const PlanTensor *of = &plan->tensors.at[tensor];
	CmprtPort port = {
		.tensor = is_output ? (int64_t)of->first_output : (int64_t)tensor, .row_bytes = of->file->bytes, .rows = 1};
	if (is_output)
		port_place(of, of->file->bytes, &port);
	return port;
}

typedef struct Ports {
	VEC(CmprtPort) in, out;
} Ports;

static void phase_job(Plan *plan, JobVec *to, const PlanFamily *family, const char *label, size_t kernel,
	const char *dtype, const Ports *ports)
{
	CmprtJob job = {.label = label,
		.passes = family->label,
		.dtype = dtype,
		.rows = 1,
		.whole = 1,
		.port_in_count = (int64_t)ports->in.count,
		.ports_in = ports->in.at,
		.port_out_count = (int64_t)ports->out.count,
		.ports_out = ports->out.at,
		.error_port = -1,
		.param_count = 1,
		.params = plan_ints(plan, &(int64_t){1}, 1)};
	job_from_kernel(plan, plan->kernels.at[kernel].built.kernel, &job);
	job_add(plan, to, job, plan->kernels.at[kernel].built.kernel->name);
}

static void measure_jobs(Plan *plan, JobVec *to, const PlanFamily *family)
{
	int64_t *first = arena_array(plan->c->arena, int64_t, family->measured.count + 1);
	memset(first, 0, sizeof *first * (family->measured.count + 1));
	for (size_t i = 0; i < family->tuples.count; i++) {
		const PlanTuple *tuple = &family->tuples.at[i];
		Ports ports = {0};
		for (size_t t = 0; t < tuple->tensors.count; t++)
			vec_push(plan->c->arena, &ports.in, tensor_port(plan, tuple->tensors.at[t], false));
		for (size_t a = 0; a < family->measured.count; a++) {
			CmprtPort port = value_port(value_number(plan, family, a), first[a], &tuple->measured.at[a]);
			vec_push(plan->c->arena, &ports.out, port);
			first[a] += array_elements(&tuple->measured.at[a]);
		}
		phase_job(plan, to, family, plan->tensors.at[tuple->tensors.at[0]].file->name, tuple->measure, NULL, &ports);
	}
}

void early_jobs(Plan *plan, JobVec *to)
{
	for (size_t f = 0; f < plan->families.count; f++) {
		const PlanFamily *family = &plan->families.at[f];
		Ports ports = {0};
		measure_jobs(plan, to, family);
		for (size_t a = 0; a < family->measured.count; a++)
			vec_push(plan->c->arena, &ports.in, value_port(value_number(plan, family, a), 0, &family->measured.at[a]));
		for (size_t a = 0; a < family->decided.count; a++) {
			int64_t number = value_number(plan, family, family->measured.count + a);
			vec_push(plan->c->arena, &ports.out, value_port(number, 0, &family->decided.at[a]));
		}
		phase_job(plan, to, family, family->label, family->decide, NULL, &ports);
	}
}

void tuple_jobs(Plan *plan, JobVec *to, size_t tensor)
{
	const PlanFamily *family = &plan->families.at[plan->tensors.at[tensor].family];
	for (size_t i = 0; i < family->tuples.count; i++) {
		const PlanTuple *tuple = &family->tuples.at[i];
		Ports ports = {0};
		if (tuple->tensors.at[0] != tensor)
			continue;
		for (size_t t = 0; t < tuple->tensors.count; t++) {
			vec_push(plan->c->arena, &ports.in, tensor_port(plan, tuple->tensors.at[t], false));
			vec_push(plan->c->arena, &ports.out, tensor_port(plan, tuple->tensors.at[t], true));
		}
		for (size_t a = 0; a < family->split.shared.count; a++) {
			int64_t number = value_number(plan, family, family->measured.count + a);
			vec_push(plan->c->arena, &ports.in, value_port(number, 0, &family->decided.at[a]));
		}
		phase_job(plan, to, family, plan->tensors.at[tensor].file->name, tuple->write,
			plan->tensors.at[tensor].file->dtype, &ports);
	}
}
