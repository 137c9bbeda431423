/* SPDX-License-Identifier: MIT
 *
 * run_case.c: a program as cmpc's tables have it, with kernels written in C, and the
 * checkpoint it is for: matrices large and small, a vector, an empty tensor, and one
 * whose rows are needed all at once.
 */
#include "run_case.h"

#include "format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* ---- kernels; params[1]: columns, params[2]: microseconds that a row is slowed by ---- */

static void wait_microseconds(int64_t count)
{
	struct timespec time = {0, count * 1000};
	if (count > 0)
		nanosleep(&time, NULL);
}

/* f32 -> bf16 by truncation, with the squared error of each row */
static void halve(CmprtFrame *frame, int64_t begin, int64_t end)
{
	const uint32_t *in = frame->buffers[0];
	uint16_t *out = frame->buffers[1];
	double *error = frame->buffers[2];
	int64_t columns = frame->params[1];
	wait_microseconds((end - begin) * frame->params[2]);
	for (int64_t row = begin; row < end; row++) {
		error[2 * row] = error[2 * row + 1] = 0;
		for (int64_t i = row * columns; i < (row + 1) * columns; i++) {
			uint32_t kept = in[i] & 0xffff0000u;
			float x, y;
			memcpy(&x, &in[i], 4);
			memcpy(&y, &kept, 4);
			out[i] = (uint16_t)(kept >> 16);
			error[2 * row] += ((double)x - y) * ((double)x - y);
			error[2 * row + 1] += (double)x * x;
		}
	}
}

/* rows in reverse order: needs them all; goes through the thread's scratch and a work buffer */
static void reverse_rows(CmprtFrame *frame, int64_t begin, int64_t end)
{
	int64_t bytes = frame->params[1] * 4;
	for (int64_t row = begin; row < end; row++) {
		memcpy(frame->scratch, (char *)frame->buffers[0] + row * bytes, (size_t)bytes);
		memcpy((char *)frame->buffers[2] + row * bytes, frame->scratch, (size_t)bytes);
		memcpy((char *)frame->buffers[1] + (frame->params[0] - 1 - row) * bytes, frame->scratch, (size_t)bytes);
	}
}

static void reverse(CmprtFrame *frame, int64_t begin, int64_t end)
{
	cmprt_parallel(frame, (void *)reverse_rows, begin, end, frame->params[1] * 4);
}

/* ---- the checkpoint and the program for it ---- */

static void add_tensor(Case *c, const char *name, int64_t rows, int64_t columns, CmprtKernel *kernel, bool is_whole)
{
	int64_t i = c->program.input_count++, out_bytes = kernel == halve ? 2 : 4;
	c->program.output_count = c->program.job_count = i + 1;
	snprintf(c->names[i], sizeof c->names[i], "%s", name);
	c->shapes[i][0] = rows;
	c->shapes[i][1] = columns;
	c->inputs[i] = (CmprtInput){c->names[i], "F32", 2, c->shapes[i], rows * columns * 4, 0};
	c->outputs[i] = (CmprtOutput){.name = c->names[i],
		.container_dtype = kernel == halve ? "BF16" : "F32",
		.container_code = -1,
		.rank = 2,
		.shape = c->shapes[i],
		.bytes = rows * columns * out_bytes,
		.shard = i % SHARDS};
	c->ports_in[i] = (CmprtPort){.tensor = i, .row_bytes = columns * 4, .rows = rows};
	c->ports_out[i][0] = (CmprtPort){.tensor = i, .row_bytes = columns * out_bytes, .rows = rows};
	c->ports_out[i][1] = (CmprtPort){.tensor = -1, .row_bytes = 16, .rows = rows};
	c->params[i][1] = columns;
	c->work[i] = rows * columns * 4;
	c->jobs[i] = (CmprtJob){.label = c->names[i],
		.passes = kernel ? "test" : "",
		.kernel = kernel,
		.scratch_bytes = is_whole ? columns * 4 : 0,
		.rows = rows,
		.whole = is_whole,
		.port_in_count = 1,
		.ports_in = &c->ports_in[i],
		.port_out_count = kernel == halve ? 2 : 1,
		.ports_out = c->ports_out[i],
		.work_count = is_whole,
		.work_bytes = &c->work[i],
		.error_port = kernel == halve ? 1 : -1,
		.dtype = kernel ? (kernel == halve ? "bf16" : "f32") : NULL,
		.param_count = 3,
		.params = c->params[i]};
}

