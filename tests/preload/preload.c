#include "preload.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

int complaints = STDERR_FILENO;

void fail(const char *file, int line, const char *what, const char *format, ...) {
    int error = errno;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dprintf(complaints, "%s:%d: not so: %s;%s (errno %d, pid %d)\n", file, line, what, text, error, (int)getpid());
    _exit(1);
}

const struct neap_state *library_state(void) {
    return dlsym(RTLD_DEFAULT, "neap_state");
}

size_t library_page(void) {
    const char *options = getenv("NEAP_OPTIONS");
    const char *at = options != NULL ? strstr(options, "page_size:") : NULL;
    return at != NULL ? (size_t)strtoul(at + strlen("page_size:"), NULL, 10) : (size_t)sysconf(_SC_PAGESIZE);
}

void begin(unsigned seconds) {
    alarm(seconds * 5);
    const struct neap_state *state = library_state();
    CHECK(state != NULL, "libneap.so is not in this process: LD_PRELOAD=%s", getenv("LD_PRELOAD"));
    CHECK((state->flags & NEAP_STATE_IN_FRONT) != 0, "another malloc is in front of neap's");
    if (getenv("NEAP_OPTIONS") != NULL) {
        void *large = malloc(40000);
        CHECK(large != NULL && malloc_usable_size(large) % library_page() == 0,
              "NEAP_OPTIONS=%s is not obeyed: %zu usable", getenv("NEAP_OPTIONS"), malloc_usable_size(large));
        free(large);
    }
}

uint64_t next_random(uint64_t *state) {
    uint64_t x = *state += 0x9e3779b97f4a7c15; /* splitmix64 */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

size_t random_size(uint64_t *state) {
    uint64_t r = next_random(state);
    unsigned shift = r % 256 < 160 ? 8 : r % 256 < 240 ? 12 : r % 256 < 255 ? 17 : 21;
    return (size_t)(r >> 32) & (((size_t)1 << shift) - 1);
}

static uint64_t pattern(uint64_t seed, size_t i) {
    return (seed + i) * 0x9e3779b97f4a7c15 | 1; /* never zero */
}

void fill(void *p, size_t size, uint64_t seed) {
    char *bytes = p;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = pattern(seed, i);
        memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
    }
}

bool is_filled(const void *p, size_t size, uint64_t seed) {
    const char *bytes = p;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = pattern(seed, i);
        if (memcmp(bytes + i, &word, size - i < 8 ? size - i : 8) != 0)
            return false;
    }
    return true;
}

