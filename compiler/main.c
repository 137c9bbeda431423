/* SPDX-License-Identifier: MIT
 *
 * main.c: the command line, as two tables. A command is a row of the first, an
 * option a row of the second; parsing, --help and the words offered for a typing
 * error all read the rows. Exit status: 0 done, 1 an error was reported, 2 wrong
 * options (of diff: 0 equal, 1 different, 2 cannot tell).
 */
#include "driver.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const Command commands[] = {
	{
		.name = "init",
		.operands = "CHECKPOINT",
		.least = 1,
		.most = 1,
		.run = command_init,
		.help = "print a program to start from, made for this checkpoint",
		.detail = "The program names the checkpoint's roles and sizes in comments, and compresses it in a usual way.\n"
				  "Change it as you like, then `cmpc plan` it.\n",
		.example = "tiny-llama >small.cmp",
	},
	{
		.name = "plan",
		.operands = "FILE",
		.least = 1,
		.most = 1,
		.run = command_plan,
		.help = "the dry run: what would happen to which tensor, sizes, memory",
		.detail =
			"Reads the checkpoint's headers only. What is printed is a program itself, with the order made explicit.\n"
			"`cmpc FILE` without a command does the same. With -R: why each thing was ordered and fused so.\n",
		.example = "small.cmp",
	},
	{
		.name = "run",
		.operands = "FILE [OPTION OF THE PROGRAM]...",
		.least = 1,
		.most = 1,
		.passes_on = true,
		.run = command_run,
		.help = "compile in memory and compress now",
		.detail =
			"What stands behind FILE and is no option below goes to the program, as to the executable that build\n"
			"makes: --model PATH, --threads N, --memory SIZE, --nonfinite=error|keep|zero, --no-sync, --force,\n"
			"--dry-run, --json, --quiet.\n",
		.example = "small.cmp --threads 4",
	},
	{
		.name = "eval",
		.operands = "FILE",
		.least = 1,
		.most = 1,
		.passes_on = true,
		.run = command_eval,
		.help = "perplexity or accuracy of the model, and of what each pipeline makes of it",
		.detail =
			"The model's network is the one it names, `model m from \"..\" as llama`, or that of its architecture.\n"
			"Pipelines are run into a folder that goes away; of the file's data those that passes read are left out.\n",
		.example = "small.cmp",
	},
	{
		.name = "build",
		.operands = "FILE",
		.least = 1,
		.most = 1,
		.run = command_build,
		.help = "write an executable that compresses anywhere, without cmpc",
		.detail = "Without -o it is named as FILE, without .cmp, in this folder. Needs a C compiler to link with.\n",
		.example = "small.cmp -o small",
	},
	{
		.name = "diff",
		.operands = "A B",
		.least = 2,
		.most = 2,
		.run = command_diff,
		.help = "what it cost: two checkpoints, tensor by tensor",
		.detail =
			"For each tensor: shape, dtype, and the error of B relative to A, |B - A| / |A|; then what only one of\n"
			"them has. Of two containers, tensors are paired as the export of their architecture names them.\n"
			"--all lists equal tensors too. Exit status: 0 equal, 1 different, 2 cannot tell.\n",
		.example = "tiny-llama tiny.gguf",
	},
	{
		.name = "quantize",
		.operands = "CHECKPOINT RECIPE [OPTION OF THE PROGRAM]...",
		.least = 2,
		.most = 2,
		.passes_on = true,
		.run = command_quantize,
		.help = "compress with a recipe or dtype of the library, without writing a program",
		.detail = "`cmpc doc` lists recipes and dtypes. Options of the program may follow, as with run.\n",
		.example = "tiny-llama q4_K_M -o tiny.gguf",
	},
	{
		.name = "imatrix",
		.operands = "CHECKPOINT [OPTION OF THE PROGRAM]...",
		.least = 1,
		.most = 1,
		.passes_on = true,
		.run = command_imatrix,
		.help = "write llama.cpp's importance matrix of a model that reads a text",
		.detail =
			"What quantize --imatrix and llama-quantize read: of each matrix of the layers the sum of the squares of "
			"its input.\nThe text is cut into pieces of 512 tokens. Options of the program may follow, as with "
			"run.\n",
		.example = "tiny-llama -d text.txt -o tiny.imatrix.gguf",
	},
	{
		.name = "inspect",
		.operands = "CHECKPOINT",
		.least = 1,
		.most = 1,
		.run = command_inspect,
		.help = "what a checkpoint holds: dtypes, sizes, layers, tensors and their roles",
		.detail = "Reads headers only. Tensors that repeat in every layer are one line; --all lists each, and the "
				  "metadata.\n",
		.example = "tiny-llama",
	},
	{
		.name = "check",
		.operands = "FILE",
		.least = 1,
		.most = 1,
		.run = command_check,
		.help = "report every error in a program, print nothing if there is none",
		.detail = "Where the checkpoint that the program names is there, the plan is checked too.\n",
		.example = "small.cmp",
	},
	{
		.name = "doc",
		.operands = "[NAME [FILE]]",
		.least = 0,
		.most = 2,
		.run = command_doc,
		.help = "what a pass, dtype, recipe or target is; without NAME, all there are",
		.detail = "NAME is looked up in the library, and in FILE if one is given. --all prints its equations too.\n",
		.example = "prune.magnitude",
	},
	{
		.name = "fmt",
		.operands = "FILE...",
		.least = 1,
		.most = 1000000,
		.run = command_fmt,
		.help = "print a program in the usual layout",
		.detail = "-i rewrites the file instead; --check names the files that would change and ends with status 1.\n",
		.example = "-i small.cmp",
	},
	{
		.name = "decode",
		.operands = "CHECKPOINT",
		.least = 1,
		.most = 1,
		.run = command_decode,
		.help = "write a checkpoint of any dtype as plain f32 safetensors",
		.detail = "The name after -o ends in .safetensors.\n",
		.example = "tiny.gguf -o tiny.safetensors",
	},
	{
		.name = "repl",
		.operands = "[FILE]",
		.least = 0,
		.most = 1,
		.run = command_repl,
		.help = "enter declarations and statements one at a time, and try them",
		.detail =
			"FILE is read first. `help` lists the commands. From a pipe the exit status is 1 if any entry failed.\n",
		.example = "small.cmp",
	},
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands, FIRST_COMMANDS = 5 };

