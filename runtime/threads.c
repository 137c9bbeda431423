/* SPDX-License-Identifier: MIT
 *
 * threads.c: how many threads there are, and rows spread over them for kernels of
 * whole jobs. The number of threads in force is OpenMP's own, set by the run loop.
 */
#include "run.h"
#include "sampler.h"

#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* Threads that wait for others sleep: on a machine with other work to do, spinning takes the time of the very threads
 * that are waited for (whole tensors on 2 threads of a machine with load 6: 0.9 s, asleep 0.06 s). libgomp reads this
 * when it starts, before main, and where it is linked as an archive after constructors of this priority. A choice of
 * the user's stays. */
__attribute__((constructor(101))) static void wait_asleep(void)
{
	setenv("OMP_WAIT_POLICY", "passive", 0);
}

int64_t threads_available(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
		return CPU_COUNT(&set);
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? online : 1;
}

/* Pieces are several per thread, so that a thread that is held up delays the others little. */
enum { PIECES_PER_THREAD = 8 };

void cmprt_parallel(void *frame, void *body, int64_t begin, int64_t end, int64_t scratch_bytes)
{
	CmprtKernel *kernel = (CmprtKernel *)body;
	int64_t threads = omp_get_max_threads();
	int64_t piece = (end - begin + threads * PIECES_PER_THREAD - 1) / (threads * PIECES_PER_THREAD);
	if (piece < 1)
		piece = 1;
	int64_t pieces = (end - begin + piece - 1) / piece;
	int64_t stride = align_up(scratch_bytes, 64);
	if (((CmprtFrame *)frame)->sampler && sample_rows(frame, kernel, begin, end, stride))
		return;
#pragma omp parallel num_threads((int)threads)
	{
		CmprtFrame own = *(const CmprtFrame *)frame;
		own.scratch = (char *)own.scratch + omp_get_thread_num() * stride;
		own.sampler = NULL;
#pragma omp for schedule(dynamic, 1)
		for (int64_t i = 0; i < pieces; i++) {
			int64_t first = begin + i * piece;
			kernel(&own, first, end - first < piece ? end : first + piece);
		}
	}
}
