/* SPDX-License-Identifier: MIT
 *
 * elaborate.h: from equations to flat kernel steps; shared by the elab_*.c files,
 * and the entry points that plan/ builds kernels with.
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

#include "kernel.h"
#include "program.h"

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

/* What a pass `on all w[n][o, i]` knows of its family while one member is elaborated. */
typedef struct Family {
	int64_t members, elements; /* of the whole selection */
	bool is_alone;             /* one member, in memory whole: ranks are those of its own elements */
} Family;

/* A selection by rank over a family, rank[n, o, i](e) < limit, as one member's kernel has it. */
typedef struct FamilySelect {
	size_t link;   /* of the chain */
	int64_t limit; /* elements that are selected, of all members */
	Loc loc;
} FamilySelect;
typedef VEC(FamilySelect) FamilySelectVec;

/* What `keep k where c` leaves of the axis k, c a condition on data: every array has the axis whole still. */
typedef struct Places {
	Name axis; /* NULL: nothing was kept so */
	int64_t extent;
	KBuffer *mask; /* bool [extent]; as an output of a kernel, after it */
} Places;

/* report "damping", e where c */
typedef struct Note {
	const char *text;
	KBuffer *buffer; /* f64: e, or NaN where c does not hold */
} Note;
typedef VEC(Note) NoteVec;

/* What a kernel folds over the rows that meet its subject, or is given instead. */
typedef struct Statistic {
	KBuffer *buffer; /* of the kernel in hand */
	KReduce fold;    /* of two samples' into one: SUM, MAX, MIN */
	Store store;
	uint32_t rank;
	int64_t shape[K_MAX_RANK];
	bool is_given; /* no fold of rows: what another kernel folds into the subject, for this link of the chain */
	size_t link;
} Statistic;
typedef VEC(Statistic) StatisticVec;

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
	struct NetWork *net;       /* elab_net.c: of a part of a net; else NULL */
	const struct Chain *chain; /* elaborate.c: of passes; else NULL */
	Name subject;              /* of the pass in hand */
	KBuffer *rows_met;         /* what input(w) gives; NULL: nothing asked for it */
	size_t keys_of;            /* Chain.keys_of */
	Places places;             /* of a `keep` that depends on data */
	const View *original;      /* the subject before all passes; NULL: none of them asks for it */
	KBuffer *shift;            /* what goes into the subject's bias; NULL: nothing */
	NoteVec notes;             /* of all passes so far */
	StatisticVec givens;       /* that `fold` asks for */
	bool has_keys;             /* and they are written: what follows is not needed; failed then, unreported */
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
bool term_is_int_const(const Term *term, int64_t *value);

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

/* ---- elab_phases.c: passes on all (a[s][r, n], b[s][m, r]) ---- */

/* An array that passes from kernel to kernel, or a tensor of a member. */
typedef struct FamilyArray {
	const char *label;
	Store store;
	uint32_t rank;
	int64_t shape[K_MAX_RANK];
} FamilyArray;
typedef VEC(FamilyArray) FamilyArrayVec;

/* One tensor of the tuple, as the pass's header has it. */
typedef struct FamilySubject {
	Name name;
	uint32_t rank;
	Name axis[K_MAX_RANK];
	Name axis_after[K_MAX_RANK]; /* as its last `:=` calls them: what `keep` shortens */
	const Node *node;
} FamilySubject;

/* keep k where c */
typedef struct FamilyKeep {
	Name axis, name; /* name: of the array that says which places stay */
	Loc loc;
} FamilyKeep;

/* A pass's body by what is done when. */
typedef struct FamilySplit {
	const Decl *pass;
	Name index; /* s */
	VEC(FamilySubject) subjects;
	NameVec members;  /* names with that index */
	NameVec measured; /* those that lines over members read */
	NameVec decided;  /* what these lines define */
	NameVec shared;   /* those of it that members read */
	bool *is_shared;  /* per statement of the pass's body: a line over members, or a keep */
	VEC(FamilyKeep) keeps;
	const Node *body;  /* of one member */
	const Node *lines; /* over members, all elements of all members one axis */
} FamilySplit;

bool family_split(Compiler *c, const Decl *pass, FamilySplit *split); /* false: reported */
/* Kernels to be scheduled; NULL: reported. `tensors`: of a member, one for each subject.
 * measure: tensors -> what lines over members read, added to `measured`. */
Kernel *family_measure(Program *p, const FamilySplit *split, Name name, const Scope *arguments,
	const FamilyArray *tensors, FamilyArrayVec *measured);
/* `measured`, each the elements of all members, one axis -> `decided`: shared, then a bool for each place of a keep */
Kernel *family_decide(Program *p, const FamilySplit *split, Name name, const Scope *arguments,
	const FamilyArrayVec *measured, FamilyArrayVec *decided);
/* tensors, shared -> tensors of the same shapes: what is not kept is cut out later */
Kernel *family_write(Program *p, const FamilySplit *split, Name name, const Scope *arguments,
	const FamilyArray *tensors, const FamilyArrayVec *decided);

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

