/* Elements, sizes and random values of tensors. */
#include "engine.h"

#include <string.h>

static const struct element_kind KINDS[] = {
    [FLOAT16] = {"float16", "<f2", 2}, [FLOAT32] = {"float32", "<f4", 4}, [FLOAT64] = {"float64", "<f8", 8},
    [INT8] = {"int8", "|i1", 1},       [INT16] = {"int16", "<i2", 2},     [INT32] = {"int32", "<i4", 4},
    [INT64] = {"int64", "<i8", 8},     [UINT8] = {"uint8", "|u1", 1},     [UINT16] = {"uint16", "<u2", 2},
    [UINT32] = {"uint32", "<u4", 4},   [UINT64] = {"uint64", "<u8", 8},
};

const struct element_kind *kind_of(enum element element) {
    if (element == OTHER_ELEMENT)
        refuse("model_refused", "expected inputs and outputs of integers or floats");
    return &KINDS[element];
}

size_t size_of(const struct tensor *tensor) {
    size_t size = kind_of(tensor->element)->size_bytes;
    for (size_t place = 0; place < tensor->rank; place++)
        size *= (size_t)tensor->sizes[place];
    return size;
}

void require_known_sizes(struct tensor *tensor, size_t index) {
    const int64_t most = 1 << 24;
    size_t count = 1;
    for (size_t place = 0; place < tensor->rank; place++) {
        if (place == 0 && tensor->sizes[0] <= 0)
            tensor->sizes[0] = 1;
        if (tensor->sizes[place] <= 0)
            refuse("model_refused", "tensor %zu must have a known shape but for the batch; size %zu of %zu is open",
                   index, place + 1, tensor->rank);
        if (tensor->sizes[place] > most || (count *= (size_t)tensor->sizes[place]) > (size_t)1 << 30)
            refuse("model_refused", "tensor %zu is too large for this program", index);
    }
}

/* SplitMix64, https://prng.di.unimi.it/splitmix64.c (public domain): small, and good enough to fill an image. */
static uint64_t next_random(uint64_t *state) {
    uint64_t value = (*state += 0x9e3779b97f4a7c15u);
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

void fill_with_random(const struct tensor *tensor, void *values) {
    uint64_t state = 0;
    size_t element_bytes = kind_of(tensor->element)->size_bytes, count = size_of(tensor) / element_bytes;
    for (size_t index = 0; index < count; index++) {
        uint64_t chance = next_random(&state);
        double fraction = (double)(chance >> 11) / (double)(UINT64_C(1) << 52) - 1; /* -1 <= fraction < 1 */
        char *place = (char *)values + index * element_bytes;
        switch (tensor->element) {
        case FLOAT16: memcpy(place, &(_Float16){(_Float16)fraction}, 2); break;
        case FLOAT32: memcpy(place, &(float){(float)fraction}, 4); break;
        case FLOAT64: memcpy(place, &fraction, 8); break;
        default: memcpy(place, &chance, element_bytes); /* whole range, on a little-endian machine */
        }
    }
}
