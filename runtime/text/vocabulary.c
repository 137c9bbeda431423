/* SPDX-License-Identifier: MIT
 *
 * vocabulary.c: the texts of tokens: found whole by a hash, or byte by byte in a
 * trie; the bytes that byte-level vocabularies write as characters.
 */
#include "tokenizer_parts.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

bool vocabulary_reserve(Vocabulary *vocabulary, int64_t count)
{
	if (count > TOKENIZER_MAX_TOKENS)
		return false;
	if (count > vocabulary->capacity) {
		int64_t capacity = vocabulary->capacity * 2 > count ? vocabulary->capacity * 2 : count;
		Token *tokens = pool_array(vocabulary->pool, Token, capacity);
		if (vocabulary->count)
			memcpy(tokens, vocabulary->tokens, sizeof *tokens * (size_t)vocabulary->count);
		vocabulary->tokens = tokens;
		vocabulary->capacity = capacity;
	}
	vocabulary->count = count > vocabulary->count ? count : vocabulary->count;
	return true;
}

/* Where the text's token is, or would be. */
static int32_t *slot_of(const Vocabulary *vocabulary, const char *text, size_t length)
{
	for (uint64_t at = XXH3_64bits(text, length);; at++) {
		int32_t *slot = &vocabulary->slots[at & vocabulary->mask];
		if (*slot < 0)
			return slot;
		const Token *token = &vocabulary->tokens[*slot];
		if ((size_t)token->length == length && memcmp(token->text, text, length) == 0)
			return slot;
	}
}

void vocabulary_index(Vocabulary *vocabulary)
{
	uint64_t size = 16;
	while (size < (uint64_t)vocabulary->count * 2)
		size *= 2;
	vocabulary->mask = size - 1;
	vocabulary->slots = pool_array(vocabulary->pool, int32_t, size);
	memset(vocabulary->slots, -1, sizeof *vocabulary->slots * size);
	for (int64_t i = 0; i < vocabulary->count; i++)
		if (vocabulary->tokens[i].text)
			*slot_of(vocabulary, vocabulary->tokens[i].text, (size_t)vocabulary->tokens[i].length) = (int32_t)i;
}

int32_t vocabulary_find(const Vocabulary *vocabulary, const char *text, size_t length)
{
	return *slot_of(vocabulary, text, length);
}

bool vocabulary_add(Vocabulary *vocabulary, const char *text, int32_t length)
{
	int64_t id = vocabulary->count;
	if (!vocabulary_reserve(vocabulary, id + 1))
		return false;
	vocabulary->tokens[id] = (Token){.text = text, .length = length};
	if ((uint64_t)vocabulary->count * 2 > vocabulary->mask)
		vocabulary_index(vocabulary);
	else
		*slot_of(vocabulary, text, (size_t)length) = (int32_t)id;
	return true;
}

/* ---- tries ---- */

void trie_init(Pool *pool, Trie *trie, int64_t bytes)
{
	uint64_t size = 16;
	while (size < (uint64_t)bytes * 2)
		size *= 2;
	*trie = (Trie){.node_count = 1, .mask = size - 1};
	trie->tokens = pool_array(pool, int32_t, bytes + 1);
	trie->edges = pool_array(pool, uint64_t, size);
	trie->ends = pool_array(pool, int32_t, size);
	trie->tokens[0] = -1;
}

static uint64_t edge_slot(const Trie *trie, uint64_t edge)
{
	uint64_t at = edge * 0x9e3779b97f4a7c15u >> 20;
	while (trie->edges[at & trie->mask] && trie->edges[at & trie->mask] != edge)
		at++;
	return at & trie->mask;
}

static uint64_t edge_of(int32_t node, char byte)
{
	return ((uint64_t)node << 8 | (unsigned char)byte) + 1;
}

void trie_add(Trie *trie, const char *text, int64_t length, int32_t token)
{
	int32_t node = 0;
	for (int64_t i = 0; i < length; i++) {
		uint64_t edge = edge_of(node, text[i]), slot = edge_slot(trie, edge);
		if (!trie->edges[slot]) {
			trie->edges[slot] = edge;
			trie->tokens[trie->node_count] = -1;
			trie->ends[slot] = trie->node_count++;
		}
		node = trie->ends[slot];
	}
	trie->tokens[node] = token;
}

int32_t trie_next(const Trie *trie, int32_t node, char byte)
{
	uint64_t slot = edge_slot(trie, edge_of(node, byte));
	return trie->edges[slot] ? trie->ends[slot] : -1;
}

int32_t trie_walk(const Trie *trie, int32_t node, const char *text, int64_t length)
{
	for (int64_t i = 0; i < length && node >= 0; i++)
		node = trie_next(trie, node, text[i]);
	return node;
}

/* ---- models ---- */

void model_tries(Tokenizer *t)
{
	const Vocabulary *v = &t->model.vocabulary;
	int64_t bytes = 0;
	for (int64_t i = 0; i < v->count; i++)
		bytes += v->tokens[i].text ? v->tokens[i].length : 0;
	trie_init(t->pool, &t->model.trie, bytes);
	for (int64_t i = 0; i < v->count; i++)
		if (v->tokens[i].text && v->tokens[i].length)
			trie_add(&t->model.trie, v->tokens[i].text, v->tokens[i].length, (int32_t)i);
}

void model_byte_tokens(Model *model)
{
	for (int i = 0; i < 256; i++) {
		char name[8];
		snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
		model->byte_tokens[i] = model->has_bytes ? vocabulary_find(&model->vocabulary, name, 6) : -1;
	}
}

void model_unknown(const Model *model, const char *text, int64_t length, Tokens *to)
{
	bool has_all = model->has_bytes;
	for (int64_t i = 0; i < length && has_all; i++)
		has_all = model->byte_tokens[(unsigned char)text[i]] >= 0;
	for (int64_t i = 0; i < length && has_all; i++)
		tokens_add(to, model->byte_tokens[(unsigned char)text[i]]);
	if (!has_all && model->unknown >= 0)
		tokens_add(to, model->unknown);
}

/* ---- bytes as characters ---- */

/* Printing bytes stand for themselves, the others for U+0100 on in their order: those up to the blank, 0x7f to 0xa0 and
 * 0xad. */
static int byte_of_code(int32_t code)
{
	if ((code > 0x20 && code < 0x7f) || (code > 0xa0 && code < 0x100 && code != 0xad))
		return code;
	if (code >= 0x100 && code <= 0x120)
		return code - 0x100;
	if (code >= 0x121 && code <= 0x142)
		return code - 0x121 + 0x7f;
	return code == 0x143 ? 0xad : -1;
}

/* Text of that alphabet as bytes, no more than it has; false: it has other characters. */
bool bytes_of_alphabet(const char *text, int64_t length, char *to, int32_t *count)
{
	*count = 0;
	for (int64_t at = 0; at < length; at += utf8_bytes(text[at])) {
		int byte = byte_of_code(utf8_get(text + at));
		if (byte < 0)
			return false;
		to[(*count)++] = (char)byte;
	}
	return true;
}
