/* SPDX-License-Identifier: MIT
 *
 * outputs.c: what the result consists of. Every input tensor becomes one output
 * tensor, or several where its dtype has planes, in the order of the input; every
 * kernel's work becomes jobs with the places of its rows; the format lays the
 * files out, and sizes are known to the byte. All of it is written as the
 * constant tables that the runtime runs.
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
	VEC(CmprtJob) jobs;
	VEC(CmprtMeta) meta;
	VEC(const char *) kernel_names;
	VEC(CmprtSelect) selects;
} Tables;

static const int64_t *copy_ints(Plan *plan, const int64_t *from, int64_t count)
{
	int64_t *to = arena_array(plan->c->arena, int64_t, count + 1);
	if (count)
		memcpy(to, from, sizeof *to * (size_t)count);
	return to;
}

static const CmprtPort *copy_ports(Plan *plan, const CmprtPort *from, int64_t count)
{
	CmprtPort *to = arena_array(plan->c->arena, CmprtPort, count + 1);
	if (count)
		memcpy(to, from, sizeof *to * (size_t)count);
	return to;
}

/* ---- names of plain types in containers ---- */

static const char *upper(Plan *plan, Store store)
{
	Text text = {.arena = plan->c->arena};
	const char *name = store_name(store, &text);
	char *out = arena_printf(plan->c->arena, "%s", name);
	for (char *s = out; *s; s++)
		*s = (char)toupper((unsigned char)*s);
	return out;
}

/* GGUF's code of a plain type: that of the dtype in stdlib whose only field is stored so. */
static int64_t plain_code(const Plan *plan, Store store)
{
	if (!program_read_stdlib(plan->p))
		return -1;
	for (size_t i = 0; i < plan->p->decls.count; i++) {
		Decl *decl = plan->p->decls.at[i];
		if (decl->kind != DECL_DTYPE)
			continue;
		DtypeRef ref = {.decl = decl};
		const Node *layout = dtype_layout(&ref, "gguf"), *body = decl->node->kids[2];
		if (!layout || layout->kid_count != 1 || layout->kids[0]->kind != N_NAME ||
			dtype_block_elements(plan->p, &ref) != 1)
			continue;
		for (uint32_t k = 0; k < body->kid_count; k++) {
			const Node *type = body->kids[k]->kind == N_DEFINE ? body->kids[k]->kids[1] : NULL;
			if (type && store_equal(store_find(type->name), store))
				return (int64_t)layout->number;
		}
	}
	return -1;
}

/* ---- outputs ---- */

static size_t add_output(Plan *plan, Tables *t, const PlanTensor *tensor, CmprtOutput output)
{
	output.shard = plan->into_folder ? tensor->file->file : 0;
	vec_push(plan->c->arena, &t->outputs, output);
	return t->outputs.count - 1;
}

/* A tensor in a plain type, of the subject's own shape. */
static bool add_plain(Plan *plan, Tables *t, const PlanTensor *tensor, Store store, int64_t bytes)
{
	const CkTensor *file = tensor->file;
	bool is_same_format = plan->checkpoint->format == plan->output_format;
	CmprtOutput output = {.name = file->name,
		.container_dtype = file->dtype,
		.container_code = file->code,
		.rank = file->rank,
		.shape = copy_ints(plan, file->shape, file->rank),
		.bytes = bytes};
	if (!is_same_format || tensor->links.count) {
		if (store.kind == STORE_NONE) {
			diag_error(plan->c, plan->save ? plan->save->loc : plan->pipeline->node->loc,
				"%s cannot hold \"%s\", which is stored as %s", plan->output_format->name, file->name, file->dtype);
			diag_help(plan->c, "write it in the format it comes in");
			return false;
		}
		output.container_dtype = upper(plan, store);
		output.container_code = plain_code(plan, store);
	}
	add_output(plan, t, tensor, output);
	return true;
}

static bool add_packed(Plan *plan, Tables *t, const PlanTensor *tensor, const PlanKernel *kernel)
{
	const CkTensor *file = tensor->file;
	const Node *layout = dtype_layout(kernel->built.dtype, plan->output_format->name);
	CmprtOutput output = {.name = file->name,
		.container_dtype = kernel->built.dtype->label,
		.container_code = (int64_t)layout->number,
		.rank = file->rank,
		.shape = copy_ints(plan, file->shape, file->rank),
		.bytes = tensor->stack * tensor->rows * kernel->built.row_bytes};
	add_output(plan, t, tensor, output);
	return true;
}

