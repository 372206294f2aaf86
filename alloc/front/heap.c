/* The heap's making, and the slow paths that several of the front's functions share.
 *
 * Locks: `making`, once; else only inside the calls below. */
#include "front/heap.h"

#include "base/check.h"

#include <errno.h>
#include <string.h>

struct heap heap;

_Static_assert(sizeof(struct neap_state) == 256, "programs may hold a copy of it: its size is part of the ABI");

PUBLIC struct neap_state neap_state = {
    .magic = "neap 1",
    .size = sizeof(struct neap_state),
    .version = NEAP_VERSION,
};

static void thread_ends(void *cache) {
    (void)cache;
    scopes_thread_ends(&heap.scopes);
    cache_retire(&heap.caches);
}

static bool make(void) {
    heap.options = options_default();
    options_read(&heap.options);
    os_want_huge_pages(heap.options.thp == THP_SYSTEM);
    os_is_confined(); /* not yet: what comes later will be compared with now */
    if (!runs_init(&heap.runs, heap.options.page_size))
        return false;
    atomic_store_explicit(&heap.runs.unmap, os_overcommit_is_strict(), memory_order_relaxed);
    bins_init(&heap.bins, &heap.runs);
    caches_init(&heap.caches, &heap.bins);
    scopes_init(&heap.scopes, &heap.caches);
    if (heap.options.scope_survivors != 0 && !survivors_init(&heap.scopes, heap.options.scope_survivors))
        os_say("no memory for scope_survivors (ignored)");
    uintptr_t loader_end;
    os_loader_range(&heap.loader, &loader_end);
    heap.loader_bytes = loader_end - heap.loader;
    if (pthread_key_create(&heap.caches.key, thread_ends) != 0)
        return false;
    purge_init(&heap.purge, &heap.caches, &heap.bins, &heap.scopes.regions, &heap.runs,
               heap.options.purge_permille);
    if (heap.options.thp == THP_DENSE && heap.options.scavenger)
        dense_init(&heap.purge.dense, &heap.bins);
    scavenger_init(&heap.scavenger, &heap.purge, heap.options.scavenger, report_publish);
    neap_state.heap_base = heap.runs.space.map.base;
    neap_state.flags |= NEAP_STATE_READY;
    return true;
}

bool heap_ready(void) {
    if (LIKELY(heap_is_made()))
        return true;
    lock_acquire(&heap.making);
    bool mine = !heap_is_made() && make();
    if (mine)
        atomic_store_explicit(&heap.made, true, memory_order_release);
    lock_release(&heap.making);
    if (mine)
        fork_init();
    return heap_is_made();
}

static inline unsigned class_for(size_t size, size_t alignment) {
    if (alignment > CLASS_GRAIN)
        return size_class_aligned(size, alignment);
    return size <= CLASS_MAX_BYTES ? size_class(size) : 0;
}

void heap_settle(const void *caller, bool frees) {
    size_t end = atomic_load_explicit(&heap.runs.space.map.end, memory_order_relaxed);
    __atomic_store_n(&neap_state.heap_end, unit_address(&heap.runs.space.map, end), __ATOMIC_RELAXED);
    if (purge_is_due(&heap.purge))
        purge_excess(&heap.purge);
    scavenger_notice(&heap.scavenger, caller, frees);
}

static void *alloc_slow(size_t size, size_t alignment, unsigned class, bool zero) {
    bool zeroed = false;
    void *p =
        class != 0 ? cache_refill(&heap.caches, class) : large_alloc(&heap.runs, size, alignment, zero, &zeroed);
    if (p != NULL && zero && !zeroed)
        memset(p, 0, size);
    return p;
}

/* With the option scope:thread, a thread's first allocation makes it a scope of its own. */
static _Thread_local bool thread_scoped;

static COLD void enter_thread_scope(void) {
    thread_scoped = true;
    if (os_is_main_thread())
        return;
    uint64_t scope = scope_create(&heap.scopes, "thread", SIZE_MAX, SCOPE_AUTOMATIC);
    if (scope != 0 && scope_enter(&heap.scopes, scope) != SCOPE_OK)
        scope_end(&heap.scopes, scope);
}

