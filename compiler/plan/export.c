/* SPDX-License-Identifier: MIT
 *
 * export.c: a model written into another container than it came in, as that one's
 * readers know it: the `export` of its architecture names every tensor anew, says
 * which rows lie in another order, which tensors become one, and what metadata stand
 * beside them. On exit every tensor has its place, or what has none is reported.
 */
#include "net.h"

#include "parts.h"
#include "tokenizer.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- which export ---- */

static bool is_for(const Decl *export, const char *architecture)
{
	const Node *types = export->node->kids[1];
	if (!strcmp(export->name, architecture))
		return true;
	for (uint32_t i = 0; types && i < types->kid_count; i++)
		if (!strcmp(types->kids[i]->text, architecture))
			return true;
	return false;
}

/* Those of the program come first. has_any: there are some into that container. */
static const Decl *find_export(Plan *plan, const char *architecture, bool *has_any)
{
	for (size_t i = 0; i < plan->p->decls.count; i++) {
		if (plan->p->decls.at[i]->kind != DECL_EXPORT)
			continue;
		const Decl *export = program_find(plan->p, DECL_EXPORT, plan->p->decls.at[i]->name);
		if (!export || strcmp(export->node->op, plan->output_format->name))
			continue;
		*has_any = true;
		if (is_for(export, architecture))
			return export;
	}
	return NULL;
}

static Loc save_loc(const Plan *plan)
{
	return plan->save ? plan->save->loc : plan->pipeline->node->loc;
}

/* ---- names with numbers in them ---- */

typedef struct Numbers {
	size_t count;
	struct {
		const char *name; /* in the pattern */
		size_t length;
		int64_t value;
	} at[4];
} Numbers;

static bool name_fits(const char *pattern, const char *name, Numbers *numbers)
{
	numbers->count = 0;
	while (*pattern) {
		const char *close = *pattern == '{' ? strchr(pattern, '}') : NULL;
		if (!close) {
			if (*pattern++ != *name++)
				return false;
			continue;
		}
		const char *digits = name;
		int64_t value = 0;
		while (isdigit((unsigned char)*name) && name - digits < 9)
			value = 10 * value + (*name++ - '0');
		bool is_number = name > digits && (*digits != '0' || name == digits + 1);
		if (!is_number || numbers->count == sizeof numbers->at / sizeof *numbers->at)
			return false;
		numbers->at[numbers->count].name = pattern + 1;
		numbers->at[numbers->count].length = (size_t)(close - pattern) - 1;
		numbers->at[numbers->count++].value = value;
		pattern = close + 1;
	}
	return !*name;
}

/* The name on the left; *member: the number that it lacks, -1: it has all of them. */
static const char *name_filled(Plan *plan, const char *pattern, const Numbers *numbers, int64_t *member)
{
	Text text = {.arena = plan->c->arena};
	bool is_used[4] = {false};
	for (const char *at = pattern; *at; at++) {
		const char *close = *at == '{' ? strchr(at, '}') : NULL;
		size_t i = 0;
		while (close && i < numbers->count &&
			   (numbers->at[i].length != (size_t)(close - at) - 1 ||
				   strncmp(numbers->at[i].name, at + 1, numbers->at[i].length)))
			i++;
		if (!close || i == numbers->count) {
			text_append(&text, at, 1);
			continue;
		}
		text_printf(&text, "%" PRId64, numbers->at[i].value);
		is_used[i] = true;
		at = close;
	}
	*member = -1;
	for (size_t i = 0; i < numbers->count; i++)
		if (!is_used[i])
			*member = numbers->at[i].value;
	return text.at;
}

/* ---- the place of a tensor ---- */

static const Node *name_of_row(const Node *node)
{
	return node->kind == N_INDEX ? node->kids[0] : node;
}

