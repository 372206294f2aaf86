/* Free runs, kept in one treap a state: ordered by address, and each node knows the widest run below it, so the
 * lowest run that fits is found in one descent (a Cartesian tree as in C. J. Stephenson, "Fast Fits", SOSP
 * 1983, but balanced by a hash of the address: Seidel and Aragon, "Randomized Search Trees", 1996).
 *
 * Locks: runs->lock, taken by every function that is not static.
 *
 * Invariants: a free unit has the kind UNIT_FREE or, if it is dirty and was at the last tick, UNIT_FREE_IDLE
 * (UNIT_NONE while unmapped), no other has; no two neighbours have the same state; the first and the last unit of
 * a run know its first unit and state; every dirty run is on the list of dirty runs. Ages are a unit's, not a
 * run's: a run that grows at its ends by what is freed there gets old all the same. */
#include "page/run.h"

#include "base/check.h"
#include "os/os.h"

#include <string.h>

enum { JOIN_UNITS = 4096 /* 64 MiB */ };

/* What one thread takes out of the pool at once to purge it: nobody can have it meanwhile. */
enum { BATCH_RUNS = 32, BATCH_UNITS = 4096 };

struct run {
    uint32_t left, right; /* treap; 0: none */
    uint32_t units;
    uint32_t widest; /* units of the widest run of this subtree */
    uint32_t head;   /* the run's first unit; valid in the first and the last unit */
    uint32_t state;  /* enum run_state; likewise */
    uint32_t purger; /* the thread that is purging it */
    struct list age;
};
_Static_assert(sizeof(struct run) <= UNIT_META_BYTES, "a run's metadata fits its unit's");

static struct run *run_at(const struct runs *runs, size_t unit) {
    return space_meta(&runs->space, unit);
}

/* Kinds of units that are in use may change without our lock, from UNIT_LARGE to UNIT_LARGE_BODY (large_free). */
static uint8_t kind_at(const struct runs *runs, size_t unit) {
    return __atomic_load_n(&runs->space.map.kind[unit], __ATOMIC_RELAXED);
}

/* --- the treap ------------------------------------------------------------------------------------------- */

static uint32_t widest(const struct runs *runs, uint32_t t) {
    return t != 0 ? run_at(runs, t)->widest : 0;
}

static void update(const struct runs *runs, uint32_t t) {
    struct run *run = run_at(runs, t);
    uint32_t l = widest(runs, run->left), r = widest(runs, run->right);
    uint32_t below = l > r ? l : r;
    run->widest = run->units > below ? run->units : below;
}

static uint32_t merge(const struct runs *runs, uint32_t a, uint32_t b) {
    if (a == 0 || b == 0)
        return a | b;
    if (mix32(a) > mix32(b)) {
        run_at(runs, a)->right = merge(runs, run_at(runs, a)->right, b);
        update(runs, a);
        return a;
    }
    run_at(runs, b)->left = merge(runs, a, run_at(runs, b)->left);
    update(runs, b);
    return b;
}

static void split(const struct runs *runs, uint32_t t, uint32_t at, uint32_t *below, uint32_t *above) {
    if (t == 0) {
        *below = *above = 0;
        return;
    }
    struct run *run = run_at(runs, t);
    if (t < at) {
        split(runs, run->right, at, &run->right, above);
        *below = t;
    } else {
        split(runs, run->left, at, below, &run->left);
        *above = t;
    }
    update(runs, t);
}

static uint32_t insert(const struct runs *runs, uint32_t t, uint32_t unit) {
    struct run *run = run_at(runs, unit);
    if (t == 0 || mix32(unit) > mix32(t)) {
        split(runs, t, unit, &run->left, &run->right);
        update(runs, unit);
        return unit;
    }
    struct run *parent = run_at(runs, t);
    if (unit < t)
        parent->left = insert(runs, parent->left, unit);
    else
        parent->right = insert(runs, parent->right, unit);
    update(runs, t);
    return t;
}

static uint32_t erase(const struct runs *runs, uint32_t t, uint32_t unit) {
    ASSERT(t != 0);
    struct run *run = run_at(runs, t);
    if (t == unit)
        return merge(runs, run->left, run->right);
    if (unit < t)
        run->left = erase(runs, run->left, unit);
    else
        run->right = erase(runs, run->right, unit);
    update(runs, t);
    return t;
}

