/* What a pointer into a region points to. No locks: marks are read as they are. */
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
