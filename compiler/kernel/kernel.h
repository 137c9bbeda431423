/* SPDX-License-Identifier: MIT
 *
 * kernel.h: the kernel IR, a program over named buffers.
 *
 * A kernel is a list of steps. A step defines the elements of a buffer for every
 * value of its indices (map), folds some of them (reduce), orders them (scan),
 * hands whole matrices to LAPACK (linalg), or holds other steps (loop, if).
 * Nothing in it knows what a weight is.
 *
 * The same IR exists in two states. *Flat*: as elaborated from the equations,
 * every step ranges over all its axes and every buffer is whole. *Scheduled*:
 * schedule.c moved common axes outwards into loops, fused what is aligned, shrank
 * the buffers that live inside one turn, and chose how each loop is run. Both
 * mean the same; interp.c runs either and is the definition of what they mean.
 */
#ifndef CMPC_KERNEL_H
#define CMPC_KERNEL_H

#include "base.h"

enum { K_MAX_RANK = 8 };

/* ---- storage types: how a number lies in memory ---- */

typedef enum StoreKind {
	STORE_NONE,
	STORE_BOOL,                    /* bool: a byte, 0 or 1 */
	STORE_UINT, STORE_INT,         /* u1..u64, i2..i64 */
	STORE_F16, STORE_BF16, STORE_F32, STORE_F64,
	STORE_E4M3,                    /* f8_e4m3: OCP FN: no infinity, 0x7f is NaN, max 448; saturates */
	STORE_E5M2,                    /* f8_e5m2: IEEE-like, max 57344; overflow gives infinity */
	STORE_E8M0,                    /* e8m0: 2^(b-127), 255 is NaN; a value is rounded down to a power of two */
	STORE_E2M1,                    /* e2m1: 0 .5 1 1.5 2 3 4 6 and sign; saturates; ties to even code */
	STORE_UE4M3,                   /* ue4m3: e4m3 without sign bit use; negative and NaN give 0, saturates at 448 */
} StoreKind;

/* In a buffer an element takes the next of 1, 2, 4, 8 bytes; a layout packs tighter.
 * real -> integer storage truncates and saturates to its range, NaN gives 0;
 * integer -> integer storage keeps the low bits; real -> float storage rounds to
 * nearest even; a stored NaN is the positive quiet one. Spare high bits of an element in
 * a buffer repeat the sign of an INT, are zero for all else, and are ignored by loads. */
typedef struct Store {
	StoreKind kind;
	uint8_t bits; /* of a bool: 1 */
} Store;

typedef enum KType { T_BOOL, T_I32, T_I64, T_F32, T_F64 } KType; /* what expressions compute in */

/* A scalar while it is computed: a f32 is held exactly in the double, an i32 sign-extended, a bool is 0 or 1. */
typedef union KValue {
	int64_t integer;
	double real;
} KValue;

/* ---- storage.c ---- */

Store store_find(Name name);          /* kind STORE_NONE if there is no such storage type */
const char *store_name(Store store, Text *scratch);
uint32_t store_bytes(Store store);    /* of an element in a buffer */
KType store_type(Store store);        /* what a load of it gives: i32 up to 31 bits and i32, i64 above; f32 for the small floats */
Store store_of_type(KType type);      /* bool, i32, i64, f32, f64 */
bool store_equal(Store a, Store b);
double store_round(Store store, double value);      /* through storage and back (float kinds; integers saturate) */
uint64_t store_encode(Store store, double value);   /* storage bits, zero-extended */
double store_decode(Store store, uint64_t bits);
bool store_keeps_bits(Store from, Store to); /* a real rounded to `from` has the same code in `to` */
uint64_t store_pack(Store store, KType type, KValue value); /* storage bits of a computed value; integers exactly */
KValue store_unpack(Store store, uint64_t bits);            /* a value of store_type(store); bits above the store's are ignored */
KValue store_load(Store store, const void *at);             /* an element as it lies in memory, unaligned */
void store_save(Store store, void *at, KType type, KValue value);

/* ---- expressions ---- */

typedef enum KOp {
#define OP(name, text, arity, typing) OP_##name,
#include "ops.def"
#undef OP
	OP_COUNT
} KOp;

