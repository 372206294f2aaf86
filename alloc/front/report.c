/* What the heap holds, told through glibc's interfaces. Figures are counted under the locks of what is counted,
 * one after the other: in a busy process they are of slightly different moments. */
#include "front/heap.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>

struct figures {
    size_t mapped;    /* address space of the heap, without metadata */
    size_t live;      /* bytes of live objects, as rounded up to size classes and pages */
    size_t cached;    /* bytes of free objects in thread caches, and of large ones that they keep spare */
    size_t slab_free; /* bytes of free objects in slabs */
    size_t large;     /* bytes of units in large allocations; part of live */
    size_t regions;   /* bytes of regions of scopes; what is live in them is part of live */
    size_t dirty;     /* bytes of free runs that may be resident */
    size_t clean;     /* bytes of free runs that are not resident */
    size_t unmapped;  /* bytes of address space that has been given up */
    size_t metadata;  /* bytes mapped for metadata */
    size_t returned;  /* bytes ever returned to the system */
    size_t refaulted; /* and needed again */
    size_t caches;    /* threads that have a cache */
};

struct class_figures {
    size_t bytes, slabs, live, cached, free; /* of an object; numbers */
};

static struct class_figures count_class(unsigned class) {
    const struct bin *bin = &heap.bins.bin[class];
    const struct divisor *d = &heap.bins.divisors[class];
    struct class_figures f = {.bytes = class_bytes(class), .slabs = counter_get(&bin->slabs)};
    size_t all = f.slabs * objects_of(d);
    size_t allocated = min_size(counter_get(&bin->allocated), all); /* which is less than 0 after double frees */
    f.cached = min_size(caches_count(&heap.caches, class), allocated);
    f.live = allocated - f.cached;
    f.free = all - allocated;
    return f;
}

/* Large allocations keep their units when they become spare, and lose them when the spare is freed. */
static size_t count_large(size_t *spare) {
    size_t all;
    int tries = 8; /* in a busy process it changes all the time */
    do {
        *spare = caches_spare_bytes(&heap.caches);
        all = counter_get(&heap.runs.large_units) << UNIT_SHIFT;
    } while (caches_spare_bytes(&heap.caches) != *spare && --tries > 0);
    return all - min_size(*spare, all);
}

static struct figures count(void) {
    struct figures f = {0};
    if (!heap_is_made())
        return f;
    for (unsigned c = 1; c < CLASSES; c++) {
        struct class_figures of = count_class(c);
        f.live += of.live * of.bytes;
        f.cached += of.cached * of.bytes;
        f.slab_free += of.free * of.bytes;
    }
    const struct runs *runs = &heap.runs;
    size_t used = counter_get(&runs->used_units);
    size_t spare;
    f.large = count_large(&spare);
    f.cached += spare;
    f.regions = counter_get(&heap.scopes.regions.units) << UNIT_SHIFT;
    f.live += f.large + regions_live_bytes(&heap.scopes.regions);
    f.dirty = counter_get(&runs->free_units[RUN_DIRTY]) << UNIT_SHIFT;
    f.clean = counter_get(&runs->free_units[RUN_CLEAN]) << UNIT_SHIFT;
    f.unmapped = counter_get(&runs->free_units[RUN_UNMAPPED]) << UNIT_SHIFT;
    f.mapped = (used << UNIT_SHIFT) + f.dirty + f.clean;
    f.metadata = space_metadata_bytes(&runs->space);
    f.returned = counter_get(&runs->purged_pages) * runs->space.page;
    f.refaulted = counter_get(&runs->refaulted_pages) * runs->space.page;
    f.caches = caches_in_use(&heap.caches);
    return f;
}

static const char *scavenger_says(void) {
    static const char *const words[] = {
        [SCAVENGER_NONE] = "not needed yet", [SCAVENGER_STARTING] = "starting", [SCAVENGER_AWAKE] = "awake",
        [SCAVENGER_ASLEEP] = "asleep",       [SCAVENGER_OFF] = "off",
    };
    return words[atomic_load_explicit(&heap.scavenger.state, memory_order_relaxed)];
}

