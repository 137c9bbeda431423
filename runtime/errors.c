/* SPDX-License-Identifier: MIT
 *
 * errors.c: the wording of every failure of the run loop, one function each. A
 * message is one line, lower case, without a full stop: which file or tensor, what
 * is wrong, and a way out where there is one. All of them return false.
 */
#include "run.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static bool fail(CmprtError *error, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof error->text, format, arguments);
	va_end(arguments);
	return false;
}

void format_bytes(char to[32], int64_t bytes)
{
	static const char *const names[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double value = (double)bytes;
	int unit = 0;
	while (value >= 1024 && unit < 5) {
		value /= 1024;
		unit++;
	}
	snprintf(to, 32, unit ? "%.2f %s" : "%.0f %s", value, names[unit]);
}

/* "F16 [32, 64]" */
static const char *describe(char *to, size_t size, const char *dtype, int64_t rank, const int64_t *shape)
{
	size_t used = (size_t)snprintf(to, size, "%s [", dtype);
	for (int64_t axis = 0; axis < rank && used < size; axis++)
		used += (size_t)snprintf(to + used, size - used, "%s%" PRId64, axis ? ", " : "", shape[axis]);
	if (used < size)
		snprintf(to + used, size - used, "]");
	return to;
}

bool error_system(CmprtError *error, const char *doing, const char *path, int code)
{
	return fail(error, "cannot %s %s: %s", doing, path, strerror(code));
}

bool error_no_input_file(CmprtError *error, const char *path, const char *option)
{
	return fail(error, "%s: could not open: No such file or directory%s; %s says where it is", path,
		*path == '/' ? "" : " (seen from the folder that this is run in)", option);
}

bool error_input_missing(CmprtError *error, const char *path, const CmprtInput *input, int64_t missing, int64_t count)
{
	return fail(error,
		"%s is not what this program was built for: no tensor \"%s\" (%" PRId64 " of %" PRId64 " are missing)", path,
		input->name, missing, count);
}

bool error_input_differs(CmprtError *error, const char *path, const CmprtInput *input, const CkTensor *found,
	int64_t differing, int64_t count)
{
	char is[256], wanted[256];
	describe(is, sizeof is, found->dtype, found->rank, found->shape);
	describe(wanted, sizeof wanted, input->dtype, input->rank, input->shape);
	return fail(error,
		"%s is not what this program was built for: tensor \"%s\" is %s instead of %s (%" PRId64 " of %" PRId64
		" differ)",
		path, input->name, is, wanted, differing, count);
}

bool error_input_unknown(CmprtError *error, const char *path, const char *name, int64_t unknown, int64_t count)
{
	return fail(error,
		"%s is not what this program was built for: it has a tensor \"%s\" (%" PRId64 " more than the %" PRId64
		" expected)",
		path, name, unknown, count);
}

bool error_no_such_input(CmprtError *error, const Run *run, const char *option)
{
	if (run->program->source_count < 2)
		return fail(error, "--input %s: this program reads nothing but the model", option);
	return fail(error, "--input %s: this program reads no such file beside the model; it reads %s%s", option,
		run->program->sources[1].path, run->program->source_count > 2 ? " and others" : "");
}

bool error_input_changed(CmprtError *error, const char *path)
{
	return fail(error, "input %s was written to while it was read; nothing was saved, run it again", path);
}

bool error_bad_table(CmprtError *error, const char *label, const char *what)
{
	return fail(error, "this program's tables are damaged: job \"%s\": %s", label, what);
}

bool error_source_format(CmprtError *error, const char *path, const char *is, const char *wanted)
{
	return fail(error, "%s is a %s checkpoint; this program was built for %s", path, is, wanted);
}

bool error_unknown_format(CmprtError *error, const char *format)
{
	return fail(error, "this runtime cannot write %s checkpoints", format);
}

bool error_output_suffix(CmprtError *error, const char *path, const Format *format)
{
	return fail(
		error, "output %s: this program writes %s; the name must end in \"%s\"", path, format->name, format->suffix);
}

bool error_output_is_input(CmprtError *error, const char *path, const char *input)
{
	return fail(error, "output %s is the input file %s; choose another name", path, input);
}

bool error_output_holds_input(CmprtError *error, const char *path, const char *input)
{
	return fail(error, "output folder %s holds the input %s; choose another name", path, input);
}

bool error_output_in_input(CmprtError *error, const char *path, const char *folder)
{
	return fail(error, "output %s lies in the input folder %s; choose another place", path, folder);
}

bool error_output_kind(CmprtError *error, const char *path, const char *is, const char *wanted)
{
	return fail(error, "output %s exists and is %s; this program writes %s", path, is, wanted);
}

bool error_output_not_own(CmprtError *error, const char *path)
{
	return fail(error, "output %s exists and was not written by cmpc; --force overwrites it", path);
}

bool error_output_foreign(CmprtError *error, const char *path)
{
	return fail(error, "output %s exists and is not a checkpoint; --force overwrites it", path);
}

bool error_output_folder_foreign(CmprtError *error, const char *path, const char *entry)
{
	return fail(error,
		"output folder %s holds \"%s\", which the new output does not replace; --force replaces the whole folder", path,
		entry);
}

bool error_folder_missing(CmprtError *error, const char *folder, const char *path)
{
	return fail(error, "output %s: there is no folder %s", path, folder);
}

bool error_folder_unwritable(CmprtError *error, const char *folder, const char *path, int code)
{
	return fail(error, "output %s: cannot write to folder %s: %s", path, folder, strerror(code));
}

bool error_disk_full(CmprtError *error, const char *folder, int64_t needed, int64_t available)
{
	char need[32], have[32];
	format_bytes(need, needed);
	format_bytes(have, available);
	return fail(error, "not enough space in %s: the output needs %s (%" PRId64 " bytes), %s are free", folder, need,
		needed, have);
}

bool error_busy(CmprtError *error, const char *path)
{
	return fail(error, "another run is writing %s at this moment", path);
}

bool error_memory_too_small(CmprtError *error, int64_t limit, int64_t smallest, int64_t held)
{
	return fail(error,
		"a memory limit of %" PRId64 " byte%s is too small; the smallest that works is %" PRId64
		"MiB (this process held %" PRId64 "MiB before it began)",
		limit, limit == 1 ? "" : "s", (smallest + (1 << 20) - 1) >> 20, held >> 20);
}

bool error_out_of_memory(CmprtError *error)
{
	return fail(error, "the system has no more memory to give");
}

bool error_nonfinite(CmprtError *error, const char *tensor, int64_t element, const CkTensor *shape)
{
	int64_t place[CMPRT_MAX_RANK], rest = element;
	for (int64_t axis = shape->rank - 1; axis >= 0; axis--) {
		place[axis] = shape->shape[axis] ? rest % shape->shape[axis] : 0;
		rest = shape->shape[axis] ? rest / shape->shape[axis] : 0;
	}
	char where[256];
	describe(where, sizeof where, "", shape->rank, place);
	return fail(error,
		"tensor \"%s\": element%s is NaN or infinite (number %" PRId64
		"); --nonfinite=zero or --nonfinite=keep goes on",
		tensor, where, element);
}

bool error_requirement(CmprtError *error, const char *text, const char *metric, const char *unit, double value,
	double bound, bool is_upper)
{
	double off = is_upper ? value - bound : bound - value;
	char by[48] = "";
	if (bound != 0)
		snprintf(by, sizeof by, " (%.3g%%)", 100 * off / (bound < 0 ? -bound : bound));
	const char *gap = *unit ? " " : "";
	return fail(error, "require %s failed: %s is %.10g%s%s, %.6g%s too %s; nothing was saved", text, metric, value, gap,
		unit, off, by, is_upper ? "much" : "little");
}

bool error_requirement_of_data(
	CmprtError *error, const char *text, const char *figure, const char *measured, double bound, bool is_upper)
{
	return fail(error, "require %s failed: %s is %s, and %s %.6g was asked for; nothing was saved", text, figure,
		measured, is_upper ? "at most" : "at least", bound);
}

bool error_no_figures(CmprtError *error, const char *pipeline)
{
	return fail(error,
		"pipeline \"%s\" measures nothing: --eval needs `require` or `report` of perplexity(data), accuracy(data) or "
		"kl(data)",
		pipeline);
}

bool error_no_result(CmprtError *error, const char *path)
{
	return fail(error, "%s: there is no result yet to evaluate; run it first, without --eval", path);
}

bool error_report_kind(CmprtError *error, const char *path)
{
	return fail(error, "report %s: the name must end in .html, .json or .csv", path);
}

/* ---- networks ---- */

bool error_nonfinite_coded(CmprtError *error, const char *tensor, int64_t number)
{
	return fail(error,
		"tensor \"%s\": number %" PRId64
		" of those that its codes stand for is NaN or infinite; --nonfinite=keep goes on",
		tensor, number);
}

bool error_nonfinite_state(CmprtError *error, const char *part, const char *name, const char *met, int64_t sample,
	int64_t place, const char *largest, double most)
{
	char meets[256] = "", read[384] = "";
	if (met)
		snprintf(meets, sizeof meets, ", which meets tensor \"%.200s\",", met);
	if (largest)
		snprintf(read, sizeof read,
			"; the tensors that it reads are finite, the largest number, %.3g, is in \"%.200s\"", most, largest);
	return fail(error,
		"%s makes element %" PRId64 " of \"%s\"%s NaN or infinite, in sample %" PRId64 "%s; --nonfinite=keep goes on",
		part, place, name, meets, sample, read);
}

/* ---- data sets ---- */

bool error_data_kind(CmprtError *error, const char *path)
{
	return fail(error,
		"%s: data are text, .txt, pairs of texts, .tsv, or tokens: .npy (whole numbers, one or two axes), .i32 and "
		".u16 files; of a text with another name say from text(\"..\") or pairs(\"..\")",
		path);
}

bool error_data_file(CmprtError *error, const char *path, const char *what)
{
	return fail(error, "%s %s", path, what);
}

bool error_data_picture(CmprtError *error, const char *path, const char *kind, const char *what)
{
	return fail(error, "%s is no good %s picture: %.200s", path, kind, what);
}

bool error_data_sizes(CmprtError *error, const char *path, int64_t width, int64_t height, const char *first,
	int64_t first_width, int64_t first_height)
{
	return fail(error,
		"%s is %" PRId64 " x %" PRId64 ", and %s is %" PRId64 " x %" PRId64 ": pictures of a data set are of one size",
		path, width, height, first, first_width, first_height);
}

bool error_data_no_pictures(CmprtError *error, const char *path)
{
	return fail(error, "%s is a folder: pictures are read where cmpc was built with libpng and libjpeg", path);
}

bool error_data_labels(CmprtError *error, const char *path, int64_t labels, int64_t images)
{
	return fail(error, "%s has %" PRId64 " labels for %" PRId64 " images", path, labels, images);
}

bool error_data_no_labels(CmprtError *error, const char *path)
{
	return fail(error, "%s: only images have labels; those are IDX files, named *-ubyte or *.idx", path);
}

bool error_data_classes(CmprtError *error, const char *path, int64_t label, int64_t image, int64_t classes)
{
	return fail(error, "%s: the label of image %" PRId64 " is %" PRId64 ", the network knows %" PRId64 " classes", path,
		image, label, classes);
}

bool error_data_images(CmprtError *error, const char *path, const int64_t *found, const int64_t *built)
{
	return fail(error,
		"%s: its images are of %" PRId64 " x %" PRId64 " x %" PRId64 ", this program was built for %" PRId64
		" x %" PRId64 " x %" PRId64,
		path, found[0], found[1], found[2], built[0], built[1], built[2]);
}

bool error_data_array(CmprtError *error, const char *path)
{
	return fail(error, "%s is no NumPy array of whole numbers with one or two axes, rows first", path);
}

bool error_data_short(CmprtError *error, const char *path, int64_t bytes)
{
	return fail(
		error, "%s: the array that its header describes is longer than the file, %" PRId64 " bytes", path, bytes);
}

bool error_data_token(CmprtError *error, const char *path, int64_t token, int64_t place)
{
	return fail(error, "%s: number %" PRId64 ", %" PRId64 ", is too large for a token", path, place, token);
}

bool error_data_empty(CmprtError *error, const char *path)
{
	return fail(error, "%s: no sample has two tokens, so there is nothing to predict", path);
}

bool error_data_no_lines(CmprtError *error, const char *path)
{
	return fail(error,
		"%s: it holds tokens, so it has neither lines nor a tokenizer; text is read from .txt files or text(\"..\")",
		path);
}

bool error_data_tokenizer(CmprtError *error, const char *path, int64_t tokens, int64_t vocabulary)
{
	return fail(error,
		"%s: its tokenizer, which knows %" PRId64
		" tokens, makes some that are not in the model's vocabulary of %" PRId64 ": it is another model's",
		path, tokens, vocabulary);
}

bool error_data_vocabulary(CmprtError *error, const char *path, int64_t token, int64_t place, int64_t vocabulary)
{
	return fail(error, "%s: token %" PRId64 ", number %" PRId64 ", is not in the model's vocabulary of %" PRId64, path,
		token, place, vocabulary);
}

bool error_data_changed(CmprtError *error, const char *path, int64_t tokens, int64_t built)
{
	return fail(error,
		"%s: its samples have %" PRId64 " tokens, this program was built for %" PRId64 "; build it again", path, tokens,
		built);
}

bool error_data_long(CmprtError *error, const char *path, int64_t longest, int64_t built)
{
	return fail(
		error, "%s: a sample has %" PRId64 " tokens, this program was built for %" PRId64, path, longest, built);
}
