/* fork from a signal handler that has interrupted malloc, free or realloc of its own thread, while other threads
 * allocate. Half of the children exit in the handler, after calls that are safe there; the others return from it,
 * finish what was interrupted, and go on to allocate.
 * Arguments: number of forks; "any": every thread may be interrupted, one at a time. */
#include "preload.h"

#include <stdatomic.h>
#include <sys/time.h>

enum { THREADS = 3, ALIVE_MAX = 6 };

static volatile sig_atomic_t i_am_a_child;
static atomic_size_t forks, reaped;
static atomic_bool enough;  /* forks have been made */
static atomic_bool forking; /* one at a time: two that have interrupted slow paths would wait for each other */
static sigset_t timer;

static void on_timer(int signal) {
    (void)signal;
    if (i_am_a_child || atomic_exchange(&forking, true))
        return;
    int saved = errno;
    size_t n = atomic_load(&forks);
    if (!atomic_load(&enough) && n - atomic_load(&reaped) < ALIVE_MAX) {
        pid_t pid = fork();
        if (pid == 0) {
            child_begins();
            i_am_a_child = 1;
            if (n % 2 == 0)
                _exit(getppid() > 0 ? 0 : 1);
            return;
        }
        atomic_store(&forks, n + 1);
    }
    atomic_store(&forking, false);
    errno = saved;
}

/* Mostly slow paths: magazines run empty and over, runs are cut and joined, pages are moved and returned. */
static void churn(uint64_t *random) {
    enum { OBJECTS = 150 };
    void *objects[OBJECTS];
    size_t size =
        next_random(random) % 16 == 0 ? 20000 + next_random(random) % 200000 : random_size(random) % 4096;
    for (size_t i = 0; i < OBJECTS; i++)
        CHECK((objects[i] = malloc(size)) != NULL);
    for (size_t i = 0; i < OBJECTS; i += 7)
        CHECK((objects[i] = realloc(objects[i], size * 2 + 1)) != NULL);
    for (size_t i = 0; i < OBJECTS; i++)
        free(objects[i]);
}

static void leave_if_child(void) {
    if (!i_am_a_child)
        return;
    exercise((uint64_t)getpid(), 500);
    malloc_trim(0);
    exercise((uint64_t)getpid(), 500);
    _exit(0);
}

static void *work(void *argument) {
    uint64_t random = (uintptr_t)argument;
    be_background();
    while (!atomic_load(&enough)) {
        churn(&random);
        leave_if_child();
    }
    return NULL;
}

/* Threads that are interrupted at their very first allocations. */
static void *briefly(void *argument) {
    uint64_t random = (uintptr_t)argument;
    pthread_sigmask(SIG_UNBLOCK, &timer, NULL);
    churn(&random);
    leave_if_child();
    return NULL;
}

static void *start_threads(void *argument) {
    uint64_t n = (uintptr_t)argument;
    while (!atomic_load(&enough)) {
        pthread_t thread;
        pthread_sigmask(SIG_BLOCK, &timer, NULL); /* glibc's own locks in there are no subject of this */
        CHECK(pthread_create(&thread, NULL, briefly, (void *)(uintptr_t)++n) == 0);
        pthread_detach(thread); /* the child of a thread that waits for another would wait for ever */
        pthread_sigmask(SIG_UNBLOCK, &timer, NULL);
        usleep(300);
        leave_if_child();
    }
    return NULL;
}

static void reap_what_is_there(void) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d: status %#x%s", (int)pid, (unsigned)status,
              WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it was stuck" : "");
        atomic_fetch_add(&reaped, 1);
    }
}

static void stop_forking(void) {
    pthread_sigmask(SIG_BLOCK, &timer, NULL);
    while (atomic_exchange(&forking, true)) {
        leave_if_child();
        usleep(100);
    }
    atomic_store(&enough, true);
}

int main(int argc, char **argv) {
    begin(280);
    size_t wanted = argument(argc, argv, 1500);
    bool any = argc > 2;
    sigemptyset(&timer);
    sigaddset(&timer, SIGPROF);
    CHECK(sigaction(SIGPROF, &(struct sigaction){.sa_handler = on_timer, .sa_flags = SA_RESTART}, NULL) == 0);
    if (!any)
        pthread_sigmask(SIG_BLOCK, &timer, NULL); /* for the threads, which inherit it */
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, any && i == 0 ? start_threads : work, (void *)(i * 1000)) == 0);
    pthread_sigmask(SIG_UNBLOCK, &timer, NULL);
    /* Two timers, so that the signal comes at all points of what is interrupted: one by the wall clock. */
    timer_t clock;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGPROF};
    struct itimerspec often = {{0, 250 * 1000 + 7}, {0, 250 * 1000}};
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &clock) == 0 && timer_settime(clock, 0, &often, NULL) == 0);
    CHECK(setitimer(ITIMER_PROF, &(struct itimerval){{0, 1000}, {0, 1000}}, NULL) == 0);
    uint64_t random = 12345;
    while (!atomic_load(&enough)) {
        churn(&random);
        leave_if_child();
        reap_what_is_there();
        if (!go_on(atomic_load(&forks), wanted))
            stop_forking();
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    while (atomic_load(&reaped) < atomic_load(&forks))
        reap_what_is_there();
    exercise(7, 10000);
    return 0;
}