typedef enum OptionKind {
	TAKES_NOTHING, /* a bool of the request */
	TAKES_TEXT,    /* a text of the request; the value is needed */
	TAKES_SUFFIX,  /* a text of the request, "" if nothing follows the letter at once */
} OptionKind;

/* What was said, before it is known for which command. */
typedef struct Line {
	Request request;
	const char *remarks;
	bool time, help, version;
	uint32_t given; /* bit per row of options */
} Line;

typedef struct Option {
	char letter;      /* 0: none */
	const char *name; /* NULL: none */
	const char *value;
	OptionKind kind;
	size_t offset;        /* of its field in Line */
	const char *commands; /* that take it, each between spaces; NULL: all */
	const char *help;
} Option;

#define FIELD(field) offsetof(Line, field)
#define OF_REQUEST(field) offsetof(Line, request.field)
static const Option options[] = {
	{'o', NULL, "PATH", TAKES_TEXT, OF_REQUEST(output), " plan run build quantize imatrix decode eval ",
		"where the result goes"},
	{'d', NULL, "TEXT", TAKES_TEXT, OF_REQUEST(reads), " imatrix ", "the text that the model reads"},
	{'p', NULL, "NAME", TAKES_TEXT, OF_REQUEST(pipeline), " plan run build check eval ",
		"the pipeline to take, if the file has several"},
	{0, "target", "NAME", TAKES_TEXT, OF_REQUEST(target), " plan run build check quantize ",
		"compile for this target instead of the one the pipeline names"},
	{0, "emit", "STAGE", TAKES_TEXT, OF_REQUEST(emit), " plan run build check eval ",
		"stop after a stage, print it: tokens, ast, program, kernels; not of eval: plan, llvm, asm, obj, exe"},
	{0, "array", "NAME", TAKES_TEXT, OF_REQUEST(array), " eval ",
		"write this array of the network to -o OUT.npy, samples one after the other"},
	{0, "no-fuse", NULL, TAKES_NOTHING, OF_REQUEST(no_fuse), " plan run build quantize ",
		"run each pass as a sweep of its own; the bytes are the same"},
	{0, "requantize", NULL, TAKES_NOTHING, OF_REQUEST(requantize), " quantize ",
		"accept a checkpoint that is quantized already: decode it as it is read"},
	{0, "imatrix", "FILE", TAKES_TEXT, OF_REQUEST(imatrix), " quantize ",
		"fit scales to what meets the columns, as this importance matrix of llama.cpp says"},
	{0, "shared", NULL, TAKES_NOTHING, OF_REQUEST(shared), " plan build ",
		"link with shared libraries; by default the executable needs none"},
	{'R', NULL, "[KIND]", TAKES_SUFFIX, FIELD(remarks), " plan run build check quantize repl ",
		"show remarks: every order chosen, every fusion made or refused; -Rfuse: only those"},
	{0, "all", NULL, TAKES_NOTHING, OF_REQUEST(all), " inspect diff doc ", "leave nothing out"},
	{0, "json", NULL, TAKES_NOTHING, OF_REQUEST(json), " inspect diff ", "print one JSON object"},
	{'i', NULL, NULL, TAKES_NOTHING, OF_REQUEST(in_place), " fmt ", "rewrite the files in place"},
	{0, "check", NULL, TAKES_NOTHING, OF_REQUEST(check), " fmt ", "only name the files that would change"},
	{0, "time", NULL, TAKES_NOTHING, FIELD(time), NULL, "print the time that each stage took"},
	{'h', "help", NULL, TAKES_NOTHING, FIELD(help), NULL, "print help, also after a command"},
	{0, "version", NULL, TAKES_NOTHING, FIELD(version), NULL, "print the version"},
};
#undef FIELD
#undef OF_REQUEST
enum { OPTION_COUNT = sizeof options / sizeof *options };

