/* SPDX-License-Identifier: MIT
 *
 * steps.c: rewrites and splits a text, step after step, before the model sees its
 * pieces. Each step reads all pieces and leaves new ones. What tokenizers know as
 * normalizers and pre-tokenizers are a few of these steps each, most of them by a
 * pattern.
 */
#include "tokenizer_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

void scratch_grow(Scratch *scratch, size_t bytes)
{
	if (bytes <= scratch->bytes)
		return;
	bytes += bytes / 2;
	scratch->at = memory_resize(scratch->at, bytes);
	scratch->bytes = bytes;
}

void *scratch_room(Scratch *scratch, size_t bytes)
{
	scratch_grow(scratch, bytes);
	return scratch->at;
}

void pieces_clear(Pieces *pieces)
{
	pieces->count = pieces->end_count = 0;
}

bool pieces_append(Tokenizer *t, Pieces *pieces, const char *text, int64_t count)
{
	if (pieces->capacity - pieces->count < count) {
		pieces->capacity = pieces->count + count + (pieces->count + count) / 2 + 64;
		pieces->text = memory_resize(pieces->text, (size_t)pieces->capacity);
	}
	if (pieces->count > TOKENIZER_MAX_TEXT - count)
		return error_set(
			t->error, t->name, "becomes more than %d bytes when %s normalizes it", TOKENIZER_MAX_TEXT, t->path);
	if (count)
		memcpy(pieces->text + pieces->count, text, (size_t)count);
	pieces->count += count;
	return true;
}

void pieces_end(Pieces *pieces)
{
	if (pieces->count == (pieces->end_count ? pieces->ends[pieces->end_count - 1] : 0))
		return;
	if (pieces->end_count == pieces->end_capacity) {
		pieces->end_capacity = pieces->end_capacity * 2 + 64;
		pieces->ends = memory_resize(pieces->ends, sizeof *pieces->ends * (size_t)pieces->end_capacity);
	}
	pieces->ends[pieces->end_count++] = pieces->count;
}

void pieces_free(Pieces *pieces)
{
	free(pieces->text);
	free(pieces->ends);
}

Step *steps_add(Tokenizer *t, Steps *steps, StepKind kind)
{
	if (steps->count == steps->capacity) {
		Step *at = pool_array(t->pool, Step, steps->capacity * 2 + 8);
		if (steps->count)
			memcpy(at, steps->at, sizeof *at * (size_t)steps->count);
		steps->at = at;
		steps->capacity = steps->capacity * 2 + 8;
	}
	steps->at[steps->count] = (Step){.kind = kind, .before = "", .after = ""};
	return &steps->at[steps->count++];
}

void steps_free(Steps *steps)
{
	for (int64_t i = 0; i < steps->count; i++)
		if (steps->at[i].pattern)
			pcre2_code_free(steps->at[i].pattern);
}

/* ---- patterns ---- */

enum { STACK_LEAST = 32 << 10, STACK_MOST = 8 << 20, PATTERN_MOST = 1 << 16 };

static bool has_match_memory(Tokenizer *t)
{
	if (t->match)
		return true;
	t->match = pcre2_match_data_create(1, NULL);
	t->context = pcre2_match_context_create(NULL);
	t->stack = pcre2_jit_stack_create(STACK_LEAST, STACK_MOST, NULL);
	if (!t->match || !t->context)
		return false;
	pcre2_jit_stack_assign(t->context, NULL, t->stack);
	return true;
}

pcre2_code *pattern_compile(Tokenizer *t, const char *where, const char *text, size_t length, bool is_literal)
{
	int code = 0;
	size_t place = 0;
	/* ^ and $ are ends of lines, as in the library that tokenizer.json is written for */
	uint32_t options = PCRE2_UTF | (is_literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C);
	if (length > PATTERN_MOST) {
		error_set(t->error, t->path, "%s: a pattern of %zu bytes, the limit is %d", where, length, PATTERN_MOST);
		return NULL;
	}
	pcre2_code *pattern = pcre2_compile((PCRE2_SPTR)text, length, options, &code, &place, NULL);
	if (!pattern) {
		char reason[128] = "";
		pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
		error_set(t->error, t->path, "%s: pattern \"%.200s\": byte %zu: %s", where, text, place, reason);
		return NULL;
	}
	pcre2_jit_compile(pattern, PCRE2_JIT_COMPLETE); /* where it fails the pattern is interpreted */
	if (has_match_memory(t))
		return pattern;
	pcre2_code_free(pattern);
	error_set(t->error, t->path, "the system has no more memory to give");
	return NULL;
}

