/* SPDX-License-Identifier: MIT
 *
 * command_plan.c: `cmpc plan FILE`, the dry run: the stages up to the plan, which is
 * printed as --emit=plan prints it.
 */
#include "stages.h"

int command_plan(Request *request)
{
	Compilation k = compilation_begin(request, request->operands[0], NULL);
	if (!request->emit)
		request->emit = "plan";
	bool is_good = compile(&k, request->emit);
	compilation_end(&k);
	return is_good ? STATUS_DONE : STATUS_ERROR;
}
