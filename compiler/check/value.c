/* SPDX-License-Identifier: MIT
 *
 * value.c: compile-time values. Arguments, bounds, properties and conditions of
 * recipes are evaluated here, in f64 and 64-bit integers, once per selected
 * tensor. Errors are reported once: VALUE_ERROR swallows what follows from it.
 */
#include "check.h"

#include <math.h>
#include <string.h>

Value value_error(Loc loc)
{
	return (Value){.kind = VALUE_ERROR, .loc = loc, .dimension = ""};
}

Value value_int(Loc loc, int64_t value)
{
	return (Value){.kind = VALUE_INT, .loc = loc, .integer = value, .real = (double)value, .dimension = ""};
}

Value value_real(Loc loc, double value)
{
	return (Value){.kind = VALUE_REAL, .loc = loc, .real = value, .dimension = ""};
}

Value value_bool(Loc loc, bool is_true)
{
	return (Value){.kind = VALUE_BOOL, .loc = loc, .is_true = is_true, .dimension = ""};
}

static Value value_text(ValueKind kind, Loc loc, const char *text)
{
	return (Value){.kind = kind, .loc = loc, .text = text, .dimension = ""};
}

Value value_string(Loc loc, const char *text)
{
	return value_text(VALUE_STRING, loc, text);
}

Value value_word(Loc loc, const char *text)
{
	return value_text(VALUE_WORD, loc, text);
}

bool value_is_number(const Value *value)
{
	return value->kind == VALUE_INT || value->kind == VALUE_REAL;
}

Scope *scope_new(Compiler *c, const Scope *outer)
{
	Scope *scope = arena_new_of(c->arena, Scope);
	scope->outer = outer;
	return scope;
}

void scope_bind(Compiler *c, Scope *scope, Name name, Value value)
{
	ScopeEntry entry = {name, value};
	vec_push(c->arena, &scope->names, entry);
}

/* Functions see the facts of the tensor in hand, not the caller's parameters. */
static const Scope *outermost(const Scope *scope)
{
	while (scope && scope->outer)
		scope = scope->outer;
	return scope;
}

bool scope_find(const Scope *scope, Name name, Value *out)
{
	for (; scope; scope = scope->outer) {
		for (size_t i = scope->names.count; i-- > 0;) {
			if (scope->names.at[i].name == name) {
				*out = scope->names.at[i].value;
				return true;
			}
		}
		if (scope->ask && scope->ask(scope->context, name, out))
			return true;
	}
	return false;
}

/* ---- names ---- */

static Value eval_let(Program *p, Decl *decl, Loc loc)
{
	if (decl->value)
		return *decl->value;
	if (decl->is_evaluating) {
		diag_error(p->c, loc, "let %s is defined by itself", decl->name);
		return value_error(loc);
	}
	decl->is_evaluating = true;
	Value value = value_eval(p, NULL, decl->node->kids[0]);
	decl->is_evaluating = false;
	decl->value = arena_new_of(p->c->arena, Value);
	*decl->value = value;
	return value;
}

Value value_dtype(Program *p, Loc loc, Decl *decl)
{
	DtypeRef *ref = arena_new_of(p->c->arena, DtypeRef);
	ref->decl = decl;
	ref->label = decl->name;
	return (Value){.kind = VALUE_DTYPE, .loc = loc, .dtype = ref, .dimension = ""};
}

static Value eval_name(Program *p, const Scope *scope, const Node *node)
{
	Value value;
	Name name = node->name;
	if (scope_find(scope, name, &value)) {
		if (value.kind != VALUE_STRING) /* a path is relative to the file that says it */
			value.loc = node->loc;
		return value;
	}
	if (is_word(name, "true") || is_word(name, "false"))
		return value_bool(node->loc, is_word(name, "true"));
	if (is_word(name, "none"))
		return (Value){.kind = VALUE_NONE, .loc = node->loc, .dimension = ""};
	if (is_word(name, "inf"))
		return value_real(node->loc, INFINITY);
	Decl *decl = program_find(p, DECL_LET, name);
	if (decl)
		return eval_let(p, decl, node->loc);
	decl = program_find(p, DECL_DTYPE, name);
	if (decl)
		return value_dtype(p, node->loc, decl);
	return value_word(node->loc, name);
}

