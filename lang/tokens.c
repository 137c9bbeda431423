/* SPDX-License-Identifier: MIT
 *
 * tokens.c: judges tokens by their neighbours, where the grammar needs more than
 * spelling:
 *
 * - Units. A word after a number, on its line, is its unit if it is a known one and
 *   what follows does not make it the start of an equation (`x = 4  B[o] = ..`).
 *   `GB/s` is a unit only without blanks; `%` only if it touches the number and
 *   no operand touches it: `50%` and `50% x`, but `8 % m` and `8%m` are modulo.
 * - Brackets. ( and [ that touch a name, ) or ] are a call's and an index's; others
 *   group and list. That is what separates `qr(b[s])  (q, r) = ..`.
 * - Words. A keyword is a plain name after `.`, and before `:`, `=` and `:=`.
 *
 * On exit every bracket knows its partner, and nesting is within NESTING_LIMIT.
 */
#include "syntax.h"
#include "parse.h"

#include <string.h>

bool token_is_declaration(int kind)
{
	switch (kind) {
	case T_DATA:
	case T_DTYPE:
	case T_EXPORT:
	case T_FN:
	case T_IMPORT:
	case T_LET:
	case T_MODEL:
	case T_NET:
	case T_PASS:
	case T_PIPELINE:
	case T_RECIPE:
	case T_ROLES:
	case T_TARGET:
		return true;
	default:
		return false;
	}
}

static bool is_word(const Token *token)
{
	return token->name != NULL;
}

bool token_starts_statement(int kind)
{
	if (kind == '(' || kind == T_NAME)
		return true;
	switch (kind) {
	case T_ALL:
	case T_AXIS:
	case T_BLOCK:
	case T_FOLD:
	case T_FOR:
	case T_KEEP:
	case T_LAYER:
	case T_LAYOUT:
	case T_OTHERS:
	case T_PLANES:
	case T_REPORT:
	case T_REQUIRE:
	case T_SAVE:
	case T_WHEN:
		return true;
	default:
		return token_is_declaration(kind);
	}
}

/* May a ( or [ that touches this word be a call's? Not if the word itself wants an expression or a group. */
static bool is_callable(const Token *word, const Token *before)
{
	switch (word->kind) {
	case T_AND:
	case T_BY:
	case T_ELSE:
	case T_EXCEPT:
	case T_FOLD:
	case T_FOR:
	case T_IF:
	case T_IN:
	case T_INTO:
	case T_KEEP:
	case T_LAYER:
	case T_NOT:
	case T_ON:
	case T_OR:
	case T_REPORT:
	case T_REQUIRE:
	case T_STEP:
	case T_THEN:
	case T_WHEN:
	case T_WHERE:
		return false;
	case T_ALL:
	case T_AXIS:
		return !before || (before->kind != T_ON && before->kind != T_ALL);
	default:
		return true;
	}
}

/* ---- units ---- */

static bool is_unit(Name unit)
{
	double scale;
	const char *dimension;
	return unit_scale(unit, &scale, &dimension);
}

/* x = .., x.y .., x(..) .. */
static bool begins_statement(const Token *word)
{
	const Token *after = word + 1;
	return after->kind == '=' || after->kind == T_UPDATE || after->kind == ':' || after->kind == '.' ||
		   (after->is_touched && (after->kind == '(' || after->kind == '['));
}

/* How many of the tokens after the number at `at` are its unit, and that unit. */
static size_t unit_length(Compiler *c, const Tokens *tokens, size_t at, Name *unit)
{
	const Token *number = &tokens->list.at[at], *word = number + 1;
	if (word->kind == '%' && word->is_touched) {
		bool has_operand = word[1].is_touched && (is_word(&word[1]) || word[1].kind == T_NUMBER || word[1].kind == '(');
		*unit = name_of(c, "%");
		return has_operand ? 0 : 1;
	}
	if (!is_word(word) || word->is_first)
		return 0;
	if (word[1].kind == '/' && word[1].is_touched && is_word(&word[2]) && word[2].is_touched) {
		*unit = name_of(c, arena_printf(c->arena, "%s/%s", word->name, word[2].name));
		if (is_unit(*unit))
			return 3;
	}
	*unit = word->name;
	return is_unit(*unit) && (word->is_touched || !begins_statement(word)) ? 1 : 0;
}

/* A word behind a number that is no unit: wrong if it touches the number, or is a unit in other letters. */
static bool is_wrong_unit(Compiler *c, const Token *number)
{
	const Token *word = number + 1;
	if (!is_word(word) || word->is_first)
		return false;
	const char *respelt = unit_respelt(word->name);
	if (!word->is_touched && (!respelt || begins_statement(word)))
		return false;
	diag_error(c, loc_join(number->loc, word->loc),
		word->is_touched ? "this is neither a number nor a name, and \"%s\" is no unit" : "\"%s\" is no unit",
		word->name);
	if (respelt)
		diag_help(c, "did you mean %s?", respelt);
	return true;
}

