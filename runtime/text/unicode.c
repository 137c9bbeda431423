/* SPDX-License-Identifier: MIT
 *
 * unicode.c: characters of UTF-8, their small letters, and the two canonical forms of
 * a text: each character taken apart (NFD) and put together again (NFC). Texts are
 * valid UTF-8 when they come here.
 */
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

#include "unicode.inc"

int utf8_bytes(char first)
{
	unsigned char c = (unsigned char)first;
	return c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

int32_t utf8_get(const char *at)
{
	const unsigned char *c = (const unsigned char *)at;
	switch (utf8_bytes(*at)) {
	case 1:
		return c[0];
	case 2:
		return (c[0] & 0x1f) << 6 | (c[1] & 0x3f);
	case 3:
		return (c[0] & 0x0f) << 12 | (c[1] & 0x3f) << 6 | (c[2] & 0x3f);
	default:
		return (c[0] & 0x07) << 18 | (c[1] & 0x3f) << 12 | (c[2] & 0x3f) << 6 | (c[3] & 0x3f);
	}
}

int utf8_put(char *to, int32_t code)
{
	int bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	static const unsigned char marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (int i = bytes - 1; i > 0; i--, code >>= 6)
		to[i] = (char)(0x80 | (code & 0x3f));
	to[0] = (char)(marks[bytes] | code);
	return bytes;
}

bool code_is_white(int32_t code)
{
	return (code >= 9 && code <= 13) || code == ' ' || code == 0x85 || code == 0xa0 || code == 0x1680 ||
		   (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f ||
		   code == 0x3000;
}

/* ---- tables ---- */

#define COUNT(table) (sizeof(table) / sizeof *(table))

static int compare_codes(const void *key, const void *row)
{
	int32_t code = *(const int32_t *)key, at = *(const int32_t *)row;
	return (code > at) - (code < at);
}

static int compare_pairs(const void *key, const void *row)
{
	const int32_t *a = key, *b = row;
	return a[0] != b[0] ? (a[0] > b[0]) - (a[0] < b[0]) : (a[1] > b[1]) - (a[1] < b[1]);
}

static int compare_ranges(const void *key, const void *row)
{
	int32_t code = *(const int32_t *)key;
	const int32_t *range = row;
	return code < range[0] ? -1 : code > range[1];
}

/* The value of a table of ranges; 0: the character is in none. */
static int32_t range_value(const int32_t (*table)[4], size_t count, int32_t code)
{
	const int32_t *range = bsearch(&code, table, count, sizeof *table, compare_ranges);
	return range && (code - range[0]) % range[2] == 0 ? range[3] : 0;
}

static int32_t class_of(int32_t code)
{
	return code < 0x300 ? 0 : range_value(classes, COUNT(classes), code);
}

/* ---- small letters ---- */

enum { I_WITH_DOT = 0x130, DOT_ABOVE = 0x307 };

static int put_lower(char *to, int32_t code)
{
	if (code < 0x80)
		return utf8_put(to, code >= 'A' && code <= 'Z' ? code + 'a' - 'A' : code);
	if (code != I_WITH_DOT)
		return utf8_put(to, code + range_value(lowercases, COUNT(lowercases), code));
	*to = 'i';
	return 1 + utf8_put(to + 1, DOT_ABOVE);
}

bool text_lowercase(Tokenizer *t, const Pieces *from, Pieces *to)
{
	int64_t at = 0;
	for (int64_t i = 0; i < from->end_count; i++) {
		for (; at < from->ends[i]; at += utf8_bytes(from->text[at])) {
			char letters[8];
			if (!pieces_append(t, to, letters, put_lower(letters, utf8_get(from->text + at))))
				return false;
		}
		pieces_end(to);
	}
	return true;
}

/* ---- taken apart ---- */

/* Korean syllables are by rule: a lead, a vowel, and a tail or none. */
enum {
	SYLLABLE = 0xac00,
	SYLLABLES = 11172,
	LEAD = 0x1100,
	LEADS = 19,
	VOWEL = 0x1161,
	VOWELS = 21,
	TAIL = 0x11a7,
	TAILS = 28,
};

/* At most four characters become of one. */
static int take_apart(int32_t *to, int32_t code)
{
	int32_t syllable = code - SYLLABLE;
	if (syllable >= 0 && syllable < SYLLABLES) {
		to[0] = LEAD + syllable / (VOWELS * TAILS);
		to[1] = VOWEL + syllable % (VOWELS * TAILS) / TAILS;
		to[2] = TAIL + syllable % TAILS;
		return syllable % TAILS ? 3 : 2;
	}
	const int32_t *row =
		code < 0x80 ? NULL
					: bsearch(&code, decompositions, COUNT(decompositions), sizeof *decompositions, compare_codes);
	if (!row) {
		*to = code;
		return 1;
	}
	int count = take_apart(to, row[1]);
	if (row[2])
		to[count++] = row[2];
	return count;
}

static int compare_marks(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Marks behind a letter stand in the order of their classes; those of one class stay as they are. */
static void put_in_order(Tokenizer *t, int32_t *codes, int64_t count)
{
	for (int64_t begin = 0, end; begin < count; begin = end + 1) {
		for (end = begin; end < count && class_of(codes[end]);)
			end++;
		if (end - begin < 2)
			continue;
		uint64_t *marks = scratch_room(&t->paths, sizeof *marks * (size_t)(end - begin));
		for (int64_t i = begin; i < end; i++)
			marks[i - begin] = (uint64_t)class_of(codes[i]) << 52 | (uint64_t)(i - begin) << 21 | (uint64_t)codes[i];
		qsort(marks, (size_t)(end - begin), sizeof *marks, compare_marks);
		for (int64_t i = begin; i < end; i++)
			codes[i] = (int32_t)(marks[i - begin] & 0x1fffff);
	}
}

/* ---- put together ---- */

static int32_t together(int32_t left, int32_t right)
{
	int32_t lead = left - LEAD, vowel = right - VOWEL, syllable = left - SYLLABLE, tail = right - TAIL;
	if (lead >= 0 && lead < LEADS && vowel >= 0 && vowel < VOWELS)
		return SYLLABLE + (lead * VOWELS + vowel) * TAILS;
	if (syllable >= 0 && syllable < SYLLABLES && syllable % TAILS == 0 && tail > 0 && tail < TAILS)
		return left + tail;
	const int32_t pair[] = {left, right};
	const int32_t *row = bsearch(pair, compositions, COUNT(compositions), sizeof *compositions, compare_pairs);
	return row ? row[2] : 0;
}

/* Each character goes into the last letter before it, unless a mark of its class or of none is between; gives how many
 * are left. */
static int64_t put_together(int32_t *codes, int64_t count)
{
	int64_t letter = -1, left = 0;
	int32_t last_class = 0; /* of what stands between the letter and here; -1: nothing does */
	for (int64_t i = 0; i < count; i++) {
		int32_t class = class_of(codes[i]);
		bool is_near = letter >= 0 && last_class < class;
		int32_t one = is_near ? together(codes[letter], codes[i]) : 0;
		if (one) {
			codes[letter] = one;
			continue;
		}
		if (class == 0)
			letter = left;
		last_class = class == 0 ? -1 : class;
		codes[left++] = codes[i];
	}
	return left;
}

static bool normalize_piece(Tokenizer *t, const char *text, int64_t length, bool composes, Pieces *to)
{
	int64_t count = 0, plain = 0;
	while (plain < length && (signed char)text[plain] >= 0)
		plain++;
	if (plain == length)
		return pieces_append(t, to, text, length);
	int32_t *codes = scratch_room(&t->segments, sizeof *codes * 4 * (size_t)length);
	for (int64_t at = 0; at < length; at += utf8_bytes(text[at]))
		count += take_apart(codes + count, utf8_get(text + at));
	put_in_order(t, codes, count);
	if (composes)
		count = put_together(codes, count);
	for (int64_t i = 0; i < count; i++) {
		char bytes[4];
		if (!pieces_append(t, to, bytes, utf8_put(bytes, codes[i])))
			return false;
	}
	return true;
}

static bool normalize(Tokenizer *t, const Pieces *from, bool composes, Pieces *to)
{
	int64_t begin = 0;
	for (int64_t i = 0; i < from->end_count; i++) {
		if (!normalize_piece(t, from->text + begin, from->ends[i] - begin, composes, to))
			return false;
		pieces_end(to);
		begin = from->ends[i];
	}
	return true;
}

bool text_decompose(Tokenizer *t, const Pieces *from, Pieces *to)
{
	return normalize(t, from, false, to);
}

bool text_compose(Tokenizer *t, const Pieces *from, Pieces *to)
{
	return normalize(t, from, true, to);
}
