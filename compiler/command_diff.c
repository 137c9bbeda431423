/* SPDX-License-Identifier: MIT
 *
 * command_diff.c: `cmpc diff A B` compares two checkpoints by the values their
 * readers see: for each tensor shape, dtype and |B - A| / |A| in the Frobenius norm.
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

typedef struct Side {
	Model *model;
	Values *values;
	StoredTensorVec tensors;
} Side;

/* A tensor of A and the one of B that has its name. */
typedef struct Pair {
	const StoredTensor *a, *b; /* either may be NULL: only one has it */
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

static int compare_tensors(const void *a, const void *b)
{
	return strcmp((*(const StoredTensor *const *)a)->name, (*(const StoredTensor *const *)b)->name);
}

static const StoredTensor **sort_tensors(Arena *arena, const StoredTensorVec *tensors)
{
	const StoredTensor **sorted = arena_array(arena, const StoredTensor *, tensors->count + 1);
	for (size_t i = 0; i < tensors->count; i++)
		sorted[i] = &tensors->at[i];
	if (tensors->count)
		qsort(sorted, tensors->count, sizeof *sorted, compare_tensors);
	return sorted;
}

/* Pairs in the order of A's file, then what only B has in the order of its own. */
static void pair_tensors(Arena *arena, const Side *a, const Side *b, PairVec *to)
{
	const StoredTensor **in_a = sort_tensors(arena, &a->tensors), **in_b = sort_tensors(arena, &b->tensors);
	for (size_t i = 0; i < a->tensors.count; i++) {
		const StoredTensor *own = &a->tensors.at[i], **found = NULL;
		if (b->tensors.count)
			found = bsearch(&own, in_b, b->tensors.count, sizeof *in_b, compare_tensors);
		Pair pair = {.a = own, .b = found ? *found : NULL};
		vec_push(arena, to, pair);
	}
	for (size_t i = 0; i < b->tensors.count; i++) {
		const StoredTensor *own = &b->tensors.at[i];
		if (a->tensors.count && bsearch(&own, in_a, a->tensors.count, sizeof *in_a, compare_tensors))
			continue;
		Pair pair = {.b = own};
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

static bool compare_values(Side *a, Side *b, Pair *pair)
{
	int64_t first = values_unit(a->values, pair->a), second = values_unit(b->values, pair->b);
	if (!first || !second)
		return false;
	int64_t unit = common_multiple(first, second), all = stored_elements(pair->a);
	int64_t step = unit > CHUNK ? unit : CHUNK / unit * unit;
	step = step < all ? step : all;
	float *x = malloc(sizeof *x * (size_t)(step + 1)), *y = malloc(sizeof *y * (size_t)(step + 1));
	size_t blocks = (size_t)(step / BLOCK + 1);
	Panel panel = {.x = x, .y = y, .errors = malloc(blocks * sizeof *panel.errors), .differs = malloc(blocks)};
	bool is_good = x && y && panel.errors && panel.differs;
	if (!is_good)
		diag_fatal(a->model->c, "out of memory");
	for (int64_t at = 0; at < all && is_good; at += step) {
		int64_t count = all - at < step ? all - at : step;
		is_good = values_read(a->values, pair->a, at, count, x) && values_read(b->values, pair->b, at, count, y);
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

static bool compare_pair(Side *a, Side *b, Pair *pair)
{
	const StoredTensor *x = pair->a, *y = pair->b;
	if (!x || !y)
		return true;
	pair->is_same_shape = x->rank == y->rank && memcmp(x->shape, y->shape, sizeof *x->shape * (size_t)x->rank) == 0;
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
	if (is_good)
		pair_tensors(request->c->arena, &a, &b, &pairs);
	for (size_t i = 0; i < pairs.count && is_good; i++)
		is_good = compare_pair(&a, &b, &pairs.at[i]);
	int status = is_good ? report(request, &pairs, &a, &b) : DIFF_TROUBLE;
	close_side(&a);
	close_side(&b);
	return status;
}
