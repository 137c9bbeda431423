/* SPDX-License-Identifier: MIT
 *
 * file.c: reading files by pread. Nothing is mapped: mapped pages would count as
 * resident, and a file that shrinks under us must be an error, not a signal.
 */
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_open(const char *path, int64_t *bytes, CmprtError *error)
{
	/* O_NONBLOCK: a FIFO must not hang before it is refused */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		error_set(error, path, "could not open: %s", strerror(errno));
		return -1;
	}
	struct stat status;
	if (fstat(fd, &status) < 0) {
		error_set(error, path, "could not read its size: %s", strerror(errno));
	} else if (!S_ISREG(status.st_mode)) {
		error_set(error, path, "is not a regular file");
	} else {
		*bytes = status.st_size;
		return fd;
	}
	close(fd);
	return -1;
}

bool file_read(int fd, const char *path, void *to, int64_t bytes, int64_t offset, CmprtError *error)
{
	for (int64_t done = 0; done < bytes;) {
		ssize_t got = pread(fd, (char *)to + done, (size_t)(bytes - done), offset + done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set(error, path, "could not read %lld bytes at byte %lld: %s", (long long)(bytes - done),
				(long long)(offset + done), strerror(errno));
		if (got == 0)
			return error_set(error, path, "ends at byte %lld, expected %lld bytes at byte %lld",
				(long long)(offset + done), (long long)bytes, (long long)offset);
		done += got;
	}
	return true;
}

char *file_text(Pool *pool, const char *path, int64_t limit, int64_t *bytes, CmprtError *error)
{
	int fd = file_open(path, bytes, error);
	if (fd < 0)
		return NULL;
	char *text = NULL;
	if (*bytes > limit) {
		error_set(
			error, path, "has %lld bytes, the limit for such a file is %lld", (long long)*bytes, (long long)limit);
	} else {
		text = pool_alloc(pool, (size_t)*bytes + 1);
		if (!file_read(fd, path, text, *bytes, 0, error))
			text = NULL;
	}
	close(fd);
	return text;
}

bool file_is_there(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0;
}

bool path_is_folder(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}
