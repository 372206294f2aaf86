/* A process without /proc, in a mount namespace of its own; without the right to make one, nothing but allocation
 * is looked at. */
#include "preload.h"

#include <sched.h>
#include <sys/mount.h>

static void *use(void *argument) {
    exercise((uintptr_t)argument, 5000);
    return NULL;
}

int main(int argc, char **argv) {
    begin(60);
    if (argc == 1 && unshare(CLONE_NEWNS) == 0) {
        CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        CHECK(mount("none", "/proc", "tmpfs", 0, NULL) == 0);
        CHECK(access("/proc/self/status", F_OK) != 0);
        execl(argv[0], argv[0], "without", (char *)NULL);
        CHECK(false, "exec");
    }
    exercise(1, 50000);
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, use, (void *)i) == 0);
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){300 * MIB, 300 * MIB}) == 0);
    exercise(2, 50000);
    CHECK(malloc(GIB) == NULL && errno == ENOMEM);
    malloc_trim(0);
    pid_t child = fork();
    if (child == 0) {
        child_begins();
        exercise(3, 5000);
        _exit(0);
    }
    reap(child);
    return 0;
}
