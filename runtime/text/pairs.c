/* SPDX-License-Identifier: MIT
 *
 * pairs.c: a line of tab-separated values to its two fields. Lines end in \n or
 * \r\n, the last one also where the file does. Whatever a line may be but a pair is
 * an error that tells its number, as a column that is lost makes other pairs of
 * those that are left.
 */
#include "pairs.h"
#include "parts.h"

#include <string.h>

static bool refuse(const PairReader *r, const char *what, CmprtError *error)
{
	return error_set(error, r->path, "line %lld %s", (long long)r->line, what);
}

static bool read_fields(const PairReader *r, const char *line, int64_t count, Pair *to, CmprtError *error)
{
	const char *tab = memchr(line, '\t', (size_t)count);
	if (memchr(line, 0, (size_t)count))
		return refuse(r, "has a byte 0 in it: it is not UTF-8 text", error);
	if (!tab)
		return refuse(r, "has no tab: a pair is a source, a tab and a target", error);
	*to = (Pair){line, tab + 1, tab - line, line + count - tab - 1};
	if (memchr(to->target, '\t', (size_t)to->target_count))
		return refuse(r, "has more than two columns: cut -f1,2 leaves the first two", error);
	if (!to->source_count || !to->target_count)
		return refuse(r, to->source_count ? "has no target: nothing is behind its tab" : "has no source", error);
	return true;
}

bool pairs_next(PairReader *r, Pair *to, bool *is_end, CmprtError *error)
{
	*is_end = false;
	while (r->at < r->count) {
		const char *line = r->text + r->at, *newline = memchr(line, '\n', (size_t)(r->count - r->at));
		int64_t count = newline ? newline - line : r->count - r->at;
		r->at += count + (newline != NULL);
		r->line++;
		count -= count > 0 && line[count - 1] == '\r';
		if (count > 0)
			return read_fields(r, line, count, to, error);
	}
	*is_end = true;
	return true;
}
