/* Regions.
 *
 * Locks: regions->lock for lists and for who owns a region; the bits of a region need none. `start`, `freed` and
 * `old` are written by one thread at a time: who fills the region or, while it has an owner that nobody fills for,
 * whoever has that owner; `freed_remote` by all, with read-modify-writes. No lock is held while runs are taken or
 * given back, nor over a system call.
 *
 * A region's last free may meet its loss of an owner. The free sets its bit and then looks for the owner; who
 * takes the owner away looks at the bits after that, with a fence between. So at least one of them sees the
 * other.
 *
 * Invariants: the first granule of a region starts a segment; a region without an owner that has room is on the
 * list of its level, one without objects in the stock or given back; kinds change under the lock; what is stocked
 * and whose pages nobody returns is on the list of the stock. */
#include "scope/region.h"

#include "base/check.h"
#include "os/os.h"

#include <string.h>

enum {
    STOCK_BYTES = 1 << 20, /* of empty regions of a shape that are kept for the next scope */
    LOOK_AT = 4,           /* regions of a level, or of the owner, that are looked at for room */
    OWN_FREE = 32,         /* of a part of so many of the owner's */
    BATCH_REGIONS = 64,    /* whose pages are returned in one go, */
    BATCH_RANGES = 64,     /* in about so many ranges */
    REGION_RANGES = 8,     /* of 16 pages at most */
};

void regions_init(struct regions *regions, struct runs *runs) {
    size_t page = runs->space.page;
    regions->runs = runs;
    lock_init(&regions->lock, RANK_SCOPES);
    list_init(&regions->all);
    regions->shape[REGION_NARROW] =
        (struct shape){.bytes = (uint32_t)max_size(1 << PART_SHIFT, page), .shift = NARROW_SHIFT};
    regions->shape[REGION_MIDDLE] = regions->shape[REGION_NARROW];
    regions->shape[REGION_WIDE] =
        (struct shape){.bytes = (uint32_t)max_size(UNIT_BYTES, page), .shift = WIDE_SHIFT};
    regions->narrow_mask = ~((uintptr_t)(regions->shape[REGION_NARROW].bytes >> PART_SHIFT) * PART_META_BYTES - 1);
    for (size_t s = 0; s < REGION_SHAPES; s++) {
        struct shape *shape = &regions->shape[s];
        shape->mask = shape->bytes - 1;
        shape->stripes = (shape->bytes >> shape->shift) / STRIPE_GRANULES;
        list_init(&regions->stock[s]);
        for (size_t level = 0; level < REGION_LEVELS; level++)
            list_init(&regions->partial[s][level]);
    }
}

static const struct shape *shape_of(const struct regions *regions, const struct region *region) {
    return &regions->shape[region->shape];
}

static bool is_stocked(const struct region *region) {
    return atomic_load_explicit(&region->stocked, memory_order_relaxed);
}

static void set_stocked(struct region *region, bool stocked) {
    atomic_store_explicit(&region->stocked, stocked, memory_order_relaxed);
}

/* The first region of the block that this one lies in. */
static struct region *first_of_block(const struct regions *regions, const struct region *region) {
    const struct space *space = &regions->runs->space;
    return space_part(space, align_down(space_number_of_part(space, region), UNIT_PARTS));
}

/* The next one there, or NULL. */
static struct region *next_of_block(const struct regions *regions, const struct region *region) {
    const struct space *space = &regions->runs->space;
    size_t next = space_number_of_part(space, region) + (shape_of(regions, region)->bytes >> PART_SHIFT);
    return next % UNIT_PARTS != 0 ? space_part(space, next) : NULL;
}

static size_t block_unit(const struct regions *regions, const struct region *region) {
    return space_number_of_part(&regions->runs->space, region) / UNIT_PARTS;
}

static size_t block_units(const struct regions *regions, const struct region *region) {
    return max_size(shape_of(regions, region)->bytes >> UNIT_SHIFT, 1);
}

static void set_kind(const struct regions *regions, const struct region *region, unsigned kind) {
    uint8_t *kinds = &regions->runs->space.map.kind[block_unit(regions, region)];
    for (size_t i = 0; i < block_units(regions, region); i++)
        __atomic_store_n(&kinds[i], (uint8_t)kind, __ATOMIC_RELEASE);
}

