/* SPDX-License-Identifier: MIT
 *
 * parse.y: the grammar. Tokens come from a list (syntax.c feeds it), nodes go to
 * the compiler's arena; an action is one constructor call. There is nothing
 * between statements, so no expression may go on where a statement can begin:
 * tokens.c has told calls from groups and indices from lists beforehand.
 *
 * After an error T_SYNC is fed where the parse can resume; every list of things
 * takes `error T_SYNC` as one of them. Never raise %expect: a conflict here is an
 * ambiguity of the language.
 */
%code requires {
#include "syntax.h"
}

%define api.pure full
%define api.prefix {lang_}
%define api.token.prefix {T_}
%define api.location.type {Loc}
%define lr.type ielr
%define parse.error custom
%define parse.lac full
%locations
%param {Parser *parser}
%expect 0

%union {
	const Token *token;
	Node *node;
}

%code {
#include <stdlib.h>

#define YYLLOC_DEFAULT(current, rhs, count)                                                                            \
	(current) = (count) ? loc_join(YYRHSLOC(rhs, 1), YYRHSLOC(rhs, count))                                             \
	                    : (Loc){YYRHSLOC(rhs, 0).file, YYRHSLOC(rhs, 0).end, YYRHSLOC(rhs, 0).end}

static int lang_lex(LANG_STYPE *value, Loc *loc, Parser *parser);
static void lang_error(const Loc *loc, Parser *parser, const char *message);

/* A node with `count` kids. */
static Node *make(Parser *parser, NodeKind kind, Loc loc, int count, ...)
{
	Node *node = node_new(parser->c, kind, loc);
	va_list kids;
	va_start(kids, count);
	for (int i = 0; i < count; i++)
		node_add(parser->c, node, va_arg(kids, Node *));
	va_end(kids);
	return node;
}

/* The same for a node that bears the name of `name`. */
#define make_named(parser, kind, loc, named, ...) name_node(make(parser, kind, loc, __VA_ARGS__), (named)->name)

static Node *name_node(Node *node, Name name)
{
	node->name = name;
	return node;
}

static Node *make_word(Parser *parser, const Token *word)
{
	return name_node(make(parser, N_NAME, word->loc, 0), word->name);
}

static Node *make_text(Parser *parser, NodeKind kind, const Token *token)
{
	Node *node = make(parser, kind, token->loc, 0);
	node->text = token->text;
	return node;
}

static Node *make_number(Parser *parser, const Token *token)
{
	Node *node = make(parser, N_NUMBER, token->loc, 0);
	node->number = token->number;
	node->unit = token->unit;
	node->flag = token->is_integer;
	return node;
}

static Node *make_unary(Parser *parser, Loc loc, const char *op, Node *e)
{
	Node *node = make(parser, N_UNARY, loc, 1, e);
	node->op = name_of(parser->c, op);
	return node;
}

static Node *make_binary(Parser *parser, Loc loc, const char *op, Node *a, Node *b)
{
	Node *node = make(parser, N_BINARY, loc, 2, a, b);
	node->op = name_of(parser->c, op);
	return node;
}

/* Lists grow in place. NULL is what an erroneous item left. */
static Node *grow(Parser *parser, Node *list, Node *item)
{
	if (item) {
		node_add(parser->c, list, item);
		list->loc = loc_join(list->loc, item->loc);
	}
	return list;
}

/* Moves the items of a list, or of none, to the end of `node`. */
static Node *take(Parser *parser, Node *node, const Node *list)
{
	for (uint32_t i = 0; list && i < list->kid_count; i++)
		node_add(parser->c, node, list->kids[i]);
	return node;
}

static Node *flag(Node *node)
{
	node->flag = true;
	return node;
}

static Node *with_text(Node *node, const char *text)
{
	node->text = text;
	return node;
}

static Node *with_doc(Node *node, const Token *keyword)
{
	node->doc = keyword->doc;
	return node;
}

static Node *with_op(Parser *parser, Node *node, const char *op)
{
	node->op = name_of(parser->c, op);
	return node;
}

/* `a.b` as one name, for declarations. */
static Node *extend_name(Parser *parser, Node *path, const Token *field)
{
	path->name = name_of(parser->c, arena_printf(parser->c->arena, "%s.%s", path->name, field->name));
	path->loc = loc_join(path->loc, field->loc);
	return path;
}

/* a, b, c: one item stands for itself, several for a LIST. */
static Node *unite(Parser *parser, Loc loc, Node *first, Node *next)
{
	if (first->kind == N_LIST)
		return grow(parser, first, next);
	return make(parser, N_LIST, loc, 2, first, next);
}

/* report "x.html", e: a string in front is the path. */
static Node *make_report(Parser *parser, Loc loc, const Node *values)
{
	Node *node = make(parser, N_REPORT, loc, 0);
	bool has_path = values->kids[0]->kind == N_STRING;
	node->text = has_path ? values->kids[0]->text : NULL;
	for (uint32_t i = has_path; i < values->kid_count; i++)
		node_add(parser->c, node, values->kids[i]);
	return node;
}

static Node *make_sharing(Parser *parser, Node *subject, const Token *what)
{
	if (what->name != name_of(parser->c, "input")) {
		diag_error(parser->c, what->loc, "unexpected name \"%s\": members share their \"input\"", what->name);
		parser->error_count++;
	}
	subject->op = what->name;
	return subject;
}
}

