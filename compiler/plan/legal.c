/* SPDX-License-Identifier: MIT
 *
 * legal.c: can every tensor become what the pipeline says, can the output's file
 * format hold that, and can the target execute it? From shapes and declarations alone, before any kernel is built;
 * all tensors are judged, those with one reason are reported together. A pipeline
 * that names no target says nothing about who reads its result.
 */
#include "plan.h"

#include <ctype.h>
#include <string.h>

/* ---- which dtype a tensor ends in ---- */

/* Does node's value depend on the pass's arguments only, not on its arrays? */
static bool is_known(const Plan *plan, const Scope *arguments, const Node *node)
{
	Value value;
	if (node->kind == N_NAME && !scope_find(arguments, node->name, &value) &&
		!program_find(plan->p, DECL_LET, node->name) && !program_find(plan->p, DECL_DTYPE, node->name) &&
		strcmp(node->name, "none") && strcmp(node->name, "true") && strcmp(node->name, "false"))
		return false;
	for (uint32_t i = node->kind == N_CALL ? 1 : 0; i < node->kid_count; i++)
		if (node->kids[i] && !is_known(plan, arguments, node->kids[i]))
			return false;
	return true;
}

/* D(a: 1, b: computed from the weights): with those arguments that are known, `none` for the others. */
static const DtypeRef *partial_dtype(Plan *plan, const Scope *arguments, const Node *call)
{
	Name name = node_path(plan->c, call->kids[0]);
	Decl *decl = name ? program_find(plan->p, DECL_DTYPE, name) : NULL;
	if (!decl)
		return NULL;
	const Node *params = decl_params(decl);
	Node **given = arena_array(plan->c->arena, Node *, params->kid_count + 1);
	if (!arguments_place(plan->p, decl, call, given))
		return NULL;
	DtypeRef *ref = arena_new_of(plan->c->arena, DtypeRef);
	*ref = (DtypeRef){decl, arena_array(plan->c->arena, Value, params->kid_count + 1), decl->name};
	for (uint32_t i = 0; i < params->kid_count; i++) {
		const Node *e = given[i] ? given[i] : params->kids[i]->kids[2];
		ref->arguments[i] = is_known(plan, arguments, e) ? value_eval(plan->p, arguments, e)
														 : (Value){.kind = VALUE_NONE, .dimension = ""};
	}
	return ref;
}

static const PlanLink *grid_link(const PlanTensor *tensor)
{
	for (size_t i = tensor->links.count; i-- > 0;)
		if (tensor->links.at[i].statement->is_grid)
			return &tensor->links.at[i];
	return NULL;
}

/* NULL: not known before its kernel is built. */
static const DtypeRef *coded_in(Plan *plan, const PlanLink *link)
{
	const Node *grid = link->statement->facts.grid, *e = grid->kid_count > 1 ? grid->kids[1] : NULL;
	if (!e)
		return NULL;
	if (!is_known(plan, link->arguments, e))
		return e->kind == N_CALL ? partial_dtype(plan, link->arguments, e) : NULL;
	Value value = value_eval(plan->p, link->arguments, e);
	return value.kind == VALUE_DTYPE ? value.dtype : NULL;
}

/* The dtype of a tensor that no statement gives one; NULL: the library has none of that name. */
static const DtypeRef *stored_in(Plan *plan, const PlanTensor *tensor)
{
	Text lower = {.arena = plan->c->arena};
	const char *dtype = tensor->coded ? "f32" : tensor->file->dtype;
	for (const char *s = dtype; *s; s++)
		text_printf(&lower, "%c", tolower((unsigned char)*s));
	Decl *decl = program_find(plan->p, DECL_DTYPE, name_of(plan->c, dtype));
	if (!decl)
		decl = program_find(plan->p, DECL_DTYPE, name_of(plan->c, lower.at ? lower.at : ""));
	return decl ? value_dtype(plan->p, decl->node->loc, decl).dtype : NULL;
}

/* ---- what the target executes ---- */

typedef struct Executable {
	const Node *prop; /* NULL: the target does not say */
	VEC(const DtypeRef *) dtypes;
	const char *names; /* "f32, f16" */
} Executable;

static Executable executable_of(Plan *plan)
{
	Executable out = {0};
	bool is_named = plan->options->target || plan->pipeline->node->kids[1];
	out.prop = is_named ? node_prop(plan->target->node, name_of(plan->c, "dtypes")) : NULL;
	Text names = {.arena = plan->c->arena};
	for (uint32_t i = 0; out.prop && i < out.prop->kid_count; i++) {
		Value value = value_eval(plan->p, NULL, out.prop->kids[i]);
		if (value.kind != VALUE_DTYPE)
			continue;
		text_printf(&names, "%s%s", out.dtypes.count ? ", " : "", value.dtype->label);
		vec_push(plan->c->arena, &out.dtypes, value.dtype);
	}
	out.names = names.at ? names.at : "nothing";
	return out;
}

