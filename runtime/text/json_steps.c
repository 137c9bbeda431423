/* SPDX-License-Identifier: MIT
 *
 * json_steps.c: the normalizer, the pre-tokenizer and the post-processor of a
 * tokenizer.json, as steps and as tokens around a text.
 */
#include "tokenizer_parts.h"

#include <string.h>

typedef bool Reader(Tokenizer *t, json_t *from);

typedef struct Row {
	const char *type;
	Reader *read;
} Row;

static const char byte_level_pattern[] =
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static bool refuse(Tokenizer *t, const char *what, const char *why)
{
	return error_set(t->error, t->path, "%s: %s", what, why);
}

static const char *copy_text(Tokenizer *t, json_t *from, const char *key)
{
	const char *text = member_text(from, key);
	return text ? pool_copy(t->pool, text, strlen(text)) : NULL;
}

/* The reader of an object's type; a null has nothing to read. */
static bool read_by_type(Tokenizer *t, json_t *from, const char *what, const Row *rows, size_t count)
{
	const char *type = member_text(from, "type");
	if (!from || json_is_null(from))
		return true;
	for (size_t i = 0; i < count; i++)
		if (type && !strcmp(rows[i].type, type))
			return rows[i].read(t, from);
	return error_set(t->error, t->path, "%s: the type \"%.100s\" is not known", what, type ? type : "");
}

/* { "String": s } or { "Regex": s } */
static pcre2_code *read_pattern(Tokenizer *t, json_t *from, const char *what)
{
	json_t *pattern = json_object_get(from, "pattern");
	json_t *text = json_object_get(pattern, "String"), *regex = json_object_get(pattern, "Regex");
	json_t *either = text ? text : regex;
	if (json_is_string(either) && json_string_length(either))
		return pattern_compile(t, what, json_string_value(either), json_string_length(either), text != NULL);
	refuse(t, what, "it has no pattern");
	return NULL;
}

static Step *add_step(Tokenizer *t, Steps *steps, StepKind kind, pcre2_code *pattern)
{
	Step *step = pattern ? steps_add(t, steps, kind) : NULL;
	if (step)
		step->pattern = pattern;
	return step;
}

/* ---- normalizers ---- */

static Reader read_normalizer;

static bool read_normalizers(Tokenizer *t, json_t *from)
{
	size_t i;
	json_t *one;
	json_array_foreach(json_object_get(from, "normalizers"), i, one) if (!read_normalizer(t, one)) return false;
	return true;
}

static bool read_prepend(Tokenizer *t, json_t *from)
{
	const char *text = copy_text(t, from, "prepend");
	if (!text)
		return refuse(t, "normalizer Prepend", "it has no text");
	steps_add(t, &t->normalizer, STEP_PREPEND)->before = text;
	return true;
}

static bool read_replace(Tokenizer *t, json_t *from)
{
	const char *content = copy_text(t, from, "content");
	if (!content)
		return refuse(t, "normalizer Replace", "it has no content");
	Step *step = add_step(t, &t->normalizer, STEP_REPLACE, read_pattern(t, from, "normalizer Replace"));
	if (step)
		step->before = content;
	return step != NULL;
}

static bool read_lowercase(Tokenizer *t, json_t *from)
{
	(void)from;
	steps_add(t, &t->normalizer, STEP_LOWERCASE);
	return true;
}

static bool read_decompose(Tokenizer *t, json_t *from)
{
	(void)from;
	steps_add(t, &t->normalizer, STEP_DECOMPOSE);
	return true;
}

static bool read_compose(Tokenizer *t, json_t *from)
{
	(void)from;
	steps_add(t, &t->normalizer, STEP_COMPOSE);
	return true;
}

static bool read_accents(Tokenizer *t, json_t *from)
{
	(void)from;
	return steps_add_accents(t);
}

static bool read_strip(Tokenizer *t, json_t *from)
{
	if (member_says(from, "strip_left", true) &&
		!steps_add_pattern(t, &t->normalizer, STEP_REPLACE, "normalizer Strip", "\\A\\s+"))
		return false;
	return !member_says(from, "strip_right", true) ||
		   steps_add_pattern(t, &t->normalizer, STEP_REPLACE, "normalizer Strip", "(?<!\\s)\\s+\\z");
}

static bool read_bert(Tokenizer *t, json_t *from)
{
	bool is_lower = member_says(from, "lowercase", true);
	return steps_add_bert(t, member_says(from, "clean_text", true), member_says(from, "handle_chinese_chars", true),
		member_says(from, "strip_accents", is_lower), is_lower);
}

