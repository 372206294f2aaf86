/* The thread that returns free memory: that it does, that it sleeps, and what programs do that it has to survive.
 * Each case is a process of its own, started with the case's name. On a busy machine the thread looks when it gets
 * to: what is waited for is how often it has looked, not how much time has gone by. */
#include "preload.h"

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <search.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#pragma weak neap_scope_create
#pragma weak neap_scope_enter
#pragma weak neap_scope_leave
#pragma weak neap_scope_end

enum { PIECE = 40000, PIECES = 500 }; /* 20 MB: what goes back at once leaves more than 6 MB of it */

static void wait_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

/* Calls that need little memory, and take so much CPU time. */
static void work(size_t ms) {
    void *p[500];
    for (double end = cpu_seconds() + (double)ms * 1e-3; cpu_seconds() < end;) {
        for (size_t i = 0; i < 500; i++)
            p[i] = malloc(100);
        for (size_t i = 0; i < 500; i++)
            free(p[i]);
    }
}

/* Allocates and frees 20 MB. */
static void burst(void) {
    static void *p[PIECES];
    for (size_t i = 0; i < PIECES; i++) {
        CHECK((p[i] = malloc(PIECE)) != NULL);
        memset(p[i], 1, PIECE);
    }
    for (size_t i = 0; i < PIECES; i++)
        free(p[i]);
}

/* Looks at a file of one task of this process; without stdio, which would allocate. */
static void read_task(const char *task, const char *file, char *text, size_t capacity) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%s/%s", task, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, capacity - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    close(fd);
}

/* Calls `look` with the name and the status of every task. Returns how many there are. */
static size_t each_task(void (*look)(const char *name, const char *status)) {
    int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    char entries[4096], name[32], status[4096];
    size_t tasks = 0;
    long n;
    while ((n = syscall(SYS_getdents64, fd, entries, sizeof entries)) > 0)
        for (long at = 0; at < n;) {
            const char *id = entries + at + 19; /* behind inode, offset, length and type */
            at += *(unsigned short *)(void *)(entries + at + 16);
            if (id[0] == '.')
                continue;
            tasks++;
            read_task(id, "comm", name, sizeof name);
            read_task(id, "status", status, sizeof status);
            if (look != NULL)
                look(name, status);
        }
    close(fd);
    return tasks;
}

static char scavenger[4096]; /* its status, empty without one */

static void note_scavenger(const char *name, const char *status) {
    if (strcmp(name, "neap-scavenger\n") == 0)
        strcpy(scavenger, status);
}

static bool has_scavenger(void) {
    scavenger[0] = '\0';
    each_task(note_scavenger);
    return scavenger[0] != '\0';
}

static unsigned long of_scavenger(const char *field, int base) {
    CHECK(has_scavenger());
    const char *at = strstr(scavenger, field);
    CHECK(at != NULL, "no %s of the scavenger", field);
    return strtoul(at + strlen(field), NULL, base);
}

/* How often it has looked and gone to sleep again. */
static unsigned long count_looks(void) {
    return has_scavenger() ? of_scavenger("\nvoluntary_ctxt_switches:", 10) : 0;
}

/* More than twice as many looks as memory takes to go back in silence, and some for locks it may have waited for;
 * three seconds. */
enum { LOOKS = 20 };

/* Waits, without a call of malloc or free, until something is so or the scavenger has had its looks. */
static bool comes_true(bool (*is_so)(void)) {
    double end = wall_seconds() + 40;
    for (unsigned long looks = count_looks();; wait_ms(50)) {
        bool over = count_looks() >= looks + LOOKS || wall_seconds() > end;
        if (is_so())
            return true;
        if (over)
            return false;
    }
}

/* And does not wait for a processor. */
static bool sleeps_on(void) {
    unsigned long looks = count_looks();
    wait_ms(2000);
    return count_looks() == looks && strstr(scavenger, "\nState:\tS") != NULL;
}

static size_t resident_before;

static bool is_returned(void) {
    return status_bytes("VmRSS") < resident_before + 3 * MIB;
}

static void expect_return(void) {
    unsigned long looks = count_looks();
    CHECK(comes_true(is_returned),
          "%zu MiB resident, before the burst %zu MiB; thread %d, %lu looks; pages %zu back, %zu again, fault %zu "
          "ns",
          status_bytes("VmRSS") / MIB, resident_before / MIB, has_scavenger(), count_looks() - looks,
          (size_t)library_state()->returned_pages, (size_t)library_state()->refaulted_pages,
          (size_t)library_state()->refault_price_ns);
}

static void burst_and_return(void) {
    resident_before = status_bytes("VmRSS");
    burst();
    expect_return();
}

