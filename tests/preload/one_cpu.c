/* One processor for all threads: nobody spins for what only another thread can give. */
#include "preload.h"

#include <sched.h>

static void *use(void *argument) {
    exercise((uintptr_t)argument, 20000);
    return NULL;
}

static void run_threads(void) {
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, use, (void *)i) == 0);
    for (size_t i = 0; i < 8; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(int argc, char **argv) {
    begin(100);
    if (argc == 1) {
        cpu_set_t set;
        CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
        size_t cpu = 0;
        while (!CPU_ISSET(cpu, &set))
            cpu++;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        run_threads(); /* on all of them first */
        CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
        run_threads();
        execl(argv[0], argv[0], "again", (char *)NULL); /* then on one from the start */
        CHECK(false, "exec");
    }
    run_threads();
    return 0;
}
