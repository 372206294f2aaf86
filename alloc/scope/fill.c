/* What a thread does with objects of scopes beyond the fast paths of scope.h.
 *
 * Locks: that of the regions, for large objects and for counting; never while regions are made or given back, nor
 * over a system call. A scope's cursors belong to the thread that has entered it. A fork may come between any two
 * stores: whatever a child finds between `next` and `hole_end` of a thread that it does not have, it clears. */
#include "scope/inside.h"

#include "base/check.h"
#include "large/large.h"

#include <string.h>

enum {
    MIDDLE_FROM = 128,      /* smaller objects never go to middle regions */
    NARROW_ALIGNMENT = 256, /* at most; more would waste much of a region */
    WIDE_ALIGNMENT = 4096,

    LEARN_SHARE = 2, /* what has been freed is learnt when so much is new: a half of what may live, and */
    LEARN_MIN = 64 << 10,

    GAPS_MAX = 256 << 10, /* bytes; more than all holes of a scope have, where a page is not larger than 64 KiB */
};

/* Leaves the hole, which has been filled as far as `end`. */
static void leave_hole(struct scopes *scopes, struct scope *scope, unsigned shape, const char *end) {
    struct cursor *cursor = &scope->cursor[shape];
    const char *touched = end > cursor->touched ? end : cursor->touched;
    counter_add(&scope->allocated, (size_t)(end - cursor->first));
    region_note_used(&scopes->regions, scope->region[shape], granule_of(scopes, scope, shape, cursor->first),
                     granule_of(scopes, scope, shape, touched));
    if (end != cursor->hole_end)
        marks_kill(cursor->stripes, granule_of(scopes, scope, shape, end));
    set_next(cursor, NULL); /* room for nothing */
    cursor->end = cursor->hole_end = cursor->first = cursor->touched = NULL;
}

void scope_close_hole(struct scopes *scopes, struct scope *scope, unsigned shape) {
    const char *next = next_of(&scope->cursor[shape]);
    if (next != NULL)
        leave_hole(scopes, scope, shape, next);
}

/* Learns what has been freed. The scope is the calling thread's. */
static void learn_freed(struct scopes *scopes, struct scope *scope) {
    if (scope == thread_scope)
        scope_empty_recent(scopes);
    note_peak(scope);
    lock_acquire(lock_of(scopes));
    size_t live = scope_count_live(scopes, scope).bytes - counter_get(&scope->large_live);
    lock_release(lock_of(scopes));
    counter_set(&scope->learnt, allocated_of(scope));
    counter_set(&scope->freed, counter_get(&scope->learnt) - live);
}

void scope_empty_recent(struct scopes *scopes) {
    struct scope *scope = thread_scope;
    struct load again; /* allocated again after they had been freed */
    if (thread_recent == NULL || thread_recent->used == 0)
        return;
    void *already_free = recent_empty(&scopes->regions.runs->space, thread_recent, &again);
    counter_add(&scope->objects, again.objects);
    counter_add(&scope->allocated, again.bytes);
    counter_add(&scope->freed, again.bytes);
    regions_set_pending(&scopes->regions);
    die_if_freed_twice(already_free);
}

/* Bytes that the scope may still have. */
static size_t room_of(const struct scope *scope) {
    size_t live = live_of(scope), limit = counter_get(&scope->limit);
    return limit > live ? limit - live : 0;
}

/* Whether all holes can be filled without coming to the limit. */
static bool is_far_from_limit(const struct scope *scope) {
    return room_of(scope) >= GAPS_MAX && !scope->is_tight;
}

