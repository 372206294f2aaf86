/* System calls that a sandbox denies: membarrier, madvise, mremap, prctl, one by one and together, with EPERM and
 * with ENOSYS, from the start and later on. Allocation works all the same. And a sandbox that a process enters
 * later on and that kills it for whatever OpenSSH's sandbox kills for (sandbox-seccomp-filter.c). */
#include "preload.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

static const struct denied {
    const char *name;
    long numbers[5]; /* 0: no more */
} sets[] = {
    {"membarrier", {SYS_membarrier}},
    {"madvise", {SYS_madvise}},
    {"mremap", {SYS_mremap}},
    {"prctl", {SYS_prctl}},
    {"all", {SYS_membarrier, SYS_madvise, SYS_mremap, SYS_prctl}},
};

static void deny(const struct denied *denied, int error) {
    struct sock_filter filter[16];
    size_t length = 0;
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (const long *number = denied->numbers; *number != 0; number++) {
        filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)*number, 0, 1);
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error);
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    install_filter(filter, length, 0);
    if (denied->numbers[0] == SYS_madvise)
        CHECK(madvise(NULL, 0, MADV_NORMAL) != 0 && errno == error);
}

static void allow_few(void) {
    static const long allowed[] = {
        SYS_brk,   SYS_mmap,   SYS_munmap, SYS_mremap,        SYS_mprotect,        SYS_madvise,
        SYS_futex, SYS_getpid, SYS_gettid, SYS_clock_gettime, SYS_clock_nanosleep, SYS_rt_sigprocmask,
        SYS_read,  SYS_write,  SYS_close,  SYS_exit,          SYS_exit_group,      SYS_getrandom,
    };
    enum { ALLOWED = sizeof allowed / sizeof *allowed };
    struct sock_filter filter[2 * ALLOWED + 4];
    size_t length = 0;
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < ALLOWED; i++) {
        filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1);
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES);
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    install_filter(filter, length, 0);
}

/* Grows the heap, frees what there is in many ways, and is old enough for a scavenger. */
static void survive(void *argument) {
    (void)argument;
    allow_few();
    for (size_t round = 0; round < 3; round++) {
        exercise(round, 20000);
        char *objects[400];
        for (size_t i = 0; i < 400; i++) {
            CHECK((objects[i] = malloc(100000)) != NULL);
            fill(objects[i], 100000, i);
        }
        for (size_t i = 0; i < 400; i++)
            free(objects[i]);
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
        malloc_trim(0);
    }
}

static void *use(void *argument) {
    exercise((uintptr_t)argument, 5000);
    return NULL;
}

/* Growth that has to move, where what is free and large enough is full of something else. */
static void grow_onto_dirty(void) {
    enum { SMALL = 2 * MIB, LARGE = 6 * MIB };
    char *grown = malloc(SMALL), *dirty, *behind = malloc(SMALL);
    CHECK(grown != NULL && behind != NULL);
    fill(grown, SMALL, 1);
    CHECK((dirty = malloc(LARGE)) != NULL);
    memset(dirty, 0xff, LARGE);
    free(dirty);
    CHECK((grown = realloc(grown, LARGE)) != NULL && is_filled(grown, SMALL, 1));
    free(grown);
    free(behind);
}

static void use_all(void) {
    grow_onto_dirty();
    exercise(1, 10000);
    char *grown = NULL;
    for (size_t size = 100000, old = 0; size < 20 * MIB; old = size, size += size / 3) {
        void *behind = malloc(100000); /* so that it has to move */
        CHECK((grown = realloc(grown, size)) != NULL && is_filled(grown, old & ~(size_t)7, 1));
        fill(grown, size, 1);
        free(behind);
    }
    errno = 4711;
    free(grown);
    malloc_trim(0);
    CHECK(errno == 4711, "free or malloc_trim changed errno");
    for (size_t size = 1000; size < 30 * MIB; size *= 3) { /* over what was dirty and could not go back */
        char *p = calloc(1, size);
        CHECK(p != NULL && p[0] == 0 && memcmp(p, p + 1, size - 1) == 0, "calloc(%zu)", size);
        memset(p, 1, size);
        free(p);
    }
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, use, (void *)i) == 0);
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    pid_t child = fork();
    if (child == 0) {
        child_begins();
        exercise(2, 5000);
        _exit(0);
    }
    reap(child);
}

/* Whether free memory does not pile up where it cannot be returned: it is used again instead. */
static void stay_level(void) {
    for (size_t i = 0; i < 15; i++) {
        char *p = malloc(20 * MIB);
        CHECK(p != NULL);
        memset(p, 1, 20 * MIB);
        free(p);
    }
    CHECK(status_bytes("VmRSS") < 150 * MIB, "%zu MiB resident", status_bytes("VmRSS") / MIB);
}

int main(int argc, char **argv) {
    begin(110);
    if (argc > 1) { /* under the filter since exec */
        use_all();
        stay_level();
        return 0;
    }
    in_child(survive, NULL);
    static const int errors[] = {EPERM, ENOSYS};
    for (size_t set = 0; set < sizeof sets / sizeof *sets; set++)
        for (size_t error = 0; error < 2; error++)
            for (int later = 0; later < 2; later++) {
                pid_t child = fork();
                if (child == 0) {
                    child_begins();
                    if (later)
                        use_all();
                    deny(&sets[set], errors[error]);
                    if (!later) {
                        execl(argv[0], argv[0], sets[set].name, (char *)NULL);
                        _exit(127);
                    }
                    use_all();
                    stay_level();
                    exit(0);
                }
                reap(child);
            }
    return 0;
}