typedef struct KExpr KExpr;
typedef struct KIndex KIndex;
typedef struct KBuffer KBuffer;
typedef struct KStep KStep;
typedef struct Kernel Kernel;
typedef VEC(KStep *) KStepVec;
typedef VEC(KBuffer *) KBufferVec;

/* Immutable once built; may be shared between parents. */
struct KExpr {
	KOp op;
	KType type;
	Store store;      /* STORE_AS, BITS, FROM_BITS; LOAD: how to read (see KBuffer) */
	KExpr *args[3];   /* arity of op */
	double real;      /* CONST of a real type */
	int64_t integer;  /* CONST of an integer type or bool; PARAM: its number */
	KIndex *index;    /* INDEX */
	KBuffer *buffer;  /* LOAD */
	KExpr **subs;     /* LOAD: one per axis of the buffer, integers */
	uint64_t uses;    /* bit id % 64 is set for every index that occurs in it; set by the constructors */
	bool loads;       /* whether it reads a buffer; set by the constructors */
};

/* A loop variable over lo, lo + step, ... < hi. Bounds may read outer indices and params, never buffers. */
struct KIndex {
	Name name;
	uint32_t id;      /* unique in its kernel, in order of creation */
	KExpr *lo, *hi;
	int64_t step;
};

/* ---- buffers ---- */

typedef enum KBufferKind {
	BUFFER_TEMP,   /* made and used inside the kernel */
	BUFFER_INPUT,  /* bound when the kernel runs, in the order of kernel->inputs */
	BUFFER_OUTPUT, /* likewise kernel->outputs */
	BUFFER_TABLE,  /* constant data: codebooks, layout tables */
} KBufferKind;

/* Row-major. In memory an element has store_bytes(store) bytes. A buffer of u8 may also be read and
 * written as any other store at a byte offset, unaligned, little-endian: LOAD.store or step->store
 * differs from buffer->store then, and the last subscript counts bytes. */
struct KBuffer {
	Name name;
	uint32_t id;
	KBufferKind kind;
	Store store;
	uint32_t rank;
	KExpr *extent[K_MAX_RANK]; /* CONST or PARAM */
	const void *data;          /* TABLE: elements as they lie in memory */
	KStep *scope;              /* scheduled: the LOOP inside which it lives, NULL: the whole kernel */
};

/* ---- steps ---- */

typedef enum KStepKind {
	STEP_MAP,     /* dst[subs] = value,                  for all of domain */
	STEP_REDUCE,  /* dst[subs] = reduce(over)(value),    for all of domain */
	STEP_SCAN,    /* dst[subs] = scan(over)(value),      for all of domain and over */
	STEP_LINALG,  /* outs = op(ins): whole rank-2 (or, for values of svd, rank-1) buffers */
	STEP_LOOP,    /* for index { body } */
	STEP_IF,      /* if value { body }: value is read once, before the body */
} KStepKind;

typedef enum KReduce {
	REDUCE_SUM,     /* order: see below */
	REDUCE_PROD,    /* row-major order */
	REDUCE_MAX,     /* skips NaN; empty: -inf, the least integer; gives +0 for any zero */
	REDUCE_MIN,
	REDUCE_ANY, REDUCE_ALL, REDUCE_COUNT, /* of bool; count is i32 */
	REDUCE_ARGMAX, REDUCE_ARGMIN,         /* i32, row-major position in over; the first wins; NaN never does; 0 if all are NaN or none is there */
	REDUCE_QUANTILE, /* the element of rank ceil(limit * n) - 1 (clamped to 0..n-1), the product in limit's real type; 0 of none; ties by position */
} KReduce;
/* SUM: if the total extent of over is <= 256, or in_order: row-major order from 0. Longer, over one
 * axis: 64 partial sums, element j into partial j mod 64 in order, then partials are added pairwise
 * (0+32, 1+33, ..; then 16, 8, 4, 2, 1). Longer, over several axes: the innermost axis first by these
 * rules, then the next outer one over its results, one axis at a time. Bounds of over do not depend on over. */

typedef enum KScan {
	SCAN_RANK,     /* i32: how many elements come strictly before it, ascending, ties by row-major position; NaN last */
	SCAN_SMALLEST, /* bool: rank < limit; limit is an integer that does not depend on over */
	SCAN_PREFIX,   /* sum of value up to and with it, in row-major order, or in ascending order of key (ties by position) */
	SCAN_SORT,     /* the values ascending; NaN last */
} KScan;

