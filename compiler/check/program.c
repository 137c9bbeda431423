/* SPDX-License-Identifier: MIT
 *
 * program.c: from files to named declarations.
 *
 * The user's file is read first, then what it imports (paths relative to the
 * importing file), then stdlib. Every kind of declaration has a name space of its
 * own, so a recipe q8_0 may stand beside the dtype q8_0. A user's declaration
 * hides one of stdlib with the same name; two of one file are an error that
 * shows both.
 *
 * Of stdlib a compilation uses little, so its files are only searched for heads of
 * declarations, and parsed when program_find hands one of those out.
 */
#define _GNU_SOURCE
#include "program.h"

#include <ctype.h>
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
	{N_NET, DECL_NET, "net"},
	{N_EXPORT, DECL_EXPORT, "export"},
	{N_PIPELINE, DECL_PIPELINE, "pipeline"},
};

/* DECL_COUNT: of no declaration. */
static DeclKind node_decl_kind(const Node *node)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (kinds[i].node == node->kind)
			return kinds[i].decl;
	return DECL_COUNT;
}

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

static bool read_indexed(Program *p, uint32_t file);

Decl *program_find(const Program *p, DeclKind kind, Name name)
{
	const struct DeclTable *table = p->tables[kind];
	Decl *decl = table->capacity && name ? table->slots[slot_of(table, name)] : NULL;
	if (!decl || decl->node)
		return decl;
	return read_indexed((Program *)p, decl->file) ? decl : NULL; /* changes nothing but what is known of stdlib */
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

static void add_decl(Program *p, Decl decl)
{
	Decl *added = arena_new_of(p->c->arena, Decl);
	*added = decl;
	vec_push(p->c->arena, &p->decls, added);
	struct DeclTable *table = p->tables[decl.kind];
	const Decl *other = table->capacity ? table->slots[slot_of(table, decl.name)] : NULL;
	if (!other || other->is_stdlib)
		table_put(p->c->arena, table, added);
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
		add_decl(p, (Decl){.kind = kinds[i].decl, .name = node->name, .node = node, .is_stdlib = is_stdlib});
		return true;
	}
	return true; /* IMPORT: followed by the caller */
}

/* Declarations of a parsed file; false: errors reported. */
static bool add_file(Program *p, Node *file, bool is_stdlib)
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
	uint32_t file;
	if (!is_new_file(p, path, is_stdlib))
		return true;
	if (!source_open(p->c, path, from, &file))
		return false;
	if (p->main_file == UINT32_MAX && !is_stdlib)
		p->main_file = file;
	Node *tree = parse_file(p->c, file);
	if (!tree)
		return false;
	bool ok = add_file(p, tree, is_stdlib);
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
	bool ok = add_file(p, tree, false);
	return follow_imports(p, path, tree, false) && ok;
}

/* ---- stdlib ---- */

static bool is_name_character(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* The head of a declaration that begins in the first column of this line: its kind and name. */
static bool read_head(Compiler *c, const char *line, DeclKind *kind, Name *name)
{
	for (size_t i = 0; *line >= 'a' && *line <= 'z' && i < sizeof kinds / sizeof *kinds; i++) {
		size_t length = strlen(kinds[i].text), end;
		if (strncmp(line, kinds[i].text, length) || line[length] != ' ')
			continue;
		const char *at = line + length + strspn(line + length, " ");
		for (end = 0; is_name_character(at[end]);)
			end++;
		*kind = kinds[i].decl;
		*name = name_intern(c, at, end);
		return end > 0;
	}
	return false;
}

/* Files that are needed whatever a program says: rows of roles are tried in turn. */
static bool index_file(Program *p, uint32_t file)
{
	bool must_read = false;
	const Source *source = source_of(p->c, file);
	for (size_t i = 0; i < source->line_count; i++) {
		Decl decl = {.is_stdlib = true, .file = file};
		if (!read_head(p->c, source->text + source->lines[i], &decl.kind, &decl.name))
			continue;
		add_decl(p, decl);
		must_read |= decl.kind == DECL_ROLES;
	}
	return !must_read || read_indexed(p, file);
}

/* Parses a file of stdlib and gives its declarations their nodes. */
static bool read_indexed(Program *p, uint32_t file)
{
	Node *tree = parse_file(p->c, file);
	for (size_t i = 0; tree && i < p->decls.count; i++) {
		Decl *decl = p->decls.at[i];
		for (uint32_t k = 0; decl->is_stdlib && decl->file == file && !decl->node && k < tree->kid_count; k++)
			if (tree->kids[k]->name == decl->name && node_decl_kind(tree->kids[k]) == decl->kind)
				decl->node = tree->kids[k];
	}
	return tree != NULL;
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool index_path(Program *p, const char *path)
{
	uint32_t file;
	if (!is_new_file(p, path, true))
		return true; /* the program imported it */
	if (!source_open(p->c, path, LOC_NONE, &file))
		return false;
	/* the same wherever it is installed */
	p->c->sources.at[file].path = arena_printf(p->c->arena, "<stdlib>%s", path + strlen(p->stdlib));
	return index_file(p, file);
}

/* Every .cmp below folder, in name order. */
static bool index_folder(Program *p, const char *folder)
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
			ok &= index_path(p, paths.at[i]);
		else if (!dot || strchr(dot, '/'))
			index_folder(p, paths.at[i]);
	}
	return ok;
}

bool program_index_stdlib(Program *p)
{
	char real[PATH_MAX];
	if (p->stdlib && realpath(p->stdlib, real)) {
		p->stdlib = arena_copy(p->c->arena, real, strlen(real));
		if (index_folder(p, p->stdlib))
			return true;
	}
	if (!diag_errors(p->c))
		diag_fatal(p->c, "cannot read the standard library in \"%s\"", p->stdlib ? p->stdlib : "");
	return false;
}

bool program_read_stdlib(Program *p)
{
	bool ok = true;
	for (size_t i = 0; i < p->decls.count; i++)
		if (!p->decls.at[i]->node)
			ok &= read_indexed(p, p->decls.at[i]->file);
	return ok;
}

bool program_load_stdlib(Program *p)
{
	return program_index_stdlib(p) && program_read_stdlib(p);
}
