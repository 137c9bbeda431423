/* SPDX-License-Identifier: MIT
 *
 * fuzz_pictures.c: any bytes as a PNG or JPEG picture: its pixels are read or it is
 * refused in one line.
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
	Picture picture;
	if (!picture_read) /* built without the libraries */
		return 0;
	if (!picture_read("picture", (const char *)data, (int64_t)size, &picture, &error)) {
		hold(*error.text && !strchr(error.text, '\n') && !picture.at);
		return 0;
	}
	hold(picture.channels == 1 || picture.channels == 3);
	uint64_t sum = 0; /* every pixel is there */
	for (int64_t i = 0; i < picture.channels * picture.height * picture.width; i++)
		sum += picture.at[i];
	hold(sum <= 255ul * (uint64_t)(picture.channels * picture.height * picture.width));
	picture_free(&picture);
	return 0;
}
