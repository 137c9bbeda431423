/* SPDX-License-Identifier: MIT
 *
 * pictures.c: a folder of labelled pictures to samples. Its folders are the classes, in
 * the order of their names, and the PNG and JPEG files in each its pictures, in the order
 * of theirs; other files are none. All are of one size. Pictures are gray if all are;
 * else all have three colors. A file with anything wrong in it, to its last byte, is
 * refused in one line. Built where configure finds libpng and libjpeg.
 */
#include "samples.h"

#include "run.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <jpeglib.h>
#include <png.h>

enum { COLORS = 3, MAX_SCANS = 100 };

/* Room for the pixels, rows of 1 or 3 together. False: reported. */
static bool make_room(Picture *to, int64_t channels, int64_t height, int64_t width, const char *path, CmprtError *error)
{
	*to = (Picture){.channels = channels, .height = height, .width = width};
	if (height < 1 || width < 1 || height > PICTURE_MAX_PIXELS / width)
		return error_data_file(error, path, "is of no size, or of too large a one");
	to->at = malloc((size_t)(channels * height * width));
	return to->at || error_out_of_memory(error);
}

/* ---- PNG ---- */

typedef struct PngReader {
	png_structp png;
	png_infop info;
	const char *path, *bytes;
	size_t left; /* of the bytes */
	Picture *to;
	CmprtError *error;
} PngReader;

/* Does not come back. */
static void png_fail(png_structp png, png_const_charp what)
{
	PngReader *r = png_get_error_ptr(png);
	error_data_picture(r->error, r->path, "PNG", what);
	png_longjmp(png, 1);
}

static void png_say_nothing(png_structp png, png_const_charp what)
{
	(void)png, (void)what;
}

static void png_take(png_structp png, png_bytep to, size_t count)
{
	PngReader *r = png_get_io_ptr(png);
	if (count > r->left)
		png_error(png, "it ends early");
	memcpy(to, r->bytes, count);
	r->bytes += count;
	r->left -= count;
}

/* Eight bits a color, the file's own numbers: no gamma, no transparency. */
static bool png_decode(PngReader *r)
{
	if (setjmp(png_jmpbuf(r->png)))
		return false;
	png_set_read_fn(r->png, r, png_take);
	png_read_info(r->png, r->info);
	png_set_scale_16(r->png);
	if (png_get_color_type(r->png, r->info) == PNG_COLOR_TYPE_PALETTE)
		png_set_palette_to_rgb(r->png);
	else if (png_get_bit_depth(r->png, r->info) < 8)
		png_set_expand_gray_1_2_4_to_8(r->png);
	png_set_strip_alpha(r->png);
	int passes = png_set_interlace_handling(r->png);
	png_read_update_info(r->png, r->info);
	int64_t height = png_get_image_height(r->png, r->info), width = png_get_image_width(r->png, r->info);
	int64_t channels = png_get_channels(r->png, r->info);
	if (!make_room(r->to, channels, height, width, r->path, r->error))
		return false;
	for (int pass = 0; pass < passes; pass++)
		for (int64_t row = 0; row < height; row++)
			png_read_row(r->png, r->to->at + row * width * channels, NULL);
	png_read_end(r->png, NULL);
	return true;
}

static bool png_open(PngReader *r)
{
	r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, png_fail, png_say_nothing);
	r->info = r->png ? png_create_info_struct(r->png) : NULL;
	bool is_done = r->info ? png_decode(r) : error_out_of_memory(r->error);
	png_destroy_read_struct(&r->png, &r->info, NULL);
	return is_done;
}

/* ---- JPEG ---- */

typedef struct JpegReader {
	struct jpeg_error_mgr manager; /* first: the library's pointer to it is one to the reader */
	struct jpeg_progress_mgr progress;
	struct jpeg_decompress_struct jpeg;
	jmp_buf jump;
	const char *path;
	Picture *to;
	CmprtError *error;
} JpegReader;

/* Does not come back. */
static void jpeg_fail(j_common_ptr jpeg)
{
	JpegReader *r = (JpegReader *)jpeg->err;
	char what[JMSG_LENGTH_MAX];
	r->manager.format_message(jpeg, what);
	error_data_picture(r->error, r->path, "JPEG", what);
	longjmp(r->jump, 1);
}

