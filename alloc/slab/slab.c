/* Slabs. Locks: that of the slab's bin, held by the caller.
 *
 * Invariants: `free` is the number of ones in the bitmap, but for objects that overlap a held page; bits behind
 * the last object are zero; what is no longer free lies on dirty pages; idle and held pages are free; a slab is
 * marked sparse if a free page of it is dirty. */
#include "slab/slab.h"

#include "base/check.h"

static size_t words_of(const struct slab *slab) {
    return (slab->objects + 63u) / 64;
}

/* --- ranges of objects and of pages ---------------------------------------------------------------------- */

/* Objects, or pages, from `from` to below `to`. */
struct range {
    size_t from, to;
};

/* The bits of word w of a bitmap that belong to the range, which does not begin behind that word. */
static uint64_t range_bits(struct range r, size_t w) {
    uint64_t bits = UINT64_MAX;
    if (r.from > w * 64)
        bits <<= r.from - w * 64;
    if (r.to < w * 64 + 64)
        bits &= UINT64_MAX >> (w * 64 + 64 - r.to);
    return bits;
}

/* The lowest run of ones in a mask of pages that is not 0. */
static struct range first_pages(uint64_t mask) {
    size_t from = (size_t)__builtin_ctzl(mask);
    return (struct range){from, from + trailing_ones(mask >> from)};
}

static uint64_t pages_bits(struct range pages) {
    return range_bits(pages, 0);
}

static size_t index_at(const struct divisor *d, size_t offset) {
    return (size_t)((unsigned __int128)offset * d->reciprocal >> 64);
}

/* The objects that overlap these pages: none behind the last object. */
static struct range overlapping(const struct space *space, const struct slab *slab, const struct divisor *d,
                                struct range pages) {
    size_t from = index_at(d, pages.from * space->page), to = index_at(d, pages.to * space->page - 1) + 1;
    return (struct range){from, min_size(to, slab->objects)};
}

/* The objects that lie on these pages wholly. */
static struct range inside(const struct space *space, const struct slab *slab, const struct divisor *d,
                           struct range pages) {
    size_t size = class_bytes(slab->class);
    size_t from = index_at(d, pages.from * space->page + size - 1), to = index_at(d, pages.to * space->page);
    return (struct range){from, min_size(to, slab->objects)};
}

static bool all_free(const uint64_t *bits, struct range objects) {
    for (size_t w = objects.from / 64; w * 64 < objects.to; w++)
        if ((~bits[w] & range_bits(objects, w)) != 0)
            return false;
    return true;
}

/* The pages that an object at that offset overlaps. */
static uint64_t pages_at(const struct space *space, size_t offset, size_t size) {
    int shift = __builtin_ctzl(space->page);
    return pages_bits((struct range){offset >> shift, ((offset + size - 1) >> shift) + 1});
}

/* --- making, taking and putting back --------------------------------------------------------------------- */

struct slab *slab_make(const struct space *space, size_t unit, unsigned class, const struct divisor *d,
                       enum slab_pages pages) {
    struct slab *slab = space_meta(space, unit);
    list_init(&slab->link);
    slab->clean = pages == SLAB_DIRTY ? 0 : slab_all_pages(space, d);
    slab->idle = 0;
    slab->free = slab->objects = (uint16_t)objects_of(d);
    slab->class = (uint8_t) class;
    slab->level = 0;
    slab->sparse = false;
    slab->fresh = pages == SLAB_FRESH;
    slab->flushing = false;
    uint64_t *bits = slab_bits(space, slab, d);
    size_t words = words_of(slab);
    for (size_t w = 0; w < words; w++)
        __atomic_store_n(&bits[w], UINT64_MAX, __ATOMIC_RELAXED);
    if (slab->objects % 64 != 0)
        __atomic_store_n(&bits[words - 1], ((uint64_t)1 << slab->objects % 64) - 1, __ATOMIC_RELAXED);
    return slab;
}

/* Takes up to `count` of the wanted objects of one word of the bitmap, the first of which lies at `first`, the
 * others below it. Others may look at the array meanwhile (revoke.c). */
static inline size_t take_word(uint64_t *word, uint64_t wanted, uintptr_t first, size_t size, size_t count,
                               void **objects) {
    uint64_t before = *word, left = before & wanted, taken = 0;
    while (left != 0 && taken < count) {
        size_t lowest = (size_t)__builtin_ctzl(left);
        size_t row = min_size(count - taken, trailing_ones(left >> lowest)), next = lowest + row;
        uintptr_t p = first - lowest * size;
        left = next < 64 ? left >> next << next : 0;
        for (void **end = objects + taken + row, **to = objects + taken; to < end; to++, p -= size) {
            __builtin_prefetch((void *)p); /* it will be written to soon */
            __atomic_store_n(to, (void *)p, __ATOMIC_RELAXED);
        }
        taken += row;
    }
    __atomic_store_n(word, (before & ~wanted) | left, __ATOMIC_RELAXED);
    return taken;
}

