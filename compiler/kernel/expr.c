/* SPDX-License-Identifier: MIT
 *
 * expr.c: building expressions of the kernel IR.
 *
 * Every constructor asserts its operands' types and folds what is exactly the
 * same without the operation: constants (by scalar.c, so in the expression's own
 * type), neutral elements, casts that lose nothing. Real arithmetic is never
 * reordered. Nodes are immutable and may be shared: walks that rebuild use a map.
 */
#include "kernel.h"

#include <assert.h>
#include <string.h>

/* ---- types of operands ---- */

typedef enum Typing { TYPING_ARITH, TYPING_REAL, TYPING_INT, TYPING_COMPARE, TYPING_LOGIC, TYPING_OTHER } Typing;

static Typing typing_of(KOp op)
{
	static const uint8_t typings[] = {
#define OP(name, text, arity, typing) TYPING_##typing,
#include "ops.def"
#undef OP
	};
	return (Typing)typings[op];
}

static bool is_real(KType type)
{
	return type == T_F32 || type == T_F64;
}

static bool is_integer(KType type)
{
	return type == T_I32 || type == T_I64;
}

bool kop_takes(KOp op, KType type)
{
	switch (typing_of(op)) {
	case TYPING_ARITH:
		return type != T_BOOL;
	case TYPING_REAL:
		return is_real(type);
	case TYPING_INT:
		return is_integer(type);
	case TYPING_COMPARE:
		return true;
	case TYPING_LOGIC:
		return type == T_BOOL;
	case TYPING_OTHER:
		return op == OP_IS_NAN ? is_real(type) : op == OP_FROM_BITS ? is_integer(type) : true;
	}
	return false;
}

KType kop_gives(KOp op, KType type, Store store)
{
	if (typing_of(op) == TYPING_COMPARE || op == OP_IS_NAN)
		return T_BOOL;
	if (op == OP_STORE_AS || op == OP_FROM_BITS)
		return store_type(store);
	if (op == OP_BITS)
		return store.bits <= 32 ? T_I32 : T_I64;
	return type;
}

/* ---- nodes ---- */

static KExpr *node(Kernel *k, KOp op, KType type)
{
	KExpr *e = arena_new_of(k->c->arena, KExpr);
	e->op = op;
	e->type = type;
	return e;
}

static void node_argument(KExpr *e, uint32_t i, KExpr *argument)
{
	e->args[i] = argument;
	e->uses |= argument->uses;
	e->loads |= argument->loads;
}

KExpr *kexpr_int(Kernel *k, KType type, int64_t value)
{
	assert(!is_real(type));
	KExpr *e = node(k, OP_CONST, type);
	e->integer = type == T_I32 ? (int32_t)(uint32_t)(uint64_t)value : type == T_BOOL ? value != 0 : value;
	return e;
}

KExpr *kexpr_real(Kernel *k, KType type, double value)
{
	assert(is_real(type));
	KExpr *e = node(k, OP_CONST, type);
	e->real = type == T_F32 ? (double)(float)value : value;
	return e;
}

static KExpr *of_value(Kernel *k, KType type, KValue value)
{
	return is_real(type) ? kexpr_real(k, type, value.real) : kexpr_int(k, type, value.integer);
}

KExpr *kexpr_index(Kernel *k, KIndex *index)
{
	KExpr *e = node(k, OP_INDEX, T_I32);
	e->index = index;
	e->uses = UINT64_C(1) << index->id % 64;
	return e;
}

KExpr *kexpr_param(Kernel *k, uint32_t number)
{
	KExpr *e = node(k, OP_PARAM, T_I64);
	e->integer = number;
	if (number >= k->param_count)
		k->param_count = number + 1;
	return e;
}

