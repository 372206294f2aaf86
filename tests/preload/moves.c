/* Ten thousand moves of large objects by realloc: contents are kept and the number of mappings stays bounded, for
 * there is a limit to them (vm.max_map_count). */
#include "preload.h"

int main(void) {
    begin(100);
    enum { OBJECTS = 64, MOVES = 10000 };
    struct {
        char *p;
        size_t size;
    } objects[OBJECTS] = {{0}};
    uint64_t random = 8;
    size_t moves = 0, maps = count_maps(), most = 0;
    for (size_t i = 0; moves < MOVES && i < 20 * MOVES; i++) {
        size_t n = next_random(&random) % OBJECTS, old = objects[n].size;
        size_t size = old == 0 || old > 2 * MIB ? 128 * KIB + next_random(&random) % (256 * KIB)
                                                : old + old * (next_random(&random) % 8) / 8 + 4096;
        if (next_random(&random) % 16 == 0) {
            free(objects[n].p);
            objects[n].p = NULL, objects[n].size = 0;
            continue;
        }
        char *p = realloc(objects[n].p, size);
        CHECK(p != NULL);
        size_t kept = old < size ? old : size;
        for (size_t at = 0; at + 4096 <= kept; at += 4096)
            CHECK(is_filled(p + at, 8, n + at), "move %zu from %zu to %zu, at %zu", moves, old, size, at);
        moves += objects[n].p != NULL && p != objects[n].p;
        objects[n].p = p, objects[n].size = size;
        for (size_t at = 0; at + 4096 <= size; at += 4096)
            fill(p + at, 8, n + at);
        if (i % 100 == 0) {
            size_t now = count_maps();
            most = now > most ? now : most;
        }
    }
    CHECK(moves >= MOVES / 2, "only %zu of them moved", moves);
    CHECK(most < maps + 8 * OBJECTS, "%zu mappings at first, %zu at most", maps, most);
    for (size_t n = 0; n < OBJECTS; n++)
        free(objects[n].p);
    malloc_trim(0);
    CHECK(count_maps() < maps + 2 * OBJECTS, "%zu mappings at first, %zu after all is freed", maps, count_maps());
    return 0;
}
