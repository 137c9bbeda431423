/* SPDX-License-Identifier: MIT
 *
 * syntax.h: what lexer and parser share with nobody else: the token list of a
 * file, and the state of a parse over it.
 *
 * A file is read into a list of tokens first, so that words can be judged by
 * their neighbours (tokens.c) and errors can look ahead for a place to resume
 * (syntax.c). Includes parse.h, which bison makes, for the token kinds.
 */
#ifndef CMPC_SYNTAX_H
#define CMPC_SYNTAX_H

#include "ast.h"

enum { NESTING_LIMIT = 256, ERROR_LIMIT = 50 }; /* levels of brackets and of the tree; errors told of one file */

#define NO_TOKEN UINT32_MAX

typedef struct Token {
	int kind; /* T_ of parse.h */
	Loc loc;
	Name name;        /* words: as written */
	Name unit;        /* numbers */
	const char *text; /* strings: resolved; ratios: as written */
	const char *doc;  /* the ## lines before it */
	double number;
	uint32_t outer;  /* the bracket it lies in, or NO_TOKEN; of a closing bracket: the one it closes */
	uint32_t braces; /* how many unclosed { are before it */
	bool is_integer; /* a number written without fraction and exponent */
	bool is_first;   /* the first of its line */
	bool is_touched; /* nothing lies between it and the token before */
} Token;

typedef struct Tokens {
	Arena *arena;    /* holds both lists, not what tokens point to */
	VEC(Token) list; /* ends with T_END */
	VEC(Loc) comments;
	bool is_too_deep; /* reported; the list stops there */
} Tokens;

/* lex.l: the tokens as they are spelled, lexical errors reported. */
void tokens_scan(Compiler *c, uint32_t file, Tokens *to);
/* tokens.c: scanned, then units joined to numbers, words and brackets judged by their neighbours. */
void tokens_read(Compiler *c, uint32_t file, Tokens *to);
bool token_is_declaration(int kind);   /* pass, fn, dtype, ... */
bool token_starts_statement(int kind); /* what a statement may begin with, when it is the first of a line */

typedef struct Parser {
	Compiler *c;
	uint32_t file;
	Tokens tokens;
	int start;     /* T_FILE_START or T_ENTRY_START, the first thing fed to the grammar */
	bool is_begun; /* `start` was fed */
	uint32_t next; /* the token to feed next */
	Node *result;
	size_t error_count;
	bool is_incomplete;    /* the first error was the end of the text */
	bool must_resume;      /* an error was told: T_SYNC is fed next, then the parse resumes */
	uint32_t failed;       /* the token at which the last error was seen */
	uint32_t resumed;      /* where the parse resumed last, or NO_TOKEN */
	uint32_t closers_left; /* } to feed that the text lacks */
	uint32_t closed;       /* how many were fed */
	uint32_t loose;        /* a grouping ( that may have been meant as a call, or NO_TOKEN */
} Parser;

/* syntax.c */
const Token *parser_feed(Parser *parser); /* the next token, or T_SYNC and missing } after an error */
/* Tells of the token fed last; `expected` are bison's names of what would have been right. */
void parser_unexpected(Parser *parser, const char *const *expected, size_t count);
void parser_too_deep(Parser *parser, Loc loc);
/* Puts what was told since `first` into the order of the text; notes and helps stay with their error. */
void errors_sort(Compiler *c, size_t first);

#endif
