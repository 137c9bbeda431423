/* SPDX-License-Identifier: MIT
 *
 * unigram.c: of all ways to write a piece as tokens the one with the largest sum of
 * scores, found from left to right (Viterbi). A character that no token begins and
 * ends with is unknown, at a score below every token's.
 */
#include "tokenizer_parts.h"

/* The best way to the place: its last token and where that begins. */
typedef struct Place {
	double score;
	int32_t begin, token; /* begin -1: no way leads here yet */
} Place;

static void reach(Place *place, int64_t begin, int32_t token, double score)
{
	if (place->begin < 0 || score > place->score)
		*place = (Place){score, (int32_t)begin, token};
}

static void leave(const Model *model, Place *places, const char *text, int64_t length, int64_t at)
{
	int64_t first = at + utf8_bytes(text[at]);
	bool is_known = false;
	int32_t node = 0;
	for (int64_t end = at; end < length && (node = trie_next(&model->trie, node, text[end])) >= 0;) {
		int32_t token = model->trie.tokens[node];
		end++;
		if (token < 0)
			continue;
		reach(&places[end], at, token, places[at].score + (double)model->vocabulary.tokens[token].score);
		is_known = is_known || end == first;
	}
	if (!is_known)
		reach(&places[first], at, model->unknown, places[at].score + (double)model->unknown_score);
}

/* Leaves in each place where the token ends that begins there. */
static void turn_around(Place *places, int64_t length)
{
	int64_t end = length, behind = -1;
	int32_t token = -1;
	while (end >= 0) {
		Place here = places[end];
		places[end] = (Place){.begin = (int32_t)behind, .token = token};
		behind = end;
		token = here.token;
		end = end > 0 ? here.begin : -1;
	}
}

void unigram_encode(Tokenizer *t, const char *text, int64_t length, Tokens *to)
{
	const Model *model = &t->model;
	Place *places = scratch_room(&t->paths, sizeof *places * (size_t)(length + 1));
	for (int64_t i = 0; i <= length; i++)
		places[i].begin = -1;
	places[0] = (Place){0};
	for (int64_t at = 0; at < length; at += utf8_bytes(text[at]))
		if (places[at].begin >= 0)
			leave(model, places, text, length, at);
	turn_around(places, length);
	for (int64_t at = 0, end; at < length; at = end) {
		int32_t token = places[at].token;
		end = places[at].begin;
		if (token != model->unknown) {
			tokens_add(to, token);
			continue;
		}
		while (model->fuses_unknown && end < length && places[end].token == model->unknown)
			end = places[end].begin;
		model_unknown(model, text + at, end - at, to);
	}
}
