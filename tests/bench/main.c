/* SPDX-License-Identifier: MIT
 *
 * main.c: make bench: the rates of our kernels on 256 MiB of f32, on one thread and
 * on two, beside what this machine's memory does at the same time.
 *
 *     bench [--reference LIB.so] [--size MIB] [NAME...]
 *
 * A reference is a library with
 *     int ref_quantize(int type, const float *x, void *y, long rows, long cols, const float *imatrix);
 * where type is a GGUF type id; it returns 0, or another number for a type it does not have. Its bytes must be
 * ours: the exit status says so. Nothing depends on a rate.
 */
#include "bench.h"
#include "kernels.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Quantize(int type, const float *x, void *y, long rows, long cols, const float *imatrix);

typedef struct Entry {
	const char *name, *passes, *container;
	int code;             /* GGUF type id, -1: no type that a reference may have */
	const char *parts[2]; /* the same passes as two kernels, one after the other; NULL: it is one pass */
} Entry;

#define PRUNE "prune.magnitude(sparsity: 50%)"
#define INT4 "quantize.rtn(int4_g128)"
#define Q8 "quantize.rtn(q8_0)"

static const Entry entries[] = {
	{"f16", "quantize.rtn(f16)", "gguf", 1, {0}},
	{"bf16", "quantize.rtn(bf16)", "gguf", 30, {0}},
	{"q8_0", Q8, "gguf", 8, {0}},
	{"q4_0", "quantize.rtn(q4_0)", "gguf", 2, {0}},
	{"q4_1", "quantize.rtn(q4_1)", "gguf", 3, {0}},
	{"q5_0", "quantize.rtn(q5_0)", "gguf", 6, {0}},
	{"q5_1", "quantize.rtn(q5_1)", "gguf", 7, {0}},
	{"q2_K", "quantize.rtn(q2_K)", "gguf", 10, {0}},
	{"q3_K", "quantize.rtn(q3_K)", "gguf", 11, {0}},
	{"q4_K", "quantize.rtn(q4_K)", "gguf", 12, {0}},
	{"q5_K", "quantize.rtn(q5_K)", "gguf", 13, {0}},
	{"q6_K", "quantize.rtn(q6_K)", "gguf", 14, {0}},
	{"iq4_nl", "quantize.rtn(iq4_nl)", "gguf", 20, {0}},
	{"mxfp4", "quantize.rtn(mxfp4)", "gguf", 39, {0}},
	{"int4_g128", INT4, "safetensors", -1, {0}},
	{"int8", "quantize.rtn(int8)", "safetensors", -1, {0}},
	{"f8_e4m3", "quantize.rtn(f8_e4m3)", "safetensors", -1, {0}},
	{"nf4", "quantize.rtn(nf4)", "safetensors", -1, {0}},
	{"magnitude", PRUNE, "safetensors", -1, {0}},
	{"nm", "prune.nm(n: 2, m: 4)", "safetensors", -1, {0}},
	{"magnitude+int4_g128", PRUNE ";" INT4, "safetensors", -1, {PRUNE, INT4}},
	{"magnitude+q8_0", PRUNE ";" Q8, "gguf", -1, {PRUNE, Q8}},
};
enum { ENTRY_COUNT = sizeof entries / sizeof *entries, COLS = 4096, THREADS = 2 };

typedef struct Bench {
	Quantize *quantize; /* NULL: no reference */
	int64_t rows;
	float *from;
	char *to, *between; /* as many bytes each */
	bool is_different;
} Bench;

/* ---- the reference ---- */

typedef struct Reference {
	Quantize *quantize;
	int code;
	int64_t row_bytes;
	const float *from;
	char *to;
} Reference;

static void run_reference(void *state, int64_t begin, int64_t end)
{
	const Reference *r = state;
	r->quantize(r->code, r->from + begin * COLS, r->to + begin * r->row_bytes, end - begin, COLS, NULL);
}

/* Both have run on all rows. */
static void compare(Bench *bench, const Entry *entry, const char *ours, const char *theirs, int64_t bytes)
{
	if (memcmp(ours, theirs, (size_t)bytes) == 0)
		return;
	int64_t first = 0;
	while (ours[first] == theirs[first])
		first++;
	printf("%-20s differs from the reference at byte %lld of %lld\n", entry->name, (long long)first, (long long)bytes);
	bench->is_different = true;
}

/* ---- measuring ---- */

/* Two works on the same bytes, one after the other. */
static BenchRate in_turn(const BenchRate *a, const BenchRate *b)
{
	return (BenchRate){
		1 / (1 / a->median + 1 / b->median), 1 / (1 / a->low + 1 / b->low), 1 / (1 / a->high + 1 / b->high)};
}

static void print_rate(const BenchRate *rate)
{
	char range[32];
	snprintf(range, sizeof range, "(%.0f-%.0f)", rate->low / 1e6, rate->high / 1e6);
	printf(" %8.0f %-16s", rate->median / 1e6, range);
}

