/* RLIMIT_AS, as `ulimit -v` sets it, or RLIMIT_DATA, as `ulimit -d` does: allocate until there is no more, in many
 * sizes and in threads, free all, and again. Every round gets as much as the first of its size, and in the end the
 * program can map for itself what was freed. Arguments: the limit in MiB; "early": set before the program starts,
 * "late": by the program, after it has used and freed much; "data": RLIMIT_DATA. */
#include "preload.h"

#include <stdatomic.h>

enum { THREADS = 4, ROUNDS = 20 };

struct link {
    struct link *next;
};

static const size_t sizes[] = {16, 100, 1000, 5000, 20000, 40000, 300000, 3 << 20, 20 << 20, 0 /* mixed */};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* What an object costs in address space, for the sum. */
static size_t cost(size_t size) {
    size_t unit = library_page() > 16 * KIB ? library_page() : 16 * KIB;
    return size > 32 * KIB ? (size + unit - 1) & ~(unit - 1) : size;
}

struct taken {
    struct link *first;
    size_t bytes;
};

static struct taken take_all(size_t size, uint64_t seed) {
    struct taken taken = {0};
    size_t each = cost(size);
    for (;;) {
        size_t n = size != 0 ? size : random_size(&seed) + sizeof(struct link);
        struct link *l = seed % 8 == 0 ? calloc(1, n) : malloc(n);
        if (l == NULL)
            break;
        l->next = taken.first;
        taken.first = l;
        taken.bytes += size != 0 ? each : cost(n);
    }
    CHECK(errno == ENOMEM);
    return taken;
}

/* Every second one first, then the others. */
static void give_all(struct taken taken) {
    struct link *kept = NULL;
    for (struct link *l = taken.first, *next, *after; l != NULL; l = after) {
        next = l->next;
        after = next != NULL ? next->next : NULL;
        free(l);
        if (next != NULL) {
            next->next = kept;
            kept = next;
        }
    }
    for (struct link *next; kept != NULL; kept = next) {
        next = kept->next;
        free(kept);
    }
}

static pthread_barrier_t all_taken;
static atomic_size_t taken_by_all;

static void *take_in_thread(void *argument) {
    size_t index = (uintptr_t)argument;
    struct taken taken = take_all(sizes[index % SIZES], index + 1);
    atomic_fetch_add(&taken_by_all, taken.bytes);
    pthread_barrier_wait(&all_taken);
    give_all(taken);
    return NULL;
}

static size_t take_in_threads(size_t first) {
    pthread_t threads[THREADS];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * KIB);
    atomic_store(&taken_by_all, 0);
    pthread_barrier_init(&all_taken, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        int error = pthread_create(&threads[i], &attributes, take_in_thread, (void *)(first + i));
        CHECK(error == 0, "pthread_create: %d", error);
    }
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    return atomic_load(&taken_by_all);
}

static void use_and_free(size_t bytes) {
    enum { PARTS = 40 };
    void *parts[PARTS];
    for (size_t i = 0; i < PARTS; i++)
        CHECK((parts[i] = calloc(1, bytes / PARTS)) != NULL);
    for (size_t i = 0; i < PARTS; i++)
        free(parts[i]);
    exercise(1, 10000);
}

/* So much can be mapped in one piece. */
static void check_can_map(size_t bytes) {
    void *own = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (own == MAP_FAILED)
        malloc_stats();
    CHECK(own != MAP_FAILED, "mmap of %zu MiB, VmSize %zu MiB", bytes / MIB, status_bytes("VmSize") / MIB);
    munmap(own, bytes);
}

int main(int argc, char **argv) {
    begin(110);
    size_t limit = argument(argc, argv, 200) * MIB;
    bool late = argc > 2 && strcmp(argv[2], "late") == 0, data = argc > 3 && strcmp(argv[3], "data") == 0;
    int resource = data ? RLIMIT_DATA : RLIMIT_AS;
    struct rlimit now, wanted = {limit, limit};
    CHECK(getrlimit(resource, &now) == 0);
    size_t floor =
        limit - status_bytes(data ? "VmData" : "VmSize"); /* what the program could have but for its malloc */
    if (now.rlim_cur != limit) {
        if (late) {
            use_and_free(limit * 3 / 4);
            exercise(2, 10000);
        }
        CHECK(setrlimit(resource, &wanted) == 0);
        if (late)
            malloc_trim(0);
        else
            execv(argv[0], argv); /* begins again, under the limit */
    }
    check_can_map(floor * 8 / 10);
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t size = sizes[round % SIZES];
        struct taken taken = take_all(size, round);
        give_all(taken);
        CHECK(taken.bytes > floor * 8 / 10, "round %zu: %zu MiB of size %zu where %zu are left by the limit",
              round, taken.bytes / MIB, size, floor / MIB);
    }
    check_can_map(floor / 2);
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t bytes = take_in_threads(round);
        CHECK(bytes > floor * 8 / 10, "round %zu: %zu MiB by threads where %zu are left by the limit", round,
              bytes / MIB, floor / MIB);
    }
    check_can_map(floor / 2);
    malloc_trim(0);
    check_can_map(floor * 8 / 10);
    exercise(3, 10000);
    return 0;
}
