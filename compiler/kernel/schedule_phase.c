/* SPDX-License-Identifier: MIT
 *
 * schedule_phase.c: loops over short blocks whose single values make the block wait.
 *
 * A turn that folds a block, divides or takes a root once, and then goes over the
 * block again, waits for that one value longer than it works, and a CPU looks only a
 * few turns ahead. Such a loop becomes one over tiles of PHASE_TURNS turns, and each
 * tile's work is done in phases: a loop over the turns up to the single values, these
 * for all of its turns side by side, a loop over the turns for the rest. Temporaries
 * that lead from one phase to the next have an element a turn.
 */
#include "schedule.h"

#include <string.h>

enum { PHASE_TURNS = 16, BLOCK_MOST = 64 };

/* A run of steps of the body that are all single or all not. */
typedef struct Phase {
	size_t begin, end;
	bool is_single;
	KStep *loop;   /* of steps that are not single */
	KIndex *index; /* of the turn in the tile */
} Phase;
typedef VEC(Phase) PhaseVec;

/* ---- which loops ---- */

/* One value of a turn, kept in the turn or at its place among those of all turns. */
static bool is_single(const KStep *loop, const KStep *step)
{
	const KIndex *at;
	if (step->kind != STEP_MAP || step->domain_count > 0 || step->dst->kind != BUFFER_TEMP)
		return false;
	bool is_kept = step->dst->rank == 0 && step->dst->scope == loop;
	return is_kept || (step->dst->rank == 1 && expr_is_index(step->dst_subs[0], &at) && at == loop->index);
}

static bool is_slow(const KExpr *e)
{
	bool is_real = e->type == T_F32 || e->type == T_F64;
	if (is_real && (e->op == OP_SQRT || e->op == OP_DIV))
		return true;
	for (int i = 0; i < 3 && e->args[i]; i++)
		if (is_slow(e->args[i]))
			return true;
	return false;
}

/* Elements that a leaf goes through; 0: unknown. */
static int64_t element_count(const KStep *step)
{
	int64_t total = 1, extent;
	for (uint32_t i = 0; i < step->domain_count; i++)
		total *= kexpr_is_const(step->domain[i]->hi, &extent) ? extent : 0;
	for (uint32_t i = 0; i < step->over_count; i++)
		total *= kexpr_is_const(step->over[i]->hi, &extent) ? extent : 0;
	return total;
}

/* Blocks folded, then a slow single value; only steps that may run apart. */
static bool has_phases(const KStep *loop)
{
	bool is_folded = false, is_waited_for = false;
	for (size_t i = 0; i < loop->body.count; i++) {
		const KStep *step = loop->body.at[i];
		if (step->kind != STEP_MAP && step->kind != STEP_REDUCE)
			return false;
		int64_t count = element_count(step);
		if (count == 0 || count > BLOCK_MOST)
			return false;
		is_folded |= step->kind == STEP_REDUCE;
		is_waited_for |= is_folded && is_single(loop, step) && is_slow(step->value);
	}
	return is_waited_for;
}

static bool is_tiled(const KStep *loop)
{
	int64_t lo, turns;
	const KIndex *index = loop->index;
	return loop->kind == STEP_LOOP && !loop->origin && loop->mode == LOOP_SEQUENTIAL && index->step == 1 &&
		   kexpr_is_const(index->lo, &lo) && lo == 0 && kexpr_is_const(index->hi, &turns) && turns > 0 &&
		   turns % PHASE_TURNS == 0 && has_phases(loop);
}

/* ---- phases ---- */

static PhaseVec find_phases(Kernel *k, const KStep *loop)
{
	PhaseVec phases = {0};
	for (size_t i = 0; i < loop->body.count; i++) {
		bool single = is_single(loop, loop->body.at[i]);
		if (phases.count == 0 || phases.at[phases.count - 1].is_single != single) {
			Phase phase = {.begin = i, .is_single = single};
			phase.index = kindex_new(k, loop->index->name, kexpr_int(k, T_I32, 0), kexpr_int(k, T_I32, PHASE_TURNS), 1);
			vec_push(k->c->arena, &phases, phase);
		}
		phases.at[phases.count - 1].end = i + 1;
	}
	return phases;
}

static bool touches(Kernel *k, const KStep *loop, const Phase *phase, const KBuffer *buffer)
{
	for (size_t i = phase->begin; i < phase->end; i++) {
		AccessVec all = {0};
		access_collect(k, loop->body.at[i], &all);
		for (size_t a = 0; a < all.count; a++)
			if (all.at[a].buffer == buffer)
				return true;
	}
	return false;
}

/* The only phase that touches a buffer, NULL: several do. */
static const Phase *only_phase(Kernel *k, const KStep *loop, const PhaseVec *phases, const KBuffer *buffer)
{
	const Phase *only = NULL;
	for (size_t i = 0; i < phases->count; i++) {
		if (!touches(k, loop, &phases->at[i], buffer))
			continue;
		if (only)
			return NULL;
		only = &phases->at[i];
	}
	return only;
}