/* Rows of bytes: the form of a dtype for which the container has none. */
static bool add_rows(Plan *plan, Tables *t, const PlanTensor *tensor, const PlanKernel *kernel)
{
	const CkTensor *file = tensor->file;
	int64_t shape[K_MAX_RANK + 1] = {0}, rank = file->rank > 0 ? file->rank : 1;
	for (int64_t d = 0; d + 1 < rank; d++)
		shape[d] = tensor->is_transposed && d + 2 == rank ? tensor->rows : file->shape[d];
	shape[rank - 1] = kernel->built.row_bytes;
	CmprtOutput output = {.name = file->name,
		.container_dtype = "U8",
		.container_code = -1,
		.rank = rank,
		.shape = copy_ints(plan, shape, rank),
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
		.container_dtype = upper(plan, plane->store),
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
	output.shape = copy_ints(plan, is_self ? tensor->file->shape : shape, output.rank);
	output.bytes = count * store_bytes(plane->store);
	if (!plane->buffer && !add_constant(plan, tensor, plane, &output))
		return false;
	add_output(plan, t, tensor, output);
	return true;
}

static bool add_outputs(Plan *plan, Tables *t, PlanTensor *tensor)
{
	tensor->first_output = t->outputs.count;
	bool ok = true;
	if (tensor->kernel == SIZE_MAX) {
		ok = add_plain(plan, t, tensor, tensor_store(plan, tensor->file), tensor->file->bytes);
	} else {
		const PlanKernel *kernel = &plan->kernels.at[tensor->kernel];
		if (!kernel->built.dtype)
			ok = add_plain(plan, t, tensor, kernel->chain.input, tensor->file->bytes);
		else if (dtype_layout(kernel->built.dtype, plan->output_format->name))
			ok = add_packed(plan, t, tensor, kernel);
		else if (!kernel->built.planes.count)
			ok = add_rows(plan, t, tensor, kernel);
		for (size_t i = 0; i < kernel->built.planes.count && ok; i++)
			ok = add_plane(plan, t, tensor, &kernel->built.planes.at[i]);
	}
	tensor->output_count = t->outputs.count - tensor->first_output;
	return ok;
}

/* ---- jobs ---- */

static void add_job(Plan *plan, Tables *t, CmprtJob job, const char *kernel_name)
{
	vec_push(plan->c->arena, &t->jobs, job);
	vec_push(plan->c->arena, &t->kernel_names, kernel_name);
}

static void copy_job(Plan *plan, Tables *t, int64_t input, const PlanTensor *tensor)
{
	CmprtPort in = {.tensor = input, .row_bytes = tensor->file->bytes, .rows = 1};
	CmprtPort out = {.tensor = (int64_t)tensor->first_output, .row_bytes = tensor->file->bytes, .rows = 1};
	add_job(plan, t,
		(CmprtJob){.label = tensor->file->name,
			.passes = "",
			.rows = 1,
			.port_in_count = 1,
			.ports_in = copy_ports(plan, &in, 1),
			.port_out_count = 1,
			.ports_out = copy_ports(plan, &out, 1),
			.error_port = -1},
		NULL);
}

static const char *passes_text(Plan *plan, const PlanTensor *tensor)
{
	Text text = {.arena = plan->c->arena};
	for (size_t i = 0; i < tensor->links.count; i++)
		text_printf(&text, "%s%s", i ? ", " : "", tensor->links.at[i].label);
	return text.at;
}

static int64_t buffer_bytes(const KBuffer *buffer, int64_t rows)
{
	int64_t bytes = store_bytes(buffer->store), extent;
	for (uint32_t i = 0; i < buffer->rank; i++)
		bytes *= kexpr_is_const(buffer->extent[i], &extent) ? extent : rows;
	return bytes;
}

static int64_t output_ports(
	const Plan *plan, const PlanTensor *tensor, const PlanKernel *kernel, int64_t slice, CmprtPort *out)
{
	const KBufferVec *outputs = &kernel->built.kernel->outputs;
	int64_t count = 0, plane = 0;
	for (size_t i = 0; i < outputs->count; i++) {
		const KBuffer *buffer = outputs->at[i];
		int64_t row_bytes = buffer_bytes(buffer, 1), rows = tensor->rows, known;
		if (kexpr_is_const(buffer->extent[0], &known)) {
			rows = known;
			row_bytes = buffer_bytes(buffer, 1) / known;
		}
		bool is_error = plan->wants_error && i + 1 == outputs->count;
		int64_t number = (int64_t)tensor->first_output;
		if (kernel->built.planes.count && !is_error) {
			while (!kernel->built.planes.at[plane].buffer)
				plane++;
			number += plane++;
		}
		int64_t all = kernel->is_whole ? rows : rows * tensor->stack;
		out[count++] = (CmprtPort){
			.tensor = is_error ? -1 : number, .row_bytes = row_bytes, .rows = all, .offset = slice * rows * row_bytes};
	}
	return count;
}

/* What the kernel has to know of selections: params after the number of rows, two for each. */
static void add_shares(Plan *plan, const PlanTensor *tensor, size_t count, int64_t first, CmprtJob *job)
{
	CmprtShare *shares = arena_array(plan->c->arena, CmprtShare, count + 1);
	for (size_t i = 0; i < count; i++)
		shares[i] = (CmprtShare){.select = (int64_t)tensor->shares.at[i].select,
			.first = tensor->shares.at[i].first + first,
			.row_elements = tensor->cols,
			.param = 1 + 2 * (int64_t)i};
	int64_t *params = arena_array(plan->c->arena, int64_t, 1 + 2 * count);
	memset(params, 0, sizeof *params * (1 + 2 * count));
	params[0] = job->rows;
	job->param_count = 1 + 2 * (int64_t)count;
	job->params = params;
	job->share_count = (int64_t)count;
	job->shares = shares;
}

/* A job of matrix `slice` of the tensor's stack, or of all of it where any rows will do; outputs are the caller's. */
static CmprtJob make_job(Plan *plan, size_t number, const PlanKernel *kernel, size_t shares, int64_t slice)
{
	const PlanTensor *tensor = &plan->tensors.at[number];
	const Kernel *k = kernel->built.kernel;
	int64_t rows = kernel->is_whole ? tensor->rows : tensor->rows * tensor->stack;
	int64_t row_bytes = tensor->file->bytes / (tensor->stack * tensor->rows);
	VEC(int64_t) work = {0};
	for (size_t i = 0; i < k->buffers.count; i++)
		if (k->buffers.at[i]->kind == BUFFER_TEMP && !k->buffers.at[i]->scope)
			vec_push(plan->c->arena, &work, buffer_bytes(k->buffers.at[i], tensor->rows));
	CmprtPort *in = arena_array(plan->c->arena, CmprtPort, 1 + kernel->built.inputs.count);
	in[0] = (CmprtPort){
		.tensor = (int64_t)number, .row_bytes = row_bytes, .rows = rows, .offset = slice * rows * row_bytes};
	for (size_t i = 0; i < kernel->built.inputs.count; i++)
		in[1 + i] = (CmprtPort){.tensor = (int64_t)(plan->tensors.count + tensor->reads.at[i]),
			.row_bytes = plan->reads.at[tensor->reads.at[i]].file->bytes,
			.rows = 1};
	CmprtJob job = {.label = tensor->file->name,
		.passes = passes_text(plan, tensor),
		.rows = rows,
		.whole = kernel->is_whole,
		.port_in_count = 1 + (int64_t)kernel->built.inputs.count,
		.ports_in = in,
		.work_count = (int64_t)work.count,
		.work_bytes = copy_ints(plan, work.at, (int64_t)work.count),
		.error_port = -1};
	add_shares(plan, tensor, shares, slice * rows * tensor->cols, &job);
	return job;
}

static void kernel_jobs(Plan *plan, Tables *t, size_t number)
{
	const PlanTensor *tensor = &plan->tensors.at[number];
	const PlanKernel *kernel = &plan->kernels.at[tensor->kernel];
	int64_t slices = kernel->is_whole ? tensor->stack : 1;
	for (int64_t s = 0; s < slices; s++) {
		CmprtJob job = make_job(plan, number, kernel, tensor->shares.count, s);
		CmprtPort out[64];
		job.port_out_count = output_ports(plan, tensor, kernel, s, out);
		job.ports_out = copy_ports(plan, out, job.port_out_count);
		job.error_port = plan->wants_error ? job.port_out_count - 1 : -1;
		job.dtype = kernel->built.dtype ? kernel->built.dtype->label : tensor->file->dtype;
		add_job(plan, t, job, kernel->built.kernel->name);
	}
}

/* The jobs that make a selection's keys. Their kernels' names follow those of all other jobs. */
static void add_select(Plan *plan, Tables *t, const PlanSelect *select)
{
	const PlanTensor *first = &plan->tensors.at[select->keys.at[0].tensor];
	CmprtSelect out = {.limit = select->limit};
	VEC(CmprtJob) jobs = {0};
	size_t link;
	if (tensor_is_member(first, select->statement, &link))
		out.label = first->links.at[link].label;
	for (size_t i = 0; i < select->keys.count; i++) {
		const PlanKeys *keys = &select->keys.at[i];
		const PlanTensor *tensor = &plan->tensors.at[keys->tensor];
		const PlanKernel *kernel = &plan->kernels.at[keys->kernel];
		for (int64_t s = 0; s < (kernel->is_whole ? tensor->stack : 1); s++) {
			CmprtJob job = make_job(plan, keys->tensor, kernel, keys->shares, s);
			CmprtPort port = {.tensor = -1, .row_bytes = tensor->cols * (int64_t)sizeof(float), .rows = job.rows};
			job.port_out_count = 1;
			job.ports_out = copy_ports(plan, &port, 1);
			vec_push(plan->c->arena, &jobs, job);
			vec_push(plan->c->arena, &t->kernel_names, kernel->built.kernel->name);
		}
	}
	out.job_count = (int64_t)jobs.count;
	out.jobs = jobs.at;
	vec_push(plan->c->arena, &t->selects, out);
}

/* ---- metadata ---- */

static void add_meta(Plan *plan, Tables *t, const char *key, const char *type, const char *value)
{
	CmprtMeta meta = {key, type, value};
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
	return text.at ? text.at : "";
}

static void collect_names(Plan *plan, const Node *node, DeclVec *to);

/* The declarations that a dtype's equations use, each once, the dtype itself first. */
static void collect_used(Plan *plan, const Decl *decl, DeclVec *to)
{
	for (size_t i = 0; i < to->count; i++)
		if (to->at[i] == decl)
			return;
	vec_push(plan->c->arena, to, (Decl *)decl);
	collect_names(plan, decl->node, to);
}

static void collect_names(Plan *plan, const Node *node, DeclVec *to)
{
	static const DeclKind kinds[] = {DECL_FN, DECL_LET};
	for (size_t i = 0; node->kind == N_NAME && i < sizeof kinds / sizeof *kinds; i++) {
		const Decl *used = program_find(plan->p, kinds[i], node->name);
		if (used)
			collect_used(plan, used, to);
	}
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i])
			collect_names(plan, node->kids[i], to);
}

