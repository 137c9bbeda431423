/* SPDX-License-Identifier: MIT
 *
 * emit_facts.c: what is known of values before code is made for them: intervals,
 * and whether a NaN is possible. A conversion whose operand provably fits is one
 * instruction instead of five.
 *
 * A fact of a temporary joins what all its steps store, found by a few rounds that
 * start from "anything": every round is sound, later ones are sharper. Nothing is
 * assumed of inputs but their storage type.
 */
#include "emit.h"

#include <float.h>
#include <math.h>

enum { FACT_ROUNDS = 4 };

static bool is_real(KType type)
{
	return type == T_F32 || type == T_F64;
}

static Range anything(KType type)
{
	Range r = {-INFINITY, INFINITY, INT64_MIN, INT64_MAX, true};
	if (type == T_I32) {
		r.least = INT32_MIN;
		r.most = INT32_MAX;
	} else if (type == T_BOOL) {
		r.least = 0;
		r.most = 1;
	}
	return r;
}

static Range of_reals(double lo, double hi, bool may_be_nan)
{
	return (Range){lo, hi, INT64_MIN, INT64_MAX, may_be_nan};
}

static Range of_integers(KType type, __int128 least, __int128 most)
{
	Range r = anything(type);
	if (least >= r.least && most <= r.most) {
		r.least = (int64_t)least;
		r.most = (int64_t)most;
	}
	return r;
}

static Range join(Range a, Range b)
{
	return (Range){fmin(a.lo, b.lo), fmax(a.hi, b.hi), a.least < b.least ? a.least : b.least,
		a.most > b.most ? a.most : b.most, a.may_be_nan || b.may_be_nan};
}

/* What a load of that storage can give. */
static Range of_store(Store store)
{
	KType type = store_type(store);
	Range r = anything(type);
	if (store.kind == STORE_UINT && store.bits < 64) {
		r.least = 0;
		r.most = (int64_t)((UINT64_C(1) << store.bits) - 1);
	} else if (store.kind == STORE_INT && store.bits < 64) {
		r.most = (INT64_C(1) << (store.bits - 1)) - 1;
		r.least = -r.most - 1;
	} else if (store.kind == STORE_E4M3) {
		r.lo = -448;
		r.hi = 448;
	} else if (store.kind == STORE_UE4M3) {
		r.lo = 0;
		r.hi = 448;
	} else if (store.kind == STORE_E2M1) {
		r = of_reals(-6, 6, false);
	} else if (store.kind == STORE_E8M0) {
		r.lo = ldexp(1, -127);
		r.hi = ldexp(1, 127);
	}
	return r;
}

/* Rounding to storage is monotone, so the ends go where values may go. */
static Range after_store(Store store, KType from, Range r)
{
	Range limits = of_store(store);
	bool to_integer = store.kind == STORE_UINT || store.kind == STORE_INT;
	if (store.kind == STORE_BOOL || store.kind == STORE_E8M0)
		return limits;
	if (to_integer && is_real(from)) {
		double lo = fmax(trunc(r.lo), (double)limits.least), hi = fmin(trunc(r.hi), (double)limits.most);
		if (r.may_be_nan) {
			lo = fmin(lo, 0);
			hi = fmax(hi, 0);
		}
		if (lo <= hi && fabs(lo) < 0x1p62 && fabs(hi) < 0x1p62) {
			limits.least = (int64_t)lo;
			limits.most = (int64_t)hi;
		}
		return limits;
	}
	if (to_integer) {
		if (r.least >= limits.least && r.most <= limits.most) {
			limits.least = r.least;
			limits.most = r.most;
		}
		return limits;
	}
	if (!is_real(from)) {
		r.lo = (double)r.least;
		r.hi = (double)r.most;
		r.may_be_nan = false;
	}
	bool keeps_nan = limits.may_be_nan && r.may_be_nan;
	if (store.kind == STORE_UE4M3 || store.kind == STORE_E2M1) { /* NaN becomes zero */
		r.lo = fmin(r.lo, 0);
		r.hi = fmax(r.hi, 0);
	}
	return of_reals(store_round(store, r.lo), store_round(store, r.hi), keeps_nan);
}