/* ---- an element a turn ---- */

typedef struct Grower {
	Kernel *k;
	const KBuffer *buffer;
	KExpr *turn;
} Grower;

static KExpr **grown_subs(const Grower *g, KExpr *const *subs)
{
	KExpr **out = arena_array(g->k->c->arena, KExpr *, g->buffer->rank + 1);
	out[0] = g->turn;
	memcpy(out + 1, subs, sizeof *out * g->buffer->rank);
	return out;
}

/* While the buffer still has its old rank. */
static KExpr *grow_in_loads(void *context, KExpr *e)
{
	Grower *g = context;
	if (!e->loads)
		return e;
	KExpr *copy = arena_new_of(g->k->c->arena, KExpr);
	*copy = *e;
	for (int i = 0; i < 3 && e->args[i]; i++) {
		copy->args[i] = grow_in_loads(g, e->args[i]);
		copy->uses |= copy->args[i]->uses;
	}
	if (e->op == OP_LOAD) {
		copy->subs = arena_array(g->k->c->arena, KExpr *, e->buffer->rank);
		for (uint32_t i = 0; i < e->buffer->rank; i++) {
			copy->subs[i] = grow_in_loads(g, e->subs[i]);
			copy->uses |= copy->subs[i]->uses;
		}
	}
	if (e->op == OP_LOAD && e->buffer == g->buffer) {
		copy->subs = grown_subs(g, copy->subs);
		copy->uses |= g->turn->uses;
	}
	return copy;
}

static void grow(Kernel *k, KStep *loop, const PhaseVec *phases, KBuffer *buffer)
{
	for (size_t p = 0; p < phases->count; p++) {
		Grower g = {k, buffer, kexpr_index(k, phases->at[p].index)};
		for (size_t i = phases->at[p].begin; i < phases->at[p].end; i++) {
			KStep *step = loop->body.at[i];
			step_rewrite(step, grow_in_loads, &g);
			if (step->dst == buffer)
				step->dst_subs = grown_subs(&g, step->dst_subs);
		}
	}
	memmove(buffer->extent + 1, buffer->extent, sizeof *buffer->extent * buffer->rank);
	buffer->extent[0] = kexpr_int(k, T_I32, PHASE_TURNS);
	buffer->rank++;
}

/* ---- tiling ---- */

static void add_domain(Kernel *k, KStep *step, KIndex *index)
{
	KIndex **domain = arena_array(k->c->arena, KIndex *, step->domain_count + 1);
	domain[0] = index;
	if (step->domain_count)
		memcpy(domain + 1, step->domain, sizeof *domain * step->domain_count);
	step->domain = domain;
	step->domain_count++;
}

static void tile(Kernel *k, KStep *loop)
{
	int64_t turns;
	kexpr_is_const(loop->index->hi, &turns);
	PhaseVec phases = find_phases(k, loop);
	KIndex *whole = loop->index;
	loop->index = kindex_new(k, whole->name, kexpr_int(k, T_I32, 0), kexpr_int(k, T_I32, turns / PHASE_TURNS), 1);
	for (size_t p = 0; p < phases.count; p++)
		if (!phases.at[p].is_single)
			phases.at[p].loop = kstep_loop(k, phases.at[p].index, LOOP_SEQUENTIAL, 0);
	for (size_t b = 0; b < k->buffers.count; b++) {
		KBuffer *buffer = k->buffers.at[b];
		if (buffer->scope != loop)
			continue;
		const Phase *only = only_phase(k, loop, &phases, buffer);
		if (only && !only->is_single)
			buffer->scope = only->loop;
		else
			grow(k, loop, &phases, buffer);
	}
	KStepVec body = {0};
	KExpr *first = kexpr_binary(k, OP_MUL, kexpr_index(k, loop->index), kexpr_int(k, T_I32, PHASE_TURNS));
	for (size_t p = 0; p < phases.count; p++) {
		Phase *phase = &phases.at[p];
		KExpr *turn = kexpr_binary(k, OP_ADD, first, kexpr_index(k, phase->index));
		if (phase->loop)
			vec_push(k->c->arena, &body, phase->loop);
		for (size_t i = phase->begin; i < phase->end; i++) {
			KStep *step = loop->body.at[i];
			step_substitute(k, step, whole, turn);
			if (phase->is_single)
				add_domain(k, step, phase->index);
			vec_push(k->c->arena, phase->loop ? &phase->loop->body : &body, step);
		}
	}
	loop->body = body;
}

static bool may_grow(Kernel *k, const KStep *loop)
{
	for (size_t b = 0; b < k->buffers.count; b++)
		if (k->buffers.at[b]->scope == loop && k->buffers.at[b]->rank == K_MAX_RANK)
			return false;
	return true;
}

static void tile_all(Kernel *k, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		if (is_tiled(step) && may_grow(k, step))
			tile(k, step);
		else if (step->mode != LOOP_LANES)
			tile_all(k, &step->body);
	}
}

void schedule_phase(Kernel *k)
{
	tile_all(k, &k->steps);
}
