/* SPDX-License-Identifier: MIT
 *
 * emit_linear.c: subscripts as linear forms, constant + sum of factor * term.
 *
 * A term is an index, a floor division of a linear form by a constant, or any other
 * expression. x % m is x - m * (x // m), so the two halves of a flattened index meet
 * again: (g // 8) * 8 + g % 8 is g. From these forms follow contiguity, strides and
 * what is the same for all lanes. As kernel.h says, subscripts do not overflow.
 */
#include "emit.h"

Linear *linear_constant(Emitter *e, int64_t value)
{
	Linear *l = arena_new_of(e->k->c->arena, Linear);
	l->constant = value;
	return l;
}

static bool term_equal(const Term *a, const Term *b)
{
	if (a->index || b->index)
		return a->index == b->index;
	if (a->divided && b->divided)
		return a->divisor == b->divisor && linear_equal(a->divided, b->divided);
	return a->opaque && b->opaque && kexpr_equal(a->opaque, b->opaque);
}

bool linear_equal(const Linear *a, const Linear *b)
{
	if (a->constant != b->constant || a->terms.count != b->terms.count)
		return false;
	for (size_t i = 0; i < a->terms.count; i++) {
		bool found = false;
		for (size_t j = 0; j < b->terms.count && !found; j++)
			found = a->terms.at[i].factor == b->terms.at[j].factor && term_equal(&a->terms.at[i], &b->terms.at[j]);
		if (!found)
			return false;
	}
	return true;
}

static void add_term(Emitter *e, Linear *l, Term term)
{
	for (size_t i = 0; i < l->terms.count; i++) {
		if (!term_equal(&l->terms.at[i], &term))
			continue;
		l->terms.at[i].factor += term.factor;
		if (l->terms.at[i].factor == 0)
			l->terms.at[i] = l->terms.at[--l->terms.count];
		return;
	}
	if (term.factor != 0)
		vec_push(e->k->c->arena, &l->terms, term);
}

void linear_add(Emitter *e, Linear *to, const Linear *from, int64_t factor)
{
	to->constant += from->constant * factor;
	for (size_t i = 0; i < from->terms.count; i++) {
		Term term = from->terms.at[i];
		term.factor *= factor;
		add_term(e, to, term);
	}
}

Linear *linear_scaled(Emitter *e, const Linear *l, int64_t factor)
{
	Linear *to = linear_constant(e, 0);
	linear_add(e, to, l, factor);
	return to;
}

int64_t linear_take(Linear *l, const KIndex *index)
{
	for (size_t i = 0; i < l->terms.count; i++)
		if (l->terms.at[i].index == index) {
			int64_t factor = l->terms.at[i].factor;
			l->terms.at[i] = l->terms.at[--l->terms.count];
			return factor;
		}
	return 0;
}

typedef struct VaryingSearch {
	Emitter *e;
	bool found;
} VaryingSearch;

static void find_private(void *context, KExpr *load)
{
	VaryingSearch *search = context;
	Place *place = &search->e->places[load->buffer->id];
	search->found |= place->is_private || place->is_private_bytes;
}

static bool is_varying(Emitter *e, KExpr *x)
{
	if (!e->vector_index)
		return false;
	if (kexpr_uses(x, e->vector_index))
		return true;
	VaryingSearch search = {e, false};
	if (e->mode == MODE_LANES)
		expr_each_load(e->k, x, find_private, &search);
	return search.found;
}

bool linear_has_varying_opaque(Emitter *e, const Linear *l)
{
	for (size_t i = 0; i < l->terms.count; i++) {
		const Term *term = &l->terms.at[i];
		if ((term->opaque && is_varying(e, term->opaque)) ||
			(term->divided && linear_has_varying_opaque(e, term->divided)))
			return true;
	}
	return false;
}

bool linear_uses(Emitter *e, const Linear *l, const KIndex *index)
{
	for (size_t i = 0; i < l->terms.count; i++) {
		const Term *term = &l->terms.at[i];
		if (term->index == index || (term->divided && linear_uses(e, term->divided, index)) ||
			(term->opaque && index != &e->vector_base && kexpr_uses(term->opaque, index)))
			return true;
	}
	return false;
}

static bool term_range(Emitter *e, const Term *term, int64_t *least, int64_t *most)
{
	if (term->index == &e->vector_base)
		return false;
	if (term->index)
		return facts_index_range((KIndex *)term->index, least, most);
	if (term->opaque) {
		Range r = facts_range(e->facts, term->opaque);
		*least = r.least;
		*most = r.most;
		return r.least > INT32_MIN && r.most < INT32_MAX;
	}
	if (!linear_range(e, term->divided, least, most) || *least < 0)
		return false;
	*least /= term->divisor;
	*most /= term->divisor;
	return true;
}

