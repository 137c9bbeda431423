/* SPDX-License-Identifier: MIT
 *
 * schedule_clean.c: before anything is moved. Steps whose result nothing reads
 * are dropped. A map goes into its readers when that costs nothing: it reads no
 * buffer, or is a plain read of an input; or it has one reader, in the same body,
 * that uses each element once. The Cholesky factor of an inverse that nothing else
 * reads is one factorization, which takes half the work.
 */
#include "schedule.h"

#include <string.h>

/* ---- who touches a buffer ---- */

typedef struct Use {
	uint32_t reads, writes; /* places in steps; a step's reads of what it writes itself are not counted */
	KStep *reader;          /* of the last read */
} Use;

static void count_reads(Use *uses, KStep *step, const KExpr *e)
{
	if (!e || !e->loads)
		return;
	if (e->op == OP_LOAD) {
		if (e->buffer != step->dst) {
			uses[e->buffer->id].reads++;
			uses[e->buffer->id].reader = step;
		}
		for (uint32_t i = 0; i < e->buffer->rank; i++)
			count_reads(uses, step, e->subs[i]);
	}
	for (int i = 0; i < 3 && e->args[i]; i++)
		count_reads(uses, step, e->args[i]);
}

static void count_uses(Use *uses, const KStepVec *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		count_reads(uses, step, step->value);
		count_reads(uses, step, step->key);
		count_reads(uses, step, step->limit);
		if (step->dst)
			uses[step->dst->id].writes++;
		for (int o = 0; step->kind == STEP_LINALG && o < 3; o++)
			if (step->outs[o])
				uses[step->outs[o]->id].writes++;
		if (step->kind == STEP_LINALG) {
			uses[step->ins[0]->id].reads++;
			uses[step->ins[0]->id].reader = step;
		}
		count_uses(uses, &step->body);
	}
}

static Use *find_uses(Kernel *k)
{
	Use *uses = arena_array(k->c->arena, Use, k->buffers.count + 1);
	count_uses(uses, &k->steps);
	return uses;
}

/* ---- dead steps ---- */

static bool is_needed(const KStep *step, const Use *uses)
{
	KBuffer *written[3] = {step->dst, NULL, NULL};
	if (step->kind == STEP_LINALG)
		memcpy(written, step->outs, sizeof written);
	for (int w = 0; w < 3; w++)
		if (written[w] && (written[w]->kind == BUFFER_OUTPUT || uses[written[w]->id].reads))
			return true;
	return false;
}

static bool drop_dead(KStepVec *steps, const Use *uses)
{
	size_t kept = 0, before = steps->count;
	bool changed = false;
	for (size_t i = 0; i < before; i++) {
		KStep *step = steps->at[i];
		bool is_compound = step->kind == STEP_LOOP || step->kind == STEP_IF;
		if (is_compound)
			changed |= drop_dead(&step->body, uses);
		if (is_compound ? step->body.count > 0 : is_needed(step, uses))
			steps->at[kept++] = step;
	}
	steps->count = kept;
	return changed || kept != before;
}

