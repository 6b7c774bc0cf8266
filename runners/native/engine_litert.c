/* LiteRT through its C library. See litert_api.h for what is called, and for which version. */
#include "engine.h"
#include "litert_api.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DECLARE(name, arguments) int (*name) arguments;
static struct {
    LITERT_FUNCTIONS(DECLARE)
} litert;

static struct {
    char cpu_options[80];
    handle environment, model, compiled, signature;
    size_t input_count, output_count;
    handle inputs[MAX_TENSORS], outputs[MAX_TENSORS];
} opened;

/* Refuses the model if a call fails; what the library logged about it is on standard error. */
#define MUST(name, ...) require_success(litert.name(__VA_ARGS__), "LiteRt" #name)

static const char *meaning_of(int status) {
    switch (status) {
    case LITERT_FAILED: return " (runtime failure)";
    case LITERT_UNSUPPORTED: return " (unsupported)";
    case LITERT_NO_FLATBUFFER: return " (no valid .tflite: is the file whole?)";
    case LITERT_NOT_COMPILED: return " (compilation failed)";
    default: return "";
    }
}

static void require_success(int status, const char *function) {
    if (status != 0)
        refuse("model_refused", "%s answered with status %d%s", function, status, meaning_of(status));
}

static const char *load(const char *file) {
    void *library = load_library(litert_engine.name, file, litert_engine.package);
    /* The library does not say its version. This function came when others got the environment as an argument: where
     * it is missing, those would be called wrongly. */
    require_symbol(library, "LiteRtCreateModelFromFd", LITERT_WRITTEN_FOR);
#define LOAD(name, arguments) \
    litert.name = (int(*) arguments)require_symbol(library, "LiteRt" #name, LITERT_WRITTEN_FOR);
    LITERT_FUNCTIONS(LOAD)
    return NULL;
}

static void keep(void *data) {
    (void)data; /* the options are static texts */
}

static void add_options(handle options, const char *name, char *text) {
    handle opaque;
    MUST(CreateOpaqueOptions, name, text, keep, &opaque);
    MUST(AddOpaqueOptions, options, opaque);
}

/* Options are TOML, under names that litert/c/options/litert_{cpu,runtime}_options.cc give them. */
static handle compile(bool profiled) {
    static char profiling[] = "enable_profiling = true\n";
    handle options, compiled;
    MUST(CreateOptions, &options);
    MUST(SetOptionsHardwareAccelerators, options, LITERT_CPU);
    add_options(options, "xnnpack", opened.cpu_options);
    if (profiled)
        add_options(options, "runtime_options_string", profiling);
    MUST(CreateCompiledModel, opened.environment, opened.model, options, &compiled);
    return compiled;
}

static enum element element_of(int32_t element) {
    switch (element) {
    case LITERT_FLOAT16: return FLOAT16;
    case LITERT_FLOAT32: return FLOAT32;
    case LITERT_FLOAT64: return FLOAT64;
    case LITERT_INT8: return INT8;
    case LITERT_INT16: return INT16;
    case LITERT_INT32: return INT32;
    case LITERT_INT64: return INT64;
    case LITERT_UINT8: return UINT8;
    case LITERT_UINT16: return UINT16;
    case LITERT_UINT32: return UINT32;
    case LITERT_UINT64: return UINT64;
    default: return OTHER_ELEMENT;
    }
}

static struct tensor describe(handle tensor, size_t index) {
    struct litert_tensor_type type = {0};
    MUST(GetRankedTensorType, tensor, &type);
    struct tensor described = {.element = element_of(type.element), .rank = type.layout.rank};
    if (described.rank > MAX_RANK)
        refuse("model_refused", "tensor %zu has %zu dimensions; %d are allowed", index, described.rank, MAX_RANK);
    for (size_t place = 0; place < described.rank; place++)
        described.sizes[place] = type.layout.sizes[place];
    require_known_sizes(&described, index);
    return described;
}

static struct tensor input(size_t index) {
    handle tensor;
    MUST(GetSignatureInputTensorByIndex, opened.signature, index, &tensor);
    return describe(tensor, index);
}

static struct tensor output_at(size_t index) {
    handle tensor;
    MUST(GetSignatureOutputTensorByIndex, opened.signature, index, &tensor);
    return describe(tensor, index);
}

static handle buffer_for(const struct tensor *tensor, handle needs, int32_t element) {
    struct litert_tensor_type type = {.element = element, .layout.rank = (uint32_t)tensor->rank & 0x7f};
    for (size_t place = 0; place < tensor->rank; place++)
        type.layout.sizes[place] = (int32_t)tensor->sizes[place];
    handle buffer;
    MUST(CreateManagedTensorBufferFromRequirements, opened.environment, &type, needs, &buffer);
    return buffer;
}

static int32_t stored_element(handle tensor) {
    struct litert_tensor_type type = {0};
    MUST(GetRankedTensorType, tensor, &type);
    return type.element;
}

/* The memory for inputs and outputs; the library computes right in it. */
static void make_buffers(void) {
    MUST(GetNumSignatureInputs, opened.signature, &opened.input_count);
    MUST(GetNumSignatureOutputs, opened.signature, &opened.output_count);
    if (opened.input_count > MAX_TENSORS || opened.output_count > MAX_TENSORS || opened.output_count == 0)
        refuse("model_refused", "expected 1 to %d inputs and outputs", MAX_TENSORS);
    for (size_t index = 0; index < opened.input_count; index++) {
        struct tensor tensor = input(index);
        handle stored, needs;
        MUST(GetSignatureInputTensorByIndex, opened.signature, index, &stored);
        MUST(GetCompiledModelInputBufferRequirements, opened.compiled, 0, index, &needs);
        opened.inputs[index] = buffer_for(&tensor, needs, stored_element(stored));
    }
    for (size_t index = 0; index < opened.output_count; index++) {
        struct tensor tensor = output_at(index);
        handle stored, needs;
        MUST(GetSignatureOutputTensorByIndex, opened.signature, index, &stored);
        MUST(GetCompiledModelOutputBufferRequirements, opened.compiled, 0, index, &needs);
        opened.outputs[index] = buffer_for(&tensor, needs, stored_element(stored));
    }
}

/* The library checks what is in memory, but not what it reads itself: a damaged file would crash it. */
static handle load_model(const char *path) {
    handle model;
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &about) != 0 || about.st_size == 0)
        refuse("model_refused", "%s is empty or cannot be read", path);
    void *content = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (content == MAP_FAILED)
        refuse("model_refused", "%s cannot be read: %s", path, strerror(errno));
    close(file);
    MUST(CreateModelFromBuffer, opened.environment, content, (size_t)about.st_size, &model);
    return model;
}

