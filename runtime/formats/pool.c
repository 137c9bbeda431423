/* SPDX-License-Identifier: MIT
 *
 * pool.c: memory of an opened checkpoint or of a layout, and growable bytes in it.
 *
 * A pool is a list of blocks; nothing in it is freed singly. Sizes asked for have
 * been checked against the size of a file before, so running out of memory is no
 * error to recover from: it ends the process with one line.
 */
#include "parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK = 4 * 1024, LAST_BLOCK = 64 * 1024, ALIGNMENT = 16 };

typedef struct Block Block;
struct Block {
	Block *next;
	size_t used, size; /* of data */
	_Alignas(ALIGNMENT) char data[];
};

struct Pool {
	Block *blocks;    /* the first has room */
	size_t next_size; /* of the next block: doubles up to LAST_BLOCK */
};

static _Noreturn void fail_memory(size_t bytes)
{
	fprintf(stderr, "out of memory: %zu bytes\n", bytes);
	exit(1);
}

Pool *pool_new(void)
{
	Pool *pool = calloc(1, sizeof *pool);
	if (!pool)
		fail_memory(sizeof *pool);
	pool->next_size = FIRST_BLOCK;
	return pool;
}

void pool_free(Pool *pool)
{
	if (!pool)
		return;
	for (Block *block = pool->blocks, *next; block; block = next) {
		next = block->next;
		free(block);
	}
	free(pool);
}

static Block *block_new(size_t size)
{
	Block *block = size > SIZE_MAX - sizeof *block ? NULL : calloc(1, sizeof *block + size);
	if (!block)
		fail_memory(size);
	block->size = size;
	return block;
}

void *pool_alloc(Pool *pool, size_t bytes)
{
	if (bytes > SIZE_MAX - ALIGNMENT)
		fail_memory(bytes);
	bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	Block *first = pool->blocks;
	if (bytes > pool->next_size / 4) { /* a block of its own, behind the one that has room */
		Block *block = block_new(bytes);
		block->used = bytes;
		if (first) {
			block->next = first->next;
			first->next = block;
		} else {
			pool->blocks = block;
		}
		return block->data;
	}
	if (!first || first->size - first->used < bytes) {
		first = block_new(pool->next_size);
		pool->next_size = pool->next_size < LAST_BLOCK ? pool->next_size * 2 : LAST_BLOCK;
		first->next = pool->blocks;
		pool->blocks = first;
	}
	void *at = first->data + first->used;
	first->used += bytes;
	return at;
}

char *pool_copy(Pool *pool, const void *bytes, size_t count)
{
	char *copy = pool_alloc(pool, count + 1);
	if (count)
		memcpy(copy, bytes, count);
	return copy;
}

char *pool_printf(Pool *pool, const char *format, ...)
{
	char most[256]; /* are shorter, and printed once */
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int length = vsnprintf(most, sizeof most, format, args);
	va_end(args);
	char *text;
	if ((size_t)length < sizeof most) {
		text = pool_copy(pool, most, (size_t)length);
	} else {
		text = pool_alloc(pool, (size_t)length + 1);
		vsnprintf(text, (size_t)length + 1, format, again);
	}
	va_end(again);
	return text;
}

void *memory_resize(void *at, size_t bytes)
{
	void *moved = realloc(at, bytes ? bytes : 1);
	if (!moved)
		fail_memory(bytes);
	return moved;
}

/* ---- bytes ---- */

/* Room for `count` more and a NUL; the old place is left to the pool. */
static char *bytes_room(Bytes *bytes, size_t count)
{
	if (bytes->capacity - bytes->count <= count) {
		size_t capacity = bytes->capacity * 2 + count + 256;
		char *at = pool_alloc(bytes->pool, capacity);
		if (bytes->count)
			memcpy(at, bytes->at, bytes->count);
		bytes->at = at;
		bytes->capacity = capacity;
	}
	char *at = bytes->at + bytes->count;
	bytes->count += count;
	return at;
}

void bytes_append(Bytes *bytes, const void *from, size_t count)
{
	char *at = bytes_room(bytes, count);
	if (count)
		memcpy(at, from, count);
	at[count] = 0;
}

void bytes_zeros(Bytes *bytes, size_t count)
{
	memset(bytes_room(bytes, count), 0, count + 1);
}

void bytes_text(Bytes *bytes, const char *text)
{
	bytes_append(bytes, text, strlen(text));
}

void bytes_printf(Bytes *bytes, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	size_t room = bytes->capacity - bytes->count;
	int length = vsnprintf(room ? bytes->at + bytes->count : NULL, room, format, args);
	va_end(args);
	char *at = bytes_room(bytes, (size_t)length);
	if ((size_t)length >= room)
		vsnprintf(at, (size_t)length + 1, format, again);
	va_end(again);
}

void bytes_json(Bytes *bytes, const char *text)
{
	bytes_append(bytes, "\"", 1);
	for (const char *c = text; *c; c++) {
		if (*c == '"' || *c == '\\')
			bytes_printf(bytes, "\\%c", *c);
		else if ((unsigned char)*c < 0x20 || *c == 0x7f)
			bytes_printf(bytes, "\\u%04x", (unsigned)*c);
		else
			bytes_append(bytes, c, 1);
	}
	bytes_append(bytes, "\"", 1);
}
