/* os/lock: exclusion, sleeping waiters, ownership, fork, locks with an owner. */
#include "test.h"

#include "os/lock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static struct lock lock;
static size_t shared;

enum { THREADS = 8, ROUNDS = 20000 };

static void *increment(void *unused) {
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        lock_acquire(&lock);
        size_t seen = shared;
        if (i % 64 == 0)
            os_yield(); /* so that the others pile up and sleep */
        shared = seen + 1;
        lock_release(&lock);
    }
    return NULL;
}

static void excludes(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    lock_init(&lock, RANK_BIN);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, increment, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared, (size_t)THREADS * ROUNDS);
    assert_int_equal(atomic_load_explicit(&lock.word, memory_order_relaxed), 0);
}

static void *is_mine_elsewhere(void *unused) {
    (void)unused;
    return lock_is_mine(&lock) ? &lock : NULL;
}

static void knows_its_owner(void **state) {
    (void)state;
    pthread_t thread;
    void *mine;
    lock_init(&lock, RANK_BIN);
    assert_false(lock_is_mine(&lock));
    lock_acquire(&lock);
    assert_true(lock_is_mine(&lock));
    assert_int_equal(pthread_create(&thread, NULL, is_mine_elsewhere, NULL), 0);
    pthread_join(thread, &mine);
    assert_null(mine);
    lock_release(&lock);
    assert_false(lock_is_mine(&lock));
}

static void fork_skips_what_is_held(void **state) {
    (void)state;
    struct lock other;
    lock_init(&lock, RANK_BIN);
    lock_init(&other, RANK_BIN);
    lock_acquire(&lock);
    lock_acquire_for_fork(&lock);
    lock_acquire_for_fork(&other);
    assert_true(lock_is_mine(&other));
    pid_t pid = fork();
    if (pid == 0) { /* what the thread held it still holds, under the same id */
        bool mine = lock_is_mine(&lock) && lock_is_mine(&other);
        lock_release_after_fork(&lock);
        lock_release_after_fork(&other);
        bool kept = lock_is_mine(&lock) && !lock_is_mine(&other);
        lock_release(&lock);
        _exit(mine && kept && !lock_is_mine(&lock) ? 0 : 1);
    }
    test_child_succeeds(pid);
    lock_release_after_fork(&lock);
    lock_release_after_fork(&other);
    assert_true(lock_is_mine(&lock));
    assert_false(lock_is_mine(&other));
    lock_release(&lock);
}

static struct owned_lock owned;
static _Atomic bool done, others_were_within;

static void add_one(bool slowly) {
    size_t seen = shared;
    if (slowly)
        os_yield();
    shared = seen + 1;
}

/* Returns how often it was within: until the others were too, who may get the processor late. */
static void *enter_as_owner(void *unused) {
    (void)unused;
    uintptr_t within = 0;
    for (; within < 10 * ROUNDS || !atomic_load(&others_were_within); within++) {
        owned_lock_enter(&owned);
        add_one(within % 1024 == 0);
        owned_lock_leave(&owned);
        if (within % 512 == 0)
            os_yield();
    }
    atomic_store(&done, true);
    return (void *)within;
}

/* Returns how often it was within. */
static void *ask(void *unused) {
    (void)unused;
    uintptr_t within = 0;
    for (bool possible = true; possible && !atomic_load(&done);)
        if (owned_lock_try_acquire(&owned, &possible)) {
            add_one(within++ % 16 == 0);
            owned_lock_release(&owned);
            atomic_store(&others_were_within, true);
        }
    return (void *)within;
}

static void an_owner_and_others_exclude_each_other(void **state) {
    (void)state;
    enum { OTHERS = 2 };
    pthread_t owner, others[OTHERS];
    size_t within = 0;
    void *count;
    if (!os_membarrier())
        skip();
    owned_lock_init(&owned, RANK_CACHE);
    shared = 0;
    for (int i = 0; i < OTHERS; i++)
        assert_int_equal(pthread_create(&others[i], NULL, ask, NULL), 0);
    assert_int_equal(pthread_create(&owner, NULL, enter_as_owner, NULL), 0);
    for (int i = 0; i < OTHERS; i++) {
        pthread_join(others[i], &count);
        within += (uintptr_t)count;
    }
    pthread_join(owner, &count);
    within += (uintptr_t)count;
    assert_int_equal(shared, within);
    assert_false(owned_lock_owner_is_within(&owned));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(excludes),
        cmocka_unit_test(knows_its_owner),
        cmocka_unit_test(fork_skips_what_is_held),
        cmocka_unit_test(an_owner_and_others_exclude_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
