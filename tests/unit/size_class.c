/* slab/size_class: every size, every object of every class, exhaustively. */
#include "test.h"

#include "slab/size_class.h"

static void every_size_has_the_smallest_class(void **state) {
    (void)state;
    for (size_t size = 1; size <= CLASS_MAX_BYTES; size++) {
        unsigned class = size_class(size);
        assert_in_range(class, 1, CLASSES - 1);
        assert_true(class_bytes(class) >= size);
        assert_true(class == 1 || class_bytes(class - 1) < size);
        assert_int_equal(class_bytes(class) % CLASS_GRAIN, 0);
    }
    assert_int_equal(size_class(0), 1);
}

static void rounding_wastes_little(void **state) {
    (void)state;
    for (size_t size = 129; size <= CLASS_MAX_BYTES; size++)
        assert_true(class_bytes(size_class(size)) - size <= size / CLASS_STEPS);
}

static void aligned_classes(void **state) {
    (void)state;
    for (size_t alignment = 1; alignment <= 2 * CLASS_MAX_BYTES; alignment *= 2)
        for (size_t size = 0; size <= 2 * CLASS_MAX_BYTES; size += size < 300 ? 1 : 97) {
            unsigned class = size_class_aligned(size, alignment);
            if (size > CLASS_MAX_BYTES || alignment > CLASS_MAX_BYTES) {
                assert_int_equal(class, 0);
                continue;
            }
            assert_in_range(class, 1, CLASSES - 1);
            assert_true(class_bytes(class) >= size && class_bytes(class) % alignment == 0);
        }
}

static void divisors_divide(void **state) {
    (void)state;
    static struct divisor divisors[UNIT_KINDS];
    for (size_t page = 4096; page <= 65536; page *= 4) {
        divisors_init(divisors, page);
        for (unsigned c = 1; c < CLASSES; c++) {
            const struct divisor *d = &divisors[c];
            size_t size = class_bytes(c), bytes = (size_t)d->slab_mask + 1;
            assert_true(is_power_of_two(bytes) && bytes % page == 0 && bytes >= UNIT_BYTES);
            assert_int_equal(objects_of(d), bytes / size);
            assert_int_equal(d->slab_end, bytes / size * size);
            assert_true(objects_of(d) >= 8);
            char *slab = (char *)(7 * bytes); /* any multiple of its size */
            for (size_t offset = 0; offset < bytes; offset++) {
                size_t to_end = bytes - offset;
                if (is_object_start(d, slab + offset) != (to_end % size == 0))
                    fail_msg("class %u offset %zu", c, offset);
                if (object_index(d, slab + offset) != (to_end - 1) / size)
                    fail_msg("class %u index at %zu", c, offset);
            }
        }
        for (unsigned kind = CLASSES; kind < UNIT_KINDS; kind++)
            assert_false(is_object_start(&divisors[kind], NULL));
        assert_false(is_object_start(&divisors[UNIT_NONE], NULL));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_has_the_smallest_class),
        cmocka_unit_test(rounding_wastes_little),
        cmocka_unit_test(aligned_classes),
        cmocka_unit_test(divisors_divide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