/* works: read, copy, then the kernel and what it is compared with: a reference or, of an entry with parts, those. */
static void print_row(const Entry *entry, BenchRate rates[THREADS][5], int count)
{
	printf("%-20s", entry->name);
	for (int i = 0; i < THREADS; i++) {
		const BenchRate *r = rates[i];
		print_rate(&r[2]);
		printf(" %5.2f %5.2f", r[2].median / r[1].median, r[2].median / r[0].median);
		if (count == 3) {
			printf(" %8s", "-");
			continue;
		}
		BenchRate other = entry->parts[0] ? in_turn(&r[3], &r[4]) : r[3];
		printf(" %7.2fx", r[2].median / other.median);
	}
	printf("\n");
	if (!entry->parts[0])
		return;
	for (int part = 0; part < 2; part++) {
		printf("  %-18.18s", entry->parts[part]);
		for (int i = 0; i < THREADS; i++) {
			print_rate(&rates[i][3 + part]);
			printf(" %5.2f %5.2f %8s", rates[i][3 + part].median / rates[i][1].median,
				rates[i][3 + part].median / rates[i][0].median, "");
		}
		printf("\n");
	}
}

static void measure(Bench *bench, const Entry *entry)
{
	int64_t bytes = bench->rows * COLS * 4;
	BenchMemory memory = {bench->from, bench->between};
	BenchKernel *kernels[3] = {kernel_compile(entry->passes, entry->container, bench->rows, COLS)};
	BenchWork works[5] = {bench_read(&memory, bytes), bench_copy(&memory, bytes)};
	works[2] = kernel_work(kernels[0], entry->name, bench->from, bench->to, THREADS);
	int count = 3;
	Reference reference = {
		bench->quantize, entry->code, kernel_bytes(kernels[0]) / bench->rows, bench->from, bench->between};
	bool has_reference = bench->quantize && entry->code >= 0 &&
						 bench->quantize(entry->code, bench->from, bench->between, 1, COLS, NULL) == 0;
	if (has_reference) {
		works[count++] = (BenchWork){"reference", run_reference, &reference, bench->rows, COLS * 4};
		bench_run(&works[2], THREADS);
		bench_run(&works[3], THREADS);
		compare(bench, entry, bench->to, bench->between, kernel_bytes(kernels[0]));
	}
	for (int part = 0; part < 2 && entry->parts[part]; part++) {
		kernels[1 + part] =
			kernel_compile(entry->parts[part], part ? entry->container : "safetensors", bench->rows, COLS);
		works[count++] = kernel_work(kernels[1 + part], entry->parts[part],
			part ? (float *)bench->between : bench->from, part ? bench->to : bench->between, THREADS);
	}
	BenchRate rates[THREADS][5];
	for (int i = 0; i < THREADS; i++)
		bench_measure(works, count, i + 1, rates[i]);
	print_row(entry, rates, count);
	fflush(stdout);
	for (int i = 0; i < 3; i++)
		if (kernels[i])
			kernel_free(kernels[i]);
}

static bool is_wanted(const Entry *entry, char **names)
{
	for (char **name = names; *name; name++)
		if (!strcmp(*name, entry->name))
			return true;
	return !*names;
}

static void measure_all(Bench *bench, char **names)
{
	printf(
		"MB/s of f32 input, %lld MiB, %d columns: median of %d samples of %.1f s or more (range). copy, read: relative "
		"to\n"
		"memory copied and read in the same run; ratio: to the reference, or to the two kernels below in turn.\n%-20s",
		(long long)(bench->rows / 64), COLS, BENCH_SAMPLES, BENCH_SAMPLE_SECONDS, "");
	for (int i = 0; i < THREADS; i++)
		printf(" %d %-23s %5s %5s %8s", i + 1, i ? "threads" : "thread", "copy", "read", "ratio");
	printf("\n");
	for (int i = 0; i < ENTRY_COUNT; i++)
		if (is_wanted(&entries[i], names))
			measure(bench, &entries[i]);
}

int main(int argc, char **argv)
{
	const char *library = getenv("REFERENCE");
	Bench bench = {.rows = (256 << 20) / (COLS * 4)};
	int at = 1;
	for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
		if (!strcmp(argv[at], "--reference"))
			library = argv[at + 1];
		else if (!strcmp(argv[at], "--size"))
			bench.rows = strtoll(argv[at + 1], NULL, 10) * 64; /* MiB of 16 KiB rows */
		else
			break;
	}
	void *handle = library && *library ? dlopen(library, RTLD_NOW) : NULL;
	bench.quantize = handle ? (Quantize *)dlsym(handle, "ref_quantize") : NULL;
	if ((library && *library && !bench.quantize) || bench.rows < 64 || bench.rows > 1 << 20 ||
		(at < argc && argv[at][0] == '-')) {
		const char *reason = library && *library ? dlerror() : NULL;
		fprintf(stderr, "usage: bench [--reference LIB.so] [--size MIB] [NAME...]\n%s%s", reason ? reason : "",
			reason ? "\n" : "");
		return 2;
	}
	int64_t bytes = bench.rows * COLS * 4;
	bench.from = bench_allocate(bytes);
	bench.to = bench_allocate(bytes);
	bench.between = bench_allocate(bytes);
	bench_fill(bench.from, bench.rows, COLS, 1);
	measure_all(&bench, argv + at);
	bench_free(bench.between);
	bench_free(bench.to);
	bench_free(bench.from);
	if (handle)
		dlclose(handle);
	return bench.is_different;
}
