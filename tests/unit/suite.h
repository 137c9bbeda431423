/* SPDX-License-Identifier: MIT
 *
 * suite.h: what tests of compiler/llvm/ need: scheduled kernels built by hand, compiled for a CPU, run in memory, and
 * compared bit for bit with the interpreter, on random and on awkward data.
 */
#ifndef CMPC_TEST_SUITE_H
#define CMPC_TEST_SUITE_H

#include "build.h"
#include "check.h"
#include "llvm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- short words for building ---- */

static inline KIndex *range_to(Kernel *k, const char *name, KExpr *hi)
{
	return kindex_new(k, name_of(k->c, name), i32(k, 0), hi, 1);
}

static inline KIndex *range(Kernel *k, const char *name, int64_t hi)
{
	return range_to(k, name, i32(k, hi));
}

/* ---- cases: a kernel with its data ---- */

enum { PORTS = 4 };

typedef struct Case {
	Kernel *k;
	int64_t params[4]; /* rows, .. */
	void *in[PORTS];
	size_t out_bytes[PORTS];
	uint64_t work_bytes;
} Case;

typedef struct Suite {
	Compiler *c;
	VEC(Case) cases;
} Suite;

static inline Suite suite_new(void)
{
	return (Suite){.c = compiler_new()};
}

static inline Kernel *kernel_named(Suite *s, const char *what)
{
	return kernel_new(s->c, name_of(s->c, arena_printf(s->c->arena, "%s_%zu", what, s->cases.count)));
}

static const float awkward[] = {0.0f, -0.0f, 1.0f, -1.0f, 0.5f, -0.5f, 1.5f, 2.5f, 0.49999997f, -0.49999997f,
	8388607.5f, 8388608.0f, 16777216.0f, 2147483648.0f, -2147483648.0f, 2147483520.0f, 4294967296.0f, 9.3e18f, -9.3e18f,
	1e-40f, -1e-45f, 3.4e38f, -3.4e38f, INFINITY, -INFINITY, NAN, -NAN, 65504.0f, 65520.0f, 65519.0f, 448.0f, 464.0f,
	57344.0f, 61440.0f, 6.0f, 5.0f, 127.5f, -128.5f, 255.5f, 6.1e-5f, 5.9e-8f, 2.9e-8f, 0.0625f};
enum { AWKWARD = sizeof awkward / sizeof *awkward };

/* kind 0: awkward values and random bits; 1: plain numbers with ties; 2: without NaN, normal-like */
static inline float *floats(Suite *s, size_t count, int kind)
{
	float *x = arena_array(s->c->arena, float, count + 1);
	for (size_t i = 0; i < count; i++) {
		uint32_t r = next_random(), bits = next_random();
		if (kind == 0 && r % 3 == 0)
			memcpy(&x[i], &bits, sizeof bits);
		else if (kind == 0 && r % 3 == 1)
			x[i] = awkward[bits % AWKWARD];
		else if (kind == 2)
			x[i] = ((float)(bits & 0xffff) + (float)(bits >> 16) - 65536.0f) * 1e-6f;
		else
			x[i] = (float)((int)(bits % 33) - 16) * 0.25f;
		if (kind == 1 && r % 11 == 0)
			x[i] = r & 4096 ? -0.0f : NAN;
	}
	return x;
}

static inline void *bytes(Suite *s, size_t count)
{
	uint8_t *x = arena_alloc(s->c->arena, count + 1);
	for (size_t i = 0; i < count; i++)
		x[i] = (uint8_t)(next_random() >> 8);
	return x;
}

static inline void *call(Suite *s, Case *c, CmprtKernel *kernel, int64_t begin, int64_t end, void **out)
{
	Arena *arena = s->c->arena;
	size_t in = c->k->inputs.count, outs = c->k->outputs.count;
	void **buffers = arena_array(arena, void *, in + outs + 4);
	for (size_t i = 0; i < in; i++)
		buffers[i] = c->in[i];
	for (size_t i = 0; i < outs; i++)
		buffers[in + i] = out[i];
	for (size_t i = 0; i < 4; i++)
		buffers[in + outs + i] = arena_alloc(arena, c->work_bytes);
	char *scratch = arena_alloc(arena, c->k->scratch_bytes * 4 + 64);
	scratch += 64 - (uintptr_t)scratch % 64;
	CmprtFrame frame = {buffers, c->params, scratch, NULL};
	kernel(&frame, begin, end);
	return NULL;
}

