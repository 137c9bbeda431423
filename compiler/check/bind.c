/* SPDX-License-Identifier: MIT
 *
 * bind.c: arguments to parameters. Positional arguments fill parameters in
 * order, named ones by name; what is left takes its default, which may read the
 * parameters before it and the facts of the tensor in hand.
 */
#include "program.h"

#include <math.h>
#include <string.h>

static int parameter_of(const Node *params, Name name)
{
	for (uint32_t i = 0; i < params->kid_count; i++)
		if (params->kids[i]->name == name)
			return (int)i;
	return -1;
}

static bool report_unknown(Program *p, const Decl *decl, const Node *argument)
{
	const Node *params = decl_params(decl);
	diag_error(
		p->c, argument->loc, "%s %s has no parameter \"%s\"", decl_kind_text(decl->kind), decl->name, argument->name);
	NameVec known = {0};
	for (uint32_t i = 0; i < params->kid_count; i++)
		vec_push(p->c->arena, &known, params->kids[i]->name);
	diag_nearest(p->c, argument->name, &known);
	return false;
}

static bool place_one(Program *p, const Decl *decl, Node *argument, uint32_t *next, Node **out)
{
	const Node *params = decl_params(decl);
	int at;
	if (argument->kind == N_ARG) {
		at = parameter_of(params, argument->name);
		if (at < 0)
			return report_unknown(p, decl, argument);
	} else {
		at = (int)(*next)++;
		if ((uint32_t)at >= params->kid_count) {
			diag_error(p->c, argument->loc, "%s %s takes %u argument%s", decl_kind_text(decl->kind), decl->name,
				params->kid_count, params->kid_count == 1 ? "" : "s");
			return false;
		}
	}
	if (out[at]) {
		diag_error(p->c, argument->loc, "parameter \"%s\" is given twice", params->kids[at]->name);
		diag_note(p->c, out[at]->loc, "it is given here already");
		return false;
	}
	out[at] = argument->kind == N_ARG ? argument->kids[0] : argument;
	return true;
}

bool arguments_place(Program *p, const Decl *decl, const Node *call, Node **out)
{
	const Node *params = decl_params(decl);
	bool ok = true;
	uint32_t next = 0;
	memset(out, 0, params->kid_count * sizeof *out);
	for (uint32_t i = 1; call && call->kind == N_CALL && i < call->kid_count; i++)
		ok &= place_one(p, decl, call->kids[i], &next, out);
	for (uint32_t i = 0; ok && i < params->kid_count; i++) {
		if (out[i] || params->kids[i]->kids[2])
			continue;
		diag_error(p->c, call ? call->loc : decl->node->loc, "%s %s needs \"%s\"", decl_kind_text(decl->kind),
			decl->name, params->kids[i]->name);
		diag_note(p->c, params->kids[i]->loc, "it is declared here, without a default");
		const Node *type = params->kids[i]->kids[1];
		if (type && !strcmp(type->name, "dataset"))
			diag_help(p->c, "declare what the network reads, `data d from text(\"text.txt\")`, and write %s: d",
				params->kids[i]->name);
		ok = false;
	}
	return ok;
}

/* ---- types of parameters ---- */

static bool is_plain(const Value *v)
{
	return value_is_number(v) && !*v->dimension;
}

static bool fits_int(const Value *v)
{
	return v->kind == VALUE_INT;
}

static bool fits_fraction(const Value *v)
{
	return is_plain(v) && v->real >= 0 && v->real <= 1;
}

static bool fits_bool(const Value *v)
{
	return v->kind == VALUE_BOOL;
}

static bool fits_dtype(const Value *v)
{
	return v->kind == VALUE_DTYPE;
}

static bool fits_string(const Value *v)
{
	return v->kind == VALUE_STRING;
}

static bool fits_bytes(const Value *v)
{
	return value_is_number(v) && !strcmp(v->dimension, "byte");
}

static bool fits_tensor(const Value *v)
{
	return v->kind == VALUE_TENSOR;
}

static bool fits_word(const Value *v)
{
	return v->kind == VALUE_WORD;
}

static const struct {
	const char *name, *says;
	bool (*fits)(const Value *);
} types[] = {
	{"int", "a whole number", fits_int},
	{"real", "a number", is_plain},
	{"f32", "a number", is_plain},
	{"fraction", "a fraction from 0% to 100%", fits_fraction},
	{"bool", "true or false", fits_bool},
	{"dtype", "a dtype", fits_dtype},
	{"string", "a string", fits_string},
	{"bytes", "a size such as 4 GiB", fits_bytes},
	{"tensor", "tensor(\"file\", \"name\")", fits_tensor},
	{"dataset", "a data declaration", fits_word},
	{"word", "a name", fits_word},
};

