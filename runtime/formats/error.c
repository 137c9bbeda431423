/* SPDX-License-Identifier: MIT
 *
 * error.c: what a bad file is answered with: one line that says which file, where
 * in it, what is there and what was expected.
 *
 * Names in messages come from the file; whatever could move a terminal's cursor or
 * is not UTF-8 leaves here as \xNN, so a message is one line whatever a file holds.
 */
#include "parts.h"

#include <stdio.h>
#include <string.h>

/* Bytes of the UTF-8 character at text[0..count), 0 if there is none: overlong forms and surrogates are none. */
static size_t utf8_length(const unsigned char *text, size_t count)
{
	unsigned char c = text[0];
	if (c < 0x80)
		return 1;
	size_t length = c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
	if (length == 0 || length > count)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] > 0x9f) || (c == 0xf0 && text[1] < 0x90) ||
		(c == 0xf4 && text[1] > 0x8f))
		return 0;
	return length;
}

bool text_is_utf8(const char *text, size_t count)
{
	for (size_t at = 0, length; at < count; at += length)
		if ((length = utf8_length((const unsigned char *)text + at, count - at)) == 0)
			return false;
	return true;
}

/* C0 and C1 control characters and DEL. */
static bool is_control(const unsigned char *c, size_t length)
{
	return length == 1 ? *c < 0x20 || *c == 0x7f : length == 2 && c[0] == 0xc2 && c[1] < 0xa0;
}

static void escape(char *to, size_t room, const char *from)
{
	size_t count = strlen(from), used = 0;
	for (size_t at = 0; at < count;) {
		const unsigned char *c = (const unsigned char *)from + at;
		size_t length = utf8_length(c, count - at);
		bool is_plain = length > 0 && !is_control(c, length);
		length = length ? length : 1;
		if (used + 4 * length >= room)
			break;
		for (size_t i = 0; i < length; i++)
			used += (size_t)snprintf(to + used, room - used, is_plain ? "%c" : "\\x%02x", c[i]);
		at += length;
	}
	to[used] = 0;
}

bool error_set(CmprtError *error, const char *path, const char *format, ...)
{
	char raw[sizeof error->text];
	int used = snprintf(raw, sizeof raw, "%.400s: ", path);
	va_list args;
	va_start(args, format);
	vsnprintf(raw + used, sizeof raw - (size_t)used, format, args);
	va_end(args);
	escape(error->text, sizeof error->text, raw);
	return false;
}

ShapeText shape_text(const int64_t *shape, int64_t rank)
{
	ShapeText shown;
	int used = snprintf(shown.text, sizeof shown.text, "[");
	for (int64_t i = 0; i < rank && i < CMPRT_MAX_RANK; i++)
		used +=
			snprintf(shown.text + used, sizeof shown.text - (size_t)used, i ? ", %lld" : "%lld", (long long)shape[i]);
	snprintf(shown.text + used, sizeof shown.text - (size_t)used, "]");
	return shown;
}
