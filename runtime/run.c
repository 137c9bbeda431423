/* SPDX-License-Identifier: MIT
 *
 * run.c: the run, from headers to commit. Everything that can be refused is
 * refused before the first weight is read; nothing is visible under the output's
 * name before all of it is written.
 */
#include "run.h"

#include <jansson.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the result ---- */

static bool lay_out(Run *run, CmprtError *error)
{
	const Format *format = format_find(run->program->output_format);
	layout_free(run->layout);
	free(run->output_fds);
	run->output_fds = NULL;
	run->layout = format->lay_out(
		run->program, run->program->saves_arrays ? NULL : run->model, run->destination.is_folder, error);
	if (!run->layout)
		return false;
	run->output_fds = malloc(sizeof *run->output_fds * (size_t)(run->layout->file_count + 1));
	if (!run->output_fds)
		return error_out_of_memory(error);
	for (int64_t i = 0; i < run->layout->file_count; i++)
		run->output_fds[i] = -1;
	return true;
}

static void free_arena(Run *run)
{
	if (run->arena)
		munmap(run->arena, (size_t)run->schedule.arena_bytes + 64);
	run->arena = NULL;
}

static bool make_arena(Run *run, CmprtError *error)
{
	if (run->arena)
		return true;
	size_t bytes = (size_t)run->schedule.arena_bytes + 64;
	void *arena = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		return error_out_of_memory(error);
	/* a huge page at the arena's end would be resident beyond what the schedule counted */
	if (run->schedule.limit > 0)
		madvise(arena, bytes, MADV_NOHUGEPAGE);
	run->arena = arena;
	return true;
}

/* Streamed tasks that follow each other flow into each other; a whole task waits for them and they for it. */
static bool run_tasks(Run *run, CmprtError *error)
{
	int64_t count = run->program->job_count;
	for (int64_t first = 0, end; first < count; first = end) {
		for (end = first; end < count && run->tasks[end].is_streamed;)
			end++;
		if (end > first && !stream_tasks(run, first, end, false, error))
			return false;
		if (end == first && !(journal_flush(run, error) && whole_task(run, end++, false, error)))
			return false;
	}
	return journal_flush(run, error);
}

/* ---- interruption ---- */

/* The journal is true at every instant, so there is nothing to tidy up: say so and leave. */
static void leave(int number)
{
	static const char text[] = "\ninterrupted; run it again to resume\n";
	ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
	(void)ignored;
	_exit(128 + number);
}

typedef struct Signals {
	struct sigaction interrupt, terminate, too_large;
} Signals;

/* A file beyond the process's limit is an error of pwrite, not a signal. */
static void catch_signals(Signals *old)
{
	struct sigaction catch = {.sa_handler = leave}, ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGINT, &catch, &old->interrupt);
	sigaction(SIGTERM, &catch, &old->terminate);
	sigaction(SIGXFSZ, &ignore, &old->too_large);
	if (old->interrupt.sa_handler == SIG_IGN) /* nohup and background jobs stay so */
		sigaction(SIGINT, &old->interrupt, NULL);
}

static void restore_signals(const Signals *old)
{
	sigaction(SIGINT, &old->interrupt, NULL);
	sigaction(SIGTERM, &old->terminate, NULL);
	sigaction(SIGXFSZ, &old->too_large, NULL);
}

/* ---- the run ---- */

/* Everything up to the first read of a weight that can be refused without leaving a trace. */
static bool prepare(Run *run, CmprtError *error)
{
	return inputs_open(run, error) && tasks_build(run, error) && extents_open(run, error) &&
		   calibration_open(run, error) && destination_find(run, error) && lay_out(run, error) &&
		   destination_check(run, error) && report_check_path(run, error) && require_check(run, false, error) &&
		   memory_schedule(run, error);
}

/* Extents that depend on data are decided, and said, before anything is laid out in files. */
static bool resolve(Run *run, CmprtProgram *program, CmprtError *error)
{
	if (!program->early_count)
		return true;
	if (!make_arena(run, error) || !extents_resolve(run, program, error) || !lay_out(run, error))
		return false;
	report_resolved(run);
	return require_check(run, false, error);
}

/* From the lock on; a failure before the first row leaves nothing behind, a later one what can be resumed. */
static bool begin_output(Run *run, CmprtError *error)
{
	if (!journal_open(run, error))
		return false;
	if (destination_repair(run, error) && output_check_space(run, error) && output_open(run, error) &&
		journal_start(run, error) && make_arena(run, error))
		return true;
	if (!journal_resumes(run->journal))
		destination_discard(run);
	return false;
}

/* All of the result is written, if not under its name. */
static bool measure_result(Run *run, CmprtError *error)
{
	free_arena(run);
	return run->options->is_trial || measure(run, run->destination.partial, error);
}

