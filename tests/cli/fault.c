/* SPDX-License-Identifier: MIT
 *
 * fault.c: loaded before the C library, makes one system call fail. FAULT=CALL:ERRNO:NUMBER: calls of CALL from the
 * NUMBERth on fail with ERRNO; of pread and pwrite only those of 4096 bytes or more count, which are of weights.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static bool fails(const char *call)
{
	static int count;
	const char *fault = getenv("FAULT");
	size_t length = strlen(call);
	int code, number;
	if (!fault || strncmp(fault, call, length) != 0 || sscanf(fault + length, ":%d:%d", &code, &number) != 2)
		return false;
	if (__atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST) < number)
		return false;
	errno = code;
	return true;
}

#define CALL(type, name, parameters, arguments, is_counted)                                                            \
	type name parameters                                                                                               \
	{                                                                                                                  \
		type(*real) parameters;                                                                                        \
		*(void **)&real = dlsym(RTLD_NEXT, #name);                                                                     \
		return (is_counted) && fails(#name) ? (type)-1 : real arguments;                                               \
	}

CALL(ssize_t, pread, (int fd, void *to, size_t bytes, off_t offset), (fd, to, bytes, offset), bytes >= 4096)
CALL(ssize_t, pwrite, (int fd, const void *from, size_t bytes, off_t offset), (fd, from, bytes, offset), bytes >= 4096)
CALL(int, fsync, (int fd), (fd), true)
CALL(int, fallocate, (int fd, int mode, off_t offset, off_t bytes), (fd, mode, offset, bytes), true)
CALL(int, rename, (const char *from, const char *to), (from, to), true)
CALL(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags), true)
