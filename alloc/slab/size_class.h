/* Size classes: 16-byte steps to 128, then eight a doubling to 32 KiB, so that rounding up wastes 5 % on average.
 * Class 0 is none. Everything here is constant but for the slabs' sizes, which depend on the page size. */
#ifndef NEAP_SLAB_SIZE_CLASS_H
#define NEAP_SLAB_SIZE_CLASS_H

#include "base/bits.h"
#include "page/unit_map.h"

enum {
    CLASS_GRAIN = 16,
    CLASS_LINEAR = 8, /* classes that are multiples of the grain */
    CLASS_STEPS = 8,  /* classes a doubling above them */
    CLASS_DOUBLINGS = 8,
    CLASSES = 1 + CLASS_LINEAR + CLASS_STEPS * CLASS_DOUBLINGS, /* with class 0 */
    CLASS_MAX_BYTES = 32 << 10,
    CLASS_TABLE_BYTES = 1024, /* sizes up to this are looked up, larger ones computed */
};
_Static_assert(CLASSES - 1 <= UNIT_LAST_CLASS, "every class is a kind of unit");

/* The class of a size from 1 to CLASS_MAX_BYTES; a constant expression for a constant size. */
#define CLASS_LOG(size) (63 - __builtin_clzl((size_t)(size)-1)) /* for sizes above 128 */
#define CLASS_OF(size)                                                                                            \
    ((size) <= CLASS_LINEAR * CLASS_GRAIN                                                                         \
         ? ((size_t)(size) + CLASS_GRAIN - 1) / CLASS_GRAIN                                                       \
         : (size_t)CLASS_LINEAR + 1 + ((size_t)CLASS_LOG(size) - 7) * CLASS_STEPS +                               \
               ((((size_t)(size)-1) >> (CLASS_LOG(size) - 3)) & (CLASS_STEPS - 1)))

/* The size of a class; a constant expression for a constant class. */
#define CLASS_BYTES(c)                                                                                            \
    ((c) <= CLASS_LINEAR ? (size_t)(c)*CLASS_GRAIN                                                                \
                         : ((size_t)(CLASS_STEPS + 1 + ((c)-CLASS_LINEAR - 1) % CLASS_STEPS)                      \
                            << (4 + ((c)-CLASS_LINEAR - 1) / CLASS_STEPS)))

/* OF(class) of all sizes up to CLASS_TABLE_BYTES, by size in grains, rounded up; size 0 is of class 1. */
#define CLASS_ROW1(of, g)  of((g) == 0 ? 1 : CLASS_OF((g) == 0 ? 1 : (g)*CLASS_GRAIN))
#define CLASS_ROW4(of, g)  CLASS_ROW1(of, g), CLASS_ROW1(of, g + 1), CLASS_ROW1(of, g + 2), CLASS_ROW1(of, g + 3)
#define CLASS_ROW16(of, g) CLASS_ROW4(of, g), CLASS_ROW4(of, g + 4), CLASS_ROW4(of, g + 8), CLASS_ROW4(of, g + 12)
#define CLASS_TABLE(of)                                                                                           \
    { CLASS_ROW16(of, 0), CLASS_ROW16(of, 16), CLASS_ROW16(of, 32), CLASS_ROW16(of, 48), CLASS_ROW1(of, 64) }
_Static_assert(CLASS_TABLE_BYTES / CLASS_GRAIN == 64, "as many as CLASS_TABLE has, and one");

extern const uint8_t class_table[CLASS_TABLE_BYTES / CLASS_GRAIN + 1];

static inline unsigned size_class(size_t size) {
    if (LIKELY(size <= CLASS_TABLE_BYTES))
        return class_table[(size + CLASS_GRAIN - 1) / CLASS_GRAIN];
    return (unsigned)CLASS_OF(size);
}

static inline size_t class_bytes(unsigned class) {
    return CLASS_BYTES(class);
}

/* The smallest class of at least `size` bytes whose objects are aligned to `alignment`, a power of two; 0 where
 * there is none. Slabs are aligned to their size, so objects are aligned to every power of two that divides
 * their size. */
static inline unsigned size_class_aligned(size_t size, size_t alignment) {
    if (size > CLASS_MAX_BYTES || alignment > CLASS_MAX_BYTES)
        return 0;
    unsigned class = size_class(max_size(size, alignment));
    while ((class_bytes(class) & (alignment - 1)) != 0)
        class += 1;
    return class;
}

/* What it takes to find the object that a pointer into a slab belongs to, without a division: D. Lemire, O. Kaser
 * and N. Kurz, "Faster remainder by direct computation", 2019. For any n below 2^18 and d = size,
 * n / d is the high word of n * reciprocal, and d divides n exactly if the low word is below reciprocal; so it
 * divides n + 1 if adding reciprocal to the low word for n carries. */
struct divisor {
    uint64_t reciprocal; /* 2^64 / size, rounded up; 0 for kinds of unit that are no class: nothing divides */
    uint32_t slab_mask;  /* bytes of a slab, less one */
    uint32_t slab_end;   /* bytes of a slab that objects take, its last */
};

/* Fills the table of all kinds of unit for that page size. */
void divisors_init(struct divisor divisors[UNIT_KINDS], size_t page);

static inline uint32_t objects_of(const struct divisor *d) {
    return (uint32_t)((unsigned __int128)d->slab_end * d->reciprocal >> 64);
}

/* Offsets in a slab are counted from its last byte downwards, so that what objects leave over lies in front of
 * them all, where no multiple of the size does: one test tells whether an object begins at p. */
static inline uint64_t slab_offset(const struct divisor *d, const void *p) {
    return ~(uintptr_t)p & d->slab_mask;
}

static inline uint32_t object_index(const struct divisor *d, const void *p) {
    return (uint32_t)((unsigned __int128)slab_offset(d, p) * d->reciprocal >> 64);
}

/* Whether p is where an object of that class begins: its last byte in this order, so that the offset of the next
 * one is a multiple of the size. False for kinds of unit that are no class. */
static inline bool is_object_start(const struct divisor *d, const void *p) {
    uint64_t low;
    return __builtin_add_overflow(slab_offset(d, p) * d->reciprocal, d->reciprocal, &low);
}

#endif
