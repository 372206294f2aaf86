/* Revocation. The fast paths do without a lock, so whoever takes a cache back must know what its owner may be in
 * the middle of. With membarrier, which costs the owner nothing until it is called, that is little:
 *
 *  1. The owner's two pointers, thread_cache for frees and thread_source for allocations, are pointed to the
 *     absent cache.
 *  2. membarrier. Each operation loads one of them once, so from now on at most one is still under way on this
 *     cache, and everything that the owner stored before it is visible.
 *  3. Of each magazine the topmost object is remembered, and its slot set to NULL.
 *  4. membarrier. A pop looks at its slot again after it has stored the new top. If its store is not visible by
 * now, it will find NULL there; then it undoes itself and goes to its slow path.
 *  5. So where top is still what it was, or is higher, all objects that were seen are ours. Higher: the owner has
 *     pushed, into a slot above. Where it is lower (in one magazine at most), the owner has popped and may have
 * got the topmost object or NULL: it is left in doubt, and all below it is ours.
 *
 * The owner's next slow path waits for the cache's lock, sees by its top whether it undid the pop of the object in
 * doubt, and uses the cache again. Tops are not written here, for the operation under way may do so.
 *
 * Caches that hold nothing are taken back too: then every first operation of a thread that was idle is a slow
 * path, and where all threads are idle nothing needs to be watched.
 *
 * tests/model/revoke.pml is this protocol for spin. Locks: the cache's, and a bin's inside bin_flush. */
#include "cache/revoke.h"

#include "base/check.h"
#include "cache/magazine.h"
#include "os/os.h"

struct seen {
    slot *top;
    void *topmost;
};

static struct seen hide_topmost(struct magazine *m) {
    struct seen seen = {.top = top_of(m)};
    seen.topmost = slot_get(seen.top - 1);
    if (seen.topmost != NULL)
        slot_set(seen.top - 1, NULL);
    return seen;
}

static void restore(const struct seen *seen) {
    for (unsigned c = 1; c < CLASSES; c++)
        if (seen[c].topmost != NULL)
            slot_set(seen[c].top - 1, seen[c].topmost);
}

/* Flushes what of a magazine is ours. Adds how many objects these are, and returns one that was free already. */
static void *take(struct caches *caches, struct cache *cache, unsigned class, const struct seen *seen,
                  size_t *taken) {
    void *objects[MAGAZINE_SLOTS];
    if (seen->topmost == NULL)
        return NULL;
    size_t count = slots_take(slots_of(caches, cache, class), seen->top - 1, objects);
    if (top_of(&cache->magazine[class]) < seen->top) {
        ASSERT(cache->doubt.class == 0);
        cache->doubt.class = class;
        cache->doubt.top = seen->top;
        cache->doubt.object = seen->topmost;
    } else {
        objects[count++] = seen->topmost;
    }
    *taken += count;
    return count > 0 ? bin_flush(caches->bins, class, count, objects) : NULL;
}

/* The owner's allocations may come from elsewhere just now. Then they look there again after a slow path, as they
 * do where `to` is the cache: only its owner points thread_source to it. */
static void point_owner_to(struct cache *cache, struct cache *to) {
    atomic_store_explicit(cache->installer, to, memory_order_release);
    atomic_store_explicit(cache->source, absent()->magazine, memory_order_release);
}

/* The caller holds the lock of the cache, which is installed. Returns how many objects it has taken. */
static size_t revoke(struct caches *caches, struct cache *cache, void **already_free) {
    struct seen seen[CLASSES];
    size_t taken = 0;
    point_owner_to(cache, absent());
    bool passed = os_membarrier();
    lock_jitter_here();
    if (passed) {
        for (unsigned c = 1; c < CLASSES; c++)
            seen[c] = hide_topmost(&cache->magazine[c]);
        lock_jitter_here();
        passed = os_membarrier();
        if (!passed)
            restore(seen);
    }
    if (!passed) {
        point_owner_to(cache, cache); /* after the slots, which the owner may write from now on */
        atomic_store_explicit(&caches->refused, true, memory_order_relaxed);
        return 0;
    }
    for (unsigned c = 1; c < CLASSES; c++) {
        void *bad = take(caches, cache, c, &seen[c], &taken);
        *already_free = bad != NULL ? bad : *already_free;
    }
    atomic_store_explicit(&cache->installed, false, memory_order_relaxed);
    atomic_fetch_add_explicit(&caches->revocations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&caches->revoked, taken, memory_order_relaxed);
    return taken;
}

static uint32_t trace_of(const struct cache *cache) {
    uint32_t trace = (uint32_t)counter_get(&cache->trimmed);
    for (unsigned c = 1; c < CLASSES; c++)
        trace = mix32(trace ^ magazine_trace(&cache->magazine[c]));
    return trace;
}

/* A thread that ended by the bare system call has told nobody, and its memory may be another's by now, or
 * unmapped. */
static bool owner_is_gone(const struct cache *cache) {
    return !os_is_mapped((uintptr_t)cache->installer) ||
           atomic_load_explicit(cache->installer, memory_order_relaxed) != cache;
}

static bool was_used(struct cache *cache) {
    uint32_t trace = trace_of(cache);
    return atomic_exchange_explicit(&cache->trace, trace, memory_order_relaxed) != trace;
}

static bool acquire(struct caches *caches, struct cache *cache) {
    bool possible = true;
    bool acquired = owned_lock_try_acquire(&cache->lock, &possible);
    if (UNLIKELY(!possible))
        atomic_store_explicit(&caches->refused, true, memory_order_relaxed);
    return acquired;
}

/* Takes a cache back that was not used since the last tick; of another, what it keeps spare for too long. Returns
 * how many objects it has taken. */
static size_t visit(struct caches *caches, struct cache *cache, bool all) {
    void *already_free = NULL;
    size_t taken = 0;
    if (cache == thread_own)
        return 0;
    bool used = was_used(cache) && !all;
    if ((used && !spare_is_old(caches, cache)) || !acquire(caches, cache))
        return 0;
    /* What a fork left behind is for adopt_orphans. */
    if (atomic_load_explicit(&cache->installed, memory_order_relaxed) && cache->forks == caches->forks) {
        if (UNLIKELY(owner_is_gone(cache))) {
            cache_adopt(caches, cache);
            return 0;
        }
        taken = spare_free(caches, cache);
        if (!used)
            taken += revoke(caches, cache, &already_free);
    }
    owned_lock_release(&cache->lock);
    die_if_freed_twice(already_free);
    return taken;
}

size_t caches_tick(struct caches *caches, bool all) {
    size_t taken = 0;
    bool awake = false;
    atomic_fetch_add_explicit(&caches->ticks, 1, memory_order_relaxed);
    /* Before the first look: an owner that comes back behind it sets this again. */
    atomic_exchange_explicit(&caches->awake, false, memory_order_acq_rel);
    uint32_t made = caches->made;
    for (uint32_t number = 0; number < made && !atomic_load_explicit(&caches->refused, memory_order_relaxed);
         number++) {
        struct cache *cache = cache_at(caches, number);
        if (!atomic_load_explicit(&cache->installed, memory_order_acquire))
            continue;
        taken += visit(caches, cache, all);
        awake |= atomic_load_explicit(&cache->installed, memory_order_relaxed);
    }
    awake |= caches_cool(caches, all);
    if (awake)
        atomic_store_explicit(&caches->awake, true, memory_order_relaxed);
    return taken;
}
