/* A process that closes every descriptor, as daemons do, and opens its own in their place: the library neither
 * needs one nor writes into somebody's. */
#include "preload.h"

static void *use(void *argument) {
    exercise((uintptr_t)argument, 5000);
    return NULL;
}

static void without_files(void *unused) {
    (void)unused;
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int fd = 0; fd < (int)limit.rlim_cur; fd++)
        close(fd);
    exercise(1, 20000);
    malloc_stats(); /* to nowhere */
    char *file = strdup("/tmp/neap-closed-XXXXXX");
    int fd = mkstemp(file);
    if (fd != 0 || dup(fd) != 1 || dup(fd) != 2)
        _exit(2);
    unlink(file);
    free(file);
    exercise(2, 20000);
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        if (pthread_create(&threads[i], NULL, use, (void *)i) != 0)
            _exit(3);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    if (setrlimit(RLIMIT_AS, &(struct rlimit){200 * MIB, 200 * MIB}) != 0)
        _exit(4);
    exercise(3, 20000);
    if (malloc(GIB) != NULL)
        _exit(5);
    malloc_trim(0);
    if (lseek(fd, 0, SEEK_END) != 0)
        _exit(6); /* somebody wrote into it */
}

/* How many descriptors there are. */
static size_t open_files(void) {
    size_t n = 0;
    for (int fd = 0; fd < 1000; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

int main(void) {
    begin(60);
    size_t before = open_files();
    exercise(1, 10000);
    malloc_trim(0);
    CHECK(open_files() == before, "%zu descriptors, then %zu", before, open_files());
    in_child(without_files, NULL);
    return 0;
}