KExpr *kexpr_load_as(Kernel *k, KBuffer *buffer, KExpr *const *subs, Store store)
{
	assert(store_equal(store, buffer->store) || (buffer->store.kind == STORE_UINT && buffer->store.bits == 8));
	KExpr *e = node(k, OP_LOAD, store_type(store));
	e->store = store;
	e->buffer = buffer;
	e->loads = true;
	e->subs = arena_array(k->c->arena, KExpr *, buffer->rank);
	for (uint32_t i = 0; i < buffer->rank; i++) {
		assert(is_integer(subs[i]->type));
		e->subs[i] = subs[i];
		e->uses |= subs[i]->uses;
	}
	return e;
}

KExpr *kexpr_load(Kernel *k, KBuffer *buffer, KExpr *const *subs)
{
	return kexpr_load_as(k, buffer, subs, buffer->store);
}

/* ---- folding ---- */

static bool is_const(const KExpr *e)
{
	return e->op == OP_CONST;
}

static bool is_int_const(const KExpr *e, int64_t value)
{
	return is_const(e) && !is_real(e->type) && e->integer == value;
}

static bool is_real_const(const KExpr *e, double value)
{
	return is_const(e) && is_real(e->type) && e->real == value;
}

static KValue value_of(const KExpr *e)
{
	return is_real(e->type) ? (KValue){.real = e->real} : (KValue){.integer = e->integer};
}

static KExpr *fold(Kernel *k, KOp op, KType type, Store store, uint32_t count, KExpr *const *args)
{
	KValue values[3];
	for (uint32_t i = 0; i < count; i++) {
		if (!is_const(args[i]))
			return NULL;
		values[i] = value_of(args[i]);
	}
	return of_value(k, type, scalar_apply(op, type, args[count - 1]->type, store, values));
}

/* Every value of `from` is a value of `to`. */
static bool cast_is_exact(KType from, KType to)
{
	static const uint8_t exact[] = {
		[T_BOOL] = 1 << T_BOOL | 1 << T_I32 | 1 << T_I64 | 1 << T_F32 | 1 << T_F64,
		[T_I32] = 1 << T_I32 | 1 << T_I64 | 1 << T_F64,
		[T_I64] = 1 << T_I64,
		[T_F32] = 1 << T_F32 | 1 << T_F64,
		[T_F64] = 1 << T_F64,
	};
	return exact[from] >> to & 1;
}

KExpr *kexpr_cast(Kernel *k, KType type, KExpr *a)
{
	if (a->type == type)
		return a;
	KExpr *folded = fold(k, OP_CAST, type, (Store){0}, 1, &a);
	if (folded)
		return folded;
	if (a->op == OP_CAST && cast_is_exact(a->args[0]->type, a->type))
		return kexpr_cast(k, type, a->args[0]);
	KExpr *e = node(k, OP_CAST, type);
	node_argument(e, 0, a);
	return e;
}

KExpr *kexpr_unary(Kernel *k, KOp op, KExpr *a)
{
	assert(kop_arity(op) == 1 && kop_takes(op, a->type) && op != OP_CAST);
	assert(op != OP_STORE_AS && op != OP_BITS && op != OP_FROM_BITS);
	KType type = kop_gives(op, a->type, (Store){0});
	KExpr *folded = fold(k, op, type, (Store){0}, 1, &a);
	if (folded)
		return folded;
	if ((op == OP_NEG || op == OP_NOT || op == OP_BIT_NOT) && a->op == op)
		return a->args[0];
	KExpr *e = node(k, op, type);
	node_argument(e, 0, a);
	return e;
}

KExpr *kexpr_store(Kernel *k, KOp op, Store store, KExpr *a)
{
	assert((op == OP_STORE_AS || op == OP_BITS || op == OP_FROM_BITS) && kop_takes(op, a->type));
	KType type = kop_gives(op, a->type, store);
	KExpr *folded = fold(k, op, type, store, 1, &a);
	if (folded)
		return folded;
	/* What was read from, or rounded into, this storage is already its own image. */
	bool is_image = (a->op == OP_LOAD || a->op == OP_STORE_AS) && store_equal(a->store, store);
	if (op == OP_STORE_AS && (is_image || store_equal(store, store_of_type(a->type))))
		return a;
	if (op == OP_BITS && a->op == OP_STORE_AS && store_equal(a->store, store))
		a = a->args[0];
	KExpr *e = node(k, op, type);
	e->store = store;
	node_argument(e, 0, a);
	return e;
}

