/* Writes the result of benchmark_model, a protocol buffer: https://protobuf.dev/programming-guides/encoding/ */
#include "latencies.h"
#include "runner.h"

#include <string.h>

/* A message within a message of a protocol buffer: fields are added to it, its length is written before it. */
struct message {
    unsigned char bytes[128];
    size_t length;
};

static void add_ms(struct message *to, int number, double time_us) {
    float time_ms = (float)(time_us / 1000);
    to->bytes[to->length++] = (unsigned char)(number << 3 | 5);
    memcpy(to->bytes + to->length, &time_ms, sizeof time_ms);
    to->length += sizeof time_ms;
}

static void add_count(struct message *to, int number, uint64_t count) {
    to->bytes[to->length++] = (unsigned char)(number << 3);
    for (; count >= 0x80; count >>= 7)
        to->bytes[to->length++] = (unsigned char)(count | 0x80);
    to->bytes[to->length++] = (unsigned char)count;
}

static void write_message(FILE *file, int number, const struct message *message) {
    fputc(number << 3 | 2, file);
    fputc((int)message->length, file);
    fwrite(message->bytes, 1, message->length, file);
}

void write_result(const char *path, const struct latencies *warmup, const struct latencies *found, double init_us) {
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        refuse("failed", "cannot write %s", path);
    const double times_us[] = {found->mean_us, (double)found->min_us, (double)found->max_us, found->std_us,
                               (double)percentile(found, 50), (double)percentile(found, 5),
                               (double)percentile(found, 95), init_us, (double)warmup->first_us, warmup->mean_us};
    struct message latency = {.length = 0}, misc = {.length = 0};
    for (int number = 1; number <= 10; number++)
        add_ms(&latency, number, times_us[number - 1]);
    add_count(&misc, 2, (uint64_t)found->count);
    add_count(&misc, 3, (uint64_t)warmup->count);
    write_message(file, 2, &latency);
    write_message(file, 4, &misc);
    if (fclose(file) != 0)
        refuse("failed", "cannot write %s", path);
}
