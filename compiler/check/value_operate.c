/* SPDX-License-Identifier: MIT
 *
 * value_operate.c: operators on compile-time values. Whole numbers stay whole where
 * the result is; what has a unit must fit what it meets.
 */
#include "program.h"

#include <math.h>
#include <string.h>

static bool is_word(Name name, const char *text)
{
	return !strcmp(name, text);
}

static int64_t floor_divide(int64_t a, int64_t b)
{
	if (b == 0)
		return 0;
	if (b == -1)
		return (int64_t)(0 - (uint64_t)a);
	return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

static int64_t shift(int64_t a, int64_t by, bool is_left)
{
	if (by < 0 || by > 63)
		return 0;
	return (int64_t)(is_left ? (uint64_t)a << by : (uint64_t)a >> by);
}

static Value integer_operation(Program *p, const Node *node, Value a, Value b)
{
	const char *op = node->op;
	if (a.kind != VALUE_INT || b.kind != VALUE_INT) {
		diag_error(p->c, node->loc, "\"%s\" needs whole numbers", op);
		return value_error(node->loc);
	}
	int64_t x = a.integer, y = b.integer;
	if (is_word(op, "//"))
		return value_int(node->loc, floor_divide(x, y));
	if (is_word(op, "%"))
		return value_int(node->loc, y == 0 ? 0 : x - (int64_t)((uint64_t)floor_divide(x, y) * (uint64_t)y));
	if (is_word(op, "&"))
		return value_int(node->loc, x & y);
	if (is_word(op, "|"))
		return value_int(node->loc, x | y);
	return value_int(node->loc, shift(x, y, is_word(op, "<<")));
}

static bool combine_dimensions(Program *p, const Node *node, const Value *a, const Value *b, const char **out)
{
	const char *op = node->op;
	bool has_a = *a->dimension, has_b = *b->dimension;
	*out = has_a ? a->dimension : b->dimension;
	if (is_word(op, "*") && (!has_a || !has_b))
		return true;
	if (is_word(op, "/") && !has_b)
		return true;
	if (!strcmp(a->dimension, b->dimension)) {
		if (is_word(op, "/"))
			*out = "";
		if (!is_word(op, "*") || !has_a)
			return true;
	}
	diag_error(p->c, node->loc, "units do not fit: %s %s %s", has_a ? a->dimension : "a plain number", op,
		has_b ? b->dimension : "a plain number");
	return false;
}

static bool is_integer_operator(const char *op)
{
	static const char *const known[] = {"//", "%", "&", "|", "<<", ">>"};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (is_word(op, known[i]))
			return true;
	return false;
}

static Value arithmetic(Program *p, const Node *node, Value a, Value b)
{
	const char *op = node->op;
	a = value_need_number(p, a, op);
	b = value_need_number(p, b, op);
	if (a.kind == VALUE_ERROR || b.kind == VALUE_ERROR)
		return value_error(node->loc);
	if (is_integer_operator(op))
		return integer_operation(p, node, a, b);
	const char *dimension;
	if (!combine_dimensions(p, node, &a, &b, &dimension))
		return value_error(node->loc);
	bool is_int = a.kind == VALUE_INT && b.kind == VALUE_INT && !*dimension;
	uint64_t x = (uint64_t)a.integer, y = (uint64_t)b.integer;
	Value out = value_real(node->loc, 0);
	out.dimension = dimension;
	if (is_word(op, "/")) {
		out.real = a.real / b.real;
		return out;
	}
	if (is_word(op, "^")) {
		out.real = pow(a.real, b.real);
		bool is_exact = is_int && b.integer >= 0 && fabs(out.real) < 9007199254740992.0;
		return is_exact ? value_int(node->loc, (int64_t)out.real) : out;
	}
	if (is_int)
		return value_int(node->loc, (int64_t)(is_word(op, "+") ? x + y : is_word(op, "-") ? x - y : x * y));
	out.real = is_word(op, "+") ? a.real + b.real : is_word(op, "-") ? a.real - b.real : a.real * b.real;
	return out;
}

static bool is_equal(const Value *a, const Value *b)
{
	if (value_is_number(a) && value_is_number(b))
		return a->real == b->real;
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case VALUE_NONE:
		return true;
	case VALUE_BOOL:
		return a->is_true == b->is_true;
	case VALUE_DTYPE:
		return !strcmp(a->dtype->label, b->dtype->label);
	case VALUE_STRING:
	case VALUE_WORD:
	case VALUE_RATIO:
		return !strcmp(a->text, b->text);
	default:
		return false;
	}
}

static Value compare(Program *p, const Node *node, Value a, Value b)
{
	const char *op = node->op;
	if (is_word(op, "==") || is_word(op, "!="))
		return value_bool(node->loc, is_equal(&a, &b) == is_word(op, "=="));
	a = value_need_number(p, a, op);
	b = value_need_number(p, b, op);
	if (a.kind == VALUE_ERROR || b.kind == VALUE_ERROR)
		return value_error(node->loc);
	if (strcmp(a.dimension, b.dimension)) {
		diag_error(p->c, node->loc, "units do not fit: %s %s %s", *a.dimension ? a.dimension : "a plain number", op,
			*b.dimension ? b.dimension : "a plain number");
		return value_error(node->loc);
	}
	bool is_true = is_word(op, "<")    ? a.real < b.real
				   : is_word(op, "<=") ? a.real <= b.real
				   : is_word(op, ">")  ? a.real > b.real
									   : a.real >= b.real;
	return value_bool(node->loc, is_true);
}

Value value_operate(Program *p, const Node *node, Value a, Value b)
{
	bool is_shift = is_word(node->op, "<<") || is_word(node->op, ">>");
	return strchr("<>=!", node->op[0]) && !is_shift ? compare(p, node, a, b) : arithmetic(p, node, a, b);
}
