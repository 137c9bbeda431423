/* SPDX-License-Identifier: MIT
 *
 * schedule_nest.c: loop fusion. Indices that subscript the same axis of the same
 * buffers form a class. Steps that share a class, one turn of which needs nothing
 * that another turn of it makes, go into one loop over that class; then the same
 * inside the loop. A step may move up past others it has nothing to do with.
 * Steps of different sweeps stay apart.
 */
#include "schedule.h"

#include <string.h>

/* One digit of one axis of a buffer; indices found at the same digit are one class. */
typedef struct Digit {
	const KBuffer *buffer;
	uint32_t axis;
	int64_t stride, extent; /* extent -1: a whole axis of unknown length */
	const KIndex *index;
} Digit;

typedef struct Nester {
	Kernel *k;
	VEC(Digit) digits;
	uint32_t *parent;  /* union-find over index ids */
	KIndex *loops[32]; /* around the steps in hand */
	uint32_t loop_count;
	uint32_t made_count; /* of those, how many are not the program's */
} Nester;

/* ---- classes ---- */

static uint32_t class_of(const Nester *n, const KIndex *index)
{
	uint32_t at = index->id;
	while (n->parent[at] != at)
		at = n->parent[at] = n->parent[n->parent[at]];
	return at;
}

static void unite(Nester *n, const KIndex *a, const KIndex *b)
{
	n->parent[class_of(n, a)] = class_of(n, b);
}

static void note_digit(Nester *n, Digit digit)
{
	for (size_t i = 0; i < n->digits.count; i++) {
		const Digit *other = &n->digits.at[i];
		if (other->buffer == digit.buffer && other->axis == digit.axis && other->stride == digit.stride &&
			other->extent == digit.extent) {
			unite(n, digit.index, other->index);
			return;
		}
	}
	vec_push(n->k->c->arena, &n->digits, digit);
}

/* The digits of axis d that an access runs over; 0: it is no number in mixed radix. */
static uint32_t digits_of(const Nester *n, const Access *access, uint32_t d, Digit *out)
{
	int64_t extent;
	const KIndex *index;
	const KBuffer *buffer = access->buffer;
	if (!access->subs)
		return 0;
	if (!kexpr_is_const(buffer->extent[d], &extent)) {
		if (!expr_is_index(access->subs[d], &index) || !index_is_whole(index, buffer->extent[d]))
			return 0;
		out[0] = (Digit){buffer, d, 1, -1, index};
		return 1;
	}
	Radix r;
	if (!radix_of(n->k, access->step, n->loops, n->loop_count, access->subs[d], extent, &r))
		return 0;
	for (uint32_t i = 0; i < r.count; i++)
		out[i] = (Digit){buffer, d, r.stride[i], r.extent[i], r.index[i]};
	return r.count;
}

static void find_classes(Nester *n)
{
	AccessVec all = {0};
	n->parent = arena_array(n->k->c->arena, uint32_t, n->k->index_count + 1);
	for (uint32_t i = 0; i < n->k->index_count; i++)
		n->parent[i] = i;
	access_collect_all(n->k, &n->k->steps, &all);
	for (size_t i = 0; i < all.count; i++) {
		Digit digits[MAX_DIGITS];
		if (all.at[i].buffer->kind == BUFFER_TABLE)
			continue;
		for (uint32_t d = 0; d < all.at[i].buffer->rank; d++) {
			uint32_t count = digits_of(n, &all.at[i], d, digits);
			for (uint32_t j = 0; j < count; j++)
				if (digits[j].index)
					note_digit(n, digits[j]);
		}
	}
}

/* ---- steps and a class ---- */

static bool is_compound(const KStep *step)
{
	return step->kind == STEP_LOOP || step->kind == STEP_IF;
}

/* The one index of the step's domain that is of this class, or NULL. */
static KIndex *member_index(const Nester *n, const KStep *step, uint32_t class)
{
	KIndex *found = NULL;
	for (uint32_t i = 0; i < step->domain_count; i++) {
		if (class_of(n, step->domain[i]) != class)
			continue;
		if (found)
			return NULL;
		found = step->domain[i];
	}
	return found;
}

/* A contraction is worth most as a whole, so the indices that one of its factors lacks stay in it. */
static bool splits_contraction(const KStep *step, const KIndex *index)
{
	return step->is_contraction && step->value->op == OP_MUL &&
		   kexpr_uses(step->value->args[0], index) != kexpr_uses(step->value->args[1], index);
}

