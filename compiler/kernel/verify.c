/* SPDX-License-Identifier: MIT
 *
 * verify.c: the rules of kernel.h, checked between the stages that build, schedule
 * and lower a kernel. A broken rule is a bug of the compiler, so the messages are
 * internal errors; they name kernel and step.
 *
 * Checks what can be seen without running: types, ranks, what is in scope where,
 * that each element is written once, that reads precede writes, where loops of
 * each mode may stand. Subscripts are checked against extents by the interpreter.
 */
#include "kernel.h"

#include <assert.h>
#include <string.h>

typedef struct Verifier {
	Kernel *k;
	Arena *arena; /* of this check */
	const KStep *step;
	const KIndex **by_id;
	VEC(const KIndex *) scope; /* indices that have a value here */
	VEC(const KStep *) loops;  /* the loops around, outermost first */
	KExprMap met;              /* the walk that met an expression last */
	uintptr_t walk;            /* number of this one, from 1 */
	bool is_good;
} Verifier;

static void fail(Verifier *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail(Verifier *v, const char *format, ...)
{
	char message[512];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof message, format, args);
	va_end(args);
	v->is_good = false;
	Loc loc = v->step ? v->step->loc : (Loc){0};
	const char *where = v->step ? kstep_describe(v->k, v->step) : "its buffers";
	diag_error(v->k->c, loc, "internal error: kernel %s: %s: %s", v->k->name, where, message);
}

static bool is_integer(KType type)
{
	return type == T_I32 || type == T_I64;
}

static bool is_real(KType type)
{
	return type == T_F32 || type == T_F64;
}

static bool is_bytes(const KBuffer *buffer)
{
	return buffer->store.kind == STORE_UINT && buffer->store.bits == 8;
}

static const char *name_or(Name name, const char *otherwise)
{
	return name ? name : otherwise;
}

/* ---- what may be named here ---- */

static bool in_scope(const Verifier *v, const KIndex *index)
{
	for (size_t i = 0; i < v->scope.count; i++)
		if (v->scope.at[i] == index)
			return true;
	return false;
}

static void check_buffer(Verifier *v, const KBuffer *buffer)
{
	const char *name = name_or(buffer->name, "a buffer");
	if (buffer->id >= v->k->buffers.count || v->k->buffers.at[buffer->id] != buffer) {
		fail(v, "%s is not a buffer of this kernel", name);
		return;
	}
	bool is_inside = !buffer->scope;
	for (size_t i = 0; i < v->loops.count; i++)
		is_inside |= v->loops.at[i] == buffer->scope;
	if (!is_inside)
		fail(v, "%s is used outside the loop it lives in", name);
}

/* ---- expressions ---- */

static void check_load(Verifier *v, const KExpr *e)
{
	const KBuffer *buffer = e->buffer;
	const char *name = name_or(buffer->name, "a buffer");
	check_buffer(v, buffer);
	if (!store_equal(e->store, buffer->store) && !is_bytes(buffer))
		fail(v, "%s is read as another storage type but does not hold bytes", name);
	if (e->type != store_type(e->store))
		fail(v, "the load of %s has a type that its storage does not give", name);
	for (uint32_t i = 0; i < buffer->rank; i++)
		if (!is_integer(e->subs[i]->type))
			fail(v, "subscript %u of %s is no integer", (unsigned)i, name);
}

static void check_operation(Verifier *v, const KExpr *e)
{
	const char *text = kop_text(e->op);
	uint32_t arity = kop_arity(e->op);
	if (e->op == OP_SELECT) {
		if (e->args[0]->type != T_BOOL || e->args[1]->type != e->type || e->args[2]->type != e->type)
			fail(v, "select has operands of wrong types");
		return;
	}
	if (e->op == OP_CAST)
		return;
	for (uint32_t i = 0; i < arity; i++)
		if (!kop_takes(e->op, e->args[i]->type) || e->args[i]->type != e->args[0]->type)
			fail(v, "%s has an operand of a wrong type", text);
	if (kop_gives(e->op, e->args[0]->type, e->store) != e->type)
		fail(v, "%s has a wrong type", text);
	bool has_store = e->op == OP_STORE_AS || e->op == OP_BITS || e->op == OP_FROM_BITS;
	if (has_store && e->store.kind == STORE_NONE)
		fail(v, "%s has no storage type", text);
}

/* Has this walk met e before? */
static bool is_met(Verifier *v, const KExpr *e)
{
	void **place = kexprmap_at(&v->met, e);
	bool is_known = (uintptr_t)*place == v->walk;
	*place = (void *)v->walk;
	return is_known;
}

