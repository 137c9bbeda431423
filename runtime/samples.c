/* SPDX-License-Identifier: MIT
 *
 * samples.c: files of tokens to samples. A file is rows of tokens: of a NumPy array
 * of two axes its rows, each up to the first negative number; of one axis, and of a
 * bare file of numbers, one row. Rows longer than the window are cut into windows,
 * one after the other; what is left at a row's end is a sample of its own, unless it
 * is one token, after which nothing can be predicted. Of more samples than are
 * wanted the first are taken, or those that a seed chooses.
 */
#include "samples.h"

#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Numbers of a file as they lie in it. */
typedef struct Table {
	char *bytes;
	int64_t rows, columns, width; /* width: bytes of a number */
	bool is_signed;
} Table;

/* ---- reading ---- */

bool data_read_file(const char *path, char **bytes, int64_t *count, CmprtError *error)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool is_read = fd >= 0 && fstat(fd, &status) == 0;
	if (!is_read)
		error_system(error, "read", path, errno);
	*count = is_read ? status.st_size : 0;
	*bytes = is_read ? malloc((size_t)*count + 1) : NULL;
	if (is_read && !*bytes)
		is_read = error_out_of_memory(error);
	is_read = is_read && file_read(fd, path, *bytes, *count, 0, error);
	if (is_read)
		(*bytes)[*count] = 0;
	if (fd >= 0)
		close(fd);
	return is_read;
}

/* What stands behind 'key': in the header of a NumPy file. */
static const char *npy_value(const char *header, const char *key)
{
	const char *at = strstr(header, key);
	at = at ? strchr(at, ':') : NULL;
	return at ? at + 1 + strspn(at + 1, " ") : NULL;
}

static bool npy_shape(const char *at, Table *table)
{
	int64_t extent[3];
	int rank = 0;
	if (!at || *at++ != '(')
		return false;
	while (rank < 3) {
		char *end;
		at += strspn(at, " ");
		errno = 0;
		long long value = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : -1;
		if (value < 0 || errno)
			break;
		extent[rank++] = value;
		at = end + strspn(end, " ");
		if (*at != ',')
			break;
		at++;
	}
	table->rows = rank == 2 ? extent[0] : 1;
	table->columns = rank == 2 ? extent[1] : extent[0];
	return *at == ')' && (rank == 1 || rank == 2);
}

/* Sets the table's fields; gives where the numbers begin, -1: the file is none. */
static int64_t npy_open(const char *bytes, int64_t count, Table *table)
{
	if (count < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0 || bytes[6] < 1 || bytes[6] > 3)
		return -1;
	const unsigned char *size = (const unsigned char *)bytes + 8;
	bool is_short = bytes[6] == 1;
	int64_t begin = is_short ? 10 : 12;
	int64_t length = size[0] | size[1] << 8 | (is_short ? 0 : (int64_t)size[2] << 16 | (int64_t)size[3] << 24);
	char *header = begin + length <= count ? strndup(bytes + begin, (size_t)length) : NULL;
	if (!header)
		return -1;
	const char *type = npy_value(header, "'descr'"), *order = npy_value(header, "'fortran_order'");
	bool is_known = type && *type == '\'' && (type[1] == '<' || type[1] == '|') && (type[2] == 'i' || type[2] == 'u') &&
					type[3] && strchr("1248", type[3]) && type[4] == '\'' && order && strncmp(order, "False", 5) == 0 &&
					npy_shape(npy_value(header, "'shape'"), table);
	if (is_known) {
		table->width = type[3] - '0';
		table->is_signed = type[2] == 'i';
	}
	free(header);
	return is_known ? begin + length : -1;
}

static const struct {
	const char *suffix;
	int64_t width;
	bool is_signed;
} bare_files[] = {
	{".i32", 4, true},
	{".u16", 2, false},
};

static bool has_suffix(const char *path, const char *suffix)
{
	size_t length = strlen(path), tail = strlen(suffix);
	return length > tail && strcmp(path + length - tail, suffix) == 0;
}

