/* SPDX-License-Identifier: MIT
 *
 * output.c: the files of the result while they lie under the partial name. They
 * have their full size and everything that is not tensor data before the first
 * row is computed; rows are then written in place. Gaps stay zero: files are made
 * anew, never reused, unless the journal says that they are this run's own.
 */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

char *output_path(const Run *run, int64_t file)
{
	char *path = NULL;
	const char *name = run->layout->files[file].name;
	bool is_made = run->destination.is_folder ? asprintf(&path, "%s/%s", run->destination.partial, name) >= 0
											  : (path = strdup(run->destination.partial)) != NULL;
	return is_made ? path : NULL;
}

/* ---- room ---- */

static int64_t allocated_bytes(const Run *run)
{
	int64_t bytes = 0;
	struct stat info;
	for (int64_t i = 0; i < run->layout->file_count; i++) {
		char *path = output_path(run, i);
		if (path && stat(path, &info) == 0)
			bytes += (int64_t)info.st_blocks * 512;
		free(path);
	}
	if (stat(run->destination.states, &info) == 0)
		bytes += (int64_t)info.st_blocks * 512;
	return bytes;
}

bool output_check_space(Run *run, CmprtError *error)
{
	const CkLayout *layout = run->layout;
	struct statvfs info;
	int64_t needed = run->schedule.net.disk;
	for (int64_t i = 0; i < layout->file_count; i++)
		needed += layout->files[i].bytes;
	for (int64_t i = 0; i < layout->side_count; i++)
		needed += layout->sides[i].bytes;
	if (statvfs(run->destination.parent, &info) < 0)
		return error_system(error, "examine", run->destination.parent, errno);
	int64_t available = (int64_t)info.f_bavail * (int64_t)info.f_frsize + allocated_bytes(run);
	return needed <= available || error_disk_full(error, run->destination.parent, needed, available);
}

/* ---- writing and reading in place ---- */

bool file_write(int fd, const char *path, const void *from, int64_t bytes, int64_t offset, CmprtError *error)
{
	while (bytes > 0) {
		ssize_t count = pwrite(fd, from, (size_t)bytes, (off_t)offset);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return error_system(error, "write", path, count < 0 ? errno : ENOSPC);
		from = (const char *)from + count;
		bytes -= count;
		offset += count;
	}
	return true;
}

/* What lies together of a port's bytes. */
typedef struct Stretch {
	int64_t bytes, at; /* in its output's file */
	int fd;
} Stretch;

/* From `offset` on of what the job has for it, at most so many bytes. */
static Stretch find_stretch(const Run *run, const CmprtPort *port, int64_t offset, int64_t bytes)
{
	const CkLayout *layout = run->layout;
	Stretch found = {
		bytes, layout->tensor_offset[port->tensor] + port->offset, run->output_fds[layout->tensor_file[port->tensor]]};
	if (!port->turn_unit) {
		found.at += offset;
		return found;
	}
	int64_t unit = offset / port->turn_unit, inside = offset % port->turn_unit;
	int64_t first = unit - unit % (port->turn_slow * port->turn_fast);
	int64_t place = first + unit % port->turn_fast * port->turn_slow + (unit - first) / port->turn_fast;
	found.at += place * port->turn_unit + inside;
	if (bytes > port->turn_unit - inside)
		found.bytes = port->turn_unit - inside;
	return found;
}

bool output_write(Run *run, const CmprtPort *port, const void *from, int64_t bytes, int64_t offset, CmprtError *error)
{
	for (int64_t done = 0; done < bytes;) {
		Stretch to = find_stretch(run, port, offset + done, bytes - done);
		if (!file_write(to.fd, run->destination.path, (const char *)from + done, to.bytes, to.at, error))
			return false;
		done += to.bytes;
	}
	return true;
}

bool output_read(Run *run, const CmprtPort *port, void *to, int64_t bytes, int64_t offset, CmprtError *error)
{
	for (int64_t done = 0; done < bytes;) {
		Stretch from = find_stretch(run, port, offset + done, bytes - done);
		if (!file_read(from.fd, run->destination.partial, (char *)to + done, from.bytes, from.at, error))
			return false;
		done += from.bytes;
	}
	return true;
}

/* ---- laying out ---- */

