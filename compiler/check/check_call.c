/* SPDX-License-Identifier: MIT
 *
 * check_call.c: calls. Functions of the program, what is built in, and reductions,
 * which bind the indices they run over.
 */
#include "check.h"

#include <string.h>

/* ---- what is built in ---- */

typedef enum Takes {
	TAKES_SCALARS,
	TAKES_ANYTHING, /* arrays, dtypes, words: each argument on its own terms */
	TAKES_CODED,    /* a dtype, a matrix, then arrays by the names of the dtype's parameters */
	TAKES_MATRIX,   /* the second argument is upper or lower */
	TAKES_STORED,
	TAKES_AXIS,
	TAKES_PARAMETER,
	TAKES_STORAGE, /* the first argument is a storage type */
} Takes;

enum { GIVES_UNKNOWN = -1, GIVES_LAST = -2, MANY = 255 }; /* GIVES_LAST: as many axes as the last argument */

typedef struct Builtin {
	const char *name;
	uint32_t least, most;
	Takes takes;
	int gives;        /* axes */
	int results;      /* several: that many */
	bool is_constant; /* value.c evaluates it too */
} Builtin;

static const Builtin builtins[] = {
	{"abs", 1, 1, TAKES_SCALARS, 0, 0, true},
	{"sqrt", 1, 1, TAKES_SCALARS, 0, 0, true},
	{"floor", 1, 1, TAKES_SCALARS, 0, 0, true},
	{"ceil", 1, 1, TAKES_SCALARS, 0, 0, true},
	{"trunc", 1, 1, TAKES_SCALARS, 0, 0, true},
	{"round", 1, 1, TAKES_SCALARS, 0, 0, true},
	{"round", 4, 4, TAKES_SCALARS, 0, 0, false}, /* round(D, F, place, x) */
	{"round_even", 1, 1, TAKES_SCALARS, 0, 0, true},
	{"is_nan", 1, 1, TAKES_SCALARS, 0, 0, false},
	{"log2", 1, 1, TAKES_SCALARS, 0, 0, true},
	{"log", 1, 1, TAKES_SCALARS, 0, 0, true},
	{"exp", 1, 1, TAKES_SCALARS, 0, 0, true},
	{"min", 2, MANY, TAKES_SCALARS, 0, 0, true},
	{"max", 2, MANY, TAKES_SCALARS, 0, 0, true},
	{"clamp", 3, 3, TAKES_SCALARS, 0, 0, false},
	{"xor", 2, 2, TAKES_SCALARS, 0, 0, false},
	{"bits", 2, 2, TAKES_STORAGE, 0, 0, false},
	{"from_bits", 2, 2, TAKES_STORAGE, 0, 0, false},
	{"stored", 1, 1, TAKES_STORED, 0, 0, false},
	{"extent", 1, 1, TAKES_AXIS, 0, 0, false},
	{"given", 1, 1, TAKES_PARAMETER, 0, 0, true},
	{"first", 1, MANY, TAKES_ANYTHING, 0, 0, true},
	{"tensor", 2, 3, TAKES_ANYTHING, 0, 0, true},
	{"encode", 2, MANY, TAKES_CODED, GIVES_LAST, 0, false},
	{"decode", 1, 1, TAKES_ANYTHING, GIVES_LAST, 0, false},
	{"fit", 2, 2, TAKES_ANYTHING, 0, 0, false},
	{"value", 4, 4, TAKES_SCALARS, 0, 0, false},
	{"blocks", 3, 3, TAKES_ANYTHING, GIVES_UNKNOWN, 0, false},
	{"factors", 2, 2, TAKES_ANYTHING, GIVES_UNKNOWN, 0, false},
	{"cholesky", 1, 2, TAKES_MATRIX, GIVES_UNKNOWN, 0, false},
	{"inverse", 1, 1, TAKES_MATRIX, GIVES_UNKNOWN, 0, false},
	{"transpose", 1, 1, TAKES_MATRIX, GIVES_UNKNOWN, 0, false},
	{"svd", 1, 1, TAKES_MATRIX, 0, 3, false},
	{"qr", 1, 1, TAKES_MATRIX, 0, 2, false},
	{"input", 1, 1, TAKES_ANYTHING, GIVES_UNKNOWN, 0, false},
	{"original", 1, 1, TAKES_ANYTHING, GIVES_LAST, 0, false},
	{"node", 1, 2, TAKES_ANYTHING, GIVES_UNKNOWN, 0, false},
	{"grad", 2, 2, TAKES_ANYTHING, GIVES_UNKNOWN, 0, false},
	{"loss", 1, MANY, TAKES_ANYTHING, 0, 0, false},
	{"batches", 1, MANY, TAKES_ANYTHING, 0, 0, false},
};
enum { BUILTINS = sizeof builtins / sizeof *builtins };

