/* slab/: bitmaps and bins of every class. */
#include "test.h"

#include "slab/bin.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static struct runs runs;
static struct bins bins;

static int setup(void **state) {
    (void)state;
    if (!runs_init(&runs, test_page_size()))
        return -1;
    bins_init(&bins, &runs);
    return 0;
}

/* As many as there are. */
static void *flush(unsigned class, size_t count, void *const *objects) {
    void *already_free = NULL;
    for (size_t n, i = 0; i < count; i += n) {
        n = min_size(count - i, BIN_FLUSH_MOST);
        void *bad = bin_flush(&bins, class, n, objects + i);
        already_free = bad != NULL ? bad : already_free;
    }
    return already_free;
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
        assert_null(flush(c, want, objects));
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
        assert_ptr_equal(flush(c, 2, twice), objects[1]);
        assert_true(bin_holds(&bins, c, objects[1]));
        assert_int_equal(counter_get(&bins.bin[c].allocated), 2);
        bins_check(&bins);
        twice[0] = objects[0];
        twice[1] = objects[2];
        assert_null(flush(c, 2, twice)); /* the slab is empty now, and gone */
        assert_ptr_equal(flush(c, 1, objects), objects[0]);
        bins_check(&bins);
    }
}

/* Objects side by side, every second one and anything, across words and slabs, in either direction; some of them
 * are free already. */
static void flushes_rows(void **state) {
    (void)state;
    static const unsigned classes[] = {1, 4, CLASS_OF(256), CLASS_OF(4096), CLASS_OF(10240)};
    static void *objects[3 * (65536 / CLASS_GRAIN)];
    static bool is_free[sizeof objects / sizeof *objects];
    uint64_t seed = 3;
    for (size_t k = 0; k < sizeof classes / sizeof *classes; k++) {
        unsigned c = classes[k];
        size_t n = (size_t)objects_of(&bins.divisors[c]) * 3, got = 0, live = n;
        assert_true(n <= sizeof objects / sizeof *objects);
        while (got < n)
            got += bin_refill(&bins, c, n - got, objects + got);
        qsort(objects, n, sizeof *objects, compare);
        memset(is_free, 0, sizeof is_free);
        while (live > n / 16) { /* so that hardly a slab is gone */
            void *flushed[BIN_FLUSH_MOST], *twice[BIN_FLUSH_MOST] = {NULL};
            size_t count = 0, again = 0, at = test_random(&seed) % n,
                   most = 1 + test_random(&seed) % BIN_FLUSH_MOST;
            ptrdiff_t step = (ptrdiff_t)(test_random(&seed) % 7) - 3; /* 3 or -3: any */
            for (; count < most && at < n; at += (size_t)step) {
                if (step == 3 || step == -3)
                    at = test_random(&seed) % n;
                if (is_free[at] && test_random(&seed) % 2 == 0)
                    break;
                if (is_free[at])
                    twice[again++] = objects[at];
                live -= !is_free[at];
                is_free[at] = true;
                flushed[count++] = objects[at];
            }
            if (count == 0)
                continue;
            void *found = bin_flush(&bins, c, count, flushed);
            for (size_t i = 0; i < again && twice[0] != found; i++)
                twice[0] = twice[i];
            assert_ptr_equal(found, twice[0]);
            assert_int_equal(counter_get(&bins.bin[c].allocated), live);
            for (size_t i = 0; i < n; i++)
                if (unit_kind_at(&runs.space.map, objects[i]) == c)
                    assert_int_equal(bin_holds(&bins, c, objects[i]), is_free[i]);
                else
                    assert_true(is_free[i]);
            bins_check(&bins);
        }
        for (size_t i = 0; i < n; i++)
            if (!is_free[i])
                assert_null(flush(c, 1, &objects[i]));
        assert_int_equal(counter_get(&bins.bin[c].slabs), 0);
    }
    assert_int_equal(counter_get(&runs.used_units), 0);
}

struct flushing {
    size_t count;
    void **objects, *already_free;
    _Atomic bool done;
};

static void *flush_4096(void *argument) {
    struct flushing *f = argument;
    f->already_free = flush((unsigned)CLASS_OF(4096), f->count, f->objects);
    atomic_store(&f->done, true);
    return NULL;
}