static bool is_empty(const struct regions *regions, const struct region *region) {
    return marks_are_empty(shape_of(regions, region), region_stripes(regions, region));
}

/* How many of REGION_LEVELS parts of it are free. Stores how long the longest hole is. */
static size_t level_of(const struct regions *regions, const struct region *region, size_t *longest) {
    const struct shape *shape = shape_of(regions, region);
    size_t free = marks_free(shape, region_stripes(regions, region), longest);
    return free * REGION_LEVELS / (shape->stripes * STRIPE_GRANULES);
}

struct load region_load(const struct regions *regions, const struct region *region) {
    return marks_count(shape_of(regions, region), region_stripes(regions, region), false);
}

/* --- regions without an owner ---------------------------------------------------------------------------- */

/* Whether all others of its block are in the stock, and where that is asked for, without a page that may be
 * resident. The caller holds the lock. */
static bool others_are_stocked(const struct regions *regions, const struct region *region, bool clean) {
    for (const struct region *r = first_of_block(regions, region); r != NULL; r = next_of_block(regions, r))
        if (r != region && (!is_stocked(r) || r->purger != 0 || (clean && r->dirty != 0)))
            return false;
    return true;
}

/* Takes a block out of the regions: an empty region that is on no list, and others that are in the stock. The
 * caller holds the lock. */
static void expel(struct regions *regions, struct region *region, struct list *excess) {
    struct region *first = first_of_block(regions, region);
    set_kind(regions, first, UNIT_LARGE_BODY);
    for (struct region *r = first; r != NULL; r = next_of_block(regions, r)) {
        bits_set(&region_stripes(regions, r)->start, 0); /* see is_there */
        list_remove(&r->all);
        list_remove(&r->link);
        first->dirty |= r->dirty;
        counter_sub(&regions->count, 1);
        counter_sub(&regions->stocked[r->shape], r != region && r->dirty != 0);
    }
    counter_sub(&regions->units, block_units(regions, first));
    list_push_back(excess, &first->link);
}

/* Puts a stocked region on the list of the stock, from where it is taken last. The caller holds the lock. */
static void restock(struct regions *regions, struct region *region) {
    list_push_back(&regions->stock[region->shape], &region->link);
    counter_add(&regions->stocked[region->shape], region->dirty != 0);
}

/* Keeps an empty region, or not. The caller holds the lock. */
static void stock(struct regions *regions, struct region *region, struct list *excess) {
    counter *stocked = &regions->stocked[region->shape];
    list_remove(&region->link);
    set_stocked(region, true);
    region->idle = 0;
    bool is_full = (counter_get(stocked) + 1) * shape_of(regions, region)->bytes > STOCK_BYTES;
    if (is_full && others_are_stocked(regions, region, false)) {
        expel(regions, region, excess);
        return;
    }
    list_push_front(&regions->stock[region->shape], &region->link);
    counter_add(stocked, region->dirty != 0);
}

/* Puts a region without an owner where it belongs. The caller holds the lock. */
static void enlist(struct regions *regions, struct region *region, struct list *excess) {
    regions_set_pending(regions);
    if (region->purger != 0)
        return; /* who returns its pages does it */
    if (is_empty(regions, region)) {
        stock(regions, region, excess);
        return;
    }
    size_t longest, level = level_of(regions, region, &longest);
    list_remove(&region->link);
    region->longest = (uint16_t)longest;
    atomic_store_explicit(&region->full, level == 0, memory_order_relaxed);
    if (level > 0)
        list_push_front(&regions->partial[region->shape][level], &region->link);
}

/* Of what was a region: whether it still is one. The caller holds the lock. */
static bool is_there(const struct regions *regions, const struct region *region) {
    return (bits_get(&region_stripes(regions, region)->start) & 1) != 0;
}

/* If the freed object was the last one, others may have given the region back meanwhile. */
void region_note_free(struct regions *regions, struct region *region) {
    struct list excess;
    list_init(&excess);
    lock_acquire(&regions->lock);
    if (is_there(regions, region) && atomic_load_explicit(&region->owner, memory_order_seq_cst) == 0 &&
        !is_stocked(region))
        enlist(regions, region, &excess);
    lock_release(&regions->lock);
    region_give_back(regions, &excess);
}