%token END 0 "end of file"
%token FILE_START ENTRY_START SYNC
%token <token> NAME "a name" NUMBER "a number" RATIO "a ratio" STRING "a string" REGEX "a regular expression"
%token <token> CALL_PAREN "(call" INDEX_BRACKET "[index"
%token UPDATE ":=" EQUAL "==" UNEQUAL "!=" AT_MOST "<=" AT_LEAST ">=" SHIFT_LEFT "<<" SHIFT_RIGHT ">>"
%token INT_DIVIDE "//" ARROW "->" DOTS ".."
%token <token>
	ALL "all" AND "and" AS "as" AXIS "axis" BLOCK "block" BY "by" DATA "data" DTYPE "dtype" ELSE "else"
	EXCEPT "except" EXPORT "export" FN "fn" FOLD "fold" FOR "for" FROM "from" HOST "host" IF "if" IMPORT "import" IN "in"
	INTO "into" KEEP "keep" LAYER "layer" LAYOUT "layout" LET "let" MODEL "model" NET "net" NOT "not" OF "of"
	ON "on" OR "or" OTHERS "others" PASS "pass" PIPELINE "pipeline" PLANES "planes" RECIPE "recipe"
	REPORT "report" REQUIRE "require" ROLES "roles" SAVE "save" SHARING "sharing" STEP "step" TARGET "target"
	THEN "then" WEIGHT "weight" WHEN "when" WHERE "where"

%nonassoc NO_ROLES
%nonassoc AS
/* Operators, loosest first. Comparisons and `if` are levels of the grammar: neither stands in an operation. */
%left OR
%left AND
%right NOT
%left '|'
%left '&'
%left SHIFT_LEFT SHIFT_RIGHT
%left '+' '-'
%left '*' '/' INT_DIVIDE '%'
%right SIGN
%right '^'
/* `weight` with a name behind it is no word */
%nonassoc NO_STRING
%nonassoc STRING

%type <token> plain_keyword plain_word declaring_word keyword word selecting_word subject_word
%type <node> declarations declaration entries entry shared_declaration dotted_name model_body data_body
%type <node> params param_list param param_axes type default results result_list
%type <node> subject members member subject_arrays subject_array
%type <node> roles role role_names axes axis axis_list props prop
%type <node> equations equation body array left left_list layout_items layout_item plane_items plane_item iterated
%type <node> net_types net_axes net_axis weight strings weight_roles role_list weight_else
%type <node> export_rows export_row export_name exported subscripted_name
%type <node> statements statement apply application applied selection selected_except selected_list selected_and
%type <node> selected layers
%type <node> expression condition operation postfix arguments argument_list argument
%type <node> subscripts subscript expressions of_target of_host

%%

text:
	FILE_START declarations			{ parser->result = $2; }
|	ENTRY_START entries			{ parser->result = $2; }
;

declarations:
	%empty					{ $$ = make(parser, N_FILE, @$, 0); }
|	declarations declaration		{ $$ = grow(parser, $1, $2); }
|	declarations shared_declaration		{ $$ = grow(parser, $1, $2); }
|	declarations error SYNC			{ $$ = $1; yyerrok; }
|	declarations ';'			{ $$ = $1; }
;

/* REPL: declarations and pipeline statements. */
entries:
	%empty					{ $$ = make(parser, N_FILE, @$, 0); }
|	entries entry				{ $$ = grow(parser, $1, $2); }
|	entries error SYNC			{ $$ = $1; yyerrok; }
|	entries ';'				{ $$ = $1; }
;

entry:
	declaration
|	statement
;

/* ---- words: keywords are names where the grammar allows it ---- */

