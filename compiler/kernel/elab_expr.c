/* SPDX-License-Identifier: MIT
 *
 * elab_expr.c: scalar expressions of equations, and what names, fields and
 * slices in them stand for. Functions are inlined: scalar arguments as terms,
 * array arguments as views; a body's steps come before the step in hand.
 */
#include "elaborate.h"

#include <string.h>

enum { MAX_CALL_DEPTH = 64, LARGE_ARGUMENT = 6 };

/* ---- arrays and structs ---- */

/* let nf4 = [...]: constant data */
static Entity *list_entity(Elab *el, const Node *node, const Value *list)
{
	bool is_int = true;
	for (size_t i = 0; i < list->count; i++) {
		if (!value_is_number(&list->items[i])) {
			elab_error(el, node->loc, "\"%s\" is a list that holds more than numbers", node->name);
			return NULL;
		}
		is_int &= list->items[i].kind == VALUE_INT;
	}
	KExpr *extent = kexpr_int(el->k, T_I32, (int64_t)list->count);
	Store store = store_of_type(is_int ? T_I32 : T_F32);
	KBuffer *buffer = kbuffer_new(el->k, BUFFER_TABLE, node->name, store, 1, &extent);
	int32_t *ints = arena_array(el->c->arena, int32_t, list->count);
	float *reals = (float *)ints;
	for (size_t i = 0; i < list->count; i++) {
		if (is_int)
			ints[i] = (int32_t)list->items[i].integer;
		else
			reals[i] = (float)list->items[i].real;
	}
	buffer->data = ints;
	Env *global = el->env;
	while (global->outer)
		global = global->outer;
	Entity *entity = env_define(el, global, node->name, ENTITY_VIEW, node->loc);
	entity->view = view_whole(el, buffer);
	return entity;
}

static Entity *name_entity(Elab *el, const Node *node)
{
	Entity *entity = env_find(el, node->name);
	if (entity && entity->kind == ENTITY_VALUE && entity->value.kind == VALUE_LIST)
		return list_entity(el, node, &entity->value);
	if (entity || el->failed)
		return entity;
	if (!program_find(el->p, DECL_LET, node->name))
		return NULL;
	Value value = value_eval(el->p, el->scope, node);
	el->failed |= value.kind == VALUE_ERROR;
	return value.kind == VALUE_LIST ? list_entity(el, node, &value) : NULL;
}

/* w[o, g, k] of a w[o, i] with `block i = g*m + k` */
static const Block *block_of(const Elab *el, Name axis, const Node *outer, const Node *inner)
{
	const Block *only = NULL;
	int count = 0;
	for (const Env *env = el->env; env; env = env->outer) {
		for (size_t i = 0; i < env->blocks.count; i++) {
			const Block *block = &env->blocks.at[i];
			if (block->axis != axis)
				continue;
			if (outer->name == block->outer && inner->name == block->inner)
				return block;
			only = block;
			count++;
		}
	}
	return count == 1 ? only : NULL;
}

bool elab_subscripts(Elab *el, const Node *index, const View *view, KExpr **out, uint32_t first)
{
	uint32_t given = index->kid_count - first, extra = given > view->rank ? given - view->rank : 0;
	uint32_t at = first;
	for (uint32_t d = 0; d < view->rank; d++) {
		if (at >= index->kid_count) {
			elab_error(
				el, index->loc, "%u subscript%s where the array has %u axes", given, given == 1 ? "" : "s", view->rank);
			return false;
		}
		const Node *sub = index->kids[at++];
		const Block *block =
			extra ? block_of(el, view->formal[d]->name, sub, index->kids[at < index->kid_count ? at : at - 1]) : NULL;
		if (sub->kind == N_SLICE || sub->kind == N_STAR) {
			out[d] = NULL;
		} else if (block && at < index->kid_count) {
			KExpr *scaled = kexpr_binary(el->k, OP_MUL, elab_int(el, sub), block->size);
			out[d] = kexpr_binary(el->k, OP_ADD, scaled, elab_int(el, index->kids[at++]));
			extra--;
		} else {
			out[d] = elab_int(el, sub);
		}
		if (el->failed)
			return false;
	}
	if (at != index->kid_count) {
		elab_error(el, index->loc, "%u subscript%s where the array has %u ax%s", given, given == 1 ? "" : "s",
			view->rank, view->rank == 1 ? "is" : "es");
		return false;
	}
	return true;
}

static Entity *slice_entity(Elab *el, const Node *index, const Entity *base)
{
	Entity *out = arena_new_of(el->c->arena, Entity);
	*out = *base;
	KExpr *subs[K_MAX_RANK];
	if (base->kind == ENTITY_STRUCT) {
		Env *members = arena_new_of(el->c->arena, Env);
		for (size_t i = 0; i < base->members->names.count; i++) {
			const Binding *member = &base->members->names.at[i];
			uint32_t given = index->kid_count - 1, rank = member->entity->view.rank;
			if (member->entity->kind != ENTITY_VIEW || given > rank) {
				elab_error(el, index->loc, "too many subscripts");
				return NULL;
			}
			View head = member->entity->view;
			head.rank = given;
			if (!elab_subscripts(el, index, &head, subs, 1))
				return NULL;
			for (uint32_t d = given; d < rank; d++)
				subs[d] = NULL;
			Entity *sliced = env_define(el, members, member->name, ENTITY_VIEW, index->loc);
			sliced->view = view_slice(el, &member->entity->view, subs);
		}
		out->members = members;
		return out;
	}
	if (!elab_subscripts(el, index, &base->view, subs, 1))
		return NULL;
	out->view = view_slice(el, &base->view, subs);
	if (base->stored.buffer)
		out->stored = view_slice(el, &base->stored, subs);
	return out;
}