Scope *dtype_scope(Program *p, const DtypeRef *dtype)
{
	Scope *scope = scope_new(p->c, NULL);
	const Node *params = decl_params(dtype->decl);
	for (uint32_t i = 0; i < params->kid_count; i++) {
		const Node *param = params->kids[i];
		Value value = {.kind = VALUE_NONE, .dimension = ""};
		if (dtype->arguments)
			value = dtype->arguments[i];
		else if (param->kids[2])
			value = value_eval(p, scope, param->kids[2]);
		scope_bind(p->c, scope, param->name, value);
	}
	return scope;
}

int64_t dtype_block_elements(Program *p, const DtypeRef *dtype)
{
	const Node *header = dtype->decl->node->kids[1];
	int64_t block = 0;
	const Scope *scope = dtype_scope(p, dtype);
	for (uint32_t i = 1; i < header->kid_count; i++) {
		const Node *axis = header->kids[i];
		if (axis->kind != N_BINARY)
			continue;
		Value bound = value_eval(p, scope, axis->kids[1]);
		block = (block ? block : 1) * (bound.kind == VALUE_INT ? bound.integer : 1);
	}
	return block;
}

static Value eval_field(Program *p, const Scope *scope, const Node *node)
{
	Name path = node_path(p->c, node);
	Value value;
	if (path && scope_find(scope, path, &value)) {
		value.loc = node->loc;
		return value;
	}
	Value base = value_eval(p, scope, node->kids[0]);
	if (base.kind == VALUE_ERROR)
		return base;
	if (base.kind == VALUE_DTYPE && is_word(node->name, "block")) {
		int64_t block = dtype_block_elements(p, base.dtype);
		Value cols;
		if (!block && scope_find(scope, name_of(p->c, "cols"), &cols))
			block = cols.integer;
		return value_int(node->loc, block);
	}
	if (base.kind == VALUE_WORD && is_word(base.text, "config"))
		diag_error(p->c, node->loc, "the model's config has no \"%s\"", node->name);
	else
		diag_error(p->c, node->loc, "no field \"%s\" here", node->name);
	return value_error(node->loc);
}

/* ---- operators ---- */

Value value_need_number(Program *p, Value value, const char *what)
{
	if (value.kind == VALUE_ERROR || value_is_number(&value))
		return value;
	if (value.kind == VALUE_WORD)
		diag_error(p->c, value.loc, "unknown name \"%s\"", value.text);
	else
		diag_error(p->c, value.loc, "%s needs a number here", what);
	return value_error(value.loc);
}

static Value need_bool(Program *p, Value value)
{
	if (value.kind == VALUE_ERROR || value.kind == VALUE_BOOL)
		return value;
	if (value.kind == VALUE_WORD)
		diag_error(p->c, value.loc, "unknown name \"%s\"", value.text);
	else
		diag_error(p->c, value.loc, "expected true or false here");
	return value_error(value.loc);
}

static Value eval_binary(Program *p, const Scope *scope, const Node *node)
{
	Value a = value_eval(p, scope, node->kids[0]);
	if (a.kind == VALUE_ERROR)
		return a;
	bool is_and = is_word(node->op, "and");
	if (is_and || is_word(node->op, "or")) {
		a = need_bool(p, a);
		if (a.kind == VALUE_ERROR || a.is_true != is_and)
			return a;
		return need_bool(p, value_eval(p, scope, node->kids[1]));
	}
	Value b = value_eval(p, scope, node->kids[1]);
	if (b.kind == VALUE_ERROR)
		return b;
	return value_operate(p, node, a, b);
}

static Value eval_unary(Program *p, const Scope *scope, const Node *node)
{
	Value a = value_eval(p, scope, node->kids[0]);
	if (is_word(node->op, "not")) {
		a = need_bool(p, a);
		a.is_true = !a.is_true;
		return a;
	}
	a = value_need_number(p, a, node->op);
	if (is_word(node->op, "~") && a.kind == VALUE_INT)
		return value_int(node->loc, ~a.integer);
	a.integer = (int64_t)(0 - (uint64_t)a.integer);
	a.real = -a.real;
	return a;
}

/* ---- calls ---- */

static double sum_of_signs(double x)
{
	return (x > 0) - (x < 0);
}

