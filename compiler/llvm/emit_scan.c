/* SPDX-License-Identifier: MIT
 *
 * emit_scan.c: ranks, prefix sums, sorting and quantiles along what a step scans.
 *
 * A plain prefix sum is a loop. A short scan compares all pairs. Anything else
 * collects the column of values and calls the runtime for its order (in a lane loop
 * lane by lane), then stores a column of results. The values are complete before the
 * first result is stored.
 */
#include "emit.h"

enum { FEW_MOST = 8, PAIRS_MOST = 32, NAN_IMAGE = 0x7f800001 };

static bool is_real(KType type)
{
	return type == T_F32 || type == T_F64;
}

static KType result_type(const KStep *step)
{
	if (step->kind == STEP_REDUCE)
		return step->value->type;
	return step->scan == SCAN_RANK ? T_I32 : step->scan == SCAN_SMALLEST ? T_BOOL : step->value->type;
}

static Range result_range(Emitter *e, KStep *step)
{
	if (step->kind == STEP_SCAN && step->scan == SCAN_SORT)
		return facts_range(e->facts, step->value);
	KType type = result_type(step);
	Range r = {-__builtin_inf(), __builtin_inf(), type == T_I32 ? INT32_MIN : INT64_MIN,
		type == T_I32 ? INT32_MAX : INT64_MAX, true};
	if (type == T_BOOL || (step->kind == STEP_SCAN && step->scan == SCAN_RANK))
		r.least = 0;
	if (type == T_BOOL)
		r.most = 1;
	return r;
}

/* ---- loops over what is scanned ---- */

typedef struct Nest {
	LoopFrame loops[K_MAX_RANK];
	LLVMValueRef position; /* i64, row-major */
} Nest;

static Nest nest_begin(Emitter *e, KStep *step)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	Nest nest = {.position = const_int(i64, 0)};
	for (uint32_t i = 0; i < step->over_count; i++) {
		LLVMValueRef trips = emit_trip_count(e, step->over[i]);
		nest.loops[i] = loop_begin(e, const_int(i64, 0), trips, 1, "scan");
		bind_index(e, step->over[i], nest.loops[i].counter);
		nest.position = LLVMBuildMul(e->builder, nest.position, trips, "");
		nest.position = LLVMBuildAdd(e->builder, nest.position, nest.loops[i].counter, "");
	}
	return nest;
}

static void nest_end(Emitter *e, KStep *step, Nest *nest)
{
	for (uint32_t i = step->over_count; i-- > 0;) {
		loop_end(e, &nest->loops[i], 1);
		e->index_values[step->over[i]->id] = NULL;
	}
}

static LLVMValueRef total_trips(Emitter *e, KStep *step)
{
	LLVMValueRef total = const_int(type_of(e, T_I64), 1);
	for (uint32_t i = 0; i < step->over_count; i++)
		total = LLVMBuildMul(e->builder, total, emit_trip_count(e, step->over[i]), "");
	return total;
}

/* ---- columns: one value an element, or one row of lanes ---- */

typedef struct Column {
	LLVMValueRef memory;
	LLVMTypeRef element; /* i1 is kept as i8, i32 to be ordered as i64 */
	uint32_t bytes;
	bool is_allocated;
	KExpr *load; /* it is what this loads, and the step's value is computed from that alone; NULL: it is the values */
} Column;

static Column column_new(Emitter *e, LLVMTypeRef element, uint32_t bytes, LLVMValueRef count, uint32_t lanes)
{
	Column c = {.element = element, .bytes = bytes};
	if (LLVMIsAConstantInt(count)) {
		uint64_t size = LLVMConstIntGetZExtValue(count) * bytes * (lanes ? lanes : 1);
		c.memory = memory_of_function(e, size, "column");
		return c;
	}
	LLVMValueRef size =
		LLVMBuildMul(e->builder, count, const_int(type_of(e, T_I64), (int64_t)bytes * (lanes ? lanes : 1)), "");
	c.memory = emit_runtime_call(e, "cmprt_allocate", &size);
	c.is_allocated = true;
	return c;
}

static void column_free(Emitter *e, Column *c)
{
	if (c->is_allocated)
		emit_runtime_call(e, "cmprt_release", &c->memory);
}

