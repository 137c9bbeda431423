/* SPDX-License-Identifier: MIT
 *
 * build.h: short words for building kernels by hand, and numbers that look random and are the same in every run.
 */
#ifndef CMPC_TEST_BUILD_H
#define CMPC_TEST_BUILD_H

#include "kernel.h"

static inline KExpr *i32(Kernel *k, int64_t value)
{
	return kexpr_int(k, T_I32, value);
}

static inline KExpr *at(Kernel *k, KIndex *index)
{
	return kexpr_index(k, index);
}

static inline KExpr *add(Kernel *k, KExpr *a, KExpr *b)
{
	return kexpr_binary(k, OP_ADD, a, b);
}

static inline KExpr *mul(Kernel *k, KExpr *a, KExpr *b)
{
	return kexpr_binary(k, OP_MUL, a, b);
}

static inline Store store(Kernel *k, const char *name)
{
	return store_find(name_of(k->c, name));
}

static inline void push(Kernel *k, KStepVec *to, KStep *step)
{
	vec_push(k->c->arena, to, step);
}

static uint64_t random_state = 7;

static inline uint32_t next_random(void)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(random_state >> 32);
}

#endif
