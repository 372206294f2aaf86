/* Marks: arithmetic on bits, without branches on what they are where it is done for every stripe. No locks: each
 * word has one writer at a time, but for freed_remote, which is written with read-modify-writes. */
#include "scope/marks.h"

size_t marks_length(const struct shape *shape, const struct stripe *stripes, size_t granule) {
    uint64_t behind = bits_get(&stripes[granule / STRIPE_GRANULES].start) >> granule % STRIPE_GRANULES >> 1;
    if (LIKELY(behind != 0))
        return (size_t)__builtin_ctzl(behind) + 1;
    size_t s = granule / STRIPE_GRANULES + 1;
    while (s < shape->stripes && bits_get(&stripes[s].start) == 0)
        s++;
    size_t first = s < shape->stripes ? (size_t)__builtin_ctzl(bits_get(&stripes[s].start)) : 0;
    return s * STRIPE_GRANULES + first - granule;
}

bool marks_are_empty(const struct shape *shape, const struct stripe *stripes) {
    for (size_t s = 0; s < shape->stripes; s++)
        if (marks_live(&stripes[s]) != 0)
            return false;
    return true;
}

void marks_wipe(const struct shape *shape, struct stripe *stripes) {
    for (size_t s = 0; s < shape->stripes; s++) {
        bits_set(&stripes[s].start, s == 0);
        bits_set(&stripes[s].freed, s == 0);
        bits_set(&stripes[s].freed_remote, 0);
        bits_set(&stripes[s].old, 0);
    }
}

void marks_age(const struct shape *shape, struct stripe *stripes) {
    for (size_t s = 0; s < shape->stripes; s++)
        bits_set(&stripes[s].old, marks_live(&stripes[s]));
}

void marks_kill_young(const struct shape *shape, struct stripe *stripes) {
    for (size_t s = 0; s < shape->stripes; s++) {
        uint64_t young = bits_get(&stripes[s].start) & ~bits_get(&stripes[s].old);
        atomic_store_explicit(&stripes[s].freed, bits_get(&stripes[s].freed) | young, memory_order_release);
    }
}

/* The granules of one stripe that lie in segments which start at `live`. *carry says whether the last such segment
 * of the stripe before reaches into this one, and then of this one. A one, added behind a segment's start, runs
 * through its granules, where there is no start, to the next start. */
static uint64_t covered(const struct stripe *stripe, uint64_t live, uint64_t *carry) {
    uint64_t others = ~bits_get(&stripe->start), sum;
    bool over = __builtin_add_overflow(others, live << 1 | *carry, &sum);
    *carry = over | live >> 63;
    return (sum ^ others) >> 1 | *carry << 63;
}

struct load marks_count(const struct shape *shape, const struct stripe *stripes, bool with_old) {
    struct load load = {0};
    uint64_t carry = 0;
    for (size_t s = 0; s < shape->stripes; s++) {
        uint64_t live = marks_live(&stripes[s]) & (with_old ? UINT64_MAX : ~bits_get(&stripes[s].old));
        if ((live | carry) == 0)
            continue;
        load.objects += popcount(live);
        load.bytes += (size_t)popcount(covered(&stripes[s], live, &carry)) << shape->shift;
    }
    return load;
}

/* The free granules of one stripe, after the one before. */
static inline uint64_t free_granules(const struct shape *shape, const struct stripe *stripes, size_t s,
                                     uint64_t *carry) {
    uint64_t last = s + 1 == shape->stripes ? granule_bit(STRIPE_GRANULES - 1) : 0;
    return ~(covered(&stripes[s], marks_live(&stripes[s]), carry) | last);
}

static inline size_t ones_above(uint64_t word) {
    return word != UINT64_MAX ? (size_t)__builtin_clzl(~word) : STRIPE_GRANULES;
}

/* Bits that start a run of so many ones, which all lie in the word. */
static inline uint64_t runs_of(uint64_t word, size_t count) {
    size_t have = 1;
    if (count > STRIPE_GRANULES)
        return 0;
    for (; have * 2 <= count; have *= 2)
        word &= word >> have;
    return word & word >> (count - have);
}

