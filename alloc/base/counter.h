/* Numbers that one thread at a time writes, under some lock, and anybody may read without it. */
#ifndef NEAP_BASE_COUNTER_H
#define NEAP_BASE_COUNTER_H

#include <stdatomic.h>
#include <stddef.h>

typedef _Atomic size_t counter;

static inline size_t counter_get(const counter *c) {
    return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void counter_set(counter *c, size_t value) {
    atomic_store_explicit(c, value, memory_order_relaxed);
}

/* No atomic read-modify-write: the caller's lock keeps other writers away. */
static inline void counter_add(counter *c, size_t n) {
    counter_set(c, counter_get(c) + n);
}

static inline void counter_sub(counter *c, size_t n) {
    counter_set(c, counter_get(c) - n);
}

#endif
