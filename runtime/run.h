/* SPDX-License-Identifier: MIT
 *
 * run.h: the inside of the run loop. One Run holds the state of one call of
 * cmprt_run; there are no mutable globals.
 *
 * The rows of a job are cut twice. A *segment* is what the journal calls done: its
 * size follows from the program alone, so a run may resume under other options. A
 * *panel* is what one thread reads, computes and writes at a time: its size follows
 * from the cache and the memory limit, and no byte of the output depends on it.
 *
 * Functions that can fail return false (or NULL) after filling a CmprtError.
 */
#ifndef CMPRT_RUN_H
#define CMPRT_RUN_H

#include "cmprt.h"
#include "format.h"

typedef struct Journal Journal;
typedef struct Run Run;

/* ---- task.c: jobs as the run loop sees them, cut into segments ---- */

typedef struct Task {
	const CmprtJob *job;
	bool is_streamed;                     /* any panel will do: a copy, or a kernel that works row by row */
	int64_t rows;                         /* job->rows; of a copy: its bytes */
	int64_t row_in, row_out, row_values;  /* streamed: bytes of a row in all tensors read, all written, in Values */
	int64_t bytes;                        /* read and written by the whole task */
	int64_t segment_rows;                 /* the last segment may be shorter */
	int64_t segment_first, segment_count; /* numbers of its segments in the run */
	int64_t panel_rows;                   /* set by memory.c */
	bool has_keys;                        /* its one output is keys of a selection: memory, no tensor */
	bool has_error;                       /* a port of the kernel gives errors per row */
	int64_t note_port;                    /* of ports_out: what the job tells of its tensor; -1: nothing */
} Task;

bool tasks_build(Run *run, CmprtError *error);
/* Panels of copies, and of the tensors of whole jobs, are counted in bytes, as if a row had one. */
int64_t task_row_bytes(const Task *task, const CmprtPort *port);
int64_t task_port_rows(const Task *task, const CmprtPort *port);
/* Bytes that the task leaves in the file: less than its kernel makes where extents depend on data. */
int64_t task_bytes_out(const Run *run, const Task *task, int64_t port_out);
bool task_is_tensor(const Task *task, int64_t port_out); /* false: the error port, the note port, keys */
bool task_is_panel(const Task *task, int64_t port_out);  /* false: the error port, whose rows are kept longer */
void task_params(const Run *run, const Task *task, int64_t *params); /* those that hold for all panels */
void task_panel_params(const Run *run, const Task *task, int64_t begin, int64_t count, int64_t *params);
int64_t task_segment_begin(const Task *task, int64_t segment);
int64_t task_segment_end(const Task *task, int64_t segment);
int64_t align_up(int64_t bytes, int64_t to);

/* ---- inputs.c: the checkpoints that are read ---- */

/* What changes with a file's content. */
typedef struct FileStamp {
	int64_t bytes, seconds, nanoseconds; /* the latter two: when it was last written to */
} FileStamp;

typedef struct OpenCheckpoint {
	Checkpoint *checkpoint;
	int *fds;          /* per file; -1: not open */
	FileStamp *stamps; /* per file, as it was opened */
	int64_t bytes;     /* of all its files */
} OpenCheckpoint;

bool inputs_open(Run *run, CmprtError *error); /* and binds run->inputs */
void inputs_close(Run *run);
bool inputs_check(const Run *run, CmprtError *error); /* nobody has written to them since */
bool input_read(Run *run, int64_t number, void *to, int64_t bytes, int64_t offset, CmprtError *error);

/* ---- extents.c: output extents that depend on data ---- */

bool extents_open(Run *run, CmprtError *error); /* room for the program's values */
/* Runs the early jobs and gives every output its final shape. `program` is what run->program points to. */
bool extents_resolve(Run *run, CmprtProgram *program, CmprtError *error);
void extents_close(Run *run);
int64_t extents_bytes(const Run *run); /* of all values */
/* Moves what stays of a tensor as a job made it to the front; gives its bytes. */
int64_t extents_cut(const Run *run, int64_t tensor, char *bytes);

/* ---- commit.c: where the result goes, and how it gets there whole ---- */

typedef struct Destination {
	char *path;    /* symbolic links followed */
	char *parent;  /* its folder */
	char *partial; /* work in progress: file or folder */
	char *journal;
	char *states; /* what a network's parts handed on, while there is work for it */
	char *old;    /* the folder being replaced, where two renames are needed */
	bool is_folder;
} Destination;

