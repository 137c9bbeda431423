/* SPDX-License-Identifier: MIT
 *
 * command_imatrix.c: `cmpc imatrix CHECKPOINT -d TEXT -o OUT` makes the program that
 * saves what a pass of the library says of each matrix's input, with the metadata that
 * llama.cpp asks for, and runs it. Texts are cut as llama-imatrix cuts them.
 */
#include "stages.h"

enum { WINDOW = 512 };

int command_imatrix(Request *request)
{
	if (!request->output || !request->reads) {
		fprintf(stderr, "cmpc: imatrix needs %s\n",
			request->output ? "-d TEXT: what the model reads" : "-o OUT: where the result goes");
		return STATUS_USAGE;
	}
	Text text = {.arena = request->c->arena};
	text_printf(&text, "model input from ");
	string_print(request->operands[0], &text);
	text_printf(&text, "\ndata read from text(");
	string_print(request->reads, &text);
	text_printf(
		&text, ") { window %d }\n\npipeline imatrix of input {\n  stat.imatrix(data: read) on linear\n  save ", WINDOW);
	string_print(request->output, &text);
	text_printf(&text,
		" {\n    general { type \"imatrix\" }\n    imatrix { datasets [read.file]  chunk_count read.samples  "
		"chunk_size read.longest }\n  }\n}\n");
	return program_run(request, "<imatrix>", text.at);
}
