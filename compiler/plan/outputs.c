/* SPDX-License-Identifier: MIT
 *
 * outputs.c: what the result consists of. Every input tensor becomes one output
 * tensor, or several where its dtype has planes, in the order of the input; jobs.c
 * says how they are made; the format lays the files out, and sizes are known to
 * the byte. All of it is written as the constant tables that the runtime runs.
 */
#include "plan.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

typedef struct Tables {
	VEC(CmprtSource) sources;
	VEC(CmprtInput) inputs;
	VEC(CmprtOutput) outputs;
	MetaVec meta;
} Tables;

/* ---- names of plain types in containers ---- */

const char *container_dtype(Plan *plan, Store store)
{
	Text text = {.arena = plan->c->arena};
	const char *name = store_name(store, &text);
	char *out = arena_printf(plan->c->arena, "%s", name);
	for (char *s = out; *s; s++)
		*s = (char)toupper((unsigned char)*s);
	return out;
}

/* GGUF's code of the dtype, if it is a plain one whose elements are stored so; else -1. */
static int64_t code_of(const Plan *plan, Decl *decl, Store store)
{
	DtypeRef ref = {.decl = decl};
	const Node *layout = dtype_layout(&ref, "gguf"), *body = decl->node->kids[2];
	if (!layout || layout->kid_count != 1 || layout->kids[0]->kind != N_NAME ||
		dtype_block_elements(plan->p, &ref) != 1)
		return -1;
	for (uint32_t k = 0; k < body->kid_count; k++) {
		const Node *type = body->kids[k]->kind == N_DEFINE ? body->kids[k]->kids[1] : NULL;
		if (type && store_equal(store_find(type->name), store))
			return (int64_t)layout->number;
	}
	return -1;
}

/* GGUF's code of a plain type: that of the dtype whose elements are stored so, most likely the one of the same name. */
int64_t container_code(const Plan *plan, Store store)
{
	Name name = name_of(plan->c, store_name(store, &(Text){.arena = plan->c->arena}));
	Decl *namesake = program_find(plan->p, DECL_DTYPE, name);
	int64_t code = namesake ? code_of(plan, namesake, store) : -1;
	if (code >= 0 || !program_read_stdlib(plan->p))
		return code;
	for (size_t i = 0; code < 0 && i < plan->p->decls.count; i++)
		if (plan->p->decls.at[i]->kind == DECL_DTYPE)
			code = code_of(plan, plan->p->decls.at[i], store);
	return code;
}

/* ---- outputs ---- */

static const char *output_name(const PlanTensor *tensor)
{
	return tensor->place.name ? tensor->place.name : tensor->file->name;
}

static void add_output(Plan *plan, Tables *t, const PlanTensor *tensor, CmprtOutput output)
{
	output.shard = plan->into_folder ? tensor->file->file : 0;
	vec_push(plan->c->arena, &t->outputs, output);
}

/* One member of a stack adds the output of all; theirs must be the same. False: reported. */
static bool add_member(Plan *plan, Tables *t, PlanTensor *tensor, CmprtOutput output)
{
	size_t number = 0;
	output.bytes *= tensor->place.members;
	while (number < t->outputs.count && strcmp(t->outputs.at[number].name, output.name))
		number++;
	tensor->first_output = number;
	if (number == t->outputs.count)
		add_output(plan, t, tensor, output);
	const CmprtOutput *of_all = &t->outputs.at[number];
	if (of_all->bytes == output.bytes && !strcmp(of_all->container_dtype, output.container_dtype))
		return true;
	diag_error(plan->c, plan->save ? plan->save->loc : plan->pipeline->node->loc,
		"\"%s\" becomes %s, but others that \"%s\" consists of become %s", tensor->file->name, output.container_dtype,
		output.name, of_all->container_dtype);
	return false;
}

/* The tensor as one output of a type; bytes: its own. Other containers' readers know a matrix of one row as a vector.
 */
