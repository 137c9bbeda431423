/* SPDX-License-Identifier: MIT
 *
 * paths.c: where the standard library and the runtime archives lie. In this order:
 * what the environment says; beside the program, where a build tree has them; as
 * far from the program as `make install` put them, so that a copied or staged
 * installation finds its own; where configure said.
 */
#include "driver.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder of the running program, NULL if the system does not say. */
static const char *program_folder(Compiler *c)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
	if (length <= 0)
		return NULL;
	path[length] = '\0';
	char *slash = strrchr(path, '/');
	return slash && slash > path ? arena_copy(c->arena, path, (size_t)(slash - path)) : NULL;
}

/* `to` seen from `from`, both absolute folders: from /usr/local/bin, /usr/local/share/cmpc is ../share/cmpc. */
static const char *relative_path(Compiler *c, const char *from, const char *to)
{
	size_t common = 0;
	for (size_t i = 0;; i++) {
		bool ends_from = from[i] == '/' || from[i] == '\0', ends_to = to[i] == '/' || to[i] == '\0';
		if (ends_from && ends_to)
			common = i;
		if (from[i] != to[i] || from[i] == '\0')
			break;
	}
	Text path = {.arena = c->arena};
	text_append(&path, ".", 1);
	for (const char *at = from + common; *at; at++)
		if (*at == '/' && at[1] != '/' && at[1] != '\0')
			text_append(&path, "/..", 3);
	text_printf(&path, "%s", to + common);
	return path.at;
}

/* The first of the places where `probe` is there, else the last place. */
static const char *find_folder(
	Compiler *c, const char *variable, const char *beside, const char *installed, const char *probe)
{
	const char *said = getenv(variable);
	if (said && *said)
		return said;
	const char *folder = program_folder(c);
	const char *places[] = {
		folder ? arena_printf(c->arena, "%s%s", folder, beside) : installed,
		folder ? arena_printf(c->arena, "%s/%s", folder, relative_path(c, BINDIR, installed)) : installed,
	};
	for (size_t i = 0; i < sizeof places / sizeof *places; i++)
		if (access(arena_printf(c->arena, "%s/%s", places[i], probe), R_OK) == 0)
			return places[i];
	return installed;
}

const char *path_stdlib(Compiler *c)
{
	return find_folder(c, "CMPC_STDLIB", "/stdlib", PKGDATADIR "/stdlib", "math.cmp");
}

const char *path_runtimes(Compiler *c)
{
	return find_folder(c, "CMPC_RUNTIME", "", PKGLIBDIR, HOST_TRIPLE "/libcmprt.a");
}