/* Fills its fields for a result at this path; touches nothing. */
bool destination_name(Destination *destination, const char *path, const Format *format, CmprtError *error);
bool destination_is_apart(const Destination *destination, const Checkpoint *source, CmprtError *error);
bool destination_find(Run *run, CmprtError *error);   /* run->destination */
bool destination_check(Run *run, CmprtError *error);  /* refuses what must not be overwritten */
bool destination_repair(Run *run, CmprtError *error); /* a commit cut in two by a kill; after the journal is locked */
bool destination_clear(Run *run, CmprtError *error);  /* removes a partial result that cannot be resumed */
bool destination_commit(Run *run, CmprtError *error); /* syncs, renames, removes the journal */
void destination_discard(Run *run);                   /* removes partial result and journal */
void destination_free(Destination *destination);

/* ---- output.c: files laid out under the partial name ---- */

/* pwrite of all of it. */
bool file_write(int fd, const char *path, const void *from, int64_t bytes, int64_t offset, CmprtError *error);
bool output_check_space(Run *run, CmprtError *error);
/* Creates and lays out the files, or, where the journal says the partial result is ours, opens them. */
bool output_open(Run *run, CmprtError *error);
bool output_sync(Run *run, CmprtError *error);
void output_close(Run *run);
/* The bytes that a job has from `offset` on in the port's rows, wherever these lie. */
bool output_write(Run *run, const CmprtPort *port, const void *from, int64_t bytes, int64_t offset, CmprtError *error);
bool output_read(Run *run, const CmprtPort *port, void *to, int64_t bytes, int64_t offset, CmprtError *error);
char *output_path(const Run *run, int64_t file); /* takes: free it */

/* ---- journal.c: which segments are done ---- */

typedef struct JournalRecord {
	int64_t segment;
	int64_t panel_rows; /* how `sum` was taken */
	uint64_t sum;       /* of panel_sum over the panels of the segment, wrapping */
	double error[2];    /* sum (x-y)^2, sum x^2 over its rows */
	double notes[CMPRT_NOTES];
	uint64_t check; /* XXH3 of the fields above; set by journal_add */
} JournalRecord;

/* Opens and locks it, reads what it says. run->done and run->segment_errors are filled when it belongs to this very
 * program, model and options, and to the partial result that lies there; else it is emptied. */
bool journal_open(Run *run, CmprtError *error);
bool journal_resumes(const Journal *journal);
/* Two numbers: of everything that the output's bytes depend on. */
const uint64_t *journal_key(const Journal *journal);
void journal_forget(Run *run); /* the partial result is not what the journal says: start over */
/* After output_open: writes the head; after a reboot reads done segments back and forgets what was lost. */
bool journal_start(Run *run, CmprtError *error);
/* These three also where a run has no journal: then nothing is kept. */
bool journal_add(Run *run, JournalRecord record, CmprtError *error);
bool journal_resolve(Run *run, int64_t select, CmprtError *error); /* run->resolved[select] was found */
bool journal_flush(Run *run, CmprtError *error);
void journal_close(Run *run);
uint64_t panel_sum(const void *bytes, int64_t count, int64_t port, int64_t begin);

/* ---- memory.c: panels and threads under the limit ---- */

/* What nets that are run for jobs need beside the arrays of jobs. */
typedef struct CalibrationBytes {
	int64_t states; /* in memory until the net is done */
	int64_t arena;  /* of calls, in turn with jobs */
	int64_t heap, disk;
} CalibrationBytes;

typedef struct Schedule {
	int64_t limit; /* 0: none */
	int64_t base;  /* resident before the first read: code, libraries, tables, headers */
	int64_t threads;
	int64_t thread_bytes; /* of the arena, for each thread that streams: its panels */
	int64_t thread_extra; /* and what lies apart from those: errors of open segments, or counts of keys */
	int64_t slot_errors;  /* rows that the error array of an open segment holds */
	int64_t arena_bytes;
	int64_t peak; /* what the process will have resident at most */
	CalibrationBytes net;
} Schedule;

/* What OpenBLAS and LAPACK pack panels into on each thread; measured: 0.8 MiB for sgemm on tiles of 512, 2.8 MiB for
 * spotrf of 2048. */
#define BLAS_THREAD_BYTES ((int64_t)4 << 20)

bool memory_schedule(Run *run, CmprtError *error);
int64_t memory_whole(const Task *task, int64_t threads); /* of the arena, for a whole task */
int64_t memory_resident(bool is_peak);                   /* bytes: VmHWM or VmRSS */
/* The limit that is proposed where that is the least that works, `base` of it before the work. */
int64_t memory_named(int64_t smallest, int64_t base);

