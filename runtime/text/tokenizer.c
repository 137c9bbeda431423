/* SPDX-License-Identifier: MIT
 *
 * tokenizer.c: a text to tokens. Added tokens are found in it first, as they stand;
 * what is between them is normalized, added tokens that want it so are found in that,
 * and the rest is split into pieces, which the model turns into tokens.
 */
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

/* ---- tokens ---- */

void tokens_add(Tokens *tokens, int32_t token)
{
	if (tokens->count == tokens->capacity) {
		tokens->capacity = tokens->capacity * 2 + 256;
		tokens->at = memory_resize(tokens->at, sizeof *tokens->at * (size_t)tokens->capacity);
	}
	tokens->at[tokens->count++] = token;
}

const Tokens *tokenizer_front(const Tokenizer *tokenizer)
{
	return &tokenizer->front;
}

const Tokens *tokenizer_back(const Tokenizer *tokenizer)
{
	return &tokenizer->back;
}

int64_t tokenizer_size(const Tokenizer *tokenizer)
{
	return tokenizer->size;
}

const char *tokenizer_path(const Tokenizer *tokenizer)
{
	return tokenizer->path;
}

/* ---- made and freed ---- */

Tokenizer *tokenizer_new(const char *path, CmprtError *error)
{
	Pool *pool = pool_new();
	Tokenizer *t = pool_alloc(pool, sizeof *t);
	*t = (Tokenizer){.pool = pool, .path = pool_copy(pool, path, strlen(path)), .error = error};
	t->model.vocabulary.pool = pool;
	t->model.unknown = -1;
	return t;
}

void tokenizer_close(Tokenizer *t)
{
	if (!t)
		return;
	steps_free(&t->normalizer);
	steps_free(&t->splitter);
	if (t->word)
		pcre2_code_free(t->word);
	pcre2_match_data_free(t->match);
	pcre2_match_context_free(t->context);
	pcre2_jit_stack_free(t->stack);
	pieces_free(&t->from);
	pieces_free(&t->to);
	free(t->front.at);
	free(t->back.at);
	free(t->characters.at);
	free(t->segments.at);
	free(t->symbols.at);
	free(t->queue.at);
	free(t->paths.at);
	pool_free(t->pool);
}

/* What an added token looks like in normalized text. */
static bool normalize_added(Tokenizer *t, Added *added)
{
	pieces_clear(&t->from);
	if (!pieces_append(t, &t->from, added->text, added->length))
		return false;
	pieces_end(&t->from);
	if (!steps_run(t, &t->normalizer, true))
		return false;
	added->text = pool_copy(t->pool, t->from.text ? t->from.text : "", (size_t)t->from.count);
	added->length = (int32_t)t->from.count;
	return true;
}

bool tokenizer_finish(Tokenizer *t)
{
	int64_t bytes = 0;
	bool has_words = false;
	t->name = t->path;
	t->size = t->model.size;
	for (int64_t i = 0; i < t->added_count; i++) {
		Added *added = &t->added[i];
		if (added->is_normalized && !normalize_added(t, added))
			return false;
		bytes += added->length;
		has_words = has_words || added->is_word;
		t->size = added->token >= t->size ? added->token + 1 : t->size;
	}
	trie_init(t->pool, &t->added_raw, bytes);
	trie_init(t->pool, &t->added_normalized, bytes);
	for (int64_t i = 0; i < t->added_count; i++)
		if (t->added[i].length)
			trie_add(t->added[i].is_normalized ? &t->added_normalized : &t->added_raw, t->added[i].text,
				t->added[i].length, (int32_t)i);
	if (has_words)
		t->word = pattern_compile(t, "a word", "\\w", 2, false);
	return !has_words || t->word;
}

/* ---- added tokens ---- */

static bool is_word_at(Tokenizer *t, const char *text, int64_t count, int64_t at)
{
	return at < count && pcre2_match(t->word, (PCRE2_SPTR)text, (size_t)count, (size_t)at,
							 PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED, t->match, t->context) > 0;
}

static int64_t character_before(const char *text, int64_t at)
{
	do
		at--;
	while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80);
	return at;
}

