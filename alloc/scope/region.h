/* Regions: stretches of the heap that scopes fill with objects of mixed sizes, one behind the other (marks.h), and
 * the common pool of those that no scope has. A region is a page or a unit; where it is less than a unit, all in a
 * unit have one shape, and leave it together: a block. */
#ifndef NEAP_SCOPE_REGION_H
#define NEAP_SCOPE_REGION_H

#include "base/counter.h"
#include "base/list.h"
#include "page/run.h"
#include "scope/marks.h"

/* Middle regions are like narrow ones. They take what is not quite small where a scope fills the holes between
 * survivors in a narrow one; only holes in the emptiest regions would be long enough for that, and small objects
 * would follow there. */
enum { REGION_NARROW, REGION_MIDDLE, REGION_WIDE, REGION_SHAPES };

enum {
    NARROW_SHIFT = 4, /* granules of 16 bytes, in regions of 4 KiB or a page */
    WIDE_SHIFT = 6,   /* granules of 64 bytes, in regions of a unit or a page */
    NARROW_MAX = 960, /* larger objects, of which three would fill a region, go to wide ones, unless the open
                       * hole has room */
    WIDE_MAX = 8 << 10,
    REGION_LEVELS = 8,
};

_Static_assert(sizeof(struct stripe) * (UNIT_BYTES >> NARROW_SHIFT) / STRIPE_GRANULES == UNIT_MARKS_BYTES,
               "the marks of a unit are its stripes");

/* In the metadata of its first part. Written under the lock of the regions. */
struct region {
    struct list link;       /* of its owner, or of those that can be filled; else none */
    struct list all;        /* of all regions */
    _Atomic uint64_t owner; /* the scope whose it is; 0: none */
    uint32_t purger;        /* the thread that is returning pages of it; 0: none */
    uint16_t returned; /* bit a page: has been in use and was returned since; written by who fills the region */
    uint16_t scanned;  /* granules before this one are not looked at for holes any more */
    uint16_t longest;  /* granules of a hole that it has had at least since it got no owner */
    uint16_t dirty;    /* bit a page: may be resident; written by who fills the region */
    uint16_t idle;     /* bit a page: was dead and dirty at the last tick */
    uint8_t shape;
    bool current;         /* is being filled */
    bool shared;          /* its owner got it with survivors of others */
    _Atomic bool full;    /* had too little room for a list when it lost its owner; of no meaning with one */
    _Atomic bool stocked; /* holds no object: for the next scope, or on its way to the runs */
};
_Static_assert(sizeof(struct region) <= PART_META_BYTES, "a region's metadata fits its first part's");

struct regions {
    struct runs *runs;
    struct lock lock; /* of the lists, here and in scopes */
    struct shape shape[REGION_SHAPES];
    uintptr_t narrow_mask; /* bits of where the metadata of a narrow region lies among that of all parts */
    struct list partial[REGION_SHAPES][REGION_LEVELS]; /* with survivors, and level / 8 of them free */
    struct list stock[REGION_SHAPES];                  /* without */
    counter stocked[REGION_SHAPES];                    /* of these, those with a page that may be resident */
    struct list all;                                   /* in the order in which ticks visit them */
    counter count;                                     /* of them */
    counter units;                                     /* that they lie in */
    _Atomic bool pending;                              /* something may be free since the last tick */
};

void regions_init(struct regions *regions, struct runs *runs);

static inline bool unit_kind_is_region(unsigned kind) {
    return kind - UNIT_REGION < REGION_SHAPES;
}

/* Of a narrow or middle one, whose marks are alike. */
static inline bool unit_kind_is_narrow(unsigned kind) {
    return kind - UNIT_REGION <= REGION_MIDDLE;
}

/* Whether regions of that shape are one page each. */
static inline bool region_is_page(const struct regions *regions, unsigned shape) {
    return regions->shape[shape].bytes == regions->runs->space.page;
}

/* The region of that kind which p points into. */
static inline struct region *region_of(const struct regions *regions, unsigned kind, const void *p) {
    const struct space *space = &regions->runs->space;
    uintptr_t start = (uintptr_t)p & ~(uintptr_t)regions->shape[kind - UNIT_REGION].mask;
    return space_part(space, (start - space->map.base) >> PART_SHIFT);
}

static inline char *region_base(const struct regions *regions, const struct region *region) {
    const struct space *space = &regions->runs->space;
    return (char *)(space->map.base + (space_number_of_part(space, region) << PART_SHIFT));
}

static inline struct stripe *region_stripes(const struct regions *regions, const struct region *region) {
    const struct space *space = &regions->runs->space;
    size_t part = space_number_of_part(space, region);
    return (struct stripe *)((char *)space_marks(space, 0) + part * (UNIT_MARKS_BYTES / UNIT_PARTS));
}

