/* os/: whether the process has entered a sandbox since it began; memory that is locked. */
#include "test.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* One more filter, which gives this answer to openat. */
static bool enter(unsigned answer) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool limit_files(rlim_t files) {
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
           setrlimit(RLIMIT_NOFILE, &(struct rlimit){files, limit.rlim_max}) == 0;
}

/* What the first of these checks that fails is, counted from 1; 0: none. */
#define FAILS(n, x)                                                                                               \
    if (!(x))                                                                                                     \
    return n

static int with_filters_at_the_start(void) {
    FAILS(1, enter(SECCOMP_RET_ALLOW) && enter(SECCOMP_RET_ALLOW));
    FAILS(2, !os_is_confined());
    FAILS(3, limit_files(0) && !os_is_confined());
    FAILS(4, limit_files(100) && !os_is_confined());
    FAILS(5, chroot("/usr") != 0 || !os_is_confined()); /* without /proc, if we may */
    FAILS(6, enter(SECCOMP_RET_ERRNO | EACCES) && os_is_confined());
    return 0;
}

static int one_more_filter(void) {
    FAILS(1, enter(SECCOMP_RET_ALLOW) && !os_is_confined());
    FAILS(2, enter(SECCOMP_RET_ALLOW) && os_is_confined());
    return 0;
}

static int first_filter_without_files(void) {
    FAILS(1, !os_is_confined());
    FAILS(2, limit_files(0) && !os_is_confined());
    FAILS(3, enter(SECCOMP_RET_ALLOW) && os_is_confined());
    return 0;
}

static int few_files_at_the_start(void) {
    FAILS(1, enter(SECCOMP_RET_ALLOW) && enter(SECCOMP_RET_ALLOW) && limit_files(0));
    FAILS(2, !os_is_confined());
    FAILS(3, limit_files(100) && !os_is_confined());
    FAILS(4, enter(SECCOMP_RET_ERRNO | EACCES) && os_is_confined());
    return 0;
}

static int no_files_and_no_filter(void) {
    FAILS(1, !os_is_confined());
    FAILS(2, limit_files(0) && !os_is_confined());
    return 0;
}

/* Each in a process of its own, whose first call it makes. */
static void run(const char *name, int (*checks)(void)) {
    pid_t child = fork();
    if (child == 0)
        _exit(checks());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != 0)
        fail_msg("%s: check %d", name, WEXITSTATUS(status));
}
#define RUN(checks) run(#checks, checks)

static void no_sandbox(void **state) {
    (void)state;
    RUN(no_files_and_no_filter);
}

static void sandboxes(void **state) {
    (void)state;
    /* What a kernel with filters says when it is given none. */
    test_needs(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) != 0 && errno == EFAULT,
               "there are seccomp filters");
    RUN(with_filters_at_the_start);
    RUN(one_more_filter);
    RUN(first_filter_without_files);
    RUN(few_files_at_the_start);
}

/* What is said to be returned reads as zeroes, locked or not. */
static void locked_pages(void **state) {
    (void)state;
    size_t page = os_page_size();
    char *p = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    for (int locked = 0; locked < 3; locked++) { /* the first of them tells what the system is like */
        memset(p, 1, 3 * page);
        if (locked > 0)
            assert_int_equal(mlock(p, page), 0);
        bool returned = os_purge((uintptr_t)p, 2 * page);
        assert_true(returned || locked > 0);
        for (size_t i = 0; returned && i < 2 * page; i++)
            assert_int_equal(p[i], 0);
        assert_int_equal(p[2 * page], 1);
    }
    munmap(p, 3 * page);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_sandbox), cmocka_unit_test(sandboxes),
                                       cmocka_unit_test(locked_pages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
