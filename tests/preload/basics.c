/* neap is in front, says so, and the heap it speaks of is the one that memory comes from; also before main. */
#include "preload.h"

static char *early;

static void before_constructors(int argc, char **argv, char **environment) {
    (void)argc, (void)argv, (void)environment;
    early = malloc(100);
    if (early != NULL)
        fill(early, 100, 1);
}

__attribute__((section(".preinit_array"), used)) static void (*preinit)(int, char **,
                                                                        char **) = before_constructors;

static bool in_heap(const struct neap_state *state, const void *p) {
    return (uintptr_t)p >= state->heap_base && (uintptr_t)p < state->heap_end;
}

int main(void) {
    begin(30);
    const struct neap_state *state = library_state();
    void *p = malloc(1), *large = malloc(1 * MIB), *duplicate = strdup("neap");
    CHECK(memcmp(state->magic, "neap 1\0", 8) == 0);
    CHECK(state->size >= sizeof(struct neap_state));
    CHECK((state->flags & NEAP_STATE_READY) != 0);
    CHECK(state->version[0] >= '0' && state->version[0] <= '9');
    CHECK(in_heap(state, p) && in_heap(state, large), "%p and %p are not in the heap", p, large);
    CHECK(in_heap(state, duplicate), "strdup's memory is not of this heap");
    CHECK(early != NULL && in_heap(state, early) && is_filled(early, 100, 1), "malloc before all constructors");
    void *grown = realloc(large, 100 * MIB);
    CHECK(grown != NULL && in_heap(state, grown) && in_heap(state, (char *)grown + 100 * MIB - 1),
          "heap_end does not follow realloc");
    free(p), free(grown), free(duplicate), free(early), free(NULL);
    exercise(1, 100000);
    return 0;
}
