/* Linux. No locks, no state but constants read once. System calls go through syscall(2) or functions of libc
 * that are no cancellation points where that matters: an allocator may not be a place where threads die. */
#include "os/os.h"

#include "base/bits.h"
#include "base/check.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef PIDFD_SELF_THREAD
#define PIDFD_SELF_THREAD (-10000)
#endif

enum { PROTECTION = PROT_READ | PROT_WRITE, FLAGS = MAP_PRIVATE | MAP_ANONYMOUS };

size_t os_page_size(void) {
    return (size_t)getauxval(AT_PAGESZ);
}

/* mmap and mremap, which a test may make fail. */
#ifdef NDEBUG
#define MAP(call) (call)
#else
#define MAP(call) (may_map() ? (call) : MAP_FAILED)

_Atomic size_t os_maps_left = SIZE_MAX;

static bool may_map(void) {
    size_t left = atomic_load(&os_maps_left);
    while (left != SIZE_MAX && left != 0 && !atomic_compare_exchange_weak(&os_maps_left, &left, left - 1))
        ;
    if (left == 0)
        errno = ENOMEM;
    return left != 0;
}
#endif

static bool huge_pages;

void os_want_huge_pages(bool wanted) {
    huge_pages = wanted;
}

/* What every mapping of ours gets: no huge pages, which would make resident what nobody touched. That is advice: a
 * kernel without it is as good. No name (PR_SET_VMA), useful as it would be: a process that has entered a sandbox
 * since it began may be killed for a prctl, as sshd's is, but not for madvise, which other mallocs call too. */
static void dress(void *p, size_t bytes) {
    if (!huge_pages)
        madvise(p, bytes, MADV_NOHUGEPAGE);
}

enum os_result os_map(uintptr_t addr, size_t bytes) {
    int saved = errno;
    enum os_result result = OS_OK;
    void *want = (void *)addr;
    void *got = MAP(mmap(want, bytes, PROTECTION, FLAGS | MAP_FIXED_NOREPLACE, -1, 0));
    if (got == MAP_FAILED) {
        result = errno == EEXIST ? OS_TAKEN : OS_NO_MEMORY;
    } else if (got != want) { /* before Linux 4.17 the address is only a hint */
        munmap(got, bytes);
        result = OS_TAKEN;
    } else {
        dress(got, bytes);
    }
    errno = saved;
    return result;
}

bool os_remap_fresh(uintptr_t addr, size_t bytes) {
    int saved = errno;
    void *got = MAP(mmap((void *)addr, bytes, PROTECTION, FLAGS | MAP_FIXED, -1, 0));
    if (got != MAP_FAILED)
        dress(got, bytes);
    errno = saved;
    return got != MAP_FAILED;
}

bool os_unmap(uintptr_t addr, size_t bytes) {
    int saved = errno;
    int result = munmap((void *)addr, bytes);
    errno = saved;
    return result == 0;
}

/* --- sandboxes -------------------------------------------------------------------------------------------- */

static _Atomic bool confined;
static _Atomic bool no_vectors; /* no process_madvise: the kernel has it not, or a sandbox may not know it */

/* How many seccomp filters the calling thread is under. On kernels before 5.9, and where the file is out of reach
 * (a chroot, no descriptor left), one knows only whether it is under any: SOME. Asked of a file, for a sandbox
 * that kills for prctl (sshd's) denies that at most: DENIED. */
enum { SOME = 1 << 29, DENIED = 1 << 30 };

static uint32_t count_filters(void) {
    char text[2048];
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == EACCES || errno == EPERM || errno == ENOSYS))
        return DENIED;
    if (fd < 0) {
        int mode = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
        return mode == 0 || (mode < 0 && errno == EINVAL) ? 0 : SOME; /* EINVAL: a kernel without seccomp */
    }
    long length = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    text[length > 0 ? length : 0] = '\0';
    const char *mode = strstr(text, "\nSeccomp:\t"), *filters = strstr(text, "\nSeccomp_filters:\t");
    uint32_t count = 0;
    if (filters == NULL)
        return mode != NULL && mode[strlen("\nSeccomp:\t")] != '0' ? SOME : 0;
    for (filters += strlen("\nSeccomp_filters:\t"); *filters >= '0' && *filters <= '9'; filters++)
        count = count * 10 + (uint32_t)(*filters - '0');
    return count;
}

