/* A program that has done next to nothing: a few dozen small objects, then it rests. Prints
 * /proc/self/smaps.
 *
 * SPDX-License-Identifier: MIT */
#include "smaps.h"

int main(void) {
    enum { OBJECTS = 48 };
    static void *volatile objects[OBJECTS];
    for (size_t i = 0; i < OBJECTS; i++) {
        size_t size = 16 + i * 37 % 500;
        void *p = malloc(size);
        if (p == NULL)
            return 2;
        memset(p, 1, size);
        objects[i] = p;
    }
    for (size_t i = 0; i < OBJECTS; i += 3)
        free(objects[i]);
    return smaps_print() ? 0 : 2;
}
