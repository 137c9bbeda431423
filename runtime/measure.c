/* SPDX-License-Identifier: MIT
 *
 * measure.c: figures that are measured on data: the nets of the model and of the result
 * run side by side over the same samples. The result is whole but not yet under its
 * name, or, for --eval, what lies there. On exit run->measured has the scores of each
 * net; what the run itself held of memory is given back before that.
 */
#include "forward.h"

#include <jansson.h>
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int64_t count_nets(const Run *run)
{
	return run->program->measured_count ? run->program->measured[0].net_count : 0;
}

static bool check_tables(const CmprtProgram *program, CmprtError *error)
{
	bool is_good = program->measured_count == 2 && program->measured[0].net_count == program->measured[1].net_count;
	for (int64_t i = 0; i < 2 && is_good; i++)
		for (int64_t k = 0; k < program->measured[i].net_count; k++)
			is_good &= program->measured[i].nets[k].result >= 0;
	return is_good || error_bad_table(error, program->pipeline, "nets that cannot be measured");
}

bool measure(Run *run, const char *result, CmprtError *error)
{
	const CmprtProgram *program = run->program;
	CmprtOptions options[2] = {*run->options, *run->options};
	if (!program->measured_count)
		return true;
	if (!check_tables(program, error))
		return false;
	run->measured = calloc((size_t)count_nets(run) + 1, sizeof *run->measured);
	if (!run->measured)
		return error_out_of_memory(error);
	options[1].model = result;
	options[0].input_count = options[1].input_count = 0; /* they are of files beside the model */
	options[0].memory = options[1].memory = run->options->memory > 0 ? run->options->memory : program->memory;
	Run sides[2] = {{.program = &program->measured[0], .options = &options[0]},
		{.program = &program->measured[1], .options = &options[1]}};
	bool is_done = inputs_open(&sides[0], error) && inputs_open(&sides[1], error);
	sides[1].reader = sides[0].model;
	for (int64_t i = 0; i < count_nets(run) && is_done; i++)
		is_done = evaluate_pair(&sides[0], &sides[1], i, &run->measured[i].before, &run->measured[i].after, error);
	run->has_nonfinite |= sides[0].has_nonfinite || sides[1].has_nonfinite;
	inputs_close(&sides[0]);
	inputs_close(&sides[1]);
	return is_done;
}

void measure_free(Run *run)
{
	for (int64_t i = 0; run->measured && i < count_nets(run); i++) {
		cmprt_scores_free(&run->measured[i].before);
		cmprt_scores_free(&run->measured[i].after);
	}
	free(run->measured);
}

/* ---- figures ---- */

/* The model's own is not finite where it has none. */
FigureValue figure_value(const Run *run, const CmprtFigure *figure)
{
	FigureValue value = {.before = {NAN, NAN}};
	if (figure->net < 0) {
		value.after = (CmprtMean){report_metric(run, (Metric)figure->metric), NAN};
		return value;
	}
	const NetScores *measured = &run->measured[figure->net];
	if (figure->metric == METRIC_kl) {
		CmprtMetric metric = cmprt_divergence(&measured->after);
		value.after = metric.mean;
		value.unit = metric.unit;
	} else {
		CmprtMetric metric = cmprt_metric(&measured->after);
		value.before = cmprt_metric(&measured->before).mean;
		value.after = metric.mean;
		value.unit = metric.unit;
	}
	value.count = measured->after.count;
	return value;
}

char *figure_text(const FigureValue *value)
{
	char before[64] = "", *text = NULL;
	if (isfinite(value->before.value))
		snprintf(before, sizeof before, ", of the original %.6g +- %.2g", value->before.value, value->before.error);
	if (!value->unit)
		return asprintf(&text, "%.10g", value->after.value) < 0 ? NULL : text;
	return asprintf(&text, "%.6g +- %.2g%s (%" PRId64 " %s)", value->after.value, value->after.error, before,
			   value->count, value->unit) < 0
			   ? NULL
			   : text;
}

/* Without a run, what is measured on data is all that is known. */
static bool is_known(const Run *run, const CmprtFigure *figure)
{
	return figure->net >= 0 || run->layout;
}

void figures_show(const Run *run)
{
	for (int64_t i = 0; i < run->program->figure_count; i++) {
		const CmprtFigure *figure = &run->program->figures[i];
		if (figure->net < 0) /* sizes and errors stand above */
			continue;
		FigureValue value = figure_value(run, figure);
		char *text = figure_text(&value);
		printf("%s: %s\n", figure->text, text ? text : "");
		free(text);
	}
}

/* JSON has no word for NaN. */
static json_t *number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

json_t *figures_json(const Run *run)
{
	json_t *list = json_array();
	for (int64_t i = 0; i < run->program->figure_count; i++) {
		const CmprtFigure *figure = &run->program->figures[i];
		if (!is_known(run, figure))
			continue;
		FigureValue value = figure_value(run, figure);
		json_t *object = json_pack("{s:o, s:o}", "figure", json_text(figure->text), "value", number(value.after.value));
		if (value.unit) {
			json_object_set_new(object, "standard_error", number(value.after.error));
			json_object_set_new(object, "original", number(value.before.value));
			json_object_set_new(object, "original_standard_error", number(value.before.error));
			json_object_set_new(object, value.unit, json_integer((json_int_t)value.count));
		}
		json_array_append_new(list, object);
	}
	return list;
}

/* ---- --eval ---- */

static bool measure_there(Run *run, CmprtError *error)
{
	if (!run->program->measured_count)
		return error_no_figures(error, run->program->pipeline);
	if (!destination_find(run, error))
		return false;
	if (access(run->destination.path, F_OK) != 0)
		return error_no_result(error, run->destination.path);
	return measure(run, run->destination.path, error);
}

static void tell(const Run *run)
{
	if (!run->options->json) {
		figures_show(run);
		return;
	}
	json_line(json_pack("{s:s, s:o, s:o, s:o}", "event", "evaluated", "model",
		json_text(run->options->model ? run->options->model : run->program->sources[0].path), "output",
		json_text(run->destination.path), "figures", figures_json(run)));
}

int cmprt_evaluate_result(const CmprtProgram *program, const CmprtOptions *options)
{
	Run run = {.program = program, .options = options};
	CmprtError error = {.text = ""};
	int threads = omp_get_max_threads();
	omp_set_num_threads((int)(options->threads > 0 ? options->threads : threads_available()));
	bool is_done = measure_there(&run, &error);
	if (!is_done)
		run_tell_error(&run, &error);
	else if (!options->quiet)
		tell(&run);
	omp_set_num_threads(threads);
	measure_free(&run);
	destination_free(&run.destination);
	return is_done ? 0 : 1;
}
