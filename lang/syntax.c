/* SPDX-License-Identifier: MIT
 *
 * syntax.c: between token list and grammar: feeds tokens, tells of syntax errors,
 * and finds where to resume after one, so that one run tells of all errors.
 *
 * Resuming looks at the tokens themselves, not at the parser's stack: behind the
 * brackets that the error lies in, at the next line that begins with what a
 * statement may begin with, or at the } of the same body; outside bodies at the
 * next declaration. A declaration at the very start of a line also ends bodies
 * whose } is missing: the missing ones are then fed.
 */
#include "syntax.h"
#include "parse.h"

#include <string.h>

static const Token *token_at(const Parser *parser, uint32_t index)
{
	size_t last = parser->tokens.list.count - 1;
	return &parser->tokens.list.at[index < last ? index : last];
}

/* ---- feeding and resuming ---- */

/* Unclosed { before a token, when those that were closed for the text are not counted. */
static uint32_t braces_at(const Parser *parser, const Token *token)
{
	return token->braces > parser->closed ? token->braces - parser->closed : 0;
}

static bool is_unindented(const Parser *parser, const Token *token)
{
	uint32_t begin = token->loc.begin;
	return begin == 0 || source_of(parser->c, parser->file)->text[begin - 1] == '\n';
}

/* The closing partner of the bracket at `opening`, or NO_TOKEN. */
static uint32_t partner_of(const Parser *parser, uint32_t opening)
{
	for (uint32_t i = opening + 1; i < parser->tokens.list.count; i++) {
		int kind = token_at(parser, i)->kind;
		if (token_at(parser, i)->outer == opening && (kind == ')' || kind == ']' || kind == '}'))
			return i;
	}
	return NO_TOKEN;
}

/* The first token not before `from` that lies in no ( or [ of the body that `from` lies in. */
static uint32_t leave_brackets(const Parser *parser, uint32_t from)
{
	uint32_t outermost = NO_TOKEN;
	for (uint32_t at = token_at(parser, from)->outer; at != NO_TOKEN; at = token_at(parser, at)->outer) {
		if (token_at(parser, at)->kind == '{')
			break;
		outermost = at;
	}
	uint32_t partner = outermost == NO_TOKEN ? NO_TOKEN : partner_of(parser, outermost);
	return partner == NO_TOKEN || partner < from ? from : partner;
}

static uint32_t find_resume(Parser *parser)
{
	uint32_t from = parser->failed, braces = braces_at(parser, token_at(parser, from));
	if (parser->resumed != NO_TOKEN && from <= parser->resumed)
		from = parser->resumed + 1; /* never stay in place */
	for (uint32_t i = leave_brackets(parser, from);; i++) {
		const Token *token = token_at(parser, i);
		uint32_t inside = braces_at(parser, token);
		if (token->kind == T_END)
			return i;
		if (token_is_declaration(token->kind) && token->is_first && (is_unindented(parser, token) || inside == 0)) {
			parser->closers_left = inside < braces ? inside : braces;
			parser->closed += parser->closers_left;
			return i;
		}
		if (braces == 0 || inside > braces)
			continue;
		if (inside < braces || token->kind == '}' || token->kind == ';')
			return i;
		if (token->is_first && token_starts_statement(token->kind))
			return i;
	}
}

static const Token *made_up(Parser *parser, int kind)
{
	Token *token = arena_new_of(parser->c->arena, Token);
	token->kind = kind;
	token->loc =
		(Loc){parser->file, token_at(parser, parser->next)->loc.begin, token_at(parser, parser->next)->loc.begin};
	return token;
}

const Token *parser_feed(Parser *parser)
{
	if (!parser->is_begun) {
		parser->is_begun = true;
		return made_up(parser, parser->start);
	}
	if (parser->error_count > ERROR_LIMIT)
		return token_at(parser, NO_TOKEN);
	if (parser->must_resume) {
		parser->must_resume = false;
		parser->next = parser->resumed = find_resume(parser);
		return made_up(parser, T_SYNC);
	}
	if (parser->closers_left > 0) {
		parser->closers_left--;
		return made_up(parser, '}');
	}
	const Token *token = token_at(parser, parser->next++);
	if (token->kind == '=' || token->kind == T_UPDATE || token->kind == '{' || token->kind == '}')
		parser->loose = NO_TOKEN;
	else if ((token->kind == '(' || token->kind == '[') && parser->next > 1 && !token->is_touched && !token->is_first) {
		int before = token[-1].kind;
		if (before == T_NAME || before == ')' || before == ']')
			parser->loose = parser->next - 1;
	}
	return token;
}

/* ---- telling ---- */

static bool has(const char *const *expected, size_t count, const char *wanted)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(expected[i], wanted) == 0)
			return true;
	return false;
}

static bool is_word_text(const char *text)
{
	return text[0] >= 'a' && text[0] <= 'z' && strchr(text, ' ') == NULL;
}

static bool is_any(const char *text, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(text, *list) == 0)
			return true;
	return false;
}

