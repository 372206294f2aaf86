/* The heap's background thread, for tests of what it could change at any time. */
#ifndef TEST_SCAVENGER_H
#define TEST_SCAVENGER_H

#include "front/heap.h"

#include <sched.h>

static unsigned scavenger_holders; /* of the one thread that holds it */

/* From here on it looks at nothing, and is not within, until it is let go as often. */
static inline void scavenger_hold(void) {
    if (scavenger_holders++ == 0)
        while (atomic_exchange(&heap.purge.looking, true))
            sched_yield();
}

static inline void scavenger_let_go(void) {
    if (--scavenger_holders == 0)
        atomic_store(&heap.purge.looking, false);
}

#endif
