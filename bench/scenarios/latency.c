/* See latency.h. A histogram of sixteen buckets a doubling, in static memory, shared by all threads. */
#include "latency.h"

#include <stddef.h>

#include "random.h"
#include "system.h"

enum { SAMPLE_ONE_IN = 64, STEPS_LOG = 4, STEPS = 1 << STEPS_LOG, BUCKETS = 40 * STEPS, ENOUGH = 1000 };

static uint64_t buckets[BUCKETS];
static uint64_t clock_cost;
static __thread struct random gaps; /* all threads draw the same ones, at other points of their work */
static __thread unsigned left = SAMPLE_ONE_IN;

void latency_begin(void) {
    enum { ROUNDS = 1000 };
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t start = now_ns(), cost = now_ns() - start;
        if (cost < least)
            least = cost;
    }
    clock_cost = least;
    for (size_t i = 0; i < BUCKETS; i++)
        __atomic_store_n(&buckets[i], 0, __ATOMIC_RELAXED); /* resident from now on */
}

bool latency_is_due(void) {
    if (--left != 0)
        return false;
    left = 1 + (unsigned)random_below(&gaps, 2 * SAMPLE_ONE_IN - 1);
    return true;
}

/* The first 16 buckets are of 1 ns each. */
static size_t bucket_of(uint64_t ns) {
    if (ns < STEPS)
        return (size_t)ns;
    unsigned log = 63 - (unsigned)__builtin_clzll(ns);
    size_t bucket = ((size_t)(log - STEPS_LOG + 1) << STEPS_LOG) + (size_t)(ns >> (log - STEPS_LOG)) % STEPS;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static uint64_t bucket_start(size_t bucket) {
    if (bucket < STEPS)
        return bucket;
    return (STEPS + bucket % STEPS) << (bucket / STEPS - 1);
}

void latency_add(uint64_t ns) {
    __atomic_fetch_add(&buckets[bucket_of(ns > clock_cost ? ns - clock_cost : 0)], 1, __ATOMIC_RELAXED);
}

uint64_t latency_p999(void) {
    uint64_t count = 0, above = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        count += __atomic_load_n(&buckets[i], __ATOMIC_RELAXED);
    if (count < ENOUGH)
        return 0;
    size_t bucket = BUCKETS;
    while (above <= count / 1000)
        above += __atomic_load_n(&buckets[--bucket], __ATOMIC_RELAXED);
    return bucket_start(bucket);
}
