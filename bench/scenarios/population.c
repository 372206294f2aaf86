/* See population.h. Random victims are replaced by the newest object, so that a drop costs the same whichever it
 * is. */
#include "population.h"

#include "page_floor.h"
#include "system.h"

static struct population *all;

void population_make(struct population *population, size_t objects) {
    size_t capacity = 64;
    while (capacity < objects)
        capacity *= 2;
    *population = (struct population){.capacity = capacity, .next = all};
    population->objects = map_memory(capacity * sizeof *population->objects);
    all = population;
}

void population_make_for(struct population *population, uint64_t bytes, struct sizes sizes) {
    /* A quarter more than the mean says, and for few objects more. */
    population_make(population, (size_t)(1.25 * (double)bytes / (mix_mean(sizes.mix) * sizes.factor)) + 1000);
}

static void append(struct population *population, struct object object) {
    size_t head = __atomic_load_n(&population->head, __ATOMIC_RELAXED);
    if (population->tail - head == population->capacity)
        stop(STATUS_FAILED, "the scenario's table of %zu objects is full", population->capacity);
    population->objects[population->tail & (population->capacity - 1)] = object;
    population->tail++;
    population->came += object.size;
}

void population_add(struct population *population, size_t size) {
    append(population, object_make(size));
}

void population_add_drawn(struct population *population, struct sizes sizes, struct random *random) {
    size_t size = (size_t)((double)mix_draw(sizes.mix, random) * sizes.factor);
    population_add(population, size == 0 ? 1 : size);
}

void population_grow(struct population *population, size_t index, size_t size) {
    struct object *object = population_at(population, index);
    population->came += size - object->size;
    object_grow(object, size);
}

void population_drop_oldest(struct population *population) {
    struct object *object = population_at(population, 0);
    population->went += object->size;
    object_drop(object);
    __atomic_store_n(&population->head, population->head + 1, __ATOMIC_RELAXED);
}

static void drop(struct population *population, size_t index) {
    struct object *object = population_at(population, index);
    population->went += object->size;
    object_drop(object);
    struct object *newest = population_at(population, population_count(population) - 1);
    *object = *newest;
    newest->start = NULL;
    population->tail--;
}

void population_drop_random(struct population *population, struct random *random) {
    drop(population, random_below(random, population_count(population)));
}

void population_drop_random_group(struct population *population, size_t group, struct random *random,
                                  struct population *survivors, unsigned per_mille) {
    size_t groups = population_count(population) / group;
    size_t first = random_below(random, groups) * group, newest = (groups - 1) * group;
    for (size_t i = 0; i < group; i++) {
        struct object *object = population_at(population, first + i);
        population->went += object->size;
        if (survivors != NULL && random_below(random, 1000) < per_mille) {
            append(survivors, *object);
            *object = (struct object){0};
        } else {
            object_drop(object);
        }
        struct object *replacement = population_at(population, newest + i);
        *object = *replacement;
        replacement->start = NULL;
    }
    population->tail -= group;
}

void population_move_oldest(struct population *population, struct population *to) {
    struct object *oldest = population_at(population, 0);
    append(to, *oldest);
    population->went += oldest->size;
    population->head++;
}

void population_clear(struct population *population) {
    while (population_count(population) != 0)
        population_drop_oldest(population);
}

void population_level(struct population *population, uint64_t bytes, struct sizes sizes, struct random *random) {
    if (population_bytes(population) < bytes)
        while (population_bytes(population) < bytes)
            population_add_drawn(population, sizes, random);
    else
        while (population_bytes(population) > bytes)
            population_drop_random(population, random);
}

void population_churn(struct population *population, uint64_t bytes, uint64_t level, struct sizes sizes,
                      struct random *random) {
    uint64_t target = population->went + bytes;
    while (population->went < target && population_count(population) != 0)
        population_drop_random(population, random);
    while (population_bytes(population) < level)
        population_add_drawn(population, sizes, random);
}

uint64_t population_live(void) {
    uint64_t live = 0;
    for (struct population *population = all; population != NULL; population = population->next)
        for (size_t i = 0; i < population_count(population); i++)
            live += population_at(population, i)->size;
    return live;
}

uint64_t population_floor(void) {
    floor_begin();
    for (struct population *population = all; population != NULL; population = population->next)
        for (size_t i = 0; i < population_count(population); i++) {
            const struct object *object = population_at(population, i);
            floor_add((uintptr_t)object->start, object->size);
        }
    return floor_bytes();
}
