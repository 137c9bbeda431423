/* SPDX-License-Identifier: MIT
 *
 * dry_run_whole.c: how long kernels take that want a whole tensor at once, or are
 * those of a network's parts on a sample and of the statistics behind them. Each runs
 * once, on made-up data and sampled (sampler.h), in a child process that is ended
 * when the time for all of them is over: what a kernel does between its loops over
 * rows and its matrices is not sampled. For one that was not done the work counts
 * that the compiler put down: it is as fast as the largest that was.
 *
 * On entry this process has run nothing in parallel: a child has no threads of its
 * parent's, and OpenMP would wait for them.
 */
#include "forward.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WHOLE_SECONDS 0.8
/* Where nothing was timed: a core's of the last ten years. */
#define CYCLES_PER_SECOND 3e9

/* What a kernel takes, for the rows of its first task, or for the longest sample of its net. */
typedef struct WholeKernel {
	CmprtKernel *kernel;
	double cycles;
	const Task *task; /* NULL: it is a call's, or that of a statistic behind it */
	const Forward *forward;
	const CmprtCall *call;
	const CmprtStatistic *statistic; /* NULL: the call's */
	double seconds;
	bool is_timed; /* else at least that long */
} WholeKernel;

typedef struct WholeTimer {
	const Run *run;
	WholeKernel *kernels;
	int64_t count;
	Sampler *sampler; /* shared with children */
	double end;       /* when no child may run any more */
} WholeTimer;

static WholeKernel *find_kernel(const WholeTimer *timer, CmprtKernel *kernel)
{
	for (int64_t i = 0; i < timer->count; i++)
		if (timer->kernels[i].kernel == kernel)
			return &timer->kernels[i];
	return NULL;
}

static void add_kernel(WholeTimer *timer, WholeKernel kernel)
{
	if (!find_kernel(timer, kernel.kernel))
		timer->kernels[timer->count++] = kernel;
}

/* In the child. Arrays that other jobs hand on are zeros here. */
static void run_sampled(const Run *run, const Task *task, Sampler *sampler)
{
	const CmprtJob *job = task->job;
	int64_t ports = job->port_in_count + job->port_out_count + job->work_count;
	size_t bytes = (size_t)memory_whole(task, run->schedule.threads) + 64;
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	void **buffers = calloc((size_t)ports + 1, sizeof *buffers);
	int64_t *params = calloc((size_t)job->param_count + 1, sizeof *params);
	if (memory == MAP_FAILED || !buffers || !params)
		return;
	CmprtFrame frame = {buffers, params, whole_buffers(task, memory, buffers), sampler};
	for (int64_t i = 0; i < job->port_in_count; i++) {
		const CmprtPort *port = &job->ports_in[i];
		if (port->value == 0)
			dry_run_fill(buffers[i], port->rows * port->row_bytes, run->inputs[port->tensor]->dtype);
	}
	task_params(run, task, params);
	task_panel_params(run, task, 0, job->rows, params);
	sample_begin(sampler);
	job->kernel(&frame, 0, job->rows);
	sample_end(sampler);
}

/* Waits until `end`, and no longer. */
static void await_child(pid_t child, double end)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	while (waitpid(child, NULL, WNOHANG) == 0) {
		if (clock_seconds() > end) {
			kill(child, SIGKILL);
			waitpid(child, NULL, 0);
			return;
		}
		nanosleep(&pause, NULL);
	}
}

static void time_in_child(const WholeTimer *timer, WholeKernel *kernel)
{
	Sampler *sampler = timer->sampler;
	sampler->started = sampler->seconds = 0;
	pid_t child = fork();
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0});
		if (kernel->task)
			run_sampled(timer->run, kernel->task, sampler);
		else
			forward_try(kernel->forward, kernel->call, kernel->statistic, sampler);
		_exit(0);
	}
	if (child < 0)
		return;
	await_child(child, timer->end);
	kernel->is_timed = sampler->seconds > 0;
	kernel->seconds = sampler->seconds;
	if (!kernel->is_timed && sampler->started > 0)
		kernel->seconds = clock_seconds() - sampler->started + sampler->saved;
}

static int compare_work(const void *a, const void *b)
{
	double left = ((const WholeKernel *)a)->cycles, right = ((const WholeKernel *)b)->cycles;
	return (left > right) - (left < right);
}

static void collect(WholeTimer *timer, const Task *tasks, int64_t count)
{
	for (int64_t i = 0; i < count; i++)
		if (tasks[i].job->kernel && !tasks[i].is_streamed)
			add_kernel(timer,
				(WholeKernel){.kernel = tasks[i].job->kernel, .cycles = tasks[i].job->cycles, .task = &tasks[i]});
}