/* ---- help ---- */

static bool takes(const Command *command, const Option *option)
{
	char word[32];
	snprintf(word, sizeof word, " %s ", command->name);
	return !option->commands || strstr(option->commands, word);
}

static void print_option(const Option *option)
{
	char left[40];
	const char *value = option->value ? option->value : "", *gap = option->kind == TAKES_TEXT ? " " : "";
	if (option->letter && option->name)
		snprintf(left, sizeof left, "-%c, --%s", option->letter, option->name);
	else if (option->letter)
		snprintf(left, sizeof left, "-%c%s%s", option->letter, gap, value);
	else
		snprintf(left, sizeof left, "--%s%s%s", option->name, option->value ? "=" : "", value);
	printf("  %-15s %s\n", left, option->help);
}

/* Without what is handed on. */
static void print_command(const Command *command)
{
	const char *end = command->passes_on ? strstr(command->operands, " [") : NULL;
	int length = (int)(end ? end - command->operands : (ptrdiff_t)strlen(command->operands));
	printf("  %-9s %-22.*s %s\n", command->name, length, command->operands, command->help);
}

static void print_help(void)
{
	printf("cmpc compiles .cmp files: what should happen to a neural network checkpoint, not how.\n\n"
		   "What most people need, in this order:\n");
	for (int i = 0; i < FIRST_COMMANDS; i++) {
		char line[64];
		snprintf(line, sizeof line, "cmpc %s %s", commands[i].name, commands[i].example);
		printf("  %-32s %s\n", line, commands[i].help);
	}
	printf("\nWithout a program of your own:\n  cmpc quantize tiny-llama q4_K_M -o tiny.gguf\n\nOther commands:\n");
	for (int i = FIRST_COMMANDS; i < COMMAND_COUNT; i++)
		print_command(&commands[i]);
	printf("\nOptions (cmpc COMMAND --help says which command takes which):\n");
	for (int i = 0; i < OPTION_COUNT; i++)
		print_option(&options[i]);
	printf("\n`cmpc help COMMAND` says more. `cmpc FILE` is `cmpc plan FILE`. The manual: man cmpc.\n");
}

