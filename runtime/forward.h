/* SPDX-License-Identifier: MIT
 *
 * forward.h: networks run over data sets (forward.c), and what is measured on them
 * (evaluate.c).
 */
#ifndef CMPRT_FORWARD_H
#define CMPRT_FORWARD_H

#include "run.h"
#include "samples.h"

typedef struct Forward {
	Run *run;
	const CmprtNet *net;
	Samples samples;
	int64_t threads;
	int64_t state_bytes;            /* of all states */
	int64_t call_bytes, heap_bytes; /* of the calls that need most of the arena and of the heap */
	char **states;                  /* of each, for all samples */
	char *arena;                    /* of the call in hand */
} Forward;

/* After inputs_open: reads the samples, allocates nothing else. Free what it made, whether it failed or not. */
bool forward_open(Run *run, const CmprtNet *net, Forward *forward, CmprtError *error);
int64_t forward_bytes(const Forward *forward); /* that running it takes, at most */
bool forward_allocate(Forward *forward, CmprtError *error);
bool forward_call(Forward *forward, const CmprtCall *call, CmprtError *error);
/* All calls, within the memory that the options allow. */
bool forward_run(Run *run, const CmprtNet *net, Forward *forward, CmprtError *error);
int64_t forward_operand_reads(const CmprtProgram *program, const CmprtOperand *operand); /* bytes of tensors */
void forward_free(Forward *forward);
int64_t forward_state_bytes(const Forward *forward, int64_t state, int64_t sample);
char *forward_state(const Forward *forward, int64_t state, int64_t sample);

#endif
