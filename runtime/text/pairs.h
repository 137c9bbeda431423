/* SPDX-License-Identifier: MIT
 *
 * pairs.h: parallel text as tab-separated values: a line is a source, a tab and a
 * target. There are no quotes, as neither a tab nor the end of a line stands in a
 * field.
 */
#ifndef CMPRT_PAIRS_H
#define CMPRT_PAIRS_H

#include "format.h"

/* Reads `text`, which it borrows: begin with at and line 0. */
typedef struct PairReader {
	const char *path, *text;
	int64_t count, at;
	int64_t line; /* of the last pair, from 1 */
} PairReader;

typedef struct Pair {
	const char *source, *target; /* in the reader's text; neither is empty */
	int64_t source_count, target_count;
} Pair;

/* The next pair; empty lines are none. *is_end: there was none. False: the line is no pair. */
bool pairs_next(PairReader *reader, Pair *to, bool *is_end, CmprtError *error);

#endif
