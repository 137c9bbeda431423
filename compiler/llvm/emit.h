/* SPDX-License-Identifier: MIT
 *
 * emit.h: what the emit_*.c files share: the state of one function under emission.
 *
 * An expression is emitted in one of three modes. SCALAR: one value. LANES: `width`
 * turns of a LOOP_LANES side by side. VECTOR: `width` neighbouring values of the
 * innermost index of a step. In the last two, a value that depends on that index is
 * a vector of `width` elements and any other is a scalar; operations mix the two by
 * splatting, so "is this value varying?" is a question to its LLVM type.
 */
#ifndef CMPC_EMIT_H
#define CMPC_EMIT_H

#include "llvm.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

struct Module {
	Compiler *c;
	LLVMContextRef context;
	LLVMModuleRef llvm;
	LLVMBuilderRef builder;
	LLVMTargetMachineRef machine;
	TargetFacts facts;
	bool has_f16;     /* f16 <-> f32 are instructions of the target */
	bool rounds_away; /* so is rounding with ties away from zero */
};

/* ---- emit_facts.c: what is known of a value ---- */

typedef struct Range {
	double lo, hi;       /* of a real: every value that is no NaN */
	int64_t least, most; /* of an integer or bool */
	bool may_be_nan;
} Range;

/* One per kernel: facts that hold wherever it is emitted. */
typedef struct KernelFacts {
	Kernel *k;
	Range *of_buffer; /* by buffer id: what its elements hold */
	bool *has_views;  /* by buffer id: a u8 buffer read or written as another store */
	KExprMap ranges;  /* KExpr -> Range * */
} KernelFacts;

KernelFacts *facts_new(Kernel *k);
Range facts_range(KernelFacts *facts, KExpr *e);
Range facts_reduction(KernelFacts *facts, KStep *step);               /* of its results */
bool facts_index_range(KIndex *index, int64_t *least, int64_t *most); /* of its values, if its bounds are constants */
typedef void ExprVisit(void *context, KExpr *load);
void expr_each_load(Kernel *k, KExpr *e, ExprVisit *visit, void *context);
KExpr *expr_only_load(KExpr *x); /* all but constants that x is computed from; NULL: there is more or less */
void step_each_load(
	Kernel *k, KStep *step, ExprVisit *visit, void *context); /* of its own expressions, not its body's */

/* ---- the function under emission ---- */

typedef struct Linear Linear;
typedef enum Mode { MODE_SCALAR, MODE_LANES, MODE_VECTOR } Mode;

/* Where a buffer lies while a function is emitted. */
typedef struct Place {
	LLVMValueRef base;     /* NULL: not seen yet */
	bool is_value;         /* elements are values of store_type(store), not storage bits */
	bool is_private;       /* one copy a lane: element i is `width` values at base[i] */
	bool is_private_bytes; /* one copy a lane: lane l has its own whole buffer at base + l * bytes */
	int64_t bytes;         /* of a private_bytes copy */
} Place;

/* A block of an outside buffer in rows of lanes: transposed before the body of a lane loop runs, or kept from the sink
 * that wrote it. The element at byte factor * vector index + uniform + d, for least <= d <= most, is the row
 * (d - least) / bytes of memory. */
typedef struct Stage {
	KBuffer *buffer;
	Store store;
	int64_t factor, bytes;
	Linear *uniform;
	int64_t least, most;
	LLVMValueRef memory;
	bool is_encoded; /* rows hold what lies at the buffer's place, not values */
} Stage;
typedef VEC(Stage *) StageVec;

