/* Bins. Locks: that of the bin, which is held neither while runs are taken or given back nor over a system call;
 * and that of the tick, over the whole of it.
 *
 * Invariants: a slab is on the list of its level exactly while it has free objects; a slab with neither a live
 * object nor a held page is in no bin; the unit of a sparse slab says so in space_sparse. */
#include "slab/bin.h"

#include "base/check.h"
#include "os/os.h"

/* What a depot may hold: with 64 KiB a batch of 1,000 objects of 64 bytes comes and goes. Less than so many
 * objects at a time come from a thread that has done little, or are large: they cost more than their turn at the
 * lock. */
enum { DEPOT_BYTES = 64 << 10, DEPOT_MOST = 1024, DEPOT_FROM = 8 };

void bins_init(struct bins *bins, struct runs *runs) {
    bins->runs = runs;
    lock_init(&bins->ticking, RANK_TICK);
    divisors_init(bins->divisors, runs->space.page);
    size_t slots = 0;
    for (unsigned c = 0; c < CLASSES; c++) {
#ifndef NDEBUG /* a bin that is not used stays a page of zeroes */
        lock_init(&bins->bin[c].lock, RANK_BIN);
#endif
        if (c == 0)
            continue;
        bins->shape[c] = (struct bin_shape){
            .sparse_from = slab_sparse_from(&runs->space, c, &bins->divisors[c]),
            .level_factor = (uint32_t)(BIN_LEVELS << 16) / objects_of(&bins->divisors[c]),
            .depot = (uint16_t)slots,
            .depot_most = (uint16_t)min_size(DEPOT_BYTES / class_bytes(c), DEPOT_MOST),
        };
        slots += bins->shape[c].depot_most;
    }
    VERIFY(slots <= DEPOT_SLOTS);
}

static struct slab *slab_of(const struct bins *bins, unsigned class, const void *p) {
    uintptr_t start = (uintptr_t)p & ~(uintptr_t)bins->divisors[class].slab_mask;
    return space_meta(&bins->runs->space, unit_of(&bins->runs->space.map, (void *)start));
}

static void unlist(struct bin *bin, struct slab *slab) {
    list_remove(&slab->link);
    if (list_empty(&bin->partial[slab->level]))
        bin->filled &= ~(1u << slab->level);
}

static unsigned level_of(const struct bins *bins, const struct slab *slab) {
    return (slab->free - 1u) * bins->shape[slab->class].level_factor >> 16;
}

static void enlist(struct bins *bins, struct slab *slab) {
    struct bin *bin = &bins->bin[slab->class];
    slab->level = (uint8_t)level_of(bins, slab);
    struct list *head = &bin->partial[slab->level];
    if ((bin->filled >> slab->level & 1) == 0)
        list_init(head);
    list_push_front(head, &slab->link);
    bin->filled |= 1u << slab->level;
}

static NOINLINE bool move_list(struct bins *bins, struct slab *slab, bool listed, bool stays) {
    if (listed)
        unlist(&bins->bin[slab->class], slab);
    if (stays)
        enlist(bins, slab);
    return slab->free > 0 && !stays;
}

/* After `free` has changed from `before`, or a page is no longer held. A slab with no live object and no held page
 * leaves the bin: true. */
static bool relist(struct bins *bins, struct slab *slab, size_t before) {
    bool listed = before > 0, some = slab->free > 0;
    if (LIKELY(listed && some && slab->free < slab->objects && level_of(bins, slab) == slab->level))
        return false;
    return move_list(bins, slab, listed, some && (slab->free < slab->objects || slab_held(slab) != 0));
}

static void set_sparse(struct bins *bins, struct slab *slab, bool sparse) {
    const struct space *space = &bins->runs->space;
    if (slab->sparse == sparse)
        return;
    slab->sparse = sparse;
    __atomic_store_n(space_sparse(space, space_unit_of_meta(space, slab)), sparse ? slab->class : 0,
                     __ATOMIC_RELAXED);
    atomic_fetch_add_explicit(&bins->sparse, sparse ? 1 : SIZE_MAX, memory_order_relaxed);
    if (sparse)
        atomic_store_explicit(&bins->refused, false, memory_order_relaxed);
}