static LLVMValueRef column_at(Emitter *e, Column *c, LLVMValueRef position, uint32_t lanes)
{
	LLVMTypeRef row = lanes ? LLVMVectorType(c->element, lanes) : c->element;
	return LLVMBuildInBoundsGEP2(e->builder, row, c->memory, &position, 1, "");
}

static LLVMValueRef column_load(Emitter *e, Column *c, LLVMValueRef position, uint32_t lanes)
{
	LLVMTypeRef row = lanes ? LLVMVectorType(c->element, lanes) : c->element;
	return load_at(e, row, column_at(e, c, position, lanes), c->bytes, NULL);
}

static void column_store(Emitter *e, Column *c, LLVMValueRef position, LLVMValueRef value)
{
	uint32_t lanes = is_vector_value(value) ? LLVMGetVectorSize(LLVMTypeOf(value)) : 0;
	store_at(e, value, column_at(e, c, position, lanes), c->bytes, NULL);
}

/* The type in which the runtime orders values. */
static Column value_column(Emitter *e, KType type, LLVMValueRef count, uint32_t lanes)
{
	KType as = is_real(type) ? type : T_I64;
	return column_new(e, type_of(e, as), as == T_F32 ? 4 : 8, count, lanes);
}

static Column fill_column(Emitter *e, KStep *step, KExpr *value, LLVMValueRef count, uint32_t lanes)
{
	Column c = value_column(e, value->type, count, lanes);
	Nest nest = nest_begin(e, step);
	LLVMValueRef v = emit_expr(e, value);
	if (lanes)
		v = splat(e, v);
	if (!is_real(value->type))
		v = LLVMBuildIntCast2(e->builder, v, type_like(c.element, v), value->type != T_BOOL, "");
	column_store(e, &c, nest.position, v);
	nest_end(e, step, &nest);
	return c;
}

static Column copy_lane(Emitter *e, Column *rows, LLVMValueRef lane, LLVMValueRef count)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	Column c = column_new(e, rows->element, rows->bytes, count, 0);
	LoopFrame loop = loop_begin(e, const_int(i64, 0), count, 1, "lane");
	LLVMValueRef at = LLVMBuildMul(e->builder, loop.counter, const_int(i64, e->width), "");
	column_store(e, &c, loop.counter, column_load(e, rows, LLVMBuildAdd(e->builder, at, lane, ""), 0));
	loop_end(e, &loop, 1);
	return c;
}

/* ---- columns that lie in buffers already ---- */

/* The elements of buffer[subs] over what is scanned, if they follow each other in memory. */
static bool column_in_buffer(Emitter *e, KStep *step, KBuffer *buffer, KExpr *const *subs, Column *c)
{
	Place *place = place_of(e, buffer);
	uint32_t bytes = place_element_bytes(e, buffer, place);
	if (e->mode != MODE_SCALAR || place->is_private || place->is_private_bytes)
		return false;
	Linear *first = linear_subscript(e, buffer, subs, -1);
	int64_t run = 1, lo, count;
	for (uint32_t i = step->over_count; i-- > 0;) {
		KIndex *index = step->over[i];
		if (linear_take(first, index) * index->step != run || !kexpr_is_const(index->lo, &lo) || lo != 0 ||
			!const_trip_count(index, &count))
			return false;
		run *= count;
	}
	for (uint32_t i = 0; i < step->over_count; i++)
		if (linear_uses(e, first, step->over[i]))
			return false;
	*c = (Column){.element = place_element_type(e, buffer, place), .bytes = bytes};
	c->memory = offset_pointer(e, place->base, linear_emit(e, linear_scaled(e, first, bytes)));
	return true;
}

static bool value_in_buffer(Emitter *e, KStep *step, Column *c)
{
	KExpr *value = step->value;
	return value->op == OP_LOAD && is_real(value->type) && store_equal(value->store, value->buffer->store) &&
		   column_in_buffer(e, step, value->buffer, value->subs, c) && c->element == type_of(e, value->type);
}

/* Selected by its runtime passes. */
static bool is_selection(const KStep *step)
{
	return step->kind == STEP_SCAN && step->scan == SCAN_SMALLEST && step->value->type == T_F32;
}

