/* Samples of open scopes, by address, and what became of them, by label and stack. Locks: that of the scopes for
 * all of it, but for what a scope has still to allocate before its next sample, which is its thread's. Stacks are
 * taken without a lock. Both tables are mapped once and resident as far as they are used. */
#include "scope/survivors.h"

#include "base/check.h"
#include "large/large.h"
#include "os/os.h"
#include "scope/inside.h"

#include <string.h>

enum { SAMPLES = 1 << 15, NONE = 0 }; /* samples are numbered from 1 */

struct sample {
    const void *p;
    uint32_t scope;        /* its number */
    uint32_t next;         /* of those with that hash, or unused */
    uint32_t later, older; /* of the scope */
    double objects;        /* that it stands for */
    bool is_large;         /* else in a region, which is the scope's until that ends */
    struct call_stack stack;
};

struct survivor_tables {
    struct survivor_site site[SURVIVOR_SITES]; /* by hash; a label of NULL: none */
    size_t sites;
    uint32_t first[SAMPLES]; /* by hash */
    uint32_t unused, made;
    struct sample sample[SAMPLES + 1];
};
_Static_assert(sizeof(struct survivor_tables) <= SURVIVORS_BYTES, "they fit their memory");

/* --- how often ------------------------------------------------------------------------------------------- */

static uint64_t random_number(struct survivors *survivors) { /* G. Marsaglia's xorshift64 */
    uint64_t x = survivors->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return survivors->random = x;
}

/* Bytes up to the next point: exponentially distributed, by comparisons alone (J. von Neumann, "Various techniques
 * used in connection with random digits", 1951). */
static size_t next_distance(struct survivors *survivors) {
    if (survivors->interval == 1)
        return 0;
    for (size_t whole = 0;; whole++) {
        uint64_t first = random_number(survivors) >> 32, last = first, next;
        bool even = true;
        for (; (next = random_number(survivors) >> 32) < last; last = next)
            even = !even;
        if (even)
            return whole * survivors->interval + (size_t)(first * survivors->interval >> 32);
    }
}

/* How many objects of that size stand behind one that was sampled: 1 / (1 - exp(-size / interval)). */
static double stands_for(const struct survivors *survivors, size_t size) {
    enum { HALVINGS = 10, CERTAIN = 32 };
    double x = (double)size / (double)survivors->interval;
    if (survivors->interval == 1 || x >= CERTAIN)
        return 1;
    x /= 1 << HALVINGS;
    double missed = 1 - x + x * x / 2 - x * x * x / 6;
    for (int i = 0; i < HALVINGS; i++)
        missed *= missed;
    return 1 / (1 - missed);
}

/* --- samples --------------------------------------------------------------------------------------------- */

static uint32_t *chain_of(struct survivor_tables *tables, const void *p) {
    return &tables->first[mix32((uint32_t)((uintptr_t)p >> 4)) % SAMPLES];
}

static uint32_t find(struct survivor_tables *tables, const struct scope *scope, const void *p) {
    uint32_t n = *chain_of(tables, p);
    while (n != NONE && (tables->sample[n].p != p || tables->sample[n].scope != (uint32_t)scope->handle))
        n = tables->sample[n].next;
    return n;
}

static void unchain(struct survivor_tables *tables, uint32_t n) {
    uint32_t *link = chain_of(tables, tables->sample[n].p);
    while (*link != n)
        link = &tables->sample[*link].next;
    *link = tables->sample[n].next;
}

static void chain(struct survivor_tables *tables, uint32_t n) {
    uint32_t *first = chain_of(tables, tables->sample[n].p);
    tables->sample[n].next = *first;
    *first = n;
}

static void give_up(struct survivor_tables *tables, struct scope *scope, uint32_t n) {
    struct sample *sample = &tables->sample[n];
    unchain(tables, n);
    if (sample->later != NONE)
        tables->sample[sample->later].older = sample->older;
    else
        scope->last_sample = sample->older;
    if (sample->older != NONE)
        tables->sample[sample->older].later = sample->later;
    sample->next = tables->unused;
    tables->unused = n;
}

