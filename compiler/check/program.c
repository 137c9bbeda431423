/* SPDX-License-Identifier: MIT
 *
 * program.c: from files to named declarations.
 *
 * The user's file is read first, then what it imports (paths relative to the
 * importing file), then stdlib. Every kind of declaration has a name space of its
 * own, so a recipe q8_0 may stand beside the dtype q8_0. A user's declaration
 * hides one of stdlib with the same name; two of one file are an error that
 * shows both.
 */
#define _GNU_SOURCE
#include "program.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct DeclTable {
	Decl **slots; /* open addressing by the interned pointer; a power of two */
	size_t count, capacity;
};

static const struct {
	NodeKind node;
	DeclKind decl;
	const char *text;
} kinds[] = {
	{N_LET, DECL_LET, "let"},
	{N_FN, DECL_FN, "fn"},
	{N_PASS, DECL_PASS, "pass"},
	{N_DTYPE, DECL_DTYPE, "dtype"},
	{N_RECIPE, DECL_RECIPE, "recipe"},
	{N_ROLES, DECL_ROLES, "roles"},
	{N_TARGET, DECL_TARGET, "target"},
	{N_MODEL, DECL_MODEL, "model"},
	{N_DATA, DECL_DATA, "data"},
	{N_PIPELINE, DECL_PIPELINE, "pipeline"},
};

const char *decl_kind_text(DeclKind kind)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (kinds[i].decl == kind)
			return kinds[i].text;
	return "declaration";
}

static size_t slot_of(const struct DeclTable *table, Name name)
{
	size_t at = ((uintptr_t)name >> 4) * 0x9e3779b97f4a7c15u >> 20 & (table->capacity - 1);
	while (table->slots[at] && table->slots[at]->name != name)
		at = (at + 1) & (table->capacity - 1);
	return at;
}

static void table_put(Arena *arena, struct DeclTable *table, Decl *decl)
{
	if (2 * (table->count + 1) > table->capacity) {
		struct DeclTable grown = {.capacity = table->capacity ? 2 * table->capacity : 64};
		grown.slots = arena_array(arena, Decl *, grown.capacity);
		for (size_t i = 0; i < table->capacity; i++)
			if (table->slots[i])
				grown.slots[slot_of(&grown, table->slots[i]->name)] = table->slots[i];
		grown.count = table->count;
		*table = grown;
	}
	size_t at = slot_of(table, decl->name);
	table->count += !table->slots[at];
	table->slots[at] = decl;
}

Decl *program_find(const Program *p, DeclKind kind, Name name)
{
	const struct DeclTable *table = p->tables[kind];
	return table->capacity && name ? table->slots[slot_of(table, name)] : NULL;
}

void program_names(const Program *p, DeclKind kind, NameVec *to)
{
	for (size_t i = 0; i < p->decls.count; i++)
		if (p->decls.at[i]->kind == kind)
			vec_push(p->c->arena, to, p->decls.at[i]->name);
}

Node *decl_params(const Decl *decl)
{
	switch (decl->kind) {
	case DECL_FN:
	case DECL_PASS:
	case DECL_DTYPE:
	case DECL_RECIPE:
		return decl->node->kids[0];
	default:
		return NULL;
	}
}

Program *program_new(Compiler *c, const char *stdlib)
{
	Program *p = arena_new_of(c->arena, Program);
	p->c = c;
	p->stdlib = stdlib;
	p->main_file = UINT32_MAX;
	for (int i = 0; i < DECL_COUNT; i++)
		p->tables[i] = arena_new_of(c->arena, struct DeclTable);
	return p;
}

static bool add_one(Program *p, Node *node, bool is_stdlib)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (kinds[i].node != node->kind)
			continue;
		Decl *other = program_find(p, kinds[i].decl, node->name);
		if (other && other->is_stdlib == is_stdlib) {
			diag_error(p->c, node->loc, "%s %s is declared twice", kinds[i].text, node->name);
			diag_note(p->c, other->node->loc, "it is declared here already");
			return false;
		}
		Decl *decl = arena_new_of(p->c->arena, Decl);
		*decl = (Decl){.kind = kinds[i].decl, .name = node->name, .node = node, .is_stdlib = is_stdlib};
		vec_push(p->c->arena, &p->decls, decl);
		if (!other || other->is_stdlib)
			table_put(p->c->arena, p->tables[decl->kind], decl);
		return true;
	}
	return true; /* IMPORT: followed by the caller */
}