/* ---- nonfinite.c ---- */

enum { FINITE = -1 };
/* Number of the first element that is NaN or infinite, or FINITE. dtypes that have neither: FINITE. */
int64_t nonfinite_find(const char *dtype, const void *from, int64_t bytes);
void nonfinite_zero(const char *dtype, void *at, int64_t bytes);
/* The largest magnitude of numbers that are all finite; -1: of a dtype that is not told apart here. */
double nonfinite_largest(const char *dtype, const void *from, int64_t bytes);

/* ---- stream.c: panels; whole.c: jobs that want all rows at once ---- */

/* Buffers of a panel of the task, laid out from `memory` on: inputs, outputs, work; returns what is left: scratch. That
 * of the error port is not set. */
void *panel_buffers(const Task *task, char *memory, void **buffers);
/* The same for a whole task, errors per row among them. */
void *whole_buffers(const Task *task, char *memory, void **buffers);
/* And for a run of it; reads its inputs and runs its kernel. params: param_count + 1 */
bool whole_compute(Run *run, const Task *task, char *memory, void **buffers, int64_t *params, CmprtError *error);
/* needs_values: of tasks that are done too, for the Values that they leave */
bool stream_tasks(Run *run, int64_t first, int64_t end, bool needs_values, CmprtError *error);
bool whole_task(Run *run, int64_t number, bool needs_values, CmprtError *error);
/* Reads rows [begin, begin + count) of an input port and treats what is not finite as the options say. */
bool panel_read(Run *run, const Task *task, int64_t port, void *to, int64_t begin, int64_t count, CmprtError *error);
/* Writes rows of an output port and adds their sum to *sum. */
bool panel_write(Run *run, const Task *task, int64_t port, const void *from, int64_t begin, int64_t count,
	uint64_t *sum, CmprtError *error);

/* ---- resolve.c: what has to be known of all weights before the sweep ---- */

/* Which elements a select takes: those whose image is below `image`, and those that have it and whose place is below
 * `cut`. */
typedef struct Resolved {
	int64_t is_known; /* 0 or 1 */
	int64_t image, cut;
} Resolved;

enum { RESOLVE_SWEEPS = 2, RESOLVE_SWEEPS_MOST = 3 }; /* the third where a key is taken in part */
int64_t resolve_thread_bytes(void);                   /* that counting takes beside a task's panels */
bool resolve_selects(Run *run, CmprtError *error);

/* ---- calibrate.c: jobs that need what a network makes of data ---- */

bool calibration_open(Run *run, CmprtError *error); /* reads the samples; after inputs_open and extents_open */
bool calibrate(Run *run, CmprtError *error);
void calibration_close(Run *run);
/* Are all jobs of the net's first calls in the journal? */
bool calibration_is_done(const Run *run, const CmprtNet *net, int64_t calls);
CalibrationBytes calibration_bytes(Run *run, int64_t threads, bool is_spilled); /* of nets so run, from here on */
uint64_t calibration_sum(const Run *run);                                       /* of what they read */
int64_t calibration_count(const Run *run);  /* how many of run->forwards there are */
int64_t calibration_tokens(const Run *run); /* that its nets read */
int64_t calibration_reads(const Run *run);  /* bytes of weights for its nets */

/* ---- progress.c ---- */

typedef struct Progress {
	bool is_shown, is_json;
	double started, last; /* seconds on the monotonic clock */
	int64_t total, done;  /* bytes read and written by panels; done counts what a resumed run need not do */
	int64_t skipped;      /* of done: by the run that was interrupted */
	/* samples through the calls of the net in hand; total 0: none is; first: what an interrupted run had done */
	int64_t net_done, net_total, net_first;
	double net_started;
} Progress;

/* Bytes that system calls of this process have moved, as the system counts them. */
typedef struct Transfers {
	int64_t read, written;
} Transfers;

double clock_seconds(void);
bool transfers_count(Transfers *to); /* false: the system does not count */
void progress_start(Run *run);
void progress_add(Run *run, const Task *task, int64_t bytes); /* one thread at a time */
void progress_net(Run *run, int64_t done, int64_t total);     /* a net begins; 0, 0: it is done */
void progress_sample(Run *run, const char *part, int64_t sample, int64_t samples);
void progress_end(Run *run);

/* ---- threads.c ---- */

int64_t threads_available(void);

/* ---- dry_run.c ---- */

