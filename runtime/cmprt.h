/* SPDX-License-Identifier: MIT
 *
 * cmprt.h: the runtime as generated code and the compiler see it.
 *
 * An executable is: kernels (generated), one CmprtProgram of constant tables
 * (generated), this runtime, and a main that calls cmprt_start. `cmpc run` gives
 * the same program to the same runtime in memory. The structs are made of 8-byte
 * fields only (program.def), so the compiler can emit them as LLVM constants
 * without knowing a C ABI. Includes nothing of the compiler.
 */
#ifndef CMPRT_H
#define CMPRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- what a generated kernel is called with ---- */

/* buffers: first the kernel's inputs, then its outputs, then its whole-kernel work buffers, each based at
 * row `origin` of the panel in hand. scratch: the calling thread's own, kernel->scratch_bytes, 64-byte aligned. */
typedef struct CmprtFrame {
	void **buffers;
	const int64_t *params; /* params[0]: rows in the panel */
	void *scratch;
	struct Sampler *sampler; /* NULL in a run; in a dry run of a whole kernel: how long its parts take (sampler.h) */
} CmprtFrame;

/* Runs rows [begin, end) of the panel. Never fails, never allocates, keeps no state. */
typedef void CmprtKernel(CmprtFrame *frame, int64_t begin, int64_t end);

enum { CMPRT_NOTES = 8 }; /* that a job may have at most */

/* ---- constant tables: structs and their emitter come from the one list in program.def ---- */

#define STRUCT(name) typedef struct Cmprt##name Cmprt##name;
#define INT(field)
#define REAL(field)
#define STRING(field)
#define KERNEL(field)
#define INTS(field, count)
#define STRUCTS(type, field, count)
#define END
#include "program.def"
#undef STRUCT
#undef INT
#undef REAL
#undef STRING
#undef KERNEL
#undef INTS
#undef STRUCTS
#undef END

#define STRUCT(name) struct Cmprt##name {
#define INT(field) int64_t field;
#define REAL(field) double field;
#define STRING(field) const char *field;
#define KERNEL(field) CmprtKernel *field;
#define INTS(field, count) const int64_t *field;
#define STRUCTS(type, field, count) const Cmprt##type *field;
#define END                                                                                                            \
	}                                                                                                                  \
	;
#include "program.def"
#undef STRUCT
#undef INT
#undef REAL
#undef STRING
#undef KERNEL
#undef INTS
#undef STRUCTS
#undef END

/* ---- run.c ---- */

typedef struct CmprtOptions {
	const char *model, *output; /* NULL: as the program says */
	const char **inputs;        /* "FILE=PATH": what the program calls FILE is read from PATH */
	int64_t input_count;
	int64_t threads; /* 0: one per core */
	int64_t memory;  /* bytes; 0: as the program says */
	bool no_fuse, no_sync, dry_run, eval, json, quiet, force;
	bool is_trial; /* the result is for a caller that looks at it: what is required, measured and reported of it is not */
	int nonfinite; /* CMPRT_NONFINITE_* */
} CmprtOptions;
enum { CMPRT_FOLD_SUM, CMPRT_FOLD_MAX, CMPRT_FOLD_MIN };
enum { CMPRT_NONFINITE_ERROR, CMPRT_NONFINITE_KEEP, CMPRT_NONFINITE_ZERO };

/* Exit status: 0 done; 1 failed, one line on stderr, destination untouched; 2 wrong options. */
int cmprt_main(const CmprtProgram *program, int argc, char **argv); /* parses options, then runs */
int cmprt_run(const CmprtProgram *program, const CmprtOptions *options);
/* evaluate.c: the metrics of program->nets, a line each; with options->output the array that they leave, as a file */
int cmprt_evaluate(const CmprtProgram *program, const CmprtOptions *options);
/* measure.c: what the program's figures on data are of the model, and of the result that lies there already */
int cmprt_evaluate_result(const CmprtProgram *program, const CmprtOptions *options);
/* What the options that follow argv[0] say; to->inputs has a place for each. 0; else cmprt_main's status, told. */
int cmprt_options(const CmprtProgram *program, int argc, char **argv, CmprtOptions *to);

