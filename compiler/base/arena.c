/* SPDX-License-Identifier: MIT
 *
 * arena.c: the memory of a compilation: chunks that only grow and are freed
 * together. Every allocation is aligned to 16 bytes, and zeroed unless its user
 * fills it. When the system has no more memory the process ends with one line: no
 * caller handles NULL.
 *
 * Most of what a compilation writes it writes once, so that the first touch of a
 * page is a good part of its cost: large chunks are whole huge pages, small ones
 * come from memory that was touched before, zeroed as it is handed out.
 */
#include "base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 16, FIRST_CHUNK = 64 * 1024, LAST_CHUNK = 4 * 1024 * 1024, HUGE_PAGE = 2 * 1024 * 1024 };

typedef struct Chunk Chunk;
struct Chunk {
	Chunk *older;
	size_t used, size;
	_Alignas(ALIGNMENT) unsigned char bytes[];
};

struct Arena {
	Chunk *newest;
	size_t next_size; /* of the next chunk, with its head: doubles up to LAST_CHUNK */
};

_Noreturn static void fail(size_t bytes)
{
	fprintf(stderr, "cmpc: error: out of memory (%zu bytes wanted)\n", bytes);
	exit(EXIT_FAILURE);
}

static Arena *arena_of(size_t first_chunk)
{
	Arena *arena = calloc(1, sizeof *arena);
	if (!arena)
		fail(sizeof *arena);
	arena->next_size = first_chunk;
	return arena;
}

Arena *arena_new(void)
{
	return arena_of(FIRST_CHUNK);
}

Arena *arena_new_large(void)
{
	return arena_of(HUGE_PAGE);
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

/* A chunk with room for `least` bytes, not zeroed. */
static Chunk *chunk_new(Arena *arena, size_t least)
{
	size_t size = sizeof(Chunk) + least;
	if (size < arena->next_size)
		size = arena->next_size;
	Chunk *chunk;
	if (size < HUGE_PAGE) {
		chunk = malloc(size);
	} else {
		size = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
		chunk = aligned_alloc(HUGE_PAGE, size);
		if (chunk)
			madvise(chunk, size, MADV_HUGEPAGE); /* what it does not do costs time only */
	}
	if (!chunk)
		fail(size);
	*chunk = (Chunk){.size = size - sizeof *chunk};
	if (arena->next_size < LAST_CHUNK)
		arena->next_size *= 2;
	return chunk;
}

static size_t round_up(size_t bytes)
{
	return bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
}

void *arena_room(Arena *arena, size_t bytes)
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

void *arena_alloc(Arena *arena, size_t bytes)
{
	return memset(arena_room(arena, bytes), 0, bytes);
}

char *arena_copy(Arena *arena, const char *text, size_t length)
{
	char *copy = arena_room(arena, length + 1);
	if (length)
		memcpy(copy, text, length);
	copy[length] = 0;
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
		memset((unsigned char *)items + have, 0, want - have);
		*capacity = wider;
		return items;
	}
	void *fresh = arena_alloc(arena, wider * item_size);
	if (*capacity)
		memcpy(fresh, items, *capacity * item_size);
	*capacity = wider;
	return fresh;
}
