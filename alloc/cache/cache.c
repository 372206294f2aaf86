/* Thread caches: their slow paths, their making and their end.
 *
 * Locks: the cache's own in every slow path of its owner, then a bin's inside the calls to bin.h; the registry's
 * for making and giving up, alone.
 *
 * Invariants: magazine slots [first, top) hold objects that are allocated in their slabs; the slot before the
 * first is NULL; only the owner writes a magazine. */
#include "cache/cache.h"

#include "base/check.h"
#include "os/os.h"

/* How much one magazine may hold: bytes of objects and number of slots. Larger ones were no faster and spoil
 * placement: 64 KiB a class left a page floor of 20.4 MB after a connection staircase, 8 KiB 13.7 MB. */
enum { MAGAZINE_BYTES = 8 << 10, MAGAZINE_SLOTS = 64 };

/* A new magazine may hold this many bytes. Each slow path earns the cache some more, which the magazine that took
 * it spends on slots; the more was spent, the more is earned. So a thread that has done little keeps little, and a
 * busy one soon has all it can use (docs/decisions/0005-fixed-magazines.md). */
enum { FIRST_BYTES = 128, EARNED_BYTES = 4, INTEREST = 1024 };

/* Unused caches that keep their pages for the next thread. */
enum { UNUSED_WARM = 8 };

static void *const no_slots[2] = {NULL, NULL};
static const struct cache absent_cache = {
    .magazine = {[0 ... CLASSES - 1] = {.top = (void **)&no_slots[1], .end = (void **)&no_slots[1]}},
};

/* Read-only: no slow path gets at it, and the fast paths find neither an object nor a free slot. */
static struct cache *const absent = (struct cache *)&absent_cache;

_Thread_local struct cache *thread_cache = (struct cache *)&absent_cache;
static _Thread_local bool thread_ended; /* its key's destructor has run, or could not be set */

static void **slots_of(const struct caches *caches, struct cache *cache, unsigned class) {
    return (void **)(cache + 1) + caches->first[class];
}

static void **top_of(struct magazine *m) {
    return atomic_load_explicit(&m->top, memory_order_relaxed);
}

static void set_top(struct magazine *m, void **top) {
    atomic_store_explicit(&m->top, top, memory_order_release);
}

void caches_init(struct caches *caches, struct bins *bins) {
    caches->bins = bins;
    lock_init(&caches->registry, RANK_REGISTRY);
    size_t slots = 0;
    for (unsigned c = 1; c < CLASSES; c++) {
        size_t capacity = MAGAZINE_BYTES / class_bytes(c);
        capacity = min_size(max_size(capacity, 1), MAGAZINE_SLOTS);
        caches->first[c] = (uint16_t)(slots + 1); /* behind the NULL */
        caches->capacity[c] = (uint16_t)capacity;
        slots += 1 + capacity;
    }
    VERIFY(sizeof(struct cache) + slots * sizeof(void *) <= CACHE_BYTES);
}

static struct cache *cache_at(struct caches *caches, uint32_t number) {
    return (struct cache *)(caches->bins->runs->space.caches.base + (size_t)number * CACHE_BYTES);
}

static void reset_magazine(struct caches *caches, struct cache *cache, unsigned class) {
    void **first = slots_of(caches, cache, class);
    set_top(&cache->magazine[class], first);
    cache->magazine[class].end = first + min_size(FIRST_BYTES / class_bytes(class), caches->capacity[class]);
}

static struct cache *make(struct caches *caches) {
    lock_acquire(&caches->registry);
    struct cache *cache = NULL;
    if (caches->first_free != 0) {
        cache = cache_at(caches, caches->first_free - 1);
        caches->first_free = cache->next_free;
        caches->unused--;
    } else {
        cache = space_cache(&caches->bins->runs->space, caches->made);
        if (cache != NULL)
            cache->number = caches->made++;
    }
    if (cache != NULL) {
        cache->in_use = true;
        cache->forks = caches->forks;
        cache->earned = cache->spent = 0;
        lock_init(&cache->lock, RANK_CACHE);
        for (unsigned c = 0; c < CLASSES; c++)
            if (c == 0)
                cache->magazine[c] = absent_cache.magazine[c];
            else
                reset_magazine(caches, cache, c);
    }
    lock_release(&caches->registry);
    return cache;
}

