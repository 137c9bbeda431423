/* SPDX-License-Identifier: MIT
 *
 * schedule_contract.c: contractions as BLAS takes them. On exit their ranges count
 * from 0, and w[o, k] - sum[o, k], where the sum is a contraction that nothing else
 * reads, is a contraction that is taken off from w where it lies: the sum needs no
 * memory, and w is gone through once.
 */
#include "schedule.h"

#include <string.h>

/* ---- taken off ---- */

/* Those steps that touch a buffer, however deep. */
static size_t count_touches(Kernel *k, const KStepVec *steps, const KBuffer *buffer)
{
	AccessVec all = {0};
	size_t count = 0;
	access_collect_all(k, steps, &all);
	for (size_t i = 0; i < all.count; i++)
		count += all.at[i].buffer == buffer;
	return count;
}

static KIndex *index_like(const KStep *step, const KIndex *wanted, const KExpr *sub)
{
	const KIndex *index;
	if (!expr_is_index(sub, &index) || index->step != wanted->step || !kexpr_equal(index->lo, wanted->lo) ||
		!kexpr_equal(index->hi, wanted->hi))
		return NULL;
	for (uint32_t i = 0; i < step->domain_count; i++)
		if (step->domain[i] == index)
			return step->domain[i];
	return NULL;
}

/* Does the map go through exactly what the sum defines, each index of the one for one of the other? Then own[i] is the
 * sum's for the map's number i. */
static bool match_indices(const KStep *sum, const KStep *map, const KExpr *load, KIndex **own)
{
	if (map->domain_count != sum->domain_count || map->domain_count != sum->dst->rank)
		return false;
	for (uint32_t i = 0; i < map->domain_count; i++) {
		uint32_t d = 0;
		while (d < sum->dst->rank && !(load->subs[d]->op == OP_INDEX && load->subs[d]->index == map->domain[i]))
			d++;
		own[i] = d < sum->dst->rank ? index_like(sum, map->domain[i], sum->dst_subs[d]) : NULL;
		for (uint32_t j = 0; own[i] && j < i; j++)
			if (own[j] == own[i])
				return false;
		if (!own[i])
			return false;
	}
	return true;
}

static bool is_taken_off(Kernel *k, const KStep *sum, const KStep *map)
{
	const KExpr *value = map->value;
	if (!sum->is_contraction || sum->minuend || map->kind != STEP_MAP || map->sweep != sum->sweep ||
		sum->dst->kind != BUFFER_TEMP || value->op != OP_SUB || value->args[1]->op != OP_LOAD ||
		value->args[1]->buffer != sum->dst || value->type != sum->value->type ||
		!store_equal(sum->store, sum->dst->store) || !store_equal(value->args[1]->store, sum->store) ||
		store_type(sum->store) != value->type || sum->store.kind != store_of_type(value->type).kind)
		return false;
	AccessVec own = {0}, read = {0};
	access_collect(k, (KStep *)sum, &own);
	for (size_t i = 0; i < own.count; i++)
		if (own.at[i].buffer == map->dst)
			return false;
	KStep probe = {.kind = STEP_MAP, .value = value->args[0]};
	access_collect(k, &probe, &read);
	return !accesses_use(&read, sum->dst) && count_touches(k, &k->steps, sum->dst) == 2;
}

/* The sum does what the map does. */
static void take_off(Kernel *k, KStep *sum, const KStep *map, KIndex *const *own)
{
	KExpr **subs = arena_array(k->c->arena, KExpr *, map->dst->rank + 1);
	memcpy(subs, map->dst_subs, sizeof *subs * map->dst->rank);
	sum->minuend = map->value->args[0];
	for (uint32_t i = 0; i < map->domain_count; i++) {
		KExpr *by = kexpr_index(k, own[i]);
		sum->minuend = kexpr_substitute(k, sum->minuend, map->domain[i], by);
		for (uint32_t d = 0; d < map->dst->rank; d++)
			subs[d] = kexpr_substitute(k, subs[d], map->domain[i], by);
	}
	sum->dst = map->dst;
	sum->dst_subs = subs;
	sum->store = map->store;
}

static void take_off_all(Kernel *k, KStepVec *steps)
{
	size_t kept = 0;
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[kept++] = steps->at[i];
		KIndex *own[K_MAX_RANK];
		take_off_all(k, &step->body);
		if (step->kind != STEP_REDUCE || i + 1 == steps->count || !is_taken_off(k, step, steps->at[i + 1]) ||
			!match_indices(step, steps->at[i + 1], steps->at[i + 1]->value->args[1], own))
			continue;
		take_off(k, step, steps->at[i + 1], own);
		i++;
	}
	steps->count = kept;
}

/* ---- counting from zero ---- */

/* index from lo on becomes lo + one that counts from 0. */
static KIndex *count_from_zero(Kernel *k, KStep *step, KIndex *index)
{
	int64_t lo;
	if (index->step != 1 || (kexpr_is_const(index->lo, &lo) && lo == 0))
		return index;
	KExpr *zero = kexpr_int(k, index->lo->type, 0);
	KIndex *made = kindex_new(k, index->name, zero, kexpr_binary(k, OP_SUB, index->hi, index->lo), 1);
	step_substitute(k, step, index, kexpr_binary(k, OP_ADD, kexpr_index(k, made), index->lo));
	return made;
}

/* The ranges of a contraction count from 0, as those of a product of matrices do. */
static void rebase_contractions(Kernel *k, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		rebase_contractions(k, &step->body);
		if (!step->is_contraction)
			continue;
		KIndex **domain = arena_array(k->c->arena, KIndex *, step->domain_count + 1);
		KIndex **over = arena_array(k->c->arena, KIndex *, step->over_count + 1);
		for (uint32_t d = 0; d < step->domain_count; d++)
			domain[d] = count_from_zero(k, step, step->domain[d]);
		for (uint32_t d = 0; d < step->over_count; d++)
			over[d] = count_from_zero(k, step, step->over[d]);
		step->domain = domain;
		step->over = over;
	}
}

void schedule_contract(Kernel *k)
{
	take_off_all(k, &k->steps);
	rebase_contractions(k, &k->steps);
}
