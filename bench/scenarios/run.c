/* See run.h. */
#include "run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "heap.h"
#include "latency.h"
#include "page.h"
#include "population.h"
#include "system.h"

/* quick leaves time to see what happens 1 s after the last call, standard 10 s, full 60 s. */
const struct profile profiles[] = {
    {"quick", 3, 1500, true, "silent"},
    {"standard", 9, 10500, true, "silent-10"},
    {"full", 30, 60500, true, "silent-60"},
    {"unpaced", 3, 0, false, "silent"},
};
const size_t profile_count = sizeof profiles / sizeof *profiles;

enum { START_MS = 300, NS_PER_MS = 1000000 };

uint64_t run_scaled(const struct run *run, uint64_t amount) {
    double scaled = (double)amount * run->scale;
    return scaled < 1 ? 1 : (uint64_t)scaled;
}

static void begin_phase(const char *name) {
    char padded[PHASE_NAME_BYTES] = {0};
    for (size_t i = 0; name[i] != '\0' && i < sizeof padded - 1; i++)
        padded[i] = name[i];
    memcpy(page->phase_name, padded, sizeof padded);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    PAGE_STORE(phase, PAGE_LOAD(phase) + 1);
}

static void count_floor(void) {
    PAGE_STORE(floor_bytes, population_floor());
    PAGE_STORE(floor_live, PAGE_LOAD(live_bytes));
}

/* Live bytes are known twice, from the calls and from the tables: where they differ, all figures would be wrong.
 */
static void end_phase(void) {
    heap_settle();
    uint64_t live = PAGE_LOAD(live_bytes), in_tables = population_live();
    if (in_tables != live)
        stop(STATUS_FAILED, "phase %s: %" PRIu64 " bytes live by the calls, %" PRIu64 " by the tables",
             page->phase_name, live, in_tables);
    PAGE_STORE(p999_ns, latency_p999());
    if (page_is_shared())
        return;
    count_floor();
    say("%-12s live %" PRIu64 " bytes in %" PRIu64 " objects, %" PRIu64 " operations, page floor %" PRIu64,
        page->phase_name, live, PAGE_LOAD(live_objects), PAGE_LOAD(operations), PAGE_LOAD(floor_bytes));
}

static void wait_ms(const struct run *run, unsigned ms) {
    if (run->profile->is_paced)
        sleep_until_ns(now_ns() + (uint64_t)ms * NS_PER_MS);
}

void run_start(struct run *run) {
    latency_begin();
    count_floor(); /* what it maps is there from now on */
    begin_phase("start");
    wait_ms(run, START_MS);
    run->begun = now_ns();
}

void run_phase(const char *name) {
    end_phase();
    begin_phase(name);
}

void run_phase_number(const char *name, unsigned number) {
    char numbered[PHASE_NAME_BYTES];
    snprintf(numbered, sizeof numbered, "%s-%u", name, number);
    run_phase(numbered);
}

void run_tick(struct run *run) {
    heap_settle();
    run->ticks_done++;
    double progress = (double)run->ticks_done / run->ticks;
    __atomic_store(&page->progress, &progress, __ATOMIC_RELAXED);
    if (run->profile->is_paced)
        sleep_until_ns(run->begun + (uint64_t)run->ticks_done * TICK_MS * NS_PER_MS);
}

void run_silence(struct run *run) {
    heap_settle();
    uint64_t operations = PAGE_LOAD(operations);
    PAGE_STORE(last_call_ns, now_ns());
    count_floor(); /* once: at every phase's end it would be the better part of some scenarios' work */
    run_phase(run->profile->silent_name);
    wait_ms(run, run->profile->silent_ms);
    end_phase();
    if (PAGE_LOAD(operations) != operations)
        stop(STATUS_FAILED, "the silent phase was not silent");
    if (run->ticks_done != run->ticks)
        stop(STATUS_FAILED, "the scenario took %u ticks of %u", run->ticks_done, run->ticks);
    if (!page_is_shared())
        say("p99.9 of malloc to its first byte written: %" PRIu64 " ns", PAGE_LOAD(p999_ns));
    PAGE_STORE(done, 1);
}
