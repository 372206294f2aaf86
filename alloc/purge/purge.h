/* When free memory goes back to the system. */
#ifndef NEAP_PURGE_PURGE_H
#define NEAP_PURGE_PURGE_H

#include "page/run.h"

/* Whether more free memory is resident than may be. Cheap: two loads. */
static inline bool purge_is_due(const struct runs *runs) {
    enum { FLOOR_UNITS = 512, SHARE = 8 }; /* 8 MiB, or an eighth of what is in use if that is more */
    size_t dirty = counter_get(&runs->free_units[RUN_DIRTY]);
    return UNLIKELY(dirty > FLOOR_UNITS) && dirty > counter_get(&runs->used_units) / SHARE;
}

/* Returns the oldest free memory to the system until half of what may be resident is left. */
void purge_pass(struct runs *runs);

/* Returns all free memory to the system. Returns how many bytes. */
size_t purge_all(struct runs *runs);

#endif
