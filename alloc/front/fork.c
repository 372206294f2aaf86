/* fork in a threaded program: every lock but those of caches is held over it, so that the child finds the bins and
 * runs whole. Caches stay unlocked, for their owners may hold them while they wait for a bin; the child takes
 * what lies in those that were at rest (cache.c).
 *
 * Two traps. glibc takes the lock of its list of streams after our handlers, and a thread that holds that one
 * (fflush(NULL), getline) may wait in malloc for what we hold: so we take it first; it is recursive. And fork may
 * be called by a signal handler that interrupted a slow path of its own thread: what the thread holds is skipped
 * here, and is still its own in the child. */
#include "front/heap.h"

extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

static void each_lock(void (*act)(struct lock *)) {
    act(&heap.caches.registry);
    for (unsigned c = 1; c < CLASSES; c++)
        act(&heap.bins.bin[c].lock);
    act(&heap.runs.lock);
}

/* A process that forks before its first allocation has nothing to hold. */
static bool heap_is_held;

static bool can_hold_streams(void) {
    return _IO_list_lock != NULL && _IO_list_unlock != NULL && _IO_list_resetlock != NULL;
}

static void prepare(void) {
    if (can_hold_streams())
        _IO_list_lock();
    heap_is_held = heap_is_made();
    if (heap_is_held)
        each_lock(lock_acquire_for_fork);
}

static void parent(void) {
    if (heap_is_held)
        each_lock(lock_release_after_fork);
    if (can_hold_streams())
        _IO_list_unlock();
}

static void child(void) {
    if (heap_is_held) {
        caches_after_fork(&heap.caches);
        runs_after_fork(&heap.runs);
        each_lock(lock_release_after_fork);
    }
    /* glibc has reset the lock already in a threaded process, and released it nowhere in another. */
    if (can_hold_streams())
        _IO_list_resetlock();
}

void fork_init(void) {
    pthread_atfork(prepare, parent, child);
}