/* The row for so many arguments; else any of that name. */
static const Builtin *builtin_find(Name name, uint32_t arguments)
{
	const Builtin *found = NULL;
	for (int i = 0; name && i < BUILTINS; i++) {
		if (strcmp(builtins[i].name, name))
			continue;
		if (arguments >= builtins[i].least && arguments <= builtins[i].most)
			return &builtins[i];
		if (!found)
			found = &builtins[i];
	}
	return found;
}

static Name callee(const Node *call)
{
	return call->kids[0]->kind == N_NAME ? call->kids[0]->name : NULL;
}

/* ---- reductions ---- */

static const struct {
	const char *name;
	bool keeps_axis;
} reductions[] = {
	{"sum", false},
	{"prod", false},
	{"max", false},
	{"min", false},
	{"mean", false},
	{"any", false},
	{"all", false},
	{"count", false},
	{"argmax", false},
	{"argmin", false},
	{"quantile", false},
	{"rank", true},
	{"prefix", true},
	{"sort", true},
};
enum { REDUCTIONS = sizeof reductions / sizeof *reductions };

static int reduction_find(Name name)
{
	for (int i = 0; i < REDUCTIONS; i++)
		if (is_word(name, reductions[i].name))
			return i;
	return -1;
}

static bool has_axes(const Node *call)
{
	return call->kids[0]->kind == N_INDEX && call->kids[0]->kids[0]->kind == N_NAME;
}

bool is_reduction(const Node *call)
{
	return call->kind == N_CALL && has_axes(call) && reduction_find(call->kids[0]->kids[0]->name) >= 0;
}

/* Is `name` bound anew by the reduction? */
static bool rebinds(const Node *call, Name name)
{
	const Node *axes = call->kids[0];
	if (!is_reduction(call) || reductions[reduction_find(axes->kids[0]->name)].keeps_axis)
		return false;
	for (uint32_t i = 1; i < axes->kid_count; i++) {
		const Node *axis = axes->kids[i];
		if (axis->kind == N_BINARY || axis->kind == N_IN || axis->kind == N_BY)
			axis = axis->kids[0];
		if (axis->kind == N_NAME && axis->name == name)
			return true;
	}
	return false;
}

bool index_is_bounded(const Node *node, Name index)
{
	if (node->kind == N_CALL && rebinds(node, index))
		return false;
	for (uint32_t i = 1; node->kind == N_INDEX && i < node->kid_count; i++)
		if (node->kids[i]->kind == N_NAME && node->kids[i]->name == index)
			return true;
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && index_is_bounded(node->kids[i], index))
			return true;
	return false;
}

static void report_bound_twice(Checker *ck, const Node *axis, Name name, const Symbol *other)
{
	diag_error(ck->c, axis->loc, "index \"%s\" is in scope already: the reduction needs a name of its own", name);
	diag_note(ck->c, other->loc, "it is bound here");
}

static void bind_over(Checker *ck, const Node *call, const Node *axis)
{
	const Node *name = axis;
	bool is_bounded = false;
	if (axis->kind == N_BINARY && is_word(axis->op, "<")) {
		name = axis->kids[0];
		is_bounded = true;
		check_scalar(ck, axis->kids[1]);
	} else if (axis->kind == N_IN) {
		name = axis->kids[0];
		is_bounded = axis->kids[1]->kind == N_RANGE;
		if (is_bounded)
			check_expr(ck, axis->kids[1]);
		else if (axis->kids[1]->kind != N_NAME || !is_word(axis->kids[1]->name, "order"))
			diag_error(ck->c, axis->kids[1]->loc, "expected a range such as 0..n, or order");
	}
	if (name->kind != N_NAME) {
		diag_error(ck->c, axis->loc, "expected an index, as in sum[k](x[k]), sum[k < 32](..) or sum[k in a..b](..)");
		return;
	}
	const Symbol *other = index_find(ck, name->name);
	if (other)
		report_bound_twice(ck, axis, name->name, other);
	bool is_known = is_bounded || axis_is_known(ck, name->name);
	for (uint32_t i = 1; i < call->kid_count && !is_known; i++)
		is_known = index_is_bounded(call->kids[i], name->name);
	if (!is_known && !other)
		diag_error(ck->c, axis->loc, "nothing bounds index \"%s\": write %s < n", name->name, name->name);
	symbol_add(ck, SYMBOL_INDEX, name->name, axis->loc);
}

