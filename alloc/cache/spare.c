/* The spare: a large allocation that its thread has freed and keeps for its next request of as many units, so that
 * who allocates and frees a buffer again and again needs no lock of the runs.
 *
 * Bounds: one a cache, of 1 MiB at most, and all together few; it is freed at the first slow path after a tick, at
 * the second tick by who ticks, and with everything else that a cache holds. Its thread does not keep what it has
 * not asked for last: that it would hardly want.
 *
 * Locks: the cache's own, to put it in and take it out; inside it, that of the runs where it is freed. */
#include "cache/magazine.h"

#include "base/check.h"

/* Of one spare; units that all may have, or a 64th of what is in use if that is more. */
enum { SPARE_BYTES = 1 << 20, SHARES_MIN = 4 * SPARE_BYTES >> UNIT_SHIFT, SHARES_PART = 64 };

/* Of the thread's last large request; 0: rather none. */
static _Thread_local size_t wanted_units;

/* One free in so many takes the slow path all the same, whose end sees to the scavenger: it may not run yet, and
 * nobody else give back what is spare once the thread is idle. */
enum { SETTLE_EACH = 64 };

void *cache_use_spare(struct caches *caches, size_t size, size_t alignment, bool want_zeroed) {
    struct cache *cache = thread_own;
    if (UNLIKELY(cache == NULL)) /* perhaps there is no heap yet */
        return NULL;
    void *p = NULL;
    size_t units = size <= SPARE_BYTES ? large_units(caches->bins->runs, size, want_zeroed) : 0;
    wanted_units = units;
    if (units == 0 || counter_get(&cache->spare_units) != units)
        return NULL;
    owned_lock_enter(&cache->lock);
    if (LIKELY(counter_get(&cache->spare_units) == units && ((uintptr_t)cache->spare & (alignment - 1)) == 0)) {
        p = cache->spare;
        large_use_spare(caches->bins->runs, p, size);
        counter_set(&cache->spare_units, 0);
    }
    owned_lock_leave(&cache->lock);
    return p;
}

bool cache_keep_spare(struct caches *caches, void *p) {
    struct cache *cache = thread_own;
    size_t units = wanted_units;
    if (units == 0 || cache == NULL)
        return false;
    owned_lock_enter(&cache->lock);
    bool kept = ++cache->spare_turn % SETTLE_EACH != 0 && counter_get(&cache->spare_units) == 0 &&
                units <= cache->spare_share && counter_get(&cache->trimmed) == counter_get(&caches->ticks) &&
                large_make_spare(caches->bins->runs, p, units) == units;
    if (LIKELY(kept)) {
        cache->spare = p;
        counter_set(&cache->spare_units, units);
    }
    owned_lock_leave(&cache->lock);
    return kept;
}

/* Whether the cache has a share of so many units, or could get it. */
static bool has_share(struct caches *caches, struct cache *cache, size_t units) {
    if (LIKELY(units <= cache->spare_share))
        return true;
    size_t limit = max_size(SHARES_MIN, counter_get(&caches->bins->runs->used_units) / SHARES_PART);
    size_t more = units - cache->spare_share;
    if (atomic_fetch_add_explicit(&caches->spares, more, memory_order_relaxed) + more > limit) {
        atomic_fetch_sub_explicit(&caches->spares, more, memory_order_relaxed);
        return false;
    }
    cache->spare_share = units;
    return true;
}

/* Returns what there is to be freed: what was spare before, or p; NULL: nothing. */
static void *keep(struct caches *caches, void *p, size_t units) {
    struct cache *cache = cache_lock_mine(caches);
    if (UNLIKELY(cache == NULL))
        return p;
    void *rest = p;
    if (LIKELY(has_share(caches, cache, units))) {
        rest = counter_get(&cache->spare_units) != 0 ? cache->spare : NULL;
        cache->spare = p;
        counter_set(&cache->spare_units, units);
    }
    owned_lock_leave(&cache->lock);
    return rest;
}

bool cache_free_large(struct caches *caches, void *p) {
    size_t units = large_make_spare(caches->bins->runs, p, 0);
    if (UNLIKELY(units == 0))
        return false;
    /* Where the system refuses membarrier, nobody could take it back. */
    if (units == wanted_units && !atomic_load_explicit(&caches->refused, memory_order_relaxed))
        p = keep(caches, p, units);
    if (p != NULL)
        large_free_spare(caches->bins->runs, p);
    return true;
}

bool spare_free(struct caches *caches, struct cache *cache) {
    bool is = counter_get(&cache->spare_units) != 0;
    if (is) {
        counter_set(&cache->spare_units, 0);
        large_free_spare(caches->bins->runs, cache->spare);
    }
    if (cache->spare_share != 0)
        atomic_fetch_sub_explicit(&caches->spares, cache->spare_share, memory_order_relaxed);
    cache->spare_share = 0;
    return is;
}

bool spare_is_old(const struct caches *caches, const struct cache *cache) {
    return counter_get(&cache->spare_units) != 0 && counter_get(&cache->trimmed) + 1 < counter_get(&caches->ticks);
}

void spare_after_fork(struct caches *caches) {
    size_t shares = 0;
    for (uint32_t number = 0; number < caches->made; number++) {
        struct cache *cache = cache_at(caches, number);
        bool is_lost = owned_lock_owner_is_within(&cache->lock);
        if (owned_lock_is_mine(&cache->lock) || (is_lost && cache == thread_own))
            return; /* a signal interrupted the thread, perhaps in counting a share */
        shares += is_lost ? 0 : cache->spare_share;
    }
    atomic_store_explicit(&caches->spares, shares, memory_order_relaxed);
}

size_t caches_spare_bytes(struct caches *caches) {
    size_t units = 0;
    lock_acquire(&caches->registry);
    for (uint32_t number = 0; number < caches->made; number++)
        units += counter_get(&cache_at(caches, number)->spare_units);
    lock_release(&caches->registry);
    return units << UNIT_SHIFT;
}
