/* SPDX-License-Identifier: MIT
 *
 * gguf_tokenizer.c: a tokenizer from the metadata of a GGUF file: "llama" (merges by
 * scores), "gpt2" (byte-level, a listed pattern), "bert" (words). The file names a
 * pattern instead of holding one, so the names that are known stand here, as its other
 * readers have them.
 */
#include "tokenizer_parts.h"

#include "gguf.h"

#include <stdlib.h>
#include <string.h>

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

#define PREFIX "tokenizer.ggml."
#define SPACE "\xe2\x96\x81"

#define ENDINGS "'s|'t|'re|'ve|'m|'ll|'d"
#define ANY_CASE_ENDINGS "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define BLANKS "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2 ENDINGS "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LATER(digits)                                                                                                  \
	ANY_CASE_ENDINGS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" BLANKS

/* tokenizer.ggml.pre: patterns, one after the other; a piece that is a token is not merged. */
static const struct {
	const char *name, *patterns[4];
	bool whole_first, has_bos;
} splitters[] = {
	{"gpt-2", {GPT2}, false, false},
	{"phi-2", {GPT2}, false, false},
	{"roberta-bpe", {GPT2}, false, false},
	{"mpt", {GPT2}, false, false},
	{"olmo", {GPT2}, false, false},
	{"llama-bpe", {LATER("\\p{N}{1,3}")}, true, true},
	{"llama3", {LATER("\\p{N}{1,3}")}, true, true},
	{"llama-v3", {LATER("\\p{N}{1,3}")}, true, true},
	{"falcon3", {LATER("\\p{N}{1,3}")}, true, true},
	{"dbrx", {LATER("\\p{N}{1,3}")}, false, false},
	{"smaug-bpe", {LATER("\\p{N}{1,3}")}, false, false},
	{"qwen2", {LATER("\\p{N}")}, false, false},
	{"deepseek-r1-qwen", {LATER("\\p{N}")}, false, false},
	{"stablelm2", {LATER("\\p{N}")}, false, false},
	{"starcoder", {"\\p{N}", GPT2}, false, false},
	{"refact", {"\\p{N}", GPT2}, false, false},
	{"command-r", {"\\p{N}", GPT2}, false, false},
	{"smollm", {"\\p{N}", GPT2}, false, false},
	{"codeshell", {"\\p{N}", GPT2}, false, false},
	{"exaone", {"\\p{N}", GPT2}, false, false},
	{"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}, false, false},
};
enum { SPLITTERS = sizeof splitters / sizeof *splitters };

/* What the key says; `otherwise` if it is not there. */
static bool says(const Checkpoint *checkpoint, const char *key, bool otherwise)
{
	const char *value = checkpoint_meta(checkpoint, key);
	return value ? !strcmp(value, "true") : otherwise;
}

static int64_t number_of(const Checkpoint *checkpoint, const char *key, int64_t otherwise)
{
	const char *value = checkpoint_meta(checkpoint, key);
	return value ? strtoll(value, NULL, 10) : otherwise;
}

/* ---- tokens ---- */

static bool read_tokens(Tokenizer *t, const Checkpoint *checkpoint, int32_t **types)
{
	GgufArray texts, scores = {0}, kinds = {0};
	Vocabulary *v = &t->model.vocabulary;
	if (!gguf_array(checkpoint, PREFIX "tokens", "string", &texts))
		return error_set(t->error, t->path, "it has no " PREFIX "tokens");
	gguf_array(checkpoint, PREFIX "scores", "f32", &scores);
	gguf_array(checkpoint, PREFIX "token_type", "i32", &kinds);
	if (!vocabulary_reserve(v, texts.count))
		return error_set(
			t->error, t->path, PREFIX "tokens: %lld, more than %d", (long long)texts.count, TOKENIZER_MAX_TOKENS);
	if ((scores.count && scores.count != texts.count) || (kinds.count && kinds.count != texts.count))
		return error_set(t->error, t->path,
			PREFIX "scores and " PREFIX "token_type are not as many as the tokens, %lld", (long long)texts.count);
	*types = pool_array(t->pool, int32_t, texts.count + 1);
	for (int64_t i = 0; i < texts.count; i++) {
		int64_t length;
		const char *text = gguf_next_text(&texts, &length);
		if (length > INT16_MAX || !text_is_utf8(text, (size_t)length))
			return error_set(t->error, t->path, PREFIX "tokens: %lld is not UTF-8, or longer than %d bytes",
				(long long)i, INT16_MAX);
		v->tokens[i] = (Token){.text = pool_copy(t->pool, text, (size_t)length), .length = (int32_t)length};
		if (scores.count)
			memcpy(&v->tokens[i].score, scores.at + 4 * i, 4);
		(*types)[i] = kinds.count ? (int32_t)gguf_number(kinds.at + 4 * i, 4) : TYPE_NORMAL;
	}
	t->model.size = texts.count;
	return true;
}

/* Tokens that stand for themselves are found in text as they stand, and nowhere else. */
static void take_special(Tokenizer *t, const int32_t *types)
{
	Vocabulary *v = &t->model.vocabulary;
	t->added = pool_array(t->pool, Added, t->model.size + 1);
	for (int64_t i = 0; i < t->model.size; i++) {
		if (types[i] == TYPE_UNKNOWN || types[i] == TYPE_CONTROL || types[i] == TYPE_USER)
			t->added[t->added_count++] =
				(Added){.text = v->tokens[i].text, .length = v->tokens[i].length, .token = (int32_t)i};
		if (types[i] != TYPE_NORMAL && types[i] != TYPE_USER)
			v->tokens[i] = (Token){0};
	}
}

static bool find_special(Tokenizer *t, const Checkpoint *checkpoint, const char *key, int64_t otherwise, int32_t *token)
{
	int64_t id = number_of(checkpoint, key, otherwise);
	*token = (int32_t)id;
	return id < t->model.size ||
		   error_set(t->error, t->path, "%s: token %lld of %lld", key, (long long)id, (long long)t->model.size);
}

/* The tokens that `add_x_token` asks for. */
static bool add_around(Tokenizer *t, const Checkpoint *checkpoint, const char *adds, bool otherwise, const char *key,
	int64_t id, Tokens *to)
{
	int32_t token;
	if (!says(checkpoint, adds, otherwise))
		return true;
	if (!find_special(t, checkpoint, key, id, &token))
		return false;
	if (token >= 0)
		tokens_add(to, token);
	return true;
}

/* ---- "llama" ---- */

static bool read_scored(Tokenizer *t, const Checkpoint *checkpoint, const int32_t *types)
{
	Step *step = steps_add_pattern(t, &t->normalizer, STEP_REPLACE, "blanks", " ");
	if (!step || !find_special(t, checkpoint, PREFIX "unknown_token_id", 0, &t->model.unknown))
		return false;
	step->before = SPACE;
	if (says(checkpoint, PREFIX "add_space_prefix", true)) {
		step = steps_add(t, &t->normalizer, STEP_PREPEND);
		step->before = SPACE;
	}
	vocabulary_index(&t->model.vocabulary);
	t->model.has_bytes = true;
	model_byte_tokens(&t->model);
	take_special(t, types);
	vocabulary_index(&t->model.vocabulary);
	if (!bpe_of_scores(t))
		return error_set(t->error, t->path, PREFIX "tokens: they have more than %d characters", TOKENIZER_MAX_TOKENS);
	return add_around(t, checkpoint, PREFIX "add_bos_token", true, PREFIX "bos_token_id", 1, &t->front) &&
		   add_around(t, checkpoint, PREFIX "add_eos_token", false, PREFIX "eos_token_id", 2, &t->back);
}

/* ---- "gpt2" ---- */

/* Texts of tokens as bytes. */
static void turn_to_bytes(Tokenizer *t)
{
	Vocabulary *v = &t->model.vocabulary;
	for (int64_t i = 0; i < v->count; i++) {
		Token *token = &v->tokens[i];
		char *bytes = token->text ? pool_alloc(t->pool, (size_t)token->length + 1) : NULL;
		if (bytes && bytes_of_alphabet(token->text, token->length, bytes, &token->length))
			token->text = bytes;
		else
			*token = (Token){0};
	}
	t->is_bytes = true;
}

static bool read_merges(Tokenizer *t, const Checkpoint *checkpoint)
{
	GgufArray merges;
	if (!gguf_array(checkpoint, PREFIX "merges", "string", &merges))
		return error_set(t->error, t->path, "it has no " PREFIX "merges");
	bpe_init(t, merges.count);
	for (int64_t i = 0; i < merges.count; i++) {
		int64_t length;
		const char *text = gguf_next_text(&merges, &length);
		const char *gap = length > 1 ? memchr(text + 1, ' ', (size_t)length - 1) : NULL;
		char *bytes = scratch_room(&t->paths, (size_t)length + 1);
		int32_t left = 0, right = 0;
		bool is_good = gap && text_is_utf8(text, (size_t)length) && bytes_of_alphabet(text, gap - text, bytes, &left) &&
					   bytes_of_alphabet(gap + 1, text + length - gap - 1, bytes + left, &right);
		int32_t l = is_good ? vocabulary_find(&t->model.vocabulary, bytes, (size_t)left) : -1;
		int32_t r = is_good ? vocabulary_find(&t->model.vocabulary, bytes + left, (size_t)right) : -1;
		if (l < 0 || r < 0 || !bpe_add(t, l, r, (int32_t)i))
			return error_set(t->error, t->path, PREFIX "merges: %lld, \"%.*s\", is no pair of tokens that make one",
				(long long)i, (int)(length < 200 ? length : 200), text);
	}
	return true;
}

static bool add_splitter(Tokenizer *t, int row)
{
	for (int i = 0; i < 4 && splitters[row].patterns[i]; i++) {
		Step *step = steps_add_pattern(t, &t->splitter, STEP_SPLIT, PREFIX "pre", splitters[row].patterns[i]);
		if (!step)
			return false;
		step->behavior = SPLIT_ISOLATED;
	}
	t->model.bpe.whole_first = splitters[row].whole_first;
	return true;
}

static bool read_byte_level(Tokenizer *t, const Checkpoint *checkpoint, const int32_t *types)
{
	const char *name = checkpoint_meta(checkpoint, PREFIX "pre");
	int row = 0;
	name = name ? name : "default";
	while (row < SPLITTERS && strcmp(splitters[row].name, name) != 0)
		row++;
	if (row == SPLITTERS)
		return error_set(t->error, t->path,
			PREFIX "pre: \"%.100s\" is not known; a tokenizer.json can be named instead: { tokenizer \"PATH\" }", name);
	if (!add_splitter(t, row))
		return false;
	take_special(t, types);
	turn_to_bytes(t);
	vocabulary_index(&t->model.vocabulary);
	return read_merges(t, checkpoint) &&
		   add_around(
			   t, checkpoint, PREFIX "add_bos_token", splitters[row].has_bos, PREFIX "bos_token_id", 11, &t->front) &&
		   add_around(t, checkpoint, PREFIX "add_eos_token", false, PREFIX "eos_token_id", 11, &t->back);
}

/* ---- "bert" ---- */

static bool add_word_steps(Tokenizer *t)
{
	return steps_add_bert(t, true, true, true, true) && steps_add_bert_words(t);
}

/* Beginnings of words are marked here, not what goes on in them. */
static bool read_words(Tokenizer *t, const Checkpoint *checkpoint, const int32_t *types)
{
	if (!add_word_steps(t) || !find_special(t, checkpoint, PREFIX "unknown_token_id", 100, &t->model.unknown))
		return false;
	take_special(t, types);
	vocabulary_index(&t->model.vocabulary);
	model_tries(t);
	t->model.kind = MODEL_WORDPIECE;
	t->model.wordpiece = (Wordpiece){
		.first = trie_walk(&t->model.trie, 0, SPACE, (int64_t)strlen(SPACE)), .later = 0, .longest = INT64_MAX};
	return add_around(t, checkpoint, PREFIX "add_bos_token", true, PREFIX "cls_token_id",
			   number_of(checkpoint, PREFIX "bos_token_id", 101), &t->front) &&
		   add_around(t, checkpoint, PREFIX "add_sep_token", true, PREFIX "seperator_token_id", 102, &t->back);
}

/* ---- the name of a splitter ---- */

/* Where one that is known differs from another, it does so here. */
static const char probe[] =
	"It's what I'LL say: they've 7 of 12, 345 and 67890 things; don't 'RE-do x1y2!?\n\n  two\r\n"
	"\ttab  (a+b)=c^2 $5 <tag>~|.. --- \xc3\xa9t\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82 "
	"\xd9\xa3\xd9\xa4\xd9\xa5\xd9\xa6 \xf0\x9f\x99\x82   end \n ";

/* Pieces of the probe, to t->from. */
static bool split_probe(Tokenizer *t, bool normalizes)
{
	pieces_clear(&t->from);
	if (!pieces_append(t, &t->from, probe, (int64_t)strlen(probe)))
		return false;
	pieces_end(&t->from);
	return (!normalizes || steps_run(t, &t->normalizer, true)) && steps_run(t, &t->splitter, true);
}

static bool same_pieces(const Pieces *a, const Pieces *b)
{
	return a->count == b->count && a->end_count == b->end_count && !memcmp(a->text, b->text, (size_t)a->count) &&
		   !memcmp(a->ends, b->ends, sizeof *a->ends * (size_t)a->end_count);
}

const char *gguf_splitter_name(Tokenizer *t, CmprtError *error)
{
	const char *found = NULL;
	t->error = error;
	if (!split_probe(t, false))
		return NULL;
	for (int row = 0; row < SPLITTERS && !found; row++) {
		Tokenizer *other = tokenizer_new(t->path, error);
		if (splitters[row].whole_first == t->model.bpe.whole_first && add_splitter(other, row) &&
			split_probe(other, false) && same_pieces(&t->from, &other->from))
			found = splitters[row].name;
		tokenizer_close(other);
	}
	if (!found)
		error_set(error, t->path, "pre_tokenizer: GGUF files have no name for how it splits a text, among those known");
	return found;
}

bool gguf_splits_words(Tokenizer *t, CmprtError *error)
{
	Tokenizer *other = tokenizer_new(t->path, error);
	t->error = error;
	bool is_split = add_word_steps(other) && split_probe(t, true) && split_probe(other, true);
	if (is_split && !same_pieces(&t->from, &other->from))
		is_split = error_set(error, t->path,
			"normalizer and pre_tokenizer: GGUF files have words without case and accents only, split as "
			"BertPreTokenizer does");
	tokenizer_close(other);
	return is_split;
}

/* ---- which ---- */

static const struct {
	const char *name;
	bool (*read)(Tokenizer *t, const Checkpoint *checkpoint, const int32_t *types);
} models[] = {
	{"llama", read_scored},
	{"gpt2", read_byte_level},
	{"bert", read_words},
};

static bool read_model(Tokenizer *t, const Checkpoint *checkpoint)
{
	const char *name = checkpoint_meta(checkpoint, PREFIX "model");
	int32_t *types = NULL;
	for (size_t i = 0; i < sizeof models / sizeof *models; i++)
		if (!strcmp(models[i].name, name))
			return read_tokens(t, checkpoint, &types) && models[i].read(t, checkpoint, types) && tokenizer_finish(t);
	return error_set(t->error, t->path,
		PREFIX "model: \"%.100s\", known are llama, gpt2 and bert; a tokenizer.json can be named instead: "
			   "{ tokenizer \"PATH\" }",
		name);
}

Tokenizer *tokenizer_of_checkpoint(const Checkpoint *checkpoint, CmprtError *error)
{
	if (checkpoint->format != &format_gguf || !checkpoint_meta(checkpoint, PREFIX "model")) {
		Pool *pool = pool_new();
		const char *folder = checkpoint->is_folder ? checkpoint->path : path_folder(pool, checkpoint->path);
		const char *file = path_in_folder(pool, folder, "tokenizer.json");
		Tokenizer *found = NULL;
		if (file_is_there(file))
			found = tokenizer_open(file, error);
		else
			error_set(error, file, "is not there, and the model has no tokenizer in it; say { tokenizer \"PATH\" }");
		pool_free(pool);
		return found;
	}
	Tokenizer *t = tokenizer_new(checkpoint->path, error);
	if (read_model(t, checkpoint))
		return t;
	tokenizer_close(t);
	return NULL;
}