/* The table's fields, by the file's suffix; gives where the numbers begin, -1: reported. */
static int64_t find_numbers(const char *path, const char *bytes, int64_t count, Table *table, CmprtError *error)
{
	for (size_t i = 0; i < sizeof bare_files / sizeof *bare_files; i++)
		if (has_suffix(path, bare_files[i].suffix)) {
			*table = (Table){NULL, 1, count / bare_files[i].width, bare_files[i].width, bare_files[i].is_signed};
			return 0;
		}
	if (!has_suffix(path, ".npy")) {
		error_data_kind(error, path);
		return -1;
	}
	int64_t begin = npy_open(bytes, count, table);
	if (begin < 0)
		error_data_array(error, path);
	else if (table->columns == 0)
		table->rows = 0; /* as many empty ones as the header likes to say */
	else if (table->rows > (count - begin) / table->width / table->columns)
		begin = error_data_short(error, path, count) ? 0 : -1;
	return begin;
}

/* ---- rows to samples ---- */

static int64_t number_at(const Table *table, int64_t at)
{
	uint64_t bits = 0;
	memcpy(&bits, table->bytes + at * table->width, (size_t)table->width);
	int64_t spare = 64 - 8 * table->width;
	return table->is_signed ? (int64_t)(bits << spare) >> spare : (int64_t)(bits & (UINT64_MAX >> spare));
}

static bool add_row(const Table *table, int64_t row, const CmprtData *data, Samples *samples, CmprtError *error)
{
	int64_t end = 0, begin = row * table->columns;
	for (; end < table->columns && number_at(table, begin + end) >= 0; end++) {
		int64_t token = number_at(table, begin + end);
		if (token > INT32_MAX)
			return error_data_token(error, data->path, token, begin + end);
		samples->token[samples->token_count + end] = (int32_t)token;
	}
	int64_t window = data->window > 0 ? data->window : end;
	int64_t most = data->samples > 0 && data->seed < 0 ? data->samples : INT64_MAX;
	for (int64_t at = 0; at < end && samples->count < most; at += window) {
		int64_t length = end - at < window ? end - at : window;
		if (length < 2)
			break;
		samples->first[samples->count + 1] = samples->token_count += length;
		samples->count++;
		samples->longest = length > samples->longest ? length : samples->longest;
	}
	return true;
}

static bool samples_of_tokens(const CmprtData *data, Samples *samples, CmprtError *error)
{
	Table table = {0};
	int64_t count;
	char *bytes;
	bool is_read = data_read_file(data->path, &bytes, &count, error);
	int64_t begin = is_read ? find_numbers(data->path, bytes, count, &table, error) : -1;
	is_read = begin >= 0;
	if (is_read) {
		int64_t numbers = table.rows * table.columns;
		table.bytes = bytes + begin;
		samples->token = malloc(sizeof *samples->token * (size_t)(numbers + 1));
		samples->first = calloc((size_t)numbers + 2, sizeof *samples->first);
		is_read = (samples->token && samples->first) || error_out_of_memory(error);
	}
	for (int64_t row = 0; is_read && row < table.rows; row++)
		is_read = add_row(&table, row, data, samples, error);
	free(bytes);
	return is_read;
}

/* ---- which of them ---- */

static int64_t image_size(const Samples *samples)
{
	return samples->extents[0] * samples->extents[1] * samples->extents[2];
}

/* As many as are wanted, each set of them as likely as any other, in the order they have. */
static void choose(Samples *samples, int64_t wanted, uint64_t state)
{
	int64_t chosen = 0, tokens = 0, longest = 0, count = samples->count, size = image_size(samples);
	for (int64_t i = 0; i < count && chosen < wanted; i++) {
		state += 0x9e3779b97f4a7c15u; /* splitmix64 */
		uint64_t random = (state ^ state >> 30) * 0xbf58476d1ce4e5b9u;
		random = (random ^ random >> 27) * 0x94d049bb133111ebu;
		random ^= random >> 31;
		if ((int64_t)(random % (uint64_t)(count - i)) >= wanted - chosen)
			continue;
		int64_t begin = samples->first[i], length = samples->first[i + 1] - begin;
		memmove(samples->token + tokens, samples->token + begin, sizeof *samples->token * (size_t)length);
		if (size)
			memmove(samples->pixels + chosen * size, samples->pixels + i * size, (size_t)size);
		if (samples->predicted)
			samples->predicted[chosen] = samples->predicted[i];
		samples->first[chosen++] = tokens;
		tokens += length;
		longest = length > longest ? length : longest;
	}
	samples->first[chosen] = tokens;
	samples->count = chosen;
	samples->token_count = tokens;
	samples->longest = longest;
}