plain_keyword:
	BLOCK | FOLD | FROM | HOST | KEEP | LAYOUT | OF | PLANES
|	WEIGHT %prec NO_STRING
;

plain_word:
	NAME | plain_keyword
;

declaring_word:
	DATA | DTYPE | EXPORT | FN | MODEL | PASS | PIPELINE | RECIPE | ROLES | TARGET
;

keyword:
	plain_keyword | declaring_word
|	ALL | AS | AXIS | IMPORT | LAYER | LET | OTHERS | REPORT | REQUIRE | SAVE | SHARING | STEP
;

word:
	NAME | keyword
;

selecting_word:
	plain_word | declaring_word | ALL
;

subject_word:
	plain_word | declaring_word | LAYER | STEP
;

dotted_name:
	word					{ $$ = make_word(parser, $1); }
|	dotted_name '.' NAME			{ $$ = extend_name(parser, $1, $3); }
;

/* ---- declarations ---- */

/* What may also stand in a pipeline. */
shared_declaration:
	IMPORT STRING				{ $$ = with_text(make(parser, N_IMPORT, @$, 0), $2->text); }
|	LET word '=' expression			{ $$ = with_doc(make_named(parser, N_LET, @$, $2, 1, $4), $1); }
;

declaration:
	FN word params results body		{ $$ = with_doc(make_named(parser, N_FN, loc_join(@1, @4), $2, 3, $3, $4, $5), $1); }
|	FN word params '=' expression		{ $$ = with_doc(make_named(parser, N_FN, loc_join(@1, @3), $2, 3, $3, NULL, $5), $1); }
|	PASS dotted_name params ON subject body	{ $$ = with_doc(make_named(parser, N_PASS, loc_join(@1, @5), $2, 3, $3, $5, $6), $1); }
|	DTYPE word params OF word INDEX_BRACKET subscripts ']' body {
		Node *block = take(parser, make(parser, N_INDEX, loc_join(@5, @8), 1, make_word(parser, $5)), $7);
		$$ = with_doc(make_named(parser, N_DTYPE, loc_join(@1, @8), $2, 3, $3, block, $9), $1);
	}
|	TARGET word '{' props '}'		{ $$ = with_doc(take(parser, make_named(parser, N_TARGET, loc_join(@1, @2), $2, 0), $4), $1); }
|	MODEL word FROM STRING model_body	{ $$ = with_doc(with_text(name_node($5, $2->name), $4->text), $1); $$->loc = loc_join(@1, @4); }
|	DATA word FROM STRING data_body		{ $$ = with_doc(with_text(name_node($5, $2->name), $4->text), $1); $$->loc = loc_join(@1, @4); }
|	ROLES word '{' roles '}'		{ $$ = with_doc(take(parser, make_named(parser, N_ROLES, loc_join(@1, @2), $2, 0), $4), $1); }
|	NET word net_types body			{ $$ = with_doc(make_named(parser, N_NET, loc_join(@1, @3), $2, 2, $4, $3), $1); }
|	EXPORT word net_types INTO word '{' export_rows '}' {
		$7->loc = loc_join(@6, @8);
		$$ = with_op(parser, with_doc(make_named(parser, N_EXPORT, loc_join(@1, @5), $2, 2, $7, $3), $1), $5->name);
	}
|	RECIPE dotted_name params '{' statements '}' {
		$5->loc = loc_join(@4, @6);
		$$ = with_doc(make_named(parser, N_RECIPE, loc_join(@1, @3), $2, 2, $3, $5), $1);
	}
|	PIPELINE word OF word of_target of_host '{' statements '}' {
		$8->loc = loc_join(@7, @9);
		$$ = with_doc(make_named(parser, N_PIPELINE, loc_join(@1, @6), $2, 4, make_word(parser, $4), $5, $6, $8), $1);
	}
;

model_body:
	%empty					{ $$ = make(parser, N_MODEL, @$, 0); }
|	'{' props '}'				{ $$ = take(parser, make(parser, N_MODEL, @$, 0), $2); }
|	AS word					{ $$ = with_op(parser, make(parser, N_MODEL, @$, 0), $2->name); }
|	AS word '{' props '}'			{ $$ = with_op(parser, take(parser, make(parser, N_MODEL, @$, 0), $4), $2->name); }
;

data_body:
	%empty					{ $$ = make(parser, N_DATA, @$, 0); }
|	'{' props '}'				{ $$ = take(parser, make(parser, N_DATA, @$, 0), $2); }
;

of_target:
	%empty					{ $$ = NULL; }
|	FOR word				{ $$ = make_word(parser, $2); }
;