/* SOME is as many as there were, if there were any: a server under filters of its service manager may run out of
 * descriptors, or go into a chroot, without having entered a sandbox. */
static bool is_more(uint32_t filters, uint32_t before) {
    if (filters == SOME)
        return before == 0;
    return before == SOME ? filters == DENIED : filters != before;
}

bool os_is_confined(void) {
    static _Atomic uint32_t at_start; /* more by one; 0: not known yet */
    int saved = errno;
    uint32_t seen = 0, now = count_filters();
    errno = saved;
    bool is_first = atomic_compare_exchange_strong(&at_start, &seen, now + 1);
    bool entered = !is_first && is_more(now, seen - 1);
    if (entered)
        atomic_store_explicit(&confined, true, memory_order_relaxed);
    if (now != 0)
        atomic_store_explicit(&no_vectors, true, memory_order_relaxed);
    return entered;
}

static bool may_make_rare_calls(void) {
    return !atomic_load_explicit(&confined, memory_order_relaxed);
}

/* Emulators of Linux (qemu-user up to 7.2 after a move and of locked memory, others always) may answer madvise
 * with success and do nothing, and what should read as zeroes would not. So the first page that is purged, the
 * first that is locked, and the first that a move left behind, is written before and looked at after; jemalloc
 * does the same at start. */
enum faith { UNKNOWN, FAITHFUL, UNFAITHFUL };
static _Atomic int purge_faith, locked_faith, move_faith;

static int test_faith(_Atomic int *faith, uintptr_t addr, int advice) {
    int known = atomic_load_explicit(faith, memory_order_relaxed);
    if (LIKELY(known != UNKNOWN))
        return known;
    volatile char *byte = (volatile char *)addr;
    char kept = *byte;
    *byte = 1;
    if (madvise((void *)addr, os_page_size(), advice) != 0) {
        *byte = kept;
        return UNKNOWN; /* refused: says nothing yet */
    }
    known = *byte == 0 ? FAITHFUL : UNFAITHFUL;
    atomic_store_explicit(faith, known, memory_order_relaxed);
    return known;
}

static bool advise_unneeded(uintptr_t addr, size_t bytes) {
    int result = madvise((void *)addr, bytes, MADV_DONTNEED);
    if (result != 0 && errno == EINVAL && test_faith(&locked_faith, addr, MADV_DONTNEED_LOCKED) == FAITHFUL)
        result = madvise((void *)addr, bytes, MADV_DONTNEED_LOCKED);
    return result == 0;
}

/* Locks of the kernel are held over a call, and others wait for them: 4 MiB take some 150 microseconds. */
enum { CALL_BYTES = 4 << 20, CALL_RANGES = 64 };

static bool purge_range(uintptr_t addr, size_t bytes) {
    if (atomic_load_explicit(&purge_faith, memory_order_relaxed) == UNFAITHFUL)
        return os_remap_fresh(addr, bytes);
    for (size_t done = 0; done < bytes; done += CALL_BYTES)
        if (!advise_unneeded(addr + done, bytes - done < CALL_BYTES ? bytes - done : CALL_BYTES))
            return false;
    return true;
}

/* Several ranges in one call, where the kernel lets a process advise itself (Linux 6.14 and later). */
static bool purge_vector(const struct iovec *vector, size_t count, size_t bytes) {
    if (count < 2 || atomic_load_explicit(&no_vectors, memory_order_relaxed))
        return false;
    long done = syscall(SYS_process_madvise, PIDFD_SELF_THREAD, vector, count, MADV_DONTNEED, 0);
    if (done == (long)bytes)
        return true;
    /* Refused altogether, though the plain call works: this kernel has it not. */
    if (done < 0 && madvise(vector[0].iov_base, vector[0].iov_len, MADV_DONTNEED) == 0)
        atomic_store_explicit(&no_vectors, true, memory_order_relaxed);
    return false;
}

