/* scope/ and the functions of neap.h that it stands behind. */
#include "scavenger.h"
#include "scopes.h"

#include "scope/inside.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned kind_of(const void *p) {
    return unit_kind_at(&heap.runs.space.map, p);
}

static bool in_region(const void *p) {
    return unit_kind_is_region(kind_of(p));
}

static void check_nothing_is_left(void) {
    scavenger_hold(); /* what it had in its hands would still be there */
    neap_malloc_trim(0);
    assert_int_equal(counter_get(&heap.scopes.regions.units), 0);
    scavenger_let_go();
    heap_check();
}

static void leave_and_end(neap_scope scope) {
    assert_int_equal(neap_scope_leave(scope), 0);
    assert_int_equal(neap_scope_end(scope), 0);
}

static struct neap_scope_stats stats_of(neap_scope scope) {
    struct neap_scope_stats stats;
    assert_int_equal(neap_scope_stats(scope, &stats), 0);
    return stats;
}

static void allocates_where_it_says(void **state) {
    (void)state;
    void *before = neap_malloc(100);
    neap_scope outer = enter_new("outer", 0);
    void *in_outer = neap_malloc(100);
    neap_scope inner = enter_new("inner", 0);
    void *in_inner = neap_malloc(100), *exempt[2];
    int token = neap_exempt_begin();
    assert_int_equal(neap_scope_current(), 0);
    exempt[0] = neap_malloc(100);
    NEAP_EXEMPT {
        exempt[1] = neap_calloc(10, 10);
    }
    assert_int_equal(neap_scope_current(), 0);
    neap_exempt_end(token);
    assert_int_equal(neap_scope_current(), inner);
    assert_int_equal(neap_scope_leave(inner), 0);
    assert_int_equal(neap_scope_current(), outer);
    void *again = neap_malloc(100);
    assert_int_equal(neap_scope_leave(outer), 0);
    assert_int_equal(neap_scope_current(), 0);
    void *after = neap_malloc(100);
    assert_true(in_region(in_outer) && in_region(in_inner) && in_region(again));
    assert_false(in_region(before) || in_region(after) || in_region(exempt[0]) || in_region(exempt[1]));
    assert_int_equal(stats_of(outer).live_objects, 2);
    assert_int_equal(stats_of(outer).live_bytes, 2 * 112);
    assert_int_equal(stats_of(inner).live_objects, 1);
    assert_int_equal(neap_scope_end(outer), 0);
    assert_int_equal(neap_scope_end(inner), 0);
    void *all[] = {before, in_outer, in_inner, exempt[0], exempt[1], again, after};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        memset(all[i], 1, 100);
        neap_free(all[i]);
    }
    heap_check();
}

static void *enter_elsewhere(void *scope) {
    return (void *)(uintptr_t)neap_scope_enter(*(neap_scope *)scope);
}

static void *leave_elsewhere(void *scope) {
    return (void *)(uintptr_t)neap_scope_leave(*(neap_scope *)scope);
}

static void *malloc_elsewhere(void *scope) {
    return neap_scope_malloc(*(neap_scope *)scope, 1) == NULL ? (void *)(uintptr_t)errno : NULL;
}

static int elsewhere(void *(*call)(void *), neap_scope scope) {
    pthread_t thread;
    void *result;
    assert_int_equal(pthread_create(&thread, NULL, call, &scope), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    return (int)(uintptr_t)result;
}

static void errors(void **state) {
    (void)state;
    struct neap_scope_stats stats;
    static const neap_scope none[] = {0, 1, 77, UINT64_MAX, (uint64_t)1 << 32};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(neap_scope_enter(none[i]), EINVAL);
        assert_int_equal(neap_scope_leave(none[i]), EINVAL);
        assert_int_equal(neap_scope_end(none[i]), EINVAL);
        assert_int_equal(neap_scope_destroy(none[i]), EINVAL);
        assert_int_equal(neap_scope_set_label(none[i], "x"), EINVAL);
        assert_int_equal(neap_scope_stats(none[i], &stats), EINVAL);
        errno = 0;
        assert_null(neap_scope_malloc(none[i], 1));
        assert_int_equal(errno, EINVAL);
    }
    errno = 0;
    assert_int_equal(neap_scope_create(&(struct neap_scope_options){.flags = 2}), 0);
    assert_int_equal(errno, EINVAL);

    neap_scope a = create("a", 0), b = create("b", 0);
    assert_int_equal(neap_scope_leave(a), EPERM); /* without enter */
    assert_int_equal(neap_scope_enter(a), 0);
    assert_int_equal(neap_scope_enter(a), EBUSY);
    assert_int_equal(neap_scope_end(a), EBUSY);
    assert_int_equal(elsewhere(enter_elsewhere, a), EBUSY);
    assert_int_equal(elsewhere(leave_elsewhere, a), EPERM);
    assert_int_equal(elsewhere(malloc_elsewhere, a), EBUSY);
    assert_int_equal(neap_scope_enter(b), 0);
    assert_int_equal(neap_scope_leave(a), EPERM); /* out of order */
    int token = neap_exempt_begin();
    assert_int_equal(neap_scope_leave(b), EBUSY);
    neap_exempt_end(token);
    assert_int_equal(neap_scope_destroy(b), EBUSY);
    assert_int_equal(neap_scope_leave(b), 0);
    assert_int_equal(neap_scope_destroy(b), EINVAL); /* it is not destroyable */
    assert_int_equal(neap_scope_end(b), 0);
    assert_int_equal(neap_scope_end(b), EINVAL); /* twice */
    assert_int_equal(neap_scope_enter(b), EINVAL);
    neap_scope next = create("next", 0); /* in its place */
    assert_int_equal(neap_scope_enter(b), EINVAL);
    assert_int_equal(neap_scope_end(b), EINVAL);
    assert_int_equal(neap_scope_end(next), 0);
    leave_and_end(a);
    neap_exempt_end(neap_exempt_begin()); /* outside of any scope */
    assert_int_equal(neap_scope_current(), 0);

    neap_scope d = neap_scope_create(&(struct neap_scope_options){.flags = NEAP_SCOPE_DESTROYABLE});
    assert_int_equal(neap_scope_enter(d), EINVAL);
    errno = 0;
    assert_null(neap_scope_malloc(d, (size_t)PTRDIFF_MAX + 1));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(neap_scope_destroy(d), 0);
    assert_int_equal(neap_scope_destroy(d), EINVAL);
    heap_check();
}

