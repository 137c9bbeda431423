/* SPDX-License-Identifier: MIT
 *
 * expr_facts.c: questions about expressions of the kernel IR: what they use, whether
 * they are equal, which form they have in an index, how far two of them are apart,
 * and at most or at least whatever the indices.
 */
#include "kernel.h"

#include <string.h>

static bool is_real(KType type)
{
	return type == T_F32 || type == T_F64;
}

static bool is_integer(KType type)
{
	return type == T_I32 || type == T_I64;
}

bool kexpr_is_const(const KExpr *e, int64_t *value)
{
	if (e->op != OP_CONST || is_real(e->type))
		return false;
	*value = e->integer;
	return true;
}

bool kexpr_uses(const KExpr *e, const KIndex *index)
{
	if (!(e->uses >> index->id % 64 & 1))
		return false;
	if (e->op == OP_INDEX)
		return e->index == index;
	uint32_t count = e->op == OP_LOAD ? e->buffer->rank : kop_arity(e->op);
	for (uint32_t i = 0; i < count; i++)
		if (kexpr_uses(e->op == OP_LOAD ? e->subs[i] : e->args[i], index))
			return true;
	return false;
}

bool kexpr_affine(Kernel *k, KExpr *e, const KIndex *index, int64_t *coefficient, KExpr **rest)
{
	if (!kexpr_uses(e, index)) {
		*coefficient = 0;
		*rest = e;
		return true;
	}
	int64_t factor = 0, other = 0;
	KExpr *left, *right;
	switch (e->op) {
	case OP_INDEX:
		*coefficient = 1;
		*rest = kexpr_int(k, T_I32, 0);
		return true;
	case OP_CAST:
		if (e->type != T_I64 || e->args[0]->type != T_I32 || !kexpr_affine(k, e->args[0], index, coefficient, &left))
			return false;
		*rest = kexpr_cast(k, T_I64, left);
		return true;
	case OP_NEG:
		if (!kexpr_affine(k, e->args[0], index, &factor, &left))
			return false;
		*coefficient = -factor;
		*rest = kexpr_unary(k, OP_NEG, left);
		return true;
	case OP_ADD:
	case OP_SUB:
		if (!kexpr_affine(k, e->args[0], index, &factor, &left) || !kexpr_affine(k, e->args[1], index, &other, &right))
			return false;
		*coefficient = e->op == OP_ADD ? factor + other : factor - other;
		*rest = kexpr_binary(k, e->op, left, right);
		return true;
	case OP_MUL: /* folding keeps a constant factor on the right */
		if (!kexpr_is_const(e->args[1], &factor) || !kexpr_affine(k, e->args[0], index, &other, &left))
			return false;
		*coefficient = factor * other;
		*rest = kexpr_binary(k, OP_MUL, left, e->args[1]);
		return true;
	default:
		return false;
	}
}

bool kexpr_equal(const KExpr *a, const KExpr *b)
{
	if (a == b)
		return true;
	if (a->op != b->op || a->type != b->type || a->uses != b->uses || !store_equal(a->store, b->store))
		return false;
	switch (a->op) {
	case OP_CONST:
		return a->integer == b->integer && memcmp(&a->real, &b->real, sizeof a->real) == 0;
	case OP_INDEX:
		return a->index == b->index;
	case OP_PARAM:
		return a->integer == b->integer;
	case OP_LOAD:
		if (a->buffer != b->buffer)
			return false;
		for (uint32_t i = 0; i < a->buffer->rank; i++)
			if (!kexpr_equal(a->subs[i], b->subs[i]))
				return false;
		return true;
	default:
		for (uint32_t i = 0; i < kop_arity(a->op); i++)
			if (!kexpr_equal(a->args[i], b->args[i]))
				return false;
		return true;
	}
}

/* ---- linear forms: constant + sum of coefficient * atom, an atom being any node that is not a sum ---- */

enum { LINEAR_TERMS = 16 };

typedef struct Linear {
	int64_t constant;
	uint32_t count;
	const KExpr *atoms[LINEAR_TERMS];
	int64_t coefficients[LINEAR_TERMS];
} Linear;

static bool linear_atom(Linear *l, const KExpr *e, int64_t factor)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (kexpr_equal(l->atoms[i], e)) {
			l->coefficients[i] += factor;
			return true;
		}
	if (l->count == LINEAR_TERMS)
		return false;
	l->atoms[l->count] = e;
	l->coefficients[l->count++] = factor;
	return true;
}

