/* Scopes: what one request, or another piece of work, allocates between its begin and its end lies together, apart
 * from what others allocate, and is counted. No object is freed by the end of its scope.
 *
 * A thread that has entered a scope allocates from it: small objects in narrow regions, larger ones in wide
 * regions, the largest as large allocations that are tagged with the scope. One thread at a time may have entered
 * a scope, and that one fills its regions without a lock. */
#ifndef NEAP_SCOPE_SCOPE_H
#define NEAP_SCOPE_SCOPE_H

#include "cache/cache.h"
#include "scope/label.h"
#include "scope/recent.h"
#include "scope/survivors.h"

/* The hole that is being filled. */
struct cursor {
    char *_Atomic next; /* where its gap starts; other threads look at it to tell it from an object */
    char *end;          /* the first byte that may not be filled now, for the limit or because a gap has to stay */
    char *hole_end;     /* NULL, as everything here, where there is no hole */
    char *first;        /* where it began */
    char *touched;      /* how far it was filled, before frees or shrinking gave some of that back */
    char *base;         /* of its region */
    struct stripe *stripes;
};

/* Written by the thread that has entered the scope, but for what says otherwise. */
struct scope {
    _Alignas(CACHE_LINE) uint64_t handle; /* of the regions' owner; 0: this is none */
    struct cursor cursor[REGION_SHAPES];
    _Atomic uint64_t state;  /* generation << 32 | the thread that has entered it, or SCOPE_ENDING */
    counter allocated;       /* bytes, ever, in regions, but for what the cursors have passed */
    counter objects;         /* likewise, with large ones */
    counter freed;           /* bytes of them, as far as known */
    counter learnt;          /* what had been allocated when that was learnt */
    counter peak;            /* live bytes, at most */
    counter limit;           /* live bytes, at most */
    counter refused;         /* requests, for that limit */
    counter large_allocated; /* bytes, ever */
    counter large_live;      /* bytes; written under the lock, by anybody */
    size_t until_sample;     /* bytes to be allocated before the next sample; SIZE_MAX: none are taken */
    struct scope *below;     /* entered before, by the same thread */
    bool below_active;       /* and allocated from when this was entered */
    uint8_t nature;
    bool is_tight;                /* the limit keeps a hole from being filled to its end */
    uint32_t next_free;           /* slot; 0: last */
    _Atomic uint32_t last_sample; /* of survivors.c; changed under the lock */
    struct label *label;
    struct region *region[REGION_SHAPES]; /* being filled */
    struct list regions[REGION_SHAPES];
    struct list large;
};
_Static_assert(sizeof(struct scope) <= SCOPE_BYTES, "a scope fits its memory");

struct scopes {
    struct regions regions; /* their lock is ours */
    struct caches *caches;
    _Atomic uint32_t made; /* slots that there are */
    uint32_t first_free;   /* slot; 0: none */
    counter open;
    struct labels labels;
    struct survivors survivors;
};

/* Where the calling thread's allocations go; NULL: to its cache. */
extern _Thread_local struct scope *thread_scope;

void scopes_init(struct scopes *scopes, struct caches *caches);

enum scope_result { SCOPE_OK, SCOPE_INVALID, SCOPE_BUSY, SCOPE_NOT_MINE, SCOPE_NO_MEMORY };

enum scope_nature {
    SCOPE_ORDINARY,
    SCOPE_DESTROYABLE,
    SCOPE_AUTOMATIC, /* ends with the thread that has entered it then */
};

/* A new scope's handle, or 0 where the system refuses memory. A destroyable one takes objects by scope_malloc
 * only. */
uint64_t scope_create(struct scopes *scopes, const char *label, size_t limit, enum scope_nature nature);

/* INVALID: there is no such scope, or it is destroyable. BUSY: a thread has entered it. */
enum scope_result scope_enter(struct scopes *scopes, uint64_t handle);

/* NOT_MINE: it is not what the calling thread has entered last. BUSY: an exempt section is open in it. */
enum scope_result scope_leave(struct scopes *scopes, uint64_t handle);