/* The same for a narrow or middle one, quickly. */
static inline struct region *region_narrow(const struct regions *regions, const struct space *space,
                                           const void *p) {
    uintptr_t at = (uintptr_t)p - space->map.base;
    return (struct region *)(space->parts.base +
                             (at / ((1 << PART_SHIFT) / PART_META_BYTES) & regions->narrow_mask));
}

enum region_answer { OBJECT_LIVE, OBJECT_DEAD, OBJECT_NONE, OBJECT_INSIDE };

/* What p, in a region of that kind, points to. */
enum region_answer region_look(const struct regions *regions, unsigned kind, const void *p);

/* Bytes of the live object at p. */
size_t region_usable(const struct regions *regions, unsigned kind, const void *p);

/* Frees the live object at p, by a thread that does not fill its region. Returns OBJECT_DEAD where another has. */
enum region_answer region_free_remote(struct regions *regions, struct region *region, void *p);

/* After a free in a region that had no owner: puts it where it belongs now. */
void region_note_free(struct regions *regions, struct region *region);

/* What lives in it and came into it under its owner. */
struct load region_load(const struct regions *regions, const struct region *region);

/* Takes a region of that shape with a hole of at least `granules`, and stores the first such hole, for that owner,
 * and puts it on its list; the caller is going to fill it, and no longer fills `left`, which may be NULL. Prefers
 * the owner's, then those with survivors. NULL where the system refuses memory. */
struct region *region_acquire(struct regions *regions, unsigned shape, size_t granules, uint64_t owner,
                              struct list *mine, struct region *left, struct hole *hole);

/* Notes which pages of the region are used: a bit each. */
static inline void region_note_pages(const struct regions *regions, struct region *region, uint32_t used) {
    uint32_t again = used & region->returned;
    if (UNLIKELY(again != 0)) {
        region->returned = (uint16_t)(region->returned & ~again);
        atomic_fetch_add_explicit(&regions->runs->refaulted_pages, popcount(again), memory_order_relaxed);
    }
    region->dirty = (uint16_t)(region->dirty | used);
}

/* Notes that the region was filled from granule start to end. Where it is one page, that was noted when it was
 * taken. */
static inline void region_note_used(const struct regions *regions, struct region *region, size_t start,
                                    size_t end) {
    if (region_is_page(regions, region->shape))
        return;
    size_t shift = regions->shape[region->shape].shift, page = regions->runs->space.page;
    size_t from = (start << shift) / page, to = ((end << shift) + page - 1) / page;
    region_note_pages(regions, region, ((uint32_t)1 << to) - ((uint32_t)1 << from));
}

/* Takes the region from its owner; the caller holds the lock, and nobody fills it. What is empty and too much to
 * keep goes on `excess`, for region_give_back. Returns what lives in it. */
struct load region_retire(struct regions *regions, struct region *region, struct list *excess);

/* The same for one whose owner's objects are all given up. */
void region_clear(struct regions *regions, struct region *region, struct list *excess);

/* Gives empty regions back to the runs; the caller holds no lock. */
void region_give_back(struct regions *regions, struct list *excess);

/* Returns pages without a live object, and empty regions without an owner, that were so at the last tick already;
 * all: every one. Not of the regions that are being filled. Returns bytes. */
size_t regions_tick(struct regions *regions, bool all);

/* Whether there is anything that a tick could return, about. */
static inline bool regions_pending(const struct regions *regions) {
    return atomic_load_explicit(&regions->pending, memory_order_relaxed);
}

static inline void regions_set_pending(struct regions *regions) {
    if (!regions_pending(regions))
        atomic_store_explicit(&regions->pending, true, memory_order_relaxed);
}

/* In a forked child: takes back regions whose pages another thread was returning. */
void regions_after_fork(struct regions *regions);

/* Bytes of regions without an object that are kept, and not returned yet. */
static inline size_t regions_stocked_bytes(const struct regions *regions) {
    size_t bytes = 0;
    for (size_t s = 0; s < REGION_SHAPES; s++)
        bytes += counter_get(&regions->stocked[s]) * regions->shape[s].bytes;
    return bytes;
}

/* Bytes that ticks could return, about. What is free in regions that hold objects is known to those only who look
 * through their marks: where requests keep a part of what they allocate, it is a fourth to a fifth. */
static inline size_t regions_returnable(const struct regions *regions) {
    size_t stocked = regions_stocked_bytes(regions), all = counter_get(&regions->units) << UNIT_SHIFT;
    return stocked + (all > stocked ? all - stocked : 0) / 4;
}

/* Bytes of live objects in all regions, about. */
size_t regions_live_bytes(struct regions *regions);

/* Walks everything; debug. */
void regions_check(struct regions *regions);

#endif
