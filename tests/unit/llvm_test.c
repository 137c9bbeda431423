/* SPDX-License-Identifier: MIT
 *
 * llvm_test.c: steps together, whole kernels, the tables beside them, other targets.
 */
#include "suite.h"

/* ---- steps together ---- */

/* A block format in bytes: a f16 scale, 32 codes of 8 bits, and sums of pairs; in lanes or in vectors. */
static void block_case(Suite *s, bool in_lanes, int64_t blocks)
{
	enum { ROWS = 3, SIZE = 32, BYTES = 2 + SIZE + SIZE / 2 };
	Kernel *k = kernel_named(s, "block");
	KBuffer *in = matrix(k, BUFFER_INPUT, "x", "f32", blocks * SIZE);
	KBuffer *out = matrix(k, BUFFER_OUTPUT, "y", "u8", blocks * BYTES);
	KIndex *r = range_to(k, "r", kexpr_cast(k, T_I32, kexpr_param(k, 0))), *g = range(k, "g", blocks);
	KStep *rows = kstep_loop(k, r, LOOP_ROWS, 0);
	KStep *loop = kstep_loop(k, g, in_lanes ? LOOP_LANES : LOOP_SEQUENTIAL, in_lanes ? LANE_COUNT : 0);
	KBuffer *top = temp(k, "top", "f32", 0, NULL, loop), *d = temp(k, "d", "f16", 0, NULL, loop);
	KBuffer *q = temp(k, "q", "i8", 2, (KExpr *[]){i32(k, blocks), i32(k, SIZE)}, rows);
	KIndex *j = range(k, "j", SIZE), *i = range(k, "i", SIZE), *n = range(k, "n", SIZE), *p = range(k, "p", SIZE / 2);
	KExpr *x = kexpr_load(k, in, (KExpr *[]){at(k, r), add(k, mul(k, at(k, g), i32(k, SIZE)), at(k, j))});
	KStep *most = kstep_reduce(k, REDUCE_MAX, top, NULL, NULL, 0, &j, 1, kexpr_unary(k, OP_ABS, x));
	KExpr *scale = kexpr_binary(k, OP_DIV, kexpr_load(k, top, NULL), kexpr_real(k, T_F32, 127));
	KStep *set_d = kstep_map(k, d, NULL, NULL, 0, scale);
	KExpr *y = kexpr_load(k, in, (KExpr *[]){at(k, r), add(k, mul(k, at(k, g), i32(k, SIZE)), at(k, i))});
	KExpr *code = kexpr_unary(k, OP_ROUND, kexpr_binary(k, OP_DIV, y, kexpr_load(k, d, NULL)));
	KStep *set_q = kstep_map(k, q, (KExpr *[]){at(k, g), at(k, i)}, &i, 1, code);
	KExpr *first = mul(k, at(k, g), i32(k, BYTES)), *stored = kexpr_load(k, q, (KExpr *[]){at(k, g), at(k, n)});
	KStep *put_d = kstep_map(k, out, (KExpr *[]){at(k, r), first}, NULL, 0, kexpr_load(k, d, NULL));
	put_d->store = store(k, "f16");
	KStep *put_q = kstep_map(k, out, (KExpr *[]){at(k, r), add(k, first, add(k, at(k, n), i32(k, 2)))}, &n, 1, stored);
	put_q->store = store(k, "i8");
	KExpr *twice = mul(k, at(k, p), i32(k, 2)), *even = kexpr_load(k, q, (KExpr *[]){at(k, g), twice});
	KExpr *odd = kexpr_load(k, q, (KExpr *[]){at(k, g), add(k, twice, i32(k, 1))});
	KExpr *place = add(k, first, add(k, at(k, p), i32(k, 2 + SIZE)));
	KStep *put_pairs = kstep_map(k, out, (KExpr *[]){at(k, r), place}, &p, 1, add(k, even, odd));
	KStep *all[] = {most, set_d, set_q, put_d, put_q, put_pairs};
	push(k, &k->steps, rows);
	push(k, &rows->body, loop);
	for (size_t n_step = 0; n_step < sizeof all / sizeof *all; n_step++) {
		all[n_step]->is_vector = !in_lanes && (all[n_step]->domain_count || all[n_step]->over_count);
		push(k, &loop->body, all[n_step]);
	}
	k->is_scheduled = true;
	Case c = {.k = k, .params = {ROWS}, .in = {floats(s, (size_t)(ROWS * blocks * SIZE), 2)}};
	c.out_bytes[0] = (size_t)(ROWS * blocks * BYTES);
	vec_push(s->c->arena, &s->cases, c);
}

