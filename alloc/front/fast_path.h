/* What malloc, free and the C++ operators do nearly always: a lookup, a pop or a push, and no lock. */
#ifndef NEAP_FRONT_FAST_PATH_H
#define NEAP_FRONT_FAST_PATH_H

#include "front/heap.h"

/* An object from the thread's cache, or NULL. */
static inline void *fast_pop(size_t size) {
    if (UNLIKELY(size > CLASS_TABLE_BYTES))
        return NULL;
    return cache_pop_at(magazine_offsets[(size + CLASS_GRAIN - 1) / CLASS_GRAIN]);
}

/* Keeps an object of a slab in the thread's cache. */
static inline bool fast_push(void *p) {
    /* Divisors and magazines are of one size, so that one offset serves both. */
    _Static_assert(sizeof(struct divisor) == sizeof(struct magazine), "of one size");
    size_t offset = unit_kind_at(&heap.runs.space.map, p) * sizeof(struct divisor);
    const struct divisor *d = (const struct divisor *)((const char *)heap.bins.divisors + offset);
    return LIKELY(is_object_start(d, p)) && LIKELY(cache_push_at(offset, p));
}

/* These two are part of their callers, so that CALLER is who called those. */
static INLINE void *fast_alloc(size_t size) {
    void *p = fast_pop(size);
    return LIKELY(p != NULL) ? p : heap_alloc(size, CLASS_GRAIN, false, CALLER);
}

static INLINE void fast_free(void *p, const char *function) {
    if (UNLIKELY(!fast_push(p)))
        heap_free(p, function, CALLER);
}

#endif
