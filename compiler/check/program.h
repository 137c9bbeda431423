/* SPDX-License-Identifier: MIT
 *
 * program.h: a checked program: declarations by name, and compile-time values.
 *
 * program_load parses a file, what it imports, and stdlib; program_check holds
 * every declaration to the rules that need no checkpoint (names, parameters,
 * units, axes). Values are what arguments, properties and bounds evaluate to.
 */
#ifndef CMPC_PROGRAM_H
#define CMPC_PROGRAM_H

#include "ast.h"

typedef struct Program Program;
typedef struct Decl Decl;
typedef struct Value Value;
typedef struct Scope Scope;
typedef VEC(Decl *) DeclVec;

typedef enum DeclKind {
	DECL_LET, /* let nf4 = [...] */
	DECL_FN,
	DECL_PASS,
	DECL_DTYPE,
	DECL_RECIPE,
	DECL_ROLES,
	DECL_TARGET,
	DECL_MODEL,
	DECL_DATA,
	DECL_NET,
	DECL_EXPORT,
	DECL_PIPELINE,
	DECL_COUNT
} DeclKind;

struct Decl {
	DeclKind kind;
	Name name;
	Node *node;    /* NULL: of stdlib, not read yet; what program_find gives is */
	uint32_t file; /* of stdlib's: its source */
	bool is_stdlib;
	bool is_evaluating; /* value.c: a `let` being evaluated, to find cycles */
	Value *value;       /* value.c: of a `let`, once evaluated */
};

struct Program {
	Compiler *c;
	DeclVec decls; /* in order: the file's own, then imports', then stdlib's */
	struct DeclTable *tables[DECL_COUNT];
	const char *stdlib; /* folder, or NULL */
	VEC(Name) files;    /* canonical paths already read */
	uint32_t main_file; /* source of the file the user named */
	size_t main_count;  /* decls[0..main_count) are not stdlib's */
};

/* ---- program.c ---- */

Program *program_new(Compiler *c, const char *stdlib);
bool program_index_stdlib(Program *p);           /* what there is; program_find reads on demand, roles are read now */
bool program_read_stdlib(Program *p);            /* the rest of it, for who looks at all of decls */
bool program_load_stdlib(Program *p);            /* both */
bool program_load(Program *p, const char *path); /* a .cmp file and its imports */
bool program_load_tree(Program *p, uint32_t file, Node *tree);  /* the same of a file that is parsed already */
Decl *program_find(const Program *p, DeclKind kind, Name name); /* NULL if there is none */
void program_names(const Program *p, DeclKind kind, NameVec *to);
const char *decl_kind_text(DeclKind kind);
/* Parameters of a FN, PASS, DTYPE, RECIPE: PARAM nodes. */
Node *decl_params(const Decl *decl);

/* ---- check.c ---- */

bool program_check(Program *p);
void program_print(const Program *p, Text *to); /* --emit=program: signatures and what was derived of each */
/* Places arguments of a CALL on parameters: out[i] is the kid for parameter i or NULL (default). Reports errors. */
bool arguments_place(Program *p, const Decl *decl, const Node *call, Node **out);

/* ---- value.c: compile-time values ---- */

typedef enum ValueKind {
	VALUE_ERROR, /* already reported */
	VALUE_NONE,
	VALUE_BOOL,
	VALUE_INT,
	VALUE_REAL, /* with a dimension: "" plain or fraction, "byte", "byte/s", "USD/hour", ... */
	VALUE_STRING,
	VALUE_REGEX,
	VALUE_RATIO, /* 2:4 */
	VALUE_WORD,  /* a name that stands for itself: row, tensor, native, avx2 */
	VALUE_DTYPE,
	VALUE_LIST,
	VALUE_RANGE,
	VALUE_TENSOR,    /* tensor("file", "name"): an array in another checkpoint */
	VALUE_SELECTION, /* role or selection expression, kept as its node */
} ValueKind;

typedef struct DtypeRef {
	Decl *decl;
	Value *arguments;  /* one per parameter */
	const char *label; /* "q4_K", "int4(group: 64)" */
} DtypeRef;

struct Value {
	ValueKind kind;
	Loc loc;
	bool is_true;
	int64_t integer;               /* INT; RANGE: lo */
	int64_t hi, step;              /* RANGE */
	double real;                   /* INT, REAL */
	const char *dimension;         /* never NULL for INT, REAL */
	const char *text;              /* STRING, REGEX, RATIO, WORD; TENSOR: file */
	const char *tensor;            /* TENSOR: name in it */
	const char *pattern;           /* TENSOR: the name as it is written, "{name}.input" */
	const struct Value *otherwise; /* TENSOR: what it is if the file has none of that name; NULL: that is an error */
	const DtypeRef *dtype;
	Value *items; /* LIST */
	size_t count;
	const Node *node; /* SELECTION */
};

typedef struct ScopeEntry {
	Name name;
	Value value;
} ScopeEntry;

/* Names bound at compile time: parameters, and the facts of a tensor (name role layer layers rows cols). */
struct Scope {
	const Scope *outer;
	VEC(ScopeEntry) names;
	/* Answers names no scope holds, `config.x` among them; may be NULL. */
	bool (*ask)(void *context, Name path, Value *out);
	void *context;
};

Scope *scope_new(Compiler *c, const Scope *outer);
bool scope_find(const Scope *scope, Name name, Value *out);
void scope_bind(Compiler *c, Scope *scope, Name name, Value value);

Value value_eval(Program *p, const Scope *scope, const Node *node); /* reports errors; VALUE_ERROR then */
/* "{name}.x" with what the scope knows put in for what stands in braces. */
const char *value_fill(Program *p, const Scope *scope, const char *text);
/* Binds the arguments of a call (NULL: none given) to decl's parameters, defaults filled in, types checked. */
bool value_bind(Program *p, const Scope *scope, const Decl *decl, const Node *call, Scope *to);
/* Is the value one of the parameter's type? Reports it if not. */
bool parameter_check(Program *p, const Decl *decl, const Node *param, const Value *value);
bool parameter_type_is_known(Name type);
void parameter_type_names(Compiler *c, NameVec *to);
/* a node.op b for two values: what equations fold with */
Value value_operate(Program *p, const Node *node, Value a, Value b);
Value value_error(Loc loc); /* its reason is reported already */
Value value_int(Loc loc, int64_t value);
Value value_real(Loc loc, double value);
Value value_string(Loc loc, const char *text);
Value value_bool(Loc loc, bool is_true);
Value value_word(Loc loc, const char *text);
Value value_dtype(Program *p, Loc loc, Decl *decl);
Scope *dtype_scope(Program *p, const DtypeRef *dtype);           /* its parameters */
int64_t dtype_block_elements(Program *p, const DtypeRef *dtype); /* 0: whole rows */
void value_print(const Value *value, Text *to);                  /* as .cmp */
/* value if it is a number, else an error: `what` needs one */
Value value_need_number(Program *p, Value value, const char *what);
bool value_is_number(const Value *value);
/* PROP named so of a target, model, data, save node, or NULL */
const Node *node_prop(const Node *node, Name name);

#endif
