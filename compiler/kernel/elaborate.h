/* SPDX-License-Identifier: MIT
 *
 * elaborate.h: from equations to flat kernel steps; shared by the elab_*.c files.
 * chain_build.h has the entry points that plan/ builds kernels with.
 *
 * A name in an equation is an Entity: a compile-time value, a loop index, an
 * array (a View), a struct of those (what a fn with several results, a fit or an
 * svd gives), or a coded tensor. A View is how an array is seen: its own
 * subscripts, and for each axis of the buffer behind it an expression over them.
 * So x[b, :] hands on a slice, w[o, g, k] is w[o, g*32 + k], and a dtype's x is a
 * block of w, all without copying.
 *
 * `ambient` are the indices that everything in hand is done for each of: inside
 * encode(D, w) the row and the block, inside f[b] = fit(..) also b. An array
 * defined there gets them as its leading axes, so every step is flat and the
 * scheduler may put any axis outermost.
 */
#ifndef CMPC_ELABORATE_H
#define CMPC_ELABORATE_H

#include "chain_build.h"

typedef struct Entity Entity;
typedef struct Env Env;
typedef struct Elab Elab;

typedef struct View {
	KBuffer *buffer;
	uint32_t rank;
	KIndex *formal[K_MAX_RANK]; /* own subscripts, as they stand in subs */
	KExpr *extent[K_MAX_RANK];  /* of each own axis */
	KExpr *subs[K_MAX_RANK];    /* one per axis of the buffer */
} View;

typedef enum EntityKind { ENTITY_VALUE, ENTITY_INDEX, ENTITY_VIEW, ENTITY_STRUCT, ENTITY_EXPR } EntityKind;

/* What w := factors(left, right) left of w. */
typedef struct Factors {
	Name names[2];
	View views[2]; /* [o, r], [r, i] */
	Loc loc;
} Factors;

struct Entity {
	EntityKind kind;
	Loc loc;
	Value value;            /* VALUE */
	KIndex *index;          /* INDEX */
	KExpr *expr;            /* EXPR: a scalar argument handed to an inlined fn */
	View view;              /* VIEW: the value before rounding into its storage type */
	View stored;            /* VIEW of a field: what a reader sees; buffer NULL if it is no field */
	Env *members;           /* STRUCT: in order of definition */
	struct Coded *coded;    /* VIEW of a subject that a dtype has coded, or of a fit; else NULL */
	const Factors *factors; /* VIEW of a subject that two matrices have replaced; else NULL */
};

typedef struct Axis {
	Name name;
	KExpr *extent;
	Loc loc;
} Axis;

/* block i = g*m + k */
typedef struct Block {
	Name axis, outer, inner;
	KExpr *size;
} Block;

typedef struct Binding {
	Name name;
	Entity *entity;
} Binding;

struct Env {
	Env *outer;
	VEC(Binding) names;
	VEC(Axis) axes;
	VEC(Block) blocks;
	const Node *body;                                   /* whose `=` lines may be elaborated on demand; NULL: none */
	uint8_t *state;                                     /* per kid of body: 0 to do, 1 in work, 2 done */
	KStepVec *out;                                      /* where the body's steps go */
	bool (*elaborate)(Elab *el, const Node *statement); /* a line of body; NULL: elab_statement */
};

/* What encode(D, x) made: all fields of D over x. */
typedef struct Coded {
	const DtypeRef *dtype;
	const Env *computed; /* its arguments that depend on data, by the parameters' names; NULL: none */
	Env *fields;         /* the body's names */
	Env *stored;         /* the same, fields as a reader sees them */
	KIndex **ambient;    /* what the fields were elaborated under */
	uint32_t ambient_count;
	KExpr *rows, *cols;
	int64_t block;       /* elements coded together; 0: whole rows */
	KIndex *row, *group; /* row and block, where they are ambient; else NULL */
	View place;          /* header axes -> (row, column); its buffer is x's */
} Coded;

