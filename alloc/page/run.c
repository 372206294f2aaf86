/* Free runs: taking, giving back, joining, growing, returning.
 *
 * Locks: runs->lock, taken by every function that is not static.
 *
 * Invariants: a free unit has the kind UNIT_FREE or, if it is dirty and was at the last tick, UNIT_FREE_IDLE
 * (UNIT_NONE while unmapped), no other has; no two neighbours have the same state; the first and the last unit of
 * a run know its last unit and state; every dirty run is on the list of dirty runs. Ages are a unit's, not a
 * run's: a run that grows at its ends by what is freed there gets old all the same. */
#include "page/run.h"

#include "base/check.h"
#include "os/os.h"

#include <string.h>

enum { JOIN_UNITS = 4096 /* 64 MiB */ };

/* What one thread takes out of the pool at once to purge it: nobody can have it meanwhile. */
enum { BATCH_RUNS = 32, BATCH_UNITS = 4096 };

/* Kinds of units that are in use may change without our lock: those of regions and of large allocations. */
static uint8_t kind_at(const struct runs *runs, size_t unit) {
    return __atomic_load_n(&runs->space.map.kind[unit], __ATOMIC_RELAXED);
}

/* --- free runs ------------------------------------------------------------------------------------------- */

static void tag(struct runs *runs, size_t unit, size_t units, enum run_state state) {
    struct run *first = run_at(&runs->space, unit), *last = run_at(&runs->space, unit + units - 1);
    first->last = last->last = (uint32_t)(unit + units - 1);
    first->state = last->state = state;
    last->units = (uint32_t)units;
}

/* The node of the run of that state which ends before `unit`, or starts at it, or 0 where there is none. An
 * unmapped run's units are UNIT_NONE, like those that were never ours, so only its own tag tells: kinds of units
 * that were never ours have no tag, for metadata starts zeroed. */
static inline uint32_t neighbour(const struct runs *runs, size_t unit, enum run_state state) {
    if (unit >= atomic_load_explicit(&runs->space.map.end, memory_order_relaxed))
        return 0;
    uint8_t kind = kind_at(runs, unit);
    if (state == RUN_UNMAPPED ? kind != UNIT_NONE : !unit_kind_is_free(kind))
        return 0;
    const struct run *run = run_at(&runs->space, unit);
    return run->state == state ? run->last : 0;
}

/* Puts a whole run into the pool, a dirty one in front of `younger` on the list by age. */
static void place(struct runs *runs, size_t unit, size_t units, enum run_state state, struct list *younger) {
    uint32_t node = (uint32_t)(unit + units - 1);
    tag(runs, unit, units, state);
    run_tree_insert(&runs->space, &runs->free[state], node);
    if (state == RUN_DIRTY)
        list_insert_before(younger, &run_at(&runs->space, node)->age);
}

/* Takes a whole run out of the pool. */
static void detach(struct runs *runs, uint32_t node) {
    struct run *run = run_at(&runs->space, node);
    run_tree_erase(&runs->space, &runs->free[run->state], node);
    if (run->state == RUN_DIRTY)
        list_remove(&run->age);
}

/* Lets the run with that node begin elsewhere. */
static void begin_at(struct runs *runs, uint32_t node, size_t unit) {
    tag(runs, unit, node + 1 - unit, run_at(&runs->space, node)->state);
    run_tree_resized(&runs->space, node);
}

/* Lets the run with that node end elsewhere. */
static void end_at(struct runs *runs, uint32_t node, size_t last) {
    struct run *run = run_at(&runs->space, node);
    size_t unit = run_first(run);
    run_tree_move(&runs->space, &runs->free[run->state], node, (uint32_t)last);
    if (run->state == RUN_DIRTY) {
        list_insert_before(&run->age, &run_at(&runs->space, last)->age);
        list_remove(&run->age);
    }
    tag(runs, unit, last + 1 - unit, run->state);
    run_tree_resized(&runs->space, (uint32_t)last);
}

/* Puts units into the pool and joins them with their neighbours of the same state. Returns the run that they are
 * part of now, a dirty one the youngest. */
