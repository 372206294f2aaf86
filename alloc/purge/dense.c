/* Stretches that become huge pages. Locks: that of the runs inside runs_count_unused, for one stretch at a time;
 * none over a system call.
 *
 * A stretch's byte (space_stretch) is STRETCH_HUGE, or 0 if it was not dense at the last look, or how many looks
 * from now it is tried if it stays dense. It is written here, and by those who return pages of it. */
#include "purge/dense.h"

#include "os/os.h"

/* Looks, of which there are six or seven a second. What has been dense for so many is tried, at most so many
 * stretches a look, for each takes milliseconds; one that failed (the system had no huge page to give, or some
 * page was never touched) after so many more. */
enum { RIPE_AFTER = 8, TRIES = 4, AGAIN_AFTER = 200 };

/* With so many free units of 128, or slabs with free pages, a huge page is no longer worth what it keeps: 6 %. */
enum { LOOSE_MAX = HUGE_UNITS / 16 };

void dense_init(struct dense *dense, struct bins *bins) {
    const struct space *space = &bins->runs->space;
    if (space->page == os_page_size() && os_can_collapse())
        dense->bins = bins;
}

/* Units that are free, or in slabs some of whose pages may be. */
static size_t count_loose(const struct dense *dense, size_t unit) {
    const struct bins *bins = dense->bins;
    size_t loose = runs_count_unused(bins->runs, unit, HUGE_UNITS);
    for (size_t u = unit; u < unit + HUGE_UNITS && loose <= LOOSE_MAX; u++) {
        unsigned class = __atomic_load_n(space_sparse(&bins->runs->space, u), __ATOMIC_RELAXED);
        if (class != 0)
            loose += (bins->divisors[class].slab_mask + 1) >> UNIT_SHIFT;
    }
    return loose;
}

/* A huge page of pages that a child has too would be a copy of them, for as long as it lives. */
static bool is_lent(const struct dense *dense, size_t unit, uintptr_t address, bool may_open) {
    if (unit >= counter_get(&dense->lent))
        return false;
    return may_open ? os_is_shared(address, OS_HUGE_BYTES) : os_has_children();
}

static uint8_t attempt(const struct dense *dense, size_t unit, bool may_open) {
    uintptr_t address = unit_address(&dense->bins->runs->space.map, unit);
    bool wanted = os_is_resident(address, OS_HUGE_BYTES) && !is_lent(dense, unit, address, may_open);
    return wanted && os_collapse(address) ? STRETCH_HUGE : AGAIN_AFTER;
}

/* The next state of the stretch at unit. */
static uint8_t next(const struct dense *dense, size_t unit, uint8_t state, size_t *tries, bool may_open) {
    size_t loose = count_loose(dense, unit);
    if (loose > (state == STRETCH_HUGE ? LOOSE_MAX : 0))
        return 0;
    if (state == STRETCH_HUGE)
        return state;
    if (state == 0)
        return RIPE_AFTER;
    if (state > 1)
        return state - 1;
    return (*tries)++ < TRIES ? attempt(dense, unit, may_open) : state;
}

bool dense_look(struct dense *dense, bool may_open) {
    if (dense->bins == NULL)
        return false;
    struct runs *runs = dense->bins->runs;
    size_t used = counter_get(&runs->used_units), tries = 0;
    size_t end = align_down(atomic_load_explicit(&runs->space.map.end, memory_order_relaxed), HUGE_UNITS);
    bool has_more = false;
    counter_set(&dense->seen, used);
    if (end > counter_get(&runs->space.huge_end) && !runs_map_stretches(runs, end))
        return false;
    for (size_t unit = dense->from; unit < end; unit += HUGE_UNITS) {
        uint8_t *stretch = space_stretch(&runs->space, unit), state = __atomic_load_n(stretch, __ATOMIC_RELAXED);
        uint8_t new = next(dense, unit, state, &tries, may_open);
        __atomic_store_n(stretch, new, __ATOMIC_RELAXED);
        has_more |= new > 0 && new <= RIPE_AFTER;
    }
    return has_more;
}

static size_t end_of(const struct dense *dense) {
    return align_up(atomic_load_explicit(&dense->bins->runs->space.map.end, memory_order_relaxed), HUGE_UNITS);
}

void dense_before_fork(struct dense *dense) {
    if (dense->bins != NULL)
        counter_set(&dense->lent, end_of(dense));
}

void dense_after_fork(struct dense *dense) {
    if (dense->bins == NULL)
        return;
    const struct space *space = &dense->bins->runs->space;
    dense->from = end_of(dense);
    for (size_t unit = 0; unit < counter_get(&space->huge_end); unit += HUGE_UNITS)
        __atomic_store_n(space_stretch(space, unit), 0, __ATOMIC_RELAXED);
}
