/* SPDX-License-Identifier: MIT
 *
 * check_body.c: bodies of passes and fns. `=` lines may stand in any order, so
 * their names are collected first; then each line is checked with the indices of
 * its left side in scope. `:=` needs an array that stands above it.
 */
#include "check.h"

#include <string.h>

/* ---- names that a body defines ---- */

static bool uses_index(const Node *left, Name index)
{
	for (; left->kind == N_INDEX; left = left->kids[0])
		for (uint32_t i = 1; i < left->kid_count; i++)
			if (left->kids[i]->kind == N_NAME && left->kids[i]->name == index)
				return true;
	return false;
}

static bool is_in_frame(const Frame *frame, Name name)
{
	for (size_t i = 0; i < frame->symbols.count; i++)
		if (frame->symbols.at[i].name == name)
			return true;
	return false;
}

typedef struct Collector {
	Checker *ck;
	bool is_conditional; /* below a `when` */
} Collector;

static void collect_one(Collector *in, const Node *left, Shape value, bool is_field, bool is_of_tuple)
{
	const Node *name = node_array(left);
	if (name->kind != N_NAME || is_in_frame(in->ck->frame, name->name))
		return;
	int rank = (int)subscript_count(left);
	Symbol *symbol = symbol_add(in->ck, SYMBOL_ARRAY, name->name, left->loc);
	symbol->is_pending = true;
	symbol->is_conditional = in->is_conditional;
	symbol->is_field = is_field;
	symbol->rank = value.kind == SHAPE_ARRAY ? (rank ? -1 : value.rank) : rank;
	if (value.kind == SHAPE_RESULTS && !is_of_tuple) {
		symbol->fn = value.fn;
		symbol->results = value.results;
	}
	if (is_of_tuple) /* which axes it has only the elaborator knows */
		symbol->rank = -1;
}

static void collect_define(Collector *in, const Node *node)
{
	const Node *left = node->kids[0];
	Shape value = call_shape(in->ck, node->kids[2]);
	if (left->kind != N_TUPLE) {
		collect_one(in, left, value, node->kids[1] != NULL, false);
		return;
	}
	for (uint32_t i = 0; i < left->kid_count; i++)
		collect_one(in, left->kids[i], value, false, true);
}

/* Slices, one for each turn of a loop, outlive it; what `when` defines belongs to the body around it. */
static void collect(Collector *in, const Node *body, Name turn, bool only_slices)
{
	for (uint32_t i = 0; i < body->kid_count; i++) {
		const Node *node = body->kids[i];
		if (node->kind == N_DEFINE) {
			const Node *left = node->kids[0]->kind == N_TUPLE ? node->kids[0]->kids[0] : node->kids[0];
			if (!only_slices || (turn && uses_index(left, turn)))
				collect_define(in, node);
		} else if (node->kind == N_FOR) {
			collect(in, node->kids[1], node->name, true);
			if (turn)
				collect(in, node->kids[1], turn, true);
		} else if (node->kind == N_WHEN) {
			Collector inner = {in->ck, true};
			collect(&inner, node->kids[1], turn, only_slices);
		}
	}
}

/* ---- left sides ---- */

static void bind_index(Checker *ck, const Node *name, bool may_be_slice)
{
	const Symbol *other = index_find(ck, name->name);
	if (other && may_be_slice)
		return; /* the slice of this turn */
	if (other) {
		diag_error(ck->c, name->loc, "index \"%s\" is in scope already: this needs a name of its own", name->name);
		diag_note(ck->c, other->loc, "it is bound here");
	}
	symbol_add(ck, SYMBOL_INDEX, name->name, name->loc);
}