/* Holes can be filled as far as the limit allows: all of them, or else the narrow one. */
static void apply_limit(struct scope *scope) {
    if (LIKELY(counter_get(&scope->limit) == SIZE_MAX))
        return;
    size_t room = room_of(scope), gaps = 0;
    if (LIKELY(is_far_from_limit(scope)))
        return;
    for (size_t s = 0; s < REGION_SHAPES; s++)
        gaps += (size_t)(scope->cursor[s].hole_end - next_of(&scope->cursor[s]));
    scope->is_tight = gaps > room;
    for (size_t s = 0; s < REGION_SHAPES; s++) {
        struct cursor *cursor = &scope->cursor[s];
        char *next = next_of(cursor);
        if (next != NULL)
            cursor->end = next + min_size((size_t)(cursor->hole_end - next) - 1,
                                          !scope->is_tight || s == REGION_NARROW ? room : 0);
    }
}

/* The next hole of the region with so much room. Holes before that one are not found again until the region is
 * left. */
static bool find_hole(const struct regions *regions, struct region *region, size_t granules, struct hole *hole) {
    const struct shape *shape = &regions->shape[region->shape];
    bool found = marks_find_hole(shape, region_stripes(regions, region), region->scanned, granules, hole);
    region->scanned = (uint16_t)(found ? hole->end : (size_t)shape->stripes * STRIPE_GRANULES);
    return found;
}

/* Leaves the open hole for another one, of the region that is being filled. */
static void open_hole(struct scopes *scopes, struct scope *scope, unsigned shape, struct hole hole) {
    const struct regions *regions = &scopes->regions;
    struct cursor *cursor = &scope->cursor[shape];
    unsigned shift = shift_of(scopes, shape);
    scope_close_hole(scopes, scope, shape);
    recent_forget(thread_recent);
    cursor->base = region_base(regions, scope->region[shape]);
    cursor->stripes = region_stripes(regions, scope->region[shape]);
    marks_open(&regions->shape[shape], cursor->stripes, hole);
    cursor->first = cursor->touched = cursor->base + (hole.start << shift);
    cursor->hole_end = cursor->base + (hole.end << shift);
    cursor->end = cursor->hole_end - 1;
    set_next(cursor, cursor->first);
}

/* Goes on to a hole with room for that. False where the system refuses memory. */
static bool next_hole(struct scopes *scopes, struct scope *scope, unsigned shape, size_t bytes) {
    struct regions *regions = &scopes->regions;
    struct region *region = scope->region[shape];
    struct hole hole;
    size_t granules = bytes >> shift_of(scopes, shape);
    if (region == NULL || !find_hole(regions, region, granules, &hole)) {
        scope_close_hole(scopes, scope, shape);
        size_t allocated = counter_get(&scope->allocated);
        if (allocated - counter_get(&scope->learnt) >= max_size(LEARN_MIN, live_of(scope) / LEARN_SHARE))
            learn_freed(scopes, scope);
        region = region_acquire(regions, shape, granules, scope->handle, &scope->regions[shape], region, &hole);
        scope->region[shape] = region;
        if (region == NULL)
            return false;
    }
    open_hole(scopes, scope, shape, hole);
    return true;
}

/* Where an object would lie in the open hole; NULL where it does not fit. */
static char *fitting(const struct cursor *cursor, size_t bytes, size_t alignment) {
    char *p = (char *)align_up((uintptr_t)next_of(cursor), alignment);
    return p < cursor->hole_end && bytes <= (size_t)(cursor->hole_end - p) ? p : NULL;
}

/* Whether an object that a narrow region can have goes to a middle one: the narrow one has survivors, and the open
 * hole no room for it. */
static bool goes_middle(const struct scope *scope, size_t bytes, size_t alignment) {
    const struct region *region = scope->region[REGION_NARROW];
    return bytes > MIDDLE_FROM && region != NULL && region->shared &&
           fitting(&scope->cursor[REGION_NARROW], bytes, alignment) == NULL;
}

