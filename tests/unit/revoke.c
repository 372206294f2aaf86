/* cache/revoke: idle caches are taken back whole, whatever their owners are in the middle of, also where
 * membarrier is refused and where a fork comes in between; magazines that are not used are emptied by their owner.
 */
#include "caches.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CLASS = 4, OTHER = 9, KEPT = 10 };

static size_t allocated(unsigned class) {
    return counter_get(&bins.bin[class].allocated);
}

/* Leaves at least KEPT objects in the calling thread's magazine. */
static void fill(unsigned class) {
    void *objects[2 * KEPT];
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 2 * KEPT; i++)
            objects[i] = get(class);
        for (int i = 0; i < 2 * KEPT; i++)
            put(class, objects[i]);
    }
}

/* A thread that does one thing after the other, as it is told. */
static struct worker {
    pthread_t thread;
    pthread_barrier_t step;
    void (*todo)(void);
    struct cache *cache;
} worker;

static void *run_worker(void *unused) {
    (void)unused;
    for (;;) {
        pthread_barrier_wait(&worker.step);
        if (worker.todo == NULL)
            return NULL;
        worker.todo();
        worker.cache = thread_own;
        pthread_barrier_wait(&worker.step);
    }
}

static void tell(void (*todo)(void)) {
    worker.todo = todo;
    pthread_barrier_wait(&worker.step);
    if (todo != NULL)
        pthread_barrier_wait(&worker.step);
}

static void fill_two(void) {
    fill(CLASS);
    fill(OTHER);
}

static void flush(void) {
    cache_flush(&caches);
}

static void start_worker(void) {
    pthread_barrier_init(&worker.step, NULL, 2);
    assert_int_equal(pthread_create(&worker.thread, NULL, run_worker, NULL), 0);
    tell(fill_two);
    assert_true(allocated(CLASS) >= KEPT && allocated(OTHER) >= KEPT);
}

/* Ends the worker; objects that are live then are `live` of CLASS. */
static void end_worker(size_t live) {
    tell(NULL);
    pthread_join(worker.thread, NULL);
    pthread_barrier_destroy(&worker.step);
    assert_int_equal(allocated(CLASS), live);
    assert_int_equal(allocated(OTHER), 0);
}

static void use(void) {
    void *a = get(CLASS), *b = get(CLASS);
    put(CLASS, a); /* as many as before, in another order */
    put(CLASS, b);
}

static void an_idle_cache_is_taken_whole(void **state) {
    (void)state;
    start_worker();
    size_t held = caches_count(&caches, CLASS) + caches_count(&caches, OTHER);
    size_t revocations = caches.revocations, revoked = caches.revoked;
    assert_int_equal(allocated(CLASS) + allocated(OTHER), held);
    assert_true(caches_pending(&caches));
    assert_int_equal(caches_tick(&caches, false), 0);
    tell(use);
    assert_int_equal(caches_tick(&caches, false), 0);
    assert_int_equal(caches_tick(&caches, false), held);
    assert_true(atomic_load(worker.cache->installer) == absent());
    assert_int_equal(allocated(CLASS) + allocated(OTHER), 0);
    assert_int_equal(caches_count(&caches, CLASS), 0);
    assert_int_equal(caches_in_use(&caches), 1);
    assert_int_equal(caches.revocations, revocations + 1);
    assert_int_equal(caches.revoked, revoked + held);
    assert_false(caches_pending(&caches));
    assert_int_equal(caches_tick(&caches, true), 0);
    assert_int_equal(caches.revocations, revocations + 1);

    tell(use); /* comes back to the same cache */
    assert_true(caches_pending(&caches));
    assert_int_equal(caches_in_use(&caches), 1);
    assert_int_equal(allocated(CLASS), caches_count(&caches, CLASS));
    assert_true(caches_tick(&caches, true) >= 2);
    tell(fill_two);
    end_worker(0);
}

static void an_empty_cache_is_watched_no_longer(void **state) {
    (void)state;
    start_worker();
    tell(flush);
    assert_int_equal(caches_tick(&caches, false), 0);
    assert_true(caches_pending(&caches));
    assert_int_equal(caches_tick(&caches, false), 0);
    assert_false(caches_pending(&caches));
    tell(use);
    assert_true(caches_pending(&caches));
    end_worker(0);
}

