/* A program that has libneap.a inside, static, static PIE or dynamic, and no LD_PRELOAD. */
#include "preload.h"

static void *use(void *argument) {
    exercise((uintptr_t)argument, 20000);
    return NULL;
}

static void child(void *unused) {
    (void)unused;
    exercise(5, 5000);
}

int main(void) {
    alarm(60);
    CHECK((neap_state.flags & NEAP_STATE_IN_FRONT) != 0);
    char *p = malloc(100), *duplicate = strdup("neap");
    CHECK((neap_state.flags & NEAP_STATE_READY) != 0);
    CHECK((uintptr_t)p >= neap_state.heap_base && (uintptr_t)p < neap_state.heap_end);
    CHECK((uintptr_t)duplicate >= neap_state.heap_base && (uintptr_t)duplicate < neap_state.heap_end);
    neap_free(p);
    free(neap_realloc(duplicate, 1000000));
    exercise(1, 50000);
    for (size_t round = 0; round < 3; round++) {
        pthread_t threads[4];
        for (size_t i = 0; i < 4; i++)
            CHECK(pthread_create(&threads[i], NULL, use, (void *)i) == 0);
        for (size_t i = 0; i < 20; i++)
            in_child(child, NULL);
        for (size_t i = 0; i < 4; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
    }
    FILE *file = fopen("/dev/null", "w");
    CHECK(file != NULL && fprintf(file, "%zu", mallinfo2().uordblks) > 0 && malloc_info(0, file) == 0);
    fclose(file);
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){200 * MIB, 200 * MIB}) == 0);
    CHECK(OPAQUE(malloc(GIB)) == NULL && errno == ENOMEM);
    return 0;
}
