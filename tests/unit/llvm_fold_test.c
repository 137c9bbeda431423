/* SPDX-License-Identifier: MIT
 *
 * llvm_fold_test.c: reductions and scans, in scalar, vector and lane loops, short and long.
 */
#include "suite.h"

typedef struct Fold {
	bool is_scan;
	int op;
	const char *type, *out;
} Fold;

static const Fold folds[] = {
	{false, REDUCE_SUM, "f32", "f32"},
	{false, REDUCE_SUM, "f64", "f64"},
	{false, REDUCE_SUM, "i32", "i32"},
	{false, REDUCE_PROD, "f32", "f32"},
	{false, REDUCE_PROD, "i32", "i32"},
	{false, REDUCE_MAX, "f32", "f32"},
	{false, REDUCE_MIN, "f32", "f32"},
	{false, REDUCE_MAX, "i32", "i32"},
	{false, REDUCE_MIN, "f64", "f64"},
	{false, REDUCE_ANY, "bool", "bool"},
	{false, REDUCE_ALL, "bool", "bool"},
	{false, REDUCE_COUNT, "bool", "i32"},
	{false, REDUCE_ARGMAX, "f32", "i32"},
	{false, REDUCE_ARGMIN, "f32", "i32"},
	{false, REDUCE_ARGMAX, "i32", "i32"},
	{false, REDUCE_QUANTILE, "f32", "f32"},
	{false, REDUCE_QUANTILE, "i32", "i32"},
	{true, SCAN_RANK, "f32", "i32"},
	{true, SCAN_RANK, "i32", "i32"},
	{true, SCAN_SMALLEST, "f32", "bool"},
	{true, SCAN_SMALLEST, "f64", "bool"},
	{true, SCAN_SORT, "f32", "f32"},
	{true, SCAN_PREFIX, "f32", "f32"},
	{true, SCAN_PREFIX, "i32", "i32"},
};
enum { FOLDS = sizeof folds / sizeof *folds };

static void *fold_data(Suite *s, const char *type, size_t count, int kind)
{
	if (strcmp(type, "f32") == 0)
		return floats(s, count, kind);
	if (strcmp(type, "f64") == 0) {
		float *x = floats(s, count, kind);
		double *y = arena_array(s->c->arena, double, count + 1);
		for (size_t i = 0; i < count; i++)
			y[i] = (double)x[i];
		return y;
	}
	return values_of(s, strcmp(type, "bool") == 0 ? T_BOOL : T_I32, count + 1);
}

/* rows { [lanes g {] out[r, g(, j)] = fold[j < size](in[r, g, j]) }; axes 2: j is (a, b); key: by another input */
static void fold_case(
	Suite *s, const Fold *f, Way way, int64_t size, uint32_t axes, int kind, bool by_key, bool is_dynamic)
{
	enum { ROWS = 2, GROUPS = 11 };
	Kernel *k = kernel_named(s, f->is_scan ? "scan" : "reduce");
	int64_t a_size = axes == 2 ? 5 : 1, total = a_size * (size ? size : 1);
	KExpr *inner = is_dynamic ? kexpr_cast(k, T_I32, kexpr_param(k, 1)) : i32(k, size);
	KIndex *r = range_to(k, "r", kexpr_cast(k, T_I32, kexpr_param(k, 0)));
	KIndex *g = range(k, "g", GROUPS), *a = range(k, "a", a_size), *j = range_to(k, "j", inner);
	KExpr *extents[] = {kexpr_param(k, 0), i32(k, GROUPS), i32(k, a_size), i32(k, size ? size : 1)};
	KExpr *subs[] = {at(k, r), at(k, g), axes == 2 ? at(k, a) : i32(k, 0), at(k, j)};
	KBuffer *in = kbuffer_new(k, BUFFER_INPUT, name_of(k->c, "x"), store(k, f->type), 4, extents);
	KBuffer *keys = by_key ? kbuffer_new(k, BUFFER_INPUT, name_of(k->c, "keys"), store(k, "f32"), 4, extents) : NULL;
	KBuffer *out = kbuffer_new(k, BUFFER_OUTPUT, name_of(k->c, "y"), store(k, f->out), f->is_scan ? 4 : 2, extents);
	KIndex *over[] = {a, j}, **axis = axes == 2 ? over : over + 1;
	KIndex *domain[] = {g};
	uint32_t domain_count = way >= LANES ? 0 : 1;
	KExpr *value = kexpr_load(k, in, subs);
	KStep *step = f->is_scan ? kstep_scan(k, (KScan)f->op, out, subs, domain, domain_count, axis, axes, value)
							 : kstep_reduce(k, (KReduce)f->op, out, subs, domain, domain_count, axis, axes, value);
	step->is_vector = way == VECTOR;
	if (f->is_scan && f->op == SCAN_SMALLEST)
		step->limit = i32(k, total / 2);
	if (!f->is_scan && f->op == REDUCE_QUANTILE)
		step->limit = kexpr_real(k, T_F32, 0.3);
	if (by_key)
		step->key = kexpr_load(k, keys, subs);
	KStep *rows = kstep_loop(k, r, LOOP_ROWS, 0), *lanes = kstep_loop(k, g, LOOP_LANES, LANE_COUNT);
	push(k, &k->steps, rows);
	push(k, &rows->body, way >= LANES ? lanes : step);
	if (way >= LANES)
		push(k, &lanes->body, step);
	k->is_scheduled = true;
	size_t count = (size_t)(ROWS * GROUPS * total), outs = f->is_scan ? count : ROWS * GROUPS;
	Case c = {.k = k, .params = {ROWS, size}, .in = {fold_data(s, f->type, count, kind), NULL}};
	if (by_key)
		c.in[1] = floats(s, count, 1);
	c.out_bytes[0] = outs * store_bytes(out->store);
	vec_push(s->c->arena, &s->cases, c);
}

