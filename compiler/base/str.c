/* SPDX-License-Identifier: MIT
 *
 * str.c: interned names (one pointer for each spelling, so names compare with
 * ==), the nearest known word for "did you mean", and growable text.
 *
 * The name table lives in the compiler's arena: open addressing, at most half full.
 */
#include "base.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct NameTable {
	Name *slots;
	uint32_t *hashes;
	size_t size, count; /* size is a power of two */
};

static uint32_t hash_bytes(const char *text, size_t length)
{
	uint32_t hash = 2166136261u; /* FNV-1a */
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)text[i]) * 16777619u;
	return hash ^ hash >> 15;
}

static void table_grow(Arena *arena, struct NameTable *table)
{
	struct NameTable old = *table;
	table->size = old.size ? old.size * 2 : 1024;
	table->slots = arena_array(arena, Name, table->size);
	table->hashes = arena_array(arena, uint32_t, table->size);
	for (size_t i = 0; i < old.size; i++) {
		if (!old.slots[i])
			continue;
		size_t at = old.hashes[i] & (table->size - 1);
		while (table->slots[at])
			at = (at + 1) & (table->size - 1);
		table->slots[at] = old.slots[i];
		table->hashes[at] = old.hashes[i];
	}
}

Name name_intern(Compiler *c, const char *text, size_t length)
{
	length = strnlen(text, length); /* a name holds no NUL */
	if (!c->names)
		c->names = arena_new_of(c->arena, struct NameTable);
	struct NameTable *table = c->names;
	if (table->count * 2 >= table->size)
		table_grow(c->arena, table);
	uint32_t hash = hash_bytes(text, length);
	size_t at = hash & (table->size - 1);
	for (; table->slots[at]; at = (at + 1) & (table->size - 1)) {
		Name known = table->slots[at];
		if (table->hashes[at] == hash && strncmp(known, text, length) == 0 && known[length] == '\0')
			return known;
	}
	table->slots[at] = arena_copy(c->arena, text, length);
	table->hashes[at] = hash;
	table->count++;
	return table->slots[at];
}

Name name_of(Compiler *c, const char *text)
{
	return name_intern(c, text, strlen(text));
}

/* ---- did you mean ---- */

enum { LONGEST_WORD = 63 }; /* longer words get no suggestion */

/* Edits that turn a into b: insert, delete, replace, swap two neighbours. */
static size_t word_distance(const char *a, size_t n, const char *b, size_t m)
{
	unsigned char cost[3][LONGEST_WORD + 1]; /* rows i-2, i-1, i of the table */
	for (size_t j = 0; j <= m; j++)
		cost[0][j] = (unsigned char)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned char *row = cost[i % 3], *last = cost[(i + 2) % 3], *before = cost[(i + 1) % 3];
		row[0] = (unsigned char)i;
		for (size_t j = 1; j <= m; j++) {
			int best = last[j - 1] + (a[i - 1] != b[j - 1]);
			best = last[j] + 1 < best ? last[j] + 1 : best;
			best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = (unsigned char)best;
		}
	}
	return cost[n % 3][m];
}

static bool is_separator(char c)
{
	return c == '_' || c == '-' || c == '.';
}

/* Does `name` begin with `word`, but for case and separators, and end or have a separator there? "q4k", "f8" */
static bool is_abbreviation(Name word, Name name, bool *is_whole)
{
	while (*word) {
		if (is_separator(*word))
			word++;
		else if (is_separator(*name))
			name++;
		else if (tolower((unsigned char)*word++) != tolower((unsigned char)*name++))
			return false;
	}
	*is_whole = !*name;
	return !*name || is_separator(*name);
}

