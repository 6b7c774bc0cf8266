/* ONNX Runtime through its C library. See onnxruntime_api.h for what is called, and for which version. */
#include "engine.h"
#include "onnxruntime_api.h"

#include <stdlib.h>
#include <string.h>

#define DECLARE(place, name, result, arguments) result(*name) arguments;
static struct {
    ORT_FUNCTIONS(DECLARE)
} ort;

static struct {
    handle env, session, allocator, memory;
    size_t input_count, output_count;
    char *input_names[MAX_TENSORS], *output_names[MAX_TENSORS];
    void *data[MAX_TENSORS]; /* of the inputs */
    handle inputs[MAX_TENSORS], outputs[MAX_TENSORS];
} opened;

/* Refuses if a call fails. */
#define MUST_OR(kind, name, ...) require_success(ort.name(__VA_ARGS__), kind, #name)
#define MUST(name, ...) MUST_OR("model_refused", name, __VA_ARGS__)

static void require_success(status failed, const char *kind, const char *function) {
    if (failed != NULL)
        refuse(kind, "%s: %s", function, ort.GetErrorMessage(failed));
}

static const char *load(const char *file) {
    setenv("ORT_DISABLE_TELEMETRY", "1", 0); /* it would report to Microsoft */
    void *library = load_library(onnxruntime_engine.name, file, onnxruntime_engine.package);
    const struct ort_api_base *(*get_base)(void) =
        (const struct ort_api_base *(*)(void))require_symbol(library, "OrtGetApiBase", ORT_WRITTEN_FOR);
    const char *version = get_base()->get_version();
    const void *const *table = get_base()->get_api(ORT_API_VERSION);
    if (table == NULL)
        refuse("engine_broken", "binary and library of different versions: this program was written for %s, and the "
               "library is %s", ORT_WRITTEN_FOR, version);
#define LOAD(place, name, result, arguments) ort.name = (result(*) arguments)table[place];
    ORT_FUNCTIONS(LOAD)
    /* Part of loading, as in Python, whose module makes it when it is imported. */
    MUST_OR("engine_broken", CreateEnv, ORT_LOG_ERROR, RUNNER_NAME, &opened.env);
    MUST_OR("engine_broken", DisableTelemetryEvents, opened.env);
    return version;
}

/* The attributes of Python's SessionOptions that this program sets, too; what they take is as there. */
static bool set_number(handle options, const char *key, const char *text) {
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < 0 || value > 1 << 20)
        return false;
    if (strcmp(key, "intra_op_num_threads") == 0)
        MUST_OR("option_refused", SetIntraOpNumThreads, options, (int)value);
    else if (strcmp(key, "inter_op_num_threads") == 0)
        MUST_OR("option_refused", SetInterOpNumThreads, options, (int)value);
    else if (strcmp(key, "log_severity_level") == 0)
        MUST_OR("option_refused", SetSessionLogSeverityLevel, options, (int)value);
    else if (strcmp(key, "log_verbosity_level") == 0)
        MUST_OR("option_refused", SetSessionLogVerbosityLevel, options, (int)value);
    else
        return false;
    return true;
}

static bool set_switch(handle options, const char *key, const char *text) {
    bool on = strcmp(text, "true") == 0;
    if (!on && strcmp(text, "false") != 0)
        return false;
    if (strcmp(key, "enable_mem_pattern") == 0)
        require_success((on ? ort.EnableMemPattern : ort.DisableMemPattern)(options), "option_refused", key);
    else if (strcmp(key, "enable_cpu_mem_arena") == 0)
        require_success((on ? ort.EnableCpuMemArena : ort.DisableCpuMemArena)(options), "option_refused", key);
    else
        return false;
    return true;
}

