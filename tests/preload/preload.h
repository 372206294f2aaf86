/* What the programs of this folder share. Each is run under LD_PRELOAD=libneap.so, knows the ordinary names of
 * malloc only, and says by its exit status whether what it looked at was right: 0, or 1 with a line on stderr. */
#ifndef PRELOAD_H
#define PRELOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "neap/neap.h" /* for struct neap_state; no function of neap's own is called */

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

#ifdef __cplusplus
extern "C" {
#endif

/* Where complaints go: the stderr of the start, for programs that move theirs away. */
extern int complaints;

void fail(const char *file, int line, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5), noreturn));

/* CHECK(x) or CHECK(x, "format", …): the program's assertion, always on. */
#define CHECK(x, ...) ((x) ? (void)0 : fail(__FILE__, __LINE__, #x, " " __VA_ARGS__))

/* Every program's first step: the process's malloc is neap's, NEAP_OPTIONS=page_size:N is obeyed. Ends the process
 * after five times so many seconds, which are plenty on a free machine, whatever it is stuck in. */
void begin(unsigned seconds);

/* The library's words of itself; NULL where it is not there. Allocates nothing. */
const struct neap_state *library_state(void);

/* Bytes of a page as the library sees it: the system's, or what NEAP_OPTIONS=page_size:N says. */
size_t library_page(void);

/* A pseudo-random number; the state is the caller's. */
uint64_t next_random(uint64_t *state);

/* Mostly small, sometimes up to 2 MiB, as a server's sizes are. */
size_t random_size(uint64_t *state);

/* So many random mallocs, callocs, aligned ones, reallocs and frees, the contents of each object checked; all is
 * freed at the end. Fails the program where an allocation fails. */
void exercise(uint64_t seed, size_t steps);

/* Fills an object with a pattern of its own, and verifies it. */
void fill(void *p, size_t size, uint64_t seed);
bool is_filled(const void *p, size_t size, uint64_t seed);

/* In a forked child: it does not outlive its usefulness. */
void child_begins(void);

/* Waits for a child, which must have exited with 0. */
void reap(pid_t child);

/* Runs `work` in a forked child and waits for it. */
void in_child(void (*work)(void *), void *argument);

/* A number of kB from /proc/self/status ("VmRSS", "VmSize", …), in bytes. */
size_t status_bytes(const char *field);

static inline size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Waits, without a call of malloc or free, until such a number is below the bound, for half a minute at most. What
 * the library's thread has in its hands when malloc_trim looks goes a moment later. Returns the number. */
size_t comes_below(const char *field, size_t bound);

/* Mappings that the process has. */
size_t count_maps(void);

double cpu_seconds(void);
double wall_seconds(void);

/* For threads that only make noise: what is looked at gets the processor before them. */
void be_background(void);

/* Whether a loop that has gone round n times should go on to `wanted`: not when it has taken longer than a test
 * may on a busy machine, unless it has done a tenth only. */
bool go_on(size_t n, size_t wanted);

/* Puts the calling thread, or with SECCOMP_FILTER_FLAG_TSYNC all threads, under a seccomp filter of so many
 * instructions. */
struct sock_filter;
void install_filter(struct sock_filter *filter, size_t length, unsigned flags);

/* The first program argument as a number, or the default. */
size_t argument(int argc, char **argv, size_t otherwise);

#ifdef __cplusplus
}
#endif

/* Keeps the compiler from knowing what a pointer is, and with that what became of it. */
#define OPAQUE(p)                                                                                                 \
    __extension__({                                                                                               \
        __typeof__(p) opaque_ = (p);                                                                              \
        __asm__ volatile("" : "+r"(opaque_) : : "memory");                                                        \
        opaque_;                                                                                                  \
    })

#endif