struct Elab {
	Program *p;
	Compiler *c;
	Kernel *k;
	Env *env;
	const Scope *scope; /* compile-time names: parameters and the facts of the tensor */
	KStepVec *out;
	KIndex *domain[24]; /* ambient, then the indices of the equation in hand */
	uint32_t domain_count, ambient_count;
	KExpr **bound; /* by index id: extent of arrays made over that index */
	uint32_t bound_count;
	Name origin;
	int64_t cols;      /* elements in a row of the subject: the block of a dtype of whole rows */
	Store input;       /* how the checkpoint stores the tensor: what `input` means as a storage type */
	uint32_t depth;    /* of inlined calls */
	bool in_loop;      /* := happens in place */
	bool in_branch;    /* what is here may happen for some turns of a loop only */
	bool in_choice;    /* an `if` decides whether what is here counts */
	bool may_pass_end; /* subscripts may leave their axis: what is read there is 0 */
	KExpr *guard;      /* of a data-dependent `when`: load of its condition; NULL: none */
	bool failed;
	bool is_any_rows;     /* the number of rows is a parameter of the kernel */
	bool needs_rows;      /* and must not be: something wants the whole matrix; failed then, unreported */
	const Family *family; /* of the pass in hand; NULL: it is on one tensor */
	NameVec family_axes;  /* its index and the axes of its members: n, o, i */
	size_t link;          /* in hand */
	FamilySelectVec selects;
	struct NetWork *net;  /* elab_net.c: of a part of a net; else NULL */
	const Chain *chain;   /* elaborate.c: of passes; else NULL */
	Name subject;         /* of the pass in hand */
	KBuffer *rows_met;    /* what input(w) gives; NULL: nothing asked for it */
	size_t keys_of;       /* Chain.keys_of */
	Places places;        /* of a `keep` that depends on data */
	const View *original; /* the subject before all passes; NULL: none of them asks for it */
	KBuffer *shift;       /* what goes into the subject's bias; NULL: nothing */
	NoteVec notes;        /* of all passes so far */
	SavedVec saved;       /* the same */
	StatisticVec givens;  /* that `fold` asks for */
	bool has_keys;        /* and they are written: what follows is not needed; failed then, unreported */
};

/* A scalar: a compile-time value until it meets an array, then an expression. */
typedef struct Term {
	KExpr *expr; /* NULL: value */
	Value value;
} Term;

/* ---- elab_env.c ---- */

Env *env_push(Elab *el);
void env_pop(Elab *el);
Entity *env_define(Elab *el, Env *env, Name name, EntityKind kind, Loc loc);
Entity *env_find(Elab *el, Name name); /* elaborates a later `=` of an open body if it has to; NULL if unknown */
const Axis *env_axis(const Elab *el, Name name);
void env_add_axis(Elab *el, Name name, KExpr *extent, Loc loc);
KIndex *elab_index(Elab *el, Name name, KExpr *extent); /* 0..extent */
KIndex *elab_index_range(Elab *el, Name name, KExpr *lo, KExpr *hi, KExpr *extent);
bool expr_range(const KExpr *e, int64_t *lo, int64_t *hi); /* lo <= e <= hi for all values of the indices */
bool expr_most(
	const KExpr *e, int64_t *hi); /* the largest value of an integer expression over indices; false: not known */
/* The least and the largest value of a linear expression over indices with constant bounds; false: it is none. */
bool expr_linear_range(const KExpr *e, int64_t *lo, int64_t *hi);
KExpr *elab_extent(Elab *el, KExpr *hi, Loc loc);     /* of an array with an axis that ends at hi at most */
bool elab_is_uniform(const Elab *el, const KExpr *e); /* reads loop indices and parameters only, never the domain */
void elab_need_rows(Elab *el, Loc loc);               /* gives up, unreported, if the rows are not known */
void elab_error(Elab *el, Loc loc, const char *format, ...) __attribute__((format(printf, 3, 4)));