static bool source_in_buffer(Emitter *e, KStep *step, Column *c)
{
	KExpr *load = expr_only_load(step->value);
	if (!load || !is_real(load->type) || !store_equal(load->store, load->buffer->store) ||
		!column_in_buffer(e, step, load->buffer, load->subs, c))
		return false;
	c->load = load;
	return true;
}

static void find_dst(void *context, KExpr *load)
{
	KStep **step = context;
	if (*step && load->buffer == (*step)->dst)
		*step = NULL;
}

/* Results may be written at their place while values are still read elsewhere. */
static bool result_in_buffer(Emitter *e, KStep *step, LLVMTypeRef element, Column *c)
{
	KStep *untouched = step;
	step_each_load(e->k, step, find_dst, &untouched);
	return step->kind == STEP_SCAN && !is_real(result_type(step)) && untouched &&
		   store_equal(step->store, step->dst->store) && column_in_buffer(e, step, step->dst, step->dst_subs, c) &&
		   c->element == element;
}

/* ---- one column through the runtime ---- */

static Column emit_order(Emitter *e, KType type, Column *values, LLVMValueRef count)
{
	Column order = column_new(e, type_of(e, T_I32), 4, count, 0);
	LLVMValueRef args[] = {values->memory, count, order.memory};
	emit_runtime_call(e,
		type == T_F32   ? "cmprt_order_f32"
		: type == T_F64 ? "cmprt_order_f64"
						: "cmprt_order_i64",
		args);
	return order;
}

static LLVMValueRef widened(Emitter *e, LLVMValueRef v)
{
	return LLVMBuildSExt(e->builder, v, type_of(e, T_I64), "");
}

/* Rank ceil(limit * count) - 1, the product in limit's own type. */
static LLVMValueRef quantile_rank(Emitter *e, KStep *step, LLVMValueRef limit, LLVMValueRef count)
{
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef own = LLVMTypeOf(limit), f64 = type_of(e, T_F64), i64 = type_of(e, T_I64);
	(void)step;
	LLVMValueRef product = LLVMBuildFMul(b, limit, LLVMBuildSIToFP(b, count, own, ""), "");
	LLVMValueRef place = own == f64 ? product : LLVMBuildFPExt(b, product, f64, "");
	place = LLVMBuildFSub(b, emit_intrinsic1(e, "llvm.ceil", place), const_real(f64, 1), "");
	LLVMValueRef last = LLVMBuildSub(b, count, const_int(i64, 1), "");
	LLVMValueRef most = LLVMBuildSIToFP(b, last, f64, "");
	LLVMValueRef is_over = LLVMBuildFCmp(b, LLVMRealOGT, place, most, "");
	LLVMValueRef is_some = LLVMBuildFCmp(b, LLVMRealOGT, place, const_real(f64, 0), "");
	place = LLVMBuildSelect(b, is_over, most, place, "");
	place = LLVMBuildSelect(b, is_some, place, const_real(f64, 0), "");
	return LLVMBuildFPToSI(b, place, i64, "");
}

static void emit_quantile_column(
	Emitter *e, KStep *step, Column *values, Column *order, LLVMValueRef limit, LLVMValueRef count, Column *results)
{
	LLVMContextRef context = e->m->context;
	LLVMTypeRef i64 = type_of(e, T_I64);
	LLVMValueRef zero = const_int(i64, 0);
	LLVMBasicBlockRef some = LLVMAppendBasicBlockInContext(context, e->function, "quantile");
	LLVMBasicBlockRef join = LLVMAppendBasicBlockInContext(context, e->function, "quantile.end");
	column_store(e, results, zero, LLVMConstNull(results->element));
	LLVMBuildCondBr(e->builder, LLVMBuildICmp(e->builder, LLVMIntSGT, count, zero, ""), some, join);
	LLVMPositionBuilderAtEnd(e->builder, some);
	LLVMValueRef rank = quantile_rank(e, step, limit, count);
	LLVMValueRef at = widened(e, column_load(e, order, rank, 0));
	column_store(e, results, zero, column_load(e, values, at, 0));
	LLVMBuildBr(e->builder, join);
	LLVMPositionBuilderAtEnd(e->builder, join);
}

