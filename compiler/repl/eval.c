/* SPDX-License-Identifier: MIT
 *
 * eval.c: metrics on data in a session: of its model, and, side by side with it, of what
 * its pipeline makes of the model. What was entered is evaluated as `cmpc eval` would a
 * file with that text; results go into a folder that is removed.
 */
#include "repl.h"

#include "evaluation.h"

#include <string.h>

/* Those that are of data. */
static const char *const metric_names[] = {
#define HEADERS 0
#define RUN 0
#define DATA 1
#define METRIC(name, unit, when) (when) ? #name : NULL,
#include "metrics.def"
#undef METRIC
};
enum { METRIC_NAMES = sizeof metric_names / sizeof *metric_names };

void metric_words(Session *s, NameVec *to)
{
	for (int i = 0; i < METRIC_NAMES; i++)
		if (metric_names[i])
			vec_push(s->c->arena, to, name_of(s->c, metric_names[i]));
}

/* A word that begins there, without the blanks around it; *at: behind these. */
static const char *take_word(Session *s, const char **at)
{
	*at += strspn(*at, " \t");
	size_t length = strcspn(*at, " \t()");
	const char *word = arena_copy(s->c->arena, *at, length);
	*at += length;
	*at += strspn(*at, " \t");
	return word;
}

bool entry_measures(Session *s, const char *text, Measurement *to)
{
	bool is_known = false;
	*to = (Measurement){.metric = take_word(s, &text)};
	for (int i = 0; i < METRIC_NAMES; i++)
		is_known |= metric_names[i] && !strcmp(metric_names[i], to->metric);
	if (!is_known || *text++ != '(')
		return false;
	to->data = take_word(s, &text);
	return *text == ')' && !text[1 + strspn(text + 1, " \t")];
}

/* It is one of what was entered. */
static bool check_name(Program *p, DeclKind kind, const char *name)
{
	NameVec known = {0};
	if (!name || program_find(p, kind, name_of(p->c, name)))
		return true;
	program_names(p, kind, &known);
	diag_fatal(p->c, "there is no %s \"%s\"", decl_kind_text(kind), name);
	diag_nearest(p->c, name_of(p->c, name), &known);
	if (!known.count && kind == DECL_DATA)
		diag_help(p->c, "declare it: data %s from \"text.txt\" { window 512 }", *name ? name : "tales");
	return false;
}

/* Of the model alone. */
static bool print_own(Evaluation *e)
{
	CmprtOptions options = {.nonfinite = CMPRT_NONFINITE_ERROR};
	const CmprtProgram *program = evaluation_open(e) ? evaluation_load(e) : NULL;
	return program && cmprt_evaluate(program, &options) == 0;
}

bool session_eval(Session *s, const char *pipeline, const Measurement *only)
{
	if (!s->state->model)
		return session_error(s, "no model is open; open one with: model PATH");
	if (only && !*only->data)
		return session_error(s, "%s needs the name of a data set: %s(tales)", only->metric, only->metric);
	Compiler *c = compiler_new();
	Text text = {.arena = c->arena};
	Request request = *s->request;
	const char *operands[] = {"<repl>"};
	c->options = s->c->options;
	state_text(s, s->state, &text);
	request.c = c;
	request.operands = operands;
	request.operand_count = 1;
	request.text = text.count ? text.at : "";
	request.model = s->state->model;
	request.data = only ? only->data : NULL;
	request.metric = only ? only->metric : NULL;
	request.pipeline = pipeline ? pipeline : state_pipeline(s->state);
	Evaluation e = evaluation_begin(&request, NULL);
	Program *p = compile(&e.k, "program") ? e.k.program : NULL;
	bool is_good = p && check_name(p, DECL_PIPELINE, request.pipeline) && check_name(p, DECL_DATA, request.data);
	if (is_good && request.pipeline)
		is_good = compare_pipelines(&e.k) == STATUS_DONE;
	else if (is_good && only && !strcmp(only->metric, "kl"))
		is_good = session_error(s, "kl(%s) is of a result: enter statements of a pipeline first", only->data);
	else if (is_good)
		is_good = print_own(&e);
	fflush(stdout);
	diag_flush(c, stderr);
	evaluation_end(&e);
	compiler_free(c);
	return is_good;
}
