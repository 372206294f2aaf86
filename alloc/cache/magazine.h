/* The layout of a thread's cache, for the files of this folder. */
#ifndef NEAP_CACHE_MAGAZINE_H
#define NEAP_CACHE_MAGAZINE_H

#include "cache/cache.h"

#include <string.h>

/* How much one magazine may hold: bytes of objects and number of slots. Larger ones spoil placement
 * (docs/decisions/0005-fixed-magazines.md). */
enum { MAGAZINE_BYTES = 16 << 10, MAGAZINE_SLOTS = BIN_FLUSH_MOST };

/* What thread_cache points to before a thread's first slow path, while its cache is taken back, and after its end.
 * Read-only: no slow path gets at it, and the fast paths find neither an object nor a free slot. */
extern const struct cache absent_cache;

static inline struct cache *absent(void) {
    return (struct cache *)&absent_cache;
}

/* The calling thread's cache, whether thread_cache leads to it or not; NULL where it has none. */
extern _Thread_local struct cache *thread_own;

static inline struct cache *cache_at(const struct caches *caches, uint32_t number) {
    return (struct cache *)(caches->bins->runs->space.caches.base + (size_t)number * CACHE_BYTES);
}

static inline slot *slots_of(const struct caches *caches, struct cache *cache, unsigned class) {
    return (slot *)(cache + 1) + caches->first[class];
}

static inline slot *top_of(const struct magazine *m) {
    return atomic_load_explicit(&m->top, memory_order_acquire);
}

static inline void set_top(struct magazine *m, slot *top) {
    atomic_store_explicit(&m->top, top, memory_order_release);
}

static inline void *slot_get(const slot *s) {
    return atomic_load_explicit(s, memory_order_relaxed);
}

static inline void slot_set(slot *s, void *p) {
    atomic_store_explicit(s, p, memory_order_relaxed);
}

/* Moves what lies in the slots from `from` to before `end` down to the slots from `to` on. */
static inline void slots_move_down(slot *to, const slot *from, const slot *end) {
#ifdef __SANITIZE_THREAD__
    while (from < end)
        slot_set(to++, slot_get(from++));
#else
    memmove((void *)to, (const void *)from, (size_t)((const char *)end - (const char *)from));
#endif
}

/* Moves the objects of the slots from `from` to before `to` into an array, and leaves NULL there. Returns how
 * many. */
static inline size_t slots_take(slot *from, slot *to, void **objects) {
    size_t count = 0;
    for (slot *s = from; s < to; s++) {
        objects[count] = slot_get(s);
        count += objects[count] != NULL;
        slot_set(s, NULL);
    }
    return count;
}

/* The calling thread's cache, locked and installed; made if there is none yet. NULL where it can have none. */
struct cache *cache_lock_mine(struct caches *caches);

/* Frees what a cache keeps spare; false where that is nothing. The caller holds its lock. */
bool spare_free(struct caches *caches, struct cache *cache);

/* Whether what the cache keeps spare, if anything, has been there since before the last tick but this. */
bool spare_is_old(const struct caches *caches, const struct cache *cache);

/* In a forked child: takes their shares from the caches that stay lost there. */
void spare_after_fork(struct caches *caches);

/* Returns the pages of caches that no thread has needed since the last call; `all`: of all that are unused; but
 * for a few. Whether there may be more for the next call. */
bool caches_cool(struct caches *caches, bool all);

/* Empties a cache whose owner is no more, and gives it to the registry. The caller holds its lock, not as its
 * owner; this releases it. */
void cache_adopt(struct caches *caches, struct cache *cache);

/* Changes nearly always where the magazine has been used, though it may hold as many objects as before. */
static inline uint32_t magazine_trace(const struct magazine *m) {
    const slot *top = top_of(m);
    return mix32((uint32_t)(uintptr_t)top ^ (uint32_t)((uintptr_t)slot_get(top - 1) >> 4) * 0x9e3779b9u);
}

#endif
