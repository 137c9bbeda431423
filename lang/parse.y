/* SPDX-License-Identifier: MIT
 *
 * parse.y: the grammar. Tokens come from a list (syntax.c feeds it), nodes go to
 * the compiler's arena; an action is one constructor call of construct.h. There is
 * nothing between statements, so no expression may go on where a statement can
 * begin: tokens.c has told calls from groups and indices from lists beforehand.
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
#include "construct.h"

#include <stdlib.h>

#define YYLLOC_DEFAULT(current, rhs, count)                                                                            \
	(current) = (count) ? loc_join(YYRHSLOC(rhs, 1), YYRHSLOC(rhs, count))                                             \
	                    : (Loc){YYRHSLOC(rhs, 0).file, YYRHSLOC(rhs, 0).end, YYRHSLOC(rhs, 0).end}

static int lang_lex(LANG_STYPE *value, Loc *loc, Parser *parser);
static void lang_error(const Loc *loc, Parser *parser, const char *message);
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
	%empty					{ $$ = make_node(parser, N_FILE, @$, 0); }
|	declarations declaration		{ $$ = list_grow(parser, $1, $2); }
|	declarations shared_declaration		{ $$ = list_grow(parser, $1, $2); }
|	declarations error SYNC			{ $$ = $1; yyerrok; }
|	declarations ';'			{ $$ = $1; }
;

/* REPL: declarations and pipeline statements. */
entries:
	%empty					{ $$ = make_node(parser, N_FILE, @$, 0); }
|	entries entry				{ $$ = list_grow(parser, $1, $2); }
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
	IMPORT STRING				{ $$ = with_text(make_node(parser, N_IMPORT, @$, 0), $2->text); }
|	LET word '=' expression			{ $$ = with_doc(make_named(parser, N_LET, @$, $2, 1, $4), $1); }
;

declaration:
	FN word params results body		{ $$ = with_doc(make_named(parser, N_FN, loc_join(@1, @4), $2, 3, $3, $4, $5), $1); }
|	FN word params '=' expression		{ $$ = with_doc(make_named(parser, N_FN, loc_join(@1, @3), $2, 3, $3, NULL, $5), $1); }
|	PASS dotted_name params ON subject body	{ $$ = with_doc(make_named(parser, N_PASS, loc_join(@1, @5), $2, 3, $3, $5, $6), $1); }
|	DTYPE word params OF word INDEX_BRACKET subscripts ']' body {
		Node *block = node_take(parser, make_node(parser, N_INDEX, loc_join(@5, @8), 1, make_word(parser, $5)), $7);
		$$ = with_doc(make_named(parser, N_DTYPE, loc_join(@1, @8), $2, 3, $3, block, $9), $1);
	}
|	TARGET word '{' props '}'		{ $$ = with_doc(node_take(parser, make_named(parser, N_TARGET, loc_join(@1, @2), $2, 0), $4), $1); }
|	MODEL word FROM STRING model_body	{ $$ = with_doc(with_text(with_name($5, $2->name), $4->text), $1); $$->loc = loc_join(@1, @4); }
|	DATA word FROM STRING data_body		{ $$ = with_doc(with_text(with_name($5, $2->name), $4->text), $1); $$->loc = loc_join(@1, @4); }
|	DATA word FROM word CALL_PAREN STRING ')' data_body {
		$$ = with_op(parser, with_doc(with_text(with_name($8, $2->name), $6->text), $1), $4->name);
		$$->loc = loc_join(@1, @7);
	}
|	ROLES word '{' roles '}'		{ $$ = with_doc(node_take(parser, make_named(parser, N_ROLES, loc_join(@1, @2), $2, 0), $4), $1); }
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
	%empty					{ $$ = make_node(parser, N_MODEL, @$, 0); }
|	'{' props '}'				{ $$ = node_take(parser, make_node(parser, N_MODEL, @$, 0), $2); }
|	AS word					{ $$ = with_op(parser, make_node(parser, N_MODEL, @$, 0), $2->name); }
|	AS word '{' props '}'			{ $$ = with_op(parser, node_take(parser, make_node(parser, N_MODEL, @$, 0), $4), $2->name); }
;

data_body:
	%empty					{ $$ = make_node(parser, N_DATA, @$, 0); }
