/* SPDX-License-Identifier: MIT
 *
 * elab_input.c: input(w), the rows that meet a pass's subject when a network reads
 * data. No kernel of the pass ever sees them: what it folds over their axis t is an
 * array of its own, a statistic, that the pass's kernel is given. The same equations,
 * cut at the same place, are the kernels that make the statistics of one sample.
 */
#include "elaborate.h"

#include <string.h>

/* Of one sample, or of all. */
static KExpr *rows_of(Elab *el, const Chain *chain)
{
	int64_t known = chain->statistic ? chain->sample_rows : chain->input_rows;
	return known ? kexpr_int(el->k, T_I32, known) : kexpr_param(el->k, 0);
}

Entity *elab_input(Elab *el, const Node *call)
{
	const Chain *chain = el->chain;
	const Node *subject = call->kids[1];
	if (subject->kind != N_NAME || subject->name != el->subject) {
		elab_error(el, subject->loc, "input(..) takes the pass's own subject");
		return NULL;
	}
	if (el->is_any_rows) {
		elab_need_rows(el, call->loc);
		return NULL;
	}
	if (!chain || !chain->input_rows) {
		elab_error(el, call->loc, "input(%s) needs a network that reads data", subject->name);
		return NULL;
	}
	if (!el->rows_met) {
		KExpr *rows = rows_of(el, chain);
		KExpr *extent[2] = {rows, kexpr_int(el->k, T_I32, chain->cols)};
		el->rows_met = kbuffer_new(el->k, BUFFER_TEMP, name_of(el->c, "input"), store_of_type(T_F32), 2, extent);
	}
	Entity *entity = arena_new_of(el->c->arena, Entity);
	*entity = (Entity){.kind = ENTITY_VIEW, .loc = call->loc, .view = view_whole(el, el->rows_met)};
	return entity;
}

/* ---- what depends on the rows ---- */

/* An array with an element for each row. */
typedef struct RowArray {
	const KBuffer *buffer;
	uint32_t axis; /* along which the rows are */
} RowArray;

typedef struct Cut {
	Elab *el;
	VEC(RowArray) arrays;
	VEC(KStep *) steps; /* that make them, in order */
	VEC(KStep *) folds; /* and those that make statistics of them */
} Cut;

static const RowArray *row_array(const Cut *cut, const KBuffer *buffer)
{
	for (size_t i = 0; i < cut->arrays.count; i++)
		if (cut->arrays.at[i].buffer == buffer)
			return &cut->arrays.at[i];
	return NULL;
}

/* What an expression reads of rows: at this index, nothing, or more than the row in hand. */
typedef struct Reading {
	const KIndex *row;
	bool is_found, is_odd;
} Reading;

static void read_expr(const Cut *cut, const KExpr *e, Reading *reading)
{
	if (!e || !e->loads)
		return;
	const RowArray *array = e->op == OP_LOAD ? row_array(cut, e->buffer) : NULL;
	if (array) {
		const KExpr *sub = e->subs[array->axis];
		const KIndex *row = sub->op == OP_INDEX ? sub->index : NULL;
		reading->is_odd |= !row || (reading->is_found && reading->row != row);
		reading->is_found = true;
		reading->row = row;
	}
	for (uint32_t i = 0; e->op == OP_LOAD && i < e->buffer->rank; i++)
		read_expr(cut, e->subs[i], reading);
	for (int i = 0; i < 3 && e->args[i]; i++)
		read_expr(cut, e->args[i], reading);
}

static Reading read_step(const Cut *cut, const KStep *step)
{
	Reading reading = {0};
	read_expr(cut, step->value, &reading);
	read_expr(cut, step->key, &reading);
	read_expr(cut, step->limit, &reading);
	if (step->kind == STEP_LINALG && row_array(cut, step->ins[0]))
		reading.is_found = reading.is_odd = true;
	for (size_t i = 0; i < step->body.count; i++) {
		Reading inner = read_step(cut, step->body.at[i]);
		reading.is_found |= inner.is_found;
		reading.is_odd |= inner.is_found;
	}
	return reading;
}

/* Does e read nothing but rows and tables? */
static bool is_of_rows(const Cut *cut, const KExpr *e)
{
	if (!e || !e->loads)
		return true;
	if (e->op == OP_LOAD && e->buffer->kind != BUFFER_TABLE && !row_array(cut, e->buffer))
		return false;
	for (uint32_t i = 0; e->op == OP_LOAD && i < e->buffer->rank; i++)
		if (!is_of_rows(cut, e->subs[i]))
			return false;
	for (int i = 0; i < 3 && e->args[i]; i++)
		if (!is_of_rows(cut, e->args[i]))
			return false;
	return true;
}

