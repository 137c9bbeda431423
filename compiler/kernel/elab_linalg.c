/* SPDX-License-Identifier: MIT
 *
 * elab_linalg.c: linear algebra on whole arrays. A factorization is one step on
 * buffers that hold one matrix each: an operand that is a slice, a turned view or
 * of another type is copied into one first. Under indices (a batch, the block of
 * a dtype) it is a loop over them, one matrix after the other.
 */
#include "elaborate.h"

#include <string.h>

static const struct {
	const char *name;
	KLinalg op;
	const char *results[3];
} factorizations[] = {
	{"cholesky", LINALG_CHOLESKY, {"factor"}},
	{"inverse", LINALG_INVERSE, {"inverse"}},
	{"svd", LINALG_SVD, {"u", "s", "v"}},
	{"qr", LINALG_QR, {"q", "r"}},
};

/* ---- one matrix ---- */

static bool is_whole_buffer(const View *view)
{
	Store store = view->buffer->store;
	if (view->buffer->rank != 2 || (store.kind != STORE_F32 && store.kind != STORE_F64))
		return false;
	for (uint32_t d = 0; d < 2; d++)
		if (view->subs[d]->op != OP_INDEX || view->subs[d]->index != view->formal[d] ||
			!kexpr_equal(view->extent[d], view->buffer->extent[d]))
			return false;
	return true;
}

/* to[i, j, ..] = from[i, j, ..] */
static void copy_view(Elab *el, KBuffer *to, KExpr *const *lead, uint32_t lead_count, const View *from, Loc loc)
{
	KIndex *domain[K_MAX_RANK];
	KExpr *own[K_MAX_RANK], *subs[2 * K_MAX_RANK];
	for (uint32_t i = 0; i < from->rank; i++) {
		domain[i] = elab_index(el, from->formal[i]->name, from->extent[i]);
		own[i] = kexpr_index(el->k, domain[i]);
	}
	for (uint32_t i = 0; i < lead_count; i++)
		subs[i] = lead[i];
	memcpy(subs + lead_count, own, sizeof *subs * from->rank);
	elab_add_step(el, kstep_map(el->k, to, subs, domain, from->rank, view_load(el, from, own)), loc);
}

/* The steps that factor one matrix; gives the buffers of the results. */
static void factor_one(Elab *el, KLinalg op, bool upper, const View *from, KBuffer *const *outs, Loc loc)
{
	KBuffer *in = from->buffer;
	if (!is_whole_buffer(from)) {
		in = kbuffer_new(el->k, BUFFER_TEMP, name_of(el->c, "matrix"), store_of_type(T_F32), 2, from->extent);
		copy_view(el, in, NULL, 0, from, loc);
	}
	elab_add_step(el, kstep_linalg(el->k, op, upper, in, outs), loc);
}

/* ---- one for each of the domain ---- */

typedef struct Turns {
	KStepVec *out;   /* where the steps went before */
	KExpr *subs[24]; /* the turn, for each index of the domain */
	KStep *loops[24];
} Turns;

static void open_turns(Elab *el, View *from, Turns *turns)
{
	turns->out = el->out;
	for (uint32_t i = 0; i < el->domain_count; i++) {
		const KIndex *index = el->domain[i];
		KExpr *lo = index->lo, *hi = index->hi;
		for (uint32_t j = 0; j < i; j++) {
			lo = kexpr_substitute(el->k, lo, el->domain[j], turns->subs[j]);
			hi = kexpr_substitute(el->k, hi, el->domain[j], turns->subs[j]);
		}
		KIndex *turn = elab_index_range(el, index->name, lo, hi, el->bound[index->id]);
		turns->subs[i] = kexpr_index(el->k, turn);
		for (uint32_t d = 0; d < from->buffer->rank; d++)
			from->subs[d] = kexpr_substitute(el->k, from->subs[d], index, turns->subs[i]);
		turns->loops[i] = kstep_loop(el->k, turn, LOOP_SEQUENTIAL, 0);
		el->out = &turns->loops[i]->body;
	}
}

static void close_turns(Elab *el, Turns *turns, Loc loc)
{
	for (uint32_t i = el->domain_count; i-- > 0;) {
		el->out = i ? &turns->loops[i - 1]->body : turns->out;
		elab_add_step(el, turns->loops[i], loc);
	}
}

static void factor_each(Elab *el, KLinalg op, bool upper, View from, const View *results, Loc loc)
{
	uint32_t count = linalg_outs(op);
	KBuffer *outs[3] = {0};
	Turns turns;
	if (!el->domain_count) {
		for (uint32_t i = 0; i < count; i++)
			outs[i] = results[i].buffer;
		factor_one(el, op, upper, &from, outs, loc);
		return;
	}
	open_turns(el, &from, &turns);
	for (uint32_t i = 0; i < count; i++)
		outs[i] = kbuffer_new(
			el->k, BUFFER_TEMP, results[i].buffer->name, results[i].buffer->store, results[i].rank, results[i].extent);
	factor_one(el, op, upper, &from, outs, loc);
	for (uint32_t i = 0; i < count; i++) {
		View one = view_whole(el, outs[i]);
		copy_view(el, results[i].buffer, turns.subs, el->domain_count, &one, loc);
	}
	close_turns(el, &turns, loc);
}