of_host:
	%empty					{ $$ = NULL; }
|	HOST word				{ $$ = make_word(parser, $2); }
;

params:
	%empty					{ $$ = make(parser, N_PARAMS, @$, 0); }
|	opening ')'				{ $$ = make(parser, N_PARAMS, @$, 0); }
|	opening param_list ')'			{ $$ = take(parser, make(parser, N_PARAMS, @$, 0), $2); }
;

opening:
	'(' | CALL_PAREN
;

param_list:
	param					{ $$ = make(parser, N_LIST, @$, 1, $1); }
|	param_list ',' param			{ $$ = grow(parser, $1, $3); }
;

param:
	word param_axes type default		{ $$ = make_named(parser, N_PARAM, @$, $1, 3, $2, $3, $4); }
;

param_axes:
	%empty					{ $$ = NULL; }
|	INDEX_BRACKET subscripts ']'		{ $$ = $2; }
;

type:
	%empty					{ $$ = NULL; }
|	':' word				{ $$ = make_word(parser, $2); }
;

default:
	%empty					{ $$ = NULL; }
|	'=' expression				{ $$ = $2; }
;

results:
	%empty					{ $$ = NULL; }
|	ARROW result_list			{ $$ = $2; }
;

result_list:
	array					{ $$ = make(parser, N_LIST, @$, 1, $1); }
|	result_list ',' array			{ $$ = grow(parser, $1, $3); }
;

/* What a pass is about. */
subject:
	members					{ $$ = take(parser, make(parser, N_SUBJECT, @$, 0), $1); }
|	ALL members				{ $$ = flag(take(parser, make(parser, N_SUBJECT, @$, 0), $2)); }
|	ALL AXIS members			{ $$ = with_op(parser, flag(take(parser, make(parser, N_SUBJECT, @$, 0), $3)), "axis"); }
|	ALL members SHARING NAME		{ $$ = make_sharing(parser, flag(take(parser, make(parser, N_SUBJECT, @$, 0), $2)), $4); }
;

members:
	member					{ $$ = make(parser, N_LIST, @$, 1, $1); }
|	members ',' member			{ $$ = grow(parser, $1, $3); }
|	members ',' OTHERS subject_array	{ $$ = grow(parser, $1, make(parser, N_OTHERS, loc_join(@3, @4), 1, $4)); }
;

member:
	subject_array
|	'(' subject_arrays ')'			{ $$ = take(parser, make(parser, N_TUPLE, @$, 0), $2); }
;

subject_arrays:
	subject_array				{ $$ = make(parser, N_LIST, @$, 1, $1); }
|	subject_arrays ',' subject_array	{ $$ = grow(parser, $1, $3); }
;

subject_array:
	subject_word				{ $$ = make_word(parser, $1); }
|	subject_array INDEX_BRACKET subscripts ']' { $$ = take(parser, make(parser, N_INDEX, @$, 1, $1), $3); }
;

roles:
	%empty					{ $$ = make(parser, N_LIST, @$, 0); }
|	roles role				{ $$ = grow(parser, $1, $2); }
|	roles error SYNC			{ $$ = $1; yyerrok; }
|	roles ';'				{ $$ = $1; }
;

role:
	role_names STRING axes			{ $$ = with_text(make(parser, N_ROLE, @$, 2, $1, $3), $2->text); }
|	role_names REGEX axes			{ $$ = flag(with_text(make(parser, N_ROLE, @$, 2, $1, $3), $2->text)); }
;

role_names:
	word					{ $$ = make(parser, N_LIST, @$, 1, make_word(parser, $1)); }
|	role_names word				{ $$ = grow(parser, $1, make_word(parser, $2)); }
;

axes:
	%empty					{ $$ = NULL; }
|	':' '[' axis_list ']'			{ $$ = $3; $$->loc = loc_join(@2, @4); }
;

axis_list:
	axis					{ $$ = make(parser, N_LIST, @$, 1, $1); }
|	axis_list ',' axis			{ $$ = grow(parser, $1, $3); }
;

axis:
	word					{ $$ = make_word(parser, $1); }
|	word '=' expression			{ $$ = make(parser, N_DEFINE, @$, 3, make_word(parser, $1), NULL, $3); }
;

props:
	%empty					{ $$ = make(parser, N_LIST, @$, 0); }
|	props prop				{ $$ = grow(parser, $1, $2); }
|	props error SYNC			{ $$ = $1; yyerrok; }
|	props ';'				{ $$ = $1; }
;

prop:
	word expressions			{ $$ = take(parser, make_named(parser, N_PROP, @$, $1, 0), $2); }