|	'{' props '}'				{ $$ = node_take(parser, make_node(parser, N_DATA, @$, 0), $2); }
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
	%empty					{ $$ = make_node(parser, N_PARAMS, @$, 0); }
|	opening ')'				{ $$ = make_node(parser, N_PARAMS, @$, 0); }
|	opening param_list ')'			{ $$ = node_take(parser, make_node(parser, N_PARAMS, @$, 0), $2); }
;

opening:
	'(' | CALL_PAREN
;

param_list:
	param					{ $$ = make_node(parser, N_LIST, @$, 1, $1); }
|	param_list ',' param			{ $$ = list_grow(parser, $1, $3); }
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
	array					{ $$ = make_node(parser, N_LIST, @$, 1, $1); }
|	result_list ',' array			{ $$ = list_grow(parser, $1, $3); }
;

/* What a pass is about. */
subject:
	members					{ $$ = node_take(parser, make_node(parser, N_SUBJECT, @$, 0), $1); }
|	ALL members				{ $$ = with_flag(node_take(parser, make_node(parser, N_SUBJECT, @$, 0), $2)); }
|	ALL AXIS members			{ $$ = with_op(parser, with_flag(node_take(parser, make_node(parser, N_SUBJECT, @$, 0), $3)), "axis"); }
|	ALL members SHARING NAME		{ $$ = make_sharing(parser, with_flag(node_take(parser, make_node(parser, N_SUBJECT, @$, 0), $2)), $4); }
;

members:
	member					{ $$ = make_node(parser, N_LIST, @$, 1, $1); }
|	members ',' member			{ $$ = list_grow(parser, $1, $3); }
|	members ',' OTHERS subject_array	{ $$ = list_grow(parser, $1, make_node(parser, N_OTHERS, loc_join(@3, @4), 1, $4)); }
;

member:
	subject_array
|	'(' subject_arrays ')'			{ $$ = node_take(parser, make_node(parser, N_TUPLE, @$, 0), $2); }
;

subject_arrays:
	subject_array				{ $$ = make_node(parser, N_LIST, @$, 1, $1); }
|	subject_arrays ',' subject_array	{ $$ = list_grow(parser, $1, $3); }
;

subject_array:
	subject_word				{ $$ = make_word(parser, $1); }
|	subject_array INDEX_BRACKET subscripts ']' { $$ = node_take(parser, make_node(parser, N_INDEX, @$, 1, $1), $3); }
;

roles:
	%empty					{ $$ = make_node(parser, N_LIST, @$, 0); }
|	roles role				{ $$ = list_grow(parser, $1, $2); }
|	roles error SYNC			{ $$ = $1; yyerrok; }
|	roles ';'				{ $$ = $1; }
;

role:
	role_names STRING axes			{ $$ = with_text(make_node(parser, N_ROLE, @$, 2, $1, $3), $2->text); }
|	role_names REGEX axes			{ $$ = with_flag(with_text(make_node(parser, N_ROLE, @$, 2, $1, $3), $2->text)); }
;

role_names:
	word					{ $$ = make_node(parser, N_LIST, @$, 1, make_word(parser, $1)); }
|	role_names word				{ $$ = list_grow(parser, $1, make_word(parser, $2)); }
;

axes:
	%empty					{ $$ = NULL; }
|	':' '[' axis_list ']'			{ $$ = $3; $$->loc = loc_join(@2, @4); }
;

axis_list:
	axis					{ $$ = make_node(parser, N_LIST, @$, 1, $1); }
|	axis_list ',' axis			{ $$ = list_grow(parser, $1, $3); }
;

axis:
	word					{ $$ = make_word(parser, $1); }
|	word '=' expression			{ $$ = make_node(parser, N_DEFINE, @$, 3, make_word(parser, $1), NULL, $3); }
;

props:
	%empty					{ $$ = make_node(parser, N_LIST, @$, 0); }
|	props prop				{ $$ = list_grow(parser, $1, $2); }
|	props error SYNC			{ $$ = $1; yyerrok; }
|	props ';'				{ $$ = $1; }
;

prop:
	word expressions			{ $$ = node_take(parser, make_named(parser, N_PROP, @$, $1, 0), $2); }
|	word '{' props '}'			{ $$ = with_flag(node_take(parser, make_named(parser, N_PROP, @$, $1, 0), $3)); }
;

/* ---- equations ---- */

