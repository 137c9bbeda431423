/* SPDX-License-Identifier: MIT
 *
 * samples.h: data sets as samples of tokens, for the compiler (how long are they?)
 * and for executables. A reader turns a file into rows of tokens; what else is a
 * source of tokens, a text and its tokenizer, is another reader.
 */
#ifndef CMPRT_SAMPLES_H
#define CMPRT_SAMPLES_H

#include "format.h"

typedef enum Given {
#define GIVEN(name, help) GIVEN_##name,
#include "samples.def"
#undef GIVEN
	GIVEN_COUNT
} Given;

typedef struct Samples {
	int64_t count, longest, token_count;
	int64_t vocabulary; /* tokens that the text's tokenizer has; 0: tokens were read from a file */
	int64_t *first;     /* (count + 1): of each sample in token */
	int32_t *token;
} Samples;

bool data_is_text(const CmprtData *data);
/* model: whose tokenizer reads text. */
bool samples_open(const CmprtData *data, const Checkpoint *model, Samples *samples, CmprtError *error);
/* text/text_samples.c; close what it made, whether it failed or not. Weak: an executable whose data are no text is
 * linked without it, and without the library of patterns that tokenizers need. */
__attribute__((weak)) bool samples_of_text(
	const CmprtData *data, const Checkpoint *model, Samples *samples, CmprtError *error);
void samples_close(Samples *samples);
int64_t samples_length(const Samples *samples, int64_t number);
void samples_fill(const Samples *samples, int64_t number, Given given, int32_t *to);
int given_find(const char *name); /* its row; -1: there is none */
const char *given_name(int row);

#endif
