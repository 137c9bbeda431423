/* SPDX-License-Identifier: MIT
 *
 * check_property.c: properties of targets, models and data: which there are, and
 * what their values may be; those of `save`, which may be any.
 */
#include "check.h"

#include <stdlib.h>
#include <string.h>

typedef enum PropertyType {
	PROPERTY_STRING,
	PROPERTY_TEXT,  /* a string that may be empty */
	PROPERTY_COUNT, /* a whole number from 1 */
	PROPERTY_WHOLE, /* a whole number from 0 */
	PROPERTY_BOOL,
	PROPERTY_SIZE,
	PROPERTY_RATE,
	PROPERTY_PRICE,
	PROPERTY_DTYPES,
	PROPERTY_SPARSITY,
	PROPERTY_PER,
} PropertyType;

static const char *const says[] = {
	[PROPERTY_STRING] = "a string",
	[PROPERTY_TEXT] = "a string",
	[PROPERTY_COUNT] = "a whole number from 1",
	[PROPERTY_WHOLE] = "a whole number",
	[PROPERTY_BOOL] = "true or false",
	[PROPERTY_SIZE] = "a size such as 8 GiB",
	[PROPERTY_RATE] = "a rate such as 17 GB/s",
	[PROPERTY_PRICE] = "a price such as 0.10 USD/hour",
	[PROPERTY_DTYPES] = "a list of dtypes such as f16, q8_0",
	[PROPERTY_SPARSITY] = "none or a ratio such as 2:4",
	[PROPERTY_PER] = "line or packed",
};

static const struct {
	NodeKind of;
	const char *name;
	PropertyType type;
} properties[] = {
	{N_TARGET, "cpu", PROPERTY_STRING},
	{N_TARGET, "triple", PROPERTY_STRING},
	{N_TARGET, "features", PROPERTY_STRING},
	{N_TARGET, "cores", PROPERTY_COUNT},
	{N_TARGET, "memory", PROPERTY_SIZE},
	{N_TARGET, "bandwidth", PROPERTY_RATE},
	{N_TARGET, "dtypes", PROPERTY_DTYPES},
	{N_TARGET, "sparsity", PROPERTY_SPARSITY},
	{N_TARGET, "price", PROPERTY_PRICE},
	{N_MODEL, "requantize", PROPERTY_BOOL},
	{N_DATA, "window", PROPERTY_COUNT},
	{N_DATA, "samples", PROPERTY_COUNT},
	{N_DATA, "seed", PROPERTY_WHOLE},
	{N_DATA, "per", PROPERTY_PER},
	{N_DATA, "between", PROPERTY_TEXT},
	{N_DATA, "tokenizer", PROPERTY_STRING},
	{N_DATA, "labels", PROPERTY_STRING},
	{N_DATA, "one_shot", PROPERTY_BOOL},
};
enum { PROPERTIES = sizeof properties / sizeof *properties };

static int property_find(NodeKind of, Name name)
{
	for (int i = 0; i < PROPERTIES; i++)
		if (properties[i].of == of && is_word(name, properties[i].name))
			return i;
	return -1;
}

static void report_unknown(Checker *ck, const Node *node, const Node *prop, const char *what)
{
	NameVec known = {0};
	for (int i = 0; i < PROPERTIES; i++)
		if (properties[i].of == node->kind)
			vec_push(ck->c->arena, &known, name_of(ck->c, properties[i].name));
	diag_error(ck->c, prop->loc, "%s has no property \"%s\"", what, prop->name);
	diag_nearest(ck->c, prop->name, &known);
}

/* The values as they are written. */
static const char *written(Checker *ck, const Node *prop)
{
	if (prop->flag || !prop->kid_count)
		return "{ .. }";
	Loc loc = loc_join(prop->kids[0]->loc, prop->kids[prop->kid_count - 1]->loc);
	return arena_copy(ck->c->arena, source_of(ck->c, loc.file)->text + loc.begin, loc.end - loc.begin);
}

static bool is_ratio(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10), m = *end == ':' ? strtol(end + 1, &end, 10) : 0;
	return n > 0 && n < m && m <= 64 && !*end;
}

