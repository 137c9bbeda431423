/* SPDX-License-Identifier: MIT
 *
 * formats_test.c: opening and laying out checkpoints.
 *
 * Opens every checkpoint of formats_cases.def and compares what is said of it with
 * formats.golden (UPDATE=1 rewrites that file); then lays out, writes and opens
 * again. Works in a temporary folder of its own; the golden file is found through
 * $srcdir. Exit 0: all held.
 */
#include "check.h"
#include "format.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- building files ---- */

static void put_number(FILE *file, const char *text, int bytes)
{
	unsigned long long number = strtoull(text, NULL, 10);
	for (int i = 0; i < bytes; i++)
		fputc((int)(number >> 8 * i & 255), file);
}

static void put_length(FILE *file, unsigned long long number)
{
	for (int i = 0; i < 8; i++)
		fputc((int)(number >> 8 * i & 255), file);
}

static FILE *create(const char *path)
{
	char folder[64];
	const char *slash = *path == '/' ? NULL : strchr(path, '/');
	if (slash) {
		snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
		mkdir(folder, 0777);
	}
	FILE *file = fopen(path, "wb");
	if (!file) {
		perror(path);
		exit(1);
	}
	return file;
}

static void put_key(FILE *file, const char *text)
{
	const char *comma = strchr(text, ',');
	put_length(file, (unsigned long long)(comma - text));
	fwrite(text, 1, (size_t)(comma - text), file);
	put_number(file, comma + 1, 4);
}

/* One word of a case, `kind:text`. */
static void put_word(FILE *file, const char *kind, const char *text)
{
	if (strcmp(kind, "st") == 0 || strcmp(kind, "s") == 0) {
		put_length(file, strlen(text));
		fputs(text, file);
	} else if (strcmp(kind, "raw") == 0) {
		fputs(text, file);
	} else if (kind[0] == 'u') {
		put_number(file, text, atoi(kind + 1) / 8);
	} else if (strcmp(kind, "key") == 0) {
		put_key(file, text);
	} else if (strcmp(kind, "hex") == 0) {
		for (unsigned byte; sscanf(text, "%2x", &byte) == 1; text += 2)
			fputc((int)byte, file);
	} else {
		int count = atoi(text);
		if (strcmp(kind, "pad") == 0)
			count = (int)(-ftell(file) & (count - 1));
		for (int i = 0; i < count; i++)
			fputc(strcmp(kind, "deep") == 0 ? '[' : 0, file);
	}
}

static void build_files(const char *spec)
{
	char *words = strdup(spec), *rest = words;
	FILE *file = NULL;
	for (char *word; (word = strsep(&rest, " ")) != NULL;) {
		char *text = strchr(word, ':');
		if (!text)
			continue;
		*text++ = 0;
		if (strcmp(word, "file") == 0) {
			if (file)
				fclose(file);
			file = create(text);
		} else {
			put_word(file, word, text);
		}
	}
	if (file)
		fclose(file);
	free(words);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
	(void)status;
	(void)type;
	return place->level > 0 ? remove(path) : 0;
}