static void the_callers_own_stays(void **state) {
    (void)state;
    fill(CLASS);
    size_t held = allocated(CLASS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(caches_tick(&caches, true), 0);
    assert_int_equal(caches_count(&caches, CLASS), held);
    assert_true(caches_pending(&caches));
    cache_retire(&caches); /* of the main thread, which is not needed below */
    assert_int_equal(allocated(CLASS), 0);
}

static void is_emptied_by_its_owner_after_a_tick(void) {
    fill_two();
    caches_tick(&caches, false);
    cache_refill(&caches, OTHER + 2); /* a slow path, in a cache too small to matter */
    assert_true(caches_count(&caches, CLASS) >= KEPT && caches_count(&caches, OTHER) >= KEPT);
    for (unsigned c = OTHER + 3; c < OTHER + 30; c++)
        fill(c);
    caches_tick(&caches, false);
    use();
    assert_true(caches_count(&caches, CLASS) >= KEPT && caches_count(&caches, OTHER) >= KEPT);
    cache_refill(&caches, OTHER + 1); /* a slow path: looks */
    assert_int_equal(caches_count(&caches, CLASS) + caches_count(&caches, OTHER), 0);

    fill_two();
    cache_refill(&caches, OTHER + 1); /* no tick since */
    assert_true(caches_count(&caches, CLASS) >= KEPT && caches_count(&caches, OTHER) >= KEPT);
    cache_check(&caches);
}

static void an_active_cache_shrinks(void **state) {
    (void)state;
    start_worker();
    tell(is_emptied_by_its_owner_after_a_tick);
    end_worker(0);
    assert_int_equal(allocated(OTHER + 1), 2);
}

/* How often the calling thread comes short while it gets so many objects. */
static size_t misses(void) {
    enum { OBJECTS = 400 };
    void *objects[OBJECTS];
    size_t count = 0;
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = cache_pop(CLASS);
        if (objects[i] == NULL) {
            count++;
            objects[i] = cache_refill(&caches, CLASS);
        }
    }
    for (size_t i = 0; i < OBJECTS; i++)
        put(CLASS, objects[i]);
    return count;
}

static size_t misses_at_first, misses_later;

static void *come_short_at_first(void *unused) {
    misses_at_first = misses();
    return unused;
}

static void come_short_later(void) {
    misses_later = misses();
}

static void take_back(void) {
    caches_tick(&caches, false);
    caches_tick(&caches, false);
    assert_int_equal(allocated(CLASS), 0);
}

/* Its magazines are soon as wide as before, as long as it does as much as before. */
static void an_emptied_cache_remembers(void **state) {
    (void)state;
    pthread_t newcomer;
    pthread_create(&newcomer, NULL, come_short_at_first, NULL);
    pthread_join(newcomer, NULL);
    start_worker();
    take_back();
    tell(come_short_later);
    assert_true(misses_later < misses_at_first / 2);
    for (int i = 0; i < 20; i++) {
        take_back();
        tell(use); /* hardly anything */
    }
    take_back();
    tell(come_short_later);
    assert_true(misses_later > misses_at_first * 9 / 10);
    end_worker(0);
}

static void *end_untold(void *unused) {
    (void)unused;
    fill(CLASS);
    syscall(SYS_exit, 0); /* its cache stays installed, as far as anybody knows */
    return NULL;
}

/* The cache is found out when the thread's memory is another's: the next thread gets the same stack, and with it
 * the same thread_cache. Or when it is no more. */
