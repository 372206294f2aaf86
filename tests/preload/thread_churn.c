/* Very many threads, one after the other and some at once, which leave objects behind for others to free. Memory
 * does not grow with their number. Argument: number of threads. */
#include "preload.h"

enum { AT_ONCE = 8, LEFT = 5 };

struct left {
    char *p[LEFT];
};

static void *live_briefly(void *argument) {
    struct left *left = argument;
    uint64_t random = (uintptr_t)argument;
    for (size_t i = 0; i < 30; i++) {
        size_t size = next_random(&random) % 2000;
        free(malloc(size));
    }
    for (size_t i = 0; i < LEFT; i++) {
        CHECK((left->p[i] = malloc(100 * i + 1)) != NULL);
        fill(left->p[i], 100 * i + 1, i);
    }
    free(left->p[0]);
    left->p[0] = NULL;
    return NULL;
}

static void some_threads(void) {
    struct left left[AT_ONCE];
    pthread_t threads[AT_ONCE];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, 64 * KIB) == 0); /* however many are alive at once */
    for (size_t i = 0; i < AT_ONCE; i++)
        CHECK(pthread_create(&threads[i], &attributes, live_briefly, &left[i]) == 0);
    pthread_attr_destroy(&attributes);
    for (size_t i = 0; i < AT_ONCE; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (size_t i = 0; i < AT_ONCE; i++)
        for (size_t j = 1; j < LEFT; j++) {
            CHECK(is_filled(left[i].p[j], 100 * j + 1, j));
            free(left[i].p[j]);
        }
}

int main(int argc, char **argv) {
    begin(280);
    size_t threads = argument(argc, argv, 20000), gone = 0, resident = 0, size = 0;
    for (; go_on(gone, threads); gone += AT_ONCE) {
        some_threads();
        if (gone < threads / 20) { /* warm by then, but for what has just been returned */
            resident = larger(resident, status_bytes("VmRSS"));
            size = larger(size, status_bytes("VmSize"));
        }
    }
    CHECK(status_bytes("VmRSS") < resident + 1 * MIB, "resident %zu, after %zu threads %zu", resident, gone,
          status_bytes("VmRSS"));
    CHECK(status_bytes("VmSize") < size + 16 * MIB, "mapped %zu, after %zu threads %zu", size, gone,
          status_bytes("VmSize"));
    return 0;
}
