/* SPDX-License-Identifier: MIT
 *
 * calibrate.c: jobs that look at what reaches their matrix when a network reads data.
 * The network runs part by part: a call leaves the statistics of all samples in
 * Values, its jobs read them and leave the new weights in others, and the next call
 * hands on to later parts what these weights make. On exit those jobs are done.
 */
#include "forward.h"

#include <stdlib.h>

/* Which of the program's nets are run for their jobs. */
static bool is_for_jobs(const CmprtNet *net)
{
	return net->result < 0;
}

static int64_t net_count(const Run *run)
{
	int64_t count = 0;
	for (int64_t i = 0; i < run->program->net_count; i++)
		count += is_for_jobs(&run->program->nets[i]);
	return count;
}

bool calibration_open(Run *run, CmprtError *error)
{
	int64_t opened = 0;
	run->forwards = calloc((size_t)net_count(run) + 1, sizeof *run->forwards);
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
	for (int64_t i = 0; run->forwards && i < net_count(run); i++)
		if (run->forwards[i].net)
			forward_free(&run->forwards[i]);
	free(run->forwards);
}

int64_t calibration_bytes(const Run *run)
{
	int64_t most = 0;
	for (int64_t i = 0; run->forwards && i < net_count(run); i++) {
		int64_t bytes = forward_bytes(&run->forwards[i]);
		most = bytes > most ? bytes : most;
	}
	return most;
}

int64_t calibration_tokens(const Run *run)
{
	int64_t tokens = 0;
	for (int64_t i = 0; run->forwards && i < net_count(run); i++)
		tokens += run->forwards[i].samples.token_count;
	return tokens;
}

int64_t calibration_reads(const Run *run)
{
	int64_t bytes = 0;
	for (int64_t i = 0; run->forwards && i < net_count(run); i++)
		for (int64_t k = 0; k < run->forwards[i].net->call_count; k++) {
			const CmprtCall *call = &run->forwards[i].net->calls[k];
			for (int64_t o = 0; o < call->operand_count; o++)
				bytes += forward_operand_reads(run->program, &call->operands[o]);
		}
	return bytes;
}

static bool run_jobs(Run *run, const CmprtCall *call, CmprtError *error)
{
	for (int64_t i = 0; i < call->job_count; i++)
		if (!journal_flush(run, error) || !whole_task(run, call->jobs[i], true, error))
			return false;
	return true;
}

bool calibrate(Run *run, CmprtError *error)
{
	for (int64_t i = 0; i < net_count(run); i++) {
		Forward *forward = &run->forwards[i];
		bool is_done = forward_allocate(forward, error);
		for (int64_t k = 0; k < forward->net->call_count && is_done; k++)
			is_done =
				forward_call(forward, &forward->net->calls[k], error) && run_jobs(run, &forward->net->calls[k], error);
		forward_free(forward);
		forward->net = NULL;
		if (!is_done)
			return false;
	}
	return true;
}
