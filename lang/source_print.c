/* SPDX-License-Identifier: MIT
 *
 * source_print.c: a tree as legal .cmp that parses to the same tree. Comments are lost
 * but for those of the documentation.
 */
#include "source_print.h"

#include <string.h>

static void print_item(const Node *node, int depth, Text *to);

static void print_indent(int depth, Text *to)
{
	text_printf(to, "%*s", 2 * depth, "");
}

/* ` {` items `}` */
static void print_items(const Node *node, uint32_t from, int depth, Text *to)
{
	text_append(to, " {\n", 3);
	for (uint32_t i = from; i < node->kid_count; i++) {
		print_indent(depth + 1, to);
		print_item(node->kids[i], depth + 1, to);
		text_append(to, "\n", 1);
	}
	print_indent(depth, to);
	text_append(to, "}", 1);
}

static void print_doc(const char *doc, Text *to)
{
	while (doc) {
		const char *end = strchr(doc, '\n');
		int length = end ? (int)(end - doc) : (int)strlen(doc);
		text_printf(to, "##%s%.*s\n", length ? " " : "", length, doc);
		doc = end ? end + 1 : NULL;
	}
}

static void print_params(const Node *params, Text *to)
{
	text_append(to, "(", 1);
	for (uint32_t i = 0; i < params->kid_count; i++) {
		const Node *param = params->kids[i];
		text_printf(to, "%s%s", i ? ", " : "", param->name);
		if (param->kids[0])
			list_print(param->kids[0], 0, "[", "]", to);
		if (param->kids[1])
			text_printf(to, ": %s", param->kids[1]->name);
		if (param->kids[2]) {
			text_append(to, " = ", 3);
			expression_print(param->kids[2], IS_IF, to);
		}
	}
	text_append(to, ")", 1);
}

static void print_subject(const Node *subject, Text *to)
{
	bool is_axis = subject->op && strcmp(subject->op, "axis") == 0;
	text_printf(to, " on %s%s", subject->flag ? "all " : "", is_axis ? "axis " : "");
	for (uint32_t i = 0; i < subject->kid_count; i++) {
		const Node *member = subject->kids[i];
		text_printf(to, "%s%s", i ? ", " : "", member->kind == N_OTHERS ? "others " : "");
		bare_print(member->kind == N_OTHERS ? member->kids[0] : member, to);
	}
	if (subject->op && !is_axis)
		text_printf(to, " sharing %s", subject->op);
}

static void print_fn(const Node *node, int depth, Text *to)
{
	text_printf(to, "fn %s", node->name);
	print_params(node->kids[0], to);
	if (node->kids[1])
		list_print(node->kids[1], 0, " -> ", "", to);
	if (node->kids[2]->kind == N_BODY) {
		print_items(node->kids[2], 0, depth, to);
	} else {
		text_append(to, " = ", 3);
		expression_print(node->kids[2], IS_IF, to);
	}
}

static void print_role(const Node *node, Text *to)
{
	for (uint32_t i = 0; i < node->kids[0]->kid_count; i++)
		text_printf(to, "%s ", node->kids[0]->kids[i]->name);
	if (node->flag)
		text_printf(to, "re\"%s\"", node->text);
	else
		string_print(node->text, to);
	if (node->kids[1])
		list_print(node->kids[1], 0, ": [", "]", to);
}

static void print_pipeline(const Node *node, int depth, Text *to)
{
	text_printf(to, "pipeline %s of %s", node->name, node->kids[0]->name);
	if (node->kids[1])
		text_printf(to, " for %s", node->kids[1]->name);
	if (node->kids[2])
		text_printf(to, " host %s", node->kids[2]->name);
	print_items(node->kids[3], 0, depth, to);
}

/* `x = ` before it has been printed. */
static void print_weight(const Node *weight, Text *to)
{
	list_print(weight->kids[0], 0, "weight ", "", to);
	if (weight->kids[1])
		list_print(weight->kids[1], 0, " as ", "", to);
	if (weight->kids[2]) {
		text_append(to, " else ", 6);
		expression_print(weight->kids[2], IS_IF, to);
	}
}

