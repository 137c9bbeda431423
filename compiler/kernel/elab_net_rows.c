/* SPDX-License-Identifier: MIT
 *
 * elab_net_rows.c: the rows that meet a weight in a part of a net: the other factor
 * of the product that a contraction sums, one row for each place of the sample, or of
 * the image, its columns as the weight has them. A kernel of a convolution is a matrix too, its
 * first axis by all others, and its rows are windows. They become an output of the
 * part's kernel, one for all weights that the same rows meet.
 */
#include "elab_net.h"

static bool is_kernel(const KBuffer *weight, const NetAsk *ask)
{
	return ask->member < 0 && weight->rank > 2;
}

/* The first of its axes that are columns. */
static uint32_t column_axis(const NetAsk *ask)
{
	return ask->columns + (ask->member < 0 ? 0 : 1);
}

/* The columns that the weight has. */
static KExpr *column_count(Elab *el, const KBuffer *weight, const NetAsk *ask)
{
	KExpr *count = weight->extent[column_axis(ask)];
	for (uint32_t i = 2; is_kernel(weight, ask) && i < weight->rank; i++)
		count = kexpr_binary(el->k, OP_MUL, count, weight->extent[i]);
	return count;
}

/* Which of them the load reads. */
static KExpr *column_of(Elab *el, const KExpr *load, const NetAsk *ask)
{
	const KBuffer *weight = load->buffer;
	KExpr *column = load->subs[column_axis(ask)];
	for (uint32_t i = 2; is_kernel(weight, ask) && i < weight->rank; i++)
		column = kexpr_binary(el->k, OP_ADD, kexpr_binary(el->k, OP_MUL, column, weight->extent[i]), load->subs[i]);
	return column;
}

/* The load of the weight, where e is a product that it is a factor of; *others: what is multiplied with it. */
static KExpr *find_weight(Elab *el, KExpr *e, const KBuffer *weight, KExpr **others)
{
	*others = NULL;
	if (e->op == OP_LOAD && e->buffer == weight)
		return e;
	for (int i = 0; e->op == OP_MUL && i < 2; i++) {
		KExpr *inner, *other = e->args[1 - i], *found = find_weight(el, e->args[i], weight, &inner);
		if (!found)
			continue;
		*others = !inner ? other : kexpr_binary(el->k, OP_MUL, i ? other : inner, i ? inner : other);
		return found;
	}
	return NULL;
}

/* Those indices of the step's domain that the rows run along; the load is of the weight. False: the weight has one too,
 * or one of several is as long as the sample. */
static bool find_row_indices(const KExpr *load, NetMeeting *meeting)
{
	bool are_known = true;
	int64_t known;
	for (uint32_t i = 0; i < meeting->step->domain_count; i++) {
		KIndex *index = meeting->step->domain[i];
		if (!kexpr_uses(meeting->factor, index))
			continue;
		if (kexpr_uses(load, index) || meeting->row_count == K_MAX_RANK)
			return false;
		are_known &= kexpr_is_const(index->hi, &known);
		meeting->rows[meeting->row_count++] = index;
	}
	return are_known || meeting->row_count == 1;
}

/* The factor for one member of the weight: its place takes that of the index that numbers them. NULL: none does. */
static KExpr *factor_of_member(Elab *el, KExpr *factor, const KExpr *place, int64_t member)
{
	while (place->op == OP_CAST)
		place = place->args[0];
	return place->op == OP_INDEX ? kexpr_substitute(el->k, factor, place->index, kexpr_int(el->k, T_I32, member))
								 : NULL;
}

bool net_is_meeting(Elab *el, KStep *step, const KBuffer *weight, const NetAsk *ask, NetMeeting *out)
{
	uint32_t matrix = ask->member < 0 ? 0 : 1;
	KExpr *factor, *load = step->kind == STEP_REDUCE && step->reduce == REDUCE_SUM
							   ? find_weight(el, step->value, weight, &factor)
							   : NULL;
	if (!load || !factor || factor->type != T_F32 || weight->rank < 2 || (matrix && weight->rank != 3))
		return false;
	if (matrix)
		factor = factor_of_member(el, factor, load->subs[0], ask->member);
	if (!factor)
		return false;
	uint32_t rows = matrix + 1 - ask->columns;
	*out = (NetMeeting){.step = step, .factor = factor, .column = column_of(el, load, ask), .place = load->subs[rows]};
	for (uint32_t i = 0; i < step->over_count; i++)
		if (!kexpr_uses(out->column, step->over[i]) || kexpr_uses(load->subs[rows], step->over[i]))
			return false;
	return find_row_indices(load, out);
}

static bool expr_reads(const KExpr *e, const KBuffer *buffer)
{
	if (!e || !e->loads)
		return false;
	if (e->op == OP_LOAD && e->buffer == buffer)
		return true;
	for (uint32_t i = 0; e->op == OP_LOAD && i < e->buffer->rank; i++)
		if (expr_reads(e->subs[i], buffer))
			return true;
	for (int i = 0; i < 3 && e->args[i]; i++)
		if (expr_reads(e->args[i], buffer))
			return true;
	return false;
}

bool net_step_reads(const KStep *step, const KBuffer *buffer)
{
	bool found = expr_reads(step->value, buffer) || expr_reads(step->key, buffer) || expr_reads(step->limit, buffer);
	for (size_t i = 0; i < step->body.count && !found; i++)
		found = net_step_reads(step->body.at[i], buffer);
	return found;
}