size_t marks_free(const struct shape *shape, const struct stripe *stripes, size_t *longest) {
    size_t granules = 0, most = 0;
    uint64_t carry = 0;
    size_t tail = 0; /* free granules before this stripe */
    for (size_t s = 0; s < shape->stripes; s++) {
        uint64_t free = free_granules(shape, stripes, s, &carry);
        size_t count = popcount(free);
        granules += count;
        most = max_size(most, tail + trailing_ones(free));
        for (uint64_t longer; count > most && (longer = runs_of(free, most + 1)) != 0;)
            most = trailing_ones(free >> __builtin_ctzl(longer));
        tail = free == UINT64_MAX ? tail + STRIPE_GRANULES : ones_above(free);
    }
    *longest = most;
    return granules;
}

bool marks_have_free(const struct shape *shape, const struct stripe *stripes, size_t granules) {
    size_t count = 0;
    uint64_t carry = 0;
    for (size_t s = 0; s < shape->stripes && count < granules; s++) {
        uint64_t free = free_granules(shape, stripes, s, &carry);
        count += free != 0 ? popcount(free) : 0;
    }
    return count >= granules;
}

bool marks_find_hole(const struct shape *shape, const struct stripe *stripes, size_t from, size_t granules,
                     struct hole *hole) {
    uint64_t mask = UINT64_MAX << from % STRIPE_GRANULES, carry = 0, runs;
    size_t tail = 0; /* free granules before this stripe */
    for (size_t s = from / STRIPE_GRANULES; s < shape->stripes; s++, mask = UINT64_MAX) {
        uint64_t free = free_granules(shape, stripes, s, &carry) & mask;
        size_t at = s * STRIPE_GRANULES;
        if (free == 0) {
            tail = 0;
            continue;
        }
        if (tail != 0 && tail + trailing_ones(free) >= granules) {
            hole->start = at - tail;
            hole->end = at + trailing_ones(free);
        } else if ((runs = runs_of(free, granules)) != 0) {
            unsigned first = (unsigned)__builtin_ctzl(runs);
            hole->start = at + first;
            hole->end = hole->start + trailing_ones(free >> first);
        } else {
            tail = free == UINT64_MAX ? tail + STRIPE_GRANULES : ones_above(free);
            continue;
        }
        while (hole->end == (s + 1) * STRIPE_GRANULES) /* the last granule of the region is taken */
            hole->end += trailing_ones(free_granules(shape, stripes, ++s, &carry));
        return true;
    }
    return false;
}

uint32_t marks_free_pages(const struct shape *shape, const struct stripe *stripes, size_t stripes_a_page) {
    uint32_t pages = 0;
    uint64_t carry = 0, taken = 0;
    for (size_t s = 0; s < shape->stripes; s++) {
        taken |= covered(&stripes[s], marks_live(&stripes[s]), &carry);
        if ((s + 1) % stripes_a_page != 0)
            continue;
        pages |= (uint32_t)(taken == 0) << s / stripes_a_page;
        taken = 0;
    }
    return pages;
}

void marks_open(const struct shape *shape, struct stripe *stripes, struct hole hole) {
    /* What was dead may reach from the hole into what is behind it. */
    if (hole.end < shape->stripes * STRIPE_GRANULES &&
        (bits_get(&stripes[hole.end / STRIPE_GRANULES].start) & granule_bit(hole.end)) == 0) {
        marks_kill(stripes, hole.end);
        marks_set_start(stripes, hole.end);
    }
    marks_set_start(stripes, hole.start);
    uint64_t mask = UINT64_MAX << hole.start % STRIPE_GRANULES, first = granule_bit(hole.start);
    size_t last = (hole.end - 1) / STRIPE_GRANULES;
    for (size_t s = hole.start / STRIPE_GRANULES; s <= last; s++, mask = UINT64_MAX, first = 0) {
        struct stripe *stripe = &stripes[s];
        if (s == last)
            mask &= UINT64_MAX >> (STRIPE_GRANULES - 1 - (hole.end - 1) % STRIPE_GRANULES);
        bits_set(&stripe->start, bits_get(&stripe->start) & ~(mask & ~first));
        bits_set(&stripe->freed, bits_get(&stripe->freed) & ~mask);
        bits_set(&stripe->old, bits_get(&stripe->old) & ~mask);
        if ((bits_get(&stripe->freed_remote) & mask) != 0)
            atomic_fetch_and_explicit(&stripe->freed_remote, ~mask, memory_order_relaxed);
    }
}