View view_whole(Elab *el, KBuffer *buffer);
KExpr *view_load(Elab *el, const View *view, KExpr *const *subs);
void view_subs(Elab *el, const View *view, KExpr *const *subs, KExpr **out); /* subscripts of the buffer */
/* fixed[i] NULL keeps axis i; where length[i] is given, it keeps that many from fixed[i] on. `length` may be NULL. */
View view_slice(Elab *el, const View *view, KExpr *const *fixed, KExpr *const *length);
/* index becomes a further, first own subscript */
View view_abstract(Elab *el, const View *view, KIndex *index);
View view_floats(Elab *el, KBuffer *buffer, Loc loc); /* numbers as f32, through a copy if they are stored otherwise */
View view_flat(Elab *el, KBuffer *buffer, KExpr *rows, KExpr *cols);

/* ---- elab_type.c ---- */

KExpr *term_expr(Elab *el, Term term); /* integers i32, reals f32 */
KExpr *term_as(Elab *el, Term term, KType type);
Term term_of(KExpr *expr);
Term term_value(Value value);
Term term_int(Loc loc, int64_t value);
Term term_binary(Elab *el, const Node *node, Term a, Term b);
Term term_unary(Elab *el, const Node *node, Term a);
Term term_select(Elab *el, Loc loc, Term c, Term a, Term b);

/* ---- elab_expr.c ---- */

Term elab_expr(Elab *el, const Node *node);
KExpr *elab_int(Elab *el, const Node *node); /* an integer subscript or bound */

/* ---- elab_entity.c ---- */

Entity *elab_entity(Elab *el, const Node *node); /* an array or struct, by name, field or slice; NULL: it is a scalar */
Entity *elab_indexed(Elab *el, const Node *index); /* what this INDEX subscripts */
/* How w[o, g, k] blocks an axis, in the innermost scope that says so; NULL: it does not. */
const Block *elab_block(const Elab *el, Name axis, const Node *outer, const Node *inner);
Entity *entity_single(Entity *entity); /* the one result of a function that has one, else itself */
/* Of all of the view's axes: out as view_slice takes them. length NULL: slices are errors. */
bool elab_subscripts(Elab *el, const Node *index, const View *view, KExpr **out, KExpr **length);
/* An array of so many axes, or an error that calls it `what`: "what inverse takes" */
Entity *elab_array(Elab *el, const Node *node, uint32_t rank, const char *what);
Term elab_load(Elab *el, const Node *node, const Entity *entity, bool is_stored); /* the number it is */

/* ---- elab_call.c ---- */

/* f(..) of a fn with a body: its results as a struct */
Entity *elab_call(Elab *el, const Node *call, const Decl *fn);
Term elab_call_expression(Elab *el, const Node *call, const Decl *fn); /* of fn f(x) = e */
/* A fn of numbers only with one result, of as many terms as it has parameters; `at` is what it stands for. */
Term elab_call_terms(Elab *el, const Node *at, const Decl *fn, const Term *terms);
KExpr *elab_share(Elab *el, Name name, KExpr *e); /* a load of it, if it is long and may be read several times */

/* ---- elab_reduce.c ---- */

bool elab_is_reduction(Elab *el, const Node *call);
Term elab_reduction(Elab *el, const Node *call);
bool elab_is_selection(Elab *el, const Node *node); /* rank[..](e) < n */
Term elab_selection(Elab *el, const Node *node);
KExpr *elab_infer_extent(
	Elab *el, const Node *node, Name index); /* from what the index subscripts in node; NULL: from nothing */

/* ---- elab_panel.c ---- */

/* A product that a contraction sums, its factors f32 arrays that are read in strides. */
KExpr *elab_panels(
	Elab *el, KExpr *product, KIndex *const *domain, uint32_t count, KIndex *const *over, uint32_t over_count, Loc loc);

/* ---- elab_family.c ---- */

/* The body of a pass `on all w[n][o, i]` as one member sees it: w[n][o, i] is w[o, i]. What runs over members,
 * rank[n, o, i](..), stays as it is. */
