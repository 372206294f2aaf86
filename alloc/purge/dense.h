/* Huge pages where memory is dense (the option thp:dense). A stretch of 2 MiB of the heap that has been in use and
 * resident as a whole for a while is made one huge page, by the scavenger's thread. Nothing becomes resident that
 * was not. While little of it is free it stays one: what is free in it is not returned by age. When more is, it is
 * memory as any other.
 *
 * The caller keeps other threads away, but for dense_is_pending. */
#ifndef NEAP_PURGE_DENSE_H
#define NEAP_PURGE_DENSE_H

#include "slab/bin.h"

struct dense {
    struct bins *bins; /* NULL: never any huge page */
    size_t from;       /* units below this are shared with a parent: a huge page would be a copy */
    counter lent;      /* and units below this perhaps with a child */
    counter seen;      /* units that were in use at the last look */
};

/* Where the system cannot make huge pages on demand, all stays off. */
void dense_init(struct dense *dense, struct bins *bins);

/* Looks at all of the heap, and makes a few huge pages. Whether there may be more to make soon. may_open: where
 * there may be children, a file tells what is shared with them; else nothing that may be is made huge. */
bool dense_look(struct dense *dense, bool may_open);

/* Whether so much more is in use than at the last look that there may be stretches nobody has seen. */
static inline bool dense_is_pending(const struct dense *dense) {
    return UNLIKELY(dense->bins != NULL) &&
           counter_get(&dense->bins->runs->used_units) >= counter_get(&dense->seen) + HUGE_UNITS;
}

/* Before a fork; and after it, in the child. */
void dense_before_fork(struct dense *dense);
void dense_after_fork(struct dense *dense);

#endif
