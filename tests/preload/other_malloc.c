/* A library with a malloc of its own, which counts its calls and gives memory that neap would not know. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

extern int other_calls;
void *other_asks_for(size_t size);
void other_frees(void *p);

int other_calls;
static _Alignas(16) char memory[16 << 20];
static size_t used;

void *malloc(size_t size) {
    __atomic_fetch_add(&other_calls, 1, __ATOMIC_RELAXED);
    size_t at = __atomic_fetch_add(&used, (size + 15) & ~(size_t)15, __ATOMIC_RELAXED);
    return at + size <= sizeof memory ? memory + at : NULL;
}

void free(void *p) {
    (void)p;
    __atomic_fetch_add(&other_calls, 1, __ATOMIC_RELAXED);
}

void *calloc(size_t count, size_t size) {
    return malloc(count * size);
}

void *realloc(void *p, size_t size) {
    void *q = malloc(size);
    if (p != NULL && q != NULL)
        memcpy(q, p, size);
    return q;
}

/* What code in this library means by malloc is a matter of the order in which libraries were loaded. */
void *other_asks_for(size_t size) {
    return malloc(size);
}

void other_frees(void *p) {
    free(p);
}
