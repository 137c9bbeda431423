/* SPDX-License-Identifier: MIT
 *
 * net.c: fits a net to a checkpoint's headers: extents of axes from its config and
 * from the shapes of its tensors, and a tensor for every weight of every layer. What
 * does not fit is told at the line that asks for it, before anything is read.
 */
#include "net.h"

#include "samples.h"

#include <string.h>

/* ---- which net ---- */

static const Decl *net_named(Program *p, Name name, Loc loc)
{
	const Decl *decl = program_find(p, DECL_NET, name);
	NameVec known = {0};
	if (decl)
		return decl;
	program_names(p, DECL_NET, &known);
	diag_error(p->c, loc, "unknown net \"%s\"", name);
	diag_nearest(p->c, name, &known);
	return NULL;
}

const Decl *net_of_model(Program *p, const Decl *model, const Checkpoint *checkpoint, const Scope *facts)
{
	if (model->node->op)
		return net_named(p, model->node->op, model->node->loc);
	const char *architecture = config_architecture(checkpoint, facts, p->c);
	const Decl *net = architecture ? net_of_architecture(p, architecture) : NULL;
	if (net)
		return net;
	if (architecture)
		diag_error(
			p->c, model->node->loc, "no net is for the architecture \"%s\" of model %s", architecture, model->name);
	else
		diag_error(p->c, model->node->loc, "model %s does not say what network it is", model->name);
	diag_help(p->c, "name one: model %s from \"%s\" as llama", model->name, model->node->text);
	return NULL;
}

/* ---- axes ---- */

static NetAxis *axis_find(NetAxisVec *axes, Name name)
{
	for (size_t i = 0; i < axes->count; i++)
		if (axes->at[i].name == name)
			return &axes->at[i];
	return NULL;
}

static bool evaluate_count(
	Net *net, const Scope *facts, const Node *node, const char *what, int64_t least, int64_t *count)
{
	Value value = value_eval(net->p, facts, node);
	if (value.kind == VALUE_ERROR)
		return false;
	if (value.kind != VALUE_INT || value.integer < least || value.integer > INT32_MAX) {
		Text text = {.arena = net->c->arena};
		value_print(&value, &text);
		diag_error(net->c, node->loc, "%s must be a whole number from %lld, not %s", what, (long long)least, text.at);
		return false;
	}
	*count = value.integer;
	return true;
}

static bool declare_axes(Net *net, const Scope *facts, const Node *body, NetAxisVec *axes)
{
	bool ok = true;
	for (uint32_t i = 0; i < body->kid_count; i++)
		for (uint32_t a = 0; body->kids[i]->kind == N_AXES && a < body->kids[i]->kid_count; a++) {
			const Node *line = body->kids[i]->kids[a];
			NetAxis axis = {.name = line->kids[0]->name, .loc = line->loc};
			if (evaluate_count(net, facts, line->kids[2], "an axis", 1, &axis.extent))
				vec_push(net->c->arena, axes, axis);
			else
				ok = false;
		}
	return ok;
}

static bool find_given(Net *net, const Node *right)
{
	NameVec known = {0};
	int row = given_find(right->text);
	if (row >= 0 && given_of_images(row) == (net->image[0] > 0))
		return true;
	for (int i = 0; i < GIVEN_COUNT; i++)
		if (given_of_images(i) == (net->image[0] > 0))
			vec_push(net->c->arena, &known, name_of(net->c, given_name(i)));
	diag_error(net->c, right->loc, row < 0 ? "data gives no array \"%s\"" : "data of %s gives no array \"%s\"",
		row < 0             ? right->text
		: net->image[0] > 0 ? "images"
							: "tokens",
		right->text);
	diag_nearest(net->c, name_of(net->c, right->text), &known);
	return false;
}

/* An axis of data is as long as the sample, or as the image. */
static bool bind_given_axis(Net *net, const Node *sub, NetAxis axis, NetAxisVec *axes)
{
	const NetAxis *other = axis_find(axes, axis.name);
	if (!other)
		vec_push(net->c->arena, axes, axis);
	if (!other || (other->is_ragged == axis.is_ragged && other->extent == axis.extent))
		return true;
	if (axis.is_ragged)
		diag_error(net->c, sub->loc, "axis \"%s\" is as long as the sample here", axis.name);
	else
		diag_error(net->c, sub->loc, "axis \"%s\" has %lld elements in the images of the data", axis.name,
			(long long)axis.extent);
	diag_note(net->c, other->loc, "and has %lld elements here", (long long)other->extent);
	return false;
}