/* Random work in one scope after the other, against a model; what is left of each lives on. */
enum { MODEL = 3000 };
static struct {
    unsigned char *p;
    size_t size, rounded;
    unsigned char fill;
    unsigned scope;
} model[MODEL];

static size_t model_rounded(const void *p, size_t size) {
    size_t asked = max_size(size, 1);
    bool is_wide = kind_of(p) == UNIT_REGION_WIDE, in_region = unit_kind_is_region(kind_of(p));
    if (in_region && !is_wide && asked <= 1024)
        return class_bytes(size_class(asked));
    return align_up(asked, is_wide ? 64 : in_region ? 16 : heap.runs.space.page);
}

static void model_free(size_t i) {
    for (size_t at = 0; at < model[i].size; at++)
        assert_int_equal(model[i].p[at], model[i].fill);
    neap_free(model[i].p);
    model[i].p = NULL;
}

static void model_note(size_t i, unsigned char *p, size_t size, unsigned scope, uint64_t *random) {
    model[i].p = p;
    model[i].size = size;
    model[i].rounded = model_rounded(p, size);
    model[i].fill = (unsigned char)test_random(random);
    model[i].scope = scope;
    assert_int_equal(neap_malloc_usable_size(p), model[i].rounded);
    memset(p, model[i].fill, size);
}

static void model_step(uint64_t *random, unsigned scope) {
    size_t i = test_random(random) % MODEL;
    uint32_t r = test_random(random);
    size_t size = r % 64 == 0 ? r / 64 % 60000 : r % 16 == 0 ? r / 64 % 6000 : r / 64 % 300;
    if (model[i].p == NULL) {
        size_t alignment = (size_t)16 << r / 7 % 10;
        unsigned char *p = NULL;
        if (r % 5 == 0)
            p = neap_aligned_alloc(alignment, size);
        else if (r % 5 == 1)
            p = neap_calloc(1, size);
        else
            p = neap_malloc(size);
        assert_non_null(p);
        assert_true(r % 5 != 0 || (uintptr_t)p % alignment == 0);
        for (size_t at = 0; r % 5 == 1 && at < size; at++)
            assert_int_equal(p[at], 0);
        model_note(i, p, size, scope, random);
    } else if (r % 8 == 0 && model[i].scope == scope) {
        size = r % 3 != 0 ? size : model[i].size / 2 + 1;
        unsigned char *p = neap_realloc(model[i].p, size + 1);
        assert_non_null(p);
        for (size_t at = 0; at < min_size(size, model[i].size); at++)
            assert_int_equal(p[at], model[i].fill);
        if (neap_malloc_usable_size(p) == model_rounded(p, size + 1))
            model_note(i, p, size + 1, scope, random);
        else /* it was not worth moving */
            model_note(i, p, neap_malloc_usable_size(p), scope, random);
    } else if (r % 2 == 0 || model[i].scope == scope) {
        model_free(i);
    }
}

static void matches_a_model(void **state) {
    (void)state;
    uint64_t random = 42;
    for (unsigned scope = 1; scope <= 60; scope++) {
        neap_scope handle = enter_new("model", 0);
        size_t steps = scope % 10 == 0 ? 20000 : 1000;
        for (size_t n = 0; n < steps; n++)
            model_step(&random, scope);
        size_t bytes = 0, objects = 0;
        for (size_t i = 0; i < MODEL; i++)
            if (model[i].p != NULL && model[i].scope == scope) {
                bytes += model[i].rounded;
                objects++;
            }
        struct neap_scope_stats stats = stats_of(handle);
        assert_int_equal(stats.live_objects, objects);
        assert_int_equal(stats.live_bytes, bytes);
        assert_true(stats.allocated_bytes >= stats.peak_bytes && stats.peak_bytes >= stats.live_bytes);
        assert_true(stats.allocated_objects >= stats.live_objects);
        struct label before = label_of("model");
        leave_and_end(handle);
        struct label after = label_of("model");
        assert_int_equal(after.surviving_bytes - before.surviving_bytes, bytes);
        assert_int_equal(after.surviving_objects - before.surviving_objects, objects);
        for (size_t i = 0; i < MODEL; i++) /* most of what survives goes soon after, outside */
            if (model[i].p != NULL && test_random(&random) % 10 != 0)
                model_free(i);
        if (scope % 3 == 0)
            regions_tick(&heap.scopes.regions, scope % 2 == 0);
        heap_check();
    }
    for (size_t i = 0; i < MODEL; i++)
        if (model[i].p != NULL)
            model_free(i);
    check_nothing_is_left();
}

static void resizes_in_place(void **state) {
    (void)state;
    neap_scope scope = enter_new("resize", 0);
    char *p = neap_malloc(10);
    strcpy(p, "scope");
    for (size_t size = 20; size < 4000; size += 100) /* last in the region: it grows */
        assert_ptr_equal(neap_realloc(p, size), p);
    assert_int_equal(neap_malloc_usable_size(p), 3920);
    assert_ptr_equal(neap_realloc(p, 100), p);
    assert_int_equal(neap_malloc_usable_size(p), 112);
    char *q = neap_malloc(16);
    assert_ptr_equal(q, p + 112);
    assert_ptr_equal(neap_realloc(p, 40), p); /* in the middle: cut off */
    assert_int_equal(neap_malloc_usable_size(p), 48);
    assert_int_equal(stats_of(scope).live_objects, 2);
    assert_int_equal(stats_of(scope).live_bytes, 48 + 16);
    char *moved = neap_realloc(p, 200);
    assert_ptr_not_equal(moved, p);
    assert_string_equal(moved, "scope");
    neap_free(q);
    neap_free(moved);
    assert_int_equal(stats_of(scope).live_objects, 0);
    char *last = neap_malloc(64); /* what is freed last is first to be used again */
    neap_free(last);
    assert_ptr_equal(neap_malloc(60), last);
    neap_free(last);
    leave_and_end(scope);
    heap_check();
}