static void empty_folder(void)
{
	nftw(".", remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- the cases ---- */

static const struct Case {
	const char *name, *path, *files;
} cases[] = {
#define CASE(name, path, files) {name, path, files},
#include "formats_cases.def"
#undef CASE
};

static void describe(FILE *to, const struct Case *test)
{
	CmprtError error = {""};
	Checkpoint *checkpoint = checkpoint_open(test->path, &error);
	fprintf(to, "%s\n", test->name);
	if (!checkpoint) {
		fprintf(to, "    %s\n", error.text);
		return;
	}
	for (int64_t i = 0; i < checkpoint->meta_count; i++)
		fprintf(to, "    %s: %s = %s\n", checkpoint->meta[i].key, checkpoint->meta[i].type, checkpoint->meta[i].value);
	fprintf(to, "    opened %s, %lld tensors\n", checkpoint->format->name, (long long)checkpoint->tensor_count);
	for (int64_t i = 0; i < checkpoint->tensor_count; i++) {
		const CkTensor *tensor = &checkpoint->tensors[i];
		fprintf(to, "    %s %s [", tensor->name, tensor->dtype);
		for (int64_t axis = 0; axis < tensor->rank; axis++)
			fprintf(to, axis ? ", %lld" : "%lld", (long long)tensor->shape[axis]);
		fprintf(to, "] %s at %lld, %lld bytes\n", checkpoint->files[tensor->file], (long long)tensor->offset,
			(long long)tensor->bytes);
		CHECK(checkpoint_find(checkpoint, tensor->name) == tensor);
	}
	CHECK(checkpoint_find(checkpoint, "no such tensor") == NULL);
	checkpoint_close(checkpoint);
}

static char *read_all(const char *path, size_t *count)
{
	FILE *file = fopen(path, "rb");
	if (!file)
		return NULL;
	fseek(file, 0, SEEK_END);
	*count = (size_t)ftell(file);
	rewind(file);
	char *text = calloc(1, *count + 1);
	CHECK(fread(text, 1, *count, file) == *count);
	fclose(file);
	return text;
}

static void compare_lines(char *is, char *was)
{
	while (is || was) {
		char *left = is ? strsep(&is, "\n") : "(nothing)", *right = was ? strsep(&was, "\n") : "(nothing)";
		if (strcmp(left, right) != 0) {
			CHECK(false, "is \"%s\", was \"%s\"", left, right);
			return;
		}
	}
}

static void test_cases(const char *golden_path)
{
	char *is = NULL;
	size_t count, golden_count;
	FILE *to = open_memstream(&is, &count);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		empty_folder();
		build_files(cases[i].files);
		describe(to, &cases[i]);
	}
	fclose(to);
	if (getenv("UPDATE")) {
		FILE *golden = create(golden_path);
		fwrite(is, 1, count, golden);
		fclose(golden);
	}
	char *was = read_all(golden_path, &golden_count);
	CHECK(was != NULL);
	if (was)
		compare_lines(is, was);
	free(was);
	free(is);
}

/* The files of every case, each case in a folder of its own: what fuzzers start from. */
static int write_seeds(const char *folder)
{
	if (chdir(folder) != 0)
		return 1;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char name[32];
		snprintf(name, sizeof name, "%zu", i);
		if (mkdir(name, 0777) != 0 || chdir(name) != 0)
			return 1;
		build_files(cases[i].files);
		if (chdir("..") != 0)
			return 1;
	}
	return 0;
}

/* ---- laying out ---- */

static CmprtProgram program_of(
	const Checkpoint *checkpoint, CmprtOutput *outputs, const CmprtMeta *meta, int64_t meta_count)
{
	for (int64_t i = 0; i < checkpoint->tensor_count; i++) {
		const CkTensor *tensor = &checkpoint->tensors[i];
		outputs[i] = (CmprtOutput){.name = tensor->name,
			.container_dtype = tensor->dtype,
			.container_code = tensor->code,
			.rank = tensor->rank,
			.shape = tensor->shape,
			.bytes = tensor->bytes,
			.shard = tensor->file};
	}
	return (CmprtProgram){.output_path = "out",
		.output_count = checkpoint->tensor_count,
		.outputs = outputs,
		.meta_count = meta_count,
		.meta = meta};
}

static void write_at(const char *path, const void *bytes, int64_t count, int64_t offset, int64_t size)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0666);
	CHECK(fd >= 0 && ftruncate(fd, size) == 0 && pwrite(fd, bytes, (size_t)count, offset) == count);
	close(fd);
}

