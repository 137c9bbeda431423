/* SPDX-License-Identifier: MIT
 *
 * gguf_vocabulary.c: what a GGUF file says of a tokenizer, made of the tokenizer.json
 * of a folder and the tokenizer_config.json and config.json beside it. Byte pair
 * encodings have a form there: of bytes ("gpt2": merges, and the name of a pattern),
 * and of characters with bytes for those that are not known ("llama": scores, the
 * earlier a token's merge the higher). So have words, without case and accents ("bert":
 * beginnings of words are marked, not what goes on in them). Any other tokenizer is refused by name.
 */
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

#define PREFIX "tokenizer.ggml."
#define SPACE "\xe2\x96\x81"

/* What is at hand while the metadata are made. */
typedef struct Vocabularian {
	Pool *pool;
	const char *folder;
	Tokenizer *t;
	json_t *root, *settings, *config; /* tokenizer.json, tokenizer_config.json or NULL, config.json or NULL */
	int64_t count;                    /* of tokens */
	json_t *texts, *types;            /* arrays of so many */
	TokenizerMeta *to;
	CmprtError *error;
} Vocabularian;

static void add(Vocabularian *v, const char *key, const char *type, const char *value)
{
	CkMeta *meta = &v->to->at[v->to->count++];
	*meta = (CkMeta){pool_copy(v->pool, key, strlen(key)), type, pool_copy(v->pool, value, strlen(value))};
}

static void add_bool(Vocabularian *v, const char *key, bool value)
{
	add(v, key, "bool", value ? "true" : "false");
}

/* takes: the array */
static void add_array(Vocabularian *v, const char *key, const char *type, json_t *array)
{
	json_free_t free_text;
	char *text = json_dumps(array, JSON_COMPACT);
	json_get_alloc_funcs(NULL, &free_text);
	add(v, key, type, text ? text : "[]");
	free_text(text);
	json_decref(array);
}

/* ---- tokens ---- */

static bool set_token(Vocabularian *v, json_int_t id, json_t *text, int type)
{
	if (id >= v->count)
		return error_set(v->error, v->t->path,
			"token \"%.100s\" has the number %lld, but the model's embedding has %lld rows", json_string_value(text),
			(long long)id, (long long)v->count);
	json_array_set(v->texts, (size_t)id, text);
	json_array_set_new(v->types, (size_t)id, json_integer(type));
	return true;
}

static bool is_byte(const char *text)
{
	return strlen(text) == 6 && !strncmp(text, "<0x", 3) && strspn(text + 3, "0123456789abcdefABCDEF") == 2 &&
		   text[5] == '>';
}

/* Numbers that no token has get a text that nobody writes. */
static void fill_unused(Vocabularian *v)
{
	for (int64_t i = 0; i < v->count; i++) {
		char text[32];
		snprintf(text, sizeof text, "[PAD%lld]", (long long)i);
		json_array_append_new(v->texts, json_string(text));
		json_array_append_new(v->types, json_integer(TYPE_UNUSED));
	}
}

/* An added token that is no special one stands for its text, blanks as they are. */
static json_t *text_of_added(const char *text)
{
	json_t *out;
	Pool *pool = pool_new();
	Bytes plain = {pool, NULL, 0, 0};
	for (const char *space; (space = strstr(text, SPACE)); text = space + strlen(SPACE)) {
		bytes_append(&plain, text, (size_t)(space - text));
		bytes_text(&plain, " ");
	}
	bytes_text(&plain, text);
	out = json_string(plain.at);
	pool_free(pool);
	return out;
}

/* A piece of a word without its prefix, the beginning of one behind a blank; special tokens as they are. */
static json_t *text_of_piece(const Vocabularian *v, const char *text)
{
	const char *given = member_text(json_object_get(v->root, "model"), "continuing_subword_prefix");
	const char *prefix = given ? given : "##";
	size_t length = strlen(text);
	if (length > 1 && *text == '[' && text[length - 1] == ']')
		return json_string(text);
	if (!strncmp(text, prefix, strlen(prefix)))
		return json_string(text + strlen(prefix));
	return json_pack("s+", SPACE, text);
}

