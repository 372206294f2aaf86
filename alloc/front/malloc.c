/* malloc and its family, but for aligned allocation. No locks here. */
#include "front/fast_path.h"

#include <errno.h>
#include <string.h>

PUBLIC const char *neap_version(void) {
    return NEAP_VERSION;
}

PUBLIC void *neap_malloc(size_t size) {
    return fast_alloc(size);
}

PUBLIC void neap_free(void *p) {
    fast_free(p, "free");
}

PUBLIC void *neap_calloc(size_t count, size_t size) {
    size_t bytes;
    if (UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    void *p = fast_pop(bytes);
    return LIKELY(p != NULL) ? memset(p, 0, bytes) : heap_alloc(bytes, CLASS_GRAIN, true, CALLER);
}

/* Resizes one large object to another; NULL where it has to be copied, or there is no memory. */
static void *resize_large(void *p, size_t usable, size_t size, const void *caller) {
    uint64_t scope = scope_detach_large(&heap.scopes, p);
    bool fits = size <= usable || scope == 0 || scope_has_room(&heap.scopes, scope, size);
    void *resized = fits ? large_resize(&heap.runs, p, size) : NULL;
    if (scope != 0) {
        scope_attach_large(&heap.scopes, scope, resized != NULL ? resized : p);
        survivors_move(&heap.scopes, scope, p, resized != NULL ? resized : p);
    }
    heap_settle(caller, false);
    return resized;
}

/* What realloc does where the object does not simply stay as it is. */
static NOINLINE void *resize(void *p, size_t size, unsigned kind, size_t usable, const char *function,
                             const void *caller) {
    if (size == 0) {
        if (!fast_push(p))
            heap_free(p, function, caller);
        return NULL;
    }
    if (UNLIKELY(size > PTRDIFF_MAX)) {
        errno = ENOMEM;
        return NULL;
    }
    if (unit_kind_is_region(kind) && scope_resize(&heap.scopes, kind, p, usable, size))
        return p;
    if (kind == UNIT_LARGE && usable > CLASS_MAX_BYTES && size > CLASS_MAX_BYTES) {
        void *resized = resize_large(p, usable, size, caller);
        if (LIKELY(resized != NULL))
            return resized;
    } else if (size <= usable && size >= usable - usable / REALLOC_WASTE) {
        return p;
    }
    void *to = heap_alloc(size, CLASS_GRAIN, false, caller);
    if (UNLIKELY(to == NULL)) {
        if (size > usable)
            return NULL;
        atomic_store_explicit(&heap.shrink_failed, true, memory_order_relaxed);
        return p; /* what shrinks never fails */
    }
    memcpy(to, p, min_size(size, usable));
    if (!fast_push(p))
        heap_free(p, function, caller);
    return to;
}

static INLINE void *reallocate(void *p, size_t size, const char *function) {
    if (UNLIKELY(p == NULL))
        return fast_alloc(size);
    unsigned kind = unit_kind_at(&heap.runs.space.map, p);
    if (unit_kind_is_narrow(kind) && thread_scope != NULL && size - 1 < NARROW_MAX &&
        scope_resize_own(&heap.scopes, &heap.runs.space, p, size))
        return p;
    size_t usable = heap_usable(p, kind, function);
    if (kind < CLASSES && size - 1 < usable && size >= usable - usable / REALLOC_WASTE)
        return p;
    return resize(p, size, kind, usable, function, CALLER);
}

PUBLIC void *neap_realloc(void *p, size_t size) {
    return reallocate(p, size, "realloc");
}

PUBLIC void *neap_reallocarray(void *p, size_t count, size_t size) {
    size_t bytes;
    if (UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    return reallocate(p, bytes, "reallocarray");
}

PUBLIC void neap_free_sized(void *p, size_t size) {
    if (p != NULL)
        heap_check_sized(p, 1, size, "free_sized");
    fast_free(p, "free_sized");
}

static NOINLINE size_t usable_of_rest(void *p, unsigned kind) {
    return p != NULL ? heap_usable(p, kind, "malloc_usable_size") : 0;
}

/* Some programs ask about every object, after malloc and before free. So its slab is looked at only where the
 * thread's magazine is too small to say anything; elsewhere it is enough that it is none of the last objects
 * freed: what was freed before is found where caches and depots are emptied. */
PUBLIC size_t neap_malloc_usable_size(void *p) {
    enum { LAST = 4 };
    unsigned kind = unit_kind_at(&heap.runs.space.map, p);
    if (LIKELY(is_object_start(&heap.bins.divisors[kind], p)) && LIKELY(cache_holds_others(kind, p, LAST)))
        return class_bytes(kind);
    return usable_of_rest(p, kind);
}

PUBLIC size_t neap_purge(void) {
    if (!heap_is_made())
        return 0;
    cache_flush(&heap.caches);
    return purge_all(&heap.purge);
}

PUBLIC int neap_malloc_trim(size_t pad) {
    (void)pad;
    return neap_purge() > 0;
}

/* reallocarray stays the C library's, which calls realloc by its name: where valgrind or another malloc in front
 * of us has taken that and does not know reallocarray, the object is theirs. */
DROP_IN(void *, malloc, (size_t size));
DROP_IN(void, free, (void *p));
DROP_IN(void *, calloc, (size_t count, size_t size));
DROP_IN(void *, realloc, (void *p, size_t size));
DROP_IN(void, free_sized, (void *p, size_t size));
DROP_IN(size_t, malloc_usable_size, (void *p));
DROP_IN(int, malloc_trim, (size_t pad));
LIBC_NAME(void *, malloc, (size_t size));
LIBC_NAME(void, free, (void *p));
LIBC_NAME(void *, calloc, (size_t count, size_t size));
LIBC_NAME(void *, realloc, (void *p, size_t size));
#ifdef NEAP_DROP_IN
PUBLIC void cfree(void *p) __attribute__((alias("neap_free"))); /* from before C89; glibc 2.26 dropped it */
#endif
