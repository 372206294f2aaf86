/* Locks on a futex word (the third mutex of "Futexes Are Tricky", Drepper 2011), with the owner's id in it.
 *
 * Ids are handed out by a counter at a thread's first lock, not taken from gettid: they stay the same across
 * fork, so what a thread holds in the parent its copy holds in the child. */
#include "os/lock.h"

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

#define LOCK_WAITERS 0x80000000u

enum { SPINS = 100 };

static _Thread_local uint32_t thread_id;

uint32_t lock_thread_id(void) {
    static _Atomic uint32_t last_id;
    while (UNLIKELY(thread_id == 0))
        thread_id = (atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1) & ~LOCK_WAITERS;
    return thread_id;
}

static unsigned spins(void) {
    static _Atomic unsigned count; /* 0: not known yet */
    unsigned n = atomic_load_explicit(&count, memory_order_relaxed);
    if (UNLIKELY(n == 0)) {
        n = os_processors() > 1 ? SPINS : 1;
        atomic_store_explicit(&count, n, memory_order_relaxed);
    }
    return n;
}

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

#ifndef NDEBUG
unsigned lock_jitter;

void lock_jitter_here(void) {
    static _Thread_local uint32_t state;
    if (lock_jitter != 0 && mix32(state++ ^ lock_thread_id() << 20) % lock_jitter == 0)
        os_yield();
}

static _Thread_local uint32_t held[RANK_RUNS + 1]; /* how many locks of each rank this thread holds */

void lock_note_acquired(const struct lock *lock) {
    ASSERT(lock->rank > RANK_TICK || held[RANK_CACHE] + held[RANK_TICK] == 0);
    for (uint32_t rank = RANK_REGISTRY; rank <= RANK_RUNS; rank++)
        ASSERT(held[rank] == 0);
    held[lock->rank]++;
}
void lock_note_released(const struct lock *lock) {
    ASSERT(held[lock->rank] > 0);
    held[lock->rank]--;
}
#endif

void lock_init(struct lock *lock, enum lock_rank rank) {
    atomic_init(&lock->word, 0);
    lock->rank = (uint16_t)rank;
    lock->for_fork = false;
}

static NOINLINE void acquire_slow(struct lock *lock, uint32_t me) {
    uint32_t seen;
    for (unsigned i = spins(); i > 0; i--) {
        seen = 0;
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_weak_explicit(&lock->word, &seen, me, memory_order_acquire,
                                                  memory_order_relaxed))
            return;
        pause_briefly();
    }
    for (;;) {
        /* Whoever has slept here cannot know whether others still do, so it takes the lock as contended. */
        seen = 0;
        if (atomic_compare_exchange_strong_explicit(&lock->word, &seen, me | LOCK_WAITERS, memory_order_acquire,
                                                    memory_order_relaxed))
            return;
        if ((seen & LOCK_WAITERS) != 0 ||
            atomic_compare_exchange_strong_explicit(&lock->word, &seen, seen | LOCK_WAITERS, memory_order_relaxed,
                                                    memory_order_relaxed))
            os_futex_wait((const uint32_t *)&lock->word, seen | LOCK_WAITERS);
    }
}

static void acquire(struct lock *lock) {
    uint32_t me = lock_thread_id(), seen = 0;
    if (UNLIKELY(!atomic_compare_exchange_strong_explicit(&lock->word, &seen, me, memory_order_acquire,
                                                          memory_order_relaxed)))
        acquire_slow(lock, me);
}

static void release(struct lock *lock) {
    uint32_t before = atomic_exchange_explicit(&lock->word, 0, memory_order_release);
    if (UNLIKELY((before & LOCK_WAITERS) != 0))
        os_futex_wake_one((const uint32_t *)&lock->word);
}

void lock_acquire(struct lock *lock) {
    ASSERT(!lock_is_mine(lock));
    lock_jitter_here();
    acquire(lock);
    lock_note_acquired(lock);
}

bool lock_try_acquire(struct lock *lock) {
    uint32_t seen = 0;
    lock_jitter_here();
    bool acquired = atomic_compare_exchange_strong_explicit(&lock->word, &seen, lock_thread_id(),
                                                            memory_order_acquire, memory_order_relaxed);
    if (acquired)
        lock_note_acquired(lock);
    return acquired;
}

void lock_release(struct lock *lock) {
    ASSERT(lock_is_mine(lock));
    lock_note_released(lock);
    lock_jitter_here();
    release(lock);
}

void owned_lock_init(struct owned_lock *lock, enum lock_rank rank) {
    lock_init(&lock->others, rank);
    atomic_init(&lock->owner_within, false);
    atomic_init(&lock->asked, false);
}

/* The owner, once it has seen that somebody asked: who may have found it within and given up, or be within himself
 * until he releases `others`. */
void owned_lock_wait(struct owned_lock *lock) {
    acquire(&lock->others);
    release(&lock->others);
}

bool owned_lock_try_acquire(struct owned_lock *lock, bool *possible) {
    if (!lock_try_acquire(&lock->others))
        return false;
    atomic_store_explicit(&lock->asked, true, memory_order_relaxed);
    lock_jitter_here();
    /* After it, an owner that has not entered will see that we asked, and we see one that has. */
    *possible = os_membarrier();
    if (*possible && !atomic_load_explicit(&lock->owner_within, memory_order_acquire))
        return true;
    owned_lock_release(lock);
    return false;
}

void owned_lock_inherit(struct owned_lock *lock) {
    lock_acquire(&lock->others);
}

void owned_lock_release(struct owned_lock *lock) {
    atomic_store_explicit(&lock->asked, false, memory_order_release);
    lock_release(&lock->others);
}

bool owned_lock_is_mine(const struct owned_lock *lock) {
    return lock_is_mine(&lock->others);
}

bool owned_lock_break(struct owned_lock *lock) {
    uint32_t holder = lock_holder(&lock->others);
    if (holder == 0 || holder == thread_id)
        return false;
    lock_break(&lock->others);
    atomic_store_explicit(&lock->asked, false, memory_order_relaxed);
    return true;
}

bool lock_acquire_for_fork(struct lock *lock) {
    uint32_t me = lock_thread_id(), seen = 0;
    if (lock_is_mine(lock))
        return true;
    for (int patience = 1000; patience > 0; patience--, seen = 0) {
        if (atomic_compare_exchange_weak_explicit(&lock->word, &seen, me, memory_order_acquire,
                                                  memory_order_relaxed)) {
            lock->for_fork = true;
            return true;
        }
        pause_briefly();
        if (patience % 100 == 0)
            os_yield();
    }
    return false;
}

void lock_release_after_fork(struct lock *lock) {
    if (!lock->for_fork || !lock_is_mine(lock))
        return;
    lock->for_fork = false;
    release(lock);
}

uint32_t lock_holder(const struct lock *lock) {
    return atomic_load_explicit(&lock->word, memory_order_relaxed) & ~LOCK_WAITERS;
}

bool lock_is_mine(const struct lock *lock) {
    uint32_t holder = lock_holder(lock);
    return holder != 0 && holder == thread_id;
}

void lock_break(struct lock *lock) {
    atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
}
