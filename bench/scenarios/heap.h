/* The malloc under test, as the scenarios call it: every object is written in full, checked when it changes hands,
 * and accounted for on the page. */
#ifndef BENCH_HEAP_H
#define BENCH_HEAP_H

#include <stddef.h>

struct object {
    unsigned char *start; /* NULL: none */
    size_t size;          /* as asked for, above 0 */
};

/* Each ends the process with a message where the allocator fails, or where an object's bytes have changed. Objects
 * are not to be used by two threads at once. */
struct object object_make(size_t size);
void object_grow(struct object *object, size_t size); /* by realloc */
void object_drop(struct object *object);

/* Puts on the page what the calling thread has not told yet: before a thread waits, sleeps or ends. */
void heap_settle(void);

#endif