/* Gives back what this thread can. False where no heap could hold what was asked for. */
static COLD bool give_back(size_t size, size_t alignment) {
    if (max_size(size, alignment) >> UNIT_SHIFT > heap.runs.space.capacity)
        return false;
    cache_flush(&heap.caches);
    purge_all(&heap.purge);
    return true;
}

static NOINLINE void *alloc_in_scope(size_t size, size_t alignment, bool zero, const void *caller) {
    bool over_limit = false;
    void *p = NULL;
    if (UNLIKELY(!scope_is_diverted())) {
        scope_divert();
        if (alignment <= CLASS_GRAIN && size <= NARROW_MAX && (p = cache_pop(size_class(size))) != NULL)
            return zero ? memset(p, 0, size) : p;
    }
    if (thread_recent != NULL && alignment <= CLASS_GRAIN &&
        (p = scope_fill(&heap.scopes, thread_scope, size)) != NULL)
        return zero ? memset(p, 0, size) : p;
    if (LIKELY(size <= PTRDIFF_MAX)) {
        p = scope_alloc(&heap.scopes, thread_scope, size, alignment, zero, &over_limit);
        if (UNLIKELY(p == NULL && !over_limit) && give_back(size, alignment))
            p = scope_alloc(&heap.scopes, thread_scope, size, alignment, zero, &over_limit);
        if (UNLIKELY(thread_scope->until_sample != SIZE_MAX && p != NULL))
            survivors_note(&heap.scopes, thread_scope, p, size, caller);
        heap_settle(caller, false);
    }
    if (UNLIKELY(p == NULL))
        errno = ENOMEM;
    return p;
}

static void *alloc_scoped(size_t size, size_t alignment, bool zero, const void *caller) {
    void *p = NULL;
    if (LIKELY(thread_recent != NULL && alignment <= CLASS_GRAIN)) /* without one, what survives may be sampled */
        p = scope_bump(&heap.runs.space, thread_scope, size);
    if (UNLIKELY(p == NULL))
        return alloc_in_scope(size, alignment, zero, caller);
    return UNLIKELY(zero) ? memset(p, 0, size) : p;
}

/* For a class, or where that is 0 a large object, outside of scopes. */
static NOINLINE void *alloc_outside(size_t size, size_t alignment, unsigned class, bool zero, const void *caller) {
    void *p = class == 0 ? cache_use_spare(&heap.caches, size, alignment, zero) : NULL;
    if (p != NULL)
        return zero ? memset(p, 0, size) : p;
    if (LIKELY(size <= PTRDIFF_MAX && heap_ready())) {
        if (UNLIKELY(heap.options.scope_thread && !thread_scoped)) {
            enter_thread_scope();
            if (thread_scope != NULL)
                return alloc_in_scope(size, alignment, zero, caller);
        }
        p = alloc_slow(size, alignment, class, zero);
        if (UNLIKELY(p == NULL) && give_back(size, alignment))
            p = alloc_slow(size, alignment, class, zero);
        heap_settle(caller, false);
    }
    if (UNLIKELY(p == NULL))
        errno = ENOMEM;
    return p;
}

void *heap_alloc(size_t size, size_t alignment, bool zero, const void *caller) {
    bool in_scope = UNLIKELY(thread_scope != NULL);
    if (in_scope && (uintptr_t)caller - heap.loader >= heap.loader_bytes)
        return alloc_scoped(size, alignment, zero, caller);
    unsigned class = class_for(size, alignment);
    void *p = class != 0 && !in_scope ? cache_pop(class) : NULL;
    if (UNLIKELY(p == NULL))
        return alloc_outside(size, alignment, class, zero, caller);
    return zero ? memset(p, 0, size) : p;
}

static _Noreturn void die(const char *function, const void *p, const char *what) {
    os_die("%s(%p): %s", function, (uintptr_t)p, what);
}

