/* SPDX-License-Identifier: MIT
 *
 * net.h: a net fitted to a checkpoint. From headers alone: which net it is, how long
 * its axes are, which tensor every weight is; then its parts as kernels, layers of one
 * shape sharing one, and the calls that run them in turn.
 */
#ifndef CMPC_NET_H
#define CMPC_NET_H

#include "elab_net.h"
#include "plan.h"
#include "stored.h"

/* A tensor that a weight is, or one of those that stand one behind the other along its first axis. */
typedef struct NetMember {
	const StoredTensor *file;
	int64_t value; /* of a job's new weights, f32: later calls read this Value instead; 0: none */
} NetMember;

/* A weight of one layer. */
typedef struct NetWeight {
	const Node *line;
	int64_t layer; /* -1: it is in none */
	Name index;    /* what the layer calls its number; NULL */
	const StoredTensor
		*file;     /* of its first member; NULL: the checkpoint lacks it; it has an `else`, or nothing may read it */
	bool is_stack; /* its first axis is that of the members */
	bool is_transposed; /* of a member's two axes: products sum the first */
	VEC(NetMember) members;
	size_t made_in; /* of one whose members have values: the part that is the first to hand on what they make */
} NetWeight;

/* Which parts of a net, numbers of instances, read a tensor. */
typedef struct NetReader {
	NetWeight *weight; /* NULL: none is that tensor */
	NetMember *member; /* of it */
	size_t count;      /* of parts that read it */
	size_t first, last;
	size_t products; /* of them, those that do more than pick rows of it */
	size_t product;  /* the first such */
} NetReader;

/* What the net's own lines, or those of one layer, are elaborated with. */
typedef struct NetInstance {
	const Node *layer; /* NULL: lines [first, end) of the net itself */
	uint32_t first, end;
	int64_t number;     /* of the layer, from 0; -1 */
	NetAxisVec axes;    /* those of the net, then the layer's own */
	const Scope *facts; /* the net's, and the number by the layer's name for it */
} NetInstance;

typedef struct NetBuilt {
	const char *key; /* what it is shared by */
	NetKernel built; /* scheduled */
} NetBuilt;

/* What makes f32 of coded tensors that are like one. */
typedef struct NetDecoder {
	const StoredTensor *first;
	Kernel *kernel; /* scheduled */
} NetDecoder;

/* What a call leaves that a kernel folds into a Value. */
typedef struct NetStatistic {
	size_t rows; /* of the call's kernel */
	const Kernel *kernel;
	Statistic statistic;
	int64_t value;
} NetStatistic;

typedef struct NetCall {
	size_t instance, kernel;
	bool is_behind; /* the jobs of its part: it reads their new weights */
	VEC(NetStatistic) statistics;
	VEC(int64_t) made;  /* tensors whose jobs are run before it: it reads what they make */
	VEC(int64_t) asked; /* and behind it: they read its statistics */
	VEC(int64_t)
	decides; /* jobs run behind it, before those: numbers of the plan's folds, then of the program's jobs */
} NetCall;

typedef struct Net {
	Program *p;
	Compiler *c;
	const Decl *decl;
	const Node *node; /* of decl */
	const Checkpoint *checkpoint;
	StoredTensorVec tensors; /* that it has, as a reader of the model counts them */
	int64_t first_input;     /* set by the caller: number of the program's Input that is its first tensor */
	const char *path;        /* of the checkpoint, for messages */
	const Scope *facts;
	const char *suffix;         /* set by the caller: kernels of several nets stand in one module */
	int64_t longest;            /* sample */
	int64_t image[3];           /* channels, rows, columns; 0: data are tokens */
	VEC(NetInstance) instances; /* in the order they run */
	VEC(NetWeight) weights;
	NetArrayVec states; /* that parts left so far */
	VEC(NetBuilt) kernels;
	VEC(NetDecoder) decoders;
	VEC(NetCall) calls; /* one per instance */
	size_t instance;    /* in hand */
	bool has_codes;     /* a weight is no number, which is reported once */
	bool is_behind;     /* as NetCall has it */
} Net;

/* ---- net_roles.c ---- */

/* The net of that name, or the one that names it behind `for`; NULL: there is none, and it is not reported. */
const Decl *net_of_architecture(Program *p, const char *architecture);
/* A row for each name of each weight. */
void net_roles(Compiler *c, const Decl *net, NetRoleVec *to);

/* ---- data.c ---- */

/* Matrix by matrix, what a part that reads the tensor is asked. */
void net_add_asks(Compiler *c, const NetReader *reader, const PlanTensor *tensor, NetAskVec *asks);

/* ---- net.c ---- */

