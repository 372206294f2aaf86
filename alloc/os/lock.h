/* Mutual exclusion. A lock is one word that holds its owner, so that a signal handler can tell the locks that
 * its own thread holds. Zeroed memory is a free lock.
 *
 * Lock order: a thread's cache lock or that of the bins' tick first, then at most one of the others: the registry,
 * a bin and the runs are never held together. So whoever holds one of them finishes without waiting for another,
 * and fork may take all of them in any order. Debug builds assert it at every acquisition. */
#ifndef NEAP_OS_LOCK_H
#define NEAP_OS_LOCK_H

#include <stdbool.h>
#include <stdint.h>

enum lock_rank {
    RANK_CACHE,    /* one thread's cache, in its owner's slow paths and while it is taken back */
    RANK_TICK,     /* the right to look for free pages in slabs */
    RANK_REGISTRY, /* the caches that are there */
    RANK_BIN,      /* one size class */
    RANK_RUNS,     /* runs of units and the space they lie in */
};

struct lock {
    _Atomic uint32_t word; /* 0, or the owner's id, with LOCK_WAITERS where somebody may sleep */
    uint16_t rank;
    bool for_fork; /* taken by lock_acquire_for_fork */
};

void lock_init(struct lock *lock, enum lock_rank rank);
void lock_acquire(struct lock *lock);
void lock_release(struct lock *lock);

/* Takes the lock if nobody has it. */
bool lock_try_acquire(struct lock *lock);

/* For fork, which may come from a signal handler that interrupted a slow path of its own thread: takes the lock
 * unless the thread holds it already, and gives back what was so taken. False where another thread keeps it for
 * long. */
bool lock_acquire_for_fork(struct lock *lock);
void lock_release_after_fork(struct lock *lock);

#ifndef NDEBUG
/* For stress tests: one in so many acquisitions, releases and places in the fast paths gives the processor away
 * first; 0: none. */
extern unsigned lock_jitter;
void lock_jitter_here(void);
#else
static inline void lock_jitter_here(void) {
}
#endif

/* A number above 0 that no other thread of the process has, nor has had; the same in a forked child's copy of the
 * thread. */
uint32_t lock_thread_id(void);

/* The lock_thread_id of who holds the lock; 0: nobody. */
uint32_t lock_holder(const struct lock *lock);

/* Whether the calling thread holds it; async-signal-safe. */
bool lock_is_mine(const struct lock *lock);

/* In a forked child: frees a lock whose holder is not there. Nobody but the calling thread may wait for it. */
void lock_break(struct lock *lock);

#endif
