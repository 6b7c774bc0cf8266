/* The clock and the timed loop. */
#include "engine.h"

#include <string.h>
#include <time.h>

static int64_t read_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int64_t now_ns(void) { return read_ns(CLOCK_MONOTONIC); }

struct block new_block(long max_count) {
    struct block block = {.durations_ns = allocate((size_t)max_count * sizeof(int64_t))};
    /* Written to now, with other than the zeros that it has: so the system gives the memory now, not while timing. */
    memset(block.durations_ns, 0xff, (size_t)max_count * sizeof(int64_t));
    return block;
}

void run_block(const struct engine *engine, struct block *block, double block_s, long min_count, long max_count) {
    const char *(*const call)(void) = engine->invoke;
    int64_t *const durations_ns = block->durations_ns;
    int64_t cpu_ns = read_ns(CLOCK_PROCESS_CPUTIME_ID), start_ns = now_ns();
    const int64_t end_ns = start_ns + (int64_t)(block_s * 1e9);
    long count = 0;
    while (count < max_count) {
        int64_t before_ns = now_ns();
        const char *failure = call();
        int64_t after_ns = now_ns();
        if (failure != NULL)
            refuse("run_failed", "call %ld: %s", count + 1, failure);
        durations_ns[count++] = after_ns - before_ns;
        if (after_ns >= end_ns && count >= min_count)
            break;
    }
    block->wall_ns = now_ns() - start_ns;
    block->cpu_ns = read_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
    block->count = (size_t)count;
}