/* Gives an emptied cache to the registry. */
static void unmake(struct caches *caches, struct cache *cache) {
    size_t page = caches->bins->runs->space.page;
    lock_acquire(&caches->registry);
    bool cold = caches->unused >= UNUSED_WARM && CACHE_BYTES > page;
    cache->in_use = false;
    if (!cold) {
        cache->next_free = caches->first_free;
        caches->first_free = cache->number + 1;
        caches->unused++;
    }
    lock_release(&caches->registry);
    if (!cold)
        return;
    os_purge((uintptr_t)cache + page, CACHE_BYTES - page); /* the NULLs before the slots are zeroes, too */
    lock_acquire(&caches->registry);
    cache->next_free = caches->first_free;
    caches->first_free = cache->number + 1;
    caches->unused++;
    lock_release(&caches->registry);
}

/* Empties all magazines. Returns an object that was free already, or NULL. The caller holds the cache's lock. */
static void *empty(struct caches *caches, struct cache *cache) {
    void *already_free = NULL;
    for (unsigned c = 1; c < CLASSES; c++) {
        void **first = slots_of(caches, cache, c), **top = top_of(&cache->magazine[c]);
        if (top == first)
            continue;
        void *bad = bin_flush(caches->bins, c, (size_t)(top - first), first);
        already_free = bad != NULL ? bad : already_free;
        reset_magazine(caches, cache, c);
    }
    return already_free;
}

static _Noreturn void die_freed_twice(const void *p) {
    os_die("free(%p): double free: the object was free already (found when its cache was emptied)", (uintptr_t)p);
}

/* What the threads had that a fork left behind. A cache whose lock was held then is in a state nobody knows and
 * stays lost; in the others at most the last push or pop is halfway, which leaves an object free twice at worst:
 * the bin sees that. */
static COLD void adopt_orphans(struct caches *caches) {
    if (!atomic_exchange(&caches->orphans, false))
        return; /* another thread is at it */
    lock_acquire(&caches->registry);
    uint32_t made = caches->made;
    lock_release(&caches->registry);
    for (uint32_t number = 0; number < made; number++) {
        struct cache *cache = cache_at(caches, number);
        if (!cache->in_use || cache->forks == caches->forks || cache == thread_cache ||
            atomic_load_explicit(&cache->lock.word, memory_order_relaxed) != 0)
            continue;
        cache->forks = caches->forks;
        lock_acquire(&cache->lock);
        empty(caches, cache);
        lock_release(&cache->lock);
        unmake(caches, cache);
    }
}

/* The calling thread's cache, locked; makes it if there is none yet. NULL where it can have none. */
static struct cache *lock_mine(struct caches *caches) {
    if (UNLIKELY(atomic_load_explicit(&caches->orphans, memory_order_relaxed)))
        adopt_orphans(caches);
    struct cache *cache = thread_cache;
    if (UNLIKELY(cache == absent)) {
        if (thread_ended || (cache = make(caches)) == NULL)
            return NULL;
        thread_cache = cache;
        cache->forks = caches->forks; /* again: a signal handler may have forked since it was made */
        /* May allocate, which by now works. Without it nobody would tell us of the thread's end. */
        if (pthread_setspecific(caches->key, cache) != 0) {
            cache_retire(caches);
            return NULL;
        }
    }
    lock_acquire(&cache->lock);
    return cache;
}

/* Lets a magazine that was found full or empty use more of its slots, as far as the cache has earned them, but not
 * more than twice as many. Returns how many it may use now. */
static size_t widen(const struct caches *caches, struct cache *cache, unsigned class) {
    void **first = slots_of(caches, cache, class);
    size_t limit = (size_t)(cache->magazine[class].end - first), size = class_bytes(class);
    cache->earned += EARNED_BYTES + cache->spent / INTEREST;
    size_t more = min_size(cache->earned / size, max_size(limit, 1));
    more = min_size(more, caches->capacity[class] - limit);
    cache->earned -= more * size;
    cache->spent += more * size;
    cache->magazine[class].end = first + limit + more;
    return limit + more;
}