/* What rows of bytes mean: which tensors are, what a row was before, and their dtypes' declarations. */
static void declare_rows(Plan *plan, Tables *t)
{
	NameVec declared = {0};
	for (size_t i = 0; i < plan->tensors.count; i++) {
		const PlanTensor *tensor = &plan->tensors.at[i];
		const PlanKernel *kernel = tensor->kernel == SIZE_MAX ? NULL : &plan->kernels.at[tensor->kernel];
		const DtypeRef *dtype = kernel ? kernel->built.dtype : NULL;
		if (!dtype || kernel->built.planes.count || dtype_layout(dtype, plan->output_format->name))
			continue;
		const char *input = store_name(kernel->chain.input, &(Text){.arena = plan->c->arena});
		const char *row = arena_printf(plan->c->arena, "%s[%" PRId64 "]", input, tensor->cols);
		add_meta(plan, t, arena_printf(plan->c->arena, "cmpc.tensor.%s", tensor->file->name), "string", dtype->label);
		add_meta(plan, t, arena_printf(plan->c->arena, "cmpc.row.%s", tensor->file->name), "string", row);
		bool is_declared = false;
		for (size_t d = 0; d < declared.count; d++)
			is_declared |= declared.at[d] == dtype->decl->name;
		if (is_declared)
			continue;
		DeclVec used = {0};
		Text text = {.arena = plan->c->arena};
		collect_used(plan, dtype->decl, &used);
		for (size_t d = 0; d < used.count; d++) {
			source_print(plan->c, used.at[d]->node, &text);
			text_printf(&text, "\n");
		}
		add_meta(plan, t, arena_printf(plan->c->arena, "cmpc.dtype.%s", dtype->decl->name), "string", text.at);
		vec_push(plan->c->arena, &declared, dtype->decl->name);
	}
}

