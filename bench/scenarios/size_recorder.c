/* Preloaded into any program, writes at its exit which sizes it asked malloc for, as rows of a mix (mix.c): the
 * greatest size of a row, how many were asked for, their bytes. The web mix was recorded with it.
 *
 *   LD_PRELOAD=build/release/bench/size_recorder.so NEAP_BENCH_SIZES=/tmp/sizes PYTHONMALLOC=malloc python3 …
 *
 * glibc serves the memory. Relaxed atomics, nothing allocated, no lock. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

enum { ROWS = 2 * 64 };
static struct { size_t count, bytes; } rows[ROWS];

/* Two rows a doubling: up to 2^n, and up to 3/2 of it. */
static unsigned row_of(size_t size) {
    if (size <= 8)
        return 0;
    unsigned log = 63 - (unsigned)__builtin_clzl(size - 1);
    return 2 * log + (((size - 1) >> (log - 1)) & 1);
}

static size_t row_end(unsigned row) {
    return row == 0 ? 8 : row % 2 == 0 ? (size_t)3 << (row / 2 - 1) : (size_t)1 << (row / 2 + 1);
}

static void record(size_t size) {
    unsigned row = row_of(size);
    __atomic_fetch_add(&rows[row].count, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&rows[row].bytes, size, __ATOMIC_RELAXED);
}

__attribute__((visibility("default"))) void *malloc(size_t size) {
    record(size);
    return __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t count, size_t size) {
    size_t bytes = 0;
    if (!__builtin_mul_overflow(count, size, &bytes))
        record(bytes);
    return __libc_calloc(count, size);
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t size) {
    record(size);
    return __libc_realloc(p, size);
}

__attribute__((destructor)) static void write_rows(void) {
    const char *path = getenv("NEAP_BENCH_SIZES");
    int fd = path == NULL ? STDERR_FILENO : open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0) {
        dprintf(STDERR_FILENO, "size_recorder: cannot write %s: errno %d\n", path, errno);
        return;
    }
    for (unsigned row = 0; row < ROWS; row++)
        if (rows[row].count != 0)
            dprintf(fd, "%zu %zu %zu\n", row_end(row), rows[row].count, rows[row].bytes);
}
