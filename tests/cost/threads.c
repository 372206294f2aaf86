/* usage: threads THREADS idle|work
 * Starts THREADS threads which do nothing, or allocate and free a mix of 1000 small objects, and block. Prints
 * /proc/self/smaps two seconds later.
 *
 * SPDX-License-Identifier: MIT */
#include "smaps.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OBJECTS = 1000, STACK_BYTES = 64 << 10, SETTLE_MS = 2000 };

static pthread_barrier_t done;
static int work;

/* 16 to 512 bytes, small ones more often: each range between powers of two has the same share. */
static size_t draw_size(unsigned *state) {
    *state = *state * 1664525u + 1013904223u;
    unsigned bits = *state >> 8;
    size_t low = (size_t)16 << (bits % 5);
    return low + (bits >> 3) % low;
}

static __attribute__((noinline)) void use_heap(unsigned seed) {
    void *objects[OBJECTS];
    for (int i = 0; i < OBJECTS; i++) {
        size_t size = draw_size(&seed);
        objects[i] = malloc(size);
        if (objects[i] == NULL)
            abort();
        memset(objects[i], 1, size);
    }
    for (int i = 0; i < OBJECTS; i++)
        free(objects[i]);
}

/* Touches the stack deeper than the work does, so that both kinds of thread have the same pages of it. */
static __attribute__((noinline)) void use_stack(void) {
    char stack[32 << 10];
    memset(stack, 1, sizeof stack);
    __asm__ volatile("" : : "r"(stack) : "memory");
}

static void *thread(void *number) {
    use_stack();
    if (work)
        use_heap((unsigned)(uintptr_t)number);
    pthread_barrier_wait(&done);
    for (;;)
        nanosleep(&(struct timespec){.tv_sec = 1000}, NULL);
    return NULL;
}

int main(int argc, char **argv) {
    unsigned threads = argc == 3 ? (unsigned)atoi(argv[1]) : 0;
    work = argc == 3 && strcmp(argv[2], "work") == 0;
    pthread_attr_t attr;
    if (threads == 0 || pthread_barrier_init(&done, NULL, threads + 1) != 0 || pthread_attr_init(&attr) != 0 ||
        pthread_attr_setstacksize(&attr, STACK_BYTES) != 0)
        return 2;
    for (uintptr_t i = 0; i < threads; i++) {
        pthread_t id;
        if (pthread_create(&id, &attr, thread, (void *)i) != 0)
            return 2;
    }
    pthread_barrier_wait(&done);
    nanosleep(&(struct timespec){.tv_sec = SETTLE_MS / 1000, .tv_nsec = SETTLE_MS % 1000 * 1000000L}, NULL);
    return smaps_print() ? 0 : 2;
}
