/* cache/: magazines, their growth, flush and retirement, threads, orphans of a fork. */
#include "caches.h"

#include <string.h>
#include <unistd.h>

static size_t live(unsigned class) {
    return counter_get(&bins.bin[class].allocated) - caches_count(&caches, class);
}

enum { MIDDLE = 30, CROWD = 80 }; /* a class, and threads */

static void pops_what_was_pushed_last(void **state) {
    (void)state;
    const unsigned c = 4;
    void *a = get(c), *b = get(c);
    assert_ptr_not_equal(a, b);
    put(c, a);
    put(c, b);
    assert_ptr_equal(get(c), b);
    assert_ptr_equal(get(c), a);
    put(c, a);
    assert_false(cache_push(c, a)); /* twice in a row is seen at once */
    assert_true(cache_holds(c, a, SIZE_MAX));
    assert_false(cache_holds(c, b, SIZE_MAX));
    put(c, b);
    assert_int_equal(live(c), 0);
    cache_check(&caches);
}

static void counts_stay_right(void **state) {
    (void)state;
    static void *objects[5000];
    for (unsigned c = 1; c < CLASSES; c++) {
        for (size_t i = 0; i < 5000 && i * class_bytes(c) < 4 << 20; i++) {
            assert_non_null(objects[i] = get(c));
            memset(objects[i], 0x33, class_bytes(c));
            assert_int_equal(live(c), i + 1);
        }
        cache_check(&caches);
        for (size_t i = 0; i < 5000 && i * class_bytes(c) < 4 << 20; i++)
            put(c, objects[i]);
        assert_int_equal(live(c), 0);
        size_t bytes = caches_count(&caches, c) * class_bytes(c);
        assert_true(bytes <= MAGAZINE_BYTES || caches_count(&caches, c) == 1);
        cache_check(&caches);
    }
    cache_flush(&caches);
    for (unsigned c = 1; c < CLASSES; c++)
        assert_int_equal(caches_count(&caches, c), 0);
    assert_int_equal(counter_get(&runs.used_units), 0);
}

static void *use_and_end(void *objects) {
    for (unsigned c = 1; c < CLASSES; c++) {
        void *p = get(c);
        put(c, get(c));
        put(c, p);
    }
    for (int i = 0; i < 100; i++) /* handed over by another thread */
        put(5, ((void **)objects)[i]);
    return NULL;
}

/* Where objects lie far apart, magazines hold little, so that holes of full slabs are filled first. */
static void magazines_are_small_where_slabs_are_thin(void **state) {
    (void)state;
    enum { OBJECTS = 40000, KEEP_ONE_IN = 5, MANY = 200, FEW = 1024 / 64 };
    static void *objects[OBJECTS];
    const unsigned c = 4;
    assert_int_equal(class_bytes(c), 64);
    for (size_t i = 0; i < OBJECTS; i++)
        objects[i] = get(c);
    for (size_t i = 0; i < OBJECTS; i++)
        if (i % KEEP_ONE_IN != 0)
            put(c, objects[i]);
    assert_true(caches_count(&caches, c) > FEW);
    bins_tick(&bins, false);
    assert_false(bin_is_thin(&bins, c)); /* it may be full again in a moment */
    bins_tick(&bins, true);              /* no time has passed */
    assert_false(bin_is_thin(&bins, c));
    bins_tick(&bins, false);
    assert_true(bin_is_thin(&bins, c));
    for (int round = 0; round < 3; round++) {
        void *more[MANY];
        for (size_t i = 0; i < MANY; i++)
            more[i] = get(c);
        for (size_t i = 0; i < MANY; i++)
            put(c, more[i]);
        cache_check(&caches);
    }
    assert_in_range(caches_count(&caches, c), 1, FEW);

    for (size_t i = 0; i < OBJECTS; i++)
        if (i % KEEP_ONE_IN != 0)
            objects[i] = get(c);
    bins_tick(&bins, false);
    assert_false(bin_is_thin(&bins, c));
    for (size_t i = 0; i < OBJECTS; i++)
        put(c, objects[i]);
    assert_true(caches_count(&caches, c) > FEW);
    assert_int_equal(live(c), 0);
    cache_flush(&caches);
}

