/* See page_floor.h. A bit a page, in blocks of 512 pages, in a hash table by address: heaps are dense, so a
 * hundred thousand pages are a few hundred blocks and are gone through in milliseconds. The table is mapped and
 * made resident before the first object, and doubled where it gets half full. */
#include "page_floor.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "system.h"

enum { BLOCK_LOG = 9, BLOCK_WORDS = (1 << BLOCK_LOG) / 64, FIRST_CAPACITY = 8192 };

struct block {
    uint64_t number; /* the address by page size and block size, plus 1; 0: none */
    uint64_t pages[BLOCK_WORDS];
};

static struct block *blocks;
static size_t capacity, used;
static uint64_t page_count;
static unsigned page_log;

void floor_begin(void) {
    if (blocks == NULL) {
        capacity = FIRST_CAPACITY;
        blocks = map_memory(capacity * sizeof *blocks);
        page_log = (unsigned)__builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
    }
    if (used != 0)
        memset(blocks, 0, capacity * sizeof *blocks);
    used = 0;
    page_count = 0;
}

/* The block of that number, or the free place for it. */
static struct block *find(uint64_t number) {
    size_t i = (size_t)(number * 0x9e3779b97f4a7c15u >> 32) & (capacity - 1);
    while (blocks[i].number != 0 && blocks[i].number != number)
        i = (i + 1) & (capacity - 1);
    return &blocks[i];
}

static void grow(void) {
    struct block *old = blocks;
    size_t old_capacity = capacity;
    capacity *= 2;
    blocks = map_memory(capacity * sizeof *blocks);
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].number != 0)
            *find(old[i].number) = old[i];
    unmap_memory(old, old_capacity * sizeof *old);
}

static struct block *block_of(uint64_t page_number) {
    uint64_t number = (page_number >> BLOCK_LOG) + 1;
    struct block *block = find(number);
    if (block->number == 0) {
        if (used == capacity / 2) {
            grow();
            block = find(number);
        }
        block->number = number;
        used++;
    }
    return block;
}

void floor_add(uintptr_t start, size_t size) {
    uint64_t last = (start + size - 1) >> page_log;
    for (uint64_t number = start >> page_log; number <= last; number++) {
        uint64_t *word = &block_of(number)->pages[number % (1 << BLOCK_LOG) / 64],
                 bit = (uint64_t)1 << number % 64;
        page_count += (*word & bit) == 0;
        *word |= bit;
    }
}

uint64_t floor_bytes(void) {
    return page_count << page_log;
}
