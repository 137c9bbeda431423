/* SPDX-License-Identifier: MIT
 *
 * schedule.c: flat -> scheduled, and what the moves have in common: finding and
 * rewriting the accesses of a step.
 */
#include "schedule.h"

#include <string.h>

void kernel_schedule(Kernel *k, const ScheduleOptions *options)
{
	schedule_clean(k, true);
	schedule_split(k);
	schedule_nest(k);
	schedule_shape(k, options);
	schedule_reuse(k, options->owns_inputs);
	k->is_scheduled = true;
}

static void collect_expr(Kernel *k, KStep *step, const KExpr *e, AccessVec *to)
{
	if (!e || !e->loads)
		return;
	if (e->op == OP_LOAD) {
		Access access = {e->buffer, e->subs, step, false};
		vec_push(k->c->arena, to, access);
		for (uint32_t i = 0; i < e->buffer->rank; i++)
			collect_expr(k, step, e->subs[i], to);
	}
	for (int i = 0; i < 3 && e->args[i]; i++)
		collect_expr(k, step, e->args[i], to);
}

void access_collect(Kernel *k, KStep *step, AccessVec *to)
{
	collect_expr(k, step, step->value, to);
	collect_expr(k, step, step->key, to);
	collect_expr(k, step, step->limit, to);
	collect_expr(k, step, step->minuend, to);
	if (step->dst) {
		Access access = {step->dst, step->dst_subs, step, true};
		vec_push(k->c->arena, to, access);
	}
	if (step->kind == STEP_LINALG) {
		for (int i = 0; i < 3; i++) {
			Access write = {step->outs[i], NULL, step, true};
			if (step->outs[i])
				vec_push(k->c->arena, to, write);
		}
		Access read = {step->ins[0], NULL, step, false};
		vec_push(k->c->arena, to, read);
	}
	access_collect_all(k, &step->body, to);
}

void access_collect_all(Kernel *k, const KStepVec *steps, AccessVec *to)
{
	for (size_t i = 0; i < steps->count; i++)
		access_collect(k, steps->at[i], to);
}

bool accesses_use(const AccessVec *accesses, const KBuffer *buffer)
{
	for (size_t i = 0; i < accesses->count; i++)
		if (accesses->at[i].buffer == buffer)
			return true;
	return false;
}

/* ---- rewriting ---- */

void step_rewrite(KStep *step, KExpr *(*map)(void *context, KExpr *e), void *context)
{
	KExpr **fields[] = {&step->value, &step->key, &step->limit, &step->minuend};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (*fields[i])
			*fields[i] = map(context, *fields[i]);
	for (uint32_t i = 0; step->dst && i < step->dst->rank; i++)
		step->dst_subs[i] = map(context, step->dst_subs[i]);
}

typedef struct Substitution {
	Kernel *k;
	const KIndex *index;
	KExpr *by;
} Substitution;

static KExpr *substitute(void *context, KExpr *e)
{
	const Substitution *s = context;
	return kexpr_substitute(s->k, e, s->index, s->by);
}

static void substitute_bounds(Substitution *s, KIndex *index)
{
	index->lo = substitute(s, index->lo);
	index->hi = substitute(s, index->hi);
}

void step_substitute(Kernel *k, KStep *step, const KIndex *index, KExpr *by)
{
	Substitution s = {k, index, by};
	step_rewrite(step, substitute, &s);
	for (uint32_t i = 0; i < step->domain_count; i++)
		substitute_bounds(&s, step->domain[i]);
	for (uint32_t i = 0; i < step->over_count; i++)
		substitute_bounds(&s, step->over[i]);
	if (step->index)
		substitute_bounds(&s, step->index);
	for (size_t i = 0; i < step->body.count; i++)
		step_substitute(k, step->body.at[i], index, by);
}

/* ---- small questions ---- */

bool index_is_whole(const KIndex *index, const KExpr *extent)
{
	int64_t lo;
	return index->step == 1 && kexpr_is_const(index->lo, &lo) && lo == 0 && expr_same(index->hi, extent);
}

bool expr_is_index(const KExpr *e, const KIndex **index)
{
	if (e->op != OP_INDEX)
		return false;
	*index = e->index;
	return true;
}

bool expr_same(const KExpr *a, const KExpr *b)
{
	if (a == b)
		return true;
	if (a->op != b->op || (a->type != b->type && a->op != OP_CONST) || a->store.kind != b->store.kind ||
		a->store.bits != b->store.bits || a->index != b->index || a->buffer != b->buffer)
		return false;
	if (a->op == OP_CONST)
		return (a->type >= T_F32) == (b->type >= T_F32) && a->integer == b->integer &&
			   !memcmp(&a->real, &b->real, sizeof a->real);
	if (a->integer != b->integer)
		return false;
	for (uint32_t i = 0; a->op == OP_LOAD && i < a->buffer->rank; i++)
		if (!expr_same(a->subs[i], b->subs[i]))
			return false;
	for (int i = 0; i < 3; i++)
		if ((a->args[i] || b->args[i]) && (!a->args[i] || !b->args[i] || !expr_same(a->args[i], b->args[i])))
			return false;
	return true;
}
