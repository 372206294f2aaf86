/* Allocations above the largest size class: runs of their own. Sizes are rounded up to pages inside their units;
 * what is never touched is never resident.
 *
 * Locks: that of the runs, inside the calls to them. An allocation's own metadata belongs to its owner: the
 * program may not resize and free one object in two threads at once. */
#ifndef NEAP_LARGE_LARGE_H
#define NEAP_LARGE_LARGE_H

#include "base/list.h"
#include "page/run.h"

/* What a layer above notes of an allocation; zero at first, and again after large_resize has moved it. */
struct large_tag {
    _Atomic uint64_t owner;
    struct list link;
};

struct large {
    size_t bytes; /* usable, whole pages */
    size_t units;
    bool clean_rest; /* the units behind `bytes` read as zeroes */
    struct large_tag tag;
};
_Static_assert(sizeof(struct large) <= UNIT_META_BYTES, "its metadata fits its first unit's");

static inline struct large *large_at(const struct runs *runs, const void *p) {
    return space_meta(&runs->space, unit_of(&runs->space.map, p));
}

/* Allocates `size` bytes, at most PTRDIFF_MAX, at a multiple of `alignment`, a power of two. *zeroed says whether
 * they read as zeroes; want_zeroed asks for that where it is cheap. NULL where the system refuses. */
void *large_alloc(struct runs *runs, size_t size, size_t alignment, bool want_zeroed, bool *zeroed);

/* Frees what large_alloc returned. False where p is no live large allocation. */
bool large_free(struct runs *runs, void *p);

/* Bytes that may be used at p; 0 where p is not the start of a live large allocation. */
static inline size_t large_bytes(const struct runs *runs, const void *p) {
    if (unit_kind_at(&runs->space.map, p) != UNIT_LARGE || (uintptr_t)p % UNIT_BYTES != 0)
        return 0;
    return large_at(runs, p)->bytes;
}

/* An allocation may be taken out of use first, and its run be freed or used again later, which needs no lock: it
 * is a spare one meanwhile. */

/* From here on, calloc rather takes clean pages than clears dirty ones, unless there is much that is dirty: the
 * heap would grow and leave that unused. */
enum { LARGE_CLEAN_BYTES = 1 << 20 };

static inline size_t large_round(const struct runs *runs, size_t size) {
    return align_up(max_size(size, 1), runs->space.page);
}

static inline size_t large_units_of(size_t bytes) {
    return (bytes + UNIT_BYTES - 1) >> UNIT_SHIFT;
}

/* Makes of a live allocation with that many units, or, for 0, with any number, a spare one. Returns how many it
 * has; 0 where p is no such allocation: of several threads that try, one passes. */
static inline size_t large_make_spare(struct runs *runs, void *p, size_t units) {
    struct large *large = large_at(runs, p);
    if (large_bytes(runs, p) == 0 || (units != 0 && units != large->units))
        return 0;
    uint8_t *kind = &runs->space.map.kind[unit_of(&runs->space.map, p)], live = UNIT_LARGE;
    lock_jitter_here();
    if (!__atomic_compare_exchange_n(kind, &live, UNIT_LARGE_SPARE, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return 0;
    return large->units;
}

/* How many units a spare allocation has that may be used for such a request; 0 where none should be, for pages
 * that read as zeroes may be cheaper. */
static inline size_t large_units(const struct runs *runs, size_t size, bool want_zeroed) {
    if (size >= LARGE_CLEAN_BYTES && want_zeroed)
        return 0;
    return align_up(large_units_of(large_round(runs, size)), runs->space.granule);
}

/* Makes a spare allocation with that many units live again, `size` bytes large. */
static inline void large_use_spare(struct runs *runs, void *p, size_t size) {
    struct large *large = large_at(runs, p);
    large->bytes = large_round(runs, size);
    large->clean_rest = false;
    __atomic_store_n(&runs->space.map.kind[unit_of(&runs->space.map, p)], UNIT_LARGE, __ATOMIC_RELEASE);
}

/* Frees a spare allocation. */
void large_free_spare(struct runs *runs, void *p);

/* Makes p `size` bytes large, in place or by moving its pages, and returns where it is; NULL where the caller has
 * to copy, or memory is short. `size` is that of a large allocation, too. */
void *large_resize(struct runs *runs, void *p, size_t size);

/* The tag of a live large allocation. */
static inline struct large_tag *large_tag(const struct runs *runs, const void *p) {
    return &large_at(runs, p)->tag;
}

/* Where the allocation with that tag lies. */
void *large_of_tag(const struct runs *runs, const struct large_tag *tag);

#endif
