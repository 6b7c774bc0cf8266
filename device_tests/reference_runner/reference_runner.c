/* Prints what TensorFlow Lite's benchmark_model prints, from latencies that LiteRT really has here.
 *
 * It stands in for the tool in tests: its first line says so. It has the tool's grammar, its warning about flags that
 * it does not know, its files of inputs and outputs and its result file (tensorflow/lite/tools/benchmark:
 * benchmark_model.cc, benchmark_tflite_model.cc), but no profile of ops, and no delegate other than XNNPACK.
 */
#include "engine.h"
#include "latencies.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define NAME "mnet-deploy reference runner 1, LiteRT " LIBRARY_VERSION

/* Bound by the loader already, as the tool's own functions of the library are: one of another version stops it. */
extern int LiteRtCreateModelFromFd(void);
static int (*volatile bound_by_the_loader)(void) = LiteRtCreateModelFromFd;

static const char *graph = "", *result_file_path = "", *output_filepath = "";
static const char *input_layer = "", *input_layer_shape = "", *input_layer_value_files = "";
static long num_runs = 50, warmup_runs = 1, num_threads = -1;
static double min_secs = 1.0, max_secs = 150.0, warmup_min_secs = 0.5;
static bool use_xnnpack = true, asked_for_xnnpack, report_peak_memory;

void refuse(const char *kind, const char *format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "ERROR: %s: ", kind);
    vfprintf(stderr, format, values);
    fputs("\nERROR: Benchmarking failed.\n", stderr);
    va_end(values);
    fflush(NULL);
    _Exit(1);
}

void *allocate(size_t size_bytes) {
    void *memory = calloc(1, size_bytes > 0 ? size_bytes : 1);
    if (memory == NULL)
        refuse("failed", "no memory for %zu bytes", size_bytes);
    return memory;
}

static bool set_seconds(const char *text, void *seconds) {
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(number) || number < 0)
        return false;
    *(double *)seconds = number;
    return true;
}

static bool set_count(const char *text, void *count) {
    double number;
    if (!set_seconds(text, &number) || number < 1 || number > MOST_RUNS || number != floor(number))
        return false;
    *(long *)count = (long)number;
    return true;
}

static bool set_truth(const char *text, void *truth) {
    bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
        return false;
    *(bool *)truth = yes;
    return true;
}

static bool set_text(const char *text, void *target) {
    *(const char **)target = text;
    return true;
}

static const struct {
    const char *name;
    bool (*set)(const char *text, void *target);
    void *target;
} FLAGS[] = {
    {"graph", set_text, &graph},
    {"result_file_path", set_text, &result_file_path},
    {"output_filepath", set_text, &output_filepath},
    {"input_layer", set_text, &input_layer},
    {"input_layer_shape", set_text, &input_layer_shape},
    {"input_layer_value_files", set_text, &input_layer_value_files},
    {"num_runs", set_count, &num_runs},
    {"warmup_runs", set_count, &warmup_runs},
    {"num_threads", set_count, &num_threads},
    {"min_secs", set_seconds, &min_secs},
    {"max_secs", set_seconds, &max_secs},
    {"warmup_min_secs", set_seconds, &warmup_min_secs},
    {"use_xnnpack", set_truth, &use_xnnpack},
    {"report_peak_memory_footprint", set_truth, &report_peak_memory},
};

/* Returns whether the flag is known and its value is of its kind; anything else is left over, as in the tool. */
static bool take(const char *argument) {
    const char *value = strchr(argument, '=');
    if (strncmp(argument, "--", 2) != 0 || value == NULL)
        return false;
    const char *name = argument + 2;
    size_t length = (size_t)(value - name);
    for (size_t index = 0; index < sizeof FLAGS / sizeof *FLAGS; index++)
        if (strlen(FLAGS[index].name) == length && strncmp(FLAGS[index].name, name, length) == 0) {
            asked_for_xnnpack |= FLAGS[index].target == &use_xnnpack;
            return FLAGS[index].set(value + 1, FLAGS[index].target);
        }
    return false;
}

static void take_flags(int count, char **arguments) {
    bool all_known = true;
    for (int index = 1; index < count; index++)
        if (!take(arguments[index])) {
            printf("%s %s", all_known ? "WARN: Unconsumed cmdline flags:" : "", arguments[index]);
            all_known = false;
        }
    if (!all_known)
        putchar('\n');
    if (graph[0] == '\0')
        refuse("wrong", "Please specify the name of your TF Lite input file with --graph (flags are those of "
               "TensorFlow Lite's tool, but for enable_op_profiling and delegates other than use_xnnpack)");
}

static void open_model(void) {
    static const struct pairs none;
    struct model_setup setup = {.path = graph, .threads = num_threads < 1 ? 1 : (int)num_threads,
                                .delegate = use_xnnpack, .optimizer = true, .session_options = &none};
    litert_engine.open(&setup);
}