static void drop_all_dead(Kernel *k)
{
	while (drop_dead(&k->steps, find_uses(k)))
		;
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

static const KExpr *find_load(const KExpr *e, const KBuffer *buffer)
{
	const KExpr *found = NULL;
	if (!e || !e->loads)
		return NULL;
	if (e->op == OP_LOAD && e->buffer == buffer)
		return e;
	for (uint32_t i = 0; e->op == OP_LOAD && i < e->buffer->rank && !found; i++)
		found = find_load(e->subs[i], buffer);
	for (int i = 0; i < 3 && e->args[i] && !found; i++)
		found = find_load(e->args[i], buffer);
	return found;
}

/* Every index of the reader appears in what it reads: no element is computed twice. */
static bool reads_each_once(const KStep *step, const KBuffer *buffer)
{
	const KExpr *load = find_load(step->value, buffer);
	if (!load || (step->kind != STEP_MAP && step->kind != STEP_REDUCE && step->kind != STEP_SCAN))
		return false;
	for (uint32_t side = 0; side < 2; side++) {
		KIndex **indices = side ? step->over : step->domain;
		uint32_t count = side ? step->over_count : step->domain_count;
		for (uint32_t i = 0; i < count; i++) {
			bool is_used = false;
			for (uint32_t d = 0; d < buffer->rank; d++)
				is_used |= kexpr_uses(load->subs[d], indices[i]);
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

/* Does e, in the place of a read of this step's, read what the step writes, but for the very element? All of a step's
 * reads come before its writes, and its turns may come in any order. */
static bool meets_writes(const KStep *step, const KExpr *e)
{
	if (!e->loads)
		return false;
	bool is_other = e->op == OP_LOAD && e->buffer == step->dst && step->kind != STEP_MAP;
	for (uint32_t i = 0; e->op == OP_LOAD && i < e->buffer->rank && !is_other; i++) {
		int64_t difference;
		is_other = meets_writes(step, e->subs[i]) ||
				   (e->buffer == step->dst &&
					   !(kexpr_difference(e->subs[i], step->dst_subs[i], &difference) && difference == 0));
	}
	for (int i = 0; i < 3 && e->args[i] && !is_other; i++)
		is_other = meets_writes(step, e->args[i]);
	return is_other;
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

/* What the map reads is now read by its reader. */
static void move_reads(Use *uses, const KExpr *e, KStep *to)
{
	if (!e->loads)
		return;
	if (e->op == OP_LOAD)
		uses[e->buffer->id].reader = to;
	for (uint32_t i = 0; e->op == OP_LOAD && i < e->buffer->rank; i++)
		move_reads(uses, e->subs[i], to);
	for (int i = 0; i < 3 && e->args[i]; i++)
		move_reads(uses, e->args[i], to);
}

/* ---- factorizations in a row ---- */

/* The step of `steps`, if there is one, that alone reads what the inverse number `at` of them is, and factors it. */
static size_t find_factor(Kernel *k, const KStepVec *steps, size_t at, const Use *uses)
{
	const KStep *inverse = steps->at[at];
	if (inverse->kind != STEP_LINALG || inverse->linalg != LINALG_INVERSE ||
		!store_equal(inverse->outs[0]->store, inverse->ins[0]->store))
		return steps->count;
	const Use *use = &uses[inverse->outs[0]->id];
	size_t to = find_step(steps, use->reader);
	bool is_factor = use->reads == 1 && use->writes == 1 && to > at && to < steps->count &&
					 steps->at[to]->kind == STEP_LINALG && steps->at[to]->linalg == LINALG_CHOLESKY &&
					 steps->at[to]->sweep == inverse->sweep && inputs_survive(k, steps, at, to);
	return is_factor ? to : steps->count;
}

static void compose_factorizations(Kernel *k, KStepVec *steps, const Use *uses)
{
	size_t kept = 0, before = steps->count;
	for (size_t i = 0; i < before; i++) {
		KStep *step = steps->at[i];
		compose_factorizations(k, &step->body, uses);
		size_t to = find_factor(k, steps, i, uses);
		if (to == before) {
			steps->at[kept++] = step;
			continue;
		}
		steps->at[to]->linalg = LINALG_INVERSE_FACTOR;
		steps->at[to]->ins[0] = step->ins[0];
	}
	steps->count = kept;
}

/* ---- factorizations in place ---- */

/* Reads and writes of a buffer in steps [from, to). */
static size_t count_touches(Kernel *k, const KStepVec *steps, size_t from, size_t to, const KBuffer *buffer)
{
	AccessVec all = {0};
	size_t count = 0;
	for (size_t i = from; i < to; i++)
		access_collect(k, steps->at[i], &all);
	for (size_t i = 0; i < all.count; i++)
		count += all.at[i].buffer == buffer;
	return count;
}

/* The map of `steps` before number `at` that makes the buffer; NULL: there is none. */
static KStep *find_maker(const KStepVec *steps, size_t at, const KBuffer *buffer)
{
	for (size_t i = 0; i < at; i++)
		if (steps->at[i]->kind == STEP_MAP && steps->at[i]->dst == buffer && !find_load(steps->at[i]->value, buffer))
			return steps->at[i];
	return NULL;
}

/* Is what is factored here read by nothing else, and its result not there before? */
static bool may_overwrite(Kernel *k, const KStepVec *steps, size_t at, const Use *uses)
{
	const KStep *step = steps->at[at];
	if (step->kind != STEP_LINALG || !linalg_is_definite(step->linalg))
		return false;
	const KBuffer *in = step->ins[0], *out = step->outs[0];
	size_t all = k->steps.count;
	return in != out && in->kind == BUFFER_TEMP && out->kind == BUFFER_TEMP && store_equal(in->store, out->store) &&
		   uses[in->id].reads == 1 && uses[in->id].writes == 1 && find_maker(steps, at, in) &&
		   count_touches(k, &k->steps, 0, all, out) == count_touches(k, steps, at, steps->count, out);
}

/* A matrix that was made for a factorization lies where the factor goes. */
static void factor_in_place(Kernel *k, const KStepVec *steps, const Use *uses)
{
	for (size_t i = 0; i < steps->count; i++) {
		factor_in_place(k, &steps->at[i]->body, uses);
		if (!may_overwrite(k, steps, i, uses))
			continue;
		KBuffer *in = steps->at[i]->ins[0];
		find_maker(steps, i, in)->dst = steps->at[i]->outs[0];
		steps->at[i]->ins[0] = steps->at[i]->outs[0];
	}
}

/* LAPACK reads it: there it must lie as a whole. */
static bool is_factored(const KStepVec *steps, const KBuffer *buffer)
{
	for (size_t i = 0; i < steps->count; i++)
		if ((steps->at[i]->kind == STEP_LINALG && steps->at[i]->ins[0] == buffer) ||
			is_factored(&steps->at[i]->body, buffer))
			return true;
	return false;
}

static bool try_inline(Kernel *k, KStepVec *steps, size_t at, Use *uses)
{
	KStep *map = steps->at[at];
	if (!is_plain_map(map) || uses[map->dst->id].writes != 1)
		return false;
	Inliner in = {k, map};
	bool is_constant = !map->value->loads && map->value->op != OP_SELECT; /* of indices and constants only */
	/* Inputs do not change, and are as near as a copy of them would be. */
	bool is_input = map->value->op == OP_LOAD && map->value->buffer->kind == BUFFER_INPUT;
	if ((is_constant || is_input) && !is_factored(&k->steps, map->dst)) {
		inline_into_all(&in, &k->steps);
		return true;
	}
	if (uses[map->dst->id].reads != 1)
		return false;
	KStep *reader = uses[map->dst->id].reader;
	size_t to = find_step(steps, reader);
	if (to <= at || to == steps->count || reader->sweep != map->sweep || !reads_each_once(reader, map->dst) ||
		!inputs_survive(k, steps, at, to) ||
		meets_writes(reader, value_at(&in, find_load(reader->value, map->dst)->subs)))
		return false;
	step_rewrite(reader, replace_loads, &in);
	move_reads(uses, map->value, reader);
	return true;
}

static void inline_maps_of(Kernel *k, KStepVec *steps, Use *uses)
{
	for (size_t i = 0; i < steps->count; i++)
		inline_maps_of(k, &steps->at[i]->body, uses);
	for (size_t i = 0; i < steps->count;) {
		if (!try_inline(k, steps, i, uses)) {
			i++;
			continue;
		}
		memmove(steps->at + i, steps->at + i + 1, sizeof *steps->at * (steps->count - i - 1));
		steps->count--;
	}
}

/* Is the map a[i, j] = b[i, j] for all of both, of one storage type? */
static bool is_copy(const KStep *map, const KBuffer *a, const KBuffer *b)
{
	const KExpr *from = map->value;
	if (map->kind != STEP_MAP || map->dst != a || from->op != OP_LOAD || from->buffer != b ||
		!store_equal(a->store, b->store) || a->rank != b->rank || map->domain_count != a->rank)
		return false;
	for (uint32_t i = 0; i < a->rank; i++) {
		const KIndex *index, *other;
		int64_t lo;
		if (!expr_is_index(map->dst_subs[i], &index) || !expr_is_index(from->subs[i], &other) || index != other ||
			!kexpr_is_const(index->lo, &lo) || lo != 0 || index->step != 1 || !kexpr_equal(index->hi, a->extent[i]) ||
			!kexpr_equal(a->extent[i], b->extent[i]))
			return false;
	}
	return true;
}

/* A factor that is only copied to where its matrix lies goes there at once. */
static void factor_back(Kernel *k, KStepVec *steps, const Use *uses)
{
	for (size_t i = 0; i < steps->count; i++) {
		KStep *step = steps->at[i];
		factor_back(k, &step->body, uses);
		if (step->kind != STEP_LINALG || !linalg_is_definite(step->linalg) || i + 1 == steps->count)
			continue;
		const KBuffer *out = step->outs[0];
		if (out->kind != BUFFER_TEMP || uses[out->id].reads != 1 || uses[out->id].writes != 1 ||
			!is_copy(steps->at[i + 1], step->ins[0], out))
			continue;
		step->outs[0] = step->ins[0];
		steps->count--;
		memmove(steps->at + i + 1, steps->at + i + 2, sizeof *steps->at * (steps->count - i - 1));
	}
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

/* Buffers that no step touches any more would still be memory of whoever runs the kernel. */
static void drop_unused_buffers(Kernel *k)
{
	const Use *uses = find_uses(k);
	size_t kept = 0;
	for (size_t b = 0; b < k->buffers.count; b++) {
		KBuffer *buffer = k->buffers.at[b];
		if (buffer->kind == BUFFER_TEMP && !uses[buffer->id].reads && !uses[buffer->id].writes)
			continue;
		k->buffers.at[kept++] = buffer;
	}
	k->buffers.count = kept;
	for (size_t b = 0; b < kept; b++)
		k->buffers.at[b]->id = (uint32_t)b;
}

void schedule_clean(Kernel *k, bool inline_maps)
{
	drop_all_dead(k);
	compose_factorizations(k, &k->steps, find_uses(k));
	if (inline_maps)
		inline_maps_of(k, &k->steps, find_uses(k));
	factor_in_place(k, &k->steps, find_uses(k));
	factor_back(k, &k->steps, find_uses(k));
	drop_single_indices(k, &k->steps);
	schedule_contract(k);
	drop_unused_buffers(k);
}