/* A disk that cannot hold the file says so here, not after hours. */
static bool reserve(int fd, const char *path, int64_t bytes, CmprtError *error)
{
	if (bytes > 0 && fallocate(fd, 0, 0, (off_t)bytes) == 0)
		return true;
	bool is_unsupported = errno == EOPNOTSUPP || errno == ENOSYS;
	if (bytes > 0 && !is_unsupported)
		return error_system(error, "reserve the space of", path, errno);
	return ftruncate(fd, (off_t)bytes) == 0 || error_system(error, "reserve the space of", path, errno);
}

/* Tensors whose bytes the program holds: few and small, written with the head. */
static bool write_constants(Run *run, int64_t number, int fd, const char *path, CmprtError *error)
{
	for (int64_t i = 0; i < run->program->output_count; i++) {
		const CmprtOutput *output = &run->program->outputs[i];
		if (output->word_count && run->layout->tensor_file[i] == number &&
			!file_write(fd, path, output->words, output->bytes, run->layout->tensor_offset[i], error))
			return false;
	}
	return true;
}

static bool open_file(Run *run, int64_t number, bool is_new, CmprtError *error)
{
	const CkOutFile *file = &run->layout->files[number];
	char *path = output_path(run, number);
	if (!path)
		return error_out_of_memory(error);
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (is_new ? O_CREAT | O_EXCL : 0), 0666);
	run->output_fds[number] = fd;
	bool is_open = fd >= 0 || error_system(error, is_new ? "create" : "open", path, errno);
	is_open = is_open && (!is_new || reserve(fd, path, file->bytes, error)) &&
			  file_write(fd, path, file->head, file->head_bytes, 0, error) &&
			  write_constants(run, number, fd, path, error);
	free(path);
	return is_open;
}

static bool copy_file(int from, int to, const char *source, const char *path, CmprtError *error)
{
	char chunk[64 << 10];
	int64_t offset = 0;
	for (;;) {
		ssize_t count = pread(from, chunk, sizeof chunk, (off_t)offset);
		if (count < 0)
			return error_system(error, "read", source, errno);
		if (count == 0)
			return true;
		if (!file_write(to, path, chunk, count, offset, error))
			return false;
		offset += count;
	}
}

/* Side files are few and small: a resumed run writes them again. */
static bool write_side(Run *run, const CkSide *side, CmprtError *error)
{
	char *path = NULL;
	if (asprintf(&path, "%s/%s", run->destination.partial, side->name) < 0)
		return error_out_of_memory(error);
	int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
	int from = side->copy_from ? open(side->copy_from, O_RDONLY | O_CLOEXEC) : -1;
	bool is_written = to >= 0 || error_system(error, "create", path, errno);
	if (is_written && side->copy_from)
		is_written = (from >= 0 || error_system(error, "read", side->copy_from, errno)) &&
					 copy_file(from, to, side->copy_from, path, error);
	else if (is_written)
		is_written = file_write(to, path, side->text, side->bytes, 0, error);
	if (is_written && !run->options->no_sync && fsync(to) < 0)
		is_written = error_system(error, "write", path, errno);
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	free(path);
	return is_written;
}

/* What the journal vouches for must all be there, in full size. */
static bool is_complete(const Run *run)
{
	for (int64_t i = 0; i < run->layout->file_count; i++) {
		char *path = output_path(run, i);
		struct stat info;
		bool is_there =
			path && lstat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_size == run->layout->files[i].bytes;
		free(path);
		if (!is_there)
			return false;
	}
	return true;
}

bool output_open(Run *run, CmprtError *error)
{
	const CkLayout *layout = run->layout;
	if (journal_resumes(run->journal) && !is_complete(run))
		journal_forget(run);
	bool is_new = !journal_resumes(run->journal);
	if (is_new && !destination_clear(run, error))
		return false;
	if (is_new && run->destination.is_folder && mkdir(run->destination.partial, 0777) < 0)
		return error_system(error, "create", run->destination.partial, errno);
	for (int64_t i = 0; i < layout->file_count; i++)
		if (!open_file(run, i, is_new, error))
			return false;
	for (int64_t i = 0; i < layout->side_count; i++)
		if (!write_side(run, &layout->sides[i], error))
			return false;
	return true;
}

bool output_sync(Run *run, CmprtError *error)
{
	for (int64_t i = 0; i < run->layout->file_count; i++)
		if (fsync(run->output_fds[i]) < 0)
			return error_system(error, "write", run->destination.path, errno);
	return true;
}

void output_close(Run *run)
{
	for (int64_t i = 0; run->output_fds && i < run->layout->file_count; i++) {
		if (run->output_fds[i] >= 0)
			close(run->output_fds[i]);
		run->output_fds[i] = -1;
	}
}
