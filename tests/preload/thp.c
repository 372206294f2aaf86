/* thp:dense: what is dense for a while becomes huge pages, what is sparse does not; neither makes anything
 * resident that was not; forked children have their memory as it was; and all of it goes back. With the argument
 * "refused" the kernel does not know MADV_COLLAPSE. */
#include "preload.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { SIZE = 1000, COUNT = 64 << 10, KEEP_ONE_IN = 16 };
static char *objects[COUNT];

static size_t rollup_bytes(const char *field) {
    char text[4096];
    int fd = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t length = read(fd, text, sizeof text - 1);
    CHECK(length > 0);
    close(fd);
    text[length] = '\0';
    const char *line = strstr(text, field);
    CHECK(line != NULL, "%s", field);
    return strtoul(line + strlen(field) + 1, NULL, 10) * KIB;
}

static size_t huge_bytes(void) {
    return rollup_bytes("AnonHugePages");
}

static void wait_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Whether it comes so far within a minute. */
static bool comes(const char *field, size_t least, size_t most) {
    for (int i = 0; i < 600; i++, wait_ms(100)) {
        size_t now = rollup_bytes(field);
        if (now >= least && now <= most)
            return true;
    }
    return false;
}

static bool system_has_huge_pages(void) {
    enum { BYTES = 2 << 20 };
    char *p = mmap(NULL, 2 * BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    char *aligned = (char *)(((uintptr_t)p + BYTES - 1) & ~(uintptr_t)(BYTES - 1));
    memset(aligned, 1, BYTES);
    bool has = sysconf(_SC_PAGESIZE) == 4096 && madvise(aligned, BYTES, MADV_COLLAPSE) == 0;
    munmap(p, 2 * BYTES);
    return has;
}

static void fill_all(void) {
    for (size_t i = 0; i < COUNT; i++) {
        if (objects[i] == NULL)
            CHECK((objects[i] = malloc(SIZE)) != NULL);
        fill(objects[i], SIZE, i);
    }
}

static void thin(void) {
    for (size_t i = 0; i < COUNT; i++)
        if (i % KEEP_ONE_IN != 0) {
            free(objects[i]);
            objects[i] = NULL;
        }
}

/* Who calls seldom wakes no thread. */
static void work_a_little(void) {
    static void *some[1000];
    for (size_t round = 0; round < 50; round++) {
        for (size_t i = 0; i < 1000; i++)
            CHECK((some[i] = malloc(100)) != NULL);
        for (size_t i = 0; i < 1000; i++)
            free(some[i]);
    }
}

static void check_all(void *unused) {
    (void)unused;
    for (size_t i = 0; i < COUNT; i++)
        CHECK(objects[i] == NULL || is_filled(objects[i], SIZE, i));
}

/* In the child all is shared with the parent: huge pages would be copies. But the program may do what it likes. */
static void be_a_child(void *unused) {
    size_t before = huge_bytes();
    check_all(unused);
    for (size_t i = 0; i < COUNT; i += 2) {
        free(objects[i]);
        objects[i] = NULL;
    }
    exercise(1, 20000);
    wait_ms(500);
    check_all(unused);
    CHECK(huge_bytes() <= before);
}

static void refuse_collapse(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])), /* low half first */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_COLLAPSE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

int main(int argc, char **argv) {
    begin(120);
    if (argc > 1 && strcmp(argv[1], "refused") == 0) {
        refuse_collapse();
        execl("/proc/self/exe", argv[0], "again", NULL);
        CHECK(false, "execl");
    }
    bool can = system_has_huge_pages();
    if (argc > 1) {
        CHECK(!can);
    } else if (!can) {
        fputs("no huge pages here: only looked at what it does without\n", stderr);
    }
    size_t start = rollup_bytes("Rss");
    wait_ms(200); /* a process that is younger gets no thread */
    fill_all();
    size_t filled = rollup_bytes("Rss");
    if (can)
        CHECK(comes("AnonHugePages", 48 * MIB, 80 * MIB), "%zu bytes", huge_bytes());
    else
        wait_ms(3000);
    CHECK(can || huge_bytes() == 0);
    CHECK(rollup_bytes("Rss") <= filled + MIB, "%zu after %zu", rollup_bytes("Rss"), filled);
    check_all(NULL);
    in_child(be_a_child, NULL);
    fill_all();

    thin();
    CHECK(comes("Rss", 0, start + 32 * MIB), "%zu above %zu", rollup_bytes("Rss"), start);
    CHECK(comes("AnonHugePages", 0, 0), "%zu bytes", huge_bytes());
    size_t thinned = rollup_bytes("Rss");
    wait_ms(3000);
    CHECK(huge_bytes() == 0 && rollup_bytes("Rss") <= thinned + MIB);
    check_all(NULL);

    char *untouched = malloc(64 * MIB);
    CHECK(untouched != NULL);
    memset(untouched, 1, 32 * MIB + 4096);
    work_a_little();
    size_t half = rollup_bytes("Rss");
    if (can)
        CHECK(comes("AnonHugePages", 28 * MIB, 33 * MIB), "%zu bytes", huge_bytes());
    CHECK(rollup_bytes("Rss") <= half + MIB, "%zu after %zu", rollup_bytes("Rss"), half);
    free(untouched);
    for (size_t i = 0; i < COUNT; i++)
        free(objects[i]);
    CHECK(comes("Rss", 0, start + 4 * MIB), "%zu above %zu", rollup_bytes("Rss"), start);
    CHECK(huge_bytes() == 0);
    return 0;
}
