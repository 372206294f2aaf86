/* A malloc that is wrong: every thousandth object is one that is in use. */
#include <stdlib.h>

void *__libc_malloc(size_t size);

__attribute__((visibility("default"))) void *malloc(size_t size) {
    enum { RARELY = 1000, SMALL = 64 };
    static unsigned count;
    static void *last;
    if (size > SMALL)
        return __libc_malloc(size);
    if (++count % RARELY != 0)
        last = __libc_malloc(SMALL);
    return last;
}
