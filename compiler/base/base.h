/* SPDX-License-Identifier: MIT
 *
 * base.h: what every stage of the compiler stands on: an arena, interned names,
 * growable text and vectors, source files with locations, diagnostics.
 *
 * Includes nothing of ours. One Compiler holds the state of one compilation (in
 * the REPL: of one session); there are no mutable globals.
 */
#ifndef CMPC_BASE_H
#define CMPC_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct Arena Arena;
typedef struct Compiler Compiler;

/* ---- arena.c: memory of a compilation; nothing is freed singly, nothing returns NULL ---- */

Arena *arena_new(void);
Arena *arena_new_large(void); /* for megabytes */
Arena *arena_inside(Arena *outer, size_t bytes); /* its first chunk is of another, which outlives it */
void arena_free(Arena *arena);
void arena_clear(Arena *arena); /* ends all that was allocated; its last chunk serves again */
static inline void *arena_alloc(Arena *arena, size_t bytes); /* zeroed, 16-byte aligned */
static inline void *arena_room(Arena *arena, size_t bytes);  /* the same with any contents */
char *arena_copy(Arena *arena, const char *text, size_t length); /* adds a NUL */
char *arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(Arena *arena, const char *format, va_list arguments) __attribute__((format(printf, 2, 0), nonnull(2)));

#define arena_new_of(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define arena_array(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (size_t)(count)))

/* Here for the two below, which are called too often to be calls; all else is arena.c's. */
struct Arena {
	unsigned char *at, *end; /* the room left in the newest chunk, a multiple of 16 bytes */
	bool is_zero;            /* that room is */
	struct Chunk *newest;
	size_t next_size; /* of the next chunk, with its head */
};

void *arena_room_in_new(Arena *arena, size_t bytes); /* the room left is too small, or `bytes` beyond all sizes */

static inline void *arena_room(Arena *arena, size_t bytes)
{
	size_t least = bytes ? bytes : 1;
	if (least > (size_t)(arena->end - arena->at))
		return arena_room_in_new(arena, least);
	void *memory = arena->at;
	arena->at += (least + 15) / 16 * 16;
	return memory;
}

static inline void *arena_alloc(Arena *arena, size_t bytes)
{
	void *memory = arena_room(arena, bytes);
	return arena->is_zero ? memory : memset(memory, 0, bytes);
}

/* A vector of T in an arena: `VEC(int) v = {0}; vec_push(arena, &v, 3);` reads as v.at[i], v.count. */
#define VEC(T)                                                                                     \
	struct {                                                                                       \
		T *at;                                                                                     \
		size_t count, capacity;                                                                    \
	}
#define vec_push(arena, vec, item)                                                                 \
	((vec)->count == (vec)->capacity                                                               \
	         ? (void)((vec)->at = vec_grow((arena), (vec)->at, sizeof *(vec)->at, &(vec)->capacity))\
	         : (void)0,                                                                            \
	    (vec)->at[(vec)->count++] = (item))
void *vec_grow(Arena *arena, void *items, size_t item_size, size_t *capacity);

/* ---- str.c: interned names and growable text ---- */

typedef const char *Name; /* interned: equal names are equal pointers; NULL is "no name" */
typedef VEC(Name) NameVec;

Name name_intern(Compiler *c, const char *text, size_t length);
Name name_of(Compiler *c, const char *text); /* text ends in NUL */
/* The candidate nearest to `word` (Damerau-Levenshtein, at most a third of its length off), one that it abbreviates, or NULL. */
Name name_nearest(Name word, const NameVec *candidates);