/* The slab is empty and in no bin any more, but its run not given back yet. */
static void a_double_free_finds_its_slab_leaving(void **state) {
    (void)state;
    const unsigned c = (unsigned)CLASS_OF(4096);
    void *objects[BIN_FLUSH_MOST];
    size_t n = objects_of(&bins.divisors[c]);
    pthread_t first, second;
    assert_true(n <= BIN_FLUSH_MOST);
    assert_int_equal(bin_refill(&bins, c, n, objects), n);
    struct flushing all = {.count = n, .objects = objects}, again = {.count = 1, .objects = objects};
    lock_acquire(&runs.lock);
    assert_int_equal(pthread_create(&first, NULL, flush_4096, &all), 0);
    while (counter_get(&bins.bin[c].slabs) != 0)
        os_yield();
    assert_int_equal(pthread_create(&second, NULL, flush_4096, &again), 0);
    while (!atomic_load(&again.done) && counter_get(&bins.bin[c].slabs) == 0)
        os_yield();
    assert_int_equal(counter_get(&bins.bin[c].slabs), 0);
    lock_release(&runs.lock);
    pthread_join(first, NULL);
    pthread_join(second, NULL);
    assert_null(all.already_free);
    assert_ptr_equal(again.already_free, objects[0]);
    bins_check(&bins);
    assert_int_equal(counter_get(&runs.used_units), 0);
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
    assert_null(flush(c, 1, &one));
    assert_null(flush(c, per_slab / 2, objects));
    assert_null(flush(c, per_slab - 1, objects + per_slab));
    assert_int_equal(bin_refill(&bins, c, 1, &p), 1);
    assert_ptr_equal(p, one);
    assert_int_equal(bin_refill(&bins, c, 1, &p), 1);
    assert_ptr_equal(p, objects[per_slab / 2 - 1]); /* highest address first inside a slab */
    assert_null(flush(c, 1, &p));
    assert_null(flush(c, per_slab - per_slab / 2, objects + per_slab / 2));
    assert_int_equal(counter_get(&bins.bin[c].slabs), 2);
    assert_null(flush(c, per_slab + 1, objects + per_slab * 2 - 1));
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
            assert_null(flush(objects[i].class, 1, &objects[i].p));
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
            assert_null(flush(objects[i].class, 1, &objects[i].p));
    assert_int_equal(counter_get(&runs.used_units), 0);
}

/* --- pages ----------------------------------------------------------------------------------------------- */

static bool resident(uintptr_t addr) {
    unsigned char in = 0;
    assert_int_equal(mincore((void *)addr, os_page_size(), &in), 0);
    return (in & 1) != 0;
}

static bool page_is_resident(uintptr_t addr) { /* of our page, which may be several of the system's */
    for (size_t at = 0; at < runs.space.page; at += os_page_size())
        if (resident(addr + at))
            return true;
    return false;
}

/* Fills `slabs` slabs of a class whose contents are known, and nothing else lies there. */
static size_t fill(unsigned c, size_t slabs, void **objects) {
    size_t want = objects_of(&bins.divisors[c]) * slabs, got = 0;
    while (got < want)
        got += bin_refill(&bins, c, want - got, objects + got);
    qsort(objects, got, sizeof *objects, compare);
    for (size_t i = 0; i < got; i++)
        memset(objects[i], 0x5a, class_bytes(c));
    return got;
}

static bool overlaps(const void *object, size_t size, uintptr_t page) {
    return (uintptr_t)object < page + runs.space.page && (uintptr_t)object + size > page;
}

static bool holds_its_bytes(const char *object, size_t size) {
    return object[0] == 0x5a && memcmp(object, object + 1, size - 1) == 0;
}

/* In every class: some objects are freed, and after two ticks just those pages are resident that the others need.
 */
