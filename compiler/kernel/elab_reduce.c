/* SPDX-License-Identifier: MIT
 *
 * elab_reduce.c: reductions (sum[k](e), argmax, quantile, ..) and the operators
 * that keep their axis (rank, prefix, sort). Each becomes a step of its own, over
 * no more indices than its value depends on; what is left in the expression is a
 * load of its result.
 */
#include "elaborate.h"

#include <string.h>

enum { SCAN = 100, MEAN = 200 };

static const struct {
	const char *name;
	int op; /* KReduce, SCAN + KScan, or MEAN */
} reductions[] = {
	{"sum", REDUCE_SUM},
	{"prod", REDUCE_PROD},
	{"max", REDUCE_MAX},
	{"min", REDUCE_MIN},
	{"any", REDUCE_ANY},
	{"all", REDUCE_ALL},
	{"count", REDUCE_COUNT},
	{"argmax", REDUCE_ARGMAX},
	{"argmin", REDUCE_ARGMIN},
	{"quantile", REDUCE_QUANTILE},
	{"mean", MEAN},
	{"rank", SCAN + SCAN_RANK},
	{"prefix", SCAN + SCAN_PREFIX},
	{"sort", SCAN + SCAN_SORT},
};

static int reduction_of(const Node *call)
{
	if (call->kind != N_CALL || call->kids[0]->kind != N_INDEX || call->kids[0]->kids[0]->kind != N_NAME)
		return -1;
	for (size_t i = 0; i < sizeof reductions / sizeof *reductions; i++)
		if (!strcmp(call->kids[0]->kids[0]->name, reductions[i].name))
			return reductions[i].op;
	return -1;
}

bool elab_is_reduction(Elab *el, const Node *call)
{
	(void)el;
	return reduction_of(call) >= 0;
}

/* ---- extents from use ---- */

typedef struct Inference {
	Elab *el;
	Name index;
	KExpr *extent;
	Loc where;
} Inference;

static void infer_from(Inference *in, KExpr *extent, Loc where)
{
	int64_t a, b;
	if (in->extent && kexpr_is_const(in->extent, &a) && kexpr_is_const(extent, &b) && a != b) {
		if (!in->el->failed) {
			diag_error(in->el->c, where, "index \"%s\" has %lld values here and %lld before", in->index, (long long)b,
				(long long)a);
			diag_note(in->el->c, in->where, "the other extent comes from here");
		}
		in->el->failed = true;
	}
	if (!in->extent) {
		in->extent = extent;
		in->where = where;
	}
}

static bool is_index_name(const Node *node, Name name)
{
	return node->kind == N_NAME && node->name == name;
}

/* Is `name` bound anew by the axes of this reduction? */
static bool rebinds(const Node *axes, Name name)
{
	for (uint32_t i = 1; i < axes->kid_count; i++) {
		const Node *axis = axes->kids[i];
		if (axis->kind == N_BINARY || axis->kind == N_IN || axis->kind == N_BY)
			axis = axis->kids[0];
		if (is_index_name(axis, name))
			return true;
	}
	return false;
}

static void infer_walk(Inference *in, const Node *node);

static void infer_from_array(Inference *in, const Node *index, const View *view)
{
	uint32_t at = 1, extra = index->kid_count - 1 > view->rank ? index->kid_count - 1 - view->rank : 0;
	for (uint32_t d = 0; d < view->rank && at < index->kid_count; d++, at++) {
		const Node *sub = index->kids[at], *next = at + 1 < index->kid_count ? index->kids[at + 1] : NULL;
		const Block *block = extra && next ? elab_block(in->el, view->formal[d]->name, sub, next) : NULL;
		if (block) {
			if (is_index_name(sub, in->index))
				infer_from(in, kexpr_binary(in->el->k, OP_IDIV, view->extent[d], block->size), index->loc);
			if (is_index_name(next, in->index))
				infer_from(in, block->size, index->loc);
			at++;
			extra--;
		} else if (is_index_name(sub, in->index)) {
			infer_from(in, view->extent[d], index->loc);
		}
	}
}

static void infer_walk(Inference *in, const Node *node)
{
	if (node->kind == N_CALL && reduction_of(node) >= 0) {
		if (reduction_of(node) < SCAN || reduction_of(node) == MEAN) {
			if (rebinds(node->kids[0], in->index))
				return;
		}
		for (uint32_t i = 1; i < node->kid_count; i++)
			infer_walk(in, node->kids[i]);
		return;
	}
	if (node->kind == N_INDEX) {
		Entity *base = elab_indexed(in->el, node);
		if (base && base->kind == ENTITY_VIEW)
			infer_from_array(in, node, &base->view);
		else if (base && base->kind == ENTITY_STRUCT && base->members->names.count)
			infer_from_array(in, node, &base->members->names.at[0].entity->view);
	}
	for (uint32_t i = 0; i < node->kid_count && !in->el->failed; i++)
		if (node->kids[i])
			infer_walk(in, node->kids[i]);
}

