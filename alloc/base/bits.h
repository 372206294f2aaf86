/* Arithmetic on sizes and addresses, and the compiler's words for what C lacks. */
#ifndef NEAP_BASE_BITS_H
#define NEAP_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(sizeof(void *) == 8, "neap keeps its heap in a 64-bit address space");

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define NOINLINE    __attribute__((noinline))
#define COLD        __attribute__((noinline, cold))
#define INLINE      inline __attribute__((always_inline))
#define CACHE_LINE  64

static inline bool is_power_of_two(size_t x) {
    return x != 0 && (x & (x - 1)) == 0;
}

/* align must be a power of two; the caller has made sure that x + align does not overflow. */
static inline size_t align_up(size_t x, size_t align) {
    return (x + align - 1) & ~(align - 1);
}

static inline size_t align_down(size_t x, size_t align) {
    return x & ~(align - 1);
}

static inline size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static inline size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

/* The smallest power of two that is at least x; 1 <= x <= 2^63. */
static inline size_t round_up_power_of_two(size_t x) {
    return x <= 1 ? 1 : (size_t)1 << (64 - __builtin_clzl(x - 1));
}

/* How many bits are ones. The compiler's own calls a function where it may not use the processor's instruction. */
static inline unsigned popcount(uint64_t x) {
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (unsigned)(x * 0x0101010101010101u >> 56);
}

/* How many ones a word has below its first zero. */
static inline unsigned trailing_ones(uint64_t x) {
    return ~x != 0 ? (unsigned)__builtin_ctzl(~x) : 64;
}

/* A cheap permutation of 32 bits (the finalizer of MurmurHash3, by Austin Appleby, public domain). */
static inline uint32_t mix32(uint32_t x) {
    x ^= x >> 16;
    x *= 0x85ebca6bu;
    x ^= x >> 13;
    x *= 0xc2b2ae35u;
    return x ^ (x >> 16);
}

#endif