/* --- the cases ------------------------------------------------------------------------------------------- */

/* It publishes its figures behind a look. */
static bool has_published(void) {
    const struct neap_state *state = library_state();
    return (state->flags & NEAP_STATE_SCAVENGER) != 0 && state->returned_pages * state->page_bytes > 16 * MIB &&
           state->refault_price_ns > 0 && state->return_price_ns > 0;
}

static void returns_in_silence(void) {
    burst_and_return();
    CHECK(has_scavenger());
    CHECK(comes_true(has_published), "flags %#x, pages %zu back", library_state()->flags,
          (size_t)library_state()->returned_pages);
}

static void sleeps_when_all_is_done(void) {
    burst_and_return();
    CHECK(comes_true(sleeps_on), "it never sleeps for two seconds");
    burst_and_return(); /* and is woken again */
}

static void is_not_started_for_little(void) {
    work(300);
    CHECK(each_task(NULL) == 1, "%zu threads", each_task(NULL));
}

static void returns_without_a_thread(void) {
    resident_before = status_bytes("VmRSS");
    burst();
    for (int i = 0; i < 40 && !is_returned(); i++) {
        wait_ms(50);
        work(1);
    }
    CHECK(is_returned());
    CHECK(each_task(NULL) == 1);
    CHECK((library_state()->flags & NEAP_STATE_NO_SCAVENGER) != 0);
}

static bool is_small(void) {
    return status_bytes("VmRSS") < resident_before + MIB;
}

/* A new scope, entered, with that many objects; their memory comes on top of resident_before. */
static neap_scope enter_and_fill(void **p, size_t count, size_t bytes) {
    wait_ms(150);
    resident_before = status_bytes("VmRSS");
    neap_scope scope = neap_scope_create(NULL);
    CHECK(neap_scope_enter(scope) == 0);
    for (size_t i = 0; i < count; i++) {
        CHECK((p[i] = malloc(bytes)) != NULL);
        memset(p[i], 1, bytes);
    }
    return scope;
}

/* Few calls, and less than what makes a thread start in a young process. */
static void returns_what_a_scope_leaves(void) {
    enum { COUNT = 240, BYTES = 8000 };
    void *p[COUNT];
    neap_scope scope = enter_and_fill(p, COUNT, BYTES);
    CHECK(!is_small());
    for (size_t i = 0; i < COUNT; i++)
        free(p[i]);
    CHECK(neap_scope_leave(scope) == 0 && neap_scope_end(scope) == 0);
    CHECK(comes_true(is_small), "%zu KiB resident, before %zu KiB", status_bytes("VmRSS") >> 10,
          resident_before >> 10);
}

/* Nor is it needed that a scope ends: its pages are returned once nothing lives on them. */
static void returns_what_a_scope_has_free(void) {
    enum { COUNT = 60000, BYTES = 500 };
    static void *p[COUNT];
    neap_scope scope = enter_and_fill(p, COUNT, BYTES);
    CHECK(!is_returned());
    for (size_t i = 0; i < COUNT; i++)
        free(p[i]);
    CHECK(neap_scope_leave(scope) == 0);
    expect_return();
}

/* By frees of the scope's own thread alone, when the scavenger has gone to sleep: nothing else would wake it. */
static void is_woken_by_frees_in_a_scope(size_t count, size_t bytes) {
    static void *p[60000];
    burst_and_return();
    enter_and_fill(p, count, bytes);
    CHECK(!is_returned());
    CHECK(comes_true(sleeps_on), "it never sleeps for two seconds");
    for (size_t i = 0; i < count; i++)
        free(p[i]);
    expect_return();
}

static void returns_what_is_free_in_narrow_regions(void) {
    is_woken_by_frees_in_a_scope(60000, 500);
}

static void returns_what_is_free_in_wide_regions(void) {
    is_woken_by_frees_in_a_scope(6000, 5000);
}

/* By code in which no thread may be started: here the C library's, which calls free as if to compare. */
static void free_by_library(void *p) {
    char elements[1] = {0};
    size_t count = 1;
    lfind(p, elements, &count, 1, (int (*)(const void *, const void *))(uintptr_t)free);
}

static void returns_without_safe_callers(void) {
    enum { KEPT = 60 };
    static void *p[PIECES];
    resident_before = status_bytes("VmRSS");
    for (size_t i = 0; i < PIECES; i++) {
        CHECK((p[i] = malloc(PIECE)) != NULL);
        memset(p[i], 1, PIECE);
    }
    wait_ms(150);
    for (size_t i = PIECES; i > KEPT; i--)
        free_by_library(p[i - 1]);
    for (size_t i = KEPT; i > 0 && !is_returned(); i--) {
        wait_ms(50);
        free_by_library(p[i - 1]);
    }
    CHECK(is_returned(), "%zu MiB resident, before %zu MiB", status_bytes("VmRSS") / MIB, resident_before / MIB);
    CHECK(each_task(NULL) == 1);
}