/* DEFINE and UPDATE. */
static void print_equation(const Node *node, Text *to)
{
	bare_print(node->kids[0], to);
	if (node->kids[1])
		text_printf(to, ": %s", node->kids[1]->name);
	text_printf(to, " %s ", node_kind_text(node->kind));
	if (node->kids[2]->kind == N_WEIGHT) {
		print_weight(node->kids[2], to);
	} else if (node->kids[2]->kind == N_GIVEN) {
		text_append(to, "data ", 5);
		string_print(node->kids[2]->text, to);
	} else {
		expression_print(node->kids[2], IS_IF, to);
	}
}

static void print_declaration(const Node *node, int depth, Text *to)
{
	print_doc(node->doc, to);
	switch (node->kind) {
	case N_FN:
		print_fn(node, depth, to);
		break;
	case N_PASS:
		text_printf(to, "pass %s", node->name);
		print_params(node->kids[0], to);
		print_subject(node->kids[1], to);
		print_items(node->kids[2], 0, depth, to);
		break;
	case N_DTYPE:
		text_printf(to, "dtype %s", node->name);
		if (node->kids[0]->kid_count)
			print_params(node->kids[0], to);
		text_append(to, " of ", 4);
		bare_print(node->kids[1], to);
		print_items(node->kids[2], 0, depth, to);
		break;
	case N_RECIPE:
		text_printf(to, "recipe %s", node->name);
		if (node->kids[0]->kid_count)
			print_params(node->kids[0], to);
		print_items(node->kids[1], 0, depth, to);
		break;
	case N_NET:
		text_printf(to, "net %s", node->name);
		if (node->kids[1])
			list_print(node->kids[1], 0, " for ", "", to);
		print_items(node->kids[0], 0, depth, to);
		break;
	case N_EXPORT:
		text_printf(to, "export %s", node->name);
		if (node->kids[1])
			list_print(node->kids[1], 0, " for ", "", to);
		text_printf(to, " into %s", node->op);
		print_items(node->kids[0], 0, depth, to);
		break;
	case N_MODEL:
	case N_DATA:
		text_printf(to, "%s %s from ", node_kind_text(node->kind), node->name);
		if (node->op && node->kind == N_DATA)
			text_printf(to, "%s(", node->op);
		string_print(node->text, to);
		if (node->op)
			text_printf(to, node->kind == N_DATA ? ")" : " as %s", node->op);
		if (node->kid_count)
			print_items(node, 0, depth, to);
		break;
	default: /* target, roles */
		text_printf(to, "%s %s", node_kind_text(node->kind), node->name);
		print_items(node, 0, depth, to);
		break;
	}
}

/* Statements that begin with a keyword and hold one or two expressions. */
static void print_keyword_statement(const Node *node, int depth, Text *to)
{
	text_printf(to, "%s ", node_kind_text(node->kind));
	if (node->kind == N_FOR)
		text_printf(to, "%s in ", node->name);
	expression_print(node->kids[0], IS_IF, to);
	static const char *const between[N_COUNT] = {[N_BLOCK] = " = ", [N_KEEP] = " where ", [N_FOLD] = " into "};
	if (node->kind == N_FOR || node->kind == N_WHEN) {
		print_items(node->kids[1], 0, depth, to);
	} else if (between[node->kind]) {
		text_printf(to, "%s", between[node->kind]);
		expression_print(node->kids[1], IS_IF, to);
	}
}

static void print_apply(const Node *node, Text *to)
{
	bare_print(node->kids[0], to);
	if (node->kids[1]) {
		text_append(to, " on ", 4);
		selection_print(node->kids[1], SELECT_IF, to);
	}
}

/* SAVE and REPORT: the keyword, a path, and what belongs to it. */
static void print_output(const Node *node, int depth, Text *to)
{
	text_printf(to, "%s ", node_kind_text(node->kind));
	if (node->text)
		string_print(node->text, to);
	if (node->kind == N_SAVE && node->kid_count)
		print_items(node, 0, depth, to);
	else if (node->kind == N_REPORT)
		list_print(node, 0, node->text && node->kid_count ? ", " : "", "", to);
}

