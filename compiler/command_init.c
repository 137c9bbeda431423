/* SPDX-License-Identifier: MIT
 *
 * command_init.c: `cmpc init CHECKPOINT` prints a program to start from. Comments
 * say what the checkpoint holds, role by role; the pipeline uses the first recipe
 * of the library that needs no arguments and names the others.
 */
#include "model.h"

#include <inttypes.h>
#include <string.h>

/* Tensors with the same roles. */
typedef struct RoleSum {
	const char *roles;
	const char *example;
	int64_t tensors, parameters, bytes;
} RoleSum;
typedef VEC(RoleSum) RoleSumVec;

static void sum_roles(const Model *model, RoleSumVec *to)
{
	TensorGroupVec groups = {0};
	model_groups(model, false, &groups);
	for (size_t i = 0; i < groups.count; i++) {
		const TensorGroup *group = &groups.at[i];
		Text roles = {.arena = model->c->arena};
		print_roles(group->first, &roles);
		if (!roles.count)
			text_printf(&roles, "(no role)");
		size_t at = 0;
		while (at < to->count && strcmp(to->at[at].roles, roles.at) != 0)
			at++;
		if (at == to->count) {
			RoleSum fresh = {.roles = roles.at, .example = group->pattern};
			vec_push(model->c->arena, to, fresh);
		}
		to->at[at].tensors += (int64_t)group->count;
		to->at[at].parameters += (int64_t)group->count * tensor_elements(group->first->file);
		to->at[at].bytes += (int64_t)group->count * group->first->file->bytes;
	}
}

static void print_model(const Model *model, Text *to)
{
	const Checkpoint *checkpoint = model->checkpoint;
	RoleSumVec sums = {0};
	sum_roles(model, &sums);
	text_printf(to, "# ");
	text_shown(to, checkpoint->path, strlen(checkpoint->path));
	text_printf(to, ": %s, ", checkpoint->format->name);
	print_bytes(model->file_bytes, to);
	text_printf(to, ", ");
	print_count(model->parameters, to);
	text_printf(to, " parameters in %" PRId64 " tensors", checkpoint->tensor_count);
	if (model->facts->layers)
		text_printf(to, ", %" PRId64 " layers", model->facts->layers);
	text_printf(to, "\n#\n# %-20s %7s %15s %11s  %s\n", "roles", "tensors", "parameters", "bytes", "such as");
	for (size_t i = 0; i < sums.count; i++) {
		Text count = {.arena = to->arena}, bytes = {.arena = to->arena};
		print_count(sums.at[i].parameters, &count);
		print_bytes(sums.at[i].bytes, &bytes);
		text_printf(to, "# %-20s %7" PRId64 " %15s %11s  ", sums.at[i].roles, sums.at[i].tensors, count.at, bytes.at);
		text_shown(to, sums.at[i].example, strlen(sums.at[i].example));
		text_append(to, "\n", 1);
	}
}

/* Can a statement be the recipe's name alone? */
static bool needs_nothing(const Decl *recipe)
{
	const Node *params = decl_params(recipe);
	for (uint32_t i = 0; i < params->kid_count; i++)
		if (!params->kids[i]->kids[2])
			return false;
	return true;
}

static void print_recipes(const Program *library, Text *to)
{
	bool is_first = true;
	for (size_t i = 0; i < library->decls.count; i++) {
		const Decl *decl = library->decls.at[i];
		if (decl->kind != DECL_RECIPE || !needs_nothing(decl))
			continue;
		text_printf(to, is_first ? "  %-11s # " : "  # %-9s # ", decl->name);
		doc_sentence(decl->node->doc ? decl->node->doc : "", 96, to);
		text_append(to, "\n", 1);
		is_first = false;
	}
}

/* A name for the output: that of the checkpoint, without folder and suffix. */
static const char *base_name(Compiler *c, const char *path)
{
	size_t end = strlen(path);
	while (end > 1 && path[end - 1] == '/')
		end--;
	size_t begin = end;
	while (begin > 0 && path[begin - 1] != '/')
		begin--;
	const char *name = arena_copy(c->arena, path + begin, end - begin), *dot = strrchr(name, '.');
	bool is_suffix = dot && dot > name && format_of_output(name) && !format_of_output(name)->is_folder_format;
	is_suffix |= dot && strcmp(dot, ".safetensors") == 0;
	return is_suffix ? arena_copy(c->arena, name, (size_t)(dot - name)) : name;
}

/* A format that is one file. */
static const char *file_suffix(void)
{
	for (int i = 0; i < format_count(); i++)
		if (!format_at(i)->is_folder_format)
			return format_at(i)->suffix;
	return format_at(0)->suffix;
}

int command_init(Request *request)
{
	Compiler *c = request->c;
	Model *model = model_open(c, request->operands[0]);
	if (!model)
		return STATUS_ERROR;
	Text text = {.arena = c->arena};
	const char *base = base_name(c, request->operands[0]);
	print_model(model, &text);
	text_printf(&text,
		"#\n# Next: cmpc plan THIS_FILE, then cmpc run THIS_FILE. `cmpc doc` lists passes, recipes, dtypes.\n\n");
	text_printf(&text, "model input from ");
	string_print(request->operands[0], &text);
	text_printf(&text, "\n\npipeline small of input {\n");
	print_recipes(model->library, &text);
	text_printf(&text, "\n  save ");
	string_print(arena_printf(c->arena, "%s-small%s", base, file_suffix()), &text);
	text_printf(&text, "\n}\n");
	bool is_written = text_write(c, NULL, &text);
	model_close(model);
	return is_written ? STATUS_DONE : STATUS_ERROR;
}