static bool add_whole(Plan *plan, Tables *t, PlanTensor *tensor, const char *dtype, int64_t code, int64_t bytes)
{
	const CkTensor *file = tensor->file;
	const PlanPlace *place = &tensor->place;
	int64_t shape[CMPRT_MAX_RANK + 1] = {place->members}, rank = file->rank + (place->members > 0);
	memcpy(shape + (place->members > 0), file->shape, sizeof *shape * (size_t)file->rank);
	if (place->is_turned) {
		shape[rank - 2] = tensor->rows;
		shape[rank - 1] = tensor->cols;
	}
	bool is_vector = place->name && rank == 2 && shape[0] == 1;
	CmprtOutput output = {.name = output_name(tensor),
		.container_dtype = dtype,
		.container_code = code,
		.rank = rank - is_vector,
		.shape = plan_ints(plan, shape + is_vector, rank - is_vector),
		.bytes = bytes};
	if (place->members)
		return add_member(plan, t, tensor, output);
	add_output(plan, t, tensor, output);
	return true;
}

/* A tensor in a plain type, of the subject's own shape. */
static bool add_plain(Plan *plan, Tables *t, PlanTensor *tensor, Store store, int64_t bytes)
{
	const CkTensor *file = tensor->file;
	if (plan->checkpoint->format == plan->output_format && !tensor->links.count)
		return add_whole(plan, t, tensor, file->dtype, file->code, bytes);
	if (store.kind != STORE_NONE)
		return add_whole(plan, t, tensor, container_dtype(plan, store), container_code(plan, store), bytes);
	diag_error(plan->c, plan->save ? plan->save->loc : plan->pipeline->node->loc,
		"%s cannot hold \"%s\", which is stored as %s", plan->output_format->name, file->name, file->dtype);
	diag_help(plan->c, "write it in the format it comes in");
	return false;
}

static bool add_packed(Plan *plan, Tables *t, PlanTensor *tensor, const PlanKernel *kernel)
{
	const Node *layout = dtype_layout(kernel->built.dtype, plan->output_format->name);
	return add_whole(plan, t, tensor, kernel->built.dtype->label, (int64_t)layout->number,
		tensor->stack * tensor->rows * kernel->built.row_bytes);
}

/* Rows of bytes: the form of a dtype for which the container has none. */
static bool add_rows(Plan *plan, Tables *t, const PlanTensor *tensor, const PlanKernel *kernel)
{
	const CkTensor *file = tensor->file;
	int64_t shape[K_MAX_RANK + 1] = {0}, rank = tensor->is_kernel ? 2 : file->rank > 0 ? file->rank : 1;
	for (int64_t d = 0; d + 1 < rank; d++)
		shape[d] = tensor->is_transposed && d + 2 == rank ? tensor->rows : file->shape[d];
	shape[rank - 1] = kernel->built.row_bytes;
	CmprtOutput output = {.name = file->name,
		.container_dtype = "U8",
		.container_code = -1,
		.rank = rank,
		.shape = plan_ints(plan, shape, rank),
		.bytes = tensor->stack * tensor->rows * kernel->built.row_bytes};
	add_output(plan, t, tensor, output);
	return true;
}

static const char *plane_name(Plan *plan, const char *tensor, const char *plane)
{
	const char *dot = strrchr(tensor, '.');
	if (!strcmp(plane, "self"))
		return tensor;
	return dot ? arena_printf(plan->c->arena, "%.*s.%s", (int)(dot - tensor), tensor, plane)
			   : arena_printf(plan->c->arena, "%s.%s", tensor, plane);
}

/* The bytes of a plane that is the same for every tensor of a shape, as the table's words. */
static bool add_constant(Plan *plan, const PlanTensor *tensor, const Plane *plane, CmprtOutput *output)
{
	size_t bytes;
	const DtypeRef *dtype = plan->kernels.at[tensor->kernel].built.dtype;
	void *data = plane_constant(plan->p, dtype, plane, tensor->stack * tensor->rows, tensor->cols, &bytes);
	if (!data)
		return false;
	output->word_count = (int64_t)(bytes + 7) / 8;
	int64_t *words = arena_array(plan->c->arena, int64_t, output->word_count + 1);
	memcpy(words, data, bytes);
	output->words = words;
	return true;
}