typedef struct Emitter {
	Module *m;
	Kernel *k;
	KernelFacts *facts;
	LLVMBuilderRef builder;
	LLVMValueRef function, frame;
	LLVMBasicBlockRef entry;    /* allocas and buffer pointers; its terminator is made last */
	Place *places;              /* by buffer id */
	LLVMValueRef *index_values; /* by index id: i64, or <width x i32> for the vector index; NULL: not in scope */
	LLVMValueRef *params;       /* by number: i64 */
	KExprMap memo;              /* KExpr -> Memo *, valid for memo_epoch */
	uint32_t memo_epoch;
	uint64_t scratch_bytes;   /* used of frame->scratch */
	bool is_top;              /* the function of a kernel of several steps: it outlines row loops */
	bool is_whole;            /* that function, or one that it outlined: contractions go to BLAS */
	uint32_t rows_count;      /* is_top: outlined functions so far */
	uint64_t rows_scratch;    /* is_top: the most that one of them wants */
	LLVMValueRef own_scratch; /* is_top: a constant, how much of the scratch is its own */

	Mode mode;
	uint32_t width;
	KIndex *vector_index; /* the index whose values are the elements of vectors */
	KIndex vector_base;   /* stands for the base in linear forms: vector_index = base_factor * vector_base + lane */
	int64_t base_factor;
	LLVMValueRef base_value; /* i64: the value of vector_base */
	LLVMValueRef lane_count; /* LANES: i32, how many lanes are live */
	LLVMValueRef lanes_full; /* LANES: i1, all of them */
	KStep *rows;             /* the LOOP_ROWS whose turn is emitted; NULL: none */
	KStep *lane_loop;
	StageVec stages;
	uint32_t depth, lane_depth; /* loops and conditions around the step in hand; around the steps of the lane loop */
} Emitter;

/* ---- emit.c ---- */

void emit_steps(Emitter *e, KStepVec *steps);

typedef struct LoopFrame {
	LLVMBasicBlockRef header, body, exit;
	LLVMValueRef counter; /* i64 */
} LoopFrame;
/* for counter = from; counter < to; counter += by: leaves the builder in the body */
LoopFrame loop_begin(Emitter *e, LLVMValueRef from, LLVMValueRef to, int64_t by, const char *name);
void loop_end(Emitter *e, LoopFrame *loop, int64_t by); /* leaves the builder behind the loop */

/* What is done in one way for all lanes of a vector and in another where some are not live. */
typedef struct LanesBranch {
	LLVMBasicBlockRef full, part, join; /* full, part: as they begin */
} LanesBranch;

LanesBranch lanes_branch_begin(Emitter *e, const char *name); /* the builder is where all lanes are live */
void lanes_branch_part(Emitter *e, const LanesBranch *branch);
void lanes_branch_end(Emitter *e, const LanesBranch *branch);
LLVMValueRef alloca_at_entry(Emitter *e, LLVMTypeRef type, const char *name);
LLVMValueRef zeroed_at_entry(Emitter *e, LLVMTypeRef type, const char *name); /* once, when the function is entered */
/* bytes of memory for this function alone: the stack, or frame->scratch if they are many */
LLVMValueRef memory_of_function(Emitter *e, uint64_t bytes, const char *name);
/* call of a row of runtime.def */
LLVMValueRef emit_runtime_call(Emitter *e, const char *name, LLVMValueRef *args);

LLVMValueRef emit_trip_count(Emitter *e, KIndex *index);          /* i64 */
void bind_index(Emitter *e, KIndex *index, LLVMValueRef counter); /* its value is lo + counter * step */
bool const_trip_count(KIndex *index, int64_t *count);

/* ---- emit_group.c: runs of steps in one loop nest ---- */

/* Moves the steps that may share a loop nest with the first of these to the front, without changing what they
 * compute; how many they are with the first. */
size_t group_gather(Emitter *e, KStep **steps, size_t count);
void emit_group(Emitter *e, KStep **steps, size_t count);
/* One reduction over its axes from `axis` on (a long SUM folds one at a time, else all at once). */
LLVMValueRef emit_reduce_nest(Emitter *e, KStep *step, uint32_t axis);

/* ---- emit_linear.c: subscripts as constant + sum of factor * term ---- */

typedef struct Term {
	const KIndex *index; /* one of these three is set */
	KExpr *opaque;
	const Linear *divided; /* floor(divided / divisor) */
	int64_t divisor, factor;
} Term;
struct Linear {
	int64_t constant;
	VEC(Term) terms;
};