const Node *family_member(Compiler *c, const Node *body, Name index);
bool elab_is_over_family(const Elab *el, const Node *axes); /* axes of a reduction: is the family's index among them? */
/* Reports axes that are not all elements of all members in order, the only ones that can be told apart. */
bool elab_family_axes(Elab *el, const Node *axes);
Term elab_family_count(Elab *el, const Node *call, const KExpr *value);    /* of a constant, over all elements */
Term elab_family_selection(Elab *el, const Node *call, const Node *limit); /* rank[n, o, i](e) < limit */

/* ---- elab_linalg.c ---- */

Entity *elab_factorization(Elab *el, const Node *call); /* svd, qr, cholesky, inverse */
Entity *elab_transpose(Elab *el, const Node *call);

/* ---- elab_encode.c ---- */

Entity *elab_encode(Elab *el, const Node *call);
Entity *elab_decode(Elab *el, const Node *call);
Entity *elab_coded(Elab *el, struct Coded *coded, Loc loc); /* its values; coded NULL: NULL */

/* ---- elab_fit.c, elab_blocks.c: the halves of a separable dtype ---- */

Entity *elab_fit(Elab *el, const Node *call);
Entity *elab_round(Elab *el, const Node *call);
Entity *elab_value(Elab *el, const Node *call);
Entity *elab_blocks(Elab *el, const Node *call);
const DtypeRef *elab_dtype_argument(Elab *el, const Node *call);                    /* the first; NULL: reported */
const Entity *elab_fit_argument(Elab *el, const Node *call, const DtypeRef *dtype); /* the second; NULL: reported */

/* ---- elab_input.c ---- */

Entity *elab_input(Elab *el, const Node *call); /* input(w) */
/* Whole kernel, flat: statistics become its inputs, or, of Chain.statistic, its output. False: reported. */
bool input_cut(Elab *el, ChainKernel *out);

/* ---- elab_sharing.c: passes on all w[s][o, i] sharing input ---- */

void sharing_read(Elab *el, const Chain *chain, KBuffer *to); /* all members into one matrix */
bool elab_fold(Elab *el, const Node *node);
/* What `fold` says, as f32 along an axis of the subject; NULL: reported. */
KBuffer *fold_array(Elab *el, const Node *node, const View *subject, uint32_t axis, KBufferKind kind);
void givens_open(Elab *el, ChainKernel *out); /* become inputs, behind the statistics */

/* ---- elab_shift.c ---- */

Entity *elab_original(Elab *el, const Node *call); /* original(w) */
bool elab_shift(Elab *el, const Node *node);       /* fold e[o] into w.bias */
void shift_open(Elab *el, ChainKernel *out);       /* becomes an output, behind those so far */

/* ---- elab_note.c ---- */

bool elab_note(Elab *el, const Node *node);
bool elab_save(Elab *el, const Node *node); /* save "..", e */
void notes_write(Elab *el); /* an output f64 [notes], behind the others; none where there are no notes */

/* ---- elab_net.c ---- */

/* In a net: is it a weight, and has the checkpoint a tensor for it? */
bool net_knows_weight(Elab *el, Name name, bool *is_there);

/* ---- elab_factors.c ---- */

bool elab_keep(Elab *el, const Node *node);
bool elab_factors(Elab *el, const Node *node, Entity *entity); /* entity := factors(left, right) */
View factors_product(Elab *el, const Factors *factors);        /* what they stand for */

/* ---- elab_body.c ---- */

bool elab_body(Elab *el, const Node *body);
bool elab_statement(Elab *el, const Node *statement);

/* ---- elab_left.c ---- */

typedef struct Left {
	Name name;
	Loc loc;
	KIndex *index[K_MAX_RANK]; /* new indices, in order */
	uint32_t index_count;
	KExpr *subs[K_MAX_RANK]; /* one per subscript as written */
	KExpr *extent[K_MAX_RANK];
	Name names[K_MAX_RANK];
	uint32_t sub_count;
	bool is_whole; /* every subscript is a whole axis */
	Env *target;   /* where a new name belongs */
} Left;

/* Binds the left side's indices in a new Env, and adds them to the domain, until left_release. `view`: the array that
 * it is a place of, or NULL. */