void os_purge_ranges(struct os_range *ranges, size_t count) {
    int saved = errno;
    bool faithful = count == 0 || test_faith(&purge_faith, ranges[0].addr, MADV_DONTNEED) != UNFAITHFUL;
    for (size_t first = 0, next; first < count; first = next) {
        struct iovec vector[CALL_RANGES];
        size_t bytes = ranges[first].bytes;
        vector[0] = (struct iovec){(void *)ranges[first].addr, bytes};
        for (next = first + 1;
             next < count && next - first < CALL_RANGES && bytes + ranges[next].bytes <= CALL_BYTES; next++) {
            vector[next - first] = (struct iovec){(void *)ranges[next].addr, ranges[next].bytes};
            bytes += ranges[next].bytes;
        }
        bool all = faithful && purge_vector(vector, next - first, bytes);
        for (size_t i = first; i < next; i++)
            ranges[i].purged = all || purge_range(ranges[i].addr, ranges[i].bytes);
    }
    errno = saved;
}

bool os_purge(uintptr_t addr, size_t bytes) {
    struct os_range range = {.addr = addr, .bytes = bytes};
    os_purge_ranges(&range, 1);
    return range.purged;
}

/* Since Linux 6.17 a move over several mappings may fail halfway, with a part of the pages moved. The target was
 * all zeroes before, so what is not zero there now came from the source, and goes back. */
static void undo_half_move(uintptr_t from, uintptr_t to, size_t bytes) {
    size_t page = os_page_size();
    for (size_t at = 0; at < bytes; at += page) {
        unsigned char resident;
        const uint64_t *words = (const uint64_t *)(to + at);
        if (mincore((void *)(to + at), page, &resident) != 0)
            continue; /* not mapped */
        for (size_t i = 0; i < page / sizeof *words; i++)
            if (words[i] != 0) {
                memcpy((void *)(from + at), words, page);
                break;
            }
    }
}

enum os_move os_move_pages(uintptr_t from, uintptr_t to, size_t bytes) {
    int saved = errno;
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    enum os_move result = OS_MOVED;
    int faith = atomic_load_explicit(&move_faith, memory_order_relaxed);
    void *got = MAP_FAILED;
    errno = EINVAL;
    if (faith != UNFAITHFUL)
        got = MAP(mremap((void *)from, bytes, bytes, flags | MREMAP_DONTUNMAP, (void *)to));
    if (got != MAP_FAILED) {
        if (UNLIKELY(test_faith(&move_faith, from, MADV_DONTNEED) == UNFAITHFUL) && !os_remap_fresh(from, bytes))
            result = OS_MOVED_UNMAPPED;
    } else if (errno == EINVAL && faith != FAITHFUL) { /* before Linux 5.7, which moves all or nothing */
        got = mremap((void *)from, bytes, bytes, flags, (void *)to);
        result = OS_MOVED_UNMAPPED;
    } else {
        undo_half_move(from, to, bytes);
    }
    if (got == MAP_FAILED) /* the kernel may have taken the target away before it failed */
        result = os_remap_fresh(to, bytes) ? OS_NOT_MOVED : OS_LOST_TARGET;
    errno = saved;
    return result;
}

/* Advice on nothing is refused only where nobody knows it. */
bool os_can_collapse(void) {
    int saved = errno;
    bool can = os_page_size() == 4096 && madvise(NULL, 0, MADV_COLLAPSE) == 0;
    errno = saved;
    return can;
}