/* lane < 0: the vector index is a term; else it stands for base_factor * vector_base + lane */
Linear *linear_of(Emitter *e, KExpr *x, int64_t lane);
Linear *linear_constant(Emitter *e, int64_t value);
Linear *linear_scaled(Emitter *e, const Linear *l, int64_t factor);
void linear_add(Emitter *e, Linear *to, const Linear *from, int64_t factor);
bool linear_equal(const Linear *a, const Linear *b);
/* an opaque term has another value in each lane */
bool linear_has_varying_opaque(Emitter *e, const Linear *l);
bool linear_uses(Emitter *e, const Linear *l, const KIndex *index);
/* removes the term of index; its factor, or 0 */
int64_t linear_take(Linear *l, const KIndex *index);
bool linear_range(Emitter *e, const Linear *l, int64_t *least, int64_t *most);
LLVMValueRef linear_emit(Emitter *e, const Linear *l); /* i64 or a vector of them */
/* the offset of an element in a buffer that lies at place, in units of its elements */
Linear *linear_subscript(Emitter *e, KBuffer *buffer, KExpr *const *subs, int64_t lane);

/* ---- emit_expr.c ---- */

LLVMValueRef emit_expr(Emitter *e, KExpr *x);
/* the sign of a zero in the result does not matter to the caller */
LLVMValueRef emit_any_zero(Emitter *e, KExpr *x);
/* a value that is x when both are cut off at the point: x is for an integer */
LLVMValueRef emit_truncated(Emitter *e, KExpr *x);
void memo_forget(Emitter *e);
void memo_set(Emitter *e, KExpr *x, LLVMValueRef value); /* until it is forgotten */
LLVMValueRef emit_index64(Emitter *e, KExpr *x);         /* an integer expression without the vector index, as i64 */
LLVMTypeRef type_of(Emitter *e, KType type);
LLVMTypeRef type_like(LLVMTypeRef element, LLVMValueRef shape); /* a vector of as many as shape, or the element */
bool is_vector_value(LLVMValueRef v);
LLVMValueRef splat(Emitter *e, LLVMValueRef v); /* to `width` elements, if it is a scalar */
LLVMValueRef const_like(Emitter *e, LLVMValueRef shape, LLVMValueRef scalar);
LLVMValueRef const_int(LLVMTypeRef type, int64_t value); /* vector types too */
LLVMValueRef const_real(LLVMTypeRef type, double value);
LLVMValueRef emit_intrinsic(
	Emitter *e, const char *name, LLVMTypeRef *overloads, uint32_t overload_count, LLVMValueRef *args, uint32_t count);
LLVMValueRef emit_intrinsic1(Emitter *e, const char *name, LLVMValueRef a); /* overloaded on a's type */
LLVMValueRef emit_plus_zero(Emitter *e, LLVMValueRef v);                    /* -0 to +0 */

/* ---- emit_store.c: storage conversions ---- */

/* The element type of storage bits: an integer of whole bytes, or f32, f64 themselves. */
LLVMTypeRef store_memory_type(Emitter *e, Store store);
/* value (of type, known to lie in range) to what lies in memory */
LLVMValueRef emit_encode(Emitter *e, Store store, KType type, LLVMValueRef value, Range range);
LLVMValueRef emit_decode(Emitter *e, Store store, LLVMValueRef raw);
/* STORE_AS: the value a reader sees, of store_type(store) */
LLVMValueRef emit_store_as(Emitter *e, Store store, KType type, LLVMValueRef value, Range range);
LLVMValueRef emit_bits(Emitter *e, Store store, KType type, LLVMValueRef value, Range range, KType to);
LLVMValueRef emit_from_bits(Emitter *e, Store store, KType from, LLVMValueRef bits);
LLVMValueRef emit_real_to_int(
	Emitter *e, LLVMValueRef value, Range range, bool is_signed, uint32_t bits, LLVMTypeRef element);

/* ---- emit_memory.c: places, loads, stores ---- */