Name name_nearest(Name word, const NameVec *candidates)
{
	size_t length = word ? strlen(word) : 0;
	if (length > LONGEST_WORD)
		return NULL;
	Name nearest = NULL, longer = NULL;
	size_t least = length / 3 + 1;
	for (size_t i = 0; i < candidates->count; i++) {
		size_t other = strlen(candidates->at[i]);
		if (other > LONGEST_WORD || candidates->at[i] == word)
			continue;
		size_t distance = word_distance(word, length, candidates->at[i], other);
		bool is_only_case = nearest && distance == least && strcasecmp(word, candidates->at[i]) == 0;
		if (distance < least || is_only_case) {
			least = distance;
			nearest = candidates->at[i];
		}
		bool is_whole;
		if (length < 2 || !is_abbreviation(word, candidates->at[i], &is_whole))
			continue;
		if (is_whole && distance > 1)
			return candidates->at[i];
		longer = longer ? longer : candidates->at[i];
	}
	return nearest ? nearest : longer;
}

/* ---- growable text ---- */

static void text_reserve(Text *text, size_t more)
{
	size_t wanted = text->count + more + 1;
	if (wanted <= text->capacity)
		return;
	size_t capacity = text->capacity ? text->capacity : 64;
	while (capacity < wanted)
		capacity *= 2;
	char *fresh = arena_alloc(text->arena, capacity);
	if (text->count)
		memcpy(fresh, text->at, text->count);
	text->at = fresh;
	text->capacity = capacity;
}

void text_append(Text *text, const char *bytes, size_t count)
{
	text_reserve(text, count);
	if (count)
		memcpy(text->at + text->count, bytes, count);
	text->count += count;
	text->at[text->count] = '\0';
}

void text_printf(Text *text, const char *format, ...)
{
	va_list arguments, again;
	va_start(arguments, format);
	va_copy(again, arguments);
	if (!text->capacity)
		text_reserve(text, 0);
	size_t room = text->capacity - text->count;
	int length = vsnprintf(text->at + text->count, room, format, arguments);
	va_end(arguments);
	if (length >= 0 && (size_t)length >= room) {
		text_reserve(text, (size_t)length);
		vsnprintf(text->at + text->count, (size_t)length + 1, format, again);
	}
	va_end(again);
	text->count += length > 0 ? (size_t)length : 0;
	text->at[text->count] = '\0';
}

void text_number(Text *text, double value)
{
	if (isnan(value)) {
		text_append(text, "nan", 3);
	} else if (isinf(value)) {
		text_printf(text, value < 0 ? "-inf" : "inf");
	} else if (value == rint(value) && fabs(value) < 1e15) {
		text_printf(text, "%.0f", value);
	} else {
		char digits[40];
		for (int precision = 1; precision <= 17; precision++) {
			snprintf(digits, sizeof digits, "%.*g", precision, value);
			if (strtod(digits, NULL) == value)
				break;
		}
		text_append(text, digits, strlen(digits));
	}
}

/* ---- what a terminal may be shown ---- */

size_t character_length(const char *at, size_t left)
{
	unsigned char first = (unsigned char)*at;
	if (first < 0x80)
		return first == '\t' || (first >= 0x20 && first != 0x7f);
	size_t length = first >= 0xc2 && first < 0xe0   ? 2
					: first >= 0xe0 && first < 0xf0 ? 3
					: first >= 0xf0 && first < 0xf5 ? 4
													: 0;
	if (length > left)
		return 0;
	for (size_t i = 1; i < length; i++)
		if (((unsigned char)at[i] & 0xc0) != 0x80)
			return 0;
	return length == 2 && first == 0xc2 && (unsigned char)at[1] < 0xa0 ? 0 : length; /* C1 controls */
}

void text_shown(Text *text, const char *bytes, size_t count)
{
	text_reserve(text, 0);
	text->at[text->count] = '\0';
	for (size_t i = 0, length; i < count; i += length) {
		length = bytes[i] == '\t' ? 0 : character_length(bytes + i, count - i);
		if (length)
			text_append(text, bytes + i, length);
		else
			text_printf(text, "\\x%02x", (unsigned char)bytes[i]);
		length = length ? length : 1;
	}
}
