/* SPDX-License-Identifier: MIT
 *
 * arena.c: the memory of a compilation: chunks that only grow and are freed
 * together. Every allocation is aligned to 16 bytes, and zeroed unless its user
 * fills it. When the system has no more memory the process ends with one line: no
 * caller handles NULL.
 *
 * Most of what a compilation writes it writes once, so that the first touch of a
 * page is a good part of its cost: large chunks are whole huge pages that the system
 * zeroed, small ones come from memory that was touched before, zeroed as it is
 * handed out.
 */
#include "base.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { ALIGNMENT = 16, FIRST_CHUNK = 64 * 1024, LAST_CHUNK = 4 * 1024 * 1024, HUGE_PAGE = 2 * 1024 * 1024 };

typedef struct Chunk Chunk;
struct Chunk {
	Chunk *older;
	void *block; /* what the system gave, and takes back; NULL: it is of another arena */
	size_t size; /* of bytes, a multiple of ALIGNMENT */
	_Alignas(ALIGNMENT) unsigned char bytes[];
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

static void chunk_add(Arena *arena, Chunk *chunk, void *block, size_t size)
{
	*chunk = (Chunk){.older = arena->newest, .block = block, .size = size - sizeof *chunk};
	arena->newest = chunk;
	arena->at = chunk->bytes;
	arena->end = chunk->bytes + chunk->size;
	arena->is_zero = false;
}

Arena *arena_inside(Arena *outer, size_t bytes)
{
	Arena *arena = arena_new();
	size_t size = sizeof(Chunk) + bytes / ALIGNMENT * ALIGNMENT;
	chunk_add(arena, arena_room(outer, size), NULL, size);
	return arena;
}

static void chunks_free(Chunk *newest)
{
	for (Chunk *chunk = newest, *older; chunk; chunk = older) {
		older = chunk->older;
		free(chunk->block);
	}
}

void arena_free(Arena *arena)
{
	if (!arena)
		return;
	chunks_free(arena->newest);
	free(arena);
}

void arena_clear(Arena *arena)
{
	Chunk *last = arena->newest;
	if (!last)
		return;
	chunks_free(last->older);
	last->older = NULL;
	arena->at = last->bytes;
	arena->is_zero = false;
}

static size_t round_up(size_t bytes)
{
	return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* A chunk with room for `least` bytes becomes the newest. */
static void chunk_new(Arena *arena, size_t least)
{
	size_t size = sizeof(Chunk) + least;
	if (size < arena->next_size)
		size = arena->next_size;
	bool is_large = size >= HUGE_PAGE;
	if (is_large)
		size = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	void *block = is_large ? calloc(1, size + HUGE_PAGE) : malloc(size);
	if (!block)
		fail(size);
	Chunk *chunk = block;
	if (is_large) { /* the part that is whole huge pages; the rest is never touched */
		chunk = (Chunk *)(((uintptr_t)block + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
		madvise(chunk, size, MADV_HUGEPAGE); /* what it does not do costs time only */
	}
	chunk_add(arena, chunk, block, size);
	arena->is_zero = is_large;
	if (arena->next_size < LAST_CHUNK)
		arena->next_size *= 2;
}

void *arena_room_in_new(Arena *arena, size_t bytes)
{
	if (bytes > SIZE_MAX / 2)
		fail(SIZE_MAX); /* the size overflowed */
	chunk_new(arena, round_up(bytes));
	return arena_room(arena, bytes);
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
	char most[256]; /* are shorter, and printed once */
	va_list again;
	va_copy(again, arguments);
	int length = vsnprintf(most, sizeof most, format, arguments);
	size_t count = length > 0 ? (size_t)length : 0;
	char *text;
	if (count < sizeof most) {
		text = arena_copy(arena, most, count);
	} else {
		text = arena_room(arena, count + 1);
		vsnprintf(text, count + 1, format, again);
	}
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
	size_t have = round_up(*capacity * item_size), more = round_up(wider * item_size) - have;
	if (*capacity && (unsigned char *)items + have == arena->at && more <= (size_t)(arena->end - arena->at)) {
		arena_alloc(arena, more); /* the last that was allocated grows where it is */
		*capacity = wider;
		return items;
	}
	void *fresh = arena_alloc(arena, wider * item_size);
	if (*capacity)
		memcpy(fresh, items, *capacity * item_size);
	*capacity = wider;
	return fresh;
}
