/* Thread caches: for each size class a magazine, an array of pointers to free objects that its thread pops from
 * and pushes to without a lock. Filled from and emptied into the bins in batches.
 *
 * A thread finds its cache through one pointer, which it loads once an operation. It points to a cache that holds
 * nothing and has room for nothing before the thread's first and after its last slow path, and while its own has
 * been taken back (revoke.h), so the fast paths need no other test. */
#ifndef NEAP_CACHE_CACHE_H
#define NEAP_CACHE_CACHE_H

#include "large/large.h"
#include "slab/bin.h"

#include <pthread.h>

typedef void *_Atomic slot;

struct magazine {
    slot *_Atomic top; /* behind the last pointer; below the first lies a NULL */
    slot *end;         /* behind the last slot that may be used now */
};

struct cache {
    struct magazine magazine[CLASSES]; /* first: see magazine_at */
    struct owned_lock lock;            /* held by the owner in its slow paths, and by who takes the cache back */
    _Atomic bool installed;            /* the owner's thread_cache leads here; changed under the lock */
    bool in_use;
    uint8_t last[CLASSES]; /* what the slow path was that a magazine had last */
    uint32_t number;
    uint32_t next_free;               /* on a list of unused caches: number + 1; 0: last */
    uint32_t forks;                   /* caches->forks when it got its owner */
    struct cache *_Atomic *installer; /* the owner's thread_cache, */
    struct magazine *_Atomic *source; /* and its thread_source */
    size_t earned;                    /* bytes by which magazines may still widen */
    size_t spent;                     /* and by which they have */
    _Atomic uint32_t trace;           /* of all magazines, at the last tick */
    counter trimmed;                  /* at this tick the owner emptied it last */
    void *spare;                      /* a large allocation for the next request of as many units … */
    counter spare_units;              /* … as these; 0: there is none */
    size_t spare_share;               /* units of caches->spares that are this cache's */
    uint32_t spare_turn;              /* frees that tried to be kept */
    struct {                          /* an object that the owner may or may not have popped (revoke.c) */
        unsigned class;               /* 0: none */
        slot *top;
        void *object;
    } doubt;
};

struct caches {
    struct bins *bins;
    struct lock registry;       /* of what follows, to key */
    _Atomic uint32_t made;      /* caches there have been at once, at most: numbers below this have memory */
    uint32_t first_warm;        /* of the unused caches that have kept their pages: number + 1; 0: none */
    uint32_t first_cold;        /* of those that have not */
    uint32_t warm;              /* length of the first list */
    uint32_t least_warm;        /* the least that it was since the last tick */
    uint32_t forks;             /* how many forks lie between this process and the first */
    _Atomic bool orphans;       /* caches of threads that a fork left behind are still to be emptied */
    pthread_key_t key;          /* its destructor tells of a thread's end */
    uint16_t first[CLASSES];    /* index of a class's first slot behind struct cache */
    uint16_t capacity[CLASSES]; /* and how many it has */
    _Atomic bool awake;         /* some cache may be installed, or there are more warm ones than few */
    _Atomic bool refused;       /* the system has no membarrier for us: nothing is taken back */
    _Atomic size_t spares;      /* units that caches may keep as spare: the sum of their shares */
    counter ticks;              /* visits by caches_tick */
    counter revocations;        /* caches taken back, ever */
    counter revoked;            /* and the objects in them */
};

/* The calling thread's cache, or the absent one; another thread may replace the former by the latter. */
extern _Thread_local struct cache *_Atomic thread_cache;

/* Where its allocations come from, by class: its cache's magazines, or others while the thread is diverted, or the
 * absent cache's. The owner stores those of its cache here under the cache's lock only, so who takes the cache
 * back and has pointed this elsewhere need not look again. */
extern _Thread_local struct magazine *_Atomic thread_source;

void caches_init(struct caches *caches, struct bins *bins);

/* Who takes a cache back knows by membarrier what its owner has stored. ThreadSanitizer does not know membarrier.
 */
#ifdef __SANITIZE_THREAD__
#define STORED_BEFORE_MEMBARRIER memory_order_release
#else
#define STORED_BEFORE_MEMBARRIER memory_order_relaxed
#endif

/* What a slot holds, for a comparison: compilers fold no atomic load into one. */
static inline void *slot_peek(const slot *s) {
#ifdef __SANITIZE_THREAD__
    return atomic_load_explicit(s, memory_order_relaxed);
#else
    return *(void *const *)s;
#endif
}

/* A magazine is given by how far it lies behind the first of its cache: these are the offsets for the sizes up to
 * CLASS_TABLE_BYTES, as class_table has the classes. */
extern const uint16_t magazine_offsets[CLASS_TABLE_BYTES / CLASS_GRAIN + 1];

static inline struct magazine *magazine_at(void *first, size_t offset) {
    return (struct magazine *)((char *)first + offset);
}

/* Of the calling thread's cache. */
static inline struct magazine *own_magazine_at(size_t offset) {
    return magazine_at(atomic_load_explicit(&thread_cache, memory_order_relaxed), offset);
}

