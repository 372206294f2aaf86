/* Runs of units: the common pool that slabs and large allocations are cut from and go back to.
 *
 * A free run is dirty (its pages may be resident and hold old contents), clean (mapped, reads as zeroes) or
 * unmapped (its addresses are ours by habit only). Neighbours of one state are one run. */
#ifndef NEAP_PAGE_RUN_H
#define NEAP_PAGE_RUN_H

#include "base/counter.h"
#include "os/lock.h"
#include "page/run_tree.h"

enum run_state {
    RUN_DIRTY,
    RUN_CLEAN,
    RUN_UNMAPPED,
    RUN_STATES,               /* states that can be allocated from */
    RUN_PURGING = RUN_STATES, /* on its way from dirty, by a thread that does not hold the lock */
};

struct runs {
    struct lock lock;
    struct space space;
    struct run_tree free[RUN_STATES]; /* the free runs of each state */
    counter free_units[RUN_STATES + 1];
    counter used_units;
    struct list dirty;       /* free dirty runs, oldest first */
    struct list purging;     /* runs being purged */
    counter used_end;        /* units from here on have never been in use */
    counter purged_pages;    /* ever returned to the system, those of slabs too; added to atomically */
    counter refaulted_pages; /* handed out that had been returned; likewise */
    counter large_units;     /* in large allocations, live and spare; likewise */
    counter moves;           /* ranges that pages were moved to: each may be a mapping of its own; likewise */
    _Atomic bool refused;    /* the system would not take back what is dirty now */
    _Atomic bool unmap;      /* return address space too: it counts against a limit */
};

/* False where the first pages cannot be mapped. */
bool runs_init(struct runs *runs, size_t page);

enum run_choice {
    RUN_WARM_FIRST,  /* dirty runs, then clean ones, then more of the system */
    RUN_CLEAN_FIRST, /* the other way round: for pages that are to be zero, or will be replaced */
    RUN_WARM_ONLY,   /* a dirty run or none */
};

struct run_request {
    size_t units;       /* rounded up to the granule */
    size_t align_units; /* power of two: the run's address is a multiple of that many units */
    uint8_t first_kind; /* what the unit map says of its first unit … */
    uint8_t other_kind; /* … and of the others */
    enum run_choice choice;
};

/* Takes the lowest run that fits, of the first state that has one. Returns its first unit and, in *zeroed,
 * whether it reads as zeroes; 0 where there is none or the system refuses. */
size_t run_alloc(struct runs *runs, const struct run_request *request, bool *zeroed);

/* Gives units back that run_alloc gave; any part of a run that is a multiple of the granule. state is RUN_DIRTY,
 * or RUN_CLEAN where the pages are known to have been returned, or RUN_UNMAPPED. */
void run_free(struct runs *runs, size_t unit, size_t units, enum run_state state);

/* Returns the pages of units that the caller owns: unmaps them, where addresses are to go back too, or maps them
 * afresh, where pages were moved there and the kernel could not merge their mapping with its neighbours'. Returns
 * the state that they are in then. Takes no lock. */
enum run_state run_renew(struct runs *runs, size_t unit, size_t units, bool unmap);

/* Makes a run of old_units longer in place, and clears *zeroed where what was added may not read as zeroes.
 * False where what follows is not free. */
bool run_extend(struct runs *runs, size_t unit, size_t old_units, size_t new_units, uint8_t kind, bool *zeroed);

/* Returns the oldest dirty runs to the system, so many units or a little more, or less where that is too much for
 * one call. Returns how many units, 0 where there are none or the system refuses. Makes its system calls without
 * the lock. */
size_t run_purge_oldest(struct runs *runs, size_t units);

/* Time passes: returns to the system what was free and dirty at the last tick already, or, with `all`, everything.
 * Returns how many bytes. System calls are made without the lock, but for those that return pages of metadata. */
size_t runs_tick(struct runs *runs, bool all);

/* Whether a tick, or the one after it, could return something. */
static inline bool runs_pending(const struct runs *runs) {
    return counter_get(&runs->free_units[RUN_DIRTY]) > 0 &&
           !atomic_load_explicit(&runs->refused, memory_order_relaxed);
}

/* Counts those of the pages from `unit` on, which were handed out clean, that had been in use before; `used_end`
 * is runs->used_end of before that. */
static inline void runs_count_refault(struct runs *runs, size_t unit, size_t pages, size_t used_end) {
    if (unit < used_end)
        atomic_fetch_add_explicit(&runs->refaulted_pages,
                                  min_size(pages, space_pages(&runs->space, used_end - unit)),
                                  memory_order_relaxed);
}

/* Gives up the addresses of all clean runs. runs->unmap is set. */
void run_unmap_clean(struct runs *runs);

/* In a forked child, whose other threads are gone, before the lock taken for the fork is released: takes back what
 * they were purging. */
void runs_after_fork(struct runs *runs);

/* Maps the marks (space.h) of all units below `units`. False where the system refuses. */
bool runs_map_marks(struct runs *runs, size_t units);

/* The same of stretches (space.h). */
bool runs_map_stretches(struct runs *runs, size_t units);

/* How many of the units from `unit` on are neither in slabs nor in large allocations. */
size_t runs_count_unused(struct runs *runs, size_t unit, size_t units);

/* Walks everything; debug. */
void runs_check(struct runs *runs);

#endif
