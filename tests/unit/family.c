/* front/: the malloc family's contract, on the prefixed build; and memory that runs out at every place where more
 * is asked of the system. */
#include "scavenger.h"
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void all_zero(const unsigned char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        assert_int_equal(p[i], 0);
}

static void every_small_size(void **state) {
    (void)state;
    for (size_t size = 0; size <= 70000; size += size < 2100 ? 1 : 211) {
        unsigned char *p = neap_malloc(size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        size_t usable = neap_malloc_usable_size(p);
        assert_true(usable >= size);
        memset(p, 0xff, usable);
        neap_free(p);
        p = neap_calloc(1, size);
        all_zero(p, size);
        neap_free(p);
    }
    heap_check();
}

static void zero_sizes(void **state) {
    (void)state;
    void *a = neap_malloc(0), *b = neap_malloc(0), *c = neap_calloc(0, 8);
    assert_true(a != NULL && b != NULL && c != NULL && a != b && b != c && a != c);
    assert_null(neap_realloc(a, 0));
    neap_free(b);
    neap_free(c);
    neap_free(NULL);
    neap_free_sized(NULL, 0);
    neap_free_aligned_sized(NULL, 0, 0);
    assert_int_equal(neap_malloc_usable_size(NULL), 0);
}

static void too_large(void **state) {
    (void)state;
    static const size_t sizes[] = {
        SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 4096, (size_t)PTRDIFF_MAX + 1, (size_t)PTRDIFF_MAX, (size_t)1 << 60};
    unsigned char *kept = neap_malloc(100);
    memset(kept, 9, 100);
    scavenger_hold();
    size_t ticks = counter_get(&heap.caches.ticks);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        void *untouched = &kept, *out = untouched;
#define REFUSES(call) (errno = 0, assert_null(call), assert_int_equal(errno, ENOMEM))
        REFUSES(neap_malloc(n));
        REFUSES(neap_calloc(1, n));
        REFUSES(neap_calloc(n, 2));
        REFUSES(neap_realloc(kept, n));
        REFUSES(neap_realloc(NULL, n));
        REFUSES(neap_reallocarray(kept, n, 1));
        REFUSES(neap_reallocarray(kept, n, n));
        REFUSES(neap_aligned_alloc(64, n));
        REFUSES(neap_memalign(1 << 20, n));
        REFUSES(neap_memalign((size_t)1 << 60, 8));
        REFUSES(neap_valloc(n));
        REFUSES(neap_pvalloc(n));
        assert_int_equal(neap_posix_memalign(&out, 64, n), ENOMEM);
        assert_ptr_equal(out, untouched);
    }
    assert_int_equal(counter_get(&heap.caches.ticks), ticks); /* nothing was purged in vain */
    scavenger_let_go();
    for (int i = 0; i < 100; i++)
        assert_int_equal(kept[i], 9);
    neap_free(kept);
}

static void alignments(void **state) {
    (void)state;
    void *out = NULL;
    assert_int_equal(neap_posix_memalign(&out, 0, 8), EINVAL);
    assert_int_equal(neap_posix_memalign(&out, 4, 8), EINVAL);
    assert_int_equal(neap_posix_memalign(&out, 24, 8), EINVAL);
    errno = 0;
    assert_null(neap_aligned_alloc(0, 8));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(neap_aligned_alloc(48, 8));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(neap_memalign(SIZE_MAX / 2 + 2, 8));
    assert_int_equal(errno, EINVAL);
    for (size_t alignment = 1; alignment <= (size_t)1 << 30; alignment *= 2)
        for (size_t size = 0; size <= 100000; size = size * 7 + 1) {
            void *p = neap_aligned_alloc(alignment, size), *q = neap_memalign(alignment - alignment / 4, size);
            assert_true(p != NULL && q != NULL && p != q);
            assert_int_equal((uintptr_t)p % alignment, 0);
            assert_int_equal((uintptr_t)q % alignment, 0);
            assert_true(neap_malloc_usable_size(p) >= size);
            neap_free_aligned_sized(p, alignment, size);
            neap_free(q);
        }
    size_t page = os_page_size();
    for (size_t size = 0; size < 5 * page; size += 911) {
        void *v = neap_valloc(size), *w = neap_pvalloc(size);
        assert_int_equal((uintptr_t)v % page, 0);
        assert_int_equal((uintptr_t)w % page, 0);
        assert_true(neap_malloc_usable_size(w) >= align_up(size, page));
        neap_free(v);
        neap_free(w);
    }
    heap_check();
}

