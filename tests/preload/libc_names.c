/* Memory of malloc may be given to __libc_free and the other way round: glibc's second names are ours, too. */
#include "preload.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void *__libc_valloc(size_t size);
void *__libc_pvalloc(size_t size);
void __libc_free(void *p);

int main(void) {
    begin(100);
    for (size_t size = 1; size < 4 * MIB; size += size / 2 + 1) {
        void *of_libc[] = {__libc_malloc(size), __libc_calloc(size, 1), __libc_memalign(4096, size),
                           __libc_valloc(size), __libc_pvalloc(size),   __libc_realloc(NULL, size)};
        for (size_t i = 0; i < sizeof of_libc / sizeof *of_libc; i++) {
            CHECK(of_libc[i] != NULL && malloc_usable_size(of_libc[i]) >= size, "%zu bytes of name %zu", size, i);
            fill(of_libc[i], size, i);
            void *p = realloc(of_libc[i], 2 * size); /* ends the process where it is not ours */
            CHECK(p != NULL && is_filled(p, size & ~(size_t)7, i));
            free(p);
            fill(p = malloc(size), size, i);
            p = __libc_realloc(p, 2 * size);
            CHECK(p != NULL && is_filled(p, size & ~(size_t)7, i));
            __libc_free(p);
        }
    }
    return 0;
}
