/* SPDX-License-Identifier: MIT
 *
 * compare.c: `cmpc eval` of a file with pipelines: each is run as `cmpc run` would,
 * into a folder that goes away, and what it wrote is evaluated beside the model, on the
 * same samples. Each run and each evaluation is a compilation of its own, but for the
 * model's: it is measured once, and what its last parts read is kept. Changes are of pairs: the same tokens or images,
 * before and after, so their error is far below that of either side. All that happens in a process apart, so that the
 * folder goes however it ends.
 */
#include "evaluation.h"

#include "facts.h"
#include "run.h"

#include <errno.h>
#include <ftw.h>
#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is known of a checkpoint. */
typedef struct Measured {
	const char *model; /* that it is, or was made of */
	int64_t bytes;     /* of its files that hold tensors */
	size_t data_count;
	const char **data; /* names of the data sets */
	CmprtScores *scores;
} Measured;

/* A model, and its nets, whose code is kept. */
typedef struct Original {
	Measured own;
	Request request;
	Evaluation evaluation;
	CmprtKept *kept;
} Original;

typedef struct Row {
	const char *label;
	const Measured *original;
	Measured own;
} Row;

typedef struct Comparison {
	const Request *request;
	Compiler *c; /* of the table; each compilation has its own */
	char *folder;
	int width; /* of the labels */
	bool is_json;
	bool *has_logits; /* of each data set of the first model */
	VEC(Original *) originals;
} Comparison;

/* ---- one compilation ---- */

static bool read_options(Comparison *work, const Request *request, const CmprtProgram *program, CmprtOptions *options)
{
	char **arguments = arena_array(request->c->arena, char *, request->rest_count + 2);
	const char **inputs = arena_array(request->c->arena, const char *, request->rest_count + 2);
	arguments[0] = "cmpc eval";
	for (int i = 0; i < request->rest_count; i++)
		arguments[i + 1] = request->rest[i];
	*options = (CmprtOptions){.inputs = inputs};
	if (cmprt_options(program, request->rest_count + 1, arguments, options) != 0)
		return false;
	work->is_json = options->json;
	if (options->model)
		diag_fatal(request->c, "--model is of one checkpoint: the pipelines' results are others");
	return !options->model;
}

/* The table has its own arena: what it keeps outlives the compilation. */
static void take_measures(Comparison *work, const Evaluation *e, Measured *to)
{
	Arena *arena = work->c->arena;
	to->model = arena_printf(arena, "%s", e->model->name);
	to->data_count = e->measure.data.count;
	to->data = arena_array(arena, const char *, e->measure.data.count + 1);
	to->scores = arena_array(arena, CmprtScores, e->measure.data.count + 1);
	for (size_t i = 0; i < e->measure.data.count; i++)
		to->data[i] = arena_printf(arena, "%s", e->measure.data.at[i].name);
	for (int64_t i = 0; i < e->checkpoint->file_count; i++)
		to->bytes += e->checkpoint->file_bytes[i];
}

static void free_scores(Measured *measured)
{
	for (size_t i = 0; measured->scores && i < measured->data_count; i++)
		cmprt_scores_free(&measured->scores[i]);
}

/* Each compilation has a request and a compiler of its own. */
static Request own_request(const Comparison *work, const char *pipeline)
{
	Request request = *work->request;
	request.c = compiler_new();
	request.c->options = work->c->options;
	request.pipeline = pipeline;
	return request;
}

static const CmprtProgram *load_program(Comparison *work, Evaluation *e, Measured *to)
{
	e->is_compared = true;
	const CmprtProgram *program = compile(&e->k, "program") && evaluation_open(e) ? evaluation_load(e) : NULL;
	if (program)
		take_measures(work, e, to);
	return program;
}

static bool measure_original(Comparison *work, const char *pipeline, Original *to)
{
	CmprtOptions options;
	to->request = own_request(work, pipeline);
	to->evaluation = evaluation_begin(&to->request, NULL);
	const CmprtProgram *program = load_program(work, &to->evaluation, &to->own);
	if (program && read_options(work, &to->request, program, &options))
		to->kept = cmprt_keep(program, &options, to->own.scores);
	diag_flush(to->request.c, stderr);
	return to->kept != NULL;
}

