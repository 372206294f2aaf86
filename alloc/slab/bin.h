/* Bins: one a size class, for the whole process. A bin knows the slabs of its class that have free objects, in
 * lists by how full they are, and serves from the fullest, so that the emptiest can become free.
 *
 * In front of its slabs a bin has a depot: an array of free objects that one thread's cache was too full for and
 * another's, or the same one's, may soon be too empty for. They pass without a look at their slabs. It holds what
 * goes to and fro, not what a program frees for good: once more is freed than it has room for it is emptied and
 * stays closed until the next tick, or until the bin needs a new slab; and each tick empties it
 * (docs/decisions/0009-misses.md). After J. Bonwick and J. Adams, "Magazines and Vmem", 2001.
 *
 * bins->runs is set; everything else works from zeroed memory after bins_init. */
#ifndef NEAP_SLAB_BIN_H
#define NEAP_SLAB_BIN_H

#include "base/counter.h"
#include "page/run.h"
#include "slab/slab.h"

enum {
    BIN_LEVELS = 8,
    BIN_FLUSH_MOST = 64, /* objects at a time */
    DEPOT_SLOTS = 12078, /* all depots together */
    DEPOT_NOTES = 64,    /* each */
};

struct bin {
    _Alignas(CACHE_LINE) struct lock lock;
    uint32_t filled;                 /* bit l: partial[l] is not empty */
    counter slabs;                   /* that there are */
    counter allocated;               /* objects that have left the bin: live ones and those in caches */
    counter in_depot;                /* objects */
    _Atomic bool depot_closed;       /* changed under the lock */
    struct list partial[BIN_LEVELS]; /* slabs with free objects; level 0 is the fullest; zeroes at first */
};

/* What is constant of a class's slabs. */
struct bin_shape {
    uint32_t sparse_from;  /* a slab with so many free objects may have free pages */
    uint32_t level_factor; /* (free objects - 1) * this / 2^16 is a slab's level */
    uint16_t depot;        /* index of the depot's first slot */
    uint16_t depot_most;   /* objects that it may hold */
};

struct bins {
    struct runs *runs;
    struct lock ticking;   /* held over a tick: one thread at a time holds pages of slabs */
    _Atomic size_t sparse; /* slabs that may have free dirty pages */
    _Atomic bool refused;  /* the system would not take back what is free and dirty now */
    _Atomic bool depots;   /* some may hold something */
    _Atomic bool orphans;  /* pages are held by a thread that a fork left behind */
    struct divisor divisors[UNIT_KINDS];
    struct bin_shape shape[CLASSES];
    _Atomic uint8_t thin[CLASSES]; /* ticks in a row at which the bin was, 2 at most; read without its lock */
    struct bin bin[CLASSES];
    void *depot[DEPOT_SLOTS];
    void *noted[CLASSES][DEPOT_NOTES]; /* some of what lies in the depots, by address */
};

void bins_init(struct bins *bins, struct runs *runs);

/* Takes between 1 and `count` objects of that class and stores pointers to them: what was handed over last comes
 * last, what comes from one slab comes in falling order. Returns how many; 0 where the system refuses memory. */
size_t bin_refill(struct bins *bins, unsigned class, size_t count, void **objects);

/* Takes `count` objects of that class back, BIN_FLUSH_MOST at most. Slabs that become empty go back to the runs.
 * An object that is free already is skipped, and returned; NULL where all was well. */
void *bin_flush(struct bins *bins, unsigned class, size_t count, void *const *objects);

/* The same for objects that some thread may soon want again: they go to the depot while there is room. */
void *bin_hand_over(struct bins *bins, unsigned class, size_t count, void *const *objects);

/* Gives what lies in the depots to the slabs. Returns an object that was free already, or NULL. */
void *bins_empty_depots(struct bins *bins);

/* Of its depot (depot.c), under its lock: puts objects there, for which there is room, and returns one that lay
 * there already, or NULL; takes up to `count`, what was put there last coming last, and returns how many. */
void *depot_put(struct bins *bins, unsigned class, size_t count, void *const *objects);
size_t depot_take(struct bins *bins, unsigned class, size_t count, void **objects);

/* Ends the process where an object was found to be free already: p, unless it is NULL. */
void die_if_freed_twice(const void *p);

/* Time passes: empties the depots, and returns free pages of slabs to the system that were free at the last tick
 * already, or, with `all`, every one. Returns how many bytes. Holds no bin over a system call. */
size_t bins_tick(struct bins *bins, bool all);

/* Whether a tick, or the one after it, could return something. */
static inline bool bins_pending(const struct bins *bins) {
    return atomic_load_explicit(&bins->depots, memory_order_relaxed) ||
           (atomic_load_explicit(&bins->sparse, memory_order_relaxed) > 0 &&
            !atomic_load_explicit(&bins->refused, memory_order_relaxed));
}

/* Whether the objects of that class have lain far apart for a while: less than half of what its slabs hold. */
static inline bool bin_is_thin(const struct bins *bins, unsigned class) {
    return UNLIKELY(atomic_load_explicit(&bins->thin[class], memory_order_relaxed) == 2);
}

/* In a forked child, whose other threads are gone: what they held is put back at the next tick. */
void bins_after_fork(struct bins *bins);

/* Whether the calling thread holds a lock of this layer, interrupted by a signal. */
bool bins_are_interrupted(const struct bins *bins);

/* Whether the object at p, of that class, is free in its slab: not allocated and in no cache or depot. Takes no
 * lock; the answer is right for an object that nobody allocates or frees meanwhile. */
bool bin_holds(const struct bins *bins, unsigned class, const void *p);

/* Walks every bin and slab; debug. */
void bins_check(struct bins *bins);

#endif
