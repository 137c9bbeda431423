/* SPDX-License-Identifier: MIT
 *
 * kernel_rules_test.c: what expressions fold to, what the verifier refuses, what
 * the interpreter reports, how a kernel is printed.
 */
#include "kernel.h"
#include "check.h"

#include <math.h>
#include <string.h>

static KExpr *i32(Kernel *k, int64_t value)
{
	return kexpr_int(k, T_I32, value);
}

static KExpr *f32(Kernel *k, double value)
{
	return kexpr_real(k, T_F32, value);
}

static Kernel *kernel(Compiler *c)
{
	return kernel_new(c, name_of(c, "k0"));
}

static KBuffer *buffer(
	Kernel *k, KBufferKind kind, const char *name, const char *type, uint32_t rank, int64_t a, int64_t b)
{
	KExpr *extents[] = {i32(k, a), i32(k, b)};
	return kbuffer_new(k, kind, name_of(k->c, name), store_find(name_of(k->c, type)), rank, extents);
}

static KIndex *range(Kernel *k, const char *name, int64_t lo, int64_t hi)
{
	return kindex_new(k, name_of(k->c, name), i32(k, lo), i32(k, hi), 1);
}

static void push(Kernel *k, KStepVec *to, KStep *step)
{
	vec_push(k->c->arena, to, step);
}

/* ---- folding ---- */

static void check_int(Kernel *k, KOp op, int64_t a, int64_t b, int64_t expected)
{
	int64_t value = 0;
	bool is_const = kexpr_is_const(kexpr_binary(k, op, i32(k, a), i32(k, b)), &value);
	CHECK(is_const && value == expected, "%lld %s %lld is %lld", (long long)a, kop_text(op), (long long)b,
		(long long)value);
}

static void check_real(const KExpr *e, double expected)
{
	bool is_same = memcmp(&e->real, &expected, sizeof expected) == 0 || (isnan(expected) && isnan(e->real));
	CHECK(e->op == OP_CONST && is_same, "%a, not %a", e->real, expected);
}

static void test_integer_folding(Kernel *k)
{
	check_int(k, OP_IDIV, 7, 2, 3);
	check_int(k, OP_IDIV, -7, 2, -4);
	check_int(k, OP_IDIV, 7, -2, -4);
	check_int(k, OP_IDIV, -7, -2, 3);
	check_int(k, OP_IDIV, 7, 0, 0);
	check_int(k, OP_IDIV, INT32_MIN, -1, INT32_MIN);
	check_int(k, OP_IMOD, -7, 2, 1);
	check_int(k, OP_IMOD, 7, -2, -1);
	check_int(k, OP_IMOD, 7, 0, 0);
	check_int(k, OP_IMOD, INT32_MIN, -1, 0);
	check_int(k, OP_ADD, INT32_MAX, 1, INT32_MIN);
	check_int(k, OP_MUL, 65536, 65536, 0);
	check_int(k, OP_SHL, 1, 31, INT32_MIN);
	check_int(k, OP_SHL, 1, 32, 0);
	check_int(k, OP_SHL, 1, -1, 0);
	check_int(k, OP_SHR, -1, 28, 15);
	check_int(k, OP_SHR, -1, 32, 0);
	check_int(k, OP_BIT_XOR, 6, 3, 5);
	check_int(k, OP_LT, -1, 0, 1);
	check_int(k, OP_MIN, -1, 0, -1);
	int64_t value = 0;
	KExpr *wide = kexpr_binary(k, OP_SHR, kexpr_int(k, T_I64, -1), kexpr_int(k, T_I64, 60));
	CHECK(kexpr_is_const(wide, &value) && value == 15, "%lld", (long long)value);
}