static struct sample *add(struct survivor_tables *tables, struct scope *scope, const void *p) {
    uint32_t n = tables->unused;
    if (n != NONE)
        tables->unused = tables->sample[n].next;
    else if (tables->made < SAMPLES)
        n = ++tables->made;
    else
        return NULL;
    struct sample *sample = &tables->sample[n];
    sample->p = p;
    sample->scope = (uint32_t)scope->handle;
    sample->later = NONE;
    sample->older = scope->last_sample;
    if (sample->older != NONE)
        tables->sample[sample->older].later = n;
    scope->last_sample = n;
    chain(tables, n);
    return sample;
}

void survivors_note(struct scopes *scopes, struct scope *scope, void *p, size_t size, const void *caller) {
    struct survivors *survivors = &scopes->survivors;
    struct call_stack stack;
    size = max_size(size, 1);
    bool is_sampled = size > scope->until_sample;
    if (is_sampled)
        stack.depth = (uint32_t)os_backtrace(caller, stack.address, SURVIVOR_FRAMES);
    else
        scope->until_sample -= size;
    if (!is_sampled && scope->last_sample == NONE)
        return;
    lock_acquire(lock_of(scopes));
    uint32_t before = find(survivors->tables, scope, p); /* what lay here was freed */
    if (before != NONE)
        give_up(survivors->tables, scope, before);
    if (is_sampled) {
        struct sample *sample = add(survivors->tables, scope, p);
        scope->until_sample = next_distance(survivors);
        if (sample != NULL) {
            sample->objects = stands_for(survivors, size);
            sample->is_large = unit_kind_at(&scopes->regions.runs->space.map, p) == UNIT_LARGE;
            sample->stack = stack;
        } else {
            counter_add(&survivors->lost, 1);
        }
    }
    lock_release(lock_of(scopes));
}

void survivors_move(struct scopes *scopes, uint64_t handle, const void *from, const void *to) {
    struct survivor_tables *tables = scopes->survivors.tables;
    if (from == to || tables == NULL)
        return;
    lock_acquire(lock_of(scopes));
    struct scope *scope = scope_find(scopes, handle);
    uint32_t n = scope != NULL ? find(tables, scope, from) : NONE;
    if (n != NONE) {
        uint32_t before = find(tables, scope, to);
        if (before != NONE)
            give_up(tables, scope, before);
        unchain(tables, n);
        tables->sample[n].p = to;
        chain(tables, n);
    }
    lock_release(lock_of(scopes));
}

/* --- survivors ------------------------------------------------------------------------------------------- */

static uint32_t hash_of(const struct label *label, const struct call_stack *stack) {
    uint32_t hash = mix32((uint32_t)(uintptr_t)label);
    for (size_t i = 0; i < stack->depth; i++)
        hash = mix32(hash ^ (uint32_t)stack->address[i]) + (uint32_t)(stack->address[i] >> 32);
    return mix32(hash);
}

static bool is_same(const struct call_stack *a, const struct call_stack *b) {
    return a->depth == b->depth && memcmp(a->address, b->address, a->depth * sizeof *a->address) == 0;
}

/* The site of that label and stack, made if it is new; NULL where there is no room. */
static struct survivor_site *find_site(struct survivor_tables *tables, const struct label *label,
                                       const struct call_stack *stack) {
    for (uint32_t i = hash_of(label, stack);; i++) {
        struct survivor_site *site = &tables->site[i % SURVIVOR_SITES];
        if (site->label == label && is_same(&site->stack, stack))
            return site;
        if (site->label != NULL)
            continue;
        if (tables->sites >= SURVIVOR_SITES / 4 * 3)
            return NULL;
        tables->sites++;
        site->label = label;
        site->stack = *stack;
        return site;
    }
}