static void a_thread_leaves_nothing(void **state) {
    (void)state;
    for (int round = 0; round < 50; round++) {
        void *objects[100];
        pthread_t thread;
        for (int i = 0; i < 100; i++)
            objects[i] = get(5);
        assert_int_equal(pthread_create(&thread, NULL, use_and_end, objects), 0);
        pthread_join(thread, NULL);
        assert_int_equal(live(5), 0);
        assert_int_equal(caches_in_use(&caches), 1);
    }
    assert_true(caches.made <= 3);
    cache_flush(&caches);
    bins_tick(&bins, false); /* the depot keeps slabs */
    assert_int_equal(counter_get(&runs.used_units), 0);
}

static pthread_barrier_t barrier;

static void *use_together(void *unused) {
    (void)unused;
    void *objects[20]; /* more than the slow path takes one at a time: slots beyond the cache's first page are used
                        */
    for (int i = 0; i < 20; i++)
        objects[i] = get(MIDDLE);
    for (int i = 0; i < 20; i++)
        put(MIDDLE, objects[i]);
    pthread_barrier_wait(&barrier);
    return NULL;
}

/* Lets as many threads use a cache each at the same time. */
static void use_caches(unsigned count) {
    pthread_t threads[CROWD];
    pthread_barrier_init(&barrier, NULL, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_together, NULL), 0);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
}

/* How many caches that no thread uses have more than their first page. */
static unsigned warm_caches(void) {
    unsigned count = 0;
    for (uint32_t number = 0; number < caches.made; number++) {
        struct cache *cache = cache_at(&caches, number);
        size_t page = os_page_size(), offset = runs.space.page;
        while (offset < CACHE_BYTES && !os_is_resident((uintptr_t)cache + offset, page))
            offset += page;
        count += !cache->in_use && offset < CACHE_BYTES;
    }
    return count;
}

static void *tick(void *unused) {
    (void)unused;
    caches_tick(&caches, false);
    return NULL;
}

/* By a thread without a cache: the main thread's is taken back, too, and keeps nobody waiting. */
static void tick_elsewhere(void) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, tick, NULL), 0);
    pthread_join(thread, NULL);
}

static void unused_caches_stay_warm_while_they_are_needed(void **state) {
    (void)state;
    if (runs.space.page >= CACHE_BYTES)
        skip();
    for (int round = 0; round < 3; round++) {
        use_caches(30);
        assert_true(warm_caches() >= 30);
        tick_elsewhere(); /* they were needed since the last one, or made */
        assert_true(round == 0 || warm_caches() >= 30);
    }
    assert_true(caches_pending(&caches));
    use_caches(18);
    tick_elsewhere(); /* 12 were not */
    assert_in_range(warm_caches(), 18, 18 + 8);
    tick_elsewhere();
    assert_in_range(warm_caches(), 1, 8);
    assert_false(caches_pending(&caches));
    unsigned few = warm_caches();
    for (int round = 0; round < 20; round++) /* those first: no other becomes warm, none cold */
        use_caches(1);
    assert_int_equal(warm_caches(), few);
    use_caches(CROWD); /* more than are kept warm */
    assert_in_range(warm_caches(), 30, CROWD - 1);
    caches_tick(&caches, true);
    assert_int_equal(warm_caches(), few);
    cache_flush(&caches);
    caches_tick(&caches, true);
    assert_int_equal(counter_get(&bins.bin[MIDDLE].allocated), 0);
}

static void *use_then_wait(void *unused) {
    use_together(unused);
    pthread_barrier_wait(&barrier); /* its cache has been taken back */
    return NULL;
}

