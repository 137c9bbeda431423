/* SPDX-License-Identifier: MIT
 *
 * source.c: source files and places in them. A place is a pair of byte offsets;
 * the table of line starts is made once per file, lines and columns are found
 * from it when a message needs them.
 */
#include "base.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { LARGEST_SOURCE = 64 * 1024 * 1024 }; /* offsets are 32 bits; no honest program is near this */

uint32_t source_add(Compiler *c, const char *path, const char *text, size_t length)
{
	Source source = {.path = arena_copy(c->arena, path, strlen(path)), .length = length};
	source.text = arena_copy(c->arena, text, length);
	VEC(uint32_t) lines = {0};
	vec_push(c->arena, &lines, 0);
	for (size_t i = 0; i < length; i++)
		if (text[i] == '\n')
			vec_push(c->arena, &lines, (uint32_t)i + 1);
	source.lines = lines.at;
	source.line_count = lines.count;
	vec_push(c->arena, &c->sources, source);
	return (uint32_t)(c->sources.count - 1);
}

/* The whole file in `to`; NULL, or why it cannot be read. */
static const char *read_file(FILE *file, Text *to)
{
	struct stat status;
	if (fstat(fileno(file), &status) != 0)
		return strerror(errno);
	if (S_ISDIR(status.st_mode))
		return "it is a folder";
	char buffer[16384];
	size_t count;
	while ((count = fread(buffer, 1, sizeof buffer, file)) > 0) {
		text_append(to, buffer, count);
		if (to->count > LARGEST_SOURCE)
			return "it is larger than 64 MiB";
	}
	return ferror(file) ? strerror(errno) : NULL;
}

bool source_open(Compiler *c, const char *path, Loc from, uint32_t *file)
{
	Text text = {.arena = c->arena};
	text_append(&text, "", 0);
	const char *reason;
	FILE *stream = fopen(path, "rb");
	if (stream) {
		reason = read_file(stream, &text);
		fclose(stream);
	} else {
		reason = errno == ENOENT ? "there is no such file" : strerror(errno);
	}
	if (!reason) {
		*file = source_add(c, path, text.at, text.count);
		return true;
	}
	if (from.file < c->sources.count)
		diag_error(c, from, "cannot read \"%s\": %s", path, reason);
	else
		diag_fatal(c, "cannot read \"%s\": %s", path, reason);
	return false;
}

const char *path_beside(Compiler *c, Loc loc, const char *path)
{
	const char *from = source_of(c, loc.file)->path, *slash = strrchr(from, '/');
	if (path[0] == '/' || !slash || from[0] == '<')
		return path;
	return arena_printf(c->arena, "%.*s/%s", (int)(slash - from), from, path);
}

const Source *source_of(const Compiler *c, uint32_t file)
{
	return &c->sources.at[file];
}

void source_place(const Compiler *c, Loc loc, uint32_t *line, uint32_t *column)
{
	const Source *source = source_of(c, loc.file);
	size_t offset = loc.begin < source->length ? loc.begin : source->length;
	size_t low = 0, high = source->line_count; /* the line is in [low, high) */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (source->lines[middle] <= offset)
			low = middle;
		else
			high = middle;
	}
	uint32_t characters = 0;
	for (size_t i = source->lines[low]; i < offset; i++)
		characters += ((unsigned char)source->text[i] & 0xc0) != 0x80; /* not the middle of a UTF-8 character */
	*line = (uint32_t)low + 1;
	*column = characters + 1;
}

Loc loc_join(Loc first, Loc last)
{
	if (first.file != last.file)
		return first;
	return (Loc){
		.file = first.file,
		.begin = first.begin < last.begin ? first.begin : last.begin,
		.end = first.end > last.end ? first.end : last.end,
	};
}