KExpr *elab_infer_extent(Elab *el, const Node *node, Name index)
{
	Inference in = {.el = el, .index = index};
	infer_walk(&in, node);
	return in.extent;
}

/* ---- axes of a reduction ---- */

typedef struct Over {
	KIndex *index[K_MAX_RANK];
	uint32_t count;
	bool in_order;
	const Node *key;
} Over;

static KIndex *bind_over(Elab *el, const Node *call, const Node *axis, Over *over)
{
	const Node *name = axis;
	KExpr *lo = kexpr_int(el->k, T_I32, 0), *hi = NULL, *extent = NULL;
	if (axis->kind == N_BINARY && !strcmp(axis->op, "<")) {
		name = axis->kids[0];
		hi = extent = elab_int(el, axis->kids[1]);
	} else if (axis->kind == N_IN) {
		name = axis->kids[0];
		const Node *range = axis->kids[1];
		if (range->kind == N_RANGE) {
			lo = elab_int(el, range->kids[0]);
			hi = extent = elab_int(el, range->kids[1]);
		} else {
			over->in_order = true;
		}
	}
	if (name->kind != N_NAME) {
		elab_error(el, axis->loc, "expected an index, as in sum[k](x[k]), sum[k < 32](..) or sum[k in a..b](..)");
		return NULL;
	}
	Entity *other = NULL;
	for (Env *env = el->env; env && !other; env = env->outer)
		for (size_t i = env->names.count; i-- > 0 && !other;)
			if (env->names.at[i].name == name->name && env->names.at[i].entity->kind == ENTITY_INDEX)
				other = env->names.at[i].entity;
	if (other) {
		elab_error(
			el, axis->loc, "index \"%s\" is in scope already: the reduction needs a name of its own", name->name);
		return NULL;
	}
	if (!hi) {
		const Axis *known = env_axis(el, name->name);
		for (uint32_t i = 1; i < call->kid_count && !extent && !el->failed; i++)
			extent = elab_infer_extent(el, call->kids[i], name->name);
		int64_t axis_length, length;
		if (known && extent && kexpr_is_const(known->extent, &axis_length) && kexpr_is_const(extent, &length) &&
			axis_length != length) {
			elab_error(el, axis->loc, "\"%s\" is an axis of %lld values, and what it subscripts here has %lld",
				name->name, (long long)axis_length, (long long)length);
			diag_help(el->c, "take an index of another name, or bound it: %s < n", name->name);
			return NULL;
		}
		hi = extent = known ? known->extent : extent;
	}
	if (!hi && !el->failed)
		elab_error(el, axis->loc, "nothing bounds index \"%s\": write %s < n", name->name, name->name);
	if (el->failed)
		return NULL;
	KIndex *index = elab_index_range(el, name->name, lo, hi, extent);
	env_define(el, el->env, name->name, ENTITY_INDEX, axis->loc)->index = index;
	return index;
}

/* The indices of el->domain[0..count) that e depends on, and that the bounds of `over` do. */
static uint32_t used_domain(const Elab *el, const KExpr *const *values, const Over *over, uint32_t count, KIndex **out)
{
	uint32_t used = 0;
	for (uint32_t i = 0; i < count; i++) {
		KIndex *index = el->domain[i];
		bool is_used = false;
		for (int v = 0; v < 3; v++)
			is_used |= values[v] && kexpr_uses(values[v], index);
		for (uint32_t j = 0; j < over->count; j++)
			is_used |= kexpr_uses(over->index[j]->lo, index) || kexpr_uses(over->index[j]->hi, index);
		if (is_used)
			out[used++] = index;
	}
	return used;
}

static void index_exprs(Elab *el, KIndex *const *indices, uint32_t count, KExpr **out)
{
	for (uint32_t i = 0; i < count; i++)
		out[i] = kexpr_index(el->k, indices[i]);
}

