/* neap: a malloc whose resident memory stays level.
 *
 * The functions below are neap's own names. In libneap.so and libneap.a the standard names (malloc, free, …)
 * are the same functions, so memory from one may be given to the other; libneap-core.a has these names only
 * and leaves the process's malloc alone.
 *
 * Every function may be called from any thread at any time, also before main, in atexit handlers and
 * thread-local destructors, except where its comment says otherwise. None is async-signal-safe.
 *
 * SPDX-License-Identifier: MIT */
#ifndef NEAP_NEAP_H
#define NEAP_NEAP_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NEAP_VERSION_MAJOR 0
#define NEAP_VERSION_MINOR 1
#define NEAP_VERSION_PATCH 0
#define NEAP_VERSION       "0.1.0"

/** The version of the library that runs, which may be newer than NEAP_VERSION of the headers compiled with. */
const char *neap_version(void);

/** Allocates size bytes aligned to 16. size 0 gives a unique pointer that can be freed.
 *  Returns NULL with errno ENOMEM where memory is short or size is above PTRDIFF_MAX. */
void *neap_malloc(size_t size);

/** Allocates count * size zeroed bytes; ENOMEM also where the product overflows. */
void *neap_calloc(size_t count, size_t size);

/** Resizes p to size bytes, in place where possible, and returns where it is now; its contents are kept up to
 *  the smaller size. realloc(NULL, n) is malloc(n); realloc(p, 0) frees p and returns NULL, as glibc does.
 *  On failure NULL with errno ENOMEM, and p is unchanged. */
void *neap_realloc(void *p, size_t size);

/** realloc(p, count * size), with ENOMEM where the product overflows. */
void *neap_reallocarray(void *p, size_t count, size_t size);

/** Frees what any function of this header returned; NULL does nothing. errno is kept.
 *  A pointer that is not one of a live object ends the process with a message on stderr. */
void neap_free(void *p);

/** free for who knows the size that was asked for (C23). With the option sized_check:on a wrong size ends the
 *  process with a message. */
void neap_free_sized(void *p, size_t size);

/** free for who knows the alignment and size that were asked of aligned_alloc (C23). Checked like free_sized. */
void neap_free_aligned_sized(void *p, size_t alignment, size_t size);

/** Stores an object of size bytes at a multiple of alignment in *out and returns 0. Returns EINVAL where
 *  alignment is not a power of two that is a multiple of sizeof(void *), ENOMEM where memory is short; *out is
 *  then untouched. Where memory is short errno is ENOMEM too, as with glibc, on which programs rely. */
int neap_posix_memalign(void **out, size_t alignment, size_t size);

/** Allocates size bytes at a multiple of alignment. NULL with errno EINVAL where alignment is not a power of
 *  two (C23), ENOMEM where memory is short. */
void *neap_aligned_alloc(size_t alignment, size_t size);

/** Like aligned_alloc, but rounds alignment up to a power of two, as glibc does. */
void *neap_memalign(size_t alignment, size_t size);

/** Allocates size bytes at the start of a page. */
void *neap_valloc(size_t size);

/** Allocates size bytes, rounded up to whole pages, at the start of a page. */
void *neap_pvalloc(size_t size);

/** How many bytes at p may be used: at least what was asked for. 0 for NULL. */
size_t neap_malloc_usable_size(void *p);

/** Returns all free memory that can be returned to the system, whatever pad says; all threads' caches are
 *  emptied. Returns 1 if any memory was given back, else 0. Takes time in proportion to it. */
int neap_malloc_trim(size_t pad);

/** Takes back what idle threads have in their caches, and returns all free memory that can be returned to the
 *  system, at once. Returns how many bytes. Takes time in proportion to them. What malloc_trim does, with an
 * answer. */
size_t neap_purge(void);

/** Prints what the heap holds to stderr, in a few lines. */
void neap_malloc_stats(void);

/** Writes what the heap holds to `out`, as XML; options must be 0. Returns 0, or -1 with errno set. */
int neap_malloc_info(int options, FILE *out);

/* --- scopes -------------------------------------------------------------------------------------------------
 *
 * A scope is what one request, connection or job allocates between its begin and its end. It lies together, apart
 * from what others allocate, and is counted. While a thread has entered a scope, malloc and its kind allocate in
 * it; free, realloc and malloc_usable_size take its objects like any others, from any thread, at any time, also
 * after its end: the end of a scope frees no live object. Its empty memory is used again at once, and what
 * survives stays where it is. See docs/scopes.md.
 *
 * One thread at a time may have entered a scope; it may leave it at any point, and another may enter it. A thread
 * may enter several, one inside the other. Functions that return int return 0, or the number of an error; none
 * sets errno but neap_scope_create and neap_scope_malloc. */

/** Names a scope. 0 is none; the handle of a scope that has ended is not used again. */
typedef uint64_t neap_scope;

struct neap_scope_options {
    const char
        *label;     /**< what the scope is counted under, such as a route; up to 63 bytes are copied. NULL: none */
    size_t limit;   /**< how many bytes may live in it at once; 0: any number. Beyond, malloc fails with ENOMEM */
    unsigned flags; /**< NEAP_SCOPE_* */
    unsigned reserved[5]; /**< 0 */
};
#define NEAP_SCOPE_DESTROYABLE 1u /**< takes objects by neap_scope_malloc only; see neap_scope_destroy */

