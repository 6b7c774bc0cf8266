/* Reads and writes .npy files, as far as the agent's are concerned: numbers in C order, little-endian.
 *
 * The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Only what is needed of the header
 * is read, strictly; everything else is refused.
 */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char MAGIC[] = "\x93NUMPY";
enum { MAGIC_BYTES = 6, LONGEST_HEADER = 4096, ALIGNMENT = 64 };

static _Noreturn void damaged(const char *path, const char *what) {
    refuse("failed", "%s is no .npy file that can be read here: %s", path, what);
}

/* Returns the place after `'key': ` in the header's dictionary. */
static const char *value_of(const char *header, const char *key, const char *path) {
    char quoted[24];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *found = strstr(header, quoted);
    if (found == NULL)
        damaged(path, key);
    found += strlen(quoted);
    return found + strspn(found, " ");
}

static enum element read_element(const char *descr, const char *path) {
    for (enum element element = 0; element < OTHER_ELEMENT; element++) {
        const char *known = kind_of(element)->descr;
        if (descr[0] == '\'' && strncmp(descr + 1, known, strlen(known)) == 0 && descr[1 + strlen(known)] == '\'')
            return element;
    }
    damaged(path, "expected little-endian integers or floats");
}

static void read_shape(struct npy *npy, const char *text, const char *path) {
    if (*text++ != '(')
        damaged(path, "shape");
    for (;;) {
        text += strspn(text, " ");
        if (*text == ')')
            return;
        char *end;
        errno = 0;
        long long size = strtoll(text, &end, 10);
        if (end == text || errno != 0 || size < 0 || npy->rank > MAX_RANK || (*end != ',' && *end != ')'))
            damaged(path, "shape");
        npy->sizes[npy->rank++] = size;
        text = end + (*end == ',');
    }
}

/* Returns how many bytes the numbers have; refuses more than the address space can hold. */
static size_t data_bytes(const struct npy *npy, const char *path) {
    size_t total = kind_of(npy->element)->size_bytes;
    for (size_t place = 0; place < npy->rank; place++)
        if (__builtin_mul_overflow(total, (size_t)npy->sizes[place], &total))
            damaged(path, "shape");
    return total;
}

static void require_data(const struct npy *npy, const char *path) {
    long start = ftell(npy->file);
    if (fseek(npy->file, 0, SEEK_END) != 0)
        damaged(path, strerror(errno));
    if ((size_t)(ftell(npy->file) - start) < data_bytes(npy, path))
        damaged(path, "it ends too early");
    fseek(npy->file, start, SEEK_SET);
}

static size_t header_length(FILE *file, const char *path) {
    unsigned char start[MAGIC_BYTES + 2], length[4] = {0};
    if (fread(start, 1, sizeof start, file) != sizeof start || memcmp(start, MAGIC, MAGIC_BYTES) != 0)
        damaged(path, "its first bytes");
    size_t length_bytes = start[MAGIC_BYTES] == 1 ? 2 : 4; /* of version 2 and 3: four */
    if (start[MAGIC_BYTES] < 1 || start[MAGIC_BYTES] > 3 || fread(length, 1, length_bytes, file) != length_bytes)
        damaged(path, "its version");
    return (size_t)length[0] | (size_t)length[1] << 8 | (size_t)length[2] << 16 | (size_t)length[3] << 24;
}

struct npy open_npy(const char *path) {
    struct npy npy = {.file = fopen(path, "rb")};
    char header[LONGEST_HEADER + 1];
    if (npy.file == NULL)
        refuse("failed", "%s: %s", path, strerror(errno));
    size_t length = header_length(npy.file, path);
    if (length > LONGEST_HEADER || fread(header, 1, length, npy.file) != length)
        damaged(path, "its header");
    header[length] = '\0';
    npy.element = read_element(value_of(header, "descr", path), path);
    if (strncmp(value_of(header, "fortran_order", path), "False", 5) != 0)
        damaged(path, "expected C order");
    read_shape(&npy, value_of(header, "shape", path), path);
    if (npy.rank == 0 || npy.sizes[0] == 0)
        damaged(path, "expected at least one entry");
    require_data(&npy, path);
    return npy;
}

void read_entries(struct npy *npy, void *values, size_t size_bytes) {
    if (fread(values, 1, size_bytes, npy->file) != size_bytes)
        refuse("failed", "the inputs cannot be read: %s", strerror(errno));
}

struct npy create_npy(const char *path, enum element element, size_t rank, const int64_t *sizes) {
    struct npy npy = {.file = fopen(path, "wb"), .element = element, .rank = rank};
    char header[512];
    if (npy.file == NULL)
        refuse("failed", "%s: %s", path, strerror(errno));
    int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                          kind_of(element)->descr);
    for (size_t place = 0; place < rank; place++)
        length += snprintf(header + length, sizeof header - (size_t)length, "%lld%s", (long long)sizes[place],
                           place + 1 < rank ? ", " : rank == 1 ? "," : "");
    length += snprintf(header + length, sizeof header - (size_t)length, "), }");
    size_t before = MAGIC_BYTES + 4; /* the magic, the version and the header's length */
    size_t padded = (before + (size_t)length + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - before;
    fwrite(MAGIC, 1, MAGIC_BYTES, npy.file);
    fwrite((unsigned char[]){1, 0, padded & 0xff, padded >> 8 & 0xff}, 1, 4, npy.file);
    fprintf(npy.file, "%-*s\n", (int)padded - 1, header);
    return npy;
}

void write_entries(struct npy *npy, const void *values, size_t size_bytes) {
    if (fwrite(values, 1, size_bytes, npy->file) != size_bytes)
        refuse("failed", "the answers cannot be written: %s", strerror(errno));
}

void close_npy(struct npy *npy) {
    if (fclose(npy->file) != 0)
        refuse("failed", "the answers cannot be written: %s", strerror(errno));
}
