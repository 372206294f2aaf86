/* What a pointer into a region points to, and the free of that by a thread that does not fill the region. No
 * locks: marks are read as they are, and one bit is set. */
#include "scope/region.h"

static size_t granule_at(const struct regions *regions, unsigned kind, const void *p) {
    const struct shape *shape = &regions->shape[kind - UNIT_REGION];
    return ((uintptr_t)p & shape->mask) >> shape->shift;
}

enum region_answer region_look(const struct regions *regions, unsigned kind, const void *p) {
    const struct region *region = region_of(regions, kind, p);
    const struct shape *shape = &regions->shape[kind - UNIT_REGION];
    const struct stripe *stripes = region_stripes(regions, region);
    size_t granule = granule_at(regions, kind, p);
    uint64_t bit = granule_bit(granule);
    const struct stripe *stripe = &stripes[granule / STRIPE_GRANULES];
    bool starts = (bits_get(&stripe->start) & bit) != 0 && ((uintptr_t)p & (((size_t)1 << shape->shift) - 1)) == 0;
    if (UNLIKELY(atomic_load_explicit(&region->stocked, memory_order_relaxed)))
        return starts ? OBJECT_DEAD : OBJECT_NONE;
    if (LIKELY(starts))
        return (marks_live(stripe) & bit) != 0 ? OBJECT_LIVE : OBJECT_DEAD;
    size_t at = granule + 1; /* what starts last before: */
    while (at > 0 && (bits_get(&stripes[(at - 1) / STRIPE_GRANULES].start) & granule_bit(at - 1)) == 0)
        at--;
    bool inside = at > 0 && (marks_live(&stripes[(at - 1) / STRIPE_GRANULES]) & granule_bit(at - 1)) != 0;
    return inside ? OBJECT_INSIDE : OBJECT_NONE;
}

size_t region_usable(const struct regions *regions, unsigned kind, const void *p) {
    const struct shape *shape = &regions->shape[kind - UNIT_REGION];
    const struct stripe *stripes = region_stripes(regions, region_of(regions, kind, p));
    return marks_length(shape, stripes, granule_at(regions, kind, p)) << shape->shift;
}

/* After a free, of a region without an owner: always where nothing lives in the stripe any more. Where the region
 * was full and so is on no list, one object in each of its stripes would keep it from all scopes: so also each
 * time that the stripe has half as many left. */
static bool is_worth_noting(const struct region *region, const struct stripe *stripe) {
    uint64_t live = marks_live(stripe);
    return live == 0 || (atomic_load_explicit(&region->full, memory_order_relaxed) &&
                         (popcount(live) & (popcount(live) - 1)) == 0);
}

enum region_answer region_free_remote(struct regions *regions, struct region *region, void *p) {
    size_t granule = granule_at(regions, (unsigned)UNIT_REGION + region->shape, p);
    struct stripe *stripe = &region_stripes(regions, region)[granule / STRIPE_GRANULES];
    uint64_t bit = granule_bit(granule);
    if (UNLIKELY((atomic_fetch_or_explicit(&stripe->freed_remote, bit, memory_order_seq_cst) & bit) != 0))
        return OBJECT_DEAD;
    regions_set_pending(regions);
    /* From here on the region may be gone, and its metadata another's: only region_note_free knows. */
    if (atomic_load_explicit(&region->owner, memory_order_seq_cst) == 0 && is_worth_noting(region, stripe))
        region_note_free(regions, region);
    return OBJECT_LIVE;
}