static struct run *attach(struct runs *runs, size_t unit, size_t units, enum run_state state) {
    memset(runs->space.map.kind + unit, state == RUN_UNMAPPED ? UNIT_NONE : UNIT_FREE, units);
    counter_add(&runs->free_units[state], units);
    uint32_t before = neighbour(runs, unit - 1, state), behind = neighbour(runs, unit + units, state);
    uint32_t node = behind != 0 ? behind : (uint32_t)(unit + units - 1);
    struct run *run = run_at(&runs->space, node);
    if (before != 0 && behind != 0) {
        unit = run_first(run_at(&runs->space, before));
        detach(runs, before);
    }
    if (behind != 0)
        begin_at(runs, node, unit);
    else if (before != 0)
        end_at(runs, before, node);
    else
        place(runs, unit, units, state, &runs->dirty);
    if (state == RUN_DIRTY && runs->dirty.prev != &run->age) {
        list_remove(&run->age);
        list_push_back(&runs->dirty, &run->age);
    }
    return run;
}

/* Cuts units [unit, unit + units) out of the free run that holds them. What is left of it is as old as it was. */
static void carve(struct runs *runs, uint32_t node, size_t unit, size_t units) {
    struct run *run = run_at(&runs->space, node);
    size_t first = run_first(run), end = unit + units;
    counter_sub(&runs->free_units[run->state], units);
    if (end <= node) {
        begin_at(runs, node, end);
        if (first < unit)
            place(runs, first, unit - first, run->state, &run->age);
    } else if (first < unit) {
        end_at(runs, node, unit - 1);
    } else {
        detach(runs, node);
    }
}

/* The lowest units that fit in a run of that state, or 0. */
static inline size_t take(struct runs *runs, enum run_state state, size_t units, size_t align) {
    uint32_t node = run_tree_find(&runs->space, &runs->free[state], units, align);
    if (node == 0)
        return 0;
    size_t unit = run_align_unit(&runs->space, run_first(run_at(&runs->space, node)), align);
    carve(runs, node, unit, units);
    return unit;
}

static size_t take_unmapped(struct runs *runs, size_t units, size_t align) {
    for (size_t unit; (unit = take(runs, RUN_UNMAPPED, units, align)) != 0;) {
        switch (os_map(unit_address(&runs->space.map, unit), units << UNIT_SHIFT)) {
        case OS_OK:
            return unit;
        case OS_NO_MEMORY:
            attach(runs, unit, units, RUN_UNMAPPED);
            return 0;
        case OS_TAKEN: /* somebody else has mapped there meanwhile: these units are lost to us */
            for (size_t u = unit; u < unit + units; u++)
                run_at(&runs->space, u)->last = 0;
        }
    }
    return 0;
}

/* Maps as much as `units` at that alignment need. The clean run at the end of the heap, if there is one, counts.
 */