static void check_kept_axis(Checker *ck, const Node *call, const Node *axis)
{
	const Node *key = axis->kind == N_BY ? axis->kids[1] : NULL;
	if (key)
		axis = axis->kids[0];
	if (axis->kind != N_NAME || !index_find(ck, axis->name)) {
		diag_error(
			ck->c, axis->loc, "%s keeps its axis: it needs an index of the left side", call->kids[0]->kids[0]->name);
		if (axis->kind == N_NAME) /* bound here so that what it ranks is not unknown too */
			symbol_add(ck, SYMBOL_INDEX, axis->name, axis->loc);
	}
	if (key)
		check_scalar(ck, key);
}

static Shape check_reduction(Checker *ck, const Node *call, bool keeps_axis)
{
	const Node *axes = call->kids[0];
	Name name = axes->kids[0]->name;
	uint32_t most = is_word(name, "quantile") ? 3 : 2;
	frame_push(ck);
	for (uint32_t i = 1; i < axes->kid_count; i++) {
		if (keeps_axis)
			check_kept_axis(ck, call, axes->kids[i]);
		else
			bind_over(ck, call, axes->kids[i]);
	}
	if (call->kid_count != most)
		diag_error(ck->c, call->loc, "%s[..] takes %s", name, most == 3 ? "a value and a fraction" : "one value");
	for (uint32_t i = 1; i < call->kid_count; i++)
		check_scalar(ck, call->kids[i]);
	frame_pop(ck);
	return shape_scalar();
}

static Shape report_axes(Checker *ck, const Node *call, Name name)
{
	diag_error(ck->c, call->loc, "a reduction names its axes: %s[k](..)", name);
	return (Shape){0};
}

static const char *join(Checker *ck, const NameVec *names)
{
	Text text = {.arena = ck->c->arena};
	for (size_t i = 0; i < names->count; i++)
		text_printf(&text, "%s%s", i ? ", " : "", names->at[i]);
	return text.at;
}

static Shape report_reduction(Checker *ck, const Node *call)
{
	NameVec known = {0};
	Name name = call->kids[0]->kids[0]->name;
	for (int i = 0; i < REDUCTIONS; i++)
		vec_push(ck->c->arena, &known, name_of(ck->c, reductions[i].name));
	diag_error(ck->c, call->kids[0]->kids[0]->loc, "unknown reduction \"%s\"", name);
	if (name_nearest(name, &known))
		diag_nearest(ck->c, name, &known);
	else
		diag_help(ck->c, "there are: %s", join(ck, &known));
	return (Shape){0};
}

/* ---- calls ---- */

static int result_count(const Decl *fn)
{
	return fn->node->kids[1] ? (int)fn->node->kids[1]->kid_count : fn->node->kids[2]->kind == N_BODY ? 0 : 1;
}

static const Node *definition_in(const Node *body, Name name)
{
	for (uint32_t i = 0; i < body->kid_count; i++)
		if (body->kids[i]->kind == N_DEFINE && body->kids[i]->kids[0]->kind != N_TUPLE &&
			node_array(body->kids[i]->kids[0])->name == name)
			return body->kids[i];
	return NULL;
}

int fn_result_rank(const Decl *fn, const Node *result)
{
	if (result->kind == N_INDEX)
		return (int)subscript_count(result);
	const Node *definition = definition_in(fn->node->kids[2], result->name);
	if (!definition)
		return -1;
	if (definition->kids[0]->kind == N_INDEX)
		return (int)subscript_count(definition->kids[0]);
	const Node *value = definition->kids[2];
	return value->kind == N_CALL && !is_reduction(value) ? -1 : 0;
}

static Shape fn_shape(const Decl *fn)
{
	int count = result_count(fn);
	if (fn->node->kids[2]->kind != N_BODY)
		return shape_scalar();
	if (count > 1)
		return (Shape){SHAPE_RESULTS, 0, fn, count};
	if (count == 0)
		return (Shape){0};
	return shape_array(fn_result_rank(fn, fn->node->kids[1]->kids[0]));
}

Shape call_shape(const Checker *ck, const Node *call)
{
	if (call->kind != N_CALL || has_axes(call))
		return shape_scalar();
	Name name = callee(call);
	const Decl *fn = name ? program_find(ck->p, DECL_FN, name) : NULL;
	if (fn)
		return fn_shape(fn);
	const Builtin *builtin = builtin_find(name, call->kid_count - 1);
	if (builtin && builtin->results)
		return (Shape){SHAPE_RESULTS, 0, NULL, builtin->results};
	return builtin && builtin->gives < 0 ? shape_array(-1) : shape_scalar();
}

