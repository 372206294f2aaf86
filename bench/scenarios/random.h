/* Pseudo-random numbers (splitmix64): the same on every machine for the same seed. */
#ifndef BENCH_RANDOM_H
#define BENCH_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *random) {
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* From 0 to bound - 1; bound is below 2^32. */
static inline size_t random_below(struct random *random, size_t bound) {
    return (size_t)(((random_next(random) >> 32) * bound) >> 32);
}

/* A stream of its own for each thread, connection or the like, whatever order they run in. */
static inline struct random random_stream(uint64_t seed, uint64_t number) {
    struct random mixed = {seed ^ (number + 1) * 0xd1342543de82ef95u};
    return (struct random){random_next(&mixed)};
}

#endif