/* The hole is the open one, and p lies in it where the next object of so many bytes can. */
static void *place(struct scopes *scopes, struct scope *scope, unsigned shape, char *p, size_t bytes) {
    struct cursor *cursor = &scope->cursor[shape];
    counter_add(&scope->objects, 1);
    if (p + bytes == cursor->hole_end) {
        leave_hole(scopes, scope, shape, p + bytes); /* a gap there would look like what is behind the hole */
        return p;
    }
    marks_set_start(cursor->stripes, granule_of(scopes, scope, shape, p + bytes));
    set_next(cursor, p + bytes);
    return p;
}

/* An object that fills a whole hole of the region that is being filled; the open hole stays so. */
static void *fill_whole(struct scopes *scopes, struct scope *scope, unsigned shape, struct hole hole) {
    struct region *region = scope->region[shape];
    unsigned shift = shift_of(scopes, shape);
    recent_forget(thread_recent);
    marks_open(&scopes->regions.shape[shape], region_stripes(&scopes->regions, region), hole);
    region_note_used(&scopes->regions, region, hole.start, hole.end);
    counter_add(&scope->allocated, (hole.end - hole.start) << shift);
    counter_add(&scope->objects, 1);
    return region_base(&scopes->regions, region) + (hole.start << shift);
}

void *scope_fill(struct scopes *scopes, struct scope *scope, size_t size) {
    bool is_narrow = size <= NARROW_MAX;
    if (size > WIDE_MAX || (counter_get(&scope->limit) != SIZE_MAX && !is_far_from_limit(scope)))
        return NULL;
    size_t bytes = scope_bytes(is_narrow ? UNIT_REGION : UNIT_REGION_WIDE, size);
    unsigned shape = !is_narrow ? REGION_WIDE : goes_middle(scope, bytes, 1) ? REGION_MIDDLE : REGION_NARROW;
    struct cursor *cursor = &scope->cursor[shape];
    size_t granules = bytes >> shift_of(scopes, shape);
    if (bytes > (size_t)(cursor->hole_end - next_of(cursor))) {
        struct hole hole;
        if (scope->region[shape] == NULL || !find_hole(&scopes->regions, scope->region[shape], granules, &hole))
            return NULL;
        if (hole.end - hole.start == granules)
            return fill_whole(scopes, scope, shape, hole);
        open_hole(scopes, scope, shape, hole);
    }
    return place(scopes, scope, shape, next_of(cursor), bytes);
}

static void *fill(struct scopes *scopes, struct scope *scope, unsigned shape, size_t bytes, size_t alignment) {
    struct cursor *cursor = &scope->cursor[shape];
    size_t grain = (size_t)1 << shift_of(scopes, shape);
    char *p = fitting(cursor, bytes, max_size(alignment, grain));
    if (p == NULL) {
        size_t slack = alignment > grain ? alignment - grain : 0;
        if (!next_hole(scopes, scope, shape, bytes + slack))
            return NULL;
        p = fitting(cursor, bytes, max_size(alignment, grain));
    }
    if (p != next_of(cursor)) { /* what is skipped is a dead segment */
        size_t skipped = granule_of(scopes, scope, shape, next_of(cursor));
        marks_set_start(cursor->stripes, granule_of(scopes, scope, shape, p));
        marks_kill(cursor->stripes, skipped);
    }
    return place(scopes, scope, shape, p, bytes);
}

static void *alloc_large(struct scopes *scopes, struct scope *scope, size_t size, size_t alignment, bool zero,
                         bool *zeroed) {
    void *p = large_alloc(scopes->regions.runs, size, alignment, zero, zeroed);
    if (p != NULL) {
        counter_add(&scope->large_allocated, large_bytes(scopes->regions.runs, p));
        counter_add(&scope->objects, 1);
        scope_attach_large(scopes, scope->handle, p);
    }
    return p;
}

