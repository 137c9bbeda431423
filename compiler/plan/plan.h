/* SPDX-License-Identifier: MIT
 *
 * plan.h: a pipeline put on a checkpoint. From headers alone: which statement takes
 * which tensor, in which order and why, what fuses, which kernels that needs, what
 * every output tensor is and how many bytes, what the run will read and write.
 *
 * plan_new runs these in turn; each fills the fields named for it and reports all
 * errors it finds:
 *   facts.c    tensors, their roles, layers and other facts
 *   export.c   what readers of another container call the tensors, and want beside them
 *   select.c   statements (recipes opened) x tensors
 *   saved.c    arrays that passes save in the place of the model, and metadata that `save` says
 *   select_nothing.c  what is near a selection that takes nothing
 *   tuples.c   statements on families of tuples, and the kernels of their three phases
 *   require.c  what must hold before anything is saved; last: does it, where sizes alone decide
 *   order.c    the order of the passes on each tensor
 *   reads.c    tensors of other checkpoints that passes are given
 *   inputs.c   how passes read the tensors
 *   data.c     the net that passes ask for input(w), and the data that it reads
 *   folds.c    families that share an input, and the tensors that change with it; biases that passes on matrices change
 *   legal.c    can each tensor become that, and can the target execute it
 *   kernels.c  one kernel per (chain, input type, row length), shared
 *   calibrate.c  the kernels of that net and of the statistics, and the calls that run them
 *   family.c   what is decided over whole selections before the sweep, and the kernels for it
 *   outputs.c  output tensors and sizes, as the CmprtProgram that the runtime runs
 *   jobs.c     what of that is done by which kernel
 *   figures.c  the nets that measure the model and the result, which is not there yet, on data
 *   print.c    the dry run's text
 *   time.c     how long it will take, coarsely
 *   uses.c     the declarations that a dtype, or the plan, rests on
 */
#ifndef CMPC_PLAN_H
#define CMPC_PLAN_H

#include "chain_build.h"
#include "cmprt.h"
#include "facts.h"
#include "format.h"
#include "program.h"

typedef struct Plan Plan;

typedef struct PlanOptions {
	Name pipeline;      /* -p; NULL: the only one, or the last of the file */
	Name target;        /* --target; NULL: as the pipeline says */
	const char *output; /* -o of `run` and `quantize`; NULL: as the pipeline says */
	uint32_t lanes;     /* f32 lanes of the CPU that runs the kernels */
	bool no_fuse;
	bool checks_place;   /* the result must lie apart from what is read; an executable may be told another place */
	bool is_trial;       /* the result goes away again: what other readers make of it is not said */
	bool checks_only;    /* errors are all that is wanted: no loops are made of kernels, and no tokenizer is read */
	const char *version; /* of cmpc, for provenance */
} PlanOptions;

/* A statement that applies a pass; those of a recipe are statements of their own. */
typedef struct Statement {
	const Decl *pass;
	const Node *call;      /* its arguments */
	const Node *selection; /* NULL: of a recipe used without `on`, all */
	const Scope *scope;    /* parameters of the recipe around it, or NULL */
	const Decl *recipe;    /* it came from, or NULL */
	Loc loc;
	size_t number;                 /* in the order of the text */
	const struct Statement *after; /* `a then b`: b->after = a */
	bool is_default;               /* of an export: for tensors that get no dtype otherwise */
	PassFacts facts;
	bool is_grid;   /* its pass leaves the tensor on a dtype's grid */
	size_t matched; /* tensors it takes */
	Family family;  /* those, for a pass on all of them at once */
} Statement;

typedef struct PlanLink {
	const Statement *statement;
	const Scope *arguments;
	const char *label; /* "prune.nm(n: 2, m: 4)" */
	FoldPart part;     /* of a pass on matrices that share an input, or what comes of it elsewhere */
	size_t fold;       /* and its number in plan->folds; of FOLD_SHIFT, that of the matrix in plan->tensors */
	double intensity;  /* order.c: estimated relative change of the weights */
} PlanLink;

