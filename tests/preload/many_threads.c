/* A thousand threads alive at once. Each has objects, half of which the main thread frees while they live; they
 * free the rest and each other's, and go. What they needed comes back. */
#include "preload.h"

enum { THREADS = 1000, OBJECTS = 40 };

static pthread_barrier_t made, freed;
static char *objects[THREADS][OBJECTS];

static size_t size_of(size_t thread, size_t i) {
    return (thread * 31 + i * 97) % 3000 + 1;
}

static void *live(void *argument) {
    size_t me = (uintptr_t)argument, other = (me * 7 + 1) % THREADS;
    for (size_t i = 0; i < OBJECTS; i++) {
        CHECK((objects[me][i] = malloc(size_of(me, i))) != NULL);
        fill(objects[me][i], size_of(me, i), me);
    }
    pthread_barrier_wait(&made);
    pthread_barrier_wait(&freed);
    for (size_t i = 0; i < OBJECTS / 2; i++) {
        CHECK(is_filled(objects[other][i], size_of(other, i), other));
        free(objects[other][i]);
    }
    return NULL;
}

static void round_of_threads(void) {
    pthread_t threads[THREADS];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, 64 * KIB) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        int error = pthread_create(&threads[i], &attributes, live, (void *)i);
        CHECK(error == 0, "pthread_create of thread %zu: error %d", i, error);
    }
    pthread_barrier_wait(&made);
    for (size_t i = 0; i < THREADS; i++)
        for (size_t j = OBJECTS / 2; j < OBJECTS; j++) {
            CHECK(is_filled(objects[i][j], size_of(i, j), i));
            free(objects[i][j]);
        }
    pthread_barrier_wait(&freed);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(void) {
    begin(100);
    pthread_barrier_init(&made, NULL, THREADS + 1);
    pthread_barrier_init(&freed, NULL, THREADS + 1);
    round_of_threads();
    malloc_trim(0);
    size_t resident = status_bytes("VmRSS"), size = status_bytes("VmSize"), live_bytes = mallinfo2().uordblks;
    for (size_t i = 0; i < 4; i++)
        round_of_threads();
    malloc_trim(0);
    CHECK(mallinfo2().uordblks < live_bytes + 256 * KIB, "%zu bytes live, then %zu", live_bytes,
          mallinfo2().uordblks);
    CHECK(comes_below("VmRSS", resident + 4 * MIB) < resident + 4 * MIB, "resident %zu, then %zu", resident,
          status_bytes("VmRSS"));
    CHECK(comes_below("VmSize", size + 16 * MIB) < size + 16 * MIB, "mapped %zu, then %zu", size,
          status_bytes("VmSize"));
    return 0;
}
