/* The command line: the agent's, with two options of this program's own before the command. */
#include "engine.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char USAGE[] =
    "usage: " RUNNER_NAME " [--library ENGINE=FILE] [--library-version ENGINE=VERSION] time|infer|layers\n"
    "       --model FILE --nonce TEXT [--engine litert|onnxruntime] [options as of agent.py]\n"
    "\n"
    "Runs a model with a C library: LiteRT's (libLiteRt.so of ai-edge-litert 2.3) or ONNX Runtime's.\n"
    "--library names its file; otherwise the loader looks for it. --library-version says which version that is, where\n"
    "the library itself does not (LiteRT's).\n";

static _Noreturn void wrong(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs(RUNNER_NAME ": ", stderr);
    vfprintf(stderr, format, values);
    va_end(values);
    fputs(" (see --help)\n", stderr);
    exit(EXIT_USAGE);
}

enum kind { TEXT, COUNT, SECONDS, PAIR, FLAG_OFF, DELEGATE, ENGINE };
enum { TIME = 1, INFER = 2, LAYERS = 4, ALL = TIME | INFER | LAYERS, TIMED = TIME | LAYERS };

struct known {
    const char *name;
    enum kind kind;
    int commands;
    void *target;
};

static void add_pair(struct pairs *pairs, const char *name, const char *text) {
    const char *equals = strchr(text, '=');
    size_t length = equals == NULL ? 0 : (size_t)(equals - text);
    if (length == 0 || length >= sizeof pairs->items->key)
        wrong("%s takes KEY=VALUE. Received: %s", name, text);
    if (pairs->count == MAX_REPEATED)
        wrong("%s is given too often", name);
    memcpy(pairs->items[pairs->count].key, text, length);
    pairs->items[pairs->count].key[length] = '\0';
    pairs->items[pairs->count++].value = equals + 1;
}

static void set(const struct known *known, const char *text) {
    char *end = NULL;
    double number = known->kind == COUNT || known->kind == SECONDS ? strtod(text, &end) : 0;
    bool is_number = end != NULL && end != text && *end == '\0' && isfinite(number);
    switch (known->kind) {
    case COUNT:
        if (!is_number || number < 1 || number > 1e8 || number != floor(number))
            wrong("%s takes a number from 1. Received: %s", known->name, text);
        *(long *)known->target = (long)number;
        break;
    case SECONDS:
        if (!is_number || number < 0 || number > 1e8)
            wrong("%s takes seconds. Received: %s", known->name, text);
        *(double *)known->target = number;
        break;
    case PAIR: add_pair(known->target, known->name, text); break;
    case FLAG_OFF: *(bool *)known->target = false; break;
    case DELEGATE:
        if (strcmp(text, "default") != 0 && strcmp(text, "none") != 0)
            wrong("%s takes default or none. Received: %s", known->name, text);
        *(bool *)known->target = text[0] == 'd';
        break;
    case ENGINE:
        if (strcmp(text, "litert") != 0 && strcmp(text, "onnxruntime") != 0 && strcmp(text, "tflite-runtime") != 0)
            wrong("%s takes litert or onnxruntime. Received: %s", known->name, text);
        *(const char **)known->target = text;
        break;
    case TEXT: *(const char **)known->target = text; break;
    }
}

/* Takes the options from `arguments` on that are allowed now; returns where it stopped. */
static int take(int at, int count, char **arguments, const struct known *known, int command) {
    for (; at < count && arguments[at][0] == '-'; at++) {
        const struct known *found = known;
        size_t length = strcspn(arguments[at], "="); /* --name=value is as good as --name value */
        while (found->name != NULL &&
               (strncmp(found->name, arguments[at], length) != 0 || found->name[length] != '\0' ||
                (found->commands & command) != command))
            found++;
        if (found->name == NULL)
            wrong("there is no option %s here", arguments[at]);
        if (arguments[at][length] == '=')
            set(found, arguments[at] + length + 1);
        else if (found->kind == FLAG_OFF)
            set(found, "");
        else if (at + 1 < count)
            set(found, arguments[++at]);
        else
            wrong("%s takes a value", found->name);
    }
    return at;
}

static int command_of(const char *name) {
    if (strcmp(name, "time") == 0)
        return TIME;
    if (strcmp(name, "infer") == 0)
        return INFER;
    return strcmp(name, "layers") == 0 ? LAYERS : 0;
}

struct options parse_options(int count, char **arguments) {
    struct options o = {.pid_file = "", .affinity = "", .threads = 1, .delegate = true, .optimizer = true,
                        .deadline_s = -1, .warmup_count = 10, .warmup_s = 0.5, .block_s = 2, .min_count = 10,
                        .max_count = 100000};
    long runs = 50; /* of layers, which refuses anyway */
    const struct known first[] = {{"--library", PAIR, 0, &o.libraries}, {"--library-version", PAIR, 0, &o.versions},
                                  {0}};
    const struct known later[] = {
        {"--model", TEXT, ALL, &o.model},
        {"--nonce", TEXT, ALL, &o.nonce},
        {"--engine", ENGINE, ALL, &o.engine},
        {"--threads", COUNT, ALL, &o.threads},
        {"--pid-file", TEXT, ALL, &o.pid_file},
        {"--deadline-s", SECONDS, ALL, &o.deadline_s},
        {"--inputs", TEXT, INFER, &o.inputs},
        {"--outputs", TEXT, INFER, &o.outputs},
        {"--tensors", TEXT, INFER, &o.tensors},
        {"--tensors-out", TEXT, INFER, &o.tensors_out},
        {"--no-xnnpack", FLAG_OFF, INFER, &o.delegate},
        {"--no-optimizer", FLAG_OFF, INFER, &o.optimizer},
        {"--delegate", DELEGATE, TIMED, &o.delegate},
        {"--affinity", TEXT, TIMED, (void *)&o.affinity},
        {"--session-option", PAIR, TIMED, &o.session_options},
        {"--warmup-count", COUNT, TIMED, &o.warmup_count},
        {"--warmup-s", SECONDS, TIME, &o.warmup_s},
        {"--block-s", SECONDS, TIME, &o.block_s},
        {"--min-count", COUNT, TIME, &o.min_count},
        {"--max-count", COUNT, TIME, &o.max_count},
        {"--runs", COUNT, LAYERS, &runs},
        {0},
    };
    if (count > 1 && (strcmp(arguments[1], "--help") == 0 || strcmp(arguments[1], "-h") == 0)) {
        fputs(USAGE, stdout);
        exit(0);
    }
    int at = take(1, count, arguments, first, 0), command = at < count ? command_of(arguments[at]) : 0;
    if (command == 0)
        wrong("expected time, infer or layers. Received: %s", at < count ? arguments[at] : "nothing");
    o.command = arguments[at];
    at = take(at + 1, count, arguments, later, command);
    if (at < count)
        wrong("one argument too many: %s", arguments[at]);
    if (o.model == NULL || o.nonce == NULL)
        wrong("--model and --nonce are needed");
    if (command == INFER && (o.inputs == NULL || o.outputs == NULL))
        wrong("infer needs --inputs and --outputs");
    if (o.deadline_s < 0)
        o.deadline_s = command == INFER ? 0 : 60;
    return o;
}

const char *find_pair(const struct pairs *pairs, const char *key) {
    for (size_t index = pairs->count; index-- > 0;)
        if (strcmp(pairs->items[index].key, key) == 0)
            return pairs->items[index].value;
    return NULL;
}
