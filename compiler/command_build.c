/* SPDX-License-Identifier: MIT
 *
 * command_build.c: `cmpc build FILE -o EXE`: the object is linked with the runtime
 * of its machine.
 */
#include "stages.h"

#include "link.h"
#include "samples.h"

#include <string.h>
#include <unistd.h>

/* Functions of the runtime that call OpenBLAS. */
static const char *const blas_names[] = {
#define RUNTIME(result, name, arguments)
#define BLAS_RUNTIME(result, name, arguments) #name,
#include "runtime.def"
#undef RUNTIME
};

/* An object names what it calls in its table of symbols, each name between NULs. */
static bool calls(const ObjectBytes *object, const char *name)
{
	return memmem(object->at, object->count, name, strlen(name) + 1) != NULL;
}

static bool calls_blas(const ObjectBytes *object)
{
	for (size_t i = 0; i < sizeof blas_names / sizeof *blas_names; i++)
		if (calls(object, blas_names[i]))
			return true;
	return false;
}

static bool reads(const CmprtProgram *program, bool is_of_kind(const CmprtData *data))
{
	for (int64_t i = 0; i < program->net_count; i++)
		if (is_of_kind(program->nets[i].data))
			return true;
	return program->measured_count && reads(&program->measured[0], is_of_kind);
}

/* "x86_64-pc-linux-gnu" as Debian, and the folders of the runtimes, call it. */
static const char *short_triple(Compiler *c, const char *triple)
{
	return arena_printf(c->arena, "%.*s-linux-gnu", (int)strcspn(triple, "-"), triple);
}

/* The OpenBLAS that configure found, for another machine where that one's lies. */
static const char *openblas_folder(Compiler *c, const char *triple)
{
	const char *at = strstr(OPENBLAS_DIR, HOST_TRIPLE);
	if (!at)
		return OPENBLAS_DIR;
	return arena_printf(c->arena, "%.*s%s%s", (int)(at - OPENBLAS_DIR), OPENBLAS_DIR, triple, at + strlen(HOST_TRIPLE));
}

/* "x/small.cmp" is built as "small". */
static const char *default_output(Compiler *c, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t length = strlen(name);
	if (length > 4 && strcmp(name + length - 4, ".cmp") == 0)
		return arena_copy(c->arena, name, length - 4);
	return arena_printf(c->arena, "%s.out", name);
}

static bool has_runtime(Compiler *c, const char *folder, const char *triple)
{
	if (access(arena_printf(c->arena, "%s/%s/libcmprt.a", folder, triple), R_OK) == 0)
		return true;
	diag_fatal(c, "there is no runtime for %s in %s", triple, folder);
	diag_help(c, "build cmpc with ./configure --with-runtimes=%.*s,%.*s, or say with CMPC_RUNTIME where it lies",
		(int)strcspn(HOST_TRIPLE, "-"), HOST_TRIPLE, (int)strcspn(triple, "-"), triple);
	return false;
}

bool build_executable(Compilation *k)
{
	if (!strstr(k->facts.triple, "-linux")) {
		diag_fatal(k->c, "executables are made for Linux, the target's triple is \"%s\"", k->facts.triple);
		diag_help(k->c,
			"--emit=obj makes the object for it; `host native` after the target makes the executable for this machine");
		return false;
	}
	const char *triple = short_triple(k->c, k->facts.triple), *runtimes = path_runtimes(k->c);
	if (!has_runtime(k->c, runtimes, triple))
		return false;
	LinkOptions options = {
		.object = k->object.at,
		.object_count = k->object.count,
		.triple = triple,
		.runtimes = runtimes,
		.openblas = calls_blas(&k->object) ? openblas_folder(k->c, triple) : NULL,
		.reads_text = reads(k->plan->program, data_is_text),
		.reads_pictures = reads(k->plan->program, data_is_pictures),
		.host_triple = HOST_TRIPLE,
		.is_shared = k->request->shared,
		.output = k->request->output ? k->request->output : default_output(k->c, k->path),
	};
	return output_is_free(k, options.output) && link_executable(k->c, &options);
}

int command_build(Request *request)
{
	Compilation k = compilation_begin(request, request->operands[0], NULL);
	bool is_good = compile(&k, "exe");
	compilation_end(&k);
	return is_good ? STATUS_DONE : STATUS_ERROR;
}
