/* Bins. Locks: that of the bin, which is held neither while runs are taken or given back nor over a system call.
 *
 * Invariants: a slab is on the list of its level exactly while it has free objects; a slab with no live object
 * is in no bin. */
#include "slab/bin.h"

#include "base/check.h"

void bins_init(struct bins *bins, struct runs *runs) {
    bins->runs = runs;
    divisors_init(bins->divisors, runs->space.page);
    for (unsigned c = 0; c < CLASSES; c++) {
        struct bin *bin = &bins->bin[c];
        lock_init(&bin->lock, RANK_BIN);
        bin->level_factor = c > 0 ? (uint32_t)(BIN_LEVELS << 16) / objects_of(&bins->divisors[c]) : 0;
        for (size_t level = 0; level < BIN_LEVELS; level++)
            list_init(&bin->partial[level]);
    }
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

static unsigned level_of(const struct bin *bin, const struct slab *slab) {
    return (slab->free - 1u) * bin->level_factor >> 16;
}

static void enlist(struct bin *bin, struct slab *slab) {
    slab->level = (uint8_t)level_of(bin, slab);
    list_push_front(&bin->partial[slab->level], &slab->link);
    bin->filled |= 1u << slab->level;
}

/* After `free` has changed from `before`. A slab with no live object leaves the bin: true. */
static bool relist(struct bin *bin, struct slab *slab, size_t before) {
    bool empty = slab->free == slab->objects, listed = before > 0;
    bool stays = !empty && slab->free > 0;
    if (listed && stays && level_of(bin, slab) == slab->level)
        return false;
    if (listed)
        unlist(bin, slab);
    if (stays)
        enlist(bin, slab);
    return empty;
}

static size_t take_partial(struct bins *bins, struct bin *bin, size_t count, void **objects) {
    size_t taken = 0;
    while (taken < count && bin->filled != 0) {
        struct list *fullest = &bin->partial[__builtin_ctz(bin->filled)];
        struct slab *slab = LIST_ENTRY(fullest->next, struct slab, link);
        size_t before = slab->free;
        taken += slab_take(&bins->runs->space, slab, count - taken, objects + taken);
        relist(bin, slab, before);
    }
    counter_add(&bin->allocated, taken);
    return taken;
}

size_t bin_refill(struct bins *bins, unsigned class, size_t count, void **objects) {
    struct bin *bin = &bins->bin[class];
    const struct divisor *d = &bins->divisors[class];
    lock_acquire(&bin->lock);
    size_t taken = take_partial(bins, bin, count, objects);
    lock_release(&bin->lock);
    if (taken > 0)
        return taken;

    size_t units = (d->slab_mask + 1) >> UNIT_SHIFT;
    bool zeroed;
    size_t unit = run_alloc(
        bins->runs,
        &(struct run_request){
            .units = units, .align_units = units, .first_kind = (uint8_t) class, .other_kind = (uint8_t) class},
        &zeroed);
    if (unit == 0)
        return 0;
    struct slab *slab = slab_make(&bins->runs->space, unit, class, d);
    taken = slab_take(&bins->runs->space, slab, count, objects);
    lock_acquire(&bin->lock);
    counter_add(&bin->slabs, 1);
    counter_add(&bin->allocated, taken);
    if (slab->free > 0)
        enlist(bin, slab);
    lock_release(&bin->lock);
    return taken;
}

void *bin_flush(struct bins *bins, unsigned class, size_t count, void *const *objects) {
    struct bin *bin = &bins->bin[class];
    const struct divisor *d = &bins->divisors[class];
    struct list empty;
    void *already_free = NULL;
    list_init(&empty);
    lock_acquire(&bin->lock);
    for (size_t i = 0; i < count;) {
        /* An object that was freed twice may lie where there is no slab of this class any more. */
        if (UNLIKELY(unit_kind_at(&bins->runs->space.map, objects[i]) != class)) {
            already_free = objects[i++];
            continue;
        }
        struct slab *slab = slab_of(bins, class, objects[i]);
        size_t before = slab->free;
        i += slab_put(&bins->runs->space, slab, d, count - i, objects + i, &already_free);
        counter_sub(&bin->allocated, slab->free - before);
        if (slab->free != before && relist(bin, slab, before)) {
            list_push_back(&empty, &slab->link);
            counter_sub(&bin->slabs, 1);
        }
    }
    lock_release(&bin->lock);
    while (!list_empty(&empty)) {
        struct slab *slab = LIST_ENTRY(empty.next, struct slab, link);
        list_remove(&slab->link);
        run_free(bins->runs, space_unit_of_meta(&bins->runs->space, slab), (d->slab_mask + 1) >> UNIT_SHIFT,
                 RUN_DIRTY);
    }
    return already_free;
}

bool bin_holds(const struct bins *bins, unsigned class, const void *p) {
    return slab_is_free(&bins->runs->space, slab_of(bins, class, p), object_index(&bins->divisors[class], p));
}

void bins_check(struct bins *bins) {
    const struct space *space = &bins->runs->space;
    for (unsigned c = 1; c < CLASSES; c++) {
        struct bin *bin = &bins->bin[c];
        lock_acquire(&bin->lock);
        for (size_t level = 0; level < BIN_LEVELS; level++) {
            struct list *head = &bin->partial[level];
            VERIFY(list_empty(head) == ((bin->filled >> level & 1) == 0));
            for (struct list *l = head->next; l != head; l = l->next) {
                struct slab *slab = LIST_ENTRY(l, struct slab, link);
                size_t unit = space_unit_of_meta(space, slab);
                VERIFY(slab->class == c && slab->level == level && space->map.kind[unit] == c);
                VERIFY(slab->free > 0 && slab->free < slab->objects);
                VERIFY(slab->objects == objects_of(&bins->divisors[c]));
                slab_check(space, slab);
            }
        }
        lock_release(&bin->lock);
    }
}