static bool bind_given(Net *net, const Node *line, NetAxisVec *axes)
{
	const Node *left = line->kids[0], *right = line->kids[2];
	if (!find_given(net, right))
		return false;
	uint32_t rank = left->kind == N_INDEX ? left->kid_count - 1 : 0,
			 wanted = (uint32_t)given_rank(given_find(right->text));
	bool is_good = rank == wanted;
	for (uint32_t i = 0; i < rank; i++)
		is_good &= left->kids[i + 1]->kind == N_NAME;
	if (!is_good) {
		diag_error(net->c, left->loc, "\"%s\" of data has %s", right->text,
			wanted == 0   ? "no axis"
			: wanted == 1 ? "one axis"
						  : "three axes: channels, rows, columns");
		return false;
	}
	for (uint32_t i = 0; i < rank && is_good; i++) {
		const Node *sub = left->kids[i + 1];
		NetAxis axis = {sub->name, rank == 1 ? net->longest : net->image[i], rank == 1, sub->loc};
		is_good = bind_given_axis(net, sub, axis, axes);
	}
	return is_good;
}

/* ---- weights ---- */

/* The pattern with the number in the place of {index}. */
static const char *put_number(const Net *net, const char *pattern, Name index, int64_t number)
{
	Text text = {.arena = net->c->arena};
	const char *place = index ? arena_printf(net->c->arena, "{%s}", index) : NULL;
	for (const char *found; place && (found = strstr(pattern, place)); pattern = found + strlen(place))
		text_printf(&text, "%.*s%lld", (int)(found - pattern), pattern, (long long)number);
	text_printf(&text, "%s", pattern);
	return text.at;
}

/* The axis in {} that is left when the layer's number is put in; NULL: none. */
static Name pattern_axis(const Net *net, const char *pattern)
{
	const char *open = strchr(pattern, '{'), *close = open ? strchr(open, '}') : NULL;
	return close ? name_intern(net->c, open + 1, (size_t)(close - open - 1)) : NULL;
}

static const StoredTensor *find_tensor(const Net *net, const char *name)
{
	for (size_t i = 0; i < net->tensors.count; i++)
		if (!strcmp(net->tensors.at[i].name, name))
			return &net->tensors.at[i];
	return NULL;
}

static const char *shape_text(const Net *net, const StoredTensor *file)
{
	Text text = {.arena = net->c->arena};
	for (int64_t i = 0; i < file->rank; i++)
		text_printf(&text, "%s%lld", i ? ", " : "[", (long long)file->shape[i]);
	text_printf(&text, file->rank ? "]" : "[]");
	return text.at;
}

/* Of a stack the first axis is not the tensor's. */
static bool bind_shape(Net *net, const Node *left, const NetWeight *weight, NetAxisVec *axes)
{
	const StoredTensor *file = weight->file;
	uint32_t first = weight->is_stack ? 2 : 1, rank = left->kind == N_INDEX ? left->kid_count - first : 0;
	if (file->rank != rank) {
		diag_error(net->c, left->loc, "\"%s\" of %s has the shape %s: it is not of rank %u", file->name, net->path,
			shape_text(net, file), rank);
		return false;
	}
	for (uint32_t i = 0; i < rank; i++) {
		const Node *sub = left->kids[i + first];
		if (sub->kind != N_NAME) {
			diag_error(net->c, sub->loc, "the axes of a weight are names");
			return false;
		}
		NetAxis axis = {.name = sub->name, .extent = file->shape[i], .loc = sub->loc};
		const NetAxis *other = axis_find(axes, axis.name);
		if (!other && file->shape[i] > 0 && file->shape[i] <= INT32_MAX) {
			vec_push(net->c->arena, axes, axis);
			continue;
		}
		if (other && !other->is_ragged && other->extent == axis.extent)
			continue;
		diag_error(net->c, left->loc, "\"%s\" of %s has the shape %s: axis \"%s\" has %lld elements there", file->name,
			net->path, shape_text(net, file), axis.name, (long long)axis.extent);
		if (other)
			diag_note(net->c, other->loc, "%s here",
				other->is_ragged ? "it is as long as the sample"
								 : arena_printf(net->c->arena, "it has %lld", (long long)other->extent));
		return false;
	}
	return true;
}

/* Small floats and whole numbers that no dtype reads are codes, which mean something with a scale that nobody knows. */
static bool is_readable(const StoredTensor *tensor)
{
	Store store = tensor->store;
	return tensor->coded || store.kind == STORE_F16 || store.kind == STORE_BF16 || store.kind == STORE_F32 ||
		   store.kind == STORE_F64;
}

