/* SPDX-License-Identifier: MIT
 *
 * command_repl.c: `cmpc repl [FILE]` reads entries until the input ends. At a
 * terminal a wrong entry is part of the work; of a script it is a failure.
 */
#include "repl.h"

int command_repl(Request *request)
{
	Session session = {.request = request, .c = request->c};
	session.file = request->operand_count ? request->operands[0] : NULL;
	if (!session_open(&session))
		return STATUS_ERROR;
	session.input = input_open(&session);
	if (!session.input)
		return STATUS_ERROR;
	bool is_terminal = input_is_terminal(session.input);
	if (is_terminal)
		printf("cmpc %s; help lists the commands, ^D ends.\n", PACKAGE_VERSION);
	session_run(&session);
	input_close(session.input);
	return session.has_failed && !is_terminal ? STATUS_ERROR : STATUS_DONE;
}
