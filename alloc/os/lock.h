/* Mutual exclusion. A lock is one word that holds its owner, so that a signal handler can tell the locks that
 * its own thread holds. Zeroed memory is a free lock.
 *
 * Lock order: a thread's cache lock or that of the bins' tick first, then at most one of the others: the registry,
 * a bin, the scopes and the runs are never held together. So whoever holds one of them finishes without waiting
 * for another, and fork may take all of them in any order. Debug builds assert it at every acquisition. */
#ifndef NEAP_OS_LOCK_H
#define NEAP_OS_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum lock_rank {
    RANK_CACHE,    /* one thread's cache, in its owner's slow paths and while it is taken back */
    RANK_TICK,     /* the right to look for free pages in slabs */
    RANK_REGISTRY, /* the caches that are there */
    RANK_BIN,      /* one size class */
    RANK_SCOPES,   /* regions and scopes */
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

/* A lock that one thread, its owner, takes again and again without an atomic operation. Others have to ask: they
 * learn by membarrier whether the owner is within (K. Kawachiya, A. Koseki and T. Onodera, "Lock Reservation",
 * OOPSLA 2002, with the system's barrier in place of a stopped thread). Zeroed memory is a free one. */
struct owned_lock {
    struct lock others;
    _Atomic bool owner_within;
    _Atomic bool asked; /* whoever holds `others` is within, or about to look whether the owner is */
};

void owned_lock_init(struct owned_lock *lock, enum lock_rank rank);

/* For others: takes the lock unless somebody is within, or the system has no membarrier for us; the latter clears
 * *possible. */
bool owned_lock_try_acquire(struct owned_lock *lock, bool *possible);

/* The same of a lock whose owner is no more. */
void owned_lock_inherit(struct owned_lock *lock);

void owned_lock_release(struct owned_lock *lock);

/* Whether the calling thread, not as the owner, is within; and whether the owner is, whoever that is. */
bool owned_lock_is_mine(const struct owned_lock *lock);

static inline bool owned_lock_owner_is_within(const struct owned_lock *lock) {
    return atomic_load_explicit(&lock->owner_within, memory_order_relaxed);
}

/* In a forked child: frees what somebody held who is not there. False where there was nothing. */
bool owned_lock_break(struct owned_lock *lock);

#ifndef NDEBUG
void lock_note_acquired(const struct lock *lock);
void lock_note_released(const struct lock *lock);
#else
static inline void lock_note_acquired(const struct lock *lock) {
    (void)lock;
}
static inline void lock_note_released(const struct lock *lock) {
    (void)lock;
}
#endif

void owned_lock_wait(struct owned_lock *lock);

static inline void owned_lock_enter(struct owned_lock *lock) {
    atomic_store_explicit(&lock->owner_within, true, memory_order_relaxed);
    lock_jitter_here();
    atomic_signal_fence(memory_order_seq_cst); /* membarrier makes it one for the processor where it matters */
    if (__builtin_expect(atomic_load_explicit(&lock->asked, memory_order_acquire), false))
        owned_lock_wait(lock);
    lock_note_acquired(&lock->others);
}

static inline void owned_lock_leave(struct owned_lock *lock) {
    lock_note_released(&lock->others);
    lock_jitter_here();
    atomic_store_explicit(&lock->owner_within, false, memory_order_release);
}

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
