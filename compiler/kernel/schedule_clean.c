/* SPDX-License-Identifier: MIT
 *
 * schedule_clean.c: before anything is moved. Steps whose result nothing reads
 * are dropped. A map goes into its reader when that costs nothing: it reads no
 * buffer, or it has one reader, in the same body, that uses each element once.
 */
#include "schedule.h"

#include <string.h>

/* ---- dead steps ---- */

static bool is_needed(const KStep *step, const AccessVec *all)
{
	KBuffer *written[3] = {step->dst, NULL, NULL};
	if (step->kind == STEP_LINALG)
		memcpy(written, step->outs, sizeof written);
	for (int w = 0; w < 3; w++) {
		if (!written[w])
			continue;
		if (written[w]->kind == BUFFER_OUTPUT)
			return true;
		for (size_t i = 0; i < all->count; i++)
			if (all->at[i].buffer == written[w] && !all->at[i].is_write && all->at[i].step != step)
				return true;
	}
	return false;
}

static bool drop_dead(KStepVec *steps, const AccessVec *all)
{
	size_t kept = 0, before = steps->count;
	bool changed = false;
	for (size_t i = 0; i < before; i++) {
		KStep *step = steps->at[i];
		bool is_compound = step->kind == STEP_LOOP || step->kind == STEP_IF;
		if (is_compound)
			changed |= drop_dead(&step->body, all);
		if (is_compound ? step->body.count > 0 : is_needed(step, all))
			steps->at[kept++] = step;
	}
	steps->count = kept;
	return changed || kept != before;
}

static void drop_all_dead(Kernel *k)
{
	for (bool changed = true; changed;) {
		AccessVec all = {0};
		access_collect_all(k, &k->steps, &all);
		changed = drop_dead(&k->steps, &all);
	}
}

/* ---- maps into their readers ---- */

typedef struct Inliner {
	Kernel *k;
	const KStep *map; /* whose dst is replaced by its value */
} Inliner;

/* The map's value where dst is read at subs; NULL if its indices are not plainly its subscripts. */
static KExpr *value_at(Inliner *in, KExpr *const *subs)
{
	const KStep *map = in->map;
	KExpr *value = map->value;
	for (uint32_t i = 0; i < map->dst->rank; i++)
		value = kexpr_substitute(in->k, value, map->dst_subs[i]->index, subs[i]);
	return value;
}

static KExpr *replace_loads(void *context, KExpr *e)
{
	Inliner *in = context;
	if (!e->loads)
		return e;
	if (e->op == OP_LOAD && e->buffer == in->map->dst)
		return value_at(in, e->subs);
	KExpr *copy = arena_new_of(in->k->c->arena, KExpr);
	*copy = *e;
	if (e->op == OP_LOAD) {
		copy->subs = arena_array(in->k->c->arena, KExpr *, e->buffer->rank);
		for (uint32_t i = 0; i < e->buffer->rank; i++)
			copy->subs[i] = replace_loads(in, e->subs[i]);
	}
	copy->loads = e->op == OP_LOAD;
	copy->uses = 0;
	for (int i = 0; i < 3 && e->args[i]; i++) {
		copy->args[i] = replace_loads(in, e->args[i]);
		copy->loads |= copy->args[i]->loads;
		copy->uses |= copy->args[i]->uses;
	}
	for (uint32_t i = 0; e->op == OP_LOAD && i < e->buffer->rank; i++)
		copy->uses |= copy->subs[i]->uses;
	return copy;
}

/* dst[i, j, ..] with each of the map's indices, whole, once: any read of dst can be computed in its place */
static bool is_plain_map(const KStep *step)
{
	if (step->kind != STEP_MAP || step->dst->kind != BUFFER_TEMP || step->domain_count != step->dst->rank ||
		step->store.kind != step->dst->store.kind)
		return false;
	KType type = store_type(step->dst->store);
	Store exact = store_of_type(type);
	if (step->value->type != type || exact.kind != step->dst->store.kind || exact.bits != step->dst->store.bits)
		return false; /* storing rounds */
	for (uint32_t i = 0; i < step->dst->rank; i++) {
		const KIndex *index;
		if (!expr_is_index(step->dst_subs[i], &index) || !index_is_whole(index, step->dst->extent[i]))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (step->dst_subs[j]->index == index)
				return false;
	}
	return true;
}

