/* SPDX-License-Identifier: MIT
 *
 * forward.c: a network run over a data set, part by part: the weights of one part are
 * in memory at a time, and what the parts hand on is kept for all samples. On entry
 * the model is open; on exit the states that the net was built to leave are filled.
 * A part runs on one sample after the other and spreads over threads itself, so the
 * numbers are the same for any number of them.
 */
#include "forward.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Most arrays that a statistic's kernel works in. */
enum { STATISTIC_WORK = 64 };

static bool check_decode(const CmprtProgram *program, const CmprtDecode *decode)
{
	bool is_good = decode->part_count + decode->work_count < 60;
	for (int64_t i = 0; i < decode->part_count && is_good; i++)
		is_good = decode->parts[i] >= 0 && decode->parts[i] < program->input_count;
	return is_good;
}

static bool check_piece(const CmprtProgram *program, const CmprtPiece *piece)
{
	if (piece->decode_count)
		return piece->decode_count == 1 && piece->bytes >= 0 && check_decode(program, piece->decodes);
	if (piece->tensor >= 0)
		return piece->tensor < program->input_count && piece->bytes == program->inputs[piece->tensor].bytes;
	return piece->value > 0 && piece->value <= program->value_count && piece->bytes >= 0 &&
		   piece->bytes <= program->values[piece->value - 1].bytes;
}

static bool check_operand(const CmprtProgram *program, const CmprtNet *net, const CmprtOperand *operand)
{
	for (int64_t i = 0; i < operand->piece_count; i++)
		if (!check_piece(program, &operand->pieces[i]))
			return false;
	return operand->state < 0 ? operand->piece_count > 0 : operand->state < net->state_count && !operand->piece_count;
}

static bool check_statistic(const CmprtProgram *program, const CmprtCall *call, const CmprtStatistic *statistic)
{
	return statistic->work_count <= STATISTIC_WORK && statistic->left >= 0 && statistic->left < call->left_count &&
		   statistic->value > 0 && statistic->value <= program->value_count && statistic->elements >= 0 &&
		   statistic->elements <= program->values[statistic->value - 1].bytes / 4;
}

static bool check_call(const CmprtProgram *program, const CmprtNet *net, const CmprtCall *call, CmprtError *error)
{
	for (int64_t i = 0; i < call->operand_count; i++)
		if (!check_operand(program, net, &call->operands[i]))
			return error_bad_table(error, call->label, "an operand that is not there");
	for (int64_t i = 0; i < call->left_count; i++)
		if (call->left[i] < 0 || call->left[i] >= net->state_count || net->states[call->left[i]].given >= 0)
			return error_bad_table(error, call->label, "a state that is not there");
	for (int64_t i = 0; i < call->statistic_count; i++)
		if (!check_statistic(program, call, &call->statistics[i]))
			return error_bad_table(error, call->label, "a statistic that is not there");
	for (int64_t i = 0; i < call->decide_count; i++)
		if (call->decides[i] < 0 || call->decides[i] >= program->job_count)
			return error_bad_table(error, call->label, "a job that is not there");
	for (int64_t i = 0; i < call->made_count + call->asked_count; i++) {
		int64_t tensor = i < call->made_count ? call->made[i] : call->asked[i - call->made_count];
		if (tensor < 0 || tensor >= program->input_count)
			return error_bad_table(error, call->label, "a tensor that is not there");
	}
	return true;
}

static bool check_net(const CmprtProgram *program, const CmprtNet *net, CmprtError *error)
{
	if (net->data_count != 1 || net->longest < 1 || net->result >= net->state_count)
		return error_bad_table(error, net->name, "counts out of range");
	for (int64_t i = 0; i < net->state_count; i++)
		if (net->states[i].bytes < 0 || net->states[i].given >= GIVEN_COUNT)
			return error_bad_table(error, net->name, "a state of no size");
	for (int64_t i = 0; i < net->call_count; i++)
		if (!check_call(program, net, &net->calls[i], error))
			return false;
	return true;
}

/* ---- memory ---- */

