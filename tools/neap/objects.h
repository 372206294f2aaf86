/* The executable and libraries that a process has mapped, in the order in which its loader looks for symbols.
 *
 * SPDX-License-Identifier: MIT */
#ifndef NEAP_TOOL_OBJECTS_H
#define NEAP_TOOL_OBJECTS_H

#include "process.h"

enum { EXPORTS_MALLOC = 1, EXPORTS_STATE = 2 };

struct object {
    const char *path;
    unsigned exports;     /* EXPORTS_… */
    uint64_t state_value; /* neap_state's address in the file */
    const char *reason;   /* why its file could not be examined, or NULL */
    bool is_ordered;      /* the loader's list has it: the two below are known */
    size_t order;
    uint64_t bias; /* how far it was moved from the addresses in its file */
};

struct objects {
    struct object *list;
    size_t count;
};

/* All that have code mapped, with what their files export. Needs no access to the process's memory. */
void objects_find(const struct process *process, struct objects *objects);

/* Adds order and bias from the loader's list in the process's memory. */
enum objects_order {
    OBJECTS_ORDERED,
    OBJECTS_NO_MEMORY, /* the memory may not be read: errno */
    OBJECTS_LOADING,   /* the loader has the list in its hands at this moment, or has not made it yet */
};
enum objects_order objects_order(const struct process *process, struct objects *objects);

/* The first in order that exports one of these; NULL for none. */
const struct object *objects_first(const struct objects *objects, unsigned exports);

#endif
