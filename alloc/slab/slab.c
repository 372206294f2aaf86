/* Slabs. Locks: that of the slab's bin, held by the caller.
 *
 * Invariants: `free` is the number of ones in the bitmap; bits behind the last object are zero. */
#include "slab/slab.h"

#include "base/check.h"

/* Words are written under the bin's lock and read without it by slab_is_free: no torn values, no order. */
static uint64_t word_get(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void word_set(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static size_t words_of(const struct slab *slab) {
    return (slab->objects + 63u) / 64;
}

static uint64_t *bits_of(const struct space *space, const struct slab *slab) {
    if (slab->objects <= SLAB_INLINE_WORDS * 64)
        return (uint64_t *)slab->few;
    return space_bits(space, space_unit_of_meta(space, slab));
}

struct slab *slab_make(const struct space *space, size_t unit, unsigned class, const struct divisor *d) {
    struct slab *slab = space_meta(space, unit);
    list_init(&slab->link);
    slab->free = slab->objects = (uint16_t)objects_of(d);
    slab->class = (uint8_t) class;
    slab->level = 0;
    uint64_t *bits = bits_of(space, slab);
    size_t words = words_of(slab);
    for (size_t w = 0; w < words; w++)
        word_set(&bits[w], UINT64_MAX);
    if (slab->objects % 64 != 0)
        word_set(&bits[words - 1], ((uint64_t)1 << slab->objects % 64) - 1);
    return slab;
}

size_t slab_take(const struct space *space, struct slab *slab, size_t count, void **objects) {
    uint64_t *bits = bits_of(space, slab);
    char *start = (char *)unit_address(&space->map, space_unit_of_meta(space, slab));
    size_t size = class_bytes(slab->class), words = words_of(slab), taken = 0;
    for (size_t w = 0; w < words && taken < count; w++) {
        uint64_t word = word_get(&bits[w]);
        for (; word != 0 && taken < count; word &= word - 1)
            objects[taken++] = start + (w * 64 + (size_t)__builtin_ctzl(word)) * size;
        word_set(&bits[w], word);
    }
    slab->free = (uint16_t)(slab->free - taken);
    return taken;
}

size_t slab_put(const struct space *space, struct slab *slab, const struct divisor *d, size_t count,
                void *const *objects, void **already_free) {
    uint64_t *bits = bits_of(space, slab);
    uintptr_t start = (uintptr_t)objects[0] & ~(uintptr_t)d->slab_mask;
    size_t done = 0, skipped = 0;
    for (; done < count && ((uintptr_t)objects[done] & ~(uintptr_t)d->slab_mask) == start; done++) {
        uint32_t index = object_index(d, objects[done]);
        uint64_t *word = &bits[index / 64], bit = (uint64_t)1 << index % 64, before = word_get(word);
        if (UNLIKELY((before & bit) != 0)) {
            *already_free = objects[done];
            skipped++;
        }
        word_set(word, before | bit);
    }
    slab->free = (uint16_t)(slab->free + done - skipped);
    return done;
}

bool slab_is_free(const struct space *space, const struct slab *slab, uint32_t index) {
    return (word_get(&bits_of(space, slab)[index / 64]) >> index % 64 & 1) != 0;
}

void slab_check(const struct space *space, const struct slab *slab) {
    const uint64_t *bits = bits_of(space, slab);
    size_t words = words_of(slab), free = 0;
    for (size_t w = 0; w < words; w++)
        free += (size_t)__builtin_popcountl(bits[w]);
    VERIFY(free == slab->free && slab->free <= slab->objects);
    VERIFY(slab->objects % 64 == 0 || bits[words - 1] >> slab->objects % 64 == 0);
}