static bool add_plane(Plan *plan, Tables *t, const PlanTensor *tensor, const Plane *plane)
{
	CmprtOutput output = {.name = plane_name(plan, tensor->file->name, plane->name),
		.container_dtype = container_dtype(plan, plane->store),
		.container_code = -1,
		.rank = plane->rank};
	int64_t shape[K_MAX_RANK], count = 1;
	bool is_self = !strcmp(plane->name, "self");
	memcpy(shape, plane->shape, sizeof shape);
	if (plane->buffer && shape[0] < 0)
		shape[0] = tensor->stack * tensor->rows;
	for (uint32_t i = 0; i < plane->rank; i++)
		count *= shape[i];
	output.rank = is_self ? tensor->file->rank : plane->rank;
	output.shape = plan_ints(plan, is_self ? tensor->file->shape : shape, output.rank);
	output.bytes = count * store_bytes(plane->store);
	if (!plane->buffer && !add_constant(plan, tensor, plane, &output))
		return false;
	add_output(plan, t, tensor, output);
	return true;
}

/* One of the two matrices that a matrix became. */
static bool add_factor(Plan *plan, Tables *t, const PlanTensor *tensor, const Plane *factor)
{
	const char *name = output_name(tensor), *dot = strrchr(name, '.');
	int64_t head = dot ? dot - name : (int64_t)strlen(name);
	if (tensor->stack > 1 || tensor->place.members || tensor->place.turn_slow) {
		diag_error(plan->c, tensor->links.at[0].statement->loc,
			tensor->place.name ? "\"%s\" is written in another order or with others: it cannot become factors"
							   : "\"%s\" is a stack of matrices: they cannot become factors",
			tensor->file->name);
		return false;
	}
	CmprtOutput output = {
		.name = arena_printf(plan->c->arena, "%.*s.%s%s", (int)head, name, factor->name, dot ? dot : ""),
		.container_dtype = container_dtype(plan, factor->store),
		.container_code = container_code(plan, factor->store),
		.rank = 2,
		.shape = plan_ints(plan, factor->shape, 2),
		.bytes = factor->shape[0] * factor->shape[1] * store_bytes(factor->store)};
	if (factor->kept >= 0) {
		output.keep_value = tensor->places_value;
		output.keep_axis = factor->kept;
	}
	add_output(plan, t, tensor, output);
	return true;
}

static bool add_factors(Plan *plan, Tables *t, const PlanTensor *tensor, const PlaneVec *factors)
{
	for (size_t i = 0; i < factors->count; i++)
		if (!add_factor(plan, t, tensor, &factors->at[i]))
			return false;
	return true;
}

/* What passes save in the place of the tensor. */
static bool add_saved(Plan *plan, Tables *t, PlanTensor *tensor, const SavedVec *saved)
{
	size_t first = tensor->first_output;
	for (size_t i = 0; i < saved->count; i++) {
		CmprtOutput output = saved_output(plan, tensor, &saved->at[i]);
		if (!tensor->place.members) {
			add_output(plan, t, tensor, output);
			continue;
		}
		if (!add_member(plan, t, tensor, output))
			return false;
		first = i ? first : tensor->first_output;
		if (tensor->first_output == first + i)
			continue;
		diag_error(plan->c, saved->at[i].loc, "\"%s\" of \"%s\" is saved twice, or apart from others of its stack",
			output.name, tensor->file->name);
		return false;
	}
	tensor->first_output = first;
	return true;
}

/* Blocks that readers look for along the last axis, or in matrices. */
static bool refuse_kernel(Plan *plan, const PlanTensor *tensor)
{
	diag_error(plan->c, tensor->links.at[0].statement->loc,
		"\"%s\" is a kernel of a convolution, coded across all axes but its first: %s has no form for that",
		tensor->file->name, plan->output_format->name);
	diag_help(plan->c, "save it as safetensors, in a dtype without planes, which `cmpc decode` reads");
	return false;
}

