/* SPDX-License-Identifier: MIT
 *
 * command_diff.c: `cmpc diff A B` compares two checkpoints by the values their
 * readers see: for each tensor shape, dtype and |B - A| / |A| in the Frobenius norm.
 * Of two containers, the tensors of one are looked for where its architecture's export
 * into the other puts them: under that name, with their rows in that order.
 * Like diff: 0 equal, 1 different, 2 cannot tell.
 */
#include "model.h"

#include "run.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIFF_EQUAL, DIFF_DIFFERENT, DIFF_TROUBLE };
enum { CHUNK = 1 << 22, BLOCK = 4096 }; /* elements in hand; elements summed by one thread */

typedef struct Named {
	const char *name; /* in the other side's container */
	const StoredTensor *tensor;
	const PlanPlace *place; /* NULL: its rows lie as they do there */
} Named;

typedef struct Side {
	Model *model;
	Values *values;
	StoredTensorVec tensors;
	Named *named; /* of each tensor */
} Side;

/* A tensor of A and the one of B that has its name. */
typedef struct Pair {
	const StoredTensor *a, *b;  /* either may be NULL: only one has it */
	const PlanPlace *places[2]; /* what puts rows of A, of B where the other has them; NULL: they are there */
	bool is_same_shape, is_equal;
	double error[2]; /* sum (a-b)^2, sum a^2 */
} Pair;
typedef VEC(Pair) PairVec;

static bool open_side(Compiler *c, const char *path, Side *side)
{
	side->model = model_open(c, path);
	if (!side->model || !stored_tensors(&side->model->stored, &side->tensors))
		return false;
	side->values = values_open(side->model);
	return true;
}

static void close_side(Side *side)
{
	if (side->values)
		values_close(side->values);
	if (side->model)
		model_close(side->model);
}

/* ---- pairing ---- */

/* The places that an export gives; those of the parts of a stack are none that can be compared. */
static const PlanPlace *find_place(const Side *side, const StoredTensor *tensor)
{
	const Plan *facts = side->model->facts;
	if (!facts->export || tensor->part_count != 1)
		return NULL;
	const PlanPlace *place = &facts->tensors.at[tensor->parts[0] - side->model->checkpoint->tensors].place;
	return place->name && !place->members ? place : NULL;
}

/* False: reported. */
static bool name_tensors(Compiler *c, Side *side, const Side *other)
{
	const Format *into = other->model->checkpoint->format;
	side->named = arena_array(c->arena, Named, side->tensors.count + 1);
	if (side->model->checkpoint->format != into && !plan_places(side->model->facts, into))
		return false;
	for (size_t i = 0; i < side->tensors.count; i++) {
		const StoredTensor *tensor = &side->tensors.at[i];
		const PlanPlace *place = find_place(side, tensor);
		bool is_moved = place && (place->turn_slow || place->is_turned);
		side->named[i] = (Named){place ? place->name : tensor->name, tensor, is_moved ? place : NULL};
	}
	return true;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const Named *)a)->name, ((const Named *)b)->name);
}

static Named *sort_tensors(Arena *arena, const Side *side)
{
	Named *sorted = arena_array(arena, Named, side->tensors.count + 1);
	memcpy(sorted, side->named, side->tensors.count * sizeof *sorted);
	qsort(sorted, side->tensors.count, sizeof *sorted, compare_names);
	return sorted;
}

/* Pairs in the order of A's file, then what only B has in the order of its own. */
static void pair_tensors(Arena *arena, const Side *a, const Side *b, PairVec *to)
{
	Named *in_a = sort_tensors(arena, a), *in_b = sort_tensors(arena, b);
	for (size_t i = 0; i < a->tensors.count; i++) {
		const Named *own = &a->named[i], *found;
		found = bsearch(own, in_b, b->tensors.count, sizeof *in_b, compare_names);
		Pair pair = {.a = own->tensor, .b = found ? found->tensor : NULL};
		pair.places[0] = own->place;
		pair.places[1] = found ? found->place : NULL;
		vec_push(arena, to, pair);
	}
	for (size_t i = 0; i < b->tensors.count; i++) {
		if (bsearch(&b->named[i], in_a, a->tensors.count, sizeof *in_a, compare_names))
			continue;
		Pair pair = {.b = b->named[i].tensor};
		vec_push(arena, to, pair);
	}
}

/* ---- comparing ---- */

