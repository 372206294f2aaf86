/* The process's heap: the one global, the layers in it, and what the functions of the front have in common. */
#ifndef NEAP_FRONT_HEAP_H
#define NEAP_FRONT_HEAP_H

#include "base/bits.h"
#include "cache/cache.h"
#include "front/options.h"
#include "large/large.h"
#include "neap/neap.h"
#include "os/os.h"
#include "purge/scavenger.h"
#include "scope/scope.h"
#include "slab/bin.h"

struct heap {
    struct runs runs;
    struct bins bins;
    struct caches caches;
    struct scopes scopes;
    struct purge purge;
    struct scavenger scavenger;
    struct options options;
    uintptr_t loader; /* where the dynamic loader lies, and how large it is */
    size_t loader_bytes;
    struct lock making;
    _Atomic bool made; /* the rest is valid */
    _Atomic bool
        shrink_failed; /* some object stayed where it was, for want of memory, when realloc made it smaller */
};

extern struct heap heap;

static inline bool heap_is_made(void) {
    return atomic_load_explicit(&heap.made, memory_order_acquire);
}

/* Makes the heap if that has not been done. False where memory is short. */
bool heap_ready(void);

/* In the drop-in library every function has its standard name too. The core library has neap_ names only. */
#define PUBLIC __attribute__((visibility("default")))
#ifdef NEAP_DROP_IN
#define DROP_IN(ret, name, params) PUBLIC ret name params __attribute__((alias("neap_" #name)))
#else
#define DROP_IN(ret, name, params) _Static_assert(1, "")
#endif

/* glibc's own second names, for programs that wrap malloc with them or pair both kinds. In an archive they would
 * clash with libc.a's. */
#ifdef NEAP_SHARED
#define LIBC_NAME(ret, name, params) PUBLIC ret __libc_##name params __attribute__((alias("neap_" #name)))
#else
#define LIBC_NAME(ret, name, params) _Static_assert(1, "")
#endif

/* A realloc that would waste no more than this part of the object stays in place. */
enum { REALLOC_WASTE = 4 };

/* Where a function was called from, for what may be done there (purge/scavenger.h). */
#define CALLER __builtin_return_address(0)

/* Any allocation: what the fast path in front of it does not serve. NULL with errno ENOMEM where memory is short
 * or size is above PTRDIFF_MAX. alignment is a power of two. Makes the heap at its first call. What the dynamic
 * loader asks for, for threads and libraries, is exempt from scopes. */
void *heap_alloc(size_t size, size_t alignment, bool zero, const void *caller);

/* neap_free for what its fast path does not take. `function` is what the program called, for messages. */
void heap_free(void *p, const char *function, const void *caller);

/* The usable bytes of the object at p, in a unit of that kind, which is live, or the process ends. */
size_t heap_usable(const void *p, unsigned kind, const char *function);

/* Ends the process where p, which is not NULL, cannot have been allocated with that size and alignment. Does
 * nothing unless the option sized_check is on. */
void heap_check_sized(const void *p, size_t alignment, size_t size, const char *function);

/* Ends every slow path that may have grown the heap or freed runs: says in neap_state how far the heap reaches,
 * returns free memory where more is resident than may be, and sees to it that the rest is returned in time. */
void heap_settle(const void *caller, bool frees);

/* Whether the calling thread is inside one of our slow paths, interrupted by a signal. */
bool heap_is_interrupted(void);

/* Registers the handlers of fork.c, once: at the heap's making or our constructor, whichever is first, before most
 * libraries register theirs, so that these run outside ours and may allocate. */
void fork_init(void);

/* Writes the figures of neap_state. */
void report_publish(void);

/* Walks every structure and ends the process where an invariant does not hold; for tests. Other threads may go
 * on. */
void heap_check(void);

#endif