/* Writes what a layout says, tensors copied from the source. */
static void write_layout(const CkLayout *layout, const Checkpoint *source, const char *folder)
{
	char path[256];
	int64_t total = 0;
	for (int64_t i = 0; i < layout->file_count; i++) {
		const CkOutFile *file = &layout->files[i];
		snprintf(path, sizeof path, *file->name ? "%s/%s" : "%s", folder, file->name);
		write_at(path, file->head, file->head_bytes, 0, file->bytes);
		total += file->bytes;
	}
	CHECK(total == layout->total_bytes);
	for (int64_t i = 0; i < source->tensor_count; i++) {
		const CkTensor *tensor = &source->tensors[i];
		const CkOutFile *file = &layout->files[layout->tensor_file[i]];
		size_t count;
		char *bytes = read_all(source->files[tensor->file], &count);
		snprintf(path, sizeof path, *file->name ? "%s/%s" : "%s", folder, file->name);
		write_at(path, bytes + tensor->offset, tensor->bytes, layout->tensor_offset[i], file->bytes);
		free(bytes);
	}
	for (int64_t i = 0; i < layout->side_count; i++) {
		const CkSide *side = &layout->sides[i];
		size_t count = side->copy_from ? 0 : strlen(side->text);
		char *bytes = side->copy_from ? read_all(side->copy_from, &count) : strdup(side->text);
		CHECK((int64_t)count == side->bytes);
		snprintf(path, sizeof path, "%s/%s", folder, side->name);
		write_at(path, bytes, side->bytes, 0, side->bytes);
		free(bytes);
	}
}

static void check_same(const Checkpoint *a, const Checkpoint *b)
{
	CHECK(a->tensor_count == b->tensor_count);
	for (int64_t i = 0; i < a->tensor_count && i < b->tensor_count; i++) {
		const CkTensor *x = &a->tensors[i], *y = checkpoint_find(b, x->name);
		CHECK(y && strcmp(x->dtype, y->dtype) == 0 && x->code == y->code && x->rank == y->rank && x->bytes == y->bytes);
		CHECK(y && memcmp(x->shape, y->shape, sizeof x->shape) == 0);
		if (!y || x->bytes != y->bytes)
			continue;
		size_t count;
		char *from = read_all(a->files[x->file], &count), *to = read_all(b->files[y->file], &count);
		CHECK(memcmp(from + x->offset, to + y->offset, (size_t)x->bytes) == 0);
		free(from);
		free(to);
	}
}

static bool has_side(const CkLayout *layout, const char *name)
{
	for (int64_t i = 0; i < layout->side_count; i++)
		if (strcmp(layout->sides[i].name, name) == 0)
			return true;
	return false;
}

/* Opens `from`, lays out and writes to `to`, opens that. */
static Checkpoint *copy(const Checkpoint *source, CmprtProgram *program, const char *to, bool into_folder)
{
	CmprtError error = {""};
	CkLayout *layout = source->format->lay_out(program, source, into_folder, &error);
	CHECK(layout != NULL);
	if (!layout) {
		fprintf(stderr, "%s\n", error.text);
		exit(1);
	}
	if (into_folder)
		mkdir(to, 0777);
	write_layout(layout, source, to);
	layout_free(layout);
	Checkpoint *written = checkpoint_open(to, &error);
	if (!written) {
		fprintf(stderr, "%s\n", error.text);
		exit(1);
	}
	check_same(source, written);
	return written;
}

static Checkpoint *open_good(const char *path)
{
	CmprtError error;
	Checkpoint *checkpoint = checkpoint_open(path, &error);
	if (!checkpoint) {
		fprintf(stderr, "%s\n", error.text);
		exit(1);
	}
	return checkpoint;
}

static const char sharded[] =
	"file:m/one.safetensors "
	"st:{\"__metadata__\":{\"format\":\"pt\",\"k\":\"old\"},\"b\":{\"dtype\":\"U8\",\"shape\":[3],"
	"\"data_offsets\":[2,5]},\"a\":{\"dtype\":\"U8\",\"shape\":[1,2],\"data_offsets\":[0,2]}} raw:abcde "
	"file:m/two.safetensors st:{\"c\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]}} raw:xy "
	"file:m/model.safetensors.index.json raw:{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\","
	"\"c\":\"two.safetensors\"}} "
	"file:m/config.json raw:{\"eps\":1e-05,\"quantization_config\":{\"a\":[\"}\",1]},\"x\":[0.10]} "
	"file:m/tokenizer.json raw:{} file:m/.hidden raw:x file:m/pytorch_model.bin raw:x file:m/a.gguf raw:x";

