/* SPDX-License-Identifier: MIT
 *
 * driver.c: the stages of a compilation, in one table. Each runs on what the one
 * before left, is verified where it has a verifier, is timed, and is printed where --emit names it:
 * then it is the last. A stage that reported errors is the last too.
 */
#include "stages.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- text to Program ---- */

static bool run_tokens(Compilation *k)
{
	if (k->text) {
		k->file = source_add(k->c, k->path, k->text, strlen(k->text));
		return true;
	}
	return source_open(k->c, k->path, LOC_NONE, &k->file);
}

static void print_tokens(Compilation *k, Text *to)
{
	tokens_print(k->c, k->file, to);
}

static bool run_ast(Compilation *k)
{
	k->tree = parse_file(k->c, k->file);
	return k->tree != NULL;
}

static bool verify_ast(Compilation *k)
{
	return ast_verify(k->c, k->tree);
}

static void print_ast(Compilation *k, Text *to)
{
	ast_print(k->tree, to);
}

static bool run_program(Compilation *k)
{
	k->program = program_new(k->c, path_stdlib(k->c));
	bool is_loaded = program_load_tree(k->program, k->file, k->tree);
	return program_index_stdlib(k->program) && is_loaded && program_check(k->program);
}

static void print_program(Compilation *k, Text *to)
{
	program_print(k->program, to);
}

/* ---- Program to Plan ---- */

/* The text of a target's property, NULL if it has none. */
static const char *target_text(Compilation *k, const Decl *target, const char *name)
{
	const Node *prop = target ? node_prop(target->node, name_of(k->c, name)) : NULL;
	if (!prop || prop->kid_count != 1)
		return NULL;
	Value value = value_eval(k->program, NULL, prop->kids[0]);
	return value.kind == VALUE_STRING || value.kind == VALUE_WORD ? value.text : NULL;
}

/* What the pipeline runs on: its host, else its target; NULL where neither is known (the plan says why). */
static const Decl *find_host(Compilation *k)
{
	NameVec names = {0};
	program_names(k->program, DECL_PIPELINE, &names);
	Name name = k->request->pipeline ? name_of(k->c, k->request->pipeline) : names.count == 1 ? names.at[0] : NULL;
	const Decl *pipeline = program_find(k->program, DECL_PIPELINE, name);
	if (!pipeline)
		return NULL;
	const Node *target = pipeline->node->kids[1], *host = pipeline->node->kids[2];
	if (host)
		return program_find(k->program, DECL_TARGET, host->name);
	if (k->request->target)
		return program_find(k->program, DECL_TARGET, name_of(k->c, k->request->target));
	return target ? program_find(k->program, DECL_TARGET, target->name) : NULL;
}

static bool find_machine(Compilation *k)
{
	const Decl *host = k->runs_here ? NULL : find_host(k);
	const char *cpu = target_text(k, host, "cpu");
	k->machine = (ModuleTarget){.triple = target_text(k, host, "triple"),
		.cpu = cpu ? cpu : "native",
		.features = target_text(k, host, "features")};
	if (target_facts(k->c, &k->machine, &k->facts))
		return true;
	if (host)
		diag_note(k->c, host->node->loc, "target %s is declared here", host->name);
	return false;
}

static Name optional_name(Compiler *c, const char *text)
{
	return text ? name_of(c, text) : NULL;
}

PlanOptions plan_options(const Compilation *k)
{
	return (PlanOptions){
		.pipeline = optional_name(k->c, k->request->pipeline),
		.target = optional_name(k->c, k->request->target),
		.output = k->runs_here ? k->request->output : NULL,
		.lanes = k->facts.lanes,
		.no_fuse = k->request->no_fuse,
		.checks_place = k->checks_place,
		.is_trial = k->is_trial,
		.version = PACKAGE_VERSION,
	};
}

static bool run_plan(Compilation *k)
{
	if (!find_machine(k))
		return false;
	k->plan_options = plan_options(k);
	k->plan = plan_new(k->program, &k->plan_options);
	return k->plan != NULL;
}

static void print_plan(Compilation *k, Text *to)
{
	plan_print(k->plan, to);
}

