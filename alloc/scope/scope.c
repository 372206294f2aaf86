/* Scopes: their making and their end, who is in them, and what their fast paths do not do.
 *
 * Locks: that of the regions, for slots, labels, lists and large objects; never while regions are made or given
 * back. Everything else of a scope belongs to the thread whose id is in its state: it entered the scope, or is
 * ending it. */
#include "scope/inside.h"

#include "base/check.h"
#include "large/large.h"

#include <string.h>

enum { RETIRED_AT_ONCE = 32 }; /* regions, under one hold of the lock */

_Thread_local struct scope *thread_scope;
static _Thread_local struct scope *thread_top; /* what the thread has entered last, exempt or not */

void scopes_init(struct scopes *scopes, struct caches *caches) {
    scopes->caches = caches;
    regions_init(&scopes->regions, caches->bins->runs);
}

/* --- from create to end ---------------------------------------------------------------------------------- */

uint64_t scope_create(struct scopes *scopes, const char *label, size_t limit, enum scope_nature nature) {
    uint64_t handle = 0;
    lock_acquire(lock_of(scopes));
    uint32_t number = scopes->first_free, made = atomic_load_explicit(&scopes->made, memory_order_relaxed);
    if (number == 0 && space_scope(&scopes->regions.runs->space, made) != NULL)
        number = made + 1;
    if (number != 0) {
        struct scope *scope = scope_at(scopes, number);
        uint64_t generation = number > made ? 1 : state_of(scope) >> 32;
        scopes->first_free = number > made ? 0 : scope->next_free;
        handle = generation << 32 | number;
        memset(&scope->allocated, 0, offsetof(struct scope, below) - offsetof(struct scope, allocated));
        scope->handle = handle;
        counter_set(&scope->limit, limit);
        scope->nature = (uint8_t)nature;
        scope->is_tight = false;
        scope->label = label_find(&scopes->labels, label);
        list_init(&scope->large);
        survivors_begin(scopes, scope);
        for (size_t s = 0; s < REGION_SHAPES; s++) {
            list_init(&scope->regions[s]);
            scope->region[s] = NULL;
        }
        atomic_store_explicit(&scope->state, free_state(handle), memory_order_relaxed);
        if (number > made)
            atomic_store_explicit(&scopes->made, number, memory_order_release);
        counter_add(&scopes->open, 1);
    }
    lock_release(lock_of(scopes));
    return handle;
}

struct load scope_count_live(const struct scopes *scopes, const struct scope *scope) {
    struct load all = {0};
    for (size_t s = 0; s < REGION_SHAPES; s++)
        for (const struct list *l = scope->regions[s].next; l != &scope->regions[s]; l = l->next) {
            struct load one = region_load(&scopes->regions, LIST_ENTRY(l, struct region, link));
            all.bytes += one.bytes;
            all.objects += one.objects;
        }
    for (size_t s = 0; s < REGION_SHAPES; s++) { /* gaps look live */
        const struct cursor *cursor = &scope->cursor[s];
        char *next = next_of(cursor);
        all.bytes -= (size_t)(cursor->hole_end - next);
        all.objects -= next != NULL;
    }
    for (const struct list *l = scope->large.next; l != &scope->large; l = l->next)
        all.objects++;
    all.bytes += counter_get(&scope->large_live);
    return all;
}

static void close_all(struct scopes *scopes, struct scope *scope) {
    for (unsigned s = 0; s < REGION_SHAPES; s++)
        scope_close_hole(scopes, scope, s);
}

/* Takes all that the scope has from it, a few regions under one hold of the lock, which the caller has. Returns
 * what lives on. */