/* The first unit at or behind `unit` whose address is a multiple of `align` units. */
static size_t align_unit(const struct runs *runs, size_t unit, size_t align) {
    size_t base = runs->space.map.base >> UNIT_SHIFT;
    return align_up(base + unit, align) - base;
}

/* The lowest run in which `units` fit at that alignment, or 0. */
static uint32_t find(const struct runs *runs, uint32_t t, size_t units, size_t align) {
    if (widest(runs, t) < units)
        return 0;
    const struct run *run = run_at(runs, t);
    uint32_t found = find(runs, run->left, units, align);
    if (found != 0)
        return found;
    if (align_unit(runs, t, align) + units <= (size_t)t + run->units)
        return t;
    return find(runs, run->right, units, align);
}

/* --- free runs ------------------------------------------------------------------------------------------- */

/* Takes a whole run out of the pool. */
static void detach(struct runs *runs, uint32_t unit) {
    struct run *run = run_at(runs, unit);
    runs->root[run->state] = erase(runs, runs->root[run->state], unit);
    counter_sub(&runs->free_units[run->state], run->units);
    if (run->state == RUN_DIRTY)
        list_remove(&run->age);
}

static void tag(struct runs *runs, size_t unit, size_t units, enum run_state state) {
    struct run *first = run_at(runs, unit), *last = run_at(runs, unit + units - 1);
    first->head = last->head = (uint32_t)unit;
    first->state = last->state = state;
    first->units = (uint32_t)units;
}

/* Whether the run of that state which ends before `unit`, or starts at it, is there: its first unit, or 0. An
 * unmapped run's units are UNIT_NONE, like those that were never ours, so only its own tag tells: kinds of units
 * that were never ours have no tag, for metadata starts zeroed. */
static uint32_t neighbour(const struct runs *runs, size_t unit, enum run_state state) {
    if (unit >= atomic_load_explicit(&runs->space.map.end, memory_order_relaxed))
        return 0;
    uint8_t kind = kind_at(runs, unit);
    if (state == RUN_UNMAPPED ? kind != UNIT_NONE : !unit_kind_is_free(kind))
        return 0;
    const struct run *run = run_at(runs, unit);
    return run->head != 0 && run->state == state ? run->head : 0;
}

/* Puts a whole run into the pool, a dirty one in front of `younger` on the list by age. */
static void place(struct runs *runs, size_t unit, size_t units, enum run_state state, struct list *younger) {
    tag(runs, unit, units, state);
    runs->root[state] = insert(runs, runs->root[state], (uint32_t)unit);
    counter_add(&runs->free_units[state], units);
    if (state == RUN_DIRTY)
        list_insert_before(younger, &run_at(runs, unit)->age);
}

/* Puts units into the pool and joins them with their neighbours of the same state. Returns the run that they are
 * part of now. */
static struct run *attach(struct runs *runs, size_t unit, size_t units, enum run_state state) {
    memset(runs->space.map.kind + unit, state == RUN_UNMAPPED ? UNIT_NONE : UNIT_FREE, units);
    uint32_t before = neighbour(runs, unit - 1, state), behind = neighbour(runs, unit + units, state);
    if (before != 0) {
        detach(runs, before);
        units += unit - before;
        unit = before;
    }
    if (behind != 0) {
        detach(runs, behind);
        units += run_at(runs, behind)->units;
    }
    place(runs, unit, units, state, &runs->dirty);
    return run_at(runs, unit);
}

/* Cuts units [unit, unit + units) out of the free run that holds them and starts at head. What is left of it is as
 * old as it was. */
static void carve(struct runs *runs, uint32_t head, size_t unit, size_t units) {
    struct run *run = run_at(runs, head);
    enum run_state state = run->state;
    size_t end = (size_t)head + run->units;
    struct list *younger = state == RUN_DIRTY ? run->age.next : NULL;
    detach(runs, head);
    if (unit > head)
        place(runs, head, unit - head, state, younger);
    if (unit + units < end)
        place(runs, unit + units, end - unit - units, state, younger);
}