/* A checkpoint beside the model. */
typedef struct PlanSource {
	const char *path;
	Checkpoint *checkpoint;        /* NULL: could not be opened, reported */
	const struct PlanTensor *asks; /* the first tensor that reads of it what need not be there; NULL: none does */
	bool has_answered;             /* for one of these it is there */
	Loc loc;                       /* where it is asked */
} PlanSource;

/* A tensor of it that kernels read whole. */
typedef struct PlanRead {
	size_t source;
	const CkTensor *file;
} PlanRead;

/* A tensor's part in a selection over a family. */
typedef struct PlanShare {
	size_t select; /* number in plan->selects */
	int64_t first; /* place of its first element */
} PlanShare;

/* How a tensor is written where readers of the container have a form of their own. */
typedef struct PlanPlace {
	const char *name;             /* NULL: that of the checkpoint */
	bool is_left_out;             /* nothing of it is written */
	bool is_turned;               /* stored [i, o], written [o, i] */
	int64_t turn_slow, turn_fast; /* > 0: rows that are numbered [.., slow, fast] are written [.., fast, slow] */
	int64_t members, member;      /* it is one of so many that make a stack; 0: it stands alone */
} PlanPlace;

typedef struct PlanTensor {
	const CkTensor *file;
	PlanPlace place;     /* export.c */
	NameVec roles;       /* of the row that fits its name */
	int64_t layer;       /* -1: none */
	bool is_transposed;  /* stored [i, o] */
	bool is_kernel;      /* of a convolution: its first axis is o, all others are i */
	bool is_stack;       /* of matrices: [e, o, i] */
	int64_t stack;       /* e; else 1 */
	int64_t rows, cols;  /* of one matrix of the stack: o, i */
	int64_t sample_rows; /* data.c: how many rows of an image meet it; 0: of text, as many as there are tokens */
	Scope *facts;
	Store store;           /* inputs.c: as passes read it; of a tensor that nothing takes, none */
	const DtypeRef *coded; /* inputs.c: it is stored in blocks that are decoded first, to f32; else NULL */
	const Node *layout;    /* of coded */
	VEC(PlanLink) links;   /* in the order they run */
	size_t kernel;         /* number in plan->kernels; SIZE_MAX: copied */
	size_t places;         /* the same, of the kernel that finds what is left of an axis; SIZE_MAX: none */
	int64_t places_value;  /* number of the Value that it writes, from 1 on */
	size_t unfused;        /* the same, of the kernel that does not fuse its passes; that kernel itself if it has one */
	VEC(size_t) reads;     /* numbers in plan->reads, in the order of the kernel's inputs after the tensor itself */
	VEC(PlanShare) shares; /* in the order of kernel's selects */
	VEC(int64_t) statistics; /* calibrate.c: numbers of Values, in the order of kernel's statistics, matrix by matrix */
	bool is_seen;            /* data.c: it asks for no input(w), but for what comes after it in the net others do */
	int64_t shift;           /* calibrate.c: the Value of what goes into its bias; 0: nothing does */
	int64_t values;          /* calibrate.c: the Value that gets the result as a reader sees it; 0: none */
	size_t family; /* number in plan->families: it is in a tuple of it, and in nothing else; SIZE_MAX: in none */
	size_t first_output, output_count;
} PlanTensor;

/* A member of a family of tuples: one tensor for each subject of the pass. */
typedef struct PlanTuple {
	VEC(size_t) tensors;
	FamilyArrayVec measured;
	size_t measure, write; /* numbers of its kernels */
} PlanTuple;

/* A statement on all (a[s][..], b[s][..]). */
typedef struct PlanFamily {
	const Statement *statement;
	FamilySplit split;
	const Scope *arguments;
	const char *label;
	VEC(PlanTuple) tuples;
	FamilyArrayVec measured, decided; /* of all members */
	size_t decide;                    /* number of the kernel */
} PlanFamily;

/* Matrices that read one array of the net, and what is folded into it. */
typedef struct PlanFold {
	const Statement *statement;
	const Scope *arguments;
	const char *label;
	const SharingSplit *split;
	VEC(size_t) members; /* numbers of tensors */
	int64_t cols;
	size_t kernel;           /* number of the one that decides; SIZE_MAX: not built yet */
	VEC(int64_t) statistics; /* numbers of Values, in the order of its statistics */
	int64_t value;           /* number of the Value that it writes */
} PlanFold;

