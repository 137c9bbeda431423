/* SPDX-License-Identifier: MIT
 *
 * evaluate.c: what a network makes of a data set, as numbers: perplexity, the
 * exponential of the mean loss of a token.
 */
#include "forward.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

Loss forward_loss(const Forward *forward)
{
	Loss loss = {0};
	double sum = 0, squares = 0;
	int32_t *next = calloc((size_t)forward->samples.longest + 1, sizeof *next);
	for (int pass = 0; pass < 2 && next; pass++) {
		for (int64_t i = 0; i < forward->samples.count; i++) {
			const float *of = (const float *)(const void *)forward_state(forward, forward->net->result, i);
			samples_fill(&forward->samples, i, GIVEN_next, next);
			for (int64_t t = 0; t < samples_length(&forward->samples, i); t++) {
				if (next[t] < 0)
					continue;
				loss.count += pass == 0;
				sum += pass == 0 ? (double)of[t] : 0;
				squares += pass == 1 ? ((double)of[t] - loss.mean) * ((double)of[t] - loss.mean) : 0;
			}
		}
		loss.mean = sum / (double)loss.count;
	}
	if (loss.count > 1)
		loss.error = sqrt(squares / (double)(loss.count - 1) / (double)loss.count);
	free(next);
	return loss;
}

static void tell(const Run *run, const CmprtNet *net, const Forward *forward, Loss loss)
{
	double perplexity = exp(loss.mean);
	if (run->options->json)
		json_line(json_pack("{s:s, s:s, s:s, s:f, s:f, s:I, s:I}", "event", "metric", "metric", "perplexity", "data",
			net->data->name, "value", perplexity, "standard_error", perplexity * loss.error, "tokens",
			(json_int_t)loss.count, "samples", (json_int_t)forward->samples.count));
	else
		printf("perplexity(%s) = %.5f +- %.5f  (%" PRId64 " tokens of %" PRId64 " samples)\n", net->data->name,
			perplexity, perplexity * loss.error, loss.count, forward->samples.count);
}

/* ---- an array as a file ---- */

/* Samples one after the other along a ragged first axis, else along an axis in front. */
static bool write_header(const Forward *forward, FILE *to)
{
	const CmprtState *state = &forward->net->states[forward->net->result];
	char text[512], shape[256] = "";
	size_t used = 0;
	if (!state->is_ragged)
		used = (size_t)snprintf(shape, sizeof shape, "%" PRId64 ", ", forward->samples.count);
	for (int64_t i = 0; i < state->rank && used < sizeof shape; i++)
		used += (size_t)snprintf(shape + used, sizeof shape - used, "%" PRId64 ", ",
			i == 0 && state->is_ragged ? forward->samples.token_count : state->shape[i]);
	int length =
		snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", state->dtype, shape);
	int padded = (10 + length + 1 + 63) / 64 * 64 - 10;
	const char head[] = "\x93NUMPY\x01";
	const unsigned char size[2] = {(unsigned char)(padded & 255), (unsigned char)(padded >> 8)};
	return fwrite(head, 1, 8, to) == 8 && fwrite(size, 1, 2, to) == 2 &&
		   fprintf(to, "%s%*s\n", text, padded - 1 - length, "") == padded;
}

static bool write_array(const Forward *forward, const char *path, CmprtError *error)
{
	FILE *to = fopen(path, "wbe");
	bool is_written = to && write_header(forward, to);
	for (int64_t i = 0; i < forward->samples.count && is_written; i++) {
		size_t bytes = (size_t)forward_state_bytes(forward, forward->net->result, i);
		is_written = fwrite(forward_state(forward, forward->net->result, i), 1, bytes, to) == bytes;
	}
	if (to && fclose(to) != 0)
		is_written = false;
	return is_written || error_system(error, "write", path, errno);
}

static bool evaluate(Run *run, CmprtError *error)
{
	for (int64_t i = 0; i < run->program->net_count; i++) {
		Forward forward;
		bool is_done = forward_run(run, &run->program->nets[i], &forward, error);
		if (is_done && run->options->output)
			is_done = write_array(&forward, run->options->output, error);
		else if (is_done)
			tell(run, &run->program->nets[i], &forward, forward_loss(&forward));
		forward_free(&forward);
		if (!is_done)
			return false;
	}
	return true;
}

int cmprt_evaluate(const CmprtProgram *program, const CmprtOptions *options)
{
	Run run = {.program = program, .options = options};
	CmprtError error = {.text = ""};
	int threads = omp_get_max_threads();
	omp_set_num_threads((int)(options->threads > 0 ? options->threads : threads_available()));
	bool is_done = inputs_open(&run, &error) && evaluate(&run, &error);
	if (!is_done)
		fprintf(stderr, "error: %s\n", error.text);
	omp_set_num_threads(threads);
	inputs_close(&run);
	return is_done ? 0 : 1;
}
