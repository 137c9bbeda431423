/* SPDX-License-Identifier: MIT
 *
 * print_tokens.c: prints the tokens of texts, for tests/cli/text.py, which knows
 * what they must be: `print_tokens TOKENIZER FILE ..` reads a tokenizer.json, or a
 * checkpoint that has one, and prints a line of numbers for each line of the files,
 * with what stands around each; with -w in front one line for each file as a whole,
 * and with -t the seconds of one core that took.
 */
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char *read_text(const char *path, int64_t *count)
{
	FILE *file = fopen(path, "rb");
	if (!file || fseek(file, 0, SEEK_END) != 0)
		exit(2);
	*count = ftell(file);
	rewind(file);
	char *text = malloc((size_t)*count + 1);
	if (!text || fread(text, 1, (size_t)*count, file) != (size_t)*count)
		exit(2);
	fclose(file);
	return text;
}

static void print_tokens(const Tokens *tokens, bool *is_first)
{
	for (int64_t i = 0; i < tokens->count; i++) {
		printf(*is_first ? "%d" : " %d", tokens->at[i]);
		*is_first = false;
	}
}

static void encode(Tokenizer *t, const char *path, const char *text, int64_t count, bool is_timed)
{
	Tokens tokens = {0};
	CmprtError error;
	struct timespec begin, end;
	bool is_first = true;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
	if (!tokenizer_encode(t, path, text, count, &tokens, &error)) {
		printf("error: %s\n", error.text);
		return;
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	if (is_timed) {
		printf("%.2f s, %lld tokens\n",
			(double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9,
			(long long)tokens.count);
	} else {
		print_tokens(tokenizer_front(t), &is_first);
		print_tokens(&tokens, &is_first);
		print_tokens(tokenizer_back(t), &is_first);
		printf("\n");
	}
	free(tokens.at);
}

static void encode_lines(Tokenizer *t, const char *path, const char *text, int64_t count)
{
	for (int64_t at = 0, end; at < count; at = end + 1) {
		const char *line = memchr(text + at, '\n', (size_t)(count - at));
		end = line ? line - text : count;
		encode(t, path, text + at, end - at, false);
	}
}

int main(int argc, char **argv)
{
	CmprtError error = {""};
	bool is_whole = argc > 1 && !strcmp(argv[1], "-w"), is_timed = argc > 1 && !strcmp(argv[1], "-t");
	int first = 1 + (is_whole || is_timed);
	if (argc <= first)
		return 2;
	bool is_json = strlen(argv[first]) > 5 && !strcmp(argv[first] + strlen(argv[first]) - 5, ".json");
	Checkpoint *checkpoint = is_json ? NULL : checkpoint_open(argv[first], &error);
	Tokenizer *t = is_json      ? tokenizer_open(argv[first], &error)
				   : checkpoint ? tokenizer_of_checkpoint(checkpoint, &error)
								: NULL;
	if (!t)
		printf("error: %s\n", error.text);
	for (int i = first + 1; i < argc && t; i++) {
		int64_t count;
		char *text = read_text(argv[i], &count);
		if (is_whole || is_timed)
			encode(t, argv[i], text, count, is_timed);
		else
			encode_lines(t, argv[i], text, count);
		free(text);
	}
	int status = t ? 0 : 1;
	tokenizer_close(t);
	if (checkpoint)
		checkpoint_close(checkpoint);
	return status;
}
