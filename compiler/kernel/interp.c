/* SPDX-License-Identifier: MIT
 *
 * interp.c: running a kernel on one thread, step by step, as kernel.h says and in
 * no other way. It is the reference that compiled kernels are compared with, so
 * it is as plain as can be: a loop of any mode is a sequential loop, a reduction
 * evaluates its elements into a column and folds that.
 *
 * Works on a kernel that verify.c accepts. Memory of a run is its own arena.
 */
#include "interp.h"

#include <assert.h>
#include <string.h>

/* ---- buffers ---- */

static void poison(BufferState *buffer)
{
	memset(buffer->at, 0xff, buffer->bytes); /* NaN, -1, out of any range: what is read unwritten shows */
}

static void bind_buffers(Interp *in, void *const *inputs, void *const *outputs)
{
	Kernel *k = in->k;
	in->buffers = arena_array(in->arena, BufferState, k->buffers.count);
	for (size_t i = 0; i < k->buffers.count; i++) {
		const KBuffer *buffer = k->buffers.at[i];
		BufferState *state = &in->buffers[i];
		state->buffer = buffer;
		state->bytes = store_bytes(buffer->store);
		for (uint32_t axis = 0; axis < buffer->rank; axis++) {
			int64_t extent = code_evaluate(in, buffer->extent[axis]);
			state->extent[axis] = extent < 0 ? 0 : extent;
			state->bytes *= (size_t)state->extent[axis];
		}
		if (buffer->kind == BUFFER_TABLE) {
			state->at = arena_alloc(in->arena, state->bytes);
			memcpy(state->at, buffer->data, state->bytes);
		} else if (buffer->kind == BUFFER_TEMP) {
			state->at = arena_alloc(in->arena, state->bytes);
			poison(state);
		}
	}
	for (size_t i = 0; i < k->inputs.count; i++)
		in->buffers[k->inputs.at[i]->id].at = inputs[i];
	for (size_t i = 0; i < k->outputs.count; i++)
		in->buffers[k->outputs.at[i]->id].at = outputs[i];
}

/* ---- making steps ready ---- */

static ReadyStep *ready_steps(Interp *in, const KStepVec *steps)
{
	ReadyStep *all = arena_array(in->arena, ReadyStep, steps->count);
	for (size_t i = 0; i < steps->count; i++) {
		ReadyStep *ready = &all[i];
		const KStep *step = steps->at[i];
		ready->step = step;
		ready->domain_count = step->domain_count;
		for (uint32_t j = 0; j < step->domain_count; j++)
			ready->loops[ready->loop_count++] = step->domain[j];
		for (uint32_t j = 0; j < step->over_count; j++)
			ready->loops[ready->loop_count++] = step->over[j];
		assert(ready->loop_count < STEP_LEVELS);
		if (step->dst)
			ready->dst = &in->buffers[step->dst->id];
		code_compile_step(in, ready);
		ready->body = ready_steps(in, &step->body);
		ready->body_count = step->body.count;
		for (size_t b = 0; step->kind == STEP_LOOP && b < in->k->buffers.count; b++)
			if (in->k->buffers.at[b]->scope == step)
				vec_push(in->arena, &ready->scoped, &in->buffers[b]);
	}
	return all;
}

/* ---- element steps ---- */

typedef bool Visit(Interp *in, ReadyStep *ready);

static bool walk(Interp *in, ReadyStep *ready, uint32_t level, uint32_t end, Visit *visit)
{
	if (level == end)
		return visit(in, ready);
	const KIndex *index = ready->loops[level];
	int64_t hi = ready->code.slots[ready->hi[level]].integer;
	for (int64_t i = ready->code.slots[ready->lo[level]].integer; i < hi; i += index->step) {
		in->index[index->id] = i;
		if (!code_run(in, &ready->code, level + 1) || !walk(in, ready, level + 1, end, visit))
			return false;
	}
	return true;
}

static bool write_element(Interp *in, const ReadyStep *ready, KValue value)
{
	Store store = ready->step->store;
	uint8_t *at = buffer_place(in, ready->dst, store, ready->code.slots, ready->subs, "writes");
	if (at)
		store_save(store, at, fold_type(ready->step), value);
	return at != NULL;
}

static bool visit_map(Interp *in, ReadyStep *ready)
{
	return write_element(in, ready, ready->code.slots[ready->value]);
}

static bool visit_collect(Interp *in, ReadyStep *ready)
{
	vec_push(in->arena, &in->column, ready->code.slots[ready->value]);
	if (ready->step->key)
		vec_push(in->arena, &in->keys, ready->code.slots[ready->key]);
	return true;
}

static bool visit_hand_out(Interp *in, ReadyStep *ready)
{
	return write_element(in, ready, in->results.at[in->written++]);
}

static KValue take_off(KType type, KValue minuend, KValue sum)
{
	KValue args[] = {minuend, sum};
	return scalar_apply(OP_SUB, type, type, (Store){0}, args);
}

