/* The system's limit of mappings (vm.max_map_count) is reached while addresses are to go back (RLIMIT_AS): nothing
 * can be unmapped from the middle of the heap. Trimming, and an allocation too large, end all the same, and the
 * heap is as good as before. */
#include "preload.h"

enum { OBJECTS = 400, BYTES = 100000 };

int main(void) {
    begin(60);
    static char *objects[OBJECTS];
    struct rlimit limit = {8 * GIB, 8 * GIB};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    for (size_t i = 0; i < OBJECTS; i++) {
        CHECK((objects[i] = malloc(BYTES)) != NULL);
        fill(objects[i], BYTES, i);
    }
    /* Every second page gets a mapping of its own, until there can be no more. */
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (2 * GIB - 64 * MIB) / page, at = 0;
    char *many = mmap(NULL, pages * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(many != MAP_FAILED);
    while (at < pages && mprotect(many + at * page, page, PROT_READ) == 0)
        at += 2;
    if (at >= pages)
        return 0; /* so many are allowed that this does not reach it */
    for (size_t i = 0; i < OBJECTS; i += 2)
        free(objects[i]);
    malloc_trim(0);
    CHECK(malloc(16 * GIB) == NULL);
    for (size_t i = 1; i < OBJECTS; i += 2) {
        CHECK(is_filled(objects[i], BYTES, i));
        free(objects[i]);
    }
    munmap(many, pages * page);
    malloc_trim(0);
    exercise(1, 20000);
    return 0;
}
