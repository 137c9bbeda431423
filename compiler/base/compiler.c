/* SPDX-License-Identifier: MIT
 *
 * compiler.c: the state of one compilation. It lives in its own arena, so that
 * freeing the arena frees everything.
 */
#include "base.h"

Compiler *compiler_new(void)
{
	Arena *arena = arena_new_large();
	Compiler *c = arena_new_of(arena, Compiler);
	c->arena = arena;
	return c;
}

void compiler_free(Compiler *c)
{
	if (c)
		arena_free(c->arena);
}
