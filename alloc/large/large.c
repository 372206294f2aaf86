/* Large allocations.
 *
 * Invariants: the first unit of one is UNIT_LARGE exactly while it is live, and UNIT_LARGE_SPARE while it is
 * neither live nor free; its metadata is valid in both; the other units are UNIT_LARGE_BODY. */
#include "large/large.h"

#include "base/check.h"
#include "os/os.h"

#include <string.h>

/* What grows and cannot stay is copied below the first; from the second on its pages are moved; between, it is
 * copied if there is warm memory to copy to, which costs less than the faults that moving leaves to come. Measured
 * in docs/decisions/0003-growth-by-remapping.md. */
enum { MOVE_MIN_BYTES = 128 << 10, MOVE_ALWAYS_BYTES = 1 << 20 };

/* For calloc: much that is dirty. */
enum { MUCH_UNITS = 512 };

/* Not told from the units in use: some of those are on their way to the system, or back from a bin. */
static void count_units(struct runs *runs, size_t more, size_t less) {
    atomic_fetch_add_explicit(&runs->large_units, more - less, memory_order_relaxed);
}

/* Gives units of large allocations to the runs. */
static void give(struct runs *runs, size_t unit, size_t units, enum run_state state) {
    count_units(runs, 0, units);
    run_free(runs, unit, units, state);
}

static void *make(struct runs *runs, size_t bytes, size_t units, size_t alignment, enum run_choice choice,
                  bool *zeroed) {
    units = align_up(units, runs->space.granule);
    size_t unit = run_alloc(runs,
                            &(struct run_request){.units = units,
                                                  .align_units = max_size(alignment >> UNIT_SHIFT, 1),
                                                  .first_kind = UNIT_LARGE,
                                                  .other_kind = UNIT_LARGE_BODY,
                                                  .choice = choice},
                            zeroed);
    if (unit == 0)
        return NULL;
    *(struct large *)space_meta(&runs->space, unit) =
        (struct large){.bytes = bytes, .units = units, .clean_rest = *zeroed};
    count_units(runs, units, 0);
    return (void *)unit_address(&runs->space.map, unit);
}

void *large_alloc(struct runs *runs, size_t size, size_t alignment, bool want_zeroed, bool *zeroed) {
    size_t bytes = large_round(runs, size), used_end = counter_get(&runs->used_end);
    bool clean =
        want_zeroed && bytes >= LARGE_CLEAN_BYTES && counter_get(&runs->free_units[RUN_DIRTY]) < MUCH_UNITS;
    void *p =
        make(runs, bytes, large_units_of(bytes), alignment, clean ? RUN_CLEAN_FIRST : RUN_WARM_FIRST, zeroed);
    if (p != NULL && *zeroed)
        runs_count_refault(runs, unit_of(&runs->space.map, p), bytes / runs->space.page, used_end);
    return p;
}

void large_free_spare(struct runs *runs, void *p) {
    give(runs, unit_of(&runs->space.map, p), large_at(runs, p)->units, RUN_DIRTY);
}

bool large_free(struct runs *runs, void *p) {
    if (large_make_spare(runs, p, 0) == 0)
        return false;
    large_free_spare(runs, p);
    return true;
}

/* A dirty run whose first bytes read as zeroes: a move that fails has to know what came from it. */
static void *make_warm_target(struct runs *runs, size_t bytes, size_t units, size_t zeroes, bool *zeroed) {
    void *to = make(runs, bytes, units, 1, RUN_WARM_ONLY, zeroed);
    if (to == NULL || os_purge((uintptr_t)to, zeroes))
        return to;
    give(runs, unit_of(&runs->space.map, to), large_at(runs, to)->units, RUN_DIRTY);
    return NULL;
}

/* Moves p's pages to a new run. Rather to a dirty one: what the old pages take the place of is no longer resident,
 * and growth goes on in what is. Else with clean room behind for growth to come, so that a buffer which grows step
 * by step moves only now and then; addresses cost nothing. */
