/* SPDX-License-Identifier: MIT
 *
 * print.c: kernels as text, for --emit=kernels, the REPL and golden tests.
 *
 * One line a step, nesting by indentation, infix with the fewest parentheses that
 * keep the tree (a + (b + c) keeps its own: reals do not associate). Buffers and
 * indices that share a name are told apart by ".2", ".3" in order of creation, so
 * the text depends on the kernel alone.
 */
#include "kernel.h"

#include <math.h>
#include <string.h>

typedef struct Printer {
	const Kernel *k;
	Text *to;
	const char **buffers; /* printed names by id */
	VEC(const KIndex *) scope;
	VEC(const char *) scope_names;
	Name origin; /* the last one that was printed */
} Printer;

static const char *kernel_param(int64_t number, char *scratch, size_t size)
{
	if (number == 0)
		return "rows";
	snprintf(scratch, size, "p%lld", (long long)number);
	return scratch;
}

/* ---- names ---- */

static void name_buffers(Printer *p)
{
	Arena *arena = p->to->arena;
	const KBufferVec *all = &p->k->buffers;
	p->buffers = arena_array(arena, const char *, all->count);
	for (size_t i = 0; i < all->count; i++) {
		Name name = all->at[i]->name;
		unsigned same = 1;
		for (size_t j = 0; j < i; j++)
			same += all->at[j]->name == name;
		if (!name)
			p->buffers[i] = arena_printf(arena, "t%u", all->at[i]->id);
		else
			p->buffers[i] = same == 1 ? name : arena_printf(arena, "%s.%u", name, same);
	}
}

static void enter_index(Printer *p, const KIndex *index)
{
	Arena *arena = p->to->arena;
	unsigned same = 1;
	for (size_t i = 0; i < p->scope.count; i++)
		same += p->scope.at[i]->name == index->name;
	const char *name = index->name;
	if (!name)
		name = arena_printf(arena, "i%u", index->id);
	else if (same > 1)
		name = arena_printf(arena, "%s.%u", index->name, same);
	vec_push(arena, &p->scope, index);
	vec_push(arena, &p->scope_names, name);
}

static const char *index_text(const Printer *p, const KIndex *index)
{
	for (size_t i = p->scope.count; i-- > 0;)
		if (p->scope.at[i] == index)
			return p->scope_names.at[i];
	return index->name ? index->name : "?";
}

/* ---- expressions ---- */

/* What binds tighter has a higher number. */
enum {
	BIND_ANY,
	BIND_SELECT,
	BIND_OR,
	BIND_AND,
	BIND_COMPARE,
	BIND_BIT_OR,
	BIND_XOR,
	BIND_BIT_AND,
	BIND_SHIFT,
	BIND_SUM,
	BIND_PRODUCT,
	BIND_UNARY,
	BIND_CALL
};

static int binding(KOp op)
{
	switch (op) {
	case OP_SELECT:
		return BIND_SELECT;
	case OP_OR:
		return BIND_OR;
	case OP_AND:
		return BIND_AND;
	case OP_EQ:
	case OP_NE:
	case OP_LT:
	case OP_LE:
		return BIND_COMPARE;
	case OP_BIT_OR:
		return BIND_BIT_OR;
	case OP_BIT_XOR:
		return BIND_XOR;
	case OP_BIT_AND:
		return BIND_BIT_AND;
	case OP_SHL:
	case OP_SHR:
		return BIND_SHIFT;
	case OP_ADD:
	case OP_SUB:
		return BIND_SUM;
	case OP_MUL:
	case OP_DIV:
	case OP_IDIV:
	case OP_IMOD:
		return BIND_PRODUCT;
	case OP_NEG:
	case OP_NOT:
	case OP_BIT_NOT:
		return BIND_UNARY;
	default:
		return BIND_CALL;
	}
}

static const char *type_text(KType type)
{
	static const char *const texts[] = {
		[T_BOOL] = "bool", [T_I32] = "i32", [T_I64] = "i64", [T_F32] = "f32", [T_F64] = "f64"};
	return texts[type];
}

static void print_expr(Printer *p, const KExpr *e, int outer);

static void print_subs(Printer *p, KExpr *const *subs, uint32_t rank)
{
	if (rank == 0)
		return;
	text_printf(p->to, "[");
	for (uint32_t i = 0; i < rank; i++) {
		if (i > 0)
			text_printf(p->to, ", ");
		print_expr(p, subs[i], BIND_ANY);
	}
	text_printf(p->to, "]");
}