static void join_units(Compiler *c, Tokens *tokens)
{
	size_t kept = 0;
	for (size_t i = 0; i < tokens->list.count; i++) {
		if (tokens->list.at[i].kind != T_NUMBER) {
			if (kept != i)
				tokens->list.at[kept] = tokens->list.at[i];
			kept++;
			continue;
		}
		Token token = tokens->list.at[i];
		size_t length = unit_length(c, tokens, i, &token.unit);
		if (length) {
			token.loc = loc_join(token.loc, tokens->list.at[i + length].loc);
			i += length;
		} else {
			token.unit = NULL;
			if (is_wrong_unit(c, &tokens->list.at[i])) {
				token.loc = loc_join(token.loc, tokens->list.at[i + 1].loc);
				i++;
			}
		}
		tokens->list.at[kept++] = token;
	}
	tokens->list.count = kept;
}

/* ---- words and brackets ---- */

static void judge_words(Tokens *tokens)
{
	for (size_t i = 0; i + 1 < tokens->list.count; i++) {
		Token *token = &tokens->list.at[i];
		int after = token[1].kind;
		if (is_word(token) && ((i > 0 && token[-1].kind == '.') || after == ':' || after == '=' || after == T_UPDATE))
			token->kind = T_NAME;
		if (token->is_touched && i > 0 && (token->kind == '(' || token->kind == '[')) {
			const Token *before = token - 1;
			bool is_applied = before->kind == ')' || before->kind == ']' ||
							  (before->kind == T_STRING && token->kind == '[') ||
							  (is_word(before) && is_callable(before, i > 1 ? before - 1 : NULL));
			if (is_applied)
				token->kind = token->kind == '(' ? T_CALL_PAREN : T_INDEX_BRACKET;
		}
	}
}

static bool closes(int closing, int opening)
{
	switch (closing) {
	case ')':
		return opening == '(' || opening == T_CALL_PAREN;
	case ']':
		return opening == '[' || opening == T_INDEX_BRACKET;
	case '}':
		return opening == '{';
	default:
		return false;
	}
}

/* Gives every token the bracket it lies in. A closing bracket also closes what was left open inside, but ) and ] never
 * a {. */
static void match_brackets(Compiler *c, Tokens *tokens)
{
	VEC(uint32_t) open = {0};
	uint32_t braces = 0;
	for (uint32_t i = 0; i < tokens->list.count; i++) {
		Token *token = &tokens->list.at[i];
		token->outer = open.count ? open.at[open.count - 1] : NO_TOKEN;
		token->braces = braces;
		switch (token->kind) {
		case '{':
			braces++; /* fallthrough */
		case '(':
		case '[':
		case T_CALL_PAREN:
		case T_INDEX_BRACKET:
			vec_push(c->arena, &open, i);
			break;
		case ')':
		case ']':
		case '}': {
			size_t at = open.count;
			while (at > 0 && !closes(token->kind, tokens->list.at[open.at[at - 1]].kind) &&
				   tokens->list.at[open.at[at - 1]].kind != '{')
				at--;
			if (at > 0 && closes(token->kind, tokens->list.at[open.at[at - 1]].kind)) {
				token->outer = open.at[at - 1];
				open.count = at - 1;
				braces -= token->kind == '}';
			}
			break;
		}
		}
		if (open.count > NESTING_LIMIT) {
			diag_error(c, token->loc, "brackets are nested more than %d deep", NESTING_LIMIT);
			tokens->is_too_deep = true;
			token->kind = T_END;
			tokens->list.count = i + 1;
		}
	}
}

void tokens_read(Compiler *c, uint32_t file, Tokens *to)
{
	tokens_scan(c, file, to);
	join_units(c, to);
	judge_words(to);
	match_brackets(c, to);
}

/* ---- --emit=tokens ---- */

static const char *kind_text(const Token *token)
{
	switch (token->kind) {
	case T_END:
		return "END";
	case T_NAME:
		return "NAME";
	case T_NUMBER:
		return "NUMBER";
	case T_RATIO:
		return "RATIO";
	case T_STRING:
		return "STRING";
	case T_REGEX:
		return "REGEX";
	case T_CALL_PAREN:
		return "CALL";
	case T_INDEX_BRACKET:
		return "INDEX";
	default:
		return is_word(token) ? "WORD" : "SIGN";
	}
}

void tokens_print(Compiler *c, uint32_t file, Text *to)
{
	Tokens tokens = {.arena = c->arena};
	size_t first = c->diags.count;
	tokens_read(c, file, &tokens);
	errors_sort(c, first);
	for (size_t i = 0; i < tokens.list.count; i++) {
		const Token *token = &tokens.list.at[i];
		uint32_t line, column;
		source_place(c, token->loc, &line, &column);
		text_printf(to, "%u:%u %s", line, column, kind_text(token));
		if (token->loc.end > token->loc.begin)
			text_printf(
				to, " %.*s", (int)(token->loc.end - token->loc.begin), source_of(c, file)->text + token->loc.begin);
		text_append(to, "\n", 1);
	}
}