static void test_folder(void)
{
	static const CmprtMeta meta[] = {{"k", "string", "a \"new\"\n"}, {"cmpc.version", "string", "1"}};
	CmprtOutput outputs[8];
	CmprtError error;
	size_t count;
	empty_folder();
	build_files(sharded);
	Checkpoint *source = open_good("m");
	CmprtProgram program = program_of(source, outputs, meta, 2);
	program.quantization_config = "{\"quant_method\":\"q\",\"damp\":0.01}";
	Checkpoint *written = copy(source, &program, "out", true);
	CHECK(strcmp(written->files[0], "out/one.safetensors") == 0 && written->file_count == 2);
	CHECK(written->meta_count == 3 && strcmp(written->meta[0].value, "pt") == 0);
	CHECK(written->meta_count == 3 && strcmp(written->meta[1].value, "a \"new\"\n") == 0);
	CHECK(
		strcmp(written->config, "{\"eps\":1e-05,\"quantization_config\":{\n    \"quant_method\": \"q\",\n    \"damp\": "
								"0.01\n  },\"x\":[0.10]}") == 0);
	char *index = read_all("out/model.safetensors.index.json", &count);
	CHECK(index &&
		  strcmp(index, "{\n  \"metadata\": {\n    \"total_size\": 7\n  },\n  \"weight_map\": {\n    \"a\": "
						"\"one.safetensors\",\n    \"b\": \"one.safetensors\",\n    \"c\": \"two.safetensors\"\n  "
						"}\n}\n") == 0);
	free(index);
	CkLayout *layout = source->format->lay_out(&program, source, true, &error);
	CHECK(layout && layout->side_count == 3 && has_side(layout, "tokenizer.json") && has_side(layout, "config.json"));
	CHECK(layout && layout->files[0].head_bytes % 8 == 0);
	layout_free(layout);
	checkpoint_close(written);

	written = copy(source, &program, "out.safetensors", false);
	CHECK(written->file_count == 1);
	checkpoint_close(written);
	checkpoint_close(source);
}

/* config.json gains a member at its end, whatever it looks like. */
static void test_config(void)
{
	static const char *const configs[][2] = {
		{"{\n  \"a\": 1\n}\n", "{\n  \"a\": 1,\n  \"quantization_config\": {}\n}\n"},
		{"{}", "{\n  \"quantization_config\": {}}"},
		{" {\"quantization\\u005fconfig\" : null , \"b\":\"\\\"}\"} ",
			" {\"quantization\\u005fconfig\" : {} , \"b\":\"\\\"}\"} "},
		{"{\"a\":{\"quantization_config\":1}}", "{\"a\":{\"quantization_config\":1},\n  \"quantization_config\": {}}"},
		{"[]", NULL},
		{"{\"a\":1", NULL},
	};
	CmprtError error;
	CmprtOutput outputs[8];
	for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
		empty_folder();
		build_files("file:m/model.safetensors st:{}");
		FILE *file = create("m/config.json");
		fputs(configs[i][0], file);
		fclose(file);
		Checkpoint *source = open_good("m");
		CmprtProgram program = program_of(source, outputs, NULL, 0);
		program.quantization_config = "{}";
		CkLayout *layout = source->format->lay_out(&program, source, true, &error);
		CHECK(layout ? configs[i][1] && strcmp(layout->sides[0].text, configs[i][1]) == 0 : !configs[i][1]);
		layout_free(layout);
		checkpoint_close(source);
	}
}

static const char split[] =
	"file:a-00001-of-00002.gguf raw:GGUF u32:3 u64:1 u64:6 key:general.name,8 s:x key:split.no,2 u16:0 "
	"key:split.count,2 u16:2 key:split.tensors.count,5 u32:3 key:general.file_type,4 u32:1 "
	"key:tokens,9 u32:8 u64:2 s:un s:dos s:a u32:2 u64:32 u64:2 u32:8 u64:0 pad:32 "
	"raw:0123456789012345678901234567890123456789012345678901234567890123abcd zeros:28 "
	"file:a-00002-of-00002.gguf raw:GGUF u32:3 u64:2 u64:2 key:split.no,2 u16:1 key:split.count,2 u16:2 "
	"s:b u32:1 u64:2 u32:24 u64:0 s:c u32:0 u32:0 u64:32 pad:32 raw:xy zeros:30 raw:1234";