static bool read_normalizer(Tokenizer *t, json_t *from)
{
	static const Row rows[] = {
		{"Sequence", read_normalizers},
		{"Prepend", read_prepend},
		{"Replace", read_replace},
		{"Lowercase", read_lowercase},
		{"NFC", read_compose},
		{"NFD", read_decompose},
		{"StripAccents", read_accents},
		{"Strip", read_strip},
		{"BertNormalizer", read_bert},
	};
	return read_by_type(t, from, "normalizer", rows, sizeof rows / sizeof *rows);
}

/* ---- pre-tokenizers ---- */

static Reader read_splitter;

static bool read_splitters(Tokenizer *t, json_t *from)
{
	size_t i;
	json_t *one;
	json_array_foreach(json_object_get(from, "pretokenizers"), i, one) if (!read_splitter(t, one)) return false;
	return true;
}

static bool read_behavior(Tokenizer *t, json_t *from, const char *what, SplitBehavior *behavior)
{
	static const char *const names[] = {[SPLIT_REMOVED] = "Removed",
		[SPLIT_ISOLATED] = "Isolated",
		[SPLIT_PREVIOUS] = "MergedWithPrevious",
		[SPLIT_NEXT] = "MergedWithNext",
		[SPLIT_CONTIGUOUS] = "Contiguous"};
	const char *name = member_text(from, "behavior");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (name && !strcmp(names[i], name)) {
			*behavior = (SplitBehavior)i;
			return true;
		}
	return error_set(t->error, t->path, "%s: the behavior \"%.100s\" is not known", what, name ? name : "");
}

static bool read_split(Tokenizer *t, json_t *from)
{
	SplitBehavior behavior;
	if (!read_behavior(t, from, "pre_tokenizer Split", &behavior))
		return false;
	Step *step = add_step(t, &t->splitter, STEP_SPLIT, read_pattern(t, from, "pre_tokenizer Split"));
	if (step) {
		step->behavior = behavior;
		step->is_inverted = member_says(from, "invert", false);
	}
	return step != NULL;
}

/* A step by a pattern of ours. */
static bool split_by(Tokenizer *t, const char *pattern, SplitBehavior behavior, bool is_inverted)
{
	Step *step = steps_add_pattern(t, &t->splitter, STEP_SPLIT, "pre_tokenizer", pattern);
	if (step) {
		step->behavior = behavior;
		step->is_inverted = is_inverted;
	}
	return step != NULL;
}

static bool read_byte_level(Tokenizer *t, json_t *from)
{
	t->is_bytes = true;
	if (member_says(from, "add_prefix_space", true)) {
		Step *step = steps_add(t, &t->splitter, STEP_PREPEND);
		step->before = " ";
		step->only_missing = true;
	}
	return !member_says(from, "use_regex", true) || split_by(t, byte_level_pattern, SPLIT_ISOLATED, false);
}

static bool read_metaspace(Tokenizer *t, json_t *from)
{
	const char *space = copy_text(t, from, "replacement"), *scheme = member_text(from, "prepend_scheme");
	bool is_always = scheme ? !strcmp(scheme, "always") : member_says(from, "add_prefix_space", true);
	bool is_first = scheme && !strcmp(scheme, "first");
	if (!space || !*space)
		return refuse(t, "pre_tokenizer Metaspace", "it has no replacement");
	if (scheme && !is_always && !is_first && strcmp(scheme, "never"))
		return refuse(t, "pre_tokenizer Metaspace", "its prepend_scheme is none of always, first and never");
	Step *step = steps_add_pattern(t, &t->splitter, STEP_REPLACE, "pre_tokenizer Metaspace", " ");
	if (!step)
		return false;
	step->before = space;
	if (is_always || is_first) {
		step = steps_add(t, &t->splitter, STEP_PREPEND);
		step->before = space;
		step->only_missing = true;
		step->only_first = is_first;
	}
	if (!member_says(from, "split", true))
		return true;
	step = add_step(
		t, &t->splitter, STEP_SPLIT, pattern_compile(t, "pre_tokenizer Metaspace", space, strlen(space), true));
	if (step)
		step->behavior = SPLIT_NEXT;
	return step != NULL;
}

static bool read_whitespace(Tokenizer *t, json_t *from)
{
	(void)from;
	return split_by(t, "\\w+|[^\\w\\s]+", SPLIT_REMOVED, true);
}

static bool read_whitespace_split(Tokenizer *t, json_t *from)
{
	(void)from;
	return split_by(t, "\\s+", SPLIT_REMOVED, false);
}

static bool read_bert_words(Tokenizer *t, json_t *from)
{
	(void)from;
	return steps_add_bert_words(t);
}