/* Mappings that are to have no huge pages (dress) can be given none; when it is made, it stays. */
bool os_collapse(uintptr_t addr) {
    int saved = errno;
    void *p = (void *)addr;
    bool made = madvise(p, OS_HUGE_BYTES, MADV_HUGEPAGE) == 0 && madvise(p, OS_HUGE_BYTES, MADV_COLLAPSE) == 0;
    madvise(p, OS_HUGE_BYTES, MADV_NOHUGEPAGE);
    errno = saved;
    return made;
}

bool os_is_resident(uintptr_t addr, size_t bytes) {
    int saved = errno;
    unsigned char pages[OS_HUGE_BYTES / 4096]; /* in the lowest bit; the others are reserved */
    size_t count = bytes / os_page_size();
    bool resident = may_make_rare_calls() && mincore((void *)addr, bytes, pages) == 0;
    for (size_t i = 0; i < count && resident; i++)
        resident = (pages[i] & 1) != 0;
    errno = saved;
    return resident;
}

bool os_is_shared(uintptr_t addr, size_t bytes) {
    const uint64_t exclusive = (uint64_t)1 << 56;
    uint64_t pages[OS_HUGE_BYTES / 4096];
    int saved = errno;
    size_t page = os_page_size(), count = bytes / page;
    int fd = may_make_rare_calls() ? (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC)
                                   : -1;
    bool shared = fd < 0 || syscall(SYS_pread64, fd, pages, count * sizeof *pages, addr / page * sizeof *pages) !=
                                (long)(count * sizeof *pages);
    for (size_t i = 0; i < count && !shared; i++)
        shared = (pages[i] & exclusive) == 0;
    if (fd >= 0)
        syscall(SYS_close, fd);
    errno = saved;
    return shared;
}

bool os_has_children(void) {
    int saved = errno;
    bool has = !may_make_rare_calls() ||
               syscall(SYS_waitid, P_ALL, 0, NULL, WEXITED | WNOHANG | WNOWAIT | __WALL, NULL) == 0 ||
               errno != ECHILD;
    errno = saved;
    return has;
}

bool os_is_mapped(uintptr_t addr) {
    int saved = errno;
    unsigned char resident;
    if (!may_make_rare_calls())
        return true;
    bool mapped = mincore((void *)align_down(addr, os_page_size()), 1, &resident) == 0 || errno != ENOMEM;
    errno = saved;
    return mapped;
}

static bool is_limited(__rlimit_resource_t resource) {
    struct rlimit limit;
    return getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

bool os_address_space_is_limited(void) {
    int saved = errno;
    bool limited = may_make_rare_calls() && (is_limited(RLIMIT_AS) || is_limited(RLIMIT_DATA));
    errno = saved;
    return limited;
}

bool os_overcommit_is_strict(void) {
    char mode = '0';
    return os_read_file("/proc/sys/vm/overcommit_memory", &mode, 1) == 1 && mode == '2';
}

#ifndef NDEBUG
bool (*os_membarrier_hook)(void);
#endif

/* A process must have registered once before; a forked child inherits that. With several threads it takes the
 * kernel milliseconds. */
bool os_membarrier(void) {
#ifndef NDEBUG
    if (os_membarrier_hook != NULL && !os_membarrier_hook())
        return false;
#endif
    if (!may_make_rare_calls())
        return false;
    int saved = errno;
    long result = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    if (result != 0 && errno == EPERM &&
        syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0)
        result = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    errno = saved;
    return result == 0;
}

void os_futex_wait(const uint32_t *word, uint32_t expected) {
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
    errno = saved;
}

void os_futex_wake_one(const uint32_t *word) {
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}

_Static_assert(sizeof(struct os_signals) == sizeof(sigset_t), "struct os_signals holds a signal set");

struct os_signals os_block_signals(void) {
    struct os_signals before;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, (sigset_t *)&before);
    return before;
}

void os_restore_signals(const struct os_signals *before) {
    pthread_sigmask(SIG_SETMASK, (const sigset_t *)before, NULL);
}

void os_yield(void) {
    sched_yield();
}

