/* SPDX-License-Identifier: MIT
 *
 * command_eval.c: `cmpc eval FILE`: metrics of the file's model on its data sets, or,
 * where the file has pipelines, of what they make of it, side by side; or an array
 * that the model's net makes.
 */
#include "evaluation.h"

#include <string.h>

/* Of the stages of driver.c those that come before a plan, then the kernels. */
static bool has_stage(const char *name)
{
	static const char *const stages[] = {"tokens", "ast", "program", "kernels"};
	for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
		if (!strcmp(stages[i], name))
			return true;
	return false;
}

static bool evaluate(Evaluation *e, int *status)
{
	const Request *request = e->k.request;
	Text text = {.arena = e->c->arena};
	if (request->emit && strcmp(request->emit, "kernels") != 0)
		return compile(&e->k, "program"); /* which prints it */
	if (request->output && !output_is_free(&e->k, request->output))
		return false;
	if (!compile(&e->k, "program"))
		return false;
	if (!request->emit && !request->array && has_pipelines(&e->k)) {
		*status = compare_pipelines(&e->k);
		return true;
	}
	if (!evaluation_open(e))
		return false;
	if (request->emit) {
		evaluation_print_kernels(e, &text);
		return text_write(e->c, request->output, &text);
	}
	char **arguments = arena_array(e->c->arena, char *, request->rest_count + 4);
	int count = 0;
	arguments[count++] = "cmpc eval";
	for (int i = 0; i < request->rest_count; i++)
		arguments[count++] = request->rest[i];
	if (request->output) {
		arguments[count++] = "--output";
		arguments[count++] = arena_printf(e->c->arena, "%s", request->output);
	}
	const CmprtProgram *program = evaluation_load(e);
	*status = program ? cmprt_main(program, count, arguments) : STATUS_ERROR;
	return program != NULL;
}

int command_eval(Request *request)
{
	if (request->emit && !has_stage(request->emit)) {
		fprintf(stderr, "cmpc: eval: --emit takes tokens, ast, program or kernels, not \"%s\"\n", request->emit);
		return STATUS_USAGE;
	}
	if (!request->emit && !request->array != !request->output) {
		fprintf(stderr, "cmpc: eval: --array NAME and -o OUT.npy belong together\n");
		return STATUS_USAGE;
	}
	Evaluation e = evaluation_begin(request, NULL);
	int status = STATUS_DONE;
	if (!evaluate(&e, &status))
		status = STATUS_ERROR;
	evaluation_end(&e);
	return status;
}
