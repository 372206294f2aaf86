/* The page floor: the bytes of the distinct pages that hold at least one live byte. No allocator that does not
 * move objects can be resident with less. */
#ifndef BENCH_PAGE_FLOOR_H
#define BENCH_PAGE_FLOOR_H

#include <stddef.h>
#include <stdint.h>

void floor_begin(void); /* of a count; the first call maps the memory of all later ones */
void floor_add(uintptr_t start, size_t size);
uint64_t floor_bytes(void);

#endif
