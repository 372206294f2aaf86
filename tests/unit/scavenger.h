/* The heap's background thread, for tests of what it could change at any time. */
#ifndef TEST_SCAVENGER_H
#define TEST_SCAVENGER_H

#include "front/heap.h"

#include <sched.h>

/* From here on it looks at nothing, and is not within. The heap is made. */
static inline void scavenger_hold(void) {
    while (atomic_exchange(&heap.purge.looking, true))
        sched_yield();
}

static inline void scavenger_let_go(void) {
    atomic_store(&heap.purge.looking, false);
}

#endif
