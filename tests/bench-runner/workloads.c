/* Workloads with known answers, for the tests of `neap bench`: each follows the contract of docs/benchmarks.md.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct page {
    char magic[8];
    _Atomic uint32_t phase;
    _Atomic uint32_t done;
    _Atomic uint64_t live_bytes;
    _Atomic uint64_t live_objects;
    _Atomic uint64_t operations;
    _Atomic uint64_t floor_bytes;
    _Atomic uint64_t floor_live;
    _Atomic uint64_t last_call_ns;
    _Atomic uint64_t p999_ns;
    _Atomic uint64_t pid_of_interest;
    char phase_name[32];
    double progress;
};

static struct page own_page;
static struct page *page = &own_page;

static void sleep_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void begin(const char *name) {
    strncpy(page->phase_name, name, sizeof(page->phase_name) - 1);
    page->phase++;
}

static void *take(size_t size) {
    void *object = malloc(size);
    memset(object, 1, size);
    page->live_bytes += size;
    page->live_objects++;
    page->operations++;
    return object;
}

static void give(void *object, size_t size) {
    free(object);
    page->live_bytes -= size;
    page->live_objects--;
    page->operations++;
}

static void fall_silent(const char *name, long ms) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    page->last_call_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    begin(name);
    sleep_ms(ms);
}

/* Twenty allocations, of which the test knows the sizes; after each there is time to look. */
static void twenty(void) {
    static const size_t sizes[20] = {1,      16,     24,     100,     128,     1000,   4096,
                                     5000,   10000,  32768,  40000,   65536,   100000, 131072,
                                     200000, 262144, 500000, 1000000, 1048576, 2000000};
    void *objects[20];
    begin("start");
    sleep_ms(100);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "after-%d", i + 1);
        objects[i] = take(sizes[i]);
        begin(name);
        sleep_ms(120);
    }
    for (int i = 0; i < 20; i++)
        give(objects[i], sizes[i]);
}

enum { BURST = 60000, BURST_SIZE = 1000 };
static void *burst_objects[BURST];

/* 60 MB of small objects; all but one in a hundred are freed, then silence. */
static void burst(int trims) {
    begin("start");
    sleep_ms(150);
    begin("peak");
    for (int i = 0; i < BURST; i++)
        burst_objects[i] = take(BURST_SIZE);
    sleep_ms(200);
    begin("drained");
    for (int i = 0; i < BURST; i++)
        if (i % 6000 != 5999)
            give(burst_objects[i], BURST_SIZE);
    if (trims)
        malloc_trim(0);
    fall_silent("silent", trims ? 1300 : 3200);
}

/* Twelve cycles that each free all that they took. */
static void cycles(void) {
    begin("start");
    sleep_ms(150);
    for (int cycle = 1; cycle <= 12; cycle++) {
        char name[16];
        snprintf(name, sizeof(name), "cycle-%d", cycle);
        begin(name);
        for (int round = 0; round < 10; round++) {
            for (int i = 0; i < 4000; i++)
                burst_objects[i] = take(500);
            sleep_ms(8);
            for (int i = 0; i < 4000; i++)
                give(burst_objects[i], 500);
        }
        begin("low");
        sleep_ms(120);
    }
}

static void hang(void) {
    begin("start");
    sleep_ms(600000);
}

static void crash(void) {
    begin("start");
    fprintf(stderr, "about to crash\n");
    abort();
}

static const struct {
    const char *name, *summary;
    double seconds;
} list[] = {
    {"twenty", "twenty known allocations", 3},
    {"burst", "a burst, then silence", 4},
    {"burst-trim", "a burst, malloc_trim, then silence", 4},
    {"cycles", "the same work twelve times", 2},
    {"hang", "never ends", 1},
    {"crash", "aborts", 1},
    {"missing", "cannot run here", 1},
    {"unfinished", "ends too early", 1},
};

static int run(const char *name) {
    if (strcmp(name, "twenty") == 0)
        twenty();
    else if (strncmp(name, "burst", 5) == 0)
        burst(name[5] != '\0');
    else if (strcmp(name, "cycles") == 0)
        cycles();
    else if (strcmp(name, "hang") == 0)
        hang();
    else if (strcmp(name, "crash") == 0)
        crash();
    else if (strcmp(name, "unfinished") == 0)
        return 0;
    else {
        fprintf(stderr, "the moon is not full\n");
        return 3;
    }
    page->done = 1;
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
            printf("{\"name\":\"%s\",\"kind\":\"scenario\",\"world\":\"T\",\"summary\":\"%s\",\"quick_seconds\":%"
                   "g}\n",
                   list[i].name, list[i].summary, list[i].seconds);
        return 0;
    }
    const char *path = getenv("NEAP_BENCH_PAGE");
    if (argc < 3 || strcmp(argv[1], "--run") != 0 || !path)
        return 2;
    int file = open(path, O_RDWR);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page == MAP_FAILED || memcmp(page->magic, "nbpage1", 8) != 0)
        return 2;
    return run(argv[2]);
}
