/* SPDX-License-Identifier: MIT
 *
 * kernel.c: building kernels: indices, buffers and steps. Expressions are expr.c.
 *
 * Everything lives in the compiler's arena. Steps are made unattached; the caller
 * puts them where they run. What is built here is checked by verify.c, not here.
 */
#include "kernel.h"

#include <assert.h>
#include <string.h>

Kernel *kernel_new(Compiler *c, Name name)
{
	Kernel *k = arena_new_of(c->arena, Kernel);
	k->c = c;
	k->name = name;
	k->param_count = 1;
	return k;
}

KIndex *kindex_new(Kernel *k, Name name, KExpr *lo, KExpr *hi, int64_t step)
{
	assert(step > 0 && lo->type != T_BOOL && hi->type != T_BOOL);
	KIndex *index = arena_new_of(k->c->arena, KIndex);
	*index = (KIndex){.name = name, .id = k->index_count++, .lo = lo, .hi = hi, .step = step};
	return index;
}

KBuffer *kbuffer_new(Kernel *k, KBufferKind kind, Name name, Store store, uint32_t rank, KExpr *const *extent)
{
	assert(rank <= K_MAX_RANK && store.kind != STORE_NONE);
	KBuffer *buffer = arena_new_of(k->c->arena, KBuffer);
	*buffer = (KBuffer){.name = name, .id = (uint32_t)k->buffers.count, .kind = kind, .store = store, .rank = rank};
	for (uint32_t i = 0; i < rank; i++)
		buffer->extent[i] = extent[i];
	vec_push(k->c->arena, &k->buffers, buffer);
	if (kind == BUFFER_INPUT)
		vec_push(k->c->arena, &k->inputs, buffer);
	if (kind == BUFFER_OUTPUT)
		vec_push(k->c->arena, &k->outputs, buffer);
	return buffer;
}

static void *copy_array(Kernel *k, const void *items, size_t bytes)
{
	void *copy = arena_alloc(k->c->arena, bytes);
	if (bytes)
		memcpy(copy, items, bytes);
	return copy;
}

static KStep *step_new(Kernel *k, KStepKind kind)
{
	KStep *step = arena_new_of(k->c->arena, KStep);
	step->kind = kind;
	return step;
}

KStep *kstep_map(
	Kernel *k, KBuffer *dst, KExpr *const *subs, KIndex *const *domain, uint32_t domain_count, KExpr *value)
{
	KStep *step = step_new(k, STEP_MAP);
	step->dst = dst;
	step->dst_subs = copy_array(k, subs, dst->rank * sizeof *subs);
	step->store = dst->store;
	step->domain = copy_array(k, domain, domain_count * sizeof *domain);
	step->domain_count = domain_count;
	step->value = value;
	return step;
}

KStep *kstep_reduce(Kernel *k, KReduce op, KBuffer *dst, KExpr *const *subs, KIndex *const *domain,
	uint32_t domain_count, KIndex *const *over, uint32_t over_count, KExpr *value)
{
	KStep *step = kstep_map(k, dst, subs, domain, domain_count, value);
	step->kind = STEP_REDUCE;
	step->reduce = op;
	step->over = copy_array(k, over, over_count * sizeof *over);
	step->over_count = over_count;
	return step;
}

KStep *kstep_scan(Kernel *k, KScan op, KBuffer *dst, KExpr *const *subs, KIndex *const *domain, uint32_t domain_count,
	KIndex *const *over, uint32_t over_count, KExpr *value)
{
	KStep *step = kstep_reduce(k, REDUCE_SUM, dst, subs, domain, domain_count, over, over_count, value);
	step->kind = STEP_SCAN;
	step->scan = op;
	return step;
}

uint32_t linalg_outs(KLinalg op)
{
	return op == LINALG_SVD ? 3 : op == LINALG_QR ? 2 : 1;
}

bool linalg_is_definite(KLinalg op)
{
	return op == LINALG_CHOLESKY || op == LINALG_INVERSE || op == LINALG_INVERSE_FACTOR;
}

KStep *kstep_linalg(Kernel *k, KLinalg op, bool upper, KBuffer *in, KBuffer *const *outs)
{
	KStep *step = step_new(k, STEP_LINALG);
	step->linalg = op;
	step->upper = upper;
	step->ins[0] = in;
	for (uint32_t i = 0; i < linalg_outs(op); i++)
		step->outs[i] = outs[i];
	return step;
}

KStep *kstep_loop(Kernel *k, KIndex *index, KLoopMode mode, uint32_t lanes)
{
	KStep *step = step_new(k, STEP_LOOP);
	step->index = index;
	step->mode = mode;
	step->lanes = lanes;
	return step;
}

KStep *kstep_if(Kernel *k, KExpr *condition)
{
	KStep *step = step_new(k, STEP_IF);
	step->value = condition;
	return step;
}

bool kernel_is_streamed(const Kernel *k)
{
	const KStep *only = k->steps.count == 1 && !k->is_whole ? k->steps.at[0] : NULL;
	int64_t first;
	if (!only || only->kind != STEP_LOOP || only->mode != LOOP_ROWS || only->index->step != 1)
		return false;
	return kexpr_is_const(only->index->lo, &first) && first == 0 && only->index->hi->op == OP_PARAM &&
		   only->index->hi->integer == 0;
}