static void realloc_keeps_contents(void **state) {
    (void)state;
    uint64_t seed = 11;
    for (int round = 0; round < 300; round++) {
        size_t size = 1 + test_random(&seed) % 300;
        unsigned char *p = neap_malloc(size);
        for (size_t i = 0; i < size; i++)
            p[i] = (unsigned char)(i * 7);
        for (int step = 0; step < 12; step++) {
            size_t larger = test_random(&seed) % 4 == 0 ? 1 + test_random(&seed) % size
                                                        : size + test_random(&seed) % (size + 50);
            p = neap_realloc(p, larger);
            assert_non_null(p);
            for (size_t i = 0; i < min_size(size, larger); i++)
                if (p[i] != (unsigned char)(i * 7))
                    fail_msg("byte %zu lost between %zu and %zu", i, size, larger);
            for (size_t i = size; i < larger; i++)
                p[i] = (unsigned char)(i * 7);
            size = larger;
        }
        neap_free(p);
    }
    heap_check();
}

static void trim_returns_all(void **state) {
    (void)state;
    enum { N = 2000 };
    static void *objects[N];
    for (int i = 0; i < N; i++)
        memset(objects[i] = neap_malloc(5000), 1, 5000);
    for (int i = 0; i < N; i++)
        neap_free(objects[i]);
    scavenger_hold(); /* what it had in its hands could come back between the two */
    neap_malloc_trim(0);
    assert_int_equal(counter_get(&heap.runs.free_units[RUN_DIRTY]), 0);
    assert_int_equal(neap_malloc_trim(0), 0);
    scavenger_let_go();
}

static size_t live_bytes(void) {
    char *text = NULL;
    size_t size, live = SIZE_MAX;
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(neap_malloc_info(0, out), 0);
    fclose(out);
    const char *total = strstr(text, "<total type=\"live\"");
    assert_true(total != NULL && sscanf(total, "<total type=\"live\" size=\"%zu\"", &live) == 1);
    free(text);
    return live;
}

static void what_is_on_its_way_is_not_live(void **state) {
    (void)state;
    struct run_request held = {
        .units = 16, .align_units = 16, .first_kind = UNIT_LARGE_BODY, .other_kind = UNIT_LARGE_BODY};
    bool zeroed;
    size_t before = live_bytes(), large = 5 << 20;
    size_t unit = run_alloc(&heap.runs, &held, &zeroed); /* as who returns its pages holds it */
    assert_int_equal(live_bytes(), before);
    run_free(&heap.runs, unit, held.units, zeroed ? RUN_CLEAN : RUN_DIRTY);
    void *p = neap_malloc(large);
    assert_int_equal(live_bytes(), before + large);
    neap_free(p);
    assert_int_equal(live_bytes(), before);
}

static void free_memory_is_bounded(void **state) {
    (void)state;
    size_t most = 0;
    scavenger_hold();
    counter_set(&heap.purge.refaulted_limit, SIZE_MAX); /* whatever the tests before have cost */
    for (int round = 0; round < 40; round++) {
        void *p = neap_malloc(10 << 20);
        memset(p, 1, 10 << 20);
        neap_free(p);
        size_t dirty = counter_get(&heap.runs.free_units[RUN_DIRTY]) << UNIT_SHIFT;
        most = max_size(most, dirty);
    }
    scavenger_let_go();
    assert_true(most <= 12 << 20);
}

