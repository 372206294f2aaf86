/* The heap's address space: a window of addresses that is mapped from its low end in growing steps, and arrays
 * of metadata beside it, one element a unit, which are mapped along with it.
 *
 * Nothing is reserved ahead (docs/decisions/0001-no-reservation.md): the window lies where the kernel places
 * nothing by itself, and where somebody else's mapping is found in it, growth goes on behind that.
 *
 * The caller holds the lock of the runs, but for the accessors. */
#ifndef NEAP_PAGE_SPACE_H
#define NEAP_PAGE_SPACE_H

#include "base/counter.h"
#include "page/unit_map.h"

enum {
    UNIT_META_BYTES = 64,                  /* per unit: struct run, struct slab or struct large */
    UNIT_BITS_BYTES = UNIT_BYTES / 16 / 8, /* per unit: a bit for each 16 bytes */
    UNIT_MARKS_BYTES = UNIT_BYTES / 32,    /* per unit: four bits for each 16 bytes; of regions only */
    PART_SHIFT = 12,                       /* the least region is so large, */
    UNIT_PARTS = UNIT_BYTES >> PART_SHIFT,
    PART_META_BYTES = 64,       /* per part: struct region */
    CACHE_BYTES = 4 * 4096,     /* per thread cache */
    SCOPE_BYTES = 384,          /* per scope */
    HUGE_UNITS = 128,           /* that one huge page can hold */
    RECENT_BYTES = 4096,        /* per thread that enters scopes */
    SURVIVORS_BYTES = 12 << 20, /* of tables of survivors, where they are wanted */
};

/* An array that is mapped from its start as far as it is needed. */
struct space_array {
    uintptr_t base;
    size_t mapped; /* bytes */
};

struct space {
    struct unit_map map;
    size_t capacity; /* units in the window */
    size_t page;     /* bytes of a page: the system's, or more in tests */
    size_t granule;  /* units that runs are multiples of: one, or those of a page where a page is larger */
    struct space_array kinds, moved, sparse, metas, bits, marks, parts, caches, scopes, recents, survivors,
        stretches;
    counter huge_end; /* units below this have a space_stretch */
};

/* Finds the window and maps nothing yet but what it must. page is a power of two from 4 KiB to 64 KiB that the
 * system's page size divides. False where not even the first step can be mapped. */
bool space_init(struct space *space, size_t page);

/* Maps at least `units` more units behind the last, in one piece. Returns the first of them and stores how many
 * there are in *got; 0 where the system refuses. */
size_t space_grow(struct space *space, size_t units, size_t *got);

/* Memory for the cache with this number; NULL where the system refuses. Zeroed at its first use. */
void *space_cache(struct space *space, size_t number);

/* Memory for the scope with this number, likewise. */
void *space_scope(struct space *space, size_t number);

/* What belongs to the scopes of the thread whose cache has this number, likewise. */
void *space_recent(struct space *space, size_t number);

/* The tables of survivors, which are mapped when this is first called; NULL where the system refuses. */
void *space_survivors(struct space *space);

/* Sees to it that space_marks and space_part can be used for all units below `units`, and the marks of the next be
 * read. */
bool space_map_marks(struct space *space, size_t units);

/* Sees to it that space_stretch can be used for all units below `units`. False where the system refuses. */
bool space_map_stretches(struct space *space, size_t units);

static inline void *space_meta(const struct space *space, size_t unit) {
    return (void *)(space->metas.base + unit * UNIT_META_BYTES);
}

static inline size_t space_unit_of_meta(const struct space *space, const void *meta) {
    return ((uintptr_t)meta - space->metas.base) / UNIT_META_BYTES;
}

static inline uint64_t *space_bits(const struct space *space, size_t unit) {
    return (uint64_t *)(space->bits.base + unit * UNIT_BITS_BYTES);
}

static inline void *space_marks(const struct space *space, size_t unit) {
    return (void *)(space->marks.base + unit * UNIT_MARKS_BYTES);
}

/* The metadata of a part of a unit; parts are numbered through all units. */
static inline void *space_part(const struct space *space, size_t part) {
    return (void *)(space->parts.base + part * PART_META_BYTES);
}

static inline size_t space_number_of_part(const struct space *space, const void *meta) {
    return ((uintptr_t)meta - space->parts.base) / PART_META_BYTES;
}

/* A byte a unit: whether pages were moved into it. The kernel cannot merge its mapping with its neighbours', until
 * it is mapped afresh. Written by who owns the unit. */
static inline uint8_t *space_moved(const struct space *space, size_t unit) {
    return (uint8_t *)(space->moved.base + unit);
}

/* A byte a unit: the class of the slab that starts there, if some of its pages may be free but resident; else 0.
 * Set and cleared under the lock of that class's bin, read without it. */
static inline uint8_t *space_sparse(const struct space *space, size_t unit) {
    return (uint8_t *)(space->sparse.base + unit);
}

/* A byte a stretch of HUGE_UNITS: what purge/dense.h knows of it; STRETCH_HUGE while it is one huge page, whose
 * pages are not returned one by one. */
enum { STRETCH_HUGE = 255 };

static inline uint8_t *space_stretch(const struct space *space, size_t unit) {
    return (uint8_t *)(space->stretches.base + unit / HUGE_UNITS);
}

static inline bool space_is_huge(const struct space *space, size_t unit) {
    return UNLIKELY(unit < counter_get(&space->huge_end)) &&
           __atomic_load_n(space_stretch(space, unit), __ATOMIC_RELAXED) == STRETCH_HUGE;
}

/* Pages of these units have been returned: they are part of no huge page any more. */
static inline void space_note_returned(const struct space *space, size_t unit, size_t units) {
    for (size_t u = align_down(unit, HUGE_UNITS); u < unit + units; u += HUGE_UNITS)
        if (space_is_huge(space, u))
            __atomic_store_n(space_stretch(space, u), 0, __ATOMIC_RELAXED);
}

static inline size_t space_pages(const struct space *space, size_t units) {
    return (units << UNIT_SHIFT) / space->page;
}

/* Bytes of metadata that are mapped. */
size_t space_metadata_bytes(const struct space *space);

#endif
