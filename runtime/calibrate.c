/* SPDX-License-Identifier: MIT
 *
 * calibrate.c: jobs that look at what reaches their matrix when a network reads data.
 * The network runs part by part: a call leaves the statistics of all samples in
 * Values, its jobs read them and leave the new weights in others, and the next call
 * hands on to later parts what these weights make. On exit those jobs are done. A run
 * that was interrupted goes on behind the last part that was handed on from.
 */
#include "forward.h"

#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

/* Which of the program's nets are run for their jobs. */
static bool is_for_jobs(const CmprtNet *net)
{
	return net->result < 0;
}

static int64_t count_nets(const Run *run)
{
	int64_t count = 0;
	for (int64_t i = 0; i < run->program->net_count; i++)
		count += is_for_jobs(&run->program->nets[i]);
	return count;
}

int64_t calibration_count(const Run *run)
{
	return run->forwards ? count_nets(run) : 0;
}

bool calibration_open(Run *run, CmprtError *error)
{
	int64_t opened = 0;
	run->forwards = calloc((size_t)count_nets(run) + 1, sizeof *run->forwards);
	if (!run->forwards)
		return error_out_of_memory(error);
	for (int64_t i = 0; i < run->program->net_count; i++)
		if (is_for_jobs(&run->program->nets[i]) &&
			!forward_open(run, &run->program->nets[i], &run->forwards[opened++], error))
			return false;
	return true;
}

void calibration_close(Run *run)
{
	for (int64_t i = 0; i < calibration_count(run); i++)
		if (run->forwards[i].net)
			forward_free(&run->forwards[i]);
	free(run->forwards);
}

/* The nets run one after the other. */
static int64_t largest(const Run *run, int64_t (*bytes)(const Forward *forward))
{
	int64_t most = 0;
	for (int64_t i = 0; i < calibration_count(run); i++) {
		int64_t own = bytes(&run->forwards[i]);
		most = own > most ? own : most;
	}
	return most;
}

static int64_t state_bytes(const Forward *forward)
{
	return forward->state_bytes;
}

static int64_t call_bytes(const Forward *forward)
{
	return forward->call_bytes;
}

static int64_t heap_bytes(const Forward *forward)
{
	return forward->heap_bytes;
}

CalibrationBytes calibration_bytes(Run *run, int64_t threads, bool is_spilled)
{
	for (int64_t i = 0; i < calibration_count(run); i++)
		forward_fit(&run->forwards[i], threads, is_spilled);
	return (CalibrationBytes){.states = largest(run, state_bytes),
		.arena = largest(run, call_bytes),
		.heap = largest(run, heap_bytes),
		.disk = largest(run, states_file_bytes)};
}

uint64_t calibration_sum(const Run *run)
{
	uint64_t sum = 0;
	for (int64_t i = 0; i < calibration_count(run); i++) {
		const Samples *samples = &run->forwards[i].samples;
		sum = XXH3_64bits_withSeed(samples->first, (size_t)(samples->count + 1) * sizeof *samples->first, sum);
		sum = XXH3_64bits_withSeed(samples->token, (size_t)samples->token_count * sizeof *samples->token, sum);
		if (samples->predicted)
			sum = XXH3_64bits_withSeed(samples->predicted, (size_t)samples->count * sizeof *samples->predicted, sum);
		int64_t pixels = samples->count * samples->extents[0] * samples->extents[1] * samples->extents[2];
		sum = pixels ? XXH3_64bits_withSeed(samples->pixels, (size_t)pixels, sum) : sum;
	}
	return sum;
}

int64_t calibration_tokens(const Run *run)
{
	int64_t tokens = 0;
	for (int64_t i = 0; i < calibration_count(run); i++)
		tokens += run->forwards[i].samples.token_count;
	return tokens;
}

