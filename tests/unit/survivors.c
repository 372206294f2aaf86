/* scope/survivors: what outlived its scope is told with who allocated it, and nothing else is. */
#include "scavenger.h"
#include "scopes.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OBJECTS = 1000, MANY = 34000 };

static void *objects[MANY];
static uintptr_t keeper_returns_to; /* where the function `keep` was called */

#define STAYS __attribute__((noinline))

STAYS static void *keep(size_t size) {
    void *p = neap_malloc(size);
    keeper_returns_to = (uintptr_t)__builtin_return_address(0);
    assert_non_null(p);
    return p;
}

STAYS static void *drop(size_t size) {
    void *p = neap_malloc(size);
    __asm__ volatile("" : "+r"(p));
    return p;
}

static void leave_and_end(neap_scope scope) {
    assert_int_equal(neap_scope_leave(scope), 0);
    heap_check();
    assert_int_equal(neap_scope_end(scope), 0);
    heap_check();
}

/* All sites of a label together, and the one with most bytes. */
static struct survivor_site sites_of(const char *label, size_t *count, struct survivor_site *first) {
    struct survivor_site all = {0}, site;
    *count = 0;
    for (size_t at = SURVIVOR_SITES; survivors_next(&heap.scopes, &site, &at);) {
        if (strcmp(site.label->text, label) != 0)
            continue;
        if ((*count)++ == 0 && first != NULL)
            *first = site;
        all.samples += site.samples;
        all.bytes += site.bytes;
        all.objects += site.objects;
    }
    return all;
}

static void assert_exact(const char *text, size_t objects_expected) {
    size_t sites;
    struct survivor_site all = sites_of(text, &sites, NULL);
    struct label label = label_of(text);
    assert_int_equal(label.surviving_objects, objects_expected);
    assert_int_equal(all.samples, objects_expected);
    assert_true(all.objects == (double)objects_expected);
    assert_int_equal((size_t)all.bytes, label.surviving_bytes);
}

/* From the backtrace's own test: where nothing is known of frames, the caller is all. */
static bool has_stacks(void) {
    uintptr_t addresses[4];
    return os_backtrace(__builtin_return_address(0), addresses, 4) > 1;
}

static void names_who_allocated(void **state) {
    (void)state;
    neap_scope scope = enter_new("names", 0);
    for (size_t i = 0; i < 100; i++) {
        objects[i] = keep(48);
        neap_free(drop(48));
    }
    uintptr_t expected = keeper_returns_to;
    leave_and_end(scope);
    assert_exact("names", 100);
    size_t sites;
    struct survivor_site site;
    sites_of("names", &sites, &site);
    assert_int_equal(sites, 1);
    assert_in_range(site.stack.address[0], (uintptr_t)keep, (uintptr_t)keep + 512);
    if (has_stacks())
        assert_int_equal(site.stack.address[1], expected);
    for (size_t i = 0; i < 100; i++)
        neap_free(objects[i]);
}

static void *free_all(void *count) {
    for (size_t i = 0; i < (size_t)(uintptr_t)count; i++)
        neap_free(objects[i]);
    return NULL;
}

static void forgets_what_was_freed(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 48, 1000, 3000, 16000, 20000, 100000, 3 << 20};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    pthread_t thread;
    neap_scope scope = enter_new("freed", 0);
    for (size_t i = 0; i < 100; i++)
        objects[i] = drop(sizes[i % SIZES]);
    free_all((void *)(uintptr_t)50);
    memmove(objects, objects + 50, 50 * sizeof *objects);
    assert_int_equal(pthread_create(&thread, NULL, free_all, (void *)(uintptr_t)50), 0); /* not in the scope */
    pthread_join(thread, NULL);
    leave_and_end(scope);
    assert_exact("freed", 0);

    scope = enter_new("freed later", 0);
    void *p = drop(100);
    leave_and_end(scope);
    neap_free(p);
    assert_exact("freed later", 1); /* it did survive */
}