/* Lanes write a shared buffer that the same loop reads back, once as it was and once changed. */
static void shared_case(Suite *s, int64_t turns)
{
	enum { ROWS = 2, SIZE = 4 };
	Kernel *k = kernel_named(s, "shared");
	KBuffer *in = matrix(k, BUFFER_INPUT, "x", "f32", turns * SIZE);
	KBuffer *out = matrix(k, BUFFER_OUTPUT, "y", "f32", turns);
	KIndex *r = range_to(k, "r", kexpr_cast(k, T_I32, kexpr_param(k, 0))), *g = range(k, "g", turns);
	KStep *rows = kstep_loop(k, r, LOOP_ROWS, 0), *lanes = kstep_loop(k, g, LOOP_LANES, LANE_COUNT);
	KBuffer *w = temp(k, "w", "f16", 1, (KExpr *[]){i32(k, turns * SIZE)}, rows);
	KBuffer *is_small = temp(k, "small", "bool", 1, (KExpr *[]){i32(k, SIZE)}, lanes);
	KIndex *index[4];
	KExpr *column[4];
	for (int n = 0; n < 4; n++) {
		index[n] = range(k, "k", SIZE);
		column[n] = add(k, mul(k, at(k, g), i32(k, SIZE)), at(k, index[n]));
	}
	KStep *copy = kstep_map(k, w, &column[0], &index[0], 1, kexpr_load(k, in, (KExpr *[]){at(k, r), column[0]}));
	KExpr *own = kexpr_unary(k, OP_ABS, kexpr_load(k, w, &column[1])), *sub = at(k, index[1]);
	KStep *rank = kstep_scan(k, SCAN_SMALLEST, is_small, &sub, NULL, 0, &index[1], 1, own);
	rank->limit = i32(k, 2);
	KExpr *cut = kexpr_select(k, kexpr_load(k, is_small, (KExpr *[]){at(k, index[2])}), kexpr_real(k, T_F32, 0),
		kexpr_load(k, w, &column[2]));
	KStep *change = kstep_map(k, w, &column[2], &index[2], 1, cut);
	KExpr *result = at(k, g);
	KStep *sum = kstep_reduce(
		k, REDUCE_SUM, out, (KExpr *[]){at(k, r), result}, NULL, 0, &index[3], 1, kexpr_load(k, w, &column[3]));
	KStep *all[] = {copy, rank, change, sum};
	push(k, &k->steps, rows);
	push(k, &rows->body, lanes);
	for (int n = 0; n < 4; n++)
		push(k, &lanes->body, all[n]);
	k->is_scheduled = true;
	Case c = {.k = k, .params = {ROWS}, .in = {floats(s, (size_t)(ROWS * turns * SIZE), 1)}};
	c.out_bytes[0] = (size_t)(ROWS * turns) * 4;
	vec_push(s->c->arena, &s->cases, c);
}

static void test_together(const char *cpu)
{
	Suite s = suite_new();
	for (int64_t blocks = 1; blocks < 20; blocks += 3)
		for (int in_lanes = 0; in_lanes < 2; in_lanes++)
			block_case(&s, in_lanes, blocks);
	for (int64_t turns = 1; turns < 40; turns += 5)
		shared_case(&s, turns);
	shared_case(&s, 32);
	suite_run(&s, "together", cpu);
	compiler_free(s.c);
}