/* What was freed is found again, by sizes of its class, and counted as freed and allocated each time. */
static void finds_what_it_freed(void **state) {
    (void)state;
    for (size_t granules = 1; granules <= STRIPE_GRANULES; granules++) {
        size_t bytes = granules * 16, rounded = class_bytes(size_class(bytes));
        assert_int_equal(recent_granules[granules] * 16, rounded);
        assert_int_equal(recent_class[granules], rounded == bytes ? size_class(bytes) : 0);
    }
    neap_scope scope = enter_new("again", 0);
    char *p[4 * RECENT_SLOTS];
    for (size_t size = 1; size <= NARROW_MAX; size += 7) {
        size_t before = stats_of(scope).allocated_objects, bytes = stats_of(scope).allocated_bytes;
        char *first = neap_malloc(size), *second = neap_malloc(size);
        for (int i = 0; i < 5; i++) {
            neap_free(first);
            neap_free(second);
            assert_ptr_equal(neap_malloc(size), second);
            assert_ptr_equal(neap_malloc(size), first);
        }
        assert_int_equal(stats_of(scope).live_objects, 2);
        assert_int_equal(stats_of(scope).allocated_objects - before, 12);
        assert_int_equal(stats_of(scope).allocated_bytes - bytes, 12 * neap_malloc_usable_size(first));
        neap_free(first);
        neap_free(second);
        assert_int_equal(stats_of(scope).live_objects, 0);
    }
    for (size_t i = 0; i < 4 * RECENT_SLOTS; i++)
        p[i] = neap_malloc(100);
    for (size_t i = 0; i < 4 * RECENT_SLOTS; i++) /* more than it keeps */
        neap_free(p[i]);
    assert_int_equal(stats_of(scope).live_objects, 0);
    leave_and_end(scope);
    assert_int_equal(label_of("again").surviving_objects, 0);
    heap_check();
}

/* An object that was found again and has another size by the time it is freed goes where that size belongs. */
static void knows_what_was_resized(void **state) {
    (void)state;
    neap_scope scope = enter_new("resized", 0);
    char *keep = neap_malloc(256), *p = neap_malloc(256), *behind = neap_malloc(16);
    neap_free(p);
    assert_ptr_equal(neap_malloc(256), p);
    assert_ptr_equal(neap_realloc(p, 16), p); /* in the middle: cut off */
    neap_free(p);
    char *q = neap_malloc(256);
    memset(q, 0xaa, 256);
    assert_ptr_not_equal(q, p);
    neap_free(behind);
    neap_free(q);
    neap_free(keep);
    /* And one whose place holds another by then. */
    char *fresh = neap_malloc(64);
    neap_free(fresh);
    assert_ptr_equal(neap_malloc(64), fresh);
    neap_scope_leave(scope); /* forgets; freed elsewhere, its place becomes part of a hole */
    neap_free(fresh);
    assert_int_equal(neap_scope_enter(scope), 0);
    assert_int_equal(stats_of(scope).live_objects, 0);
    leave_and_end(scope);
    heap_check();
}

static void limits(void **state) {
    (void)state;
    enum { LIMIT = 200000, OBJECT = 1000, ROUNDED = 1024 };
    neap_scope scope = enter_new("limit", LIMIT);
    void *p[250];
    size_t count = 0;
    errno = 0;
    while ((p[count] = neap_malloc(OBJECT)) != NULL)
        count++;
    assert_int_equal(errno, ENOMEM);
    assert_true(count >= LIMIT / ROUNDED - 1 && count <= LIMIT / ROUNDED);
    assert_null(neap_malloc(40000));
    assert_null(neap_calloc(1, 5000));
    assert_null(neap_realloc(p[0], 50000));
    assert_int_equal(stats_of(scope).refused, 4);
    NEAP_EXEMPT {
        void *q = neap_malloc(40000);
        assert_non_null(q);
        neap_free(q);
    }
    neap_scope other = enter_new("other", 0);
    void *q = neap_malloc(40000);
    assert_non_null(q);
    neap_free(q);
    leave_and_end(other);
    for (size_t i = count / 2; i < count; i++)
        neap_free(p[i]);
    q = neap_malloc(40000); /* what was freed is known of by then */
    assert_non_null(q);
    assert_null(neap_realloc(q, 150000));
    q = neap_realloc(q, 44000);
    assert_non_null(q);
    assert_null(neap_malloc(60000));
    neap_free(q);
    for (int i = 0; i < 10000; i++) { /* a request that frees may go on for ever */
        q = neap_malloc(1000 + (size_t)i % 30000);
        assert_non_null(q);
        neap_free(q);
    }
    for (size_t i = 0; i < count / 2; i++)
        neap_free(p[i]);
    leave_and_end(scope);
    assert_int_equal(label_of("limit").surviving_bytes, 0);
    heap_check();
}

static void fill_up(neap_scope scope, size_t limit) {
    void *p[100];
    size_t count = 0;
    for (; (p[count] = neap_malloc(1000)) != NULL; count++)
        assert_true(stats_of(scope).live_bytes <= limit);
    assert_true(stats_of(scope).live_bytes > limit - 2048);
    while (count > 0)
        neap_free(p[--count]);
}

/* What grows in place counts as much as what is new. */
static void limits_growth(void **state) {
    (void)state;
    enum { COUNT = 100 };
    neap_scope scope = enter_new("large growth", 300000);
    void *p[COUNT], *large = neap_malloc(150000), *wide, *small;
    for (size_t i = 0; i < COUNT; i++)
        assert_non_null(p[i] = neap_malloc(1000));
    for (size_t i = 0; i < COUNT; i++)
        neap_free(p[i]);
    large = neap_realloc(large, 200000); /* there is no room for both, and what was freed is not known of yet */
    assert_non_null(large);
    neap_free(large);
    assert_true(stats_of(scope).peak_bytes >= 200000);
    leave_and_end(scope);

    scope = enter_new("large growth", 270000);
    large = neap_malloc(200000);
    small = neap_malloc(16);
    large = neap_realloc(large, 260000);
    assert_non_null(large);
    fill_up(scope, 270000);
    neap_free(small);
    neap_free(large);
    leave_and_end(scope);

    scope = enter_new("wide growth", 20000);
    wide = neap_malloc(2000);
    small = neap_malloc(16);
    assert_ptr_equal(neap_realloc(wide, 8000), wide);
    fill_up(scope, 20000);
    neap_free(small);
    neap_free(wide);
    leave_and_end(scope);

    scope = enter_new("wide growth", 20000);
    wide = neap_malloc(2000);
    small = neap_malloc(16);
    for (size_t i = 0; i < 15; i++)
        assert_non_null(p[i] = neap_malloc(1000));
    assert_null(neap_realloc(wide, 8000));
    neap_free(small);
    for (size_t i = 0; i < 15; i++)
        neap_free(p[i]);
    neap_free(wide);
    leave_and_end(scope);
    heap_check();
}

