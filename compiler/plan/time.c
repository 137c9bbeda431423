/* SPDX-License-Identifier: MIT
 *
 * time.c: how long the run will take, coarsely, before there is anything to measure:
 * from the kernels' texts and rates that CPUs of the last ten years have in common.
 * The executable's --dry-run measures instead.
 */
#include "net.h"

#include <math.h>
#include <string.h>

/* A core's, and what one moves between files in the system's cache and its own. */
#define CYCLES_PER_SECOND 3e9
#define READ_RATE 8e9
#define WRITE_RATE 3e9

/* A selection is decided in two reads of the weights, at least. */
enum { SELECT_READS = 2 };

typedef struct PlanTime {
	double cores; /* that the kernels run on */
	double kernels;
	double moves; /* seconds of one core */
} PlanTime;

static double job_seconds(const Plan *plan, const CmprtJob *job, const char *kernel_name, double cores)
{
	for (size_t i = 0; i < plan->kernels.count && kernel_name; i++) {
		Kernel *kernel = plan->kernels.at[i].built.kernel;
		if (strcmp(kernel->name, kernel_name) != 0)
			continue;
		KCost cost = kernel_cost(kernel, job->rows, plan->options->lanes);
		return (cost.spread / cores + cost.serial) / CYCLES_PER_SECOND;
	}
	return 0;
}

/* On a data set whose samples are as long as the longest. */
static double net_seconds(const Plan *plan, const Net *net, double tokens, double cores)
{
	double cycles = 0;
	for (size_t i = 0; i < net->calls.count; i++) {
		Kernel *kernel = net->kernels.at[net->calls.at[i].kernel].built.kernel;
		KCost cost = kernel_cost(kernel, net->longest, plan->options->lanes);
		cycles += cost.spread / cores + cost.serial;
	}
	return cycles * tokens / (double)net->longest / CYCLES_PER_SECOND;
}

static double measure_seconds(const Plan *plan, const Measure *measure, double cores)
{
	double seconds = 0;
	for (size_t i = 0; measure && i < measure->nets.count; i++)
		seconds += net_seconds(plan, measure->nets.at[i], (double)measure->tokens.at[i], cores);
	return seconds;
}

static double port_bytes(const CmprtPort *ports, int64_t count)
{
	double bytes = 0;
	for (int64_t i = 0; i < count; i++)
		bytes += ports[i].tensor < 0 ? 0 : (double)ports[i].rows * (double)ports[i].row_bytes;
	return bytes;
}

static void add_jobs(const Plan *plan, const CmprtJob *jobs, int64_t count, size_t first_name, int times, PlanTime *to)
{
	for (int64_t i = 0; i < count; i++) {
		to->kernels += times * job_seconds(plan, &jobs[i], plan->kernel_names.at[first_name + (size_t)i], to->cores);
		to->moves += times * port_bytes(jobs[i].ports_in, jobs[i].port_in_count) / READ_RATE;
		to->moves += times * port_bytes(jobs[i].ports_out, jobs[i].port_out_count) / WRITE_RATE;
	}
}

static PlanTime plan_time(const Plan *plan, int64_t cores)
{
	const CmprtProgram *program = plan->program;
	PlanTime time = {.cores = (double)cores};
	size_t name = (size_t)program->early_count;
	add_jobs(plan, program->early, program->early_count, 0, 1, &time);
	add_jobs(plan, program->jobs, program->job_count, name, 1, &time);
	name += (size_t)program->job_count;
	for (int64_t i = 0; i < program->select_count; i++) {
		add_jobs(plan, program->selects[i].jobs, program->selects[i].job_count, name, SELECT_READS, &time);
		name += (size_t)program->selects[i].job_count;
	}
	time.kernels += measure_seconds(plan, plan->original, time.cores) + measure_seconds(plan, plan->result, time.cores);
	return time;
}

static void print_seconds(Text *to, double seconds)
{
	double unit = pow(10, floor(log10(fmax(seconds, 1e-3))));
	text_printf(to, "~%g s", round(seconds / unit) * unit);
}

void plan_print_time(const Plan *plan, int64_t cores, Text *to)
{
	int64_t used = plan->cores > 0 ? plan->cores : cores;
	PlanTime time = plan_time(plan, used);
	text_printf(to, "# time: ");
	print_seconds(to, time.kernels + time.moves / (double)used);
	text_printf(to, " on %lld core%s, of which kernels ", (long long)used, used == 1 ? "" : "s");
	print_seconds(to, time.kernels);
	text_printf(
		to, "%s; measured by the executable's --dry-run\n", plan->net ? ", the net that passes ask not counted" : "");
}