static KExpr *total_extent(Elab *el, const Over *over)
{
	KExpr *total = kexpr_int(el->k, T_I32, 1);
	for (uint32_t i = 0; i < over->count; i++) {
		KExpr *hi = over->index[i]->hi; /* the number of rows is an i64 */
		KExpr *n = kexpr_binary(el->k, OP_SUB, hi, kexpr_cast(el->k, hi->type, over->index[i]->lo));
		total = kexpr_binary(el->k, OP_MUL, kexpr_cast(el->k, T_I64, total), kexpr_cast(el->k, T_I64, n));
	}
	return total;
}

/* The type that a reduction gives, and the value it folds converted for it. */
static KType result_type(Elab *el, int op, const Node *call, KExpr **value)
{
	bool is_logic = op == REDUCE_ANY || op == REDUCE_ALL || op == REDUCE_COUNT;
	if (is_logic && (*value)->type != T_BOOL) {
		elab_error(el, call->loc, "%s needs a condition", call->kids[0]->kids[0]->name);
		return T_BOOL;
	}
	if (!is_logic && (*value)->type == T_BOOL)
		*value = kexpr_cast(el->k, T_I32, *value);
	if (op == MEAN && (*value)->type < T_F32)
		*value = kexpr_cast(el->k, T_F32, *value);
	if (op == REDUCE_ANY || op == REDUCE_ALL)
		return T_BOOL;
	return op == REDUCE_COUNT || op == REDUCE_ARGMAX || op == REDUCE_ARGMIN ? T_I32 : (*value)->type;
}

/* A sum of a product, each factor with a free index that the other lacks. */
static bool is_contraction(const KExpr *value, KIndex *const *domain, uint32_t count)
{
	bool has_left = false, has_right = false;
	if (value->op != OP_MUL)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		bool left = kexpr_uses(value->args[0], domain[i]), right = kexpr_uses(value->args[1], domain[i]);
		has_left |= left && !right;
		has_right |= right && !left;
	}
	return has_left && has_right;
}

static Term reduce(Elab *el, const Node *call, int op)
{
	const Node *axes = call->kids[0];
	Over over = {0};
	if (!elab_family_axes(el, axes))
		return term_int(call->loc, 0);
	uint32_t outer = el->domain_count;
	env_push(el);
	bool is_family = elab_is_over_family(el, axes);
	for (uint32_t i = is_family ? 2 : 1; i < axes->kid_count && !el->failed; i++)
		over.index[over.count++] = bind_over(el, call, axes->kids[i], &over);
	for (uint32_t i = 0; i < over.count && !el->failed; i++)
		el->domain[el->domain_count++] = over.index[i];
	KExpr *value = el->failed ? NULL : term_expr(el, elab_expr(el, call->kids[1]));
	el->domain_count = outer;
	env_pop(el);
	KExpr *limit = NULL;
	if (op == REDUCE_QUANTILE && call->kid_count > 2 && !el->failed)
		limit = term_as(el, elab_expr(el, call->kids[2]), T_F64);
	if (el->failed)
		return term_int(call->loc, 0);
	KType type = result_type(el, op, call, &value);
	if (is_family)
		return el->failed ? term_int(call->loc, 0) : elab_family_count(el, call, value);
	KIndex *domain[24];
	const KExpr *values[3] = {value, limit, NULL};
	uint32_t count = used_domain(el, values, &over, outer, domain);
	KReduce kind = op == MEAN ? REDUCE_SUM : (KReduce)op;
	bool is_product = kind == REDUCE_SUM && is_contraction(value, domain, count);
	if (is_product && el->net)
		value = elab_panels(el, value, domain, count, over.index, over.count, call->loc);
	KBuffer *dst = elab_temp(el, axes->kids[0]->name, store_of_type(type), domain, count);
	KExpr *subs[24];
	index_exprs(el, domain, count, subs);
	KStep *step = kstep_reduce(el->k, kind, dst, subs, domain, count, over.index, over.count, value);
	step->limit = limit;
	step->in_order = over.in_order;
	step->loc = call->loc;
	step->origin = el->origin;
	step->is_contraction = is_product;
	vec_push(el->c->arena, el->out, step);
	KExpr *load = kexpr_load(el->k, dst, subs);
	if (op == MEAN)
		load = kexpr_binary(el->k, OP_DIV, load, kexpr_cast(el->k, type, total_extent(el, &over)));
	return term_of(load);
}

/* ---- operators that keep their axis ---- */