/* Is this told by "an expression", "an operator" and so on, or not worth telling? */
static bool is_covered(const char *text, bool expression, bool infix, bool name)
{
	static const char *const starts[] = {"(", "[", "-", "~", "not", "if", NULL};
	static const char *const operators[] = {"+", "-", "*", "/", "//", "%", "^", "&", "|", "<<", ">>", "==", "!=", "<",
		"<=", ">", ">=", "and", "or", "..", "by", "in", "[", NULL};
	static const char *const never[] = {";", ".", "(call", "end of file", "a name", NULL};
	static const char *const never_names[] = {"by", "else", "except", "for", "in", "into", "on", "then", "where", NULL};
	if (is_any(text, never) || (infix && is_any(text, operators)))
		return true;
	if (expression && (is_any(text, starts) || strncmp(text, "a ", 2) == 0))
		return true;
	return name && is_word_text(text) && !is_any(text, never_names);
}

/* `expected` in groups: what begins an expression, what goes on with one, keywords that are names here. */
static const char *describe_expected(Parser *parser, const char *const *expected, size_t count)
{
	bool expression = has(expected, count, "~"), name = has(expected, count, "a name");
	bool infix = has(expected, count, "+") && has(expected, count, "*");
	bool statement =
		name && (has(expected, count, "when") || (has(expected, count, "require") && !has(expected, count, "step")));
	if (has(expected, count, "pass") && !name)
		return "a declaration";
	if (has(expected, count, ":=") && !infix)
		return "\"=\" or \":=\"";
	VEC(const char *) groups = {0};
	Arena *arena = parser->c->arena;
	if (infix)
		vec_push(arena, &groups, "an operator");
	if (expression || statement || name)
		vec_push(arena, &groups, expression ? "an expression" : statement ? "a new statement" : "a name");
	for (size_t i = 0; i < count && !statement; i++) {
		const char *text = strcmp(expected[i], "[index") == 0 ? "[" : expected[i];
		if (!is_covered(text, expression, infix, name))
			vec_push(arena, &groups, strchr(text, ' ') ? text : arena_printf(arena, "\"%s\"", text));
	}
	if (groups.count == 0 || groups.count > 6)
		return NULL;
	Text list = {.arena = arena};
	for (size_t i = 0; i < groups.count; i++)
		text_printf(&list, "%s%s", i == 0 ? "" : i + 1 == groups.count ? " or " : ", ", groups.at[i]);
	return list.at;
}

static const char *describe_token(Parser *parser, const Token *token)
{
	const char *source = source_of(parser->c, parser->file)->text;
	int length = (int)(token->loc.end - token->loc.begin);
	const char *kind = token->kind == T_NAME     ? "name "
					   : token->kind == T_NUMBER ? "number "
					   : token->kind == T_STRING ? "string "
					   : token->kind == T_REGEX  ? "regular expression "
					   : token->kind == T_RATIO  ? "ratio "
												 : "";
	if (token->kind == T_END)
		return "end of file";
	if (token->kind == T_NAME || !*kind)
		return arena_printf(parser->c->arena, "%s\"%.*s\"", kind, length < 60 ? length : 60, source + token->loc.begin);
	return arena_printf(parser->c->arena, "%s%.*s", kind, length < 60 ? length : 60, source + token->loc.begin);
}

/* "did you mean": keywords that would have been right here. */
static void help_keyword(Parser *parser, const Token *token, const char *const *expected, size_t count)
{
	NameVec known = {0};
	for (size_t i = 0; i < count; i++)
		if (is_word_text(expected[i]))
			vec_push(parser->c->arena, &known, name_of(parser->c, expected[i]));
	diag_nearest(parser->c, token->name, &known);
}

/* What people coming from other languages write. */
static void help_habit(Parser *parser, const Token *token, const char *const *expected, size_t count)
{
	Compiler *c = parser->c;
	int kind = token->kind, before = token > parser->tokens.list.at ? token[-1].kind : T_END;
	bool touches = token->is_touched && kind == before;
	bool wants_expression = has(expected, count, "~");
	if (kind == '=' && token - parser->tokens.list.at > 1 && before == T_NAME &&
		(token[-2].kind == T_CALL_PAREN || token[-2].kind == ','))
		diag_help(c, "an argument is named with a colon: %s: ...", token[-1].name);
	else if (kind == '=' && has(expected, count, "=="))
		diag_help(c, "to compare, write ==");
	else if (touches && (kind == '&' || kind == '|'))
		diag_help(c, "write %s", kind == '&' ? "and" : "or");
	else if (touches && kind == '*')
		diag_help(c, "a power is written ^");
	else if (kind == T_INT_DIVIDE && token->is_first)
		diag_help(c, "comments begin with #");
	else if (kind == T_IF && wants_expression)
		diag_help(c, "inside an operation, put if .. then .. else .. in parentheses");
	else if (kind == T_NOT && wants_expression)
		diag_help(c, "inside an operation, put not .. in parentheses");
	else if (before == T_LET && has(expected, count, ":="))
		diag_help(c, "equations need no let: %s = ...", token->name ? token->name : "name");
	else if (has(expected, count, "else") && (token->is_first || kind == '}'))
		diag_help(c, "every if has an else: if .. then .. else ..");
	else if (token->name && kind != T_NAME && !token->is_first && has(expected, count, "a name"))
		diag_help(c, "%s is a word of the language here: call it something else", token->name);
	else if (token->name)
		help_keyword(parser, token, expected, count);
}