static void print_leaf(Printer *p, const KExpr *e)
{
	Text scratch = {.arena = p->to->arena};
	char number[32];
	switch (e->op) {
	case OP_CONST:
		if (e->type == T_BOOL)
			text_printf(p->to, e->integer ? "true" : "false");
		else if (e->type == T_I32 || e->type == T_I64)
			text_printf(p->to, "%lld", (long long)e->integer);
		else if (isfinite(e->real))
			text_number(p->to, e->real);
		else
			text_printf(p->to, isnan(e->real) ? "nan" : e->real < 0 ? "-inf" : "inf");
		return;
	case OP_INDEX:
		text_printf(p->to, "%s", index_text(p, e->index));
		return;
	case OP_PARAM:
		text_printf(p->to, "%s", kernel_param(e->integer, number, sizeof number));
		return;
	default:
		text_printf(p->to, "%s", p->buffers[e->buffer->id]);
		if (!store_equal(e->store, e->buffer->store))
			text_printf(p->to, ".%s", store_name(e->store, &scratch));
		print_subs(p, e->subs, e->buffer->rank);
	}
}

static void print_call(Printer *p, const KExpr *e)
{
	Text scratch = {.arena = p->to->arena};
	bool has_store = e->op == OP_STORE_AS || e->op == OP_BITS || e->op == OP_FROM_BITS;
	text_printf(p->to, "%s(", e->op == OP_CAST ? type_text(e->type) : kop_text(e->op));
	for (uint32_t i = 0; i < kop_arity(e->op); i++) {
		if (i > 0)
			text_printf(p->to, ", ");
		print_expr(p, e->args[i], BIND_ANY);
	}
	text_printf(p->to, has_store ? ", %s)" : ")", has_store ? store_name(e->store, &scratch) : "");
}

static void print_infix(Printer *p, const KExpr *e, int own)
{
	int64_t constant;
	const KExpr *right = e->args[1];
	print_expr(p, e->args[0], own == BIND_COMPARE ? own + 1 : own);
	if (e->op == OP_ADD && kexpr_is_const(right, &constant) && constant < 0 && constant > INT32_MIN) {
		text_printf(p->to, " - %lld", (long long)-constant);
		return;
	}
	text_printf(p->to, " %s ", kop_text(e->op));
	print_expr(p, right, own + 1);
}

static void print_expr(Printer *p, const KExpr *e, int outer)
{
	uint32_t arity = kop_arity(e->op);
	int own = binding(e->op);
	bool is_negative = e->op == OP_CONST && (e->type == T_F32 || e->type == T_F64 ? e->real < 0 : e->integer < 0);
	bool is_enclosed = own < outer || (is_negative && outer > BIND_SUM);
	if (is_enclosed)
		text_printf(p->to, "(");
	if (arity == 0) {
		print_leaf(p, e);
	} else if (e->op == OP_SELECT) {
		text_printf(p->to, "if ");
		print_expr(p, e->args[0], BIND_SELECT + 1);
		text_printf(p->to, " then ");
		print_expr(p, e->args[1], BIND_SELECT + 1);
		text_printf(p->to, " else ");
		print_expr(p, e->args[2], BIND_SELECT);
	} else if (own == BIND_UNARY) {
		text_printf(p->to, "%s", e->op == OP_NEG ? "-" : e->op == OP_NOT ? "not " : "~");
		print_expr(p, e->args[0], BIND_UNARY);
	} else if (own == BIND_CALL) {
		print_call(p, e);
	} else {
		print_infix(p, e, own);
	}
	if (is_enclosed)
		text_printf(p->to, ")");
}

/* ---- steps ---- */

/* k < 32, or k in lo..hi step n */
static void print_range(Printer *p, const KIndex *index)
{
	int64_t lo;
	text_printf(p->to, "%s", index_text(p, index));
	if (kexpr_is_const(index->lo, &lo) && lo == 0 && index->step == 1) {
		text_printf(p->to, " < ");
		print_expr(p, index->hi, BIND_SUM);
		return;
	}
	text_printf(p->to, " in ");
	print_expr(p, index->lo, BIND_SUM);
	text_printf(p->to, "..");
	print_expr(p, index->hi, BIND_SUM);
	if (index->step != 1)
		text_printf(p->to, " step %lld", (long long)index->step);
}