/* What the library would fill in, such as the end of a file that is cut off, is wrong too. */
static void jpeg_message(j_common_ptr jpeg, int level)
{
	if (level < 0)
		jpeg_fail(jpeg);
}

/* Scans may be many, and each costs as much as the picture has pixels. */
static void jpeg_watch(j_common_ptr jpeg)
{
	JpegReader *r = (JpegReader *)jpeg->err;
	if (r->jpeg.input_scan_number <= MAX_SCANS)
		return;
	error_data_picture(r->error, r->path, "JPEG", "it has too many scans");
	longjmp(r->jump, 1);
}

static bool jpeg_decode(JpegReader *r, const char *bytes, int64_t count)
{
	struct jpeg_decompress_struct *jpeg = &r->jpeg;
	if (setjmp(r->jump))
		return false;
	jpeg_create_decompress(jpeg);
	jpeg->progress = &r->progress;
	jpeg_mem_src(jpeg, (const unsigned char *)bytes, (unsigned long)count);
	jpeg_read_header(jpeg, TRUE);
	jpeg->out_color_space = jpeg->jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
	jpeg->dct_method = JDCT_ISLOW;
	int64_t channels = jpeg->out_color_space == JCS_RGB ? COLORS : 1, width = jpeg->image_width;
	if (!make_room(r->to, channels, jpeg->image_height, width, r->path, r->error))
		return false;
	jpeg_start_decompress(jpeg);
	while (jpeg->output_scanline < jpeg->output_height) {
		unsigned char *row = r->to->at + jpeg->output_scanline * width * channels;
		jpeg_read_scanlines(jpeg, &row, 1);
	}
	jpeg_finish_decompress(jpeg);
	return true;
}

static bool jpeg_open(JpegReader *r, const char *bytes, int64_t count)
{
	r->jpeg.err = jpeg_std_error(&r->manager);
	r->manager.error_exit = jpeg_fail;
	r->manager.emit_message = jpeg_message;
	r->progress.progress_monitor = jpeg_watch;
	bool is_done = jpeg_decode(r, bytes, count);
	jpeg_destroy_decompress(&r->jpeg);
	return is_done;
}

bool picture_read(const char *path, const char *bytes, int64_t count, Picture *to, CmprtError *error)
{
	bool is_done;
	*to = (Picture){0};
	if (count >= 3 && !memcmp(bytes, "\xff\xd8\xff", 3)) {
		JpegReader r = {.path = path, .to = to, .error = error};
		is_done = jpeg_open(&r, bytes, count);
	} else if (count >= 8 && !memcmp(bytes, "\x89PNG\r\n\x1a\n", 8)) {
		PngReader r = {.path = path, .bytes = bytes, .left = (size_t)count, .to = to, .error = error};
		is_done = png_open(&r);
	} else {
		is_done = error_data_file(error, path, "is neither a PNG nor a JPEG picture");
	}
	if (!is_done)
		picture_free(to);
	return is_done;
}

void picture_free(Picture *picture)
{
	free(picture->at);
	*picture = (Picture){0};
}

/* ---- samples ---- */

typedef struct Gatherer {
	const CmprtData *data;
	Samples *samples;
	int64_t capacity;  /* of samples, in pictures */
	const char *first; /* the picture that says of what size all are */
	CmprtError *error;
} Gatherer;

/* Of the samples, and of each channel. */
static int64_t plane_size(const Samples *samples)
{
	return samples->extents[1] * samples->extents[2];
}

static bool grow(Gatherer *g, int64_t capacity, int64_t channels)
{
	Samples *s = g->samples;
	int64_t bytes;
	if (__builtin_mul_overflow(capacity, channels * plane_size(s), &bytes))
		return error_out_of_memory(g->error);
	unsigned char *pixels = realloc(s->pixels, (size_t)bytes);
	s->pixels = pixels ? pixels : s->pixels;
	int32_t *token = realloc(s->token, sizeof *token * (size_t)capacity);
	s->token = token ? token : s->token;
	g->capacity = capacity;
	return (pixels && token) || error_out_of_memory(g->error);
}

