/* The page through which a workload tells the benchmark's runner where it is: a file of 4096 bytes, made by the
 * runner and named in NEAP_BENCH_PAGE. Little endian, naturally aligned; bench/runner/page.py reads the same. A
 * mapping rather than a pipe, so that telling costs a store, no system call and no memory of the heap that is
 * measured. */
#ifndef BENCH_PAGE_H
#define BENCH_PAGE_H

#include <stdint.h>

#define PAGE_MAGIC "nbpage1\0"
enum { PAGE_BYTES = 4096, PHASE_NAME_BYTES = 32 };

/* All but magic is written by the workload, with relaxed atomic stores or additions. */
struct page {
    char magic[8];
    uint32_t phase;      /* the number of the phase that runs, from 1; 0 before the first */
    uint32_t done;       /* 1: finished well */
    uint64_t live_bytes; /* asked for and not freed; a thread tells of at most 64 calls at once */
    uint64_t live_objects;
    uint64_t operations;      /* calls of malloc, realloc and free */
    uint64_t floor_bytes;     /* of the pages that hold a live byte at the last allocator call; 0: not known */
    uint64_t floor_live;      /* live_bytes then */
    uint64_t last_call_ns;    /* CLOCK_MONOTONIC of the last call before a silent phase */
    uint64_t p999_ns;         /* p99.9 of malloc until its first byte is written; 0: not known */
    uint64_t pid_of_interest; /* 0: the command and its children; else that process alone */
    char phase_name[PHASE_NAME_BYTES]; /* NUL-padded; written before phase */
    double progress;                   /* 0 to 1 */
};

extern struct page *page; /* never NULL once page_attach has returned */

/* Maps the file that NEAP_BENCH_PAGE names, or private memory where the variable is not set. Ends the process with
 * a message and status 2 where the file is no such page. */
void page_attach(void);

/* Whether there is a runner that reads the page. */
_Bool page_is_shared(void);

#define PAGE_STORE(field, value) __atomic_store_n(&page->field, (value), __ATOMIC_RELAXED)
#define PAGE_LOAD(field)         __atomic_load_n(&page->field, __ATOMIC_RELAXED)
#define PAGE_ADD(field, value)   __atomic_fetch_add(&page->field, (value), __ATOMIC_RELAXED)

#endif