/* Scans use an index of the left side: over a copy of it, then read at the original. */
static bool copy_over(Elab *el, const Node *axes, Over *over, KIndex **original)
{
	for (uint32_t i = elab_is_over_family(el, axes) ? 2 : 1; i < axes->kid_count; i++) {
		const Node *axis = axes->kids[i];
		if (axis->kind == N_BY) {
			over->key = axis->kids[1];
			axis = axis->kids[0];
		}
		Entity *entity = axis->kind == N_NAME ? env_find(el, axis->name) : NULL;
		if (!entity || entity->kind != ENTITY_INDEX) {
			elab_error(el, axis->loc, "%s keeps its axis: it needs an index of the left side", axes->kids[0]->name);
			return false;
		}
		KIndex *index = entity->index;
		original[over->count] = index;
		over->index[over->count++] = elab_index_range(el, index->name, index->lo, index->hi, el->bound[index->id]);
	}
	env_push(el);
	for (uint32_t i = 0; i < over->count; i++)
		env_define(el, el->env, over->index[i]->name, ENTITY_INDEX, axes->loc)->index = over->index[i];
	return true;
}

static Term scan(Elab *el, const Node *call, KScan kind, const Node *limit_node)
{
	Over over = {0};
	KIndex *original[K_MAX_RANK], *outer[24];
	uint32_t outer_count = el->domain_count;
	if (!elab_family_axes(el, call->kids[0]))
		return term_int(call->loc, 0);
	if (elab_is_over_family(el, call->kids[0]) && kind != SCAN_SMALLEST)
		elab_error(el, call->loc, "over a family, rank stands in %s[..](..) < n only", call->kids[0]->kids[0]->name);
	else if (elab_is_over_family(el, call->kids[0]) && !el->family->is_alone)
		return elab_family_selection(el, call, limit_node);
	memcpy(outer, el->domain, sizeof outer);
	KExpr *limit = limit_node ? term_expr(el, elab_expr(el, limit_node)) : NULL;
	if (el->failed || !copy_over(el, call->kids[0], &over, original))
		return term_int(call->loc, 0);
	for (uint32_t i = 0; i < outer_count; i++)
		for (uint32_t j = 0; j < over.count; j++)
			if (el->domain[i] == original[j])
				el->domain[i] = over.index[j];
	KExpr *value = term_expr(el, elab_expr(el, call->kids[1]));
	KExpr *key = over.key && !el->failed ? term_expr(el, elab_expr(el, over.key)) : NULL;
	env_pop(el);
	memcpy(el->domain, outer, sizeof outer);
	if (el->failed)
		return term_int(call->loc, 0);
	if (limit && limit->type >= T_F32)
		limit = kexpr_cast(el->k, T_I64, kexpr_unary(el->k, OP_CEIL, limit));
	if (value->type == T_BOOL)
		value = kexpr_cast(el->k, T_I32, value);
	KType type = kind == SCAN_RANK ? T_I32 : kind == SCAN_SMALLEST ? T_BOOL : value->type;
	KIndex *all[24];
	KExpr *at[24], *back[24];
	const KExpr *values[3] = {value, key, limit};
	uint32_t count = used_domain(el, values, &over, outer_count, all);
	index_exprs(el, all, count, at);
	index_exprs(el, all, count, back);
	index_exprs(el, over.index, over.count, at + count);
	index_exprs(el, original, over.count, back + count);
	memcpy(all + count, over.index, sizeof *all * over.count);
	KBuffer *dst = elab_temp(el, call->kids[0]->kids[0]->name, store_of_type(type), all, count + over.count);
	KStep *step = kstep_reduce(el->k, REDUCE_SUM, dst, at, all, count, over.index, over.count, value);
	step->kind = STEP_SCAN;
	step->scan = kind;
	step->key = key;
	step->limit = limit;
	step->loc = call->loc;
	step->origin = el->origin;
	vec_push(el->c->arena, el->out, step);
	return term_of(kexpr_load(el->k, dst, back));
}

bool elab_is_selection(Elab *el, const Node *node)
{
	return !strcmp(node->op, "<") && elab_is_reduction(el, node->kids[0]) &&
		   reduction_of(node->kids[0]) == SCAN + SCAN_RANK;
}

Term elab_selection(Elab *el, const Node *node)
{
	return scan(el, node->kids[0], SCAN_SMALLEST, node->kids[1]);
}

Term elab_reduction(Elab *el, const Node *call)
{
	int op = reduction_of(call);
	uint32_t most = op == REDUCE_QUANTILE ? 3 : 2;
	if (call->kid_count != most) {
		elab_error(el, call->loc, "%s[..] takes %s", call->kids[0]->kids[0]->name,
			most == 3 ? "a value and a fraction" : "one value");
		return term_int(call->loc, 0);
	}
	return op >= SCAN && op != MEAN ? scan(el, call, (KScan)(op - SCAN), NULL) : reduce(el, call, op);
}