static bool linear_add(Linear *l, const KExpr *e, int64_t factor)
{
	int64_t constant;
	switch (e->op) {
	case OP_CONST:
		l->constant += factor * e->integer;
		return true;
	case OP_ADD:
		return linear_add(l, e->args[0], factor) && linear_add(l, e->args[1], factor);
	case OP_SUB:
		return linear_add(l, e->args[0], factor) && linear_add(l, e->args[1], -factor);
	case OP_NEG:
		return linear_add(l, e->args[0], -factor);
	case OP_MUL:
		if (kexpr_is_const(e->args[1], &constant))
			return linear_add(l, e->args[0], factor * constant);
		return linear_atom(l, e, factor);
	case OP_CAST: /* subscripts do not overflow, so widening one changes nothing */
		if (e->type == T_I64 && e->args[0]->type == T_I32)
			return linear_add(l, e->args[0], factor);
		return linear_atom(l, e, factor);
	default:
		return linear_atom(l, e, factor);
	}
}

bool kexpr_difference(const KExpr *a, const KExpr *b, int64_t *difference)
{
	Linear l = {0};
	if (!is_integer(a->type) || !is_integer(b->type) || !linear_add(&l, a, 1) || !linear_add(&l, b, -1))
		return false;
	for (uint32_t i = 0; i < l.count; i++)
		if (l.coefficients[i] != 0)
			return false;
	*difference = l.constant;
	return true;
}

/* ---- bounds: indices give way to their ends, the least of two to either ---- */

enum { BOUND_DEPTH = 12 };

/* The number of an index that is no part of the base and of no other index's ends; count: there is none. */
static uint32_t linear_innermost(const Linear *l, const KExpr *base)
{
	for (uint32_t i = 0; i < l->count; i++) {
		const KIndex *index = l->atoms[i]->index;
		bool is_it = l->coefficients[i] != 0 && l->atoms[i]->op == OP_INDEX && !kexpr_uses(base, index);
		for (uint32_t other = 0; other < l->count && is_it; other++) {
			const KExpr *atom = l->atoms[other];
			bool counts = other != i && l->coefficients[other] != 0 && atom->op == OP_INDEX;
			is_it = !counts || !(kexpr_uses(atom->index->lo, index) || kexpr_uses(atom->index->hi, index));
		}
		if (is_it)
			return i;
	}
	return l->count;
}

/* The number of a least of two; count: there is none. */
static uint32_t linear_least(const Linear *l)
{
	uint32_t i = 0;
	while (i < l->count && !(l->coefficients[i] != 0 && l->atoms[i]->op == OP_MIN))
		i++;
	return i;
}

static bool linear_bound(const Linear *l, const KExpr *base, bool is_upper, int depth, int64_t *bound);

/* The bound with factor * by + constant in the place of atom i. */
static bool linear_replaced(const Linear *l, uint32_t i, const KExpr *by, int64_t more, const KExpr *base,
	bool is_upper, int depth, int64_t *bound)
{
	Linear made = *l;
	int64_t factor = l->coefficients[i];
	made.coefficients[i] = 0;
	made.constant += factor * more;
	return depth < BOUND_DEPTH && linear_add(&made, by, factor) &&
		   linear_bound(&made, base, is_upper, depth + 1, bound);
}

static bool linear_bound(const Linear *l, const KExpr *base, bool is_upper, int depth, int64_t *bound)
{
	uint32_t i = linear_innermost(l, base);
	if (i < l->count) {
		bool is_last = (l->coefficients[i] > 0) == is_upper;
		const KIndex *index = l->atoms[i]->index;
		return linear_replaced(l, i, is_last ? index->hi : index->lo, is_last ? -1 : 0, base, is_upper, depth, bound);
	}
	i = linear_least(l);
	if (i < l->count) {
		int64_t a, b;
		bool has_a = linear_replaced(l, i, l->atoms[i]->args[0], 0, base, is_upper, depth, &a);
		bool has_b = linear_replaced(l, i, l->atoms[i]->args[1], 0, base, is_upper, depth, &b);
		bool is_either = (l->coefficients[i] > 0) == is_upper; /* it is below each of the two, and is one of them */
		if (!has_a || !has_b) {
			*bound = has_a ? a : b;
			return is_either && (has_a || has_b);
		}
		*bound = (a < b) == (is_either == is_upper) ? a : b;
		return true;
	}
	for (i = 0; i < l->count; i++)
		if (l->coefficients[i] != 0)
			return false;
	*bound = l->constant;
	return true;
}

bool kexpr_bound(const KExpr *e, const KExpr *base, bool is_upper, int64_t *bound)
{
	Linear l = {0};
	return is_integer(e->type) && is_integer(base->type) && linear_add(&l, e, 1) && linear_add(&l, base, -1) &&
		   linear_bound(&l, base, is_upper, 0, bound);
}
