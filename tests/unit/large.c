/* large/: sizes, growth in place and by moving, shrinking, clean memory. */
#include "test.h"

#include "large/large.h"

#include <string.h>

static struct runs runs;

static int setup(void **state) {
    (void)state;
    return runs_init(&runs, test_page_size()) ? 0 : -1;
}

static void check(void) {
    runs_check(&runs);
    assert_int_equal(counter_get(&runs.large_units), counter_get(&runs.used_units));
}

static void purge(void) {
    while (run_purge_oldest(&runs, 1) != 0)
        ;
}

static void sizes_and_alignments(void **state) {
    (void)state;
    for (size_t size = 1; size < 3 << 20; size = size * 5 / 3 + 1)
        for (size_t alignment = 16; alignment <= 8 << 20; alignment *= 32) {
            bool zeroed;
            unsigned char *p = large_alloc(&runs, size, alignment, false, &zeroed);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % alignment, 0);
            size_t usable = large_bytes(&runs, p);
            assert_true(usable >= size && usable < size + runs.space.page);
            for (size_t i = 0; zeroed && i < usable; i += 512)
                assert_int_equal(p[i], 0);
            memset(p, 0xee, usable);
            assert_int_equal(large_bytes(&runs, p + 16), 0);
            assert_false(large_free(&runs, p + 16));
            assert_true(large_free(&runs, p));
            assert_false(large_free(&runs, p));
        }
    check();
    assert_int_equal(counter_get(&runs.used_units), 0);
}

static void calloc_prefers_clean(void **state) {
    (void)state;
    bool zeroed;
    purge();
    unsigned char *p = large_alloc(&runs, 4 << 20, 16, false, &zeroed);
    memset(p, 1, 4 << 20);
    assert_true(large_free(&runs, p));
    unsigned char *q = large_alloc(&runs, 4 << 20, 16, true, &zeroed);
    assert_true(zeroed && q != p && q[0] == 0 && q[(4 << 20) - 1] == 0);
    assert_true(large_free(&runs, q));
    purge();
}

static void grows(void **state) {
    (void)state;
    bool zeroed;
    size_t size = 40000;
    uint32_t *p = large_alloc(&runs, size, 16, false, &zeroed);
    void *in_the_way[400];
    size_t obstacles = 0, moves = 0;
    for (size_t i = 0; i < size / 4; i++)
        p[i] = (uint32_t)i;
    while (size < 64 << 20) {
        size_t larger = size + size / 3;
        if (obstacles < 400) /* whatever lies behind p is taken again and again */
            in_the_way[obstacles++] = large_alloc(&runs, 50000, 16, false, &zeroed);
        uint32_t *q = large_resize(&runs, p, larger);
        if (q == NULL) { /* small: the caller copies */
            assert_true(size < 256 << 10);
            q = large_alloc(&runs, larger, 16, false, &zeroed);
            memcpy(q, p, size);
            assert_true(large_free(&runs, p));
        }
        moves += q != p;
        p = q;
        assert_true(large_bytes(&runs, p) >= larger);
        for (size_t i = 0; i < size / 4; i += 63)
            assert_int_equal(p[i], i);
        for (size_t i = size / 4; i < larger / 4; i++)
            p[i] = (uint32_t)i;
        size = larger;
        check();
    }
    assert_true(moves > 3);
    /* Shrinking stays in place and gives units back. */
    size_t used = counter_get(&runs.used_units);
    assert_ptr_equal(large_resize(&runs, p, 1 << 20), p);
    assert_true(counter_get(&runs.used_units) < used);
    for (size_t i = 0; i < (1 << 20) / 4; i++)
        assert_int_equal(p[i], i);
    assert_true(large_free(&runs, p));
    for (size_t i = 0; i < obstacles; i++)
        assert_true(large_free(&runs, in_the_way[i]));
    check();
    assert_int_equal(counter_get(&runs.used_units), 0);
}

