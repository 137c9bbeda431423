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
	KCost cost;
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

/* Per element: an order is a radix sort of keys and positions, of few by insertion; what selects a part compares all
 * with guesses a few times over, in lanes, from memory if they are many. */
static double order_cycles(double elements)
{
	enum { RADIX_SORT = 110 };
	return fmin(elements, RADIX_SORT);
}

static double select_cycles(const Coster *c, double elements)
{
	enum { FEW = 16, PASSES = 8, FROM_MEMORY = 12 };
	const double cached = 1 << 18;
	return elements <= FEW ? elements / c->lanes : elements <= cached ? PASSES / c->lanes : FROM_MEMORY;
}

static double scan_cycles(const Coster *c, const KStep *step, double elements)
{
	if (step->scan == SCAN_SMALLEST)
		return select_cycles(c, elements);
	return step->scan == SCAN_PREFIX && !step->key ? 1 : order_cycles(elements);
}

/* Cycles of a multiplication in lanes, measured on matrices of 1024 and 2048. */
static double linalg_cycles(const Coster *c, const KStep *step)
{
	static const double factors[] = {[LINALG_CHOLESKY] = 0.12,
		[LINALG_INVERSE] = 0.4,
		[LINALG_INVERSE_FACTOR] = 0.3,
		[LINALG_SVD] = 11,
		[LINALG_QR] = 3};
	double m = middle(c, step->ins[0]->extent[0]), n = middle(c, step->ins[0]->extent[1]);
	double lanes = step->ins[0]->store.kind == STORE_F64 ? c->lanes / 2 : c->lanes;
	return factors[step->linalg] * m * n * fmin(m, n) / lanes;
}

static double value_cycles(const Coster *c, const KStep *step, double over, double lanes)
{
	KExprMap met = {.arena = c->k->c->arena};
	/* more lanes than a vector has are several vectors */
	double width = step->is_vector ? c->lanes : fmin(lanes, c->lanes);
	double cycles = (1 + expr_cycles(step->value, &met)) / width;
	if (step->kind == STEP_SCAN)
		cycles += scan_cycles(c, step, over);
	if (step->kind == STEP_REDUCE && step->reduce == REDUCE_QUANTILE)
		cycles += order_cycles(over);
	return cycles;
}

/* Where a step stands: how often it is come to, what it is in. */
typedef struct Around {
	double times;
	double lanes;     /* of the loop that runs side by side; else 1 */
	bool is_spread;   /* over threads */
	bool is_in_order; /* a loop of the program hands values on: each step waits for the one before */
} Around;

/* Of a step that waits. */
enum { WAIT_CYCLES = 30 };

static void add_steps(Coster *c, const KStepVec *steps, Around around);

static void add_loop(Coster *c, const KStep *loop, Around around)
{
	around.times *= turns(c, loop->index);
	around.lanes = loop->mode == LOOP_LANES ? (double)loop->lanes : around.lanes;
	around.is_spread |= loop->mode == LOOP_ROWS;
	around.is_in_order |= loop->origin != NULL;
	add_steps(c, &loop->body, around);
}

static void add_step(Coster *c, const KStep *step, Around around)
{
	double cycles;
	if (step->kind == STEP_LINALG) {
		cycles = linalg_cycles(c, step);
		around.is_spread |= linalg_is_definite(step->linalg);
	} else {
		double own = all_turns(c, step->domain, step->domain_count), over = all_turns(c, step->over, step->over_count);
		/* BLAS: a multiplication and an addition of two vectors a cycle */
		double each = step->is_contraction ? 1 / (2 * c->lanes) : value_cycles(c, step, over, around.lanes);
		cycles = own * over * each + (around.is_in_order ? WAIT_CYCLES / around.lanes : 0);
		around.is_spread |= step->is_contraction;
	}
	*(around.is_spread ? &c->cost.spread : &c->cost.serial) += around.times * cycles;
}

static void add_steps(Coster *c, const KStepVec *steps, Around around)
{
	for (size_t i = 0; i < steps->count; i++) {
		const KStep *step = steps->at[i];
		if (step->kind == STEP_LOOP)
			add_loop(c, step, around);
		else if (step->kind == STEP_IF)
			add_steps(c, &step->body, around);
		else
			add_step(c, step, around);
	}
}

KCost kernel_cost(Kernel *k, int64_t rows, uint32_t lanes)
{
	Coster c = {.k = k, .rows = (double)rows, .lanes = lanes};
	add_steps(&c, &k->steps, (Around){.times = 1, .lanes = 1});
	return c.cost;
}
