/* mlockall(MCL_CURRENT | MCL_FUTURE): every mapping is resident at once. Memory is used and freed as always, the
 * library takes no more than it needs, and what is refused leaves nothing locked. Without the right to lock, a
 * part. */
#include "preload.h"

static size_t locked(void) {
    return status_bytes("VmLck");
}

static void *use(void *argument) {
    exercise((uintptr_t)argument, 20000);
    return NULL;
}

static void burst(size_t objects, size_t size) {
    char **p = malloc(objects * sizeof *p);
    for (size_t i = 0; i < objects; i++) {
        CHECK((p[i] = i % 2 == 0 ? calloc(1, size) : malloc(size)) != NULL);
        CHECK(i % 2 != 0 || (p[i][0] == 0 && memcmp(p[i], p[i] + 1, size - 1) == 0));
        memset(p[i], 0x77, size);
    }
    for (size_t i = 0; i < objects; i++)
        free(p[i]);
    free(p);
}

int main(void) {
    begin(100);
    exercise(1, 20000);
    burst(40, 1 * MIB);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        CHECK(errno == EPERM || errno == ENOMEM);
        exercise(2, 20000);
        return 0;
    }
    size_t at_first = locked();
    exercise(3, 20000);
    for (size_t i = 0; i < 5; i++) {
        burst(60, 1 * MIB);
        burst(50000, 500);
        burst(1000, 20000);
        char *grown = NULL;
        for (size_t size = 4096; size < 16 * MIB; size += size / 4) {
            CHECK((grown = realloc(grown, size)) != NULL);
            memset(grown, 1, size);
        }
        free(grown);
        pthread_t threads[4];
        for (size_t n = 0; n < 4; n++)
            CHECK(pthread_create(&threads[n], NULL, use, (void *)(i + n)) == 0);
        for (size_t n = 0; n < 4; n++)
            CHECK(pthread_join(threads[n], NULL) == 0);
    }
    malloc_trim(0);
    /* Stacks of 8 MiB that glibc keeps, and the library's own. */
    CHECK(locked() < at_first + 200 * MIB, "%zu MiB locked at first, then %zu", at_first / MIB, locked() / MIB);
    size_t resident = status_bytes("VmRSS"), before = locked();
    for (size_t size = 64 * GIB; size < (size_t)1 << 46; size *= 2) { /* far more than there is */
        void *volatile p = malloc(size);
        CHECK(p == NULL && errno == ENOMEM, "%zu GiB, locked", size / GIB);
    }
    CHECK(locked() < before + 16 * MIB && status_bytes("VmRSS") < resident + 16 * MIB,
          "what was refused left %zu MiB locked that were %zu", locked() / MIB, before / MIB);
    CHECK(munlockall() == 0);
    exercise(4, 20000);
    return 0;
}
