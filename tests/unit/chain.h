/* SPDX-License-Identifier: MIT
 *
 * chain.h: what tests of passes need: from .cmp text to a kernel, and from a random matrix to what the kernel makes
 * of it. Each is interpreted twice, flat and scheduled, which must give the same bytes.
 */
#ifndef CMPC_TEST_CHAIN_H
#define CMPC_TEST_CHAIN_H

#include "check.h"
#include "link.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Run {
	Compiler *c;
	Program *p;
	Scope *arguments;
	Chain chain;
	ChainKernel built;
	void *out;
	int64_t t; /* rows of the tensor that a parameter is given */
} Run;

static inline const char *stdlib_folder(void)
{
	static char path[4096];
	const char *root = getenv("TOP_SRCDIR") ? getenv("TOP_SRCDIR") : getenv("srcdir");
	snprintf(path, sizeof path, "%s/stdlib", root ? root : ".");
	return path;
}

static inline float random_real(uint32_t *state)
{
	float sum = 0;
	for (int i = 0; i < 4; i++) {
		*state = *state * 1664525u + 1013904223u;
		sum += (float)(*state >> 8) / (1 << 24) - 0.5f;
	}
	return sum;
}

static inline float *random_matrix(size_t count, uint32_t seed)
{
	float *x = malloc(count * sizeof *x);
	for (size_t i = 0; i < count; i++)
		x[i] = random_real(&seed);
	return x;
}

static inline Run run_open(const char *source)
{
	Run r = {.c = compiler_new()};
	r.p = program_new(r.c, stdlib_folder());
	r.arguments = scope_new(r.c, NULL);
	uint32_t file = source_add(r.c, "test.cmp", source, strlen(source));
	Node *tree = parse_file(r.c, file);
	CHECK(tree && program_load_tree(r.p, file, tree) && program_load_stdlib(r.p));
	return r;
}

static inline void run_close(Run *r)
{
	free(r->out);
	compiler_free(r->c);
}

static inline void argument(Run *r, const char *name, Value value)
{
	scope_bind(r->c, r->arguments, name_of(r->c, name), value);
}

static inline bool tensor_shape(void *context, const Value *tensor, int64_t *rank, int64_t *shape, Store *store)
{
	const Run *r = context;
	CHECK(!strcmp(tensor->text, "rows.safetensors") && !strcmp(tensor->tensor, "x"));
	*rank = 2;
	shape[0] = r->t;
	shape[1] = r->chain.cols;
	*store = store_of_type(T_F32);
	return true;
}

static inline bool build(Run *r, const char *pass, int64_t rows, int64_t cols)
{
	static ChainLink link;
	link = link_of(r->p, pass, r->arguments);
	r->chain.name = name_of(r->c, "kernel");
	r->chain.input = store_of_type(T_F32);
	r->chain.rows = rows;
	r->chain.cols = cols;
	r->chain.links = &link;
	r->chain.link_count = 1;
	r->chain.tensor_shape = tensor_shape;
	r->chain.context = r;
	if (!r->chain.container)
		r->chain.container = "gguf";
	return link.pass && chain_build(r->p, &r->chain, &r->built);
}

static inline float *copy_of(const float *x, int64_t count)
{
	float *copy = malloc((size_t)count * sizeof *x + 1);
	for (int64_t i = 0; i < count; i++)
		copy[i] = x[i];
	return copy;
}

/* What the pass leaves of w: its packed bytes, or f32 values (chain.values_only); flat and scheduled alike. x: the
 * kernel's further input, or NULL. NULL: reported. */
static inline const void *result(Run *r, const char *pass, float *w, float *x, int64_t rows, int64_t cols, size_t *size)
{
	uint8_t *out[2] = {0};
	bool ok = true;
	for (int is_scheduled = 0; is_scheduled < 2 && ok; is_scheduled++) {
		ok = build(r, pass, rows, cols);
		*size = (size_t)(rows * (r->chain.values_only ? 4 * cols : r->built.row_bytes));
		if (ok && is_scheduled) {
			kernel_schedule(r->built.kernel, &(ScheduleOptions){.lanes = 8, .owns_inputs = r->chain.rows > 0});
			ok = kernel_verify(r->built.kernel);
		}
		/* copies: the scheduled kernel may change its inputs */
		float *inputs[2] = {copy_of(w, rows * cols), copy_of(x, x ? r->t * cols : 0)};
		void *outputs[1] = {out[is_scheduled] = calloc(*size, 1)};
		ok = ok && kernel_interpret(r->built.kernel, (void *const *)inputs, outputs, &(int64_t){rows});
		free(inputs[0]);
		free(inputs[1]);
	}
	if (!ok)
		diag_flush(r->c, stdout);
	CHECK(ok, "%s", pass);
	CHECK(!ok || !memcmp(out[0], out[1], *size), "%s: flat and scheduled differ", pass);
	free(r->out);
	r->out = out[0];
	free(out[1]);
	return ok ? r->out : NULL;
}

static inline const float *values(Run *r, const char *pass, float *w, int64_t rows, int64_t cols)
{
	size_t size;
	r->chain.values_only = true;
	return result(r, pass, w, NULL, rows, cols, &size);
}

static inline double distance(const float *a, const float *b, size_t count)
{
	double most = 0;
	for (size_t i = 0; a && i < count; i++) {
		double d = fabs((double)a[i] - (double)b[i]);
		most = d > most || isnan(d) ? d : most;
	}
	return a ? most : (double)INFINITY;
}

static inline void argument_dtype(Run *r, const char *dtype)
{
	argument(r, "dtype", value_dtype(r->p, (Loc){0}, program_find(r->p, DECL_DTYPE, name_of(r->c, dtype))));
}

#endif