static inline void compare(Suite *s, Case *c, Jit *jit)
{
	CmprtKernel *kernel = (CmprtKernel *)jit_symbol(jit, c->k->name);
	CHECK(kernel != NULL, "%s", c->k->name);
	if (!kernel)
		return;
	void *expected[PORTS], *got[PORTS];
	for (size_t i = 0; i < c->k->outputs.count; i++) {
		expected[i] = arena_alloc(s->c->arena, c->out_bytes[i] + 64);
		got[i] = arena_alloc(s->c->arena, c->out_bytes[i] + 64);
	}
	CHECK(kernel_interpret(c->k, c->in, expected, c->params), "%s", c->k->name);
	KStep *first = c->k->steps.at[0];
	bool has_rows = c->k->steps.count == 1 && first->kind == STEP_LOOP && first->mode == LOOP_ROWS;
	int64_t middle = has_rows ? c->params[0] / 2 : 0;
	if (has_rows)
		call(s, c, kernel, 0, middle, got);
	call(s, c, kernel, middle, c->params[0], got);
	for (size_t i = 0; i < c->k->outputs.count; i++) {
		size_t bad = 0;
		while (bad < c->out_bytes[i] + 64 && ((char *)expected[i])[bad] == ((char *)got[i])[bad])
			bad++;
		CHECK(bad == c->out_bytes[i] + 64, "%s output %zu differs at byte %zu of %zu: %08x, not %08x", c->k->name, i,
			bad, c->out_bytes[i], *(uint32_t *)((char *)got[i] + bad / 4 * 4),
			*(uint32_t *)((char *)expected[i] + bad / 4 * 4));
	}
}

static inline void suite_run(Suite *s, const char *what, const char *cpu)
{
	ModuleTarget target = {.cpu = cpu};
	Module *m = module_new(s->c, &target);
	bool is_good = m != NULL;
	for (size_t i = 0; is_good && i < s->cases.count; i++) {
		is_good = kernel_verify(s->cases.at[i].k) && module_add_kernel(m, s->cases.at[i].k);
		CHECK(is_good, "%s", s->cases.at[i].k->name);
	}
	const char *shown = getenv("LLVM_TEST_PRINT");
	if (shown && strcmp(shown, what) == 0) {
		Text text = {.arena = s->c->arena};
		for (size_t i = 0; i < s->cases.count; i++)
			kernel_print(s->cases.at[i].k, &text);
		module_print(m, &text);
		fwrite(text.at, 1, text.count, stderr);
	}
	ObjectBytes object;
	is_good = is_good && module_optimize(m);
	is_good = is_good && module_object(m, &object);
	diag_flush(s->c, stdout);
	CHECK(is_good, "%s on %s", what, cpu);
	if (is_good) {
		Jit *jit = jit_new(s->c, &object);
		for (size_t i = 0; jit && i < s->cases.count; i++)
			compare(s, &s->cases.at[i], jit);
		if (jit)
			jit_free(jit);
	}
	diag_flush(s->c, stdout);
	if (m)
		module_free(m);
}

/* ---- one value of three inputs, in every mode ---- */

typedef enum Way { SCALAR, VECTOR, LANES, LANE_BLOCKS, WAYS } Way;
enum { BLOCK = 20, LANE_COUNT = 8 };

typedef KExpr *Build(Kernel *k, KExpr **in, int number);

static inline KBuffer *matrix(Kernel *k, KBufferKind kind, const char *name, const char *type, int64_t columns)
{
	KExpr *extents[] = {kexpr_param(k, 0), i32(k, columns ? columns : 1)}; /* an extent is never 0 */
	return kbuffer_new(k, kind, name_of(k->c, name), store(k, type), 2, extents);
}