static bool is_comparison(int kind)
{
	return kind == T_EQUAL || kind == T_UNEQUAL || kind == '<' || kind == '>' || kind == T_AT_MOST ||
		   kind == T_AT_LEAST;
}

/* Is the token in, or the first after, the group that may have been meant as a call? */
static bool is_behind(const Parser *parser, uint32_t token)
{
	uint32_t partner = partner_of(parser, parser->loose);
	return partner == NO_TOKEN || token <= partner + 1;
}

/* Errors that have a message of their own; false: there is none for this one. */
static bool tell_special(Parser *parser, const Token *token, const char *const *expected, size_t count)
{
	Compiler *c = parser->c;
	const Token *first = parser->tokens.list.at;
	if (parser->loose != NO_TOKEN && is_behind(parser, (uint32_t)(token - first))) {
		const Token *loose = first + parser->loose;
		bool is_call = loose->kind == '(';
		diag_error(c, loose->loc, "unexpected \"%s\": %s", is_call ? "(" : "[",
			is_call ? "the parenthesis of a call touches what is called"
					: "the bracket of an index touches what is indexed");
		diag_help(c, "remove the blank before it");
		parser->loose = NO_TOKEN;
		return true;
	}
	if (is_comparison(token->kind) && has(expected, count, "and") && has(expected, count, "|")) {
		diag_error(c, token->loc, "comparisons do not chain");
		diag_help(c, "write a < b and b < c");
		return true;
	}
	bool is_lost_brace = token > first && braces_at(parser, token) > 0 && token_is_declaration(token[-1].kind) &&
						 token[-1].is_first && is_unindented(parser, token - 1);
	const Token *declaration = is_lost_brace ? token - 1 : token;
	if (is_lost_brace || (braces_at(parser, token) > 0 && token_is_declaration(token->kind) && token->is_first &&
							 is_unindented(parser, token))) {
		parser->failed = (uint32_t)(declaration - first);
		diag_error(c, declaration->loc, "unexpected \"%s\", expected \"}\" before it", declaration->name);
	} else if (token->kind == T_END && token->outer != NO_TOKEN) {
		diag_error(c, token->loc, "unexpected end of file");
	} else {
		return false;
	}
	const Token *open = token_at(parser, declaration->outer == NO_TOKEN ? 0 : declaration->outer);
	diag_note(c, open->loc, "this \"%.*s\" is not closed", 1, source_of(c, parser->file)->text + open->loc.begin);
	return true;
}

void parser_unexpected(Parser *parser, const char *const *expected, size_t count)
{
	const Token *token = token_at(parser, parser->next ? parser->next - 1 : 0);
	parser->failed = parser->next ? parser->next - 1 : 0;
	parser->must_resume = true;
	if (++parser->error_count > ERROR_LIMIT) {
		diag_error(parser->c, token->loc, "too many errors: giving up here");
		return;
	}
	if (parser->error_count == 1)
		parser->is_incomplete = token->kind == T_END;
	if (tell_special(parser, token, expected, count))
		return;
	const char *what = describe_token(parser, token), *wanted = describe_expected(parser, expected, count);
	if (wanted)
		diag_error(parser->c, token->loc, "unexpected %s, expected %s", what, wanted);
	else
		diag_error(parser->c, token->loc, "unexpected %s", what);
	help_habit(parser, token, expected, count);
}

void parser_too_deep(Parser *parser, Loc loc)
{
	parser->error_count++;
	diag_error(parser->c, loc, "this is nested more than %d levels deep", NESTING_LIMIT);
}

void errors_sort(Compiler *c, size_t first)
{
	typedef struct Group {
		size_t from, count;
	} Group;
	VEC(Group) groups = {0};
	Diag *told = c->diags.at;
	for (size_t i = first; i < c->diags.count; i++) {
		if (told[i].kind != DIAG_ERROR) {
			groups.at[groups.count - 1].count++;
			continue;
		}
		size_t to = groups.count;
		vec_push(c->arena, &groups, ((Group){0}));
		for (; to > 0 && told[groups.at[to - 1].from].loc.begin > told[i].loc.begin; to--)
			groups.at[to] = groups.at[to - 1];
		groups.at[to] = (Group){i, 1};
	}
	DiagVec sorted = {0};
	for (size_t i = 0; i < groups.count; i++)
		for (size_t k = 0; k < groups.at[i].count; k++)
			vec_push(c->arena, &sorted, told[groups.at[i].from + k]);
	for (size_t i = 0; i < sorted.count; i++)
		told[first + i] = sorted.at[i];
}