static int64_t common_multiple(int64_t a, int64_t b)
{
	int64_t x = a, y = b;
	while (y) {
		int64_t rest = x % y;
		x = y;
		y = rest;
	}
	return a / x * b;
}

/* What a call of sum_block works on. */
typedef struct Panel {
	const float *x, *y;
	int64_t count;
	double (*errors)[2]; /* per block */
	bool *differs;
} Panel;

/* Two NaN are equal, one is infinitely far; the norm of x is that of its finite part. */
static void sum_block(CmprtFrame *frame, int64_t begin, int64_t end)
{
	const Panel *panel = frame->buffers[0];
	for (int64_t block = begin; block < end; block++) {
		double far = 0, norm = 0;
		bool differs = false;
		int64_t stop = (block + 1) * BLOCK < panel->count ? (block + 1) * BLOCK : panel->count;
		for (int64_t i = block * BLOCK; i < stop; i++) {
			float x = panel->x[i], y = panel->y[i];
			bool is_same = (x == y) | ((x != x) & (y != y));
			double difference = is_same ? 0 : (double)x - y;
			far += difference != difference ? INFINITY : difference * difference;
			norm += isfinite(x) ? (double)x * x : 0;
			differs |= !is_same;
		}
		panel->errors[block][0] = far;
		panel->errors[block][1] = norm;
		panel->differs[block] = differs;
	}
}

/* Blocks are added in order, so that the sum does not depend on the threads. */
static void add_errors(Pair *pair, Panel *panel)
{
	int64_t blocks = (panel->count + BLOCK - 1) / BLOCK;
	void *buffers[] = {panel};
	CmprtFrame frame = {.buffers = buffers};
	cmprt_parallel(&frame, sum_block, 0, blocks, 0);
	for (int64_t i = 0; i < blocks; i++) {
		pair->error[0] += panel->errors[i][0];
		pair->error[1] += panel->errors[i][1];
		pair->is_equal &= !panel->differs[i];
	}
}

/* Where the other container has row `row`: numbered [.., slow, fast] it lies at [.., fast, slow]. */
static int64_t placed_row(const PlanPlace *place, int64_t row)
{
	if (!place->turn_slow)
		return row;
	int64_t in_group = row % (place->turn_slow * place->turn_fast);
	return row - in_group + in_group % place->turn_fast * place->turn_slow + in_group / place->turn_fast;
}

/* A whole tensor, its elements put where the other container has them. False: no memory. */
static bool place_values(const StoredTensor *tensor, const PlanPlace *place, float *values)
{
	int64_t all = stored_elements(tensor), rows = tensor->shape[0], cols = rows ? all / rows : 0;
	float *from = malloc(sizeof *from * (size_t)(all + 1));
	if (!from)
		return false;
	memcpy(from, values, sizeof *from * (size_t)all);
	for (int64_t row = 0; row < rows; row++)
		for (int64_t col = 0; col < cols; col++)
			values[place->is_turned ? placed_row(place, col) * rows + row : placed_row(place, row) * cols + col] =
				from[row * cols + col];
	free(from);
	return true;
}

/* Elements [at, at + count); of a tensor that has another place, all. */
static bool read_values(
	Side *side, const StoredTensor *tensor, const PlanPlace *place, int64_t at, int64_t count, float *to)
{
	if (!values_read(side->values, tensor, at, count, to))
		return false;
	if (!place || place_values(tensor, place, to))
		return true;
	diag_fatal(side->model->c, "out of memory");
	return false;
}

static bool compare_values(Side *a, Side *b, Pair *pair)
{
	int64_t first = values_unit(a->values, pair->a), second = values_unit(b->values, pair->b);
	if (!first || !second)
		return false;
	int64_t unit = common_multiple(first, second), all = stored_elements(pair->a);
	int64_t step = unit > CHUNK ? unit : CHUNK / unit * unit;
	step = step < all && !pair->places[0] && !pair->places[1] ? step : all;
	float *x = malloc(sizeof *x * (size_t)(step + 1)), *y = malloc(sizeof *y * (size_t)(step + 1));
	size_t blocks = (size_t)(step / BLOCK + 1);
	Panel panel = {.x = x, .y = y, .errors = malloc(blocks * sizeof *panel.errors), .differs = malloc(blocks)};
	bool is_good = x && y && panel.errors && panel.differs;
	if (!is_good)
		diag_fatal(a->model->c, "out of memory");
	for (int64_t at = 0; at < all && is_good; at += step) {
		int64_t count = all - at < step ? all - at : step;
		is_good = read_values(a, pair->a, pair->places[0], at, count, x) &&
				  read_values(b, pair->b, pair->places[1], at, count, y);
		panel.count = count;
		if (is_good)
			add_errors(pair, &panel);
	}
	free(panel.errors);
	free(panel.differs);
	free(x);
	free(y);
	return is_good;
}