/* The net that a model is: the one it names, or that of its architecture. NULL: reported. */
const Decl *net_of_model(Program *p, const Decl *model, const Checkpoint *checkpoint, const Scope *facts);
/* NULL: reported. facts has config.x; data and its longest sample are as data_open found them. */
Net *net_fit(Program *p, const Decl *decl, const Checkpoint *checkpoint, const char *path, const Scope *facts,
	const CmprtData *data, int64_t longest);
/* A weight that is read is not there, nor what should stand for it: tells all such. */
void net_report_missing(const Net *net);
const NetWeight *net_weight(const Net *net, const Node *line, int64_t layer);
/* Has a job made new weights of it? */
bool net_weight_is_new(const NetWeight *weight);
bool member_is_of(const NetMember *member, const CkTensor *file);

/* ---- net_readers.c ---- */

NetReader net_reader(Net *net, const CkTensor *file);

/* ---- net_decode.c ---- */

/* A kernel for the tensor, if it is coded and none is there that does it; false: reported. */
bool net_add_decoder(Net *net, const StoredTensor *tensor, const ScheduleOptions *options);
Kernel *net_decoder(const Net *net, const StoredTensor *tensor); /* NULL: it is plain */
CmprtDecode net_decode_table(const Net *net, const StoredTensor *tensor);

/* ---- net_program.c ---- */

/* options NULL: what is wrong with the kernels is all that is wanted; no loops are made of them. */

/* Kernels and calls that compute the arrays `results`; false: reported. */
bool net_build(Net *net, const NameVec *results, const ScheduleOptions *options);
bool net_makes(Net *net, Name name); /* is it an array that can be asked for? */
/* One call: what the instance hands on to later ones, or what of it is in `results`; NULL: no such. */
bool net_hand_on(Net *net, size_t instance, const NameVec *results, const ScheduleOptions *options);
/* For each instance its flat kernel, all lines in it, with what would change with the inputs of these weights; nothing
 * is kept of them. */
bool net_trace(Net *net, const NetAskVec *asks, NetKernel *traced);
/* One call: the rows that meet these weights; with hands_on what later instances read too. */
bool net_ask(Net *net, size_t instance, const NetAskVec *asks, bool hands_on, const ScheduleOptions *options);
const NetWeight *net_call_weight(const Net *net, const NetCall *call, size_t input); /* NULL: it is another array */
/* NULL: the call reads what a job made of it. */
const StoredTensor *net_member_read(const NetCall *call, const NetWeight *weight, const NetMember *member);
bool net_is_of_rows(const NetKernel *built, size_t output); /* rows that meet weights: of one call only */

/* ---- net_tables.c ---- */

typedef VEC(Kernel *) KernelVec;
void net_kernels(const Net *net, KernelVec *to); /* each once: what the caller makes code of; not those of statistics */
/* Of calls, of what decodes their weights, and of their statistics, in the order of the tables. */
void net_kernel_names(const Net *net, NameVec *to);
/* Of each of the kernel's own buffers, for so many rows. */
const int64_t *net_work_bytes(const Net *net, const Kernel *kernel, int64_t rows, int64_t *count);
/* What the runtime runs; result NULL: it is run for the jobs of its calls; logits NULL: nobody asks for them. Input
 * first_input + i of the program is tensor i of the checkpoint. Scratch is taken from the kernels, whose code must be
 * made. */
CmprtNet net_tables(const Net *net, const CmprtData *data, Name result, Name logits);

/* ---- measure.c ---- */

/* A checkpoint and its net over data sets: what metrics are made of. */
typedef struct Measure {
	/* set by the caller */
	Program *p;
	Compiler *c;
	const Decl *model;
	const Checkpoint *checkpoint;
	const Checkpoint *reader; /* whose tokenizer reads text */
	const char *path;
	const Scope *facts; /* config.x of the checkpoint */
	const char *suffix; /* of the kernels' names */
	const ScheduleOptions *options;
	Name array; /* instead of metrics; NULL */
	/* measure_add */
	VEC(Net *) nets;
	VEC(CmprtData) data; /* of each */
	VEC(int64_t) tokens; /* of all samples of each; images */
	NameVec logits;      /* of each; NULL: they are not asked for */
} Measure;

typedef enum Logits { LOGITS_NONE, LOGITS_IF_MADE, LOGITS_NEEDED } Logits;

bool measure_add(Measure *measure, const Decl *data, Logits logits); /* false: reported */
void measure_kernels(const Measure *measure, KernelVec *to);
/* Its inputs are the checkpoint's tensors; the kernels' names in the order of its tables. */
CmprtProgram measure_program(const Measure *measure, NameVec *kernel_names);

#endif
