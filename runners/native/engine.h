/* What an engine does for mnet-runner, and for whoever else links engine_litert.c.
 *
 * There is one engine with one model in a process: the functions work on the one that was opened. Whatever fails ends
 * in `refuse` (see runner.h), which a program that links an engine has to have; so nothing here returns an error but
 * `invoke`, and nothing is freed but by the end of the process. The order of the calls: load, open, all others.
 */
#ifndef MNET_ENGINE_H
#define MNET_ENGINE_H

#include "runner.h"

enum { MAX_RANK = 8, MAX_TENSORS = 16 };

enum element {
    FLOAT16, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, OTHER_ELEMENT
};

struct tensor {
    enum element element;
    size_t rank;
    int64_t sizes[MAX_RANK];
};

/* What computes the graph, as far as it is known; see the agent's `start`. */
struct proof {
    const char *delegate; /* xnnpack, none, cpu; NULL: unknown */
    char evidence[256]; /* empty: none */
    long nodes, delegated_nodes; /* -1: unknown */
};

struct model_setup {
    const char *path;
    int threads;
    bool delegate, optimizer;
    const struct pairs *session_options;
};

struct engine {
    const char *name; /* as --engine says it */
    const char *package; /* as `start` says it: the package that brings the same library for Python */
    const char *soname; /* what is loaded unless --library says otherwise */
    const char *only_version; /* how its version has to begin; NULL: the library itself hands out what is called */
    /* Loads the library and checks that it is one that this program was written for. The version that is returned is
     * what the library itself says; NULL if it does not say. */
    const char *(*load)(const char *file);
    void (*open)(const struct model_setup *setup);
    size_t (*input_count)(void);
    struct tensor (*input)(size_t index); /* an open batch is 1; any other open size is refused */
    void (*write_input)(size_t index, const void *values, size_t size_bytes);
    const char *(*invoke)(void); /* what is timed; NULL, or why it failed */
    struct tensor (*output)(void); /* the first one; after `invoke` */
    void (*read_output)(void *values, size_t size_bytes);
    /* Finds out what computes the graph. It may take memory and time: it comes after everything that is measured. */
    struct proof (*prove)(void);
};

extern const struct engine litert_engine, onnxruntime_engine;

/* tensor.c */
struct element_kind {
    const char *name; /* as NumPy calls it */
    const char *descr; /* in a .npy file of a little-endian machine */
    size_t size_bytes;
};
const struct element_kind *kind_of(enum element element); /* refuses (model_refused) other elements */
size_t size_of(const struct tensor *tensor); /* in bytes */
void require_known_sizes(struct tensor *tensor, size_t index); /* sets an open batch to 1 */
void fill_with_random(const struct tensor *tensor, void *values); /* the same values every time */

/* timing.c */
struct block {
    int64_t *durations_ns; /* of the calls */
    size_t count;
    int64_t wall_ns, cpu_ns; /* of all of them together, and of the computing on all threads */
};
struct block new_block(long max_count);
/* Calls the engine for `block_s` seconds and `min_count` times, whichever is longer, but at most `max_count` times. */
void run_block(const struct engine *engine, struct block *block, double block_s, long min_count, long max_count);

/* library.c */
void *load_library(const char *engine, const char *file, const char *package);
void *require_symbol(void *library, const char *name, const char *written_for);

/* npy.c: files of NumPy's format, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
struct npy {
    FILE *file;
    enum element element;
    size_t rank;
    int64_t sizes[MAX_RANK + 1];
};
struct npy open_npy(const char *path); /* refuses (failed) what it cannot read */
void read_entries(struct npy *npy, void *values, size_t size_bytes);
struct npy create_npy(const char *path, enum element element, size_t rank, const int64_t *sizes);
void write_entries(struct npy *npy, const void *values, size_t size_bytes);
void close_npy(struct npy *npy);

#endif