/* Each of the holes that are open might be filled to the limit. */
static void limits_of_all_holes(void **state) {
    (void)state;
    enum { COUNT = 100 };
    for (size_t limit = 20000; limit <= 100000; limit += 8000) {
        void *p[COUNT];
        size_t count = 0;
        neap_scope scope = enter_new("all holes", limit);
        for (; (p[count] = neap_malloc(count % 2 == 0 ? 1000 : 2000)) != NULL; count++)
            assert_true(stats_of(scope).live_bytes <= limit);
        assert_true(stats_of(scope).live_bytes > limit - 2048);
        while (count > 0)
            neap_free(p[--count]);
        leave_and_end(scope);
    }
    heap_check();
}

static void refuses_absurd_sizes(void **state) {
    (void)state;
    neap_scope scope = enter_new("absurd", 0);
    for (int open = 0; open < 2; open++) { /* without a hole to fill, and with one */
        for (size_t i = 0; i < 40; i++) {
            errno = 0;
            assert_null(neap_malloc(SIZE_MAX - i));
            assert_int_equal(errno, ENOMEM);
            assert_null(neap_calloc(1, SIZE_MAX - i));
            assert_null(neap_aligned_alloc(64, SIZE_MAX - i));
            assert_null(neap_scope_malloc(scope, SIZE_MAX - i));
        }
        neap_free(neap_malloc(16));
    }
    leave_and_end(scope);
    heap_check();
}

static void destroys(void **state) {
    (void)state;
    neap_scope scope =
        neap_scope_create(&(struct neap_scope_options){.label = "bulk", .flags = NEAP_SCOPE_DESTROYABLE});
    static const size_t sizes[] = {0, 1, 100, 1024, 3000, 16384, 20000, 200000};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    void *kept = neap_malloc(100);
    for (size_t i = 0; i < 4000; i++) {
        void *p = neap_scope_malloc(scope, sizes[i % (i < 400 ? SIZES : 4)]);
        assert_non_null(p);
        memset(p, 3, sizes[i % (i < 400 ? SIZES : 4)]);
        if (i % 5 == 0)
            neap_free(p);
    }
    assert_int_equal(stats_of(scope).live_objects, 3200);
    assert_int_equal(neap_scope_destroy(scope), 0);
    assert_int_equal(label_of("bulk").surviving_objects, 0);
    neap_free(kept);
    heap_check();
    check_nothing_is_left();
    assert_int_equal(counter_get(&heap.scopes.open), 0);
}

/* What others left lies in regions of a destroyable scope too, and stays. */
static void destroys_nothing_else(void **state) {
    (void)state;
    enum { COUNT = 400, WIDE = 3000 };
    unsigned char *kept[COUNT];
    size_t sizes[COUNT];
    neap_scope scope = enter_new("kept", 0);
    for (size_t i = 0; i < COUNT; i++) {
        sizes[i] = i % 16 < 2 ? WIDE : 16 * (1 + i / 2 % 8);
        memset(kept[i] = neap_malloc(sizes[i]), (int)i, sizes[i]);
    }
    leave_and_end(scope);
    for (size_t i = 0; i < COUNT; i += 2) {
        neap_free(kept[i]);
        kept[i] = NULL;
    }
    for (int round = 0; round < 3; round++) {
        scope = neap_scope_create(&(struct neap_scope_options){.flags = NEAP_SCOPE_DESTROYABLE});
        for (size_t i = 0; i < COUNT; i++)
            memset(neap_scope_malloc(scope, sizes[i]), 0xff, sizes[i]);
        assert_int_equal(neap_scope_destroy(scope), 0);
        heap_check();
        neap_malloc_trim(0);
    }
    for (size_t i = 1; i < COUNT; i += 2) {
        for (size_t at = 0; at < sizes[i]; at++)
            assert_int_equal(kept[i][at], (unsigned char)i);
        neap_free(kept[i]);
    }
    check_nothing_is_left();
}

static void survivors_share_regions(void **state) {
    (void)state;
    enum { REQUESTS = 400, OBJECTS = 200 };
    static void *survivors[REQUESTS];
    scavenger_hold(); /* or it could have in its hands what there is room in */
    for (int r = 0; r < REQUESTS; r++) {
        neap_scope scope = enter_new("packed", 0);
        void *p[OBJECTS];
        for (int i = 0; i < OBJECTS; i++)
            p[i] = neap_malloc(64);
        for (int i = 0; i < OBJECTS; i++)
            if (i != r % OBJECTS)
                neap_free(p[i]);
        survivors[r] = p[r % OBJECTS];
        leave_and_end(scope);
    }
    /* 400 * 64 bytes: packed, two regions. */
    size_t used = counter_get(&heap.scopes.regions.units) - counter_get(&heap.scopes.regions.stocked[0]);
    if (heap.runs.space.page <= UNIT_BYTES)
        assert_true(used <= 16);
    scavenger_let_go();
    for (int r = 0; r < REQUESTS; r++)
        neap_free(survivors[r]);
    check_nothing_is_left();
}