bool facts_index_range(KIndex *index, int64_t *least, int64_t *most)
{
	int64_t lo, hi;
	if (!kexpr_is_const(index->lo, &lo) || !kexpr_is_const(index->hi, &hi) || hi <= lo)
		return false;
	*least = lo;
	*most = lo + (hi - 1 - lo) / index->step * index->step;
	return true;
}

static Range of_index(KIndex *index)
{
	Range r = anything(T_I32);
	int64_t lo;
	if (kexpr_is_const(index->lo, &lo))
		r.least = lo;
	facts_index_range(index, &r.least, &r.most);
	return r;
}

/* ---- operations ---- */

static double as_type(KType type, double x)
{
	return type == T_F32 ? (double)(float)x : x;
}

static Range of_min_max(bool is_max, KType type, Range a, Range b)
{
	if (!is_real(type))
		return is_max ? of_integers(type, a.least > b.least ? a.least : b.least, a.most > b.most ? a.most : b.most)
					  : of_integers(type, a.least < b.least ? a.least : b.least, a.most < b.most ? a.most : b.most);
	/* Seen as maxima of [lo, hi]; a NaN operand leaves the other one. */
	double alo = is_max ? a.lo : -a.hi, ahi = is_max ? a.hi : -a.lo;
	double blo = is_max ? b.lo : -b.hi, bhi = is_max ? b.hi : -b.lo;
	double hi = fmax(ahi, bhi);
	double lo = !a.may_be_nan && !b.may_be_nan ? fmax(alo, blo)
				: !a.may_be_nan                ? alo
				: !b.may_be_nan                ? blo
											   : fmin(alo, blo);
	bool may_be_nan = a.may_be_nan && b.may_be_nan;
	return is_max ? of_reals(lo, hi, may_be_nan) : of_reals(-hi, -lo, may_be_nan);
}

static Range of_products(KType type, Range a, Range b)
{
	if (!is_real(type)) {
		__int128 ends[] = {(__int128)a.least * b.least, (__int128)a.least * b.most, (__int128)a.most * b.least,
			(__int128)a.most * b.most};
		__int128 least = ends[0], most = ends[0];
		for (int i = 1; i < 4; i++) {
			least = ends[i] < least ? ends[i] : least;
			most = ends[i] > most ? ends[i] : most;
		}
		return of_integers(type, least, most);
	}
	if (!isfinite(a.lo) || !isfinite(a.hi) || !isfinite(b.lo) || !isfinite(b.hi))
		return anything(type);
	double ends[] = {a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi};
	Range r = of_reals(as_type(type, ends[0]), as_type(type, ends[0]), a.may_be_nan || b.may_be_nan);
	for (int i = 1; i < 4; i++) {
		r.lo = fmin(r.lo, as_type(type, ends[i]));
		r.hi = fmax(r.hi, as_type(type, ends[i]));
	}
	return r;
}

static Range of_sums(KType type, Range a, Range b)
{
	if (!is_real(type))
		return of_integers(type, (__int128)a.least + b.least, (__int128)a.most + b.most);
	bool clash = (a.hi == INFINITY && b.lo == -INFINITY) || (a.lo == -INFINITY && b.hi == INFINITY);
	if (clash)
		return anything(type);
	return of_reals(as_type(type, a.lo + b.lo), as_type(type, a.hi + b.hi), a.may_be_nan || b.may_be_nan);
}

static Range negated(KType type, Range a)
{
	if (!is_real(type))
		return of_integers(type, -(__int128)a.most, -(__int128)a.least);
	return of_reals(-a.hi, -a.lo, a.may_be_nan);
}

static Range magnitude(KType type, Range a)
{
	if (is_real(type)) {
		double hi = fmax(fabs(a.lo), fabs(a.hi));
		return of_reals(a.lo > 0 ? a.lo : a.hi < 0 ? -a.hi : 0, hi, a.may_be_nan);
	}
	__int128 low = -(__int128)a.least, most = a.most;
	return of_integers(type, a.least >= 0 ? a.least : 0, low > most ? low : most);
}

