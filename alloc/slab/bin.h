/* Bins: one a size class, for the whole process. A bin knows the slabs of its class that have free objects, in
 * lists by how full they are, and serves from the fullest, so that the emptiest can become free.
 *
 * bins->runs is set; everything else works from zeroed memory after bins_init. */
#ifndef NEAP_SLAB_BIN_H
#define NEAP_SLAB_BIN_H

#include "base/counter.h"
#include "page/run.h"
#include "slab/slab.h"

enum { BIN_LEVELS = 8, BIN_FLUSH_MOST = 64 /* objects at a time */ };

struct bin {
    _Alignas(CACHE_LINE) struct lock lock;
    uint32_t filled;                 /* bit l: partial[l] is not empty */
    counter slabs;                   /* that there are */
    counter allocated;               /* objects that have left the slabs: live ones and those in caches */
    struct list partial[BIN_LEVELS]; /* slabs with free objects; level 0 is the fullest; zeroes at first */
};

/* What is constant of a class's slabs. */
struct bin_shape {
    uint32_t sparse_from;  /* a slab with so many free objects may have free pages */
    uint32_t level_factor; /* (free objects - 1) * this / 2^16 is a slab's level */
};

struct bins {
    struct runs *runs;
    struct lock ticking;   /* held over a tick: one thread at a time holds pages of slabs */
    _Atomic size_t sparse; /* slabs that may have free dirty pages */
    _Atomic bool refused;  /* the system would not take back what is free and dirty now */
    _Atomic bool orphans;  /* pages are held by a thread that a fork left behind */
    struct divisor divisors[UNIT_KINDS];
    struct bin_shape shape[CLASSES];
    _Atomic uint8_t thin[CLASSES]; /* ticks in a row at which the bin was, 2 at most; read without its lock */
    struct bin bin[CLASSES];
};

void bins_init(struct bins *bins, struct runs *runs);

/* Takes between 1 and `count` objects of that class and stores pointers to them, those of one slab in falling
 * order. Returns how many; 0 where the system refuses memory. */
size_t bin_refill(struct bins *bins, unsigned class, size_t count, void **objects);

/* Takes `count` objects of that class back, BIN_FLUSH_MOST at most. Slabs that become empty go back to the runs.
 * An object that is free already is skipped, and returned; NULL where all was well. */
void *bin_flush(struct bins *bins, unsigned class, size_t count, void *const *objects);

/* Time passes: returns free pages of slabs to the system that were free at the last tick already, or, with `all`,
 * every one. Returns how many bytes. Holds no bin over a system call. */
size_t bins_tick(struct bins *bins, bool all);

/* Whether a tick, or the one after it, could return something. */
static inline bool bins_pending(const struct bins *bins) {
    return atomic_load_explicit(&bins->sparse, memory_order_relaxed) > 0 &&
           !atomic_load_explicit(&bins->refused, memory_order_relaxed);
}

/* Whether the objects of that class have lain far apart for a while: less than half of what its slabs hold. */
static inline bool bin_is_thin(const struct bins *bins, unsigned class) {
    return UNLIKELY(atomic_load_explicit(&bins->thin[class], memory_order_relaxed) == 2);
}

/* In a forked child, whose other threads are gone: what they held is put back at the next tick. */
void bins_after_fork(struct bins *bins);

/* Whether the calling thread holds a lock of this layer, interrupted by a signal. */
bool bins_are_interrupted(const struct bins *bins);

/* Whether the object at p, of that class, is free in its slab: not allocated and in no cache. Takes no lock; the
 * answer is right for an object that nobody allocates or frees meanwhile. */
bool bin_holds(const struct bins *bins, unsigned class, const void *p);

/* Walks every bin and slab; debug. */
void bins_check(struct bins *bins);

#endif