/* What the set is as one file, its file type replaced and a key added. */
static const char merged[] =
	"file:is.gguf raw:GGUF u32:3 u64:3 u64:4 key:general.name,8 s:x key:general.file_type,4 u32:7 "
	"key:tokens,9 u32:8 u64:2 s:un s:dos key:cmpc.ratio,6 u32:1056964608 "
	"s:a u32:2 u64:32 u64:2 u32:8 u64:0 s:b u32:1 u64:2 u32:24 u64:96 s:c u32:0 u32:0 u64:128 pad:32 "
	"raw:0123456789012345678901234567890123456789012345678901234567890123abcd zeros:28 raw:xy zeros:30 raw:1234 "
	"zeros:28";

static void test_gguf(void)
{
	static const CmprtMeta meta[] = {{"general.file_type", "u32", "7"}, {"cmpc.ratio", "f32", "0.5"}};
	CmprtOutput outputs[8];
	CmprtError error;
	size_t count, other_count;
	empty_folder();
	build_files(split);
	build_files(merged);
	Checkpoint *source = open_good("a-00001-of-00002.gguf");
	CmprtProgram program = program_of(source, outputs, meta, 2);
	checkpoint_close(copy(source, &program, "out.gguf", false));
	char *is = read_all("out.gguf", &count), *expected = read_all("is.gguf", &other_count);
	CHECK(count == other_count && memcmp(is, expected, count) == 0);
	free(is);
	free(expected);
	CHECK(!source->format->lay_out(&program, source, true, &error));
	checkpoint_close(source);
}

#define OUTPUT(n, dtype, code, dimensions, extents, size)                                                              \
	{                                                                                                                  \
		.name = n, .container_dtype = dtype, .container_code = code, .rank = dimensions, .shape = extents,             \
		.bytes = size                                                                                                  \
	}

/* What a container cannot hold is refused by name. */
static void test_refusals(void)
{
	static const int64_t shape[5] = {1, 1, 1, 1, 64};
	static const CmprtMeta bad = {"k", "u8", "256"};
	const struct {
		const char *format;
		CmprtOutput outputs[2];
		int64_t count;
		const CmprtMeta *meta;
		const char *message;
	} rows[] = {
		{"gguf", {OUTPUT("a", "nf4", -1, 1, shape, 1)}, 1, NULL, "out: tensor \"a\": GGUF cannot hold dtype nf4"},
		{"gguf", {OUTPUT("a", "F32", 0, 5, shape, 256)}, 1, NULL,
			"out: tensor \"a\": has 5 dimensions, the limit of GGUF is 4"},
		{"gguf", {OUTPUT("a", "Q4_K", 12, 1, shape + 4, 144)}, 1, NULL,
			"out: tensor \"a\": cannot be Q4_K [64]: its rows are not whole blocks (a block has 256 elements)"},
		{"gguf", {OUTPUT("a", "F32", 0, 1, shape + 4, 255)}, 1, NULL,
			"out: tensor \"a\": has 255 bytes, but F32 [64] needs 256"},
		{"gguf", {OUTPUT("a", "F32", 0, 1, shape, 4), OUTPUT("a", "F32", 0, 1, shape, 4)}, 2, NULL,
			"out: tensor \"a\": would be written twice"},
		{"gguf", {{0}}, 0, &bad, "out: key \"k\": \"256\" is not a u8"},
		{"safetensors", {OUTPUT("a", "Q4_K", 12, 1, shape, 1)}, 1, NULL,
			"out: tensor \"a\": safetensors cannot hold dtype Q4_K"},
		{"safetensors", {OUTPUT("a", "F16", -1, 1, shape + 4, 64)}, 1, NULL,
			"out: tensor \"a\": has 64 bytes, but F16 [64] needs 128"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CmprtError error = {""};
		CmprtProgram program = {.output_path = "out", .output_count = rows[i].count, .outputs = rows[i].outputs};
		program.meta = rows[i].meta;
		program.meta_count = rows[i].meta ? 1 : 0;
		CkLayout *layout = format_find(rows[i].format)->lay_out(&program, NULL, false, &error);
		CHECK(!layout && strcmp(error.text, rows[i].message) == 0, "is %s", error.text);
		layout_free(layout);
	}
}

/* From one format to another: names and shapes as they are, metadata only what the program says. */
static void test_crossing(void)
{
	static const CmprtMeta meta[] = {{"general.architecture", "string", "x"}};
	static const char *const ways[][3] = {
		{"a.safetensors", "gguf", "b.gguf"},
		{"b.gguf", "safetensors", "c.safetensors"},
	};
	CmprtOutput outputs[2];
	empty_folder();
	build_files("file:a.safetensors st:{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],"
				"\"data_offsets\":[0,24]}} raw:abcdefghijklmnopqrstuvwx");
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		CmprtError error = {""};
		Checkpoint *source = open_good(ways[i][0]);
		CmprtProgram program = program_of(source, outputs, meta, 1);
		outputs[0].container_code = strcmp(ways[i][1], "gguf") == 0 ? 0 : -1;
		CkLayout *layout = format_find(ways[i][1])->lay_out(&program, source, false, &error);
		CHECK(layout != NULL, "%s", error.text);
		write_layout(layout, source, ways[i][2]);
		Checkpoint *written = open_good(ways[i][2]);
		CHECK(written->meta_count == 1 && strcmp(written->meta[0].key, "general.architecture") == 0);
		CHECK(written->tensors[0].rank == 2 && written->tensors[0].shape[1] == 3 && written->tensors[0].bytes == 24);
		checkpoint_close(written);
		layout_free(layout);
		checkpoint_close(source);
	}
}