body:
	'{' equations '}'			{ $$ = $2; $$->loc = @$; }
;

equations:
	%empty					{ $$ = make_node(parser, N_BODY, @$, 0); }
|	equations equation			{ $$ = list_grow(parser, $1, $2); }
|	equations error SYNC			{ $$ = $1; yyerrok; }
|	equations ';'				{ $$ = $1; }
;

equation:
	left type '=' expression		{ $$ = make_node(parser, N_DEFINE, @$, 3, $1, $2, $4); }
|	left type UPDATE expression		{ $$ = make_node(parser, N_UPDATE, @$, 3, $1, $2, $4); }
|	BLOCK word '=' expression		{ $$ = make_node(parser, N_BLOCK, @$, 2, make_word(parser, $2), $4); }
|	FOR word IN iterated body		{ $$ = make_named(parser, N_FOR, @$, $2, 2, $4, $5); }
|	WHEN expression body			{ $$ = make_node(parser, N_WHEN, @$, 2, $2, $3); }
|	KEEP word WHERE expression		{ $$ = make_node(parser, N_KEEP, @$, 2, make_word(parser, $2), $4); }
|	REQUIRE expression			{ $$ = make_node(parser, N_REQUIRE, @$, 1, $2); }
|	REPORT STRING ',' expression		{ $$ = with_text(make_node(parser, N_NOTE, @$, 2, $4, NULL), $2->text); }
|	REPORT STRING ',' expression WHERE expression	{ $$ = with_text(make_node(parser, N_NOTE, @$, 2, $4, $6), $2->text); }
|	SAVE STRING ',' expression		{ $$ = with_text(make_node(parser, N_ENTRY, @$, 1, $4), $2->text); }
|	FOLD expression INTO word		{ $$ = make_node(parser, N_FOLD, @$, 2, $2, make_word(parser, $4)); }
|	FOLD expression INTO word '.' NAME	{ $$ = make_node(parser, N_FOLD, @$, 2, $2, make_named(parser, N_FIELD, loc_join(@4, @6), $6, 1, make_word(parser, $4))); }
|	AXIS net_axes				{ $$ = node_take(parser, make_node(parser, N_AXES, @$, 0), $2); }
|	LAYER word '<' operation body		{ $$ = make_named(parser, N_LAYER, loc_join(@1, @4), $2, 2, $4, $5); }
|	LAYER word IN expression DOTS expression body	{ $$ = make_named(parser, N_LAYER, loc_join(@1, @6), $2, 2, make_node(parser, N_RANGE, @4, 2, $4, $6), $7); }
|	left type '=' weight			{ $$ = make_node(parser, N_DEFINE, @$, 3, $1, $2, $4); }
|	LAYOUT word NUMBER '{' layout_items '}'	{ $$ = node_take(parser, make_named(parser, N_LAYOUT, @$, $2, 0), $5); $$->number = $3->number; }
|	PLANES STRING '{' plane_items '}'	{ $$ = node_take(parser, with_text(make_node(parser, N_PLANES, @$, 0), $2->text), $4); }
;

net_types:
	%empty					{ $$ = NULL; }
|	FOR strings				{ $$ = $2; }
;

net_axes:
	net_axis				{ $$ = make_node(parser, N_LIST, @$, 1, $1); }
|	net_axes ',' net_axis			{ $$ = list_grow(parser, $1, $3); }
;

net_axis:
	word '=' expression			{ $$ = make_node(parser, N_DEFINE, @$, 3, make_word(parser, $1), NULL, $3); }
;

/* Where an array of a net comes from. */
weight:
	WEIGHT strings weight_roles weight_else	{ $$ = make_node(parser, N_WEIGHT, @$, 3, $2, $3, $4); }
|	DATA STRING				{ $$ = with_text(make_node(parser, N_GIVEN, @$, 0), $2->text); }
;

strings:
	STRING					{ $$ = make_node(parser, N_LIST, @$, 1, make_text(parser, N_STRING, $1)); }
|	strings ',' STRING			{ $$ = list_grow(parser, $1, make_text(parser, N_STRING, $3)); }
;

/* `as` behind a weight names its roles: an array called so is of another equation. */
weight_roles:
	%empty %prec NO_ROLES			{ $$ = NULL; }
|	AS role_list				{ $$ = $2; }
;