static int64_t statistic_bytes(const Forward *forward, const CmprtStatistic *statistic)
{
	int64_t bytes = forward->threads * align_up(statistic->scratch_bytes, 64) + align_up(statistic->elements * 4, 64);
	for (int64_t i = 0; i < statistic->work_count; i++)
		bytes += align_up(statistic->work_bytes[i], 64);
	return bytes;
}

/* A Value that is all of an operand is read where it is. */
static bool is_in_place(const CmprtOperand *operand)
{
	return operand->piece_count == 1 && operand->pieces->value > 0;
}

/* What the call's memory holds of it: states that are in memory stay where they are. */
static int64_t operand_bytes(const Forward *forward, const CmprtOperand *operand)
{
	const CmprtState *state = operand->state >= 0 ? &forward->net->states[operand->state] : NULL;
	int64_t bytes = state && (state->given >= 0 || forward->is_spilled) ? state->bytes : 0;
	for (int64_t i = 0; i < operand->piece_count && !is_in_place(operand); i++)
		bytes += operand->pieces[i].bytes;
	return bytes;
}

int64_t forward_operand_reads(const CmprtProgram *program, const CmprtOperand *operand)
{
	int64_t bytes = 0;
	for (int64_t i = 0; i < operand->piece_count; i++) {
		const CmprtPiece *piece = &operand->pieces[i];
		bytes += piece->tensor < 0 ? 0 : piece->bytes;
		for (int64_t k = 0; piece->decode_count && k < piece->decodes->part_count; k++)
			bytes += program->inputs[piece->decodes->parts[k]].bytes;
	}
	return bytes;
}

/* Beside the result, which is the call's. */
static int64_t decode_bytes(const Forward *forward, const CmprtDecode *decode)
{
	int64_t bytes = forward->threads * align_up(decode->scratch_bytes, 64);
	for (int64_t i = 0; i < decode->part_count; i++)
		bytes += align_up(forward->run->program->inputs[decode->parts[i]].bytes, 64);
	for (int64_t i = 0; i < decode->work_count; i++)
		bytes += align_up(decode->work_bytes[i], 64);
	return bytes;
}

static int64_t call_bytes(const Forward *forward, const CmprtCall *call)
{
	const CmprtNet *net = forward->net;
	int64_t bytes = 0, behind = forward->threads * align_up(call->scratch_bytes, 64);
	for (int64_t i = 0; i < call->operand_count; i++) {
		const CmprtOperand *operand = &call->operands[i];
		bytes += align_up(operand_bytes(forward, operand), 64);
		for (int64_t p = 0; p < operand->piece_count; p++) {
			int64_t own = operand->pieces[p].decode_count ? decode_bytes(forward, operand->pieces[p].decodes) : 0;
			behind = own > behind ? own : behind;
		}
	}
	for (int64_t i = 0; i < call->left_count; i++)
		bytes += align_up(net->states[call->left[i]].bytes, 64);
	for (int64_t i = 0; i < call->work_count; i++)
		bytes += align_up(call->work_bytes[i], 64);
	for (int64_t i = 0; i < call->statistic_count; i++) {
		int64_t own = statistic_bytes(forward, &call->statistics[i]);
		behind = own > behind ? own : behind;
	}
	return bytes + behind;
}

static int64_t larger_of(int64_t a, int64_t b, int64_t c)
{
	a = a > b ? a : b;
	return a > c ? a : c;
}

/* What the call's kernel, or another around it, allocates while it runs. */
static int64_t call_heap(const Forward *forward, const CmprtCall *call)
{
	int64_t threads = forward->threads * call->thread_heap_bytes;
	int64_t most = threads > call->call_heap_bytes ? threads : call->call_heap_bytes;
	for (int64_t i = 0; i < call->statistic_count; i++) {
		const CmprtStatistic *statistic = &call->statistics[i];
		most = larger_of(most, forward->threads * statistic->thread_heap_bytes, statistic->call_heap_bytes);
	}
	for (int64_t i = 0; i < call->operand_count; i++)
		for (int64_t p = 0; p < call->operands[i].piece_count; p++) {
			const CmprtDecode *decode = call->operands[i].pieces[p].decodes;
			if (call->operands[i].pieces[p].decode_count)
				most = larger_of(most, forward->threads * decode->thread_heap_bytes, decode->call_heap_bytes);
		}
	return most;
}