static size_t count_writes(const AccessVec *all, const KBuffer *buffer)
{
	size_t count = 0;
	for (size_t i = 0; i < all->count; i++)
		count += all->at[i].buffer == buffer && all->at[i].is_write;
	return count;
}

/* Every index of the reader appears in what it reads: no element is computed twice. */
static bool reads_each_once(const Access *read)
{
	const KStep *step = read->step;
	if (step->kind != STEP_MAP && step->kind != STEP_REDUCE && step->kind != STEP_SCAN)
		return false;
	for (uint32_t side = 0; side < 2; side++) {
		KIndex **indices = side ? step->over : step->domain;
		uint32_t count = side ? step->over_count : step->domain_count;
		for (uint32_t i = 0; i < count; i++) {
			bool is_used = false;
			for (uint32_t d = 0; d < read->buffer->rank; d++)
				is_used |= kexpr_uses(read->subs[d], indices[i]);
			if (!is_used)
				return false;
		}
	}
	return true;
}

/* Between map and reader (both in steps) nothing writes what the map reads. */
static bool inputs_survive(Kernel *k, const KStepVec *steps, size_t map, size_t reader)
{
	AccessVec reads = {0}, between = {0};
	access_collect(k, steps->at[map], &reads);
	for (size_t i = map + 1; i < reader; i++)
		access_collect(k, steps->at[i], &between);
	for (size_t i = 0; i < reads.count; i++)
		for (size_t j = 0; j < between.count; j++)
			if (!reads.at[i].is_write && between.at[j].is_write && reads.at[i].buffer == between.at[j].buffer)
				return false;
	return true;
}

static size_t find_step(const KStepVec *steps, const KStep *step)
{
	size_t i = 0;
	while (i < steps->count && steps->at[i] != step)
		i++;
	return i;
}

static void inline_into_all(Inliner *in, KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		if (steps->at[i] != in->map)
			step_rewrite(steps->at[i], replace_loads, in);
		inline_into_all(in, &steps->at[i]->body);
	}
}

static bool try_inline(Kernel *k, KStepVec *steps, size_t at, const AccessVec *all)
{
	KStep *map = steps->at[at];
	if (!is_plain_map(map) || count_writes(all, map->dst) != 1)
		return false;
	Inliner in = {k, map};
	if (!map->value->loads && map->value->op != OP_SELECT) { /* of indices and constants only */
		inline_into_all(&in, &k->steps);
		return true;
	}
	const Access *reader = NULL;
	for (size_t i = 0; i < all->count; i++) {
		if (all->at[i].buffer != map->dst || all->at[i].is_write)
			continue;
		if (reader)
			return false;
		reader = &all->at[i];
	}
	size_t to = reader ? find_step(steps, reader->step) : steps->count;
	if (to <= at || to == steps->count || !reads_each_once(reader) || !inputs_survive(k, steps, at, to))
		return false;
	if (map->value->op == OP_LOAD && map->value->buffer->kind == BUFFER_INPUT)
		return false; /* the one place where the file's bytes become numbers */
	step_rewrite(steps->at[to], replace_loads, &in);
	return true;
}

static bool inline_maps_of(Kernel *k, KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		if (inline_maps_of(k, &steps->at[i]->body))
			return true;
		AccessVec all = {0};
		access_collect_all(k, &k->steps, &all);
		if (try_inline(k, steps, i, &all)) {
			memmove(steps->at + i, steps->at + i + 1, sizeof *steps->at * (steps->count - i - 1));
			steps->count--;
			return true;
		}
	}
	return false;
}

/* An index with one value is that value. */
static void drop_single_indices(Kernel *k, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		KIndex **domain = arena_array(k->c->arena, KIndex *, step->domain_count + 1);
		uint32_t kept = 0, count = step->domain_count;
		for (uint32_t d = 0; d < count; d++) {
			int64_t lo, hi;
			KIndex *index = step->domain[d];
			if (kexpr_is_const(index->lo, &lo) && kexpr_is_const(index->hi, &hi) && lo == 0 && hi == 1)
				step_substitute(k, step, index, kexpr_int(k, T_I32, 0));
			else
				domain[kept++] = index;
		}
		step->domain = domain;
		step->domain_count = kept;
		drop_single_indices(k, &step->body);
	}
}

void schedule_clean(Kernel *k, bool inline_maps)
{
	drop_all_dead(k);
	while (inline_maps && inline_maps_of(k, &k->steps))
		;
	drop_single_indices(k, &k->steps);
}