static void free_pages_go_back(void **state) {
    (void)state;
    enum { SLABS = 3 };
    static void *objects[20000], *freed[20000];
    static bool live[20000];
    uint64_t seed = 3;
    size_t page = runs.space.page;
    for (unsigned c = 1; c < CLASSES; c++) {
        size_t n = fill(c, SLABS, objects), size = class_bytes(c), slab_bytes = bins.divisors[c].slab_mask + 1;
        size_t kept = 0, count = 0;
        for (size_t i = 0; i < n; i++) {
            bool last_of_slab = i + 1 == n || ((uintptr_t)objects[i] & ~(slab_bytes - 1)) !=
                                                  ((uintptr_t)objects[i + 1] & ~(slab_bytes - 1));
            /* Of small objects rather few, so that pages become free. */
            live[i] = (last_of_slab && kept == 0) || test_random(&seed) % (size < 512 ? 200 : 8) == 0;
            kept = last_of_slab ? 0 : kept + live[i];
            if (!live[i])
                freed[count++] = objects[i];
        }
        for (size_t i = count; i > 1; i--) { /* in any order */
            size_t j = test_random(&seed) % i;
            void *swap = freed[j];
            freed[j] = freed[i - 1];
            freed[i - 1] = swap;
        }
        assert_null(flush(c, count, freed));
        bins_check(&bins);
        bins_tick(&bins, false);
        bins_check(&bins);
        size_t before = counter_get(&runs.purged_pages), bytes = bins_tick(&bins, false);
        assert_int_equal(counter_get(&runs.purged_pages) - before, bytes / page);
        bins_check(&bins);
        size_t returned = 0;
        for (size_t i = 0; i < n; i++) {
            if (i > 0 &&
                ((uintptr_t)objects[i] & ~(slab_bytes - 1)) == ((uintptr_t)objects[i - 1] & ~(slab_bytes - 1)))
                continue;
            uintptr_t slab = (uintptr_t)objects[i] & ~(slab_bytes - 1);
            for (uintptr_t at = slab; at < slab + slab_bytes; at += page) {
                bool needed = false;
                for (size_t k = i; k < n && (uintptr_t)objects[k] < slab + slab_bytes; k++)
                    needed = needed || (live[k] && overlaps(objects[k], size, at));
                assert_int_equal(page_is_resident(at), needed);
                returned += !needed;
            }
        }
        assert_true(returned > 0 || slab_bytes <= 2 * page);
        assert_true(bytes <= returned * page); /* what lies before the objects may never have been resident */
        bins_tick(&bins, false);
        assert_false(bins_pending(&bins));
        for (size_t i = 0, got; i < n; i++) {
            assert_true(!live[i] || holds_its_bytes(objects[i], size));
            if (!live[i]) { /* all are found again */
                got = bin_refill(&bins, c, 1, &freed[i]);
                assert_int_equal(got, 1);
                memset(freed[i], 1, size);
            } else {
                freed[i] = objects[i];
            }
        }
        bins_check(&bins);
        qsort(freed, n, sizeof *freed, compare);
        assert_memory_equal(freed, objects, n * sizeof *freed);
        for (size_t i = 0; i < n; i++)
            assert_true(!live[i] || holds_its_bytes(objects[i], size));
        assert_null(flush(c, n, objects));
        assert_false(bins_pending(&bins));
        assert_int_equal(counter_get(&runs.used_units), 0);
        runs_tick(&runs, true);
    }
}

/* The first page of a slab, which is the last by address, is free, the next lives; objects are of half a page, in
 * the slab's order. */
struct half_pages {
    unsigned class;
    void *objects[64];
    size_t count;
};

static int compare_falling(const void *a, const void *b) {
    return compare(b, a);
}

static struct half_pages free_first_page(void) {
    struct half_pages h = {.class = size_class(runs.space.page / 2)};
    runs_tick(&runs, true);
    h.count = fill(h.class, 1, h.objects);
    qsort(h.objects, h.count, sizeof *h.objects, compare_falling);
    assert_null(flush(h.class, 2, h.objects));
    return h;
}

static void end(struct half_pages *h, size_t from) {
    assert_null(flush(h->class, h->count - from, h->objects + from));
    bins_check(&bins);
    assert_int_equal(counter_get(&runs.used_units), 0);
    assert_false(bins_pending(&bins));
}