static void free_original(Original *original)
{
	cmprt_kept_free(original->kept);
	evaluation_end(&original->evaluation);
	compiler_free(original->request.c);
	free_scores(&original->own);
}

static bool measure_result(
	Comparison *work, const Original *original, const char *pipeline, const char *path, Measured *to)
{
	CmprtOptions options;
	Request request = own_request(work, pipeline);
	Evaluation e = evaluation_begin(&request, path);
	e.reader = original->evaluation.checkpoint;
	const CmprtProgram *program = load_program(work, &e, to);
	bool is_done = program && read_options(work, &request, program, &options) &&
				   cmprt_compare(original->kept, program, &options, to->scores) == 0;
	diag_flush(request.c, stderr);
	evaluation_end(&e);
	compiler_free(request.c);
	return is_done;
}

/* Where the pipeline's result goes: a folder where that is possible, which has the model's config and tokenizer. */
static const char *result_path(const Comparison *work, const char *saved)
{
	const Format *format = saved ? format_of_output(saved) : NULL;
	bool is_file = format && !format->is_folder_format;
	return arena_printf(work->c->arena, "%s/result%s", work->folder, is_file ? format->suffix : "");
}

static bool run_pipeline(Comparison *work, const char *pipeline, const char *output)
{
	Request request = own_request(work, pipeline);
	CmprtOptions options;
	request.output = output;
	Compilation k = compilation_begin(&request, request.operands[0], request.text);
	k.runs_here = k.is_trial = true;
	bool is_done = compile(&k, "obj");
	diag_flush(request.c, stderr);
	Jit *jit = is_done ? jit_new(request.c, &k.object) : NULL;
	const CmprtProgram *program = jit ? jit_symbol(jit, "cmprt_program") : NULL;
	is_done = program && read_options(work, &request, program, &options);
	options.quiet = options.no_sync = options.is_trial = true;
	options.json = false;
	is_done = is_done && cmprt_run(program, &options) == 0;
	if (jit)
		jit_free(jit);
	compilation_end(&k);
	compiler_free(request.c);
	return is_done;
}

/* ---- the table ---- */

static const char *print_mean(const Comparison *work, CmprtMean mean)
{
	return arena_printf(work->c->arena, "%.4f +- %.4f", mean.value, mean.error);
}

/* Of each token or image against itself: how many times the perplexity, how much more accuracy. */
static const char *print_change(const Comparison *work, const CmprtScores *before, const CmprtScores *after)
{
	if (before->count != after->count)
		return "";
	double *apart = arena_array(work->c->arena, double, after->count + 1);
	for (int64_t i = 0; i < after->count; i++)
		apart[i] = after->at[i] - before->at[i];
	CmprtMean mean = cmprt_mean(apart, after->count);
	if (!after->are_of_images)
		mean = (CmprtMean){exp(mean.value), exp(mean.value) * mean.error};
	return print_mean(work, mean);
}

static void print_line(const Text *line)
{
	size_t length = line->count;
	while (length && line->at[length - 1] == ' ')
		length--;
	printf("%.*s\n", (int)length, line->at);
}

static void print_head(Comparison *work, const Original *original)
{
	const Measured *first = &original->own;
	Text line = {.arena = work->c->arena};
	const Measure *measure = &original->evaluation.measure;
	work->has_logits = arena_array(work->c->arena, bool, measure->logits.count + 1);
	for (size_t d = 0; d < measure->logits.count; d++)
		work->has_logits[d] = measure->logits.at[d] != NULL;
	if (work->is_json)
		return;
	text_printf(&line, "%-*s %12s %8s", work->width, "", "size", "");
	for (size_t d = 0; d < first->data_count; d++) {
		const char *metric = cmprt_metric(&first->scores[d]).name;
		text_printf(&line, "   %-21s   %-19s", arena_printf(work->c->arena, "%s(%s)", metric, first->data[d]),
			first->scores[d].are_of_images ? "minus the original's" : "over the original's");
		if (work->has_logits[d])
			text_printf(&line, "   %-19s", arena_printf(work->c->arena, "kl(%s)", first->data[d]));
	}
	print_line(&line);
}

