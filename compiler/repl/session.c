/* SPDX-License-Identifier: MIT
 *
 * session.c: entries are parsed, held to all that was entered before them, and
 * kept, or reported and forgotten. A declaration takes the place of an older one
 * with its kind and name, `save` and `report` that of the older statement.
 */
#include "repl.h"

#include "model.h"

#include <inttypes.h>
#include <string.h>

bool session_error(Session *s, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	const char *text = arena_vprintf(s->c->arena, format, arguments);
	va_end(arguments);
	fflush(stdout);
	diag_fatal(s->c, "%s", text);
	diag_flush(s->c, stderr);
	return false;
}

/* ---- parsing ---- */

/* Nothing but comments so far; *documents: a declaration is to follow. */
static bool is_comment(const char *text, bool *documents)
{
	*documents = false;
	while (*text) {
		text += strspn(text, " \t\r\n");
		if (*text && *text != '#')
			return false;
		*documents |= text[0] == '#' && text[1] == '#';
		text += strcspn(text, "\n");
	}
	return true;
}

static bool is_statement(const Node *node)
{
	switch (node->kind) {
	case N_APPLY:
	case N_THEN:
	case N_REQUIRE:
	case N_SAVE:
	case N_REPORT:
		return true;
	default:
		return false;
	}
}

static bool classify(Compiler *c, const Node *tree, Entry *to)
{
	to->is_statement = is_statement(tree->kids[0]);
	for (uint32_t i = 1; i < tree->kid_count; i++) {
		if (is_statement(tree->kids[i]) == to->is_statement)
			continue;
		diag_error(c, tree->kids[i]->loc, "declarations and statements are entered apart");
		return false;
	}
	bool is_one = tree->kid_count == 1;
	to->kind = is_one ? tree->kids[0]->kind : N_FILE;
	to->name = is_one && tree->kids[0]->name ? tree->kids[0]->name : NULL;
	return true;
}

EntryStatus entry_read(Session *s, const char *text, Entry *to)
{
	bool is_incomplete;
	if (is_comment(text, &is_incomplete))
		return is_incomplete ? ENTRY_MORE : ENTRY_EMPTY;
	Compiler *c = compiler_new();
	c->options = s->c->options;
	const Node *tree = parse_entry(c, source_add(c, "<repl>", text, strlen(text)), &is_incomplete);
	EntryStatus status = is_incomplete ? ENTRY_MORE : ENTRY_WRONG;
	if (tree && !is_incomplete && !tree->kid_count)
		status = ENTRY_EMPTY;
	else if (tree && !is_incomplete && classify(c, tree, to))
		status = ENTRY_WHOLE;
	to->text = arena_printf(s->c->arena, "%s", text);
	to->name = status == ENTRY_WHOLE && to->name ? arena_printf(s->c->arena, "%s", to->name) : NULL;
	fflush(stdout);
	diag_flush(c, stderr);
	compiler_free(c);
	return status;
}

/* ---- states ---- */

static bool takes_place(const Entry *fresh, const Entry *old)
{
	if (fresh->kind != old->kind || fresh->kind == N_FILE)
		return false;
	if (fresh->kind == N_SAVE || fresh->kind == N_REPORT)
		return true;
	return !fresh->is_statement && fresh->name && old->name && strcmp(fresh->name, old->name) == 0;
}

static State *state_with(Session *s, Entry entry)
{
	State *next = arena_new_of(s->c->arena, State);
	next->before = s->state;
	next->output = s->state->output;
	for (size_t i = 0; i < s->state->entries.count; i++)
		if (!takes_place(&entry, &s->state->entries.at[i]))
			vec_push(s->c->arena, &next->entries, s->state->entries.at[i]);
	vec_push(s->c->arena, &next->entries, entry);
	return next;
}

/* The last declaration of a kind that was entered, else the last of the file and what it imports. */
static const Decl *last_decl(const Program *p, DeclKind kind)
{
	const Decl *found = NULL;
	for (size_t i = 0; i < p->main_count; i++) {
		const Decl *decl = p->decls.at[i];
		bool is_entered = decl->kind == kind && decl->node->loc.file == p->main_file;
		if (is_entered || (decl->kind == kind && (!found || found->node->loc.file != p->main_file)))
			found = decl;
	}
	return found;
}

static const char *last_name(const Session *s, const Program *p, DeclKind kind)
{
	const Decl *decl = last_decl(p, kind);
	return decl ? arena_printf(s->c->arena, "%s", decl->name) : NULL;
}

/* ---- what is printed of an entry that was taken ---- */

static bool show_model(const Work *work, Text *to)
{
	const Decl *decl = last_decl(work->k.program, DECL_MODEL);
	Model *model = model_open(work->request.c, path_beside(work->request.c, decl->node->loc, decl->node->text));
	if (!model)
		return false;
	text_printf(to, "%s: %s, ", decl->name, model->checkpoint->format->name);
	print_bytes(model->file_bytes, to);
	text_printf(to, ", ");
	print_count(model->parameters, to);
	text_printf(to, " parameters in %" PRId64 " tensors", model->checkpoint->tensor_count);
	if (model->facts->layers)
		text_printf(to, ", %" PRId64 " layers", model->facts->layers);
	text_printf(to, "\n");
	model_close(model);
	return true;
}