/* Retires the scope's memory; what lives, stays. BUSY: a thread has entered it. */
enum scope_result scope_end(struct scopes *scopes, uint64_t handle);

/* Frees all objects of a destroyable scope, and ends it. INVALID also where it is not destroyable. */
enum scope_result scope_destroy(struct scopes *scopes, uint64_t handle);

enum scope_result scope_set_label(struct scopes *scopes, uint64_t handle, const char *label);

/* At a thread's end: leaves what it has entered. */
void scopes_thread_ends(struct scopes *scopes);

/* Has the calling thread, which has a scope to allocate from, find there what it has freed most recently. */
static inline void scope_divert(void) {
    cache_divert(thread_recent != NULL ? thread_recent->magazine : NULL);
}

_Static_assert(offsetof(struct recent, magazine) == 0, "see scope_is_diverted");

/* Whether it still does: its cache may have been taken back; or the thread has nothing to find things in. */
static inline bool scope_is_diverted(void) {
    return (void *)atomic_load_explicit(&thread_source, memory_order_relaxed) == (void *)thread_recent;
}

/* The handle of the scope that the calling thread allocates from; 0: none. */
uint64_t scope_current(void);

/* Has the thread allocate outside of its scope, until the matching end is given what this returned. */
bool scope_exempt_begin(struct scopes *scopes);
void scope_exempt_end(struct scopes *scopes, bool before);

/* Allocates in a scope that no thread has entered, or the calling one has. Stores the result in *p. */
enum scope_result scope_malloc(struct scopes *scopes, uint64_t handle, size_t size, const void *caller, void **p);

struct scope_figures {
    size_t allocated_bytes, allocated_objects, live_bytes, live_objects, peak_bytes, refused;
};
enum scope_result scope_figures(struct scopes *scopes, uint64_t handle, struct scope_figures *figures);

/* Allocates in a scope that the calling thread has entered. NULL where memory is short or, *over_limit, the
 * scope's limit is reached. size is at most PTRDIFF_MAX. */
void *scope_alloc(struct scopes *scopes, struct scope *scope, size_t size, size_t alignment, bool zero,
                  bool *over_limit);

/* Bytes of the live object at p in a region of that kind; 0 where p is anything else. */
size_t scope_usable(const struct scopes *scopes, unsigned kind, const void *p);

/* What p, in a region of that kind, points to. */
enum region_answer scope_look(const struct scopes *scopes, unsigned kind, const void *p);

/* Frees the object at p in a region of that kind. Returns what it was. */
enum region_answer scope_free(struct scopes *scopes, unsigned kind, void *p);

/* Makes the live object at p, which has `usable` bytes, of that size, where it lies. False where it cannot. */
bool scope_resize(struct scopes *scopes, unsigned kind, void *p, size_t usable, size_t size);

/* Before the large object at p is freed or resized: takes it from its scope, if it has one, and returns that
 * scope's handle or 0. After it was resized: puts it back. */
uint64_t scope_detach_large(struct scopes *scopes, void *p);
void scope_attach_large(struct scopes *scopes, uint64_t handle, void *p);

/* Whether the scope of that handle may have so many more bytes. */
bool scope_has_room(struct scopes *scopes, uint64_t handle, size_t bytes);

/* The label that comes after *label, which was at *at, in the order of surviving bytes; *at is LABELS before the
 * first. False where there is no other. */
bool scopes_next_label(struct scopes *scopes, struct label *label, size_t *at);

/* In a forked child: scopes that other threads had entered are entered by nobody. */
void scopes_after_fork(struct scopes *scopes);

void scopes_check(struct scopes *scopes);

/* --- what an allocation and a free in a scope nearly always do -------------------------------------------- */

/* How large an object in a narrow region is, so that it can be used again for all sizes of its class. */
static inline size_t narrow_bytes(size_t size) {
    size_t granules = ((max_size(size, 1) - 1) >> NARROW_SHIFT) + 1;
    if (LIKELY(granules <= STRIPE_GRANULES))
        return (size_t)recent_granules[granules] << NARROW_SHIFT;
    return max_size(granules << NARROW_SHIFT, size); /* the former overflows where size is next to SIZE_MAX */
}