static void check_stored(Checker *ck, const Node *call)
{
	const Node *argument = call->kids[1], *name = node_array(argument);
	if (ck->stored == STORED_DECODES) {
		diag_error(ck->c, call->loc,
			"stored() is not written here: in `value`, `layout` and `planes` names are the stored fields");
		return;
	}
	const Symbol *symbol = name->kind == N_NAME ? symbol_find(ck, name->name) : NULL;
	if (name->kind == N_NAME && !symbol) {
		report_unknown_name(ck, name);
		return;
	}
	if (!symbol || !symbol->is_field) {
		diag_error(ck->c, call->loc, "stored() needs a field with a storage type");
		if (symbol && symbol->kind == SYMBOL_ARRAY && !symbol->is_subject)
			diag_note(ck->c, symbol->loc, "\"%s\" is defined here without one", symbol->name);
		return;
	}
	check_scalar(ck, argument);
}

static void check_extent(Checker *ck, const Node *argument)
{
	if (argument->kind == N_NAME && axis_is_known(ck, argument->name))
		return;
	NameVec known = {0};
	axis_names(ck, &known);
	diag_error(ck->c, argument->loc, "extent() needs an axis that is in scope");
	if (argument->kind == N_NAME)
		diag_nearest(ck->c, argument->name, &known);
}

static void check_given(Checker *ck, const Node *argument)
{
	if (argument->kind == N_FIELD) {
		check_expr(ck, argument);
		return;
	}
	const Symbol *symbol = argument->kind == N_NAME ? symbol_find(ck, argument->name) : NULL;
	if (argument->kind == N_NAME && !symbol && !(ck->has_facts && fact_is_known(argument->name)))
		report_unknown_name(ck, argument);
	else if (symbol && !symbol->is_parameter && !is_weight(ck, argument->name))
		diag_error(
			ck->c, argument->loc, "given() asks whether a parameter was given, and \"%s\" is none", argument->name);
	else if (argument->kind != N_NAME)
		diag_error(ck->c, argument->loc, "given() needs the name of a parameter");
}

static void check_storage_argument(Checker *ck, const Node *argument)
{
	if (argument->kind == N_NAME && storage_bits(argument->name))
		return;
	NameVec known = {0};
	storage_names(ck->c, &known);
	diag_error(ck->c, argument->loc, "expected a storage type such as f16");
	if (argument->kind == N_NAME)
		diag_nearest(ck->c, argument->name, &known);
}

static void check_matrix(Checker *ck, const Node *call)
{
	Shape shape = check_expr(ck, call->kids[1]);
	if (shape.kind == SHAPE_SCALAR || (shape.kind == SHAPE_ARRAY && shape.rank >= 0 && shape.rank != 2))
		diag_error(ck->c, call->kids[1]->loc, "%s needs a matrix", callee(call));
	const Node *side = call->kid_count > 2 ? call->kids[2] : NULL;
	if (side && !(side->kind == N_NAME && (is_word(side->name, "upper") || is_word(side->name, "lower"))))
		diag_error(ck->c, side->loc, "expected upper or lower");
}

/* Has any dtype a parameter of this name? */
static bool is_of_dtypes(Checker *ck, Name name, NameVec *known)
{
	bool is_found = false;
	for (size_t i = 0; i < ck->p->decls.count; i++) {
		const Decl *decl = ck->p->decls.at[i];
		const Node *params = decl->kind == DECL_DTYPE ? decl_params(decl) : NULL;
		for (uint32_t k = 0; params && k < params->kid_count; k++) {
			is_found |= params->kids[k]->name == name;
			vec_push(ck->c->arena, known, params->kids[k]->name);
		}
	}
	return is_found;
}

/* The dtype may be an argument of the pass and need not know the name; that none does is a slip. */
static void check_array_for_dtype(Checker *ck, const Node *argument)
{
	NameVec known = {0};
	if (argument->kind != N_ARG) {
		diag_error(ck->c, argument->loc, "what else encode takes has a name: encode(d, w, importance: h)");
		return;
	}
	check_expr(ck, argument->kids[0]);
	if (ck->decl->is_stdlib || !program_read_stdlib(ck->p) || is_of_dtypes(ck, argument->name, &known))
		return;
	diag_error(ck->c, argument->loc, "no dtype has a parameter \"%s\"", argument->name);
	diag_nearest(ck->c, argument->name, &known);
}

static Shape check_coded(Checker *ck, const Node *call)
{
	check_expr(ck, call->kids[1]);
	Shape matrix = check_expr(ck, call->kids[2]);
	for (uint32_t i = 3; i < call->kid_count; i++)
		check_array_for_dtype(ck, call->kids[i]);
	return matrix;
}

