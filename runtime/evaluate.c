/* SPDX-License-Identifier: MIT
 *
 * evaluate.c: what a network makes of a data set, as numbers: of tokens perplexity, the
 * exponential of the mean loss of a token, of labelled images accuracy, the mean of 1
 * for each that is named correctly and 0 for the others. Of two checkpoints side by
 * side: how far what the second one expects is from what the first one does, sample by
 * sample, so that no more than one sample of that is in memory.
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

CmprtMetric cmprt_divergence(const CmprtScores *scores)
{
	return (CmprtMetric){
		"kl", scores->are_of_images ? "images" : "tokens", cmprt_mean(scores->divergence, scores->count)};
}

void cmprt_scores_free(CmprtScores *scores)
{
	free(scores->at);
	free(scores->divergence);
	*scores = (CmprtScores){0};
}

/* ---- scores ---- */

/* One net, or two that see the same samples. */
typedef struct Nets {
	Forward *at[2];
	int count;
	int32_t *next;    /* of the sample in hand; of images 0 */
	int64_t *counted; /* its places with one */
	int64_t counted_count;
	float *scores[2], *logits[2]; /* of the sample in hand; where they lie unless the call in hand leaves them */
} Nets;

static bool make_room(Nets *nets, CmprtScores *const *to, CmprtError *error)
{
	const Samples *samples = &nets->at[0]->samples;
	bool is_made = (nets->next = calloc((size_t)samples->longest + 1, sizeof *nets->next)) &&
				   (nets->counted = calloc((size_t)samples->longest + 1, sizeof *nets->counted));
	for (int i = 0; i < nets->count && is_made; i++) {
		bool diverges = i > 0 && nets->at[0]->net->logits > 0;
		if (!to[i])
			continue;
		*to[i] = (CmprtScores){.at = calloc((size_t)samples->token_count + 1, sizeof *to[i]->at),
			.samples = samples->count,
			.are_of_images = samples->pixels != NULL,
			.divergence = diverges ? calloc((size_t)samples->token_count + 1, sizeof *to[i]->at) : NULL};
		is_made = to[i]->at && (!diverges || to[i]->divergence);
	}
	return is_made || error_out_of_memory(error);
}

/* What the last call left of the sample, or an earlier one: *own is its place then, which the caller frees. */
static const float *find_state(const Forward *forward, int64_t state, int64_t sample, float **own, CmprtError *error)
{
	const void *left = forward_left(forward, state);
	if (left)
		return left;
	if (!*own && !(*own = calloc((size_t)forward->net->states[state].bytes + 1, 1))) {
		error_out_of_memory(error);
		return NULL;
	}
	void *at = *own;
	return state_load(forward, state, sample, &at, error) ? at : NULL;
}

static double log_of_sum(const float *logits, int64_t count)
{
	double most = (double)logits[0], sum = 0;
	for (int64_t i = 1; i < count; i++)
		most = fmax(most, (double)logits[i]);
	for (int64_t i = 0; i < count; i++)
		sum += exp((double)logits[i] - most);
	return most + log(sum);
}

/* sum p log(p / q), p and q the softmax of each: in nats. */
static double divergence(const float *before, const float *after, int64_t count)
{
	double shift_before = log_of_sum(before, count), shift_after = log_of_sum(after, count), sum = 0;
	for (int64_t i = 0; i < count; i++) {
		double p = (double)before[i] - shift_before, q = (double)after[i] - shift_after;
		sum += exp(p) * (p - q);
	}
	return sum;
}

static int64_t row_elements(const Forward *forward, int64_t state)
{
	const CmprtState *of = &forward->net->states[state];
	return of->shape[of->rank - 1];
}

static bool take_divergence(Nets *nets, int64_t sample, CmprtScores *to, CmprtError *error)
{
	const float *logits[2];
	int64_t width = row_elements(nets->at[0], nets->at[0]->net->logits - 1);
	for (int i = 0; i < 2; i++) {
		int64_t state = nets->at[i]->net->logits - 1;
		logits[i] = find_state(nets->at[i], state, sample, &nets->logits[i], error);
		if (!logits[i])
			return false;
		if (row_elements(nets->at[i], state) != width)
			return error_bad_table(error, nets->at[i]->net->name, "logits of another size");
	}
	double *at = to->divergence + to->count;
#pragma omp parallel for
	for (int64_t i = 0; i < nets->counted_count; i++) {
		int64_t t = nets->counted[i];
		at[i] = divergence(logits[0] + t * width, logits[1] + t * width, width);
	}
	return true;
}

static void count_places(Nets *nets, int64_t sample)
{
	const Samples *samples = &nets->at[0]->samples;
	if (!samples->pixels)
		samples_fill(samples, sample, GIVEN_next, nets->next);
	nets->counted_count = 0;
	for (int64_t t = 0; t < samples_length(samples, sample); t++)
		if (nets->next[t] >= 0)
			nets->counted[nets->counted_count++] = t;
}

