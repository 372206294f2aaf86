/* fork in a threaded program: every lock but those of caches and of the tick is held over it, so that the child
 * finds the bins and runs whole. Caches stay unlocked, for their owners may hold them while they wait for a bin;
 * the child takes what lies in those that were at rest (cache.c).
 *
 * Three traps. glibc takes the lock of its list of streams after our handlers, and a thread that holds that one
 * (fflush(NULL), getline) may wait in malloc for what we hold: so we take it first; it is recursive. fork may be
 * called by a signal handler that interrupted a slow path of its own thread: what the thread holds is skipped
 * here, and is still its own in the child; and nobody waits for a bin while he holds the streams, for the bin's
 * holder may be such a handler that waits for the streams. And a signal handler that forks while we fork would
 * release what we hold: signals are blocked meanwhile. */
#include "front/heap.h"

extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

static bool acquire_all(void) {
    if (!lock_acquire_for_fork(&heap.making))
        return false;
    if (!heap_is_made()) /* the other locks are no locks yet */
        return true;
    bool acquired = lock_acquire_for_fork(&heap.caches.registry);
    for (unsigned c = 1; c < CLASSES && acquired; c++)
        acquired = lock_acquire_for_fork(&heap.bins.bin[c].lock);
    acquired = acquired && lock_acquire_for_fork(&heap.scopes.regions.lock);
    return acquired && lock_acquire_for_fork(&heap.runs.lock);
}

static void release_all(void) {
    lock_release_after_fork(&heap.making);
    if (!heap_is_made())
        return;
    lock_release_after_fork(&heap.caches.registry);
    for (unsigned c = 1; c < CLASSES; c++)
        lock_release_after_fork(&heap.bins.bin[c].lock);
    lock_release_after_fork(&heap.scopes.regions.lock);
    lock_release_after_fork(&heap.runs.lock);
}

/* Of the fork under way; written by the thread that holds the locks. */
static struct os_signals signals_before;

static bool can_hold_streams(void) {
    return _IO_list_lock != NULL && _IO_list_unlock != NULL && _IO_list_resetlock != NULL;
}

static void prepare(void) {
    enum { PAUSE = 50000 }; /* nanoseconds */
    static const uint32_t never;
    struct os_signals before = os_block_signals();
    for (;;) {
        if (can_hold_streams())
            _IO_list_lock();
        if (acquire_all())
            break;
        release_all();
        if (can_hold_streams())
            _IO_list_unlock();
        /* Asleep, not by os_yield: a thread with real-time priority yields only to its equals, and the lock's
         * holder may be waiting for this processor. */
        os_futex_wait_for(&never, 0, PAUSE);
    }
    if (heap_is_made())
        dense_before_fork(&heap.purge.dense);
    signals_before = before;
}

static void parent(void) {
    struct os_signals before = signals_before;
    release_all();
    if (can_hold_streams())
        _IO_list_unlock();
    os_restore_signals(&before);
}

static void child(void) {
    struct os_signals before = signals_before;
    if (heap_is_made()) {
        caches_after_fork(&heap.caches);
        bins_after_fork(&heap.bins);
        scopes_after_fork(&heap.scopes);
        regions_after_fork(&heap.scopes.regions);
        runs_after_fork(&heap.runs);
        purge_after_fork(&heap.purge);
    }
    release_all();
    if (heap_is_made())
        scavenger_after_fork(&heap.scavenger);
    /* glibc has reset the lock already in a threaded process, and released it nowhere in another. */
    if (can_hold_streams())
        _IO_list_resetlock();
    os_restore_signals(&before);
}

void fork_init(void) {
    static _Atomic bool done;
    if (!atomic_exchange(&done, true))
        pthread_atfork(prepare, parent, child);
}
