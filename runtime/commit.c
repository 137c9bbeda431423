/* SPDX-License-Identifier: MIT
 *
 * commit.c: where the result goes. Work lies beside the destination under a name
 * of its own; one rename makes it the result. Before the work: what must not be
 * overwritten is refused. At any instant the destination is the old result or the
 * new one, whole.
 *
 * Note [Folders]
 * A folder cannot be renamed over another one that holds files. The two names are
 * exchanged in one step (renameat2) and the old folder, now under the partial name,
 * is deleted. File systems without it get two renames, old one first out of the
 * way; a run killed between them is repaired by the next: it puts the old one back.
 */
#include "run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names ---- */

static bool has_suffix(const char *path, const char *suffix)
{
	size_t length = strlen(path), tail = strlen(suffix);
	return length >= tail && strcmp(path + length - tail, suffix) == 0;
}

/* The path to write to: without slashes at its end, links followed where they lead somewhere. */
static char *resolve(const char *path)
{
	char *own = strdup(path);
	for (size_t length = own ? strlen(own) : 0; length > 1 && own[length - 1] == '/'; length--)
		own[length - 1] = '\0';
	struct stat info;
	char *real = own && lstat(own, &info) == 0 && S_ISLNK(info.st_mode) ? realpath(own, NULL) : NULL;
	if (!real)
		return own;
	free(own);
	return real;
}

static char *beside(const Destination *destination, const char *base, const char *what)
{
	char *path = NULL;
	return asprintf(&path, "%s%s.%s.cmpc-%s", destination->parent, has_suffix(destination->parent, "/") ? "" : "/",
			   base, what) < 0
			   ? NULL
			   : path;
}

bool destination_name(Destination *destination, const char *path, const Format *format, CmprtError *error)
{
	if (!(destination->path = resolve(path)))
		return error_out_of_memory(error);
	destination->is_folder = !has_suffix(destination->path, format->suffix);
	if (destination->is_folder && format_of_output(destination->path) != format)
		return error_output_suffix(error, path, format);
	const char *slash = strrchr(destination->path, '/');
	destination->parent = !slash ? strdup(".")
						  : slash == destination->path
							  ? strdup("/")
							  : strndup(destination->path, (size_t)(slash - destination->path));
	const char *base = slash ? slash + 1 : destination->path;
	if (!destination->parent)
		return error_out_of_memory(error);
	destination->partial = beside(destination, base, "partial");
	destination->journal = beside(destination, base, "journal");
	destination->states = beside(destination, base, "states");
	destination->old = beside(destination, base, "old");
	return (destination->partial && destination->journal && destination->states && destination->old) ||
		   error_out_of_memory(error);
}

bool destination_find(Run *run, CmprtError *error)
{
	const Format *format = format_find(run->program->output_format);
	if (!format)
		return error_unknown_format(error, run->program->output_format);
	return destination_name(
		&run->destination, run->options->output ? run->options->output : run->program->output_path, format, error);
}

void destination_free(Destination *destination)
{
	free(destination->path);
	free(destination->parent);
	free(destination->partial);
	free(destination->journal);
	free(destination->states);
	free(destination->old);
}

/* ---- what is refused before the work ---- */

static bool is_within(const char *path, const char *folder)
{
	size_t length = strlen(folder);
	return strncmp(path, folder, length) == 0 &&
		   (path[length] == '/' || path[length] == '\0' || strcmp(folder, "/") == 0);
}

/* The destination itself need not exist: its parent does. */
bool destination_is_apart(const Destination *destination, const Checkpoint *source, CmprtError *error)
{
	char *input = realpath(source->path, NULL), *parent = realpath(destination->parent, NULL);
	char *path = realpath(destination->path, NULL);
	struct stat here, there;
	bool exists = stat(destination->path, &here) == 0, is_apart = true;
	if (input && path && strcmp(input, path) == 0)
		is_apart = error_output_is_input(error, destination->path, source->path);
	else if (input && parent && source->is_folder && is_within(parent, input))
		is_apart = error_output_in_input(error, destination->path, source->path);
	for (int64_t i = 0; i < source->file_count && exists && is_apart; i++) {
		const char *file = source->files[i];
		char *real = realpath(file, NULL);
		if (stat(file, &there) == 0 && here.st_dev == there.st_dev && here.st_ino == there.st_ino)
			is_apart = error_output_is_input(error, destination->path, file);
		else if (real && path && destination->is_folder && is_within(real, path))
			is_apart = error_output_holds_input(error, destination->path, file);
		free(real);
	}
	free(input);
	free(parent);
	free(path);
	return is_apart;
}

/* What was written here says so in its metadata. Anything else may be all that somebody has of it. */
static bool check_own(const char *path, CmprtError *error)
{
	CmprtError unread;
	Checkpoint *there = checkpoint_open(path, &unread);
	if (!there)
		return error_output_foreign(error, path);
	bool is_own = checkpoint_meta(there, CK_VERSION_KEY) != NULL;
	checkpoint_close(there);
	return is_own || error_output_not_own(error, path);
}

/* Do tensors lie in a file of this name? */
static bool has_tensors(const char *name)
{
	for (int i = 0; i < format_count(); i++)
		if (has_suffix(name, format_at(i)->suffix))
			return true;
	return false;
}

