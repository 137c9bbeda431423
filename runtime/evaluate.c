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

CmprtMean cmprt_mean(const double *values, int64_t count)
{
	CmprtMean mean = {0, 0};
	double sum = 0, squares = 0;
	for (int64_t i = 0; i < count; i++)
		sum += values[i];
	mean.value = sum / (double)count;
	for (int64_t i = 0; i < count; i++)
		squares += (values[i] - mean.value) * (values[i] - mean.value);
	if (count > 1)
		mean.error = sqrt(squares / (double)(count - 1) / (double)count);
	return mean;
}

CmprtMetric cmprt_metric(const CmprtScores *scores)
{
	CmprtMean mean = cmprt_mean(scores->at, scores->count);
	double perplexity = exp(mean.value);
	if (scores->are_of_images)
		return (CmprtMetric){"accuracy", "images", mean};
	return (CmprtMetric){"perplexity", "tokens", {perplexity, perplexity * mean.error}};
}

static bool take_scores(const Forward *forward, CmprtScores *to, CmprtError *error)
{
	const Samples *samples = &forward->samples;
	int32_t *next = calloc((size_t)samples->longest + 1, sizeof *next);
	*to = (CmprtScores){.at = calloc((size_t)samples->token_count + 1, sizeof *to->at),
		.samples = samples->count,
		.are_of_images = samples->pixels != NULL};
	for (int64_t i = 0; i < samples->count && next && to->at; i++) {
		const float *of = (const float *)(const void *)forward_state(forward, forward->net->result, i);
		if (!to->are_of_images)
			samples_fill(samples, i, GIVEN_next, next);
		for (int64_t t = 0; t < samples_length(samples, i); t++)
			if (next[t] >= 0)
				to->at[to->count++] = (double)of[t];
	}
	free(next);
	return (next && to->at) || error_out_of_memory(error);
}

/* JSON has no word for NaN. */
static json_t *number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static void tell(const Run *run, const CmprtNet *net, const CmprtScores *scores)
{
	CmprtMetric metric = cmprt_metric(scores);
	if (run->options->json)
		json_line(json_pack("{s:s, s:s, s:s, s:o, s:o, s:I, s:I}", "event", "metric", "metric", metric.name, "data",
			net->data->name, "value", number(metric.mean.value), "standard_error", number(metric.mean.error),
			metric.unit, (json_int_t)scores->count, "samples", (json_int_t)scores->samples));
	else {
		printf("%s(%s) = %.5f +- %.5f  (%" PRId64 " %s", metric.name, net->data->name, metric.mean.value,
			metric.mean.error, scores->count, metric.unit);
		if (!scores->are_of_images)
			printf(" of %" PRId64 " samples", scores->samples);
		printf(")\n");
	}
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

/* to NULL: the array is written or its mean told. */
static bool evaluate_net(Run *run, const CmprtNet *net, CmprtScores *to, CmprtError *error)
{
	Forward forward;
	CmprtScores own = {0};
	const char *output = run->options->output;
	if (output && !check_output(run, net, error))
		return false;
	bool is_done = forward_run(run, net, &forward, error);
	if (is_done && output)
		is_done = write_array(&forward, output, error);
	else if (is_done && (is_done = take_scores(&forward, to ? to : &own, error)) && !to)
		tell(run, net, &own);
	free(own.at);
	forward_free(&forward);
	return is_done;
}

static bool evaluate(Run *run, CmprtScores *to, CmprtError *error)
{
	for (int64_t i = 0; i < run->program->net_count; i++)
		if (run->program->nets[i].result >= 0 && !evaluate_net(run, &run->program->nets[i], to ? &to[i] : NULL, error))
			return false;
	return true;
}

static int run_nets(const CmprtProgram *program, const CmprtOptions *options, CmprtScores *to)
{
	Run run = {.program = program, .options = options};
	CmprtError error = {.text = ""};
	int threads = omp_get_max_threads();
	omp_set_num_threads((int)(options->threads > 0 ? options->threads : threads_available()));
	bool is_done = inputs_open(&run, &error) && evaluate(&run, to, &error);
	if (!is_done)
		run_tell_error(&run, &error);
	omp_set_num_threads(threads);
	inputs_close(&run);
	return is_done ? 0 : 1;
}

int cmprt_evaluate(const CmprtProgram *program, const CmprtOptions *options)
{
	return run_nets(program, options, NULL);
}

int cmprt_scores(const CmprtProgram *program, const CmprtOptions *options, CmprtScores *to)
{
	return run_nets(program, options, to);
}
