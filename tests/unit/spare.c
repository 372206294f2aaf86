/* cache/spare: what a thread frees is its own next time, once, and nobody keeps it for long. */
#include "caches.h"

#include "neap/neap.h"

#include <string.h>
#include <unistd.h>

enum { CLASS = 4, SIZE = 110000, OTHER_SIZE = 300000, MOST = 1 << 20 };

/* Leaves some small objects in the calling thread's magazine. */
static void use_small(void) {
    enum { OBJECTS = 20, ROUNDS = 300 };
    void *p[OBJECTS];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < OBJECTS; i++)
            p[i] = get(CLASS);
        for (int i = 0; i < OBJECTS; i++)
            put(CLASS, p[i]);
    }
}

static int setup_used(void **state) {
    if (setup(state) != 0)
        return -1;
    use_small();
    return 0;
}

/* As the front does it. */
static void *get_aligned(size_t size, size_t alignment) {
    bool zeroed;
    void *p = cache_use_spare(&caches, size, alignment, false);
    return p != NULL ? p : large_alloc(&runs, size, alignment, false, &zeroed);
}

static void *get_large(size_t size) {
    return get_aligned(size, 16);
}

static bool put_large(void *p) {
    return cache_keep_spare(&caches, p) || cache_free_large(&caches, p);
}

/* By large allocations, live and spare ones. */
static size_t used(void) {
    return counter_get(&runs.large_units) << UNIT_SHIFT;
}

static int empty(void **state) {
    (void)state;
    cache_flush(&caches);
    runs_check(&runs);
    assert_int_equal(caches_spare_bytes(&caches), 0);
    assert_int_equal(caches_spare_limit(&caches), 0);
    assert_int_equal(used(), 0);
    return 0;
}

static size_t units(size_t size) {
    return large_units(&runs, size, false) << UNIT_SHIFT;
}

static void the_same_block_comes_back(void **state) {
    (void)state;
    void *below = get_large(SIZE), *p = get_large(SIZE);
    assert_true(put_large(p));
    assert_int_equal(caches_spare_bytes(&caches), units(SIZE));
    assert_true(put_large(below)); /* in p's place */
    assert_int_equal(caches_spare_bytes(&caches), units(SIZE));
    assert_int_equal(used(), units(SIZE));
    for (int i = 0; i < 10; i++) {
        assert_ptr_equal(get_large(SIZE - 5000), below); /* of as many units */
        assert_int_equal(large_bytes(&runs, below), align_up(SIZE - 5000, runs.space.page));
        assert_int_equal(caches_spare_bytes(&caches), 0);
        assert_true(put_large(below));
    }
    assert_null(cache_use_spare(&caches, OTHER_SIZE, 16, false));
    assert_null(cache_use_spare(&caches, SIZE_MAX, 16, false));
    assert_null(cache_use_spare(&caches, SIZE, (size_t)1 << 40, false));
    assert_int_equal(caches_spare_bytes(&caches), units(SIZE));
}

/* What was not asked for last, what is too large, and what calloc would not take. */
static void not_everything_is_kept(void **state) {
    (void)state;
    void *p = get_large(SIZE), *other = get_large(OTHER_SIZE);
    assert_true(put_large(p));
    assert_int_equal(caches_spare_bytes(&caches), 0);
    assert_true(put_large(other));
    assert_int_equal(caches_spare_bytes(&caches), units(OTHER_SIZE));
    p = get_large(MOST + 1);
    assert_true(put_large(p));
    assert_int_equal(caches_spare_bytes(&caches), units(OTHER_SIZE));
    p = get_large(MOST);
    assert_null(cache_use_spare(&caches, MOST, 16, true));
    assert_true(put_large(p));
    assert_int_equal(caches_spare_bytes(&caches), units(OTHER_SIZE));
}

static void a_spare_one_is_free(void **state) {
    (void)state;
    void *p = get_large(SIZE);
    assert_false(put_large((char *)p + 16));
    assert_false(put_large((char *)p + UNIT_BYTES));
    assert_true(put_large(p));
    assert_int_equal(caches_spare_bytes(&caches), units(SIZE));
    assert_int_equal(large_bytes(&runs, p), 0);
    assert_false(put_large(p));
    assert_false(large_free(&runs, p));
}