typedef VEC(CmprtJob) JobVec;
typedef VEC(CmprtValue) ValueVec;
typedef VEC(CmprtMeta) MetaVec;

typedef struct PlanKernel {
	const char *key;    /* what it is shared by */
	const Scope *facts; /* of the tensor it was built for */
	NameVec *asked;     /* those of them that its equations asked for: tensors that share it agree on these */
	Chain chain;
	ChainKernel built; /* scheduled, unless the plan only checks */
	bool is_whole;     /* needs all rows at once */
	size_t users;
} PlanKernel;

/* A selection by rank over a family: decided before the sweep. */
typedef struct PlanKeys {
	size_t tensor, kernel; /* numbers; the kernel writes the keys of the tensor's elements */
	size_t shares;         /* of the tensor: what the kernel has to know of earlier selections */
} PlanKeys;

typedef struct PlanSelect {
	const Statement *statement;
	int64_t limit;
	VEC(PlanKeys) keys; /* of all members, in order */
} PlanSelect;

typedef struct PlanRequire {
	const Node *node;
	int64_t metric; /* row of metrics.def */
	bool is_upper;
	double bound, factor; /* factor: of the original's value, which is added */
	int64_t figure;       /* of what is measured on data; else -1 */
} PlanRequire;

/* A metric that is told, or bounded after it was measured on data. */
typedef struct PlanFigure {
	const Node *node;
	const char *text;
	int64_t metric; /* row of metrics.def */
	Decl *data;     /* NULL: it needs none */
} PlanFigure;

/* What a net says of tensors with such names. */
typedef struct NetRole {
	const char *pattern; /* as one of `roles`, without * and ? */
	const Node *roles;   /* LIST of NAME, or NULL */
	bool is_transposed;  /* a matrix whose products sum its first axis */
	bool is_kernel;      /* of more axes, and they sum all but its first */
	bool is_stack;       /* of three axes, and they sum its last alone */
} NetRole;
typedef VEC(NetRole) NetRoleVec;

/* How much a data set is. */
typedef struct DataExtent {
	int64_t samples;
	int64_t longest; /* of them, in tokens; of images 1 */
	int64_t tokens;  /* of all; of images their number */
} DataExtent;

struct Plan {
	Program *p;
	Compiler *c;
	const PlanOptions *options;
	/* plan.c */
	const Decl *pipeline, *model, *target;
	Checkpoint *checkpoint;
	const char *model_path, *output_path;
	const Format *output_format;
	bool into_folder;
	bool saves_arrays;     /* passes do, and the result consists of these */
	bool wants_error;      /* a report or a require asks how far the result is off */
	int64_t memory, cores; /* of the target; 0: not said */
	/* facts.c */
	VEC(PlanTensor) tensors;
	int64_t layers;
	bool has_quantization_config; /* config.json does */
	Scope *model_facts;
	const Node *save, *report;
	NetRoleVec net_roles; /* of the model's net */
	/* export.c */
	const Decl *export; /* NULL: tensors are written as they are */
	MetaVec export_meta;
	VEC(CmprtOutput) export_arrays; /* that no tensor of the model is */
	/* select.c */
	VEC(Statement *) statements;
	/* tuples.c */
	VEC(PlanFamily) families;
	/* require.c */
	VEC(PlanRequire) requires;
	VEC(PlanFigure) figures;
	/* reads.c */
	VEC(PlanSource) sources;
	VEC(PlanRead) reads; /* inputs of the program after the model's tensors, in order */
	/* data.c */
	struct Net *net; /* of the model; NULL: no pass asks for it */
	CmprtData *data;
	const Decl *data_decl;
	DataExtent data_extent;
	int64_t input_rows; /* tokens of all samples, or images */
	bool is_one_shot;   /* the net reads the original throughout */
	size_t last_part;   /* of the net, of which a weight's input is asked for */
	/* folds.c */
	VEC(PlanFold) folds;
	/* calibrate.c */
	VEC(int64_t) input_values; /* bytes of the Values that are its own */
	/* kernels.c */
	VEC(PlanKernel) kernels;
	NameVec unbuilt;         /* keys of those that failed: reported once */
	VEC(PlanSelect) selects; /* in the order they are decided */
	/* outputs.c */
	CmprtProgram *program;
	VEC(const char *) kernel_names; /* jobs.c: of all jobs, in the order of the tables; NULL: a copy */
	CkLayout *layout;
	/* figures.c */
	struct Measure *original, *result; /* NULL: no figure is of data */
	Checkpoint *written;               /* the result as its headers will be */
};

