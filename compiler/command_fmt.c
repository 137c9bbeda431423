/* SPDX-License-Identifier: MIT
 *
 * command_fmt.c: `cmpc fmt FILE...` prints programs in the usual layout; -i rewrites
 * them, --check names those that would change.
 */
#include "driver.h"

#include "ast.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file that cannot be written whole is left as it was. */
static bool replace_file(Compiler *c, const char *path, const Text *text)
{
	struct stat status;
	const char *fresh = arena_printf(c->arena, "%s.fmt.%ld", path, (long)getpid());
	if (!text_write(c, fresh, text))
		return false;
	if (stat(path, &status) == 0 && chmod(fresh, status.st_mode & 07777) == 0 && rename(fresh, path) == 0)
		return true;
	diag_fatal(c, "cannot write \"%s\": %s", path, strerror(errno));
	unlink(fresh);
	return false;
}

static bool format_file(Request *request, const char *path, bool *is_same)
{
	Compiler *c = request->c;
	uint32_t file;
	Text text = {.arena = c->arena};
	if (!source_open(c, path, LOC_NONE, &file) || !source_format(c, file, &text))
		return false;
	const Source *source = source_of(c, file);
	bool is_equal = source->length == text.count && memcmp(source->text, text.at, text.count) == 0;
	if (request->check) {
		*is_same &= is_equal;
		if (!is_equal)
			printf("%s\n", path);
		return true;
	}
	if (request->in_place)
		return is_equal || replace_file(c, path, &text);
	return text_write(c, NULL, &text);
}

int command_fmt(Request *request)
{
	bool is_good = true, is_same = true;
	for (int i = 0; i < request->operand_count; i++)
		is_good &= format_file(request, request->operands[i], &is_same);
	return is_good && is_same ? STATUS_DONE : STATUS_ERROR;
}
