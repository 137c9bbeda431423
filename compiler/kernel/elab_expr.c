/* SPDX-License-Identifier: MIT
 *
 * elab_expr.c: scalar expressions of equations: operators, the builtin functions
 * of scalars, and what is left to the other files.
 */
#include "elaborate.h"

#include <string.h>

/* ---- builtin functions of scalars ---- */

static const struct {
	const char *name;
	KOp op;
	bool is_real; /* integers are made real first */
} unary_functions[] = {
	{"abs", OP_ABS, false},
	{"sqrt", OP_SQRT, true},
	{"floor", OP_FLOOR, true},
	{"ceil", OP_CEIL, true},
	{"trunc", OP_TRUNC, true},
	{"round", OP_ROUND, true},
	{"round_even", OP_ROUND_EVEN, true},
	{"is_nan", OP_IS_NAN, true},
};

static bool is_call_of(const Node *call, const char *name, uint32_t arguments)
{
	return call->kids[0]->kind == N_NAME && !strcmp(call->kids[0]->name, name) && call->kid_count == arguments + 1;
}

static Term fold_call(Elab *el, const Node *call, const Term *arguments, uint32_t count)
{
	/* all arguments are compile-time values: the same functions as value.c has */
	Node *copy = node_new(el->c, N_CALL, call->loc);
	Scope *scope = scope_new(el->c, NULL);
	node_add(el->c, copy, call->kids[0]);
	for (uint32_t i = 0; i < count; i++) {
		Node *name = node_new(el->c, N_NAME, call->kids[i + 1]->loc);
		name->name = name_of(el->c, arena_printf(el->c->arena, "#%u", i));
		scope_bind(el->c, scope, name->name, arguments[i].value);
		node_add(el->c, copy, name);
	}
	Value value = value_eval(el->p, scope, copy);
	el->failed |= value.kind == VALUE_ERROR;
	return term_value(value);
}

static Term builtin_extreme(Elab *el, const Node *call, bool is_max)
{
	Term best = {0};
	Node op = {.kind = N_BINARY, .loc = call->loc, .op = name_of(el->c, "+")};
	for (uint32_t i = 1; i < call->kid_count && !el->failed; i++) {
		Term t = elab_expr(el, call->kids[i]);
		if (i == 1) {
			best = t;
		} else if (!best.expr && !t.expr) {
			Term both[2] = {best, t};
			best = fold_call(el, call, both, 2);
		} else {
			/* typed like any operator: borrow + for the common type */
			KType type = term_expr(el, term_binary(el, &op, best, t))->type;
			best =
				term_of(kexpr_binary(el->k, is_max ? OP_MAX : OP_MIN, term_as(el, best, type), term_as(el, t, type)));
		}
	}
	return best;
}

static Term builtin_unary(Elab *el, const Node *call, KOp op, bool is_real)
{
	Term a = elab_expr(el, call->kids[1]);
	if (el->failed)
		return a;
	if (!a.expr)
		return fold_call(el, call, &a, 1);
	KExpr *e = a.expr;
	if (is_real && e->type < T_F32) {
		if (op != OP_SQRT && op != OP_IS_NAN)
			return a; /* rounding a whole number */
		e = kexpr_cast(el->k, T_F32, e);
	}
	return term_of(kexpr_unary(el->k, op, e->type == T_BOOL ? kexpr_cast(el->k, T_I32, e) : e));
}

static Term builtin_clamp(Elab *el, const Node *call)
{
	Term t[3];
	for (int i = 0; i < 3; i++)
		t[i] = elab_expr(el, call->kids[i + 1]);
	if (el->failed)
		return t[0];
	KType type = term_expr(el, t[0])->type;
	if (type < T_F32 && (term_expr(el, t[1])->type >= T_F32 || term_expr(el, t[2])->type >= T_F32))
		type = T_F32;
	KExpr *low = kexpr_binary(el->k, OP_MAX, term_as(el, t[0], type), term_as(el, t[1], type));
	return term_of(kexpr_binary(el->k, OP_MIN, low, term_as(el, t[2], type)));
}