bool linear_range(Emitter *e, const Linear *l, int64_t *least, int64_t *most)
{
	*least = *most = l->constant;
	for (size_t i = 0; i < l->terms.count; i++) {
		int64_t lo, hi, factor = l->terms.at[i].factor;
		if (!term_range(e, &l->terms.at[i], &lo, &hi))
			return false;
		*least += factor * (factor > 0 ? lo : hi);
		*most += factor * (factor > 0 ? hi : lo);
	}
	return true;
}

/* ---- building ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int64_t common_divisor(int64_t a, int64_t b)
{
	while (b != 0) {
		int64_t rest = a % b;
		a = b;
		b = rest;
	}
	return a < 0 ? -a : a;
}

/* floor((g * x + c) / (g * d)) is floor((x + floor(c / g)) / d): so lanes that differ in c alone may agree. */
static void reduce_fraction(Linear *l, int64_t *divisor)
{
	int64_t common = *divisor;
	for (size_t i = 0; i < l->terms.count; i++)
		common = common_divisor(common, l->terms.at[i].factor);
	for (size_t i = 0; i < l->terms.count; i++)
		l->terms.at[i].factor /= common;
	l->constant /= common;
	*divisor /= common;
}

static Linear *divide(Emitter *e, const Linear *l, int64_t divisor)
{
	Linear *quotient = linear_constant(e, floor_div(l->constant, divisor));
	Linear *rest = linear_constant(e, l->constant - quotient->constant * divisor);
	for (size_t i = 0; i < l->terms.count; i++) {
		Term term = l->terms.at[i];
		if (term.factor % divisor == 0) {
			term.factor /= divisor;
			add_term(e, quotient, term);
		} else {
			add_term(e, rest, term);
		}
	}
	reduce_fraction(rest, &divisor);
	int64_t least, most;
	if (linear_range(e, rest, &least, &most) && least >= 0 && most < divisor)
		return quotient;
	Term term = {.divided = rest, .divisor = divisor, .factor = 1};
	if (rest->terms.count == 1 && rest->constant == 0 && rest->terms.at[0].factor == 1 && rest->terms.at[0].divided) {
		term.divided = rest->terms.at[0].divided;
		term.divisor = divisor * rest->terms.at[0].divisor;
	}
	add_term(e, quotient, term);
	return quotient;
}

/* Nothing in it but loop indices, params and constants: so it was made for addresses. */
static bool is_index_math(const KExpr *x)
{
	switch (x->op) {
	case OP_CONST:
	case OP_INDEX:
	case OP_PARAM:
		return true;
	case OP_ADD:
	case OP_SUB:
	case OP_MUL:
	case OP_IDIV:
	case OP_IMOD:
	case OP_NEG:
	case OP_CAST:
		for (uint32_t i = 0; i < kop_arity(x->op); i++)
			if (!is_index_math(x->args[i]))
				return false;
		return x->type == T_I32 || x->type == T_I64;
	default:
		return false;
	}
}

static Linear *of_index(Emitter *e, const KIndex *index, int64_t lane)
{
	if (index == e->vector_index && lane >= 0) {
		Linear *l = linear_constant(e, lane * index->step);
		add_term(e, l, (Term){.index = &e->vector_base, .factor = e->base_factor});
		return l;
	}
	LLVMValueRef bound = e->index_values[index->id];
	if (bound && LLVMIsAConstantInt(bound))
		return linear_constant(e, LLVMConstIntGetSExtValue(bound));
	Linear *l = linear_constant(e, 0);
	add_term(e, l, (Term){.index = index, .factor = 1});
	return l;
}

static Linear *opaque(Emitter *e, KExpr *x)
{
	Linear *l = linear_constant(e, 0);
	add_term(e, l, (Term){.opaque = x, .factor = 1});
	return l;
}

Linear *linear_of(Emitter *e, KExpr *x, int64_t lane)
{
	int64_t by;
	Linear *l, *other;
	switch (x->op) {
	case OP_CONST:
		return linear_constant(e, x->integer);
	case OP_INDEX:
		return of_index(e, x->index, lane);
	case OP_CAST:
		if (x->args[0]->type != T_I32 && x->args[0]->type != T_I64)
			return opaque(e, x);
		return x->type == T_I64 || is_index_math(x) ? linear_of(e, x->args[0], lane) : opaque(e, x);
	case OP_NEG:
		l = linear_constant(e, 0);
		linear_add(e, l, linear_of(e, x->args[0], lane), -1);
		return l;
	case OP_ADD:
	case OP_SUB:
		l = linear_of(e, x->args[0], lane);
		other = linear_of(e, x->args[1], lane);
		linear_add(e, l, other, x->op == OP_ADD ? 1 : -1);
		return l;
	case OP_MUL:
		if (!kexpr_is_const(x->args[1], &by))
			return opaque(e, x);
		l = linear_constant(e, 0);
		linear_add(e, l, linear_of(e, x->args[0], lane), by);
		return l;
	case OP_IDIV:
	case OP_IMOD:
		if (!kexpr_is_const(x->args[1], &by) || by <= 0 || !is_index_math(x->args[0]))
			return opaque(e, x);
		l = linear_of(e, x->args[0], lane);
		other = divide(e, l, by);
		if (x->op == OP_IDIV)
			return other;
		linear_add(e, l, other, -by);
		return l;
	default:
		return opaque(e, x);
	}
}