static double round_even(double x)
{
	return nearbyint(x);
}

static double square(double x)
{
	return x * x;
}

static const struct {
	const char *name;
	double (*run)(double);
	enum { GIVES_REAL, GIVES_INT, GIVES_SAME } gives; /* SAME: a whole number of one */
} functions[] = {
	{"abs", fabs, GIVES_SAME},
	{"sqrt", sqrt, GIVES_REAL},
	{"floor", floor, GIVES_INT},
	{"ceil", ceil, GIVES_INT},
	{"trunc", trunc, GIVES_INT},
	{"round", round, GIVES_INT},
	{"round_even", round_even, GIVES_INT},
	{"log2", log2, GIVES_REAL},
	{"log", log, GIVES_REAL},
	{"exp", exp, GIVES_REAL},
	{"sq", square, GIVES_SAME},
	{"sgn", sum_of_signs, GIVES_SAME},
};

static Value to_int_if_whole(Loc loc, double value, bool is_int)
{
	if (is_int && fabs(value) < 9.2e18)
		return value_int(loc, (int64_t)value);
	return value_real(loc, value);
}

static Value eval_extreme(Program *p, const Scope *scope, const Node *call, bool is_max)
{
	Value best = value_error(call->loc);
	for (uint32_t i = 1; i < call->kid_count; i++) {
		Value v = value_need_number(p, value_eval(p, scope, call->kids[i]), "min and max");
		if (v.kind == VALUE_ERROR)
			return v;
		if (i == 1 || isnan(best.real) || (is_max ? v.real > best.real : v.real < best.real))
			best = v;
	}
	best.real += 0.0; /* any zero gives +0 */
	best.loc = call->loc;
	return best;
}

/* "{name}.input" -> the facts of the tensor in hand put in; keeps_facts: only what else stands in braces */
static const char *interpolate(Program *p, const Scope *scope, const char *text, bool keeps_facts)
{
	Text out = {.arena = p->c->arena};
	for (const char *s = text; *s;) {
		const char *close = *s == '{' ? strchr(s, '}') : NULL;
		Name name = close ? name_intern(p->c, s + 1, (size_t)(close - s - 1)) : NULL;
		Value value;
		if (close && !(keeps_facts && fact_is_known(name)) && scope_find(scope, name, &value)) {
			value_print(&value, &out);
			s = close + 1;
		} else {
			text_append(&out, s++, 1);
		}
	}
	return out.count ? out.at : "";
}

const char *value_fill(Program *p, const Scope *scope, const char *text)
{
	return interpolate(p, scope, text, false);
}

/* tensor("file", "name"), or with what it is if the file has no such tensor: another one, or none */
static Value eval_tensor(Program *p, const Scope *scope, const Node *call)
{
	bool has_names = call->kid_count == 3 || call->kid_count == 4;
	Value file = has_names ? value_eval(p, scope, call->kids[1]) : value_error(call->loc);
	Value name = has_names ? value_eval(p, scope, call->kids[2]) : value_error(call->loc);
	if (file.kind != VALUE_STRING || name.kind != VALUE_STRING) {
		diag_error(p->c, call->loc, "tensor needs a file and a tensor's name: tensor(\"x.safetensors\", \"{name}.x\")");
		return value_error(call->loc);
	}
	Value value = value_text(VALUE_TENSOR, call->loc, file.text);
	value.text = path_beside(p->c, file.loc, interpolate(p, scope, file.text, false));
	value.tensor = interpolate(p, scope, name.text, false);
	value.pattern = interpolate(p, scope, name.text, true);
	value.loc = file.loc;
	if (call->kid_count < 4)
		return value;
	Value *otherwise = arena_new_of(p->c->arena, Value);
	*otherwise = value_eval(p, scope, call->kids[3]);
	value.otherwise = otherwise;
	if (otherwise->kind == VALUE_TENSOR || otherwise->kind == VALUE_NONE)
		return value;
	if (otherwise->kind != VALUE_ERROR)
		diag_error(p->c, otherwise->loc, "what stands for a tensor that is not there is another tensor, or none");
	return value_error(call->loc);
}

