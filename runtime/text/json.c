/* SPDX-License-Identifier: MIT
 *
 * json.c: a tokenizer.json as the Hugging Face library writes it: its model, its
 * added tokens; the steps around them are json_steps.c's. What the file asks for and
 * is not known here is refused by name, as other tokens than the model's own would be
 * worse than none.
 */
#include "tokenizer_parts.h"

#include <math.h>
#include <string.h>

#define MODEL_NEEDS(condition, ...)                                                                                    \
	if (!(condition))                                                                                                  \
	return error_set(t->error, t->path, __VA_ARGS__)

const char *member_text(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value)
			   ? json_string_value(value)
			   : NULL;
}

bool member_says(json_t *object, const char *key, bool otherwise)
{
	json_t *value = json_object_get(object, key);
	return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

static bool is_id(const json_t *value)
{
	return json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) < TOKENIZER_MAX_TOKENS;
}

/* ---- vocabularies ---- */

static bool set_token(Tokenizer *t, int64_t id, const char *text, size_t length, double score)
{
	Vocabulary *v = &t->model.vocabulary;
	MODEL_NEEDS(vocabulary_reserve(v, id + 1), "model: more than %d tokens", TOKENIZER_MAX_TOKENS);
	Token token = {pool_copy(t->pool, text, length), (int32_t)length, (float)score};
	char *bytes = (char *)(uintptr_t)token.text;
	/* what has other characters than those of bytes is never found in text, unless it is an added token */
	if (t->is_bytes && !bytes_of_alphabet(text, (int64_t)length, bytes, &token.length))
		token = (Token){0};
	MODEL_NEEDS(!v->tokens[id].text, "model: token %lld stands twice in the vocabulary", (long long)id);
	v->tokens[id] = token;
	return true;
}

/* { "text": number } */
static bool read_named(Tokenizer *t, json_t *vocabulary)
{
	const char *text;
	size_t length;
	json_t *id;
	MODEL_NEEDS(json_is_object(vocabulary), "model: it has no vocabulary of texts and their numbers");
	json_object_keylen_foreach(vocabulary, text, length, id)
	{
		MODEL_NEEDS(is_id(id), "model: token \"%.100s\" has no number from 0 to %d", text, TOKENIZER_MAX_TOKENS - 1);
		if (!set_token(t, json_integer_value(id), text, length, 0))
			return false;
	}
	return true;
}

/* [["text", score]] */
static bool read_scored(Tokenizer *t, json_t *vocabulary)
{
	size_t i;
	json_t *row;
	double least = INFINITY;
	MODEL_NEEDS(json_is_array(vocabulary), "model: it has no vocabulary of texts and their scores");
	json_array_foreach(vocabulary, i, row)
	{
		json_t *text = json_array_get(row, 0), *score = json_array_get(row, 1);
		MODEL_NEEDS(json_is_string(text) && json_is_number(score), "model: token %zu is no text with a score", i);
		if (!set_token(t, (int64_t)i, json_string_value(text), json_string_length(text), json_number_value(score)))
			return false;
		least = fmin(least, json_number_value(score));
	}
	t->model.unknown_score = (float)(least - 10);
	return true;
}

/* ---- models ---- */

static bool read_unknown(Tokenizer *t, json_t *model, bool is_needed)
{
	const char *unknown = member_text(model, "unk_token");
	json_t *id = unknown ? json_object_get(json_object_get(model, "vocab"), unknown) : NULL;
	MODEL_NEEDS(!unknown || is_id(id), "model: its unknown token \"%.100s\" is not in the vocabulary", unknown);
	MODEL_NEEDS(unknown || !is_needed, "model: it has no unk_token");
	t->model.unknown = id ? (int32_t)json_integer_value(id) : -1;
	return true;
}

