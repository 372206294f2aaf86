/* Returning free memory. Locks: none held over a system call; several threads may pass at once, each with memory
 * of its own in hand. */
#include "purge/purge.h"

#include "cache/revoke.h"
#include "os/os.h"

/* A silent process whose free memory cannot go back (it is locked, or pinned) is left alone after so many passes.
 */
enum { FRUITLESS = 4 };

/* So many mappings may come from moved pages before frees return what is dirty, whatever that costs. */
enum { MOVES = 64 };

void purge_init(struct purge *purge, struct caches *caches, struct bins *bins, struct regions *regions,
                struct runs *runs, size_t permille) {
    purge->caches = caches;
    purge->bins = bins;
    purge->regions = regions;
    purge->runs = runs;
    purge->permille = permille;
    /* Until the first look: what the allowance is worth at a fault's usual price. */
    counter_set(&purge->refaulted_limit, BUDGET_ALLOWANCE / 2000);
    counter_set(&purge->moves_limit, MOVES);
}

/* Addresses go back too where they count against a limit. The program may set one at any time: what was free and
 * clean before then goes at the first look after. */
static bool must_unmap(struct runs *runs) {
    if (!atomic_load_explicit(&runs->unmap, memory_order_relaxed) && os_address_space_is_limited()) {
        atomic_store_explicit(&runs->unmap, true, memory_order_relaxed);
        run_unmap_clean(runs);
    }
    return atomic_load_explicit(&runs->unmap, memory_order_relaxed);
}

static void spend(struct purge *purge, uint64_t since) {
    atomic_fetch_add_explicit(&purge->spent, os_clock(OS_THREAD_CPU) - since, memory_order_relaxed);
}

/* Whether files may be opened: a program of one thread may count on which descriptor is free next, and enters no
 * sandbox on behalf of ours. */
static bool may_open(const struct purge *purge, bool own_thread) {
    return !own_thread || caches_in_use(purge->caches) > 1;
}

/* What is taken from caches makes pages of slabs free, and slabs and regions empty: in this order one pass sees
 * all. Stores in *bytes how many went back. False where it found nothing to do. */
static bool pass(struct purge *purge, bool all, bool own_thread, size_t *bytes) {
    uint64_t since = os_clock(OS_THREAD_CPU);
    if (may_open(purge, own_thread)) /* which it does */
        os_is_confined();            /* decides which system calls are made from here on */
    must_unmap(purge->runs);
    size_t objects = caches_tick(purge->caches, all);
    *bytes = bins_tick(purge->bins, all) + regions_tick(purge->regions, all) + runs_tick(purge->runs, all);
    spend(purge, since);
    return objects > 0 || *bytes > 0;
}

bool purge_is_pending(const struct purge *purge) {
    return runs_pending(purge->runs) || bins_pending(purge->bins) || regions_pending(purge->regions) ||
           caches_pending(purge->caches) || dense_is_pending(&purge->dense);
}

size_t purge_returnable(const struct purge *purge) {
    const struct bins *bins = purge->bins;
    size_t bytes = counter_get(&purge->runs->free_units[RUN_DIRTY]) << UNIT_SHIFT;
    bytes += regions_returnable(purge->regions) + caches_spare_limit(purge->caches);
    for (unsigned c = 1; c < CLASSES; c++) {
        size_t slabs = counter_get(&bins->bin[c].slabs) * (bins->divisors[c].slab_mask + (size_t)1);
        size_t allocated = counter_get(&bins->bin[c].allocated) * class_bytes(c);
        bytes += slabs > allocated ? slabs - allocated : 0;
    }
    return bytes;
}

