/* SPDX-License-Identifier: MIT
 *
 * program_print.c: --emit=program. The user's declarations as the planner knows
 * them: a signature each, and below it what was derived from its equations.
 */
#include "facts.h"

#include <string.h>

static void print_source(const Program *p, const Node *node, Text *to)
{
	source_print(p->c, node, to);
}

static void print_params(const Program *p, const Node *params, Text *to)
{
	for (uint32_t i = 0; i < params->kid_count; i++) {
		const Node *param = params->kids[i];
		text_printf(to, "%s%s", i ? ", " : "(", param->name);
		for (uint32_t k = 0; param->kids[0] && k < param->kids[0]->kid_count; k++) {
			text_printf(to, k ? ", " : "[");
			print_source(p, param->kids[0]->kids[k], to);
		}
		text_printf(to, param->kids[0] ? "]" : "");
		if (param->kids[1])
			text_printf(to, ": %s", param->kids[1]->name);
		if (param->kids[2]) {
			text_printf(to, " = ");
			print_source(p, param->kids[2], to);
		}
	}
	text_printf(to, params->kid_count ? ")" : "");
}

static void print_fn(const Program *p, const Decl *decl, Text *to)
{
	const Node *results = decl->node->kids[1];
	if (!decl->node->kids[0]->kid_count)
		text_printf(to, "()");
	for (uint32_t i = 0; results && i < results->kid_count; i++) {
		text_printf(to, i ? ", " : " -> ");
		print_source(p, results->kids[i], to);
	}
	text_printf(to, "\n");
}

static void print_pass(Program *p, const Decl *decl, Text *to)
{
	static const char *const kinds[] = {
		[PASS_MOVE] = "gives weights new values",
		[PASS_MASK] = "masks: zeroes some weights, keeps the rest",
		[PASS_FEEDBACK] = "feeds errors forward",
		[PASS_GRID] = "leaves weights on a grid",
	};
	const Node *subject = decl->node->kids[1];
	PassFacts facts = pass_facts(p, decl);
	text_printf(to, " on %s%s", subject->flag ? "all " : "", facts.is_axis ? "axis " : "");
	for (uint32_t i = 0; i < subject->kid_count; i++) {
		const Node *member = subject->kids[i];
		text_printf(to, "%s%s", i ? ", " : "", member->kind == N_OTHERS ? "others " : "");
		print_source(p, member->kind == N_OTHERS ? member->kids[0] : member, to);
	}
	text_printf(to, "%s\n  %s\n", facts.is_sharing ? " sharing input" : "", kinds[facts.kind]);
	if (facts.kind == PASS_GRID && facts.is_feedback)
		text_printf(to, "  %s\n", kinds[PASS_FEEDBACK]);
	text_printf(to, "  %s\n", facts.uses_whole_tensor ? "needs all rows at once" : "row by row");
	if (facts.needs_activations)
		text_printf(to, "  needs activations\n");
	if (facts.shortens)
		text_printf(to, "  shortens an axis\n");
}

static const char *level_of(const Node *header, uint32_t rank)
{
	uint32_t unbounded = 0;
	for (uint32_t i = 1; i < header->kid_count; i++)
		unbounded += header->kids[i]->kind != N_BINARY;
	bool has_block = header->kid_count - 1 > unbounded;
	if (rank == header->kid_count - 1)
		return "element";
	if (rank > 0 && rank == unbounded)
		return unbounded == 2 ? "block" : "row";
	if (rank == 0 || rank < unbounded)
		return unbounded ? (rank ? "row" : "tensor") : "block";
	return has_block ? "group" : "row";
}

static void print_dtype(Program *p, const Decl *decl, Text *to)
{
	const Node *header = decl->node->kids[1], *body = decl->node->kids[2];
	DtypeFacts facts = dtype_facts(p, decl);
	text_printf(to, " of ");
	print_source(p, header, to);
	text_printf(to, "\n");
	if (facts.block)
		text_printf(to, "  block of %lld\n", (long long)facts.block);
	else
		text_printf(to, "  whole rows\n");
	for (size_t i = 0; i < facts.fields.count; i++)
		text_printf(to, "  %s: %s per %s\n", facts.fields.at[i].name, facts.fields.at[i].store,
			level_of(header, facts.fields.at[i].rank));
	text_printf(to, facts.is_separable ? "  separable\n" : "  not separable\n");
	for (uint32_t i = 0; i < body->kid_count; i++) {
		if (body->kids[i]->kind == N_LAYOUT)
			text_printf(to, "  layout %s %g\n", body->kids[i]->name, body->kids[i]->number);
		if (body->kids[i]->kind == N_PLANES)
			text_printf(to, "  planes \"%s\"\n", body->kids[i]->text);
	}
}

static void print_let(Program *p, const Decl *decl, Text *to)
{
	Value value = decl->value ? *decl->value : value_eval(p, NULL, decl->node->kids[0]);
	text_printf(to, " = ");
	value_print(&value, to);
	text_printf(to, "\n");
}

/* Models, data, targets and pipelines are said as they were written, on one line. */
static void print_plain(const Program *p, const Decl *decl, Text *to)
{
	const Node *node = decl->node;
	if (decl->kind == DECL_MODEL || decl->kind == DECL_DATA)
		text_printf(to, " from \"%s\"", node->text);
	if (decl->kind == DECL_ROLES)
		text_printf(to, " of %u row%s", node->kid_count, node->kid_count == 1 ? "" : "s");
	if (decl->kind == DECL_EXPORT)
		text_printf(to, " into %s", node->op);
	if (decl->kind == DECL_PIPELINE) {
		text_printf(to, " of %s", node->kids[0]->name);
		if (node->kids[1])
			text_printf(to, " for %s", node->kids[1]->name);
		if (node->kids[2])
			text_printf(to, " host %s", node->kids[2]->name);
	}
	text_printf(to, "\n");
	const Node *body = decl->kind == DECL_PIPELINE                           ? node->kids[3]
					   : decl->kind == DECL_RECIPE                           ? node->kids[1]
					   : decl->kind == DECL_NET || decl->kind == DECL_EXPORT ? node->kids[0]
																			 : node;
	for (uint32_t i = 0; decl->kind != DECL_ROLES && i < body->kid_count; i++) {
		Text item = {.arena = p->c->arena};
		print_source(p, body->kids[i], &item);
		while (item.count && item.at[item.count - 1] == '\n')
			item.at[--item.count] = 0;
		text_printf(to, "  %s\n", item.at);
	}
}

void program_print(const Program *program, Text *to)
{
	Program *p = (Program *)program; /* facts may evaluate defaults, which remembers `let`s */
	for (size_t i = 0; i < p->decls.count; i++) {
		const Decl *decl = p->decls.at[i];
		if (decl->is_stdlib)
			continue;
		text_printf(to, "%s %s", decl_kind_text(decl->kind), decl->name);
		if (decl_params(decl))
			print_params(p, decl_params(decl), to);
		switch (decl->kind) {
		case DECL_LET:
			print_let(p, decl, to);
			break;
		case DECL_FN:
			print_fn(p, decl, to);
			break;
		case DECL_PASS:
			print_pass(p, decl, to);
			break;
		case DECL_DTYPE:
			print_dtype(p, decl, to);
			break;
		default:
			print_plain(p, decl, to);
		}
	}
}
