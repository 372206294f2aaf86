/* Marks: arithmetic on bits, without branches on what they are where it is done for every stripe. No locks: each
 * word has one writer at a time, but for freed_remote, which is written with read-modify-writes. */
#include "scope/marks.h"

enum { LINES_A_STRIPE = 4, LINE_GRANULES = STRIPE_GRANULES / LINES_A_STRIPE }; /* or a stripe is a line */

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
        load.objects += (size_t)popcount(live);
        load.bytes += (size_t)popcount(covered(&stripes[s], live, &carry)) << shape->shift;
    }
    return load;
}

uint64_t marks_free_lines(const struct shape *shape, const struct stripe *stripes) {
    uint64_t lines = 0, carry = 0;
    for (size_t s = 0; s < shape->stripes; s++) {
        uint64_t free = ~covered(&stripes[s], marks_live(&stripes[s]), &carry);
        if (shape->line_granules == STRIPE_GRANULES)
            lines |= (uint64_t)(free == UINT64_MAX) << s;
        else
            for (size_t line = 0; line < LINES_A_STRIPE; line++)
                lines |= (uint64_t)((uint16_t)(free >> line * LINE_GRANULES) == UINT16_MAX)
                         << (s * LINES_A_STRIPE + line);
    }
    return lines;
}

uint64_t lines_runs(uint64_t lines, size_t count) {
    size_t have = 1;
    while (have < count && lines != 0) {
        size_t step = min_size(have, count - have);
        lines &= lines >> step;
        have += step;
    }
    return lines;
}

static uint64_t holes_for(const struct shape *shape, uint64_t lines, size_t granules) {
    return lines_runs(lines, (granules + shape->line_granules - 1) / shape->line_granules);
}

bool lines_fit(const struct shape *shape, uint64_t lines, size_t granules) {
    return holes_for(shape, lines, granules) != 0;
}

bool lines_take(const struct shape *shape, uint64_t *lines, size_t granules, size_t *start, size_t *end) {
    uint64_t holes = holes_for(shape, *lines, granules);
    if (holes == 0)
        return false;
    size_t first = (size_t)__builtin_ctzl(holes);
    uint64_t taken = ~(*lines >> first);
    size_t behind = taken != 0 ? first + (size_t)__builtin_ctzl(taken) : LINES;
    *lines = behind < LINES ? *lines & UINT64_MAX << behind : 0;
    *start = first * shape->line_granules;
    *end = behind * shape->line_granules;
    return true;
}

void marks_open(const struct shape *shape, struct stripe *stripes, size_t start, size_t end) {
    /* What was dead may reach from the hole into the line behind it. */
    if (end < shape->stripes * STRIPE_GRANULES &&
        (bits_get(&stripes[end / STRIPE_GRANULES].start) & granule_bit(end)) == 0) {
        marks_kill(stripes, end);
        marks_set_start(stripes, end);
    }
    marks_set_start(stripes, start);
    for (size_t at = start, next; at < end; at = next) {
        struct stripe *stripe = &stripes[at / STRIPE_GRANULES];
        next = min_size(align_down(at, STRIPE_GRANULES) + STRIPE_GRANULES, end);
        uint64_t mask = UINT64_MAX << at % STRIPE_GRANULES;
        if (next % STRIPE_GRANULES != 0)
            mask &= granule_bit(next) - 1;
        uint64_t first = at == start ? granule_bit(start) : 0;
        bits_set(&stripe->start, bits_get(&stripe->start) & ~(mask & ~first));
        bits_set(&stripe->freed, bits_get(&stripe->freed) & ~mask);
        bits_set(&stripe->old, bits_get(&stripe->old) & ~mask);
        if ((bits_get(&stripe->freed_remote) & mask) != 0)
            atomic_fetch_and_explicit(&stripe->freed_remote, ~mask, memory_order_relaxed);
    }
}
