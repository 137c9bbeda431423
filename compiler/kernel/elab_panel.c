/* SPDX-License-Identifier: MIT
 *
 * elab_panel.c: factors of a network's contractions as arrays. A product of matrices
 * reads arrays with strides. A window of an array, as a convolution's sum has it, or a
 * factor that is computed where it is read, is none: its values are gathered into one
 * first, a row for each place, its columns in the order of the sum (im2col), and the
 * convolution is a product of matrices like any other.
 */
#include "elaborate.h"

/* Do a place of the result and a place of the sum meet in one subscript, as in x[t - k]? */
static bool is_window(
	const KExpr *load, KIndex *const *domain, uint32_t count, KIndex *const *over, uint32_t over_count)
{
	for (uint32_t d = 0; d < load->buffer->rank; d++) {
		bool has_place = false, has_summed = false;
		for (uint32_t i = 0; i < count; i++)
			has_place |= kexpr_uses(load->subs[d], domain[i]);
		for (uint32_t i = 0; i < over_count; i++)
			has_summed |= kexpr_uses(load->subs[d], over[i]);
		if (has_place && has_summed)
			return true;
	}
	return false;
}

static bool counts_from_zero(const KIndex *index, KIndex *const *over, uint32_t over_count)
{
	int64_t lo;
	for (uint32_t i = 0; i < over_count; i++)
		if (kexpr_uses(index->hi, over[i]))
			return false;
	return kexpr_is_const(index->lo, &lo) && lo == 0 && index->step == 1 && !index->hi->loads;
}

static bool reads(const KExpr *e, const KBuffer *buffer)
{
	if (!e || !e->loads)
		return false;
	bool found = e->op == OP_LOAD && e->buffer == buffer;
	for (uint32_t i = 0; e->op == OP_LOAD && i < e->buffer->rank && !found; i++)
		found = reads(e->subs[i], buffer);
	for (int i = 0; i < 3 && e->args[i] && !found; i++)
		found = reads(e->args[i], buffer);
	return found;
}

/* Does the step make an array of these values? */
static bool is_same(Elab *el, const KStep *step, Name name, KExpr *value, KIndex *const *own, uint32_t count)
{
	KExpr *made = step->value;
	if (step->kind != STEP_MAP || step->dst->name != name || step->domain_count != count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (!kexpr_equal(step->domain[i]->hi, own[i]->hi))
			return false;
		made = kexpr_substitute(el->k, made, step->domain[i], kexpr_index(el->k, own[i]));
	}
	return kexpr_equal(made, value);
}

/* An array that was gathered before: several weights may meet the same windows. NULL: there is none. */
static KBuffer *find_panel(Elab *el, Name name, KExpr *value, KIndex *const *own, uint32_t count)
{
	for (size_t i = el->out->count; i-- > 0;) {
		const KStep *step = el->out->at[i];
		if (!step->dst || reads(value, step->dst)) /* before that, the values were others */
			return NULL;
		if (is_same(el, step, name, value, own, count))
			return step->dst;
	}
	return NULL;
}

static KExpr *gather(Elab *el, KExpr *factor, KIndex *const *all, uint32_t count, Loc loc)
{
	Name name = name_of(el->c, "panel");
	KIndex *own[K_MAX_RANK];
	KExpr *to[K_MAX_RANK], *from[K_MAX_RANK], *value = factor;
	for (uint32_t i = 0; i < count; i++) {
		own[i] = elab_index(el, all[i]->name, el->bound[all[i]->id]);
		to[i] = kexpr_index(el->k, own[i]);
		from[i] = kexpr_index(el->k, all[i]);
		value = kexpr_substitute(el->k, value, all[i], to[i]);
	}
	KBuffer *panel = find_panel(el, name, value, own, count);
	if (!panel) {
		panel = elab_temp(el, name, store_of_type(T_F32), own, count);
		elab_add_step(el, kstep_map(el->k, panel, to, own, count, value), loc);
	}
	return kexpr_load(el->k, panel, from);
}

KExpr *elab_panels(
	Elab *el, KExpr *product, KIndex *const *domain, uint32_t count, KIndex *const *over, uint32_t over_count, Loc loc)
{
	KExpr *factors[2];
	for (uint32_t i = 0; i < over_count; i++)
		if (!counts_from_zero(over[i], over, over_count))
			return product;
	for (int f = 0; f < 2; f++) {
		KIndex *all[24];
		uint32_t used = 0;
		KExpr *factor = factors[f] = product->args[f];
		for (uint32_t i = 0; i < count; i++)
			if (kexpr_uses(factor, domain[i]))
				all[used++] = domain[i];
		for (uint32_t i = 0; i < over_count; i++)
			if (kexpr_uses(factor, over[i]))
				all[used++] = over[i];
		bool is_array = factor->op == OP_LOAD && !is_window(factor, domain, count, over, over_count);
		if (!is_array && factor->type == T_F32 && used <= K_MAX_RANK)
			factors[f] = gather(el, factor, all, used, loc);
	}
	return kexpr_binary(el->k, OP_MUL, factors[0], factors[1]);
}
