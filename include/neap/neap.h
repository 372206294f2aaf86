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