/* How many rows there are. */
static KExpr *row_count(Elab *el, const NetMeeting *meeting)
{
	KExpr *count = kexpr_int(el->k, T_I32, 1);
	for (uint32_t i = 0; i < meeting->row_count; i++)
		count = i ? kexpr_binary(el->k, OP_MUL, count, meeting->rows[i]->hi) : meeting->rows[i]->hi;
	return count;
}

/* rows[t, column] = factor, on indices of its own */
static KStep *rows_step(Elab *el, const NetMeeting *meeting, KBuffer *to)
{
	KIndex *domain[2 * K_MAX_RANK];
	KExpr *row = kexpr_int(el->k, T_I32, 0), *column = meeting->column, *factor = meeting->factor;
	uint32_t count = meeting->row_count + meeting->step->over_count;
	for (uint32_t i = 0; i < count; i++) {
		bool is_row = i < meeting->row_count;
		KIndex *index = is_row ? meeting->rows[i] : meeting->step->over[i - meeting->row_count];
		domain[i] = kindex_new(el->k, index->name, index->lo, index->hi, index->step);
		KExpr *own = kexpr_index(el->k, domain[i]);
		column = kexpr_substitute(el->k, column, index, own);
		factor = kexpr_substitute(el->k, factor, index, own);
		if (is_row)
			row = i ? kexpr_binary(el->k, OP_ADD, kexpr_binary(el->k, OP_MUL, row, index->hi), own) : own;
	}
	KExpr *subs[2] = {row, column};
	KStep *step = kstep_map(el->k, to, subs, domain, count, factor);
	step->loc = meeting->step->loc;
	step->origin = el->origin;
	return step;
}

static KExpr *with_indices(Elab *el, KExpr *e, const KStep *step, const KStep *other)
{
	for (uint32_t i = 0; i < step->domain_count; i++)
		e = kexpr_substitute(el->k, e, step->domain[i], kexpr_index(el->k, other->domain[i]));
	return e;
}

/* Do both steps give the same rows? */
static bool is_same(Elab *el, const KStep *a, const KStep *b)
{
	if (a->domain_count != b->domain_count)
		return false;
	for (uint32_t i = 0; i < a->domain_count; i++)
		if (!kexpr_equal(a->domain[i]->lo, b->domain[i]->lo) || !kexpr_equal(a->domain[i]->hi, b->domain[i]->hi) ||
			a->domain[i]->step != b->domain[i]->step)
			return false;
	return kexpr_equal(with_indices(el, a->dst_subs[0], a, b), b->dst_subs[0]) &&
		   kexpr_equal(with_indices(el, a->dst_subs[1], a, b), b->dst_subs[1]) &&
		   kexpr_equal(with_indices(el, a->value, a, b), b->value);
}

bool net_find_meeting(Elab *el, const KBuffer *weight, const NetAsk *ask, Loc loc, NetMeeting *out)
{
	bool is_met = false;
	for (size_t i = 0; i < el->k->steps.count; i++) {
		NetMeeting meeting;
		KStep *step = el->k->steps.at[i];
		if (!net_step_reads(step, weight))
			continue;
		if (!net_is_meeting(el, step, weight, ask, &meeting) || is_met) {
			elab_error(el, step->loc,
				is_met ? "a second product reads \"%s\": whose rows are its input is not clear"
					   : "this is no sum of products of rows with \"%s\": it has no input",
				ask->name);
			return false;
		}
		*out = meeting;
		is_met = true;
	}
	if (!is_met)
		elab_error(el, loc, "no product of this part reads \"%s\"", ask->name);
	return is_met;
}

/* What the factor reads may have another value later. */
static void insert_before(Elab *el, KStep *step, const KStep *place)
{
	KStepVec *steps = &el->k->steps;
	size_t at = steps->count;
	vec_push(el->c->arena, steps, step);
	for (; steps->at[at - 1] != place; at--)
		steps->at[at] = steps->at[at - 1];
	steps->at[at] = steps->at[at - 1];
	steps->at[at - 1] = step;
}

bool net_rows(Elab *el, const NetAsk *ask, int64_t longest, NetKernel *out, size_t *number)
{
	Entity *entity = env_find(el, ask->name);
	NetMeeting meeting;
	if (!entity || entity->kind != ENTITY_VIEW ||
		!net_find_meeting(el, entity->view.buffer, ask, entity->loc, &meeting))
		return false;
	KExpr *extent[2] = {row_count(el, &meeting), column_count(el, entity->view.buffer, ask)};
	NetArray array = {.source = NET_STATE, .store = store_of_type(T_F32), .rank = 2};
	array.name = name_of(el->c, arena_printf(el->c->arena, "input(%s)", ask->name));
	array.is_ragged[0] = !kexpr_is_const(extent[0], &array.shape[0]);
	array.shape[0] = array.is_ragged[0] ? longest : array.shape[0];
	kexpr_is_const(extent[1], &array.shape[1]);
	array.buffer = kbuffer_new(el->k, BUFFER_TEMP, array.name, array.store, 2, extent);
	KStep *step = rows_step(el, &meeting, array.buffer);
	for (*number = 0; *number < out->rows.count; ++*number)
		if (is_same(el, step, out->rows.at[*number].step))
			return true;
	array.buffer->kind = BUFFER_OUTPUT;
	vec_push(el->c->arena, &el->k->outputs, array.buffer);
	insert_before(el, step, meeting.step);
	vec_push(el->c->arena, &out->rows, ((NetRows){step, out->outputs.count}));
	vec_push(el->c->arena, &out->outputs, array);
	return true;
}