void *cache_refill(struct caches *caches, unsigned class) {
    struct cache *cache = lock_mine(caches);
    if (UNLIKELY(cache == NULL)) {
        void *p;
        return bin_refill(caches->bins, class, 1, &p) != 0 ? p : NULL;
    }
    void *p = cache_pop(class); /* making the cache may have allocated, and filled it */
    if (LIKELY(p == NULL)) {
        void **first = slots_of(caches, cache, class);
        size_t want = max_size(widen(caches, cache, class) / 2, 1);
        size_t got = bin_refill(caches->bins, class, want, first);
        for (size_t i = 0; i < got / 2; i++) { /* the lowest address on top */
            void *swap = first[i];
            first[i] = first[got - 1 - i];
            first[got - 1 - i] = swap;
        }
        if (got > 0) {
            p = first[got - 1];
            set_top(&cache->magazine[class], first + got - 1);
        }
    }
    lock_release(&cache->lock);
    return p;
}

void cache_overflow(struct caches *caches, unsigned class, void *p) {
    struct cache *cache = lock_mine(caches);
    void *already_free = NULL;
    if (UNLIKELY(cache == NULL)) {
        already_free = bin_flush(caches->bins, class, 1, &p);
    } else {
        struct magazine *m = &cache->magazine[class];
        void **first = slots_of(caches, cache, class);
        size_t used = (size_t)(top_of(m) - first), limit = widen(caches, cache, class);
        if (limit == 0) {
            already_free = bin_flush(caches->bins, class, 1, &p);
        } else {
            if (used == limit) { /* nothing earned */
                size_t flushed = (limit + 1) / 2;
                already_free = bin_flush(caches->bins, class, flushed, first);
                for (size_t i = flushed; i < used; i++)
                    first[i - flushed] = first[i];
                set_top(m, first + used - flushed);
            }
            *top_of(m) = p;
            set_top(m, top_of(m) + 1);
        }
        lock_release(&cache->lock);
    }
    if (UNLIKELY(already_free != NULL))
        die_freed_twice(already_free);
}

bool cache_holds(const struct caches *caches, unsigned class, const void *p, size_t depth) {
    if (thread_cache == absent)
        return false;
    void **first = slots_of(caches, thread_cache, class), **slot = top_of(&thread_cache->magazine[class]);
    for (; slot > first && depth > 0; slot--, depth--)
        if (slot[-1] == p)
            return true;
    return false;
}

void cache_flush(struct caches *caches) {
    struct cache *cache = lock_mine(caches);
    if (cache == NULL)
        return;
    void *already_free = empty(caches, cache);
    lock_release(&cache->lock);
    if (UNLIKELY(already_free != NULL))
        die_freed_twice(already_free);
}

void cache_retire(struct caches *caches) {
    struct cache *cache = thread_cache;
    thread_ended = true;
    if (cache == absent)
        return;
    cache_flush(caches);
    thread_cache = absent;
    unmake(caches, cache);
}

void caches_after_fork(struct caches *caches) {
    caches->forks++;
    if (thread_cache != absent)
        thread_cache->forks = caches->forks;
    atomic_store_explicit(&caches->orphans, true, memory_order_relaxed);
}

size_t caches_count(struct caches *caches, unsigned class) {
    size_t count = 0;
    lock_acquire(&caches->registry);
    for (uint32_t number = 0; number < caches->made; number++) {
        struct cache *cache = cache_at(caches, number);
        if (cache->in_use)
            count += (size_t)(top_of(&cache->magazine[class]) - slots_of(caches, cache, class));
    }
    lock_release(&caches->registry);
    return count;
}

size_t caches_in_use(struct caches *caches) {
    size_t count = 0;
    lock_acquire(&caches->registry);
    for (uint32_t number = 0; number < caches->made; number++)
        count += cache_at(caches, number)->in_use;
    lock_release(&caches->registry);
    return count;
}

void cache_check(const struct caches *caches) {
    struct cache *cache = thread_cache;
    if (cache == absent)
        return;
    for (unsigned c = 1; c < CLASSES; c++) {
        void **first = slots_of(caches, cache, c), **top = top_of(&cache->magazine[c]);
        VERIFY(first[-1] == NULL);
        VERIFY(first <= top && top <= cache->magazine[c].end &&
               cache->magazine[c].end <= first + caches->capacity[c]);
        for (void **slot = first; slot < top; slot++) {
            VERIFY(unit_kind_at(&caches->bins->runs->space.map, *slot) == c);
            VERIFY(is_object_start(&caches->bins->divisors[c], *slot));
            VERIFY(!bin_holds(caches->bins, c, *slot));
            for (void **other = first; other < slot; other++)
                VERIFY(*other != *slot);
        }
    }
}