static void test_folds(const char *cpu)
{
	static const int64_t sizes[] = {0, 1, 3, 8, 33, 64, 65, 256, 257};
	for (int kind = 0; kind < 3; kind++) {
		Suite s = suite_new();
		for (int n = 0; n < FOLDS; n++)
			for (size_t i = (size_t)kind; i < sizeof sizes / sizeof *sizes; i += 3)
				for (Way way = SCALAR; way <= LANES; way++) {
					fold_case(&s, &folds[n], way, sizes[i], 1, kind, false, false);
					if ((n + (int)i) % 4 == 0)
						fold_case(&s, &folds[n], way, sizes[i], 1, kind, false, true);
					if ((n + (int)i) % 4 == 1)
						fold_case(&s, &folds[n], way, sizes[i], 2, kind, false, (int)way % 2);
					if (folds[n].is_scan && folds[n].op == SCAN_PREFIX)
						fold_case(&s, &folds[n], way, sizes[i], 1, 2, true, false);
				}
		suite_run(&s, "folds", cpu);
		compiler_free(s.c);
	}
}

/* A long row: selection and partial sums at work. */
static void test_long_rows(const char *cpu)
{
	Suite s = suite_new();
	for (int n = 0; n < FOLDS; n++)
		for (int kind = 0; kind < 3; kind++)
			fold_case(&s, &folds[n], VECTOR, 3001, 1, kind, false, kind == 1);
	suite_run(&s, "long rows", cpu);
	compiler_free(s.c);
}

/* N of M over groups that lie side by side, and where they do not. */
static void group_case(Suite *s, int64_t groups, int64_t size, bool is_rank, const char *type)
{
	enum { ROWS = 2 };
	Kernel *k = kernel_named(s, "group");
	KBuffer *in = matrix(k, BUFFER_INPUT, "x", type, groups * size);
	KBuffer *out = matrix(k, BUFFER_OUTPUT, "y", is_rank ? "u8" : "bool", groups * size);
	KIndex *r = range_to(k, "r", kexpr_cast(k, T_I32, kexpr_param(k, 0))), *g = range(k, "g", groups),
		   *j = range(k, "j", size);
	KExpr *subs[] = {at(k, r), add(k, mul(k, at(k, g), i32(k, size)), at(k, j))};
	KStep *step = kstep_scan(k, is_rank ? SCAN_RANK : SCAN_SMALLEST, out, subs, &g, 1, &j, 1, kexpr_load(k, in, subs));
	if (!is_rank)
		step->limit = i32(k, size / 2);
	step->is_vector = true;
	KStep *rows = kstep_loop(k, r, LOOP_ROWS, 0);
	push(k, &k->steps, rows);
	push(k, &rows->body, step);
	k->is_scheduled = true;
	Case c = {.k = k, .params = {ROWS}, .in = {fold_data(s, type, (size_t)(ROWS * groups * size), 1)}};
	c.out_bytes[0] = (size_t)(ROWS * groups * size);
	vec_push(s->c->arena, &s->cases, c);
}

static void test_groups(const char *cpu)
{
	Suite s = suite_new();
	for (int64_t size = 2; size <= 16; size *= 2)
		for (int n = 0; n < 4; n++)
			group_case(&s, 37, size, n % 2, n / 2 ? "i32" : "f32");
	suite_run(&s, "groups", cpu);
	compiler_free(s.c);
}

static const TestRow tests[] = {
	{"folds", test_folds, false},
	{"long", test_long_rows, false},
	{"groups", test_groups, true},
};

int main(int argc, char **argv)
{
	tests_run(tests, sizeof tests / sizeof *tests, argc > 1 ? argv[1] : NULL);
	return finish("llvm_fold_test");
}