#if !defined(NDEBUG) && !defined(__SANITIZE_THREAD__) /* which makes so many forks too slow */
#define MEMORY_CAN_RUN_OUT
enum { PIECES = 400 };

/* Allocates pieces of all sizes in a thread of its own, grows them by realloc and frees them, and tells whether
 * memory ran out meanwhile. What it was given must be whole, and errno set, every time. */
static void *work_through(void *refused) {
    static const size_t sizes[] = {24, 3000, 100, 40000, 20000, 700, 300000, 48, 2 << 20, 16};
    struct {
        unsigned char *p;
        size_t size;
    } pieces[PIECES];
    for (size_t i = 0; i < PIECES; i++) {
        size_t size = sizes[i % 10];
        errno = 0;
        unsigned char *p = i % 3 == 0   ? neap_calloc(1, size)
                           : i % 3 == 1 ? neap_malloc(size)
                                        : neap_aligned_alloc(4096, size);
        if (p == NULL) {
            *(bool *)refused = true;
            assert_int_equal(errno, ENOMEM);
        } else {
            memset(p, (int)i, size);
            errno = 0;
            unsigned char *q = neap_realloc(p, size * 3 / 2);
            if (q != NULL) {
                p = q;
                size = size * 3 / 2;
                memset(p, (int)i, size);
            } else {
                *(bool *)refused = true;
                assert_int_equal(errno, ENOMEM);
            }
        }
        pieces[i].p = p;
        pieces[i].size = size;
    }
    for (size_t i = 0; i < PIECES; i++) {
        for (size_t k = 0; pieces[i].p != NULL && k < pieces[i].size; k += 97)
            assert_int_equal(pieces[i].p[k], (unsigned char)i);
        neap_free(pieces[i].p);
    }
    return NULL;
}

static size_t lost_objects(void) {
    size_t lost = 0;
    for (unsigned c = 1; c < CLASSES; c++)
        lost += counter_get(&heap.bins.bin[c].allocated) - caches_count(&heap.caches, c);
    return lost;
}

/* Each child has one mapping more than the last, until all goes well. */
static void memory_runs_out_anywhere(void **state) {
    (void)state;
    for (size_t maps = 0, refusals = 1; refusals > 0; maps++) {
        pid_t pid = fork();
        if (pid == 0) {
            bool refused = false;
            pthread_t thread;
            scavenger_hold(); /* what it had in its hands would be lost for a moment */
            os_maps_left = maps;
            if (pthread_create(&thread, NULL, work_through, &refused) != 0)
                _exit(3);
            pthread_join(thread, NULL);
            work_through(&refused);
            os_maps_left = SIZE_MAX;
            heap_check();
            size_t used_before = lost_objects();
            bool again = false;
            work_through(&again); /* all that there was is there again */
            neap_malloc_trim(0);
            heap_check();
            bool lost = used_before != 0 || lost_objects() != 0 || counter_get(&heap.runs.used_units) != 0;
            _exit(lost || again ? 2 : refused ? 1 : 0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
        refusals = (size_t)WEXITSTATUS(status);
        assert_true(maps > 0 || refusals > 0);
        assert_true(maps < 1000);
    }
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef MEMORY_CAN_RUN_OUT
        cmocka_unit_test(memory_runs_out_anywhere), /* first: the heap is not made yet */
#endif
        cmocka_unit_test(zero_sizes),
        cmocka_unit_test(every_small_size),
        cmocka_unit_test(too_large),
        cmocka_unit_test(alignments),
        cmocka_unit_test(realloc_keeps_contents),
        cmocka_unit_test(trim_returns_all),
        cmocka_unit_test(what_is_on_its_way_is_not_live),
        cmocka_unit_test(free_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