static bool commutes(KOp op)
{
	return op == OP_ADD || op == OP_MUL || op == OP_BIT_AND || op == OP_BIT_OR || op == OP_BIT_XOR || op == OP_MIN ||
		   op == OP_MAX;
}

/* Integers wrap, so a constant may move through sums and products: (x + 3) - 5 is x + -2. */
static KExpr *fold_integer_chain(Kernel *k, KOp op, KExpr *a, KExpr *b)
{
	if (op == OP_SUB && is_const(b))
		return kexpr_binary(k, OP_ADD, a, kexpr_unary(k, OP_NEG, b));
	if ((op == OP_ADD || op == OP_MUL) && is_const(b) && a->op == op && is_const(a->args[1]))
		return kexpr_binary(k, op, a->args[0], kexpr_binary(k, op, a->args[1], b));
	return NULL;
}

static KExpr *fold_integer(Kernel *k, KOp op, KExpr *a, KExpr *b)
{
	bool is_zero = is_int_const(b, 0), is_one = is_int_const(b, 1);
	switch (op) {
	case OP_ADD:
	case OP_SUB:
	case OP_BIT_OR:
	case OP_BIT_XOR:
	case OP_SHL:
	case OP_SHR:
		if (is_zero)
			return a;
		break;
	case OP_MUL:
		if (is_zero || is_one)
			return is_one ? a : b;
		break;
	case OP_IDIV:
		if (is_zero || is_one)
			return is_one ? a : b;
		break;
	case OP_IMOD:
		if (is_zero || is_one)
			return kexpr_int(k, a->type, 0);
		break;
	case OP_BIT_AND:
		if (is_zero || is_int_const(b, -1))
			return is_zero ? b : a;
		break;
	case OP_AND:
		if (is_const(a) || is_const(b))
			return is_const(a) ? (a->integer ? b : a) : b->integer ? a : b;
		break;
	case OP_OR:
		if (is_const(a) || is_const(b))
			return is_const(a) ? (a->integer ? a : b) : b->integer ? b : a;
		break;
	default:
		break;
	}
	return fold_integer_chain(k, op, a, b);
}

/* x * 1, x / 1 and x - 0 are x whatever x is; x + 0 is not (-0). */
static KExpr *fold_real(KOp op, KExpr *a, KExpr *b)
{
	if ((op == OP_MUL || op == OP_DIV) && is_real_const(b, 1))
		return a;
	if (op == OP_MUL && is_real_const(a, 1))
		return b;
	bool is_plus_zero = is_real_const(b, 0) && 1 / b->real > 0;
	return op == OP_SUB && is_plus_zero ? a : NULL;
}

KExpr *kexpr_binary(Kernel *k, KOp op, KExpr *a, KExpr *b)
{
	assert(kop_arity(op) == 2 && a->type == b->type && kop_takes(op, a->type));
	KType type = kop_gives(op, a->type, (Store){0});
	KExpr *args[] = {a, b};
	KExpr *folded = fold(k, op, type, (Store){0}, 2, args);
	if (folded)
		return folded;
	if (is_real(a->type)) {
		folded = fold_real(op, a, b);
	} else {
		if (is_const(a) && commutes(op)) {
			a = args[1];
			b = args[0];
		}
		folded = fold_integer(k, op, a, b);
	}
	if (folded)
		return folded;
	KExpr *e = node(k, op, type);
	node_argument(e, 0, a);
	node_argument(e, 1, b);
	return e;
}

