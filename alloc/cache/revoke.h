/* Taking caches back from idle threads: revocation. Any thread may do it, whatever the owner is blocked in; the
 * owner finds its cache empty at its next slow path, which its next operation is. */
#ifndef NEAP_CACHE_REVOKE_H
#define NEAP_CACHE_REVOKE_H

#include "cache/cache.h"

/* One visit: takes back what is in the caches whose owners did nothing since the last visit; `all`: in every one
 * but the calling thread's own, as far as no owner is in a slow path. Returns how many objects. Nothing is taken
 * where the system refuses membarrier. Unused caches that were not needed since the last visit lose their pages.
 */
size_t caches_tick(struct caches *caches, bool all);

/* Whether there may be anything for caches_tick to take or to wait for: cheap. Becomes true only in slow paths
 * and at a thread's end. */
static inline bool caches_pending(const struct caches *caches) {
    return atomic_load_explicit(&caches->awake, memory_order_relaxed) &&
           !atomic_load_explicit(&caches->refused, memory_order_relaxed);
}

#endif