/* One that the target names without arguments is executed with any. */
static bool executes(const Executable *target, const DtypeRef *dtype)
{
	for (size_t i = 0; i < target->dtypes.count; i++)
		if (target->dtypes.at[i]->decl == dtype->decl &&
			(!target->dtypes.at[i]->arguments || !strcmp(target->dtypes.at[i]->label, dtype->label)))
			return true;
	return false;
}

/* ---- reports: the first tensor by name, the others of the same reason by number ---- */

typedef enum Reason { LEGAL, DIVIDES_NOT, HOLDS_NOT, EXECUTES_NOT } Reason;

typedef struct Verdict {
	Reason reason;
	const Statement *statement; /* NULL: the tensor is copied, or keeps its type */
	const DtypeRef *dtype;
	const PlanTensor *tensor;
	size_t others;
} Verdict;
typedef VEC(Verdict) VerdictVec;

/* Does the output's file format have a form for it? */
static bool holds(const Plan *plan, const DtypeRef *dtype)
{
	return plan->output_format->holds_planes || dtype_layout(dtype, plan->output_format->name);
}

static Verdict judge(Plan *plan, const Executable *target, const PlanTensor *tensor)
{
	const PlanLink *link = grid_link(tensor);
	const DtypeRef *dtype = link ? coded_in(plan, link) : stored_in(plan, tensor);
	Verdict verdict = {LEGAL, link ? link->statement : NULL, dtype, tensor, 0};
	if (!dtype)
		return verdict;
	int64_t block = dtype_block_elements(plan->p, dtype);
	if (link && block && tensor->cols % block)
		verdict.reason = DIVIDES_NOT;
	else if (link && !holds(plan, dtype))
		verdict.reason = HOLDS_NOT;
	else if (target->prop && !executes(target, dtype) && !(link && link->statement->is_default))
		verdict.reason = EXECUTES_NOT;
	return verdict;
}

static Name last_role(const PlanTensor *tensor)
{
	return tensor->roles.count ? tensor->roles.at[tensor->roles.count - 1] : NULL;
}

/* Tensors that no statement gives a dtype: would one selection name both? `rest` does matrices, a role the others. */
static bool is_same_selection(const PlanTensor *a, const PlanTensor *b)
{
	bool is_matrix = a->file->rank >= 2;
	return is_matrix == (b->file->rank >= 2) && (is_matrix || (last_role(a) && last_role(a) == last_role(b)));
}

/* What a target cannot execute is told of a whole recipe at once. */
static bool is_same_origin(const Verdict *a, const Verdict *b)
{
	if (a->statement == b->statement)
		return true;
	return a->reason == EXECUTES_NOT && a->statement && b->statement && a->statement->recipe &&
		   a->statement->recipe == b->statement->recipe;
}

static bool is_same_reason(const Verdict *a, const Verdict *b)
{
	if (a->reason == EXECUTES_NOT && !a->statement && !is_same_selection(a->tensor, b->tensor))
		return false;
	return a->reason == b->reason && is_same_origin(a, b) && !strcmp(a->dtype->label, b->dtype->label) &&
		   (a->reason != DIVIDES_NOT || a->tensor->cols == b->tensor->cols);
}

static void add_verdict(Plan *plan, VerdictVec *all, Verdict verdict)
{
	for (size_t i = 0; i < all->count; i++) {
		if (is_same_reason(&all->at[i], &verdict)) {
			all->at[i].others++;
			return;
		}
	}
	vec_push(plan->c->arena, all, verdict);
}

/* Dtypes that a row of so many elements can be coded in: of the target, else dense ones. */
static const char *dividing(Plan *plan, const Executable *target, int64_t cols)
{
	Text names = {.arena = plan->c->arena};
	for (size_t i = 0; i < target->dtypes.count; i++) {
		int64_t block = dtype_block_elements(plan->p, target->dtypes.at[i]);
		if (!block || cols % block == 0)
			text_printf(&names, "%s%s", names.count ? ", " : "", target->dtypes.at[i]->label);
	}
	return names.at ? names.at : "f16, bf16";
}

/* The parameter that decides how long a block is, with its values nearest to the given one that divide the row:
 * "group: 64 or 128"; NULL: none does. */
