/* SPDX-License-Identifier: MIT
 *
 * text_samples.c: a text file to samples of tokens. A line is a sample, cut after the
 * window; or the whole text is one row of tokens, cut into windows. Every sample is
 * what the tokenizer makes of a text: what it puts in front and behind stands in each,
 * and counts in the window. Of pairs a sample is what a model is asked and answers:
 * the source, what stands between the two, and the target, whose tokens alone are to
 * be predicted. The two are encoded apart, so a token belongs to one of them.
 */
#include "pairs.h"
#include "samples.h"
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

typedef struct Builder {
	const CmprtData *data;
	Tokenizer *tokenizer;
	Samples *samples;
	Tokens tokens;
	int64_t room;     /* of the window, for the text's own tokens */
	int64_t capacity; /* of samples->first and samples->predicted */
} Builder;

static bool is_full(const Builder *b)
{
	return b->data->seed < 0 && b->data->samples > 0 && b->samples->count >= b->data->samples;
}

static void add_all(Tokens *to, const int32_t *from, int64_t count)
{
	for (int64_t i = 0; i < count; i++)
		tokens_add(to, from[i]);
}

static void make_room(Builder *b)
{
	Samples *samples = b->samples;
	if (samples->count + 2 <= b->capacity)
		return;
	b->capacity = b->capacity * 2 + 64;
	samples->first = memory_resize(samples->first, sizeof *samples->first * (size_t)b->capacity);
	samples->predicted = memory_resize(samples->predicted, sizeof *samples->predicted * (size_t)b->capacity);
	samples->first[0] = 0;
}

/* given: the first of the tokens that are not to be predicted, as the model is given them. */
static void add_sample(Builder *b, const int32_t *tokens, int64_t count, int64_t given)
{
	const Tokens *front = tokenizer_front(b->tokenizer), *back = tokenizer_back(b->tokenizer);
	Samples *samples = b->samples;
	int64_t length = front->count + (count < b->room ? count : b->room) + back->count;
	if (count <= given || given >= b->room || length < 2)
		return;
	make_room(b);
	add_all(&b->tokens, front->at, front->count);
	add_all(&b->tokens, tokens, length - front->count - back->count);
	add_all(&b->tokens, back->at, back->count);
	samples->predicted[samples->count] = given ? front->count + given : 1;
	samples->first[++samples->count] = b->tokens.count;
	samples->longest = length > samples->longest ? length : samples->longest;
}

static bool add_lines(Builder *b, const char *text, int64_t count, CmprtError *error)
{
	Tokens line = {0};
	bool is_done = true;
	for (int64_t at = 0, end; at < count && is_done && !is_full(b); at = end + 1) {
		const char *newline = memchr(text + at, '\n', (size_t)(count - at));
		end = newline ? newline - text : count;
		int64_t length = end - at - (end > at && text[end - 1] == '\r');
		line.count = 0;
		is_done = tokenizer_encode(b->tokenizer, b->data->path, text + at, length, &line, error);
		if (is_done)
			add_sample(b, line.at, line.count, 0);
	}
	free(line.at);
	return is_done;
}

/* prompt: with room for any source and what stands behind it. */
static bool add_pair(Builder *b, const Pair *pair, char *prompt, Tokens *row, CmprtError *error)
{
	const char *between = b->data->between, *path = b->data->path;
	int64_t length = pair->source_count + (int64_t)strlen(between);
	memcpy(prompt, pair->source, (size_t)pair->source_count);
	memcpy(prompt + pair->source_count, between, strlen(between));
	row->count = 0;
	if (!tokenizer_encode(b->tokenizer, path, prompt, length, row, error))
		return false;
	int64_t given = row->count;
	if (!tokenizer_encode(b->tokenizer, path, pair->target, pair->target_count, row, error))
		return false;
	add_sample(b, row->at, row->count, given);
	return true;
}

static bool add_pairs(Builder *b, const char *text, int64_t count, CmprtError *error)
{
	PairReader reader = {.path = b->data->path, .text = text, .count = count};
	char *prompt = memory_resize(NULL, (size_t)count + strlen(b->data->between) + 1);
	Tokens row = {0};
	Pair pair;
	bool is_end = false, is_done = true;
	while (is_done && !is_full(b)) {
		is_done = pairs_next(&reader, &pair, &is_end, error);
		if (is_end)
			break;
		is_done = is_done && add_pair(b, &pair, prompt, &row, error);
	}
	free(row.at);
	free(prompt);
	if (is_done && b->samples->count == 0)
		is_done = error_set(error, b->data->path, "there is no pair with a token of the target in the window");
	return is_done;
}

static bool add_windows(Builder *b, const char *text, int64_t count, CmprtError *error)
{
	Tokens row = {0};
	bool is_done = tokenizer_encode(b->tokenizer, b->data->path, text, count, &row, error);
	for (int64_t at = 0; is_done && at < row.count && !is_full(b); at += b->room)
		add_sample(b, row.at + at, row.count - at < b->room ? row.count - at : b->room, 0);
	free(row.at);
	return is_done;
}

static bool add_text(Builder *b, const char *text, int64_t count, CmprtError *error)
{
	const CmprtData *data = b->data;
	int64_t around = tokenizer_front(b->tokenizer)->count + tokenizer_back(b->tokenizer)->count;
	b->room = data->window > 0 ? data->window - around : INT64_MAX;
	if (b->room < 1)
		return error_set(error, data->path,
			"a window of %lld tokens has no room beside the %lld that %s puts around a text", (long long)data->window,
			(long long)around, tokenizer_path(b->tokenizer));
	if (data_text_kind(data) == TEXT_pairs)
		return add_pairs(b, text, count, error);
	if (data->window == 0 && !data->per_line)
		return error_set(error, data->path, "text needs { window 512 }, how many tokens a sample has, or { per line }");
	return data->per_line ? add_lines(b, text, count, error) : add_windows(b, text, count, error);
}

bool samples_of_text(const CmprtData *data, const Checkpoint *model, Samples *samples, CmprtError *error)
{
	Builder b = {.data = data, .samples = samples};
	Pool *pool = pool_new();
	int64_t count = 0;
	const char *text = file_text(pool, data->path, TOKENIZER_MAX_TEXT, &count, error);
	bool is_done = text && (count > 0 || error_set(error, data->path, "is empty"));
	if (is_done)
		b.tokenizer = *data->tokenizer ? tokenizer_open(data->tokenizer, error) : tokenizer_of_checkpoint(model, error);
	is_done = b.tokenizer && add_text(&b, text, count, error);
	samples->token = b.tokens.at;
	samples->token_count = b.tokens.count;
	samples->vocabulary = b.tokenizer ? tokenizer_size(b.tokenizer) : 0;
	tokenizer_close(b.tokenizer);
	pool_free(pool);
	return is_done;
}
