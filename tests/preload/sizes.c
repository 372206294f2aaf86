/* malloc(0), realloc(p, 0), malloc_usable_size, and calloc over memory that was dirty. */
#include "preload.h"

static void empty_objects(void) {
    enum { OBJECTS = 3000 };
    static char *p[OBJECTS];
    for (size_t i = 0; i < OBJECTS; i++) {
        p[i] = i % 3 == 0 ? malloc(0) : i % 3 == 1 ? calloc(i % 2, 0) : realloc(NULL, 0);
        CHECK(p[i] != NULL && (uintptr_t)p[i] % 16 == 0);
        memset(p[i], (int)i, malloc_usable_size(p[i]));
    }
    for (size_t i = 0; i < OBJECTS; i++)
        for (size_t j = 0; j < i; j++)
            CHECK(p[i] != p[j]);
    for (size_t i = 0; i < OBJECTS; i++) {
        CHECK(malloc_usable_size(p[i]) == 0 || *p[i] == (char)i);
        if (i % 2 == 0)
            CHECK(realloc(p[i], 0) == NULL); /* frees, as glibc does */
        else
            free(p[i]);
    }
    /* It did free: what goes round does not grow. */
    size_t live = mallinfo2().uordblks;
    for (size_t i = 0; i < 100000; i++)
        CHECK(realloc(malloc(i % 5000 + 1), 0) == NULL);
    CHECK(mallinfo2().uordblks < live + 64 * KIB, "%zu bytes live, then %zu", live, mallinfo2().uordblks);
    CHECK(malloc_usable_size(NULL) == 0);
}

static void usable_bytes(void) {
    enum { OBJECTS = 2000 };
    static char *p[OBJECTS];
    uint64_t random = 3;
    for (size_t i = 0; i < OBJECTS; i++) {
        size_t size = i % 500 == 0 ? 100000 + i : next_random(&random) % (i % 4 == 0 ? 40000 : 300);
        p[i] = i % 3 == 0 ? aligned_alloc((size_t)16 << i % 8, size) : malloc(size);
        CHECK(p[i] != NULL && malloc_usable_size(p[i]) >= size);
        fill(p[i], malloc_usable_size(p[i]), i);
    }
    for (size_t i = 0; i < OBJECTS; i++)
        CHECK(is_filled(p[i], malloc_usable_size(p[i]), i), "object %zu of %zu bytes", i,
              malloc_usable_size(p[i]));
    for (size_t i = 0; i < OBJECTS; i++) {
        size_t usable = malloc_usable_size(p[i]); /* realloc to what it has already stays */
        CHECK(usable == 0 || realloc(p[i], usable) == p[i], "realloc to the usable %zu bytes moved", usable);
        CHECK(is_filled(p[i], usable, i));
        free(p[i]);
    }
}

static void zeroes(void) {
    static const size_t sizes[] = {1,    8,     16,    24,    100,    1000,    1024,   1025,
                                   5000, 20000, 32768, 33000, 100000, 1048576, 3000000};
    enum { SIZES = sizeof sizes / sizeof *sizes, OBJECTS = 50 };
    for (size_t round = 0; round < 6; round++)
        for (size_t i = 0; i < SIZES; i++) {
            char *p[OBJECTS];
            size_t each = sizes[i] > 100000 ? 8 : OBJECTS;
            for (size_t j = 0; j < each; j++) {
                CHECK((p[j] = calloc(1, sizes[i])) != NULL);
                for (size_t at = 0; at < sizes[i]; at++)
                    CHECK(p[j][at] == 0, "calloc(%zu): byte %zu is %d", sizes[i], at, p[j][at]);
                memset(p[j], 0xa5, malloc_usable_size(p[j]));
                if (j % 3 == 0) { /* dirty it elsewhere, too: by growing, moving and shrinking */
                    CHECK((p[j] = realloc(p[j], sizes[i] * 3)) != NULL);
                    memset(p[j], 0x5a, malloc_usable_size(p[j]));
                    CHECK((p[j] = realloc(p[j], sizes[i] / 2 + 1)) != NULL);
                    memset(p[j], 0x5b, malloc_usable_size(p[j]));
                }
            }
            for (size_t j = 0; j < each; j++)
                free(p[j]);
            if (round == 2)
                malloc_trim(0);
        }
}

int main(void) {
    begin(60);
    empty_objects();
    usable_bytes();
    zeroes();
    return 0;
}