/* ---- kernels to object ---- */

/* An executable can be told at any time not to fuse. */
static bool run_kernels(Compilation *k)
{
	return k->runs_here || plan_unfused(k->plan);
}

static bool verify_kernels(Compilation *k)
{
	bool is_good = true;
	for (size_t i = 0; i < k->plan->kernels.count; i++)
		is_good &= kernel_verify(k->plan->kernels.at[i].built.kernel);
	return is_good;
}

static void print_kernels(Compilation *k, Text *to)
{
	for (size_t i = 0; i < k->plan->kernels.count; i++) {
		text_append(to, "\n", i > 0);
		kernel_print(k->plan->kernels.at[i].built.kernel, to);
	}
}

static Kernel *kernel_named(const Compilation *k, const char *name)
{
	for (size_t i = 0; i < k->plan->kernels.count; i++)
		if (!strcmp(k->plan->kernels.at[i].built.kernel->name, name))
			return k->plan->kernels.at[i].built.kernel;
	return NULL;
}

static double cycles_of(const Compilation *k, Kernel *kernel, int64_t rows)
{
	KCost cost = kernel_cost(kernel, rows, k->plan->options->lanes);
	return cost.spread + cost.serial;
}

/* How much memory and work a kernel takes is known when its code is made: the jobs that run it are told. */
static const CmprtJob *jobs_with_costs(
	Compilation *k, const CmprtJob *from, int64_t count, const char *const *kernel_names)
{
	CmprtJob *jobs = arena_array(k->c->arena, CmprtJob, count);
	for (int64_t i = 0; i < count; i++) {
		jobs[i] = from[i];
		Kernel *kernel = kernel_names[i] ? kernel_named(k, kernel_names[i]) : NULL;
		if (!kernel)
			continue;
		KHeap heap = kernel_heap(kernel, jobs[i].rows);
		jobs[i].scratch_bytes = (int64_t)kernel->scratch_bytes;
		jobs[i].cycles = cycles_of(k, kernel, jobs[i].rows);
		jobs[i].call_heap_bytes = heap.call;
		jobs[i].thread_heap_bytes = heap.thread;
	}
	return jobs;
}

/* What decodes weights is told too. */
static const CmprtPiece *pieces_with_memory(
	Compilation *k, const CmprtOperand *operand, const char *const **kernel_names)
{
	CmprtPiece *pieces = arena_array(k->c->arena, CmprtPiece, operand->piece_count + 1);
	for (int64_t i = 0; i < operand->piece_count; i++) {
		pieces[i] = operand->pieces[i];
		if (!pieces[i].decode_count)
			continue;
		CmprtDecode *decode = arena_new_of(k->c->arena, CmprtDecode);
		*decode = pieces[i].decodes[0];
		decode->scratch_bytes = (int64_t)kernel_named(k, *(*kernel_names)++)->scratch_bytes;
		pieces[i].decodes = decode;
	}
	return pieces;
}

static const CmprtOperand *operands_with_memory(Compilation *k, const CmprtCall *call, const char *const **kernel_names)
{
	CmprtOperand *operands = arena_array(k->c->arena, CmprtOperand, call->operand_count + 1);
	for (int64_t i = 0; i < call->operand_count; i++) {
		operands[i] = call->operands[i];
		operands[i].pieces = pieces_with_memory(k, &operands[i], kernel_names);
	}
	return operands;
}

/* The same for the calls of a net and their statistics. */
static const CmprtCall *calls_with_costs(Compilation *k, const CmprtNet *net, const char *const **kernel_names)
{
	CmprtCall *calls = arena_array(k->c->arena, CmprtCall, net->call_count + 1);
	for (int64_t i = 0; i < net->call_count; i++) {
		CmprtStatistic *statistics = arena_array(k->c->arena, CmprtStatistic, net->calls[i].statistic_count + 1);
		calls[i] = net->calls[i];
		Kernel *kernel = kernel_named(k, *(*kernel_names)++);
		calls[i].scratch_bytes = (int64_t)kernel->scratch_bytes;
		calls[i].cycles = cycles_of(k, kernel, net->longest);
		calls[i].operands = operands_with_memory(k, &calls[i], kernel_names);
		for (int64_t s = 0; s < calls[i].statistic_count; s++) {
			statistics[s] = calls[i].statistics[s];
			kernel = kernel_named(k, *(*kernel_names)++);
			statistics[s].scratch_bytes = (int64_t)kernel->scratch_bytes;
			statistics[s].cycles = cycles_of(k, kernel, net->longest);
		}
		calls[i].statistics = statistics;
	}
	return calls;
}