static void show_plan(const Plan *plan, Text *to)
{
	int64_t before = 0;
	size_t count = 0;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		before += plan->tensors.at[i].file->bytes;
		count += plan->tensors.at[i].links.count > 0;
	}
	text_printf(to, "changes %zu of %zu tensors; output ", count, plan->tensors.count);
	print_bytes(plan->program->output_bytes, to);
	text_printf(
		to, ", %.1f%% of the input\n", before ? 100.0 * (double)plan->program->output_bytes / (double)before : 0.0);
}

static void show(const Text *text)
{
	if (text->count)
		fwrite(text->at, 1, text->count, stdout);
}

/* ---- entering ---- */

/* The declarations hold together, and the model that was just named can be opened. */
static bool take_declarations(Session *s, State *next, const Entry *entry, Text *to)
{
	Work *work = state_compile(s, next, true, &(Goal){.until = "program"});
	if (work->is_good) {
		next->model = last_name(s, work->k.program, DECL_MODEL);
		next->pipeline = last_name(s, work->k.program, DECL_PIPELINE);
		next->target = last_name(s, work->k.program, DECL_TARGET);
		if (entry && entry->kind == N_MODEL)
			work->is_good = show_model(work, to);
		else if (entry && entry->name && !entry->is_statement)
			text_printf(to, "declared %s %s\n", node_kind_text(entry->kind), entry->name);
	}
	return work_end(work);
}

/* The pipeline that an entry makes or changes can be planned. */
static bool take_pipeline(Session *s, State *next, const Entry *entry, Text *to)
{
	Text statements = {.arena = s->c->arena};
	Goal goal = {.until = "plan", .runs_here = true};
	bool saves = false, is_declared = entry->kind == N_PIPELINE;
	Work *work;
	for (size_t i = 0; i < next->entries.count; i++) {
		saves |= next->entries.at[i].kind == N_SAVE;
		if (next->entries.at[i].is_statement)
			text_printf(&statements, "%s\n", next->entries.at[i].text);
	}
	if (!statements.count && !is_declared)
		return true;
	if (statements.count && !next->model)
		return session_error(s, "no model is open; open one with: model PATH");
	if (statements.count)
		work = statements_compile(s, next, "repl", next->target, statements.at, saves, &goal, &next->output);
	else
		work = state_compile(s, next, false, &goal);
	if (work->is_good && (entry->is_statement || is_declared))
		show_plan(work->k.plan, to);
	return work_end(work);
}

bool session_enter(Session *s, Entry entry)
{
	State *next = state_with(s, entry);
	Text said = {.arena = s->c->arena};
	if (!take_declarations(s, next, &entry, &said) || !take_pipeline(s, next, &entry, &said))
		return false;
	show(&said);
	s->state = next;
	return true;
}

bool session_open(Session *s)
{
	State *first = arena_new_of(s->c->arena, State);
	s->state = first;
	return take_declarations(s, first, NULL, &(Text){.arena = s->c->arena});
}

bool session_undo(Session *s)
{
	const State *state = s->state;
	if (!state->before)
		return session_error(s, "nothing is left to undo");
	const char *text = state->entries.at[state->entries.count - 1].text;
	size_t length = strcspn(text, "\n");
	printf("forgot: %.*s%s\n", (int)length, text, text[length] ? " .." : "");
	s->state = state->before;
	return true;
}

/* ---- completion ---- */

static void add_roles(Session *s, const Program *p, NameVec *to)
{
	for (size_t d = 0; d < p->decls.count; d++) {
		const Decl *decl = p->decls.at[d];
		for (uint32_t r = 0; decl->kind == DECL_ROLES && r < decl->node->kid_count; r++)
			for (uint32_t i = 0; i < decl->node->kids[r]->kids[0]->kid_count; i++)
				vec_push(s->c->arena, to, name_of(s->c, decl->node->kids[r]->kids[0]->kids[i]->name));
	}
}

static void add_tensors(Session *s, const Program *p, NameVec *to)
{
	CmprtError error;
	const Decl *decl = last_decl(p, DECL_MODEL);
	Checkpoint *checkpoint = decl ? checkpoint_open(path_beside(p->c, decl->node->loc, decl->node->text), &error) : NULL;
	if (!checkpoint)
		return;
	for (int64_t i = 0; i < checkpoint->tensor_count; i++)
		vec_push(s->c->arena, to, name_of(s->c, checkpoint->tensors[i].name));
	checkpoint_close(checkpoint);
}

void session_words(Session *s, NameVec *to)
{
	Work *work = state_compile(s, s->state, true, &(Goal){.until = "program"});
	const Program *p = work->k.program;
	for (size_t i = 0; work->is_good && i < p->decls.count; i++)
		vec_push(s->c->arena, to, name_of(s->c, p->decls.at[i]->name));
	if (work->is_good) {
		add_roles(s, p, to);
		add_tensors(s, p, to);
		stage_names(s->c, to);
	}
	command_words(s, to);
	work_end(work);
}