/* results[..] from values[..] in scalar code; keys may be NULL */
static void emit_column(
	Emitter *e, KStep *step, Column *values, Column *keys, LLVMValueRef limit, LLVMValueRef count, Column *results)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	bool is_scan = step->kind == STEP_SCAN;
	if (is_selection(step)) {
		RowValues row = {values->memory, values->element, values->bytes, values->load};
		limit = LLVMBuildIntCast2(e->builder, limit, i64, true, "");
		emit_smallest(e, step, &row, count, limit, results->memory);
		return;
	}
	Column order = emit_order(e, keys ? step->key->type : step->value->type, keys ? keys : values, count);
	if (!is_scan) {
		emit_quantile_column(e, step, values, &order, limit, count, results);
		column_free(e, &order);
		return;
	}
	LLVMValueRef sum = NULL;
	if (step->scan == SCAN_PREFIX) {
		sum = alloca_at_entry(e, values->element, "sum");
		LLVMBuildStore(e->builder, LLVMConstNull(values->element), sum);
	}
	LoopFrame loop = loop_begin(e, const_int(i64, 0), count, 1, "rank");
	LLVMValueRef at = widened(e, column_load(e, &order, loop.counter, 0)), v;
	switch (step->scan) {
	case SCAN_RANK:
		column_store(e, results, at, LLVMBuildTrunc(e->builder, loop.counter, results->element, ""));
		break;
	case SCAN_SMALLEST:
		v = LLVMBuildIntCast2(e->builder, limit, i64, true, "");
		v = LLVMBuildICmp(e->builder, LLVMIntSLT, loop.counter, v, "");
		column_store(e, results, at, LLVMBuildZExt(e->builder, v, results->element, ""));
		break;
	case SCAN_SORT:
		column_store(e, results, loop.counter, column_load(e, values, at, 0));
		break;
	case SCAN_PREFIX:
		v = LLVMBuildLoad2(e->builder, values->element, sum, "");
		v = is_real(step->value->type) ? LLVMBuildFAdd(e->builder, v, column_load(e, values, at, 0), "")
									   : LLVMBuildAdd(e->builder, v, column_load(e, values, at, 0), "");
		LLVMBuildStore(e->builder, v, sum);
		column_store(e, results, at, v);
		break;
	}
	loop_end(e, &loop, 1);
	column_free(e, &order);
}

static LLVMTypeRef result_element(Emitter *e, KStep *step)
{
	KType type = result_type(step);
	if (type == T_BOOL)
		return LLVMInt8TypeInContext(e->m->context);
	bool is_rank = step->kind == STEP_SCAN && step->scan == SCAN_RANK;
	return type_of(e, is_real(type) || is_rank ? type : T_I64);
}

static Column result_column(Emitter *e, KStep *step, LLVMValueRef count, uint32_t lanes)
{
	LLVMTypeRef element = result_element(e, step);
	bool is_byte = result_type(step) == T_BOOL;
	bool is_short = element == type_of(e, T_I32) || element == type_of(e, T_F32);
	return column_new(e, element, is_byte ? 1 : is_short ? 4 : 8, count, lanes);
}

/* Lane by lane, in scalar code. */
static void emit_lane_columns(
	Emitter *e, KStep *step, Column *values, Column *keys, LLVMValueRef limit, LLVMValueRef count, Column *results)
{
	LLVMTypeRef i64 = type_of(e, T_I64);
	LLVMValueRef result_count = step->kind == STEP_SCAN ? count : const_int(i64, 1);
	LoopFrame lane = loop_begin(e, const_int(i64, 0), const_int(i64, e->width), 1, "lane");
	Column one = copy_lane(e, values, lane.counter, count), key = {0};
	if (keys)
		key = copy_lane(e, keys, lane.counter, count);
	if (limit && is_vector_value(limit))
		limit = LLVMBuildExtractElement(e->builder, limit, lane.counter, "");
	Column result = result_column(e, step, result_count, 0);
	emit_column(e, step, &one, keys ? &key : NULL, limit, count, &result);
	LoopFrame loop = loop_begin(e, const_int(i64, 0), result_count, 1, "back");
	LLVMValueRef at = LLVMBuildMul(e->builder, loop.counter, const_int(i64, e->width), "");
	column_store(e, results, LLVMBuildAdd(e->builder, at, lane.counter, ""), column_load(e, &result, loop.counter, 0));
	loop_end(e, &loop, 1);
	column_free(e, &result);
	column_free(e, &key);
	column_free(e, &one);
	loop_end(e, &lane, 1);
}