static struct load retire_all(struct scopes *scopes, struct scope *scope, struct list *excess) {
    struct load all = {0};
    size_t retired = 0;
    for (size_t s = 0; s < REGION_SHAPES; s++)
        while (!list_empty(&scope->regions[s])) {
            struct region *region = LIST_ENTRY(scope->regions[s].next, struct region, link);
            struct load one = region_retire(&scopes->regions, region, excess);
            all.bytes += one.bytes;
            all.objects += one.objects;
            if (++retired % RETIRED_AT_ONCE == 0) {
                lock_release(lock_of(scopes));
                lock_acquire(lock_of(scopes));
            }
        }
    all.bytes += counter_get(&scope->large_live);
    for (; !list_empty(&scope->large); all.objects++) {
        struct large_tag *tag = LIST_ENTRY(scope->large.next, struct large_tag, link);
        list_remove(&tag->link);
        atomic_store_explicit(&tag->owner, 0, memory_order_release);
    }
    return all;
}

/* Frees all that the scope has. The caller holds the lock, but for each large object's free. */
static void destroy_all(struct scopes *scopes, struct scope *scope, struct list *excess) {
    for (size_t s = 0; s < REGION_SHAPES; s++)
        while (!list_empty(&scope->regions[s]))
            region_clear(&scopes->regions, LIST_ENTRY(scope->regions[s].next, struct region, link), excess);
    while (!list_empty(&scope->large)) {
        void *p = large_of_tag(scopes->regions.runs, LIST_ENTRY(scope->large.next, struct large_tag, link));
        lock_release(lock_of(scopes));
        scope_detach_large(scopes, p);
        large_free(scopes->regions.runs, p);
        lock_acquire(lock_of(scopes));
    }
}

/* Enters the scope in the account of its label and gives up its slot. The caller holds the lock. */
static void close_account(struct scopes *scopes, struct scope *scope, struct load surviving) {
    struct label *label = scope->label;
    label->scopes++;
    label->refused += counter_get(&scope->refused);
    label->bytes += counter_get(&scope->allocated) + counter_get(&scope->large_allocated);
    label->objects += counter_get(&scope->objects);
    label->surviving_bytes += surviving.bytes;
    label->surviving_objects += surviving.objects;
    label->peak = max_size(label->peak, counter_get(&scope->peak));
    uint32_t number = (uint32_t)scope->handle;
    uint64_t generation = ((scope->handle >> 32) + 1) << 32;
    atomic_store_explicit(&scope->state, generation, memory_order_relaxed);
    scope->handle = 0;
    counter_sub(&scopes->open, 1);
    if (UNLIKELY(generation == 0))
        return; /* the slot's handles are used up */
    scope->next_free = scopes->first_free;
    scopes->first_free = number;
}

static enum scope_result end(struct scopes *scopes, uint64_t handle, bool destroy) {
    struct scope *scope = scope_find(scopes, handle);
    enum scope_result result =
        scope != NULL ? claim(scope, handle, SCOPE_ENDING | lock_thread_id()) : SCOPE_INVALID;
    if (result != SCOPE_OK)
        return result;
    if (destroy && scope->nature != SCOPE_DESTROYABLE) {
        unclaim(scope);
        return SCOPE_INVALID;
    }
    struct list excess;
    list_init(&excess);
    note_peak(scope);
    close_all(scopes, scope);
    lock_acquire(lock_of(scopes));
    struct load surviving = {0};
    if (destroy) {
        survivors_drop(scopes, scope);
        destroy_all(scopes, scope, &excess);
    } else {
        survivors_end(scopes, scope);
        surviving = retire_all(scopes, scope, &excess);
    }
    close_account(scopes, scope, surviving);
    lock_release(lock_of(scopes));
    region_give_back(&scopes->regions, &excess);
    return SCOPE_OK;
}

enum scope_result scope_end(struct scopes *scopes, uint64_t handle) {
    return end(scopes, handle, false);
}

enum scope_result scope_destroy(struct scopes *scopes, uint64_t handle) {
    return end(scopes, handle, true);
}

