/* SPDX-License-Identifier: MIT
 *
 * samples.h: data sets as samples of tokens, for the compiler (how long are they?)
 * and for executables. A reader turns a file into rows of tokens; what else is a
 * source of tokens, a text and its tokenizer, is another reader. An image is a sample
 * with one token, its label.
 */
#ifndef CMPRT_SAMPLES_H
#define CMPRT_SAMPLES_H

#include "format.h"

typedef enum Given {
#define GIVEN(name, axes, is_of_images, help) GIVEN_##name,
#include "samples.def"
#undef GIVEN
	GIVEN_COUNT
} Given;

typedef enum TextKind {
#define TEXT(kind, suffix) TEXT_##kind,
#include "texts.def"
#undef TEXT
	TEXT_COUNT
} TextKind;

typedef struct Samples {
	int64_t count, longest, token_count;
	int64_t vocabulary; /* tokens that the text's tokenizer has; 0: tokens were read from a file */
	int64_t *first;     /* (count + 1): of each sample in token */
	int32_t *token;     /* of images: the label of each */
	int64_t *predicted; /* (count): the first token of each that is to be predicted; NULL: the second */
	int64_t extents[3]; /* of an image: channels, rows, columns; 0: they are tokens */
	unsigned char *pixels;
} Samples;

/* What the header of an IDX file says; all of the file's elements behind `begin` are there. */
enum { IDX_MAX_RANK = 4 };
typedef struct Idx {
	int64_t rank, extents[IDX_MAX_RANK], elements, begin;
} Idx;

bool data_is_text(const CmprtData *data);
int data_text_kind(const CmprtData *data); /* a TextKind; -1: they are no text */
int text_kind_find(const char *name);      /* -1: there is none */
const char *text_kind_name(int kind);
/* *bytes is the caller's to free, whether it was read or not; a zero stands behind them. */
bool data_read_file(const char *path, char **bytes, int64_t *count, CmprtError *error);
/* images.c */
bool data_is_images(const CmprtData *data);
bool idx_read(const char *path, const char *bytes, int64_t count, Idx *to, CmprtError *error);
bool samples_of_images(const CmprtData *data, Samples *samples, CmprtError *error);
/* pictures.c, weak as samples_of_text is, for the libraries that it needs; close what it made, whether it failed or not
 */
bool data_is_pictures(const CmprtData *data);
__attribute__((weak)) bool samples_of_pictures(const CmprtData *data, Samples *samples, CmprtError *error);

enum { PICTURE_MAX_PIXELS = 1 << 26 };
typedef struct Picture {
	int64_t channels, height, width; /* 1 or 3 channels */
	unsigned char *at;               /* (height, width, channels); takes */
} Picture;
__attribute__((weak)) bool picture_read(
	const char *path, const char *bytes, int64_t count, Picture *to, CmprtError *error);
__attribute__((weak)) void picture_free(Picture *picture);
/* model: whose tokenizer reads text. */
bool samples_open(const CmprtData *data, const Checkpoint *model, Samples *samples, CmprtError *error);
/* text/text_samples.c; close what it made, whether it failed or not. Weak: an executable whose data are no text is
 * linked without it, and without the library of patterns that tokenizers need. */
__attribute__((weak)) bool samples_of_text(
	const CmprtData *data, const Checkpoint *model, Samples *samples, CmprtError *error);
void samples_close(Samples *samples);
int64_t samples_length(const Samples *samples, int64_t number);
void samples_fill(const Samples *samples, int64_t number, Given given, int32_t *to);
int given_find(const char *name); /* its row; -1: there is none */
const char *given_name(int row);
int given_rank(int row);
bool given_of_images(int row);

#endif