static LLVMValueRef from_column(Emitter *e, KStep *step, LLVMValueRef v)
{
	KType type = result_type(step);
	if (type == T_BOOL)
		return LLVMBuildICmp(e->builder, LLVMIntNE, v, const_int(LLVMTypeOf(v), 0), "");
	return is_real(type) ? v : LLVMBuildIntCast2(e->builder, v, type_like(type_of(e, type), v), true, "");
}

/* A column of results, as many rows of lanes as a scan has elements; 1 for a quantile. */
static Column emit_results(Emitter *e, KStep *step, uint32_t lanes, bool *is_stored)
{
	LLVMValueRef count = total_trips(e, step);
	LLVMValueRef limit = step->limit ? emit_expr(e, step->limit) : NULL;
	memo_forget(e);
	Column values, keys = {0}, results;
	if (!(is_selection(step) ? source_in_buffer(e, step, &values) : value_in_buffer(e, step, &values)))
		values = fill_column(e, step, step->value, count, lanes);
	if (step->key)
		keys = fill_column(e, step, step->key, count, lanes);
	LLVMValueRef result_count = step->kind == STEP_SCAN ? count : const_int(type_of(e, T_I64), 1);
	*is_stored = result_in_buffer(e, step, result_element(e, step), &results);
	if (!*is_stored)
		results = result_column(e, step, result_count, lanes);
	if (lanes)
		emit_lane_columns(e, step, &values, step->key ? &keys : NULL, limit, count, &results);
	else
		emit_column(e, step, &values, step->key ? &keys : NULL, limit, count, &results);
	column_free(e, &keys);
	column_free(e, &values);
	memo_forget(e);
	return results;
}

LLVMValueRef emit_quantile(Emitter *e, KStep *step)
{
	uint32_t lanes = e->mode == MODE_LANES ? e->width : 0;
	bool is_stored;
	Column results = emit_results(e, step, lanes, &is_stored);
	LLVMValueRef v = column_load(e, &results, const_int(type_of(e, T_I64), 0), lanes);
	column_free(e, &results);
	return from_column(e, step, v);
}

static void store_results(Emitter *e, KStep *step, Column *results, uint32_t lanes)
{
	Nest nest = nest_begin(e, step);
	LLVMValueRef v = from_column(e, step, column_load(e, results, nest.position, lanes));
	emit_store_step(e, step, v, result_type(step), result_range(e, step));
	nest_end(e, step, &nest);
}

/* ---- plain prefix sums ---- */

static void emit_prefix(Emitter *e, KStep *step)
{
	LLVMTypeRef type = type_of(e, step->value->type);
	if (e->mode == MODE_LANES)
		type = LLVMVectorType(type, e->width);
	LLVMValueRef sum = alloca_at_entry(e, type, "sum");
	LLVMBuildStore(e->builder, LLVMConstNull(type), sum);
	Nest nest = nest_begin(e, step);
	LLVMValueRef v = emit_expr(e, step->value), before = LLVMBuildLoad2(e->builder, type, sum, "");
	if (e->mode == MODE_LANES)
		v = splat(e, v);
	v = is_real(step->value->type) ? LLVMBuildFAdd(e->builder, before, v, "") : LLVMBuildAdd(e->builder, before, v, "");
	LLVMBuildStore(e->builder, v, sum);
	memo_forget(e);
	emit_store_step(e, step, v, step->value->type, result_range(e, step));
	nest_end(e, step, &nest);
}

/* ---- all pairs ---- */

static bool const_total(KStep *step, int64_t *total)
{
	*total = 1;
	for (uint32_t i = 0; i < step->over_count; i++) {
		int64_t count;
		if (!const_trip_count(step->over[i], &count))
			return false;
		*total *= count;
	}
	return true;
}

