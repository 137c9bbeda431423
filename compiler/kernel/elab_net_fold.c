/* SPDX-License-Identifier: MIT
 *
 * elab_net_fold.c: who changes when the input of a weight is divided along its columns,
 * and nothing else of the net is to change. All that reads this input is multiplied
 * instead: products with weights can be. What makes it is followed through the flat
 * steps of the part: a product is divided in one of its factors, a sum in all of its
 * terms, down to weights that have an axis for it: a norm's gain, the rows of a matrix.
 * And which vector is added to the products with a weight.
 */
#include "elab_net.h"

typedef struct Trace {
	Elab *el;
	const NetKernel *built;
	NetFold fold;
} Trace;

static bool blame(Trace *t, Loc loc, const char *why)
{
	t->fold.blame = why;
	t->fold.loc = loc;
	return false;
}

/* The weight that the buffer holds, as f32 or as the file has it; NULL: it holds none. */
static const NetArray *weight_of(const Trace *t, const KBuffer *buffer)
{
	for (size_t i = 0; i < t->built->inputs.count; i++) {
		const NetArray *array = &t->built->inputs.at[i];
		const Entity *entity = array->source == NET_WEIGHT ? env_find(t->el, array->name) : NULL;
		if (entity && entity->kind == ENTITY_VIEW && entity->view.buffer == buffer)
			return array;
	}
	return NULL;
}

/* ---- columns, as expressions of the subscripts of the array in hand ---- */

/* e with each from[i] replaced; NULL: it says something else too. */
static KExpr *rename_all(Trace *t, KExpr *e, KExpr *const *from, KExpr *const *to, uint32_t count)
{
	KExpr *args[3] = {NULL};
	for (uint32_t i = 0; i < count; i++)
		if (from[i]->op != OP_CONST && kexpr_equal(e, from[i]))
			return to[i];
	if (e->op == OP_CONST || e->op == OP_PARAM)
		return e;
	for (int i = 0; i < 3 && e->args[i]; i++) {
		args[i] = rename_all(t, e->args[i], from, to, count);
		if (!args[i])
			return NULL;
	}
	return args[0] ? kexpr_rebuild(t->el->k, e, args) : NULL;
}

/* An index for each axis of the array. */
static void own_indices(Trace *t, const KBuffer *buffer, KExpr **own)
{
	for (uint32_t i = 0; i < buffer->rank; i++)
		own[i] = kexpr_index(t->el->k, elab_index(t->el, buffer->name, buffer->extent[i]));
}

/* ---- what makes it ---- */

static size_t count_readers(const Trace *t, const KBuffer *buffer)
{
	size_t count = 0;
	for (size_t i = 0; i < t->el->k->steps.count; i++)
		count += net_step_reads(t->el->k->steps.at[i], buffer);
	return count;
}

static size_t count_writers(const KStepVec *steps, const KBuffer *buffer, KStep **last)
{
	size_t count = 0;
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		if (step->dst == buffer) {
			*last = step;
			count++;
		}
		for (uint32_t o = 0; step->kind == STEP_LINALG && o < 3; o++)
			count += step->outs[o] == buffer ? 2 : 0;
		count += count_writers(&step->body, buffer, last);
	}
	return count;
}

static bool divide_expr(Trace *t, const KStep *step, KExpr *e, KExpr *column);

/* column: in own, the subscripts of the buffer */
static bool divide_buffer(Trace *t, KBuffer *buffer, KExpr *const *own, KExpr *column, Loc reader)
{
	KStep *step = NULL;
	if (buffer->kind != BUFFER_TEMP || count_writers(&t->el->k->steps, buffer, &step) != 1 ||
		(step->kind != STEP_MAP && !(step->kind == STEP_REDUCE && step->reduce == REDUCE_SUM)))
		return blame(t, reader, "what this reads is no product with a weight");
	KExpr *here = rename_all(t, column, own, step->dst_subs, buffer->rank);
	return here ? divide_expr(t, step, step->value, here) : blame(t, step->loc, "this is of other columns");
}

static bool divide_weight(Trace *t, const KStep *step, const KExpr *load, const NetArray *weight, const KExpr *column)
{
	for (uint32_t axis = 0; axis < weight->rank; axis++) {
		if (!kexpr_equal(load->subs[axis], column))
			continue;
		if (weight->rank > 2 || count_readers(t, load->buffer) != 1)
			return blame(t, step->loc, "this weight is read by others too");
		FoldPart part = weight->rank == 2 && axis == 0 ? FOLD_ROWS : FOLD_COLUMNS;
		vec_push(t->el->c->arena, &t->fold.targets, ((NetFoldTarget){weight->name, part}));
		return true;
	}
	return blame(t, step->loc, "the weight that this reads has no axis of these columns");
}