static size_t take(struct runs *runs, enum run_state state, size_t units, size_t align) {
    for (;;) {
        uint32_t head = find(runs, runs->root[state], units, align);
        if (head == 0)
            return 0;
        size_t unit = align_unit(runs, head, align);
        carve(runs, head, unit, units);
        if (state != RUN_UNMAPPED)
            return unit;
        switch (os_map(unit_address(&runs->space.map, unit), units << UNIT_SHIFT)) {
        case OS_OK:
            return unit;
        case OS_NO_MEMORY:
            attach(runs, unit, units, RUN_UNMAPPED);
            return 0;
        case OS_TAKEN: /* somebody else has mapped there meanwhile: these units are lost to us */
            for (size_t u = unit; u < unit + units; u++)
                run_at(runs, u)->head = 0;
        }
    }
}

/* Maps as much as `units` at that alignment need. The clean run at the end of the heap, if there is one, counts.
 */
static bool grow(struct runs *runs, size_t units, size_t align) {
    size_t end = atomic_load_explicit(&runs->space.map.end, memory_order_relaxed);
    uint32_t last = neighbour(runs, end - 1, RUN_CLEAN);
    size_t need = align_unit(runs, last != 0 ? last : end, align) + units - end;
    size_t got, unit = space_grow(&runs->space, need, &got);
    if (unit != 0 &&
        unit != end) { /* stepped over somebody's mapping: where it went on, another alignment is due */
        attach(runs, unit, got, RUN_CLEAN);
        if (align_unit(runs, unit, align) + units <= unit + got)
            return true;
        unit = space_grow(&runs->space, units + align, &got);
    }
    if (unit == 0)
        return false;
    attach(runs, unit, got, RUN_CLEAN);
    return true;
}

static void note_used(struct runs *runs, size_t unit, size_t units) {
    counter_add(&runs->used_units, units);
    counter_set(&runs->used_end, max_size(counter_get(&runs->used_end), unit + units));
}

/* --- the interface --------------------------------------------------------------------------------------- */

bool runs_init(struct runs *runs, size_t page) {
    lock_init(&runs->lock, RANK_RUNS);
    list_init(&runs->dirty);
    list_init(&runs->purging);
    return space_init(&runs->space, page);
}

size_t run_alloc(struct runs *runs, const struct run_request *request, bool *zeroed) {
    static const enum run_state order[] = {RUN_DIRTY, RUN_CLEAN, RUN_UNMAPPED};
    size_t from = request->choice == RUN_CLEAN_FIRST ? 1 : 0, to = request->choice == RUN_WARM_ONLY ? 1 : 3;
    size_t units = align_up(request->units, runs->space.granule), align = request->align_units;
    size_t unit = 0;
    if (units > runs->space.capacity || align > runs->space.capacity)
        return 0;
    lock_acquire(&runs->lock);
    for (size_t i = from; i < to && unit == 0; i++) {
        unit = take(runs, order[i], units, align);
        *zeroed = order[i] != RUN_DIRTY;
    }
    if (unit == 0 && request->choice != RUN_WARM_ONLY && max_size(units, align) >= JOIN_UNITS &&
        !list_empty(&runs->dirty)) {
        /* Clean, the dirty runs may join others: better than to grow by so much. */
        lock_release(&runs->lock);
        while (run_purge_oldest(runs, BATCH_UNITS) != 0)
            ;
        lock_acquire(&runs->lock);
        unit = take(runs, RUN_CLEAN, units, align);
        *zeroed = true;
    }
    if (unit == 0 && request->choice != RUN_WARM_ONLY && grow(runs, units, align)) {
        unit = take(runs, RUN_CLEAN, units, align);
        *zeroed = true;
    }
    if (unit == 0 && request->choice == RUN_CLEAN_FIRST) {
        unit = take(runs, RUN_DIRTY, units, align);
        *zeroed = false;
    }
    if (unit != 0) {
        memset(runs->space.map.kind + unit, request->other_kind, units);
        runs->space.map.kind[unit] = request->first_kind;
        note_used(runs, unit, units);
    }
    lock_release(&runs->lock);
    return unit;
}

void run_free(struct runs *runs, size_t unit, size_t units, enum run_state state) {
    units = align_up(units, runs->space.granule);
    lock_acquire(&runs->lock);
    counter_sub(&runs->used_units, units);
    attach(runs, unit, units, state);
    atomic_store_explicit(&runs->refused, false, memory_order_relaxed);
    lock_release(&runs->lock);
}