/* Takes a slab with no live object, which has left its list, out of the bin. */
static void leave(struct bins *bins, struct bin *bin, struct slab *slab, struct list *empty) {
    set_sparse(bins, slab, false);
    counter_sub(&bin->slabs, 1);
    list_push_back(empty, &slab->link);
}

/* Gives what has left a bin to the runs. No lock is held. */
static void give_empty(struct bins *bins, const struct divisor *d, struct list *empty) {
    const struct space *space = &bins->runs->space;
    while (!list_empty(empty)) {
        struct slab *slab = LIST_ENTRY(empty->next, struct slab, link);
        bool clean = slab->clean == slab_all_pages(space, d);
        list_remove(&slab->link);
        run_free(bins->runs, space_unit_of_meta(space, slab), (d->slab_mask + 1) >> UNIT_SHIFT,
                 clean ? RUN_CLEAN : RUN_DIRTY);
    }
}

static void count_refaults(struct bins *bins, size_t pages) {
    if (UNLIKELY(pages > 0))
        atomic_fetch_add_explicit(&bins->runs->refaulted_pages, pages, memory_order_relaxed);
}

static size_t take_partial(struct bins *bins, unsigned class, size_t count, void **objects) {
    struct bin *bin = &bins->bin[class];
    const struct divisor *d = &bins->divisors[class];
    size_t taken = 0, refaulted = 0;
    while (taken < count && bin->filled != 0) {
        struct list *fullest = &bin->partial[__builtin_ctz(bin->filled)];
        struct slab *slab = LIST_ENTRY(fullest->next, struct slab, link);
        size_t before = slab->free;
        __builtin_prefetch(slab->link.next); /* its turn may come soon */
        taken += slab_take(&bins->runs->space, slab, d, count - taken, objects + taken, &refaulted);
        relist(bins, slab, before);
    }
    count_refaults(bins, refaulted);
    counter_add(&bin->allocated, taken);
    return taken;
}

/* The bin's lock is held. */
static void set_closed(struct bin *bin, bool closed) {
    atomic_store_explicit(&bin->depot_closed, closed, memory_order_relaxed);
}

static bool is_closed(const struct bin *bin) {
    return atomic_load_explicit(&bin->depot_closed, memory_order_relaxed);
}

size_t bin_refill(struct bins *bins, unsigned class, size_t count, void **objects) {
    struct bin *bin = &bins->bin[class];
    const struct divisor *d = &bins->divisors[class];
    lock_acquire(&bin->lock);
    size_t taken = counter_get(&bin->in_depot) > 0 ? depot_take(bins, class, count, objects)
                                                   : take_partial(bins, class, count, objects);
    lock_release(&bin->lock);
    if (taken > 0)
        return taken;

    size_t units = (d->slab_mask + 1) >> UNIT_SHIFT, used_end = counter_get(&bins->runs->used_end), refaulted = 0;
    bool zeroed;
    size_t unit = run_alloc(
        bins->runs,
        &(struct run_request){
            .units = units, .align_units = units, .first_kind = (uint8_t) class, .other_kind = (uint8_t) class},
        &zeroed);
    if (unit == 0)
        return 0;
    enum slab_pages pages = !zeroed ? SLAB_DIRTY : unit < used_end ? SLAB_RETURNED : SLAB_FRESH;
    struct slab *slab = slab_make(&bins->runs->space, unit, class, d, pages);
    taken = slab_take(&bins->runs->space, slab, d, count, objects, &refaulted);
    count_refaults(bins, refaulted);
    lock_acquire(&bin->lock);
    set_closed(bin, false); /* the bin grows */
    if (!zeroed)            /* some pages may never be needed, were it only those behind the last object */
        set_sparse(bins, slab, true);
    counter_add(&bin->slabs, 1);
    counter_add(&bin->allocated, taken);
    if (slab->free > 0)
        enlist(bins, slab);
    lock_release(&bin->lock);
    return taken;
}

/* The metadata of so few is in the CPU's cache most of the time. */
enum { NEAR_SLABS = 64 };

/* What is freed at one time may lie in slabs that are far apart and in no CPU's cache: better to wait for all of
 * them at once than for one after the other. Inline, for gcc drops calls of a function that does nothing else. */
