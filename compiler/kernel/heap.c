/* SPDX-License-Identifier: MIT
 *
 * heap.c: how much memory a scheduled kernel takes from the runtime while it runs,
 * at most: columns whose length only the run knows, and what sorting, products and
 * factorizations of the runtime need for themselves. What has a constant size is
 * scratch (llvm/), and no part of this.
 *
 * A step frees what it took before the next one runs, so steps do not add up.
 */
#include "cmprt.h"
#include "kernel.h"

typedef struct HeapMeter {
	int64_t rows;
	KHeap most;
} HeapMeter;

typedef struct Span {
	int64_t least, most;
} Span;

static Span span_of(const KExpr *e, int64_t rows);

static Span span_of_index(const KIndex *index, int64_t rows)
{
	Span first = span_of(index->lo, rows), end = span_of(index->hi, rows);
	return (Span){first.least, end.most > first.least ? end.most - 1 : first.least};
}

static int64_t least_of(const int64_t of[4])
{
	int64_t least = of[0];
	for (int i = 1; i < 4; i++)
		least = of[i] < least ? of[i] : least;
	return least;
}

static int64_t most_of(const int64_t of[4])
{
	int64_t most = of[0];
	for (int i = 1; i < 4; i++)
		most = of[i] > most ? of[i] : most;
	return most;
}

/* Bounds are monotonic in each operand, so their extremes lie at the ends of the operands' spans. */
static Span span_of(const KExpr *e, int64_t rows)
{
	int64_t ends[4];
	Span a = {rows, rows}, b = a;
	if (e->op == OP_CONST)
		return (Span){e->integer, e->integer};
	if (e->op == OP_INDEX)
		return span_of_index(e->index, rows);
	if (kop_arity(e->op) > 0)
		a = span_of(e->args[0], rows);
	if (kop_arity(e->op) != 2)
		return a;
	b = span_of(e->args[1], rows);
	for (int i = 0; i < 4; i++) {
		KValue args[] = {{.integer = i & 1 ? a.most : a.least}, {.integer = i & 2 ? b.most : b.least}};
		ends[i] = scalar_apply(e->op, T_I64, T_I64, e->store, args).integer;
	}
	return (Span){least_of(ends), most_of(ends)};
}

static int64_t turns_most(const HeapMeter *m, KIndex *const *indices, uint32_t count)
{
	int64_t product = 1;
	for (uint32_t i = 0; i < count; i++) {
		int64_t turns = span_of(indices[i]->hi, m->rows).most - span_of(indices[i]->lo, m->rows).least;
		product *= turns > 0 ? turns : 0;
	}
	return product;
}

static bool has_constant_extent(const KStep *step)
{
	int64_t unused;
	for (uint32_t i = 0; i < step->over_count; i++)
		if (!kexpr_is_const(step->over[i]->lo, &unused) || !kexpr_is_const(step->over[i]->hi, &unused))
			return false;
	return true;
}

/* A column of values, one of keys, one of results, each with a place per lane; the order; in lanes one of each more. */
static int64_t scan_bytes(const HeapMeter *m, const KStep *step, uint32_t lanes)
{
	enum { ELEMENT = 8, ORDER = 4 };
	int64_t count = turns_most(m, step->over, step->over_count);
	bool is_searched = step->kind == STEP_SCAN && step->scan == SCAN_SMALLEST && step->value->type == T_F32;
	int64_t bytes = is_searched ? 0 : cmprt_order_bytes(count);
	if (has_constant_extent(step))
		return bytes;
	int64_t columns = step->key ? 3 : 2;
	return bytes + count * (columns * ELEMENT * lanes + (lanes > 1 ? columns * ELEMENT : 0) + ORDER);
}

static bool is_ordered(const KStep *step)
{
	return step->kind == STEP_SCAN ? step->scan != SCAN_PREFIX || step->key
								   : step->kind == STEP_REDUCE && step->reduce == REDUCE_QUANTILE;
}

