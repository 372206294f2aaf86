/* See heap.h. A thread keeps its account to itself for 64 calls: an atomic addition a call would make threads wait
 * for each other where the allocator does not. */
#include "heap.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "latency.h"
#include "page.h"
#include "system.h"

enum { SETTLE_EVERY = 64 };

static __thread struct {
    uint64_t bytes, objects; /* modulo 2^64: what went may be more than what came */
    uint64_t calls;
} account;

void heap_settle(void) {
    PAGE_ADD(live_bytes, account.bytes);
    PAGE_ADD(live_objects, account.objects);
    PAGE_ADD(operations, account.calls);
    account.bytes = account.objects = account.calls = 0;
}

static void account_for(uint64_t bytes, uint64_t objects) {
    account.bytes += bytes;
    account.objects += objects;
    if (++account.calls == SETTLE_EVERY)
        heap_settle();
}

/* The byte that an object is filled with. */
static unsigned char stamp_of(const struct object *object) {
    return (unsigned char)(object->size * 0x9d + ((uintptr_t)object->start >> 4) + 1);
}

/* An allocator that gives the same bytes twice, or loses some in realloc, must not win by it. */
static void check_stamp(const struct object *object, unsigned char stamp, const unsigned char *start,
                        size_t size) {
    if (start[0] != stamp || start[size - 1] != stamp)
        stop(STATUS_FAILED, "phase %s: an object of %zu bytes at %p has changed: the allocator is broken",
             page->phase_name, object->size, (void *)object->start);
}

static _Noreturn void fail(const char *function, size_t size) {
    heap_settle();
    stop(STATUS_FAILED, "phase %s: %s of %zu bytes failed (%s) with %llu bytes live", page->phase_name, function,
         size, strerror(errno), (unsigned long long)PAGE_LOAD(live_bytes));
}

struct object object_make(size_t size) {
    struct object object = {.size = size};
    if (latency_is_due()) {
        uint64_t before = now_ns();
        object.start = malloc(size);
        if (object.start != NULL)
            *(volatile unsigned char *)object.start =
                0; /* a page that was given back too early is paid for here */
        latency_add(now_ns() - before);
    } else {
        object.start = malloc(size);
    }
    if (object.start == NULL)
        fail("malloc", size);
    account_for(size, 1);
    memset(object.start, stamp_of(&object), size);
    return object;
}

void object_grow(struct object *object, size_t size) {
    unsigned char stamp = stamp_of(object);
    check_stamp(object, stamp, object->start, object->size);
    unsigned char *start = realloc(object->start, size);
    if (start == NULL)
        fail("realloc", size);
    check_stamp(object, stamp, start, object->size);
    account_for(size - object->size, 0);
    struct object grown = {start, size};
    memset(start + object->size - 1, stamp_of(&grown), size - object->size + 1);
    start[0] = stamp_of(&grown); /* what lies between stays: a writer appends to its buffer */
    *object = grown;
}

void object_drop(struct object *object) {
    check_stamp(object, stamp_of(object), object->start, object->size);
    free(object->start);
    account_for((uint64_t)0 - object->size, (uint64_t)0 - 1);
    *object = (struct object){0};
}
