/* pthread_cancel of threads that are in malloc, free, realloc, malloc_stats, malloc_info most of their time:
 * nothing of the allocator stays locked. Cancellation is deferred, or asynchronous between the calls. */
#include "preload.h"

#include <stdatomic.h>

enum { THREADS = 4, ROUNDS = 60 };

static atomic_size_t loops;

static void loop_done(void) {
    atomic_fetch_add_explicit(&loops, 1, memory_order_relaxed);
    pthread_testcancel();
}

static _Thread_local void *held;

static void free_held(void *unused) {
    (void)unused;
    free(held);
}

static void *allocate(void *argument) {
    uint64_t random = (uintptr_t)argument;
    pthread_cleanup_push(free_held, NULL);
    for (;;) {
        size_t size = random_size(&random);
        CHECK((held = realloc(held, size + 1)) != NULL);
        free(calloc(1, size));
        loop_done();
    }
    pthread_cleanup_pop(1);
    return NULL;
}

static void *allocate_and_compute(void *argument) {
    uint64_t random = (uintptr_t)argument;
    int old;
    pthread_cleanup_push(free_held, NULL);
    for (;;) {
        size_t size = random_size(&random);
        CHECK((held = realloc(held, size + 1)) != NULL);
        loop_done();
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
        for (size_t i = 0; i < 100; i++)
            next_random(&random);
        pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old);
    }
    pthread_cleanup_pop(1);
    return NULL;
}

static void *print_stats(void *unused) {
    (void)unused;
    for (;;) {
        malloc_stats(); /* to a stderr that is /dev/null */
        loop_done();
    }
    return NULL;
}

static void close_it(void *file) {
    fclose(file);
}

static void *print_info(void *unused) {
    (void)unused;
    FILE *file = fopen("/dev/null", "w");
    CHECK(file != NULL);
    setvbuf(file, NULL, _IONBF, 0); /* every piece is a write, and a place where threads are cancelled */
    pthread_cleanup_push(close_it, file);
    for (;;) {
        CHECK(malloc_info(0, file) == 0);
        loop_done();
    }
    pthread_cleanup_pop(1);
    return NULL;
}

int main(void) {
    begin(110);
    complaints = dup(STDERR_FILENO);
    int null = open("/dev/null", O_WRONLY);
    CHECK(dup2(null, STDERR_FILENO) == STDERR_FILENO);
    void *(*const roles[])(void *) = {allocate, allocate_and_compute, print_stats, print_info};
    uint64_t random = 5;
    for (size_t round = 0; go_on(round, ROUNDS); round++)
        for (size_t role = 0; role < sizeof roles / sizeof *roles; role++) {
            pthread_t threads[THREADS];
            atomic_store(&loops, 0);
            for (size_t i = 0; i < THREADS; i++)
                CHECK(pthread_create(&threads[i], NULL, roles[role], (void *)(round * THREADS + i)) == 0);
            while (atomic_load(&loops) < 10)
                usleep(100);
            usleep((useconds_t)(next_random(&random) % 1000));
            for (size_t i = 0; i < THREADS; i++)
                CHECK(pthread_cancel(threads[i]) == 0);
            for (size_t i = 0; i < THREADS; i++) {
                void *result;
                CHECK(pthread_join(threads[i], &result) == 0 && result == PTHREAD_CANCELED);
            }
            exercise(round, 300);
            malloc_trim(0);
        }
    return 0;
}