static bool grow(struct runs *runs, size_t units, size_t align) {
    size_t end = atomic_load_explicit(&runs->space.map.end, memory_order_relaxed);
    uint32_t last = neighbour(runs, end - 1, RUN_CLEAN);
    size_t from = last != 0 ? run_first(run_at(&runs->space, last)) : end;
    size_t need = run_align_unit(&runs->space, from, align) + units - end;
    size_t got, unit = space_grow(&runs->space, need, &got);
    if (unit != 0 &&
        unit != end) { /* stepped over somebody's mapping: where it went on, another alignment is due */
        attach(runs, unit, got, RUN_CLEAN);
        if (run_align_unit(&runs->space, unit, align) + units <= unit + got)
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

/* Units that read as zeroes, or 0: of a clean or an unmapped run, or more of the system. */
static NOINLINE size_t take_zeroed(struct runs *runs, size_t units, size_t align) {
    size_t unit = take(runs, RUN_CLEAN, units, align);
    if (unit == 0)
        unit = take_unmapped(runs, units, align);
    if (unit == 0 && max_size(units, align) >= JOIN_UNITS && !list_empty(&runs->dirty)) {
        /* Clean, the dirty runs may join others: better than to grow by so much. */
        lock_release(&runs->lock);
        while (run_purge_oldest(runs, BATCH_UNITS) != 0)
            ;
        lock_acquire(&runs->lock);
        unit = take(runs, RUN_CLEAN, units, align);
    }
    if (unit == 0 && grow(runs, units, align))
        unit = take(runs, RUN_CLEAN, units, align);
    return unit;
}

size_t run_alloc(struct runs *runs, const struct run_request *request, bool *zeroed) {
    size_t units = align_up(request->units, runs->space.granule), align = request->align_units;
    enum run_choice choice = request->choice;
    size_t unit = 0;
    if (UNLIKELY(units > runs->space.capacity || align > runs->space.capacity))
        return 0;
    lock_acquire(&runs->lock);
    if (choice != RUN_CLEAN_FIRST)
        unit = take(runs, RUN_DIRTY, units, align);
    *zeroed = unit == 0;
    if (unit == 0 && choice != RUN_WARM_ONLY)
        unit = take_zeroed(runs, units, align);
    if (unit == 0 && choice == RUN_CLEAN_FIRST) {
        unit = take(runs, RUN_DIRTY, units, align);
        *zeroed = false;
    }
    if (LIKELY(unit != 0)) {
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
        if (next == 0)
            break;
        reach = (size_t)next + 1;
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
        uint32_t node = run_at(&runs->space, at)->last;
        size_t units = min_size(node + 1 - at, end - at);
        *zeroed &= run_at(&runs->space, at)->state == RUN_CLEAN;
        carve(runs, node, at, units);
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

/* Takes units, which are part of the free run with that node, out of the pool and into the batch; as many as it
 * may hold. Returns how many. */
static size_t hold(struct runs *runs, struct batch *batch, uint32_t node, size_t unit, size_t units) {
    units = min_size(units, align_up(BATCH_UNITS - batch->units, runs->space.granule));
    carve(runs, node, unit, units);
    tag(runs, unit, units, RUN_PURGING);
    struct run *run = run_at(&runs->space, unit + units - 1);
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
static struct os_range inside(const struct runs *runs, const struct space_array *array, size_t element,
                              const struct run *run, size_t unit, size_t units) {
    size_t page = runs->space.page, first = run_first(run), last = run->last;
    size_t from = max_size(align_up((first + 1) * element, page), align_down((unit - 1) * element, page));
    size_t to = min_size(align_down(last * element, page), align_up((unit + units + 1) * element, page));
    to = min_size(to, array->mapped); /* marks and parts may be there for less */
    return (struct os_range){.addr = array->base + from, .bytes = to > from ? to - from : 0};
}

/* Gives the pages of the batch back, without the lock, and puts the runs in again. The caller holds the lock.
 * Returns how many units went. */
static size_t give_back(struct runs *runs, struct batch *batch) {
    bool unmap = atomic_load_explicit(&runs->unmap, memory_order_relaxed);
    struct os_range ranges[4 * BATCH_RUNS];
    enum run_state state[BATCH_RUNS];
    size_t count = 0, purged = 0;
    lock_release(&runs->lock);
    for (size_t i = 0; i < batch->count; i++) {
        size_t unit = run_first(batch->run[i]), units = batch->run[i]->units;
        space_note_returned(&runs->space, unit, units);
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
        size_t unit = run_first(run), units = run->units;
        list_remove(&run->age);
        counter_sub(&runs->free_units[RUN_PURGING], units);
        run = attach(runs, unit, units, state[i]);
        if (state[i] == RUN_DIRTY) {
            atomic_store_explicit(&runs->refused, true, memory_order_relaxed);
            continue;
        }
        purged += units;
        ranges[count++] = inside(runs, &runs->space.metas, UNIT_META_BYTES, run, unit, units);
        count -= ranges[count - 1].bytes == 0;
        ranges[count++] = inside(runs, &runs->space.bits, UNIT_BITS_BYTES, run, unit, units);
        count -= ranges[count - 1].bytes == 0;
        ranges[count++] = inside(runs, &runs->space.marks, UNIT_MARKS_BYTES, run, unit, units);
        count -= ranges[count - 1].bytes == 0;
        ranges[count++] = inside(runs, &runs->space.parts, UNIT_PARTS * PART_META_BYTES, run, unit, units);
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
        hold(runs, &batch, run->last, run_first(run), run->units);
    }
    units = batch.count > 0 ? give_back(runs, &batch) : 0;
    lock_release(&runs->lock);
    return units;
}

/* How far from `from` to `to` no unit is part of a huge page; from itself is not. */
static size_t before_huge(const struct runs *runs, size_t from, size_t to) {
    size_t huge_end = min_size(to, counter_get(&runs->space.huge_end));
    for (size_t u = align_up(from + 1, HUGE_UNITS); u < huge_end; u += HUGE_UNITS)
        if (space_is_huge(&runs->space, u))
            return u;
    return to;
}

/* Puts into the batch what is ripe from `unit` on, and marks as idle what is not. Returns where it stopped: the
 * end of the heap's dirty runs, or where the batch is full. */
static size_t gather_ripe(struct runs *runs, struct batch *batch, size_t unit, bool all) {
    uint8_t *kind = runs->space.map.kind;
    uint32_t node;
    while (!batch_full(batch) && (node = run_tree_from(&runs->space, &runs->free[RUN_DIRTY], unit)) != 0) {
        size_t end = (size_t)node + 1;
        unit = max_size(unit, run_first(run_at(&runs->space, node)));
        const uint8_t *ripe = all ? kind + unit : memchr(kind + unit, UNIT_FREE_IDLE, end - unit);
        size_t from = ripe != NULL ? (size_t)(ripe - kind) : end;
        memset(kind + unit, UNIT_FREE_IDLE, from - unit);
        unit = from;
        if (from < end && !all && space_is_huge(&runs->space, from)) {
            unit = min_size(align_down(from, HUGE_UNITS) + HUGE_UNITS, end);
        } else if (from < end) {
            const uint8_t *young = all ? NULL : memchr(kind + from, UNIT_FREE, end - from);
            size_t to = young != NULL ? (size_t)(young - kind) : end;
            unit += hold(runs, batch, node, from, (all ? to : before_huge(runs, from, to)) - from);
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
    while (unmapped && runs->free[RUN_CLEAN].root != 0) {
        struct batch batch = {.count = 0};
        const struct run *run = run_at(&runs->space, runs->free[RUN_CLEAN].root);
        size_t unit = run_first(run);
        hold(runs, &batch, run->last, unit, run->units);
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
        size_t unit = run_first(run), units = run->units;
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

bool runs_map_stretches(struct runs *runs, size_t units) {
    lock_acquire(&runs->lock);
    bool mapped = space_map_stretches(&runs->space, units);
    lock_release(&runs->lock);
    return mapped;
}

size_t runs_count_unused(struct runs *runs, size_t unit, size_t units) {
    size_t unused = 0;
    lock_acquire(&runs->lock);
    for (size_t u = unit; u < unit + units; u++) {
        uint8_t kind = kind_at(runs, u);
        unused += kind == UNIT_NONE || (kind > UNIT_LAST_CLASS && kind != UNIT_LARGE && kind != UNIT_LARGE_BODY);
    }
    lock_release(&runs->lock);
    return unused;
}

static void check_run(const struct runs *runs, const struct run *run, enum run_state state) {
    size_t first = run_first(run), end = (size_t)run->last + 1;
    const struct run *tag = run_at(&runs->space, first);
    VERIFY(first % runs->space.granule == 0 && end % runs->space.granule == 0);
    VERIFY(run->state == state && tag->state == state && tag->last == run->last);
    VERIFY(neighbour(runs, first - 1, state) == 0 && neighbour(runs, end, state) == 0);
    for (size_t u = first; u < end; u++) {
        uint8_t kind = kind_at(runs, u);
        VERIFY(kind == (state == RUN_UNMAPPED ? UNIT_NONE : UNIT_FREE) ||
               (state == RUN_DIRTY && kind == UNIT_FREE_IDLE));
    }
}

void runs_check(struct runs *runs) {
    lock_acquire(&runs->lock);
    size_t end = atomic_load_explicit(&runs->space.map.end, memory_order_relaxed);
    for (enum run_state state = 0; state < RUN_STATES; state++) {
        const struct run_tree *tree = &runs->free[state];
        VERIFY(run_tree_check(&runs->space, tree) == runs->free_units[state]);
        for (uint32_t t = 1; (t = run_tree_from(&runs->space, tree, t)) != 0; t++)
            check_run(runs, run_at(&runs->space, t), state);
    }
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