struct ChainKernel;
Entity *elab_input(Elab *el, const Node *call); /* input(w) */
/* Whole kernel, flat: statistics become its inputs, or, of Chain.statistic, its output. False: reported. */
bool input_cut(Elab *el, struct ChainKernel *out);

/* ---- elab_sharing.c: passes on all w[s][o, i] sharing input ---- */

/* What a link of such a pass does to its tensor. */
typedef enum FoldPart {
	FOLD_NONE,
	FOLD_DECIDE,  /* nothing: it finds the factors */
	FOLD_MEMBER,  /* multiplies its columns, and goes on */
	FOLD_READER,  /* multiplies its columns: it reads the same input */
	FOLD_ROWS,    /* divides its rows: it makes the input */
	FOLD_COLUMNS, /* divides its columns, as a vector has them */
	FOLD_SHIFT,   /* adds to its columns: it is the bias of a matrix that a pass on that one folds into */
} FoldPart;

enum { SHARING_DECIDE, SHARING_MEMBER, SHARING_OTHER, SHARING_BODIES };

/* A pass's body by what is done when: up to `fold`, from `fold` on, `fold` alone. */
typedef struct SharingSplit {
	Node *bodies[SHARING_BODIES];
} SharingSplit;

bool sharing_split(Compiler *c, const Decl *pass, SharingSplit *split); /* false: reported */
void sharing_read(Elab *el, const struct Chain *chain, KBuffer *to);    /* all members into one matrix */
bool elab_fold(Elab *el, const Node *node);
/* What `fold` says, as f32 along an axis of the subject; NULL: reported. */
KBuffer *fold_array(Elab *el, const Node *node, const View *subject, uint32_t axis, KBufferKind kind);
void givens_open(Elab *el, struct ChainKernel *out); /* become inputs, behind the statistics */

/* ---- elab_shift.c ---- */

Entity *elab_original(Elab *el, const Node *call);  /* original(w) */
bool elab_shift(Elab *el, const Node *node);        /* fold e[o] into w.bias */
void shift_open(Elab *el, struct ChainKernel *out); /* becomes an output, behind those so far */

/* ---- elab_note.c ---- */

bool elab_note(Elab *el, const Node *node);
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

int64_t dtype_block(const Elab *el, const DtypeRef *dtype); /* elements coded together, those of a row included */
const Node *dtype_layout(const DtypeRef *dtype, const char *container); /* LAYOUT for it, or NULL */
const Node *dtype_planes(const DtypeRef *dtype);                        /* PLANES, or NULL */
const Node *dtype_value(Elab *el, const DtypeRef *dtype);               /* value[..] = e; NULL: reported */
const Node *dtype_definition(const DtypeRef *dtype, Name name);         /* its `=` line, or NULL */
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

/* One tensor that a plane writes. */
typedef struct Plane {
	const char *name; /* "weight_packed"; "self": the subject's own */
	const Node *node; /* DEFINE in the dtype */
	Store store;
	uint32_t rank;
	int64_t shape[K_MAX_RANK]; /* shape[0] is -1 where it is the number of rows, any number of them */
	KBuffer *buffer; /* [rows, elements of a row]; NULL: the same for every tensor of the shape (plane_constant) */
	bool is_single;  /* of its buffer: the tensor has it once, made of arguments that are computed */
	int64_t kept;    /* of a factor: the axis that is cut to what data leaves of it; -1: none */
} Plane;
typedef VEC(Plane) PlaneVec;

/* Makes an output buffer for each plane that reads fields and the steps that fill it; adds all planes to `to`. */
bool coded_planes(Elab *el, Coded *coded, const Node *planes, PlaneVec *to);
/* The elements of a plane without a buffer, for a tensor of rows x cols. NULL: reported. */
void *plane_constant(Program *p, const DtypeRef *dtype, const Plane *plane, int64_t rows, int64_t cols, size_t *bytes);
Store elab_store(Elab *el, const Node *type); /* a storage type by name, `input` among them; STORE_NONE: reported */

/* ---- elab_decode.c: kernels that read a stored tensor back; NULL: reported ---- */

/* blocks u8 [n, block_bytes] -> f32 [n, elements of a block]; n is PARAM 0 */
Kernel *decode_layout(Program *p, const DtypeRef *dtype, const Node *layout, int64_t *block_bytes);
/* In el's own kernel: blocks u8 in[rows, row bytes] -> value, shaped as w is. False: reported. */
bool decode_blocks(Elab *el, const DtypeRef *dtype, const Node *layout, KBuffer *in, const View *w, View *value);
/* The dtype of the program whose layout for the container has this code; NULL: there is none. */
const DtypeRef *dtype_of_code(Program *p, const char *container, int64_t code, const Node **layout);
/* The planes that have a buffer -> f32 [rows, cols]. `input` is what the dtype calls so. Adds all planes to `to`. Of
 * arguments that a plane holds only the plane is believed. */