bool left_bind(Elab *el, const Node *node, const Node *right, const View *view, Left *left);
void left_release(Elab *el, uint32_t domain_count);
/* A buffer over the ambient indices and the left side's axes, seen through the latter; dst_subs: the left side in it.
 */
View left_array(Elab *el, const Left *left, Store store, KExpr **dst_subs);
/* The left side with from's axes behind its own, own[i] for each; they are in the domain then. */
Left left_with_axes(Elab *el, const Left *left, const View *from, KExpr **own);

/* ---- elab_assign.c, elab_update.c ---- */

bool elab_define(Elab *el, const Node *node);
bool elab_update(Elab *el, const Node *node);
KBuffer *elab_temp(Elab *el, Name name, Store store, KIndex *const *indices, uint32_t count);
void elab_add_step(Elab *el, KStep *step, Loc loc);

/* ---- elab_dtype.c ---- */

/* Runs with the coded tensor's names and indices; restores the caller's. */
typedef struct Inside {
	Env *env;
	uint32_t domain_count, ambient_count;
	Name origin;
	bool in_loop;
	KExpr *guard;
} Inside;

Inside elab_enter(Elab *el, Env *env, KIndex *const *ambient, uint32_t count, Name origin);
void elab_leave(Elab *el, Inside saved);

int64_t dtype_block(const Elab *el, const DtypeRef *dtype);     /* elements coded together, those of a row included */
const Node *dtype_value(Elab *el, const DtypeRef *dtype);       /* value[..] = e; NULL: reported */
const Node *dtype_definition(const DtypeRef *dtype, Name name); /* its `=` line, or NULL */
/* The next `=` line at or behind number *at with a stored value per element. */
const Node *dtype_next_field(const Elab *el, const DtypeRef *dtype, uint32_t *at);
bool axis_is_bounded(const Node *axis); /* of a header: k < 32 */
Name axis_name(const Node *axis);
/* An equation with a value per element; not `value` itself. */
bool dtype_is_element(const Elab *el, const DtypeRef *dtype, const Node *statement);
/* x: rank 2. NULL: reported. coded_open places the header's axes on x and knows no field yet. */
Coded *coded_open(Elab *el, const DtypeRef *dtype, const View *x, Loc loc);
/* computed: as Coded has it */
Coded *coded_encode(Elab *el, const DtypeRef *dtype, const Env *computed, const View *x, Loc loc);
Coded *coded_fit(Elab *el, const DtypeRef *dtype, const View *x, Loc loc); /* only what is coarser than an element */
void coded_close(Elab *el, Coded *coded);                                  /* all fields are known: makes `stored` */
View coded_value(Elab *el, Coded *coded, Loc loc);                         /* [rows, cols], f32 */
/* Writes the packed blocks into u8 to[rows, row bytes]; gives the bytes of a block, 0: reported. `to` may be NULL: only
 * measures. */
int64_t coded_layout(Elab *el, Coded *coded, const Node *layout, KBuffer *to);

/* ---- elab_rows.c ---- */

/* Writes the fields as rows of bytes into u8 to[rows, row bytes], for containers without a form for the dtype; gives
 * the bytes of a row, 0: reported. `to` may be NULL: only measures. */
int64_t coded_rows(Elab *el, Coded *coded, KBuffer *to);

/* ---- elab_planes.c ---- */

/* Makes an output buffer for each plane that reads fields and the steps that fill it; adds all planes to `to`. */
bool coded_planes(Elab *el, Coded *coded, const Node *planes, PlaneVec *to);
Store elab_store(Elab *el, const Node *type); /* a storage type by name, `input` among them; STORE_NONE: reported */

/* ---- elab_decode.c ---- */

/* In el's own kernel: blocks u8 in[rows, row bytes] -> value, shaped as w is. False: reported. */
bool decode_blocks(Elab *el, const DtypeRef *dtype, const Node *layout, KBuffer *in, const View *w, View *value);

/* ---- elaborate.c ---- */

Elab *elab_new(Program *p, Kernel *k, const Scope *scope);

#endif
