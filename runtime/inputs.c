/* SPDX-License-Identifier: MIT
 *
 * inputs.c: the checkpoints that a program reads: the model, and files whose tensors
 * kernels read beside it. On entry the tables; on exit every file is open and every
 * input of the program is bound to a tensor that is what the tables say. The model
 * must consist of exactly these, another file may hold more.
 */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_same_input(const CmprtInput *input, const CkTensor *tensor)
{
	bool is_same =
		input->rank == tensor->rank && input->bytes == tensor->bytes && strcmp(input->dtype, tensor->dtype) == 0;
	for (int64_t axis = 0; axis < input->rank && is_same; axis++)
		is_same = input->shape[axis] == tensor->shape[axis];
	return is_same;
}

static const char *first_unknown(const Run *run)
{
	const CkTensor *unknown = NULL;
	bool *is_known = calloc((size_t)run->model->tensor_count + 1, sizeof *is_known);
	for (int64_t i = 0; is_known && i < run->program->input_count; i++)
		if (run->program->inputs[i].source == 0)
			is_known[run->inputs[i] - run->model->tensors] = true;
	for (int64_t i = 0; is_known && i < run->model->tensor_count && !unknown; i++)
		unknown = is_known[i] ? NULL : &run->model->tensors[i];
	free(is_known);
	return unknown ? unknown->name : "?";
}

/* Binds the inputs that lie in one source; the first difference is told, with how many there are of its kind. */
static bool check_signature(Run *run, int64_t source, CmprtError *error)
{
	const CmprtProgram *program = run->program;
	const Checkpoint *checkpoint = run->sources[source].checkpoint;
	int64_t count = 0, missing = 0, differing = 0;
	const CmprtInput *first_missing = NULL, *first_differing = NULL;
	const CkTensor *found_differing = NULL;
	if (strcmp(checkpoint->format->name, program->sources[source].format) != 0)
		return error_source_format(error, checkpoint->path, checkpoint->format->name, program->sources[source].format);
	for (int64_t i = 0; i < program->input_count; i++) {
		const CmprtInput *input = &program->inputs[i];
		if (input->source != source)
			continue;
		const CkTensor *tensor = run->inputs[i] = checkpoint_find(checkpoint, input->name);
		count++;
		if (!tensor) {
			first_missing = missing++ ? first_missing : input;
		} else if (!is_same_input(input, tensor)) {
			first_differing = differing ? first_differing : input;
			found_differing = differing++ ? found_differing : tensor;
		}
	}
	if (missing)
		return error_input_missing(error, checkpoint->path, first_missing, missing, count);
	if (differing)
		return error_input_differs(error, checkpoint->path, first_differing, found_differing, differing, count);
	int64_t unknown = source == 0 ? checkpoint->tensor_count - count : 0;
	return unknown <= 0 || error_input_unknown(error, checkpoint->path, first_unknown(run), unknown, count);
}

