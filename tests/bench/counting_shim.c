/* Preloaded, counts what the program itself asks for, apart from the libraries it uses, and knows nothing of the
 * program's own accounts. At exit it writes to the file NEAP_COUNTS: bytes and objects live, calls, the greatest
 * live bytes, a number that stands for the sequence of each thread's sizes, and how often the page's live bytes
 * (of the file NEAP_BENCH_PAGE) were looked at, at the first call in each phase, and were others than its own.
 *
 * glibc serves the memory; in front of each object are its size and whose it is. */
#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page.h"

void *__libc_malloc(size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

enum { MAGIC = 0x5e11ab1e };
struct header {
    size_t size;
    uint32_t magic;
    uint32_t is_programs;
};
_Static_assert(sizeof(struct header) == 16, "objects stay aligned");

static uint64_t live_bytes, live_objects, calls, peak, sequences, looks, differences;
static __thread uint64_t sequence = 1;
static uintptr_t program_begin, program_end;
static const struct page *watched;
static uint32_t phase_seen;

static void find_program(void) {
    const Elf64_Phdr *headers = (const void *)getauxval(AT_PHDR);
    size_t count = getauxval(AT_PHNUM);
    uintptr_t base = 0;
    for (size_t i = 0; i < count; i++)
        if (headers[i].p_type == PT_PHDR)
            base = (uintptr_t)headers - headers[i].p_vaddr;
    for (size_t i = 0; i < count; i++)
        if (headers[i].p_type == PT_LOAD && base + headers[i].p_vaddr + headers[i].p_memsz > program_end)
            program_end = base + headers[i].p_vaddr + headers[i].p_memsz;
    program_begin = base;

    const char *path = getenv("NEAP_BENCH_PAGE");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *mapping = fd < 0 ? MAP_FAILED : mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    watched = mapping == MAP_FAILED ? NULL : mapping;
}

static bool is_from_program(const void *return_address) {
    if (program_end == 0)
        find_program();
    return (uintptr_t)return_address >= program_begin && (uintptr_t)return_address < program_end;
}

/* Before a call counts: a phase that has just begun starts with exact live bytes. */
static void look_at_page(void) {
    uint32_t phase = watched == NULL ? 0 : __atomic_load_n(&watched->phase, __ATOMIC_RELAXED);
    if (phase == phase_seen)
        return;
    phase_seen = phase;
    looks++;
    differences += __atomic_load_n(&watched->live_bytes, __ATOMIC_RELAXED) != live_bytes;
}

static void count(uint64_t bytes, uint64_t objects) {
    uint64_t live = __atomic_add_fetch(&live_bytes, bytes, __ATOMIC_RELAXED);
    __atomic_add_fetch(&live_objects, objects, __ATOMIC_RELAXED);
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    if (live > peak)
        peak = live; /* exact only with one thread */
    uint64_t before = sequence;
    sequence = (sequence ^ bytes) * 0x100000001b3u + objects;
    __atomic_add_fetch(&sequences, sequence - before, __ATOMIC_RELAXED);
}

static void *make(size_t size, bool is_programs) {
    struct header *header = __libc_malloc(sizeof *header + size);
    if (header == NULL)
        return NULL;
    *header = (struct header){size, MAGIC, is_programs};
    if (is_programs)
        count(size, 1);
    return header + 1;
}

__attribute__((visibility("default"))) void *malloc(size_t size) {
    bool is_programs = is_from_program(__builtin_return_address(0));
    if (is_programs)
        look_at_page();
    return make(size, is_programs);
}

__attribute__((visibility("default"))) void *calloc(size_t count_, size_t size) {
    void *p = make(count_ * size, is_from_program(__builtin_return_address(0)));
    return p == NULL ? NULL : memset(p, 0, count_ * size);
}

/* NULL: not ours, but an aligned one of glibc's. */
static struct header *header_of(void *p) {
    struct header *header = (struct header *)p - 1;
    return header->magic == MAGIC ? header : NULL;
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t size) {
    if (p == NULL)
        return make(size, is_from_program(__builtin_return_address(0)));
    struct header *old = header_of(p);
    if (old->is_programs)
        look_at_page();
    struct header *header = __libc_realloc(old, sizeof *header + size);
    if (header == NULL)
        return NULL;
    if (header->is_programs)
        count(size - header->size, 0);
    header->size = size;
    return header + 1;
}

__attribute__((visibility("default"))) void free(void *p) {
    struct header *header = p == NULL ? NULL : header_of(p);
    if (header == NULL) {
        __libc_free(p);
        return;
    }
    if (header->is_programs) {
        look_at_page();
        count((uint64_t)0 - header->size, (uint64_t)0 - 1);
    }
    header->magic = 0;
    __libc_free(header);
}

__attribute__((destructor)) static void write_counts(void) {
    const char *path = getenv("NEAP_COUNTS");
    int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0)
        dprintf(fd, "%zu %zu %zu %zu %zu %zu %zu\n", (size_t)live_bytes, (size_t)live_objects, (size_t)calls,
                (size_t)peak, (size_t)sequences, (size_t)looks, (size_t)differences);
}