Case *case_make(const char *model, const char *output)
{
	Case *c = calloc(1, sizeof *c);
	c->sources[0] = (CmprtSource){model, "safetensors"};
	c->version = (CmprtMeta){CK_VERSION_KEY, "string", "test"};
	c->program = (CmprtProgram){.cmpc_version = "test",
		.pipeline = "unit",
		.source_hash = "00",
		.source_count = 1,
		.sources = c->sources,
		.output_path = output,
		.output_format = "safetensors",
		.inputs = c->inputs,
		.outputs = c->outputs,
		.jobs = c->jobs,
		.requires = &c->require,
		.output_bytes = -1,
		.meta_count = 1,
		.meta = &c->version,
		.plan_text = "the plan\n"};
	char name[32];
	add_tensor(c, "embed", 3001, 700, halve, false);
	add_tensor(c, "norm", 1, 701, NULL, false);
	for (int i = 0; i < BIG / 2; i++) {
		snprintf(name, sizeof name, "big.%d", i);
		add_tensor(c, name, 1024, 1024, halve, false);
	}
	add_tensor(c, "turn", 256, 513, reverse, true);
	for (int i = BIG / 2; i < BIG; i++) {
		snprintf(name, sizeof name, "big.%d", i);
		add_tensor(c, name, 1024, 1024, halve, false);
	}
	add_tensor(c, "empty", 0, 8, halve, false);
	for (int i = 0; i < TINY; i++) {
		snprintf(name, sizeof name, "tiny.%03d", i);
		add_tensor(c, name, 3, 8 + i % 5, halve, false);
	}
	return c;
}

void case_slow_down(Case *c, int64_t microseconds)
{
	for (int i = 0; i < TENSORS; i++)
		c->params[i][2] = c->shapes[i][1] >= 700 ? microseconds : 0;
}

float case_weight(int64_t tensor, int64_t element)
{
	uint32_t mixed = (uint32_t)(tensor * 7919 + element) * 2654435761u;
	return ((float)(mixed >> 8) / 16777216.0f - 0.5f) * 0.1f;
}

void case_write(const Case *c, const char *path, int shard, int shards)
{
	char *head = NULL;
	size_t head_bytes;
	int64_t offset = 0;
	FILE *text = open_memstream(&head, &head_bytes), *file = fopen(path, "wb");
	fprintf(text, "{\"__metadata__\":{\"%s\":\"old\"}", CK_VERSION_KEY); /* what may be replaced */
	for (int i = 0; i < TENSORS; i++)
		if (i % shards == shard) {
			fprintf(text, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[%lld,%lld],\"data_offsets\":[%lld,%lld]}", c->names[i],
				(long long)c->shapes[i][0], (long long)c->shapes[i][1], (long long)offset,
				(long long)(offset + c->inputs[i].bytes));
			offset += c->inputs[i].bytes;
		}
	fprintf(text, "}");
	fclose(text);
	uint64_t length = head_bytes;
	fwrite(&length, 8, 1, file);
	fwrite(head, 1, head_bytes, file);
	for (int i = 0; i < TENSORS; i++)
		for (int64_t k = 0; i % shards == shard && k < c->inputs[i].bytes / 4; k++) {
			float value = case_weight(i, k);
			fwrite(&value, 4, 1, file);
		}
	fclose(file);
	free(head);
}

void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	fputs(text, file);
	fclose(file);
}

void case_write_folder(const Case *c, const char *folder)
{
	char path[256], *index = NULL;
	size_t bytes;
	FILE *text = open_memstream(&index, &bytes);
	mkdir(folder, 0777);
	for (int shard = 0; shard < SHARDS; shard++) {
		snprintf(path, sizeof path, "%s/model-%05d-of-%05d.safetensors", folder, shard + 1, SHARDS);
		case_write(c, path, shard, SHARDS);
	}
	for (int i = 0; i < TENSORS; i++)
		fprintf(text, "%s\"%s\":\"model-%05d-of-%05d.safetensors\"", i ? "," : "{\"metadata\":{},\"weight_map\":{",
			c->names[i], i % SHARDS + 1, SHARDS);
	fprintf(text, "}}");
	fclose(text);
	snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
	write_text(path, index);
	snprintf(path, sizeof path, "%s/config.json", folder);
	write_text(path, "{\"model_type\": \"test\"}\n");
	free(index);
}
