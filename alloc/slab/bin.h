/* Bins: one a size class, for the whole process. A bin knows the slabs of its class that have free objects, in
 * lists by how full they are, and serves from the fullest, so that the emptiest can become free.
 *
 * bins->runs is set; everything else works from zeroed memory after bins_init. */
#ifndef NEAP_SLAB_BIN_H
#define NEAP_SLAB_BIN_H

#include "base/counter.h"
#include "page/run.h"
#include "slab/slab.h"

enum { BIN_LEVELS = 8 };

struct bin {
    _Alignas(CACHE_LINE) struct lock lock;
    uint32_t filled;                 /* bit l: partial[l] is not empty */
    uint32_t level_factor;           /* (free objects - 1) * this / 2^16 is a slab's level */
    counter slabs;                   /* that there are */
    counter allocated;               /* objects that have left the slabs: live ones and those in caches */
    struct list partial[BIN_LEVELS]; /* slabs with free objects; level 0 is the fullest */
};

struct bins {
    struct runs *runs;
    struct divisor divisors[UNIT_KINDS];
    struct bin bin[CLASSES];
};

void bins_init(struct bins *bins, struct runs *runs);

/* Takes between 1 and `count` objects of that class and stores pointers to them, those of one slab in rising
 * order. Returns how many; 0 where the system refuses memory. */
size_t bin_refill(struct bins *bins, unsigned class, size_t count, void **objects);

/* Takes `count` objects of that class back. Slabs that become empty go back to the runs. An object that is free
 * already is skipped, and returned; NULL where all was well. */
void *bin_flush(struct bins *bins, unsigned class, size_t count, void *const *objects);

/* Whether the object at p, of that class, is free in its slab: not allocated and in no cache. Takes no lock; the
 * answer is right for an object that nobody allocates or frees meanwhile. */
bool bin_holds(const struct bins *bins, unsigned class, const void *p);

/* Walks every bin and slab; debug. */
void bins_check(struct bins *bins);

#endif
