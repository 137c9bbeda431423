/* SPDX-License-Identifier: MIT
 *
 * forward.h: networks run over data sets (forward.c), and what is measured on them
 * (evaluate.c).
 */
#ifndef CMPRT_FORWARD_H
#define CMPRT_FORWARD_H

#include "run.h"
#include "sampler.h"
#include "samples.h"

typedef struct StateFile StateFile;

typedef struct Forward {
	Run *run;
	const CmprtNet *net;
	Samples samples;
	int64_t threads;
	bool is_spilled;                /* states are in the file alone */
	bool is_kept;                   /* states stay for comparisons with other checkpoints */
	bool is_reached;                /* of what is kept: what the last call reads is there */
	int64_t state_bytes;            /* of all states in memory */
	int64_t call_bytes, heap_bytes; /* of the calls that need most of the arena and of the heap */
	char **states;                  /* of each, for all samples */
	StateFile *file;                /* NULL: there is none */
	char *arena;                    /* of the call in hand: call_bytes */
	char *own_arena;                /* NULL: it is the run's */
	/* forward_hold */
	const CmprtCall *held;
	void **buffers; /* of its kernel; NULL: no call is held */
	char *scratch;
} Forward;

/* After inputs_open: reads the samples, allocates nothing else. Free what it made, whether it failed or not. */
bool forward_open(Run *run, const CmprtNet *net, Forward *forward, CmprtError *error);
void forward_fit(Forward *forward, int64_t threads, bool is_spilled); /* counts what that takes */
/* After states_open, with an arena. */
bool forward_call(Forward *forward, const CmprtCall *call, CmprtError *error);
/* The same sample by sample: what the call reads is in memory until it is dropped. */
bool forward_hold(Forward *forward, const CmprtCall *call, CmprtError *error);
bool forward_sample(Forward *forward, int64_t sample, CmprtError *error);
const void *forward_left(
	const Forward *forward, int64_t state); /* of the sample in hand; NULL: no call that is held leaves it */
/* Places for opened nets that are in memory together, within what the options allow; states that are there stay. */
bool forward_start(Forward *const *all, int64_t count, CmprtError *error);
void forward_rest(Forward *forward); /* all but the states is freed, until it is started again */
int64_t forward_operand_reads(const CmprtProgram *program, const CmprtOperand *operand); /* bytes of tensors */
void forward_free(Forward *forward);
/* evaluate.c: of the net of that number of both, the second one's scores with their divergence where logits are there;
 * on the same samples. */
bool evaluate_pair(
	Run *before, Run *after, int64_t net, CmprtScores *to_before, CmprtScores *to_after, CmprtError *error);
/* For a process that ends behind it: the call's kernel, or that of one of its statistics, on made-up numbers, a sample
 * as long as any. false: no memory. */
bool forward_try(const Forward *forward, const CmprtCall *call, const CmprtStatistic *statistic, Sampler *sampler);

/* ---- net_finite.c: NaN and infinities, which end the run unless the options say otherwise ---- */

bool net_check_weight(const Forward *forward, int64_t number, void *at, CmprtError *error); /* that was just read */
bool net_check_decoded(const Forward *forward, const CmprtPiece *piece, void *at, CmprtError *error);
/* left: which of those that the held call leaves. */
bool net_check_state(
	const Forward *forward, const CmprtCall *call, int64_t left, int64_t sample, const void *from, CmprtError *error);

/* ---- states.c ---- */

int64_t states_bytes(const Forward *forward);      /* of all samples, in memory */
int64_t states_file_bytes(const Forward *forward); /* of the file that a run with a journal has */
bool states_open(Forward *forward, CmprtError *error);
void states_close(Forward *forward);
/* Calls of the program's net of that number that need not be made, their states being there; -1: failed. */
int64_t states_resume(Forward *forward, int64_t net, CmprtError *error);
/* All samples went through the call: what it left counts from now on. */
void states_turn(Forward *forward, const CmprtCall *call);
/* The call and its jobs are done, which the journal says too. */
bool states_mark(Forward *forward, int64_t net, int64_t call, CmprtError *error);
int64_t forward_state_bytes(const Forward *forward, int64_t state, int64_t sample);
/* *buffer has room for it where states are spilled, else it is set. */
bool state_load(const Forward *forward, int64_t state, int64_t sample, void **buffer, CmprtError *error);
bool state_store(Forward *forward, int64_t state, int64_t sample, const void *from, CmprtError *error);

#endif
