/* One byte for each unit of the heap, which says what lies there: all that free() has to look up.
 *
 * Bytes are written under the lock of the runs (run.h) before the unit's first object is handed out and after
 * its last has come back; those of regions under the lock of the scopes, and a large allocation becomes a spare
 * one by an atomic exchange. So a thread that holds a pointer to a
 * live object may read its byte without a lock. */
#ifndef NEAP_PAGE_UNIT_MAP_H
#define NEAP_PAGE_UNIT_MAP_H

#include "base/bits.h"

#include <stdatomic.h>

enum { UNIT_SHIFT = 14, UNIT_BYTES = 1 << UNIT_SHIFT };

/* Kinds of unit. The numbers from 1 to UNIT_LAST_CLASS are size classes of the slab layer. */
enum unit_kind {
    UNIT_NONE = 0, /* not ours: never mapped, or somebody else's mapping */
    UNIT_LAST_CLASS = 0x77,
    UNIT_REGION = 0x78,        /* in a region of a scope */
    UNIT_REGION_MIDDLE = 0x79, /* likewise, for what does not fit between the survivors there */
    UNIT_REGION_WIDE = 0x7a,   /* likewise, for larger objects */
    UNIT_FREE = 0x7b,          /* in a free run */
    UNIT_FREE_IDLE = 0x7c,     /* in a free dirty run since before the last tick */
    UNIT_LARGE = 0x7d,         /* first unit of a large allocation */
    UNIT_LARGE_BODY = 0x7e,    /* its other units */
    UNIT_LARGE_SPARE = 0x7f,   /* first unit of one that is free and kept for the next request */
    UNIT_KINDS = 0x80,
};

static inline bool unit_kind_is_free(unsigned kind) {
    return kind == UNIT_FREE || kind == UNIT_FREE_IDLE;
}

struct unit_map {
    uintptr_t base;     /* address of unit 0, which is never used: 0 can mean "none" */
    uint8_t *kind;      /* of each unit below end */
    _Atomic size_t end; /* units that have been mapped, ever; only rises */
};

static inline size_t unit_of(const struct unit_map *map, const void *p) {
    return ((uintptr_t)p - map->base) >> UNIT_SHIFT;
}

static inline uintptr_t unit_address(const struct unit_map *map, size_t unit) {
    return map->base + (unit << UNIT_SHIFT);
}

/* The kind of the unit that p points into; UNIT_NONE for any pointer outside the heap. */
static inline unsigned unit_kind_at(const struct unit_map *map, const void *p) {
    size_t unit = unit_of(map, p);
#ifdef __SANITIZE_THREAD__
    size_t end = atomic_load_explicit(&map->end, memory_order_relaxed);
#else
    size_t end = *(const size_t *)&map->end; /* compilers fold no atomic load into a comparison */
#endif
    if (UNLIKELY(unit >= end))
        return UNIT_NONE;
    return map->kind[unit];
}

#endif
