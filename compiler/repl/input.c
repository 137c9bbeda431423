/* SPDX-License-Identifier: MIT
 *
 * input.c: where lines come from. A terminal is read through libedit, with a
 * prompt, history, and completion of what the session knows by name, and of files
 * where a string names one; anything else line by line.
 */
#include "repl.h"

#include <dirent.h>
#include <histedit.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct Input {
	Session *s;
	EditLine *edit; /* NULL: no terminal */
	History *history;
	char prompt[8];
	bool is_cancelled; /* ^C ended the line */
	char *line;        /* of getline */
	size_t room;
};

static Input *input_of(EditLine *edit)
{
	void *data = NULL;
	el_get(edit, EL_CLIENTDATA, &data);
	return data;
}

static char *prompt(EditLine *edit)
{
	return input_of(edit)->prompt;
}

/* ---- completion ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const Name *)a, *(const Name *)b);
}

static bool is_word_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* Those that begin so, once and in order. */
static void find_beginning(Session *s, NameVec known, const char *prefix, size_t length, NameVec *to)
{
	if (known.count)
		qsort(known.at, known.count, sizeof *known.at, compare_names);
	for (size_t i = 0; i < known.count; i++)
		if (strncmp(known.at[i], prefix, length) == 0 && (i == 0 || known.at[i] != known.at[i - 1]))
			vec_push(s->c->arena, to, known.at[i]);
}

/* Where the word before `end` begins. */
static const char *word_begin(const char *from, const char *end)
{
	while (end > from && is_word_character(end[-1]))
		end--;
	return end;
}

/* The string that the cursor is in, behind its quote, where it is that of a file; else NULL. */
static const char *path_begin(const char *from, const char *cursor)
{
	static const char *const words[] = {"from", "save", "import", "model"};
	const char *quote = NULL, *before;
	for (const char *at = from; at < cursor; at++)
		if (*at == '"')
			quote = quote ? NULL : at;
	if (!quote)
		return NULL;
	for (before = quote; before > from && before[-1] == ' ';)
		before--;
	const char *word = word_begin(from, before);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strlen(words[i]) == (size_t)(before - word) && !strncmp(words[i], word, strlen(words[i])))
			return quote + 1;
	return NULL;
}

/* What is in the folder that the path is in, hidden files where it begins like one. */
static void list_files(Session *s, const char *path, NameVec *to)
{
	const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
	const char *folder = arena_copy(s->c->arena, path, (size_t)(last - path));
	DIR *open = opendir(*folder ? folder : ".");
	for (struct dirent *entry; open && (entry = readdir(open));) {
		struct stat info;
		if (entry->d_name[0] == '.' && *last != '.')
			continue;
		const char *found = arena_printf(s->c->arena, "%s%s", folder, entry->d_name);
		bool is_folder = stat(found, &info) == 0 && S_ISDIR(info.st_mode);
		vec_push(s->c->arena, to, name_of(s->c, is_folder ? arena_printf(s->c->arena, "%s/", found) : found));
	}
	if (open)
		closedir(open);
}

static unsigned char complete(EditLine *edit, int key)
{
	(void)key;
	Session *s = input_of(edit)->s;
	const LineInfo *line = el_line(edit);
	const char *path = path_begin(line->buffer, line->cursor);
	const char *begin = path ? path : word_begin(line->buffer, line->cursor);
	size_t length = (size_t)(line->cursor - begin);
	NameVec known = {0}, found = {0};
	if (path)
		list_files(s, arena_copy(s->c->arena, begin, length), &known);
	else
		session_words(s, &known);
	find_beginning(s, known, begin, length, &found);
	if (!found.count)
		return CC_ERROR;
	size_t common = strlen(found.at[0]);
	for (size_t i = 1; i < found.count; i++)
		for (size_t k = 0; k < common; k++)
			if (found.at[i][k] != found.at[0][k])
				common = k;
	if (common > length) {
		bool is_inserted = el_insertstr(edit, arena_copy(s->c->arena, found.at[0] + length, common - length)) == 0;
		return is_inserted ? CC_REFRESH : CC_ERROR;
	}
	if (found.count == 1)
		return CC_NORM;
	printf("\n");
	for (size_t i = 0; i < found.count; i++)
		printf("%s%s", found.at[i], i + 1 < found.count ? "  " : "\n");
	fflush(stdout);
	return CC_REDISPLAY;
}

/* ---- lines ---- */

/* ^C, a key like others while a line is edited: the line is as if it had never been typed. */
static unsigned char cancel(EditLine *edit, int key)
{
	(void)key;
	const LineInfo *line = el_line(edit);
	int length = (int)(line->lastchar - line->buffer);
	el_cursor(edit, (int)(line->lastchar - line->cursor));
	el_deletestr(edit, length);
	input_of(edit)->is_cancelled = true;
	printf("^C\n");
	fflush(stdout);
	return CC_NEWLINE;
}

static bool open_terminal(Input *input)
{
	HistEvent event;
	setlocale(LC_CTYPE, ""); /* what the terminal sends */
	input->history = history_init();
	input->edit = el_init("cmpc", stdin, stdout, stderr);
	if (!input->history || !input->edit)
		return false;
	history(input->history, &event, H_SETSIZE, 1000);
	el_set(input->edit, EL_CLIENTDATA, input);
	el_set(input->edit, EL_PROMPT, prompt);
	el_set(input->edit, EL_EDITOR, "emacs");
	el_set(input->edit, EL_SIGNAL, 1);
	el_set(input->edit, EL_HIST, history, input->history);
	el_set(input->edit, EL_ADDFN, "cmpc-complete", "complete a name", complete);
	el_set(input->edit, EL_BIND, "^I", "cmpc-complete", NULL);
	el_set(input->edit, EL_ADDFN, "cmpc-cancel", "drop what is being entered", cancel);
	el_set(input->edit, EL_BIND, "^C", "cmpc-cancel", NULL);
	el_set(input->edit, EL_SETTY, "-d", "-isig", NULL);
	el_source(input->edit, NULL); /* the user's own .editrc */
	return true;
}

Input *input_open(Session *s)
{
	Input *input = arena_new_of(s->c->arena, Input);
	input->s = s;
	if (!isatty(STDIN_FILENO) || open_terminal(input))
		return input;
	input_close(input);
	session_error(s, "cannot read from this terminal");
	return NULL;
}

bool input_is_terminal(const Input *input)
{
	return input->edit != NULL;
}

static const char *edited_line(Input *input)
{
	int count;
	HistEvent event;
	const char *text = el_gets(input->edit, &count);
	if (input->is_cancelled)
		return "";
	if (!text || count <= 0)
		return NULL;
	size_t length = strcspn(text, "\n");
	if (text[strspn(text, " \t\n")])
		history(input->history, &event, H_ENTER, text);
	return arena_copy(input->s->c->arena, text, length);
}

bool input_is_cancelled(const Input *input)
{
	return input->is_cancelled;
}

const char *input_line(Input *input, bool is_continued)
{
	input->is_cancelled = false;
	strcpy(input->prompt, is_continued ? "  ..> " : "cmpc> ");
	if (input->edit)
		return edited_line(input);
	ssize_t length = getline(&input->line, &input->room, stdin);
	if (length < 0)
		return NULL;
	input->line[strcspn(input->line, "\n")] = '\0';
	return input->line;
}

void input_close(Input *input)
{
	if (input->history)
		history_end(input->history);
	if (input->edit)
		el_end(input->edit);
	free(input->line);
}
