/* page_floor.c against the plain way: all page numbers, sorted, the distinct ones counted. Addresses are made up.
 */
#include "page_floor.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "random.h"

enum { MAX_PAGES = 2000000 };

static uint64_t numbers[MAX_PAGES];
static size_t count;
static int failures;

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void add(uintptr_t start, size_t size) {
    uintptr_t page_size = (uintptr_t)sysconf(_SC_PAGESIZE), at = start - start % page_size;
    floor_add(start, size);
    for (; at < start + size; at += page_size) {
        if (count == MAX_PAGES)
            abort();
        numbers[count++] = at / page_size;
    }
}

static void expect(const char *what, uint64_t expected) {
    uint64_t found = floor_bytes();
    if (found != expected) {
        printf("%s: %llu bytes, should be %llu\n", what, (unsigned long long)found, (unsigned long long)expected);
        failures++;
    }
}

static uint64_t brute_force(void) {
    uint64_t distinct = 0;
    qsort(numbers, count, sizeof *numbers, compare);
    for (size_t i = 0; i < count; i++)
        distinct += i == 0 || numbers[i] != numbers[i - 1];
    return distinct * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void begin(void) {
    count = 0;
    floor_begin();
}

/* Objects of 1 to `most` bytes within `span` bytes. */
static void random_objects(const char *what, uint64_t seed, size_t objects, size_t most, uint64_t span) {
    struct random random = {seed};
    begin();
    for (size_t i = 0; i < objects; i++)
        add(0x7f0000000000u + random_next(&random) % span, 1 + random_below(&random, most));
    expect(what, brute_force());
}

int main(void) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    begin();
    expect("nothing", 0);
    add(10 * page, 1);
    expect("one byte", page);
    add(10 * page + 1, page - 1);
    expect("to the end of the page", page);
    add(11 * page - 1, 2);
    expect("over the end of the page", 2 * page);
    add(510 * page, 4 * page);
    expect("over the end of a block of 512 pages", 6 * page);
    begin();
    expect("nothing again", 0);

    random_objects("dense and small", 1, 100000, 200, 16 << 20);
    random_objects("dense and mixed", 2, 20000, 20000, 1 << 30);
    random_objects("few and large", 3, 300, 8 << 20, (uint64_t)1 << 32);
    random_objects("a block a page, so that the table grows", 4, 50000, 64, (uint64_t)1 << 45);
    random_objects("dense, in the larger table", 5, 100000, 200, 16 << 20);
    return failures != 0;
}
