/* A slab: one run of units cut into objects of one size class, with a bitmap of the free ones beside the heap.
 * The objects are never touched. The caller holds the lock of the class's bin. Objects and pages are numbered from
 * the slab's end downwards (size_class.h).
 *
 * A page is free when every object that overlaps it is. Free pages go back to the system while the slab lives on:
 * each page is dirty (it may be resident), idle (dirty, and free since before the last tick), clean (not resident,
 * reads as zeroes), or held by a thread that is about to return it. */
#ifndef NEAP_SLAB_SLAB_H
#define NEAP_SLAB_SLAB_H

#include "base/list.h"
#include "page/space.h"
#include "slab/size_class.h"

enum { SLAB_INLINE_WORDS = 3, SLAB_INLINE_OBJECTS = SLAB_INLINE_WORDS * 64 };

struct slab {
    struct list link;                /* in its bin, while some objects are free */
    uint64_t few[SLAB_INLINE_WORDS]; /* the bitmap, where it has no more words; 1: free */
    uint64_t clean;                  /* a bit a page: clean or held … */
    uint64_t idle;                   /* … idle or held */
    uint16_t free;                   /* how many objects are free and on no held page */
    uint16_t objects;
    uint8_t class;
    uint8_t level;     /* the bin's list it is on */
    bool sparse;       /* space_sparse says so: set while some pages may be free and dirty */
    bool fresh : 1;    /* clean pages were never in use, as far as one knows */
    bool flushing : 1; /* a flush under way has put objects here, and not looked at the lists yet */
};
_Static_assert(sizeof(struct slab) <= UNIT_META_BYTES, "a slab's metadata fits its first unit's");

/* What is known of the pages of a run that becomes a slab. */
enum slab_pages { SLAB_DIRTY, SLAB_RETURNED, SLAB_FRESH };

/* Makes a slab of class `class` of the run that starts at unit, all objects free. */
struct slab *slab_make(const struct space *space, size_t unit, unsigned class, const struct divisor *d,
                       enum slab_pages pages);

/* Takes up to `count` free objects, first those whose pages are all dirty, else highest addresses first, and
 * stores pointers to them. Returns how many, and adds to *refaulted the pages that had been returned and are
 * needed again. */
size_t slab_take(const struct space *space, struct slab *slab, const struct divisor *d, size_t count,
                 void **objects, size_t *refaulted);

/* Whether the bitmap lies in struct slab: read from what is shared by all slabs of the class, and near. */
static inline bool slab_has_few(const struct divisor *d) {
    return objects_of(d) <= SLAB_INLINE_OBJECTS;
}

/* The bitmap. Words are written under the bin's lock and read without it by slab_is_free: no torn values, no
 * order. */
static inline uint64_t *slab_bits(const struct space *space, const struct slab *slab, const struct divisor *d) {
    if (slab_has_few(d))
        return (uint64_t *)slab->few;
    return space_bits(space, space_unit_of_meta(space, slab));
}

/* Has the CPU fetch what freeing the object at p writes. */
static INLINE void slab_prefetch(const struct space *space, const struct slab *slab, const struct divisor *d,
                                 const void *p) {
    __builtin_prefetch(slab);
    if (!slab_has_few(d))
        __builtin_prefetch(&slab_bits(space, slab, d)[object_index(d, p) / 64]);
}

/* Marks an object free. False where it was so before. */
static INLINE bool slab_put(struct slab *slab, uint64_t *bits, size_t index) {
    uint64_t before = bits[index / 64];
    if (UNLIKELY((before >> index % 64 & 1) != 0))
        return false;
    __atomic_store_n(&bits[index / 64], before | (uint64_t)1 << index % 64, __ATOMIC_RELAXED);
    slab->free++;
    return true;
}

/* Marks the first of these objects free, and those behind it as long as they lie side by side, in rising or in
 * falling order. Stores in *already_free one that was free before, if any. Returns how many objects it has dealt
 * with. */
size_t slab_put_row(const struct space *space, struct slab *slab, const struct divisor *d, size_t count,
                    void *const *objects, void **already_free);

/* The least number of free objects with which a page of a slab of that class may be free. */
uint32_t slab_sparse_from(const struct space *space, unsigned class, const struct divisor *d);

/* Time passes: free dirty pages become idle. Returns the mask of those that were so before, or, with `all`, of all
 * free dirty pages. */
uint64_t slab_age(const struct space *space, struct slab *slab, const struct divisor *d, bool all);

/* Counts what lies on these free pages as not free, so that nobody uses them and the slab lives on; and puts it
 * back as free, clean or, if the pages were not returned, dirty. */
void slab_hold(const struct space *space, struct slab *slab, const struct divisor *d, uint64_t pages);
void slab_release(const struct space *space, struct slab *slab, const struct divisor *d, bool returned);

/* The pages that are held. */
static inline uint64_t slab_held(const struct slab *slab) {
    return slab->clean & slab->idle;
}

/* The pages of a slab of that class. */
static inline uint64_t slab_all_pages(const struct space *space, const struct divisor *d) {
    size_t pages = ((size_t)d->slab_mask + 1) / space->page;
    return UINT64_MAX >> (64 - pages);
}

/* Whether the object is free; for an object that nobody allocates or frees meanwhile, without the lock too. */
bool slab_is_free(const struct space *space, const struct slab *slab, const struct divisor *d, uint32_t index);

/* Verifies the bitmap and the pages' states against each other; debug. */
void slab_check(const struct space *space, const struct slab *slab, const struct divisor *d);

#endif