static Shape gives(const Builtin *builtin, Shape last)
{
	if (builtin->results)
		return (Shape){SHAPE_RESULTS, 0, NULL, builtin->results};
	if (builtin->gives == GIVES_LAST)
		return last;
	return shape_array(builtin->gives);
}

static Shape check_builtin(Checker *ck, const Node *call, const Builtin *builtin)
{
	uint32_t count = call->kid_count - 1;
	Shape last = {0};
	if (count < builtin->least && reduction_find(callee(call)) >= 0)
		return report_axes(ck, call, callee(call));
	if (count < builtin->least || count > builtin->most) {
		diag_error(ck->c, call->loc, "%s takes %s%u argument%s", builtin->name,
			builtin->most == MANY ? "at least " : "", builtin->least, builtin->least == 1 ? "" : "s");
		return (Shape){0};
	}
	if (ck->is_constant && !builtin->is_constant) {
		diag_error(ck->c, call->loc, "%s() is for equations and cannot be evaluated at compile time", builtin->name);
		return (Shape){0};
	}
	switch (builtin->takes) {
	case TAKES_STORED:
		check_stored(ck, call);
		return shape_scalar();
	case TAKES_AXIS:
		check_extent(ck, call->kids[1]);
		return shape_scalar();
	case TAKES_PARAMETER:
		check_given(ck, call->kids[1]);
		return shape_scalar();
	case TAKES_STORAGE:
		check_storage_argument(ck, call->kids[1]);
		check_scalar(ck, call->kids[2]);
		return shape_scalar();
	case TAKES_MATRIX:
		check_matrix(ck, call);
		break;
	case TAKES_CODED:
		return check_coded(ck, call);
	case TAKES_ANYTHING:
		for (uint32_t i = 1; i < call->kid_count; i++)
			if (call->kids[i]->kind != N_STRING)
				last = check_expr(ck, call->kids[i]);
		break;
	case TAKES_SCALARS:
		for (uint32_t i = 1; i < call->kid_count; i++)
			check_scalar(ck, call->kids[i]);
		break;
	}
	return gives(builtin, last);
}

static Shape report_function(Checker *ck, const Node *call, Name name)
{
	NameVec known = {0};
	if (reduction_find(name) >= 0)
		return report_axes(ck, call, name);
	program_names(ck->p, DECL_FN, &known);
	program_names(ck->p, DECL_DTYPE, &known);
	for (int i = 0; i < BUILTINS; i++)
		vec_push(ck->c->arena, &known, name_of(ck->c, builtins[i].name));
	diag_error(ck->c, call->kids[0]->loc, "unknown function \"%s\"", name);
	if (program_find(ck->p, DECL_PASS, name))
		diag_help(ck->c, "%s is a pass: it is applied in a pipeline", name);
	else
		diag_nearest(ck->c, name, &known);
	return (Shape){0};
}

static bool is_compile_time_fn(Checker *ck, const Node *call, const Decl *fn)
{
	if (!ck->is_constant || fn->node->kids[2]->kind != N_BODY)
		return true;
	diag_error(ck->c, call->loc, "fn %s is made of equations and cannot be evaluated at compile time", fn->name);
	return false;
}

Shape check_call(Checker *ck, const Node *call)
{
	if (has_axes(call)) {
		int at = reduction_find(call->kids[0]->kids[0]->name);
		return at < 0 ? report_reduction(ck, call) : check_reduction(ck, call, reductions[at].keeps_axis);
	}
	Name name = node_path(ck->c, call->kids[0]);
	if (!name) {
		diag_error(ck->c, call->kids[0]->loc, "this is no function");
		return (Shape){0};
	}
	const Decl *fn = program_find(ck->p, DECL_FN, name);
	const Builtin *builtin = builtin_find(name, call->kid_count - 1);
	if (fn && !(ck->is_constant && builtin && builtin->is_constant)) {
		if (is_compile_time_fn(ck, call, fn))
			check_arguments(ck, fn, call);
		return fn_shape(fn);
	}
	if (builtin)
		return check_builtin(ck, call, builtin);
	if (storage_bits(name) && call->kid_count == 2 && !ck->is_constant) {
		check_scalar(ck, call->kids[1]);
		return shape_scalar();
	}
	const Decl *dtype = program_find(ck->p, DECL_DTYPE, name);
	if (!dtype)
		return report_function(ck, call, name);
	check_arguments(ck, dtype, call);
	return shape_scalar();
}