Place *place_of(Emitter *e, KBuffer *buffer);
LLVMValueRef emit_load(Emitter *e, KExpr *load);
LLVMValueRef load_at(Emitter *e, LLVMTypeRef type, LLVMValueRef pointer, uint32_t align, KBuffer *buffer);
void store_at(Emitter *e, LLVMValueRef value, LLVMValueRef pointer, uint32_t align, KBuffer *buffer);
LLVMValueRef offset_pointer(Emitter *e, LLVMValueRef base, LLVMValueRef bytes);
/* dst[subs] = value of type, known to lie in range */
void emit_store_step(Emitter *e, KStep *step, LLVMValueRef value, KType type, Range range);
uint32_t place_element_bytes(Emitter *e, KBuffer *buffer, Place *place);
LLVMTypeRef place_element_type(Emitter *e, KBuffer *buffer, Place *place);
/* between a value and what lies at place */
LLVMValueRef encode_place(Emitter *e, KStep *step, Place *place, LLVMValueRef value, KType type, Range range);
LLVMValueRef decode_place(Emitter *e, KBuffer *buffer, Place *place, Store store, LLVMValueRef raw);

/* ---- emit_transpose.c ---- */

enum { LANES_MOST = 64 };
typedef LLVMValueRef Rows[LANES_MOST];
LLVMValueRef emit_shuffle(Emitter *e, LLVMValueRef a, LLVMValueRef b, const uint32_t *mask, uint32_t count);
/* n vectors of n elements: element j of rows[i] becomes element i of rows[j] */
void emit_transpose(Emitter *e, Rows rows, uint32_t n);
LLVMValueRef emit_resize(Emitter *e, LLVMValueRef v, uint32_t from, uint32_t to); /* elements */
LLVMValueRef lane_add_bytes(Emitter *e, LLVMValueRef pointer, LLVMValueRef count, int64_t bytes);
/* first + lane * bytes for each lane; lanes that are not live stay with the last live one. */
void lane_pointers(Emitter *e, LLVMValueRef first, int64_t bytes, Rows pointers);

/* ---- emit_lanes.c: staging by transposes ---- */

enum {
	STAGE_MOST = 4096,  /* elements a lane in rows */
	TILES_UNROLLED = 2, /* more of them are moved in a loop */
	DENSE_MOST = 8,     /* elements of blocks that touch, moved as one run of memory */
};
void emit_lane_loop(Emitter *e, KStep *loop);
/* the staged value of a load, NULL if it is not staged */
LLVMValueRef stage_find(Emitter *e, KExpr *load);
bool steps_write(const KStepVec *steps, const KBuffer *buffer);

/* ---- emit_sink.c ---- */

/* Stores of a step to a buffer outside the lane loop are collected and written transposed. */
typedef struct Sink {
	KStep *step;
	LLVMValueRef memory; /* rows of lanes; NULL: stored directly */
	int64_t factor;      /* bytes from one turn's element to the next one's */
	int64_t bytes;       /* of an element */
	LLVMTypeRef element;
	uint32_t align; /* of elements of dst */
	int64_t run;    /* elements that are neighbours in dst */
	uint32_t outer; /* indices of the domain that lead from run to run */
	bool is_kept;   /* loads of dst read its rows */
} Sink;
Sink sink_begin(Emitter *e, KStep *step);
void sink_put(Emitter *e, Sink *sink, LLVMValueRef value, KType type, Range range);
/* From now on loads of dst read the rows of the sink; false, and nothing is changed, if loops inside write dst. */
bool sink_keep(Emitter *e, Sink *sink);
/* Nobody reads the rows of earlier sinks of buffer any more: it is written directly. */
void sink_forget(Emitter *e, const KBuffer *buffer);
void sink_end(Emitter *e, Sink *sink); /* writes dst; keeps the rows if that is possible */

/* ---- emit_prefetch.c ---- */

/* Called at the beginning of a turn of a loop: the next row on its way, if this is where it should be. */
void emit_prefetch(Emitter *e, KStep *loop, LLVMValueRef turn, LLVMValueRef turns);

