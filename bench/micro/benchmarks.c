/* The benchmarks. The loops around single calls are compiled twice: with the malloc that is preloaded and, as
 * overhead/…, with functions that do nothing; the difference is what the allocator costs. Of each object the first
 * byte is written. Tables are mapped, not allocated. */
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "micro.h"
#include "mix.h"
#include "nothing.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define COUNT(array)  (sizeof(array) / sizeof *(array))

enum { BATCH = 1000, MAX_THREADS = 16 };

typedef void *allocate(size_t size);
typedef void *allocate_array(size_t count, size_t size); /* calloc, aligned_alloc */
typedef void release(void *p);

ALWAYS_INLINE void touch(void *p) {
    *(volatile char *)p = 1;
}

/* --- one object, freed at once: pairs/SIZE --- */

ALWAYS_INLINE void pair_loop(struct micro *micro, allocate *get, release *give) {
    size_t size = micro_argument(micro, 0);
    while (micro_continue(micro, BATCH))
        for (size_t i = 0; i < BATCH; i++) {
            void *p = get(size);
            touch(p);
            give(p);
        }
}

static void pairs(struct micro *micro) {
    pair_loop(micro, malloc, free);
}

static void pairs_overhead(struct micro *micro) {
    pair_loop(micro, nothing_malloc, nothing_free);
}

/* --- the same of calloc and aligned_alloc: calloc/1/SIZE, aligned/ALIGNMENT/SIZE --- */

ALWAYS_INLINE void array_loop(struct micro *micro, allocate_array *get, release *give) {
    size_t first = micro_argument(micro, 0), second = micro_argument(micro, 1);
    while (micro_continue(micro, BATCH))
        for (size_t i = 0; i < BATCH; i++) {
            void *p = get(first, second);
            touch(p);
            give(p);
        }
}

static void calloc_pairs(struct micro *micro) {
    array_loop(micro, calloc, free);
}

static void aligned_pairs(struct micro *micro) {
    array_loop(micro, aligned_alloc, free);
}

static void array_overhead(struct micro *micro) {
    array_loop(micro, nothing_array, nothing_free);
}

/* --- a thousand objects, then all freed: batch-ORDER/SIZE --- */

/* The index to free at each step. */
static void make_order(uint16_t order[BATCH], char kind) {
    struct random random = {1};
    for (size_t i = 0; i < BATCH; i++)
        order[i] = (uint16_t)(kind == 'l' ? BATCH - 1 - i : i);
    for (size_t i = BATCH - 1; kind == 'r' && i > 0; i--) {
        size_t other = random_below(&random, i + 1);
        uint16_t swapped = order[i];
        order[i] = order[other];
        order[other] = swapped;
    }
}

ALWAYS_INLINE void batch_loop(struct micro *micro, char kind, allocate *get, release *give) {
    size_t size = micro_argument(micro, 0);
    void *objects[BATCH];
    uint16_t order[BATCH];
    make_order(order, kind);
    while (micro_continue(micro, BATCH)) {
        for (size_t i = 0; i < BATCH; i++) {
            objects[i] = get(size);
            touch(objects[i]);
        }
        for (size_t i = 0; i < BATCH; i++)
            give(objects[order[i]]);
    }
}

static void batch_lifo(struct micro *micro) {
    batch_loop(micro, 'l', malloc, free);
}

static void batch_fifo(struct micro *micro) {
    batch_loop(micro, 'f', malloc, free);
}

static void batch_random(struct micro *micro) {
    batch_loop(micro, 'r', malloc, free);
}

static void batch_overhead(struct micro *micro) {
    batch_loop(micro, 'r', nothing_malloc, nothing_free);
}

/* --- a random one of so many live objects replaced, of a web service's sizes: mixed/LIVE --- */

/* Drawn before: the mispredicted branches of a draw would hide what the allocator does. */
enum { DRAWN = 1 << 14 };
static uint32_t drawn_sizes[DRAWN];

static void draw_sizes(void) {
    struct random random = {1};
    for (size_t i = 0; i < DRAWN; i++)
        drawn_sizes[i] = (uint32_t)mix_draw(&web_mix, &random);
}

ALWAYS_INLINE void mixed_loop(struct micro *micro, allocate *get, release *give) {
    size_t live = micro_argument(micro, 0), bytes = live * sizeof(void *);
    struct random random = random_stream(1, micro_thread(micro));
    void **objects = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (objects == MAP_FAILED) {
        micro_fail(micro, "cannot map the table of objects");
        return;
    }
    size_t next = micro_thread(micro) * (DRAWN / MAX_THREADS);
    for (size_t i = 0; i < live; i++) {
        objects[i] = get(drawn_sizes[next++ % DRAWN]);
        touch(objects[i]);
    }
    while (micro_continue(micro, BATCH))
        for (size_t i = 0; i < BATCH; i++) {
            void **object = &objects[random_below(&random, live)];
            give(*object);
            *object = get(drawn_sizes[next++ % DRAWN]);
            touch(*object);
        }
    for (size_t i = 0; i < live; i++)
        give(objects[i]);
    munmap(objects, bytes);
}

static void mixed(struct micro *micro) {
    mixed_loop(micro, malloc, free);
}

static void mixed_overhead(struct micro *micro) {
    mixed_loop(micro, nothing_malloc, nothing_free);
}