static void bind_subscript(Checker *ck, const Node *sub, const Node *right)
{
	if (sub->kind == N_BINARY && is_word(sub->op, "<") && sub->kids[0]->kind == N_NAME) {
		check_scalar(ck, sub->kids[1]);
		bind_index(ck, sub->kids[0], false);
	} else if (sub->kind == N_IN) {
		check_expr(ck, sub->kids[1]);
		bind_index(ck, sub->kids[0], false);
	} else if (sub->kind == N_NAME) {
		bool is_bounded = ck->has_own_extents || axis_is_known(ck, sub->name) || index_find(ck, sub->name) ||
						  index_is_bounded(right, sub->name);
		if (!is_bounded)
			diag_error(ck->c, sub->loc, "nothing bounds index \"%s\": write %s < n", sub->name, sub->name);
		bind_index(ck, sub, true);
	} else if (sub->kind != N_STAR && sub->kind != N_SLICE) {
		check_scalar(ck, sub);
		if (!ck->is_update)
			diag_error(ck->c, sub->loc, "the left side of = names its indices, as in x[k] or x[k < 32]");
	}
}

static bool is_twice(const Node *left, const Node *sub)
{
	for (; left->kind == N_INDEX; left = left->kids[0])
		for (uint32_t i = 1; i < left->kid_count; i++)
			if (left->kids[i] != sub && left->kids[i]->kind == N_NAME && left->kids[i]->name == sub->name &&
				left->kids[i]->loc.begin < sub->loc.begin)
				return true;
	return false;
}

/* Innermost brackets first: w[s][o, i] binds s, o, i. */
static void bind_left(Checker *ck, const Node *left, const Node *right)
{
	if (left->kind != N_INDEX)
		return;
	bind_left(ck, left->kids[0], right);
	for (uint32_t i = 1; i < left->kid_count; i++)
		bind_subscript(ck, left->kids[i], right);
}

static void check_repeats(Checker *ck, const Node *left)
{
	for (const Node *part = left; part->kind == N_INDEX; part = part->kids[0])
		for (uint32_t i = 1; i < part->kid_count; i++)
			if (part->kids[i]->kind == N_NAME && !index_find(ck, part->kids[i]->name) && is_twice(left, part->kids[i]))
				diag_error(
					ck->c, part->kids[i]->loc, "index \"%s\" stands twice on the left side", part->kids[i]->name);
}

/* ---- = ---- */

void check_storage(Checker *ck, const Node *type)
{
	if (!type || storage_bits(type->name) || is_word(type->name, "input"))
		return;
	NameVec known = {0};
	storage_names(ck->c, &known);
	vec_push(ck->c->arena, &known, name_of(ck->c, "input"));
	diag_error(ck->c, type->loc, "\"%s\" is no storage type", type->name);
	diag_nearest(ck->c, type->name, &known);
}

static void report_defined_twice(Checker *ck, const Node *left, const Symbol *other)
{
	bool is_declared = other->is_subject || other->is_parameter;
	const char *what = other->is_subject ? "the subject" : other->is_parameter ? "a parameter" : "defined";
	diag_error(ck->c, left->loc, "\"%s\" is %s already", other->name, what);
	diag_note(ck->c, other->loc, "it is %s here", is_declared ? "declared" : "defined");
	if (!other->is_parameter)
		diag_help(ck->c, "`:=` gives an array its next value");
}

/* The symbols of this left side are no longer pending; a second definition is reported. */
static void settle(Checker *ck, const Node *left)
{
	const Node *name = node_array(left);
	const Symbol *other = NULL;
	bool is_first = false;
	if (name->kind != N_NAME) {
		diag_error(ck->c, left->loc, "expected a name on the left side");
		return;
	}
	for (Frame *frame = ck->frame; frame; frame = frame->outer) {
		for (size_t i = 0; i < frame->symbols.count; i++) {
			Symbol *symbol = &frame->symbols.at[i];
			if (symbol->name != name->name || symbol->kind == SYMBOL_INDEX)
				continue;
			bool is_this = symbol->loc.begin == left->loc.begin && symbol->loc.file == left->loc.file;
			if (is_this)
				symbol->is_pending = false;
			else if (!other && !(is_first && symbol->is_conditional))
				other = symbol;
			is_first |= is_this;
		}
	}
	if (other)
		report_defined_twice(ck, left, other);
}

/* Calls may give whole arrays and structs; all else is one number for each index. */
static Shape check_right(Checker *ck, const Node *right)
{
	bool is_call = right->kind == N_CALL && !is_reduction(right);
	if (right->kind == N_WEIGHT || right->kind == N_GIVEN) {
		check_given_array(ck, right);
		return shape_scalar();
	}
	if (is_call)
		return check_expr(ck, right);
	check_scalar(ck, right);
	return shape_scalar();
}