static void collect_calls(WholeTimer *timer, const Forward *forward)
{
	for (const CmprtCall *call = forward->net->calls; call < forward->net->calls + forward->net->call_count; call++) {
		WholeKernel made = {.kernel = call->kernel, .cycles = call->cycles, .forward = forward, .call = call};
		add_kernel(timer, made);
		for (int64_t i = 0; i < call->statistic_count; i++) {
			made.statistic = &call->statistics[i];
			made.kernel = made.statistic->kernel;
			made.cycles = made.statistic->cycles;
			add_kernel(timer, made);
		}
	}
}

static int64_t count_calls(const Run *run)
{
	int64_t count = 0;
	for (int64_t i = 0; i < calibration_count(run); i++)
		for (int64_t k = 0; k < run->forwards[i].net->call_count; k++)
			count += 1 + run->forwards[i].net->calls[k].statistic_count;
	return count;
}

/* The least work comes first, so that as many as can be are timed; gives seconds per cycle of the last. */
static double time_kernels(WholeTimer *timer)
{
	double rate = 1 / CYCLES_PER_SECOND;
	timer->end = clock_seconds() + WHOLE_SECONDS;
	qsort(timer->kernels, (size_t)timer->count, sizeof *timer->kernels, compare_work);
	for (int64_t i = 0; i < timer->count && clock_seconds() < timer->end; i++) {
		WholeKernel *kernel = &timer->kernels[i];
		time_in_child(timer, kernel);
		if (kernel->is_timed && kernel->cycles > 0)
			rate = kernel->seconds / kernel->cycles;
	}
	return rate;
}

/* Of the kernel; what was not timed is counted. */
static double seconds_of(const WholeTimer *timer, CmprtKernel *of, double rate, const WholeKernel **found)
{
	const WholeKernel *kernel = *found = find_kernel(timer, of);
	double guess = kernel->is_timed ? 0 : kernel->cycles * rate;
	return kernel->seconds > guess ? kernel->seconds : guess;
}

static double sum_seconds(const WholeTimer *timer, const Task *tasks, int64_t count, double rate, int64_t *untimed)
{
	double total = 0;
	const WholeKernel *kernel;
	for (int64_t i = 0; i < count; i++) {
		if (!tasks[i].job->kernel || tasks[i].is_streamed)
			continue;
		double seconds = seconds_of(timer, tasks[i].job->kernel, rate, &kernel);
		total += seconds * (double)tasks[i].rows / (double)kernel->task->rows;
		*untimed += !kernel->is_timed;
	}
	return total;
}

/* Shorter samples take less, in proportion. */
static double sum_calls(const WholeTimer *timer, const Forward *forward, double rate, int64_t *untimed)
{
	double total = 0, samples = (double)forward->samples.token_count / (double)forward->samples.longest;
	const WholeKernel *kernel;
	for (const CmprtCall *call = forward->net->calls; call < forward->net->calls + forward->net->call_count; call++) {
		total += samples * seconds_of(timer, call->kernel, rate, &kernel);
		*untimed += !kernel->is_timed;
		for (int64_t i = 0; i < call->statistic_count; i++) {
			total += samples * seconds_of(timer, call->statistics[i].kernel, rate, &kernel);
			*untimed += !kernel->is_timed;
		}
	}
	return total;
}

bool dry_run_whole(const Run *run, DryRun *result)
{
	int64_t early = run->program->early_count, jobs = run->program->job_count;
	int64_t keys = run->key_task_first[run->program->select_count];
	WholeTimer timer = {
		.run = run, .kernels = calloc((size_t)(early + jobs + keys + count_calls(run)) + 1, sizeof *timer.kernels)};
	timer.sampler = mmap(NULL, sizeof *timer.sampler, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool is_done = timer.kernels && timer.sampler != MAP_FAILED;
	if (is_done) {
		collect(&timer, run->early_tasks, early);
		collect(&timer, run->tasks, jobs);
		collect(&timer, run->key_tasks, keys);
		for (int64_t i = 0; i < calibration_count(run); i++)
			collect_calls(&timer, &run->forwards[i]);
		double rate = time_kernels(&timer);
		result->kernel_seconds += sum_seconds(&timer, run->early_tasks, early, rate, &result->untimed);
		result->kernel_seconds += sum_seconds(&timer, run->tasks, jobs, rate, &result->untimed);
		result->kernel_seconds += RESOLVE_SWEEPS * sum_seconds(&timer, run->key_tasks, keys, rate, &result->untimed);
		for (int64_t i = 0; i < calibration_count(run); i++)
			result->kernel_seconds += sum_calls(&timer, &run->forwards[i], rate, &result->untimed);
	}
	if (timer.sampler != MAP_FAILED)
		munmap(timer.sampler, sizeof *timer.sampler);
	free(timer.kernels);
	return is_done;
}