/* The last call of each in turn on every sample. */
static bool run_last(Nets *nets, CmprtScores *const *to, CmprtError *error)
{
	const Samples *samples = &nets->at[0]->samples;
	for (int i = 0; i < nets->count; i++) {
		const CmprtNet *net = nets->at[i]->net;
		if (!forward_hold(nets->at[i], &net->calls[net->call_count - 1], error))
			return false;
	}
	for (int64_t sample = 0; sample < samples->count; sample++) {
		count_places(nets, sample);
		for (int i = 0; i < nets->count; i++) {
			const float *of = forward_sample(nets->at[i], sample, error)
								  ? find_state(nets->at[i], nets->at[i]->net->result, sample, &nets->scores[i], error)
								  : NULL;
			if (!of)
				return false;
			if (to[i] && to[i]->divergence && !take_divergence(nets, sample, to[i], error))
				return false;
			for (int64_t k = 0; to[i] && k < nets->counted_count; k++)
				to[i]->at[to[i]->count++] = (double)of[nets->counted[k]];
		}
	}
	return true;
}

/* The last call can be made again where it leaves nothing that it reads. */
static bool is_repeatable(const CmprtCall *call)
{
	for (int64_t i = 0; i < call->left_count; i++)
		for (int64_t k = 0; k < call->operand_count; k++)
			if (call->operands[k].state == call->left[i])
				return false;
	return true;
}

/* All calls but the last, unless what they left is there from before. */
static bool reach_last(Forward *forward, CmprtError *error)
{
	const CmprtNet *net = forward->net;
	for (int64_t k = 0; k + 1 < net->call_count && !forward->is_reached; k++)
		if (!forward_call(forward, &net->calls[k], error))
			return false;
	forward->is_reached = forward->is_kept && is_repeatable(&net->calls[net->call_count - 1]);
	return true;
}

/* to[i] NULL: the scores of that one are known. */
static bool run_nets(Nets *nets, CmprtScores *const *to, CmprtError *error)
{
	const Forward *first = nets->at[0], *last = nets->at[nets->count - 1];
	if (first->samples.count != last->samples.count || first->samples.token_count != last->samples.token_count)
		return error_bad_table(error, last->net->name, "other samples than the original's");
	bool is_done = make_room(nets, to, error) && forward_start(nets->at, nets->count, error);
	for (int i = 0; i < nets->count && is_done; i++)
		is_done = reach_last(nets->at[i], error);
	is_done = is_done && run_last(nets, to, error);
	for (int i = 0; i < nets->count; i++) {
		free(nets->scores[i]);
		free(nets->logits[i]);
	}
	free(nets->next);
	free(nets->counted);
	return is_done;
}

/* runs: of one checkpoint or of two, the second one's scores with their divergence from the first. */
static bool score(Run *const *runs, int count, int64_t number, CmprtScores *const *to, CmprtError *error)
{
	Forward forwards[2] = {0};
	Nets nets = {.count = count};
	bool is_done = true;
	for (int i = 0; i < count && is_done; i++) {
		nets.at[i] = &forwards[i];
		is_done = forward_open(runs[i], &runs[i]->program->nets[number], nets.at[i], error);
	}
	is_done = is_done && run_nets(&nets, to, error);
	for (int i = 0; i < count; i++)
		forward_free(&forwards[i]);
	return is_done;
}