static void check_define(Checker *ck, const Node *node)
{
	settle(ck, node->kids[0]);
	check_storage(ck, node->kids[1]);
	check_repeats(ck, node->kids[0]);
	frame_push(ck);
	bind_left(ck, node->kids[0], node->kids[2]);
	check_right(ck, node->kids[2]);
	frame_pop(ck);
}

static void check_tuple(Checker *ck, const Node *node)
{
	const Node *tuple = node->kids[0];
	for (uint32_t i = 0; i < tuple->kid_count; i++)
		settle(ck, tuple->kids[i]);
	frame_push(ck);
	bind_left(ck, tuple->kids[0], node->kids[2]);
	size_t errors = diag_errors(ck->c);
	Shape shape = check_right(ck, node->kids[2]);
	frame_pop(ck);
	if (diag_errors(ck->c) != errors || shape.kind == SHAPE_UNKNOWN)
		return;
	int count = shape.kind == SHAPE_RESULTS ? shape.results : 1;
	if ((int)tuple->kid_count <= count)
		return;
	diag_error(ck->c, tuple->loc, "%u names for %d result%s", tuple->kid_count, count, count == 1 ? "" : "s");
	if (shape.fn)
		diag_note(ck->c, shape.fn->node->loc, "fn %s is declared here", shape.fn->name);
}

/* ---- := ---- */

static void check_target(Checker *ck, const Node *left)
{
	const Node *name = node_array(left);
	const Symbol *symbol = name->kind == N_NAME ? symbol_find(ck, name->name) : NULL;
	if (name->kind != N_NAME) {
		diag_error(ck->c, left->loc, "expected a name on the left side");
		return;
	}
	if (symbol && symbol->kind == SYMBOL_ARRAY && !symbol->is_pending && !symbol->is_parameter)
		return;
	if (symbol && symbol->is_parameter)
		diag_error(ck->c, left->loc, "\"%s\" is a parameter, which keeps its value", name->name);
	else if (symbol && symbol->kind == SYMBOL_INDEX)
		diag_error(ck->c, left->loc, "\"%s\" is an index, which keeps its value", name->name);
	else
		diag_error(ck->c, left->loc, ":= needs an array that is defined above, and \"%s\" is not", name->name);
	if (symbol && symbol->is_pending) {
		diag_note(ck->c, symbol->loc, "it is defined here, below");
	} else if (!symbol) {
		NameVec known = {0};
		for (const Frame *frame = ck->frame; frame; frame = frame->outer)
			for (size_t i = 0; i < frame->symbols.count; i++)
				if (frame->symbols.at[i].kind == SYMBOL_ARRAY)
					vec_push(ck->c->arena, &known, frame->symbols.at[i].name);
		diag_nearest(ck->c, name->name, &known);
	}
}

static void check_update_rank(Checker *ck, const Node *left, const Node *right)
{
	const Node *name = node_array(left);
	const Symbol *symbol = name->kind == N_NAME ? symbol_find(ck, name->name) : NULL;
	int given = (int)subscript_count(left);
	if (!symbol || symbol->kind != SYMBOL_ARRAY || symbol->rank < 0 || symbol->family)
		return;
	bool is_whole = right->kind == N_CALL && !is_reduction(right);
	if (given > symbol->rank + block_count(ck) || (given < symbol->rank && !is_whole))
		diag_error(ck->c, left->loc, "\"%s\" has %d ax%s, not %d", name->name, symbol->rank,
			symbol->rank == 1 ? "is" : "es", given);
}

/* An index of := ranges over the array's own axis in its place, where each has one: not those of a block. */
static bool has_own_extents(const Checker *ck, const Node *left)
{
	const Node *name = node_array(left);
	const Symbol *symbol = name->kind == N_NAME ? symbol_find(ck, name->name) : NULL;
	return !symbol || symbol->rank <= 0 || (int)subscript_count(left) <= symbol->rank;
}

