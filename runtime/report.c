/* SPDX-License-Identifier: MIT
 *
 * report.c: what came out: sizes, errors per dtype and per tensor, requirements.
 * Numbers come from the tables and from the errors that kernels summed per row,
 * which the journal keeps: an interrupted run reports what an uninterrupted would.
 */
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- numbers ---- */

double error_ratio(const double error[2])
{
	if (error[1] > 0)
		return sqrt(error[0] / error[1]);
	return error[0] > 0 ? INFINITY : 0;
}

bool task_error(const Run *run, const Task *task, double error[2])
{
	error[0] = error[1] = 0;
	for (int64_t s = task->segment_first; s < task->segment_first + task->segment_count && task->has_error; s++) {
		error[0] += run->segment_errors[s][0];
		error[1] += run->segment_errors[s][1];
	}
	return task->has_error;
}

void task_bytes(const Run *run, const Task *task, int64_t *before, int64_t *after)
{
	const CmprtJob *job = task->job;
	*before = *after = 0;
	for (int64_t i = 0; i < job->port_in_count; i++)
		if (!job->ports_in[i].value && run->program->inputs[job->ports_in[i].tensor].source == 0)
			*before += job->ports_in[i].rows * job->ports_in[i].row_bytes;
	for (int64_t i = 0; i < job->port_out_count; i++)
		*after += task_is_tensor(task, i) ? task_bytes_out(run, task, i) : 0;
}

DtypeTotal *report_totals(const Run *run, int64_t *count)
{
	DtypeTotal *totals = calloc((size_t)run->program->job_count + 1, sizeof *totals);
	*count = 0;
	for (int64_t i = 0; totals && i < run->program->job_count; i++) {
		const Task *task = &run->tasks[i];
		const char *dtype = task->job->kernel && task->job->dtype ? task->job->dtype : "(copied)";
		DtypeTotal *total = totals;
		while (total < totals + *count && strcmp(total->dtype, dtype) != 0)
			total++;
		if (total == totals + *count)
			*(totals + (*count)++) = (DtypeTotal){.dtype = dtype};
		int64_t before, after;
		double error[2];
		task_bytes(run, task, &before, &after);
		total->has_error |= task_error(run, task, error);
		total->tensors++;
		total->bytes_before += before;
		total->bytes_after += after;
		total->error[0] += error[0];
		total->error[1] += error[1];
	}
	return totals;
}

double task_note(const Run *run, const Task *task, int64_t number)
{
	return run->done[task->segment_first] ? run->segment_notes[task->segment_first][number] : (double)NAN;
}

static double all_errors(const Run *run, bool is_largest)
{
	double sum[2] = {0, 0}, largest = 0;
	for (int64_t i = 0; i < run->program->job_count; i++) {
		double error[2];
		if (!task_error(run, &run->tasks[i], error))
			continue;
		sum[0] += error[0];
		sum[1] += error[1];
		largest = fmax(largest, error_ratio(error));
	}
	return is_largest ? largest : error_ratio(sum);
}

/* ---- requirements ---- */

typedef enum MetricTime { HEADERS, RUN, DATA } MetricTime;

typedef struct MetricRow {
	const char *name, *unit;
	MetricTime when;
} MetricRow;

static const MetricRow metric_rows[] = {
#define METRIC(name, unit, when) {#name, unit, when},
#include "metrics.def"
#undef METRIC
};

double report_metric(const Run *run, Metric metric)
{
	switch (metric) {
	case METRIC_size:
		return (double)run->layout->total_bytes;
	case METRIC_ratio:
		return run->sources[0].bytes ? (double)run->layout->total_bytes / (double)run->sources[0].bytes : 1;
	case METRIC_error:
		return all_errors(run, false);
	case METRIC_max_error:
		return all_errors(run, true);
	case METRIC_perplexity: /* measure.c */
	case METRIC_accuracy:
	case METRIC_kl:
	case METRIC_COUNT:
		break;
	}
	return NAN;
}

