/* SPDX-License-Identifier: MIT
 *
 * fuzz_pairs.c: any bytes as parallel text: each line is a pair, none, or refused in
 * one line with its number; the fields of pairs lie in the text, one behind the other,
 * and hold neither tabs nor ends of lines.
 */
#include "pairs.h"

#include <stdlib.h>
#include <string.h>

static void hold(bool condition)
{
	if (!condition)
		abort();
}

static void check_field(const char *field, int64_t count)
{
	hold(count > 0 && !memchr(field, '\t', (size_t)count) && !memchr(field, '\n', (size_t)count) &&
		 !memchr(field, 0, (size_t)count));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CmprtError error = {""};
	PairReader reader = {.path = "a.tsv", .text = (const char *)data, .count = (int64_t)size};
	const char *end = reader.text;
	int64_t line = 0;
	Pair pair;
	bool is_end = false;
	while (pairs_next(&reader, &pair, &is_end, &error) && !is_end) {
		hold(pair.source >= end && pair.target == pair.source + pair.source_count + 1);
		check_field(pair.source, pair.source_count);
		check_field(pair.target, pair.target_count);
		end = pair.target + pair.target_count;
		hold(end <= reader.text + size && reader.line > line);
		line = reader.line;
	}
	hold(is_end ? reader.at == (int64_t)size : *error.text && !strchr(error.text, '\n'));
	return 0;
}