static void check_update(Checker *ck, const Node *node)
{
	const Node *left = node->kids[0], *right = node->kids[2];
	if (left->kind == N_TUPLE) {
		diag_error(ck->c, left->loc, ":= gives one array its next value");
		return;
	}
	size_t errors = diag_errors(ck->c);
	check_target(ck, left);
	if (diag_errors(ck->c) == errors)
		check_update_rank(ck, left, right);
	if (node->kids[1])
		diag_error(ck->c, node->kids[1]->loc, "a storage type stands where a field is defined, with =");
	frame_push(ck);
	ck->is_update = true;
	ck->has_own_extents = has_own_extents(ck, left);
	bind_left(ck, left, right);
	ck->is_update = ck->has_own_extents = false;
	check_right(ck, right);
	frame_pop(ck);
}

/* ---- block, for, when, keep, fold ---- */

static void check_block(Checker *ck, const Node *node)
{
	const Node *axis = node->kids[0], *e = node->kids[1], *product = e->kid_count ? e->kids[0] : NULL;
	bool is_block = e->kind == N_BINARY && is_word(e->op, "+") && product->kind == N_BINARY &&
					is_word(product->op, "*") && product->kids[0]->kind == N_NAME && e->kids[1]->kind == N_NAME;
	if (!is_block) {
		diag_error(ck->c, node->loc, "a block is written `block i = g*m + k`");
		return;
	}
	if (!axis_is_known(ck, axis->name)) {
		NameVec known = {0};
		axis_names(ck, &known);
		diag_error(ck->c, axis->loc, "\"%s\" is no axis here", axis->name);
		diag_nearest(ck->c, axis->name, &known);
	}
	check_scalar(ck, product->kids[1]);
	const Node *made[2] = {product->kids[0], e->kids[1]};
	for (int i = 0; i < 2; i++) {
		if (axis_is_known(ck, made[i]->name))
			diag_error(ck->c, made[i]->loc, "there is an axis \"%s\" already: a block's axes need names of their own",
				made[i]->name);
		axis_add(ck, made[i]->name, true);
	}
	const Node *size = product->kids[1];
	if (size->kind == N_NUMBER && size->number < 1)
		diag_error(ck->c, size->loc, "the length of a block must be a positive constant");
}

static void check_iterated(Checker *ck, const Node *range)
{
	if (range->kind == N_CALL && range->kids[0]->kind == N_NAME && is_word(range->kids[0]->name, "batches")) {
		check_expr(ck, range);
		return;
	}
	if (range->kind != N_RANGE) {
		diag_error(ck->c, range->loc, "for needs a range such as 0..n");
		return;
	}
	size_t errors = diag_errors(ck->c);
	check_expr(ck, range);
	const Node *step = range->kid_count == 3 ? range->kids[2] : NULL;
	if (!step || diag_errors(ck->c) != errors || !expr_is_constant(ck, step))
		return;
	Value value = value_eval(ck->p, NULL, step);
	if (value.kind != VALUE_ERROR && (value.kind != VALUE_INT || value.integer < 1))
		diag_error(ck->c, step->loc, "a step must be a positive constant");
}

static void check_for(Checker *ck, const Node *node)
{
	check_iterated(ck, node->kids[0]);
	const Symbol *other = index_find(ck, node->name);
	if (other) {
		diag_error(ck->c, node->loc, "index \"%s\" is in scope already: the loop needs a name of its own", node->name);
		diag_note(ck->c, other->loc, "it is bound here");
	}
	frame_push(ck);
	bool is_range = node->kids[0]->kind == N_RANGE;
	symbol_add(ck, is_range ? SYMBOL_INDEX : SYMBOL_VALUE, node->name, loc_join(node->loc, node->kids[0]->loc));
	bool had_reports = ck->has_reports;
	ck->has_reports = false;
	check_body(ck, node->kids[1]);
	ck->has_reports = had_reports;
	frame_pop(ck);
}

static bool is_axis_below(const Node *node, Name axis)
{
	if (node->kind == N_DEFINE || node->kind == N_UPDATE) {
		const Node *left = node->kids[0];
		for (uint32_t i = 0; left->kind == N_TUPLE && i < left->kid_count; i++)
			if (uses_index(left->kids[i], axis))
				return true;
		return left->kind != N_TUPLE && uses_index(left, axis);
	}
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i] && is_axis_below(node->kids[i], axis))
			return true;
	return false;
}