/* NULL: errors reported. Closes nothing: plan_free. */
Plan *plan_new(Program *p, const PlanOptions *options);
/* Another set of jobs for the program, which do not fuse passes: what its --no-fuse runs. False: reported. */
bool plan_unfused(Plan *plan);
void plan_free(Plan *plan);
/* The dry run: legal .cmp with the order made explicit, figures as comments. */
void plan_print(const Plan *plan, Text *to);
/* A comment behind it: how long that takes, coarsely. cores: where the target does not say. No dump has it. */
void plan_print_time(const Plan *plan, int64_t cores, Text *to);

/* ---- uses.c: each once, what it is for first ---- */

void uses_of(const Program *p, const Decl *decl, DeclVec *to);
/* Declarations of the program's own, none of stdlib's, that the plan's statements rest on; in their own order. */
void plan_uses(const Plan *plan, DeclVec *to);

bool plan_facts(Plan *plan);
bool plan_export(Plan *plan);
bool plan_select(Plan *plan);
bool plan_saved(Plan *plan);
bool plan_tuples(Plan *plan);
bool plan_requires(Plan *plan);
bool plan_requires_hold(Plan *plan); /* those that the output's size decides */
bool plan_order(Plan *plan);
bool plan_reads(Plan *plan);
bool plan_inputs(Plan *plan);
bool plan_data(Plan *plan);
bool plan_folds(Plan *plan);
bool plan_legal(Plan *plan);
bool plan_calibration(Plan *plan);
bool plan_kernels(Plan *plan);
bool plan_families(Plan *plan);
bool plan_outputs(Plan *plan);
bool plan_figures(Plan *plan);
const char *plan_quantization_config(Plan *plan);  /* JSON; NULL: none is needed */
void plan_jobs(Plan *plan, CmprtProgram *program); /* its jobs and selects */
void plan_unfused_jobs(Plan *plan);
const int64_t *plan_ints(Plan *plan, const int64_t *from, int64_t count); /* copied to the arena */

/* ---- jobs.c, tuples.c ---- */

void job_add(Plan *plan, JobVec *to, CmprtJob job, const char *kernel_name); /* kernel_name NULL: a copy */
void port_place(const PlanTensor *tensor, int64_t bytes, CmprtPort *port);   /* of a port that writes the tensor */
void job_from_kernel(Plan *plan, const Kernel *kernel, CmprtJob *job);       /* its work buffers, for job->rows */
bool statement_has_tuples(const Statement *statement);
void tuple_output(const Plan *plan, size_t tensor, CmprtOutput *output); /* what of it depends on data */
void number_places(Plan *plan);                                          /* PlanTensor.places_value */
void plan_values(Plan *plan, CmprtProgram *program);
void plan_values_before(const Plan *plan, ValueVec *to); /* all but those of calibrate.c */
void early_jobs(Plan *plan, JobVec *to);
void tuple_jobs(Plan *plan, JobVec *to, size_t tensor); /* of the tuple that it is the first of */

/* ---- require.c, for figures.c and print.c ---- */

const char *metric_name(int64_t metric);

bool plan_has_bounds(const Plan *plan); /* data decides extents: sizes are the largest that there can be */
const char *require_comment(const Plan *plan, const PlanRequire *require); /* what is known of it; "": nothing */

/* ---- reads.c ---- */

void plan_close_reads(Plan *plan);
/* Chain.tensor_shape; context: the plan */
bool read_shape(void *context, const Value *value, int64_t *rank, int64_t *shape, Store *store);

/* ---- inputs.c ---- */

