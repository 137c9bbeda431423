/* SPDX-License-Identifier: MIT
 *
 * chain_build.h: what plan/ builds kernels with. A Chain is the passes of one matrix, in
 * order, with how the file and the container store it; chain_build makes a flat
 * kernel of it, and tells what that kernel reads and leaves. Beside it: the kernels of
 * a pass on a family, the parts of a pass that shares an input, and those that read a
 * stored tensor back. elaborate.h is how they are made.
 */
#ifndef CMPC_CHAIN_BUILD_H
#define CMPC_CHAIN_BUILD_H

#include "kernel.h"
#include "program.h"

/* ---- what a kernel tells of itself ---- */

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

/* save "{name}.sums", x */
typedef struct Saved {
	const char *title; /* as written */
	KBuffer *buffer;   /* an output of the kernel; a scalar has one axis */
	size_t link;       /* of the chain */
	Loc loc;
} Saved;
typedef VEC(Saved) SavedVec;

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

/* ---- elab_dtype.c ---- */

const Node *dtype_layout(const DtypeRef *dtype, const char *container); /* LAYOUT for it, or NULL */
const Node *dtype_planes(const DtypeRef *dtype);                        /* PLANES, or NULL */

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

/* The elements of a plane without a buffer, for a tensor of rows x cols. NULL: reported. */
void *plane_constant(Program *p, const DtypeRef *dtype, const Plane *plane, int64_t rows, int64_t cols, size_t *bytes);

/* ---- elab_decode.c: kernels that read a stored tensor back; NULL: reported ---- */

/* blocks u8 [n, block_bytes] -> f32 [n, elements of a block]; n is PARAM 0 */
Kernel *decode_layout(Program *p, const DtypeRef *dtype, const Node *layout, int64_t *block_bytes);
/* The dtype of the program whose layout for the container has this code; NULL: there is none. */
const DtypeRef *dtype_of_code(Program *p, const char *container, int64_t code, const Node **layout);
/* The planes that have a buffer -> f32 [rows, cols]. `input` is what the dtype calls so. Adds all planes to `to`. Of
 * arguments that a plane holds only the plane is believed. */
Kernel *decode_planes(
	Program *p, const DtypeRef *dtype, const Node *planes, Store input, int64_t rows, int64_t cols, PlaneVec *to);
/* Rows of bytes, u8 [rows, row_bytes] -> f32 [rows, cols]. */
Kernel *decode_rows(Program *p, const DtypeRef *dtype, Store input, int64_t rows, int64_t cols, int64_t *row_bytes);

/* ---- elaborate.c ---- */

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
	SavedVec saved;          /* arrays that leave the kernel in the place of the matrix: its outputs, in order */
	Places places;           /* of an axis of the factors, which is whole in the kernel's outputs */
	VEC(ChainInput) inputs;  /* what kernel->inputs has after the matrix itself, in order */
	StatisticVec statistics; /* what kernel->inputs has after those, in order */
	KBuffer *shift;          /* f32 [rows], what goes into the matrix's bias; NULL: nothing */
	NoteVec notes;           /* what the last output, f64 [notes], holds for the run to tell */
	FamilySelectVec selects; /* over families, in order; PARAM 1 + 2 k, 2 + 2 k of the k-th: see program.def, Share */
	bool needs_all_rows;     /* something wants the whole matrix: nothing was built; build again with `rows` given */
} ChainKernel;

/* Flat kernel of a chain. False: reported. */
bool chain_build(Program *p, const Chain *chain, ChainKernel *out);

#endif
