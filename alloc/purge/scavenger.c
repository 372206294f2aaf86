/* The thread, and what slow paths do for it. No locks: what is shared is atomic, or constant since the start.
 *
 * Why it is careful. A process with a second thread is refused some system calls (unshare and setns of some
 * namespaces), and the C library locks its streams: so a small or young process gets none. The C library ends a
 * process when its last thread ends by pthread_exit: ours ends before, with the main thread. And the C library
 * calls free, of the memory of threads that have ended, with a lock held that pthread_create takes. */
#include "purge/scavenger.h"

#include <pthread.h>

enum {
    PATIENCE = 256,               /* slow paths: some thousand calls of malloc or free */
    WORTH_BYTES = 1 << 20,        /* less is not worth being woken for */
    CACHE_BYTES_WORTH = 32 << 10, /* what a cache holds, for that reckoning */
    AT_ONCE_BYTES = 4 << 20,      /* so much is worth a thread in a process however young */
};
#define YOUNG      (100 * MILLISECONDS)
#define COARSE_LAG (10 * MILLISECONDS) /* so late the coarse clock may be */

void scavenger_init(struct scavenger *scavenger, struct purge *purge, bool wanted, void (*looked)(void)) {
    scavenger->purge = purge;
    scavenger->looked = looked;
    scavenger->wanted = wanted;
    scavenger->process = os_process_id();
    scavenger->born = os_clock(OS_NOW) - COARSE_LAG;
    atomic_store(&scavenger->patience, PATIENCE);
    atomic_store(&scavenger->state, wanted ? SCAVENGER_NONE : SCAVENGER_OFF);
}

static uint32_t state_of(const struct scavenger *scavenger) {
    return atomic_load_explicit(&scavenger->state, memory_order_acquire);
}

static bool change(struct scavenger *scavenger, uint32_t from, uint32_t to) {
    return atomic_compare_exchange_strong(&scavenger->state, &from, to);
}

static uint64_t look(struct scavenger *scavenger, bool own_thread) {
    uint64_t wait = purge_look(scavenger->purge, own_thread);
    scavenger->looked();
    return wait;
}

/* --- the thread ------------------------------------------------------------------------------------------ */

/* Sleeps until woken. Who freed something just before may have seen us awake: so there is a last look a moment
 * later, when what other processors have stored is seen. */
static void doze(struct scavenger *scavenger) {
    const uint32_t *state = (const uint32_t *)&scavenger->state;
    if (!change(scavenger, SCAVENGER_AWAKE, SCAVENGER_ASLEEP))
        return;
    os_futex_wait_for(state, SCAVENGER_ASLEEP, BUDGET_LOOK);
    if (look(scavenger, true) != PURGE_NOTHING)
        change(scavenger, SCAVENGER_ASLEEP, SCAVENGER_AWAKE);
    while (state_of(scavenger) == SCAVENGER_ASLEEP)
        os_futex_wait(state, SCAVENGER_ASLEEP);
}

static void *run(void *argument) {
    struct scavenger *scavenger = argument;
    os_name_thread("neap-scavenger");
    while (state_of(scavenger) == SCAVENGER_STARTING)
        os_futex_wait((const uint32_t *)&scavenger->state, SCAVENGER_STARTING);
    while (state_of(scavenger) != SCAVENGER_OFF) {
        uint64_t wait = look(scavenger, true);
        if (wait == PURGE_NOTHING)
            doze(scavenger);
        else
            os_futex_wait_for((const uint32_t *)&scavenger->state, SCAVENGER_AWAKE, wait);
    }
    return NULL;
}

/* --- slow paths ------------------------------------------------------------------------------------------ */

/* What a few slow paths may have freed, and more: runs, what threads keep spare, and regions that scopes have
 * left.
 */
static size_t dirty_bytes(const struct scavenger *scavenger) {
    const struct purge *purge = scavenger->purge;
    return (counter_get(&purge->runs->free_units[RUN_DIRTY]) << UNIT_SHIFT) +
           regions_stocked_bytes(purge->regions) + caches_spare_limit(purge->caches);
}

/* Does the thread's work, where there is none, or none yet. */
static void look_instead(struct scavenger *scavenger) {
    uint64_t now = os_clock(OS_NOW_COARSE);
    if (now < atomic_load_explicit(&scavenger->next_look, memory_order_relaxed))
        return;
    atomic_store_explicit(&scavenger->next_look, now + BUDGET_LOOK, memory_order_relaxed);
    look(scavenger, false);
}