void *scope_alloc(struct scopes *scopes, struct scope *scope, size_t size, size_t alignment, bool zero,
                  bool *over_limit) {
    size_t asked = max_size(size, 1);
    bool is_narrow = asked <= NARROW_MAX && alignment <= NARROW_ALIGNMENT;
    bool is_wide = asked <= WIDE_MAX && alignment <= WIDE_ALIGNMENT;
    size_t bytes = is_narrow || is_wide ? scope_bytes(is_narrow ? UNIT_REGION : UNIT_REGION_WIDE, asked)
                                        : align_up(asked, scopes->regions.runs->space.page);
    *over_limit = false;
    if (counter_get(&scope->limit) != SIZE_MAX && room_of(scope) < bytes) {
        learn_freed(scopes, scope);
        *over_limit = room_of(scope) < bytes;
    }
    bool zeroed = false;
    void *p = NULL;
    if (*over_limit)
        counter_add(&scope->refused, 1);
    else if (is_narrow)
        p = fill(scopes, scope, goes_middle(scope, bytes, alignment) ? REGION_MIDDLE : REGION_NARROW, bytes,
                 alignment);
    else if (is_wide)
        p = fill(scopes, scope, REGION_WIDE, bytes, alignment);
    else
        p = alloc_large(scopes, scope, size, alignment, zero, &zeroed);
    apply_limit(scope);
    return p != NULL && zero && !zeroed ? memset(p, 0, size) : p;
}

enum scope_result scope_malloc(struct scopes *scopes, uint64_t handle, size_t size, const void *caller, void **p) {
    struct scope *scope;
    bool entered, over_limit;
    enum scope_result result = borrow(scopes, handle, &scope, &entered);
    if (result != SCOPE_OK)
        return result;
    bool is_sampled = scope->until_sample != SIZE_MAX;
    *p = LIKELY(!is_sampled) ? scope_bump(&scopes->regions.runs->space, scope, size) : NULL;
    if (*p == NULL && size <= PTRDIFF_MAX)
        *p = scope_alloc(scopes, scope, size, 1, false, &over_limit);
    if (UNLIKELY(is_sampled && *p != NULL))
        survivors_note(scopes, scope, *p, size, caller);
    unborrow(scope, entered);
    return *p != NULL ? SCOPE_OK : SCOPE_NO_MEMORY;
}

/* Whether the calling thread allocates from the scope whose region this is. */
static bool is_own(const struct region *region) {
    return thread_scope != NULL &&
           thread_scope->handle == atomic_load_explicit(&region->owner, memory_order_relaxed);
}

/* Whether p is where a scope's gap starts, which looks like an object. */
static bool is_gap(const struct scopes *scopes, const struct region *region, const void *p) {
    const struct scope *scope = scope_find(scopes, atomic_load_explicit(&region->owner, memory_order_relaxed));
    return scope != NULL && p == next_of(&scope->cursor[region->shape]);
}

enum region_answer scope_look(const struct scopes *scopes, unsigned kind, const void *p) {
    enum region_answer answer = region_look(&scopes->regions, kind, p);
    if (answer != OBJECT_LIVE)
        return answer;
    const struct region *region = region_of(&scopes->regions, kind, p);
    if (is_gap(scopes, region, p))
        return OBJECT_NONE;
    if (!unit_kind_is_narrow(kind) || !is_own(region) || thread_recent == NULL)
        return OBJECT_LIVE;
    size_t granules = region_usable(&scopes->regions, kind, p) >> NARROW_SHIFT;
    bool freed = granules <= STRIPE_GRANULES && recent_holds(thread_recent, granules, p);
    return freed ? OBJECT_DEAD : OBJECT_LIVE;
}

size_t scope_usable(const struct scopes *scopes, unsigned kind, const void *p) {
    const struct scope *scope = thread_scope;
    if (unit_kind_is_narrow(kind) && scope != NULL) {
        size_t granules = scope_own_granules(scopes, &scopes->regions.runs->space, scope, p);
        if (LIKELY(granules != 0)) {
            bool freed = thread_recent != NULL && recent_holds(thread_recent, granules, p);
            return freed ? 0 : granules << NARROW_SHIFT;
        }
    }
    return scope_look(scopes, kind, p) == OBJECT_LIVE ? region_usable(&scopes->regions, kind, p) : 0;
}

