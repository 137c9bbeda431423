/* SPDX-License-Identifier: MIT
 *
 * report_html.c: the report as one self-contained page: a table per dtype, and a
 * row per tensor with bars (inline SVG) for its size and its relative error.
 */
#include "run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void put_text(FILE *to, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '&':
			fputs("&amp;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		default:
			fputc(*text, to);
		}
}

/* `part` of a bar of 160 pixels, upon another of `whole`. */
static void put_bar(FILE *to, double whole, double part, const char *color)
{
	fprintf(to,
		"<svg width=\"160\" height=\"10\" role=\"img\"><rect width=\"%.1f\" height=\"10\" fill=\"#ddd\"/>"
		"<rect width=\"%.1f\" height=\"10\" fill=\"%s\"/></svg>",
		160 * whole, 160 * part, color);
}

static void put_head(FILE *to, const Run *run)
{
	char before[32], after[32];
	format_bytes(before, run->sources[0].bytes);
	format_bytes(after, run->layout->total_bytes);
	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>", to);
	put_text(to, run->program->pipeline);
	fputs("</title><style>body{font:15px sans-serif;margin:2em auto;max-width:70em;padding:0 1em}"
		  "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid "
		  "#ddd}"
		  "td.n{text-align:right;font-variant-numeric:tabular-nums}</style></head><body>\n<h1>",
		to);
	put_text(to, run->program->pipeline);
	fputs("</h1>\n<p>", to);
	put_text(to, run->model->path);
	fputs(" &rarr; ", to);
	put_text(to, run->destination.path);
	fprintf(to, "<br>%s &rarr; %s in %.2f s (cmpc ", before, after, run->seconds);
	put_text(to, run->program->cmpc_version);
	fputs(")</p>\n", to);
}

static void put_error(FILE *to, bool is_known, const double error[2])
{
	fputs("<td class=\"n\">", to);
	if (is_known)
		fprintf(to, "%.4f%%", 100 * error_ratio(error));
	fputs("</td>", to);
}

static void put_sizes(FILE *to, int64_t before, int64_t after)
{
	char left[32], right[32];
	format_bytes(left, before);
	format_bytes(right, after);
	fprintf(to, "<td class=\"n\">%s</td><td class=\"n\">%s</td>", left, right);
}

static void put_totals(FILE *to, const Run *run)
{
	int64_t count;
	DtypeTotal *totals = report_totals(run, &count);
	fputs("<table><tr><th>dtype</th><th>tensors</th><th>before</th><th>after</th><th>relative error</th></tr>\n", to);
	for (int64_t i = 0; totals && i < count; i++) {
		fputs("<tr><td>", to);
		put_text(to, totals[i].dtype);
		fprintf(to, "</td><td class=\"n\">%" PRId64 "</td>", totals[i].tensors);
		put_sizes(to, totals[i].bytes_before, totals[i].bytes_after);
		put_error(to, totals[i].has_error, totals[i].error);
		fputs("</tr>\n", to);
	}
	fputs("</table>\n", to);
	free(totals);
}

static void put_tensors(FILE *to, const Run *run)
{
	double most_bytes = 1, most_error = report_metric(run, METRIC_max_error);
	for (int64_t i = 0; i < run->program->job_count; i++) {
		int64_t before, after;
		task_bytes(run, &run->tasks[i], &before, &after);
		most_bytes = (double)before > most_bytes ? (double)before : most_bytes;
		most_bytes = (double)after > most_bytes ? (double)after : most_bytes;
	}
	fputs(
		"<table><tr><th>tensor</th><th>passes</th><th>before</th><th>after</th><th></th><th>error</th><th></th></tr>\n",
		to);
	for (int64_t i = 0; i < run->program->job_count; i++) {
		const Task *task = &run->tasks[i];
		int64_t before, after;
		double error[2];
		task_bytes(run, task, &before, &after);
		bool is_known = task_error(run, task, error);
		fputs("<tr><td>", to);
		put_text(to, task->job->label);
		fputs("</td><td>", to);
		put_text(to, task->job->passes);
		char *notes = report_notes(run, task);
		if (notes && *notes) {
			fputs("<br>", to);
			put_text(to, notes);
		}
		free(notes);
		fputs("</td>", to);
		put_sizes(to, before, after);
		fputs("<td>", to);
		put_bar(to, (double)before / most_bytes, (double)after / most_bytes, "#4477aa");
		fputs("</td>", to);
		put_error(to, is_known, error);
		fputs("<td>", to);
		if (is_known && most_error > 0)
			put_bar(to, 0, error_ratio(error) / most_error, "#cc6677");
		fputs("</td></tr>\n", to);
	}
	fputs("</table>\n", to);
}

static void put_figures(FILE *to, const Run *run)
{
	if (!run->program->figure_count)
		return;
	fputs("<table><tr><th>figure</th><th></th></tr>\n", to);
	for (int64_t i = 0; i < run->program->figure_count; i++) {
		FigureValue value = figure_value(run, &run->program->figures[i]);
		char *text = figure_text(&value);
		fputs("<tr><td>", to);
		put_text(to, run->program->figures[i].text);
		fputs("</td><td>", to);
		put_text(to, text ? text : "");
		fputs("</td></tr>\n", to);
		free(text);
	}
	fputs("</table>\n", to);
}

char *report_html(const Run *run, size_t *bytes)
{
	char *text = NULL;
	FILE *to = open_memstream(&text, bytes);
	if (!to)
		return NULL;
	put_head(to, run);
	put_figures(to, run);
	put_totals(to, run);
	put_tensors(to, run);
	fputs("</body></html>\n", to);
	fclose(to);
	return text;
}
