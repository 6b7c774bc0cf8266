/* What the files of the reference runner share. */
#ifndef MNET_LATENCIES_H
#define MNET_LATENCIES_H

#include <stdint.h>

/* A row of inferences, in whole microseconds as the tool has them; sorted when it is summed up. */
struct latencies {
    int64_t *us;
    long count;
    double mean_us, std_us;
    int64_t first_us, last_us, min_us, max_us;
};

enum { MOST_RUNS = 1000000 };

/* Runs the model as often and as long as is asked for, and prints the heading and the line with `count=`. */
struct latencies measure(long least_count, double least_s, double most_s);
int64_t percentile(const struct latencies *found, int percent);

/* result_file.c: tensorflow/lite/tools/benchmark/proto/benchmark_result.proto */
void write_result(const char *path, const struct latencies *warmup, const struct latencies *found, double init_us);

#endif