static int64_t linalg_bytes(const HeapMeter *m, const KStep *step)
{
	const KBuffer *in = step->ins[0];
	bool is_double = in->store.kind == STORE_F64;
	int64_t rows = span_of(in->extent[0], m->rows).most, columns = span_of(in->extent[1], m->rows).most;
	switch (step->linalg) {
	case LINALG_CHOLESKY:
		return cmprt_cholesky_bytes(columns, step->upper, is_double);
	case LINALG_INVERSE:
		return cmprt_inverse_bytes(columns, is_double);
	case LINALG_INVERSE_FACTOR:
		return cmprt_inverse_factor_bytes(columns, is_double);
	case LINALG_SVD:
		return cmprt_svd_bytes(rows, columns, is_double);
	case LINALG_QR:
		return cmprt_qr_bytes(rows, columns, is_double);
	}
	return 0;
}

/* Is it the index, beside what does not depend on it? */
static bool steps_by_one(const KExpr *e, const KIndex *index)
{
	if (e->op == OP_ADD && !kexpr_uses(e->args[0], index))
		return steps_by_one(e->args[1], index);
	if (e->op == OP_ADD && !kexpr_uses(e->args[1], index))
		return steps_by_one(e->args[0], index);
	return e->op == OP_INDEX && e->index == index;
}

/* A factor of a product that BLAS cannot read as it lies is copied; one whose last subscript is a row, a column or the
 * depth of the product, counted from anywhere, lies well. What both factors have outside the sum is a batch: each is a
 * product of its own. */
static int64_t factor_bytes(const HeapMeter *m, const KStep *step, const KExpr *factor, const KExpr *other)
{
	int64_t bytes = sizeof(float);
	bool lies_well = false;
	for (uint32_t i = 0; i < step->domain_count + step->over_count; i++) {
		KIndex *index = i < step->domain_count ? step->domain[i] : step->over[i - step->domain_count];
		bool is_batch = i < step->domain_count && kexpr_uses(other, index);
		if (!kexpr_uses(factor, index) || is_batch)
			continue;
		bytes *= turns_most(m, &index, 1);
		const KExpr *last = factor->op == OP_LOAD ? factor->subs[factor->buffer->rank - 1] : NULL;
		lies_well |= last && steps_by_one(last, index);
	}
	return lies_well ? 0 : bytes;
}

static int64_t step_bytes(const HeapMeter *m, const KStep *step, uint32_t lanes)
{
	if (step->kind == STEP_LINALG)
		return linalg_bytes(m, step);
	if (is_ordered(step))
		return scan_bytes(m, step, lanes);
	if (step->kind == STEP_REDUCE && step->is_contraction && step->value->op == OP_MUL)
		return factor_bytes(m, step, step->value->args[0], step->value->args[1]) +
			   factor_bytes(m, step, step->value->args[1], step->value->args[0]);
	return 0;
}

static void meter_steps(HeapMeter *m, const KStepVec *steps, bool is_on_threads, uint32_t lanes)
{
	for (size_t i = 0; i < steps->count; i++) {
		const KStep *step = steps->at[i];
		if (step->kind == STEP_LOOP || step->kind == STEP_IF) {
			bool is_wide = step->kind == STEP_LOOP && step->mode == LOOP_LANES;
			bool is_rows = step->kind == STEP_LOOP && step->mode == LOOP_ROWS;
			meter_steps(m, &step->body, is_on_threads || is_rows, is_wide ? step->lanes : lanes);
			continue;
		}
		int64_t bytes = step_bytes(m, step, lanes), *most = is_on_threads ? &m->most.thread : &m->most.call;
		*most = bytes > *most ? bytes : *most;
	}
}

KHeap kernel_heap(const Kernel *k, int64_t rows)
{
	HeapMeter m = {.rows = rows};
	meter_steps(&m, &k->steps, false, 1);
	return m.most;
}
