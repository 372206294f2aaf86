/* Free runs, kept in one treap a state: ordered by address, and each node knows the widest run below it, so the
 * lowest run that fits is found in one descent (a Cartesian tree as in C. J. Stephenson, "Fast Fits", SOSP
 * 1983, but balanced by a hash of the address: Seidel and Aragon, "Randomized Search Trees", 1996).
 *
 * Locks: runs->lock, taken by every function that is not static.
 *
 * Invariants: a free unit has the kind UNIT_FREE (UNIT_NONE while unmapped), no other has; no two neighbours
 * have the same state; the first and the last unit of a run know its first unit and state; every dirty run is
 * on the list of dirty runs. */
#include "page/run.h"

#include "base/check.h"
#include "os/os.h"

#include <string.h>

enum { JOIN_UNITS = 4096 }; /* 64 MiB */

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
    uint8_t kind = state == RUN_UNMAPPED ? UNIT_NONE : UNIT_FREE;
    if (unit >= atomic_load_explicit(&runs->space.map.end, memory_order_relaxed) || kind_at(runs, unit) != kind)
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

/* Puts units into the pool and joins them with their neighbours of the same state. */
static void attach(struct runs *runs, size_t unit, size_t units, enum run_state state) {
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
        while (run_purge_oldest(runs) != 0)
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
        counter_add(&runs->used_units, units);
    }
    lock_release(&runs->lock);
    return unit;
}

void run_free(struct runs *runs, size_t unit, size_t units, enum run_state state) {
    units = align_up(units, runs->space.granule);
    lock_acquire(&runs->lock);
    counter_sub(&runs->used_units, units);
    attach(runs, unit, units, state);
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
        counter_add(&runs->used_units, new_units - old_units);
    }
    lock_release(&runs->lock);
    return fits;
}

/* Takes a free run out, lets go of the lock for the system calls that give its pages back, and puts it in again.
 * The caller holds the lock. Returns its units, or 0 where the system refuses. */
static size_t give_back(struct runs *runs, struct run *run) {
    size_t unit = run->head, units = run->units, bytes = units << UNIT_SHIFT;
    uintptr_t address = unit_address(&runs->space.map, unit);
    uint8_t *moved = space_moved(&runs->space, unit);
    bool unmap = atomic_load_explicit(&runs->unmap, memory_order_relaxed), purged = true;
    detach(runs, run->head);
    tag(runs, unit, units, RUN_PURGING);
    run->purger = lock_thread_id();
    counter_add(&runs->free_units[RUN_PURGING], units);
    list_push_back(&runs->purging, &run->age);
    lock_release(&runs->lock);

    if (!unmap && memchr(moved, 1, units) == NULL) {
        purged = os_purge(address, bytes);
    } else {
        memset(moved, 0, units);
        unmap = unmap || !os_remap_fresh(address, bytes);
        if (unmap && !os_unmap(address, bytes)) {
            unmap = false;
            purged = os_purge(address, bytes);
        }
    }

    lock_acquire(&runs->lock);
    list_remove(&run->age);
    counter_sub(&runs->free_units[RUN_PURGING], units);
    counter_add(&runs->purged_units, purged ? units : 0);
    attach(runs, unit, units, !purged ? RUN_DIRTY : unmap ? RUN_UNMAPPED : RUN_CLEAN);
    return purged ? units : 0;
}

size_t run_purge_oldest(struct runs *runs) {
    lock_acquire(&runs->lock);
    size_t units = list_empty(&runs->dirty) ? 0 : give_back(runs, LIST_ENTRY(runs->dirty.next, struct run, age));
    lock_release(&runs->lock);
    return units;
}

void run_unmap_clean(struct runs *runs) {
    lock_acquire(&runs->lock);
    while (runs->root[RUN_CLEAN] != 0 && give_back(runs, run_at(runs, runs->root[RUN_CLEAN])) != 0)
        ;
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

static size_t check_tree(const struct runs *runs, uint32_t t, size_t low, size_t high, enum run_state state) {
    if (t == 0)
        return 0;
    const struct run *run = run_at(runs, t);
    size_t end = (size_t)t + run->units;
    uint8_t kind = state == RUN_UNMAPPED ? UNIT_NONE : UNIT_FREE;
    VERIFY(t >= low && end <= high && run->units > 0 && run->units % runs->space.granule == 0);
    VERIFY(run->head == t && run->state == state);
    VERIFY(run_at(runs, end - 1)->head == t && run_at(runs, end - 1)->state == state);
    VERIFY(neighbour(runs, t - 1, state) == 0 && neighbour(runs, end, state) == 0);
    for (size_t u = t; u < end; u++)
        VERIFY(kind_at(runs, u) == kind);
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
        used += kind != UNIT_NONE && kind != UNIT_FREE;
        free_kind += kind == UNIT_FREE;
    }
    VERIFY(dirty == runs->free_units[RUN_DIRTY]);
    VERIFY(purging == runs->free_units[RUN_PURGING]);
    VERIFY(used == runs->used_units);
    VERIFY(free_kind == dirty + purging + runs->free_units[RUN_CLEAN]);
    lock_release(&runs->lock);
}
