/* Sizes that nobody can have are refused with ENOMEM by the whole family, and cost nothing: no address space, no
 * memory, and no object is touched. */
#include "preload.h"

static volatile size_t sizes[] = {
    (size_t)PTRDIFF_MAX + 1, (size_t)PTRDIFF_MAX + 4096, SIZE_MAX / 2 + 2, SIZE_MAX - 65536, SIZE_MAX - 4096,
    SIZE_MAX - 4095, SIZE_MAX - 100, SIZE_MAX - 8, SIZE_MAX - 1, SIZE_MAX,
    /* Not above the limit, but above what there can be. */
    PTRDIFF_MAX, PTRDIFF_MAX - 100, PTRDIFF_MAX - 4096, PTRDIFF_MAX - 65536, (size_t)1 << 62, (size_t)1 << 56,
    (size_t)1 << 48, (size_t)1 << 47, (size_t)1 << 46};

#define REFUSED(call)                                                                                             \
    do {                                                                                                          \
        errno = 0;                                                                                                \
        void *got = (call);                                                                                       \
        CHECK(got == NULL && errno == ENOMEM, "size %#zx gave %p", size, got);                                    \
    } while (0)

static void refuse(size_t size, char *small, char *large) {
    void *untouched = small;
    REFUSED(malloc(size));
    REFUSED(calloc(1, size));
    REFUSED(calloc(size, 1));
    REFUSED(calloc(size / 2, 2 + size % 2));
    REFUSED(realloc(NULL, size));
    REFUSED(realloc(small, size));
    REFUSED(realloc(large, size));
    REFUSED(reallocarray(small, size, 1));
    REFUSED(reallocarray(large, 1, size));
    REFUSED(aligned_alloc(16, size));
    REFUSED(aligned_alloc(4096, size));
    REFUSED(aligned_alloc(2 * MIB, size));
    REFUSED(memalign(64, size));
    REFUSED(memalign(1 * GIB, size));
    REFUSED(valloc(size));
    REFUSED(pvalloc(size));
    CHECK(posix_memalign(&untouched, 64, size) == ENOMEM && untouched == small);
    CHECK(posix_memalign(&untouched, 1 * GIB, size) == ENOMEM && untouched == small);
}

int main(void) {
    begin(100);
    char *small = malloc(100), *large = malloc(1000000);
    fill(small, 100, 1);
    fill(large, 1000000, 2);
    refuse(sizes[0], small, large);
    size_t mapped = status_bytes("VmSize"), resident = status_bytes("VmRSS");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        refuse(sizes[i], small, large);
    for (size_t shift = 1; shift < 64; shift++) { /* products that overflow */
        size_t size = (size_t)1 << shift, other = (SIZE_MAX >> shift) + 1;
        REFUSED(calloc(size, other));
        REFUSED(calloc(size + 1, other));
        REFUSED(reallocarray(NULL, size, other));
        REFUSED(reallocarray(small, size + 1, other));
    }
    CHECK(status_bytes("VmSize") < mapped + 4 * MIB, "%zu MiB were mapped, now %zu", mapped / MIB,
          status_bytes("VmSize") / MIB);
    /* Sizes between memory and address space may be had or not; once freed they cost nothing. The limit sees to it
     * that the larger of them fail, whatever this machine overcommits. */
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){mapped + 1 * GIB, RLIM_INFINITY}) == 0);
    for (size_t size = 64 * MIB; size < (size_t)1 << 46; size += size / 2) {
        free(malloc(size));
        free(memalign(size / 8 & ~(size / 8 - 1), size));
        void *half = malloc(size / 2), *whole = realloc(half, size);
        free(whole != NULL ? whole : half);
    }
    malloc_trim(0);
    CHECK(status_bytes("VmSize") < mapped + 64 * MIB, "%zu MiB were mapped, after what failed %zu", mapped / MIB,
          status_bytes("VmSize") / MIB);
    CHECK(status_bytes("VmRSS") < resident + 16 * MIB, "%zu MiB were resident, after what failed %zu",
          resident / MIB, status_bytes("VmRSS") / MIB);
    CHECK(is_filled(small, 100, 1) && is_filled(large, 1000000, 2));
    free(small), free(large);
    exercise(1, 10000);
    return 0;
}
