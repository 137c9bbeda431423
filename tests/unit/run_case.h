/* SPDX-License-Identifier: MIT
 *
 * run_case.h: the program and the checkpoint that run_test.c runs.
 */
#ifndef CMPC_TEST_RUN_CASE_H
#define CMPC_TEST_RUN_CASE_H

#include "cmprt.h"

enum { TINY = 300, BIG = 6, TENSORS = TINY + BIG + 4, SHARDS = 3 };

typedef struct Case {
	CmprtProgram program;
	CmprtMeta version;
	CmprtSource sources[2];
	CmprtInput inputs[TENSORS];
	CmprtOutput outputs[TENSORS];
	CmprtJob jobs[TENSORS];
	CmprtPort ports_in[TENSORS], ports_out[TENSORS][2];
	int64_t shapes[TENSORS][2], params[TENSORS][3], work[TENSORS];
	char names[TENSORS][32];
	CmprtRequire require;
} Case;

Case *case_make(const char *model, const char *output); /* free() it */
void case_slow_down(Case *c, int64_t microseconds);     /* each row of what is long; 0: no more */
float case_weight(int64_t tensor, int64_t element);     /* what the checkpoint holds there */
void case_write(const Case *c, const char *path, int shard, int shards);
void case_write_folder(const Case *c, const char *folder);
void write_text(const char *path, const char *text);

#endif