static bool divide_load(Trace *t, const KStep *step, KExpr *load, KExpr *column)
{
	const NetArray *weight = weight_of(t, load->buffer);
	KExpr *own[K_MAX_RANK];
	if (weight)
		return divide_weight(t, step, load, weight, column);
	own_indices(t, load->buffer, own);
	KExpr *there = rename_all(t, column, load->subs, own, load->buffer->rank);
	if (!there)
		return blame(t, step->loc, "several of the columns are one here");
	if (count_readers(t, load->buffer) != 1)
		return blame(t, step->loc, "what this reads is read by others too");
	return divide_buffer(t, load->buffer, own, there, step->loc);
}

/* One of two factors, the first that can be. */
static bool divide_factor(Trace *t, const KStep *step, const KExpr *e, KExpr *column)
{
	size_t known = t->fold.targets.count;
	for (int i = 0; i < 2; i++) {
		if (divide_expr(t, step, e->args[i], column)) {
			t->fold.blame = NULL;
			return true;
		}
		t->fold.targets.count = known;
	}
	return false;
}

static bool divide_expr(Trace *t, const KStep *step, KExpr *e, KExpr *column)
{
	switch (e->op) {
	case OP_CONST:
		return (e->type >= T_F32 && e->real == 0) || blame(t, step->loc, "a number is added here");
	case OP_LOAD:
		return divide_load(t, step, e, column);
	case OP_MUL:
		return divide_factor(t, step, e, column);
	case OP_DIV:
	case OP_NEG:
		return divide_expr(t, step, e->args[0], column);
	case OP_ADD:
	case OP_SUB:
		return divide_expr(t, step, e->args[0], column) && divide_expr(t, step, e->args[1], column);
	case OP_SELECT:
		return divide_expr(t, step, e->args[1], column) && divide_expr(t, step, e->args[2], column);
	default:
		return blame(t, step->loc, "this is no product, nor a sum of products");
	}
}

/* ---- what reads it ---- */

/* The weight that the step multiplies the buffer with, along the same columns; NULL: it does something else. */
static const NetArray *find_reader(Trace *t, KStep *step, const KBuffer *buffer, KExpr *const *own, const KExpr *column)
{
	for (size_t i = 0; i < t->built->inputs.count; i++) {
		const NetArray *weight = &t->built->inputs.at[i];
		const Entity *entity = weight->source == NET_WEIGHT && weight->rank == 2 ? env_find(t->el, weight->name) : NULL;
		for (uint32_t columns = 0; entity && entity->kind == ENTITY_VIEW && columns < 2; columns++) {
			NetMeeting meeting;
			NetAsk ask = {weight->name, columns, -1};
			if (!net_is_meeting(t->el, step, entity->view.buffer, &ask, &meeting) || meeting.factor->op != OP_LOAD ||
				meeting.factor->buffer != buffer || count_readers(t, entity->view.buffer) != 1)
				continue;
			KExpr *same = rename_all(t, meeting.column, meeting.factor->subs, own, buffer->rank);
			if (same && kexpr_equal(same, column))
				return weight;
		}
	}
	return NULL;
}

NetFold net_fold(Elab *el, const NetAsk *ask, const NetKernel *built)
{
	Trace t = {.el = el, .built = built};
	Entity *entity = env_find(el, ask->name);
	NetMeeting meeting;
	KExpr *own[K_MAX_RANK];
	if (!entity || entity->kind != ENTITY_VIEW ||
		!net_find_meeting(el, entity->view.buffer, ask, entity->loc, &meeting))
		return t.fold;
	if (ask->member >= 0 || entity->view.rank != 2 || meeting.factor->op != OP_LOAD) {
		blame(&t, meeting.step->loc, "what meets the weight here is no array of the net");
		return t.fold;
	}
	KBuffer *buffer = meeting.factor->buffer;
	own_indices(&t, buffer, own);
	KExpr *column = rename_all(&t, meeting.column, meeting.factor->subs, own, buffer->rank);
	if (!column) {
		blame(&t, meeting.step->loc, "its columns are not those of the weight");
		return t.fold;
	}
	for (size_t i = 0; i < el->k->steps.count; i++) {
		KStep *step = el->k->steps.at[i];
		const NetArray *reader = net_step_reads(step, buffer) ? find_reader(&t, step, buffer, own, column) : NULL;
		if (reader) {
			vec_push(el->c->arena, &t.fold.targets, ((NetFoldTarget){reader->name, FOLD_READER}));
		} else if (net_step_reads(step, buffer)) {
			blame(&t, step->loc, "this reads it too, and is no product with a weight");
			return t.fold;
		}
	}
	divide_buffer(&t, buffer, own, column, meeting.step->loc);
	return t.fold;
}