static bool add_tokens(Vocabularian *v, bool has_bytes)
{
	const char *text;
	json_t *id, *row, *model = json_object_get(v->root, "model");
	bool are_words = v->t->model.kind == MODEL_WORDPIECE;
	size_t i;
	v->texts = json_array();
	v->types = json_array();
	fill_unused(v);
	json_object_foreach(json_object_get(model, "vocab"), text, id)
	{
		json_t *key = are_words ? text_of_piece(v, text) : json_string(text);
		bool is_set = set_token(v, json_integer_value(id), key, has_bytes && is_byte(text) ? TYPE_BYTE : TYPE_NORMAL);
		json_decref(key);
		if (!is_set)
			return false;
	}
	json_array_foreach(json_object_get(v->root, "added_tokens"), i, row)
	{
		bool is_special = member_says(row, "special", false);
		json_int_t number = json_integer_value(json_object_get(row, "id"));
		const char *content = member_text(row, "content");
		json_t *plain = is_special ? json_string(content ? content : "") : text_of_added(content ? content : "");
		bool is_unknown = has_bytes && number == v->t->model.unknown;
		bool is_set = set_token(v, number, plain, is_unknown ? TYPE_UNKNOWN : is_special ? TYPE_CONTROL : TYPE_USER);
		json_decref(plain);
		if (!is_set)
			return false;
	}
	return true;
}

/* ---- merges and scores ---- */

/* The two sides of a merge, which the tokenizer's reader has seen: "a b" or ["a", "b"]. */
static void sides_of(json_t *merge, const char **left, size_t *left_length, const char **right, size_t *right_length)
{
	if (json_is_array(merge)) {
		*left = json_string_value(json_array_get(merge, 0));
		*right = json_string_value(json_array_get(merge, 1));
		*left_length = json_string_length(json_array_get(merge, 0));
		*right_length = json_string_length(json_array_get(merge, 1));
		return;
	}
	*left = json_string_value(merge);
	*left_length = strcspn(*left, " ");
	*right = *left + *left_length + 1;
	*right_length = json_string_length(merge) - *left_length - 1;
}

/* A blank inside a side, as the alphabet of bytes writes it. */
static void append_side(Bytes *to, const char *side, size_t length)
{
	for (size_t i = 0; i < length; i++)
		bytes_append(to, side[i] == ' ' ? "\xc4\xa0" : side + i, side[i] == ' ' ? 2 : 1);
}

static void add_merges(Vocabularian *v, json_t *merges)
{
	json_t *merge, *out = json_array();
	size_t i, left_length, right_length;
	const char *left, *right;
	Bytes text = {v->pool, NULL, 0, 0};
	json_array_foreach(merges, i, merge)
	{
		text.count = 0;
		sides_of(merge, &left, &left_length, &right, &right_length);
		append_side(&text, left, left_length);
		bytes_text(&text, " ");
		append_side(&text, right, right_length);
		json_array_append_new(out, json_stringn(text.at, text.count));
	}
	add_array(v, PREFIX "merges", "[string]", out);
}

/* A token that two others make has the number of the first such merge, below zero; one that none makes comes last. */
static void add_scores(Vocabularian *v, json_t *vocabulary, json_t *merges)
{
	json_t *merge, *out = json_array();
	size_t i, left_length, right_length;
	const char *left, *right;
	double last = -(double)json_array_size(merges) - 1;
	for (int64_t k = 0; k < v->count; k++) {
		bool is_normal = json_integer_value(json_array_get(v->types, (size_t)k)) == TYPE_NORMAL;
		json_array_append_new(out, json_real(is_normal ? last : 0));
	}
	json_array_foreach(merges, i, merge)
	{
		sides_of(merge, &left, &left_length, &right, &right_length);
		char *made = scratch_room(&v->t->paths, left_length + right_length + 1);
		memcpy(made, left, left_length);
		memcpy(made + left_length, right, right_length);
		made[left_length + right_length] = 0;
		json_t *id = json_object_get(vocabulary, made);
		size_t number = (size_t)json_integer_value(id);
		if (id && json_real_value(json_array_get(out, number)) == last)
			json_array_set_new(out, number, json_real(-(double)i));
	}
	add_array(v, PREFIX "scores", "[f32]", out);
}