struct load region_retire(struct regions *regions, struct region *region, struct list *excess) {
    struct load load = {0};
    if (!is_empty(regions, region))
        load = region_load(regions, region);
    region->current = false;
    list_remove(&region->link);
    atomic_store_explicit(&region->owner, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    enlist(regions, region, excess);
    return load;
}

void region_clear(struct regions *regions, struct region *region, struct list *excess) {
    if (region->shared) {
        marks_kill_young(shape_of(regions, region), region_stripes(regions, region));
        region_retire(regions, region, excess);
        return;
    }
    region->current = false;
    atomic_store_explicit(&region->owner, 0, memory_order_relaxed);
    if (region->purger != 0) { /* whoever is, looks at the bits */
        marks_wipe(shape_of(regions, region), region_stripes(regions, region));
        list_remove(&region->link);
    } else {
        stock(regions, region, excess);
    }
}

void region_give_back(struct regions *regions, struct list *excess) {
    while (!list_empty(excess)) {
        struct region *region = LIST_ENTRY(excess->next, struct region, link);
        size_t unit = block_unit(regions, region), units = block_units(regions, region);
        bool dirty = region->dirty != 0;
        list_remove(&region->link);
        while (!list_empty(excess)) { /* what lies side by side goes as one */
            struct region *next = LIST_ENTRY(excess->next, struct region, link);
            size_t at = block_unit(regions, next), more = block_units(regions, next);
            if ((next->dirty != 0) != dirty || (at != unit + units && at + more != unit))
                break;
            list_remove(&next->link);
            unit = min_size(unit, at);
            units += more;
        }
        run_free(regions->runs, unit, units, dirty ? RUN_DIRTY : RUN_CLEAN);
    }
}

/* --- owners ---------------------------------------------------------------------------------------------- */

static uint16_t all_pages(const struct regions *regions, const struct region *region) {
    return (uint16_t)(((uint32_t)1 << shape_of(regions, region)->bytes / regions->runs->space.page) - 1);
}

static bool find_hole(const struct regions *regions, const struct region *region, size_t granules,
                      struct hole *hole) {
    return marks_find_hole(shape_of(regions, region), region_stripes(regions, region), 0, granules, hole);
}

/* Of an owner's own regions, the next few in turn: one of which a 32nd is free. The caller holds the lock. */
static struct region *find_own(struct regions *regions, size_t granules, struct list *mine, struct hole *hole) {
    const struct list *last = mine->next; /* in turn: it is looked at last */
    for (size_t i = 0; i < LOOK_AT && !list_empty(mine); i++) {
        struct region *region = LIST_ENTRY(mine->prev, struct region, link);
        i = &region->link == last ? LOOK_AT : i;
        list_remove(&region->link);
        list_push_front(mine, &region->link);
        if (region->current || region->purger != 0)
            continue;
        const struct shape *shape = shape_of(regions, region);
        const struct stripe *stripes = region_stripes(regions, region);
        if (find_hole(regions, region, granules, hole) &&
            marks_have_free(shape, stripes, shape->bytes / OWN_FREE >> shape->shift))
            return region;
    }
    return NULL;
}

/* The fullest region with survivors that has such a hole, else an empty one. The caller holds the lock. */
static struct region *find(struct regions *regions, unsigned shape, size_t granules) {
    for (size_t level = 1; level < REGION_LEVELS; level++) {
        struct list *head = &regions->partial[shape][level], *l = head->next;
        for (size_t i = 0; i < LOOK_AT && l != head; i++, l = l->next) {
            struct region *region = LIST_ENTRY(l, struct region, link);
            if (region->longest >= granules)
                return region;
        }
    }
    if (list_empty(&regions->stock[shape]))
        return NULL;
    struct region *region = LIST_ENTRY(regions->stock[shape].next, struct region, link);
    counter_sub(&regions->stocked[shape], region->dirty != 0);
    return region;
}

/* Gives a region to an owner. The caller holds the lock. */
static void adopt(struct regions *regions, struct region *region, uint64_t owner, struct list *mine) {
    list_remove(&region->link);
    list_push_front(mine, &region->link);
    region->current = true;
    region->idle = 0;
    if (atomic_load_explicit(&region->owner, memory_order_relaxed) == owner)
        return;
    if (is_stocked(region)) {
        marks_wipe(shape_of(regions, region), region_stripes(regions, region));
        set_stocked(region, false);
        region->shared = false;
    } else {
        region->shared = true;
        marks_age(shape_of(regions, region), region_stripes(regions, region));
    }
    atomic_store_explicit(&region->owner, owner, memory_order_relaxed);
}

/* The first region of a block from the runs, which nobody knows of yet. */
static struct region *make(struct regions *regions, unsigned shape) {
    struct space *space = &regions->runs->space;
    size_t units = max_size(regions->shape[shape].bytes >> UNIT_SHIFT, 1);
    size_t used_end = counter_get(&regions->runs->used_end);
    bool zeroed;
    size_t unit = run_alloc(
        regions->runs,
        &(struct run_request){
            .units = units, .align_units = units, .first_kind = UNIT_LARGE_BODY, .other_kind = UNIT_LARGE_BODY},
        &zeroed);
    if (unit == 0)
        return NULL;
    if (!runs_map_marks(regions->runs, unit + units)) {
        run_free(regions->runs, unit, units, zeroed ? RUN_CLEAN : RUN_DIRTY);
        return NULL;
    }
    struct region *first = space_part(space, unit * UNIT_PARTS);
    first->shape = (uint8_t)shape; /* next_of_block looks at it */
    for (struct region *region = first; region != NULL; region = next_of_block(regions, region)) {
        *region = (struct region){.shape = (uint8_t)shape, .stocked = true};
        list_init(&region->link);
        list_init(&region->all);
        region->dirty = zeroed ? 0 : all_pages(regions, region);
        region->returned = zeroed && unit < used_end ? all_pages(regions, region) : 0;
    }
    return first;
}

/* Makes a block known: its first region is the caller's, the others go into the stock. The caller holds the lock.
 */
static void publish(struct regions *regions, struct region *first) {
    for (struct region *region = first; region != NULL; region = next_of_block(regions, region)) {
        list_push_back(&regions->all, &region->all);
        counter_add(&regions->count, 1);
        marks_wipe(shape_of(regions, region), region_stripes(regions, region));
        if (region != first)
            restock(regions, region);
    }
    counter_add(&regions->units, block_units(regions, first));
    set_kind(regions, first, (unsigned)UNIT_REGION + first->shape);
}

struct region *region_acquire(struct regions *regions, unsigned shape, size_t granules, uint64_t owner,
                              struct list *mine, struct region *left, struct hole *hole) {
    lock_acquire(&regions->lock);
    if (left != NULL)
        left->current = false;
    regions_set_pending(regions);
    struct region *region = find_own(regions, granules, mine, hole);
    bool is_own = region != NULL;
    if (region == NULL)
        region = find(regions, shape, granules);
    if (region == NULL) {
        lock_release(&regions->lock);
        region = make(regions, shape);
        if (region == NULL)
            return NULL;
        lock_acquire(&regions->lock);
        publish(regions, region);
    }
    adopt(regions, region, owner, mine);
    if (region_is_page(regions, shape))
        region_note_pages(regions, region, 1);
    lock_release(&regions->lock);
    bool found = is_own || find_hole(regions, region, granules, hole);
    VERIFY(found);
    region->scanned = (uint16_t)hole->end;
    return region;
}

/* --- returning memory ------------------------------------------------------------------------------------ */

/* Bit a page that no live object touches. */
static uint16_t dead_pages(const struct regions *regions, const struct region *region) {
    const struct shape *shape = shape_of(regions, region);
    size_t pages = shape->bytes / regions->runs->space.page;
    return (uint16_t)marks_free_pages(shape, region_stripes(regions, region), shape->stripes / pages);
}

/* Regions whose pages one thread returns, without the lock. */
struct batch {
    size_t regions, ranges;
    struct {
        struct region *region;
        uint16_t pages;
        uint16_t ranges; /* that these are */
    } returned[BATCH_REGIONS];
    struct os_range range[BATCH_RANGES + REGION_RANGES];
};

static bool is_full(const struct batch *batch) {
    return batch->regions == BATCH_REGIONS || batch->ranges >= BATCH_RANGES;
}

static void add(const struct regions *regions, struct batch *batch, struct region *region, uint16_t pages) {
    size_t page = regions->runs->space.page, before = batch->ranges;
    for (uint32_t left = pages; left != 0;) {
        unsigned from = (unsigned)__builtin_ctz(left), count = trailing_ones(left >> from);
        batch->range[batch->ranges++] = (struct os_range){
            .addr = (uintptr_t)region_base(regions, region) + from * page, .bytes = count * page};
        left &= ~((((uint32_t)1 << count) - 1) << from);
    }
    batch->returned[batch->regions].region = region;
    batch->returned[batch->regions].pages = pages;
    batch->returned[batch->regions++].ranges = (uint16_t)(batch->ranges - before);
}

/* What one tick does with one region. Returns the pages to be returned; it is then marked as being purged. An
 * empty region without an owner is purged once all that is dirty of it is ripe, and goes to the runs when all of
 * its block is so. One with an owner stays: what the owner's thread knows of its last objects (recent_push_again)
 * holds while nobody else has their place. */
static uint16_t visit(struct regions *regions, struct region *region, bool all, struct list *excess) {
    if (region->current || region->purger != 0)
        return 0;
    bool owned = atomic_load_explicit(&region->owner, memory_order_relaxed) != 0;
    bool empty = !owned && (is_stocked(region) || is_empty(regions, region));
    uint16_t due = (empty ? all_pages(regions, region) : dead_pages(regions, region)) & region->dirty;
    uint16_t ripe = all ? due : due & region->idle;
    bool leaves = empty && ripe == due;
    region->idle = (uint16_t)(empty && !leaves ? due : due & ~ripe);
    if (region->idle != 0)
        regions_set_pending(regions);
    if (!leaves && (empty || ripe == 0))
        return 0;
    if (ripe == 0 && !others_are_stocked(regions, region, true)) {
        if (!is_stocked(region)) {
            list_remove(&region->link);
            set_stocked(region, true);
            restock(regions, region);
        }
        return 0;
    }
    if (is_stocked(region))
        counter_sub(&regions->stocked[region->shape], region->dirty != 0);
    if (leaves)
        set_stocked(region, true);
    if (!owned)
        list_remove(&region->link);
    if (ripe == 0)
        expel(regions, region, excess);
    else
        region->purger = lock_thread_id();
    return ripe;
}

/* Returns the pages of the batch, and puts its regions back. Returns how many bytes went. */
static size_t finish(struct regions *regions, struct batch *batch) {
    struct list excess;
    size_t pages = 0;
    const struct os_range *range = batch->range;
    list_init(&excess);
    os_purge_ranges(batch->range, batch->ranges);
    lock_acquire(&regions->lock);
    for (size_t i = 0; i < batch->regions; i++) {
        struct region *region = batch->returned[i].region;
        uint16_t gone = batch->returned[i].pages;
        for (size_t r = 0; r < batch->returned[i].ranges; r++, range++)
            gone = range->purged ? gone : 0; /* of some it is not known: they count as dirty */
        region->dirty = (uint16_t)(region->dirty & ~gone);
        region->returned = (uint16_t)(region->returned | gone);
        region->purger = 0;
        pages += popcount(gone);
        if (is_stocked(region) && others_are_stocked(regions, region, true))
            expel(regions, region, &excess);
        else if (is_stocked(region))
            restock(regions, region);
        else if (atomic_load_explicit(&region->owner, memory_order_relaxed) == 0)
            enlist(regions, region, &excess);
    }
    lock_release(&regions->lock);
    region_give_back(regions, &excess);
    atomic_fetch_add_explicit(&regions->runs->purged_pages, pages, memory_order_relaxed);
    return pages * regions->runs->space.page;
}

size_t regions_tick(struct regions *regions, bool all) {
    struct batch batch;
    struct list excess;
    size_t bytes = 0, left = counter_get(&regions->count);
    list_init(&excess);
    if (!all && !regions_pending(regions))
        return 0;
    atomic_store_explicit(&regions->pending, false, memory_order_relaxed);
    while (left > 0) {
        batch.regions = batch.ranges = 0;
        lock_acquire(&regions->lock);
        for (size_t i = 0; i < BATCH_REGIONS && left > 0 && !is_full(&batch) && !list_empty(&regions->all);
             i++, left--) {
            struct region *region = LIST_ENTRY(regions->all.next, struct region, all);
            list_remove(&region->all);
            list_push_back(&regions->all, &region->all);
            uint16_t pages = visit(regions, region, all, &excess);
            if (pages != 0)
                add(regions, &batch, region, pages);
        }
        left = list_empty(&regions->all) ? 0 : left;
        lock_release(&regions->lock);
        if (batch.regions > 0)
            bytes += finish(regions, &batch);
        region_give_back(regions, &excess);
    }
    return bytes;
}

void regions_after_fork(struct regions *regions) {
    if (!regions->lock.for_fork)
        return; /* the thread was interrupted in here */
    for (struct list *l = regions->all.next; l != &regions->all; l = l->next) {
        struct region *region = LIST_ENTRY(l, struct region, all);
        if (region->purger == 0 || region->purger == lock_thread_id())
            continue;
        region->purger = 0;
        if (is_stocked(region)) {
            restock(regions, region);
        } else if (atomic_load_explicit(&region->owner, memory_order_relaxed) == 0) {
            size_t longest;
            level_of(regions, region, &longest); /* it may be empty: the next tick finds it */
            region->longest = (uint16_t)longest;
            atomic_store_explicit(&region->full, false, memory_order_relaxed);
            list_push_front(&regions->partial[region->shape][REGION_LEVELS - 1], &region->link);
        }
    }
}

/* --- debug ----------------------------------------------------------------------------------------------- */

static void check_region(const struct regions *regions, const struct region *region) {
    const struct stripe *stripes = region_stripes(regions, region);
    const struct shape *shape = shape_of(regions, region);
    VERIFY(region->shape < REGION_SHAPES);
    VERIFY((bits_get(&stripes[0].start) & 1) != 0);
    VERIFY(region->current || (region->dirty & ~all_pages(regions, region)) == 0);
    VERIFY(!is_stocked(region) || (region->owner == 0 && !region->current));
    VERIFY(is_stocked(region) || region->owner != 0 || region->purger != 0 ||
           region->full == list_empty(&region->link));
    for (size_t s = 0; s < shape->stripes && region->owner == 0; s++) {
        uint64_t freed = bits_get(&stripes[s].freed) | bits_get(&stripes[s].freed_remote);
        VERIFY((freed & ~bits_get(&stripes[s].start)) == 0);
        VERIFY((bits_get(&stripes[s].old) & ~bits_get(&stripes[s].start)) == 0);
    }
}

size_t regions_live_bytes(struct regions *regions) {
    size_t bytes = 0;
    lock_acquire(&regions->lock);
    for (const struct list *l = regions->all.next; l != &regions->all; l = l->next) {
        const struct region *region = LIST_ENTRY(l, struct region, all);
        bytes += is_stocked(region)
                     ? 0
                     : marks_count(shape_of(regions, region), region_stripes(regions, region), true).bytes;
    }
    lock_release(&regions->lock);
    return bytes;
}

void regions_check(struct regions *regions) {
    const struct space *space = &regions->runs->space;
    size_t units = 0, count = 0;
    lock_acquire(&regions->lock);
    for (const struct list *l = regions->all.next; l != &regions->all; l = l->next, count++) {
        const struct region *region = LIST_ENTRY(l, struct region, all);
        const char *base = region_base(regions, region);
        VERIFY(region->shape < REGION_SHAPES);
        for (size_t at = 0; at < shape_of(regions, region)->bytes; at += UNIT_BYTES)
            VERIFY(unit_kind_at(&space->map, base + at) == (unsigned)UNIT_REGION + region->shape);
        VERIFY((uintptr_t)base % shape_of(regions, region)->bytes == 0);
        check_region(regions, region);
        units += first_of_block(regions, region) == region ? block_units(regions, region) : 0;
    }
    VERIFY(units == regions->units && count == regions->count);
    for (size_t s = 0; s < REGION_SHAPES; s++) {
        size_t stocked = 0;
        for (const struct list *l = regions->stock[s].next; l != &regions->stock[s]; l = l->next) {
            const struct region *region = LIST_ENTRY(l, struct region, link);
            VERIFY(is_stocked(region));
            stocked += region->dirty != 0;
        }
        VERIFY(stocked == regions->stocked[s]);
        for (size_t level = 0; level < REGION_LEVELS; level++)
            for (const struct list *l = regions->partial[s][level].next; l != &regions->partial[s][level];
                 l = l->next) {
                const struct region *region = LIST_ENTRY(l, struct region, link);
                VERIFY(region->owner == 0 && !is_stocked(region) && !region->current && region->shape == s);
            }
    }
    lock_release(&regions->lock);
}