static bool set_choice(handle options, const char *key, const char *text) {
    static const struct {
        const char *key, *text;
        int value;
    } CHOICES[] = {
        {"execution_mode", "ORT_SEQUENTIAL", 0},           {"execution_mode", "ORT_PARALLEL", 1},
        {"graph_optimization_level", "ORT_DISABLE_ALL", 0}, {"graph_optimization_level", "ORT_ENABLE_BASIC", 1},
        {"graph_optimization_level", "ORT_ENABLE_EXTENDED", 2}, {"graph_optimization_level", "ORT_ENABLE_ALL", 99},
    };
    for (size_t index = 0; index < sizeof CHOICES / sizeof *CHOICES; index++) {
        if (strcmp(key, CHOICES[index].key) != 0 || strcmp(text, CHOICES[index].text) != 0)
            continue;
        status (*set)(handle, int) =
            key[0] == 'e' ? ort.SetSessionExecutionMode : ort.SetSessionGraphOptimizationLevel;
        require_success(set(options, CHOICES[index].value), "option_refused", key);
        return true;
    }
    return false;
}

static void set_option(handle options, const char *key, const char *text) {
    if (strchr(key, '.') != NULL)
        MUST_OR("option_refused", AddSessionConfigEntry, options, key, text);
    else if (!set_choice(options, key, text) && !set_switch(options, key, text) && !set_number(options, key, text))
        refuse("option_refused", "this program takes no session option %s=%s", key, text);
}

static void require_threads(const struct model_setup *setup) {
    const char *asked = find_pair(setup->session_options, "intra_op_num_threads");
    if (asked != NULL && strtol(asked, NULL, 10) != setup->threads)
        refuse("option_refused", "--session-option intra_op_num_threads says otherwise than --threads");
}

static bool is_ort_format(const char *path) {
    char start[8] = {0};
    FILE *file = fopen(path, "rb");
    size_t count = file == NULL ? 0 : fread(start, 1, sizeof start, file);
    if (file != NULL)
        fclose(file);
    return count == sizeof start && memcmp(start + 4, "ORTM", 4) == 0;
}

static handle session_options(const struct model_setup *setup) {
    handle options;
    MUST(CreateSessionOptions, &options);
    MUST(SetSessionLogSeverityLevel, options, ORT_LOG_ERROR);
    if (!setup->optimizer)
        set_option(options, "graph_optimization_level", "ORT_DISABLE_ALL");
    MUST(SetIntraOpNumThreads, options, setup->threads);
    for (size_t index = 0; index < setup->session_options->count; index++)
        set_option(options, setup->session_options->items[index].key, setup->session_options->items[index].value);
    if (is_ort_format(setup->path))
        MUST(AddSessionConfigEntry, options, "session.load_model_format", "ORT");
    return options;
}

static enum element element_of(int element) {
    switch (element) {
    case ONNX_FLOAT16: return FLOAT16;
    case ONNX_FLOAT32: return FLOAT32;
    case ONNX_FLOAT64: return FLOAT64;
    case ONNX_INT8: return INT8;
    case ONNX_INT16: return INT16;
    case ONNX_INT32: return INT32;
    case ONNX_INT64: return INT64;
    case ONNX_UINT8: return UINT8;
    case ONNX_UINT16: return UINT16;
    case ONNX_UINT32: return UINT32;
    case ONNX_UINT64: return UINT64;
    default: return OTHER_ELEMENT;
    }
}

static struct tensor describe(handle tensor_info, size_t index, int *stored) {
    struct tensor tensor = {.element = OTHER_ELEMENT};
    if (tensor_info == NULL)
        refuse("model_refused", "input %zu is no tensor", index);
    MUST(GetTensorElementType, tensor_info, stored);
    MUST(GetDimensionsCount, tensor_info, &tensor.rank);
    if (tensor.rank > MAX_RANK)
        refuse("model_refused", "tensor %zu has %zu dimensions; %d are allowed", index, tensor.rank, MAX_RANK);
    MUST(GetDimensions, tensor_info, tensor.sizes, tensor.rank);
    tensor.element = element_of(*stored);
    require_known_sizes(&tensor, index);
    return tensor;
}