static bool has_class(const Nester *n, const KStep *step, uint32_t class)
{
	if (!is_compound(step)) {
		const KIndex *index = member_index(n, step, class);
		return index && !splits_contraction(step, index);
	}
	if (step->kind == STEP_IF && step->value->loads)
		return false; /* decided once, for all of them */
	for (size_t i = 0; i < step->body.count; i++)
		if (!has_class(n, step->body.at[i], class))
			return false;
	return step->body.count > 0;
}

static const KStep *first_leaf(const KStep *step)
{
	while (is_compound(step) && step->body.count)
		step = step->body.at[0];
	return step;
}

/* Is digit j of axis d, the same for all accesses of this buffer, the class's index everywhere? */
static bool is_aligned(const Nester *n, const AccessVec *all, const KBuffer *buffer, uint32_t d, uint32_t class)
{
	int64_t stride = 0, extent = 0;
	for (size_t i = 0; i < all->count; i++) {
		const Access *access = &all->at[i];
		Digit digits[MAX_DIGITS];
		if (access->buffer != buffer)
			continue;
		uint32_t count = digits_of(n, access, d, digits);
		const KIndex *own = member_index(n, access->step, class);
		bool found = false;
		for (uint32_t j = 0; j < count; j++) {
			if (digits[j].index != own || (stride && (digits[j].stride != stride || digits[j].extent != extent)))
				continue;
			stride = digits[j].stride;
			extent = digits[j].extent;
			found = true;
		}
		if (!found)
			return false;
	}
	return true;
}

/* May one loop over the class hold everything that makes these accesses? */
static bool may_share(const Nester *n, const AccessVec *all, uint32_t class)
{
	for (size_t i = 0; i < all->count; i++) {
		KBuffer *buffer = all->at[i].buffer;
		size_t touches = 0;
		bool is_aligned_somewhere = false;
		if (!all->at[i].is_write || buffer->kind == BUFFER_OUTPUT)
			continue; /* the parts of an output never meet */
		for (size_t j = 0; j < all->count; j++)
			touches += all->at[j].buffer == buffer;
		for (uint32_t d = 0; d < buffer->rank && !is_aligned_somewhere && touches > 1; d++)
			is_aligned_somewhere = is_aligned(n, all, buffer, d, class);
		if (touches > 1 && !is_aligned_somewhere)
			return false;
	}
	return true;
}

static bool depends(const AccessVec *a, const AccessVec *b)
{
	for (size_t i = 0; i < a->count; i++)
		for (size_t j = 0; j < b->count; j++)
			if (a->at[i].buffer == b->at[j].buffer && a->at[i].buffer->kind != BUFFER_OUTPUT &&
				(a->at[i].is_write || b->at[j].is_write))
				return true;
	return false;
}

static void append_accesses(Nester *n, AccessVec *to, const AccessVec *from)
{
	for (size_t i = 0; i < from->count; i++)
		vec_push(n->k->c->arena, to, from->at[i]);
}

/* ---- clusters ---- */

typedef struct Cluster {
	KStepVec members, rest;
	AccessVec accesses;
	bool does_more_than_map;
} Cluster;

/* From `items`, the first and all that may share its loop over the class. */
static bool cluster_of(Nester *n, const KStepVec *items, uint32_t class, Cluster *out)
{
	AccessVec skipped = {0};
	*out = (Cluster){0};
	for (size_t i = 0; i < items->count; i++) {
		KStep *step = items->at[i];
		AccessVec own = {0}, joined = {0};
		access_collect(n->k, step, &own);
		append_accesses(n, &joined, &out->accesses);
		append_accesses(n, &joined, &own);
		if (has_class(n, step, class) && !depends(&own, &skipped) && may_share(n, &joined, class)) {
			vec_push(n->k->c->arena, &out->members, step);
			out->accesses = joined;
			out->does_more_than_map |= step->kind != STEP_MAP;
			continue;
		}
		if (i == 0)
			return false;
		append_accesses(n, &skipped, &own);
		vec_push(n->k->c->arena, &out->rest, step);
	}
	return true;
}

static void drop_index(KStep *step, const KIndex *index)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < step->domain_count; i++)
		if (step->domain[i] != index)
			step->domain[kept++] = step->domain[i];
	step->domain_count = kept;
}