static void test_real_folding(Kernel *k)
{
	check_real(kexpr_binary(k, OP_ADD, f32(k, 16777216), f32(k, 1)), 16777216);
	check_real(kexpr_binary(k, OP_ADD, kexpr_real(k, T_F64, 16777216), kexpr_real(k, T_F64, 1)), 16777217);
	check_real(kexpr_binary(k, OP_DIV, f32(k, 1), f32(k, 3)), (double)(1.0f / 3.0f));
	check_real(kexpr_binary(k, OP_DIV, f32(k, 1), f32(k, 0)), INFINITY);
	check_real(kexpr_binary(k, OP_MAX, f32(k, NAN), f32(k, -1)), -1);
	check_real(kexpr_binary(k, OP_MIN, f32(k, -0.0), f32(k, 5)), 0.0);
	check_real(kexpr_binary(k, OP_MAX, f32(k, NAN), f32(k, -0.0)), 0.0);
	check_real(kexpr_unary(k, OP_ROUND, f32(k, -2.5)), -3);
	check_real(kexpr_unary(k, OP_ROUND_EVEN, f32(k, -2.5)), -2);
	check_real(kexpr_unary(k, OP_ROUND, f32(k, (double)0.49999997f)), 0);
	check_real(kexpr_unary(k, OP_SQRT, f32(k, 2)), (double)sqrtf(2));
	check_real(kexpr_unary(k, OP_NEG, f32(k, 0)), -0.0);
	int64_t value = 0;
	CHECK(kexpr_is_const(kexpr_binary(k, OP_NE, f32(k, NAN), f32(k, NAN)), &value) && value == 1, "nan != nan");
	CHECK(kexpr_is_const(kexpr_cast(k, T_I32, f32(k, 3e9)), &value) && value == INT32_MAX, "saturates");
	CHECK(kexpr_is_const(kexpr_cast(k, T_I64, f32(k, NAN)), &value) && value == 0, "nan");
	CHECK(
		kexpr_is_const(kexpr_cast(k, T_I32, kexpr_int(k, T_I64, INT64_C(0x100000001))), &value) && value == 1, "wraps");
	CHECK(kexpr_is_const(kexpr_cast(k, T_BOOL, f32(k, NAN)), &value) && value == 1, "nan != 0");
	check_real(kexpr_cast(k, T_F32, kexpr_int(k, T_I32, 16777217)), 16777216);
	Store f16 = store_find(name_of(k->c, "f16"));
	check_real(kexpr_store(k, OP_STORE_AS, f16, f32(k, 0.1)), 0x1.998p-4);
	CHECK(
		kexpr_is_const(kexpr_store(k, OP_BITS, f16, f32(k, -1)), &value) && value == 0xbc00, "%llx", (long long)value);
	check_real(kexpr_store(k, OP_FROM_BITS, f16, i32(k, 0x7bc00)), -1);
}

static void test_neutral_elements(Kernel *k)
{
	KIndex *i = range(k, "i", 0, 8);
	KExpr *x = kexpr_index(k, i), *r = kexpr_cast(k, T_F32, x), *one = f32(k, 1);
	CHECK(kexpr_binary(k, OP_ADD, x, i32(k, 0)) == x && kexpr_binary(k, OP_MUL, i32(k, 1), x) == x, "x");
	CHECK(kexpr_binary(k, OP_SHL, x, i32(k, 0)) == x && kexpr_binary(k, OP_IDIV, x, i32(k, 1)) == x, "x");
	CHECK(kexpr_binary(k, OP_MUL, r, one) == r && kexpr_binary(k, OP_DIV, r, one) == r, "r");
	CHECK(kexpr_binary(k, OP_SUB, r, f32(k, 0)) == r && kexpr_binary(k, OP_SUB, r, f32(k, -0.0)) != r, "r - 0");
	CHECK(kexpr_binary(k, OP_ADD, r, f32(k, 0)) != r, "-0 + 0 is 0");
	CHECK(kexpr_select(k, kexpr_int(k, T_BOOL, 0), x, i32(k, 3)) != x, "select");
	CHECK(kexpr_cast(k, T_I32, kexpr_cast(k, T_F64, x)) == x, "exact casts");
	CHECK(kexpr_cast(k, T_I32, kexpr_cast(k, T_F32, x)) != x, "f32 does not hold every i32");
	KExpr *twice = kexpr_binary(k, OP_SUB, kexpr_binary(k, OP_ADD, i32(k, 3), x), i32(k, 5));
	CHECK(twice->op == OP_ADD && twice->args[0] == x && twice->args[1]->integer == -2, "(3 + x) - 5");
}