static const CmprtNet *nets_with_costs(Compilation *k, const CmprtProgram *program, const char *const **kernel_names)
{
	CmprtNet *nets = arena_array(k->c->arena, CmprtNet, program->net_count + 1);
	for (int64_t i = 0; i < program->net_count; i++) {
		nets[i] = program->nets[i];
		nets[i].calls = calls_with_costs(k, &nets[i], kernel_names);
	}
	return nets;
}

static void take_costs(Compilation *k)
{
	CmprtProgram *program = k->plan->program;
	const char *const *kernel_names = k->plan->kernel_names.at;
	CmprtSelect *selects = arena_array(k->c->arena, CmprtSelect, program->select_count + 1);
	program->early = jobs_with_costs(k, program->early, program->early_count, kernel_names);
	kernel_names += program->early_count;
	program->jobs = jobs_with_costs(k, program->jobs, program->job_count, kernel_names);
	kernel_names += program->job_count;
	for (int64_t i = 0; i < program->select_count; i++) {
		selects[i] = program->selects[i];
		selects[i].jobs = jobs_with_costs(k, selects[i].jobs, selects[i].job_count, kernel_names);
		kernel_names += selects[i].job_count;
	}
	program->selects = selects;
	program->nets = nets_with_costs(k, program, &kernel_names);
	CmprtProgram *measured = arena_array(k->c->arena, CmprtProgram, program->measured_count + 1);
	for (int64_t i = 0; i < program->measured_count; i++) {
		measured[i] = program->measured[i];
		measured[i].nets = nets_with_costs(k, &measured[i], &kernel_names);
	}
	program->measured = measured;
	program->unfused = jobs_with_costs(k, program->unfused, program->unfused_count, kernel_names);
}

static bool run_llvm(Compilation *k)
{
	k->module = module_new(k->c, &k->machine);
	if (!k->module)
		return false;
	for (size_t i = 0; i < k->plan->kernels.count; i++)
		if (!module_add_kernel(k->module, k->plan->kernels.at[i].built.kernel))
			return false;
	take_costs(k);
	k->plan->program->code_hash = module_hash(k->module);
	return module_add_program(k->module, k->plan->program, k->plan->kernel_names.at, !k->runs_here);
}

static bool verify_llvm(Compilation *k)
{
	return module_verify(k->module);
}

static void print_llvm(Compilation *k, Text *to)
{
	module_print(k->module, to);
}

static bool run_asm(Compilation *k)
{
	return module_optimize(k->module);
}

static void print_asm(Compilation *k, Text *to)
{
	module_assembly(k->module, to);
}

static bool run_obj(Compilation *k)
{
	return module_object(k->module, &k->object);
}

static void print_obj(Compilation *k, Text *to)
{
	text_append(to, k->object.at, k->object.count);
}

static const Stage stages[] = {
	{"tokens", run_tokens, NULL, print_tokens, "the words of the file"},
	/* the file is in memory */
	{"ast", run_ast, verify_ast, print_ast, "its syntax tree"},
	/* every node is as ast.def says, nesting is bounded */
	{"program", run_program, NULL, print_program, "declarations with what was derived of each"},
	/* every name is known, every argument fits its parameter */
	{"plan", run_plan, NULL, print_plan, "the dry run"},
	/* every tensor has its passes in order, every output its size */
	{"kernels", run_kernels, verify_kernels, print_kernels, "the loops of each kernel"},
	/* subscripts are in their buffers, every element is written before it is read */
	{"llvm", run_llvm, verify_llvm, print_llvm, "LLVM IR before optimization"},
	{"asm", run_asm, verify_llvm, print_asm, "assembly after it"},
	{"obj", run_obj, NULL, print_obj, "the object"},
	/* the same bytes are linked and loaded */
	{"exe", build_executable, NULL, NULL, "the executable"},
};
enum { STAGE_COUNT = sizeof stages / sizeof *stages };

