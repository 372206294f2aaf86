/* One run of a scenario: its phases on the page, and its time.
 *
 * A scenario's work is cut into ticks of 10 ms. What happens in a tick depends on the seed and the scale alone;
 * what is left of the 10 ms is slept. A tick begins so many times 10 ms after the first, however long those before
 * it took: who is late sleeps less until he is not. So live bytes are the same curve over time under every
 * allocator that is fast enough, and an allocator has the pauses that it has in a server with CPU to spare. One
 * that is too slow takes longer. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "random.h"

enum { TICK_MS = 10, TICKS_PER_SECOND = 1000 / TICK_MS };
#define MIB ((uint64_t)1 << 20)

struct profile {
    const char *name;
    unsigned work_seconds;
    unsigned silent_ms;
    bool is_paced; /* false: no tick is waited for */
    const char *silent_name;
};

extern const struct profile profiles[];
extern const size_t profile_count;

struct run {
    const struct profile *profile;
    double scale;
    uint64_t seed;
    struct random random; /* the main thread's */
    unsigned ticks;       /* of all the scenario's work */
    unsigned ticks_done;
    uint64_t begun; /* when the first tick began */
};

/* What an amount at scale 1 is in this run; at least 1. */
uint64_t run_scaled(const struct run *run, uint64_t amount);

/* The phase `start`: all state is there, no object yet. */
void run_start(struct run *run);

/* Ends the phase that runs, of which the page floor is published, and begins the next. Only when all other threads
 * wait. The second form adds a number: cycle-1. */
void run_phase(const char *name);
void run_phase_number(const char *name, unsigned number);

/* Ends a tick's work. */
void run_tick(struct run *run);

/* The last phase: no call of the allocator's any more. Then the runner is told that all went well. */
void run_silence(struct run *run);

#endif
