/* SPDX-License-Identifier: MIT
 *
 * command_run.c: `cmpc run FILE`: the object that build would link is loaded into
 * this process and run by the runtime that is part of it. The program's own
 * options follow FILE.
 */
#include "stages.h"

static int run_object(const Compilation *k)
{
	Jit *jit = jit_new(k->c, &k->object);
	if (!jit)
		return STATUS_ERROR;
	const CmprtProgram *program = jit_symbol(jit, "cmprt_program");
	int count = k->request->rest_count;
	char **arguments = arena_array(k->c->arena, char *, count + 2);
	arguments[0] = arena_printf(k->c->arena, "cmpc %s", k->request->command->name);
	for (int i = 0; i < count; i++)
		arguments[i + 1] = k->request->rest[i];
	int status = program ? cmprt_main(program, count + 1, arguments) : STATUS_ERROR;
	jit_free(jit);
	return status;
}

int program_run(const Request *request, const char *path, const char *text)
{
	Compilation k = compilation_begin(request, path, text);
	k.runs_here = !request->emit;
	int status = compile(&k, "obj") ? STATUS_DONE : STATUS_ERROR;
	diag_flush(k.c, stderr); /* remarks come before the program's own output */
	if (status == STATUS_DONE && !request->emit)
		status = run_object(&k);
	compilation_end(&k);
	return status;
}

int command_run(Request *request)
{
	return program_run(request, request->operands[0], NULL);
}