|	word '{' props '}'			{ $$ = flag(take(parser, make_named(parser, N_PROP, @$, $1, 0), $3)); }
;

/* ---- equations ---- */

body:
	'{' equations '}'			{ $$ = $2; $$->loc = @$; }
;

equations:
	%empty					{ $$ = make(parser, N_BODY, @$, 0); }
|	equations equation			{ $$ = grow(parser, $1, $2); }
|	equations error SYNC			{ $$ = $1; yyerrok; }
|	equations ';'				{ $$ = $1; }
;

equation:
	left type '=' expression		{ $$ = make(parser, N_DEFINE, @$, 3, $1, $2, $4); }
|	left type UPDATE expression		{ $$ = make(parser, N_UPDATE, @$, 3, $1, $2, $4); }
|	BLOCK word '=' expression		{ $$ = make(parser, N_BLOCK, @$, 2, make_word(parser, $2), $4); }
|	FOR word IN iterated body		{ $$ = make_named(parser, N_FOR, @$, $2, 2, $4, $5); }
|	WHEN expression body			{ $$ = make(parser, N_WHEN, @$, 2, $2, $3); }
|	KEEP word WHERE expression		{ $$ = make(parser, N_KEEP, @$, 2, make_word(parser, $2), $4); }
|	REQUIRE expression			{ $$ = make(parser, N_REQUIRE, @$, 1, $2); }
|	REPORT STRING ',' expression		{ $$ = with_text(make(parser, N_NOTE, @$, 2, $4, NULL), $2->text); }
|	REPORT STRING ',' expression WHERE expression	{ $$ = with_text(make(parser, N_NOTE, @$, 2, $4, $6), $2->text); }
|	FOLD expression INTO word		{ $$ = make(parser, N_FOLD, @$, 2, $2, make_word(parser, $4)); }
|	AXIS net_axes				{ $$ = take(parser, make(parser, N_AXES, @$, 0), $2); }
|	LAYER word '<' operation body		{ $$ = make_named(parser, N_LAYER, loc_join(@1, @4), $2, 2, $4, $5); }
|	LAYER word IN expression DOTS expression body	{ $$ = make_named(parser, N_LAYER, loc_join(@1, @6), $2, 2, make(parser, N_RANGE, @4, 2, $4, $6), $7); }
|	left type '=' weight			{ $$ = make(parser, N_DEFINE, @$, 3, $1, $2, $4); }
|	LAYOUT word NUMBER '{' layout_items '}'	{ $$ = take(parser, make_named(parser, N_LAYOUT, @$, $2, 0), $5); $$->number = $3->number; }
|	PLANES STRING '{' plane_items '}'	{ $$ = take(parser, with_text(make(parser, N_PLANES, @$, 0), $2->text), $4); }
;

net_types:
	%empty					{ $$ = NULL; }
|	FOR strings				{ $$ = $2; }
;

net_axes:
	net_axis				{ $$ = make(parser, N_LIST, @$, 1, $1); }
|	net_axes ',' net_axis			{ $$ = grow(parser, $1, $3); }
;

net_axis:
	word '=' expression			{ $$ = make(parser, N_DEFINE, @$, 3, make_word(parser, $1), NULL, $3); }
;

/* Where an array of a net comes from. */
weight:
	WEIGHT strings weight_roles weight_else	{ $$ = make(parser, N_WEIGHT, @$, 3, $2, $3, $4); }
|	DATA STRING				{ $$ = with_text(make(parser, N_GIVEN, @$, 0), $2->text); }
;

strings:
	STRING					{ $$ = make(parser, N_LIST, @$, 1, make_text(parser, N_STRING, $1)); }
|	strings ',' STRING			{ $$ = grow(parser, $1, make_text(parser, N_STRING, $3)); }
;

/* `as` behind a weight names its roles: an array called so is of another equation. */
weight_roles:
	%empty %prec NO_ROLES			{ $$ = NULL; }
|	AS role_list				{ $$ = $2; }
;

role_list:
	word					{ $$ = make(parser, N_LIST, @$, 1, make_word(parser, $1)); }
|	role_list ',' word			{ $$ = grow(parser, $1, make_word(parser, $3)); }
;

weight_else:
	%empty					{ $$ = NULL; }
|	ELSE expression				{ $$ = $2; }
;

left:
	array
|	'(' left_list ')'			{ $$ = take(parser, make(parser, N_TUPLE, @$, 0), $2); }
;

left_list:
	array					{ $$ = make(parser, N_LIST, @$, 1, $1); }
