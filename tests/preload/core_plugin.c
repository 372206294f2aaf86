/* A library for dlopen that has libneap-core.a inside, and leaves a scavenger and a cache behind. */
#include "neap/neap.h"

#include <stdlib.h>
#include <string.h>

void plugin_use(void);

void plugin_use(void) {
    enum { OBJECTS = 3000, BYTES = 3000 };
    static void *objects[OBJECTS];
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < OBJECTS; i++) {
            if ((objects[i] = neap_malloc(BYTES)) == NULL)
                abort();
            memset(objects[i], 1, BYTES);
        }
        for (int i = 0; i < OBJECTS; i++)
            neap_free(objects[i]);
    }
}