static INLINE void prefetch(const struct bins *bins, unsigned class, size_t count, void *const *objects) {
    const struct divisor *d = &bins->divisors[class];
    for (size_t i = 1; i < count; i++)
        if ((((uintptr_t)objects[i] ^ (uintptr_t)objects[i - 1]) & ~d->slab_mask) != 0)
            slab_prefetch(&bins->runs->space, slab_of(bins, class, objects[i]), d, objects[i]);
}

/* Slabs that a flush has put objects into, and how many were free before. */
struct flushed {
    size_t slabs;
    struct slab *slab[BIN_FLUSH_MOST];
    uint16_t before[BIN_FLUSH_MOST];
};

/* Marks the objects free in their slabs, whose lists do not follow yet. Returns one that was free already. It is
 * slab_of, slab_bits and object_index, with what is the same for all objects read once. */
static inline void *put(const struct bins *bins, unsigned class, size_t count, void *const *objects,
                        struct flushed *flushed) {
    const struct divisor *d = &bins->divisors[class];
    const struct space *space = &bins->runs->space;
    const uintptr_t mask = d->slab_mask, end_of_first = space->map.base + mask;
    const uint64_t reciprocal = d->reciprocal;
    const bool few = slab_has_few(d);
    uintptr_t last_byte = 0; /* of the slab of the object before */
    struct slab *slab = NULL;
    uint64_t *bits = NULL;
    void *already_free = NULL;
    for (void *const *at = objects, *const *end = at + count, *const *next; at < end; at = next) {
        uintptr_t p = (uintptr_t)*at;
        next = at + 1;
        if ((p | mask) != last_byte) {
            size_t unit = ((p | mask) - end_of_first) >> UNIT_SHIFT;
            /* An object that was freed twice may lie where there is no slab of this class any more. */
            if (UNLIKELY(space->map.kind[unit] != class)) {
                already_free = *at;
                continue;
            }
            last_byte = p | mask;
            slab = space_meta(space, unit);
            bits = few ? slab->few : space_bits(space, unit);
            if (!slab->flushing) {
                slab->flushing = true;
                flushed->before[flushed->slabs] = slab->free;
                flushed->slab[flushed->slabs++] = slab;
            }
        } else if (next < end && 2 * p - (uintptr_t)at[-1] == (uintptr_t)*next) {
            next = at + slab_put_row(space, slab, d, (size_t)(end - at), at, &already_free);
            continue;
        }
        size_t index = (size_t)((unsigned __int128)(last_byte - p) * reciprocal >> 64);
        if (UNLIKELY(!slab_put(slab, bits, index)))
            already_free = *at;
    }
    return already_free;
}

void *bin_flush(struct bins *bins, unsigned class, size_t count, void *const *objects) {
    struct bin *bin = &bins->bin[class];
    struct flushed flushed;
    struct list empty;
    size_t freed = 0;
    ASSERT(count <= BIN_FLUSH_MOST);
    flushed.slabs = 0;
    list_init(&empty);
    lock_acquire(&bin->lock);
    if (counter_get(&bin->slabs) > NEAR_SLABS)
        prefetch(bins, class, count, objects);
    void *already_free = put(bins, class, count, objects, &flushed);
    for (size_t i = 0; i < flushed.slabs; i++) {
        struct slab *slab = flushed.slab[i];
        size_t before = flushed.before[i];
        slab->flushing = false;
        if (UNLIKELY(slab->free == before)) /* all were free already; it may have left the bin */
            continue;
        freed += slab->free - before;
        if (relist(bins, slab, before))
            leave(bins, bin, slab, &empty);
        else if (UNLIKELY(slab->free >= bins->shape[class].sparse_from && !slab->sparse))
            set_sparse(bins, slab, true);
    }
    counter_sub(&bin->allocated, freed);
    lock_release(&bin->lock);
    give_empty(bins, &bins->divisors[class], &empty);
    return already_free;
}

/* What others hand over meanwhile may stay. */
static NOINLINE void *empty_depot(struct bins *bins, unsigned class) {
    struct bin *bin = &bins->bin[class];
    void *objects[BIN_FLUSH_MOST], *already_free = NULL;
    size_t count = 0, left = counter_get(&bin->in_depot);
    for (; left > 0; left -= min_size(left, count)) {
        lock_acquire(&bin->lock);
        count = depot_take(bins, class, BIN_FLUSH_MOST, objects);
        lock_release(&bin->lock);
        if (count == 0)
            break;
        void *bad = bin_flush(bins, class, count, objects);
        already_free = bad != NULL ? bad : already_free;
    }
    return already_free;
}

