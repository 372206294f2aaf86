/* Allocations above the largest size class: runs of their own. Sizes are rounded up to pages inside their units;
 * what is never touched is never resident.
 *
 * Locks: that of the runs, inside the calls to them. An allocation's own metadata belongs to its owner: the
 * program may not resize and free one object in two threads at once. */
#ifndef NEAP_LARGE_LARGE_H
#define NEAP_LARGE_LARGE_H

#include "base/list.h"
#include "page/run.h"

/* What a layer above notes of an allocation; zero at first, and again after large_resize has moved it. */
struct large_tag {
    _Atomic uint64_t owner;
    struct list link;
};

/* Allocates `size` bytes, at most PTRDIFF_MAX, at a multiple of `alignment`, a power of two. *zeroed says whether
 * they read as zeroes; want_zeroed asks for that where it is cheap. NULL where the system refuses. */
void *large_alloc(struct runs *runs, size_t size, size_t alignment, bool want_zeroed, bool *zeroed);

/* Frees what large_alloc returned. False where p is no live large allocation. */
bool large_free(struct runs *runs, void *p);

/* Makes p `size` bytes large, in place or by moving its pages, and returns where it is; NULL where the caller has
 * to copy, or memory is short. `size` is that of a large allocation, too. */
void *large_resize(struct runs *runs, void *p, size_t size);

/* The tag of a live large allocation. */
struct large_tag *large_tag(const struct runs *runs, const void *p);

/* Where the allocation with that tag lies. */
void *large_of_tag(const struct runs *runs, const struct large_tag *tag);

/* Bytes that may be used at p; 0 where p is not the start of a live large allocation. */
size_t large_bytes(const struct runs *runs, const void *p);

#endif