/* ---- special tokens ---- */

/* {"content": text} or the text itself */
static const char *content_of(json_t *entry)
{
	return json_is_object(entry)   ? member_text(entry, "content")
		   : json_is_string(entry) ? json_string_value(entry)
								   : NULL;
}

static int64_t find_added_token(Vocabularian *v, const char *text)
{
	size_t i;
	json_t *row;
	json_array_foreach(json_object_get(v->root, "added_tokens"), i, row)
	{
		const char *content = member_text(row, "content");
		if (text && content && !strcmp(content, text))
			return json_integer_value(json_object_get(row, "id"));
	}
	return -1;
}

/* -1: nobody says. */
static int64_t special_id(Vocabularian *v, const char *kind)
{
	char key[32];
	snprintf(key, sizeof key, "%s_token", kind);
	int64_t id = find_added_token(v, content_of(json_object_get(v->settings, key)));
	snprintf(key, sizeof key, "%s_token_id", kind);
	json_t *number = json_object_get(v->config, key);
	if (id < 0 && json_is_integer(number) && json_integer_value(number) < v->count)
		id = json_integer_value(number);
	return id;
}

static bool add_special(Vocabularian *v, const char *kind, bool otherwise)
{
	char key[32];
	snprintf(key, sizeof key, "add_%s_token", kind);
	return member_says(v->settings, key, otherwise);
}

static void add_specials(Vocabularian *v)
{
	/* the separator's key is written so by all who read it */
	const Tokens *front = &v->t->front, *back = &v->t->back, none = {0};
	bool are_words = v->t->model.kind == MODEL_WORDPIECE;
	const struct {
		const char *kind, *key;
		const Tokens *otherwise; /* the first of these */
	} kinds[] = {{"bos", PREFIX "bos_token_id", front}, {"eos", PREFIX "eos_token_id", back},
		{"unk", PREFIX "unknown_token_id", &none}, {"sep", PREFIX "seperator_token_id", are_words ? back : &none},
		{"pad", PREFIX "padding_token_id", &none}, {"cls", PREFIX "cls_token_id", are_words ? front : &none},
		{"mask", PREFIX "mask_token_id", &none}};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		int64_t id = special_id(v, kinds[i].kind);
		if (id < 0 && kinds[i].otherwise->count)
			id = kinds[i].otherwise->at[0];
		if (id < 0 && !strcmp(kinds[i].kind, "unk"))
			id = v->t->model.unknown;
		char number[24];
		snprintf(number, sizeof number, "%lld", (long long)id);
		if (id >= 0)
			add(v, kinds[i].key, "u32", number);
	}
	add_bool(v, PREFIX "add_bos_token", add_special(v, "bos", front->count > 0));
	add_bool(v, PREFIX "add_eos_token", add_special(v, "eos", back->count > 0));
}

/* One text, a list of them with names, or a file of its own. False: error. */
static bool add_template(Vocabularian *v)
{
	json_t *given = json_object_get(v->settings, "chat_template"), *row;
	const char *text = json_is_string(given) ? json_string_value(given) : NULL;
	const char *file = path_in_folder(v->pool, v->folder, "chat_template.jinja");
	size_t i;
	int64_t bytes;
	json_array_foreach(given, i, row)
	{
		const char *name = member_text(row, "name");
		if (name && !strcmp(name, "default"))
			text = member_text(row, "template");
	}
	if (!text && file_is_there(file) && !(text = file_text(v->pool, file, JSON_MAX_FILE, &bytes, v->error)))
		return false;
	if (text && !text_is_utf8(text, strlen(text)))
		return error_set(v->error, file, "is not UTF-8 text");
	if (text)
		add(v, "tokenizer.chat_template", "string", text);
	return true;
}

