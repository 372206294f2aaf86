/* The only way to the system. Every function here keeps errno and allocates nothing. Addresses and sizes given
 * to the mapping functions are multiples of os_page_size(). All may be called from any thread. */
#ifndef NEAP_OS_OS_H
#define NEAP_OS_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum os_result {
    OS_OK,
    OS_NO_MEMORY, /* a limit or the system refuses */
    OS_TAKEN,     /* somebody else's mapping is there */
};

/* The system's page size in bytes. */
size_t os_page_size(void);

/* Maps zeroed, readable and writable pages at exactly addr, never over another mapping. */
enum os_result os_map(uintptr_t addr, size_t bytes);

/* Whether mappings made from now on may get huge pages, if the system gives them to those who do not ask. For the
 * start: mappings with different answers are not merged. */
void os_want_huge_pages(bool wanted);

/* Replaces what is mapped at addr, which must be ours, by fresh zeroed pages. On failure the range may be
 * unmapped. */
bool os_remap_fresh(uintptr_t addr, size_t bytes);

#ifndef NDEBUG
/* For tests of memory running out: so many more mappings are made, then every one is refused. */
extern _Atomic size_t os_maps_left;
#endif

/* Gives the range up, address space included. False where the system refuses: it has its limit of mappings, and
 * this would split one. */
bool os_unmap(uintptr_t addr, size_t bytes);

/* Returns the pages of several ranges to the system, with as few calls and as short ones as may be; the ranges
 * stay mapped and read as zeroes. Where the system refuses one (it is locked, on a kernel without
 * MADV_DONTNEED_LOCKED), its `purged` is false, and any of its pages may have kept their contents. */
struct os_range {
    uintptr_t addr;
    size_t bytes;
    bool purged;
};
void os_purge_ranges(struct os_range *ranges, size_t count);

/* The same of one range. */
bool os_purge(uintptr_t addr, size_t bytes);

enum os_move {
    OS_MOVED,          /* the pages are at `to`; `from` is still mapped and reads as zeroes */
    OS_MOVED_UNMAPPED, /* the pages are at `to`; `from` is no longer mapped */
    OS_NOT_MOVED,      /* nothing has changed, but for `to`, which reads as zeroes */
    OS_LOST_TARGET,    /* not moved, and `to` is no longer mapped */
};

/* Moves pages without copying. Both ranges are mapped and ours, and do not overlap; `to` reads as zeroes. */
enum os_move os_move_pages(uintptr_t from, uintptr_t to, size_t bytes);

/* Whether the system can make huge pages of mapped ones on demand (Linux 6.1 and later, on pages of 4 KiB), and
 * how large those are. */
enum { OS_HUGE_BYTES = 2 << 20 };
bool os_can_collapse(void);

/* Makes one huge page of the OS_HUGE_BYTES at addr, a multiple of that, which are mapped and ours. What was not
 * resident there is afterwards. It takes milliseconds, in which nobody else can touch a new page. False
 * where the system has none to give. */
bool os_collapse(uintptr_t addr);

/* Whether all pages of the range, OS_HUGE_BYTES at most, are resident, as far as the system tells. */
bool os_is_resident(uintptr_t addr, size_t bytes);

/* Whether some of the pages are another process's too, as fork leaves them; true where the system does not tell.
 * Opens a file. */
bool os_is_shared(uintptr_t addr, size_t bytes);

/* Whether the process has children, as far as the system tells. */
bool os_has_children(void);

/* Whether anything is mapped at addr, as far as the system tells. */
bool os_is_mapped(uintptr_t addr);

/* Whether mapped pages that nobody touched count against a limit: under RLIMIT_AS or RLIMIT_DATA now, under
 * strict overcommit (vm.overcommit_memory = 2) always. */
bool os_address_space_is_limited(void);
bool os_overcommit_is_strict(void);