static bool is_worth_a_thread(const struct scavenger *scavenger) {
    const struct purge *purge = scavenger->purge;
    size_t dirty = dirty_bytes(scavenger);
    if (dirty < scavenger->inherited + AT_ONCE_BYTES && os_clock(OS_NOW_COARSE) - scavenger->born < YOUNG)
        return false;
    return dirty >= WORTH_BYTES || dense_is_pending(&purge->dense) ||
           purge_returnable(purge) + caches_in_use(purge->caches) * CACHE_BYTES_WORTH >= WORTH_BYTES;
}

/* Not where the end of the main thread would go unnoticed. Not in a child that shares this memory (vfork), or that
 * we were not told of. */
static bool can_start(struct scavenger *scavenger) {
    return atomic_load(&scavenger->main_will_tell) && scavenger->process == os_process_id();
}

/* Called by the C library or its loader, we may be within something that pthread_create cannot be called in. Where
 * all is one object, only free is known to be called with such a lock held. */
static bool is_safe_in(const void *caller, bool frees) {
    return os_is_program_code(caller) || (!frees && !os_knows_program_code());
}

static void start(struct scavenger *scavenger, const void *caller, bool frees) {
    if (!is_worth_a_thread(scavenger))
        return;
    if (!can_start(scavenger) || !is_safe_in(caller, frees)) { /* code made at run time is never safe */
        look_instead(scavenger);
        return;
    }
    if (!change(scavenger, SCAVENGER_NONE, SCAVENGER_STARTING))
        return;
    /* A program that has entered a sandbox since it began may be killed for starting a thread. The start
     * allocates, and comes by here again. */
    bool started = !os_is_confined() && os_start_thread(&scavenger->thread, run, scavenger);
    change(scavenger, SCAVENGER_STARTING, started ? SCAVENGER_AWAKE : SCAVENGER_OFF);
    os_futex_wake_one((const uint32_t *)&scavenger->state);
}

static NOINLINE void think(struct scavenger *scavenger, const void *caller, bool frees) {
    atomic_store_explicit(&scavenger->patience, PATIENCE, memory_order_relaxed);
    if (!purge_is_pending(scavenger->purge))
        return;
    switch (state_of(scavenger)) {
    case SCAVENGER_NONE:
        start(scavenger, caller, frees);
        break;
    case SCAVENGER_ASLEEP:
        if (change(scavenger, SCAVENGER_ASLEEP, SCAVENGER_AWAKE))
            os_futex_wake_one((const uint32_t *)&scavenger->state);
        break;
    case SCAVENGER_OFF:
        look_instead(scavenger);
        break;
    default:
        break;
    }
}

void scavenger_consider(struct scavenger *scavenger, const void *caller, bool frees) {
    uint32_t patience = atomic_load_explicit(&scavenger->patience, memory_order_relaxed);
    if (LIKELY(patience > 0 && dirty_bytes(scavenger) < WORTH_BYTES))
        atomic_store_explicit(&scavenger->patience, patience - 1, memory_order_relaxed);
    else
        think(scavenger, caller, frees);
}

/* --- the main thread ------------------------------------------------------------------------------------- */

/* Its key's destructor. The thread that is left last would run the program's exit handlers: not ours. */
static void main_ends(void *argument) {
    struct scavenger *scavenger = argument;
    uint32_t before = atomic_exchange(&scavenger->state, SCAVENGER_OFF);
    if (before != SCAVENGER_AWAKE && before != SCAVENGER_ASLEEP)
        return;
    os_futex_wake_one((const uint32_t *)&scavenger->state);
    os_join_thread(&scavenger->thread);
}

/* A key so low costs no allocation in any thread: after a fork, that could find our own locks held. */
enum { KEYS_IN_THREAD = 32 };

void scavenger_libraries_are_up(struct scavenger *scavenger) {
    if (os_is_main_thread() && pthread_key_create(&scavenger->key, main_ends) == 0 &&
        scavenger->key < KEYS_IN_THREAD)
        atomic_store(&scavenger->main_will_tell, pthread_setspecific(scavenger->key, scavenger) == 0);
}

void scavenger_after_fork(struct scavenger *scavenger) {
    scavenger->process = os_process_id();
    scavenger->born = os_clock(OS_NOW) - COARSE_LAG;
    scavenger->inherited = dirty_bytes(scavenger);
    if (atomic_load(&scavenger->main_will_tell))
        pthread_setspecific(scavenger->key, scavenger);
    atomic_store(&scavenger->patience, PATIENCE);
    atomic_store(&scavenger->state, scavenger->wanted ? SCAVENGER_NONE : SCAVENGER_OFF);
}