static Range of_integer_op(KExpr *e, Range a, Range b)
{
	int64_t by;
	bool is_const = kexpr_is_const(e->args[1], &by);
	switch (e->op) {
	case OP_IDIV:
		if (!is_const || by <= 0 || a.least < 0)
			break;
		return of_integers(e->type, a.least / by, a.most / by);
	case OP_IMOD:
		if (is_const && by > 0)
			return of_integers(e->type, 0, a.least >= 0 && a.most < by ? a.most : by - 1);
		break;
	case OP_BIT_AND:
		if (is_const && by >= 0)
			return of_integers(e->type, 0, a.least >= 0 && a.most < by ? a.most : by);
		break;
	case OP_BIT_OR:
	case OP_BIT_XOR:
		if (a.least >= 0 && b.least >= 0) {
			int64_t most = a.most > b.most ? a.most : b.most, mask = 1;
			while (mask < most)
				mask = mask * 2 + 1;
			return of_integers(e->type, 0, mask);
		}
		break;
	case OP_SHL:
		if (is_const && by >= 0 && by < 32 && a.least >= 0)
			return of_integers(e->type, (__int128)a.least << by, (__int128)a.most << by);
		break;
	case OP_SHR:
		if (is_const && by >= 0 && by < 64 && a.least >= 0)
			return of_integers(e->type, a.least >> by, a.most >> by);
		break;
	default:
		break;
	}
	return anything(e->type);
}

static Range of_load(KernelFacts *facts, KExpr *e)
{
	KBuffer *buffer = e->buffer;
	if (buffer->kind == BUFFER_TEMP && store_equal(e->store, buffer->store))
		return facts->of_buffer[buffer->id];
	return of_store(e->store);
}

static Range of_cast(KExpr *e, Range a)
{
	KType from = e->args[0]->type;
	if (e->type == T_BOOL)
		return anything(T_BOOL);
	if (is_real(e->type) && is_real(from))
		return of_reals(as_type(e->type, a.lo), as_type(e->type, a.hi), a.may_be_nan);
	if (is_real(e->type))
		return of_reals(as_type(e->type, (double)a.least), as_type(e->type, (double)a.most), false);
	if (is_real(from))
		return after_store(store_of_type(e->type), from, a);
	return of_integers(e->type, a.least, a.most);
}

static Range of_monotone(KOp op, KType type, Range a)
{
	KValue lo = {.real = a.lo}, hi = {.real = a.hi};
	lo = scalar_apply(op, type, type, (Store){0}, &lo);
	hi = scalar_apply(op, type, type, (Store){0}, &hi);
	return of_reals(lo.real, hi.real, a.may_be_nan);
}

