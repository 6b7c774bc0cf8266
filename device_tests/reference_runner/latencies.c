/* The timed loop of benchmark_model, and how it sums up its latencies: tensorflow/core/util/stats_calculator.h. */
#include "engine.h"
#include "latencies.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *one, const void *other) {
    int64_t left = *(const int64_t *)one, right = *(const int64_t *)other;
    return (left > right) - (left < right);
}

static void sum_up(struct latencies *found) {
    double sum_us = 0, squares = 0;
    for (long index = 0; index < found->count; index++) {
        sum_us += (double)found->us[index];
        squares += (double)found->us[index] * (double)found->us[index];
    }
    found->mean_us = sum_us / (double)found->count;
    found->std_us = sqrt(fmax(0, squares / (double)found->count - found->mean_us * found->mean_us));
    found->first_us = found->us[0];
    found->last_us = found->us[found->count - 1];
    qsort(found->us, (size_t)found->count, sizeof found->us[0], ascending);
    found->min_us = found->us[0];
    found->max_us = found->us[found->count - 1];
}

int64_t percentile(const struct latencies *found, int percent) {
    return found->us[found->count * percent / 100];
}

struct latencies measure(long least_count, double least_s, double most_s) {
    printf("INFO: Running benchmark for at least %ld iterations and at least %g seconds but terminate if exceeding %g "
           "seconds.\n", least_count, least_s, most_s);
    struct latencies found = {.us = allocate(MOST_RUNS * sizeof(int64_t))};
    const int64_t begin_ns = now_ns();
    double passed_s = 0;
    while (found.count < MOST_RUNS && (found.count < least_count || passed_s < least_s) && passed_s <= most_s) {
        int64_t before_ns = now_ns();
        const char *failure = litert_engine.invoke();
        int64_t after_ns = now_ns();
        if (failure != NULL)
            refuse("run_failed", "%s", failure);
        found.us[found.count++] = (after_ns - before_ns) / 1000;
        passed_s = (double)(after_ns - begin_ns) / 1e9;
    }
    sum_up(&found);
    if (found.min_us == found.max_us)
        printf("INFO: count=%ld curr=%lld%s", found.count, (long long)found.last_us,
               found.count > 1 ? "(all same)" : "");
    else
        printf("INFO: count=%ld first=%lld curr=%lld min=%lld max=%lld avg=%g std=%lld", found.count,
               (long long)found.first_us, (long long)found.last_us, (long long)found.min_us, (long long)found.max_us,
               found.mean_us, (long long)found.std_us);
    printf(" p5=%lld median=%lld p95=%lld\n\n", (long long)percentile(&found, 5), (long long)percentile(&found, 50),
           (long long)percentile(&found, 95));
    return found;
}
