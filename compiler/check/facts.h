/* SPDX-License-Identifier: MIT
 *
 * facts.h: what the planner knows of passes and dtypes, read off their equations
 * without evaluating any of them (pass_facts.c, dtype_facts.c).
 */
#ifndef CMPC_FACTS_H
#define CMPC_FACTS_H

#include "program.h"

/* The strongest thing a pass does to its subject; each decides what may follow it. */
typedef enum PassKind {
	PASS_MOVE,     /* gives weights new values */
	PASS_MASK,     /* every `:=` is `if c then 0 else w`: zeroes some, keeps the rest bit for bit */
	PASS_FEEDBACK, /* carries w through a `for` and reads it in later turns: an error made early is compensated later */
	PASS_GRID,     /* the last `:=` is `encode(D, w)` or `blocks(D, F, c)`: w is on D's grid afterwards */
} PassKind;

typedef struct PassFacts {
	PassKind kind; /* GRID before FEEDBACK before MASK before MOVE */
	bool is_mask;
	bool is_feedback;
	const Node *grid;       /* the encode(..) or blocks(..) call, its first argument is the dtype; NULL: none */
	const Node *factors;    /* the factors(left, right) call; NULL: none */
	bool is_family;         /* `on all` */
	bool is_axis;           /* `on all axis` */
	bool is_sharing;        /* `sharing input` */
	bool is_any_rank;       /* p[*] */
	bool shortens;          /* has a `keep` */
	bool saves;             /* has a `save` */
	bool has_effect;        /* gives the subject, or what it is multiplied into, new values */
	bool asks_input;        /* input(..) */
	bool folds_bias;        /* fold e[o] into w.bias: it has the last word, and leaves w what it is */
	bool asks_network;      /* node(..), grad(..), loss(..), batches(..) */
	bool needs_activations; /* one of these, or a dataset parameter */
	bool uses_whole_tensor; /* reads across rows: a reduction or scan over the row axis, or linear algebra */
	Name subject;           /* of the first member */
	NameVec family;         /* its axes before the tensor's own: w[s][o, i]: s */
	NameVec axes;           /* o, i */
} PassFacts;

PassFacts pass_facts(Program *p, const Decl *pass);
/* Of a pipeline's statements or a recipe's the first whose pass saves arrays, itself or in a recipe; NULL: none does.
 */
const Node *statement_saves(const Program *p, const Node *body);

typedef struct DtypeField {
	Name name, store; /* d: f16 */
	uint32_t rank;    /* header axes it has: 0 per block of x[k < 32] */
	const Node *node; /* DEFINE */
} DtypeField;

typedef struct DtypeFacts {
	int64_t block;          /* elements coded together, with parameters at their defaults; 0: whole rows */
	bool is_per_tensor;     /* an equation reduces over the rows of x[o, ..] */
	bool is_separable;      /* notation.md 2: each element is rounded alone, given the block's coarser values */
	const Node *entangled;  /* the equation that reads other elements; NULL: separable */
	VEC(DtypeField) fields; /* in text order */
	NameVec containers;     /* "gguf", "pack-quantized", .. that it has a form for */
} DtypeFacts;

DtypeFacts dtype_facts(Program *p, const Decl *dtype);

#endif
