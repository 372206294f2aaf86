/* purge/dense: which stretches become huge pages, what is returned of them, and when they are ordinary again. */
#include "test.h"

#include "purge/dense.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STRETCHES = 4, LOOKS = 40 };

struct world {
    struct runs runs;
    struct bins bins;
    struct dense dense;
    size_t unit; /* of a large allocation of STRETCHES, aligned to them */
};

static size_t take(struct world *w, size_t units) {
    bool zeroed;
    return run_alloc(&w->runs,
                     &(struct run_request){.units = units,
                                           .align_units = HUGE_UNITS,
                                           .first_kind = UNIT_LARGE,
                                           .other_kind = UNIT_LARGE_BODY,
                                           .choice = RUN_CLEAN_FIRST},
                     &zeroed);
}

static char *at(const struct world *w, size_t unit) {
    return (char *)unit_address(&w->runs.space.map, unit);
}

static int setup(void **state) {
    static struct world world; /* aligned as it must be */
    struct world *w = &world;
    memset(w, 0, sizeof *w);
    *state = w;
    if (!runs_init(&w->runs, os_page_size()))
        return -1;
    bins_init(&w->bins, &w->runs);
    dense_init(&w->dense, &w->bins);
    w->unit = take(w, STRETCHES * HUGE_UNITS);
    memset(at(w, w->unit), 0x5a, (size_t)STRETCHES * HUGE_UNITS << UNIT_SHIFT);
    return w->unit == 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    struct space *space = &w->runs.space;
    struct space_array *arrays[] = {&space->kinds, &space->moved, &space->sparse,
                                    &space->metas, &space->bits,  &space->stretches};
    os_unmap(space->map.base, atomic_load(&space->map.end) << UNIT_SHIFT);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (arrays[i]->mapped > 0)
            os_unmap(arrays[i]->base, arrays[i]->mapped);
    return 0;
}

static bool is_off(const struct world *w) {
    if (w->dense.bins == NULL)
        puts("no huge pages here: not tested");
    return w->dense.bins == NULL;
}

static void look_often(struct world *w) {
    for (int i = 0; i < LOOKS; i++)
        dense_look(&w->dense, true);
}

static size_t count_huge(const struct world *w) {
    size_t count = 0;
    for (size_t i = 0; i < STRETCHES; i++)
        count += space_is_huge(&w->runs.space, w->unit + i * HUGE_UNITS);
    return count;
}

static void what_stays_dense_becomes_huge(void **state) {
    struct world *w = *state;
    if (is_off(w))
        return;
    assert_true(dense_is_pending(&w->dense));
    assert_true(dense_look(&w->dense, true));
    assert_false(dense_is_pending(&w->dense));
    assert_int_equal(count_huge(w), 0);
    int looks = 1;
    while (dense_look(&w->dense, true))
        assert_true(++looks < LOOKS);
    assert_true(looks >= 6); /* not at once */
    assert_int_equal(count_huge(w), STRETCHES);
    for (size_t i = 0; i < (size_t)STRETCHES * HUGE_UNITS << UNIT_SHIFT; i += 1000)
        assert_int_equal(at(w, w->unit)[i], 0x5a);
}

static void what_was_never_touched_stays_so(void **state) {
    struct world *w = *state;
    if (is_off(w))
        return;
    size_t more = take(w, HUGE_UNITS);
    memset(at(w, more), 1, (HUGE_UNITS << UNIT_SHIFT) - os_page_size());
    look_often(w);
    assert_int_equal(count_huge(w), STRETCHES);
    assert_false(space_is_huge(&w->runs.space, more));
    assert_false(os_is_resident((uintptr_t)at(w, more + HUGE_UNITS) - os_page_size(), os_page_size()));
    assert_false(dense_look(&w->dense, true)); /* and is no reason to go on looking */
}

static void little_that_is_free_stays_more_is_returned(void **state) {
    struct world *w = *state;
    if (is_off(w))
        return;
    look_often(w);
    run_free(&w->runs, w->unit + 3, 8, RUN_DIRTY);
    for (int i = 0; i < 3; i++) {
        dense_look(&w->dense, true);
        assert_int_equal(runs_tick(&w->runs, false), 0);
    }
    assert_int_equal(count_huge(w), STRETCHES);
    run_free(&w->runs, w->unit + HUGE_UNITS - 1, 2, RUN_DIRTY); /* over the border */
    dense_look(&w->dense, true);
    assert_int_equal(count_huge(w), STRETCHES - 1);
    size_t bytes = runs_tick(&w->runs, false);
    bytes += runs_tick(&w->runs, false);
    assert_int_equal(bytes, 9 << UNIT_SHIFT);
    assert_int_equal(runs_tick(&w->runs, true), 1 << UNIT_SHIFT); /* what is asked for goes at once */
    assert_int_equal(count_huge(w), STRETCHES - 2);
    runs_check(&w->runs);
}