static bool is_met(const CmprtRequire *require, double value, double bound)
{
	return require->is_upper ? value <= bound : value >= bound;
}

static bool check_figure(const Run *run, const CmprtRequire *require, CmprtError *error)
{
	if (require->figure < 0 || require->figure >= run->program->figure_count)
		return error_bad_table(error, require->text, "a requirement on nothing known");
	const CmprtFigure *figure = &run->program->figures[require->figure];
	FigureValue value = figure_value(run, figure);
	double bound = require->bound + (require->factor != 0 ? require->factor * value.before.value : 0);
	if (is_met(require, value.after.value, bound))
		return true;
	char *text = figure_text(&value);
	error_requirement_of_data(error, require->text, figure->text, text ? text : "?", bound, require->is_upper);
	free(text);
	return false;
}

bool require_check(const Run *run, bool is_end, CmprtError *error)
{
	for (int64_t i = 0; i < run->program->require_count && !run->options->is_trial; i++) {
		const CmprtRequire *require = &run->program->requires[i];
		if (require->metric < 0 || require->metric >= METRIC_COUNT)
			return error_bad_table(error, require->text, "a requirement on nothing known");
		const MetricRow *row = &metric_rows[require->metric];
		bool is_open = row->when != HEADERS || (run->program->early_count && !run->resolved_outputs);
		if (is_open && !is_end)
			continue;
		if (row->when == DATA && !check_figure(run, require, error))
			return false;
		double value = report_metric(run, (Metric)require->metric);
		if (row->when != DATA && !is_met(require, value, require->bound))
			return error_requirement(
				error, require->text, row->name, row->unit, value, require->bound, require->is_upper);
	}
	return true;
}

/* ---- what jobs tell ---- */

char *report_notes(const Run *run, const Task *task)
{
	char *text = NULL;
	size_t bytes;
	FILE *to = open_memstream(&text, &bytes);
	for (int64_t i = 0; to && i < task->job->note_count; i++) {
		double value = task_note(run, task, i);
		if (!isnan(value))
			fprintf(to, "%s%s %.6g", ftell(to) > 0 ? ", " : "", task->job->notes[i].text, value);
	}
	if (to)
		fclose(to);
	return text;
}

static void show_notes(const Run *run)
{
	bool is_first = true;
	for (int64_t i = 0; i < run->program->job_count; i++) {
		char *text = report_notes(run, &run->tasks[i]);
		if (text && *text)
			printf("%s  %s: %s\n", is_first ? "\n" : "", run->tasks[i].job->label, text);
		is_first &= !text || !*text;
		free(text);
	}
}

/* ---- JSON ---- */