/* For j in b .. min(b + 16, n), k in j + 1 .. the same end, with b in 0, 16 .. 99. */
static void test_bounds(Kernel *k)
{
	KIndex *b = kindex_new(k, name_of(k->c, "b"), i32(k, 0), i32(k, 99), 16);
	KExpr *base = kexpr_index(k, b), *n = kexpr_param(k, 1);
	KExpr *end = kexpr_binary(k, OP_MIN, kexpr_binary(k, OP_ADD, base, i32(k, 16)), kexpr_cast(k, T_I32, n));
	KIndex *j = kindex_new(k, name_of(k->c, "j"), base, end, 1);
	KExpr *at = kexpr_index(k, j);
	KIndex *later = kindex_new(k, name_of(k->c, "k"), kexpr_binary(k, OP_ADD, at, i32(k, 1)), end, 1);
	KExpr *beyond = kexpr_index(k, later), *distance = kexpr_binary(k, OP_SUB, beyond, at);
	int64_t bound = 0;
	CHECK(kexpr_bound(at, base, false, &bound) && bound == 0, "j - b at least %lld", (long long)bound);
	CHECK(kexpr_bound(at, base, true, &bound) && bound == 15, "j - b at most %lld", (long long)bound);
	CHECK(kexpr_bound(beyond, base, false, &bound) && bound == 1, "k - b at least %lld", (long long)bound);
	CHECK(kexpr_bound(distance, i32(k, 0), false, &bound) && bound == 1, "k - j at least %lld", (long long)bound);
	CHECK(kexpr_bound(end, base, true, &bound) && bound == 16, "the end less b at most %lld", (long long)bound);
	CHECK(!kexpr_bound(end, base, false, &bound), "n is not known");
	CHECK(kexpr_bound(at, i32(k, 0), true, &bound) && bound == 113, "j at most %lld", (long long)bound);
}

static void test_analysis(Kernel *k)
{
	KIndex *i = range(k, "i", 0, 8), *g = range(k, "g", 0, 8);
	KExpr *x = kexpr_index(k, i), *y = kexpr_index(k, g), *rest;
	KExpr *e = kexpr_binary(k, OP_ADD, kexpr_binary(k, OP_MUL, kexpr_binary(k, OP_SUB, y, x), i32(k, 4)), i32(k, 7));
	int64_t coefficient = 0, difference = 0;
	CHECK(kexpr_affine(k, e, i, &coefficient, &rest) && coefficient == -4 && !kexpr_uses(rest, i), "affine");
	CHECK(!kexpr_affine(k, kexpr_binary(k, OP_IDIV, x, i32(k, 2)), i, &coefficient, &rest), "x // 2");
	CHECK(kexpr_affine(k, kexpr_binary(k, OP_IDIV, x, i32(k, 2)), g, &coefficient, &rest) && coefficient == 0, "no g");
	KExpr *five = kexpr_substitute(k, kexpr_substitute(k, e, i, i32(k, 5)), g, i32(k, 6));
	CHECK(kexpr_is_const(five, &difference) && difference == 11, "%lld", (long long)difference);
	KExpr *left = kexpr_binary(k, OP_ADD, kexpr_binary(k, OP_MUL, y, i32(k, 4)), i32(k, 9));
	KExpr *right = kexpr_binary(k, OP_ADD, kexpr_binary(k, OP_MUL, x, i32(k, 4)), e);
	CHECK(kexpr_difference(left, right, &difference) && difference == 2, "%lld", (long long)difference);
	CHECK(!kexpr_difference(x, y, &difference), "x - y");
	KExpr *power = kexpr_cast(k, T_F32, x);
	for (int n = 0; n < 64; n++) /* a tree of 2^64 leaves */
		power = kexpr_binary(k, OP_MUL, power, power);
	KExpr *moved = kexpr_substitute(k, power, i, y);
	CHECK(kexpr_uses(moved, g) && !kexpr_uses(moved, i), "substitution visits a shared node once");
}