/* The shapes that they have in one container. */
static bool has_same_shape(const Pair *pair)
{
	bool is_turned = false, is_same = pair->a->rank == pair->b->rank;
	for (int side = 0; side < 2; side++)
		is_turned ^= pair->places[side] && pair->places[side]->is_turned;
	for (int64_t axis = 0, rank = pair->a->rank; axis < rank && is_same; axis++)
		is_same = pair->a->shape[axis] == pair->b->shape[is_turned ? rank - 1 - axis : axis];
	return is_same;
}

static bool compare_pair(Side *a, Side *b, Pair *pair)
{
	if (!pair->a || !pair->b)
		return true;
	pair->is_same_shape = has_same_shape(pair);
	pair->is_equal = pair->is_same_shape;
	return !pair->is_same_shape || compare_values(a, b, pair);
}

/* ---- printing ---- */

static void print_stored(const StoredTensor *tensor, Text *to)
{
	text_printf(to, "%s [", tensor->dtype);
	for (int64_t axis = 0; axis < tensor->rank; axis++)
		text_printf(to, "%s%" PRId64, axis ? ", " : "", tensor->shape[axis]);
	text_append(to, "]", 1);
}

static void print_pair(const Pair *pair, size_t widest, Text *to)
{
	const char *name = pair->a ? pair->a->name : pair->b->name;
	Text shown = {.arena = to->arena}, x = {.arena = to->arena}, y = {.arena = to->arena};
	text_shown(&shown, name, strlen(name));
	if (pair->a)
		print_stored(pair->a, &x);
	if (pair->b && pair->a && pair->is_same_shape)
		text_printf(&y, "%s", pair->b->dtype);
	else if (pair->b)
		print_stored(pair->b, &y);
	text_printf(to, "%-*s  %-22s %-22s ", (int)widest, shown.at, pair->a ? x.at : "-", pair->b ? y.at : "-");
	if (!pair->a || !pair->b)
		text_printf(to, "only in %s\n", pair->a ? "A" : "B");
	else if (!pair->is_same_shape)
		text_printf(to, "other shape\n");
	else
		text_printf(to, pair->is_equal ? "equal\n" : "%.6f\n", error_ratio(pair->error));
}

static bool is_different(const Pair *pair)
{
	return !pair->a || !pair->b || !pair->is_equal;
}

static void print_pairs(const PairVec *pairs, bool shows_equal, Text *to)
{
	size_t widest = 6, shown = 0;
	for (size_t i = 0; i < pairs->count; i++) {
		const Pair *pair = &pairs->at[i];
		size_t length = strlen(pair->a ? pair->a->name : pair->b->name);
		widest = length > widest && length <= 60 ? length : widest;
		shown += shows_equal || is_different(pair);
	}
	if (shown)
		text_printf(to, "%-*s  %-22s %-22s %s\n", (int)widest, "tensor", "A", "B", "relative error");
	for (size_t i = 0; i < pairs->count; i++)
		if (shows_equal || is_different(&pairs->at[i]))
			print_pair(&pairs->at[i], widest, to);
}

/* What B's dtypes cost, each over all tensors that have it. */
static void print_dtypes(const PairVec *pairs, Text *to)
{
	NameVec done = {0};
	text_printf(
		to, "\n%-14s %7s %12s %12s  %s\n", "dtype of B", "tensors", "bytes of A", "bytes of B", "relative error");
	for (size_t i = 0; i < pairs->count; i++) {
		const StoredTensor *first = pairs->at[i].b;
		bool is_known = !first;
		for (size_t d = 0; d < done.count && !is_known; d++)
			is_known = strcmp(done.at[d], first->dtype) == 0;
		if (is_known)
			continue;
		vec_push(to->arena, &done, first->dtype);
		int64_t tensors = 0, bytes[2] = {0, 0};
		bool is_compared = false;
		double error[2] = {0, 0};
		for (size_t k = i; k < pairs->count; k++) {
			const Pair *pair = &pairs->at[k];
			if (!pair->b || strcmp(pair->b->dtype, first->dtype) != 0)
				continue;
			tensors++;
			is_compared |= pair->a && pair->is_same_shape;
			bytes[0] += pair->a ? pair->a->bytes : 0;
			bytes[1] += pair->b->bytes;
			error[0] += pair->error[0];
			error[1] += pair->error[1];
		}
		Text a = {.arena = to->arena}, b = {.arena = to->arena};
		print_bytes(bytes[0], &a);
		print_bytes(bytes[1], &b);
		text_printf(to, "%-14s %7" PRId64 " %12s %12s  ", first->dtype, tensors, a.at, b.at);
		text_printf(to, is_compared ? "%.6f\n" : "-\n", error_ratio(error));
	}
}