void forward_fit(Forward *forward, int64_t threads, bool is_spilled)
{
	const CmprtNet *net = forward->net;
	forward->threads = threads;
	forward->is_spilled = is_spilled;
	forward->state_bytes = is_spilled ? 0 : states_bytes(forward);
	forward->call_bytes = forward->heap_bytes = 0;
	for (int64_t i = 0; i < net->call_count; i++) {
		const CmprtCall *call = &net->calls[i];
		int64_t bytes = call_bytes(forward, call), heap = call_heap(forward, call);
		forward->call_bytes = bytes > forward->call_bytes ? bytes : forward->call_bytes;
		forward->heap_bytes = heap > forward->heap_bytes ? heap : forward->heap_bytes;
	}
	forward->call_bytes += threads * BLAS_THREAD_BYTES;
}

#define SLACK_BYTES ((int64_t)2 << 20)

static bool has_states(const Forward *forward)
{
	return forward->states || forward->file;
}

/* Of the process, with these nets in it; of what they allocate while they run, one at a time does. */
static int64_t fit_all(Forward *const *all, int64_t count, bool is_spilled)
{
	int64_t peak = memory_resident(false) + SLACK_BYTES, heap = 0;
	for (int64_t i = 0; i < count; i++) {
		bool is_there = has_states(all[i]);
		forward_fit(all[i], omp_get_max_threads(), is_there ? all[i]->is_spilled : is_spilled);
		peak += all[i]->call_bytes + (is_there ? 0 : all[i]->state_bytes);
		heap = all[i]->heap_bytes > heap ? all[i]->heap_bytes : heap;
	}
	return peak + heap;
}

/* States are in a file where the limit has no room for them, or none for what comes beside those that are kept. */
static bool fit_memory(Forward *const *all, int64_t count, CmprtError *error)
{
	int64_t limit = all[0]->run->options->memory, peak = fit_all(all, count, false), held = memory_resident(false);
	if (limit > 0 && (peak > limit || all[0]->is_kept))
		peak = fit_all(all, count, true);
	return limit <= 0 || peak <= limit || error_memory_too_small(error, limit, memory_named(peak, held), held);
}

/* ---- calls ---- */

static void *take(char **memory, int64_t bytes)
{
	char *at = *memory;
	*memory += align_up(bytes, 64);
	return at;
}

/* What is coded waits until all that the call holds has its place. */
static bool read_pieces(Forward *forward, const CmprtOperand *operand, char *to, CmprtError *error)
{
	for (int64_t i = 0; i < operand->piece_count; i++) {
		const CmprtPiece *piece = &operand->pieces[i];
		if (piece->value > 0)
			memcpy(to, forward->run->values[piece->value - 1], (size_t)piece->bytes);
		else if (piece->tensor >= 0 && !(input_read(forward->run, piece->tensor, to, piece->bytes, 0, error) &&
										   net_check_weight(forward, piece->tensor, to, error)))
			return false;
		forward->run->bytes_read += piece->tensor < 0 ? 0 : piece->bytes;
		to += piece->bytes;
	}
	return true;
}

/* memory: behind all that the call holds meanwhile. */
static bool decode_tensor(const Forward *forward, const CmprtDecode *decode, void *to, char *memory, CmprtError *error)
{
	void *buffers[64];
	int64_t count = 0;
	for (int64_t i = 0; i < decode->part_count; i++) {
		int64_t bytes = forward->run->program->inputs[decode->parts[i]].bytes;
		buffers[count] = take(&memory, bytes);
		if (!input_read(forward->run, decode->parts[i], buffers[count++], bytes, 0, error))
			return false;
		forward->run->bytes_read += bytes;
	}
	buffers[count++] = to;
	for (int64_t i = 0; i < decode->work_count; i++)
		buffers[count++] = take(&memory, decode->work_bytes[i]);
	CmprtFrame frame = {buffers, &decode->rows, memory, NULL};
	if (decode->is_streamed)
		cmprt_parallel(&frame, decode->kernel, 0, decode->rows, align_up(decode->scratch_bytes, 64));
	else
		decode->kernel(&frame, 0, decode->rows);
	return true;
}

