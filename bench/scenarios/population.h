/* The objects of a scenario: a ring of them in memory that does not come from malloc, made before the first
 * object. All live objects of a workload are in populations. */
#ifndef BENCH_POPULATION_H
#define BENCH_POPULATION_H

#include <stddef.h>
#include <stdint.h>

#include "heap.h"
#include "mix.h"

/* One thread may add at the tail while another one takes from the head; else one thread at a time. */
struct population {
    struct object *objects;
    size_t capacity;         /* a power of two */
    size_t head, tail;       /* numbers of the oldest object and of the next */
    uint64_t came, went;     /* bytes */
    struct population *next; /* of all */
};

/* Sizes to draw from. */
struct sizes {
    const struct mix *mix;
    double factor; /* that a drawn size is multiplied with */
};

/* Room for so many objects; the population stays until the silent phase has ended. Ends the process where a
 * scenario later has more. */
void population_make(struct population *population, size_t objects);

/* Room for that many bytes of objects of the sizes. */
void population_make_for(struct population *population, uint64_t bytes, struct sizes sizes);

static inline size_t population_count(const struct population *population) {
    return population->tail - population->head;
}

static inline uint64_t population_bytes(const struct population *population) {
    return population->came - population->went;
}

/* The object of an index below the count. */
static inline struct object *population_at(struct population *population, size_t index) {
    return &population->objects[(population->head + index) & (population->capacity - 1)];
}

void population_add(struct population *population, size_t size);
void population_add_drawn(struct population *population, struct sizes sizes, struct random *random);
void population_grow(struct population *population, size_t index, size_t size); /* by realloc */
void population_drop_oldest(struct population *population);
void population_drop_random(struct population *population, struct random *random);

/* Objects come in groups (connections, requests) of so many, added one after another: drops a random one of them.
 * With `survivors`, each object of it goes there instead with a probability of so many in 1,000. */
void population_drop_random_group(struct population *population, size_t group, struct random *random,
                                  struct population *survivors, unsigned per_mille);

/* Gives its oldest object to another population. */
void population_move_oldest(struct population *population, struct population *to);

void population_clear(struct population *population);

/* Adds until there are at least that many bytes, or drops at random until there are at most so many. */
void population_level(struct population *population, uint64_t bytes, struct sizes sizes, struct random *random);

/* Drops so many bytes at random, and adds others until there are at least `level`. */
void population_churn(struct population *population, uint64_t bytes, uint64_t level, struct sizes sizes,
                      struct random *random);

/* Over all populations: bytes asked for, and those of the pages that hold one of them. */
uint64_t population_live(void);
uint64_t population_floor(void);

#endif