static bool add_outputs(Plan *plan, Tables *t, PlanTensor *tensor)
{
	size_t before = t->outputs.count;
	bool ok = true;
	tensor->first_output = before;
	if (tensor->place.is_left_out)
		return true;
	if (tensor->kernel == SIZE_MAX) {
		ok = add_plain(plan, t, tensor, tensor_store(plan->c, tensor->file), tensor->file->bytes);
		if (ok && tensor->family != SIZE_MAX)
			tuple_output(plan, (size_t)(tensor - plan->tensors.at), &t->outputs.at[tensor->first_output]);
	} else {
		const PlanKernel *kernel = &plan->kernels.at[tensor->kernel];
		if (kernel->built.saved.count)
			ok = add_saved(plan, t, tensor, &kernel->built.saved);
		else if (kernel->built.factors.count)
			ok = add_factors(plan, t, tensor, &kernel->built.factors);
		else if (!kernel->built.dtype)
			ok = add_plain(plan, t, tensor, kernel->chain.input,
				tensor->stack * tensor->rows * tensor->cols * store_bytes(kernel->chain.input));
		else if (tensor->is_kernel && dtype_block_elements(plan->p, kernel->built.dtype) != 1 &&
				 (kernel->built.planes.count || dtype_layout(kernel->built.dtype, plan->output_format->name)))
			ok = refuse_kernel(plan, tensor);
		else if (dtype_layout(kernel->built.dtype, plan->output_format->name))
			ok = add_packed(plan, t, tensor, kernel);
		else if (!kernel->built.planes.count)
			ok = add_rows(plan, t, tensor, kernel);
		for (size_t i = 0; i < kernel->built.planes.count && ok; i++)
			ok = add_plane(plan, t, tensor, &kernel->built.planes.at[i]);
	}
	tensor->output_count = t->outputs.count - before;
	return ok;
}

/* ---- metadata ---- */

/* What is said later takes the place of what was said before. */
static void add_meta(Plan *plan, Tables *t, const char *key, const char *type, const char *value)
{
	CmprtMeta meta = {key, type, value};
	for (size_t i = 0; i < t->meta.count; i++)
		if (!strcmp(t->meta.at[i].key, key)) {
			t->meta.at[i] = meta;
			return;
		}
	vec_push(plan->c->arena, &t->meta, meta);
}

