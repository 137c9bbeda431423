/* SPDX-License-Identifier: MIT
 *
 * dtypes_test.c: every dtype of stdlib that has a form, alone and behind pruning
 * passes, at several row lengths and input types: machine code gives the bytes that
 * the interpreter of the flat equations gives, scheduled or not. Where the golden
 * files of ggml lie beside the project, its bytes are the bytes.
 */
#include "check.h"
#include "link.h"
#include "llvm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 6, MAX_OUTPUTS = 8, LONGEST = 768 };

typedef struct Case {
	Decl *dtype;
	int64_t cols;
	const char *input; /* storage type */
	int passes;        /* 0: the dtype alone; 1: behind prune.nm; 2: behind prune.magnitude */
	bool wants_error;
} Case;

static const char *source_root(void)
{
	const char *root = getenv("srcdir");
	return root ? root : ".";
}

/* Rows of several kinds: normal, all zero, constant, with outliers, tiny, of equal magnitudes. */
static void fill(float *x, int64_t cols)
{
	uint32_t state = 12345;
	for (int64_t i = 0; i < ROWS * cols; i++) {
		state = state * 1664525u + 1013904223u;
		double u = (state >> 8) / 16777216.0, v = sin(6.2831853 * u) * sqrt(-2 * log((state % 997 + 1) / 998.0));
		switch (i / cols % ROWS) {
		case 0: x[i] = (float)(0.02 * v); break;
		case 1: x[i] = 0; break;
		case 2: x[i] = 0.37f; break;
		case 3: x[i] = (float)(0.02 * v * (i % 61 == 0 ? 40 : 1)); break;
		case 4: x[i] = (float)(1e-8 * v); break;
		default: x[i] = i % 3 ? 0.25f : -0.25f;
		}
	}
}

static void store_all(Store store, const float *x, void *to, int64_t count)
{
	uint32_t size = store_bytes(store);
	for (int64_t i = 0; i < count; i++) {
		uint64_t bits = store_encode(store, x[i]);
		memcpy((char *)to + i * size, &bits, size);
	}
}

static bool build(Program *p, const Case *test, ChainKernel *out)
{
	Compiler *c = p->c;
	Scope *rtn = scope_new(c, NULL), *prune = scope_new(c, NULL);
	scope_bind(c, rtn, name_of(c, "dtype"), value_dtype(p, (Loc){0}, test->dtype));
	ChainLink links[2];
	size_t count = 0;
	if (test->passes == 1) {
		scope_bind(c, prune, name_of(c, "n"), value_int((Loc){0}, 2));
		scope_bind(c, prune, name_of(c, "m"), value_int((Loc){0}, 4));
		links[count++] = link_of(p, "prune.nm", prune);
	} else if (test->passes == 2) {
		scope_bind(c, prune, name_of(c, "sparsity"), value_real((Loc){0}, 0.4));
		scope_bind(c, prune, name_of(c, "scope"), value_word((Loc){0}, "row"));
		links[count++] = link_of(p, "prune.magnitude", prune);
	}
	links[count++] = link_of(p, "quantize.rtn", rtn);
	DtypeRef ref = {.decl = test->dtype};
	Chain chain = {.name = name_of(c, "kernel"), .input = store_find(name_of(c, test->input)), .cols = test->cols,
	    .links = links, .link_count = count, .container = dtype_layout(&ref, "gguf") ? "gguf" : "safetensors",
	    .holds_planes = !dtype_layout(&ref, "gguf"),
	    .wants_error = test->wants_error};
	if (!chain_build(p, &chain, out))
		return false;
	if (!out->needs_all_rows)
		return true;
	chain.rows = ROWS;
	return chain_build(p, &chain, out);
}

static int64_t output_bytes(const KBuffer *buffer)
{
	int64_t bytes = store_bytes(buffer->store), extent;
	for (uint32_t i = 0; i < buffer->rank; i++)
		bytes *= kexpr_is_const(buffer->extent[i], &extent) ? extent : ROWS;
	return bytes;
}

