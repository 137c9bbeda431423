/* SPDX-License-Identifier: MIT
 *
 * reference.c: the rates of another implementation's encoders, beside memory's.
 *
 *     reference --reference /path/lib.so [--size MIB] [TYPE...]
 *
 * The library exports
 *     int ref_quantize(int type, const float *x, void *y, long rows, long cols, const float *imatrix);
 * where type is a GGUF type id; it returns 0, or another number for a type it does not have. Types are
 * measured one after the other, each next to a memory read, on 1 thread and on 2.
 */
#include "bench.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Quantize(int type, const float *x, void *y, long rows, long cols, const float *imatrix);

typedef struct Type {
	const char *name;
	int code; /* GGUF type id */
	int64_t block, block_bytes;
} Type;

static const Type types[] = {
	{"f16", 1, 1, 2},
	{"bf16", 30, 1, 2},
	{"q8_0", 8, 32, 34},
	{"q4_0", 2, 32, 18},
	{"q4_1", 3, 32, 20},
	{"q5_0", 6, 32, 22},
	{"q5_1", 7, 32, 24},
	{"q2_K", 10, 256, 84},
	{"q3_K", 11, 256, 110},
	{"q4_K", 12, 256, 144},
	{"q5_K", 13, 256, 176},
	{"q6_K", 14, 256, 210},
	{"iq4_nl", 20, 32, 18},
	{"mxfp4", 39, 32, 17},
	{"nvfp4", 40, 64, 36},
};
enum { TYPE_COUNT = sizeof types / sizeof types[0], COLS = 4096 };

typedef struct Encoder {
	Quantize *quantize;
	const Type *type;
	const float *from;
	char *to;
} Encoder;

static void run_encoder(void *state, int64_t begin, int64_t end)
{
	const Encoder *e = state;
	int64_t row_bytes = COLS / e->type->block * e->type->block_bytes;
	e->quantize(e->type->code, e->from + begin * COLS, e->to + begin * row_bytes, end - begin, COLS, NULL);
}

static void measure_type(Encoder *encoder, int64_t rows)
{
	BenchMemory memory = {encoder->from, NULL};
	BenchWork works[2] = {
		bench_read(&memory, rows * COLS * 4),
		{encoder->type->name, run_encoder, encoder, rows, COLS * 4},
	};
	BenchRate rates[2], encode[2], read[2];
	for (int i = 0; i < 2; i++) {
		bench_measure(works, 2, i + 1, rates);
		read[i] = rates[0];
		encode[i] = rates[1];
	}
	bench_print(encoder->type->name, encode, 2);
	bench_print_ratio(&encode[0], &read[0]);
	bench_print_ratio(&encode[1], &read[1]);
	printf(" of the read rate\n");
	fflush(stdout);
}

static void measure_memory(const float *from, int64_t bytes)
{
	BenchMemory memory = {from, bench_allocate(bytes)};
	BenchWork works[2] = {bench_read(&memory, bytes), bench_copy(&memory, bytes)};
	BenchRate rates[2][2];
	for (int i = 0; i < 2; i++)
		bench_measure(works, 2, i + 1, rates[i]);
	for (int w = 0; w < 2; w++) {
		BenchRate rate[2] = {rates[0][w], rates[1][w]};
		bench_print(works[w].name, rate, 2);
		printf("\n");
	}
	bench_free(memory.to);
}

static bool is_wanted(const Type *type, char **names)
{
	for (char **name = names; *name; name++)
		if (!strcmp(*name, type->name))
			return true;
	return !*names;
}

int main(int argc, char **argv)
{
	const char *library = getenv("REFERENCE");
	int64_t rows = (256 << 20) / (COLS * 4);
	int at = 1;
	for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
		if (!strcmp(argv[at], "--reference"))
			library = argv[at + 1];
		else if (!strcmp(argv[at], "--size"))
			rows = strtoll(argv[at + 1], NULL, 10) * 64; /* MiB of 16 KiB rows */
		else
			break;
	}
	void *handle = library ? dlopen(library, RTLD_NOW) : NULL;
	Quantize *quantize = handle ? (Quantize *)dlsym(handle, "ref_quantize") : NULL;
	if (!quantize || rows < 64) {
		const char *reason = library ? dlerror() : NULL;
		fprintf(stderr, "usage: reference --reference LIB.so [--size MIB] [TYPE...]\n%s", reason ? reason : "");
		return 2;
	}
	float *from = bench_allocate(rows * COLS * 4);
	char *to = bench_allocate(rows * COLS * 4);
	bench_fill(from, rows, COLS, 1);
	printf("MB/s of f32 input, median of %d (range), %lld MiB: 1 thread, 2 threads\n", BENCH_SAMPLES,
		(long long)(rows / 64));
	measure_memory(from, rows * COLS * 4);
	for (int i = 0; i < TYPE_COUNT; i++) {
		Encoder encoder = {quantize, &types[i], from, to};
		if (!is_wanted(&types[i], argv + at))
			continue;
		if (quantize(types[i].code, from, to, 1, COLS, NULL))
			printf("%-14s  not in the reference\n", types[i].name);
		else
			measure_type(&encoder, rows);
	}
	bench_free(to);
	bench_free(from);
	dlclose(handle);
	return 0;
}
