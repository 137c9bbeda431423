/* SPDX-License-Identifier: MIT
 *
 * bpe.c: byte pair encoding. A piece's characters (bytes, in byte-level
 * vocabularies) are linked symbols; of the neighbours that a merge puts together
 * those of the lowest rank go first, from the left, by a queue of candidates. Where
 * no merge has the one character before the other, none can reach across, so a piece
 * is worked on in runs between such places: a text without pieces costs no more than
 * its words.
 */
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

typedef struct Symbol {
	int32_t token, previous, next; /* token -1: merged away; no neighbour: -1 */
} Symbol;

typedef struct Candidate {
	int32_t rank, at, result; /* at: the left symbol */
} Candidate;

typedef struct Queue {
	Candidate *at;
	int64_t count;
} Queue;

/* ---- merges ---- */

enum { JOIN_BITS = 20 };

static uint64_t join_place(int32_t left, int32_t right)
{
	return (((uint64_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u) >> (64 - JOIN_BITS);
}

/* The last character of a text, or its last byte. */
static int32_t last_code(const Tokenizer *t, const char *text, int64_t length)
{
	int64_t at = length - 1;
	while (!t->is_bytes && at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
		at--;
	return t->is_bytes ? (unsigned char)text[at] : utf8_get(text + at);
}

static int32_t first_code(const Tokenizer *t, const char *text)
{
	return t->is_bytes ? (unsigned char)*text : utf8_get(text);
}

static bool may_join(const Tokenizer *t, int32_t left, int32_t right)
{
	const Token *tokens = t->model.vocabulary.tokens, *l = &tokens[left], *r = &tokens[right];
	if (!l->length || !r->length) /* what stands for unknown text or for a byte has none */
		return false;
	uint64_t place = join_place(last_code(t, l->text, l->length), first_code(t, r->text));
	return t->model.bpe.joins[place >> 6] >> (place & 63) & 1;
}

static Merge *merge_slot(const Bpe *bpe, uint64_t pair)
{
	uint64_t at = pair * 0x9e3779b97f4a7c15u >> 24;
	while (bpe->merges[at & bpe->mask].result >= 0 && bpe->merges[at & bpe->mask].pair != pair)
		at++;
	return &bpe->merges[at & bpe->mask];
}

void bpe_init(Tokenizer *t, int64_t merges)
{
	Bpe *bpe = &t->model.bpe;
	uint64_t size = 16;
	while (size < (uint64_t)merges * 2)
		size *= 2;
	bpe->mask = size - 1;
	bpe->merges = pool_array(t->pool, Merge, size);
	for (uint64_t i = 0; i < size; i++)
		bpe->merges[i].result = -1;
	bpe->joins = pool_array(t->pool, uint64_t, (1 << JOIN_BITS) / 64);
	bpe->prefix = bpe->prefix ? bpe->prefix : "";
	bpe->suffix = bpe->suffix ? bpe->suffix : "";
}

bool bpe_add(Tokenizer *t, int32_t left, int32_t right, int32_t rank)
{
	Bpe *bpe = &t->model.bpe;
	const Token *l = &t->model.vocabulary.tokens[left], *r = &t->model.vocabulary.tokens[right];
	int64_t prefix = (int64_t)strlen(bpe->prefix);
	int64_t skipped = prefix <= r->length && memcmp(r->text, bpe->prefix, (size_t)prefix) == 0 ? prefix : 0;
	char *text = scratch_room(&t->symbols, (size_t)(l->length + r->length) + 1);
	memcpy(text, l->text, (size_t)l->length);
	memcpy(text + l->length, r->text + skipped, (size_t)(r->length - skipped));
	int32_t result = vocabulary_find(&t->model.vocabulary, text, (size_t)(l->length + r->length - skipped));
	if (result < 0 || l->length == 0 || r->length == 0)
		return false;
	uint64_t pair = (uint64_t)left << 32 | (uint32_t)right;
	uint64_t place = join_place(last_code(t, l->text, l->length), first_code(t, r->text));
	*merge_slot(bpe, pair) = (Merge){pair, rank, result};
	bpe->joins[place >> 6] |= (uint64_t)1 << (place & 63);
	return true;
}

/* ---- merges of scores ---- */

/* Characters that no token is alone, but that stand in one: merges need a number for them. */
static bool add_characters(Vocabulary *v)
{
	int64_t tokens = v->count;
	for (int64_t i = 0; i < tokens; i++) {
		const char *text = v->tokens[i].text;
		for (int32_t at = 0, length; text && at < v->tokens[i].length; at += length) {
			length = utf8_bytes(text[at]);
			if (vocabulary_find(v, text + at, (size_t)length) < 0 && !vocabulary_add(v, text + at, length))
				return false;
		}
	}
	return true;
}

static int compare_scores(const void *a, const void *b, void *tokens)
{
	float x = ((const Token *)tokens)[*(const int32_t *)a].score,
		  y = ((const Token *)tokens)[*(const int32_t *)b].score;
	return (x < y) - (x > y);
}

bool bpe_of_scores(Tokenizer *t)
{
	Vocabulary *v = &t->model.vocabulary;
	int64_t bytes = 0;
	if (!add_characters(v))
		return false;
	int32_t *order = pool_array(t->pool, int32_t, t->model.size + 1);
	for (int32_t i = 0; i < t->model.size; i++) {
		order[i] = i;
		bytes += v->tokens[i].text ? v->tokens[i].length : 0;
	}
	qsort_r(order, (size_t)t->model.size, sizeof *order, compare_scores, v->tokens);
	bpe_init(t, bytes);
	for (int32_t i = 0, rank = 0; i < t->model.size; i++) {
		const Token token = v->tokens[order[i]];
		/* tokens of one score are of one rank: of those the leftmost goes first */
		if (i > 0 && v->tokens[order[i - 1]].score > token.score)
			rank = i;
		for (int32_t at = 0; token.text && (at += utf8_bytes(token.text[at])) < token.length;) {
			int32_t left = vocabulary_find(v, token.text, (size_t)at);
			int32_t right = vocabulary_find(v, token.text + at, (size_t)(token.length - at));
			if (left >= 0 && right >= 0)
				bpe_add(t, left, right, rank);
		}
	}
	return true;
}

/* ---- the queue ---- */

static bool comes_before(const Candidate *a, const Candidate *b)
{
	return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

static void queue_push(Tokenizer *t, Queue *queue, Candidate candidate)
{
	scratch_grow(&t->queue, sizeof(Candidate) * (size_t)(queue->count + 1));
	queue->at = t->queue.at;
	int64_t at = queue->count++;
	for (; at > 0 && comes_before(&candidate, &queue->at[(at - 1) / 2]); at = (at - 1) / 2)
		queue->at[at] = queue->at[(at - 1) / 2];
	queue->at[at] = candidate;
}

static Candidate queue_pop(Queue *queue)
{
	Candidate first = queue->at[0], last = queue->at[--queue->count];
	int64_t at = 0;
	for (int64_t child; (child = 2 * at + 1) < queue->count; at = child) {
		if (child + 1 < queue->count && comes_before(&queue->at[child + 1], &queue->at[child]))
			child++;
		if (!comes_before(&queue->at[child], &last))
			break;
		queue->at[at] = queue->at[child];
	}
	queue->at[at] = last;
	return first;
}

/* ---- one run of symbols ---- */

static const Merge *merge_at(const Tokenizer *t, const Symbol *symbols, int32_t left)
{
	int32_t right = left >= 0 ? symbols[left].next : -1;
	if (right < 0 || symbols[left].token < 0)
		return NULL;
	const Merge *merge =
		merge_slot(&t->model.bpe, (uint64_t)symbols[left].token << 32 | (uint32_t)symbols[right].token);
	return merge->result >= 0 ? merge : NULL;
}

static void push_at(Tokenizer *t, Queue *queue, const Symbol *symbols, int32_t left)
{
	const Merge *merge = merge_at(t, symbols, left);
	if (merge)
		queue_push(t, queue, (Candidate){merge->rank, left, merge->result});
}

/* Symbols [0, count), the last one's next is -1. */
static void merge_run(Tokenizer *t, Symbol *symbols, int32_t count)
{
	Queue queue = {0};
	for (int32_t i = 0; i + 1 < count; i++)
		push_at(t, &queue, symbols, i);
	while (queue.count) {
		Candidate best = queue_pop(&queue);
		const Merge *merge = merge_at(t, symbols, best.at);
		if (!merge || merge->rank != best.rank || merge->result != best.result)
			continue; /* one of the two was merged meanwhile */
		Symbol *left = &symbols[best.at], *right = &symbols[left->next];
		left->token = best.result;
		right->token = -1;
		left->next = right->next;
		if (left->next >= 0)
			symbols[left->next].previous = best.at;
		push_at(t, &queue, symbols, left->previous);
		push_at(t, &queue, symbols, best.at);
	}
}

/* ---- a piece ---- */

/* The character as a token, with what marks its place in the word. */
static int32_t character_token(Tokenizer *t, const char *at, int length, bool is_first, bool is_last)
{
	const Bpe *bpe = &t->model.bpe;
	const char *prefix = is_first ? "" : bpe->prefix, *suffix = is_last ? bpe->suffix : "";
	size_t before = strlen(prefix), behind = strlen(suffix);
	if (before + behind == 0)
		return vocabulary_find(&t->model.vocabulary, at, (size_t)length);
	char *text = scratch_room(&t->paths, before + behind + 8);
	memcpy(text, prefix, before);
	memcpy(text + before, at, (size_t)length);
	memcpy(text + before + (size_t)length, suffix, behind);
	return vocabulary_find(&t->model.vocabulary, text, before + (size_t)length + behind);
}

/* One token, or what stands for an unknown character. */
static void add_character(Tokenizer *t, const char *text, int64_t at, int64_t length, Tokens *to, bool *was_unknown)
{
	const Model *model = &t->model;
	int size = t->is_bytes ? 1 : utf8_bytes(text[at]);
	int32_t token = character_token(t, text + at, size, at == 0, at + size == length);
	int64_t before = to->count;
	if (token >= 0)
		tokens_add(to, token);
	else
		model_unknown(model, text + at, size, to);
	bool is_unknown = token < 0 && to->count == before + 1 && to->at[before] == model->unknown;
	if (is_unknown && *was_unknown && model->fuses_unknown)
		to->count--;
	*was_unknown = is_unknown;
}

static void flush_symbol(const Tokenizer *t, int32_t token, Tokens *to)
{
	const Token *text = &t->model.vocabulary.tokens[token];
	if (token < t->model.size)
		tokens_add(to, token);
	else
		model_unknown(&t->model, text->text, text->length, to);
}

void bpe_encode(Tokenizer *t, const char *text, int64_t length, Tokens *to)
{
	int32_t whole = t->model.bpe.whole_first ? vocabulary_find(&t->model.vocabulary, text, (size_t)length) : -1;
	if (whole >= 0 && whole < t->model.size) {
		tokens_add(to, whole);
		return;
	}
	Tokens *from = &t->characters;
	bool was_unknown = false;
	from->count = 0;
	for (int64_t at = 0; at < length; at += t->is_bytes ? 1 : utf8_bytes(text[at]))
		add_character(t, text, at, length, from, &was_unknown);
	for (int64_t begin = 0, end; begin < from->count; begin = end) {
		for (end = begin + 1; end < from->count && may_join(t, from->at[end - 1], from->at[end]);)
			end++;
		int32_t count = (int32_t)(end - begin);
		Symbol *symbols = scratch_room(&t->symbols, sizeof *symbols * (size_t)count);
		for (int32_t i = 0; i < count; i++)
			symbols[i] = (Symbol){from->at[begin + i], i - 1, i + 1 < count ? i + 1 : -1};
		merge_run(t, symbols, count);
		for (int32_t i = 0; i >= 0; i = symbols[i].next)
			flush_symbol(t, symbols[i].token, to);
	}
}