static bool read_digits(Tokenizer *t, json_t *from)
{
	bool is_single = member_says(from, "individual_digits", false);
	return split_by(t, "\\p{N}", is_single ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, false);
}

static bool read_punctuation(Tokenizer *t, json_t *from)
{
	SplitBehavior behavior = SPLIT_ISOLATED;
	return (!json_object_get(from, "behavior") || read_behavior(t, from, "pre_tokenizer Punctuation", &behavior)) &&
		   split_by(t, PUNCTUATION, behavior, false);
}

static bool read_delimiter(Tokenizer *t, json_t *from)
{
	const char *delimiter = member_text(from, "delimiter");
	if (!delimiter || !*delimiter)
		return refuse(t, "pre_tokenizer CharDelimiterSplit", "it has no delimiter");
	Step *step = add_step(t, &t->splitter, STEP_SPLIT,
		pattern_compile(t, "pre_tokenizer CharDelimiterSplit", delimiter, strlen(delimiter), true));
	return step != NULL;
}

static bool read_splitter(Tokenizer *t, json_t *from)
{
	static const Row rows[] = {
		{"Sequence", read_splitters},
		{"Split", read_split},
		{"ByteLevel", read_byte_level},
		{"Metaspace", read_metaspace},
		{"Whitespace", read_whitespace},
		{"WhitespaceSplit", read_whitespace_split},
		{"BertPreTokenizer", read_bert_words},
		{"Digits", read_digits},
		{"Punctuation", read_punctuation},
		{"CharDelimiterSplit", read_delimiter},
	};
	if (t->is_bytes && !json_is_null(from))
		return refuse(t, "pre_tokenizer", "ByteLevel must be the last one");
	return read_by_type(t, from, "pre_tokenizer", rows, sizeof rows / sizeof *rows);
}

/* ---- what stands around a text ---- */

static Reader read_around;

static bool add_around(Tokenizer *t, json_t *id, Tokens *to)
{
	if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= TOKENIZER_MAX_TOKENS)
		return refuse(t, "post_processor", "a token without a number");
	tokens_add(to, (int32_t)json_integer_value(id));
	return true;
}

static bool read_arounds(Tokenizer *t, json_t *from)
{
	size_t i;
	json_t *one;
	json_array_foreach(json_object_get(from, "processors"), i, one) if (!read_around(t, one)) return false;
	return true;
}

static bool add_special(Tokenizer *t, json_t *specials, json_t *special, Tokens *to)
{
	const char *name = member_text(special, "id");
	json_t *ids = name ? json_object_get(json_object_get(specials, name), "ids") : NULL, *id;
	size_t i;
	if (!json_is_array(ids))
		return error_set(
			t->error, t->path, "post_processor: its special token \"%.100s\" has no ids", name ? name : "");
	json_array_foreach(ids, i, id) if (!add_around(t, id, to)) return false;
	return true;
}

static bool read_template(Tokenizer *t, json_t *from)
{
	size_t i;
	json_t *part;
	bool is_behind = false;
	t->front.count = t->back.count = 0;
	json_array_foreach(json_object_get(from, "single"), i, part)
	{
		json_t *special = json_object_get(part, "SpecialToken");
		if (special &&
			!add_special(t, json_object_get(from, "special_tokens"), special, is_behind ? &t->back : &t->front))
			return false;
		is_behind = is_behind || json_object_get(part, "Sequence");
	}
	return is_behind || refuse(t, "post_processor", "its template has no place for the text");
}

/* "cls": ["[CLS]", 101], "sep": ["[SEP]", 102] */
static bool read_class(Tokenizer *t, json_t *from)
{
	t->front.count = t->back.count = 0;
	return add_around(t, json_array_get(json_object_get(from, "cls"), 1), &t->front) &&
		   add_around(t, json_array_get(json_object_get(from, "sep"), 1), &t->back);
}

static bool read_nothing(Tokenizer *t, json_t *from)
{
	(void)t;
	(void)from;
	return true;
}

static bool read_around(Tokenizer *t, json_t *from)
{
	static const Row rows[] = {
		{"Sequence", read_arounds},
		{"TemplateProcessing", read_template},
		{"BertProcessing", read_class},
		{"RobertaProcessing", read_class},
		{"ByteLevel", read_nothing},
	};
	return read_by_type(t, from, "post_processor", rows, sizeof rows / sizeof *rows);
}

bool json_read_steps(Tokenizer *t, json_t *root)
{
	return read_normalizer(t, json_object_get(root, "normalizer")) &&
		   read_splitter(t, json_object_get(root, "pre_tokenizer")) &&
		   read_around(t, json_object_get(root, "post_processor"));
}