/* [.., s < 2, r]: how many of the last axis but one and of the last there are. False: reported. */
static bool find_turn(Plan *plan, PlanTensor *tensor, const Node *axes)
{
	uint32_t count = axes->kid_count;
	int64_t rows = tensor->file->rank > 1 ? tensor->rows : tensor->cols, product = 1, extents[8], *free = NULL;
	if (tensor->stack > 1 || count > sizeof extents / sizeof *extents) {
		diag_error(plan->c, axes->loc, "the rows of \"%s\" cannot be put in another order", tensor->file->name);
		return false;
	}
	for (uint32_t i = 1; i < count; i++) {
		if (axes->kids[i]->kind != N_BINARY) {
			free = &extents[i];
			continue;
		}
		Value value = value_eval(plan->p, plan->model_facts, axes->kids[i]->kids[1]);
		if (value.kind == VALUE_ERROR)
			return false;
		extents[i] = value.kind == VALUE_INT ? value.integer : 0;
		if (extents[i] < 1 || __builtin_mul_overflow(product, extents[i], &product)) {
			diag_error(plan->c, axes->kids[i]->loc, "an axis of rows needs a whole number of places, at least one");
			return false;
		}
	}
	if (!free || rows % product) {
		diag_error(plan->c, axes->loc, "\"%s\" has %" PRId64 " rows, no multiple of %" PRId64, tensor->file->name, rows,
			product);
		return false;
	}
	*free = rows / product;
	tensor->place.turn_slow = extents[count - 2];
	tensor->place.turn_fast = extents[count - 1];
	return true;
}

static bool is_left_out(const Node *body, const char *name)
{
	int64_t layer;
	for (uint32_t i = 0; i < body->kid_count; i++)
		for (uint32_t k = 0; body->kids[i]->kind == N_OMIT && k < body->kids[i]->kid_count; k++)
			if (pattern_is_match(body->kids[i]->kids[k]->text, name, &layer))
				return true;
	return false;
}

/* The one of a row's weights that has this name; NULL: none has, or the row is of none. */
static const Node *weight_of_row(const Node *row, const char *name, Numbers *numbers)
{
	const Node *weights = row->kind == N_DEFINE && row->kids[2]->kind == N_WEIGHT ? row->kids[2]->kids[0] : NULL;
	for (uint32_t i = 0; weights && i < weights->kid_count; i++)
		if (name_fits(name_of_row(weights->kids[i])->text, name, numbers))
			return weights->kids[i];
	return NULL;
}

/* The first row that fits its name. False: reported. */
static bool find_place(Plan *plan, PlanTensor *tensor)
{
	const Node *body = plan->export->node->kids[0];
	PlanPlace *place = &tensor->place;
	Numbers numbers;
	place->is_left_out = is_left_out(body, tensor->file->name);
	for (uint32_t i = 0; i < body->kid_count && !place->is_left_out; i++) {
		const Node *row = body->kids[i], *weight = weight_of_row(row, tensor->file->name, &numbers);
		if (!weight)
			continue;
		place->name = name_filled(plan, name_of_row(row->kids[0])->text, &numbers, &place->member);
		place->members = place->member >= 0;
		place->is_turned = tensor->is_transposed;
		return weight->kind != N_INDEX || find_turn(plan, tensor, weight);
	}
	return true;
}

static bool same_shape(const CkTensor *a, const CkTensor *b)
{
	return a->rank == b->rank && !memcmp(a->shape, b->shape, sizeof *a->shape * (size_t)a->rank);
}

/* Tensors of one name are a stack: their numbers are 0, 1, 2 .. and they are alike. False: reported. */
static bool count_members(Plan *plan, PlanTensor *tensor)
{
	int64_t found = 0, beyond = 0;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *other = &plan->tensors.at[i];
		if (!other->place.name || strcmp(other->place.name, tensor->place.name))
			continue;
		if (!other->place.members || !same_shape(other->file, tensor->file)) {
			diag_error(plan->c, save_loc(plan), "\"%s\" and \"%s\" cannot both become \"%s\"", tensor->file->name,
				other->file->name, tensor->place.name);
			return false;
		}
		found++;
		beyond = other->place.member >= beyond ? other->place.member + 1 : beyond;
	}
	if (found != beyond) {
		diag_error(plan->c, save_loc(plan),
			"\"%s\" is of %" PRId64 " tensors that become \"%s\", but %" PRId64 " are there", tensor->file->name,
			beyond, tensor->place.name, found);
		return false;
	}
	tensor->place.members = found;
	return true;
}