/* The same in a region of that kind. */
static inline size_t scope_bytes(unsigned kind, size_t size) {
    return kind != UNIT_REGION_WIDE ? narrow_bytes(size) : align_up(size, (size_t)1 << WIDE_SHIFT);
}

/* An object of that size in the narrow hole that is being filled, or NULL. */
static inline void *scope_bump(const struct space *space, struct scope *scope, size_t size) {
    struct cursor *cursor = &scope->cursor[REGION_NARROW];
    char *p = atomic_load_explicit(&cursor->next, memory_order_relaxed);
    size_t bytes = narrow_bytes(size);
    if (UNLIKELY(bytes > (size_t)(cursor->end - p)))
        return NULL;
    char *next = p + bytes;
    struct stripe *stripe = narrow_stripe(space, next);
    atomic_store_explicit(&cursor->next, next, memory_order_relaxed);
    bits_set(&stripe->start, bits_get(&stripe->start) | narrow_bit(next));
    counter_add(&scope->objects, 1);
    return p;
}

/* The same, of any size, in the regions that are being filled, as far from the limit as it takes to need no other
 * look at that. */
void *scope_fill(struct scopes *scopes, struct scope *scope, size_t size);

/* Granules of the object at p, in a narrow or middle region, if it is live and of that scope, which the calling
 * thread allocates from; else 0. What the recent holds looks live. */
static inline size_t scope_own_granules(const struct scopes *scopes, const struct space *space,
                                        const struct scope *scope, const void *p) {
    const struct region *region = region_narrow(&scopes->regions, space, p);
    if (UNLIKELY(scope->handle != atomic_load_explicit(&region->owner, memory_order_relaxed)))
        return 0;
    const struct stripe *stripe = narrow_stripe(space, p);
    size_t at = (uintptr_t)p >> NARROW_SHIFT;
    uint64_t start = bits_get(&stripe->start), none = ~start | bits_get(&stripe->old);
    none |= bits_get(&stripe->freed) | bits_get(&stripe->freed_remote);
    if (UNLIKELY((none >> at % STRIPE_GRANULES & 1) != 0) || UNLIKELY((uintptr_t)p % (1 << NARROW_SHIFT) != 0) ||
        UNLIKELY(p == atomic_load_explicit(&scope->cursor[REGION_NARROW].next, memory_order_relaxed)) ||
        UNLIKELY(p == atomic_load_explicit(&scope->cursor[REGION_MIDDLE].next, memory_order_relaxed)))
        return 0;
    /* The 64 granules behind p; no object ends where its region does. */
    uint64_t behind = start >> at % STRIPE_GRANULES >> 1;
    if (UNLIKELY(behind == 0))
        behind = bits_get(&stripe[1].start) << ~at % STRIPE_GRANULES;
    return LIKELY(behind != 0) ? (unsigned)__builtin_ctzl(behind) + 1u : 0;
}

/* Frees such an object that lies before the gap that its scope fills, so that it becomes part of that. */
void scope_take_back(char *p);

/* Frees such an object that the recent has no room for. False where it was freed already. One in a middle region
 * never ends at the gap, for no object ends where its region does. */
static inline bool scope_free_unkept(const struct space *space, size_t granules, void *p) {
    const char *gap = atomic_load_explicit(&thread_scope->cursor[REGION_NARROW].next, memory_order_relaxed);
    if (UNLIKELY(recent_ends_with(thread_recent, granules, p)))
        return false;
    struct stripe *stripe = narrow_stripe(space, p);
    if ((char *)p + (granules << NARROW_SHIFT) == gap)
        scope_take_back(p);
    else
        atomic_store_explicit(&stripe->freed, bits_get(&stripe->freed) | narrow_bit(p), memory_order_release);
    return true;
}

/* Makes such an object of that size, where it lies. False where it cannot, and where p is anything else. */
bool scope_resize_own(const struct scopes *scopes, const struct space *space, void *p, size_t size);

#endif