static const char *reduce_text(const KStep *step)
{
	static const char *const texts[] = {[REDUCE_SUM] = "sum",
		[REDUCE_PROD] = "prod",
		[REDUCE_MAX] = "max",
		[REDUCE_MIN] = "min",
		[REDUCE_ANY] = "any",
		[REDUCE_ALL] = "all",
		[REDUCE_COUNT] = "count",
		[REDUCE_ARGMAX] = "argmax",
		[REDUCE_ARGMIN] = "argmin",
		[REDUCE_QUANTILE] = "quantile"};
	static const char *const scans[] = {
		[SCAN_RANK] = "rank", [SCAN_SMALLEST] = "smallest", [SCAN_PREFIX] = "prefix", [SCAN_SORT] = "sort"};
	return step->kind == STEP_SCAN ? scans[step->scan] : texts[step->reduce];
}

static const char *linalg_text(KLinalg op)
{
	static const char *const texts[] = {[LINALG_CHOLESKY] = "cholesky",
		[LINALG_INVERSE] = "inverse",
		[LINALG_INVERSE_FACTOR] = "cholesky of inverse",
		[LINALG_SVD] = "svd",
		[LINALG_QR] = "qr"};
	return texts[op];
}

/* The target: an index of the step that is a whole subscript is shown with its range, the others after "for". */
static void print_target(Printer *p, const KStep *step)
{
	Text scratch = {.arena = p->to->arena};
	bool shown[2 * K_MAX_RANK] = {false};
	text_printf(p->to, "%s", p->buffers[step->dst->id]);
	for (uint32_t i = 0; i < step->dst->rank; i++) {
		const KExpr *sub = step->dst_subs[i];
		uint32_t at = 0;
		while (at < step->domain_count && !(sub->op == OP_INDEX && sub->index == step->domain[at]))
			at++;
		text_printf(p->to, i == 0 ? "[" : ", ");
		if (at < step->domain_count && !shown[at]) {
			shown[at] = true;
			print_range(p, step->domain[at]);
		} else {
			print_expr(p, sub, BIND_ANY);
		}
	}
	text_printf(p->to, step->dst->rank ? "] : %s" : " : %s", store_name(step->store, &scratch));
	const char *before = " for ";
	for (uint32_t i = 0; i < step->domain_count; i++) {
		if (shown[i])
			continue;
		text_printf(p->to, "%s", before);
		print_range(p, step->domain[i]);
		before = ", ";
	}
}

static void print_fold(Printer *p, const KStep *step)
{
	text_printf(p->to, "%s[", reduce_text(step));
	for (uint32_t i = 0; i < step->over_count; i++) {
		if (i > 0)
			text_printf(p->to, ", ");
		print_range(p, step->over[i]);
	}
	if (step->in_order)
		text_printf(p->to, " in order");
	if (step->key) {
		text_printf(p->to, " by ");
		print_expr(p, step->key, BIND_ANY);
	}
	text_printf(p->to, "](");
	print_expr(p, step->value, BIND_ANY);
	if (step->limit) {
		text_printf(p->to, ", ");
		print_expr(p, step->limit, BIND_ANY);
	}
	text_printf(p->to, ")");
}

static void print_element_step(Printer *p, const KStep *step)
{
	static const char *const verbs[] = {[STEP_MAP] = "map", [STEP_REDUCE] = "reduce", [STEP_SCAN] = "scan"};
	for (uint32_t i = 0; i < step->domain_count; i++)
		enter_index(p, step->domain[i]);
	for (uint32_t i = 0; i < step->over_count; i++)
		enter_index(p, step->over[i]);
	text_printf(p->to, "%s ", verbs[step->kind]);
	print_target(p, step);
	text_printf(p->to, " = ");
	if (step->minuend) {
		print_expr(p, step->minuend, BIND_SUM);
		text_printf(p->to, " - ");
	}
	if (step->kind == STEP_MAP)
		print_expr(p, step->value, BIND_ANY);
	else
		print_fold(p, step);
	if (step->is_contraction)
		text_printf(p->to, "  # contraction");
	if (step->is_vector)
		text_printf(p->to, "  # vector");
	text_printf(p->to, "\n");
}

static void print_linalg(Printer *p, const KStep *step)
{
	text_printf(p->to, "linalg ");
	for (uint32_t i = 0; i < linalg_outs(step->linalg); i++)
		text_printf(p->to, "%s%s", i > 0 ? ", " : "", p->buffers[step->outs[i]->id]);
	text_printf(
		p->to, " = %s(%s%s)\n", linalg_text(step->linalg), p->buffers[step->ins[0]->id], step->upper ? ", upper" : "");
}

static void print_steps(Printer *p, const KStepVec *steps, int depth);