static struct tensor stored_input(size_t index, int *stored) {
    handle type_info, tensor_info;
    MUST(SessionGetInputTypeInfo, opened.session, index, &type_info);
    MUST(CastTypeInfoToTensorInfo, type_info, &tensor_info);
    return describe(tensor_info, index, stored);
}

static struct tensor input(size_t index) {
    int stored;
    return stored_input(index, &stored);
}

/* Inputs stay in our memory, where the engine reads them in place. */
static void make_input(size_t index) {
    int stored;
    struct tensor tensor = stored_input(index, &stored);
    size_t size_bytes = size_of(&tensor);
    opened.data[index] = allocate(size_bytes);
    MUST(SessionGetInputName, opened.session, index, opened.allocator, &opened.input_names[index]);
    MUST(CreateTensorWithDataAsOrtValue, opened.memory, opened.data[index], size_bytes, tensor.sizes, tensor.rank,
         stored, &opened.inputs[index]);
}

static void open_model(const struct model_setup *setup) {
    if (!setup->delegate)
        refuse("option_refused", "onnxruntime has no delegate to leave out; its CPU provider computes");
    require_threads(setup);
    MUST(CreateSession, opened.env, setup->path, session_options(setup), &opened.session);
    MUST(GetAllocatorWithDefaultOptions, &opened.allocator);
    MUST(CreateCpuMemoryInfo, ORT_ARENA_ALLOCATOR, ORT_MEMORY_DEFAULT, &opened.memory);
    MUST(SessionGetInputCount, opened.session, &opened.input_count);
    MUST(SessionGetOutputCount, opened.session, &opened.output_count);
    if (opened.input_count > MAX_TENSORS || opened.output_count > MAX_TENSORS || opened.output_count == 0)
        refuse("model_refused", "expected 1 to %d inputs and outputs", MAX_TENSORS);
    for (size_t index = 0; index < opened.input_count; index++)
        make_input(index);
    for (size_t index = 0; index < opened.output_count; index++)
        MUST(SessionGetOutputName, opened.session, index, opened.allocator, &opened.output_names[index]);
}

static size_t input_count(void) { return opened.input_count; }

static void write_input(size_t index, const void *values, size_t size_bytes) {
    memcpy(opened.data[index], values, size_bytes);
}

/* As in Python, where the answer of a call is forgotten with it. The last answer is kept for `infer`. */
static const char *invoke(void) {
    for (size_t index = 0; index < opened.output_count; index++) {
        if (opened.outputs[index] != NULL)
            ort.ReleaseValue(opened.outputs[index]);
        opened.outputs[index] = NULL; /* the engine makes a new one */
    }
    status failed = ort.Run(opened.session, NULL, (const char *const *)opened.input_names, opened.inputs,
                            opened.input_count, (const char *const *)opened.output_names, opened.output_count,
                            opened.outputs);
    return failed == NULL ? NULL : ort.GetErrorMessage(failed);
}

static struct tensor output(void) {
    int stored;
    handle tensor_info;
    MUST(GetTensorTypeAndShape, opened.outputs[0], &tensor_info);
    struct tensor tensor = describe(tensor_info, 0, &stored);
    ort.ReleaseTensorTypeAndShapeInfo(tensor_info);
    return tensor;
}

static void read_output(void *values, size_t size_bytes) {
    void *data;
    MUST(GetTensorMutableData, opened.outputs[0], &data);
    memcpy(values, data, size_bytes);
}

static struct proof prove(void) {
    return (struct proof){.delegate = "cpu", .nodes = -1, .delegated_nodes = -1,
                          .evidence = "no other execution provider was added to the session"};
}

const struct engine onnxruntime_engine = {
    .name = "onnxruntime",
    .package = "onnxruntime",
    .soname = "libonnxruntime.so.1",
    .load = load,
    .open = open_model,
    .input_count = input_count,
    .input = input,
    .write_input = write_input,
    .invoke = invoke,
    .output = output,
    .read_output = read_output,
    .prove = prove,
};
