/* SPDX-License-Identifier: MIT
 *
 * check.h: shared by the check_*.c files. A Checker walks one declaration at a
 * time with the names that are in scope; every function reports what it finds and
 * goes on, and a Shape of kind UNKNOWN keeps one mistake from being told twice.
 */
#ifndef CMPC_CHECK_H
#define CMPC_CHECK_H

#include "facts.h"

typedef enum SymbolKind {
	SYMBOL_VALUE, /* a parameter or a compile-time name */
	SYMBOL_ARRAY,
	SYMBOL_INDEX,
} SymbolKind;

typedef struct Symbol {
	SymbolKind kind;
	Name name;
	Loc loc;
	Name type;         /* of a parameter; NULL: not said */
	bool is_parameter; /* VALUE, or an array handed to a fn */
	bool is_subject;
	bool is_field;       /* has a storage type */
	bool is_conditional; /* defined below a `when` */
	bool is_pending;     /* `=` further down: may be read, not yet be given a next value */
	int rank;            /* ARRAY: all subscripts; -1: not known */
	int family;          /* of them, the first that members share and may leave out */
	const Decl *fn;      /* ARRAY: a fn with several results filled it */
	int results;         /* how many, where fn is NULL: of svd, qr; else 0 */
} Symbol;

typedef struct AxisName {
	Name name;
	bool is_block; /* made by `block` */
} AxisName;

typedef struct Frame Frame;
struct Frame {
	Frame *outer;
	VEC(Symbol) symbols;
	VEC(AxisName) axes;
};

/* What an expression gives. */
typedef enum ShapeKind { SHAPE_UNKNOWN, SHAPE_SCALAR, SHAPE_ARRAY, SHAPE_RESULTS } ShapeKind;

typedef struct Shape {
	ShapeKind kind;
	int rank;       /* ARRAY, RESULTS: subscripts it still takes; -1: not known */
	const Decl *fn; /* RESULTS */
	int results;
} Shape;

typedef enum StoredRule {
	STORED_MEANINGLESS, /* no field in scope is a dtype's */
	STORED_ENCODES,     /* equations that encode: stored(d) is what a reader will see */
	STORED_DECODES,     /* value, layout, planes: names are stored fields */
} StoredRule;

typedef struct Checker {
	Program *p;
	Compiler *c;
	const Decl *decl; /* in hand */
	Frame *frame;
	StoredRule stored;
	bool is_constant;     /* a compile-time expression: no arrays */
	bool has_facts;       /* the facts of a tensor may be used */
	bool has_original;    /* so may `original` */
	NameVec reported;     /* unknown names of this declaration */
	bool in_layer;        /* of a net */
	bool has_reports;     /* `report` and `save` may stand here: in the body of a pass, outside of loops */
	bool is_update;       /* the left side in hand is that of a `:=` */
	bool has_own_extents; /* and its array's axes bound the indices */
} Checker;

/* ---- check_scope.c ---- */

void frame_push(Checker *ck);
void frame_pop(Checker *ck);
Symbol *symbol_add(Checker *ck, SymbolKind kind, Name name, Loc loc);
Symbol *symbol_find(const Checker *ck, Name name);
const Symbol *index_find(const Checker *ck, Name name); /* whatever hides it */
void axis_add(Checker *ck, Name name, bool is_block);
bool is_weight(const Checker *ck, Name name); /* check_net.c: of the net in hand */
bool axis_is_known(const Checker *ck, Name name);
int block_count(const Checker *ck);
void axis_names(const Checker *ck, NameVec *to);
bool fact_is_known(Name name); /* name role layer layers rows cols tied config */
void report_unknown_name(Checker *ck, const Node *name);
bool is_word(Name name, const char *text);
uint32_t subscript_count(const Node *node); /* 3 */

/* ---- check_expr.c ---- */

Shape shape_scalar(void);
Shape shape_array(int rank);
Shape check_expr(Checker *ck, const Node *node);
void check_scalar(Checker *ck, const Node *node); /* reports arrays that lack subscripts */
/* A name that may stand for itself where the parameter's type is `type`. */
void check_typed(Checker *ck, const Node *node, Name type);
bool expr_is_constant(Checker *ck, const Node *node); /* does its value depend on nothing that is only known later? */

/* ---- check_call.c ---- */

Shape check_call(Checker *ck, const Node *call);
Shape call_shape(const Checker *ck, const Node *call); /* reports nothing */
bool is_reduction(const Node *call);
/* Is the extent of `index` said by an array that it subscripts in node? */
bool index_is_bounded(const Node *node, Name index);
int fn_result_rank(
	const Decl *fn, const Node *result); /* its axes as declared, else as the body defines it; -1: not known */

/* ---- check_arguments.c ---- */

/* Arguments of a pass, recipe, dtype or fn: places, names, and the types of those that can be evaluated now. */
void check_arguments(Checker *ck, const Decl *decl, const Node *call);

/* ---- check_body.c ---- */

void check_equations(Checker *ck, const Node *body); /* their names stay in the frame in hand */
void check_body(Checker *ck, const Node *body);      /* in a frame of its own */
void check_params(Checker *ck, const Decl *decl);    /* into the frame in hand */
void check_storage(Checker *ck, const Node *type);

/* ---- check_order.c ---- */

void check_order(Checker *ck, const Node *body);

/* ---- check_net.c ---- */

void check_given_array(Checker *ck, const Node *right);
void check_net_statement(Checker *ck, const Node *node); /* axis .., layer .. */
void check_net(Checker *ck, const Decl *decl);
void net_role_names(const Program *p, NameVec *to); /* that weights of nets have */

/* ---- check_dtype.c ---- */

void check_dtype(Checker *ck, const Decl *decl);

/* ---- check_property.c ---- */

void check_properties(Checker *ck, const Node *node, const char *what);
void check_metadata(Checker *ck, const Node *node); /* properties of `save` */

/* ---- check_pipeline.c ---- */

void check_pipeline(Checker *ck, const Decl *decl);
void check_recipe(Checker *ck, const Decl *decl);
void check_roles(Checker *ck, const Decl *decl);
void check_applied(Checker *ck, const Node *node); /* APPLY, THEN */

/* ---- check_export.c ---- */

void check_export(Checker *ck, const Decl *decl);

#endif