static void growing_and_shrinking(void **state) {
    (void)state;
    unsigned char *p = get_large(SIZE);
    assert_true(put_large(p));
    assert_ptr_equal(get_large(SIZE), p);
    memset(p, 0xee, SIZE);
    assert_ptr_equal(large_resize(&runs, p, OTHER_SIZE), p);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(p[i], 0xee);
    assert_true(put_large(p)); /* is larger than what was asked for */
    assert_int_equal(caches_spare_bytes(&caches), 0);
    assert_int_equal(used(), 0);
}

/* --- other threads --------------------------------------------------------------------------------------- */

static pthread_barrier_t step;

static void *keep_one(void *wait) {
    use_small();
    put_large(get_large(SIZE));
    if (wait != NULL) {
        pthread_barrier_wait(&step);
        pthread_barrier_wait(&step);
    }
    return NULL;
}

static void a_threads_end_frees_it(void **state) {
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, keep_one, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(used(), 0);
}

/* Starts a thread and waits until it has done what it is to do before the others' step. */
static pthread_t start_and_wait(void *(*what)(void *)) {
    pthread_t thread;
    pthread_barrier_init(&step, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, what, &step), 0);
    pthread_barrier_wait(&step);
    return thread;
}

static void let_end(pthread_t thread) {
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&step);
}

static void an_idle_threads_is_taken_back(void **state) {
    (void)state;
    pthread_t thread = start_and_wait(keep_one);
    assert_int_equal(caches_spare_bytes(&caches), units(SIZE));
    caches_tick(&caches, false); /* sees it in use */
    assert_int_equal(caches_spare_bytes(&caches), units(SIZE));
    assert_true(caches_tick(&caches, false) > 0);
    assert_int_equal(caches_spare_bytes(&caches), 0);
    assert_int_equal(caches_spare_limit(&caches), 0);
    let_end(thread);
}

static void *keep_one_and_go_on(void *unused) {
    (void)unused;
    use_small();
    put_large(get_large(SIZE));
    for (int i = 0; i < 3; i++) {
        void *p = cache_pop(CLASS), *other = cache_pop(CLASS); /* hits alone: never a slow path */
        if (p == NULL || other == NULL || !cache_push(CLASS, p) || !cache_push(CLASS, other))
            return &step;
        pthread_barrier_wait(&step);
        pthread_barrier_wait(&step);
    }
    return NULL;
}

static void a_busy_threads_is_taken_back(void **state) {
    (void)state;
    pthread_t thread;
    void *failed;
    pthread_barrier_init(&step, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, keep_one_and_go_on, NULL), 0);
    for (int i = 0; i < 3; i++) {
        pthread_barrier_wait(&step);
        size_t revocations = counter_get(&caches.revocations);
        caches_tick(&caches, false);
        assert_int_equal(caches_spare_bytes(&caches), i == 0 ? units(SIZE) : 0);
        assert_int_equal(counter_get(&caches.revocations), revocations);
        pthread_barrier_wait(&step);
    }
    pthread_join(thread, &failed);
    assert_null(failed);
    pthread_barrier_destroy(&step);
}

/* At its first slow path after a tick. */
static void its_owner_frees_it_in_time(void **state) {
    (void)state;
    void *p = get_large(SIZE), *q = get_large(OTHER_SIZE);
    assert_true(put_large(q));
    caches_tick(&caches, false);
    assert_int_equal(caches_spare_bytes(&caches), units(OTHER_SIZE));
    void *again = get_large(SIZE); /* not a slow path of the cache */
    assert_true(put_large(p));
    assert_int_equal(caches_spare_bytes(&caches), units(SIZE));
    assert_int_equal(used(), units(SIZE) * 2);
    assert_true(put_large(again));
}

static void all_together_have_few(void **state) {
    (void)state;
    enum { THREADS = 60, FEW = 4 << 20 };
    pthread_t threads[THREADS];
    pthread_barrier_init(&step, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, keep_one, &step), 0);
    pthread_barrier_wait(&step);
    size_t spare = caches_spare_bytes(&caches);
    assert_true(spare <= FEW && spare + units(SIZE) > FEW);
    pthread_barrier_wait(&step);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&step);
}