Kernel *decode_planes(
	Program *p, const DtypeRef *dtype, const Node *planes, Store input, int64_t rows, int64_t cols, PlaneVec *to);
/* Rows of bytes, u8 [rows, row_bytes] -> f32 [rows, cols]. */
Kernel *decode_rows(Program *p, const DtypeRef *dtype, Store input, int64_t rows, int64_t cols, int64_t *row_bytes);

/* ---- elaborate.c: whole kernels ---- */

typedef struct ChainLink {
	const Decl *pass;
	const Scope *arguments;
	Loc loc;
	const Family *family; /* of a pass `on all`; else NULL */
	const Node *body;     /* NULL: the pass's own */
	FoldPart part;        /* of a pass `sharing input` */
} ChainLink;

/* A matrix of a family that is read as one. */
typedef struct ChainMember {
	Store store;
	int64_t rows;
	bool is_transposed;
} ChainMember;

/* A chain of passes on one matrix: what a kernel is made from. */
typedef struct Chain {
	Name name;             /* of the kernel */
	Store input;           /* how the file stores it; of blocks, f32 */
	const DtypeRef *coded; /* the file stores blocks of this dtype, decoded as they are read; NULL: plain numbers */
	const Node *layout;    /* of coded */
	int64_t rows, cols;    /* rows 0: any number, as many as the panel has */
	const ChainLink *links;
	size_t link_count;
	const Scope *facts;    /* of the tensor: name, role, layer, ... */
	const char *container; /* "gguf", "safetensors" */
	bool holds_planes;     /* the container holds any dtype, as planes or as rows of bytes */
	size_t keys_of;        /* k: one output, f32 [rows, cols], what the k-th selection over a family orders, from 1 on,
							* and nothing after it; 0: the whole chain */
	bool places_only;      /* one output, bool: the places that a `keep` on data leaves */
	bool values_only;      /* one output, f32 [rows, cols]: the matrix as a reader sees it, whatever the container */
	bool is_transposed;    /* the file holds [cols, rows] */
	bool is_turned;        /* and the result has [rows, cols] even so */
	bool is_unfused;     /* each link is a sweep of its own over all rows; between them the matrix lies there in f32 */
	bool wants_values;   /* an output f32 as the file holds the matrix, behind the others: what a reader of the result
							sees */
	bool wants_error;    /* then an output f64 [rows, 2]: sum (x-y)^2, sum x^2 */
	int64_t input_rows;  /* rows of input(w) in all of the data; 0: there is none */
	int64_t sample_rows; /* and of each sample; 0: as many as it is long, PARAM 0 */
	const ChainMember
		*members; /* the matrix is these, one below the other, and the kernel decides what is folded; NULL */
	size_t member_count;
	size_t statistic; /* k: instead, what makes the k-th statistic, from 1 on, of the rows of one sample: f32 [PARAM 0,
					   * cols]; 0: the chain */
	/* Rank, shape and storage type of a VALUE_TENSOR that a parameter is given; false: reported. NULL: there are none.
	 */
	bool (*tensor_shape)(void *context, const Value *tensor, int64_t *rank, int64_t *shape, Store *store);
	void *context;
} Chain;

/* A tensor of some file that the kernel reads whole beside the one it works on. */
typedef struct ChainInput {
	const char *file, *tensor; /* as the argument names them */
	Store store;
	uint32_t rank;
	int64_t shape[K_MAX_RANK];
	KBuffer *buffer;
} ChainInput;

typedef struct ChainKernel {
	Kernel *kernel;
	KIndex *rows;
	const DtypeRef *dtype;   /* that the last pass coded it in; NULL: the input's storage type stays */
	int64_t row_bytes;       /* of the first output, where there is one packed output */
	PlaneVec planes;         /* safetensors forms: all tensors in order; outputs are those with a buffer */
	PlaneVec factors;        /* of a matrix that became two: named as the pass names them; the outputs, in order */
	Places places;           /* of an axis of theirs, which is whole in the kernel's outputs */
	VEC(ChainInput) inputs;  /* what kernel->inputs has after the matrix itself, in order */
	StatisticVec statistics; /* what kernel->inputs has after those, in order */
	KBuffer *shift;          /* f32 [rows], what goes into the matrix's bias; NULL: nothing */
	NoteVec notes;           /* what the last output, f64 [notes], holds for the run to tell */
	FamilySelectVec selects; /* over families, in order; PARAM 1 + 2 k, 2 + 2 k of the k-th: see program.def, Share */
	bool needs_all_rows;     /* something wants the whole matrix: nothing was built; build again with `rows` given */
} ChainKernel;

Elab *elab_new(Program *p, Kernel *k, const Scope *scope);
/* Flat kernel of a chain. False: reported. */
bool chain_build(Program *p, const Chain *chain, ChainKernel *out);
/* Bytes of one row of dtype in a container with a packed form. -1: reported. */
int64_t dtype_row_bytes(Program *p, const DtypeRef *dtype, const Node *layout, int64_t cols);

#endif
