/* Fuzz target: bytes are a program of calls to the malloc family, run against a shadow. Three bytes a call: what,
 * on which slot, how large. A violated promise aborts. */
#include "front/heap.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 64 };

static struct {
    unsigned char *p;
    size_t size;
    unsigned char fill;
} slots[SLOTS];

static void require(bool condition) {
    if (!condition)
        abort();
}

static size_t decode_size(uint8_t b) {
    return ((size_t)(b & 15) + 1) << (b >> 4) >> 1; /* 0 to 512 KiB, dense below */
}

static void check(int i) {
    for (size_t k = 0; k < slots[i].size; k++)
        require(slots[i].p[k] == slots[i].fill);
}

static void set(int i, void *p, size_t size, uint8_t fill) {
    require(p != NULL && neap_malloc_usable_size(p) >= size);
    slots[i].p = p;
    slots[i].size = size;
    slots[i].fill = fill;
    memset(p, fill, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length) {
    for (size_t at = 0; at + 3 <= length; at += 3) {
        int i = data[at + 1] % SLOTS;
        size_t size = decode_size(data[at + 2]);
        uint8_t what = data[at], fill = (uint8_t)(at * 31 + 1);
        if (slots[i].p == NULL) {
            size_t alignment = (size_t)8 << what / 8 % 16;
            void *p;
            switch (what % 4) {
            case 0:
                p = neap_calloc(size, 1);
                for (size_t k = 0; k < size; k++)
                    require(((unsigned char *)p)[k] == 0);
                set(i, p, size, fill);
                break;
            case 1:
                require(neap_posix_memalign(&p, alignment, size) == 0);
                require((uintptr_t)p % alignment == 0);
                set(i, p, size, fill);
                break;
            default:
                set(i, neap_malloc(size), size, fill);
            }
        } else if (what % 4 == 0) {
            check(i);
            unsigned char *p = neap_realloc(slots[i].p, size + 1);
            require(p != NULL);
            for (size_t k = 0; k < size + 1 && k < slots[i].size; k++)
                require(p[k] == slots[i].fill);
            set(i, p, size + 1, fill);
        } else {
            check(i);
            neap_free(slots[i].p);
            slots[i].p = NULL;
        }
        if (what == 255)
            neap_malloc_trim(0);
    }
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].p != NULL) {
            check(i);
            neap_free(slots[i].p);
            slots[i].p = NULL;
        }
    }
    heap_check();
    neap_malloc_trim(0);
    require(counter_get(&heap.runs.used_units) == 0);
    return 0;
}
