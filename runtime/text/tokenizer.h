/* SPDX-License-Identifier: MIT
 *
 * tokenizer.h: text to tokens as the model's own tokenizer makes them. A tokenizer
 * is read from a tokenizer.json or from the metadata of a GGUF file; every length,
 * number and pattern in them is checked when it is opened, so encoding fails on the
 * text alone (it is not UTF-8, a pattern runs away on it).
 *
 * Whatever reports an error returns false (or NULL) and has filled `error`.
 */
#ifndef CMPRT_TOKENIZER_H
#define CMPRT_TOKENIZER_H

#include "format.h"

typedef struct Tokenizer Tokenizer;

/* Numbers of tokens, one after the other: begin with {0}, free `at`. */
typedef struct Tokens {
	int32_t *at;
	int64_t count, capacity;
} Tokens;

/* A tokenizer.json, or a folder that holds one. */
Tokenizer *tokenizer_open(const char *path, CmprtError *error);
/* The text of a tokenizer.json; path is for messages. */
Tokenizer *tokenizer_read(const char *path, const char *text, size_t count, CmprtError *error);
/* That of a checkpoint: its metadata, or the tokenizer.json beside its tensors. */
Tokenizer *tokenizer_of_checkpoint(const Checkpoint *checkpoint, CmprtError *error);
void tokenizer_close(Tokenizer *tokenizer); /* NULL: nothing */

/* Appends the tokens of a text, without those that the tokenizer puts around one. name: of the text, for messages. */
bool tokenizer_encode(
	Tokenizer *tokenizer, const char *name, const char *text, int64_t count, Tokens *to, CmprtError *error);
/* What the tokenizer puts in front of a text and behind it: beginning and end, or class and separator. */
const Tokens *tokenizer_front(const Tokenizer *tokenizer);
const Tokens *tokenizer_back(const Tokenizer *tokenizer);
int64_t tokenizer_size(const Tokenizer *tokenizer); /* tokens are below it */
const char *tokenizer_path(const Tokenizer *tokenizer);

/* What a GGUF file says of a tokenizer; arrays have the types "[string]", "[f32]", "[i32]" and are JSON. */
enum { TOKENIZER_MOST_META = 24 };
typedef struct TokenizerMeta {
	int64_t count;
	CkMeta at[TOKENIZER_MOST_META];
} TokenizerMeta;

/* gguf_vocabulary.c: of the tokenizer.json of a folder, for a model with so many tokens; none if there is no such file.
 * config: the text of its config.json, or NULL. What it says lies in the pool. */
bool tokenizer_metadata(
	const char *folder, const char *config, int64_t count, Pool *pool, TokenizerMeta *to, CmprtError *error);

void tokens_add(Tokens *tokens, int32_t token);

#endif
