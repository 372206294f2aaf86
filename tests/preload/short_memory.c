/* Threads that end, and cannot be made, while there is no memory left; and can when there is again. */
#include "preload.h"

#include <stdatomic.h>

enum { THREADS = 8, ROUNDS = 20 };

struct link {
    struct link *next;
};

static _Atomic(struct link *) taken;
static atomic_bool go;

static void take_all(size_t size) {
    for (struct link *l; (l = malloc(size)) != NULL;) {
        l->next = atomic_load(&taken);
        while (!atomic_compare_exchange_weak(&taken, &l->next, l))
            ;
    }
    CHECK(errno == ENOMEM);
}

static void *take_and_leave(void *argument) {
    while (!atomic_load(&go))
        usleep(1000);
    take_all((uintptr_t)argument);
    CHECK(malloc(64 * MIB) == NULL && errno == ENOMEM);
    return NULL;
}

static void *nothing(void *unused) {
    return unused;
}

static int start_wide(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 60 * MIB); /* more than glibc keeps of old stacks */
    int error = pthread_create(&thread, &attributes, nothing, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        CHECK(pthread_join(thread, NULL) == 0);
    return error;
}

int main(void) {
    begin(110);
    CHECK(start_wide() == 0);
    pthread_t threads[THREADS];
    pthread_attr_t small;
    pthread_attr_init(&small);
    CHECK(pthread_attr_setstacksize(&small, 128 * KIB) == 0);
    struct rlimit limit = {.rlim_max = RLIM_INFINITY, .rlim_cur = status_bytes("VmSize") + 150 * MIB};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    for (size_t round = 0; round < ROUNDS; round++) {
        atomic_store(&go, false);
        for (size_t i = 0; i < THREADS; i++) {
            int error = pthread_create(&threads[i], &small, take_and_leave, (void *)(500 + i * i * 1000));
            CHECK(error == 0, "round %zu, thread %zu: error %d", round, i, error);
        }
        if (round % 2 == 0)
            take_all(4000); /* before the threads have a cache: they get none */
        atomic_store(&go, true);
        for (size_t i = 0; i < THREADS; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
        take_all(16);
        int error = start_wide();
        CHECK(error == EAGAIN, "pthread_create without memory: %d", error);
        for (struct link *l = atomic_exchange(&taken, NULL), *next; l != NULL; l = next) {
            next = l->next;
            free(l);
        }
        error = start_wide();
        CHECK(error == 0, "round %zu: pthread_create after all was freed: %d; VmSize %zu of %zu", round, error,
              status_bytes("VmSize"), (size_t)limit.rlim_cur);
    }
    return 0;
}