/* Integers that sort like the values; NaN last; zeros are equal. */
LLVMValueRef emit_sorting_image(Emitter *e, KStep *step, LLVMValueRef v)
{
	if (step->value->type == T_I32)
		return v;
	Range r = facts_range(e->facts, step->value);
	LLVMTypeRef i32 = type_like(type_of(e, T_I32), v);
	LLVMValueRef bits = LLVMBuildBitCast(e->builder, emit_plus_zero(e, v), i32, "");
	if (!(r.lo >= 0)) {
		LLVMValueRef sign = LLVMBuildAShr(e->builder, bits, const_int(i32, 31), "");
		bits = LLVMBuildXor(e->builder, bits, LLVMBuildAnd(e->builder, sign, const_int(i32, INT32_MAX), ""), "");
	}
	if (!r.may_be_nan)
		return bits;
	LLVMValueRef unsigned_least[] = {bits, const_int(i32, NAN_IMAGE)};
	if (r.lo >= 0) /* as unsigned numbers the images of all NaNs, of either sign, are above the others */
		return emit_intrinsic(e, "llvm.umin", &i32, 1, unsigned_least, 2);
	LLVMValueRef is_nan = LLVMBuildFCmp(e->builder, LLVMRealUNO, v, v, "");
	return LLVMBuildSelect(e->builder, is_nan, const_int(i32, NAN_IMAGE), bits, "");
}

/* A handful: each pair is compared once, in registers. The earlier one comes before unless the later one is less. */
static void emit_few(Emitter *e, KStep *step, uint32_t total)
{
	LLVMBuilderRef b = e->builder;
	LLVMTypeRef i64 = type_of(e, T_I64), i32 = type_of(e, T_I32);
	uint32_t lanes = e->mode == MODE_LANES ? e->width : 0;
	LLVMTypeRef counts = lanes ? LLVMVectorType(i32, lanes) : i32;
	LLVMValueRef limit = step->scan == SCAN_SMALLEST ? emit_expr(e, step->limit) : NULL;
	LLVMValueRef images[FEW_MOST], before[FEW_MOST];
	for (uint32_t i = 0; i < total; i++) {
		memo_forget(e);
		bind_index(e, step->over[0], const_int(i64, i));
		LLVMValueRef v = emit_expr(e, step->value);
		images[i] = emit_sorting_image(e, step, lanes ? splat(e, v) : v);
		before[i] = const_int(counts, i);
	}
	for (uint32_t i = 0; i < total; i++)
		for (uint32_t j = i + 1; j < total; j++) {
			LLVMValueRef is_less = LLVMBuildICmp(b, LLVMIntSLT, images[j], images[i], "");
			LLVMValueRef one = LLVMBuildSExt(b, is_less, counts, "");
			before[i] = LLVMBuildSub(b, before[i], one, "");
			before[j] = LLVMBuildAdd(b, before[j], one, "");
		}
	for (uint32_t i = 0; i < total; i++) {
		memo_forget(e);
		bind_index(e, step->over[0], const_int(i64, i));
		LLVMValueRef v = before[i];
		if (limit && step->limit->type == T_I64)
			v = LLVMBuildSExt(b, v, type_like(i64, v), "");
		if (limit)
			v = LLVMBuildICmp(b, LLVMIntSLT, v, lanes ? splat(e, limit) : limit, "");
		emit_store_step(e, step, v, result_type(step), result_range(e, step));
	}
	e->index_values[step->over[0]->id] = NULL;
	memo_forget(e);
}