static _Noreturn void die_bad_pointer(const char *function, const void *p) {
    unsigned kind = unit_kind_at(&heap.runs.space.map, p);
    const struct divisor *d = &heap.bins.divisors[kind];
    if (kind == UNIT_NONE)
        die(function, p, "not a pointer that neap gave out");
    if (unit_kind_is_free(kind) || kind == UNIT_LARGE_SPARE ||
        (kind < CLASSES && slab_offset(d, p) >= d->slab_end) ||
        (unit_kind_is_region(kind) && scope_look(&heap.scopes, kind, p) != OBJECT_INSIDE))
        die(function, p, "there is no object: already free, or never allocated");
    die(function, p, "points inside an object, not to its start");
}

static void free_in_region(void *p, unsigned kind, const char *function, const void *caller) {
    switch (scope_free(&heap.scopes, kind, p)) {
    case OBJECT_LIVE:
        break;
    case OBJECT_DEAD:
        die(function, p, "double free: the object is already free");
    case OBJECT_NONE:
    case OBJECT_INSIDE:
        die_bad_pointer(function, p);
    }
    heap_settle(caller, true);
}

static void free_slow(void *p, unsigned kind, const char *function, const void *caller) {
    if (is_object_start(&heap.bins.divisors[kind], p)) {
        if (cache_holds(kind, p, 1))
            die(function, p, "double free: the object is already free");
        cache_overflow(&heap.caches, kind, p);
    } else {
        if (LIKELY(kind == UNIT_LARGE)) {
            scope_detach_large(&heap.scopes, p);
            if (cache_keep_spare(&heap.caches, p))
                return;
        }
        if (!cache_free_large(&heap.caches, p))
            die_bad_pointer(function, p);
    }
    heap_settle(caller, true);
}

/* For what is no hit of the fast paths. */
static NOINLINE void free_unusual(void *p, const char *function, const void *caller) {
    unsigned kind = unit_kind_at(&heap.runs.space.map, p);
    if (unit_kind_is_region(kind))
        free_in_region(p, kind, function, caller);
    else if (p != NULL)
        free_slow(p, kind, function, caller);
}

/* A free of the thread's own scope takes no slow path, and what it makes free is known to nobody: the scavenger
 * may not run yet, or sleep. So about one in 1 KiB, where the address says so, ends like one. */
enum { OWN_SETTLE_BYTES = 1 << 10 };

static NOINLINE void free_unkept(void *p, size_t granules, const char *function, const void *caller) {
    if (UNLIKELY(!scope_free_unkept(&heap.runs.space, granules, p))) {
        free_unusual(p, function, caller);
    } else if (UNLIKELY((uintptr_t)p % OWN_SETTLE_BYTES == 0)) {
        regions_set_pending(&heap.scopes.regions);
        heap_settle(caller, true);
    }
}

/* What the calling thread's scope has nearly always goes to the recent. */
static NOINLINE void free_other(void *p, const char *function, const void *caller) {
    struct recent *recent = thread_recent;
    const struct scope *scope = thread_scope;
    const struct space *space = &heap.runs.space;
    size_t granules = 0;
    if (recent != NULL && scope != NULL && unit_kind_is_narrow(unit_kind_at(&space->map, p)))
        granules = scope_own_granules(&heap.scopes, space, scope, p);
    if (granules == 0)
        free_unusual(p, function, caller);
    else if (UNLIKELY(!recent_push(recent, granules, p)))
        free_unkept(p, granules, function, caller);
}

void heap_free(void *p, const char *function, const void *caller) {
    struct recent *recent = thread_recent;
    if (recent == NULL || !recent_push_again(recent, p)) /* the rest apart: so nothing is spilled here */
        free_other(p, function, caller);
}

