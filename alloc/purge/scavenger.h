/* The scavenger: a thread that returns the free memory of a process which does not call us. It is started when
 * there is something to return, looks while there is, and sleeps without waking up while there is not. Where there
 * can be no thread, slow paths look as they come by. */
#ifndef NEAP_PURGE_SCAVENGER_H
#define NEAP_PURGE_SCAVENGER_H

#include "os/os.h"
#include "purge/purge.h"

enum scavenger_state {
    SCAVENGER_NONE,     /* not needed yet */
    SCAVENGER_STARTING, /* some thread is about to create it */
    SCAVENGER_AWAKE,    /* it looks from time to time */
    SCAVENGER_ASLEEP,   /* it waits to be woken */
    SCAVENGER_OFF,      /* there is none, and will be none in this process */
};

struct scavenger {
    _Alignas(CACHE_LINE) _Atomic uint32_t state; /* enum scavenger_state; the thread sleeps on it */
    _Atomic uint32_t patience;                   /* slow paths to come before the next thought; they race for it */
    _Atomic uint64_t next_look;                  /* by slow paths, where there is no thread */
    _Atomic bool main_will_tell; /* of the main thread's end we will hear, by the destructor of this key */
    pthread_key_t key;
    bool wanted; /* by the user */
    uint32_t process;
    uint64_t born;
    size_t inherited;        /* dirty bytes that were there at birth, of a forked child */
    struct os_thread thread; /* valid while state is AWAKE or ASLEEP */
    struct purge *purge;
    void (*looked)(void); /* called after every look */
};

void scavenger_init(struct scavenger *scavenger, struct purge *purge, bool wanted, void (*looked)(void));

/* In our constructor, before main: the C library can start threads from now on. */
void scavenger_libraries_are_up(struct scavenger *scavenger);

/* In a forked child, where there is no thread but the caller, which is the main thread from now on. */
void scavenger_after_fork(struct scavenger *scavenger);

/* What is behind scavenger_notice. */
void scavenger_consider(struct scavenger *scavenger, const void *caller, bool frees);

/* At the end of every slow path, outside all locks of ours. `caller` is the code that called us, to free or to
 * allocate. */
static inline void scavenger_notice(struct scavenger *scavenger, const void *caller, bool frees) {
    if (atomic_load_explicit(&scavenger->state, memory_order_relaxed) != SCAVENGER_AWAKE)
        scavenger_consider(scavenger, caller, frees);
}

#endif
