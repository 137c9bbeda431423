/* SPDX-License-Identifier: MIT
 *
 * main.c: the command line of every executable, as one table. Each option is a row;
 * parsing and --help read the rows. Wrong options end with status 2 and one line.
 */
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

typedef bool Setter(CmprtOptions *options, const char *value);

typedef struct Option {
	const char *name;  /* without the dashes */
	const char *value; /* what --help calls it; NULL: the option takes none */
	Setter *set;       /* false: the value is wrong; NULL: --help */
	bool evaluates;    /* a program that evaluates takes it too */
	const char *help;
	const char *takes; /* which values; NULL: it takes none */
} Option;

typedef struct Unit {
	const char *name;
	int64_t bytes;
} Unit;

static const Unit units[] = {
	{"", 1},
	{"B", 1},
	{"KB", 1000},
	{"MB", 1000000},
	{"GB", 1000000000},
	{"TB", 1000000000000},
	{"KiB", (int64_t)1 << 10},
	{"MiB", (int64_t)1 << 20},
	{"GiB", (int64_t)1 << 30},
	{"TiB", (int64_t)1 << 40},
};

static bool set_model(CmprtOptions *options, const char *value)
{
	options->model = value;
	return *value;
}

/* The array has a place for each word of the command line. */
static bool set_input(CmprtOptions *options, const char *value)
{
	options->inputs[options->input_count++] = value;
	return strchr(value, '=') != NULL;
}

static bool set_output(CmprtOptions *options, const char *value)
{
	options->output = value;
	return *value;
}

static bool set_threads(CmprtOptions *options, const char *value)
{
	char *end;
	errno = 0;
	long long count = strtoll(value, &end, 10);
	options->threads = count;
	return end != value && *end == '\0' && errno == 0 && count >= 1 && count <= 4096;
}

static bool set_memory(CmprtOptions *options, const char *value)
{
	char *end;
	double number = strtod(value, &end);
	if (end == value || !(number > 0) || (*value != '.' && (*value < '0' || *value > '9')))
		return false;
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (strcasecmp(end, units[i].name) == 0) {
			double bytes = number * (double)units[i].bytes;
			options->memory = bytes < 9e18 ? (int64_t)bytes : INT64_MAX;
			return options->memory > 0;
		}
	return false;
}

static bool set_nonfinite(CmprtOptions *options, const char *value)
{
	static const char *const names[] = {
		[CMPRT_NONFINITE_ERROR] = "error", [CMPRT_NONFINITE_KEEP] = "keep", [CMPRT_NONFINITE_ZERO] = "zero"};
	for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
		if (strcmp(names[i], value) == 0) {
			options->nonfinite = i;
			return true;
		}
	return false;
}

#define DEFINE_FLAG(field)                                                                                             \
	static bool set_##field(CmprtOptions *options, const char *value)                                                  \
	{                                                                                                                  \
		(void)value;                                                                                                   \
		return options->field = true;                                                                                  \
	}
DEFINE_FLAG(no_fuse)
DEFINE_FLAG(no_sync)
DEFINE_FLAG(dry_run)
DEFINE_FLAG(eval)
DEFINE_FLAG(json)
DEFINE_FLAG(quiet)
DEFINE_FLAG(force)

static const Option option_rows[] = {
	{"model", "PATH", set_model, true, "read this checkpoint; its tensors must be those the program was built for",
		"a path"},
	{"input", "FILE=PATH", set_input, false, "read PATH for FILE, another file that the program reads", "FILE=PATH"},
	{"output", "PATH", set_output, true, "write here instead", "a path"},
	{"threads", "N", set_threads, true, "work on N threads; the result is the same for any N",
		"a whole number from 1 to 4096"},
	{"memory", "SIZE", set_memory, true, "never hold more than this: 256MiB, 2GiB, 1GB, or bytes",
		"a size such as 256MiB"},
	{"nonfinite", "error|keep|zero", set_nonfinite, true,
		"weights that are NaN or infinite: stop (default), keep, or make 0", "error, keep or zero"},
	{"no-fuse", NULL, set_no_fuse, false,
		"run the passes of a tensor one after the other, in memory; the bytes are the same", NULL},
	{"no-sync", NULL, set_no_sync, false, "do not wait for the disk before the result takes its name", NULL},
	{"force", NULL, set_force, false, "replace an output that cmpc did not write", NULL},
	{"dry-run", NULL, set_dry_run, false, "measure this machine; print what the run will read, write and take", NULL},
	{"eval", NULL, set_eval, false, "run nothing: print the metrics of the model and of the result that is there",
		NULL},
	{"json", NULL, set_json, true, "print one JSON object per line: plan, progress, report", NULL},
	{"quiet", NULL, set_quiet, false, "print nothing but errors", NULL},
	{"help", NULL, NULL, true, "print this", NULL},
};
enum { OPTION_COUNT = sizeof option_rows / sizeof *option_rows, HELP_WAS_PRINTED = -1 };

/* It writes no checkpoint: what it prints is all. */
static bool is_evaluation(const CmprtProgram *program)
{
	return !program->output_path;
}