/* Whether the object is the last before the gap that the calling thread fills. */
static bool is_last(const struct region *region, const char *p, size_t bytes) {
    const struct cursor *cursor = &thread_scope->cursor[region->shape];
    return p + bytes == next_of(cursor) && next_of(cursor) != cursor->first;
}

void scope_take_back(char *p) {
    struct scope *scope = thread_scope;
    struct cursor *cursor = &scope->cursor[REGION_NARROW];
    char *gap = next_of(cursor);
    if (p < cursor->first) { /* it was not filled from this hole */
        marks_kill(cursor->stripes, (size_t)(p - cursor->base) >> NARROW_SHIFT);
        return;
    }
    recent_forget(thread_recent);
    note_touched(cursor);
    counter_add(&scope->allocated, (size_t)(gap - p));
    counter_add(&scope->freed, (size_t)(gap - p));
    set_next(cursor, p);
    marks_clear_start(cursor->stripes, (size_t)(gap - cursor->base) >> NARROW_SHIFT);
}

enum region_answer scope_free(struct scopes *scopes, unsigned kind, void *p) {
    struct regions *regions = &scopes->regions;
    enum region_answer answer = scope_look(scopes, kind, p);
    if (UNLIKELY(answer != OBJECT_LIVE))
        return answer;
    struct region *region = region_of(regions, kind, p);
    if (!is_own(region))
        return region_free_remote(regions, region, p);
    marks_kill(region_stripes(regions, region),
               ((uintptr_t)p & regions->shape[region->shape].mask) >> shift_of(scopes, region->shape));
    regions_set_pending(regions);
    return OBJECT_LIVE;
}

/* Cuts the last granules off an object of the calling thread's scope. */
static void shrink(struct scopes *scopes, const struct region *region, char *p, size_t old_bytes, size_t bytes) {
    struct scope *scope = thread_scope;
    struct cursor *cursor = &scope->cursor[region->shape];
    struct stripe *stripes = region_stripes(&scopes->regions, region);
    char *base = region_base(&scopes->regions, region);
    unsigned shift = shift_of(scopes, region->shape);
    size_t tail = (size_t)(p + bytes - base) >> shift;
    if (is_last(region, p, old_bytes)) { /* its end becomes part of the gap */
        size_t gap = (size_t)(p + old_bytes - base) >> shift;
        note_touched(cursor);
        marks_set_start(stripes, tail);
        set_next(cursor, p + bytes);
        marks_clear_start(stripes, gap);
        return;
    }
    marks_kill(stripes, tail);
    marks_set_start(stripes, tail);
}

bool scope_resize_own(const struct scopes *scopes, const struct space *space, void *p, size_t size) {
    struct scope *scope = thread_scope;
    size_t granules = scope_own_granules(scopes, space, scope, p), usable = granules << NARROW_SHIFT;
    size_t bytes = narrow_bytes(size);
    if (granules == 0 || (thread_recent != NULL && recent_holds(thread_recent, granules, p)))
        return false;
    if (bytes == usable)
        return true;
    struct cursor *cursor = &scope->cursor[REGION_NARROW];
    char *gap = next_of(cursor), *end = (char *)p + bytes;
    if ((char *)p + usable != gap || gap == cursor->first)
        return false;
    if (bytes > usable && (bytes - usable > (size_t)(cursor->end - gap) || counter_get(&scope->limit) != SIZE_MAX))
        return false;
    recent_forget(thread_recent);
    note_touched(cursor);
    struct stripe *stripe = narrow_stripe(space, end);
    bits_set(&stripe->start, bits_get(&stripe->start) | narrow_bit(end));
    set_next(cursor, end);
    stripe = narrow_stripe(space, gap);
    bits_set(&stripe->start, bits_get(&stripe->start) & ~narrow_bit(gap));
    return true;
}