/* Whether a comes before b, given the order of their positions. */
static LLVMValueRef comes_before(
	Emitter *e, KStep *step, LLVMValueRef a, LLVMValueRef b, LLVMValueRef position_a, LLVMValueRef position_b)
{
	LLVMBuilderRef build = e->builder;
	LLVMValueRef is_first = LLVMBuildICmp(build, LLVMIntSLT, position_a, position_b, "");
	if (is_vector_value(a))
		is_first = splat(e, is_first);
	if (!is_real(step->value->type)) {
		LLVMValueRef less = LLVMBuildICmp(build, LLVMIntSLT, a, b, ""),
					 same = LLVMBuildICmp(build, LLVMIntEQ, a, b, "");
		return LLVMBuildOr(build, less, LLVMBuildAnd(build, same, is_first, ""), "");
	}
	LLVMValueRef less = LLVMBuildFCmp(build, LLVMRealOLT, a, b, ""), same = LLVMBuildFCmp(build, LLVMRealOEQ, a, b, "");
	if (facts_range(e->facts, step->value).may_be_nan) {
		LLVMValueRef a_nan = LLVMBuildFCmp(build, LLVMRealUNO, a, a, ""),
					 b_nan = LLVMBuildFCmp(build, LLVMRealUNO, b, b, "");
		less = LLVMBuildOr(build, less, LLVMBuildAnd(build, b_nan, LLVMBuildNot(build, a_nan, ""), ""), "");
		same = LLVMBuildOr(build, same, LLVMBuildAnd(build, a_nan, b_nan, ""), "");
	}
	return LLVMBuildOr(build, less, LLVMBuildAnd(build, same, is_first, ""), "");
}

static void emit_pairs(Emitter *e, KStep *step, int64_t total)
{
	LLVMTypeRef i64 = type_of(e, T_I64), i32 = type_of(e, T_I32);
	uint32_t lanes = e->mode == MODE_LANES ? e->width : 0;
	LLVMValueRef count = const_int(i64, total);
	LLVMValueRef limit = step->scan == SCAN_SMALLEST ? emit_expr(e, step->limit) : NULL;
	memo_forget(e);
	Column values = fill_column(e, step, step->value, count, lanes);
	Column results = column_new(e, i32, 4, count, lanes);
	LLVMTypeRef counts = lanes ? LLVMVectorType(i32, lanes) : i32;
	LLVMValueRef before = alloca_at_entry(e, counts, "before");
	LoopFrame outer = loop_begin(e, const_int(i64, 0), count, 1, "element");
	LLVMBuildStore(e->builder, LLVMConstNull(counts), before);
	LLVMValueRef own = column_load(e, &values, outer.counter, lanes);
	LoopFrame inner = loop_begin(e, const_int(i64, 0), count, 1, "other");
	LLVMValueRef other = column_load(e, &values, inner.counter, lanes);
	LLVMValueRef is_before = comes_before(e, step, other, own, inner.counter, outer.counter);
	LLVMValueRef sum = LLVMBuildLoad2(e->builder, counts, before, "");
	sum = LLVMBuildAdd(e->builder, sum, LLVMBuildZExt(e->builder, is_before, counts, ""), "");
	LLVMBuildStore(e->builder, sum, before);
	loop_end(e, &inner, 1);
	column_store(e, &results, outer.counter, LLVMBuildLoad2(e->builder, counts, before, ""));
	loop_end(e, &outer, 1);
	Nest nest = nest_begin(e, step);
	LLVMValueRef v = column_load(e, &results, nest.position, lanes);
	if (limit) {
		if (step->limit->type == T_I64)
			v = LLVMBuildSExt(e->builder, v, type_like(i64, v), "");
		v = LLVMBuildICmp(e->builder, LLVMIntSLT, v, lanes ? splat(e, limit) : limit, "");
	}
	emit_store_step(e, step, v, result_type(step), result_range(e, step));
	nest_end(e, step, &nest);
}

void emit_scan(Emitter *e, KStep *step)
{
	int64_t total;
	if (step->scan == SCAN_PREFIX && !step->key) {
		emit_prefix(e, step);
		return;
	}
	bool counts = step->scan == SCAN_RANK || step->scan == SCAN_SMALLEST;
	bool has_image = step->value->type == T_F32 || step->value->type == T_I32;
	if (counts && has_image && step->over_count == 1 && const_total(step, &total) && total <= FEW_MOST) {
		emit_few(e, step, (uint32_t)total);
		return;
	}
	if (counts && const_total(step, &total) && total <= PAIRS_MOST) {
		emit_pairs(e, step, total);
		return;
	}
	uint32_t lanes = e->mode == MODE_LANES ? e->width : 0;
	bool is_stored;
	Column results = emit_results(e, step, lanes, &is_stored);
	if (!is_stored)
		store_results(e, step, &results, lanes);
	column_free(e, &results);
}
