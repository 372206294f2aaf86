/* What the files of this folder know of scopes beyond scope.h. */
#ifndef NEAP_SCOPE_INSIDE_H
#define NEAP_SCOPE_INSIDE_H

#include "scope/scope.h"

#define SCOPE_ENDING 0x80000000u

static inline struct lock *lock_of(struct scopes *scopes) {
    return &scopes->regions.lock;
}

static inline struct scope *scope_at(const struct scopes *scopes, uint32_t number) {
    return (struct scope *)(scopes->regions.runs->space.scopes.base + (size_t)(number - 1) * SCOPE_BYTES);
}

static inline uint64_t state_of(const struct scope *scope) {
    return atomic_load_explicit(&scope->state, memory_order_relaxed);
}

static inline struct scope *scope_find(const struct scopes *scopes, uint64_t handle) {
    uint32_t number = (uint32_t)handle;
    if (number == 0 || handle >> 32 == 0 || number > atomic_load_explicit(&scopes->made, memory_order_acquire))
        return NULL;
    struct scope *scope = scope_at(scopes, number);
    return state_of(scope) >> 32 == handle >> 32 ? scope : NULL;
}

static inline uint64_t free_state(uint64_t handle) {
    return handle >> 32 << 32;
}

/* Makes the scope the calling thread's, to enter or to end it. */
static inline enum scope_result claim(struct scope *scope, uint64_t handle, uint32_t as) {
    uint64_t seen = free_state(handle);
    if (atomic_compare_exchange_strong_explicit(&scope->state, &seen, seen | as, memory_order_acquire,
                                                memory_order_relaxed))
        return SCOPE_OK;
    return seen >> 32 == handle >> 32 ? SCOPE_BUSY : SCOPE_INVALID;
}

static inline void unclaim(struct scope *scope) {
    atomic_store_explicit(&scope->state, free_state(scope->handle), memory_order_release);
}

static inline char *next_of(const struct cursor *cursor) {
    return atomic_load_explicit(&cursor->next, memory_order_relaxed);
}

static inline void set_next(struct cursor *cursor, char *next) {
    atomic_store_explicit(&cursor->next, next, memory_order_relaxed);
}

static inline unsigned shift_of(const struct scopes *scopes, unsigned shape) {
    return scopes->regions.shape[shape].shift;
}

static inline size_t granule_of(const struct scopes *scopes, const struct scope *scope, unsigned shape,
                                const char *p) {
    return (size_t)(p - scope->cursor[shape].base) >> shift_of(scopes, shape);
}

static inline void note_touched(struct cursor *cursor) {
    if (next_of(cursor) > cursor->touched)
        cursor->touched = next_of(cursor);
}

/* Bytes that the cursors have passed since they entered their holes. */
static inline size_t passed_by(const struct scope *scope) {
    size_t bytes = 0;
    for (unsigned s = 0; s < REGION_SHAPES; s++)
        bytes += (size_t)(next_of(&scope->cursor[s]) - scope->cursor[s].first);
    return bytes;
}

static inline size_t allocated_of(const struct scope *scope) {
    return counter_get(&scope->allocated) + passed_by(scope);
}

/* Bytes that may be live: what has been freed is not all known. */
static inline size_t live_of(const struct scope *scope) {
    return allocated_of(scope) - counter_get(&scope->freed) + counter_get(&scope->large_live);
}

static inline void note_peak(struct scope *scope) {
    counter_set(&scope->peak, max_size(counter_get(&scope->peak), live_of(scope)));
}

/* Whether the calling thread has entered it. */
static inline bool is_mine(const struct scope *scope, uint64_t handle) {
    return state_of(scope) == (free_state(handle) | lock_thread_id());
}

/* The scope is the calling thread's until it is given back: it has entered it, or nobody has. */
static inline enum scope_result borrow(const struct scopes *scopes, uint64_t handle, struct scope **out,
                                       bool *entered) {
    struct scope *scope = scope_find(scopes, handle);
    if (scope == NULL)
        return SCOPE_INVALID;
    *out = scope;
    *entered = is_mine(scope, handle);
    return *entered ? SCOPE_OK : claim(scope, handle, lock_thread_id());
}

static inline void unborrow(struct scope *scope, bool entered) {
    if (!entered)
        unclaim(scope);
}

/* Leaves the hole that is being filled: counts what was filled and gives up what remains. */
void scope_close_hole(struct scopes *scopes, struct scope *scope, unsigned shape);

/* Frees what the calling thread has freed most recently of the scope that it allocates from. */
void scope_empty_recent(struct scopes *scopes);

/* What is live of the scope's objects. The caller holds the lock. */
struct load scope_count_live(const struct scopes *scopes, const struct scope *scope);

#endif