/* An object from the calling thread's cache, or where it is diverted to; NULL where the magazine is empty. */
static inline void *cache_pop_at(size_t offset) {
    struct magazine *m = magazine_at(atomic_load_explicit(&thread_source, memory_order_relaxed), offset);
    lock_jitter_here();
    slot *top = atomic_load_explicit(&m->top, memory_order_relaxed);
    if (UNLIKELY(slot_peek(&top[-1]) == NULL))
        return NULL;
    lock_jitter_here();
    atomic_store_explicit(&m->top, top - 1, STORED_BEFORE_MEMBARRIER);
    lock_jitter_here();
    /* NULL if the cache is being taken back and this pop came too late: then it is undone. */
    atomic_signal_fence(memory_order_seq_cst);
    void *p = atomic_load_explicit(&top[-1], memory_order_relaxed);
    if (UNLIKELY(p == NULL))
        atomic_store_explicit(&m->top, top, STORED_BEFORE_MEMBARRIER);
    return p;
}

/* An object of that class from the calling thread's cache; NULL where the magazine is empty. */
static inline void *cache_pop(unsigned class) {
    return cache_pop_at(class * sizeof(struct magazine));
}

/* Whether p, of that class, is among the last `depth` objects of the calling thread's magazine. */
static inline bool cache_holds(unsigned class, const void *p, size_t depth) {
    const struct magazine *m = own_magazine_at(class * sizeof *m);
    const slot *s = atomic_load_explicit(&m->top, memory_order_relaxed);
    const void *held;
    do {
        held = slot_peek(--s);
        if (held == p)
            return true;
    } while (held != NULL && --depth > 0); /* below the first lies a NULL */
    return false;
}

/* Whether p, of that class, is none of the last `depth` objects of the calling thread's magazine, and that says
 * something: there is room for more than one. */
static inline bool cache_holds_others(unsigned class, const void *p, size_t depth) {
    const struct magazine *m = own_magazine_at(class * sizeof *m);
    const slot *s = atomic_load_explicit(&m->top, memory_order_relaxed), *last = s - depth;
    do {
        const void *held = slot_peek(--s);
        if (held == p)
            return false;
        if (held == NULL) /* below the first */
            return m->end - s > 2;
    } while (s > last);
    return true;
}

/* Keeps an object in the calling thread's cache. False where the magazine is full, or where the object was pushed
 * last before and is now freed twice. */
static inline bool cache_push_at(size_t offset, void *p) {
    struct magazine *m = own_magazine_at(offset);
    lock_jitter_here();
    slot *top = atomic_load_explicit(&m->top, memory_order_relaxed);
    if (UNLIKELY(top == m->end || slot_peek(&top[-1]) == p))
        return false;
    atomic_store_explicit(top, p, memory_order_relaxed);
    lock_jitter_here();
    /* A forked child may find us between the two: the slot must be there before it counts. */
    atomic_store_explicit(&m->top, top + 1, memory_order_release);
    return true;
}

static inline bool cache_push(unsigned class, void *p) {
    return cache_push_at(class * sizeof(struct magazine), p);
}

/* cache_pop where the magazine is empty: fills it first. NULL where the system refuses memory. */
void *cache_refill(struct caches *caches, unsigned class);

/* Has cache_pop take objects from those magazines from now on, one a class, while cache_push goes on as before;
 * NULL: from none. Where the thread's cache is taken back meanwhile, cache_pop finds none until this is called
 * again. */
void cache_divert(struct magazine *source);
void cache_end_diversion(void);

/* The number of the calling thread's cache, which is made if there is none, so that the thread's end will be told
 * of; CACHE_NONE where it can have none. */
#define CACHE_NONE UINT32_MAX
uint32_t cache_number(struct caches *caches);

/* cache_push where the magazine is full: empties a part of it first. */
void cache_overflow(struct caches *caches, unsigned class, void *p);

/* large_alloc from what the calling thread keeps spare, without a lock; NULL where that does not fit. */
void *cache_use_spare(struct caches *caches, size_t size, size_t alignment, bool want_zeroed);

/* Keeps the large allocation at p spare, without a lock, where it is as large as the thread's last request and its
 * cache has room; else false. */
bool cache_keep_spare(struct caches *caches, void *p);

/* The same where that has failed: makes room, or frees it. False where p is no live large allocation. */
bool cache_free_large(struct caches *caches, void *p);

/* Empties the calling thread's cache into the bins. */
void cache_flush(struct caches *caches);

/* At a thread's end: empties its cache and gives it up; the thread's later calls go to the bins. */
void cache_retire(struct caches *caches);

/* In a forked child: marks the caches of all threads but this one for later emptying. */
void caches_after_fork(struct caches *caches);

/* Whether the calling thread is in a slow path of this layer, interrupted by a signal. */
bool caches_are_interrupted(const struct caches *caches);

/* Objects of that class that lie in caches now, about: other threads go on while it counts. */
size_t caches_count(struct caches *caches, unsigned class);

/* Bytes of large allocations that are kept spare now; and as many as may be, which is cheaper to tell. */
size_t caches_spare_bytes(struct caches *caches);

static inline size_t caches_spare_limit(const struct caches *caches) {
    return atomic_load_explicit(&caches->spares, memory_order_relaxed) << UNIT_SHIFT;
}

/* How many caches have an owner. */
size_t caches_in_use(struct caches *caches);

/* Verifies the calling thread's cache; debug. */
void cache_check(struct caches *caches);

#endif