/* The class's index of every leaf becomes the loop's. Domains may be shared between steps: copied first. */
static void hoist(Nester *n, KStep *step, uint32_t class, KIndex *by)
{
	for (size_t i = 0; i < step->body.count; i++)
		hoist(n, step->body.at[i], class, by);
	KIndex *own = is_compound(step) ? NULL : member_index(n, step, class);
	if (!own)
		return;
	KIndex **domain = arena_array(n->k->c->arena, KIndex *, step->domain_count);
	memcpy(domain, step->domain, sizeof *domain * step->domain_count);
	step->domain = domain;
	drop_index(step, own);
	step_substitute(n->k, step, own, kexpr_index(n->k, by));
}

static KStepVec nest(Nester *n, KStepVec items);

static KStep *make_loop(Nester *n, const Cluster *cluster, uint32_t class)
{
	const KIndex *like = member_index(n, first_leaf(cluster->members.at[0]), class);
	KIndex *index = kindex_new(n->k, like->name, like->lo, like->hi, like->step);
	uint32_t *parent = arena_array(n->k->c->arena, uint32_t, n->k->index_count + 1);
	memcpy(parent, n->parent, sizeof *parent * index->id);
	parent[index->id] = index->id;
	n->parent = parent;
	KStep *loop = kstep_loop(n->k, index, LOOP_SEQUENTIAL, 0);
	loop->loc = first_leaf(cluster->members.at[0])->loc;
	for (size_t i = 0; i < cluster->members.count; i++)
		hoist(n, cluster->members.at[i], class, index);
	n->loops[n->loop_count++] = index;
	n->made_count++;
	loop->body = nest(n, cluster->members);
	n->made_count--;
	n->loop_count--;
	return loop;
}

/* At the top a loop over rows is worth having for its own sake: it goes to threads. */
static bool is_worth(const Nester *n, const Cluster *cluster)
{
	return cluster->does_more_than_map || (n->made_count == 0 && cluster->members.at[0]->domain_count > 1);
}

/* Would all but the first member, a map, be together without it, over an index that comes before theirs of the class?
 * dead[i] is no reason to put i around what is done for each row o. */
static bool is_held_back(Nester *n, const KStepVec *items, const Cluster *cluster, uint32_t class)
{
	size_t at = 1;
	if (cluster->members.count < 2 || items->at[0]->kind != STEP_MAP)
		return false;
	const KStep *next = first_leaf(cluster->members.at[1]);
	uint32_t outer = next->domain_count ? class_of(n, next->domain[0]) : class;
	while (items->at[at] != cluster->members.at[1])
		at++;
	KStepVec without = {.at = items->at + at, .count = items->count - at};
	Cluster other;
	return outer != class && cluster_of(n, &without, outer, &other) &&
		   other.members.count + 1 >= cluster->members.count;
}

static bool try_hoist(Nester *n, KStepVec *items, KStepVec *out)
{
	const KStep *leaf = first_leaf(items->at[0]);
	for (uint32_t i = 0; i < leaf->domain_count && n->loop_count < 32; i++) {
		uint32_t class = class_of(n, leaf->domain[i]);
		Cluster cluster;
		if (!has_class(n, items->at[0], class) || !cluster_of(n, items, class, &cluster) || !is_worth(n, &cluster) ||
			(n->made_count == 0 && is_held_back(n, items, &cluster, class)))
			continue;
		vec_push(n->k->c->arena, out, make_loop(n, &cluster, class));
		*items = cluster.rest;
		return true;
	}
	return false;
}

static KStepVec nest(Nester *n, KStepVec items)
{
	KStepVec out = {0};
	while (items.count) {
		if (try_hoist(n, &items, &out))
			continue;
		KStep *step = items.at[0];
		if (is_compound(step)) {
			if (step->index && n->loop_count < 32)
				n->loops[n->loop_count++] = step->index;
			step->body = nest(n, step->body);
			n->loop_count -= step->index != NULL;
		}
		vec_push(n->k->c->arena, &out, step);
		items.at++;
		items.count--;
	}
	return out;
}

void schedule_nest(Kernel *k)
{
	Nester n = {.k = k};
	KStepVec all = k->steps, out = {0};
	find_classes(&n);
	for (size_t first = 0, end; first < all.count; first = end) {
		for (end = first; end < all.count && all.at[end]->sweep == all.at[first]->sweep;)
			end++;
		KStepVec nested = nest(&n, (KStepVec){.at = all.at + first, .count = end - first});
		for (size_t i = 0; i < nested.count; i++)
			vec_push(k->c->arena, &out, nested.at[i]);
	}
	k->steps = out;
}