void *bin_hand_over(struct bins *bins, unsigned class, size_t count, void *const *objects) {
    struct bin *bin = &bins->bin[class];
    if (count < DEPOT_FROM || is_closed(bin)) /* who closed it empties it */
        return bin_flush(bins, class, count, objects);
    void *already_free = NULL;
    lock_acquire(&bin->lock);
    bool fits = counter_get(&bin->in_depot) + count <= bins->shape[class].depot_most && !is_closed(bin) &&
                !bin_is_thin(bins, class);
    if (LIKELY(fits))
        already_free = depot_put(bins, class, count, objects);
    else
        set_closed(bin, true);
    lock_release(&bin->lock);
    if (LIKELY(fits)) {
        if (!atomic_load_explicit(&bins->depots, memory_order_relaxed))
            atomic_store_explicit(&bins->depots, true, memory_order_relaxed);
        return already_free;
    }
    already_free = empty_depot(bins, class);
    void *bad = bin_flush(bins, class, count, objects);
    return bad != NULL ? bad : already_free;
}

void die_if_freed_twice(const void *p) {
    if (UNLIKELY(p != NULL))
        os_die("free(%p): double free: the object was free already (found when its cache was emptied)",
               (uintptr_t)p);
}

/* --- the tick -------------------------------------------------------------------------------------------- */

enum { BATCH_RANGES = 64, BATCH_SLABS = 64, SLAB_RANGES = 32 /* that a mask of 64 pages can have */ };

/* Pages of slabs that the tick holds, and what it asks of the system for them. */
struct batch {
    size_t slabs, count;
    struct held {
        size_t unit;
        uint64_t pages;
        unsigned class;
        uint16_t from, to; /* the ranges that its pages lie in */
    } held[BATCH_SLABS];
    struct os_range range[BATCH_RANGES + SLAB_RANGES];
};

static struct slab *slab_at(const struct bins *bins, size_t unit) {
    return space_meta(&bins->runs->space, unit);
}

/* Adds the pages of a slab to the batch, by rising address; those that follow on the last range make it longer. */
static void add(const struct bins *bins, struct batch *batch, size_t unit, unsigned class, uint64_t pages) {
    const struct space *space = &bins->runs->space;
    struct held *held = &batch->held[batch->slabs++];
    *held = (struct held){.unit = unit, .pages = pages, .class = class, .from = (uint16_t)batch->count};
    uintptr_t end = (unit_address(&space->map, unit) | bins->divisors[class].slab_mask) + 1;
    space_note_returned(space, unit, (bins->divisors[class].slab_mask + 1) >> UNIT_SHIFT);
    for (uint64_t left = pages; left != 0;) {
        size_t page = 63 - (size_t)__builtin_clzl(left);
        uintptr_t addr = end - (page + 1) * space->page;
        left &= ~((uint64_t)1 << page);
        struct os_range *next = &batch->range[batch->count], *last = next - 1;
        if (batch->count > 0 && last->addr + last->bytes == addr) {
            last->bytes += space->page;
            held->from = (uint16_t)min_size(held->from, batch->count - 1);
        } else {
            *next = (struct os_range){.addr = addr, .bytes = space->page};
            batch->count++;
        }
    }
    held->to = (uint16_t)batch->count;
}

/* Puts back what is held of a slab. */
static void put_back(struct bins *bins, size_t unit, unsigned class, bool returned) {
    struct bin *bin = &bins->bin[class];
    const struct divisor *d = &bins->divisors[class];
    struct slab *slab = slab_at(bins, unit);
    struct list empty;
    list_init(&empty);
    lock_acquire(&bin->lock);
    size_t before = slab->free;
    slab_release(&bins->runs->space, slab, d, returned);
    if (relist(bins, slab, before))
        leave(bins, bin, slab, &empty);
    lock_release(&bin->lock);
    give_empty(bins, d, &empty);
}