/** Makes a scope; options may be NULL. Costs no memory to speak of until something is allocated in it.
 *  Returns 0 with errno ENOMEM where memory is short, EINVAL for flags that are not known. */
neap_scope neap_scope_create(const struct neap_scope_options *options);

/** Has the calling thread allocate in the scope from now on. EINVAL: there is no such scope (any more), or it is
 *  destroyable. EBUSY: this thread or another has entered it, or is ending it. */
int neap_scope_enter(neap_scope scope);

/** Takes back the calling thread's last enter. EINVAL: there is no such scope. EPERM: it is not what the calling
 * thread has entered last. EBUSY: an exempt section that began in it has not ended. A thread that ends leaves all.
 */
int neap_scope_leave(neap_scope scope);

/** Ends the scope. What lives in it lives on, and is counted as surviving under the scope's label. EINVAL: there
 * is no such scope (any more). EBUSY: a thread has entered it. */
int neap_scope_end(neap_scope scope);

/** The scope that the calling thread's next allocation goes to; 0: none. */
neap_scope neap_scope_current(void);

/** Gives the scope another label, for who knows only later. EINVAL: there is no such scope. */
int neap_scope_set_label(neap_scope scope, const char *label);

/** Allocates size bytes in a scope without entering it. NULL with errno ENOMEM: memory is short, size is above
 *  PTRDIFF_MAX or the scope's limit is reached; EINVAL: there is no such scope; EBUSY: another thread has entered
 * it, or allocates in it in this way just now. The object may be freed like any other; one that realloc has moved
 * is no longer of the scope. */
void *neap_scope_malloc(neap_scope scope, size_t size);

/** Frees all objects of a destroyable scope at once, and ends it. Nothing may point to them any more. EINVAL:
 * there is no such scope (any more), or it is not destroyable. EBUSY: another thread is using it. */
int neap_scope_destroy(neap_scope scope);

/** Of one scope; sizes as rounded up by the allocator. */
struct neap_scope_stats {
    size_t allocated_bytes, allocated_objects; /**< ever */
    size_t live_bytes, live_objects;           /**< not freed yet */
    size_t peak_bytes; /**< live at once, at most; frees are noticed late: up to 64 KiB or a half too high */
    size_t refused;    /**< requests that would have exceeded the limit */
    size_t reserved[10];
};

/** Stores the scope's figures. EINVAL: there is no such scope. EBUSY: another thread has entered it. */
int neap_scope_stats(neap_scope scope, struct neap_scope_stats *stats);

/** Begins a section in which the calling thread allocates outside of its scope, for what is to stay: caches,
 * lazily made state. Returns what neap_exempt_end has to be given. Sections may be nested, and scopes entered
 * inside. */
int neap_exempt_begin(void);
void neap_exempt_end(int token);

/** NEAP_EXEMPT { … }: an exempt section as a block; leave it by its end, break or continue, not by return or goto.
 */
#define NEAP_EXEMPT                                                                                               \
    for (int neap_token_ = neap_exempt_begin(), neap_once_ = 1; neap_once_;                                       \
         neap_once_ = 0, neap_exempt_end(neap_token_))

/** Writes an account of the scopes that have ended to `out`, a line a label, those with the most surviving bytes
 * first; with the option scope_survivors, also by which calls the survivors were allocated. Returns 0, or EIO
 * where that failed. */
int neap_scope_report(FILE *out);

/** What the library says of itself to an observer that reads the process's memory, such as `neap check PID`.
 *  Written by the library only. Its size never changes; later versions give reserved words a meaning. */
struct neap_state {
    char magic[8];      /**< "neap 1" and zeros */
    uint32_t size;      /**< sizeof(struct neap_state) of the library */
    uint32_t flags;     /**< NEAP_STATE_* */
    char version[16];   /**< neap_version() */
    uint64_t heap_base; /**< first address of the heap; 0 before the first allocation */
    uint64_t heap_end;  /**< the address behind its last mapped byte */
    /** @name How free memory goes back, since the process began; docs/statistics.md defines every number. */
    /**@{*/
    uint64_t page_bytes;       /**< of a page, in what follows */
    uint64_t returned_pages;   /**< given back to the system */
    uint64_t refaulted_pages;  /**< of those, handed out again */
    uint64_t return_price_ns;  /**< CPU time that the return of a page takes */
    uint64_t refault_price_ns; /**< CPU time that the fault of a returned page takes */
    uint64_t purge_cpu_ns;     /**< CPU time spent on looking for free memory and returning it */
    uint64_t purge_passes;     /**< passes by age */
    uint64_t purge_delay_ns;   /**< between two passes, at present */
    uint64_t revocations;      /**< thread caches taken back */
    uint64_t revoked_objects;  /**< and the objects in them */
    /**@}*/
    uint64_t reserved[16];
};
#define NEAP_STATE_READY     1u /**< the heap has been made: an allocation was served */
#define NEAP_STATE_IN_FRONT  2u /**< the process's malloc is neap's, not that of another library in front of it */
#define NEAP_STATE_SCAVENGER 4u /**< the scavenger's thread runs */
#define NEAP_STATE_NO_SCAVENGER                                                                                   \
    8u /**< it is switched off, or could not be started: calls of malloc and free do its work */
#define NEAP_STATE_NO_REVOCATION 16u /**< membarrier is refused: caches of idle threads are not taken back */
extern struct neap_state neap_state;

#ifdef __cplusplus
}
#endif
#endif