int64_t calibration_reads(const Run *run)
{
	int64_t bytes = 0;
	for (int64_t i = 0; i < calibration_count(run); i++)
		for (int64_t k = 0; k < run->forwards[i].net->call_count; k++) {
			const CmprtCall *call = &run->forwards[i].net->calls[k];
			for (int64_t o = 0; o < call->operand_count; o++)
				bytes += forward_operand_reads(run->program, &call->operands[o]);
		}
	return bytes;
}

static bool is_job_of(const CmprtJob *job, int64_t tensor)
{
	bool writes_tensor = job->port_out_count > 0 && !job->ports_out->value;
	return writes_tensor && job->port_in_count > 0 && !job->ports_in->value && job->ports_in->tensor == tensor;
}

static bool run_job(Run *run, int64_t number, CmprtError *error)
{
	if (run->tasks[number].is_streamed)
		return stream_tasks(run, number, number + 1, true, error);
	return whole_task(run, number, true, error);
}

/* Of these tensors; of those that are done too, for what the net reads of them. */
static bool run_jobs(Run *run, const int64_t *tensors, int64_t count, CmprtError *error)
{
	for (int64_t i = 0; i < count; i++)
		for (int64_t job = 0; job < run->program->job_count; job++)
			if (is_job_of(&run->program->jobs[job], tensors[i]) &&
				!(journal_flush(run, error) && run_job(run, job, error)))
				return false;
	return true;
}

/* What tensors are given: nothing is written, so it is done again where they are. */
static bool run_decides(Run *run, const CmprtCall *call, CmprtError *error)
{
	for (int64_t i = 0; i < call->decide_count; i++)
		if (!journal_flush(run, error) || !run_job(run, call->decides[i], error))
			return false;
	return true;
}

static bool are_done(const Run *run, const int64_t *tensors, int64_t count)
{
	for (int64_t i = 0; i < count; i++)
		for (int64_t job = 0; job < run->program->job_count; job++) {
			const Task *task = &run->tasks[job];
			for (int64_t s = 0; is_job_of(task->job, tensors[i]) && s < task->segment_count; s++)
				if (!run->done[task->segment_first + s])
					return false;
		}
	return true;
}

bool calibration_is_done(const Run *run, const CmprtNet *net, int64_t calls)
{
	for (int64_t i = 0; i < calls; i++) {
		const CmprtCall *call = &net->calls[i];
		if (!are_done(run, call->made, call->made_count) || !are_done(run, call->asked, call->asked_count))
			return false;
	}
	return true;
}

static bool leaves_states(const CmprtNet *net, const CmprtCall *call)
{
	bool is_left = false;
	for (int64_t i = 0; i < call->left_count; i++)
		is_left |= !net->states[call->left[i]].is_passing;
	return is_left;
}

static bool run_net(Run *run, int64_t number, CmprtError *error)
{
	Forward *forward = &run->forwards[number];
	const CmprtNet *net = forward->net;
	if (calibration_is_done(run, net, net->call_count))
		return true;
	forward->arena = run->arena;
	int64_t first = states_open(forward, error) ? states_resume(forward, number, error) : -1;
	progress_net(run, first * forward->samples.count, net->call_count * forward->samples.count);
	for (int64_t i = first; i >= 0 && i < net->call_count; i++) {
		const CmprtCall *call = &net->calls[i];
		if (!run_jobs(run, call->made, call->made_count, error) || !forward_call(forward, call, error) ||
			!run_decides(run, call, error) || !run_jobs(run, call->asked, call->asked_count, error))
			return false;
		if (leaves_states(net, call) && !(journal_flush(run, error) && states_mark(forward, number, i, error)))
			return false;
	}
	return first >= 0;
}

bool calibrate(Run *run, CmprtError *error)
{
	bool is_done = true;
	for (int64_t i = 0; i < calibration_count(run) && is_done; i++) {
		is_done = run_net(run, i, error) && journal_flush(run, error);
		progress_net(run, 0, 0);
		forward_free(&run->forwards[i]);
		run->forwards[i].net = NULL;
	}
	if (is_done && calibration_count(run))
		unlink(run->destination.states);
	return is_done;
}