static Entity *call_entity(Elab *el, const Node *node)
{
	Name name = node_path(el->c, node->kids[0]);
	const Decl *fn = name ? program_find(el->p, DECL_FN, name) : NULL;
	return fn && fn->node->kids[2]->kind == N_BODY ? elab_call(el, node, fn) : NULL;
}

Entity *elab_entity(Elab *el, const Node *node)
{
	Entity *base;
	switch (node->kind) {
	case N_NAME:
		return name_entity(el, node);
	case N_INDEX:
		base = elab_entity(el, node->kids[0]);
		if (!base || el->failed || (base->kind != ENTITY_VIEW && base->kind != ENTITY_STRUCT))
			return NULL;
		return slice_entity(el, node, base);
	case N_FIELD:
		base = elab_entity(el, node->kids[0]);
		if (!base || el->failed || base->kind != ENTITY_STRUCT)
			return NULL;
		for (size_t i = 0; i < base->members->names.count; i++)
			if (base->members->names.at[i].name == node->name)
				return base->members->names.at[i].entity;
		elab_error(el, node->loc, "there is no result \"%s\"", node->name);
		return NULL;
	case N_CALL:
		return call_entity(el, node);
	default:
		return NULL;
	}
}

static Term load_entity(Elab *el, const Node *node, const Entity *entity, bool is_stored)
{
	switch (entity->kind) {
	case ENTITY_VALUE:
		return term_value(entity->value);
	case ENTITY_INDEX:
		return term_of(kexpr_index(el->k, entity->index));
	case ENTITY_EXPR:
		return term_of(entity->expr);
	case ENTITY_STRUCT:
		if (entity->members->names.count == 1)
			return load_entity(el, node, entity->members->names.at[0].entity, is_stored);
		elab_error(el, node->loc, "this has several results: write .name after it");
		return term_int(node->loc, 0);
	case ENTITY_VIEW:
		break;
	}
	const View *view = is_stored ? &entity->stored : &entity->view;
	if (!view->buffer) {
		elab_error(el, node->loc, "stored() needs a field with a storage type");
		return term_int(node->loc, 0);
	}
	if (view->rank) {
		elab_error(el, node->loc, "%u more subscript%s needed here", view->rank, view->rank == 1 ? " is" : "s are");
		return term_int(node->loc, 0);
	}
	return term_of(view_load(el, view, NULL));
}

/* ---- calls of functions ---- */

static uint32_t expr_size(const KExpr *e, uint32_t limit)
{
	uint32_t size = 1;
	for (int i = 0; i < 3 && e->args[i] && size < limit; i++)
		size += expr_size(e->args[i], limit - size);
	return size;
}

/* A long argument that may be read several times becomes an array over the indices in hand. */
static KExpr *share(Elab *el, Name name, KExpr *e)
{
	if (expr_size(e, LARGE_ARGUMENT) < LARGE_ARGUMENT)
		return e;
	KBuffer *buffer = elab_temp(el, name, store_of_type(e->type), el->domain, el->domain_count);
	KExpr *subs[K_MAX_RANK];
	for (uint32_t i = 0; i < el->domain_count; i++)
		subs[i] = kexpr_index(el->k, el->domain[i]);
	vec_push(el->c->arena, el->out, kstep_map(el->k, buffer, subs, el->domain, el->domain_count, e));
	return kexpr_load(el->k, buffer, subs);
}

static bool bind_parameter(Elab *el, Env *env, const Node *param, const Node *given)
{
	if (!given) { /* the default: a compile-time value */
		Value value = value_eval(el->p, el->scope, param->kids[2]);
		el->failed |= value.kind == VALUE_ERROR;
		env_define(el, env, param->name, ENTITY_VALUE, param->loc)->value = value;
		return !el->failed;
	}
	const Node *axes = param->kids[0];
	Entity *entity = axes ? elab_entity(el, given) : NULL;
	if (entity && !el->failed) {
		uint32_t rank = axes->kid_count;
		if (entity->kind != ENTITY_VIEW || entity->view.rank != rank) {
			elab_error(el, given->loc, "\"%s\" needs an array of %u axes", param->name, rank);
			return false;
		}
		Entity *bound = env_define(el, env, param->name, ENTITY_VIEW, given->loc);
		*bound = *entity;
		for (uint32_t i = 0; i < rank; i++) {
			Axis axis = {axes->kids[i]->name, entity->view.extent[i], given->loc};
			if (axes->kids[i]->kind == N_NAME)
				vec_push(el->c->arena, &env->axes, axis);
		}
		return true;
	}
	if (axes && !el->failed) {
		elab_error(el, given->loc, "\"%s\" needs an array", param->name);
		return false;
	}
	Term term = elab_expr(el, given);
	if (el->failed)
		return false;
	Store type = param->kids[1] ? store_find(param->kids[1]->name) : (Store){0};
	if (term.expr && type.kind != STORE_NONE)
		term.expr = kexpr_cast(el->k, store_type(type), term.expr);
	if (term.expr)
		env_define(el, env, param->name, ENTITY_EXPR, given->loc)->expr = share(el, param->name, term.expr);
	else
		env_define(el, env, param->name, ENTITY_VALUE, given->loc)->value = term.value;
	return true;
}