/* ---- kernels of several steps ---- */

/* for t { rows of w := w * scale[t] + t, a temporary of the turn in between }; then a product with small integers,
 * whose sums are exact in any order. */
static void test_whole(const char *cpu)
{
	enum { ROWS = 70, SIZE = 33, TURNS = 3 };
	Suite s = suite_new();
	Kernel *k = kernel_named(&s, "whole");
	KBuffer *in = matrix(k, BUFFER_INPUT, "x", "f32", SIZE), *out = matrix(k, BUFFER_OUTPUT, "y", "f32", ROWS);
	KExpr *extents[] = {i32(k, ROWS), i32(k, SIZE)};
	KBuffer *w = temp(k, "w", "f32", 2, extents, NULL);
	KIndex *t = range(k, "t", TURNS), *r[3], *j[3];
	for (int i = 0; i < 3; i++) {
		r[i] = range(k, "r", ROWS);
		j[i] = range(k, "j", SIZE);
	}
	KStep *turns = kstep_loop(k, t, LOOP_SEQUENTIAL, 0);
	KBuffer *scale = temp(k, "scale", "f32", 1, &extents[1], turns);
	KStep *first = kstep_loop(k, r[0], LOOP_ROWS, 0), *second = kstep_loop(k, r[1], LOOP_ROWS, 0);
	KExpr *subs0[] = {at(k, r[0]), at(k, j[0])}, *subs1[] = {at(k, r[1]), at(k, j[1])}, *sub2 = at(k, j[2]);
	push(k, &first->body, kstep_map(k, w, subs0, &j[0], 1, kexpr_load(k, in, subs0)));
	KExpr *factor = add(k, mul(k, at(k, t), i32(k, 2)), at(k, j[2]));
	push(k, &turns->body,
		kstep_map(k, scale, &sub2, &j[2], 1, kexpr_cast(k, T_F32, kexpr_binary(k, OP_IMOD, factor, i32(k, 3)))));
	KExpr *value = mul(k, kexpr_load(k, w, subs1), kexpr_load(k, scale, &subs1[1]));
	push(k, &second->body, kstep_map(k, w, subs1, &j[1], 1, add(k, value, kexpr_cast(k, T_F32, at(k, t)))));
	push(k, &turns->body, second);
	KIndex *o = range(k, "o", ROWS), *i = range(k, "i", ROWS), *d = range(k, "d", SIZE);
	KExpr *a = kexpr_load(k, w, (KExpr *[]){at(k, o), at(k, d)}),
		  *b = kexpr_load(k, w, (KExpr *[]){at(k, i), at(k, d)});
	KStep *product =
		kstep_reduce(k, REDUCE_SUM, out, (KExpr *[]){at(k, o), at(k, i)}, (KIndex *[]){o, i}, 2, &d, 1, mul(k, a, b));
	product->is_contraction = true;
	push(k, &k->steps, first);
	push(k, &k->steps, turns);
	push(k, &k->steps, product);
	k->is_scheduled = true;
	Case c = {.k = k, .params = {ROWS}, .work_bytes = ROWS * SIZE * 4};
	float *x = arena_array(s.c->arena, float, ROWS *SIZE);
	for (int n = 0; n < ROWS * SIZE; n++)
		x[n] = (float)(next_random() % 9) - 4;
	c.in[0] = x;
	c.out_bytes[0] = ROWS * ROWS * 4;
	vec_push(s.c->arena, &s.cases, c);
	suite_run(&s, "whole", cpu);
	compiler_free(s.c);
}

/* ---- tables ---- */