static void what_is_used_again_stays(void **state) {
    (void)state;
    struct half_pages h = free_first_page();
    assert_true(bins_pending(&bins));
    assert_int_equal(bins_tick(&bins, false), 0);
    assert_int_equal(bin_refill(&bins, h.class, 1, h.objects), 1);
    assert_null(flush(h.class, 1, h.objects)); /* free again, but only since now */
    assert_int_equal(bins_tick(&bins, false), 0);
    assert_true(resident((uintptr_t)h.objects[1]));
    assert_int_equal(bins_tick(&bins, false), runs.space.page);
    assert_false(page_is_resident((uintptr_t)h.objects[1]));
    end(&h, 2);
}

static void resident_pages_serve_first(void **state) {
    (void)state;
    struct half_pages h = free_first_page();
    assert_int_equal(bins_tick(&bins, true), runs.space.page);
    assert_null(flush(h.class, 1, h.objects + 5));
    size_t refaulted = counter_get(&runs.refaulted_pages);
    void *p[3];
    assert_int_equal(bin_refill(&bins, h.class, 1, p), 1);
    assert_ptr_equal(p[0], h.objects[5]); /* though two before it are free */
    assert_int_equal(counter_get(&runs.refaulted_pages), refaulted);
    assert_int_equal(bin_refill(&bins, h.class, 2, p), 2);
    assert_ptr_equal(p[0], h.objects[0]);
    assert_int_equal(counter_get(&runs.refaulted_pages), refaulted + 1);
    bins_check(&bins);
    end(&h, 0);
}

/* 0 where pages are too large for that. */
static unsigned class_with_a_page_of_no_object(void) {
    unsigned c = CLASSES - 1;
    while (c > 0 && bins.divisors[c].slab_mask + 1 - bins.divisors[c].slab_end < runs.space.page)
        c--;
    return c;
}

/* What lies before a slab's objects is of no use; in a slab of dirty pages it goes although no object is free.
 */
static void pages_of_no_object_go(void **state) {
    (void)state;
    static void *objects[64];
    unsigned c = CLASSES - 1;
    while (c > 0 && bins.divisors[c].slab_mask + 1 - bins.divisors[c].slab_end < runs.space.page)
        c--;
    if (c == 0)
        return;                                         /* pages are too large for that */
    for (int turn = c == 0 ? 2 : 0; turn < 2; turn++) { /* in the first all pages are clean */
        size_t n = fill(c, 1, objects);
        uintptr_t unused = (uintptr_t)objects[0] & ~(uintptr_t)bins.divisors[c].slab_mask;
        assert_int_equal(bins_pending(&bins), turn == 1);
        memset((void *)unused, 1, turn == 1 ? runs.space.page : 0);
        assert_int_equal(bins_tick(&bins, false), 0);
        assert_true((bins_tick(&bins, false) > 0) == (turn == 1));
        assert_false(page_is_resident(unused));
        assert_null(flush(c, n, objects));
        memset((void *)unused, 1, runs.space.page); /* as another user of the run might */
    }
    assert_int_equal(counter_get(&runs.used_units), 0);
    assert_false(bins_pending(&bins));
    runs_tick(&runs, true);
}

static struct slab *slab_of(const void *p) {
    uintptr_t mask = bins.divisors[unit_kind_at(&runs.space.map, p)].slab_mask;
    return space_meta(&runs.space, unit_of(&runs.space.map, (void *)((uintptr_t)p & ~mask)));
}

/* Two slabs lie side by side, and the last page of the first and the first of the second are one range to the
 * system, which refuses it. */
