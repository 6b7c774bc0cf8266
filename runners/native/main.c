/* mnet-runner: what runners/on_device/agent.py does, for devices without Python. See its documentation. */
#include "engine.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { SAMPLES_PER_LINE = 1000 };

/* Returns the engine that runs a file: its first bytes say, or its name. */
static const struct engine *engine_for(const char *path) {
    char mark[8] = {0};
    FILE *file = fopen(path, "rb");
    if (file == NULL || fread(mark, 1, sizeof mark, file) < sizeof mark)
        memset(mark, 0, sizeof mark);
    if (file != NULL)
        fclose(file);
    const char *dot = strrchr(path, '.');
    bool named_tflite = dot != NULL && strcasecmp(dot, ".tflite") == 0;
    if (memcmp(mark + 4, "TFL3", 4) == 0 || (memcmp(mark + 4, "ORTM", 4) != 0 && named_tflite))
        return &litert_engine;
    return &onnxruntime_engine;
}

static const struct engine *choose_engine(const struct options *options) {
    const struct engine *fitting = engine_for(options->model);
    const char *slash = strrchr(options->model, '/'), *name = slash == NULL ? options->model : slash + 1;
    if (options->engine == NULL || strcmp(options->engine, fitting->name) == 0)
        return fitting;
    if (fitting == &litert_engine && strcmp(options->engine, "tflite-runtime") == 0)
        refuse("engine_missing", "tflite-runtime has no C library; this program runs %s with litert", name);
    refuse("wrong_engine", "%s does not run %s; %s does", options->engine, name, fitting->package);
}

/* Loads the library; returns its version, NULL if unknown. */
static const char *load_engine(const struct engine *engine, const struct options *options) {
    const char *file = find_pair(&options->libraries, engine->name);
    const char *said = find_pair(&options->versions, engine->name);
    const char *only = engine->only_version;
    if (said != NULL && only != NULL && strncmp(said, only, strlen(only)) != 0)
        refuse("engine_broken", "binary and library of different versions: this program was written for %s %s*, and "
               "the library is of %s", engine->package, only, said);
    const char *own = engine->load(file != NULL ? file : engine->soname);
    if (own != NULL && said != NULL && strcmp(own, said) != 0)
        refuse("engine_broken", "expected version %s of %s. Received: %s", said, engine->package, own);
    return own != NULL ? own : said;
}

static void report_session_options(FILE *line, const struct engine *engine, const struct options *options) {
    fputs(", \"session_options\": {", line);
    if (engine == &onnxruntime_engine) {
        fprintf(line, "\"intra_op_num_threads\": \"%ld\"", options->threads);
        for (size_t index = 0; index < options->session_options.count; index++)
            if (strcmp(options->session_options.items[index].key, "intra_op_num_threads") != 0)
                report_text(line, options->session_options.items[index].key,
                            options->session_options.items[index].value);
    }
    fputc('}', line);
}

/* What there is to say once a model has run. */
struct opened {
    const struct engine *engine;
    const char *version;
    char digest[65];
    int64_t import_ns, init_ns;
};

/* Says `start` and `ready`: after the measuring, as only then it may be found out what computed. */
static void report_opened(const struct options *options, const struct opened *opened) {
    struct proof proof = opened->engine->prove();
    FILE *line = report_line("start");
    report_integer(line, "pid", getpid());
    report_text(line, "runner", RUNNER_NAME);
    report_text(line, "runner_version", RUNNER_VERSION);
    report_text(line, "engine", opened->engine->package);
    report_text(line, "engine_version", opened->version);
    report_text(line, "python", NULL);
    report_text(line, "numpy", NULL);
    report_text(line, "machine", machine_name());
    report_integer(line, "threads", options->threads);
    report_affinity(line);
    report_text(line, "delegate", proof.delegate);
    report_text(line, "delegate_evidence", proof.evidence[0] != '\0' ? proof.evidence : NULL);
    report_count(line, "delegated_nodes", proof.delegated_nodes);
    report_count(line, "nodes", proof.nodes);
    report_session_options(line, opened->engine, options);
    report_text(line, "model_sha256", opened->digest);
    end_line(line);
    line = report_line("ready");
    report_seconds(line, "import_s", opened->import_ns);
    report_seconds(line, "init_s", opened->init_ns);
    end_line(line);
}

static struct opened open_model(const struct options *options) {
    struct opened opened;
    set_affinity(options->affinity);
    sha256_of_file(options->model, opened.digest);
    opened.engine = choose_engine(options);
    int64_t before_ns = now_ns();
    opened.version = load_engine(opened.engine, options);
    int64_t loaded_ns = now_ns();
    opened.engine->open(&(struct model_setup){.path = options->model, .threads = (int)options->threads,
                                              .delegate = options->delegate, .optimizer = options->optimizer,
                                              .session_options = &options->session_options});
    opened.import_ns = loaded_ns - before_ns;
    opened.init_ns = now_ns() - loaded_ns;
    return opened;
}

