/* SPDX-License-Identifier: MIT
 *
 * kernels.c: see kernels.h. The checkpoint is one tensor without data, a sparse file
 * in a folder of its own, removed as soon as the program is compiled. A slice of
 * rows is a panel to the kernel, as it is in the runtime: buffers begin at the
 * panel's first row.
 */
#define _GNU_SOURCE
#include "kernels.h"

#include "stages.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <omp.h>

enum { PORTS_MOST = 8 };

struct BenchKernel {
	Compiler *c;
	Jit *jit;
	const CmprtJob *job;
	/* of kernel_work */
	const char *from;
	char *to;
	char *scratch; /* (threads, scratch_bytes) */
};

static void fail(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- compiling ---- */

static void write_checkpoint(const char *path, int64_t rows, int64_t cols)
{
	char header[256];
	int length =
		snprintf(header, sizeof header, "{\"w\":{\"dtype\":\"F32\",\"shape\":[%lld,%lld],\"data_offsets\":[0,%lld]}}",
			(long long)rows, (long long)cols, (long long)(rows * cols * 4));
	uint64_t bytes = (uint64_t)length;
	FILE *file = fopen(path, "wb");
	bool is_written = file && fwrite(&bytes, 8, 1, file) == 1 && fwrite(header, bytes, 1, file) == 1 &&
					  fflush(file) == 0 && ftruncate(fileno(file), 8 + length + rows * cols * 4) == 0;
	if (!is_written || fclose(file) != 0)
		fail(path);
}

static const char *program_text(Compiler *c, const char *folder, const char *passes, const char *container)
{
	Text text = {.arena = c->arena};
	text_printf(&text, "model m from \"%s/m.safetensors\"\npipeline p of m {\n", folder);
	for (const char *pass = passes; *pass;) {
		size_t length = strcspn(pass, ";");
		text_printf(&text, "\t%.*s on all\n", (int)length, pass);
		pass += length + (pass[length] == ';');
	}
	text_printf(&text, "\tsave \"%s/o.%s\"\n}\n", folder, container);
	return text.at;
}

/* The program's only job; NULL: errors were reported. */
static const CmprtJob *load_job(BenchKernel *kernel, Compilation *k)
{
	if (!compile(k, "obj") || !(kernel->jit = jit_new(k->c, &k->object)))
		return NULL;
	const CmprtProgram *program = jit_symbol(kernel->jit, "cmprt_program");
	if (program && program->job_count == 1 && !program->jobs[0].whole && program->jobs[0].work_count == 0 &&
		program->jobs[0].port_in_count + program->jobs[0].port_out_count <= PORTS_MOST)
		return &program->jobs[0];
	diag_fatal(k->c, "this is not one kernel that runs on rows: %s", k->text);
	return NULL;
}

BenchKernel *kernel_compile(const char *passes, const char *container, int64_t rows, int64_t cols)
{
	BenchKernel *kernel = calloc(1, sizeof *kernel);
	const char *parent = getenv("TMPDIR");
	char folder[4096], path[4200];
	snprintf(folder, sizeof folder, "%s/cmpc-bench-XXXXXX", parent ? parent : "/tmp");
	if (!kernel || !mkdtemp(folder))
		fail(folder);
	snprintf(path, sizeof path, "%s/m.safetensors", folder);
	write_checkpoint(path, rows, cols);
	kernel->c = compiler_new();
	Request request = {.c = kernel->c};
	Compilation k = compilation_begin(&request, "bench.cmp", program_text(kernel->c, folder, passes, container));
	k.runs_here = true;
	kernel->job = load_job(kernel, &k);
	unlink(path);
	rmdir(folder);
	if (!kernel->job) {
		diag_flush(kernel->c, stderr);
		exit(1);
	}
	compilation_end(&k);
	return kernel;
}

void kernel_free(BenchKernel *kernel)
{
	free(kernel->scratch);
	jit_free(kernel->jit);
	compiler_free(kernel->c);
	free(kernel);
}

/* ---- running ---- */

static int64_t scratch_bytes(const BenchKernel *kernel)
{
	return (kernel->job->scratch_bytes + 63) / 64 * 64;
}

static void run_kernel(void *state, int64_t begin, int64_t end)
{
	const BenchKernel *kernel = state;
	const CmprtJob *job = kernel->job;
	void *buffers[PORTS_MOST];
	int64_t params[job->param_count + 1], ins = job->port_in_count;
	params[0] = end - begin;
	for (int64_t i = 1; i < job->param_count; i++)
		params[i] = job->params[i];
	for (int64_t i = 0; i < ins; i++)
		buffers[i] = (char *)kernel->from + begin * job->ports_in[i].row_bytes;
	char *to = kernel->to;
	for (int64_t i = 0; i < job->port_out_count; i++) {
		buffers[ins + i] = to + begin * job->ports_out[i].row_bytes;
		to += (job->ports_out[i].row_bytes * job->rows + 63) / 64 * 64;
	}
	CmprtFrame frame = {buffers, params, kernel->scratch + omp_get_thread_num() * scratch_bytes(kernel), NULL};
	job->kernel(&frame, 0, end - begin);
}

int64_t kernel_bytes(const BenchKernel *kernel)
{
	int64_t bytes = 0;
	for (int64_t i = 0; i < kernel->job->port_out_count; i++)
		bytes += (kernel->job->ports_out[i].row_bytes * kernel->job->rows + 63) / 64 * 64;
	return bytes;
}

BenchWork kernel_work(BenchKernel *kernel, const char *name, const float *from, char *to, int threads)
{
	const CmprtJob *job = kernel->job;
	free(kernel->scratch);
	kernel->scratch = aligned_alloc(64, (size_t)(scratch_bytes(kernel) * threads + 64));
	if (!kernel->scratch)
		fail("scratch");
	kernel->from = (const char *)from;
	kernel->to = to;
	return (BenchWork){name, run_kernel, kernel, job->rows, (double)job->ports_in[0].row_bytes};
}