static bool stamp_file(int fd, const char *path, FileStamp *to, CmprtError *error)
{
	struct stat info;
	*to = (FileStamp){0};
	if (fstat(fd, &info) < 0)
		return error_system(error, "examine", path, errno);
	*to = (FileStamp){info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
	return true;
}

static bool open_source(Run *run, int64_t number, const char *path, CmprtError *error)
{
	OpenCheckpoint *source = &run->sources[number];
	const Checkpoint *checkpoint = source->checkpoint = checkpoint_open(path, error);
	if (!checkpoint && access(path, F_OK) != 0)
		return error_no_input_file(error, path, number == 0 ? "--model PATH" : "--input FILE=PATH");
	if (!checkpoint || !check_signature(run, number, error))
		return false;
	source->fds = malloc(sizeof *source->fds * (size_t)(checkpoint->file_count + 1));
	source->stamps = malloc(sizeof *source->stamps * (size_t)(checkpoint->file_count + 1));
	if (!source->fds || !source->stamps)
		return error_out_of_memory(error);
	for (int64_t i = 0; i < checkpoint->file_count; i++)
		source->fds[i] = -1;
	for (int64_t i = 0; i < checkpoint->file_count; i++) {
		source->fds[i] = open(checkpoint->files[i], O_RDONLY | O_CLOEXEC);
		if (source->fds[i] < 0)
			return error_system(error, "read", checkpoint->files[i], errno);
		if (!stamp_file(source->fds[i], checkpoint->files[i], &source->stamps[i], error))
			return false;
		if (source->stamps[i].bytes != checkpoint->file_bytes[i]) /* since its header was read */
			return error_input_changed(error, checkpoint->files[i]);
		posix_fadvise(source->fds[i], 0, 0, POSIX_FADV_SEQUENTIAL);
		source->bytes += checkpoint->file_bytes[i];
	}
	return true;
}

/* Does the option "FILE=PATH" speak of this file? PATH, or NULL. */
static const char *path_for(const char *option, const char *file)
{
	size_t length = strlen(file);
	return strncmp(option, file, length) == 0 && option[length] == '=' ? option + length + 1 : NULL;
}

static const char *source_path(const Run *run, int64_t source)
{
	const char *path = run->program->sources[source].path, *said = NULL;
	if (source == 0)
		return run->options->model ? run->options->model : path;
	for (int64_t i = 0; i < run->options->input_count && !said; i++)
		said = path_for(run->options->inputs[i], path);
	return said ? said : path;
}

static bool check_options(const Run *run, CmprtError *error)
{
	for (int64_t i = 0; i < run->options->input_count; i++) {
		bool is_known = false;
		for (int64_t s = 1; s < run->program->source_count; s++)
			is_known |= path_for(run->options->inputs[i], run->program->sources[s].path) != NULL;
		if (!is_known)
			return error_no_such_input(error, run, run->options->inputs[i]);
	}
	return true;
}

bool inputs_open(Run *run, CmprtError *error)
{
	const CmprtProgram *program = run->program;
	run->inputs = calloc((size_t)program->input_count + 1, sizeof *run->inputs);
	run->sources = calloc((size_t)program->source_count + 1, sizeof *run->sources);
	if (!run->inputs || !run->sources)
		return error_out_of_memory(error);
	for (int64_t i = 0; i < program->input_count; i++)
		if (program->inputs[i].source < 0 || program->inputs[i].source >= program->source_count)
			return error_bad_table(error, program->inputs[i].name, "an input of no file");
	if (!check_options(run, error))
		return false;
	for (int64_t i = 0; i < program->source_count; i++) {
		if (!open_source(run, i, source_path(run, i), error))
			return false;
		run->model = run->sources[0].checkpoint;
	}
	return true;
}

bool inputs_check(const Run *run, CmprtError *error)
{
	for (int64_t i = 0; i < run->program->source_count; i++) {
		const OpenCheckpoint *source = &run->sources[i];
		for (int64_t k = 0; k < source->checkpoint->file_count; k++) {
			const FileStamp *before = &source->stamps[k];
			FileStamp now;
			if (!stamp_file(source->fds[k], source->checkpoint->files[k], &now, error))
				return false;
			if (now.bytes != before->bytes || now.seconds != before->seconds || now.nanoseconds != before->nanoseconds)
				return error_input_changed(error, source->checkpoint->files[k]);
		}
	}
	return true;
}

void inputs_close(Run *run)
{
	for (int64_t i = 0; run->sources && i < run->program->source_count; i++) {
		OpenCheckpoint *source = &run->sources[i];
		for (int64_t k = 0; source->fds && k < source->checkpoint->file_count; k++)
			if (source->fds[k] >= 0)
				close(source->fds[k]);
		free(source->fds);
		free(source->stamps);
		checkpoint_close(source->checkpoint);
	}
	free(run->sources);
	free(run->inputs);
}

bool input_read(Run *run, int64_t number, void *to, int64_t bytes, int64_t offset, CmprtError *error)
{
	const OpenCheckpoint *source = &run->sources[run->program->inputs[number].source];
	const CkTensor *tensor = run->inputs[number];
	return file_read(
		source->fds[tensor->file], source->checkpoint->files[tensor->file], to, bytes, tensor->offset + offset, error);
}