static void slabs_with_free_pages_count(void **state) {
    struct world *w = *state;
    enum { OBJECTS = 16 * 128 * 3, BYTES = 1024 };
    static void *objects[OBJECTS];
    unsigned class = size_class(BYTES);
    size_t got = 0;
    if (is_off(w))
        return;
    while (got < OBJECTS)
        got += bin_refill(&w->bins, class, OBJECTS - got, objects + got);
    for (size_t i = 0; i < OBJECTS; i++)
        memset(objects[i], 1, BYTES);
    look_often(w);
    /* The last stretch that is full of them. */
    size_t unit = align_down(unit_of(&w->runs.space.map, objects[OBJECTS - 1]), HUGE_UNITS) - HUGE_UNITS;
    assert_true(space_is_huge(&w->runs.space, unit));
    /* A page of some slabs. */
    size_t slabs = 0;
    for (size_t i = 0; i < OBJECTS && slabs < 8; i++) {
        size_t u = unit_of(&w->runs.space.map, objects[i]);
        if (u < unit || u >= unit + HUGE_UNITS || ((uintptr_t)objects[i] & (UNIT_BYTES - 1)) != 0)
            continue;
        for (uintptr_t p = (uintptr_t)objects[i]; p < (uintptr_t)objects[i] + os_page_size(); p += BYTES)
            bin_flush(&w->bins, class, 1, (void *[]){(void *)p});
        slabs++;
    }
    assert_int_equal(slabs, 8);
    for (int i = 0; i < 3; i++) {
        dense_look(&w->dense, true);
        assert_int_equal(bins_tick(&w->bins, false), 0);
    }
    assert_true(space_is_huge(&w->runs.space, unit));
    assert_int_equal(bins_tick(&w->bins, true), 8 * os_page_size());
    assert_false(space_is_huge(&w->runs.space, unit));
    bins_check(&w->bins);
}

static void a_child_leaves_what_it_shares(void **state) {
    struct world *w = *state;
    if (is_off(w))
        return;
    look_often(w);
    dense_after_fork(&w->dense);
    assert_int_equal(count_huge(w), 0); /* so that what is free there is returned */
    look_often(w);
    assert_int_equal(count_huge(w), 0);
    size_t own = take(w, STRETCHES * HUGE_UNITS); /* reaches beyond what there was */
    memset(at(w, own), 1, (size_t)STRETCHES * HUGE_UNITS << UNIT_SHIFT);
    look_often(w);
    assert_true(space_is_huge(&w->runs.space, own + (STRETCHES - 1) * HUGE_UNITS));
}

static void what_a_child_shares_is_left(void **state) {
    struct world *w = *state;
    enum { UNTIL_TRIED_AGAIN = 250 };
    if (is_off(w))
        return;
    dense_before_fork(&w->dense);
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    for (int i = 0; i < 2 * UNTIL_TRIED_AGAIN; i++)
        dense_look(&w->dense, i < UNTIL_TRIED_AGAIN);
    size_t huge = count_huge(w);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(huge, 0);
    for (int i = 0; i < UNTIL_TRIED_AGAIN; i++)
        dense_look(&w->dense, false);
    assert_int_equal(count_huge(w), STRETCHES);
    size_t own = take(w, STRETCHES * HUGE_UNITS);
    memset(at(w, own), 1, (size_t)STRETCHES * HUGE_UNITS << UNIT_SHIFT);
    for (int i = 0; i < LOOKS; i++)
        dense_look(&w->dense, false);
    assert_true(space_is_huge(&w->runs.space, own + (STRETCHES - 1) * HUGE_UNITS)); /* made since */
}

static void other_page_sizes_have_none(void **state) {
    (void)state;
    static struct runs runs;
    static struct bins bins = {.runs = &runs};
    struct dense dense = {.bins = NULL};
    runs.space.page = 2 * os_page_size();
    dense_init(&dense, &bins);
    assert_null(dense.bins);
    assert_false(dense_look(&dense, true) || dense_is_pending(&dense));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_stays_dense_becomes_huge, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_never_touched_stays_so, setup, teardown),
        cmocka_unit_test_setup_teardown(little_that_is_free_stays_more_is_returned, setup, teardown),
        cmocka_unit_test_setup_teardown(slabs_with_free_pages_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_child_leaves_what_it_shares, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_child_shares_is_left, setup, teardown),
        cmocka_unit_test(other_page_sizes_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
