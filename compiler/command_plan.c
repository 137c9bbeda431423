/* SPDX-License-Identifier: MIT
 *
 * command_plan.c: `cmpc plan FILE`, the dry run: the stages up to the plan, which is
 * printed as --emit=plan prints it, and then, as no dump does, how long it will take.
 */
#include "stages.h"

#include <unistd.h>

static bool print_time(const Compilation *k)
{
	Text text = {.arena = k->c->arena};
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	plan_print_time(k->plan, cores > 0 ? cores : 1, &text);
	return text_write(k->c, NULL, &text);
}

int command_plan(Request *request)
{
	Compilation k = compilation_begin(request, request->operands[0], NULL);
	bool is_whole = !request->emit && !request->output;
	k.checks_place = true;
	if (!request->emit)
		request->emit = "plan";
	bool is_good = compile(&k, request->emit) && (!is_whole || print_time(&k));
	compilation_end(&k);
	return is_good ? STATUS_DONE : STATUS_ERROR;
}
