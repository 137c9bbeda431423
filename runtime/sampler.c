/* SPDX-License-Identifier: MIT
 *
 * sampler.c: loops over rows, run in part (sampler.h). All rows of a loop cost much
 * the same; a loop in a loop costs less, or more, from one turn of the outer to the
 * next, but slowly: of many turns, ever fewer are timed.
 */
#include "run.h"
#include "sampler.h"

#include <omp.h>

/* As many rows as an outlined loop needs to run at its usual speed, side by side in lanes. */
enum { SAMPLE_ROWS = 32 };

void sample_begin(Sampler *sampler)
{
	sampler->saved = sampler->seconds = 0;
	sampler->loop_count = 0;
	sampler->started = clock_seconds();
}

void sample_end(Sampler *sampler)
{
	sampler->seconds = clock_seconds() - sampler->started + sampler->saved;
}

/* NULL: there is no place for another one. */
static SampledRows *find_loop(Sampler *sampler, CmprtKernel *body)
{
	for (int64_t i = 0; i < sampler->loop_count; i++)
		if (sampler->loops[i].body == body)
			return &sampler->loops[i];
	if (sampler->loop_count == SAMPLED_LOOPS)
		return NULL;
	SampledRows *loop = &sampler->loops[sampler->loop_count++];
	*loop = (SampledRows){.body = body};
	return loop;
}

/* Four visits of each power of two. */
static bool is_timed(int64_t visit)
{
	int64_t step = 1;
	while (visit / step >= 8)
		step *= 2;
	return visit % step == 0;
}

/* Threads work on rows apart from each other, as they would. */
static void time_rows(SampledRows *loop, CmprtFrame *frame, int64_t begin, int64_t end, int64_t stride)
{
	double started = clock_seconds(), busy = 0, longest = 0;
	int64_t threads = omp_get_max_threads();
#pragma omp parallel num_threads((int)threads) reduction(+ : busy) reduction(max : longest)
	{
		int64_t thread = omp_get_thread_num(), first = begin + (end - begin) / threads * thread;
		CmprtFrame own = {frame->buffers, frame->params, (char *)frame->scratch + thread * stride, NULL};
		double from = clock_seconds();
		loop->body(&own, first, first + SAMPLE_ROWS);
		busy = longest = clock_seconds() - from;
	}
	double lost = clock_seconds() - started - longest;
	loop->row_seconds = busy / (double)(threads * SAMPLE_ROWS);
	loop->overhead = lost > 0 ? lost : 0;
}

bool sample_rows(CmprtFrame *frame, CmprtKernel *body, int64_t begin, int64_t end, int64_t stride)
{
	Sampler *sampler = frame->sampler;
	int64_t threads = omp_get_max_threads(), rows = end - begin;
	SampledRows *loop = rows > 2 * threads * SAMPLE_ROWS ? find_loop(sampler, body) : NULL;
	if (!loop)
		return false;
	double started = clock_seconds();
	if (is_timed(loop->visits++))
		time_rows(loop, frame, begin, end, stride);
	sampler->saved += loop->overhead + loop->row_seconds * (double)rows / (double)threads;
	sampler->saved -= clock_seconds() - started;
	return true;
}
