/* SPDX-License-Identifier: MIT
 *
 * fuzz_imatrix.c: any bytes as an imatrix.dat: opened or refused in one line.
 */
#include "fuzz_formats.h"

#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	char path[64];
	if (fd < 0)
		fd = memfd_create("checkpoint", 0);
	fill_file(fd, data, size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	checkpoint_close(open_or_refuse("imatrix", path));
	return 0;
}