static void caches_of_threads_that_were_idle_to_their_end_cool_too(void **state) {
    (void)state;
    enum { THREADS = 30 };
    pthread_t threads[THREADS];
    if (runs.space.page >= CACHE_BYTES || !os_membarrier())
        skip();
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_then_wait, NULL), 0);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 3; i++)
        tick_elsewhere();
    assert_false(caches_pending(&caches));
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
    assert_true(warm_caches() > 8);
    while (caches_pending(&caches))
        tick_elsewhere();
    assert_in_range(warm_caches(), 1, 8);
}

static void *retire_then_use(void *unused) {
    (void)unused;
    void *p = get(9);
    cache_retire(&caches);
    put(9, p); /* no cache any more: to the bin at once */
    void *q = get(9);
    void *held = bin_holds(&bins, 9, q) ? q : NULL;
    put(9, q);
    return held;
}

static void works_after_retirement(void **state) {
    (void)state;
    pthread_t thread;
    void *wrong;
    assert_int_equal(pthread_create(&thread, NULL, retire_then_use, NULL), 0);
    pthread_join(thread, &wrong);
    assert_null(wrong);
    assert_int_equal(counter_get(&bins.bin[9].allocated), 0);
}

/* As a signal handler would find it that came while the thread's cache was made, used or given up. */
static void tells_when_it_is_interrupted(void **state) {
    (void)state;
    put(3, get(3));
    assert_false(caches_are_interrupted(&caches));
    lock_acquire(&caches.registry);
    assert_true(caches_are_interrupted(&caches));
    lock_release(&caches.registry);
    owned_lock_enter(&thread_own->lock);
    assert_true(caches_are_interrupted(&caches));
    owned_lock_leave(&thread_own->lock);
    assert_false(caches_are_interrupted(&caches));
}

static void *hold_objects(void *unused) {
    (void)unused;
    void *objects[40];
    for (int round = 0; round < 200; round++) { /* until the magazine is as large as it gets */
        for (int i = 0; i < 40; i++)
            objects[i] = get(3);
        for (int i = 0; i < 40; i++)
            put(3, objects[i]);
    }
    pthread_barrier_wait(&barrier); /* the magazine is full now: fork … */
    pthread_barrier_wait(&barrier); /* … is over */
    return NULL;
}

static void a_forked_child_empties_the_others(void **state) {
    (void)state;
    pthread_t threads[5];
    pthread_barrier_init(&barrier, NULL, 6);
    put(3, get(3));
    for (int i = 0; i < 5; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_objects, NULL), 0);
    pthread_barrier_wait(&barrier);
    assert_int_equal(caches_in_use(&caches), 6);
    size_t allocated = counter_get(&bins.bin[3].allocated);
    assert_true(allocated > 5 * 20);
    pid_t pid = fork();
    if (pid == 0) {
        caches_after_fork(&caches);
        cache_flush(&caches); /* any slow path */
        _exit(counter_get(&bins.bin[3].allocated) == 0 && caches_in_use(&caches) == 1 ? 0 : 1);
    }
    test_child_succeeds(pid);
    assert_int_equal(counter_get(&bins.bin[3].allocated), allocated);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 5; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
    cache_flush(&caches);
    assert_int_equal(counter_get(&bins.bin[3].allocated), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pops_what_was_pushed_last),
        cmocka_unit_test(counts_stay_right),
        cmocka_unit_test(magazines_are_small_where_slabs_are_thin),
        cmocka_unit_test(a_thread_leaves_nothing),
        cmocka_unit_test(unused_caches_stay_warm_while_they_are_needed),
        cmocka_unit_test(caches_of_threads_that_were_idle_to_their_end_cool_too),
        cmocka_unit_test(works_after_retirement),
        cmocka_unit_test(a_forked_child_empties_the_others),
        cmocka_unit_test(tells_when_it_is_interrupted),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
