/* SPDX-License-Identifier: MIT
 *
 * elab_type.c: terms and their types. Compile-time values fold in f64 and 64-bit
 * integers; one that meets an array becomes a constant of the array's type. Real
 * arithmetic is f32 (f64 if a side is); integers are i32, i64 if a side is; an
 * integer that meets a real becomes real; `/` is always real.
 */
#include "elaborate.h"

#include <string.h>

Term term_of(KExpr *expr)
{
	return (Term){.expr = expr};
}

Term term_value(Value value)
{
	return (Term){.value = value};
}

Term term_int(Loc loc, int64_t value)
{
	return term_value(value_int(loc, value));
}

static KExpr *value_expr(Elab *el, const Value *value, KType type)
{
	switch (value->kind) {
	case VALUE_BOOL:
		return kexpr_cast(el->k, type, kexpr_int(el->k, T_BOOL, value->is_true));
	case VALUE_INT:
		if (type == T_I32 && (value->integer > INT32_MAX || value->integer < INT32_MIN))
			type = T_I64;
		if (type == T_I32 || type == T_I64)
			return kexpr_int(el->k, type, value->integer);
		return kexpr_real(el->k, type, (double)value->integer);
	case VALUE_REAL:
		if (type == T_F32 || type == T_F64)
			return kexpr_real(el->k, type, value->real);
		return kexpr_cast(el->k, type, kexpr_real(el->k, T_F64, value->real));
	case VALUE_ERROR:
		el->failed = true;
		break;
	case VALUE_WORD:
		elab_error(el, value->loc, "unknown name \"%s\"", value->text);
		break;
	default:
		elab_error(el, value->loc, "this is no number");
	}
	return kexpr_int(el->k, T_I32, 0);
}

static KType natural_type(const Term *term)
{
	if (term->expr)
		return term->expr->type;
	switch (term->value.kind) {
	case VALUE_BOOL:
		return T_BOOL;
	case VALUE_INT:
		return term->value.integer > INT32_MAX || term->value.integer < INT32_MIN ? T_I64 : T_I32;
	default:
		return T_F32;
	}
}

KExpr *term_as(Elab *el, Term term, KType type)
{
	if (!term.expr)
		return value_expr(el, &term.value, type);
	return term.expr->type == type ? term.expr : kexpr_cast(el->k, type, term.expr);
}

KExpr *term_expr(Elab *el, Term term)
{
	return term_as(el, term, natural_type(&term));
}

/* A constant takes the other side's type where it can: 2 * x is f32, 1 + i is i32. */
static KType common_type(const Term *a, const Term *b)
{
	KType x = natural_type(a), y = natural_type(b);
	KType type = x > y ? x : y; /* bool < i32 < i64 < f32 < f64 */
	return type == T_BOOL ? T_I32 : type;
}

static const struct {
	const char *text;
	KOp op;
	bool is_swapped, is_negated;
} binary_ops[] = {
	{"+", OP_ADD, false, false},
	{"-", OP_SUB, false, false},
	{"*", OP_MUL, false, false},
	{"/", OP_DIV, false, false},
	{"//", OP_IDIV, false, false},
	{"%", OP_IMOD, false, false},
	{"&", OP_BIT_AND, false, false},
	{"|", OP_BIT_OR, false, false},
	{"<<", OP_SHL, false, false},
	{">>", OP_SHR, false, false},
	{"==", OP_EQ, false, false},
	{"!=", OP_NE, false, false},
	{"<", OP_LT, false, false},
	{"<=", OP_LE, false, false},
	{">", OP_LT, true, false},
	{">=", OP_LE, true, false},
	{"and", OP_AND, false, false},
	{"or", OP_OR, false, false},
};

static bool is_integer_op(KOp op)
{
	return op == OP_IDIV || op == OP_IMOD || op == OP_BIT_AND || op == OP_BIT_OR || op == OP_SHL || op == OP_SHR;
}