static Range compute(KernelFacts *facts, KExpr *e)
{
	Range a = {0}, b = {0};
	uint32_t arity = kop_arity(e->op);
	if (arity > 0)
		a = facts_range(facts, e->args[arity == 3 ? 1 : 0]);
	if (arity > 1)
		b = facts_range(facts, e->args[arity == 3 ? 2 : 1]);
	switch (e->op) {
	case OP_CONST:
		return is_real(e->type)
				   ? of_reals(isnan(e->real) ? -INFINITY : e->real, isnan(e->real) ? INFINITY : e->real, isnan(e->real))
				   : of_integers(e->type, e->integer, e->integer);
	case OP_INDEX:
		return of_index(e->index);
	case OP_LOAD:
		return of_load(facts, e);
	case OP_ADD:
		return of_sums(e->type, a, b);
	case OP_SUB:
		return is_real(e->type) ? of_sums(e->type, a, negated(e->type, b))
								: of_integers(e->type, (__int128)a.least - b.most, (__int128)a.most - b.least);
	case OP_MUL: {
		Range r = of_products(e->type, a, b);
		if (is_real(e->type) && e->args[0] == e->args[1])
			r.lo = fmax(r.lo, 0);
		return r;
	}
	case OP_NEG:
		return negated(e->type, a);
	case OP_ABS:
		return magnitude(e->type, a);
	case OP_MIN:
	case OP_MAX:
		return of_min_max(e->op == OP_MAX, e->type, a, b);
	case OP_SQRT:
		return a.lo >= 0 ? of_monotone(OP_SQRT, e->type, a) : of_reals(-0.0, INFINITY, true);
	case OP_FLOOR:
	case OP_CEIL:
	case OP_TRUNC:
	case OP_ROUND:
	case OP_ROUND_EVEN:
		return of_monotone(e->op, e->type, a);
	case OP_SELECT:
		return join(a, b);
	case OP_CAST:
		return of_cast(e, a);
	case OP_STORE_AS:
		return after_store(e->store, e->args[0]->type, a);
	case OP_BITS:
		return e->store.bits < 31 ? of_integers(e->type, 0, (INT64_C(1) << e->store.bits) - 1) : anything(e->type);
	case OP_FROM_BITS:
		return of_store(e->store);
	default:
		return kop_arity(e->op) == 2 && !is_real(e->type) && e->type != T_BOOL ? of_integer_op(e, a, b)
																			   : anything(e->type);
	}
}

Range facts_range(KernelFacts *facts, KExpr *e)
{
	Range **known = (Range **)kexprmap_at(&facts->ranges, e);
	if (*known)
		return **known;
	Range *r = arena_new_of(facts->k->c->arena, Range);
	*r = compute(facts, e);
	*kexprmap_at(&facts->ranges, e) = r;
	return *r;
}

/* ---- buffers ---- */

typedef struct Round {
	KernelFacts *facts;
	Range *next;
	bool *is_written;
} Round;

Range facts_reduction(KernelFacts *facts, KStep *step)
{
	KType type = step->value->type;
	Range value = facts_range(facts, step->value);
	switch (step->reduce) {
	case REDUCE_MAX:
		return is_real(type) ? of_reals(-INFINITY, value.hi, false) : anything(type);
	case REDUCE_MIN:
		return is_real(type) ? of_reals(value.lo, INFINITY, false) : anything(type);
	case REDUCE_ARGMAX:
	case REDUCE_ARGMIN:
	case REDUCE_COUNT: {
		int64_t total = 1;
		for (uint32_t i = 0; i < step->over_count; i++) {
			int64_t least, most;
			if (!facts_index_range(step->over[i], &least, &most) || total > INT32_MAX)
				return of_integers(T_I32, 0, INT32_MAX);
			total *= (most - least) / step->over[i]->step + 1;
		}
		return of_integers(T_I32, 0, total);
	}
	case REDUCE_ANY:
	case REDUCE_ALL:
		return anything(T_BOOL);
	case REDUCE_QUANTILE: /* 0 of no elements */
		return join(value, is_real(type) ? of_reals(0, 0, false) : of_integers(type, 0, 0));
	case REDUCE_SUM:
	case REDUCE_PROD:
		break;
	}
	if (!is_real(type))
		return anything(type);
	bool is_positive = value.lo >= 0;
	return of_reals(
		is_positive ? 0 : -INFINITY, INFINITY, value.may_be_nan || !is_positive || step->reduce == REDUCE_PROD);
}

static Range of_step(KernelFacts *facts, KStep *step, KType *type)
{
	*type = step->value->type;
	if (step->kind == STEP_MAP)
		return facts_range(facts, step->value);
	if (step->kind == STEP_SCAN) {
		*type = step->scan == SCAN_RANK ? T_I32 : step->scan == SCAN_SMALLEST ? T_BOOL : *type;
		return step->scan == SCAN_RANK   ? of_integers(T_I32, 0, INT32_MAX)
			   : step->scan == SCAN_SORT ? facts_range(facts, step->value)
										 : anything(*type);
	}
	if (step->reduce == REDUCE_COUNT || step->reduce == REDUCE_ARGMAX || step->reduce == REDUCE_ARGMIN)
		*type = T_I32;
	return facts_reduction(facts, step);
}