typedef struct DryRun {
	double read_rate, write_rate; /* bytes/s, all threads together */
	double sync_rate;             /* and from memory to the disk */
	double drop_rate;             /* of the result that is replaced; 0: there is none */
	double seconds, kernel_seconds;
	int64_t bytes_read, bytes_written;
	int64_t untimed; /* jobs whose kernels take too long to be timed */
} DryRun;

void dry_run(Run *run);
double dry_run_median(double *values, int64_t count); /* count > 0; puts them in order */
void dry_run_fill(char *bytes, int64_t count, const char *dtype);

/* ---- dry_run_disk.c ---- */

void dry_run_disk(const Run *run, DryRun *result); /* sets the rates; 0: unknown */
/* What a run of `seconds` waits for the disk beside them, with bytes_written. */
double dry_run_wait(const DryRun *result, double seconds, bool is_synced);

/* ---- dry_run_whole.c ---- */

bool dry_run_whole(const Run *run, DryRun *result); /* adds what kernels on whole tensors take; false: no memory */

/* ---- report.c, report_html.c ---- */

typedef struct DtypeTotal {
	const char *dtype; /* "(copied)" where no kernel ran */
	int64_t tensors, bytes_before, bytes_after;
	double error[2];
	bool has_error;
} DtypeTotal;

typedef enum Metric {
#define METRIC(name, unit, when) METRIC_##name,
#include "metrics.def"
#undef METRIC
	METRIC_COUNT
} Metric;

double error_ratio(const double error[2]);                          /* sqrt(a / b); 0 / 0 is 0 */
bool task_error(const Run *run, const Task *task, double error[2]); /* false: the job has no error port */
void task_bytes(
	const Run *run, const Task *task, int64_t *before, int64_t *after); /* of the model's tensors; of the result */
DtypeTotal *report_totals(const Run *run, int64_t *count);              /* takes: free it */
double report_metric(const Run *run, Metric metric);
bool require_check(const Run *run, bool is_end, CmprtError *error); /* is_end: all is known */
bool report_check_path(const Run *run, CmprtError *error);
bool report_write(const Run *run, CmprtError *error);               /* the program's report file */
void report_resolved(const Run *run);                               /* the output's size, once it is decided */
void report_show(const Run *run);                                   /* summary on stdout */
double task_note(const Run *run, const Task *task, int64_t number); /* NaN: it is not told */
char *report_notes(const Run *run, const Task *task); /* "damping 0.1", "": nothing is told; takes: free it */
struct json_t *report_json(const Run *run);
char *report_html(const Run *run, size_t *bytes); /* takes: free it */
void json_line(struct json_t *object);            /* prints one line on stdout, drops the object */
struct json_t *json_text(const char *text);       /* a string, whatever bytes it has */

/* ---- measure.c ---- */

/* A net's scores, of the model and of the result. */
typedef struct NetScores {
	CmprtScores before, after;
} NetScores;

typedef struct FigureValue {
	CmprtMean before, after; /* of the model: not finite where it has none */
	const char *unit;        /* of which there are count; NULL: it is not measured on data */
	int64_t count;
} FigureValue;

/* Sets run->measured; result: path of a whole checkpoint. */
bool measure(Run *run, const char *result, CmprtError *error);
void measure_free(Run *run);
FigureValue figure_value(const Run *run, const CmprtFigure *figure);
char *figure_text(const FigureValue *value); /* takes: free it */
void figures_show(const Run *run);           /* a line each on stdout */
struct json_t *figures_json(const Run *run);

/* ---- run.c ---- */

/* What a job did to its tensor. */
typedef struct TrialJob {
	double error[2];
	bool has_error;
} TrialJob;

/* For `try`: jobs: per job of the program; output_bytes: per output. */
bool trial_run(
	const CmprtProgram *program, const CmprtOptions *options, TrialJob *jobs, int64_t *output_bytes, CmprtError *error);