static bool has_dimension(const Value *value, const char *dimension)
{
	return value_is_number(value) && !strcmp(value->dimension, dimension) && value->real > 0;
}

static bool fits(const Value *value, PropertyType type)
{
	switch (type) {
	case PROPERTY_STRING:
		return value->kind == VALUE_STRING && *value->text;
	case PROPERTY_TEXT:
		return value->kind == VALUE_STRING;
	case PROPERTY_COUNT:
		return value->kind == VALUE_INT && value->integer >= 1;
	case PROPERTY_WHOLE:
		return value->kind == VALUE_INT && value->integer >= 0;
	case PROPERTY_BOOL:
		return value->kind == VALUE_BOOL;
	case PROPERTY_SIZE:
		return has_dimension(value, "byte");
	case PROPERTY_RATE:
		return has_dimension(value, "byte/s");
	case PROPERTY_PRICE:
		return has_dimension(value, "USD/hour") ||
			   (value_is_number(value) && !strcmp(value->dimension, "USD/hour") && value->real == 0);
	case PROPERTY_DTYPES:
		return value->kind == VALUE_DTYPE;
	case PROPERTY_SPARSITY:
		return value->kind == VALUE_NONE || (value->kind == VALUE_RATIO && is_ratio(value->text));
	case PROPERTY_PER:
		return value->kind == VALUE_WORD && (!strcmp(value->text, "line") || !strcmp(value->text, "packed"));
	}
	return false;
}

static void report_unknown_dtype(Checker *ck, const Node *name)
{
	NameVec known = {0};
	program_names(ck->p, DECL_DTYPE, &known);
	diag_error(ck->c, name->loc, "unknown dtype \"%s\"", name->name);
	diag_nearest(ck->c, name->name, &known);
}

static void check_values(Checker *ck, const Node *prop, PropertyType type, const char *what)
{
	bool is_list = type == PROPERTY_DTYPES;
	bool is_wrong = prop->flag || !prop->kid_count || (prop->kid_count > 1 && !is_list);
	for (uint32_t i = 0; i < prop->kid_count && !is_wrong; i++) {
		size_t errors = diag_errors(ck->c);
		if (prop->kids[i]->kind != N_NAME) /* a name alone may be a word */
			check_scalar(ck, prop->kids[i]);
		if (diag_errors(ck->c) != errors)
			return;
		Value value = value_eval(ck->p, NULL, prop->kids[i]);
		if (value.kind == VALUE_ERROR)
			return;
		if (is_list && value.kind == VALUE_WORD)
			report_unknown_dtype(ck, prop->kids[i]);
		else
			is_wrong = !fits(&value, type);
	}
	if (is_wrong)
		diag_error(ck->c, prop->loc, "\"%s\" of %s is %s, not %s", prop->name, what, says[type], written(ck, prop));
}

/* Metadata of a result: any names, any depth, each once. */
void check_metadata(Checker *ck, const Node *node)
{
	for (uint32_t i = 0; i < node->kid_count; i++) {
		const Node *prop = node->kids[i], *first = node_prop(node, prop->name);
		if (first != prop) {
			diag_error(ck->c, prop->loc, "save says \"%s\" twice", prop->name);
			diag_note(ck->c, first->loc, "it is said here already");
		}
		if (prop->flag)
			check_metadata(ck, prop);
		else if (prop->kid_count != 1)
			diag_error(ck->c, prop->loc, "\"%s\" has one value, which may be a list: [1, 2]", prop->name);
	}
}

void check_properties(Checker *ck, const Node *node, const char *what)
{
	ck->is_constant = true;
	for (uint32_t i = 0; i < node->kid_count; i++) {
		const Node *prop = node->kids[i];
		int at = property_find(node->kind, prop->name);
		const Node *first = node_prop(node, prop->name);
		if (at < 0) {
			report_unknown(ck, node, prop, what);
		} else if (first != prop) {
			diag_error(ck->c, prop->loc, "%s says \"%s\" twice", what, prop->name);
			diag_note(ck->c, first->loc, "it is said here already");
		} else {
			check_values(ck, prop, properties[at].type, what);
		}
	}
	ck->is_constant = false;
}
