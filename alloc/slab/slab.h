/* A slab: one run of units cut into objects of one size class, with a bitmap of the free ones beside the heap.
 * The objects are never touched. The caller holds the lock of the class's bin. */
#ifndef NEAP_SLAB_SLAB_H
#define NEAP_SLAB_SLAB_H

#include "base/list.h"
#include "page/space.h"
#include "slab/size_class.h"

enum { SLAB_INLINE_WORDS = 4 };

struct slab {
    struct list link;                /* in its bin, while some objects are free */
    uint64_t few[SLAB_INLINE_WORDS]; /* the bitmap, where it has no more words; 1: free */
    uint16_t free;                   /* how many objects are free */
    uint16_t objects;
    uint8_t class;
    uint8_t level; /* the bin's list it is on */
};
_Static_assert(sizeof(struct slab) <= UNIT_META_BYTES, "a slab's metadata fits its first unit's");

/* Makes a slab of class `class` of the run that starts at unit, all objects free. */
struct slab *slab_make(const struct space *space, size_t unit, unsigned class, const struct divisor *d);

/* Takes up to `count` free objects, lowest addresses first, and stores pointers to them. Returns how many. */
size_t slab_take(const struct space *space, struct slab *slab, size_t count, void **objects);

/* Marks those objects free that lie in this slab, from the first to the first that does not; the first one does.
 * Returns how many these are. One that is free already is skipped, and stored in *already_free. */
size_t slab_put(const struct space *space, struct slab *slab, const struct divisor *d, size_t count,
                void *const *objects, void **already_free);

/* Whether the object is free; for an object that nobody allocates or frees meanwhile, without the lock too. */
bool slab_is_free(const struct space *space, const struct slab *slab, uint32_t index);

/* Verifies the bitmap against the count; debug. */
void slab_check(const struct space *space, const struct slab *slab);

#endif
