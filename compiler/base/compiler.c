/* SPDX-License-Identifier: MIT
 *
 * compiler.c: the state of one compilation. It lives in its own arena, so that
 * freeing the arena frees everything.
 */
#include "base.h"

enum { FIRST_SCRATCH = 384 * 1024 }; /* the tokens of a long file */

Compiler *compiler_new(void)
{
	Arena *arena = arena_new_large();
	Compiler *c = arena_new_of(arena, Compiler);
	c->arena = arena;
	c->scratch = arena_inside(arena, FIRST_SCRATCH);
	return c;
}

void compiler_free(Compiler *c)
{
	if (!c)
		return;
	arena_free(c->scratch);
	arena_free(c->arena);
}