/* ---- which ---- */

static bool prepends_space(const Tokenizer *t)
{
	const Steps *all[] = {&t->normalizer, &t->splitter};
	for (int k = 0; k < 2; k++)
		for (int64_t i = 0; i < all[k]->count; i++)
			if (all[k]->at[i].kind == STEP_PREPEND)
				return true;
	return false;
}

static bool add_model(Vocabularian *v)
{
	Tokenizer *t = v->t;
	json_t *model = json_object_get(v->root, "model"), *merges = json_object_get(model, "merges");
	bool is_scored = t->model.kind == MODEL_BPE && !t->is_bytes && t->model.has_bytes;
	bool is_merged = t->model.kind == MODEL_BPE && t->is_bytes, are_words = t->model.kind == MODEL_WORDPIECE;
	if (!is_scored && !is_merged && !are_words)
		return error_set(v->error, t->path,
			"has no form in GGUF: a BPE of bytes has, a BPE of characters with byte_fallback, and WordPiece");
	if (are_words && !gguf_splits_words(t, v->error))
		return false;
	const char *splitter = is_merged ? gguf_splitter_name(t, v->error) : "default";
	if (!splitter || !add_tokens(v, is_scored))
		return false;
	add(v, PREFIX "model", "string", is_scored ? "llama" : are_words ? "bert" : "gpt2");
	add(v, PREFIX "pre", "string", splitter);
	add_array(v, PREFIX "tokens", "[string]", json_incref(v->texts));
	if (is_scored)
		add_scores(v, json_object_get(model, "vocab"), merges);
	add_array(v, PREFIX "token_type", "[i32]", json_incref(v->types));
	if (is_merged)
		add_merges(v, merges);
	add_specials(v);
	if (is_scored)
		add_bool(v, PREFIX "add_space_prefix", prepends_space(t));
	return add_template(v);
}

/* NULL: it is not there, or `error` says what is wrong with it. */
static json_t *load(Pool *pool, const char *path, CmprtError *error)
{
	int64_t bytes;
	json_error_t reason;
	*error->text = 0;
	if (!file_is_there(path))
		return NULL;
	char *text = file_text(pool, path, TOKENIZER_MAX_FILE, &bytes, error);
	json_t *root = text ? json_loadb(text, (size_t)bytes, JSON_REJECT_DUPLICATES, &reason) : NULL;
	if (text && !json_is_object(root)) {
		error_set(error, path, "line %d: %s", root ? 1 : reason.line, root ? "is no JSON object" : reason.text);
		json_decref(root);
		root = NULL;
	}
	return root;
}

bool tokenizer_metadata(
	const char *folder, const char *config, int64_t count, Pool *pool, TokenizerMeta *to, CmprtError *error)
{
	const char *path = path_in_folder(pool, folder, "tokenizer.json");
	Vocabularian v = {.pool = pool, .folder = folder, .count = count, .to = to, .error = error};
	to->count = 0;
	v.root = load(pool, path, error);
	bool is_done = !*error->text;
	if (v.root) {
		v.settings = load(pool, path_in_folder(pool, folder, "tokenizer_config.json"), error);
		is_done = !*error->text && (v.t = tokenizer_open(path, error));
		v.config = config ? json_loads(config, 0, NULL) : NULL;
		is_done = is_done && add_model(&v);
	}
	tokenizer_close(v.t);
	json_decref(v.root);
	json_decref(v.settings);
	json_decref(v.config);
	json_decref(v.texts);
	json_decref(v.types);
	return is_done;
}