/* Every second object survives: others of the same size fit between, and only they. */
static void holes_are_filled_to_their_ends(void **state) {
    enum { COUNT = 200, SIZE = 48 };
    (void)state;
    char *p[COUNT], *fitting[COUNT / 2 - 1];
    size_t between = 0;
    scavenger_hold(); /* or it could have in its hands what there is room in */
    neap_scope first = enter_new("first", 0);
    for (size_t i = 0; i < COUNT; i++)
        p[i] = neap_malloc(SIZE);
    for (size_t i = 1; i < COUNT; i += 2)
        neap_free(p[i]);
    leave_and_end(first);
    neap_scope second = enter_new("second", 0);
    for (size_t i = 0; i < COUNT / 2 - 1; i++) {
        fitting[i] = neap_malloc(SIZE);
        memset(fitting[i], (int)i, SIZE);
        for (size_t k = 1; k < COUNT; k += 2)
            between += fitting[i] == p[k];
    }
    assert_int_equal(between, COUNT / 2 - 1);
    assert_int_equal(stats_of(second).live_bytes, between * SIZE);
    for (size_t i = 0; i < COUNT; i += 2)
        assert_int_equal(neap_malloc_usable_size(p[i]), SIZE);
    for (size_t i = 0; i < COUNT / 2 - 1; i++) {
        assert_int_equal(neap_malloc_usable_size(fitting[i]), SIZE);
        neap_free(fitting[i]);
    }
    assert_int_equal(stats_of(second).live_bytes, 0);
    leave_and_end(second);
    for (size_t i = 0; i < COUNT; i += 2)
        neap_free(p[i]);
    scavenger_let_go();
    scopes_check(&heap.scopes);
}

/* What fills a later hole to its end leaves the open one for what is smaller. */
static void holes_are_filled_past_the_open_one(void **state) {
    enum { COUNT = 8, SIZE = 48 };
    (void)state;
    static const size_t sizes[COUNT] = {2 * SIZE, 16, 112, 16, 112, 16, 16, 16};
    char *p[COUNT], *filled[4];
    scavenger_hold(); /* or it could have in its hands what there is room in */
    neap_scope first = enter_new("first", 0);
    for (size_t i = 0; i < COUNT; i++)
        p[i] = neap_malloc(sizes[i]);
    for (size_t i = 0; i < COUNT; i++)
        if (sizes[i] > 16)
            neap_free(p[i]);
    leave_and_end(first);
    neap_scope second = enter_new("second", 0);
    for (size_t i = 0; i < 4; i++)
        filled[i] = memset(neap_malloc(i % 2 == 0 ? SIZE : 112), (int)i, i % 2 == 0 ? SIZE : 112);
    assert_ptr_equal(filled[0], p[0]);
    assert_ptr_equal(filled[1], p[2]);
    assert_ptr_equal(filled[2], p[0] + SIZE);
    assert_ptr_equal(filled[3], p[4]);
    assert_int_equal(stats_of(second).live_bytes, 2 * SIZE + 2 * 112);
    assert_int_equal(stats_of(second).allocated_objects, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(neap_malloc_usable_size(filled[i]), i % 2 == 0 ? SIZE : 112);
        neap_free(filled[i]);
    }
    assert_int_equal(stats_of(second).live_bytes, 0);
    leave_and_end(second);
    for (size_t i = 0; i < COUNT; i++)
        if (sizes[i] == 16)
            neap_free(p[i]);
    scavenger_let_go();
    scopes_check(&heap.scopes);
}

enum { COUNT_AROUND_HOLES = 168, HOLE = 128, LONG = 320 };

/* Makes a scope leave a region of a unit to the next one, with holes that are too short for LONG bytes. */
static void leave_short_holes(char *p[COUNT_AROUND_HOLES]) {
    neap_scope first = enter_new("first", 0);
    for (size_t i = 0; i < COUNT_AROUND_HOLES; i++)
        p[i] = neap_malloc(i == COUNT_AROUND_HOLES / 2 ? LONG : i % 2 == 0 ? HOLE : HOLE / 2);
    for (size_t i = 0; i < COUNT_AROUND_HOLES; i += 2)
        neap_free(p[i]);
    leave_and_end(first);
}

/* What a hole between survivors has no room for lies apart, and small objects go on to fill the hole. */
static void short_holes_wait_for_small_objects(void **state) {
    enum { COUNT = COUNT_AROUND_HOLES, SIZE = HOLE / 2 };
    (void)state;
    if (heap.runs.space.page > UNIT_BYTES)
        skip();
    char *p[COUNT];
    scavenger_hold(); /* or it could have in its hands what there is room in */
    leave_short_holes(p);
    neap_scope second = enter_new("second", 0);
    char *small = neap_malloc(SIZE), *apart = neap_malloc(LONG), *next = neap_malloc(SIZE);
    assert_ptr_equal(small, p[0]);
    assert_int_equal(kind_of(apart), UNIT_REGION_MIDDLE);
    assert_ptr_equal(next, small + SIZE);
    assert_int_equal(stats_of(second).live_bytes, 2 * SIZE + LONG);
    assert_int_equal(neap_malloc_usable_size(apart), LONG);
    neap_free(apart);
    assert_ptr_equal(neap_malloc(LONG), apart);
    memset(apart, 2, LONG);
    apart = neap_realloc(apart, 1000);
    assert_int_equal(apart[LONG - 1], 2);
    assert_int_equal(stats_of(second).live_bytes, 2 * SIZE + 1024);
    scopes_check(&heap.scopes);
    for (size_t i = 1; i < COUNT; i += 2)
        neap_free(p[i]);
    neap_free(small);
    neap_free(next);
    leave_and_end(second);
    neap_free(apart);
    scavenger_let_go();
    check_nothing_is_left();
}

/* Regions of less than a unit: their unit leaves when all of them are empty, and not before. */
static void units_leave_whole(void **state) {
    (void)state;
    if (heap.runs.space.page >= UNIT_BYTES)
        skip();
    enum { COUNT = 512, SIZE = 128 };
    char *p[COUNT];
    const struct regions *regions = &heap.scopes.regions;
    check_nothing_is_left();
    neap_scope scope = enter_new("parts", 0);
    for (size_t i = 0; i < COUNT; i++)
        memset(p[i] = neap_malloc(SIZE), (int)i, SIZE);
    leave_and_end(scope);
    size_t units = counter_get(&regions->units);
    for (size_t i = 0; i < COUNT; i++)
        if (i != COUNT / 2)
            neap_free(p[i]);
    for (int round = 0; round < 2; round++) {
        neap_malloc_trim(0);
        heap_check();
        assert_int_equal(counter_get(&regions->units), 1);
        assert_int_equal(counter_get(&regions->stocked[REGION_NARROW]),
                         0); /* they wait for the others, returned */
        for (size_t at = 0; at < SIZE; at++)
            assert_int_equal((unsigned char)p[COUNT / 2][at], COUNT / 2 % 256);
        scope = enter_new("parts", 0); /* takes what is stocked there before another unit */
        for (size_t i = 0; i < 60; i++)
            memset(p[i] = neap_malloc(SIZE), 0xff, SIZE);
        assert_int_equal(counter_get(&regions->units), 1);
        leave_and_end(scope);
        for (size_t i = 0; i < 60; i++)
            neap_free(p[i]);
    }
    assert_true(units > 1);
    neap_free(p[COUNT / 2]);
    check_nothing_is_left();
}