/* ---- emit_reduce.c ---- */

/* A reduction under way. Outside of vector mode its accumulator is one value (or one a lane); in vector mode,
 * where the order is free, it is a vector of partial results, folded when the vectors end. */
typedef struct Reducer {
	KStep *step;
	KType type;            /* of the result */
	LLVMTypeRef element;   /* of an accumulator */
	bool is_long;          /* a SUM in 64 partial sums */
	bool in_order;         /* real SUM and PROD otherwise: strictly one after the other */
	LLVMValueRef mask;     /* is_long: i64, 63, or 0 if it turns out to be short when it runs */
	LLVMValueRef cells;    /* is_long: the 64 partial sums */
	LLVMValueRef total;    /* the accumulator */
	LLVMValueRef position; /* ARGMAX, ARGMIN: i32, where it was found */
	uint32_t width;        /* of vectors, 0: none */
	LLVMValueRef *vectors; /* vector accumulators: 64 / width if is_long, else 1 */
	LLVMValueRef vector_position;
} Reducer;

bool reduce_is_long(KStep *step, uint32_t axis); /* the sum over this axis has or may have more than 256 terms */
LLVMValueRef sum_is_long(Emitter *e, LLVMValueRef trips);
/* width: of the vectors that it will be given first, 0: none. axis: the axis of over that is folded, or
 * over_count for all at once. */
Reducer *reducer_begin(Emitter *e, KStep *step, uint32_t axis, uint32_t width);
/* position: i64, of the element, or in vector mode of the first; part: of the vector among 64 elements */
void reducer_add(Emitter *e, Reducer *r, LLVMValueRef value, LLVMValueRef position, uint32_t part);
void reducer_leave_vectors(Emitter *e, Reducer *r);
LLVMValueRef reducer_end(Emitter *e, Reducer *r);
LLVMValueRef emit_reduction(Emitter *e, KStep *step); /* all of it; the domain is bound */
KType reduce_type(const KStep *step);

/* ---- emit_scan.c ---- */

void emit_scan(Emitter *e, KStep *step); /* the domain is bound */
LLVMValueRef emit_quantile(Emitter *e, KStep *step);
/* An i32 that sorts as a f32 or i32 does; NaN last; zeros are equal. */
LLVMValueRef emit_sorting_image(Emitter *e, KStep *step, LLVMValueRef v);
/* Ranks among a few neighbours: vectors hold whole groups, and a group's elements meet by rotation. */
bool scan_is_grouped(Emitter *e, KStep *step);
void emit_scan_grouped(Emitter *e, KStep *step);

/* ---- emit_select.c ---- */

/* A row of what a step scans, where it lies one after the other. */
typedef struct RowValues {
	LLVMValueRef memory;
	LLVMTypeRef element;
	uint32_t bytes; /* of an element */
	KExpr *load; /* the step's value is computed from this load alone, and the row is what it loads; NULL: of values */
} RowValues;

/* mask[i] = 1 for the `limit` elements that come first in ascending order of the step's f32 value; bytes; limit: i64 */
void emit_smallest(
	Emitter *e, KStep *step, const RowValues *values, LLVMValueRef count, LLVMValueRef limit, LLVMValueRef mask);

/* ---- cpu.c ---- */

bool cpu_is_known(const char *triple, const char *cpu);
const char *cpu_triple(const char *host, const char *cpu); /* host, if it knows the CPU, else one that does; NULL */
/* NULL: none is near, or this process has asked before: LLVM lists its CPUs once. */
Name cpu_nearest(Compiler *c, const char *triple, const char *cpu);
/* The first of "+a,-b" that this CPU's architecture does not have, NULL: it has all. */
const char *unknown_feature(Compiler *c, const char *triple, const char *cpu, const char *features);

/* ---- emit_linalg.c ---- */

void emit_linalg(Emitter *e, KStep *step);
bool emit_contraction(Emitter *e, KStep *step); /* false: it is not of a form that BLAS takes */

#endif
