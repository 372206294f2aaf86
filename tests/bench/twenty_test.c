/* Live bytes after each of twenty calls, added up by hand, against what the page says. `twenty_test shim` runs
 * under counting_shim.so, which must say the same of the process. */
#include <stdio.h>
#include <string.h>

#include "heap.h"
#include "page.h"

static struct object a, b, c, d, e, f, g;
static int failures;
static unsigned calls;

static void expect(uint64_t bytes, uint64_t objects) {
    heap_settle();
    calls++;
    if (PAGE_LOAD(live_bytes) == bytes && PAGE_LOAD(live_objects) == objects && PAGE_LOAD(operations) == calls)
        return;
    printf("call %u: %llu bytes in %llu objects after %llu operations, should be %llu in %llu after %u\n", calls,
           (unsigned long long)PAGE_LOAD(live_bytes), (unsigned long long)PAGE_LOAD(live_objects),
           (unsigned long long)PAGE_LOAD(operations), (unsigned long long)bytes, (unsigned long long)objects,
           calls);
    failures++;
}

int main(void) {
    page_attach();
    a = object_make(1), expect(1, 1);
    b = object_make(7), expect(8, 2);
    c = object_make(100), expect(108, 3);
    d = object_make(4096), expect(4204, 4);
    object_drop(&b), expect(4197, 3);
    e = object_make(100000), expect(104197, 4);
    object_grow(&c, 150), expect(104247, 4);
    object_grow(&a, 2), expect(104248, 4);
    object_drop(&d), expect(100152, 3);
    f = object_make(3000000), expect(3100152, 4);
    object_grow(&e, 200000), expect(3200152, 4);
    object_drop(&a), expect(3200150, 3);
    b = object_make(16), expect(3200166, 4);
    object_drop(&f), expect(200166, 3);
    object_drop(&e), expect(166, 2);
    g = object_make(33), expect(199, 3);
    object_drop(&c), expect(49, 2);
    d = object_make(951), expect(1000, 3);
    object_drop(&b), expect(984, 2);
    object_drop(&g), expect(951, 1);
    return failures != 0;
}
