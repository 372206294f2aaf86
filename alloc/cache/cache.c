/* Thread caches: their slow paths, their making and their end.
 *
 * Locks: the cache's own in every slow path of its owner, then a bin's inside the calls to bin.h; the registry's
 * for making and giving up, alone.
 *
 * Invariants of an installed cache: magazine slots [first, top) hold objects that are allocated in their slabs;
 * the slot before the first is NULL; only the owner writes a magazine. In one that is not installed, slots below
 * top are NULL, but for what the owner's last operation left there (revoke.c). */
#include "cache/magazine.h"

#include "base/check.h"
#include "os/os.h"

/* A new magazine may hold this many bytes. Each slow path earns the cache some more, which the magazine that took
 * it spends on slots; the more was spent, the more is earned. So a thread that has done little keeps little, and a
 * busy one soon has all it can use (docs/decisions/0005-fixed-magazines.md). */
enum { FIRST_BYTES = 128, EARNED_BYTES = 4, INTEREST = 1024 };

/* A cache whose limits have grown by less than this since they were the first ones spoils no placement. 200
 * threads that do a little each would begin anew at every tick, for a tenth of their time. */
enum { TRIM_FROM_BYTES = 16 << 10 };

/* Of what a cache has earned and spent until it is emptied no more than this counts for its next beginning: a
 * thread that has been busy for long would have its widest magazines at once, ever again. */
enum { REMEMBERED_BYTES = 256 << 10 };

/* Where objects of a class lie far apart, a magazine holds no more than this: what is freed there shall not be
 * handed out again, but what is free in the fullest slabs (docs/decisions/0006-refill-order.md). */
enum { THIN_BYTES = 1024 };

/* Who only allocates, or only frees, is soon back for the other half: to such a one a whole magazine is given, and
 * three quarters are taken. */
enum { NEITHER, REFILLED, OVERFLOWED };

/* Unused caches that keep their pages for the next threads: so many for good, and so many until a tick finds that
 * they were not needed since the last one. A program with a short thread for each request ends and makes some
 * thousands a second, several at once. */
enum { WARM_FOR_GOOD = 8, WARM_AT_MOST = 64 };

#define OFFSET(class) (uint16_t)((class) * sizeof(struct magazine))
const uint16_t magazine_offsets[CLASS_TABLE_BYTES / CLASS_GRAIN + 1] = CLASS_TABLE(OFFSET);

static const slot no_slots[2];
const struct cache absent_cache = {
    .magazine = {[0 ... CLASSES - 1] = {.top = (slot *)&no_slots[1], .end = (slot *)&no_slots[1]}},
};

_Thread_local struct cache *_Atomic thread_cache = (struct cache *)&absent_cache;
_Thread_local struct magazine *_Atomic thread_source = (struct magazine *)absent_cache.magazine;
_Thread_local struct cache *thread_own;
static _Thread_local bool thread_diverted;
static _Thread_local bool thread_ended; /* its key's destructor has run, or could not be set */

static void set_source(struct magazine *magazines) {
    atomic_store_explicit(&thread_source, magazines, memory_order_relaxed);
}

