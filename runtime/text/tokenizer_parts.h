/* SPDX-License-Identifier: MIT
 *
 * tokenizer_parts.h: what the files of this folder share. A tokenizer is: texts that
 * stand for themselves (added tokens), steps that rewrite and split what is between
 * them, and a model that turns each piece into tokens.
 */
#ifndef CMPRT_TOKENIZER_PARTS_H
#define CMPRT_TOKENIZER_PARTS_H

#include "parts.h"
#include "tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <jansson.h>

enum {
	TOKENIZER_MAX_FILE = 1 << 26,
	TOKENIZER_MAX_TOKENS = 1 << 22,
	TOKENIZER_MAX_TEXT = 1 << 28, /* bytes that are encoded at once, and that a step may leave */
};

/* ---- vocabulary.c ---- */

typedef struct Token {
	const char *text; /* NULL: no token has this number, or it stands for itself only */
	int32_t length;
	float score;
} Token;

typedef struct Vocabulary {
	Pool *pool;
	int64_t count, capacity; /* of tokens */
	Token *tokens;
	uint64_t mask; /* of slots: powers of two less one */
	int32_t *slots;
} Vocabulary;

/* Room for numbers below count; false: that is too many. */
bool vocabulary_reserve(Vocabulary *vocabulary, int64_t count);
void vocabulary_index(Vocabulary *vocabulary);                                 /* after the last token was set */
bool vocabulary_add(Vocabulary *vocabulary, const char *text, int32_t length); /* to an indexed one */
int32_t vocabulary_find(const Vocabulary *vocabulary, const char *text, size_t length); /* -1 */

/* Texts by their bytes, one after the other. Node 0 is the empty text. */
typedef struct Trie {
	int32_t node_count;
	int32_t *tokens; /* of each node: its token, -1 */
	uint64_t mask;
	uint64_t *edges; /* (node, byte) and one; 0: none */
	int32_t *ends;
} Trie;

void trie_init(Pool *pool, Trie *trie, int64_t bytes); /* for texts of so many bytes together */
void trie_add(Trie *trie, const char *text, int64_t length, int32_t token);
int32_t trie_next(const Trie *trie, int32_t node, char byte); /* -1 */
int32_t trie_walk(const Trie *trie, int32_t node, const char *text, int64_t length);

/* ---- unicode.c: of text that is UTF-8 ---- */

int utf8_bytes(char first); /* of the character that begins so */
int32_t utf8_get(const char *at);
int utf8_put(char *to, int32_t code); /* how many bytes */
bool code_is_white(int32_t code);

/* ---- steps.c ---- */

/* A text in pieces: piece i ends at ends[i]. */
typedef struct Pieces {
	char *text;
	int64_t count, capacity; /* bytes */
	int64_t *ends;
	int64_t end_count, end_capacity;
} Pieces;

typedef enum StepKind {
	STEP_REPLACE, /* a match m becomes before, m if it is kept, after */
	STEP_PREPEND, /* `before` in front of pieces */
	STEP_SPLIT,   /* at matches */
	STEP_LOWERCASE,
	STEP_DECOMPOSE, /* canonically: NFD */
	STEP_COMPOSE,   /* NFC */
} StepKind;

/* What becomes of the matches. */
typedef enum SplitBehavior {
	SPLIT_REMOVED,
	SPLIT_ISOLATED,
	SPLIT_PREVIOUS,
	SPLIT_NEXT,
	SPLIT_CONTIGUOUS
} SplitBehavior;

typedef struct Step {
	StepKind kind;
	pcre2_code *pattern;        /* REPLACE, SPLIT */
	const char *before, *after; /* REPLACE, PREPEND */
	bool keeps;                 /* REPLACE */
	bool is_inverted;           /* SPLIT: what is between matches is the match */
	bool only_first;            /* PREPEND: the piece that the whole text begins with */
	bool only_missing;          /* PREPEND: not where it stands already */
	SplitBehavior behavior;
} Step;

typedef struct Steps {
	int64_t count, capacity;
	Step *at;
} Steps;

/* ---- the models ---- */

typedef struct Merge {
	uint64_t pair;        /* left and right token */
	int32_t rank, result; /* result -1: an empty slot */
} Merge;

/* Byte pair encoding. Tokens from `count` of the vocabulary's own on are single characters that merges need and the
 * vocabulary lacks. */
typedef struct Bpe {
	uint64_t mask;
	Merge *merges;
	uint64_t *joins;             /* bits: a character behind another that some merge puts together, by a hash of both */
	const char *prefix, *suffix; /* of pieces of a word that are not its first, that are its last; "" */
	bool whole_first;            /* a piece that is a token is that token, whatever the merges say */
} Bpe;

typedef struct Wordpiece {
	int32_t first, later; /* nodes of the trie where pieces of a word begin */
	int64_t longest;      /* word, in characters, that is not unknown at once */
} Wordpiece;

typedef enum ModelKind { MODEL_BPE, MODEL_UNIGRAM, MODEL_WORDPIECE } ModelKind;

typedef struct Model {
	ModelKind kind;
	Vocabulary vocabulary;
	int64_t size;       /* tokens of the vocabulary's that may be given out: numbers below it */
	Trie trie;          /* UNIGRAM, WORDPIECE */
	int32_t unknown;    /* -1: there is none, and what is not known is left out */
	bool fuses_unknown; /* several in a row are one */
	bool has_bytes;     /* what is not known is tokens for its bytes */
	int32_t byte_tokens[256];
	Bpe bpe;
	Wordpiece wordpiece;
	float unknown_score; /* UNIGRAM */
} Model;