static void child_has_its_own(void *unused) {
    (void)unused;
    CHECK(each_task(NULL) == 1);
    wait_ms(150);
    work(2);
    burst_and_return();
    CHECK(has_scavenger());
}

static void is_new_in_children(void) {
    in_child(child_has_its_own, NULL);
    burst();
    for (int i = 0; i < 10; i++) { /* while it works */
        in_child(child_has_its_own, NULL);
        burst();
    }
    expect_return();
}

/* A fork by a thread that is not the first, whose copy is the child's first. */
static void *fork_in_thread(void *unused) {
    in_child(child_has_its_own, unused);
    return NULL;
}

static void thread_forks(void) {
    burst_and_return();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fork_in_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

/* A child in our memory, and one that libraries are not told of: that can free and allocate only if the thread
 * held no lock when it began. */
static void odd_children(void) {
    resident_before = status_bytes("VmRSS");
    wait_ms(150);
    pid_t child = vfork();
    if (child == 0) {
        burst();
        _exit(0);
    }
    reap(child);
    CHECK(!has_scavenger());
    burst_and_return();
    CHECK(comes_true(sleeps_on));
    child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
    if (child == 0) {
        alarm(60);
        wait_ms(150);
        work(2);
        _exit(0);
    }
    reap(child);
    burst_and_return();
}

static void has_user_nobody(const char *name, const char *status) {
    const char *at = strstr(status, "\nUid:");
    CHECK(at != NULL && strstr(at, "65534\t65534\t65534\t65534") != NULL, "%s is still %.40s", name, at);
}

static void privileges_are_dropped(void) {
    if (getuid() != 0)
        return;
    burst_and_return();
    CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    CHECK(each_task(has_user_nobody) == 2);
    burst_and_return();
}

static void files_are_closed(void) {
    burst_and_return();
    complaints = -1;
    for (int fd = 0; fd < 1000; fd++)
        close(fd);
    burst_and_return();
}

/* What is refused to a process with threads. */
static void namespaces_are_changed(void) {
    wait_ms(150);
    work(2);
    if (unshare(CLONE_NEWUSER) != 0) {
        CHECK(errno == EPERM || errno == ENOSYS || errno == ENOSPC);
        return;
    }
    CHECK(unshare(CLONE_NEWNS | CLONE_NEWUTS) == 0);
    int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    CHECK(setns(fd, CLONE_NEWNS) == 0);
    close(fd);
    burst_and_return();
}

static pid_t handled_by[1000];
static volatile sig_atomic_t handled;

static void handle(int signal) {
    (void)signal;
    handled_by[handled++] = gettid();
}

static void signals_are_ours(void) {
    resident_before = status_bytes("VmRSS");
    burst();
    CHECK(comes_true(has_scavenger)); /* it names itself when it runs */
    for (int signal = 1; signal < SIGRTMIN; signal++)
        if (signal < 32 && signal != SIGKILL && signal != SIGSTOP)
            CHECK((of_scavenger("\nSigBlk:", 16) >> (signal - 1) & 1) != 0, "signal %d", signal);
    signal(SIGUSR1, handle);
    for (int i = 0; i < 1000; i++) {
        kill(getpid(), SIGUSR1);
        CHECK(handled == i + 1 && handled_by[i] == getpid());
    }
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    expect_return();
}

/* Ends the process in one of these ways, some time after a burst. */
static void end_by(void *way) {
    burst();
    wait_ms((long)((uintptr_t)way * 7 % 400));
    switch ((uintptr_t)way % 4) {
    case 0:
        exit(0);
    case 1:
        quick_exit(0);
    case 2:
        execl("/bin/true", "true", (char *)NULL);
        break;
    }
    _exit(0);
}

static void processes_end(void) {
    for (uintptr_t i = 0; i < 32; i++)
        in_child(end_by, (void *)i);
}

static void needs_stack(void) {
    volatile char large[2 << 20];
    memset((char *)large, 1, sizeof large);
    burst();
}

static void *end_late(void *unused) {
    burst();
    wait_ms(300);
    return unused;
}

/* The last thread ends the process, and that is none of ours. */
static void end_by_pthread_exit(void *other) {
    pthread_t thread;
    burst();
    CHECK(atexit(needs_stack) == 0);
    if (other != NULL)
        CHECK(pthread_create(&thread, NULL, end_late, NULL) == 0);
    wait_ms((long)((uintptr_t)other % 11) * 20);
    pthread_exit(NULL);
}

static void last_threads_end(void) {
    for (uintptr_t i = 0; i < 12; i++)
        in_child(end_by_pthread_exit, (void *)(i % 4 == 0 ? 0 : i));
}

static void threads_are_forbidden(void) {
    if (getuid() == 0)
        CHECK(setresuid(54321, 54321, 54321) == 0); /* root has no limit */
    CHECK(setrlimit(RLIMIT_NPROC, &(struct rlimit){0, 0}) == 0);
    returns_without_a_thread();
}

/* A sandbox that kills whoever starts a thread. */
static void threads_are_deadly(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    install_filter(filter, sizeof filter / sizeof *filter, 0);
    returns_without_a_thread();
}

/* A program of one thread may count on which descriptor is free next. It could not if the scavenger opened files,
 * so whoever opens one is killed here, whichever thread it is. */
static void opens_no_files(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    burst();
    uint64_t passes = library_state()->purge_passes;
    install_filter(filter, sizeof filter / sizeof *filter, SECCOMP_FILTER_FLAG_TSYNC);
    for (int i = 0; i < 400 && library_state()->purge_passes < passes + 2; i++)
        wait_ms(50);
    CHECK(library_state()->purge_passes >= passes + 2);
    _exit(0);
}

static void *use_tls(void *touch) {
    ((void (*)(void))touch)();
    return NULL;
}

/* The C library frees a thread's memory with the lock held that it takes to start one. */
static void stacks_are_freed(void) {
    char library[512];
    ssize_t n = readlink("/proc/self/exe", library, sizeof library - 32);
    CHECK(n > 0);
    library[n] = '\0';
    strcpy(strrchr(library, '/') + 1, "big_tls.so");
    void *handle = dlopen(library, RTLD_NOW);
    CHECK(handle != NULL, "%s", library);
    void *touch = dlsym(handle, "touch_block");
    wait_ms(150);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * MIB); /* too large to be kept for the next thread */
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, &attr, use_tls, touch) == 0 && pthread_join(thread, NULL) == 0);
    }
    burst_and_return();
    CHECK(has_scavenger());
}

