/* A library that stands before the C library's clock and process number, and allocates in them, as libfaketime
 * does. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

extern int other_clock_reads;

int other_clock_reads;

int clock_gettime(clockid_t clock, struct timespec *t) {
    free(malloc(100));
    __atomic_fetch_add(&other_clock_reads, 1, __ATOMIC_RELAXED);
    return (int)syscall(SYS_clock_gettime, clock, t);
}

pid_t getpid(void) {
    free(malloc(100));
    return (pid_t)syscall(SYS_getpid);
}