Linear *linear_subscript(Emitter *e, KBuffer *buffer, KExpr *const *subs, int64_t lane)
{
	Linear *offset = linear_constant(e, 0);
	for (uint32_t i = 0; i < buffer->rank; i++) {
		int64_t extent;
		if (i == 0) {
			offset = linear_of(e, subs[0], lane);
			continue;
		}
		Linear *scaled = linear_constant(e, 0);
		if (kexpr_is_const(buffer->extent[i], &extent)) {
			linear_add(e, scaled, offset, extent);
		} else if (offset->terms.count > 0 || offset->constant != 0) {
			/* A stride that is known when the kernel runs: the outer subscripts become one opaque product. */
			KExpr *outer = kexpr_cast(e->k, T_I64, subs[0]);
			for (uint32_t j = 1; j < i; j++) {
				KExpr *stride = kexpr_cast(e->k, T_I64, buffer->extent[j]);
				outer = kexpr_binary(
					e->k, OP_ADD, kexpr_binary(e->k, OP_MUL, outer, stride), kexpr_cast(e->k, T_I64, subs[j]));
			}
			scaled = opaque(e, kexpr_binary(e->k, OP_MUL, outer, kexpr_cast(e->k, T_I64, buffer->extent[i])));
		}
		offset = linear_of(e, subs[i], lane);
		linear_add(e, offset, scaled, 1);
	}
	return offset;
}

/* ---- emission ---- */

static LLVMValueRef widen(Emitter *e, LLVMValueRef v)
{
	LLVMTypeRef i64 = LLVMInt64TypeInContext(e->m->context);
	LLVMTypeRef to = type_like(i64, v);
	return LLVMTypeOf(v) == to ? v : LLVMBuildSExt(e->builder, v, to, "");
}

static LLVMValueRef emit_divided(Emitter *e, const Term *term)
{
	LLVMValueRef a = linear_emit(e, term->divided);
	LLVMTypeRef type = LLVMTypeOf(a);
	LLVMValueRef by = const_int(type, term->divisor);
	int64_t least, most;
	if (linear_range(e, term->divided, &least, &most) && least >= 0)
		return LLVMBuildUDiv(e->builder, a, by, "quotient");
	if ((term->divisor & (term->divisor - 1)) == 0)
		return LLVMBuildAShr(e->builder, a, const_int(type, __builtin_ctzll((uint64_t)term->divisor)), "quotient");
	LLVMValueRef quotient = LLVMBuildSDiv(e->builder, a, by, "");
	LLVMValueRef rest = LLVMBuildSRem(e->builder, a, by, "");
	LLVMValueRef is_below = LLVMBuildICmp(e->builder, LLVMIntSLT, rest, const_int(type, 0), "");
	return LLVMBuildAdd(e->builder, quotient, LLVMBuildSExt(e->builder, is_below, type, ""), "quotient");
}

static LLVMValueRef emit_term(Emitter *e, const Term *term)
{
	if (term->index == &e->vector_base)
		return e->base_value;
	if (term->index)
		return widen(e, e->index_values[term->index->id]);
	return term->divided ? emit_divided(e, term) : widen(e, emit_expr(e, term->opaque));
}

LLVMValueRef linear_emit(Emitter *e, const Linear *l)
{
	LLVMTypeRef i64 = LLVMInt64TypeInContext(e->m->context);
	LLVMValueRef same = const_int(i64, l->constant), varying = NULL;
	for (size_t i = 0; i < l->terms.count; i++) {
		LLVMValueRef v = emit_term(e, &l->terms.at[i]);
		if (l->terms.at[i].factor != 1)
			v = LLVMBuildMul(e->builder, v, const_int(LLVMTypeOf(v), l->terms.at[i].factor), "");
		if (!is_vector_value(v))
			same = LLVMBuildAdd(e->builder, same, v, "");
		else
			varying = varying ? LLVMBuildAdd(e->builder, varying, v, "") : v;
	}
	return varying ? LLVMBuildAdd(e->builder, varying, splat(e, same), "") : same;
}