int pattern_find(Tokenizer *t, const pcre2_code *pattern, const char *text, int64_t count, int64_t from, int64_t *begin,
	int64_t *end)
{
	while (from <= count) {
		int found = pcre2_match(
			pattern, (PCRE2_SPTR)text, (size_t)count, (size_t)from, PCRE2_NO_UTF_CHECK, t->match, t->context);
		if (found == PCRE2_ERROR_NOMATCH)
			return 0;
		if (found < 0) {
			char reason[128] = "";
			pcre2_get_error_message(found, (PCRE2_UCHAR *)reason, sizeof reason);
			error_set(t->error, t->name, "a pattern of %s runs away on it: %s", t->path, reason);
			return -1;
		}
		const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(t->match);
		*begin = (int64_t)ends[0]; /* \K may leave them in any order */
		*end = (int64_t)ends[1];
		if (*begin >= from && *end > *begin)
			return 1;
		from = *end > from ? *end : from;
		from += from < count ? utf8_bytes(text[from]) : 1;
	}
	return 0;
}

/* ---- steps that several kinds of tokenizers have ---- */

/* Blanks as Unicode has them. */
#define WHITE "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define CHINESE                                                                                                        \
	"[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{20000}-\\x{2a6df}\\x{2a700}-\\x{2b73f}\\x{2b740}-\\x{2b81f}"           \
	"\\x{2b920}-\\x{2ceaf}\\x{f900}-\\x{faff}\\x{2f800}-\\x{2fa1f}]"

Step *steps_add_pattern(Tokenizer *t, Steps *steps, StepKind kind, const char *where, const char *pattern)
{
	pcre2_code *code = pattern_compile(t, where, pattern, strlen(pattern), false);
	Step *step = code ? steps_add(t, steps, kind) : NULL;
	if (step)
		step->pattern = code;
	return step;
}

bool steps_add_accents(Tokenizer *t)
{
	return steps_add_pattern(t, &t->normalizer, STEP_REPLACE, "accents", "\\p{Mn}+") != NULL;
}

bool steps_add_bert(Tokenizer *t, bool cleans, bool spaces_chinese, bool strips_accents, bool is_lower)
{
	static const char controls[] = "(?:(?![\\t\\n\\r])[\\x{0}\\x{fffd}\\p{Cc}\\p{Cf}\\p{Cn}\\p{Co}])+";
	Steps *steps = &t->normalizer;
	Step *step;
	if (cleans && !steps_add_pattern(t, steps, STEP_REPLACE, "controls", controls))
		return false;
	if (cleans && !(step = steps_add_pattern(t, steps, STEP_REPLACE, "blanks", "[" WHITE "]")))
		return false;
	if (cleans)
		step->before = " ";
	if (spaces_chinese && !(step = steps_add_pattern(t, steps, STEP_REPLACE, "Chinese", CHINESE)))
		return false;
	if (spaces_chinese) {
		step->before = step->after = " ";
		step->keeps = true;
	}
	if (strips_accents)
		steps_add(t, steps, STEP_DECOMPOSE);
	if (strips_accents && !steps_add_accents(t))
		return false;
	if (is_lower)
		steps_add(t, steps, STEP_LOWERCASE);
	return true;
}

bool steps_add_bert_words(Tokenizer *t)
{
	Step *step = steps_add_pattern(t, &t->splitter, STEP_SPLIT, "blanks", "[" WHITE "]+");
	if (step)
		step->behavior = SPLIT_REMOVED;
	step = step ? steps_add_pattern(t, &t->splitter, STEP_SPLIT, "punctuation", PUNCTUATION) : NULL;
	if (step)
		step->behavior = SPLIT_ISOLATED;
	return step != NULL;
}

/* ---- one piece ---- */