/* ---- what is added to it ---- */

/* The buffer's load, a term of the sum e; NULL: it is none. */
static const KExpr *find_term(const KExpr *e, const KBuffer *buffer)
{
	if (e->op != OP_ADD)
		return e->op == OP_LOAD && e->buffer == buffer ? e : NULL;
	const KExpr *found = find_term(e->args[0], buffer);
	return found ? found : find_term(e->args[1], buffer);
}

/* What a part's lines do with a product. */
typedef struct Product {
	const KBuffer *buffer;
	uint32_t axis;        /* along which the weight's rows are */
	const NetArray *bias; /* that is added to it; NULL: none so far */
	bool is_odd;          /* somewhere it is read without */
} Product;

static void read_expr(const Trace *t, const KExpr *e, Product *product);

/* A term of a sum. count: of the terms that are the product less those that are its bias. */
static void read_term(const Trace *t, const KExpr *e, const KExpr *place, Product *product, int *count)
{
	if (e->op == OP_ADD) {
		read_term(t, e->args[0], place, product, count);
		read_term(t, e->args[1], place, product, count);
		return;
	}
	if (e->op == OP_LOAD && e->buffer == product->buffer) {
		++*count;
		return;
	}
	const NetArray *weight = e->op == OP_LOAD ? weight_of(t, e->buffer) : NULL;
	if (weight && weight->rank == 1 && (!product->bias || product->bias == weight) && kexpr_equal(e->subs[0], place)) {
		product->bias = weight;
		--*count;
		return;
	}
	read_expr(t, e, product);
}

static void read_expr(const Trace *t, const KExpr *e, Product *product)
{
	const KExpr *term = find_term(e, product->buffer);
	int count = 0;
	if (term) {
		read_term(t, e, term->subs[product->axis], product, &count);
		product->is_odd |= count != 0;
		return;
	}
	for (int i = 0; i < 3 && e->args[i]; i++)
		read_expr(t, e->args[i], product);
}

static size_t count_loads(const KExpr *e, const KBuffer *buffer)
{
	size_t count = e->op == OP_LOAD && e->buffer == buffer;
	for (int i = 0; i < 3 && e->args[i]; i++)
		count += count_loads(e->args[i], buffer);
	return count;
}

/* The bias is read where the product is, and nowhere else. */
static bool is_read_together(const Trace *t, const Product *product)
{
	const KBuffer *bias = env_find(t->el, product->bias->name)->view.buffer;
	for (size_t i = 0; i < t->el->k->steps.count; i++) {
		const KStep *step = t->el->k->steps.at[i];
		if (net_step_reads(step, bias) &&
			(step->kind != STEP_MAP || count_loads(step->value, bias) != count_loads(step->value, product->buffer)))
			return false;
	}
	return true;
}

/* The axis of the product that the weight's rows are; its rank: none is. */
static uint32_t axis_of_rows(const NetMeeting *meeting)
{
	uint32_t axis = 0;
	while (axis < meeting->step->dst->rank && !kexpr_equal(meeting->step->dst_subs[axis], meeting->place))
		axis++;
	return axis;
}

NetBias net_bias(Elab *el, const NetAsk *ask, const NetKernel *built)
{
	Trace t = {.el = el, .built = built};
	const Entity *entity = env_find(el, ask->name);
	NetMeeting meeting;
	if (!entity || entity->kind != ENTITY_VIEW ||
		!net_find_meeting(el, entity->view.buffer, ask, entity->loc, &meeting))
		return (NetBias){0};
	Product product = {.buffer = meeting.step->dst, .axis = axis_of_rows(&meeting)};
	product.is_odd = product.axis == product.buffer->rank;
	for (size_t i = 0; i < el->k->steps.count && !product.is_odd; i++) {
		const KStep *step = el->k->steps.at[i];
		bool is_read = net_step_reads(step, product.buffer);
		product.is_odd = is_read && step->kind != STEP_MAP;
		if (is_read && !product.is_odd)
			read_expr(&t, step->value, &product);
	}
	bool is_bias = product.bias && !product.is_odd && is_read_together(&t, &product);
	return (NetBias){is_bias ? product.bias->name : NULL, meeting.step->loc};
}
