/* Allocators that are wrong in a known way, for the tests of `neap bench`: glibc's malloc, but with -DLEAKS every
 * 64th free is forgotten, with -DSLOW every malloc takes five microseconds longer.
 *
 * SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <time.h>

void *__libc_malloc(size_t size);
void __libc_free(void *object);

void *malloc(size_t size);
void free(void *object);

#ifdef SLOW
static void dawdle(void) {
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begin.tv_sec) * 1000000000L + now.tv_nsec - begin.tv_nsec < 5000);
}
#endif

void *malloc(size_t size) {
#ifdef SLOW
    dawdle();
#endif
    return __libc_malloc(size);
}

void free(void *object) {
#ifdef LEAKS
    static unsigned calls;
    if (calls++ % 64 == 0)
        return;
#endif
    __libc_free(object);
}