/* Memory that encoding reuses. */
typedef struct Scratch {
	void *at;
	size_t bytes;
} Scratch;

/* ---- the tokenizer ---- */

typedef struct Added {
	const char *text;
	int32_t length, token;
	bool is_word, strips_left, strips_right, is_normalized;
} Added;

struct Tokenizer {
	Pool *pool;
	const char *path;
	int64_t size;
	bool is_bytes; /* texts of tokens are bytes, not characters */
	Model model;
	int64_t added_count;
	Added *added;
	Trie added_raw, added_normalized; /* of numbers of `added` */
	Steps normalizer, splitter;
	Tokens front, back;
	pcre2_code *word; /* one character of a word; NULL: nobody asks */
	/* what encoding works in */
	pcre2_match_data *match;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
	Pieces from, to;
	Tokens characters;
	Scratch segments, symbols, queue, paths;
	const char *name; /* of the text in hand */
	CmprtError *error;
};

void *scratch_room(Scratch *scratch, size_t bytes);
void scratch_grow(Scratch *scratch, size_t bytes); /* keeps what is there */

void pieces_clear(Pieces *pieces);
bool pieces_append(Tokenizer *t, Pieces *pieces, const char *text, int64_t count);
void pieces_end(Pieces *pieces); /* of a piece, unless it is empty */
void pieces_free(Pieces *pieces);

/* steps.c */
Step *steps_add(Tokenizer *t, Steps *steps, StepKind kind);
/* Compiles a pattern, or text that stands for itself; where: what asks for it. NULL: reported. */
pcre2_code *pattern_compile(Tokenizer *t, const char *where, const char *text, size_t length, bool is_literal);
/* The next match at or behind `from` that is not empty: 1, 0: there is none, -1: reported. */
int pattern_find(Tokenizer *t, const pcre2_code *pattern, const char *text, int64_t count, int64_t from, int64_t *begin,
	int64_t *end);
/* Over t->from, which holds the result too. is_start: the text begins with it. */
bool steps_run(Tokenizer *t, const Steps *steps, bool is_start);
void steps_free(Steps *steps);

/* unicode.c: piece by piece of `from` */
bool text_lowercase(Tokenizer *t, const Pieces *from, Pieces *to);
bool text_decompose(Tokenizer *t, const Pieces *from, Pieces *to);
bool text_compose(Tokenizer *t, const Pieces *from, Pieces *to);

/* bpe.c, unigram.c, wordpiece.c: the tokens of one piece */
void bpe_encode(Tokenizer *t, const char *text, int64_t length, Tokens *to);
void unigram_encode(Tokenizer *t, const char *text, int64_t length, Tokens *to);
void wordpiece_encode(Tokenizer *t, const char *text, int64_t length, Tokens *to);

/* bpe.c: merges are added before the first text; tokens of the vocabulary must be set and indexed. */
void bpe_init(Tokenizer *t, int64_t merges);
bool bpe_add(Tokenizer *t, int32_t left, int32_t right, int32_t rank); /* false: their text together is no token */
/* The merges that scores mean: of two neighbours whose text together is a token, the one with the highest score. */
bool bpe_of_scores(Tokenizer *t);
void model_tries(Tokenizer *t); /* UNIGRAM, WORDPIECE */
/* What stands for a text that is not known. */
void model_unknown(const Model *model, const char *text, int64_t length, Tokens *to);
void model_byte_tokens(Model *model); /* finds <0x00> to <0xFF> */

/* vocabulary.c: text of byte-level vocabularies as bytes, no more than it has; false: it has other characters */
bool bytes_of_alphabet(const char *text, int64_t length, char *to, int32_t *count);

/* gguf_tokenizer.c: the name that GGUF files have for how the tokenizer splits a text; NULL: none is known, reported.
 */
const char *gguf_splitter_name(Tokenizer *t, CmprtError *error);
/* Whether it normalizes and splits a text as words in GGUF files are; else reported. */
bool gguf_splits_words(Tokenizer *t, CmprtError *error);

/* tokenizer.c */
Tokenizer *tokenizer_new(const char *path, CmprtError *error);
bool tokenizer_finish(Tokenizer *t); /* after all is set */
/* steps.c: the steps that several kinds of tokenizers share; patterns of ours */
#define PUNCTUATION "[\\p{P}!-/:-@\\[-`{-~]"
Step *steps_add_pattern(Tokenizer *t, Steps *steps, StepKind kind, const char *where, const char *pattern);
bool steps_add_accents(Tokenizer *t); /* takes them away, from text that is taken apart */
bool steps_add_bert(Tokenizer *t, bool cleans, bool spaces_chinese, bool strips_accents, bool is_lower);
bool steps_add_bert_words(Tokenizer *t);

/* json_steps.c: the normalizer, pre-tokenizer and post-processor of a tokenizer.json */
bool json_read_steps(Tokenizer *t, json_t *root);
/* json.c */
const char *member_text(json_t *object, const char *key); /* NULL: it has no such string */
bool member_says(json_t *object, const char *key, bool otherwise);

#endif