static bool find_places(Plan *plan)
{
	size_t lost = 0;
	const char *first = NULL;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		PlanTensor *tensor = &plan->tensors.at[i];
		if (!find_place(plan, tensor))
			return false;
		if (!tensor->place.name && !tensor->place.is_left_out && !lost++)
			first = tensor->file->name;
	}
	for (size_t i = 0; i < plan->tensors.count; i++)
		if (plan->tensors.at[i].place.members && !count_members(plan, &plan->tensors.at[i]))
			return false;
	if (!lost || plan_is_in_parts(plan)) /* no pass reads parts, which is told later */
		return true;
	const char *others = lost > 1 ? arena_printf(plan->c->arena, " (and %zu more)", lost - 1) : "";
	diag_error(plan->c, save_loc(plan), "export %s into %s has no place for \"%s\"%s", plan->export->name,
		plan->export->node->op, first, others);
	diag_help(plan->c, "a program may have an export of its own, with a row for it: \"..\" = weight \"%s\"", first);
	return false;
}

/* ---- metadata ---- */

static void add_meta(Plan *plan, const char *key, const char *type, const char *value)
{
	CmprtMeta meta = {key, type, value};
	vec_push(plan->c->arena, &plan->export_meta, meta);
}

/* Of the type that the row says; a value that is none is not written. False: reported. */
static bool add_value(Plan *plan, const Node *row)
{
	Value value = value_eval(plan->p, plan->model_facts, row->kids[2]);
	const char *type = row->kids[1] ? row->kids[1]->name : "string";
	Text text = {.arena = plan->c->arena};
	if (value.kind == VALUE_ERROR || value.kind == VALUE_NONE)
		return value.kind == VALUE_NONE;
	bool is_right = !strcmp(type, "string") ? value.kind == VALUE_STRING
					: !strcmp(type, "bool") ? value.kind == VALUE_BOOL
					: *type == 'f'          ? value_is_number(&value)
											: value.kind == VALUE_INT && (*type == 'i' || value.integer >= 0);
	value_print(&value, &text);
	if (!is_right) {
		diag_error(plan->c, row->kids[2]->loc, "\"%s\" is %s, expected a %s", row->kids[0]->text, text.at, type);
		return false;
	}
	add_meta(plan, row->kids[0]->text, type, text.at ? text.at : "");
	return true;
}

/* "x"[r < n]: f32 = e */
static bool add_array(Plan *plan, const Node *row)
{
	const Node *axis = row->kids[0]->kids[1];
	Value extent = value_eval(plan->p, plan->model_facts, axis->kids[1]);
	if (extent.kind != VALUE_INT || extent.integer < 0 || extent.integer > INT16_MAX) {
		if (extent.kind != VALUE_ERROR)
			diag_error(plan->c, axis->loc, "an array of an export has 0 to %d elements", INT16_MAX);
		return false;
	}
	int64_t count = extent.integer, *words = arena_array(plan->c->arena, int64_t, count + 1);
	Store store = store_find(row->kids[1]->name);
	CmprtOutput output = {.name = row->kids[0]->kids[0]->text,
		.container_dtype = container_dtype(plan, store),
		.container_code = container_code(plan, store),
		.rank = 1,
		.shape = plan_ints(plan, &count, 1),
		.bytes = count * (int64_t)sizeof(float),
		.word_count = (count + 1) / 2,
		.words = words};
	words[count / 2] = 0;
	for (int64_t i = 0; i < count; i++) {
		Scope *scope = scope_new(plan->c, plan->model_facts);
		scope_bind(plan->c, scope, axis->kids[0]->name, value_int(axis->loc, i));
		Value value = value_need_number(plan->p, value_eval(plan->p, scope, row->kids[2]), "an array");
		if (value.kind == VALUE_ERROR)
			return false;
		memcpy((char *)words + i * (int64_t)sizeof(float), &(float){(float)value.real}, sizeof(float));
	}
	if (count)
		vec_push(plan->c->arena, &plan->export_arrays, output);
	return true;
}

