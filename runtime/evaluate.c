/* SPDX-License-Identifier: MIT
 *
 * evaluate.c: what a network makes of a data set, as numbers: of tokens perplexity, the
 * exponential of the mean loss of a token, of labelled images accuracy, the mean of 1
 * for each that is named correctly and 0 for the others.
 */
#include "forward.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool forward_score(const Forward *forward, Score *to, CmprtError *error)
{
	Score score = {0};
	bool is_of_images = forward->samples.pixels != NULL;
	double sum = 0, squares = 0;
	int32_t *next = calloc((size_t)forward->samples.longest + 1, sizeof *next);
	if (!next)
		return error_out_of_memory(error);
	for (int pass = 0; pass < 2; pass++) {
		for (int64_t i = 0; i < forward->samples.count; i++) {
			const float *of = (const float *)(const void *)forward_state(forward, forward->net->result, i);
			if (!is_of_images)
				samples_fill(&forward->samples, i, GIVEN_next, next);
			for (int64_t t = 0; t < samples_length(&forward->samples, i); t++) {
				if (next[t] < 0)
					continue;
				score.count += pass == 0;
				sum += pass == 0 ? (double)of[t] : 0;
				squares += pass == 1 ? ((double)of[t] - score.mean) * ((double)of[t] - score.mean) : 0;
			}
		}
		score.mean = sum / (double)score.count;
	}
	if (score.count > 1)
		score.error = sqrt(squares / (double)(score.count - 1) / (double)score.count);
	free(next);
	*to = score;
	return true;
}

/* JSON has no word for NaN. */
static json_t *number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static void tell(const Run *run, const CmprtNet *net, const Forward *forward, Score score)
{
	bool is_of_images = forward->samples.pixels != NULL;
	const char *metric = is_of_images ? "accuracy" : "perplexity";
	double value = is_of_images ? score.mean : exp(score.mean);
	double error = is_of_images ? score.error : value * score.error;
	if (run->options->json)
		json_line(json_pack("{s:s, s:s, s:s, s:o, s:o, s:I, s:I}", "event", "metric", "metric", metric, "data",
			net->data->name, "value", number(value), "standard_error", number(error),
			is_of_images ? "images" : "tokens", (json_int_t)score.count, "samples",
			(json_int_t)forward->samples.count));
	else if (is_of_images)
		printf("accuracy(%s) = %.5f +- %.5f  (%" PRId64 " images)\n", net->data->name, value, error, score.count);
	else
		printf("perplexity(%s) = %.5f +- %.5f  (%" PRId64 " tokens of %" PRId64 " samples)\n", net->data->name, value,
			error, score.count, forward->samples.count);
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

static bool is_file(const char *path, const char *other)
{
	struct stat here, there;
	return stat(path, &here) == 0 && stat(other, &there) == 0 && here.st_dev == there.st_dev &&
		   here.st_ino == there.st_ino;
}

/* What is read is never written to. */
static bool check_output(const Run *run, const CmprtNet *net, CmprtError *error)
{
	const char *path = run->options->output;
	for (int64_t i = 0; i < run->model->file_count; i++)
		if (is_file(path, run->model->files[i]))
			return error_output_is_input(error, path, run->model->files[i]);
	return !is_file(path, net->data->path) || error_output_is_input(error, path, net->data->path);
}

static bool write_states(const Forward *forward, const char *path)
{
	FILE *to = fopen(path, "wbe");
	bool is_written = to && write_header(forward, to);
	for (int64_t i = 0; i < forward->samples.count && is_written; i++) {
		size_t bytes = (size_t)forward_state_bytes(forward, forward->net->result, i);
		is_written = fwrite(forward_state(forward, forward->net->result, i), 1, bytes, to) == bytes;
	}
	return (!to || fclose(to) == 0) && is_written;
}

/* Whole or not at all: under another name until it is. */
static bool write_array(const Forward *forward, const char *path, CmprtError *error)
{
	char *partial = NULL;
	if (asprintf(&partial, "%s.cmpc-partial", path) < 0)
		return error_out_of_memory(error);
	bool is_written = write_states(forward, partial) && rename(partial, path) == 0;
	int code = errno;
	if (!is_written)
		unlink(partial);
	free(partial);
	return is_written || error_system(error, "write", path, code);
}

static bool evaluate_net(Run *run, const CmprtNet *net, CmprtError *error)
{
	Forward forward;
	Score score;
	const char *output = run->options->output;
	if (output && !check_output(run, net, error))
		return false;
	bool is_done = forward_run(run, net, &forward, error);
	if (is_done && output)
		is_done = write_array(&forward, output, error);
	else if (is_done && (is_done = forward_score(&forward, &score, error)))
		tell(run, net, &forward, score);
	forward_free(&forward);
	return is_done;
}

static bool evaluate(Run *run, CmprtError *error)
{
	for (int64_t i = 0; i < run->program->net_count; i++) {
		if (run->program->nets[i].result < 0)
			continue;
		if (!evaluate_net(run, &run->program->nets[i], error))
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
		run_tell_error(&run, &error);
	omp_set_num_threads(threads);
	inputs_close(&run);
	return is_done ? 0 : 1;
}
