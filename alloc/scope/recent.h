/* What a thread has freed most recently of the scope that it allocates from: a few objects a size class, which its
 * next allocations take like those of a cache. They look live in their region until they are really freed: when
 * the thread turns to another scope or to none, and before anything is counted. */
#ifndef NEAP_SCOPE_RECENT_H
#define NEAP_SCOPE_RECENT_H

#include "cache/cache.h"
#include "scope/region.h"

enum {
    RECENT_CLASSES = 1 + CLASS_LINEAR + 3 * CLASS_STEPS, /* up to 1 KiB, and class 0 */
    RECENT_SLOTS = 8, /* of each class; before them lies a NULL, behind them what is no object */
};
_Static_assert(CLASS_BYTES(RECENT_CLASSES - 1) >= NARROW_MAX, "the classes of narrow regions");

struct recent {
    struct magazine magazine[CLASSES]; /* those from RECENT_CLASSES on, and that of class 0, have no slots */
    size_t last;                       /* class of what was pushed last; 0: none */
    uint64_t used;                     /* classes that were pushed to since it was emptied, */
    size_t pushed[RECENT_CLASSES];     /* and how often */
    slot slots[RECENT_CLASSES][1 + RECENT_SLOTS + 1];
};
_Static_assert(sizeof(struct recent) <= RECENT_BYTES, "a recent fits its memory");

/* Stripes of narrow and middle regions follow each other as their regions do: no region has to be looked up for
 * them. */
static inline struct stripe *narrow_stripe(const struct space *space, const void *p) {
    enum { STRIPE_SHIFT = NARROW_SHIFT + 6 };
    return (struct stripe *)space->marks.base + (((uintptr_t)p - space->map.base) >> STRIPE_SHIFT);
}

static inline uint64_t narrow_bit(const void *p) {
    return granule_bit((uintptr_t)p >> NARROW_SHIFT);
}

/* The calling thread's; NULL until it enters a scope. */
extern _Thread_local struct recent *thread_recent;

/* The class whose objects have exactly so many granules, or 0: none. */
extern const uint8_t recent_class[STRIPE_GRANULES + 1];

/* Granules of an object of so many: those of its class. */
extern const uint8_t recent_granules[STRIPE_GRANULES + 1];

/* Keeps p, of the entered scope and of so many granules. False where there is no room, or where p was pushed last
 * before and is now freed twice. */
static inline bool recent_push(struct recent *recent, size_t granules, void *p) {
    unsigned class = recent_class[granules];
    struct magazine *m = &recent->magazine[class];
    slot *top = atomic_load_explicit(&m->top, memory_order_relaxed);
    if (UNLIKELY(top == m->end || atomic_load_explicit(&top[-1], memory_order_relaxed) == p))
        return false;
    atomic_store_explicit(&top[1], recent, memory_order_relaxed);
    atomic_store_explicit(top, p, memory_order_relaxed);
    atomic_store_explicit(&m->top, top + 1, memory_order_release);
    recent->last = class;
    recent->used |= (uint64_t)1 << class;
    recent->pushed[class]++;
    return true;
}

/* Keeps p, which may be any pointer, where it is what was popped last from where was pushed last; then nothing has
 * to be looked up. The slot still holds it: in the slots from the top to one that holds the address of the recent
 * lies what was popped since the last recent_push, and is as it was then unless recent_forget was called. */
static inline bool recent_push_again(struct recent *recent, void *p) {
    struct magazine *m = &recent->magazine[recent->last];
    slot *top = atomic_load_explicit(&m->top, memory_order_relaxed);
    if (UNLIKELY(atomic_load_explicit(top, memory_order_relaxed) != p))
        return false;
    atomic_store_explicit(&m->top, top + 1, memory_order_release);
    recent->pushed[recent->last]++;
    return true;
}

/* Has recent_push_again look nothing up that was popped before: an object may be of another size now, or another
 * may lie in its place. */
static inline void recent_forget(struct recent *recent) {
    if (LIKELY(recent != NULL))
        recent->last = 0;
}

static inline bool recent_ends_with(const struct recent *recent, size_t granules, const void *p) {
    const struct magazine *m = &recent->magazine[recent_class[granules]];
    return atomic_load_explicit(&atomic_load_explicit(&m->top, memory_order_relaxed)[-1], memory_order_relaxed) ==
           p;
}

/* Makes an empty one. */
void recent_init(struct recent *recent);

/* Whether it holds p, of so many granules. */
static inline bool recent_holds(const struct recent *recent, size_t granules, const void *p) {
    unsigned class = recent_class[granules];
    const slot *s = atomic_load_explicit(&recent->magazine[class].top, memory_order_relaxed);
    while (s > &recent->slots[class][1])
        if (slot_peek(--s) == p)
            return true;
    return false;
}

/* Frees all that it holds. Stores what was popped from it since it was last emptied, and returns an object that
 * was free already, or NULL. */
void *recent_empty(const struct space *space, struct recent *recent, struct load *popped);

#endif