static void test_tables(const char *cpu)
{
	static const int64_t shape[] = {4, 5};
	static const CmprtInput inputs[] = {{.name = "a", .dtype = "F32", .rank = 2, .shape = shape, .bytes = 80}};
	static const CmprtPort ports[] = {{.tensor = 0, .row_bytes = 20, .rows = 4, .offset = 7}};
	CmprtJob jobs[] = {{.label = "a", .passes = "", .rows = 4}, {.label = "b",
																	.passes = "p",
																	.rows = 4,
																	.port_in_count = 1,
																	.ports_in = ports,
																	.port_out_count = 1,
																	.ports_out = ports}};
	CmprtProgram program = {.cmpc_version = "1",
		.pipeline = "p\n\"",
		.input_count = 1,
		.inputs = inputs,
		.job_count = 2,
		.jobs = jobs,
		.memory = -3};
	Suite s = suite_new();
	const char *types[] = {"f32", "u8", "u8"};
	void *data[3] = {floats(&s, 60, 2), bytes(&s, 60), bytes(&s, 60)};
	elementwise(&s, VECTOR, 20, types, "f32", data, first_input, 0);
	const char *names[] = {NULL, s.cases.at[0].k->name};
	ModuleTarget target = {.cpu = cpu};
	Module *m = module_new(s.c, &target);
	ObjectBytes object;
	bool is_good = m && module_add_kernel(m, s.cases.at[0].k) && module_add_program(m, &program, names, false) &&
				   module_optimize(m) && module_object(m, &object);
	CHECK(is_good, "tables");
	Jit *jit = is_good ? jit_new(s.c, &object) : NULL;
	const CmprtProgram *made = jit ? jit_symbol(jit, "cmprt_program") : NULL;
	CHECK(made && strcmp(made->pipeline, program.pipeline) == 0 && made->memory == -3 && !made->report_path, "program");
	CHECK(made && made->inputs[0].shape[1] == 5 && made->inputs[0].bytes == 80 && !made->outputs, "inputs");
	CHECK(made && !made->jobs[0].kernel && made->jobs[1].ports_in[0].offset == 7, "jobs");
	CHECK(made && (void *)made->jobs[1].kernel == jit_symbol(jit, names[1]), "kernel");
	if (jit)
		jit_free(jit);
	diag_flush(s.c, stdout);
	module_free(m);
	compiler_free(s.c);
}

/* ---- other targets ---- */

static void test_targets(const char *cpu)
{
	static const ModuleTarget targets[] = {{.triple = "aarch64-linux-gnu", .cpu = "cortex-a76"}, {.cpu = "x86-64-v4"},
		{.triple = "x86_64-linux-gnu", .cpu = "x86-64"}};
	static const uint32_t lanes[] = {4, 16, 4};
	(void)cpu;
	for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
		Suite s = suite_new();
		block_case(&s, true, 9);
		block_case(&s, false, 9);
		Module *m = module_new(s.c, &targets[i]);
		ObjectBytes object = {0};
		Text first = {.arena = s.c->arena};
		bool is_good = m && module_add_kernel(m, s.cases.at[0].k) && module_add_kernel(m, s.cases.at[1].k);
		CHECK(is_good && module_optimize(m) && module_assembly(m, &first) && module_object(m, &object) &&
				  object.count > 0,
			"%s", targets[i].cpu);
		TargetFacts facts = {0};
		CHECK(target_facts(s.c, &targets[i], &facts) && facts.lanes == lanes[i] && facts.is_host == (i > 0), "%s",
			facts.triple);
		CHECK(!strstr(first.at, "/tmp") && !strstr(first.at, "/home"), "a path in the assembly");
		diag_flush(s.c, stdout);
		if (m)
			module_free(m);
		compiler_free(s.c);
	}
}

static const TestRow tests[] = {
	{"together", test_together, true},
	{"whole", test_whole, false},
	{"tables", test_tables, false},
	{"targets", test_targets, false},
};

int main(int argc, char **argv)
{
	tests_run(tests, sizeof tests / sizeof *tests, argc > 1 ? argv[1] : NULL);
	return finish("llvm_test");
}