static void count(struct survivors *survivors, const struct scope *scope, uint32_t n, size_t bytes) {
    const struct sample *sample = &survivors->tables->sample[n];
    struct survivor_site *site = find_site(survivors->tables, scope->label, &sample->stack);
    if (site == NULL) {
        counter_add(&survivors->lost, 1);
        return;
    }
    site->samples++;
    site->objects += sample->objects;
    site->bytes += sample->objects * (double)bytes;
}

/* Bytes of the object at p in a region of an open scope; 0 where it was freed. */
static size_t live_in_region(const struct scopes *scopes, const void *p) {
    const struct regions *regions = &scopes->regions;
    unsigned kind = unit_kind_at(&regions->runs->space.map, p);
    return region_look(regions, kind, p) == OBJECT_LIVE ? region_usable(regions, kind, p) : 0;
}

bool survivors_init(struct scopes *scopes, size_t interval) {
    struct survivors *survivors = &scopes->survivors;
    survivors->tables = space_survivors(&scopes->regions.runs->space);
    if (survivors->tables == NULL)
        return false;
    survivors->random = os_random() | 1;
    survivors->interval = interval;
    return true;
}

void survivors_begin(struct scopes *scopes, struct scope *scope) {
    bool on = scopes->survivors.interval != SURVIVORS_NOT_SAMPLED;
    scope->until_sample = on ? next_distance(&scopes->survivors) : SIZE_MAX;
    scope->last_sample = NONE;
}

void survivors_drop(struct scopes *scopes, struct scope *scope) {
    while (scope->last_sample != NONE)
        give_up(scopes->survivors.tables, scope, scope->last_sample);
}

void survivors_end(struct scopes *scopes, struct scope *scope) {
    struct survivors *survivors = &scopes->survivors;
    if (scope->last_sample == NONE)
        return;
    for (const struct list *l = scope->large.next; l != &scope->large; l = l->next) {
        const void *p = large_of_tag(scopes->regions.runs, LIST_ENTRY(l, struct large_tag, link));
        uint32_t n = find(survivors->tables, scope, p);
        if (n == NONE)
            continue;
        count(survivors, scope, n, large_bytes(scopes->regions.runs, p));
        give_up(survivors->tables, scope, n);
    }
    while (scope->last_sample != NONE) {
        const struct sample *sample = &survivors->tables->sample[scope->last_sample];
        size_t bytes = sample->is_large ? 0 : live_in_region(scopes, sample->p); /* large ones: those were freed */
        if (bytes != 0)
            count(survivors, scope, scope->last_sample, bytes);
        give_up(survivors->tables, scope, scope->last_sample);
    }
}

bool survivors_next(struct scopes *scopes, struct survivor_site *site, size_t *at) {
    size_t best = SURVIVOR_SITES, last = *at;
    const struct survivor_site *all = scopes->survivors.tables->site;
    lock_acquire(lock_of(scopes));
    for (size_t i = 0; i < SURVIVOR_SITES; i++) {
        bool later =
            last == SURVIVOR_SITES || all[i].bytes < site->bytes || (all[i].bytes <= site->bytes && i > last);
        if (all[i].label != NULL && later && (best == SURVIVOR_SITES || all[i].bytes > all[best].bytes))
            best = i;
    }
    if (best != SURVIVOR_SITES)
        *site = all[best];
    lock_release(lock_of(scopes));
    *at = best;
    return best != SURVIVOR_SITES;
}

void survivors_check(const struct scopes *scopes) {
    struct survivor_tables *tables = scopes->survivors.tables;
    size_t used = 0, unused = 0;
    if (tables == NULL)
        return;
    for (uint32_t number = 1; number <= atomic_load_explicit(&scopes->made, memory_order_relaxed); number++) {
        const struct scope *scope = scope_at(scopes, number);
        for (uint32_t n = scope->handle != 0 ? scope->last_sample : NONE; n != NONE; n = tables->sample[n].older) {
            VERIFY(tables->sample[n].scope == number && find(tables, scope, tables->sample[n].p) == n);
            used++;
        }
    }
    for (uint32_t n = tables->unused; n != NONE; n = tables->sample[n].next)
        unused++;
    VERIFY(used + unused == tables->made);
}
