/* fork, many times, from a process in which four threads allocate all the time. Children use what they inherited,
 * allocate, free, start threads, fork again, and exit.
 * Arguments: number of forks; "limited": under RLIMIT_AS, where free memory gives its addresses back. */
#include "preload.h"

#include <stdatomic.h>

enum { THREADS = 4, SLOTS = 256, MINE = 200 };

static _Atomic(char *) slots[SLOTS]; /* objects that any thread may take out and free */
static atomic_bool stop;
static bool limited;

static void *work(void *argument) {
    uint64_t random = (uintptr_t)argument;
    be_background();
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        size_t size = random_size(&random);
        if (limited && next_random(&random) % 16 == 0)
            size = next_random(&random) % (8 * MIB);
        char *p = next_random(&random) % 4 == 0 ? calloc(1, size) : malloc(size);
        CHECK(p != NULL || limited);
        if (p != NULL && next_random(&random) % 4 == 0) {
            char *moved = realloc(p, size + size / 2 + 1);
            CHECK(moved != NULL || limited);
            p = moved != NULL ? moved : p;
        }
        if (p != NULL && size > 0)
            p[0] = p[size - 1] = 'x';
        free(atomic_exchange(&slots[next_random(&random) % SLOTS], p));
    }
    return NULL;
}

static void *a_thread_of_the_child(void *argument) {
    exercise((uintptr_t)argument, 200);
    return NULL;
}

struct object {
    char *p;
    size_t size;
};

static struct object mine[MINE];

static void child(size_t n) {
    child_begins();
    for (size_t i = n % 2; i < MINE; i += 2) {
        CHECK(is_filled(mine[i].p, mine[i].size, i), "inherited object %zu is damaged", i);
        free(mine[i].p);
    }
    exercise(n, 300);
    if (limited) { /* all that was free in the parent, whatever another thread was doing to it */
        enum { BLOCKS = 48 };
        char *blocks[BLOCKS];
        for (size_t i = 0; i < BLOCKS; i++)
            if ((blocks[i] = malloc(1 * MIB)) != NULL)
                for (size_t at = 0; at < 1 * MIB; at += 4096)
                    blocks[i][at] = 'y';
        for (size_t i = 0; i < BLOCKS; i++)
            free(blocks[i]);
    }
    if (n % 8 == 1) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, a_thread_of_the_child, (void *)(uintptr_t)n) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    if (n % 8 == 2) {
        malloc_trim(0);
        CHECK(mallinfo2().uordblks > 0);
    }
    if (n % 8 == 3) {
        pid_t grandchild = fork();
        if (grandchild == 0) {
            child_begins();
            exercise(n, 300);
            _exit(0);
        }
        reap(grandchild);
    }
    if (n % 8 == 4)
        exit(0);
    _exit(0);
}

int main(int argc, char **argv) {
    begin(280);
    size_t forks = argument(argc, argv, 1500);
    limited = argc > 2;
    if (limited)
        CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){1 * GIB, 1 * GIB}) == 0);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
    uint64_t random = 99;
    for (size_t n = 0; go_on(n, forks); n++) {
        for (size_t i = 0; i < MINE; i++) {
            if (n > 0 && next_random(&random) % 8 != 0)
                continue;
            free(mine[i].p);
            mine[i].size = random_size(&random) % 40000;
            CHECK((mine[i].p = malloc(mine[i].size)) != NULL);
            fill(mine[i].p, mine[i].size, i);
        }
        pid_t pid = fork();
        if (pid == 0)
            child(n);
        reap(pid);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (size_t i = 0; i < MINE; i++)
        CHECK(is_filled(mine[i].p, mine[i].size, i));
    return 0;
}
