/* Ends the program with an `error` line, as the agent does. */
#include "runner.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *asked_engine;

void note_asked_engine(const char *engine) { asked_engine = engine; }

/* One line: several blanks, newlines among them, become one. */
static void squeeze(char *text) {
    char *to = text;
    for (const char *from = text; *from != '\0'; from++)
        if (!isspace((unsigned char)*from))
            *to++ = *from;
        else if (to > text && to[-1] != ' ')
            *to++ = ' ';
    *to = '\0';
}

void refuse(const char *kind, const char *format, ...) {
    char message[LONGEST_MESSAGE + 1];
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    squeeze(message);
    fprintf(stderr, RUNNER_NAME ": %s: %s\n", kind, message);
    FILE *line = report_line("error");
    report_text(line, "kind", kind);
    report_text(line, "message", message);
    report_text(line, "engine", asked_engine);
    end_line(line);
    forget_pid();
    fflush(NULL);
    _Exit(EXIT_ERROR); /* no destructors: an engine's threads may be in the middle of something */
}

void *allocate(size_t size_bytes) {
    void *memory = calloc(1, size_bytes > 0 ? size_bytes : 1);
    if (memory == NULL)
        refuse("failed", "no memory for %zu bytes", size_bytes);
    return memory;
}
