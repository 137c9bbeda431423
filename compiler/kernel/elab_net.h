/* SPDX-License-Identifier: MIT
 *
 * elab_net.h: a network's parts as kernels. A net is cut where its layers begin and
 * end: each part is one kernel on one sample, which reads weights, arrays of the data
 * and arrays that earlier parts left, and leaves arrays to later ones. Layers of one
 * shape are one kernel.
 *
 * One axis may be as long as the sample: PARAM 0. In memory it has its longest extent,
 * so strides are constants.
 */
#ifndef CMPC_ELAB_NET_H
#define CMPC_ELAB_NET_H

#include "elaborate.h"

typedef struct NetAxis {
	Name name;
	int64_t extent; /* of a ragged axis: the longest */
	bool is_ragged; /* as long as the sample */
	Loc loc;
} NetAxis;
typedef VEC(NetAxis) NetAxisVec;

typedef enum NetSource {
	NET_WEIGHT, /* a tensor of the checkpoint */
	NET_GIVEN,  /* of the data set, `text` of its line says which */
	NET_STATE,  /* what an earlier part left */
} NetSource;

/* An array that a part reads or leaves. */
typedef struct NetArray {
	NetSource source;
	Name name;
	const Node *line; /* WEIGHT, GIVEN: its `=` line */
	Store store;
	uint32_t rank;
	int64_t shape[K_MAX_RANK]; /* of a ragged axis: the longest */
	bool is_ragged[K_MAX_RANK];
	Name axes[K_MAX_RANK];
	KBuffer *buffer; /* of the kernel in hand */
} NetArray;
typedef VEC(NetArray) NetArrayVec;

/* A matrix whose input(w) is asked for: a weight of two axes, a member of one of three, or a kernel of a convolution.
 */
typedef struct NetAsk {
	Name name;
	uint32_t columns; /* of its two axes the one that the products sum; of a kernel, 1: all but the first are */
	int64_t member;   /* its place along the first of three; -1 */
} NetAsk;
typedef VEC(NetAsk) NetAskVec;

/* A tensor that changes where an input is multiplied along its columns. */
typedef struct NetFoldTarget {
	Name name; /* of the weight */
	FoldPart part;
} NetFoldTarget;

/* What that is for the input of one ask. */
typedef struct NetFold {
	VEC(NetFoldTarget) targets;
	const char *blame; /* why it cannot be; NULL: it can */
	Loc loc;           /* what stands in the way */
} NetFold;

/* The vector that a net adds to the products with a weight, along its rows. */
typedef struct NetBias {
	Name name; /* of the weight that it is; NULL: there is none */
	Loc loc;   /* of the product */
} NetBias;

/* One part: lines [first, end) of the net's body, or the body of a layer. */
typedef struct NetPart {
	Name name; /* of the kernel */
	const Node *net;
	const Node *layer; /* NULL: lines of the net's own body */
	uint32_t first, end;
	const Scope *facts;
	NetAxisVec axes;
	NetArrayVec states; /* that earlier parts may leave */
	NameVec leaves;     /* names that it must leave */
	NetAskVec asks;     /* weights whose rows it must leave */
	bool wants_folds;   /* and NetKernel.folds and biases of them */
	/* Fills in store, rank and shape of a weight or a data array; false: there is none. */
	bool (*find)(void *context, const Node *line, NetArray *array);
	/* A weight that is not there is read, and its line has no `else`. */
	void (*report_missing)(void *context);
	void *context;
} NetPart;

/* Rows that meet weights. */
typedef struct NetRows {
	KStep *step; /* of the flat kernel */
	size_t output;
} NetRows;

typedef struct NetKernel {
	Kernel *kernel;
	NetArrayVec inputs, outputs; /* in the order of the kernel's */
	VEC(NetRows) rows;
	VEC(size_t) asked; /* of each of the part's asks, which of the rows meet it */
	VEC(NetFold) folds;
	VEC(NetBias) biases;
} NetKernel;

/* Names of the net's own body that only data, config and vectors of weights decide: they are computed where they are
 * read, not kept. */
bool net_is_derived(const Node *net, Name name);
/* A flat kernel; false: reported. */
bool net_part_build(Program *p, const NetPart *part, NetKernel *out);
/* ---- elab_net_rows.c ---- */

/* A product with a weight that a step sums. */
typedef struct NetMeeting {
	KStep *step; /* dst[..] = sum over (factor * weight) */
	KExpr *factor;
	KExpr *column;            /* of the weight, over step->over */
	KExpr *place;             /* of the weight's rows, in dst */
	KIndex *rows[K_MAX_RANK]; /* what the factor's rows run along, the slowest first; none: it is a single one */
	uint32_t row_count;
} NetMeeting;

bool net_is_meeting(Elab *el, KStep *step, const KBuffer *weight, const NetAsk *ask, NetMeeting *out);
bool net_find_meeting(
	Elab *el, const KBuffer *weight, const NetAsk *ask, Loc loc, NetMeeting *out); /* false: reported */
bool net_step_reads(const KStep *step, const KBuffer *buffer);

/* Adds to out's outputs, where they are not there yet, the rows that meet the weight; *number: in out->rows. */
bool net_rows(Elab *el, const NetAsk *ask, int64_t longest, NetKernel *out, size_t *number);

/* ---- elab_net_fold.c ---- */

/* What would have to change with the input that meets the weight. */
NetFold net_fold(Elab *el, const NetAsk *ask, const NetKernel *built);
NetBias net_bias(Elab *el, const NetAsk *ask, const NetKernel *built);

/* ---- elab_net.c ---- */

/* After scheduling: ragged axes get their longest extent in memory. False: reported; an axis of another length, or too
 * much memory. */
bool net_fix_extents(Kernel *k, Loc loc, int64_t longest);

#endif