static void require_shape(const struct tensor *tensor) {
    char shape[256] = "";
    for (size_t place = 0, length = 0; place < tensor->rank && length < sizeof shape; place++)
        length += (size_t)snprintf(shape + length, sizeof shape - length, "%s%lld", place > 0 ? "," : "",
                                   (long long)tensor->sizes[place]);
    if (strcmp(shape, input_layer_shape) != 0)
        refuse("wrong", "this program does not change the shape of an input: expected --input_layer_shape=%s", shape);
}

/* The bytes of a tensor, as they are. The name is that of --input_layer, whatever the model calls it. */
static void read_values(const struct tensor *tensor, void *values) {
    const size_t length = strlen(input_layer), size_bytes = size_of(tensor);
    if (litert_engine.input_count() != 1 || length == 0 || strncmp(input_layer_value_files, input_layer, length) != 0 ||
        input_layer_value_files[length] != ':')
        refuse("wrong", "expected one input, and its name in --input_layer and --input_layer_value_files");
    require_shape(tensor);
    FILE *file = fopen(input_layer_value_files + length + 1, "rb");
    if (file == NULL)
        refuse("wrong", "Failed to read the input_layer_value_file:%s", input_layer_value_files + length + 1);
    if (fread(values, 1, size_bytes, file) != size_bytes || fgetc(file) != EOF)
        refuse("wrong", "the size of the input_layer_value_file should be %zu bytes", size_bytes);
    fclose(file);
}

static void fill_inputs(void) {
    for (size_t index = 0; index < litert_engine.input_count(); index++) {
        struct tensor tensor = litert_engine.input(index);
        void *values = allocate(size_of(&tensor));
        if (input_layer_value_files[0] != '\0')
            read_values(&tensor, values);
        else
            fill_with_random(&tensor, values);
        litert_engine.write_input(index, values, size_of(&tensor));
        free(values);
    }
}

static void write_output(void) {
    const struct tensor tensor = litert_engine.output();
    const size_t size_bytes = size_of(&tensor);
    void *values = allocate(size_bytes);
    litert_engine.read_output(values, size_bytes);
    FILE *file = fopen(output_filepath, "wb");
    if (file == NULL || fwrite(values, 1, size_bytes, file) != size_bytes || fclose(file) != 0)
        refuse("failed", "cannot write %s", output_filepath);
    free(values);
}

/* The tool and the runtime say this before the first inference; the proof is had after the last one. */
static void say_what_computed(void) {
    const struct proof proof = litert_engine.prove();
    if (proof.delegate == NULL)
        return;
    const bool asked = asked_for_xnnpack && use_xnnpack;
    const bool any = proof.delegated_nodes > 0, all = any && proof.delegated_nodes == proof.nodes;
    if (all) /* and so it is one piece */
        fprintf(stderr, "VERBOSE: Replacing %ld out of %ld node(s) with delegate (TfLiteXNNPackDelegate) node, "
                "yielding 1 partitions for subgraph 0.\n", proof.nodes, proof.nodes);
    if (asked && any)
        printf("INFO: Explicitly applied XNNPACK delegate, and the model graph will be %s executed by the delegate.\n",
               all ? "completely" : "partially");
    else if (asked)
        puts("INFO: Though XNNPACK delegate is explicitly applied, the model graph will not be executed by the "
             "delegate.");
}

static double peak_mb(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

int main(int count, char **arguments) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    (void)bound_by_the_loader;
    puts("INFO: runner: " NAME);
    puts("INFO: STARTING!");
    take_flags(count, arguments);
    const double start_mb = peak_mb();
    printf("INFO: Graph: [%s]\n", graph);
    litert_engine.load("libLiteRt.so");
    const int64_t begin_ns = now_ns();
    open_model();
    const double init_us = (double)(now_ns() - begin_ns) / 1e3, init_mb = peak_mb() - start_mb;
    struct stat file;
    printf("INFO: Loaded model %s\n", graph);
    if (stat(graph, &file) == 0)
        printf("INFO: The input model file size (MB): %g\n", (double)file.st_size / 1e6);
    printf("INFO: Initialized session in %gms.\n", round(init_us) / 1e3);
    fill_inputs();
    const struct latencies warmup = measure(warmup_runs, warmup_min_secs, max_secs);
    const struct latencies found = measure(num_runs, min_secs, max_secs);
    printf("INFO: Inference timings in us: Init: %.0f, First inference: %lld, Warmup (avg): %g, Inference (avg): %g\n",
           init_us, (long long)warmup.first_us, warmup.mean_us, found.mean_us);
    printf("INFO: Memory footprint delta from the start of the tool (MB): init=%g overall=%g\n", init_mb,
           peak_mb() - start_mb);
    if (report_peak_memory)
        printf("INFO: Overall peak memory footprint (MB) via periodic monitoring: %g\n", peak_mb());
    if (result_file_path[0] != '\0')
        write_result(result_file_path, &warmup, &found, init_us);
    if (output_filepath[0] != '\0')
        write_output();
    say_what_computed();
    return 0;
}
