/* SPDX-License-Identifier: MIT
 *
 * check_scope.c: the names that a body has in scope, and what is said about one
 * that it does not have.
 */
#include "check.h"

#include <string.h>

bool is_word(Name name, const char *text)
{
	return name && !strcmp(name, text);
}

uint32_t subscript_count(const Node *node)
{
	uint32_t count = 0;
	for (; node->kind == N_INDEX; node = node->kids[0])
		count += node->kid_count - 1;
	return count;
}

/* ---- frames ---- */

void frame_push(Checker *ck)
{
	Frame *frame = arena_new_of(ck->c->arena, Frame);
	frame->outer = ck->frame;
	ck->frame = frame;
}

void frame_pop(Checker *ck)
{
	ck->frame = ck->frame->outer;
}

Symbol *symbol_add(Checker *ck, SymbolKind kind, Name name, Loc loc)
{
	Symbol symbol = {.kind = kind, .name = name, .loc = loc};
	vec_push(ck->c->arena, &ck->frame->symbols, symbol);
	return &ck->frame->symbols.at[ck->frame->symbols.count - 1];
}

Symbol *symbol_find(const Checker *ck, Name name)
{
	for (Frame *frame = ck->frame; frame; frame = frame->outer)
		for (size_t i = frame->symbols.count; i-- > 0;)
			if (frame->symbols.at[i].name == name)
				return &frame->symbols.at[i];
	return NULL;
}

const Symbol *index_find(const Checker *ck, Name name)
{
	for (const Frame *frame = ck->frame; frame; frame = frame->outer)
		for (size_t i = frame->symbols.count; i-- > 0;)
			if (frame->symbols.at[i].name == name && frame->symbols.at[i].kind == SYMBOL_INDEX)
				return &frame->symbols.at[i];
	return NULL;
}

void axis_add(Checker *ck, Name name, bool is_block)
{
	AxisName axis = {name, is_block};
	vec_push(ck->c->arena, &ck->frame->axes, axis);
}

bool axis_is_known(const Checker *ck, Name name)
{
	for (const Frame *frame = ck->frame; frame; frame = frame->outer)
		for (size_t i = 0; i < frame->axes.count; i++)
			if (frame->axes.at[i].name == name)
				return true;
	return false;
}

int block_count(const Checker *ck)
{
	int axes = 0; /* each block made two */
	for (const Frame *frame = ck->frame; frame; frame = frame->outer)
		for (size_t i = 0; i < frame->axes.count; i++)
			axes += frame->axes.at[i].is_block;
	return axes / 2;
}

void axis_names(const Checker *ck, NameVec *to)
{
	for (const Frame *frame = ck->frame; frame; frame = frame->outer)
		for (size_t i = 0; i < frame->axes.count; i++)
			vec_push(ck->c->arena, to, frame->axes.at[i].name);
}

/* ---- unknown names ---- */

static const char *const facts[] = {"name", "role", "layer", "layers", "rows", "cols", "tied", "config"};

bool fact_is_known(Name name)
{
	for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
		if (is_word(name, facts[i]))
			return true;
	return false;
}

static void names_in_scope(const Checker *ck, NameVec *to)
{
	for (const Frame *frame = ck->frame; frame; frame = frame->outer)
		for (size_t i = 0; i < frame->symbols.count; i++)
			vec_push(ck->c->arena, to, frame->symbols.at[i].name);
	program_names(ck->p, DECL_LET, to);
	program_names(ck->p, DECL_DTYPE, to);
	for (size_t i = 0; ck->has_facts && i < sizeof facts / sizeof *facts; i++)
		vec_push(ck->c->arena, to, name_of(ck->c, facts[i]));
}

void report_unknown_name(Checker *ck, const Node *node)
{
	Name name = node->name;
	for (size_t i = 0; i < ck->reported.count; i++)
		if (ck->reported.at[i] == name)
			return;
	vec_push(ck->c->arena, &ck->reported, name);
	if (axis_is_known(ck, name)) {
		diag_error(ck->c, node->loc, "index \"%s\" is not bound here", name);
		diag_help(
			ck->c, "name it on the left side, as in x[%s] = .., or in a reduction, as in sum[%s](..)", name, name);
		return;
	}
	if (program_find(ck->p, DECL_FN, name)) {
		diag_error(ck->c, node->loc, "fn %s needs arguments here", name);
		return;
	}
	diag_error(ck->c, node->loc, "unknown name \"%s\"", name);
	if (fact_is_known(name)) {
		diag_help(ck->c, "%s is a fact of a tensor, and no tensor is in hand here", name);
		return;
	}
	NameVec known = {0};
	names_in_scope(ck, &known);
	diag_nearest(ck->c, name, &known);
}
