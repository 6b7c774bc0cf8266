/* What the system says about this process. */
#define _GNU_SOURCE /* CPU_SET */
#include "runner.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

/* Keeps this process, with the threads that engines will start, on some CPUs, given as `0,2`. */
void set_affinity(const char *list) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    if (*list == '\0')
        return;
    for (const char *at = list;;) {
        char *end;
        long number = strtol(at, &end, 10);
        if (end == at || (*end != '\0' && *end != ',') || number < 0 || number >= CPU_SETSIZE)
            refuse("affinity_refused", "expected CPUs as in 0,2. Received: %s", list);
        CPU_SET((size_t)number, &cpus);
        if (*end == '\0')
            break;
        at = end + 1;
    }
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0)
        refuse("affinity_refused", "no CPUs %s for this process (%s); see `nproc`", list, strerror(errno));
}

void report_affinity(FILE *line) {
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) {
        report_text(line, "affinity", NULL);
        return;
    }
    const char *separator = "";
    fputs(", \"affinity\": [", line);
    for (size_t number = 0; number < CPU_SETSIZE; number++) {
        if (!CPU_ISSET(number, &cpus))
            continue;
        fprintf(line, "%s%zu", separator, number);
        separator = ", ";
    }
    fputc(']', line);
}

/* The instruction set of this program: a kernel of 64 bits runs programs of 32, and names its own. */
const char *machine_name(void) {
    static struct utsname system;
    if (uname(&system) != 0)
        return NULL;
    if (sizeof(void *) == 8)
        return system.machine;
    if (strcmp(system.machine, "aarch64") == 0 || strcmp(system.machine, "armv8l") == 0)
        return "armv7l";
    return strcmp(system.machine, "x86_64") == 0 ? "i686" : system.machine;
}

int64_t peak_rss_bytes(void) {
    char text[256];
    long peak_kb = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(text, sizeof text, file) != NULL)
        if (sscanf(text, "VmHWM: %ld", &peak_kb) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return peak_kb < 0 ? -1 : (int64_t)peak_kb * 1024;
}