bool parameter_type_is_known(Name type)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (!strcmp(type, types[i].name))
			return true;
	return false;
}

void parameter_type_names(Compiler *c, NameVec *to)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		vec_push(c->arena, to, name_of(c, types[i].name));
}

bool parameter_check(Program *p, const Decl *decl, const Node *param, const Value *value)
{
	if (!param->kids[1] || value->kind == VALUE_NONE)
		return true;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (strcmp(param->kids[1]->name, types[i].name))
			continue;
		if (types[i].fits(value))
			return true;
		Text got = {.arena = p->c->arena};
		value_print(value, &got);
		diag_error(p->c, value->loc, "\"%s\" of %s %s is %s, not %s", param->name, decl_kind_text(decl->kind),
			decl->name, types[i].says, got.at);
		if (value->kind == VALUE_WORD && types[i].fits == fits_dtype) {
			NameVec known = {0};
			program_names(p, DECL_DTYPE, &known);
			diag_nearest(p->c, name_of(p->c, value->text), &known);
		}
		return false;
	}
	return true; /* the type's own name is checked by program_check */
}

/* What an expression reads beside the arguments, which the caller has not written: "; cols is 256". */
static void print_facts(
	Program *p, const Scope *scope, const Scope *arguments, const Node *node, NameVec *done, Text *to)
{
	Value value;
	bool is_known = node->kind != N_NAME || scope_find(arguments, node->name, &value);
	for (size_t i = 0; i < done->count && !is_known; i++)
		is_known = done->at[i] == node->name;
	if (!is_known && scope_find(scope, node->name, &value) && value_is_number(&value)) {
		text_printf(to, "%s %s is ", done->count ? "," : ";", node->name);
		value_print(&value, to);
		vec_push(p->c->arena, done, node->name);
	}
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i])
			print_facts(p, scope, arguments, node->kids[i], done, to);
}

/* What a pass requires of its arguments; the first that does not hold is reported where the call is. */
static bool holds_requires(Program *p, const Scope *scope, const Decl *decl, const Node *call, const Scope *arguments)
{
	const Node *body = decl->kind == DECL_PASS ? decl->node->kids[2] : NULL;
	for (uint32_t i = 0; body && i < body->kid_count; i++) {
		const Node *line = body->kids[i];
		if (line->kind != N_REQUIRE)
			continue;
		Value held = value_eval(p, scope, line->kids[0]);
		if (held.kind == VALUE_ERROR || (held.kind == VALUE_BOOL && held.is_true))
			continue;
		Text given = {.arena = p->c->arena}, wanted = {.arena = p->c->arena};
		for (size_t k = 0; k < arguments->names.count; k++) {
			text_printf(&given, "%s%s: ", k ? ", " : "", arguments->names.at[k].name);
			value_print(&arguments->names.at[k].value, &given);
		}
		source_print(p->c, line->kids[0], &wanted);
		print_facts(p, scope, arguments, line->kids[0], &(NameVec){0}, &wanted);
		diag_error(p->c, call ? call->loc : decl->node->loc, "%s(%s) makes no sense: it requires %s", decl->name,
			given.at ? given.at : "", wanted.at);
		diag_note(p->c, line->loc, "this is why");
		return false;
	}
	return true;
}

bool value_bind(Program *p, const Scope *scope, const Decl *decl, const Node *call, Scope *to)
{
	const Node *params = decl_params(decl);
	Node **given = arena_array(p->c->arena, Node *, params->kid_count + 1);
	if (!arguments_place(p, decl, call, given))
		return false;
	/* a default may read the parameters before it, and what the caller's tensor is */
	Scope *inner = scope_new(p->c, scope);
	bool ok = true;
	for (uint32_t i = 0; i < params->kid_count; i++) {
		const Node *param = params->kids[i];
		Value value = given[i] ? value_eval(p, scope, given[i]) : value_eval(p, inner, param->kids[2]);
		if (value.kind == VALUE_ERROR || !parameter_check(p, decl, param, &value)) {
			ok = false;
			continue;
		}
		scope_bind(p->c, inner, param->name, value);
		scope_bind(p->c, to, param->name, value);
	}
	return ok && holds_requires(p, inner, decl, call, to);
}