static void memory_is_locked(void) {
    burst();
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        return;
    burst();
    work(500);
    wait_ms(1500);
    double cpu = cpu_seconds();
    wait_ms(1000);
    CHECK(cpu_seconds() - cpu < 0.05, "%f s of CPU in a silent second", cpu_seconds() - cpu);
}

static const struct {
    const char *name;
    void (*run)(void);
    const char *options;
} cases[] = {
#define CASE(name)                                                                                                \
    { #name, name, NULL }
    CASE(returns_in_silence),
    CASE(sleeps_when_all_is_done),
    CASE(is_not_started_for_little),
    {"off", returns_without_a_thread, "scavenger:off"},
    CASE(returns_what_a_scope_leaves),
    CASE(returns_what_a_scope_has_free),
    CASE(returns_what_is_free_in_narrow_regions),
    CASE(returns_what_is_free_in_wide_regions),
    CASE(returns_without_safe_callers),
    /* Ten bursts would use up what a program without CPU time to speak of may spend on returning too early. */
    {"is_new_in_children", is_new_in_children, "purge_cpu:100"},
    CASE(thread_forks),
    CASE(odd_children),
    CASE(privileges_are_dropped),
    CASE(files_are_closed),
    CASE(namespaces_are_changed),
    CASE(signals_are_ours),
    CASE(processes_end),
    CASE(last_threads_end),
    CASE(threads_are_forbidden),
    CASE(threads_are_deadly),
    CASE(opens_no_files),
    CASE(stacks_are_freed),
    CASE(memory_is_locked),
};

/* To those that the whole test was started with. */
static void add_options(const char *options) {
    const char *given = getenv("NEAP_OPTIONS");
    char both[128];
    if (options == NULL)
        return;
    snprintf(both, sizeof both, "%s,%s", given != NULL ? given : "", options);
    setenv("NEAP_OPTIONS", both, 1);
}

int main(int argc, char **argv) {
    begin(argc > 1 ? 40 : 160); /* a case, all of them */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (argc > 1 && strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run();
            return 0;
        }
        if (argc > 1)
            continue;
        pid_t child = fork();
        if (child == 0) {
            add_options(cases[i].options);
            execl(argv[0], argv[0], cases[i].name, (char *)NULL);
            _exit(127);
        }
        reap(child);
    }
    CHECK(argc == 1, "there is no case %s", argv[1]);
    return 0;
}
