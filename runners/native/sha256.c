/* SHA-256 of a file, after FIPS 180-4, https://doi.org/10.6028/NIST.FIPS.180-4 (section 6.2). */
#include "runner.h"

#include <errno.h>
#include <string.h>

enum { BLOCK_BYTES = 64, LENGTH_BYTES = 8 };

struct digest {
    uint32_t state[8];
};

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t ROUND_CONSTANTS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
    0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
    0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
    0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
};

static uint32_t rotate(uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

static void add_block(struct digest *digest, const unsigned char *block) {
    uint32_t words[64], v[8];
    for (int t = 0; t < 16; t++)
        words[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 | (uint32_t)block[4 * t + 2] << 8 |
                   (uint32_t)block[4 * t + 3];
    for (int t = 16; t < 64; t++) {
        uint32_t a = words[t - 15], b = words[t - 2];
        words[t] = (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10) + words[t - 7] +
                   (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + words[t - 16];
    }
    memcpy(v, digest->state, sizeof v);
    for (int t = 0; t < 64; t++) {
        uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]), majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        uint32_t first = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) + choice +
                         ROUND_CONSTANTS[t] + words[t];
        uint32_t second = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) + majority;
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += first;
        v[0] = first + second;
    }
    for (int place = 0; place < 8; place++)
        digest->state[place] += v[place];
}

/* Adds the last, incomplete block: the bytes, a one bit, zeros and the length in bits. */
static void add_end(struct digest *digest, const unsigned char *rest, size_t rest_bytes, uint64_t total_bytes) {
    unsigned char blocks[2 * BLOCK_BYTES] = {0};
    size_t size = rest_bytes + 1 + LENGTH_BYTES <= BLOCK_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    memcpy(blocks, rest, rest_bytes);
    blocks[rest_bytes] = 0x80;
    for (int place = 0; place < LENGTH_BYTES; place++)
        blocks[size - 1 - (size_t)place] = (unsigned char)(total_bytes * 8 >> (8 * place));
    add_block(digest, blocks);
    if (size > BLOCK_BYTES)
        add_block(digest, blocks + BLOCK_BYTES);
}

void sha256_of_file(const char *path, char hex[65]) {
    /* The first 32 bits of the fractional parts of the square roots of the first 8 primes. */
    struct digest digest = {{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
                             0x5be0cd19}};
    unsigned char buffer[64 * BLOCK_BYTES];
    uint64_t total_bytes = 0;
    size_t count, whole = 0;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        refuse("model_refused", "%s: %s", path, strerror(errno));
    while ((count = fread(buffer, 1, sizeof buffer, file)) > 0) {
        total_bytes += count;
        for (whole = 0; whole + BLOCK_BYTES <= count; whole += BLOCK_BYTES)
            add_block(&digest, buffer + whole);
        if (count < sizeof buffer)
            break; /* fread stops early only at the end, or at an error */
        whole = 0;
    }
    if (ferror(file))
        refuse("model_refused", "%s: %s", path, strerror(errno));
    fclose(file);
    add_end(&digest, buffer + whole, count > 0 ? count - whole : 0, total_bytes);
    for (int place = 0; place < 8; place++)
        snprintf(hex + 8 * place, 9, "%08x", digest.state[place]);
}