/* What lies where a sampled object was has its own call stack, in the scope and outside. */
static void tells_old_from_new(void **state) {
    (void)state;
    static const size_t sizes[] = {48, 3000, 100000};
    for (size_t s = 0; s < 3; s++) {
        neap_scope scope = enter_new("reused", 0);
        bool reused = false;
        for (size_t i = 0; i < 1000; i++)
            objects[i] = drop(sizes[s]);
        void *first = objects[0];
        for (size_t i = 0; i < 1000; i++)
            neap_free(objects[i]);
        for (size_t i = 0; i < 1000; i++) {
            objects[i] = keep(sizes[s]);
            reused |= objects[i] == first;
        }
        (void)reused;
        leave_and_end(scope);
        assert_exact("reused", 1000 * (s + 1));
        for (size_t i = 0; i < 1000; i++)
            neap_free(objects[i]);
    }
    size_t sites;
    struct survivor_site site;
    sites_of("reused", &sites, &site);
    for (size_t at = SURVIVOR_SITES; survivors_next(&heap.scopes, &site, &at);)
        if (strcmp(site.label->text, "reused") == 0)
            assert_in_range(site.stack.address[0], (uintptr_t)keep, (uintptr_t)keep + 512);
    /* Memory of a large object of one scope is taken by another. */
    neap_scope one = enter_new("one", 0),
               other = neap_scope_create(&(struct neap_scope_options){.label = "other"});
    scavenger_hold(); /* or the memory could be returned, and another place be first */
    void *p = drop(5 << 20);
    neap_free(p);
    assert_int_equal(neap_scope_leave(one), 0);
    assert_int_equal(neap_scope_enter(other), 0);
    void *q = keep(5 << 20);
    scavenger_let_go();
    assert_ptr_equal(p, q);
    assert_int_equal(neap_scope_end(one), 0);
    leave_and_end(other);
    assert_exact("one", 0);
    assert_exact("other", 1);
    neap_free(q);
}

static void counts_exactly_at_an_interval_of_one(void **state) {
    (void)state;
    static const size_t sizes[] = {8, 24, 100, 700, 1500, 9000, 40000, 200000};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    uint64_t random = 1;
    size_t living = 0;
    memset(objects, 0, sizeof objects);
    for (size_t round = 0; round < 20; round++) {
        neap_scope scope = enter_new("exact", 0);
        for (size_t i = 0; i < OBJECTS; i++) {
            void **p = &objects[test_random(&random) % 200];
            size_t size = sizes[test_random(&random) % SIZES];
            switch (test_random(&random) % 5) {
            case 0:
                *p = neap_realloc(*p, size);
                break;
            case 1:
                neap_free(*p);
                *p = neap_calloc(1, size);
                break;
            case 2:
                neap_free(*p);
                *p = neap_aligned_alloc((size_t)16 << test_random(&random) % 10, size);
                break;
            case 3:
                neap_free(*p);
                *p = neap_scope_malloc(scope, size);
                break;
            default:
                neap_free(*p);
                *p = NULL;
            }
        }
        assert_int_equal(neap_scope_leave(scope), 0);
        struct neap_scope_stats stats;
        assert_int_equal(neap_scope_stats(scope, &stats), 0);
        living += stats.live_objects;
        heap_check();
        assert_int_equal(neap_scope_end(scope), 0);
        for (size_t i = 0; i < 200; i += 1 + round % 2) {
            neap_free(objects[i]);
            objects[i] = NULL;
        }
    }
    free_all((void *)(uintptr_t)200);
    assert_int_not_equal(living, 0);
    assert_exact("exact", living);
}

/* A large object whose pages realloc moves has the call stack that it had. One that is copied is new. */
static void follows_large_ones(void **state) {
    (void)state;
    neap_scope scope = enter_new("moved", 0);
    void *p = keep(100000), *next = keep(100000);
    void *moved = neap_realloc(p, 50 << 20);
    assert_ptr_not_equal(p, moved);
    neap_free(next);
    leave_and_end(scope);
    assert_exact("moved", 1);
    size_t sites;
    struct survivor_site site;
    sites_of("moved", &sites, &site);
    bool by_keep = site.stack.address[0] - (uintptr_t)keep < 512;
    assert_true(by_keep || site.stack.address[0] - (uintptr_t)follows_large_ones < 1024);
    neap_free(moved);
}

static void goes_by_the_last_label(void **state) {
    (void)state;
    neap_scope scope = enter_new("early", 0);
    void *p = keep(100);
    assert_int_equal(neap_scope_set_label(scope, "late"), 0);
    leave_and_end(scope);
    assert_exact("late", 1);
    assert_exact("early", 0);
    neap_free(p);
}