static void report_missing(const Net *net, const NetWeight *weight)
{
	const Node *right = weight->line->kids[2];
	NameVec known = {0};
	const char *pattern = put_number(net, right->kids[0]->kids[0]->text, weight->index, weight->layer);
	Name wanted = name_of(net->c, put_number(net, pattern, pattern_axis(net, pattern), 0));
	for (size_t i = 0; i < net->tensors.count; i++)
		vec_push(net->c->arena, &known, name_of(net->c, net->tensors.at[i].name));
	diag_error(net->c, right->loc, "%s has no tensor \"%s\"", net->path, wanted);
	diag_nearest(net->c, wanted, &known);
}

void net_report_missing(const Net *net)
{
	for (size_t i = 0; i < net->weights.count; i++) {
		const NetWeight *weight = &net->weights.at[i];
		bool is_first = true;
		for (size_t k = 0; k < i; k++)
			is_first &= net->weights.at[k].line != weight->line || net->weights.at[k].file;
		if (!weight->file && !weight->line->kids[2]->kids[2] && is_first)
			report_missing(net, weight);
	}
}

bool net_weight_is_new(const NetWeight *weight)
{
	return weight->members.count && weight->members.at[0].value;
}

/* The length of the axis that numbers members: it is declared, and the array's first. 0: reported. */
static int64_t count_members(Net *net, const Node *line, Name name, NetAxisVec *axes)
{
	const Node *left = line->kids[0];
	const NetAxis *axis = axis_find(axes, name);
	if (axis && !axis->is_ragged && left->kind == N_INDEX && left->kids[1]->kind == N_NAME &&
		left->kids[1]->name == name)
		return axis->extent;
	diag_error(
		net->c, line->kids[2]->loc, "{%s} in a tensor's name is the array's first axis, of a declared length", name);
	diag_help(net->c, "declare it: axis %s = config.num_experts", name);
	return 0;
}

static bool add_member(Net *net, const Node *line, NetWeight *weight, const char *name, const StoredTensor *file)
{
	const StoredTensor *first = weight->file;
	bool is_like = file && !strcmp(file->dtype, first->dtype) && file->rank == first->rank;
	for (int64_t i = 0; is_like && i < file->rank; i++)
		is_like = file->shape[i] == first->shape[i];
	vec_push(net->c->arena, &weight->members, ((NetMember){file, 0}));
	if (!file)
		diag_error(net->c, line->kids[2]->loc, "%s has no tensor \"%s\"", net->path, name);
	else if (!is_like)
		diag_error(net->c, line->kids[2]->loc, "\"%s\" and \"%s\" of %s are not of one type and shape", first->name,
			file->name, net->path);
	return is_like;
}

/* The first of the patterns that the checkpoint has tensors for. False: reported. */
static bool find_members(Net *net, const Node *line, NetWeight *weight, NetAxisVec *axes)
{
	const Node *patterns = line->kids[2]->kids[0];
	for (uint32_t i = 0; i < patterns->kid_count && !weight->file; i++) {
		const char *pattern = put_number(net, patterns->kids[i]->text, weight->index, weight->layer);
		Name axis = pattern_axis(net, pattern);
		int64_t count = axis ? count_members(net, line, axis, axes) : 1;
		weight->file = find_tensor(net, put_number(net, pattern, axis, 0));
		weight->is_stack = axis != NULL;
		bool ok = count > 0;
		for (int64_t m = 0; m < count && weight->file && ok; m++) {
			const char *name = put_number(net, pattern, axis, m);
			ok = add_member(net, line, weight, name, find_tensor(net, name));
		}
		if (!ok)
			return false;
	}
	return true;
}

static bool fit_weight(Net *net, const Node *line, const Node *layer, int64_t number, NetAxisVec *axes)
{
	const Node *right = line->kids[2];
	NetWeight weight = {.line = line, .layer = number, .index = layer ? layer->name : NULL};
	if (!find_members(net, line, &weight, axes))
		return false;
	if (weight.file && !is_readable(weight.file)) {
		if (!net->has_codes)
			diag_error(net->c, right->loc, "\"%s\" of %s is stored as %s, of which no dtype is known",
				weight.file->name, net->path, weight.file->dtype);
		net->has_codes = true;
		return false;
	}
	vec_push(net->c->arena, &net->weights, weight);
	return !weight.file || bind_shape(net, line->kids[0], &weight, axes);
}

static bool fit_lines(
	Net *net, const Node *body, const Node *layer, int64_t number, const Scope *facts, NetAxisVec *axes)
{
	bool ok = declare_axes(net, facts, body, axes);
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *line = body->kids[i];
		if (line->kind == N_DEFINE && line->kids[2]->kind == N_GIVEN)
			ok = bind_given(net, line, axes) && ok;
		if (line->kind == N_DEFINE && line->kids[2]->kind == N_WEIGHT)
			ok = fit_weight(net, line, layer, number, axes) && ok;
	}
	return ok;
}