/* ---- refusals ---- */

/* The kernel must be refused with this text in the message. */
static void check_refused(Kernel *k, const char *text)
{
	size_t before = k->c->diags.count;
	bool is_good = kernel_verify(k), is_found = false;
	for (size_t i = before; i < k->c->diags.count; i++)
		is_found |= strstr(k->c->diags.at[i].text, text) != NULL;
	CHECK(!is_good && is_found, "%s: %s", text, k->c->diags.count > before ? k->c->diags.at[before].text : "accepted");
}

typedef struct Small {
	Kernel *k;
	KBuffer *in, *out, *temp;
	KIndex *i, *j;
	KExpr *x, *y, *value;
} Small;

static Small small(Compiler *c)
{
	Small s = {.k = kernel(c)};
	s.in = buffer(s.k, BUFFER_INPUT, "in", "f32", 1, 8, 0);
	s.out = buffer(s.k, BUFFER_OUTPUT, "out", "f32", 1, 8, 0);
	s.temp = buffer(s.k, BUFFER_TEMP, "temp", "f32", 2, 8, 8);
	s.i = range(s.k, "i", 0, 8);
	s.j = range(s.k, "j", 0, 8);
	s.x = kexpr_index(s.k, s.i);
	s.y = kexpr_index(s.k, s.j);
	s.value = kexpr_load(s.k, s.in, &s.x);
	return s;
}

static void test_refused_targets(Compiler *c)
{
	Small s = small(c);
	push(s.k, &s.k->steps, kstep_map(s.k, s.in, &s.x, &s.i, 1, f32(s.k, 0)));
	check_refused(s.k, "an input or a table is written");
	s = small(c);
	push(s.k, &s.k->steps, kstep_map(s.k, s.out, &s.x, &s.j, 1, f32(s.k, 0)));
	check_refused(s.k, "index i is used where it has no value");
	s = small(c);
	KExpr *zero = i32(s.k, 0);
	push(s.k, &s.k->steps, kstep_map(s.k, s.out, &zero, &s.i, 1, s.value));
	check_refused(s.k, "every turn of i writes the same element");
	s = small(c);
	KExpr *half = kexpr_binary(s.k, OP_IDIV, s.x, i32(s.k, 2));
	push(s.k, &s.k->steps, kstep_map(s.k, s.out, &half, &s.i, 1, s.value));
	check_refused(s.k, "not affine in i");
	s = small(c);
	KExpr *next = kexpr_binary(s.k, OP_ADD, s.x, i32(s.k, 1));
	push(s.k, &s.k->steps, kstep_map(s.k, s.out, &s.x, &s.i, 1, kexpr_load(s.k, s.out, &next)));
	check_refused(s.k, "reads an element of its target that another turn writes");
	s = small(c);
	KStep *step = kstep_map(s.k, s.out, &s.x, &s.i, 1, s.value);
	step->store = store_find(name_of(c, "f16"));
	push(s.k, &s.k->steps, step);
	check_refused(s.k, "does not hold bytes");
}