static void refused_pages_stay_dirty(void **state) {
    (void)state;
    test_needs_refusals();
    static void *objects[128];
    unsigned c = size_class(runs.space.page / 2);
    size_t n = fill(c, 2, objects), slab_bytes = bins.divisors[c].slab_mask + 1, page = runs.space.page;
    uintptr_t second = (uintptr_t)objects[n / 2];
    if (second != (uintptr_t)objects[0] + slab_bytes)
        return;
    assert_null(flush(c, 4, objects + n / 2 - 2));
    assert_int_equal(munmap((void *)(second - page), page), 0);
    size_t before = counter_get(&runs.purged_pages);
    assert_true(bins_pending(&bins));
    assert_int_equal(bins_tick(&bins, true), 0);
    assert_false(bins_pending(&bins)); /* no use to try again and again */
    assert_int_equal(counter_get(&runs.purged_pages), before);
    assert_int_equal(slab_of(objects[0])->clean | slab_of(objects[n / 2])->clean, 0);
    assert_true(mmap((void *)(second - page), page, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    assert_int_equal(bins_tick(&bins, true), 2 * page);
    assert_int_equal(bin_refill(&bins, c, 4, objects + n / 2 - 2), 4);
    assert_null(flush(c, n, objects));
    bins_check(&bins);
    assert_int_equal(counter_get(&runs.used_units), 0);
    runs_tick(&runs, true);
}

/* Between its hold and its release: as seen by others than the tick. */
static void held_pages_are_nobodys(void **state) {
    (void)state;
    struct half_pages h = free_first_page();
    struct slab *slab = slab_of(h.objects[0]);
    const struct divisor *d = &bins.divisors[h.class];
    size_t refaulted = 0;
    void *p = h.objects[h.count - 1];
    assert_null(flush(h.class, 1, &p)); /* so that it stays on a list */
    assert_int_equal(slab_age(&runs.space, slab, d, true), 1);
    slab_hold(&runs.space, slab, d, 1);
    assert_int_equal(slab->free, 1);
    assert_ptr_equal(flush(h.class, 1, h.objects), h.objects[0]); /* free twice */
    assert_null(flush(h.class, h.count - 3, h.objects + 2));
    assert_int_equal(counter_get(&bins.bin[h.class].slabs), 1); /* without a live object it stays */
    void *objects[64];
    size_t got = slab_take(&runs.space, slab, d, 64, objects, &refaulted);
    assert_int_equal(got, h.count - 2);
    assert_memory_equal(objects, h.objects + 2, got * sizeof *objects);
    void *already_free = NULL;
    assert_int_equal(slab_put_row(&runs.space, slab, d, got, objects, &already_free), got);
    assert_null(already_free);
    assert_int_equal(slab->free, got);
    bins_check(&bins);
    assert_int_equal(bin_refill(&bins, h.class, 1, &p), 1);
    assert_ptr_equal(p, h.objects[2]);
    slab_release(&runs.space, slab, d, false);
    bins_check(&bins);
    assert_null(flush(h.class, 1, &p));
    assert_int_equal(counter_get(&bins.bin[h.class].slabs), 0);
    assert_int_equal(counter_get(&runs.used_units), 0);
}

static void *hold_for_ever(void *argument) {
    struct slab *slab = argument;
    const struct divisor *d = &bins.divisors[slab->class];
    lock_acquire(&bins.ticking);
    lock_acquire(&bins.bin[slab->class].lock);
    slab_hold(&runs.space, slab, d, slab_age(&runs.space, slab, d, true));
    lock_release(&bins.bin[slab->class].lock);
    return NULL;
}

static void hold_in_a_thread_that_ends(struct slab *slab) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, hold_for_ever, slab), 0);
    pthread_join(thread, NULL);
    assert_int_not_equal(slab_held(slab), 0);
}

/* A slab stays while a page is held, though no object lives, nor lies on that page. */
static void a_held_page_holds_its_slab(void **state) {
    (void)state;
    static void *objects[64];
    unsigned c = class_with_a_page_of_no_object();
    if (c == 0)
        return;
    size_t n = fill(c, 2, objects);
    assert_null(flush(c, n, objects));
    n = fill(c, 1, objects); /* of dirty pages */
    hold_in_a_thread_that_ends(slab_of(objects[0]));
    assert_null(flush(c, n, objects));
    assert_int_equal(counter_get(&bins.bin[c].slabs), 1);
    bins_check(&bins);
    bins_after_fork(&bins);
    bins_tick(&bins, false);
    assert_int_equal(counter_get(&bins.bin[c].slabs), 0);
    assert_int_equal(counter_get(&runs.used_units), 0);
    assert_false(bins_pending(&bins));
    runs_tick(&runs, true);
}