/* Will the new folder have a file of this name, or is it of a kind that only checkpoints consist of? */
static bool is_replaced(const Run *run, const char *entry)
{
	const CkLayout *layout = run->layout;
	for (int64_t i = 0; i < layout->file_count; i++)
		if (strcmp(layout->files[i].name, entry) == 0)
			return true;
	for (int64_t i = 0; i < layout->side_count; i++)
		if (strcmp(layout->sides[i].name, entry) == 0)
			return true;
	return has_tensors(entry) || has_suffix(entry, ".index.json");
}

static bool check_folder(const Run *run, CmprtError *error)
{
	const char *path = run->destination.path;
	DIR *folder = opendir(path);
	if (!folder)
		return error_system(error, "read folder", path, errno);
	bool is_ours = true, is_checkpoint = false;
	for (struct dirent *entry; is_ours && (entry = readdir(folder));) {
		is_checkpoint |= has_tensors(entry->d_name);
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && !is_replaced(run, entry->d_name))
			is_ours = error_output_folder_foreign(error, path, entry->d_name);
	}
	closedir(folder);
	return is_ours && (!is_checkpoint || check_own(path, error));
}

bool destination_check(Run *run, CmprtError *error)
{
	const Destination *destination = &run->destination;
	struct stat info;
	if (stat(destination->parent, &info) < 0 || !S_ISDIR(info.st_mode))
		return error_folder_missing(error, destination->parent, destination->path);
	if (access(destination->parent, W_OK | X_OK) < 0)
		return error_folder_unwritable(error, destination->parent, destination->path, errno);
	for (int64_t i = 0; i < run->program->source_count; i++)
		if (!destination_is_apart(destination, run->sources[i].checkpoint, error))
			return false;
	if (stat(destination->path, &info) < 0)
		return true;
	if (destination->is_folder && !S_ISDIR(info.st_mode))
		return error_output_kind(error, destination->path, "not a folder", "a folder");
	if (!destination->is_folder && !S_ISREG(info.st_mode))
		return error_output_kind(error, destination->path, S_ISDIR(info.st_mode) ? "a folder" : "a device", "one file");
	if (run->options->force)
		return true;
	if (destination->is_folder)
		return check_folder(run, error);
	return !info.st_size || check_own(destination->path, error);
}

/* ---- strays ---- */

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	(void)info, (void)kind, (void)where;
	return remove(path);
}

static bool remove_tree(const char *path, CmprtError *error)
{
	struct stat info;
	if (lstat(path, &info) < 0 && errno == ENOENT)
		return true;
	return nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0 || error_system(error, "remove", path, errno);
}

bool destination_repair(Run *run, CmprtError *error)
{
	const Destination *destination = &run->destination;
	struct stat info;
	if (lstat(destination->old, &info) < 0)
		return true;
	if (lstat(destination->path, &info) == 0)
		return remove_tree(destination->old, error);
	return rename(destination->old, destination->path) == 0 || error_system(error, "restore", destination->path, errno);
}

bool destination_clear(Run *run, CmprtError *error)
{
	return remove_tree(run->destination.states, error) && remove_tree(run->destination.partial, error);
}

void destination_discard(Run *run)
{
	CmprtError ignored;
	output_close(run);
	remove_tree(run->destination.partial, &ignored);
	unlink(run->destination.states);
	unlink(run->destination.journal);
}

/* ---- the commit ---- */

static bool sync_folder(const char *path, CmprtError *error)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool is_synced = fd >= 0 && fsync(fd) == 0;
	int code = errno;
	if (fd >= 0)
		close(fd);
	/* some file systems cannot sync folders: they have nothing to lose then */
	return is_synced || code == EINVAL || error_system(error, "write folder", path, code);
}

static bool replace_folder(const Destination *destination, CmprtError *error)
{
	struct stat info;
	if (lstat(destination->path, &info) < 0)
		return rename(destination->partial, destination->path) == 0 ||
			   error_system(error, "create", destination->path, errno);
	if (renameat2(AT_FDCWD, destination->partial, AT_FDCWD, destination->path, RENAME_EXCHANGE) == 0)
		return true;
	if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
		return error_system(error, "replace", destination->path, errno);
	if (rename(destination->path, destination->old) < 0)
		return error_system(error, "replace", destination->path, errno);
	return rename(destination->partial, destination->path) == 0 ||
		   error_system(error, "create", destination->path, errno);
}

bool destination_commit(Run *run, CmprtError *error)
{
	const Destination *destination = &run->destination;
	bool syncs = !run->options->no_sync;
	if (syncs && (!output_sync(run, error) || (destination->is_folder && !sync_folder(destination->partial, error))))
		return false;
	output_close(run);
	if (destination->is_folder) {
		if (!replace_folder(destination, error))
			return false;
	} else if (rename(destination->partial, destination->path) < 0) {
		return error_system(error, "replace", destination->path, errno);
	}
	if (syncs && !sync_folder(destination->parent, error))
		return false;
	if (!remove_tree(destination->partial, error) || !remove_tree(destination->old, error))
		return false;
	unlink(destination->states);
	unlink(destination->journal);
	return true;
}
