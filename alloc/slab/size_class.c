/* The tables of size_class.h. No locks; constant after start. */
#include "slab/size_class.h"

#define CLASS(class) (uint8_t)(class)
const uint8_t class_table[CLASS_TABLE_BYTES / CLASS_GRAIN + 1] = CLASS_TABLE(CLASS);

_Static_assert(CLASS_BYTES(CLASSES - 1) == CLASS_MAX_BYTES, "the last class is the largest size");
_Static_assert(CLASS_OF(CLASS_MAX_BYTES) == CLASSES - 1, "and the largest size is of the last class");

/* A slab holds at least this many objects where 16 units allow: fewer, and slabs come and go too often. */
enum { OBJECTS_WANTED = 16, SLAB_UNITS_MAX = 16 };

void divisors_init(struct divisor divisors[UNIT_KINDS], size_t page) {
    for (unsigned c = 1; c < CLASSES; c++) {
        size_t size = class_bytes(c);
        size_t bytes = round_up_power_of_two(size * OBJECTS_WANTED);
        bytes = min_size(max_size(bytes, UNIT_BYTES), SLAB_UNITS_MAX * UNIT_BYTES);
        bytes = max_size(bytes, page);
        divisors[c] = (struct divisor){
            .reciprocal = UINT64_MAX / size + 1, /* of powers of two exact, of others rounded up */
            .slab_mask = (uint32_t)bytes - 1,
            .slab_end = (uint32_t)(bytes / size * size),
        };
    }
}