static void check_keep(Checker *ck, const Node *node)
{
	const Node *axis = node->kids[0];
	const Node *pass = ck->decl->kind == DECL_PASS ? ck->decl->node : NULL;
	if (!pass) {
		diag_error(ck->c, node->loc, "`keep` shortens an axis of tensors: it stands in a pass");
		return;
	}
	bool is_axis = axis_is_known(ck, axis->name) || is_axis_below(pass->kids[2], axis->name);
	NameVec known = {0};
	axis_names(ck, &known);
	frame_push(ck);
	if (!is_axis) {
		diag_error(ck->c, axis->loc, "\"%s\" is no axis here", axis->name);
		diag_nearest(ck->c, axis->name, &known);
		for (size_t i = 0; i < known.count; i++) /* the condition meant one of these */
			symbol_add(ck, SYMBOL_INDEX, known.at[i], axis->loc);
	}
	symbol_add(ck, SYMBOL_INDEX, axis->name, axis->loc);
	PassFacts facts = pass_facts(ck->p, ck->decl);
	for (size_t i = 0; i < facts.family.count; i++)
		if (facts.family.at[i] != axis->name)
			symbol_add(ck, SYMBOL_INDEX, facts.family.at[i], axis->loc);
	check_scalar(ck, node->kids[1]);
	frame_pop(ck);
}

static void check_fold(Checker *ck, const Node *node)
{
	frame_push(ck);
	const Node *scale = node->kids[0];
	for (uint32_t i = 1; scale->kind == N_INDEX && i < scale->kid_count; i++)
		if (scale->kids[i]->kind == N_NAME && axis_is_known(ck, scale->kids[i]->name))
			symbol_add(ck, SYMBOL_INDEX, scale->kids[i]->name, scale->loc);
	check_scalar(ck, scale);
	const Node *into = node->kids[1];
	if (into->kind == N_FIELD && into->name != name_of(ck->c, "bias"))
		diag_error(ck->c, into->loc, "`fold` goes into the input of matrices or, w a matrix, into w.bias");
	else
		check_expr(ck, into->kind == N_FIELD ? into->kids[0] : into);
	frame_pop(ck);
}

/* `report` of a pass: a number that the run tells of each tensor, perhaps not always. */
static void check_note(Checker *ck, const Node *node)
{
	check_scalar(ck, node->kids[0]);
	if (node->kids[1])
		check_scalar(ck, node->kids[1]);
}

static void check_statement(Checker *ck, const Node *node)
{
	switch (node->kind) {
	case N_DEFINE:
		if (node->kids[0]->kind == N_TUPLE)
			check_tuple(ck, node);
		else
			check_define(ck, node);
		return;
	case N_UPDATE:
		check_update(ck, node);
		return;
	case N_BLOCK:
		check_block(ck, node);
		return;
	case N_FOR:
		check_for(ck, node);
		return;
	case N_WHEN:
		check_scalar(ck, node->kids[0]);
		check_body(ck, node->kids[1]);
		return;
	case N_KEEP:
		check_keep(ck, node);
		return;
	case N_FOLD:
		check_fold(ck, node);
		return;
	case N_AXES:
	case N_LAYER:
		check_net_statement(ck, node);
		return;
	case N_NOTE:
		if (ck->has_reports)
			check_note(ck, node);
		else
			diag_error(ck->c, node->loc, "`report` stands in a pipeline, or in the body of a pass, outside of loops");
		return;
	case N_ENTRY:
		if (ck->has_reports)
			check_expr(ck, node->kids[0]);
		else
			diag_error(ck->c, node->loc, "`save` stands in a pipeline, or in the body of a pass, outside of loops");
		return;
	case N_REQUIRE:
		diag_error(
			ck->c, node->loc, "`require` stands in a pipeline, or in the body of a pass or net, outside of loops");
		return;
	default:
		diag_error(ck->c, node->loc, "`%s` stands in a dtype", node_kind_text(node->kind));
	}
}

