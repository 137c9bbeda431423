/* SPDX-License-Identifier: MIT
 *
 * fuzz_safetensors.c: any bytes as a safetensors file, and as the JSON of one
 * whose length is right: opened or refused in one line.
 */
#include "fuzz_formats.h"

#include <sys/mman.h>

enum { DATA_BYTES = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	char path[64];
	if (fd < 0)
		fd = memfd_create("checkpoint", 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	fill_file(fd, data, size);
	open_and_check("safetensors", path, false);

	uint8_t *wrapped = calloc(1, 8 + size + DATA_BYTES);
	for (int i = 0; i < 8; i++)
		wrapped[i] = (uint8_t)((uint64_t)size >> (8 * i));
	if (size)
		memcpy(wrapped + 8, data, size);
	fill_file(fd, wrapped, 8 + size + DATA_BYTES);
	free(wrapped);
	open_and_check("safetensors", path, false);
	return 0;
}