static void test_refused_folds(Compiler *c)
{
	Small s = small(c);
	push(s.k, &s.k->steps, kstep_reduce(s.k, REDUCE_ANY, s.out, &s.x, &s.i, 1, &s.j, 1, kexpr_load(s.k, s.in, &s.y)));
	check_refused(s.k, "folds values of a wrong type");
	s = small(c);
	push(s.k, &s.k->steps, kstep_reduce(s.k, REDUCE_SUM, s.out, &s.x, &s.i, 1, &s.i, 1, s.value));
	check_refused(s.k, "index i is bound again");
	s = small(c);
	push(s.k, &s.k->steps, kstep_reduce(s.k, REDUCE_QUANTILE, s.out, &s.x, &s.i, 1, &s.j, 1, s.value));
	check_refused(s.k, "lacks one");
	s = small(c);
	KIndex *over[] = {s.i, kindex_new(s.k, name_of(c, "p"), i32(s.k, 0), s.x, 1)};
	KExpr *zero = i32(s.k, 0);
	push(s.k, &s.k->steps, kstep_reduce(s.k, REDUCE_SUM, s.out, &zero, NULL, 0, over, 2, s.value));
	check_refused(s.k, "depends on what it folds");
	s = small(c);
	push(s.k, &s.k->steps, kstep_linalg(s.k, LINALG_QR, false, s.temp, (KBuffer *[]){s.temp, s.temp}));
	check_refused(s.k, "overwrites what it must not");
}

static void test_refused_loops(Compiler *c)
{
	Small s = small(c);
	KStep *loop = kstep_loop(s.k, s.j, LOOP_ROWS, 0);
	push(s.k, &s.k->steps, loop);
	check_refused(s.k, "not scheduled");
	s.k->is_scheduled = true;
	push(s.k, &loop->body, kstep_map(s.k, s.out, &s.x, &s.i, 1, s.value));
	check_refused(s.k, "independent turns of j write one element");
	s = small(c);
	loop = kstep_loop(s.k, s.j, LOOP_SEQUENTIAL, 0);
	s.k->is_scheduled = true;
	s.temp->scope = loop;
	KExpr *diagonal[] = {s.x, s.x};
	push(s.k, &s.k->steps, loop);
	push(s.k, &s.k->steps, kstep_map(s.k, s.out, &s.x, &s.i, 1, kexpr_load(s.k, s.temp, diagonal)));
	check_refused(s.k, "outside the loop it lives in");
	s = small(c);
	s.k->is_scheduled = true;
	loop = kstep_loop(s.k, s.i, LOOP_LANES, 8);
	push(s.k, &s.k->steps, loop);
	push(s.k, &loop->body, kstep_loop(s.k, s.j, LOOP_ROWS, 0));
	check_refused(s.k, "stands inside a loop of independent turns");
	s = small(c);
	push(s.k, &s.k->steps, kstep_if(s.k, kexpr_load(s.k, s.in, (KExpr *[]){i32(s.k, 0)})));
	check_refused(s.k, "its condition is no bool");
	s = small(c);
	s.temp->extent[1] = i32(s.k, 0);
	check_refused(s.k, "extent 1 of temp is 0");
	s = small(c);
	s.j->id = s.i->id;
	push(s.k, &s.k->steps, kstep_map(s.k, s.temp, (KExpr *[]){s.x, s.y}, (KIndex *[]){s.i, s.j}, 2, s.value));
	check_refused(s.k, "shares its id");
}

static void test_accepted(Compiler *c)
{
	Small s = small(c);
	KStep *loop = kstep_loop(s.k, s.j, LOOP_SEQUENTIAL, 0);
	push(s.k, &s.k->steps, loop);
	KExpr *to[] = {s.y, s.x}, *from[] = {kexpr_binary(s.k, OP_ADD, s.y, i32(s.k, -1)), s.x};
	KExpr *sum = kexpr_binary(s.k, OP_ADD, kexpr_load(s.k, s.temp, from), kexpr_load(s.k, s.temp, to));
	push(s.k, &loop->body, kstep_map(s.k, s.temp, to, &s.i, 1, sum));
	CHECK(kernel_verify(s.k), "reading the row before and the element itself");
}

