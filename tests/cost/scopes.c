/* usage: scopes
 * Opens 10,000 scopes with 20 small objects in each, and prints how many bytes of memory a scope took beyond one
 * and a half times what was asked for.
 *
 * SPDX-License-Identifier: MIT */
#include <neap/neap.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCOPES = 10000, OBJECTS = 20 };

static long resident(void) {
    char text[200] = "";
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm == NULL || fgets(text, sizeof text, statm) == NULL || sscanf(text, "%*d %ld", &pages) != 1)
        exit(2);
    fclose(statm);
    return pages * sysconf(_SC_PAGESIZE);
}

int main(void) {
    long before = resident(), asked = 0;
    for (long i = 0; i < SCOPES; i++) {
        neap_scope scope = neap_scope_create(NULL);
        if (neap_scope_enter(scope) != 0)
            return 2;
        for (long k = 0; k < OBJECTS; k++) {
            size_t size = 16 + (size_t)(k * 37 + i) % 112;
            void *p = malloc(size);
            if (p == NULL)
                return 2;
            memset(p, 1, size);
            asked += (long)size;
        }
        if (neap_scope_leave(scope) != 0)
            return 2;
    }
    printf("%ld\n", (resident() - before - asked - asked / 2) / SCOPES);
    return 0;
}