|	left_list ',' array			{ $$ = grow(parser, $1, $3); }
;

array:
	word					{ $$ = make_word(parser, $1); }
|	array INDEX_BRACKET subscripts ']'	{ $$ = take(parser, make(parser, N_INDEX, @$, 1, $1), $3); }
;

iterated:
	expression
|	expression DOTS expression		{ $$ = make(parser, N_RANGE, @$, 2, $1, $3); }
|	expression DOTS expression STEP expression { $$ = make(parser, N_RANGE, @$, 3, $1, $3, $5); }
;

layout_items:
	%empty					{ $$ = make(parser, N_LIST, @$, 0); }
|	layout_items layout_item		{ $$ = grow(parser, $1, $2); }
|	layout_items error SYNC			{ $$ = $1; yyerrok; }
|	layout_items ','			{ $$ = $1; }
|	layout_items ';'			{ $$ = $1; }
;

layout_item:
	word					{ $$ = make_word(parser, $1); }
|	array type '=' expression		{ $$ = make(parser, N_DEFINE, @$, 3, $1, $2, $4); }
;

plane_items:
	%empty					{ $$ = make(parser, N_LIST, @$, 0); }
|	plane_items plane_item			{ $$ = grow(parser, $1, $2); }
|	plane_items error SYNC			{ $$ = $1; yyerrok; }
|	plane_items ';'				{ $$ = $1; }
;

plane_item:
	prop
|	array type '=' expression		{ $$ = make(parser, N_DEFINE, @$, 3, $1, $2, $4); }
;

/* ---- exports ---- */

export_rows:
	%empty					{ $$ = make(parser, N_BODY, @$, 0); }
|	export_rows export_row			{ $$ = grow(parser, $1, $2); }
|	export_rows error SYNC			{ $$ = $1; yyerrok; }
|	export_rows ';'				{ $$ = $1; }
;

export_row:
	export_name type '=' expression		{ $$ = make(parser, N_DEFINE, @$, 3, $1, $2, $4); }
|	export_name type '=' WEIGHT exported {
		$$ = make(parser, N_DEFINE, @$, 3, $1, $2, make(parser, N_WEIGHT, loc_join(@4, @5), 3, $5, NULL, NULL));
	}
|	NAME '=' WEIGHT strings			{ $$ = take(parser, make_named(parser, N_OMIT, @$, $1, 0), $4); }
|	apply
;

export_name:
	STRING					{ $$ = make_text(parser, N_STRING, $1); }
|	subscripted_name
;

exported:
	strings
|	subscripted_name			{ $$ = make(parser, N_LIST, @$, 1, $1); }
;

subscripted_name:
	STRING INDEX_BRACKET subscripts ']'	{ $$ = take(parser, make(parser, N_INDEX, @$, 1, make_text(parser, N_STRING, $1)), $3); }
;

/* ---- pipelines ---- */

statements:
	%empty					{ $$ = make(parser, N_BODY, @$, 0); }
|	statements statement			{ $$ = grow(parser, $1, $2); }
|	statements error SYNC			{ $$ = $1; yyerrok; }
|	statements ';'				{ $$ = $1; }
;

statement:
	shared_declaration
|	apply
|	REQUIRE expression			{ $$ = make(parser, N_REQUIRE, @$, 1, $2); }
|	SAVE STRING				{ $$ = with_text(make(parser, N_SAVE, @$, 0), $2->text); }
|	SAVE STRING '{' props '}'		{ $$ = with_text(take(parser, make(parser, N_SAVE, @$, 0), $4), $2->text); }
|	REPORT expressions			{ $$ = make_report(parser, @$, $2); }
;

apply:
	application
|	apply THEN application			{ $$ = make(parser, N_THEN, @$, 2, $1, $3); }
;

application:
	applied					{ $$ = make(parser, N_APPLY, @$, 2, $1, NULL); }
|	applied ON selection			{ $$ = make(parser, N_APPLY, @$, 2, $1, $3); }
;

applied:
	plain_word				{ $$ = make_word(parser, $1); }
|	applied '.' NAME			{ $$ = make_named(parser, N_FIELD, @$, $3, 1, $1); }
|	applied CALL_PAREN arguments ')'	{ $$ = take(parser, make(parser, N_CALL, @$, 1, $1), $3); }
;

selection:
	selected_except
|	IF expression THEN selection ELSE selection { $$ = make(parser, N_IF, @$, 3, $2, $4, $6); }
;

selected_except:
	selected_list