role_list:
	word					{ $$ = make_node(parser, N_LIST, @$, 1, make_word(parser, $1)); }
|	role_list ',' word			{ $$ = list_grow(parser, $1, make_word(parser, $3)); }
;

weight_else:
	%empty					{ $$ = NULL; }
|	ELSE expression				{ $$ = $2; }
;

left:
	array
|	'(' left_list ')'			{ $$ = node_take(parser, make_node(parser, N_TUPLE, @$, 0), $2); }
;

left_list:
	array					{ $$ = make_node(parser, N_LIST, @$, 1, $1); }
|	left_list ',' array			{ $$ = list_grow(parser, $1, $3); }
;

array:
	word					{ $$ = make_word(parser, $1); }
|	array INDEX_BRACKET subscripts ']'	{ $$ = node_take(parser, make_node(parser, N_INDEX, @$, 1, $1), $3); }
;

iterated:
	expression
|	expression DOTS expression		{ $$ = make_node(parser, N_RANGE, @$, 2, $1, $3); }
|	expression DOTS expression STEP expression { $$ = make_node(parser, N_RANGE, @$, 3, $1, $3, $5); }
;

layout_items:
	%empty					{ $$ = make_node(parser, N_LIST, @$, 0); }
|	layout_items layout_item		{ $$ = list_grow(parser, $1, $2); }
|	layout_items error SYNC			{ $$ = $1; yyerrok; }
|	layout_items ','			{ $$ = $1; }
|	layout_items ';'			{ $$ = $1; }
;

layout_item:
	word					{ $$ = make_word(parser, $1); }
|	array type '=' expression		{ $$ = make_node(parser, N_DEFINE, @$, 3, $1, $2, $4); }
;

plane_items:
	%empty					{ $$ = make_node(parser, N_LIST, @$, 0); }
|	plane_items plane_item			{ $$ = list_grow(parser, $1, $2); }
|	plane_items error SYNC			{ $$ = $1; yyerrok; }
|	plane_items ';'				{ $$ = $1; }
;

plane_item:
	prop
|	array type '=' expression		{ $$ = make_node(parser, N_DEFINE, @$, 3, $1, $2, $4); }
;

/* ---- exports ---- */

export_rows:
	%empty					{ $$ = make_node(parser, N_BODY, @$, 0); }
|	export_rows export_row			{ $$ = list_grow(parser, $1, $2); }
|	export_rows error SYNC			{ $$ = $1; yyerrok; }
|	export_rows ';'				{ $$ = $1; }
;

export_row:
	export_name type '=' expression		{ $$ = make_node(parser, N_DEFINE, @$, 3, $1, $2, $4); }
|	export_name type '=' WEIGHT exported {
		$$ = make_node(parser, N_DEFINE, @$, 3, $1, $2, make_node(parser, N_WEIGHT, loc_join(@4, @5), 3, $5, NULL, NULL));
	}
|	NAME '=' WEIGHT strings			{ $$ = node_take(parser, make_named(parser, N_OMIT, @$, $1, 0), $4); }
|	apply
;

export_name:
	STRING					{ $$ = make_text(parser, N_STRING, $1); }
|	subscripted_name
;

exported:
	strings
|	subscripted_name			{ $$ = make_node(parser, N_LIST, @$, 1, $1); }
;

subscripted_name:
	STRING INDEX_BRACKET subscripts ']'	{ $$ = node_take(parser, make_node(parser, N_INDEX, @$, 1, make_text(parser, N_STRING, $1)), $3); }
;

/* ---- pipelines ---- */

statements:
	%empty					{ $$ = make_node(parser, N_BODY, @$, 0); }
|	statements statement			{ $$ = list_grow(parser, $1, $2); }
|	statements error SYNC			{ $$ = $1; yyerrok; }
|	statements ';'				{ $$ = $1; }
;

statement:
	shared_declaration
|	apply
|	REQUIRE expression			{ $$ = make_node(parser, N_REQUIRE, @$, 1, $2); }
|	SAVE STRING				{ $$ = with_text(make_node(parser, N_SAVE, @$, 0), $2->text); }
|	SAVE STRING '{' props '}'		{ $$ = with_text(node_take(parser, make_node(parser, N_SAVE, @$, 0), $4), $2->text); }
|	REPORT expressions			{ $$ = make_report(parser, @$, $2); }
;