static const char *dividing_arguments(Plan *plan, const DtypeRef *dtype, int64_t cols)
{
	const Node *params = decl_params(dtype->decl);
	for (uint32_t i = 0; dtype->arguments && i < params->kid_count; i++) {
		if (dtype->arguments[i].kind != VALUE_INT || dtype->arguments[i].integer < 1)
			continue;
		DtypeRef other = *dtype;
		other.arguments = arena_array(plan->c->arena, Value, params->kid_count);
		memcpy(other.arguments, dtype->arguments, params->kid_count * sizeof *other.arguments);
		int64_t found[2] = {0, 0}, given = dtype->arguments[i].integer;
		for (int side = 0; side < 2; side++)
			for (int64_t at = given; at > 0 && at <= cols && at <= 2 * given && !found[side]; at += side ? 1 : -1) {
				other.arguments[i] = value_int(dtype->arguments[i].loc, at);
				int64_t block = dtype_block_elements(plan->p, &other);
				found[side] = block && cols % block == 0 ? at : 0;
			}
		if (found[0] && found[1])
			return arena_printf(
				plan->c->arena, "%s: %lld or %lld", params->kids[i]->name, (long long)found[0], (long long)found[1]);
		if (found[0] || found[1])
			return arena_printf(
				plan->c->arena, "%s: %lld", params->kids[i]->name, (long long)(found[0] ? found[0] : found[1]));
	}
	return NULL;
}

/* Where the user says the dtype, else where the statement is. */
static Loc dtype_loc(Plan *plan, const Statement *statement)
{
	const Node *grid = statement->facts.grid, *e = grid->kid_count > 1 ? grid->kids[1] : NULL;
	const Node *params = decl_params(statement->pass);
	Node **given = arena_array(plan->c->arena, Node *, params->kid_count + 1);
	if (statement->call->kind == N_CALL && arguments_place(plan->p, statement->pass, statement->call, given))
		for (uint32_t i = 0; e && e->kind == N_NAME && i < params->kid_count; i++)
			if (params->kids[i]->name == e->name && given[i])
				return given[i]->loc;
	return statement->loc;
}

static void report_undivided(Plan *plan, const Executable *target, const Verdict *verdict, const char *others)
{
	const PlanTensor *tensor = verdict->tensor;
	const char *name = tensor->file->name, *dtype = verdict->dtype->label;
	const char *arguments = dividing_arguments(plan, verdict->dtype, tensor->cols);
	long long cols = tensor->cols, block = dtype_block_elements(plan->p, verdict->dtype);
	diag_error(plan->c, dtype_loc(plan, verdict->statement),
		"cannot quantize \"%s\"%s to %s: its rows have %lld elements, a block of %s has %lld", name, others, dtype,
		cols, dtype, block);
	if (arguments)
		diag_help(plan->c, "%s would divide them; `except \"%s\"` leaves it out", arguments, name);
	else
		diag_help(plan->c, "rows of %lld elements can become %s; `except \"%s\"` leaves it out", cols,
			dividing(plan, target, cols), name);
}

static void report(Plan *plan, const Executable *target, const Verdict *verdict, bool is_first)
{
	const PlanTensor *tensor = verdict->tensor;
	const char *name = tensor->file->name, *dtype = verdict->dtype->label, *machine = plan->target->name;
	const char *others = verdict->others ? arena_printf(plan->c->arena, " (and %zu more)", verdict->others) : "";
	const Node *of = plan->pipeline->node->kids[1];
	Loc loc = verdict->statement ? verdict->statement->loc : of ? of->loc : plan->pipeline->node->loc;
	if (verdict->reason == DIVIDES_NOT) {
		report_undivided(plan, target, verdict, others);
		return;
	}
	if (verdict->reason == HOLDS_NOT) {
		diag_error(plan->c, loc, "\"%s\"%s becomes %s, which %s cannot hold: the dtype has no layout for it", name,
			others, dtype, plan->output_format->name);
		diag_help(plan->c, "a safetensors file or folder holds it");
		return;
	}
	diag_error(plan->c, loc, "\"%s\"%s %s %s, which target %s cannot execute", name, others,
		verdict->statement ? "becomes" : "stays", dtype, machine);
	if (is_first)
		diag_note(plan->c, target->prop->loc, "%s executes %s", machine, target->names);
	if (!verdict->statement && target->dtypes.count) {
		const DtypeRef *half = target->dtypes.at[0];
		for (size_t i = 0; i < target->dtypes.count; i++)
			if (storage_bits(target->dtypes.at[i]->decl->name) == 16 && storage_bits(half->decl->name) != 16)
				half = target->dtypes.at[i];
		Name role = last_role(tensor);
		diag_help(plan->c, "write: cast(%s) on %s", half->label,
			tensor->file->rank >= 2 ? "rest"
			: role                  ? role
									: arena_printf(plan->c->arena, "\"%s\"", name));
	}
}

bool plan_legal(Plan *plan)
{
	Executable target = executable_of(plan);
	VerdictVec found = {0};
	if (plan->saves_arrays) /* nothing that a target would execute */
		return true;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		Verdict verdict = judge(plan, &target, &plan->tensors.at[i]);
		if (verdict.reason != LEGAL)
			add_verdict(plan, &found, verdict);
	}
	for (size_t i = 0; i < found.count; i++)
		report(plan, &target, &found.at[i], !i || found.at[i - 1].reason != EXECUTES_NOT);
	return found.count == 0;
}
