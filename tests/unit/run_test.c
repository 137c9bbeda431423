/* SPDX-License-Identifier: MIT
 *
 * run_test.c: the run loop on real checkpoints with kernels written in C (run_case.c).
 *
 * Every run is a process of its own (forked before any thread exists), so that it
 * can be killed, limited and measured. What is held: bytes for any threads and
 * memory, memory limits, resumption after kills at any time and after a reboot,
 * folders and files committed whole, and each refusal with its message.
 */
#include "check.h"
#include "run_case.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

enum { METRIC_SIZE = 0, METRIC_ERROR = 2 }; /* rows of metrics.def */

/* ---- runs ---- */

typedef struct Result {
	int status;      /* exit status; 128 + signal */
	long long read;  /* bytes, as the kernel counts them */
	long long peak;  /* VmHWM */
	char text[4096]; /* stdout and stderr */
} Result;

typedef struct Setup {
	long kill_after; /* microseconds; 0: never */
	int signal;
	rlim_t file_limit; /* 0: none */
	bool is_nobody;
} Setup;

static long long number_after(const char *path, const char *key)
{
	char text[4096] = "";
	FILE *file = fopen(path, "r");
	size_t count = file ? fread(text, 1, sizeof text - 1, file) : 0;
	text[count] = '\0';
	if (file)
		fclose(file);
	const char *at = strstr(text, key);
	return at ? atoll(at + strlen(key)) : -1;
}

static void child(
	const Case *c, const CmprtOptions *options, const Setup *setup, const int output[2], const int figures[2])
{
	dup2(output[1], 1);
	dup2(output[1], 2);
	struct rlimit limit = {setup->file_limit, setup->file_limit};
	if (setup->file_limit)
		setrlimit(RLIMIT_FSIZE, &limit);
	if (setup->is_nobody && setuid(65534) < 0)
		_exit(99);
	long long before = number_after("/proc/self/io", "rchar:");
	int status = cmprt_run(&c->program, options);
	long long values[2] = {
		number_after("/proc/self/io", "rchar:") - before, number_after("/proc/self/status", "VmHWM:") * 1024};
	if (write(figures[1], values, sizeof values) != (ssize_t)sizeof values)
		_exit(98);
	fflush(stdout);
	exit(status);
}

static Result run_with(const Case *c, const CmprtOptions *options, const Setup *setup)
{
	Result result = {.read = -1};
	int output[2], figures[2], status;
	if (pipe(output) < 0 || pipe(figures) < 0)
		exit(1);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		child(c, options, setup, output, figures);
	close(output[1]);
	close(figures[1]);
	if (setup->kill_after) {
		struct timespec time = {setup->kill_after / 1000000, setup->kill_after % 1000000 * 1000};
		nanosleep(&time, NULL);
		kill(pid, setup->signal);
	}
	size_t used = 0;
	for (ssize_t count; used < sizeof result.text - 1 &&
						(count = read(output[0], result.text + used, sizeof result.text - 1 - used)) > 0;)
		used += (size_t)count;
	waitpid(pid, &status, 0);
	long long values[2] = {-1, -1};
	if (read(figures[0], values, sizeof values) == (ssize_t)sizeof values) {
		result.read = values[0];
		result.peak = values[1];
	}
	close(output[0]);
	close(figures[0]);
	result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return result;
}

static Result run(const Case *c, CmprtOptions options)
{
	return run_with(c, &options, &(Setup){0});
}

/* ---- looking at what came out ---- */

static uint64_t hash_bytes; /* of the last file hashed: the one state that nftw's callback can reach */

static int hash_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	(void)info;
	if (kind != FTW_F)
		return 0;
	/* in pieces: what this process once had resident would count as its children's */
	char chunk[64 << 10];
	FILE *file = fopen(path, "rb");
	XXH3_state_t *state = XXH3_createState();
	XXH3_64bits_reset_withSeed(state, XXH3_64bits(path + where->base, where->level ? strlen(path + where->base) : 0));
	for (size_t count; (count = fread(chunk, 1, sizeof chunk, file)) > 0;)
		XXH3_64bits_update(state, chunk, count);
	hash_bytes += XXH3_64bits_digest(state);
	XXH3_freeState(state);
	fclose(file);
	return 0;
}