static KType operand_type(Elab *el, const Node *node, KOp op, const Term *a, const Term *b)
{
	KType type = common_type(a, b);
	if (op == OP_AND || op == OP_OR) {
		if (natural_type(a) != T_BOOL || natural_type(b) != T_BOOL)
			elab_error(el, node->loc, "\"%s\" needs conditions on both sides", node->op);
		return T_BOOL;
	}
	if ((op == OP_EQ || op == OP_NE) && natural_type(a) == T_BOOL && natural_type(b) == T_BOOL)
		return T_BOOL;
	if (op == OP_DIV && type < T_F32)
		return T_F32;
	if (is_integer_op(op) && type >= T_F32) {
		elab_error(el, node->loc, "\"%s\" needs whole numbers", node->op);
		return T_I32;
	}
	return type;
}

Term term_binary(Elab *el, const Node *node, Term a, Term b)
{
	if (!a.expr && !b.expr) {
		bool is_logic = a.value.kind == VALUE_BOOL && b.value.kind == VALUE_BOOL;
		if (is_logic && (!strcmp(node->op, "and") || !strcmp(node->op, "or"))) {
			bool x = a.value.is_true, y = b.value.is_true;
			return term_value(value_bool(node->loc, node->op[0] == 'a' ? x && y : x || y));
		}
		Value value = value_operate(el->p, node, a.value, b.value);
		el->failed |= value.kind == VALUE_ERROR;
		return term_value(value);
	}
	for (size_t i = 0; i < sizeof binary_ops / sizeof *binary_ops; i++) {
		if (strcmp(node->op, binary_ops[i].text))
			continue;
		KOp op = binary_ops[i].op;
		KType type = operand_type(el, node, op, &a, &b);
		KExpr *x = term_as(el, a, type), *y = term_as(el, b, type);
		if (el->failed)
			return term_int(node->loc, 0);
		if (x->type != y->type) /* a constant too large for i32 */
			x = kexpr_cast(el->k, T_I64, x), y = kexpr_cast(el->k, T_I64, y);
		return term_of(binary_ops[i].is_swapped ? kexpr_binary(el->k, op, y, x) : kexpr_binary(el->k, op, x, y));
	}
	elab_error(el, node->loc, "operator \"%s\" has no meaning between arrays", node->op);
	return term_int(node->loc, 0);
}

Term term_unary(Elab *el, const Node *node, Term a)
{
	char op = node->op[0];
	if (!a.expr) {
		Value v = a.value;
		if (op == 'n' && v.kind == VALUE_BOOL)
			return term_value(value_bool(node->loc, !v.is_true));
		if (op == '-' && v.kind == VALUE_INT)
			return term_int(node->loc, -v.integer);
		if (op == '-' && v.kind == VALUE_REAL)
			return term_value(value_real(node->loc, -v.real));
		if (op == '~' && v.kind == VALUE_INT)
			return term_int(node->loc, ~v.integer);
		elab_error(el, node->loc, "\"%s\" cannot be applied here", node->op);
		return a;
	}
	KType type = a.expr->type;
	if (op == 'n' && type != T_BOOL)
		elab_error(el, node->loc, "\"not\" needs a condition");
	else if (op == '~' && type != T_I32 && type != T_I64)
		elab_error(el, node->loc, "\"~\" needs a whole number");
	if (el->failed)
		return a;
	if (op == '-')
		return term_of(kexpr_unary(el->k, OP_NEG, type == T_BOOL ? kexpr_cast(el->k, T_I32, a.expr) : a.expr));
	return term_of(kexpr_unary(el->k, op == 'n' ? OP_NOT : OP_BIT_NOT, a.expr));
}

Term term_select(Elab *el, Loc loc, Term c, Term a, Term b)
{
	if (!c.expr) {
		if (c.value.kind != VALUE_BOOL)
			elab_error(el, loc, "expected a condition");
		return c.value.is_true ? a : b;
	}
	if (c.expr->type != T_BOOL) {
		elab_error(el, loc, "expected a condition");
		return a;
	}
	KType type = common_type(&a, &b);
	if (natural_type(&a) == T_BOOL && natural_type(&b) == T_BOOL)
		type = T_BOOL;
	return term_of(kexpr_select(el->k, c.expr, term_as(el, a, type), term_as(el, b, type)));
}