/* Where the object of that index is. */
static uintptr_t address_of(const struct space *space, const struct slab *slab, const struct divisor *d,
                            size_t index) {
    uintptr_t last_byte = unit_address(&space->map, space_unit_of_meta(space, slab)) | d->slab_mask;
    return last_byte + 1 - (index + 1) * class_bytes(slab->class);
}

/* Takes objects that lie wholly on these pages. */
static size_t take_from_pages(const struct space *space, struct slab *slab, const struct divisor *d,
                              uint64_t pages, size_t count, void **objects) {
    uint64_t *bits = slab_bits(space, slab, d);
    size_t size = class_bytes(slab->class), taken = 0;
    for (; pages != 0 && taken < count; pages &= ~pages_bits(first_pages(pages))) {
        struct range range = inside(space, slab, d, first_pages(pages));
        for (size_t w = range.from / 64; w * 64 < range.to && taken < count; w++)
            taken += take_word(&bits[w], range_bits(range, w), address_of(space, slab, d, w * 64), size,
                               count - taken, objects + taken);
    }
    return taken;
}

/* Objects on these pages are in use now. */
static void note_touched(struct slab *slab, uint64_t touched, size_t *refaulted) {
    if (!slab->fresh)
        *refaulted += popcount(slab->clean & touched);
    slab->clean &= ~touched;
    slab->idle &= ~touched;
}

/* Takes the first objects. */
static inline size_t take_first(const struct space *space, struct slab *slab, const struct divisor *d,
                                size_t count, void **objects) {
    uint64_t *bits = slab_bits(space, slab, d);
    size_t size = class_bytes(slab->class), words = words_of(slab), taken = 0;
    uintptr_t first = address_of(space, slab, d, 0);
    for (size_t w = 0; w < words && taken < count; w++, first -= 64 * size)
        taken += take_word(&bits[w], UINT64_MAX, first, size, count - taken, objects + taken);
    return taken;
}

/* Where not all pages are dirty: rather what needs no page of the system. */
static NOINLINE size_t take_dirty_first(const struct space *space, struct slab *slab, const struct divisor *d,
                                        size_t count, void **objects, size_t *refaulted) {
    uint64_t all = slab_all_pages(space, d), dirty = all & ~slab->clean, touched = 0;
    size_t size = class_bytes(slab->class), taken;
    bool dirty_are_first = (dirty & (dirty + 1)) == 0; /* as in a slab that fills */
    if (dirty_are_first && slab->idle == 0) {
        taken = take_first(space, slab, d, count, objects);
        size_t end = (object_index(d, objects[taken - 1]) + 1) * size; /* and before it no object is free now */
        note_touched(slab, pages_at(space, 0, end), refaulted);
        return taken;
    }
    taken = take_from_pages(space, slab, d, dirty, count, objects);
    taken += take_from_pages(space, slab, d, all & ~slab_held(slab), count - taken, objects + taken);
    for (size_t i = 0; i < taken; i++)
        touched |= pages_at(space, object_index(d, objects[i]) * size, size);
    note_touched(slab, touched, refaulted);
    return taken;
}

size_t slab_take(const struct space *space, struct slab *slab, const struct divisor *d, size_t count,
                 void **objects, size_t *refaulted) {
    size_t taken = LIKELY((slab->clean | slab->idle) == 0)
                       ? take_first(space, slab, d, count, objects)
                       : take_dirty_first(space, slab, d, count, objects, refaulted);
    slab->free = (uint16_t)(slab->free - taken);
    return taken;
}

/* Marks these objects free. Returns how many were so before, and stores one of them in *already_free. */
static size_t put_range(const struct space *space, const struct slab *slab, const struct divisor *d,
                        struct range objects, void **already_free) {
    uint64_t *bits = slab_bits(space, slab, d);
    size_t were_free = 0;
    for (size_t w = objects.from / 64; w * 64 < objects.to; w++) {
        uint64_t wanted = range_bits(objects, w), again = bits[w] & wanted;
        if (UNLIKELY(again != 0)) {
            *already_free = (void *)address_of(space, slab, d, w * 64 + (size_t)__builtin_ctzl(again));
            were_free += popcount(again);
        }
        __atomic_store_n(&bits[w], bits[w] | wanted, __ATOMIC_RELAXED);
    }
    return were_free;
}