typedef enum KLinalg {
	/* of these three, in and out may be one buffer */
	LINALG_CHOLESKY, /* in: A [n, n]; out: U [n, n] upper with A = U'U. `upper` false: L */
	LINALG_INVERSE,  /* in: A [n, n] symmetric positive definite; out: inverse */
	LINALG_INVERSE_FACTOR, /* the Cholesky factor of the inverse of A: scheduled kernels have it for the two in a row */
	LINALG_SVD,      /* in: A [m, n]; out: u [m, r], s [r], v [n, r], r = min(m, n); signs fixed: largest |u| of a column is positive */
	LINALG_QR,       /* in: A [m, n]; out: q [m, r], r [r, n]; the diagonal of r is >= 0 */
} KLinalg;

typedef enum KLoopMode {
	LOOP_SEQUENTIAL,
	LOOP_ROWS,   /* turns are independent; handed to threads as [begin, end) of rows; only at the top of a kernel or under sequential loops */
	LOOP_LANES,  /* turns are independent; `lanes` of them run side by side, every scalar a vector (lane = block) */
} KLoopMode;

struct KStep {
	KStepKind kind;
	Loc loc;
	Name origin;          /* the pass or dtype that asked for it, for dumps and remarks */
	uint32_t sweep;       /* of a step at the top of a flat kernel: steps of different ones share no loop */

	KBuffer *dst;         /* MAP, REDUCE, SCAN */
	KExpr **dst_subs;     /* one per axis of dst: affine in domain (SCAN: and over), outer indices */
	Store store;          /* how to write; differs from dst->store only for u8 buffers */
	KIndex **domain;
	uint32_t domain_count;
	KIndex **over;        /* REDUCE, SCAN */
	uint32_t over_count;
	KReduce reduce;
	KScan scan;
	bool in_order;        /* SUM */
	bool is_contraction;  /* SUM of a product, each factor with a free index the other lacks: may go to BLAS */
	bool is_vector;       /* scheduled: innermost index of domain (MAP, SCAN) or over (REDUCE) runs in vector lanes (lane = element) */
	KExpr *value;         /* MAP, REDUCE, SCAN; IF: the condition */
	KExpr *key;           /* SCAN_PREFIX in the order of a key, else NULL */
	KExpr *limit;         /* SCAN_SMALLEST, REDUCE_QUANTILE */
	KExpr *minuend;       /* scheduled contraction: what the sum is taken off from, read before dst is written; else NULL */

	KLinalg linalg;       /* LINALG */
	bool upper;
	KBuffer *ins[1], *outs[3];

	KIndex *index;        /* LOOP */
	KLoopMode mode;
	uint32_t lanes;
	KStepVec body;        /* LOOP, IF */
};
/* The reads of a step precede its writes: a MAP whose value loads dst at other subscripts than it
 * writes must not be run element by element; builders put a temporary between (verify.c holds them to it). */

struct Kernel {
	Compiler *c;
	Name name;            /* symbol of the generated function */
	bool is_scheduled;
	uint32_t param_count; /* PARAM 0 is the number of rows in the panel */
	bool is_whole;        /* one call is for all rows: a loop over rows is spread inside it, even if it is all there is */
	KBufferVec inputs, outputs, buffers; /* buffers: all of them, in order of creation */
	KStepVec steps;
	uint32_t index_count;
	bool changes_inputs;    /* set by the schedule: buffers of inputs are written too */
	uint64_t scratch_bytes; /* set by llvm/: what a thread needs beside its stack */
};

/* ---- scalar.c: what each operation means; folding and interpreting are both this ---- */

/* The result of a CONST-free, LOAD-free operation on operands of type `from` (SELECT: of its two values); `type`
 * is the result's. */
KValue scalar_apply(KOp op, KType type, KType from, Store store, const KValue *args);
uint32_t kop_arity(KOp op);
const char *kop_text(KOp op);
bool kop_takes(KOp op, KType type);                /* operands of this type; COMPARE takes bools too */
KType kop_gives(KOp op, KType type, Store store);  /* from such operands; not of CAST, LOAD and leaves */

/* ---- kernel.c, expr.c: building; every constructor folds constants and checks types by assertion ---- */

