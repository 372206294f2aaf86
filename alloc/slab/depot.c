/* Depots of bins: what is put into them and taken out. The caller holds the bin's lock. */
#include "slab/bin.h"

/* One object in 16 of a depot is noted, by its address: what is freed twice in large numbers is found at once,
 * and not when the depot is emptied. */
enum { NOTE_ONE_IN = 16 };

static uintptr_t note_mask(unsigned class) {
    return (uintptr_t)(NOTE_ONE_IN - 1) << __builtin_ctzl(class_bytes(class));
}

static void **note_of(struct bins *bins, unsigned class, const void *p) {
    return &bins->noted[class][(uintptr_t)p / (note_mask(class) + 1) % DEPOT_NOTES];
}

void *depot_put(struct bins *bins, unsigned class, size_t count, void *const *objects) {
    struct bin *bin = &bins->bin[class];
    size_t held = counter_get(&bin->in_depot);
    void **to = &bins->depot[bins->shape[class].depot + held], *already_free = NULL;
    uintptr_t mask = note_mask(class);
    for (size_t i = 0; i < count; i++) {
        void *p = to[i] = objects[i];
        if (UNLIKELY(((uintptr_t)p & mask) == 0)) {
            void **note = note_of(bins, class, p);
            already_free = *note == p ? p : already_free;
            *note = p;
        }
    }
    counter_set(&bin->in_depot, held + count);
    counter_sub(&bin->allocated, count);
    return already_free;
}

size_t depot_take(struct bins *bins, unsigned class, size_t count, void **objects) {
    struct bin *bin = &bins->bin[class];
    size_t held = counter_get(&bin->in_depot), taken = min_size(count, held);
    void *const *from = &bins->depot[bins->shape[class].depot + held - taken];
    uintptr_t mask = note_mask(class);
    for (size_t i = 0; i < taken; i++) {
        void *p = from[i];
        __builtin_prefetch(p); /* it will be written to soon */
        __atomic_store_n(&objects[i], p, __ATOMIC_RELAXED);
        if (UNLIKELY(((uintptr_t)p & mask) == 0)) {
            void **note = note_of(bins, class, p);
            *note = *note == p ? NULL : *note;
        }
    }
    counter_set(&bin->in_depot, held - taken);
    counter_add(&bin->allocated, taken);
    return taken;
}