static void print_loop(Printer *p, const KStep *step, int depth)
{
	const KIndex *index = step->index;
	enter_index(p, index);
	if (step->mode == LOOP_LANES)
		text_printf(p->to, "lanes %u ", step->lanes);
	else
		text_printf(p->to, step->mode == LOOP_ROWS ? "rows " : "for ");
	text_printf(p->to, "%s in ", index_text(p, index));
	print_expr(p, index->lo, BIND_SUM);
	text_printf(p->to, "..");
	print_expr(p, index->hi, BIND_SUM);
	if (index->step != 1)
		text_printf(p->to, " step %lld", (long long)index->step);
	text_printf(p->to, "\n");
	print_steps(p, &step->body, depth + 1);
}

static void print_steps(Printer *p, const KStepVec *steps, int depth)
{
	for (size_t i = 0; i < steps->count; i++) {
		const KStep *step = steps->at[i];
		size_t scope = p->scope.count;
		if (step->origin && step->origin != p->origin) {
			p->origin = step->origin;
			text_printf(p->to, "%*s# %s\n", 2 * depth, "", step->origin);
		}
		text_printf(p->to, "%*s", 2 * depth, "");
		switch (step->kind) {
		case STEP_MAP:
		case STEP_REDUCE:
		case STEP_SCAN:
			print_element_step(p, step);
			break;
		case STEP_LINALG:
			print_linalg(p, step);
			break;
		case STEP_LOOP:
			print_loop(p, step, depth);
			break;
		case STEP_IF:
			text_printf(p->to, "if ");
			print_expr(p, step->value, BIND_ANY);
			text_printf(p->to, "\n");
			print_steps(p, &step->body, depth + 1);
			break;
		}
		p->scope.count = p->scope_names.count = scope;
	}
}

/* ---- the head ---- */

static void print_declaration(Printer *p, const KBuffer *buffer)
{
	Text scratch = {.arena = p->to->arena};
	text_printf(p->to, "%s: %s", p->buffers[buffer->id], store_name(buffer->store, &scratch));
	print_subs(p, buffer->extent, buffer->rank);
}

static void print_list(Printer *p, const KBufferVec *buffers)
{
	text_printf(p->to, "(");
	for (size_t i = 0; i < buffers->count; i++) {
		if (i > 0)
			text_printf(p->to, ", ");
		print_declaration(p, buffers->at[i]);
	}
	text_printf(p->to, ")");
}

static void print_local(Printer *p, const KBuffer *buffer)
{
	text_printf(p->to, buffer->kind == BUFFER_TABLE ? "  table " : "  temp ");
	print_declaration(p, buffer);
	int64_t bytes = store_bytes(buffer->store), extent;
	for (uint32_t i = 0; i < buffer->rank; i++)
		bytes = kexpr_is_const(buffer->extent[i], &extent) ? bytes * extent : 0;
	if (buffer->rank > 0 && bytes > 0)
		text_printf(p->to, "  # %lld bytes", (long long)bytes);
	if (buffer->scope)
		text_printf(p->to, "%s in %s", buffer->rank > 0 && bytes > 0 ? "," : "  #",
			buffer->scope->index->name ? buffer->scope->index->name : "?");
	text_printf(p->to, "\n");
}

void kernel_print(const Kernel *k, Text *to)
{
	Printer p = {.k = k, .to = to};
	name_buffers(&p);
	text_printf(to, "kernel %s ", k->name);
	print_list(&p, &k->inputs);
	text_printf(to, " -> ");
	print_list(&p, &k->outputs);
	text_printf(to, "\n");
	for (size_t i = 0; i < k->buffers.count; i++)
		if (k->buffers.at[i]->kind == BUFFER_TEMP || k->buffers.at[i]->kind == BUFFER_TABLE)
			print_local(&p, k->buffers.at[i]);
	print_steps(&p, &k->steps, 1);
}

const char *kstep_describe(const Kernel *k, const KStep *step)
{
	static const char *const verbs[] = {[STEP_MAP] = "map",
		[STEP_REDUCE] = "reduce",
		[STEP_SCAN] = "scan",
		[STEP_LINALG] = "linalg",
		[STEP_LOOP] = "loop",
		[STEP_IF] = "if"};
	Arena *arena = k->c->arena;
	if (step->kind == STEP_LINALG)
		return arena_printf(arena, "linalg %s", linalg_text(step->linalg));
	Name name = step->kind == STEP_LOOP ? step->index->name : step->dst ? step->dst->name : NULL;
	return name ? arena_printf(arena, "%s %s", verbs[step->kind], name) : verbs[step->kind];
}
