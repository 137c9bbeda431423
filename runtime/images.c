/* SPDX-License-Identifier: MIT
 *
 * images.c: labelled images to samples: two IDX files, as MNIST has them, one of
 * images [n, h, w] or [n, c, h, w], one of labels [n], unsigned bytes both. A sample
 * is an image, its token is its label. Every length that a file tells is checked
 * against what the file has before anything of it is used.
 */
#include "samples.h"

#include "run.h"

#include <stdlib.h>
#include <string.h>

static bool ends_in(const char *path, const char *suffix)
{
	size_t length = strlen(path), tail = strlen(suffix);
	return length > tail && strcmp(path + length - tail, suffix) == 0;
}

bool data_is_images(const CmprtData *data)
{
	return ends_in(data->path, "-ubyte") || ends_in(data->path, ".idx");
}

/* Two zeros, the type, the rank, then an extent of four bytes for each axis, high byte first. */
bool idx_read(const char *path, const char *bytes, int64_t count, Idx *to, CmprtError *error)
{
	enum { HEAD = 4, UNSIGNED_BYTE = 8 };
	const unsigned char *head = (const unsigned char *)bytes;
	*to = (Idx){.elements = 1};
	if (count >= 2 && head[0] == 0x1f && head[1] == 0x8b)
		return error_data_file(error, path, "is compressed: unpack it first, gzip -d");
	if (count < HEAD || head[0] || head[1])
		return error_data_file(error, path, "is no IDX file: those begin with two zeros, a type and a rank");
	if (head[2] != UNSIGNED_BYTE)
		return error_data_file(error, path, "holds other numbers than unsigned bytes, type 8");
	to->rank = head[3];
	to->begin = HEAD + 4 * to->rank;
	if (to->rank < 1 || to->rank > IDX_MAX_RANK)
		return error_data_file(error, path, "is of another rank than images, 3 or 4, and labels, 1");
	if (count < to->begin)
		return error_data_file(error, path, "ends inside its header");
	for (int64_t i = 0; i < to->rank; i++) {
		const unsigned char *at = head + HEAD + 4 * i;
		to->extents[i] = (int64_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
		if (__builtin_mul_overflow(to->elements, to->extents[i], &to->elements))
			return error_data_short(error, path, count);
	}
	if (to->elements > count - to->begin)
		return error_data_short(error, path, count);
	return to->elements == count - to->begin || error_data_file(error, path, "is longer than its header says");
}

/* Beside train-images-idx3-ubyte lies train-labels-idx1-ubyte. NULL: out of memory, or the name tells none. */
static char *path_of_labels(const CmprtData *data, CmprtError *error)
{
	if (*data->labels) {
		char *copy = strdup(data->labels);
		if (!copy)
			error_out_of_memory(error);
		return copy;
	}
	const char *slash = strrchr(data->path, '/'), *name = slash ? slash + 1 : data->path;
	const char *images = strstr(name, "images");
	char *path = images ? strdup(data->path) : NULL;
	if (!path) {
		if (images)
			error_out_of_memory(error);
		else
			error_data_file(
				error, data->path, "has no \"images\" in its name that could be \"labels\": say where they are");
		return NULL;
	}
	memcpy(path + (images - data->path), "labels", 6);
	char *rank = strstr(path + (images - data->path), "-idx");
	if (rank && (rank[4] == '3' || rank[4] == '4'))
		rank[4] = '1';
	return path;
}

static bool take_images(const Idx *idx, const char *path, const char *bytes, Samples *samples, CmprtError *error)
{
	int64_t size = 1;
	if (idx->rank < 3)
		return error_data_file(error, path, "holds no images: those are of rank 3 or 4");
	if (idx->extents[0] == 0)
		return error_data_file(error, path, "holds no image");
	samples->extents[0] = idx->rank == 3 ? 1 : idx->extents[1];
	samples->extents[1] = idx->extents[idx->rank - 2];
	samples->extents[2] = idx->extents[idx->rank - 1];
	for (int i = 0; i < 3; i++)
		if (samples->extents[i] < 1 || (size *= samples->extents[i]) > INT32_MAX / 8)
			return error_data_file(error, path, "has images of no size, or of too large a one");
	samples->count = samples->token_count = idx->extents[0];
	samples->longest = 1;
	samples->pixels = malloc((size_t)idx->elements + 1);
	if (!samples->pixels)
		return error_out_of_memory(error);
	memcpy(samples->pixels, bytes + idx->begin, (size_t)idx->elements);
	return true;
}

static bool take_labels(const Idx *idx, const char *path, const char *bytes, Samples *samples, CmprtError *error)
{
	if (idx->rank != 1)
		return error_data_file(error, path, "holds no labels: those are of rank 1");
	if (idx->extents[0] != samples->count)
		return error_data_labels(error, path, idx->extents[0], samples->count);
	samples->token = malloc(sizeof *samples->token * (size_t)(samples->count + 1));
	samples->first = malloc(sizeof *samples->first * (size_t)(samples->count + 1));
	if (!samples->token || !samples->first)
		return error_out_of_memory(error);
	for (int64_t i = 0; i <= samples->count; i++)
		samples->first[i] = i;
	for (int64_t i = 0; i < samples->count; i++)
		samples->token[i] = (unsigned char)bytes[idx->begin + i];
	return true;
}

typedef bool Take(const Idx *idx, const char *path, const char *bytes, Samples *samples, CmprtError *error);

static bool read_idx(const char *path, Take *take, Samples *samples, CmprtError *error)
{
	Idx idx;
	char *bytes;
	int64_t count;
	bool is_read = data_read_file(path, &bytes, &count, error) && idx_read(path, bytes, count, &idx, error) &&
				   take(&idx, path, bytes, samples, error);
	free(bytes);
	return is_read;
}

bool samples_of_images(const CmprtData *data, Samples *samples, CmprtError *error)
{
	char *labels = path_of_labels(data, error);
	bool is_read =
		labels && read_idx(data->path, take_images, samples, error) && read_idx(labels, take_labels, samples, error);
	free(labels);
	if (is_read && data->samples > 0 && data->seed < 0 && samples->count > data->samples)
		samples->count = samples->token_count = data->samples;
	return is_read;
}
