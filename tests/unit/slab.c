/* slab/: bitmaps and bins of every class. */
#include "test.h"

#include "slab/bin.h"

#include <stdlib.h>
#include <string.h>

static struct runs runs;
static struct bins bins;

static int setup(void **state) {
    (void)state;
    if (!runs_init(&runs, test_page_size()))
        return -1;
    bins_init(&bins, &runs);
    return 0;
}

static int compare(const void *a, const void *b) {
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return x < y ? -1 : x > y;
}

static void every_class_fills_and_empties(void **state) {
    (void)state;
    static void *objects[20000];
    for (unsigned c = 1; c < CLASSES; c++) {
        size_t want = (size_t)objects_of(&bins.divisors[c]) * 3 + 1, got = 0, size = class_bytes(c);
        while (got < want) {
            size_t n = bin_refill(&bins, c, want - got, objects + got);
            assert_in_range(n, 1, want - got);
            got += n;
        }
        assert_int_equal(counter_get(&bins.bin[c].slabs), 4);
        assert_int_equal(counter_get(&bins.bin[c].allocated), want);
        for (size_t i = 0; i < want; i++) {
            assert_int_equal(unit_kind_at(&runs.space.map, objects[i]), c);
            assert_true(is_object_start(&bins.divisors[c], objects[i]));
            assert_false(bin_holds(&bins, c, objects[i]));
            memset(objects[i], (int)i, size); /* metadata lies elsewhere */
        }
        bins_check(&bins);
        qsort(objects, want, sizeof *objects, compare);
        for (size_t i = 1; i < want; i++)
            assert_true((char *)objects[i] - (char *)objects[i - 1] >= (ptrdiff_t)size);
        assert_null(bin_flush(&bins, c, want, objects));
        assert_int_equal(counter_get(&bins.bin[c].slabs), 0);
        assert_int_equal(counter_get(&bins.bin[c].allocated), 0);
    }
    assert_int_equal(counter_get(&runs.used_units), 0);
    bins_check(&bins);
    runs_check(&runs);
}

static void finds_double_frees(void **state) {
    (void)state;
    for (unsigned c = 1; c < CLASSES; c += 5) {
        void *objects[3], *twice[2];
        size_t got = bin_refill(&bins, c, 3, objects);
        assert_int_equal(got, 3);
        twice[0] = twice[1] = objects[1];
        assert_ptr_equal(bin_flush(&bins, c, 2, twice), objects[1]);
        assert_true(bin_holds(&bins, c, objects[1]));
        assert_int_equal(counter_get(&bins.bin[c].allocated), 2);
        bins_check(&bins);
        twice[0] = objects[0];
        twice[1] = objects[2];
        assert_null(bin_flush(&bins, c, 2, twice)); /* the slab is empty now, and gone */
        assert_ptr_equal(bin_flush(&bins, c, 1, objects), objects[0]);
        bins_check(&bins);
    }
}

static void the_fullest_slab_serves(void **state) {
    (void)state;
    const unsigned c = (unsigned)CLASS_OF(256);
    static void *objects[3000];
    size_t per_slab = objects_of(&bins.divisors[c]), got = 0;
    assert_true(per_slab * 3 <= 3000);
    while (got < per_slab * 3)
        got += bin_refill(&bins, c, per_slab * 3 - got, objects + got);
    qsort(objects, got, sizeof *objects, compare);
    /* One object missing from the last slab, half of them from the first, all but one from the second. */
    void *one = objects[per_slab * 3 - 1], *p;
    assert_null(bin_flush(&bins, c, 1, &one));
    assert_null(bin_flush(&bins, c, per_slab / 2, objects));
    assert_null(bin_flush(&bins, c, per_slab - 1, objects + per_slab));
    assert_int_equal(bin_refill(&bins, c, 1, &p), 1);
    assert_ptr_equal(p, one);
    assert_int_equal(bin_refill(&bins, c, 1, &p), 1);
    assert_ptr_equal(p, objects[0]); /* lowest address first inside a slab */
    assert_null(bin_flush(&bins, c, 1, &p));
    assert_null(bin_flush(&bins, c, per_slab - per_slab / 2, objects + per_slab / 2));
    assert_int_equal(counter_get(&bins.bin[c].slabs), 2);
    assert_null(bin_flush(&bins, c, per_slab + 1, objects + per_slab * 2 - 1));
    assert_int_equal(counter_get(&bins.bin[c].slabs), 0);
    bins_check(&bins);
}

static void random_against_counts(void **state) {
    (void)state;
    enum { OBJECTS = 5000 };
    static struct {
        void *p;
        unsigned class;
    } objects[OBJECTS];
    uint64_t seed = 7;
    size_t live[CLASSES] = {0};
    for (int step = 0; step < 200000; step++) {
        size_t i = test_random(&seed) % OBJECTS;
        if (objects[i].p == NULL) {
            unsigned c = 1 + test_random(&seed) % (CLASSES - 1);
            assert_int_equal(bin_refill(&bins, c, 1, &objects[i].p), 1);
            *(size_t *)objects[i].p = i;
            objects[i].class = c;
            live[c]++;
        } else {
            assert_int_equal(*(size_t *)objects[i].p, i);
            assert_null(bin_flush(&bins, objects[i].class, 1, &objects[i].p));
            live[objects[i].class]--;
            objects[i].p = NULL;
        }
        if (step % 20000 == 0) {
            bins_check(&bins);
            runs_check(&runs);
        }
    }
    for (unsigned c = 1; c < CLASSES; c++)
        assert_int_equal(counter_get(&bins.bin[c].allocated), live[c]);
    for (size_t i = 0; i < OBJECTS; i++)
        if (objects[i].p != NULL)
            assert_null(bin_flush(&bins, objects[i].class, 1, &objects[i].p));
    assert_int_equal(counter_get(&runs.used_units), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_fills_and_empties),
        cmocka_unit_test(finds_double_frees),
        cmocka_unit_test(the_fullest_slab_serves),
        cmocka_unit_test(random_against_counts),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