|	selected_except EXCEPT selected_list	{ $$ = make(parser, N_EXCEPT, @$, 2, $1, $3); }
;

selected_list:
	selected_and
|	selected_list ',' selected_and		{ $$ = unite(parser, @$, $1, $3); }
;

selected_and:
	selected
|	selected_and AND selected		{ $$ = make_binary(parser, @$, "and", $1, $3); }
;

selected:
	selecting_word				{ $$ = make_word(parser, $1); }
|	STRING					{ $$ = make_text(parser, N_STRING, $1); }
|	REGEX					{ $$ = make_text(parser, N_REGEX, $1); }
|	LAYER layers				{ $$ = make(parser, N_LAYERS, @$, 1, $2); }
|	'(' selection ')'			{ $$ = $2; }
;

layers:
	operation
|	operation DOTS operation				{ $$ = make(parser, N_RANGE, @$, 2, $1, $3); }
|	operation DOTS operation STEP operation		{ $$ = make(parser, N_RANGE, @$, 3, $1, $3, $5); }
;

/* ---- expressions ---- */

expressions:
	expression				{ $$ = make(parser, N_LIST, @$, 1, $1); }
|	expressions ',' expression		{ $$ = grow(parser, $1, $3); }
;

expression:
	condition
|	IF expression THEN expression ELSE expression { $$ = make(parser, N_IF, @$, 3, $2, $4, $6); }
;

condition:
	operation
|	condition OR condition			{ $$ = make_binary(parser, @$, "or", $1, $3); }
|	condition AND condition			{ $$ = make_binary(parser, @$, "and", $1, $3); }
|	NOT condition				{ $$ = make_unary(parser, @$, "not", $2); }
|	operation EQUAL operation		{ $$ = make_binary(parser, @$, "==", $1, $3); }
|	operation UNEQUAL operation		{ $$ = make_binary(parser, @$, "!=", $1, $3); }
|	operation '<' operation			{ $$ = make_binary(parser, @$, "<", $1, $3); }
|	operation AT_MOST operation		{ $$ = make_binary(parser, @$, "<=", $1, $3); }
|	operation '>' operation			{ $$ = make_binary(parser, @$, ">", $1, $3); }
|	operation AT_LEAST operation		{ $$ = make_binary(parser, @$, ">=", $1, $3); }
;

operation:
	postfix
|	operation '|' operation			{ $$ = make_binary(parser, @$, "|", $1, $3); }
|	operation '&' operation			{ $$ = make_binary(parser, @$, "&", $1, $3); }
|	operation SHIFT_LEFT operation		{ $$ = make_binary(parser, @$, "<<", $1, $3); }
|	operation SHIFT_RIGHT operation		{ $$ = make_binary(parser, @$, ">>", $1, $3); }
|	operation '+' operation			{ $$ = make_binary(parser, @$, "+", $1, $3); }
|	operation '-' operation			{ $$ = make_binary(parser, @$, "-", $1, $3); }
|	operation '*' operation			{ $$ = make_binary(parser, @$, "*", $1, $3); }
|	operation '/' operation			{ $$ = make_binary(parser, @$, "/", $1, $3); }
|	operation INT_DIVIDE operation		{ $$ = make_binary(parser, @$, "//", $1, $3); }
|	operation '%' operation			{ $$ = make_binary(parser, @$, "%", $1, $3); }
|	operation '^' operation			{ $$ = make_binary(parser, @$, "^", $1, $3); }
|	'-' operation %prec SIGN		{ $$ = make_unary(parser, @$, "-", $2); }
|	'~' operation %prec SIGN		{ $$ = make_unary(parser, @$, "~", $2); }
;

postfix:
	postfix '.' NAME			{ $$ = make_named(parser, N_FIELD, @$, $3, 1, $1); }
|	postfix INDEX_BRACKET subscripts ']'	{ $$ = take(parser, make(parser, N_INDEX, @$, 1, $1), $3); }
|	postfix CALL_PAREN arguments ')'	{ $$ = take(parser, make(parser, N_CALL, @$, 1, $1), $3); }
|	NUMBER					{ $$ = make_number(parser, $1); }
|	RATIO					{ $$ = make_text(parser, N_RATIO, $1); }
|	STRING					{ $$ = make_text(parser, N_STRING, $1); }
|	REGEX					{ $$ = make_text(parser, N_REGEX, $1); }
|	NAME					{ $$ = make_word(parser, $1); }
|	keyword					{ $$ = make_word(parser, $1); }
|	'(' expression ')'			{ $$ = $2; }
|	'[' ']'					{ $$ = make(parser, N_LIST, @$, 0); }
|	'[' expressions ']'			{ $$ = $2; $$->loc = @$; }
;