/* ---- running them ---- */

void stage_names(Compiler *c, NameVec *to)
{
	for (int i = 0; i < STAGE_COUNT; i++)
		vec_push(c->arena, to, name_of(c, stages[i].name));
}

double time_now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void time_report(const Compiler *c, const char *stage, double begin)
{
	if (c->options.time)
		fprintf(stderr, "%8.2f ms  %s\n", 1e3 * (time_now() - begin), stage);
}

static bool run_stage(Compilation *k, const Stage *stage)
{
	double begin = time_now();
	bool is_good = (!stage->run || stage->run(k)) && !diag_errors(k->c) && (!stage->verify || stage->verify(k));
	time_report(k->c, stage->name, begin);
	return is_good;
}

bool text_write(Compiler *c, const char *path, const Text *text)
{
	FILE *to = path ? fopen(path, "wb") : stdout;
	size_t count = text->at ? text->count : 0;
	bool is_written = to && fwrite(text->at ? text->at : "", 1, count, to) == count;
	int reason = errno;
	if (to && path && fclose(to) != 0) {
		reason = errno;
		is_written = false;
	}
	if (!is_written)
		diag_fatal(c, "cannot write \"%s\": %s", path ? path : "the output", strerror(reason));
	return is_written;
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;
	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The file of the checkpoint that lies there: one that holds tensors, or any other of its folder. */
static const char *find_same_file(Compiler *c, const Checkpoint *checkpoint, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *folder = slash ? arena_copy(c->arena, path, (size_t)(slash + 1 - path)) : ".";
	for (int64_t i = 0; checkpoint && i < checkpoint->file_count; i++)
		if (is_same_file(checkpoint->files[i], path))
			return checkpoint->files[i];
	return checkpoint && is_same_file(checkpoint->path, folder) && access(path, F_OK) == 0 ? path : NULL;
}

bool output_is_free(const Compilation *k, const char *path)
{
	const char *input = k->plan ? find_same_file(k->c, k->plan->checkpoint, path) : NULL;
	for (size_t i = 0; k->plan && !input && i < k->plan->sources.count; i++)
		input = find_same_file(k->c, k->plan->sources.at[i].checkpoint, path);
	for (size_t i = 0; !input && i < k->c->sources.count; i++)
		if (is_same_file(k->c->sources.at[i].path, path))
			input = k->c->sources.at[i].path;
	if (input)
		diag_fatal(k->c, "output %s is the input file %s; choose another name", path, input);
	return !input;
}

static bool emit_stage(Compilation *k, const Stage *stage)
{
	Text text = {.arena = k->c->arena};
	const char *path = k->request->output;
	if (!stage->print)
		return true;
	if (path && !output_is_free(k, path))
		return false;
	if (!path && stage->run == run_obj && isatty(STDOUT_FILENO)) {
		diag_fatal(k->c, "an object is no text for a terminal; say where it goes with -o");
		return false;
	}
	stage->print(k, &text);
	return !diag_errors(k->c) && text_write(k->c, path, &text);
}

Compilation compilation_begin(const Request *request, const char *path, const char *text)
{
	return (Compilation){.c = request->c, .request = request, .path = path, .text = text};
}

void compilation_end(Compilation *k)
{
	if (k->module)
		module_free(k->module);
	if (k->plan)
		plan_free(k->plan);
}

bool compile(Compilation *k, const char *until)
{
	for (int i = 0; i < STAGE_COUNT; i++) {
		const Stage *stage = &stages[i];
		bool is_emitted = k->request->emit && strcmp(stage->name, k->request->emit) == 0;
		if (!run_stage(k, stage) || (is_emitted && !emit_stage(k, stage)))
			return false;
		if (is_emitted || strcmp(stage->name, until) == 0)
			return true;
	}
	return true;
}