static void print_summary(const PairVec *pairs, const Side *a, const Side *b, Text *to)
{
	size_t equal = 0, differ = 0, alone = 0;
	double error[2] = {0, 0};
	for (size_t i = 0; i < pairs->count; i++) {
		const Pair *pair = &pairs->at[i];
		alone += !pair->a || !pair->b;
		equal += pair->a && pair->b && pair->is_equal;
		differ += pair->a && pair->b && !pair->is_equal;
		error[0] += pair->error[0];
		error[1] += pair->error[1];
	}
	text_printf(to, "\n%zu equal, %zu different, %zu in one only; relative error %.6f; ", equal, differ, alone,
		error_ratio(error));
	print_bytes(a->model->file_bytes, to);
	text_printf(to, " -> ");
	print_bytes(b->model->file_bytes, to);
	text_append(to, "\n", 1);
	if (alone == pairs->count && a->model->checkpoint->format != b->model->checkpoint->format)
		text_printf(to, "no name is in both, and no export from %s to %s (or back) is for their architecture\n",
			a->model->checkpoint->format->name, b->model->checkpoint->format->name);
}

static json_t *stored_json(const StoredTensor *tensor)
{
	if (!tensor)
		return json_null();
	json_t *shape = json_array();
	for (int64_t axis = 0; axis < tensor->rank; axis++)
		json_array_append_new(shape, json_integer(tensor->shape[axis]));
	return json_pack("{s:s, s:o, s:I}", "dtype", tensor->dtype, "shape", shape, "bytes", (json_int_t)tensor->bytes);
}

static void print_json(const PairVec *pairs)
{
	json_t *tensors = json_array();
	bool is_equal = true;
	for (size_t i = 0; i < pairs->count; i++) {
		const Pair *pair = &pairs->at[i];
		double ratio = error_ratio(pair->error);
		json_t *row = json_pack("{s:s, s:o, s:o, s:b}", "name", pair->a ? pair->a->name : pair->b->name, "a",
			stored_json(pair->a), "b", stored_json(pair->b), "equal", !is_different(pair));
		if (pair->a && pair->b && pair->is_same_shape)
			json_object_set_new(row, "error", isfinite(ratio) ? json_real(ratio) : json_null());
		json_array_append_new(tensors, row);
		is_equal &= !is_different(pair);
	}
	json_line(json_pack("{s:b, s:o}", "equal", is_equal, "tensors", tensors));
}

static int report(const Request *request, const PairVec *pairs, const Side *a, const Side *b)
{
	Text text = {.arena = request->c->arena};
	bool is_equal = true;
	for (size_t i = 0; i < pairs->count; i++)
		is_equal &= !is_different(&pairs->at[i]);
	if (request->json) {
		print_json(pairs);
	} else if (!is_equal || request->all) {
		print_pairs(pairs, request->all, &text);
		print_dtypes(pairs, &text);
		print_summary(pairs, a, b, &text);
		if (!text_write(request->c, NULL, &text))
			return DIFF_TROUBLE;
	}
	return is_equal ? DIFF_EQUAL : DIFF_DIFFERENT;
}

int command_diff(Request *request)
{
	Side a = {0}, b = {0};
	PairVec pairs = {0};
	bool is_good = open_side(request->c, request->operands[0], &a) && open_side(request->c, request->operands[1], &b);
	is_good = is_good && name_tensors(request->c, &a, &b) && name_tensors(request->c, &b, &a);
	if (is_good)
		pair_tensors(request->c->arena, &a, &b, &pairs);
	for (size_t i = 0; i < pairs.count && is_good; i++)
		is_good = compare_pair(&a, &b, &pairs.at[i]);
	int status = is_good ? report(request, &pairs, &a, &b) : DIFF_TROUBLE;
	close_side(&a);
	close_side(&b);
	return status;
}