/* One side of a merge; -1: it is no token. */
static int32_t find_side(Tokenizer *t, const char *text, size_t length)
{
	int32_t count;
	char *bytes = scratch_room(&t->paths, length + 1);
	if (!t->is_bytes)
		return vocabulary_find(&t->model.vocabulary, text, length);
	return bytes_of_alphabet(text, (int64_t)length, bytes, &count)
			   ? vocabulary_find(&t->model.vocabulary, bytes, (size_t)count)
			   : -1;
}

/* "a b", or ["a", "b"] */
static bool read_merge(Tokenizer *t, json_t *merge, size_t number)
{
	const char *left = json_string_value(json_is_array(merge) ? json_array_get(merge, 0) : merge), *right = NULL;
	size_t left_length = 0, right_length = 0;
	if (json_is_array(merge) && json_array_size(merge) == 2 && left) {
		right = json_string_value(json_array_get(merge, 1));
		left_length = json_string_length(json_array_get(merge, 0));
		right_length = json_string_length(json_array_get(merge, 1));
	} else if (json_is_string(merge)) {
		const char *gap = memchr(left, ' ', json_string_length(merge));
		left_length = gap ? (size_t)(gap - left) : 0;
		right = gap ? gap + 1 : NULL;
		right_length = gap ? json_string_length(merge) - left_length - 1 : 0;
	}
	MODEL_NEEDS(left && right, "model: merge %zu is no pair of texts", number);
	int32_t l = find_side(t, left, left_length), r = find_side(t, right, right_length);
	MODEL_NEEDS(l >= 0 && r >= 0, "model: merge %zu: \"%.*s\" is not in the vocabulary", number,
		(int)(l < 0 ? left_length : right_length), l < 0 ? left : right);
	MODEL_NEEDS(bpe_add(t, l, r, (int32_t)number), "model: merge %zu: \"%.*s\" and \"%.*s\" together are no token",
		number, (int)left_length, left, (int)right_length, right);
	return true;
}

static bool read_bpe(Tokenizer *t, json_t *model)
{
	json_t *merges = json_object_get(model, "merges"), *merge;
	Model *to = &t->model;
	size_t i;
	if (!read_named(t, json_object_get(model, "vocab")) || !read_unknown(t, model, false))
		return false;
	MODEL_NEEDS(json_number_value(json_object_get(model, "dropout")) == 0,
		"model: with a dropout it makes other tokens each time; set it to null");
	MODEL_NEEDS(json_is_array(merges) && json_array_size(merges) < INT32_MAX, "model: it has no list of merges");
	to->kind = MODEL_BPE;
	to->fuses_unknown = member_says(model, "fuse_unk", false);
	to->has_bytes = member_says(model, "byte_fallback", false);
	const char *prefix = member_text(model, "continuing_subword_prefix"),
			   *suffix = member_text(model, "end_of_word_suffix");
	to->bpe.prefix = prefix ? pool_copy(t->pool, prefix, strlen(prefix)) : NULL;
	to->bpe.suffix = suffix ? pool_copy(t->pool, suffix, strlen(suffix)) : NULL;
	to->bpe.whole_first = member_says(model, "ignore_merges", false);
	vocabulary_index(&to->vocabulary);
	bpe_init(t, (int64_t)json_array_size(merges));
	json_array_foreach(merges, i, merge) if (!read_merge(t, merge, i)) return false;
	return true;
}

static bool read_unigram(Tokenizer *t, json_t *model)
{
	json_t *unknown = json_object_get(model, "unk_id");
	Model *to = &t->model;
	if (!read_scored(t, json_object_get(model, "vocab")))
		return false;
	MODEL_NEEDS(
		!unknown || json_is_null(unknown) || (is_id(unknown) && json_integer_value(unknown) < to->vocabulary.count),
		"model: unk_id is no token of the vocabulary");
	to->kind = MODEL_UNIGRAM;
	to->unknown = json_is_integer(unknown) ? (int32_t)json_integer_value(unknown) : -1;
	to->fuses_unknown = true;
	to->has_bytes = member_says(model, "byte_fallback", false);
	vocabulary_index(&to->vocabulary);
	model_tries(t);
	return true;
}