/* What is done stays for the next run, except where the next run would end the same. */
static bool run_all(Run *run, CmprtError *error)
{
	CmprtError changed;
	progress_start(run);
	bool is_done = resolve_selects(run, error) && calibrate(run, error) && run_tasks(run, error);
	progress_end(run);
	is_done = is_done && measure_result(run, error);
	bool is_constant = inputs_check(run, is_done ? error : &changed);
	if (!is_done && is_constant && !run->has_nonfinite) {
		journal_flush(run, &(CmprtError){.text = ""});
		return false;
	}
	if (!is_done && !is_constant)
		*error = changed; /* why a read ended early */
	else if (is_done && is_constant && require_check(run, true, error))
		return true;
	destination_discard(run);
	return false;
}

static bool compress(Run *run, CmprtProgram *program, CmprtError *error)
{
	double started = clock_seconds();
	Transfers before = {0};
	bool are_counted = transfers_count(&before);
	Signals old;
	catch_signals(&old);
	bool is_done = resolve(run, program, error) && begin_output(run, error) && run_all(run, error) &&
				   destination_commit(run, error);
	restore_signals(&old);
	run->seconds = clock_seconds() - started;
	are_counted = are_counted && transfers_count(&run->moved);
	run->moved.read = are_counted ? run->moved.read - before.read : -1;
	run->moved.written = are_counted ? run->moved.written - before.written : -1;
	return is_done && report_write(run, error);
}

void run_tell_error(const Run *run, const CmprtError *error)
{
	fprintf(stderr, "error: %s\n", error->text);
	if (run->options->json)
		json_line(json_pack("{s:s, s:o}", "event", "error", "message", json_text(error->text)));
}

static void free_run(Run *run)
{
	output_close(run);
	free(run->output_fds);
	journal_close(run);
	free_arena(run);
	measure_free(run);
	destination_free(&run->destination);
	layout_free(run->layout);
	calibration_close(run);
	extents_close(run);
	free(run->tasks);
	free(run->early_tasks);
	free(run->key_tasks);
	free(run->key_task_first);
	free(run->resolved);
	free(run->done);
	free(run->segment_errors);
	free(run->segment_notes);
	inputs_close(run);
}

/* Everything is computed as in a run, and what would be written is dropped. Bytes that no kernel makes are not read. */
bool trial_run(
	const CmprtProgram *program, const CmprtOptions *options, TrialJob *jobs, int64_t *output_bytes, CmprtError *error)
{
	CmprtProgram chosen = *program;
	Run run = {.program = &chosen, .options = options, .is_trial = true};
	int threads = omp_get_max_threads();
	bool is_done = inputs_open(&run, error) && tasks_build(&run, error) && extents_open(&run, error) &&
				   memory_schedule(&run, error) && make_arena(&run, error);
	if (is_done) {
		omp_set_num_threads((int)run.schedule.threads);
		for (int64_t i = 0; i < chosen.job_count; i++)
			for (int64_t s = 0; s < run.tasks[i].segment_count && !run.tasks[i].job->kernel; s++)
				run.done[run.tasks[i].segment_first + s] = true;
		progress_start(&run);
		is_done = extents_resolve(&run, &chosen, error) && resolve_selects(&run, error) && run_tasks(&run, error) &&
				  inputs_check(&run, error);
		progress_end(&run);
	}
	for (int64_t i = 0; i < chosen.job_count && is_done; i++)
		jobs[i].has_error = task_error(&run, &run.tasks[i], jobs[i].error);
	for (int64_t i = 0; i < chosen.output_count && is_done; i++)
		output_bytes[i] = chosen.outputs[i].bytes;
	omp_set_num_threads(threads);
	free_run(&run);
	return is_done;
}

int cmprt_run(const CmprtProgram *program, const CmprtOptions *options)
{
	CmprtProgram chosen = *program;
	if (options->no_fuse && program->unfused_count) {
		chosen.jobs = program->unfused;
		chosen.job_count = program->unfused_count;
	}
	Run run = {.program = &chosen, .options = options};
	CmprtError error = {.text = ""};
	int threads = omp_get_max_threads();
	bool is_done = prepare(&run, &error);
	if (is_done) {
		omp_set_num_threads((int)run.schedule.threads);
		if (options->dry_run)
			dry_run(&run);
		else
			is_done = compress(&run, &chosen, &error);
	}
	if (!is_done)
		run_tell_error(&run, &error);
	else if (!options->dry_run && !options->quiet)
		report_show(&run);
	omp_set_num_threads(threads);
	free_run(&run);
	return is_done ? 0 : 1;
}