static const char *source_hash(Plan *plan)
{
	XXH3_state_t *state = XXH3_createState();
	XXH3_128bits_reset(state);
	for (size_t i = 0; i < plan->c->sources.count; i++)
		XXH3_128bits_update(state, plan->c->sources.at[i].text, plan->c->sources.at[i].length);
	XXH128_hash_t hash = XXH3_128bits_digest(state);
	XXH3_freeState(state);
	return arena_printf(
		plan->c->arena, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

static const char *all_passes(Plan *plan)
{
	Text text = {.arena = plan->c->arena};
	for (size_t i = 0; i < plan->kernels.count; i++)
		for (size_t l = 0; l < plan->kernels.at[i].chain.link_count; l++) {
			const char *name = plan->kernels.at[i].chain.links[l].pass->name;
			if (!text.at || !strstr(text.at, name))
				text_printf(&text, "%s%s", text.count ? ", " : "", name);
		}
	for (size_t i = 0; i < plan->families.count; i++)
		text_printf(&text, "%s%s", text.count ? ", " : "", plan->families.at[i].statement->pass->name);
	return text.at ? text.at : "";
}

/* bf16[4096]; of a kernel, which has more axes, bf16[96, 4] */
static const char *row_text(const Plan *plan, const PlanTensor *tensor, Store input)
{
	Text text = {.arena = plan->c->arena};
	const char *type = store_name(input, &(Text){.arena = plan->c->arena});
	text_printf(&text, "%s[%" PRId64, type, tensor->is_kernel ? tensor->file->shape[1] : tensor->cols);
	for (int64_t d = 2; tensor->is_kernel && d < tensor->file->rank; d++)
		text_printf(&text, ", %" PRId64, tensor->file->shape[d]);
	text_printf(&text, "]");
	return text.at;
}

/* What rows of bytes mean: which tensors are, what a row was before, and their dtypes' declarations. */
static void declare_rows(Plan *plan, Tables *t)
{
	NameVec declared = {0};
	const PlanTensor *first = NULL;
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		const PlanKernel *kernel = tensor->kernel == SIZE_MAX ? NULL : &plan->kernels.at[tensor->kernel];
		const DtypeRef *dtype = kernel ? kernel->built.dtype : NULL;
		if (!dtype || kernel->built.planes.count || dtype_layout(dtype, plan->output_format->name))
			continue;
		first = first ? first : tensor;
		add_meta(plan, t, arena_printf(plan->c->arena, "cmpc.tensor.%s", tensor->file->name), "string", dtype->label);
		add_meta(plan, t, arena_printf(plan->c->arena, "cmpc.row.%s", tensor->file->name), "string",
			row_text(plan, tensor, kernel->chain.input));
		bool is_declared = false;
		for (size_t d = 0; d < declared.count; d++)
			is_declared |= declared.at[d] == dtype->decl->name;
		if (is_declared)
			continue;
		DeclVec used = {0};
		Text text = {.arena = plan->c->arena};
		uses_of(plan->p, dtype->decl, &used);
		for (size_t d = 0; d < used.count; d++) {
			source_print(plan->c, used.at[d]->node, &text);
			text_printf(&text, "\n");
		}
		add_meta(plan, t, arena_printf(plan->c->arena, "cmpc.dtype.%s", dtype->decl->name), "string", text.at);
		vec_push(plan->c->arena, &declared, dtype->decl->name);
	}
	if (first && plan->into_folder && !plan->options->is_trial && !plan->options->checks_only)
		diag_warning(plan->c, first->links.at[first->links.count - 1].statement->loc,
			"\"%s\" becomes rows of bytes, as dtype %s has no planes: other readers do not know them; "
			"`cmpc decode` makes plain tensors of them",
			first->file->name, plan->kernels.at[first->kernel].built.dtype->decl->name);
}

/* False: reported. */
static bool provenance(Plan *plan, Tables *t, const char *hash)
{
	const Format *format = plan->output_format;
	bool has_dtype = false;
	for (size_t i = 0; i < plan->kernels.count; i++)
		has_dtype |= plan->kernels.at[i].built.dtype != NULL;
	MetaVec said = {0};
	for (size_t i = 0; i < plan->export_meta.count; i++)
		vec_push(plan->c->arena, &t->meta, plan->export_meta.at[i]);
	if (!saved_metadata(plan, &said))
		return false;
	for (size_t i = 0; i < said.count; i++)
		add_meta(plan, t, said.at[i].key, said.at[i].type, said.at[i].value);
	add_meta(plan, t, CK_VERSION_KEY, "string", plan->options->version);
	add_meta(plan, t, "cmpc.source_hash", "string", hash);
	add_meta(plan, t, "cmpc.pipeline", "string", plan->pipeline->name);
	add_meta(plan, t, "cmpc.passes", "string", all_passes(plan));
	declare_rows(plan, t);
	if (format->coded.key && has_dtype)
		add_meta(plan, t, format->coded.key, format->coded.type, format->coded.value);
	if (plan->checkpoint->format == format || plan->export || plan->saves_arrays || !format->architecture)
		return true;
	Value value;
	Name model_type = name_of(plan->c, "config.model_type");
	for (size_t i = 0; i < plan->model_facts->names.count; i++) {
		value = plan->model_facts->names.at[i].value;
		if (plan->model_facts->names.at[i].name == model_type && value.kind == VALUE_STRING)
			add_meta(plan, t, format->architecture, "string", value.text);
	}
	return true;
}

/* ---- all together ---- */

static void add_input(Plan *plan, Tables *t, const CkTensor *file, int64_t source)
{
	CmprtInput input = {.name = file->name,
		.dtype = file->dtype,
		.rank = file->rank,
		.shape = plan_ints(plan, file->shape, file->rank),
		.bytes = file->bytes,
		.source = source};
	vec_push(plan->c->arena, &t->inputs, input);
}

/* The model and what it consists of, then the other files and what is read of them. */
static void add_inputs(Plan *plan, Tables *t)
{
	CmprtSource model = {plan->model_path, plan->checkpoint->format->name};
	vec_push(plan->c->arena, &t->sources, model);
	for (size_t i = 0; i < plan->tensors.count; i++)
		add_input(plan, t, plan->tensors.at[i].file, 0);
	for (size_t i = 0; i < plan->sources.count; i++) {
		CmprtSource source = {plan->sources.at[i].path, plan->sources.at[i].checkpoint->format->name};
		vec_push(plan->c->arena, &t->sources, source);
	}
	for (size_t i = 0; i < plan->reads.count; i++)
		add_input(plan, t, plan->reads.at[i].file, 1 + (int64_t)plan->reads.at[i].source);
}

static CmprtProgram *make_program(Plan *plan, Tables *t)
{
	CmprtProgram *program = arena_new_of(plan->c->arena, CmprtProgram);
	const char *hash = source_hash(plan), *quantization = plan_quantization_config(plan);
	if (!provenance(plan, t, hash))
		return NULL;
	if (quantization && !plan->into_folder) /* a file has no config.json */
		add_meta(plan, t, "cmpc.quantization_config", "string", quantization);
	*program = (CmprtProgram){.cmpc_version = plan->options->version,
		.pipeline = plan->pipeline->name,
		.source_hash = hash,
		.source_count = (int64_t)t->sources.count,
		.sources = t->sources.at,
		.output_path = plan->output_path,
		.output_format = plan->output_format->name,
		.input_count = (int64_t)t->inputs.count,
		.inputs = t->inputs.at,
		.output_count = (int64_t)t->outputs.count,
		.outputs = t->outputs.at,
		.meta_count = (int64_t)t->meta.count,
		.meta = t->meta.at,
		.quantization_config = quantization,
		.saves_arrays = plan->saves_arrays,
		.report_path = plan->report ? plan->report->text : NULL,
		.memory = plan->memory,
		.cores = plan->cores};
	CmprtRequire *requires = arena_array(plan->c->arena, CmprtRequire, plan->requires.count + 1);
	for (size_t i = 0; i < plan->requires.count; i++) {
		const PlanRequire *from = &plan->requires.at[i];
		Text text = {.arena = plan->c->arena};
		source_print(plan->c, from->node, &text);
		requires[i] = (CmprtRequire){text.at, from->metric, from->is_upper, from->bound, from->factor, from->figure};
	}
	program->require_count = (int64_t)plan->requires.count;
	program->requires = requires;
	plan_jobs(plan, program);
	return program;
}

bool plan_outputs(Plan *plan)
{
	Tables t = {0};
	CmprtError error;
	bool ok = true;
	size_t errors = diag_errors(plan->c);
	number_places(plan);
	add_inputs(plan, &t);
	for (size_t i = 0; i < plan->export_arrays.count; i++)
		vec_push(plan->c->arena, &t.outputs, plan->export_arrays.at[i]);
	for (size_t i = 0; i < plan->tensors.count && ok; i++) {
		PlanTensor *tensor = &plan->tensors.at[i];
		ok = add_outputs(plan, &t, tensor);
	}
	if (!ok)
		return false;
	plan->program = make_program(plan, &t);
	if (!plan->program || diag_errors(plan->c) != errors)
		return false;
	plan->layout = plan->output_format->lay_out(
		plan->program, plan->saves_arrays ? NULL : plan->checkpoint, plan->into_folder, &error);
	if (!plan->layout) {
		diag_error(plan->c, plan->save ? plan->save->loc : plan->pipeline->node->loc, "%s", error.text);
		return false;
	}
	plan->program->output_bytes = plan->layout->total_bytes;
	return true;
}