/* JSON has no word for NaN. */
static json_t *number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static void print_json(const Row *row)
{
	json_t *data = json_object();
	for (size_t d = 0; d < row->own.data_count; d++) {
		CmprtMetric metric = cmprt_metric(&row->own.scores[d]);
		json_t *own = json_pack("{s:o, s:o, s:I}", metric.name, number(metric.mean.value), "standard_error",
			number(metric.mean.error), metric.unit, (json_int_t)row->own.scores[d].count);
		if (row->own.scores[d].divergence) {
			CmprtMean kl = cmprt_divergence(&row->own.scores[d]).mean;
			json_object_set_new(own, "kl", number(kl.value));
			json_object_set_new(own, "kl_standard_error", number(kl.error));
		}
		json_object_set_new(data, row->own.data[d], own);
	}
	json_line(json_pack("{s:s, s:s, s:I, s:o}", "event", "evaluated", "of", row->label, "bytes",
		(json_int_t)row->own.bytes, "data", data));
}

static void print_row(const Comparison *work, const Row *row)
{
	char size[32];
	Text line = {.arena = work->c->arena};
	format_bytes(size, row->own.bytes);
	text_printf(&line, "%-*s %12s %7.1f%%", work->width, row->label, size,
		100 * (double)row->own.bytes / (double)row->original->bytes);
	for (size_t d = 0; d < row->own.data_count; d++) {
		const CmprtScores *own = &row->own.scores[d], *before = &row->original->scores[d];
		text_printf(&line, "   %-21s   %-19s", print_mean(work, cmprt_metric(own).mean),
			own != before ? print_change(work, before, own) : "");
		if (own->divergence)
			text_printf(&line, "   %-19s", print_mean(work, cmprt_divergence(own).mean));
		else if (work->has_logits[d])
			text_printf(&line, "   %-19s", "");
	}
	print_line(&line);
}

static void print(const Comparison *work, const Row *row)
{
	if (work->is_json)
		print_json(row);
	else
		print_row(work, row);
	fflush(stdout);
}

/* ---- rows ---- */

/* Of the pipeline's model; measured and told when the first pipeline of it comes. */
static const Original *find_original(Comparison *work, const char *pipeline, const char *model)
{
	for (size_t i = 0; i < work->originals.count; i++)
		if (!strcmp(work->originals.at[i]->own.model, model))
			return work->originals.at[i];
	Original *made = arena_new_of(work->c->arena, Original);
	if (!measure_original(work, pipeline, made)) {
		free_original(made);
		return NULL;
	}
	if (!work->originals.count)
		print_head(work, made);
	vec_push(work->c->arena, &work->originals, made);
	print(work, &(Row){arena_printf(work->c->arena, "original (%s)", model), &made->own, made->own});
	return made;
}

static bool add_row(Comparison *work, const Decl *pipeline)
{
	const Node *save = NULL, *body = pipeline->node->kids[3];
	for (uint32_t i = 0; i < body->kid_count; i++)
		save = body->kids[i]->kind == N_SAVE ? body->kids[i] : save;
	const char *output = result_path(work, save ? save->text : NULL);
	Row row = {.label = pipeline->name};
	const Original *original = find_original(work, pipeline->name, pipeline->node->kids[0]->name);
	if (!original)
		return false;
	row.original = &original->own;
	bool is_done =
		run_pipeline(work, pipeline->name, output) && measure_result(work, original, pipeline->name, output, &row.own);
	if (is_done)
		print(work, &row);
	free_scores(&row.own);
	return is_done;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	(void)info, (void)kind, (void)where;
	return remove(path);
}

static bool make_folder(Comparison *work)
{
	const char *parent = getenv("TMPDIR");
	work->folder = arena_printf(work->c->arena, "%s/cmpc-eval-XXXXXX", parent && *parent ? parent : "/tmp");
	if (mkdtemp(work->folder))
		return true;
	diag_fatal(work->c, "cannot make the folder %s: %s", work->folder, strerror(errno));
	return false;
}

/* A pipeline whose passes save arrays makes no model. */
static bool is_compared(const Program *p, const Decl *decl)
{
	return decl->kind == DECL_PIPELINE && !statement_saves(p, decl->node->kids[3]);
}