static Term builtin_extent(Elab *el, const Node *call)
{
	const Node *name = call->kids[1];
	const Axis *axis = name->kind == N_NAME ? env_axis(el, name->name) : NULL;
	int64_t value;
	if (!axis) {
		elab_error(el, name->loc, "extent() needs an axis that is in scope");
		return term_int(call->loc, 0);
	}
	if (kexpr_is_const(axis->extent, &value))
		return term_int(call->loc, value);
	return term_of(axis->extent);
}

static Term builtin_store(Elab *el, const Node *call, Store store, KOp op)
{
	Term a = elab_expr(el, call->kids[call->kid_count - 1]);
	if (el->failed)
		return a;
	KType type = store_type(store);
	KExpr *e = term_expr(el, a);
	if (op == OP_FROM_BITS && e->type != T_I32 && e->type != T_I64)
		elab_error(el, call->loc, "from_bits needs a whole number");
	if (el->failed)
		return a;
	if (op == OP_FROM_BITS)
		return term_of(kexpr_store(el->k, op, store, e));
	bool is_int = type == T_I32 || type == T_I64;
	bool is_whole = (store.kind == STORE_INT || store.kind == STORE_UINT) && (store.bits == 32 || store.bits == 64);
	if (op == OP_STORE_AS && (store.kind == STORE_F32 || store.kind == STORE_F64 || is_whole))
		return term_of(kexpr_cast(el->k, type, e));
	if (!is_int && e->type < T_F32)
		e = kexpr_cast(el->k, T_F32, e);
	return term_of(kexpr_store(el->k, op, store, e));
}

/* bits(f16, x), from_bits(f16, n), f16(x): through storage types */
static bool elab_store_call(Elab *el, const Node *call, Term *out)
{
	if (call->kids[0]->kind != N_NAME)
		return false;
	Store store = store_find(call->kids[0]->name);
	if (store.kind != STORE_NONE && call->kid_count == 2) {
		*out = builtin_store(el, call, store, OP_STORE_AS);
		return true;
	}
	bool is_bits = is_call_of(call, "bits", 2);
	if (!is_bits && !is_call_of(call, "from_bits", 2))
		return false;
	store = call->kids[1]->kind == N_NAME ? store_find(call->kids[1]->name) : (Store){0};
	if (store.kind == STORE_NONE)
		elab_error(el, call->kids[1]->loc, "expected a storage type such as f16");
	else
		*out = builtin_store(el, call, store, is_bits ? OP_BITS : OP_FROM_BITS);
	return true;
}

static Term elab_call_expr(Elab *el, const Node *call)
{
	Name name = node_path(el->c, call->kids[0]);
	const Decl *fn = name ? program_find(el->p, DECL_FN, name) : NULL;
	Term term = term_int(call->loc, 0);
	if (elab_is_reduction(el, call))
		return elab_reduction(el, call);
	if (fn && fn->node->kids[2]->kind != N_BODY)
		return elab_call_expression(el, call, fn);
	Entity *result = elab_entity(el, call);
	if (result || el->failed)
		return result ? elab_load(el, call, result, false) : term;
	if (is_call_of(call, "stored", 1)) {
		Entity *entity = elab_entity(el, call->kids[1]);
		if (entity)
			return elab_load(el, call, entity, true);
		elab_error(el, call->loc, "stored() needs a field with a storage type");
		return term;
	}
	if (is_call_of(call, "extent", 1))
		return builtin_extent(el, call);
	if (is_call_of(call, "given", 1) && call->kids[1]->kind == N_NAME) {
		bool is_there;
		if (net_knows_weight(el, call->kids[1]->name, &is_there))
			return term_value(value_bool(call->loc, is_there));
		Entity *entity = env_find(el, call->kids[1]->name);
		if (entity)
			return term_value(value_bool(call->loc, entity->kind != ENTITY_VALUE || entity->value.kind != VALUE_NONE));
	}
	if (is_call_of(call, "clamp", 3))
		return builtin_clamp(el, call);
	if (name && (!strcmp(name, "min") || !strcmp(name, "max")) && call->kid_count > 2)
		return builtin_extreme(el, call, name[1] == 'a');
	if (elab_store_call(el, call, &term))
		return term;
	if (is_call_of(call, "xor", 2)) {
		KExpr *a = term_expr(el, elab_expr(el, call->kids[1])), *b = term_expr(el, elab_expr(el, call->kids[2]));
		if (a->type != b->type || (a->type != T_I32 && a->type != T_I64))
			elab_error(el, call->loc, "xor needs whole numbers");
		return el->failed ? term : term_of(kexpr_binary(el->k, OP_BIT_XOR, a, b));
	}
	for (size_t i = 0; i < sizeof unary_functions / sizeof *unary_functions; i++)
		if (is_call_of(call, unary_functions[i].name, 1))
			return builtin_unary(el, call, unary_functions[i].op, unary_functions[i].is_real);
	Value value = value_eval(el->p, el->scope, call); /* given(x), a dtype's argument, or the error */
	el->failed |= value.kind == VALUE_ERROR;
	return term_value(value);
}