static void a_forked_child_frees_the_others(void **state) {
    (void)state;
    pthread_t thread = start_and_wait(keep_one);
    pid_t pid = fork();
    if (pid == 0) {
        caches_after_fork(&caches);
        cache_flush(&caches);
        _exit(caches_spare_bytes(&caches) == 0 && used() == 0 ? 0 : 1);
    }
    test_child_succeeds(pid);
    let_end(thread);
}

static void *keep_one_and_be_within(void *unused) {
    keep_one(NULL);
    owned_lock_enter(&thread_own->lock);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    owned_lock_leave(&thread_own->lock);
    return unused;
}

/* What a thread had locked is lost in the child; but others may keep as much. */
static void a_forked_child_has_their_shares(void **state) {
    (void)state;
    pthread_t thread = start_and_wait(keep_one_and_be_within);
    assert_true(put_large(get_large(OTHER_SIZE)));
    assert_int_equal(caches_spare_limit(&caches), units(SIZE) + units(OTHER_SIZE));
    pid_t pid = fork();
    if (pid == 0) {
        caches_after_fork(&caches);
        bool own = caches_spare_limit(&caches) == units(OTHER_SIZE);
        cache_flush(&caches);
        _exit(own && caches_spare_limit(&caches) == 0 ? 0 : 1);
    }
    test_child_succeeds(pid);
    let_end(thread);
}

#ifndef __SANITIZE_THREAD__ /* which would tell of the race, that is of the program's mistake */
static void *contended;

static void *put_contended(void *unused) {
    (void)unused;
    use_small();
    void *p = get_large(SIZE);
    bool put_own = put_large(p);
    pthread_barrier_wait(&step);
    bool passed = put_large(contended);
    pthread_barrier_wait(&step);
    return put_own && passed ? &step : NULL;
}

/* Of two threads that free one object at once, one finds that it is free. */
static void one_of_two_frees_passes(void **state) {
    (void)state;
#ifndef NDEBUG
    lock_jitter = 2;
#endif
    for (int i = 0; i < 500; i++) {
        pthread_t thread;
        void *passed;
        contended = get_large(SIZE);
        pthread_barrier_init(&step, NULL, 2);
        assert_int_equal(pthread_create(&thread, NULL, put_contended, NULL), 0);
        pthread_barrier_wait(&step);
        bool mine = put_large(contended);
        pthread_barrier_wait(&step);
        pthread_join(thread, &passed);
        assert_int_equal(mine, passed == NULL);
        pthread_barrier_destroy(&step);
    }
#ifndef NDEBUG
    lock_jitter = 0;
#endif
}
#endif

/* Through the front, with its own heap. */
static void calloc_clears_it(void **state) {
    (void)state;
    neap_free(neap_malloc(1));
    unsigned char *p = neap_malloc(SIZE);
    memset(p, 0xee, SIZE);
    neap_free(p);
    unsigned char *q = neap_calloc(SIZE, 1);
    assert_ptr_equal(q, p);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(q[i], 0);
    neap_free(q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_same_block_comes_back, empty),
        cmocka_unit_test_teardown(not_everything_is_kept, empty),
        cmocka_unit_test_teardown(a_spare_one_is_free, empty),
        cmocka_unit_test_teardown(growing_and_shrinking, empty),
        cmocka_unit_test_teardown(a_threads_end_frees_it, empty),
        cmocka_unit_test_teardown(an_idle_threads_is_taken_back, empty),
        cmocka_unit_test_teardown(a_busy_threads_is_taken_back, empty),
        cmocka_unit_test_teardown(its_owner_frees_it_in_time, empty),
        cmocka_unit_test_teardown(all_together_have_few, empty),
        cmocka_unit_test_teardown(a_forked_child_frees_the_others, empty),
        cmocka_unit_test_teardown(a_forked_child_has_their_shares, empty),
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test_teardown(one_of_two_frees_passes, empty),
#endif
        cmocka_unit_test(calloc_clears_it),
    };
    return cmocka_run_group_tests(tests, setup_used, NULL);
}
