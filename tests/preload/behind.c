/* Beside another library with a malloc. "behind": that one is behind neap in LD_PRELOAD, and never called.
 * "in_front": it comes first, and neap says that it is not the process's malloc, and does not come between its
 * malloc and its realloc with a reallocarray. "clock": beside one that has the clock and allocates in it. */
#include "preload.h"

int main(int argc, char **argv) {
    CHECK(argc == 2);
    if (strcmp(argv[1], "clock") == 0) {
        int *reads = dlsym(RTLD_DEFAULT, "other_clock_reads");
        begin(30);
        exercise(1, 20000);
        struct timespec now;
        CHECK(reads != NULL && clock_gettime(CLOCK_MONOTONIC, &now) == 0 && *reads > 0,
              "the other library is not loaded");
        return 0;
    }
    int *calls = dlsym(RTLD_DEFAULT, "other_calls");
    CHECK(calls != NULL, "the other library is not loaded");
    if (strcmp(argv[1], "in_front") == 0) {
        const struct neap_state *state = library_state();
        CHECK(state != NULL && (state->flags & NEAP_STATE_IN_FRONT) == 0,
              "neap takes itself for the process's malloc");
        int before = *calls;
        free(malloc(100));
        CHECK(*calls == before + 2);
        free(reallocarray(malloc(100), 3, 100));
        CHECK(*calls == before + 5);
        return 0;
    }
    begin(30);
    exercise(1, 20000);
    void *(*asks)(size_t) = NULL;
    void (*frees)(void *) = NULL;
    *(void **)&asks = dlsym(RTLD_DEFAULT, "other_asks_for");
    *(void **)&frees = dlsym(RTLD_DEFAULT, "other_frees");
    void *p = asks(100), *q = malloc(100);
    uintptr_t base = (uintptr_t)library_state()->heap_base, end = (uintptr_t)library_state()->heap_end;
    CHECK((uintptr_t)p >= base && (uintptr_t)p < end, "code of the other library got memory that is not neap's");
    free(p);
    frees(q);
    CHECK(*calls == 0, "the other malloc was called %d times", *calls);
    return 0;
}