/* Gives the pages of the batch to the system and puts back what was held. Returns how many bytes went. */
static size_t give_back(struct bins *bins, struct batch *batch) {
    struct runs *runs = bins->runs;
    size_t pages = 0;
    os_purge_ranges(batch->range, batch->count);
    for (size_t i = 0; i < batch->slabs; i++) {
        const struct held *held = &batch->held[i];
        bool returned = true;
        for (size_t r = held->from; r < held->to; r++)
            returned = returned && batch->range[r].purged;
        if (returned)
            pages += popcount(held->pages);
        else
            atomic_store_explicit(&bins->refused, true, memory_order_relaxed);
        put_back(bins, held->unit, held->class, returned);
    }
    atomic_fetch_add_explicit(&runs->purged_pages, pages, memory_order_relaxed);
    batch->slabs = batch->count = 0;
    return pages * runs->space.page;
}

/* Looks at the slab that starts at unit, if there is one that is sparse, and holds the pages of it that are ripe.
 */
static void visit(struct bins *bins, struct batch *batch, size_t unit, bool all) {
    const struct space *space = &bins->runs->space;
    unsigned class = __atomic_load_n(space_sparse(space, unit), __ATOMIC_RELAXED);
    if (class == 0 || (!all && space_is_huge(space, unit)))
        return;
    struct bin *bin = &bins->bin[class];
    const struct divisor *d = &bins->divisors[class];
    lock_acquire(&bin->lock);
    /* Only this bin writes its class there, and takes it away before the slab leaves. */
    if (__atomic_load_n(space_sparse(space, unit), __ATOMIC_RELAXED) == class) {
        struct slab *slab = slab_at(bins, unit);
        uint64_t ripe = slab_age(space, slab, d, all);
        size_t before = slab->free;
        if (slab->idle == 0)
            set_sparse(bins, slab, false);
        if (ripe != 0) {
            slab_hold(space, slab, d, ripe);
            relist(bins, slab, before);
            add(bins, batch, unit, class, ripe);
        }
    }
    lock_release(&bin->lock);
}

/* The first unit from `unit` on whose slab is sparse; `end` where there is none. */
static size_t next_sparse(const struct bins *bins, size_t unit, size_t end) {
    const uint8_t *sparse = space_sparse(&bins->runs->space, 0);
    while (unit < end && __atomic_load_n(&sparse[unit], __ATOMIC_RELAXED) == 0)
        if (unit % 8 == 0 && __atomic_load_n((const uint64_t *)(sparse + unit), __ATOMIC_RELAXED) == 0)
            unit += 8;
        else
            unit++;
    return min_size(unit, end);
}

/* What threads held that a fork left behind. They may have returned it or not. */
static COLD void put_back_orphans(struct bins *bins, size_t end) {
    const struct space *space = &bins->runs->space;
    for (size_t unit = 0; (unit = next_sparse(bins, unit, end)) < end; unit++) {
        unsigned class = __atomic_load_n(space_sparse(space, unit), __ATOMIC_RELAXED);
        if (class == 0)
            continue;
        lock_acquire(&bins->bin[class].lock);
        bool same = __atomic_load_n(space_sparse(space, unit), __ATOMIC_RELAXED) == class;
        uint64_t held = same ? slab_held(slab_at(bins, unit)) : 0;
        lock_release(&bins->bin[class].lock);
        if (held != 0) /* a slab with held pages stays where it is */
            put_back(bins, unit, class, false);
    }
}

void *bins_empty_depots(struct bins *bins) {
    void *already_free = NULL;
    /* Before the look, for who hands over behind it sets this again. Should that be lost on a weakly ordered
     * machine, the next one does; and a thread that hands over has a cache, which is pending, too. */
    atomic_store(&bins->depots, false);
    for (unsigned c = 1; c < CLASSES; c++) {
        struct bin *bin = &bins->bin[c];
        if (counter_get(&bin->in_depot) > 0) {
            void *bad = empty_depot(bins, c);
            already_free = bad != NULL ? bad : already_free;
        }
        if (is_closed(bin)) { /* a bin that is not used is not written */
            lock_acquire(&bin->lock);
            set_closed(bin, false);
            lock_release(&bin->lock);
        }
    }
    return already_free;
}

/* A few slabs may be as empty as they like. */
enum { THIN_FROM_SLABS = 16 };

