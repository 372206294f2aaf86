/* Returning free memory, from whichever thread finds that there is too much. Locks: none held over a system call;
 * several threads may pass at once, each with a run of its own. */
#include "purge/purge.h"

#include "os/os.h"

/* Addresses go back too where they count against a limit. The program may set one at any time: what was free and
 * clean before then goes at the first look after. */
static bool must_unmap(struct runs *runs) {
    if (!atomic_load_explicit(&runs->unmap, memory_order_relaxed) && os_address_space_is_limited()) {
        atomic_store_explicit(&runs->unmap, true, memory_order_relaxed);
        run_unmap_clean(runs);
    }
    return atomic_load_explicit(&runs->unmap, memory_order_relaxed);
}

void purge_pass(struct runs *runs) {
    must_unmap(runs);
    size_t limit = counter_get(&runs->free_units[RUN_DIRTY]) / 2;
    for (size_t dirty; (dirty = counter_get(&runs->free_units[RUN_DIRTY])) > limit;)
        if (run_purge_oldest(runs, dirty - limit) == 0)
            break;
}

size_t purge_all(struct runs *runs) {
    bool unmap = must_unmap(runs);
    size_t bytes = runs_tick(runs, true);
    if (unmap)
        run_unmap_clean(runs);
    return bytes;
}
