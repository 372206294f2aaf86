/* Every size from 0 to 70,000, and some above: aligned to 16, all usable bytes usable, and none shared. */
#include "preload.h"

enum { SIZES = 70000, WINDOW = 64 };

static void *by(unsigned how, size_t size) {
    switch (how) {
    case 0:
        return malloc(size);
    case 1:
        return calloc(size, 1);
    case 2:
        return realloc(NULL, size);
    default:
        return realloc(malloc(size / 3 + 1), size + (size == 0));
    }
}

/* The whole of a small one; the first and the last page of others. */
static void fill_ends(char *p, size_t size, uint64_t seed) {
    if (size > 8192) {
        fill(p, 4096, seed);
        fill(p + size - 4096, 4096, seed);
    } else {
        fill(p, size, seed);
    }
}

static bool ends_are_filled(const char *p, size_t size, uint64_t seed) {
    return size > 8192 ? is_filled(p, 4096, seed) && is_filled(p + size - 4096, 4096, seed)
                       : is_filled(p, size, seed);
}

int main(void) {
    begin(100);
    for (unsigned how = 0; how < 4; how++) {
        char *live[WINDOW] = {NULL};
        size_t usable[WINDOW];
        for (size_t size = 0; size <= SIZES + 3 * MIB; size += size < SIZES ? 1 : 100001) {
            size_t slot = size % WINDOW;
            if (live[slot] != NULL) {
                CHECK(ends_are_filled(live[slot], usable[slot], slot), "an object of %zu bytes was overwritten",
                      usable[slot]);
                free(live[slot]);
            }
            char *p = by(how, size);
            CHECK(p != NULL && (uintptr_t)p % 16 == 0, "size %zu, way %u: %p", size, how, (void *)p);
            CHECK(how != 1 || size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0), "calloc(%zu)", size);
            live[slot] = p;
            usable[slot] = malloc_usable_size(p);
            CHECK(usable[slot] >= size && usable[slot] <= size + size / 7 + 70000, "size %zu: %zu usable", size,
                  usable[slot]);
            fill_ends(p, usable[slot], slot);
        }
        for (size_t i = 0; i < WINDOW; i++)
            free(live[i]);
    }
    return 0;
}
