/* The part of ONNX Runtime's C interface that engine_onnxruntime.c calls, declared anew.
 *
 * Written for interface version 16 (ONNX Runtime 1.16); later libraries, up to 1.31 at least, hand it out as well.
 * Source: include/onnxruntime/core/session/onnxruntime_c_api.h of https://github.com/microsoft/onnxruntime. A program
 * gets a table of functions there, OrtApi, to which versions only append; the numbers below are places in it. All
 * handles are pointers to what only the library knows. Functions that can fail return a status, NULL for success.
 */
#ifndef MNET_ONNXRUNTIME_API_H
#define MNET_ONNXRUNTIME_API_H

#include <stddef.h>
#include <stdint.h>

#define ORT_WRITTEN_FOR "ONNX Runtime 1.16 or later"

enum { ORT_API_VERSION = 16 };

struct ort_api_base {
    const void *const *(*get_api)(uint32_t version); /* NULL: the library is older */
    const char *(*get_version)(void);
};

typedef void *handle;
typedef void *status;

/* ORT_FUNCTIONS(X) lists them as X(place in OrtApi, name, result, arguments). */
#define ORT_FUNCTIONS(X) \
    X(2, GetErrorMessage, const char *, (status)) \
    X(3, CreateEnv, status, (int severity, const char *name, handle *env)) \
    X(6, DisableTelemetryEvents, status, (handle env)) \
    X(7, CreateSession, status, (handle env, const char *path, handle options, handle *session)) \
    X(9, Run, status, (handle session, handle run_options, const char *const *input_names, const handle *inputs, \
                       size_t input_count, const char *const *output_names, size_t output_count, handle *outputs)) \
    X(10, CreateSessionOptions, status, (handle *options)) \
    X(13, SetSessionExecutionMode, status, (handle options, int mode)) \
    X(16, EnableMemPattern, status, (handle options)) \
    X(17, DisableMemPattern, status, (handle options)) \
    X(18, EnableCpuMemArena, status, (handle options)) \
    X(19, DisableCpuMemArena, status, (handle options)) \
    X(21, SetSessionLogVerbosityLevel, status, (handle options, int level)) \
    X(22, SetSessionLogSeverityLevel, status, (handle options, int level)) \
    X(23, SetSessionGraphOptimizationLevel, status, (handle options, int level)) \
    X(24, SetIntraOpNumThreads, status, (handle options, int threads)) \
    X(25, SetInterOpNumThreads, status, (handle options, int threads)) \
    X(30, SessionGetInputCount, status, (handle session, size_t *count)) \
    X(31, SessionGetOutputCount, status, (handle session, size_t *count)) \
    X(33, SessionGetInputTypeInfo, status, (handle session, size_t index, handle *type_info)) \
    X(36, SessionGetInputName, status, (handle session, size_t index, handle allocator, char **name)) \
    X(37, SessionGetOutputName, status, (handle session, size_t index, handle allocator, char **name)) \
    X(49, CreateTensorWithDataAsOrtValue, status, (handle memory, void *data, size_t size_bytes, \
                                                   const int64_t *sizes, size_t rank, int element, handle *value)) \
    X(51, GetTensorMutableData, status, (handle value, void **data)) \
    X(55, CastTypeInfoToTensorInfo, status, (handle type_info, handle *tensor_info)) \
    X(60, GetTensorElementType, status, (handle tensor_info, int *element)) \
    X(61, GetDimensionsCount, status, (handle tensor_info, size_t *rank)) \
    X(62, GetDimensions, status, (handle tensor_info, int64_t *sizes, size_t rank)) \
    X(65, GetTensorTypeAndShape, status, (handle value, handle *tensor_info)) \
    X(69, CreateCpuMemoryInfo, status, (int allocator_type, int memory_type, handle *memory)) \
    X(78, GetAllocatorWithDefaultOptions, status, (handle *allocator)) \
    X(96, ReleaseValue, void, (handle value)) \
    X(99, ReleaseTensorTypeAndShapeInfo, void, (handle tensor_info)) \
    X(130, AddSessionConfigEntry, status, (handle options, const char *key, const char *value))

enum { ORT_LOG_ERROR = 3 }; /* OrtLoggingLevel */
enum { ORT_ARENA_ALLOCATOR = 1, ORT_MEMORY_DEFAULT = 0 }; /* OrtAllocatorType, OrtMemType */

/* ONNXTensorElementDataType */
enum {
    ONNX_FLOAT32 = 1, ONNX_UINT8 = 2, ONNX_INT8 = 3, ONNX_UINT16 = 4, ONNX_INT16 = 5, ONNX_INT32 = 6, ONNX_INT64 = 7,
    ONNX_FLOAT16 = 10, ONNX_FLOAT64 = 11, ONNX_UINT32 = 12, ONNX_UINT64 = 13
};

#endif