/* The thread that held pages is not there in the child: they are put back, the slab can become free. */
static void a_fork_leaves_nothing_held(void **state) {
    (void)state;
    struct half_pages h = free_first_page();
    void *other;
    assert_null(flush(h.class, 1, h.objects + 5)); /* so that it stays on a list */
    hold_in_a_thread_that_ends(slab_of(h.objects[0]));
    bins_after_fork(&bins);
    bins_tick(&bins, false);
    assert_int_equal(slab_held(slab_of(h.objects[0])), 0);
    bins_check(&bins);
    assert_int_equal(bin_refill(&bins, h.class, 1, &other), 1);
    assert_ptr_equal(other, h.objects[0]);
    h.objects[1] = other;
    h.objects[5] = h.objects[h.count - 1];
    h.count--;
    end(&h, 1);
}

/* A tick that lies between two of its own system calls may meet anything; here, slabs that go and come. */
static void ticks_beside_work(void **state) {
    (void)state;
    enum { OBJECTS = 3000 };
    static struct {
        unsigned char *p;
        unsigned class;
    } objects[OBJECTS];
    uint64_t seed = 11;
    for (int step = 0; step < 100000; step++) {
        size_t i = test_random(&seed) % OBJECTS;
        if (objects[i].p == NULL) {
            unsigned c = 1 + test_random(&seed) % (CLASSES - 1);
            void *p;
            assert_int_equal(bin_refill(&bins, c, 1, &p), 1);
            objects[i].p = p;
            objects[i].class = c;
            memset(p, (int)i, class_bytes(c));
        } else {
            unsigned c = objects[i].class;
            void *p = objects[i].p;
            assert_int_equal(objects[i].p[0], i & 0xff);
            assert_memory_equal(objects[i].p, objects[i].p + 1, class_bytes(c) - 1);
            assert_null(flush(c, 1, &p));
            objects[i].p = NULL;
        }
        if (step % 1000 == 0) {
            bins_tick(&bins, step % 7000 == 0);
            runs_tick(&runs, step % 7000 == 0);
            bins_check(&bins);
            runs_check(&runs);
        }
    }
    for (size_t i = 0; i < OBJECTS; i++)
        if (objects[i].p != NULL) {
            void *p = objects[i].p;
            assert_null(flush(objects[i].class, 1, &p));
            objects[i].p = NULL;
        }
    assert_int_equal(counter_get(&runs.used_units), 0);
    assert_false(bins_pending(&bins));
}

enum { DEPOT_CLASS = 4, HANDED = 48 };

static size_t in_depot(void) {
    return counter_get(&bins.bin[DEPOT_CLASS].in_depot);
}

static void hand_over(void *const *objects, size_t count) {
    for (size_t i = 0; i < count; i += HANDED)
        assert_null(bin_hand_over(&bins, DEPOT_CLASS, min_size(HANDED, count - i), objects + i));
}

static void take(void **objects, size_t count) {
    for (size_t got = 0; got < count;)
        got += bin_refill(&bins, DEPOT_CLASS, min_size(HANDED, count - got), objects + got);
}

static void what_is_handed_over_serves_first(void **state) {
    (void)state;
    enum { OBJECTS = 1000 };
    static void *objects[OBJECTS];
    void *again[HANDED];
    take(objects, OBJECTS);
    hand_over(objects, 3 * HANDED);
    assert_int_equal(in_depot(), 3 * HANDED);
    assert_int_equal(counter_get(&bins.bin[DEPOT_CLASS].allocated), OBJECTS - 3 * HANDED);
    assert_false(bin_holds(&bins, DEPOT_CLASS, objects[0]));
    assert_true(bins_pending(&bins));
    bins_check(&bins);
    for (size_t left = 3; left-- > 0;) {
        take(again, HANDED);
        assert_memory_equal(again, objects + left * HANDED, sizeof again);
    }
    assert_int_equal(in_depot(), 0);
    assert_int_equal(counter_get(&bins.bin[DEPOT_CLASS].allocated), OBJECTS);

    hand_over(objects, OBJECTS);
    assert_int_equal(in_depot(), OBJECTS);
    bins_tick(&bins, false); /* puts all of it back */
    assert_int_equal(in_depot(), 0);
    assert_false(bins_pending(&bins));
    assert_int_equal(counter_get(&runs.used_units), 0);
    bins_check(&bins);
}