bool run_extend(struct runs *runs, size_t unit, size_t old_units, size_t new_units, uint8_t kind, bool *zeroed) {
    old_units = align_up(old_units, runs->space.granule);
    new_units = align_up(new_units, runs->space.granule);
    size_t at = unit + old_units, end = unit + new_units;
    if (new_units <= old_units)
        return true;
    lock_acquire(&runs->lock);
    /* First see whether all that follows is free, then take it. */
    size_t reach = at;
    while (reach < end) {
        uint32_t next = neighbour(runs, reach, RUN_DIRTY) | neighbour(runs, reach, RUN_CLEAN);
        if (next != reach)
            break;
        reach += run_at(runs, next)->units;
    }
    size_t mapped_end = atomic_load_explicit(&runs->space.map.end, memory_order_relaxed);
    bool fits = reach >= end;
    if (!fits && reach == mapped_end) {
        size_t got, more = space_grow(&runs->space, end - reach, &got);
        if (more != 0)
            attach(runs, more, got, RUN_CLEAN);
        fits = more == reach;
    }
    while (fits && at < end) {
        size_t units = min_size(run_at(runs, at)->units, end - at);
        *zeroed &= run_at(runs, at)->state == RUN_CLEAN;
        carve(runs, (uint32_t)at, at, units);
        at += units;
    }
    if (fits) {
        memset(runs->space.map.kind + unit + old_units, kind, new_units - old_units);
        note_used(runs, unit + old_units, new_units - old_units);
    }
    lock_release(&runs->lock);
    return fits;
}

/* Runs that one thread has taken out of the pool, to give their pages back without the lock. */
struct batch {
    size_t count, units;
    struct run *run[BATCH_RUNS];
};

static bool batch_full(const struct batch *batch) {
    return batch->count == BATCH_RUNS || batch->units >= BATCH_UNITS;
}

/* Takes units, which are part of the free run that starts at head, out of the pool and into the batch; as many as
 * it may hold. Returns how many. */
static size_t hold(struct runs *runs, struct batch *batch, uint32_t head, size_t unit, size_t units) {
    units = min_size(units, align_up(BATCH_UNITS - batch->units, runs->space.granule));
    carve(runs, head, unit, units);
    tag(runs, unit, units, RUN_PURGING);
    struct run *run = run_at(runs, unit);
    run->purger = lock_thread_id();
    counter_add(&runs->free_units[RUN_PURGING], units);
    list_push_back(&runs->purging, &run->age);
    batch->run[batch->count++] = run;
    batch->units += units;
    return units;
}

enum run_state run_renew(struct runs *runs, size_t unit, size_t units, bool unmap) {
    uintptr_t address = unit_address(&runs->space.map, unit);
    size_t bytes = units << UNIT_SHIFT;
    memset(space_moved(&runs->space, unit), 0, units);
    if (!unmap && os_remap_fresh(address, bytes))
        return RUN_CLEAN;
    if (os_unmap(address, bytes))
        return RUN_UNMAPPED;
    return os_purge(address, bytes) ? RUN_CLEAN : RUN_DIRTY;
}

/* The whole pages of an array of metadata that describe only the inside of a free run, as far as they describe
 * units from `unit` on. They are not looked at while the run is free, and may read as zeroes afterwards. */
static struct os_range inside(const struct runs *runs, uintptr_t array, size_t element, const struct run *run,
                              size_t unit, size_t units) {
    size_t page = runs->space.page, head = run->head, end = head + run->units;
    size_t from = max_size(align_up((head + 1) * element, page), align_down((unit - 1) * element, page));
    size_t to = min_size(align_down((end - 1) * element, page), align_up((unit + units + 1) * element, page));
    return (struct os_range){.addr = array + from, .bytes = to > from ? to - from : 0};
}

/* Gives the pages of the batch back, without the lock, and puts the runs in again. The caller holds the lock.
 * Returns how many units went. */
