/* A program whose own global symbols have names that neap uses inside. */
#include "proof.h"

#include <stdlib.h>
#include <string.h>

int heap = 1, thread_cache = 2, class_table = 3, absent = 4, windows = 5;

#define OWN(name)                                                                                                 \
    int name(int x);                                                                                              \
    int name(int x) {                                                                                             \
        return x + heap;                                                                                          \
    }
#define EACH(act)                                                                                                 \
    act(runs_init) act(run_alloc) act(run_free) act(bins_init) act(bin_refill) act(caches_init) act(make)         \
        act(cache_refill) act(cache_overflow) act(heap_alloc) act(heap_free) act(heap_check) act(lock_acquire)    \
            act(lock_release) act(os_map) act(os_purge) act(os_die) act(os_say) act(move) act(reach) act(place)   \
                act(space_init) act(slab_make) act(large_alloc) act(purge_all) act(fork_init) act(options_read)

EACH(OWN)

#define CALL(name) sum += name(1);

#ifdef CORE
#define ALLOCATE neap_malloc
#define RELEASE  neap_free
#else
#define ALLOCATE malloc
#define RELEASE  free
#endif

int main(void) {
    int sum = 0, functions = 0;
    void *p = NULL;
    for (size_t i = 0; i < 1000; i++) {
        p = ALLOCATE(i * 100);
        memset(p, 0xff, i * 100);
        if (i < 999)
            RELEASE(p);
    }
    EACH(CALL)
#define COUNT(name) functions++;
    EACH(COUNT)
    expect(heap == 1 && thread_cache == 2 && class_table == 3 && absent == 4 && windows == 5,
           "a variable has changed");
    expect(sum == 2 * functions, "a function is not the program's own");
    int result = verdict(p);
    RELEASE(p);
    return result;
}
