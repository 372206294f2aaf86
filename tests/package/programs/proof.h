/* Tells neap's objects from others. Its references to neap are weak, so that a program which includes it
 * pulls nothing out of libneap.a by that: only the program's own calls do.
 *
 * SPDX-License-Identifier: MIT */
#ifndef PROOF_H
#define PROOF_H

#include <neap/neap.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#pragma weak neap_state

static unsigned wrong;

static inline bool neap_is_there(void) {
    return &neap_state != NULL;
}

static inline bool from_neap(const void *p) {
    return neap_is_there() && neap_state.heap_base != 0 && (uintptr_t)p >= neap_state.heap_base &&
           (uintptr_t)p < neap_state.heap_end;
}

static inline void expect(bool good, const char *what) {
    if (!good) {
        printf("wrong: %s\n", what);
        wrong++;
    }
}

/* The last line of every program, and its exit status. What it says is what was found, not what was hoped
 * for. */
static inline int verdict(const void *p) {
    bool front = neap_is_there() && (neap_state.flags & NEAP_STATE_IN_FRONT) != 0;
    printf("malloc is %s, neap is %s\n", from_neap(p) ? "neap's" : "not neap's",
           !neap_is_there() ? "absent"
           : front          ? "in front"
                            : "behind");
    return wrong != 0;
}

#endif