arguments:
	%empty					{ $$ = NULL; }
|	argument_list
;

argument_list:
	argument				{ $$ = make(parser, N_LIST, @$, 1, $1); }
|	argument_list ',' argument		{ $$ = grow(parser, $1, $3); }
;

argument:
	expression
|	NAME ':' expression			{ $$ = make_named(parser, N_ARG, @$, $1, 1, $3); }
;

subscripts:
	subscript				{ $$ = make(parser, N_LIST, @$, 1, $1); }
|	subscripts ',' subscript		{ $$ = grow(parser, $1, $3); }
;

subscript:
	iterated
|	':'					{ $$ = make(parser, N_SLICE, @$, 0); }
|	'*'					{ $$ = make(parser, N_STAR, @$, 0); }
|	word IN iterated			{ $$ = make(parser, N_IN, @$, 2, make_word(parser, $1), $3); }
|	expression BY expression		{ $$ = make(parser, N_BY, @$, 2, $1, $3); }
;

%%

static int lang_lex(LANG_STYPE *value, Loc *loc, Parser *parser)
{
	const Token *token = parser_feed(parser);
	value->token = token;
	*loc = token->loc;
	return token->kind;
}

/* Bison calls this only when its stack is full. */
static void lang_error(const Loc *loc, Parser *parser, const char *message)
{
	(void)message;
	parser_too_deep(parser, *loc);
}

static int yyreport_syntax_error(const yypcontext_t *context, Parser *parser)
{
	yysymbol_kind_t kinds[YYNTOKENS];
	const char *names[YYNTOKENS];
	int count = yypcontext_expected_tokens(context, kinds, YYNTOKENS);
	for (int i = 0; i < count; i++) {
		const char *name = yysymbol_name(kinds[i]); /* bison writes '+' for the token '+' */
		names[i] = name[0] == '\'' ? arena_copy(parser->c->arena, name + 1, 1) : name;
	}
	parser_unexpected(parser, names, count > 0 ? (size_t)count : 0);
	return 0;
}

/* ---- entry points ---- */

/* Holds the tree to NESTING_LIMIT, without recursion: later stages may recurse. */
static void check_depth(Parser *parser, Node *root)
{
	typedef struct Level {
		Node *node;
		uint32_t next;
	} Level;
	Level levels[NESTING_LIMIT];
	size_t depth = 0;
	levels[depth++] = (Level){root, 0};
	while (depth > 0) {
		Level *top = &levels[depth - 1];
		if (top->next == top->node->kid_count) {
			depth--;
			continue;
		}
		Node *kid = top->node->kids[top->next++];
		if (kid && depth == NESTING_LIMIT) {
			parser_too_deep(parser, kid->loc);
			return;
		}
		if (kid)
			levels[depth++] = (Level){kid, 0};
	}
}

static Node *parse_tokens(Parser *parser)
{
	size_t before = diag_errors(parser->c), first = parser->c->diags.count;
	tokens_read(parser->c, parser->file, &parser->tokens);
	if (parser->tokens.is_too_deep)
		return NULL;
	int status = lang_parse(parser);
	errors_sort(parser->c, first);
	if (status == 0 && parser->error_count == 0 && parser->result)
		check_depth(parser, parser->result);
	return status == 0 && diag_errors(parser->c) == before ? parser->result : NULL;
}

/* The tree keeps nothing of the token list, which is larger than it. */
static Node *parse(Parser *parser)
{
	parser->tokens.arena = parser->c->scratch;
	Node *tree = parse_tokens(parser);
	arena_clear(parser->c->scratch);
	return tree;
}

static Parser parser_of(Compiler *c, uint32_t file, int start)
{
	return (Parser){.c = c, .file = file, .start = start, .resumed = NO_TOKEN, .loose = NO_TOKEN};
}

Node *parse_file(Compiler *c, uint32_t file)
{
	Parser parser = parser_of(c, file, T_FILE_START);
	return parse(&parser);
}

Node *parse_entry(Compiler *c, uint32_t file, bool *is_incomplete)
{
	size_t diags = c->diags.count, errors = c->error_count;
	Parser parser = parser_of(c, file, T_ENTRY_START);
	Node *entry = parse(&parser);
	*is_incomplete = parser.is_incomplete && c->error_count == errors + 1;
	if (*is_incomplete) { /* more lines may make it right */
		c->diags.count = diags;
		c->error_count = errors;
	}
	return entry;
}