size_t slab_put_row(const struct space *space, struct slab *slab, const struct divisor *d, size_t count,
                    void *const *objects, void **already_free) {
    size_t size = class_bytes(slab->class), index = object_index(d, objects[0]), done = 1;
    bool falls = count > 1 && objects[1] < objects[0]; /* then indices rise */
    size_t step = falls ? -size : size, most = min_size(count, falls ? slab->objects - index : index + 1);
    for (const char *next = (char *)objects[0] + step; done < most && objects[done] == next; next += step)
        done++;
    size_t from = falls ? index : index + 1 - done;
    size_t were_free = put_range(space, slab, d, (struct range){from, from + done}, already_free);
    slab->free = (uint16_t)(slab->free + done - were_free);
    return done;
}

bool slab_is_free(const struct space *space, const struct slab *slab, const struct divisor *d, uint32_t index) {
    return (__atomic_load_n(&slab_bits(space, slab, d)[index / 64], __ATOMIC_RELAXED) >> index % 64 & 1) != 0;
}

/* --- free pages ------------------------------------------------------------------------------------------ */

uint32_t slab_sparse_from(const struct space *space, unsigned class, const struct divisor *d) {
    size_t size = class_bytes(class), last = align_down(d->slab_end - 1, space->page);
    size_t on_last = objects_of(d) - index_at(d, last); /* the last page with objects may have fewer than others */
    return (uint32_t)min_size((space->page + size - 1) / size, on_last);
}

/* The dirty pages that no object in use overlaps. */
static uint64_t free_dirty_pages(const struct space *space, const struct slab *slab, const struct divisor *d) {
    const uint64_t *bits = slab_bits(space, slab, d);
    uint64_t free = 0;
    for (uint64_t left = ~slab->clean & slab_all_pages(space, d); left != 0; left &= left - 1) {
        size_t page = (size_t)__builtin_ctzl(left);
        if (all_free(bits, overlapping(space, slab, d, (struct range){page, page + 1})))
            free |= (uint64_t)1 << page;
    }
    return free;
}

uint64_t slab_age(const struct space *space, struct slab *slab, const struct divisor *d, bool all) {
    uint64_t free = free_dirty_pages(space, slab, d), ripe = all ? free : free & slab->idle;
    slab->idle = free | slab_held(slab);
    return ripe;
}

/* The free objects that overlap these pages. */
static size_t count_on(const struct space *space, const struct slab *slab, const struct divisor *d,
                       uint64_t pages) {
    const uint64_t *bits = slab_bits(space, slab, d);
    size_t count = 0, counted = 0; /* objects before this one: it may overlap two runs of pages */
    for (; pages != 0; pages &= ~pages_bits(first_pages(pages))) {
        struct range objects = overlapping(space, slab, d, first_pages(pages));
        objects.from = max_size(objects.from, counted);
        for (size_t w = objects.from / 64; w * 64 < objects.to; w++)
            count += popcount(bits[w] & range_bits(objects, w));
        counted = max_size(counted, objects.to);
    }
    return count;
}

void slab_hold(const struct space *space, struct slab *slab, const struct divisor *d, uint64_t pages) {
    ASSERT(slab_held(slab) == 0 && (pages & slab->clean) == 0);
    slab->free = (uint16_t)(slab->free - count_on(space, slab, d, pages));
    slab->clean |= pages;
    slab->idle |= pages;
}

void slab_release(const struct space *space, struct slab *slab, const struct divisor *d, bool returned) {
    uint64_t pages = slab_held(slab);
    slab->free = (uint16_t)(slab->free + count_on(space, slab, d, pages));
    slab->idle &= ~pages;
    if (returned)
        slab->fresh = false;
    else
        slab->clean &= ~pages;
}

void slab_check(const struct space *space, const struct slab *slab, const struct divisor *d) {
    const uint64_t *bits = slab_bits(space, slab, d);
    size_t words = words_of(slab), free = 0, size = class_bytes(slab->class);
    uint64_t held = slab_held(slab), needed = 0;
    for (size_t w = 0; w < words; w++)
        free += popcount(bits[w]);
    VERIFY(free == slab->free + count_on(space, slab, d, held) && free <= slab->objects);
    VERIFY(slab->objects % 64 == 0 || bits[words - 1] >> slab->objects % 64 == 0);
    VERIFY(((slab->clean | slab->idle) & ~slab_all_pages(space, d)) == 0);
    for (uint32_t i = 0; i < slab->objects; i++)
        if (!slab_is_free(space, slab, d, i))
            needed |= pages_at(space, i * size, size);
    VERIFY((needed & (slab->clean | slab->idle)) == 0);
    VERIFY(free_dirty_pages(space, slab, d) == 0 || slab->sparse);
}