/* The longest added token at a place; NULL: none stands there. */
static const Added *added_at(Tokenizer *t, const Trie *trie, const char *text, int64_t count, int64_t at)
{
	const Added *found = NULL;
	int32_t node = 0;
	for (int64_t end = at; end < count && (node = trie_next(trie, node, text[end])) >= 0; end++)
		if (trie->tokens[node] >= 0)
			found = &t->added[trie->tokens[node]];
	if (found && found->is_word &&
		((at > 0 && is_word_at(t, text, count, character_before(text, at))) ||
			is_word_at(t, text, count, at + found->length)))
		return NULL;
	return found;
}

/* A place of an added token, with the blanks that it takes along. */
typedef struct Place {
	int64_t begin, end;
	const Added *added;
} Place;

/* The first from `from` on; false: there is none. */
static bool find_added(Tokenizer *t, const Trie *trie, const char *text, int64_t count, int64_t from, Place *place)
{
	for (int64_t at = from; at < count && trie->node_count > 1; at++) {
		const Added *added = added_at(t, trie, text, count, at);
		if (!added)
			continue;
		*place = (Place){at, at + added->length, added};
		while (added->strips_left && place->begin > from &&
			   code_is_white(utf8_get(text + character_before(text, place->begin))))
			place->begin = character_before(text, place->begin);
		while (added->strips_right && place->end < count && code_is_white(utf8_get(text + place->end)))
			place->end += utf8_bytes(text[place->end]);
		return true;
	}
	return false;
}

/* ---- a text ---- */

static void encode_piece(Tokenizer *t, const char *text, int64_t length, Tokens *to)
{
	if (t->model.kind == MODEL_BPE)
		bpe_encode(t, text, length, to);
	else if (t->model.kind == MODEL_UNIGRAM)
		unigram_encode(t, text, length, to);
	else
		wordpiece_encode(t, text, length, to);
}

/* Normalized text without added tokens. */
static bool encode_plain(Tokenizer *t, const char *text, int64_t count, bool is_start, Tokens *to)
{
	pieces_clear(&t->from);
	if (!pieces_append(t, &t->from, text, count))
		return false;
	pieces_end(&t->from);
	if (!steps_run(t, &t->splitter, is_start))
		return false;
	for (int64_t i = 0, begin = 0; i < t->from.end_count; begin = t->from.ends[i++])
		encode_piece(t, t->from.text + begin, t->from.ends[i] - begin, to);
	return true;
}

static bool encode_normalized(Tokenizer *t, const char *text, int64_t count, bool is_start, Tokens *to)
{
	Place place;
	int64_t at = 0;
	for (; find_added(t, &t->added_normalized, text, count, at, &place); at = place.end) {
		if (place.begin > at && !encode_plain(t, text + at, place.begin - at, is_start && at == 0, to))
			return false;
		tokens_add(to, place.added->token);
	}
	return at == count || encode_plain(t, text + at, count - at, is_start && at == 0, to);
}

/* Text without added tokens that stand as they are. */
static bool encode_raw(Tokenizer *t, const char *text, int64_t count, bool is_start, Tokens *to)
{
	if (t->normalizer.count == 0)
		return encode_normalized(t, text, count, is_start, to);
	pieces_clear(&t->from);
	if (!pieces_append(t, &t->from, text, count))
		return false;
	pieces_end(&t->from);
	if (!steps_run(t, &t->normalizer, is_start))
		return false;
	Pieces normalized = t->from; /* the splitter's own pieces are others */
	t->from = (Pieces){0};
	bool is_done = encode_normalized(t, normalized.text, normalized.count, is_start, to);
	pieces_free(&normalized);
	return is_done;
}

bool tokenizer_encode(Tokenizer *t, const char *name, const char *text, int64_t count, Tokens *to, CmprtError *error)
{
	Place place;
	int64_t at = 0;
	t->name = name;
	t->error = error;
	if (count > TOKENIZER_MAX_TEXT)
		return error_set(error, name, "has %lld bytes of text, at most %d are encoded at once", (long long)count,
			TOKENIZER_MAX_TEXT);
	if (!text_is_utf8(text, (size_t)count))
		return error_set(error, name, "is not UTF-8 text");
	for (; find_added(t, &t->added_raw, text, count, at, &place); at = place.end) {
		if (place.begin > at && !encode_raw(t, text + at, place.begin - at, at == 0, to))
			return false;
		tokens_add(to, place.added->token);
	}
	return at == count || encode_raw(t, text + at, count - at, at == 0, to);
}