static void knows_bulk_free(void **state) {
    (void)state;
    struct neap_scope_options options = {.label = "destroyed", .flags = NEAP_SCOPE_DESTROYABLE};
    neap_scope scope = neap_scope_create(&options);
    for (size_t i = 0; i < 100; i++)
        assert_non_null(neap_scope_malloc(scope, 1000 * i));
    assert_int_equal(neap_scope_destroy(scope), 0);
    heap_check();
    assert_exact("destroyed", 0);
}

static void survives_fork(void **state) {
    (void)state;
    neap_scope scope = enter_new("forked", 0);
    void *p = keep(100), *q = keep(100000);
    pid_t child = fork();
    if (child == 0) {
        neap_free(p);
        leave_and_end(scope);
        assert_exact("forked", 1);
        _exit(0);
    }
    test_child_succeeds(child);
    leave_and_end(scope);
    assert_exact("forked", 2);
    neap_free(p);
    neap_free(q);
}

static void says_what_had_no_room(void **state) {
    (void)state;
    size_t before = counter_get(&heap.scopes.survivors.lost), sites;
    neap_scope scope = enter_new("many", 0);
    for (size_t i = 0; i < MANY; i++)
        objects[i] = keep(16);
    leave_and_end(scope);
    size_t lost = counter_get(&heap.scopes.survivors.lost) - before;
    assert_in_range(lost, 1, MANY - 1);
    assert_int_equal(sites_of("many", &sites, NULL).samples + lost, MANY);
    free_all((void *)(uintptr_t)(MANY));
    scope = enter_new("after many", 0); /* there is room again */
    objects[0] = keep(16);
    leave_and_end(scope);
    assert_exact("after many", 1);
    neap_free(objects[0]);
}

/* Estimates are right on average: within four standard deviations, with what has been drawn here for good. */
static void estimates_from_samples(void **state) {
    (void)state;
    enum { INTERVAL = 10000, SCOPES = 100, EACH = 400 };
    heap.scopes.survivors.interval = INTERVAL;
    heap.scopes.survivors.random = 12345;
    for (size_t i = 0; i < SCOPES; i++) {
        neap_scope scope = enter_new("estimated", 0);
        for (size_t k = 0; k < EACH; k++) {
            neap_free(drop(k % 3 * 500));
            objects[k] = keep(k % 4 == 0 ? 2048 : 128);
        }
        leave_and_end(scope);
        free_all((void *)(uintptr_t)EACH);
    }
    heap.scopes.survivors.interval = 1;
    struct label label = label_of("estimated");
    size_t sites;
    struct survivor_site all = sites_of("estimated", &sites, NULL);
    assert_int_equal(label.surviving_objects, SCOPES * EACH);
    assert_in_range(all.samples, 2000, 2500);
    assert_true(all.bytes > 0.91 * (double)label.surviving_bytes &&
                all.bytes < 1.09 * (double)label.surviving_bytes);
    assert_true(all.objects > 0.8 * (double)label.surviving_objects &&
                all.objects < 1.2 * (double)label.surviving_objects);
}

static void reports(void **state) {
    (void)state;
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    assert_int_equal(neap_scope_report(out), 0);
    fclose(out);
    assert_non_null(strstr(text, "  names\n    #0 0x"));
    assert_non_null(strstr(text, "unit_survivors+0x"));
    free(text);
}

int main(void) {
    char options[200];
    const char *given = getenv("NEAP_OPTIONS");
    snprintf(options, sizeof options, "%s,scope_survivors:1", given != NULL ? given : "");
    setenv("NEAP_OPTIONS", options, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_who_allocated),
        cmocka_unit_test(forgets_what_was_freed),
        cmocka_unit_test(tells_old_from_new),
        cmocka_unit_test(counts_exactly_at_an_interval_of_one),
        cmocka_unit_test(follows_large_ones),
        cmocka_unit_test(goes_by_the_last_label),
        cmocka_unit_test(knows_bulk_free),
        cmocka_unit_test(survives_fork),
        cmocka_unit_test(says_what_had_no_room),
        cmocka_unit_test(estimates_from_samples),
        cmocka_unit_test(reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
