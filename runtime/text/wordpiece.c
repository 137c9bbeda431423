/* SPDX-License-Identifier: MIT
 *
 * wordpiece.c: a word is the longest token that it begins with, then the longest that
 * goes on from there, to its end; where there is none the whole word is unknown.
 */
#include "tokenizer_parts.h"

/* The longest token from `at` on; its end, -1: there is none. */
static int64_t longest_from(
	const Trie *trie, int32_t node, const char *text, int64_t length, int64_t at, int32_t *token)
{
	int64_t end = -1;
	while (at < length && node >= 0 && (node = trie_next(trie, node, text[at])) >= 0) {
		at++;
		if (trie->tokens[node] >= 0) {
			*token = trie->tokens[node];
			end = at;
		}
	}
	return end;
}

void wordpiece_encode(Tokenizer *t, const char *text, int64_t length, Tokens *to)
{
	const Model *model = &t->model;
	int64_t begin = to->count, characters = 0;
	for (int64_t at = 0; at < length; at += utf8_bytes(text[at]))
		characters++;
	bool is_known = characters <= model->wordpiece.longest;
	for (int64_t at = 0; at < length && is_known;) {
		int32_t token = -1;
		int32_t node = at > 0 ? model->wordpiece.later : model->wordpiece.first;
		at = longest_from(&model->trie, node, text, length, at, &token);
		is_known = at > 0;
		if (is_known)
			tokens_add(to, token);
	}
	if (is_known)
		return;
	to->count = begin;
	model_unknown(model, text, length, to);
}