/* Regions that were left full, in which an object lives here and there, in every stripe. */
static void full_regions_are_found_again(void **state) {
    (void)state;
    enum { SIZE = 64, COUNT = 8192, KEPT = 1024 / SIZE };
    static char *old[COUNT], *new[COUNT];
    const struct regions *regions = &heap.scopes.regions;
    check_nothing_is_left();
    neap_scope scope = enter_new("full", 0);
    for (size_t i = 0; i < COUNT; i++)
        old[i] = neap_malloc(SIZE);
    leave_and_end(scope);
    for (size_t i = 0; i < COUNT; i++)
        if (i % KEPT != 0)
            neap_free(old[i]);
    heap_check();
    size_t units = counter_get(&regions->units);
    scope = enter_new("full", 0);
    for (size_t i = 0; i < COUNT / 2; i++)
        new[i] = neap_malloc(SIZE);
    assert_int_equal(counter_get(&regions->units), units);
    leave_and_end(scope);
    for (size_t i = 0; i < COUNT; i += KEPT)
        neap_free(old[i]);
    for (size_t i = 0; i < COUNT / 2; i++)
        neap_free(new[i]);
    check_nothing_is_left();
}

static void returns_dead_pages(void **state) {
    (void)state;
    size_t page = heap.runs.space.page;
    neap_scope scope = enter_new("pages", 0);
    enum { COUNT = 512 };
    unsigned char *p[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        memset(p[i] = neap_malloc(1024), (int)i, 1024);
    scavenger_hold();
    neap_scope_leave(scope);
    for (size_t i = 0; i < COUNT; i++)
        if (i % 64 != 0)
            neap_free(p[i]);
    regions_tick(&heap.scopes.regions, false); /* dead now */
    size_t returned = regions_tick(&heap.scopes.regions, false);
    if (page <= UNIT_BYTES)
        assert_true(returned >= COUNT * 1024 / 2);
    assert_true(returned <= COUNT * 1024 + 32 * page);
    assert_int_equal(regions_tick(&heap.scopes.regions, false), 0);
    scavenger_let_go();
    for (size_t i = 0; i < COUNT; i += 64)
        for (size_t at = 0; at < 1024; at++)
            assert_int_equal(p[i][at], (unsigned char)i);
    heap_check();
    assert_int_equal(neap_scope_end(scope), 0);
    for (size_t i = 0; i < COUNT; i += 64)
        neap_free(p[i]);
    check_nothing_is_left();
}

/* Pages of the system's size that are in memory. */
static size_t resident_pages(const struct space_array *array) {
    size_t page = os_page_size(), pages = 0;
    for (size_t at = 0; at < array->mapped; at += page) {
        unsigned char in;
        assert_int_equal(mincore((void *)(array->base + at), page, &in), 0);
        pages += in & 1;
    }
    return pages;
}

static void returns_marks(void **state) {
    (void)state;
    enum { COUNT = 48 << 10 };
    static void *all[COUNT];
    const struct space_array *marks = &heap.runs.space.marks;
    check_nothing_is_left();
    neap_scope scope = enter_new("marks", 0);
    for (size_t i = 0; i < COUNT; i++)
        all[i] = neap_malloc(NARROW_MAX);
    size_t most = resident_pages(marks);
    assert_true(most * os_page_size() >= (size_t)COUNT * NARROW_MAX / 32);
    for (size_t i = 0; i < COUNT; i++)
        neap_free(all[i]);
    leave_and_end(scope);
    check_nothing_is_left();
    size_t at_ends = 4 * heap.runs.space.page / os_page_size(); /* of what is free: a page each */
    assert_true(resident_pages(marks) < most / 8 + at_ends);
}

/* What a scope has written to and taken back at once is not taken for clean memory. */
static void what_was_taken_back_is_dirty(void **state) {
    (void)state;
    enum { BYTES = 900, LARGE = 4 << 20 };
    neap_malloc_trim(0);
    neap_scope scope = enter_new("dirty", 0);
    for (int i = 0; i < 3; i++) {
        char *p = neap_malloc(BYTES);
        memset(p, 0xee, BYTES);
        if (i == 1)
            p = neap_realloc(p, 1);
        neap_free(p);
    }
    leave_and_end(scope);
    neap_malloc_trim(0); /* gives the region back */
    char *large = neap_calloc(1, LARGE);
    for (size_t i = 0; i < LARGE; i++)
        assert_int_equal(large[i], 0);
    neap_free(large);
}

static pthread_barrier_t turn;

static void *free_late(void *p) {
    pthread_barrier_wait(&turn);
    neap_free(p);
    return NULL;
}

/* Who frees the last object of a region has yet to get the lock when the region is given back, and a slab lies in
 * its place. */
static void a_free_finds_its_region_gone(void **state) {
    (void)state;
    enum { COUNT = 20000, BYTES = 1024, ALMOST_ASLEEP = 50000 };
    static char *objects[COUNT];
    struct lock *lock = &heap.scopes.regions.lock;
    size_t count = 0;
    pthread_t thread;
    scavenger_hold(); /* or it could be who waits for the lock */
    neap_malloc_trim(0);
    neap_scope scope = enter_new("late", 0);
    char *p = neap_malloc(100);
    leave_and_end(scope);
    pthread_barrier_init(&turn, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, free_late, p), 0);
    lock_acquire(lock);
    pthread_barrier_wait(&turn);
    while (atomic_load(&lock->word) == lock_thread_id()) /* until it says that somebody waits */
        usleep(1000);
    usleep(ALMOST_ASLEEP);
    lock_note_released(lock);
    lock_break(lock); /* without waking the one who waits */
    regions_tick(&heap.scopes.regions, true);
    while (count < COUNT && kind_of(p) != size_class(BYTES))
        objects[count++] = neap_malloc(BYTES);
    assert_int_equal(kind_of(p), size_class(BYTES));
    while (count < COUNT)
        objects[count++] = neap_malloc(BYTES);
    os_futex_wake_one((const uint32_t *)&lock->word);
    assert_int_equal(pthread_join(thread, NULL), 0);
    scope = enter_new("late", 0);
    p = neap_malloc(100);
    assert_true(in_region(p));
    neap_free(p);
    leave_and_end(scope);
    while (count > 0)
        neap_free(objects[--count]);
    scavenger_let_go();
    heap_check();
}