static Value eval_dtype_call(Program *p, const Scope *scope, const Node *call, Decl *decl)
{
	Scope *bound = scope_new(p->c, NULL);
	if (!value_bind(p, scope, decl, call, bound))
		return value_error(call->loc);
	DtypeRef *ref = arena_new_of(p->c->arena, DtypeRef);
	ref->decl = decl;
	ref->arguments = arena_array(p->c->arena, Value, bound->names.count + 1);
	Text label = {.arena = p->c->arena};
	text_printf(&label, "%s(", decl->name);
	for (size_t i = 0; i < bound->names.count; i++) {
		ref->arguments[i] = bound->names.at[i].value;
		text_printf(&label, "%s%s: ", i ? ", " : "", bound->names.at[i].name);
		value_print(&ref->arguments[i], &label);
	}
	text_printf(&label, ")");
	ref->label = label.at;
	return (Value){.kind = VALUE_DTYPE, .loc = call->loc, .dtype = ref, .dimension = ""};
}

static Value eval_fn(Program *p, const Scope *scope, const Node *call, const Decl *decl)
{
	const Node *body = decl->node->kids[2];
	if (body->kind == N_BODY) {
		diag_error(p->c, call->loc, "fn %s is made of equations and cannot be evaluated at compile time", decl->name);
		diag_note(p->c, decl->node->loc, "it is declared here");
		return value_error(call->loc);
	}
	Scope *bound = scope_new(p->c, outermost(scope));
	if (!value_bind(p, scope, decl, call, bound))
		return value_error(call->loc);
	return value_eval(p, bound, body);
}

/* A field that the config lacks is none. */
static bool is_given(Program *p, const Scope *scope, const Node *node)
{
	Value value;
	if (node->kind == N_FIELD)
		return scope_find(scope, node_path(p->c, node), &value) && value.kind != VALUE_NONE;
	return value_eval(p, scope, node).kind != VALUE_NONE;
}

/* The first that is given, else the last. */
static Value eval_first(Program *p, const Scope *scope, const Node *call)
{
	uint32_t i = 1;
	while (i + 1 < call->kid_count && !is_given(p, scope, call->kids[i]))
		i++;
	return value_eval(p, scope, call->kids[i]);
}

static Value eval_call(Program *p, const Scope *scope, const Node *node)
{
	Name name = node_path(p->c, node->kids[0]);
	if (!name) {
		diag_error(p->c, node->loc, "this cannot be evaluated at compile time");
		return value_error(node->loc);
	}
	Decl *decl = program_find(p, DECL_FN, name);
	if (decl && decl->node->kids[2]->kind != N_BODY)
		return eval_fn(p, scope, node, decl);
	if (!decl)
		decl = program_find(p, DECL_DTYPE, name);
	if (decl && decl->kind == DECL_DTYPE)
		return eval_dtype_call(p, scope, node, decl);
	if (is_word(name, "min") || is_word(name, "max"))
		return eval_extreme(p, scope, node, is_word(name, "max"));
	if (is_word(name, "tensor"))
		return eval_tensor(p, scope, node);
	if (is_word(name, "given") && node->kid_count == 2)
		return value_bool(node->loc, is_given(p, scope, node->kids[1]));
	if (is_word(name, "first") && node->kid_count > 1)
		return eval_first(p, scope, node);
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		if (!is_word(name, functions[i].name) || node->kid_count != 2)
			continue;
		Value a = value_need_number(p, value_eval(p, scope, node->kids[1]), name);
		if (a.kind == VALUE_ERROR)
			return a;
		double x = functions[i].run(a.real);
		bool is_int = functions[i].gives == GIVES_INT || (functions[i].gives == GIVES_SAME && a.kind == VALUE_INT);
		return to_int_if_whole(node->loc, x, is_int);
	}
	if (decl)
		return eval_fn(p, scope, node, decl); /* its error: made of equations */
	diag_error(p->c, node->kids[0]->loc, "unknown function \"%s\"", name);
	NameVec known = {0};
	program_names(p, DECL_FN, &known);
	diag_nearest(p->c, name, &known);
	return value_error(node->loc);
}

/* ---- the rest ---- */

static Value eval_number(const Node *node)
{
	Value value =
		node->flag && !node->unit ? value_int(node->loc, (int64_t)node->number) : value_real(node->loc, node->number);
	double scale;
	const char *dimension;
	if (node->unit && unit_scale(node->unit, &scale, &dimension)) {
		value.real *= scale;
		value.integer = (int64_t)value.real;
		value.dimension = dimension;
	}
	return value;
}