/* The parameters of fn bound to the call's arguments; NULL: reported. */
static Env *bind_call(Elab *el, const Node *call, const Decl *fn)
{
	const Node *params = decl_params(fn);
	Node **given = arena_array(el->c->arena, Node *, params->kid_count + 1);
	if (el->depth >= MAX_CALL_DEPTH) {
		elab_error(el, call->loc, "fn %s calls itself", fn->name);
		return NULL;
	}
	if (!arguments_place(el->p, fn, call, given)) {
		el->failed = true;
		return NULL;
	}
	Env *env = arena_new_of(el->c->arena, Env);
	for (uint32_t i = 0; i < params->kid_count; i++)
		if (!bind_parameter(el, env, params->kids[i], given[i]))
			return NULL;
	return env;
}

static Term call_expression(Elab *el, const Node *call, const Decl *fn)
{
	Env *env = bind_call(el, call, fn);
	if (!env)
		return term_int(call->loc, 0);
	Env *saved = el->env;
	el->env = env;
	el->depth++;
	Term term = elab_expr(el, fn->node->kids[2]);
	el->depth--;
	el->env = saved;
	return term;
}

Entity *elab_call(Elab *el, const Node *call, const Decl *fn)
{
	Env *env = bind_call(el, call, fn);
	if (!env)
		return NULL;
	Env *saved = el->env;
	uint32_t ambient = el->ambient_count;
	bool in_loop = el->in_loop;
	KExpr *guard = el->guard;
	el->env = env;
	el->ambient_count = el->domain_count;
	el->in_loop = false;
	el->guard = NULL;
	el->depth++;
	elab_body(el, fn->node->kids[2]);
	Entity *result = arena_new_of(el->c->arena, Entity);
	*result = (Entity){.kind = ENTITY_STRUCT, .loc = call->loc, .members = arena_new_of(el->c->arena, Env)};
	const Node *names = fn->node->kids[1];
	for (uint32_t i = 0; names && i < names->kid_count && !el->failed; i++) {
		const Node *name = names->kids[i]->kind == N_INDEX ? names->kids[i]->kids[0] : names->kids[i];
		Entity *member = env_find(el, name->name);
		if (!member) {
			elab_error(el, name->loc, "fn %s does not define its result \"%s\"", fn->name, name->name);
			break;
		}
		*env_define(el, result->members, name->name, member->kind, member->loc) = *member;
	}
	el->depth--;
	el->guard = guard;
	el->in_loop = in_loop;
	el->ambient_count = ambient;
	el->domain_count = el->domain_count > ambient ? el->domain_count : ambient;
	el->env = saved;
	return el->failed ? NULL : result;
}

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
		return call_expression(el, call, fn);
	if (fn) {
		Entity *result = elab_call(el, call, fn);
		return result ? load_entity(el, call, result, false) : term;
	}
	if (is_call_of(call, "stored", 1)) {
		Entity *entity = elab_entity(el, call->kids[1]);
		if (entity)
			return load_entity(el, call, entity, true);
		elab_error(el, call->loc, "stored() needs a field with a storage type");
		return term;
	}
	if (is_call_of(call, "extent", 1))
		return builtin_extent(el, call);
	if (is_call_of(call, "given", 1) && call->kids[1]->kind == N_NAME) {
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
		return load_entity(el, node, entity, false);
	if (node->kind == N_INDEX) {
		elab_error(el, node->loc, "only arrays have subscripts");
		return term_int(node->loc, 0);
	}
	if (node->kind == N_FIELD) {
		Entity *base = elab_entity(el, node->kids[0]);
		if (base && base->kind == ENTITY_VALUE && base->value.kind == VALUE_DTYPE && !strcmp(node->name, "block"))
			return term_int(node->loc, dtype_block_elements(el->p, base->value.dtype));
	}
	Value value = value_eval(el->p, el->scope, node);
	el->failed |= value.kind == VALUE_ERROR;
	return term_value(value);
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
		Term a = elab_expr(el, node->kids[0]), b = elab_expr(el, node->kids[1]);
		return el->failed ? a : term_binary(el, node, a, b);
	}
	case N_IF: {
		Term c = elab_expr(el, node->kids[0]);
		if (el->failed)
			return c;
		if (!c.expr)
			return elab_expr(el, node->kids[c.value.is_true ? 1 : 2]);
		Term a = elab_expr(el, node->kids[1]), b = elab_expr(el, node->kids[2]);
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