bool evaluate_pair(
	Run *before, Run *after, int64_t net, CmprtScores *to_before, CmprtScores *to_after, CmprtError *error)
{
	Run *const runs[] = {before, after};
	CmprtScores *const to[] = {to_before, to_after};
	if (before->program->nets[net].logits > 0 && after->program->nets[net].logits > 0)
		return score(runs, 2, net, to, error);
	return score(runs, 1, net, to, error) && score(runs + 1, 1, net, to + 1, error);
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

static bool write_states(const Forward *forward, const char *path, CmprtError *error)
{
	int64_t state = forward->net->result;
	FILE *to = fopen(path, "wbe");
	bool is_written = to && write_header(forward, to), is_read = true;
	float *own = NULL;
	for (int64_t i = 0; i < forward->samples.count && is_written && is_read; i++) {
		size_t bytes = (size_t)forward_state_bytes(forward, state, i);
		const void *from = find_state(forward, state, i, &own, error);
		is_read = from != NULL;
		is_written = is_read && fwrite(from, 1, bytes, to) == bytes;
	}
	free(own);
	is_written = (!to || fclose(to) == 0) && is_written;
	return is_read && (is_written || error_system(error, "write", path, errno));
}

/* Whole or not at all: under another name until it is. */
static bool write_array(const Forward *forward, const char *path, CmprtError *error)
{
	char *partial = NULL;
	if (asprintf(&partial, "%s.cmpc-partial", path) < 0)
		return error_out_of_memory(error);
	bool is_written = write_states(forward, partial, error) &&
					  (rename(partial, path) == 0 || error_system(error, "write", path, errno));
	if (!is_written)
		unlink(partial);
	free(partial);
	return is_written;
}

static bool evaluate_array(Run *run, const CmprtNet *net, CmprtError *error)
{
	Forward forward = {0}, *all[] = {&forward};
	bool is_done =
		check_output(run, net, error) && forward_open(run, net, &forward, error) && forward_start(all, 1, error);
	for (int64_t i = 0; i < net->call_count && is_done; i++)
		is_done = forward_call(&forward, &net->calls[i], error);
	is_done = is_done && write_array(&forward, run->options->output, error);
	if (forward.net)
		forward_free(&forward);
	return is_done;
}

/* The array is written or its mean told. */
static bool evaluate_net(Run *run, int64_t number, CmprtError *error)
{
	const CmprtNet *net = &run->program->nets[number];
	CmprtScores own = {0}, *one[] = {&own};
	if (run->options->output)
		return evaluate_array(run, net, error);
	bool is_done = score(&run, 1, number, one, error);
	if (is_done)
		tell(run, net, &own);
	cmprt_scores_free(&own);
	return is_done;
}

/* ---- from outside ---- */

static bool evaluate(Run *run, CmprtError *error)
{
	for (int64_t i = 0; i < run->program->net_count; i++)
		if (!evaluate_net(run, i, error))
			return false;
	return true;
}

static int use_threads(const CmprtOptions *options)
{
	int before = omp_get_max_threads();
	omp_set_num_threads((int)(options->threads > 0 ? options->threads : threads_available()));
	return before;
}

int cmprt_evaluate(const CmprtProgram *program, const CmprtOptions *options)
{
	Run run = {.program = program, .options = options};
	CmprtError error = {.text = ""};
	int threads = use_threads(options);
	bool is_done = inputs_open(&run, &error) && evaluate(&run, &error);
	if (!is_done)
		run_tell_error(&run, &error);
	omp_set_num_threads(threads);
	inputs_close(&run);
	return is_done ? 0 : 1;
}

/* ---- one checkpoint beside others ---- */

struct CmprtKept {
	Run run;
	CmprtOptions options;
	Forward *forwards; /* of each net, at its last call */
};

/* Between comparisons only states are held. */
static bool keep_net(CmprtKept *kept, int64_t number, CmprtScores *to, CmprtError *error)
{
	Forward *forward = &kept->forwards[number];
	Nets nets = {.at = {forward}, .count = 1};
	bool is_done = forward_open(&kept->run, &kept->run.program->nets[number], forward, error);
	forward->is_kept = true;
	is_done = is_done && run_nets(&nets, &to, error);
	forward_rest(forward);
	return is_done;
}

CmprtKept *cmprt_keep(const CmprtProgram *program, const CmprtOptions *options, CmprtScores *to)
{
	CmprtKept *kept = calloc(1, sizeof *kept);
	CmprtError error = {.text = ""};
	int threads = use_threads(options);
	bool is_done = kept && (kept->forwards = calloc((size_t)program->net_count + 1, sizeof *kept->forwards));
	if (!is_done)
		error_out_of_memory(&error);
	else {
		kept->options = *options;
		kept->run = (Run){.program = program, .options = &kept->options};
		is_done = inputs_open(&kept->run, &error);
	}
	for (int64_t i = 0; i < program->net_count && is_done; i++)
		is_done = keep_net(kept, i, &to[i], &error);
	omp_set_num_threads(threads);
	if (is_done)
		return kept;
	run_tell_error(&(Run){.program = program, .options = options}, &error);
	cmprt_kept_free(kept);
	return NULL;
}

void cmprt_kept_free(CmprtKept *kept)
{
	for (int64_t i = 0; kept && kept->forwards && i < kept->run.program->net_count; i++)
		if (kept->forwards[i].net)
			forward_free(&kept->forwards[i]);
	if (!kept)
		return;
	inputs_close(&kept->run);
	free(kept->forwards);
	free(kept);
}

/* Beside what is kept where both say what they expect, else alone. */
static bool compare_net(CmprtKept *kept, Run *run, int64_t number, CmprtScores *to, CmprtError *error)
{
	Forward own = {0}, *before = &kept->forwards[number];
	CmprtScores *const both[] = {NULL, to};
	bool has_logits = before->net->logits > 0 && run->program->nets[number].logits > 0;
	Nets nets = {.at = {has_logits ? before : &own, &own}, .count = has_logits ? 2 : 1};
	bool is_done = forward_open(run, &run->program->nets[number], &own, error) &&
				   run_nets(&nets, has_logits ? both : both + 1, error);
	forward_free(&own);
	forward_rest(before);
	return is_done;
}

int cmprt_compare(CmprtKept *kept, const CmprtProgram *program, const CmprtOptions *options, CmprtScores *to)
{
	Run run = {.program = program, .options = options, .reader = kept->run.model};
	CmprtError error = {.text = ""};
	int threads = use_threads(options);
	bool is_done = inputs_open(&run, &error);
	for (int64_t i = 0; i < program->net_count && is_done; i++)
		is_done = compare_net(kept, &run, i, &to[i], &error);
	if (!is_done)
		run_tell_error(&run, &error);
	omp_set_num_threads(threads);
	inputs_close(&run);
	return is_done ? 0 : 1;
}
