/* fork while other threads are inside stdio, which holds locks of its own when it calls malloc, and which fork
 * takes as well: the deadlock of fflush(NULL) and getline against allocators' fork handlers. Argument: number of
 * forks. */
#include "preload.h"

#include <stdatomic.h>

static atomic_bool stop;
static atomic_size_t done[5];

enum { ROLES = 5, TURNS = 10 };

static bool more(size_t who) {
    if (done[who] == 0)
        be_background();
    atomic_fetch_add_explicit(&done[who], 1, memory_order_relaxed);
    return !atomic_load_explicit(&stop, memory_order_relaxed);
}

static void *flush_all(void *unused) {
    (void)unused;
    while (more(0))
        fflush(NULL); /* takes the lock of the list of streams, then that of each stream */
    return NULL;
}

static void *read_lines(void *unused) {
    (void)unused;
    FILE *file = tmpfile();
    CHECK(file != NULL);
    for (size_t i = 1; i <= 20; i++)
        fprintf(file, "%*zu\n", (int)(i * 997 % 20000), i);
    while (more(1)) {
        rewind(file);
        for (;;) {
            char *line = NULL;
            size_t capacity = 0;
            if (getline(&line, &capacity, file) < 0) { /* grows the line under the stream's lock */
                free(line);
                break;
            }
            free(line);
        }
    }
    fclose(file);
    return NULL;
}

static void *open_and_close(void *unused) {
    (void)unused;
    while (more(2)) {
        FILE *file = fopen("/dev/null", "w");
        CHECK(file != NULL);
        fprintf(file, "%s", "something");
        fclose(file);
    }
    return NULL;
}

static void *write_to_memory(void *unused) {
    (void)unused;
    while (more(3)) {
        char *text = NULL;
        size_t size = 0;
        FILE *file = open_memstream(&text, &size); /* a flush of it reallocates, under both locks */
        CHECK(file != NULL);
        for (size_t i = 0; i < 200; i++)
            fprintf(file, "%zu %0100zu\n", i, i);
        fclose(file);
        CHECK(size > 200 * 100);
        free(text);
    }
    return NULL;
}

static void *allocate(void *unused) {
    (void)unused;
    for (uint64_t seed = 1; more(4); seed++)
        exercise(seed, 1000);
    return NULL;
}

/* They get the processor last, and on a busy machine late. */
static bool all_had_turns(void) {
    for (size_t i = 0; i < ROLES; i++)
        if (done[i] <= TURNS)
            return false;
    return true;
}

static void child(size_t n) {
    child_begins();
    FILE *file = fopen("/dev/null", "w");
    CHECK(file != NULL);
    CHECK(fprintf(file, "%zu\n", n) > 0 && fflush(file) == 0);
    exercise(n, 100);
    fclose(file);
    _exit(0); /* exit would flush streams whose threads are gone in the middle of something */
}

int main(int argc, char **argv) {
    begin(280);
    size_t forks = argument(argc, argv, 800);
    void *(*const roles[])(void *) = {flush_all, read_lines, open_and_close, write_to_memory, allocate};
    _Static_assert(sizeof roles / sizeof *roles == ROLES, "");
    pthread_t threads[ROLES];
    for (size_t i = 0; i < ROLES; i++)
        CHECK(pthread_create(&threads[i], NULL, roles[i], NULL) == 0);
    for (size_t n = 0; go_on(n, forks) || !all_had_turns(); n++) {
        pid_t pid = fork();
        if (pid == 0)
            child(n);
        reap(pid);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < ROLES; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    return 0;
}