static bool decode_operands(
	const Forward *forward, const CmprtCall *call, void *const *buffers, char *memory, CmprtError *error)
{
	for (int64_t i = 0; i < call->operand_count; i++) {
		const CmprtOperand *operand = &call->operands[i];
		char *to = buffers[i];
		for (int64_t p = 0; p < operand->piece_count; p++) {
			const CmprtPiece *piece = &operand->pieces[p];
			if (piece->decode_count && !(decode_tensor(forward, piece->decodes, to, memory, error) &&
										   net_check_decoded(forward, piece, to, error)))
				return false;
			to += piece->bytes;
		}
	}
	return true;
}

/* Places of weights, given arrays, results and work; reads the weights. What is left of the memory is scratch. */
static bool lay_call(Forward *forward, const CmprtCall *call, void **buffers, char **memory, CmprtError *error)
{
	const CmprtNet *net = forward->net;
	void **first = buffers;
	for (int64_t i = 0; i < call->operand_count; i++, buffers++) {
		const CmprtOperand *operand = &call->operands[i];
		if (is_in_place(operand)) {
			*buffers = forward->run->values[operand->pieces->value - 1];
			continue;
		}
		*buffers = take(memory, operand_bytes(forward, operand)); /* of a state in memory: run_sample says where */
		if (!read_pieces(forward, operand, *buffers, error))
			return false;
	}
	for (int64_t i = 0; i < call->left_count; i++)
		*buffers++ = take(memory, net->states[call->left[i]].bytes);
	for (int64_t i = 0; i < call->work_count; i++)
		*buffers++ = take(memory, call->work_bytes[i]);
	return decode_operands(forward, call, first, *memory, error);
}

static bool keep_states(Forward *forward, const CmprtCall *call, int64_t sample, void *const *left, CmprtError *error)
{
	for (int64_t i = 0; i < call->left_count; i++) {
		int64_t state = call->left[i];
		if (!net_check_state(forward, call, i, sample, left[i], error))
			return false;
		if (!forward->net->states[state].is_passing && !state_store(forward, state, sample, left[i], error))
			return false;
	}
	return true;
}

/* ---- statistics ---- */

static void fold_reals(const CmprtStatistic *statistic, const float *from, float *to)
{
#pragma omp parallel for
	for (int64_t i = 0; i < statistic->elements; i++)
		to[i] = statistic->fold == CMPRT_FOLD_SUM   ? to[i] + from[i]
				: statistic->fold == CMPRT_FOLD_MAX ? (from[i] > to[i] ? from[i] : to[i])
													: (from[i] < to[i] ? from[i] : to[i]);
}

static void fold_integers(const CmprtStatistic *statistic, const int32_t *from, int32_t *to)
{
	for (int64_t i = 0; i < statistic->elements; i++)
		to[i] = statistic->fold == CMPRT_FOLD_SUM   ? (int32_t)((uint32_t)to[i] + (uint32_t)from[i])
				: statistic->fold == CMPRT_FOLD_MAX ? (from[i] > to[i] ? from[i] : to[i])
													: (from[i] < to[i] ? from[i] : to[i]);
}

/* One sample after the other: the sums are those of this order. */
static void fold_statistic(
	const Forward *forward, const CmprtStatistic *statistic, int64_t sample, void *rows, char *memory)
{
	int64_t length = samples_length(&forward->samples, sample);
	void *buffers[2 + STATISTIC_WORK] = {rows, take(&memory, statistic->elements * 4)};
	for (int64_t i = 0; i < statistic->work_count; i++)
		buffers[2 + i] = take(&memory, statistic->work_bytes[i]);
	CmprtFrame frame = {buffers, &length, memory, NULL};
	statistic->kernel(&frame, 0, length);
	char *to = forward->run->values[statistic->value - 1];
	if (sample == 0)
		memcpy(to, buffers[1], (size_t)statistic->elements * 4);
	else if (statistic->is_real)
		fold_reals(statistic, buffers[1], (float *)(void *)to);
	else
		fold_integers(statistic, buffers[1], (int32_t *)(void *)to);
}

