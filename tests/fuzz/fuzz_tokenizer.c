/* SPDX-License-Identifier: MIT
 *
 * fuzz_tokenizer.c: any bytes as a tokenizer.json, or as a GGUF file with a tokenizer
 * in it: opened or refused in one line. What opens makes tokens of a text, or says in
 * one line why it cannot.
 */
#include "fuzz_formats.h"
#include "tokenizer.h"

#include <sys/mman.h>

static const char text[] = "It's  Tom's 123 caf\xc3\xa9, e\xcc\x81 \xed\x95\x9c \xe6\xbc\xa2\r\n\t<s>aaaabbbb "
						   "\xf0\x9f\x98\x80\xe2\x96\x81 end ";

static void hold(bool condition)
{
	if (!condition)
		abort();
}

static void check_line(const CmprtError *error)
{
	hold(*error->text && !strchr(error->text, '\n'));
}

static void use(Tokenizer *t)
{
	CmprtError error = {""};
	Tokens tokens = {0};
	if (!tokenizer_encode(t, "text", text, sizeof text - 1, &tokens, &error))
		check_line(&error);
	for (int64_t i = 0; i < tokens.count; i++)
		hold(tokens.at[i] >= 0 && tokens.at[i] < tokenizer_size(t));
	free(tokens.at);
}

static Checkpoint *open_gguf(const uint8_t *data, size_t size)
{
	static int fd = -1;
	char path[64];
	CmprtError error = {""};
	if (fd < 0)
		fd = memfd_create("tokenizer", 0);
	fill_file(fd, data, size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return format_find("gguf")->open(path, &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CmprtError error = {""};
	bool is_gguf = size >= 4 && memcmp(data, "GGUF", 4) == 0;
	Checkpoint *checkpoint = is_gguf ? open_gguf(data, size) : NULL;
	if (is_gguf && !checkpoint)
		return 0;
	Tokenizer *t = is_gguf ? tokenizer_of_checkpoint(checkpoint, &error)
						   : tokenizer_read("tokenizer.json", (const char *)data, size, &error);
	if (t)
		use(t);
	else
		check_line(&error);
	tokenizer_close(t);
	if (checkpoint)
		checkpoint_close(checkpoint);
	return 0;
}