static void join_steps(Round *round, KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		if (step->kind == STEP_LOOP || step->kind == STEP_IF) {
			join_steps(round, &step->body);
			continue;
		}
		if (step->kind == STEP_LINALG) {
			for (uint32_t o = 0; o < linalg_outs(step->linalg); o++) {
				uint32_t id = step->outs[o]->id;
				round->next[id] = of_store(step->outs[o]->store);
				round->is_written[id] = true;
			}
			continue;
		}
		uint32_t id = step->dst->id;
		KType type;
		Range stored = of_step(round->facts, step, &type);
		stored = after_store(step->dst->store, type, stored);
		if (!store_equal(step->store, step->dst->store))
			stored = of_store(step->dst->store);
		round->next[id] = round->is_written[id] ? join(round->next[id], stored) : stored;
		round->is_written[id] = true;
	}
}

static void find_view(void *context, KExpr *load)
{
	KernelFacts *facts = context;
	if (!store_equal(load->store, load->buffer->store))
		facts->has_views[load->buffer->id] = true;
}

static void find_views(KernelFacts *facts, KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		step_each_load(facts->k, step, find_view, facts);
		if (step->dst && !store_equal(step->store, step->dst->store))
			facts->has_views[step->dst->id] = true;
		find_views(facts, &step->body);
	}
}

KernelFacts *facts_new(Kernel *k)
{
	Arena *arena = k->c->arena;
	size_t count = k->buffers.count;
	KernelFacts *facts = arena_new_of(arena, KernelFacts);
	*facts = (KernelFacts){
		.k = k, .of_buffer = arena_array(arena, Range, count), .has_views = arena_array(arena, bool, count)};
	find_views(facts, &k->steps);
	for (size_t i = 0; i < count; i++)
		facts->of_buffer[i] = of_store(k->buffers.at[i]->store);
	for (int n = 0; n < FACT_ROUNDS; n++) {
		facts->ranges = (KExprMap){.arena = arena};
		Round round = {facts, arena_array(arena, Range, count), arena_array(arena, bool, count)};
		join_steps(&round, &k->steps);
		for (size_t i = 0; i < k->inputs.count; i++) /* which hold anything before they are written */
			round.is_written[k->inputs.at[i]->id] = false;
		for (size_t i = 0; i < count; i++)
			if (round.is_written[i])
				facts->of_buffer[i] = round.next[i];
	}
	facts->ranges = (KExprMap){.arena = arena};
	return facts;
}

/* ---- loads ---- */

static void visit_loads(KExprMap *seen, KExpr *e, ExprVisit *visit, void *context)
{
	if (!e->loads)
		return;
	void **mark = kexprmap_at(seen, e);
	if (*mark)
		return;
	*mark = e;
	if (e->op == OP_LOAD)
		visit(context, e);
	uint32_t count = e->op == OP_LOAD ? e->buffer->rank : kop_arity(e->op);
	for (uint32_t i = 0; i < count; i++)
		visit_loads(seen, e->op == OP_LOAD ? e->subs[i] : e->args[i], visit, context);
}

void expr_each_load(Kernel *k, KExpr *e, ExprVisit *visit, void *context)
{
	KExprMap seen = {.arena = k->c->arena};
	visit_loads(&seen, e, visit, context);
}

KExpr *expr_only_load(KExpr *x)
{
	while (x && x->op != OP_LOAD) {
		KExpr *varying = NULL;
		for (uint32_t i = 0, count = 0; i < kop_arity(x->op); i++)
			if (x->args[i]->op != OP_CONST)
				varying = count++ == 0 ? x->args[i] : NULL;
		x = varying;
	}
	return x;
}

void step_each_load(Kernel *k, KStep *step, ExprVisit *visit, void *context)
{
	KExpr *own[] = {step->value, step->key, step->limit, step->minuend};
	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		if (own[i])
			expr_each_load(k, own[i], visit, context);
}