typedef struct Result {
	void *at[MAX_OUTPUTS];
	int64_t bytes[MAX_OUTPUTS];
	size_t count;
} Result;

static Result result_new(const Kernel *k)
{
	Result result = {.count = k->outputs.count};
	for (size_t i = 0; i < result.count; i++) {
		result.bytes[i] = output_bytes(k->outputs.at[i]);
		result.at[i] = malloc((size_t)result.bytes[i] + 64);
		memset(result.at[i], 0xa5, (size_t)result.bytes[i]);
	}
	return result;
}

static void result_free(Result *result)
{
	for (size_t i = 0; i < result->count; i++)
		free(result->at[i]);
}

static void compare(const char *what, const Case *test, const Result *a, const Result *b)
{
	for (size_t i = 0; i < a->count; i++) {
		int64_t first = 0;
		while (first < a->bytes[i] && ((char *)a->at[i])[first] == ((char *)b->at[i])[first])
			first++;
		CHECK(first == a->bytes[i], "%s: %s of %s [%d, %lld], passes %d%s: output %zu differs from byte %lld on", what,
		    test->dtype->name, test->input, ROWS, (long long)test->cols, test->passes,
		    test->wants_error ? ", with errors" : "", i, (long long)first);
	}
}

/* A whole work buffer is bound where a kernel has one: only kernels that want all rows do. */
static void run_native(Compiler *c, Kernel *k, void *input, Result *result)
{
	ModuleTarget target = {.cpu = "native"};
	Module *m = module_new(c, &target);
	ObjectBytes object;
	bool ok = m && module_add_kernel(m, k) && module_verify(m) && module_optimize(m) && module_object(m, &object);
	Jit *jit = ok ? jit_new(c, &object) : NULL;
	CmprtKernel *run = jit ? (CmprtKernel *)(uintptr_t)jit_symbol(jit, k->name) : NULL;
	CHECK(run != NULL, "%s", "no machine code");
	if (run) {
		void *buffers[64] = {input}, *scratch = aligned_alloc(64, (k->scratch_bytes + 127) / 64 * 64);
		size_t count = 1;
		for (size_t i = 0; i < result->count; i++)
			buffers[count++] = result->at[i];
		size_t work = count;
		for (size_t i = 0; i < k->buffers.count; i++)
			if (k->buffers.at[i]->kind == BUFFER_TEMP && !k->buffers.at[i]->scope)
				buffers[count++] = malloc((size_t)output_bytes(k->buffers.at[i]) + 64);
		int64_t params[1] = {ROWS};
		CmprtFrame frame = {buffers, params, scratch, NULL};
		run(&frame, 0, ROWS);
		while (count > work)
			free(buffers[--count]);
		free(scratch);
	}
	if (jit)
		jit_free(jit);
	if (m)
		module_free(m);
}

static void run_case(Program *p, const Case *test)
{
	static float x[ROWS * LONGEST];
	static char stored[sizeof x];
	ChainKernel flat, scheduled;
	Store store = store_find(name_of(p->c, test->input));
	fill(x, test->cols);
	store_all(store, x, stored, ROWS * test->cols);
	bool ok = build(p, test, &flat) && build(p, test, &scheduled);
	CHECK(ok, "%s of %s [.., %lld] cannot be built", test->dtype->name, test->input, (long long)test->cols);
	if (!ok)
		return;
	Result expected = result_new(flat.kernel), interpreted = result_new(flat.kernel), native = result_new(flat.kernel);
	void *inputs[1] = {stored};
	int64_t params[1] = {ROWS};
	CHECK(kernel_interpret(flat.kernel, inputs, expected.at, params), "flat %s", test->dtype->name);
	ScheduleOptions options = {.lanes = 8};
	kernel_schedule(scheduled.kernel, &options);
	CHECK(kernel_verify(scheduled.kernel), "scheduled %s", test->dtype->name);
	CHECK(kernel_interpret(scheduled.kernel, inputs, interpreted.at, params), "scheduled %s", test->dtype->name);
	compare("interpreted after scheduling", test, &expected, &interpreted);
	run_native(p->c, scheduled.kernel, stored, &native);
	compare("machine code", test, &expected, &native);
	result_free(&expected);
	result_free(&interpreted);
	result_free(&native);
}