static bool replace_in(Tokenizer *t, const Step *step, const char *text, int64_t count)
{
	int64_t begin, end, done = 0;
	int found;
	while ((found = pattern_find(t, step->pattern, text, count, done, &begin, &end)) > 0) {
		if (!pieces_append(t, &t->to, text + done, begin - done) ||
			!pieces_append(t, &t->to, step->before, (int64_t)strlen(step->before)) ||
			!pieces_append(t, &t->to, text + begin, step->keeps ? end - begin : 0) ||
			!pieces_append(t, &t->to, step->after, (int64_t)strlen(step->after)))
			return false;
		done = end;
	}
	return found == 0 && pieces_append(t, &t->to, text + done, count - done);
}

static bool prepend_to(Tokenizer *t, const Step *step, const char *text, int64_t count, bool is_first)
{
	int64_t length = (int64_t)strlen(step->before);
	bool is_there = step->only_missing && count >= length && memcmp(text, step->before, (size_t)length) == 0;
	return pieces_append(t, &t->to, step->before, is_there || (step->only_first && !is_first) ? 0 : length) &&
		   pieces_append(t, &t->to, text, count);
}

/* A part of a piece: a match, or what is between two. */
typedef struct Part {
	int64_t end;
	bool is_match;
} Part;

static int64_t add_part(Tokenizer *t, int64_t parts, int64_t end, bool is_match)
{
	scratch_grow(&t->segments, sizeof(Part) * (size_t)(parts + 1));
	((Part *)t->segments.at)[parts] = (Part){end, is_match};
	return parts + 1;
}

/* -1: reported. */
static int64_t find_parts(Tokenizer *t, const Step *step, const char *text, int64_t count)
{
	int64_t begin, end, done = 0, parts = 0;
	int found;
	while ((found = pattern_find(t, step->pattern, text, count, done, &begin, &end)) > 0) {
		if (begin > done)
			parts = add_part(t, parts, begin, step->is_inverted);
		parts = add_part(t, parts, end, !step->is_inverted);
		done = end;
	}
	if (found < 0)
		return -1;
	return done < count ? add_part(t, parts, count, step->is_inverted) : parts;
}

/* Does a new piece begin between two parts? */
static bool splits_between(const Step *step, const Part *parts, int64_t right)
{
	bool left_matches = parts[right - 1].is_match, right_matches = parts[right].is_match;
	switch (step->behavior) {
	case SPLIT_PREVIOUS:
		return left_matches || !right_matches;
	case SPLIT_NEXT:
		return !left_matches || right_matches;
	case SPLIT_CONTIGUOUS:
		return left_matches != right_matches;
	default:
		return true;
	}
}

static bool split_piece(Tokenizer *t, const Step *step, const char *text, int64_t count)
{
	int64_t count_of_parts = find_parts(t, step, text, count), begin = 0;
	const Part *parts = t->segments.at;
	for (int64_t i = 0; i < count_of_parts; i++) {
		if (i > 0 && splits_between(step, parts, i))
			pieces_end(&t->to);
		bool is_removed = step->behavior == SPLIT_REMOVED && parts[i].is_match;
		if (!pieces_append(t, &t->to, text + begin, is_removed ? 0 : parts[i].end - begin))
			return false;
		begin = parts[i].end;
	}
	return count_of_parts >= 0;
}

/* ---- all pieces ---- */

static bool run_step(Tokenizer *t, const Step *step, bool is_start)
{
	int64_t begin = 0;
	pieces_clear(&t->to);
	if (step->kind == STEP_LOWERCASE)
		return text_lowercase(t, &t->from, &t->to);
	if (step->kind == STEP_DECOMPOSE)
		return text_decompose(t, &t->from, &t->to);
	if (step->kind == STEP_COMPOSE)
		return text_compose(t, &t->from, &t->to);
	for (int64_t i = 0; i < t->from.end_count; i++) {
		const char *text = t->from.text + begin;
		int64_t count = t->from.ends[i] - begin;
		bool is_done = step->kind == STEP_REPLACE ? replace_in(t, step, text, count)
					   : step->kind == STEP_SPLIT ? split_piece(t, step, text, count)
												  : prepend_to(t, step, text, count, is_start && i == 0);
		if (!is_done)
			return false;
		pieces_end(&t->to);
		begin = t->from.ends[i];
	}
	return true;
}

bool steps_run(Tokenizer *t, const Steps *steps, bool is_start)
{
	for (int64_t i = 0; i < steps->count; i++) {
		if (!run_step(t, &steps->at[i], is_start))
			return false;
		Pieces result = t->to;
		t->to = t->from;
		t->from = result;
	}
	return true;
}