static void a_thread_that_ended_untold_harms_nobody(void **state) {
    (void)state;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    skip(); /* the sanitizers lose track of such a thread */
#endif
    enum { STACK = 1 << 20 };
    for (int unmapped = 0; unmapped < 2; unmapped++) {
        pthread_t thread;
        pthread_attr_t attributes;
        void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        pthread_attr_init(&attributes);
        if (unmapped)
            pthread_attr_setstack(&attributes, stack, STACK);
        assert_int_equal(pthread_create(&thread, &attributes, end_untold, NULL), 0);
        pthread_join(thread, NULL);
        munmap(stack, STACK);
        assert_true(allocated(CLASS) >= KEPT);
        start_worker();
        assert_int_equal(caches_in_use(&caches), 2);
        for (int i = 0; i < 3; i++) {
            tell(use);
            caches_tick(&caches, false);
        }
        assert_int_equal(caches_in_use(&caches), 1);
        assert_true(atomic_load(worker.cache->installer) == worker.cache);
        end_worker(0);
    }
}

#ifndef NDEBUG

/* What the worker, which does nothing really, is made to have in flight: its stores at the first and the second
 * membarrier of the revocation, which follow on that of the cache's lock, and after it. */
static struct magazine *flying;
static slot *flying_top;
static void *popped;
static void (*at_barrier[2])(void);
static bool refuse[3];
static int barriers;

static bool hook(void) {
    int n = barriers++;
    if (n > 0 && at_barrier[n - 1] != NULL)
        at_barrier[n - 1]();
    return !refuse[n];
}

static void store_pop(void) {
    set_top(flying, flying_top - 1);
}

static void undo_pop(void) {
    set_top(flying, flying_top);
}

static void pop_and_undo(void) {
    assert_null(slot_get(flying_top - 1));
    store_pop();
    undo_pop();
}

static void store_push(void) {
    slot_set(flying_top, popped);
    set_top(flying, flying_top + 1);
}

/* Takes the worker's cache back while that happens. Returns how many objects were taken. */
static size_t revoke_while(void (*first)(void), void (*second)(void)) {
    flying = &worker.cache->magazine[CLASS];
    flying_top = top_of(flying);
    at_barrier[0] = first;
    at_barrier[1] = second;
    barriers = 0;
    os_membarrier_hook = hook;
    size_t taken = caches_tick(&caches, true);
    os_membarrier_hook = NULL;
    return taken;
}

static void a_pop_that_came_first_keeps_its_object(void **state) {
    (void)state;
    start_worker();
    size_t held = allocated(CLASS) + allocated(OTHER);
    popped = slot_get(top_of(&worker.cache->magazine[CLASS]) - 1);
    assert_int_equal(revoke_while(NULL, store_pop), held - 1);
    assert_int_equal(allocated(CLASS), 1);
    assert_false(bin_holds(&bins, CLASS, popped));
    tell(fill_two);
    assert_false(bin_holds(&bins, CLASS, popped));
    end_worker(1);
    bin_flush(&bins, CLASS, 1, &popped);

    start_worker(); /* stored before the topmost objects were looked at */
    held = allocated(CLASS) + allocated(OTHER);
    popped = slot_get(top_of(&worker.cache->magazine[CLASS]) - 1);
    assert_int_equal(revoke_while(store_pop, NULL), held - 1);
    end_worker(1);
    bin_flush(&bins, CLASS, 1, &popped);
}

static void a_pop_that_came_late_gets_nothing(void **state) {
    (void)state;
    start_worker();
    size_t held = allocated(CLASS) + allocated(OTHER);
    assert_int_equal(revoke_while(NULL, store_pop), held - 1); /* in doubt … */
    undo_pop();
    tell(fill_two); /* … until now */
    assert_int_equal(allocated(CLASS), caches_count(&caches, CLASS));
    end_worker(0);

    start_worker();
    held = allocated(CLASS) + allocated(OTHER);
    assert_int_equal(revoke_while(NULL, pop_and_undo), held);
    end_worker(0);

    start_worker();
    held = allocated(CLASS) + allocated(OTHER);
    assert_int_equal(revoke_while(NULL, NULL), held);
    pop_and_undo();
    end_worker(0);
}

static void a_push_is_kept(void **state) {
    (void)state;
    for (int when = 0; when < 3; when++)
        for (int to_empty = 0; to_empty < 2; to_empty++) {
            start_worker();
            if (to_empty)
                tell(flush);
            bin_refill(&bins, CLASS, 1, &popped);
            size_t held = allocated(CLASS) + allocated(OTHER);
            size_t taken = revoke_while(when == 0 ? store_push : NULL, when == 1 ? store_push : NULL);
            assert_int_equal(taken, when == 0 ? held : held - 1);
            if (when == 2)
                store_push();
            end_worker(0);
        }
}

