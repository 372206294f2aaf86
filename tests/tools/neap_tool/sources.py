"""The programs and libraries that the tests of the command `neap` compile."""

# A malloc of its own. Its memory is never freed.
MALLOC = r"""
#include <errno.h>
#include <stddef.h>
#include <string.h>
static char arena[1 << 26] __attribute__((aligned(64)));
static size_t used;
void *malloc(size_t n)
{
    size_t at = __atomic_fetch_add(&used, (n + 79) & ~(size_t)63, __ATOMIC_RELAXED);
    memcpy(arena + at, &n, sizeof(n));
    return arena + at + 16;
}
void *calloc(size_t a, size_t b) { return malloc(a * b); }
void *realloc(void *p, size_t n)
{
    size_t old = 0;
    void *q = malloc(n);
    if (p)
        memcpy(&old, (char *)p - 16, sizeof(old));
    return memcpy(q, p ? p : q, old < n ? old : n);
}
void *memalign(size_t a, size_t n) { return (void *)(((size_t)malloc(n + a) + a - 1) & ~(a - 1)); }
void *aligned_alloc(size_t a, size_t n) { return memalign(a, n); }
int posix_memalign(void **out, size_t a, size_t n) { return (*out = memalign(a, n)) ? 0 : ENOMEM; }
void free(void *p) { (void)p; }
"""
STATE = r"""
#include "neap/neap.h"
#ifndef MAGIC
#define MAGIC "neap 1"
#endif
#ifndef SIZE
#define SIZE sizeof(neap_state)
#endif
#ifndef HEAP_END
#define HEAP_END 0x500000
#endif
struct neap_state neap_state = {MAGIC, SIZE, FLAGS, NEAP_VERSION, 0x100000, HEAP_END};
"""
# neap as it is linked into a program: the two names of its malloc are one function.
LINKED = STATE + MALLOC + r"""
void *neap_malloc(size_t n) __attribute__((alias("malloc")));
"""
# As a library finds out whether it stands in front.
FIND_OUT = r"""
#include <dlfcn.h>
extern void *own(size_t) __attribute__((alias("malloc"), visibility("hidden")));
__attribute__((constructor)) static void find_out(void)
{
    if (dlsym(RTLD_DEFAULT, "malloc") == (void *)own)
        neap_state.flags |= NEAP_STATE_IN_FRONT;
}
"""
# Leaves a mark if any of its code runs; allocates, says so, and waits for the end of its input.
PROGRAM = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((constructor)) static void mark(void)
{
    const char *path = getenv("MARK");
    if (path)
        close(open(path, O_CREAT | O_WRONLY, 0666));
}
int main(void)
{
    char c;
    void *volatile p = malloc(100);
    free(p);
    if (getenv("MARK"))
        return 0;
    if (write(1, "ready\n", 6) != 6)
        return 1;
    while (read(0, &c, 1) > 0)
        ;
    return 0;
}
"""
# Runs a command for which process_vm_readv fails and, with "all", reading /proc/PID/mem does too.
SECCOMP = r"""
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
int main(int argc, char **argv)
{
    unsigned read_denied = strcmp(argv[1], "all") ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EACCES;
    struct sock_filter filter[] = {
        LOAD(nr),
        IF(__NR_process_vm_readv, 0, 1),
        RETURN(SECCOMP_RET_ERRNO | EPERM),
        IF(__NR_pread64, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3]) + 4), /* the offset's high half */
        IF(0, 1, 0),
        RETURN(read_denied),
        RETURN(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    if (argc < 3 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 99;
    execv(argv[2], argv + 2);
    return 98;
}
"""
# Loads the library named by its argument after the start, into its own namespace or, with "apart", a new one.
LOADS_LATER = r"""
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    char c;
    void *library = argc > 2 && strcmp(argv[2], "apart") == 0 ? dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW)
                                                              : dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
    if (!library || write(1, "ready\n", 6) != 6)
        return 1;
    while (read(0, &c, 1) > 0)
        ;
    return 0;
}
"""
# A 32-bit x86 program that needs no C library, with neap linked in.
STATIC_I386 = r"""
struct { char magic[8]; unsigned size, flags; char version[16]; unsigned long long heap_base, heap_end, reserved[26]; }
    neap_state = {"neap 1", 256, 3, "0.1.0", 0x100000, 0x300000};
static int call(int number, int a, const void *b, int c)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}
void _start(void)
{
    char c;
    call(4, 1, "ready\n", 6);
    while (call(3, 0, &c, 1) > 0)
        ;
    call(1, neap_state.flags == 3 ? 0 : 1, 0, 0);
}
"""
