/* What tests of thread caches share: a heap without a front, and how the front gets and puts small objects. */
#ifndef TEST_CACHES_H
#define TEST_CACHES_H

#include "test.h"

#include "cache/magazine.h"
#include "cache/revoke.h"

#include <pthread.h>

static struct runs runs;
static struct bins bins;
static struct caches caches;

static void thread_ends(void *cache) {
    (void)cache;
    cache_retire(&caches);
}

static int setup(void **state) {
    (void)state;
    if (!runs_init(&runs, test_page_size()))
        return -1;
    bins_init(&bins, &runs);
    caches_init(&caches, &bins);
    return pthread_key_create(&caches.key, thread_ends);
}

static void *get(unsigned class) {
    void *p = cache_pop(class);
    return p != NULL ? p : cache_refill(&caches, class);
}

static void put(unsigned class, void *p) {
    if (!cache_push(class, p))
        cache_overflow(&caches, class, p);
}

#endif