KExpr *kexpr_select(Kernel *k, KExpr *condition, KExpr *a, KExpr *b)
{
	assert(condition->type == T_BOOL && a->type == b->type);
	if (is_const(condition))
		return condition->integer ? a : b;
	if (a == b)
		return a;
	KExpr *e = node(k, OP_SELECT, a->type);
	node_argument(e, 0, condition);
	node_argument(e, 1, a);
	node_argument(e, 2, b);
	return e;
}

/* ---- maps from nodes ---- */

static size_t map_slot(const KExprMap *map, const KExpr *e)
{
	size_t slot = (size_t)(((uintptr_t)e >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (map->capacity - 1);
	while (map->keys[slot] && map->keys[slot] != e)
		slot = (slot + 1) & (map->capacity - 1);
	return slot;
}

void **kexprmap_at(KExprMap *map, const KExpr *e)
{
	if (map->count * 2 >= map->capacity) {
		KExprMap old = *map;
		map->capacity = old.capacity ? old.capacity * 2 : 16;
		map->keys = arena_array(map->arena, const KExpr *, map->capacity);
		map->values = arena_array(map->arena, void *, map->capacity);
		for (size_t i = 0; i < old.capacity; i++) {
			if (!old.keys[i])
				continue;
			size_t slot = map_slot(map, old.keys[i]);
			map->keys[slot] = old.keys[i];
			map->values[slot] = old.values[i];
		}
	}
	size_t slot = map_slot(map, e);
	if (!map->keys[slot]) {
		map->keys[slot] = e;
		map->count++;
	}
	return &map->values[slot];
}

/* ---- substitution ---- */

typedef struct Substitution {
	Kernel *k;
	const KIndex *index;
	KExpr *by;
	KExprMap done;
} Substitution;

static KExpr *substitute(Substitution *s, KExpr *e);

static KExpr *substitute_load(Substitution *s, KExpr *e)
{
	KExpr *subs[K_MAX_RANK];
	for (uint32_t i = 0; i < e->buffer->rank; i++)
		subs[i] = substitute(s, e->subs[i]);
	return kexpr_load_as(s->k, e->buffer, subs, e->store);
}

KExpr *kexpr_rebuild(Kernel *k, const KExpr *e, KExpr *const *args)
{
	switch (e->op) {
	case OP_CAST:
		return kexpr_cast(k, e->type, args[0]);
	case OP_STORE_AS:
	case OP_BITS:
	case OP_FROM_BITS:
		return kexpr_store(k, e->op, e->store, args[0]);
	case OP_SELECT:
		return kexpr_select(k, args[0], args[1], args[2]);
	default:
		return kop_arity(e->op) == 1 ? kexpr_unary(k, e->op, args[0]) : kexpr_binary(k, e->op, args[0], args[1]);
	}
}

static KExpr *substitute(Substitution *s, KExpr *e)
{
	if (!(e->uses >> s->index->id % 64 & 1))
		return e;
	if (e->op == OP_INDEX)
		return e->index == s->index ? s->by : e;
	KExpr *known = *kexprmap_at(&s->done, e);
	if (known)
		return known;
	KExpr *args[3] = {0}, *made;
	uint32_t arity = kop_arity(e->op);
	bool is_changed = e->op == OP_LOAD;
	for (uint32_t i = 0; i < arity; i++) {
		args[i] = substitute(s, e->args[i]);
		is_changed |= args[i] != e->args[i];
	}
	if (!is_changed)
		made = e;
	else
		made = e->op == OP_LOAD ? substitute_load(s, e) : kexpr_rebuild(s->k, e, args);
	*kexprmap_at(&s->done, e) = made;
	return made;
}

KExpr *kexpr_substitute(Kernel *k, KExpr *e, const KIndex *index, KExpr *by)
{
	assert(by->type == T_I32);
	Substitution s = {.k = k, .index = index, .by = by, .done = {.arena = k->c->arena}};
	return substitute(&s, e);
}