static void check_node(Verifier *v, const KExpr *e)
{
	if (e->op != OP_CONST && is_met(v, e))
		return;
	switch (e->op) {
	case OP_CONST:
		return;
	case OP_INDEX:
		if (!in_scope(v, e->index))
			fail(v, "index %s is used where it has no value", name_or(e->index->name, "?"));
		return;
	case OP_PARAM:
		if (e->integer < 0 || e->integer >= v->k->param_count)
			fail(v, "there is no parameter %lld", (long long)e->integer);
		return;
	case OP_LOAD:
		check_load(v, e);
		for (uint32_t i = 0; i < e->buffer->rank; i++)
			check_node(v, e->subs[i]);
		return;
	default:
		check_operation(v, e);
		for (uint32_t i = 0; i < kop_arity(e->op); i++)
			check_node(v, e->args[i]);
	}
}

static void check_expr(Verifier *v, const KExpr *e)
{
	v->walk++;
	check_node(v, e);
}

/* ---- indices ---- */

/* Checks the bounds where they are evaluated, then gives the index a value. */
static void enter_index(Verifier *v, const KIndex *index)
{
	const char *name = name_or(index->name, "?");
	if (index->id >= v->k->index_count)
		fail(v, "index %s has an id beyond the kernel's", name);
	else if (v->by_id[index->id] && v->by_id[index->id] != index)
		fail(v, "index %s shares its id with %s", name, name_or(v->by_id[index->id]->name, "?"));
	else
		v->by_id[index->id] = index;
	if (in_scope(v, index))
		fail(v, "index %s is bound again inside its own scope", name);
	if (!is_integer(index->lo->type) || !is_integer(index->hi->type) || index->step <= 0)
		fail(v, "index %s has bounds that are no integers or a step below 1", name);
	if (index->lo->loads || index->hi->loads)
		fail(v, "a bound of index %s reads a buffer", name);
	check_expr(v, index->lo);
	check_expr(v, index->hi);
	vec_push(v->arena, &v->scope, index);
}

/* ---- element steps ---- */

static bool uses_any(const KExpr *e, KIndex *const *indices, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (kexpr_uses(e, indices[i]))
			return true;
	return false;
}

static bool uses_own(const KStep *step, const KExpr *e)
{
	return uses_any(e, step->domain, step->domain_count) || uses_any(e, step->over, step->over_count);
}

/* Each turn writes an element of its own, at a place that is affine in the step's indices. */
static void check_target_index(Verifier *v, KIndex *index)
{
	const KStep *step = v->step;
	bool is_used = false;
	for (uint32_t i = 0; i < step->dst->rank; i++) {
		int64_t coefficient = 0;
		KExpr *rest;
		if (!kexpr_affine(v->k, step->dst_subs[i], index, &coefficient, &rest))
			fail(v, "subscript %u of the target is not affine in %s", (unsigned)i, name_or(index->name, "?"));
		is_used |= coefficient != 0;
	}
	int64_t turns;
	bool is_single = kexpr_difference(index->hi, index->lo, &turns) && turns <= index->step;
	if (!is_used && !is_single)
		fail(v, "every turn of %s writes the same element", name_or(index->name, "?"));
}

static bool may_be_written(const Verifier *v, const KBuffer *buffer)
{
	return buffer->kind == BUFFER_INPUT ? v->k->changes_inputs : buffer->kind != BUFFER_TABLE;
}

static void check_target(Verifier *v)
{
	const KStep *step = v->step;
	const KBuffer *dst = step->dst;
	check_buffer(v, dst);
	if (!may_be_written(v, dst))
		fail(v, "an input or a table is written");
	if (!store_equal(step->store, dst->store) && !is_bytes(dst))
		fail(v, "another storage type is written into a buffer that does not hold bytes");
	for (uint32_t i = 0; i < dst->rank; i++) {
		if (!is_integer(step->dst_subs[i]->type) || step->dst_subs[i]->loads)
			fail(v, "subscript %u of the target is no integer or reads a buffer", (unsigned)i);
		check_expr(v, step->dst_subs[i]);
	}
	for (uint32_t i = 0; i < step->domain_count; i++)
		check_target_index(v, step->domain[i]);
	for (uint32_t i = 0; step->kind == STEP_SCAN && i < step->over_count; i++)
		check_target_index(v, step->over[i]);
	for (size_t l = 0; l < v->loops.count; l++) {
		const KStep *loop = v->loops.at[l];
		bool is_own = loop->mode == LOOP_SEQUENTIAL;
		for (size_t inner = l; inner < v->loops.count; inner++)
			is_own |= dst->scope == v->loops.at[inner];
		for (uint32_t i = 0; i < dst->rank; i++)
			is_own |= kexpr_uses(step->dst_subs[i], loop->index);
		if (!is_own)
			fail(v, "independent turns of %s write one element", name_or(loop->index->name, "?"));
	}
}