/* What each token that was to be predicted costs, in nats; of images, 1 for each that is named correctly, else 0. */
typedef struct CmprtScores {
	double *at;
	double *divergence; /* of what is expected from what another checkpoint expects, in nats; NULL: not asked for */
	int64_t count, samples;
	bool are_of_images;
} CmprtScores;
typedef struct CmprtMean {
	double value, error; /* its standard error, the values taken for independent */
} CmprtMean;
typedef struct CmprtMetric {
	const char *name, *unit; /* perplexity of tokens, accuracy of images, kl of either */
	CmprtMean mean;
} CmprtMetric;
CmprtMean cmprt_mean(const double *values, int64_t count);
CmprtMetric cmprt_metric(const CmprtScores *scores);
CmprtMetric cmprt_divergence(const CmprtScores *scores); /* of scores that have it */
/* Scores of each of program->nets, in order; whoever calls frees them, also where it fails. What is kept of the nets saves
 * all but their last calls where others are compared with them; it borrows the program. NULL: failed, told. */
typedef struct CmprtKept CmprtKept;
CmprtKept *cmprt_keep(const CmprtProgram *program, const CmprtOptions *options, CmprtScores *to);
/* The same of another checkpoint on the same samples, those of the first one's tokenizer. The exit status. */
int cmprt_compare(CmprtKept *before, const CmprtProgram *after, const CmprtOptions *options, CmprtScores *to);
void cmprt_kept_free(CmprtKept *kept);
void cmprt_scores_free(CmprtScores *scores);
/* cmprt_main for an executable: `tables` is what cmprt_tables was in the compiler that made it. Where the runtime it
 * was linked with was built from other lists it cannot read the program, and says so. */
int cmprt_start(const CmprtProgram *program, int argc, char **argv, int64_t tables);
int64_t cmprt_tables(void); /* a hash of program.def and runtime.def */

/* ---- called by generated code; one row each in runtime.def ---- */

/* What cmprt_smallest_f32 searches with, generated with the kernel, for its CPU. An element's key is an i32 that sorts
 * like its value, NaN last. Blocks are of 64 elements, and there are at most CMPRT_SELECT_BLOCKS of them in a call. */
enum {
	CMPRT_SELECT_BLOCK = 64,
	CMPRT_SELECT_BLOCKS = 128,
	CMPRT_SELECT_GUESSES = 4,
	CMPRT_SELECT_HINT = 16 /* bytes */
};
typedef struct CmprtPasses {
	/* of blocks first, first + 1, .. of values: levels[i] = (key >> shift) - base, cut off to a byte; shift > 0; how
	 * many levels are below 0 */
	int64_t (*levels)(const void *values, int64_t first, int64_t blocks, int64_t base, int64_t shift, int8_t *levels);
	/* counts[j] += how many levels are <= guesses[j] */
	void (*count)(const int8_t *levels, int64_t blocks, const int8_t *guesses, int64_t *counts);
	/* bit i of a block's word: from <= level i <= to; then levels[i] = level i < from */
	void (*mark)(int8_t *levels, int64_t blocks, int64_t from, int64_t to, uint64_t *words);
	/* of the elements at places */
	void (*keys)(const void *values, const int64_t *places, int64_t count, int32_t *keys);
} CmprtPasses;

/* cmprt_parallel: body(frame, b, e), a CmprtKernel, over [begin, end) in pieces on all threads. Each runs with its own
 * frame: the same buffers and params, and its own scratch, scratch_bytes of them: a `whole` job's frame comes with
 * that many for every thread (job->scratch_bytes must be the largest that its kernel asks for here). */
#define RUNTIME(result, name, arguments) result name arguments;
#define unit void
#define ptr void *
#define i64 int64_t
#define f64 double
#include "runtime.def"
#undef RUNTIME
#undef unit
#undef ptr
#undef i64
#undef f64

/* What those take from malloc while they run, in bytes at most. */
int64_t cmprt_order_bytes(int64_t count); /* cmprt_order_* */
int64_t cmprt_cholesky_bytes(int64_t n, bool upper, bool is_double);
int64_t cmprt_inverse_bytes(int64_t n, bool is_double);
int64_t cmprt_inverse_factor_bytes(int64_t n, bool is_double);
int64_t cmprt_svd_bytes(int64_t m, int64_t n, bool is_double);
int64_t cmprt_qr_bytes(int64_t m, int64_t n, bool is_double);

#endif