unsigned os_processors(void) {
    int saved = errno;
    unsigned long mask[128]; /* 8,192 processors */
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    unsigned n = 0;
    for (long i = 0; i < bytes / (long)sizeof mask[0]; i++)
        n += popcount(mask[i]);
    errno = saved;
    return n > 0 ? n : 1;
}

void os_loader_range(uintptr_t *start, uintptr_t *end) {
    uintptr_t base = getauxval(AT_BASE);
    *start = *end = base;
    if (base == 0)
        return;
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)base;
    const Elf64_Phdr *segment = (const Elf64_Phdr *)(base + header->e_phoff);
    for (size_t i = 0; i < header->e_phnum; i++)
        if (segment[i].p_type == PT_LOAD && base + segment[i].p_vaddr + segment[i].p_memsz > *end)
            *end = base + segment[i].p_vaddr + segment[i].p_memsz;
}

uint64_t os_random(void) {
    uint64_t bits = 0;
    const void *seed = (const void *)getauxval(AT_RANDOM);
    if (seed != NULL)
        memcpy(&bits, seed, sizeof bits);
    bits = (bits ^ 0x6e656170) * 0x9e3779b97f4a7c15; /* not the bits that became the stack guard */
    return bits ^ (bits >> 32);
}

/* Where the loader found argc, argv and the environment; glibc's. */
extern void *__libc_stack_end __attribute__((weak));

/* The C library knows the environment only from its own constructor on, and malloc may be called before. */
static char **environment(void) {
    if (environ != NULL || &__libc_stack_end == NULL)
        return environ;
    const size_t *argc = __libc_stack_end;
    return (char **)(argc + 1 + *argc + 1);
}

const char *os_environment(const char *name) {
    char **variable = getauxval(AT_SECURE) == 0 ? environment() : NULL;
    size_t length = strlen(name);
    for (; variable != NULL && *variable != NULL; variable++)
        if (strncmp(*variable, name, length) == 0 && (*variable)[length] == '=')
            return *variable + length + 1;
    return NULL;
}

ptrdiff_t os_read_file(const char *path, char *buffer, size_t capacity) {
    int saved = errno;
    ptrdiff_t total = -1;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        total = 0;
        long n;
        while ((size_t)total < capacity &&
               ((n = syscall(SYS_read, fd, buffer + total, capacity - (size_t)total)) > 0 ||
                (n < 0 && errno == EINTR)))
            total += n > 0 ? n : 0;
        syscall(SYS_close, fd);
    }
    errno = saved;
    return total;
}

struct line {
    char text[512];
    size_t length;
};

static void line_add(struct line *line, const char *text) {
    while (*text != '\0' && line->length < sizeof line->text - 1)
        line->text[line->length++] = *text++;
}

static void line_add_number(struct line *line, uintptr_t value, unsigned radix) {
    char digits[24];
    size_t i = sizeof digits - 1;
    digits[i] = '\0';
    do {
        digits[--i] = "0123456789abcdef"[value % radix];
        value /= radix;
    } while (value != 0);
    line_add(line, radix == 16 ? "0x" : "");
    line_add(line, digits + i);
}

static void say(const char *format, va_list args) {
    struct line line = {.length = 0};
    line_add(&line, "neap: ");
    for (const char *f = format; *f != '\0'; f++) {
        if (*f != '%') {
            line_add(&line, (char[]){*f, '\0'});
            continue;
        }
        switch (*++f) {
        case 's':
            line_add(&line, va_arg(args, const char *));
            break;
        case 'p':
            line_add_number(&line, va_arg(args, uintptr_t), 16);
            break;
        case 'z':
            line_add_number(&line, va_arg(args, size_t), 10);
            break;
        default:
            line_add(&line, "%");
        }
    }
    line.text[line.length++] = '\n';
    int saved = errno;
    syscall(SYS_write, STDERR_FILENO, line.text, line.length);
    errno = saved;
}

void os_say(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

void os_die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    abort();
}

void check_failed(const char *what, const char *file, int line) {
    os_die("internal check failed: %s (%s:%z)", what, file, (size_t)line);
}