json_t *json_text(const char *text)
{
	json_t *string = json_string(text);
	if (string)
		return string;
	char *plain = strdup(text); /* not UTF-8 */
	for (char *c = plain; c && *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	string = json_string(plain ? plain : "");
	free(plain);
	return string;
}

void json_line(json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
	if (text)
		puts(text);
	fflush(stdout);
	free(text);
	json_decref(object);
}

static json_t *number_or_null(bool is_known, double value)
{
	return is_known && isfinite(value) ? json_real(value) : json_null();
}

/* {"damping": 0.1}; what is not finite is text: "inf" */
static json_t *notes_json(const Run *run, const Task *task)
{
	json_t *object = json_object();
	for (int64_t i = 0; i < task->job->note_count; i++) {
		double value = task_note(run, task, i);
		if (!isnan(value))
			json_object_set_new(
				object, task->job->notes[i].text, isfinite(value) ? json_real(value) : json_sprintf("%g", value));
	}
	return object;
}

static json_t *tensors_json(const Run *run)
{
	json_t *list = json_array();
	for (int64_t i = 0; i < run->program->job_count; i++) {
		const Task *task = &run->tasks[i];
		int64_t before, after;
		double error[2];
		task_bytes(run, task, &before, &after);
		bool is_known = task_error(run, task, error);
		json_array_append_new(list,
			json_pack("{s:o, s:o, s:o, s:I, s:I, s:o, s:o}", "tensor", json_text(task->job->label), "passes",
				json_text(task->job->passes), "dtype", task->job->dtype ? json_text(task->job->dtype) : json_null(),
				"bytes_before", (json_int_t)before, "bytes_after", (json_int_t)after, "relative_error",
				number_or_null(is_known, error_ratio(error)), "notes", notes_json(run, task)));
	}
	return list;
}

static json_t *totals_json(const Run *run)
{
	int64_t count;
	DtypeTotal *totals = report_totals(run, &count);
	json_t *list = json_array();
	for (int64_t i = 0; totals && i < count; i++)
		json_array_append_new(
			list, json_pack("{s:o, s:I, s:I, s:I, s:o}", "dtype", json_text(totals[i].dtype), "tensors",
					  (json_int_t)totals[i].tensors, "bytes_before", (json_int_t)totals[i].bytes_before, "bytes_after",
					  (json_int_t)totals[i].bytes_after, "relative_error",
					  number_or_null(totals[i].has_error, error_ratio(totals[i].error))));
	free(totals);
	return list;
}

json_t *report_json(const Run *run)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "event",
		"report", "pipeline", json_text(run->program->pipeline), "cmpc_version", json_text(run->program->cmpc_version),
		"model", json_text(run->model->path), "output", json_text(run->destination.path), "bytes_before",
		(json_int_t)run->sources[0].bytes, "bytes_after", (json_int_t)run->layout->total_bytes, "seconds", run->seconds,
		"bytes_read", (json_int_t)run->bytes_read, "bytes_written", (json_int_t)run->bytes_written, "system_read",
		(json_int_t)run->moved.read, "system_written", (json_int_t)run->moved.written, "peak_memory",
		(json_int_t)memory_resident(true), "dtypes", totals_json(run), "figures", figures_json(run), "tensors",
		tensors_json(run));
}

/* ---- the program's report file ---- */

typedef char *ReportWriter(const Run *run, size_t *bytes);

