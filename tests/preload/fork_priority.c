/* A thread with real-time priority forks while ordinary ones, on the same processor, are in the middle of
 * allocating: they must get the processor to finish. Who does not let them have it uses it up himself until the
 * kernel takes it from him, after about a second; that is too late. */
#include "preload.h"

#include <sched.h>

enum { THREADS = 3, FORKS = 40 };

static void *churn(void *argument) {
    void *objects[200];
    for (;;) {
        for (size_t i = 0; i < 200; i++)
            CHECK((objects[i] = malloc(2000 + i * 8)) != NULL);
        for (size_t i = 0; i < 200; i++)
            free(objects[i]);
    }
    return argument;
}

/* Not the time that goes by: the machine may be busy with something else. */
static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(void) {
    begin(60);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    pthread_t thread;
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread, NULL, churn, NULL) == 0);
    int error = pthread_setschedparam(pthread_self(), SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
    if (error == EPERM)
        _exit(0); /* for those only who may */
    CHECK(error == 0);
    size_t late = 0;
    for (size_t i = 0; i < FORKS; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 3000000 + (long)i * 100000}, NULL);
        double start = seconds();
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        late += seconds() - start > 0.4;
        reap(child);
    }
    CHECK(late <= 1, "%zu of %d forks took more than 0.4 seconds of CPU time", late, FORKS);
    _exit(0);
}