apply:
	application
|	apply THEN application			{ $$ = make_node(parser, N_THEN, @$, 2, $1, $3); }
;

application:
	applied					{ $$ = make_node(parser, N_APPLY, @$, 2, $1, NULL); }
|	applied ON selection			{ $$ = make_node(parser, N_APPLY, @$, 2, $1, $3); }
;

applied:
	plain_word				{ $$ = make_word(parser, $1); }
|	applied '.' NAME			{ $$ = make_named(parser, N_FIELD, @$, $3, 1, $1); }
|	applied CALL_PAREN arguments ')'	{ $$ = node_take(parser, make_node(parser, N_CALL, @$, 1, $1), $3); }
;

selection:
	selected_except
|	IF expression THEN selection ELSE selection { $$ = make_node(parser, N_IF, @$, 3, $2, $4, $6); }
;

selected_except:
	selected_list
|	selected_except EXCEPT selected_list	{ $$ = make_node(parser, N_EXCEPT, @$, 2, $1, $3); }
;

selected_list:
	selected_and
|	selected_list ',' selected_and		{ $$ = list_unite(parser, @$, $1, $3); }
;

selected_and:
	selected
|	selected_and AND selected		{ $$ = make_binary(parser, @$, "and", $1, $3); }
;

selected:
	selecting_word				{ $$ = make_word(parser, $1); }
|	STRING					{ $$ = make_text(parser, N_STRING, $1); }
|	REGEX					{ $$ = make_text(parser, N_REGEX, $1); }
|	LAYER layers				{ $$ = make_node(parser, N_LAYERS, @$, 1, $2); }
|	'(' selection ')'			{ $$ = $2; }
;

layers:
	operation
|	operation DOTS operation				{ $$ = make_node(parser, N_RANGE, @$, 2, $1, $3); }
|	operation DOTS operation STEP operation		{ $$ = make_node(parser, N_RANGE, @$, 3, $1, $3, $5); }
;

/* ---- expressions ---- */

expressions:
	expression				{ $$ = make_node(parser, N_LIST, @$, 1, $1); }
|	expressions ',' expression		{ $$ = list_grow(parser, $1, $3); }
;

expression:
	condition
|	IF expression THEN expression ELSE expression { $$ = make_node(parser, N_IF, @$, 3, $2, $4, $6); }
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
|	postfix INDEX_BRACKET subscripts ']'	{ $$ = node_take(parser, make_node(parser, N_INDEX, @$, 1, $1), $3); }
|	postfix CALL_PAREN arguments ')'	{ $$ = node_take(parser, make_node(parser, N_CALL, @$, 1, $1), $3); }
|	NUMBER					{ $$ = make_number(parser, $1); }
|	RATIO					{ $$ = make_text(parser, N_RATIO, $1); }
|	STRING					{ $$ = make_text(parser, N_STRING, $1); }
|	REGEX					{ $$ = make_text(parser, N_REGEX, $1); }
|	NAME					{ $$ = make_word(parser, $1); }
|	keyword					{ $$ = make_word(parser, $1); }
|	'(' expression ')'			{ $$ = $2; }
|	'[' ']'					{ $$ = make_node(parser, N_LIST, @$, 0); }
|	'[' expressions ']'			{ $$ = $2; $$->loc = @$; }
;

arguments:
	%empty					{ $$ = NULL; }
|	argument_list
;

argument_list:
	argument				{ $$ = make_node(parser, N_LIST, @$, 1, $1); }
|	argument_list ',' argument		{ $$ = list_grow(parser, $1, $3); }
;

argument:
	expression
|	NAME ':' expression			{ $$ = make_named(parser, N_ARG, @$, $1, 1, $3); }
;

subscripts:
	subscript				{ $$ = make_node(parser, N_LIST, @$, 1, $1); }
|	subscripts ',' subscript		{ $$ = list_grow(parser, $1, $3); }
;

subscript:
	iterated
|	':'					{ $$ = make_node(parser, N_SLICE, @$, 0); }
|	'*'					{ $$ = make_node(parser, N_STAR, @$, 0); }
|	word IN iterated			{ $$ = make_node(parser, N_IN, @$, 2, make_word(parser, $1), $3); }
|	expression BY expression		{ $$ = make_node(parser, N_BY, @$, 2, $1, $3); }
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