static void print_command_help(const Command *command)
{
	printf(
		"usage: cmpc %s %s\n\n%s.\n%s\noptions:\n", command->name, command->operands, command->help, command->detail);
	for (int i = 0; i < OPTION_COUNT; i++)
		if (takes(command, &options[i]))
			print_option(&options[i]);
	printf("\nexample:\n  cmpc %s %s\n", command->name, command->example);
}

/* ---- parsing ---- */

static int wrong(Compiler *c, const char *what, const char *word, const NameVec *known)
{
	Name nearest = known ? name_nearest(name_of(c, word), known) : NULL;
	if (nearest)
		fprintf(stderr, "cmpc: %s \"%s\"; did you mean %s?\n", what, word, nearest);
	else
		fprintf(stderr, "cmpc: %s \"%s\"; cmpc --help lists what there is\n", what, word);
	return STATUS_USAGE;
}

static int wrong_option(Compiler *c, const Command *command, const char *argument)
{
	NameVec known = {0};
	for (int i = 0; i < OPTION_COUNT; i++)
		if (options[i].name && (!command || takes(command, &options[i])))
			vec_push(c->arena, &known, name_of(c, arena_printf(c->arena, "--%s", options[i].name)));
	const char *word = arena_copy(c->arena, argument, strcspn(argument, "="));
	return wrong(c, command ? arena_printf(c->arena, "%s takes no option", command->name) : "no option", word, &known);
}