/* Makes every other running thread of the process perform a full memory barrier, between two of its instructions,
 * before this returns. False where the system has no such call for us, or refuses it now. */
bool os_membarrier(void);

#ifndef NDEBUG
/* For tests: called first; os_membarrier fails where it says false. */
extern bool (*os_membarrier_hook)(void);
#endif

/* Sleeps while *word == expected, until woken; may return early. */
void os_futex_wait(const uint32_t *word, uint32_t expected);
void os_futex_wait_for(const uint32_t *word, uint32_t expected, uint64_t ns); /* no longer than that */
void os_futex_wake_one(const uint32_t *word);

/* Blocks all signals of the calling thread, and restores what was before. */
struct os_signals {
    uint64_t blocked[16];
};
struct os_signals os_block_signals(void);
void os_restore_signals(const struct os_signals *before);

/* Nanoseconds. */
enum os_clock {
    OS_NOW,        /* since some moment */
    OS_NOW_COARSE, /* the same, a few milliseconds late, and cheap. A library in front of the C library may
                    * allocate in it (libfaketime): not to be asked for with a lock held. */
    OS_PROCESS_CPU,
    OS_THREAD_CPU,
};
uint64_t os_clock(enum os_clock clock);

/* Starts a thread with a small stack and all signals blocked, and waits for its end. It is one of the C library's,
 * so that it follows when the process changes its user. Both allocate or free, and take locks of the C library.
 * False where the system refuses. */
struct os_thread {
    unsigned long handle;
};
bool os_start_thread(struct os_thread *thread, void *(*run)(void *), void *argument);
void os_join_thread(const struct os_thread *thread);

/* Names the calling thread, for those who look into /proc; at most 15 characters. */
void os_name_thread(const char *name);

uint32_t os_process_id(void);

/* Whether the calling thread is the one that began the process, or is a forked child's only one. */
bool os_is_main_thread(void);

/* Whether the calling thread has entered a sandbox (a seccomp filter) since this was first called, at the start.
 * It may be killed for a system call that its author did not expect of a malloc: once this has said so, the
 * functions above make none but mmap, munmap, mremap, madvise, futex and those of clocks and signals. */
bool os_is_confined(void);

/* Whether an address is known to lie in code that is neither the C library's nor its loader's; and whether that
 * can be told at all: in a static program all is one. */
bool os_is_program_code(const void *address);
bool os_knows_program_code(void);

/* Stores return addresses of the calling thread, the innermost first: from `from` on, which is one of them.
 * Returns how many, `capacity` at most; 1 where only that one is known. Takes no lock. */
size_t os_backtrace(const void *from, uintptr_t *addresses, size_t capacity);

/* The program or library whose code or data an address lies in. False where there is none. Takes locks of the C
 * library's loader, and may allocate. */
struct os_module {
    char path[4096];
    uintptr_t bias; /* between addresses in its file and in memory */
    size_t build_id_bytes;
    uint8_t build_id[32];
};
bool os_module_of(uintptr_t address, struct os_module *module);

/* Lets another thread run. */
void os_yield(void);

/* Number of processors this process may run on, at least 1. */
unsigned os_processors(void);

/* Where the dynamic loader's code and data lie; an empty range in a static program. */
void os_loader_range(uintptr_t *start, uintptr_t *end);

/* 64 random bits, the same at every call within a process image. */
uint64_t os_random(void);

/* The value of an environment variable, or NULL; always NULL in a process with raised privileges. */
const char *os_environment(const char *name);

/* Reads up to `capacity` bytes of a file. Returns how many, or -1 where it cannot be read. */
ptrdiff_t os_read_file(const char *path, char *buffer, size_t capacity);

/* Writes one line, "neap: " and the message, to stderr in one call. The format knows %s, %p (uintptr_t), %z
 * (size_t) and %%. */
void os_say(const char *format, ...);

/* os_say, then abort. */
_Noreturn void os_die(const char *format, ...);

#endif