static void provenance(Plan *plan, Tables *t, const char *hash)
{
	bool has_dtype = false;
	for (size_t i = 0; i < plan->kernels.count; i++)
		has_dtype |= plan->kernels.at[i].built.dtype != NULL;
	add_meta(plan, t, "cmpc.version", "string", plan->options->version);
	add_meta(plan, t, "cmpc.source_hash", "string", hash);
	add_meta(plan, t, "cmpc.pipeline", "string", plan->pipeline->name);
	add_meta(plan, t, "cmpc.passes", "string", all_passes(plan));
	declare_rows(plan, t);
	if (!strcmp(plan->output_format->name, "gguf") && has_dtype)
		add_meta(plan, t, "general.quantization_version", "u32", "2");
	if (plan->checkpoint->format == plan->output_format || strcmp(plan->output_format->name, "gguf"))
		return;
	Value value;
	Name model_type = name_of(plan->c, "config.model_type");
	for (size_t i = 0; i < plan->model_facts->names.count; i++) {
		value = plan->model_facts->names.at[i].value;
		if (plan->model_facts->names.at[i].name == model_type && value.kind == VALUE_STRING)
			add_meta(plan, t, "general.architecture", "string", value.text);
	}
}

/* ---- all together ---- */

static void add_input(Plan *plan, Tables *t, const CkTensor *file, int64_t source)
{
	CmprtInput input = {.name = file->name,
		.dtype = file->dtype,
		.rank = file->rank,
		.shape = copy_ints(plan, file->shape, file->rank),
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
	provenance(plan, t, hash);
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
		.job_count = (int64_t)t->jobs.count,
		.jobs = t->jobs.at,
		.select_count = (int64_t)t->selects.count,
		.selects = t->selects.at,
		.meta_count = (int64_t)t->meta.count,
		.meta = t->meta.at,
		.quantization_config = quantization,
		.report_path = plan->report ? plan->report->text : NULL,
		.memory = plan->memory,
		.cores = plan->cores};
	CmprtRequire *requires = arena_array(plan->c->arena, CmprtRequire, plan->requires.count + 1);
	for (size_t i = 0; i < plan->requires.count; i++) {
		const PlanRequire *from = &plan->requires.at[i];
		Text text = {.arena = plan->c->arena};
		source_print(plan->c, from->node, &text);
		requires[i] = (CmprtRequire){text.at, from->metric, from->is_upper, from->bound};
	}
	program->require_count = (int64_t)plan->requires.count;
	program->requires = requires;
	plan->kernel_names = t->kernel_names.at;
	return program;
}

bool plan_outputs(Plan *plan)
{
	Tables t = {0};
	CmprtError error;
	bool ok = true;
	add_inputs(plan, &t);
	for (size_t i = 0; i < plan->tensors.count && ok; i++) {
		PlanTensor *tensor = &plan->tensors.at[i];
		ok = add_outputs(plan, &t, tensor);
		if (ok && tensor->kernel == SIZE_MAX)
			copy_job(plan, &t, (int64_t)i, tensor);
		else if (ok)
			kernel_jobs(plan, &t, i);
	}
	if (!ok)
		return false;
	for (size_t i = 0; i < plan->selects.count; i++)
		add_select(plan, &t, &plan->selects.at[i]);
	plan->program = make_program(plan, &t);
	plan->layout = plan->output_format->lay_out(plan->program, plan->checkpoint, plan->into_folder, &error);
	if (!plan->layout) {
		diag_error(plan->c, plan->save ? plan->save->loc : plan->pipeline->node->loc, "%s", error.text);
		return false;
	}
	plan->program->output_bytes = plan->layout->total_bytes;
	return true;
}
