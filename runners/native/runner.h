/* What the files of mnet-runner share.
 *
 * mnet-runner runs a model on a device that has no Python. It says the same things on the same command line as
 * runners/on_device/agent.py, whose documentation is the protocol; engine.h is what the two engines have in common.
 */
#ifndef MNET_RUNNER_H
#define MNET_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define RUNNER_NAME "mnet-runner"
#define RUNNER_VERSION "1"

/* The exit statuses that whoever started the program tells apart. */
enum { EXIT_ERROR = 1, EXIT_USAGE = 2, EXIT_STDIN_ENDED = 4, EXIT_DEADLINE = 5 };

enum { LONGEST_MESSAGE = 500, MAX_REPEATED = 32 };

/* An option that may be given several times, as KEY=VALUE. */
struct pairs {
    size_t count;
    struct {
        char key[64];
        const char *value;
    } items[MAX_REPEATED];
};

/* The command line, parsed. Texts that were not given are empty or NULL, as their comments say. */
struct options {
    const char *command; /* time, infer or layers */
    struct pairs libraries; /* --library ENGINE=FILE */
    struct pairs versions; /* --library-version ENGINE=VERSION */
    const char *model, *nonce;
    const char *engine; /* NULL: by the file */
    const char *pid_file; /* empty: none */
    long threads;
    double deadline_s; /* 0: none */
    bool delegate; /* false: --delegate none, or --no-xnnpack */
    bool optimizer; /* false: --no-optimizer */
    const char *affinity; /* empty: as it is */
    struct pairs session_options;
    long warmup_count, min_count, max_count;
    double warmup_s, block_s;
    const char *inputs, *outputs, *tensors, *tensors_out;
};

/* options.c: ends the program with EXIT_USAGE and a line on standard error if something is wrong. */
struct options parse_options(int count, char **arguments);
const char *find_pair(const struct pairs *pairs, const char *key); /* the last one; NULL: not given */

/* report.c: the lines on standard output. What engines print there goes to standard error. */
void open_report(void);
FILE *report_line(const char *event); /* {"event": "...", ready for more fields */
void report_text(FILE *line, const char *name, const char *text); /* NULL: null */
void report_integer(FILE *line, const char *name, int64_t value);
void report_count(FILE *line, const char *name, int64_t value); /* negative: null, as unknown */
void report_seconds(FILE *line, const char *name, int64_t duration_ns);
void report_durations(FILE *line, const char *name, const int64_t *durations_ns, size_t count);
void end_line(FILE *line);

/* refuse.c: says the event `error` and ends the program with EXIT_ERROR. The kinds are the agent's. */
_Noreturn void refuse(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));
void note_asked_engine(const char *engine); /* NULL: none was asked for; errors repeat it */
void *allocate(size_t size_bytes); /* zeroed; refuses where there is no memory */

/* watch.c: the end of standard input, the deadline, SIGTERM, and the file with the process number. */
void watch(const struct options *options);
void forget_pid(void);

/* process.c: what the system says about this process. */
void set_affinity(const char *list);
void report_affinity(FILE *line);
const char *machine_name(void);
int64_t peak_rss_bytes(void); /* -1: unknown */

/* sha256.c */
void sha256_of_file(const char *path, char hex[65]); /* refuses (model_refused) a file that cannot be read */

int64_t now_ns(void); /* timing.c: of a clock that never goes back */

#endif
