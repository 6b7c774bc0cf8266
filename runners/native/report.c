/* JSON Lines on what was standard output when the program started. */
#include "runner.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static FILE *lines;

void open_report(void) {
    int kept = dup(STDOUT_FILENO);
    lines = kept < 0 ? NULL : fdopen(kept, "w");
    if (lines == NULL)
        _exit(EXIT_ERROR); /* nothing can be said */
    dup2(STDERR_FILENO, STDOUT_FILENO);
}

FILE *report_line(const char *event) {
    fprintf(lines, "{\"event\": \"%s\"", event);
    return lines;
}

/* How many bytes of UTF-8 the first character has; 0 if it is none. */
static size_t character_length(const unsigned char *text) {
    if (text[0] < 0x80)
        return 1;
    if (text[0] < 0xc2 || text[0] > 0xf4)
        return 0;
    size_t length = text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
    for (size_t place = 1; place < length; place++)
        if ((text[place] & 0xc0) != 0x80)
            return 0;
    return length;
}

static void write_string(FILE *line, const char *text) {
    fputc('"', line);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) {
        size_t length = character_length(at);
        if (length == 0)
            fputs("\\ufffd", line);
        else if (*at == '"' || *at == '\\')
            fprintf(line, "\\%c", *at);
        else if (*at < 0x20)
            fprintf(line, "\\u%04x", *at);
        else
            fwrite(at, 1, length, line);
        at += length == 0 ? 1 : length;
    }
    fputc('"', line);
}

void report_text(FILE *line, const char *name, const char *text) {
    fprintf(line, ", \"%s\": ", name);
    if (text == NULL)
        fputs("null", line);
    else
        write_string(line, text);
}

void report_integer(FILE *line, const char *name, int64_t value) {
    fprintf(line, ", \"%s\": %" PRId64, name, value);
}

void report_count(FILE *line, const char *name, int64_t value) {
    if (value < 0)
        report_text(line, name, NULL);
    else
        report_integer(line, name, value);
}

/* Whole nanoseconds as seconds, without going through a floating-point number. */
static void write_seconds(FILE *line, int64_t duration_ns) {
    fprintf(line, "%" PRId64 ".%09" PRId64, duration_ns / 1000000000, duration_ns % 1000000000);
}

void report_seconds(FILE *line, const char *name, int64_t duration_ns) {
    fprintf(line, ", \"%s\": ", name);
    write_seconds(line, duration_ns);
}

void report_durations(FILE *line, const char *name, const int64_t *durations_ns, size_t count) {
    fprintf(line, ", \"%s\": [", name);
    for (size_t index = 0; index < count; index++) {
        if (index > 0)
            fputs(", ", line);
        write_seconds(line, durations_ns[index]);
    }
    fputc(']', line);
}

void end_line(FILE *line) {
    fputs("}\n", line);
    fflush(line);
}