/* Measures, on a few pages of the heap, what it costs to return a page and to touch it again. */
static void measure_prices(struct purge *purge) {
    enum { UNITS = 4, ROUNDS = 5 };
    struct runs *runs = purge->runs;
    size_t units = UNITS * runs->space.granule, page = runs->space.page, pages = (units << UNIT_SHIFT) / page;
    struct run_request request = {.units = units,
                                  .align_units = 1,
                                  .first_kind = UNIT_LARGE_BODY,
                                  .other_kind = UNIT_LARGE_BODY,
                                  .choice = RUN_CLEAN_FIRST};
    bool zeroed;
    size_t unit = run_alloc(runs, &request, &zeroed);
    if (unit == 0)
        return;
    volatile char *bytes = (volatile char *)unit_address(&runs->space.map, unit);
    size_t touch = SIZE_MAX, give = SIZE_MAX; /* the least of several: a busy machine disturbs */
    bool returned = false;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t start = os_clock(OS_THREAD_CPU);
        for (size_t p = 0; p < pages; p++)
            bytes[p * page] = 1;
        uint64_t touched = os_clock(OS_THREAD_CPU);
        returned = os_purge((uintptr_t)bytes, pages * page);
        touch = min_size(touch, touched - start);
        give = min_size(give, os_clock(OS_THREAD_CPU) - touched);
    }
    run_free(runs, unit, units, returned ? RUN_CLEAN : RUN_DIRTY);
    counter_set(&purge->refault_price, touch / pages + 1);
    counter_set(&purge->return_price, give / pages + 1);
}

static struct budget_sample sample(const struct purge *purge) {
    return (struct budget_sample){
        .now = os_clock(OS_NOW),
        .cpu = os_clock(OS_PROCESS_CPU),
        .spent = atomic_load_explicit(&purge->spent, memory_order_relaxed),
        .returned = atomic_load_explicit(&purge->runs->purged_pages, memory_order_relaxed),
        .refaulted = atomic_load_explicit(&purge->runs->refaulted_pages, memory_order_relaxed),
    };
}

static void begin(struct purge *purge) {
    if (counter_get(&purge->refault_price) == 0)
        measure_prices(purge);
    struct budget_sample now = sample(purge);
    budget_init(&purge->budget, purge->permille, counter_get(&purge->refault_price),
                counter_get(&purge->return_price), &now);
    purge->begun = true;
}

static uint64_t look(struct purge *purge, bool own_thread) {
    if (!purge->begun) {
        begin(purge);
        return BUDGET_LOOK;
    }
    struct budget_sample now = sample(purge);
    if (budget_look(&purge->budget, &now)) {
        size_t bytes;
        bool found = pass(purge, false, own_thread, &bytes);
        counter_add(&purge->passes, 1);
        purge->fruitless = found || !purge->budget.silent ? 0 : purge->fruitless + 1;
    }
    counter_set(&purge->return_price, purge->budget.return_price);
    counter_set(&purge->delay, purge->budget.delay);
    counter_set(&purge->refaulted_limit, now.refaulted + budget_pages(&purge->budget));
    bool has_more = own_thread && dense_look(&purge->dense, may_open(purge, own_thread));
    if (has_more || (purge_is_pending(purge) && purge->fruitless < FRUITLESS))
        return BUDGET_LOOK;
    purge->fruitless = 0;
    return PURGE_NOTHING;
}

uint64_t purge_look(struct purge *purge, bool own_thread) {
    if (atomic_exchange_explicit(&purge->looking, true, memory_order_acquire))
        return BUDGET_LOOK;
    uint64_t wait = look(purge, own_thread);
    atomic_store_explicit(&purge->looking, false, memory_order_release);
    return wait;
}

void purge_excess(struct purge *purge) {
    struct runs *runs = purge->runs;
    uint64_t since = os_clock(OS_THREAD_CPU);
    counter_set(&purge->moves_limit, counter_get(&runs->moves) + MOVES);
    os_is_confined();
    must_unmap(runs);
    size_t limit = counter_get(&runs->free_units[RUN_DIRTY]) / 2;
    for (size_t dirty; (dirty = counter_get(&runs->free_units[RUN_DIRTY])) > limit;)
        if (run_purge_oldest(runs, dirty - limit) == 0)
            break;
    spend(purge, since);
}

size_t purge_all(struct purge *purge) {
    size_t bytes;
    pass(purge, true, false, &bytes);
    if (atomic_load_explicit(&purge->runs->unmap, memory_order_relaxed))
        run_unmap_clean(purge->runs);
    return bytes;
}

void purge_after_fork(struct purge *purge) {
    purge->begun = false;
    dense_after_fork(&purge->dense);
    atomic_store_explicit(&purge->looking, false, memory_order_relaxed);
}