static void *move(struct runs *runs, void *p, size_t bytes) {
    struct large *old = large_at(runs, p);
    size_t units = large_units_of(bytes), old_bytes = old->bytes;
    bool zeroed;
    void *to = make_warm_target(runs, bytes, units, old_bytes, &zeroed);
    if (to == NULL)
        to = make(runs, bytes, units + units / 4, 1, RUN_CLEAN_FIRST, &zeroed);
    if (to == NULL)
        to = make(runs, bytes, units, 1, RUN_CLEAN_FIRST, &zeroed);
    if (to == NULL)
        return NULL;
    size_t unit = unit_of(&runs->space.map, p), to_unit = unit_of(&runs->space.map, to);
    size_t to_units = large_at(runs, to)->units;
    switch (os_move_pages((uintptr_t)p, (uintptr_t)to, old->bytes)) {
    case OS_MOVED: {
        enum run_state left = old->clean_rest ? RUN_CLEAN : RUN_DIRTY;
        bool moved_before = memchr(space_moved(&runs->space, unit), 1, old->units) != NULL;
        if (moved_before) /* else mappings would become more with every move */
            left = run_renew(runs, unit, old->units, false);
        give(runs, unit, old->units, left);
        break;
    }
    case OS_MOVED_UNMAPPED: /* the rest of its last unit is mapped still */
        memset(space_moved(&runs->space, unit), 0, old->units);
        os_unmap((uintptr_t)p + old->bytes, (old->units << UNIT_SHIFT) - old->bytes);
        give(runs, unit, old->units, RUN_UNMAPPED);
        break;
    case OS_NOT_MOVED:
        give(runs, to_unit, to_units, zeroed ? RUN_CLEAN : RUN_DIRTY);
        return NULL;
    case OS_LOST_TARGET:
        os_unmap((uintptr_t)to, to_units << UNIT_SHIFT);
        give(runs, to_unit, to_units, RUN_UNMAPPED);
        return NULL;
    }
    memset(space_moved(&runs->space, to_unit), 1, large_units_of(old_bytes));
    atomic_fetch_add_explicit(&runs->moves, 1, memory_order_relaxed);
    return to;
}

static void *copy_to_warm(struct runs *runs, void *p, size_t bytes) {
    bool zeroed;
    void *to = make(runs, bytes, large_units_of(bytes), 1, RUN_WARM_ONLY, &zeroed);
    if (to != NULL) {
        memcpy(to, p, large_at(runs, p)->bytes);
        large_free(runs, p);
    }
    return to;
}

void *large_resize(struct runs *runs, void *p, size_t size) {
    struct large *large = large_at(runs, p);
    size_t unit = unit_of(&runs->space.map, p);
    size_t bytes = align_up(size, runs->space.page), units = align_up(large_units_of(bytes), runs->space.granule);
    if (bytes > large->bytes) {
        if (units > large->units) {
            size_t used_end = counter_get(&runs->used_end);
            bool added_clean = true;
            if (!run_extend(runs, unit, large->units, units, UNIT_LARGE_BODY, &added_clean)) {
                void *to = large->bytes < MOVE_ALWAYS_BYTES ? copy_to_warm(runs, p, bytes) : NULL;
                return to != NULL || large->bytes < MOVE_MIN_BYTES ? to : move(runs, p, bytes);
            }
            count_units(runs, units, large->units);
            large->clean_rest &= added_clean;
            if (added_clean)
                runs_count_refault(runs, unit + large->units, (bytes - large->bytes) / runs->space.page, used_end);
            large->units = units;
        }
        large->bytes = bytes;
    } else if (bytes < large->bytes) {
        large->clean_rest = false;
        large->bytes = bytes;
        if (units < large->units) {
            size_t old_units = large->units;
            large->units = units;
            give(runs, unit + units, old_units - units, RUN_DIRTY);
        }
    }
    return p;
}

void *large_of_tag(const struct runs *runs, const struct large_tag *tag) {
    return (void *)unit_address(&runs->space.map, space_unit_of_meta(&runs->space, tag));
}
