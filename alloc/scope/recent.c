/* What a thread has freed most recently. No locks: only its thread uses it, or in a forked child, whoever is left.
 *
 * A fork may come at any time. An object that is pushed or popped just then counts as in it or not, and either way
 * is free in the child, where its thread is not: tops are lowered before objects are freed. */
#include "scope/recent.h"

#include <string.h>

_Thread_local struct recent *thread_recent;

/* Classes are multiples of a granule up to 256 bytes, then of two, then of four. */
#define ROW1(g)                                                                                                   \
    (uint8_t)((g) == 0 || ((g) > 16 && (g) % 2 != 0) || ((g) > 32 && (g) % 4 != 0)                                \
                  ? 0                                                                                             \
                  : CLASS_OF((g) == 0 ? 1 : (g) << NARROW_SHIFT))
#define ROW4(g)  ROW1(g), ROW1((g) + 1), ROW1((g) + 2), ROW1((g) + 3)
#define ROW16(g) ROW4(g), ROW4((g) + 4), ROW4((g) + 8), ROW4((g) + 12)

const uint8_t recent_class[STRIPE_GRANULES + 1] = {ROW16(0), ROW16(16), ROW16(32), ROW16(48), ROW1(64)};

#undef ROW1
#define ROW1(g)           (uint8_t)((g) <= 16 ? (g) : (g) <= 32 ? align_up_to(g, 2) : align_up_to(g, 4))
#define align_up_to(g, n) (((g) + (n)-1) / (n) * (n))

const uint8_t recent_granules[STRIPE_GRANULES + 1] = {ROW16(0), ROW16(16), ROW16(32), ROW16(48), ROW1(64)};

void recent_init(struct recent *recent) {
    memset(recent, 0, sizeof *recent);
    for (unsigned c = 0; c < CLASSES; c++) {
        bool has_slots = c != 0 && c < RECENT_CLASSES;
        slot *first = &recent->slots[has_slots ? c : 0][1];
        atomic_store_explicit(&recent->magazine[c].top, first, memory_order_relaxed);
        atomic_store_explicit(&first[has_slots ? RECENT_SLOTS : 0], recent, memory_order_relaxed);
        recent->magazine[c].end = first + (has_slots ? RECENT_SLOTS : 0);
    }
}

void *recent_empty(const struct space *space, struct recent *recent, struct load *popped) {
    void *already_free = NULL;
    *popped = (struct load){0};
    recent_forget(recent);
    for (; recent->used != 0; recent->used &= recent->used - 1) {
        unsigned c = (unsigned)__builtin_ctzl(recent->used);
        slot *first = &recent->slots[c][1];
        slot *top = atomic_load_explicit(&recent->magazine[c].top, memory_order_relaxed);
        size_t objects = recent->pushed[c] - (size_t)(top - first);
        popped->objects += objects;
        popped->bytes += objects * class_bytes(c);
        recent->pushed[c] = 0;
        atomic_store_explicit(&recent->magazine[c].top, first, memory_order_release);
        for (slot *s = first; s < top; s++) {
            void *p = atomic_load_explicit(s, memory_order_relaxed);
            struct stripe *stripe = narrow_stripe(space, p);
            uint64_t freed = bits_get(&stripe->freed), bit = narrow_bit(p);
            if (UNLIKELY(((freed | bits_get(&stripe->freed_remote)) & bit) != 0))
                already_free = p;
            atomic_store_explicit(&stripe->freed, freed | bit, memory_order_release);
        }
    }
    return already_free;
}