enum scope_result scope_set_label(struct scopes *scopes, uint64_t handle, const char *label) {
    lock_acquire(lock_of(scopes));
    struct scope *scope = scope_find(scopes, handle);
    if (scope != NULL)
        scope->label = label_find(&scopes->labels, label);
    lock_release(lock_of(scopes));
    return scope != NULL ? SCOPE_OK : SCOPE_INVALID;
}

enum scope_result scope_figures(struct scopes *scopes, uint64_t handle, struct scope_figures *figures) {
    struct scope *scope;
    bool entered;
    enum scope_result result = borrow(scopes, handle, &scope, &entered);
    if (result != SCOPE_OK)
        return result;
    if (scope == thread_scope)
        scope_empty_recent(scopes);
    lock_acquire(lock_of(scopes));
    struct load live = scope_count_live(scopes, scope);
    *figures = (struct scope_figures){
        .allocated_bytes =
            counter_get(&scope->allocated) + passed_by(scope) + counter_get(&scope->large_allocated),
        .allocated_objects = counter_get(&scope->objects),
        .live_bytes = live.bytes,
        .live_objects = live.objects,
        .peak_bytes = max_size(counter_get(&scope->peak), live_of(scope)),
        .refused = counter_get(&scope->refused),
    };
    lock_release(lock_of(scopes));
    unborrow(scope, entered);
    return SCOPE_OK;
}

bool scopes_next_label(struct scopes *scopes, struct label *label, size_t *at) {
    size_t best = LABELS, last = *at;
    const struct label *all = scopes->labels.label;
    lock_acquire(lock_of(scopes));
    for (size_t i = 0; i < LABELS; i++) {
        size_t bytes = all[i].surviving_bytes;
        bool later =
            last == LABELS || bytes < label->surviving_bytes || (bytes == label->surviving_bytes && i > last);
        if (all[i].scopes != 0 && later && (best == LABELS || bytes > all[best].surviving_bytes))
            best = i;
    }
    if (best != LABELS)
        *label = all[best];
    lock_release(lock_of(scopes));
    *at = best;
    return best != LABELS;
}

/* --- who is in a scope ----------------------------------------------------------------------------------- */

/* The calling thread's recent, made if there is none yet; it stays NULL where the thread can have none, and while
 * survivors are sampled. */
static void make_recent(struct scopes *scopes) {
    uint32_t number = cache_number(scopes->caches);
    if (LIKELY(thread_recent != NULL) || number == CACHE_NONE ||
        scopes->survivors.interval != SURVIVORS_NOT_SAMPLED)
        return;
    lock_acquire(lock_of(scopes));
    struct recent *recent = space_recent(&scopes->regions.runs->space, number);
    lock_release(lock_of(scopes));
    if (recent != NULL)
        recent_init(recent);
    thread_recent = recent;
}

/* From now on allocations come from that scope; NULL: from none. */
static void set_active(struct scopes *scopes, struct scope *scope) {
    scope_empty_recent(scopes);
    thread_scope = scope;
    if (scope == NULL)
        cache_end_diversion();
    else
        scope_divert();
}

enum scope_result scope_enter(struct scopes *scopes, uint64_t handle) {
    struct scope *scope = scope_find(scopes, handle);
    if (scope == NULL)
        return SCOPE_INVALID;
    make_recent(scopes);
    enum scope_result result = claim(scope, handle, lock_thread_id());
    if (result != SCOPE_OK)
        return result;
    if (scope->nature == SCOPE_DESTROYABLE) {
        unclaim(scope);
        return SCOPE_INVALID;
    }
    scope->below = thread_top;
    scope->below_active = thread_scope != NULL;
    thread_top = scope;
    set_active(scopes, scope);
    return SCOPE_OK;
}

static void leave_top(struct scopes *scopes) {
    struct scope *scope = thread_top;
    thread_top = scope->below;
    set_active(scopes, scope->below_active ? scope->below : NULL);
    unclaim(scope);
}