static NOINLINE size_t usable_of_other(const void *p, unsigned kind, const char *function) {
    if (unit_kind_is_region(kind)) {
        size_t usable = scope_usable(&heap.scopes, kind, p);
        if (LIKELY(usable != 0))
            return usable;
        if (scope_look(&heap.scopes, kind, p) == OBJECT_DEAD)
            die(function, p, "the object is already free");
        die_bad_pointer(function, p);
    }
    size_t bytes = large_bytes(&heap.runs, p);
    if (bytes == 0)
        die_bad_pointer(function, p);
    return bytes;
}

size_t heap_usable(const void *p, unsigned kind, const char *function) {
    enum { RECENT = 8 }; /* frees; the whole magazine would cost more than many a caller's work */
    if (UNLIKELY(!is_object_start(&heap.bins.divisors[kind], p)))
        return usable_of_other(p, kind, function);
    if (UNLIKELY(cache_holds(kind, p, RECENT) || bin_holds(&heap.bins, kind, p)))
        die(function, p, "the object is already free");
    return class_bytes(kind);
}

/* Whether an object of that kind and size can come from a request for that. */
static bool fits_request(unsigned kind, size_t usable, size_t size, size_t alignment) {
    if (size > PTRDIFF_MAX)
        return false;
    size_t asked = max_size(size, 1);
    if (unit_kind_is_region(kind))
        return usable == scope_bytes(kind, asked);
    if (kind == UNIT_LARGE)
        return usable == align_up(asked, heap.runs.space.page);
    return kind == class_for(size, alignment);
}

void heap_check_sized(const void *p, size_t alignment, size_t size, const char *function) {
    if (LIKELY(!heap.options.sized_check))
        return;
    unsigned kind = unit_kind_at(&heap.runs.space.map, p);
    size_t usable = heap_usable(p, kind, function);
    bool fits = fits_request(kind, usable, size, alignment);
    /* What was made smaller by realloc may have stayed where it was. */
    bool kept = atomic_load_explicit(&heap.shrink_failed, memory_order_relaxed);
    bool shrunk = alignment <= CLASS_GRAIN && size <= usable && (kept || size >= usable - usable / REALLOC_WASTE);
    if (!fits && !shrunk)
        os_die("%s(%p): size %z does not fit the object, which has %z bytes", function, (uintptr_t)p, size,
               usable);
    if (((uintptr_t)p & (alignment - 1)) != 0)
        os_die("%s(%p): the object is not aligned to %z", function, (uintptr_t)p, alignment);
}

bool heap_is_interrupted(void) {
    return caches_are_interrupted(&heap.caches) || bins_are_interrupted(&heap.bins) ||
           lock_is_mine(&heap.scopes.regions.lock) || lock_is_mine(&heap.runs.lock);
}

void heap_check(void) {
    if (!heap_is_made())
        return;
    runs_check(&heap.runs);
    bins_check(&heap.bins);
    cache_check(&heap.caches);
    scopes_check(&heap.scopes);
}

#ifdef NEAP_DROP_IN
extern void *malloc(size_t size);
extern void free(void *p);
#endif

/* Runs before the constructors of what is linked behind us, but perhaps after allocations. */
__attribute__((constructor(101))) static void start(void) {
    fork_init();
    scavenger_libraries_are_up(&heap.scavenger);
#ifdef NEAP_DROP_IN
    /* Not by comparing addresses: in a program that is not position-independent and takes malloc's address, that
     * is the address of an entry in the program's PLT. */
    void *p = malloc(1);
    if (p != NULL && unit_kind_at(&heap.runs.space.map, p) != UNIT_NONE)
        neap_state.flags |= NEAP_STATE_IN_FRONT;
    free(p);
#endif
}

/* What was freed twice and still lies in this thread's cache or in a depot comes to light at the latest here. */
__attribute__((destructor)) static void finish(void) {
    if (!heap_is_made() || heap_is_interrupted())
        return;
    if (heap.options.stats_exit) {
        neap_malloc_stats();
        if (heap.scopes.labels.used > 0)
            neap_scope_report(stderr);
    }
    cache_flush(&heap.caches);
    die_if_freed_twice(bins_empty_depots(&heap.bins));
}