static void publish(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

void report_publish(void) {
    uint32_t state = atomic_load_explicit(&heap.scavenger.state, memory_order_relaxed);
    bool off = state == SCAVENGER_OFF, runs = state == SCAVENGER_AWAKE || state == SCAVENGER_ASLEEP;
    publish(&neap_state.page_bytes, heap.runs.space.page);
    publish(&neap_state.returned_pages, counter_get(&heap.runs.purged_pages));
    publish(&neap_state.refaulted_pages, counter_get(&heap.runs.refaulted_pages));
    publish(&neap_state.return_price_ns, counter_get(&heap.purge.return_price));
    publish(&neap_state.refault_price_ns, counter_get(&heap.purge.refault_price));
    publish(&neap_state.purge_cpu_ns, atomic_load_explicit(&heap.purge.spent, memory_order_relaxed));
    publish(&neap_state.purge_passes, counter_get(&heap.purge.passes));
    publish(&neap_state.purge_delay_ns, counter_get(&heap.purge.delay));
    __atomic_fetch_and(&neap_state.flags, ~(NEAP_STATE_SCAVENGER | NEAP_STATE_NO_SCAVENGER), __ATOMIC_RELAXED);
    __atomic_fetch_or(&neap_state.flags, (runs ? NEAP_STATE_SCAVENGER : 0) | (off ? NEAP_STATE_NO_SCAVENGER : 0),
                      __ATOMIC_RELAXED);
}

/* The first lines are those of glibc, for scripts that read them. */
PUBLIC void neap_malloc_stats(void) {
    struct figures f = count();
    os_say("system bytes     = %z", f.mapped);
    os_say("in use bytes     = %z", f.live);
    os_say("max mmap regions = 0");
    os_say("max mmap bytes   = 0");
    os_say("live %z, cached %z by %z threads, free in slabs %z bytes", f.live, f.cached, f.caches, f.slab_free);
    os_say("free runs: dirty %z, clean %z, unmapped %z bytes", f.dirty, f.clean, f.unmapped);
    if (f.regions > 0)
        os_say("scopes: %z open, regions %z bytes", counter_get(&heap.scopes.open), f.regions);
    os_say("mapped %z, metadata %z bytes", f.mapped, f.metadata);
    os_say("returned %z bytes, needed again %z, in %z passes and %z us of CPU time", f.returned, f.refaulted,
           counter_get(&heap.purge.passes),
           (size_t)(atomic_load_explicit(&heap.purge.spent, memory_order_relaxed) / 1000));
    os_say("a page's return %z ns, its fault %z ns; a pass every %z ms; scavenger %s",
           counter_get(&heap.purge.return_price), counter_get(&heap.purge.refault_price),
           (size_t)(counter_get(&heap.purge.delay) / MILLISECONDS), scavenger_says());
}

PUBLIC int neap_malloc_info(int options, FILE *out) {
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    struct figures f = count();
    fprintf(out, "<malloc version=\"neap-1\">\n<heap nr=\"0\">\n<sizes>\n");
    for (unsigned c = 1; f.mapped > 0 && c < CLASSES; c++) {
        struct class_figures of = count_class(c);
        if (of.slabs > 0)
            fprintf(out, "<class size=\"%zu\" slabs=\"%zu\" live=\"%zu\" cached=\"%zu\" free=\"%zu\"/>\n",
                    of.bytes, of.slabs, of.live, of.cached, of.free);
    }
    fprintf(out, "</sizes>\n</heap>\n");
    fprintf(out, "<total type=\"live\" size=\"%zu\"/>\n<total type=\"large\" size=\"%zu\"/>\n", f.live, f.large);
    fprintf(out, "<total type=\"cached\" size=\"%zu\"/>\n<total type=\"slab-free\" size=\"%zu\"/>\n", f.cached,
            f.slab_free);
    fprintf(out, "<total type=\"dirty\" size=\"%zu\"/>\n<total type=\"clean\" size=\"%zu\"/>\n", f.dirty, f.clean);
    fprintf(out, "<system type=\"current\" size=\"%zu\"/>\n<system type=\"metadata\" size=\"%zu\"/>\n", f.mapped,
            f.metadata);
    fprintf(out,
            "<purge returned=\"%zu\" refaulted=\"%zu\" passes=\"%zu\" cpu-ns=\"%llu\" return-price-ns=\"%zu\" "
            "refault-price-ns=\"%zu\" delay-ns=\"%zu\" scavenger=\"%s\"/>\n",
            f.returned, f.refaulted, counter_get(&heap.purge.passes),
            (unsigned long long)atomic_load_explicit(&heap.purge.spent, memory_order_relaxed),
            counter_get(&heap.purge.return_price), counter_get(&heap.purge.refault_price),
            counter_get(&heap.purge.delay), scavenger_says());
    fprintf(out, "</malloc>\n");
    return ferror(out) ? -1 : 0;
}

#ifdef NEAP_DROP_IN
PUBLIC struct mallinfo2 mallinfo2(void) {
    struct figures f = count();
    return (struct mallinfo2){
        .arena = f.mapped,
        .ordblks = (f.dirty + f.clean) >> UNIT_SHIFT,
        .uordblks = f.live,
        .fordblks = f.mapped - min_size(f.live, f.mapped),
        .keepcost = f.dirty,
    };
}

/* The old form, whose fields are int: what does not fit is cut off at the largest one. */
static int as_int(size_t n) {
    return n > 0x7fffffff ? 0x7fffffff : (int)n;
}

PUBLIC struct mallinfo mallinfo(void) {
    struct mallinfo2 m = mallinfo2();
    return (struct mallinfo){
        .arena = as_int(m.arena),
        .ordblks = as_int(m.ordblks),
        .uordblks = as_int(m.uordblks),
        .fordblks = as_int(m.fordblks),
        .keepcost = as_int(m.keepcost),
    };
}

/* glibc's parameters tune what neap does not have: those that exist are accepted and do nothing. */
PUBLIC int mallopt(int parameter, int value) {
    (void)value;
    return parameter == M_MXFAST || (parameter <= M_TRIM_THRESHOLD && parameter >= M_ARENA_MAX);
}
#endif

DROP_IN(void, malloc_stats, (void));
DROP_IN(int, malloc_info, (int options, FILE *out));