static void a_refused_membarrier_changes_nothing(void **state) {
    (void)state;
    for (int refused = 0; refused < 3; refused++) {
        start_worker();
        size_t in_class = allocated(CLASS), in_other = allocated(OTHER);
        refuse[refused] = true;
        assert_int_equal(revoke_while(NULL, NULL), 0);
        assert_int_equal(barriers, refused + 1);
        refuse[refused] = false;
        assert_true(caches.refused);
        assert_false(caches_pending(&caches));
        assert_int_equal(caches_tick(&caches, true), 0);
        assert_int_equal(caches_count(&caches, CLASS), in_class);
        assert_int_equal(caches_count(&caches, OTHER), in_other);
        assert_true(atomic_load(worker.cache->installer) == worker.cache);
        caches.refused = false;
        end_worker(0);
    }
}

static pthread_barrier_t forking;

static void let_fork(void) {
    pthread_barrier_wait(&forking);
    pthread_barrier_wait(&forking);
}

static void *run_revoker(void *unused) {
    (void)unused;
    revoke_while(NULL, let_fork);
    return NULL;
}

/* In the child neither the worker nor the revoker is there; the topmost objects, which the latter remembers, are
 * lost. */
static int forked_child(void) {
    os_membarrier_hook = NULL;
    caches_after_fork(&caches);
    if (caches_tick(&caches, true) != 0) /* the others' owners are gone */
        return 3;
    void *p = get(CLASS);
    put(CLASS, p);
    cache_check(&caches);
    cache_flush(&caches);
    if (allocated(CLASS) > 2 || allocated(OTHER) > 2 || caches_in_use(&caches) != 1)
        return 1;
    fill_two();
    cache_flush(&caches);
    return caches_tick(&caches, true) == 0 ? 0 : 2;
}

static bool first_made; /* the cache of the thread that forks, before the worker's */
static int own_was_locked;

static void *fork_amid(void *unused) {
    (void)unused;
    pthread_t revoker;
    if (first_made)
        fill_two();
    start_worker();
    if (!first_made)
        fill_two();
    pthread_barrier_init(&forking, NULL, 2);
    assert_int_equal(pthread_create(&revoker, NULL, run_revoker, NULL), 0);
    pthread_barrier_wait(&forking);
    own_was_locked += lock_holder(&thread_own->lock.others) != 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(forked_child());
    test_child_succeeds(pid);
    barriers = 0; /* the revoker goes on to the other cache, without waiting again */
    at_barrier[1] = NULL;
    pthread_barrier_wait(&forking);
    pthread_join(revoker, NULL);
    pthread_barrier_destroy(&forking);
    tell(NULL);
    pthread_join(worker.thread, NULL);
    return NULL;
}

/* The revoker begins with one of two caches, and that of the thread that forks is once the one and once the other.
 */
static void a_fork_amid_a_revocation(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        first_made = i == 0;
        assert_int_equal(pthread_create(&thread, NULL, fork_amid, NULL), 0);
        pthread_join(thread, NULL);
        pthread_barrier_destroy(&worker.step);
        assert_int_equal(allocated(CLASS) + allocated(OTHER), 0);
    }
    assert_int_equal(own_was_locked, 1);
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_callers_own_stays),
        cmocka_unit_test(an_idle_cache_is_taken_whole),
        cmocka_unit_test(an_empty_cache_is_watched_no_longer),
        cmocka_unit_test(an_active_cache_shrinks),
        cmocka_unit_test(an_emptied_cache_remembers),
        cmocka_unit_test(a_thread_that_ended_untold_harms_nobody),
#ifndef NDEBUG
        cmocka_unit_test(a_pop_that_came_first_keeps_its_object),
        cmocka_unit_test(a_pop_that_came_late_gets_nothing),
        cmocka_unit_test(a_push_is_kept),
        cmocka_unit_test(a_refused_membarrier_changes_nothing),
        cmocka_unit_test(a_fork_amid_a_revocation),
#endif
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