Kernel *kernel_new(Compiler *c, Name name);
KIndex *kindex_new(Kernel *k, Name name, KExpr *lo, KExpr *hi, int64_t step);
KBuffer *kbuffer_new(Kernel *k, KBufferKind kind, Name name, Store store, uint32_t rank, KExpr *const *extent);

KExpr *kexpr_int(Kernel *k, KType type, int64_t value);
KExpr *kexpr_real(Kernel *k, KType type, double value);
KExpr *kexpr_index(Kernel *k, KIndex *index);
KExpr *kexpr_param(Kernel *k, uint32_t number);
KExpr *kexpr_load(Kernel *k, KBuffer *buffer, KExpr *const *subs);
KExpr *kexpr_load_as(Kernel *k, KBuffer *buffer, KExpr *const *subs, Store store); /* u8 buffers */
KExpr *kexpr_unary(Kernel *k, KOp op, KExpr *a);
KExpr *kexpr_binary(Kernel *k, KOp op, KExpr *a, KExpr *b);   /* a, b of one type */
KExpr *kexpr_select(Kernel *k, KExpr *condition, KExpr *a, KExpr *b);
KExpr *kexpr_cast(Kernel *k, KType type, KExpr *a);
/* STORE_AS and FROM_BITS give store_type(store), BITS gives i32, or i64 above 32 bits */
KExpr *kexpr_store(Kernel *k, KOp op, Store store, KExpr *a);
/* e with every occurrence of index replaced */
KExpr *kexpr_substitute(Kernel *k, KExpr *e, const KIndex *index, KExpr *by);
/* the same operation as e on other operands */
KExpr *kexpr_rebuild(Kernel *k, const KExpr *e, KExpr *const *args);

/* Remembers something about expressions that were met, so that a walk visits a shared node once. */
typedef struct KExprMap {
	Arena *arena; /* set by the user; all else starts as zero */
	const KExpr **keys;
	void **values;
	size_t count, capacity;
} KExprMap;
void **kexprmap_at(KExprMap *map, const KExpr *e); /* its place, NULL in it when it is new; valid until the next call */

/* Steps are made unattached: push them to k->steps or to the body of a LOOP or IF. Arrays are copied. store is
 * dst->store; loc, origin, key, limit, in_order, .. are the caller's to set. */
KStep *kstep_map(Kernel *k, KBuffer *dst, KExpr *const *subs, KIndex *const *domain, uint32_t domain_count, KExpr *value);
KStep *kstep_reduce(Kernel *k, KReduce op, KBuffer *dst, KExpr *const *subs, KIndex *const *domain,
    uint32_t domain_count, KIndex *const *over, uint32_t over_count, KExpr *value);
KStep *kstep_scan(Kernel *k, KScan op, KBuffer *dst, KExpr *const *subs, KIndex *const *domain, uint32_t domain_count,
    KIndex *const *over, uint32_t over_count, KExpr *value);
KStep *kstep_linalg(Kernel *k, KLinalg op, bool upper, KBuffer *in, KBuffer *const *outs);
KStep *kstep_loop(Kernel *k, KIndex *index, KLoopMode mode, uint32_t lanes);
KStep *kstep_if(Kernel *k, KExpr *condition);
uint32_t linalg_outs(KLinalg op); /* how many results it has */
bool linalg_is_definite(KLinalg op); /* takes a matrix that is symmetric and positive definite, gives one as large */
/* One loop over the rows that there are, whatever their number: its code runs those it is called for, and any panel of
 * a matrix will do. Other kernels run as a whole. */
bool kernel_is_streamed(const Kernel *k);

/* ---- expr_facts.c: questions ---- */

bool kexpr_is_const(const KExpr *e, int64_t *value);
/* e = coefficient * index + rest, rest free of index; false if it is not of that form */
bool kexpr_affine(Kernel *k, KExpr *e, const KIndex *index, int64_t *coefficient, KExpr **rest);
bool kexpr_uses(const KExpr *e, const KIndex *index);
bool kexpr_equal(const KExpr *a, const KExpr *b);   /* the same tree */
/* a - b where that is a constant whatever the indices and params: linear forms are compared */
bool kexpr_difference(const KExpr *a, const KExpr *b, int64_t *difference);
/* e - base at most, or at least, whatever the indices are that base does not use; false: it is not known to be constant */
bool kexpr_bound(const KExpr *e, const KExpr *base, bool is_upper, int64_t *bound);