static bool read_wordpiece(Tokenizer *t, json_t *model)
{
	json_t *longest = json_object_get(model, "max_input_chars_per_word");
	const char *prefix = member_text(model, "continuing_subword_prefix");
	Model *to = &t->model;
	if (!read_named(t, json_object_get(model, "vocab")) || !read_unknown(t, model, true))
		return false;
	to->kind = MODEL_WORDPIECE;
	vocabulary_index(&to->vocabulary);
	model_tries(t);
	prefix = prefix ? prefix : "##";
	to->wordpiece = (Wordpiece){.longest = json_is_integer(longest) ? json_integer_value(longest) : 100,
		.later = trie_walk(&to->trie, 0, prefix, (int64_t)strlen(prefix))};
	return true;
}

static const struct {
	const char *name;
	bool (*read)(Tokenizer *t, json_t *model);
} models[] = {
	{"BPE", read_bpe},
	{"Unigram", read_unigram},
	{"WordPiece", read_wordpiece},
};

static bool read_model(Tokenizer *t, json_t *root)
{
	json_t *model = json_object_get(root, "model");
	const char *type = member_text(model, "type");
	MODEL_NEEDS(json_is_object(model), "it has no model");
	type = type ? type : json_object_get(model, "merges") ? "BPE" : "";
	for (size_t i = 0; i < sizeof models / sizeof *models; i++)
		if (!strcmp(models[i].name, type)) {
			bool is_read = models[i].read(t, model);
			t->model.size = t->model.vocabulary.count;
			if (is_read)
				model_byte_tokens(&t->model);
			return is_read;
		}
	return error_set(t->error, t->path, "model: its type is \"%.100s\", known are BPE, Unigram and WordPiece", type);
}

/* ---- added tokens ---- */

static bool read_added(Tokenizer *t, json_t *root)
{
	json_t *list = json_object_get(root, "added_tokens"), *row;
	size_t i;
	t->added = pool_array(t->pool, Added, json_array_size(list) + 1);
	json_array_foreach(list, i, row)
	{
		json_t *id = json_object_get(row, "id"), *content = json_object_get(row, "content");
		MODEL_NEEDS(is_id(id) && json_is_string(content), "added token %zu: no content with an id from 0 to %d", i,
			TOKENIZER_MAX_TOKENS - 1);
		t->added[t->added_count++] = (Added){
			.text = pool_copy(t->pool, json_string_value(content), json_string_length(content)),
			.length = (int32_t)json_string_length(content),
			.token = (int32_t)json_integer_value(id),
			.is_word = member_says(row, "single_word", false),
			.strips_left = member_says(row, "lstrip", false),
			.strips_right = member_says(row, "rstrip", false),
			.is_normalized = member_says(row, "normalized", false),
		};
	}
	return true;
}

Tokenizer *tokenizer_read(const char *path, const char *text, size_t count, CmprtError *error)
{
	json_error_t problem;
	json_t *root = json_loadb(text, count, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
	if (!json_is_object(root)) {
		if (root)
			error_set(error, path, "is no JSON object");
		else
			error_set(error, path, "line %d: %s", problem.line, problem.text);
		json_decref(root);
		return NULL;
	}
	Tokenizer *t = tokenizer_new(path, error);
	bool is_read = json_read_steps(t, root) && read_model(t, root) && read_added(t, root) && tokenizer_finish(t);
	json_decref(root);
	if (!is_read) {
		tokenizer_close(t);
		t = NULL;
	}
	return t;
}

Tokenizer *tokenizer_open(const char *path, CmprtError *error)
{
	Pool *pool = pool_new();
	int64_t count;
	const char *file = path_is_folder(path) ? path_in_folder(pool, path, "tokenizer.json") : path;
	char *text = file_text(pool, file, TOKENIZER_MAX_FILE, &count, error);
	Tokenizer *t = text ? tokenizer_read(file, text, (size_t)count, error) : NULL;
	pool_free(pool);
	return t;
}