static void note_thin(struct bins *bins) {
    for (unsigned c = 1; c < CLASSES; c++) {
        struct bin *bin = &bins->bin[c];
        size_t slabs = counter_get(&bin->slabs), places = slabs * objects_of(&bins->divisors[c]);
        bool is_thin = slabs >= THIN_FROM_SLABS && counter_get(&bin->allocated) < places / 2;
        uint8_t before = atomic_load_explicit(&bins->thin[c], memory_order_relaxed);
        uint8_t now = !is_thin ? 0 : before < 2 ? before + 1 : before;
        if (now != before) /* what every miss reads is rather not written */
            atomic_store_explicit(&bins->thin[c], now, memory_order_relaxed);
    }
}

size_t bins_tick(struct bins *bins, bool all) {
    size_t end = atomic_load_explicit(&bins->runs->space.map.end, memory_order_relaxed), bytes = 0;
    struct batch batch = {.slabs = 0, .count = 0};
    lock_acquire(&bins->ticking);
    void *already_free = bins_empty_depots(bins);
    if (!all)
        note_thin(bins);
    if (UNLIKELY(atomic_exchange(&bins->orphans, false)))
        put_back_orphans(bins, end);
    for (size_t unit = 0; (unit = next_sparse(bins, unit, end)) < end; unit++) {
        visit(bins, &batch, unit, all);
        if (batch.count >= BATCH_RANGES || batch.slabs == BATCH_SLABS)
            bytes += give_back(bins, &batch);
    }
    bytes += give_back(bins, &batch);
    lock_release(&bins->ticking);
    die_if_freed_twice(already_free);
    return bytes;
}

void bins_after_fork(struct bins *bins) {
    uint32_t holder = atomic_load_explicit(&bins->ticking.word, memory_order_relaxed);
    if (holder == 0 || lock_is_mine(&bins->ticking)) /* its own work goes on in the child */
        return;
    lock_init(&bins->ticking, RANK_TICK);
    atomic_store(&bins->orphans, true);
}

bool bins_are_interrupted(const struct bins *bins) {
    bool interrupted = lock_is_mine(&bins->ticking);
    for (unsigned c = 1; c < CLASSES; c++)
        interrupted |= lock_is_mine(&bins->bin[c].lock);
    return interrupted;
}

bool bin_holds(const struct bins *bins, unsigned class, const void *p) {
    const struct divisor *d = &bins->divisors[class];
    return slab_is_free(&bins->runs->space, slab_of(bins, class, p), d, object_index(d, p));
}

void bins_check(struct bins *bins) {
    const struct space *space = &bins->runs->space;
    for (unsigned c = 1; c < CLASSES; c++) {
        struct bin *bin = &bins->bin[c];
        lock_acquire(&bin->lock);
        for (size_t level = 0; level < BIN_LEVELS; level++) {
            struct list *head = &bin->partial[level];
            if ((bin->filled >> level & 1) == 0) {
                VERIFY(head->next == NULL || list_empty(head));
                continue;
            }
            VERIFY(!list_empty(head));
            for (struct list *l = head->next; l != head; l = l->next) {
                struct slab *slab = LIST_ENTRY(l, struct slab, link);
                size_t unit = space_unit_of_meta(space, slab);
                VERIFY(slab->class == c && slab->level == level && space->map.kind[unit] == c);
                VERIFY(slab->free > 0 && (slab->free < slab->objects || slab_held(slab) != 0));
                VERIFY(slab_held(slab) == 0 || slab->sparse);
                VERIFY(slab->objects == objects_of(&bins->divisors[c]));
                slab_check(space, slab, &bins->divisors[c]);
                VERIFY(*space_sparse(space, unit) == (slab->sparse ? c : 0));
            }
        }
        size_t in_depot = counter_get(&bin->in_depot);
        VERIFY(in_depot <= bins->shape[c].depot_most);
        for (size_t i = 0; i < in_depot; i++) {
            const void *p = bins->depot[bins->shape[c].depot + i];
            VERIFY(unit_kind_at(&space->map, p) == c && is_object_start(&bins->divisors[c], p));
            VERIFY(!bin_holds(bins, c, p));
        }
        lock_release(&bin->lock);
    }
}