/* rows { [lanes {] out[r, j] = build(in0[r, j], in1[r, j], in2[r, j]) } */
static inline void elementwise(Suite *s, Way way, int64_t size, const char *const *types, const char *out_type,
	void *const *data, Build *build, int number)
{
	Kernel *k = kernel_named(s, "map");
	KIndex *r = range_to(k, "r", kexpr_cast(k, T_I32, kexpr_param(k, 0)));
	int64_t columns = way == LANE_BLOCKS ? size * BLOCK : size;
	KIndex *g = range(k, "g", size), *j = range(k, "j", way == LANE_BLOCKS ? BLOCK : size);
	KExpr *column = way == LANES ? at(k, g) : at(k, j), *in[3];
	if (way == LANE_BLOCKS)
		column = add(k, mul(k, at(k, g), i32(k, BLOCK)), at(k, j));
	Case c = {.k = k, .params = {3}};
	for (int i = 0; i < 3; i++) {
		KBuffer *from = matrix(k, BUFFER_INPUT, "in", types[i], columns);
		in[i] = kexpr_load(k, from, (KExpr *[]){at(k, r), column});
		c.in[i] = data[i];
	}
	KBuffer *to = matrix(k, BUFFER_OUTPUT, "out", out_type, columns);
	c.out_bytes[0] = 3 * (size_t)(columns ? columns : 1) * store_bytes(to->store);
	KStep *step = kstep_map(k, to, (KExpr *[]){at(k, r), column}, &j, way == LANES ? 0 : 1, build(k, in, number));
	step->is_vector = way == VECTOR;
	KStep *rows = kstep_loop(k, r, LOOP_ROWS, 0), *lanes = kstep_loop(k, g, LOOP_LANES, LANE_COUNT);
	push(k, &k->steps, rows);
	push(k, &rows->body, way >= LANES ? lanes : step);
	if (way >= LANES)
		push(k, &lanes->body, step);
	k->is_scheduled = true;
	vec_push(s->c->arena, &s->cases, c);
}

static inline const char *type_name(KType type)
{
	static const char *const names[] = {
		[T_BOOL] = "bool", [T_I32] = "i32", [T_I64] = "i64", [T_F32] = "f32", [T_F64] = "f64"};
	return names[type];
}

static inline void *values_of(Suite *s, KType type, size_t count)
{
	if (type == T_F32)
		return floats(s, count, 0);
	if (type == T_BOOL) {
		uint8_t *x = bytes(s, count);
		for (size_t i = 0; i < count; i++)
			x[i] &= 1;
		return x;
	}
	if (type == T_F64) {
		double *x = arena_array(s->c->arena, double, count);
		float *from = floats(s, count, 0);
		for (size_t i = 0; i < count; i++)
			x[i] = (double)from[i] * (next_random() % 2 ? 1.0 : 1.0000000001);
		return x;
	}
	int64_t *x = bytes(s, count * 8);
	int32_t *narrow = (int32_t *)x;
	for (size_t i = 0; i < count; i++) {
		uint32_t r = next_random() % 4;
		int64_t small = (int64_t)(next_random() % 80) - 40, edge = r == 1 ? INT32_MIN : INT64_MIN;
		if (type == T_I32)
			narrow[i] = r == 0 ? narrow[i] : r == 1 ? INT32_MIN : (int32_t)small;
		else
			x[i] = r == 0 ? x[i] : r == 1 ? edge : small;
	}
	return x;
}

static inline KExpr *first_input(Kernel *k, KExpr **in, int number)
{
	(void)k;
	(void)number;
	return in[0];
}

static inline KBuffer *temp(
	Kernel *k, const char *name, const char *type, uint32_t rank, KExpr *const *extents, KStep *scope)
{
	KBuffer *buffer = kbuffer_new(k, BUFFER_TEMP, name_of(k->c, name), store(k, type), rank, extents);
	buffer->scope = scope;
	return buffer;
}

/* ---- the tests of a program ---- */

typedef void Test(const char *cpu);
typedef struct TestRow {
	const char *name;
	Test *run;
	bool on_all; /* CPUs that this one can run */
} TestRow;

/* PROGRAM [NAME]: the tests whose name has that in it */
static inline void tests_run(const TestRow *tests, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (name && !strstr(tests[i].name, name))
			continue;
		tests[i].run("native");
		if (tests[i].on_all)
			tests[i].run("x86-64-v2");
	}
}

#endif