static bool add_values(Plan *plan)
{
	const Node *body = plan->export->node->kids[0];
	size_t errors = diag_errors(plan->c);
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *row = body->kids[i];
		if (row->kind != N_DEFINE || row->kids[2]->kind == N_WEIGHT)
			continue;
		if (row->kids[0]->kind == N_INDEX)
			add_array(plan, row);
		else
			add_value(plan, row);
	}
	return diag_errors(plan->c) == errors;
}

/* Rows of the embedding: as many tokens there are. */
static int64_t token_count(const Plan *plan)
{
	Name embedding = name_of(plan->c, "embedding");
	for (size_t i = 0; i < plan->tensors.count; i++)
		for (size_t k = 0; k < plan->tensors.at[i].roles.count; k++)
			if (plan->tensors.at[i].roles.at[k] == embedding)
				return plan->tensors.at[i].rows;
	return 0;
}

/* What the container says of the model's tokenizer. False: reported. */
static bool add_vocabulary(Plan *plan)
{
	const Checkpoint *checkpoint = plan->checkpoint;
	Pool *pool = pool_new();
	const char *folder = checkpoint->is_folder ? checkpoint->path : path_folder(pool, checkpoint->path);
	TokenizerMeta meta;
	CmprtError error;
	bool is_read = tokenizer_metadata(folder, checkpoint->config, token_count(plan), pool, &meta, &error);
	if (!is_read)
		diag_error(plan->c, plan->model->node->loc, "%s", error.text);
	for (int64_t i = 0; is_read && i < meta.count; i++)
		add_meta(plan, arena_printf(plan->c->arena, "%s", meta.at[i].key), meta.at[i].type,
			arena_printf(plan->c->arena, "%s", meta.at[i].value));
	if (is_read && !meta.count) {
		diag_warning(plan->c, plan->model->node->loc,
			"model %s has no tokenizer.json: the result has no tokenizer, and reads numbers of tokens only",
			plan->model->name);
		add_meta(plan, "tokenizer.ggml.model", "string", "none");
	}
	pool_free(pool);
	return is_read;
}

/* ---- all together ---- */

bool plan_places(Plan *plan, const Format *into)
{
	bool has_any = false, ok = true;
	const char *architecture = config_architecture(plan->checkpoint, plan->model_facts, plan->c);
	plan->output_format = into;
	plan->export = architecture ? find_export(plan, architecture, &has_any) : NULL;
	for (size_t i = 0; plan->export && i < plan->tensors.count && ok; i++)
		ok = find_place(plan, &plan->tensors.at[i]);
	return ok;
}

bool plan_export(Plan *plan)
{
	bool has_any = false;
	const char *architecture = plan->model->node->op
								   ? plan->model->node->op
								   : config_architecture(plan->checkpoint, plan->model_facts, plan->c);
	if (plan->checkpoint->format == plan->output_format)
		return true;
	if (!architecture) {
		diag_warning(plan->c, save_loc(plan),
			"model %s does not say its architecture, as a config.json does: tensors keep their names, which readers of "
			"%s may not know",
			plan->model->name, plan->output_format->name);
		diag_help(plan->c, "or say it here: model %s from \"..\" as llama", plan->model->name);
		return true;
	}
	plan->export = find_export(plan, architecture, &has_any);
	if (plan->export)
		return find_places(plan) &&
			   (plan->saves_arrays || (add_values(plan) && (plan->options->checks_only || add_vocabulary(plan))));
	if (!has_any) {
		diag_warning(plan->c, save_loc(plan), "there is no export into %s: tensors keep their names of %s",
			plan->output_format->name, plan->checkpoint->format->name);
	} else {
		diag_warning(plan->c, save_loc(plan),
			"no export into %s is for the architecture \"%s\": tensors keep their names, and what readers of %s ask "
			"for beside them is not there",
			plan->output_format->name, architecture, plan->output_format->name);
		diag_help(plan->c, "exports that there are: cmpc doc");
	}
	return true;
}
