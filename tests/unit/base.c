/* base/: arithmetic and lists. */
#include "test.h"

#include "base/bits.h"
#include "base/list.h"

static void rounding(void **state) {
    (void)state;
    assert_int_equal(align_up(0, 16), 0);
    assert_int_equal(align_up(1, 16), 16);
    assert_int_equal(align_up(16, 16), 16);
    assert_int_equal(align_down(31, 16), 16);
    assert_int_equal(round_up_power_of_two(1), 1);
    assert_int_equal(round_up_power_of_two(2), 2);
    assert_int_equal(round_up_power_of_two(3), 4);
    assert_int_equal(round_up_power_of_two((size_t)1 << 63), (size_t)1 << 63);
    assert_int_equal(round_up_power_of_two(((size_t)1 << 62) + 1), (size_t)1 << 63);
    assert_true(is_power_of_two(1) && is_power_of_two(4096));
    assert_false(is_power_of_two(0) || is_power_of_two(48));
}

static void mixing_permutes(void **state) {
    (void)state;
    /* Distinct inputs give distinct outputs: a treap's priorities never tie. */
    static unsigned char seen[1 << 16];
    unsigned collisions = 0;
    for (uint32_t i = 1; i < 1 << 16; i++) {
        unsigned char *s = &seen[mix32(i) >> 16];
        collisions += *s != 0;
        *s = 1;
    }
    assert_in_range(collisions, 20000, 28000); /* 65,536 / e = 24,109 for a random map */
}

struct item {
    int value;
    struct list link;
};

static void lists(void **state) {
    (void)state;
    struct list head;
    struct item items[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
    list_init(&head);
    assert_true(list_empty(&head));
    list_push_back(&head, &items[1].link);
    list_push_front(&head, &items[0].link);
    list_push_back(&head, &items[3].link);
    list_insert_before(&items[3].link, &items[2].link);
    int expected = 0;
    for (struct list *l = head.next; l != &head; l = l->next)
        assert_int_equal(LIST_ENTRY(l, struct item, link)->value, expected++);
    assert_int_equal(expected, 4);
    list_remove(&items[2].link);
    assert_true(list_empty(&items[2].link));
    assert_ptr_equal(items[1].link.next, &items[3].link);
    assert_ptr_equal(items[3].link.prev, &items[1].link);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding),
        cmocka_unit_test(mixing_permutes),
        cmocka_unit_test(lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