/* ---- verify.c, print.c ---- */

bool kernel_verify(Kernel *k);                /* internal errors are reported through diag */
void kernel_print(const Kernel *k, Text *to); /* --emit=kernels */
const char *kstep_describe(const Kernel *k, const KStep *step); /* "map x", for messages */

/* ---- cost.c ---- */

/* What one core takes for so many rows of a scheduled kernel, within a small factor: in parts that threads share out,
 * and in those that one runs while the others wait. */
typedef struct KCost {
	double spread, serial; /* cycles */
} KCost;
KCost kernel_cost(Kernel *k, int64_t rows, uint32_t lanes);

/* ---- heap.c ---- */

/* What a scheduled kernel takes from the runtime while it runs, in bytes at most: a call of it, or, in its loops over
 * rows, each thread. Never both at a time. */
typedef struct KHeap {
	int64_t call, thread;
} KHeap;
KHeap kernel_heap(const Kernel *k, int64_t rows);

/* ---- interp.c: the reference; runs flat and scheduled kernels alike, on one thread ---- */

/* inputs and outputs: memory laid out as the buffers say; params: param_count values. A subscript outside its
 * buffer is reported as an internal error with step and buffer, and false is returned. Temporaries hold garbage
 * (all bits set) whenever their scope is entered. */
bool kernel_interpret(Kernel *k, void *const *inputs, void *const *outputs, const int64_t *params);

/* ---- interp_linalg.c: plain double-precision factorizations for the reference ---- */

/* in: m x n, outs as KLinalg says; all row-major. A matrix that is not positive definite gives NaN. */
void linalg_reference(Arena *scratch, KLinalg op, bool upper, size_t m, size_t n, const double *in, double *const *outs);

/* ---- bitmap.c, bitmap_invert.c: reading back what a layout packed ----
 *
 * Shifts, masks and ors of disjoint bits only move bits, so following each bit through the steps that pack the
 * fields of one block says where every bit of every field lies; the steps that read the fields back follow. */

typedef struct BitPlace {
	uint32_t output; /* which of the outputs */
	uint32_t bit;    /* of its memory, little-endian: 8 * byte + bit */
} BitPlace;

typedef struct BitField {
	KBuffer *buffer;  /* in the kernel that was traced */
	uint32_t count;   /* elements */
	BitPlace *places; /* [element, row-major][bit of its store] */
} BitField;

typedef struct Bitmap {
	Loc loc; /* of the packing, for messages */
	BitField *fields;
	uint32_t field_count;
} Bitmap;

/* Follows the MAP and integer SUM steps that make the outputs from the fields, for params that leave one block;
 * other steps, and what makes the fields, are passed over. False after reporting a field bit that is missing or
 * there twice, an output bit that is no bit of a field, or one that is written never or twice. */
bool bitmap_trace(Kernel *k, const KStepVec *steps, KBuffer *const *outputs, uint32_t output_count,
    KBuffer *const *fields, uint32_t field_count, const int64_t *params, Bitmap *map);

/* Where the parts of a block are in the kernel that reads it back. */
typedef struct BitSource {
	KBuffer *buffer;    /* what the output of the same number became */
	KExpr *const *subs; /* of the block's first element (of bytes: its first byte) */
} BitSource;

typedef struct BitTarget {
	KBuffer *buffer; /* its last axes are the last ones of the field of the same number, with an extent above 1 or not */
	KExpr *const *lead_subs; /* of the axes before those */
	uint32_t lead_count;
} BitTarget;

/* Pushes MAP steps over `around` and the fields' own axes. Places that are linear in digits of the subscripts are
 * computed; others, after cutting an axis in up to 8 parts did not help, are looked up in tables. */
bool bitmap_invert(Kernel *k, const Bitmap *map, const BitSource *sources, const BitTarget *targets,
    KIndex *const *around, uint32_t around_count, KStepVec *to);

/* ---- schedule.c: flat -> scheduled ---- */

typedef struct ScheduleOptions {
	uint32_t lanes;   /* f32 lanes of the target's vectors: 4, 8, 16 */
	bool owns_inputs; /* they are this call's alone: results may take their place in memory */
} ScheduleOptions;
void kernel_schedule(Kernel *k, const ScheduleOptions *options);

#endif
