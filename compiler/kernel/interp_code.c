/* SPDX-License-Identifier: MIT
 *
 * interp_code.c: expressions of a step -> instructions, and running them.
 *
 * Loads of the step's own destination are never hoisted: an inner turn may have
 * written what they read.
 */
#include "interp.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- compiling ---- */

typedef struct Compiling {
	Interp *in;
	ReadyStep *ready;
	KExprMap slots; /* slot + 1 as a pointer */
	VEC(Instruction) instructions;
	VEC(uint32_t) levels; /* of each slot */
	VEC(KValue) values;   /* of each slot: constants, else 0 */
} Compiling;

static uint32_t index_level(const ReadyStep *ready, const KIndex *index)
{
	for (uint32_t i = 0; i < ready->loop_count; i++)
		if (ready->loops[i] == index)
			return i + 1;
	return 0;
}

static uint32_t compile(Compiling *c, const KExpr *e);

static uint32_t compile_load(Compiling *c, const KExpr *e, Instruction *instruction)
{
	Interp *in = c->in;
	uint32_t *subs = arena_array(in->arena, uint32_t, e->buffer->rank), level = 0;
	for (uint32_t i = 0; i < e->buffer->rank; i++) {
		subs[i] = compile(c, e->subs[i]);
		if (c->levels.at[subs[i]] > level)
			level = c->levels.at[subs[i]];
	}
	instruction->buffer = &in->buffers[e->buffer->id];
	instruction->subs = subs;
	return instruction->buffer == c->ready->dst ? c->ready->loop_count : level;
}

static uint32_t compile(Compiling *c, const KExpr *e)
{
	uintptr_t known = (uintptr_t)*kexprmap_at(&c->slots, e);
	if (known)
		return (uint32_t)(known - 1);
	Arena *arena = c->in->arena;
	Instruction instruction = {.op = e->op, .type = e->type, .from = e->type, .store = e->store};
	KValue value = {0};
	uint32_t level = 0, arity = kop_arity(e->op);
	if (e->op == OP_CONST && (e->type == T_F32 || e->type == T_F64)) {
		value.real = e->real;
	} else if (e->op == OP_CONST) {
		value.integer = e->integer;
	} else if (e->op == OP_INDEX) {
		level = index_level(c->ready, e->index);
		instruction.number = e->index->id;
	} else if (e->op == OP_PARAM) {
		instruction.number = e->integer;
	} else if (e->op == OP_LOAD) {
		level = compile_load(c, e, &instruction);
	}
	for (uint32_t i = 0; i < arity; i++) {
		instruction.args[i] = compile(c, e->args[i]);
		instruction.from = e->args[i]->type;
		if (c->levels.at[instruction.args[i]] > level)
			level = c->levels.at[instruction.args[i]];
	}
	uint32_t slot = (uint32_t)c->values.count;
	instruction.to = slot;
	vec_push(arena, &c->values, value);
	vec_push(arena, &c->levels, level);
	if (e->op != OP_CONST)
		vec_push(arena, &c->instructions, instruction);
	*kexprmap_at(&c->slots, e) = (void *)(uintptr_t)(slot + 1);
	return slot;
}

/* Operands come before their users and never have a higher level, so a stable sort by level keeps the order. */
static void finish(Compiling *c, Code *code)
{
	size_t count = c->instructions.count, at = 0;
	code->slots = c->values.at;
	code->at = arena_array(c->in->arena, Instruction, count);
	for (uint32_t level = 0; level < STEP_LEVELS; level++) {
		code->level_start[level] = (uint32_t)at;
		for (size_t i = 0; i < count; i++)
			if (c->levels.at[c->instructions.at[i].to] == level)
				code->at[at++] = c->instructions.at[i];
	}
	code->level_start[STEP_LEVELS] = (uint32_t)at;
	assert(at == count);
}

void code_compile_step(Interp *in, ReadyStep *ready)
{
	const KStep *step = ready->step;
	Compiling c = {.in = in, .ready = ready, .slots = {.arena = in->arena}};
	for (uint32_t i = 0; i < ready->loop_count; i++) {
		ready->lo[i] = compile(&c, ready->loops[i]->lo);
		ready->hi[i] = compile(&c, ready->loops[i]->hi);
	}
	if (step->kind == STEP_LOOP) {
		ready->lo[0] = compile(&c, step->index->lo);
		ready->hi[0] = compile(&c, step->index->hi);
	}
	for (uint32_t i = 0; ready->dst && i < step->dst->rank; i++)
		ready->subs[i] = compile(&c, step->dst_subs[i]);
	if (step->value)
		ready->value = compile(&c, step->value);
	if (step->key)
		ready->key = compile(&c, step->key);
	if (step->limit)
		ready->limit = compile(&c, step->limit);
	if (step->minuend)
		ready->minuend = compile(&c, step->minuend);
	finish(&c, &ready->code);
}

int64_t code_evaluate(Interp *in, const KExpr *e)
{
	ReadyStep none = {0};
	Compiling c = {.in = in, .ready = &none, .slots = {.arena = in->arena}};
	uint32_t slot = compile(&c, e);
	finish(&c, &none.code);
	code_run(in, &none.code, 0);
	return none.code.slots[slot].integer;
}

/* ---- running ---- */

uint8_t *buffer_place(
	Interp *in, const BufferState *buffer, Store store, const KValue *slots, const uint32_t *subs, const char *verb)
{
	const KBuffer *b = buffer->buffer;
	uint32_t width = store_bytes(store), unit = store_bytes(b->store);
	bool is_recast = !store_equal(store, b->store); /* then the last subscript counts bytes */
	int64_t offset = 0;
	for (uint32_t i = 0; i < b->rank; i++) {
		int64_t sub = slots[subs[i]].integer;
		int64_t room = buffer->extent[i] - (is_recast && i + 1 == b->rank ? width - 1 : 0);
		if (sub < 0 || sub >= room) {
			diag_error(in->k->c, in->step->loc,
				"internal error: kernel %s: %s %s %s outside: subscript %u is %lld, the extent is %lld", in->k->name,
				kstep_describe(in->k, in->step), verb, b->name ? b->name : "a buffer", (unsigned)i, (long long)sub,
				(long long)buffer->extent[i]);
			return NULL;
		}
		offset = offset * buffer->extent[i] + sub;
	}
	return buffer->at + (size_t)offset * unit;
}

bool code_run(Interp *in, const Code *code, uint32_t level)
{
	KValue *slots = code->slots;
	const Instruction *end = code->at + code->level_start[level + 1];
	for (const Instruction *i = code->at + code->level_start[level]; i < end; i++) {
		if (i->op == OP_LOAD) {
			const uint8_t *at = buffer_place(in, i->buffer, i->store, slots, i->subs, "reads");
			if (!at)
				return false;
			slots[i->to] = store_load(i->store, at);
		} else if (i->op == OP_INDEX) {
			slots[i->to].integer = in->index[i->number];
		} else if (i->op == OP_PARAM) {
			slots[i->to].integer = in->params[i->number];
		} else {
			KValue args[3] = {slots[i->args[0]], slots[i->args[1]], slots[i->args[2]]};
			slots[i->to] = scalar_apply(i->op, i->type, i->from, i->store, args);
		}
	}
	return true;
}
