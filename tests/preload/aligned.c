/* The rules of POSIX for posix_memalign, of C23 for aligned_alloc, and of glibc for memalign, valloc and pvalloc;
 * at alignments up to 1 GiB. */
#include "preload.h"

static void check(void *p, size_t alignment, size_t size) {
    CHECK(p != NULL, "alignment %#zx, size %zu", alignment, size);
    CHECK((uintptr_t)p % alignment == 0, "%p, alignment %#zx, size %zu", p, alignment, size);
    CHECK(malloc_usable_size(p) >= size);
    if (size <= 1 * MIB)
        fill(p, size, alignment);
}

static void every_alignment(void) {
    static const size_t sizes[] = {0,    1,     15,    16,    17,     100,     1000,
                                   4096, 10000, 32768, 40000, 100000, 1000000, 5000000};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    for (size_t alignment = 1; alignment <= 1 * GIB; alignment *= 2) {
        void *live[3 * SIZES] = {NULL};
        for (size_t i = 0; i < SIZES; i++) {
            if (alignment >= sizeof(void *))
                CHECK(posix_memalign(&live[3 * i], alignment, sizes[i]) == 0, "alignment %#zx, size %zu",
                      alignment, sizes[i]);
            else
                live[3 * i] = malloc(sizes[i]);
            live[3 * i + 1] = aligned_alloc(alignment, sizes[i]);
            live[3 * i + 2] = memalign(alignment, sizes[i]);
            for (size_t j = 3 * i; j < 3 * i + 3; j++)
                check(live[j], alignment, sizes[i]);
        }
        for (size_t i = 0; i < 3 * SIZES; i++) { /* in another order; contents whole; realloc takes them, too */
            size_t j = i * 5 % (3 * SIZES), size = sizes[j / 3];
            CHECK(size > 1 * MIB || is_filled(live[j], size, alignment));
            if (j % 2 == 0) {
                CHECK((live[j] = realloc(live[j], size * 2 + 1)) != NULL);
                CHECK(size > 1 * MIB || is_filled(live[j], size & ~(size_t)7, alignment));
            }
            free(live[j]);
        }
    }
}

static void refusals(void) {
    void *const before = &errno;
    void *p = before;
    static volatile const size_t bad_posix[] = {0, 1, 2, 4, 3, 7, 12, 24, 4097, SIZE_MAX, SIZE_MAX / 2, 8 * 3};
    for (size_t i = 0; i < sizeof bad_posix / sizeof *bad_posix; i++)
        CHECK(posix_memalign(&p, bad_posix[i], 100) == EINVAL && p == before, "alignment %zu", bad_posix[i]);
    static volatile const size_t bad_c[] = {0, 3, 12, 4097, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof bad_c / sizeof *bad_c; i++) {
        errno = 0;
        CHECK(aligned_alloc(bad_c[i], 100) == NULL && errno == EINVAL, "alignment %zu", bad_c[i]);
    }
    CHECK((p = aligned_alloc(64, 100)) != NULL); /* no multiple of the alignment: C23 allows it */
    free(p);
    for (size_t shift = 48; shift < 64; shift++) { /* aligned so that there is no such address, or hardly */
        volatile size_t alignment = (size_t)1 << shift;
        p = before;
        int error = posix_memalign(&p, alignment, 100);
        CHECK(error == ENOMEM && p == before, "alignment 2^%zu: %d", shift, error);
        errno = 0;
        CHECK(aligned_alloc(alignment, 100) == NULL && errno == ENOMEM, "alignment 2^%zu", shift);
        errno = 0;
        CHECK(memalign(alignment, 100) == NULL && errno == ENOMEM, "alignment 2^%zu", shift);
    }
    errno = 0;
    volatile size_t too_much = ((size_t)1 << 63) + 1;
    CHECK(memalign(too_much, 1) == NULL && errno == EINVAL);
    for (size_t size = 0; size < 100; size++) {
        for (size_t alignment = 0; alignment < 300; alignment += 7) { /* memalign rounds up */
            size_t power = 1;
            while (power < alignment)
                power *= 2;
            check(p = memalign(alignment, size), power, size);
            free(p);
        }
    }
}

static void pages(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t size = 0; size < 5 * page; size += 511) {
        void *p = valloc(size), *q = pvalloc(size);
        check(p, page, size);
        check(q, page, size);
        CHECK(malloc_usable_size(q) >= (size + page - 1) / page * page);
        free(p), free(q);
    }
    static volatile const size_t too_large[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 4095, SIZE_MAX - 4096,
                                                PTRDIFF_MAX};
    for (size_t i = 0; i < sizeof too_large / sizeof *too_large; i++) {
        errno = 0;
        CHECK(pvalloc(too_large[i]) == NULL && errno == ENOMEM, "size %#zx", too_large[i]);
        errno = 0;
        CHECK(valloc(too_large[i]) == NULL && errno == ENOMEM, "size %#zx", too_large[i]);
    }
    void *a = posix_memalign(&(void *){NULL}, 64, 0) == 0 ? malloc(1) : NULL;
    CHECK(a != NULL);
    free(a);
}

static void unique_when_empty(void) {
    void *p[100];
    for (size_t i = 0; i < 100; i++)
        CHECK(posix_memalign(&p[i], (size_t)8 << i % 10, 0) == 0 && p[i] != NULL);
    for (size_t i = 0; i < 100; i++)
        for (size_t j = 0; j < i; j++)
            CHECK(p[i] != p[j]);
    for (size_t i = 0; i < 100; i++)
        free(p[i]);
}

int main(void) {
    begin(100);
    every_alignment();
    refusals();
    pages();
    unique_when_empty();
    /* Which places are free, and dirty or clean, settles in some rounds: how many depends on the machine's speed.
     */
    enum { ROUNDS = 80, SETTLED = 8 };
    size_t mapped = 0, level = 0;
    for (size_t i = 0; i < ROUNDS && level < SETTLED; i++) {
        every_alignment();
        size_t now = status_bytes("VmSize");
        level = now < mapped + 16 * MIB ? level + 1 : 0;
        mapped = now > mapped ? now : mapped;
    }
    CHECK(level == SETTLED, "it grows for ever: %zu MiB mapped", mapped / MIB);
    return 0;
}