bool scope_resize(struct scopes *scopes, unsigned kind, void *p, size_t usable, size_t size) {
    struct region *region = region_of(&scopes->regions, kind, p);
    if (size > WIDE_MAX)
        return false;
    size_t bytes = scope_bytes(kind, size);
    if (bytes == usable)
        return true;
    if (!is_own(region))
        return false;
    recent_forget(thread_recent);
    if (bytes < usable) {
        shrink(scopes, region, p, usable, bytes);
        return true;
    }
    struct cursor *cursor = &thread_scope->cursor[region->shape];
    if (!is_last(region, p, usable) || bytes - usable >= (size_t)(cursor->hole_end - next_of(cursor)) ||
        bytes - usable > room_of(thread_scope))
        return false;
    size_t gap = granule_of(scopes, thread_scope, region->shape, next_of(cursor));
    marks_set_start(cursor->stripes, granule_of(scopes, thread_scope, region->shape, (char *)p + bytes));
    set_next(cursor, (char *)p + bytes);
    marks_clear_start(cursor->stripes, gap);
    apply_limit(thread_scope);
    return true;
}

/* --- large objects --------------------------------------------------------------------------------------- */

static NOINLINE uint64_t detach_large(struct scopes *scopes, struct large_tag *tag, void *p) {
    lock_acquire(lock_of(scopes));
    uint64_t handle = atomic_load_explicit(&tag->owner, memory_order_relaxed);
    struct scope *scope = scope_find(scopes, handle);
    if (scope != NULL) { /* else that scope has ended, or p was freed twice and its tag is none any more */
        list_remove(&tag->link);
        atomic_store_explicit(&tag->owner, 0, memory_order_release);
        counter_sub(&scope->large_live, large_bytes(scopes->regions.runs, p));
    }
    lock_release(lock_of(scopes));
    return scope != NULL ? handle : 0;
}

uint64_t scope_detach_large(struct scopes *scopes, void *p) {
    struct large_tag *tag = large_tag(scopes->regions.runs, p);
    if (LIKELY(atomic_load_explicit(&tag->owner, memory_order_acquire) == 0))
        return 0; /* if it was of a scope, that scope's end is done with it */
    return detach_large(scopes, tag, p);
}

void scope_attach_large(struct scopes *scopes, uint64_t handle, void *p) {
    struct large_tag *tag = large_tag(scopes->regions.runs, p);
    lock_acquire(lock_of(scopes));
    struct scope *scope = scope_find(scopes, handle);
    if (scope != NULL) { /* not ended meanwhile */
        list_push_front(&scope->large, &tag->link);
        atomic_store_explicit(&tag->owner, handle, memory_order_relaxed);
        counter_add(&scope->large_live, large_bytes(scopes->regions.runs, p));
    }
    lock_release(lock_of(scopes));
    if (scope != NULL && is_mine(scope, handle)) {
        note_peak(scope);
        apply_limit(scope);
    }
}

bool scope_has_room(struct scopes *scopes, uint64_t handle, size_t bytes) {
    struct scope *scope = scope_find(scopes, handle);
    if (scope == NULL || counter_get(&scope->limit) == SIZE_MAX)
        return true;
    if (is_mine(scope, handle)) {
        if (room_of(scope) < bytes)
            learn_freed(scopes, scope);
        return room_of(scope) >= bytes;
    }
    /* What has been filled last is known to the scope's thread only; what was freed may have been part of it. */
    size_t allocated = counter_get(&scope->allocated), freed = counter_get(&scope->freed);
    size_t live = (allocated > freed ? allocated - freed : 0) + counter_get(&scope->large_live);
    size_t limit = counter_get(&scope->limit);
    return bytes <= limit && live <= limit - bytes;
}