/* A load of the target must be of the very element that this turn writes, or of one that no turn writes. */
static bool reads_precede(const KStep *step, const KExpr *load)
{
	bool is_same = store_equal(load->store, step->store);
	for (uint32_t i = 0; i < step->dst->rank; i++) {
		int64_t difference;
		bool is_known = kexpr_difference(load->subs[i], step->dst_subs[i], &difference);
		is_same &= is_known && difference == 0;
		bool is_fixed = !uses_own(step, step->dst_subs[i]) && !uses_own(step, load->subs[i]);
		bool is_byte_axis = i + 1 == step->dst->rank && is_bytes(step->dst);
		if (is_known && is_fixed && (is_byte_axis ? difference >= 8 || difference <= -8 : difference != 0))
			return true;
	}
	return is_same;
}

static void check_reads(Verifier *v, const KExpr *e)
{
	if (!e->loads || is_met(v, e))
		return;
	if (e->op == OP_LOAD && e->buffer == v->step->dst && !reads_precede(v->step, e))
		fail(v, "reads an element of its target that another turn writes");
	uint32_t count = e->op == OP_LOAD ? e->buffer->rank : kop_arity(e->op);
	for (uint32_t i = 0; i < count; i++)
		check_reads(v, e->op == OP_LOAD ? e->subs[i] : e->args[i]);
}

static void check_fold(Verifier *v)
{
	const KStep *step = v->step;
	KType type = step->value->type;
	bool is_reduce = step->kind == STEP_REDUCE;
	bool needs_limit = is_reduce ? step->reduce == REDUCE_QUANTILE : step->scan == SCAN_SMALLEST;
	bool of_bool = is_reduce && step->reduce >= REDUCE_ANY && step->reduce <= REDUCE_COUNT;
	if (step->over_count == 0)
		fail(v, "folds over nothing");
	if ((type == T_BOOL) != of_bool)
		fail(v, "folds values of a wrong type");
	if (needs_limit != (step->limit != NULL))
		fail(v, "has a limit that it does not take, or lacks one");
	else if (needs_limit && (is_reduce ? !is_real(step->limit->type) : !is_integer(step->limit->type)))
		fail(v, "has a limit of a wrong type");
	if (step->key && (is_reduce || step->scan != SCAN_PREFIX))
		fail(v, "has a key that it does not take");
	if (step->is_contraction && !(is_reduce && step->reduce == REDUCE_SUM))
		fail(v, "is called a contraction and is no sum");
	if (step->minuend && (!step->is_contraction || step->minuend->type != type))
		fail(v, "is taken off from what it cannot be");
}

static void check_element_step(Verifier *v)
{
	const KStep *step = v->step;
	if (!step->dst || !step->value) {
		fail(v, "has no target or no value");
		return;
	}
	bool has_over = step->kind != STEP_MAP;
	for (uint32_t i = 0; i < step->domain_count; i++)
		enter_index(v, step->domain[i]);
	for (uint32_t i = 0; has_over && i < step->over_count; i++)
		if (uses_any(step->over[i]->lo, step->over, step->over_count) ||
			uses_any(step->over[i]->hi, step->over, step->over_count))
			fail(v, "a bound of what it folds depends on what it folds");
	if (step->limit)
		check_expr(v, step->limit);
	if (step->minuend)
		check_expr(v, step->minuend);
	if (step->kind != STEP_SCAN)
		check_target(v);
	for (uint32_t i = 0; has_over && i < step->over_count; i++)
		enter_index(v, step->over[i]);
	if (step->kind == STEP_SCAN)
		check_target(v);
	if (has_over)
		check_fold(v);
	check_expr(v, step->value);
	v->walk++;
	check_reads(v, step->value);
	if (step->minuend) {
		v->walk++;
		check_reads(v, step->minuend);
	}
	if (step->key) {
		check_expr(v, step->key);
		v->walk++;
		check_reads(v, step->key);
	}
}

/* ---- other steps ---- */

static void check_matrix(Verifier *v, const KBuffer *buffer, uint32_t rank)
{
	if (!buffer) {
		fail(v, "lacks an operand");
		return;
	}
	check_buffer(v, buffer);
	if (buffer->rank != rank)
		fail(v, "%s is not of rank %u", name_or(buffer->name, "an operand"), (unsigned)rank);
	if (buffer->store.kind != STORE_F32 && buffer->store.kind != STORE_F64)
		fail(v, "%s is not stored as f32 or f64", name_or(buffer->name, "an operand"));
}