static void a_depot_is_not_for_what_is_freed_for_good(void **state) {
    (void)state;
    enum { OBJECTS = 3000, FULL = 1024 / HANDED * HANDED };
    static void *objects[OBJECTS];
    void *const *next = objects;
    assert_int_equal(class_bytes(DEPOT_CLASS), 64);
    take(objects, OBJECTS);
    assert_null(bin_hand_over(&bins, DEPOT_CLASS, 7, next)); /* by a thread that does little */
    assert_int_equal(in_depot(), 0);
    hand_over(next += 7, FULL);
    assert_int_equal(in_depot(), FULL);
    hand_over(next += FULL, HANDED); /* has no room */
    assert_int_equal(in_depot(), 0);
    assert_true(bin_holds(&bins, DEPOT_CLASS, objects[7]));
    hand_over(next += HANDED, HANDED); /* is closed */
    assert_int_equal(in_depot(), 0);
    bins_tick(&bins, false);
    hand_over(next += HANDED, HANDED);
    assert_int_equal(in_depot(), HANDED);
    hand_over(next += HANDED, FULL);
    assert_int_equal(in_depot(), 0);

    static void *more[OBJECTS];
    size_t slabs = counter_get(&bins.bin[DEPOT_CLASS].slabs), taken = 0;
    for (; counter_get(&bins.bin[DEPOT_CLASS].slabs) == slabs; taken += HANDED)
        take(more + taken, HANDED);
    hand_over(more, HANDED); /* the bin grows again */
    assert_int_equal(in_depot(), HANDED);
    next += FULL;
    assert_null(flush(DEPOT_CLASS, (size_t)(objects + OBJECTS - next), next));
    assert_null(flush(DEPOT_CLASS, taken - HANDED, more + HANDED));
    bins_tick(&bins, false);
    bins_check(&bins);
    assert_int_equal(counter_get(&runs.used_units), 0);
}

static void a_depot_finds_double_frees(void **state) {
    (void)state;
    enum { OBJECTS = 1024 };
    static void *objects[OBJECTS];
    void *few[HANDED], *found = NULL;
    take(objects, OBJECTS);
    hand_over(objects, 3 * HANDED);
    for (size_t i = 0; i < 3 && found == NULL; i++) /* many: at once */
        found = bin_hand_over(&bins, DEPOT_CLASS, HANDED, objects + i * HANDED);
    assert_non_null(found);
    assert_non_null(bins_empty_depots(&bins));

    void *twice = NULL; /* a single one: when the depot is emptied */
    for (size_t i = 3 * HANDED; twice == NULL; i++)
        if ((uintptr_t)objects[i] / 64 % 16 != 0)
            twice = objects[i];
    for (size_t i = 0; i < HANDED; i++)
        few[i] = i == 7 || i == 30 ? twice : objects[OBJECTS / 2 + i];
    assert_null(bin_hand_over(&bins, DEPOT_CLASS, HANDED, few));
    assert_ptr_equal(bins_empty_depots(&bins), twice);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_fills_and_empties),
        cmocka_unit_test(finds_double_frees),
        cmocka_unit_test(flushes_rows),
        cmocka_unit_test(a_double_free_finds_its_slab_leaving),
        cmocka_unit_test(the_fullest_slab_serves),
        cmocka_unit_test(random_against_counts),
        cmocka_unit_test(free_pages_go_back),
        cmocka_unit_test(what_is_used_again_stays),
        cmocka_unit_test(resident_pages_serve_first),
        cmocka_unit_test(pages_of_no_object_go),
        cmocka_unit_test(refused_pages_stay_dirty),
        cmocka_unit_test(held_pages_are_nobodys),
        cmocka_unit_test(a_held_page_holds_its_slab),
        cmocka_unit_test(a_fork_leaves_nothing_held),
        cmocka_unit_test(ticks_beside_work),
        cmocka_unit_test(what_is_handed_over_serves_first),
        cmocka_unit_test(a_depot_is_not_for_what_is_freed_for_good),
        cmocka_unit_test(a_depot_finds_double_frees), /* last: what it has broken stays so */
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
