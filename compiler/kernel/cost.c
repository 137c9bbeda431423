/* SPDX-License-Identifier: MIT
 *
 * cost.c: roughly how long a scheduled kernel takes, from its text alone: how often
 * each step runs, times what its expression does, over the lanes it does it in.
 * Meant to tell seconds from minutes; nothing is chosen by it.
 */
#include "kernel.h"

#include <math.h>

typedef struct Coster {
	Kernel *k;
	double rows, lanes; /* of a vector of f32 */
} Coster;

/* Cycles of a vector, or of a single value, on the CPUs of the last ten years: throughput, not latency. */
static double op_cycles(KOp op)
{
	switch (op) {
	case OP_CONST:
	case OP_INDEX:
	case OP_PARAM:
		return 0;
	case OP_DIV:
	case OP_SQRT:
		return 5;
	case OP_IDIV:
	case OP_IMOD:
		return 10;
	case OP_STORE_AS:
	case OP_BITS:
	case OP_FROM_BITS:
		return 3;
	default:
		return 0.5;
	}
}

/* Shared parts are computed once; subscripts are addresses, which cost nothing of their own. */
static double expr_cycles(const KExpr *e, KExprMap *met)
{
	void **place = kexprmap_at(met, e);
	if (*place)
		return 0;
	*place = (void *)e;
	double cycles = op_cycles(e->op);
	for (uint32_t i = 0; i < kop_arity(e->op); i++)
		cycles += expr_cycles(e->args[i], met);
	return cycles;
}

/* The value of a bound, where it depends on outer indices in the middle of their ranges. */
static double middle(const Coster *c, const KExpr *e)
{
	int64_t value;
	if (kexpr_is_const(e, &value))
		return (double)value;
	if (e->op == OP_PARAM)
		return c->rows;
	if (e->op == OP_INDEX)
		return (middle(c, e->index->lo) + middle(c, e->index->hi)) / 2;
	double args[3] = {0};
	for (uint32_t i = 0; i < kop_arity(e->op); i++)
		args[i] = middle(c, e->args[i]);
	switch (e->op) {
	case OP_ADD:
		return args[0] + args[1];
	case OP_SUB:
		return args[0] - args[1];
	case OP_MUL:
		return args[0] * args[1];
	case OP_IDIV:
		return args[1] > 0 ? args[0] / args[1] : 0;
	case OP_MIN:
		return fmin(args[0], args[1]);
	case OP_MAX:
		return fmax(args[0], args[1]);
	default:
		return args[0];
	}
}

static double turns(const Coster *c, const KIndex *index)
{
	double count = (middle(c, index->hi) - middle(c, index->lo)) / (double)index->step;
	return count > 1 ? count : 1;
}

static double all_turns(const Coster *c, KIndex *const *indices, uint32_t count)
{
	double product = 1;
	for (uint32_t i = 0; i < count; i++)
		product *= turns(c, indices[i]);
	return product;
}

/* Per element: a rank or an order sorts; what selects a part counts it a few times over. */
static double scan_cycles(const KStep *step, double elements)
{
	enum { SELECT_PASSES = 8, SORT_STEP = 4 };
	double depth = elements > 2 ? log2(elements) : 1;
	switch (step->scan) {
	case SCAN_SMALLEST:
		return elements > 16 ? SELECT_PASSES : elements;
	case SCAN_PREFIX:
		return step->key ? SORT_STEP * depth : 2;
	default:
		return SORT_STEP * depth;
	}
}

static double linalg_cycles(const Coster *c, const KStep *step)
{
	enum { SVD_WORK = 20 }; /* multiplications per element and column of the shorter side; the others: one */
	double m = middle(c, step->ins[0]->extent[0]), n = middle(c, step->ins[0]->extent[1]);
	return (step->linalg == LINALG_SVD ? SVD_WORK : 1) * m * n * fmin(m, n) / c->lanes;
}

static double steps_cycles(const Coster *c, const KStepVec *steps, double around, double lanes);

/* around: how often the step is come to; lanes: of the loop around it that runs side by side, or 1 */
static double step_cycles(const Coster *c, const KStep *step, double around, double lanes)
{
	if (step->kind == STEP_LOOP) {
		bool is_wide = step->mode == LOOP_LANES;
		return steps_cycles(c, &step->body, around * turns(c, step->index), is_wide ? (double)step->lanes : lanes);
	}
	if (step->kind == STEP_IF)
		return steps_cycles(c, &step->body, around, lanes);
	if (step->kind == STEP_LINALG)
		return around * linalg_cycles(c, step);
	double own = all_turns(c, step->domain, step->domain_count), over = all_turns(c, step->over, step->over_count);
	if (step->is_contraction) /* BLAS: a multiplication and an addition of two vectors a cycle */
		return around * own * over / (2 * c->lanes);
	KExprMap met = {.arena = c->k->c->arena};
	double cycles = 1 + expr_cycles(step->value, &met);
	if (step->kind == STEP_SCAN)
		cycles += scan_cycles(step, over);
	/* more lanes than a vector has are several vectors */
	double width = step->is_vector ? c->lanes : fmin(lanes, c->lanes);
	return around * own * over * cycles / width;
}

static double steps_cycles(const Coster *c, const KStepVec *steps, double around, double lanes)
{
	double cycles = 0;
	for (size_t i = 0; i < steps->count; i++)
		cycles += step_cycles(c, steps->at[i], around, lanes);
	return cycles;
}

double kernel_cycles(Kernel *k, int64_t rows, uint32_t lanes)
{
	Coster c = {.k = k, .rows = (double)rows, .lanes = lanes};
	return steps_cycles(&c, &k->steps, 1, 1);
}
