/* Where the heap lies, and how it grows. Locks: none of its own; the caller holds that of the runs.
 *
 * Invariants: units [granule's start, map.end) have been mapped by us or stepped over as somebody else's; the
 * arrays are mapped for all units below map.end. */
#include "page/space.h"

#include "base/check.h"
#include "os/os.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define TIB ((size_t)1 << 40)

/* Growth: an eighth of what is there, so that system calls stay rare, between these. The ceiling bounds what
 * mlockall makes resident and what strict overcommit charges beyond need. */
enum { STEP_MIN = 64, STEP_MAX = 4096 }; /* units: 1 MiB and 64 MiB */

/* Windows to try. The first lies above the addresses that V8 and Go choose for themselves and below those where
 * Linux puts programs, libraries and stacks, on x86-64 and on aarch64 with 48 bits; the last fits 39 bits. The
 * start is drawn at random from the low end: an attacker shall not know it. */
static const struct window {
    size_t low, span, bytes;
} windows[] = {
#ifndef __SANITIZE_THREAD__ /* which leaves programs only the low addresses */
    {64 * TIB, 8 * TIB, 8 * TIB},
    {24 * TIB, 8 * TIB, 8 * TIB},
#endif
    {96 * GIB, 32 * GIB, 128 * GIB},
};

/* Each array has its own stretch of addresses in front of the heap, sized by the window. */
static void place(struct space *space, uintptr_t start, size_t units) {
    struct space_array *arrays[] = {&space->kinds,  &space->moved,   &space->sparse,    &space->metas,
                                    &space->bits,   &space->marks,   &space->parts,     &space->caches,
                                    &space->scopes, &space->recents, &space->survivors, &space->stretches};
    size_t metas = units * UNIT_META_BYTES, bits = units * UNIT_BITS_BYTES, marks = (units + 1) * UNIT_MARKS_BYTES;
    size_t parts = units * UNIT_PARTS * PART_META_BYTES;
    size_t bytes[] = {
        units, units, units, metas, bits, marks, parts, metas, metas, metas, SURVIVORS_BYTES, units / HUGE_UNITS};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        *arrays[i] = (struct space_array){.base = start, .mapped = 0};
        start = align_up(start + bytes[i], 4 * MIB);
    }
    space->map.base = start;
    space->map.kind = (uint8_t *)space->kinds.base;
    space->capacity = units;
}

/* Sees to it that the first `bytes` bytes of the array are mapped. */
static enum os_result reach(struct space_array *array, size_t bytes, size_t page) {
    if (bytes <= array->mapped)
        return OS_OK;
    size_t step = max_size(align_up(bytes - array->mapped, page), max_size(64 * KIB, array->mapped / 8));
    step = align_down(step, page);
    enum os_result result = os_map(array->base + array->mapped, step);
    if (result == OS_OK)
        array->mapped += step;
    return result;
}

static enum os_result reach_all(struct space *space, size_t units) {
    enum os_result result = reach(&space->kinds, units, space->page);
    if (result == OS_OK)
        result = reach(&space->moved, units, space->page);
    if (result == OS_OK)
        result = reach(&space->sparse, units, space->page);
    if (result == OS_OK)
        result = reach(&space->metas, units * UNIT_META_BYTES, space->page);
    if (result == OS_OK)
        result = reach(&space->bits, units * UNIT_BITS_BYTES, space->page);
    return result;
}

bool space_init(struct space *space, size_t page) {
    space->page = page;
    space->granule = max_size(page / UNIT_BYTES, 1);
    uint64_t random = os_random();
    for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
        const struct window *window = &windows[w];
        for (int attempt = 0; attempt < 32; attempt++) {
            uintptr_t start = window->low + align_down(random % window->span, 4 * MIB);
            /* All arrays together take less than a 12th of what they describe. */
            place(space, start, window->bytes / UNIT_BYTES);
            enum os_result result = reach_all(space, 1);
            if (result == OS_OK) {
                size_t first = max_size(space->granule, 16);
                atomic_store_explicit(&space->map.end, first, memory_order_relaxed);
                return true;
            }
            struct space_array *arrays[] = {&space->kinds, &space->moved, &space->sparse, &space->metas,
                                            &space->bits};
            for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
                if (arrays[i]->mapped > 0)
                    os_unmap(arrays[i]->base, arrays[i]->mapped);
            if (result == OS_NO_MEMORY)
                break; /* a window that does not fit, or no memory at all */
            random = random * 6364136223846793005u + 1442695040888963407u;
        }
    }
    return false;
}

size_t space_grow(struct space *space, size_t units, size_t *got) {
    size_t end = atomic_load_explicit(&space->map.end, memory_order_relaxed);
    units = align_up(units, space->granule);
    size_t step = end / 8 < STEP_MIN ? STEP_MIN : min_size(end / 8, STEP_MAX);
    step = max_size(align_up(step, space->granule), units);
    while (units <= space->capacity && end <= space->capacity - units) {
        step = min_size(step, align_down(space->capacity - end, space->granule));
        enum os_result result = os_map(unit_address(&space->map, end), step << UNIT_SHIFT);
        if (result == OS_TAKEN) { /* step over it; the units between stay UNIT_NONE */
            end += step;
            continue;
        }
        if (result == OS_OK) {
            if (reach_all(space, end + step) == OS_OK) {
                atomic_store_explicit(&space->map.end, end + step, memory_order_relaxed);
                *got = step;
                return end;
            }
            os_unmap(unit_address(&space->map, end), step << UNIT_SHIFT);
        }
        if (step == units)
            return 0;
        step = units; /* not even memory for a whole step: take just what is needed */
    }
    return 0;
}

void *space_cache(struct space *space, size_t number) {
    if (reach(&space->caches, (number + 1) * CACHE_BYTES, space->page) != OS_OK)
        return NULL;
    return (void *)(space->caches.base + number * CACHE_BYTES);
}

void *space_scope(struct space *space, size_t number) {
    if (reach(&space->scopes, (number + 1) * SCOPE_BYTES, space->page) != OS_OK)
        return NULL;
    return (void *)(space->scopes.base + number * SCOPE_BYTES);
}

void *space_recent(struct space *space, size_t number) {
    if (reach(&space->recents, (number + 1) * RECENT_BYTES, space->page) != OS_OK)
        return NULL;
    return (void *)(space->recents.base + number * RECENT_BYTES);
}

void *space_survivors(struct space *space) {
    return reach(&space->survivors, SURVIVORS_BYTES, space->page) == OS_OK ? (void *)space->survivors.base : NULL;
}

bool space_map_marks(struct space *space, size_t units) {
    return reach(&space->marks, (units + 1) * UNIT_MARKS_BYTES, space->page) == OS_OK &&
           reach(&space->parts, units * UNIT_PARTS * PART_META_BYTES, space->page) == OS_OK;
}

bool space_map_stretches(struct space *space, size_t units) {
    if (reach(&space->stretches, units / HUGE_UNITS + 1, space->page) != OS_OK)
        return false;
    counter_set(&space->huge_end, units);
    return true;
}

size_t space_metadata_bytes(const struct space *space) {
    return space->kinds.mapped + space->moved.mapped + space->sparse.mapped + space->metas.mapped +
           space->bits.mapped + space->marks.mapped + space->parts.mapped + space->caches.mapped +
           space->scopes.mapped + space->recents.mapped + space->survivors.mapped + space->stretches.mapped;
}
