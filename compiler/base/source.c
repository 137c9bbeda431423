/* SPDX-License-Identifier: MIT
 *
 * source.c: source files and places in them. A place is a pair of byte offsets;
 * the table of line starts is made once per file, lines and columns are found
 * from it when a message needs them.
 */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST_SOURCE = 64 * 1024 * 1024 }; /* offsets are 32 bits; no honest program is near this */

/* `text` is in the arena and ends with a NUL behind `length` bytes. */
static uint32_t add_text(Compiler *c, const char *path, const char *text, size_t length)
{
	Source source = {.path = arena_copy(c->arena, path, strlen(path)), .text = text, .length = length};
	VEC(uint32_t) lines = {0};
	vec_push(c->arena, &lines, 0);
	for (const char *at = text; (at = memchr(at, '\n', length - (size_t)(at - text)));)
		vec_push(c->arena, &lines, (uint32_t)(++at - text));
	source.lines = lines.at;
	source.line_count = lines.count;
	vec_push(c->arena, &c->sources, source);
	return (uint32_t)(c->sources.count - 1);
}

uint32_t source_add(Compiler *c, const char *path, const char *text, size_t length)
{
	return add_text(c, path, arena_copy(c->arena, text, length), length);
}

/* The whole file in `to`; NULL, or why it cannot be read. What is no regular file has a size of its own only at its
 * end. */
static const char *read_file(int file, Arena *arena, char **to, size_t *length)
{
	struct stat status;
	if (fstat(file, &status) != 0)
		return strerror(errno);
	if (S_ISDIR(status.st_mode))
		return "it is a folder";
	size_t whole = S_ISREG(status.st_mode) && status.st_size > 0 ? (size_t)status.st_size : 0;
	size_t room = whole ? whole + 1 : 4096;
	char *text = room <= LARGEST_SOURCE ? arena_alloc(arena, room) : NULL;
	for (*length = 0; text;) {
		ssize_t count = read(file, text + *length, room - *length);
		if (count < 0 && errno != EINTR)
			return strerror(errno);
		*length += count > 0 ? (size_t)count : 0;
		if (*length < room && (count == 0 || *length == whole)) {
			*to = text;
			return NULL; /* a zeroed byte is behind it */
		}
		if (*length < room)
			continue;
		char *wider = room <= LARGEST_SOURCE ? arena_alloc(arena, room * 2) : NULL;
		if (wider)
			memcpy(wider, text, room);
		text = wider;
		room *= 2;
	}
	return "it is larger than 64 MiB";
}

bool source_open(Compiler *c, const char *path, Loc from, uint32_t *file)
{
	char *text = NULL;
	size_t length = 0;
	const char *reason;
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor >= 0) {
		reason = read_file(descriptor, c->arena, &text, &length);
		close(descriptor);
	} else {
		reason = errno == ENOENT ? "there is no such file" : strerror(errno);
	}
	if (!reason) {
		*file = add_text(c, path, text, length);
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
