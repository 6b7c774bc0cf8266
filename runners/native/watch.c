/* Ends this process when nobody wants it any more. */
#include "runner.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *pid_file = "";
static double deadline_s;

void forget_pid(void) {
    if (*pid_file != '\0')
        unlink(pid_file);
}

static void leave(int exit_status) {
    forget_pid();
    _exit(exit_status);
}

/* Sleeps until standard input has something, or has ended, or the time is over. */
static void *wait_for_end(void *nothing) {
    const int64_t end_ns = now_ns() + (int64_t)(deadline_s * 1e9);
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char ignored[4096];
    for (;;) {
        int64_t left_ms = (end_ns - now_ns()) / 1000000 + 1;
        if (left_ms <= 1)
            leave(EXIT_DEADLINE);
        int ready = poll(&input, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX);
        if (ready == 0 || (ready < 0 && errno == EINTR))
            continue;
        if (ready < 0 || read(STDIN_FILENO, ignored, sizeof ignored) <= 0)
            leave(EXIT_STDIN_ENDED); /* also if it was never open */
    }
    return nothing;
}

static void write_pid(void) {
    FILE *file = fopen(pid_file, "w");
    if (file == NULL)
        refuse("failed", "%s: %s", pid_file, strerror(errno));
    fprintf(file, "%ld\n", (long)getpid());
    fclose(file);
    /* What engines leave in their temporary folder goes when the folder of whoever started this goes. */
    char folder[PATH_MAX];
    if (realpath(pid_file, folder) == NULL)
        return;
    char *slash = strrchr(folder, '/');
    slash[slash == folder ? 1 : 0] = '\0';
    setenv("TMPDIR", folder, 1);
}

void watch(const struct options *options) {
    signal(SIGTERM, SIG_DFL); /* whoever started this may have ignored it */
    pid_file = options->pid_file;
    if (*pid_file != '\0')
        write_pid();
    deadline_s = options->deadline_s;
    if (deadline_s <= 0)
        return;
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_end, NULL) != 0)
        refuse("failed", "no thread for the watchdog: %s", strerror(errno));
    pthread_detach(thread);
}