static bool is_zero(const char *p, size_t size) {
    return size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

struct object {
    char *p;
    size_t size;
    uint64_t seed;
};

static void make_one(struct object *o, uint64_t *random) {
    size_t size = random_size(random);
    unsigned how = (unsigned)(next_random(random) % 16);
    size_t alignment = (size_t)16 << next_random(random) % 10;
    char *p = how < 10 ? malloc(size) : how < 14 ? calloc(1, size) : aligned_alloc(alignment, size);
    CHECK(p != NULL, "size %zu, way %u", size, how);
    CHECK(how < 10 || how >= 14 || is_zero(p, size), "calloc(%zu) gave old contents at %p", size, (void *)p);
    CHECK((uintptr_t)p % (how < 14 ? 16 : alignment) == 0, "%p, size %zu, alignment %zu", (void *)p, size,
          alignment);
    *o = (struct object){p, size, next_random(random)};
    fill(p, size, o->seed);
}

static void resize_one(struct object *o, uint64_t *random) {
    size_t size = random_size(random) + 1, kept = size < o->size ? size : o->size;
    char *p = realloc(o->p, size);
    CHECK(p != NULL, "realloc(%p, %zu)", (void *)o->p, size);
    /* The pattern's last word may be cut: compare whole words. */
    CHECK(is_filled(p, kept & ~(size_t)7, o->seed), "realloc from %zu to %zu lost contents", o->size, size);
    o->p = p;
    o->size = size;
    fill(p, size, o->seed);
}

static void drop_one(struct object *o) {
    CHECK(is_filled(o->p, o->size, o->seed), "%zu bytes at %p were written to by somebody else", o->size,
          (void *)o->p);
    free(o->p);
    o->p = NULL;
}

void exercise(uint64_t seed, size_t steps) {
    enum { OBJECTS = 128 };
    struct object objects[OBJECTS] = {{0}};
    uint64_t random = seed;
    for (size_t i = 0; i < steps; i++) {
        struct object *o = &objects[next_random(&random) % OBJECTS];
        if (o->p == NULL)
            make_one(o, &random);
        else if (next_random(&random) % 4 == 0)
            resize_one(o, &random);
        else
            drop_one(o);
    }
    for (size_t i = 0; i < OBJECTS; i++)
        if (objects[i].p != NULL)
            drop_one(&objects[i]);
}

void child_begins(void) {
    alarm(150);
}

void reap(pid_t child) {
    int status;
    pid_t got;
    CHECK(child > 0, "fork failed");
    while ((got = waitpid(child, &status, 0)) < 0 && errno == EINTR)
        ;
    CHECK(got == child);
    CHECK(!WIFSIGNALED(status), "child %d was killed by signal %d%s", (int)child, WTERMSIG(status),
          WTERMSIG(status) == SIGALRM ? ": it was stuck" : "");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d exited with %d", (int)child,
          WEXITSTATUS(status));
}

void in_child(void (*work)(void *), void *argument) {
    pid_t child = fork();
    if (child == 0) {
        child_begins();
        work(argument);
        _exit(0);
    }
    reap(child);
}

/* Reads without stdio, whose buffers are memory of the malloc under test. */
static size_t read_all(const char *path, char *buffer, size_t capacity) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0, "%s", path);
    size_t length = 0;
    ssize_t n;
    while (length < capacity - 1 && (n = read(fd, buffer + length, capacity - 1 - length)) > 0)
        length += (size_t)n;
    close(fd);
    buffer[length] = '\0';
    return length;
}

size_t status_bytes(const char *field) {
    char text[8192], name[32];
    read_all("/proc/self/status", text, sizeof text);
    snprintf(name, sizeof name, "\n%s:", field);
    const char *at = strstr(text, name);
    CHECK(at != NULL, "no %s in /proc/self/status", field);
    return (size_t)strtoul(at + strlen(name), NULL, 10) * KIB;
}

size_t comes_below(const char *field, size_t bound) {
    double end = wall_seconds() + 30;
    size_t now;
    while ((now = status_bytes(field)) >= bound && wall_seconds() < end)
        usleep(20000);
    return now;
}

size_t count_maps(void) {
    char part[4096];
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    size_t lines = 0;
    ssize_t n;
    while ((n = read(fd, part, sizeof part)) > 0)
        for (ssize_t i = 0; i < n; i++)
            lines += part[i] == '\n';
    close(fd);
    return lines;
}

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double cpu_seconds(void) {
    return seconds(CLOCK_PROCESS_CPUTIME_ID);
}

double wall_seconds(void) {
    return seconds(CLOCK_MONOTONIC);
}

void be_background(void) {
    CHECK(setpriority(PRIO_PROCESS, (id_t)gettid(), 19) == 0);
}

bool go_on(size_t n, size_t wanted) {
    enum { SECONDS = 20, LONG = 5000 }; /* a long loop was asked for by hand */
    static double start;
    if (start == 0)
        start = wall_seconds();
    return n < wanted && (n < wanted / 10 || wanted > LONG || wall_seconds() - start < SECONDS);
}

void install_filter(struct sock_filter *filter, size_t length, unsigned flags) {
    struct sock_fprog program = {.len = (unsigned short)length, .filter = filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) == 0);
}

size_t argument(int argc, char **argv, size_t otherwise) {
    return argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : otherwise;
}
