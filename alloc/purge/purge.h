/* When free memory goes back to the system: by age, in passes that a budget spaces; by bytes, at once, where a
 * free finds that too much of it is resident; and all of it on demand. */
#ifndef NEAP_PURGE_PURGE_H
#define NEAP_PURGE_PURGE_H

#include "cache/cache.h"
#include "page/run.h"
#include "purge/budget.h"
#include "purge/dense.h"
#include "scope/region.h"
#include "slab/bin.h"

struct purge {
    struct caches *caches;
    struct bins *bins;
    struct regions *regions;
    struct runs *runs;
    struct dense dense;   /* off unless dense_init was called */
    size_t permille;      /* of the program's CPU time, for what was returned too early */
    _Atomic bool looking; /* some thread is in purge_look, and owns what follows, to fruitless */
    bool begun;           /* the budget is valid */
    struct budget budget;
    unsigned fruitless;      /* passes in a row that found nothing, in a silent process */
    _Atomic uint64_t spent;  /* CPU time that returning memory took, in nanoseconds */
    counter passes;          /* by age */
    counter refault_price;   /* measured, in nanoseconds a page; 0: not yet */
    counter return_price;    /* likewise */
    counter delay;           /* between two passes, in nanoseconds */
    counter refaulted_limit; /* once runs->refaulted_pages is there, frees return nothing at once … */
    counter moves_limit;     /* … until runs->moves is here */
};

void purge_init(struct purge *purge, struct caches *caches, struct bins *bins, struct regions *regions,
                struct runs *runs, size_t permille);

/* Whether a look, or one soon after, could return something, or find huge pages to make. Cheap. */
bool purge_is_pending(const struct purge *purge);

/* Bytes that passes could return, about: visits every bin. */
size_t purge_returnable(const struct purge *purge);

/* Looks whether a pass is due and makes it; own_thread: called by a thread that is not the program's. Returns
 * after how many nanoseconds to look again, or PURGE_NOTHING where nothing is left that could be returned. One
 * thread looks at a time; another returns at once. */
#define PURGE_NOTHING UINT64_MAX
uint64_t purge_look(struct purge *purge, bool own_thread);

/* Whether a free has left more memory dirty than it may, and that is to go at once: the budget has room for an
 * error, or what it costs is not page faults but addresses or mappings, of which there are only so many. Cheap:
 * two loads, seldom more. */
static inline bool purge_is_due(const struct purge *purge) {
    enum { FLOOR_UNITS = 512, SHARE = 8 }; /* 8 MiB, or an eighth of what is in use if that is more */
    const struct runs *runs = purge->runs;
    size_t dirty = counter_get(&runs->free_units[RUN_DIRTY]);
    return UNLIKELY(dirty > FLOOR_UNITS) && dirty > counter_get(&runs->used_units) / SHARE &&
           (counter_get(&runs->refaulted_pages) < counter_get(&purge->refaulted_limit) ||
            counter_get(&runs->moves) > counter_get(&purge->moves_limit) ||
            atomic_load_explicit(&runs->unmap, memory_order_relaxed));
}

/* Returns the oldest free runs to the system until half of what is resident of them is left. */
void purge_excess(struct purge *purge);

/* Takes all threads' caches back and returns all free memory to the system. Returns how many bytes. */
size_t purge_all(struct purge *purge);

/* In a forked child: nobody is looking, and sums begin anew. */
void purge_after_fork(struct purge *purge);

#endif