/* The pipelines that are compared: the one asked for, or all that the file declares itself. */
static void find_pipelines(Comparison *work, const Program *p, DeclVec *to)
{
	const char *wanted = work->request->pipeline;
	work->width = 0;
	for (size_t i = 0; i < p->main_count; i++) {
		Decl *decl = p->decls.at[i];
		if (!is_compared(p, decl) || (wanted && strcmp(wanted, decl->name) != 0))
			continue;
		int own = (int)strlen(decl->name), model = (int)strlen("original ()") + (int)strlen(decl->node->kids[0]->name);
		work->width = own > work->width ? own : work->width;
		work->width = model > work->width ? model : work->width;
		vec_push(work->c->arena, to, decl);
	}
}

static bool add_rows(Comparison *work, const DeclVec *pipelines)
{
	bool ok = true;
	for (size_t i = 0; i < pipelines->count; i++) {
		ok = add_row(work, pipelines->at[i]) && ok;
		if (!work->originals.count) /* what is wrong there is wrong with every one */
			break;
	}
	for (size_t i = 0; i < work->originals.count; i++)
		free_original(work->originals.at[i]);
	return ok;
}

/* ---- the process ---- */

/* What would end this process; what is ignored stays so, as under nohup. */
static void find_signals(sigset_t *to)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction now;
	sigemptyset(to);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(to, numbers[i]);
	sigaddset(to, SIGCHLD);
}

/* The exit status of the child; it is ended where a signal comes that would end this process. */
static int wait_for(const Comparison *work, pid_t child, const sigset_t *signals)
{
	int number = 0, status = 0;
	pid_t ended = 0;
	while (ended == 0) {
		if (sigwait(signals, &number) == 0 && number != SIGCHLD)
			kill(child, SIGKILL);
		ended = waitpid(child, &status, number == SIGCHLD ? WNOHANG : 0);
	}
	if (number != SIGCHLD) {
		fprintf(stderr, "\ninterrupted\n");
		return 128 + number;
	}
	if (ended == child && WIFEXITED(status))
		return WEXITSTATUS(status);
	diag_fatal(work->c, "the evaluation was ended by a signal: %s", strsignal(WTERMSIG(status)));
	return STATUS_ERROR;
}

/* A child has none of the threads that this process may have, of an earlier run, so they end first. Signals stay
 * blocked in the child, whose end this process decides on, or the system where this process is killed. */
static int add_rows_apart(Comparison *work, const DeclVec *pipelines)
{
	sigset_t signals, old;
	find_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, &old);
	diag_flush(work->c, stderr);
	fflush(stdout);
	omp_pause_resource_all(omp_pause_hard);
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		bool is_done = add_rows(work, pipelines);
		diag_flush(work->c, stderr);
		fflush(stdout);
		_exit(is_done ? STATUS_DONE : STATUS_ERROR);
	}
	int status = STATUS_ERROR;
	if (child > 0)
		status = wait_for(work, child, &signals);
	else
		diag_fatal(work->c, "cannot start a process: %s", strerror(errno));
	sigprocmask(SIG_SETMASK, &old, NULL);
	return status;
}

bool has_pipelines(const Compilation *k)
{
	for (size_t i = 0; i < k->program->main_count; i++)
		if (is_compared(k->program, k->program->decls.at[i]))
			return true;
	return false;
}

static void report_none(const Comparison *work, const Program *p)
{
	const char *name = work->request->pipeline;
	if (program_find(p, DECL_PIPELINE, name_of(work->c, name)))
		diag_fatal(work->c, "pipeline %s makes no model: its passes save arrays", name);
	else
		diag_fatal(work->c, "there is no pipeline \"%s\"", name);
}

int compare_pipelines(const Compilation *k)
{
	Comparison work = {.request = k->request, .c = k->c};
	DeclVec pipelines = {0};
	find_pipelines(&work, k->program, &pipelines);
	if (!pipelines.count)
		report_none(&work, k->program);
	if (!pipelines.count || !make_folder(&work))
		return STATUS_ERROR;
	int status = add_rows_apart(&work, &pipelines);
	nftw(work.folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return status;
}
