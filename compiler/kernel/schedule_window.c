/* SPDX-License-Identifier: MIT
 *
 * schedule_window.c: rows side by side through a loop of the program that goes along
 * them. Where each turn of that loop rests on the one before, as when a column is
 * rounded and those right of it hear of the error, a row alone waits at every turn;
 * as many rows as a vector has lanes wait together.
 *
 * What such a loop touches of a row is a window, [base, base + width) with a width
 * that is constant. Each lane gets a copy of the window, made before the loop where
 * something of it is read, written back behind it. On entry buffers are scoped and
 * rows chosen; on exit the loop over rows is one over tiles of rows, in lanes inside.
 */
#include "schedule.h"

#include <string.h>

enum { MOST_WIDTH = 512 };

typedef struct Windower {
	Kernel *k;
	KStep *loop;       /* over rows */
	KStep *along;      /* the program's, in it */
	AccessVec touches; /* of the loop */
	KIndex *inner[32]; /* indices of what is in the loop */
	uint32_t inner_count;
} Windower;

/* A buffer as the loop sees it. */
typedef struct Window {
	KBuffer *buffer, *own;
	KExpr *at[K_MAX_RANK]; /* its subscripts but for the axis: the same wherever it is touched */
	uint32_t axis;
	int64_t width;
	bool is_read_first; /* something may be read that was not written in the same turn */
	bool is_kept_in;    /* only what lies between the bounds of the program's loop is written */
} Window;

/* ---- indices ---- */

static void note_index(Windower *w, KIndex *index)
{
	if (w->inner_count < sizeof w->inner / sizeof *w->inner)
		w->inner[w->inner_count] = index;
	w->inner_count++;
}

static void note_indices(Windower *w, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		const KStep *step = steps->at[i];
		for (uint32_t d = 0; d < step->domain_count; d++)
			note_index(w, step->domain[d]);
		for (uint32_t d = 0; d < step->over_count; d++)
			note_index(w, step->over[d]);
		if (step->index)
			note_index(w, step->index);
		note_indices(w, &step->body);
	}
}

static bool uses_inner(const Windower *w, const KExpr *e)
{
	for (uint32_t i = 0; i < w->inner_count; i++)
		if (kexpr_uses(e, w->inner[i]))
			return true;
	return kexpr_uses(e, w->loop->index);
}

/* ---- windows ---- */

/* The one axis along which the touches of a buffer differ; rank: there is none or more than one. */
static uint32_t moving_axis(const Windower *w, const Window *window)
{
	uint32_t rank = window->buffer->rank, found = rank;
	for (uint32_t d = 0; d < rank; d++) {
		bool moves = uses_inner(w, window->at[d]) && !kexpr_uses(window->at[d], w->loop->index);
		for (size_t i = 0; i < w->touches.count; i++)
			if (w->touches.at[i].buffer == window->buffer)
				moves |= !expr_same(w->touches.at[i].subs[d], window->at[d]);
		if (moves && found < rank)
			return rank;
		found = moves ? d : found;
	}
	return found;
}

/* Is the first touch in the program's loop a write that each turn does, of just what the turn touches? */
static bool is_written_first(const Windower *w, const Window *window)
{
	const KStepVec *body = &w->along->body;
	for (size_t i = 0; i < w->touches.count; i++) {
		const KIndex *index;
		const Access *touch = &w->touches.at[i];
		if (touch->buffer == window->buffer &&
			!(expr_is_index(touch->subs[window->axis], &index) && index == w->along->index))
			return false;
	}
	for (size_t i = 0; i < body->count; i++) {
		AccessVec own = {0};
		access_collect(w->k, body->at[i], &own);
		if (accesses_use(&own, window->buffer))
			return body->at[i]->kind == STEP_MAP && body->at[i]->dst == window->buffer &&
				   body->at[i]->domain_count == 0 && own.at[own.count - 1].is_write &&
				   !(own.count > 1 && accesses_use(&(AccessVec){.at = own.at, .count = own.count - 1}, window->buffer));
	}
	return false;
}

/* It may be read and written as other types at any byte. */
static bool is_bytes(Store store)
{
	return store.kind == STORE_UINT && store.bits == 8;
}