/* ---- expressions ---- */

static Term elab_name(Elab *el, const Node *node)
{
	Entity *entity = elab_entity(el, node);
	if (el->failed)
		return term_int(node->loc, 0);
	if (entity)
		return elab_load(el, node, entity, false);
	if (node->kind == N_INDEX) {
		elab_error(el, node->loc, "only arrays have subscripts");
		return term_int(node->loc, 0);
	}
	if (node->kind == N_FIELD) {
		Entity *base = elab_entity(el, node->kids[0]);
		if (base && base->kind == ENTITY_VALUE && base->value.kind == VALUE_DTYPE && !strcmp(node->name, "block"))
			return term_int(node->loc, dtype_block(el, base->value.dtype));
	}
	Value value = value_eval(el->p, el->scope, node);
	el->failed |= value.kind == VALUE_ERROR;
	return term_value(value);
}

/* Operators that are equations of the library where a side is an array. */
static const struct {
	const char *op, *fn;
} operators[] = {
	{"^", "pow"},
};

static const Decl *operator_function(Elab *el, const Node *node)
{
	for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
		if (!strcmp(node->op, operators[i].op))
			return program_find(el->p, DECL_FN, name_of(el->c, operators[i].fn));
	return NULL;
}

Term elab_expr(Elab *el, const Node *node)
{
	if (el->failed)
		return term_int(node->loc, 0);
	switch (node->kind) {
	case N_NAME:
	case N_INDEX:
	case N_FIELD:
		return elab_name(el, node);
	case N_ARG:
		return elab_expr(el, node->kids[0]);
	case N_CALL:
		return elab_call_expr(el, node);
	case N_UNARY: {
		Term a = elab_expr(el, node->kids[0]);
		return el->failed ? a : term_unary(el, node, a);
	}
	case N_BINARY: {
		if (elab_is_selection(el, node))
			return elab_selection(el, node);
		Term sides[2] = {elab_expr(el, node->kids[0]), elab_expr(el, node->kids[1])};
		const Decl *fn = sides[0].expr || sides[1].expr ? operator_function(el, node) : NULL;
		if (el->failed)
			return sides[0];
		return fn ? elab_call_terms(el, node, fn, sides) : term_binary(el, node, sides[0], sides[1]);
	}
	case N_IF: {
		Term c = elab_expr(el, node->kids[0]);
		if (el->failed)
			return c;
		if (!c.expr)
			return elab_expr(el, node->kids[c.value.is_true ? 1 : 2]);
		bool in_choice = el->in_choice;
		el->in_choice = true;
		Term a = elab_expr(el, node->kids[1]), b = elab_expr(el, node->kids[2]);
		el->in_choice = in_choice;
		return el->failed ? a : term_select(el, node->loc, c, a, b);
	}
	default: {
		Value value = value_eval(el->p, el->scope, node);
		el->failed |= value.kind == VALUE_ERROR;
		return term_value(value);
	}
	}
}

KExpr *elab_int(Elab *el, const Node *node)
{
	Term term = elab_expr(el, node);
	KExpr *e = el->failed ? kexpr_int(el->k, T_I32, 0) : term_expr(el, term);
	if (e->type != T_I32 && e->type != T_I64) {
		elab_error(el, node->loc, "a subscript needs a whole number");
		return kexpr_int(el->k, T_I32, 0);
	}
	return e;
}