static bool is_taken(const CmprtProgram *program, const Option *option)
{
	return option->evaluates || !is_evaluation(program);
}

static void print_purpose(const CmprtProgram *program)
{
	if (is_evaluation(program)) {
		printf("Runs the network of %s over data (cmpc %s).\n", program->sources[0].path, program->cmpc_version);
		return;
	}
	printf("Runs the pipeline \"%s\" (cmpc %s):\n  %s -> %s\n", program->pipeline, program->cmpc_version,
		program->sources[0].path, program->output_path);
	for (int64_t i = 1; i < program->source_count; i++)
		printf("It reads %s too.\n", program->sources[i].path);
	printf("An interrupted run resumes when it is started again.\n");
}

static void print_help(const CmprtProgram *program, const char *name)
{
	printf("usage: %s [options]\n\n", name);
	print_purpose(program);
	printf("\noptions:\n");
	for (int i = 0; i < OPTION_COUNT; i++) {
		char left[48];
		const Option *option = &option_rows[i];
		if (!is_taken(program, option))
			continue;
		snprintf(
			left, sizeof left, "--%s%s%s", option->name, option->value ? " " : "", option->value ? option->value : "");
		printf("  %-29s %s\n", left, option->help);
	}
}

static int wrong_option(const char *name, const char *what, const char *argument)
{
	fprintf(stderr, "error: %s \"%s\"; %s --help lists the options\n", what, argument, name);
	return 2;
}

static int wrong_value(const char *name, const Option *option, const char *value)
{
	fprintf(stderr, "error: --%s cannot be \"%s\": it takes %s; %s --help lists the options\n", option->name, value,
		option->takes, name);
	return 2;
}

/* "--name value", "--name=value". */
static const Option *find_option(const char *argument, const char **value)
{
	*value = NULL;
	if (strncmp(argument, "--", 2) != 0)
		return NULL;
	size_t length = strcspn(argument + 2, "=");
	for (int i = 0; i < OPTION_COUNT; i++)
		if (strlen(option_rows[i].name) == length && strncmp(option_rows[i].name, argument + 2, length) == 0) {
			*value = argument[2 + length] ? argument + 3 + length : NULL;
			return &option_rows[i];
		}
	return NULL;
}

/* 0: go on; else cmprt_main's status, or HELP_WAS_PRINTED. */
static int read_options(const CmprtProgram *program, int argc, char **argv, CmprtOptions *options)
{
	const char *name = argc > 0 ? argv[0] : program->pipeline;
	for (int i = 1; i < argc; i++) {
		const char *value;
		const Option *option = find_option(argv[i], &value);
		if (!option || !is_taken(program, option))
			return wrong_option(name, "no such option", argv[i]);
		if (!option->set) {
			print_help(program, name);
			return HELP_WAS_PRINTED;
		}
		if (!option->value && value)
			return wrong_option(name, "an option that takes no value", argv[i]);
		if (option->value && !value) {
			if (i + 1 == argc)
				return wrong_option(name, "an option without its value", argv[i]);
			value = argv[++i];
		}
		if (!option->set(options, value))
			return wrong_value(name, option, value);
	}
	return 0;
}

int cmprt_options(const CmprtProgram *program, int argc, char **argv, CmprtOptions *to)
{
	*to = (CmprtOptions){.nonfinite = CMPRT_NONFINITE_ERROR, .inputs = to->inputs};
	return read_options(program, argc, argv, to);
}

int cmprt_main(const CmprtProgram *program, int argc, char **argv)
{
	const char **inputs = calloc((size_t)argc + 1, sizeof *inputs);
	CmprtOptions options = {.nonfinite = CMPRT_NONFINITE_ERROR, .inputs = inputs};
	int status = inputs ? read_options(program, argc, argv, &options) : 1;
	if (!inputs)
		fprintf(stderr, "error: the system has no more memory to give\n");
	else if (status == 0)
		status = is_evaluation(program) ? cmprt_evaluate(program, &options)
				 : options.eval         ? cmprt_evaluate_result(program, &options)
										: cmprt_run(program, &options);
	free(inputs);
	return status == HELP_WAS_PRINTED ? 0 : status;
}

int64_t cmprt_tables(void)
{
	static const char text[] = ""
#define STRUCT(name) "struct " #name " "
#define INT(field) "int " #field " "
#define REAL(field) "real " #field " "
#define STRING(field) "string " #field " "
#define KERNEL(field) "kernel " #field " "
#define INTS(field, count) "ints " #field " "
#define STRINGS(field, count) "strings " #field " "
#define STRUCTS(type, field, count) #type " " #field " "
#define END
#include "program.def"
#define RUNTIME(result, name, arguments) #result " " #name #arguments " "
#include "runtime.def"
#undef RUNTIME
		;
	return (int64_t)XXH3_64bits(text, sizeof text);
}

int cmprt_start(const CmprtProgram *program, int argc, char **argv, int64_t tables)
{
	if (tables == cmprt_tables())
		return cmprt_main(program, argc, argv);
	fprintf(stderr, "error: this program was linked with the libcmprt.a of another cmpc; install cmpc and its runtime "
					"together, then build the program again\n");
	return 1;
}
