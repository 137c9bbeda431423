/* SPDX-License-Identifier: MIT
 *
 * fuzz_idx.c: any bytes as an IDX file: its header is taken or refused in one line,
 * and what it says of the elements is in the file.
 */
#include "samples.h"

#include <stdlib.h>
#include <string.h>

static void hold(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CmprtError error = {""};
	Idx idx;
	if (!idx_read("images-ubyte", (const char *)data, (int64_t)size, &idx, &error)) {
		hold(*error.text && !strchr(error.text, '\n'));
		return 0;
	}
	int64_t elements = 1;
	hold(idx.rank >= 1 && idx.rank <= IDX_MAX_RANK);
	for (int64_t i = 0; i < idx.rank; i++) {
		hold(idx.extents[i] >= 0);
		elements *= idx.extents[i];
	}
	hold(elements == idx.elements && idx.begin >= 0 && idx.begin + elements == (int64_t)size);
	return 0;
}