/* `require` of a pass: what its arguments, and the tensor's facts, must be; of a net, the model's. */
static void check_condition(Checker *ck, const Node *condition)
{
	bool was_constant = ck->is_constant, had_facts = ck->has_facts;
	ck->is_constant = ck->has_facts = true;
	check_scalar(ck, condition);
	ck->is_constant = was_constant;
	ck->has_facts = had_facts;
}

void check_equations(Checker *ck, const Node *body)
{
	Collector collector = {ck, false};
	size_t errors = diag_errors(ck->c);
	collect(&collector, body, NULL, false);
	bool is_pass = ck->decl->kind == DECL_PASS && body == ck->decl->node->kids[2];
	bool is_net = ck->decl->kind == DECL_NET && body == ck->decl->node->kids[0];
	for (uint32_t i = 0; i < body->kid_count; i++)
		if (body->kids[i]->kind == N_REQUIRE && (is_pass || is_net))
			check_condition(ck, body->kids[i]->kids[0]);
		else
			check_statement(ck, body->kids[i]);
	if (diag_errors(ck->c) == errors)
		check_order(ck, body);
}

void check_body(Checker *ck, const Node *body)
{
	frame_push(ck);
	check_equations(ck, body);
	frame_pop(ck);
}

/* ---- parameters ---- */

static void check_param_type(Checker *ck, const Node *type)
{
	if (!type || parameter_type_is_known(type->name) || storage_bits(type->name))
		return;
	NameVec known = {0};
	parameter_type_names(ck->c, &known);
	storage_names(ck->c, &known);
	diag_error(ck->c, type->loc, "\"%s\" is no type of a parameter", type->name);
	diag_nearest(ck->c, type->name, &known);
}

static void check_param_axes(Checker *ck, const Node *param)
{
	const Node *axes = param->kids[0];
	for (uint32_t i = 0; axes && i < axes->kid_count; i++) {
		const Node *axis = axes->kids[i];
		if (axis->kind != N_NAME && axis->kind != N_STAR)
			diag_error(ck->c, axis->loc, "the axes of a parameter are names");
		else if (axis->kind == N_NAME && !axis_is_known(ck, axis->name))
			axis_add(ck, axis->name, false);
	}
}

static void check_default(Checker *ck, const Decl *decl, const Node *param)
{
	bool was_constant = ck->is_constant, had_facts = ck->has_facts;
	size_t errors = diag_errors(ck->c);
	Name type = param->kids[1] ? param->kids[1]->name : NULL;
	ck->is_constant = ck->has_facts = true;
	check_typed(ck, param->kids[2], type);
	if (type && diag_errors(ck->c) == errors && expr_is_constant(ck, param->kids[2])) {
		Value value = value_eval(ck->p, NULL, param->kids[2]);
		if (value.kind != VALUE_ERROR)
			parameter_check(ck->p, decl, param, &value);
	}
	ck->is_constant = was_constant;
	ck->has_facts = had_facts;
}

void check_params(Checker *ck, const Decl *decl)
{
	const Node *params = decl_params(decl);
	for (uint32_t i = 0; i < params->kid_count; i++) {
		const Node *param = params->kids[i];
		Symbol *other = symbol_find(ck, param->name);
		if (other) {
			diag_error(ck->c, param->loc, "parameter \"%s\" is declared twice", param->name);
			diag_note(ck->c, other->loc, "it is declared here already");
			continue;
		}
		if (is_word(param->name, "block"))
			diag_error(
				ck->c, param->loc, "\"block\" is no name for a parameter: d.block is the length of dtype d's block");
		check_param_type(ck, param->kids[1]);
		check_param_axes(ck, param);
		if (param->kids[2])
			check_default(ck, decl, param);
		Symbol *symbol = symbol_add(ck, param->kids[0] ? SYMBOL_ARRAY : SYMBOL_VALUE, param->name, param->loc);
		symbol->is_parameter = true;
		symbol->type = param->kids[1] ? param->kids[1]->name : NULL;
		symbol->rank = param->kids[0] ? (int)param->kids[0]->kid_count : 0;
		for (uint32_t k = 0; param->kids[0] && k < param->kids[0]->kid_count; k++)
			if (param->kids[0]->kids[k]->kind == N_STAR)
				symbol->rank = -1;
	}
}