/* What is called clean must read as zeroes, whatever shrinking, growing and moving went before. */
static void clean_is_zero(void **state) {
    (void)state;
    enum { OBJECTS = 24 };
    struct {
        unsigned char *p;
        size_t size;
    } o[OBJECTS] = {{NULL, 0}};
    uint64_t seed = 3;
    for (int step = 0; step < 4000; step++) {
        size_t i = test_random(&seed) % OBJECTS, size = 33000 + test_random(&seed) % (1 << 20);
        bool zeroed;
        if (o[i].p == NULL) {
            o[i].p = large_alloc(&runs, size, 16, test_random(&seed) % 2, &zeroed);
            for (size_t k = 0; zeroed && k < large_bytes(&runs, o[i].p); k += 256)
                assert_int_equal(o[i].p[k], 0);
            memset(o[i].p, 0xcc, large_bytes(&runs, o[i].p));
            o[i].size = size;
        } else if (test_random(&seed) % 3 != 0) {
            unsigned char *q = large_resize(&runs, o[i].p, size);
            if (q == NULL)
                continue;
            for (size_t k = 0; k < size && k < o[i].size; k += 256)
                assert_int_equal(q[k], 0xcc);
            memset(q, 0xcc, large_bytes(&runs, q));
            o[i].p = q;
            o[i].size = size;
        } else {
            assert_true(large_free(&runs, o[i].p));
            o[i].p = NULL;
        }
        if (step % 16 == 0)
            run_purge_oldest(&runs, 1);
    }
    for (int i = 0; i < OBJECTS; i++)
        if (o[i].p != NULL)
            assert_true(large_free(&runs, o[i].p));
    check();
}

static void counts_what_comes_back(void **state) {
    (void)state;
    size_t bytes = 64 * runs.space.page, page = runs.space.page;
    bool zeroed;
    char *p = large_alloc(&runs, bytes, 16, false, &zeroed),
         *behind = large_alloc(&runs, bytes, 16, false, &zeroed);
    large_free(&runs, p);
    purge();
    size_t before = counter_get(&runs.refaulted_pages);
    char *again = large_alloc(&runs, bytes, 16, false, &zeroed);
    assert_true(zeroed);
    assert_int_equal(counter_get(&runs.refaulted_pages) - before, 64);
    large_free(&runs, again);
    again = large_alloc(&runs, bytes, 16, false, &zeroed); /* still warm */
    assert_int_equal(counter_get(&runs.refaulted_pages) - before, 64);
    large_free(&runs, behind);
    purge();
    assert_ptr_equal(large_resize(&runs, again, bytes + 2 * page), again); /* grows over what was returned */
    assert_int_equal(counter_get(&runs.refaulted_pages) - before, 66);
    size_t end = counter_get(&runs.used_end), now = counter_get(&runs.refaulted_pages);
    void *fresh = large_alloc(&runs, (end + 1) << UNIT_SHIFT, 16, false, &zeroed); /* reaches over the end */
    size_t used_before = end - unit_of(&runs.space.map, fresh);
    assert_int_equal(counter_get(&runs.refaulted_pages) - now, space_pages(&runs.space, used_before));
    large_free(&runs, fresh);
    large_free(&runs, again);
    purge();
}

#ifndef NDEBUG
/* What a move leaves behind is given up where it cannot be mapped afresh, so that it can be mapped again later. */
static void no_memory_to_renew(void **state) {
    (void)state;
    enum { SMALL = 2 << 20, MOVED = 4 << 20, AGAIN = 8 << 20 };
    bool zeroed;
    large_free(&runs, large_alloc(&runs, 64 << 20, 16, false, &zeroed));
    purge();
    unsigned char *p = large_alloc(&runs, SMALL, 16, false, &zeroed);
    void *behind = large_alloc(&runs, 50000, 16, false, &zeroed);
    os_maps_left = 100;
    unsigned char *moved = large_resize(&runs, p, MOVED);
    size_t for_a_move = 100 - os_maps_left;
    assert_ptr_not_equal(moved, p);
    memset(moved, 7, MOVED);
    size_t units = align_up(MOVED / UNIT_BYTES * 5 / 4, runs.space.granule); /* with room to grow */
    unsigned char *in_gaps[64];
    size_t gaps = 0;
    do { /* the last lies behind what has moved */
        assert_true(gaps < 64);
        in_gaps[gaps] = large_alloc(&runs, SMALL + UNIT_BYTES, 16, false, &zeroed);
    } while (in_gaps[gaps++] < moved);
    size_t unmapped = counter_get(&runs.free_units[RUN_UNMAPPED]);
    os_maps_left = for_a_move;
    unsigned char *again = large_resize(&runs, moved, AGAIN);
    assert_int_equal(os_maps_left, 0);
    os_maps_left = SIZE_MAX;
    assert_ptr_not_equal(again, moved);
    assert_int_equal(counter_get(&runs.free_units[RUN_UNMAPPED]), unmapped + units);
    assert_false(os_is_mapped((uintptr_t)moved));
    assert_int_equal(again[MOVED - 1], 7);
    large_free(&runs, again);
    large_free(&runs, behind);
    while (gaps > 0)
        large_free(&runs, in_gaps[--gaps]);
    check();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_and_alignments), cmocka_unit_test(calloc_prefers_clean),   cmocka_unit_test(grows),
        cmocka_unit_test(clean_is_zero),        cmocka_unit_test(counts_what_comes_back),
#ifndef NDEBUG
        cmocka_unit_test(no_memory_to_renew),
#endif
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
