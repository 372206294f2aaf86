/* realloc and reallocarray from every size to every size: contents kept, neighbours left alone. */
#include "preload.h"

static const size_t sizes[] = {1,      8,      16,     17,     100,    128,     129,     1000,   1024,
                               1025,   4096,   10000,  20000,  32768,  32769,   49152,   49153,  65536,
                               100000, 131072, 131073, 200000, 500000, 1 << 20, 3 << 20, 9000000};
enum { SIZES = sizeof sizes / sizeof *sizes };

int main(void) {
    begin(100);
    for (size_t from = 0; from < SIZES; from++)
        for (size_t to = 0; to < SIZES; to++) {
            char *p = malloc(sizes[from]), *neighbour = malloc(sizes[from] % 100000);
            CHECK(p != NULL && neighbour != NULL);
            fill(p, sizes[from], from);
            fill(neighbour, sizes[from] % 100000, 99);
            p = (from + to) % 2 == 0 ? realloc(p, sizes[to]) : reallocarray(p, 1, sizes[to]);
            CHECK(p != NULL && malloc_usable_size(p) >= sizes[to], "from %zu to %zu", sizes[from], sizes[to]);
            size_t kept = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
            CHECK(is_filled(p, kept & ~(size_t)7, from), "from %zu to %zu", sizes[from], sizes[to]);
            /* What shrinks by much gives something back. */
            CHECK(malloc_usable_size(p) <= sizes[to] * 2 + (sizes[to] > 32768 ? 65536 : 4096),
                  "from %zu to %zu: %zu usable", sizes[from], sizes[to], malloc_usable_size(p));
            fill(p, sizes[to], to);
            CHECK((p = realloc(p, sizes[from])) != NULL && is_filled(p, kept & ~(size_t)7, to));
            CHECK(is_filled(neighbour, sizes[from] % 100000, 99));
            free(neighbour), free(p);
        }
    uint64_t random = 1; /* one object, up and down */
    char *p = NULL;
    size_t size = 0;
    for (size_t i = 0; i < 20000; i++) {
        size_t now = next_random(&random) % ((size_t)1 << (6 + i % 15)) + 1;
        p = realloc(p, now);
        CHECK(p != NULL && is_filled(p, (size < now ? size : now) & ~(size_t)7, i - 1));
        fill(p, size = now, i);
    }
    free(p);
    return 0;
}