/* ---- results ---- */

/* An array over the domain and `rank` axes of its own. */
static View result_view(Elab *el, Name name, uint32_t rank, const int64_t *extent)
{
	View view = {.rank = rank};
	KExpr *all[24];
	uint32_t n = el->domain_count;
	if (n + rank > K_MAX_RANK) {
		elab_error(el, (Loc){0}, "\"%s\" would need more than %d axes", name, K_MAX_RANK);
		return view;
	}
	for (uint32_t i = 0; i < n; i++) {
		all[i] = el->bound[el->domain[i]->id];
		view.subs[i] = kexpr_index(el->k, el->domain[i]);
	}
	for (uint32_t i = 0; i < rank; i++) {
		all[n + i] = view.extent[i] = kexpr_int(el->k, T_I32, extent[i]);
		view.formal[i] = elab_index(el, name, view.extent[i]);
		view.subs[n + i] = kexpr_index(el->k, view.formal[i]);
	}
	view.buffer = kbuffer_new(el->k, BUFFER_TEMP, name, store_of_type(T_F32), n + rank, all);
	return view;
}

static uint32_t result_shape(KLinalg op, uint32_t which, int64_t m, int64_t n, int64_t *extent)
{
	int64_t r = m < n ? m : n;
	bool is_svd = op == LINALG_SVD;
	if (op == LINALG_CHOLESKY || op == LINALG_INVERSE) {
		extent[0] = extent[1] = n;
	} else if (is_svd && which == 1) {
		extent[0] = r;
		return 1;
	} else if (is_svd) {
		extent[0] = which ? n : m;
		extent[1] = r;
	} else {
		extent[0] = which ? r : m;
		extent[1] = which ? n : r;
	}
	return 2;
}

static bool is_upper(Elab *el, const Node *call)
{
	const Node *word = call->kid_count > 2 ? call->kids[2] : NULL;
	bool upper = word && word->kind == N_NAME && !strcmp(word->name, "upper");
	if (word && !upper && (word->kind != N_NAME || strcmp(word->name, "lower") != 0))
		elab_error(el, word->loc, "expected upper or lower");
	return upper;
}

Entity *elab_factorization(Elab *el, const Node *call)
{
	size_t which = 0;
	while (strcmp(call->kids[0]->name, factorizations[which].name) != 0)
		which++;
	KLinalg op = factorizations[which].op;
	bool upper = is_upper(el, call);
	const char *what = arena_printf(el->c->arena, "what %s takes", factorizations[which].name);
	const Entity *from = el->failed ? NULL : elab_array(el, call->kids[1], 2, what);
	int64_t m, n, extent[2];
	if (!from)
		return NULL;
	if (!kexpr_is_const(from->view.extent[0], &m) || !kexpr_is_const(from->view.extent[1], &n)) {
		elab_need_rows(el, call->loc);
		return NULL;
	}
	if ((op == LINALG_CHOLESKY || op == LINALG_INVERSE) && m != n) {
		elab_error(el, call->loc, "%s is [%lld, %lld], not square", what, (long long)m, (long long)n);
		return NULL;
	}
	View results[3];
	Entity *entity = arena_new_of(el->c->arena, Entity);
	*entity = (Entity){.kind = ENTITY_STRUCT, .loc = call->loc, .members = arena_new_of(el->c->arena, Env)};
	for (uint32_t i = 0; i < linalg_outs(op) && !el->failed; i++) {
		uint32_t rank = result_shape(op, i, m, n, extent);
		Name name = name_of(el->c, factorizations[which].results[i]);
		results[i] = result_view(el, name, rank, extent);
		env_define(el, entity->members, name, ENTITY_VIEW, call->loc)->view = results[i];
	}
	if (!el->failed)
		factor_each(el, op, upper, from->view, results, call->loc);
	return el->failed ? NULL : entity;
}

Entity *elab_transpose(Elab *el, const Node *call)
{
	const Entity *from = elab_array(el, call->kids[1], 2, "what transpose takes");
	if (!from)
		return NULL;
	Entity *turned = arena_new_of(el->c->arena, Entity);
	*turned = (Entity){.kind = ENTITY_VIEW, .loc = call->loc, .view = from->view};
	for (uint32_t i = 0; i < 2; i++) {
		turned->view.formal[i] = from->view.formal[1 - i];
		turned->view.extent[i] = from->view.extent[1 - i];
	}
	return turned;
}
