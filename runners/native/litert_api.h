/* The part of LiteRT's C interface that engine_litert.c calls, declared anew.
 *
 * Written for LiteRT 2.3 (the libLiteRt.so of the package ai-edge-litert 2.3). Source of the names, arguments, numbers
 * and structures: https://github.com/google-ai-edge/LiteRT, litert/c/litert_*.h (common, environment, model,
 * model_types, layout, options, opaque_options, compiled_model, tensor_buffer, profiler, profiler_event). All handles
 * are pointers to what only the library knows; all functions return a status, 0 for success, and put what they make
 * where their last argument points.
 */
#ifndef MNET_LITERT_API_H
#define MNET_LITERT_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LITERT_VERSION "2.3"
#define LITERT_WRITTEN_FOR "LiteRT " LITERT_VERSION " (ai-edge-litert " LITERT_VERSION ")"

typedef void *handle;

enum { LITERT_CPU = 1 }; /* kLiteRtHwAcceleratorCpu */
enum { LITERT_LOCK_READ = 0, LITERT_LOCK_WRITE = 1 }; /* LiteRtTensorBufferLockMode */

/* LiteRtStatus: those that a model brings about */
enum { LITERT_FAILED = 3, LITERT_UNSUPPORTED = 5, LITERT_NO_FLATBUFFER = 501, LITERT_NOT_COMPILED = 504 };

/* LiteRtElementType */
enum {
    LITERT_FLOAT32 = 1, LITERT_INT32 = 2, LITERT_UINT8 = 3, LITERT_INT64 = 4, LITERT_INT16 = 7, LITERT_INT8 = 9,
    LITERT_FLOAT16 = 10, LITERT_FLOAT64 = 11, LITERT_UINT64 = 13, LITERT_UINT32 = 16, LITERT_UINT16 = 17
};

/* LiteRtLayout and LiteRtRankedTensorType */
struct litert_layout {
    uint32_t rank : 7, has_strides : 1;
    int32_t sizes[8]; /* negative: open */
    uint32_t strides[8];
};
struct litert_tensor_type {
    int32_t element;
    struct litert_layout layout;
};
_Static_assert(sizeof(struct litert_tensor_type) == 72, "LiteRtRankedTensorType has 72 bytes");

/* ProfiledEventData, of a machine with 64 bits; `type` is a LiteRtProfilerEventType. */
struct litert_event {
    const char *tag;
    int32_t type;
    uint64_t start_us, elapsed_us;
    size_t memory[6];
    uint64_t metadata[2];
    int32_t source;
};
enum { LITERT_NODE_EVENT = 2, LITERT_DELEGATE_EVENT = 8 }; /* OPERATOR_INVOKE, DELEGATE_PROFILED_OPERATOR_INVOKE */

/* LITERT_FUNCTIONS(X) lists them as X(name without LiteRt, arguments). */
#define LITERT_FUNCTIONS(X) \
    X(CreateEnvironment, (int option_count, const void *options, handle *environment)) \
    X(CreateModelFromBuffer, (handle environment, const void *content, size_t size_bytes, handle *model)) \
    X(CreateOptions, (handle *options)) \
    X(SetOptionsHardwareAccelerators, (handle options, int accelerators)) \
    X(CreateOpaqueOptions, (const char *identifier, void *data, void (*destroy)(void *), handle *options)) \
    X(AddOpaqueOptions, (handle options, handle opaque)) \
    X(CreateCompiledModel, (handle environment, handle model, handle options, handle *compiled)) \
    X(GetMainModelSubgraphIndex, (handle model, size_t *index)) \
    X(GetModelSubgraph, (handle model, size_t index, handle *subgraph)) \
    X(GetNumSubgraphOps, (handle subgraph, size_t *count)) \
    X(GetModelSignature, (handle model, size_t index, handle *signature)) \
    X(GetNumSignatureInputs, (handle signature, size_t *count)) \
    X(GetNumSignatureOutputs, (handle signature, size_t *count)) \
    X(GetSignatureInputTensorByIndex, (handle signature, size_t index, handle *tensor)) \
    X(GetSignatureOutputTensorByIndex, (handle signature, size_t index, handle *tensor)) \
    X(GetRankedTensorType, (handle tensor, struct litert_tensor_type *type)) \
    X(GetCompiledModelInputBufferRequirements, (handle compiled, size_t signature, size_t index, handle *needs)) \
    X(GetCompiledModelOutputBufferRequirements, (handle compiled, size_t signature, size_t index, handle *needs)) \
    X(CreateManagedTensorBufferFromRequirements, \
      (handle environment, const struct litert_tensor_type *type, handle needs, handle *buffer)) \
    X(LockTensorBuffer, (handle buffer, void **address, int mode)) \
    X(UnlockTensorBuffer, (handle buffer)) \
    X(RunCompiledModel, (handle compiled, size_t signature, size_t input_count, handle *inputs, size_t output_count, \
                         handle *outputs)) \
    X(GetCompiledModelOutputTensorLayouts, (handle compiled, size_t signature, size_t count, \
                                            struct litert_layout *layouts, bool allocate)) \
    X(CompiledModelGetProfiler, (handle compiled, handle *profiler)) \
    X(StartProfiler, (handle profiler)) \
    X(StopProfiler, (handle profiler)) \
    X(GetNumProfilerEvents, (handle profiler, int *count)) \
    X(GetProfilerEvents, (handle profiler, int count, struct litert_event *events))

#endif