/* Sizes the tensors inside now; otherwise the first call would. */
static void prepare(void) {
    struct litert_layout layouts[MAX_TENSORS];
    MUST(GetCompiledModelOutputTensorLayouts, opened.compiled, 0, opened.output_count, layouts, true);
}

static void open_model(const struct model_setup *setup) {
    if (setup->session_options->count > 0)
        refuse("option_refused", "--session-option is for onnxruntime. Received: %s", litert_engine.package);
    snprintf(opened.cpu_options, sizeof opened.cpu_options, "kernel_mode = \"%s\"\nnum_threads = %d\n",
             setup->delegate ? "delegate" : "builtin", setup->threads);
    MUST(CreateEnvironment, 0, NULL, &opened.environment);
    opened.model = load_model(setup->path);
    opened.compiled = compile(false);
    MUST(GetModelSignature, opened.model, 0, &opened.signature);
    make_buffers();
    prepare();
}

static size_t input_count(void) { return opened.input_count; }

static void write_input(size_t index, const void *values, size_t size_bytes) {
    void *address;
    MUST(LockTensorBuffer, opened.inputs[index], &address, LITERT_LOCK_WRITE);
    memcpy(address, values, size_bytes);
    MUST(UnlockTensorBuffer, opened.inputs[index]);
}

static const char *invoke(void) {
    static char failure[100];
    int status = litert.RunCompiledModel(opened.compiled, 0, opened.input_count, opened.inputs, opened.output_count,
                                         opened.outputs);
    if (status == 0)
        return NULL;
    snprintf(failure, sizeof failure, "LiteRtRunCompiledModel answered with status %d%s", status, meaning_of(status));
    return failure;
}

static struct tensor output(void) { return output_at(0); }

static void read_output(void *values, size_t size_bytes) {
    void *address;
    MUST(LockTensorBuffer, opened.outputs[0], &address, LITERT_LOCK_READ);
    memcpy(values, address, size_bytes);
    MUST(UnlockTensorBuffer, opened.outputs[0]);
}

static long count_nodes(void) {
    size_t index, count;
    handle subgraph;
    MUST(GetMainModelSubgraphIndex, opened.model, &index);
    MUST(GetModelSubgraph, opened.model, index, &subgraph);
    MUST(GetNumSubgraphOps, subgraph, &count);
    return (long)count;
}

/* Counts the events of one call, with the profiler, of a second copy of the model: a profiler costs time. */
static bool count_events(long *of_nodes, long *of_delegates) {
    handle profiler = NULL, compiled = compile(true);
    int count = 0;
    MUST(CompiledModelGetProfiler, compiled, &profiler);
    if (profiler == NULL)
        return false; /* the library was built without */
    MUST(StartProfiler, profiler);
    MUST(RunCompiledModel, compiled, 0, opened.input_count, opened.inputs, opened.output_count, opened.outputs);
    MUST(StopProfiler, profiler);
    MUST(GetNumProfilerEvents, profiler, &count);
    struct litert_event *events = allocate((size_t)count * sizeof *events);
    MUST(GetProfilerEvents, profiler, count, events);
    *of_nodes = *of_delegates = 0;
    for (int index = 0; index < count; index++) {
        *of_nodes += events[index].type == LITERT_NODE_EVENT;
        *of_delegates += events[index].type == LITERT_DELEGATE_EVENT;
    }
    free(events);
    return true;
}

/* A node that no delegate took over has an event of its own; XNNPACK is the only delegate that the options allow. */
static struct proof prove(void) {
    struct proof proof = {.nodes = count_nodes(), .delegated_nodes = -1};
    long own, delegated;
    if (!count_events(&own, &delegated) || own > proof.nodes || (delegated > 0) != (own < proof.nodes))
        return proof;
    proof.delegate = delegated > 0 ? "xnnpack" : "none";
    proof.delegated_nodes = proof.nodes - own;
    snprintf(proof.evidence, sizeof proof.evidence,
             "LiteRT's profiler, on a second copy of the model: %ld of %ld nodes ran by themselves, and %ld operators "
             "of a delegate", own, proof.nodes, delegated);
    return proof;
}

const struct engine litert_engine = {
    .name = "litert",
    .package = "ai-edge-litert",
    .soname = "libLiteRt.so",
    .only_version = LITERT_VERSION ".",
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