enum scope_result scope_leave(struct scopes *scopes, uint64_t handle) {
    struct scope *scope = scope_find(scopes, handle);
    if (scope == NULL)
        return SCOPE_INVALID;
    if (scope != thread_top)
        return SCOPE_NOT_MINE;
    if (scope != thread_scope)
        return SCOPE_BUSY;
    leave_top(scopes);
    return SCOPE_OK;
}

void scopes_thread_ends(struct scopes *scopes) {
    while (thread_top != NULL) {
        uint64_t ends = thread_top->nature == SCOPE_AUTOMATIC ? thread_top->handle : 0;
        leave_top(scopes);
        if (ends != 0)
            scope_end(scopes, ends);
    }
    thread_recent = NULL; /* the next thread to have this cache has the memory */
}

uint64_t scope_current(void) {
    return thread_scope != NULL ? thread_scope->handle : 0;
}

bool scope_exempt_begin(struct scopes *scopes) {
    bool before = thread_scope != NULL;
    if (before)
        set_active(scopes, NULL);
    return before;
}

void scope_exempt_end(struct scopes *scopes, bool before) {
    if (before)
        set_active(scopes, thread_top);
}

void scopes_after_fork(struct scopes *scopes) {
    if (!lock_of(scopes)->for_fork)
        return;
    const struct space *space = &scopes->regions.runs->space;
    for (size_t at = 0; at + RECENT_BYTES <= space->recents.mapped; at += RECENT_BYTES) {
        struct recent *recent = (struct recent *)(space->recents.base + at);
        struct load popped;
        if (recent != thread_recent)
            recent_empty(space, recent, &popped);
    }
    uint32_t made = atomic_load_explicit(&scopes->made, memory_order_relaxed), me = lock_thread_id();
    for (uint32_t number = 1; number <= made; number++) {
        struct scope *scope = scope_at(scopes, number);
        uint32_t who = (uint32_t)state_of(scope) & ~SCOPE_ENDING;
        if (who == 0 || who == me)
            continue;
        /* It may have been halfway in putting an object into the gap. */
        for (unsigned s = 0; s < REGION_SHAPES; s++) {
            struct cursor *cursor = &scope->cursor[s];
            char *next = next_of(cursor);
            if (next != NULL)
                marks_open(&scopes->regions.shape[s], cursor->stripes,
                           (struct hole){granule_of(scopes, scope, s, next),
                                         granule_of(scopes, scope, s, cursor->hole_end)});
            else /* or on its way to another hole */
                scope->region[s] = NULL;
        }
        unclaim(scope);
    }
}

/* --- debug ----------------------------------------------------------------------------------------------- */

void scopes_check(struct scopes *scopes) {
    regions_check(&scopes->regions);
    lock_acquire(lock_of(scopes));
    size_t open = 0, free_slots = 0, used_up = 0;
    uint32_t made = atomic_load_explicit(&scopes->made, memory_order_relaxed);
    for (uint32_t number = 1; number <= made; number++) {
        struct scope *scope = scope_at(scopes, number);
        open += scope->handle != 0;
        used_up += state_of(scope) >> 32 == 0;
        if (scope->handle == 0)
            continue;
        VERIFY((uint32_t)scope->handle == number && state_of(scope) >> 32 == scope->handle >> 32);
        for (size_t s = 0; s < REGION_SHAPES; s++)
            for (const struct list *l = scope->regions[s].next; l != &scope->regions[s]; l = l->next)
                VERIFY(LIST_ENTRY(l, struct region, link)->owner == scope->handle &&
                       LIST_ENTRY(l, struct region, link)->shape == s);
        for (const struct list *l = scope->large.next; l != &scope->large; l = l->next)
            VERIFY(LIST_ENTRY(l, struct large_tag, link)->owner == scope->handle);
    }
    for (uint32_t number = scopes->first_free; number != 0; number = scope_at(scopes, number)->next_free)
        free_slots++;
    survivors_check(scopes);
    VERIFY(open == scopes->open && open + free_slots + used_up == made);
    lock_release(lock_of(scopes));
}
