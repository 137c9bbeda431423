/* SPDX-License-Identifier: MIT
 *
 * link.c: runs the C compiler of the target as a linker. The object and the result
 * lie beside the output under names of this process until all is well; nothing
 * is left behind, and an older output stays whole if linking fails.
 */
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

typedef VEC(char *) Words;

static void word(Compiler *c, Words *words, const char *text)
{
	vec_push(c->arena, words, (char *)(uintptr_t)text);
}

/* `output` is what the user calls it. */
static bool write_file(Compiler *c, const char *path, const char *output, const char *bytes, size_t count)
{
	FILE *file = fopen(path, "wb");
	bool is_written = file && fwrite(bytes, 1, count, file) == count;
	int code = errno;
	if (file && fclose(file) != 0) {
		is_written = false;
		code = errno;
	}
	if (!is_written)
		diag_fatal(c, "cannot write \"%s\": %s", output, strerror(code));
	return is_written;
}

/* The compiler for a target: this machine's own, or the cross compiler as Debian names it. CC of the environment rules.
 */
static const char *compiler_of(Compiler *c, const LinkOptions *o)
{
	bool is_native = strcmp(o->triple, o->host_triple) == 0;
	const char *said = getenv("CC");
	if (is_native)
		return said && *said ? said : "cc";
	return arena_printf(c->arena, "%s-gcc", o->triple);
}

/* CC may hold options too: "gcc -m64". */
static void compiler_words(Compiler *c, const char *text, Words *words)
{
	while (*text) {
		size_t length = strcspn(text, " ");
		if (length)
			word(c, words, arena_copy(c->arena, text, length));
		text += length + strspn(text + length, " ");
	}
}

/* libgfortran, which LAPACK brings along, takes all of these to be there as soon as one pthread function is; it names
 * them weakly, for which a static link fetches nothing from libc. */
static void word_threads(Compiler *c, Words *words)
{
	static const char *const names[] = {
		"cond_broadcast", "cond_destroy", "cond_init", "cond_wait", "mutex_destroy", "mutex_init", "mutex_trylock"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		word(c, words, arena_printf(c->arena, "-Wl,--undefined=pthread_%s", names[i]));
}

static Words command_of(Compiler *c, const LinkOptions *o, const char *object, const char *output)
{
	Words words = {0};
	compiler_words(c, compiler_of(c, o), &words);
	if (!o->is_shared)
		word(c, &words, "-static");
	word(c, &words, "-o");
	word(c, &words, output);
	word(c, &words, object);
	if (o->reads_text)
		word(c, &words, "-Wl,--undefined=samples_of_text");
	if (o->reads_pictures)
		word(c, &words, "-Wl,--undefined=samples_of_pictures");
	word(c, &words, arena_printf(c->arena, "%s/%s/libcmprt.a", o->runtimes, o->triple));
	if (o->reads_text)
		word(c, &words, "-lpcre2-8");
	static const char *const of_pictures[] = {"-lpng16", "-lz", "-ljpeg"};
	for (size_t i = 0; o->reads_pictures && i < sizeof of_pictures / sizeof *of_pictures; i++)
		word(c, &words, of_pictures[i]);
	if (o->openblas && o->is_shared) {
		word(c, &words, arena_printf(c->arena, "-L%s", o->openblas));
		word(c, &words, "-lopenblas");
	} else if (o->openblas) {
		word(c, &words, arena_printf(c->arena, "%s/libopenblas.a", o->openblas));
		word(c, &words, "-lgfortran");
		word_threads(c, &words);
		if (strncmp(o->triple, "x86_64", 6) == 0)
			word(c, &words, "-lquadmath");
	}
	/* As a library libgomp would read the environment before runtime/threads.c can; OpenBLAS as one brings it along. */
	word(c, &words, o->is_shared && !o->openblas ? "-l:libgomp.a" : "-fopenmp");
	static const char *const libraries[] = {"-ljansson", "-lxxhash", "-lm", "-Wl,--gc-sections", "-s"};
	for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++)
		word(c, &words, libraries[i]);
	word(c, &words, NULL);
	return words;
}

/* The first line that says what is wrong. */
static void report_failure(Compiler *c, const char *compiler, char *text)
{
	char *line = text;
	for (char *next = text; next; next = strchr(next, '\n')) {
		next += *next == '\n';
		size_t length = strcspn(next, "\n");
		if (memmem(next, length, "undefined", 9) || memmem(next, length, "cannot", 6) ||
			memmem(next, length, "error", 5)) {
			line = next;
			break;
		}
	}
	line[strcspn(line, "\n")] = '\0';
	diag_fatal(c, "%s could not link the executable: %s", compiler, *line ? line : "it says nothing");
}

/* "x86_64-linux-gnu" as it is in the names of packages, which have no underscores. */
static const char *package_name(Compiler *c, const char *triple)
{
	char *name = arena_copy(c->arena, triple, strlen(triple));
	for (char *at = name; *at; at++)
		*at = *at == '_' ? '-' : *at;
	return name;
}

static void report_no_compiler(Compiler *c, const LinkOptions *o, const char *compiler)
{
	diag_fatal(c, "there is no %s here to link the executable with", compiler);
	if (strcmp(o->triple, o->host_triple) == 0)
		diag_help(c, "Debian's packages are gcc and libc6-dev; `cmpc run` needs none");
	else
		diag_help(c, "Debian's package is gcc-%s; `--emit=obj` needs none", package_name(c, o->triple));
}

static bool run_command(Compiler *c, const LinkOptions *o, Words *words)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0) {
		diag_fatal(c, "cannot start %s: %s", words->at[0], strerror(errno));
		return false;
	}
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
	pid_t child;
	int code = posix_spawnp(&child, words->at[0], &actions, NULL, words->at, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	bool is_done = false;
	if (code == ENOENT) {
		report_no_compiler(c, o, words->at[0]);
	} else if (code != 0) {
		diag_fatal(c, "cannot start %s: %s", words->at[0], strerror(code));
	} else {
		int status;
		char text[4096];
		Text said = {.arena = c->arena};
		for (ssize_t more; (more = read(ends[0], text, sizeof text)) > 0;)
			text_append(&said, text, (size_t)more);
		is_done = waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
		if (!is_done)
			report_failure(c, words->at[0], said.count ? said.at : arena_copy(c->arena, "", 0));
	}
	close(ends[0]);
	return is_done;
}

bool link_executable(Compiler *c, const LinkOptions *o)
{
	const char *slash = strrchr(o->output, '/');
	int folder = slash ? (int)(slash + 1 - o->output) : 0;
	const char *own = arena_printf(c->arena, "%.*s.%s.%ld", folder, o->output, o->output + folder, (long)getpid());
	const char *object = arena_printf(c->arena, "%s.o", own), *made = arena_printf(c->arena, "%s.exe", own);
	Words words = command_of(c, o, object, made);
	bool is_done = write_file(c, object, o->output, o->object, o->object_count) && run_command(c, o, &words);
	if (is_done && rename(made, o->output) != 0) {
		diag_fatal(c, "cannot write \"%s\": %s", o->output, strerror(errno));
		is_done = false;
	}
	unlink(object);
	if (!is_done)
		unlink(made);
	return is_done;
}
