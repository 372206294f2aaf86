/* Buffers that grow by realloc, 4 KiB at a time to 64 MiB: alone, and two in turn. It takes no longer than
 * touching the memory once, but for a second; at no time does it need twice the memory. */
#include "preload.h"

enum { STEP = 4096 };
#define END (64 * MIB)

static double touch_seconds(size_t bytes) {
    double start = cpu_seconds();
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    madvise(p, bytes, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < bytes; at += STEP)
        fill(p + at, STEP, at);
    double took = cpu_seconds() - start;
    munmap(p, bytes);
    return took;
}

static void grow_together(size_t buffers) {
    char *p[2] = {NULL, NULL};
    double touch = touch_seconds(END) * (double)buffers, start = cpu_seconds();
    size_t resident = status_bytes("VmRSS");
    for (size_t size = STEP; size <= END; size += STEP)
        for (size_t i = 0; i < buffers; i++) {
            p[i] = realloc(p[i], size);
            CHECK(p[i] != NULL);
            fill(p[i] + size - STEP, STEP, size - STEP + i);
        }
    double took = cpu_seconds() - start;
    CHECK(took < touch * 1.5 + 1, "%zu buffers: %.2f s, where touching takes %.2f", buffers, took, touch);
    for (size_t i = 0; i < buffers; i++) {
        for (size_t at = 0; at < END; at += STEP)
            CHECK(is_filled(p[i] + at, STEP, at + i), "lost at %zu", at);
        free(p[i]);
    }
    /* The peak since the start: buffers of END each, and what one copy between them may take. */
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    size_t peak = (size_t)usage.ru_maxrss * KIB;
    CHECK(peak < resident + buffers * END + 24 * MIB, "%zu buffers: peak %zu MiB", buffers, peak / MIB);
}

int main(void) {
    begin(100);
    grow_together(1);
    grow_together(2);
    return 0;
}