static bool run_sample(
	Forward *forward, const CmprtCall *call, int64_t sample, void **buffers, char *scratch, CmprtError *error)
{
	const CmprtNet *net = forward->net;
	int64_t length = samples_length(&forward->samples, sample);
	for (int64_t i = 0; i < call->operand_count; i++) {
		const CmprtOperand *operand = &call->operands[i];
		if (operand->state < 0)
			continue;
		if (net->states[operand->state].given >= 0)
			samples_fill(&forward->samples, sample, (Given)net->states[operand->state].given, buffers[i]);
		else if (!state_load(forward, operand->state, sample, &buffers[i], error))
			return false;
	}
	for (int64_t i = 0; i < call->left_count; i++)
		if (net->states[call->left[i]].is_padded)
			memset(buffers[call->operand_count + i], 0, (size_t)forward_state_bytes(forward, call->left[i], sample));
	CmprtFrame frame = {buffers, &length, scratch, NULL};
	call->kernel(&frame, 0, length);
	void **left = buffers + call->operand_count;
	if (!keep_states(forward, call, sample, left, error))
		return false;
	for (int64_t i = 0; i < call->statistic_count; i++)
		fold_statistic(forward, &call->statistics[i], sample, left[call->statistics[i].left], scratch);
	return true;
}

bool forward_hold(Forward *forward, const CmprtCall *call, CmprtError *error)
{
	forward->held = call;
	forward->buffers =
		calloc((size_t)(call->operand_count + call->left_count + call->work_count + 1), sizeof *forward->buffers);
	forward->scratch = forward->arena;
	return forward->buffers ? lay_call(forward, call, forward->buffers, &forward->scratch, error)
							: error_out_of_memory(error);
}

bool forward_sample(Forward *forward, int64_t sample, CmprtError *error)
{
	return run_sample(forward, forward->held, sample, forward->buffers, forward->scratch, error);
}

const void *forward_left(const Forward *forward, int64_t state)
{
	const CmprtCall *call = forward->held;
	for (int64_t i = 0; forward->buffers && i < call->left_count; i++)
		if (call->left[i] == state)
			return forward->buffers[call->operand_count + i];
	return NULL;
}

static void drop(Forward *forward)
{
	free(forward->buffers);
	forward->buffers = NULL;
}

bool forward_call(Forward *forward, const CmprtCall *call, CmprtError *error)
{
	bool is_done = forward_hold(forward, call, error);
	for (int64_t i = 0; i < forward->samples.count && is_done; i++) {
		is_done = forward_sample(forward, i, error);
		progress_sample(forward->run, call->label, i, forward->samples.count);
	}
	drop(forward);
	if (is_done)
		states_turn(forward, call);
	return is_done;
}

/* ---- how long it takes ---- */

/* Numbers like weights; the tokens are all 0. */
static void *take_made_up(const Forward *forward, const CmprtOperand *operand, char **memory)
{
	char *at = *memory;
	if (operand->state >= 0) {
		const CmprtState *state = &forward->net->states[operand->state];
		if (state->given < 0)
			dry_run_fill(at, state->bytes, strcmp(state->dtype, "<f4") ? "I32" : "F32");
		return take(memory, state->bytes);
	}
	int64_t bytes = 0;
	for (int64_t i = 0; i < operand->piece_count; i++) {
		const CmprtPiece *piece = &operand->pieces[i];
		dry_run_fill(at + bytes, piece->bytes, piece->tensor < 0 ? "F32" : forward->run->inputs[piece->tensor]->dtype);
		bytes += piece->bytes;
	}
	return take(memory, bytes);
}

/* Of all operands, wherever a run has them. */
static int64_t made_up_bytes(const Forward *forward, const CmprtCall *call)
{
	int64_t bytes = forward->call_bytes;
	for (int64_t i = 0; i < call->operand_count; i++) {
		const CmprtOperand *operand = &call->operands[i];
		int64_t own = operand->state >= 0 ? forward->net->states[operand->state].bytes : 0;
		for (int64_t k = 0; k < operand->piece_count; k++)
			own += operand->pieces[k].bytes;
		bytes += align_up(own, 64);
	}
	return bytes;
}