static bool measure(const Windower *w, Window *window)
{
	const KExpr *end = w->along->index->hi;
	window->axis = moving_axis(w, window);
	if (window->axis == window->buffer->rank || is_bytes(window->buffer->store))
		return false;
	window->is_kept_in = true;
	for (size_t i = 0; i < w->touches.count; i++) {
		const Access *touch = &w->touches.at[i];
		int64_t least, most;
		const KIndex *index;
		if (touch->buffer != window->buffer)
			continue;
		KExpr *sub = touch->subs[window->axis], *base = w->along->index->lo;
		if (kexpr_uses(sub, w->loop->index) || !kexpr_bound(sub, base, false, &least) || least < 0 ||
			!kexpr_bound(sub, base, true, &most) || most >= MOST_WIDTH)
			return false;
		window->width = most + 1 > window->width ? most + 1 : window->width;
		window->is_kept_in &= !touch->is_write || (expr_is_index(sub, &index) && expr_same(index->hi, end));
	}
	window->is_read_first = !is_written_first(w, window);
	return window->is_kept_in || window->is_read_first;
}

/* ---- rewriting ---- */

typedef struct Mover {
	const Windower *w;
	const Window *window;
	KExprMap done;
} Mover;

static KExpr *sub_in(const Mover *m, KExpr *const *subs)
{
	return kexpr_binary(m->w->k, OP_SUB, subs[m->window->axis], m->w->along->index->lo);
}

static KExpr *move_loads(void *context, KExpr *e)
{
	Mover *m = context;
	if (!e->loads)
		return e;
	KExpr *known = *kexprmap_at(&m->done, e), *made, *args[3] = {0}, *subs[K_MAX_RANK];
	if (known)
		return known;
	if (e->op == OP_LOAD) {
		for (uint32_t i = 0; i < e->buffer->rank; i++)
			subs[i] = move_loads(m, e->subs[i]);
		bool is_it = e->buffer == m->window->buffer;
		KExpr *at = is_it ? sub_in(m, subs) : NULL;
		made = is_it ? kexpr_load(m->w->k, m->window->own, &at) : kexpr_load_as(m->w->k, e->buffer, subs, e->store);
	} else {
		for (uint32_t i = 0; i < kop_arity(e->op); i++)
			args[i] = move_loads(m, e->args[i]);
		made = kexpr_rebuild(m->w->k, e, args);
	}
	*kexprmap_at(&m->done, e) = made;
	return made;
}

static void move_touches(Mover *m, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		step_rewrite(step, move_loads, m);
		if (step->dst == m->window->buffer) {
			KExpr **subs = arena_array(m->w->k->c->arena, KExpr *, 1);
			subs[0] = sub_in(m, step->dst_subs);
			step->dst_subs = subs;
			step->dst = m->window->own;
		}
		move_touches(m, &step->body);
	}
}

/* The lane's copy from the buffer, or back to it. */
static KStep *copy(const Windower *w, const Window *window, bool is_back)
{
	Kernel *k = w->k;
	const KIndex *along = w->along->index;
	KExpr *subs[K_MAX_RANK], *left = kexpr_binary(k, OP_SUB, window->buffer->extent[window->axis], along->lo);
	KExpr *end = kexpr_binary(k, OP_MIN, kexpr_int(k, T_I32, window->width), left);
	if (is_back && window->is_kept_in)
		end = kexpr_binary(k, OP_SUB, along->hi, along->lo);
	KIndex *at = kindex_new(k, window->own->name, kexpr_int(k, T_I32, 0), end, 1);
	KExpr *own = kexpr_index(k, at);
	memcpy(subs, window->at, sizeof *subs * window->buffer->rank);
	subs[window->axis] = kexpr_binary(k, OP_ADD, own, along->lo);
	return is_back ? kstep_map(k, window->buffer, subs, &at, 1, kexpr_load(k, window->own, &own))
				   : kstep_map(k, window->own, &own, &at, 1, kexpr_load(k, window->buffer, subs));
}

static void open_window(const Windower *w, Window *window)
{
	Kernel *k = w->k;
	KStepVec *body = &w->loop->body;
	KExpr *width = kexpr_int(k, T_I32, window->width);
	window->own = kbuffer_new(k, BUFFER_TEMP, window->buffer->name, window->buffer->store, 1, &width);
	window->own->scope = w->loop;
	Mover m = {.w = w, .window = window, .done = {.arena = k->c->arena}};
	move_touches(&m, body);
	if (window->is_read_first) {
		vec_push(k->c->arena, body, NULL);
		memmove(body->at + 1, body->at, sizeof *body->at * (body->count - 1));
		body->at[0] = copy(w, window, false);
	}
	vec_push(k->c->arena, body, copy(w, window, true));
}

/* ---- which loops ---- */

static bool is_ours(const KStep *step)
{
	return step->kind == STEP_LOOP && step->origin == NULL;
}