bool data_is_pictures(const CmprtData *data)
{
	struct stat status;
	return stat(data->path, &status) == 0 && S_ISDIR(status.st_mode);
}

static const struct {
	const char *name, *suffix;
} texts[] = {
#define TEXT(kind, suffix) {#kind, suffix},
#include "texts.def"
#undef TEXT
};

int text_kind_find(const char *name)
{
	for (int i = 0; i < TEXT_COUNT; i++)
		if (strcmp(texts[i].name, name) == 0)
			return i;
	return -1;
}

const char *text_kind_name(int kind)
{
	return texts[kind].name;
}

int data_text_kind(const CmprtData *data)
{
	if (data->text >= 0)
		return (int)data->text;
	for (int i = 0; i < TEXT_COUNT; i++)
		if (has_suffix(data->path, texts[i].suffix))
			return i;
	return -1;
}

bool data_is_text(const CmprtData *data)
{
	return data_text_kind(data) >= 0;
}

bool samples_open(const CmprtData *data, const Checkpoint *model, Samples *samples, CmprtError *error)
{
	bool is_text = samples_of_text && data_is_text(data), is_images = data_is_images(data);
	bool are_pictures = data_is_pictures(data);
	*samples = (Samples){0};
	if (are_pictures && !samples_of_pictures)
		return error_data_no_pictures(error, data->path);
	if (!is_images && !are_pictures && *data->labels)
		return error_data_no_labels(error, data->path);
	if (!is_text && (data->per_line || *data->tokenizer))
		return error_data_no_lines(error, data->path);
	bool is_read = is_text        ? samples_of_text(data, model, samples, error)
				   : are_pictures ? samples_of_pictures(data, samples, error)
				   : is_images    ? samples_of_images(data, samples, error)
								  : samples_of_tokens(data, samples, error);
	if (is_read && samples->count == 0)
		is_read = error_data_empty(error, data->path);
	if (is_read && data->seed >= 0 && data->samples > 0)
		choose(samples, data->samples, (uint64_t)data->seed);
	if (!is_read)
		samples_close(samples);
	return is_read;
}

void samples_close(Samples *samples)
{
	free(samples->token);
	free(samples->first);
	free(samples->predicted);
	free(samples->pixels);
	*samples = (Samples){0};
}

/* ---- what they give ---- */

int64_t samples_length(const Samples *samples, int64_t number)
{
	return samples->first[number + 1] - samples->first[number];
}

void samples_fill(const Samples *samples, int64_t number, Given given, int32_t *to)
{
	int64_t length = samples_length(samples, number), size = image_size(samples);
	int64_t shift = given == GIVEN_next, unasked = samples->predicted ? samples->predicted[number] - 1 : 0;
	const int32_t *from = samples->token + samples->first[number];
	for (int64_t i = 0; given == GIVEN_image && i < size; i++)
		to[i] = samples->pixels[number * size + i];
	if (given == GIVEN_image)
		return;
	memcpy(to, from + shift, sizeof *to * (size_t)(length - shift));
	for (int64_t t = 0; shift && t < unasked; t++)
		to[t] = -1;
	if (shift)
		to[length - 1] = -1;
}

static const struct {
	const char *name;
	int rank;
	bool is_of_images;
} given_arrays[] = {
#define GIVEN(name, axes, is_of_images, help) {#name, axes, is_of_images},
#include "samples.def"
#undef GIVEN
};

int given_find(const char *name)
{
	for (int i = 0; i < GIVEN_COUNT; i++)
		if (strcmp(given_arrays[i].name, name) == 0)
			return i;
	return -1;
}

const char *given_name(int row)
{
	return given_arrays[row].name;
}

int given_rank(int row)
{
	return given_arrays[row].rank;
}

bool given_of_images(int row)
{
	return given_arrays[row].is_of_images;
}