static const Command *find_command(const char *name)
{
	for (int i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* The option that an argument names, with what stands in the argument as its value (NULL: nothing). */
static const Option *find_option(const char *argument, const char **value)
{
	*value = NULL;
	for (int i = 0; i < OPTION_COUNT; i++) {
		const Option *option = &options[i];
		if (argument[1] != '-' && option->letter == argument[1]) {
			*value = argument[2] ? argument + 2 : NULL;
			return *value && option->kind == TAKES_NOTHING ? NULL : option;
		}
		size_t length = strcspn(argument, "=");
		if (argument[1] == '-' && option->name && strlen(option->name) + 2 == length &&
			strncmp(option->name, argument + 2, length - 2) == 0) {
			*value = argument[length] ? argument + length + 1 : NULL;
			return *value && option->kind == TAKES_NOTHING ? NULL : option;
		}
	}
	return NULL;
}

static void set_option(Line *line, const Option *option, const char *value)
{
	char *field = (char *)line + option->offset;
	line->given |= 1u << (option - options);
	if (option->kind == TAKES_NOTHING)
		*(bool *)field = true;
	else
		*(const char **)field = value ? value : "";
}

/* The command that the arguments name: the first one that is no option. A file's name means plan. */
static const Command *take_command(Compiler *c, Line *line, const char *word, int *status)
{
	const Command *command = find_command(word);
	if (command)
		return command;
	if (strpbrk(word, "./") || access(word, F_OK) == 0) {
		line->request.operands[line->request.operand_count++] = word;
		return find_command("plan");
	}
	NameVec known = {0};
	for (int i = 0; i < COMMAND_COUNT; i++)
		vec_push(c->arena, &known, name_of(c, commands[i].name));
	*status = wrong(c, "no command", word, &known);
	return NULL;
}

/* Reads all arguments. False: *status says how the process ends. */
static bool parse_line(Compiler *c, Line *line, int count, char **arguments, int *status)
{
	Request *request = &line->request;
	bool is_done = false; /* after -- everything is an operand */
	for (int i = 0; i < count; i++) {
		char *argument = arguments[i];
		const Command *command = request->command;
		bool is_full = command && command->passes_on && request->operand_count >= command->most;
		bool is_option = !is_done && argument[0] == '-' && argument[1];
		const char *value = NULL;
		const Option *option = is_option ? find_option(argument, &value) : NULL;
		if (option && command && !takes(command, option))
			option = NULL;
		if (!is_option && !command && strcmp(argument, "help") == 0 && !line->help) {
			line->help = true;
			continue;
		}
		if (is_option && strcmp(argument, "--") == 0) {
			is_done = true;
		} else if (option) {
			if (option->kind == TAKES_TEXT && !value && !(value = i + 1 < count ? arguments[++i] : NULL)) {
				*status = wrong(c, "no value for", argument, NULL);
				return false;
			}
			set_option(line, option, value);
		} else if (is_full) {
			request->rest[request->rest_count++] = argument;
		} else if (is_option) {
			*status = wrong_option(c, command, argument);
			return false;
		} else if (!command) {
			if (!(request->command = take_command(c, line, argument, status)))
				return false;
		} else {
			request->operands[request->operand_count++] = argument;
		}
	}
	return true;
}

static bool is_stage(Compiler *c, const char *word, int *status)
{
	NameVec known = {0};
	stage_names(c, &known);
	Name name = name_of(c, word);
	for (size_t i = 0; i < known.count; i++)
		if (known.at[i] == name)
			return true;
	*status = wrong(c, "no stage", word, &known);
	return false;
}

/* Is the line whole? Options that stood before the command are held against it here. */
static bool check_line(Compiler *c, const Line *line, int *status)
{
	const Command *command = line->request.command;
	for (int i = 0; i < OPTION_COUNT; i++) {
		const Option *option = &options[i];
		if (!(line->given >> i & 1) || takes(command, option))
			continue;
		const char letter[] = {'-', option->letter, '\0'};
		*status = wrong_option(c, command, option->name ? arena_printf(c->arena, "--%s", option->name) : letter);
		return false;
	}
	if (line->request.emit && !is_stage(c, line->request.emit, status))
		return false;
	int given = line->request.operand_count;
	if (given >= command->least && given <= command->most) {
		*status = STATUS_DONE;
		return true;
	}
	if (given < command->least)
		fprintf(stderr, "cmpc: %s needs %s, as in: cmpc %s %s\n", command->name, command->operands, command->name,
			command->example);
	else
		fprintf(stderr, "cmpc: %s does not know what to do with \"%s\"; cmpc %s --help says what it takes\n",
			command->name, line->request.operands[command->most], command->name);
	*status = STATUS_USAGE;
	return false;
}

static void set_compiler_options(Compiler *c, const Line *line)
{
	const char *term = getenv("TERM");
	c->options.remarks = line->remarks;
	c->options.time = line->time;
	c->options.color = isatty(STDERR_FILENO) && !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

static int run(Compiler *c, int count, char **arguments)
{
	int status = STATUS_DONE;
	Line line = {.request = {.c = c}};
	line.request.operands = arena_array(c->arena, const char *, count + 1);
	line.request.rest = arena_array(c->arena, char *, count + 1);
	if (!parse_line(c, &line, count, arguments, &status))
		return status;
	if (line.version) {
		printf("cmpc %s\n", PACKAGE_VERSION);
		return STATUS_DONE;
	}
	if (line.help && line.request.command && line.request.command->run) {
		print_command_help(line.request.command);
		return STATUS_DONE;
	}
	if (line.help || !line.request.command) {
		print_help();
		return line.help || count == 0 ? STATUS_DONE : STATUS_USAGE;
	}
	if (!check_line(c, &line, &status))
		return status;
	set_compiler_options(c, &line);
	status = line.request.command->run(&line.request);
	diag_flush(c, stderr);
	return status;
}

int main(int argc, char **argv)
{
	Compiler *c = compiler_new();
	int status = run(c, argc - 1, argv + 1);
	compiler_free(c);
	if (fflush(stdout) != 0 || ferror(stdout))
		return STATUS_ERROR;
	return status;
}