static Value eval_list(Program *p, const Scope *scope, const Node *node)
{
	Value list = {.kind = VALUE_LIST, .loc = node->loc, .count = node->kid_count, .dimension = ""};
	list.items = arena_array(p->c->arena, Value, node->kid_count + 1);
	for (uint32_t i = 0; i < node->kid_count; i++) {
		list.items[i] = value_eval(p, scope, node->kids[i]);
		if (list.items[i].kind == VALUE_ERROR)
			return list.items[i];
	}
	return list;
}

static Value eval_range(Program *p, const Scope *scope, const Node *node)
{
	Value parts[3] = {{0}, {0}, value_int(node->loc, 1)};
	for (uint32_t i = 0; i < node->kid_count; i++) {
		parts[i] = value_eval(p, scope, node->kids[i]);
		if (parts[i].kind == VALUE_ERROR)
			return parts[i];
		if (parts[i].kind != VALUE_INT) {
			diag_error(p->c, node->kids[i]->loc, "a range needs whole numbers");
			return value_error(node->loc);
		}
	}
	return (Value){.kind = VALUE_RANGE,
		.loc = node->loc,
		.integer = parts[0].integer,
		.hi = parts[1].integer,
		.step = parts[2].integer,
		.dimension = ""};
}

Value value_eval(Program *p, const Scope *scope, const Node *node)
{
	switch (node->kind) {
	case N_NUMBER:
		return eval_number(node);
	case N_STRING:
		return value_text(VALUE_STRING, node->loc, node->text);
	case N_REGEX:
		return value_text(VALUE_REGEX, node->loc, node->text);
	case N_RATIO:
		return value_text(VALUE_RATIO, node->loc, node->text);
	case N_NAME:
		return eval_name(p, scope, node);
	case N_FIELD:
		return eval_field(p, scope, node);
	case N_ARG:
		return value_eval(p, scope, node->kids[0]);
	case N_UNARY:
		return eval_unary(p, scope, node);
	case N_BINARY:
		return eval_binary(p, scope, node);
	case N_CALL:
		return eval_call(p, scope, node);
	case N_LIST:
		return eval_list(p, scope, node);
	case N_RANGE:
		return eval_range(p, scope, node);
	case N_IF: {
		Value c = need_bool(p, value_eval(p, scope, node->kids[0]));
		return c.kind == VALUE_ERROR ? c : value_eval(p, scope, node->kids[c.is_true ? 1 : 2]);
	}
	default:
		diag_error(p->c, node->loc, "this cannot be evaluated at compile time");
		return value_error(node->loc);
	}
}

void value_print(const Value *value, Text *to)
{
	switch (value->kind) {
	case VALUE_BOOL:
		text_printf(to, "%s", value->is_true ? "true" : "false");
		return;
	case VALUE_INT:
		text_printf(to, "%lld", (long long)value->integer);
		return;
	case VALUE_REAL:
		text_number(to, value->real);
		if (*value->dimension)
			text_printf(to, " %s", value->dimension);
		return;
	case VALUE_REGEX:
		text_printf(to, "re\"%s\"", value->text);
		return;
	case VALUE_STRING:
	case VALUE_RATIO:
	case VALUE_WORD:
		text_printf(to, "%s", value->text);
		return;
	case VALUE_DTYPE:
		text_printf(to, "%s", value->dtype->label);
		return;
	case VALUE_TENSOR:
		text_printf(to, "tensor(\"%s\", \"%s\")", value->text, value->tensor);
		return;
	case VALUE_RANGE:
		text_printf(to, "%lld..%lld", (long long)value->integer, (long long)value->hi);
		return;
	case VALUE_LIST:
		for (size_t i = 0; i < value->count; i++) {
			text_printf(to, i ? ", " : "[");
			value_print(&value->items[i], to);
		}
		text_printf(to, "]");
		return;
	default:
		text_printf(to, "none");
	}
}

const Node *node_prop(const Node *node, Name name)
{
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && node->kids[i]->kind == N_PROP && node->kids[i]->name == name)
			return node->kids[i];
	return NULL;
}