/* --- a buffer that grows to a size, each new page of it written, then freed: growth-HOW/SIZE --- */

enum { PAGE = 4096 };

static size_t doubled(size_t size) {
    return 2 * size;
}

static size_t half_again(size_t size) {
    return size + size / 2;
}

static size_t page_more(size_t size) {
    return size + PAGE;
}

ALWAYS_INLINE void growth_loop(struct micro *micro, size_t (*next)(size_t size)) {
    enum { FIRST = 64 };
    size_t most = micro_argument(micro, 0);
    while (micro_continue(micro, 1)) {
        char *p = malloc(FIRST);
        touch(p);
        for (size_t size = FIRST; size < most;) {
            size_t old = size;
            size = next(size);
            p = realloc(p, size);
            for (size_t at = old; at < size; at += PAGE)
                touch(p + at);
        }
        free(p);
    }
}

static void growth_doubled(struct micro *micro) {
    growth_loop(micro, doubled);
}

static void growth_half(struct micro *micro) {
    growth_loop(micro, half_again);
}

static void growth_page(struct micro *micro) {
    growth_loop(micro, page_more);
}

/* --- every second thread allocates, the next one frees: cross-thread/SIZE --- */

enum { RING = 1024, HANDED = 64 };

static struct ring {
    _Alignas(64) size_t head; /* of the taker */
    _Alignas(64) size_t tail; /* of the giver */
    _Alignas(64) void *slots[RING];
} rings[MAX_THREADS / 2];

static void give_objects(struct ring *ring, size_t size) {
    size_t tail = ring->tail;
    while (tail + HANDED - __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) > RING)
        sched_yield();
    for (size_t i = 0; i < HANDED; i++) {
        void *p = malloc(size);
        touch(p);
        ring->slots[(tail + i) % RING] = p;
    }
    __atomic_store_n(&ring->tail, tail + HANDED, __ATOMIC_RELEASE);
}

static void take_objects(struct ring *ring) {
    size_t head = ring->head;
    while (__atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) - head < HANDED)
        sched_yield();
    for (size_t i = 0; i < HANDED; i++)
        free(ring->slots[(head + i) % RING]);
    __atomic_store_n(&ring->head, head + HANDED, __ATOMIC_RELEASE);
}

static void cross_thread(struct micro *micro) {
    unsigned thread = micro_thread(micro);
    size_t size = micro_argument(micro, 0);
    struct ring *ring = &rings[thread / 2];
    while (micro_continue(micro, HANDED))
        if (thread % 2 == 0)
            give_objects(ring, size);
        else
            take_objects(ring);
}

/* --- all of them --- */

static const unsigned thread_counts[] = {1, 2, 4, MAX_THREADS};

static void add(const char *name, void (*run)(struct micro *), size_t argument, unsigned threads) {
    micro_add(name, run, &argument, 1, threads);
}

void micro_add_all(void) {
    static const size_t sizes[] = {16, 64, 256, 1024, 4096, 16384, 65536, 1 << 20};
    static const size_t few_sizes[] = {64, 1024};
    static const size_t calloc_sizes[][2] = {{1, 64}, {1, 4096}, {1, 1 << 20}};
    static const size_t alignments[][2] = {{64, 64}, {64, 1024}, {4096, 4096}, {65536, 65536}};
    enum { SMALL = 64, FEW_LIVE = 10000, MANY_LIVE = 1000000, GROWN = 1 << 20 };

    draw_sizes();
    for (size_t i = 0; i < COUNT(sizes); i++)
        add("pairs", pairs, sizes[i], 1);
    for (size_t i = 0; i < COUNT(few_sizes); i++) {
        add("batch-lifo", batch_lifo, few_sizes[i], 1);
        add("batch-fifo", batch_fifo, few_sizes[i], 1);
        add("batch-random", batch_random, few_sizes[i], 1);
    }
    for (size_t i = 0; i < COUNT(calloc_sizes); i++)
        micro_add("calloc", calloc_pairs, calloc_sizes[i], 2, 1);
    for (size_t i = 0; i < COUNT(alignments); i++)
        micro_add("aligned", aligned_pairs, alignments[i], 2, 1);
    add("growth-double", growth_doubled, GROWN, 1);
    add("growth-half", growth_half, GROWN, 1);
    add("growth-page", growth_page, GROWN, 1);
    for (size_t i = 0; i < COUNT(thread_counts); i++)
        add("mixed", mixed, FEW_LIVE, thread_counts[i]);
    add("mixed", mixed, MANY_LIVE, 1);
    for (size_t i = 1; i < COUNT(thread_counts); i++) {
        add("pairs", pairs, SMALL, thread_counts[i]);
        add("cross-thread", cross_thread, SMALL, thread_counts[i]);
    }
    add("overhead/pairs", pairs_overhead, SMALL, 1);
    micro_add("overhead/calloc", array_overhead, calloc_sizes[0], 2, 1);
    micro_add("overhead/aligned", array_overhead, alignments[0], 2, 1);
    add("overhead/batch-random", batch_overhead, SMALL, 1);
    add("overhead/mixed", mixed_overhead, FEW_LIVE, 1);
    add("overhead/mixed", mixed_overhead, MANY_LIVE, 1);
}
