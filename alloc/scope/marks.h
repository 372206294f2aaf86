/* The marks of a region: what lies in it, in four bits a granule beside the heap.
 *
 * A region is cut into segments, each an object or a gap, from its first granule to its last. A segment's first
 * granule has its start bit set; a segment is dead where a freed bit stands beside it. A hole is what lies between
 * live segments; the last granule of a region is part of none, so that every object has a segment behind it. One
 * thread at a time fills a region, from one end of a hole to the other; the gap that it has before it looks live.
 * Any thread may free what lies in a region. So survivors stay where they are, and what comes later fills the
 * holes between them (the mark-region idea of S. Blackburn and K. McKinley, "Immix", PLDI 2008, without moving).
 */
#ifndef NEAP_SCOPE_MARKS_H
#define NEAP_SCOPE_MARKS_H

#include "base/bits.h"

#include <stdatomic.h>

enum { STRIPE_GRANULES = 64 };

/* The bits of 64 granules. */
struct stripe {
    _Atomic uint64_t start;        /* a segment starts; written by who fills the region */
    _Atomic uint64_t freed;        /* it is dead; written by who fills the region */
    _Atomic uint64_t freed_remote; /* it is dead; set by any other thread */
    _Atomic uint64_t old;          /* it was live when the region got its owner: not the owner's object */
};

struct shape {
    uint32_t bytes; /* of a region; a power of two */
    uint32_t mask;  /* bytes - 1 */
    uint32_t stripes;
    unsigned shift; /* of a granule */
};

static inline uint64_t bits_get(const _Atomic uint64_t *word) {
    return atomic_load_explicit(word, memory_order_relaxed);
}

/* For words that one thread writes. */
static inline void bits_set(_Atomic uint64_t *word, uint64_t value) {
    atomic_store_explicit(word, value, memory_order_relaxed);
}

static inline uint64_t granule_bit(size_t granule) {
    return (uint64_t)1 << granule % STRIPE_GRANULES;
}

/* Starts of live segments. Who finds an object dead may hand out its memory: after all that was done with it
 * before it was freed. */
static inline uint64_t marks_live(const struct stripe *stripe) {
    uint64_t freed = atomic_load_explicit(&stripe->freed, memory_order_acquire);
    freed |= atomic_load_explicit(&stripe->freed_remote, memory_order_acquire);
    return bits_get(&stripe->start) & ~freed;
}

static inline void marks_set_start(struct stripe *stripes, size_t granule) {
    struct stripe *stripe = &stripes[granule / STRIPE_GRANULES];
    bits_set(&stripe->start, bits_get(&stripe->start) | granule_bit(granule));
}

static inline void marks_clear_start(struct stripe *stripes, size_t granule) {
    struct stripe *stripe = &stripes[granule / STRIPE_GRANULES];
    bits_set(&stripe->start, bits_get(&stripe->start) & ~granule_bit(granule));
}

/* Marks a segment as dead, by who fills the region. */
static inline void marks_kill(struct stripe *stripes, size_t granule) {
    struct stripe *stripe = &stripes[granule / STRIPE_GRANULES];
    uint64_t freed = bits_get(&stripe->freed) | granule_bit(granule);
    atomic_store_explicit(&stripe->freed, freed, memory_order_release);
}

/* Granules from this one, where a segment starts, to the next segment. */
size_t marks_length(const struct shape *shape, const struct stripe *stripes, size_t granule);

/* No segment is live. */
bool marks_are_empty(const struct shape *shape, const struct stripe *stripes);

/* One dead segment, and nothing old. */
void marks_wipe(const struct shape *shape, struct stripe *stripes);

/* Everything that is live now is old. */
void marks_age(const struct shape *shape, struct stripe *stripes);

/* Everything that is not old is dead; by who fills the region. */
void marks_kill_young(const struct shape *shape, struct stripe *stripes);

/* Bytes and number of live objects. */
struct load {
    size_t bytes, objects;
};
struct load marks_count(const struct shape *shape, const struct stripe *stripes, bool with_old);

/* Granules in all holes. Stores how many are in the longest. */
size_t marks_free(const struct shape *shape, const struct stripe *stripes, size_t *longest);

/* Whether at least `granules` are in all holes. */
bool marks_have_free(const struct shape *shape, const struct stripe *stripes, size_t granules);

/* A hole's granules: from start to end. */
struct hole {
    size_t start, end;
};

/* The first hole of at least `granules`, from a granule on that a segment starts at or the end. False where there
 * is none. */
bool marks_find_hole(const struct shape *shape, const struct stripe *stripes, size_t from, size_t granules,
                     struct hole *hole);

/* Bit for each so many stripes: no live segment touches them. */
uint32_t marks_free_pages(const struct shape *shape, const struct stripe *stripes, size_t stripes_a_page);

/* Makes a hole one segment, which is live, without a trace of what was there before; by who fills the region. A
 * fork may come at any time: no segment before the hole may look longer meanwhile. */
void marks_open(const struct shape *shape, struct stripe *stripes, struct hole hole);

#endif