/* Of a file, or of all files in a folder; 0: there is none. The name of a single file does not count. */
static uint64_t hash_of(const char *path)
{
	struct stat info;
	hash_bytes = 0;
	if (stat(path, &info) < 0)
		return 0;
	nftw(path, hash_entry, 16, FTW_PHYS);
	return hash_bytes;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	(void)info, (void)kind, (void)where;
	return remove(path);
}

static void remove_all(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static int strays(const char *folder)
{
	int count = 0;
	DIR *stream = opendir(folder);
	for (struct dirent *entry; (entry = readdir(stream));)
		count += strstr(entry->d_name, ".cmpc-") != NULL;
	closedir(stream);
	return count;
}

/* The bytes of the single-file output against what the kernels mean. */
static void check_bytes(const Case *c, const char *path)
{
	FILE *file = fopen(path, "rb");
	uint64_t head_bytes = 0;
	CHECK(file && fread(&head_bytes, 8, 1, file) == 1, "no output");
	fseek(file, (long)head_bytes, SEEK_CUR);
	int64_t wrong = 0;
	for (int i = 0; i < TENSORS; i++) {
		int64_t columns = c->shapes[i][1], rows = c->shapes[i][0];
		for (int64_t k = 0; k < rows * columns; k++) {
			bool is_turned = c->jobs[i].whole;
			float from = case_weight(i, is_turned ? (rows - 1 - k / columns) * columns + k % columns : k);
			uint32_t bits, found = 0;
			size_t width = c->jobs[i].error_port >= 0 ? 2 : 4;
			memcpy(&bits, &from, 4);
			wrong += fread(&found, width, 1, file) != 1 || found != (width == 2 ? bits >> 16 : bits);
		}
	}
	CHECK(wrong == 0, "%lld elements differ", (long long)wrong);
	CHECK(fgetc(file) == EOF, "bytes after the last tensor");
	fclose(file);
}

/* The relative error of "bf16" as the JSON report has it. */
static void find_error(const Result *result, char to[64])
{
	const char *at = strstr(result->text, "\"dtype\":\"bf16\",\"tensors\":");
	at = at ? strstr(at, "\"relative_error\":") : NULL;
	snprintf(to, 64, "%.40s", at ? at : "?");
	to[strcspn(to, ",}")] = '\0';
}

/* ---- the tests ---- */

static void test_same_bytes(Case *c, const char *output, bool is_file)
{
	CmprtOptions options = {.output = output, .threads = 1, .no_sync = true};
	Result first = run(c, options);
	CHECK(first.status == 0, "%s", first.text);
	CHECK(strays(".") == 0, "strays");
	uint64_t wanted = hash_of(output);
	if (is_file)
		check_bytes(c, output);
	options.memory = 1;
	Result refused = run(c, options);
	const char *smallest = strstr(refused.text, "smallest that works is ");
	CHECK(refused.status == 1 && smallest, "%s", refused.text);
	int64_t least = smallest ? atoll(smallest + 23) << 20 : 0;
	char error[64] = "", other[64] = "";
	for (int threads = 1; threads <= 7; threads += threads < 3 ? 1 : 4)
		for (int is_limited = 0; is_limited < 2; is_limited++) {
			options = (CmprtOptions){
				.output = output, .threads = threads, .memory = is_limited ? least : 0, .no_sync = true, .json = true};
			remove_all(output);
			Result result = run(c, options);
			CHECK(result.status == 0, "%d threads, limit %lld: %s", threads, (long long)options.memory, result.text);
			CHECK(hash_of(output) == wanted, "%d threads, limit %lld: other bytes", threads, (long long)options.memory);
			CHECK(
				!is_limited || result.peak <= least, "%d threads: %lld > %lld", threads, result.peak, (long long)least);
			find_error(&result, *error ? other : error);
			CHECK(!*other || strcmp(error, other) == 0, "%s, %s", error, other);
		}
}

/* Kills spread over the run; the next run must end in the same bytes and do less. */
static void test_kills(Case *c, const char *output, const char *old)
{
	enum { KILLS = 40 };
	CmprtOptions options = {.output = output, .threads = 2, .no_sync = true, .json = true};
	case_slow_down(c, 60);
	remove_all(output);
	struct timespec from, to;
	clock_gettime(CLOCK_MONOTONIC, &from);
	Result full = run(c, options);
	clock_gettime(CLOCK_MONOTONIC, &to);
	double seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
	uint64_t wanted = hash_of(output);
	char error[64], other[64];
	find_error(&full, error);
	int inside = 0, less = 0;
	for (int i = 0; i < KILLS; i++) {
		char command[512];
		remove_all(output);
		snprintf(command, sizeof command, "cp -r %s %s", old, output);
		CHECK(system(command) == 0, "%s", command);
		uint64_t before = hash_of(output);
		Result killed =
			run_with(c, &options, &(Setup){.kill_after = 1 + (long)(seconds * 1e6 * i / KILLS), .signal = SIGKILL});
		uint64_t between = hash_of(output);
		CHECK(between == before || between == wanted, "kill %d: the destination is neither old nor new", i);
		inside += killed.status == 128 + SIGKILL;
		Result again = run(c, options);
		find_error(&again, other);
		CHECK(again.status == 0 && hash_of(output) == wanted, "kill %d: %s", i, again.text);
		CHECK(strcmp(error, other) == 0, "kill %d: %s, %s", i, error, other);
		CHECK(strays(".") == 0, "kill %d: strays", i);
		less += again.read < full.read - 1000000;
	}
	/* how many land inside and resume depends on the machine's load: tests/kill.py counts them */
	CHECK(inside > 0 && less > 0, "%d kills hit, %d runs resumed", inside, less);
	Result asked = {.status = 0};
	for (int i = 2; i < 12 && asked.status == 0; i++) /* a run that had no company is faster than the first one was */
		asked = run_with(c, &options, &(Setup){.kill_after = (long)(seconds * 1e6 / i), .signal = SIGTERM});
	CHECK(asked.status == 143 && strstr(asked.text, "run it again to resume"), "%d %s", asked.status, asked.text);
	CHECK(run(c, options).read < full.read, "not resumed after SIGTERM");
	case_slow_down(c, 0);
}

/* As if the machine had gone down: another boot id in the journal, and a page of the result lost. */
static void test_reboot(Case *c, const char *output, const char *partial, const char *journal)
{
	CmprtOptions options = {.output = output, .threads = 2, .no_sync = true};
	uint64_t wanted = hash_of(output);
	case_slow_down(c, 60);
	run_with(c, &options, &(Setup){.kill_after = 150000, .signal = SIGKILL});
	char head[96];
	int fd = open(journal, O_RDWR);
	CHECK(fd >= 0 && pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head, "no journal");
	head[32] ^= 1;
	uint64_t check = XXH3_64bits(head, 88);
	memcpy(head + 88, &check, 8);
	CHECK(pwrite(fd, head, sizeof head, 0) == (ssize_t)sizeof head, "pwrite");
	close(fd);
	fd = open(partial, O_RDWR);
	char lost[4096] = {0};
	CHECK(fd >= 0 && pwrite(fd, lost, sizeof lost, 100000) == (ssize_t)sizeof lost, "no partial result");
	close(fd);
	Result result = run(c, options);
	CHECK(result.status == 0 && strstr(result.text, "resumed"), "%s", result.text);
	CHECK(hash_of(output) == wanted, "lost bytes stayed lost");
	case_slow_down(c, 0);
}

static void expect(const char *what, Result result, int status, const char *text)
{
	CHECK(result.status == status && strstr(result.text, text), "%s: %d %s", what, result.status, result.text);
}

static void test_refusals(Case *c)
{
	CmprtOptions options = {.output = "out.safetensors", .threads = 2, .no_sync = true};
	uint64_t before = hash_of("out.safetensors");
#define RUN(field, value) run(c, (field = (value), options))
	expect("input", RUN(options.output, "in.safetensors"), 1, "is the input file");
	CHECK(link("in.safetensors", "same.safetensors") == 0, "link");
	expect("hard link", RUN(options.output, "same.safetensors"), 1, "is the input file");
	expect("no folder", RUN(options.output, "none/out.safetensors"), 1, "there is no folder none");
	expect("suffix", RUN(options.output, "out.gguf"), 1, "must end in \".safetensors\"");
	write_text("precious.safetensors", "not a checkpoint");
	mkdir("stuff", 0777);
	write_text("stuff/notes.txt", "x");
	expect("foreign folder", RUN(options.output, "stuff"), 1, "\"notes.txt\"");
	options.force = true;
	expect("forced", RUN(options.output, "stuff"), 0, "smaller");
	CHECK(access("stuff/notes.txt", F_OK) < 0 && access("stuff/model-00001-of-00003.safetensors", F_OK) == 0,
		"not replaced");
	options.force = false;
	mkdir("closed", 0555);
	options.output = "closed/out.safetensors";
	expect(
		"unwritable", run_with(c, &options, &(Setup){.is_nobody = geteuid() == 0}), 1, "cannot write to folder closed");
	options.output = "out.safetensors";
	expect("file limit", run_with(c, &options, &(Setup){.file_limit = 1 << 20}), 1, "cannot reserve the space");
	mkdir("small", 0777);
	if (mount("none", "small", "tmpfs", 0, "size=2m") == 0) {
		expect("full disk", RUN(options.output, "small/out.safetensors"), 1, "not enough space");
		CHECK(strays("small") == 0, "strays");
		umount("small");
		options.output = "out.safetensors";
	}
	expect("no model", RUN(options.model, "absent.safetensors"), 1, "absent.safetensors");
	options.model = NULL;
	c->require = (CmprtRequire){"size <= 1 KB", METRIC_SIZE, 1, 1000, 0, -1};
	c->program.require_count = 1;
	expect("size", run(c, options), 1, "require size <= 1 KB failed");
	c->require = (CmprtRequire){"error <= 0.1%", METRIC_ERROR, 1, 0.001, 0, -1};
	expect("error", run(c, options), 1, "require error <= 0.1% failed: error is 0.00");
	c->program.require_count = 0;
	c->shapes[3][0]--;
	expect("shape", run(c, options), 1,
		"tensor \"big.1\" is F32 [1024, 1024] instead of F32 [1023, 1024] (1 of 310 differ)");
	c->shapes[3][0]++;
	c->inputs[0].name = "embedding";
	expect("name", run(c, options), 1, "no tensor \"embedding\" (1 of 310 are missing)");
	c->inputs[0].name = "embed";
	CHECK(hash_of("out.safetensors") == before, "a refusal changed the output");
	CHECK(strays(".") == 0, "strays");
#undef RUN
}

static void test_nonfinite(Case *c)
{
	CmprtOptions options = {.model = "nan.safetensors", .output = "nan-out.safetensors", .threads = 3, .no_sync = true};
	CHECK(system("cp in.safetensors nan.safetensors") == 0, "cp");
	FILE *file = fopen("nan.safetensors", "r+b");
	uint64_t head_bytes;
	CHECK(fread(&head_bytes, 8, 1, file) == 1, "head");
	const uint32_t bits = 0x7fc00001, infinite = 0xff800000;
	fseek(file, (long)head_bytes + 8 + 4 * (2000 * 700 + 13), SEEK_SET);
	fwrite(&bits, 4, 1, file);
	fseek(file, (long)head_bytes + 8 + 4 * (2900 * 700), SEEK_SET);
	fwrite(&infinite, 4, 1, file);
	fclose(file);
	expect("nan", run(c, options), 1, "tensor \"embed\": element [2000, 13] is NaN or infinite (number 1400013)");
	CHECK(access("nan-out.safetensors", F_OK) < 0, "written all the same");
	uint16_t found[2];
	for (int mode = CMPRT_NONFINITE_KEEP; mode <= CMPRT_NONFINITE_ZERO; mode++) {
		options.nonfinite = mode;
		expect("mode", run(c, options), 0, "smaller");
		file = fopen("nan-out.safetensors", "rb");
		CHECK(fread(&head_bytes, 8, 1, file) == 1, "head");
		fseek(file, (long)head_bytes + 8 + 2 * (2000 * 700 + 13), SEEK_SET);
		CHECK(fread(&found[0], 2, 1, file) == 1, "read");
		fseek(file, (long)head_bytes + 8 + 2 * (2900 * 700), SEEK_SET);
		CHECK(fread(&found[1], 2, 1, file) == 1, "read");
		fclose(file);
		bool is_kept = mode == CMPRT_NONFINITE_KEEP;
		CHECK(found[0] == (is_kept ? 0x7fc0 : 0) && found[1] == (is_kept ? 0xff80 : 0), "%x %x", found[0], found[1]);
	}
}

static void test_report(Case *c)
{
	static const char *const paths[] = {"report.html", "report.json", "report.csv"};
	static const char *const holds[] = {
		"<svg", "\"relative_error\": 0.00", "\"big.0\",\"test\",bf16,4194304,2097152,0.00"};
	for (int i = 0; i < 3; i++) {
		c->program.report_path = paths[i];
		expect(paths[i], run(c, (CmprtOptions){.no_sync = true}), 0, "bf16");
		char command[256];
		snprintf(command, sizeof command, "grep -qF '%s' %s", holds[i], paths[i]);
		CHECK(system(command) == 0, "%s", command);
	}
	c->program.report_path = "report.pdf";
	expect("kind", run(c, (CmprtOptions){.no_sync = true}), 1, "must end in .html, .json or .csv");
	c->program.report_path = NULL;
	uint64_t before = hash_of("out.safetensors");
	struct timespec from, to;
	clock_gettime(CLOCK_MONOTONIC, &from);
	expect("dry run", run(c, (CmprtOptions){.dry_run = true}), 0, "time     about");
	clock_gettime(CLOCK_MONOTONIC, &to);
	CHECK(to.tv_sec - from.tv_sec < 3, "a dry run takes less than 2 s");
	CHECK(hash_of("out.safetensors") == before && strays(".") == 0, "a dry run wrote");
	expect("quiet", run(c, (CmprtOptions){.quiet = true, .no_sync = true}), 0, "");
}

/* The child parses options; a wrong one ends with status 2. */
static void test_options(const Case *c)
{
	static char *const lines[][4] = {{"exe", "--help", NULL}, {"exe", "--memory", "12parsecs", NULL},
		{"exe", "--thread=2", NULL}, {"exe", "--quiet=1", NULL}, {"exe", "--output", NULL},
		{"exe", "--memory=2KiB", "--quiet", NULL}};
	static const int wanted[] = {0, 2, 2, 2, 2, 1};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		int status, count = 0;
		while (lines[i][count])
			count++;
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			int null = open("/dev/null", O_WRONLY);
			dup2(null, 1);
			dup2(null, 2);
			exit(cmprt_main(&c->program, count, (char **)lines[i]));
		}
		waitpid(pid, &status, 0);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == wanted[i], "line %zu: %d", i, status);
	}
}