/* Why the model's tensors are parts of others, which none of them shows by itself; NULL: they are not. */
const char *plan_is_in_parts(const Plan *plan);
bool tensor_has_kernel(const PlanTensor *tensor); /* else its bytes are copied */

/* ---- saved.c, for outputs.c ---- */

/* As an output of the tensor; those of the matrices of a stack are one. */
CmprtOutput saved_output(Plan *plan, const PlanTensor *tensor, const Saved *saved);
bool saved_metadata(Plan *plan, MetaVec *to); /* what `save` says of the result; false: reported */

/* ---- data.c, calibrate.c ---- */

bool tensor_asks_input(const PlanTensor *tensor);
bool tensor_leaves_values(const Plan *plan, const PlanTensor *tensor); /* the net reads what becomes of it */
/* What a data declaration says; false: reported. Its samples are counted; model: whose tokenizer reads text; facts: of the model
 * that reads the samples. */
bool data_open(Program *p, const Decl *decl, const Checkpoint *model, const Scope *facts, CmprtData *data,
	DataExtent *extent);
void calibration_values(const Plan *plan, ValueVec *to);
void calibration_tables(Plan *plan, CmprtProgram *program);

/* ---- folds.c ---- */

const Node *fold_body(const Plan *plan, const PlanLink *link); /* NULL: the pass's own */
bool tensor_is_folded(const PlanTensor *tensor);
bool folds_build(Plan *plan);           /* the kernels that decide */
void fold_jobs(Plan *plan, JobVec *to); /* one for each */
/* What the fold's kernel is given, flat; false: reported. */
bool fold_statistic_build(Plan *plan, const PlanFold *fold, size_t number, Name name, ChainKernel *out);

/* ---- family.c, kernels.c ---- */

/* What a statistic of the tensor's kernel is made by, flat; false: reported. */
bool statistic_build(Plan *plan, const PlanTensor *tensor, size_t number, Name name, ChainKernel *out);

bool tensor_is_member(const PlanTensor *tensor, const Statement *statement, size_t *link); /* which of its links */
/* Finds or builds what writes the keys of the tensor's keys_of-th selection (Chain.keys_of). */
bool kernel_for_keys(Plan *plan, const PlanTensor *tensor, size_t keys_of, size_t *number);

/* ---- order.c ---- */

/* Why link number `late` of the tensor runs behind the one before it. */
const char *order_reason(const Plan *plan, const PlanTensor *tensor, size_t late);

/* ---- config.c ---- */

/* Binds config.x in scope; false: reported. */
bool config_bind(Compiler *c, const Checkpoint *checkpoint, const char *path, Scope *scope);
/* What kind of network it says it is, once its config is bound; NULL: it does not. */
int64_t config_context(Compiler *c, const Scope *scope); /* tokens that it was made to read at once; 0: it does not say */
const char *config_architecture(const Checkpoint *checkpoint, const Scope *scope, Compiler *c);

/* ---- outputs.c ---- */

/* As a row of the container names the types of its elements: "F32"; and GGUF's code of it, -1. */
const char *container_dtype(Plan *plan, Store store);
int64_t container_code(const Plan *plan, Store store);

/* ---- export.c ---- */

/* Of a checkpoint that is only looked at: the places that its tensors would have in that container, if its architecture
 * has an export into it; else plan->export is NULL. False: reported. */
bool plan_places(Plan *plan, const Format *into);

/* ---- facts.c, select.c ---- */

bool pattern_is_match(const char *pattern, const char *name, int64_t *layer); /* globs with {layer} */
bool selection_is_match(Plan *plan, const Scope *scope, const Node *selection, const PlanTensor *tensor, bool *is_rest);
/* A tensor's facts, with the parameters of the recipe in front of them. */
const Scope *statement_facts(Plan *plan, const Statement *statement, const PlanTensor *tensor);
void report_nothing_selected(Plan *plan, const Statement *statement); /* select_nothing.c: an error, with what is near */
/* "prune.nm(n: 2, m: 4)" */
const char *statement_label(Plan *plan, const Statement *statement, const Scope *arguments);
Store tensor_store(Compiler *c, const CkTensor *tensor); /* STORE_NONE: a block type */

#endif