/* ---- layers ---- */

static NetAxisVec copy_axes(Net *net, const NetAxisVec *axes)
{
	NetAxisVec copy = {0};
	for (size_t i = 0; i < axes->count; i++)
		vec_push(net->c->arena, &copy, axes->at[i]);
	return copy;
}

static const Scope *layer_facts(Net *net, const Node *layer, int64_t number)
{
	Scope *facts = scope_new(net->c, net->facts);
	scope_bind(net->c, facts, layer->name, value_int(layer->loc, number));
	return facts;
}

static bool fit_layers(Net *net, const Node *layer, const NetAxisVec *axes)
{
	const Node *until = layer->kids[0];
	int64_t first = 0, end;
	bool ok = true;
	if (until->kind == N_RANGE) {
		ok = evaluate_count(net, net->facts, until->kids[0], "the first layer", 0, &first);
		until = until->kids[1];
	}
	ok = ok && evaluate_count(net, net->facts, until, "the number of layers", 0, &end);
	for (int64_t i = first; ok && i < end; i++) {
		NetInstance instance = {
			.layer = layer, .number = i, .axes = copy_axes(net, axes), .facts = layer_facts(net, layer, i)};
		ok = fit_lines(net, layer->kids[1], layer, i, instance.facts, &instance.axes);
		vec_push(net->c->arena, &net->instances, instance);
	}
	return ok;
}

/* ---- what the net requires ---- */

/* Answers as the model's facts do, and keeps what of its config was asked. */
typedef struct Settings {
	const Scope *facts;
	Text text;
} Settings;

static bool ask_setting(void *context, Name name, Value *out)
{
	Settings *settings = context;
	if (!scope_find(settings->facts, name, out))
		return false;
	const char *known = settings->text.at ? settings->text.at : "";
	if (!strncmp(name, "config.", strlen("config.")) && !strstr(known, name)) {
		text_printf(&settings->text, "%s%s is ", *known ? ", " : "", name);
		value_print(out, &settings->text);
	}
	return true;
}

static bool holds_requires(Net *net)
{
	const Node *body = net->node->kids[0];
	bool ok = true;
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *line = body->kids[i];
		if (line->kind != N_REQUIRE)
			continue;
		Settings settings = {.facts = net->facts, .text = {.arena = net->c->arena}};
		Scope *scope = scope_new(net->c, NULL);
		scope->ask = ask_setting;
		scope->context = &settings;
		Value held = value_eval(net->p, scope, line->kids[0]);
		bool is_held = held.kind == VALUE_BOOL && held.is_true;
		if (!is_held && held.kind != VALUE_ERROR)
			diag_error(net->c, line->loc, "%s is not what net %s computes: %s", net->path, net->node->name,
				settings.text.at ? settings.text.at : "this does not hold");
		ok &= is_held;
	}
	return ok;
}

Net *net_fit(Program *p, const Decl *decl, const Checkpoint *checkpoint, const char *path, const Scope *facts,
	const CmprtData *data, int64_t longest)
{
	Net *net = arena_new_of(p->c->arena, Net);
	const Node *body = decl->node->kids[0];
	*net = (Net){.p = p,
		.c = p->c,
		.decl = decl,
		.node = decl->node,
		.checkpoint = checkpoint,
		.path = path,
		.facts = facts,
		.suffix = "",
		.longest = longest,
		.image = {data->channels, data->height, data->width}};
	StoredFile source = {.c = p->c, .library = p, .checkpoint = checkpoint};
	if (!holds_requires(net) || !stored_tensors(&source, &net->tensors))
		return NULL;
	NetAxisVec axes = {0};
	bool ok = fit_lines(net, body, NULL, -1, facts, &axes);
	for (uint32_t first = 0, end; first <= body->kid_count; first = end + 1) {
		for (end = first; end < body->kid_count && body->kids[end]->kind != N_LAYER;)
			end++;
		NetInstance lines = {.first = first, .end = end, .number = -1, .axes = axes, .facts = facts};
		vec_push(net->c->arena, &net->instances, lines);
		if (end < body->kid_count)
			ok = fit_layers(net, body->kids[end], &axes) && ok;
	}
	return ok ? net : NULL;
}

const NetWeight *net_weight(const Net *net, const Node *line, int64_t layer)
{
	for (size_t i = 0; i < net->weights.count; i++)
		if (net->weights.at[i].line == line && net->weights.at[i].layer == layer)
			return &net->weights.at[i];
	return NULL;
}

bool member_is_of(const NetMember *member, const CkTensor *file)
{
	return member->file->parts[0] == file;
}