static void point_to(struct cache *cache) {
    atomic_store_explicit(&thread_cache, cache, memory_order_relaxed);
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

static void reset_magazine(struct caches *caches, struct cache *cache, unsigned class) {
    slot *first = slots_of(caches, cache, class);
    set_top(&cache->magazine[class], first);
    cache->last[class] = NEITHER;
    cache->magazine[class].end = first + min_size(FIRST_BYTES / class_bytes(class), caches->capacity[class]);
}

static void add(struct cache *cache, uint32_t *list) {
    cache->next_free = *list;
    *list = cache->number + 1;
}

static struct cache *take_from(struct caches *caches, uint32_t *list) {
    if (*list == 0)
        return NULL;
    struct cache *cache = cache_at(caches, *list - 1);
    *list = cache->next_free;
    return cache;
}

static struct cache *take_warm(struct caches *caches) {
    struct cache *cache = take_from(caches, &caches->first_warm);
    if (cache != NULL)
        caches->least_warm = (uint32_t)min_size(caches->least_warm, --caches->warm);
    return cache;
}

static struct cache *make(struct caches *caches) {
    lock_acquire(&caches->registry);
    struct cache *cache = take_warm(caches);
    if (cache == NULL)
        cache = take_from(caches, &caches->first_cold);
    if (cache == NULL) {
        cache = space_cache(&caches->bins->runs->space, caches->made);
        if (cache != NULL) {
            owned_lock_init(&cache->lock, RANK_CACHE); /* once: somebody may be looking whether it is installed */
            cache->number = caches->made++;
        }
    }
    if (cache != NULL) {
        cache->in_use = true;
        cache->forks = caches->forks;
        cache->earned = cache->spent = 0;
        counter_set(&cache->trimmed, counter_get(&caches->ticks));
        cache->magazine[0] = absent_cache.magazine[0];
        for (unsigned c = 1; c < CLASSES; c++)
            reset_magazine(caches, cache, c);
    }
    lock_release(&caches->registry);
    return cache;
}

static bool can_cool(const struct caches *caches) {
    return CACHE_BYTES > caches->bins->runs->space.page;
}

/* Returns the pages of a cache that is on no list, and puts it on the one of the cold. */
static void cool(struct caches *caches, struct cache *cache) {
    size_t page = caches->bins->runs->space.page;
    os_purge((uintptr_t)cache + page, CACHE_BYTES - page); /* the NULLs before the slots are zeroes, too */
    lock_acquire(&caches->registry);
    add(cache, &caches->first_cold);
    lock_release(&caches->registry);
}

/* Gives an emptied cache to the registry. */
static void unmake(struct caches *caches, struct cache *cache) {
    lock_acquire(&caches->registry);
    bool stays = caches->warm < WARM_AT_MOST || !can_cool(caches);
    cache->in_use = false;
    if (stays) {
        add(cache, &caches->first_warm);
        caches->warm++;
    }
    if (caches->warm > WARM_FOR_GOOD && can_cool(caches)) /* it may not have been installed since the last tick */
        atomic_store_explicit(&caches->awake, true, memory_order_relaxed);
    lock_release(&caches->registry);
    if (!stays)
        cool(caches, cache);
}

bool caches_cool(struct caches *caches, bool all) {
    if (!can_cool(caches))
        return false;
    lock_acquire(&caches->registry);
    uint32_t spare = all ? caches->warm : caches->least_warm;
    lock_release(&caches->registry);
    for (; spare > WARM_FOR_GOOD; spare--) {
        lock_acquire(&caches->registry);
        struct cache *cache = take_warm(caches);
        lock_release(&caches->registry);
        if (cache == NULL)
            break;
        cool(caches, cache);
    }
    lock_acquire(&caches->registry);
    uint32_t warm = caches->least_warm = caches->warm;
    lock_release(&caches->registry);
    return warm > WARM_FOR_GOOD;
}

/* Empties a magazine, and what it had earned of its limit may be spent again. After the cache was taken back this
 * finds what the owner's last operation has left: an object above the NULLs, or the one in doubt, whose pop was
 * undone. Returns an object that was free already, or NULL. The caller holds the cache's lock. */
static void *empty_magazine(struct caches *caches, struct cache *cache, unsigned class) {
    struct magazine *m = &cache->magazine[class];
    slot *first = slots_of(caches, cache, class), *top = top_of(m);
    size_t limit = (size_t)(m->end - first);
    void *objects[MAGAZINE_SLOTS], *already_free = NULL;
    size_t count = slots_take(first, top, objects);
    if (UNLIKELY(cache->doubt.class == class)) {
        if (top == cache->doubt.top)
            objects[count++] = cache->doubt.object;
        cache->doubt.class = 0;
    }
    if (count > 0)
        already_free = bin_flush(caches->bins, class, count, objects);
    reset_magazine(caches, cache, class);
    cache->earned += (limit - (size_t)(m->end - first)) * class_bytes(class);
    return already_free;
}

static void *empty(struct caches *caches, struct cache *cache) {
    void *already_free = NULL;
    for (unsigned c = 1; c < CLASSES; c++) {
        void *bad = empty_magazine(caches, cache, c);
        already_free = bad != NULL ? bad : already_free;
    }
    spare_free(caches, cache);
    return already_free;
}

/* Empties a cache, to begin anew: with the first limits, but half of what it took to widen them is earned already,
 * so who goes on as before soon has them again. Who does less gets less each time. */
static void *renew(struct caches *caches, struct cache *cache) {
    void *already_free = empty(caches, cache);
    counter_set(&cache->trimmed, counter_get(&caches->ticks));
    cache->earned = min_size(cache->earned, REMEMBERED_BYTES) / 2;
    cache->spent = 0;
    return already_free;
}

/* At the first slow path after a tick. What a magazine holds comes from slabs as they were, and is handed out
 * before the holes of denser ones; and a thread that does less by now has no use for limits that it earned before.
 */
static void *trim(struct caches *caches, struct cache *cache) {
    if (cache->spent >= TRIM_FROM_BYTES)
        return renew(caches, cache);
    counter_set(&cache->trimmed, counter_get(&caches->ticks));
    spare_free(caches, cache);
    return NULL;
}

void cache_adopt(struct caches *caches, struct cache *cache) {
    empty(caches, cache);
    atomic_store_explicit(&cache->installed, false, memory_order_relaxed);
    owned_lock_release(&cache->lock);
    unmake(caches, cache);
}

/* Under the lock of the registry, for a thread may just be making one of the unused caches its own. */
static bool is_orphan(struct caches *caches, const struct cache *cache) {
    lock_acquire(&caches->registry);
    bool is = cache->in_use && cache->forks != caches->forks;
    lock_release(&caches->registry);
    return is && cache != thread_own;
}

/* What the threads had that a fork left behind. A cache that its owner had locked then is in a state nobody knows
 * and stays lost; in the others at most the last push or pop is halfway, which leaves an object free twice at
 * worst: the bin sees that. */
static COLD void adopt_orphans(struct caches *caches) {
    if (!atomic_exchange(&caches->orphans, false))
        return; /* another thread is at it */
    lock_acquire(&caches->registry);
    uint32_t made = caches->made;
    lock_release(&caches->registry);
    for (uint32_t number = 0; number < made; number++) {
        struct cache *cache = cache_at(caches, number);
        if (!is_orphan(caches, cache) || owned_lock_owner_is_within(&cache->lock) ||
            owned_lock_is_mine(&cache->lock))
            continue;
        owned_lock_inherit(&cache->lock);
        cache_adopt(caches, cache);
    }
}

void cache_divert(struct magazine *source) {
    thread_diverted = true;
    set_source(source != NULL ? source : absent()->magazine);
}

void cache_end_diversion(void) {
    thread_diverted = false;
    set_source(absent()->magazine);
}

/* Lets the thread's fast paths use its cache: a new one, or one that was taken back. */
static COLD void install(struct caches *caches, struct cache *cache) {
    cache->installer = &thread_cache;
    cache->source = &thread_source;
    point_to(cache);
    atomic_store_explicit(&cache->installed, true, memory_order_release);
    atomic_store_explicit(&caches->awake, true, memory_order_release);
}

struct cache *cache_lock_mine(struct caches *caches) {
    if (UNLIKELY(atomic_load_explicit(&caches->orphans, memory_order_relaxed)))
        adopt_orphans(caches);
    struct cache *cache = thread_own;
    if (UNLIKELY(cache == NULL)) {
        if (thread_ended || (cache = make(caches)) == NULL)
            return NULL;
        thread_own = cache;
        cache->forks = caches->forks; /* again: a signal handler may have forked since it was made */
        /* May allocate, which by now works. Without it nobody would tell us of the thread's end. */
        if (pthread_setspecific(caches->key, cache) != 0) {
            cache_retire(caches);
            return NULL;
        }
    }
    void *already_free = NULL;
    owned_lock_enter(&cache->lock);
    if (UNLIKELY(!atomic_load_explicit(&cache->installed, memory_order_relaxed))) {
        already_free = renew(caches, cache);
        install(caches, cache);
    } else if (UNLIKELY(counter_get(&cache->trimmed) != counter_get(&caches->ticks))) {
        already_free = trim(caches, cache);
    }
    if (LIKELY(!thread_diverted))
        set_source(cache->magazine);
    if (UNLIKELY(already_free != NULL)) {
        owned_lock_leave(&cache->lock);
        die_if_freed_twice(already_free);
    }
    return cache;
}

static size_t slots_at_most(const struct caches *caches, unsigned class) {
    size_t most = caches->capacity[class];
    return bin_is_thin(caches->bins, class) ? min_size(most, max_size(THIN_BYTES / class_bytes(class), 1)) : most;
}

/* Lets a magazine that was found full or empty use more of its slots, as far as the cache has earned them, but not
 * more than twice as many; or fewer, if there are to be fewer. Returns how many it may use now. */
static size_t widen(const struct caches *caches, struct cache *cache, unsigned class) {
    slot *first = slots_of(caches, cache, class);
    size_t limit = (size_t)(cache->magazine[class].end - first), size = class_bytes(class);
    size_t most = slots_at_most(caches, class);
    cache->earned += EARNED_BYTES + cache->spent / INTEREST;
    if (LIKELY(limit == most))
        return limit;
    if (limit > most) {
        cache->earned += (limit - most) * size;
        cache->magazine[class].end = first + most;
        return most;
    }
    size_t more = min_size(max_size(limit, 1), most - limit);
    if (more * size > cache->earned)
        more = cache->earned >= size ? cache->earned / size : 0; /* often 0, without the division */
    cache->earned -= more * size;
    cache->spent += more * size;
    cache->magazine[class].end = first + limit + more;
    return limit + more;
}

void *cache_refill(struct caches *caches, unsigned class) {
    struct cache *cache = cache_lock_mine(caches);
    if (UNLIKELY(cache == NULL)) {
        void *p;
        return bin_refill(caches->bins, class, 1, &p) != 0 ? p : NULL;
    }
    struct magazine *m = &cache->magazine[class];
    slot *top = top_of(m);
    void *p = slot_get(top - 1);
    if (UNLIKELY(p != NULL)) { /* the thread was diverted, or making the cache has allocated, and filled it */
        set_top(m, top - 1);
    } else {
        slot *first = slots_of(caches, cache, class);
        size_t limit = widen(caches, cache, class);
        size_t want = max_size(cache->last[class] == REFILLED ? limit : limit / 2, 1);
        void *only, **to = want > 1 ? (void **)first : &only;   /* for one, no page of slots is touched */
        size_t got = bin_refill(caches->bins, class, want, to); /* the lowest address on top */
        if (LIKELY(got > 0)) {
            p = to[got - 1];
            set_top(m, first + got - 1);
        }
        cache->last[class] = REFILLED;
    }
    owned_lock_leave(&cache->lock);
    return p;
}

uint32_t cache_number(struct caches *caches) {
    struct cache *cache = thread_own == NULL ? cache_lock_mine(caches) : NULL;
    if (cache != NULL)
        owned_lock_leave(&cache->lock);
    return thread_own != NULL ? thread_own->number : CACHE_NONE;
}

/* Gives back what has been longest in a magazine that may use so many slots, and uses as many or more. */
static void *empty_older(struct caches *caches, struct cache *cache, unsigned class, size_t limit) {
    struct magazine *m = &cache->magazine[class];
    slot *first = slots_of(caches, cache, class), *top = top_of(m);
    size_t used = (size_t)(top - first), kept = cache->last[class] == OVERFLOWED ? used / 4 : used / 2;
    kept = min_size(kept, limit / 2);
    void *already_free = bin_hand_over(caches->bins, class, used - kept, (void **)first);
    slots_move_down(first, top - kept, top);
    set_top(m, first + kept);
    cache->last[class] = OVERFLOWED;
    return already_free;
}

void cache_overflow(struct caches *caches, unsigned class, void *p) {
    struct cache *cache = cache_lock_mine(caches);
    void *already_free = NULL;
    if (UNLIKELY(cache == NULL)) {
        already_free = bin_flush(caches->bins, class, 1, &p);
    } else {
        struct magazine *m = &cache->magazine[class];
        size_t used = (size_t)(top_of(m) - slots_of(caches, cache, class)), limit = widen(caches, cache, class);
        if (limit == 0) {
            already_free = bin_flush(caches->bins, class, 1, &p);
        } else {
            if (used >= limit) /* nothing earned */
                already_free = empty_older(caches, cache, class, limit);
            slot *top = top_of(m);
            slot_set(top, p);
            set_top(m, top + 1);
        }
        owned_lock_leave(&cache->lock);
    }
    die_if_freed_twice(already_free);
}

void cache_flush(struct caches *caches) {
    struct cache *cache = cache_lock_mine(caches);
    if (cache == NULL)
        return;
    void *already_free = empty(caches, cache);
    owned_lock_leave(&cache->lock);
    die_if_freed_twice(already_free);
}

void cache_retire(struct caches *caches) {
    struct cache *cache = thread_own;
    thread_ended = true;
    if (cache == NULL)
        return;
    owned_lock_enter(&cache->lock);
    void *already_free = empty(caches, cache);
    point_to(absent());
    set_source(absent()->magazine);
    atomic_store_explicit(&cache->installed, false, memory_order_relaxed);
    owned_lock_leave(&cache->lock);
    thread_own = NULL;
    unmake(caches, cache);
    die_if_freed_twice(already_free);
}

/* Who held the lock of another thread's cache was taking it back, or was about to. He is gone, but what he had not
 * taken yet still lies in the slots, and what he had is NULL there: the cache is as good as taken back. */
static void finish_revocation(struct cache *cache) {
    atomic_store_explicit(&cache->installed, false, memory_order_relaxed);
    if (cache == thread_own) {
        point_to(absent());
        set_source(absent()->magazine);
    }
}

void caches_after_fork(struct caches *caches) {
    caches->forks++;
    if (thread_own != NULL)
        thread_own->forks = caches->forks;
    for (uint32_t number = 0; number < caches->made; number++) {
        struct cache *cache = cache_at(caches, number);
        if (owned_lock_break(&cache->lock))
            finish_revocation(cache);
    }
    spare_after_fork(caches);
    atomic_store_explicit(&caches->orphans, true, memory_order_relaxed);
    atomic_store_explicit(&caches->awake, true, memory_order_relaxed);
}

bool caches_are_interrupted(const struct caches *caches) {
    for (uint32_t number = 0; number < caches->made; number++)
        if (owned_lock_is_mine(&cache_at(caches, number)->lock))
            return true;
    if (lock_is_mine(&caches->registry)) /* making its cache or giving it up */
        return true;
    return thread_own != NULL && owned_lock_owner_is_within(&thread_own->lock);
}

size_t caches_count(struct caches *caches, unsigned class) {
    size_t count = 0;
    lock_acquire(&caches->registry);
    for (uint32_t number = 0; number < caches->made; number++) {
        struct cache *cache = cache_at(caches, number);
        if (atomic_load_explicit(&cache->installed, memory_order_relaxed))
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

void cache_check(struct caches *caches) {
    if (thread_own == NULL)
        return;
    struct cache *cache = cache_lock_mine(caches);
    for (unsigned c = 1; c < CLASSES; c++) {
        slot *first = slots_of(caches, cache, c), *top = top_of(&cache->magazine[c]);
        VERIFY(slot_get(first - 1) == NULL);
        VERIFY(first <= top && top <= cache->magazine[c].end &&
               cache->magazine[c].end <= first + caches->capacity[c]);
        for (slot *s = first; s < top; s++) {
            void *p = slot_get(s);
            VERIFY(unit_kind_at(&caches->bins->runs->space.map, p) == c);
            VERIFY(is_object_start(&caches->bins->divisors[c], p));
            VERIFY(!bin_holds(caches->bins, c, p));
            for (slot *other = first; other < s; other++)
                VERIFY(slot_get(other) != p);
        }
    }
    owned_lock_leave(&cache->lock);
}