static void end_with(const struct options *options, size_t count) {
    FILE *line = report_line("end");
    report_text(line, "nonce", options->nonce);
    report_integer(line, "count", (int64_t)count);
    end_line(line);
}

static void measure(const struct options *options) {
    struct opened opened = open_model(options);
    const struct engine *engine = opened.engine;
    for (size_t index = 0; index < engine->input_count(); index++) {
        struct tensor tensor = engine->input(index);
        void *values = allocate(size_of(&tensor));
        fill_with_random(&tensor, values);
        engine->write_input(index, values, size_of(&tensor));
    }
    struct block warmup = new_block(options->max_count), timed = new_block(options->max_count);
    run_block(engine, &warmup, options->warmup_s, options->warmup_count, options->max_count);
    run_block(engine, &timed, options->block_s, options->min_count, options->max_count);
    int64_t peak = peak_rss_bytes(); /* before the lines are made */
    report_opened(options, &opened);
    FILE *line = report_line("warmup");
    report_durations(line, "latency_s", warmup.durations_ns, warmup.count);
    end_line(line);
    for (size_t first = 0; first < timed.count; first += SAMPLES_PER_LINE) {
        size_t left = timed.count - first;
        line = report_line("samples");
        size_t count = left < SAMPLES_PER_LINE ? left : SAMPLES_PER_LINE;
        report_durations(line, "latency_s", timed.durations_ns + first, count);
        end_line(line);
    }
    line = report_line("usage");
    report_count(line, "peak_rss_bytes", peak);
    report_seconds(line, "wall_s", timed.wall_ns);
    report_seconds(line, "cpu_s", timed.cpu_ns);
    end_line(line);
    end_with(options, timed.count);
}

/* Refuses inputs that are not what the model takes, but for the number of entries. */
static void require_fitting(const struct npy *npy, const struct tensor *tensor) {
    bool fits = npy->element == tensor->element && npy->rank == tensor->rank && tensor->sizes[0] == 1;
    for (size_t place = 1; fits && place < tensor->rank; place++)
        fits = npy->sizes[place] == tensor->sizes[place];
    if (!fits)
        refuse("failed", "the inputs are not what the model takes: %s of another type or shape",
               kind_of(npy->element)->name);
}

/* Starts the file of the answers, which are joined along their first axis. */
static struct npy open_answers(const struct options *options, const struct tensor *answer, int64_t count) {
    if (answer->rank == 0)
        refuse("failed", "the model answers with a single number, not with an array");
    int64_t sizes[MAX_RANK];
    memcpy(sizes, answer->sizes, sizeof sizes);
    sizes[0] *= count;
    return create_npy(options->outputs, answer->element, answer->rank, sizes);
}

/* Refuses an answer that does not go into one array with the first one. */
static void require_alike(const struct tensor *answer, const struct tensor *first, int64_t index) {
    bool alike = answer->element == first->element && answer->rank == first->rank;
    for (size_t place = 0; alike && place < first->rank; place++)
        alike = answer->sizes[place] == first->sizes[place];
    if (!alike)
        refuse("failed", "input %lld: expected an answer of the first one's shape. Received: another; give the inputs "
               "one at a time", (long long)index);
}

static void infer(const struct options *options) {
    if (options->tensors != NULL || options->tensors_out != NULL)
        refuse("option_refused", "this program keeps no tensors inside a model; the agent, with Python, does");
    struct opened opened = open_model(options);
    const struct engine *engine = opened.engine;
    struct npy inputs = open_npy(options->inputs), answers = {0};
    if (engine->input_count() != 1)
        refuse("failed", "expected a model with one input. Received: %zu", engine->input_count());
    struct tensor given = engine->input(0), first = {0};
    require_fitting(&inputs, &given);
    size_t given_bytes = size_of(&given);
    void *values = allocate(given_bytes), *answered = NULL;
    for (int64_t index = 0; index < inputs.sizes[0]; index++) {
        read_entries(&inputs, values, given_bytes);
        engine->write_input(0, values, given_bytes);
        const char *failure = engine->invoke();
        if (failure != NULL)
            refuse("failed", "input %lld: %s", (long long)index, failure);
        struct tensor answer = engine->output();
        if (answered == NULL) {
            first = answer;
            answered = allocate(size_of(&first));
            answers = open_answers(options, &first, inputs.sizes[0]);
        }
        require_alike(&answer, &first, index);
        engine->read_output(answered, size_of(&answer));
        write_entries(&answers, answered, size_of(&answer));
    }
    close_npy(&answers);
    report_opened(options, &opened);
    end_with(options, (size_t)inputs.sizes[0]);
}

int main(int count, char **arguments) {
    struct options options = parse_options(count, arguments);
    open_report();
    note_asked_engine(options.engine);
    watch(&options);
    if (strcmp(options.command, "layers") == 0)
        refuse("layers_unavailable", "this program does not profile; the agent (Python) does, and on phones benchmark_model");
    if (strcmp(options.command, "time") == 0)
        measure(&options);
    else
        infer(&options);
    forget_pid();
    fflush(NULL);
    _exit(0); /* no destructors: the engines' may wait for threads, and nothing is left to save */
}