struct Run {
	const CmprtProgram *program;
	const CmprtOptions *options;
	bool is_trial;            /* nothing is written: no layout, no files, no journal */
	OpenCheckpoint *sources;  /* per program source */
	Checkpoint *model;        /* the first of them */
	const Checkpoint *reader; /* whose tokenizer reads text; NULL: the model's */
	const CkTensor **inputs;  /* per program input */
	CkLayout *layout;
	int *output_fds; /* per file of the layout; -1: not open */
	Task *tasks;
	Task *early_tasks;
	char **values;                 /* per program value */
	const CmprtOutput *bounds;     /* program->outputs before extents were resolved */
	CmprtOutput *resolved_outputs; /* and after; NULL: nothing depends on data */
	int64_t *resolved_shapes;      /* theirs */
	struct Forward *forwards;      /* of the nets that are run for their jobs */
	struct NetScores *measured;    /* measure.c: per net of the programs that measure */
	Task *key_tasks;               /* of all selects, one after the other */
	int64_t *key_task_first;       /* (select_count + 1) */
	Resolved *resolved;            /* per select */
	int64_t segment_count;
	bool has_nonfinite;          /* a weight is, and that is an error */
	bool *done;                  /* per segment */
	double (*segment_errors)[2]; /* per segment */
	double (*segment_notes)[CMPRT_NOTES];
	Destination destination;
	Journal *journal;
	Schedule schedule;
	char *arena;
	Progress progress;
	int64_t bytes_read, bytes_written; /* of tensor data, by this run */
	Transfers moved;                   /* of everything, as the system counted; -1: it does not */
	double seconds;
};

void run_tell_error(const Run *run, const CmprtError *error); /* on stderr, and as an event */

/* ---- errors.c: every failure of the run loop; all return false ---- */

#define ERROR(name, ...) bool error_##name(CmprtError *error, __VA_ARGS__);
ERROR(system, const char *doing, const char *path, int code)
ERROR(no_input_file, const char *path, const char *option)
ERROR(input_missing, const char *path, const CmprtInput *input, int64_t missing, int64_t count)
ERROR(input_differs, const char *path, const CmprtInput *input, const CkTensor *found, int64_t differing, int64_t count)
ERROR(input_changed, const char *path)
ERROR(input_unknown, const char *path, const char *name, int64_t unknown, int64_t count)
ERROR(no_such_input, const Run *run, const char *option)
ERROR(bad_table, const char *label, const char *what)
ERROR(source_format, const char *path, const char *is, const char *wanted)
ERROR(unknown_format, const char *format)
ERROR(output_suffix, const char *path, const Format *format)
ERROR(output_is_input, const char *path, const char *input)
ERROR(output_holds_input, const char *path, const char *input)
ERROR(output_in_input, const char *path, const char *folder)
ERROR(output_kind, const char *path, const char *is, const char *wanted)
ERROR(output_foreign, const char *path)
ERROR(output_not_own, const char *path)
ERROR(output_folder_foreign, const char *path, const char *entry)
ERROR(folder_missing, const char *folder, const char *path)
ERROR(folder_unwritable, const char *folder, const char *path, int code)
ERROR(disk_full, const char *folder, int64_t needed, int64_t available)
ERROR(busy, const char *path)
ERROR(memory_too_small, int64_t limit, int64_t smallest, int64_t held) /* held: before the work began */
ERROR(nonfinite, const char *tensor, int64_t element, const CkTensor *shape)
ERROR(requirement, const char *text, const char *metric, const char *unit, double value, double bound, bool is_upper)
ERROR(requirement_of_data, const char *text, const char *figure, const char *measured, double bound, bool is_upper)
ERROR(no_figures, const char *pipeline)
ERROR(no_result, const char *path)
ERROR(report_kind, const char *path)
ERROR(nonfinite_coded, const char *tensor, int64_t number)
ERROR(nonfinite_state, const char *part, const char *name, const char *met, int64_t sample, int64_t place,
	const char *largest, double most)
ERROR(data_kind, const char *path)
ERROR(data_file, const char *path, const char *what)
ERROR(data_picture, const char *path, const char *kind, const char *what)
ERROR(data_sizes, const char *path, int64_t width, int64_t height, const char *first, int64_t first_width,
	int64_t first_height)
ERROR(data_no_pictures, const char *path)
ERROR(data_labels, const char *path, int64_t labels, int64_t images)
ERROR(data_no_labels, const char *path)
ERROR(data_classes, const char *path, int64_t label, int64_t image, int64_t classes)
ERROR(data_images, const char *path, const int64_t *found, const int64_t *built)
ERROR(data_array, const char *path)
ERROR(data_short, const char *path, int64_t bytes)
ERROR(data_token, const char *path, int64_t token, int64_t place)
ERROR(data_empty, const char *path)
ERROR(data_no_lines, const char *path)
ERROR(data_tokenizer, const char *path, int64_t tokens, int64_t vocabulary)
ERROR(data_vocabulary, const char *path, int64_t token, int64_t place, int64_t vocabulary)
ERROR(data_changed, const char *path, int64_t tokens, int64_t built)
ERROR(data_long, const char *path, int64_t longest, int64_t built)
#undef ERROR
void format_bytes(char to[32], int64_t bytes); /* "1.50 GiB" */
bool error_out_of_memory(CmprtError *error);

#endif