bool program_add(Program *p, Node *file, bool is_stdlib)
{
	bool ok = true;
	for (uint32_t i = 0; i < file->kid_count; i++)
		ok &= add_one(p, file->kids[i], is_stdlib);
	if (!is_stdlib)
		p->main_count = p->decls.count;
	return ok;
}

/* True the first time a file is seen, whatever path leads to it; those of stdlib have their real one. */
static bool is_new_file(Program *p, const char *path, bool is_stdlib)
{
	char real[PATH_MAX];
	Name name = name_of(p->c, !is_stdlib && realpath(path, real) ? real : path);
	for (size_t i = 0; i < p->files.count; i++)
		if (p->files.at[i] == name)
			return false;
	vec_push(p->c->arena, &p->files, name);
	return true;
}

static bool load_file(Program *p, const char *path, Loc from, bool is_stdlib);

static bool follow_imports(Program *p, const char *path, const Node *file, bool is_stdlib)
{
	bool ok = true;
	const char *slash = strrchr(path, '/');
	for (uint32_t i = 0; i < file->kid_count; i++) {
		const Node *node = file->kids[i];
		if (node->kind != N_IMPORT)
			continue;
		const char *full = node->text[0] == '/' || !slash
							   ? node->text
							   : arena_printf(p->c->arena, "%.*s/%s", (int)(slash - path), path, node->text);
		ok &= load_file(p, full, node->loc, is_stdlib);
	}
	return ok;
}

static bool load_file(Program *p, const char *path, Loc from, bool is_stdlib)
{
	if (!is_new_file(p, path, is_stdlib))
		return true;
	uint32_t file;
	if (!source_open(p->c, path, from, &file))
		return false;
	if (is_stdlib) /* the same wherever it is installed */
		p->c->sources.at[file].path = arena_printf(p->c->arena, "<stdlib>%s", path + strlen(p->stdlib));
	else if (p->main_file == UINT32_MAX)
		p->main_file = file;
	Node *tree = parse_file(p->c, file);
	if (!tree)
		return false;
	bool ok = program_add(p, tree, is_stdlib);
	return follow_imports(p, path, tree, is_stdlib) && ok;
}

bool program_load(Program *p, const char *path)
{
	return load_file(p, path, (Loc){0}, false);
}

bool program_load_tree(Program *p, uint32_t file, Node *tree)
{
	const char *path = source_of(p->c, file)->path;
	is_new_file(p, path, false);
	p->main_file = file;
	bool ok = program_add(p, tree, false);
	return follow_imports(p, path, tree, false) && ok;
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every .cmp below folder, in name order. */
static bool load_folder(Program *p, const char *folder)
{
	DIR *dir = opendir(folder);
	if (!dir)
		return false;
	VEC(char *) paths = {0};
	for (struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			vec_push(p->c->arena, &paths, arena_printf(p->c->arena, "%s/%s", folder, entry->d_name));
	closedir(dir);
	if (paths.count)
		qsort(paths.at, paths.count, sizeof *paths.at, compare_paths);
	bool ok = true;
	for (size_t i = 0; i < paths.count; i++) {
		const char *dot = strrchr(paths.at[i], '.');
		if (dot && !strcmp(dot, ".cmp"))
			ok &= load_file(p, paths.at[i], (Loc){0}, true);
		else if (!dot || strchr(dot, '/'))
			load_folder(p, paths.at[i]);
	}
	return ok;
}

bool program_load_stdlib(Program *p)
{
	char real[PATH_MAX];
	if (p->stdlib && realpath(p->stdlib, real)) {
		p->stdlib = arena_copy(p->c->arena, real, strlen(real));
		if (load_folder(p, p->stdlib))
			return true;
	}
	if (!diag_errors(p->c))
		diag_fatal(p->c, "cannot read the standard library in \"%s\"", p->stdlib ? p->stdlib : "");
	return false;
}