static size_t give_back(struct runs *runs, struct batch *batch) {
    bool unmap = atomic_load_explicit(&runs->unmap, memory_order_relaxed);
    struct os_range ranges[2 * BATCH_RUNS];
    enum run_state state[BATCH_RUNS];
    size_t count = 0, purged = 0;
    lock_release(&runs->lock);
    for (size_t i = 0; i < batch->count; i++) {
        size_t unit = batch->run[i]->head, units = batch->run[i]->units;
        state[i] = RUN_PURGING;
        if (unmap || memchr(space_moved(&runs->space, unit), 1, units) != NULL)
            state[i] = run_renew(runs, unit, units, unmap);
        else
            ranges[count++] = (struct os_range){unit_address(&runs->space.map, unit), units << UNIT_SHIFT, false};
    }
    os_purge_ranges(ranges, count);
    for (size_t i = 0, r = 0; i < batch->count; i++)
        if (state[i] == RUN_PURGING)
            state[i] = ranges[r++].purged ? RUN_CLEAN : RUN_DIRTY;

    lock_acquire(&runs->lock);
    count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct run *run = batch->run[i];
        size_t unit = run->head, units = run->units;
        list_remove(&run->age);
        counter_sub(&runs->free_units[RUN_PURGING], units);
        run = attach(runs, unit, units, state[i]);
        if (state[i] == RUN_DIRTY) {
            atomic_store_explicit(&runs->refused, true, memory_order_relaxed);
            continue;
        }
        purged += units;
        ranges[count++] = inside(runs, runs->space.metas.base, UNIT_META_BYTES, run, unit, units);
        count -= ranges[count - 1].bytes == 0;
        ranges[count++] = inside(runs, runs->space.bits.base, UNIT_BITS_BYTES, run, unit, units);
        count -= ranges[count - 1].bytes == 0;
    }
    os_purge_ranges(ranges, count);
    atomic_fetch_add_explicit(&runs->purged_pages, space_pages(&runs->space, purged), memory_order_relaxed);
    return purged;
}

size_t run_purge_oldest(struct runs *runs, size_t units) {
    struct batch batch = {.count = 0};
    lock_acquire(&runs->lock);
    while (!list_empty(&runs->dirty) && !batch_full(&batch) && batch.units < units) {
        const struct run *run = LIST_ENTRY(runs->dirty.next, struct run, age);
        hold(runs, &batch, run->head, run->head, run->units);
    }
    units = batch.count > 0 ? give_back(runs, &batch) : 0;
    lock_release(&runs->lock);
    return units;
}

/* The first free dirty run that ends behind `unit`, or 0. */
static uint32_t dirty_from(const struct runs *runs, size_t unit) {
    uint32_t found = 0;
    for (uint32_t t = runs->root[RUN_DIRTY]; t != 0;) {
        const struct run *run = run_at(runs, t);
        bool behind = (size_t)t + run->units > unit;
        found = behind ? t : found;
        t = behind ? run->left : run->right;
    }
    return found;
}

/* Puts into the batch what is ripe from `unit` on, and marks as idle what is not. Returns where it stopped: the
 * end of the heap's dirty runs, or where the batch is full. */
static size_t gather_ripe(struct runs *runs, struct batch *batch, size_t unit, bool all) {
    uint8_t *kind = runs->space.map.kind;
    uint32_t head;
    while (!batch_full(batch) && (head = dirty_from(runs, unit)) != 0) {
        size_t end = (size_t)head + run_at(runs, head)->units;
        unit = max_size(unit, head);
        const uint8_t *ripe = all ? kind + unit : memchr(kind + unit, UNIT_FREE_IDLE, end - unit);
        size_t from = ripe != NULL ? (size_t)(ripe - kind) : end;
        memset(kind + unit, UNIT_FREE_IDLE, from - unit);
        unit = from;
        if (from < end) {
            const uint8_t *young = all ? NULL : memchr(kind + from, UNIT_FREE, end - from);
            unit += hold(runs, batch, head, from, (young != NULL ? (size_t)(young - kind) : end) - from);
        }
    }
    return unit;
}

size_t runs_tick(struct runs *runs, bool all) {
    size_t unit = 0, units = 0;
    struct batch batch;
    lock_acquire(&runs->lock);
    do {
        batch.count = batch.units = 0;
        unit = gather_ripe(runs, &batch, unit, all);
        units += batch.count > 0 ? give_back(runs, &batch) : 0;
    } while (batch.count > 0);
    lock_release(&runs->lock);
    return units << UNIT_SHIFT;
}