bool forward_try(const Forward *forward, const CmprtCall *call, const CmprtStatistic *statistic, Sampler *sampler)
{
	int64_t count = call->operand_count + call->left_count + call->work_count + 2 + STATISTIC_WORK;
	int64_t length = forward->samples.longest;
	size_t bytes = (size_t)made_up_bytes(forward, call) + 64;
	void **buffers = calloc((size_t)count, sizeof *buffers), **buffer = buffers;
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!buffers || memory == MAP_FAILED)
		return false;
	if (statistic) {
		int64_t rows = forward->net->states[call->left[statistic->left]].bytes;
		dry_run_fill(*buffer++ = take(&memory, rows), rows, "F32");
		*buffer++ = take(&memory, statistic->elements * 4);
	}
	for (int64_t i = 0; i < call->operand_count && !statistic; i++)
		*buffer++ = take_made_up(forward, &call->operands[i], &memory);
	for (int64_t i = 0; i < call->left_count && !statistic; i++)
		*buffer++ = take(&memory, forward->net->states[call->left[i]].bytes);
	const int64_t *work = statistic ? statistic->work_bytes : call->work_bytes;
	for (int64_t i = 0; i < (statistic ? statistic->work_count : call->work_count); i++)
		*buffer++ = take(&memory, work[i]);
	CmprtFrame frame = {buffers, &length, memory, sampler};
	sample_begin(sampler);
	(statistic ? statistic->kernel : call->kernel)(&frame, 0, length);
	sample_end(sampler);
	return true;
}

static bool check_tokens(const Forward *forward, CmprtError *error)
{
	int64_t vocabulary = forward->net->vocabulary;
	for (int64_t i = 0; i < forward->samples.token_count && vocabulary > 0; i++)
		if (forward->samples.token[i] >= vocabulary && forward->samples.vocabulary > 0)
			return error_data_tokenizer(error, forward->net->data->path, forward->samples.vocabulary, vocabulary);
		else if (forward->samples.token[i] >= vocabulary && forward->samples.pixels)
			return error_data_classes(error, forward->net->data->path, forward->samples.token[i], i, vocabulary);
		else if (forward->samples.token[i] >= vocabulary)
			return error_data_vocabulary(error, forward->net->data->path, forward->samples.token[i], i, vocabulary);
	const int64_t built[3] = {forward->net->data->channels, forward->net->data->height, forward->net->data->width};
	if (memcmp(built, forward->samples.extents, sizeof built) != 0)
		return error_data_images(error, forward->net->data->path, forward->samples.extents, built);
	if (forward->net->tokens > 0 && forward->samples.token_count != forward->net->tokens)
		return error_data_changed(error, forward->net->data->path, forward->samples.token_count, forward->net->tokens);
	return forward->samples.longest <= forward->net->longest ||
		   error_data_long(error, forward->net->data->path, forward->samples.longest, forward->net->longest);
}

bool forward_open(Run *run, const CmprtNet *net, Forward *forward, CmprtError *error)
{
	*forward = (Forward){.run = run, .net = net};
	if (!check_net(run->program, net, error) ||
		!samples_open(net->data, run->reader ? run->reader : run->model, &forward->samples, error) ||
		!check_tokens(forward, error))
		return false;
	forward_fit(forward, omp_get_max_threads(), false);
	return true;
}

bool forward_start(Forward *const *all, int64_t count, CmprtError *error)
{
	bool is_good = fit_memory(all, count, error);
	for (int64_t i = 0; i < count && is_good; i++) {
		all[i]->arena = all[i]->own_arena = aligned_alloc(64, (size_t)align_up(all[i]->call_bytes, 64) + 64);
		is_good = (all[i]->arena || error_out_of_memory(error)) && (has_states(all[i]) || states_open(all[i], error));
	}
	return is_good;
}

void forward_rest(Forward *forward)
{
	drop(forward);
	free(forward->own_arena);
	forward->arena = forward->own_arena = NULL;
}

void forward_free(Forward *forward)
{
	drop(forward);
	states_close(forward);
	free(forward->own_arena);
	samples_close(&forward->samples);
}