static void test_table(void)
{
	CHECK(format_find("safetensors") && format_find("gguf") && !format_find("onnx"));
	CHECK(format_of_output("a/b.gguf") == format_find("gguf"));
	CHECK(format_of_output("b.safetensors") == format_find("safetensors"));
	CHECK(format_of_output("out/") == format_find("safetensors"));
	CHECK(format_of_output("llama-3.1-8B") == format_find("safetensors"));
	CHECK(format_of_output("model.onnx") == NULL);
	CHECK(format_find("gguf")->holds("Q4_K", -1) && format_find("gguf")->holds(NULL, 23) &&
		  !format_find("gguf")->holds(NULL, 31) && !format_find("gguf")->holds("F8_E4M3", -1));
	CHECK(format_find("safetensors")->holds("F8_E4M3", -1) && !format_find("safetensors")->holds("Q4_K", 12));
}

/* Real checkpoints, where they are. */
static void test_real(const char *root)
{
	static const char *const models[] = {
		"stories260K", "stories260K/model.safetensors", "resnet20-cifar10", "lora/lora_disney.safetensors"};
	char path[4096];
	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		snprintf(path, sizeof path, "%s/../shared/models/%s", root, models[i]);
		if (access(path, R_OK) != 0)
			continue;
		empty_folder();
		Checkpoint *source = open_good(path);
		CmprtOutput *outputs = calloc((size_t)source->tensor_count, sizeof *outputs);
		CmprtProgram program = program_of(source, outputs, NULL, 0);
		checkpoint_close(copy(source, &program, source->is_folder ? "out" : "out.safetensors", source->is_folder));
		free(outputs);
		checkpoint_close(source);
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
		return write_seeds(argv[2]);
	const char *srcdir = getenv("srcdir");
	char *root = realpath(srcdir ? srcdir : ".", NULL), golden[4096], folder[] = "/tmp/formats_test.XXXXXX";
	if (!root || !mkdtemp(folder) || chdir(folder) != 0) {
		perror("formats_test");
		return 1;
	}
	snprintf(golden, sizeof golden, "%s/tests/unit/formats.golden", root);
	test_cases(golden);
	test_folder();
	test_config();
	test_gguf();
	test_refusals();
	test_crossing();
	test_table();
	test_real(root);
	empty_folder();
	rmdir(folder);
	free(root);
	return finish("formats");
}