static void test_outside(Compiler *c)
{
	float x[8] = {0}, y[8];
	int64_t rows = 1;
	Small s = small(c);
	KExpr *next = kexpr_binary(s.k, OP_ADD, s.x, i32(s.k, 1));
	push(s.k, &s.k->steps, kstep_map(s.k, s.out, &s.x, &s.i, 1, kexpr_load(s.k, s.in, &next)));
	size_t before = c->diags.count;
	CHECK(kernel_verify(s.k) && !kernel_interpret(s.k, (void *[]){x}, (void *[]){y}, &rows), "out of its buffer");
	const char *text = c->diags.count > before ? c->diags.at[before].text : "";
	const char *expected = "internal error: kernel k0: map out reads in outside: subscript 0 is 8, the extent is 8";
	CHECK(strcmp(text, expected) == 0, "%s", text);
}

/* ---- text ---- */

static const char printed[] = "kernel k0 (w: f32[rows, 64]) -> (bytes: u8[rows, 68])\n"
							  "  temp top: f32  # in g\n"
							  "  temp top.2: f32[rows, 2]\n"
							  "  table code: i8[4]  # 4 bytes\n"
							  "  rows o in 0..rows\n"
							  "    lanes 8 g in 0..2\n"
							  "      # q8_0\n"
							  "      reduce top : f32 = max[k < 32](abs(w[o, g * 32 + k]))\n"
							  "      map bytes[o, g * 34] : f16 = top / 127\n"
							  "      map bytes[o, g * 34 + k + 2] : i8 for k in 0..32 step 2 = round(if top == 0 then "
							  "w[o, k] else 1 / top)  # vector\n"
							  "      scan top.2[o, k] : f32 = prefix[k < 2 by -w[o, k]](w[o, k] * (w[o, k] - (-1)))\n"
							  "    for s in 1..4\n"
							  "      if s % 2 == 0 and not (s < 3)\n"
							  "        map top.2[o, s] : f32 = f32(code[s] << 2 | 1)\n";

static KStep *add_folds(Kernel *k, KBuffer *w, KBuffer *bytes, KBuffer *top, KIndex *o, KIndex *g)
{
	KIndex *i = range(k, "k", 0, 32);
	KIndex *j = kindex_new(k, name_of(k->c, "k"), i32(k, 0), i32(k, 32), 2);
	KExpr *row = kexpr_index(k, o), *block = kexpr_index(k, g), *max = kexpr_load(k, top, NULL),
		  *even = kexpr_index(k, j);
	KStep *lanes = kstep_loop(k, g, LOOP_LANES, 8);
	KExpr *first = kexpr_binary(k, OP_MUL, block, i32(k, 32)), *byte = kexpr_binary(k, OP_MUL, block, i32(k, 34));
	KExpr *x = kexpr_load(k, w, (KExpr *[]){row, kexpr_binary(k, OP_ADD, first, kexpr_index(k, i))});
	KStep *step = kstep_reduce(k, REDUCE_MAX, top, NULL, NULL, 0, &i, 1, kexpr_unary(k, OP_ABS, x));
	step->origin = name_of(k->c, "q8_0");
	push(k, &lanes->body, step);
	step = kstep_map(k, bytes, (KExpr *[]){row, byte}, NULL, 0, kexpr_binary(k, OP_DIV, max, f32(k, 127)));
	step->store = store_find(name_of(k->c, "f16"));
	push(k, &lanes->body, step);
	KExpr *is_zero = kexpr_binary(k, OP_EQ, max, f32(k, 0)), *other = kexpr_load(k, w, (KExpr *[]){row, even});
	KExpr *r = kexpr_unary(k, OP_ROUND, kexpr_select(k, is_zero, other, kexpr_binary(k, OP_DIV, f32(k, 1), max)));
	KExpr *place = kexpr_binary(k, OP_ADD, kexpr_binary(k, OP_ADD, byte, even), i32(k, 2));
	step = kstep_map(k, bytes, (KExpr *[]){row, place}, &j, 1, r);
	step->store = store_find(name_of(k->c, "i8"));
	step->is_vector = true;
	push(k, &lanes->body, step);
	return lanes;
}

