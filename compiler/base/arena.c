/* SPDX-License-Identifier: MIT
 *
 * arena.c: the memory of a compilation: chunks that only grow and are freed
 * together. Every allocation is zeroed and aligned to 16 bytes. When the system
 * has no more memory the process ends with one line: no caller handles NULL.
 */
#include "base.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 16, FIRST_CHUNK = 64 * 1024, LAST_CHUNK = 4 * 1024 * 1024 };

typedef struct Chunk Chunk;
struct Chunk {
	Chunk *older;
	size_t used, size;
	_Alignas(ALIGNMENT) unsigned char bytes[];
};

struct Arena {
	Chunk *newest;
	size_t next_size; /* of the next chunk: doubles up to LAST_CHUNK */
};

_Noreturn static void fail(size_t bytes)
{
	fprintf(stderr, "cmpc: error: out of memory (%zu bytes wanted)\n", bytes);
	exit(EXIT_FAILURE);
}

static void *allocate(size_t bytes)
{
	void *memory = calloc(1, bytes);
	if (!memory)
		fail(bytes);
	return memory;
}

Arena *arena_new(void)
{
	Arena *arena = allocate(sizeof *arena);
	arena->next_size = FIRST_CHUNK;
	return arena;
}

void arena_free(Arena *arena)
{
	if (!arena)
		return;
	for (Chunk *chunk = arena->newest, *older; chunk; chunk = older) {
		older = chunk->older;
		free(chunk);
	}
	free(arena);
}

static Chunk *chunk_new(Arena *arena, size_t least)
{
	size_t size = least > arena->next_size ? least : arena->next_size;
	Chunk *chunk = allocate(sizeof *chunk + size);
	chunk->size = size;
	if (arena->next_size < LAST_CHUNK)
		arena->next_size *= 2;
	return chunk;
}

static size_t round_up(size_t bytes)
{
	return bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
}

void *arena_alloc(Arena *arena, size_t bytes)
{
	if (bytes > SIZE_MAX / 2)
		fail(SIZE_MAX); /* the size overflowed */
	bytes = round_up(bytes);
	Chunk *chunk = arena->newest;
	if (!chunk || chunk->size - chunk->used < bytes) {
		Chunk *fresh = chunk_new(arena, bytes);
		fresh->older = chunk;
		arena->newest = chunk = fresh;
	}
	void *memory = chunk->bytes + chunk->used;
	chunk->used += bytes;
	return memory;
}

char *arena_copy(Arena *arena, const char *text, size_t length)
{
	char *copy = arena_alloc(arena, length + 1);
	if (length)
		memcpy(copy, text, length);
	return copy;
}

char *arena_vprintf(Arena *arena, const char *format, va_list arguments)
{
	va_list again;
	va_copy(again, arguments);
	int length = vsnprintf(NULL, 0, format, arguments);
	size_t size = length > 0 ? (size_t)length + 1 : 1;
	char *text = arena_alloc(arena, size);
	vsnprintf(text, size, format, again);
	va_end(again);
	return text;
}

char *arena_printf(Arena *arena, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *text = arena_vprintf(arena, format, arguments);
	va_end(arguments);
	return text;
}

void *vec_grow(Arena *arena, void *items, size_t item_size, size_t *capacity)
{
	size_t wider = *capacity ? *capacity * 2 : 8;
	if (wider > SIZE_MAX / 2 / item_size)
		fail(SIZE_MAX);
	Chunk *chunk = arena->newest;
	size_t have = round_up(*capacity * item_size), want = round_up(wider * item_size);
	if (*capacity && (unsigned char *)items + have == chunk->bytes + chunk->used &&
		want - have <= chunk->size - chunk->used) { /* the last that was allocated grows where it is */
		chunk->used += want - have;
		*capacity = wider;
		return items;
	}
	void *fresh = arena_alloc(arena, wider * item_size);
	if (*capacity)
		memcpy(fresh, items, *capacity * item_size);
	*capacity = wider;
	return fresh;
}