static char *report_as_json(const Run *run, size_t *bytes)
{
	json_t *object = report_json(run);
	char *text = json_dumps(object, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	json_decref(object);
	*bytes = text ? strlen(text) : 0;
	return text;
}

static void put_csv(FILE *to, const char *text)
{
	fputc('"', to);
	for (; *text; text++)
		fputs((char[3]){*text, *text == '"' ? '"' : '\0', '\0'}, to);
	fputc('"', to);
}

static char *report_as_csv(const Run *run, size_t *bytes)
{
	char *text = NULL;
	FILE *to = open_memstream(&text, bytes);
	if (!to)
		return NULL;
	fputs("tensor,passes,dtype,bytes_before,bytes_after,relative_error,notes\n", to);
	for (int64_t i = 0; i < run->program->job_count; i++) {
		const Task *task = &run->tasks[i];
		int64_t before, after;
		double error[2];
		task_bytes(run, task, &before, &after);
		put_csv(to, task->job->label);
		fputc(',', to);
		put_csv(to, task->job->passes);
		fprintf(to, ",%s,%" PRId64 ",%" PRId64 ",", task->job->dtype ? task->job->dtype : "", before, after);
		if (task_error(run, task, error))
			fprintf(to, "%.9g", error_ratio(error));
		fputc(',', to);
		char *notes = report_notes(run, task);
		put_csv(to, notes ? notes : "");
		free(notes);
		fputc('\n', to);
	}
	fclose(to);
	return text;
}

static const struct {
	const char *suffix;
	ReportWriter *write;
} report_kinds[] = {{".html", report_html}, {".json", report_as_json}, {".csv", report_as_csv}};

static ReportWriter *find_kind(const char *path)
{
	for (size_t i = 0; i < sizeof report_kinds / sizeof *report_kinds; i++) {
		size_t length = strlen(path), tail = strlen(report_kinds[i].suffix);
		if (length >= tail && strcmp(path + length - tail, report_kinds[i].suffix) == 0)
			return report_kinds[i].write;
	}
	return NULL;
}

bool report_check_path(const Run *run, CmprtError *error)
{
	const char *path = run->program->report_path;
	if (!path || run->options->is_trial)
		return true;
	if (!find_kind(path))
		return error_report_kind(error, path);
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	bool is_good = folder && (access(folder, W_OK | X_OK) == 0 || error_folder_unwritable(error, folder, path, errno));
	free(folder);
	return is_good;
}

bool report_write(const Run *run, CmprtError *error)
{
	const char *path = run->program->report_path;
	if (!path || run->options->is_trial)
		return true;
	size_t bytes;
	char *text = find_kind(path)(run, &bytes), *partial = NULL;
	if (!text || asprintf(&partial, "%s.cmpc-partial", path) < 0) {
		free(text);
		return error_out_of_memory(error);
	}
	FILE *file = fopen(partial, "we");
	bool is_written = file && fwrite(text, 1, bytes, file) == bytes;
	is_written = (!file || fclose(file) == 0) && is_written && rename(partial, path) == 0;
	int code = errno;
	if (!is_written)
		unlink(partial);
	free(partial);
	free(text);
	return is_written || error_system(error, "write report", path, code);
}

/* ---- the summary ---- */

/* Errors have a column if the program asked for any. */
static void show_totals(const Run *run)
{
	int64_t count;
	DtypeTotal *totals = report_totals(run, &count);
	bool has_error = false;
	for (int64_t i = 0; totals && i < count; i++)
		has_error |= totals[i].has_error;
	printf("\n  %-16s %8s %12s %12s%s\n", "dtype", "tensors", "before", "after", has_error ? "      error" : "");
	for (int64_t i = 0; totals && i < count; i++) {
		char before[32], after[32];
		format_bytes(before, totals[i].bytes_before);
		format_bytes(after, totals[i].bytes_after);
		printf("  %-16s %8" PRId64 " %12s %12s", totals[i].dtype, totals[i].tensors, before, after);
		if (totals[i].has_error)
			printf(" %9.4f%%", 100 * error_ratio(totals[i].error));
		putchar('\n');
	}
	free(totals);
}

void report_resolved(const Run *run)
{
	int64_t bytes = run->layout->total_bytes;
	char text[32];
	format_bytes(text, bytes);
	if (run->options->json)
		json_line(json_pack("{s:s, s:I}", "event", "resolved", "output_bytes", (json_int_t)bytes));
	else if (!run->options->quiet)
		printf("output: %s, %" PRId64 " bytes\n", text, bytes);
	fflush(stdout);
}

void report_show(const Run *run)
{
	if (run->options->json) {
		json_line(report_json(run));
		return;
	}
	char before[32], after[32];
	format_bytes(before, run->sources[0].bytes);
	format_bytes(after, run->layout->total_bytes);
	double ratio = run->layout->total_bytes ? (double)run->sources[0].bytes / (double)run->layout->total_bytes : 1;
	double rate = run->seconds > 0 ? (double)run->bytes_read / run->seconds : 0;
	printf("%s: %s -> %s (%.2fx smaller) in %.2f s, %.0f MB/s\n", run->destination.path, before, after, ratio,
		run->seconds, rate / 1e6);
	if (run->progress.skipped > 0) {
		char skipped[32];
		format_bytes(skipped, run->progress.skipped);
		printf("resumed: %s of reads and writes were already done\n", skipped);
	}
	show_totals(run);
	show_notes(run);
	if (run->program->measured_count)
		printf("\n");
	figures_show(run);
}