typedef struct Text {
	Arena *arena;
	char *at; /* NUL-terminated once anything was written */
	size_t count, capacity;
} Text;
void text_printf(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_append(Text *text, const char *bytes, size_t count);
/* Bytes of the UTF-8 character at `at`, 0 if it is none that may be shown: a control character, broken UTF-8. */
size_t character_length(const char *at, size_t left);
void text_shown(Text *text, const char *bytes, size_t count); /* what may not be shown as \xNN, tabs too */
void text_number(Text *text, double value); /* shortest decimal that reads back as the same double */

/* ---- source.c: files and places in them ---- */

typedef struct Loc {
	uint32_t file;       /* index into the compiler's sources */
	uint32_t begin, end; /* byte offsets, half-open */
} Loc;

#define LOC_NONE ((Loc){.file = UINT32_MAX}) /* no place in any file: from the command line */

typedef struct Source {
	const char *path; /* as the user wrote it, or "<repl>", "<stdlib>/passes/x.cmp" */
	const char *text; /* NUL-terminated; the file may hold NULs, `length` rules */
	size_t length;
	const uint32_t *lines; /* offsets of line starts */
	size_t line_count;
} Source;

/* Reads a file, or takes text as given. On failure reports it at `from` and returns false. */
bool source_open(Compiler *c, const char *path, Loc from, uint32_t *file);
uint32_t source_add(Compiler *c, const char *path, const char *text, size_t length);
const Source *source_of(const Compiler *c, uint32_t file);
const char *path_beside(Compiler *c, Loc loc, const char *path); /* a path is relative to the file that says it, at loc */
void source_place(const Compiler *c, Loc loc, uint32_t *line, uint32_t *column); /* both from 1; column in UTF-8 characters, a tab is one */
static inline Loc loc_join(Loc first, Loc last)
{
	return first.file != last.file ? first
								   : (Loc){.file = first.file,
										 .begin = first.begin < last.begin ? first.begin : last.begin,
										 .end = first.end > last.end ? first.end : last.end};
}

/* ---- diag.c: everything the user is told about the program ----
 *
 * Errors are collected; a stage reports all it finds and the driver stops after
 * it. A message is lower case, without a full stop, names kind and name, gives
 * the reason. Notes and helps belong to the message before them.
 *
 *   a.cmp:3:9: error: cannot quantize "fc1" to q4_0: its rows have 80 elements, a block of q4_0 has 32
 *       3 |   quantize.rtn(dtype: q4_0) on "fc1"
 *         |   ^^^^^^^^^^^^^^^^^^^^^^^^^
 *   help: ...
 */
typedef enum DiagKind { DIAG_ERROR, DIAG_WARNING, DIAG_REMARK, DIAG_NOTE, DIAG_HELP } DiagKind;

typedef struct Diag {
	DiagKind kind;
	bool has_loc;
	Loc loc;
	const char *topic; /* of a remark; borrowed */
	const char *text;
} Diag;
typedef VEC(Diag) DiagVec;

void diag_error(Compiler *c, Loc loc, const char *format, ...) __attribute__((format(printf, 3, 4)));
void diag_warning(Compiler *c, Loc loc, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Shown under -R, or under -Rtopic: "order", "fuse", ... */
void diag_remark(Compiler *c, const char *topic, Loc loc, const char *format, ...) __attribute__((format(printf, 4, 5)));
void diag_note(Compiler *c, Loc loc, const char *format, ...) __attribute__((format(printf, 3, 4)));
void diag_help(Compiler *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* An error that belongs to no place in a program: a file that is not there, a missing cc. */
void diag_fatal(Compiler *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "help: did you mean X?" if something near is known; else nothing. */
void diag_nearest(Compiler *c, Name word, const NameVec *candidates);
size_t diag_errors(const Compiler *c);
/* Prints what was collected since the last flush (sorted by nothing: in the order of the report), then forgets it. */
void diag_flush(Compiler *c, FILE *to);

/* ---- compiler.c ---- */

typedef struct Options {
	const char *remarks; /* -R: "", -Rfuse: "fuse"; NULL: none are shown */
	bool color;         /* stderr is a terminal */
	bool time;          /* --time */
} Options;

struct Compiler {
	Arena *arena;
	Arena *scratch; /* what one parse needs until it ends */
	struct NameTable *names;
	VEC(Source) sources;
	DiagVec diags;
	size_t error_count;
	Options options;
};

Compiler *compiler_new(void);
void compiler_free(Compiler *c);

#endif