/* A runtime that was built from other lists must not look into the program. */
static void test_tables(void)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(open("start.log", O_WRONLY | O_CREAT | O_TRUNC, 0666), 2);
		exit(cmprt_start(NULL, 1, (char *[]){"exe", NULL}, cmprt_tables() + 1));
	}
	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %d", status);
	CHECK(system("grep -q 'libcmprt.a of another cmpc' start.log") == 0, "start.log");
}

/* A run that was killed between its two renames left no output; another that is at work holds the journal. */
static void test_repair(Case *c)
{
	CmprtOptions options = {.output = "out", .no_sync = true};
	uint64_t before = hash_of("out");
	CHECK(rename("out", ".out.cmpc-old") == 0, "rename");
	c->require = (CmprtRequire){"error <= 0.1%", METRIC_ERROR, 1, 0.001, 0, -1};
	c->program.require_count = 1;
	expect("repair", run(c, options), 1, "require error");
	c->program.require_count = 0;
	CHECK(hash_of("out") == before && strays(".") == 0, "the old output was not put back");
	int fd = open(".out.cmpc-journal", O_RDWR | O_CREAT, 0666);
	CHECK(flock(fd, LOCK_EX) == 0, "flock");
	expect("busy", run(c, options), 1, "another run is writing out");
	close(fd);
	expect("free", run(c, options), 0, "smaller");
}

