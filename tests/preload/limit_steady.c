/* Under RLIMIT_AS, threads that allocate and free all sizes for a while, and together never have more than a
 * quarter of the limit: no allocation fails, and the address space does not fill with what was freed. Argument:
 * the limit in MiB. */
#include "preload.h"

#include <stdatomic.h>

enum { THREADS = 3, SLOTS = 64 };

static size_t limit;

static void *work(void *argument) {
    struct {
        char *p;
        size_t size;
    } slots[SLOTS] = {{0}};
    uint64_t random = (uintptr_t)argument;
    size_t live = 0, share = limit / 4 / THREADS;
    for (size_t i = 0; i < 60000; i++) {
        size_t n = next_random(&random) % SLOTS;
        size_t size = next_random(&random) % 4 == 0 ? next_random(&random) % (limit / 64) : random_size(&random);
        if (live - slots[n].size + size > share)
            size = 0;
        char *p = next_random(&random) % 3 == 0 && size > 0 ? realloc(slots[n].p, size) : NULL;
        if (p == NULL) {
            free(slots[n].p);
            p = next_random(&random) % 4 == 0 ? calloc(1, size) : malloc(size);
        }
        CHECK(p != NULL, "step %zu: %zu bytes, where this thread has %zu MiB, the process %zu of %zu MiB", i, size,
              live / MIB, status_bytes("VmSize") / MIB, limit / MIB);
        live += size - slots[n].size;
        slots[n].p = p, slots[n].size = size;
        if (size > 0)
            p[0] = p[size - 1] = 'x';
    }
    for (size_t n = 0; n < SLOTS; n++)
        free(slots[n].p);
    return NULL;
}

int main(int argc, char **argv) {
    begin(100);
    limit = argument(argc, argv, 512) * MIB;
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit}) == 0);
    for (size_t round = 0; round < 3; round++) {
        pthread_t threads[THREADS];
        for (size_t i = 0; i < THREADS; i++)
            CHECK(pthread_create(&threads[i], NULL, work, (void *)(round * THREADS + i)) == 0);
        for (size_t i = 0; i < THREADS; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
        malloc_trim(0);
        CHECK(status_bytes("VmSize") < limit / 2, "%zu MiB mapped after all was freed, of %zu",
              status_bytes("VmSize") / MIB, limit / MIB);
    }
    return 0;
}