/* Conditions that hold for all lanes or for none, no loops of ours, no matrices. */
static bool may_run_in_lanes(const Windower *w, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		const KStep *step = steps->at[i];
		bool is_split = step->kind == STEP_IF && (step->value->loads || kexpr_uses(step->value, w->loop->index));
		if (is_split || is_ours(step) || step->kind == STEP_LINALG || step->is_contraction ||
			!may_run_in_lanes(w, &step->body))
			return false;
	}
	return true;
}

/* Finds windows on all that the loop writes along rows; false: something written there has none. */
static bool find_windows(const Windower *w, Window *windows, uint32_t *count, uint32_t most)
{
	*count = 0;
	for (size_t i = 0; i < w->touches.count; i++) {
		const Access *touch = &w->touches.at[i];
		bool is_known = touch->buffer->kind != BUFFER_TEMP || touch->buffer->scope == w->loop || !touch->is_write;
		for (uint32_t n = 0; n < *count && !is_known; n++)
			is_known = windows[n].buffer == touch->buffer;
		if (is_known)
			continue;
		Window *window = &windows[*count];
		*window = (Window){.buffer = touch->buffer};
		memcpy(window->at, touch->subs, sizeof *window->at * touch->buffer->rank);
		bool is_along_row = touch->step->domain_count > 0;
		if (*count < most - 1 && measure(w, window))
			(*count)++;
		else if (is_along_row)
			return false;
	}
	return *count > 0;
}

/* Tiles of as many rows as there are lanes; the loop is over the rows of a tile. */
static KStep *tile_rows(Kernel *k, KStep *loop, int64_t rows, uint32_t lanes)
{
	KIndex *whole = loop->index;
	KExpr *zero = kexpr_int(k, T_I32, 0), *by = kexpr_int(k, T_I32, lanes), *end = by;
	KIndex *tile = kindex_new(k, whole->name, zero, kexpr_int(k, T_I32, (rows + lanes - 1) / lanes), 1);
	KExpr *first = kexpr_binary(k, OP_MUL, kexpr_index(k, tile), by);
	if (rows % lanes)
		end = kexpr_binary(k, OP_MIN, by, kexpr_binary(k, OP_SUB, kexpr_int(k, T_I32, rows), first));
	KStep *around = kstep_loop(k, tile, LOOP_ROWS, 0);
	around->loc = loop->loc;
	loop->index = kindex_new(k, whole->name, zero, end, 1);
	loop->mode = LOOP_LANES;
	loop->lanes = lanes;
	KExpr *row = kexpr_binary(k, OP_ADD, first, kexpr_index(k, loop->index));
	for (size_t i = 0; i < loop->body.count; i++)
		step_substitute(k, loop->body.at[i], whole, row);
	vec_push(k->c->arena, &around->body, loop);
	return around;
}

/* The loop with windows, or as it was. */
static KStep *window_loop(Kernel *k, KStep *loop, const ScheduleOptions *options)
{
	enum { MOST_WINDOWS = 16 };
	Windower w = {.k = k, .loop = loop};
	Window windows[MOST_WINDOWS];
	uint32_t count;
	int64_t lo, rows;
	if (!is_ours(loop) || !kexpr_is_const(loop->index->lo, &lo) || lo != 0 || loop->index->step != 1 ||
		!kexpr_is_const(loop->index->hi, &rows) || !may_run_in_lanes(&w, &loop->body))
		return loop;
	for (size_t i = 0; i < loop->body.count && !w.along; i++)
		if (loop->body.at[i]->kind == STEP_LOOP)
			w.along = loop->body.at[i];
	uint32_t lanes = w.along ? schedule_lanes_for(loop, rows, options) : 0;
	note_indices(&w, &loop->body);
	if (!lanes || w.inner_count > sizeof w.inner / sizeof *w.inner || uses_inner(&w, w.along->index->lo))
		return loop;
	access_collect_all(k, &loop->body, &w.touches);
	if (!find_windows(&w, windows, &count, MOST_WINDOWS))
		return loop;
	for (uint32_t i = 0; i < count; i++)
		open_window(&w, &windows[i]);
	if (loop->mode == LOOP_ROWS)
		return tile_rows(k, loop, rows, lanes);
	loop->mode = LOOP_LANES;
	loop->lanes = lanes;
	return loop;
}

void schedule_window(Kernel *k, KStepVec *steps, const ScheduleOptions *options)
{
	for (size_t i = 0; i < steps->count; i++) {
		schedule_window(k, &steps->at[i]->body, options);
		steps->at[i] = window_loop(k, steps->at[i], options);
	}
}