static bool visit_fold(Interp *in, ReadyStep *ready)
{
	const KValue *slots = ready->code.slots;
	int64_t extents[STEP_LEVELS];
	in->column.count = in->keys.count = 0;
	for (uint32_t i = ready->domain_count; i < ready->loop_count; i++) {
		int64_t span = slots[ready->hi[i]].integer - slots[ready->lo[i]].integer, step = ready->loops[i]->step;
		extents[i - ready->domain_count] = span <= 0 ? 0 : (span + step - 1) / step;
	}
	if (!walk(in, ready, ready->domain_count, ready->loop_count, visit_collect))
		return false;
	KValue limit = slots[ready->limit];
	if (ready->step->kind == STEP_REDUCE) {
		KValue folded = fold_reduce(in, ready->step, extents, limit);
		if (ready->step->minuend)
			folded = take_off(ready->step->minuend->type, slots[ready->minuend], folded);
		return write_element(in, ready, folded);
	}
	fold_scan(in, ready->step, limit);
	in->written = 0;
	return walk(in, ready, ready->domain_count, ready->loop_count, visit_hand_out);
}

/* ---- whole-matrix steps ---- */

static double *matrix_of(Arena *scratch, const BufferState *buffer)
{
	Store store = buffer->buffer->store;
	size_t count = buffer->bytes / store_bytes(store);
	double *matrix = arena_array(scratch, double, count);
	for (size_t i = 0; i < count; i++)
		matrix[i] = store_load(store, buffer->at + i * store_bytes(store)).real;
	return matrix;
}

static void run_linalg(Interp *in, const KStep *step)
{
	Arena *scratch = arena_new(); /* of this step: it may be in a loop */
	const BufferState *from = &in->buffers[step->ins[0]->id];
	size_t m = (size_t)from->extent[0], n = (size_t)from->extent[1];
	uint32_t count = linalg_outs(step->linalg);
	double *outs[3] = {0};
	for (uint32_t i = 0; i < count; i++)
		outs[i] = matrix_of(scratch, &in->buffers[step->outs[i]->id]);
	double *matrix = matrix_of(scratch, from);
	KLinalg op = step->linalg;
	if (op == LINALG_INVERSE_FACTOR) { /* what it means are the two, with a matrix like the first between them */
		double *inverse = arena_array(scratch, double, n *n);
		linalg_reference(scratch, LINALG_INVERSE, false, n, n, matrix, &inverse);
		for (size_t i = 0; i < n * n; i++)
			inverse[i] = from->buffer->store.kind == STORE_F64 ? inverse[i] : (double)(float)inverse[i];
		matrix = inverse;
		op = LINALG_CHOLESKY;
	}
	linalg_reference(scratch, op, step->upper, m, n, matrix, outs);
	for (uint32_t i = 0; i < count; i++) {
		const BufferState *to = &in->buffers[step->outs[i]->id];
		uint32_t width = store_bytes(to->buffer->store);
		for (size_t j = 0; j < to->bytes / width; j++)
			store_save(to->buffer->store, to->at + j * width, T_F64, (KValue){.real = outs[i][j]});
	}
	arena_free(scratch);
}

/* ---- all steps ---- */

static bool run_steps(Interp *in, ReadyStep *steps, size_t count);

static bool run_loop(Interp *in, ReadyStep *ready)
{
	const KIndex *index = ready->step->index;
	int64_t hi = ready->code.slots[ready->hi[0]].integer;
	for (int64_t i = ready->code.slots[ready->lo[0]].integer; i < hi; i += index->step) {
		in->index[index->id] = i;
		for (size_t b = 0; b < ready->scoped.count; b++)
			poison(ready->scoped.at[b]);
		if (!run_steps(in, ready->body, ready->body_count))
			return false;
	}
	return true;
}

static bool run_step(Interp *in, ReadyStep *ready)
{
	in->step = ready->step;
	if (!code_run(in, &ready->code, 0))
		return false;
	switch (ready->step->kind) {
	case STEP_MAP:
		return walk(in, ready, 0, ready->domain_count, visit_map);
	case STEP_REDUCE:
	case STEP_SCAN:
		return walk(in, ready, 0, ready->domain_count, visit_fold);
	case STEP_LINALG:
		run_linalg(in, ready->step);
		return true;
	case STEP_LOOP:
		return run_loop(in, ready);
	case STEP_IF:
		return !ready->code.slots[ready->value].integer || run_steps(in, ready->body, ready->body_count);
	}
	return false;
}

static bool run_steps(Interp *in, ReadyStep *steps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!run_step(in, &steps[i]))
			return false;
	return true;
}

bool kernel_interpret(Kernel *k, void *const *inputs, void *const *outputs, const int64_t *params)
{
	Interp in = {.k = k, .arena = arena_new(), .params = params};
	in.index = arena_array(in.arena, int64_t, k->index_count);
	bind_buffers(&in, inputs, outputs);
	bool is_done = run_steps(&in, ready_steps(&in, &k->steps), k->steps.count);
	arena_free(in.arena);
	return is_done;
}