/* Gray ones, before a picture with colors came. */
static bool give_colors(Gatherer *g)
{
	Samples *s = g->samples;
	int64_t size = plane_size(s);
	if (!grow(g, g->capacity, COLORS))
		return false;
	for (int64_t i = s->count - 1; i >= 0; i--)
		for (int64_t c = COLORS - 1; c >= 0; c--)
			memmove(s->pixels + (i * COLORS + c) * size, s->pixels + i * size, (size_t)size);
	s->extents[0] = COLORS;
	return true;
}

static bool take_size(Gatherer *g, const Picture *picture, const char *path)
{
	Samples *s = g->samples;
	if (!g->first) {
		memcpy(s->extents, (int64_t[]){picture->channels, picture->height, picture->width}, sizeof s->extents);
		g->first = strdup(path);
		return (g->first || error_out_of_memory(g->error)) && grow(g, 1, picture->channels);
	}
	if (picture->height != s->extents[1] || picture->width != s->extents[2])
		return error_data_sizes(
			g->error, path, picture->width, picture->height, g->first, s->extents[2], s->extents[1]);
	if (picture->channels > s->extents[0] && !give_colors(g))
		return false;
	return s->count < g->capacity || grow(g, 2 * g->capacity, s->extents[0]);
}

static bool add_picture(Gatherer *g, const char *path, int32_t label)
{
	Samples *s = g->samples;
	Picture picture = {0};
	char *bytes;
	int64_t count;
	bool is_done = data_read_file(path, &bytes, &count, g->error) &&
				   picture_read(path, bytes, count, &picture, g->error) && take_size(g, &picture, path);
	free(bytes);
	int64_t size = is_done ? plane_size(s) : 0, channels = s->extents[0];
	for (int64_t i = 0; i < size; i++)
		for (int64_t c = 0; c < channels; c++)
			s->pixels[(s->count * channels + c) * size + i] =
				picture.at[i * picture.channels + (picture.channels == COLORS ? c : 0)];
	if (is_done)
		s->token[s->count++] = label;
	picture_free(&picture);
	return is_done;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_seen(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static bool is_picture(const char *name)
{
	const char *dot = strrchr(name, '.');
	return dot && (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
}

/* What is done with an entry of a folder. */
typedef bool Visit(Gatherer *g, const char *path, const char *name, int32_t *label);

static bool visit_all(Gatherer *g, const char *folder, int32_t *label, Visit *visit)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, is_seen, by_name);
	if (count < 0)
		return error_system(g->error, "read", folder, errno);
	bool is_done = true;
	for (int i = 0; i < count; i++) {
		char *path = NULL;
		if (is_done && asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0)
			is_done = error_out_of_memory(g->error);
		is_done = is_done && visit(g, path, entries[i]->d_name, label);
		free(path);
		free(entries[i]);
	}
	free(entries);
	return is_done;
}

static bool visit_picture(Gatherer *g, const char *path, const char *name, int32_t *label)
{
	bool is_enough = g->data->samples > 0 && g->data->seed < 0 && g->samples->count == g->data->samples;
	return is_enough || !is_picture(name) || add_picture(g, path, *label);
}

static bool visit_class(Gatherer *g, const char *path, const char *name, int32_t *label)
{
	struct stat status;
	(void)name;
	if (stat(path, &status) != 0)
		return error_system(g->error, "read", path, errno);
	if (!S_ISDIR(status.st_mode))
		return true;
	bool is_done = visit_all(g, path, label, visit_picture);
	++*label;
	return is_done;
}

bool samples_of_pictures(const CmprtData *data, Samples *samples, CmprtError *error)
{
	Gatherer g = {.data = data, .samples = samples, .error = error};
	int32_t classes = 0;
	if (*data->labels)
		return error_data_file(error, data->path, "is a folder: its folders are the labels");
	bool is_done = visit_all(&g, data->path, &classes, visit_class);
	free((char *)(uintptr_t)g.first);
	if (is_done && samples->count == 0)
		is_done = error_data_file(error, data->path,
			classes ? "has no pictures in its folders, .png and .jpg"
					: "has no folders, one for each class of pictures");
	samples->first = is_done ? malloc(sizeof *samples->first * (size_t)(samples->count + 1)) : NULL;
	if (is_done && !samples->first)
		is_done = error_out_of_memory(error);
	for (int64_t i = 0; is_done && i <= samples->count; i++)
		samples->first[i] = i;
	samples->token_count = samples->count;
	samples->longest = 1;
	return is_done;
}