/* ---- golden files ---- */

static void *read_file(const char *path, size_t *bytes)
{
	FILE *file = fopen(path, "rb");
	if (!file)
		return NULL;
	fseek(file, 0, SEEK_END);
	*bytes = (size_t)ftell(file);
	rewind(file);
	void *data = malloc(*bytes + 1);
	size_t got = fread(data, 1, *bytes, file);
	fclose(file);
	*bytes = got;
	return data;
}

/* The golden rows, 512 long, through the interpreter; machine code is held to it by run_case. */
static bool check_golden(Program *p, Decl *dtype)
{
	char path[512];
	size_t input_bytes, bytes;
	snprintf(path, sizeof path, "%s/../shared/golden/ggml/%s.bin", source_root(), dtype->name);
	unsigned char *golden = read_file(path, &bytes);
	snprintf(path, sizeof path, "%s/../shared/golden/ggml/input.f32", source_root());
	float *input = golden ? read_file(path, &input_bytes) : NULL;
	Case test = {dtype, 512, "f32", 0, false};
	ChainKernel built;
	bool is_there = input && build(p, &test, &built);
	if (is_there) {
		int64_t params[1] = {(int64_t)(input_bytes / 2048)};
		unsigned char *out = calloc(1, bytes + 64);
		void *inputs[1] = {input}, *outputs[1] = {out};
		CHECK(kernel_interpret(built.kernel, inputs, outputs, params), "golden %s", dtype->name);
		CHECK(!memcmp(out, golden, bytes), "%s does not give ggml's bytes", dtype->name);
		free(out);
	}
	free(golden);
	free(input);
	return is_there;
}

/* ---- all of them ---- */

static void check_dtype(const char *stdlib, Name name, size_t *golden)
{
	static const Case variants[] = {
	    {NULL, 512, "f32", 0, false}, {NULL, 256, "bf16", 0, true},  {NULL, 768, "f16", 1, false},
	    {NULL, 512, "bf16", 1, true}, {NULL, 512, "f32", 2, false}, {NULL, 256, "f32", 2, true},
	};
	for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
		Compiler *c = compiler_new();
		Program *p = program_new(c, stdlib);
		CHECK(program_load_stdlib(p), "%s", stdlib);
		Case test = variants[v];
		test.dtype = program_find(p, DECL_DTYPE, name_of(c, name));
		DtypeRef ref = {.decl = test.dtype};
		if (dtype_layout(&ref, "gguf") || dtype_planes(&ref)) {
			run_case(p, &test);
			if (v == 0)
				*golden += check_golden(p, test.dtype);
		}
		diag_flush(c, stdout);
		compiler_free(c);
	}
}

int main(int argc, char **argv)
{
	char stdlib[512];
	size_t golden = 0;
	snprintf(stdlib, sizeof stdlib, "%s/stdlib", source_root());
	Compiler *c = compiler_new();
	Program *p = program_new(c, stdlib);
	CHECK(program_load_stdlib(p), "%s", stdlib);
	NameVec names = {0};
	program_names(p, DECL_DTYPE, &names);
	for (size_t i = 0; i < names.count; i++)
		if (argc < 2 || !strcmp(argv[1], names.at[i]))
			check_dtype(stdlib, names.at[i], &golden);
	compiler_free(c);
	printf("%zu dtypes compared with golden files\n", golden);
	return finish("dtypes_test");
}