static bool has_index(KIndex *const *indices, uint32_t count, const KIndex *index)
{
	for (uint32_t i = 0; i < count; i++)
		if (indices[i] == index)
			return true;
	return false;
}

/* Folds that may be done sample after sample. */
static bool is_fold(const KStep *step)
{
	return step->kind == STEP_REDUCE && (step->reduce == REDUCE_SUM || step->reduce == REDUCE_COUNT ||
											step->reduce == REDUCE_MAX || step->reduce == REDUCE_MIN);
}

static bool add_array(Cut *cut, KStep *step, const KIndex *row)
{
	for (uint32_t i = 0; i < step->dst->rank; i++)
		if (step->dst_subs[i]->op == OP_INDEX && step->dst_subs[i]->index == row) {
			vec_push(cut->el->c->arena, &cut->arrays, ((RowArray){step->dst, i}));
			vec_push(cut->el->c->arena, &cut->steps, step);
			return true;
		}
	return false;
}

static bool report(Cut *cut, const KStep *step, const char *what)
{
	elab_error(cut->el, step->loc, "%s", what);
	diag_help(cut->el->c,
		"what input(w) gives stands in sums, means, counts, max and min over its rows t: mean[t](x[t, i] * x[t, j])");
	return false;
}

static bool cut_step(Cut *cut, KStep *step)
{
	Reading reading = read_step(cut, step);
	if (!reading.is_found)
		return true;
	if (reading.is_odd || (step->kind != STEP_MAP && step->kind != STEP_REDUCE))
		return report(cut, step, "this reads the rows of input(w) other than one by one");
	if (!is_of_rows(cut, step->value))
		return report(cut, step, "this reads the rows of input(w) together with something else");
	if (has_index(step->domain, step->domain_count, reading.row))
		return add_array(cut, step, reading.row) ||
			   report(cut, step, "this puts the rows of input(w) in another order");
	if (!is_fold(step))
		return report(cut, step, "this cannot be folded sample after sample");
	vec_push(cut->el->c->arena, &cut->folds, step);
	return true;
}

/* ---- the two kernels ---- */

static void keep_steps(Kernel *k, const Cut *cut, bool is_kept)
{
	size_t kept = 0;
	for (size_t i = 0; i < k->steps.count; i++) {
		KStep *step = k->steps.at[i];
		bool is_of_cut = false;
		for (size_t s = 0; s < cut->steps.count; s++)
			is_of_cut |= cut->steps.at[s] == step;
		for (size_t s = 0; s < cut->folds.count; s++)
			is_of_cut |= cut->folds.at[s] == step;
		if (is_of_cut == is_kept)
			k->steps.at[kept++] = step;
	}
	k->steps.count = kept;
}

static void clear_buffers(KBufferVec *buffers)
{
	for (size_t i = 0; i < buffers->count; i++)
		buffers->at[i]->kind = BUFFER_TEMP;
	buffers->count = 0;
}

static Statistic statistic_of(const KStep *fold)
{
	Statistic statistic = {.buffer = fold->dst,
		.fold = fold->reduce == REDUCE_COUNT ? REDUCE_SUM : fold->reduce,
		.store = fold->dst->store,
		.rank = fold->dst->rank};
	for (uint32_t i = 0; i < fold->dst->rank; i++)
		kexpr_is_const(fold->dst->extent[i], &statistic.shape[i]);
	return statistic;
}

bool input_cut(Elab *el, ChainKernel *out)
{
	Cut cut = {.el = el};
	Kernel *k = el->k;
	if (!el->rows_met) {
		givens_open(el, out);
		return true;
	}
	vec_push(el->c->arena, &cut.arrays, ((RowArray){el->rows_met, 0}));
	for (size_t i = 0; i < k->steps.count; i++)
		if (!cut_step(&cut, k->steps.at[i]))
			return false;
	for (size_t i = 0; i < cut.folds.count; i++)
		vec_push(el->c->arena, &out->statistics, statistic_of(cut.folds.at[i]));
	size_t only = el->chain->statistic;
	keep_steps(k, &cut, only != 0);
	if (only) {
		clear_buffers(&k->inputs);
		clear_buffers(&k->outputs);
		el->rows_met->kind = BUFFER_INPUT;
		vec_push(el->c->arena, &k->inputs, el->rows_met);
	}
	for (size_t i = 0; i < cut.folds.count; i++) {
		KBuffer *buffer = cut.folds.at[i]->dst;
		if (only && i + 1 != only)
			continue;
		buffer->kind = only ? BUFFER_OUTPUT : BUFFER_INPUT;
		vec_push(el->c->arena, only ? &k->outputs : &k->inputs, buffer);
	}
	if (!only)
		givens_open(el, out);
	return true;
}