static void test_print(Compiler *c)
{
	Kernel *k = kernel(c);
	k->is_scheduled = true;
	KExpr *rows = kexpr_param(k, 0);
	Store real = store_find(name_of(c, "f32")), u8 = store_find(name_of(c, "u8"));
	KBuffer *w = kbuffer_new(k, BUFFER_INPUT, name_of(c, "w"), real, 2, (KExpr *[]){rows, i32(k, 64)});
	KBuffer *bytes = kbuffer_new(k, BUFFER_OUTPUT, name_of(c, "bytes"), u8, 2, (KExpr *[]){rows, i32(k, 68)});
	KBuffer *top = buffer(k, BUFFER_TEMP, "top", "f32", 0, 0, 0);
	KBuffer *again = kbuffer_new(k, BUFFER_TEMP, name_of(c, "top"), real, 2, (KExpr *[]){rows, i32(k, 2)});
	KBuffer *code = buffer(k, BUFFER_TABLE, "code", "i8", 1, 4, 0);
	code->data = "\1\2\3\4";
	KIndex *o = kindex_new(k, name_of(c, "o"), i32(k, 0), rows, 1), *g = range(k, "g", 0, 2);
	KStep *outer = kstep_loop(k, o, LOOP_ROWS, 0), *lanes = add_folds(k, w, bytes, top, o, g);
	top->scope = lanes;
	push(k, &k->steps, outer);
	push(k, &outer->body, lanes);
	KIndex *p = range(k, "k", 0, 2), *s = range(k, "s", 1, 4);
	KExpr *row = kexpr_index(k, o), *subs[] = {row, kexpr_index(k, p)}, *x = kexpr_load(k, w, subs);
	KExpr *square = kexpr_binary(k, OP_MUL, x, kexpr_binary(k, OP_SUB, x, f32(k, -1)));
	KStep *scan = kstep_scan(k, SCAN_PREFIX, again, subs, NULL, 0, &p, 1, square);
	scan->key = kexpr_unary(k, OP_NEG, x);
	push(k, &lanes->body, scan);
	KStep *loop = kstep_loop(k, s, LOOP_SEQUENTIAL, 0);
	push(k, &outer->body, loop);
	KExpr *turn = kexpr_index(k, s),
		  *is_even = kexpr_binary(k, OP_EQ, kexpr_binary(k, OP_IMOD, turn, i32(k, 2)), i32(k, 0));
	KExpr *is_late = kexpr_unary(k, OP_NOT, kexpr_binary(k, OP_LT, turn, i32(k, 3)));
	KStep *branch = kstep_if(k, kexpr_binary(k, OP_AND, is_even, is_late));
	push(k, &loop->body, branch);
	KExpr *bits = kexpr_binary(k, OP_SHL, kexpr_load(k, code, &turn), i32(k, 2));
	KExpr *value = kexpr_cast(k, T_F32, kexpr_binary(k, OP_BIT_OR, bits, i32(k, 1)));
	push(k, &branch->body, kstep_map(k, again, (KExpr *[]){row, turn}, NULL, 0, value));
	Text text = {.arena = c->arena};
	kernel_print(k, &text);
	CHECK(strcmp(text.at, printed) == 0, "\n%s", text.at);
}

int main(void)
{
	Compiler *c = compiler_new();
	Kernel *k = kernel(c);
	test_integer_folding(k);
	test_real_folding(k);
	test_neutral_elements(k);
	test_analysis(k);
	test_bounds(k);
	test_refused_targets(c);
	test_refused_folds(c);
	test_refused_loops(c);
	test_accepted(c);
	test_outside(c);
	test_print(c);
	compiler_free(c);
	return finish("kernel_rules_test");
}