/* NOTE and ENTRY: the keyword, a text, and what it is of. */
static void print_note(const Node *node, Text *to)
{
	text_printf(to, "%s ", node_kind_text(node->kind));
	string_print(node->text, to);
	text_append(to, ", ", 2);
	expression_print(node->kids[0], IS_IF, to);
	if (node->kid_count < 2 || !node->kids[1])
		return;
	text_append(to, " where ", 7);
	expression_print(node->kids[1], IS_IF, to);
}

static void print_item(const Node *node, int depth, Text *to)
{
	switch (node->kind) {
	case N_IMPORT:
		text_append(to, "import ", 7);
		string_print(node->text, to);
		break;
	case N_LET:
		print_doc(node->doc, to);
		if (node->doc)
			print_indent(depth, to);
		text_printf(to, "let %s = ", node->name);
		expression_print(node->kids[0], IS_IF, to);
		break;
	case N_FN:
	case N_PASS:
	case N_DTYPE:
	case N_TARGET:
	case N_MODEL:
	case N_DATA:
	case N_NET:
	case N_EXPORT:
	case N_ROLES:
	case N_RECIPE:
		print_declaration(node, depth, to);
		break;
	case N_PIPELINE:
		print_doc(node->doc, to);
		print_pipeline(node, depth, to);
		break;
	case N_PROP:
		text_printf(to, "%s", node->name);
		if (node->flag)
			print_items(node, 0, depth, to);
		else
			list_print(node, 0, " ", "", to);
		break;
	case N_ROLE:
		print_role(node, to);
		break;
	case N_DEFINE:
	case N_UPDATE:
		print_equation(node, to);
		break;
	case N_OMIT:
		text_printf(to, "%s", node->name);
		list_print(node, 0, " = weight ", "", to);
		break;
	case N_AXES:
		text_append(to, "axis ", 5);
		for (uint32_t i = 0; i < node->kid_count; i++) {
			text_append(to, ", ", i ? 2 : 0);
			print_equation(node->kids[i], to);
		}
		break;
	case N_LAYER:
		text_printf(to, "layer %s %s ", node->name, node->kids[0]->kind == N_RANGE ? "in" : "<");
		expression_print(node->kids[0], IS_BITS, to);
		print_items(node->kids[1], 0, depth, to);
		break;
	case N_BLOCK:
	case N_FOR:
	case N_WHEN:
	case N_KEEP:
	case N_FOLD:
	case N_REQUIRE:
		print_keyword_statement(node, depth, to);
		break;
	case N_NOTE:
	case N_ENTRY:
		print_note(node, to);
		break;
	case N_LAYOUT:
		text_printf(to, "layout %s ", node->name);
		text_number(to, node->number);
		print_items(node, 0, depth, to);
		break;
	case N_PLANES:
		text_append(to, "planes ", 7);
		string_print(node->text, to);
		print_items(node, 0, depth, to);
		break;
	case N_APPLY:
		print_apply(node, to);
		break;
	case N_THEN:
		print_item(node->kids[0], depth, to);
		text_append(to, " then ", 6);
		print_item(node->kids[1], depth, to);
		break;
	case N_SAVE:
	case N_REPORT:
		print_output(node, depth, to);
		break;
	default:
		expression_print(node, IS_IF, to);
		break;
	}
}

static bool is_selection(NodeKind kind)
{
	return kind == N_EXCEPT || kind == N_LAYERS;
}

void source_print(Compiler *c, const Node *node, Text *to)
{
	(void)c;
	text_append(to, "", 0);
	if (is_selection(node->kind)) {
		selection_print(node, SELECT_IF, to);
		return;
	}
	if (node->kind != N_FILE && node->kind != N_BODY) {
		print_item(node, 0, to);
		return;
	}
	for (uint32_t i = 0; i < node->kid_count; i++) {
		bool is_apart = node->kids[i]->kind != N_IMPORT && node->kids[i]->kind != N_LET && node->kind == N_FILE;
		text_append(to, "\n", i > 0 && is_apart);
		print_item(node->kids[i], 0, to);
		text_append(to, "\n", 1);
	}
}