int main(void)
{
	char folder[] = "/tmp/run_test.XXXXXX";
	if (!mkdtemp(folder) || chdir(folder) < 0 || chmod(".", 0755) < 0)
		return 1;
	Case *c = case_make("in.safetensors", "out.safetensors");
	case_write(c, "in.safetensors", 0, 1);
	case_write_folder(c, "in");
	case_write(c, "old.safetensors", 0, 1);
	mkdir("old", 0777);
	case_write(c, "old/model.safetensors", 0, 1);
	test_same_bytes(c, "out.safetensors", true);
	test_kills(c, "out.safetensors", "old.safetensors");
	test_reboot(c, "out.safetensors", ".out.safetensors.cmpc-partial", ".out.safetensors.cmpc-journal");
	test_refusals(c);
	test_nonfinite(c);
	test_report(c);
	test_options(c);
	test_tables();
	c->sources[0].path = "in";
	test_same_bytes(c, "out", false);
	test_kills(c, "out", "old");
	test_repair(c);
	expect("in the input", run(c, (CmprtOptions){.output = "in/out"}), 1, "lies in the input folder");
	expect("the input", run(c, (CmprtOptions){.output = "in/"}), 1, "is the input");
	free(c);
	if (chdir("/") == 0)
		remove_all(folder);
	return finish("run_test");
}