void run_unmap_clean(struct runs *runs) {
    bool unmapped = true; /* else the system has its limit of mappings: the same run would come again and again */
    lock_acquire(&runs->lock);
    while (unmapped && runs->root[RUN_CLEAN] != 0) {
        struct batch batch = {.count = 0};
        const struct run *run = run_at(runs, runs->root[RUN_CLEAN]);
        size_t unit = run->head;
        hold(runs, &batch, run->head, unit, run->units);
        give_back(runs, &batch);
        unmapped = kind_at(runs, unit) == UNIT_NONE;
    }
    lock_release(&runs->lock);
}

void runs_after_fork(struct runs *runs) {
    if (!runs->lock.for_fork) /* the thread was interrupted in here: its own work comes first */
        return;
    for (struct list *l = runs->purging.next, *next; l != &runs->purging; l = next) {
        struct run *run = LIST_ENTRY(l, struct run, age);
        next = l->next;
        if (run->purger == lock_thread_id()) /* a signal interrupted it, and it will go on */
            continue;
        size_t unit = run->head, units = run->units;
        list_remove(&run->age);
        counter_sub(&runs->free_units[RUN_PURGING], units);
        os_unmap(unit_address(&runs->space.map, unit), units << UNIT_SHIFT); /* it may be in part, by now */
        attach(runs, unit, units, RUN_UNMAPPED);
    }
}

bool runs_map_marks(struct runs *runs, size_t units) {
    lock_acquire(&runs->lock);
    bool mapped = space_map_marks(&runs->space, units);
    lock_release(&runs->lock);
    return mapped;
}

static size_t check_tree(const struct runs *runs, uint32_t t, size_t low, size_t high, enum run_state state) {
    if (t == 0)
        return 0;
    const struct run *run = run_at(runs, t);
    size_t end = (size_t)t + run->units;
    VERIFY(t >= low && end <= high && run->units > 0 && run->units % runs->space.granule == 0);
    VERIFY(run->head == t && run->state == state);
    VERIFY(run_at(runs, end - 1)->head == t && run_at(runs, end - 1)->state == state);
    VERIFY(neighbour(runs, t - 1, state) == 0 && neighbour(runs, end, state) == 0);
    for (size_t u = t; u < end; u++) {
        uint8_t kind = kind_at(runs, u);
        VERIFY(kind == (state == RUN_UNMAPPED ? UNIT_NONE : UNIT_FREE) ||
               (state == RUN_DIRTY && kind == UNIT_FREE_IDLE));
    }
    VERIFY(run->left == 0 || mix32(run->left) <= mix32(t));
    VERIFY(run->right == 0 || mix32(run->right) <= mix32(t));
    size_t units =
        run->units + check_tree(runs, run->left, low, t, state) + check_tree(runs, run->right, end, high, state);
    uint32_t l = widest(runs, run->left), r = widest(runs, run->right);
    VERIFY(run->widest >= run->units && run->widest >= l && run->widest >= r);
    VERIFY(run->widest == run->units || run->widest == l || run->widest == r);
    return units;
}

void runs_check(struct runs *runs) {
    lock_acquire(&runs->lock);
    size_t end = atomic_load_explicit(&runs->space.map.end, memory_order_relaxed);
    for (enum run_state state = 0; state < RUN_STATES; state++)
        VERIFY(check_tree(runs, runs->root[state], 1, end, state) == runs->free_units[state]);
    size_t dirty = 0, purging = 0, used = 0, free_kind = 0;
    for (const struct list *l = runs->dirty.next; l != &runs->dirty; l = l->next)
        dirty += LIST_ENTRY(l, struct run, age)->units;
    for (const struct list *l = runs->purging.next; l != &runs->purging; l = l->next)
        purging += LIST_ENTRY(l, struct run, age)->units;
    for (size_t u = 1; u < end; u++) {
        uint8_t kind = kind_at(runs, u);
        used += kind != UNIT_NONE && !unit_kind_is_free(kind);
        free_kind += unit_kind_is_free(kind);
    }
    VERIFY(dirty == runs->free_units[RUN_DIRTY]);
    VERIFY(purging == runs->free_units[RUN_PURGING]);
    VERIFY(used == runs->used_units);
    VERIFY(free_kind == dirty + purging + runs->free_units[RUN_CLEAN]);
    lock_release(&runs->lock);
}