static void *free_all(void *objects) {
    for (char **p = objects; *p != NULL; p++)
        neap_free(*p);
    return NULL;
}

/* Allocates in a scope until it gets that place. */
static void *take_place(void *place) {
    enum { COUNT = 100000 };
    static void *objects[COUNT];
    size_t count = 0;
    neap_scope scope = enter_new("other", 0);
    while (count < COUNT && (count == 0 || objects[count - 1] != place))
        objects[count++] = neap_malloc(16);
    void *taken = objects[count - 1] == place ? objects[--count] : NULL;
    while (count > 0)
        neap_free(objects[--count]);
    leave_and_end(scope);
    return taken;
}

/* A thread in a scope knows the place of what it allocated last. Others free that object, and all around it, the
 * memory is returned, and something smaller is allocated there: which the thread frees. */
static void what_lies_there_is_smaller_now(void **state) {
    (void)state;
    enum { BYTES = 64, COUNT = 4096 };
    static char *objects[COUNT + 1];
    pthread_t thread;
    void *taken;
    neap_malloc_trim(0);
    neap_scope scope = enter_new("last", 0);
    for (size_t i = 0; i < COUNT; i++)
        objects[i] = neap_malloc(BYTES);
    char *place = objects[0];
    neap_free(place);
    assert_ptr_equal(neap_malloc(BYTES), place);
    assert_int_equal(pthread_create(&thread, NULL, free_all, objects), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    regions_tick(&heap.scopes.regions, true);
    assert_int_equal(pthread_create(&thread, NULL, take_place, place), 0);
    assert_int_equal(pthread_join(thread, &taken), 0);
    neap_free(taken);
    assert_false(taken != NULL && neap_malloc(BYTES) == taken);
    leave_and_end(scope);
    check_nothing_is_left();
}

static void *leave_by_ending(void *scope) {
    assert_int_equal(neap_scope_enter(*(neap_scope *)scope), 0);
    return neap_malloc(100);
}

static void threads_leave_at_their_end(void **state) {
    (void)state;
    neap_scope scope = create("gone", 0);
    pthread_t thread;
    void *p;
    assert_int_equal(pthread_create(&thread, NULL, leave_by_ending, &scope), 0);
    assert_int_equal(pthread_join(thread, &p), 0);
    assert_true(in_region(p));
    assert_int_equal(stats_of(scope).live_objects, 1);
    neap_free(p);
    assert_int_equal(neap_scope_end(scope), 0);
}

static pthread_barrier_t barrier;

static void *stay_inside(void *argument) {
    neap_scope *scope = argument;
    assert_int_equal(neap_scope_enter(*scope), 0);
    void *p = neap_malloc(100);
    neap_free(neap_malloc(50));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    assert_int_equal(neap_scope_leave(*scope), 0);
    return p;
}

static void handles_do_not_repeat(void **state) {
    (void)state;
    neap_scope first = create("repeats", 0);
    uint32_t number = (uint32_t)first;
    assert_int_equal(neap_scope_end(first), 0);
    scope_at(&heap.scopes, number)->state = (uint64_t)UINT32_MAX << 32;
    neap_scope last = create("repeats", 0);
    assert_int_equal(last, (uint64_t)UINT32_MAX << 32 | number);
    assert_int_equal(neap_scope_end(last), 0);
    neap_scope next = create("repeats", 0);
    assert_int_not_equal((uint32_t)next, number);
    assert_int_equal(neap_scope_enter(last), EINVAL);
    assert_int_equal(neap_scope_enter(number), EINVAL);
    assert_int_equal(neap_scope_end(next), 0);
    heap_check();
}

static void children_go_on(void **state) {
    (void)state;
    neap_scope mine = enter_new("mine", 0), theirs = create("theirs", 0);
    char *p = neap_malloc(100);
    strcpy(p, "kept");
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    int token = neap_exempt_begin();
    assert_int_equal(pthread_create(&thread, NULL, stay_inside, &theirs), 0);
    neap_exempt_end(token);
    pthread_barrier_wait(&barrier);
    pid_t pid = fork();
    if (pid == 0) {
        void *more = neap_malloc(1000);
        struct neap_scope_stats stats;
        bool good = neap_scope_stats(theirs, &stats) == 0 && stats.live_objects == 1;
        good = good && in_region(more) && strcmp(p, "kept") == 0 && neap_scope_leave(mine) == 0 &&
               neap_scope_end(mine) == 0 && neap_scope_enter(theirs) == 0;
        void *last = neap_malloc(10);
        good = good && in_region(last) && neap_scope_leave(theirs) == 0 && neap_scope_end(theirs) == 0;
        neap_free(p);
        neap_free(more);
        neap_free(last);
        heap_check();
        _exit(good ? 0 : 1);
    }
    test_child_succeeds(pid);
    pthread_barrier_wait(&barrier);
    void *q;
    assert_int_equal(pthread_join(thread, &q), 0);
    neap_free(q);
    neap_free(p);
    assert_int_equal(neap_scope_end(theirs), 0);
    leave_and_end(mine);
    heap_check();
}

/* --- mistakes ----------------------------------------------------------------------------------------------- */

static char *victim, *neighbour;

static void free_twice(void) {
    neap_free(victim);
    neap_free(victim);
}

/* Found when its scope is left. */
static void free_twice_in_turns(void) {
    neap_free(victim);
    neap_free(neighbour);
    neap_free(victim);
    neap_scope_leave(neap_scope_current());
}

static void free_inside(void) {
    neap_free(victim + 16);
}

static void free_askew(void) {
    neap_free(victim + 8);
}

static void free_behind_the_last(void) {
    size_t size = neap_malloc_usable_size(neighbour);
    while ((uintptr_t)(neighbour + size) % UNIT_BYTES < UNIT_BYTES - 512) /* so that what is behind looks short */
        neighbour = neap_malloc(size);
    neap_free(neighbour + size);
}

static void free_outside_then_inside(void) {
    NEAP_EXEMPT {
        neap_free(victim);
    }
    neap_free(victim);
}

static void free_inside_then_outside(void) {
    neap_free(victim);
    NEAP_EXEMPT {
        neap_free(victim);
    }
}

static void resize_freed(void) {
    neap_free(victim);
    neap_free(neap_realloc(victim, 200));
}

static void free_twice_after_end(void) {
    assert_int_equal(neap_scope_leave(neap_scope_current()), 0);
    neap_free(victim);
    neap_free(victim);
}

static void free_what_was_destroyed(void) {
    neap_scope scope = neap_scope_create(&(struct neap_scope_options){.flags = NEAP_SCOPE_DESTROYABLE});
    victim = neap_scope_malloc(scope, 64);
    neap_scope_destroy(scope);
    neap_free(victim);
}

#define FREE      "neap: free("
#define TWICE     "double free: the object is already free"
#define NO_OBJECT "there is no object: already free, or never allocated"
#define INSIDE    "points inside an object, not to its start"

static const struct {
    void (*make)(void);
    const char *said;
} mistakes[] = {
    {free_twice, TWICE},
    {free_twice_in_turns, "double free: the object was free already"},
    {free_inside, INSIDE},
    {free_askew, INSIDE},
    {free_behind_the_last, NO_OBJECT},
    {free_outside_then_inside, TWICE},
    {free_inside_then_outside, TWICE},
    {resize_freed, "the object is already free"},
    {free_twice_after_end, TWICE},
    {free_what_was_destroyed, "free"},
};

static void mistakes_are_told(void **state) {
    (void)state;
    size_t count = sizeof mistakes / sizeof *mistakes;
    for (size_t n = 0; n < 2 * count; n++) { /* with objects in narrow regions and in middle ones */
        size_t i = n % count, size = n < count ? 64 : LONG;
        int ends[2], status;
        char *p[COUNT_AROUND_HOLES];
        char said[500] = "";
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0) {
            dup2(ends[1], STDERR_FILENO);
            signal(SIGABRT, SIG_DFL);
            scavenger_hold();
            if (size == LONG)
                leave_short_holes(p);
            neap_scope_enter(neap_scope_create(NULL));
            neap_malloc(16); /* opens a hole */
            victim = neap_malloc(size);
            neighbour = neap_malloc(size);
            if (heap.runs.space.page <= UNIT_BYTES)
                assert_int_equal(kind_of(victim), size == LONG ? UNIT_REGION_MIDDLE : UNIT_REGION);
            mistakes[i].make();
            _exit(0);
        }
        close(ends[1]);
        ssize_t length = read(ends[0], said, sizeof said - 1);
        close(ends[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (length <= 0 || strstr(said, mistakes[i].said) == NULL)
            fail_msg("mistake %zu: it said \"%s\", status %#x", i, said, (unsigned)status);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

static void reports_by_label(void **state) {
    (void)state;
    neap_scope scope = create("GET /early", 0);
    assert_int_equal(neap_scope_set_label(scope, "GET /late"), 0);
    assert_int_equal(neap_scope_enter(scope), 0);
    void *small = neap_malloc(100), *large = neap_malloc(100000);
    leave_and_end(scope);
    struct label label = label_of("GET /late");
    assert_int_equal(label.scopes, 1);
    assert_int_equal(label.surviving_objects, 2);
    assert_true(label.surviving_bytes >= 100100 && label.surviving_bytes < 100100 + 65536);
    assert_int_equal(label_of("GET /early").scopes, 0);
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_int_equal(neap_scope_report(out), 0);
    fclose(out);
    assert_non_null(strstr(text, "GET /late"));
    free(text);
    neap_free(small);
    neap_free(large);
    assert_int_equal(neap_scope_end(create(NULL, 0)), 0);
    size_t unlabelled = label_of("-").scopes;
    assert_int_equal(neap_scope_end(create("-", 0)), 0); /* what those without a label are called */
    assert_int_equal(label_of("-").scopes, unlabelled + 1);
    for (int i = 0; i < 2 * LABELS; i++) { /* more than there is room for */
        char name[100];
        snprintf(name, sizeof name, "label %d, of which only the first characters are kept: not these 64", i);
        assert_int_equal(neap_scope_end(create(name, 0)), 0);
    }
    assert_true(label_of("(others)").scopes > LABELS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors), /* first: the heap is not made yet */
        cmocka_unit_test(allocates_where_it_says),
        cmocka_unit_test(matches_a_model),
        cmocka_unit_test(resizes_in_place),
        cmocka_unit_test(finds_what_it_freed),
        cmocka_unit_test(knows_what_was_resized),
        cmocka_unit_test(limits),
        cmocka_unit_test(limits_growth),
        cmocka_unit_test(limits_of_all_holes),
        cmocka_unit_test(refuses_absurd_sizes),
        cmocka_unit_test(destroys),
        cmocka_unit_test(destroys_nothing_else),
        cmocka_unit_test(survivors_share_regions),
        cmocka_unit_test(holes_are_filled_to_their_ends),
        cmocka_unit_test(holes_are_filled_past_the_open_one),
        cmocka_unit_test(short_holes_wait_for_small_objects),
        cmocka_unit_test(units_leave_whole),
        cmocka_unit_test(full_regions_are_found_again),
        cmocka_unit_test(returns_dead_pages),
        cmocka_unit_test(returns_marks),
        cmocka_unit_test(what_was_taken_back_is_dirty),
        cmocka_unit_test(a_free_finds_its_region_gone),
        cmocka_unit_test(what_lies_there_is_smaller_now),
        cmocka_unit_test(threads_leave_at_their_end),
        cmocka_unit_test(handles_do_not_repeat),
        cmocka_unit_test(children_go_on),
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(reports_by_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