static void check_linalg(Verifier *v)
{
	const KStep *step = v->step;
	const KBuffer *in = step->ins[0];
	check_matrix(v, in, 2);
	int64_t difference;
	if (linalg_is_definite(step->linalg) && in && kexpr_difference(in->extent[0], in->extent[1], &difference) &&
		difference != 0)
		fail(v, "its operand is not square");
	for (uint32_t i = 0; i < linalg_outs(step->linalg); i++) {
		const KBuffer *out = step->outs[i];
		check_matrix(v, out, step->linalg == LINALG_SVD && i == 1 ? 1 : 2);
		if (out && ((out == in && !linalg_is_definite(step->linalg)) || !may_be_written(v, out)))
			fail(v, "overwrites what it must not");
		for (size_t l = 0; out && l < v->loops.count; l++)
			if (v->loops.at[l]->mode != LOOP_SEQUENTIAL && !out->scope)
				fail(v, "independent turns write one matrix");
	}
}

static void check_steps(Verifier *v, const KStepVec *steps);

static void check_loop(Verifier *v)
{
	const KStep *step = v->step;
	enter_index(v, step->index);
	for (size_t i = 0; i < v->loops.count; i++) {
		if (step->mode == LOOP_ROWS && v->loops.at[i]->mode != LOOP_SEQUENTIAL)
			fail(v, "a loop over rows stands inside a loop of independent turns");
		if (step->mode == LOOP_LANES && v->loops.at[i]->mode == LOOP_LANES)
			fail(v, "a loop over lanes stands inside another");
	}
	if (step->mode != LOOP_SEQUENTIAL && !v->k->is_scheduled)
		fail(v, "a kernel that is not scheduled has a loop of independent turns");
	if (step->mode == LOOP_LANES && step->lanes < 2)
		fail(v, "a loop over lanes has fewer than two");
	vec_push(v->arena, &v->loops, step);
	check_steps(v, &step->body);
	v->loops.count--;
}

static void check_step(Verifier *v, const KStep *step)
{
	const KStep *outer = v->step;
	size_t scope = v->scope.count;
	v->step = step;
	switch (step->kind) {
	case STEP_MAP:
	case STEP_REDUCE:
	case STEP_SCAN:
		check_element_step(v);
		break;
	case STEP_LINALG:
		check_linalg(v);
		break;
	case STEP_LOOP:
		check_loop(v);
		break;
	case STEP_IF:
		if (!step->value || step->value->type != T_BOOL) {
			fail(v, "its condition is no bool");
			break;
		}
		check_expr(v, step->value);
		check_steps(v, &step->body);
		break;
	}
	v->scope.count = scope;
	v->step = outer;
}

static void check_steps(Verifier *v, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		check_step(v, steps->at[i]);
}

static void check_declaration(Verifier *v, const KBuffer *buffer, uint32_t id)
{
	const char *name = name_or(buffer->name, "a buffer");
	if (buffer->id != id)
		fail(v, "%s does not have its place as id", name);
	if (buffer->store.kind == STORE_NONE)
		fail(v, "%s has no storage type", name);
	for (uint32_t i = 0; i < buffer->rank; i++) {
		int64_t extent;
		if (!is_integer(buffer->extent[i]->type) || buffer->extent[i]->uses || buffer->extent[i]->loads)
			fail(v, "extent %u of %s is not made of constants and parameters", (unsigned)i, name);
		else if (kexpr_is_const(buffer->extent[i], &extent) && extent <= 0)
			fail(v, "extent %u of %s is %lld", (unsigned)i, name, (long long)extent);
	}
	if ((buffer->kind == BUFFER_TABLE) != (buffer->data != NULL))
		fail(v, "%s is a table without data, or data without a table", name);
	if (buffer->scope && (buffer->kind != BUFFER_TEMP || buffer->scope->kind != STEP_LOOP))
		fail(v, "%s lives in what is no loop, or is no temporary", name);
}

bool kernel_verify(Kernel *k)
{
	Verifier v = {.k = k, .arena = arena_new(), .is_good = true};
	v.met.arena = v.arena;
	v.by_id = arena_array(v.arena, const KIndex *, k->index_count);
	size_t inputs = 0, outputs = 0;
	for (size_t i = 0; i < k->buffers.count; i++) {
		check_declaration(&v, k->buffers.at[i], (uint32_t)i);
		inputs += k->buffers.at[i]->kind == BUFFER_INPUT;
		outputs += k->buffers.at[i]->kind == BUFFER_OUTPUT;
	}
	if (inputs != k->inputs.count || outputs != k->outputs.count)
		fail(&v, "the lists of inputs and outputs are not those of the buffers");
	check_steps(&v, &k->steps);
	arena_free(v.arena);
	return v.is_good;
}
